/* SPDX-License-Identifier: MIT
 *
 * duralog verify: read every record, which checks every checksum.
 */
#include <inttypes.h>
#include <unistd.h>

#include "tool.h"

/* Drawn anew only when the percentage has changed. */
typedef struct progress {
  bool shown;
  unsigned percent;
  uint64_t start, end;
} progress;

typedef struct findings {
  uint64_t records, bytes, segments, damaged;
  uint64_t untold; /* of those: opening counted them and told no range */
  tool_json *json; /* NULL: text */
} findings;

static void progress_draw(unsigned percent) {
  enum { WIDTH = 50 };
  static const char bar[] =
      "##################################################";
  _Static_assert(sizeof bar == WIDTH + 1, "one sign for each place");
  int filled = (int)percent * WIDTH / 100;
  fprintf(stderr, "\r[%.*s%*s] %3u %%", filled, bar, WIDTH - filled, "",
          percent);
}

static void progress_show(progress *p, uint64_t offset) {
  if (!p->shown || p->end <= p->start) return;
  double part = (double)(offset - p->start) / (double)(p->end - p->start);
  unsigned percent = (unsigned)(100 * part);
  if (percent == p->percent) return;
  p->percent = percent;
  progress_draw(percent);
}

static void progress_clear(const progress *p) {
  if (p->shown) fputs("\r\033[K", stderr);
}

static void found_damage(findings *found, const duralog_damage *damage) {
  found->damaged++;
  if (found->json != NULL) {
    tool_json_damage(found->json, damage);
    return;
  }
  fputs("damaged: ", stdout);
  tool_print_damage(stdout, damage);
}

static void found_header(findings *found, uint64_t segment) {
  found->damaged++;
  if (found->json == NULL) {
    printf("damaged: header of %020" PRIu64 ".seg\n", segment);
    return;
  }
  tool_json_open(found->json, NULL, '{');
  tool_json_number(found->json, "segment", segment);
  tool_json_bool(found->json, "header", true);
  tool_json_close(found->json, '}');
}

/* The records: each is read, and its checksum with it. */
static duralog_error verify_records(tool_scan *scan, progress *p,
                                    findings *found) {
  duralog_record record;
  duralog_damage damage;
  for (;;) {
    duralog_error error = tool_scan_next(scan, &record, &damage);
    if (error == DURALOG_OK) {
      found->records++;
      found->bytes += record.size + record.key_size;
      progress_show(p, record.offset + 1);
    } else if (error == DURALOG_E_CORRUPT) {
      progress_clear(p);
      found_damage(found, &damage);
    } else {
      return error == DURALOG_E_AT_END ? DURALOG_OK : error;
    }
  }
}

static duralog_error verify_segments(duralog *log, findings *found) {
  duralog_segment segment = {.struct_size = sizeof segment};
  for (;; found->segments++) {
    duralog_error error =
        duralog_get_segment(log, (size_t)found->segments, &segment);
    if (error == DURALOG_E_RANGE) return DURALOG_OK;
    if (error != DURALOG_OK) return error;
    if (segment.damaged) found_header(found, segment.number);
  }
}

/* What opening reported and no reader met. */
static void verify_rest(const tool_scan *scan, findings *found) {
  size_t i;
  for (i = 0; tool_scan_reported(scan, i); i++)
    if (!tool_scan_met(scan, i)) found_damage(found, &scan->report->damage[i]);
  if (scan->report->damage_count > i && found->damaged <= i) {
    found->untold = scan->report->damage_count - i;
    found->damaged += found->untold;
    if (found->json == NULL)
      printf("damaged: %" PRIu64 " more ranges\n", found->untold);
  }
}

static duralog_error verify_all(duralog *log, const duralog_report *report,
                                findings *found) {
  tool_scan scan;
  duralog_error error =
      tool_scan_open(&scan, log, report, DURALOG_LEVEL_WRITTEN, UINT64_MAX,
                     UINT64_MAX, UINT64_MAX, NULL);
  if (error != DURALOG_OK) return error;
  progress p = {.shown = isatty(STDERR_FILENO) == 1,
                .percent = 101,
                .start = scan.from,
                .end = report->end};
  error = verify_records(&scan, &p, found);
  progress_clear(&p);
  if (error == DURALOG_OK) error = verify_segments(log, found);
  if (error == DURALOG_OK) verify_rest(&scan, found);
  duralog_reader_close(&scan.reader);
  return error;
}

static void print_findings(const duralog_report *report,
                           const findings *found) {
  if (report->torn_bytes > 0)
    printf("unfinished end: %" PRIu64
           " bytes, which the next writer cuts; this is no damage\n",
           report->torn_bytes);
  printf("records %" PRIu64 ", bytes %" PRIu64 ", segments %" PRIu64 ": ",
         found->records, found->bytes, found->segments);
  if (found->damaged == 0)
    puts("no damage");
  else
    printf("%" PRIu64 " damaged\n", found->damaged);
}

static void json_findings(const duralog_report *report, const findings *found,
                          bool complete) {
  tool_json *json = found->json;
  tool_json_close(json, ']');
  tool_json_number(json, "damaged", found->damaged);
  tool_json_number(json, "damaged_untold", found->untold);
  tool_json_number(json, "torn_bytes", report->torn_bytes);
  tool_json_number(json, "records", found->records);
  tool_json_number(json, "bytes", found->bytes);
  tool_json_number(json, "segments", found->segments);
  tool_json_bool(json, "complete", complete);
  tool_json_end(json);
}

/* The damage is told as it is found, in both forms. */
static duralog_error report_all(const char *path, duralog *log,
                                const duralog_report *report, findings *found) {
  if (found->json != NULL) {
    tool_json_open(found->json, NULL, '{');
    tool_json_string(found->json, "path", path);
    tool_json_open(found->json, "damage", '[');
  }
  duralog_error error = verify_all(log, report, found);
  if (found->json != NULL)
    json_findings(report, found, error == DURALOG_OK);
  else if (error == DURALOG_OK)
    print_findings(report, found);
  return error;
}

static int verify(const char *path, tool_json *json) {
  duralog *log;
  duralog_report report;
  findings found = {.json = json};
  int code = tool_open_read_only(path, &log, &report);
  if (code != TOOL_OK) return code;
  duralog_error error = report_all(path, log, &report, &found);
  if (error != DURALOG_OK) code = tool_fail_on("reading", path, error, log);
  if (code == TOOL_OK && found.damaged > 0) code = TOOL_DAMAGE;
  code = tool_finish_output(code);
  error = duralog_close(&log);
  if (code == TOOL_OK && error != DURALOG_OK)
    code = tool_fail("closing", path, error, NULL);
  return code;
}

static int run(int argc, char **argv) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {0}};
  tool_json json = {.out = stdout};
  bool wanted = false;
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    wanted = true;
  }
  const char *path = tool_directory(argc, argv);
  return path == NULL ? TOOL_USAGE : verify(path, wanted ? &json : NULL);
}

static const char help[] =
    "Names each range that cannot be read; the exit code is then 3. The\n"
    "log is not changed, and may be in use by a writer.\n"
    "\n"
    "  --json              one JSON object\n";

const tool_command tool_verify = {
    .name = "verify",
    .arguments = "[--json] DIR",
    .summary = "read every record and check every checksum",
    .help = help,
    .run = run,
};
