/* SPDX-License-Identifier: MIT
 *
 * Many threads on one log: appending, syncing, waiting, looking on.
 */
#include "support.h"

enum { THREADS = 8, BATCH = 5 };

/* What a thread appends: who, its how many-th, and which of the batch. */
struct stamp {
  uint64_t thread, count, index, size;
};

struct world {
  duralog *log;
  duralog_durability mode;
  uint64_t appends;       /* by each thread */
  bool batches;           /* of 1 to BATCH, otherwise single records */
  duralog_level level;    /* of batches */
  _Atomic uint64_t ended; /* threads */
  _Atomic uint64_t observed;
  _Atomic uint64_t records; /* returned */
};

struct worker {
  struct world *world;
  uint64_t number;
  uint64_t *offsets; /* of each append */
};

static void append_one(struct worker *w, uint64_t count) {
  uint8_t data[sizeof(struct stamp) + 64] = {0};
  struct stamp stamp = {w->number, count, 0, 1};
  memcpy(data, &stamp, sizeof stamp);
  CHECK_OK(duralog_append(w->world->log, data, sizeof stamp + count % 64,
                          &w->offsets[count]));
  atomic_fetch_add(&w->world->records, 1);
}

static void append_several(struct worker *w, uint64_t count) {
  struct stamp stamps[BATCH];
  duralog_entry entries[BATCH];
  uint64_t size = 1 + (count + w->number) % BATCH;
  for (uint64_t i = 0; i < size; i++) {
    stamps[i] = (struct stamp){w->number, count, i, size};
    entries[i] = (duralog_entry){.data = &stamps[i], .size = sizeof stamps[i]};
  }
  CHECK_OK(duralog_append_batch(w->world->log, entries, size, w->world->level,
                                &w->offsets[count]));
  atomic_fetch_add(&w->world->records, size);
}

/* After an append returned: what its mode and level promise. */
static void check_promise(const struct worker *w, uint64_t offset) {
  const struct world *world = w->world;
  uint64_t every = world->mode.sync_every_records;
  duralog_watermarks m = watermarks_of(world->log);
  CHECK(m.end > offset);
  if (world->batches && world->level == DURALOG_LEVEL_WRITTEN) return;
  if (world->batches && world->level == DURALOG_LEVEL_DURABLE) every = 1;
  if (every) CHECK(m.durable + every > offset + 1); /* e - durable <= N - 1 */
}

static void *append_all(void *context) {
  struct worker *w = context;
  for (uint64_t count = 0; count < w->world->appends; count++) {
    if (w->world->batches)
      append_several(w, count);
    else
      append_one(w, count);
    check_promise(w, w->offsets[count]);
    if (count) CHECK(w->offsets[count] > w->offsets[count - 1]);
  }
  atomic_fetch_add(&w->world->ended, 1);
  return NULL;
}

/* durable <= end (watermarks_of), both and the start monotone. */
static void *observe(void *context) {
  struct world *world = context;
  duralog_watermarks last = {.end = 0};
  while (atomic_load(&world->ended) < THREADS) {
    duralog_watermarks w = watermarks_of(world->log);
    CHECK(w.end >= last.end && w.durable >= last.durable);
    CHECK(w.epoch >= last.epoch && w.start == 0);
    last = w;
    atomic_fetch_add(&world->observed, 1);
  }
  return NULL;
}

/* A reader sees whole batches, in order, without gaps. */
static void *follow(void *context) {
  struct world *world = context;
  duralog_reader *reader = reader_of(world->log, DURALOG_LEVEL_WRITTEN);
  uint64_t next = 0, left = 0;
  for (;;) {
    bool over = atomic_load(&world->ended) == THREADS;
    duralog_record r;
    duralog_error error = duralog_read_next(reader, &r);
    if (error == DURALOG_E_AT_END) {
      CHECK_EQUAL(left, 0); /* not within a batch (I4) */
      if (over) break;
      error = duralog_reader_wait(reader, 20);
      CHECK(error == DURALOG_OK || error == DURALOG_E_TIMEOUT);
      continue;
    }
    CHECK_OK(error);
    CHECK_EQUAL(r.offset, next++);
    struct stamp stamp;
    CHECK(r.size >= sizeof stamp);
    memcpy(&stamp, r.data, sizeof stamp);
    if (left == 0) CHECK_EQUAL(stamp.index, 0);
    left = stamp.size - stamp.index - 1;
    CHECK_EQUAL(r.batch_last, left ? UINT64_MAX : r.offset);
  }
  CHECK_OK(duralog_reader_close(&reader));
  return NULL;
}

/* Everything that returned is where it was said to be, and nothing else is. */
static void check_all(duralog *log, const struct world *world,
                      struct worker workers[THREADS]) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  uint64_t next[THREADS] = {0}, total = 0;
  duralog_record r;
  while (duralog_read_next(reader, &r) == DURALOG_OK) {
    struct stamp s;
    CHECK(r.size >= sizeof s);
    memcpy(&s, r.data, sizeof s);
    CHECK(s.thread < THREADS && s.count == next[s.thread]);
    CHECK_EQUAL(workers[s.thread].offsets[s.count] + s.index, r.offset);
    if (s.index + 1 == s.size) next[s.thread]++;
    total++;
  }
  CHECK_EQUAL(total, watermarks_of(log).end);
  CHECK_EQUAL(total, atomic_load(&world->records));
  for (int i = 0; i < THREADS; i++) CHECK_EQUAL(next[i], world->appends);
  CHECK_OK(duralog_reader_close(&reader));
}

static void run(const struct test_place *at, struct world *world, bool strict) {
  duralog_options o = small_options();
  o.durability = world->mode;
  o.strict = strict;
  struct worker workers[THREADS];
  pthread_t threads[THREADS];
  world->log = open_with(at->path, &o);
  for (uint64_t i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){world, i, calloc(world->appends, 8)};
    CHECK(workers[i].offsets != NULL);
    threads[i] = thread_start(append_all, &workers[i]);
  }
  pthread_t observer = thread_start(observe, world);
  pthread_t follower = thread_start(follow, world);
  for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
  thread_join(observer);
  thread_join(follower);
  CHECK(atomic_load(&world->observed) > 0);
  check_all(world->log, world, workers);
  close_log(world->log);
  o.read_only = true;
  duralog *log = open_with(at->path, &o);
  check_all(log, world, workers);
  close_log(log);
  for (int i = 0; i < THREADS; i++) free(workers[i].offsets);
  directory_remove(at->path);
}

/* ---- appending ---- */

static void offsets_are_dense_over_threads(struct test_place *at) {
  const struct {
    duralog_durability mode;
    uint64_t appends;
  } cases[] = {{{.pagecache = true}, 2000},
               {{.sync_every_records = 1}, 200},
               {{.sync_every_records = 7}, 400},
               {{.sync_every_bytes = 2000}, 400},
               {{.sync_interval_ms = 10}, 1500},
               {{.sync_every_records = 20, .sync_interval_ms = 10}, 500}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) { /* I29, I5 */
    test_note("mode %zu", i);
    struct world world = {.mode = cases[i].mode, .appends = cases[i].appends};
    run(at, &world, false);
  }
}

static void strict_mode_is_dense_too(struct test_place *at) {
  struct world world = {.mode = {.sync_every_records = 3}, .appends = 200};
  run(at, &world, true);
}

static void batches_are_whole_and_unmixed(struct test_place *at) {
  const struct {
    duralog_durability mode;
    uint64_t appends;
    duralog_level level;
  } cases[] = {{{.pagecache = true}, 1000, DURALOG_LEVEL_DEFAULT},
               {{.pagecache = true}, 200, DURALOG_LEVEL_DURABLE},
               {{.sync_every_records = 1}, 200, DURALOG_LEVEL_DEFAULT},
               {{.sync_every_records = 9}, 300, DURALOG_LEVEL_WRITTEN},
               {{.sync_every_bytes = 4000}, 300, DURALOG_LEVEL_DEFAULT}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) { /* I4, I29 */
    test_note("mode %zu", i);
    struct world world = {.mode = cases[i].mode,
                          .appends = cases[i].appends,
                          .batches = true,
                          .level = cases[i].level};
    run(at, &world, false);
  }
}

/* ---- syncing and waiting ---- */

static void *append_and_sync(void *context) {
  struct worker *w = context;
  for (uint64_t i = 0; i < 60; i++) {
    uint64_t offset;
    CHECK_OK(duralog_append(w->world->log, "x", 1, &offset));
    if ((i + w->number) % 3 == 0)
      CHECK_OK(duralog_sync(w->world->log));
    else
      CHECK_OK(duralog_wait(w->world->log, offset, DURALOG_LEVEL_DURABLE,
                            i % 2 ? -1 : 60 * 1000));
    CHECK(watermarks_of(w->world->log).durable > offset);
    if (i % 5 == 0) CHECK_OK(duralog_tick(w->world->log));
  }
  return NULL;
}

static void all_who_sync_at_once_are_served(struct test_place *at) {
  for (int driven = 0; driven < 2; driven++) { /* I31 */
    duralog_options o = small_pagecache();
    o.host_driven = driven;
    struct world world = {.log = open_with(at->path, &o)};
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
      workers[i] = (struct worker){&world, i, NULL};
      threads[i] = thread_start(append_and_sync, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
    CHECK_EQUAL(watermarks_of(world.log).durable, THREADS * 60);
    close_log(world.log);
    directory_remove(at->path);
  }
}

enum { AHEAD = 400 };

/* Each waits for offsets that are not there yet, in steps of its own. */
static void *wait_ahead(void *context) {
  struct worker *w = context;
  duralog_level level =
      w->number % 2 ? DURALOG_LEVEL_WRITTEN : DURALOG_LEVEL_DURABLE;
  for (uint64_t offset = w->number; offset < AHEAD; offset += 1 + w->number) {
    CHECK_OK(duralog_wait(w->world->log, offset, level,
                          w->number < 4 ? -1 : 60 * 1000));
    duralog_watermarks m = watermarks_of(w->world->log);
    CHECK((level == DURALOG_LEVEL_DURABLE ? m.durable : m.end) > offset);
  }
  return NULL;
}

static void all_who_wait_are_woken(struct test_place *at) {
  const duralog_durability modes[] = {
      {.pagecache = true}, {.sync_every_records = 1}, {.sync_interval_ms = 10}};
  for (size_t m = 0; m < COUNT_OF(modes); m++) { /* I31 */
    duralog_options o = small_options();
    o.durability = modes[m];
    struct world world = {.log = open_with(at->path, &o)};
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
      workers[i] = (struct worker){&world, i, NULL};
      threads[i] = thread_start(wait_ahead, &workers[i]);
    }
    append_numbers(world.log, 0, AHEAD);
    for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
    check_numbers(world.log, AHEAD);
    close_log(world.log);
    directory_remove(at->path);
  }
}

/* ---- readers that come and go ---- */

static void *read_again_and_again(void *context) {
  struct world *world = context;
  uint64_t rounds = 0;
  do {
    duralog_reader *reader = reader_of(world->log, DURALOG_LEVEL_DEFAULT);
    duralog_segment s = {.struct_size = sizeof s};
    uint64_t end = watermarks_of(world->log).end;
    duralog_record r;
    for (uint64_t i = 0; i < end; i += 1 + end / 20) {
      CHECK_OK(duralog_read_at(reader, i, &r));
      CHECK(r.offset == i && record_is(&r, i));
    }
    CHECK_OK(duralog_get_segment(world->log, 0, &s));
    CHECK_OK(duralog_reader_close(&reader));
    rounds++;
  } while (!atomic_load(&world->ended));
  atomic_fetch_add(&world->observed, rounds);
  return NULL;
}

static void readers_come_and_go_beside_appends(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.copying_reads = at->copying;
  struct world world = {.log = open_with(at->path, &o)};
  pthread_t threads[4];
  append_numbers(world.log, 0, 10);
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    threads[i] = thread_start(read_again_and_again, &world);
  append_numbers(world.log, 10, 6000);
  atomic_store(&world.ended, 1);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  CHECK(atomic_load(&world.observed) >= COUNT_OF(threads));
  check_numbers(world.log, 6010);
  close_log(world.log);
}

static void *open_append_close(void *context) {
  const char *path = context;
  duralog_options o = small_options();
  for (uint64_t life = 0; life < 10; life++) {
    duralog *log = open_with(path, &o);
    append_numbers(log, life * 20, 20);
    close_log(log);
  }
  return NULL;
}

static void logs_are_opened_and_closed_side_by_side(struct test_place *at) {
  pthread_t threads[4];
  char paths[4][256];
  duralog_options o = small_options();
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    snprintf(paths[i], sizeof paths[i], "%s/log-%zu", at->root, i);
    threads[i] = thread_start(open_append_close, paths[i]);
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    duralog *log = open_with(paths[i], &o);
    check_numbers(log, 200);
    close_log(log);
  }
}

struct race {
  const char *path;
  _Atomic int winners, losers;
  pthread_barrier_t start, end;
};

static void *open_at_once(void *context) {
  struct race *race = context;
  duralog_options o = small_options();
  duralog *log = NULL;
  pthread_barrier_wait(&race->start);
  duralog_error error = duralog_open(race->path, &o, &log, NULL, NULL);
  if (error == DURALOG_OK) {
    atomic_fetch_add(&race->winners, 1);
    CHECK_OK(duralog_append(log, "mine", 4, NULL));
  } else {
    CHECK_IS(DURALOG_E_BUSY, error);
    atomic_fetch_add(&race->losers, 1);
  }
  pthread_barrier_wait(&race->end);
  if (log) close_log(log);
  return NULL;
}

static void of_many_who_create_a_log_one_wins(struct test_place *at) {
  for (int round = 0; round < 20; round++) { /* I12 */
    struct race race = {.path = at->path};
    pthread_t threads[4];
    pthread_barrier_init(&race.start, NULL, COUNT_OF(threads));
    pthread_barrier_init(&race.end, NULL, COUNT_OF(threads));
    for (size_t i = 0; i < COUNT_OF(threads); i++)
      threads[i] = thread_start(open_at_once, &race);
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    CHECK_EQUAL(atomic_load(&race.winners), 1);
    CHECK_EQUAL(atomic_load(&race.losers), 3);
    pthread_barrier_destroy(&race.start);
    pthread_barrier_destroy(&race.end);
    directory_remove(at->path);
  }
}

static const struct test tests[] = {
    TEST(offsets_are_dense_over_threads),
    TEST(strict_mode_is_dense_too),
    TEST(batches_are_whole_and_unmixed),
    TEST(all_who_sync_at_once_are_served),
    TEST(all_who_wait_are_woken),
    TEST_BOTH(readers_come_and_go_beside_appends),
    TEST(logs_are_opened_and_closed_side_by_side),
    TEST(of_many_who_create_a_log_one_wins),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
