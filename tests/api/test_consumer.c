/* SPDX-License-Identifier: MIT
 *
 * Consumers and their groups, in the writer's process and in others: polling,
 * committing, dying in between, taking over (I24 to I27, I12, I13), and
 * protection (I28).
 */
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "support.h"

enum { LIMIT_MS = 20 * 1000 };

/* ---- helpers ---- */

static duralog_consumer_options manual(void) {
  return (duralog_consumer_options){
      .struct_size = sizeof(duralog_consumer_options), .manual_commit = true};
}

static duralog_consumer *consumer_with(duralog *log, const char *group,
                                       const duralog_consumer_options *o) {
  duralog_consumer *c = NULL;
  CHECK_OK(duralog_consumer_open(log, group, o, &c));
  CHECK(c != NULL);
  return c;
}

static duralog_consumer *consumer_of(duralog *log) {
  duralog_consumer_options o = manual();
  return consumer_with(log, "g", &o);
}

static void consumer_end(duralog_consumer *c) {
  CHECK_OK(duralog_consumer_close(&c));
  CHECK(c == NULL);
}

static duralog_consumer_status status_of(duralog_consumer *c) {
  duralog_consumer_status s = {.struct_size = sizeof s};
  CHECK_OK(duralog_consumer_get(c, &s));
  return s;
}

static duralog_group group_of(duralog *log, const char *name) {
  duralog_group g = {.struct_size = sizeof g};
  CHECK_OK(duralog_describe_group(log, name, &g));
  return g;
}

/* Poll the numbers [from, to), in order, whatever the batches. */
static void poll_numbers(duralog_consumer *c, uint64_t from, uint64_t to) {
  while (from < to) {
    const duralog_record *records = NULL;
    size_t count = 0;
    CHECK_OK(
        duralog_poll(c, (size_t)(to - from), 0, LIMIT_MS, &records, &count));
    CHECK(count > 0);
    for (size_t i = 0; i < count; i++, from++)
      CHECK(records[i].offset == from && record_is(&records[i], from));
  }
}

static duralog_error poll_now(duralog_consumer *c) {
  const duralog_record *records;
  size_t count;
  return duralog_poll(c, 0, 0, 0, &records, &count);
}

static duralog *log_of(const struct test_place *at) {
  duralog_options o = small_options();
  o.copying_reads = at->copying;
  return open_with(at->path, &o);
}

static duralog *pagecache_log(const struct test_place *at) {
  duralog_options o = small_pagecache();
  return open_with(at->path, &o);
}

static const char *group_path(const struct test_place *at, const char *name) {
  char file[64];
  snprintf(file, sizeof file, "%s.group", name);
  return path_join(path_join(at->path, "groups"), file);
}

/* ---- a child that consumes until it is told or killed ---- */

struct member {
  const struct test_place *at;
  void (*body)(struct member *, duralog *);
  bool read_only, pagecache;
  duralog_level level;
  struct channel order, done;
  pid_t child;
};

static void member_main(void *context) {
  struct member *m = context;
  duralog_options o = small_options();
  o.read_only = m->read_only;
  o.durability.pagecache = m->pagecache;
  o.host_driven = NO_THREADS_AFTER_FORK != 0;
  duralog *log = open_with(m->at->path, &o);
  close(m->order.in);
  m->body(m, log);
  close_log(log);
}

static void member_begin(struct member *m) {
  channel_open(&m->order);
  channel_open(&m->done);
  m->child = child_start(member_main, m);
  channel_hear(&m->done);
}

static void member_end(struct member *m) {
  channel_tell(&m->order);
  CHECK_EQUAL(child_end(m->child), 0);
  channel_close(&m->order);
  channel_close(&m->done);
}

static void member_kill(struct member *m) {
  child_kill(m->child);
  channel_close(&m->order);
  channel_close(&m->done);
}

/* ---- polling ---- */

static void polls_give_every_record_once_and_in_order(struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 2000); /* over some segments */
  duralog_consumer *c = consumer_of(log);
  CHECK_EQUAL(status_of(c).lag_records, 2000);
  poll_numbers(c, 0, 2000);
  CHECK_IS(DURALOG_E_TIMEOUT, poll_now(c));
  duralog_consumer_status s = status_of(c);
  CHECK(s.position == 2000 && s.lag_records == 0);
  CHECK_EQUAL(s.committed, DURALOG_NO_OFFSET);
  consumer_end(c);
  close_log(log);
}

static void limits_of_a_poll_are_kept(struct test_place *at) {
  duralog *log = log_of(at);
  const duralog_record *records;
  size_t count;
  for (int i = 0; i < 1000; i++)
    append_text(log, "0123456789", DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_sync(log));
  duralog_consumer *c = consumer_of(log);
  CHECK_OK(duralog_poll(c, 7, 0, 0, &records, &count));
  CHECK_EQUAL(count, 7);
  CHECK_OK(duralog_poll(c, 100, 25, 0, &records, &count));
  CHECK_EQUAL(count, 3); /* the third one passes 25 bytes */
  CHECK_OK(duralog_poll(c, 0, 0, 0, &records, &count));
  CHECK_EQUAL(count, 500);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_poll(c, 1, 0, 0, NULL, &count));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_poll(c, 1, 0, 0, &records, NULL));
  consumer_end(c);
  close_log(log);
}

struct polling {
  duralog_consumer *consumer;
  duralog_error error;
  uint64_t offset;
};

static void *poll_and_wait(void *context) {
  struct polling *p = context;
  const duralog_record *records;
  size_t count;
  p->error = duralog_poll(p->consumer, 1, 0, LIMIT_MS, &records, &count);
  if (!p->error) p->offset = records[0].offset;
  return NULL;
}

static void a_poll_waits_for_a_record(struct test_place *at) {
  duralog *log = log_of(at);
  struct polling p = {.consumer = consumer_of(log), .offset = 99};
  pthread_t thread = thread_start(poll_and_wait, &p);
  append_numbers(log, 0, 1);
  thread_join(thread);
  CHECK_OK(p.error);
  CHECK_EQUAL(p.offset, 0);
  consumer_end(p.consumer);
  close_log(log);
}

static void another_thread_wakes_a_poll(struct test_place *at) {
  duralog *log = log_of(at);
  struct polling p = {.consumer = consumer_of(log)};
  for (int paused = 0; paused < 2; paused++) {
    CHECK_OK(duralog_consumer_pause(p.consumer, paused));
    for (int i = 0; i < 20; i++) {
      pthread_t thread = thread_start(poll_and_wait, &p);
      CHECK_OK(duralog_wakeup(p.consumer));
      thread_join(thread);
      CHECK_IS(DURALOG_E_WOKEN, p.error);
    }
  }
  CHECK_OK(duralog_consumer_pause(p.consumer, false));
  CHECK_OK(duralog_wakeup(p.consumer)); /* nobody polls: the next one */
  CHECK_OK(duralog_wakeup(p.consumer));
  CHECK_IS(DURALOG_E_WOKEN, poll_now(p.consumer));
  CHECK_IS(DURALOG_E_TIMEOUT, poll_now(p.consumer));
  consumer_end(p.consumer);
  close_log(log);
}

static void a_paused_consumer_gets_nothing_until_it_is_resumed(
    struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 3);
  duralog_consumer *c = consumer_of(log);
  CHECK_OK(duralog_consumer_pause(c, true));
  CHECK_IS(DURALOG_E_TIMEOUT, poll_now(c));
  CHECK(status_of(c).paused);
  CHECK_OK(duralog_consumer_pause(c, false));
  poll_numbers(c, 0, 3);
  consumer_end(c);
  close_log(log);
}

/* ---- auto commit ---- */

static void auto_commit_happens_at_the_next_poll_not_when_the_interval_ends(
    struct test_place *at) {
  duralog *log = log_of(at);
  duralog_consumer_options o = {.struct_size = sizeof o, .auto_commit_ms = 300};
  append_numbers(log, 0, 10);
  duralog_consumer *c = consumer_with(log, "g", &o);
  poll_numbers(c, 0, 4);
  clock_pass_ms(310);
  CHECK_EQUAL(group_of(log, "g").committed, DURALOG_NO_OFFSET);
  poll_numbers(c, 4, 6); /* commits what earlier polls gave: up to 4 */
  CHECK_EQUAL(group_of(log, "g").committed, 4);
  consumer_end(c); /* and closing the rest */
  CHECK_EQUAL(group_of(log, "g").committed, 6);
  close_log(log);
}

static void auto_commit_waits_for_five_seconds_by_default(
    struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 10);
  duralog_consumer *c = consumer_with(log, "g", NULL);
  poll_numbers(c, 0, 4);
  poll_numbers(c, 4, 8);
  CHECK_EQUAL(group_of(log, "g").committed, DURALOG_NO_OFFSET);
  consumer_end(c);
  CHECK_EQUAL(group_of(log, "g").committed, 8);
  close_log(log);
}

static void auto_commit_mid_batch(struct member *m, duralog *log) {
  duralog_consumer_options o = {.struct_size = sizeof o, .auto_commit_ms = 1};
  duralog_consumer *c = consumer_with(log, "g", &o);
  poll_numbers(c, 0, 40);
  clock_pass_ms(5);
  poll_numbers(c, 40, 70); /* 40 is committed; killed amid these */
  channel_tell(&m->done);
  channel_hear(&m->order);
}

static void auto_commit_killed_in_mid_batch_the_batch_comes_again(
    struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 100);
  struct member m = {
      .at = at, .body = auto_commit_mid_batch, .read_only = true};
  member_begin(&m);
  CHECK(group_of(log, "g").member_alive);
  member_kill(&m);
  duralog_consumer *c = consumer_of(log);
  CHECK_EQUAL(status_of(c).position, 40);
  poll_numbers(c, 40, 100); /* I26 */
  consumer_end(c);
  close_log(log);
}

/* ---- manual commit ---- */

static void commit_then_poll(struct member *m, duralog *log) {
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 10);
  CHECK_OK(duralog_commit(c, DURALOG_POLLED, m->level, "ten"));
  poll_numbers(c, 10, 30); /* processed, not committed */
  channel_tell(&m->done);
  channel_hear(&m->order);
}

static void killed_between_processing_and_commit_it_comes_again(
    struct test_place *at) {
  for (int level = DURALOG_LEVEL_WRITTEN; level <= DURALOG_LEVEL_DURABLE;
       level++) {
    struct member m = {.at = at,
                       .body = commit_then_poll,
                       .read_only = true,
                       .level = (duralog_level)level};
    duralog *log = log_of(at);
    if (watermarks_of(log).end == 0) append_numbers(log, 0, 50);
    member_begin(&m);
    member_kill(&m);
    /* A dead member's group is taken over at once, from the commit. */
    duralog_consumer *c = consumer_of(log);
    CHECK_EQUAL(status_of(c).committed, 10);
    CHECK(strcmp(group_of(log, "g").metadata, "ten") == 0);
    poll_numbers(c, 10, 50);
    consumer_end(c);
    CHECK_OK(duralog_delete_group(log, "g"));
    close_log(log);
  }
}

static void a_dead_members_group_is_taken_over_and_continues_from_the_commit(
    struct test_place *at) {
  struct member m = {.at = at,
                     .body = commit_then_poll,
                     .read_only = true,
                     .level = DURALOG_LEVEL_DURABLE};
  duralog *log = log_of(at);
  append_numbers(log, 0, 50);
  member_begin(&m);
  duralog_consumer *c = NULL;
  duralog_consumer_options o = manual();
  CHECK_IS(DURALOG_E_BUSY, duralog_consumer_open(log, "g", &o, &c));
  member_kill(&m);
  c = consumer_of(log); /* at once: nothing has to time out */
  CHECK_EQUAL(status_of(c).position, 10);
  poll_numbers(c, 10, 50);
  consumer_end(c);
  close_log(log);
}

static void commit_before_processing_is_at_most_once(struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 10);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 5);
  CHECK_OK(duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DEFAULT, NULL));
  consumer_end(c); /* before any of them was processed */
  c = consumer_of(log);
  poll_numbers(c, 5, 10); /* [0, 5) do not come again, as the header says */
  consumer_end(c);
  close_log(log);
}

static void only_what_was_consumed_can_be_committed(struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 20);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 10);
  CHECK_IS(DURALOG_E_RANGE, duralog_commit(c, 11, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK_OK(duralog_commit(c, 7, DURALOG_LEVEL_DEFAULT, "seven"));
  CHECK_EQUAL(status_of(c).committed, 7);
  CHECK_EQUAL(status_of(c).position, 10);
  /* I27: back only after a seek. */
  CHECK_IS(DURALOG_E_RANGE, duralog_commit(c, 6, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_commit(c, 8, (duralog_level)3, NULL));
  char longest[DURALOG_METADATA_MAX + 2];
  memset(longest, 'm', sizeof longest);
  longest[DURALOG_METADATA_MAX + 1] = 0;
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_commit(c, 8, DURALOG_LEVEL_DEFAULT, longest));
  CHECK_EQUAL(group_of(log, "g").committed, 7);
  CHECK(strcmp(group_of(log, "g").metadata, "seven") == 0);
  longest[DURALOG_METADATA_MAX] = 0;
  CHECK_OK(duralog_commit(c, 8, DURALOG_LEVEL_DURABLE, longest));
  CHECK(strcmp(group_of(log, "g").metadata, longest) == 0);
  CHECK_OK(duralog_commit_async(c, 9, DURALOG_LEVEL_DEFAULT, NULL, NULL, NULL));
  CHECK_OK(duralog_consumer_seek(c, DURALOG_SEEK_OFFSET, 3));
  CHECK_OK(duralog_commit(c, 3, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK_EQUAL(group_of(log, "g").committed, 3);
  poll_numbers(c, 3, 20);
  consumer_end(c);
  close_log(log);
}

static void a_durable_commit_makes_the_records_before_it_durable(
    struct test_place *at) {
  duralog *log = pagecache_log(at);
  append_numbers(log, 0, 20);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 10);
  CHECK_OK(duralog_commit(c, 5, DURALOG_LEVEL_DEFAULT, NULL)); /* written */
  CHECK(watermarks_of(log).durable < 5);
  CHECK_OK(duralog_commit(c, 10, DURALOG_LEVEL_DURABLE, NULL));
  CHECK(watermarks_of(log).durable >= 10);
  consumer_end(c);
  close_log(log);
}

struct committed {
  uint64_t offsets[64];
  duralog_error errors[64];
  size_t count;
};

static void note_commit(void *context, uint64_t offset, duralog_error error) {
  struct committed *n = context;
  n->offsets[n->count] = offset;
  n->errors[n->count++] = error;
}

static void asynchronous_commits_are_told_in_order_and_once(
    struct test_place *at) {
  duralog *log = pagecache_log(at);
  struct committed n = {.count = 0};
  append_numbers(log, 0, 60);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 50);
  for (uint64_t i = 1; i <= 40; i++) /* more than may be pending */
    CHECK_OK(duralog_commit_async(
        c, i, i % 3 ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN, NULL,
        note_commit, &n));
  CHECK(status_of(c).pending > 0 && n.count < 40);
  CHECK_IS(DURALOG_E_RANGE, duralog_commit_async(c, 39, DURALOG_LEVEL_DURABLE,
                                                 NULL, note_commit, &n));
  CHECK_OK(duralog_commit(c, 41, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_EQUAL(n.count, 40);
  for (uint64_t i = 0; i < 40; i++) {
    CHECK_EQUAL(n.offsets[i], i + 1);
    CHECK_OK(n.errors[i]);
  }
  CHECK(watermarks_of(log).durable >= 40);
  CHECK_OK(duralog_commit_async(c, 45, DURALOG_LEVEL_DURABLE, "last",
                                note_commit, &n));
  poll_numbers(c, 50, 60);
  CHECK_IS(DURALOG_E_TIMEOUT, poll_now(c)); /* nothing to do but to finish */
  CHECK_EQUAL(n.count, 41);
  CHECK_OK(duralog_commit_async(c, 50, DURALOG_LEVEL_DURABLE, "end",
                                note_commit, &n));
  CHECK_OK(duralog_consumer_seek(c, DURALOG_SEEK_OFFSET, 48)); /* still 50 */
  consumer_end(c);
  CHECK_EQUAL(n.count, 42);
  duralog_group g = group_of(log, "g");
  CHECK(g.committed == 50 && strcmp(g.metadata, "end") == 0);
  close_log(log);
}

/* ---- membership ---- */

static void a_group_has_one_member(struct test_place *at) {
  duralog *log = log_of(at);
  duralog_consumer_options o = manual();
  duralog_consumer *c = consumer_of(log), *second = NULL;
  CHECK_IS(DURALOG_E_BUSY, duralog_consumer_open(log, "g", &o, &second));
  o.timeout_ms = 30;
  uint64_t began = clock_now_ms();
  CHECK_IS(DURALOG_E_BUSY, duralog_consumer_open(log, "g", &o, &second));
  CHECK(clock_now_ms() - began >= 29 && second == NULL);
  CHECK_IS(DURALOG_E_BUSY, duralog_delete_group(log, "g"));
  CHECK_IS(DURALOG_E_BUSY, duralog_clone_group(log, "g", "h"));
  CHECK_IS(DURALOG_E_BUSY, duralog_protect_group(log, "g", true));
  CHECK_IS(DURALOG_E_BUSY,
           duralog_reset_group(log, "g", DURALOG_RESET_EARLIEST, 0, NULL));
  o.timeout_ms = 0;
  duralog_consumer *other = consumer_with(log, "h", &o);
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
  consumer_end(other);
  consumer_end(c);
  consumer_end(consumer_of(log));
  close_log(log);
}

struct race {
  duralog *log;
  _Atomic uint64_t *inside, *turns;
};

static struct race *shared_race; /* inherited by the child */

static void *race_for_the_group(void *context) {
  struct race *r = context;
  duralog_consumer_options o = manual();
  o.timeout_ms = LIMIT_MS;
  for (int i = 0; i < 5; i++) {
    const duralog_record *records;
    size_t count;
    duralog_consumer *c = consumer_with(r->log, "g", &o);
    CHECK_EQUAL(atomic_fetch_add(r->inside, 1), 0);
    uint64_t from = status_of(c).position;
    CHECK_OK(duralog_poll(c, 1, 0, 0, &records, &count));
    CHECK_EQUAL(records[0].offset, from);
    CHECK_OK(duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_WRITTEN, NULL));
    atomic_fetch_add(r->turns, 1);
    atomic_fetch_sub(r->inside, 1);
    consumer_end(c);
  }
  return NULL;
}

static void race_in_child(struct member *m, duralog *log) {
  struct race *r = shared_race;
  channel_tell(&m->done);
  struct race mine = {log, r->inside, r->turns};
  race_for_the_group(&mine);
  channel_hear(&m->order);
}

static void two_members_racing_take_turns_and_lose_nothing(
    struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 100);
  _Atomic uint64_t *shared = shared_memory(4096);
  struct race here = {log, &shared[0], &shared[1]};
  shared_race = &here;
  struct member m = {.at = at, .body = race_in_child, .read_only = true};
  member_begin(&m);
  pthread_t thread = thread_start(race_for_the_group, &here);
  race_for_the_group(&here);
  thread_join(thread);
  member_end(&m);
  CHECK_EQUAL(atomic_load(&shared[1]), 15);
  CHECK_EQUAL(group_of(log, "g").committed, 15); /* each took the next one */
  shared_memory_free(shared, 4096);
  close_log(log);
}

static void in_forked_child(void *context) {
  duralog_consumer *c = context, *copy = c;
  const duralog_record *records;
  size_t count;
  duralog_consumer_status s = {.struct_size = sizeof s};
  CHECK_IS(DURALOG_E_FORKED, duralog_poll(c, 1, 0, 0, &records, &count));
  CHECK_IS(DURALOG_E_FORKED, duralog_commit(c, 5, DURALOG_LEVEL_DEFAULT, NULL));
  CHECK_IS(DURALOG_E_FORKED,
           duralog_commit_async(c, 5, DURALOG_LEVEL_DEFAULT, NULL, NULL, NULL));
  CHECK_IS(DURALOG_E_FORKED, duralog_consumer_seek(c, DURALOG_SEEK_START, 0));
  CHECK_IS(DURALOG_E_FORKED, duralog_consumer_pause(c, true));
  CHECK_IS(DURALOG_E_FORKED, duralog_consumer_get(c, &s));
  CHECK_IS(DURALOG_E_FORKED, duralog_wakeup(c));
  CHECK_OK(duralog_consumer_close(&copy));
}

static void a_forked_child_can_neither_commit_nor_leave_for_its_parent(
    struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 10);
  duralog_consumer *c = consumer_of(log), *second = NULL;
  poll_numbers(c, 0, 5);
  child_run(in_forked_child, c); /* I13 */
  CHECK_EQUAL(group_of(log, "g").committed, DURALOG_NO_OFFSET);
  CHECK(group_of(log, "g").member_alive);
  CHECK_IS(DURALOG_E_BUSY, duralog_consumer_open(log, "g", NULL, &second));
  CHECK_OK(duralog_commit(c, 5, DURALOG_LEVEL_DEFAULT, NULL));
  consumer_end(c);
  close_log(log);
}

/* ---- other processes and the writer ---- */

static void commit_durable_here(struct member *m, duralog *log) {
  duralog_consumer_options o = manual();
  o.read_level = DURALOG_LEVEL_WRITTEN;
  duralog_consumer *c = consumer_with(log, "g", &o);
  poll_numbers(c, 0, 20);
  CHECK_OK(duralog_commit(c, 20, DURALOG_LEVEL_DURABLE, NULL));
  channel_tell(&m->done);
  channel_hear(&m->order);
  consumer_end(c);
}

static void a_durable_commit_in_another_process_has_the_writer_sync(
    struct test_place *at) {
  duralog *log = pagecache_log(at);
  append_numbers(log, 0, 20);
  CHECK(watermarks_of(log).durable < 20);
  struct member m = {.at = at, .body = commit_durable_here, .read_only = true};
  member_begin(&m); /* which waits for the commit */
  CHECK_EQUAL(watermarks_of(log).durable, 20);
  CHECK_EQUAL(group_of(log, "g").committed, 20);
  member_end(&m);
  close_log(log);
}

static void commit_by_default(struct member *m, duralog *log) {
  duralog_consumer_options o = manual();
  o.read_level = DURALOG_LEVEL_WRITTEN;
  duralog_consumer *c = consumer_with(log, "g", &o);
  poll_numbers(c, 0, 20);
  CHECK_OK(duralog_commit(c, 20, DURALOG_LEVEL_DEFAULT, NULL));
  channel_tell(&m->done);
  channel_hear(&m->order);
  consumer_end(c);
}

static void by_default_a_commit_beside_a_pagecache_writer_syncs_nothing(
    struct test_place *at) {
  duralog *log = pagecache_log(at);
  append_numbers(log, 0, 20);
  uint64_t durable = watermarks_of(log).durable;
  struct member m = {.at = at, .body = commit_by_default, .read_only = true};
  member_begin(&m); /* which waits for the commit */
  CHECK_EQUAL(watermarks_of(log).durable, durable); /* nothing was synced */
  CHECK_EQUAL(group_of(log, "g").committed, 20);
  member_end(&m);
  close_log(log);
}

static void append_and_stay(struct member *m, duralog *log) {
  append_numbers(log, 0, 10);
  CHECK_OK(duralog_sync(log));
  append_numbers(log, 10, 10);
  channel_tell(&m->done);
  channel_hear(&m->order);
}

static void a_durable_commit_without_a_live_writer_fails_and_changes_nothing(
    struct test_place *at) {
  struct member m = {.at = at, .body = append_and_stay, .pagecache = true};
  member_begin(&m);
  duralog_options o = small_options();
  o.read_only = true;
  o.read_level = DURALOG_LEVEL_WRITTEN;
  duralog *log = open_with(at->path, &o);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 20);
  member_kill(&m);
  for (int i = 0; i < 2; i++) { /* each time, not once for each writer */
    CHECK_IS(DURALOG_E_NO_WRITER,
             duralog_commit(c, 20, DURALOG_LEVEL_DURABLE, NULL));
    CHECK_EQUAL(group_of(log, "g").committed, DURALOG_NO_OFFSET);
  }
  CHECK_OK(duralog_commit(c, 10, DURALOG_LEVEL_DURABLE, NULL)); /* it is so */
  CHECK_OK(duralog_commit(c, 20, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_EQUAL(group_of(log, "g").committed, 20);
  consumer_end(c);
  close_log(log);
}

static void a_consumer_goes_along_with_the_writer(struct member *m,
                                                  duralog *log) {
  duralog_consumer *c = consumer_of(log);
  channel_tell(&m->done);
  poll_numbers(c, 0, 300);
  CHECK_OK(duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DURABLE, NULL));
  consumer_end(c);
  channel_hear(&m->order);
}

static void a_consumer_in_another_process_gets_records_as_they_come(
    struct test_place *at) {
  duralog *log = log_of(at);
  struct member m = {.at = at,
                     .body = a_consumer_goes_along_with_the_writer,
                     .read_only = true};
  append_numbers(log, 0, 100);
  member_begin(&m);
  append_numbers(log, 100, 200);
  member_end(&m);
  CHECK_EQUAL(group_of(log, "g").committed, 300);
  close_log(log);
}

/* ---- killed at any time ---- */

struct progress {
  _Atomic uint64_t committing, committed; /* begun; returned */
  _Atomic uint64_t allowed; /* so that no life takes what is left for others */
};

static struct progress *shared_progress; /* inherited by the child */

static void commit_on_and_on(struct member *m, duralog *log) {
  duralog_consumer *c = consumer_of(log);
  channel_tell(&m->done);
  for (uint64_t i = status_of(c).position; i < 10000; i++) {
    while (i >= atomic_load(&shared_progress->allowed)) sched_yield();
    poll_numbers(c, i, i + 1);
    atomic_store(&shared_progress->committing, i + 1);
    CHECK_OK(duralog_commit(
        c, i + 1, i % 7 ? DURALOG_LEVEL_WRITTEN : DURALOG_LEVEL_DURABLE, NULL));
    atomic_store(&shared_progress->committed, i + 1);
  }
  channel_hear(&m->order);
}

static void killed_at_any_time_every_commit_that_returned_is_there(
    struct test_place *at) {
  duralog *log = log_of(at);
  uint64_t random = TEST_SEED, from = 0;
  shared_progress = shared_memory(sizeof *shared_progress);
  append_numbers(log, 0, 10000);
  for (int i = 0; i < (SANITIZED ? 5 : 40); i++) {
    struct member m = {.at = at, .body = commit_on_and_on, .read_only = true};
    uint64_t until = from + 1 + random_below(&random, 100);
    atomic_store(&shared_progress->allowed, until + 100);
    member_begin(&m);
    while (atomic_load(&shared_progress->committed) < until) sched_yield();
    member_kill(&m);
    duralog_group g = group_of(log, "g");
    CHECK(!g.member_alive);
    CHECK(g.committed >= atomic_load(&shared_progress->committed)); /* I24 */
    CHECK(g.committed <= atomic_load(&shared_progress->committing));
    from = g.committed;
  }
  shared_memory_free(shared_progress, sizeof *shared_progress);
  close_log(log);
}

/* ---- where nothing was committed ---- */

static void a_group_without_an_offset_begins_where_it_was_asked_to(
    struct test_place *at) {
  duralog *log = log_of(at);
  duralog_consumer_options o = manual();
  duralog_consumer *c = NULL;
  append_numbers(log, 0, 10);
  o.must_exist = true;
  CHECK_IS(DURALOG_E_NOT_FOUND, duralog_consumer_open(log, "e", &o, &c));
  o.must_exist = false;
  o.begin = DURALOG_BEGIN_ERROR;
  CHECK_IS(DURALOG_E_RANGE, duralog_consumer_open(log, "e", &o, &c));
  o.begin = DURALOG_BEGIN_LATEST;
  c = consumer_with(log, "l", &o);
  CHECK_EQUAL(status_of(c).position, 10);
  consumer_end(c);
  append_numbers(log, 10, 5);
  c = consumer_with(log, "l", &o); /* it was decided once */
  poll_numbers(c, 10, 15);
  consumer_end(c);
  o.begin = DURALOG_BEGIN_EARLIEST;
  c = consumer_with(log, "e", &o);
  poll_numbers(c, 0, 15);
  consumer_end(c);
  close_log(log);
}

static void a_clean_reopen_reports_nothing(struct test_place *at) {
  for (uint64_t i = 0; i < 4; i++) {
    duralog *log = log_of(at);
    duralog_consumer *c = consumer_of(log);
    duralog_consumer_status s = status_of(c);
    CHECK(!s.diverged && s.divergences == 0);
    CHECK_EQUAL(s.position, i * 10);
    append_numbers(log, i * 10, 10);
    poll_numbers(c, i * 10, i * 10 + 10);
    CHECK_OK(duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DEFAULT, NULL));
    consumer_end(c);
    close_log(log);
  }
}

/* ---- groups ---- */

static bool count_group(void *context, const char *name) {
  unsigned *seen = context;
  if (strcmp(name, "a") == 0) *seen += 1;
  if (strcmp(name, "b") == 0) *seen += 10;
  return true;
}

static bool stop_at_once(void *context, const char *name) {
  (void)name;
  ++*(unsigned *)context;
  return false;
}

static void groups_are_listed_described_cloned_and_deleted(
    struct test_place *at) {
  duralog *log = log_of(at);
  duralog_consumer_options o = manual();
  unsigned seen = 0;
  CHECK_OK(duralog_list_groups(log, count_group, &seen));
  CHECK_EQUAL(seen, 0);
  append_numbers(log, 0, 1000);
  duralog_consumer *c = consumer_with(log, "a", &o);
  duralog_group g = group_of(log, "a");
  CHECK(g.committed == DURALOG_NO_OFFSET && g.lag_records == 1000);
  CHECK(g.lag_bytes > 1000 * 24 && g.lag_bytes < 1000 * 24 * 20);
  poll_numbers(c, 0, 999);
  CHECK_OK(duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DEFAULT, "m"));
  g = group_of(log, "a");
  CHECK(g.member_alive && g.committed == 999 && g.end == 1000);
  CHECK(g.lag_records == 1 && g.lag_bytes >= 24 && g.lag_bytes < 400);
  CHECK(g.epoch == watermarks_of(log).epoch && g.time_ms > 0);
  consumer_end(c);
  CHECK(!group_of(log, "a").member_alive);
  CHECK_OK(duralog_clone_group(log, "a", "b"));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_clone_group(log, "a", "b"));
  CHECK_IS(DURALOG_E_NOT_FOUND, duralog_clone_group(log, "x", "y"));
  g = group_of(log, "b");
  CHECK(g.committed == 999 && strcmp(g.metadata, "m") == 0);
  CHECK_OK(duralog_list_groups(log, count_group, &seen));
  CHECK_EQUAL(seen, 11);
  seen = 0;
  CHECK_OK(duralog_list_groups(log, stop_at_once, &seen));
  CHECK_EQUAL(seen, 1);
  CHECK_OK(duralog_delete_group(log, "a"));
  CHECK_IS(DURALOG_E_NOT_FOUND, duralog_delete_group(log, "a"));
  CHECK_IS(DURALOG_E_NOT_FOUND, duralog_describe_group(log, "a", &g));
  c = consumer_with(log, "b", &o);
  poll_numbers(c, 999, 1000);
  consumer_end(c);
  close_log(log);
}

/* By the frames' places: all bytes from the first record's to behind the last,
 * but for the header pages in between. */
static void the_lag_in_bytes_is_that_of_the_files(struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 20000);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 10);
  CHECK_OK(duralog_commit(c, 10, DURALOG_LEVEL_WRITTEN, NULL));
  consumer_end(c);
  struct test_frames frames = frames_load(at->path);
  struct test_frame from = *frame_of(&frames, 10),
                    to = *frame_of(&frames, 19999);
  frames_free(&frames);
  duralog_segment s = {.struct_size = sizeof s};
  CHECK_OK(duralog_get_segment(log, 0, &s));
  CHECK(to.segment > from.segment + 2);
  uint64_t expected = (to.segment - from.segment) * (s.bytes - 4096) +
                      to.position + (to.bytes + 7) / 8 * 8 - from.position;
  CHECK_EQUAL(group_of(log, "g").lag_bytes, expected);
  close_log(log);
}

static uint64_t reset(duralog *log, duralog_reset how, int64_t value) {
  uint64_t offset = 12345;
  CHECK_OK(duralog_reset_group(log, "g", how, value, &offset));
  CHECK_EQUAL(group_of(log, "g").committed, offset);
  return offset;
}

static void a_reset_goes_where_it_is_told(struct test_place *at) {
  duralog *log = log_of(at);
  for (int64_t i = 0; i < 20; i++) {
    duralog_entry e = {.data = "x",
                       .size = 1,
                       .timestamp_ms = 1000 + i * 10,
                       .has_timestamp = true};
    CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_DEFAULT, NULL));
  }
  CHECK_IS(DURALOG_E_NOT_FOUND,
           duralog_reset_group(log, "g", DURALOG_RESET_LATEST, 0, NULL));
  consumer_end(consumer_of(log));
  CHECK_EQUAL(reset(log, DURALOG_RESET_SHIFT, 3), 3);
  CHECK_EQUAL(reset(log, DURALOG_RESET_LATEST, 0), 20);
  CHECK_EQUAL(reset(log, DURALOG_RESET_SHIFT, -5), 15);
  CHECK_EQUAL(reset(log, DURALOG_RESET_SHIFT, INT64_MIN), 0);
  CHECK_EQUAL(reset(log, DURALOG_RESET_SHIFT, INT64_MAX), 20);
  CHECK_EQUAL(reset(log, DURALOG_RESET_TIME, 1051), 6);
  CHECK_EQUAL(reset(log, DURALOG_RESET_TIME, 99999), 20);
  CHECK_EQUAL(reset(log, DURALOG_RESET_OFFSET, 7), 7);
  CHECK_IS(DURALOG_E_RANGE,
           duralog_reset_group(log, "g", DURALOG_RESET_OFFSET, 21, NULL));
  CHECK_IS(DURALOG_E_RANGE,
           duralog_reset_group(log, "g", DURALOG_RESET_OFFSET, -1, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_reset_group(log, "g", (duralog_reset)9, 0, NULL));
  CHECK_EQUAL(group_of(log, "g").committed, 7);
  duralog_consumer *c = consumer_of(log);
  CHECK(status_of(c).position == 7 && !status_of(c).diverged);
  consumer_end(c);
  close_log(log);
}

static uint64_t needed(duralog *log) {
  uint64_t offset = 12345;
  CHECK_OK(duralog_needed_from(log, &offset));
  return offset;
}

static void a_protected_group_holds_what_it_has_yet_to_read(
    struct test_place *at) {
  duralog *log = log_of(at);
  duralog_consumer_options o = manual();
  append_numbers(log, 0, 100);
  CHECK_EQUAL(needed(log), 100); /* nobody needs anything */
  consumer_end(consumer_with(log, "free", &o));
  CHECK_EQUAL(needed(log), 100);
  o.protect = true;
  duralog_consumer *c = consumer_with(log, "held", &o);
  CHECK(group_of(log, "held").is_protected);
  CHECK_EQUAL(needed(log), 0);
  poll_numbers(c, 0, 50);
  CHECK_OK(duralog_commit(c, 30, DURALOG_LEVEL_DURABLE, NULL));
  CHECK_OK(duralog_commit(c, 40, DURALOG_LEVEL_DURABLE, NULL));
  CHECK_EQUAL(needed(log), 30); /* I28: an older slot may come back */
  CHECK_OK(duralog_commit(c, 50, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_EQUAL(needed(log), 40);
  consumer_end(c);
  CHECK_OK(duralog_clone_group(log, "held", "copy"));
  CHECK_OK(duralog_delete_group(log, "held"));
  CHECK_EQUAL(needed(log), 50);
  CHECK_OK(duralog_protect_group(log, "copy", false));
  CHECK_EQUAL(needed(log), 100);
  CHECK_OK(duralog_protect_group(log, "copy", true));
  CHECK_EQUAL(needed(log), 50);
  file_zero(group_path(at, "free"), 0, 8192);
  CHECK_EQUAL(needed(log), 0); /* it might have been protected */
  close_log(log);
}

static void a_damaged_group_file_is_reported_and_hurts_one_group(
    struct test_place *at) {
  duralog *log = log_of(at);
  duralog_consumer_options o = manual();
  append_numbers(log, 0, 20);
  for (int i = 0; i < 2; i++) {
    duralog_consumer *c = consumer_with(log, i ? "bad" : "good", &o);
    poll_numbers(c, 0, 10);
    CHECK_OK(duralog_commit(c, 5, DURALOG_LEVEL_DURABLE, NULL));
    CHECK_OK(duralog_commit(c, 10, DURALOG_LEVEL_DURABLE, NULL));
    consumer_end(c);
  }
  duralog_consumer *c = NULL;
  duralog_group g = {.struct_size = sizeof g};
  /* One slot is what a crash can leave: the other one is older. */
  file_flip(group_path(at, "bad"), 40);
  file_flip(group_path(at, "bad"), 4096 + 40);
  uint64_t digest = tree_digest(at->path, true);
  CHECK_IS(DURALOG_E_CORRUPT, duralog_consumer_open(log, "bad", &o, &c));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_describe_group(log, "bad", &g));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_clone_group(log, "bad", "other"));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_protect_group(log, "bad", true));
  CHECK_IS(DURALOG_E_CORRUPT,
           duralog_reset_group(log, "bad", DURALOG_RESET_SHIFT, 1, NULL));
  CHECK_UNCHANGED(digest, at->path);
  c = consumer_with(log, "good", &o);
  poll_numbers(c, 10, 20);
  consumer_end(c);
  CHECK_OK(duralog_reset_group(log, "bad", DURALOG_RESET_OFFSET, 8, NULL));
  c = consumer_with(log, "bad", &o);
  poll_numbers(c, 8, 20);
  consumer_end(c);
  file_cut(group_path(at, "bad"), 0);
  CHECK_IS(DURALOG_E_CORRUPT, duralog_consumer_open(log, "bad", &o, &c));
  CHECK_OK(duralog_delete_group(log, "bad"));
  /* The file of another group, or of another log, is damage. */
  file_copy(group_path(at, "good"), group_path(at, "bad"));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_consumer_open(log, "bad", &o, &c));
  close_log(log);
}

/* What was damaged may read well again, and was the newer one. And whether the
 * group was protected nobody knows (I28). */
static void a_group_made_anew_stays_as_it_was_made(struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 20);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 20);
  for (uint64_t i = 10; i < 20; i++)
    CHECK_OK(
        duralog_commit(/* into all slots */
                       c, i,
                       i % 3 ? DURALOG_LEVEL_WRITTEN : DURALOG_LEVEL_DURABLE,
                       NULL));
  consumer_end(c);
  for (int slot = 0; slot < 3; slot++)
    file_flip(group_path(at, "g"), (uint64_t)slot * 4096 + 40);
  CHECK_OK(duralog_reset_group(log, "g", DURALOG_RESET_OFFSET, 3, NULL));
  CHECK(group_of(log, "g").is_protected);
  for (int slot = 0; slot < 3; slot++) {
    file_flip(group_path(at, "g"), (uint64_t)slot * 4096 + 40);
    duralog_group g = group_of(log, "g");
    CHECK(g.committed == 3 || g.committed == DURALOG_NO_OFFSET);
    file_flip(group_path(at, "g"), (uint64_t)slot * 4096 + 40);
  }
  close_log(log);
}

static void one_torn_slot_leaves_the_commit_before_it(struct test_place *at) {
  duralog *log = log_of(at);
  append_numbers(log, 0, 20);
  duralog_consumer *c = consumer_of(log);
  poll_numbers(c, 0, 20);
  CHECK_OK(duralog_commit(c, 5, DURALOG_LEVEL_DURABLE, NULL)); /* slot 1 */
  for (uint64_t i = 6; i < 10; i++) /* slots 0 and 2 by turns */
    CHECK_OK(duralog_commit(c, i, DURALOG_LEVEL_WRITTEN, NULL));
  consumer_end(c);
  CHECK_EQUAL(group_of(log, "g").committed, 9);
  file_flip(group_path(at, "g"), 8192 + 40);
  CHECK_EQUAL(group_of(log, "g").committed, 8);
  file_flip(group_path(at, "g"), 40);
  CHECK_EQUAL(group_of(log, "g").committed, 5); /* I24: the durable one */
  close_log(log);
}

static void bad_names_and_options_are_refused(struct test_place *at) {
  static const char *const bad[] = {NULL,  "",    "a/b", "..\n", "\xc3\xa4",
                                    "a b", "a:b", "~",   NULL};
  duralog *log = log_of(at);
  duralog_consumer *c = NULL;
  char longest[DURALOG_GROUP_NAME_MAX + 2];
  memset(longest, 'n', sizeof longest);
  longest[DURALOG_GROUP_NAME_MAX + 1] = 0;
  duralog_consumer_options o = manual();
  for (size_t i = 0; i < COUNT_OF(bad); i++)
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_consumer_open(log, bad[i], &o, &c));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_consumer_open(log, longest, &o, &c));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_delete_group(log, "a/../b"));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_consumer_open(log, "g", &o, NULL));
  o.struct_size--;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_consumer_open(log, "g", &o, &c));
  o = manual();
  o.begin = (duralog_begin)3;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_consumer_open(log, "g", &o, &c));
  CHECK_IS(DURALOG_E_CLOSED, duralog_consumer_open(NULL, "g", NULL, &c));
  CHECK_IS(DURALOG_E_CLOSED, duralog_consumer_close(&c));
  CHECK(!file_exists(path_join(at->path, "groups")));
  longest[DURALOG_GROUP_NAME_MAX] = 0;
  o = manual();
  static const char *const good[] = {".", "..", "A-Z_0.9", "lock", "new.tmp"};
  for (size_t i = 0; i < COUNT_OF(good); i++)
    consumer_end(consumer_with(log, good[i], &o));
  consumer_end(consumer_with(log, longest, &o));
  close_log(log);
}

int main(int argc, char **argv) {
  const struct test tests[] = {
      TEST_BOTH(polls_give_every_record_once_and_in_order),
      TEST(limits_of_a_poll_are_kept),
      TEST(a_poll_waits_for_a_record),
      TEST(another_thread_wakes_a_poll),
      TEST(a_paused_consumer_gets_nothing_until_it_is_resumed),
      TEST(auto_commit_happens_at_the_next_poll_not_when_the_interval_ends),
      TEST(auto_commit_waits_for_five_seconds_by_default),
      TEST(auto_commit_killed_in_mid_batch_the_batch_comes_again),
      TEST(killed_between_processing_and_commit_it_comes_again),
      TEST(a_dead_members_group_is_taken_over_and_continues_from_the_commit),
      TEST(commit_before_processing_is_at_most_once),
      TEST(only_what_was_consumed_can_be_committed),
      TEST(a_durable_commit_makes_the_records_before_it_durable),
      TEST(asynchronous_commits_are_told_in_order_and_once),
      TEST(a_group_has_one_member),
      TEST(two_members_racing_take_turns_and_lose_nothing),
      TEST(a_forked_child_can_neither_commit_nor_leave_for_its_parent),
      TEST(a_durable_commit_in_another_process_has_the_writer_sync),
      TEST(by_default_a_commit_beside_a_pagecache_writer_syncs_nothing),
      TEST(a_durable_commit_without_a_live_writer_fails_and_changes_nothing),
      TEST(a_consumer_in_another_process_gets_records_as_they_come),
      TEST(killed_at_any_time_every_commit_that_returned_is_there),
      TEST(a_group_without_an_offset_begins_where_it_was_asked_to),
      TEST(a_clean_reopen_reports_nothing),
      TEST(groups_are_listed_described_cloned_and_deleted),
      TEST(the_lag_in_bytes_is_that_of_the_files),
      TEST(a_reset_goes_where_it_is_told),
      TEST(a_protected_group_holds_what_it_has_yet_to_read),
      TEST(a_damaged_group_file_is_reported_and_hurts_one_group),
      TEST(a_group_made_anew_stays_as_it_was_made),
      TEST(one_torn_slot_leaves_the_commit_before_it),
      TEST(bad_names_and_options_are_refused),
  };
  return TEST_MAIN(tests);
}
