/* SPDX-License-Identifier: MIT
 *
 * Times in nanoseconds, counted in buckets: for as many samples as one likes.
 *
 * Log-linear: each power of two is cut into 64, so that what is read back is
 * at most 1.6 % too high. The largest is kept exactly.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 6
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/* All zero: empty. */
typedef struct histogram {
  uint64_t count, most;
  uint64_t bucket[HISTOGRAM_BUCKETS];
} histogram;

static inline unsigned histogram_bucket(uint64_t ns) {
  if (ns >> HISTOGRAM_BITS == 0) return (unsigned)ns;
  unsigned power = 63u - (unsigned)__builtin_clzll(ns);
  unsigned shift = power - HISTOGRAM_BITS;
  return ((shift + 1) << HISTOGRAM_BITS) +
         (unsigned)((ns >> shift) - (1u << HISTOGRAM_BITS));
}

static inline void histogram_add(histogram *all, uint64_t ns) {
  all->count++;
  all->bucket[histogram_bucket(ns)]++;
  if (ns > all->most) all->most = ns;
}

void histogram_merge(histogram *into, const histogram *from);

/* The time that `percent` of the samples do not exceed; 0 without samples. */
double histogram_percentile(const histogram *all, double percent);

#endif
