/* SPDX-License-Identifier: MIT
 *
 * Reading what is whole: every test with mapped and with copying reads.
 */
#include "support.h"

enum { COUNT = 1500 }; /* records, over several segments */

static duralog *open_filled(const struct test_place *at, uint64_t count) {
  duralog_options o = small_pagecache();
  o.copying_reads = at->copying;
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, count);
  return log;
}

static uint64_t tell(const duralog_reader *reader) {
  uint64_t offset = 77;
  CHECK_OK(duralog_tell(reader, &offset));
  return offset;
}

static void check_record(const duralog_record *r, uint64_t number) {
  CHECK_EQUAL(r->offset, number);
  CHECK(record_is(r, number));
  CHECK_EQUAL(r->batch_last, number);
  CHECK(r->epoch > 0);
}

/* ---- next, previous, at ---- */

static void next_gives_all_in_order(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  for (uint64_t i = 0; i < COUNT; i++) {
    CHECK_EQUAL(tell(reader), i);
    CHECK_OK(duralog_read_next(reader, &r));
    check_record(&r, i);
  }
  for (int i = 0; i < 3; i++) {
    CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
    CHECK_EQUAL(r.offset, COUNT - 1); /* unchanged */
    CHECK_EQUAL(tell(reader), COUNT);
  }
  append_numbers(log, COUNT, 1);
  CHECK_OK(duralog_read_next(reader, &r));
  check_record(&r, COUNT);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void previous_gives_all_in_reverse(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  for (uint64_t i = COUNT; i-- > 0;) {
    CHECK_OK(duralog_read_previous(reader, &r));
    check_record(&r, i);
    CHECK_EQUAL(tell(reader), i);
  }
  CHECK_IS(DURALOG_E_AT_END, duralog_read_previous(reader, &r));
  CHECK_OK(duralog_read_next(reader, &r));
  check_record(&r, 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void previous_then_next_gives_the_same(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  for (uint64_t i = 3; i < COUNT; i += 97) {
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, i));
    CHECK_OK(duralog_read_previous(reader, &r));
    check_record(&r, i - 1);
    CHECK_OK(duralog_read_next(reader, &r));
    check_record(&r, i - 1);
    CHECK_OK(duralog_read_next(reader, &r));
    check_record(&r, i);
    CHECK_OK(duralog_read_previous(reader, &r));
    check_record(&r, i);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void at_gives_any_and_places_behind_it(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  uint64_t random = TEST_SEED;
  duralog_record r;
  for (int i = 0; i < 3000; i++) {
    uint64_t offset = random_below(&random, COUNT);
    CHECK_OK(duralog_read_at(reader, offset, &r));
    check_record(&r, offset);
    CHECK_EQUAL(tell(reader), offset + 1);
    if (i % 3 == 0 && offset + 1 < COUNT) {
      CHECK_OK(duralog_read_next(reader, &r));
      check_record(&r, offset + 1);
    }
  }
  CHECK_OK(duralog_read_at(reader, 5, &r));
  CHECK_IS(DURALOG_E_RANGE, duralog_read_at(reader, COUNT, &r));
  CHECK_IS(DURALOG_E_RANGE, duralog_read_at(reader, UINT64_MAX, &r));
  CHECK_EQUAL(tell(reader), 6); /* unchanged */
  CHECK_EQUAL(r.offset, 5);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- many ---- */

static void many_gives_runs_without_gaps(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record records[64];
  for (size_t max = 1; max <= COUNT_OF(records); max += 9) {
    uint64_t next = 0;
    size_t count;
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_START, 0));
    while (duralog_read_many(reader, records, max, 0, &count) == DURALOG_OK) {
      CHECK(count >= 1 && count <= max);
      for (size_t i = 0; i < count; i++) check_record(&records[i], next++);
      CHECK_EQUAL(tell(reader), next);
    }
    CHECK_EQUAL(next, COUNT);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void many_keeps_its_limits(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record records[200];
  size_t count = 77;
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_read_many(reader, records, 0, 0, &count));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_many(reader, NULL, 1, 0, &count));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_many(reader, records, 1, 0, NULL));
  CHECK_EQUAL(count, 77);
  for (size_t bytes = 1; bytes < 20000; bytes *= 3) {
    size_t sum = 0;
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, 40));
    CHECK_OK(duralog_read_many(reader, records, 200, bytes, &count));
    for (size_t i = 0; i < count; i++) sum += records[i].size;
    CHECK(sum <= bytes + RECORD_BYTES_MAX);
  }
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  count = 77;
  CHECK_IS(DURALOG_E_AT_END,
           duralog_read_many(reader, records, 200, 0, &count));
  CHECK_EQUAL(count, 77);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void records_of_one_call_are_valid_together(struct test_place *at) {
  duralog *log = open_filled(at, COUNT); /* until the next one */
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_reader *other = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record records[100], r;
  size_t count;
  while (duralog_read_many(reader, records, 100, 0, &count) == DURALOG_OK) {
    append_numbers(log, watermarks_of(log).end, 1);
    CHECK_OK(duralog_read_at(other, records[0].offset / 2, &r));
    for (size_t i = 0; i < count; i++)
      check_record(&records[i], records[0].offset + i);
    if (watermarks_of(log).end > COUNT + 200) break;
  }
  CHECK_OK(duralog_reader_close(&reader));
  CHECK_OK(duralog_reader_close(&other));
  close_log(log);
}

/* ---- seek and tell ---- */

static void seek_moves_within_the_log_only(struct test_place *at) {
  duralog *log = open_filled(at, COUNT);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, 1000));
  CHECK_IS(DURALOG_E_RANGE,
           duralog_seek(reader, DURALOG_SEEK_OFFSET, COUNT + 1));
  CHECK_IS(DURALOG_E_RANGE,
           duralog_seek(reader, DURALOG_SEEK_OFFSET, UINT64_MAX));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_seek(reader, (duralog_whence)3, 0));
  CHECK_EQUAL(tell(reader), 1000);
  CHECK_OK(duralog_read_next(reader, &r));
  check_record(&r, 1000);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, COUNT));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_START, 12345));
  CHECK_EQUAL(tell(reader), 0);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 12345));
  CHECK_EQUAL(tell(reader), COUNT);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_tell(reader, NULL));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void a_reader_begins_at_the_start(struct test_place *at) {
  duralog *log = open_filled(at, 0);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  CHECK_EQUAL(tell(reader), 0);
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_previous(reader, &r));
  CHECK_IS(DURALOG_E_RANGE, duralog_read_at(reader, 0, &r));
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  append_numbers(log, 0, 3);
  CHECK_OK(duralog_read_next(reader, &r));
  check_record(&r, 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void arguments_are_checked(struct test_place *at) {
  duralog *log = open_filled(at, 10);
  duralog_reader *reader = NULL;
  duralog_damage damage;
  duralog_held *held = NULL;
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_reader_open(log, (duralog_level)3, &reader));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_reader_open(log, (duralog_level)-1, &reader));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_reader_open(log, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK(reader == NULL);
  reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_next(reader, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_previous(reader, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_read_at(reader, 1, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_reader_diagnose(reader, &damage, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_reader_diagnose(reader, NULL, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_hold(reader, NULL, &held));
  CHECK_EQUAL(tell(reader), 0);
  CHECK_OK(duralog_reader_close(&reader));
  CHECK(reader == NULL);
  close_log(log);
}

/* ---- keys, batches, large records ---- */

static void keyed_batches_of_large_records_come_back(struct test_place *at) {
  enum { SIZE = 15000, BATCHES = 30 };
  duralog_options o = small_pagecache();
  o.copying_reads = at->copying;
  o.record_bytes_max = SIZE + 8;
  duralog *log = open_with(at->path, &o);
  uint8_t *data = malloc(SIZE);
  for (uint64_t b = 0; b < BATCHES; b++) {
    memset(data, (int)b, SIZE);
    duralog_entry entries[3] = {
        {.data = data, .size = SIZE, .key = &b, .key_size = 8},
        {.data = data, .size = b, .timestamp_ms = -1, .has_timestamp = true},
        {.key = "", .timestamp_ms = INT64_MIN, .has_timestamp = true}};
    CHECK_OK(
        duralog_append_batch(log, entries, 3, DURALOG_LEVEL_DEFAULT, NULL));
  }
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  for (uint64_t b = BATCHES; b-- > 0;) {
    duralog_record r;
    memset(data, (int)b, SIZE);
    CHECK_OK(duralog_read_at(reader, 3 * b, &r));
    CHECK_BYTES(data, SIZE, r.data, r.size);
    CHECK_BYTES(&b, sizeof b, r.key, r.key_size);
    CHECK_EQUAL(r.batch_last, UINT64_MAX);
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK_BYTES(data, b, r.data, r.size);
    CHECK(r.key == NULL && r.timestamp_ms == -1);
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.key != NULL && r.key_size == 0 && r.size == 0 && r.data != NULL);
    CHECK(r.timestamp_ms == INT64_MIN && r.batch_last == 3 * b + 2);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  free(data);
}

static void epochs_are_told_apart(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.copying_reads = at->copying;
  uint64_t epochs[5];
  for (uint64_t life = 0; life < COUNT_OF(epochs); life++) {
    duralog *log = open_with(at->path, &o);
    append_numbers(log, life * 10, 10);
    epochs[life] = watermarks_of(log).epoch;
    if (life) CHECK(epochs[life] > epochs[life - 1]);
    close_log(log);
  }
  duralog *log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  while (duralog_read_next(reader, &r) == DURALOG_OK)
    CHECK_EQUAL(r.epoch, epochs[r.offset / 10]);
  CHECK_EQUAL(tell(reader), 50);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- holds ---- */

/* Over more segments than are kept open without being used. */
static void holds_keep_records_while_all_else_moves(struct test_place *at) {
  enum { HOLDS = 30, MANY = 3600 };
  duralog_options o = small_pagecache();
  o.segment_bytes = 16 << 10;
  o.copying_reads = at->copying;
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, MANY);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record records[HOLDS];
  duralog_held *held[HOLDS];
  for (uint64_t i = 0; i < HOLDS; i++) {
    CHECK_OK(duralog_read_at(reader, i * 49, &records[i]));
    CHECK_OK(duralog_hold(reader, &records[i], &held[i]));
  }
  append_numbers(log, MANY, MANY);
  CHECK_OK(duralog_reader_close(&reader));
  check_numbers(log, 2 * MANY);
  for (uint64_t i = 0; i < HOLDS; i++) check_record(&records[i], i * 49);
  for (uint64_t i = 0; i < HOLDS; i += 2) CHECK_OK(duralog_release(&held[i]));
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
  CHECK(log != NULL);
  check_numbers(log, 2 * MANY); /* nothing was closed */
  append_numbers(log, 2 * MANY, 1);
  for (uint64_t i = 1; i < HOLDS; i += 2) {
    check_record(&records[i], i * 49);
    CHECK_OK(duralog_release(&held[i]));
    CHECK(held[i] == NULL);
  }
  CHECK_IS(DURALOG_E_CLOSED, duralog_release(&held[0]));
  close_log(log);
}

static void only_records_of_the_last_call_can_be_held(struct test_place *at) {
  duralog *log = open_filled(at, 100);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record records[10], r = {.offset = 0};
  duralog_held *held = NULL;
  size_t count;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_hold(reader, &r, &held));
  CHECK_OK(duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_hold(reader, &r, NULL));
  CHECK_OK(duralog_read_many(reader, records, 10, 0, &count));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_hold(reader, &r, &held));
  CHECK(held == NULL);
  for (size_t i = 0; i < count; i++) {
    CHECK_OK(duralog_hold(reader, &records[i], &held));
    check_record(&records[i], 1 + i);
    CHECK_OK(duralog_release(&held));
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* Also one that stands right before frames which are not durable. */
static void a_durable_reader_stops_at_the_watermark(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_record r;
  append_numbers(log, 0, 10);
  CHECK_OK(duralog_sync(log));
  append_numbers(log, 10, 10);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  for (uint64_t i = 0; i < 10; i++) {
    CHECK_OK(duralog_read_next(reader, &r));
    check_record(&r, i);
  }
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_sync(log));
  CHECK_OK(duralog_read_next(reader, &r));
  check_record(&r, 10);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void open_readers_keep_a_log_open(struct test_place *at) {
  duralog *log = open_filled(at, 10);
  duralog_reader *a = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_reader *b = reader_of(log, DURALOG_LEVEL_DURABLE);
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
  CHECK_OK(duralog_reader_close(&a));
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
  CHECK_OK(duralog_reader_close(&b));
  CHECK_IS(DURALOG_E_CLOSED, duralog_reader_close(&b));
  append_numbers(log, 10, 1);
  close_log(log);
}

static void readers_are_independent(struct test_place *at) {
  enum { READERS = 40 };
  duralog *log = open_filled(at, COUNT);
  duralog_reader *readers[READERS];
  duralog_record r;
  for (uint64_t i = 0; i < READERS; i++) {
    readers[i] = reader_of(log, DURALOG_LEVEL_DEFAULT);
    CHECK_OK(duralog_seek(readers[i], DURALOG_SEEK_OFFSET, i * 30));
  }
  for (uint64_t step = 0; step < 30; step++)
    for (uint64_t i = 0; i < READERS; i++) {
      CHECK_OK(duralog_read_next(readers[i], &r));
      check_record(&r, i * 30 + step);
    }
  for (uint64_t i = 0; i < READERS; i++)
    CHECK_OK(duralog_reader_close(&readers[i]));
  close_log(log);
}

static const struct test tests[] = {
    TEST_BOTH(next_gives_all_in_order),
    TEST_BOTH(previous_gives_all_in_reverse),
    TEST_BOTH(previous_then_next_gives_the_same),
    TEST_BOTH(at_gives_any_and_places_behind_it),
    TEST_BOTH(many_gives_runs_without_gaps),
    TEST_BOTH(many_keeps_its_limits),
    TEST_BOTH(records_of_one_call_are_valid_together),
    TEST_BOTH(seek_moves_within_the_log_only),
    TEST_BOTH(a_reader_begins_at_the_start),
    TEST_BOTH(arguments_are_checked),
    TEST_BOTH(keyed_batches_of_large_records_come_back),
    TEST_BOTH(epochs_are_told_apart),
    TEST_BOTH(holds_keep_records_while_all_else_moves),
    TEST_BOTH(only_records_of_the_last_call_can_be_held),
    TEST_BOTH(a_durable_reader_stops_at_the_watermark),
    TEST_BOTH(open_readers_keep_a_log_open),
    TEST_BOTH(readers_are_independent),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
