/* SPDX-License-Identifier: MIT
 *
 * Simulated threads, and a search through their schedules: a decorator around
 * any implementation of the I/O interface, normally the simulated disk.
 *
 * The threads are coroutines on one real thread. They are switched at each
 * STEP, each sync, wait and wake, and, if asked for, at each atomic access of
 * the instrumented library (base.h), and nowhere else: the same schedule is the
 * same run. Memory is sequentially consistent here; what the weaker orders
 * allow is left to real threads and ThreadSanitizer.
 *
 * The search is stateless and depth first, by running again, with a bound on
 * preemptions: Musuvathi and Qadeer, "Iterative context bounding for systematic
 * testing of multithreaded programs", 2007 (CHESS). A thread that could go on
 * and is switched away from costs one; which of those runs that can, once the
 * running one sleeps or ends, is free; so is whom a wake wakes. A sleeper with
 * a deadline may be chosen before others are done, for one preemption: time
 * passes, the others are slow.
 *
 * Three rules keep the search small and lose nothing but equals, as long as
 * plain memory is guarded by atomic words. An access to a word that no other
 * thread uses, or that nobody stores to, is no place to switch: to be preempted
 * before it is to be preempted behind it. (Which words those are is learned by
 * some runs at random, and while running, until nothing new is learned.) A load
 * repeated with nothing in between, as in a spin, is one. Of threads that do
 * the same and have not begun, one is as good as the other.
 *
 * Where nobody can run the clock jumps to the earliest deadline; where there is
 * none either it is a deadlock, that is a lost wake-up, and the run has failed.
 */
#ifndef DURALOG_IO_THREADS_H
#define DURALOG_IO_THREADS_H

#include "io.h"

struct threads;

/* One at a time. The memory that logs ask for comes from an arena of its own,
 * so that words have the same addresses in each run. */
struct threads *threads_new(void);
void threads_free(struct threads *);

/* What fence_all answers. Where it does not work both sides fence. */
enum threads_fence {
  FENCE_WORKS,
  FENCE_REFUSED,
  FENCE_LOST /* it worked once, when the log was opened */
};

struct threads_options {
  io_env *inner;
  enum threads_fence fence;
  bool atomics;         /* switch at atomic accesses, too */
  bool slow_syncs;      /* a sync takes time, in which others run */
  unsigned preemptions; /* the bound */
  /* Called at each place where threads may be switched, with the name of the
   * step, or "wake" and "woken", or NULL. */
  void (*watch)(void *context, const char *step);
  void *context;
};

/* ---- one run ---- */

/* Begin a run: no threads, clock as inner's. */
io_env *threads_begin(struct threads *, const struct threads_options *);
/* One more thread; it does not run before threads_run. Its number. Threads of
 * the same `kind` (not NULL) do the same: of those that have not begun only the
 * first is tried. */
int threads_spawn(struct threads *, void (*body)(void *), void *context,
                  const void *kind);
/* Run all to their end. False: the run has failed, and its threads are
 * abandoned in the middle of what they did. */
bool threads_run(struct threads *);
/* What failed, or NULL. */
const char *threads_failure(const struct threads *);
/* The run has failed; does not return to a simulated thread. */
__attribute__((format(printf, 2, 3))) void threads_fail(struct threads *,
                                                        const char *format,
                                                        ...);

/* End the run here, as it is: its threads are abandoned. */
void threads_leave(struct threads *);

int threads_current(const struct threads *);             /* -1: none runs */
bool threads_asleep(const struct threads *, int thread); /* in a wait */
/* Let virtual time pass for this thread. */
void threads_sleep(struct threads *, uint64_t ns);
/* A time limit has passed while others could have run. */
bool threads_hurried(const struct threads *);
/* Switch only where a thread sleeps: for checks in the middle of a run. */
void threads_quiet(struct threads *, bool quiet);
/* Places where threads could be switched so far in this run. */
uint64_t threads_points(const struct threads *);

/* A gate: the thread is not run from its k-th step, sync, wait or wake on (1 =
 * the first) until nobody else can run at any time, or the gate is opened. */
void threads_gate(struct threads *, int thread, uint64_t k);
void threads_gate_open(struct threads *);
bool threads_gate_closed(const struct threads *); /* someone stands there */
bool threads_gate_reached(const struct threads *);
bool threads_gate_forced(const struct threads *); /* nobody else could run */

/* ---- the search ---- */

/* Begin a search: the next run is the first. */
void threads_search(struct threads *);
/* After a run: prepare the next one; false where all were. */
bool threads_next(struct threads *);
/* The schedule of the last run as text, "-" or "point:thread,..." for each
 * place where it left the default; and a run of one. */
const char *threads_schedule(struct threads *);
bool threads_replay(struct threads *, const char *schedule);

#endif
