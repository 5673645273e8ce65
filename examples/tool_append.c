/* SPDX-License-Identifier: MIT
 *
 * duralog append: records from stdin.
 *
 * Each thread takes one read's worth of records and appends them as batches.
 * All but the last batch of a portion are merely written, the last one waits
 * as the durability mode says, and by that for all before it: one sync per
 * read, whatever the number of lines.
 *
 * What is told about a failure comes from the watermarks. Nobody else writes,
 * so everything from the end found at opening on is ours, and no outcome of a
 * single call has to be guessed.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "tool.h"

#define THREADS_MAX 1024
#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)
#define SEGMENT_BYTES_SMALL ((uint64_t)1 << 20)
#define FRAMING_BYTES_MAX 64 /* a generous guess, per record */

typedef struct settings {
  duralog_options log;
  uint64_t threads;
  bool length_prefixed;
  bool quiet;
  bool stats, json; /* json only with stats */
  const char *path;
} settings;

typedef struct failure {
  duralog_error error;
  duralog_diagnostic diagnostic;
  uint64_t record; /* of the input, from 1 */
  size_t record_bytes;
} failure;

typedef struct job {
  duralog *log;
  uint64_t batch_bytes_max;
  tool_input input;
  atomic_bool stop;
  pthread_mutex_t lock;     /* guards failure */
  failure failure;          /* the first one; error is OK if there is none */
  uint64_t first;           /* the end before the job */
  duralog_error synced;     /* how the sync at the end went */
  duralog_watermarks marks; /* after it */
} job;

static void job_fail(job *j, duralog_error error, uint64_t record,
                     size_t record_bytes) {
  pthread_mutex_lock(&j->lock);
  if (j->failure.error == DURALOG_OK) {
    j->failure.error = error;
    j->failure.record = record;
    j->failure.record_bytes = record_bytes;
    j->failure.diagnostic.struct_size = sizeof j->failure.diagnostic;
    if (duralog_diagnose(j->log, &j->failure.diagnostic) != DURALOG_OK)
      j->failure.diagnostic.error = DURALOG_OK;
  }
  pthread_mutex_unlock(&j->lock);
  atomic_store(&j->stop, true);
}

/* How many entries from `begin` on go into one batch; at least one. */
static size_t batch_count(const job *j, const tool_chunk *chunk, size_t begin) {
  uint64_t bytes = 0;
  size_t i = begin;
  while (i < chunk->count) {
    bytes += chunk->entries[i].size + FRAMING_BYTES_MAX;
    if (bytes > j->batch_bytes_max && i > begin) break;
    i++;
  }
  return i - begin;
}

static bool append_batch(job *j, const tool_chunk *chunk, size_t begin,
                         size_t count) {
  bool last = begin + count == chunk->count;
  duralog_error error = duralog_append_batch(
      j->log, chunk->entries + begin, count,
      last ? DURALOG_LEVEL_DEFAULT : DURALOG_LEVEL_WRITTEN, NULL);
  if (error == DURALOG_OK) return true;
  /* Nothing was appended. One at a time, all before the one that is too big
   * get in, and it is known which one that is. */
  if (error == DURALOG_E_TOO_BIG && count > 1) {
    for (size_t i = 0; i < count; i++)
      if (!append_batch(j, chunk, begin + i, 1)) return false;
    return true;
  }
  job_fail(j, error, chunk->first + begin, chunk->entries[begin].size);
  return false;
}

static bool append_chunk(job *j, const tool_chunk *chunk) {
  size_t begin = 0;
  while (begin < chunk->count) {
    size_t count = batch_count(j, chunk, begin);
    if (!append_batch(j, chunk, begin, count)) return false;
    begin += count;
  }
  return true;
}

static void *append_loop(void *argument) {
  job *j = argument;
  tool_chunk chunk = {0};
  while (!atomic_load(&j->stop) && tool_input_take(&j->input, &chunk))
    if (!append_chunk(j, &chunk)) break;
  tool_chunk_free(&chunk);
  return NULL;
}

/* The calling thread is one of them; it is enough if no other can start. */
static void run_threads(job *j, uint64_t count) {
  pthread_t threads[THREADS_MAX];
  uint64_t started = 0;
  while (started + 1 < count &&
         pthread_create(&threads[started], NULL, append_loop, j) == 0)
    started++;
  if (started + 1 < count)
    fprintf(stderr, "duralog: only %" PRIu64 " threads could be started\n",
            started + 1);
  append_loop(j);
  for (uint64_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
}

static void print_summary(uint64_t first, const duralog_watermarks *marks) {
  uint64_t appended = marks->end - first;
  fprintf(stderr, "duralog: appended %" PRIu64 " record%s", appended,
          appended == 1 ? "" : "s");
  if (appended == 1)
    fprintf(stderr, ", offset %" PRIu64, first);
  else if (appended > 1)
    fprintf(stderr, ", offsets %" PRIu64 " to %" PRIu64, first, marks->end - 1);
  if (appended == 0)
    fputc('\n', stderr);
  else if (marks->durable >= marks->end)
    fputs("; all durable\n", stderr);
  else if (marks->durable <= first)
    fputs("; none durable for certain\n", stderr);
  else
    fprintf(stderr,
            "; durable up to offset %" PRIu64 ", which is %" PRIu64
            " of them\n",
            marks->durable - 1, marks->durable - first);
}

static int print_failure(const settings *s, const failure *f) {
  char doing[128];
  snprintf(doing, sizeof doing,
           "appending record %" PRIu64 " of the input (%zu bytes) to",
           f->record, f->record_bytes);
  return tool_fail(doing, s->path, f->error, &f->diagnostic);
}

static int print_problem(const char *problem) {
  fprintf(stderr, "duralog: reading standard input: %s\n", problem);
  return TOOL_FAILED;
}

/* Sync, and tell what was reached. */
static int conclude(const settings *s, job *j) {
  int code = TOOL_OK;
  j->synced = duralog_sync(j->log);
  if (j->failure.error != DURALOG_OK)
    code = print_failure(s, &j->failure);
  else if (j->synced != DURALOG_OK)
    code = tool_fail_on("syncing", s->path, j->synced, j->log);
  else if (j->input.problem != NULL)
    code = print_problem(j->input.problem);

  duralog_error error = duralog_get_watermarks(j->log, &j->marks);
  if (error != DURALOG_OK)
    return tool_fail_on("examining", s->path, error, j->log);
  if (code != TOOL_OK || !s->quiet) print_summary(j->first, &j->marks);
  return code;
}

static void print_json(const settings *s, const job *j,
                       const duralog_stats *stats) {
  tool_json json = {.out = stdout};
  duralog_error error =
      j->failure.error != DURALOG_OK ? j->failure.error : j->synced;
  tool_json_open(&json, NULL, '{');
  tool_json_string(&json, "path", s->path);
  tool_json_number(&json, "first", j->first);
  tool_json_number(&json, "end", j->marks.end);
  tool_json_number(&json, "durable", j->marks.durable);
  tool_json_number(&json, "epoch", j->marks.epoch);
  if (error != DURALOG_OK)
    tool_json_string(&json, "error", duralog_error_name(error));
  else if (j->input.problem != NULL)
    tool_json_string(&json, "error", j->input.problem);
  else
    tool_json_null(&json, "error");
  tool_stats_json(&json, "stats", stats);
  tool_json_end(&json);
}

/* JSON goes where nothing else is said. */
static int print_stats(const settings *s, const job *j, int code) {
  duralog_stats stats = {.struct_size = sizeof stats};
  duralog_error error = duralog_get_stats(j->log, &stats);
  if (error != DURALOG_OK)
    return tool_fail_on("examining", s->path, error, j->log);
  if (!s->json) {
    tool_stats_text(stderr, &stats);
    return code;
  }
  print_json(s, j, &stats);
  return tool_finish_output(code);
}

static uint64_t batch_bytes_max(const settings *s) {
  uint64_t segment = s->log.segment_bytes;
  if (segment == 0)
    segment = s->log.small_device ? SEGMENT_BYTES_SMALL : SEGMENT_BYTES_DEFAULT;
  return segment / 2;
}

static int run_job(const settings *s, duralog *log, uint64_t first) {
  job j = {.log = log,
           .batch_bytes_max = batch_bytes_max(s),
           .first = first,
           .marks.struct_size = sizeof j.marks};
  if (pthread_mutex_init(&j.lock, NULL) != 0)
    return tool_fail("appending to", s->path, DURALOG_E_RESOURCES, NULL);
  int code = TOOL_FAILED;
  if (tool_input_open(&j.input, STDIN_FILENO, s->length_prefixed)) {
    run_threads(&j, s->threads);
    code = conclude(s, &j);
    if (s->stats) code = print_stats(s, &j, code);
    tool_input_close(&j.input);
  }
  pthread_mutex_destroy(&j.lock);
  return code;
}

static void print_recovery(const duralog_report *report) {
  if (report->torn_bytes > 0)
    fprintf(stderr,
            "duralog: cut an unfinished end of %" PRIu64
            " bytes, left by the last writer\n",
            report->torn_bytes);
}

static int append(const settings *s) {
  duralog *log;
  duralog_report report = {.struct_size = sizeof report};
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  duralog_error error =
      duralog_open(s->path, &s->log, &log, &report, &diagnostic);
  if (error != DURALOG_OK)
    return tool_fail("opening", s->path, error, &diagnostic);
  if (!s->quiet) print_recovery(&report);
  int code = run_job(s, log, report.end);
  error = duralog_close(&log);
  if (code == TOOL_OK && error != DURALOG_OK)
    code = tool_fail("closing", s->path, error, NULL);
  return code;
}

static bool set_option(settings *s, int option, const char *value) {
  switch (option) {
    case 'd': return tool_durability(value, &s->log.durability);
    case 't': return tool_number(value, 1, THREADS_MAX, &s->threads);
    case 'b': return tool_number(value, 1, UINT64_MAX, &s->log.segment_bytes);
    case 's': s->log.small_device = true; return true;
    case 'l': s->length_prefixed = true; return true;
    case 'j': s->json = true; /* fall through */
    case 'S': s->stats = true; return true;
    default: s->quiet = true; return true;
  }
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"durability", required_argument, NULL, 'd'},
      {"threads", required_argument, NULL, 't'},
      {"segment-bytes", required_argument, NULL, 'b'},
      {"small", no_argument, NULL, 's'},
      {"length-prefixed", no_argument, NULL, 'l'},
      {"quiet", no_argument, NULL, 'q'},
      {"stats", no_argument, NULL, 'S'},
      {"json", no_argument, NULL, 'j'},
      {0}};
  settings s = {.log.struct_size = sizeof s.log, .threads = 1};
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (!set_option(&s, option, optarg))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  const duralog_durability *mode = &s.log.durability;
  if (mode->pagecache &&
      (mode->sync_every_records != 0 || mode->sync_every_bytes != 0 ||
       mode->sync_interval_ms != 0))
    return tool_usage(argv[0], "pagecache goes with no other durability");
  s.path = tool_directory(argc, argv);
  return s.path == NULL ? TOOL_USAGE : append(&s);
}

static const char help[] =
    "A missing log is created. Each line is a record, without its newline.\n"
    "What one read of the input brings shares one sync. At the end\n"
    "everything is synced, in every mode.\n"
    "\n"
    "  --durability MODE   when to sync; may be given again, or with commas,\n"
    "                      for whichever comes first (default every=1):\n"
    "                        every=N      after N records\n"
    "                        bytes=B      after B bytes\n"
    "                        interval=MS  after that many ms, 10 or more\n"
    "                        pagecache    when the kernel likes\n"
    "  --length-prefixed   records are 4 bytes of length, little-endian, and\n"
    "                      their bytes\n"
    "  --threads N         deal the records to N threads; the order is then\n"
    "                      the input's only within what one read brought\n"
    "  --segment-bytes B   size of new segments (default 64M)\n"
    "  --small             for small devices: segments of 1M\n"
    "  --quiet             no summary, unless something failed\n"
    "  --stats             tell at the end how the work went: syncs and their\n"
    "                      times, waits, segments, failures\n"
    "  --json              the same and the summary as one JSON object, on\n"
    "                      standard output\n"
    "\n"
    "Numbers may end in K, M or G.\n";

const tool_command tool_append = {
    .name = "append",
    .arguments = "[options] DIR",
    .summary = "append the lines of standard input as records",
    .help = help,
    .run = run,
};
