/* SPDX-License-Identifier: MIT
 *
 * duralog bench: what its files share. tool_bench.c is the command and its
 * plan, tool_bench_disk.c the place it works in, tool_bench_mode.c one mode's
 * run, tool_bench_print.c what is told.
 */
#ifndef TOOL_BENCH_H
#define TOOL_BENCH_H

#include <signal.h>

#include "tool.h"

/* ------------------------------------------ the place: tool_bench_disk.c -- */

typedef enum bench_counter {
  BENCH_UNKNOWN, /* nobody counts */
  BENCH_DEVICE,  /* what reaches the disk, from everyone */
  BENCH_PROCESS  /* what the kernel charges this process; not the journal */
} bench_counter;

typedef struct bench_place {
  const char *path;
  char scratch[4096]; /* "" if there is none */
  char file_system[64], device[128];
  unsigned major, minor;
  bench_counter counter;
  char counter_path[64];
  bool in_memory; /* known once a log was opened there */
} bench_place;

/* Look at the directory and make a scratch directory in it. Prints what is
 * wrong; gives the exit code. */
int bench_place_open(bench_place *place, const char *path);
void bench_place_close(bench_place *place);

/* Bytes written until now; false where nobody counts. */
bool bench_written(const bench_place *place, uint64_t *bytes);

/* Remove the directory with all that is in it. */
bool bench_remove(const char *path);

/* ------------------------------------------- a run: tool_bench_mode.c -- */

uint64_t bench_now_ns(void);

/* The signal that wants the program to end, or 0. */
extern volatile sig_atomic_t bench_signal;

/* Eight buckets a power of two: a percentile is right to an eighth. */
#define BENCH_BUCKETS (8 * 62)

typedef struct bench_times {
  uint64_t count, max_ns;
  uint64_t buckets[BENCH_BUCKETS];
} bench_times;

void bench_times_add(bench_times *times, uint64_t ns);
/* A time that so many of a thousand stayed below. */
uint64_t bench_times_bound(const bench_times *times, uint64_t thousandths);

typedef struct bench_mode {
  const char *name, *loss; /* what a power loss takes */
  duralog_durability durability;
  bool strict, paced;
  uint64_t threads;
} bench_mode;

/* What every run may use up. */
typedef struct bench_limits {
  uint64_t time_ns, bytes;
  uint64_t record_bytes;
} bench_limits;

typedef struct bench_result {
  const bench_mode *mode;
  const char *loss; /* the mode's, but of a file system in memory */
  double bytes_a_record;
  uint64_t records, elapsed_ns;
  bench_times appends;
  duralog_sync_times syncs; /* of all kinds, but of opening */
  bool written_known;
  uint64_t written; /* until everything was synced */
} bench_result;

/* Prints what fails; gives the exit code. Ends early after a signal. */
int bench_run_mode(bench_place *place, const bench_mode *mode,
                   const bench_limits *limits, bench_result *result);

/* A write of 4 KiB and fdatasync, without duralog. */
typedef struct bench_bare {
  const char *name;
  bench_times times;
  bool written_known;
  uint64_t written;
} bench_bare;

enum { BENCH_NEW, BENCH_OVER, BENCH_BARES };

int bench_run_bare(const bench_place *place, const bench_limits *limits,
                   bench_bare bares[BENCH_BARES]);

/* --------------------------------------- telling: tool_bench_print.c -- */

typedef struct bench_report {
  const bench_place *place;
  uint64_t seconds, record_bytes;
  bool idle_known;
  uint64_t idle_bytes; /* that others wrote in a second */
  bench_bare bares[BENCH_BARES];
  bench_result *results;
  size_t count; /* of results until now */
} bench_report;

void bench_print_head(const bench_report *report);
void bench_print_bares(const bench_report *report);
void bench_print_modes_head(void);
void bench_print_mode(const bench_result *result);
void bench_print_rest(const bench_report *report); /* syncs, advice */
void bench_print_json(const bench_report *report);

#endif
