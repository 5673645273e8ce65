/* SPDX-License-Identifier: MIT
 *
 * Waiting without polling: no wake-up is ever lost (I31). Two threads answer
 * each other through two logs, thousands of times; whoever is not woken within
 * the limit counts a loss, and the count must be 0.
 */
#include "support.h"

enum { LIMIT_MS = 20 * 1000 };

/* How one waits for record `offset` of the other's log. */
enum way { READER_VISIBLE, READER_DURABLE, WAIT_WRITTEN, WAIT_DURABLE };

struct side {
  duralog *mine, *theirs;
  enum way way;
  uint64_t rounds;
  bool begins;
  uint64_t lost;
  bool copying;
};

static duralog_error wait_once(const struct side *s, duralog_reader *reader,
                               uint64_t offset) {
  switch (s->way) {
    case WAIT_WRITTEN:
      return duralog_wait(s->theirs, offset, DURALOG_LEVEL_WRITTEN, LIMIT_MS);
    case WAIT_DURABLE:
      return duralog_wait(s->theirs, offset, DURALOG_LEVEL_DURABLE, LIMIT_MS);
    default: return duralog_reader_wait(reader, LIMIT_MS);
  }
}

static void hear(struct side *s, duralog_reader *reader, uint64_t offset) {
  duralog_record r;
  duralog_error error;
  while ((error = wait_once(s, reader, offset)) == DURALOG_E_TIMEOUT) s->lost++;
  CHECK_OK(error);
  CHECK_OK(duralog_read_next(reader, &r));
  CHECK(r.offset == offset && record_is(&r, offset));
}

static void *play(void *context) {
  struct side *s = context;
  bool durable = s->way == READER_DURABLE || s->way == WAIT_DURABLE;
  duralog_reader *reader = reader_of(
      s->theirs, durable ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < s->rounds; i++) {
    if (s->begins) append_numbers(s->mine, i, 1);
    hear(s, reader, i);
    if (!s->begins) append_numbers(s->mine, i, 1);
  }
  CHECK_OK(duralog_reader_close(&reader));
  return NULL;
}

static void play_both(const struct test_place *at, enum way way,
                      duralog_durability mode, uint64_t rounds) {
  duralog_options o = small_options();
  o.durability = mode;
  o.copying_reads = at->copying;
  duralog *a = open_with(at->path, &o);
  duralog *b = open_with(path_in(at, "answers"), &o);
  struct side first = {.mine = a, .theirs = b, .way = way, .begins = true};
  struct side second = {.mine = b, .theirs = a, .way = way};
  first.rounds = second.rounds = rounds;
  pthread_t thread = thread_start(play, &second);
  play(&first);
  thread_join(thread);
  CHECK_EQUAL(first.lost, 0);
  CHECK_EQUAL(second.lost, 0);
  check_numbers(a, rounds);
  check_numbers(b, rounds);
  close_log(a);
  close_log(b);
}

static const duralog_durability pagecache = {.pagecache = true};
static const duralog_durability every_record = {.sync_every_records = 1};

static void appends_wake_readers(struct test_place *at) {
  play_both(at, READER_VISIBLE, pagecache, 6000);
}

static void durable_appends_wake_visible_readers(struct test_place *at) {
  play_both(at, READER_VISIBLE, every_record, 1000);
}

static void syncs_wake_durable_readers(struct test_place *at) {
  play_both(at, READER_DURABLE, every_record, 1000);
}

static void interval_syncs_wake_durable_readers(struct test_place *at) {
  play_both(at, READER_DURABLE, (duralog_durability){.sync_interval_ms = 10},
            40);
}

static void appends_wake_waiters(struct test_place *at) {
  play_both(at, WAIT_WRITTEN, pagecache, 6000);
}

static void durable_waiters_are_woken(struct test_place *at) {
  play_both(at, WAIT_DURABLE, pagecache, 1000);
}

/* ---- one wakes many ---- */

enum { READERS = 6, ROUNDS = 1000 };

struct crowd {
  duralog *log, *answers;
  _Atomic uint64_t lost;
};

static void *answer(void *context) {
  struct crowd *c = context;
  duralog_reader *reader = reader_of(c->log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    duralog_record r;
    duralog_error error;
    while ((error = duralog_reader_wait(reader, LIMIT_MS)) == DURALOG_E_TIMEOUT)
      atomic_fetch_add(&c->lost, 1);
    CHECK_OK(error);
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
    CHECK_OK(duralog_append(c->answers, &i, sizeof i, NULL));
  }
  CHECK_OK(duralog_reader_close(&reader));
  return NULL;
}

static void one_append_wakes_all_readers(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.copying_reads = at->copying;
  struct crowd c = {.log = open_with(at->path, &o),
                    .answers = open_with(path_in(at, "answers"), &o)};
  pthread_t threads[READERS];
  for (int i = 0; i < READERS; i++) threads[i] = thread_start(answer, &c);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    append_numbers(c.log, i, 1);
    duralog_error error;
    while ((error = duralog_wait(c.answers, (i + 1) * READERS - 1,
                                 DURALOG_LEVEL_WRITTEN, LIMIT_MS)) ==
           DURALOG_E_TIMEOUT)
      atomic_fetch_add(&c.lost, 1);
    CHECK_OK(error);
  }
  for (int i = 0; i < READERS; i++) thread_join(threads[i]);
  CHECK_EQUAL(atomic_load(&c.lost), 0);
  CHECK_EQUAL(watermarks_of(c.answers).end, READERS * ROUNDS);
  close_log(c.log);
  close_log(c.answers);
}

/* ---- a host without threads of the library ---- */

static void *tick_until_all_is_read(void *context) {
  struct crowd *c = context;
  for (uint64_t i = 0; i < 100; i++) {
    append_numbers(c->log, i, 1);
    while (watermarks_of(c->log).durable <= i) CHECK_OK(duralog_tick(c->log));
    CHECK_OK(duralog_wait(c->answers, i, DURALOG_LEVEL_WRITTEN, -1));
  }
  return NULL;
}

static void a_hosts_ticks_wake_durable_readers(struct test_place *at) {
  duralog_options o = small_options();
  o.host_driven = true;
  o.copying_reads = at->copying;
  o.durability.sync_interval_ms = 10;
  struct crowd c = {.log = open_with(at->path, &o)};
  o.durability = pagecache;
  c.answers = open_with(path_in(at, "answers"), &o);
  pthread_t thread = thread_start(tick_until_all_is_read, &c);
  duralog_reader *reader = reader_of(c.log, DURALOG_LEVEL_DURABLE);
  for (uint64_t i = 0; i < 100; i++) {
    duralog_record r;
    CHECK_OK(duralog_reader_wait(reader, LIMIT_MS));
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
    append_numbers(c.answers, i, 1);
  }
  thread_join(thread);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(c.log);
  close_log(c.answers);
}

static const struct test tests[] = {
    TEST_BOTH(appends_wake_readers),
    TEST_BOTH(durable_appends_wake_visible_readers),
    TEST_BOTH(syncs_wake_durable_readers),
    TEST_BOTH(interval_syncs_wake_durable_readers),
    TEST(appends_wake_waiters),
    TEST(durable_waiters_are_woken),
    TEST_BOTH(one_append_wakes_all_readers),
    TEST_BOTH(a_hosts_ticks_wake_durable_readers),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
