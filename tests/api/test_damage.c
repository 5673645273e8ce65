/* SPDX-License-Identifier: MIT
 *
 * Damaged files of every kind, on a log that was closed, on one whose writer
 * was killed, and on one killed in strict mode. What must hold: see
 * support_contract.c.
 */
#include <unistd.h>

#include "support.h"

/* ---- kinds of damage ---- */

typedef void damage(const char *file, const char *log, uint64_t number);

static void missing(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  CHECK_CALL(unlink(f));
}
static void emptied(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_cut(f, 0);
}
static void cut_to_half(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_cut(f, file_bytes(f) / 2);
}
static void cut_to_its_header(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_cut(f, 4096);
}
static void cut_by_a_byte(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_cut(f, file_bytes(f) - 1);
}
static void longer(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_cut(f, file_bytes(f) + 4096);
}
static void zeroed(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_zero(f, 0, file_bytes(f));
}
static void header_zeroed(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_zero(f, 0, 4096);
}
static void half_zeroed(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  uint64_t half = file_bytes(f) / 2;
  if (half) file_zero(f, half, half);
}
static void garbage(const char *f, const char *l, uint64_t n) {
  (void)l;
  uint64_t random = TEST_SEED + n, size = file_bytes(f);
  for (uint64_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word = random_next(&random);
    file_write_at(f, i, &word, sizeof word);
    if (i == 0) i = size / 64 * 8; /* enough of it */
  }
}
static void replaced_by_another(const char *f, const char *l, uint64_t n) {
  file_copy(segment_path(l, n == 2 ? 3 : 2), f);
}
static void swapped_with_the_next(const char *f, const char *l, uint64_t n) {
  const char *next = segment_path(l, n + 1);
  if (!file_exists(next)) next = segment_path(l, n - 1);
  file_swap(f, next);
}
static void swap_sectors(const char *f, uint64_t a, uint64_t b) {
  uint8_t x[512], y[512];
  file_read_at(f, a, x, sizeof x);
  file_read_at(f, b, y, sizeof y);
  file_write_at(f, a, y, sizeof y);
  file_write_at(f, b, x, sizeof x);
}
static void its_marks_swapped(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  swap_sectors(f, 1024, 1536);
}
static void its_sectors_swapped(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  swap_sectors(f, 4096 + 512, 4096 + 3 * 512);
}
static void a_sector_lost(const char *f, const char *l, uint64_t n) {
  (void)l, (void)n;
  file_zero(f, 4096 + 1024, 512);
}

static const struct {
  const char *name;
  damage *body;
  bool anywhere;     /* also for meta and lock */
  uint64_t from, to; /* where not the whole file is damaged */
} kinds[] = {{"missing", missing, true, 0, 0},
             {"emptied", emptied, true, 0, 0},
             {"cut to half", cut_to_half, true, 0, 0},
             {"cut to its header", cut_to_its_header, false, 0, 0},
             {"cut by a byte", cut_by_a_byte, true, 0, 0},
             {"longer", longer, true, 0, 0},
             {"zeroed", zeroed, true, 0, 0},
             {"header zeroed", header_zeroed, false, 0, 4096},
             {"half zeroed", half_zeroed, true, 8 << 10, 16 << 10},
             {"garbage", garbage, true, 0, 0},
             {"replaced by another", replaced_by_another, true, 0, 0},
             {"swapped with the next", swapped_with_the_next, false, 0, 0},
             {"its marks swapped", its_marks_swapped, false, 1024, 2048},
             {"its sectors swapped", its_sectors_swapped, false, 4608, 6144},
             {"a sector lost", a_sector_lost, false, 5120, 5632}};

/* Under sanitizers a fifth of the cases, another one with each seed. */
static bool is_left_out(uint64_t a, uint64_t b) {
  return SANITIZED && (a * 7 + b * 3 + TEST_SEED) % 5 != 0;
}

static void damage_segments(const struct test_place *at,
                            const struct damage_base *b) {
  const char *copy = path_in(at, "damaged");
  for (size_t k = 0; k < COUNT_OF(kinds); k++)
    for (uint64_t n = 1; n <= b->files; n++) {
      if (is_left_out(k, n)) continue;
      struct damage_reach reach = {
          .segment = n, .from = kinds[k].from, .to = kinds[k].to};
      if (kinds[k].body == swapped_with_the_next)
        reach.other = n < b->files ? n + 1 : n - 1;
      test_note("%s: segment %llu of %llu (%llu in use) %s", b->name,
                (unsigned long long)n, (unsigned long long)b->files,
                (unsigned long long)b->segments, kinds[k].name);
      directory_copy(b->path, copy);
      kinds[k].body(segment_path(copy, n), copy, n);
      damage_hold_to_contract(at, b, copy, &reach);
    }
}

static void damage_blocks(const struct test_place *at,
                          const struct damage_base *b) {
  const char *copy = path_in(at, "damaged");
  for (uint64_t block = 0; block < 4096; block += 512)
    for (uint64_t n = 1; n <= b->files; n++)
      for (int zero = 0; zero < (block <= 2048 ? 2 : 1); zero++) {
        if (is_left_out(block / 512, n)) continue;
        struct damage_reach reach = {
            .segment = n, .from = block, .to = block + 512};
        test_note("%s: segment %llu, block at %llu %s", b->name,
                  (unsigned long long)n, (unsigned long long)block,
                  zero ? "zeroed" : "flipped");
        directory_copy(b->path, copy);
        if (zero)
          file_zero(segment_path(copy, n), block, 512);
        else
          file_flip(segment_path(copy, n), block + 20);
        damage_hold_to_contract(at, b, copy, &reach);
      }
}

static void damage_others(const struct test_place *at,
                          const struct damage_base *b) {
  const char *const names[] = {"meta", "lock"};
  const char *copy = path_in(at, "damaged");
  struct damage_reach none = {.segment = 0};
  for (size_t k = 0; k < COUNT_OF(kinds); k++)
    for (size_t i = 0; i < COUNT_OF(names); i++) {
      if (!kinds[k].anywhere || is_left_out(k, i)) continue;
      directory_copy(b->path, copy);
      const char *file = path_join(copy, names[i]);
      if (file_bytes(file) == 0 && kinds[k].body == cut_by_a_byte) continue;
      test_note("%s: %s %s", b->name, names[i], kinds[k].name);
      kinds[k].body(file, copy, 1);
      damage_hold_to_contract(at, b, copy, &none);
    }
}

/* Files that are not what belongs there: copies, and another log's. */
static void damage_by_strangers(const struct test_place *at,
                                const struct damage_base *b) {
  const char *copy = path_in(at, "damaged"), *other = path_in(at, "other");
  struct damage_base stranger;
  damage_base_make(&stranger, at, !b->closed, false);
  directory_copy(stranger.path, other);
  for (uint64_t n = 1; n <= b->files; n++) {
    struct damage_reach none = {.segment = 0}, here = {.segment = n};
    if (is_left_out(n, 0)) continue;
    test_note("%s: a copy of segment %llu behind the last", b->name,
              (unsigned long long)n);
    directory_copy(b->path, copy);
    file_copy(segment_path(copy, n), segment_path(copy, b->files + 1));
    damage_hold_to_contract(at, b, copy, &none);
    test_note("%s: another log's segment %llu in its place", b->name,
              (unsigned long long)n);
    directory_copy(b->path, copy);
    file_copy(segment_path(other, n <= stranger.files ? n : 1),
              segment_path(copy, n));
    damage_hold_to_contract(at, b, copy, &here);
    test_note("%s: another log's segment %llu behind the last", b->name,
              (unsigned long long)n);
    directory_copy(b->path, copy);
    file_copy(segment_path(other, 1), segment_path(copy, b->files + 1 + n % 2));
    damage_hold_to_contract(at, b, copy, &none);
  }
  damage_base_free(&stranger);
}

static void run(struct test_place *at, bool closed, bool strict,
                void (*body)(const struct test_place *,
                             const struct damage_base *)) {
  struct damage_base b;
  damage_base_make(&b, at, closed, strict);
  body(at, &b);
  damage_base_free(&b);
}

#define ON_ALL_BASES(what)                                           \
  static void what##_of_a_closed_log(struct test_place *at) {        \
    run(at, true, false, what);                                      \
  }                                                                  \
  static void what##_of_a_killed_log(struct test_place *at) {        \
    run(at, false, false, what);                                     \
  }                                                                  \
  static void what##_of_a_killed_strict_log(struct test_place *at) { \
    run(at, false, true, what);                                      \
  }

ON_ALL_BASES(damage_segments)
ON_ALL_BASES(damage_blocks)
ON_ALL_BASES(damage_others)
ON_ALL_BASES(damage_by_strangers)

static void another_logs_meta_file_is_corrupt(struct test_place *at) {
  struct damage_base b, stranger;
  duralog_options o = small_options();
  damage_base_make(&stranger, at, true, false);
  CHECK_CALL(rename(stranger.path, path_in(at, "other")));
  damage_base_make(&b, at, true, false);
  file_copy(path_in(at, "other/meta"), path_join(b.path, "meta"));
  uint64_t before = tree_digest(b.path, true);
  open_fails(DURALOG_E_CORRUPT, b.path, &o);
  o.read_only = true;
  duralog_report report;
  duralog *log = open_reporting(b.path, &o, &report);
  CHECK(report.damage_count > 0);
  struct survey s;
  survey_make(log, &s, UINT64_MAX);
  close_log(log);
  CHECK_UNCHANGED(before, b.path);
  damage_base_free(&b);
  damage_base_free(&stranger);
}

static void what_a_dead_writer_began_is_cleared_away(struct test_place *at) {
  duralog_options o = small_options();
  struct damage_base b;
  damage_base_make(&b, at, false, false);
  const char *const begun[] = {"meta.tmp", "00000000000000000099.seg.tmp",
                               "00000000000000000001.seg.tmp"};
  for (size_t i = 0; i < COUNT_OF(begun); i++)
    file_store(path_join(b.path, begun[i]), "unfinished", 10);
  file_store(path_join(b.path, "notes"), "not ours", 8);
  uint64_t before = tree_digest(b.path, true);
  o.read_only = true;
  duralog *log = open_with(b.path, &o);
  check_numbers(log, DAMAGE_COUNT);
  close_log(log);
  CHECK_UNCHANGED(before, b.path);
  o.read_only = false;
  log = open_with(b.path, &o);
  check_numbers(log, DAMAGE_COUNT);
  close_log(log);
  CHECK_EQUAL(directory_count(b.path, ".tmp"), 0);
  CHECK(file_exists(path_join(b.path, "notes")));
  damage_base_free(&b);
}

static const struct test tests[] = {
    TEST(damage_segments_of_a_closed_log),
    TEST(damage_segments_of_a_killed_log),
    TEST(damage_segments_of_a_killed_strict_log),
    TEST(damage_blocks_of_a_closed_log),
    TEST(damage_blocks_of_a_killed_log),
    TEST(damage_blocks_of_a_killed_strict_log),
    TEST(damage_others_of_a_closed_log),
    TEST(damage_others_of_a_killed_log),
    TEST(damage_others_of_a_killed_strict_log),
    TEST(damage_by_strangers_of_a_closed_log),
    TEST(damage_by_strangers_of_a_killed_log),
    TEST(damage_by_strangers_of_a_killed_strict_log),
    TEST(another_logs_meta_file_is_corrupt),
    TEST(what_a_dead_writer_began_is_cleared_away),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
