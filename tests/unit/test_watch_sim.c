/* SPDX-License-Identifier: MIT
 *
 * Watches in the simulated world, where it can be asked of a descriptor when it
 * becomes readable. What has to hold at every moment is one sentence: a
 * descriptor that is not readable belongs to a watch that gave all there is,
 * and one for ticks is readable by the time that one is due (I31). Held after
 * every call of random stories, in every mode, and after every interleaving of
 * a take with appends, syncs and kicks.
 */
#include <errno.h>
#include <poll.h>

#include "io_sim.h"
#include "io_threads.h"
#include "log.h"
#include "support.h"

#define DIRECTORY "/log"

enum { KINDS = 3 };

struct watched {
  struct sim *sim;
  io_env *io;
  duralog_options options;
  duralog *log;
  duralog_watch *watch[KINDS];
  uint64_t taken[KINDS];
};

static uint64_t readable_at(const struct watched *w, int kind) {
  return sim_event_at(w->sim, duralog_watch_descriptor(w->watch[kind]));
}

static bool readable(const struct watched *w, int kind) {
  return readable_at(w, kind) <= w->io->now(w->io);
}

static void watched_begin(struct watched *w, duralog_durability durability) {
  *w = (struct watched){.sim = sim_new()};
  w->options = small_options();
  w->options.segment_bytes = 16 << 10;
  w->options.host_driven = true;
  w->options.durability = durability;
  w->options.environment = w->io = sim_environment(w->sim);
  sim_set_blind(w->sim, true);
}

static void watched_open(struct watched *w) {
  w->log = open_with(DIRECTORY, &w->options);
  for (int i = 0; i < KINDS; i++) {
    CHECK_OK(duralog_watch_open(w->log, (duralog_watched)i, &w->watch[i]));
    CHECK(readable(w, i));
  }
}

static void watched_end(struct watched *w) {
  for (int i = 0; i < KINDS; i++)
    if (w->watch[i]) CHECK_OK(duralog_watch_close(&w->watch[i]));
  close_log(w->log);
  CHECK_EQUAL(sim_open_handles(w->sim), 0);
  CHECK_EQUAL(sim_allocations(w->sim), 0);
  sim_free(w->sim);
}

static void take(struct watched *w, int kind) {
  CHECK_OK(duralog_watch_take(w->watch[kind], &w->taken[kind]));
}

static uint64_t mark_now(const struct watched *w, int kind) {
  return atomic_load(kind == DURALOG_WATCH_END ? &w->log->end
                                               : &w->log->durable);
}

/* What is missed, or NULL. */
static const char *missed(const struct watched *w, int kind) {
  uint64_t now = w->io->now(w->io);
  if (kind != DURALOG_WATCH_TICK)
    return mark_now(w, kind) > w->taken[kind] && !readable(w, kind)
               ? "the watermark moved"
               : NULL;
  uint64_t due = background_deadline(w->log);
  if (due == NONE) return NULL;
  return readable_at(w, kind) > max_u64(due, now) ? "a tick is due" : NULL;
}

static void check_all(const struct watched *w) {
  for (int i = 0; i < KINDS; i++)
    if (w->watch[i] && missed(w, i))
      test_failed(__FILE__, __LINE__, "watch %d: %s, and it is not readable", i,
                  missed(w, i));
}

/* ---- what a level is ---- */

static void it_is_readable_from_a_move_to_the_next_take(struct test_place *at) {
  struct watched w;
  (void)at;
  watched_begin(&w, (duralog_durability){.pagecache = true});
  watched_open(&w);
  for (int i = 0; i < 2; i++) take(&w, i);
  CHECK(!readable(&w, 0) && !readable(&w, 1));
  append_numbers(w.log, 0, 1);
  CHECK(readable(&w, 0) && !readable(&w, 1));
  append_numbers(w.log, 1, 2);
  CHECK(readable(&w, 0));
  take(&w, 0);
  CHECK_EQUAL(w.taken[0], 3);
  CHECK(!readable(&w, 0));
  take(&w, 0); /* the same again: nothing is lost or gained by it */
  CHECK_EQUAL(w.taken[0], 3);
  CHECK(!readable(&w, 0));
  CHECK_OK(duralog_sync(w.log));
  CHECK(!readable(&w, 0) && readable(&w, 1));
  take(&w, 1);
  CHECK_EQUAL(w.taken[1], 3);
  CHECK(!readable(&w, 1));
  CHECK_OK(duralog_sync(w.log)); /* moves nothing */
  CHECK(!readable(&w, 1));
  watched_end(&w);
}

static void a_tick_is_wanted_when_it_is_due(struct test_place *at) {
  struct watched w;
  const int tick = DURALOG_WATCH_TICK;
  (void)at;
  watched_begin(&w, (duralog_durability){.sync_interval_ms = 100});
  watched_open(&w);
  take(&w, tick);
  CHECK_EQUAL(w.taken[tick], UINT64_MAX);
  CHECK_EQUAL(readable_at(&w, tick), NONE);
  append_numbers(w.log, 0, 1); /* the clock begins to run */
  CHECK(readable(&w, tick));
  CHECK_OK(duralog_tick(w.log));
  CHECK_EQUAL(watermarks_of(w.log).durable, 0);
  take(&w, tick);
  CHECK(w.taken[tick] > 50 && w.taken[tick] <= 100);
  CHECK(!readable(&w, tick));
  append_numbers(w.log, 1, 1); /* changes nothing */
  CHECK(!readable(&w, tick));
  sim_advance(w.sim, (w.taken[tick] - 1) * NS_PER_MS);
  CHECK(!readable(&w, tick));
  sim_advance(w.sim, NS_PER_MS);
  CHECK(readable(&w, tick));
  CHECK_OK(duralog_tick(w.log));
  CHECK_EQUAL(watermarks_of(w.log).durable, 2);
  take(&w, tick);
  CHECK_EQUAL(w.taken[tick], UINT64_MAX);
  CHECK(!readable(&w, tick));
  watched_end(&w);
}

/* ---- random stories ---- */

static const duralog_durability modes[] = {
    {0},
    {.sync_every_records = 5},
    {.sync_every_bytes = 2000},
    {.sync_interval_ms = 40},
    {.sync_every_records = 7, .sync_every_bytes = 3000, .sync_interval_ms = 90},
    {.pagecache = true},
};

static bool wants_at_random(void *context, const duralog_unsynced *unsynced) {
  (void)unsynced;
  return random_below(context, 6) == 0;
}

static void append_some(struct watched *w, uint64_t *random) {
  uint8_t bytes[RECORD_BYTES_MAX];
  duralog_entry e[4];
  size_t count = 1 + random_below(random, COUNT_OF(e));
  duralog_level level = (duralog_level)random_below(random, 3);
  memset(bytes, 'x', sizeof bytes);
  for (size_t i = 0; i < count; i++)
    e[i] = (duralog_entry){.data = bytes,
                           .size = random_below(random, sizeof bytes)};
  CHECK_OK(duralog_append_batch(w->log, e, count, level, NULL));
}

static void act(struct watched *w, uint64_t *random) {
  uint64_t end = watermarks_of(w->log).end;
  switch (random_below(random, 9)) {
    case 0:
    case 1:
    case 2: append_some(w, random); break;
    case 3: CHECK_OK(duralog_sync(w->log)); break;
    case 4: CHECK_OK(duralog_tick(w->log)); break;
    case 5: sim_advance(w->sim, random_below(random, 60 * NS_PER_MS)); break;
    case 6:
      if (end) (void)duralog_wait(w->log, end - 1, DURALOG_LEVEL_DURABLE, 0);
      break;
    default: take(w, (int)random_below(random, KINDS)); break;
  }
}

static void live(duralog_durability mode, bool host_policy, uint64_t *random) {
  struct watched w;
  watched_begin(&w, mode);
  if (host_policy) w.options.sync_wanted = wants_at_random;
  w.options.sync_wanted_context = random;
  watched_open(&w);
  for (int i = 0; i < 400; i++) {
    act(&w, random);
    check_all(&w);
  }
  watched_end(&w);
}

static void at_no_moment_of_a_life_is_anything_missed(struct test_place *at) {
  uint64_t random = TEST_SEED;
  (void)at;
  for (int round = 0; round < (SANITIZED ? 4 : 40); round++)
    for (size_t i = 0; i < COUNT_OF(modes); i++)
      for (int policy = 0; policy < 2; policy++) {
        test_note("round %d, mode %zu, policy %d", round, i, policy);
        live(modes[i], policy, &random);
      }
}

/* A host that ticks when it is told to, and not otherwise: the interval holds,
 * nothing is left undone, and it is not told all the time. */
static void a_host_that_ticks_when_told_does_all_there_is(
    struct test_place *at) {
  uint64_t random = TEST_SEED;
  const int tick = DURALOG_WATCH_TICK;
  (void)at;
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    struct watched w;
    uint64_t ticks = 0;
    watched_begin(&w, modes[i]);
    watched_open(&w);
    for (int n = 0; n < 500; n++) {
      if (random_below(&random, 4) == 0) append_some(&w, &random);
      sim_advance(w.sim, NS_PER_MS);
      for (int again = 0; readable(&w, tick); again++) {
        CHECK(again < 4);
        CHECK_OK(duralog_tick(w.log));
        take(&w, tick);
        ticks++;
      }
      CHECK(background_deadline(w.log) > w.io->now(w.io));
      duralog_watermarks m = watermarks_of(w.log);
      if (modes[i].sync_interval_ms)
        CHECK(m.oldest_unsynced_ms <= modes[i].sync_interval_ms);
      if (modes[i].sync_every_records)
        CHECK(m.end - m.durable < modes[i].sync_every_records);
    }
    CHECK(ticks > 1 && ticks < 400);
    duralog_segment s = {.struct_size = sizeof s};
    CHECK_OK(duralog_get_segment(w.log, 0, &s));
    CHECK(s.sealed);
    watched_end(&w);
  }
}

/* A sync that took longer than the last has to begin earlier the next time, and
 * here something was appended behind its capture. */
static struct watched *slow; /* whose sync is: advance, and append amid it */

static int slow_sync(io_env *io, int file, const struct io_part *part,
                     enum io_sync_reason why) {
  struct watched *w = slow;
  duralog_entry e = {.data = "amid", .size = 4};
  slow = NULL;
  if (w) {
    sim_advance(w->sim, 200 * NS_PER_MS);
    CHECK_OK(duralog_append_batch(w->log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
  }
  struct sim *sim = io->world;
  return sim_environment(sim)->file_sync(sim_environment(sim), file, part, why);
}

static void a_slower_sync_makes_the_next_one_due_earlier(
    struct test_place *at) {
  struct watched w;
  struct duralog_environment io;
  duralog_entry e = {.data = "before", .size = 6};
  const int tick = DURALOG_WATCH_TICK;
  (void)at;
  watched_begin(&w, (duralog_durability){.sync_interval_ms = 1000});
  io = *w.options.environment;
  io.file_sync = slow_sync;
  w.options.environment = &io;
  watched_open(&w);
  append_numbers(w.log, 0, 1);
  CHECK_OK(duralog_sync(w.log));
  sim_advance(w.sim, 50 * NS_PER_MS);
  CHECK_OK(duralog_append_batch(w.log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_OK(duralog_tick(w.log));
  take(&w, tick);
  CHECK(!readable(&w, tick));
  slow = &w;
  CHECK_OK(duralog_sync(w.log));
  CHECK(slow == NULL);
  CHECK_EQUAL(watermarks_of(w.log).end, 3);
  CHECK_EQUAL(watermarks_of(w.log).durable, 2);
  check_all(&w);
  watched_end(&w);
}

/* ---- failures ---- */

static void poison_is_told_once_and_ends_the_watch(struct test_place *at) {
  struct watched w;
  uint64_t value = 77;
  (void)at;
  watched_begin(&w, (duralog_durability){.pagecache = true});
  watched_open(&w);
  append_numbers(w.log, 0, 2);
  for (int i = 0; i < KINDS; i++) take(&w, i);
  CHECK(!readable(&w, DURALOG_WATCH_END));
  CHECK(!readable(&w, DURALOG_WATCH_DURABLE));
  append_numbers(w.log, 2, 1); /* not taken yet: it is given before */
  sim_fail_sync(w.sim, 1, false);
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(w.log));
  for (int i = 0; i < KINDS; i++) CHECK(readable(&w, i));
  take(&w, DURALOG_WATCH_END);
  CHECK_EQUAL(w.taken[DURALOG_WATCH_END], 3);
  for (int i = 0; i < KINDS; i++) {
    CHECK(readable(&w, i));
    for (int again = 0; again < 3; again++) {
      CHECK_IS(DURALOG_E_POISONED, duralog_watch_take(w.watch[i], &value));
      CHECK_EQUAL(value, 77);
      CHECK_EQUAL(readable_at(&w, i), NONE);
    }
  }
  duralog_watch *late;
  CHECK_OK(duralog_watch_open(w.log, DURALOG_WATCH_DURABLE, &late));
  CHECK_OK(duralog_watch_take(late, &value)); /* what there was */
  CHECK_EQUAL(value, 0);
  CHECK_IS(DURALOG_E_POISONED, duralog_watch_take(late, NULL));
  CHECK_OK(duralog_watch_close(&late));
  for (int i = 0; i < KINDS; i++) CHECK_OK(duralog_watch_close(&w.watch[i]));
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&w.log));
  CHECK_EQUAL(sim_open_handles(w.sim), 0);
  CHECK_EQUAL(sim_allocations(w.sim), 0);
  sim_free(w.sim);
}

static void without_memory_there_is_no_watch(struct test_place *at) {
  struct watched w;
  duralog_watch *none = NULL;
  (void)at;
  watched_begin(&w, (duralog_durability){0});
  watched_open(&w);
  size_t handles = sim_open_handles(w.sim), pieces = sim_allocations(w.sim);
  sim_fail_alloc(w.sim, 1);
  CHECK_IS(DURALOG_E_RESOURCES,
           duralog_watch_open(w.log, DURALOG_WATCH_END, &none));
  CHECK(none == NULL);
  CHECK_EQUAL(sim_open_handles(w.sim), handles);
  CHECK_EQUAL(sim_allocations(w.sim), pieces);
  watched_end(&w);
}

/* ---- every interleaving ---- */

static struct scene {
  struct threads *threads;
  struct watched w;
  int kind;
  duralog_error error; /* of the take, where one is expected */
  uint64_t appended;
} scene;

static void take_once(void *context) {
  (void)context;
  take(&scene.w, scene.kind);
}

static void take_or_fail(void *context) {
  (void)context;
  scene.error =
      duralog_watch_take(scene.w.watch[scene.kind], &scene.w.taken[scene.kind]);
}

static void fail_to_sync(void *context) {
  (void)context;
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(scene.w.log));
}

static void append_once(void *context) {
  duralog_level *level = context;
  duralog_entry e = {.data = "new", .size = 3};
  CHECK_OK(duralog_append_batch(scene.w.log, &e, 1, *level, NULL));
}

static void append_a_large_one(void *context) {
  static const uint8_t bytes[3800];
  duralog_entry e = {.data = bytes, .size = sizeof bytes};
  (void)context;
  CHECK_OK(
      duralog_append_batch(scene.w.log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
}

static void sync_once(void *context) {
  (void)context;
  CHECK_OK(duralog_sync(scene.w.log));
}

struct cast {
  duralog_watched kind;
  duralog_durability durability;
  void (*first)(void *), (*second)(void *);
  duralog_level level;
  unsigned filled;   /* large records before */
  unsigned unsynced; /* and small ones */
  bool poison;       /* the next sync fails */
};

/* Told, and silent from then on; or not yet, and readable. */
static const char *missed_poison(const struct watched *w, int kind) {
  bool silent = readable_at(w, kind) == NONE;
  if (scene.error != DURALOG_E_POISONED && silent) return "poison is not told";
  if (scene.error == DURALOG_E_POISONED && !silent) return "poison was told";
  return NULL;
}

static void run_scene(const struct cast *c, enum threads_fence fence,
                      unsigned preemptions) {
  struct watched *w = &scene.w;
  duralog_level level = c->level;
  watched_begin(w, c->durability);
  struct threads_options t = {.inner = w->io,
                              .fence = fence,
                              .atomics = true,
                              .preemptions = preemptions};
  w->options.environment = w->io = threads_begin(scene.threads, &t);
  w->log = open_with(DIRECTORY, &w->options);
  append_numbers(w->log, 0, 1);
  for (unsigned i = 0; i < c->filled; i++) append_a_large_one(NULL);
  CHECK_OK(duralog_sync(w->log));
  CHECK_OK(duralog_tick(w->log));
  CHECK_OK(duralog_watch_open(w->log, c->kind, &w->watch[c->kind]));
  duralog_entry e = {.data = "unsynced", .size = 8};
  for (unsigned i = 0; i < c->unsynced; i++)
    CHECK_OK(duralog_append_batch(w->log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
  const int kind = (int)c->kind;
  take(w, kind);
  scene.kind = kind;
  if (c->poison) sim_fail_sync(w->sim, 1, false);
  threads_spawn(scene.threads, c->poison ? take_or_fail : take_once, NULL,
                NULL);
  threads_spawn(scene.threads, c->first, &level, NULL);
  if (c->second) threads_spawn(scene.threads, c->second, &level, NULL);
  if (!threads_run(scene.threads))
    test_failed(__FILE__, __LINE__, "%s; schedule %s",
                threads_failure(scene.threads),
                threads_schedule(scene.threads));
  const char *what = c->poison ? missed_poison(w, kind) : missed(w, kind);
  if (!what && !c->poison) { /* what comes afterwards is seen as well */
    sync_once(NULL);
    what = missed(w, kind);
    append_once(&(duralog_level){DURALOG_LEVEL_WRITTEN});
    if (!what) what = missed(w, kind);
  }
  if (what)
    test_failed(__FILE__, __LINE__,
                "%s, and the descriptor says otherwise; schedule %s", what,
                threads_schedule(scene.threads));
  sim_free(w->sim);
}

static void search(const struct cast *c, enum threads_fence fence,
                   unsigned preemptions) {
  enum { RUNS_MAX = 60 * 1000 };
  uint64_t runs = 0;
  if (SANITIZED) test_skip("simulated threads change stacks");
  scene.threads = threads_new();
  threads_search(scene.threads);
  do {
    run_scene(c, fence, preemptions);
  } while (threads_next(scene.threads) && ++runs < RUNS_MAX);
  print_message("runs %llu\n", (unsigned long long)runs);
  CHECK(runs > 600); /* more than it takes to learn the words */
  threads_free(scene.threads);
  scene.threads = NULL;
}

static void search_fences(const struct cast *c) {
  search(c, FENCE_WORKS, 2);
  search(c, FENCE_REFUSED, 2);
}

/* An append of that moment may not see that anyone watches. */
static void a_take_whose_fence_was_refused_is_followed_by_another(
    struct test_place *at) {
  struct watched *w = &scene.w;
  (void)at;
  if (SANITIZED) test_skip("simulated threads change stacks");
  scene.threads = threads_new();
  threads_search(scene.threads);
  for (int kind = 0; kind < KINDS; kind++) {
    bool fences = kind != DURALOG_WATCH_DURABLE;
    watched_begin(w, (duralog_durability){.pagecache = true});
    struct threads_options t = {.inner = w->io, .fence = FENCE_LOST};
    w->options.environment = w->io = threads_begin(scene.threads, &t);
    watched_open(w);
    take(w, kind);
    CHECK(readable(w, kind) == fences);
    take(w, kind);
    CHECK(!readable(w, kind));
    sim_free(w->sim);
  }
  threads_free(scene.threads);
}

/* ---- every interleaving beside a follower's thread ---- */

static struct {
  struct watched w; /* the writer's */
  duralog *follower;
  duralog_watch *watch;
  duralog_watched kind;
  _Atomic uint32_t set; /* how often a descriptor was */
} bridge;

/* What poll is in the world of simulated threads. */
static void set_and_wake(io_env *io, int event, bool timed, uint64_t at) {
  sim_environment(bridge.w.sim)
      ->event_set(sim_environment(bridge.w.sim), event, timed, at);
  atomic_fetch_add(&bridge.set, 1);
  io->wake(io, &bridge.set, 1);
}

static void take_until_there_is_one(void *context) {
  io_env *io = bridge.w.io;
  uint64_t value = 0;
  (void)context;
  for (;;) {
    CHECK_OK(duralog_watch_take(bridge.watch, &value));
    if (value > 1) break;
    for (;;) {
      uint32_t set = atomic_load(&bridge.set);
      int fd = duralog_watch_descriptor(bridge.watch);
      if (sim_event_at(bridge.w.sim, fd) == 0) break;
      io->wait(io, &bridge.set, set, NONE);
    }
  }
  /* Its thread must not be left in a nap, which would pass for a lost one. */
  append_once(&(duralog_level){DURALOG_LEVEL_DURABLE});
  CHECK_OK(duralog_watch_close(&bridge.watch));
}

static void append_for_the_bridge(void *context) { append_once(context); }

static uint64_t run_bridge(void) {
  struct watched *w = &bridge.w;
  duralog_level level = bridge.kind == DURALOG_WATCH_END
                            ? DURALOG_LEVEL_WRITTEN
                            : DURALOG_LEVEL_DURABLE;
  watched_begin(w, (duralog_durability){.pagecache = true});
  struct threads_options t = {
      .inner = w->io, .fence = FENCE_WORKS, .atomics = true, .preemptions = 2};
  static struct duralog_environment io;
  io = *threads_begin(scene.threads, &t);
  io.event_set = set_and_wake;
  atomic_store(&bridge.set, 0);
  w->options.environment = w->io = &io;
  scene.w.log = w->log = open_with(DIRECTORY, &w->options);
  append_numbers(w->log, 0, 1);
  CHECK_OK(duralog_sync(w->log));
  duralog_options o = w->options;
  o.read_only = true;
  bridge.follower = open_with(DIRECTORY, &o);
  CHECK_OK(duralog_watch_open(bridge.follower, bridge.kind, &bridge.watch));
  threads_spawn(scene.threads, take_until_there_is_one, NULL, NULL);
  threads_spawn(scene.threads, append_for_the_bridge, &level, NULL);
  uint64_t began = io.now(&io);
  if (!threads_run(scene.threads))
    test_failed(__FILE__, __LINE__, "%s; schedule %s",
                threads_failure(scene.threads),
                threads_schedule(scene.threads));
  uint64_t slept = io.now(&io) - began;
  sim_free(w->sim);
  return slept;
}

static void search_bridge(duralog_watched kind) {
  enum { A_NAP_NS = 9 * 1000 * 1000, RUNS_MAX = 40 * 1000 };
  if (SANITIZED) test_skip("simulated threads change stacks");
  uint64_t runs = 0;
  bridge.kind = kind;
  scene.threads = threads_new();
  threads_search(scene.threads);
  do {
    /* Time passes only where nobody can run. */
    uint64_t slept = run_bridge();
    if (slept > A_NAP_NS && !threads_hurried(scene.threads))
      test_failed(__FILE__, __LINE__, "asleep for %llu ns, schedule %s",
                  (unsigned long long)slept, threads_schedule(scene.threads));
  } while (threads_next(scene.threads) && ++runs < RUNS_MAX);
  print_message("runs %llu\n", (unsigned long long)runs);
  CHECK(runs > 600);
  threads_free(scene.threads);
}

static void no_interleaving_leaves_a_followers_watch_asleep(
    struct test_place *at) {
  (void)at;
  search_bridge(DURALOG_WATCH_END);
}

static void no_interleaving_leaves_a_followers_durable_watch_asleep(
    struct test_place *at) {
  (void)at;
  search_bridge(DURALOG_WATCH_DURABLE);
}

/* ---- on real threads ---- */

static _Atomic uint64_t fences;
static _Atomic bool syncs_fail;

static bool counted_fence(io_env *io) {
  atomic_fetch_add(&fences, 1);
  return io_posix()->fence_all(io);
}

static int failing_sync(io_env *io, int file, const struct io_part *part,
                        enum io_sync_reason why) {
  return atomic_load(&syncs_fail) ? -EIO
                                  : io_posix()->file_sync(io, file, part, why);
}

static duralog *open_real(const struct test_place *at, bool read_only) {
  static struct duralog_environment io;
  io = *io_posix();
  io.fence_all = counted_fence;
  io.file_sync = failing_sync;
  duralog_options o = small_pagecache();
  o.host_driven = true;
  o.read_only = read_only;
  o.environment = &io;
  return open_with(at->path, &o);
}

/* What the processor may do without it is seen too seldom to wait for. */
static void each_take_makes_the_fence_that_appends_do_without(
    struct test_place *at) {
  duralog *log = open_real(at, false);
  for (int kind = 0; kind < KINDS; kind++) {
    duralog_watch *watch;
    CHECK_OK(duralog_watch_open(log, (duralog_watched)kind, &watch));
    uint64_t before = atomic_load(&fences);
    for (int i = 0; i < 3; i++) CHECK_OK(duralog_watch_take(watch, NULL));
    CHECK_EQUAL(atomic_load(&fences) - before,
                kind == DURALOG_WATCH_DURABLE ? 0 : 3);
    CHECK_OK(duralog_watch_close(&watch));
  }
  close_log(log);
}

static bool readable_within(const duralog_watch *watch, int ms) {
  struct pollfd p = {.fd = duralog_watch_descriptor(watch), .events = POLLIN};
  return poll(&p, 1, ms) == 1;
}

static duralog_error take_error(duralog_watch *watch) {
  enum { LIMIT_MS = 20 * 1000 };
  duralog_error error;
  do {
    CHECK(readable_within(watch, LIMIT_MS));
    error = duralog_watch_take(watch, NULL);
  } while (error == DURALOG_OK);
  return error;
}

static void a_followed_writers_poison_is_told_once(struct test_place *at) {
  duralog *log = open_real(at, false), *follower = open_real(at, true);
  duralog_watch *watches[2];
  for (int i = 0; i < 2; i++)
    CHECK_OK(duralog_watch_open(follower, (duralog_watched)i, &watches[i]));
  append_numbers(log, 0, 1);
  atomic_store(&syncs_fail, true);
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(log));
  for (int i = 0; i < 2; i++) {
    CHECK_IS(DURALOG_E_POISONED, take_error(watches[i]));
    uint64_t value;
    CHECK_OK(duralog_watch_take(watches[i], &value));
    CHECK_EQUAL(value, i == 0);
  }
  CHECK(!readable_within(watches[0], 250)); /* no thread spins on it */
  CHECK(!readable_within(watches[1], 0));
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&log));
  for (int i = 0; i < 2; i++)
    CHECK_IS(DURALOG_E_NO_WRITER, take_error(watches[i]));
  atomic_store(&syncs_fail, false);
  log = open_real(at, false);
  append_numbers(log, 1, 1);
  for (int i = 0; i < 2; i++) {
    CHECK(readable_within(watches[i], 20 * 1000));
    CHECK_OK(duralog_watch_take(watches[i], NULL));
    CHECK_OK(duralog_watch_close(&watches[i]));
  }
  close_log(follower);
  close_log(log);
}

static void a_followers_watch_needs_a_thread(struct test_place *at) {
  struct watched w;
  duralog_watch *none = NULL;
  (void)at;
  watched_begin(&w, (duralog_durability){0});
  w.log = open_with(DIRECTORY, &w.options);
  duralog_options o = w.options;
  o.read_only = true;
  duralog *follower = open_with(DIRECTORY, &o);
  size_t handles = sim_open_handles(w.sim), pieces = sim_allocations(w.sim);
  /* Here there are no threads. */
  CHECK_IS(DURALOG_E_IO,
           duralog_watch_open(follower, DURALOG_WATCH_END, &none));
  CHECK_IS(DURALOG_E_READ_ONLY,
           duralog_watch_open(follower, DURALOG_WATCH_TICK, &none));
  CHECK(none == NULL);
  CHECK_EQUAL(sim_open_handles(w.sim), handles);
  CHECK_EQUAL(sim_allocations(w.sim), pieces);
  close_log(follower);
  watched_end(&w);
}

static void no_interleaving_with_appends_misses_the_end(struct test_place *at) {
  const struct cast c = {.kind = DURALOG_WATCH_END,
                         .durability = {.pagecache = true},
                         .first = append_once,
                         .second = append_once,
                         .level = DURALOG_LEVEL_WRITTEN};
  (void)at;
  search_fences(&c);
}

static void no_interleaving_with_syncs_misses_durability(
    struct test_place *at) {
  const struct cast c = {.kind = DURALOG_WATCH_DURABLE,
                         .durability = {.pagecache = true},
                         .first = append_once,
                         .second = sync_once,
                         .level = DURALOG_LEVEL_DURABLE};
  (void)at;
  search(&c, FENCE_WORKS, 2);
}

static void no_interleaving_misses_the_clock_that_begins_to_run(
    struct test_place *at) {
  const struct cast c = {.kind = DURALOG_WATCH_TICK,
                         .durability = {.sync_interval_ms = 100},
                         .first = append_once,
                         .second = sync_once,
                         .level = DURALOG_LEVEL_WRITTEN};
  (void)at;
  search_fences(&c);
}

static void no_interleaving_misses_a_reached_bound(struct test_place *at) {
  const struct cast c = {.kind = DURALOG_WATCH_TICK,
                         .durability = {.sync_every_records = 2},
                         .first = append_once,
                         .second = append_once,
                         .level = DURALOG_LEVEL_WRITTEN};
  (void)at;
  search_fences(&c);
}

/* The descriptor is about to be set to the clock's time when another trigger
 * makes the tick due at once. */
static void no_interleaving_misses_a_bound_before_its_time(
    struct test_place *at) {
  const struct cast c = {
      .kind = DURALOG_WATCH_TICK,
      .durability = {.sync_every_records = 3, .sync_interval_ms = 100},
      .first = append_once,
      .second = append_once,
      .level = DURALOG_LEVEL_WRITTEN,
      .unsynced = 1};
  (void)at;
  search_fences(&c);
}

static void no_interleaving_misses_poison_or_tells_it_for_ever(
    struct test_place *at) {
  struct cast c = {.durability = {.pagecache = true},
                   .first = fail_to_sync,
                   .unsynced = 1,
                   .poison = true};
  (void)at;
  for (int kind = 0; kind < KINDS; kind++) {
    c.kind = (duralog_watched)kind;
    search(&c, FENCE_WORKS, 2);
  }
}

/* The next segment is wanted, or there is one to be sealed. */
static void no_interleaving_misses_work_on_segments(struct test_place *at) {
  struct cast c = {.kind = DURALOG_WATCH_TICK,
                   .durability = {.pagecache = true},
                   .first = append_a_large_one,
                   .second = append_once,
                   .level = DURALOG_LEVEL_WRITTEN};
  (void)at;
  for (c.filled = 0; c.filled < 4; c.filled += 3) search(&c, FENCE_WORKS, 2);
}

static const struct test tests[] = {
    TEST(it_is_readable_from_a_move_to_the_next_take),
    TEST(a_tick_is_wanted_when_it_is_due),
    TEST(at_no_moment_of_a_life_is_anything_missed),
    TEST(a_host_that_ticks_when_told_does_all_there_is),
    TEST(a_slower_sync_makes_the_next_one_due_earlier),
    TEST(poison_is_told_once_and_ends_the_watch),
    TEST(without_memory_there_is_no_watch),
    TEST(no_interleaving_with_appends_misses_the_end),
    TEST(no_interleaving_with_syncs_misses_durability),
    TEST(no_interleaving_misses_the_clock_that_begins_to_run),
    TEST(no_interleaving_misses_a_reached_bound),
    TEST(no_interleaving_misses_a_bound_before_its_time),
    TEST(no_interleaving_misses_poison_or_tells_it_for_ever),
    TEST(no_interleaving_misses_work_on_segments),
    TEST(a_take_whose_fence_was_refused_is_followed_by_another),
    TEST(no_interleaving_leaves_a_followers_watch_asleep),
    TEST(no_interleaving_leaves_a_followers_durable_watch_asleep),
    TEST(each_take_makes_the_fence_that_appends_do_without),
    TEST(a_followed_writers_poison_is_told_once),
    TEST(a_followers_watch_needs_a_thread),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
