/* SPDX-License-Identifier: MIT
 *
 * All sequences of operations, with a crash at each of their events.
 *
 * A sequence of n operations is run on a simulated disk; during the last one
 * the process is killed and the power is cut at every I/O operation and every
 * step between stores (its beginning was explored as a shorter sequence); every
 * subset of what was unsynced survives, up to a budget; every state is opened
 * and compared with the model (explore.c, model.c: I1 to I11, I14, I20).
 *
 *   test_crash                    the budget of `make check`
 *   test_crash enumerate BUDGET   check, crash or long; $MODES and $FIRST (a
 *                                 share, "1/2") say which part of it
 *   test_crash replay MODE OPERATIONS EVENT/CHOICE [EVENT/CHOICE ...]
 *                                 one state, with a picture
 * $SKIP: syncs for that reason do nothing. $SEED: of what is chosen at random.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "operations.h"
#include "support.h"

struct plan {
  const char *name;
  int length_max;
  struct budget budgets[SEQUENCE_MAX + 1]; /* by length */
};

static const struct plan plans[] = {
    {"check",
     2,
     {{4096, 1024, 8, 8, 8, 16, 2},
      {1024, 256, 16, 16, 16, 8, 2},
      {64, 48, 64, 16, 16, 4, 2}}},
    {"crash",
     3,
     {{4096, 4096, 4, 4, 4, 64, 2},
      {4096, 1024, 16, 8, 8, 16, 2},
      {4096, 128, 64, 16, 16, 8, 2},
      {24, 24, 128, 32, 32, 6, 2}}},
    {"long",
     3,
     {{4096, 4096, 1, 1, 1, 64, 3},
      {4096, 4096, 4, 4, 4, 16, 3},
      {4096, 4096, 16, 8, 8, 8, 3},
      {256, 256, 64, 16, 16, 6, 3}}},
};

static void enumerate(struct explorer *e, const struct plan *plan,
                      const struct crash_mode *mode, struct sequence *s) {
  e->budget = plan->budgets[s->length];
  if (e->wrong && getenv("SKIP")) return; /* it is noticed: that was asked */
  sequence_run(e, mode, s);
  if (s->length == plan->length_max) return;
  for (size_t i = 0; i < operation_count; i++) {
    s->operations[s->length++] = &operations[i];
    enumerate(e, plan, mode, s);
    s->length--;
  }
}

/* ---- figures ---- */

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t seed(void) {
  const char *given = getenv("SEED");
  return given && *given ? strtoull(given, NULL, 10) : 1;
}

static void print_figures(const struct explorer *e, const char *plan,
                          double time) {
  printf("plan %s\nseed %" PRIu64 "\ncrash_points %" PRIu64
         "\ninside_recoveries %" PRIu64 "\nlives_after %" PRIu64
         "\ndamaged_states %" PRIu64
         "\ndistinct_states %zu\n"
         "states_per_second %.0f\n",
         plan, e->seed, e->points, e->nested, e->lives, e->damages,
         e->states.count, (double)e->states.count / time);
}

static bool mode_is_asked(const char *name) {
  const char *asked = getenv("MODES");
  return !asked || !*asked || strstr(asked, name);
}

static uint64_t explore(const struct plan *plan) {
  struct explorer *e = explorer_new();
  double begin = seconds();
  e->seed = seed();
  for (size_t i = 0; i < crash_mode_count; i++) {
    struct sequence s = {.length = 0};
    if (mode_is_asked(crash_modes[i].name))
      enumerate(e, plan, &crash_modes[i], &s);
  }
  uint64_t wrong = e->wrong_count;
  print_figures(e, plan->name, seconds() - begin);
  if (wrong)
    fprintf(stderr, "%" PRIu64 " states are wrong; the first: %s\n", wrong,
            e->wrong);
  explorer_free(e);
  return wrong;
}

static void a_crash_anywhere_keeps_every_promise(void **unused) {
  (void)unused;
  assert_int_equal(explore(&plans[0]), 0);
}

/* ---- replaying ---- */

static const struct crash_mode *mode_named(const char *name) {
  for (size_t i = 0; i < crash_mode_count; i++)
    if (strcmp(crash_modes[i].name, name) == 0) return &crash_modes[i];
  return NULL;
}

static bool parse_sequence(char *text, struct sequence *s) {
  if (strcmp(text, "-") == 0) return true;
  for (char *name = strtok(text, ","); name; name = strtok(NULL, ",")) {
    size_t i = 0;
    while (i < operation_count && strcmp(operations[i].name, name) != 0) i++;
    if (i == operation_count || s->length == SEQUENCE_MAX) return false;
    s->operations[s->length++] = &operations[i];
  }
  return true;
}

static int replay(int argc, char **argv) {
  struct sequence s = {.length = 0};
  struct explorer *e = explorer_new();
  const struct crash_mode *mode = argc > 2 ? mode_named(argv[2]) : NULL;
  bool ok = mode && argc > 4 && parse_sequence(argv[3], &s);
  e->seed = seed();
  e->budget = (struct budget){4096, 4096, 1, 1, 1, 64, DEPTH_MAX};
  for (int i = 4; ok && i < argc && e->only.depth < DEPTH_MAX; i++) {
    uint64_t *event = &e->only.event[e->only.depth];
    int64_t *choice = &e->only.choice[e->only.depth++];
    ok = sscanf(argv[i], "%" SCNu64 "/%" SCNd64, event, choice) == 2;
  }
  if (!ok) {
    fprintf(stderr, "test_crash replay MODE OPERATIONS EVENT/CHOICE ...\n");
    return 2;
  }
  sequence_run(e, mode, &s);
  printf("%s\n", e->wrong ? e->wrong : "all promises held");
  bool wrong = e->wrong != NULL;
  explorer_free(e);
  return wrong;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "replay") == 0) return replay(argc, argv);
  if (argc > 2 && strcmp(argv[1], "enumerate") == 0)
    for (size_t i = 0; i < COUNT_OF(plans); i++)
      if (strcmp(plans[i].name, argv[2]) == 0) return explore(&plans[i]) != 0;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_crash_anywhere_keeps_every_promise),
  };
  return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
