/* SPDX-License-Identifier: MIT
 *
 * duralog cat: records to stdout.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tool.h"

typedef enum format { RAW, OFFSET, JSON, LENGTH_PREFIXED } format;

typedef struct settings {
  uint64_t from, to, count;
  tool_times times;
  int64_t now_ms; /* that relative times count from: one for all of them */
  duralog_level level;
  format format;
  int terminator;
  const char *path;
} settings;

static void put_prefix(size_t size) {
  for (int shift = 0; shift < 32; shift += 8)
    putchar((int)(size >> shift & 0xFF));
}

static void put_json(const duralog_record *record) {
  tool_json json = {.out = stdout};
  tool_json_open(&json, NULL, '{');
  tool_json_number(&json, "offset", record->offset);
  tool_json_number(&json, "epoch", record->epoch);
  tool_json_time(&json, "timestamp_ms", record->timestamp_ms);
  if (record->key != NULL)
    tool_json_bytes(&json, "key", record->key, record->key_size);
  tool_json_bytes(&json, "data", record->data, record->size);
  tool_json_close(&json, '}');
}

static void put_record(const settings *s, const duralog_record *record) {
  char time[TOOL_TIME_BYTES];
  switch (s->format) {
    case JSON: put_json(record); break;
    case OFFSET:
      tool_time(record->timestamp_ms, time);
      printf("%" PRIu64 "\t%s\t", record->offset, time);
      fwrite(record->data, 1, record->size, stdout);
      break;
    case LENGTH_PREFIXED:
      put_prefix(record->size);
      fwrite(record->data, 1, record->size, stdout);
      return;
    case RAW: fwrite(record->data, 1, record->size, stdout); break;
  }
  putchar(s->terminator);
}

static void print_damage(const duralog_damage *damage) {
  fputs("duralog: damaged, left out: ", stderr);
  tool_print_damage(stderr, damage);
}

/* Damage that opening saw and the walk did not meet, within its bounds. */
static bool print_missed(const tool_scan *scan) {
  bool any = false;
  for (size_t i = 0; tool_scan_reported(scan, i); i++) {
    const duralog_damage *damage = &scan->report->damage[i];
    if (!tool_scan_met(scan, i) && damage->to > scan->from &&
        damage->from < scan->to) {
      print_damage(damage);
      any = true;
    }
  }
  return any;
}

static int put_all(const settings *s, tool_scan *scan, const duralog *log) {
  duralog_record record;
  duralog_damage damage;
  duralog_error error = DURALOG_OK;
  while (error != DURALOG_E_AT_END && ferror(stdout) == 0) {
    error = tool_scan_next(scan, &record, &damage);
    if (error == DURALOG_OK)
      put_record(s, &record);
    else if (error == DURALOG_E_CORRUPT)
      print_damage(&damage);
    else if (error != DURALOG_E_AT_END)
      return tool_finish_output(tool_fail_on("reading", s->path, error, log));
  }
  int code = tool_finish_output(TOOL_OK);
  bool missed =
      error == DURALOG_E_AT_END && scan->records_left > 0 && print_missed(scan);
  if (code == TOOL_OK && (scan->damage_met > 0 || missed)) code = TOOL_DAMAGE;
  return code;
}

static int fail_range(const settings *s, duralog *log) {
  duralog_watermarks marks = {.struct_size = sizeof marks};
  duralog_error error = duralog_get_watermarks(log, &marks);
  if (error != DURALOG_OK)
    return tool_fail_on("examining", s->path, error, log);
  uint64_t end = s->level == DURALOG_LEVEL_DURABLE ? marks.durable : marks.end;
  fprintf(
      stderr,
      "duralog: %s: %s: %" PRIu64 " is not from %" PRIu64 " to %" PRIu64 "\n",
      s->path, duralog_error_text(DURALOG_E_RANGE), s->from, marks.start, end);
  return tool_exit_code(DURALOG_E_RANGE);
}

static int cat_log(const settings *s, duralog *log,
                   const duralog_report *report) {
  tool_scan scan;
  duralog_error error = tool_scan_open(&scan, log, report, s->level, s->from,
                                       s->to, s->count, &s->times);
  if (error == DURALOG_E_RANGE) return fail_range(s, log);
  if (error != DURALOG_OK) return tool_fail_on("reading", s->path, error, log);
  int code = put_all(s, &scan, log);
  duralog_reader_close(&scan.reader);
  return code;
}

static int cat(const settings *s) {
  duralog *log;
  duralog_report report;
  int code = tool_open_read_only(s->path, &log, &report);
  if (code != TOOL_OK) return code;
  code = cat_log(s, log, &report);
  duralog_error error = duralog_close(&log);
  if (code == TOOL_OK && error != DURALOG_OK)
    code = tool_fail("closing", s->path, error, NULL);
  return code;
}

static bool set_format(settings *s, const char *value) {
  if (strcmp(value, "raw") == 0)
    s->format = RAW;
  else if (strcmp(value, "offset") == 0)
    s->format = OFFSET;
  else if (strcmp(value, "json") == 0)
    s->format = JSON;
  else
    return false;
  return true;
}

static bool set_option(settings *s, int option, const char *value) {
  switch (option) {
    case 'f': return tool_number(value, 0, UINT64_MAX - 1, &s->from);
    case 't': return tool_number(value, 0, UINT64_MAX, &s->to);
    case 'c': return tool_number(value, 0, UINT64_MAX, &s->count);
    case 's':
      s->times.has_since = true;
      return tool_timestamp(value, s->now_ms, &s->times.since_ms);
    case 'u':
      s->times.has_until = true;
      return tool_timestamp(value, s->now_ms, &s->times.until_ms);
    case 'F': return set_format(s, value);
    case 'd': s->level = DURALOG_LEVEL_DURABLE; return true;
    case 'j': s->format = JSON; return true;
    case '0': s->terminator = '\0'; return true;
    default: s->format = LENGTH_PREFIXED; return true;
  }
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"from", required_argument, NULL, 'f'},
      {"to", required_argument, NULL, 't'},
      {"since", required_argument, NULL, 's'},
      {"until", required_argument, NULL, 'u'},
      {"count", required_argument, NULL, 'c'},
      {"format", required_argument, NULL, 'F'},
      {"json", no_argument, NULL, 'j'},
      {"durable", no_argument, NULL, 'd'},
      {"null", no_argument, NULL, '0'},
      {"length-prefixed", no_argument, NULL, 'l'},
      {0}};
  settings s = {.from = UINT64_MAX,
                .to = UINT64_MAX,
                .count = UINT64_MAX,
                .now_ms = now_ms(),
                .level = DURALOG_LEVEL_WRITTEN,
                .terminator = '\n'};
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (!set_option(&s, option, optarg))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  s.path = tool_directory(argc, argv);
  return s.path == NULL ? TOOL_USAGE : cat(&s);
}

static const char help[] =
    "Prints each record and a newline. Where another process writes, shows\n"
    "the log as it was at the start. Damaged records are named on standard\n"
    "error and left out; the exit code is then 3.\n"
    "\n"
    "  --from N            begin at this offset (default: the oldest)\n"
    "  --to N              end before this offset\n"
    "  --since TIME        begin at the first record of that time or later\n"
    "  --until TIME        end before the first record of that time or later;\n"
    "                      so the next --since TIME goes on there. Where "
    "times\n"
    "                      are out of order, records between the two ends may\n"
    "                      be older or newer. With --from and --to, whichever\n"
    "                      is narrower\n"
    "  --count N           at most so many records\n"
    "  --durable           only what is known to survive power loss; of a\n"
    "                      living writer's last records it is not known\n"
    "  --format FORMAT     raw     the record (default)\n"
    "                      offset  offset, tab, time, tab, the record\n"
    "                      json    one object a line; bytes that are not\n"
    "                              UTF-8 as base64: data_base64, key_base64\n"
    "  --json              the same as --format json\n"
    "  --null              end each with a zero byte, not a newline\n"
    "  --length-prefixed   4 bytes of length, little-endian, and the record,\n"
    "                      as append --length-prefixed reads it\n"
    "\n"
    "TIME is 2026-11-25T17:00:00Z (UTC; a fraction of a second may follow),\n"
    "-10m before now (s, m, h or d), or milliseconds since 1970.\n";

const tool_command tool_cat = {
    .name = "cat",
    .arguments = "[options] DIR",
    .summary = "print records",
    .help = help,
    .run = run,
};
