/* SPDX-License-Identifier: MIT
 *
 * The work behind the appends: beginning an epoch, preparing the next segment,
 * sealing finished ones, syncing by the clock. A tick is background_sync and
 * prepare_ahead; the library's own threads are loops around the two, a
 * host-driven log calls both from duralog_tick.
 *
 * Sealing. A finished segment is synced as a whole and says so in its header
 * page, in the background, in every mode. Its successor's file and name were
 * durable before anything rolled into it, so that a sealed segment without a
 * successor is a missing file. The seal is synced too: recovery starts behind
 * the last one, and no promise hangs on it but that (I35).
 *
 * Epochs. The first append after opening raises the epoch before any record of
 * it can be seen: in an EPOCH frame, or in the start block of the segment that
 * begins with it. What a power loss took from an earlier epoch can then never
 * be confused with what is written over it (I3, I8). Taking away the clean
 * mark comes before, with a sync of its own.
 *
 * Writing ahead. Blocks that were allocated and never written are marked so in
 * the file system, and the first sync of records in one has to change that: one
 * sync in thirty-two with 100-byte records, each with 4 KiB. So where each
 * append is synced, the blocks ahead of the tail are written once before, as
 * they are: made dirty in the mapping, which changes no byte, so that appends
 * may come to them meanwhile, and synced. Measured, appends of 100 bytes, 1 KB
 * and 4 KB by one thread, us each without and with it: ext4 with a journal 171
 * and 140, 200 and 145, 400 and 170; without one 75 and 72, 95 and 85, 137 and
 * 90. PostgreSQL fills its WAL with zeros for the same reason (wal_init_zero).
 */
#include <errno.h>

#include "log.h"

enum {
  POPULATE_AHEAD_BYTES = 2 << 20, /* where something syncs: what is dirtied
                                   * ahead is written twice */
  POPULATE_IDLE_BYTES = 8 << 20,
  WRITE_AHEAD_BYTES = 1 << 20,
  WRITE_AHEAD_BYTES_MIN = 64 << 10,
  WRITE_AHEAD_PIECE_BYTES = 64 << 10, /* another's sync waits for that much */
  WRITE_AHEAD_SYNC_BYTES_MAX = 16 << 10
};

/* ---- preparing ---- */

static duralog_error prepare_locked(struct duralog *log) {
  if (atomic_load(&log->next)) return DURALOG_OK;
  io_env *io = log->io;
  struct segment *s;
  struct segment_failure why;
  uint64_t number = atomic_load(&log->active) + 1;
  STEP(io, "prepare/begin");
  if (!segment_create(&log->directory, number, log->segment_bytes,
                      io->wall_ms(io), &s, &why))
    return log_fail_segment(log, number, &why);
  STEP(io, "prepare/created");
  if (!log->policy_idle) (void)io->map_scattered(io, s->map, s->bytes);
  if (!catalog_add(&log->catalog, io, number, s)) {
    segment_close(&log->directory, s); /* made again, over it, the next time */
    return log_fail(log, DURALOG_E_RESOURCES, ENOMEM, NONE, NULL,
                    "no memory for one more segment");
  }
  STEP(io, "prepare/listed");
  /* Off the append path; all of it where nothing syncs. */
  uint64_t ahead = log->policy_idle   ? s->bytes
                   : log->syncs_parts ? min_u64(POPULATE_AHEAD_BYTES, s->bytes)
                                      : 0;
  if (ahead && !log->small_device) {
    (void)io->populate(io, s->map, ahead, true);
    s->populated = ahead;
  }
  counter_add(&log->counts.segments_prepared, 1);
  atomic_store(&log->next, s);
  STEP(io, "prepare/ready");
  return DURALOG_OK;
}

duralog_error prepare_next(struct duralog *log) {
  enum { UNSEALED_MAX = 8 };
  /* A host that never ticks must not leave more unsealed than it has
   * descriptors for. */
  if (log->host_driven &&
      atomic_load(&log->active) - atomic_load(&log->seal_next) >=
          UNSEALED_MAX) {
    duralog_error sealed = background_seal(log);
    if (sealed) return sealed;
  }
  mutex_lock(log->io, &log->prepare);
  duralog_error error =
      atomic_load(&log->poisoned) ? DURALOG_E_POISONED : prepare_locked(log);
  mutex_unlock(log->io, &log->prepare);
  return error;
}

/* ---- the first append ---- */

/* No reservation can be out before the epoch has begun. */
static void lock_before_appends(struct duralog *log) {
  duralog_error error = append_lock(log);
  INVARIANT(!error);
  (void)error;
}

/* Whether the tail's segment can take the epoch and the first record. */
static bool epoch_fits(struct duralog *log, uint64_t need) {
  lock_before_appends(log);
  bool fits =
      !atomic_load(&log->tail.segment->started) || tail_epoch_fits(log, need);
  append_unlock(log);
  return fits;
}

static void store_epoch(struct duralog *log, uint64_t epoch, bool fits) {
  lock_before_appends(log);
  atomic_store(&log->frame_epoch, epoch);
  tail_read_clock(log, log->io->now_coarse(log->io));
  if (!atomic_load(&log->tail.segment->started))
    tail_start(log, log->tail.segment, epoch);
  else if (fits)
    tail_epoch(log, epoch);
  else
    tail_roll(log, atomic_load(&log->next), epoch);
  append_unlock(log);
}

static duralog_error take_clean_mark(struct duralog *log) {
  log->found_clean = false;
  if (!log->clean_mark) return DURALOG_OK;
  duralog_error error = sync_mark(log, false, IO_SYNC_UNCLEAN);
  STEP(log->io, "epoch/unclean");
  if (!error) log->clean_mark = false;
  return error;
}

static duralog_error begin_locked(struct duralog *log, uint64_t need) {
  if (!(atomic_load(&log->append_block) & BLOCK_BEGIN)) return DURALOG_OK;
  bool fits = epoch_fits(log, need);
  if (!fits) {
    bool late = !atomic_load(&log->next);
    if (late) counter_add(&log->counts.late_preparations, 1);
    duralog_error error = prepare_locked(log);
    if (error) return error;
  }
  uint32_t lead = sync_lead_take(log);
  uint64_t epoch = log->epoch_next;
  duralog_error error =
      atomic_load(&log->poisoned) ? DURALOG_E_POISONED : take_clean_mark(log);
  if (!error) {
    store_epoch(log, epoch, fits);
    error = sync_run(log, IO_SYNC_EPOCH);
    STEP(log->io, "epoch/synced");
  }
  if (!error) {
    if (!fits) log_kick(log, WORKER_SYNCER); /* rolled: there is one to seal */
    atomic_store(&log->epoch, epoch);
    share_epoch(log, epoch);
    atomic_fetch_and(&log->append_block, ~(uint32_t)BLOCK_BEGIN);
    STEP(log->io, "epoch/begun");
  }
  sync_lead_give(log, lead);
  return error;
}

duralog_error begin_epoch(struct duralog *log, uint64_t need) {
  mutex_lock(log->io, &log->prepare);
  duralog_error error = begin_locked(log, need);
  mutex_unlock(log->io, &log->prepare);
  return error;
}

/* ---- ticking ---- */

static duralog_error seal_one(struct duralog *log, struct segment *s) {
  io_env *io = log->io;
  char name[NAME_BYTES];
  segment_name(name, s->number);
  STEP(io, "seal/begin");
  if (!s->data_synced) {
    duralog_error error = sync_finished(log, s->number);
    if (error) return error;
  }
  struct segment_failure why;
  if (!segment_seal(s, &log->directory, &why))
    return log_fail_segment(log, s->number, &why);
  int result = io->file_sync(io, s->file, NULL, IO_SYNC_SEAL);
  if (result) return log_poison(log, -result, name, "cannot sync a seal");
  STEP(io, "seal/durable");
  atomic_store(&s->sealed, true);
  counter_add(&log->counts.segments_sealed, 1);
  /* A wild pointer of the host cannot harm it any more (pitfall 14). */
  (void)io->map_read_only(io, s->map, s->bytes);
  return DURALOG_OK;
}

/* The oldest finished one. */
static duralog_error seal_oldest(struct duralog *log) {
  duralog_error error = DURALOG_OK;
  uint64_t number = atomic_load(&log->seal_next);
  struct segment *s;
  struct segment_failure why;
  uint32_t lead = sync_lead_take(log);
  if (atomic_load(&log->poisoned)) {
    error = DURALOG_E_POISONED;
  } else if (atomic_load(&log->seal_next) != number) {
    ; /* another tick did it */
  } else if (catalog_pin(&log->catalog, &log->directory, number, &s, &why) !=
             CATALOG_OK) {
    error = log_poison(log, EIO, NULL, "a segment vanished");
  } else {
    error = seal_one(log, s);
    catalog_unpin(&log->catalog, &log->directory, s);
    if (!error) { /* the writer's own pin */
      atomic_store(&log->seal_next, number + 1);
      catalog_unpin(&log->catalog, &log->directory, s);
      STEP(log->io, "seal/done");
    }
  }
  sync_lead_give(log, lead);
  return error;
}

duralog_error background_seal(struct duralog *log) {
  duralog_error error = DURALOG_OK;
  while (!error && atomic_load(&log->seal_next) < atomic_load(&log->active))
    error = seal_oldest(log);
  return error;
}

/* Another process wants its offset to be durable. What stands in the file is
 * only a reason to sync what is not. */
static bool is_asked_to_sync(const struct duralog *log, uint64_t request) {
  uint64_t durable = atomic_load(&log->durable);
  return request > durable && atomic_load(&log->end) > durable;
}

static duralog_error sync_by_policy(struct duralog *log) {
  struct policy_state s;
  bool wanted = atomic_exchange(&log->sync_wanted, false);
  uint64_t request = atomic_exchange(&log->control->sync_request, 0);
  wanted = is_asked_to_sync(log, request) || wanted;
  policy_state_of(log, &s);
  uint64_t deadline = policy_deadline(&log->policy, &s);
  bool due = deadline != NONE && deadline <= log->io->now(log->io);
  if (wanted || due || host_policy_wants(log, &s))
    return sync_until(log, s.end, 0);
  return DURALOG_OK;
}

/* Larger syncs are not worth writing their blocks twice. */
void background_synced(struct duralog *log, const struct segment *s,
                       uint64_t position, uint64_t bytes) {
  uint64_t far =
      min_u64(position + atomic_load(&log->ahead_window) / 2, s->bytes);
  if (!log->writes_ahead || bytes > WRITE_AHEAD_SYNC_BYTES_MAX ||
      tail_place(s->number, far) <= atomic_load(&log->ahead_place) ||
      atomic_exchange(&log->ahead_wanted, true))
    return;
  atomic_store(&log->prepare_wanted, true);
  log_kick(log, WORKER_PREPARER);
}

/* How far ahead of the tail pages should be faulted in. Where nothing syncs,
 * twice as much again as the segment holds, so that a log that grows soon has
 * all of it and one that hardly grows dirties little. Where each sync is of
 * the whole file and often, nothing: it would write what was dirtied ahead,
 * too (measured, every 1,000: 480 us with it, 425 without). */
static uint64_t populate_to(const struct duralog *log, const struct segment *s,
                            uint64_t position) {
  bool by_count = log->policy.records != NONE || log->policy.bytes != NONE;
  uint64_t to = position + POPULATE_AHEAD_BYTES;
  if (log->small_device || (by_count && !log->syncs_parts)) return 0;
  if (log->policy_idle) to = 3 * position + POPULATE_IDLE_BYTES;
  return min_u64(to & ~UINT64_C(4095), s->bytes);
}

/* In pieces, each by itself under the lock of what is prepared. Populating is a
 * hint; a failed sync may be that of records, too, and poisons the log. After
 * that, and while it is closed, nothing more. */
static duralog_error write_ahead(struct duralog *log, const struct segment *s,
                                 uint64_t from, uint64_t to) {
  duralog_error error = DURALOG_OK;
  while (!error && from < to && !atomic_load(&log->stop_workers) &&
         !atomic_load(&log->poisoned)) {
    uint64_t end = min_u64(from + WRITE_AHEAD_PIECE_BYTES, to);
    struct io_part part = {.map = s->map, .from = from, .to = end};
    mutex_lock(log->io, &log->prepare);
    (void)log->io->populate(log->io, s->map + from, end - from, true);
    STEP(log->io, "prepare/dirty");
    error = sync_segment(log, s, &part, IO_SYNC_AHEAD);
    mutex_unlock(log->io, &log->prepare);
    from = end;
  }
  return error;
}

/* With the append lock: up to where blocks are to be written ahead, if a sync
 * wants that. Little where the tail has come to such that were not, and twice
 * as much each time that it has not: so that little is written in vain. */
static uint64_t ahead_to(struct duralog *log, const struct segment *s,
                         uint64_t position) {
  if (!atomic_exchange(&log->ahead_wanted, false)) return 0;
  uint64_t window =
      s->populated <= position
          ? WRITE_AHEAD_BYTES_MIN
          : min_u64(2 * atomic_load(&log->ahead_window), WRITE_AHEAD_BYTES);
  uint64_t to = min_u64((position + window) & ~UINT64_C(4095), s->bytes);
  atomic_store(&log->ahead_window, window);
  atomic_store(&log->ahead_place, tail_place(s->number, to));
  return to;
}

/* A successor, once an eighth is used: early enough for any rate (preparing
 * 64 MiB takes about as long as filling the half of it at full speed), and a
 * log that hardly grows takes no second segment. */
static bool wants_successor(struct duralog *log, const struct segment *s,
                            uint64_t position) {
  return !atomic_load(&log->next) && position >= s->bytes / 8;
}

/* The append lock, to look at the tail. Our own thread waits for a reservation
 * as appends do, and gets its turn as they do. A tick must not: BUSY, and
 * whoever ends the reservation asks for another one. */
static duralog_error lock_to_prepare(struct duralog *log, bool may_wait) {
  if (may_wait) return append_lock(log);
  while (!append_lock_unless_reserved(log)) {
    atomic_store(&log->reservation.prepare_owed, true);
    if (reserve_is_out(log)) return DURALOG_E_BUSY;
  }
  return DURALOG_OK;
}

/* When the background is wanted again. */
static void set_kick(struct duralog *log, const struct segment *s,
                     uint64_t position, uint64_t to, bool failed) {
  struct tail *t = &log->tail;
  if (t->segment != s) return;
  uint64_t ahead = to && to < s->bytes ? position + (to - position) / 2 : NONE;
  uint64_t eighth = atomic_load(&log->next) ? NONE : s->bytes / 8;
  t->kick_at = failed ? NONE : min_u64(ahead, eighth);
}

/* Fault pages in ahead of the tail and prepare its segment's successor. */
static duralog_error prepare_ahead(struct duralog *log, bool may_wait) {
  struct tail *t = &log->tail;
  atomic_store(&log->prepare_wanted, false);
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  duralog_error error = lock_to_prepare(log, may_wait);
  if (error) return error == DURALOG_E_BUSY ? DURALOG_OK : error;
  struct segment *s = t->segment;
  /* Nothing before the first append: opening takes no space. */
  bool started = atomic_load(&s->started) &&
                 !(atomic_load(&log->append_block) & BLOCK_BEGIN);
  uint64_t position = t->position;
  uint64_t from = max_u64(s->populated, position & ~UINT64_C(4095));
  uint64_t to = !started            ? 0
                : log->writes_ahead ? ahead_to(log, s, position)
                                    : populate_to(log, s, position);
  bool ahead = to > from;
  if (ahead) s->populated = to;
  catalog_pin_again(s);
  append_unlock(log);

  if (ahead) {
    if (log->writes_ahead)
      error = write_ahead(log, s, from, to);
    else
      (void)log->io->populate(log->io, s->map + from, to - from, true);
    STEP(log->io, "prepare/populated");
  }
  if (!error && started && wants_successor(log, s, position))
    error = prepare_next(log);
  if (error && error != DURALOG_E_POISONED)
    counter_add(&log->counts.failed_preparations, 1);

  /* Before the first append: that one asks again. */
  if (started && lock_to_prepare(log, may_wait) == DURALOG_OK) {
    set_kick(log, s, position, to, error != DURALOG_OK);
    append_unlock(log);
  }
  catalog_unpin(&log->catalog, &log->directory, s);
  return error;
}

/*
 * When finished segments are to be sealed. Where nothing syncs, sealing writes
 * a whole segment, and preparing the next one waits behind it in the disk's
 * queue: so it waits for a pause, and a burst of a few segments runs at the
 * speed of memory. Longer ones are sealed one for each that is finished, not
 * all at once: the next one must get its turn at the disk.
 */
static uint64_t seal_deadline(const struct duralog *log) {
  enum { BACKLOG_MAX = 8, PAUSE_NS = 100 * 1000 * 1000 };
  uint64_t first = atomic_load(&log->seal_next);
  uint64_t active = atomic_load(&log->active);
  if (first >= active) return NONE;
  if (!log->policy_idle || log->host_driven || active - first >= BACKLOG_MAX)
    return 0;
  return atomic_load(&log->rolled_at) + PAUSE_NS;
}

/* Sync by the clock and seal what is finished. */
static duralog_error background_sync(struct duralog *log) {
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  duralog_error error = sync_by_policy(log);
  while (!error && seal_deadline(log) <= log->io->now(log->io))
    error = seal_oldest(log);
  return error;
}

static uint64_t sync_deadline(const struct duralog *log) {
  struct policy_state s;
  if (atomic_load(&log->poisoned) || log->read_only) return NONE;
  uint64_t request = atomic_load(&log->control->sync_request);
  if (atomic_load(&log->sync_wanted) || is_asked_to_sync(log, request))
    return 0;
  policy_state_of(log, &s);
  uint64_t due = min_u64(seal_deadline(log), policy_deadline(&log->policy, &s));
  return min_u64(due, host_policy_deadline(log, &s));
}

static uint64_t prepare_deadline(const struct duralog *log) {
  bool idle = atomic_load(&log->poisoned) || !atomic_load(&log->prepare_wanted);
  return idle ? NONE : 0;
}

uint64_t background_deadline(const struct duralog *log) {
  return min_u64(sync_deadline(log), prepare_deadline(log));
}

/* ---- the threads ---- */

/* A failure has its way to the host: poison, or the append that needs what
 * failed here. Nobody is told of it now, so it is counted. */
static void worker_run(struct duralog *log,
                       duralog_error (*body)(struct duralog *)) {
  bool poisoned = atomic_load(&log->poisoned);
  duralog_error error = body(log);
  if (error && !poisoned) log_count(log, error);
}

/*
 * Off the processor that the log is appended on. Whose sleep ends by an
 * interrupt there is often left on it though another is idle (the kernel takes
 * an idle virtual one for one that its host has taken away), and has its turn
 * at the next tick, 4 ms away, after each of its sleeps. Measured on two
 * virtual cores, 1 M appends a second: of the first ten segments of 1 MiB five
 * came late, now none; with a sync every 10 ms the delay at p99.9, against the
 * schedule, 2.5 of RAW's, now 0.24.
 */
static void keep_off_appends(struct worker *worker) {
  struct duralog *log = worker->log;
  uint32_t processor =
      atomic_load_explicit(&log->appends_on, memory_order_relaxed);
  if (processor == worker->keeps_off) return;
  worker->keeps_off = processor;
  log->io->keep_off(log->io, &worker->processors, processor);
}

/*
 * Two, each a loop around one half of a tick: sealing a segment can take as
 * long as the disk needs for all of it, and the next one must be ready before.
 *
 * Sleep until kicked or due. An append pays for waking only where the thread
 * has asked: it sets its bit, makes a barrier in all threads, looks again, and
 * sleeps; an append that did not see the bit is seen by the second look.
 */
static void worker_loop(struct worker *worker,
                        duralog_error (*body)(struct duralog *),
                        uint64_t (*due)(const struct duralog *)) {
  struct duralog *log = worker->log;
  io_env *io = log->io;
  while (!atomic_load(&log->stop_workers)) {
    bool syncs = worker == &log->workers[WORKER_SYNCER];
    _Atomic uint32_t *word = syncs ? &log->control->sync_word : &worker->word;
    uint32_t value = atomic_load(word);
    keep_off_appends(worker);
    worker_run(log, body);
    uint64_t until = NONE;
    if (syncs) {
      atomic_fetch_or(&log->attention, ATTENTION_SYNCER);
      until = log_fence_appenders(log, NONE);
    }
    uint64_t deadline = due(log);
    if (deadline != NONE && deadline <= io->now(io)) continue;
    if (!atomic_load(&log->stop_workers))
      (syncs ? io->wait_shared : io->wait)(io, word, value,
                                           min_u64(deadline, until));
  }
}

static void syncer_main(void *worker) {
  worker_loop(worker, background_sync, sync_deadline);
}

static duralog_error prepare_patiently(struct duralog *log) {
  return prepare_ahead(log, true);
}

static void preparer_main(void *worker) {
  worker_loop(worker, prepare_patiently, prepare_deadline);
}

int background_start(struct duralog *log) {
  static void (*const bodies[WORKERS])(void *) = {
      [WORKER_SYNCER] = syncer_main, [WORKER_PREPARER] = preparer_main};
  for (int i = 0; i < WORKERS; i++) {
    struct worker *worker = &log->workers[i];
    worker->log = log;
    int result =
        log->io->thread_start(log->io, bodies[i], worker, &worker->thread);
    if (result) {
      worker->thread = NULL;
      background_stop(log);
      return result;
    }
  }
  return 0;
}

void background_stop(struct duralog *log) {
  atomic_store(&log->stop_workers, true);
  for (int i = 0; i < WORKERS; i++) {
    struct worker *worker = &log->workers[i];
    if (!worker->thread) continue;
    log_kick(log, (enum worker_kind)i);
    log->io->thread_join(log->io, worker->thread);
    worker->thread = NULL;
  }
  atomic_store(&log->stop_workers, false);
}

static duralog_error tick(duralog *log) {
  if (log->read_only) return DURALOG_E_READ_ONLY;
  STEP(log->io, "tick/begin");
  duralog_error synced = background_sync(log);
  STEP(log->io, "tick/synced");
  duralog_error prepared = prepare_ahead(log, false);
  return synced ? synced : prepared;
}

duralog_error duralog_tick(duralog *log) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, tick(log));
}

static duralog_error next_deadline(const duralog *log, int64_t *in_ms) {
  if (!in_ms) return DURALOG_E_ARGUMENT;
  uint64_t deadline = background_deadline(log);
  uint64_t now = log->io->now(log->io);
  if (deadline == NONE)
    *in_ms = -1;
  else
    *in_ms = deadline <= now
                 ? 0
                 : (int64_t)((deadline - now + NS_PER_MS - 1) / NS_PER_MS);
  return DURALOG_OK;
}

duralog_error duralog_next_deadline(const duralog *log, int64_t *in_ms) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, next_deadline(log, in_ms));
}
