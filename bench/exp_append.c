/* SPDX-License-Identifier: MIT
 *
 * Appends in page-cache mode by one thread.
 */
#include <stdio.h>
#include <string.h>

#include "experiments.h"
#include "harness.h"
#include "scratch.h"

#define BATCH 64u
#define MEMORY_BYTES ((size_t)512 << 20) /* more than is timed */
#define AFTER_WARMING_MS 100u
#define REST_MS 800u /* to seal a segment on a slow disk */

/*
 * Each side of each round is a process of its own, which exits without
 * closing. It fills one segment and begins another, rests so that the
 * background can finish, and then is timed: on within that prepared segment,
 * and on through several more as fast as it goes. The peers, which are many
 * times slower and know no segments, append a number of records instead.
 */
typedef struct append_job {
  const contender *who;
  bool is_peer;
  char dir[PATH_BYTES];
  workload warm, first, rest;
  uint64_t first_ns, all_ns; /* the result */
} append_job;

typedef struct append_side {
  char label[64];
  const contender *who;
  size_t size, batch;
  bool reserve;
  uint64_t count;    /* of a peer; 0: parts of segments */
  series first, all; /* rates */
} append_side;

static bool append_work(void *argument) {
  append_job *job = argument;
  uint64_t count = job->warm.count + job->first.count + job->rest.count;
  void *log = job->who->open(job->dir, MODE_PAGECACHE,
                             count * frame_bytes(job->warm.size));
  if (!log || !job->who->append(log, &job->warm)) return false;
  if (job->is_peer) {
    pause_ms(AFTER_WARMING_MS);
  } else {
    if (job->who->has_background) pause_ms(REST_MS);
    warm_memory(MEMORY_BYTES);
    pause_ms(AFTER_WARMING_MS);
  }
  uint64_t start = now_ns();
  if (!job->who->append(log, &job->first)) return false;
  job->first_ns = now_ns() - start;
  if (!job->who->append(log, &job->rest)) return false;
  job->all_ns = now_ns() - start;
  return true;
}

enum {
  RAW_100,
  LOG_100,
  LOG_BATCH,
  LOG_RESERVED,
  RAW_1K,
  RAW_1K_CRC,
  LOG_1K,
  OURS
};
enum { SINGLY, BY_BATCH, WAYS };
#define OTHERS (1 + PEERS) /* write(2), and the peers */
#define APPEND_SIDES (OURS + OTHERS * WAYS)
#define PEER_RECORDS 40000u /* one by one */
#define PEER_BATCHED 320000u

static const append_side ours[OURS] = {
    [RAW_100] = {.label = "raw, 100 B", .who = &contender_raw, .size = 100},
    [LOG_100] = {.label = "duralog, 100 B, one by one",
                 .who = &contender_duralog,
                 .size = 100},
    [LOG_BATCH] = {.label = "duralog, 100 B, batches of 64",
                   .who = &contender_duralog,
                   .size = 100,
                   .batch = BATCH},
    [LOG_RESERVED] = {.label = "duralog, 100 B, reserved, published",
                      .who = &contender_duralog,
                      .size = 100,
                      .reserve = true},
    [RAW_1K] = {.label = "raw, 1 KiB", .who = &contender_raw, .size = 1024},
    [RAW_1K_CRC] = {.label = "raw, 1 KiB, serial CRC32C",
                    .who = &contender_raw_crc,
                    .size = 1024},
    [LOG_1K] = {.label = "duralog, 1 KiB, one by one",
                .who = &contender_duralog,
                .size = 1024},
};

/* Whole batches that fill about so many hundredths of a segment. */
static workload part(const append_side *side, uint64_t hundredths) {
  uint64_t count = SEGMENT_BYTES / 100 * hundredths / frame_bytes(side->size);
  if (side->count) count = side->count * hundredths / 100;
  workload work = workload_make(side->size, count - count % BATCH, side->batch);
  work.reserve = side->reserve;
  return work;
}

static void append_sides_make(append_side *sides) {
  memcpy(sides, ours, sizeof ours);
  for (size_t i = 0; i < OTHERS * WAYS; i++) {
    append_side *side = &sides[OURS + i];
    size_t batch = i % WAYS == BY_BATCH ? BATCH : 0;
    *side =
        (append_side){.who = i < WAYS ? &contender_write : peers[i / WAYS - 1],
                      .size = 100,
                      .batch = batch,
                      .count = batch ? PEER_BATCHED : PEER_RECORDS};
    snprintf(side->label, sizeof side->label, "%s, 100 B, %s", side->who->name,
             batch ? "batches of 64" : "one by one");
  }
}

static void append_add(append_side *side, const append_job *job) {
  uint64_t all = job->first.count + job->rest.count;
  series_add(&side->first,
             (double)job->first.count * 1e9 / (double)job->first_ns);
  series_add(&side->all, (double)all * 1e9 / (double)job->all_ns);
}

static bool append_once(append_job *job, append_side *side,
                        const settings *with) {
  job->who = side->who;
  job->is_peer = side->count != 0;
  job->warm = part(side, side->count ? 20 : 105);
  job->first = part(side, side->count ? 60 : 80);
  job->rest = part(side, side->count ? 20 : with->quick ? 200 : 500);
  if (!scratch_sub(job->dir, with->scratch, side->who->name)) return false;
  bool good = run_in_child(append_work, job);
  scratch_drop(job->dir);
  if (good) append_add(side, job);
  return good;
}

static void append_figure(const char *label, const char *name,
                          const series *log, const series *raw, goal wanted) {
  series ratio = series_ratio(log, raw);
  table_figure(label, name, UNIT_PLAIN, &ratio, wanted);
}

/* The best of each round, in any way it was used. */
static series best_of(const append_side *s, size_t first, bool checksummed) {
  series best = {0};
  for (size_t i = first; i < APPEND_SIDES; i++)
    if (s[i].all.count && (!checksummed || s[i].who->checksummed))
      series_keep_best(&best, &s[i].all);
  return best;
}

static void report_segments(const append_side *s) {
  append_figure("through several segments: 100 B vs raw",
                "append_100B_sustained_vs_raw", &s[LOG_100].all,
                &s[RAW_100].all, no_goal);
  append_figure("through several segments: by 64 vs raw",
                "append_batch_100B_sustained_vs_raw", &s[LOG_BATCH].all,
                &s[RAW_100].all, no_goal);
  append_figure("through several segments: 1 KiB vs raw",
                "append_1KiB_sustained_vs_raw", &s[LOG_1K].all, &s[RAW_1K].all,
                no_goal);
}

static void report_peers(const append_side *s) {
  const size_t singly = OURS + SINGLY;
  series best = best_of(s, OURS, true);
  if (best.count)
    append_figure("1: 100 B vs the best checksummed peer",
                  "append_100B_vs_best_peer", &s[LOG_100].first, &best,
                  (goal){GOAL_AT_LEAST, 5});
  else
    table_unknown("1: 100 B vs the best checksummed peer",
                  "append_100B_vs_best_peer", (goal){GOAL_AT_LEAST, 5},
                  "no peer is installed: make bench-deps");
  append_figure("1: 100 B vs write(2)", "append_100B_vs_write",
                &s[LOG_100].first, &s[singly].all, (goal){GOAL_AT_LEAST, 25});
}

static void append_report(const append_side *s) {
  char label[80];
  for (size_t i = 0; i < APPEND_SIDES; i++) {
    if (!s[i].all.count) continue;
    table_series(s[i].label, UNIT_RATE, &s[i].all);
    if (s[i].count) continue;
    snprintf(label, sizeof label, "%s, prepared", s[i].label);
    table_series(label, UNIT_RATE, &s[i].first);
  }
  append_figure("1: 100 B vs raw", "append_100B_vs_raw", &s[LOG_100].first,
                &s[RAW_100].first, (goal){GOAL_AT_LEAST, 0.6});
  append_figure("1: 100 B by 64 vs raw", "append_batch_100B_vs_raw",
                &s[LOG_BATCH].first, &s[RAW_100].first,
                (goal){GOAL_AT_LEAST, 0.9});
  append_figure("100 B reserved vs raw", "append_reserved_100B_vs_raw",
                &s[LOG_RESERVED].first, &s[RAW_100].first, no_goal);
  append_figure("1: 1 KiB vs raw with a serial CRC", "append_1KiB_vs_raw",
                &s[LOG_1K].first, &s[RAW_1K_CRC].first,
                (goal){GOAL_AT_LEAST, 0.9});
  append_figure("1 KiB vs raw with XXH3", "append_1KiB_vs_raw_xxh3",
                &s[LOG_1K].first, &s[RAW_1K].first, no_goal);
  report_segments(s);
  report_peers(s);
}

bool experiment_append(const settings *with) {
  static append_side sides[APPEND_SIDES];
  append_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  append_sides_make(sides);
  table_section("Append in page-cache mode, 1 thread",
                "through several segments of 64 MiB; raw's are all prepared "
                "before");
  for (size_t r = 0; r < with->rounds; r++)
    for (size_t turn = 0; turn < APPEND_SIDES; turn++) {
      append_side *side = &sides[(r + turn) % APPEND_SIDES];
      if (side->who->open && !append_once(job, side, with)) return false;
    }
  append_report(sides);
  return true;
}
