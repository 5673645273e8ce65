/* SPDX-License-Identifier: MIT
 *
 * Appending by one thread: records, keys, timestamps, sizes, batches, rolls.
 */
#include <time.h>

#include "support.h"

static uint8_t filler[1 << 17];

static void fill_filler(void) {
  uint64_t state = 1;
  for (size_t i = 0; i < sizeof filler; i++)
    filler[i] = (uint8_t)random_next(&state);
}

static duralog_record record_at(duralog_reader *reader, uint64_t offset) {
  duralog_record r;
  CHECK_OK(duralog_read_at(reader, offset, &r));
  CHECK_EQUAL(r.offset, offset);
  return r;
}

/* ---- sizes ---- */

static void records_of_every_size_come_back(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  fill_filler();
  enum { SIZES = 700 };
  for (uint64_t i = 0; i < SIZES; i++) {
    uint64_t offset;
    CHECK_OK(duralog_append(log, filler + i, i, &offset));
    CHECK_EQUAL(offset, i);
  }
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < SIZES; i++) {
    duralog_record r;
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK_BYTES(filler + i, i, r.data, r.size);
    CHECK(r.data != NULL && r.key == NULL && r.batch_last == i);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void largest_record(const struct test_place *at, uint64_t segment,
                           uint64_t limit) {
  duralog_options o = small_pagecache();
  o.segment_bytes = segment;
  o.record_bytes_max = limit;
  o.pad_syncs = at->copying;
  uint64_t max = limit ? limit : segment / 4, offset = 77;
  duralog *log = open_with(at->path, &o);
  fill_filler();
  for (uint64_t i = 0; i < 5; i++) {
    CHECK_IS(DURALOG_E_TOO_BIG, duralog_append(log, filler, max + 1, &offset));
    CHECK_EQUAL(offset, i ? i - 1 : 77);
    CHECK_EQUAL(watermarks_of(log).end, i);
    CHECK_OK(duralog_append(log, filler + i, max, &offset));
    CHECK_EQUAL(offset, i);
  }
  CHECK_IS(DURALOG_E_TOO_BIG, duralog_append(log, filler, SIZE_MAX, &offset));
  close_log(log);
  log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < 5; i++) {
    duralog_record r = record_at(reader, i);
    CHECK_BYTES(filler + i, max, r.data, r.size);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  directory_remove(at->path);
}

static void the_largest_record_fits_and_one_byte_more_is_too_big(
    struct test_place *at) {
  const uint64_t room = at->copying ? 8448 : 4352; /* the variant: pad_syncs */
  largest_record(at, 16 << 10, 0);
  largest_record(at, 16 << 10, (16 << 10) - room);
  largest_record(at, 64 << 10, (64 << 10) - room);
  largest_record(at, 64 << 10, 1);
}

static void no_data_is_no_record_of_that_size(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  uint64_t offset = 77;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_append(log, NULL, 1, &offset));
  CHECK_EQUAL(offset, 77);
  CHECK_EQUAL(watermarks_of(log).end, 0);
  CHECK_OK(duralog_append(log, NULL, 0, NULL));
  CHECK_OK(duralog_append(log, "", 0, NULL));
  CHECK_OK(duralog_append(log, "x", 1, NULL));
  CHECK_EQUAL(watermarks_of(log).end, 3);
  close_log(log);
}

/* ---- keys ---- */

static void keys_come_back_as_given(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  const duralog_entry entries[] = {
      {.data = "data", .size = 4},
      {.data = "data", .size = 4, .key = "", .key_size = 0},
      {.data = "data", .size = 4, .key = "key", .key_size = 3},
      {.data = NULL, .size = 0, .key = "only a key", .key_size = 10},
      {.data = NULL, .size = 0, .key = "k\0y", .key_size = 3},
      {.data = NULL, .size = 0}};
  for (size_t i = 0; i < COUNT_OF(entries); i++)
    CHECK_OK(
        duralog_append_batch(log, &entries[i], 1, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK_OK(duralog_append_batch(log, entries, COUNT_OF(entries),
                                DURALOG_LEVEL_DEFAULT, NULL));
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < 2 * COUNT_OF(entries); i++) {
    const duralog_entry *e = &entries[i % COUNT_OF(entries)];
    duralog_record r = record_at(reader, i);
    CHECK_BYTES(e->data, e->size, r.data, r.size);
    CHECK((r.key == NULL) == (e->key == NULL));
    CHECK_BYTES(e->key, e->key_size, r.key, r.key_size);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void key_and_data_share_the_limit(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.segment_bytes = 16 << 10;
  const uint64_t max = o.record_bytes_max = o.segment_bytes - 4352;
  duralog *log = open_with(at->path, &o);
  uint64_t first = 77;
  fill_filler();
  for (size_t key = 0; key <= max; key += max / 4) {
    duralog_entry e = {.data = filler,
                       .size = max - key,
                       .key = filler + max,
                       .key_size = key};
    CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_DEFAULT, &first));
    uint64_t end = watermarks_of(log).end;
    e.key_size++;
    CHECK_IS(DURALOG_E_TOO_BIG,
             duralog_append_batch(log, &e, 1, DURALOG_LEVEL_DEFAULT, &first));
    e.key_size = SIZE_MAX;
    CHECK_IS(DURALOG_E_TOO_BIG,
             duralog_append_batch(log, &e, 1, DURALOG_LEVEL_DEFAULT, &first));
    CHECK_EQUAL(first, end - 1);
    CHECK_EQUAL(watermarks_of(log).end, end);
  }
  close_log(log);
}

/* ---- timestamps ---- */

static const int64_t times[] = {0,
                                1,
                                -1,
                                INT64_MIN,
                                INT64_MAX,
                                INT64_MIN + 1,
                                INT32_MAX,
                                INT32_MIN,
                                INT64_C(1) << 40,
                                -(INT64_C(1) << 40)};

static void check_times(duralog *log, uint64_t from) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (size_t i = 0; i < COUNT_OF(times); i++) {
    duralog_record r = record_at(reader, from + i);
    CHECK(r.timestamp_ms == times[i]);
    CHECK_BYTES("time", 4, r.data, r.size);
  }
  CHECK_OK(duralog_reader_close(&reader));
}

static void given_timestamps_are_kept(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog_entry entries[COUNT_OF(times)];
  duralog *log = open_with(at->path, &o);
  for (size_t i = 0; i < COUNT_OF(times); i++) {
    entries[i] = (duralog_entry){.data = "time",
                                 .size = 4,
                                 .key = i % 2 ? "k" : NULL,
                                 .key_size = i % 2,
                                 .timestamp_ms = times[i],
                                 .has_timestamp = true};
    CHECK_OK(
        duralog_append_batch(log, &entries[i], 1, DURALOG_LEVEL_WRITTEN, NULL));
  }
  CHECK_OK(duralog_append_batch(log, entries, COUNT_OF(times),
                                DURALOG_LEVEL_WRITTEN, NULL));
  for (int life = 0; life < 2; life++) {
    check_times(log, 0);
    check_times(log, COUNT_OF(times));
    close_log(log);
    log = open_with(at->path, &o);
  }
  close_log(log);
}

static int64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void other_timestamps_are_the_clock_and_never_go_back(
    struct test_place *at) {
  enum { PASSING_MS = 60, COARSE_MS = 20 }; /* many ticks of the clock */
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  int64_t before = wall_ms();
  uint64_t until = clock_now_ms() + PASSING_MS, count = 0;
  bool over = false; /* the last one comes when the time has passed */
  while (!over) {
    over = count >= 1000 && clock_now_ms() >= until;
    duralog_entry e = {.timestamp_ms = INT64_MAX,
                       .has_timestamp = count % 7 == 3 && !over};
    if (count == 5) e.timestamp_ms = -5; /* ignored */
    CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
    count++;
  }
  int64_t after = wall_ms(), first = 0, last = INT64_MIN;
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  while (duralog_read_next(reader, &r) == DURALOG_OK) {
    if (r.offset == 0) first = r.timestamp_ms;
    if (r.offset % 7 == 3 && r.offset + 1 < count) continue;
    CHECK(r.timestamp_ms >= last);
    CHECK(r.timestamp_ms >= before - COARSE_MS && r.timestamp_ms <= after);
    last = r.timestamp_ms;
  }
  CHECK(last - first >= PASSING_MS - COARSE_MS); /* and it goes on */
  CHECK_EQUAL(watermarks_of(log).end, count);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- batches ---- */

static void a_batch_is_consecutive_and_says_where_it_ends(
    struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  uint64_t end = 0;
  duralog_entry entries[400];
  fill_filler();
  for (size_t count = 1; count <= COUNT_OF(entries); count += 1 + count / 3) {
    uint64_t first = 77;
    for (size_t i = 0; i < count; i++)
      entries[i] = (duralog_entry){.data = filler + end + i, .size = i % 90};
    CHECK_OK(duralog_append_batch(log, entries, count, DURALOG_LEVEL_DEFAULT,
                                  &first));
    CHECK_EQUAL(first, end);
    duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
    for (size_t i = 0; i < count; i++) {
      duralog_record r = record_at(reader, end + i);
      CHECK_BYTES(filler + end + i, i % 90, r.data, r.size);
      CHECK_EQUAL(r.batch_last, i + 1 < count ? UINT64_MAX : r.offset);
    }
    CHECK_OK(duralog_reader_close(&reader));
    end += count;
  }
  CHECK_EQUAL(watermarks_of(log).end, end);
  close_log(log);
}

/* The largest number of records of this size that go as a batch. */
static size_t largest_batch(duralog *log, duralog_entry *entries, size_t room,
                            size_t size) {
  size_t fits = 0, too_big = room;
  for (size_t i = 0; i < room; i++)
    entries[i] = (duralog_entry){.data = filler, .size = size};
  while (too_big - fits > 1) {
    size_t count = fits + (too_big - fits) / 2;
    uint64_t end = watermarks_of(log).end, first = 77;
    duralog_error error = duralog_append_batch(log, entries, count,
                                               DURALOG_LEVEL_WRITTEN, &first);
    if (error == DURALOG_OK) {
      fits = count;
      CHECK_EQUAL(first, end);
      CHECK_EQUAL(watermarks_of(log).end, end + count);
    } else {
      too_big = count;
      CHECK_IS(DURALOG_E_TOO_BIG, error);
      CHECK_EQUAL(first, 77);
      CHECK_EQUAL(watermarks_of(log).end, end);
    }
  }
  return fits;
}

static void a_batch_fits_into_a_segment_or_is_too_big(struct test_place *at) {
  enum { ROOM = 4000 };
  duralog_options o = small_pagecache();
  duralog_entry *entries = calloc(ROOM, sizeof *entries);
  duralog *log = open_with(at->path, &o);
  const size_t sizes[] = {0, 1, 100, 1000, 16384};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    size_t count = largest_batch(log, entries, ROOM, sizes[i]);
    test_note("%zu records of %zu bytes", count, sizes[i]);
    CHECK(count * (sizes[i] + 24) <= o.segment_bytes);
    CHECK((count + 1) * (sizes[i] + 40) >= o.segment_bytes - 5000);
  }
  uint64_t end = watermarks_of(log).end;
  close_log(log);
  log = open_with(at->path, &o);
  CHECK_EQUAL(watermarks_of(log).end, end);
  close_log(log);
  free(entries);
}

static void one_record_too_big_spoils_the_whole_batch(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 5);
  for (size_t bad = 0; bad < 3; bad++) {
    uint64_t first = 77;
    duralog_entry entries[3] = {{.data = filler, .size = 10},
                                {.data = filler, .size = 10},
                                {.data = filler, .size = 10}};
    entries[bad].size = (16 << 10) + 1;
    CHECK_IS(
        DURALOG_E_TOO_BIG,
        duralog_append_batch(log, entries, 3, DURALOG_LEVEL_DEFAULT, &first));
    entries[bad] = (duralog_entry){.data = NULL, .size = 1};
    CHECK_IS(
        DURALOG_E_ARGUMENT,
        duralog_append_batch(log, entries, 3, DURALOG_LEVEL_DEFAULT, &first));
    CHECK_EQUAL(first, 77);
  }
  check_numbers(log, 5);
  close_log(log);
}

static void a_batch_needs_entries_and_a_level(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  duralog_entry e = {.data = "x", .size = 1};
  uint64_t first = 77;
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_append_batch(log, NULL, 1, DURALOG_LEVEL_DEFAULT, &first));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_append_batch(log, &e, 0, DURALOG_LEVEL_DEFAULT, &first));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_append_batch(log, &e, 1, (duralog_level)3, &first));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_append_batch(log, &e, 1, (duralog_level)-1, &first));
  CHECK_EQUAL(first, 77);
  CHECK_EQUAL(watermarks_of(log).end, 0);
  close_log(log);
}

/* ---- segments ---- */

/* Segments without gaps from 0 to the end; how many. */
static size_t check_segments(duralog *log) {
  duralog_segment s = {.struct_size = sizeof s};
  uint64_t end = watermarks_of(log).end, expected = 0;
  size_t count = 0;
  duralog_error error;
  while ((error = duralog_get_segment(log, count, &s)) == DURALOG_OK) {
    CHECK(!s.damaged);
    CHECK_EQUAL(s.number, count + 1);
    CHECK_EQUAL(s.first, expected);
    CHECK(s.end >= s.first && s.end <= end);
    CHECK(s.used <= s.bytes);
    CHECK(s.used > 0 || !s.sealed);
    expected = s.end;
    count++;
  }
  CHECK_IS(DURALOG_E_RANGE, error);
  CHECK_EQUAL(expected, end);
  CHECK_IS(DURALOG_E_RANGE, duralog_get_segment(log, SIZE_MAX, &s));
  return count;
}

static void a_log_goes_on_over_many_segments(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.segment_bytes = 16 << 10;
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 5000);
  check_numbers(log, 5000);
  CHECK(check_segments(log) > 40);
  close_log(log);
  log = open_with(at->path, &o);
  check_numbers(log, 5000);
  duralog_segment s = {.struct_size = sizeof s};
  for (size_t i = 0; i + 1 < check_segments(log); i++) {
    CHECK_OK(duralog_get_segment(log, i, &s));
    CHECK(s.sealed && s.bytes == o.segment_bytes && s.epoch > 0);
  }
  close_log(log);
}

static void a_log_goes_on_over_many_openings(struct test_place *at) {
  duralog_options o = small_options(); /* I7, closing in between */
  o.segment_bytes = 16 << 10;
  for (uint64_t life = 0; life < 30; life++) {
    duralog_report report;
    o.segment_bytes = (uint64_t)(16 + life % 3 * 4) << 10;
    o.strict = life % 4 == 3;
    duralog *log = open_reporting(at->path, &o, &report);
    CHECK(report.clean == (life > 0));
    append_numbers(log, life * 37, 37);
    check_numbers(log, (life + 1) * 37);
    check_segments(log);
    close_log(log);
  }
}

static void a_smaller_limit_does_not_hide_larger_records(
    struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  fill_filler();
  CHECK_OK(duralog_append(log, filler, 16000, NULL));
  close_log(log);
  o.record_bytes_max = 10;
  log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r = record_at(reader, 0);
  CHECK_BYTES(filler, 16000, r.data, r.size);
  CHECK_IS(DURALOG_E_TOO_BIG, duralog_append(log, filler, 11, NULL));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static const struct test tests[] = {
    TEST(records_of_every_size_come_back),
    TEST_BOTH(the_largest_record_fits_and_one_byte_more_is_too_big),
    TEST(no_data_is_no_record_of_that_size),
    TEST(keys_come_back_as_given),
    TEST(key_and_data_share_the_limit),
    TEST(given_timestamps_are_kept),
    TEST(other_timestamps_are_the_clock_and_never_go_back),
    TEST(a_batch_is_consecutive_and_says_where_it_ends),
    TEST(a_batch_fits_into_a_segment_or_is_too_big),
    TEST(one_record_too_big_spoils_the_whole_batch),
    TEST(a_batch_needs_entries_and_a_level),
    TEST(a_log_goes_on_over_many_segments),
    TEST(a_log_goes_on_over_many_openings),
    TEST(a_smaller_limit_does_not_hide_larger_records),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
