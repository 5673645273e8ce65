/* SPDX-License-Identifier: MIT
 *
 * A follower beside a writer in the simulated world, which looks on at every
 * step and every I/O call of the writer: whatever is seen is right at every
 * moment, and what has to be told is told in time (I29, I30). And sleepers in
 * real processes, in whose naps nobody looks after them: a wake-up that is lost
 * is a nap that does not end (I31).
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "control.h"
#include "io_sim.h"
#include "io_threads.h"
#include "log.h"
#include "support.h"

#define DIRECTORY "/log"

enum { LIMIT_MS = 20 * 1000 };

struct world {
  struct sim *sim;
  duralog_options options;
  duralog *follower;
  duralog_reader *reader;
  bool looking; /* the follower's own calls are no events */
  bool expect_epoch;
  uint64_t looks, records, epochs;
  uint64_t position; /* of the reader */
  uint64_t epoch;    /* newest that it was told of or began with */
};

static void follow_open(struct world *w) {
  duralog_options o = w->options;
  duralog_report report = {.struct_size = sizeof report};
  o.read_only = true;
  CHECK_OK(duralog_open(DIRECTORY, &o, &w->follower, &report, NULL));
  CHECK(report.follows);
  CHECK_OK(duralog_reader_open(w->follower, DURALOG_LEVEL_WRITTEN, &w->reader));
}

/* All there is, in order; a record of an epoch that a later writer began comes
 * after it was told of. */
static void look(struct world *w, const char *what) {
  duralog_record r;
  duralog_error error;
  test_note("at %s, look %llu, record %llu", what, (unsigned long long)w->looks,
            (unsigned long long)w->position);
  w->looking = true;
  w->looks++;
  while ((error = duralog_read_next(w->reader, &r)) != DURALOG_E_AT_END) {
    if (error == DURALOG_E_EPOCH) {
      uint64_t offset;
      CHECK(w->expect_epoch);
      CHECK_OK(duralog_reader_divergence(w->reader, &offset, &w->epoch));
      CHECK_EQUAL(offset, w->position);
      w->epochs++;
      continue;
    }
    CHECK_OK(error);
    CHECK(r.offset == w->position && record_is(&r, r.offset));
    if (w->expect_epoch) CHECK(r.epoch <= w->epoch);
    w->position++;
    w->records++;
  }
  duralog_watermarks m = {.struct_size = sizeof m};
  CHECK_OK(duralog_get_watermarks(w->follower, &m));
  CHECK(m.durable <= m.end && m.end == w->position);
  w->looking = false;
}

static void at_event(void *context, struct sim *sim, const char *what) {
  struct world *w = context;
  (void)sim;
  if (w->follower && !w->looking) look(w, what);
}

static void world_begin(struct world *w, bool copying) {
  *w = (struct world){.sim = sim_new()};
  w->options = small_options();
  w->options.segment_bytes = SEGMENT_BYTES_MIN;
  w->options.host_driven = true;
  w->options.copying_reads = copying;
  w->options.environment = sim_environment(w->sim);
  sim_set_blind(w->sim, true);
  sim_on_event(w->sim, at_event, w);
}

static void world_end(struct world *w) {
  w->looking = true; /* closing has steps of its own */
  CHECK_OK(duralog_reader_close(&w->reader));
  CHECK_OK(duralog_close(&w->follower));
  CHECK_EQUAL(sim_open_handles(w->sim), 0);
  CHECK_EQUAL(sim_allocations(w->sim), 0);
  sim_free(w->sim);
}

static void at_every_step_of_a_writer_all_that_is_seen_is_right(
    struct test_place *at) {
  struct world w;
  world_begin(&w, at->copying);
  duralog *log = open_with(DIRECTORY, &w.options);
  follow_open(&w);
  for (uint64_t i = 0; i < 300; i += 3) {
    append_numbers(log, i, 3);
    if (i % 30 == 0) CHECK_OK(duralog_tick(log));
  }
  look(&w, "the end");
  CHECK_EQUAL(w.position, 300);
  duralog_segment s = {.struct_size = sizeof s};
  CHECK_OK(duralog_get_segment(w.follower, 2, &s)); /* it rolled */
  CHECK(w.looks > 2000);
  close_log(log);
  world_end(&w);
}

static void at_every_step_an_epoch_is_told_before_its_first_record(
    struct test_place *at) {
  struct world w;
  world_begin(&w, at->copying);
  w.options.durability.pagecache = true;
  duralog *log = open_with(DIRECTORY, &w.options);
  append_numbers(log, 0, 10);
  follow_open(&w);
  w.epoch = 1;
  w.expect_epoch = true;
  look(&w, "the beginning");
  for (uint64_t life = 1; life <= 8; life++) {
    close_log(log);
    log = open_with(DIRECTORY, &w.options);
    append_numbers(log, life * 10, 10);
    look(&w, "the end of a life");
    CHECK_EQUAL(w.epochs, life);
    CHECK_EQUAL(w.position, life * 10 + 10);
  }
  close_log(log);
  world_end(&w);
}

/* ---- a writer believes nothing ---- */

static void a_writer_reads_nothing_but_who_sleeps(struct test_place *at) {
  struct world w;
  (void)at;
  world_begin(&w, false);
  sim_on_event(w.sim, NULL, NULL);
  for (int fill = 0; fill < 3; fill++) {
    duralog *log = open_with(DIRECTORY, &w.options);
    uint64_t end = (uint64_t)fill * 100, size;
    uint8_t *bytes = sim_file_bytes(w.sim, DIRECTORY, CONTROL_NAME, &size);
    CHECK(bytes && size == CONTROL_BYTES);
    for (uint64_t i = 0; i < 100; i++) {
      memset(bytes, fill == 0 ? 0 : fill == 1 ? 255 : (int)(i * 37), size);
      append_numbers(log, end + i, 1);
      if (i % 10 == 0) CHECK_OK(duralog_tick(log));
      duralog_watermarks m = watermarks_of(log);
      CHECK_EQUAL(m.end, end + i + 1);
      CHECK_EQUAL(m.durable, end + i + 1);
    }
    memset(bytes, fill == 0 ? 0 : 255, size);
    close_log(log);
    check_numbers(log = open_with(DIRECTORY, &w.options), end + 100);
    close_log(log);
  }
  CHECK_EQUAL(sim_open_handles(w.sim), 0);
  CHECK_EQUAL(sim_allocations(w.sim), 0);
  sim_free(w.sim);
}

static void recovery_ignores_what_the_file_holds(struct test_place *at) {
  struct world w;
  (void)at;
  world_begin(&w, false);
  sim_on_event(w.sim, NULL, NULL);
  for (uint64_t life = 0; life < 6; life++) {
    duralog_report r;
    duralog *log = open_reporting(DIRECTORY, &w.options, &r);
    CHECK_EQUAL(r.end, life * 50);
    CHECK_EQUAL(r.torn_bytes + r.damage_count, 0);
    CHECK_EQUAL(r.epoch, life);
    append_numbers(log, life * 50, 50);
    sim_kill(w.sim);
    uint64_t size, seed = life;
    uint8_t *bytes = sim_file_bytes(w.sim, DIRECTORY, CONTROL_NAME, &size);
    for (uint64_t i = life % 2 ? 32 : 0; i < size; i++)
      bytes[i] = (uint8_t)random_next(&seed);
  }
  sim_free(w.sim);
}

/* ---- every interleaving of a sleeper and an append ---- */

static struct pair {
  struct threads *threads;
  duralog *writer, *follower;
  duralog_reader *reader;
  duralog_level level;
} pair;

static void append_one(void *context) {
  (void)context;
  append_numbers(pair.writer, 1, 1);
}

static void wait_for_one(void *context) {
  (void)context;
  CHECK_OK(duralog_reader_wait(pair.reader, -1));
}

static uint64_t pair_run(enum threads_fence fence, uint64_t *slept) {
  struct world w;
  world_begin(&w, false);
  sim_on_event(w.sim, NULL, NULL);
  struct threads_options t = {.inner = sim_environment(w.sim),
                              .fence = fence,
                              .atomics = true,
                              .preemptions = 2};
  io_env *io = threads_begin(pair.threads, &t);
  w.options.environment = io;
  w.options.durability.pagecache = pair.level == DURALOG_LEVEL_WRITTEN;
  pair.writer = open_with(DIRECTORY, &w.options);
  append_numbers(pair.writer, 0, 1);
  follow_open(&w);
  CHECK_OK(duralog_reader_close(&w.reader));
  pair.follower = w.follower;
  pair.reader = reader_of(pair.follower, pair.level);
  CHECK_OK(duralog_seek(pair.reader, DURALOG_SEEK_OFFSET, 1));
  threads_spawn(pair.threads, wait_for_one, NULL, NULL);
  threads_spawn(pair.threads, append_one, NULL, NULL);
  uint64_t began = io->now(io);
  if (!threads_run(pair.threads))
    test_failed(__FILE__, __LINE__, "%s; schedule %s",
                threads_failure(pair.threads), threads_schedule(pair.threads));
  /* Time passes only where nobody can run: a sleeper was left to its nap. */
  *slept = io->now(io) - began;
  sim_free(w.sim);
  return 1;
}

static void no_interleaving_leaves_a_sleeper(duralog_level level) {
  enum { A_NAP_NS = 9 * 1000 * 1000 };
  if (SANITIZED) test_skip("simulated threads change stacks");
  uint64_t runs = 0, slept = 0;
  pair = (struct pair){.threads = threads_new(), .level = level};
  threads_search(pair.threads);
  do {
    runs += pair_run(FENCE_WORKS, &slept);
    if (slept > A_NAP_NS && !threads_hurried(pair.threads))
      test_failed(__FILE__, __LINE__, "asleep for %llu ns, schedule %s",
                  (unsigned long long)slept, threads_schedule(pair.threads));
  } while (threads_next(pair.threads) && runs < 200 * 1000);
  print_message("runs %llu\n", (unsigned long long)runs);
  CHECK(runs > 600); /* more than it takes to learn the words */
  threads_free(pair.threads);
}

static void no_interleaving_leaves_a_reader_asleep(struct test_place *at) {
  (void)at;
  no_interleaving_leaves_a_sleeper(DURALOG_LEVEL_WRITTEN);
}

static void no_interleaving_leaves_a_durable_reader_asleep(
    struct test_place *at) {
  (void)at;
  no_interleaving_leaves_a_sleeper(DURALOG_LEVEL_DURABLE);
}

/* ---- the last word of a writer ---- */

static duralog **leaving; /* appends once more and closes, when looked for */

static int locked_after_leaving(io_env *io, int dir, const char *name) {
  duralog *log = leaving ? *leaving : NULL;
  leaving = NULL;
  if (log) {
    append_numbers(log, 1, 1);
    close_log(log);
  }
  struct duralog_environment *e = (struct duralog_environment *)(uintptr_t)io;
  return sim_environment(e->world)->locked(io, dir, name);
}

/* It wrote and went between a sleeper's look at the end and the one at it. */
static void a_last_record_does_not_hide_that_its_writer_has_gone(
    struct test_place *at) {
  struct world w;
  struct duralog_environment io;
  world_begin(&w, at->copying);
  sim_on_event(w.sim, NULL, NULL);
  io = *w.options.environment;
  io.locked = locked_after_leaving;
  w.options.environment = &io;
  duralog *log = open_with(DIRECTORY, &w.options);
  append_numbers(log, 0, 1);
  follow_open(&w);
  duralog_record r;
  CHECK_OK(duralog_read_next(w.reader, &r));
  leaving = &log;
  CHECK_OK(duralog_reader_wait(w.reader, 1000));
  CHECK_OK(duralog_read_next(w.reader, &r));
  CHECK_IS(DURALOG_E_NO_WRITER, duralog_reader_wait(w.reader, 1000));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(w.reader, 1000));
  world_end(&w);
}

/* ---- no wake-up is lost ---- */

/* The operating system, but no nap ends before someone ends it: what waits in
 * vain waits for the limit, and counts. */
static _Atomic uint64_t *lost;
static bool fenced; /* since the last nap */

/* What the processor may do without it is seen too seldom to wait for. */
static bool fence_noted(io_env *io) {
  fenced = true;
  return io_posix()->fence_shared(io);
}

static int wait_without_a_look(io_env *io, _Atomic uint32_t *word,
                               uint32_t value, uint64_t deadline) {
  (void)deadline;
  uint64_t limit = io->now(io) + LIMIT_MS * NS_PER_MS;
  if (!fenced) atomic_fetch_add(lost, 1);
  fenced = false;
  int result = io_posix()->wait_shared(io, word, value, limit);
  if (result == -ETIMEDOUT) atomic_fetch_add(lost, 1);
  return result;
}

static struct duralog_environment environment_without_looks(void) {
  struct duralog_environment e = *io_posix();
  e.wait_shared = wait_without_a_look;
  e.fence_shared = fence_noted;
  return e;
}

/* A watch instead of a wait: its thread is who sleeps. The last move is not
 * taken, so that nobody sleeps on when the watch is closed. */
static void hear_by_watch(duralog *log, duralog_watch *watch,
                          duralog_level level, uint64_t offset, bool last) {
  struct pollfd p = {.fd = duralog_watch_descriptor(watch), .events = POLLIN};
  for (;;) {
    if (poll(&p, 1, LIMIT_MS) == 0) atomic_fetch_add(lost, 1);
    duralog_watermarks m = watermarks_of(log);
    bool there = (level == DURALOG_LEVEL_DURABLE ? m.durable : m.end) > offset;
    if (there && last) return;
    CHECK_OK(duralog_watch_take(watch, NULL));
    if (there) return;
  }
}

struct player {
  bool watches;
  const char *mine, *theirs;
  duralog_level level;
  uint64_t rounds;
  struct channel ready, go;
  bool begins;
};

/* By turns as an append and as a published reservation. */
static void add_one(duralog *log, uint64_t i) {
  uint8_t bytes[RECORD_BYTES_MAX];
  void *memory;
  if (i % 2) {
    append_numbers(log, i, 1);
    return;
  }
  size_t size = record_make(i, bytes);
  CHECK_OK(duralog_reserve(log, size, -1, &memory));
  if (size) memcpy(memory, bytes, size);
  CHECK_OK(duralog_publish(log, size, DURALOG_LEVEL_DEFAULT, NULL));
}

static void play(void *context) {
  struct player *p = context;
  struct duralog_environment e = environment_without_looks();
  duralog_options o = small_options(), f = o;
  f.read_only = true;
  f.environment = &e;
  o.host_driven = NO_THREADS_AFTER_FORK;
  if (p->level == DURALOG_LEVEL_WRITTEN) o.durability.pagecache = true;
  duralog *mine = open_with(p->mine, &o), *theirs;
  duralog_report report;
  channel_tell(&p->ready);
  channel_hear(&p->go);
  theirs = open_reporting(p->theirs, &f, &report);
  CHECK(report.follows);
  duralog_reader *reader = reader_of(theirs, p->level);
  duralog_watch *watch = NULL;
  if (p->watches)
    CHECK_OK(duralog_watch_open(theirs,
                                p->level == DURALOG_LEVEL_DURABLE
                                    ? DURALOG_WATCH_DURABLE
                                    : DURALOG_WATCH_END,
                                &watch));
  for (uint64_t i = 0; i < p->rounds; i++) {
    duralog_record r;
    if (p->begins) add_one(mine, i);
    if (watch)
      hear_by_watch(theirs, watch, p->level, i, i + 1 == p->rounds);
    else
      CHECK_OK(duralog_reader_wait(reader, -1));
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
    if (!p->begins) add_one(mine, i);
  }
  CHECK_OK(duralog_reader_close(&reader));
  if (watch) CHECK_OK(duralog_watch_close(&watch));
  close_log(theirs);
  channel_tell(&p->ready); /* it is no loss that one of the two has gone */
  channel_hear(&p->go);
  close_log(mine);
}

static void play_both(const struct test_place *at, duralog_level level,
                      uint64_t rounds, bool watches) {
  char a[200], b[200];
  snprintf(a, sizeof a, "%s/a", at->root);
  snprintf(b, sizeof b, "%s/b", at->root);
  lost = shared_memory(sizeof *lost);
  struct player p = {.mine = a, .theirs = b, .level = level, .begins = true};
  p.rounds = rounds;
  p.watches = watches;
  channel_open(&p.ready);
  channel_open(&p.go);
  struct player q = p;
  q.mine = b;
  q.theirs = a;
  q.begins = false;
  pid_t first = child_start(play, &p), second = child_start(play, &q);
  for (int phase = 0; phase < 2; phase++) {
    for (int i = 0; i < 2; i++) channel_hear(&p.ready);
    for (int i = 0; i < 2; i++) channel_tell(&p.go);
  }
  CHECK_EQUAL(child_end(first), 0);
  CHECK_EQUAL(child_end(second), 0);
  CHECK_EQUAL(atomic_load(lost), 0);
  channel_close(&p.ready);
  channel_close(&p.go);
  shared_memory_free(lost, sizeof *lost);
}

static void no_wake_up_between_processes_is_lost(struct test_place *at) {
  play_both(at, DURALOG_LEVEL_WRITTEN, SANITIZED ? 2000 : 20000, false);
}

static void no_wake_up_by_a_sync_is_lost(struct test_place *at) {
  play_both(at, DURALOG_LEVEL_DURABLE, 300, false);
}

static void no_wake_up_of_a_watch_between_processes_is_lost(
    struct test_place *at) {
  if (NO_THREADS_AFTER_FORK) test_skip("a child cannot start threads");
  play_both(at, DURALOG_LEVEL_WRITTEN, SANITIZED ? 1000 : 10000, true);
}

static void no_wake_up_of_a_watch_by_a_sync_is_lost(struct test_place *at) {
  if (NO_THREADS_AFTER_FORK) test_skip("a child cannot start threads");
  play_both(at, DURALOG_LEVEL_DURABLE, 300, true);
}

/* ---- an epoch wakes who stands above its records ---- */

static void leave_a_hundred(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_pagecache();
  o.host_driven = true;
  append_numbers(open_with(at->path, &o), 0, 100);
}

static void *await_epoch(void *reader) {
  CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(reader, LIMIT_MS));
  return NULL;
}

/* Until someone sleeps for `end`. */
static void await_sleeper(const duralog *writer) {
  while (!(atomic_load(&writer->control->attention) & CONTROL_END_SLEEPERS))
    sched_yield();
}

/* The log was cut below where a follower has read, and `end` does not come up
 * to it: only the epoch can wake it (I30, I31). */
static void an_epoch_wakes_who_stands_above_its_records(struct test_place *at) {
  struct duralog_environment e = environment_without_looks();
  duralog_options o = small_pagecache(), f = o;
  o.host_driven = f.read_only = true;
  lost = shared_memory(sizeof *lost);
  child_run(leave_a_hundred, at);
  f.environment = &e;
  duralog *log = open_with(at->path, &f);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  struct test_frames frames = frames_load(at->path);
  const struct test_frame *frame = frame_of(&frames, 60);
  file_zero(segment_path(at->path, frame->segment), frame->position, 24);
  frames_free(&frames);
  duralog *writer = open_with(at->path, &o);
  CHECK_EQUAL(watermarks_of(writer).end, 60);
  pthread_t thread = thread_start(await_epoch, reader);
  await_sleeper(writer);
  append_numbers(writer, 60, 1);
  thread_join(thread);
  CHECK_EQUAL(atomic_load(lost), 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  close_log(writer);
  shared_memory_free(lost, sizeof *lost);
}

static const struct test tests[] = {
    TEST(an_epoch_wakes_who_stands_above_its_records),
    TEST_BOTH(at_every_step_of_a_writer_all_that_is_seen_is_right),
    TEST_BOTH(at_every_step_an_epoch_is_told_before_its_first_record),
    TEST(a_writer_reads_nothing_but_who_sleeps),
    TEST(recovery_ignores_what_the_file_holds),
    TEST(no_interleaving_leaves_a_reader_asleep),
    TEST(no_interleaving_leaves_a_durable_reader_asleep),
    TEST(no_wake_up_between_processes_is_lost),
    TEST(no_wake_up_by_a_sync_is_lost),
    TEST_BOTH(a_last_record_does_not_hide_that_its_writer_has_gone),
    TEST(no_wake_up_of_a_watch_between_processes_is_lost),
    TEST(no_wake_up_of_a_watch_by_a_sync_is_lost),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
