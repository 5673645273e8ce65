/* SPDX-License-Identifier: MIT
 *
 * Appending.
 *
 * The checksum of the data is computed before the append lock; frames are
 * stored and `end` is published under it, one release store for the whole
 * batch. So there are no holes, offsets are dense and in append order, no
 * append returns before every earlier one is published (I11, I29), and a
 * killed process leaves at most one unfinished batch, exactly at the end.
 *
 * The order of the stores within a frame does not matter: pages may be written
 * back at any time in any state, and only the checksums prove a frame.
 *
 * Nothing slow is done under the lock: a roll is a few stores, since the next
 * segment was prepared in advance; if it was not, the lock is given up first.
 *
 * Waiting for durability comes after the lock, by the policy: see sync.c.
 */
#include "log.h"

/*
 * The append lock: compare and swap, little spinning, long naps, unfair.
 * Measured with 1 / 8 threads on 2 cores, ns per 100-byte record: this
 * 20-29 / 33-38; 200 spins and short naps 22-29 / 37-102; parking on a futex
 * 23-29 / 39-148; pthread_mutex 29-41 / 122-197. A fair lock hands the cache
 * lines of the tail from core to core with each record.
 *
 * Who is no append has it for less than a microsecond, and nobody naps for
 * that: it was the longest delay of a lone appender (at 1 M/s, in 10 M appends:
 * 1 ms; 0.09 without).
 */
enum lock_state { LOCK_FREE, LOCK_APPENDS, LOCK_BRIEFLY };
enum {
  LOCK_SPINS = 20,
#ifdef DURALOG_INSTRUMENTED
  LOCK_SPINS_BRIEFLY = 1, /* nobody runs meanwhile */
#else
  LOCK_SPINS_BRIEFLY = 1000, /* unless it was pushed aside: some 20 us */
#endif
  LOCK_NAP_NS = 1000 * 1000,
  /* For writing, so far ahead, as many lines as the record has (measured: 100
   * bytes 44 to 37 ns, 1 KiB 190 to 110; half as far is slower). From 2 KiB on
   * memcpy moves whole lines without fetching them first. */
  PREFETCH_AHEAD_BYTES = 2048,
  PREFETCH_RECORD_BYTES_MAX = 2048
};

static bool try_lock(struct duralog *log, enum lock_state as) {
  uint32_t idle = LOCK_FREE;
  return atomic_load_explicit(&log->append_lock, memory_order_relaxed) ==
             LOCK_FREE &&
         atomic_compare_exchange_strong_explicit(&log->append_lock, &idle, as,
                                                 memory_order_acquire,
                                                 memory_order_relaxed);
}

static bool spin_for_lock(struct duralog *log, enum lock_state as) {
  for (int i = 0, brief = 0; i < LOCK_SPINS && brief < LOCK_SPINS_BRIEFLY;) {
    if (try_lock(log, as)) return true;
    if (atomic_load_explicit(&log->append_lock, memory_order_relaxed) ==
        LOCK_BRIEFLY)
      brief++;
    else
      i++;
    spin_pause();
  }
  return false;
}

/* Nobody wakes this word: it is the deadline that ends the nap. */
static void nap(struct duralog *log, uint64_t until) {
  log->io->wait(log->io, &log->nap, 0, until);
}

/* Gives how often it slept. A reservation is slept through on a word of its
 * own, for it may be long. Only here, where the lock was taken, is it asked
 * whose it is: an append that gets the lock at once pays nothing for
 * reservations. */
static duralog_error lock_contended(struct duralog *log, enum lock_state as,
                                    uint64_t deadline, uint64_t *naps) {
  io_env *io = log->io;
  duralog_error error = DURALOG_OK;
  bool slept = false;
  *naps = 0;
  if (reserve_is_own(log)) return DURALOG_E_BUSY;
  while (!error && !spin_for_lock(log, as)) {
    uint64_t now = io->now(io);
    if (deadline <= now) {
      error = DURALOG_E_TIMEOUT;
    } else if (reserve_is_out(log)) {
      if (!slept) atomic_fetch_add(&log->reservation.sleepers, 1);
      slept = true;
      error = reserve_sleep(log, deadline);
    } else {
      nap(log, min_u64(deadline, now + LOCK_NAP_NS));
    }
    ++*naps;
  }
  if (slept) atomic_fetch_sub(&log->reservation.sleepers, 1);
  return error;
}

duralog_error append_lock(struct duralog *log) {
  uint64_t naps;
  return LIKELY(try_lock(log, LOCK_BRIEFLY))
             ? DURALOG_OK
             : lock_contended(log, LOCK_BRIEFLY, NONE, &naps);
}

/* For appends, which are counted. */
static ALWAYS_INLINE duralog_error append_lock_counting(struct duralog *log,
                                                        uint64_t deadline) {
  if (LIKELY(try_lock(log, LOCK_APPENDS))) return DURALOG_OK;
  uint64_t naps;
  duralog_error error = lock_contended(log, LOCK_APPENDS, deadline, &naps);
  if (error) return error;
  log->tail.contended++;
  log->tail.naps += naps;
  if (naps) tail_read_clock(log, log->io->now_coarse(log->io));
  return DURALOG_OK;
}

bool append_lock_unless_reserved(struct duralog *log) {
  while (!spin_for_lock(log, LOCK_BRIEFLY)) {
    if (reserve_is_out(log)) return false;
    nap(log, log->io->now(log->io) + LOCK_NAP_NS);
  }
  return true;
}

void append_unlock(struct duralog *log) {
  atomic_store_explicit(&log->append_lock, LOCK_FREE, memory_order_release);
}

/* ---- records ---- */

/* The optional blocks of a record, built on the stack: all but the key. */
struct shape {
  uint16_t flags;
  uint8_t blocks[FRAME_TIME_BYTES + FRAME_KEY_LENGTH_BYTES];
  uint32_t blocks_bytes; /* of the above */
  uint64_t body_bytes;
};

static void shape_of(struct shape *s, const duralog_entry *e, bool with_time) {
  s->flags = FRAME_RECORD;
  s->blocks_bytes = 0;
  if (with_time) {
    s->flags |= FRAME_TIME;
    store64(s->blocks, (uint64_t)e->timestamp_ms);
    s->blocks_bytes = FRAME_TIME_BYTES;
  }
  if (e->key) {
    s->flags |= FRAME_KEY;
    store32(s->blocks + s->blocks_bytes, (uint32_t)e->key_size);
    s->blocks_bytes += FRAME_KEY_LENGTH_BYTES;
  }
  s->body_bytes = s->blocks_bytes + (e->key ? e->key_size : 0) + e->size;
}

static uint32_t entry_check(const struct shape *s, const duralog_entry *e) {
  static const uint8_t nothing[1];
  const void *data = e->size ? e->data : nothing;
  if (LIKELY(s->blocks_bytes == 0))
    return frame_body_check(NULL, 0, data, e->size);
  /* Blocks and key are not contiguous here: hash them as a stream. */
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, s->blocks, s->blocks_bytes);
  if (e->key && e->key_size) XXH3_64bits_update(&state, e->key, e->key_size);
  return (uint32_t)checksum64(data, e->size, XXH3_64bits_digest(&state));
}

static void put_body(uint8_t *to, const struct shape *s,
                     const duralog_entry *e) {
  memcpy(to, s->blocks, s->blocks_bytes);
  to += s->blocks_bytes;
  if (e->key && e->key_size) {
    memcpy(to, e->key, e->key_size);
    to += e->key_size;
  }
  if (e->size) memcpy(to, e->data, e->size);
}

static bool delta_fits(int64_t time, int64_t base) {
  int64_t delta;
  return !__builtin_sub_overflow(time, base, &delta) && delta >= INT32_MIN &&
         delta <= INT32_MAX;
}

/* Frame a body that is stored behind `to` by now: the tail, or where what goes
 * there is put together. */
static inline void put_header(struct duralog *log, uint8_t *to,
                              uint64_t body_bytes, uint32_t check, int64_t time,
                              bool far, uint32_t flags, uint64_t durable) {
  struct tail *t = &log->tail;
  struct frame f = {.body_bytes = (uint32_t)body_bytes,
                    .body_check = check,
                    .index = (uint32_t)(t->offset - t->base),
                    .time_delta = far ? 0 : (int32_t)(time - t->base_time),
                    .flags = (uint16_t)flags,
                    .lag = tail_lag(t->offset, durable)};
  STEP(log->io, "append/header");
  frame_encode(to, &f, t->seed, t->position);
  STEP(log->io, "append/stored");
  uint64_t bytes = frame_bytes(body_bytes);
  INVARIANT(t->position + bytes <= t->limit);
  t->position += bytes;
  t->bytes += bytes;
  t->offset++;
  if (time > t->time_max_ms) t->time_max_ms = time;
}

/* A record with a key, or with a time of its own, or after 24 idle days.
 * `check` was computed for the shape without a time block; where one is needed
 * after all it is computed again, which is rare. */
static void put_shaped(struct duralog *log, uint8_t *to, const duralog_entry *e,
                       uint32_t check, uint32_t more, uint64_t durable) {
  struct tail *t = &log->tail;
  duralog_entry timed = *e;
  if (!timed.has_timestamp) timed.timestamp_ms = t->time_ms;
  bool far = !delta_fits(timed.timestamp_ms, t->base_time);
  struct shape shape;
  shape_of(&shape, &timed, far);
  if (far) check = entry_check(&shape, &timed);
  STEP(log->io, "append/body");
  put_body(to + FRAME_HEADER_BYTES, &shape, &timed);
  put_header(log, to, shape.body_bytes, check, timed.timestamp_ms, far,
             shape.flags | more, durable);
}

/* The lock waits until every store before it has reached the cache: so the
 * lines of a later record had better be there by then. */
static ALWAYS_INLINE void prefetch_tail(const struct tail *t, size_t size) {
  const uint8_t *at = t->map + t->position + PREFETCH_AHEAD_BYTES;
  if (UNLIKELY(size >= PREFETCH_RECORD_BYTES_MAX)) return;
  for (const uint8_t *end = at + frame_bytes(size); at < end; at += CACHE_LINE)
    __builtin_prefetch(at, 1);
}

/* Store the tail's next record, for which there is room. */
static ALWAYS_INLINE void put_record(struct duralog *log, uint8_t *to,
                                     const duralog_entry *e, uint32_t check,
                                     uint32_t more, uint64_t durable) {
  const struct tail *t = &log->tail;
  if (UNLIKELY(e->key || e->has_timestamp ||
               !delta_fits(t->time_ms, t->base_time))) {
    put_shaped(log, to, e, check, more, durable);
    return;
  }
  STEP(log->io, "append/body");
  prefetch_tail(t, e->size);
  if (LIKELY(e->size)) memcpy(to + FRAME_HEADER_BYTES, e->data, e->size);
  put_header(log, to, e->size, check, t->time_ms, false, FRAME_RECORD | more,
             durable);
}

/* The same for a record whose data lies there already. */
static void put_in_place(struct duralog *log, uint64_t size, uint32_t check,
                         uint64_t durable) {
  struct tail *t = &log->tail;
  uint8_t *data = t->map + t->position + FRAME_HEADER_BYTES;
  bool far = !delta_fits(t->time_ms, t->base_time);
  if (UNLIKELY(far)) { /* the time comes before it */
    memmove(data + FRAME_TIME_BYTES, data, size);
    STEP(log->io, "append/moved");
    store64(data, (uint64_t)t->time_ms);
    check =
        frame_body_check(data, FRAME_TIME_BYTES, data + FRAME_TIME_BYTES, size);
  }
  put_header(log, data - FRAME_HEADER_BYTES,
             size + (far ? FRAME_TIME_BYTES : 0), check, t->time_ms, far,
             FRAME_RECORD | (far ? FRAME_TIME : 0), durable);
}

/* Let readers, other threads and the policy see what is at the tail. */
static void publish(struct duralog *log, uint64_t first, uint64_t durable) {
  struct tail *t = &log->tail;
  if (durable >= first) /* stale at worst, and then the age reads too high */
    atomic_store_explicit(&log->unsynced_since, t->tick, memory_order_relaxed);
  STEP(log->io, "append/publish");
  /* Before `end`, so that whoever sees that finds it no further. */
  atomic_store_explicit(&log->end_place, t->place + t->position,
                        memory_order_relaxed);
  atomic_store_explicit(&log->end, t->offset, memory_order_release);
  /* After `end`: see sync_run. */
  atomic_store_explicit(&log->end_bytes, t->bytes, memory_order_release);
  atomic_store_explicit(&log->control->end, t->offset, memory_order_release);
  STEP(log->io, "append/published");
}

/* Wake a thread that works behind the appends, and say what to keep off. */
static void kick_worker(struct duralog *log, enum worker_kind kind) {
  atomic_store_explicit(&log->appends_on, log->io->processor(log->io),
                        memory_order_relaxed);
  log_kick(log, kind);
}

/* In other processes. Not reordered with `end` by the compiler; by the
 * processor it is up to the sleeper, which makes a fence here. */
static ALWAYS_INLINE void wake_other_processes(struct duralog *log) {
  struct control *c = log->control;
  atomic_signal_fence(memory_order_seq_cst);
  if (UNLIKELY(atomic_load_explicit(&c->attention, memory_order_acquire) &
               CONTROL_END_SLEEPERS))
    control_wake(c, log->io, CONTROL_END_SLEEPERS);
}

static ALWAYS_INLINE void wake_those_who_asked(struct duralog *log,
                                               uint64_t first) {
  /* Sleepers have made a barrier in every thread after setting their bit;
   * where there is no such thing, the look is a full fence itself. */
  uint32_t wanted =
      LIKELY(!atomic_load_explicit(&log->fence_appends, memory_order_relaxed))
          ? atomic_load_explicit(&log->attention, memory_order_acquire)
          : atomic_fetch_or(&log->attention, 0);
  if (LIKELY(wanted == 0)) return;
  if (wanted & ATTENTION_READERS) log_wake_readers(log);
  /* The first unsynced record starts the clock. `durable` is read anew: after
   * the bit was seen it is as new as the syncer's own view of it. */
  bool clocked = log->policy.interval_ns != NONE || log->host_policy;
  if ((wanted & ATTENTION_SYNCER) && clocked &&
      atomic_load(&log->durable) >= first)
    kick_worker(log, WORKER_SYNCER);
}

/* What one append asks for. */
struct request {
  const duralog_entry *entries;
  size_t count;
  const uint32_t *checks;
  uint64_t bytes; /* frames, at most: with a time block each where keyed */
  uint64_t payload_bytes;
  duralog_level level;
};

static duralog_error unblock(struct duralog *log, uint32_t block,
                             uint64_t need) {
  if (block & BLOCK_READ_ONLY) return DURALOG_E_READ_ONLY;
  if (block & BLOCK_POISON) return DURALOG_E_POISONED;
  return begin_epoch(log, need);
}

/* Take the append lock with the tail ready for `need` bytes, behind a PAD if
 * so asked. Whoever had to wait for that finds the tail's clock set. */
static ALWAYS_INLINE duralog_error lock_with_room(struct duralog *log,
                                                  uint64_t need,
                                                  uint64_t deadline,
                                                  bool padded) {
  for (bool slow = false;; slow = true) {
    duralog_error error = append_lock_counting(log, deadline);
    if (UNLIKELY(error != 0)) return error;
    uint32_t block =
        atomic_load_explicit(&log->append_block, memory_order_acquire);
    if (UNLIKELY(block != 0)) {
      append_unlock(log);
      error = unblock(log, block, need);
    } else if (LIKELY(padded && log->pad_syncs ? tail_padded_fits(log, need)
                                               : tail_fits(log, need))) {
      if (UNLIKELY(slow)) tail_read_clock(log, log->io->now_coarse(log->io));
      return DURALOG_OK;
    } else {
      struct segment *next = atomic_load(&log->next);
      if (next) {
        tail_roll(log, next, log->tail.epoch);
        append_unlock(log);
        kick_worker(log, WORKER_SYNCER); /* to seal */
        continue;
      }
      append_unlock(log);
      counter_add(&log->counts.late_preparations, 1);
      error = prepare_next(log);
    }
    if (error) return error;
  }
}

/* With the lock: what every record of this call shares. Waiting for the lock
 * may have made `tick` an old one. */
static ALWAYS_INLINE uint64_t begin(struct duralog *log, uint64_t tick,
                                    struct appended *out) {
  struct tail *t = &log->tail;
  if (UNLIKELY(tick != t->tick))
    tail_read_clock(log, log->io->now_coarse(log->io));
  out->first = t->offset;
  return atomic_load_explicit(&log->durable, memory_order_relaxed);
}

/* What was stored is let loose, and the lock given up. */
static ALWAYS_INLINE void finish(struct duralog *log, uint64_t payload_bytes,
                                 uint64_t durable, struct appended *out) {
  struct tail *t = &log->tail;
  publish(log, out->first, durable);
  t->batches++;
  t->payload_bytes += payload_bytes;
  out->end = t->offset;
  out->end_bytes = t->bytes;
  bool kick = t->position >= t->kick_at;
  if (UNLIKELY(kick)) t->kick_at = NONE; /* the background sets it anew */
  append_unlock(log);
  wake_those_who_asked(log, out->first);
  wake_other_processes(log);
  if (UNLIKELY(kick)) {
    atomic_store(&log->prepare_wanted, true);
    kick_worker(log, WORKER_PREPARER);
  }
}

static ALWAYS_INLINE void put_records(struct duralog *log,
                                      const struct request *r,
                                      uint64_t durable) {
  const struct tail *t = &log->tail;
  for (size_t i = 0; i < r->count; i++)
    put_record(log, t->map + t->position, &r->entries[i], r->checks[i],
               i + 1 < r->count ? FRAME_MORE : 0, durable);
}

/*
 * Where a sync follows at once and nobody else waits for one, a record is put
 * together here and goes to its place by a write. The last sync has taken the
 * page's write permission away: storing into it faults, and the next sync has
 * to take it away again (measured: 4.5 us of the 60 that a durable append by
 * one thread takes). In company the first store of a batch pays that for all,
 * and a write for each is more (8 threads: 38,000 a second against 28,000).
 *
 * A write into a file that another process has cut would make it longer, so
 * with the guard, which is there to notice that, records are stored.
 */
enum { WRITE_BYTES_MAX = 4096 };

static inline bool is_to_be_written(const struct duralog *log,
                                    const struct request *r) {
  const struct sync_lead *lead = &log->lead;
  return log->durable_each && r->count == 1 && r->bytes <= WRITE_BYTES_MAX &&
         r->level != DURALOG_LEVEL_WRITTEN &&
         !atomic_load_explicit(&lead->served, memory_order_relaxed) &&
         !atomic_load_explicit(&lead->busy, memory_order_relaxed);
}

/* False: it was not written, and nothing is lost by storing it. */
static bool write_record(struct duralog *log, const struct request *r,
                         uint64_t durable) {
  enum { LAST_BYTES = FRAME_TIME_BYTES + FRAME_ALIGNMENT };
  uint8_t frame[WRITE_BYTES_MAX];
  struct tail *t = &log->tail, before = *t;
  /* It may end a time block before `r->bytes`, and with padding. */
  memset(frame + r->bytes - LAST_BYTES, 0, LAST_BYTES);
  put_record(log, frame, r->entries, *r->checks, 0, durable);
  STEP(log->io, "append/write");
  if (io_write(log->io, t->segment->file, frame, t->position - before.position,
               before.position) == 0)
    return true;
  *t = before;
  io_retried(log->io);
  return false;
}

/* The same with the guard. What was stored of a batch that could not be stored
 * is behind the tail, and no part of the log. */
struct putting {
  struct duralog *log;
  const struct request *request;
  uint64_t durable;
};

static void put_all(void *context) {
  const struct putting *p = context;
  put_records(p->log, p->request, p->durable);
}

static duralog_error stored_guarded(struct duralog *log, void (*body)(void *),
                                    void *context) {
  struct segment_failure why;
  const struct tail before = log->tail;
  if (segment_store(before.segment, log->io, body, context, &why))
    return DURALOG_OK;
  log->tail = before;
  return log_fail_segment(log, before.segment->number, &why);
}

static duralog_error put_guarded(struct duralog *log, const struct request *r,
                                 uint64_t durable) {
  struct putting p = {log, r, durable};
  return stored_guarded(log, put_all, &p);
}

static inline duralog_error append_request(struct duralog *log,
                                           const struct request *r,
                                           struct appended *out) {
  uint64_t tick = log->io->now_coarse(log->io);
  duralog_error error = lock_with_room(log, r->bytes, NONE, false);
  if (UNLIKELY(error != 0)) return error;
  uint64_t durable = begin(log, tick, out);
  if (UNLIKELY(io_guarded()))
    error = put_guarded(log, r, durable);
  else if (!is_to_be_written(log, r) || !write_record(log, r, durable))
    put_records(log, r, durable);
  if (UNLIKELY(error != 0)) {
    append_unlock(log);
    return error;
  }
  finish(log, r->payload_bytes, durable, out);
  return DURALOG_OK;
}

/* ---- for reservations ---- */

duralog_error append_room(struct duralog *log, uint64_t size,
                          uint64_t deadline) {
  return lock_with_room(log, frame_bytes(size + FRAME_TIME_BYTES), deadline,
                        true);
}

struct placing {
  struct duralog *log;
  uint64_t size, durable;
};

static void place(void *context) {
  const struct placing *p = context;
  const struct tail *t = &p->log->tail;
  const uint8_t *data = t->map + t->position + FRAME_HEADER_BYTES;
  put_in_place(p->log, p->size, frame_body_check(NULL, 0, data, p->size),
               p->durable);
}

duralog_error append_in_place(struct duralog *log, uint64_t size,
                              struct appended *out) {
  struct placing p = {.log = log, .size = size};
  duralog_error error = DURALOG_OK;
  p.durable = begin(log, log->io->now_coarse(log->io), out);
  if (LIKELY(!io_guarded()))
    place(&p);
  else
    error = stored_guarded(log, place, &p);
  if (error)
    append_unlock(log);
  else
    finish(log, size, p.durable, out);
  return error;
}

/* ---- waiting ---- */

/* Whoever does not wait counts towards the triggers all the same. Where the
 * host drives the log its tick finds them reached by itself. */
static void trigger_sync(struct duralog *log, const struct appended *a) {
  struct policy_state s;
  bool nobody_asks = log->host_driven && !atomic_load(&log->watching);
  if (log->policy_idle || nobody_asks) return;
  policy_state_of(log, &s);
  s.end = a->end;
  s.end_bytes = a->end_bytes;
  if (policy_deadline(&log->policy, &s) == 0 &&
      (log->host_driven || !atomic_exchange(&log->sync_wanted, true)))
    kick_worker(log, WORKER_SYNCER);
}

duralog_error append_wait(struct duralog *log, duralog_level level,
                          const struct appended *a) {
  if (level == DURALOG_LEVEL_DURABLE ||
      (log->durable_each && level == DURALOG_LEVEL_DEFAULT))
    return sync_await(log, a->end, 0);
  if (UNLIKELY(log->host_policy != NULL)) host_policy_appended(log);
  if (level == DURALOG_LEVEL_WRITTEN) {
    trigger_sync(log, a);
    return DURALOG_OK;
  }
  if (log->policy_idle) return DURALOG_OK;
  for (;;) {
    struct policy_state s;
    policy_state_of(log, &s);
    s.end = a->end;
    s.end_bytes = a->end_bytes;
    s.now_ns = log->io->now_coarse(log->io);
    struct policy_floor floor = policy_floor(&log->policy, &s);
    if (s.durable >= floor.offset && s.durable_bytes >= floor.bytes)
      return DURALOG_OK;
    duralog_error error = sync_await(log, floor.offset, floor.bytes);
    if (error) return error;
  }
}

static inline duralog_error append_one(duralog *log, const void *data,
                                       size_t size, uint64_t *offset) {
  if (UNLIKELY(!data && size)) return DURALOG_E_ARGUMENT;
  if (UNLIKELY(size > log->record_bytes_max)) return DURALOG_E_TOO_BIG;
  const duralog_entry entry = {.data = data, .size = size};
  static const uint8_t nothing[1];
  const uint32_t check = frame_body_check(NULL, 0, size ? data : nothing, size);
  const struct request r = {.entries = &entry,
                            .count = 1,
                            .checks = &check,
                            .bytes = frame_bytes(size + FRAME_TIME_BYTES),
                            .payload_bytes = size};
  struct appended a;
  duralog_error error = append_request(log, &r, &a);
  if (UNLIKELY(error != 0)) return error;
  error = append_wait(log, DURALOG_LEVEL_DEFAULT, &a);
  if (UNLIKELY(error != 0)) return error;
  if (offset) *offset = a.first;
  return DURALOG_OK;
}

duralog_error duralog_append(duralog *log, const void *data, size_t size,
                             uint64_t *offset) {
  duralog_error error = log_check(log);
  if (UNLIKELY(error != 0)) return error;
  return log_answer(log, append_one(log, data, size, offset));
}

static duralog_error entry_valid(const struct duralog *log,
                                 const duralog_entry *e) {
  if ((!e->data && e->size) || (!e->key && e->key_size))
    return DURALOG_E_ARGUMENT;
  if (e->size > log->record_bytes_max ||
      e->key_size > log->record_bytes_max - e->size)
    return DURALOG_E_TOO_BIG;
  return DURALOG_OK;
}

/* The largest batch that surely fits into a segment of this log. */
static uint64_t batch_bytes_max(const struct duralog *log) {
  uint64_t roll = FRAME_HEADER_BYTES + (log->pad_syncs ? PAD_BLOCK_BYTES : 0);
  return log->segment_bytes - SEGMENT_HEADER_BYTES - roll -
         (FRAME_HEADER_BYTES + FRAME_EPOCH_BODY_BYTES);
}

/* Check and measure the entries; compute their checksums. */
static duralog_error measure(const struct duralog *log, uint32_t *checks,
                             struct request *r) {
  const duralog_entry *entries = r->entries;
  for (size_t i = 0; i < r->count; i++) {
    struct shape shape;
    duralog_error error = entry_valid(log, &entries[i]);
    if (error) return error;
    shape_of(&shape, &entries[i], false);
    r->bytes += frame_bytes(shape.body_bytes + FRAME_TIME_BYTES);
    r->payload_bytes += entries[i].key_size + entries[i].size;
    if (r->bytes > batch_bytes_max(log)) return DURALOG_E_TOO_BIG;
    checks[i] = entry_check(&shape, &entries[i]);
  }
  return DURALOG_OK;
}

static duralog_error append_batch(duralog *log, const duralog_entry *entries,
                                  size_t count, duralog_level level,
                                  uint64_t *first_offset) {
  enum { ON_STACK = 256 };
  uint32_t on_stack[ON_STACK], *checks = on_stack;
  if (!entries || count == 0 || level < DURALOG_LEVEL_DEFAULT ||
      level > DURALOG_LEVEL_DURABLE)
    return DURALOG_E_ARGUMENT;
  if (count > log->segment_bytes / FRAME_HEADER_BYTES) return DURALOG_E_TOO_BIG;
  if (count > ON_STACK)
    checks = log->io->alloc(log->io, count * sizeof *checks);
  if (!checks)
    return log_fail(log, DURALOG_E_RESOURCES, 0, NONE, NULL,
                    "no memory for a batch");
  struct request r = {
      .entries = entries, .count = count, .checks = checks, .level = level};
  struct appended a;
  duralog_error error = measure(log, checks, &r);
  if (!error) error = append_request(log, &r, &a);
  if (checks != on_stack) log->io->free(log->io, checks);
  if (!error) error = append_wait(log, level, &a);
  if (!error && first_offset) *first_offset = a.first;
  return error;
}

duralog_error duralog_append_batch(duralog *log, const duralog_entry *entries,
                                   size_t count, duralog_level level,
                                   uint64_t *first_offset) {
  duralog_error error = log_check(log);
  if (error) return error;
  return log_answer(log,
                    append_batch(log, entries, count, level, first_offset));
}
