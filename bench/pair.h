/* SPDX-License-Identifier: MIT
 *
 * Both contenders, open at once in durable mode. A disk drifts, so they take
 * turns in short slices.
 */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include "contender.h"
#include "harness.h"
#include "scratch.h"

#define DURABLE_SIZE 100u /* of a record */

typedef struct pair {
  const contender *who[2]; /* 0 duralog, 1 raw */
  void *log[2];
  char dir[2][PATH_BYTES];
} pair;

bool pair_open(pair *both, const char *scratch);
/* Also after a failed pair_open. */
void pair_close(pair *both);

/* Append `work->count` records one by one to log `k`. Adds the time of all to
 * *total_ns, and that of each to `each` unless it is NULL. */
bool pair_append(pair *both, int k, const workload *work, latencies *each,
                 uint64_t *total_ns);

/* Move on by some MiB, not timed: what a sync writes may depend on how far the
 * log has come. */
bool pair_advance(pair *both);

#endif
