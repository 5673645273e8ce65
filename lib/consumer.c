/* SPDX-License-Identifier: MIT
 *
 * A group's member: a reader with a memory. It reads from where the group has
 * committed; what it commits stands in consumer_commit.c.
 *
 * It never gives a record beyond a divergence untold: at opening what was
 * committed is compared with the log (group.c), and while it follows another
 * process its reader is told of each new epoch before a record of it.
 */
#include "consumer.h"

#include <errno.h>
#include <limits.h>

enum { AUTO_COMMIT_DEFAULT_MS = 5000 };

/* ---- divergence ---- */

/* What was consumed up to `from` is not what the log holds behind `point`. */
static duralog_error diverge(struct duralog_consumer *c, uint64_t from,
                             uint64_t point) {
  c->divergences++;
  c->diverged_from = from;
  c->divergence = point;
  c->diverged = true;
  c->count = 0;
  c->epoch_at = NONE;
  consumer_drop_pending(c, DURALOG_E_EPOCH); /* they were of what is gone */
  if (!c->go_back) return DURALOG_E_EPOCH;
  duralog_error error = duralog_seek(c->reader, DURALOG_SEEK_OFFSET, point);
  if (error) return error;
  c->floor = min_u64(c->floor, point);
  c->diverged = false;
  return DURALOG_OK;
}

/* The reader was told of an epoch. OK: nothing that was consumed is concerned,
 * or it went back. */
static duralog_error told_of_epoch(struct duralog_consumer *c) {
  uint64_t point, from = c->reader->offset;
  duralog_error error = duralog_reader_divergence(c->reader, &point, NULL);
  if (error) return error;
  return from > point ? diverge(c, from, point) : DURALOG_OK;
}

/* ---- polling ---- */

static duralog_error auto_commit(struct duralog_consumer *c) {
  io_env *io = c->log->io;
  if (!c->auto_commit || io->now(io) < c->auto_at) return DURALOG_OK;
  c->auto_at = io->now(io) + c->auto_ns;
  return consumer_commit_polled(c);
}

static bool take_wakeup(struct duralog_consumer *c) {
  return atomic_exchange(&c->woken, 0) != 0;
}

static duralog_error sleep_paused(struct duralog_consumer *c,
                                  uint64_t deadline) {
  io_env *io = c->log->io;
  for (;;) {
    uint32_t value = atomic_load(&c->sleeping_word);
    if (take_wakeup(c)) return DURALOG_E_WOKEN;
    if (io->now(io) >= deadline) return DURALOG_E_TIMEOUT;
    (void)io->wait(io, &c->sleeping_word, value, deadline);
  }
}

static bool make_room(struct duralog_consumer *c, size_t max) {
  io_env *io = c->log->io;
  if (c->capacity >= max) return true;
  duralog_record *larger = io->alloc(io, max * sizeof *larger);
  if (!larger) return false;
  duralog_record *smaller = c->records;
  c->records = larger; /* first: a forked child frees what it sees here */
  c->capacity = max;
  if (smaller) io->free(io, smaller);
  return true;
}

static int64_t ms_until(const struct duralog_consumer *c, uint64_t deadline) {
  uint64_t now = c->log->io->now(c->log->io);
  if (deadline == NONE) return -1;
  return deadline <= now
             ? 0
             : (int64_t)((deadline - now + NS_PER_MS - 1) / NS_PER_MS);
}

static duralog_error fetch(struct duralog_consumer *c, size_t max,
                           size_t max_bytes) {
  duralog_error error =
      duralog_read_many(c->reader, c->records, max, max_bytes, &c->count);
  if (error) return error;
  c->epoch = c->records[c->count - 1].epoch;
  c->epoch_at = c->reader->offset;
  return DURALOG_OK;
}

/* Nothing is there: finish what is pending, and wait. */
static duralog_error wait_for_more(struct duralog_consumer *c,
                                   uint64_t deadline) {
  if (c->pending_count) {
    consumer_finish_pending(c, true);
    return DURALOG_OK; /* something may have come meanwhile */
  }
  duralog_error error = duralog_reader_wait(c->reader, ms_until(c, deadline));
  if (error == DURALOG_E_WOKEN) atomic_store(&c->woken, 0);
  return error;
}

static duralog_error poll(struct duralog_consumer *c, size_t max,
                          size_t max_bytes, int64_t timeout_ms) {
  uint64_t deadline = log_deadline(c->log->io, timeout_ms);
  duralog_error error = auto_commit(c);
  /* EPOCH: the fetch meets the divergence itself, and can say where it is. */
  if (error && error != DURALOG_E_EPOCH) return error;
  consumer_finish_pending(c, false);
  c->count = 0;
  if (!make_room(c, max))
    return log_fail(c->log, DURALOG_E_RESOURCES, ENOMEM, NONE, NULL,
                    "no memory for a batch");
  if (take_wakeup(c)) return DURALOG_E_WOKEN;
  if (c->diverged) return DURALOG_E_EPOCH;
  if (c->paused) return sleep_paused(c, deadline);
  for (;;) {
    error = fetch(c, max, max_bytes);
    if (error == DURALOG_E_AT_END) error = wait_for_more(c, deadline);
    if (error == DURALOG_E_EPOCH) error = told_of_epoch(c);
    if (error || c->count) return error;
  }
}

duralog_error duralog_poll(duralog_consumer *c, size_t max_records,
                           size_t max_bytes, int64_t timeout_ms,
                           const duralog_record **records, size_t *count) {
  duralog_error error = consumer_check(c);
  if (error) return error;
  if (!records || !count) return log_answer(c->log, DURALOG_E_ARGUMENT);
  size_t max = max_records ? (size_t)min_u64(max_records, POLL_MAX)
                           : (size_t)POLL_DEFAULT;
  error = poll(c, max, max_bytes, timeout_ms);
  if (error) return log_answer(c->log, error);
  *records = c->records;
  *count = c->count;
  return DURALOG_OK;
}

duralog_error duralog_wakeup(duralog_consumer *c) {
  duralog_error error = consumer_check(c);
  if (error) return error;
  io_env *io = c->log->io;
  atomic_store(&c->woken, 1);
  atomic_fetch_add(&c->sleeping_word, 1);
  io->wake(io, &c->sleeping_word, INT_MAX);
  wait_interrupt(c->log);
  return DURALOG_OK;
}

/* ---- position ---- */

static duralog_error seek(struct duralog_consumer *c, duralog_whence whence,
                          uint64_t offset) {
  uint64_t before = c->reader->offset;
  duralog_error error = duralog_seek(c->reader, whence, offset);
  if (error) return error;
  if (c->diverged && c->reader->offset > c->divergence) {
    (void)duralog_seek(c->reader, DURALOG_SEEK_OFFSET, before);
    return DURALOG_E_EPOCH;
  }
  c->diverged = false;
  c->count = 0;
  c->floor = min_u64(c->floor, c->reader->offset);
  return DURALOG_OK;
}

duralog_error duralog_consumer_seek(duralog_consumer *c, duralog_whence whence,
                                    uint64_t offset) {
  duralog_error error = consumer_check(c);
  return error ? error : log_answer(c->log, seek(c, whence, offset));
}

duralog_error duralog_consumer_pause(duralog_consumer *c, bool paused) {
  duralog_error error = consumer_check(c);
  if (!error) c->paused = paused;
  return error;
}

static duralog_error status(struct duralog_consumer *c,
                            duralog_consumer_status *out) {
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  uint64_t position = c->reader->offset;
  uint64_t end = reader_watermark(c->reader);
  *out = (duralog_consumer_status){
      .struct_size = sizeof *out,
      .position = position,
      .committed = c->group.state.offset,
      .end = end,
      .lag_records = end > position ? end - position : 0,
      .pending = c->pending_count,
      .paused = c->paused,
      .diverged = c->diverged,
      .diverged_from = c->diverged_from,
      .divergence = c->divergence,
      .divergences = c->divergences};
  if (c->reader->damaged) out->damage = c->reader->damage;
  return DURALOG_OK;
}

duralog_error duralog_consumer_get(duralog_consumer *c,
                                   duralog_consumer_status *out) {
  duralog_error error = consumer_check(c);
  return error ? error : log_answer(c->log, status(c, out));
}

/* ---- opening ---- */

/* Where the group goes on. */
static duralog_error begin_at_commit(struct duralog_consumer *c) {
  const struct group_state *s = &c->group.state;
  bool fits;
  uint64_t point = 0;
  duralog_error error = group_fits(c->log, s->offset, s->epoch, &fits, &point);
  if (error) return error;
  c->floor = s->offset;
  if (fits) {
    c->epoch = s->epoch;
    c->epoch_at = s->offset;
    /* Durable records alone may be read, and the offset be above them. */
    c->reader->offset = c->reader->given_first = c->reader->given_end =
        s->offset;
    return DURALOG_OK;
  }
  c->reader->offset = c->reader->given_first = c->reader->given_end = point;
  error = diverge(c, s->offset, point);
  return error == DURALOG_E_EPOCH ? DURALOG_OK : error;
}

static duralog_error begin_without(struct duralog_consumer *c,
                                   duralog_begin begin) {
  c->floor = c->log->start;
  if (begin == DURALOG_BEGIN_ERROR) return DURALOG_E_RANGE;
  if (begin == DURALOG_BEGIN_EARLIEST) return DURALOG_OK;
  duralog_error error = duralog_seek(c->reader, DURALOG_SEEK_END, 0);
  return error
             ? error
             : consumer_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DEFAULT, NULL);
}

static duralog_error begin(struct duralog_consumer *c,
                           const duralog_consumer_options *o) {
  struct duralog *log = c->log;
  duralog_error error = duralog_reader_open(log, o->read_level, &c->reader);
  if (error) return error;
  c->reader->interrupt = &c->woken;
  const struct group_state *s = &c->group.state;
  bool valid = s->offset != NONE && s->offset >= log->start;
  error = valid ? begin_at_commit(c) : begin_without(c, o->begin);
  if (error || !o->protect || (s->flags & GROUP_PROTECTED)) return error;
  struct group_state protected = *s;
  protected.flags |= GROUP_PROTECTED;
  int result = group_file_store(&c->group, &protected, true);
  return result ? group_fail(log, c->group.name, result, c->group.sync_failed,
                             "cannot protect a group")
                : DURALOG_OK;
}

static void consumer_free(struct duralog_consumer *c, bool inherited) {
  struct duralog *log = c->log;
  io_env *io = log->io;
  if (c->reader) (void)duralog_reader_close(&c->reader);
  /* In a forked child the lock's descriptor is closed already. */
  if (inherited)
    io->close(io, c->group.directory);
  else
    group_file_leave(&c->group);
  if (c->records) io->free(io, c->records);
  io->free(io, c);
}

static bool options_valid(const duralog_consumer_options *o) {
  return o->struct_size == sizeof *o &&
         o->read_level >= DURALOG_LEVEL_DEFAULT &&
         o->read_level <= DURALOG_LEVEL_DURABLE &&
         o->commit_level >= DURALOG_LEVEL_DEFAULT &&
         o->commit_level <= DURALOG_LEVEL_DURABLE &&
         o->begin >= DURALOG_BEGIN_EARLIEST && o->begin <= DURALOG_BEGIN_ERROR;
}

static void options_apply_to(struct duralog_consumer *c,
                             const duralog_consumer_options *o) {
  struct duralog *log = c->log;
  uint32_t ms = o->auto_commit_ms ? o->auto_commit_ms : AUTO_COMMIT_DEFAULT_MS;
  c->commit_level = o->commit_level;
  c->auto_commit = !o->manual_commit;
  c->go_back = o->go_back;
  c->auto_ns = ms * NS_PER_MS;
  c->auto_at = log->io->now(log->io) + c->auto_ns;
  c->epoch_at = NONE;
}

static duralog_error consumer_open(struct duralog *log, const char *group,
                                   const duralog_consumer_options *o,
                                   duralog_consumer **consumer) {
  io_env *io = log->io;
  if (!consumer || !group_name_valid(group) || !options_valid(o))
    return DURALOG_E_ARGUMENT;
  struct duralog_consumer *c = io->alloc(io, sizeof *c);
  if (!c)
    return log_fail(log, DURALOG_E_RESOURCES, ENOMEM, NONE, NULL,
                    "no memory for a consumer");
  c->log = log;
  options_apply_to(c, o);
  duralog_error error = group_join(log, group, !o->must_exist,
                                   log_deadline(io, o->timeout_ms), &c->group);
  if (error) {
    io->free(io, c);
    return error;
  }
  error = begin(c, o);
  if (error)
    consumer_free(c, false);
  else
    *consumer = c;
  return error;
}

duralog_error duralog_consumer_open(duralog *log, const char *group,
                                    const duralog_consumer_options *options,
                                    duralog_consumer **consumer) {
  static const duralog_consumer_options defaults = {.struct_size =
                                                        sizeof defaults};
  duralog_error error = log_check(log);
  if (error) return error;
  return log_answer(
      log, consumer_open(log, group, options ? options : &defaults, consumer));
}

duralog_error duralog_consumer_close(duralog_consumer **consumer) {
  if (!consumer || !*consumer) return DURALOG_E_CLOSED;
  struct duralog_consumer *c = *consumer;
  struct duralog *log = c->log;
  bool inherited = consumer_check(c) == DURALOG_E_FORKED;
  duralog_error error = DURALOG_OK;
  if (!inherited) {
    consumer_finish_pending(c, true);
    if (c->auto_commit) error = consumer_commit_polled(c);
  }
  consumer_free(c, inherited);
  *consumer = NULL;
  return inherited ? DURALOG_OK : log_answer(log, error);
}
