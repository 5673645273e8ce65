/* SPDX-License-Identifier: MIT
 *
 * Appends in page-cache mode by one thread.
 */
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
 * and on through several more as fast as it goes.
 */
typedef struct append_job {
  const contender *who;
  char dir[PATH_BYTES];
  workload warm, first, rest;
  uint64_t first_ns, all_ns; /* the result */
} append_job;

typedef struct append_side {
  const char *label;
  const contender *who;
  size_t size, batch;
  bool reserve;
  series first, all; /* rates */
} append_side;

static bool append_work(void *argument) {
  append_job *job = argument;
  uint64_t count = job->warm.count + job->first.count + job->rest.count;
  void *log = job->who->open(job->dir, MODE_PAGECACHE,
                             count * frame_bytes(job->warm.size));
  if (!log || !job->who->append(log, &job->warm)) return false;
  if (job->who->has_background) pause_ms(REST_MS);
  warm_memory(MEMORY_BYTES);
  pause_ms(AFTER_WARMING_MS);
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
  LOG_1K,
  APPEND_SIDES
};

static const append_side append_sides[APPEND_SIDES] = {
    [RAW_100] = {.label = "raw, 100 B", .size = 100},
    [LOG_100] = {.label = "duralog, 100 B, one by one", .size = 100},
    [LOG_BATCH] = {.label = "duralog, 100 B, batches of 64",
                   .size = 100,
                   .batch = BATCH},
    [LOG_RESERVED] = {.label = "duralog, 100 B, reserved, published",
                      .size = 100,
                      .reserve = true},
    [RAW_1K] = {.label = "raw, 1 KiB", .size = 1024},
    [LOG_1K] = {.label = "duralog, 1 KiB, one by one", .size = 1024},
};

/* Whole batches that fill about so many hundredths of a segment. */
static workload part(const append_side *side, uint64_t hundredths) {
  uint64_t count = SEGMENT_BYTES / 100 * hundredths / frame_bytes(side->size);
  workload work = workload_make(side->size, count - count % BATCH, side->batch);
  work.reserve = side->reserve;
  return work;
}

static void append_sides_make(append_side *sides) {
  memcpy(sides, append_sides, sizeof append_sides);
  for (size_t i = 0; i < APPEND_SIDES; i++) {
    bool is_raw = i == RAW_100 || i == RAW_1K;
    sides[i].who = is_raw ? &contender_raw : &contender_duralog;
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
  job->warm = part(side, 105);
  job->first = part(side, 80);
  job->rest = part(side, with->quick ? 200 : 500);
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

static void append_report(const append_side *s) {
  const goal half = {GOAL_AT_LEAST, 0.5};
  for (size_t i = 0; i < APPEND_SIDES; i++) {
    table_series(s[i].label, UNIT_RATE, &s[i].all);
    table_series("  of it in a prepared segment", UNIT_RATE, &s[i].first);
  }
  append_figure("100 B vs raw", "append_100B_vs_raw", &s[LOG_100].first,
                &s[RAW_100].first, half);
  append_figure("100 B by 64 vs raw", "append_batch_100B_vs_raw",
                &s[LOG_BATCH].first, &s[RAW_100].first, no_goal);
  append_figure("100 B reserved vs raw", "append_reserved_100B_vs_raw",
                &s[LOG_RESERVED].first, &s[RAW_100].first, no_goal);
  append_figure("1 KiB vs raw", "append_1KiB_vs_raw", &s[LOG_1K].first,
                &s[RAW_1K].first, no_goal);
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

bool experiment_append(const settings *with) {
  append_side sides[APPEND_SIDES];
  append_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  append_sides_make(sides);
  table_section("Append in page-cache mode, 1 thread",
                "through several segments of 64 MiB; raw's are all prepared "
                "before");
  for (size_t r = 0; r < with->rounds; r++)
    for (size_t turn = 0; turn < APPEND_SIDES; turn++)
      if (!append_once(job, &sides[(r + turn) % APPEND_SIDES], with))
        return false;
  append_report(sides);
  return true;
}
