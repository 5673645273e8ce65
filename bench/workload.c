/* SPDX-License-Identifier: MIT
 *
 * What is appended: random bytes, the same in every run.
 */
#include <stdio.h>

#include "contender.h"

#define POOL_BYTES 65536u /* read again and again: stays in the L2 cache */

static void fill_random(unsigned char *to, size_t size) {
  uint64_t x = 88172645463325252u;
  for (size_t i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    to[i] = (unsigned char)(x >> 32);
  }
}

workload workload_make(size_t size, uint64_t count, size_t batch) {
  static unsigned char pool[POOL_BYTES];
  if (pool[0] == 0) fill_random(pool, sizeof pool);
  workload work = {.pool = pool,
                   .pool_records = 1,
                   .size = size,
                   .count = count,
                   .batch = batch};
  while (work.pool_records * 2 * size <= sizeof pool) work.pool_records *= 2;
  return work;
}

bool contender_ok(const char *name, const char *what, bool well,
                  const char *why) {
  if (!well) fprintf(stderr, "bench: %s: %s: %s\n", name, what, why);
  return well;
}
