/* SPDX-License-Identifier: MIT
 *
 * The bare walk over a log's own segment file: map it, both checksums of each
 * frame, on to the next, until a header is zero or the file ends.
 *
 * Over the very files that the library reads, since what their pages are like
 * in the cache (small or large folios) decides how fast any walk is.
 */
#ifndef BENCH_BARE_WALK_H
#define BENCH_BARE_WALK_H

#include <stdbool.h>
#include <stdint.h>

/* Segment `number` of the log in `dir`. Adds to *bytes what was walked, and to
 * *sums the checksums, so that nothing is optimised away. */
bool bare_walk(const char *dir, uint64_t number, uint64_t *bytes,
               uint64_t *sums);

/* Throw the clean pages of the file out of memory. */
bool bare_evict(const char *dir, uint64_t number);

#endif
