/* SPDX-License-Identifier: MIT
 *
 * What can be known of a log by those who do not write it: from its watermarks,
 * from its segments, by reading it, and by watching its writer for a while. A
 * writer's own statistics (waits, syncs and their times) are in its process.
 */
#include <time.h>

#include "tool.h"

#define LOOK_MS 5 /* between two looks at a lag */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---------------------------------------------------------- gathering -- */

/* `payload_bytes` of it: 0 where nothing was read. */
static void add_segment(tool_facts *f, const duralog_segment *segment,
                        const tool_part *part) {
  f->segments++;
  f->sealed += segment->sealed;
  f->file_bytes += segment->bytes;
  if (segment->used != 0) {
    f->known++;
    f->usable += segment->bytes;
    f->used += segment->used;
    f->known_records += part->records;
    f->known_payload += part->payload_bytes;
  }
  f->all.records += part->records;
  f->all.payload_bytes += part->payload_bytes;
  if (part->records > 0) f->last = *part;
  if (!part->has_times) return;
  if (!f->all.has_times || part->first_ms < f->all.first_ms)
    f->all.first_ms = part->first_ms;
  if (!f->all.has_times || part->latest_ms > f->all.latest_ms)
    f->all.latest_ms = part->latest_ms;
  f->all.has_times = true;
}

/* The records up to scan->to. */
static duralog_error read_part(tool_facts *f, tool_scan *scan, uint64_t *epoch,
                               tool_part *part) {
  duralog_record record;
  duralog_damage damage;
  for (;;) {
    duralog_error error = tool_scan_next(scan, &record, &damage);
    if (error == DURALOG_E_CORRUPT) {
      tool_left_out(&damage);
      f->damaged++;
    } else if (error != DURALOG_OK) {
      return error == DURALOG_E_AT_END ? DURALOG_OK : error;
    } else {
      part->records++;
      part->payload_bytes += record.size + record.key_size;
      f->epochs += f->epochs == 0 || record.epoch != *epoch;
      *epoch = record.epoch;
    }
  }
}

/* Each segment, and its records if there is a scan. */
static duralog_error each_segment(tool_facts *f, duralog *log, tool_scan *scan,
                                  uint64_t *epoch) {
  duralog_segment segment = {.struct_size = sizeof segment};
  for (size_t i = 0;; i++) {
    duralog_error error = duralog_get_segment(log, i, &segment);
    if (error == DURALOG_E_RANGE) return DURALOG_OK;
    if (error != DURALOG_OK) return error;
    uint64_t end = least(segment.end, f->marks.end);
    tool_part part = {.has_times = segment.has_times,
                      .first_ms = segment.time_first_ms,
                      .latest_ms = segment.time_max_ms};
    if (scan != NULL) {
      scan->to = end;
      error = read_part(f, scan, epoch, &part);
      if (error != DURALOG_OK) return error;
    } else if (end > segment.first) {
      part.records = end - segment.first;
    }
    add_segment(f, &segment, &part);
  }
}

static duralog_error read_all_of(tool_facts *f, duralog *log) {
  tool_scan scan;
  tool_part nothing = {0};
  uint64_t epoch = 0;
  duralog_error error =
      tool_scan_open(&scan, log, &f->report, DURALOG_LEVEL_WRITTEN, UINT64_MAX,
                     f->marks.end, UINT64_MAX, NULL);
  if (error != DURALOG_OK) return error;
  error = each_segment(f, log, &scan, &epoch);
  scan.to = f->marks.end; /* where no segment is left, there may be damage */
  if (error == DURALOG_OK) error = read_part(f, &scan, &epoch, &nothing);
  if (error == DURALOG_OK && tool_left_out_unmet(&scan)) f->damaged++;
  duralog_reader_close(&scan.reader);
  f->all_read = error == DURALOG_OK;
  return error;
}

/* The age of the first record that may not be durable. */
static void look_at_oldest(tool_facts *f, duralog *log) {
  duralog_reader *reader;
  duralog_record record;
  if (f->marks.durable >= f->marks.end ||
      duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader) != DURALOG_OK)
    return;
  int64_t now = tool_now_ms();
  if (duralog_read_at(reader, f->marks.durable, &record) == DURALOG_OK &&
      record.timestamp_ms < now)
    f->oldest_undurable_ms = (uint64_t)now - (uint64_t)record.timestamp_ms;
  duralog_reader_close(&reader);
}

duralog_error tool_facts_gather(tool_facts *f, duralog *log, bool read_all) {
  f->marks.struct_size = sizeof f->marks;
  duralog_error error = duralog_get_watermarks(log, &f->marks);
  if (error != DURALOG_OK) return error;
  look_at_oldest(f, log);
  if (read_all) return read_all_of(f, log);
  f->damaged = f->report.damage_count;
  return each_segment(f, log, NULL, NULL);
}

/* ----------------------------------------------------------- sampling -- */

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Where it ends after that time, and how far `durable` was behind. */
static duralog_error watch(duralog *log, uint64_t deadline, tool_sample *sample,
                           uint64_t *end) {
  static const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
  duralog_watermarks marks = {.struct_size = sizeof marks};
  for (;;) {
    duralog_error error = duralog_get_watermarks(log, &marks);
    if (error != DURALOG_OK) return error;
    if (marks.end - marks.durable > sample->lag_max)
      sample->lag_max = marks.end - marks.durable;
    *end = marks.end;
    if (now_ns() >= deadline) return DURALOG_OK;
    nanosleep(&pause, NULL);
  }
}

/* The bytes are those of the records that have come: at the end, so that
 * reading takes nothing from the writer meanwhile. */
static duralog_error sample_with(tool_scan *scan, duralog *log,
                                 uint64_t interval_ms, tool_sample *sample) {
  uint64_t first, end = 0, began = now_ns();
  duralog_record record;
  duralog_damage damage;
  duralog_error error = duralog_tell(scan->reader, &first);
  if (error == DURALOG_OK)
    error = watch(log, began + interval_ms * 1000000, sample, &end);
  if (error != DURALOG_OK) return error;
  sample->ns = now_ns() - began;
  sample->records = end > first ? end - first : 0;
  scan->to = end;
  do {
    error = tool_scan_next(scan, &record, &damage);
    if (error == DURALOG_OK)
      sample->payload_bytes += record.size + record.key_size;
  } while (error == DURALOG_OK || error == DURALOG_E_CORRUPT);
  return error == DURALOG_E_AT_END ? DURALOG_OK : error;
}

duralog_error tool_facts_sample(tool_facts *f, duralog *log,
                                uint64_t interval_ms) {
  tool_scan scan;
  if (!f->report.writer_lives || !f->report.follows || interval_ms == 0)
    return DURALOG_OK;
  duralog_error error =
      tool_scan_open(&scan, log, &f->report, DURALOG_LEVEL_WRITTEN, UINT64_MAX,
                     UINT64_MAX, UINT64_MAX, NULL);
  if (error != DURALOG_OK) return error;
  error = duralog_seek(scan.reader, DURALOG_SEEK_END, 0);
  if (error == DURALOG_OK)
    error = sample_with(&scan, log, interval_ms, &f->sample);
  duralog_reader_close(&scan.reader);
  return error;
}
