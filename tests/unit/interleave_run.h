/* SPDX-License-Identifier: MIT
 *
 * Runs a scenario once for each of its schedules, and one schedule again: what
 * the programs of interleavings share.
 *
 *   test_interleave [PATTERN]
 *   test_interleave replay SCENARIO SCHEDULE
 */
#ifndef INTERLEAVE_RUN_H
#define INTERLEAVE_RUN_H

#include <signal.h>

#include "interleave.h"

enum { SCENARIO_THREADS = 5, CUT_EVERY = 8 };

struct scenario {
  const char *name;
  duralog_durability durability;
  bool own_threads;
  duralog_sync_wanted *sync_wanted; /* its context is NULL */
  bool large;                       /* the threads append large records */
  bool padded;
  void (*before)(struct world *);
  void (*bodies[SCENARIO_THREADS])(struct world *);
  void (*after)(struct world *);                /* besides check_log */
  void (*recovered)(struct world *, duralog *); /* after a power cut */
  bool closes;                                  /* in its last thread */
  bool slow_syncs;
  uint64_t runs_max;       /* 0: all there are */
  unsigned steps, atomics; /* bounds; 0: only the default schedule */
};

/* ---- one run of a scenario ---- */

struct job {
  const struct scenario *scenario;
  enum threads_fence fence;
  int gate_thread;    /* one of enum worker_kind, or -1 */
  uint64_t gate_at;   /* which of its switch points */
  uint64_t cut_after; /* appends that return; 0: no cut */
};

static struct {
  const char *program;
  struct threads *threads;
  struct job job;
  uint64_t schedules, deepest;
  const struct scenario *const *scenarios;
  size_t count;
} now;

/* "scenario" or "scenario,fence,thread,at,cut". */
static inline void print_replay(void) {
  const struct job *j = &now.job;
  fprintf(stderr, "replay: %s replay %s,%d,%d,%llu,%llu %s\n", now.program,
          j->scenario->name, (int)j->fence, j->gate_thread,
          (unsigned long long)j->gate_at, (unsigned long long)j->cut_after,
          threads_schedule(now.threads));
}

static inline void crashed(int signal_number) {
  print_replay();
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

struct actor {
  struct world *world;
  void (*body)(struct world *);
};

static inline void actor_main(void *context) {
  struct actor *a = context;
  struct world *w = a->world;
  a->body(w);
  if (--w->running || !now.job.scenario->closes) return;
  /* The others can go on, unless what they need is held behind the gate. */
  HOLDS(w, !threads_gate_forced(w->threads) || w->gate_held);
  threads_quiet(w->threads, true);
  check_log(w);
  threads_quiet(w->threads, false);
  duralog_error error = duralog_close(&w->log);
  HOLDS(w, error == DURALOG_OK);
  w->promised = w->published;
}

static inline void world_begin(struct world *w, bool atomics, unsigned bound) {
  const struct scenario *s = now.job.scenario;
  *w = (struct world){
      .threads = now.threads,
      .sim = sim_new(),
      .durability = s->durability,
      .own_threads = s->own_threads,
      .sync_wanted = s->sync_wanted,
      .recovered = s->recovered,
      .padded = s->padded,
      .n = s->durability.sync_every_bytes
               ? s->durability.sync_every_bytes / TEXT_FRAME_BYTES
               : s->durability.sync_every_records,
      .interval_ns = s->durability.sync_interval_ms * NS_PER_MS,
      .record_bytes = s->large ? FILL_BYTES : TEXT_MAX,
      .cut_after = now.job.cut_after,
      .preempted = bound > 0,
      .gate_thread = now.job.gate_thread};
  struct threads_options o = {.inner = sim_environment(w->sim),
                              .fence = now.job.fence,
                              .atomics = atomics,
                              .slow_syncs = s->slow_syncs,
                              .preemptions = bound,
                              .watch = world_watch,
                              .context = w};
  w->io = threads_begin(now.threads, &o);
}

/* Threads with the same body are told apart by their number alone. */
static inline const void *kind_of(const struct scenario *s, int i) {
  int first = 0;
  while (s->bodies[first] != s->bodies[i]) first++;
  return &s->bodies[first];
}

/* The power failed when a call had just returned, at any moment. */
static inline void check_interval_after_cut(struct world *w, uint64_t at) {
  uint64_t kept = check_after_cut(w);
  for (uint64_t i = kept; w->interval_ns && i < w->published; i++)
    HOLDS(w, !w->returned[i] || w->returned_at[i] + w->interval_ns >= at);
}

static inline void check_world(struct world *w, bool cut) {
  const struct scenario *s = now.job.scenario;
  if (now.job.cut_after && w->returns == now.job.cut_after) {
    if (!w->preempted) check_interval_after_cut(w, w->io->now(w->io));
    return;
  }
  if (w->log) check_log(w);
  if (s->after) s->after(w);
  if (cut) check_after_cut(w);
}

static inline bool run_once(bool atomics, unsigned bound, bool cut) {
  const struct scenario *s = now.job.scenario;
  struct actor actors[SCENARIO_THREADS];
  struct world w;
  world_begin(&w, atomics, bound);
  if (world_open(&w)) s->before(&w);
  for (int i = 0; i < SCENARIO_THREADS && s->bodies[i]; i++) {
    actors[i] = (struct actor){&w, s->bodies[i]};
    if (threads_spawn(now.threads, actor_main, &actors[i], kind_of(s, i)) >= 0)
      w.running++;
  }
  threads_gate(now.threads, now.job.gate_thread, now.job.gate_at);
  bool ok = !threads_failure(now.threads) && threads_run(now.threads);
  if (ok) check_world(&w, cut);
  now.schedules++;
  now.deepest = max_u64(now.deepest, threads_points(now.threads));
  sim_free(w.sim);
  return !threads_failure(now.threads);
}

static inline void failed(void) {
  fprintf(stderr, "%s: %s\n", now.job.scenario->name,
          threads_failure(now.threads));
  print_replay();
}

static inline unsigned more(unsigned bound) {
  const char *by = getenv("INTERLEAVE_MORE");
  return bound + (by ? (unsigned)atoi(by) : 0);
}

/* All schedules with at most so many preemptions. */
static inline void explore(bool atomics, unsigned bound) {
  uint64_t runs = 0;
  threads_search(now.threads);
  bool ok;
  do {
    ok = run_once(atomics, bound, runs++ % CUT_EVERY == 0);
    if (now.job.scenario->runs_max == runs) break;
  } while (ok && threads_next(now.threads));
  if (!ok) failed();
  CHECK(ok);
  if (getenv("INTERLEAVE_COUNTS"))
    printf("%s fence %d %s %u: %llu schedules\n", now.job.scenario->name,
           (int)now.job.fence, atomics ? "atomics" : "steps", bound,
           (unsigned long long)runs);
}

static inline void explore_both(const struct scenario *s,
                                enum threads_fence fence) {
  now.job = (struct job){.scenario = s, .fence = fence, .gate_thread = -1};
  explore(false, more(s->steps));
  explore(true, more(s->atomics));
}

/* One schedule: nobody is preempted. */
static inline void run_default(void) {
  CHECK(threads_replay(now.threads, "-"));
  bool ok = run_once(false, 0, true);
  if (!ok) failed();
  CHECK(ok);
}

/* ---- a program of such tests ---- */

static inline bool job_parse(const char *text) {
  char name[64] = "";
  int fence = 0, gate = -1;
  unsigned long long at = 0, cut = 0;
  if (sscanf(text, "%63[^,],%d,%d,%llu,%llu", name, &fence, &gate, &at, &cut) <
      1)
    return false;
  for (size_t i = 0; i < now.count; i++) {
    if (strcmp(name, now.scenarios[i]->name) != 0) continue;
    now.job = (struct job){now.scenarios[i], (enum threads_fence)fence, gate,
                           at, cut};
    return true;
  }
  return false;
}

static inline int replay(const char *job, const char *schedule) {
  if (!job_parse(job) || !threads_replay(now.threads, schedule)) {
    fprintf(stderr, "no such scenario or schedule\n");
    return 2;
  }
  bool ok = run_once(false, strcmp(schedule, "-") != 0, true);
  if (!ok) failed();
  printf("%s\n", ok ? "ok" : "failed");
  return !ok;
}

static inline int interleave_main(int argc, char **argv,
                                  const struct scenario *const *scenarios,
                                  size_t scenario_count,
                                  const struct test *tests, size_t count) {
  now.program = argv[0];
  now.scenarios = scenarios;
  now.count = scenario_count;
  now.threads = threads_new();
  if (!now.threads) return 1;
  signal(SIGABRT, crashed);
  signal(SIGSEGV, crashed);
  int status = argc == 4 && strcmp(argv[1], "replay") == 0
                   ? replay(argv[2], argv[3])
                   : test_main(argc, argv, tests, count);
  threads_free(now.threads);
  printf("schedules %llu\n", (unsigned long long)now.schedules);
  printf("deepest_switch_points %llu\n", (unsigned long long)now.deepest);
  return status;
}

#endif
