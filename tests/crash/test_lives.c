/* SPDX-License-Identifier: MIT
 *
 * Five lives on a seeded sample: a log is opened, used, and ended by a power
 * cut or a kill at a random event, which may lie inside of the recovery (I6);
 * what survives is random; the log lives on (I7). In every mode, on every kind
 * of file system, with and without interrupted transfers.
 *
 *   test_lives                 $LIVES seeds, or as many as `make check` takes
 *   test_lives replay SEED     one
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operations.h"
#include "support.h"

enum { LIVES = 5, CALLS_MAX = 12, CHECK_SEEDS = SANITIZED ? 600 : 8000 };

struct story {
  struct run run;
  uint64_t seed, random;
  int life;
  const char *failed; /* outlives the run */
};

static bool live(struct story *s, uint64_t cut, enum crash_kind kind,
                 uint64_t calls) {
  struct run *r = &s->run;
  if (setjmp(*sim_cut_point(r->sim))) {
    r->unwatched = false;
    r->die_at = NULL;
    sim_set_room(r->sim, 0);
    return false;
  }
  sim_cut_at(r->sim, cut);
  run_open(r, kind);
  for (uint64_t i = 0; i < calls && !r->failed; i++) {
    uint64_t which = random_below(&s->random, operation_count);
    operations[which].run(r);
  }
  if (!r->failed && r->log && random_below(&s->random, 3) == 0) {
    if (duralog_close(&r->log)) r->failed = "closing failed";
    model_saw(&r->model, r->model.count, r->model.count);
  }
  sim_cut_at(r->sim, 0);
  return true;
}

/* The end of a life; what the next opening has to find. */
static enum crash_kind end_of_life(struct story *s) {
  struct run *r = &s->run;
  enum crash_kind kind = r->may_lose;
  run_died(r);
  if (random_below(&s->random, 3) || sim_is_shut_down(r->sim)) {
    kind = CRASH_POWER;
    sim_restart(r->sim, random_next(&s->random));
  } else {
    sim_kill(r->sim);
  }
  return kind;
}

static const char *story(uint64_t seed) {
  static struct story s;
  s = (struct story){.seed = seed, .random = seed * 77 + 5};
  run_begin(&s.run, &crash_modes[seed % crash_mode_count], 0);
  sim_set_interrupts(s.run.sim, seed / crash_mode_count % 2);
  sim_set_fs(s.run.sim, (enum sim_fs)(seed / 16 % SIM_FS_COUNT));
  enum crash_kind kind = CRASH_KILL;
  for (s.life = 0; s.life < LIVES && !s.run.failed; s.life++) {
    uint64_t cut = 1 + random_below(&s.random, s.life % 2 ? 20 : 160);
    live(&s, cut, kind, 1 + random_below(&s.random, CALLS_MAX));
    kind = end_of_life(&s);
  }
  if (!s.run.failed) run_open(&s.run, kind);
  if (!s.run.failed && duralog_close(&s.run.log))
    s.run.failed = "the last life cannot be closed";
  if (!s.run.failed && (sim_open_handles(s.run.sim) || /* I17 */
                        sim_allocations(s.run.sim)))
    s.run.failed = "I17: handles or memory are left behind";
  s.failed = s.run.failed;
  if (s.failed)
    fprintf(stderr,
            "broken: %s\n  mode %s, life %d, %zu records, promised %" PRIu64
            "\nreplay: build/tests/test_lives replay %" PRIu64 "\n",
            s.failed, s.run.model.mode->name, s.life, s.run.model.count,
            s.run.model.promised, seed);
  run_end(&s.run);
  return s.failed;
}

static void five_lives_keep_every_promise(void **unused) {
  (void)unused;
  const char *given = getenv("LIVES");
  uint64_t seeds = given ? strtoull(given, NULL, 10) : CHECK_SEEDS, wrong = 0;
  uint64_t begin = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : 1;
  for (uint64_t i = 0; i < seeds && wrong < 3; i++)
    wrong += story(begin + i) != NULL;
  printf("stories %" PRIu64 "\n", seeds);
  assert_int_equal(wrong, 0);
}

/* ---- interrupted and short transfers ---- */

static uint64_t bytes_of_run(bool interrupts, size_t mode) {
  static struct run r;
  run_begin(&r, &crash_modes[mode], 0);
  sim_set_interrupts(r.sim, interrupts);
  run_open(&r, CRASH_KILL);
  for (size_t i = 0; i < operation_count; i++)
    /* What a cut leaves of a commit that was not synced depends on how it was
     * written. */
    if (strncmp(operations[i].name, "die", 3) != 0 &&
        strcmp(operations[i].name, "commits") != 0 && !r.failed)
      operations[i].run(&r);
  assert_null(r.failed);
  assert_int_equal(duralog_close(&r.log), DURALOG_OK);
  uint64_t sum = sim_disk_checksum(r.sim);
  run_end(&r);
  return sum;
}

static void interrupted_and_short_transfers_change_no_byte(void **unused) {
  (void)unused;
  for (size_t mode = 0; mode < crash_mode_count; mode++)
    assert_int_equal(bytes_of_run(true, mode), bytes_of_run(false, mode));
}

static void the_same_calls_give_the_same_bytes(void **unused) {
  (void)unused; /* I33 */
  for (size_t mode = 0; mode < crash_mode_count; mode++)
    assert_int_equal(bytes_of_run(false, mode), bytes_of_run(false, mode));
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "replay") == 0)
    return story(strtoull(argv[2], NULL, 10)) != NULL;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(five_lives_keep_every_promise),
      cmocka_unit_test(interrupted_and_short_transfers_change_no_byte),
      cmocka_unit_test(the_same_calls_give_the_same_bytes),
  };
  return cmocka_run_group_tests_name("lives", tests, NULL, NULL);
}
