/* SPDX-License-Identifier: MIT
 *
 * duralog info: what a log consists of, as a table or as JSON.
 */
#include <inttypes.h>

#include "tool.h"

typedef struct facts {
  const char *path;
  duralog *log;
  duralog_report report;
  duralog_watermarks marks;
} facts;

static size_t damage_shown(const duralog_report *report) {
  size_t max = sizeof report->damage / sizeof report->damage[0];
  return report->damage_count < max ? report->damage_count : max;
}

/* Calls `print` for each segment. */
static duralog_error each_segment(duralog *log,
                                  void (*print)(void *, size_t,
                                                const duralog_segment *),
                                  void *context) {
  duralog_segment segment = {.struct_size = sizeof segment};
  for (size_t i = 0;; i++) {
    duralog_error error = duralog_get_segment(log, i, &segment);
    if (error == DURALOG_E_RANGE) return DURALOG_OK;
    if (error != DURALOG_OK) return error;
    print(context, i, &segment);
  }
}

/* ------------------------------------------------------------- table -- */

static void print_offsets(const duralog_watermarks *marks) {
  printf("records      %" PRIu64, marks->end - marks->start);
  if (marks->end > marks->start)
    printf(", offsets %" PRIu64 " to %" PRIu64, marks->start, marks->end - 1);
  printf("\nstart        %" PRIu64 "\nend          %" PRIu64
         "\ndurable      %" PRIu64,
         marks->start, marks->end, marks->durable);
  if (marks->durable < marks->end)
    printf(" (not known of %" PRIu64 " records)", marks->end - marks->durable);
  printf("\nepoch        %" PRIu64 "\n", marks->epoch);
}

static const char *state_text(const duralog_report *report) {
  if (report->writer_lives)
    return "in use: a writer lives; this is how it was just now";
  return report->clean ? "closed cleanly" : "not closed cleanly";
}

static void print_state(const duralog_report *report) {
  printf("state        %s\n", state_text(report));
  if (report->torn_bytes > 0)
    printf("torn         %" PRIu64 " bytes, which the next writer cuts\n",
           report->torn_bytes);
  if (report->reboot_known)
    printf("rebooted     %s\n", report->rebooted ? "yes, since the last writer"
                                                 : "not since the last writer");
  if (report->fs_memory)
    puts("file system  in memory: nothing survives power loss");
  else if (report->fs_overlay)
    puts("file system  overlay: as safe as the one below it");
  else if (report->fs_fuse)
    puts("file system  FUSE: as safe as its server");
}

static void print_damage(const duralog_report *report) {
  size_t shown = damage_shown(report);
  if (report->damage_count == 0)
    puts("damage       none seen at opening (verify reads all)");
  for (size_t i = 0; i < shown; i++) {
    fputs(i == 0 ? "damage       " : "             ", stdout);
    tool_print_damage(stdout, &report->damage[i]);
  }
  if (report->damage_count > shown)
    printf("             and %zu more\n", report->damage_count - shown);
}

static void used_text(const duralog_segment *segment, char out[24]) {
  if (segment->used == 0)
    snprintf(out, 24, "unknown");
  else
    snprintf(out, 24, "%" PRIu64, segment->used);
}

static void time_text(const duralog_segment *segment, int64_t time_ms,
                      char out[TOOL_TIME_BYTES]) {
  if (segment->has_times)
    tool_time(time_ms, out);
  else
    snprintf(out, TOOL_TIME_BYTES, "%s",
             segment->first == segment->end ? "none" : "unknown");
}

static void print_segment(void *context, size_t index,
                          const duralog_segment *segment) {
  (void)context;
  char first[TOOL_TIME_BYTES], newest[TOOL_TIME_BYTES], used[24];
  if (index == 0)
    printf("\n%8s %12s %12s %6s %11s %11s  %-24s  %-24s  %s\n", "segment",
           "first", "end", "epoch", "used", "bytes", "first record",
           "latest time", "state");
  printf("%8" PRIu64, segment->number);
  if (segment->damaged) {
    puts(" its header cannot be read");
    return;
  }
  time_text(segment, segment->time_first_ms, first);
  time_text(segment, segment->time_max_ms, newest);
  used_text(segment, used);
  printf(" %12" PRIu64 " %12" PRIu64 " %6" PRIu64 " %11s %11" PRIu64
         "  %-24s  %-24s  %s\n",
         segment->first, segment->end, segment->epoch, used, segment->bytes,
         first, newest, segment->sealed ? "sealed" : "open");
}

static duralog_error print_table(const facts *f) {
  printf("log          %s\n", f->path);
  print_offsets(&f->marks);
  print_state(&f->report);
  print_damage(&f->report);
  return each_segment(f->log, print_segment, NULL);
}

/* -------------------------------------------------------------- JSON -- */

static void json_state(tool_json *json, const duralog_report *report) {
  tool_json_bool(json, "writer_lives", report->writer_lives);
  tool_json_bool(json, "clean", report->clean);
  tool_json_number(json, "torn_bytes", report->torn_bytes);
  if (report->reboot_known)
    tool_json_bool(json, "rebooted", report->rebooted);
  else
    tool_json_null(json, "rebooted");
  tool_json_bool(json, "fs_overlay", report->fs_overlay);
  tool_json_bool(json, "fs_memory", report->fs_memory);
  tool_json_bool(json, "fs_fuse", report->fs_fuse);
}

static void json_damage(tool_json *json, const duralog_report *report) {
  tool_json_number(json, "damage_count", report->damage_count);
  tool_json_open(json, "damage", '[');
  for (size_t i = 0; i < damage_shown(report); i++)
    tool_json_damage(json, &report->damage[i]);
  tool_json_close(json, ']');
}

static void json_time(tool_json *json, const char *name,
                      const duralog_segment *segment, int64_t time_ms) {
  if (segment->has_times)
    tool_json_time(json, name, time_ms);
  else
    tool_json_null(json, name);
}

static void json_segment(void *context, size_t index,
                         const duralog_segment *segment) {
  tool_json *json = context;
  (void)index;
  tool_json_open(json, NULL, '{');
  tool_json_number(json, "number", segment->number);
  tool_json_number(json, "first", segment->first);
  tool_json_number(json, "end", segment->end);
  tool_json_number(json, "bytes", segment->bytes);
  if (segment->used == 0)
    tool_json_null(json, "used");
  else
    tool_json_number(json, "used", segment->used);
  tool_json_number(json, "epoch", segment->epoch);
  tool_json_time(json, "created_ms", segment->created_ms);
  json_time(json, "time_first_ms", segment, segment->time_first_ms);
  json_time(json, "time_max_ms", segment, segment->time_max_ms);
  tool_json_bool(json, "sealed", segment->sealed);
  tool_json_bool(json, "damaged", segment->damaged);
  tool_json_close(json, '}');
}

static duralog_error print_json(const facts *f) {
  tool_json json = {.out = stdout};
  tool_json_open(&json, NULL, '{');
  tool_json_string(&json, "path", f->path);
  tool_json_number(&json, "start", f->marks.start);
  tool_json_number(&json, "end", f->marks.end);
  tool_json_number(&json, "durable", f->marks.durable);
  tool_json_number(&json, "epoch", f->marks.epoch);
  json_state(&json, &f->report);
  json_damage(&json, &f->report);
  tool_json_open(&json, "segments", '[');
  duralog_error error = each_segment(f->log, json_segment, &json);
  tool_json_close(&json, ']');
  tool_json_end(&json);
  return error;
}

/* ----------------------------------------------------------- command -- */

static int info(const char *path, bool json) {
  facts f = {.path = path, .marks.struct_size = sizeof f.marks};
  int code = tool_open_read_only(path, &f.log, &f.report);
  if (code != TOOL_OK) return code;
  duralog_error error = duralog_get_watermarks(f.log, &f.marks);
  if (error == DURALOG_OK) error = json ? print_json(&f) : print_table(&f);
  if (error != DURALOG_OK)
    code = tool_fail_on("examining", path, error, f.log);
  else if (f.report.damage_count > 0)
    code = TOOL_DAMAGE;
  code = tool_finish_output(code);
  error = duralog_close(&f.log);
  if (code == TOOL_OK && error != DURALOG_OK)
    code = tool_fail("closing", path, error, NULL);
  return code;
}

static int run(int argc, char **argv) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {0}};
  bool json = false;
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    json = true;
  }
  const char *path = tool_directory(argc, argv);
  return path == NULL ? TOOL_USAGE : info(path, json);
}

static const char help[] =
    "Start, end and durable are offsets, each the first one beyond. The\n"
    "exit code is 3 if opening finds damage; only verify reads all.\n"
    "A segment's latest time is the largest of its records, which need not be\n"
    "the last one's where a program gave its own times.\n"
    "\n"
    "  --json              one JSON object\n";

const tool_command tool_info = {
    .name = "info",
    .arguments = "[--json] DIR",
    .summary = "show watermarks, segments, their times, the last close",
    .help = help,
    .run = run,
};
