/* SPDX-License-Identifier: MIT
 *
 * Every fault, everywhere (I14 to I19). Each call of the I/O interface, each
 * reason to sync and each STEP of the library is a point that libfiu switches.
 * Every point fires at its k-th call for k = 1, 2, ... until the story no
 * longer reaches it, with every errno that the call can give, once and from
 * then on, in every durability mode. A point that is never reached fails the
 * run. Real files get a sample.
 *
 * A failure prints the line that runs that one case again. POINT=<name> runs
 * one point only.
 */
#define FIU_ENABLE 1 /* otherwise fiu.h does nothing */
#include <fiu-control.h>
#include <fiu.h>

#include "fault_story.h"

enum { POINTS_MAX = 256, POINTS_MIN = 60, DEATHS = 3 };

static struct {
  uint64_t runs, benign, real_runs, real_reached;
  /* In which modes each was reached, as bits, and in which story last. */
  uint32_t modes[POINTS_MAX];
  enum plot plot[POINTS_MAX];
} count;

static bool run(const struct fault_case *c) {
  bool benign;
  count.runs++;
  bool reached = case_run(c, &benign);
  count.benign += benign;
  return reached;
}

/* All k of one fault in one mode and story. */
static bool run_all_k(struct fault_case c) {
  enum { K_SANITIZED = 2 };
  for (c.k = 1; run(&c); c.k++)
    if (SANITIZED && c.k >= K_SANITIZED) return true;
  return c.k > 1;
}

static bool run_story(struct fault_case c, const struct io_fault_point *p) {
  bool step = is_step(p->name);
  for (int i = 0; step ? i < DEATHS : p->errors[i] != 0; i++) {
    c.error = step ? i : p->errors[i];
    c.ever = false;
    if (!run_all_k(c)) return false;
    c.ever = true;
    /* A sleeper that is woken for ever for no reason never sleeps. */
    if (!step && strncmp(p->name, "io/wait", 7) != 0) run_all_k(c);
    if (SANITIZED && i >= 1) break;
  }
  return true;
}

static void run_point(size_t i, enum mode mode) {
  const struct io_fault_point *p = &io_fault_points[i];
  for (int plot = 0; plot < PLOTS; plot++) {
    struct fault_case c = {
        .point = p->name, .mode = mode, .plot = (enum plot)plot};
    if (!run_story(c, p)) continue;
    count.modes[i] |= UINT32_C(1) << mode;
    count.plot[i] = c.plot;
  }
}

static size_t points_total(void) {
  size_t n = 0;
  while (io_fault_points[n].name) n++;
  return n;
}

static bool is_asked_for(size_t i) {
  const char *only = getenv("POINT");
  return !only || strcmp(only, io_fault_points[i].name) == 0;
}

static void the_stories_run_without_faults(struct test_place *at) {
  (void)at;
  for (int mode = 0; mode < MODES; mode++)
    for (int plot = 0; plot < PLOTS; plot++) {
      struct fault_case c = {.mode = (enum mode)mode, .plot = (enum plot)plot};
      run(&c);
    }
}

static void every_fault_in_every_mode_keeps_every_promise(
    struct test_place *at) {
  (void)at;
  CHECK(points_total() >= POINTS_MIN && points_total() <= POINTS_MAX);
  for (size_t i = 0; i < points_total(); i++)
    for (int mode = 0; is_asked_for(i) && mode < MODES; mode++)
      run_point(i, (enum mode)mode);
}

static size_t points_reached(bool say) {
  size_t n = 0;
  for (size_t i = 0; i < points_total(); i++) {
    n += count.modes[i] != 0;
    if (say && !count.modes[i])
      fprintf(stderr, "not reached: %s\n", io_fault_points[i].name);
  }
  return n;
}

static void every_point_is_reached(struct test_place *at) {
  (void)at;
  CHECK_EQUAL(points_reached(true), points_total());
}

static void nothing_stands_on_the_benign_list_in_vain(struct test_place *at) {
  (void)at;
  if (SANITIZED) test_skip("not all cases were run");
  CHECK_EQUAL(rules_benign_unused(), 0);
}

/* On real files: in a mode and story that reached the point in simulation. */
static void real_files_keep_every_promise_too(struct test_place *at) {
  for (size_t i = 0; i < points_total(); i++) {
    const struct io_fault_point *p = &io_fault_points[i];
    int mode = (int)(i % MODES);
    if (!is_asked_for(i) || !count.modes[i]) continue;
    while (!(count.modes[i] >> mode & 1)) mode = (mode + 1) % MODES;
    struct fault_case c = {.point = p->name,
                           .error = p->errors[0],
                           .mode = (enum mode)mode,
                           .plot = count.plot[i]};
    for (c.k = 1; c.k <= 2; c.k++) {
      bool benign;
      count.real_runs++;
      count.real_reached += case_run_real(&c, at->path, &benign);
    }
  }
}

static int replay(char **argv) {
  bool benign, real = strcmp(argv[1], "replay-real") == 0;
  char path[] = "/var/tmp/duralog-fault-XXXXXX";
  struct fault_case c = {.point = argv[2],
                         .error = atoi(argv[3]),
                         .k = strtoull(argv[4], NULL, 0),
                         .ever = strcmp(argv[5], "ever") == 0,
                         .mode = (enum mode)atoi(argv[6]),
                         .plot = (enum plot)atoi(argv[7])};
  if (real) CHECK(mkdtemp(path) != NULL);
  bool reached = real ? case_run_real(&c, path_join(path, "log"), &benign)
                      : case_run(&c, &benign);
  if (real) directory_remove(path);
  printf("reached: %s\n", reached ? "yes" : "no");
  return 0;
}

int main(int argc, char **argv) {
  fiu_init(0);
  if (argc == 8 && strncmp(argv[1], "replay", 6) == 0) return replay(argv);
  static const struct test tests[] = {
      TEST(the_stories_run_without_faults),
      TEST(every_fault_in_every_mode_keeps_every_promise),
      TEST(every_point_is_reached),
      TEST(nothing_stands_on_the_benign_list_in_vain),
      TEST(real_files_keep_every_promise_too),
  };
  int status = TEST_MAIN(tests);
  printf("points_reached %zu\npoints_total %zu\nfault_runs %llu\n",
         points_reached(false), points_total(), (unsigned long long)count.runs);
  printf("fault_runs_benign %llu\n", (unsigned long long)count.benign);
  printf("fault_runs_real %llu\nfault_runs_real_reached %llu\n",
         (unsigned long long)count.real_runs,
         (unsigned long long)count.real_reached);
  return status;
}
