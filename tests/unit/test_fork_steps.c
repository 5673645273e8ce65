/* SPDX-License-Identifier: MIT
 *
 * A fork at each step (I13): "duralog_close in a child frees the child's
 * memory", whatever the parent's threads were doing when it was made.
 *
 * A child sees its parent's memory as of one moment, which may lie between any
 * two stores of a thread that is not there any more: in the middle of growing
 * a table, of closing a segment that nobody needs, of filling a reader's
 * buffer. Here the thread itself forks at such moments: at every STEP, before
 * and after every call that takes or gives back memory, descriptors and
 * mappings. Each child finds that it may do nothing, and closes what it has
 * inherited: nothing may be freed twice, or be used that is freed. Memory that
 * is given back is overwritten first, so that who uses it notices.
 *
 * One thread and a host that drives the log: the same forks each time.
 */
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include "io.h"
#include "support.h"

enum { RECORD_BYTES = 3000, SOME_RECORDS = 160, STEP_EVERY = 16 };

static struct {
  duralog *log; /* NULL: no forks now */
  duralog_reader *readers[2];
  duralog_held *held;
  duralog_watch *watches[3];
  uint64_t forks, steps;
} family;

static uint64_t forks; /* of all families */

/* ---- the child ---- */

static bool is_child; /* it forks no further */

static void close_inherited(void *unused) {
  (void)unused;
  is_child = true;
  signal(SIGSEGV, SIG_DFL); /* the child's end, not a jump into the tests */
  signal(SIGBUS, SIG_DFL);
  duralog_record r;
  duralog_watermarks w = {.struct_size = sizeof w};
  CHECK_IS(DURALOG_E_FORKED, duralog_append(family.log, "x", 1, NULL));
  CHECK_IS(DURALOG_E_FORKED, duralog_get_watermarks(family.log, &w));
  CHECK_IS(DURALOG_E_FORKED, duralog_abort(family.log));
  for (size_t i = 0; i < COUNT_OF(family.readers); i++) {
    if (!family.readers[i]) continue;
    CHECK_IS(DURALOG_E_FORKED, duralog_read_next(family.readers[i], &r));
    CHECK_OK(duralog_reader_close(&family.readers[i]));
  }
  if (family.held) CHECK_OK(duralog_release(&family.held));
  for (size_t i = 0; i < COUNT_OF(family.watches); i++) {
    if (!family.watches[i]) continue;
    CHECK_IS(DURALOG_E_FORKED, duralog_watch_take(family.watches[i], NULL));
    CHECK_OK(duralog_watch_close(&family.watches[i]));
  }
  CHECK_OK(duralog_close(&family.log));
}

static void reach(const char *name) {
  if (!family.log || is_child) return;
  test_note("a fork at %s, the %llu-th", name,
            (unsigned long long)++family.forks);
  child_run(close_inherited, NULL);
}

/* ---- the operating system, with forks around its calls ---- */

static void fork_step(io_env *io, const char *name) {
  (void)io;
  if (family.steps++ % STEP_EVERY == 0) reach(name);
}
static void *fork_alloc(io_env *io, size_t bytes) {
  reach("before alloc");
  void *memory = io_posix()->alloc(io, bytes);
  reach("after alloc");
  return memory;
}
static void fork_free(io_env *io, void *memory) {
  reach("before free");
  if (memory) memset(memory, 0xDD, malloc_usable_size(memory));
  io_posix()->free(io, memory);
  reach("after free");
}
static int fork_file_open(io_env *io, int dir, const char *name, int flags,
                          uint32_t mode) {
  reach("before file_open");
  int file = io_posix()->file_open(io, dir, name, flags, mode);
  reach("after file_open");
  return file;
}
static int fork_close(io_env *io, int handle) {
  reach("before close");
  int result = io_posix()->close(io, handle);
  reach("after close");
  return result;
}
static int fork_map(io_env *io, int file, uint64_t bytes, bool writable,
                    void **address) {
  reach("before map");
  int result = io_posix()->map(io, file, bytes, writable, address);
  reach("after map");
  return result;
}
static int fork_unmap(io_env *io, void *address, uint64_t bytes) {
  reach("before unmap");
  int result = io_posix()->unmap(io, address, bytes);
  CHECK_EQUAL(result, 0);
  reach("after unmap");
  return result;
}
static int64_t fork_file_read(io_env *io, int file, void *buffer, size_t size,
                              uint64_t position) {
  reach("before file_read");
  return io_posix()->file_read(io, file, buffer, size, position);
}

static int fork_event_open(io_env *io, bool timed) {
  reach("before event_open");
  int event = io_posix()->event_open(io, timed);
  reach("after event_open");
  return event;
}
static void fork_event_set(io_env *io, int event, bool timed, uint64_t at) {
  reach("before event_set"); /* the watches' lock may be held */
  io_posix()->event_set(io, event, timed, at);
  reach("after event_set");
}

/* What a fork has to do with is memory: the disk is not waited for. */
static int no_file_sync(io_env *io, int file, const struct io_part *part,
                        enum io_sync_reason why) {
  (void)io, (void)file, (void)part, (void)why;
  return 0;
}

static int no_sync(io_env *io, int file, enum io_sync_reason why) {
  (void)io, (void)file, (void)why;
  return 0;
}

static const duralog_environment *environment(void) {
  static struct duralog_environment io;
  io = *io_posix();
  io.alloc = fork_alloc;
  io.free = fork_free;
  io.file_open = fork_file_open;
  io.close = fork_close;
  io.map = fork_map;
  io.unmap = fork_unmap;
  io.file_read = fork_file_read;
  io.event_open = fork_event_open;
  io.event_set = fork_event_set;
  io.file_sync = no_file_sync;
  io.dir_sync = no_sync;
  io.step = fork_step;
  return &io;
}

/* ---- the parent's work ---- */

/* A child may be made while the parent has a reservation. */
static void publish_one(const uint8_t *data) {
  void *memory = NULL;
  CHECK_OK(duralog_reserve(family.log, RECORD_BYTES, -1, &memory));
  memcpy(memory, data, RECORD_BYTES);
  reach("host wrote");
  CHECK_OK(
      duralog_publish(family.log, RECORD_BYTES, DURALOG_LEVEL_WRITTEN, NULL));
}

static void append_some(uint64_t count) {
  static uint8_t data[RECORD_BYTES];
  for (uint64_t i = 0; i < count; i++) {
    memset(data, (int)i, sizeof data);
    if (i % 4 == 1)
      publish_one(data);
    else
      CHECK_OK(duralog_append(family.log, data, sizeof data, NULL));
    if (i % 7 == 6) CHECK_OK(duralog_tick(family.log));
  }
}

/* Here and there, so that segments are opened, indexed and closed again. */
static void read_some(duralog_reader *reader, uint64_t count, uint64_t stride) {
  uint64_t end = watermarks_of(family.log).end;
  duralog_record r;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t offset = (i + 1) * stride % end;
    CHECK_OK(duralog_read_at(reader, offset, &r));
    CHECK(r.offset == offset && r.size == RECORD_BYTES);
  }
}

static void open_family(const struct test_place *at, uint64_t segment_bytes) {
  duralog_options o = small_pagecache();
  o.segment_bytes = segment_bytes;
  o.record_bytes_max = segment_bytes / 2;
  o.host_driven = true;
  o.copying_reads = at->copying;
  o.environment = environment();
  memset(&family, 0, sizeof family);
  family.log = open_with(at->path, &o);
}

static void close_family(void) {
  duralog *log = family.log;
  family.log = NULL; /* no other call may run from here on, nor a fork */
  if (family.held) CHECK_OK(duralog_release(&family.held));
  for (size_t i = 0; i < COUNT_OF(family.readers); i++)
    CHECK_OK(duralog_reader_close(&family.readers[i]));
  close_log(log);
  forks += family.forks;
}

static void open_readers(void) {
  for (size_t i = 0; i < COUNT_OF(family.readers); i++)
    family.readers[i] = reader_of(family.log, DURALOG_LEVEL_WRITTEN);
}

/* More segments than stay open, and than the first table has room for. */
static void forked_amid_many_segments(struct test_place *at) {
  duralog_record r;
  open_family(at, 16 << 10);
  append_some(SOME_RECORDS);
  CHECK(directory_count(at->path, ".seg") > 32);
  open_readers();
  read_some(family.readers[0], 60, 37);
  CHECK_OK(duralog_read_at(family.readers[1], 5, &r));
  CHECK_OK(duralog_hold(family.readers[1], &r, &family.held));
  read_some(family.readers[1], 20, 11);
  append_some(20);
  CHECK(family.forks > 500);
  close_family();
}

/* One segment whose index outgrows its first table. */
static void forked_amid_a_large_segment(struct test_place *at) {
  open_family(at, 1 << 20);
  append_some(300);
  open_readers();
  read_some(family.readers[0], 40, 299);
  read_some(family.readers[1], 10, 71);
  CHECK(family.forks > 30);
  close_family();
}

/* Watches that come and go, and are taken and signalled. */
static void forked_amid_watches(struct test_place *at) {
  open_family(at, 16 << 10);
  append_some(2);
  open_readers();
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 3; i++)
      CHECK_OK(duralog_watch_open(family.log, (duralog_watched)i,
                                  &family.watches[i]));
    for (int n = 0; n < 3; n++) {
      for (int i = 0; i < 3; i++)
        CHECK_OK(duralog_watch_take(family.watches[i], NULL));
      append_some(2);
      CHECK_OK(duralog_sync(family.log));
      CHECK_OK(duralog_tick(family.log));
    }
    for (int i = 0; i < 3; i++)
      CHECK_OK(duralog_watch_close(&family.watches[(size_t)(i + round) % 3]));
  }
  CHECK(family.forks > 200);
  close_family();
}

/* A record that does not fit into the buffer that a copying reader has. */
static void forked_amid_a_growing_buffer(struct test_place *at) {
  static uint8_t large[300 << 10];
  duralog_record r;
  open_family(at, 1 << 20);
  append_some(2);
  CHECK_OK(duralog_append(family.log, large, sizeof large, NULL));
  open_readers();
  for (int i = 0; i < 3; i++)
    CHECK_OK(duralog_read_next(family.readers[0], &r));
  CHECK_EQUAL(r.size, sizeof large);
  close_family();
}

static const struct test tests[] = {
    TEST_BOTH(forked_amid_many_segments),
    TEST_BOTH(forked_amid_a_large_segment),
    TEST_BOTH(forked_amid_a_growing_buffer),
    TEST(forked_amid_watches),
};

int main(int argc, char **argv) {
  int status = TEST_MAIN(tests);
  printf("forks %llu\n", (unsigned long long)forks);
  return status;
}
