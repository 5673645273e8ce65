/* SPDX-License-Identifier: MIT
 *
 * The few things every layer uses: fixed-size words, little-endian access,
 * alignment and hints. No state, no system calls.
 */
#ifndef DURALOG_BASE_H
#define DURALOG_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* An invariant of our own, never of data from the disk: checked in the tests'
 * build; a release never stops its host. */
#ifdef DURALOG_INSTRUMENTED
#include <assert.h>
#define INVARIANT(x) assert(x)
#else
#define INVARIANT(x) ((void)0)
#endif

/*
 * A statistic. It decides nothing, so it needs no order, and simulated threads
 * are not switched at it.
 */
struct counter {
  _Atomic uint64_t value;
};

static inline uint64_t counter_get(const struct counter *c) {
  return atomic_load_explicit(&c->value, memory_order_relaxed);
}
static inline void counter_add(struct counter *c, uint64_t more) {
  atomic_fetch_add_explicit(&c->value, more, memory_order_relaxed);
}
/* For those who are the only one to change it now. */
static inline void counter_set(struct counter *c, uint64_t value) {
  atomic_store_explicit(&c->value, value, memory_order_relaxed);
}
static inline void counter_add_alone(struct counter *c, uint64_t more) {
  counter_set(c, counter_get(c) + more);
}

/*
 * In the tests' build each atomic access is also a place where simulated
 * threads may be switched (io_threads.c): it calls the hook first, if there is
 * one. Only the operations that the library uses; `word` is evaluated twice.
 */
#ifdef DURALOG_INSTRUMENTED
extern void (*atomic_hook)(const volatile void *word, bool writes);
#ifdef __clang__
#define ATOMIC_(name) __c11_atomic_##name
#define ATOMIC_CAS_(word, old, new, yes, no) \
  __c11_atomic_compare_exchange_strong(word, old, new, yes, no)
#else
#define ATOMIC_(name) __atomic_##name##_n
#define ATOMIC_CAS_(word, old, new, yes, no) \
  __atomic_compare_exchange_n(word, old, new, 0, yes, no)
#define __atomic_fetch_add_n __atomic_fetch_add
#define __atomic_fetch_sub_n __atomic_fetch_sub
#define __atomic_fetch_or_n __atomic_fetch_or
#define __atomic_fetch_and_n __atomic_fetch_and
#endif
#define HOOKED_(word, writes, access) \
  (atomic_hook ? atomic_hook((word), (writes)) : (void)0, access)
#define HOOKED_WRITE_(name, word, value) \
  HOOKED_(word, true, ATOMIC_(name)(word, value, memory_order_seq_cst))
#undef atomic_load_explicit
#undef atomic_load
#undef atomic_store_explicit
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_fetch_and
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_strong
#define atomic_load_explicit(word, order) \
  HOOKED_(word, false, ATOMIC_(load)(word, order))
#define atomic_load(word) atomic_load_explicit(word, memory_order_seq_cst)
#define atomic_store_explicit(word, value, order) \
  HOOKED_(word, true, ATOMIC_(store)(word, value, order))
#define atomic_store(word, value) HOOKED_WRITE_(store, word, value)
#define atomic_exchange(word, value) HOOKED_WRITE_(exchange, word, value)
#define atomic_fetch_add(word, value) HOOKED_WRITE_(fetch_add, word, value)
#define atomic_fetch_sub(word, value) HOOKED_WRITE_(fetch_sub, word, value)
#define atomic_fetch_or(word, value) HOOKED_WRITE_(fetch_or, word, value)
#define atomic_fetch_and(word, value) HOOKED_WRITE_(fetch_and, word, value)
#define atomic_compare_exchange_strong_explicit(word, old, new, yes, no) \
  HOOKED_(word, true, ATOMIC_CAS_(word, old, new, yes, no))
#define atomic_compare_exchange_strong(word, old, new) \
  atomic_compare_exchange_strong_explicit(             \
      word, old, new, memory_order_seq_cst, memory_order_seq_cst)
#endif

/* For what an append consists of, although something else uses it, too. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define CACHE_LINE 64
#define NONE UINT64_MAX
#define NS_PER_MS UINT64_C(1000000)

static inline uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Everything on disk is little-endian; on such a machine these are moves. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE16(x) (x)
#define LE32(x) (x)
#define LE64(x) (x)
#else
#define LE16(x) __builtin_bswap16(x)
#define LE32(x) __builtin_bswap32(x)
#define LE64(x) __builtin_bswap64(x)
#endif

static inline uint16_t load16(const void *p) {
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return LE16(v);
}
static inline uint32_t load32(const void *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return LE32(v);
}
static inline uint64_t load64(const void *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return LE64(v);
}
static inline void store16(void *p, uint16_t v) {
  v = LE16(v);
  memcpy(p, &v, sizeof v);
}
static inline void store32(void *p, uint32_t v) {
  v = LE32(v);
  memcpy(p, &v, sizeof v);
}
static inline void store64(void *p, uint64_t v) {
  v = LE64(v);
  memcpy(p, &v, sizeof v);
}

/* In a loop that waits for another processor. */
static inline void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
