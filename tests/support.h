/* SPDX-License-Identifier: MIT
 *
 * What tests include: cmocka behind the headers it needs, and what they share.
 *
 * A test is a function `static void claim(struct test_place *at)`, named as the
 * claim it checks and listed with TEST(claim). It gets a directory of its own
 * on a real file system, which is removed at the end with all that is in it.
 * Whoever leaves a descriptor open or a file of the directory mapped fails.
 *
 * CHECK and its kin work everywhere: in a test they fail it; in a child they
 * end it with a status that child_run makes a failure; in another thread they
 * end the program, since nothing could unwind the test.
 *
 * Randomness comes from TEST_SEED alone: $SEED, or the time. Each failure
 * prints a line that replays it. Nothing here sleeps.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

/* cmocka.h needs the four before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "duralog.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* In builds with a sanitizer tests do less of the same; and under
 * ThreadSanitizer a forked child cannot start threads. */
#if defined(__has_feature)
#define TEST_HAS_FEATURE(feature) __has_feature(feature)
#else
#define TEST_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || TEST_HAS_FEATURE(thread_sanitizer)
enum { SANITIZED = 1, NO_THREADS_AFTER_FORK = 1 };
#elif defined(__SANITIZE_ADDRESS__) || TEST_HAS_FEATURE(address_sanitizer)
enum { SANITIZED = 1, NO_THREADS_AFTER_FORK = 0 };
#else
enum { SANITIZED = 0, NO_THREADS_AFTER_FORK = 0 };
#endif

/* ---- tests ---- */

struct test_place {
  char root[160]; /* the test's directory */
  char path[192]; /* <root>/log: does not exist yet */
  bool copying;   /* the variant with copying reads, or another one */
};

struct test {
  const char *name;
  void (*body)(struct test_place *);
  bool copying;
};

#define TEST(body) \
  { #body, body, false }
/* The same twice: mapped and copying reads. */
#define TEST_BOTH(body) \
  {#body "/mapped", body, false}, { #body "/copying", body, true }

/* Run the tests; argv[1] is a pattern of names. The exit status. */
#define TEST_MAIN(tests) test_main(argc, argv, tests, COUNT_OF(tests))
int test_main(int argc, char **argv, const struct test *tests, size_t count);

/* Leave the test; the reason is printed. Works in a child of child_run too. */
_Noreturn void test_skip(const char *reason);

/* ---- checks ---- */

_Noreturn __attribute__((format(printf, 3, 4))) void test_failed(
    const char *file, int line, const char *format, ...);
/* Said in addition if a check fails, until the next note. */
__attribute__((format(printf, 1, 2))) void test_note(const char *format, ...);

void test_check_equal(uint64_t left, uint64_t right, const char *text,
                      const char *file, int line);
void test_check_error(duralog_error expected, duralog_error is,
                      const char *text, const char *file, int line);
void test_check_bytes(const void *expected, size_t expected_size,
                      const void *is, size_t is_size, const char *text,
                      const char *file, int line);

#define CHECK(condition) \
  ((condition) ? (void)0 \
               : test_failed(__FILE__, __LINE__, "not so: %s", #condition))
#define CHECK_EQUAL(left, right)                                             \
  test_check_equal((uint64_t)(left), (uint64_t)(right), #left " == " #right, \
                   __FILE__, __LINE__)
#define CHECK_IS(expected, call) \
  test_check_error(expected, call, #call, __FILE__, __LINE__)
#define CHECK_OK(call) CHECK_IS(DURALOG_OK, call)
#define CHECK_BYTES(expected, expected_size, is, is_size)               \
  test_check_bytes(expected, expected_size, is, is_size, #is, __FILE__, \
                   __LINE__)
/* For system calls: not below 0. */
#define CHECK_CALL(call) \
  test_check_call((long)(call), #call, __FILE__, __LINE__)
int test_check_call(long result, const char *text, const char *file, int line);

/* ---- randomness ---- */

#define TEST_SEED test_seed()
uint64_t test_seed(void);
uint64_t random_next(uint64_t *state); /* splitmix64 */
uint64_t random_below(uint64_t *state, uint64_t limit);

/* ---- files (support_files.c) ---- */

/* <place's root>/<name>, <directory>/<name>, a segment's file. The memory is
 * the support's, until the end of the test. */
const char *path_in(const struct test_place *, const char *name);
const char *path_join(const char *directory, const char *name);
const char *segment_path(const char *log, uint64_t number);
void paths_forget(void);

void directory_make(const char *path);
void directory_copy(const char *from, const char *to); /* `to` is made anew */
void directory_remove(const char *path); /* with all that is in it; may be
                                          * missing */
uint64_t directory_count(const char *path, const char *name_end);

bool file_exists(const char *path);
uint64_t file_bytes(const char *path);
/* All of it; malloc'ed. */
uint8_t *file_load(const char *path, size_t *size);
void file_store(const char *path, const void *bytes, size_t size);
void file_read_at(const char *path, uint64_t position, void *bytes, size_t);
void file_write_at(const char *path, uint64_t position, const void *, size_t);
void file_zero(const char *path, uint64_t position, uint64_t size);
void file_flip(const char *path, uint64_t position); /* changes every bit but
                                                      * the lowest */
void file_cut(const char *path, uint64_t size);
void file_copy(const char *from, const char *to);
void file_swap(const char *a, const char *b);
/* Where the bytes first lie in the file, at or behind `from`; UINT64_MAX:
 * nowhere. */
uint64_t file_find(const char *path, uint64_t from, const void *bytes, size_t);

/* A checksum over names, kinds, modes, sizes and contents of all below the
 * path; with times, over their modification times as well. 0: nothing there. */
uint64_t tree_digest(const char *path, bool with_times);
#define CHECK_UNCHANGED(digest, path)               \
  test_check_equal(digest, tree_digest(path, true), \
                   "nothing changed in " #path, __FILE__, __LINE__)

/* Give a block of identity or meta at the position its right checksum again
 * (lib/format.c), so that a test can write what no release has written. */
void block_sign(const char *path, uint64_t position, size_t field_bytes);

uint64_t bytes_hash(const void *, size_t, uint64_t seed);

unsigned descriptor_count(void);
/* Whether a file below the path is mapped or open in this process. */
bool is_mapped_below(const char *path);
bool is_open_below(const char *path);

/* ---- children, threads, pipes, mounts (support_child.c) ---- */

enum { CHILD_FAILED = 9, CHILD_SKIPPED = 77 };

/* A child that runs the body and ends; it dies with this process. */
pid_t child_start(void (*body)(void *), void *context);
/* Its exit status, or 256 + the signal that ended it. */
int child_end(pid_t);
/* Both; a failure or skip in the child is one of the test. */
void child_run(void (*body)(void *), void *context);
void child_kill(pid_t); /* SIGKILL, and wait until it has ended */

pthread_t thread_start(void *(*body)(void *), void *context);
void thread_join(pthread_t);

/* One byte at a time from one process or thread to another. */
struct channel {
  int in, out;
};
void channel_open(struct channel *);
void channel_close(struct channel *);
void channel_tell(struct channel *);
void channel_hear(struct channel *); /* waits for a byte; there must be one */

void *shared_memory(size_t); /* zeroed, shared with children */
void shared_memory_free(void *, size_t);

/* In a child: mounts of its own, which end with it. */
void mounts_own(void);
/* A file system of that kind and size at `at`; skips where it cannot be. */
void mount_disk(const struct test_place *, const char *kind, uint64_t bytes,
                const char *at);
void mount_read_only(const char *at);
/* Fill the file system up to `leave` bytes with a file of that name. */
void disk_fill(const char *file, uint64_t leave);
uint64_t disk_free(const char *path);

/* In a child: become nobody. */
void drop_privileges(void);

uint64_t clock_now_ms(void); /* monotonic */
/* Let that much time pass: only where time is what is tested. */
void clock_pass_ms(uint64_t ms);

/* ---- logs (support_log.c) ---- */

/* struct_size set, segments of 64 KiB, everything else default. */
duralog_options small_options(void);
duralog_options small_pagecache(void);
duralog *open_with(const char *path, const duralog_options *);
duralog *open_reporting(const char *path, const duralog_options *,
                        duralog_report *);
/* Opening fails so; no handle appears. */
void open_fails(duralog_error expected, const char *path,
                const duralog_options *);
void close_log(duralog *);
duralog_watermarks watermarks_of(const duralog *);
duralog_reader *reader_of(duralog *, duralog_level);

/* Numbered records: number i has the same 0 to RECORD_BYTES_MAX bytes in every
 * run, and begins with i where it has 8. */
enum { RECORD_BYTES_MAX = 300 };
size_t record_make(uint64_t number, uint8_t to[RECORD_BYTES_MAX]);
bool record_is(const duralog_record *, uint64_t number);

void append_text(duralog *, const char *text, duralog_level);

/* Append the numbers [from, from + count); each gets itself as offset. */
void append_numbers(duralog *, uint64_t from, uint64_t count);
/* The log holds the numbers [0, count), and nothing else. */
void check_numbers(duralog *, uint64_t count);

/* In a child: what was inherited answers FORKED to every call but the closing
 * ones, and leaves out-parameters alone. The record is the reader's last. */
void check_forked_log(duralog *);
void check_forked_reader(duralog_reader *, duralog_record *);

/* ---- damage (support_damage.c) ---- */

/* Where a frame lies; told from the bytes of an undamaged log. */
struct test_frame {
  uint64_t segment, position, bytes; /* header included, without padding */
  uint64_t offset;                   /* UINT64_MAX: not a record's */
};

struct test_frames {
  struct test_frame *list;
  size_t count;
};

struct test_frames frames_load(const char *log);
void frames_free(struct test_frames *);
const struct test_frame *frame_of(const struct test_frames *, uint64_t offset);

/* What of the numbers [0, SURVEY_MAX) a log gives out. */
enum { SURVEY_MAX = 4096 };
struct survey {
  uint64_t end;
  uint64_t delivered, unreadable; /* how many; together all below `end` */
  bool is_there[SURVEY_MAX];
};

/* Read all. What is delivered is what was appended (I23); a damaged range is
 * told the same way twice, and reading goes on behind it. The contents of
 * records from `numbered` on are not looked at. */
void survey_make(duralog *, struct survey *, uint64_t numbered);

/* ---- what must hold of a damaged log (support_contract.c) ---- */

enum { DAMAGE_COUNT = 360 }; /* numbered records in it */

struct damage_base {
  const char *name;
  const char *path;    /* the log, undamaged */
  const char *earlier; /* as it was 10 records before its end */
  bool closed, strict; /* not closed: its writer was killed */
  uint64_t segments;   /* in use */
  uint64_t files;      /* of segments, with prepared ones */
  struct test_frames frames;
};

/* What was damaged: the bytes [from, to) of a segment. 0 to 0: all of it. */
struct damage_reach {
  uint64_t segment; /* 0: none */
  uint64_t other;   /* a second one, or 0 */
  uint64_t from, to;
};

void damage_base_make(struct damage_base *, const struct test_place *,
                      bool closed, bool strict);
void damage_base_free(struct damage_base *);
/* Open the damaged log, and copies of it, in all ways. */
void damage_hold_to_contract(const struct test_place *,
                             const struct damage_base *,
                             const char *damaged_log,
                             const struct damage_reach *);

#endif
