/* SPDX-License-Identifier: MIT
 *
 * When records become durable: modes, levels, waiting, ticking. Most of it
 * host-driven, where nothing happens but by our calls.
 */
#include <sched.h>

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

static void append_written(duralog *log, const char *text) {
  duralog_entry e = {.data = text, .size = strlen(text)};
  CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
}

static void append_durable(duralog *log, const char *text) {
  duralog_entry e = {.data = text, .size = strlen(text)};
  CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_DURABLE, NULL));
}

static int64_t deadline_of(const duralog *log) {
  int64_t in_ms = -77;
  CHECK_OK(duralog_next_deadline(log, &in_ms));
  CHECK(in_ms >= -1);
  return in_ms;
}

/* Let that much time pass. Time is what is tested where this is used. */
static void pass_ms(uint64_t ms) {
  uint64_t until = clock_now_ms() + ms + 1;
  while (clock_now_ms() < until) sched_yield();
}

/* ---- bounds ---- */

/* How many of the records [from, from + count) of numbers take less than
 * `bytes` with their framing, counted from the end. */
static uint64_t framed_bytes(uint64_t from, uint64_t to) {
  uint8_t bytes[RECORD_BYTES_MAX];
  uint64_t sum = 0;
  for (uint64_t i = from; i < to; i++)
    sum += 24 + (record_make(i, bytes) + 7) / 8 * 8;
  return sum;
}

static void no_append_returns_beyond_its_modes_bound(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) { /* I5 */
    duralog_durability mode = modes[m];
    duralog_options o = host_driven(mode);
    duralog *log = open_with(at->path, &o);
    bool each = !mode.pagecache && !mode.sync_every_bytes &&
                !mode.sync_interval_ms && mode.sync_every_records <= 1;
    for (uint64_t i = 0; i < 300; i++) {
      append_numbers(log, i, 1);
      duralog_watermarks w = watermarks_of(log);
      test_note("mode %zu: durable %llu of %llu", m,
                (unsigned long long)w.durable, (unsigned long long)w.end);
      CHECK_EQUAL(w.end, i + 1);
      if (each) CHECK_EQUAL(w.durable, w.end);
      if (mode.sync_every_records)
        CHECK(w.end - w.durable <= mode.sync_every_records - 1);
      if (mode.sync_every_bytes)
        CHECK(framed_bytes(w.durable, w.end) < mode.sync_every_bytes);
    }
    close_log(log);
    directory_remove(at->path);
  }
}

static void modes_do_not_sync_more_often_than_asked(struct test_place *at) {
  duralog_options o =
      host_driven((duralog_durability){.sync_every_records = 8});
  duralog *log = open_with(at->path, &o);
  uint64_t moves = 0, last = 0;
  for (uint64_t i = 0; i < 160; i++) {
    append_numbers(log, i, 1);
    if (watermarks_of(log).durable != last) moves++;
    last = watermarks_of(log).durable;
  }
  CHECK(moves <= 160 / 8 + 1);
  close_log(log);
}

static void pagecache_syncs_nothing_by_itself(struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 100);
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  CHECK_OK(duralog_sync(log));
  CHECK_EQUAL(watermarks_of(log).durable, 100);
  append_numbers(log, 100, 10);
  CHECK_EQUAL(watermarks_of(log).durable, 100);
  close_log(log);
}

static void weaker_appends_count_towards_the_bound(struct test_place *at) {
  duralog_options o =
      host_driven((duralog_durability){.sync_every_records = 4});
  duralog *log = open_with(at->path, &o);
  for (int i = 0; i < 10; i++) append_written(log, "weak");
  CHECK_EQUAL(watermarks_of(log).end, 10);
  CHECK_OK(duralog_append(log, "x", 1, NULL));
  CHECK(watermarks_of(log).durable >= 11 - 3);
  close_log(log);
}

static void an_interval_holds_at_every_append(struct test_place *at) {
  duralog_options o = host_driven((duralog_durability){.sync_interval_ms = 20});
  duralog *log = open_with(at->path, &o); /* nobody ticks */
  append_written(log, "first");
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  for (uint64_t i = 1; i < 4; i++) {
    pass_ms(45); /* an interval and two coarse ticks */
    CHECK_OK(duralog_append(log, "next", 4, NULL));
    CHECK(watermarks_of(log).durable >= i); /* none is older than 20 ms */
  }
  close_log(log);
}

/* ---- levels ---- */

static void a_durable_append_is_durable_in_every_mode(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    duralog_options o = host_driven(modes[m]);
    o.strict = m % 2;
    duralog *log = open_with(at->path, &o);
    for (uint64_t i = 0; i < 20; i++) {
      append_written(log, "weak");
      append_durable(log, "strong");
      CHECK_EQUAL(watermarks_of(log).durable, 2 * i + 2);
    }
    close_log(log);
    directory_remove(at->path);
  }
}

static void a_written_append_waits_for_no_sync(struct test_place *at) {
  duralog_options o = host_driven(every_record);
  duralog *log = open_with(at->path, &o);
  for (uint64_t i = 0; i < 50; i++) append_written(log, "weak");
  CHECK_EQUAL(watermarks_of(log).end, 50);
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  CHECK_OK(duralog_append(log, "x", 1, NULL));
  CHECK_EQUAL(watermarks_of(log).durable, 51);
  close_log(log);
}

static void sync_covers_what_is_visible_and_is_idempotent(
    struct test_place *at) {
  duralog_options o = host_driven(pagecache);
  duralog *log = open_with(at->path, &o);
  CHECK_OK(duralog_sync(log)); /* nothing there */
  for (uint64_t i = 0; i < 20; i++) {
    append_numbers(log, i, 1);
    CHECK_OK(duralog_sync(log));
    CHECK_OK(duralog_sync(log));
    CHECK_EQUAL(watermarks_of(log).durable, i + 1);
  }
  close_log(log);
}

static void readers_see_what_is_acknowledged(struct test_place *at) {
  duralog_record r;
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    duralog_options o = host_driven(modes[m]);
    bool each = modes[m].sync_every_bytes == 1 ||
                modes[m].sync_every_records == 1 || m == 0;
    duralog *log = open_with(at->path, &o);
    append_written(log, "weak");
    duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
    duralog_reader *durable = reader_of(log, DURALOG_LEVEL_DURABLE);
    duralog_reader *visible = reader_of(log, DURALOG_LEVEL_WRITTEN);
    CHECK_IS(each ? DURALOG_E_AT_END : DURALOG_OK,
             duralog_read_next(reader, &r));
    CHECK_IS(DURALOG_E_AT_END, duralog_read_next(durable, &r));
    CHECK_OK(duralog_read_next(visible, &r));
    CHECK_OK(duralog_sync(log));
    CHECK_OK(duralog_read_next(durable, &r));
    CHECK_IS(each ? DURALOG_OK : DURALOG_E_AT_END,
             duralog_read_next(reader, &r));
    CHECK_OK(duralog_reader_close(&reader));
    CHECK_OK(duralog_reader_close(&durable));
    CHECK_OK(duralog_reader_close(&visible));
    close_log(log);
    directory_remove(at->path);
  }
}

static void the_read_level_can_be_chosen(struct test_place *at) {
  duralog_record r;
  duralog_options o = host_driven(every_record);
  o.read_level = DURALOG_LEVEL_WRITTEN;
  duralog *log = open_with(at->path, &o);
  append_written(log, "weak");
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_OK(duralog_read_next(reader, &r));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- what the disk can prove ---- */

static void check_proof(const struct test_place *at, uint64_t durable,
                        bool exactly) {
  duralog_report report;
  duralog_options o = small_options();
  o.read_only = true;
  const char *copy = path_in(at, "copy");
  directory_copy(at->path, copy);
  duralog *log = open_reporting(copy, &o, &report);
  CHECK(!report.writer_lives && report.damage_count == 0);
  CHECK(report.end >= durable);
  CHECK(report.durable_found <= report.end);
  if (exactly) CHECK(report.durable_found >= durable);
  close_log(log);
}

static void strict_mode_can_prove_what_it_promised(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    duralog_options o = host_driven(modes[m]);
    o.strict = true;
    duralog *log = open_with(at->path, &o);
    for (uint64_t i = 0; i < 25; i++) {
      append_numbers(log, i * 20, 20);
      if (i % 5 == 4) CHECK_OK(duralog_tick(log));
      check_proof(at, watermarks_of(log).durable, true);
    }
    close_log(log);
    directory_remove(at->path);
  }
}

static void closing_makes_all_durable_in_every_mode(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    duralog_options o = host_driven(modes[m]);
    duralog_report report;
    duralog *log = open_with(at->path, &o);
    append_numbers(log, 0, 500);
    close_log(log);
    log = open_reporting(at->path, &o, &report);
    CHECK(report.clean);
    CHECK_EQUAL(report.durable_found, 500);
    CHECK_EQUAL(watermarks_of(log).durable, 500);
    check_numbers(log, 500);
    close_log(log);
    directory_remove(at->path);
  }
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
        append_written(log, "weak");
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
  append_written(log, "weak");
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
    append_written(log, "weak");
    tick_until_idle(log);
    int64_t in_ms = deadline_of(log);
    CHECK(in_ms > 0 && in_ms <= 60);
    CHECK_EQUAL(watermarks_of(log).durable, i);
    pass_ms((uint64_t)in_ms);
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
    append_written(log, "old");
    pass_ms(60);
    append_written(log, "young");
    uint64_t age = watermarks_of(log).oldest_unsynced_ms;
    uint64_t passed = clock_now_ms() - before;
    CHECK(age + 12 >= 60 && age <= passed + 12); /* a coarse tick or two */
    CHECK_OK(duralog_sync(log));
    CHECK_EQUAL(watermarks_of(log).oldest_unsynced_ms, 0);
  }
  close_log(log);
}

static const struct test tests[] = {
    TEST(no_append_returns_beyond_its_modes_bound),
    TEST(modes_do_not_sync_more_often_than_asked),
    TEST(pagecache_syncs_nothing_by_itself),
    TEST(weaker_appends_count_towards_the_bound),
    TEST(an_interval_holds_at_every_append),
    TEST(a_durable_append_is_durable_in_every_mode),
    TEST(a_written_append_waits_for_no_sync),
    TEST(sync_covers_what_is_visible_and_is_idempotent),
    TEST(readers_see_what_is_acknowledged),
    TEST(the_read_level_can_be_chosen),
    TEST(strict_mode_can_prove_what_it_promised),
    TEST(closing_makes_all_durable_in_every_mode),
    TEST(wait_looks_at_the_level_asked_for),
    TEST(a_durable_wait_asks_for_a_sync_in_every_mode),
    TEST(where_every_append_waits_default_is_durable),
    TEST(a_time_limit_is_kept),
    TEST(a_tick_syncs_when_the_interval_is_over),
    TEST(without_an_interval_nothing_is_ever_due),
    TEST(ticks_prepare_and_seal),
    TEST(the_library_keeps_an_interval_by_itself),
    TEST(finished_segments_become_durable_by_themselves),
    TEST(the_age_of_the_oldest_unsynced_record_can_be_read),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
