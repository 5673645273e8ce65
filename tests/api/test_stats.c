/* SPDX-License-Identifier: MIT
 *
 * What duralog_get_stats counts, as a host sees it.
 */
#include "support.h"

static duralog_stats stats_of(const duralog *log) {
  duralog_stats s = {.struct_size = sizeof s};
  CHECK_OK(duralog_get_stats(log, &s));
  return s;
}

static uint64_t errors_of(const duralog *log, duralog_error error) {
  return stats_of(log).errors[-error];
}

static uint64_t errors_all(const duralog *log) {
  duralog_stats s = stats_of(log);
  uint64_t sum = 0;
  for (int i = 0; i < DURALOG_STATS_ERRORS; i++) sum += s.errors[i];
  return sum;
}

static duralog_options host_driven_pagecache(void) {
  duralog_options o = small_pagecache();
  o.host_driven = true;
  return o;
}

/* ---- appends ---- */

static void records_and_bytes_are_exact(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog_entry batch[3] = {
      {.data = "abc", .size = 3},
      {.data = "de", .size = 2, .key = "key", .key_size = 3},
      {.data = NULL, .size = 0}};
  duralog *log = open_with(at->path, &o);
  CHECK_EQUAL(stats_of(log).records, 0);
  CHECK_OK(duralog_append(log, "12345", 5, NULL));
  CHECK_OK(duralog_append_batch(log, batch, 3, DURALOG_LEVEL_WRITTEN, NULL));
  duralog_stats s = stats_of(log);
  CHECK_EQUAL(s.records, 4);
  CHECK_EQUAL(s.batches, 2);
  CHECK_EQUAL(s.payload_bytes, 5 + 3 + 2 + 3);
  /* Bodies of 5, 3, 4 + 3 + 2 and 0 bytes in multiples of 8. */
  CHECK_EQUAL(s.payload_bytes + s.framing_bytes, 4 * 24 + 8 + 8 + 16);
  CHECK_EQUAL(s.contended, 0);
  close_log(log);
}

static void only_what_this_handle_appended_counts(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 50);
  close_log(log);
  log = open_with(at->path, &o);
  CHECK_EQUAL(stats_of(log).records, 0);
  CHECK_EQUAL(stats_of(log).framing_bytes, 0);
  append_numbers(log, 50, 7);
  CHECK_EQUAL(stats_of(log).records, 7);
  CHECK_EQUAL(stats_of(log).batches, 7);
  close_log(log);
}

static void failed_appends_are_no_appends(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  o.record_bytes_max = 100;
  static const char large[200];
  duralog *log = open_with(at->path, &o);
  CHECK_IS(DURALOG_E_TOO_BIG, duralog_append(log, large, 200, NULL));
  CHECK_EQUAL(stats_of(log).records, 0);
  CHECK_EQUAL(stats_of(log).batches, 0);
  CHECK_EQUAL(stats_of(log).payload_bytes, 0);
  close_log(log);
}

static void segments_are_counted_on_their_way(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_stats s = stats_of(log);
  CHECK(s.rolls == 0 && s.segments_prepared == 0 && s.segments_sealed == 0);
  append_numbers(log, 0, 1000); /* nobody ticks: each roll comes late */
  s = stats_of(log);
  CHECK(s.rolls > 1);
  CHECK_EQUAL(s.segments_prepared, s.rolls);
  CHECK_EQUAL(s.late_preparations, s.rolls);
  CHECK_EQUAL(s.segments_sealed, 0);
  CHECK_OK(duralog_tick(log));
  CHECK_EQUAL(stats_of(log).segments_sealed, s.rolls);
  uint64_t late = s.late_preparations;
  for (uint64_t i = 1000; i < 2000; i++) {
    append_numbers(log, i, 1);
    if (i % 20 == 0) CHECK_OK(duralog_tick(log));
  }
  CHECK(stats_of(log).rolls > s.rolls + 1);
  CHECK_EQUAL(stats_of(log).late_preparations, late);
  close_log(log);
}

/* ---- syncs and waits ---- */

static void syncs_are_counted_by_kind(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_stats s = stats_of(log);
  CHECK(s.syncs[DURALOG_SYNC_OPEN].count >= 3); /* meta, its name, log-name */
  CHECK_EQUAL(s.syncs[DURALOG_SYNC_DATA].count, 0);
  append_numbers(log, 0, 1);
  uint64_t before = stats_of(log).syncs[DURALOG_SYNC_DATA].count;
  CHECK_EQUAL(before, 1); /* the epoch's */
  for (uint64_t i = 1; i < 6; i++) {
    append_numbers(log, i, 1);
    CHECK_OK(duralog_sync(log));
  }
  s = stats_of(log);
  CHECK_EQUAL(s.syncs[DURALOG_SYNC_DATA].count, before + 5);
  CHECK_EQUAL(s.syncs[DURALOG_SYNC_SEAL].count, 0);
  append_numbers(log, 6, 600);
  CHECK_OK(duralog_tick(log));
  s = stats_of(log);
  CHECK_EQUAL(s.syncs[DURALOG_SYNC_SEAL].count, 2 * s.segments_sealed);
  CHECK(s.segments_sealed > 0);
  CHECK(s.syncs[DURALOG_SYNC_SEGMENT].count >= 2 * s.segments_prepared);
  close_log(log);
}

static void times_of_syncs_add_up(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 300);
  duralog_stats s = stats_of(log);
  for (int kind = 0; kind < DURALOG_SYNC_KIND_COUNT; kind++) {
    const duralog_sync_times *t = &s.syncs[kind];
    uint64_t count = 0;
    for (int i = 0; i < DURALOG_STATS_BUCKETS; i++) count += t->histogram[i];
    test_note("kind %d", kind);
    /* Behind the scenes they may be counted at this moment. */
    if (kind == DURALOG_SYNC_DATA || kind == DURALOG_SYNC_OPEN)
      CHECK_EQUAL(count, t->count);
    CHECK(t->max_ns <= t->total_ns || t->count == 0);
    CHECK((t->count == 0) == (t->total_ns == 0));
  }
  for (int kind = DURALOG_SYNC_KIND_COUNT; kind < DURALOG_STATS_KINDS; kind++)
    CHECK_EQUAL(s.syncs[kind].count, 0);
  close_log(log);
}

static void who_waits_for_durability_is_counted(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 5);
  CHECK_EQUAL(stats_of(log).waits, 0);
  CHECK_OK(duralog_sync(log));
  CHECK_EQUAL(stats_of(log).waits, 1);
  CHECK_OK(duralog_sync(log)); /* nothing to wait for */
  CHECK_OK(duralog_wait(log, 4, DURALOG_LEVEL_DURABLE, -1));
  CHECK_EQUAL(stats_of(log).waits, 1);
  append_text(log, "x", DURALOG_LEVEL_DURABLE);
  CHECK_EQUAL(stats_of(log).waits, 2);
  append_text(log, "x", DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_wait(log, 6, DURALOG_LEVEL_DURABLE, 1000));
  CHECK_EQUAL(stats_of(log).waits, 3);
  CHECK(stats_of(log).wait_ns > 0);
  close_log(log);
}

static void the_oldest_unsynced_age_grows_and_goes(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  CHECK_EQUAL(stats_of(log).oldest_unsynced_ms, 0);
  append_numbers(log, 0, 1);
  clock_pass_ms(30);
  CHECK(stats_of(log).oldest_unsynced_ms >= 20);
  CHECK_OK(duralog_sync(log));
  CHECK_EQUAL(stats_of(log).oldest_unsynced_ms, 0);
  close_log(log);
}

/* ---- failures ---- */

static void failures_are_counted_by_name_once(struct test_place *at) {
  duralog_options o = small_options();
  o.host_driven = true;
  duralog *log = open_with(at->path, &o);
  duralog_record r;
  duralog_segment segment = {.struct_size = sizeof segment};
  duralog_damage damage;
  append_numbers(log, 0, 3);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_EQUAL(errors_all(log), 0);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_append(log, NULL, 1, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_next_deadline(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_stats(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_diagnose(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_watermarks(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_reader_open(log, 99, &reader));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_tell(reader, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_many(reader, &r, 0, 0, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_hold(reader, NULL, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_reader_diagnose(reader, &damage, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_next(reader, NULL));
  CHECK_EQUAL(errors_of(log, DURALOG_E_ARGUMENT), 11);
  CHECK_IS(DURALOG_E_TOO_BIG, duralog_append(log, "", 1 << 20, NULL));
  CHECK_EQUAL(errors_of(log, DURALOG_E_TOO_BIG), 1);
  CHECK_IS(DURALOG_E_RANGE, duralog_get_segment(log, 9, &segment));
  CHECK_IS(DURALOG_E_RANGE, duralog_read_at(reader, 3, &r));
  CHECK_IS(DURALOG_E_RANGE, duralog_seek(reader, DURALOG_SEEK_OFFSET, 4));
  CHECK_EQUAL(errors_of(log, DURALOG_E_RANGE), 3);
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_wait(log, 3, DURALOG_LEVEL_WRITTEN, 0));
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, 0));
  CHECK_EQUAL(errors_of(log, DURALOG_E_TIMEOUT), 2);
  duralog *same = log;
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&same));
  CHECK_EQUAL(errors_of(log, DURALOG_E_BUSY), 1);
  CHECK_EQUAL(errors_all(log), 11 + 1 + 3 + 2 + 1);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void the_end_of_the_log_is_no_failure(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_record r;
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_previous(reader, &r));
  CHECK_EQUAL(errors_all(log), 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void each_damaged_read_counts(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog_record r;
  duralog *log = open_with(at->path, &o);
  append_text(log, "a text to be found", DURALOG_LEVEL_WRITTEN);
  close_log(log);
  const char *segment = segment_path(at->path, 1);
  file_flip(segment, file_find(segment, 0, "a text to be", 12));
  o.read_only = true;
  log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  for (int i = 0; i < 3; i++)
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_next(reader, &r));
  CHECK_EQUAL(errors_of(log, DURALOG_E_CORRUPT), 3);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_read_previous(reader, &r));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_read_at(reader, 0, &r));
  CHECK_EQUAL(errors_of(log, DURALOG_E_CORRUPT), 5);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- handles ---- */

static void a_read_only_log_has_statistics(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 20);
  close_log(log);
  o.read_only = true;
  log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_append(log, "x", 1, NULL));
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_sync(log));
  duralog_stats s = stats_of(log);
  CHECK_EQUAL(s.errors[-DURALOG_E_READ_ONLY], 2);
  CHECK(s.records == 0 && s.batches == 0 && s.oldest_unsynced_ms == 0);
  CHECK_EQUAL(s.readers, 1);
  for (int kind = 0; kind < DURALOG_STATS_KINDS; kind++)
    CHECK_EQUAL(s.syncs[kind].count, 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void readers_and_holds_are_counted_while_open(struct test_place *at) {
  duralog_options o = host_driven_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_record r;
  duralog_held *held = NULL;
  append_numbers(log, 0, 1);
  CHECK_EQUAL(stats_of(log).readers, 0);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_OK(duralog_read_next(reader, &r));
  CHECK_OK(duralog_hold(reader, &r, &held));
  CHECK_EQUAL(stats_of(log).readers, 2);
  CHECK_OK(duralog_reader_close(&reader));
  CHECK_OK(duralog_release(&held));
  CHECK_EQUAL(stats_of(log).readers, 0);
  close_log(log);
}

/* ---- threads ---- */

enum { THREADS = 4, APPENDS = SANITIZED ? 2000 : 20000, BATCH = 3, SIZE = 10 };

struct crowd {
  duralog *log;
  _Atomic bool over;
};

static void *append_batches(void *context) {
  struct crowd *c = context;
  duralog_entry entries[BATCH];
  for (int i = 0; i < BATCH; i++)
    entries[i] = (duralog_entry){.data = "0123456789", .size = SIZE};
  for (int i = 0; i < APPENDS; i++)
    CHECK_OK(duralog_append_batch(c->log, entries, BATCH, DURALOG_LEVEL_DEFAULT,
                                  NULL));
  return NULL;
}

/* What belongs to one moment fits together at each. */
static void *look_on(void *context) {
  struct crowd *c = context;
  uint64_t records = 0;
  while (!atomic_load(&c->over)) {
    duralog_stats s = stats_of(c->log);
    CHECK(s.records >= records);
    CHECK_EQUAL(s.records, s.batches * BATCH);
    CHECK_EQUAL(s.payload_bytes, s.records * SIZE);
    CHECK_EQUAL(s.framing_bytes, s.records * (24 + 16 - SIZE));
    CHECK(s.naps == 0 || s.contended > 0);
    records = s.records;
  }
  return NULL;
}

static void totals_fit_together_while_threads_append(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.segment_bytes = 1 << 20;
  struct crowd c = {.log = open_with(at->path, &o)};
  pthread_t threads[THREADS];
  pthread_t onlooker = thread_start(look_on, &c);
  for (int i = 0; i < THREADS; i++)
    threads[i] = thread_start(append_batches, &c);
  for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
  atomic_store(&c.over, true);
  thread_join(onlooker);
  duralog_stats s = stats_of(c.log);
  CHECK_EQUAL(s.batches, THREADS * APPENDS);
  CHECK_EQUAL(s.records, watermarks_of(c.log).end);
  CHECK_EQUAL(errors_all(c.log), 0);
  close_log(c.log);
}

/* Where two cores append without a pause the lock is taken now and then. */
static void contention_is_counted(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.segment_bytes = 16 << 20;
  struct crowd c = {.log = open_with(at->path, &o)};
  for (int round = 0; round < 50 && !stats_of(c.log).contended; round++) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
      threads[i] = thread_start(append_batches, &c);
    for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
  }
  CHECK(stats_of(c.log).contended > 0);
  close_log(c.log);
}

static const struct test tests[] = {
    TEST(records_and_bytes_are_exact),
    TEST(only_what_this_handle_appended_counts),
    TEST(failed_appends_are_no_appends),
    TEST(segments_are_counted_on_their_way),
    TEST(syncs_are_counted_by_kind),
    TEST(times_of_syncs_add_up),
    TEST(who_waits_for_durability_is_counted),
    TEST(the_oldest_unsynced_age_grows_and_goes),
    TEST(failures_are_counted_by_name_once),
    TEST(the_end_of_the_log_is_no_failure),
    TEST(each_damaged_read_counts),
    TEST(a_read_only_log_has_statistics),
    TEST(readers_and_holds_are_counted_while_open),
    TEST(totals_fit_together_while_threads_append),
    TEST(contention_is_counted),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
