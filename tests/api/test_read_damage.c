/* SPDX-License-Identifier: MIT
 *
 * Readers and damage (I20, I23): the smallest provable range is reported, the
 * same each time; all else is given out; a damaged byte never is.
 */
#include <unistd.h>

#include "support.h"

enum { COUNT = 900 };

static duralog_options options_of(const struct test_place *at) {
  duralog_options o = small_options();
  o.segment_bytes = 32 << 10;
  o.durability.pagecache = true;
  o.copying_reads = at->copying;
  return o;
}

static void make_log(const struct test_place *at) {
  duralog_options o = options_of(at);
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, COUNT);
  close_log(log);
}

static duralog *reopen(const struct test_place *at) {
  duralog_options o = options_of(at);
  return open_with(at->path, &o);
}

/* A record in the middle of a sealed segment, with data of some size. */
static const struct test_frame *pick(const struct test_frames *f,
                                     uint64_t segment) {
  const struct test_frame *found = NULL;
  int seen = 0;
  for (size_t i = 0; i < f->count; i++) {
    const struct test_frame *frame = &f->list[i];
    bool fits = frame->segment == segment && frame->offset != UINT64_MAX &&
                frame->bytes > 100;
    if (fits && seen++ == 20) found = frame;
  }
  CHECK(found != NULL);
  return found;
}

static uint64_t first_of(const struct test_frames *f, uint64_t segment) {
  for (size_t i = 0; i < f->count; i++)
    if (f->list[i].segment == segment && f->list[i].offset != UINT64_MAX)
      return f->list[i].offset;
  return COUNT;
}

static duralog_damage expect_damage(duralog_reader *reader, uint64_t offset) {
  duralog_record r = {.offset = 77};
  duralog_damage damage = {.from = 77};
  duralog_diagnostic d = {.struct_size = sizeof d};
  CHECK_IS(DURALOG_E_CORRUPT, duralog_read_at(reader, offset, &r));
  CHECK_EQUAL(r.offset, 77);
  CHECK_OK(duralog_reader_diagnose(reader, &damage, &d));
  CHECK_EQUAL(d.error, DURALOG_E_CORRUPT);
  CHECK_EQUAL(d.position, damage.position);
  CHECK(d.text[0] != 0);
  CHECK(damage.from <= offset && offset < damage.to);
  return damage;
}

static void a_damaged_body_costs_its_record_alone(struct test_place *at) {
  make_log(at);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = pick(&f, 2);
  uint64_t k = hurt->offset, offset;
  file_flip(segment_path(at->path, 2), hurt->position + 24 + 30);
  duralog *log = reopen(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  duralog_damage d = expect_damage(reader, k);
  CHECK(d.from == k && d.to == k + 1 && d.segment == 2);
  CHECK_EQUAL(d.position, hurt->position);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, k));
  for (int i = 0; i < 5; i++) {
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_next(reader, &r));
    CHECK_OK(duralog_tell(reader, &offset));
    CHECK_EQUAL(offset, k);
  }
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, k + 1));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_read_previous(reader, &r));
  CHECK_OK(duralog_tell(reader, &offset));
  CHECK_EQUAL(offset, k + 1);
  for (uint64_t i = k + 1; i < COUNT; i++) {
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  frames_free(&f);
}

static void many_gives_what_is_before_the_damage(struct test_place *at) {
  make_log(at);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = pick(&f, 2);
  uint64_t k = hurt->offset;
  file_flip(segment_path(at->path, 2), hurt->position + 24);
  duralog *log = reopen(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record records[50];
  size_t count = 77;
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, k - 10));
  CHECK_OK(duralog_read_many(reader, records, 50, 0, &count));
  CHECK_EQUAL(count, 10);
  for (size_t i = 0; i < count; i++) CHECK(record_is(&records[i], k - 10 + i));
  count = 77;
  CHECK_IS(DURALOG_E_CORRUPT,
           duralog_read_many(reader, records, 50, 0, &count));
  CHECK_IS(DURALOG_E_CORRUPT,
           duralog_read_many(reader, records, 50, 0, &count));
  CHECK_EQUAL(count, 77);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, k + 1));
  CHECK_OK(duralog_read_many(reader, records, 50, 0, &count));
  CHECK(record_is(&records[0], k + 1));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  frames_free(&f);
}

static void a_damaged_header_costs_the_rest_of_its_segment(
    struct test_place *at) {
  make_log(at);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = pick(&f, 2);
  uint64_t k = hurt->offset, next = first_of(&f, 3);
  for (uint64_t byte = 0; byte < 24; byte++) {
    test_note("byte %llu of the header", (unsigned long long)byte);
    file_flip(segment_path(at->path, 2), hurt->position + byte);
    duralog *log = reopen(at);
    duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
    duralog_record r;
    duralog_damage d = expect_damage(reader, k);
    CHECK(d.from == k && d.to == next && d.segment == 2);
    CHECK_EQUAL(d.position, hurt->position);
    d = expect_damage(reader, next - 1);
    CHECK_EQUAL(d.to, next);
    CHECK_OK(duralog_read_at(reader, k - 1, &r));
    CHECK(record_is(&r, k - 1));
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_next(reader, &r));
    CHECK_OK(duralog_read_at(reader, next, &r));
    CHECK(record_is(&r, next));
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, next));
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_previous(reader, &r));
    CHECK_OK(duralog_reader_close(&reader));
    close_log(log);
    file_flip(segment_path(at->path, 2), hurt->position + byte); /* back */
  }
  duralog *log = reopen(at);
  check_numbers(log, COUNT);
  close_log(log);
  frames_free(&f);
}

/* Any byte of a frame: wrong bytes are never given out. Padding does not
 * count, keys and times do. */
static void no_damaged_byte_is_ever_served(struct test_place *at) {
  duralog_options o = options_of(at);
  duralog *log = open_with(at->path, &o);
  duralog_entry e = {.data = "some data of a record",
                     .size = 21,
                     .key = "its key",
                     .key_size = 7,
                     .timestamp_ms = INT64_MAX,
                     .has_timestamp = true};
  CHECK_OK(duralog_append(log, "before", 6, NULL));
  CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_DURABLE, NULL));
  CHECK_OK(duralog_append(log, "after", 5, NULL));
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = frame_of(&f, 1);
  CHECK_EQUAL(hurt->bytes, 24 + 8 + 4 + 7 + 21);
  for (uint64_t byte = 0; byte < hurt->bytes; byte++) {
    test_note("byte %llu", (unsigned long long)byte);
    file_flip(segment_path(at->path, 1), hurt->position + byte);
    duralog_damage d = expect_damage(reader, 1);
    CHECK_EQUAL(d.from, 1);
    CHECK_EQUAL(d.to, byte < 24 ? 3 : 2);
    file_flip(segment_path(at->path, 1), hurt->position + byte);
    duralog_record r;
    CHECK_OK(duralog_read_at(reader, 1, &r));
    CHECK_BYTES(e.data, e.size, r.data, r.size);
    CHECK_BYTES(e.key, e.key_size, r.key, r.key_size);
  }
  CHECK_OK(duralog_reader_close(&reader));
  frames_free(&f);
  close_log(log);
}

/* Damage that comes while the log is open: verified with each read. */
static void damage_under_an_open_log_is_met(struct test_place *at) {
  make_log(at);
  struct test_frames f = frames_load(at->path);
  duralog *log = reopen(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  struct survey before, during;
  survey_make(log, &before, COUNT);
  CHECK_EQUAL(before.delivered, COUNT);
  uint64_t random = TEST_SEED;
  for (int i = 0; i < 60; i++) {
    uint64_t k = random_below(&random, COUNT);
    const struct test_frame *hurt = frame_of(&f, k);
    uint64_t position = hurt->position + random_below(&random, hurt->bytes);
    test_note("record %llu, byte %llu of segment %llu", (unsigned long long)k,
              (unsigned long long)position, (unsigned long long)hurt->segment);
    file_flip(segment_path(at->path, hurt->segment), position);
    survey_make(log, &during, COUNT);
    CHECK(!during.is_there[k]);
    uint64_t next = first_of(&f, hurt->segment + 1);
    bool header = position < hurt->position + 24;
    for (uint64_t j = 0; j < COUNT; j++)
      CHECK_EQUAL(during.is_there[j], header ? j < k || j >= next : j != k);
    file_flip(segment_path(at->path, hurt->segment), position);
  }
  survey_make(log, &during, COUNT);
  CHECK_EQUAL(during.delivered, COUNT);
  CHECK_OK(duralog_reader_close(&reader));
  append_numbers(log, COUNT, 10);
  close_log(log);
  frames_free(&f);
}

/* Only copying reads: a mapping of a file that was cut is a signal. */
static void a_file_cut_under_an_open_log_is_damage(struct test_place *at) {
  make_log(at);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *first = pick(&f, 2);
  duralog_options o = options_of(at);
  o.read_only = true;
  o.copying_reads = true;
  duralog *log = open_with(at->path, &o);
  struct survey s;
  survey_make(log, &s, COUNT);
  file_cut(segment_path(at->path, 2), first->position + 10);
  survey_make(log, &s, COUNT);
  for (uint64_t j = 0; j < COUNT; j++)
    CHECK_EQUAL(s.is_there[j], j < first->offset || j >= first_of(&f, 3));
  file_cut(segment_path(at->path, 2), 0);
  survey_make(log, &s, COUNT);
  for (uint64_t j = 0; j < COUNT; j++)
    CHECK_EQUAL(s.is_there[j], j < first_of(&f, 2) || j >= first_of(&f, 3));
  close_log(log);
  frames_free(&f);
}

static void damage_in_a_sealed_segment_does_not_stop_a_writer(
    struct test_place *at) {
  make_log(at);
  struct test_frames f = frames_load(at->path);
  file_zero(segment_path(at->path, 2), 8192, 512);
  struct survey s;
  for (uint64_t life = 0; life < 3; life++) {
    duralog *log = reopen(at);
    append_numbers(log, COUNT + life * 20, 20);
    survey_make(log, &s, UINT64_MAX);
    CHECK_EQUAL(s.end, COUNT + (life + 1) * 20);
    CHECK(s.unreadable > 0);
    CHECK(s.unreadable <= first_of(&f, 3) - first_of(&f, 2));
    for (uint64_t j = first_of(&f, 3); j < s.end; j++) CHECK(s.is_there[j]);
    close_log(log);
  }
  frames_free(&f);
}

/* Hidden payloads: what looks like a frame inside of a payload is not one,
 * also behind damage (pitfall 24). */
static void frames_inside_payloads_are_never_served(struct test_place *at) {
  duralog_options o = options_of(at);
  o.record_bytes_max = 20 << 10;
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 40);
  close_log(log);
  size_t size;
  uint8_t *bytes = file_load(segment_path(at->path, 1), &size);
  log = open_with(at->path, &o);
  CHECK_OK(duralog_append(log, bytes + 4096, 8 << 10, NULL)); /* its frames */
  append_numbers(log, 41, 10);
  close_log(log);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = frame_of(&f, 40);
  file_zero(segment_path(at->path, hurt->segment), hurt->position, 24);
  o.read_only = true;
  log = open_with(at->path, &o);
  struct survey s;
  survey_make(log, &s, 40);
  for (uint64_t j = 0; j < 40; j++) CHECK(s.is_there[j]);
  CHECK(!s.is_there[40]);
  close_log(log);
  frames_free(&f);
  free(bytes);
}

static const struct test tests[] = {
    TEST_BOTH(a_damaged_body_costs_its_record_alone),
    TEST_BOTH(many_gives_what_is_before_the_damage),
    TEST_BOTH(a_damaged_header_costs_the_rest_of_its_segment),
    TEST_BOTH(no_damaged_byte_is_ever_served),
    TEST_BOTH(damage_under_an_open_log_is_met),
    TEST(a_file_cut_under_an_open_log_is_damage),
    TEST_BOTH(damage_in_a_sealed_segment_does_not_stop_a_writer),
    TEST_BOTH(frames_inside_payloads_are_never_served),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
