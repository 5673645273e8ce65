/* SPDX-License-Identifier: MIT
 *
 * Tails at a steady million records a second.
 *
 * Each append is timed twice: from its call to its return (service), and from
 * when it was due to its return (schedule). Due times do not move when one
 * append is late, so that what a stall delays counts as well. The writer looks
 * at the clock until the next is due and does not sleep.
 *
 * The library and RAW take turns in slices of a second, so that both see the
 * same machine; a ratio is between the two slices of a round, and the pooled
 * percentiles of all slices are shown. Two modes: with write-behind (nothing
 * syncs but the library's own background, and the kernel), and with a sync
 * every 10 ms (RAW: a second thread with fdatasync).
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "experiments.h"
#include "harness.h"
#include "histogram.h"
#include "pace.h"
#include "prepared.h"
#include "process.h"
#include "raw_mapped.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define NS_PER_RECORD 1000u
#define SLICE_RECORDS 1000000u /* of a round */
#define SLICES_LEAST 10u       /* so that each side has 10 M samples */
#define SYNC_MS 10u
#define RAW_BYTES ((size_t)160 << 20) /* more than a slice */
#define WARM_RECORDS 20000u
#define WARM_MS 300u

enum { WRITE_BEHIND, SYNCING, MODES };
enum { LOG, RAW, WHO };
enum { SERVICE, SCHEDULE, TIMES };
enum { P50, P99, P999, P9999, MOST, PERCENTILES };

static const double percents[PERCENTILES] = {50, 99, 99.9, 99.99, 100};
static const char *const percent_names[PERCENTILES] = {"p50", "p99", "p99.9",
                                                       "p99.99", "max"};
static const char *const who_names[WHO] = {"duralog", "raw"};
static const char *const time_names[TIMES] = {"service", "schedule"};
static const char *const mode_names[MODES] = {"write-behind", "sync 10 ms"};

typedef struct tails_job {
  char dir[PATH_BYTES];
  int mode, who;
  histogram slice[TIMES]; /* of the last slice */
  histogram all[MODES][WHO][TIMES];
} tails_job;

/* ------------------------------------------------------------- a slice -- */

typedef struct raw_syncer {
  int fd;
  _Atomic bool over;
  pthread_t thread;
} raw_syncer;

static void *sync_again(void *argument) {
  raw_syncer *it = argument;
  while (!atomic_load(&it->over)) {
    pause_ms(SYNC_MS);
    if (fdatasync(it->fd) != 0) fprintf(stderr, "bench: raw: fdatasync\n");
  }
  return NULL;
}

static bool append_one(duralog *log, raw_mapped *raw, const void *data) {
  if (log)
    return went_well("append", duralog_append(log, data, RECORD_BYTES, NULL));
  raw_mapped_append(raw, data, RECORD_BYTES);
  return true;
}

static bool slice(tails_job *job, duralog *log, raw_mapped *raw) {
  workload work = workload_make(RECORD_BYTES, SLICE_RECORDS, 0);
  for (uint64_t i = 0; i < WARM_RECORDS; i++)
    if (!append_one(log, raw, workload_record(&work, i))) return false;
  pause_ms(WARM_MS);
  uint64_t due = now_ns();
  for (uint64_t i = 0; i < work.count; i++, due += NS_PER_RECORD) {
    uint64_t start = pace_until(due);
    if (!append_one(log, raw, workload_record(&work, i))) return false;
    uint64_t end = now_ns();
    histogram_add(&job->slice[SERVICE], end - start);
    histogram_add(&job->slice[SCHEDULE], end - due);
  }
  return true;
}

static bool raw_slice(tails_job *job) {
  raw_mapped raw;
  raw_syncer syncer = {0};
  bool syncs = job->mode == SYNCING;
  if (!raw_mapped_make(&raw, job->dir, "raw", RAW_BYTES,
                       syncs ? RAW_WRITTEN : RAW_POPULATED))
    return false;
  syncer.fd = raw.fd;
  if (syncs && pthread_create(&syncer.thread, NULL, sync_again, &syncer) != 0)
    return false;
  bool good = slice(job, NULL, &raw);
  atomic_store(&syncer.over, true);
  if (syncs) pthread_join(syncer.thread, NULL);
  return good;
}

static bool tails_work(void *argument) {
  tails_job *job = argument;
  duralog *log;
  duralog_durability how = {
      .pagecache = job->mode == WRITE_BEHIND,
      .sync_interval_ms = job->mode == SYNCING ? SYNC_MS : 0};
  if (job->who == RAW) return raw_slice(job);
  return log_open_with(job->dir, how, SEGMENT_BYTES, &log) &&
         slice(job, log, NULL);
}

/* -------------------------------------------------------------- rounds -- */

typedef struct tails_series {
  series ns[MODES][WHO][TIMES][PERCENTILES];
} tails_series;

static bool one_side(tails_job *job, tails_series *all, const settings *with) {
  for (int t = 0; t < TIMES; t++) job->slice[t] = (histogram){0};
  if (!scratch_sub(job->dir, with->scratch, "tails")) return false;
  bool good = run_in_child(tails_work, job);
  scratch_drop(job->dir);
  if (!good) return false;
  for (int t = 0; t < TIMES; t++) {
    histogram_merge(&job->all[job->mode][job->who][t], &job->slice[t]);
    for (int p = 0; p < PERCENTILES; p++)
      series_add(&all->ns[job->mode][job->who][t][p],
                 histogram_percentile(&job->slice[t], percents[p]));
  }
  return true;
}

static bool tails_round(tails_job *job, tails_series *all, size_t round,
                        const settings *with) {
  for (size_t turn = 0; turn < (size_t)MODES * WHO; turn++) {
    size_t k = (turn + round) % ((size_t)MODES * WHO);
    job->mode = (int)(k / WHO);
    job->who = (int)(k % WHO);
    if (!one_side(job, all, with)) return false;
  }
  return true;
}

/* -------------------------------------------------------------- report -- */

static void record_percentile(const char *label, int p, double ns) {
  char name[80];
  series one = {.count = 1, .value = {ns}};
  snprintf(name, sizeof name, "%s %s", label, percent_names[p]);
  table_result(name, UNIT_NS, &one);
}

static void print_pooled(const tails_job *job) {
  for (int m = 0; m < MODES; m++)
    for (int t = 0; t < TIMES; t++)
      for (int who = 0; who < WHO; who++) {
        const histogram *h = &job->all[m][who][t];
        char label[64], text[160];
        size_t at = 0;
        snprintf(label, sizeof label, "%s, %s, %s", mode_names[m],
                 time_names[t], who_names[who]);
        for (int p = 0; p < PERCENTILES; p++) {
          double ns = histogram_percentile(h, percents[p]);
          record_percentile(label, p, ns);
          at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %.2f us",
                                 p ? ", " : "", percent_names[p], ns / 1e3);
        }
        table_text(label, text);
      }
}

static void tail_figure(const tails_series *all, int mode, int time, int p,
                        const char *label, const char *name) {
  series ratio =
      series_ratio(&all->ns[mode][LOG][time][p], &all->ns[mode][RAW][time][p]);
  table_figure(label, name, UNIT_PLAIN, &ratio, (goal){GOAL_AT_MOST, 2});
}

static void tails_report(const tails_job *job, const tails_series *all) {
  print_pooled(job);
  tail_figure(all, WRITE_BEHIND, SERVICE, P999,
              "8: write-behind, service: p99.9 vs raw", "tail_p999_vs_raw");
  tail_figure(all, WRITE_BEHIND, SERVICE, P9999,
              "8: write-behind, service: p99.99 vs raw", "tail_p9999_vs_raw");
  tail_figure(all, WRITE_BEHIND, SCHEDULE, P999,
              "8: write-behind, schedule: p99.9 vs raw",
              "tail_p999_schedule_vs_raw");
  tail_figure(all, WRITE_BEHIND, SCHEDULE, P9999,
              "8: write-behind, schedule: p99.99 vs raw",
              "tail_p9999_schedule_vs_raw");
  tail_figure(all, SYNCING, SERVICE, P999,
              "8: sync 10 ms, service: p99.9 vs raw",
              "tail_p999_sync10_vs_raw");
  tail_figure(all, SYNCING, SERVICE, P9999,
              "8: sync 10 ms, service: p99.99 vs raw",
              "tail_p9999_sync10_vs_raw");
  tail_figure(all, SYNCING, SCHEDULE, P999,
              "8: sync 10 ms, schedule: p99.9 vs raw",
              "tail_p999_sync10_schedule_vs_raw");
  tail_figure(all, SYNCING, SCHEDULE, P9999,
              "8: sync 10 ms, schedule: p99.99 vs raw",
              "tail_p9999_sync10_schedule_vs_raw");
}

bool experiment_tails(const settings *with) {
  static tails_series all;
  size_t rounds = with->rounds;
  tails_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  /* Fewer where somebody asked for less: then it is said in the samples. */
  if (!with->quick && rounds >= 6 && rounds < SLICES_LEAST)
    rounds = SLICES_LEAST;
  if (with->quick && rounds > 6) rounds = 6;
  table_section("Tails at a steady 1 M records/s, 100 B",
                "service: from the call; schedule: from when it was due");
  for (size_t r = 0; r < rounds; r++)
    if (!tails_round(job, &all, r, with)) return false;
  tails_report(job, &all);
  return true;
}
