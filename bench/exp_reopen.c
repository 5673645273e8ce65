/* SPDX-License-Identifier: MIT
 *
 * Reopening logs of 16, 128 and 1,024 segments of 1 MiB.
 *
 * After a kill: a process opens the log, appends about a segment and is killed;
 * then the bare walk over the files that were not sealed, and duralog_open,
 * each in a process of its own; everything is in memory. A log grows by about a
 * segment a round. The files are made once, closed cleanly.
 *
 * After a clean close: opening to read only, and for writing, which syncs;
 * beside it one pwrite of 4 KiB with fdatasync in the same directory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bare_walk.h"
#include "experiments.h"
#include "harness.h"
#include "prepared.h"
#include "process.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define REOPEN_BYTES ((uint64_t)1 << 20) /* of a segment */
#define SIZES 3u

static const uint64_t sizes[SIZES] = {16, 128, 1024};

typedef struct reopen_job {
  char dir[PATH_BYTES], plain[PATH_BYTES];
  uint64_t append;           /* records */
  uint64_t unsealed, newest; /* segments: how many, and the last's number */
  uint64_t walk_ns, sync_ns, total_ns, walked, segments;
  uint64_t bare_ns, sums, read_only_ns, writing_ns, one_sync_ns;
} reopen_job;

static bool open_log(const char *dir, bool read_only, bool appends,
                     duralog **log, duralog_report *report) {
  duralog_options options = {.struct_size = sizeof options,
                             .segment_bytes = REOPEN_BYTES,
                             .read_only = read_only};
  options.durability.pagecache = appends;
  return went_well("open", duralog_open(dir, &options, log, report, NULL));
}

static bool append_all(duralog *log, uint64_t count) {
  workload work = workload_make(RECORD_BYTES, count, 0);
  for (uint64_t i = 0; i < work.count; i++)
    if (!went_well("append", duralog_append(log, workload_record(&work, i),
                                            work.size, NULL)))
      return false;
  return true;
}

static bool make_clean(void *argument) {
  reopen_job *job = argument;
  duralog *log;
  return open_log(job->dir, false, true, &log, NULL) &&
         append_all(log, job->append) &&
         went_well("close", duralog_close(&log));
}

static bool append_and_die(void *argument) {
  reopen_job *job = argument;
  duralog *log;
  return open_log(job->dir, false, true, &log, NULL) &&
         append_all(log, REOPEN_BYTES / frame_bytes(RECORD_BYTES));
}

static bool walk_unsealed(reopen_job *job, uint64_t *bytes) {
  for (uint64_t k = job->unsealed; k > 0; k--)
    if (!bare_walk(job->dir, job->newest + 1 - k, bytes, &job->sums))
      return false;
  return true;
}

static bool recover(void *argument) {
  reopen_job *job = argument;
  duralog *log;
  duralog_report report = {.struct_size = sizeof report};
  uint64_t bytes = 0;
  /* What is walked is as near to the processor as for the bare walk, whose
   * process has opened the log before it. */
  if (!walk_unsealed(job, &bytes)) return false;
  uint64_t start = now_ns();
  if (!open_log(job->dir, false, false, &log, &report)) return false;
  job->total_ns = now_ns() - start;
  job->walk_ns = report.walk_ns;
  job->sync_ns = report.sync_ns;
  job->walked = report.segments_walked;
  job->segments = report.segments;
  return true;
}

/* A snapshot tells what is not sealed; then the bare walk over that. */
static bool bare(void *argument) {
  reopen_job *job = argument;
  duralog *log;
  duralog_report report = {.struct_size = sizeof report};
  duralog_segment last = {.struct_size = sizeof last};
  uint64_t bytes = 0;
  if (!open_log(job->dir, true, false, &log, &report) ||
      !went_well("segment",
                 duralog_get_segment(log, report.segments - 1, &last)) ||
      !went_well("close", duralog_close(&log)))
    return false;
  job->unsealed = report.segments_walked;
  job->newest = last.number;
  uint64_t start = now_ns();
  if (!walk_unsealed(job, &bytes)) return false;
  job->bare_ns = now_ns() - start;
  return true;
}

static bool one_sync(reopen_job *job) {
  static const unsigned char block[4096];
  char path[PATH_BYTES + 16];
  snprintf(path, sizeof path, "%s/plain", job->plain);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool good =
      pwrite(fd, block, sizeof block, 0) == sizeof block && fdatasync(fd) == 0;
  uint64_t start = now_ns();
  good = good && pwrite(fd, block, sizeof block, 0) == sizeof block &&
         fdatasync(fd) == 0;
  job->one_sync_ns = now_ns() - start;
  close(fd);
  return good;
}

static bool open_clean(void *argument) {
  reopen_job *job = argument;
  duralog *log;
  uint64_t start = now_ns();
  if (!open_log(job->dir, true, false, &log, NULL)) return false;
  job->read_only_ns = now_ns() - start;
  if (!went_well("close", duralog_close(&log)) || !one_sync(job)) return false;
  start = now_ns();
  if (!open_log(job->dir, false, false, &log, NULL)) return false;
  job->writing_ns = now_ns() - start;
  return went_well("close", duralog_close(&log));
}

/* -------------------------------------------------------------- rounds -- */

typedef struct reopen_series {
  series walk, bare, sync, total, rest, read_only, writing, one_sync, more;
} reopen_series;

/* Opening writes what it found again, so the bare walk comes before. */
static bool killed(reopen_job *job) {
  return run_and_kill(append_and_die, job) && run_in_child(bare, job) &&
         run_in_child(recover, job);
}

static bool reopen_round(reopen_job *job, reopen_series *all) {
  job->append = 1;
  if (!killed(job) || !run_in_child(make_clean, job) ||
      !run_in_child(open_clean, job))
    return false;
  series_add(&all->walk, (double)job->walk_ns);
  series_add(&all->bare, (double)job->bare_ns);
  series_add(&all->sync, (double)job->sync_ns);
  series_add(&all->total, (double)job->total_ns);
  series_add(&all->rest, (double)(job->total_ns - job->sync_ns));
  series_add(&all->read_only, (double)job->read_only_ns);
  series_add(&all->writing, (double)job->writing_ns);
  series_add(&all->one_sync, (double)job->one_sync_ns);
  series_add(&all->more, (double)job->writing_ns - (double)job->one_sync_ns);
  return true;
}

static void reopen_report(const reopen_series *all) {
  static const char *const walk_names[SIZES] = {"reopen_walk_16_vs_raw",
                                                "reopen_walk_128_vs_raw",
                                                "reopen_walk_1024_vs_raw"};
  static char label[SIZES][3][64];
  static const char *const clean_names[SIZES] = {"open_read_only_16_ns",
                                                 "open_read_only_128_ns",
                                                 "open_read_only_1024_ns"};
  const goal millisecond = {GOAL_AT_MOST, 1e6};
  for (size_t k = 0; k < SIZES; k++) {
    const reopen_series *s = &all[k];
    series ratio = series_ratio(&s->walk, &s->bare);
    snprintf(label[k][0], sizeof label[k][0],
             "7: %ju segments, killed: walk vs bare", (uintmax_t)sizes[k]);
    snprintf(label[k][1], sizeof label[k][1],
             "7: %ju segments, clean: read only", (uintmax_t)sizes[k]);
    snprintf(label[k][2], sizeof label[k][2],
             "7: %ju segments, clean: writing, less one sync",
             (uintmax_t)sizes[k]);
    table_series("killed: duralog_open", UNIT_NS, &s->total);
    table_series("  its walk", UNIT_NS, &s->walk);
    table_series("  its syncs", UNIT_NS, &s->sync);
    table_series("  the bare walk", UNIT_NS, &s->bare);
    table_series("clean: open for writing", UNIT_NS, &s->writing);
    table_series("  one pwrite, fdatasync", UNIT_NS, &s->one_sync);
    table_figure(label[k][0], walk_names[k], UNIT_PLAIN, &ratio,
                 (goal){GOAL_AT_MOST, 1.2});
    table_figure(label[k][1], clean_names[k], UNIT_NS, &s->read_only,
                 millisecond);
    table_figure(label[k][2], NULL, UNIT_NS, &s->more, millisecond);
  }
  series grown = series_ratio(&all[2].rest, &all[0].rest);
  table_figure("killed, without syncs: 1,024 segments vs 16",
               "reopen_1024_vs_16", UNIT_PLAIN, &grown, no_goal);
}

static bool reopen_rounds(reopen_job *jobs, reopen_series *all, size_t rounds) {
  for (size_t r = 0; r < rounds; r++)
    for (size_t turn = 0; turn < SIZES; turn++) {
      size_t k = (r + turn) % SIZES;
      if (!reopen_round(&jobs[k], &all[k])) return false;
    }
  return true;
}

bool experiment_reopen(const settings *with) {
  static reopen_series all[SIZES];
  reopen_job *jobs = shared_alloc(SIZES * sizeof *jobs);
  bool good = jobs != NULL;
  if (!good) return false;
  table_section("Reopening logs of 16, 128 and 1,024 segments of 1 MiB", NULL);
  for (size_t k = 0; good && k < SIZES; k++) {
    char name[32];
    snprintf(name, sizeof name, "reopen%zu", k);
    jobs[k].append =
        sizes[k] * (REOPEN_BYTES - 8192) / frame_bytes(RECORD_BYTES);
    snprintf(jobs[k].plain, sizeof jobs[k].plain, "%s", with->scratch);
    good = scratch_sub(jobs[k].dir, with->scratch, name) &&
           run_in_child(make_clean, &jobs[k]);
  }
  good = good && reopen_rounds(jobs, all, with->rounds);
  if (good) reopen_report(all);
  for (size_t k = 0; k < SIZES; k++)
    if (jobs[k].dir[0]) scratch_drop(jobs[k].dir);
  return good;
}
