/* SPDX-License-Identifier: MIT
 *
 * Readers in other processes, live while one process writes: watermarks, rolls,
 * waiting and waking; the death of a writer and what the next one does (I12,
 * I29 to I31).
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { LIMIT_MS = 20 * 1000 };

static duralog_options following(const struct test_place *at) {
  duralog_options o = small_options();
  o.read_only = true;
  o.copying_reads = at->copying;
  return o;
}

static duralog *follow(const struct test_place *at) {
  duralog_options o = following(at);
  duralog_report report;
  duralog *log = open_reporting(at->path, &o, &report);
  CHECK(report.writer_lives && report.follows);
  CHECK(report.durable <= report.end);
  return log;
}

static void read_numbers(duralog_reader *reader, uint64_t from, uint64_t to) {
  for (uint64_t i = from; i < to; i++) {
    duralog_record r;
    CHECK_OK(duralog_reader_wait(reader, LIMIT_MS));
    CHECK_OK(duralog_read_next(reader, &r));
    if (r.offset != i || !record_is(&r, i))
      test_failed(__FILE__, __LINE__, "record %llu is not what was appended",
                  (unsigned long long)i);
  }
}

/* A writing process that does as it is told. */
struct writer {
  const struct test_place *at;
  duralog_durability durability;
  uint32_t file_mode;
  uint64_t count; /* appended by each order */
  bool host_driven, accept_damage;
  void (*body)(void *); /* writer_main if NULL */
  struct channel order, done;
  pid_t child;
};

static void writer_main(void *context) {
  struct writer *w = context;
  duralog_options o = small_options();
  o.durability = w->durability;
  o.file_mode = w->file_mode;
  o.host_driven = w->host_driven || NO_THREADS_AFTER_FORK;
  o.accept_damage = w->accept_damage;
  duralog *log = open_with(w->at->path, &o);
  close(w->order.in); /* so that the test's end is heard */
  channel_tell(&w->done);
  for (char order; read(w->order.out, &order, 1) == 1 && order != 'c';) {
    if (order == 's') CHECK_OK(duralog_sync(log));
    if (order == 'a') append_numbers(log, watermarks_of(log).end, w->count);
    channel_tell(&w->done);
  }
  close_log(log);
}

static void tell(struct writer *w, char order) {
  CHECK_EQUAL(write(w->order.in, &order, 1), 1);
}

static void tell_and_hear(struct writer *w, char order) {
  tell(w, order);
  channel_hear(&w->done);
}

static void writer_begin(struct writer *w) {
  channel_open(&w->order);
  channel_open(&w->done);
  w->child = child_start(w->body ? w->body : writer_main, w);
  channel_hear(&w->done);
}

static void channels_close(struct writer *w) {
  channel_close(&w->order);
  channel_close(&w->done);
}

static void writer_end(struct writer *w) {
  tell(w, 'c');
  CHECK_EQUAL(child_end(w->child), 0);
  channels_close(w);
}

static void writer_kill(struct writer *w) {
  child_kill(w->child);
  channels_close(w);
}

static struct writer pagecache_writer(const struct test_place *at) {
  return (struct writer){
      .at = at, .durability = {.pagecache = true}, .count = 100};
}

/* ---- reading along ---- */

static uint64_t many(void) { return SANITIZED ? 20000 : 100000; }

static void all_is_read_in_order_while_it_is_written(struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I29, I30 */
  w.count = many();
  writer_begin(&w);
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  tell(&w, 'a');
  read_numbers(reader, 0, many());
  channel_hear(&w.done);
  CHECK_EQUAL(watermarks_of(log).end, many());
  duralog_segment s = {.struct_size = sizeof s};
  CHECK_OK(duralog_get_segment(log, many() / 1000, &s)); /* many rolls */
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

/* Where the tail was at opening says nothing once the writer goes on. */
static void how_far_the_writers_segment_is_used_is_not_guessed(
    struct test_place *at) {
  struct writer w = pagecache_writer(at);
  w.count = 2;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_segment s = {.struct_size = sizeof s};
  tell_and_hear(&w, 'a');
  CHECK_EQUAL(watermarks_of(log).end, 4);
  CHECK_OK(duralog_get_segment(log, 0, &s));
  CHECK_EQUAL(s.end, 4);
  CHECK_EQUAL(s.used, 0);
  close_log(log);
  writer_end(&w);
}

static void a_reader_can_seek_to_segments_it_never_read(struct test_place *at) {
  struct writer w = pagecache_writer(at);
  w.count = 5000;
  writer_begin(&w);
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  tell_and_hear(&w, 'a');
  CHECK_OK(duralog_read_at(reader, 4999, &r));
  CHECK(record_is(&r, 4999));
  CHECK_IS(DURALOG_E_RANGE, duralog_read_at(reader, 5000, &r));
  CHECK_OK(duralog_read_previous(reader, &r));
  CHECK_EQUAL(r.offset, 4999);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, 2500));
  read_numbers(reader, 2500, 5000);
  CHECK_OK(duralog_reader_close(&reader));
  check_numbers(log, 5000);
  close_log(log);
  writer_end(&w);
}

/* Neither needs the other, nor a read, to know of what came later. */
static void later_segments_are_listed_and_searched(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *writer = open_with(at->path, &o);
  append_numbers(writer, 0, 10);
  duralog *lists = follow(at), *searches = follow(at);
  duralog_reader *reader = reader_of(searches, DURALOG_LEVEL_WRITTEN);
  duralog_segment s = {.struct_size = sizeof s};
  uint64_t offset;
  append_numbers(writer, 10, 5000);
  duralog_entry late = {.data = "x",
                        .size = 1,
                        .has_timestamp = true,
                        .timestamp_ms = INT64_MAX / 2};
  CHECK_OK(duralog_append_batch(writer, &late, 1, DURALOG_LEVEL_WRITTEN, NULL));
  size_t count = 0;
  while (duralog_get_segment(writer, count, &s) == DURALOG_OK) count++;
  CHECK(count > 3);
  CHECK_OK(duralog_get_segment(lists, count - 1, &s));
  CHECK_EQUAL(s.end, 5011);
  CHECK_IS(DURALOG_E_RANGE, duralog_get_segment(lists, count, &s));
  CHECK_OK(duralog_seek_time(reader, INT64_MAX / 2));
  CHECK_OK(duralog_tell(reader, &offset));
  CHECK_EQUAL(offset, 5010);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(lists);
  close_log(searches);
  close_log(writer);
}

static void a_durable_reader_sees_only_what_is_durable(struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I2 */
  w.host_driven = true;                   /* nothing is synced but by order */
  writer_begin(&w);
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  duralog_record r;
  for (uint64_t round = 0; round < 20; round++) {
    tell_and_hear(&w, 'a');
    duralog_watermarks marks = watermarks_of(log);
    CHECK_EQUAL(marks.end, (round + 1) * 100);
    CHECK_EQUAL(marks.durable, round * 100);
    CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
    CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, 0));
    tell_and_hear(&w, 's');
    CHECK_EQUAL(watermarks_of(log).durable, (round + 1) * 100);
    read_numbers(reader, round * 100, (round + 1) * 100);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

/* What is acknowledged is up to the writer, not to who reads. */
static void by_default_a_follower_reads_what_the_writer_acknowledged(
    struct test_place *at) {
  duralog_options pagecache = small_pagecache(), each = small_options();
  duralog_record r;
  pagecache.host_driven = true; /* nothing is synced by itself */
  duralog *writer = open_with(at->path, &pagecache);
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  append_numbers(writer, 0, 3);
  CHECK_EQUAL(watermarks_of(log).durable, 0);
  CHECK_OK(duralog_wait(log, 2, DURALOG_LEVEL_DEFAULT, 0));
  read_numbers(reader, 0, 3);
  close_log(writer);
  each.host_driven = true;
  writer = open_with(at->path, &each);
  duralog_entry entry = {.data = "x", .size = 1};
  CHECK_OK(
      duralog_append_batch(writer, &entry, 1, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_wait(log, 3, DURALOG_LEVEL_DEFAULT, 0));
  CHECK_OK(duralog_sync(writer));
  CHECK_OK(duralog_read_next(reader, &r));
  CHECK_EQUAL(r.offset, 3);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  close_log(writer);
}

static void a_follower_in_the_writers_process_works(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *writer = open_with(at->path, &o);
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < 2000; i += 100) {
    append_numbers(writer, i, 100);
    read_numbers(reader, i, i + 100);
  }
  CHECK_OK(duralog_wait(log, 1999, DURALOG_LEVEL_WRITTEN, -1));
  CHECK_IS(DURALOG_E_TIMEOUT,
           duralog_wait(log, 2000, DURALOG_LEVEL_WRITTEN, 0));
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_append(log, "x", 1, NULL));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  close_log(writer);
}

static void rolls_pass_a_reader_that_stands_still(struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I30 */
  w.count = 5000;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  read_numbers(reader, 0, 10);
  for (int i = 0; i < 3; i++) tell_and_hear(&w, 'a');
  read_numbers(reader, 10, 20000);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

struct reading {
  const struct test_place *at;
  uint64_t count;
  struct channel there, go;
  bool as_nobody;
};

static void read_all_of_it(void *context) {
  struct reading *r = context;
  if (r->as_nobody) drop_privileges();
  duralog *log = follow(r->at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  channel_tell(&r->there);
  read_numbers(reader, 0, r->count);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void a_reader_that_is_stopped_misses_nothing(struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I30 */
  struct reading r = {.at = at, .count = 20000};
  w.count = 1000;
  writer_begin(&w);
  channel_open(&r.there);
  pid_t reader = child_start(read_all_of_it, &r);
  channel_hear(&r.there);
  for (uint64_t i = 0; i < r.count; i += w.count) {
    int status;
    CHECK_CALL(kill(reader, SIGSTOP));
    CHECK_EQUAL(waitpid(reader, &status, WUNTRACED), reader);
    CHECK(WIFSTOPPED(status));
    tell_and_hear(&w, 'a');
    CHECK_CALL(kill(reader, SIGCONT));
  }
  CHECK_EQUAL(child_end(reader), 0);
  channel_close(&r.there);
  writer_end(&w);
}

static void who_may_only_read_can_follow(struct test_place *at) {
  struct writer w = pagecache_writer(at);
  struct reading r = {.at = at, .count = 2000, .as_nobody = true};
  w.file_mode = 0644;
  writer_begin(&w);
  CHECK_CALL(chmod(at->root, 0755));
  channel_open(&r.there);
  pid_t reader = child_start(read_all_of_it, &r);
  channel_hear(&r.there);
  for (uint64_t i = 0; i < r.count; i += w.count) tell_and_hear(&w, 'a');
  CHECK_EQUAL(child_end(reader), 0);
  channel_close(&r.there);
  writer_end(&w);
}

/* ---- waking ---- */

enum { SLEEPERS = 4 };

struct crowd {
  const struct test_place *at;
  uint64_t rounds;
  struct channel there, woken;
};

static void sleep_and_tell(void *context) {
  struct crowd *c = context;
  duralog *log = follow(c->at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  channel_tell(&c->there);
  for (uint64_t i = 0; i < c->rounds; i++) {
    duralog_record r;
    CHECK_OK(duralog_reader_wait(reader, -1));
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
    channel_tell(&c->woken);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void one_append_wakes_all_processes(struct test_place *at) {
  struct crowd c = {.at = at, .rounds = SANITIZED ? 300 : 2000}; /* I31 */
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  pid_t children[SLEEPERS];
  channel_open(&c.there);
  channel_open(&c.woken);
  for (int i = 0; i < SLEEPERS; i++)
    children[i] = child_start(sleep_and_tell, &c);
  for (int i = 0; i < SLEEPERS; i++) channel_hear(&c.there);
  for (uint64_t i = 0; i < c.rounds; i++) {
    append_numbers(log, i, 1);
    for (int n = 0; n < SLEEPERS; n++) channel_hear(&c.woken);
  }
  for (int i = 0; i < SLEEPERS; i++) CHECK_EQUAL(child_end(children[i]), 0);
  close_log(log);
  channel_close(&c.there);
  channel_close(&c.woken);
}

static void a_sync_wakes_durable_waiters(struct test_place *at) {
  struct writer w = pagecache_writer(at);
  w.host_driven = true;
  writer_begin(&w);
  duralog *log = follow(at);
  for (uint64_t round = 1; round <= 20; round++) {
    tell_and_hear(&w, 'a');
    CHECK_IS(DURALOG_E_TIMEOUT,
             duralog_wait(log, round * 100 - 1, DURALOG_LEVEL_DURABLE, 0));
    tell(&w, 's');
    CHECK_OK(
        duralog_wait(log, round * 100 - 1, DURALOG_LEVEL_DURABLE, LIMIT_MS));
    channel_hear(&w.done);
  }
  close_log(log);
  writer_end(&w);
}

/* ---- a writer dies, another one comes ---- */

static void check_no_writer(duralog *log, duralog_reader *reader,
                            uint64_t end) {
  duralog_record r;
  CHECK_IS(DURALOG_E_NO_WRITER, duralog_reader_wait(reader, LIMIT_MS));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, 1)); /* once */
  CHECK_IS(DURALOG_E_NO_WRITER,
           duralog_wait(log, end, DURALOG_LEVEL_WRITTEN, LIMIT_MS));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_wait(log, end, DURALOG_LEVEL_WRITTEN, 1));
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_wait(log, end - 1, DURALOG_LEVEL_WRITTEN, -1));
  check_numbers(log, end); /* what is there can be read */
}

/* A writer in a container of its own, as far as process ids go: it is number 1
 * there, and those outside have no number. */
static void writer_in_a_container(void *context) {
  int status;
  CHECK_CALL(unshare(CLONE_NEWPID | CLONE_NEWIPC));
  pid_t child = CHECK_CALL(fork());
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK_EQUAL(getpid(), 1);
    writer_main(context);
    _exit(0);
  }
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : CHILD_FAILED);
}

static void try_a_container(void *context) {
  (void)context;
  if (unshare(CLONE_NEWPID | CLONE_NEWIPC))
    test_skip("namespaces are not permitted here");
}

static void containers_that_share_the_directory_are_enough(
    struct test_place *at) {
  struct writer w = pagecache_writer(at), second = w; /* I12, I30 */
  child_run(try_a_container, NULL);
  w.body = writer_in_a_container;
  writer_begin(&w);
  duralog *log = follow(at), *busy = NULL;
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t i = 0; i < 10; i++) {
    tell(&w, 'a');
    read_numbers(reader, i * 100, i * 100 + 100);
    channel_hear(&w.done);
  }
  duralog_options o = small_pagecache();
  CHECK_IS(DURALOG_E_BUSY, duralog_open(at->path, &o, &busy, NULL, NULL));
  writer_kill(&w);
  CHECK_IS(DURALOG_E_NO_WRITER, duralog_reader_wait(reader, LIMIT_MS));
  writer_begin(&second);
  tell(&second, 'a');
  CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(reader, LIMIT_MS));
  read_numbers(reader, 1000, 1100);
  channel_hear(&second.done);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&second);
}

static void check_epoch(duralog_reader *reader, uint64_t divergence,
                        uint64_t epoch) {
  uint64_t offset = 77, is = 77;
  CHECK_OK(duralog_reader_divergence(reader, &offset, &is));
  CHECK_EQUAL(offset, divergence);
  CHECK_EQUAL(is, epoch);
}

static void a_writers_death_and_the_next_ones_epoch_are_told(
    struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I12, I30 */
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *behind = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_reader *there = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  uint64_t offset;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_reader_divergence(there, &offset, NULL));
  for (uint64_t life = 1; life <= 5; life++) {
    uint64_t end = life * 100;
    read_numbers(there, end - 100, end);
    writer_kill(&w);
    check_no_writer(log, there, end);
    writer_begin(&w); /* at once */
    CHECK_EQUAL(watermarks_of(log).epoch, life);
    CHECK_IS(DURALOG_E_AT_END, duralog_read_next(there, &r)); /* no epoch yet */
    CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(there, 1));
    tell(&w, 'a');
    CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(there, LIMIT_MS));
    channel_hear(&w.done);
    check_epoch(there, end, life + 1);
    CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(behind, &r));
    check_epoch(behind, end, life + 1);
    CHECK_EQUAL(watermarks_of(log).epoch, life + 1);
    CHECK_OK(duralog_read_next(behind, &r));
    CHECK(r.offset == life - 1 && record_is(&r, life - 1));
  }
  read_numbers(there, 500, 600);
  check_numbers(log, 600);
  CHECK_OK(duralog_reader_close(&behind));
  CHECK_OK(duralog_reader_close(&there));
  close_log(log);
  writer_end(&w);
}

static void of_epochs_that_were_missed_the_first_counts(struct test_place *at) {
  struct writer w = pagecache_writer(at);
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  read_numbers(reader, 0, 50);
  for (int life = 0; life < 4; life++) {
    writer_kill(&w);
    writer_begin(&w);
    tell_and_hear(&w, 'a');
  }
  CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(reader, &r));
  check_epoch(reader, 100, 5);
  read_numbers(reader, 50, 500);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

static void a_closed_log_is_followed_on_when_it_is_opened_again(
    struct test_place *at) {
  struct writer w = pagecache_writer(at);
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (uint64_t life = 1; life <= 5; life++) {
    read_numbers(reader, life * 100 - 100, life * 100);
    writer_end(&w);
    check_no_writer(log, reader, life * 100);
    writer_begin(&w);
    tell_and_hear(&w, 'a');
    CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(reader, LIMIT_MS));
    check_epoch(reader, life * 100, life + 1);
  }
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

/* What a follower has read is not there any more: its tail was damaged while
 * nobody wrote. */
static void a_reader_beyond_the_divergence_has_to_go_back(
    struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I30 */
  w.host_driven = true;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  read_numbers(reader, 0, 100);
  writer_kill(&w);
  struct test_frames frames = frames_load(at->path);
  const struct test_frame *f = frame_of(&frames, 60);
  file_zero(segment_path(at->path, f->segment), f->position, 24);
  frames_free(&frames);
  writer_begin(&w);
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_EQUAL(watermarks_of(log).end, 60);
  tell_and_hear(&w, 'a');
  for (int i = 0; i < 3; i++) {
    CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(reader, &r));
    check_epoch(reader, 60, 2);
    CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(reader, LIMIT_MS));
    CHECK_IS(DURALOG_E_EPOCH, duralog_read_at(reader, 3, &r));
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, 90 - (uint64_t)i));
  }
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, 60));
  read_numbers(reader, 60, 160);
  CHECK_OK(duralog_reader_close(&reader));
  check_numbers(log, 160);
  close_log(log);
  writer_end(&w);
}

enum { OFFSETS_MAX = 1000 };

/* Which records can be read, from the start on, over any damage. */
static void read_what_there_is(duralog_reader *reader, uint64_t end,
                               uint64_t first, uint64_t epoch,
                               bool there[OFFSETS_MAX]) {
  duralog_record r;
  CHECK(end <= OFFSETS_MAX);
  memset(there, 0, OFFSETS_MAX);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_START, 0));
  for (uint64_t next = 0; next < end;) {
    duralog_error error = duralog_read_next(reader, &r);
    if (error == DURALOG_E_CORRUPT) {
      duralog_damage damage;
      CHECK_OK(duralog_reader_diagnose(reader, &damage, NULL));
      CHECK(damage.from <= next && next < damage.to && damage.to <= end);
      next = damage.to;
      CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, next));
      continue;
    }
    CHECK_OK(error);
    CHECK(r.offset == next && record_is(&r, next));
    CHECK_EQUAL(r.epoch, next < first ? 1 : epoch); /* I8 */
    there[next++] = true;
  }
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
}

/* The next writer accepts damage in what the follower has read: it reads on
 * what one reads who comes now, and nothing that was given up. */
static void go_on_over_accepted_damage(struct test_place *at, uint64_t torn) {
  struct writer w = pagecache_writer(at); /* I23, I30 */
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  tell_and_hear(&w, 's');
  tell_and_hear(&w, 'a'); /* these prove that the others were durable */
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  read_numbers(reader, 0, 200);
  writer_kill(&w);
  struct test_frames frames = frames_load(at->path);
  const struct test_frame *f = frame_of(&frames, 60);
  file_flip(segment_path(at->path, f->segment), f->position + 30);
  if (torn) { /* what is behind it is given up, and its offsets given again */
    f = frame_of(&frames, torn);
    file_flip(segment_path(at->path, f->segment), f->position + 30);
  }
  frames_free(&frames);
  w.accept_damage = true;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  uint64_t end = watermarks_of(log).end, first = end - 100;
  CHECK_EQUAL(first, torn ? torn : 200);
  CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(reader, LIMIT_MS));
  uint64_t divergence, epoch;
  CHECK_OK(duralog_reader_divergence(reader, &divergence, &epoch));
  CHECK(divergence <= first && epoch >= 2);
  static bool there[OFFSETS_MAX], now_there[OFFSETS_MAX];
  read_what_there_is(reader, end, first, epoch, there);
  duralog *fresh = follow(at);
  duralog_reader *other = reader_of(fresh, DURALOG_LEVEL_WRITTEN);
  read_what_there_is(other, end, first, epoch, now_there);
  CHECK(memcmp(there, now_there, sizeof there) == 0);
  CHECK(there[59] && !there[60] && there[first]);
  CHECK_OK(duralog_reader_close(&other));
  close_log(fresh);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

static void a_follower_goes_on_over_accepted_damage(struct test_place *at) {
  go_on_over_accepted_damage(at, 0);
}

static void a_follower_reads_nothing_that_was_given_up(struct test_place *at) {
  go_on_over_accepted_damage(at, 150);
}

/* ---- control files ---- */

/* Where a liar finds them, in struct control of lib/control.h. */
enum { CONTROL_END = 128, CONTROL_EPOCH = 320 };

static void read_along_a_little(const struct test_place *at, duralog *writer,
                                uint64_t end) {
  /* Whatever is in the file: no crash, no wrong byte. */
  duralog_options o = following(at);
  duralog *log = NULL;
  duralog_diagnostic d = {.struct_size = sizeof d};
  CHECK_OK(duralog_open(at->path, &o, &log, NULL, &d));
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  duralog_error error = DURALOG_OK;
  for (uint64_t i = 0; error == DURALOG_OK && i < end + 10; i++) {
    error = duralog_read_next(reader, &r);
    if (error == DURALOG_OK) CHECK(r.offset < end && record_is(&r, r.offset));
    if (error == DURALOG_E_EPOCH) error = DURALOG_OK;
  }
  CHECK(error == DURALOG_E_AT_END || error == DURALOG_E_CORRUPT);
  (void)duralog_reader_wait(reader, 0);
  (void)duralog_seek(reader, DURALOG_SEEK_END, 0);
  (void)duralog_read_next(reader, &r);
  (void)duralog_read_previous(reader, &r);
  (void)duralog_wait(log, end + 5, DURALOG_LEVEL_DURABLE, 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  CHECK_EQUAL(watermarks_of(writer).end, end);
}

static void a_hostile_control_file_harms_nobody(struct test_place *at) {
  duralog_options o = small_pagecache();
  const char *control = path_join(at->path, "control");
  uint64_t seed = TEST_SEED, end = 0;
  duralog *writer = open_with(at->path, &o);
  uint8_t good[4096], bytes[4096];
  CHECK_EQUAL(file_bytes(control), sizeof good);
  for (int i = 0; i < (SANITIZED ? 100 : 400); i++) {
    append_numbers(writer, end, 20);
    end += 20;
    file_read_at(control, 0, good, sizeof good);
    memcpy(bytes, good, sizeof bytes);
    static const uint64_t values[] = {0, 1, 1u << 20, UINT64_MAX,
                                      UINT64_MAX - 1};
    uint64_t value =
        i % 7 == 0 ? random_next(&seed) : values[random_below(&seed, 5)];
    size_t field = (size_t)random_below(&seed, 80) * 8;
    if (i % 10 == 9)
      for (size_t n = 32; n < sizeof bytes; n++)
        bytes[n] = (uint8_t)random_next(&seed);
    else
      memcpy(bytes + field, &value, sizeof value);
    test_note("round %d: %llu at %zu", i, (unsigned long long)value, field);
    file_write_at(control, 0, bytes, sizeof bytes);
    read_along_a_little(at, writer, end);
    append_numbers(writer, end, 1); /* the writer does not care */
    end++;
    CHECK_EQUAL(watermarks_of(writer).end, end);
    file_write_at(control, 0, good, sizeof good);
  }
  check_numbers(writer, end);
  close_log(writer);
  writer = open_with(at->path, &o);
  check_numbers(writer, end);
  close_log(writer);
}

static void what_is_no_control_file_is_not_followed(struct test_place *at) {
  duralog_options o = small_pagecache(), f = following(at);
  const char *control = path_join(at->path, "control");
  duralog_report report;
  for (int kind = 0; kind < 6; kind++) {
    duralog *writer = open_with(at->path, &o);
    append_numbers(writer, (uint64_t)kind * 10, 10);
    CHECK_CALL(unlink(control));
    uint8_t zeros[4096] = {0};
    switch (kind) {
      case 0: break;
      case 1: CHECK_CALL(mkdir(control, 0700)); break;
      case 2: file_store(control, "", 0); break;
      case 3: file_store(control, zeros, sizeof zeros); break;
      case 4: CHECK_CALL(mkfifo(control, 0600)); break;
      default: CHECK_CALL(symlink("meta", control)); break;
    }
    test_note("kind %d", kind);
    duralog *log = open_reporting(at->path, &f, &report);
    CHECK(report.writer_lives && !report.follows);
    check_numbers(log, (uint64_t)kind * 10 + 10);
    close_log(log);
    close_log(writer);
    /* Whatever stands there is in no writer's way. */
    writer = open_reporting(at->path, &o, &report);
    CHECK_EQUAL(report.unshared, kind == 1);
    check_numbers(writer, (uint64_t)kind * 10 + 10);
    if (kind == 1) CHECK_CALL(rmdir(control));
    close_log(writer);
  }
}

/* What a dead writer left in its control file says nothing: what recovery found
 * counts, and then the next writer is followed. */
static void a_stale_control_file_is_not_believed(struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I1, I30 */
  duralog_options f = following(at);
  duralog_report report;
  duralog_record r;
  uint64_t more = 1000;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  writer_kill(&w);
  file_write_at(path_join(at->path, "control"), CONTROL_END, &more,
                sizeof more);
  duralog *log = open_reporting(at->path, &f, &report);
  CHECK(!report.writer_lives && report.follows);
  CHECK_EQUAL(report.end, 100);
  check_numbers(log, 100);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  read_numbers(reader, 0, 100);
  check_no_writer(log, reader, 100);
  CHECK_EQUAL(watermarks_of(log).end, 100);
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(reader, &r));
  check_epoch(reader, 100, 2);
  read_numbers(reader, 100, 200);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

/* Also where no control file was there at first. */
static void who_comes_first_follows_the_writer_that_comes_later(
    struct test_place *at) {
  struct writer w = pagecache_writer(at);
  duralog_options o = small_pagecache(), f = following(at);
  duralog_report report;
  close_log(open_with(at->path, &o));
  CHECK_CALL(unlink(path_join(at->path, "control")));
  duralog *log = open_reporting(at->path, &f, &report);
  CHECK(!report.writer_lives && report.follows);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  CHECK_IS(DURALOG_E_NO_WRITER, duralog_reader_wait(reader, LIMIT_MS));
  writer_begin(&w);
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, 1));
  tell_and_hear(&w, 'a');
  CHECK_IS(DURALOG_E_EPOCH, duralog_reader_wait(reader, LIMIT_MS));
  check_epoch(reader, 0, 1);
  read_numbers(reader, 0, 100);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

/* The control file's epoch, whatever it says, hides no later writer. */
static void a_hostile_epoch_hides_no_later_writer(struct test_place *at) {
  static const uint64_t epochs[] = {UINT64_MAX, UINT64_MAX - 1, 1000, 2, 0};
  const char *control = path_join(at->path, "control");
  struct writer w = pagecache_writer(at); /* I30 */
  duralog_record r;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  for (uint64_t life = 1; life <= COUNT_OF(epochs); life++) {
    file_write_at(control, CONTROL_EPOCH, &epochs[life - 1], 8);
    duralog *log = follow(at); /* what it hears first is false */
    duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
    duralog_reader *idle = reader_of(log, DURALOG_LEVEL_WRITTEN);
    read_numbers(reader, 0, life * 100);
    writer_kill(&w);
    writer_begin(&w);
    CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
    tell_and_hear(&w, 'a');
    CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(reader, &r));
    check_epoch(reader, life * 100, life + 1);
    read_numbers(reader, life * 100, life * 100 + 100);
    /* Who has read nothing is told as well, perhaps of more than there is. */
    CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(idle, &r));
    uint64_t offset, is;
    CHECK_OK(duralog_reader_divergence(idle, &offset, &is));
    CHECK(offset <= life * 100 && is == life + 1);
    CHECK_OK(duralog_reader_close(&idle));
    CHECK_OK(duralog_reader_close(&reader));
    close_log(log);
  }
  writer_end(&w);
}

/* Where the control file keeps the old epoch, the record itself tells. */
static void a_later_writers_record_tells_of_it_by_itself(
    struct test_place *at) {
  const char *control = path_join(at->path, "control");
  struct writer w = pagecache_writer(at); /* I30 */
  uint64_t old = 1;
  duralog_record r;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  read_numbers(reader, 0, 100);
  writer_kill(&w);
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  file_write_at(control, CONTROL_EPOCH, &old, sizeof old);
  CHECK_IS(DURALOG_E_EPOCH, duralog_read_next(reader, &r));
  check_epoch(reader, 100, 2);
  read_numbers(reader, 100, 200);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

static void another_file_under_the_name_is_found(struct test_place *at) {
  struct writer w = pagecache_writer(at);
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog *log = follow(at);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  read_numbers(reader, 0, 100);
  CHECK_CALL(unlink(path_join(at->path, "control")));
  writer_kill(&w);
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  duralog_error error;
  while ((error = duralog_reader_wait(reader, LIMIT_MS)) == DURALOG_E_NO_WRITER)
    ;
  CHECK_IS(DURALOG_E_EPOCH, error);
  check_epoch(reader, 100, 2);
  read_numbers(reader, 100, 200);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  writer_end(&w);
}

/* ---- processes ---- */

struct inherited {
  duralog *log;
  duralog_reader *reader;
  duralog_record record;
};

static void use_what_was_inherited(void *context) {
  struct inherited *i = context;
  uint64_t offset;
  CHECK_IS(DURALOG_E_FORKED, duralog_reader_wait(i->reader, 0));
  CHECK_IS(DURALOG_E_FORKED,
           duralog_reader_divergence(i->reader, &offset, NULL));
  check_forked_log(i->log);
  check_forked_reader(i->reader, &i->record);
}

static void a_followers_child_can_do_nothing(struct test_place *at) {
  struct writer w = pagecache_writer(at); /* I13 */
  struct inherited i;
  writer_begin(&w);
  tell_and_hear(&w, 'a');
  i.log = follow(at);
  i.reader = reader_of(i.log, DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_read_next(i.reader, &i.record));
  child_run(use_what_was_inherited, &i);
  tell_and_hear(&w, 'a');
  read_numbers(i.reader, 1, 200);
  CHECK_OK(duralog_reader_close(&i.reader));
  close_log(i.log);
  writer_end(&w);
}

struct race {
  const struct test_place *at;
  struct channel ready, go, end;
};

static void open_and_hold(void *context) {
  struct race *r = context;
  duralog_options o = small_pagecache();
  o.host_driven = NO_THREADS_AFTER_FORK;
  duralog *log = NULL;
  channel_tell(&r->ready);
  channel_hear(&r->go);
  duralog_error error = duralog_open(r->at->path, &o, &log, NULL, NULL);
  CHECK(error == (log ? DURALOG_OK : DURALOG_E_BUSY));
  channel_tell(&r->ready);
  channel_hear(&r->end);
  bool won = log != NULL;
  if (won) close_log(log);
  _exit(won ? 1 : 2);
}

static void of_two_that_open_for_writing_one_wins(struct test_place *at) {
  struct race r = {.at = at}; /* I12 */
  duralog_options o = small_options();
  close_log(open_with(at->path, &o));
  channel_open(&r.ready);
  channel_open(&r.go);
  channel_open(&r.end);
  for (int round = 0; round < 100; round++) {
    pid_t child[2];
    for (int i = 0; i < 2; i++) child[i] = child_start(open_and_hold, &r);
    for (int i = 0; i < 2; i++) channel_hear(&r.ready);
    for (int i = 0; i < 2; i++) channel_tell(&r.go);
    for (int i = 0; i < 2; i++) channel_hear(&r.ready);
    for (int i = 0; i < 2; i++) channel_tell(&r.end);
    CHECK_EQUAL(child_end(child[0]) + child_end(child[1]), 1 + 2);
  }
  channel_close(&r.ready);
  channel_close(&r.go);
  channel_close(&r.end);
}

static const struct test tests[] = {
    TEST_BOTH(all_is_read_in_order_while_it_is_written),
    TEST_BOTH(how_far_the_writers_segment_is_used_is_not_guessed),
    TEST_BOTH(a_reader_can_seek_to_segments_it_never_read),
    TEST_BOTH(later_segments_are_listed_and_searched),
    TEST_BOTH(a_durable_reader_sees_only_what_is_durable),
    TEST_BOTH(a_follower_in_the_writers_process_works),
    TEST_BOTH(by_default_a_follower_reads_what_the_writer_acknowledged),
    TEST_BOTH(rolls_pass_a_reader_that_stands_still),
    TEST_BOTH(a_reader_that_is_stopped_misses_nothing),
    TEST_BOTH(who_may_only_read_can_follow),
    TEST_BOTH(one_append_wakes_all_processes),
    TEST(a_sync_wakes_durable_waiters),
    TEST_BOTH(a_writers_death_and_the_next_ones_epoch_are_told),
    TEST_BOTH(of_epochs_that_were_missed_the_first_counts),
    TEST(a_closed_log_is_followed_on_when_it_is_opened_again),
    TEST_BOTH(a_reader_beyond_the_divergence_has_to_go_back),
    TEST(containers_that_share_the_directory_are_enough),
    TEST_BOTH(a_follower_goes_on_over_accepted_damage),
    TEST_BOTH(a_follower_reads_nothing_that_was_given_up),
    TEST_BOTH(a_hostile_control_file_harms_nobody),
    TEST_BOTH(what_is_no_control_file_is_not_followed),
    TEST_BOTH(a_stale_control_file_is_not_believed),
    TEST_BOTH(who_comes_first_follows_the_writer_that_comes_later),
    TEST_BOTH(a_hostile_epoch_hides_no_later_writer),
    TEST_BOTH(a_later_writers_record_tells_of_it_by_itself),
    TEST(another_file_under_the_name_is_found),
    TEST(a_followers_child_can_do_nothing),
    TEST(of_two_that_open_for_writing_one_wins),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
