/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS, at each access of the library to a mapping.
 *
 * The environment is the operating system's, but at the k-th event it cuts
 * files to nothing: at an access the very file that is going to be touched, at
 * a step between stores and where one was mapped all that are mapped.
 * A story of a log's life is told for k = 1, 2, ... until it has no more; so a
 * new access is cut at without being listed here, and one that nobody guards
 * ends the test. No call may hang, end the process, leave a descriptor, or say
 * that it did what it cannot have done.
 *
 * A sync does nothing here: nobody cuts the power.
 *
 * Replay one case: K=<k> build/tests/test_guard_steps <test>
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"
#include "support.h"

enum { MAPS_MAX = 64, RECORDS = 16, RECORD_BYTES = 1500 };

/* ---- the environment ---- */

static struct {
  pthread_mutex_t mutex;
  struct mapping {
    uint8_t *at;
    uint64_t bytes;
    char path[PATH_MAX];
  } maps[MAPS_MAX];
  uint64_t events, cut_at; /* 0: never */
  bool in_threads;         /* only accesses of the library's own threads */
  pthread_t host;
  bool damaged;
  atomic_bool cut, faulted;
} world = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* A segment's file gets its name after it was mapped. */
static void cut_named(const char *path) {
  char named[PATH_MAX];
  snprintf(named, sizeof named, "%s", path);
  char *temporary = strstr(named, ".tmp");
  if (!file_exists(named) && temporary) *temporary = 0;
  CHECK_CALL(truncate(named, 0));
}

/* Whether the file is to be cut now. */
static bool is_due(void) {
  bool counts = !world.in_threads || !pthread_equal(pthread_self(), world.host);
  return counts && ++world.events == world.cut_at;
}

/* At a step between stores, or where something was mapped: all are cut. */
static void event(void) {
  pthread_mutex_lock(&world.mutex);
  bool due = is_due();
  for (size_t i = 0; due && i < MAPS_MAX; i++)
    if (world.maps[i].at) cut_named(world.maps[i].path);
  pthread_mutex_unlock(&world.mutex);
  if (due) atomic_store(&world.cut, true);
}

static void event_step(io_env *io, const char *name) {
  (void)io, (void)name;
  event();
}

/* The control file is not guarded, and duralog.h says so. */
static bool is_segment(const char *path) { return strstr(path, ".seg"); }

static int noting_map(io_env *io, int file, uint64_t bytes, bool writable,
                      void **address) {
  char link[64], path[PATH_MAX];
  int result = io_posix()->map(io, file, bytes, writable, address);
  if (result) return result;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t n = readlink(link, path, sizeof path - 1);
  CHECK(n > 0);
  path[n] = 0;
  if (!is_segment(path)) return 0;
  pthread_mutex_lock(&world.mutex);
  size_t i = 0;
  while (i < MAPS_MAX && world.maps[i].at) i++;
  CHECK(i < MAPS_MAX);
  struct mapping *m = &world.maps[i];
  memcpy(m->path, path, sizeof path);
  m->at = *address;
  m->bytes = bytes;
  pthread_mutex_unlock(&world.mutex);
  event();
  return 0;
}

static int noting_unmap(io_env *io, void *address, uint64_t bytes) {
  pthread_mutex_lock(&world.mutex);
  for (size_t i = 0; i < MAPS_MAX; i++)
    if (world.maps[i].at == address) world.maps[i].at = NULL;
  pthread_mutex_unlock(&world.mutex);
  return io_posix()->unmap(io, address, bytes);
}

static void cut_under(const struct io_range *range) {
  for (size_t i = 0; i < MAPS_MAX; i++)
    if (world.maps[i].at == range->from) {
      cut_named(world.maps[i].path);
      return;
    }
  test_failed(__FILE__, __LINE__, "an access to what is not mapped");
}

static int cutting_access(io_env *io, const struct io_range *ranges,
                          size_t count, void (*body)(void *), void *context,
                          const void **at) {
  pthread_mutex_lock(&world.mutex);
  bool cuts = is_due();
  for (size_t i = 0; cuts && i < count; i++)
    if (ranges[i].bytes) cut_under(&ranges[i]);
  pthread_mutex_unlock(&world.mutex);
  int result = io_posix()->access(io, ranges, count, body, context, at);
  CHECK(result == 0 || result == -EFAULT);
  if (cuts) atomic_store(&world.cut, true); /* padding is not looked at */
  if (result) atomic_store(&world.faulted, true);
  return result;
}

static int no_file_sync(io_env *io, int file, const struct io_part *part,
                        enum io_sync_reason why) {
  (void)io, (void)file, (void)part, (void)why;
  return 0;
}

static int no_sync(io_env *io, int file, enum io_sync_reason why) {
  (void)io, (void)file, (void)why;
  return 0;
}

static int no_sync_parent(io_env *io, const char *path,
                          enum io_sync_reason why) {
  (void)io, (void)path, (void)why;
  return 0;
}

static io_env *environment(void) {
  static struct duralog_environment io;
  io = *io_posix();
  io.map = noting_map;
  io.unmap = noting_unmap;
  io.access = cutting_access;
  io.step = event_step;
  io.file_sync = no_file_sync;
  io.dir_sync = no_sync;
  io.dir_sync_parent = no_sync_parent;
  return &io;
}

static void world_begin(uint64_t k, bool in_threads) {
  memset(world.maps, 0, sizeof world.maps);
  world.events = 0;
  world.cut_at = k;
  world.in_threads = in_threads;
  world.host = pthread_self();
  world.damaged = false;
  atomic_store(&world.cut, false);
  atomic_store(&world.faulted, false);
}

/* ---- calls ---- */

/* What the guard may make of a call. */
static bool is_guards(duralog_error error) {
  return error == DURALOG_E_POISONED || error == DURALOG_E_IO ||
         error == DURALOG_E_CORRUPT;
}

/* Before the cut a call does what it always does. */
static duralog_error answer(duralog_error error, duralog_error expected) {
  if (error == expected) return error;
  if (!atomic_load(&world.cut))
    CHECK_IS(world.damaged ? DURALOG_E_CORRUPT : expected, error);
  CHECK(is_guards(error));
  return error;
}

static duralog *open_log(const char *path, const duralog_options *o) {
  duralog *log = NULL;
  unsigned before = descriptor_count();
  bool faulted_before = atomic_load(&world.faulted);
  duralog_error error =
      answer(duralog_open(path, o, &log, NULL, NULL), DURALOG_OK);
  CHECK((error == DURALOG_OK) == (log != NULL));
  if (error) CHECK_EQUAL(descriptor_count(), before);
  /* What open itself does not get back, it says. */
  if (!faulted_before && atomic_load(&world.faulted))
    CHECK(error != DURALOG_OK);
  return log;
}

/* Where a store was lost, nothing of the append is visible, and the log is
 * poisoned from then on. */
static void append_some(duralog *log, uint64_t count) {
  static uint8_t bytes[RECORD_BYTES];
  for (uint64_t i = 0; i < count; i++) {
    uint64_t end = watermarks_of(log).end;
    duralog_entry e[2] = {
        {.data = bytes, .size = sizeof bytes - i},
        {.data = bytes, .size = 7, .key = "key", .key_size = 3}};
    size_t n = 1 + i % 2;
    bool faulted_before = atomic_load(&world.faulted);
    duralog_error error =
        answer(duralog_append_batch(log, e, n, DURALOG_LEVEL_DEFAULT, NULL),
               DURALOG_OK);
    uint64_t moved = watermarks_of(log).end - end;
    if (!error) CHECK_EQUAL(moved, n);
    CHECK(moved == 0 || moved == n);
    if (!faulted_before && atomic_load(&world.faulted))
      CHECK_IS(DURALOG_E_POISONED, error);
    if (error) CHECK_IS(error, duralog_append(log, "x", 1, NULL));
  }
}

static void read_all(duralog *log) {
  duralog_reader *r = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record record, records[4];
  duralog_damage damage;
  uint64_t end = watermarks_of(log).end;
  size_t n;
  for (uint64_t at = 0; at < end;) {
    CHECK_OK(duralog_seek(r, DURALOG_SEEK_OFFSET, at));
    duralog_error error =
        answer(at % 3 ? duralog_read_many(r, records, COUNT_OF(records), 0, &n)
                      : duralog_read_next(r, &record),
               DURALOG_OK);
    if (error == DURALOG_E_CORRUPT) {
      CHECK_OK(duralog_reader_diagnose(r, &damage, NULL));
      CHECK(damage.to > at);
      at = damage.to;
    } else {
      at += error || at % 3 == 0 ? 1 : n;
    }
  }
  for (uint64_t at = end; at > 0; at -= min_u64(at, 5)) {
    answer(duralog_read_at(r, at - 1, &record), DURALOG_OK);
    answer(duralog_seek_time(r, INT64_MIN + (int64_t)at), DURALOG_OK);
  }
  answer(duralog_seek_time(r, INT64_MAX), DURALOG_OK);
  CHECK_OK(duralog_reader_close(&r));
}

static void describe_all(duralog *log) {
  duralog_segment s = {.struct_size = sizeof s};
  duralog_error error = DURALOG_OK;
  for (size_t i = 0; error != DURALOG_E_RANGE; i++) {
    error = duralog_get_segment(log, i, &s);
    if (error != DURALOG_E_RANGE) answer(error, DURALOG_OK);
  }
}

/* Closing says it where the clean mark or a seal was lost. */
static void close_cut(duralog *log) {
  bool faulted_before = atomic_load(&world.faulted);
  duralog_error error = answer(duralog_close(&log), DURALOG_OK);
  CHECK(log == NULL);
  if (!faulted_before && atomic_load(&world.faulted))
    CHECK_IS(DURALOG_E_POISONED, error);
}

/* ---- stories ---- */

static duralog_options options_of(void) {
  duralog_options o = small_options();
  o.segment_bytes = 16 << 10;
  o.host_driven = true;
  o.durability.sync_every_records = 3;
  o.environment = environment();
  return o;
}

static void live(const char *path, const duralog_options *o) {
  duralog *log = open_log(path, o);
  if (!log) return;
  append_some(log, RECORDS / 2);
  answer(duralog_tick(log), DURALOG_OK);
  append_some(log, RECORDS / 2);
  answer(duralog_sync(log), DURALOG_OK);
  answer(duralog_tick(log), DURALOG_OK);
  read_all(log);
  describe_all(log);
  close_cut(log);
}

/* Once more, on what is there; and another log is not concerned. */
static void live_twice(const struct test_place *at, const duralog_options *o) {
  duralog_options plain = small_pagecache();
  unsigned before = descriptor_count();
  live(at->path, o);
  live(at->path, o);
  CHECK_EQUAL(descriptor_count(), before);
  CHECK(!is_mapped_below(at->path));
  duralog *other = open_with(path_in(at, "other"), &plain);
  append_numbers(other, 0, 3);
  close_log(other);
  directory_remove(path_in(at, "other"));
}

/* In memory where there is such a place: ext4 flushes a file that was cut to
 * nothing when it is closed, thousands of times here. test_guard cuts files on
 * a disk. */
static bool place_fast(struct test_place *fast) {
  snprintf(fast->root, sizeof fast->root, "/dev/shm/duralog-guard-XXXXXX");
  if (!mkdtemp(fast->root)) return false;
  snprintf(fast->path, sizeof fast->path, "%s/log", fast->root);
  return true;
}

typedef void story(const struct test_place *, const duralog_options *);

static void at_each_access(const struct test_place *at,
                           const duralog_options *o, story *tell) {
  const char *only = getenv("K");
  uint64_t told = 0;
  struct test_place fast = *at;
  bool is_fast = place_fast(&fast);
  if (!is_fast) fast = *at;
  CHECK_OK(duralog_guard_install());
  for (uint64_t k = only ? strtoull(only, NULL, 10) : 1;; k++) {
    test_note("replay: K=%llu", (unsigned long long)k);
    world_begin(k, false);
    tell(&fast, o);
    directory_remove(fast.path);
    if (only || !atomic_load(&world.cut)) break;
    told++;
    if (SANITIZED) k += 6;
  }
  CHECK_OK(duralog_guard_remove());
  if (is_fast) directory_remove(fast.root);
  if (!only) CHECK(told >= (SANITIZED ? 5 : 20));
}

static void a_cut_at_any_access_is_an_error(struct test_place *at) {
  duralog_options o = options_of();
  at_each_access(at, &o, live_twice);
}

static void in_strict_mode_too(struct test_place *at) {
  duralog_options o = options_of();
  o.strict = true;
  at_each_access(at, &o, live_twice);
}

static void with_padding_too(struct test_place *at) {
  duralog_options o = options_of();
  o.pad_syncs = true;
  at_each_access(at, &o, live_twice);
}

/* ---- recovery ---- */

static void die_unclean(void *context) {
  const struct test_place *at = context;
  duralog_options o = options_of();
  world_begin(0, false);
  duralog *log = open_with(at->path, &o);
  append_some(log, RECORDS);
  _exit(0);
}

static void recover_and_live(const struct test_place *at,
                             const duralog_options *o) {
  uint64_t k = world.cut_at;
  CHECK_EQUAL(child_end(child_start(die_unclean, (void *)(uintptr_t)at)), 0);
  world_begin(k, false);
  live(at->path, o);
}

static void recovery_may_be_cut_anywhere(struct test_place *at) {
  duralog_options o = options_of();
  at_each_access(at, &o, recover_and_live);
}

static void accepted_damage_may_be_cut_anywhere(struct test_place *at) {
  duralog_options o = options_of();
  o.accept_damage = true;
  at_each_access(at, &o, recover_and_live);
}

static void damage_and_accept(const struct test_place *at,
                              const duralog_options *o) {
  uint64_t k = world.cut_at;
  CHECK_EQUAL(child_end(child_start(die_unclean, (void *)(uintptr_t)at)), 0);
  file_zero(segment_path(at->path, 1), 4096, 64);
  world_begin(k, false);
  world.damaged = true;
  live(at->path, o);
}

static void a_damaged_log_may_be_cut_while_it_is_accepted(
    struct test_place *at) {
  duralog_options o = options_of();
  o.accept_damage = true;
  at_each_access(at, &o, damage_and_accept);
}

/* ---- the library's own threads, which have all signals blocked ---- */

static void a_thread_of_the_library_may_be_cut(struct test_place *at) {
  duralog_options o = options_of();
  o.host_driven = false;
  CHECK_OK(duralog_guard_install());
  world_begin(1, true);
  duralog *log = open_with(at->path, &o);
  duralog_reader *r = reader_of(log, DURALOG_LEVEL_DURABLE);
  duralog_error error = DURALOG_OK;
  while (!error) error = duralog_append(log, "until it is told", 16, NULL);
  CHECK(atomic_load(&world.cut));
  CHECK_IS(DURALOG_E_POISONED, error);
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(log));
  CHECK_OK(duralog_reader_close(&r));
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&log));
  CHECK_OK(duralog_guard_remove());
}

/* ---- the host's bytes, inside of an access of ours ---- */

static struct {
  const char *path;
  atomic_int faults;
  bool armed;
} host;

/* The file comes back, and the access goes on. */
static void mend(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  CHECK(info->si_code == BUS_ADRERR);
  host.faults++;
  CHECK_CALL(truncate(host.path, 4096));
}

static void cut_the_hosts(io_env *io, const char *step) {
  (void)io;
  if (!host.armed || strcmp(step, "append/body") != 0) return;
  host.armed = false;
  CHECK_CALL(truncate(host.path, 0));
}

static void a_fault_of_what_is_appended_is_the_hosts(struct test_place *at) {
  struct sigaction a = {.sa_sigaction = mend, .sa_flags = SA_SIGINFO}, was;
  struct duralog_environment io = *environment();
  io.step = cut_the_hosts;
  duralog_options o = options_of();
  o.environment = &io;
  uint8_t zeros[4096] = {0};
  host.path = path_in(at, "host");
  file_store(host.path, zeros, sizeof zeros);
  int file = CHECK_CALL(open(host.path, O_RDWR | O_CLOEXEC));
  void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  CHECK(page != MAP_FAILED);
  CHECK_CALL(close(file));
  sigemptyset(&a.sa_mask);
  CHECK_CALL(sigaction(SIGBUS, &a, &was));
  CHECK_OK(duralog_guard_install());
  world_begin(0, false);
  duralog *log = open_with(at->path, &o);
  append_some(log, 2);
  host.armed = true; /* behind its checksum, before it is copied */
  CHECK_OK(duralog_append(log, page, 2000, NULL));
  CHECK_EQUAL(host.faults, 1);
  read_all(log);
  close_log(log);
  CHECK_OK(duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, &was, NULL));
  munmap(page, 4096);
}

int main(int argc, char **argv) {
  static const struct test tests[] = {
      TEST(a_cut_at_any_access_is_an_error),
      TEST(in_strict_mode_too),
      TEST(with_padding_too),
      TEST(recovery_may_be_cut_anywhere),
      TEST(accepted_damage_may_be_cut_anywhere),
      TEST(a_damaged_log_may_be_cut_while_it_is_accepted),
      TEST(a_thread_of_the_library_may_be_cut),
      TEST(a_fault_of_what_is_appended_is_the_hosts),
  };
  return TEST_MAIN(tests);
}
