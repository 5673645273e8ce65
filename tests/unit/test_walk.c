/* SPDX-License-Identifier: MIT */
#include "image.h"

/* The next frame and what the walk says of it; steps over it if it may. */
static enum walk_result step(struct image *im, struct walk *w, struct frame *f,
                             bool *accepted) {
  *accepted = false;
  if (!walk_has_room(w)) return WALK_INVALID;
  const uint8_t *at = im->segments[w->segment - 1] + w->position;
  enum walk_result result = walk_header(w, at, f);
  if (result == WALK_OK && frame_body_valid(f, at + FRAME_HEADER_BYTES))
    *accepted = walk_accept(w, im->uuid, f, at + FRAME_HEADER_BYTES);
  return result;
}

static struct walk begin(struct image *im, size_t view) {
  struct walk w;
  struct start s;
  assert_int_equal(
      start_decode(&s, im->segments[view], im->uuid, im->views[view].number),
      BLOCK_VALID);
  walk_begin(&w, im->uuid, im->views[view].number, IMAGE_BYTES, &s);
  return w;
}

static void a_walk_meets_every_record_in_order(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 20);
  image_epoch(im, 2);
  image_batch(im, 5, 100);
  struct walk w = begin(im, 0);
  struct frame f;
  bool accepted;
  for (uint64_t i = 0; i < 25; i++) {
    if (i == 20) {
      assert_int_equal(step(im, &w, &f, &accepted), WALK_OK);
      assert_int_equal(frame_type(&f), FRAME_EPOCH);
    }
    assert_true(w.offset == i && w.position == im->records[i].position);
    assert_int_equal(step(im, &w, &f, &accepted), WALK_OK);
    assert_true(accepted);
    assert_int_equal(frame_type(&f), FRAME_RECORD);
    assert_int_equal((f.flags & FRAME_MORE) == 0, im->records[i].last);
  }
  assert_true(w.epoch == 2 && w.offset == im->w.offset);
  assert_int_equal(step(im, &w, &f, &accepted), WALK_INVALID);
  image_free(im);
}

static void a_frame_with_another_index_may_not_stand_here(void **state) {
  (void)state;
  for (int by = -1; by <= 1; by += 2) {
    struct image *im = image_new(1);
    image_records(im, 3);
    im->w.offset = (uint64_t)((int64_t)im->w.offset + by);
    image_record(im, 24, false);
    struct walk w = begin(im, 0);
    struct frame f;
    bool accepted;
    for (int i = 0; i < 3; i++)
      assert_int_equal(step(im, &w, &f, &accepted), WALK_OK);
    assert_int_equal(step(im, &w, &f, &accepted), WALK_INVALID);
    image_free(im);
  }
}

/* A frame of `size` body bytes whose header validates, at the position. */
static enum walk_result at_end(uint64_t position, uint32_t size,
                               uint16_t flags) {
  struct image *im = image_new(1);
  struct walk w = im->w;
  w.position = position;
  struct frame f = {.body_bytes = size, .flags = flags};
  enum walk_result result = WALK_INVALID;
  if (walk_has_room(&w)) {
    frame_encode(im->segments[0] + position, &f, w.seed, position);
    result = walk_header(&w, im->segments[0] + position, &f);
  }
  image_free(im);
  return result;
}

static void a_frame_ends_within_its_segment(void **state) {
  (void)state;
  enum { ROLL_AT = IMAGE_BYTES - FRAME_HEADER_BYTES };
  assert_int_equal(at_end(ROLL_AT, 0, FRAME_ROLL), WALK_OK);
  assert_int_equal(at_end(ROLL_AT + 8, 0, FRAME_ROLL), WALK_INVALID);
  assert_int_equal(at_end(ROLL_AT, 1, FRAME_RECORD), WALK_INVALID);
  assert_int_equal(at_end(ROLL_AT - 32, 40, FRAME_RECORD), WALK_INVALID);
  assert_int_equal(at_end(ROLL_AT - 32, 8, FRAME_RECORD), WALK_OK);
  assert_int_equal(at_end(4096, UINT32_MAX, FRAME_RECORD), WALK_INVALID);
  assert_int_equal(at_end(4096, IMAGE_BYTES - 4096, FRAME_RECORD),
                   WALK_INVALID);
  assert_int_equal(at_end(4096, UINT32_MAX - 6, FRAME_PAD), WALK_INVALID);
}

/* I21. Behind every other frame there is room for a ROLL, on which a writer
 * that goes on with the segment relies: where a walk accepts less, the ROLL is
 * stored behind the end of the mapping. */
static void i21_room_for_a_roll_is_left(void **state) {
  (void)state;
  enum { ROLL_AT = IMAGE_BYTES - FRAME_HEADER_BYTES };
  assert_int_equal(at_end(ROLL_AT - 24, 0, FRAME_RECORD), WALK_OK);
  assert_int_equal(at_end(ROLL_AT, 0, FRAME_RECORD), WALK_INVALID);
  assert_int_equal(at_end(ROLL_AT - 24, 8, FRAME_RECORD), WALK_INVALID);
  assert_int_equal(at_end(ROLL_AT - 24, 24, FRAME_PAD), WALK_INVALID);
}

static void what_is_unknown_is_newer_what_is_known_is_not(void **state) {
  (void)state;
  for (uint32_t flags = 0; flags <= UINT16_MAX; flags++) {
    unsigned type = flags & 0xF;
    bool record = type == 1 && !(flags & ~0x71u);
    bool internal = type >= 2 && type <= 4 && !(flags & ~0xFu);
    enum walk_result expected = record || internal ? WALK_OK : WALK_NEWER;
    UNIT_CHECK(at_end(4096, 0, (uint16_t)flags) == expected, "flags %04x",
               flags);
    if (flags > 0x200) flags += 96; /* each call makes an image */
  }
}

static void an_unknown_flag_in_a_bad_header_is_not_newer(void **state) {
  (void)state;
  struct image *im = image_new(1);
  struct walk w = im->w;
  struct frame f = {.flags = 0x0081};
  frame_encode(im->segments[0] + w.position, &f, w.seed, w.position);
  im->segments[0][w.position + 5] ^= 1;
  assert_int_equal(walk_header(&w, im->segments[0] + w.position, &f),
                   WALK_INVALID);
  image_free(im);
}

/* ---- epochs ---- */

static void i3_frames_of_an_older_epoch_do_not_follow_a_newer_one(
    void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_record(im, 24, false);
  struct walk before = im->w;
  image_epoch(im, 2);
  struct walk behind = im->w;
  /* The same record, written by one that has not heard of epoch 2. */
  im->w.seed = before.seed;
  image_record(im, 24, false);
  struct frame f;
  assert_int_equal(walk_header(&behind, im->segments[0] + behind.position, &f),
                   WALK_INVALID);
  image_free(im);
}

static void epochs_only_rise(void **state) {
  (void)state;
  static const struct {
    uint64_t from, to;
    bool allowed;
  } cases[] = {{1, 2, true},  {1, 9, true},  {5, 5, false},
               {5, 4, false}, {5, 0, false}, {5, UINT64_MAX, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct image *im = image_new(cases[i].from);
    uint8_t body[FRAME_EPOCH_BODY_BYTES] = {0};
    struct frame f = {.body_bytes = sizeof body, .flags = FRAME_EPOCH};
    store64(body, cases[i].to);
    struct walk w = im->w;
    assert_int_equal(walk_accept(&w, im->uuid, &f, body), cases[i].allowed);
    if (cases[i].allowed) {
      assert_true(w.epoch == cases[i].to);
      assert_true(w.seed == frame_seed(im->uuid, w.segment, cases[i].to));
      assert_true(w.offset == im->w.offset); /* it takes no offset */
      assert_true(w.position == im->w.position + 40);
    }
    image_free(im);
  }
}

static void an_epoch_frame_has_a_body_of_its_size(void **state) {
  (void)state;
  uint8_t body[24] = {9};
  for (uint32_t size = 0; size <= sizeof body; size++) {
    struct image *im = image_new(1);
    struct frame f = {.body_bytes = size, .flags = FRAME_EPOCH};
    assert_int_equal(walk_accept(&im->w, im->uuid, &f, body), size == 16);
    image_free(im);
  }
}

static void internal_frames_take_no_offset(void **state) {
  (void)state;
  static const uint16_t types[] = {FRAME_PAD, FRAME_ROLL};
  for (size_t i = 0; i < 2; i++) {
    struct image *im = image_new(1);
    struct frame f = {.body_bytes = i ? 0 : 13, .flags = types[i]};
    struct walk w = im->w;
    assert_true(
        walk_accept(&w, im->uuid, &f, (const uint8_t *)"0123456789abc"));
    assert_true(w.offset == im->w.offset);
    assert_true(w.position == im->w.position + frame_bytes(f.body_bytes));
    image_free(im);
  }
}

/* ---- timestamps ---- */

static void times_are_base_and_delta_or_their_own_block(void **state) {
  (void)state;
  struct walk w = {.base_time = 1700000000000};
  struct frame f = {.time_delta = -5};
  struct frame_body none = {0}, block = {.has_time = true, .time = INT64_MIN};
  assert_true(walk_time(&w, &f, &none) == 1699999999995);
  assert_true(walk_time(&w, &f, &block) == INT64_MIN);
  w.base_time = INT64_MAX; /* hostile: no overflow, whatever comes out */
  f.time_delta = INT32_MAX;
  (void)walk_time(&w, &f, &none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_walk_meets_every_record_in_order),
      cmocka_unit_test(a_frame_with_another_index_may_not_stand_here),
      cmocka_unit_test(a_frame_ends_within_its_segment),
      cmocka_unit_test(i21_room_for_a_roll_is_left),
      cmocka_unit_test(what_is_unknown_is_newer_what_is_known_is_not),
      cmocka_unit_test(an_unknown_flag_in_a_bad_header_is_not_newer),
      cmocka_unit_test(i3_frames_of_an_older_epoch_do_not_follow_a_newer_one),
      cmocka_unit_test(epochs_only_rise),
      cmocka_unit_test(an_epoch_frame_has_a_body_of_its_size),
      cmocka_unit_test(internal_frames_take_no_offset),
      cmocka_unit_test(times_are_base_and_delta_or_their_own_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
