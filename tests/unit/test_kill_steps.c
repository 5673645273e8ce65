/* SPDX-License-Identifier: MIT
 *
 * SIGKILL at each step (I11, I12; I1, I4, I7, I8).
 *
 * A child works on real files through an environment that is the operating
 * system's but for this: at the k-th time that a named point is reached it
 * kills its own process. Points are the STEPs between stores, and what comes
 * before and after each call that changes a file, a name or the lock. Which
 * there are is found out by a run that only counts, so that a new step is
 * killed at without being listed here.
 *
 * Two stories: BIRTH creates a log, appends, closes, reopens, appends, closes;
 * HEIR does the same on what a killed writer left, so that recovery is killed,
 * too. A host drives the log and its clock, so that each case runs the same
 * every time; THREADS has six appending threads and the library's own, and
 * whichever comes to the point first kills all.
 *
 * What returned is noted in memory that outlives the child, and so is what a
 * reader could have seen at the moment of death. Afterwards the log opens at
 * once, holds all that, in each writer's order and in whole batches, at most
 * the calls in flight beyond it, and is appended to and closed.
 *
 * The disk is never waited for: what is in the kernel's hands survives a
 * killed process without any sync, and so a sync here is a point and no more.
 *
 * Replay one case: build/tests/test_kill_steps replay MODE STEP K
 */
#include <signal.h>
#include <unistd.h>

#include "io.h"
#include "support_stamped.h"

enum {
  WRITERS_MAX = 6,
  OPERATIONS = 44, /* of all writers in one opening, about */
  OPERATIONS_MAX = 512,
  OPENINGS = 2,
  BATCH_MAX = 8,
  IN_BATCH_MAX = 600, /* bytes of data */
  IN_VAIN_BYTES = 3500,
  POINTS_MAX = 128,
  STEPS_AT_LEAST = 30,
  CLOCK_STEP_MS = 3
};

/* ---- modes and stories ---- */

enum story_kind { BIRTH, HEIR, THREADS, GROUPS };

struct mode {
  const char *name;
  enum story_kind kind;
  duralog_durability durability;
  bool strict, pad_syncs;
};

#define EVERY_N(n) \
  { .sync_every_records = (n) }
#define EVERY_B(n) \
  { .sync_every_bytes = (n) }
#define INTERVAL(n) \
  { .sync_interval_ms = (n) }
#define PAGECACHE \
  { .pagecache = true }
#define MIXTURE \
  { .sync_every_records = 7, .sync_every_bytes = 5000, .sync_interval_ms = 15 }
#define BOTH_STORIES(mode, durability, strict, pad) \
  {mode, BIRTH, durability, strict, pad}, {         \
    mode "-heir", HEIR, durability, strict, pad     \
  }

/* clang-format off */
static const struct mode modes[] = {
    BOTH_STORIES("every-record", EVERY_N(1), false, false),
    BOTH_STORIES("every-3-records", EVERY_N(3), false, false),
    BOTH_STORIES("every-3000-bytes", EVERY_B(3000), false, false),
    BOTH_STORIES("interval", INTERVAL(20), false, false),
    BOTH_STORIES("pagecache", PAGECACHE, false, false),
    BOTH_STORIES("mixture", MIXTURE, false, false),
    BOTH_STORIES("strict", EVERY_N(4), true, false),
    BOTH_STORIES("padded", EVERY_N(5), false, true),
    {"every-record-threads", THREADS, EVERY_N(1), false, false},
    {"interval-threads", THREADS, INTERVAL(10), false, false},
    {"pagecache-threads", THREADS, PAGECACHE, false, false},
    {"strict-padded-threads", THREADS, EVERY_N(4), true, true},
    {"every-record-groups", GROUPS, EVERY_N(1), false, false},
    {"pagecache-groups", GROUPS, PAGECACHE, false, false},
};
/* clang-format on */

/* ---- the case that runs: shared with the child ---- */

struct point {
  const char *name;
  uint64_t count;
};

struct noted {
  _Atomic uint64_t count;          /* operations that returned */
  uint64_t offset[OPERATIONS_MAX]; /* of their first records */
};

struct run {
  const struct mode *mode;
  const char *path;
  uint64_t openings, writers;
  const char *aim; /* the point to die at; NULL: none */
  uint64_t k;
  _Atomic uint64_t hits;
  bool counting;
  size_t point_count;
  struct point points[POINTS_MAX];
  _Atomic uint64_t end, durable; /* the highest ever shown */
  struct noted noted[WRITERS_MAX];
  _Atomic uint64_t committing, committed; /* by the group: begun; returned */
};

static struct run *run;
static _Atomic(duralog *) open_log; /* NULL: none */
static uint64_t kills;

static void raise_to(_Atomic uint64_t *highest, uint64_t value) {
  uint64_t seen = atomic_load(highest);
  while (seen < value && !atomic_compare_exchange_weak(highest, &seen, value))
    ;
}

static void note_watermarks(void) {
  duralog *log = atomic_load(&open_log);
  if (!log) return;
  duralog_watermarks w = watermarks_of(log);
  raise_to(&run->durable, w.durable);
  raise_to(&run->end, w.end);
}

/* ---- points ---- */

static void count_point(const char *name) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  size_t i = 0;
  while (i < run->point_count && strcmp(run->points[i].name, name) != 0) i++;
  CHECK(i < POINTS_MAX);
  if (i == run->point_count)
    run->points[run->point_count++] = (struct point){.name = name};
  run->points[i].count++;
  pthread_mutex_unlock(&lock);
}

static void reach(const char *name) {
  if (run->counting) count_point(name);
  if (!run->aim || strcmp(run->aim, name) != 0) return;
  if (atomic_fetch_add(&run->hits, 1) + 1 != run->k) return;
  note_watermarks();
  kill(getpid(), SIGKILL);
}

static void reach_step(io_env *io, const char *name) {
  (void)io;
  reach(name);
}

/* ---- the operating system with points ---- */

/* The call, between two points. */
#define AROUND(name, type, call) \
  do {                           \
    reach("before/" name);       \
    type result_ = (call);       \
    reach("after/" name);        \
    return result_;              \
  } while (0)

static int kill_dir_make(io_env *io, const char *path, uint32_t mode) {
  AROUND("dir_make", int, io_posix()->dir_make(io, path, mode));
}
static int kill_dir_make_in(io_env *io, int dir, const char *name,
                            uint32_t mode) {
  AROUND("dir_make_in", int, io_posix()->dir_make_in(io, dir, name, mode));
}
static int kill_file_open(io_env *io, int dir, const char *name, int flags,
                          uint32_t mode) {
  if (!(flags & IO_CREATE))
    return io_posix()->file_open(io, dir, name, flags, mode);
  AROUND("file_create", int, io_posix()->file_open(io, dir, name, flags, mode));
}
static int kill_close(io_env *io, int handle) {
  AROUND("close", int, io_posix()->close(io, handle));
}
static int kill_file_allocate(io_env *io, int file, uint64_t bytes) {
  AROUND("file_allocate", int, io_posix()->file_allocate(io, file, bytes));
}
static int64_t kill_file_write(io_env *io, int file, const void *bytes,
                               size_t size, uint64_t position) {
  AROUND("file_write", int64_t,
         io_posix()->file_write(io, file, bytes, size, position));
}
static int kill_rename(io_env *io, int dir, const char *from, const char *to) {
  AROUND("rename", int, io_posix()->rename(io, dir, from, to));
}
static int kill_unlink(io_env *io, int dir, const char *name) {
  AROUND("unlink", int, io_posix()->unlink(io, dir, name));
}
static int kill_lock(io_env *io, int dir, const char *name, uint32_t mode) {
  AROUND("lock", int, io_posix()->lock(io, dir, name, mode));
}
static void kill_unlock(io_env *io, int handle) {
  reach("before/unlock");
  io_posix()->unlock(io, handle);
  reach("after/unlock");
}
static int kill_map(io_env *io, int file, uint64_t bytes, bool writable,
                    void **address) {
  AROUND("map", int, io_posix()->map(io, file, bytes, writable, address));
}
static int kill_unmap(io_env *io, void *address, uint64_t bytes) {
  AROUND("unmap", int, io_posix()->unmap(io, address, bytes));
}
static int kill_thread_start(io_env *io, void (*body)(void *), void *context,
                             void **thread) {
  AROUND("thread_start", int,
         io_posix()->thread_start(io, body, context, thread));
}

static int kill_event_open(io_env *io, bool timed) {
  AROUND("event_open", int, io_posix()->event_open(io, timed));
}
static void kill_event_set(io_env *io, int event, bool timed, uint64_t at) {
  reach("before/event_set");
  io_posix()->event_set(io, event, timed, at);
  reach("after/event_set");
}

static int skip_sync(enum io_sync_reason why) {
  static const char *const names[] = {
#define SYNC_NAME(name, text) "fsync/" text,
      IO_SYNC_REASONS(SYNC_NAME)
#undef SYNC_NAME
  };
  reach(names[why]);
  return 0;
}
static int kill_file_sync(io_env *io, int file, const struct io_part *part,
                          enum io_sync_reason why) {
  (void)io, (void)file, (void)part;
  return skip_sync(why);
}
static int kill_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  (void)io, (void)dir;
  return skip_sync(why);
}
static int kill_dir_sync_parent(io_env *io, const char *path,
                                enum io_sync_reason why) {
  (void)io, (void)path;
  return skip_sync(why);
}

/* Where a host drives the log: a clock that it drives as well. */
static uint64_t clock_ns = NS_PER_MS;
static uint64_t driven_now(io_env *io) {
  (void)io;
  return clock_ns;
}

static const duralog_environment *environment_of(enum story_kind kind) {
  static struct duralog_environment io;
  io = *io_posix();
  io.dir_make = kill_dir_make;
  io.dir_make_in = kill_dir_make_in;
  io.dir_sync = kill_dir_sync;
  io.dir_sync_parent = kill_dir_sync_parent;
  io.file_open = kill_file_open;
  io.close = kill_close;
  io.file_allocate = kill_file_allocate;
  io.file_write = kill_file_write;
  io.file_sync = kill_file_sync;
  io.rename = kill_rename;
  io.unlink = kill_unlink;
  io.lock = kill_lock;
  io.unlock = kill_unlock;
  io.map = kill_map;
  io.unmap = kill_unmap;
  io.event_open = kill_event_open;
  io.event_set = kill_event_set;
  io.thread_start = kill_thread_start;
  io.step = reach_step;
  if (kind != THREADS) io.now = io.now_coarse = driven_now;
  return &io;
}

static duralog_options options_of(const struct mode *m) {
  duralog_options o = small_options();
  o.segment_bytes = 16 << 10;
  o.durability = m->durability;
  o.strict = m->strict;
  o.pad_syncs = m->pad_syncs;
  o.host_driven = m->kind != THREADS;
  o.environment = environment_of(m->kind);
  return o;
}

/* ---- the child's life ---- */

/* The record is written in place; before, now and then, in vain. */
static uint64_t reserve_operation(duralog *log, const duralog_entry *e,
                                  bool in_vain, duralog_level level) {
  uint64_t offset = UINT64_MAX;
  void *memory = NULL;
  if (in_vain) {
    CHECK_OK(duralog_reserve(log, IN_VAIN_BYTES, -1, &memory));
    memcpy(memory, (uint8_t *)memory - IN_VAIN_BYTES,
           IN_VAIN_BYTES); /* frames, too */
    reach("host/wrote");
    CHECK_OK(duralog_abort(log));
  }
  CHECK_OK(duralog_reserve(log, e->size + 100, -1, &memory));
  memcpy(memory, e->data, e->size);
  reach("host/wrote");
  CHECK_OK(duralog_publish(log, e->size, level, &offset));
  return offset;
}

static uint64_t append_operation(duralog *log, uint64_t writer,
                                 uint64_t operation) {
  struct content contents[BATCH_MAX];
  duralog_entry entries[BATCH_MAX];
  uint64_t size = stamped_batch(0, writer, operation, BATCH_MAX),
           offset = UINT64_MAX;
  for (uint64_t i = 0; i < size; i++) {
    struct stamp stamp = {0, writer, operation, i, size};
    stamped_make(&contents[i], &stamp, IN_BATCH_MAX);
    entries[i] = contents[i].entry;
  }
  duralog_level level = DURALOG_LEVEL_DEFAULT;
  if (operation % 7 == 3) level = DURALOG_LEVEL_WRITTEN;
  if (operation % 7 == 5) level = DURALOG_LEVEL_DURABLE;
  bool simple = size == 1 && !entries->key && !entries->has_timestamp;
  if (simple && operation % 2)
    return reserve_operation(log, entries, operation % 4 == 1, level);
  if (simple && !level)
    CHECK_OK(duralog_append(log, entries->data, entries->size, &offset));
  else
    CHECK_OK(duralog_append_batch(log, entries, size, level, &offset));
  return offset;
}

static void other_calls(duralog *log, uint64_t operation, uint64_t offset) {
  if (operation % 5 == 4) CHECK_OK(duralog_tick(log));
  if (operation % 11 == 6) CHECK_OK(duralog_sync(log));
  if (operation % 13 == 9)
    CHECK_OK(duralog_wait(log, offset, DURALOG_LEVEL_DURABLE, -1));
}

/* Watches of each writer's own, which are taken now and then. */
static void watch(duralog *log, uint64_t operation, duralog_watch **watch) {
  duralog_watched what = run->writers == 1 && operation % 3 == 2
                             ? DURALOG_WATCH_TICK
                         : operation % 2 ? DURALOG_WATCH_END
                                         : DURALOG_WATCH_DURABLE;
  if (operation % 4 == 0) {
    if (*watch) CHECK_OK(duralog_watch_close(watch));
    CHECK_OK(duralog_watch_open(log, what, watch));
  }
  if (*watch) CHECK_OK(duralog_watch_take(*watch, NULL));
}

static void *write_some(void *number) {
  duralog_watch *watched = NULL;
  uint64_t writer = (uint64_t)(uintptr_t)number;
  struct noted *noted = &run->noted[writer];
  duralog *log = atomic_load(&open_log);
  uint64_t first = atomic_load(&noted->count);
  for (uint64_t i = 0; i < OPERATIONS / run->writers + 1; i++) {
    CHECK(first + i < OPERATIONS_MAX);
    uint64_t offset = append_operation(log, writer, first + i);
    noted->offset[first + i] = offset;
    atomic_store(&noted->count, first + i + 1);
    other_calls(log, first + i, offset);
    watch(log, first + i, &watched);
    note_watermarks();
    clock_ns += run->writers == 1 ? CLOCK_STEP_MS * NS_PER_MS : 0;
  }
  if (watched) CHECK_OK(duralog_watch_close(&watched));
  return NULL;
}

static void write_all(void) {
  pthread_t threads[WRITERS_MAX];
  if (run->writers == 1) {
    write_some((void *)0);
    return;
  }
  for (uintptr_t i = 0; i < run->writers; i++)
    threads[i] = thread_start(write_some, (void *)i);
  for (uint64_t i = 0; i < run->writers; i++) thread_join(threads[i]);
}

/* A group's member, in a process that is the writer's as well. */
static void consume_some(duralog *log) {
  duralog_consumer_options o = {.struct_size = sizeof o,
                                .manual_commit = true,
                                .protect = true,
                                .read_level = DURALOG_LEVEL_WRITTEN};
  duralog_consumer *c = NULL;
  const duralog_record *records;
  size_t count;
  CHECK_OK(duralog_consumer_open(log, "g", &o, &c));
  for (int i = 0; i < 3; i++) {
    CHECK_OK(duralog_poll(c, 4, 0, 0, &records, &count));
    uint64_t next = records[count - 1].offset + 1;
    atomic_store(&run->committing, next);
    CHECK_OK(duralog_commit(
        c, next, i ? DURALOG_LEVEL_WRITTEN : DURALOG_LEVEL_DURABLE, NULL));
    atomic_store(&run->committed, next);
  }
  CHECK_OK(duralog_consumer_close(&c));
  CHECK_OK(duralog_clone_group(log, "g", "h"));
  CHECK_OK(duralog_delete_group(log, "h"));
}

static void live(void *unused) {
  (void)unused;
  duralog_options o = options_of(run->mode);
  for (uint64_t i = 0; i < run->openings; i++) {
    duralog *log = open_with(run->path, &o);
    atomic_store(&open_log, log);
    write_all();
    if (run->mode->kind == GROUPS) consume_some(log);
    CHECK_OK(duralog_close(&log));
    atomic_store(&open_log, NULL);
    if (i == 0) note_watermarks();
  }
}

/* ---- what is there afterwards ---- */

/* One record: the next of its writer, and as it was noted. */
static void check_record(const duralog_record *r, uint64_t next[WRITERS_MAX],
                         uint64_t *left) {
  static struct content expected;
  struct stamp stamp;
  CHECK(r->size >= sizeof stamp);
  memcpy(&stamp, r->data, sizeof stamp);
  CHECK(stamp.writer < run->writers);
  uint64_t operation = next[stamp.writer];
  CHECK_EQUAL(stamp.operation, operation);
  CHECK_EQUAL(stamp.size, stamped_batch(0, stamp.writer, operation, BATCH_MAX));
  CHECK_EQUAL(stamp.index, *left ? stamp.size - *left : 0);
  *left = stamp.size - stamp.index - 1;
  CHECK_EQUAL(r->batch_last, *left ? UINT64_MAX : r->offset);
  stamped_make(&expected, &stamp, IN_BATCH_MAX);
  CHECK(stamped_is(r, &expected));
  struct noted *noted = &run->noted[stamp.writer];
  if (operation < atomic_load(&noted->count))
    CHECK_EQUAL(noted->offset[operation] + stamp.index, r->offset);
  else if (stamp.index == 0)
    noted->offset[operation] = r->offset; /* it was in flight, and stays */
  if (*left == 0) next[stamp.writer]++;
}

static void check_log(duralog *log) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  uint64_t next[WRITERS_MAX] = {0}, left = 0, count = 0;
  duralog_record r;
  duralog_error error;
  while ((error = duralog_read_next(reader, &r)) == DURALOG_OK) {
    CHECK_EQUAL(r.offset, count++);
    check_record(&r, next, &left);
  }
  CHECK_IS(DURALOG_E_AT_END, error);
  CHECK_OK(duralog_reader_close(&reader));
  CHECK_EQUAL(left, 0); /* the last batch is whole */
  CHECK_EQUAL(count, watermarks_of(log).end);
  CHECK(count >= atomic_load(&run->end)); /* what readers could see */
  CHECK(count >= atomic_load(&run->durable));
  for (uint64_t w = 0; w < run->writers; w++) {
    uint64_t returned = atomic_load(&run->noted[w].count);
    CHECK(next[w] >= returned);     /* nothing that returned is missing */
    CHECK(next[w] <= returned + 1); /* nothing was invented */
    atomic_store(&run->noted[w].count, next[w]);
  }
}

/* I24: a commit that returned outlives the process; I26: the next member, who
 * is let in at once, goes on there. */
static void check_group(duralog *log) {
  duralog_consumer_options o = {.struct_size = sizeof o, .manual_commit = true};
  duralog_consumer_status s = {.struct_size = sizeof s};
  duralog_consumer *c = NULL;
  uint64_t committed = atomic_load(&run->committed);
  if (run->mode->kind != GROUPS) return;
  o.read_level = DURALOG_LEVEL_WRITTEN;
  CHECK_OK(duralog_consumer_open(log, "g", &o, &c));
  CHECK_OK(duralog_consumer_get(c, &s));
  CHECK(!s.diverged && s.position == (s.committed + 1 ? s.committed : 0));
  if (committed) CHECK(s.committed + 1 && s.committed >= committed);
  CHECK(s.position <= atomic_load(&run->committing));
  CHECK_OK(duralog_consumer_close(&c));
}

/* Opening succeeds at once (I12), and the log goes on (I7). */
static void check_next_life(void) {
  duralog_options o = options_of(run->mode);
  duralog_report report;
  o.host_driven = true;
  duralog *log = open_reporting(run->path, &o, &report);
  CHECK_EQUAL(report.damage_count, 0);
  uint64_t end = watermarks_of(log).end, epoch = watermarks_of(log).epoch;
  check_log(log);
  check_group(log);
  struct noted *noted = &run->noted[0];
  uint64_t n = atomic_load(&noted->count);
  noted->offset[n] = append_operation(log, 0, n);
  CHECK_EQUAL(noted->offset[n], end);
  atomic_store(&noted->count, n + 1);
  CHECK(watermarks_of(log).epoch > epoch); /* I8 */
  check_log(log);
  close_log(log);
}

/* As the next child needs it: by looking only, so that it recovers itself. */
static void look_at_heritage(void) {
  duralog_options o = options_of(run->mode);
  duralog_report report;
  o.host_driven = true;
  o.read_only = true;
  duralog *log = open_reporting(run->path, &o, &report);
  CHECK_EQUAL(report.damage_count, 0);
  check_log(log);
  close_log(log);
}

/* ---- a case ---- */

/* Whether the child was killed. */
static bool live_until(const char *aim, uint64_t k) {
  run->aim = aim;
  run->k = k;
  atomic_store(&run->hits, 0);
  int status = child_end(child_start(live, NULL));
  run->aim = NULL;
  run->counting = false;
  if (status != 0) CHECK_EQUAL(status, 256 + SIGKILL);
  kills += status != 0;
  return status != 0;
}

/* A writer that was killed when it had prepared a segment but not named it. */
static void leave_heritage(void) {
  run->openings = 1;
  CHECK(live_until("create/rename", 4));
  look_at_heritage();
}

static void begin_case(const struct test_place *at, const struct mode *m) {
  memset(run, 0, sizeof *run);
  directory_remove(at->path);
  run->mode = m;
  run->path = at->path;
  run->writers = m->kind == THREADS ? WRITERS_MAX : 1;
  if (m->kind == HEIR) leave_heritage();
  run->openings = m->kind == HEIR ? 1 : OPENINGS;
}

/* Die at the point for the k-th time, and look. Threads may not come to it so
 * often this time. */
static bool run_case(const struct test_place *at, const struct mode *m,
                     const char *point, uint64_t k) {
  test_note("the case\nreplay: build/tests/test_kill_steps replay %s %s %llu",
            m->name, point, (unsigned long long)k);
  begin_case(at, m);
  bool killed = live_until(point, k);
  if (!killed && m->kind != THREADS)
    test_failed(__FILE__, __LINE__, "the step was not reached that often");
  check_next_life();
  return killed;
}

/* All points that the mode's story passes, and how often. */
static size_t discover(const struct test_place *at, const struct mode *m,
                       struct point points[POINTS_MAX]) {
  test_note("counting the steps of %s", m->name);
  begin_case(at, m);
  run->counting = true;
  CHECK(!live_until(NULL, 0));
  memcpy(points, run->points, sizeof run->points);
  size_t count = run->point_count;
  check_next_life();
  return count;
}

/* The first times, one in the middle and the last. Around calls, and in the
 * second story, the first and the last: the second is much like the first. With
 * threads the first and one in the middle of the steps alone, since each case
 * takes many turns of the scheduler. */
static void kill_at_point(const struct test_place *at, const struct mode *m,
                          const struct point *p) {
  const uint64_t some[] = {1, 2, 3, p->count / 2, p->count};
  bool around =
      strncmp(p->name, "before/", 7) == 0 || strncmp(p->name, "after/", 6) == 0;
  uint64_t last = 0;
  for (size_t i = 0; i < COUNT_OF(some); i++) {
    if (some[i] <= last || some[i] > p->count) continue;
    if ((around || m->kind == HEIR) && i % 4 != 0) continue;
    if (m->kind == THREADS && (around || i % 3 != 0)) continue;
    last = some[i];
    run_case(at, m, p->name, last);
  }
}

static void kill_everywhere(struct test_place *at, enum story_kind kind) {
  struct point points[POINTS_MAX];
  run = shared_memory(sizeof *run);
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    if (modes[i].kind != kind) continue;
    size_t count = discover(at, &modes[i], points);
    CHECK(count >= STEPS_AT_LEAST);
    for (size_t p = 0; p < count; p++) kill_at_point(at, &modes[i], &points[p]);
  }
  shared_memory_free(run, sizeof *run);
}

static void killed_at_each_step_from_creation_on(struct test_place *at) {
  kill_everywhere(at, BIRTH);
}

static void killed_at_each_step_after_a_killed_writer(struct test_place *at) {
  kill_everywhere(at, HEIR);
}

static void killed_by_whichever_thread_comes_first(struct test_place *at) {
  kill_everywhere(at, THREADS);
}

/* ---- one case ---- */

static struct {
  const struct mode *mode;
  const char *point;
  uint64_t k;
} replayed;

static void the_replayed_case(struct test_place *at) {
  run = shared_memory(sizeof *run);
  run_case(at, replayed.mode, replayed.point, replayed.k);
  shared_memory_free(run, sizeof *run);
}

static int replay(char **argv) {
  static const struct test tests[] = {TEST(the_replayed_case)};
  for (size_t i = 0; i < COUNT_OF(modes); i++)
    if (strcmp(modes[i].name, argv[2]) == 0) replayed.mode = &modes[i];
  replayed.point = argv[3];
  replayed.k = strtoull(argv[4], NULL, 10);
  if (!replayed.mode) fprintf(stderr, "no such mode: %s\n", argv[2]);
  return replayed.mode ? test_main(1, argv, tests, COUNT_OF(tests)) : 2;
}

static const struct test tests[] = {
    TEST(killed_at_each_step_from_creation_on),
    TEST(killed_at_each_step_after_a_killed_writer),
    TEST(killed_by_whichever_thread_comes_first),
};

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "replay") == 0) return replay(argv);
  int status = TEST_MAIN(tests);
  printf("kills %llu\n", (unsigned long long)kills);
  return status;
}
