/* SPDX-License-Identifier: MIT */
#include "format.h"
#include "unit.h"

static const uint8_t uuid[16] = {0xA0, 1, 2,  3,  4,  5,  6,  7,
                                 8,    9, 10, 11, 12, 13, 14, 0xAF};
static const uint8_t boot[16] = {0xB0, 0xB1, 0xB2};
static const uint64_t number = 9;

static struct identity an_identity(void) {
  struct identity i = {.version = FORMAT_VERSION,
                       .compatible = 0x80000001u,
                       .number = number,
                       .bytes = SEGMENT_BYTES_MIN,
                       .created_ms = -1};
  memcpy(i.uuid, uuid, 16);
  return i;
}

static struct start a_start(void) {
  struct start s = {.offset = 1000,
                    .time_ms = INT64_MIN,
                    .epoch = 4,
                    .durable = 990,
                    .previous_check = 0xDEADBEEF};
  memcpy(s.boot_id, boot, 16);
  return s;
}

static struct mark a_mark(uint64_t sequence) {
  struct mark m = {
      .sequence = sequence, .durable = 1234, .epoch = 5, .clean = true};
  memcpy(m.boot_id, boot, 16);
  return m;
}

static struct seal a_seal(void) {
  return (struct seal){.end_offset = 2000,
                       .end_position = 16000,
                       .epoch = 6,
                       .time_max_ms = INT64_MAX,
                       .last_check = 1};
}

static struct meta a_meta(void) {
  struct meta m = {.version = FORMAT_VERSION,
                   .created_ms = 1700000000000,
                   .first_segment = 3,
                   .accepted_segment = 8,
                   .accepted_offset = 777,
                   .accepted_epoch = 2};
  memcpy(m.uuid, uuid, 16);
  return m;
}

/* ---- the blocks as one table ---- */

/* One kind of block: made, checked against what was put in, its state. */
struct kind {
  const char *name;
  size_t at, fields; /* fields: behind magic and check */
  void (*make)(uint8_t *page);
  enum block_state (*state)(const uint8_t *page, const uint8_t log[16],
                            uint64_t segment);
  bool (*same)(const uint8_t *page);
};

static void identity_make(uint8_t *page) {
  struct identity i = an_identity();
  identity_encode(page, &i);
}
static enum block_state identity_state(const uint8_t *page,
                                       const uint8_t log[16],
                                       uint64_t segment) {
  struct identity i;
  (void)log, (void)segment;
  return identity_decode(&i, page);
}
static bool identity_same(const uint8_t *page) {
  struct identity i, in = an_identity();
  return identity_decode(&i, page) == BLOCK_VALID && i.version == in.version &&
         i.incompatible == in.incompatible && i.compatible == in.compatible &&
         memcmp(i.uuid, in.uuid, 16) == 0 && i.number == in.number &&
         i.bytes == in.bytes && i.created_ms == in.created_ms;
}

static void start_make(uint8_t *page) {
  struct start s = a_start();
  start_encode(page, &s, uuid, number);
}
static enum block_state start_state(const uint8_t *page, const uint8_t log[16],
                                    uint64_t segment) {
  struct start s;
  return start_decode(&s, page, log, segment);
}
static bool start_same(const uint8_t *page) {
  struct start s, in = a_start();
  return start_decode(&s, page, uuid, number) == BLOCK_VALID &&
         s.offset == in.offset && s.time_ms == in.time_ms &&
         s.epoch == in.epoch && s.durable == in.durable &&
         s.previous_check == in.previous_check &&
         memcmp(s.boot_id, in.boot_id, 16) == 0;
}

static void mark_make(uint8_t *page, uint64_t sequence) {
  struct mark m = a_mark(sequence);
  mark_encode(page, &m, uuid, number);
}
static void mark0_make(uint8_t *page) { mark_make(page, 6); }
static void mark1_make(uint8_t *page) { mark_make(page, 7); }
static enum block_state mark0_state(const uint8_t *page, const uint8_t log[16],
                                    uint64_t segment) {
  struct mark m;
  return mark_decode(&m, page, 0, log, segment);
}
static enum block_state mark1_state(const uint8_t *page, const uint8_t log[16],
                                    uint64_t segment) {
  struct mark m;
  return mark_decode(&m, page, 1, log, segment);
}
static bool mark_same(const uint8_t *page, int slot, uint64_t sequence) {
  struct mark m, in = a_mark(sequence);
  return mark_decode(&m, page, slot, uuid, number) == BLOCK_VALID &&
         m.sequence == in.sequence && m.durable == in.durable &&
         m.epoch == in.epoch && m.clean == in.clean &&
         memcmp(m.boot_id, in.boot_id, 16) == 0;
}
static bool mark0_same(const uint8_t *page) { return mark_same(page, 0, 6); }
static bool mark1_same(const uint8_t *page) { return mark_same(page, 1, 7); }

static void seal_make(uint8_t *page) {
  struct seal s = a_seal();
  seal_encode(page, &s, uuid, number);
}
static enum block_state seal_state(const uint8_t *page, const uint8_t log[16],
                                   uint64_t segment) {
  struct seal s;
  return seal_decode(&s, page, log, segment);
}
static bool seal_same(const uint8_t *page) {
  struct seal s, in = a_seal();
  return seal_decode(&s, page, uuid, number) == BLOCK_VALID &&
         s.end_offset == in.end_offset && s.end_position == in.end_position &&
         s.epoch == in.epoch && s.time_max_ms == in.time_max_ms &&
         s.last_check == in.last_check;
}

static void meta_make(uint8_t *page) {
  struct meta m = a_meta();
  meta_encode(page, &m);
}
static enum block_state meta_state(const uint8_t *page, const uint8_t log[16],
                                   uint64_t segment) {
  struct meta m;
  (void)log, (void)segment;
  return meta_decode(&m, page);
}
static bool meta_same(const uint8_t *page) {
  struct meta m, in = a_meta();
  return meta_decode(&m, page) == BLOCK_VALID && m.version == in.version &&
         m.incompatible == in.incompatible && m.compatible == in.compatible &&
         memcmp(m.uuid, in.uuid, 16) == 0 && m.created_ms == in.created_ms &&
         m.first_segment == in.first_segment &&
         m.accepted_segment == in.accepted_segment &&
         m.accepted_offset == in.accepted_offset &&
         m.accepted_epoch == in.accepted_epoch;
}

/* `meta` is a file of its own; it lies here where the identity does. */
static const struct kind kinds[] = {
    {"identity", IDENTITY_AT, 56, identity_make, identity_state, identity_same},
    {"start", START_AT, 56, start_make, start_state, start_same},
    {"mark 0", MARK_AT, 48, mark0_make, mark0_state, mark0_same},
    {"mark 1", MARK_AT + SECTOR_BYTES, 48, mark1_make, mark1_state, mark1_same},
    {"seal", SEAL_AT, 40, seal_make, seal_state, seal_same},
    {"meta", 0, 72, meta_make, meta_state, meta_same}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *const kind_of_start = &kinds[1];

static uint8_t page[SEGMENT_HEADER_BYTES];

static int clear_page(void **state) {
  (void)state;
  memset(page, 0, sizeof page);
  return 0;
}

static void every_block_comes_back_as_it_went(void **state) {
  (void)state;
  for (size_t k = 0; k < KINDS; k++) {
    memset(page, 0, sizeof page);
    kinds[k].make(page);
    UNIT_CHECK(kinds[k].same(page), "%s", kinds[k].name);
  }
}

static void blocks_of_one_page_leave_each_other_alone(void **state) {
  (void)state;
  for (size_t k = 0; k + 1 < KINDS; k++) kinds[k].make(page);
  for (size_t k = 0; k + 1 < KINDS; k++)
    UNIT_CHECK(kinds[k].same(page), "%s", kinds[k].name);
}

static void a_block_stays_within_its_sector(void **state) {
  (void)state;
  for (size_t k = 0; k < KINDS; k++) {
    memset(page, 0, sizeof page);
    kinds[k].make(page);
    for (size_t i = 0; i < sizeof page; i++)
      if (i < kinds[k].at || i >= kinds[k].at + 16 + kinds[k].fields)
        UNIT_CHECK(page[i] == 0, "%s byte %zu", kinds[k].name, i);
  }
}

static void zeros_are_a_block_never_written(void **state) {
  (void)state;
  for (size_t k = 0; k < KINDS; k++)
    assert_int_equal(kinds[k].state(page, uuid, number), BLOCK_EMPTY);
}

static void one_bit_makes_zeros_damaged(void **state) {
  (void)state;
  for (size_t k = 0; k < KINDS; k++)
    for (size_t i = 0; i < SECTOR_BYTES; i++) {
      page[kinds[k].at + i] = 0x10;
      UNIT_CHECK(kinds[k].state(page, uuid, number) == BLOCK_DAMAGED,
                 "%s byte %zu", kinds[k].name, i);
      page[kinds[k].at + i] = 0;
    }
}

/* I20: reported, or provably without effect. */
static void every_flipped_bit_of_a_block_is_caught(void **state) {
  (void)state;
  for (size_t k = 0; k < KINDS; k++) {
    memset(page, 0, sizeof page);
    kinds[k].make(page);
    for (size_t bit = 0; bit < 8 * SECTOR_BYTES; bit++) {
      uint8_t *byte = page + kinds[k].at + bit / 8;
      *byte ^= (uint8_t)(1u << bit % 8);
      if (bit / 8 < 16 + kinds[k].fields)
        UNIT_CHECK(kinds[k].state(page, uuid, number) == BLOCK_DAMAGED,
                   "%s bit %zu", kinds[k].name, bit);
      else
        UNIT_CHECK(kinds[k].same(page), "%s bit %zu", kinds[k].name, bit);
      *byte ^= (uint8_t)(1u << bit % 8);
    }
  }
}

static void a_sector_torn_anywhere_is_damaged(void **state) {
  (void)state;
  for (size_t k = 0; k < KINDS; k++)
    for (size_t cut = 8; cut < 16 + kinds[k].fields; cut += 8) {
      memset(page, 0, sizeof page);
      kinds[k].make(page);
      bool any = !all_zero(page + kinds[k].at + cut, SECTOR_BYTES - cut);
      memset(page + kinds[k].at + cut, 0, SECTOR_BYTES - cut);
      if (any)
        UNIT_CHECK(kinds[k].state(page, uuid, number) == BLOCK_DAMAGED,
                   "%s cut %zu", kinds[k].name, cut);
    }
}

static void i22_blocks_of_another_log_or_segment_do_not_validate(void **state) {
  (void)state;
  static const uint8_t other[16] = {0xA0, 1, 2, 3, 4, 5};
  for (const struct kind *k = kind_of_start; k < kinds + KINDS - 1; k++) {
    k->make(page);
    assert_int_equal(k->state(page, uuid, number), BLOCK_VALID);
    assert_int_equal(k->state(page, other, number), BLOCK_DAMAGED);
    assert_int_equal(k->state(page, uuid, number + 1), BLOCK_DAMAGED);
    assert_int_equal(k->state(page, uuid, 0), BLOCK_DAMAGED);
  }
}

static void i22_swapped_sectors_do_not_validate(void **state) {
  (void)state;
  for (size_t from = 0; from + 1 < KINDS; from++)
    for (size_t to = 0; to + 1 < KINDS; to++) {
      if (from == to) continue;
      memset(page, 0, sizeof page);
      kinds[from].make(page);
      memcpy(page + kinds[to].at, page + kinds[from].at, SECTOR_BYTES);
      UNIT_CHECK(kinds[to].state(page, uuid, number) == BLOCK_DAMAGED,
                 "%s in place of %s", kinds[from].name, kinds[to].name);
    }
}

/* ---- versions and features ---- */

static void newer_versions_and_unknown_features_are_told(void **state) {
  (void)state;
  static const struct {
    uint32_t version, incompatible, compatible;
    enum block_state expected;
  } cases[] = {{1, 0, 0, BLOCK_VALID},
               {1, 0, UINT32_MAX, BLOCK_VALID}, /* those may be ignored */
               {2, 0, 0, BLOCK_NEWER},
               {UINT32_MAX, 0, 0, BLOCK_NEWER},
               {1, 1, 0, BLOCK_NEWER},
               {1, 0x80000000u, 0, BLOCK_NEWER},
               {0, 0, 0, BLOCK_NEWER}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct identity id = an_identity();
    struct meta m = a_meta();
    id.version = m.version = cases[i].version;
    id.incompatible = m.incompatible = cases[i].incompatible;
    id.compatible = m.compatible = cases[i].compatible;
    identity_encode(page, &id);
    assert_int_equal(identity_decode(&id, page), cases[i].expected);
    meta_encode(page, &m);
    assert_int_equal(meta_decode(&m, page), cases[i].expected);
  }
}

static void a_damaged_block_is_not_taken_for_a_newer_one(void **state) {
  (void)state;
  struct identity id = an_identity();
  id.version = 2;
  identity_encode(page, &id);
  page[40] ^= 1;
  assert_int_equal(identity_decode(&id, page), BLOCK_DAMAGED);
}

/* ---- marks ---- */

static void marks_alternate_between_two_sectors(void **state) {
  (void)state;
  assert_true(mark_newest(page, uuid, number).sequence == 0);
  for (uint64_t s = 1; s < 20; s++) {
    uint8_t before[SEGMENT_HEADER_BYTES];
    memcpy(before, page, sizeof page);
    mark_make(page, s);
    assert_true(mark_newest(page, uuid, number).sequence == s);
    size_t other = MARK_AT + (s + 1) % 2 * SECTOR_BYTES;
    assert_memory_equal(page + other, before + other, SECTOR_BYTES);
  }
}

static void a_damaged_mark_leaves_the_one_before(void **state) {
  (void)state;
  mark_make(page, 10);
  mark_make(page, 11);
  page[MARK_AT + SECTOR_BYTES + 20] ^= 1;
  assert_true(mark_newest(page, uuid, number).sequence == 10);
  page[MARK_AT + 20] ^= 1;
  assert_true(mark_newest(page, uuid, number).sequence == 0);
}

static void a_mark_in_the_wrong_slot_is_not_one(void **state) {
  (void)state;
  mark_make(page, 11);
  memcpy(page + MARK_AT, page + MARK_AT + SECTOR_BYTES, SECTOR_BYTES);
  struct mark m;
  assert_int_equal(mark_decode(&m, page, 0, uuid, number), BLOCK_DAMAGED);
  memset(page + MARK_AT + SECTOR_BYTES, 0, SECTOR_BYTES);
  assert_true(mark_newest(page, uuid, number).sequence == 0);
}

static void a_mark_of_sequence_zero_is_none(void **state) {
  (void)state;
  mark_make(page, 0);
  assert_true(mark_newest(page, uuid, number).sequence == 0);
}

/* ---- names ---- */

static void names_and_numbers_agree(void **state) {
  (void)state;
  static const struct {
    uint64_t number;
    const char *name;
  } cases[] = {{1, "00000000000000000001.seg"},
               {42, "00000000000000000042.seg"},
               {UINT64_C(123456789012345), "00000123456789012345.seg"},
               {SEGMENT_NUMBER_MAX, "00000281474976710656.seg"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char name[NAME_BYTES], temporary[NAME_BYTES];
    segment_name(name, cases[i].number);
    segment_temporary_name(temporary, cases[i].number);
    assert_string_equal(name, cases[i].name);
    assert_true(segment_number_of(name) == cases[i].number);
    assert_true(strncmp(temporary, name, strlen(name)) == 0);
    assert_string_equal(temporary + strlen(name), ".tmp");
    assert_true(name_is_temporary(temporary));
    assert_false(name_is_temporary(name));
    assert_true(segment_number_of(temporary) == 0);
  }
}

static void other_names_are_not_ours(void **state) {
  (void)state;
  static const char *const names[] = {
      "",
      ".",
      "meta",
      "lock",
      "1.seg",
      "0000000000000000001.seg",
      "000000000000000000001.seg",
      "00000000000000000001.seg2",
      "00000000000000000001.se",
      "00000000000000000001",
      "00000000000000000000.seg", /* number 0 is the meta file's */
      "00000281474976710657.seg", /* over the highest number */
      "18446744073709551615.seg",
      "18446744073709551616.seg", /* over 64 bits */
      "99999999999999999999.seg",
      "0000000000000000000a.seg",
      "-0000000000000000001.seg",
      "00000000000000000001.SEG",
      "00000000000000000000.seg.tmp",
      "x0000000000000000001.seg.tmp",
      "meta.tmp2"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    UNIT_CHECK(segment_number_of(names[i]) == 0, "%s", names[i]);
    UNIT_CHECK(!name_is_temporary(names[i]), "%s", names[i]);
  }
  assert_true(name_is_temporary(META_TEMPORARY_NAME));
}

/* Names in memory of exactly their size: the sanitizer sees a step beyond. */
static void names_are_read_within_their_bounds(void **state) {
  (void)state;
  static const char whole[] = "00000000000000000001.seg.tmp";
  for (size_t n = 0; n < sizeof whole; n++) {
    char *name = malloc(n + 1);
    memcpy(name, whole, n);
    name[n] = 0;
    assert_int_equal(segment_number_of(name), n == 24);
    assert_int_equal(name_is_temporary(name), n == 28);
    free(name);
  }
}

/* ---- all_zero ---- */

static bool all_zero_plainly(const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (bytes[i]) return false;
  return true;
}

static void all_zero_agrees_with_the_plain_loop(void **state) {
  (void)state;
  for (size_t size = 0; size <= 300; size++) {
    uint8_t *bytes = calloc(1, size ? size : 1);
    assert_true(all_zero(bytes, size));
    for (size_t i = 0; i < size; i++)
      for (size_t from = 0; from < 9 && from <= size; from++) {
        bytes[i] = (uint8_t)(1u << i % 8);
        assert_int_equal(all_zero(bytes + from, size - from),
                         all_zero_plainly(bytes + from, size - from));
        bytes[i] = 0;
      }
    free(bytes);
  }
}

#define PAGE_TEST(f) cmocka_unit_test_setup(f, clear_page)

int main(void) {
  const struct CMUnitTest tests[] = {
      PAGE_TEST(every_block_comes_back_as_it_went),
      PAGE_TEST(blocks_of_one_page_leave_each_other_alone),
      PAGE_TEST(a_block_stays_within_its_sector),
      PAGE_TEST(zeros_are_a_block_never_written),
      PAGE_TEST(one_bit_makes_zeros_damaged),
      PAGE_TEST(every_flipped_bit_of_a_block_is_caught),
      PAGE_TEST(a_sector_torn_anywhere_is_damaged),
      PAGE_TEST(i22_blocks_of_another_log_or_segment_do_not_validate),
      PAGE_TEST(i22_swapped_sectors_do_not_validate),
      PAGE_TEST(newer_versions_and_unknown_features_are_told),
      PAGE_TEST(a_damaged_block_is_not_taken_for_a_newer_one),
      PAGE_TEST(marks_alternate_between_two_sectors),
      PAGE_TEST(a_damaged_mark_leaves_the_one_before),
      PAGE_TEST(a_mark_in_the_wrong_slot_is_not_one),
      PAGE_TEST(a_mark_of_sequence_zero_is_none),
      cmocka_unit_test(names_and_numbers_agree),
      cmocka_unit_test(other_names_are_not_ours),
      cmocka_unit_test(names_are_read_within_their_bounds),
      cmocka_unit_test(all_zero_agrees_with_the_plain_loop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
