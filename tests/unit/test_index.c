/* SPDX-License-Identifier: MIT */
#include "image.h"
#include "index.h"

/* Memory that can run out; counted, so that leaks show. */
static size_t allocations_left = SIZE_MAX, allocated;

static void *count_alloc(io_env *io, size_t bytes) {
  (void)io;
  if (allocations_left == 0) return NULL;
  allocations_left--;
  allocated++;
  return calloc(1, bytes);
}

static void count_free(io_env *io, void *memory) {
  (void)io;
  allocated--;
  free(memory);
}

static const struct duralog_environment environment = {.alloc = count_alloc,
                                                       .free = count_free};

/* The segment as a source; may fail, or lie about no byte beyond its end. */
struct segment_source {
  const uint8_t *bytes;
  uint64_t calls_left, calls;
};

static const uint8_t *get(void *context, uint64_t position, uint64_t size) {
  struct segment_source *s = context;
  if (s->calls_left == 0 || position + size > IMAGE_BYTES) return NULL;
  s->calls_left--;
  s->calls++;
  return s->bytes + position;
}

struct fixture {
  struct image *im;
  struct walk begin;
  struct segment_source bytes;
  struct frame_source source;
  struct frame_index index, times;
};

static void fixture_begin(struct fixture *x, struct image *im) {
  struct start s;
  *x = (struct fixture){.im = im};
  x->bytes = (struct segment_source){im->segments[0], UINT64_MAX, 0};
  x->source = (struct frame_source){get, &x->bytes};
  assert_int_equal(
      start_decode(&s, im->segments[0], im->uuid, SEGMENT_NUMBER_FIRST),
      BLOCK_VALID);
  walk_begin(&x->begin, im->uuid, SEGMENT_NUMBER_FIRST, IMAGE_BYTES, &s);
  allocations_left = SIZE_MAX;
  allocated = 0;
}

static void fixture_end(struct fixture *x) {
  index_free(&x->index, &environment);
  index_free(&x->times, &environment);
  assert_int_equal(allocated, 0);
  image_free(x->im);
}

static enum index_result find(struct fixture *x, uint64_t offset,
                              struct walk *w) {
  *w = x->begin;
  return index_find(&x->index, &environment, x->im->uuid, &x->source, w,
                    offset);
}

/* The walk stands at the record, or at internal frames right before it. */
static void check_stands_at(struct fixture *x, struct walk w, uint64_t offset) {
  struct frame f;
  assert_true(w.offset == offset);
  while (w.position < x->im->records[offset].position) {
    const uint8_t *at = x->im->segments[0] + w.position;
    assert_int_equal(walk_header(&w, at, &f), WALK_OK);
    assert_int_not_equal(frame_type(&f), FRAME_RECORD);
    assert_true(walk_accept(&w, x->im->uuid, &f, at + FRAME_HEADER_BYTES));
  }
  assert_true(w.position == x->im->records[offset].position);
  assert_int_equal(walk_header(&w, x->im->segments[0] + w.position, &f),
                   WALK_OK);
  assert_int_equal(frame_type(&f), FRAME_RECORD);
}

/* A segment full of everything: epochs, pads, batches, small and large. */
static struct image *image_of_everything(uint64_t seed) {
  struct image *im = image_new(1);
  uint64_t random = seed, epoch = 1;
  uint8_t padding[700] = {1};
  while (image_fits(im, 2000)) {
    switch (random_below(&random, 8)) {
      case 0: image_epoch(im, epoch += 1 + random_below(&random, 3)); break;
      case 1:
        image_frame(im, FRAME_PAD, padding, random_below(&random, 700));
        break;
      case 2:
        image_batch(im, 1 + random_below(&random, 4),
                    8 + random_below(&random, 90));
        break;
      case 3: image_record(im, 8 + random_below(&random, 900), false); break;
      default: image_records(im, 1 + random_below(&random, 5));
    }
  }
  image_record(im, 8, false);
  return im;
}

static void one_order(uint64_t seed) {
  struct fixture x;
  struct walk w;
  fixture_begin(&x, image_of_everything(seed));
  uint64_t end = x.im->w.offset, random = seed;
  for (uint64_t i = 0; i < 3 * end; i++) {
    uint64_t offset = seed % 3 == 0   ? i % end
                      : seed % 3 == 1 ? end - 1 - i % end
                                      : random_below(&random, end);
    assert_int_equal(find(&x, offset, &w), INDEX_FOUND);
    check_stands_at(&x, w, offset);
  }
  fixture_end(&x);
}

static void every_record_is_found_in_any_order(void **state) {
  (void)state;
  unit_seeds(60, one_order);
}

/* Whoever goes on from the place found must not miss an internal frame: what
 * is written again behind an unclean stop begins there. */
static void the_place_is_right_behind_the_record_before(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    struct fixture x;
    struct walk w;
    fixture_begin(&x, image_of_everything(seed));
    for (uint64_t o = x.im->w.offset; o-- > 1;) {
      const struct image_place *before = &x.im->records[o - 1];
      assert_int_equal(find(&x, o, &w), INDEX_FOUND);
      UNIT_CHECK(w.position == before->position + before->bytes,
                 "seed %llu offset %llu: internal frames at %llu are skipped",
                 (unsigned long long)seed, (unsigned long long)o,
                 (unsigned long long)(before->position + before->bytes));
    }
    fixture_end(&x);
  }
}

static void finding_again_is_short(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  struct image *im = image_new(1);
  while (image_fits(im, 8)) image_record(im, 8, false);
  fixture_begin(&x, im);
  uint64_t end = im->w.offset;
  assert_int_equal(find(&x, end - 1, &w), INDEX_FOUND);
  assert_true(x.index.count <= IMAGE_BYTES / INDEX_STRIDE_BYTES);
  for (uint64_t o = 0; o < end; o++) {
    x.bytes.calls = 0;
    assert_int_equal(find(&x, o, &w), INDEX_FOUND);
    assert_true(x.bytes.calls <= INDEX_STRIDE_BYTES / 32 + 1);
  }
  fixture_end(&x);
}

static void the_index_is_built_no_further_than_asked(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  struct image *im = image_new(1);
  image_records(im, 50);
  fixture_begin(&x, im);
  assert_int_equal(find(&x, 10, &w), INDEX_FOUND);
  assert_true(x.index.built.offset == 10);
  assert_true(x.bytes.calls <= 20); /* built once, stepped to once */
  fixture_end(&x);
}

static void the_end_itself_can_be_found(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  struct image *im = image_new(1);
  image_records(im, 20);
  fixture_begin(&x, im);
  assert_int_equal(find(&x, 20, &w), INDEX_FOUND);
  assert_true(w.offset == 20 && w.position == im->w.position);
  assert_int_equal(find(&x, 21, &w), INDEX_INVALID);
  image_records(im, 5); /* appended later: found then */
  assert_int_equal(find(&x, 24, &w), INDEX_FOUND);
  check_stands_at(&x, w, 24);
  fixture_end(&x);
}

static void building_stops_at_damage_and_stays_there(void **state) {
  (void)state;
  struct image *im = image_new(1);
  while (image_fits(im, 100)) image_record(im, 100, false);
  uint64_t end = im->w.offset, bad = end / 2;
  struct fixture x;
  struct walk w;
  fixture_begin(&x, im);
  image_at(im, bad)[7] ^= 1;
  for (int again = 0; again < 3; again++) {
    for (uint64_t o = 0; o < end; o++) {
      enum index_result result = find(&x, o, &w);
      assert_int_equal(result, o <= bad ? INDEX_FOUND : INDEX_INVALID);
      if (o < bad) check_stands_at(&x, w, o);
      if (o > bad)
        assert_true(w.offset == bad && w.position == im->records[bad].position);
    }
  }
  fixture_end(&x);
}

static void damaged_data_does_not_stop_it(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  struct image *im = image_new(1);
  image_records(im, 50);
  fixture_begin(&x, im);
  image_at(im, 20)[FRAME_HEADER_BYTES] ^= 1;
  assert_int_equal(find(&x, 40, &w), INDEX_FOUND);
  check_stands_at(&x, w, 40);
  fixture_end(&x);
}

static void a_damaged_epoch_stops_it(void **state) {
  (void)state;
  for (uint64_t at = 0; at < 40; at += 7) {
    struct fixture x;
    struct walk w;
    struct image *im = image_new(1);
    image_records(im, 5);
    uint64_t epoch_at = im->w.position;
    image_epoch(im, 2);
    image_records(im, 5);
    fixture_begin(&x, im);
    im->segments[0][epoch_at + at] ^= 1;
    assert_int_equal(find(&x, 7, &w), INDEX_INVALID);
    assert_true(w.position == epoch_at);
    assert_int_equal(find(&x, 4, &w), INDEX_FOUND);
    fixture_end(&x);
  }
}

static void a_roll_and_newer_frames_stop_it(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  struct image *im = image_new(1);
  image_records(im, 5);
  image_frame(im, FRAME_ROLL, "", 0);
  image_records(im, 5); /* what lies behind means nothing */
  fixture_begin(&x, im);
  assert_int_equal(find(&x, 6, &w), INDEX_INVALID);
  fixture_end(&x);
  im = image_new(1);
  image_records(im, 5);
  image_frame(im, 0x0801, "newer", 5);
  fixture_begin(&x, im);
  assert_int_equal(find(&x, 7, &w), INDEX_NEWER);
  fixture_end(&x);
}

static void without_memory_it_fails_and_works_later(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  fixture_begin(&x, image_of_everything(3));
  uint64_t end = x.im->w.offset;
  allocations_left = 0;
  assert_int_equal(find(&x, end - 1, &w), INDEX_NO_MEMORY);
  allocations_left = SIZE_MAX;
  assert_int_equal(find(&x, end - 1, &w), INDEX_FOUND);
  check_stands_at(&x, w, end - 1);
  fixture_end(&x);
}

static void a_source_that_fails_is_asked_again_later(void **state) {
  (void)state;
  struct fixture x;
  struct walk w;
  struct image *im = image_new(1);
  while (image_fits(im, 8)) image_record(im, 8, false);
  fixture_begin(&x, im);
  uint64_t end = im->w.offset, failures = 0;
  for (;; failures++) {
    x.bytes.calls_left = 130; /* a stride and a little */
    enum index_result result = find(&x, end - 1, &w);
    if (result == INDEX_FOUND) break;
    assert_int_equal(result, INDEX_SOURCE);
    assert_true(failures < 100);
  }
  assert_true(failures > 0);
  x.bytes.calls_left = UINT64_MAX;
  check_stands_at(&x, w, end - 1);
  fixture_end(&x);
}

/* ---- by time ---- */

/* Timestamps of the records of an image, searched from one end. */
struct times {
  int64_t of[IMAGE_RECORDS];
  bool in_body[IMAGE_RECORDS], unproven[IMAGE_RECORDS];
};

static void put_timed(struct image *im, struct times *t, int64_t time,
                      bool in_body) {
  t->of[im->w.offset] = time;
  t->in_body[im->w.offset] = in_body;
  image_timed(im, time, in_body, false);
}

/* Near and far ones, rising or not; epochs in between. */
static struct image *image_of_times(uint64_t seed, struct times *t) {
  struct image *im = image_new(1);
  uint64_t random = seed, epoch = 1;
  memset(t, 0, sizeof *t);
  while (image_fits(im, 100)) {
    bool in_body = random_below(&random, 3) == 0;
    int64_t time = im->w.base_time + (int64_t)random_below(&random, 200);
    if (seed % 2) time += (int64_t)im->w.offset * 3; /* rises by and large */
    if (in_body && random_below(&random, 20) == 0)
      time = random_below(&random, 2) ? INT64_MAX : INT64_MIN;
    put_timed(im, t, time, in_body);
    if (random_below(&random, 50) == 0) image_epoch(im, ++epoch);
  }
  return im;
}

static uint64_t first_from(const struct times *t, uint64_t end, int64_t time) {
  uint64_t i = 0;
  while (i < end && (t->unproven[i] || t->of[i] < time)) i++;
  return i;
}

static enum index_result find_time(struct fixture *x, uint64_t end,
                                   int64_t time, struct walk *w,
                                   int64_t *found) {
  *w = x->begin;
  *found = 77;
  return index_find_time(&x->times, &environment, x->im->uuid, &x->source, w,
                         end, time, found);
}

static void check_time(struct fixture *x, const struct times *t, uint64_t end,
                       int64_t time) {
  struct walk w;
  int64_t found;
  uint64_t wanted = first_from(t, end, time);
  assert_int_equal(find_time(x, end, time, &w, &found), INDEX_FOUND);
  assert_true(wanted < end ? w.offset == wanted : w.offset >= end);
  assert_true(found == (wanted < end ? t->of[wanted] : 77));
  if (wanted < end) check_stands_at(x, w, wanted);
}

static int64_t some_time(const struct times *t, uint64_t end,
                         uint64_t *random) {
  int64_t time = t->of[random_below(random, end)];
  switch (random_below(random, 6)) {
    case 0: return INT64_MIN;
    case 1: return INT64_MAX;
    case 2: return time == INT64_MAX ? time : time + 1;
    default: return time;
  }
}

static void one_search(uint64_t seed) {
  struct fixture x;
  struct times t;
  struct walk w;
  fixture_begin(&x, image_of_times(seed, &t));
  uint64_t end = x.im->w.offset, random = seed;
  for (int i = 0; i < 300; i++) {
    uint64_t below =
        random_below(&random, 3) ? end : random_below(&random, end);
    check_time(&x, &t, below, some_time(&t, end, &random));
    if (i % 10 > 0) continue;
    uint64_t offset = random_below(&random, end);
    assert_int_equal(find(&x, offset, &w), INDEX_FOUND);
    check_stands_at(&x, w, offset);
  }
  fixture_end(&x);
}

static void the_first_record_from_a_time_on_is_found(void **state) {
  (void)state;
  unit_seeds(60, one_search);
}

static void running_maxima_bound_what_is_before_an_entry(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct fixture x;
    struct times t;
    struct walk w;
    fixture_begin(&x, image_of_times(seed, &t));
    uint64_t end = x.im->w.offset;
    int64_t found, max = INT64_MIN;
    /* As far as the first INT64_MAX, if there is one: beyond nobody looks. */
    assert_int_equal(find_time(&x, end, INT64_MAX, &w, &found), INDEX_FOUND);
    for (uint32_t i = 0, o = 0; i < x.times.count; i++) {
      for (; o < x.times.entries[i].index; o++)
        if (t.of[o] > max) max = t.of[o];
      assert_true(x.times.entries[i].time_max == max);
    }
    fixture_end(&x);
  }
}

static void finding_a_time_again_is_short(void **state) {
  (void)state;
  struct fixture x;
  struct times t = {.of = {0}};
  struct image *im = image_new(1);
  for (int64_t i = 0; image_fits(im, 100); i++)
    put_timed(im, &t, im->w.base_time + i / 2, false);
  fixture_begin(&x, im);
  uint64_t end = im->w.offset;
  check_time(&x, &t, end, INT64_MAX);
  for (uint64_t o = 0; o < end; o++) {
    x.bytes.calls = 0;
    check_time(&x, &t, end, t.of[o]);
    assert_true(x.bytes.calls <= INDEX_STRIDE_BYTES / 32 + 2);
  }
  x.bytes.calls = 0;
  check_time(&x, &t, end, INT64_MAX);
  assert_true(x.bytes.calls == 0); /* there is none: not one frame is read */
  fixture_end(&x);
}

static void the_index_is_built_no_further_than_the_time(void **state) {
  (void)state;
  struct fixture x;
  struct times t = {.of = {0}};
  struct image *im = image_new(1);
  for (int64_t i = 0; i < 100; i++)
    put_timed(im, &t, im->w.base_time + i, false);
  fixture_begin(&x, im);
  check_time(&x, &t, 100, im->w.base_time + 10);
  assert_true(x.times.built.offset == 11);
  check_time(&x, &t, 100, INT64_MIN);
  check_time(&x, &t, 20, INT64_MAX); /* none below 20 */
  assert_true(x.times.built.offset == 20);
  fixture_end(&x);
}

/* A damaged body may claim any time: a record that is proven is found. */
static void unproven_times_hide_nothing(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    struct fixture x;
    struct times t;
    fixture_begin(&x, image_of_times(seed, &t));
    uint64_t end = x.im->w.offset, random = seed;
    for (int i = 0; i < 10; i++) {
      uint64_t o = random_below(&random, end);
      uint8_t *body = image_at(x.im, o) + FRAME_HEADER_BYTES;
      body[7] ^= (uint8_t)(1 + random_below(&random, 255));
      t.unproven[o] = t.in_body[o];
    }
    for (int i = 0; i < 100; i++)
      check_time(&x, &t, end, some_time(&t, end, &random));
    fixture_end(&x);
  }
}

static void nothing_is_found_behind_a_damaged_header(void **state) {
  (void)state;
  struct fixture x;
  struct times t = {.of = {0}};
  struct walk w;
  int64_t found, max = INT64_MIN;
  struct image *im = image_new(1);
  for (int64_t i = 0; i < 200; i++)
    put_timed(im, &t, im->w.base_time + i, i % 3 == 0);
  fixture_begin(&x, im);
  image_at(im, 150)[7] ^= 1;
  for (int again = 0; again < 3; again++)
    for (uint64_t o = 0; o < 200; o++) {
      enum index_result result = find_time(&x, 200, t.of[o], &w, &found);
      assert_int_equal(result, o < 150 ? INDEX_FOUND : INDEX_INVALID);
      assert_true(w.offset == (o < 150 ? o : 150));
    }
  w = x.begin;
  assert_int_equal(index_time_max(im->uuid, &x.source, &w, 200, &max),
                   INDEX_INVALID);
  assert_true(max == t.of[149]);
  fixture_end(&x);
}

static void the_largest_time_is_the_largest_proven(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    struct fixture x;
    struct times t;
    fixture_begin(&x, image_of_times(seed, &t));
    uint64_t end = x.im->w.offset, random = seed;
    int64_t wanted = INT64_MIN, max = INT64_MIN;
    for (uint64_t o = 0; o < end; o++) {
      if (t.in_body[o] && random_below(&random, 2)) {
        image_at(x.im, o)[FRAME_HEADER_BYTES + 3] ^= 1;
        continue;
      }
      if (t.of[o] > wanted) wanted = t.of[o];
    }
    struct walk w = x.begin;
    assert_int_equal(index_time_max(x.im->uuid, &x.source, &w, end, &max),
                     INDEX_FOUND);
    assert_true(max == wanted);
    fixture_end(&x);
  }
}

static void without_memory_or_bytes_a_time_is_found_later(void **state) {
  (void)state;
  struct fixture x;
  struct times t;
  struct walk w;
  int64_t found;
  fixture_begin(&x, image_of_times(3, &t));
  uint64_t end = x.im->w.offset;
  allocations_left = 0;
  assert_int_equal(find_time(&x, end, INT64_MAX, &w, &found), INDEX_NO_MEMORY);
  allocations_left = SIZE_MAX;
  for (uint64_t calls = 0;; calls++) {
    x.bytes.calls_left = calls;
    enum index_result result = find_time(&x, end, INT64_MAX, &w, &found);
    if (result == INDEX_FOUND) break;
    assert_int_equal(result, INDEX_SOURCE);
  }
  x.bytes.calls_left = UINT64_MAX;
  for (uint64_t o = 0; o < end; o++) check_time(&x, &t, end, t.of[o]);
  fixture_end(&x);
}

static void i21_hostile_segments_do_no_harm(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 500; seed++) {
    struct fixture x;
    struct walk w;
    uint64_t random = seed;
    fixture_begin(&x, image_of_everything(seed));
    for (int i = 0; i < 20; i++) {
      uint64_t at = SEGMENT_HEADER_BYTES +
                    random_below(&random, IMAGE_BYTES - SEGMENT_HEADER_BYTES);
      x.im->segments[0][at] = (uint8_t)random_next(&random);
    }
    for (int i = 0; i < 20; i++) {
      uint64_t offset = random_below(&random, x.im->w.offset);
      enum index_result result = find(&x, offset, &w);
      assert_true(result == INDEX_FOUND ? w.offset == offset
                                        : w.offset <= offset);
      int64_t found, time = 1000 + (int64_t)random_below(&random, 3);
      result = find_time(&x, offset, time, &w, &found);
      assert_true(w.position <= IMAGE_BYTES);
      if (result == INDEX_FOUND && w.offset < offset)
        assert_true(found >= time);
      assert_true(w.position <= IMAGE_BYTES);
    }
    fixture_end(&x);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_record_is_found_in_any_order),
      cmocka_unit_test(the_place_is_right_behind_the_record_before),
      cmocka_unit_test(finding_again_is_short),
      cmocka_unit_test(the_index_is_built_no_further_than_asked),
      cmocka_unit_test(the_end_itself_can_be_found),
      cmocka_unit_test(building_stops_at_damage_and_stays_there),
      cmocka_unit_test(damaged_data_does_not_stop_it),
      cmocka_unit_test(a_damaged_epoch_stops_it),
      cmocka_unit_test(a_roll_and_newer_frames_stop_it),
      cmocka_unit_test(without_memory_it_fails_and_works_later),
      cmocka_unit_test(a_source_that_fails_is_asked_again_later),
      cmocka_unit_test(the_first_record_from_a_time_on_is_found),
      cmocka_unit_test(running_maxima_bound_what_is_before_an_entry),
      cmocka_unit_test(finding_a_time_again_is_short),
      cmocka_unit_test(the_index_is_built_no_further_than_the_time),
      cmocka_unit_test(unproven_times_hide_nothing),
      cmocka_unit_test(nothing_is_found_behind_a_damaged_header),
      cmocka_unit_test(the_largest_time_is_the_largest_proven),
      cmocka_unit_test(without_memory_or_bytes_a_time_is_found_later),
      cmocka_unit_test(i21_hostile_segments_do_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
