/* SPDX-License-Identifier: MIT
 *
 * The statistics of an open log, as text or as JSON; and duralog stats, for a
 * log that another process has open, or none.
 */
#include <inttypes.h>

#include "tool.h"

static const char *const kinds[] = {
#define KIND_TEXT(name, text) text,
    DURALOG_SYNC_KINDS(KIND_TEXT)
#undef KIND_TEXT
};

static const duralog_error failures[] = {
#define FAILURE(name, value, text) DURALOG_##name,
    DURALOG_ERRORS(FAILURE)
#undef FAILURE
};

#define FAILURES (sizeof failures / sizeof failures[0])

/* -------------------------------------------------------------- text -- */

static void print_time(FILE *out, uint64_t ns) {
  char text[TOOL_DURATION_BYTES];
  tool_duration(ns, text);
  fprintf(out, "%9s", text);
}

uint64_t tool_sync_bound(const duralog_sync_times *t, uint64_t thousandths) {
  uint64_t seen = 0;
  for (int i = 0; i < DURALOG_STATS_BUCKETS - 1; i++) {
    seen += t->histogram[i];
    uint64_t bound = UINT64_C(1024) << i;
    if (seen * 1000 >= t->count * thousandths)
      return bound < t->max_ns ? bound : t->max_ns;
  }
  return t->max_ns;
}

static void print_syncs(FILE *out, const duralog_stats *s) {
  fputs(
      "  syncs         count       mean  half below   99 % below        max\n",
      out);
  for (int kind = 0; kind < DURALOG_SYNC_KIND_COUNT; kind++) {
    const duralog_sync_times *t = &s->syncs[kind];
    if (t->count == 0) continue;
    fprintf(out, "    %-8s %8" PRIu64 "  ", kinds[kind], t->count);
    print_time(out, t->total_ns / t->count);
    fputs("   ", out);
    print_time(out, tool_sync_bound(t, 500));
    fputs("    ", out);
    print_time(out, tool_sync_bound(t, 990));
    fputs("  ", out);
    print_time(out, t->max_ns);
    fputc('\n', out);
  }
}

static void print_failures(FILE *out, const duralog_stats *s) {
  const char *before = "";
  fputs("  failures   ", out);
  for (size_t i = 0; i < FAILURES; i++) {
    uint64_t count = s->errors[-failures[i]];
    if (count == 0) continue;
    fprintf(out, "%s%" PRIu64 " %s", before, count,
            duralog_error_name(failures[i]));
    before = ", ";
  }
  fprintf(out, "%s\n", before[0] == '\0' ? "none" : "");
}

void tool_stats_text(FILE *out, const duralog_stats *s) {
  fprintf(out,
          "duralog: statistics\n"
          "  appended   %" PRIu64 " records in %" PRIu64 " batches, %" PRIu64
          " bytes and %" PRIu64
          " of framing\n"
          "  contention %" PRIu64 " appends found the lock taken, %" PRIu64
          " naps\n"
          "  waits      %" PRIu64 " for durability, together",
          s->records, s->batches, s->payload_bytes, s->framing_bytes,
          s->contended, s->naps, s->waits);
  print_time(out, s->wait_ns);
  fprintf(out,
          "\n  segments   %" PRIu64 " rolls, %" PRIu64 " prepared, %" PRIu64
          " sealed; %" PRIu64 " came late, %" PRIu64 " attempts failed\n",
          s->rolls, s->segments_prepared, s->segments_sealed,
          s->late_preparations, s->failed_preparations);
  print_syncs(out, s);
  fprintf(out,
          "  harmless   %" PRIu64 " transfers gone on with, %" PRIu64
          " hints refused\n",
          s->retries, s->hints_refused);
  print_failures(out, s);
}

/* -------------------------------------------------------------- JSON -- */

static void json_failures(tool_json *json, const duralog_stats *s) {
  tool_json_open(json, "errors", '{');
  for (size_t i = 0; i < FAILURES; i++)
    if (failures[i] != DURALOG_OK)
      tool_json_number(json, duralog_error_name(failures[i]),
                       s->errors[-failures[i]]);
  tool_json_close(json, '}');
}

static void json_syncs(tool_json *json, const duralog_stats *s) {
  tool_json_open(json, "syncs", '{');
  for (int kind = 0; kind < DURALOG_SYNC_KIND_COUNT; kind++) {
    const duralog_sync_times *t = &s->syncs[kind];
    tool_json_open(json, kinds[kind], '{');
    tool_json_number(json, "count", t->count);
    tool_json_number(json, "total_ns", t->total_ns);
    tool_json_number(json, "max_ns", t->max_ns);
    tool_json_open(json, "histogram", '[');
    for (int i = 0; i < DURALOG_STATS_BUCKETS; i++)
      tool_json_number(json, NULL, t->histogram[i]);
    tool_json_close(json, ']');
    tool_json_close(json, '}');
  }
  tool_json_close(json, '}');
}

void tool_stats_json(tool_json *json, const char *name,
                     const duralog_stats *s) {
  tool_json_open(json, name, '{');
  tool_json_number(json, "records", s->records);
  tool_json_number(json, "batches", s->batches);
  tool_json_number(json, "payload_bytes", s->payload_bytes);
  tool_json_number(json, "framing_bytes", s->framing_bytes);
  tool_json_number(json, "contended", s->contended);
  tool_json_number(json, "naps", s->naps);
  tool_json_number(json, "rolls", s->rolls);
  tool_json_number(json, "waits", s->waits);
  tool_json_number(json, "wait_ns", s->wait_ns);
  tool_json_number(json, "segments_prepared", s->segments_prepared);
  tool_json_number(json, "segments_sealed", s->segments_sealed);
  tool_json_number(json, "late_preparations", s->late_preparations);
  tool_json_number(json, "failed_preparations", s->failed_preparations);
  tool_json_number(json, "readers", s->readers);
  tool_json_number(json, "oldest_unsynced_ms", s->oldest_unsynced_ms);
  tool_json_number(json, "retries", s->retries);
  tool_json_number(json, "hints_refused", s->hints_refused);
  json_failures(json, s);
  json_syncs(json, s);
  tool_json_close(json, '}');
}

/* ----------------------------------------------------------- command -- */

typedef struct settings {
  bool json, quick;
  uint64_t interval_ms;
  const char *path;
} settings;

static int stats_of(const settings *s, duralog *log, tool_facts *facts) {
  duralog_error error = tool_facts_gather(facts, log, !s->quick);
  if (error == DURALOG_OK)
    error = tool_facts_sample(facts, log, s->interval_ms);
  if (error != DURALOG_OK)
    return tool_fail_on("examining", s->path, error, log);
  if (s->json)
    tool_facts_json(facts, s->path);
  else
    tool_facts_text(facts, s->path);
  return tool_finish_output(facts->damaged > 0 ? TOOL_DAMAGE : TOOL_OK);
}

static int stats(const settings *s) {
  duralog *log;
  tool_facts facts = {0};
  int code = tool_open_read_only(s->path, &log, &facts.report);
  if (code != TOOL_OK) return code;
  code = stats_of(s, log, &facts);
  duralog_error error = duralog_close(&log);
  if (code == TOOL_OK && error != DURALOG_OK)
    code = tool_fail("closing", s->path, error, NULL);
  return code;
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'},
      {"interval", required_argument, NULL, 'i'},
      {"quick", no_argument, NULL, 'q'},
      {0}};
  settings s = {.interval_ms = 1000};
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (option == 'j') s.json = true;
    if (option == 'q') s.quick = true;
    if (option == 'i' && !tool_number(optarg, 0, 3600000, &s.interval_ms))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  s.path = tool_directory(argc, argv);
  return s.path == NULL ? TOOL_USAGE : stats(&s);
}

static const char help[] =
    "What can be told of a log by those who do not write it. A writer that\n"
    "lives is watched for a second; its own statistics (syncs, waits) are "
    "told\n"
    "by append --stats, or by the program that writes. Reads all records, at\n"
    "the speed of the disk; where some are damaged, the exit code is 3.\n"
    "\n"
    "  --interval MS       watch for so long; 0: not at all\n"
    "  --quick             read the segments' headers only: nothing is told "
    "of\n"
    "                      payload and epochs\n"
    "  --json              one JSON object; null: not known\n"
    "\n"
    "Rates go by the records' timestamps. A segment that a writer is in does\n"
    "not tell how far it is used.\n";

const tool_command tool_stats = {
    .name = "stats",
    .arguments = "[options] DIR",
    .summary = "show rates, sizes, and how far durability is behind",
    .help = help,
    .run = run,
};
