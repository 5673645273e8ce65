/* SPDX-License-Identifier: MIT
 *
 * Golden files as text: the size, then bytes behind their position, long runs
 * as HH*COUNT, long runs of zeros left out. Shared by who makes, reads and
 * prints them.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All cases: made by golden_make.c, checked by test_golden.c. */
/* clang-format off */
#define GOLDEN_CASES(X) \
  X(empty) X(empty_unclean) X(one_record) X(worked) X(batches_keys_times) \
  X(several_segments) X(several_unsealed) X(epochs) X(padding) X(retained) \
  X(compatible_feature) X(unclean_tail) X(torn_record) X(torn_batch) \
  X(torn_in_the_middle) X(stale_behind_the_end) X(roll_without_a_start) \
  X(damaged_payload) X(damaged_header) X(damaged_header_segments) \
  X(damaged_after_clean) X(damaged_last_strict) X(damaged_last_batch) \
  X(damaged_sealed) X(damaged_start) X(damaged_roll_sealed) X(damaged_roll_unsealed) \
  X(damaged_start_sealed) X(damaged_identity_sealed) X(damaged_seal) \
  X(missing_middle_sealed) \
  X(missing_middle_unsealed) X(missing_last) X(missing_first) \
  X(missing_all) X(missing_meta) X(damaged_meta) X(short_segment) \
  X(swapped_segments) X(newer_version) X(newer_feature) X(newer_segment) \
  X(newer_frame_type) X(newer_frame_flag) X(accepted_damage) \
  X(accepted_torn_batch) X(accepted_twice) X(groups)
/* clang-format on */

enum {
  GOLDEN_LINE_BYTES = 32,
  GOLDEN_RUN_BYTES = 16, /* so many equal bytes are written as HH*COUNT */
  GOLDEN_FILES_MAX = 16,
  GOLDEN_FILE_BYTES_MAX = 1 << 20
};

struct golden_file {
  char name[64]; /* in the log's directory, without ".hex" */
  uint8_t *bytes;
  size_t size;
};

struct golden_files {
  struct golden_file list[GOLDEN_FILES_MAX];
  size_t count;
};

static inline void golden_check(bool good, const char *what, const char *path) {
  if (good) return;
  fprintf(stderr, "%s: %s: %s\n", path, what, strerror(errno));
  exit(1);
}

/* How many bytes from `at` on are the same. */
static inline size_t golden_run(const uint8_t *bytes, size_t at, size_t size) {
  size_t end = at + 1;
  while (end < size && bytes[end] == bytes[at]) end++;
  return end - at;
}

static inline void golden_store(const char *path, const uint8_t *bytes,
                                size_t size) {
  FILE *out = fopen(path, "w");
  golden_check(out != NULL, "cannot create", path);
  fprintf(out, "size %zu\n", size);
  for (size_t at = 0, run; at < size;) {
    run = golden_run(bytes, at, size);
    if (run >= GOLDEN_RUN_BYTES) {
      if (bytes[at]) fprintf(out, "%06zx %02x*%zu\n", at, bytes[at], run);
      at += run;
      continue;
    }
    fprintf(out, "%06zx ", at);
    do {
      fprintf(out, "%02x", bytes[at++]);
    } while (at < size && at % GOLDEN_LINE_BYTES &&
             golden_run(bytes, at, size) < GOLDEN_RUN_BYTES);
    fprintf(out, "\n");
  }
  golden_check(fclose(out) == 0, "cannot write", path);
}

static inline int golden_digit(char c) {
  const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

static inline void golden_line(struct golden_file *f, const char *line,
                               const char *path) {
  char *next;
  size_t at = strtoul(line, &next, 16);
  if (*next == ' ') next++;
  while (*next && *next != '\n') {
    int high = golden_digit(next[0]), low = golden_digit(next[1]);
    size_t count = 1;
    next += 2;
    if (*next == '*') count = strtoul(next + 1, &next, 10);
    errno = EINVAL;
    golden_check(
        high >= 0 && low >= 0 && at <= f->size && count <= f->size - at,
        "not a line of hex", path);
    memset(f->bytes + at, high << 4 | low, count);
    at += count;
  }
}

static inline void golden_load(const char *path, struct golden_file *f) {
  char line[256];
  FILE *in = fopen(path, "r");
  golden_check(in != NULL, "cannot open", path);
  errno = EINVAL;
  golden_check(fgets(line, sizeof line, in) &&
                   sscanf(line, "size %zu", &f->size) == 1 &&
                   f->size <= GOLDEN_FILE_BYTES_MAX,
               "no size", path);
  f->bytes = calloc(1, f->size + 1);
  golden_check(f->bytes != NULL, "no memory", path);
  while (fgets(line, sizeof line, in)) golden_line(f, line, path);
  fclose(in);
}

static inline int golden_by_name(const void *a, const void *b) {
  return strcmp(((const struct golden_file *)a)->name,
                ((const struct golden_file *)b)->name);
}

/* All files of a case's directory that end in .hex, by name. */
static inline void golden_load_all(const char *directory,
                                   struct golden_files *files) {
  char path[512];
  DIR *dir = opendir(directory);
  golden_check(dir != NULL, "cannot list", directory);
  files->count = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    size_t length = strlen(e->d_name);
    if (length < 5 || strcmp(e->d_name + length - 4, ".hex") != 0) continue;
    errno = E2BIG;
    golden_check(files->count < GOLDEN_FILES_MAX && length < 64,
                 "too many files", directory);
    struct golden_file *f = &files->list[files->count++];
    memcpy(f->name, e->d_name, length - 4);
    f->name[length - 4] = 0;
    snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
    golden_load(path, f);
  }
  closedir(dir);
  qsort(files->list, files->count, sizeof *files->list, golden_by_name);
}

static inline void golden_free(struct golden_files *files) {
  for (size_t i = 0; i < files->count; i++) free(files->list[i].bytes);
  files->count = 0;
}

#endif
