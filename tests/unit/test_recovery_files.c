/* SPDX-License-Identifier: MIT
 *
 * Recovery of logs whose files or header pages are not what they should be.
 */
#include "image.h"

#define ULL(x) ((unsigned long long)(x))

static void check_end(const struct recovery_plan *plan, uint64_t end) {
  UNIT_CHECK(plan->verdict == RECOVERY_OK && plan->end.offset == end,
             "verdict %d, end %llu for %llu", plan->verdict,
             ULL(plan->end.offset), ULL(end));
  assert_int_equal(plan->damage_count, 0);
}

static void check_range(const struct recovery_plan *plan, size_t i,
                        uint64_t from, uint64_t to, uint64_t segment) {
  const duralog_damage *d = &plan->damage[i];
  UNIT_CHECK(plan->verdict == RECOVERY_DAMAGED && plan->damage_count > i,
             "verdict %d, %zu ranges", plan->verdict, plan->damage_count);
  UNIT_CHECK(d->from == from && d->to == to && d->segment == segment,
             "[%llu, %llu) in %llu instead of [%llu, %llu) in %llu",
             ULL(d->from), ULL(d->to), ULL(d->segment), ULL(from), ULL(to),
             ULL(segment));
}

static void lose_view(struct image *im, size_t i) {
  im->views[i].bytes = NULL;
  im->views[i].size = im->views[i].data_end = 0;
}

/* ---- files ---- */

static void a_missing_segment_is_damage(void **state) {
  (void)state;
  for (size_t missing = 0; missing < 3; missing++) {
    struct image *im = image_of_three();
    lose_view(im, missing);
    struct recovery_plan plan = image_plan(im);
    /* What marks and claims said of the last one was in it. */
    uint64_t to = missing == 2 ? 20 : 10 * (missing + 1);
    check_range(&plan, 0, 10 * missing, to, missing + 1);
    assert_true(plan.end.offset == (missing == 2 ? 20 : 30));
    image_free(im);
  }
}

static void what_is_behind_a_missing_segment_needs_no_evidence(void **state) {
  (void)state;
  struct image *im = image_new(1);
  im->no_claims = true;
  for (int i = 0; i < 12; i++) {
    if (i % 4 == 0 && i > 0) image_roll(im, 1);
    image_record(im, 40, false);
  }
  lose_view(im, 1);
  struct recovery_plan plan = image_plan(im);
  check_range(&plan, 0, 4, 8, 2);
  assert_int_equal(plan.damage_count, 1);
  assert_true(plan.end.offset == 12);
  image_free(im);
}

static void a_missing_last_segment_is_damage_where_no_view_stands_for_it(
    void **state) {
  (void)state;
  struct image *im = image_of_three();
  im->count = 2;
  struct recovery_plan plan = image_plan(im);
  check_range(&plan, 0, 20, 20, 3);
  im->count = 3;
  image_free(im);
}

static void no_segment_at_all_is_damage(void **state) {
  (void)state;
  struct image *im = image_of_three();
  size_t count = im->count;
  im->count = 0;
  im->from = (struct recovery_point){.offset = 12, .epoch = 4, .check = 5};
  struct recovery_plan plan = image_plan(im);
  assert_int_equal(plan.verdict, RECOVERY_DAMAGED);
  assert_true(plan.end.offset == 12 && plan.epoch_max == 4);
  im->count = count;
  image_free(im);
}

static void i22_swapped_segments_are_damage(void **state) {
  (void)state;
  for (size_t a = 0; a < 3; a++)
    for (size_t b = a + 1; b < 3; b++) {
      struct image *im = image_of_three();
      const uint8_t *bytes = im->views[a].bytes;
      im->views[a].bytes = im->views[b].bytes;
      im->views[b].bytes = bytes;
      struct recovery_plan plan = image_plan(im);
      assert_int_equal(plan.verdict, RECOVERY_DAMAGED);
      assert_true(plan.damage[0].from == 10 * a);
      assert_true(plan.damage[0].segment == a + 1);
      image_free(im);
    }
}

static void i22_a_copy_in_place_of_another_is_damage(void **state) {
  (void)state;
  for (size_t from = 0; from < 3; from++)
    for (size_t to = 0; to < 3; to++) {
      if (from == to) continue;
      struct image *im = image_of_three();
      im->views[to].bytes = im->views[from].bytes;
      struct recovery_plan plan = image_plan(im);
      check_range(&plan, 0, 10 * to, to == 2 ? 20 : 10 * (to + 1), to + 1);
      image_free(im);
    }
}

static void i22_a_segment_of_another_log_is_damage(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    struct image *im = image_of_three(), *other = image_of_three();
    struct identity id;
    identity_decode(&id, other->segments[i]);
    id.uuid[15] ^= 1;
    identity_encode(other->segments[i], &id);
    im->views[i].bytes = other->segments[i];
    struct recovery_plan plan = image_plan(im);
    assert_int_equal(plan.verdict, RECOVERY_DAMAGED);
    assert_true(plan.damage[0].segment == i + 1);
    image_free(im);
    image_free(other);
  }
}

/* The same log, copied away earlier and put back: its frames are right in
 * themselves, but what follows does not follow them. */
static void i22_a_stale_segment_is_damage(void **state) {
  (void)state;
  struct image *im = image_of_three(), *old = image_new(1);
  image_records(old, 4);
  im->views[0].bytes = old->segments[0];
  struct recovery_plan plan = image_plan(im);
  check_range(&plan, 0, 4, 10, 1);
  image_free(im);
  image_free(old);
}

static void a_segment_of_another_length_is_damage(void **state) {
  (void)state;
  static const uint64_t sizes[] = {0, 1, 512, 4095, 4096, 4097, 12288, 16383};
  for (size_t i = 0; i < 3; i++)
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
      struct image *im = image_of_three();
      /* At the end of the memory: behind it nothing can be read. */
      uint8_t *moved = image_memory();
      memcpy(moved + IMAGE_BYTES - sizes[k], im->segments[i], sizes[k]);
      im->views[i].bytes = moved + IMAGE_BYTES - sizes[k];
      im->views[i].size = im->views[i].data_end = sizes[k];
      struct recovery_plan plan = image_plan(im);
      UNIT_CHECK(plan.verdict == RECOVERY_DAMAGED, "segment %zu of %llu bytes",
                 i + 1, ULL(sizes[k]));
      assert_true(plan.damage[0].from == 10 * i);
      image_memory_free(moved);
      image_free(im);
    }
}

/* I21. A writer that takes over such a segment would write behind its end. */
static void i21_a_segment_of_an_impossible_size_is_damage(void **state) {
  (void)state;
  static const uint64_t sizes[] = {4096, 4097, 5000, 8192, 12289};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    struct image *im = image_new(1);
    struct identity id;
    identity_decode(&id, im->segments[0]);
    id.bytes = sizes[k];
    identity_encode(im->segments[0], &id);
    im->views[0].size = im->views[0].data_end = sizes[k];
    struct recovery_plan plan = image_plan(im);
    UNIT_CHECK(plan.verdict == RECOVERY_DAMAGED, "%llu bytes", ULL(sizes[k]));
    image_free(im);
  }
}

static void a_bad_file_behind_the_end_is_reported(void **state) {
  (void)state;
  struct image *im = image_of_three();
  image_prepare(im); /* the next one, prepared, then damaged */
  im->segments[3][20] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_range(&plan, 0, 30, 30, 4);
  image_free(im);
}

static void a_prepared_segment_changes_nothing(void **state) {
  (void)state;
  struct image *im = image_of_three();
  image_prepare(im);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 30);
  assert_true(plan.clean && plan.end_view == 2);
  image_free(im);
}

/* ---- rolls and start blocks ---- */

static void a_roll_into_a_segment_not_started_goes_on_there(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 5);
  uint32_t check = image_frame(im, FRAME_ROLL, "", 0);
  image_prepare(im);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 5);
  assert_true(plan.end_view == 1 && !plan.end_started);
  assert_true(plan.last_check == check && plan.end.epoch == 1);
  assert_true(plan.end.position == SEGMENT_HEADER_BYTES && plan.end.base == 5);
  image_free(im);
}

static void a_torn_start_block_of_nothing_durable_is_begun_again(void **state) {
  (void)state;
  for (size_t cut = 0; cut < 72; cut++) {
    struct image *im = image_new(1);
    image_records(im, 5);
    image_roll(im, 2);
    memset(im->segments[1] + START_AT + cut, 0, 72 - cut);
    struct recovery_plan plan = image_plan(im);
    check_end(&plan, 5);
    struct start s;
    bool whole = start_decode(&s, im->segments[1], im->uuid, 2) == BLOCK_VALID;
    assert_int_equal(plan.end_started, whole);
    image_free(im);
  }
}

static void a_lost_start_block_of_durable_records_is_damage(void **state) {
  (void)state;
  for (int zero = 0; zero < 2; zero++)
    for (size_t i = 0; i < 3; i++) {
      struct image *im = image_of_three();
      if (zero)
        memset(im->segments[i] + START_AT, 0, SECTOR_BYTES);
      else
        im->segments[i][START_AT + 50] ^= 8;
      struct recovery_plan plan = image_plan(im);
      check_range(&plan, 0, 10 * i, 10 * (i + 1), i + 1);
      assert_true(plan.end.offset == 30);
      image_free(im);
    }
}

/* The evidence is in the frames alone, behind a start block that is lost. */
static void frames_behind_a_lost_start_block_are_evidence(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 5);
  image_roll(im, 2); /* with the first record of an epoch */
  image_records(im, 5);
  memset(im->segments[1] + START_AT, 0, SECTOR_BYTES);
  struct recovery_plan plan = image_plan(im);
  check_range(&plan, 0, 5, 9, 2);
  image_free(im);
}

/* Segment 2 was in use before, in an earlier life that was at offset 3; of it a
 * power cut left a frame, and neither the roll nor the start block. Read as if
 * its index counted from where the log is now, its claim would be 10: more than
 * was ever synced. */
static struct image *image_with_a_stale_frame(bool started) {
  struct image *im = image_new(1), *old = image_new(1);
  image_records(old, 3);
  image_roll(old, 1);
  image_record(old, 1000, false);
  image_record(old, 40, false);
  im->durable = 3;
  image_epoch(im, 2);
  for (int i = 0; i < 10; i++) image_record(im, 40, false);
  if (started) {
    image_roll(im, 2);
  } else {
    image_frame(im, FRAME_ROLL, "", 0);
    image_prepare(im);
  }
  uint64_t at = old->records[4].position;
  memcpy(im->segments[1] + at, old->segments[1] + at, old->records[4].bytes);
  image_free(old);
  return im;
}

static void a_stale_frame_claims_nothing_where_nothing_is_started(
    void **state) {
  (void)state;
  struct image *im = image_with_a_stale_frame(false);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 10);
  UNIT_CHECK(plan.durable == 3, "durable %llu", ULL(plan.durable));
  image_free(im);
}

static void a_stale_frame_makes_no_damage_of_a_torn_tail(void **state) {
  (void)state;
  struct image *im = image_with_a_stale_frame(true);
  image_at(im, 7)[0] ^= 1; /* never synced */
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 7);
  UNIT_CHECK(plan.durable == 3, "durable %llu", ULL(plan.durable));
  image_free(im);
}

static void a_start_that_does_not_follow_is_damage(void **state) {
  (void)state;
  enum { CHECK, OFFSET, EPOCH, KINDS };
  for (int kind = 0; kind < KINDS; kind++) {
    struct image *im = image_new(3);
    image_records(im, 5);
    image_frame(im, FRAME_ROLL, "", 0);
    image_prepare(im);
    im->tail = 1;
    im->last_check = 77; /* wrong */
    struct walk w = im->w;
    if (kind != CHECK) {
      struct frame f = {.flags = 0};
      uint64_t at = w.position - FRAME_HEADER_BYTES;
      assert_true(frame_decode(&f, im->segments[0] + at, w.seed, at));
      im->last_check = f.check;
    }
    if (kind == OFFSET) im->w.offset++;
    image_start(im, kind == EPOCH ? 2 : 3);
    struct recovery_plan plan = image_plan(im);
    UNIT_CHECK(plan.verdict == RECOVERY_DAMAGED, "kind %d", kind);
    assert_true(plan.damage[0].from == 5);
    image_free(im);
  }
}

/* ---- marks ---- */

static void a_clean_mark_says_that_nothing_follows(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 5);
  image_mark(im, true);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 5);
  assert_true(plan.clean);
  assert_int_equal(plan.boot_id[0], 0xB1); /* the mark's */
  image_mark(im, false);                   /* taken away again */
  plan = image_plan(im);
  check_end(&plan, 5);
  assert_false(plan.clean);
  image_free(im);
}

static void a_clean_mark_before_the_end_is_not_believed(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 5);
  image_mark(im, true);
  image_record(im, 24, false);
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 6);
  assert_false(plan.clean);
  image_free(im);
}

/* A torn record behind five, and a clean mark there: it hides the record if it
 * is of that end and epoch, and no damaged one beside it may be newer. */
static void no_other_clean_mark_hides_what_follows(void **state) {
  (void)state;
  enum { OF_THIS_END, OF_ANOTHER, OF_ANOTHER_EPOCH, BESIDE_DAMAGE, KINDS };
  for (int kind = 0; kind < KINDS; kind++) {
    struct image *im = image_new(1);
    image_records(im, 5);
    image_mark(im, false);
    struct walk end = im->w;
    if (kind == OF_ANOTHER) im->durable--;
    if (kind == OF_ANOTHER_EPOCH) im->w.epoch++;
    image_mark(im, true);
    im->w = end;
    image_record(im, 24, false);
    image_at(im, 5)[0] ^= 1;
    for (int slot = 0; slot < 2 && kind == BESIDE_DAMAGE; slot++) {
      struct mark m;
      uint8_t *page = im->segments[0];
      if (mark_decode(&m, page, slot, im->uuid, im->views[0].number) ==
              BLOCK_VALID &&
          !m.clean)
        page[MARK_AT + slot * SECTOR_BYTES] ^= 1;
    }
    struct recovery_plan plan = image_plan(im);
    check_end(&plan, 5);
    UNIT_CHECK(plan.clean == (kind == OF_THIS_END), "kind %d", kind);
    UNIT_CHECK((plan.torn_bytes == 0) == plan.clean, "kind %d", kind);
    image_free(im);
  }
}

/* What an earlier life left behind its cut lies there until it is written
 * over. It makes no closed log an unclean one: a writer that believes so does
 * not take the clean mark away before its first store. */
static void a_clean_mark_holds_before_what_an_older_cut_left(void **state) {
  (void)state;
  struct image *im = image_new(1);
  for (int i = 0; i < 10; i++) image_record(im, 40, false);
  image_at(im, 5)[0] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_end(&plan, 5);
  im->w = plan.end;
  image_epoch(im, 2);
  image_record(im, 40, false);
  im->durable = im->w.offset;
  image_mark(im, true);
  plan = image_plan(im);
  check_end(&plan, 6);
  assert_true(plan.clean);
  assert_true(plan.torn_bytes == 0);
  image_free(im);
}

static void i20_after_a_clean_close_the_last_record_is_known_too(void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 5);
  image_mark(im, true);
  image_at(im, 4)[FRAME_HEADER_BYTES] ^= 1;
  struct recovery_plan plan = image_plan(im);
  check_range(&plan, 0, 4, 5, 1);
  memset(im->segments[0] + SEGMENT_HEADER_BYTES, 0,
         IMAGE_BYTES - SEGMENT_HEADER_BYTES);
  plan = image_plan(im);
  check_range(&plan, 0, 0, 5, 1);
  assert_true(plan.end.offset == 5);
  image_free(im);
}

static void without_marks_the_start_says_who_wrote(void **state) {
  (void)state;
  struct image *im = image_new(1);
  struct recovery_plan plan = image_plan(im);
  assert_int_equal(plan.boot_id[0], 0xB0);
  image_free(im);
}

/* ---- newer releases ---- */

static void frames_of_a_newer_release_are_refused(void **state) {
  (void)state;
  static const uint16_t flags[] = {0x0000,
                                   0x0005,
                                   0x000F,
                                   0x0081,
                                   0x0101,
                                   0x0201,
                                   0x0401,
                                   0x0801,
                                   0x1001,
                                   0x8001,
                                   FRAME_PAD | FRAME_MORE};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    for (int durable = 0; durable < 2; durable++) {
      struct image *im = image_new(1);
      image_records(im, 5);
      if (!durable) im->no_claims = true;
      image_frame(im, flags[i], "newer", 5);
      struct recovery_plan plan = image_plan(im);
      UNIT_CHECK(plan.verdict == RECOVERY_NEWER, "flags %04x", flags[i]);
      image_free(im);
    }
}

static void segments_of_a_newer_release_are_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++)
    for (int feature = 0; feature < 2; feature++) {
      struct image *im = image_of_three();
      image_prepare(im);
      struct identity id;
      identity_decode(&id, im->segments[i]);
      if (feature)
        id.incompatible = 4;
      else
        id.version = 2;
      identity_encode(im->segments[i], &id);
      struct recovery_plan plan = image_plan(im);
      UNIT_CHECK(plan.verdict == RECOVERY_NEWER, "segment %zu", i + 1);
      image_free(im);
    }
}

/* ---- beside a living writer ---- */

static void beside_a_writer_nothing_is_called_damage(void **state) {
  (void)state;
  struct image *im = image_of_three();
  image_at(im, 27)[0] ^= 1; /* seen half written */
  struct recovery_plan plan = image_plan_alive(im, true);
  check_end(&plan, 27);
  lose_view(im, 2); /* listed before the roll */
  plan = image_plan_alive(im, true);
  check_end(&plan, 20);
  image_free(im);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_missing_segment_is_damage),
      cmocka_unit_test(what_is_behind_a_missing_segment_needs_no_evidence),
      cmocka_unit_test(
          a_missing_last_segment_is_damage_where_no_view_stands_for_it),
      cmocka_unit_test(no_segment_at_all_is_damage),
      cmocka_unit_test(i22_swapped_segments_are_damage),
      cmocka_unit_test(i22_a_copy_in_place_of_another_is_damage),
      cmocka_unit_test(i22_a_segment_of_another_log_is_damage),
      cmocka_unit_test(i22_a_stale_segment_is_damage),
      cmocka_unit_test(a_segment_of_another_length_is_damage),
      cmocka_unit_test(i21_a_segment_of_an_impossible_size_is_damage),
      cmocka_unit_test(a_bad_file_behind_the_end_is_reported),
      cmocka_unit_test(a_prepared_segment_changes_nothing),
      cmocka_unit_test(a_roll_into_a_segment_not_started_goes_on_there),
      cmocka_unit_test(a_torn_start_block_of_nothing_durable_is_begun_again),
      cmocka_unit_test(a_lost_start_block_of_durable_records_is_damage),
      cmocka_unit_test(frames_behind_a_lost_start_block_are_evidence),
      cmocka_unit_test(a_stale_frame_claims_nothing_where_nothing_is_started),
      cmocka_unit_test(a_stale_frame_makes_no_damage_of_a_torn_tail),
      cmocka_unit_test(a_start_that_does_not_follow_is_damage),
      cmocka_unit_test(a_clean_mark_says_that_nothing_follows),
      cmocka_unit_test(a_clean_mark_before_the_end_is_not_believed),
      cmocka_unit_test(no_other_clean_mark_hides_what_follows),
      cmocka_unit_test(a_clean_mark_holds_before_what_an_older_cut_left),
      cmocka_unit_test(i20_after_a_clean_close_the_last_record_is_known_too),
      cmocka_unit_test(without_marks_the_start_says_who_wrote),
      cmocka_unit_test(frames_of_a_newer_release_are_refused),
      cmocka_unit_test(segments_of_a_newer_release_are_refused),
      cmocka_unit_test(beside_a_writer_nothing_is_called_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
