/* SPDX-License-Identifier: MIT
 *
 * Forks amid threads, many of them (I11, I12, I13).
 *
 * Four threads append and one reads while others fork. First, a parent that
 * lives: its children try everything on what they have inherited, close it,
 * find the log taken, have logs and children of their own; the parent's log
 * goes on as if nothing had happened. Second, a parent that is killed while
 * children of it linger: the next writer opens at once, finds all that had
 * returned, and nothing the children do afterwards changes a byte or ends its
 * lock.
 *
 * A child counts as forked when its handlers have run: it says so itself, and
 * the parent is killed after that. Whoever waits, waits on a pipe.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum {
  APPENDERS = 4,
  FORKERS = 3,
  FORKS = 24, /* of a forker */
  LINGERING = 16,
  ROUNDS = 3,
  AHEAD = 300,             /* operations of an appender per fork */
  OPERATIONS_MAX = 1 << 16 /* of an appender */
};

static const duralog_durability modes[] = {
    {.pagecache = true}, {.sync_every_records = 1}, {.sync_interval_ms = 10}};

/* ---- appending ---- */

struct noted {
  _Atomic uint64_t count; /* appends that returned */
  uint64_t offset[OPERATIONS_MAX];
};

/* Shared with all children. */
struct storm {
  const struct test_place *at;
  duralog_options options;
  duralog *log;
  _Atomic bool stop;
  _Atomic uint64_t forks;   /* so far: appenders keep pace with them */
  _Atomic uint64_t durable; /* the highest ever shown */
  struct noted noted[APPENDERS];
  struct channel ready, go;
};

struct appender {
  struct storm *storm;
  uint64_t number;
};

struct content {
  uint64_t appender, count;
  uint8_t rest[80];
};

static size_t content_make(struct content *c, uint64_t appender,
                           uint64_t count) {
  c->appender = appender;
  c->count = count;
  memset(c->rest, (int)(count * 7 + appender), sizeof c->rest);
  return offsetof(struct content, rest) + count % sizeof c->rest;
}

static bool may_append(struct storm *s, uint64_t count) {
  while (!atomic_load(&s->stop)) {
    if (count < AHEAD * (atomic_load(&s->forks) + 1)) return true;
    sched_yield();
  }
  return false;
}

static void *append_on(void *context) {
  struct appender *a = context;
  struct storm *s = a->storm;
  struct noted *noted = &s->noted[a->number];
  struct content c;
  for (uint64_t i = 0; i < OPERATIONS_MAX && may_append(s, i); i++) {
    size_t size = content_make(&c, a->number, i);
    CHECK_OK(duralog_append(s->log, &c, size, &noted->offset[i]));
    atomic_store(&noted->count, i + 1);
    if (i % 16 == 0) atomic_store(&s->durable, watermarks_of(s->log).durable);
  }
  return NULL;
}

static void start_appending(struct storm *s, struct appender appenders[],
                            pthread_t threads[]) {
  for (uint64_t i = 0; i < APPENDERS; i++) {
    appenders[i] = (struct appender){s, i};
    threads[i] = thread_start(append_on, &appenders[i]);
  }
}

/* All that returned is there, in each appender's order, and at most what was
 * in flight beyond it. */
static void check_contents(struct storm *s, duralog *log, uint64_t inflight) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  uint64_t next[APPENDERS] = {0}, offset = 0, end = watermarks_of(log).end;
  struct content c, expected;
  duralog_record r;
  for (; offset < end; offset++) {
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK_EQUAL(r.offset, offset);
    CHECK(r.size >= offsetof(struct content, rest) && r.size <= sizeof c);
    memcpy(&c, r.data, r.size);
    CHECK(c.appender < APPENDERS);
    uint64_t count = next[c.appender]++;
    size_t size = content_make(&expected, c.appender, count);
    CHECK_BYTES(&expected, size, r.data, r.size);
    if (count < atomic_load(&s->noted[c.appender].count))
      CHECK_EQUAL(s->noted[c.appender].offset[count], offset);
  }
  CHECK_OK(duralog_reader_close(&reader));
  CHECK(end >= atomic_load(&s->durable));
  for (int i = 0; i < APPENDERS; i++) {
    uint64_t returned = atomic_load(&s->noted[i].count);
    CHECK(next[i] >= returned && next[i] <= returned + inflight);
  }
}

static struct storm *storm_new(const struct test_place *at,
                               const duralog_durability *mode) {
  struct storm *s = shared_memory(sizeof *s);
  s->at = at;
  s->options = small_options();
  s->options.durability = *mode;
  s->options.copying_reads = at->copying;
  return s;
}

/* ---- a parent that lives ---- */

/* What a forker has and its children inherit; the reader that moves belongs to
 * another thread. */
struct forker {
  struct storm *storm;
  duralog_reader *moving, *reader;
  duralog_record record;
  duralog_held *held;
  uint64_t number, turn;
};

static void try_everything(struct forker *f) {
  duralog_record r = {.offset = 77};
  check_forked_log(f->storm->log);
  check_forked_reader(f->reader, &f->record);
  CHECK_IS(DURALOG_E_FORKED, duralog_read_next(f->moving, &r));
  CHECK_EQUAL(r.offset, 77);
}

static void close_inherited(struct forker *f) {
  struct content c;
  duralog *log = f->storm->log; /* the storm itself is shared */
  memcpy(&c, f->record.data, offsetof(struct content, rest));
  CHECK(c.appender < APPENDERS && c.count < OPERATIONS_MAX);
  CHECK_OK(duralog_release(&f->held));
  CHECK_OK(duralog_reader_close(&f->reader));
  CHECK_OK(duralog_reader_close(&f->moving));
  CHECK_OK(duralog_close(&log));
}

static void have_own_log(struct storm *s, const char *name, uint64_t number) {
  char text[32];
  snprintf(text, sizeof text, "%s-%llu", name, (unsigned long long)number);
  const char *path = path_in(s->at, text);
  directory_remove(path);
  duralog *log = open_with(path, &s->options);
  append_numbers(log, 0, 20);
  check_numbers(log, 20);
  close_log(log);
}

static void grandchild_body(void *context) {
  struct forker *f = context;
  try_everything(f);
  close_inherited(f);
}

static void child_body(void *context) {
  struct forker *f = context;
  if (f->turn % 4 == 0) child_run(grandchild_body, f);
  try_everything(f);
  if (f->turn % 3 == 0) {
    have_own_log(f->storm, "own", f->number);
    try_everything(f); /* which has become no better by it */
  }
  if (f->turn % 3 == 1)
    open_fails(DURALOG_E_BUSY, f->storm->at->path, &f->storm->options);
  close_inherited(f);
  if (f->turn % 3 == 2)
    open_fails(DURALOG_E_BUSY, f->storm->at->path, &f->storm->options);
}

static void *fork_on(void *context) {
  struct forker *f = context;
  for (f->turn = 0; f->turn < FORKS; f->turn++) {
    child_run(child_body, f);
    atomic_fetch_add(&f->storm->forks, 1);
  }
  CHECK_OK(duralog_release(&f->held));
  CHECK_OK(duralog_reader_close(&f->reader));
  return NULL;
}

static void *read_on(void *context) {
  struct forker *f = context; /* of which only the moving reader */
  duralog_record r;
  while (!atomic_load(&f->storm->stop)) {
    duralog_error error = duralog_read_next(f->moving, &r);
    if (error == DURALOG_E_AT_END)
      error = duralog_seek(f->moving, DURALOG_SEEK_START, 0);
    CHECK_OK(error);
  }
  return NULL;
}

static void prepare_forkers(struct storm *s, struct forker forkers[],
                            duralog_reader *moving) {
  for (uint64_t i = 0; i < FORKERS; i++) {
    struct forker *f = &forkers[i];
    *f = (struct forker){.storm = s, .moving = moving, .number = i};
    f->reader = reader_of(s->log, DURALOG_LEVEL_WRITTEN);
    CHECK_OK(duralog_reader_wait(f->reader, -1));
    CHECK_OK(duralog_read_next(f->reader, &f->record));
    CHECK_OK(duralog_hold(f->reader, &f->record, &f->held));
  }
}

static void fork_amid_threads(struct storm *s) {
  struct appender appenders[APPENDERS];
  struct forker forkers[FORKERS];
  pthread_t appending[APPENDERS], forking[FORKERS];
  s->log = open_with(s->at->path, &s->options);
  duralog_reader *moving = reader_of(s->log, DURALOG_LEVEL_WRITTEN);
  start_appending(s, appenders, appending);
  prepare_forkers(s, forkers, moving);
  struct forker reading = forkers[0];
  pthread_t reader = thread_start(read_on, &reading);
  for (int i = 0; i < FORKERS; i++)
    forking[i] = thread_start(fork_on, &forkers[i]);
  for (int i = 0; i < FORKERS; i++) thread_join(forking[i]);
  atomic_store(&s->stop, true);
  for (int i = 0; i < APPENDERS; i++) thread_join(appending[i]);
  thread_join(reader);
  CHECK_OK(duralog_reader_close(&moving));
  check_contents(s, s->log, 0);
  close_log(s->log);
  s->log = open_with(s->at->path, &s->options);
  check_contents(s, s->log, 0);
  close_log(s->log);
}

static void children_of_a_busy_parent_harm_nobody(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    struct storm *s = storm_new(at, &modes[m]);
    test_note("mode %zu", m);
    fork_amid_threads(s);
    CHECK_EQUAL(atomic_load(&s->forks), FORKERS * FORKS);
    shared_memory_free(s, sizeof *s);
    directory_remove(at->path);
  }
}

/* ---- a parent that is killed ---- */

enum way { KEEPS_ALL, CLOSES_FIRST, HAS_ITS_OWN, IS_A_GRANDCHILD, WAYS };

static void linger(struct storm *s, duralog *log, duralog_reader *reader,
                   uint64_t number) {
  duralog_record r = {.offset = 77};
  enum way way = (enum way)(number % WAYS);
  close(s->go.in); /* so that none outlives the test */
  if (way == IS_A_GRANDCHILD && CHECK_CALL(fork()) != 0) _exit(0);
  if (way == HAS_ITS_OWN) have_own_log(s, "lingering", number);
  if (way == CLOSES_FIRST) {
    CHECK_OK(duralog_reader_close(&reader));
    CHECK_OK(duralog_close(&log));
  }
  channel_tell(&s->ready);
  channel_hear(&s->go); /* now another writer has the log */
  open_fails(DURALOG_E_BUSY, s->at->path, &s->options);
  if (way != CLOSES_FIRST) {
    check_forked_log(log);
    CHECK_IS(DURALOG_E_FORKED, duralog_read_next(reader, &r));
    CHECK_OK(duralog_reader_close(&reader));
    CHECK_OK(duralog_close(&log));
  }
  open_fails(DURALOG_E_BUSY, s->at->path, &s->options);
  if (way == HAS_ITS_OWN) have_own_log(s, "lingering", number);
  _exit(0);
}

static void live_and_be_killed(void *context) {
  struct storm *s = context;
  struct appender appenders[APPENDERS];
  pthread_t threads[APPENDERS];
  s->log = open_with(s->at->path, &s->options);
  duralog_reader *reader = reader_of(s->log, DURALOG_LEVEL_WRITTEN);
  start_appending(s, appenders, threads);
  for (uint64_t i = 0; i < LINGERING; i++) {
    if (CHECK_CALL(fork()) == 0) linger(s, s->log, reader, i);
    atomic_fetch_add(&s->forks, 1);
  }
  atomic_store(&s->forks, OPERATIONS_MAX); /* as fast as they can */
  for (;;) pause();
}

/* All that were left behind have come to us, and ended well. */
static void bury_orphans(void) {
  enum { EXPECTED = LINGERING + LINGERING / WAYS };
  int status, buried = 0;
  while (waitpid(-1, &status, 0) > 0) {
    CHECK_EQUAL(status, 0);
    buried++;
  }
  CHECK_EQUAL(errno, ECHILD);
  CHECK_EQUAL(buried, EXPECTED);
}

static void open_taken(void *context) {
  struct storm *s = context;
  open_fails(DURALOG_E_BUSY, s->at->path, &s->options);
}

static void kill_a_parent(struct storm *s) {
  duralog_options o = s->options;
  o.host_driven = true; /* nothing changes but by our own calls */
  channel_open(&s->ready);
  channel_open(&s->go);
  pid_t parent = child_start(live_and_be_killed, s);
  for (int i = 0; i < LINGERING; i++) channel_hear(&s->ready);
  child_kill(parent);
  duralog *log = open_with(s->at->path, &o); /* at once (I12) */
  check_contents(s, log, 1);
  uint64_t end = watermarks_of(log).end;
  append_text(log, "the next writer", DURALOG_LEVEL_DURABLE);
  uint64_t before = tree_digest(s->at->path, true);
  for (int i = 0; i < LINGERING; i++) channel_tell(&s->go);
  bury_orphans();
  CHECK_UNCHANGED(before, s->at->path); /* I13 */
  child_run(open_taken, s);             /* the lock is still ours */
  append_text(log, "the next writer", DURALOG_LEVEL_DURABLE);
  CHECK_EQUAL(watermarks_of(log).end, end + 2);
  close_log(log);
  channel_close(&s->ready);
  channel_close(&s->go);
}

static void the_next_writer_opens_at_once_beside_orphans(
    struct test_place *at) {
  CHECK_CALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
  for (size_t i = 0; i < ROUNDS * COUNT_OF(modes); i++) {
    struct storm *s = storm_new(at, &modes[i % COUNT_OF(modes)]);
    test_note("round %zu", i);
    kill_a_parent(s);
    shared_memory_free(s, sizeof *s);
    directory_remove(at->path);
  }
  CHECK_CALL(prctl(PR_SET_CHILD_SUBREAPER, 0));
}

static const struct test tests[] = {
    TEST_BOTH(children_of_a_busy_parent_harm_nobody),
    TEST_BOTH(the_next_writer_opens_at_once_beside_orphans),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
