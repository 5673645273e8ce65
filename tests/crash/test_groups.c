/* SPDX-License-Identifier: MIT
 *
 * Consumer groups through crashes: longer sequences than test_crash has, of
 * those operations that commits depend on, crashed at each event of the last
 * one (I24 to I27); and stories too long for that.
 */
#include "operations.h"
#include "support.h"

static const struct operation *named(const char *name) {
  for (size_t i = 0; i < operation_count; i++)
    if (strcmp(operations[i].name, name) == 0) return &operations[i];
  abort();
}

static const char *const names[] = {"written", "commit", "commit-durable",
                                    "durable", "kill",   "cut",
                                    "reopen",  "commits"};
enum { NAMES = COUNT_OF(names) };

static void run_three(struct explorer *e, const struct crash_mode *mode,
                      size_t number) {
  struct sequence s = {.length = 3};
  for (int i = 0; i < 3; i++, number /= NAMES)
    s.operations[i] = named(names[number % NAMES]);
  sequence_run(e, mode, &s);
}

static void a_crash_amid_commits_keeps_every_promise(void **unused) {
  (void)unused;
  struct explorer *e = explorer_new();
  e->budget = (struct budget){.all_max = 48, .limit = 32, .depth = 1};
  for (size_t m = 0; m < crash_mode_count; m++) {
    const char *name = crash_modes[m].name;
    if (strcmp(name, "every-record") != 0 && strcmp(name, "pagecache") != 0)
      continue;
    for (size_t i = 0; i < NAMES * NAMES * NAMES && !e->wrong; i++)
      run_three(e, &crash_modes[m], i);
  }
  printf("group_states %zu\n", e->states.count);
  uint64_t wrong = e->wrong_count;
  explorer_free(e);
  assert_int_equal(wrong, 0);
}

/* ---- stories ---- */

static const struct crash_mode *pagecache(void) {
  for (size_t i = 0; i < crash_mode_count; i++)
    if (crash_modes[i].durability.pagecache) return &crash_modes[i];
  abort();
}

/* The operations in order; each crash in the last one. */
static void story(const char *const *steps, size_t count) {
  static struct run run;
  struct explorer *e = explorer_new();
  e->budget = (struct budget){.all_max = 512, .limit = 256, .depth = 1};
  snprintf(e->replay, sizeof e->replay, "the story that ends with %s",
           steps[count - 1]);
  run_begin(&run, pagecache(), 0);
  explorer_watch(e, &run, false);
  run_open(&run, CRASH_KILL);
  for (size_t i = 0; i < count && !run.failed; i++) {
    explorer_watch(e, &run, i + 1 == count);
    named(steps[i])->run(&run);
    if (!run.failed) explorer_point(e, "returned");
  }
  if (run.failed) explorer_failed(e, run.failed);
  uint64_t wrong = e->wrong_count, states = e->recoveries;
  run_end(&run);
  explorer_free(e);
  assert_int_equal(wrong, 0);
  assert_true(states > 0);
}

/* After the kill nobody knows which slot the disk has: the first commit must
 * not write over the only one that it has. */
static void a_written_commit_does_not_take_an_earlier_durable_one_with_it(
    void **unused) {
  static const char *const steps[] = {"written", "commit-durable", "written",
                                      "commit",  "kill",           "written",
                                      "commit"};
  static const char *const longer[] = {"written", "commit-durable", "written",
                                       "commit",  "kill",           "written",
                                       "commit",  "written",        "commit"};
  (void)unused;
  story(steps, COUNT_OF(steps));
  story(longer, COUNT_OF(longer));
}

/* The second member makes the first one's commit durable, and not its records:
 * cut, given anew, cut again, the point of divergence stays exact. */
static void an_offset_in_an_epoch_that_was_cut_goes_back_to_the_cut(
    void **unused) {
  (void)unused;
  for (size_t lost = 1; lost <= 6; lost++) {
    const char *steps[24];
    size_t n = 0;
    steps[n++] = "durable";
    for (size_t i = 0; i < lost; i++) steps[n++] = "written";
    steps[n++] = "commit";
    steps[n++] = "commit";
    steps[n++] = "cut";
    for (size_t i = 0; i < 3; i++) steps[n++] = "durable";
    steps[n++] = "kill";
    steps[n++] = "durable";
    story(steps, n);
    for (size_t i = 0; i < 5; i++) steps[n++] = "durable";
    story(steps, n);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_crash_amid_commits_keeps_every_promise),
      cmocka_unit_test(
          a_written_commit_does_not_take_an_earlier_durable_one_with_it),
      cmocka_unit_test(an_offset_in_an_epoch_that_was_cut_goes_back_to_the_cut),
  };
  return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
