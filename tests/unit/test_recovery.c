/* SPDX-License-Identifier: MIT
 *
 * Recovery by example: images of logs with one thing wrong, and the plan that
 * must come of it. Random lives and hostile bytes: test_recovery_random.c.
 */
#include "image.h"

#define ULL(x) ((unsigned long long)(x))

static void check_end(const struct recovery_plan *plan, uint64_t end) {
  UNIT_CHECK(plan->verdict == RECOVERY_OK && plan->end.offset == end,
             "verdict %d, end %llu for %llu", plan->verdict,
             ULL(plan->end.offset), ULL(end));
  assert_int_equal(plan->damage_count, 0);
}

static void check_damage(const struct recovery_plan *plan, size_t i,
                         uint64_t from, uint64_t to, uint64_t segment,
                         uint64_t position) {
  const duralog_damage *d = &plan->damage[i];
  UNIT_CHECK(plan->verdict == RECOVERY_DAMAGED && plan->damage_count > i,
             "verdict %d, %zu ranges", plan->verdict, plan->damage_count);
  UNIT_CHECK(d->from == from && d->to == to && d->segment == segment &&
                 d->position == position,
             "[%llu, %llu) in %llu at %llu instead of [%llu, %llu) in %llu at "
             "%llu",
             ULL(d->from), ULL(d->to), ULL(d->segment), ULL(d->position),
             ULL(from), ULL(to), ULL(segment), ULL(position));
}

/* ---- whole logs ---- */

static void a_log_never_written_to_is_empty(void **state) {
  (void)state;
  struct image *im = image_new(0);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 0);
  assert_false(plan.end_started);
  assert_true(plan.epoch_max == 0 && plan.durable == 0 && plan.torn_bytes == 0);
  assert_false(plan.clean);
  image_free(im);
}

static void a_segment_without_records_is_empty(void **state) {
  (void)state;
  struct image *im = image_new(3);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 0);
  assert_true(plan.end_started && plan.end.position == SEGMENT_HEADER_BYTES);
  assert_true(plan.epoch_max == 3 && plan.end.epoch == 3);
  image_free(im);
}

static void a_whole_log_is_kept_to_its_end(void **state) {
  (void)state;
  struct image *im = image_of_three();
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 30);
  assert_true(plan.end_view == 2 && plan.end_started);
  assert_true(plan.end.position == im->w.position && plan.torn_bytes == 0);
  assert_true(plan.last_check == im->last_check);
  assert_true(plan.durable == 30 && plan.clean && plan.segments_walked == 3);
  assert_true(image_holds(im, &plan, image_tags(im)));
  for (size_t i = 0; i < 2; i++) { /* what sealing needs to know */
    assert_true(im->ends[i].end_offset == 10 * (i + 1));
    assert_true(im->ends[i].epoch == 1 && im->ends[i].last_check != 0);
    assert_true(im->ends[i].time_max_ms == 1000);
  }
  assert_true(im->ends[1].last_check == im->last_check);
  image_free(im);
}

/* What sealing will say of the segment's times. */
static void a_cut_batch_leaves_no_time_behind(void **state) {
  (void)state;
  for (int whole = 0; whole < 2; whole++) {
    struct image *im = image_new(1);
    image_timed(im, 1500, false, false);
    image_timed(im, 2000, false, true);
    image_timed(im, 2500, true, true);
    if (whole) image_timed(im, 1700, false, false);
    struct recovery_plan plan = image_plan(im);
    check_end(&plan, whole ? 4 : 1);
    assert_true(im->ends[0].time_max_ms == (whole ? 2500 : 1500));
    image_free(im);
  }
}

static void a_log_goes_on_behind_what_is_sealed(void **state) {
  (void)state;
  struct image *im = image_of_three();
  struct recovery_plan whole = image_plan(im);
  struct seal seal = im->ends[0];
  image_memory_free(im->segments[0]);
  im->count--;
  memmove(im->views, im->views + 1, im->count * sizeof *im->views);
  memmove(im->segments, im->segments + 1, im->count * sizeof *im->segments);
  im->from = (struct recovery_point){
      .offset = seal.end_offset, .epoch = seal.epoch, .check = seal.last_check};
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 30);
  assert_true(plan.end.position == whole.end.position && plan.clean);
  im->from.check ^= 1; /* sealed, but this is not what followed it */
  plan = image_plan(im);
  assert_int_equal(plan.verdict, RECOVERY_DAMAGED);
  im->from = (struct recovery_point){.unknown = true};
  plan = image_plan(im);
  check_end(&plan, 30);
  image_free(im);
}

/* ---- torn tails ---- */

/* The end of what is whole when everything from `cut` on is lost; for data of
 * sizes without padding. */
static uint64_t whole_below(const struct image *im, uint64_t end,
                            uint64_t cut) {
  uint64_t whole = 0;
  for (uint64_t i = 0; i < end; i++) {
    if (im->records[i].position + im->records[i].bytes > cut) break;
    if (im->records[i].last) whole = i + 1;
  }
  return whole;
}

/* I1, I4: at every byte of a log of single records and batches of every size,
 * nothing of which is claimed to be durable. */
static void i4_a_tail_torn_at_any_byte_is_cut_before_its_batch(void **state) {
  (void)state;
  for (int garbage = 0; garbage < 2; garbage++) {
    struct image *im = image_new(1);
    uint64_t random = 1;
    for (uint64_t n = 1; n <= 7; n++) image_batch(im, n, 16 + 8 * (n % 3));
    uint64_t end = im->w.offset, tail = im->w.position;
    uint8_t whole[IMAGE_BYTES];
    memcpy(whole, im->segments[0], sizeof whole);
    for (uint64_t cut = SEGMENT_HEADER_BYTES; cut <= tail; cut++) {
      memcpy(im->segments[0], whole, sizeof whole);
      if (garbage)
        unit_fill(&random, im->segments[0] + cut, IMAGE_BYTES - cut);
      else
        memset(im->segments[0] + cut, 0, IMAGE_BYTES - cut);
      struct recovery_plan plan = image_plan(im);
      check_end(&plan, whole_below(im, end, cut));
      UNIT_CHECK(image_holds(im, &plan, image_tags(im)), "cut %llu", ULL(cut));
      if (!garbage)
        assert_true(plan.torn_bytes <= align_up(cut, 8) - plan.end.position);
    }
    image_free(im);
  }
}

/* A hole anywhere in the last batch takes all of it and nothing else. */
static void i4_a_hole_in_any_place_of_a_batch_takes_it_whole(void **state) {
  (void)state;
  for (uint64_t size = 1; size <= 9; size++)
    for (uint64_t hole = 0; hole < size; hole++)
      for (int body = 0; body < 2; body++) {
        struct image *im = image_new(1);
        image_records(im, 5);
        image_batch(im, size, 40);
        image_at(im, 5 + hole)[body ? FRAME_HEADER_BYTES + 39 : 0] ^= 0x40;
        struct recovery_plan plan = image_plan(im);
        check_end(&plan, 5);
        assert_true(plan.end.position == im->records[5].position);
        assert_true(plan.torn_bytes == im->w.position - plan.end.position);
        image_free(im);
      }
}

static void internal_frames_do_not_end_a_batch(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    struct image *im = image_new(1);
    image_record(im, 24, false);
    image_record(im, 24, true); /* more should follow */
    if (kind == 0) image_epoch(im, 2);
    if (kind == 1) image_frame(im, FRAME_PAD, "12345678", 8);
    if (kind == 2) image_roll(im, 1);
    image_record(im, 24, false);
    struct recovery_plan plan = image_plan(im);
    check_end(&plan, 1);
    image_free(im);
  }
}

static void padding_and_epochs_are_walked_over(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 3);
  image_frame(im, FRAME_PAD, "whatever", 8);
  image_records(im, 3);
  image_epoch(im, 2);
  image_epoch(im, 7);
  image_records(im, 3);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 9);
  assert_true(plan.end.epoch == 7 && plan.epoch_max == 7);
  image_free(im);
}

/* Frames behind a cut fit in place and number, and are still not taken, once
 * the next epoch was begun; its record ends exactly where one of them begins.
 */
static void i3_records_behind_a_cut_do_not_come_back(void **state) {
  (void)state;
  struct image *im = image_new(1);
  for (int i = 0; i < 10; i++) image_record(im, 40, false); /* 64-byte frames */
  image_at(im, 5)[0] ^= 1; /* lost in a power cut */
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 5);
  im->w = plan.end;
  im->life = 2;
  image_epoch(im, 2);                   /* 40 bytes */
  image_frame(im, FRAME_RECORD, "", 0); /* 24 more: record 5, anew */
  uint64_t seed = frame_seed(im->uuid, SEGMENT_NUMBER_FIRST, 1);
  struct frame stale = {.index = 0};
  assert_true(im->w.position == im->records[6].position);
  assert_true(frame_decode(&stale, image_at(im, 6), seed, im->w.position));
  assert_true(stale.index == im->w.offset);
  plan = image_plan(im);
  check_end(&plan, 6);
  assert_true(plan.end.position == im->w.position && plan.epoch_max == 2);
  image_free(im);
}

static void i3_a_segment_behind_a_cut_does_not_come_back(void **state) {
  (void)state;
  struct image *im = image_new(1);
  im->no_claims = true;
  image_record(im, 24, false);
  image_record(im, 24, false);
  image_roll(im, 1);
  image_record(im, 24, false);
  image_at(im, 1)[0] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 1);
  assert_true(plan.end_view == 0);
  assert_true(plan.torn_bytes > 0);
  image_free(im);
}

/* ---- evidence ---- */

/* Whatever says that record 4 was durable makes damage of its loss. */
static void each_kind_of_evidence_turns_a_cut_into_damage(void **state) {
  (void)state;
  enum { NOTHING, LAG, MARK, START, KINDS };
  for (int kind = NOTHING; kind < KINDS; kind++)
    for (int body = 0; body < 2; body++) {
      struct image *im = image_new(1);
      im->no_claims = true;
      for (int i = 0; i < 8; i++) {
        if (i == 6 && kind == LAG) {
          im->no_claims = false;
          im->durable = 5;
        }
        image_record(im, 40, false);
        im->no_claims = true;
      }
      im->durable = kind == NOTHING ? 4 : 5;
      if (kind == MARK || kind == NOTHING) image_mark(im, false);
      if (kind == START) image_roll(im, 1);
      image_at(im, 4)[body ? FRAME_HEADER_BYTES : 0] ^= 1;
      struct recovery_plan plan = image_plan(im);
      if (kind == NOTHING) {
        check_end(&plan, 4);
        assert_true(plan.durable == 4);
      } else {
        uint64_t to = kind == START && !body ? 8 : 5;
        check_damage(&plan, 0, 4, to, 1, im->records[4].position);
        assert_int_equal(plan.damage_count, 1);
        assert_true(plan.durable == 5);
        assert_true(plan.end.offset == (body || kind == START ? 8 : 5));
      }
      image_free(im);
    }
}

static void a_claim_not_beyond_the_cut_is_no_evidence(void **state) {
  (void)state;
  for (uint64_t lag = 0; lag < 8; lag++) {
    struct image *im = image_new(1);
    im->no_claims = true;
    for (int i = 0; i < 7; i++) image_record(im, 40, false);
    im->no_claims = false;
    im->durable = 7 - lag; /* the claim of record 7 */
    image_record(im, 40, false);
    image_at(im, 3)[0] ^= 1;
    struct recovery_plan plan = image_plan(im);
    if (7 - lag > 3)
      check_damage(&plan, 0, 3, 7 - lag, 1, im->records[3].position);
    else
      check_end(&plan, 3);
    image_free(im);
  }
}

static void i20_each_damaged_body_is_one_record_lost(void **state) {
  (void)state;
  for (uint64_t o = 0; o < 30; o++) {
    struct image *im = image_of_three();
    image_at(im, o)[FRAME_HEADER_BYTES + 11] ^= 4;
    struct recovery_plan plan = image_plan(im);
    check_damage(&plan, 0, o, o + 1, 1 + o / 10, im->records[o].position);
    assert_int_equal(plan.damage_count, 1);
    assert_true(plan.end.offset == 30 && plan.end.position == im->w.position);
    assert_true(plan.torn_bytes == 0 && !plan.clean);
    image_free(im);
  }
}

static void i20_a_damaged_header_loses_the_rest_of_its_segment(void **state) {
  (void)state;
  for (uint64_t o = 0; o < 30; o++) {
    struct image *im = image_of_three();
    image_at(im, o)[o % FRAME_HEADER_BYTES] ^= 4;
    struct recovery_plan plan = image_plan(im);
    check_damage(&plan, 0, o, 10 * (o / 10 + 1), 1 + o / 10,
                 im->records[o].position);
    assert_int_equal(plan.damage_count, 1);
    assert_true(plan.end.offset == 30);
    image_free(im);
  }
}

static void several_damaged_places_are_all_reported(void **state) {
  (void)state;
  struct image *im = image_of_three();
  image_at(im, 3)[FRAME_HEADER_BYTES] ^= 1;
  image_at(im, 5)[FRAME_HEADER_BYTES] ^= 1;
  image_at(im, 14)[0] ^= 1;
  image_at(im, 26)[FRAME_HEADER_BYTES] ^= 1;
  struct recovery_plan plan = image_plan(im);
  assert_int_equal(plan.damage_count, 4);
  check_damage(&plan, 0, 3, 4, 1, im->records[3].position);
  check_damage(&plan, 1, 5, 6, 1, im->records[5].position);
  check_damage(&plan, 2, 14, 20, 2, im->records[14].position);
  check_damage(&plan, 3, 26, 27, 3, im->records[26].position);
  assert_true(plan.end.offset == 30);
  image_free(im);
}

static void more_damage_than_the_list_holds_is_counted(void **state) {
  (void)state;
  struct image *im = image_of_three();
  for (uint64_t o = 0; o < 30; o += 2) image_at(im, o)[FRAME_HEADER_BYTES] ^= 1;
  struct recovery_plan plan = image_plan(im);
  assert_int_equal(plan.damage_count, 15);
  assert_true(plan.end.offset == 30);
  image_free(im);
}

/* Damage at a first place must not blind recovery for what is behind it. */
static void i20_damage_at_a_second_place_is_seen_too(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 10);
  image_roll(im, 1);
  image_records(im, 10);
  image_roll(im, 1);
  image_records(im, 10); /* only the frames' own claims, no mark */
  image_at(im, 3)[FRAME_HEADER_BYTES] ^= 1;
  im->segments[2][START_AT + 30] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_damage(&plan, 0, 3, 4, 1, im->records[3].position);
  check_damage(&plan, 1, 20, 29, 3, SEGMENT_HEADER_BYTES);
  image_free(im);
}

/* Epochs may be further apart than by one: of an epoch whose first records a
 * power loss took, the number stays used. What is behind a damaged EPOCH frame
 * is evidence all the same. */
static void i20_a_damaged_epoch_frame_hides_no_evidence(void **state) {
  (void)state;
  for (uint64_t to = 2; to < 6; to++) {
    struct image *im = image_new(1);
    image_records(im, 5);
    uint64_t at = im->w.position;
    image_epoch(im, to);
    image_records(im, 5);
    im->segments[0][at] ^= 1;
    struct recovery_plan plan = image_plan(im);
    UNIT_CHECK(plan.verdict == RECOVERY_DAMAGED,
               "epoch 1 to %llu: durable records 5 to 8 cut, end %llu", ULL(to),
               ULL(plan.end.offset));
    check_damage(&plan, 0, 5, 9, 1, at);
    image_free(im);
  }
}

/* From epoch to epoch, however far they are apart, in the segment of the
 * damage and in the next. */
static void i20_evidence_is_followed_through_epochs(void **state) {
  (void)state;
  for (int rolled = 0; rolled < 2; rolled++) {
    struct image *im = image_new(1);
    im->no_claims = true;
    for (int i = 0; i < 5; i++) image_record(im, 40, false);
    if (rolled) {
      image_roll(im, 1000);
    } else {
      image_epoch(im, 2);
      image_epoch(im, 1000);
    }
    im->no_claims = false;
    im->durable = 5;
    image_record(im, 40, false);
    image_at(im, 3)[0] ^= 1;
    struct recovery_plan plan = image_plan(im);
    check_damage(&plan, 0, 3, 5, 1, im->records[3].position);
    image_free(im);
  }
}

static void i8_an_epoch_seen_anywhere_is_not_used_again(void **state) {
  (void)state;
  enum { MARK, START, FRAME, KINDS };
  for (int kind = 0; kind < KINDS; kind++) {
    struct image *im = image_new(1);
    im->no_claims = true;
    image_record(im, 40, false);
    image_record(im, 40, false);
    if (kind == START) image_roll(im, 9);
    if (kind == FRAME) image_epoch(im, 9);
    if (kind == MARK) {
      im->w.epoch = 9;
      image_mark(im, false);
    }
    image_at(im, 1)[0] ^= 1;
    struct recovery_plan plan = image_plan(im);
    check_end(&plan, 1);
    UNIT_CHECK(plan.epoch_max == 9, "kind %d", kind);
    image_free(im);
  }
}

static void evidence_is_never_served(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 10);
  image_at(im, 4)[0] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_damage(&plan, 0, 4, 9, 1, im->records[4].position);
  assert_true(plan.end.offset == 9 &&
              plan.end.position == im->records[4].position);
  image_free(im);
}

/* Data may hold what looks like frames: even right ones of this very log. */
static void frames_inside_of_data_are_not_taken(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_record(im, 24, false);
  uint64_t inner = im->w.position + FRAME_HEADER_BYTES;
  uint8_t data[FRAME_HEADER_BYTES];
  struct frame f = {.body_check = frame_body_check(NULL, 0, "", 0),
                    .index = 1,
                    .flags = FRAME_RECORD,
                    .lag = FRAME_LAG_UNKNOWN};
  frame_encode(data, &f, im->w.seed, inner);
  image_frame(im, FRAME_RECORD, data, sizeof data);
  im->segments[0][inner - FRAME_HEADER_BYTES] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 1);
  image_free(im);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_log_never_written_to_is_empty),
      cmocka_unit_test(a_segment_without_records_is_empty),
      cmocka_unit_test(a_whole_log_is_kept_to_its_end),
      cmocka_unit_test(a_cut_batch_leaves_no_time_behind),
      cmocka_unit_test(a_log_goes_on_behind_what_is_sealed),
      cmocka_unit_test(i4_a_tail_torn_at_any_byte_is_cut_before_its_batch),
      cmocka_unit_test(i4_a_hole_in_any_place_of_a_batch_takes_it_whole),
      cmocka_unit_test(internal_frames_do_not_end_a_batch),
      cmocka_unit_test(padding_and_epochs_are_walked_over),
      cmocka_unit_test(i3_records_behind_a_cut_do_not_come_back),
      cmocka_unit_test(i3_a_segment_behind_a_cut_does_not_come_back),
      cmocka_unit_test(each_kind_of_evidence_turns_a_cut_into_damage),
      cmocka_unit_test(a_claim_not_beyond_the_cut_is_no_evidence),
      cmocka_unit_test(i20_each_damaged_body_is_one_record_lost),
      cmocka_unit_test(i20_a_damaged_header_loses_the_rest_of_its_segment),
      cmocka_unit_test(several_damaged_places_are_all_reported),
      cmocka_unit_test(more_damage_than_the_list_holds_is_counted),
      cmocka_unit_test(i20_damage_at_a_second_place_is_seen_too),
      cmocka_unit_test(i20_a_damaged_epoch_frame_hides_no_evidence),
      cmocka_unit_test(i20_evidence_is_followed_through_epochs),
      cmocka_unit_test(i8_an_epoch_seen_anywhere_is_not_used_again),
      cmocka_unit_test(evidence_is_never_served),
      cmocka_unit_test(frames_inside_of_data_are_not_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
