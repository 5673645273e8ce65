/* SPDX-License-Identifier: MIT
 *
 * What page-cache appends cost beside their own time.
 *
 * System time: of the whole process, the library's background included, at a
 * steady million records a second, as a share of the time that passes (the
 * writer waits by looking at the clock, so user time says nothing); and at full
 * speed through several segments, as a share of the processor time used, which
 * is mostly the kernel's clearing of new pages. Beside it RAW: what it takes to
 * get blocks and pages for as many bytes as the steady run appends, and to
 * write them back, with nothing else going on, as a share of the same time.
 * Page faults, of the process and of the thread that appends, per 1,000
 * records.
 *
 * Allocations: calls for memory by the thread's appends, none of which rolls,
 * when the background rests. The first look is proven by opening, which asks
 * for some.
 *
 * Memory: anonymous and mapped resident memory of a writer after 16 and after
 * 1,024 segments, of 128 KiB, so that a round is short.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "allocations.h"
#include "experiments.h"
#include "harness.h"
#include "pace.h"
#include "prepared.h"
#include "process.h"
#include "raw_mapped.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define NS_PER_RECORD 1000u
#define PACED_RECORDS 1000000u
#define FAST_RECORDS 2000000u
#define QUIET_RECORDS 100000u
#define SMALL_BYTES ((uint64_t)128 << 10)
#define REST_MS 300u

typedef struct usage {
  double system_ns, all_ns; /* of the process: system; user and system */
  double faults, thread_faults;
  uint64_t passed;
} usage;

typedef struct cost_job {
  char dir[PATH_BYTES];
  double paced_share, pages_share, fast_share, faults, thread_faults;
  double fast_faults, fast_thread_faults, allocations;
  double anon[2], file[2]; /* bytes, after 16 and 1,024 segments */
} cost_job;

static double ns_of(struct timeval t) {
  return (double)t.tv_sec * 1e9 + (double)t.tv_usec * 1e3;
}

static usage usage_now(void) {
  struct rusage all, thread;
  getrusage(RUSAGE_SELF, &all);
  getrusage(RUSAGE_THREAD, &thread);
  return (usage){.system_ns = ns_of(all.ru_stime),
                 .all_ns = ns_of(all.ru_stime) + ns_of(all.ru_utime),
                 .faults = (double)all.ru_minflt,
                 .thread_faults = (double)thread.ru_minflt,
                 .passed = now_ns()};
}

/* `step_ns` 0: as fast as it goes. */
static bool append_all(duralog *log, uint64_t count, uint64_t step_ns) {
  workload work = workload_make(RECORD_BYTES, count, 0);
  uint64_t begin = now_ns();
  for (uint64_t i = 0; i < count; i++) {
    if (step_ns) pace_until(begin + i * step_ns);
    if (!went_well("append", duralog_append(log, workload_record(&work, i),
                                            work.size, NULL)))
      return false;
  }
  return true;
}

static bool time_work(void *argument) {
  cost_job *job = argument;
  duralog *log;
  duralog_durability pagecache = {.pagecache = true};
  uint64_t before = allocations_count();
  if (!log_open_with(job->dir, pagecache, SEGMENT_BYTES, &log)) return false;
  if (allocations_count() == before) {
    fprintf(stderr, "bench: allocations are not counted\n");
    return false;
  }
  if (!log_await_successor(log, SEGMENT_BYTES)) return false;
  pause_ms(REST_MS);
  before = allocations_count();
  if (!append_all(log, QUIET_RECORDS, 0)) return false;
  job->allocations = (double)(allocations_count() - before) / QUIET_RECORDS;

  usage a = usage_now();
  if (!append_all(log, PACED_RECORDS, NS_PER_RECORD)) return false;
  usage b = usage_now();
  job->paced_share =
      (b.system_ns - a.system_ns) / (double)(b.passed - a.passed);
  job->faults = (b.faults - a.faults) * 1e3 / PACED_RECORDS;
  job->thread_faults =
      (b.thread_faults - a.thread_faults) * 1e3 / PACED_RECORDS;

  a = usage_now();
  if (!append_all(log, FAST_RECORDS, 0)) return false;
  b = usage_now();
  job->fast_share = (b.system_ns - a.system_ns) / (b.all_ns - a.all_ns);
  job->fast_faults = (b.faults - a.faults) * 1e3 / FAST_RECORDS;
  job->fast_thread_faults =
      (b.thread_faults - a.thread_faults) * 1e3 / FAST_RECORDS;
  return true;
}

static bool pages_work(void *argument) {
  cost_job *job = argument;
  const size_t bytes = PACED_RECORDS * (size_t)frame_bytes(RECORD_BYTES);
  const double time_ns = (double)PACED_RECORDS * NS_PER_RECORD;
  raw_mapped raw;
  usage a = usage_now();
  if (!raw_mapped_make(&raw, job->dir, "raw", bytes, RAW_POPULATED) ||
      fdatasync(raw.fd) != 0)
    return false;
  job->pages_share = (usage_now().system_ns - a.system_ns) / time_ns;
  raw_mapped_end(&raw);
  return true;
}

/* -------------------------------------------------------------- memory -- */

static bool resident(double *anon, double *file) {
  char line[256];
  FILE *status = fopen("/proc/self/status", "re");
  if (!status) return false;
  *anon = *file = 0;
  while (fgets(line, sizeof line, status)) {
    unsigned long kib;
    if (sscanf(line, "RssAnon: %lu", &kib) == 1) *anon = (double)kib * 1024;
    if (sscanf(line, "RssFile: %lu", &kib) == 1) *file = (double)kib * 1024;
  }
  fclose(status);
  return *file > 0;
}

static bool grow_to(duralog *log, uint64_t segments) {
  duralog_segment last = {.struct_size = sizeof last};
  for (;;) {
    duralog_error error = duralog_get_segment(log, (size_t)segments - 1, &last);
    if (error == DURALOG_OK && last.end > last.first) return true;
    if (error != DURALOG_OK && error != DURALOG_E_RANGE)
      return went_well("segment", error);
    if (!append_all(log, SMALL_BYTES / frame_bytes(RECORD_BYTES) / 2, 0))
      return false;
  }
}

static bool memory_work(void *argument) {
  cost_job *job = argument;
  duralog *log;
  duralog_durability pagecache = {.pagecache = true};
  static const uint64_t segments[2] = {16, 1024};
  if (!log_open_with(job->dir, pagecache, SMALL_BYTES, &log)) return false;
  for (int k = 0; k < 2; k++) {
    if (!grow_to(log, segments[k]) || !went_well("sync", duralog_sync(log)))
      return false;
    pause_ms(REST_MS); /* what is finished is sealed and let go */
    if (!resident(&job->anon[k], &job->file[k])) return false;
  }
  return true;
}

/* -------------------------------------------------------------- report -- */

typedef struct cost_series {
  series paced, pages, fast, faults, thread_faults, fast_faults,
      fast_thread_faults;
  series allocations, anon[2], file[2], both[2];
} cost_series;

static bool in_directory(cost_job *job, bool (*work)(void *),
                         const settings *with) {
  if (!scratch_sub(job->dir, with->scratch, "cost")) return false;
  bool good = run_in_child(work, job);
  scratch_drop(job->dir);
  return good;
}

static void cost_add(cost_series *all, const cost_job *job) {
  series_add(&all->paced, job->paced_share);
  series_add(&all->pages, job->pages_share);
  series_add(&all->fast, job->fast_share);
  series_add(&all->faults, job->faults);
  series_add(&all->thread_faults, job->thread_faults);
  series_add(&all->fast_faults, job->fast_faults);
  series_add(&all->fast_thread_faults, job->fast_thread_faults);
  series_add(&all->allocations, job->allocations);
  for (int k = 0; k < 2; k++) {
    series_add(&all->anon[k], job->anon[k]);
    series_add(&all->file[k], job->file[k]);
    series_add(&all->both[k], job->anon[k] + job->file[k]);
  }
}

static void cost_report(const cost_series *all) {
  series grown = series_ratio(&all->both[1], &all->both[0]);
  table_series("faults per 1,000 records, 1 M/s", UNIT_PLAIN, &all->faults);
  table_series("  by the appending thread", UNIT_PLAIN, &all->thread_faults);
  table_series("faults per 1,000 records, full speed", UNIT_PLAIN,
               &all->fast_faults);
  table_series("  by the appending thread", UNIT_PLAIN,
               &all->fast_thread_faults);
  table_series("16 segments: anonymous memory", UNIT_BYTES, &all->anon[0]);
  table_series("1,024 segments: anonymous memory", UNIT_BYTES, &all->anon[1]);
  table_series("16 segments: mapped, resident", UNIT_BYTES, &all->file[0]);
  table_series("1,024 segments: mapped, resident", UNIT_BYTES, &all->file[1]);
  table_figure("9: system time at 1 M/s, share of time", "system_time_share",
               UNIT_PLAIN, &all->paced, (goal){GOAL_AT_MOST, 0.05});
  table_figure("  raw: its pages alone, and their writing",
               "system_time_share_of_pages", UNIT_PLAIN, &all->pages, no_goal);
  table_figure("system time at full speed, of processor time",
               "system_time_share_full_speed", UNIT_PLAIN, &all->fast, no_goal);
  table_figure("9: allocations per append", "allocations_per_append",
               UNIT_PLAIN, &all->allocations, (goal){GOAL_AT_MOST, 0});
  table_figure("9: resident memory: 1,024 segments vs 16", "memory_1024_vs_16",
               UNIT_PLAIN, &grown, (goal){GOAL_AT_MOST, 1.1});
}

bool experiment_cost(const settings *with) {
  cost_series all = {0};
  cost_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  table_section("What page-cache appends cost beside their time, 100 B", NULL);
  for (size_t r = 0; r < with->rounds; r++) {
    if (!in_directory(job, time_work, with) ||
        !in_directory(job, pages_work, with) ||
        !in_directory(job, memory_work, with))
      return false;
    cost_add(&all, job);
  }
  cost_report(&all);
  return true;
}
