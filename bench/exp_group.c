/* SPDX-License-Identifier: MIT
 *
 * Durable appends by several threads: who shares syncs, and how well. All
 * contenders are open at once and take turns in slices of time.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "experiments.h"
#include "harness.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define THREADS_MAX 32
#define START_NS 5000000u /* in which the threads are started */

typedef struct crew {
  const contender *who;
  void *log;
  const workload *work;
  uint64_t begin_ns, end_ns; /* of the slice, on the monotonic clock */
} crew;

typedef struct worker {
  crew *all;
  pthread_t thread;
  uint64_t done;
  bool good;
} worker;

static void sleep_until(uint64_t ns) {
  struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u),
                       .tv_nsec = (long)(ns % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
    ;
}

static void *worker_run(void *argument) {
  worker *me = argument;
  const crew *all = me->all;
  me->good = true;
  sleep_until(all->begin_ns);
  while (me->good && now_ns() < all->end_ns) {
    const void *data = workload_record(all->work, me->done);
    me->good = all->who->append_one(all->log, data, all->work->size);
    me->done++;
  }
  return NULL;
}

/* Let `threads` append for one slice of time. */
static bool crew_run(crew *all, unsigned threads, uint64_t slice_ns,
                     double *rate) {
  worker workers[THREADS_MAX] = {0};
  unsigned started = 0;
  uint64_t done = 0;
  all->begin_ns = now_ns() + START_NS;
  all->end_ns = all->begin_ns + slice_ns;
  for (; started < threads; started++) {
    worker *w = &workers[started];
    w->all = all;
    if (pthread_create(&w->thread, NULL, worker_run, w) != 0) break;
  }
  bool good = started == threads;
  for (unsigned i = 0; i < started; i++) {
    pthread_join(workers[i].thread, NULL);
    done += workers[i].done;
    good = good && workers[i].good;
  }
  *rate = (double)done * 1e9 / (double)(now_ns() - all->begin_ns);
  return good;
}

/* ------------------------------------------------------------- lineup -- */

enum { LOG, RAW_ONE, RAW_GROUP, WRITE, OTHERS };
#define MEMBERS (OTHERS + PEERS)
static const unsigned thread_counts[] = {1, 8, 32};
#define COUNTS 3u

typedef struct member {
  const contender *who;
  char dir[PATH_BYTES];
  void *log; /* NULL: it does not take part */
  series rate[COUNTS];
} member;

static bool lineup_open(member *all, const settings *with) {
  static const contender *const first[OTHERS] = {
      &contender_duralog, &contender_raw, &contender_raw_group,
      &contender_write};
  for (size_t m = 0; m < MEMBERS; m++) {
    all[m].who = m < OTHERS ? first[m] : peers[m - OTHERS];
    if (!all[m].who->open) continue;
    if (!scratch_sub(all[m].dir, with->scratch, all[m].who->name)) return false;
    all[m].log = all[m].who->open(all[m].dir, MODE_DURABLE, 0);
    if (!all[m].log) return false;
  }
  return true;
}

static void lineup_close(member *all) {
  for (size_t m = 0; m < MEMBERS; m++) {
    if (all[m].log) all[m].who->close(all[m].log);
    if (all[m].dir[0]) scratch_drop(all[m].dir);
  }
}

/* RAW alone writes from one thread, RAW's group from several. */
static bool takes_part(const member *all, size_t m, size_t count) {
  if (!all[m].log) return false;
  return count == 0 ? m != RAW_GROUP : m != RAW_ONE;
}

/* ------------------------------------------------------------- rounds -- */

static bool group_slice(member *m, size_t count, uint64_t slice_ns) {
  workload work = workload_make(RECORD_BYTES, 1, 0);
  crew all = {.who = m->who, .log = m->log, .work = &work};
  double rate;
  if (!crew_run(&all, thread_counts[count], slice_ns, &rate)) return false;
  series_add(&m->rate[count], rate);
  return true;
}

static bool group_rounds(member *all, const settings *with) {
  uint64_t slice_ns = with->quick ? 60000000 : 200000000;
  const size_t sides = MEMBERS * COUNTS;
  for (size_t r = 0; r < with->rounds; r++)
    for (size_t turn = 0; turn < sides; turn++) {
      size_t side = (r * 5 + turn) % sides, m = side % MEMBERS;
      size_t count = side / MEMBERS;
      if (takes_part(all, m, count) && !group_slice(&all[m], count, slice_ns))
        return false;
    }
  return true;
}

/* Of those that are there; in each round the best of that round. */
static series best_peer(const member *all, size_t count) {
  series best = {0};
  for (size_t m = WRITE; m < MEMBERS; m++)
    if (all[m].log) series_keep_best(&best, &all[m].rate[count]);
  return best;
}

static void group_ratio(const char *label, const char *name, const series *log,
                        const series *other, goal wanted) {
  series ratio = series_ratio(log, other);
  table_figure(label, name, UNIT_PLAIN, &ratio, wanted);
}

static void group_report(const member *all) {
  char label[80];
  for (size_t count = 0; count < COUNTS; count++)
    for (size_t m = 0; m < MEMBERS; m++) {
      if (!takes_part(all, m, count)) continue;
      snprintf(label, sizeof label, "%s, %u thread%s", all[m].who->name,
               thread_counts[count], count ? "s" : "");
      table_series(label, UNIT_RATE, &all[m].rate[count]);
    }
  const series *log = all[LOG].rate;
  series best[COUNTS];
  for (size_t count = 0; count < COUNTS; count++)
    best[count] = best_peer(all, count);
  group_ratio("1 thread vs the best peer", "durable_1thread_vs_best_peer",
              &log[0], &best[0], no_goal);
  group_ratio("4: 8 threads vs raw, leader and followers",
              "durable_8threads_vs_raw", &log[1], &all[RAW_GROUP].rate[1],
              (goal){GOAL_AT_LEAST, 1.0});
  group_ratio("4: 8 threads vs the best peer", "durable_8threads_vs_best_peer",
              &log[1], &best[1], (goal){GOAL_AT_LEAST, 1.4});
  group_ratio("32 threads vs raw, leader and followers",
              "durable_32threads_vs_raw", &log[2], &all[RAW_GROUP].rate[2],
              no_goal);
  group_ratio("4: 32 threads vs the best peer",
              "durable_32threads_vs_best_peer", &log[2], &best[2],
              (goal){GOAL_AT_LEAST, 1.5});
}

bool experiment_group(const settings *with) {
  static member all[MEMBERS];
  table_section("Durable append, 100 B, 1, 8 and 32 threads",
                "the best peer is taken round by round");
  bool good = lineup_open(all, with) && group_rounds(all, with);
  if (good) group_report(all);
  lineup_close(all);
  return good;
}
