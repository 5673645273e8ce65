/* SPDX-License-Identifier: MIT
 *
 * Groups without being their consumer: list, describe, delete, clone, protect,
 * reset, and what retention has to keep for them.
 */
#include <errno.h>

#include "group.h"
#include "reader.h"

/* ---- list ---- */

struct each_context {
  duralog_each_group *each;
  void *context;
};

enum { STOPPED = 1 };

static int each_name(void *context, const char *name) {
  struct each_context *c = context;
  return c->each(c->context, name) ? 0 : STOPPED;
}

static duralog_error list(struct duralog *log, duralog_each_group *each,
                          void *context) {
  struct each_context c = {each, context};
  if (!each) return DURALOG_E_ARGUMENT;
  int result = group_file_list(&log->directory, each_name, &c);
  return result >= 0 ? DURALOG_OK
                     : group_fail(log, "", result, false, "cannot list groups");
}

duralog_error duralog_list_groups(duralog *log, duralog_each_group *each,
                                  void *context) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, list(log, each, context));
}

/* ---- describe ---- */

struct place {
  uint64_t segment, before, behind; /* positions around a record */
  uint64_t segment_bytes;
};

static duralog_error place_of(duralog_reader *r, uint64_t offset,
                              struct place *p) {
  duralog_record record;
  duralog_error error = duralog_seek(r, DURALOG_SEEK_OFFSET, offset);
  if (!error) error = duralog_read_next(r, &record);
  if (error) return error;
  uint64_t key = record.key ? FRAME_KEY_LENGTH_BYTES + record.key_size : 0;
  p->segment = r->walk.segment;
  p->behind = r->walk.position;
  p->before = p->behind - frame_bytes(record.size + key);
  p->segment_bytes = r->segment->bytes;
  return DURALOG_OK;
}

/* Bytes of segment files that records [from, to) take, with what is around
 * them. */
static duralog_error bytes_between(struct duralog *log, uint64_t from,
                                   uint64_t to, uint64_t *bytes) {
  struct place first, last;
  duralog_reader *r;
  *bytes = 0;
  if (from >= to) return DURALOG_OK;
  duralog_error error = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &r);
  if (error) return error;
  r->place.epoch = r->place.heard = NONE;
  error = place_of(r, from, &first);
  if (!error) error = place_of(r, to - 1, &last);
  (void)duralog_reader_close(&r);
  if (error == DURALOG_E_CORRUPT) *bytes = UINT64_MAX;
  if (error) return error == DURALOG_E_CORRUPT ? DURALOG_OK : error;
  *bytes = last.behind - first.before;
  if (first.segment != last.segment)
    *bytes =
        first.segment_bytes - first.before + last.behind - SEGMENT_HEADER_BYTES;
  for (uint64_t n = first.segment + 1; n < last.segment; n++) {
    struct segment *s;
    struct segment_failure why;
    if (catalog_pin(&log->catalog, &log->directory, n, &s, &why) != CATALOG_OK)
      continue;
    *bytes += s->bytes - SEGMENT_HEADER_BYTES;
    catalog_unpin(&log->catalog, &log->directory, s);
  }
  return DURALOG_OK;
}

static duralog_error describe(struct duralog *log, const char *name,
                              duralog_group *out) {
  struct group_state s;
  uint64_t lowest;
  bool member;
  duralog_group g = {.struct_size = sizeof g};
  if (!out || out->struct_size != sizeof *out || !group_name_valid(name))
    return DURALOG_E_ARGUMENT;
  int result = group_file_read(&log->directory, name, &s, &lowest, &member);
  if (result)
    return group_fail(log, name, result, false, "cannot read a group");
  if (log->follow) follow_look(log);
  uint64_t end = atomic_load(&log->end);
  uint64_t from = s.offset == NONE ? log->start : s.offset;
  g.committed = s.offset;
  g.epoch = s.epoch;
  g.time_ms = s.time_ms;
  g.end = end;
  g.lag_records = from < end ? end - from : 0;
  g.member_alive = member;
  g.is_protected = (s.flags & GROUP_PROTECTED) != 0;
  memcpy(g.metadata, s.metadata, sizeof g.metadata);
  duralog_error error = bytes_between(log, from, end, &g.lag_bytes);
  if (!error) *out = g;
  return error;
}

duralog_error duralog_describe_group(duralog *log, const char *group,
                                     duralog_group *out) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, describe(log, group, out));
}

/* ---- delete, clone, protect ---- */

static duralog_error delete (struct duralog *log, const char *name) {
  struct group_file g;
  if (!group_name_valid(name)) return DURALOG_E_ARGUMENT;
  int result = group_file_join_damaged(&g, &log->directory, name);
  if (!result) result = group_file_remove(&g);
  return result ? group_fail(log, name, result, g.sync_failed,
                             "cannot delete a group")
                : DURALOG_OK;
}

duralog_error duralog_delete_group(duralog *log, const char *group) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, delete (log, group));
}

static duralog_error clone(struct duralog *log, const char *from,
                           const char *to) {
  struct group_file g;
  bool sync_failed = false;
  if (!group_name_valid(from) || !group_name_valid(to))
    return DURALOG_E_ARGUMENT;
  duralog_error error = group_join(log, from, false, 0, &g);
  if (error) return error;
  struct group_state s = g.state;
  int result = group_file_create(&log->directory, to, &s, &sync_failed);
  group_file_leave(&g);
  return result
             ? group_fail(log, to, result, sync_failed, "cannot clone a group")
             : DURALOG_OK;
}

duralog_error duralog_clone_group(duralog *log, const char *from,
                                  const char *to) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, clone(log, from, to));
}

static duralog_error protect(struct duralog *log, const char *name, bool on) {
  struct group_file g;
  if (!group_name_valid(name)) return DURALOG_E_ARGUMENT;
  duralog_error error = group_join(log, name, false, 0, &g);
  if (error) return error;
  struct group_state s = g.state;
  s.flags =
      on ? s.flags | GROUP_PROTECTED : s.flags & ~(uint32_t)GROUP_PROTECTED;
  int result = group_file_store(&g, &s, true);
  group_file_leave(&g);
  return result ? group_fail(log, name, result, g.sync_failed,
                             "cannot protect a group")
                : DURALOG_OK;
}

duralog_error duralog_protect_group(duralog *log, const char *group, bool on) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, protect(log, group, on));
}

/* ---- reset ---- */

static duralog_error target_by_time(struct duralog *log, int64_t time_ms,
                                    uint64_t *target) {
  duralog_reader *r;
  duralog_error error = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &r);
  if (error) return error;
  error = duralog_seek_time(r, time_ms);
  if (!error) error = duralog_tell(r, target);
  (void)duralog_reader_close(&r);
  return error;
}

static uint64_t shifted(uint64_t from, int64_t by, uint64_t least,
                        uint64_t most) {
  uint64_t distance = by < 0 ? (uint64_t)0 - (uint64_t)by : (uint64_t)by;
  from = max_u64(least, min_u64(from, most));
  if (by < 0) return distance > from - least ? least : from - distance;
  return distance > most - from ? most : from + distance;
}

static duralog_error target_of(struct duralog *log, uint64_t committed,
                               duralog_reset how, int64_t value,
                               uint64_t *target) {
  if (log->follow) follow_look(log);
  uint64_t start = log->start, end = atomic_load(&log->end);
  switch (how) {
    case DURALOG_RESET_OFFSET:
      *target = (uint64_t)value;
      return value < 0 || *target < start || *target > end ? DURALOG_E_RANGE
                                                           : DURALOG_OK;
    case DURALOG_RESET_EARLIEST: *target = start; return DURALOG_OK;
    case DURALOG_RESET_LATEST: *target = end; return DURALOG_OK;
    case DURALOG_RESET_TIME: return target_by_time(log, value, target);
    case DURALOG_RESET_SHIFT:
      *target =
          shifted(committed == NONE ? start : committed, value, start, end);
      return DURALOG_OK;
  }
  return DURALOG_E_ARGUMENT;
}

static duralog_error reset(struct duralog *log, const char *name,
                           duralog_reset how, int64_t value, uint64_t *offset) {
  struct group_file g;
  uint64_t target = 0, epoch;
  if (!group_name_valid(name)) return DURALOG_E_ARGUMENT;
  int result = group_file_join_damaged(&g, &log->directory, name);
  if (!result && g.state.sequence == 0 && how == DURALOG_RESET_SHIFT) {
    group_file_leave(&g);
    result = -EBADMSG; /* from where? */
  }
  if (result)
    return group_fail(log, name, result, false, "cannot reset a group");
  duralog_error error = target_of(log, g.state.offset, how, value, &target);
  if (!error) error = group_epoch_before(log, target, &epoch);
  if (!error) error = group_records_durable(log, target);
  if (!error && g.state.sequence == 0 && (result = group_file_renew(&g)) != 0)
    error = group_fail(log, name, result, false, "cannot make a group anew");
  if (!error)
    error = group_commit(log, &g, target, epoch, DURALOG_LEVEL_DURABLE, NULL);
  group_file_leave(&g);
  if (!error && offset) *offset = target;
  return error;
}

duralog_error duralog_reset_group(duralog *log, const char *group,
                                  duralog_reset how, int64_t value,
                                  uint64_t *offset) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, reset(log, group, how, value, offset));
}

/* ---- retention ---- */

struct needed {
  struct duralog *log;
  uint64_t lowest;
};

static int each_needed(void *context, const char *name) {
  struct needed *n = context;
  struct group_state s;
  uint64_t lowest;
  int result = group_file_read(&n->log->directory, name, &s, &lowest, NULL);
  if (result == -ENOENT) return 0; /* deleted meanwhile */
  /* Whether it is protected cannot be told: then it is. */
  bool unknown = result == -EBADMSG || result == -EPROTO;
  if (result && !unknown) return result;
  if (unknown) lowest = 0;
  if (unknown || (s.flags & GROUP_PROTECTED))
    n->lowest = min_u64(n->lowest, max_u64(lowest, n->log->start));
  return 0;
}

static duralog_error needed_from(struct duralog *log, uint64_t *offset) {
  if (!offset) return DURALOG_E_ARGUMENT;
  if (log->follow) follow_look(log);
  struct needed n = {log, atomic_load(&log->end)};
  int result = group_file_list(&log->directory, each_needed, &n);
  if (result) return group_fail(log, "", result, false, "cannot read groups");
  *offset = n.lowest;
  return DURALOG_OK;
}

duralog_error duralog_needed_from(duralog *log, uint64_t *offset) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, needed_from(log, offset));
}
