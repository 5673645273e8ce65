/* SPDX-License-Identifier: MIT
 *
 * A sync every 10 ms against none, at the same steady rate: 1 M records of 100
 * bytes a second, which is half of what the disk can take. Each side of each
 * round is a process of its own; the rate is what it got to, since an append
 * that waits for a sync is behind its schedule and then goes on without a
 * pause.
 */
#include <string.h>

#include "experiments.h"
#include "harness.h"
#include "pace.h"
#include "prepared.h"
#include "process.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define NS_PER_RECORD 1000u
#define SLICE_RECORDS 400000u
#define SYNC_MS 10u
#define REST_MS 200u

enum { NONE_SYNCED, EVERY_10_MS, SIDES };

typedef struct interval_job {
  char dir[PATH_BYTES];
  int side;
  double rate;
} interval_job;

static bool interval_work(void *argument) {
  interval_job *job = argument;
  duralog *log;
  bool syncs = job->side == EVERY_10_MS;
  duralog_durability how = {.pagecache = !syncs,
                            .sync_interval_ms = syncs ? SYNC_MS : 0};
  workload work = workload_make(RECORD_BYTES, SLICE_RECORDS, 0);
  if (!log_open_with(job->dir, how, SEGMENT_BYTES, &log)) return false;
  pause_ms(REST_MS);
  uint64_t begin = now_ns();
  for (uint64_t i = 0; i < work.count; i++) {
    pace_until(begin + i * NS_PER_RECORD);
    if (!went_well("append", duralog_append(log, workload_record(&work, i),
                                            work.size, NULL)))
      return false;
  }
  job->rate = (double)work.count * 1e9 / (double)(now_ns() - begin);
  return true;
}

static bool interval_once(interval_job *job, series *rate,
                          const settings *with) {
  if (!scratch_sub(job->dir, with->scratch, "interval")) return false;
  bool good = run_in_child(interval_work, job);
  scratch_drop(job->dir);
  if (good) series_add(&rate[job->side], job->rate);
  return good;
}

bool experiment_interval(const settings *with) {
  series rate[SIDES] = {0};
  interval_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  table_section("A sync every 10 ms, 1 M/s asked for, 100 B, 1 thread", NULL);
  for (size_t r = 0; r < with->rounds; r++)
    for (size_t turn = 0; turn < SIDES; turn++) {
      job->side = (int)((r + turn) % SIDES);
      if (!interval_once(job, rate, with)) return false;
    }
  series ratio = series_ratio(&rate[EVERY_10_MS], &rate[NONE_SYNCED]);
  table_series("page cache alone", UNIT_RATE, &rate[NONE_SYNCED]);
  table_series("a sync every 10 ms", UNIT_RATE, &rate[EVERY_10_MS]);
  table_figure("5: every 10 ms vs the page cache", "interval_10ms_vs_pagecache",
               UNIT_PLAIN, &ratio, (goal){GOAL_AT_LEAST, 0.8});
  return true;
}
