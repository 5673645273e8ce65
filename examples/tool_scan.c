/* SPDX-License-Identifier: MIT
 *
 * Reading a log that may be damaged: each damaged range is told once and
 * passed. Opening may know of damage that no reader meets (a missing file at
 * either end, the meta file); the scan keeps book of what it met, so that a
 * walk over everything does not end in silence.
 */
#include <inttypes.h>

#include "tool.h"

int tool_open_read_only(const char *path, duralog **log,
                        duralog_report *report) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  *report = (duralog_report){.struct_size = sizeof *report};
  duralog_error error = duralog_open(path, &options, log, report, &diagnostic);
  if (error == DURALOG_OK) return TOOL_OK;
  return tool_fail("opening", path, error, &diagnostic);
}

/* The offset of the first record of that time or later, or the end. */
static duralog_error offset_of(tool_scan *scan, int64_t time_ms,
                               uint64_t *offset) {
  duralog_error error = duralog_seek_time(scan->reader, time_ms);
  return error == DURALOG_OK ? duralog_tell(scan->reader, offset) : error;
}

/* Damage right before the position may hold records of the same time: begin
 * with it, so that it is told. */
static void take_in_damage(tool_scan *scan, uint64_t *offset) {
  duralog_record record;
  duralog_damage damage;
  if (duralog_read_previous(scan->reader, &record) == DURALOG_E_CORRUPT &&
      duralog_reader_diagnose(scan->reader, &damage, NULL) == DURALOG_OK &&
      damage.from < *offset)
    *offset = damage.from;
}

static duralog_error narrow(tool_scan *scan, const tool_times *times) {
  duralog_error error = DURALOG_OK;
  uint64_t offset;
  if (times->has_until) {
    error = offset_of(scan, times->until_ms, &offset);
    if (error == DURALOG_OK && offset < scan->to) scan->to = offset;
  }
  if (error == DURALOG_OK && times->has_since) {
    error = offset_of(scan, times->since_ms, &offset);
    if (error == DURALOG_OK) take_in_damage(scan, &offset);
    if (error == DURALOG_OK &&
        (scan->from == UINT64_MAX || scan->from < offset))
      scan->from = offset;
  }
  return error;
}

/* Not for ever, beside a writer that is faster. */
static duralog_error bound(tool_scan *scan) {
  if (scan->to != UINT64_MAX) return DURALOG_OK;
  duralog_error error = duralog_seek(scan->reader, DURALOG_SEEK_END, 0);
  return error == DURALOG_OK ? duralog_tell(scan->reader, &scan->to) : error;
}

static duralog_error scan_seek(tool_scan *scan, const tool_times *times) {
  duralog_error error = bound(scan);
  if (error == DURALOG_OK && times != NULL) error = narrow(scan, times);
  if (error == DURALOG_OK)
    error = scan->from == UINT64_MAX
                ? duralog_seek(scan->reader, DURALOG_SEEK_START, 0)
                : duralog_seek(scan->reader, DURALOG_SEEK_OFFSET, scan->from);
  if (error == DURALOG_OK) error = duralog_tell(scan->reader, &scan->from);
  return error;
}

duralog_error tool_scan_open(tool_scan *scan, duralog *log,
                             const duralog_report *report, duralog_level level,
                             uint64_t from, uint64_t to, uint64_t count,
                             const tool_times *times) {
  *scan = (tool_scan){
      .report = report, .from = from, .to = to, .records_left = count};
  duralog_error error = duralog_reader_open(log, level, &scan->reader);
  if (error != DURALOG_OK) return error;
  error = scan_seek(scan, times);
  if (error != DURALOG_OK) duralog_reader_close(&scan->reader);
  return error;
}

static size_t reported_damage(const duralog_report *report) {
  size_t max = sizeof report->damage / sizeof report->damage[0];
  return report->damage_count < max ? report->damage_count : max;
}

static bool overlap(const duralog_damage *damage, uint64_t from, uint64_t to) {
  return damage->from < to && from < damage->to;
}

static void mark_met(tool_scan *scan, const duralog_damage *damage) {
  scan->damage_met++;
  for (size_t i = 0; i < reported_damage(scan->report); i++)
    if (overlap(&scan->report->damage[i], damage->from, damage->to))
      scan->met[i] = true;
}

static duralog_error pass_damage(tool_scan *scan, uint64_t position,
                                 duralog_damage *damage) {
  duralog_error error = duralog_reader_diagnose(scan->reader, damage, NULL);
  if (error != DURALOG_OK) return error;
  mark_met(scan, damage);
  /* Where nothing readable follows, this range is the last thing told. */
  if (damage->to <= position ||
      duralog_seek(scan->reader, DURALOG_SEEK_OFFSET, damage->to) != DURALOG_OK)
    scan->over = true;
  return DURALOG_E_CORRUPT;
}

/* A new writer that goes on where the walk is, or further on. */
static bool went_on(const tool_scan *scan, uint64_t position) {
  uint64_t divergence;
  return duralog_reader_divergence(scan->reader, &divergence, NULL) ==
             DURALOG_OK &&
         divergence >= position;
}

duralog_error tool_scan_next(tool_scan *scan, duralog_record *record,
                             duralog_damage *damage) {
  uint64_t position;
  duralog_error error = duralog_tell(scan->reader, &position);
  if (error != DURALOG_OK) return error;
  if (scan->over || scan->records_left == 0 || position >= scan->to)
    return DURALOG_E_AT_END;
  do error = duralog_read_next(scan->reader, record);
  while (error == DURALOG_E_EPOCH && went_on(scan, position));
  if (error == DURALOG_E_CORRUPT) return pass_damage(scan, position, damage);
  if (error == DURALOG_OK) scan->records_left--;
  return error;
}

bool tool_scan_reported(const tool_scan *scan, size_t index) {
  return index < reported_damage(scan->report);
}

bool tool_scan_met(const tool_scan *scan, size_t index) {
  return scan->met[index];
}

static void print_offsets(FILE *out, const duralog_damage *damage) {
  if (damage->to <= damage->from)
    fputs("no offset", out);
  else if (damage->to == damage->from + 1)
    fprintf(out, "offset %" PRIu64, damage->from);
  else
    fprintf(out, "offsets %" PRIu64 " to %" PRIu64, damage->from,
            damage->to - 1);
}

void tool_print_damage(FILE *out, const duralog_damage *damage) {
  print_offsets(out, damage);
  if (damage->segment == 0)
    fputs(", meta file", out);
  else
    fprintf(out, ", %020" PRIu64 ".seg", damage->segment);
  fprintf(out, " at byte %" PRIu64 "\n", damage->position);
}
