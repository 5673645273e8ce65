/* SPDX-License-Identifier: MIT
 *
 * Reopening after a kill.
 */
#include <stdio.h>

#include "bare_walk.h"
#include "experiments.h"
#include "harness.h"
#include "scratch.h"

/* 60 MiB of frames in one segment of 64 MiB. */
#define RECOVERY_COUNT ((uint64_t)(60 << 20) / 128)

typedef struct recovery_job {
  const contender *who;
  char dir[PATH_BYTES];
  recovery found;
  uint64_t bare_ns, bare_bytes, sums; /* of the log's own segment */
} recovery_job;

/* The child that is killed. */
static bool recovery_append(void *argument) {
  recovery_job *job = argument;
  workload work = workload_make(100, RECOVERY_COUNT, 0);
  void *log = job->who->open(job->dir, MODE_PAGECACHE, 0);
  return log && job->who->append(log, &work);
}

static bool recovery_open(void *argument) {
  recovery_job *job = argument;
  return job->who->recover(job->dir, &job->found);
}

static bool recovery_bare(void *argument) {
  recovery_job *job = argument;
  uint64_t start = now_ns();
  if (!bare_walk(job->dir, 1, &job->bare_bytes, &job->sums)) return false;
  job->bare_ns = now_ns() - start;
  return true;
}

static bool recovery_once(recovery_job *job, const contender *who,
                          const settings *with) {
  job->who = who;
  if (!scratch_sub(job->dir, with->scratch, who->name)) return false;
  bool is_log = who == &contender_duralog;
  bool good = run_and_kill(recovery_append, job) &&
              (!is_log || run_in_child(recovery_bare, job)) &&
              run_in_child(recovery_open, job);
  scratch_drop(job->dir);
  if (!good || job->found.records >= RECOVERY_COUNT) return good;
  fprintf(stderr, "bench: %s: %ju records recovered, %ju appended\n", who->name,
          (uintmax_t)job->found.records, (uintmax_t)RECOVERY_COUNT);
  return false;
}

typedef struct recovery_series {
  series walk, total, bytes, bare;
} recovery_series;

static bool recovery_round(recovery_job *job, recovery_series *all,
                           size_t round, const settings *with) {
  const contender *const who[2] = {&contender_duralog, &contender_raw};
  for (size_t turn = 0; turn < 2; turn++) {
    size_t k = (round + turn) % 2;
    if (!recovery_once(job, who[k], with)) return false;
    series_add(&all[k].walk, (double)job->found.walk_ns);
    series_add(&all[k].total, (double)job->found.total_ns);
    series_add(&all[k].bytes, (double)job->found.bytes);
    if (k == 0) series_add(&all[0].bare, (double)job->bare_ns);
  }
  return true;
}

static void recovery_report(const recovery_series *all) {
  series ratio = series_ratio(&all[0].walk, &all[0].bare);
  series to_raw = series_ratio(&all[0].walk, &all[1].walk);
  table_series("duralog: walk", UNIT_NS, &all[0].walk);
  table_series("duralog: the whole duralog_open", UNIT_NS, &all[0].total);
  table_series("bare: map and walk of the same file", UNIT_NS, &all[0].bare);
  table_series("raw: map and walk of its own", UNIT_NS, &all[1].walk);
  table_series("duralog: bytes walked", UNIT_BYTES, &all[0].bytes);
  table_series("raw: bytes walked", UNIT_BYTES, &all[1].bytes);
  table_figure("7: recovery walk of 60 MiB vs bare walk, time",
               "reopen_walk_vs_raw", UNIT_PLAIN, &ratio,
               (goal){GOAL_AT_MOST, 1.2});
  table_figure("recovery walk vs raw's own file, time",
               "reopen_walk_vs_raw_file", UNIT_PLAIN, &to_raw, no_goal);
}

bool experiment_recovery(const settings *with) {
  recovery_series all[2] = {0};
  recovery_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  table_section("Reopening after a kill, 60 MiB of 100 B in one segment", NULL);
  for (size_t r = 0; r < with->rounds; r++)
    if (!recovery_round(job, all, r, with)) return false;
  recovery_report(all);
  return true;
}
