/* SPDX-License-Identifier: MIT
 *
 * A writer and a follower in two processes.
 */
#include "process.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contender.h"
#include "harness.h"

#define PREPARE_PAUSE_MS 200u /* for the background, after opening */

void word_wake(word *w) {
  syscall(SYS_futex, &w->value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void word_sleep(word *w, uint32_t while_it_is) {
  syscall(SYS_futex, &w->value, FUTEX_WAIT, while_it_is, NULL, NULL, 0);
}

void word_set(word *w, uint32_t value) {
  atomic_store(&w->value, value);
  word_wake(w);
}

void word_await(word *w, uint32_t value) {
  uint32_t is;
  while ((is = atomic_load(&w->value)) != value) word_sleep(w, is);
}

void keep_to_core(int core) {
  static cpu_set_t all;
  cpu_set_t one;
  if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  if (CPU_COUNT(&all) < 2) return;
  CPU_ZERO(&one);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all) && core-- == 0) CPU_SET(cpu, &one);
  const cpu_set_t *to = CPU_COUNT(&one) ? &one : &all;
  (void)sched_setaffinity(0, sizeof *to, to);
}

bool went_well(const char *what, duralog_error error) {
  if (error == DURALOG_OK) return true;
  fprintf(stderr, "bench: duralog: %s: %s (%s)\n", what,
          duralog_error_text(error), duralog_error_name(error));
  return false;
}

bool writer_open(const char *dir, duralog **log) {
  duralog_options options = {.struct_size = sizeof options,
                             .segment_bytes = SEGMENT_BYTES};
  options.durability.pagecache = true;
  if (!went_well("open", duralog_open(dir, &options, log, NULL, NULL)) ||
      !went_well("the first append", duralog_append(*log, "first", 5, NULL)))
    return false;
  pause_ms(PREPARE_PAUSE_MS);
  return true;
}

bool follower_open(const char *dir, duralog **log) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  duralog_report report = {.struct_size = sizeof report};
  if (!went_well("open to follow",
                 duralog_open(dir, &options, log, &report, NULL)))
    return false;
  if (!report.follows || !report.writer_lives)
    fprintf(stderr, "bench: duralog: nobody to follow\n");
  return report.follows && report.writer_lives;
}

bool reader_at_end(duralog *log, duralog_level level, duralog_reader **reader) {
  return went_well("open a reader", duralog_reader_open(log, level, reader)) &&
         went_well("seek", duralog_seek(*reader, DURALOG_SEEK_END, 0));
}
