/* SPDX-License-Identifier: MIT
 *
 * A fixed rate without sleeping: the processor is kept, so that what is timed
 * is the append and not the scheduler's waking.
 */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include "harness.h"

/* Look at the clock until it is time; gives what it then says. */
static inline uint64_t pace_until(uint64_t ns) {
  uint64_t now;
  do now = now_ns();
  while (now < ns);
  return now;
}

#endif
