/* SPDX-License-Identifier: MIT
 *
 * A full disk (I19): on a small file system of its own, mounted in a child, so
 * that a signal would be seen as such.
 */
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support.h"

enum {
  DISK_BYTES = 8 << 20,
  XFS_BYTES = 320 << 20, /* mkfs.xfs makes none smaller than 300 MiB */
  ROOM = 5 * (64 << 10) + (40 << 10)
};

struct scene {
  const struct test_place *at;
  const char *kind; /* of file system */
  duralog_durability mode;
  bool host_driven;
  char disk[224], filling[240], log[240];
};

static void mount_scene(struct scene *s) {
  snprintf(s->disk, sizeof s->disk, "%s/disk", s->at->root);
  snprintf(s->filling, sizeof s->filling, "%s/filling", s->disk);
  snprintf(s->log, sizeof s->log, "%s/log", s->disk);
  mounts_own();
  directory_make(s->disk);
  bool xfs = strcmp(s->kind, "xfs") == 0;
  mount_disk(s->at, s->kind, xfs ? XFS_BYTES : DISK_BYTES, s->disk);
  disk_fill(s->filling, ROOM);
}

static duralog *open_scene(const struct scene *s) {
  duralog_options o = small_options();
  o.durability = s->mode;
  o.host_driven = s->host_driven;
  return open_with(s->log, &o);
}

/* Append until the disk is full; how many there are now. */
static uint64_t append_until_full(duralog *log) {
  uint8_t bytes[RECORD_BYTES_MAX];
  for (uint64_t i = watermarks_of(log).end;; i++) {
    uint64_t offset = 77;
    size_t size = record_make(i, bytes);
    duralog_error error = duralog_append(log, bytes, size, &offset);
    if (error == DURALOG_E_FULL) {
      CHECK_EQUAL(offset, 77);
      return i;
    }
    CHECK_OK(error);
    CHECK_EQUAL(offset, i);
  }
}

static void check_full(duralog *log, uint64_t count) {
  duralog_diagnostic d = {.struct_size = sizeof d};
  uint8_t bytes[4096] = {0};
  CHECK_EQUAL(watermarks_of(log).end, count);
  for (int i = 0; i < 5; i++) /* again and again, and nothing changes */
    CHECK_IS(DURALOG_E_FULL, duralog_append(log, bytes, sizeof bytes, NULL));
  duralog_error error = duralog_tick(log); /* may try to prepare, too */
  CHECK(error == DURALOG_OK || error == DURALOG_E_FULL);
  CHECK_OK(duralog_diagnose(log, &d));
  CHECK_EQUAL(d.error, DURALOG_E_FULL);
  CHECK(d.os_error != 0);
  check_numbers(log, count);
  CHECK_OK(duralog_sync(log));
  CHECK_EQUAL(watermarks_of(log).durable, count);
}

static void full_and_free_again(void *context) {
  struct scene *s = context;
  mount_scene(s);
  duralog *log = open_scene(s);
  uint64_t count = append_until_full(log);
  CHECK(count > 500);
  check_full(log, count);
  CHECK_CALL(unlink(s->filling)); /* room, without reopening */
  append_numbers(log, count, 2000);
  check_numbers(log, count + 2000);
  close_log(log);
  log = open_scene(s);
  check_numbers(log, count + 2000);
  close_log(log);
}

static const duralog_durability modes[] = {
    {.sync_every_records = 1},
    {.pagecache = true},
    {.sync_every_records = 10, .sync_every_bytes = 5000},
    {.sync_interval_ms = 10}};

/* Half of them host-driven: with each seed the other half. */
static void try_in_all_modes(struct test_place *at, const char *kind,
                             void (*body)(void *)) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    if (SANITIZED && (m + TEST_SEED / 2) % 3 != 0) continue;
    struct scene s = {.at = at,
                      .kind = kind,
                      .mode = modes[m],
                      .host_driven = (m + TEST_SEED) % 2};
    test_note("mode %zu, host-driven %d", m, s.host_driven);
    child_run(body, &s);
    directory_remove(path_in(at, "disk"));
  }
}

static void a_full_ext4_is_an_error_until_there_is_room(struct test_place *at) {
  try_in_all_modes(at, "ext4", full_and_free_again);
}

static void a_full_tmpfs_is_an_error_until_there_is_room(
    struct test_place *at) {
  try_in_all_modes(at, "tmpfs", full_and_free_again);
}

static void a_full_xfs_is_an_error_until_there_is_room(struct test_place *at) {
  try_in_all_modes(at, "xfs", full_and_free_again);
}

/* What is full can be closed, reopened, read and recovered without space. */
static void reopen_full(void *context) {
  struct scene *s = context;
  mount_scene(s);
  duralog *log = open_scene(s);
  uint64_t count = append_until_full(log);
  disk_fill(path_join(s->disk, "rest"), 0);
  for (int life = 0; life < 3; life++) {
    close_log(log);
    log = open_scene(s);
    check_full(log, count);
  }
  CHECK_CALL(unlink(s->filling));
  append_numbers(log, count, 500);
  close_log(log);
}

static void a_full_log_closes_and_reopens_without_space(struct test_place *at) {
  try_in_all_modes(at, "ext4", reopen_full);
}

static void fill_and_die(void *context) {
  struct scene *s = context;
  duralog *log = open_scene(s);
  append_until_full(log);
  raise(SIGKILL);
}

static void recover_full(void *context) {
  struct scene *s = context;
  mount_scene(s);
  CHECK_EQUAL(child_end(child_start(fill_and_die, s)), 256 + SIGKILL);
  disk_fill(path_join(s->disk, "rest"), 0);
  duralog *log = open_scene(s);
  uint64_t count = watermarks_of(log).end;
  CHECK(count > 500);
  check_full(log, count);
  CHECK_CALL(unlink(s->filling));
  append_numbers(log, count, 500);
  close_log(log);
}

static void a_killed_full_log_recovers_without_space(struct test_place *at) {
  try_in_all_modes(at, "ext4", recover_full);
}

/* A batch that needs a new segment fails as a whole; a smaller one that fits
 * into what is left goes in. */
static void batches_when_full(void *context) {
  struct scene *s = context;
  uint8_t bytes[1000] = {0};
  duralog_entry entries[40];
  uint64_t first = 77;
  mount_scene(s);
  duralog *log = open_scene(s);
  for (size_t i = 0; i < COUNT_OF(entries); i++)
    entries[i] = (duralog_entry){.data = bytes, .size = sizeof bytes};
  duralog_error error = DURALOG_OK;
  while (error == DURALOG_OK)
    error = duralog_append_batch(log, entries, COUNT_OF(entries),
                                 DURALOG_LEVEL_DEFAULT, NULL);
  CHECK_IS(DURALOG_E_FULL, error);
  uint64_t end = watermarks_of(log).end;
  CHECK_EQUAL(end % COUNT_OF(entries), 0); /* whole batches (I4) */
  CHECK_IS(DURALOG_E_FULL, duralog_append_batch(log, entries, COUNT_OF(entries),
                                                DURALOG_LEVEL_DEFAULT, &first));
  CHECK_EQUAL(first, 77);
  CHECK_EQUAL(watermarks_of(log).end, end);
  CHECK_OK(
      duralog_append_batch(log, entries, 1, DURALOG_LEVEL_DEFAULT, &first));
  CHECK_EQUAL(first, end);
  close_log(log);
}

static void a_batch_on_a_full_disk_is_whole_or_absent(struct test_place *at) {
  struct scene s = {.at = at, .kind = "ext4", .mode = modes[0]};
  child_run(batches_when_full, &s);
}

static void file_limit_body(void *context) {
  struct scene *s = context;
  struct rlimit limit = {32 << 10, RLIM_INFINITY};
  snprintf(s->log, sizeof s->log, "%s", s->at->path);
  duralog *log = open_scene(s);
  append_numbers(log, 0, 10);
  CHECK_CALL(setrlimit(RLIMIT_FSIZE, &limit));
  uint64_t count = append_until_full(log);
  check_full(log, count);
  limit.rlim_cur = limit.rlim_max;
  CHECK_CALL(setrlimit(RLIMIT_FSIZE, &limit));
  append_numbers(log, count, 1000);
  check_numbers(log, count + 1000);
  close_log(log);
}

static void a_file_size_limit_stops_a_log_without_a_signal(
    struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    struct scene s = {.at = at, .mode = modes[m], .host_driven = m % 2};
    child_run(file_limit_body, &s);
    directory_remove(at->path);
  }
}

/* ---- out of descriptors ---- */

static void limit_descriptors(rlim_t count) {
  struct rlimit limit;
  CHECK_CALL(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = count;
  CHECK_CALL(setrlimit(RLIMIT_NOFILE, &limit));
}

static void descriptors_body(void *context) {
  struct scene *s = context;
  uint8_t bytes[RECORD_BYTES_MAX];
  snprintf(s->log, sizeof s->log, "%s", s->at->path);
  duralog *log = open_scene(s);
  append_numbers(log, 0, 1);
  limit_descriptors(3);
  uint64_t i = 1;
  duralog_error error;
  while ((error = duralog_append(log, bytes, record_make(i, bytes), NULL)) ==
         DURALOG_OK)
    i++;
  CHECK_IS(DURALOG_E_RESOURCES, error);
  CHECK_EQUAL(watermarks_of(log).end, i);
  CHECK_IS(DURALOG_E_RESOURCES, duralog_append(log, bytes, 300, NULL));
  CHECK_OK(duralog_sync(log));
  limit_descriptors(1024);
  append_numbers(log, i, 1000);
  check_numbers(log, i + 1000);
  close_log(log);
}

static void out_of_descriptors_appends_fail_until_there_are_some(
    struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    struct scene s = {.at = at, .mode = modes[m], .host_driven = true};
    child_run(descriptors_body, &s);
    directory_remove(at->path);
  }
}

static const struct test tests[] = {
    TEST(a_full_ext4_is_an_error_until_there_is_room),
    TEST(a_full_tmpfs_is_an_error_until_there_is_room),
    TEST(a_full_xfs_is_an_error_until_there_is_room),
    TEST(a_full_log_closes_and_reopens_without_space),
    TEST(a_killed_full_log_recovers_without_space),
    TEST(a_batch_on_a_full_disk_is_whole_or_absent),
    TEST(a_file_size_limit_stops_a_log_without_a_signal),
    TEST(out_of_descriptors_appends_fail_until_there_are_some),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
