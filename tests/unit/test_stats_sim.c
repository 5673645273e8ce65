/* SPDX-License-Identifier: MIT
 *
 * Statistics of what only a simulated world does when told: syncs of a known
 * length, interrupted calls, refused hints, a full disk, failed syncs.
 */
#define FIU_ENABLE 1 /* otherwise fiu.h does nothing */
#include <errno.h>
#include <fiu-control.h>
#include <fiu.h>

#include "format.h"
#include "io_count.h"
#include "io_fault.h"
#include "support_sim.h"
#include "unit.h"

#define DIRECTORY "/log"

struct world {
  struct sim *sim;
  struct io_fault fault;
  duralog_options options;
  duralog *log;
};

static void reopen(struct world *w) {
  assert_int_equal(duralog_open(DIRECTORY, &w->options, &w->log, NULL, NULL),
                   DURALOG_OK);
}

static void begin(struct world *w) {
  memset(w, 0, sizeof *w);
  w->sim = world_new();
  w->options = (duralog_options){
      .struct_size = sizeof w->options,
      .durability = {.pagecache = true},
      .segment_bytes = SEGMENT_BYTES_MIN,
      .host_driven = true,
      .environment = io_fault_around(&w->fault, sim_environment(w->sim))};
  reopen(w);
}

static void end(struct world *w, duralog_error expected) {
  assert_int_equal(duralog_close(&w->log), expected);
  sim_free(w->sim);
}

static duralog_stats stats(const struct world *w) {
  duralog_stats s = {.struct_size = sizeof s};
  assert_int_equal(duralog_get_stats(w->log, &s), DURALOG_OK);
  return s;
}

static duralog_error append(struct world *w) {
  static const char data[1000];
  return duralog_append(w->log, data, sizeof data, NULL);
}

static void append_segments(struct world *w, uint64_t count) {
  uint64_t rolls = stats(w).rolls;
  while (stats(w).rolls < rolls + count)
    assert_int_equal(append(w), DURALOG_OK);
}

/* ---- syncs ---- */

static void buckets_double_from_1024_ns(void **state) {
  (void)state;
  assert_int_equal(io_sync_bucket(0), 0);
  assert_int_equal(io_sync_bucket(1023), 0);
  for (unsigned i = 1; i < DURALOG_STATS_BUCKETS; i++) {
    uint64_t bound = UINT64_C(1024) << (i - 1);
    assert_int_equal(io_sync_bucket(bound - 1), i - 1);
    assert_int_equal(io_sync_bucket(bound), i);
  }
  assert_int_equal(io_sync_bucket(UINT64_MAX), DURALOG_STATS_BUCKETS - 1);
}

static void each_sync_is_counted_with_its_time(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  append_segments(&w, 3);
  assert_int_equal(duralog_tick(w.log), DURALOG_OK);
  assert_int_equal(duralog_sync(w.log), DURALOG_OK);
  duralog_stats s = stats(&w);
  uint64_t expected[DURALOG_SYNC_KIND_COUNT] = {0};
  for (int why = 0; why < IO_SYNC_REASON_COUNT; why++)
    expected[io_sync_kind((enum io_sync_reason)why)] +=
        sim_sync_count(w.sim, (enum io_sync_reason)why);
  for (int kind = 0; kind < DURALOG_SYNC_KIND_COUNT; kind++) {
    const duralog_sync_times *t = &s.syncs[kind];
    assert_true(t->count > 0 || kind == DURALOG_SYNC_MARK ||
                kind == DURALOG_SYNC_GROUP);
    assert_int_equal(t->count, expected[kind]);
    assert_int_equal(t->total_ns, t->count * SIM_SYNC_NS);
    assert_int_equal(t->max_ns, t->count ? SIM_SYNC_NS : 0);
    assert_int_equal(t->histogram[io_sync_bucket(SIM_SYNC_NS)], t->count);
  }
  end(&w, DURALOG_OK);
}

static void waits_last_as_long_as_the_sync(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  assert_int_equal(append(&w), DURALOG_OK);
  assert_int_equal(duralog_sync(w.log), DURALOG_OK);
  assert_int_equal(append(&w), DURALOG_OK);
  assert_int_equal(duralog_wait(w.log, 1, DURALOG_LEVEL_DURABLE, -1),
                   DURALOG_OK);
  assert_int_equal(append(&w), DURALOG_OK);
  assert_int_equal(duralog_tick(w.log), DURALOG_OK); /* nobody waits there */
  assert_int_equal(stats(&w).waits, 2);
  assert_int_equal(stats(&w).wait_ns, 2 * SIM_SYNC_NS);
  end(&w, DURALOG_OK);
}

/* ---- what does no harm ---- */

static void interrupted_transfers_are_counted(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  assert_int_equal(stats(&w).retries, 0);
  sim_set_interrupts(w.sim, true);
  append_segments(&w, 1);
  /* The allocation: EINTR, then done. Then the header page in parts. */
  assert_true(stats(&w).retries > 2);
  uint64_t errors = 0;
  for (int i = 0; i < DURALOG_STATS_ERRORS; i++) errors += stats(&w).errors[i];
  assert_int_equal(errors, 0);
  sim_set_interrupts(w.sim, false);
  end(&w, DURALOG_OK);
}

static void parts_are_counted_without_the_end_of_the_file(void **state) {
  (void)state;
  struct world w;
  struct io_count count = {.counts = {.retries = {0}}};
  uint8_t bytes[100];
  begin(&w);
  io_env *io = io_count_around(&count, sim_environment(w.sim));
  int dir = io->dir_open(io, DIRECTORY);
  int file = io->file_open(io, dir, "part", IO_WRITE | IO_CREATE, 0600);
  assert_true(dir >= 0 && file >= 0);
  memset(bytes, 1, sizeof bytes);
  assert_int_equal(io_write(io, file, bytes, 60, 0), 0);
  assert_int_equal(io_read(io, file, bytes, 100, 0), 60); /* all there is */
  assert_int_equal(counter_get(&count.counts.retries), 0);
  sim_set_interrupts(w.sim, true);
  assert_int_equal(io_write(io, file, bytes, 4, 0), 0);
  /* EINTR, 2; EINTR, 1; EINTR, 1: five times round again. */
  assert_int_equal(counter_get(&count.counts.retries), 5);
  sim_set_interrupts(w.sim, false);
  io->close(io, file);
  io->close(io, dir);
  end(&w, DURALOG_OK);
}

static void refused_hints_are_counted(void **state) {
  (void)state;
  static const char *const hints[] = {"io/populate", "io/map_scattered",
                                      "io/map_read_only"};
  for (size_t i = 0; i < COUNT_OF(hints); i++) {
    struct world w;
    begin(&w);
    assert_int_equal(duralog_close(&w.log), DURALOG_OK);
    if (i == 1) w.options.durability = (duralog_durability){.pagecache = false};
    reopen(&w);
    fiu_enable(hints[i], 1, (void *)(intptr_t)EINVAL, 0);
    append_segments(&w, 1);
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
    fiu_disable(hints[i]);
    duralog_stats s = stats(&w);
    assert_true(s.hints_refused > 0);
    for (int e = 0; e < DURALOG_STATS_ERRORS; e++)
      assert_int_equal(s.errors[e], 0);
    end(&w, DURALOG_OK);
  }
}

/* A lone durable append writes its record; where that fails it is stored, and
 * as durable. */
static void a_record_that_was_stored_instead_is_counted(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  assert_int_equal(duralog_close(&w.log), DURALOG_OK);
  w.options.durability = (duralog_durability){.pagecache = false};
  reopen(&w);
  assert_int_equal(append(&w), DURALOG_OK);
  assert_int_equal(stats(&w).retries, 0);
  fiu_enable("io/file_write", 1, (void *)(intptr_t)EFBIG, 0);
  assert_int_equal(append(&w), DURALOG_OK);
  fiu_disable("io/file_write");
  duralog_stats s = stats(&w);
  assert_int_equal(s.retries, 1);
  for (int e = 0; e < DURALOG_STATS_ERRORS; e++)
    assert_int_equal(s.errors[e], 0);
  sim_restart(w.sim, 0);
  reopen(&w);
  duralog_watermarks marks = {.struct_size = sizeof marks};
  assert_int_equal(duralog_get_watermarks(w.log, &marks), DURALOG_OK);
  assert_int_equal(marks.end, 2);
  end(&w, DURALOG_OK);
}

static void preparing_that_failed_is_counted_and_tried_again(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  for (int i = 0; i < 5; i++) assert_int_equal(append(&w), DURALOG_OK);
  sim_set_room(w.sim, sim_room_used(w.sim));
  assert_int_equal(duralog_tick(w.log), DURALOG_E_FULL);
  assert_int_equal(duralog_tick(w.log), DURALOG_E_FULL);
  duralog_stats s = stats(&w);
  assert_int_equal(s.failed_preparations, 2);
  assert_int_equal(s.errors[-DURALOG_E_FULL], 2);
  assert_int_equal(s.segments_prepared, 0);
  assert_int_equal(s.late_preparations, 0);
  sim_set_room(w.sim, 0);
  assert_int_equal(duralog_tick(w.log), DURALOG_OK);
  assert_int_equal(stats(&w).segments_prepared, 1);
  append_segments(&w, 1);
  assert_int_equal(stats(&w).late_preparations, 0);
  end(&w, DURALOG_OK);
}

static void an_append_that_prepares_itself_comes_late(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  append_segments(&w, 2);
  assert_int_equal(stats(&w).late_preparations, 2);
  while (append(&w) == DURALOG_OK && stats(&w).rolls < 3)
    sim_set_room(w.sim, sim_room_used(w.sim));
  duralog_stats s = stats(&w);
  assert_int_equal(s.errors[-DURALOG_E_FULL], 1);
  assert_int_equal(s.late_preparations, 3);
  assert_int_equal(s.failed_preparations, 0); /* not ahead of need */
  sim_set_room(w.sim, 0);
  end(&w, DURALOG_OK);
}

/* ---- what does ---- */

static void a_failed_sync_counts_for_each_call_it_fails(void **state) {
  (void)state;
  struct world w;
  begin(&w);
  assert_int_equal(append(&w), DURALOG_OK);
  uint64_t before = stats(&w).syncs[DURALOG_SYNC_DATA].count;
  sim_fail_sync(w.sim, 1, false);
  assert_int_equal(duralog_sync(w.log), DURALOG_E_POISONED);
  assert_int_equal(append(&w), DURALOG_E_POISONED);
  assert_int_equal(duralog_tick(w.log), DURALOG_E_POISONED);
  duralog_stats s = stats(&w);
  assert_int_equal(s.errors[-DURALOG_E_POISONED], 3);
  assert_int_equal(s.syncs[DURALOG_SYNC_DATA].count, before + 1);
  assert_int_equal(s.records, 1);
  end(&w, DURALOG_E_POISONED);
}

static void memory_that_runs_out_is_counted(void **state) {
  (void)state;
  struct world w;
  duralog_reader *reader = NULL;
  begin(&w);
  sim_fail_alloc(w.sim, 1);
  assert_int_equal(duralog_reader_open(w.log, DURALOG_LEVEL_DEFAULT, &reader),
                   DURALOG_E_RESOURCES);
  assert_int_equal(stats(&w).errors[-DURALOG_E_RESOURCES], 1);
  assert_int_equal(stats(&w).readers, 0);
  end(&w, DURALOG_OK);
}

int main(void) {
  fiu_init(0);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(buckets_double_from_1024_ns),
      cmocka_unit_test(each_sync_is_counted_with_its_time),
      cmocka_unit_test(waits_last_as_long_as_the_sync),
      cmocka_unit_test(interrupted_transfers_are_counted),
      cmocka_unit_test(parts_are_counted_without_the_end_of_the_file),
      cmocka_unit_test(refused_hints_are_counted),
      cmocka_unit_test(a_record_that_was_stored_instead_is_counted),
      cmocka_unit_test(preparing_that_failed_is_counted_and_tried_again),
      cmocka_unit_test(an_append_that_prepares_itself_comes_late),
      cmocka_unit_test(a_failed_sync_counts_for_each_call_it_fails),
      cmocka_unit_test(memory_that_runs_out_is_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
