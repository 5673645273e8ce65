/* SPDX-License-Identifier: MIT
 *
 * What every contender offers, one file each: raw.c and raw_group.c, duralog.c,
 * write2.c, and a peer in each peer_*.c.
 *
 * Work that takes nanoseconds a record is handed over as a whole, so that the
 * loop lies inside the contender and nothing is called through a pointer per
 * record. Durable appends take a disk's time, so there one call is one append.
 */
#ifndef BENCH_CONTENDER_H
#define BENCH_CONTENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_BYTES ((uint64_t)64 << 20) /* duralog's default, and RAW's */
#define FRAME_HEADER_BYTES 24u
#define EVERY 1000u /* records to a sync, in MODE_EVERY */

typedef enum contender_mode {
  MODE_PAGECACHE, /* survives the process */
  MODE_DURABLE,   /* each append survives power loss */
  MODE_EVERY      /* the last EVERY appends may be lost with the power */
} contender_mode;

/* Append `count` records of `size` bytes, taken in turn from the pool. */
typedef struct workload {
  const unsigned char *pool;
  uint64_t pool_records; /* a power of two */
  size_t size;
  uint64_t count;
  size_t batch; /* records per call; 0 = one call per record */
  bool reserve; /* written in place, where the contender can do that */
} workload;

workload workload_make(size_t size, uint64_t count, size_t batch);

/* What a reopening after a kill found, and how long it took. */
typedef struct recovery {
  uint64_t records;
  uint64_t bytes;
  uint64_t walk_ns;  /* reading and verifying */
  uint64_t total_ns; /* until the log could be used */
} recovery;

typedef struct contender {
  const char *name;
  const char *note;    /* what it does or does not do */
  bool has_background; /* needs a rest before it is timed */
  bool checksummed;    /* what it writes can be verified */
  /* NULL where it is not installed; `note` says which package that needs.
   * Create a log in the empty directory `dir`, ready for `bytes` of frames.
   * NULL on failure. Never timed. */
  void *(*open)(const char *dir, contender_mode mode, uint64_t bytes);
  bool (*append)(void *log, const workload *work);
  bool (*append_one)(void *log, const void *data, size_t size);
  /* Finish what would go on in the background. Never timed. */
  bool (*settle)(void *log);
  /* Read everything from the start, verified; `many` > 1: that many a call.
   * Gives the number of records, 0 on failure. */
  uint64_t (*read)(void *log, size_t many);
  /* Open what a killed process left in `dir`. Leaves it open. */
  bool (*recover)(const char *dir, recovery *out);
  void (*close)(void *log);
} contender;

extern const contender contender_raw;       /* one thread */
extern const contender contender_raw_crc;   /* one thread, page cache */
extern const contender contender_raw_group; /* durable, any threads */
extern const contender contender_duralog;
extern const contender contender_write;

#define PEERS 5
extern const contender *const peers[PEERS];

/* Says on stderr what failed; false unless it went well. */
bool contender_ok(const char *name, const char *what, bool well,
                  const char *why);

static inline const unsigned char *workload_record(const workload *work,
                                                   uint64_t index) {
  return work->pool + (index & (work->pool_records - 1)) * work->size;
}

static inline uint64_t frame_bytes(uint64_t size) {
  return FRAME_HEADER_BYTES + ((size + 7) & ~(uint64_t)7);
}

#endif
