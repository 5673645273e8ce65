/* SPDX-License-Identifier: MIT
 *
 * Page-cache appends by several threads into one log.
 *
 * Each round is a process of its own, in which all sides take turns in short
 * slices, in another order each round. The library's log lies in one segment,
 * whose pages were touched before, and the next one is prepared: as RAW's
 * memory is. RAW-n is what RAW does under the best single lock: at first each
 * lock is tried with each way to use it, for each number of threads, and the
 * fastest is the one that is compared.
 *
 * In slices of their own every 16th append is timed, by all threads.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "experiments.h"
#include "harness.h"
#include "histogram.h"
#include "prepared.h"
#include "process.h"
#include "raw_locked.h"
#include "raw_mapped.h"
#include "scratch.h"
#include "team.h"

#define RECORD_BYTES 100u
#define BATCH 64u
#define SAMPLE_EVERY 16u
#define LOG_SEGMENT_BYTES ((uint64_t)512 << 20)
#define SLICE_RECORDS 393216u /* shared by the threads; in whole batches */
#define TRIAL_RECORDS 196608u
#define TRIALS 3u

enum { LOG, RAW, WHO };
enum { ONE, TWO, FOUR, EIGHT, BATCH_ONE, BATCH_EIGHT, SAMPLED, SLICES };

static const struct {
  unsigned threads;
  size_t batch;
  bool sampled;
} slices[SLICES] = {
    [ONE] = {1, 0, false},           [TWO] = {2, 0, false},
    [FOUR] = {4, 0, false},          [EIGHT] = {8, 0, false},
    [BATCH_ONE] = {1, BATCH, false}, [BATCH_EIGHT] = {8, BATCH, false},
    [SAMPLED] = {8, 0, true},
};

typedef struct choice {
  raw_lock lock;
  raw_scheme scheme;
} choice;

typedef struct threads_job {
  char dir[PATH_BYTES];
  size_t round;
  uint64_t records;      /* of a slice */
  choice chosen[SLICES]; /* RAW's */
  uint64_t ns[WHO][SLICES];
  double p50[WHO], p99[WHO], worst[WHO]; /* of SAMPLED */
} threads_job;

/* ------------------------------------------------------------- slices -- */

/* What the threads of a slice share. */
typedef struct slice_work {
  duralog *log; /* NULL: RAW */
  raw_locked *raw;
  workload work;    /* of one thread */
  histogram *times; /* one for each thread, or NULL */
} slice_work;

static bool log_singly(duralog *log, const workload *work) {
  for (uint64_t i = 0; i < work->count; i++)
    if (!went_well("append", duralog_append(log, workload_record(work, i),
                                            work->size, NULL)))
      return false;
  return true;
}

static bool log_by_batch(duralog *log, const workload *work) {
  duralog_entry entries[BATCH] = {0};
  for (uint64_t i = 0; i < work->count; i += BATCH) {
    for (size_t k = 0; k < BATCH; k++) {
      entries[k].data = workload_record(work, i + k);
      entries[k].size = work->size;
    }
    if (!went_well("append_batch",
                   duralog_append_batch(log, entries, BATCH,
                                        DURALOG_LEVEL_DEFAULT, NULL)))
      return false;
  }
  return true;
}

static bool append_part(const slice_work *s, const workload *work) {
  if (!s->log) return raw_locked_append(s->raw, work);
  return work->batch ? log_by_batch(s->log, work) : log_singly(s->log, work);
}

/* 15 appends, and one that is timed. */
static bool append_sampled(const slice_work *s, histogram *times) {
  workload some = s->work, one = s->work;
  some.count = SAMPLE_EVERY - 1;
  one.count = 1;
  for (uint64_t i = 0; i < s->work.count; i += SAMPLE_EVERY) {
    if (!append_part(s, &some)) return false;
    uint64_t start = now_ns();
    if (!append_part(s, &one)) return false;
    histogram_add(times, now_ns() - start);
  }
  return true;
}

static bool member_appends(void *argument, unsigned k) {
  const slice_work *s = argument;
  return s->times ? append_sampled(s, &s->times[k]) : append_part(s, &s->work);
}

static bool run_slice(duralog *log, raw_locked *raw, size_t slice,
                      uint64_t records, histogram *times, uint64_t *ns) {
  unsigned threads = slices[slice].threads;
  slice_work s = {.log = log,
                  .raw = raw,
                  .work = workload_make(RECORD_BYTES, records / threads,
                                        slices[slice].batch),
                  .times = slices[slice].sampled ? times : NULL};
  return team_run(threads, member_appends, &s, ns);
}

/* ---------------------------------------------------- one round's process --
 */

static size_t raw_bytes(uint64_t records) {
  return (size_t)(SLICES * records * frame_bytes(RECORD_BYTES) + 4096);
}

static bool open_both(threads_job *job, duralog **log, raw_locked *raw) {
  raw_mapped memory;
  char dir[PATH_BYTES];
  uint64_t bytes = SLICES * job->records * frame_bytes(RECORD_BYTES);
  duralog_durability pagecache = {.pagecache = true};
  if (!raw_mapped_make(&memory, job->dir, "raw", raw_bytes(job->records),
                       RAW_POPULATED))
    return false;
  raw_locked_init(raw, memory.map, memory.bytes);
  return scratch_sub(dir, job->dir, "log") &&
         log_open_with(dir, pagecache, LOG_SEGMENT_BYTES, log) &&
         log_await_successor(*log, LOG_SEGMENT_BYTES) &&
         log_touch_ahead(*log, bytes + bytes / 64);
}

static void keep_times(threads_job *job, unsigned who, histogram *times) {
  for (unsigned k = 1; k < 8; k++) histogram_merge(&times[0], &times[k]);
  job->p50[who] = histogram_percentile(&times[0], 50);
  job->p99[who] = histogram_percentile(&times[0], 99);
  job->worst[who] = (double)times[0].most;
}

static bool threads_work(void *argument) {
  static histogram times[WHO][8];
  threads_job *job = argument;
  raw_locked raw;
  duralog *log;
  if (!open_both(job, &log, &raw)) return false;
  for (size_t turn = 0; turn < SLICES * WHO; turn++) {
    size_t slice = (turn / WHO + job->round) % SLICES;
    unsigned who = (unsigned)(turn + job->round) % WHO;
    raw.lock = job->chosen[slice].lock;
    raw.scheme = job->chosen[slice].scheme;
    if (!run_slice(who == LOG ? log : NULL, &raw, slice, job->records,
                   times[who], &job->ns[who][slice]))
      return false;
  }
  for (unsigned who = 0; who < WHO; who++) keep_times(job, who, times[who]);
  return true;
}

/* ------------------------------------------------- choosing RAW's lock -- */

/* The median of a few trials: a lucky one must not choose. */
static bool try_one(raw_locked *raw, size_t slice, choice c, double *median) {
  series trials = {0};
  raw->lock = c.lock;
  raw->scheme = c.scheme;
  for (unsigned t = 0; t < TRIALS; t++) {
    uint64_t ns;
    raw->at = 0;
    atomic_store(&raw->published, 0);
    if (!run_slice(NULL, raw, slice, TRIAL_RECORDS, NULL, &ns)) return false;
    series_add(&trials, (double)ns);
  }
  *median = estimate_of(&trials).median;
  return true;
}

/* Filling outside of the lock, and waiting for one's turn then, is left out for
 * more threads than cores: the one whose turn it is often has none (measured:
 * 0.5 M/s). */
static bool may_win(size_t slice, raw_scheme scheme) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return scheme != RAW_RESERVE || (long)slices[slice].threads <= cores;
}

static bool choose(raw_locked *raw, size_t slice, choice *chosen) {
  double best = 0, now;
  for (raw_lock l = 0; l < RAW_LOCKS; l++)
    for (raw_scheme s = 0; s < RAW_SCHEMES; s++) {
      if (!may_win(slice, s)) continue;
      if (!try_one(raw, slice, (choice){l, s}, &now)) return false;
      if (best > 0 && now >= best) continue;
      best = now;
      *chosen = (choice){l, s};
    }
  return true;
}

static bool choose_work(void *argument) {
  threads_job *job = argument;
  raw_mapped memory;
  raw_locked raw;
  if (!raw_mapped_make(&memory, job->dir, "raw", raw_bytes(TRIAL_RECORDS),
                       RAW_POPULATED))
    return false;
  raw_locked_init(&raw, memory.map, memory.bytes);
  for (size_t slice = 0; slice < SAMPLED; slice++)
    if (!choose(&raw, slice, &job->chosen[slice])) return false;
  job->chosen[SAMPLED] = job->chosen[EIGHT];
  return true;
}

/* -------------------------------------------------------------- report -- */

typedef struct threads_series {
  series rate[WHO][SLICES], p50[WHO], p99[WHO], worst[WHO];
} threads_series;

static bool in_directory(threads_job *job, bool (*work)(void *),
                         const settings *with) {
  char dir[PATH_BYTES];
  if (!scratch_sub(dir, with->scratch, "threads")) return false;
  memcpy(job->dir, dir, sizeof dir);
  bool good = run_in_child(work, job);
  scratch_drop(dir);
  return good;
}

static void add_round(threads_series *all, const threads_job *job) {
  for (unsigned who = 0; who < WHO; who++) {
    for (size_t s = 0; s < SLICES; s++)
      series_add(&all->rate[who][s],
                 (double)job->records * 1e9 / (double)job->ns[who][s]);
    series_add(&all->p50[who], job->p50[who]);
    series_add(&all->p99[who], job->p99[who]);
    series_add(&all->worst[who], job->worst[who]);
  }
}

static void figure(const char *label, const char *name, const series *above,
                   const series *below, double bound) {
  series ratio = series_ratio(above, below);
  goal wanted = {bound > 0 ? GOAL_AT_LEAST : GOAL_NONE, bound};
  table_figure(label, name, UNIT_PLAIN, &ratio, wanted);
}

static void print_rates(const threads_series *all, const threads_job *job) {
  for (size_t s = 0; s < SAMPLED; s++) {
    char label[2][64], lock[96];
    const char *how = slices[s].batch ? "by 64" : "singly";
    choice c = job->chosen[s];
    snprintf(label[LOG], sizeof label[LOG], "duralog, %u threads, %s",
             slices[s].threads, how);
    snprintf(label[RAW], sizeof label[RAW], "raw-%u, %s", slices[s].threads,
             how);
    snprintf(lock, sizeof lock, "%s; %s", raw_lock_name(c.lock),
             raw_scheme_name(c.scheme));
    table_series(label[LOG], UNIT_RATE, &all->rate[LOG][s]);
    table_series(label[RAW], UNIT_RATE, &all->rate[RAW][s]);
    table_text("  its lock", lock);
  }
}

static void print_times(const threads_series *all) {
  table_series("8 threads, one append: duralog p50", UNIT_NS, &all->p50[LOG]);
  table_series("  raw-8 p50", UNIT_NS, &all->p50[RAW]);
  table_series("  raw-8 p99", UNIT_NS, &all->p99[RAW]);
  table_series("  duralog, slowest", UNIT_NS, &all->worst[LOG]);
  table_series("  raw-8, slowest", UNIT_NS, &all->worst[RAW]);
  table_figure("2: p99 of an append among 8 threads", "append_8threads_p99_ns",
               UNIT_NS, &all->p99[LOG], no_goal);
}

static void threads_report(const threads_series *all, const threads_job *job) {
  const series *log = all->rate[LOG], *raw = all->rate[RAW];
  print_rates(all, job);
  print_times(all);
  figure("1 thread vs raw-1 (a lock, unused)", "append_1thread_vs_raw1",
         &log[ONE], &raw[ONE], 0);
  figure("2: 2 threads vs raw-2", "append_2threads_vs_raw2", &log[TWO],
         &raw[TWO], 1);
  figure("2: 4 threads vs raw-4", "append_4threads_vs_raw4", &log[FOUR],
         &raw[FOUR], 1);
  figure("2: 8 threads vs raw-8", "append_8threads_vs_raw8", &log[EIGHT],
         &raw[EIGHT], 1);
  figure("2: 8 threads vs 2", "append_8threads_vs_2", &log[EIGHT], &log[TWO],
         0.7);
  figure("2: by 64, 8 threads vs 1", "append_batch_8threads_vs_1",
         &log[BATCH_EIGHT], &log[BATCH_ONE], 0.8);
  figure("by 64: 8 threads vs raw-8", "append_batch_8threads_vs_raw8",
         &log[BATCH_EIGHT], &raw[BATCH_EIGHT], 0);
}

bool experiment_threads(const settings *with) {
  threads_series all = {0};
  threads_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  job->records = with->quick ? SLICE_RECORDS / 2 : SLICE_RECORDS;
  table_section("Append in page-cache mode, 100 B, 1 to 8 threads",
                "in memory touched before; raw-n: what raw does under the best "
                "single lock");
  if (!in_directory(job, choose_work, with)) return false;
  for (job->round = 0; job->round < with->rounds; job->round++) {
    if (!in_directory(job, threads_work, with)) return false;
    add_round(&all, job);
  }
  threads_report(&all, job);
  return true;
}
