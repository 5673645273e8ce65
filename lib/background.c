/* SPDX-License-Identifier: MIT
 *
 * The work behind the appends: beginning an epoch, preparing the next segment,
 * sealing finished ones, syncing by the clock. One body, background_tick; the
 * library's own thread is a loop around it, a host-driven log calls it from
 * duralog_tick.
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
 */
#include "log.h"

#include <errno.h>

enum {
  POPULATE_AHEAD_BYTES = 2 << 20, /* where something syncs: what is dirtied
                                   * ahead is written twice */
  POPULATE_STEP_BYTES = 1 << 20
};

/* ---- preparing ---- */

static duralog_error prepare_locked(struct duralog *log) {
  if (atomic_load(&log->next)) return DURALOG_OK;
  io_env *io = log->io;
  struct segment *s;
  struct segment_failure why;
  uint64_t number = atomic_load(&log->active) + 1;
  if (!segment_create(&log->directory, number, log->segment_bytes,
                      io->wall_ms(io), &s, &why))
    return log_fail_segment(log, number, &why);
  if (!catalog_add(&log->catalog, io, number, s)) {
    segment_close(&log->directory, s); /* made again, over it, the next time */
    return log_fail(log, DURALOG_E_RESOURCES, ENOMEM, NONE, NULL,
                    "no memory for one more segment");
  }
  if (log->policy_idle && !log->small_device) {
    /* Nothing syncs: fault all of it in ahead, off the append path. */
    (void)io->populate(io, s->map, s->bytes, true);
    s->populated = s->bytes;
  }
  atomic_store(&log->next, s);
  return DURALOG_OK;
}

duralog_error prepare_next(struct duralog *log) {
  mutex_lock(log->io, &log->prepare);
  duralog_error error = atomic_load(&log->poisoned) ? DURALOG_E_POISONED
                                                    : prepare_locked(log);
  mutex_unlock(log->io, &log->prepare);
  return error;
}

/* ---- the first append ---- */

/* Whether the tail's segment can take the epoch and the first record. */
static bool epoch_fits(struct duralog *log, uint64_t need) {
  append_lock(log);
  bool fits = !atomic_load(&log->tail.segment->started) ||
              tail_fits(log, frame_bytes(FRAME_EPOCH_BODY_BYTES) + need);
  append_unlock(log);
  return fits;
}

static void store_epoch(struct duralog *log, uint64_t epoch, bool fits) {
  append_lock(log);
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
  if (!log->clean_mark) return DURALOG_OK;
  duralog_error error = sync_mark(log, false, IO_SYNC_UNCLEAN);
  if (!error) log->clean_mark = false;
  return error;
}

static duralog_error begin_locked(struct duralog *log, uint64_t need) {
  if (!(atomic_load(&log->append_block) & BLOCK_BEGIN)) return DURALOG_OK;
  bool fits = epoch_fits(log, need);
  if (!fits) {
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
  }
  if (!error) {
    atomic_store(&log->epoch, epoch);
    atomic_fetch_and(&log->append_block, ~(uint32_t)BLOCK_BEGIN);
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
  if (!s->data_synced) {
    duralog_error error = sync_finished(log, s->number);
    if (error) return error;
  }
  segment_seal(s, &log->directory);
  int result = io->file_sync(io, s->file, IO_SYNC_SEAL);
  if (result) return log_poison(log, -result, name, "cannot sync a seal");
  STEP(io, "seal/durable");
  atomic_store(&s->sealed, true);
  /* A wild pointer of the host cannot harm it any more (pitfall 14). */
  (void)io->map_read_only(io, s->map, s->bytes);
  return DURALOG_OK;
}

duralog_error background_seal(struct duralog *log) {
  duralog_error error = DURALOG_OK;
  while (!error && atomic_load(&log->seal_next) < atomic_load(&log->active)) {
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
      }
    }
    sync_lead_give(log, lead);
  }
  return error;
}

static duralog_error sync_by_policy(struct duralog *log) {
  struct policy_state s;
  bool wanted = atomic_exchange(&log->sync_wanted, false);
  policy_state_of(log, &s);
  uint64_t deadline = policy_deadline(&log->policy, &s);
  if (!wanted && (deadline == NONE || deadline > log->io->now(log->io)))
    return DURALOG_OK;
  return sync_until(log, s.end, 0);
}

/* What the tail wants next: a successor, pages faulted in ahead. */
static duralog_error look_ahead(struct duralog *log) {
  atomic_store(&log->tick_wanted, false);
  append_lock(log);
  struct tail *t = &log->tail;
  struct segment *s = t->segment;
  bool successor = atomic_load(&s->started) && !atomic_load(&log->next) &&
                   t->position >= s->bytes / 2;
  bool ahead = !log->policy_idle && !log->small_device &&
               atomic_load(&s->started) && s->populated < s->bytes &&
               t->position + POPULATE_STEP_BYTES > s->populated;
  uint64_t from = max_u64(s->populated, t->position) & ~UINT64_C(4095);
  uint64_t to = min_u64(s->bytes, from + POPULATE_AHEAD_BYTES);
  if (ahead) s->populated = to;
  catalog_pin_again(s);
  append_unlock(log);

  duralog_error error = DURALOG_OK;
  if (ahead) (void)log->io->populate(log->io, s->map + from, to - from, true);
  if (successor) error = prepare_next(log);

  append_lock(log);
  if (t->segment == s) { /* when to be called again */
    uint64_t half = atomic_load(&log->next) ? NONE : s->bytes / 2;
    uint64_t populated = log->policy_idle || log->small_device ||
                                 s->populated >= s->bytes
                             ? NONE
                             : s->populated - POPULATE_STEP_BYTES;
    t->kick_at = error ? NONE : min_u64(half, populated);
  }
  append_unlock(log);
  catalog_unpin(&log->catalog, &log->directory, s);
  return error;
}

duralog_error background_tick(struct duralog *log) {
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  duralog_error error = sync_by_policy(log);
  if (!error) error = look_ahead(log);
  duralog_error sealed =
      atomic_load(&log->poisoned) ? DURALOG_E_POISONED : background_seal(log);
  return sealed ? sealed : error;
}

uint64_t background_deadline(const struct duralog *log) {
  struct policy_state s;
  if (atomic_load(&log->poisoned) || log->read_only) return NONE;
  if (atomic_load(&log->sync_wanted) || atomic_load(&log->tick_wanted)) return 0;
  if (atomic_load(&log->seal_next) < atomic_load(&log->active)) return 0;
  policy_state_of(log, &s);
  return policy_deadline(&log->policy, &s);
}

/* ---- the thread ---- */

/*
 * Sleep until kicked or due. An append pays for waking only where the thread
 * has asked: it sets its bit, makes a barrier in all threads, looks again, and
 * sleeps; an append that did not see the bit is seen by the second look.
 */
void background_main(void *context) {
  struct duralog *log = context;
  io_env *io = log->io;
  while (!atomic_load(&log->stop_thread)) {
    uint32_t value = atomic_load(&log->thread_word);
    (void)background_tick(log); /* a failure has its way to the host: poison, or
                                 * the append that needs what failed here */
    atomic_fetch_or(&log->attention, ATTENTION_BACKGROUND);
    io->fence_all(io);
    uint64_t deadline = background_deadline(log);
    if (deadline <= io->now(io) && deadline != NONE) continue;
    if (!atomic_load(&log->stop_thread))
      io->wait(io, &log->thread_word, value, deadline);
  }
}

duralog_error duralog_tick(duralog *log) {
  duralog_error error = log_check(log);
  if (error) return error;
  if (log->read_only) return DURALOG_E_READ_ONLY;
  return background_tick(log);
}

duralog_error duralog_next_deadline(const duralog *log, int64_t *in_ms) {
  duralog_error error = log_check(log);
  if (error) return error;
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
