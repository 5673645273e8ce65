/* SPDX-License-Identifier: MIT
 *
 * Durable appends by several threads, which share their syncs.
 */
#include <pthread.h>
#include <time.h>

#include "experiments.h"
#include "pair.h"

#define THREADS_MAX 32
#define START_NS 5000000u /* in which the threads are started */

typedef struct crew {
  pair *both;
  int side; /* which of the pair */
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
  const contender *who = all->both->who[all->side];
  void *log = all->both->log[all->side];
  me->good = true;
  sleep_until(all->begin_ns);
  while (me->good && now_ns() < all->end_ns) {
    const void *data = workload_record(all->work, me->done);
    me->good = who->append_one(log, data, all->work->size);
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

typedef struct group_side {
  const char *label, *ratio_label;
  int side;
  unsigned threads;
  series rate;
} group_side;

#define GROUP_SIDES 4u

static bool group_rounds(pair *both, group_side *sides, const settings *with) {
  workload work = workload_make(DURABLE_SIZE, 1, 0);
  crew all = {.both = both, .work = &work};
  uint64_t slice_ns = with->quick ? 100000000 : 250000000;
  for (size_t r = 0; r < with->rounds; r++)
    for (size_t turn = 0; turn < GROUP_SIDES; turn++) {
      group_side *s = &sides[(r + turn) % GROUP_SIDES];
      double rate;
      all.side = s->side;
      if (!crew_run(&all, s->threads, slice_ns, &rate)) return false;
      series_add(&s->rate, rate);
    }
  return true;
}

static void group_report(const group_side *sides) {
  for (size_t i = 0; i < GROUP_SIDES; i++)
    table_series(sides[i].label, UNIT_RATE, &sides[i].rate);
  for (size_t i = 0; i < GROUP_SIDES - 1; i++) {
    series ratio = series_ratio(&sides[i].rate, &sides[GROUP_SIDES - 1].rate);
    table_figure(sides[i].ratio_label, NULL, UNIT_PLAIN, &ratio, no_goal);
  }
}

bool experiment_group(const settings *with) {
  pair both;
  group_side sides[GROUP_SIDES] = {
      {"duralog, 1 thread", "1 thread vs raw", 0, 1, {0}},
      {"duralog, 8 threads", "8 threads vs raw's one", 0, 8, {0}},
      {"duralog, 32 threads", "32 threads vs raw's one", 0, 32, {0}},
      {"raw: pwrite, fdatasync, 1 thread", NULL, 1, 1, {0}},
  };
  table_section("Durable append, 100 B, group commit", NULL);
  bool good =
      pair_open(&both, with->scratch) && group_rounds(&both, sides, with);
  if (good) group_report(sides);
  pair_close(&both);
  return good;
}
