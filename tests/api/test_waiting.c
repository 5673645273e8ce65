/* SPDX-License-Identifier: MIT
 *
 * Waiting for levels, ticking, intervals: what happens in time.
 */
#include "support.h"

static duralog_options host_driven(duralog_durability mode) {
  duralog_options o = small_options();
  o.durability = mode;
  o.host_driven = true;
  return o;
}

static const duralog_durability pagecache = {.pagecache = true};
static const duralog_durability every_record = {.sync_every_records = 1};

static const duralog_durability modes[] = {
    {.sync_every_records = 0},
    {.sync_every_records = 1},
    {.sync_every_records = 8},
    {.sync_every_bytes = 1},
    {.sync_every_bytes = 3000},
    {.sync_interval_ms = 10},
    {.sync_every_records = 5, .sync_every_bytes = 900, .sync_interval_ms = 30},
    {.pagecache = true}};

static int64_t deadline_of(const duralog *log) {
  int64_t in_ms = -77;
  CHECK_OK(duralog_next_deadline(log, &in_ms));
  CHECK(in_ms >= -1);
  return in_ms;
}

/* ---- waiting ---- */

static void wait_looks_at_the_level_asked_for(struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 3);
  CHECK_OK(duralog_wait(log, 2, DURALOG_LEVEL_WRITTEN, 0));
  CHECK_OK(duralog_wait(log, 2, DURALOG_LEVEL_DEFAULT, 0));
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_wait(log, 3, DURALOG_LEVEL_WRITTEN, 0));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_wait(log, 3, DURALOG_LEVEL_DURABLE, 5));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_wait(log, 0, (duralog_level)3, 0));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_wait(log, 0, (duralog_level)-1, 0));
  CHECK_OK(duralog_wait(log, 1, DURALOG_LEVEL_DURABLE, -1));
  CHECK(watermarks_of(log).durable >= 2);
  close_log(log);
}

static void a_durable_wait_asks_for_a_sync_in_every_mode(
    struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++)
    for (int threads = 0; threads < 2; threads++) {
      duralog_options o = host_driven(modes[m]);
      o.host_driven = !threads;
      duralog *log = open_with(at->path, &o);
      for (uint64_t i = 0; i < 10; i++) {
        append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
        CHECK_OK(duralog_wait(log, i, DURALOG_LEVEL_DURABLE,
                              i % 2 ? -1 : 60 * 1000));
        CHECK(watermarks_of(log).durable > i);
      }
      close_log(log);
      directory_remove(at->path);
    }
}

static void where_every_append_waits_default_is_durable(struct test_place *at) {
  duralog_options o = host_driven(every_record);
  duralog *log = open_with(at->path, &o);
  append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_wait(log, 0, DURALOG_LEVEL_WRITTEN, 0));
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  CHECK_OK(duralog_wait(log, 0, DURALOG_LEVEL_DEFAULT, -1));
  CHECK_EQUAL(watermarks_of(log).durable, 1);
  close_log(log);
}

static void a_time_limit_is_kept(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (int64_t ms = 0; ms <= 40; ms += 20) {
    uint64_t before = clock_now_ms();
    CHECK_IS(DURALOG_E_TIMEOUT,
             duralog_wait(log, 0, DURALOG_LEVEL_WRITTEN, ms));
    CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, ms));
    CHECK(clock_now_ms() - before >= (uint64_t)(2 * ms > 2 ? 2 * ms - 2 : 0));
  }
  append_numbers(log, 0, 1);
  CHECK_OK(duralog_wait(log, 0, DURALOG_LEVEL_WRITTEN, INT64_MAX));
  CHECK_OK(duralog_reader_wait(reader, INT64_MAX));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* It waits for someone's sync, and does not ask for one. */
static void a_durable_reader_does_not_wait_beyond_its_limit(
    struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
  for (int64_t ms = 0; ms <= 40; ms += 20) {
    uint64_t before = clock_now_ms();
    CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, ms));
    CHECK(clock_now_ms() + 1 - before >= (uint64_t)ms);
    CHECK_EQUAL(watermarks_of(log).durable, 0);
  }
  CHECK_OK(duralog_sync(log));
  CHECK_OK(duralog_reader_wait(reader, 0));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- ticking ---- */

/* Tick until nothing is due; a tick that is due must help. */
static void tick_until_idle(duralog *log) {
  for (int i = 0; deadline_of(log) == 0; i++) {
    CHECK(i < 20);
    CHECK_OK(duralog_tick(log));
  }
}

static void a_tick_syncs_when_the_interval_is_over(struct test_place *at) {
  duralog_options o = host_driven((duralog_durability){.sync_interval_ms = 60});
  duralog *log = open_with(at->path, &o);
  CHECK_EQUAL(deadline_of(log), -1);
  for (uint64_t i = 0; i < 5; i++) {
    append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
    tick_until_idle(log);
    int64_t in_ms = deadline_of(log);
    CHECK(in_ms > 0 && in_ms <= 60);
    CHECK_EQUAL(watermarks_of(log).durable, i);
    clock_pass_ms((uint64_t)in_ms);
    CHECK_EQUAL(deadline_of(log), 0);
    CHECK_OK(duralog_tick(log));
    CHECK_EQUAL(watermarks_of(log).durable, i + 1);
    CHECK_EQUAL(deadline_of(log), -1);
  }
  close_log(log);
}

static void without_an_interval_nothing_is_ever_due(struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  for (uint64_t i = 0; i < 10; i++) {
    append_numbers(log, i, 1);
    tick_until_idle(log);
    CHECK_EQUAL(deadline_of(log), -1);
    CHECK_EQUAL(watermarks_of(log).durable, 0);
  }
  close_log(log);
}

static void ticks_prepare_and_seal(struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  duralog_segment s = {.struct_size = sizeof s};
  append_numbers(log, 0, 1000);
  tick_until_idle(log);
  size_t i = 0;
  while (duralog_get_segment(log, i, &s) == DURALOG_OK) i++;
  CHECK(i > 2);
  for (size_t j = 0; j < i; j++) {
    CHECK_OK(duralog_get_segment(log, j, &s));
    CHECK_EQUAL(s.sealed, j + 1 < i);
    if (s.sealed) CHECK(watermarks_of(log).durable >= s.end);
  }
  close_log(log);
}

static void the_library_keeps_an_interval_by_itself(struct test_place *at) {
  duralog_options o = small_options();
  o.durability.sync_interval_ms = 10;
  duralog *log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  duralog_record r;
  for (uint64_t i = 0; i < 50; i++) {
    append_numbers(log, i, 1);
    CHECK_OK(duralog_reader_wait(reader, 60 * 1000));
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void finished_segments_become_durable_by_themselves(
    struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  duralog_segment s = {.struct_size = sizeof s};
  duralog_record r;
  append_numbers(log, 0, 2000);
  CHECK_OK(duralog_get_segment(log, 1, &s));
  CHECK(s.end > 0 && s.end < 2000);
  for (uint64_t i = 0; i < s.end; i++) {
    CHECK_OK(duralog_reader_wait(reader, 60 * 1000));
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- the age of what is not durable ---- */

static void the_age_of_the_oldest_unsynced_record_can_be_read(
    struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  CHECK_EQUAL(watermarks_of(log).oldest_unsynced_ms, 0);
  for (int i = 0; i < 3; i++) {
    uint64_t before = clock_now_ms();
    append_text(log, "old", DURALOG_LEVEL_WRITTEN);
    clock_pass_ms(60);
    append_text(log, "young", DURALOG_LEVEL_WRITTEN);
    uint64_t age = watermarks_of(log).oldest_unsynced_ms;
    uint64_t passed = clock_now_ms() - before;
    CHECK(age + 12 >= 60 && age <= passed + 12); /* a coarse tick or two */
    CHECK_OK(duralog_sync(log));
    CHECK_EQUAL(watermarks_of(log).oldest_unsynced_ms, 0);
  }
  close_log(log);
}

static const struct test tests[] = {
    TEST(wait_looks_at_the_level_asked_for),
    TEST(a_durable_wait_asks_for_a_sync_in_every_mode),
    TEST(where_every_append_waits_default_is_durable),
    TEST(a_time_limit_is_kept),
    TEST(a_durable_reader_does_not_wait_beyond_its_limit),
    TEST(a_tick_syncs_when_the_interval_is_over),
    TEST(without_an_interval_nothing_is_ever_due),
    TEST(ticks_prepare_and_seal),
    TEST(the_library_keeps_an_interval_by_itself),
    TEST(finished_segments_become_durable_by_themselves),
    TEST(the_age_of_the_oldest_unsynced_record_can_be_read),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
