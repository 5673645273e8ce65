/* SPDX-License-Identifier: MIT
 *
 * Seeded random damage to one place of a log, and the contract held against
 * it (support_contract.c). Each round: a copy, one byte changed or one sector
 * zeroed, lost (as it was some time before), or copied from elsewhere.
 */
#include "support.h"

enum { ROUNDS = SANITIZED ? 40 : 300, SECTOR = 512 };

enum how { FLIP_BYTE, ZERO_SECTOR, LOSE_SECTOR, MOVE_SECTOR, HOWS };

static const char *const how_names[HOWS] = {"byte changed", "sector zeroed",
                                            "sector as before", "sector moved"};

static void damage_place(const struct damage_base *b, const char *log,
                         uint64_t segment, enum how how, uint64_t *random,
                         struct damage_reach *reach) {
  uint8_t sector[SECTOR] = {0};
  char path[300], earlier[300];
  snprintf(path, sizeof path, "%s", segment_path(log, segment));
  snprintf(earlier, sizeof earlier, "%s", segment_path(b->earlier, segment));
  uint64_t size = file_bytes(path), at = random_below(random, size);
  *reach = (struct damage_reach){.segment = segment, .from = at, .to = at + 1};
  if (how == FLIP_BYTE) {
    file_read_at(path, at, sector, 1);
    sector[0] ^= (uint8_t)(1 + random_below(random, 255));
    file_write_at(path, at, sector, 1);
    return;
  }
  at = at / SECTOR * SECTOR;
  reach->from = at;
  reach->to = at + SECTOR;
  if (how == LOSE_SECTOR && file_exists(earlier))
    file_read_at(earlier, at, sector, SECTOR);
  if (how == MOVE_SECTOR)
    file_read_at(path, random_below(random, size / SECTOR) * SECTOR, sector,
                 SECTOR);
  file_write_at(path, at, sector, SECTOR);
}

/* Half of the time near the end of the log, where it is decided. */
static uint64_t choose_segment(const struct damage_base *b, uint64_t *random) {
  if (random_below(random, 2)) return b->segments;
  return 1 + random_below(random, b->files);
}

static void rounds(struct test_place *at, bool closed, bool strict) {
  struct damage_base b;
  uint64_t random = TEST_SEED;
  char damaged[256];
  snprintf(damaged, sizeof damaged, "%s/damaged", at->root);
  damage_base_make(&b, at, closed, strict);
  for (int round = 0; round < ROUNDS; round++) {
    struct damage_reach reach;
    uint64_t segment = choose_segment(&b, &random);
    enum how how = (enum how)random_below(&random, HOWS);
    directory_copy(b.path, damaged);
    damage_place(&b, damaged, segment, how, &random, &reach);
    test_note("%s, round %d: %s at %llu of segment %llu of %llu", b.name, round,
              how_names[how], (unsigned long long)reach.from,
              (unsigned long long)segment, (unsigned long long)b.segments);
    damage_hold_to_contract(at, &b, damaged, &reach);
  }
  damage_base_free(&b);
}

static void a_closed_log_hides_no_damage(struct test_place *at) {
  rounds(at, true, false);
}

static void a_killed_log_hides_damage_to_its_last_batch_alone(
    struct test_place *at) {
  rounds(at, false, false);
}

static void a_killed_strict_log_hides_no_damage(struct test_place *at) {
  rounds(at, false, true);
}

/* Every byte of the meta file, and of the header page's blocks in use. */
static void no_byte_of_meta_matters_in_silence(struct test_place *at) {
  struct damage_base b;
  struct damage_reach none = {.segment = 0};
  const char *damaged = path_in(at, "damaged");
  damage_base_make(&b, at, true, false);
  for (uint64_t byte = 0; byte < 96; byte += SANITIZED ? 9 : 3) {
    test_note("byte %llu of meta", (unsigned long long)byte);
    directory_copy(b.path, damaged);
    file_flip(path_join(damaged, "meta"), byte);
    damage_hold_to_contract(at, &b, damaged, &none);
  }
  damage_base_free(&b);
}

/* Arbitrary bytes as any file: an answer, nothing wrong served, nothing
 * written by looking (I21). */
static void garbage_files_get_an_answer(struct test_place *at) {
  struct damage_base b;
  uint64_t random = TEST_SEED;
  const char *damaged = path_in(at, "damaged");
  static uint8_t bytes[16 << 10];
  damage_base_make(&b, at, false, false);
  for (int round = 0; round < ROUNDS / 3; round++) {
    uint64_t segment = 1 + random_below(&random, b.files);
    size_t size = (size_t)random_below(&random, sizeof bytes + 1);
    for (size_t i = 0; i + 8 <= size; i += 8) {
      uint64_t word = random_next(&random);
      memcpy(bytes + i, &word, sizeof word);
    }
    uint64_t from = random_below(&random, 3) * 2048; /* 0: nothing is left */
    test_note("round %d: %zu bytes from %llu of segment %llu", round, size,
              (unsigned long long)from, (unsigned long long)segment);
    directory_copy(b.path, damaged);
    if (from == 0)
      file_store(segment_path(damaged, segment), bytes, size);
    else
      file_write_at(segment_path(damaged, segment), from, bytes,
                    sizeof bytes - from);
    struct damage_reach reach = {
        .segment = segment, .from = from, .to = sizeof bytes};
    damage_hold_to_contract(at, &b, damaged, &reach);
  }
  damage_base_free(&b);
}

static const struct test tests[] = {
    TEST(a_closed_log_hides_no_damage),
    TEST(a_killed_log_hides_damage_to_its_last_batch_alone),
    TEST(a_killed_strict_log_hides_no_damage),
    TEST(no_byte_of_meta_matters_in_silence),
    TEST(garbage_files_get_an_answer),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
