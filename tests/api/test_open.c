/* SPDX-License-Identifier: MIT
 *
 * Opening a log: options, what is made, what the report says.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

/* ---- what the library says of itself ---- */

static void every_error_has_a_name_and_a_sentence(struct test_place *at) {
  (void)at;
#define ONE_ERROR(name, value, text)                       \
  CHECK(strcmp(duralog_error_name((duralog_error)(value)), \
               "DURALOG_" #name) == 0);                    \
  CHECK(strcmp(duralog_error_text((duralog_error)(value)), text) == 0);
  DURALOG_ERRORS(ONE_ERROR)
#undef ONE_ERROR
  CHECK(strcmp(duralog_error_name((duralog_error)1), "unknown") == 0);
  CHECK(strcmp(duralog_error_text((duralog_error)-1000), "unknown") == 0);
}

static void version_is_that_of_the_header(struct test_place *at) {
  (void)at;
  char text[32];
  snprintf(text, sizeof text, "%d.%d.%d", DURALOG_VERSION_MAJOR,
           DURALOG_VERSION_MINOR, DURALOG_VERSION_PATCH);
  CHECK(strcmp(duralog_version(), text) == 0);
}

/* ---- options ---- */

/* Refused with nothing made. */
static void refuse(const struct test_place *at, const duralog_options *o) {
  open_fails(DURALOG_E_ARGUMENT, at->path, o);
  CHECK(!file_exists(at->path));
}

static void null_path_or_log_is_an_argument_error(struct test_place *at) {
  duralog *log = NULL;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_open(NULL, NULL, &log, NULL, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_open(at->path, NULL, NULL, NULL, NULL));
  CHECK(log == NULL);
  CHECK(!file_exists(at->path));
}

static void unknown_struct_size_is_refused(struct test_place *at) {
  const size_t wrong[] = {0, 1, sizeof(duralog_options) - 8,
                          sizeof(duralog_options) + 8, SIZE_MAX};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    duralog *log = NULL;
    duralog_options o = small_options();
    o.struct_size = wrong[i];
    refuse(at, &o);
    duralog_report report = {.struct_size = wrong[i]};
    if (wrong[i] == sizeof report) continue;
    CHECK_IS(DURALOG_E_ARGUMENT,
             duralog_open(at->path, NULL, &log, &report, NULL));
    duralog_diagnostic d = {.struct_size = wrong[i]};
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_open(at->path, NULL, &log, NULL, &d));
    CHECK(log == NULL && !file_exists(at->path));
  }
}

static void segment_size_has_bounds(struct test_place *at) {
  const uint64_t wrong[] = {1,
                            4096,
                            12 << 10,
                            (16 << 10) + 1,
                            (64 << 10) + 512,
                            (UINT64_C(1) << 30) + 4096,
                            UINT64_MAX};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    duralog_options o = small_options();
    o.segment_bytes = wrong[i];
    refuse(at, &o);
  }
}

static void record_size_has_a_bound(struct test_place *at) {
  duralog_options o = small_options();
  o.record_bytes_max = o.segment_bytes - 4352 + 1;
  refuse(at, &o);
  o.record_bytes_max = UINT64_MAX;
  refuse(at, &o);
  o.record_bytes_max = o.segment_bytes - 4352;
  o.pad_syncs = true;
  refuse(at, &o);
  o.pad_syncs = false;
  close_log(open_with(at->path, &o));
}

static void levels_and_modes_have_bounds(struct test_place *at) {
  duralog_options o = small_options();
  o.read_level = (duralog_level)3;
  refuse(at, &o);
  o.read_level = (duralog_level)-1;
  refuse(at, &o);
  o = small_options();
  o.file_mode = 01600;
  refuse(at, &o);
}

static void pagecache_takes_no_triggers(struct test_place *at) {
  duralog_options o = small_pagecache();
  o.durability.sync_every_records = 1;
  refuse(at, &o);
  o = small_pagecache();
  o.durability.sync_every_bytes = 1;
  refuse(at, &o);
  o = small_pagecache();
  o.durability.sync_interval_ms = 10;
  refuse(at, &o);
}

static void intervals_begin_at_10_ms(struct test_place *at) {
  duralog_options o = small_options();
  for (uint32_t ms = 1; ms < 10; ms++) {
    o.durability.sync_interval_ms = ms;
    refuse(at, &o);
  }
  o.durability.sync_interval_ms = 10;
  close_log(open_with(at->path, &o));
}

static void smallest_and_default_segments_have_their_size(
    struct test_place *at) {
  struct {
    uint64_t asked;
    bool small_device;
    uint64_t is;
  } const cases[] = {{16 << 10, false, 16 << 10},
                     {0, true, 1 << 20},
                     {0, false, 64 << 20},
                     {20 << 10, false, 20 << 10}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    duralog_options o = {.struct_size = sizeof o,
                         .segment_bytes = cases[i].asked,
                         .small_device = cases[i].small_device};
    duralog *log = open_with(at->path, &o);
    append_numbers(log, 0, 3);
    close_log(log);
    struct stat s;
    CHECK_CALL(stat(segment_path(at->path, 1), &s));
    CHECK_EQUAL(s.st_size, cases[i].is);
    CHECK((uint64_t)s.st_blocks * 512 >= cases[i].is); /* allocated */
    directory_remove(at->path);
  }
}

static void no_options_are_the_default(struct test_place *at) {
  duralog *log = open_with(at->path, NULL);
  append_numbers(log, 0, 1);
  CHECK_EQUAL(watermarks_of(log).durable, 1); /* every record */
  close_log(log);
}

/* ---- what is made ---- */

static uint32_t mode_of(const char *path) {
  struct stat s;
  CHECK_CALL(stat(path, &s));
  return s.st_mode & 07777;
}

struct modes {
  const struct test_place *at;
  uint32_t asked, mask, file, directory;
};

static void check_modes(void *context) {
  const struct modes *m = context;
  const char *path = m->at->path;
  umask(m->mask);
  duralog_options o = small_pagecache();
  o.file_mode = m->asked;
  duralog *log = open_with(path, &o);
  append_numbers(log, 0, 1000); /* some segments */
  close_log(log);
  CHECK_EQUAL(mode_of(path), m->directory);
  CHECK_EQUAL(mode_of(path_join(path, "meta")), m->file);
  CHECK_EQUAL(mode_of(path_join(path, "lock")), m->file);
  CHECK(directory_count(path, ".seg") > 2);
  for (uint64_t n = 1; n <= directory_count(path, ".seg"); n++)
    CHECK_EQUAL(mode_of(segment_path(path, n)), m->file);
}

static void permissions_are_those_asked_for(struct test_place *at) {
  const struct modes cases[] = {{at, 0, 022, 0600, 0700},
                                {at, 0640, 022, 0640, 0750},
                                {at, 0666, 027, 0640, 0750},
                                {at, 0644, 0, 0644, 0755}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    child_run(check_modes, (void *)(uintptr_t)&cases[i]);
    directory_remove(at->path);
  }
}

static void a_missing_or_empty_directory_becomes_a_log(struct test_place *at) {
  duralog_options o = small_options();
  duralog_report report;
  for (int existing = 0; existing < 2; existing++) {
    if (existing) directory_make(at->path);
    close_log(open_reporting(at->path, &o, &report));
    CHECK(report.created);
    CHECK_EQUAL(report.end, 0);
    close_log(open_reporting(at->path, &o, &report));
    CHECK(!report.created);
    directory_remove(at->path);
  }
}

static void a_path_may_be_relative_or_end_in_a_slash(struct test_place *at) {
  duralog_options o = small_options();
  int before = CHECK_CALL(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  CHECK_CALL(chdir(at->root));
  duralog *log = open_with("log/", &o);
  append_numbers(log, 0, 3);
  close_log(log);
  CHECK_CALL(fchdir(before));
  close(before);
  log = open_with(at->path, &o);
  check_numbers(log, 3);
  close_log(log);
}

/* ---- the report ---- */

static void report_of_a_clean_log(struct test_place *at) {
  duralog_options o = small_options();
  duralog_report r;
  duralog *log = open_reporting(at->path, &o, &r);
  CHECK(r.created && !r.writer_lives && r.damage_count == 0);
  CHECK_EQUAL(r.epoch, 0);
  append_numbers(log, 0, 1000);
  close_log(log);
  log = open_reporting(at->path, &o, &r);
  CHECK(r.clean && !r.created && !r.writer_lives);
  CHECK(r.reboot_known && !r.rebooted);
  CHECK_EQUAL(r.start, 0);
  CHECK_EQUAL(r.end, 1000);
  CHECK_EQUAL(r.durable, 1000);
  CHECK_EQUAL(r.durable_found, 1000);
  CHECK_EQUAL(r.torn_bytes, 0);
  CHECK_EQUAL(r.damage_count, 0);
  CHECK(r.epoch > 0);
  CHECK(r.segments >= 3 && r.segments <= directory_count(at->path, ".seg"));
  CHECK(!r.fs_memory && !r.fs_fuse);
  CHECK_EQUAL(r.segment_bytes, o.segment_bytes);
  CHECK_EQUAL(r.record_bytes_max, o.segment_bytes / 4);
  /* I35: what is sealed is not read. */
  CHECK(r.segments_walked <= 2 && r.bytes_walked <= 2 * o.segment_bytes);
  close_log(log);
}

static void append_and_die(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, watermarks_of(log).end, 500);
  raise(SIGKILL);
}

static void report_of_a_killed_log(struct test_place *at) { /* I11 */
  duralog_options o = small_options();
  duralog_report r;
  for (uint64_t life = 1; life <= 3; life++) {
    CHECK_EQUAL(child_end(child_start(append_and_die, at)), 256 + SIGKILL);
    o.read_only = true;
    duralog *log = open_reporting(at->path, &o, &r);
    CHECK(!r.clean && !r.writer_lives);
    CHECK_EQUAL(r.end, life * 500);
    check_numbers(log, life * 500);
    close_log(log);
    o.read_only = false;
    log = open_reporting(at->path, &o, &r);
    CHECK(!r.clean && !r.created && r.reboot_known && !r.rebooted);
    CHECK_EQUAL(r.end, life * 500);
    CHECK_EQUAL(r.durable, life * 500); /* where every append waits */
    CHECK(r.durable_found + 1 >= r.end);
    CHECK_EQUAL(watermarks_of(log).durable, life * 500);
    check_numbers(log, life * 500);
    close_log(log);
  }
}

static void epochs_grow_with_each_writer_that_appends(struct test_place *at) {
  duralog_options o = small_options(); /* I8 */
  duralog_report r;
  uint64_t last = 0;
  for (uint64_t life = 0; life < 4; life++) {
    duralog *log = open_reporting(at->path, &o, &r);
    CHECK_EQUAL(r.epoch, last);
    append_numbers(log, life, 1);
    CHECK(watermarks_of(log).epoch > last);
    last = watermarks_of(log).epoch;
    close_log(log);
  }
}

static void opening_without_appending_changes_no_byte(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 700);
  close_log(log);
  const char *control = path_join(at->path, "control"); /* not of the log */
  CHECK_CALL(unlink(control));
  uint64_t before = tree_digest(at->path, false);
  duralog_report r;
  for (int i = 0; i < 3; i++) {
    log = open_reporting(at->path, &o, &r);
    CHECK(r.clean);
    check_numbers(log, 700);
    CHECK_OK(duralog_sync(log));
    close_log(log);
    CHECK_CALL(unlink(control));
    CHECK_EQUAL(tree_digest(at->path, false), before);
  }
}

static void memory_file_system_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  duralog_report r;
  mounts_own();
  directory_make(path_in(at, "memory"));
  mount_disk(at, "tmpfs", 4 << 20, path_in(at, "memory"));
  duralog *log = open_reporting(path_in(at, "memory/log"), &o, &r);
  CHECK(r.fs_memory && !r.fs_overlay && !r.fs_fuse);
  append_numbers(log, 0, 500);
  check_numbers(log, 500);
  close_log(log);
}

static void a_memory_file_system_is_noted(struct test_place *at) {
  child_run(memory_file_system_body, at);
}

static void overlay_body(void *context) {
  const struct test_place *at = context;
  duralog_options o = small_options();
  duralog_report r;
  char how[600];
  mounts_own();
  const char *const names[] = {"lower", "upper", "work", "merged"};
  for (size_t i = 0; i < COUNT_OF(names); i++)
    directory_make(path_in(at, names[i]));
  snprintf(how, sizeof how,
           "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", at->root,
           at->root, at->root);
  if (mount("none", path_in(at, "merged"), "overlay", 0, how) < 0)
    test_skip("overlay cannot be mounted here");
  duralog *log = open_reporting(path_in(at, "merged/log"), &o, &r);
  CHECK(r.fs_overlay && !r.fs_memory);
  append_numbers(log, 0, 500);
  check_numbers(log, 500);
  close_log(log);
}

static void an_overlay_is_noted(struct test_place *at) {
  child_run(overlay_body, at);
}

static const struct test tests[] = {
    TEST(every_error_has_a_name_and_a_sentence),
    TEST(version_is_that_of_the_header),
    TEST(null_path_or_log_is_an_argument_error),
    TEST(unknown_struct_size_is_refused),
    TEST(segment_size_has_bounds),
    TEST(record_size_has_a_bound),
    TEST(levels_and_modes_have_bounds),
    TEST(pagecache_takes_no_triggers),
    TEST(intervals_begin_at_10_ms),
    TEST(smallest_and_default_segments_have_their_size),
    TEST(no_options_are_the_default),
    TEST(permissions_are_those_asked_for),
    TEST(a_missing_or_empty_directory_becomes_a_log),
    TEST(a_path_may_be_relative_or_end_in_a_slash),
    TEST(report_of_a_clean_log),
    TEST(report_of_a_killed_log),
    TEST(epochs_grow_with_each_writer_that_appends),
    TEST(opening_without_appending_changes_no_byte),
    TEST(a_memory_file_system_is_noted),
    TEST(an_overlay_is_noted),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
