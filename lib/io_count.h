/* SPDX-License-Identifier: MIT
 *
 * A log's own view of the I/O interface, which counts: syncs and their times,
 * hints that were refused, transfers that were gone on with. Whatever calls are
 * not counted go through as they are.
 */
#ifndef DURALOG_IO_COUNT_H
#define DURALOG_IO_COUNT_H

#include "io.h"

/* Of one kind, changed by one thread at a time: who leads syncs (data, mark,
 * seal), who prepares (segment), who opens. But for those of groups, whose
 * largest time may miss one of two that ended at once. */
struct sync_counts {
  struct counter count, total_ns, max_ns;
  struct counter histogram[DURALOG_STATS_BUCKETS];
};

struct io_counts {
  struct sync_counts syncs[DURALOG_SYNC_KIND_COUNT];
  struct counter retries, hints_refused;
};

struct io_count {
  struct duralog_environment environment; /* first: found from it */
  io_env *inner;
  struct io_counts counts;
};

/* `count` is zeroed, and must outlive its use. */
io_env *io_count_around(struct io_count *count, io_env *inner);

enum duralog_sync_kind io_sync_kind(enum io_sync_reason);
/* Which bucket of the histogram a time belongs to. */
unsigned io_sync_bucket(uint64_t ns);

#endif
