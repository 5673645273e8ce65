/* SPDX-License-Identifier: MIT
 *
 * Records on standard output, for each command that prints them.
 */
#include <inttypes.h>
#include <string.h>

#include "tool.h"

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

void tool_record_print(const duralog_record *record, tool_format format,
                       int terminator) {
  char time[TOOL_TIME_BYTES];
  switch (format) {
    case TOOL_JSON: put_json(record); break;
    case TOOL_WITH_OFFSET:
      tool_time(record->timestamp_ms, time);
      printf("%" PRIu64 "\t%s\t", record->offset, time);
      fwrite(record->data, 1, record->size, stdout);
      break;
    case TOOL_LENGTH_PREFIXED:
      put_prefix(record->size);
      fwrite(record->data, 1, record->size, stdout);
      return;
    case TOOL_RAW: fwrite(record->data, 1, record->size, stdout); break;
  }
  putchar(terminator);
}

bool tool_record_format(const char *text, tool_format *format) {
  if (strcmp(text, "raw") == 0)
    *format = TOOL_RAW;
  else if (strcmp(text, "offset") == 0)
    *format = TOOL_WITH_OFFSET;
  else if (strcmp(text, "json") == 0)
    *format = TOOL_JSON;
  else
    return false;
  return true;
}

void tool_left_out(const duralog_damage *damage) {
  fflush(stdout); /* where both go to one place, in the order of the log */
  fputs("duralog: damaged, left out: ", stderr);
  tool_print_damage(stderr, damage);
}

bool tool_left_out_unmet(const tool_scan *scan) {
  bool any = false;
  for (size_t i = 0; tool_scan_reported(scan, i); i++) {
    const duralog_damage *damage = &scan->report->damage[i];
    if (!tool_scan_met(scan, i) && damage->to > scan->from &&
        damage->from < scan->to) {
      tool_left_out(damage);
      any = true;
    }
  }
  return any;
}

int tool_fail_range(const char *path, duralog *log, duralog_level level,
                    uint64_t offset) {
  duralog_watermarks marks = {.struct_size = sizeof marks};
  duralog_error error = duralog_get_watermarks(log, &marks);
  if (error != DURALOG_OK) return tool_fail_on("examining", path, error, log);
  uint64_t end = level == DURALOG_LEVEL_DURABLE ? marks.durable : marks.end;
  fprintf(stderr,
          "duralog: %s: %s: %" PRIu64 " is not from %" PRIu64 " to %" PRIu64
          "\n",
          path, duralog_error_text(DURALOG_E_RANGE), offset, marks.start, end);
  return tool_exit_code(DURALOG_E_RANGE);
}
