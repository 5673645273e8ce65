/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <errno.h>

#include "reader.h"

enum {
  LOOK_NS = 10 * 1000 * 1000,   /* between looks whether a member has gone */
  NAMES_NS = 1000 * 1000 * 1000 /* the least patience for who makes a group */
};

/* ---- failures ---- */

static duralog_error error_of(int result, bool sync_failed) {
  if (sync_failed) return DURALOG_E_POISONED;
  switch (result) {
    case -EAGAIN: return DURALOG_E_BUSY;
    case -EBADMSG: return DURALOG_E_CORRUPT;
    case -EPROTO: return DURALOG_E_NEWER;
    case -EEXIST: return DURALOG_E_ARGUMENT;
    default: break;
  }
  duralog_error error = error_from_os(-result);
  return error == DURALOG_E_FOREIGN ? DURALOG_E_IO : error;
}

duralog_error group_fail(struct duralog *log, const char *group, int result,
                         bool sync_failed, const char *text) {
  char path[sizeof GROUPS_NAME + GROUP_FILE_NAME_BYTES] = GROUPS_NAME "/";
  size_t at = sizeof GROUPS_NAME, length = strlen(group);
  memcpy(path + at, group, length);
  memcpy(path + at + length, GROUP_SUFFIX, sizeof GROUP_SUFFIX);
  return log_fail(log, error_of(result, sync_failed), -result, NONE, path,
                  text);
}

/* ---- members ---- */

void group_state_new(struct duralog *log, struct group_state *s) {
  *s = (struct group_state){.offset = NONE,
                            .time_ms = log->io->wall_ms(log->io)};
}

static void nap_until(io_env *io, uint64_t deadline) {
  _Atomic uint32_t word = 0;
  (void)io->wait(io, &word, 0, min_u64(deadline, io->now(io) + LOOK_NS));
}

/* One try. A group that this call has made is durable. */
static int make_and_join(struct duralog *log, const char *name,
                         struct group_file *g) {
  struct group_state s;
  bool sync_failed = false;
  group_state_new(log, &s);
  int result = group_file_create(&log->directory, name, &s, &sync_failed);
  g->sync_failed = sync_failed;
  if (result)
    return result == -EEXIST ? -EAGAIN : result; /* another was faster */
  result = group_file_join(g, &log->directory, name);
  if (!result && g->state.sequence == 1) g->durable_index = g->index;
  return result;
}

/* One try. A group that never committed may be one whose maker was killed: with
 * it, opening sees to what making it should have. */
static int try_join(struct duralog *log, const char *name, bool make,
                    struct group_file *g, bool *naming) {
  int result = group_file_join(g, &log->directory, name);
  *naming = result == -ENOENT && make;
  if (*naming) result = make_and_join(log, name, g);
  if (result || g->state.sequence > 1) return result;
  result = group_file_review(g);
  if (result) group_file_leave(g);
  return result;
}

duralog_error group_join(struct duralog *log, const char *name, bool make,
                         uint64_t deadline, struct group_file *g) {
  io_env *io = log->io;
  uint64_t patience = max_u64(deadline, io->now(io) + NAMES_NS);
  for (;;) {
    bool naming;
    int result = try_join(log, name, make, g, &naming);
    if (!result) return DURALOG_OK;
    uint64_t until = naming ? patience : deadline;
    if (result != -EAGAIN || io->now(io) >= until)
      return group_fail(log, name, result, g->sync_failed,
                        "cannot become the member of a group");
    nap_until(io, until);
  }
}

/* ---- commits ---- */

duralog_error group_epoch_before(struct duralog *log, uint64_t offset,
                                 uint64_t *epoch) {
  duralog_reader *r;
  duralog_record record;
  *epoch = 0;
  if (offset <= log->start) return DURALOG_OK;
  duralog_error error = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &r);
  if (error) return error;
  r->place.epoch = r->place.heard = NONE; /* it asks for no epoch */
  error = duralog_read_at(r, offset - 1, &record);
  if (!error) *epoch = record.epoch;
  (void)duralog_reader_close(&r);
  return error == DURALOG_E_CORRUPT ? DURALOG_OK : error;
}

duralog_error group_records_durable(struct duralog *log, uint64_t offset) {
  if (atomic_load(&log->durable) >= offset) return DURALOG_OK;
  if (log->follow) return follow_sync(log, offset);
  if (log->read_only) return DURALOG_E_NO_WRITER;
  return sync_await(log, offset, 0);
}

duralog_error group_commit(struct duralog *log, struct group_file *g,
                           uint64_t offset, uint64_t epoch, duralog_level level,
                           const char *metadata) {
  struct group_state s = g->state;
  s.offset = offset;
  s.epoch = epoch;
  s.time_ms = log->io->wall_ms(log->io);
  s.metadata_bytes = metadata ? (uint32_t)strlen(metadata) : 0;
  memset(s.metadata, 0, sizeof s.metadata);
  if (metadata) memcpy(s.metadata, metadata, s.metadata_bytes);
  int result = group_file_store(g, &s, level == DURALOG_LEVEL_DURABLE);
  if (!result) return DURALOG_OK;
  return group_fail(log, g->name, result, g->sync_failed, "cannot commit");
}

/* ---- I25 ---- */

duralog_error group_fits(struct duralog *log, uint64_t offset, uint64_t epoch,
                         bool *fits, uint64_t *divergence) {
  uint64_t before = 0, known = epoch;
  if (log->follow) follow_look(log);
  uint64_t end = atomic_load(&log->end);
  *fits = true;
  if (offset == NONE || offset <= log->start) return DURALOG_OK;
  if (offset <= end) {
    duralog_error error = group_epoch_before(log, offset, &before);
    if (error || !before || !epoch || before == epoch) return error;
    /* It was cut and the offsets given again. (An older epoch there than the
     * committed one cannot be, but by copying files: all of it counts.) */
    if (before < epoch) known = before - 1;
  }
  *fits = false;
  struct divergence d = {.offset = end};
  if (epoch) {
    duralog_error error = divergence_find(log, known, &d);
    if (error) return error;
  }
  *divergence = min_u64(min_u64(d.offset, end), offset);
  return DURALOG_OK;
}
