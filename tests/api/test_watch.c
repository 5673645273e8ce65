/* SPDX-License-Identifier: MIT
 *
 * Watches in a host's own poll and epoll: level and edge, no lost wake-up
 * (I31), beside a writer in another process and behind its death, in forked
 * children, without descriptors.
 *
 * Whoever is not woken within the limit counts a loss, and the count must be 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

#include "support.h"

enum { LIMIT_MS = 20 * 1000 };

static duralog_watch *watch_of(duralog *log, duralog_watched what) {
  duralog_watch *watch = NULL;
  CHECK_OK(duralog_watch_open(log, what, &watch));
  CHECK(watch != NULL);
  return watch;
}

static uint64_t take(duralog_watch *watch) {
  uint64_t value;
  CHECK_OK(duralog_watch_take(watch, &value));
  return value;
}

static bool readable_within(const duralog_watch *watch, int ms) {
  struct pollfd p = {.fd = duralog_watch_descriptor(watch), .events = POLLIN};
  int n = poll(&p, 1, ms);
  CHECK(n >= 0);
  return n > 0 && (p.revents & POLLIN);
}

static bool readable(const duralog_watch *watch) {
  return readable_within(watch, 0);
}

static void epoll_watch(int epoll, const duralog_watch *watch, uint32_t more) {
  struct epoll_event e = {.events = EPOLLIN | more};
  e.data.fd = duralog_watch_descriptor(watch);
  CHECK_CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, e.data.fd, &e));
}

static int epoll_count(int epoll, int ms) {
  struct epoll_event e[8];
  return CHECK_CALL(epoll_wait(epoll, e, COUNT_OF(e), ms));
}

static duralog *open_host_driven(const struct test_place *at) {
  duralog_options o = small_pagecache();
  o.host_driven = true;
  return open_with(at->path, &o);
}

/* ---- level and edge ---- */

static void it_is_a_level_in_poll_select_and_epoll(struct test_place *at) {
  duralog *log = open_host_driven(at);
  duralog_watch *watch = watch_of(log, DURALOG_WATCH_END);
  int fd = duralog_watch_descriptor(watch), epoll = epoll_create1(0);
  struct timeval at_once = {0};
  fd_set set;
  epoll_watch(epoll, watch, 0);
  for (uint64_t i = 0; i < 3; i++) {
    for (int again = 0; again < 3; again++) {
      CHECK(readable(watch)); /* at first, and behind each append */
      CHECK_EQUAL(epoll_count(epoll, 0), 1);
    }
    FD_ZERO(&set);
    FD_SET(fd, &set);
    CHECK_EQUAL(select(fd + 1, &set, NULL, NULL, &at_once), 1);
    CHECK_EQUAL(take(watch), i);
    CHECK(!readable(watch));
    CHECK_EQUAL(epoll_count(epoll, 0), 0);
    append_numbers(log, i, 1);
  }
  close(epoll);
  CHECK_OK(duralog_watch_close(&watch));
  close_log(log);
}

static void each_take_that_is_outdated_is_a_new_edge(struct test_place *at) {
  duralog *log = open_host_driven(at);
  duralog_watch *watch = watch_of(log, DURALOG_WATCH_END);
  int epoll = epoll_create1(0);
  epoll_watch(epoll, watch, EPOLLET);
  CHECK_EQUAL(epoll_count(epoll, 0), 1);
  CHECK_EQUAL(epoll_count(epoll, 0), 0);
  for (uint64_t i = 0; i < 100; i++) {
    CHECK_EQUAL(take(watch), i);
    append_numbers(log, i, 1);
    CHECK_EQUAL(epoll_count(epoll, 0), 1);
    CHECK_EQUAL(epoll_count(epoll, 0), 0);
  }
  close(epoll);
  CHECK_OK(duralog_watch_close(&watch));
  close_log(log);
}

static void a_due_tick_is_an_edge_too(struct test_place *at) {
  duralog_options o = small_options();
  o.host_driven = true;
  o.durability.sync_interval_ms = 20;
  duralog *log = open_with(at->path, &o);
  duralog_watch *watch = watch_of(log, DURALOG_WATCH_TICK);
  int epoll = epoll_create1(0);
  epoll_watch(epoll, watch, EPOLLET);
  for (uint64_t i = 0; i < 5; i++) {
    duralog_entry e = {.data = "x", .size = 1};
    CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
    while (watermarks_of(log).durable <= i) {
      CHECK_EQUAL(epoll_count(epoll, LIMIT_MS), 1);
      CHECK_OK(duralog_tick(log));
      take(watch);
    }
  }
  close(epoll);
  CHECK_OK(duralog_watch_close(&watch));
  close_log(log);
}

/* ---- no wake-up is lost ---- */

enum { TAKERS = 8, APPENDERS = 2 };

struct crowd {
  duralog *log, *answers;
  duralog_watched what;
  uint64_t rounds, total;
  _Atomic uint64_t lost, woken, in_vain;
  _Atomic uint32_t number;
};

/* One that sleeps until its watch gives more than before: some by level, some
 * by edge, some in poll. */
struct sleeper {
  struct crowd *crowd;
  duralog_watch *watch;
  int epoll; /* -1: it polls */
  uint64_t taken;
};

static void sleeper_begin(struct sleeper *s, struct crowd *c, duralog *log,
                          duralog_watched what, uint32_t number) {
  *s = (struct sleeper){.crowd = c, .watch = watch_of(log, what), .epoll = -1};
  if (number % 3 == 2) return;
  s->epoll = CHECK_CALL(epoll_create1(EPOLL_CLOEXEC));
  epoll_watch(s->epoll, s->watch, number % 3 ? EPOLLET : 0);
}

static void sleeper_end(struct sleeper *s) {
  if (s->epoll >= 0) close(s->epoll);
  CHECK_OK(duralog_watch_close(&s->watch));
}

static void sleep_and_take(struct sleeper *s) {
  bool woken = s->epoll >= 0 ? epoll_count(s->epoll, LIMIT_MS) == 1
                             : readable_within(s->watch, LIMIT_MS);
  atomic_fetch_add(woken ? &s->crowd->woken : &s->crowd->lost, 1);
  uint64_t before = s->taken;
  s->taken = take(s->watch);
  CHECK(s->taken >= before);
  if (s->taken == before) atomic_fetch_add(&s->crowd->in_vain, 1);
}

static void *answer_each(void *context) {
  struct crowd *c = context;
  struct sleeper s;
  sleeper_begin(&s, c, c->log, c->what, atomic_fetch_add(&c->number, 1));
  for (uint64_t i = 0; i < c->rounds; i++) {
    while (s.taken < i + 1) sleep_and_take(&s);
    CHECK_EQUAL(s.taken, i + 1);
    CHECK_OK(duralog_append(c->answers, &i, sizeof i, NULL));
  }
  sleeper_end(&s);
  return NULL;
}

/* The next append comes when all have answered: whoever misses one hangs. */
static void all_answer(const struct test_place *at, duralog_watched what,
                       uint64_t rounds) {
  duralog_options o = small_pagecache();
  struct crowd c = {.answers = open_with(path_in(at, "answers"), &o)};
  if (what == DURALOG_WATCH_DURABLE) o.durability = (duralog_durability){0};
  c.log = open_with(at->path, &o);
  c.what = what;
  c.rounds = SANITIZED ? rounds / 4 : rounds;
  pthread_t threads[TAKERS];
  struct sleeper s;
  sleeper_begin(&s, &c, c.answers, DURALOG_WATCH_END, TAKERS);
  for (int i = 0; i < TAKERS; i++) threads[i] = thread_start(answer_each, &c);
  for (uint64_t i = 0; i < c.rounds; i++) {
    append_numbers(c.log, i, 1);
    while (s.taken < (i + 1) * TAKERS) sleep_and_take(&s);
  }
  for (int i = 0; i < TAKERS; i++) thread_join(threads[i]);
  sleeper_end(&s);
  print_message("woken %llu, in vain %llu, lost %llu\n",
                (unsigned long long)c.woken, (unsigned long long)c.in_vain,
                (unsigned long long)c.lost);
  CHECK_EQUAL(c.lost, 0);
  CHECK(c.woken >= c.rounds * TAKERS);
  close_log(c.log);
  close_log(c.answers);
}

static void no_wake_up_by_an_append_is_lost(struct test_place *at) {
  all_answer(at, DURALOG_WATCH_END, 2000);
}

static void no_wake_up_by_a_sync_is_lost(struct test_place *at) {
  all_answer(at, DURALOG_WATCH_DURABLE, 300);
}

static void *append_all(void *context) {
  struct crowd *c = context;
  for (uint64_t i = 0; i < c->total / APPENDERS; i++)
    CHECK_OK(duralog_append(c->log, &i, sizeof i, NULL));
  return NULL;
}

static void *take_all(void *context) {
  struct crowd *c = context;
  struct sleeper s;
  sleeper_begin(&s, c, c->log, c->what, atomic_fetch_add(&c->number, 1));
  while (s.taken < c->total) sleep_and_take(&s);
  sleeper_end(&s);
  return NULL;
}

/* Nobody waits for anybody: the last move is missed, or none is. */
static void the_last_move_is_never_missed(struct test_place *at) {
  duralog_options o = small_pagecache();
  struct crowd c = {.what = DURALOG_WATCH_END};
  c.log = open_with(at->path, &o);
  for (int round = 0; round < (SANITIZED ? 20 : 200); round++) {
    pthread_t takers[4], appenders[APPENDERS];
    c.total = watermarks_of(c.log).end + 200 * APPENDERS;
    uint64_t total = c.total;
    for (int i = 0; i < 4; i++) takers[i] = thread_start(take_all, &c);
    struct crowd some = {.log = c.log, .total = 200 * APPENDERS};
    for (int i = 0; i < APPENDERS; i++)
      appenders[i] = thread_start(append_all, &some);
    for (int i = 0; i < APPENDERS; i++) thread_join(appenders[i]);
    for (int i = 0; i < 4; i++) thread_join(takers[i]);
    CHECK_EQUAL(watermarks_of(c.log).end, total);
  }
  print_message("woken %llu, in vain %llu, lost %llu\n",
                (unsigned long long)c.woken, (unsigned long long)c.in_vain,
                (unsigned long long)c.lost);
  CHECK_EQUAL(c.lost, 0);
  close_log(c.log);
}

/* Other threads append and wait for nothing; only the loop's ticks sync. */
static void ticks_by_an_event_loop_make_all_durable(struct test_place *at) {
  static const duralog_durability modes[] = {
      {.sync_interval_ms = 10},
      {.sync_every_records = 10},
  };
  for (size_t mode = 0; mode < COUNT_OF(modes); mode++) {
    duralog_options o = small_options();
    o.host_driven = true;
    o.durability = modes[mode];
    struct crowd c = {.total = 4000};
    c.log = open_with(path_in(at, mode ? "records" : "interval"), &o);
    struct sleeper tick, durable;
    sleeper_begin(&tick, &c, c.log, DURALOG_WATCH_TICK, 1);
    sleeper_begin(&durable, &c, c.log, DURALOG_WATCH_DURABLE, 0);
    epoll_watch(tick.epoll, durable.watch, 0);
    pthread_t threads[APPENDERS];
    for (int i = 0; i < APPENDERS; i++)
      threads[i] = thread_start(append_all, &c);
    uint64_t bound = modes[mode].sync_every_records;
    while (durable.taken + (bound ? bound - 1 : 0) < c.total) {
      if (epoll_count(tick.epoll, LIMIT_MS) == 0) c.lost++;
      CHECK_OK(duralog_tick(c.log));
      take(tick.watch);
      durable.taken = take(durable.watch);
    }
    for (int i = 0; i < APPENDERS; i++) thread_join(threads[i]);
    CHECK_EQUAL(c.lost, 0);
    sleeper_end(&tick);
    sleeper_end(&durable);
    close_log(c.log);
  }
}

static void one_append_makes_hundreds_readable(struct test_place *at) {
  enum { MANY = 300 };
  static duralog_watch *watches[MANY];
  unsigned before = descriptor_count();
  duralog *log = open_host_driven(at);
  for (int i = 0; i < MANY; i++) watches[i] = watch_of(log, DURALOG_WATCH_END);
  for (uint64_t round = 0; round < 10; round++) {
    for (int i = 0; i < MANY; i++) CHECK_EQUAL(take(watches[i]), round);
    for (int i = 0; i < MANY; i++) CHECK(!readable(watches[i]));
    append_numbers(log, round, 1);
    for (int i = 0; i < MANY; i++) CHECK(readable(watches[i]));
  }
  duralog_watch *durable = watch_of(log, DURALOG_WATCH_DURABLE);
  take(durable);
  for (int i = 0; i < MANY; i++) { /* from the middle, and both ends */
    CHECK_OK(duralog_watch_close(&watches[i * 7 % MANY]));
    if (i + 1 == MANY) break;
    duralog_watch *other = watches[(i + 1) * 7 % MANY];
    take(other);
    append_numbers(log, 10 + (uint64_t)i, 1);
    CHECK(readable(other)); /* the others are signalled as before */
  }
  CHECK_OK(duralog_sync(log));
  CHECK(readable(durable));
  CHECK_OK(duralog_watch_close(&durable));
  close_log(log);
  CHECK_EQUAL(descriptor_count(), before);
}

/* ---- another process ---- */

struct writer {
  const struct test_place *at;
  struct channel order, done;
  pid_t child;
};

/* a: append ten. o: one. s: sync. c: close the log, and end. */
static void writer_main(void *context) {
  struct writer *w = context;
  duralog_options o = small_pagecache();
  o.host_driven = NO_THREADS_AFTER_FORK;
  duralog *log = open_with(w->at->path, &o);
  close(w->order.in);
  channel_tell(&w->done);
  for (char order; read(w->order.out, &order, 1) == 1 && order != 'c';) {
    if (order == 'a') append_numbers(log, watermarks_of(log).end, 10);
    if (order == 'o') append_numbers(log, watermarks_of(log).end, 1);
    if (order == 's') CHECK_OK(duralog_sync(log));
    channel_tell(&w->done);
  }
  close_log(log);
}

static void writer_begin(struct writer *w, const struct test_place *at) {
  w->at = at;
  channel_open(&w->order);
  channel_open(&w->done);
  w->child = child_start(writer_main, w);
  channel_hear(&w->done);
}

static void tell(struct writer *w, char order) {
  CHECK_EQUAL(write(w->order.in, &order, 1), 1);
  if (order != 'c') channel_hear(&w->done);
}

static void writer_end(struct writer *w) {
  CHECK_EQUAL(child_end(w->child), 0);
  channel_close(&w->order);
  channel_close(&w->done);
}

static void writer_kill(struct writer *w) {
  child_kill(w->child);
  channel_close(&w->order);
  channel_close(&w->done);
}

static duralog *follow(const struct test_place *at) {
  duralog_options o = small_options();
  duralog_report report;
  o.read_only = true;
  duralog *log = open_reporting(at->path, &o, &report);
  CHECK(report.follows);
  return log;
}

/* Until it gives that; it may be readable for less. */
static void take_until(duralog_watch *watch, uint64_t value) {
  do CHECK(readable_within(watch, LIMIT_MS));
  while (take(watch) != value);
}

static duralog_error take_error(duralog_watch *watch) {
  duralog_error error;
  do {
    CHECK(readable_within(watch, LIMIT_MS));
    error = duralog_watch_take(watch, NULL);
  } while (error == DURALOG_OK);
  return error;
}

static void another_processs_writes_and_syncs_are_told(struct test_place *at) {
  struct writer w;
  unsigned before = descriptor_count();
  writer_begin(&w, at);
  duralog *log = follow(at);
  duralog_watch *end = watch_of(log, DURALOG_WATCH_END);
  duralog_watch *durable = watch_of(log, DURALOG_WATCH_DURABLE);
  CHECK(readable(end) && readable(durable));
  CHECK_EQUAL(take(end) + take(durable), 0);
  for (uint64_t i = 10; i <= 200; i += 10) {
    tell(&w, 'a');
    take_until(end, i);
    tell(&w, 's');
    take_until(durable, i);
  }
  CHECK(!readable_within(end, 250) && !readable(durable)); /* no one spins */
  tell(&w, 'c');
  CHECK_IS(DURALOG_E_NO_WRITER, take_error(end));
  CHECK_IS(DURALOG_E_NO_WRITER, take_error(durable));
  writer_end(&w);
  CHECK_EQUAL(take(end), 200);
  CHECK(!readable_within(end, 250));
  CHECK_OK(duralog_watch_close(&end));
  CHECK_OK(duralog_watch_close(&durable));
  close_log(log);
  CHECK_EQUAL(descriptor_count(), before);
}

static void what_a_killed_writer_left_comes_before_its_death(
    struct test_place *at) {
  struct writer w;
  writer_begin(&w, at);
  duralog *log = follow(at);
  duralog_watch *end = watch_of(log, DURALOG_WATCH_END);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  take(end);
  tell(&w, 'a');
  for (uint64_t life = 1; life <= 4; life++) {
    uint64_t value = 0;
    duralog_record r;
    duralog_error error;
    writer_kill(&w);
    do {
      CHECK(readable_within(end, LIMIT_MS));
      error = duralog_watch_take(end, life == 1 ? &value : NULL);
    } while (error == DURALOG_OK);
    CHECK_IS(DURALOG_E_NO_WRITER, error);
    if (life == 1) CHECK_EQUAL(value, 10);
    CHECK_EQUAL(take(end), life * 10); /* told once */
    writer_begin(&w, at);
    tell(&w, 'a'); /* begins an epoch */
    CHECK(readable_within(end, LIMIT_MS));
    while ((error = duralog_read_next(reader, &r)) == DURALOG_OK)
      ;
    CHECK_IS(DURALOG_E_EPOCH, error);
    take_until(end, life * 10 + 10);
  }
  tell(&w, 'c');
  writer_end(&w);
  CHECK_OK(duralog_reader_close(&reader));
  CHECK_OK(duralog_watch_close(&end));
  close_log(log);
}

/* Of a lost tail the watermark tells nothing: it stays below what was taken. */
static void an_epoch_is_told_where_the_end_went_back(struct test_place *at) {
  struct writer w;
  writer_begin(&w, at);
  duralog *log = follow(at);
  duralog_watch *end = watch_of(log, DURALOG_WATCH_END);
  tell(&w, 'a');
  take_until(end, 10);
  writer_kill(&w);
  CHECK_IS(DURALOG_E_NO_WRITER, take_error(end));
  struct test_frames frames = frames_load(at->path);
  file_zero(segment_path(at->path, 1), frame_of(&frames, 5)->position, 8192);
  frames_free(&frames);
  CHECK_EQUAL(take(end), 10);
  writer_begin(&w, at);
  tell(&w, 'o');
  CHECK(readable_within(end, LIMIT_MS));
  CHECK_EQUAL(take(end), 6);
  tell(&w, 'a');
  take_until(end, 16);
  CHECK_OK(duralog_watch_close(&end));
  close_log(log);
  tell(&w, 'c');
  writer_end(&w);
}

static void a_followers_watch_is_closed_while_its_thread_sleeps(
    struct test_place *at) {
  struct writer w;
  writer_begin(&w, at);
  duralog *log = follow(at);
  unsigned before = descriptor_count();
  for (int i = 0; i < 20; i++) {
    duralog_watch *watch = watch_of(log, (duralog_watched)(i % 2));
    if (i % 3) take(watch); /* armed */
    CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
    CHECK_OK(duralog_watch_close(&watch));
  }
  CHECK_EQUAL(descriptor_count(), before);
  close_log(log);
  tell(&w, 'c');
  writer_end(&w);
}

/* ---- forks ---- */

struct family {
  duralog *log;
  duralog_watch *watches[3];
};

static void use_inherited(void *context) {
  struct family *f = context;
  unsigned before = descriptor_count();
  unsigned count = 0;
  for (size_t i = 0; i < COUNT_OF(f->watches); i++) {
    if (!f->watches[i]) continue;
    uint64_t value = 7;
    CHECK_IS(DURALOG_E_FORKED, duralog_watch_take(f->watches[i], &value));
    CHECK_EQUAL(value, 7);
    duralog_watch *more = NULL;
    CHECK_IS(DURALOG_E_FORKED,
             duralog_watch_open(f->log, DURALOG_WATCH_END, &more));
    CHECK_OK(duralog_watch_close(&f->watches[i]));
    count++;
  }
  CHECK_EQUAL(descriptor_count(), before - count);
  CHECK_OK(duralog_close(&f->log));
}

static void a_child_can_only_close_what_it_inherited(struct test_place *at) {
  struct family f = {.log = open_host_driven(at)};
  for (int i = 0; i < 3; i++)
    f.watches[i] = watch_of(f.log, (duralog_watched)i);
  take(f.watches[0]);
  child_run(use_inherited, &f);
  CHECK(!readable(f.watches[0]));
  append_numbers(f.log, 0, 1);
  CHECK(readable(f.watches[0]));
  CHECK_EQUAL(take(f.watches[0]), 1);
  for (int i = 0; i < 3; i++) CHECK_OK(duralog_watch_close(&f.watches[i]));
  close_log(f.log);
}

static void a_followers_child_can_only_close_too(struct test_place *at) {
  struct writer w;
  writer_begin(&w, at);
  struct family f = {.log = follow(at)};
  for (int i = 0; i < 2; i++)
    f.watches[i] = watch_of(f.log, (duralog_watched)i);
  take(f.watches[0]);
  child_run(use_inherited, &f);
  tell(&w, 'a');
  take_until(f.watches[0], 10);
  for (int i = 0; i < 2; i++) CHECK_OK(duralog_watch_close(&f.watches[i]));
  close_log(f.log);
  tell(&w, 'c');
  writer_end(&w);
}

/* ---- descriptors ---- */

static void run_out_of_descriptors(void *context) {
  struct test_place *at = context;
  struct rlimit limit, none;
  duralog *log = open_host_driven(at);
  duralog_watch *watch = NULL;
  CHECK_CALL(getrlimit(RLIMIT_NOFILE, &limit));
  none = limit;
  none.rlim_cur = 0;
  unsigned before = descriptor_count();
  for (int what = 0; what < 3; what++) {
    CHECK_CALL(setrlimit(RLIMIT_NOFILE, &none));
    CHECK_IS(DURALOG_E_RESOURCES,
             duralog_watch_open(log, (duralog_watched)what, &watch));
    CHECK_CALL(setrlimit(RLIMIT_NOFILE, &limit));
    CHECK(watch == NULL);
    CHECK_EQUAL(descriptor_count(), before);
    duralog_diagnostic d = {.struct_size = sizeof d};
    CHECK_OK(duralog_diagnose(log, &d));
    CHECK_IS(DURALOG_E_RESOURCES, d.error);
    CHECK_EQUAL(d.os_error, EMFILE);
    watch = watch_of(log, (duralog_watched)what);
    CHECK_OK(duralog_watch_close(&watch));
  }
  close_log(log);
}

static void without_descriptors_there_is_no_watch(struct test_place *at) {
  child_run(run_out_of_descriptors, at);
}

static void close_standard_ones(void *context) {
  duralog *log = open_host_driven(context);
  for (int fd = 0; fd < 2; fd++) close(fd);
  duralog_watch *watch = watch_of(log, DURALOG_WATCH_TICK);
  int fd = duralog_watch_descriptor(watch);
  CHECK(fd > 2);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  CHECK_OK(duralog_watch_close(&watch));
  CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
  close_log(log);
}

static void it_is_above_2_and_not_inherited_by_exec(struct test_place *at) {
  child_run(close_standard_ones, at);
}

/* ---- wrong calls ---- */

static void wrong_calls_are_told(struct test_place *at) {
  duralog_options o = small_pagecache();
  duralog *log = open_with(at->path, &o);
  duralog_watch *watch = NULL;
  CHECK_IS(DURALOG_E_CLOSED,
           duralog_watch_open(NULL, DURALOG_WATCH_END, &watch));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_watch_open(log, DURALOG_WATCH_END, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_watch_open(log, (duralog_watched)3, &watch));
  CHECK_IS(DURALOG_E_ARGUMENT, /* its own threads do it */
           duralog_watch_open(log, DURALOG_WATCH_TICK, &watch));
  CHECK_IS(DURALOG_E_CLOSED, duralog_watch_take(NULL, NULL));
  CHECK_IS(DURALOG_E_CLOSED, duralog_watch_close(&watch));
  CHECK_IS(DURALOG_E_CLOSED, duralog_watch_close(NULL));
  CHECK(duralog_watch_descriptor(NULL) == -1);
  CHECK(watch == NULL);
  watch = watch_of(log, DURALOG_WATCH_END);
  duralog_stats s = {.struct_size = sizeof s};
  CHECK_OK(duralog_get_stats(log, &s));
  CHECK_EQUAL(s.readers, 1);
  CHECK_IS(DURALOG_E_BUSY, duralog_close(&log));
  CHECK_OK(duralog_watch_close(&watch));
  CHECK(watch == NULL);
  CHECK_CALL(unlink(path_join(at->path, "control"))); /* not followed */
  o.read_only = true;
  o.host_driven = true;
  duralog *snapshot = open_with(at->path, &o);
  for (int what = 0; what < 3; what++)
    CHECK_IS(DURALOG_E_READ_ONLY,
             duralog_watch_open(snapshot, (duralog_watched)what, &watch));
  close_log(snapshot);
  close_log(log);
}

static void a_writer_that_comes_later_is_told(struct test_place *at) {
  duralog_options o = small_options();
  close_log(open_host_driven(at));
  for (int control = 0; control < 2; control++) { /* with its file, without */
    if (!control) CHECK_CALL(unlink(path_join(at->path, "control")));
    o.read_only = true;
    duralog *log = open_with(at->path, &o);
    duralog_watch *watch = watch_of(log, DURALOG_WATCH_END);
    uint64_t value = 0, before = watermarks_of(log).end;
    CHECK_EQUAL(take(watch), before);
    CHECK(readable_within(watch, LIMIT_MS));
    CHECK_IS(DURALOG_E_NO_WRITER, duralog_watch_take(watch, &value));
    duralog *writer = open_host_driven(at);
    append_numbers(writer, before, 5);
    while (value < before + 5) {
      CHECK(readable_within(watch, LIMIT_MS));
      CHECK_OK(duralog_watch_take(watch, &value));
    }
    CHECK_OK(duralog_watch_close(&watch));
    close_log(log);
    close_log(writer);
  }
}

static const struct test tests[] = {
    TEST(a_writer_that_comes_later_is_told),
    TEST(it_is_a_level_in_poll_select_and_epoll),
    TEST(each_take_that_is_outdated_is_a_new_edge),
    TEST(a_due_tick_is_an_edge_too),
    TEST(no_wake_up_by_an_append_is_lost),
    TEST(no_wake_up_by_a_sync_is_lost),
    TEST(the_last_move_is_never_missed),
    TEST(ticks_by_an_event_loop_make_all_durable),
    TEST(one_append_makes_hundreds_readable),
    TEST(another_processs_writes_and_syncs_are_told),
    TEST(what_a_killed_writer_left_comes_before_its_death),
    TEST(an_epoch_is_told_where_the_end_went_back),
    TEST(a_followers_watch_is_closed_while_its_thread_sleeps),
    TEST(a_child_can_only_close_what_it_inherited),
    TEST(a_followers_child_can_only_close_too),
    TEST(without_descriptors_there_is_no_watch),
    TEST(it_is_above_2_and_not_inherited_by_exec),
    TEST(wrong_calls_are_told),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
