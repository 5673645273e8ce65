/* SPDX-License-Identifier: MIT
 *
 * Every I/O call fails, at its k-th time for k = 1, 2, ... until the run
 * succeeds, with each errno it can give, once and for ever: a clean error or a
 * documented shrug, nothing leaked, nothing lost (I14 to I19). On the simulated
 * disk; libfiu switches the points.
 *
 * Replay one: build/tests/test_fault replay POINT ERRNO K VARIANT
 */
#define FIU_ENABLE 1 /* otherwise fiu.h does nothing */
#include <errno.h>
#include <fiu-control.h>
#include <fiu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duralog.h"
#include "format.h"
#include "io_fault.h"
#include "io_sim.h"
#include "support.h"

#define DIRECTORY "/log"

/* When the point fires: libfiu's own counters are global and random. */
static struct {
  uint64_t k, calls;
  bool ever;
} trigger;

static int decide(const char *name, int *failnum, void **failinfo,
                  unsigned int *flags) {
  (void)name;
  (void)failnum;
  (void)failinfo;
  (void)flags;
  trigger.calls++;
  return trigger.ever ? trigger.calls >= trigger.k : trigger.calls == trigger.k;
}

struct story {
  struct sim *sim;
  struct io_fault fault;
  duralog_options options;
  uint64_t appended, promised;
  bool abandon; /* die instead of closing, once */
};

static void story_begin(struct story *s) {
  memset(s, 0, sizeof *s);
  s->sim = sim_new();
  s->options = (duralog_options){
      .struct_size = sizeof s->options,
      .segment_bytes = SEGMENT_BYTES_MIN,
      .host_driven = true,
      .environment = io_fault_around(&s->fault, sim_environment(s->sim))};
}

static duralog_error append_number(duralog *log, uint64_t n) {
  char text[256];
  memset(text, (int)('a' + n % 26), sizeof text);
  memcpy(text, &n, sizeof n);
  return duralog_append(log, text, 100 + n % 150, NULL);
}

static uint64_t read_all(duralog *log, duralog_error *error) {
  duralog_reader *reader = NULL;
  duralog_record record;
  uint64_t n = 0, number;
  *error = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader);
  if (*error) return 0;
  while ((*error = duralog_read_next(reader, &record)) == DURALOG_OK) {
    memcpy(&number, record.data, sizeof number);
    assert_int_equal(number, n);
    assert_int_equal(record.size, 100 + n % 150);
    n++;
  }
  duralog_reader_close(&reader);
  if (*error == DURALOG_E_AT_END) *error = DURALOG_OK;
  return n;
}

static void note(struct story *s, const duralog *log) {
  duralog_watermarks w = {.struct_size = sizeof w};
  assert_int_equal(duralog_get_watermarks(log, &w), DURALOG_OK);
  assert_true(w.durable <= w.end);
  if (w.end > s->appended) s->appended = w.end;
  if (w.durable > s->promised) s->promised = w.durable;
}

/* One opening with some work; any error is kept, and goes on where the header
 * says that one can. */
static duralog_error work(struct story *s) {
  duralog *log = NULL;
  duralog_error first = duralog_open(DIRECTORY, &s->options, &log, NULL, NULL),
                error;
  if (first) return first;
  duralog_watermarks w = {.struct_size = sizeof w};
  assert_int_equal(duralog_get_watermarks(log, &w), DURALOG_OK);
  for (uint64_t end = w.end, i = 0; i < 120; i++) {
    error = append_number(log, end);
    duralog_get_watermarks(log, &w);
    if (!error) assert_int_equal(w.end, end + 1);
    if (error && error != DURALOG_E_POISONED) assert_int_equal(w.end, end);
    end = w.end;
    note(s, log);
    if (!error && i % 30 == 7) error = duralog_tick(log);
    if (error && !first) first = error;
  }
  uint64_t kept = read_all(log, &error);
  if (!error) assert_int_equal(kept, w.end);
  if (error && !first) first = error;
  if (s->abandon) {
    s->abandon = false;
    sim_kill(s->sim);
    return first;
  }
  error = duralog_close(&log);
  assert_null(log);
  if (!error) s->promised = s->appended;
  return first ? first : error;
}

/* Whether the fault was reached. */
/* Variants: the fault comes once; for ever, with a sync every 3 records; once,
 * in strict mode, and the first writer dies. */
enum { ONCE, EVER, STRICT, VARIANTS };

static bool run(const char *point, int os_error, uint64_t k, int variant) {
  struct story s;
  story_begin(&s);
  trigger.k = k;
  trigger.calls = 0;
  trigger.ever = variant == EVER;
  s.options.strict = s.abandon = variant == STRICT;
  if (variant == EVER) s.options.durability.sync_every_records = 3;
  fiu_enable_external(point, 1, (void *)(intptr_t)os_error, 0, decide);
  duralog_error errors[2] = {work(&s), work(&s)};
  bool reached = trigger.calls >= k;
  fiu_disable(point);
  for (int i = 0; i < 2; i++)
    if (errors[i] == DURALOG_E_CORRUPT || errors[i] == DURALOG_E_ARGUMENT) {
      print_error("%s: %s\n  %s\n", point, duralog_error_name(errors[i]),
                  getenv("DURALOG_TEST_REPLAY"));
      fail();
    }
  assert_int_equal(sim_open_handles(s.sim), 0);
  assert_int_equal(sim_allocations(s.sim), 0);
  sim_restart(s.sim, k * 31 + (uint64_t)os_error);
  uint64_t promised = s.promised;
  assert_int_equal(work(&s), DURALOG_OK);
  assert_true(s.appended >= promised + 120);
  sim_free(s.sim);
  return reached;
}

static bool run_named(const char *point, int os_error, uint64_t k,
                      int variant) {
  char line[160];
  snprintf(line, sizeof line,
           "replay: build/tests/test_fault replay %s %d %llu %d", point,
           os_error, (unsigned long long)k, variant);
  setenv("DURALOG_TEST_REPLAY", line, 1);
  return run(point, os_error, k, variant);
}

static void every_call_fails_once_and_for_ever(void **state) {
  (void)state;
  static const int errors[] = {EIO, ENOSPC, ENOMEM, EACCES};
  uint64_t points = 0, reached = 0, runs = 0;
  for (const char *const *p = io_fault_points; *p; p++, points++) {
    bool any = false;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
      for (int variant = 0; variant < VARIANTS; variant++)
        for (uint64_t k = 1, step = 1;; k += step, runs++) {
          if (!run_named(*p, errors[e], k, variant)) break;
          any = true;
          if (k >= 40) step = 7; /* the same loop over and over */
        }
    reached += any;
    if (!any) print_error("not reached: %s\n", *p);
  }
  print_message("points_reached %llu\npoints_total %llu\nruns %llu\n",
                (unsigned long long)reached, (unsigned long long)points,
                (unsigned long long)runs);
  assert_int_equal(reached, points);
}

int main(int argc, char **argv) {
  fiu_init(0);
  if (argc == 6 && strcmp(argv[1], "replay") == 0) {
    run(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 0), atoi(argv[5]));
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_call_fails_once_and_for_ever),
  };
  return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
