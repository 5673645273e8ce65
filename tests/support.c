/* SPDX-License-Identifier: MIT
 *
 * Tests, checks and seeds. See support.h.
 */
#include "support.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

static struct {
  const char *program;
  const char *test; /* running now */
  pid_t pid;
  pthread_t thread; /* that tests run in */
  uint64_t seed;
  bool passed; /* or skipped */
  char note[512];
  struct test_place place;
} now;

/* ---- seeds ---- */

static uint64_t choose_seed(void) {
  const char *given = getenv("SEED");
  if (given && *given) return strtoull(given, NULL, 10);
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t state = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
  return random_next(&state) % 1000000000u; /* short enough to be typed */
}

uint64_t test_seed(void) { return now.seed; }

uint64_t random_next(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t limit) {
  return random_next(state) % limit;
}

/* ---- checks ---- */

static void print_replay(void) {
  fprintf(stderr, "replay: SEED=%llu %s \"%s\"\n", (unsigned long long)now.seed,
          now.program, now.test);
}

void test_note(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(now.note, sizeof now.note, format, arguments);
  va_end(arguments);
}

void test_failed(const char *file, int line, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  bool child = getpid() != now.pid;
  bool thread = !pthread_equal(pthread_self(), now.thread);
  fprintf(stderr, "%s:%d: %s%s\n", file, line, text,
          child    ? " (in a child)"
          : thread ? " (in a thread)"
                   : "");
  if (now.note[0]) fprintf(stderr, "%s:%d: with %s\n", file, line, now.note);
  if (child) _exit(CHILD_FAILED);
  if (thread) {
    print_replay();
    abort();
  }
  _fail(file, line);
  abort(); /* not reached */
}

void test_skip(const char *reason) {
  fprintf(stderr, "skip: %s: %s\n", now.test, reason);
  if (getpid() != now.pid) _exit(CHILD_SKIPPED);
  now.passed = true;
  skip();
  abort(); /* not reached */
}

void test_check_equal(uint64_t left, uint64_t right, const char *text,
                      const char *file, int line) {
  if (left != right)
    test_failed(file, line, "not so: %s: %llu and %llu", text,
                (unsigned long long)left, (unsigned long long)right);
}

void test_check_error(duralog_error expected, duralog_error is,
                      const char *text, const char *file, int line) {
  if (expected != is)
    test_failed(file, line, "%s is %s instead of %s", text,
                duralog_error_name(is), duralog_error_name(expected));
}

void test_check_bytes(const void *expected, size_t expected_size,
                      const void *is, size_t is_size, const char *text,
                      const char *file, int line) {
  if (expected_size != is_size)
    test_failed(file, line, "%s: %zu bytes instead of %zu", text, is_size,
                expected_size);
  if (is_size && memcmp(expected, is, is_size) != 0)
    test_failed(file, line, "%s: other bytes than expected", text);
}

int test_check_call(long result, const char *text, const char *file, int line) {
  if (result < 0) test_failed(file, line, "%s: %s", text, strerror(errno));
  return (int)result;
}

/* ---- running ---- */

static void place_make(struct test_place *at) {
  const char *base = getenv("TMPDIR");
  bool in_memory = base && strncmp(base, "/dev/shm", 8) == 0;
  if (!base || !*base || in_memory) base = "/var/tmp";
  snprintf(at->root, sizeof at->root, "%s/duralog-test-XXXXXX", base);
  CHECK(mkdtemp(at->root) != NULL);
  snprintf(at->path, sizeof at->path, "%s/log", at->root);
}

static void test_run(void **state) {
  const struct test *test = *state;
  now.test = test->name;
  now.passed = false;
  now.note[0] = 0;
  now.place = (struct test_place){.copying = test->copying};
  place_make(&now.place);
  unsigned descriptors = descriptor_count();
  test->body(&now.place);
  test_note("what the test left behind");
  CHECK_EQUAL(descriptor_count(), descriptors);
  CHECK(!is_mapped_below(now.place.root));
  now.passed = true;
}

static int test_tear_down(void **state) {
  (void)state;
  if (!now.passed) print_replay();
  if (now.place.root[0]) directory_remove(now.place.root);
  now.place.root[0] = 0;
  paths_forget();
  return 0;
}

int test_main(int argc, char **argv, const struct test *tests, size_t count) {
  now.program = argv[0];
  now.pid = getpid();
  now.thread = pthread_self();
  now.seed = choose_seed();
  now.test = "";
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  struct CMUnitTest *units = calloc(count, sizeof *units);
  if (!units) return 1;
  for (size_t i = 0; i < count; i++)
    units[i] =
        (struct CMUnitTest){.name = tests[i].name,
                            .test_func = test_run,
                            .teardown_func = test_tear_down,
                            .initial_state = (void *)(uintptr_t)&tests[i]};
  int failed = _cmocka_run_group_tests(argv[0], units, count, NULL, NULL);
  free(units);
  return failed ? 1 : 0;
}

/* In the tests' builds with ThreadSanitizer: tests of fork start threads in
 * the children of processes with threads. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }
