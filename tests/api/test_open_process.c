/* SPDX-License-Identifier: MIT
 *
 * One writer, any number of lookers-on: in this process and in others; and
 * what a process notices of an open log.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

/* ---- one writer ---- */

static void a_second_writer_in_the_process_is_busy(struct test_place *at) {
  duralog_options o = small_pagecache(); /* I12 */
  o.host_driven = true;                  /* nothing is done but by us */
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 10);
  uint64_t before = tree_digest(at->root, true);
  open_fails(DURALOG_E_BUSY, at->path, &o);
  o.accept_damage = true;
  open_fails(DURALOG_E_BUSY, at->path, &o);
  o.accept_damage = false;
  CHECK_UNCHANGED(before, at->root);
  append_numbers(log, 10, 10);
  close_log(log);
  log = open_with(at->path, &o);
  check_numbers(log, 20);
  close_log(log);
}

static void another_name_for_a_log_is_the_same_log(struct test_place *at) {
  duralog_options o = small_options();
  char link[256];
  snprintf(link, sizeof link, "%s/link", at->root);
  CHECK_CALL(symlink(at->path, link));
  duralog *log = open_with(at->path, &o);
  open_fails(DURALOG_E_BUSY, link, &o);
  append_numbers(log, 0, 5);
  close_log(log);
  log = open_with(link, &o);
  check_numbers(log, 5);
  close_log(log);
}

static void two_logs_share_nothing(struct test_place *at) {
  duralog_options o = small_options();
  duralog *a = open_with(at->path, &o);
  duralog *b = open_with(path_in(at, "other"), &o);
  append_numbers(a, 0, 100);
  append_numbers(b, 0, 50);
  close_log(a);
  append_numbers(b, 50, 50);
  a = open_with(at->path, &o);
  check_numbers(a, 100);
  check_numbers(b, 100);
  close_log(b);
  close_log(a);
}

struct process {
  const struct test_place *at;
  struct channel ready, go;
  pid_t grandchild;
};

static void process_open(struct process *p, const struct test_place *at) {
  *p = (struct process){.at = at};
  channel_open(&p->ready);
  channel_open(&p->go);
}

static void process_close(struct process *p) {
  channel_close(&p->ready);
  channel_close(&p->go);
}

static void write_until_told(void *context) {
  struct process *p = context;
  duralog_options o = small_pagecache();
  o.host_driven = true; /* quiet until told */
  duralog *log = open_with(p->at->path, &o);
  append_numbers(log, watermarks_of(log).end, 100);
  channel_tell(&p->ready);
  channel_hear(&p->go);
  close_log(log);
}

static void a_second_writer_in_another_process_is_busy(struct test_place *at) {
  struct process p; /* I12 */
  duralog_options o = small_pagecache();
  process_open(&p, at);
  pid_t writer = child_start(write_until_told, &p);
  channel_hear(&p.ready);
  uint64_t before = tree_digest(at->root, true);
  open_fails(DURALOG_E_BUSY, at->path, &o);
  open_fails(DURALOG_E_BUSY, at->path, &o);
  CHECK_UNCHANGED(before, at->root);
  channel_tell(&p.go);
  CHECK_EQUAL(child_end(writer), 0);
  duralog *log = open_with(at->path, &o);
  check_numbers(log, 100);
  close_log(log);
  process_close(&p);
}

static void after_the_writers_death_the_next_opens_at_once(
    struct test_place *at) {
  struct process p; /* I12 */
  duralog_options o = small_pagecache();
  process_open(&p, at);
  for (uint64_t life = 1; life <= 10; life++) {
    pid_t writer = child_start(write_until_told, &p);
    channel_hear(&p.ready);
    child_kill(writer);
    duralog *log = open_with(at->path, &o);
    check_numbers(log, life * 100);
    close_log(log);
  }
  process_close(&p);
}

/* A writer that has forked, and whose child lives on with all it inherited. */
static void write_and_fork(void *context) {
  struct process *p = context;
  duralog_options o = small_pagecache();
  duralog *log = open_with(p->at->path, &o);
  append_numbers(log, 0, 100);
  p->grandchild = CHECK_CALL(fork());
  if (p->grandchild == 0) {
    close(p->go.in); /* so that it does not outlive the test */
    channel_tell(&p->ready);
    channel_hear(&p->go);
    _exit(0);
  }
  channel_tell(&p->ready);
  pause();
}

static void a_child_that_lives_on_does_not_keep_the_lock(
    struct test_place *at) {
  duralog_options o = small_pagecache(); /* I12 */
  struct process *p = shared_memory(sizeof *p);
  process_open(p, at);
  pid_t writer = child_start(write_and_fork, p);
  channel_hear(&p->ready);
  channel_hear(&p->ready);
  open_fails(DURALOG_E_BUSY, at->path, &o);
  child_kill(writer);
  CHECK_CALL(kill(p->grandchild, 0)); /* it lives */
  duralog *log = open_with(at->path, &o);
  check_numbers(log, 100);
  append_numbers(log, 100, 100);
  close_log(log);
  channel_tell(&p->go);
  process_close(p);
  shared_memory_free(p, sizeof *p);
}

/* ---- lookers-on ---- */

static void without_a_control_file_a_looker_on_gets_a_snapshot(
    struct test_place *at) {
  duralog_options w = small_pagecache(), o = small_options();
  duralog_report report;
  o.read_only = true;
  o.copying_reads = at->copying;
  duralog *log = open_with(at->path, &w);
  append_numbers(log, 0, 700);
  CHECK_CALL(unlink(path_join(at->path, "control")));
  duralog *snapshot = open_reporting(at->path, &o, &report);
  CHECK(report.writer_lives && !report.follows && report.damage_count == 0);
  CHECK_EQUAL(report.end, 700);
  append_numbers(log, 700, 700);
  check_numbers(snapshot, 700);
  check_numbers(log, 1400);
  close_log(log);
  check_numbers(snapshot, 700);
  close_log(snapshot);
}

static void a_snapshot_of_a_busy_writer_is_a_prefix(struct test_place *at) {
  struct process p;
  duralog_options o = small_options();
  o.read_only = true;
  o.copying_reads = at->copying;
  process_open(&p, at);
  pid_t writer = child_start(write_until_told, &p);
  channel_hear(&p.ready);
  for (int i = 0; i < 20; i++) {
    duralog_report report;
    duralog *snapshot = open_reporting(at->path, &o, &report);
    CHECK(report.writer_lives);
    check_numbers(snapshot, 100);
    close_log(snapshot);
  }
  channel_tell(&p.go);
  CHECK_EQUAL(child_end(writer), 0);
  process_close(&p);
}

enum { SNAPSHOTS = 50, RECORDS_EACH = 150 };

struct appending {
  duralog *log;
  _Atomic uint64_t snapshots;
};

/* Keep appending, but not further ahead of the snapshots than makes sense. */
static void *append_beside(void *context) {
  struct appending *a = context;
  for (uint64_t end = 1; end < SNAPSHOTS * RECORDS_EACH;) {
    if (end < (atomic_load(&a->snapshots) + 1) * RECORDS_EACH)
      append_numbers(a->log, end++, 1);
    else
      sched_yield();
  }
  return NULL;
}

/* It may have gone on since: what was there at opening is. */
static void check_prefix(duralog *log, uint64_t count) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  for (uint64_t i = 0; i < count; i++) {
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK(r.offset == i && record_is(&r, i));
  }
  CHECK_OK(duralog_reader_close(&reader));
}

static void snapshots_taken_while_appends_run_are_prefixes(
    struct test_place *at) {
  duralog_options w = small_pagecache(), o = small_options();
  o.read_only = true;
  o.copying_reads = at->copying;
  struct appending a = {.log = open_with(at->path, &w)};
  append_numbers(a.log, 0, 1);
  pthread_t thread = thread_start(append_beside, &a);
  for (int i = 0; i < SNAPSHOTS; i++) {
    duralog_report report;
    uint64_t before = watermarks_of(a.log).end;
    duralog *snapshot = open_reporting(at->path, &o, &report);
    uint64_t after = watermarks_of(a.log).end;
    test_note("snapshot %d: %llu between %llu and %llu", i,
              (unsigned long long)report.end, (unsigned long long)before,
              (unsigned long long)after);
    CHECK(report.writer_lives && report.damage_count == 0);
    CHECK(report.end >= before && report.end <= after);
    atomic_fetch_add(&a.snapshots, 1);
    check_prefix(snapshot, report.end);
    close_log(snapshot);
  }
  thread_join(thread);
  check_numbers(a.log, SNAPSHOTS * RECORDS_EACH);
  close_log(a.log);
}

static void what_is_opened_for_reading_cannot_write(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 10);
  close_log(log);
  o.read_only = true;
  log = open_with(at->path, &o);
  uint64_t offset = 77;
  duralog_entry entry = {.data = "x", .size = 1};
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_append(log, "x", 1, &offset));
  CHECK_IS(
      DURALOG_E_READ_ONLY,
      duralog_append_batch(log, &entry, 1, DURALOG_LEVEL_WRITTEN, &offset));
  CHECK_EQUAL(offset, 77);
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_sync(log));
  CHECK_IS(DURALOG_E_READ_ONLY, duralog_tick(log));
  CHECK_OK(duralog_wait(log, 9, DURALOG_LEVEL_WRITTEN, -1));
  CHECK_OK(duralog_wait(log, 9, DURALOG_LEVEL_DURABLE, -1));
  CHECK_IS(DURALOG_E_NO_WRITER,
           duralog_wait(log, 10, DURALOG_LEVEL_WRITTEN, -1));
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_OK(duralog_reader_wait(reader, -1));
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
  CHECK_IS(DURALOG_E_NO_WRITER, duralog_reader_wait(reader, -1));
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void append_and_die(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  append_numbers(open_with(at->path, &o), 0, 900);
  raise(SIGKILL);
}

static void looking_writes_nothing(struct test_place *at) {
  duralog_options o = small_options();
  for (int clean = 0; clean < 2; clean++) {
    CHECK_EQUAL(child_end(child_start(append_and_die, at)), 256 + SIGKILL);
    if (clean) close_log(open_with(at->path, &o));
    duralog_options looking = o;
    looking.read_only = true;
    looking.copying_reads = at->copying;
    uint64_t before = tree_digest(at->root, true);
    for (int i = 0; i < 2; i++) {
      duralog_report report;
      duralog *log = open_reporting(at->path, &looking, &report);
      CHECK_EQUAL(report.clean, clean);
      check_numbers(log, 900);
      close_log(log);
    }
    CHECK_UNCHANGED(before, at->root);
    directory_remove(at->path);
  }
}

static void many_can_look_at_once(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o), *lookers[8];
  append_numbers(log, 0, 500);
  close_log(log);
  o.read_only = true;
  for (size_t i = 0; i < COUNT_OF(lookers); i++)
    lookers[i] = open_with(at->path, &o);
  o.read_only = false;
  log = open_with(at->path, &o); /* and they hinder no writer */
  append_numbers(log, 500, 500);
  for (size_t i = 0; i < COUNT_OF(lookers); i++) {
    check_numbers(lookers[i], 1000); /* which they follow */
    close_log(lookers[i]);
  }
  check_numbers(log, 1000);
  close_log(log);
}

/* ---- descriptors ---- */

static void low_descriptors_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_pagecache();
  for (int fd = 0; fd <= 2; fd++) close(fd);
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 2000);
  for (int fd = 0; fd <= 2; fd++)
    CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
  check_numbers(log, 2000);
  for (int fd = 0; fd <= 2; fd++) CHECK(fcntl(fd, F_GETFD) < 0);
  close_log(log);
}

static void descriptors_0_to_2_are_left_to_others(struct test_place *at) {
  child_run(low_descriptors_body, at);
}

static void list_descriptors(void *context) {
  struct process *p = context;
  duralog_options o = small_pagecache();
  duralog *log = open_with(p->at->path, &o);
  append_numbers(log, 0, 2000);
  check_numbers(log, 2000);
  CHECK(is_open_below(p->at->root));
  CHECK_CALL(dup2(p->ready.in, 1));
  CHECK_CALL(execl("/bin/ls", "ls", "-l", "/proc/self/fd", (char *)NULL));
}

static void nothing_of_a_log_survives_an_exec(struct test_place *at) {
  struct process p;
  char text[4096];
  size_t size = 0;
  process_open(&p, at);
  pid_t child = child_start(list_descriptors, &p);
  close(p.ready.in);
  for (ssize_t n; (n = read(p.ready.out, text + size, sizeof text - size - 1));)
    size += (size_t)CHECK_CALL(n);
  text[size] = 0;
  CHECK_EQUAL(child_end(child), 0);
  CHECK(size > 0 && strstr(text, at->root) == NULL);
  close(p.ready.out);
  channel_close(&p.go);
}

static void an_exec_lets_go_of_the_lock(struct test_place *at) {
  struct process p;
  duralog_options o = small_pagecache();
  process_open(&p, at);
  CHECK_EQUAL(child_end(child_start(list_descriptors, &p)), 0);
  duralog *log = open_with(at->path, &o);
  check_numbers(log, 2000);
  close_log(log);
  process_close(&p);
}

static const struct test tests[] = {
    TEST(a_second_writer_in_the_process_is_busy),
    TEST(another_name_for_a_log_is_the_same_log),
    TEST(two_logs_share_nothing),
    TEST(a_second_writer_in_another_process_is_busy),
    TEST(after_the_writers_death_the_next_opens_at_once),
    TEST(a_child_that_lives_on_does_not_keep_the_lock),
    TEST_BOTH(without_a_control_file_a_looker_on_gets_a_snapshot),
    TEST_BOTH(a_snapshot_of_a_busy_writer_is_a_prefix),
    TEST_BOTH(snapshots_taken_while_appends_run_are_prefixes),
    TEST(what_is_opened_for_reading_cannot_write),
    TEST_BOTH(looking_writes_nothing),
    TEST(many_can_look_at_once),
    TEST(descriptors_0_to_2_are_left_to_others),
    TEST(nothing_of_a_log_survives_an_exec),
    TEST(an_exec_lets_go_of_the_lock),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
