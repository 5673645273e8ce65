/* SPDX-License-Identifier: MIT
 *
 * The README's assumptions about disk and kernel are the simulator's knobs.
 * With all of them on no promise falls (test_crash); with one of them off, some
 * promise must: an assumption without which everything holds would not be one.
 * The table says which.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "frame.h"
#include "operations.h"
#include "support.h"
#include "walk.h"

static const char *const texts[SIM_ASSUMPTION_END] = {
#define ASSUMPTION_TEXT(number, name, text) [number] = text,
    SIM_ASSUMPTIONS(ASSUMPTION_TEXT)
#undef ASSUMPTION_TEXT
};

static const struct operation *operation_named(const char *name) {
  for (size_t i = 0; i < operation_count; i++)
    if (strcmp(operations[i].name, name) == 0) return &operations[i];
  abort();
}

/* Sequences in which each assumption is leaned on. */
static const char *const sequences[][2] = {
    {"append", "append"}, {"append", "batch"}, {"append", "kill"},
    {"append", "reopen"}, {"roll", "burst"},   {"append", "full"},
    {"large", "large"},   {"written", "sync"},
};

static void explore_all(struct explorer *e, const struct crash_mode *mode) {
  for (size_t i = 0; i < COUNT_OF(sequences); i++) {
    struct sequence s = {.length = 2};
    for (int j = 0; j < 2; j++)
      s.operations[j] = operation_named(sequences[i][j]);
    sequence_run(e, mode, &s);
  }
}

static struct explorer *explorer_with(int broken) {
  struct explorer *e = explorer_new();
  e->budget = (struct budget){.all_max = 256, .limit = 256, .depth = 1};
  e->broken = broken;
  e->quiet = !getenv("LOUD");
  return e;
}

/* ---- assumption 8: what is torn has a valid checksum by accident ---- */

static uint8_t *segment_bytes(struct sim *sim, uint64_t number,
                              uint64_t *size) {
  char name[NAME_BYTES];
  segment_name(name, number);
  return sim_file_bytes(sim, CRASH_DIRECTORY, name, size);
}

/* Behind the last whole frame, where something else lies: make it one. */
static void forge_tail(uint8_t *bytes, uint64_t size, uint64_t number) {
  enum { FORGED_BYTES = 16 };
  struct identity id;
  struct start start;
  struct walk w;
  struct frame f;
  if (identity_decode(&id, bytes) != BLOCK_VALID ||
      start_decode(&start, bytes, id.uuid, number) != BLOCK_VALID)
    return;
  walk_begin(&w, id.uuid, number, size, &start);
  while (walk_has_room(&w) &&
         walk_header(&w, bytes + w.position, &f) == WALK_OK &&
         frame_body_valid(&f, bytes + w.position + FRAME_HEADER_BYTES) &&
         walk_accept(&w, id.uuid, &f, bytes + w.position + FRAME_HEADER_BYTES))
    ;
  uint8_t *at = bytes + w.position;
  if (w.position + 256 > size || (load64(at) == 0 && load64(at + 24) == 0))
    return;
  f = (struct frame){.body_bytes = FORGED_BYTES,
                     .index = (uint32_t)(w.offset - w.base),
                     .flags = FRAME_RECORD,
                     .lag = FRAME_LAG_UNKNOWN};
  f.body_check =
      frame_body_check(NULL, 0, at + FRAME_HEADER_BYTES, FORGED_BYTES);
  frame_encode(at, &f, w.seed, w.position);
}

static void forge(struct sim *sim, const struct run *run) {
  (void)run;
  uint64_t size;
  for (uint64_t number = SEGMENT_NUMBER_FIRST; number < 8; number++) {
    uint8_t *bytes = segment_bytes(sim, number, &size);
    if (bytes && size > SEGMENT_HEADER_BYTES) forge_tail(bytes, size, number);
  }
}

/* ---- the table ---- */

static uint64_t without(int assumption, char *fell, size_t room) {
  struct explorer *e = explorer_with(assumption);
  if (assumption == SIM_CHECKSUMS_HOLD) e->forge = forge;
  for (size_t i = 0; i < crash_mode_count; i++) explore_all(e, &crash_modes[i]);
  int n = 0;
  fell[0] = 0;
  for (int i = 1; i <= INVARIANT_MAX; i++)
    if (e->wrong_by_invariant[i])
      n += snprintf(fell + n, room - (size_t)n, " I%d (%" PRIu64 ")", i,
                    e->wrong_by_invariant[i]);
  uint64_t wrong = e->wrong_count;
  explorer_free(e);
  return wrong;
}

static void with_all_assumptions_no_promise_falls(void **unused) {
  (void)unused;
  char fell[256];
  assert_int_equal(without(0, fell, sizeof fell), 0);
}

static void without_any_of_them_one_falls(void **unused) {
  (void)unused;
  char fell[256];
  int unneeded = 0;
  printf("without assumption            fallen (states)\n");
  for (int a = 1; a < SIM_ASSUMPTION_END; a++) {
    if (a == SIM_RENAME_IS_ATOMIC) continue; /* below: test_accept */
    uint64_t wrong = without(a, fell, sizeof fell);
    printf("%d %-27s%s\n", a, texts[a], wrong ? fell : " none");
    unneeded += wrong == 0;
  }
  assert_int_equal(unneeded, 0);
}

/* pad_syncs does without powersafe overwrite as far as records go; the header
 * page of a segment, which marks are written into, still leans on it. */
static uint64_t wrong_without_powersafe_overwrite(bool padded) {
  struct explorer *e = explorer_with(SIM_POWERSAFE_OVERWRITE);
  e->harm_spares_headers = true;
  for (size_t i = 0; i < crash_mode_count; i++)
    if (crash_modes[i].pad_syncs == padded) explore_all(e, &crash_modes[i]);
  uint64_t wrong = e->wrong_count;
  if (wrong) printf("padded %d: %" PRIu64 ", %s\n", padded, wrong, e->wrong);
  explorer_free(e);
  return wrong;
}

static void padded_syncs_let_no_record_lean_on_powersafe_overwrite(
    void **unused) {
  (void)unused;
  assert_int_equal(wrong_without_powersafe_overwrite(true), 0);
  assert_int_not_equal(wrong_without_powersafe_overwrite(false), 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(with_all_assumptions_no_promise_falls),
      cmocka_unit_test(without_any_of_them_one_falls),
      cmocka_unit_test(padded_syncs_let_no_record_lean_on_powersafe_overwrite),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests_name("assumptions", tests, NULL, NULL);
}
