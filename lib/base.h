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

#endif
