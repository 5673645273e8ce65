/* SPDX-License-Identifier: MIT
 *
 * What a host may ask of an open log: its watermarks and its segments.
 */
#include "log.h"

static duralog_error get_watermarks(const duralog *log,
                                    duralog_watermarks *out) {
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  struct policy_state s;
  if (log->follow) follow_look((struct duralog *)(uintptr_t)log);
  policy_state_of(log, &s);
  s.now_ns = log->io->now_coarse(log->io);
  out->start = log->start;
  out->end = s.end;
  out->durable = min_u64(s.durable, s.end); /* a follower's may go back */
  out->epoch = atomic_load(&log->epoch);
  out->oldest_unsynced_ms = log->read_only ? 0 : policy_age_ms(&s);
  return DURALOG_OK;
}

duralog_error duralog_get_watermarks(const duralog *log,
                                     duralog_watermarks *out) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, get_watermarks(log, out));
}

static duralog_error segment_of_index(duralog *log, size_t index,
                                      uint64_t *number) {
  if (!catalog_number(&log->catalog, log->io, index, number) ||
      *number > atomic_load(&log->active))
    return DURALOG_E_RANGE;
  return DURALOG_OK;
}

/* Where the segment ends: by its seal, by the log's end, by its successor. */
static duralog_error segment_end(duralog *log, const struct segment *s,
                                 uint64_t *end) {
  struct segment *next;
  struct segment_failure why;
  *end = atomic_load(&log->end);
  if (s->number == atomic_load(&log->active)) return DURALOG_OK;
  if (atomic_load(&s->sealed)) {
    *end = s->end.end_offset;
    return DURALOG_OK;
  }
  enum catalog_result result =
      catalog_next(&log->catalog, &log->directory, s->number, &next, &why);
  if (result == CATALOG_FAILED)
    return log_fail_segment(log, s->number + 1, &why);
  if (result == CATALOG_OK) {
    *end = min_u64(*end, next->start.offset);
    catalog_unpin(&log->catalog, &log->directory, next);
  }
  return DURALOG_OK;
}

static uint64_t tail_position(duralog *log, uint64_t number) {
  struct tail_view tail;
  tail_look(log, &tail);
  return number == tail.segment ? tail.position : 0;
}

static duralog_error describe(duralog *log, struct segment *s, uint64_t end,
                              duralog_segment *out) {
  bool started = atomic_load(&s->started);
  *out = (duralog_segment){.struct_size = sizeof *out,
                           .number = s->number,
                           .first = started ? s->start.offset : end,
                           .end = end,
                           .bytes = s->bytes,
                           .sealed = atomic_load(&s->sealed)};
  out->used = out->sealed ? s->end.end_position : 0;
  /* Where the tail of a log was at opening says nothing once a writer came. */
  if (s->number == atomic_load(&log->active))
    out->used = follow_has_met_writer(log) ? 0 : tail_position(log, s->number);
  if (!started) return DURALOG_OK;
  out->epoch = s->start.epoch;
  out->created_ms = s->start.time_ms;
  return log_segment_times(log, s, out->end, &out->time_first_ms,
                           &out->time_max_ms, &out->has_times);
}

static duralog_error get_segment(duralog *log, size_t index,
                                 duralog_segment *out) {
  uint64_t number;
  struct segment *s;
  struct segment_failure why;
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  duralog_error error = follow_up(log);
  if (!error) error = segment_of_index(log, index, &number);
  if (error) return error;
  enum catalog_result result =
      catalog_pin(&log->catalog, &log->directory, number, &s, &why);
  if (result == CATALOG_FAILED) return log_fail_segment(log, number, &why);
  if (result != CATALOG_OK) {
    *out = (duralog_segment){
        .struct_size = sizeof *out, .number = number, .damaged = true};
    return DURALOG_OK;
  }
  duralog_segment found = {.struct_size = sizeof found};
  uint64_t end;
  error = segment_end(log, s, &end);
  if (!error) error = describe(log, s, end, &found);
  if (!error) *out = found;
  catalog_unpin(&log->catalog, &log->directory, s);
  return error;
}

duralog_error duralog_get_segment(duralog *log, size_t index,
                                  duralog_segment *out) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, get_segment(log, index, out));
}
