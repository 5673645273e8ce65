/* SPDX-License-Identifier: MIT
 *
 * What the files of the demo share.
 *
 *   demo.c         the screen: input, table, verdict
 *   demo_kill.c    one row: a writing process, its death, the comparison
 *   demo_work.c    appending lines by many threads, and comparing a log with
 *                  them
 *   demo_lines.c   the input
 */
#ifndef DEMO_H
#define DEMO_H

#include <limits.h>
#include <stdatomic.h>

#include "duralog.h"

/* ------------------------------------------------------- demo_lines.c -- */

#define DEMO_LINES_MAX 20000
#define DEMO_LINE_BYTES_MAX 16384 /* a longer one is taken in pieces */

typedef struct demo_line {
  size_t position, size;
} demo_line;

typedef struct demo_lines {
  char *bytes;
  size_t size, capacity;
  demo_line *lines; /* room for DEMO_LINES_MAX */
  size_t count;
  uint64_t seen; /* with those beyond DEMO_LINES_MAX */
} demo_lines;

bool demo_lines_create(demo_lines *lines);
void demo_lines_free(demo_lines *lines);

/* Add a file's lines. False, with errno, where that fails. */
bool demo_lines_load(demo_lines *lines, const char *path);
bool demo_lines_save(const demo_lines *lines, const char *path);

/* -------------------------------------------------------- demo_work.c -- */

typedef struct demo_mode {
  const char *name;
  const char *power_cut; /* what it promises then */
  duralog_durability durability;
} demo_mode;

/* What the writing process has been told, in memory that outlives it. */
typedef struct demo_progress {
  atomic_uint_least64_t next;     /* line to be appended next */
  atomic_uint_least64_t returned; /* appends */
  atomic_uint_least64_t durable;  /* largest watermark seen */
  atomic_uint_least64_t late;     /* returned beyond the mode's bound N */
  atomic_uint_least64_t offset_plus_1[]; /* by line; 0: has not returned */
} demo_progress;

typedef struct demo_work {
  duralog *log;
  const demo_mode *mode;
  const demo_lines *lines;
  demo_progress *progress;
  bool *present;     /* by line: compared and found in the log */
  atomic_int failed; /* the first duralog_error of the threads */
} demo_work;

#define DEMO_PROBLEM_BYTES 160

duralog_error demo_open(const char *path, const demo_mode *mode, duralog **log,
                        duralog_report *report,
                        char problem[DEMO_PROBLEM_BYTES]);

/* Append all lines that are not present, from several threads. */
duralog_error demo_append(demo_work *work);

/* Read the whole log: each record must be a line byte for byte, none twice,
 * at the offset it was given, and none missing that was returned. Gives the
 * number of records; false and a sentence if something is wrong. */
bool demo_compare(demo_work *work, uint64_t *records,
                  char problem[DEMO_PROBLEM_BYTES]);

/* -------------------------------------------------------- demo_kill.c -- */

typedef struct demo_row {
  uint64_t returned, durable, recovered;
  double recovery_ms;
  duralog_report report;
  char problem[DEMO_PROBLEM_BYTES]; /* empty: all is well */
} demo_row;

/* The scenario in directory/<name of the log>. `self` is this program. */
bool demo_kill(const char *self, const char *directory, const demo_mode *mode,
               size_t mode_index, const demo_lines *lines, demo_row *row);

/* The process to be killed: never returns unless it fails. */
int demo_kill_writer(const char *directory, const demo_mode *mode,
                     size_t mode_index);

/* The input as the writing process loads it. */
bool demo_kill_save_input(const char *directory, const demo_lines *lines);

#endif
