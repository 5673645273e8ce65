/* SPDX-License-Identifier: MIT
 *
 * Where the library's threads run: off the processor that the log is appended
 * on, and never where the host does not let them.
 */
#include <sched.h>
#include <semaphore.h>
#include <time.h>

#include "format.h"
#include "io.h"
#include "support.h"

/* ---- one thread, on the system's processors ---- */

static cpu_set_t mine(void) {
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
  return set;
}

static void check_mine(cpu_set_t expected) {
  cpu_set_t found = mine();
  CHECK(CPU_EQUAL(&found, &expected));
}

/* Stands for a host that sets a thread's processors from outside. */
static void host_sets(cpu_set_t set) {
  CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

/* A thread that may run on all of `allowed` keeps off that one, where there is
 * another. */
static void check_keeps_off(struct io_processors *memory, cpu_set_t allowed,
                            int processor) {
  cpu_set_t expected = allowed;
  CPU_CLR((size_t)processor, &expected);
  io_posix()->keep_off(io_posix(), memory, (uint32_t)processor + 1);
  check_mine(CPU_COUNT(&expected) ? expected : allowed);
}

static void keep_off_each(void *memory) {
  cpu_set_t all = mine(), one;
  int last = 0;
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET((size_t)i, &all)) continue;
    last = i;
    check_keeps_off(memory, all, i);
  }
  cpu_set_t before = mine();
  io_posix()->keep_off(io_posix(), memory, 0); /* nobody knows which */
  check_mine(before);

  CPU_ZERO(&one);
  CPU_SET((size_t)last, &one);
  host_sets(one);
  check_keeps_off(memory, one, last);
  check_keeps_off(memory, one, last ? 0 : 1);
  host_sets(all);
  check_keeps_off(memory, all, last);
  check_keeps_off(memory, all, last);
}

static void a_thread_keeps_off_within_what_the_host_allows(
    struct test_place *at) {
  struct io_processors memory = {.ours = {0}};
  void *thread;
  (void)at;
  CHECK(io_posix()->thread_start(io_posix(), keep_off_each, &memory, &thread) ==
        0);
  io_posix()->thread_join(io_posix(), thread);
}

static void a_threads_processor_is_one_that_it_may_run_on(
    struct test_place *at) {
  cpu_set_t all = mine();
  (void)at;
  uint32_t processor = io_posix()->processor(io_posix());
  CHECK(processor > 0);
  CHECK(CPU_ISSET((size_t)processor - 1, &all));
}

/* ---- a log ---- */

static struct {
  struct duralog_environment io;
  _Atomic uint32_t processor; /* that appends run on */
  struct {
    struct io_processors *_Atomic memory; /* tells the two apart */
    _Atomic uint32_t keeps_off;
  } threads[2];
  _Atomic bool repeated; /* the same was asked of one twice in a row */
  sem_t called;
} world;

static uint32_t told_processor(io_env *io) {
  (void)io;
  return atomic_load(&world.processor);
}

static void noted_keep_off(io_env *io, struct io_processors *memory,
                           uint32_t processor) {
  (void)io;
  for (int i = 0; i < 2; i++) {
    struct io_processors *free_slot = NULL;
    if (!atomic_compare_exchange_strong(&world.threads[i].memory, &free_slot,
                                        memory) &&
        free_slot != memory)
      continue;
    if (atomic_exchange(&world.threads[i].keeps_off, processor) == processor)
      atomic_store(&world.repeated, true);
    break;
  }
  sem_post(&world.called);
}

static bool both_keep_off(uint32_t processor) {
  return atomic_load(&world.threads[0].keeps_off) == processor &&
         atomic_load(&world.threads[1].keeps_off) == processor;
}

/* False if no call came while the caller had reason to wait for one. */
static bool wait_for_a_call(void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 20 * 1000 * 1000;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  return sem_timedwait(&world.called, &until) == 0;
}

static void append_segment(duralog *log) {
  static const char data[1000];
  for (uint64_t bytes = 0; bytes < SEGMENT_BYTES_MIN; bytes += sizeof data)
    CHECK_OK(duralog_append(log, data, sizeof data, NULL));
}

/* A thread is told by the append that wakes it. One that was awake meanwhile,
 * or was on its way with what it knew before, is told by a later one. */
static void append_until_both_keep_off(duralog *log, uint32_t processor) {
  enum { IN_VAIN_MAX = 1000 }; /* or else it never comes */
  int in_vain = 0;
  while (!both_keep_off(processor) && in_vain < IN_VAIN_MAX) {
    append_segment(log);
    while (!both_keep_off(processor) && wait_for_a_call()) continue;
    in_vain++;
  }
  CHECK(both_keep_off(processor));
}

static void both_threads_keep_off_the_appends(struct test_place *at) {
  duralog_options o = {.struct_size = sizeof o,
                       .durability = {.pagecache = true},
                       .segment_bytes = SEGMENT_BYTES_MIN,
                       .environment = &world.io};
  world.io = *io_posix();
  world.io.processor = told_processor;
  world.io.keep_off = noted_keep_off;
  CHECK(sem_init(&world.called, 0, 0) == 0);
  duralog *log = open_with(at->path, &o);
  for (uint32_t processor = 6; processor < 10; processor++) {
    atomic_store(&world.processor, processor);
    append_until_both_keep_off(log, processor);
  }
  for (int i = 0; i < 4; i++) append_segment(log); /* not asked for again */
  close_log(log);
  CHECK(both_keep_off(9));
  CHECK(!atomic_load(&world.repeated));
  sem_destroy(&world.called);
}

static const struct test tests[] = {
    TEST(a_thread_keeps_off_within_what_the_host_allows),
    TEST(a_threads_processor_is_one_that_it_may_run_on),
    TEST(both_threads_keep_off_the_appends),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
