/* SPDX-License-Identifier: MIT
 *
 * RAW-n: what RAW does, by several threads under one lock.
 */
#include "raw_locked.h"

#include <sched.h>
#include <string.h>

#include "raw_frame.h"

#define BATCH_MAX 64u
#define SPINS 100u /* before the processor is given to others */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

static inline void relax(unsigned *spins) {
  if (++*spins % SPINS == 0)
    sched_yield();
  else
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* -------------------------------------------------------------- locks -- */

static inline void spin_take(raw_locked *it) {
  unsigned spins = 0;
  while (atomic_exchange_explicit(&it->spin, 1, memory_order_acquire))
    while (atomic_load_explicit(&it->spin, memory_order_relaxed)) relax(&spins);
}

static inline void ticket_take(raw_locked *it) {
  unsigned spins = 0;
  uint32_t mine =
      atomic_fetch_add_explicit(&it->tickets, 1, memory_order_relaxed);
  while (atomic_load_explicit(&it->serving, memory_order_acquire) != mine)
    relax(&spins);
}

static inline void ticket_give(raw_locked *it) {
  uint32_t now = atomic_load_explicit(&it->serving, memory_order_relaxed);
  atomic_store_explicit(&it->serving, now + 1, memory_order_release);
}

ALWAYS_INLINE void take(raw_locked *it, raw_lock lock) {
  switch (lock) {
    case RAW_SPIN: spin_take(it); break;
    case RAW_TICKET: ticket_take(it); break;
    case RAW_MUTEX: pthread_mutex_lock(&it->mutex); break;
    default: pthread_mutex_lock(&it->adaptive);
  }
}

ALWAYS_INLINE void give(raw_locked *it, raw_lock lock) {
  switch (lock) {
    case RAW_SPIN:
      atomic_store_explicit(&it->spin, 0, memory_order_release);
      break;
    case RAW_TICKET: ticket_give(it); break;
    case RAW_MUTEX: pthread_mutex_unlock(&it->mutex); break;
    default: pthread_mutex_unlock(&it->adaptive);
  }
}

/* ---------------------------------------------------------- appending -- */

/* All before it is published: so readers see a prefix. */
static inline void await_turn(raw_locked *it, uint64_t at) {
  unsigned spins = 0;
  while (atomic_load_explicit(&it->published, memory_order_acquire) != at)
    relax(&spins);
}

/* `count` records from number i on. Inlined once for each lock and scheme, so
 * that nothing is decided per record. */
ALWAYS_INLINE bool append_some(raw_locked *it, const workload *work, uint64_t i,
                               size_t count, raw_lock lock, raw_scheme scheme) {
  uint32_t sums[BATCH_MAX];
  const uint64_t step = frame_bytes(work->size);
  if (scheme == RAW_SUM_OUTSIDE)
    for (size_t k = 0; k < count; k++)
      sums[k] = raw_payload_sum(workload_record(work, i + k), work->size);
  take(it, lock);
  uint64_t at = it->at, end = at + count * step;
  uint32_t index = it->index;
  if (end > it->bytes) {
    give(it, lock);
    return false;
  }
  it->at = end;
  it->index = index + (uint32_t)count;
  if (scheme == RAW_RESERVE) give(it, lock);
  for (size_t k = 0; k < count; k++) {
    const unsigned char *data = workload_record(work, i + k);
    uint32_t sum =
        scheme == RAW_SUM_OUTSIDE ? sums[k] : raw_payload_sum(data, work->size);
    raw_put_summed(it->map + at + k * step, at + k * step, index + (uint32_t)k,
                   data, work->size, sum);
  }
  if (scheme == RAW_RESERVE) await_turn(it, at);
  atomic_store_explicit(&it->published, end, memory_order_release);
  if (scheme != RAW_RESERVE) give(it, lock);
  return true;
}

ALWAYS_INLINE bool append_all(raw_locked *it, const workload *work,
                              raw_lock lock, raw_scheme scheme) {
  const workload w = *work; /* a copy: the stores might alias */
  if (w.batch <= 1) {
    for (uint64_t i = 0; i < w.count; i++)
      if (!append_some(it, &w, i, 1, lock, scheme)) return false;
    return true;
  }
  for (uint64_t i = 0; i < w.count; i += w.batch)
    if (!append_some(it, &w, i, w.batch < BATCH_MAX ? w.batch : BATCH_MAX, lock,
                     scheme))
      return false;
  return true;
}

ALWAYS_INLINE bool with_lock(raw_locked *it, const workload *w, raw_lock lock) {
  switch (it->scheme) {
    case RAW_ALL_INSIDE: return append_all(it, w, lock, RAW_ALL_INSIDE);
    case RAW_SUM_OUTSIDE: return append_all(it, w, lock, RAW_SUM_OUTSIDE);
    default: return append_all(it, w, lock, RAW_RESERVE);
  }
}

bool raw_locked_append(raw_locked *it, const workload *work) {
  switch (it->lock) {
    case RAW_SPIN: return with_lock(it, work, RAW_SPIN);
    case RAW_TICKET: return with_lock(it, work, RAW_TICKET);
    case RAW_MUTEX: return with_lock(it, work, RAW_MUTEX);
    default: return with_lock(it, work, RAW_ADAPTIVE);
  }
}

/* ------------------------------------------------------------- making -- */

void raw_locked_init(raw_locked *it, unsigned char *map, size_t bytes) {
  pthread_mutexattr_t adaptive;
  memset(it, 0, sizeof *it);
  it->map = map;
  it->bytes = bytes;
  pthread_mutex_init(&it->mutex, NULL);
  pthread_mutexattr_init(&adaptive);
  pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
  pthread_mutex_init(&it->adaptive, &adaptive);
  pthread_mutexattr_destroy(&adaptive);
}

const char *raw_lock_name(raw_lock lock) {
  static const char *const names[RAW_LOCKS] = {"spin", "ticket", "mutex",
                                               "adaptive mutex"};
  return names[lock];
}

const char *raw_scheme_name(raw_scheme scheme) {
  static const char *const names[RAW_SCHEMES] = {
      "all inside", "checksum outside", "place inside, filled outside"};
  return names[scheme];
}
