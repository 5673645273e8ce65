/* SPDX-License-Identifier: MIT
 *
 * What the contract says of failed syncs, full disks, memory that runs out and
 * marks, on the simulated disk. Crashes everywhere: tests/crash.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duralog.h"
#include "format.h"
#include "io_sim.h"
#include "support.h"
#include "support_sim.h"

#define DIRECTORY "/log"
#define FIRST_SEGMENT "00000000000000000001.seg"

static duralog_options options_for(struct sim *sim) {
  return (duralog_options){.struct_size = sizeof(duralog_options),
                           .segment_bytes = SEGMENT_BYTES_MIN,
                           .host_driven = true,
                           .environment = sim_environment(sim)};
}

static duralog_error try_open(const duralog_options *o, duralog **log,
                              duralog_report *report) {
  *report = (duralog_report){.struct_size = sizeof *report};
  return duralog_open(DIRECTORY, o, log, report, NULL);
}

static duralog *open_ok(const duralog_options *o, duralog_report *report) {
  duralog *log = NULL;
  assert_int_equal(try_open(o, &log, report), DURALOG_OK);
  return log;
}

static duralog_error append_number(duralog *log, uint64_t number) {
  char text[400];
  int n = snprintf(text, sizeof text, "record %llu%*s",
                   (unsigned long long)number, (int)(number % 97), "");
  return duralog_append(log, text, (size_t)n, NULL);
}

static void append_range(duralog *log, uint64_t from, uint64_t to) {
  for (; from < to; from++)
    assert_int_equal(append_number(log, from), DURALOG_OK);
}

static duralog_watermarks watermarks(const duralog *log) {
  duralog_watermarks w = {.struct_size = sizeof w};
  assert_int_equal(duralog_get_watermarks(log, &w), DURALOG_OK);
  return w;
}

/* The log holds records 0, 1, 2 ... as appended; gives how many. */
static uint64_t check_range(duralog *log) {
  duralog_reader *reader = NULL;
  duralog_record record;
  uint64_t n = 0;
  assert_int_equal(duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader), 0);
  while (duralog_read_next(reader, &record) == DURALOG_OK) {
    char text[32];
    int size =
        snprintf(text, sizeof text, "record %llu", (unsigned long long)n);
    assert_true(record.size >= (size_t)size);
    assert_memory_equal(record.data, text, (size_t)size);
    n++;
  }
  assert_int_equal(n, watermarks(log).end);
  duralog_reader_close(&reader);
  return n;
}

static void close_ok(duralog **log) {
  assert_int_equal(duralog_close(log), DURALOG_OK);
}

static int new_world(void **state) {
  *state = world_new();
  return 0;
}

static int end_world(void **state) {
  sim_free(*state);
  return 0;
}

/* ---- marks, seals, syncs ---- */

static void a_closed_log_is_clean_after_a_power_cut(void **state) {
  struct sim *sim = *state;
  duralog_options o = options_for(sim);
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  append_range(log, 0, 10);
  close_ok(&log);
  sim_restart(sim, 0);
  log = open_ok(&o, &report);
  assert_true(report.clean);
  assert_true(report.reboot_known && report.rebooted);
  assert_int_equal(report.durable_found, 10);
  assert_int_equal(check_range(log), 10);
  close_ok(&log);
}

static void opening_and_closing_leaves_no_trace(void **state) {
  struct sim *sim = *state;
  duralog_options o = options_for(sim);
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  append_range(log, 0, 3);
  close_ok(&log);
  uint64_t before = sim_disk_checksum(sim);
  for (int i = 0; i < 3; i++) {
    log = open_ok(&o, &report);
    assert_int_equal(report.epoch, 1);
    close_ok(&log);
  }
  assert_int_equal(sim_disk_checksum(sim), before);
}

static void note_store(void *stored, struct sim *sim, const char *what) {
  (void)sim;
  if (strcmp(what, "epoch/stored") == 0) *(bool *)stored = true;
}

/* Append after a clean close, cut at an event: once anything of it was stored,
 * the log does not say clean any more, whatever of that reached the disk. */
static void cut_first_append(uint64_t cut, uint64_t seed) {
  struct sim *sim = world_new();
  duralog_options o = options_for(sim);
  duralog_report report;
  bool stored = false;
  duralog *log = open_ok(&o, &report);
  append_range(log, 0, 3);
  close_ok(&log);
  log = open_ok(&o, &report);
  sim_on_event(sim, note_store, &stored);
  if (setjmp(*sim_cut_point(sim)) == 0) {
    sim_cut_at(sim, cut);
    append_range(log, 3, 4);
    sim_cut_at(sim, 0);
  }
  sim_on_event(sim, NULL, NULL);
  sim_restart(sim, seed);
  log = open_ok(&o, &report);
  if (report.clean) assert_int_equal(report.epoch, 1);
  if (stored) assert_false(report.clean);
  close_ok(&log);
  sim_free(sim);
}

static void the_clean_mark_goes_before_the_first_store(void **state) {
  (void)state;
  for (uint64_t cut = 1; cut < 40; cut++)
    for (uint64_t seed = 0; seed < 30; seed++) cut_first_append(cut, seed);
}

static void recovery_reads_at_most_the_unsealed_segments(void **state) {
  struct sim *sim = *state; /* I35 */
  duralog_options o = options_for(sim);
  o.durability.pagecache = true;
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  for (uint64_t i = 0; i < 2000; i++) {
    assert_int_equal(append_number(log, i), DURALOG_OK);
    if (i % 50 == 0) assert_int_equal(duralog_tick(log), DURALOG_OK);
  }
  sim_advance(sim, 200 * NS_PER_MS); /* a pause, in which sealing is due */
  assert_int_equal(duralog_tick(log), DURALOG_OK);
  sim_restart(sim, 0);
  log = open_ok(&o, &report);
  assert_true(report.segments > 8);
  assert_true(report.segments_walked <= 1);
  uint64_t kept = check_range(log);
  assert_true(kept > 1500);
  close_ok(&log);
}

static void damage_to_the_last_synced_batch(struct sim *sim, bool strict,
                                            duralog_error expected) {
  duralog_options o = options_for(sim);
  o.strict = strict;
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  append_range(log, 0, 5);
  sim_restart(sim, 0);
  uint64_t size;
  uint8_t *bytes = sim_file_bytes(sim, DIRECTORY, FIRST_SEGMENT, &size);
  while (size > 0 && bytes[size - 1] == 0) size--;
  bytes[size - 1] ^= 1; /* the last byte of the last record */
  assert_int_equal(try_open(&o, &log, &report), expected);
  if (!expected) close_ok(&log);
}

static void strict_mode_reports_damage_to_the_last_synced_batch(void **state) {
  damage_to_the_last_synced_batch(*state, true, DURALOG_E_CORRUPT); /* I20 */
}

static void without_strict_mode_that_is_a_torn_tail(void **state) {
  damage_to_the_last_synced_batch(*state, false, DURALOG_OK);
}

/* Several segments behind a cut must be removed; a power cut in the middle of
 * that must not look like a missing file (I6, I9). */
static void cut_removal(uint64_t cut, uint64_t seed) {
  struct sim *sim = world_new();
  duralog_options o = options_for(sim);
  o.durability.pagecache = true;
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  append_range(log, 0, 700); /* five segments, nothing sealed */
  sim_restart(sim, seed);
  if (setjmp(*sim_cut_point(sim)) == 0) {
    sim_cut_at(sim, cut);
    log = open_ok(&o, &report);
    sim_cut_at(sim, 0);
  }
  sim_restart(sim, seed * 31 + cut);
  log = open_ok(&o, &report);
  check_range(log);
  close_ok(&log);
  sim_free(sim);
}

static void a_cut_while_cut_segments_are_removed_is_harmless(void **state) {
  (void)state;
  for (uint64_t cut = 1; cut < 24; cut++)
    for (uint64_t seed = 1; seed < 20; seed++) cut_removal(cut, seed);
}

/* With pad_syncs nothing is written over what was made durable (pitfall 9). */
static void padded_syncs_share_no_block(void **state) {
  struct sim *sim = *state;
  duralog_options o = options_for(sim);
  o.pad_syncs = true;
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  duralog_reader *reader = NULL;
  duralog_record a, b;
  append_range(log, 0, 20);
  assert_int_equal(duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader), 0);
  uint64_t same_segment = 0;
  size_t index = 1; /* of the segment that comes next */
  duralog_segment next = {.struct_size = sizeof next, .first = 0};
  for (uint64_t i = 1; i < 20; i++) {
    if (duralog_get_segment(log, index, &next) == DURALOG_OK &&
        next.first == i) {
      index++;
      continue;
    }
    assert_int_equal(duralog_read_at(reader, i - 1, &a), DURALOG_OK);
    assert_int_equal(duralog_read_at(reader, i, &b), DURALOG_OK);
    uintptr_t from = (uintptr_t)a.data, to = (uintptr_t)b.data;
    same_segment++;
    assert_int_equal((to - from) % 4096, 0);
  }
  assert_true(same_segment > 5);
  duralog_reader_close(&reader);
  sim_restart(sim, 0);
  log = open_ok(&o, &report);
  assert_int_equal(check_range(log), 20);
  close_ok(&log);
}

/* ---- failed syncs ---- */

/* Each sync of a run fails in turn, once or for ever: no false durable, also
 * after reopening and a power cut (I14, I15, I17). */
static bool run_with_failed_sync(uint64_t k, bool ever, uint64_t mode) {
  struct sim *sim = world_new();
  duralog_options o = options_for(sim);
  if (mode == 1) o.durability.sync_every_records = 3;
  if (mode == 2) o.durability.pagecache = true;
  if (mode == 3) o.strict = true;
  duralog_report report;
  duralog *log = NULL;
  uint64_t promised = 0, appended = 0;
  sim_fail_sync(sim, k, ever);
  duralog_error e = try_open(&o, &log, &report);
  for (uint64_t i = 0; !e && i < 300; i++) {
    e = append_number(log, i);
    if (!e && i % 40 == 0) e = duralog_tick(log);
    if (!e && i == 100) e = duralog_sync(log);
    duralog_watermarks w = watermarks(log);
    appended = w.end;
    if (w.durable > promised) promised = w.durable;
  }
  if (log && e) {
    assert_int_equal(e, DURALOG_E_POISONED);
    assert_int_equal(append_number(log, appended), DURALOG_E_POISONED);
    assert_int_equal(duralog_sync(log), DURALOG_E_POISONED);
    assert_int_equal(check_range(log), appended); /* reading goes on */
    assert_int_equal(watermarks(log).durable, promised);
    duralog_diagnostic d = {.struct_size = sizeof d};
    assert_int_equal(duralog_diagnose(log, &d), DURALOG_OK);
    assert_int_equal(d.os_error, 5);
  }
  if (log) {
    e = duralog_close(&log);
    if (!e) promised = appended;
  }
  bool failed = e != DURALOG_OK;
  sim_fail_sync(sim, 0, false);
  assert_int_equal(sim_open_handles(sim), 0);
  assert_int_equal(sim_allocations(sim), 0);

  /* What the cache still shows is not durable before it is written again. */
  log = open_ok(&o, &report);
  uint64_t kept = check_range(log);
  assert_true(kept >= promised && kept <= appended);
  uint64_t durable = watermarks(log).durable;
  sim_restart(sim, k * 7919 + mode);
  log = open_ok(&o, &report);
  assert_true(check_range(log) >= durable);
  assert_true(watermarks(log).end >= promised);
  close_ok(&log);
  sim_free(sim);
  return failed;
}

static void a_failed_sync_is_never_reported_durable(void **state) {
  (void)state;
  for (uint64_t mode = 0; mode < 4; mode++)
    for (uint64_t k = 1; run_with_failed_sync(k, false, mode); k++)
      run_with_failed_sync(k, true, mode);
}

/* ---- full disk ---- */

static void a_full_disk_is_an_error_and_appends_resume(void **state) {
  struct sim *sim = *state; /* I19 */
  duralog_options o = options_for(sim);
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  sim_set_room(sim, 3 * SEGMENT_BYTES_MIN + 1000);
  uint64_t n = 0;
  duralog_error e;
  while ((e = append_number(log, n)) == DURALOG_OK) n++;
  assert_int_equal(e, DURALOG_E_FULL);
  assert_int_equal(watermarks(log).end, n);
  assert_int_equal(append_number(log, n), DURALOG_E_FULL);
  assert_int_equal(check_range(log), n);
  sim_set_room(sim, 0);
  append_range(log, n, n + 500);
  assert_int_equal(check_range(log), n + 500);
  close_ok(&log);
}

static void recovery_needs_no_space(void **state) {
  struct sim *sim = *state;
  duralog_options o = options_for(sim);
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  uint64_t n = 0;
  sim_set_room(sim, 2 * SEGMENT_BYTES_MIN + 1000);
  while (append_number(log, n) == DURALOG_OK) n++;
  for (uint64_t life = 1; life < 6; life++) {
    sim_restart(sim, life);
    log = open_ok(&o, &report);
    assert_int_equal(check_range(log), n);
    assert_int_equal(append_number(log, n), DURALOG_E_FULL);
    assert_int_equal(watermarks(log).end, n);
  }
  close_ok(&log);
}

static void creating_on_a_full_disk_leaves_something_that_opens_later(
    void **state) {
  struct sim *sim = *state;
  duralog_options o = options_for(sim);
  duralog_report report;
  duralog *log = NULL;
  sim_set_room(sim, 1000);
  assert_int_equal(try_open(&o, &log, &report), DURALOG_E_FULL);
  assert_null(log);
  assert_int_equal(sim_open_handles(sim), 0);
  sim_set_room(sim, 0);
  log = open_ok(&o, &report);
  assert_true(report.created);
  close_ok(&log);
}

/* ---- memory ---- */

/* The k-th allocation fails, for k = 1, 2, ... until all succeed (I18). */
static void out_of_memory_is_a_clean_error_anywhere(void **state) {
  (void)state;
  bool failed = true;
  for (uint64_t k = 1; failed; k++) {
    struct sim *sim = world_new();
    duralog_options o = options_for(sim);
    o.copying_reads = k % 2;
    duralog_report report;
    duralog *log = NULL;
    duralog_reader *reader = NULL;
    duralog_record record;
    duralog_held *held = NULL;
    uint64_t n = 0;
    failed = false;
    sim_fail_alloc(sim, k);
    duralog_error e = try_open(&o, &log, &report);
    for (; !e && n < 400; n++) e = append_number(log, n);
    if (!e) e = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader);
    if (!e) e = duralog_read_at(reader, 250, &record);
    if (!e) e = duralog_hold(reader, &record, &held);
    if (!e) e = duralog_read_previous(reader, &record);
    if (e) {
      assert_int_equal(e, DURALOG_E_RESOURCES);
      failed = true;
    }
    if (held) duralog_release(&held);
    if (reader) duralog_reader_close(&reader);
    sim_fail_alloc(sim, 0);
    if (log) {
      assert_int_equal(append_number(log, watermarks(log).end), DURALOG_OK);
      check_range(log);
      close_ok(&log);
    }
    assert_int_equal(sim_open_handles(sim), 0);
    assert_int_equal(sim_allocations(sim), 0);
    log = open_ok(&o, &report);
    check_range(log);
    close_ok(&log);
    sim_free(sim);
  }
}

/* ---- time, determinism, epochs ---- */

static void intervals_follow_the_monotonic_clock(void **state) {
  struct sim *sim = *state; /* I32 */
  duralog_options o = options_for(sim);
  o.durability.sync_interval_ms = 100;
  duralog_report report;
  int64_t in_ms;
  duralog *log = open_ok(&o, &report);
  assert_int_equal(duralog_next_deadline(log, &in_ms), DURALOG_OK);
  assert_int_equal(in_ms, -1);
  append_range(log, 0, 2);
  assert_int_equal(duralog_tick(log), DURALOG_OK);
  assert_int_equal(watermarks(log).durable, 0);
  sim_set_wall(sim, 5); /* 1970 */
  assert_int_equal(duralog_next_deadline(log, &in_ms), DURALOG_OK);
  assert_true(in_ms > 0 && in_ms <= 100);
  sim_advance(sim, (uint64_t)in_ms * NS_PER_MS);
  assert_int_equal(duralog_tick(log), DURALOG_OK);
  assert_int_equal(watermarks(log).durable, 2);
  append_range(log, 2, 3);
  sim_advance(sim, 101 * NS_PER_MS);
  /* The tick is late: no append returns while a record is older than that. */
  append_range(log, 3, 4);
  assert_true(watermarks(log).durable >= 3);
  close_ok(&log);
}

static uint64_t run_for_checksum(void) {
  struct sim *sim = world_new();
  duralog_options o = options_for(sim);
  duralog_report report;
  duralog *log = open_ok(&o, &report);
  for (uint64_t i = 0; i < 500; i++) {
    append_range(log, i, i + 1);
    sim_advance(sim, NS_PER_MS);
    duralog_tick(log);
  }
  close_ok(&log);
  uint64_t sum = sim_disk_checksum(sim);
  sim_free(sim);
  return sum;
}

static void same_seed_same_bytes(void **state) {
  (void)state; /* I33 */
  assert_int_equal(run_for_checksum(), run_for_checksum());
}

static void what_a_cut_took_never_comes_back(void **state) {
  struct sim *sim = *state; /* I3, I8 */
  duralog_options o = options_for(sim);
  o.durability.pagecache = true;
  duralog_report report;
  uint64_t newest = 0;
  for (uint64_t life = 1; life < 40; life++) {
    duralog *log = open_ok(&o, &report);
    uint64_t end = watermarks(log).end;
    check_range(log);
    append_range(log, end, end + 20);
    assert_true(watermarks(log).epoch > newest);
    newest = watermarks(log).epoch;
    sim_restart(sim, life * 31);
  }
}

#define IN_WORLD(test) \
  cmocka_unit_test_setup_teardown(test, new_world, end_world)

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      IN_WORLD(a_closed_log_is_clean_after_a_power_cut),
      IN_WORLD(opening_and_closing_leaves_no_trace),
      cmocka_unit_test(the_clean_mark_goes_before_the_first_store),
      IN_WORLD(recovery_reads_at_most_the_unsealed_segments),
      IN_WORLD(strict_mode_reports_damage_to_the_last_synced_batch),
      IN_WORLD(without_strict_mode_that_is_a_torn_tail),
      IN_WORLD(padded_syncs_share_no_block),
      cmocka_unit_test(a_cut_while_cut_segments_are_removed_is_harmless),
      cmocka_unit_test(a_failed_sync_is_never_reported_durable),
      IN_WORLD(a_full_disk_is_an_error_and_appends_resume),
      IN_WORLD(recovery_needs_no_space),
      IN_WORLD(creating_on_a_full_disk_leaves_something_that_opens_later),
      cmocka_unit_test(out_of_memory_is_a_clean_error_anywhere),
      IN_WORLD(intervals_follow_the_monotonic_clock),
      cmocka_unit_test(same_seed_same_bytes),
      IN_WORLD(what_a_cut_took_never_comes_back),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
