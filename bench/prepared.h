/* SPDX-License-Identifier: MIT
 *
 * A log whose memory is as ready as RAW's.
 */
#ifndef BENCH_PREPARED_H
#define BENCH_PREPARED_H

#include <stdbool.h>
#include <stdint.h>

#include "duralog.h"

/* Open for writing, with a first record. Records of the size of a segment are
 * allowed. Says on stderr what failed, as all of these. */
bool log_open_with(const char *dir, duralog_durability durability,
                   uint64_t segment_bytes, duralog **log);

/*
 * Touch the next `bytes` of the segment that is appended to, so that no append
 * pays for a page that nobody has used yet: a reservation of that size, a byte
 * stored in each page, given up again. Through the public interface alone.
 */
bool log_touch_ahead(duralog *log, uint64_t bytes);

/* Append until the library has wanted a successor for the segment, and wait
 * until that is prepared: nothing of it goes on behind what is timed then. */
bool log_await_successor(duralog *log, uint64_t segment_bytes);

#endif
