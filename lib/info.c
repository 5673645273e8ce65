/* SPDX-License-Identifier: MIT
 *
 * What a host may ask of an open log: its watermarks and its segments.
 */
#include "log.h"

duralog_error duralog_get_watermarks(const duralog *log,
                                     duralog_watermarks *out) {
  duralog_error error = log_check(log);
  if (error) return error;
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  struct policy_state s;
  policy_state_of(log, &s);
  s.now_ns = log->io->now_coarse(log->io);
  out->start = log->start;
  out->end = s.end;
  out->durable = s.durable;
  out->epoch = atomic_load(&log->epoch);
  bool unsynced =
      !log->read_only && s.end > s.durable && s.now_ns > s.oldest_ns;
  out->oldest_unsynced_ms =
      unsynced ? (s.now_ns - s.oldest_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
  return DURALOG_OK;
}

static duralog_error segment_of_index(duralog *log, size_t index,
                                      uint64_t *number) {
  if (!catalog_number(&log->catalog, log->io, index, number) ||
      *number > atomic_load(&log->active))
    return DURALOG_E_RANGE;
  return DURALOG_OK;
}

/* Where the segment ends: by its seal, by the log's end, by its successor. */
static uint64_t segment_end(duralog *log, const struct segment *s) {
  uint64_t end = atomic_load(&log->end);
  struct segment *next;
  if (s->number == atomic_load(&log->active)) return end;
  if (atomic_load(&s->sealed)) return s->end.end_offset;
  if (catalog_next(&log->catalog, &log->directory, s->number, &next) ==
      CATALOG_OK) {
    end = min_u64(end, next->start.offset);
    catalog_unpin(&log->catalog, &log->directory, next);
  }
  return end;
}

static uint64_t tail_position(duralog *log, uint64_t number) {
  if (!append_lock_unless_reserved(log)) {
    uint64_t reserved = atomic_load(&log->reservation.position);
    return number == atomic_load(&log->active) ? reserved : 0;
  }
  bool still = number == atomic_load(&log->active);
  uint64_t position = still ? log->tail.position : 0;
  append_unlock(log);
  return position;
}

duralog_error duralog_get_segment(duralog *log, size_t index,
                                  duralog_segment *out) {
  duralog_error error = log_check(log);
  uint64_t number;
  struct segment *s;
  struct segment_failure why;
  if (error) return error;
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  error = segment_of_index(log, index, &number);
  if (error) return error;
  enum catalog_result result =
      catalog_pin(&log->catalog, &log->directory, number, &s, &why);
  if (result == CATALOG_FAILED) return log_fail_segment(log, number, &why);
  *out = (duralog_segment){.struct_size = sizeof *out, .number = number};
  if (result != CATALOG_OK) {
    out->damaged = true;
    return DURALOG_OK;
  }
  bool started = atomic_load(&s->started);
  out->first = started ? s->start.offset : atomic_load(&log->end);
  out->end = segment_end(log, s);
  out->bytes = s->bytes;
  out->sealed = atomic_load(&s->sealed);
  out->used = out->sealed ? s->end.end_position : 0;
  if (number == atomic_load(&log->active))
    out->used = tail_position(log, number);
  if (started) {
    out->epoch = s->start.epoch;
    out->created_ms = s->start.time_ms;
  }
  catalog_unpin(&log->catalog, &log->directory, s);
  return DURALOG_OK;
}
