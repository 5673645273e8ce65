/* SPDX-License-Identifier: MIT
 *
 * Reading a log of 1 GiB, closed and opened again to be read only.
 *
 * Random: duralog_read_at at random offsets, everything in memory.
 * Verification: every record read, which checks every checksum, by one thread
 * as the tool does it, and by two with a reader each for a half; beside it the
 * bare walk over the same files by as many threads. Cold: the log opened anew
 * and read by one thread after some of its files have been thrown out of
 * memory, and the bare walk over the same files after the same.
 */
#include <stdio.h>

#include "bare_walk.h"
#include "experiments.h"
#include "harness.h"
#include "histogram.h"
#include "prepared.h"
#include "process.h"
#include "scratch.h"
#include "team.h"

#define RECORD_BYTES 100u
#define LOG_BYTES ((uint64_t)1 << 30)
#define SEGMENTS (LOG_BYTES / SEGMENT_BYTES)
#define COLD_SEGMENTS 2u
#define READS 200000u /* at random, in a round */
#define MANY 64u

typedef struct large {
  char dir[PATH_BYTES];
  duralog *log;
  uint64_t records;
  unsigned threads;
  uint64_t seen[TEAM_MAX]; /* so that nothing is optimised away */
} large;

static bool fill(large *it) {
  duralog_durability pagecache = {.pagecache = true};
  workload work = workload_make(
      RECORD_BYTES, LOG_BYTES / frame_bytes(RECORD_BYTES) * 99 / 100, 0);
  if (!log_open_with(it->dir, pagecache, SEGMENT_BYTES, &it->log)) return false;
  for (uint64_t i = 0; i < work.count; i++)
    if (!went_well("append", duralog_append(it->log, workload_record(&work, i),
                                            work.size, NULL)))
      return false;
  it->records = work.count + 1;
  return went_well("close", duralog_close(&it->log));
}

static bool open_again(large *it) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  return went_well("open",
                   duralog_open(it->dir, &options, &it->log, NULL, NULL));
}

/* -------------------------------------------------------------- random -- */

static bool read_random(large *it, histogram *times, uint64_t *seed) {
  duralog_reader *reader;
  duralog_record record;
  uint64_t x = *seed;
  if (!went_well("reader",
                 duralog_reader_open(it->log, DURALOG_LEVEL_DEFAULT, &reader)))
    return false;
  bool good = true;
  for (uint32_t i = 0; good && i < READS; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    uint64_t start = now_ns();
    good =
        went_well("read_at", duralog_read_at(reader, x % it->records, &record));
    histogram_add(times, now_ns() - start);
  }
  *seed = x;
  return went_well("close", duralog_reader_close(&reader)) && good;
}

/* -------------------------------------------------------- verification -- */

/* Records from `from` on, below `to`, or as many of them as there are. */
static bool verify_range(large *it, uint64_t from, uint64_t to, unsigned k) {
  duralog_reader *reader;
  duralog_record records[MANY];
  duralog_error error = DURALOG_OK;
  if (!went_well("reader", duralog_reader_open(it->log, DURALOG_LEVEL_DEFAULT,
                                               &reader)) ||
      !went_well("seek", duralog_seek(reader, DURALOG_SEEK_OFFSET, from)))
    return false;
  for (uint64_t at = from; at < to && !error;) {
    size_t got = 0;
    size_t max = to - at < MANY ? (size_t)(to - at) : MANY;
    error = duralog_read_many(reader, records, max, 0, &got);
    it->seen[k] += got;
    at += got;
  }
  return went_well("close", duralog_reader_close(&reader)) &&
         went_well("read", error);
}

static bool verify_part(void *argument, unsigned k) {
  large *it = argument;
  uint64_t part = it->records / it->threads;
  uint64_t to = k + 1 == it->threads ? it->records : (k + 1) * part;
  return verify_range(it, k * part, to, k);
}

static bool walk_part(void *argument, unsigned k) {
  large *it = argument;
  uint64_t part = SEGMENTS / it->threads, bytes = 0;
  for (uint64_t number = k * part + 1; number <= (k + 1) * part; number++)
    if (!bare_walk(it->dir, number, &bytes, &it->seen[k])) return false;
  return true;
}

static bool cold_log(void *argument, unsigned k) {
  large *it = argument;
  uint64_t each = SEGMENT_BYTES / frame_bytes(RECORD_BYTES) - 64;
  return verify_range(it, 0, COLD_SEGMENTS * each, k);
}

static bool cold_walk(void *argument, unsigned k) {
  large *it = argument;
  uint64_t bytes = 0;
  for (uint64_t number = 1; number <= COLD_SEGMENTS; number++)
    if (!bare_walk(it->dir, number, &bytes, &it->seen[k])) return false;
  return true;
}

/* Closed, thrown out of memory, and opened again where it is read. */
static bool cold(large *it, bool by_log, uint64_t *ns) {
  if (!went_well("close", duralog_close(&it->log))) return false;
  for (uint64_t number = 1; number <= COLD_SEGMENTS; number++)
    if (!bare_evict(it->dir, number)) return false;
  it->threads = 1;
  if (by_log && !open_again(it)) return false;
  bool good = team_run(1, by_log ? cold_log : cold_walk, it, ns);
  return good && (by_log || open_again(it));
}

/* -------------------------------------------------------------- rounds -- */

typedef struct large_series {
  series p50, p99, verify[2], walk[2], cold_log, cold_walk; /* times in ns */
} large_series;

static bool verify_sides(large *it, large_series *all, bool walk_first) {
  for (unsigned t = 0; t < 2; t++) {
    uint64_t ns[2];
    it->threads = t + 1;
    for (unsigned turn = 0; turn < 2; turn++) {
      bool walk = (turn == 0) == walk_first;
      if (!team_run(it->threads, walk ? walk_part : verify_part, it, &ns[walk]))
        return false;
    }
    series_add(&all->verify[t], (double)ns[0]);
    series_add(&all->walk[t], (double)ns[1]);
  }
  return true;
}

static bool large_round(large *it, large_series *all, size_t round,
                        uint64_t *seed) {
  static histogram times;
  uint64_t ns[2];
  bool first = round % 2;
  times = (histogram){0};
  if (!read_random(it, &times, seed) || !verify_sides(it, all, first) ||
      !cold(it, first, &ns[first]) || !cold(it, !first, &ns[!first]))
    return false;
  series_add(&all->p50, histogram_percentile(&times, 50));
  series_add(&all->p99, histogram_percentile(&times, 99));
  series_add(&all->cold_log, (double)ns[1]);
  series_add(&all->cold_walk, (double)ns[0]);
  return true;
}

static void large_report(const large_series *all) {
  series one = series_ratio(&all->walk[0], &all->verify[0]);
  series two = series_ratio(&all->walk[1], &all->verify[1]);
  series cold = series_ratio(&all->cold_walk, &all->cold_log);
  table_series("verify, 1 thread", UNIT_NS, &all->verify[0]);
  table_series("bare walk, 1 thread", UNIT_NS, &all->walk[0]);
  table_series("verify, 2 threads", UNIT_NS, &all->verify[1]);
  table_series("bare walk, 2 threads", UNIT_NS, &all->walk[1]);
  table_series("128 MiB cold", UNIT_NS, &all->cold_log);
  table_series("128 MiB cold, bare walk", UNIT_NS, &all->cold_walk);
  table_figure("6: random read by offset, p50", "read_random_p50_ns", UNIT_NS,
               &all->p50, (goal){GOAL_AT_MOST, 2000});
  table_figure("random read by offset, p99", "read_random_p99_ns", UNIT_NS,
               &all->p99, no_goal);
  table_figure("7: verify 1 GiB vs bare walk, 1 thread", "verify_1GiB_vs_raw",
               UNIT_PLAIN, &one, (goal){GOAL_AT_LEAST, 0.9});
  table_figure("7: verify 1 GiB vs bare walk, 2 threads",
               "verify_1GiB_2threads_vs_raw", UNIT_PLAIN, &two,
               (goal){GOAL_AT_LEAST, 0.9});
  table_figure("6: read cold vs bare walk", "read_cold_100B_vs_raw", UNIT_PLAIN,
               &cold, (goal){GOAL_AT_LEAST, 0.9});
}

bool experiment_large(const settings *with) {
  static large it;
  static large_series all;
  uint64_t seed = 88172645463325252u, warm;
  table_section("Reading a log of 1 GiB, 100 B", "opened to be read only");
  if (!scratch_sub(it.dir, with->scratch, "large")) return false;
  bool good = fill(&it) && open_again(&it);
  it.threads = 1;
  good = good && team_run(1, verify_part, &it, &warm);
  for (size_t r = 0; good && r < with->rounds; r++)
    good = large_round(&it, &all, r, &seed);
  if (good) large_report(&all);
  if (it.log) good = went_well("close", duralog_close(&it.log)) && good;
  scratch_drop(it.dir);
  return good;
}
