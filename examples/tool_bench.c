/* SPDX-License-Identifier: MIT
 *
 * duralog bench: what each durability mode costs on the user's own disk.
 *
 * The modes run one after the other, strongest first, each on a new log in a
 * scratch directory. The time is dealt out evenly, and so is what may be
 * written. An interrupt ends the run at the next append, and the directory is
 * removed as at any other end.
 */
#include "tool_bench.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECONDS_DEFAULT 60
#define SECONDS_MAX 3600
#define RECORD_BYTES_DEFAULT 100
#define RECORD_BYTES_MAX ((uint64_t)1 << 20)
#define WRITTEN_BYTES_MAX ((uint64_t)1 << 30)

#define EVERY(n) \
  { .sync_every_records = (n) }
#define INTERVAL(ms) \
  { .sync_interval_ms = (ms) }

static const bench_mode modes[] = {
    {"every=1, strict", "nothing", EVERY(1), true, false, 1},
    {"every=1", "nothing", EVERY(1), false, false, 1},
    {"every=1, 8 threads", "nothing", EVERY(1), false, false, 8},
    {"every=100", "at most 99 records", EVERY(100), false, false, 1},
    {"every=1000", "at most 999 records", EVERY(1000), false, false, 1},
    {"bytes=1M",
     "less than 1 MiB",
     {.sync_every_bytes = 1 << 20},
     false,
     false,
     1},
    {"interval=10", "10 ms and two syncs", INTERVAL(10), false, true, 1},
    {"interval=100", "100 ms and two syncs", INTERVAL(100), false, true, 1},
    {"interval=1000", "1 s and two syncs", INTERVAL(1000), false, true, 1},
    {"pagecache",
     "what was not written back",
     {.pagecache = true},
     false,
     false,
     1},
};

#define MODES (sizeof modes / sizeof modes[0])

typedef struct settings {
  uint64_t seconds, record_bytes;
  bool json;
  const char *path;
} settings;

static void on_signal(int number) { bench_signal = number; }

/* Without SA_RESTART: naps end, and the run looks at bench_signal. */
static void catch_signals(void) {
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
    sigaction(signals[i], &action, NULL);
}

/* What others write while we do nothing, in a second or less. */
static void watch_idle(bench_report *report, uint64_t time_ns) {
  uint64_t before, after;
  if (time_ns > 1000000000) time_ns = 1000000000;
  struct timespec nap = {.tv_sec = (time_t)(time_ns / 1000000000),
                         .tv_nsec = (long)(time_ns % 1000000000)};
  report->idle_known = bench_written(report->place, &before);
  uint64_t begin = bench_now_ns();
  nanosleep(&nap, NULL);
  uint64_t ns = bench_now_ns() - begin;
  report->idle_known &= bench_written(report->place, &after);
  report->idle_bytes =
      (uint64_t)((double)(after - before) * 1e9 / (double)(ns + 1));
}

static int measure_all(const settings *s, bench_place *place,
                       bench_report *report) {
  bench_limits limits = {
      .time_ns = s->seconds * 1000000000 / (MODES + 2),
      .bytes = WRITTEN_BYTES_MAX / (MODES + 2),
      .record_bytes = s->record_bytes,
  };
  watch_idle(report, limits.time_ns);
  if (!s->json) bench_print_head(report);
  if (ferror(stdout)) return TOOL_OK; /* tool_finish_output tells, by errno */
  int code = bench_run_bare(place, &limits, report->bares);
  if (code != TOOL_OK || bench_signal != 0) return code;
  if (!s->json) bench_print_bares(report);
  if (!s->json) bench_print_modes_head();
  for (size_t i = 0; i < MODES; i++) {
    code = bench_run_mode(place, &modes[i], &limits, &report->results[i]);
    if (code != TOOL_OK || bench_signal != 0) return code;
    report->count++;
    if (!s->json) bench_print_mode(&report->results[i]);
    if (ferror(stdout)) return TOOL_OK;
  }
  if (s->json)
    bench_print_json(report);
  else
    bench_print_rest(report);
  return TOOL_OK;
}

/* Die of the signal, so that who started us knows. */
static int end_by_signal(void) {
  signal(bench_signal, SIG_DFL);
  raise(bench_signal);
  return TOOL_FAILED;
}

static int bench(const settings *s) {
  bench_place place;
  bench_report report = {.place = &place,
                         .seconds = s->seconds,
                         .record_bytes = s->record_bytes,
                         .results = calloc(MODES, sizeof *report.results)};
  if (report.results == NULL)
    return tool_fail("measuring in", s->path, DURALOG_E_RESOURCES, NULL);
  catch_signals();
  int code = bench_place_open(&place, s->path);
  if (code == TOOL_OK) code = measure_all(s, &place, &report);
  code = tool_finish_output(code);
  bench_place_close(&place);
  free(report.results);
  return bench_signal != 0 ? end_by_signal() : code;
}

static bool set_option(settings *s, int option, const char *value) {
  switch (option) {
    case 't': return tool_number(value, 1, SECONDS_MAX, &s->seconds);
    case 's': return tool_number(value, 1, RECORD_BYTES_MAX, &s->record_bytes);
    default: s->json = true; return true;
  }
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"seconds", required_argument, NULL, 't'},
      {"size", required_argument, NULL, 's'},
      {"json", no_argument, NULL, 'j'},
      {0}};
  settings s = {.seconds = SECONDS_DEFAULT,
                .record_bytes = RECORD_BYTES_DEFAULT,
                .path = "."};
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (!set_option(&s, option, optarg))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  if (optind < argc) s.path = tool_directory(argc, argv);
  return s.path == NULL ? TOOL_USAGE : bench(&s);
}

static const char help[] =
    "Tells what a sync costs on the disk that holds DIR (default: the current\n"
    "directory), then what an append costs in each durability mode, how many\n"
    "bytes each sync writes, and what a power cut takes. Takes at most about "
    "a\n"
    "minute and writes at most about 1 GiB, into a directory of its own in\n"
    "DIR, which it removes at the end; 512 MiB must be free. No other log is\n"
    "touched.\n"
    "\n"
    "  --seconds N         take at most about so long (default 60)\n"
    "  --size B            bytes of a record (default 100, at most 1M)\n"
    "  --json              one JSON object at the end; times in nanoseconds\n";

const tool_command tool_bench = {
    .name = "bench",
    .arguments = "[options] [DIR]",
    .summary = "measure what durability costs on this disk",
    .help = help,
    .run = run,
};
