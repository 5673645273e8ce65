/* SPDX-License-Identifier: MIT
 *
 * Finding by time where memory or the disk fails, and what it costs, on the
 * simulated disk. That it is right: tests/api/test_time.c.
 */
#define FIU_ENABLE 1 /* otherwise fiu.h does nothing */
#include <errno.h>
#include <fiu-control.h>
#include <fiu.h>

#include "duralog.h"
#include "format.h"
#include "io_fault.h"
#include "io_sim.h"
#include "support.h"
#include "support_sim.h"

#define DIRECTORY "/log"

enum { COUNT = 6000, STEP_MS = 10, TARGET = 350 };

/* Calls of one point are counted; the k-th one fails, 0: none. */
static uint64_t calls, fail_at;

static int decide(const char *name, int *failnum, void **failinfo,
                  unsigned int *flags) {
  (void)name;
  (void)failnum;
  (void)failinfo;
  (void)flags;
  return ++calls == fail_at;
}

struct fixture {
  struct sim *sim;
  struct io_fault fault;
  duralog_options options;
  duralog *log;
  duralog_reader *reader;
};

/* Record i has the timestamp STEP_MS * i, decades ago: it lies in its body. */
static void fixture_begin(struct fixture *x, bool copying, uint64_t count) {
  memset(x, 0, sizeof *x);
  x->sim = world_new();
  sim_set_blind(x->sim, true);
  x->options = (duralog_options){
      .struct_size = sizeof x->options,
      .segment_bytes = SEGMENT_BYTES_MIN,
      .durability.pagecache = true,
      .copying_reads = copying,
      .host_driven = true,
      .environment = io_fault_around(&x->fault, sim_environment(x->sim))};
  CHECK_OK(duralog_open(DIRECTORY, &x->options, &x->log, NULL, NULL));
  for (uint64_t i = 0; i < count; i++) {
    duralog_entry e = {.data =
                           "of some length, so that it takes room: "
                           "a hundred bytes and a few more with its "
                           "header, as records are",
                       .size = 98,
                       .has_timestamp = true,
                       .timestamp_ms = (int64_t)(STEP_MS * i)};
    CHECK_OK(duralog_append_batch(x->log, &e, 1, DURALOG_LEVEL_DEFAULT, NULL));
  }
}

/* As a writer, or as a snapshot after a kill, in which nothing is sealed. */
static void reopen(struct fixture *x, bool snapshot) {
  x->options.read_only = snapshot;
  if (snapshot)
    sim_kill(x->sim);
  else
    CHECK_OK(duralog_close(&x->log));
  CHECK_OK(duralog_open(DIRECTORY, &x->options, &x->log, NULL, NULL));
  CHECK_OK(duralog_reader_open(x->log, DURALOG_LEVEL_WRITTEN, &x->reader));
}

static void fixture_end(struct fixture *x) {
  CHECK_OK(duralog_reader_close(&x->reader));
  CHECK_OK(duralog_close(&x->log));
  CHECK_EQUAL(sim_open_handles(x->sim), 0);
  CHECK_EQUAL(sim_allocations(x->sim), 0);
  sim_free(x->sim);
}

static uint64_t tell(struct fixture *x) {
  uint64_t offset = UINT64_MAX;
  CHECK_OK(duralog_tell(x->reader, &offset));
  return offset;
}

static void check_found(struct fixture *x, uint64_t offset) {
  CHECK_OK(duralog_seek_time(x->reader, (int64_t)(STEP_MS * offset)));
  CHECK_EQUAL(tell(x), offset);
}

/* The position is where it was, and the same call succeeds afterwards. */
static void check_failed(struct fixture *x, duralog_error expected,
                         duralog_error error, uint64_t before) {
  duralog_diagnostic d = {.struct_size = sizeof d};
  CHECK_IS(expected, error);
  CHECK_EQUAL(tell(x), before);
  CHECK_OK(duralog_diagnose(x->log, &d));
  CHECK_EQUAL(d.error, expected);
  CHECK(d.text[0] != 0);
}

static void out_of_memory_is_a_clean_error_anywhere(void **state) {
  (void)state;
  for (int copying = 0; copying < 2; copying++) {
    bool failed = true;
    uint64_t k = 1;
    for (; failed; k++) {
      struct fixture x;
      duralog_segment s = {.struct_size = sizeof s, .end = 77};
      fixture_begin(&x, copying, 700);
      reopen(&x, false);
      CHECK_OK(duralog_seek(x.reader, DURALOG_SEEK_OFFSET, 5));
      sim_fail_alloc(x.sim, k);
      duralog_error e = duralog_seek_time(x.reader, STEP_MS * TARGET);
      failed = e != DURALOG_OK;
      if (failed) {
        check_failed(&x, DURALOG_E_RESOURCES, e, 5);
      } else {
        CHECK_EQUAL(tell(&x), TARGET);
        e = duralog_get_segment(x.log, 0, &s);
        failed = e != DURALOG_OK;
        if (failed) CHECK_IS(DURALOG_E_RESOURCES, e);
        if (failed) CHECK_EQUAL(s.end, 77); /* unchanged */
      }
      sim_fail_alloc(x.sim, 0);
      check_found(&x, TARGET);
      CHECK_OK(duralog_get_segment(x.log, 0, &s));
      CHECK(s.has_times && s.time_max_ms == (int64_t)(STEP_MS * (s.end - 1)));
      fixture_end(&x);
    }
    CHECK(k > 5);
  }
}

/* Whether the k-th call of the point was reached, and failed. */
static bool fails_cleanly(const char *point, uint64_t k, bool copying,
                          bool snapshot) {
  struct fixture x;
  fixture_begin(&x, copying, 700);
  reopen(&x, snapshot);
  CHECK_OK(duralog_seek(x.reader, DURALOG_SEEK_OFFSET, 5));
  calls = 0;
  fail_at = k;
  fiu_enable_external(point, 1, (void *)(intptr_t)EIO, 0, decide);
  duralog_error e = duralog_seek_time(x.reader, STEP_MS * TARGET);
  fiu_disable(point);
  bool failed = calls >= k;
  if (failed)
    check_failed(&x, DURALOG_E_IO, e, 5);
  else
    CHECK_OK(e);
  check_found(&x, TARGET);
  fixture_end(&x);
  return failed;
}

static void a_failed_read_is_a_clean_error_anywhere(void **state) {
  (void)state;
  static const char *const points[] = {"io/file_read", "io/file_open",
                                       "io/file_size", "io/map"};
  for (size_t p = 0; p < COUNT_OF(points); p++) {
    uint64_t reached = 0;
    for (int variant = 0; variant < 4; variant++)
      for (uint64_t k = 1;
           fails_cleanly(points[p], k, variant & 1, variant & 2); k++)
        reached++;
    CHECK(reached > 0);
  }
}

static uint64_t opens_for(struct fixture *x, uint64_t offset) {
  calls = fail_at = 0;
  fiu_enable_external("io/file_open", 1, NULL, 0, decide);
  check_found(x, offset);
  fiu_disable("io/file_open");
  return calls;
}

static void segments_are_learned_once_and_no_further_than_asked(void **state) {
  (void)state;
  struct fixture x;
  duralog_segment s = {.struct_size = sizeof s};
  size_t segments = 0;
  fixture_begin(&x, false, COUNT);
  reopen(&x, false);
  while (duralog_get_segment(x.log, segments, &s) == DURALOG_OK) segments++;
  CHECK(segments > 50);
  CHECK_OK(duralog_reader_close(&x.reader));
  reopen(&x, false);
  CHECK(opens_for(&x, 3) <= 1);
  CHECK(opens_for(&x, COUNT / 2) <= segments / 2 + 2);
  CHECK(opens_for(&x, COUNT - 200) <= segments / 2 + 2);
  for (uint64_t o = 0; o < COUNT; o += 777) CHECK(opens_for(&x, o) <= 1);
  fixture_end(&x);
}

static void what_this_writer_finished_is_known_without_the_disk(void **state) {
  (void)state;
  struct fixture x;
  fixture_begin(&x, false, 1000); /* nothing is sealed: nobody ticks */
  CHECK_OK(duralog_reader_open(x.log, DURALOG_LEVEL_WRITTEN, &x.reader));
  for (uint64_t o = 0; o < 1000; o += 77) CHECK_EQUAL(opens_for(&x, o), 0);
  fixture_end(&x);
}

int main(void) {
  fiu_init(0);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(out_of_memory_is_a_clean_error_anywhere),
      cmocka_unit_test(a_failed_read_is_a_clean_error_anywhere),
      cmocka_unit_test(segments_are_learned_once_and_no_further_than_asked),
      cmocka_unit_test(what_this_writer_finished_is_known_without_the_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
