/* SPDX-License-Identifier: MIT
 *
 * Times counted in buckets.
 */
#include "histogram.h"

void histogram_merge(histogram *into, const histogram *from) {
  into->count += from->count;
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
    into->bucket[i] += from->bucket[i];
  if (from->most > into->most) into->most = from->most;
}

/* The largest time that falls into the bucket. */
static uint64_t bucket_most(unsigned bucket) {
  unsigned shift = bucket >> HISTOGRAM_BITS;
  uint64_t part = bucket & ((1u << HISTOGRAM_BITS) - 1);
  if (shift == 0) return part;
  shift--;
  return ((part + (1u << HISTOGRAM_BITS) + 1) << shift) - 1;
}

double histogram_percentile(const histogram *all, double percent) {
  if (all->count == 0) return 0;
  uint64_t want = (uint64_t)(percent / 100 * (double)all->count), seen = 0;
  if (want >= all->count) want = all->count - 1;
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += all->bucket[i];
    if (seen <= want) continue;
    uint64_t most = bucket_most(i);
    return (double)(most < all->most ? most : all->most);
  }
  return (double)all->most;
}
