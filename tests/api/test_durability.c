/* SPDX-License-Identifier: MIT
 *
 * When records become durable: modes and levels. Host-driven, where nothing
 * happens but by our calls.
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
  for (int i = 0; i < 10; i++) append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
  CHECK_EQUAL(watermarks_of(log).end, 10);
  CHECK_OK(duralog_append(log, "x", 1, NULL));
  CHECK(watermarks_of(log).durable >= 11 - 3);
  close_log(log);
}

static void an_interval_holds_at_every_append(struct test_place *at) {
  duralog_options o = host_driven((duralog_durability){.sync_interval_ms = 20});
  duralog *log = open_with(at->path, &o); /* nobody ticks */
  append_text(log, "first", DURALOG_LEVEL_WRITTEN);
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  for (uint64_t i = 1; i < 4; i++) {
    clock_pass_ms(45); /* an interval and two coarse ticks */
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
      append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
      append_text(log, "strong", DURALOG_LEVEL_DURABLE);
      CHECK_EQUAL(watermarks_of(log).durable, 2 * i + 2);
    }
    close_log(log);
    directory_remove(at->path);
  }
}

static void a_written_append_waits_for_no_sync(struct test_place *at) {
  duralog_options o = host_driven(every_record);
  duralog *log = open_with(at->path, &o);
  for (uint64_t i = 0; i < 50; i++)
    append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
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
    append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
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
  append_text(log, "weak", DURALOG_LEVEL_WRITTEN);
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

/* No sync writes to a block that holds what an earlier one made durable. */
static void padded_syncs_begin_on_a_block_of_their_own(struct test_place *at) {
  enum { APPENDS = 60, BATCH = 3, BLOCK = 4096 };
  duralog_options o = host_driven(every_record);
  o.pad_syncs = true;
  for (int strict = 0; strict < 2; strict++) {
    duralog_entry entries[BATCH] = {{.data = "a", .size = 1},
                                    {.data = "bb", .size = 2},
                                    {.key = "c", .key_size = 1}};
    o.strict = strict;
    duralog *log = open_with(at->path, &o);
    for (int i = 0; i < APPENDS; i++)
      CHECK_OK(duralog_append_batch(log, entries, BATCH, DURALOG_LEVEL_DEFAULT,
                                    NULL));
    struct test_frames f = frames_load(at->path);
    for (uint64_t i = BATCH; i < APPENDS * BATCH; i += BATCH) {
      const struct test_frame *before = frame_of(&f, i - 1);
      const struct test_frame *frame = frame_of(&f, i);
      uint64_t end = before->position + before->bytes - 1;
      CHECK(frame->segment != before->segment ||
            frame->position / BLOCK > end / BLOCK);
    }
    frames_free(&f);
    close_log(log);
    log = open_with(at->path, &o);
    CHECK_EQUAL(watermarks_of(log).end, APPENDS * BATCH);
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
    TEST(padded_syncs_begin_on_a_block_of_their_own),
    TEST(closing_makes_all_durable_in_every_mode),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
