/* SPDX-License-Identifier: MIT
 *
 * What new segments cost an append at a steady million records a second.
 *
 * First pass: a whole segment that nobody has touched but the library itself,
 * in its background, from the roll into it to its end. Steady state: the same
 * appends at the same rate into the next segment of the same log, each page of
 * which the host has touched before (a reservation of nearly all of it, a byte
 * stored in each page, given up): so the background does in both what it has to
 * do, and the difference is first touches and the roll. A round is a process
 * with one segment of each, in turn first. RAW: the second pass over memory of
 * its own at the same rate.
 *
 * The cost is the time within the calls, ten appends between two looks at the
 * clock, without the waiting.
 *
 * Rolls: in a log with segments of 1 MiB each append is timed; what a roll adds
 * is the time of the append that went into a new segment less the median.
 */
#include <stdio.h>
#include <stdlib.h>

#include "experiments.h"
#include "harness.h"
#include "pace.h"
#include "prepared.h"
#include "process.h"
#include "raw_mapped.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define NS_PER_RECORD 1000u
#define GROUP 10u
#define SMALL_BYTES ((uint64_t)1 << 20)
#define ROLLS 200u /* of a round */
#define REST_MS 300u
#define END_BYTES ((uint64_t)64 << 10)

enum { FIRST, STEADY, RAW, SIDES };

typedef struct first_job {
  char dir[PATH_BYTES];
  size_t round;
  uint64_t rolls;
  double cost[SIDES];             /* ns an append */
  double median, p99, p50, worst; /* of rolls, what they add */
} first_job;

static bool append(duralog *log, const workload *work, uint64_t i) {
  return went_well("append", duralog_append(log, workload_record(work, i),
                                            work->size, NULL));
}

/* ---------------------------------------------------------- first pass -- */

/* Paced; `log` NULL: RAW. Gives the time within appends, per record. */
static bool paced(duralog *log, raw_mapped *raw, uint64_t count, double *cost) {
  workload work = workload_make(RECORD_BYTES, count, 0);
  uint64_t inside = 0, begin = now_ns();
  for (uint64_t i = 0; i < count; i += GROUP) {
    uint64_t start = pace_until(begin + i * NS_PER_RECORD);
    for (uint64_t k = i; k < i + GROUP; k++) {
      if (!log)
        raw_mapped_append(raw, workload_record(&work, k), RECORD_BYTES);
      else if (!append(log, &work, k))
        return false;
    }
    inside += now_ns() - start;
  }
  *cost = (double)inside / (double)count;
  return true;
}

/* As fast as it goes, from position *at in the segment to shortly before its
 * end, as far as sizes of frames tell. */
static bool fill(duralog *log, uint64_t *at) {
  uint64_t step = frame_bytes(RECORD_BYTES);
  workload work = workload_make(RECORD_BYTES, 0, 0);
  for (uint64_t i = 0; *at < SEGMENT_BYTES - END_BYTES; i++, *at += step)
    if (!append(log, &work, i)) return false;
  return true;
}

/* On until the next segment is in use. */
static bool roll(duralog *log) {
  duralog_stats stats = {.struct_size = sizeof stats};
  workload work = workload_make(RECORD_BYTES, 0, 0);
  if (!went_well("stats", duralog_get_stats(log, &stats))) return false;
  uint64_t before = stats.rolls;
  for (uint64_t i = 0; stats.rolls == before; i++)
    if (!append(log, &work, i) ||
        !went_well("stats", duralog_get_stats(log, &stats)))
      return false;
  return true;
}

static bool one_segment(duralog *log, uint64_t *at, int side, double *cost) {
  uint64_t bytes = SEGMENT_BYTES;
  if (!fill(log, at)) return false;
  pause_ms(REST_MS);
  if (side == STEADY) {
    bytes -= 2 * END_BYTES;
    if (!roll(log) || !log_touch_ahead(log, bytes)) return false;
    *at = bytes;
  }
  uint64_t records = bytes / frame_bytes(RECORD_BYTES);
  return paced(log, NULL, records / GROUP * GROUP, cost);
}

static bool raw_pass(first_job *job) {
  raw_mapped raw;
  double first;
  uint64_t records = SEGMENT_BYTES / 2 / frame_bytes(RECORD_BYTES);
  records -= records % GROUP;
  bool good = raw_mapped_make(&raw, job->dir, "raw", SEGMENT_BYTES / 2,
                              RAW_POPULATED) &&
              paced(NULL, &raw, records, &first) &&
              paced(NULL, &raw, records, &job->cost[RAW]);
  raw_mapped_end(&raw);
  return good;
}

static bool first_work(void *argument) {
  first_job *job = argument;
  duralog *log;
  char dir[PATH_BYTES];
  duralog_durability pagecache = {.pagecache = true};
  uint64_t at = 8192; /* about */
  int side = job->round % 2 ? STEADY : FIRST;
  if (!raw_pass(job) || !scratch_sub(dir, job->dir, "log")) return false;
  return log_open_with(dir, pagecache, SEGMENT_BYTES, &log) &&
         one_segment(log, &at, side, &job->cost[side]) &&
         one_segment(log, &at, FIRST + STEADY - side,
                     &job->cost[FIRST + STEADY - side]);
}

/* --------------------------------------------------------------- rolls -- */

/* What the appends that went into a new segment took more than the median;
 * offset 0 is the record that opening appends. */
static bool find_rolls(first_job *job, duralog *log, const uint32_t *ns,
                       uint64_t count, latencies *rolls) {
  duralog_segment segment = {.struct_size = sizeof segment};
  latencies all;
  if (!latencies_make(&all, count)) return false;
  for (uint64_t i = 0; i < count; i++) latencies_add(&all, ns[i]);
  job->median = latencies_percentile(&all, 50);
  latencies_free(&all);
  for (size_t i = 1; rolls->count < rolls->room; i++) {
    duralog_error error = duralog_get_segment(log, i, &segment);
    if (error == DURALOG_E_RANGE) break;
    if (!went_well("segment", error)) return false;
    if (segment.first == 0 || segment.first > count) continue;
    double more = ns[segment.first - 1] - job->median;
    latencies_add(rolls, more > 0 ? (uint64_t)more : 0);
  }
  return rolls->count > 0;
}

static bool rolls_work(void *argument) {
  first_job *job = argument;
  duralog *log;
  latencies rolls;
  duralog_durability pagecache = {.pagecache = true};
  uint64_t count = job->rolls * SMALL_BYTES / frame_bytes(RECORD_BYTES);
  workload work = workload_make(RECORD_BYTES, count, 0);
  uint32_t *ns = calloc(count, sizeof *ns);
  if (!ns || !latencies_make(&rolls, job->rolls + 8) ||
      !log_open_with(job->dir, pagecache, SMALL_BYTES, &log))
    return false;
  pause_ms(REST_MS);
  uint64_t begin = now_ns();
  for (uint64_t i = 0; i < count; i++) {
    uint64_t start = pace_until(begin + i * NS_PER_RECORD);
    if (!append(log, &work, i)) return false;
    uint64_t took = now_ns() - start;
    ns[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
  }
  if (!find_rolls(job, log, ns, count, &rolls)) return false;
  job->p50 = latencies_percentile(&rolls, 50);
  job->p99 = latencies_percentile(&rolls, 99);
  job->worst = latencies_percentile(&rolls, 100);
  return true;
}

/* -------------------------------------------------------------- report -- */

static bool in_directory(first_job *job, bool (*work)(void *),
                         const settings *with) {
  if (!scratch_sub(job->dir, with->scratch, "first")) return false;
  bool good = run_in_child(work, job);
  scratch_drop(job->dir);
  return good;
}

typedef struct first_series {
  series cost[SIDES], median, p50, p99, worst;
} first_series;

static void first_report(const first_series *all) {
  series ratio = series_ratio(&all->cost[FIRST], &all->cost[STEADY]);
  series raw = series_ratio(&all->cost[STEADY], &all->cost[RAW]);
  table_series("first pass over a segment", UNIT_NS, &all->cost[FIRST]);
  table_series("steady: touched before", UNIT_NS, &all->cost[STEADY]);
  table_series("raw, second pass", UNIT_NS, &all->cost[RAW]);
  table_figure("3: first pass vs steady, time", "first_pass_vs_steady",
               UNIT_PLAIN, &ratio, (goal){GOAL_AT_MOST, 1.15});
  table_figure("steady at 1 M/s vs raw, time", "steady_vs_raw", UNIT_PLAIN,
               &raw, no_goal);
  table_series("1 MiB segments: an append, median", UNIT_NS, &all->median);
  table_series("a roll adds, median", UNIT_NS, &all->p50);
  table_series("a roll adds, most", UNIT_NS, &all->worst);
  table_figure("3: a roll adds, p99, 1 MiB segments", "roll_adds_p99_ns",
               UNIT_NS, &all->p99, (goal){GOAL_AT_MOST, 50000});
}

bool experiment_first_pass(const settings *with) {
  first_series all = {0};
  first_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  job->rolls = with->quick ? ROLLS / 2 : ROLLS;
  table_section("New segments at a steady 1 M records/s, 100 B",
                "time within the appends, the clock's included");
  for (job->round = 0; job->round < with->rounds; job->round++) {
    if (!in_directory(job, first_work, with) ||
        !in_directory(job, rolls_work, with))
      return false;
    for (size_t k = 0; k < SIDES; k++) series_add(&all.cost[k], job->cost[k]);
    series_add(&all.median, job->median);
    series_add(&all.p50, job->p50);
    series_add(&all.p99, job->p99);
    series_add(&all.worst, job->worst);
  }
  first_report(&all);
  return true;
}
