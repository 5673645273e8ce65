/* SPDX-License-Identifier: MIT
 *
 * duralog cat: records to stdout.
 */
#include "tool.h"

typedef struct settings {
  uint64_t from, to, count;
  tool_times times;
  int64_t now_ms; /* that relative times count from: one for all of them */
  duralog_level level;
  tool_format format;
  int terminator;
  const char *path;
} settings;

static int put_all(const settings *s, tool_scan *scan, const duralog *log) {
  duralog_record record;
  duralog_damage damage;
  duralog_error error = DURALOG_OK;
  while (error != DURALOG_E_AT_END && ferror(stdout) == 0) {
    error = tool_scan_next(scan, &record, &damage);
    if (error == DURALOG_OK)
      tool_record_print(&record, s->format, s->terminator);
    else if (error == DURALOG_E_CORRUPT)
      tool_left_out(&damage);
    else if (error != DURALOG_E_AT_END)
      return tool_finish_output(tool_fail_on("reading", s->path, error, log));
  }
  int code = tool_finish_output(TOOL_OK);
  bool missed = error == DURALOG_E_AT_END && scan->records_left > 0 &&
                tool_left_out_unmet(scan);
  if (code == TOOL_OK && (scan->damage_met > 0 || missed)) code = TOOL_DAMAGE;
  return code;
}

static int cat_log(const settings *s, duralog *log,
                   const duralog_report *report) {
  tool_scan scan;
  duralog_error error = tool_scan_open(&scan, log, report, s->level, s->from,
                                       s->to, s->count, &s->times);
  if (error == DURALOG_E_RANGE)
    return tool_fail_range(s->path, log, s->level, s->from);
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
    case 'F': return tool_record_format(value, &s->format);
    case 'd': s->level = DURALOG_LEVEL_DURABLE; return true;
    case 'j': s->format = TOOL_JSON; return true;
    case '0': s->terminator = '\0'; return true;
    default: s->format = TOOL_LENGTH_PREFIXED; return true;
  }
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
                .now_ms = tool_now_ms(),
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
