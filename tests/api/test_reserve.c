/* SPDX-License-Identifier: MIT
 *
 * Reserving, publishing, aborting: what comes back, what waits, what is misuse.
 * A sync that fails meanwhile, and time: tests/unit/test_reserve_sim.c.
 */
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

static const char pattern[] = "0123456789abcdefghijklmnopqrstuvwxyz";

static void write_pattern(void *memory, uint64_t number, size_t size) {
  uint8_t *to = memory;
  for (size_t i = 0; i < size; i++)
    to[i] = (uint8_t)pattern[(number + i) % (sizeof pattern - 1)];
}

static void *reserve(duralog *log, size_t size) {
  void *memory = NULL;
  CHECK_OK(duralog_reserve(log, size, -1, &memory));
  CHECK(memory != NULL && (uintptr_t)memory % 8 == 0);
  return memory;
}

/* Reserve `size`, write all of it, publish `used` bytes. */
static void publish_number(duralog *log, uint64_t number, size_t size,
                           size_t used, duralog_level level) {
  uint64_t offset = 77;
  write_pattern(reserve(log, size), number, size);
  CHECK_OK(duralog_publish(log, used, level, &offset));
  CHECK_EQUAL(offset, number);
}

static void check_pattern(duralog_reader *reader, uint64_t number,
                          size_t size) {
  static uint8_t expected[1 << 17];
  duralog_record r;
  CHECK_OK(duralog_read_at(reader, number, &r));
  write_pattern(expected, number, size);
  CHECK_BYTES(expected, size, r.data, r.size);
  CHECK(r.key == NULL && r.batch_last == number);
}

/* A log in each mode. */
static const struct {
  duralog_durability durability;
  bool strict, pad_syncs, host_driven;
} modes[] = {
    {.strict = false},
    {.durability = {.sync_every_records = 7}},
    {.durability = {.sync_every_bytes = 5000}, .host_driven = true},
    {.durability = {.sync_interval_ms = 10}},
    {.durability = {.pagecache = true}},
    {.durability = {.pagecache = true}, .host_driven = true},
    {.strict = true},
    {.durability = {.sync_every_records = 3}, .pad_syncs = true},
};

static duralog *open_mode(const char *path, size_t i, bool copying) {
  duralog_options o = small_options();
  test_note("mode %zu", i);
  o.durability = modes[i].durability;
  o.strict = modes[i].strict;
  o.pad_syncs = modes[i].pad_syncs;
  o.host_driven = modes[i].host_driven;
  o.copying_reads = copying;
  return open_with(path, &o);
}

/* ---- what comes back ---- */

static void what_is_published_is_read_in_every_mode(struct test_place *at) {
  enum { RECORDS = 300 };
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    duralog *log = open_mode(at->path, i, at->copying);
    for (uint64_t n = 0; n < RECORDS; n++)
      publish_number(log, n, n * 3, n, (duralog_level)(n % 50 / 20));
    for (int life = 0; life < 2; life++) {
      duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
      for (uint64_t n = 0; n < RECORDS; n++) check_pattern(reader, n, n);
      CHECK_OK(duralog_reader_close(&reader));
      close_log(log);
      log = open_mode(at->path, i, at->copying);
    }
    close_log(log);
    directory_remove(at->path);
  }
}

static void all_that_may_be_reserved_can_be_written(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.segment_bytes = 16 << 10;
  o.pad_syncs = at->copying; /* the variant */
  const size_t max = (size_t)o.segment_bytes - (at->copying ? 8448 : 4352);
  o.record_bytes_max = max;
  duralog *log = open_with(at->path, &o);
  void *memory = log;
  for (uint64_t n = 0; n < 10; n++) {
    CHECK_IS(DURALOG_E_TOO_BIG, duralog_reserve(log, max + 1, -1, &memory));
    CHECK_IS(DURALOG_E_TOO_BIG, duralog_reserve(log, SIZE_MAX, -1, &memory));
    CHECK(memory == log);
    publish_number(log, n, max, n % 3 ? max : n, DURALOG_LEVEL_DEFAULT);
  }
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t n = 0; n < 10; n++) check_pattern(reader, n, n % 3 ? max : n);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static int64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void the_time_is_that_of_publishing(struct test_place *at) {
  enum { COARSE_MS = 20, PASSING_MS = 60 };
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  append_text(log, "before", DURALOG_LEVEL_WRITTEN);
  reserve(log, 10);
  clock_pass_ms(PASSING_MS);
  int64_t before = wall_ms();
  CHECK_OK(duralog_publish(log, 10, DURALOG_LEVEL_WRITTEN, NULL));
  int64_t after = wall_ms();
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  CHECK_OK(duralog_read_at(reader, 1, &r));
  CHECK(r.timestamp_ms >= before - COARSE_MS && r.timestamp_ms <= after);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void publishing_waits_as_its_level_says(struct test_place *at) {
  duralog_options o = small_options();
  o.host_driven = true;
  duralog *log = open_with(at->path, &o);
  publish_number(log, 0, 9, 9, DURALOG_LEVEL_DEFAULT);
  CHECK_EQUAL(watermarks_of(log).durable, 1);
  publish_number(log, 1, 9, 9, DURALOG_LEVEL_WRITTEN);
  CHECK_EQUAL(watermarks_of(log).durable, 1);
  publish_number(log, 2, 9, 9, DURALOG_LEVEL_DURABLE);
  CHECK_EQUAL(watermarks_of(log).durable, 3);
  close_log(log);
}

/* Bytes of the log itself, headers and all, at the same place in a block. */
static void write_old_frames(void *memory, size_t size) {
  memcpy(memory, (const uint8_t *)memory - size, size);
}

static void abort_several(duralog *log, uint64_t end) {
  for (size_t size = 0; size <= 4000; size += 800) {
    write_old_frames(reserve(log, size), size);
    CHECK_EQUAL(watermarks_of(log).end, end);
    CHECK_OK(duralog_abort(log));
    CHECK_EQUAL(watermarks_of(log).end, end);
  }
}

static void an_aborted_record_is_not_appended(struct test_place *at) {
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    duralog *log = open_mode(at->path, i, at->copying);
    for (uint64_t n = 0; n < 60; n += 3) {
      append_numbers(log, n, 3);
      abort_several(log, n + 3);
    }
    check_numbers(log, 60);
    close_log(log);
    log = open_mode(at->path, i, at->copying);
    check_numbers(log, 60);
    close_log(log);
    directory_remove(at->path);
  }
}

struct victim {
  const struct test_place *at;
  struct channel ready;
  void (*body)(duralog *);
};

static void live_and_stay(void *context) {
  struct victim *v = context;
  duralog_options o = small_pagecache();
  duralog *log = open_with(v->at->path, &o);
  append_numbers(log, 0, 20);
  v->body(log);
  channel_tell(&v->ready);
  for (;;) pause();
}

static duralog_report report_after_kill(const struct test_place *at,
                                        void (*body)(duralog *)) {
  struct victim v = {.at = at, .body = body};
  duralog_report report;
  duralog_options o = small_pagecache();
  channel_open(&v.ready);
  pid_t child = child_start(live_and_stay, &v);
  channel_hear(&v.ready);
  child_kill(child);
  channel_close(&v.ready);
  o.copying_reads = at->copying;
  duralog *log = open_reporting(at->path, &o, &report);
  CHECK_EQUAL(report.damage_count, 0);
  check_numbers(log, 20);
  append_numbers(log, 20, 20);
  check_numbers(log, 40);
  close_log(log);
  directory_remove(at->path);
  return report;
}

static void die_reserving(duralog *log) {
  write_old_frames(reserve(log, 3000), 3000);
}

static void die_after_abort(duralog *log) { abort_several(log, 20); }

static void a_killed_process_takes_its_reservation_with_it(
    struct test_place *at) {
  report_after_kill(at, die_reserving);
}

/* As if it had never been: nothing there looks like a torn tail. */
static void an_abort_leaves_no_trace(struct test_place *at) {
  CHECK_EQUAL(report_after_kill(at, die_after_abort).torn_bytes, 0);
}

static void with_padding_a_reservation_begins_a_block(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.pad_syncs = true;
  duralog *log = open_with(at->path, &o);
  for (uint64_t n = 0; n < 20; n++) {
    CHECK_EQUAL((uintptr_t)reserve(log, 100) % 4096, 24);
    CHECK_OK(duralog_sync(log)); /* need not pad */
    CHECK_EQUAL(watermarks_of(log).durable, n);
    if (n % 2) CHECK_OK(duralog_abort(log));
    if (n % 2) append_text(log, "text", DURALOG_LEVEL_WRITTEN);
    if (n % 2 == 0)
      CHECK_OK(duralog_publish(log, 100, DURALOG_LEVEL_WRITTEN, NULL));
  }
  close_log(log);
}

/* ---- misuse ---- */

static void check_busy(duralog *log) {
  duralog_entry e = {.data = "x", .size = 1};
  uint64_t offset = 77, end = watermarks_of(log).end;
  void *memory = log;
  CHECK_IS(DURALOG_E_BUSY, duralog_append(log, "x", 1, &offset));
  CHECK_IS(DURALOG_E_BUSY,
           duralog_append_batch(log, &e, 1, DURALOG_LEVEL_WRITTEN, &offset));
  for (int64_t timeout = -1; timeout < 2; timeout++)
    CHECK_IS(DURALOG_E_BUSY, duralog_reserve(log, 1, timeout, &memory));
  CHECK(offset == 77 && memory == log);
  CHECK_EQUAL(watermarks_of(log).end, end);
}

static void a_second_append_by_the_reserving_thread_is_busy(
    struct test_place *at) {
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    duralog *log = open_mode(at->path, i, false);
    append_numbers(log, 0, 5);
    size_t size = record_make(5, reserve(log, RECORD_BYTES_MAX));
    check_busy(log);
    CHECK_OK(duralog_publish(log, size, DURALOG_LEVEL_DEFAULT, NULL));
    reserve(log, 10);
    check_busy(log);
    CHECK_OK(duralog_abort(log));
    append_numbers(log, 6, 5);
    check_numbers(log, 11);
    close_log(log);
    directory_remove(at->path);
  }
}

static void ending_needs_a_reservation(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  uint64_t offset = 77;
  for (uint64_t n = 0; n < 4; n++) {
    CHECK_IS(DURALOG_E_ARGUMENT,
             duralog_publish(log, 0, DURALOG_LEVEL_DEFAULT, &offset));
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(log));
    reserve(log, 5);
    if (n % 2)
      CHECK_OK(duralog_abort(log));
    else
      CHECK_OK(duralog_publish(log, 5, DURALOG_LEVEL_DEFAULT, NULL));
  }
  CHECK_EQUAL(offset, 77);
  CHECK_EQUAL(watermarks_of(log).end, 2);
  close_log(log);
}

static void wrong_arguments_leave_the_reservation_standing(
    struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  uint64_t offset = 77;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_reserve(log, 1, -1, NULL));
  write_pattern(reserve(log, 10), 0, 10);
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_publish(log, 11, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_publish(log, SIZE_MAX, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_publish(log, 10, (duralog_level)3, &offset));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_publish(log, 10, (duralog_level)-1, &offset));
  CHECK_EQUAL(offset, 77);
  CHECK_EQUAL(watermarks_of(log).end, 0);
  CHECK_OK(duralog_publish(log, 10, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_EQUAL(offset, 0);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  check_pattern(reader, 0, 10);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void closing_with_a_reservation_out_is_busy(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o), *same = log;
  uint64_t offset = 77;
  void *memory = log;
  reserve(log, 10);
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
  CHECK(log == same);
  CHECK_OK(duralog_publish(log, 10, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_EQUAL(offset, 0);
  CHECK_OK(duralog_close(&log));
  CHECK_IS(DURALOG_E_CLOSED, duralog_reserve(log, 1, 0, &memory));
  CHECK_IS(DURALOG_E_CLOSED,
           duralog_publish(log, 1, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_IS(DURALOG_E_CLOSED, duralog_abort(log));
}

static void a_read_only_log_gives_no_reservation(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 3);
  close_log(log);
  o.read_only = true;
  log = open_with(at->path, &o);
  void *memory = log;
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_reserve(log, 1, -1, &memory));
  CHECK_IS(DURALOG_E_READ_ONLY,
           duralog_publish(log, 1, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_abort(log));
  CHECK(memory == log);
  check_numbers(log, 3);
  close_log(log);
}

static void in_a_forked_child(void *context) {
  duralog *log = context;
  check_forked_log(log);
  CHECK_OK(duralog_close(&log)); /* frees what was inherited, no more */
}

static void a_forked_child_cannot_end_the_reservation(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 5);
  size_t size = record_make(5, reserve(log, RECORD_BYTES_MAX));
  child_run(in_a_forked_child, log);
  CHECK_OK(duralog_publish(log, size, DURALOG_LEVEL_DEFAULT, NULL));
  check_numbers(log, 6);
  close_log(log);
}

/* ---- other threads ---- */

struct other {
  duralog *log;
  struct channel begins;
  _Atomic bool over;
  uint64_t offset;
  long switches; /* times that it slept */
};

static void other_begin(struct other *o, duralog *log) {
  *o = (struct other){.log = log, .offset = 77};
  channel_open(&o->begins);
}

static void *append_meanwhile(void *context) {
  struct other *o = context;
  struct rusage before, after;
  channel_tell(&o->begins);
  getrusage(RUSAGE_THREAD, &before);
  CHECK_OK(duralog_append(o->log, "other", 5, &o->offset));
  getrusage(RUSAGE_THREAD, &after);
  o->switches = after.ru_nvcsw - before.ru_nvcsw;
  atomic_store(&o->over, true);
  return NULL;
}

static void *misuse_meanwhile(void *context) {
  struct other *o = context;
  void *memory = o;
  uint64_t offset = 77, began = clock_now_ms();
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_publish(o->log, 1, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(o->log));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reserve(o->log, 1, 0, &memory));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reserve(o->log, 1, 30, &memory));
  CHECK(clock_now_ms() >= began + 30);
  CHECK(offset == 77 && memory == o);
  return NULL;
}

static void another_thread_can_neither_end_it_nor_get_one(
    struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  struct other other = {.log = log};
  size_t size = record_make(0, reserve(log, RECORD_BYTES_MAX));
  thread_join(thread_start(misuse_meanwhile, &other));
  CHECK_EQUAL(watermarks_of(log).end, 0);
  CHECK_OK(duralog_publish(log, size, DURALOG_LEVEL_DEFAULT, NULL));
  check_numbers(log, 1);
  close_log(log);
}

/* A nap of 1 ms at a time would be a hundred and more. */
static void an_append_sleeps_until_the_reservation_is_over(
    struct test_place *at) {
  enum { PASSING_MS = 150, SLEEPS_MAX = 40 };
  duralog_options o = small_pagecache();
  for (int aborts = 0; aborts < 2; aborts++) {
    duralog *log = open_with(at->path, &o);
    struct other other;
    other_begin(&other, log);
    reserve(log, 10);
    pthread_t thread = thread_start(append_meanwhile, &other);
    channel_hear(&other.begins);
    clock_pass_ms(PASSING_MS);
    CHECK(!atomic_load(&other.over));
    CHECK_EQUAL(watermarks_of(log).end, 0);
    if (aborts)
      CHECK_OK(duralog_abort(log));
    else
      CHECK_OK(duralog_publish(log, 10, DURALOG_LEVEL_WRITTEN, NULL));
    thread_join(thread);
    CHECK_EQUAL(other.offset, aborts ? 0 : 1);
    CHECK(other.switches < SLEEPS_MAX);
    channel_close(&other.begins);
    close_log(log);
    directory_remove(at->path);
  }
}

static void *reserve_meanwhile(void *context) {
  struct other *o = context;
  void *memory = NULL;
  channel_tell(&o->begins);
  CHECK_OK(duralog_reserve(o->log, 5, 60 * 1000, &memory));
  memcpy(memory, "other", 5);
  CHECK_OK(duralog_publish(o->log, 5, DURALOG_LEVEL_DEFAULT, &o->offset));
  return NULL;
}

static void a_reservation_waits_for_another_within_its_limit(
    struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  struct other other;
  other_begin(&other, log);
  reserve(log, 10);
  pthread_t thread = thread_start(reserve_meanwhile, &other);
  channel_hear(&other.begins);
  CHECK_OK(duralog_publish(log, 10, DURALOG_LEVEL_WRITTEN, NULL));
  thread_join(thread);
  CHECK_EQUAL(other.offset, 1);
  channel_close(&other.begins);
  close_log(log);
}

/* ---- what goes on meanwhile ---- */

static void use_all_else(duralog *log) {
  duralog_segment s = {.struct_size = sizeof s};
  duralog_stats stats = {.struct_size = sizeof stats};
  duralog_diagnostic d = {.struct_size = sizeof d};
  duralog_record r;
  duralog_held *held = NULL;
  int64_t in_ms;
  uint64_t end = watermarks_of(log).end;
  CHECK_OK(duralog_tick(log));
  CHECK_OK(duralog_sync(log));
  CHECK_EQUAL(watermarks_of(log).durable, end);
  CHECK_OK(duralog_wait(log, end - 1, DURALOG_LEVEL_DURABLE, -1));
  CHECK_OK(duralog_next_deadline(log, &in_ms));
  CHECK_OK(duralog_diagnose(log, &d));
  CHECK_OK(duralog_get_segment(log, 0, &s));
  CHECK(s.end == end && s.used > 4096 && s.used < s.bytes);
  CHECK(s.has_times && s.time_first_ms <= s.time_max_ms);
  CHECK_OK(duralog_get_stats(log, &stats));
  CHECK(stats.records == end && stats.batches == end);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  for (uint64_t n = 0; n < end; n++) {
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(record_is(&r, n));
  }
  CHECK_OK(duralog_seek_time(reader, r.timestamp_ms + 1000 * 1000));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_read_at(reader, end - 1, &r));
  CHECK_OK(duralog_hold(reader, &r, &held));
  CHECK_OK(duralog_release(&held));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_reader_close(&reader));
}

static void *use_all_else_here(void *context) {
  struct other *o = context;
  use_all_else(o->log);
  CHECK_IS(DURALOG_E_TIMEOUT,
           duralog_wait(o->log, 20, DURALOG_LEVEL_WRITTEN, 1));
  duralog_reader *reader = reader_of(o->log, DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, 1));
  CHECK_OK(duralog_reader_close(&reader));
  return NULL;
}

/* But its own record is what a thread would wait for in vain. */
static void check_waits_for_itself(duralog *log) {
  static const duralog_level levels[] = {DURALOG_LEVEL_WRITTEN,
                                         DURALOG_LEVEL_DURABLE};
  CHECK_OK(duralog_sync(log)); /* what is there comes to durable readers */
  for (size_t i = 0; i < COUNT_OF(levels); i++) {
    duralog_reader *reader = reader_of(log, levels[i]);
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
    CHECK_IS(DURALOG_E_BUSY, duralog_reader_wait(reader, -1));
    CHECK_OK(duralog_reader_close(&reader));
    CHECK_IS(DURALOG_E_BUSY, duralog_wait(log, 20, levels[i], -1));
  }
}

static void everything_but_appending_goes_on(struct test_place *at) {
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    duralog *log = open_mode(at->path, i, at->copying);
    struct other other = {.log = log};
    append_numbers(log, 0, 20);
    size_t size = record_make(20, reserve(log, RECORD_BYTES_MAX));
    check_waits_for_itself(log);
    thread_join(thread_start(use_all_else_here, &other));
    CHECK_OK(duralog_publish(log, size, DURALOG_LEVEL_DEFAULT, NULL));
    check_numbers(log, 21);
    close_log(log);
    directory_remove(at->path);
  }
}

static void the_reserving_thread_may_do_all_else(struct test_place *at) {
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    duralog *log = open_mode(at->path, i, at->copying);
    append_numbers(log, 0, 20);
    size_t size = record_make(20, reserve(log, RECORD_BYTES_MAX));
    use_all_else(log);
    check_numbers(log, 20);
    CHECK_OK(duralog_publish(log, size, DURALOG_LEVEL_DEFAULT, NULL));
    check_numbers(log, 21);
    close_log(log);
    directory_remove(at->path);
  }
}

static uint64_t errors_of(const duralog_stats *s, duralog_error error) {
  return s->errors[-error];
}

static void failures_of_reservations_are_counted(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.host_driven = true;
  duralog_stats s = {.struct_size = sizeof s};
  void *memory;
  duralog *log = open_with(at->path, &o);
  struct other other = {.log = log};
  CHECK_IS(DURALOG_E_TOO_BIG, duralog_reserve(log, SIZE_MAX, -1, &memory));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(log));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_publish(log, 1, DURALOG_LEVEL_WRITTEN, NULL));
  reserve(log, 10);
  check_busy(log);                                     /* 5 times */
  thread_join(thread_start(misuse_meanwhile, &other)); /* 2 of either */
  CHECK_OK(duralog_get_stats(log, &s));
  CHECK_EQUAL(errors_of(&s, DURALOG_E_TOO_BIG), 1);
  CHECK_EQUAL(errors_of(&s, DURALOG_E_ARGUMENT), 4);
  CHECK_EQUAL(errors_of(&s, DURALOG_E_BUSY), 5);
  CHECK_EQUAL(errors_of(&s, DURALOG_E_TIMEOUT), 2);
  CHECK(s.records == 0 && s.batches == 0 && s.contended == 0);
  CHECK_OK(duralog_abort(log));
  close_log(log);
}

/* Who asks meanwhile gets the numbers of before, and at once. */
static void statistics_meanwhile_are_those_of_before(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.host_driven = true;
  duralog_stats before = {.struct_size = sizeof before}, s = before;
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 1000); /* several segments */
  CHECK_OK(duralog_get_stats(log, &before));
  CHECK(before.rolls > 1);
  reserve(log, 10);
  CHECK_OK(duralog_get_stats(log, &s));
  CHECK(memcmp(&s, &before, sizeof s) == 0);
  CHECK_OK(duralog_publish(log, 10, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_OK(duralog_get_stats(log, &s));
  CHECK_EQUAL(s.records, before.records + 1);
  CHECK_EQUAL(s.batches, before.batches + 1);
  CHECK_EQUAL(s.payload_bytes, before.payload_bytes + 10);
  CHECK_EQUAL(s.framing_bytes, before.framing_bytes + 24 + 6);
  close_log(log);
}

static void the_interval_is_kept_meanwhile(struct test_place *at) {
  enum { LONG_MS = 20 * 1000 };
  duralog_options o = small_options();
  o.durability.sync_interval_ms = 10;
  duralog *log = open_with(at->path, &o);
  duralog_record r;
  append_numbers(log, 0, 5);
  reserve(log, 10);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  for (uint64_t n = 0; n < 5; n++) { /* asks for no sync */
    CHECK_OK(duralog_reader_wait(reader, LONG_MS));
    CHECK_OK(duralog_read_next(reader, &r));
  }
  CHECK_OK(duralog_reader_close(&reader));
  CHECK_OK(duralog_abort(log));
  close_log(log);
}

/* ---- many threads ---- */

/* Who reserves over and over again must not keep the lock for itself. */
static void *append_some(void *context) {
  struct other *o = context;
  for (int i = 0; i < 100; i++)
    CHECK_OK(duralog_append(o->log, "other", 5, NULL));
  atomic_store(&o->over, true);
  return NULL;
}

static void a_thread_that_reserves_on_and_on_lets_others_in(
    struct test_place *at) {
  enum { SIZE = 16 << 10, WRITES = 20, RESERVATIONS_MAX = 20 * 1000 };
  duralog_options o = small_pagecache();
  o.segment_bytes = 1 << 20;
  duralog *log = open_with(at->path, &o);
  struct other other = {.log = log};
  pthread_t thread = thread_start(append_some, &other);
  uint64_t count = 0;
  while (!atomic_load(&other.over) && count < RESERVATIONS_MAX) {
    void *memory = reserve(log, SIZE);
    for (int i = 0; i < WRITES; i++) write_pattern(memory, count, SIZE);
    CHECK_OK(duralog_publish(log, 100, DURALOG_LEVEL_WRITTEN, NULL));
    count++;
  }
  CHECK(atomic_load(&other.over));
  thread_join(thread);
  close_log(log);
}

enum { THREADS = 6 };

struct stamp {
  uint64_t thread, count;
};

struct crowd {
  duralog *log;
  uint64_t number, appends;
};

static void *reserve_abort_append(void *context) {
  struct crowd *c = context;
  uint64_t state = c->number, last = 0;
  for (uint64_t i = 0; i < c->appends; i++) {
    struct stamp stamp = {c->number, i};
    size_t size = sizeof stamp + random_below(&state, 300);
    uint64_t offset;
    if (random_below(&state, 4) == 0) {
      write_old_frames(reserve(c->log, 900), 900);
      CHECK_OK(duralog_abort(c->log));
    }
    if (random_below(&state, 2)) {
      CHECK_OK(duralog_append(c->log, &stamp, sizeof stamp, &offset));
    } else {
      memcpy(reserve(c->log, size), &stamp, sizeof stamp);
      CHECK_OK(duralog_publish(c->log, sizeof stamp,
                               (duralog_level)random_below(&state, 3),
                               &offset));
    }
    CHECK(i == 0 || offset > last);
    last = offset;
  }
  return NULL;
}

static void check_crowd(duralog *log, uint64_t appends) {
  uint64_t next[THREADS] = {0};
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  for (uint64_t n = 0; n < THREADS * appends; n++) {
    struct stamp stamp;
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK_EQUAL(r.size, sizeof stamp);
    memcpy(&stamp, r.data, sizeof stamp);
    CHECK(stamp.thread < THREADS);
    CHECK_EQUAL(stamp.count, next[stamp.thread]++);
  }
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_reader_close(&reader));
}

static void many_threads_reserve_abort_and_append_at_once(
    struct test_place *at) {
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    uint64_t appends = modes[i].durability.pagecache && !SANITIZED ? 4000 : 60;
    duralog *log = open_mode(at->path, i, at->copying);
    struct crowd crowd[THREADS];
    pthread_t threads[THREADS];
    for (uint64_t t = 0; t < THREADS; t++) {
      crowd[t] = (struct crowd){log, t, appends};
      threads[t] = thread_start(reserve_abort_append, &crowd[t]);
    }
    for (uint64_t t = 0; t < THREADS; t++) thread_join(threads[t]);
    check_crowd(log, appends);
    close_log(log);
    log = open_mode(at->path, i, at->copying);
    check_crowd(log, appends);
    close_log(log);
    directory_remove(at->path);
  }
}

static const struct test tests[] = {
    TEST_BOTH(what_is_published_is_read_in_every_mode),
    TEST_BOTH(all_that_may_be_reserved_can_be_written),
    TEST(the_time_is_that_of_publishing),
    TEST(publishing_waits_as_its_level_says),
    TEST_BOTH(an_aborted_record_is_not_appended),
    TEST_BOTH(a_killed_process_takes_its_reservation_with_it),
    TEST_BOTH(an_abort_leaves_no_trace),
    TEST(with_padding_a_reservation_begins_a_block),
    TEST(a_second_append_by_the_reserving_thread_is_busy),
    TEST(ending_needs_a_reservation),
    TEST(wrong_arguments_leave_the_reservation_standing),
    TEST(closing_with_a_reservation_out_is_busy),
    TEST(a_read_only_log_gives_no_reservation),
    TEST(a_forked_child_cannot_end_the_reservation),
    TEST(another_thread_can_neither_end_it_nor_get_one),
    TEST(an_append_sleeps_until_the_reservation_is_over),
    TEST(a_reservation_waits_for_another_within_its_limit),
    TEST_BOTH(everything_but_appending_goes_on),
    TEST_BOTH(the_reserving_thread_may_do_all_else),
    TEST(failures_of_reservations_are_counted),
    TEST(statistics_meanwhile_are_those_of_before),
    TEST(the_interval_is_kept_meanwhile),
    TEST(a_thread_that_reserves_on_and_on_lets_others_in),
    TEST_BOTH(many_threads_reserve_abort_and_append_at_once),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
