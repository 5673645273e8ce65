/* SPDX-License-Identifier: MIT
 *
 * Where opening fails, and that everything then is as it was: names, contents
 * and times.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

enum { IDENTITY_FIELDS = 56, META_FIELDS = 72 }; /* lib/format.c */
enum { VERSION_AT = 16, INCOMPATIBLE_AT = 20, COMPATIBLE_AT = 24 };

/* It fails so, and nothing below the test's directory changes. */
static void fails_unchanged(const struct test_place *at, duralog_error expected,
                            const char *path, const duralog_options *o) {
  uint64_t before = tree_digest(at->root, true);
  open_fails(expected, path, o);
  CHECK_UNCHANGED(before, at->root);
}

static void fails_for_all(const struct test_place *at, duralog_error expected,
                          const char *path) {
  duralog_options o = small_options();
  fails_unchanged(at, expected, path, &o);
  o.accept_damage = true;
  fails_unchanged(at, expected, path, &o);
  o.accept_damage = false;
  o.read_only = true;
  fails_unchanged(at, expected, path, &o);
}

static void make_log(const char *path, uint64_t records) {
  duralog_options o = small_options();
  duralog *log = open_with(path, &o);
  append_numbers(log, 0, records);
  close_log(log);
}

/* ---- nothing there ---- */

static void a_missing_log_is_not_made_where_it_must_exist(
    struct test_place *at) {
  duralog_options o = small_options();
  o.must_exist = true;
  fails_unchanged(at, DURALOG_E_NOT_FOUND, at->path, &o);
  directory_make(at->path);
  fails_unchanged(at, DURALOG_E_NOT_FOUND, at->path, &o);
}

static void a_missing_log_cannot_be_read(struct test_place *at) {
  duralog_options o = small_options();
  o.read_only = true;
  fails_unchanged(at, DURALOG_E_NOT_FOUND, at->path, &o);
  directory_make(at->path);
  fails_unchanged(at, DURALOG_E_NOT_FOUND, at->path, &o);
}

static void a_missing_parent_is_not_made(struct test_place *at) {
  fails_for_all(at, DURALOG_E_NOT_FOUND, path_in(at, "missing/log"));
}

static void failure_fills_the_diagnostic(struct test_place *at) {
  duralog *log = NULL;
  duralog_diagnostic d = {.struct_size = sizeof d};
  const char *path = path_in(at, "missing/log");
  CHECK_IS(DURALOG_E_NOT_FOUND, duralog_open(path, NULL, &log, NULL, &d));
  CHECK_EQUAL(d.error, DURALOG_E_NOT_FOUND);
  CHECK_EQUAL(d.os_error, ENOENT);
  CHECK(strcmp(d.path, path) == 0);
  CHECK(d.text[0] != 0);
  CHECK_EQUAL(d.position, UINT64_MAX);
}

static void long_paths_are_cut_at_the_left(struct test_place *at) {
  char path[600];
  int length = snprintf(path, sizeof path, "%s", at->root);
  while (length < 450)
    length += snprintf(path + length, sizeof path - (size_t)length,
                       "/a-part-of-the-path");
  duralog *log = NULL;
  duralog_diagnostic d = {.struct_size = sizeof d};
  CHECK_IS(DURALOG_E_NOT_FOUND, duralog_open(path, NULL, &log, NULL, &d));
  CHECK_EQUAL(strlen(d.path), sizeof d.path - 1);
  CHECK(strcmp(d.path, path + length - (int)sizeof d.path + 1) == 0);
}

/* ---- something else there ---- */

static void a_file_is_no_log(struct test_place *at) {
  file_store(at->path, "text", 4);
  fails_for_all(at, DURALOG_E_FOREIGN, at->path);
}

static void a_directory_with_other_things_is_no_log(struct test_place *at) {
  directory_make(at->path);
  file_store(path_join(at->path, "notes.txt"), "text", 4);
  fails_for_all(at, DURALOG_E_FOREIGN, at->path);
  file_store(path_join(at->path, "lock"), "", 0);
  fails_for_all(at, DURALOG_E_FOREIGN, at->path);
}

static void a_directory_with_a_directory_is_no_log(struct test_place *at) {
  directory_make(at->path);
  directory_make(path_join(at->path, "below"));
  fails_for_all(at, DURALOG_E_FOREIGN, at->path);
}

static void a_pipe_under_a_logs_name_does_not_hang(struct test_place *at) {
  make_log(at->path, 10);
  CHECK_CALL(unlink(path_join(at->path, "meta")));
  CHECK_CALL(mkfifo(path_join(at->path, "meta"), 0600));
  fails_for_all(at, DURALOG_E_FOREIGN, at->path);
}

static void links_under_a_logs_names_are_not_followed(struct test_place *at) {
  make_log(at->path, 10); /* I21: nothing outside of the directory */
  CHECK_CALL(rename(path_join(at->path, "meta"), path_in(at, "meta")));
  CHECK_CALL(symlink(path_in(at, "meta"), path_join(at->path, "meta")));
  fails_for_all(at, DURALOG_E_FOREIGN, at->path);
}

/* ---- newer ---- */

struct edit {
  const char *file;
  size_t fields;
  uint64_t at;
  uint32_t value;
};

static void apply(const char *log, const struct edit *e) {
  const char *path = path_join(log, e->file);
  file_write_at(path, e->at, &e->value, sizeof e->value);
  block_sign(path, 0, e->fields);
}

static void newer_formats_and_features_are_refused(struct test_place *at) {
  const struct edit edits[] = {
      {"meta", META_FIELDS, VERSION_AT, 2},
      {"meta", META_FIELDS, INCOMPATIBLE_AT, 1},
      {"meta", META_FIELDS, INCOMPATIBLE_AT, UINT32_C(1) << 31},
      {"00000000000000000001.seg", IDENTITY_FIELDS, VERSION_AT, 2},
      {"00000000000000000001.seg", IDENTITY_FIELDS, INCOMPATIBLE_AT, 4}};
  for (size_t i = 0; i < COUNT_OF(edits); i++) { /* I34 */
    test_note("edit %zu", i);
    make_log(at->path, 20);
    apply(at->path, &edits[i]);
    fails_for_all(at, DURALOG_E_NEWER, at->path);
    directory_remove(at->path);
  }
}

static void unknown_compatible_features_are_ignored(struct test_place *at) {
  const struct edit edits[] = {
      {"meta", META_FIELDS, COMPATIBLE_AT, 5},
      {"00000000000000000001.seg", IDENTITY_FIELDS, COMPATIBLE_AT, 5}};
  duralog_options o = small_options();
  make_log(at->path, 20);
  for (size_t i = 0; i < COUNT_OF(edits); i++) {
    apply(at->path, &edits[i]);
    duralog *log = open_with(at->path, &o);
    check_numbers(log, 20);
    close_log(log);
  }
}

static void a_newer_sealed_segment_is_met_by_readers(struct test_place *at) {
  const struct edit edit = {"00000000000000000002.seg", IDENTITY_FIELDS,
                            VERSION_AT, 2};
  duralog_options o = small_options();
  duralog_record r;
  make_log(at->path, 1500);
  CHECK(directory_count(at->path, ".seg") > 4);
  apply(at->path, &edit);
  duralog *log = open_with(at->path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_error error;
  uint64_t n = 0;
  while ((error = duralog_read_next(reader, &r)) == DURALOG_OK)
    CHECK(record_is(&r, n++));
  CHECK_IS(DURALOG_E_NEWER, error);
  CHECK(n > 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

/* ---- permissions ---- */

static void no_permission_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  drop_privileges();
  open_fails(DURALOG_E_PERMISSION, path_in(at, "closed"), &o);
  open_fails(DURALOG_E_PERMISSION, path_in(at, "closed/new"), &o);
  open_fails(DURALOG_E_PERMISSION, path_in(at, "open/new"), &o);
  open_fails(DURALOG_E_PERMISSION, path_in(at, "open"), &o);
  open_fails(DURALOG_E_PERMISSION, path_in(at, "readable"), &o);
  o.read_only = true;
  open_fails(DURALOG_E_PERMISSION, path_in(at, "closed"), &o);
  duralog *log = open_with(path_in(at, "readable"), &o);
  check_numbers(log, 1000);
  close_log(log);
}

static void without_permission_nothing_is_made_or_changed(
    struct test_place *at) {
  duralog_options o = small_options();
  CHECK_CALL(chmod(at->root, 0755));
  make_log(path_in(at, "closed"), 10);
  directory_make(path_in(at, "open")); /* root's, and 0755 */
  o.file_mode = 0644;
  duralog *log = open_with(path_in(at, "readable"), &o);
  append_numbers(log, 0, 1000);
  close_log(log);
  uint64_t before = tree_digest(at->root, true);
  child_run(no_permission_body, at);
  CHECK_UNCHANGED(before, at->root);
}

static void own_read_only_files_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  drop_privileges();
  make_log(at->path, 100);
  CHECK_CALL(chmod(path_join(at->path, "lock"), 0444));
  CHECK_CALL(chmod(segment_path(at->path, 1), 0444));
  CHECK_CALL(chmod(at->path, 0555));
  fails_unchanged(at, DURALOG_E_PERMISSION, at->path, &o);
  CHECK_CALL(chmod(path_join(at->path, "lock"), 0600));
  fails_unchanged(at, DURALOG_E_PERMISSION, at->path, &o);
  o.read_only = true;
  uint64_t before = tree_digest(at->root, true);
  duralog *log = open_with(at->path, &o);
  check_numbers(log, 100);
  close_log(log);
  CHECK_UNCHANGED(before, at->root);
}

static void read_only_files_can_be_read_and_not_written(struct test_place *at) {
  CHECK_CALL(chmod(at->root, 0777));
  child_run(own_read_only_files_body, at);
}

static void read_only_mount_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  uint64_t before = tree_digest(at->root, true);
  mounts_own();
  mount_read_only(at->root);
  open_fails(DURALOG_E_READ_ONLY, path_in(at, "new"), &o);
  open_fails(DURALOG_E_READ_ONLY, path_in(at, "empty"), &o);
  open_fails(DURALOG_E_READ_ONLY, at->path, &o);
  o.read_only = true;
  duralog *log = open_with(at->path, &o);
  check_numbers(log, 1000);
  close_log(log);
  CHECK_UNCHANGED(before, at->root);
}

static void a_read_only_file_system_can_be_read(struct test_place *at) {
  make_log(at->path, 1000);
  directory_make(path_in(at, "empty"));
  child_run(read_only_mount_body, at);
}

/* ---- file systems that cannot hold a log ---- */

static void copy_on_write_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  const char *disk = path_in(at, "disk"), *log_path = path_in(at, "disk/log");
  make_log(at->path, 100);
  mounts_own();
  directory_make(disk);
  mount_disk(at, "btrfs", 128 << 20, disk);
  uint64_t before = tree_digest(disk, false);
  open_fails(DURALOG_E_UNSUPPORTED, log_path, &o);
  CHECK_EQUAL(tree_digest(disk, false), before);
  directory_copy(at->path, log_path);
  before = tree_digest(disk, true);
  open_fails(DURALOG_E_UNSUPPORTED, log_path, &o);
  o.read_only = true;
  duralog *log = open_with(log_path, &o);
  check_numbers(log, 100);
  close_log(log);
  CHECK_UNCHANGED(before, disk);
}

static void on_a_copy_on_write_file_system_logs_are_only_read(
    struct test_place *at) {
  child_run(copy_on_write_body, at);
}

/* ---- no room ---- */

/* At most the directory and the lock file were made. */
static void check_nothing_begun(const char *log) {
  if (!file_exists(log)) return;
  CHECK_EQUAL(directory_count(log, ""), directory_count(log, "lock"));
}

static void full_disk_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  char disk[256], filling[300], log_path[300];
  snprintf(disk, sizeof disk, "%s", path_in(at, "disk"));
  snprintf(filling, sizeof filling, "%s/filling", disk);
  snprintf(log_path, sizeof log_path, "%s/log", disk);
  mounts_own();
  directory_make(disk);
  mount_disk(at, at->copying ? "tmpfs" : "ext4", 8 << 20, disk);
  disk_fill(filling, 32 << 10); /* less than a segment */
  for (int i = 0; i < 3; i++) {
    open_fails(DURALOG_E_FULL, log_path, &o);
    check_nothing_begun(log_path);
  }
  CHECK_CALL(unlink(filling));
  duralog *log = open_with(log_path, &o);
  append_numbers(log, 0, 1000);
  check_numbers(log, 1000);
  close_log(log);
}

static void a_full_disk_takes_no_new_log_until_there_is_room(
    struct test_place *at) {
  child_run(full_disk_body, at); /* I19 */
}

static void limit_file_size(rlim_t bytes) {
  struct rlimit limit = {bytes, RLIM_INFINITY};
  CHECK_CALL(setrlimit(RLIMIT_FSIZE, &limit));
}

static void file_size_limit_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  limit_file_size(32 << 10);
  open_fails(DURALOG_E_FULL, at->path, &o);
  check_nothing_begun(at->path);
  limit_file_size(RLIM_INFINITY);
  make_log(at->path, 100);
}

static void a_file_size_limit_is_an_error_without_a_signal(
    struct test_place *at) {
  child_run(file_size_limit_body, at);
}

static void no_trace_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  limit_file_size(32 << 10);
  uint64_t before = tree_digest(at->root, false);
  open_fails(DURALOG_E_FULL, at->path, &o);
  CHECK_EQUAL(tree_digest(at->root, false), before);
}

static void a_creation_that_fails_leaves_no_directory(struct test_place *at) {
  child_run(no_trace_body, at);
}

static void a_creation_that_fails_leaves_an_empty_directory_empty(
    struct test_place *at) {
  directory_make(at->path);
  child_run(no_trace_body, at);
}

/* ---- no descriptors ---- */

static void limit_descriptors(rlim_t count) {
  struct rlimit limit;
  CHECK_CALL(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
  CHECK_CALL(setrlimit(RLIMIT_NOFILE, &limit));
}

/* With room for 0, 1, 2 … descriptors, until it succeeds. */
static void descriptors_body(void *context) {
  const struct test_place *at = context;
  enum { ENOUGH = 40, PLENTY = 1024 };
  int next = CHECK_CALL(dup(0)); /* the lowest number free */
  close(next);
  duralog_options o = small_options();
  o.read_only = at->copying; /* the variant */
  bool creates = !file_exists(at->path);
  uint64_t before = tree_digest(at->root, true);
  int room = 0;
  for (;; room++) {
    test_note("room for %d descriptors", room);
    CHECK(room < ENOUGH);
    duralog *log = NULL;
    limit_descriptors((rlim_t)(next + room));
    duralog_error error = duralog_open(at->path, &o, &log, NULL, NULL);
    limit_descriptors(PLENTY);
    if (error == DURALOG_OK) {
      close_log(log);
      break;
    }
    CHECK_IS(DURALOG_E_RESOURCES, error);
    CHECK(log == NULL);
    CHECK(!is_open_below(at->root));
    CHECK(!is_mapped_below(at->root));
    if (creates)
      check_nothing_begun(at->path);
    else
      CHECK_UNCHANGED(before, at->root);
  }
  CHECK(room > 1);
}

static void out_of_descriptors_nothing_is_made(struct test_place *at) {
  child_run(descriptors_body, at); /* I17 */
}

static void out_of_descriptors_nothing_is_changed(struct test_place *at) {
  make_log(at->path, 1000); /* I17 */
  child_run(descriptors_body, at);
}

static const struct test tests[] = {
    TEST(a_missing_log_is_not_made_where_it_must_exist),
    TEST(a_missing_log_cannot_be_read),
    TEST(a_missing_parent_is_not_made),
    TEST(failure_fills_the_diagnostic),
    TEST(long_paths_are_cut_at_the_left),
    TEST(a_file_is_no_log),
    TEST(a_directory_with_other_things_is_no_log),
    TEST(a_directory_with_a_directory_is_no_log),
    TEST(a_pipe_under_a_logs_name_does_not_hang),
    TEST(links_under_a_logs_names_are_not_followed),
    TEST(newer_formats_and_features_are_refused),
    TEST(unknown_compatible_features_are_ignored),
    TEST(a_newer_sealed_segment_is_met_by_readers),
    TEST(without_permission_nothing_is_made_or_changed),
    TEST(read_only_files_can_be_read_and_not_written),
    TEST(a_read_only_file_system_can_be_read),
    TEST(on_a_copy_on_write_file_system_logs_are_only_read),
    {"a_full_disk_takes_no_new_log_until_there_is_room/ext4",
     a_full_disk_takes_no_new_log_until_there_is_room, false},
    {"a_full_disk_takes_no_new_log_until_there_is_room/tmpfs",
     a_full_disk_takes_no_new_log_until_there_is_room, true},
    TEST(a_file_size_limit_is_an_error_without_a_signal),
    TEST(a_creation_that_fails_leaves_no_directory),
    TEST(a_creation_that_fails_leaves_an_empty_directory_empty),
    TEST(out_of_descriptors_nothing_is_made),
    {"out_of_descriptors_nothing_is_changed/writer",
     out_of_descriptors_nothing_is_changed, false},
    {"out_of_descriptors_nothing_is_changed/reader",
     out_of_descriptors_nothing_is_changed, true},
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
