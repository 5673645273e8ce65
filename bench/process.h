/* SPDX-License-Identifier: MIT
 *
 * A writer and a follower in two processes, which tell each other by words in
 * shared memory how far they are.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "duralog.h"

#define LINE_BYTES 128 /* two cache lines: what is fetched together */

/* A futex that several processes share, in a line of its own. */
typedef struct word {
  _Alignas(LINE_BYTES) _Atomic uint32_t value;
} word;

void word_wake(word *);
void word_sleep(word *, uint32_t while_it_is);
void word_set(word *, uint32_t value); /* and wake */
void word_await(word *, uint32_t value);

/* The calling thread runs on that core alone, of those it began with; where
 * there is but one, nothing changes. Threads that it starts take it over. */
#define ANY_CORE (-1)
void keep_to_core(int core);

/* Says on stderr what failed; false unless it went well. */
bool went_well(const char *what, duralog_error error);

/* In page-cache mode, with a first record; a segment is prepared. */
bool writer_open(const char *dir, duralog **log);
/* Beside a writer that is there; it must be a follower. */
bool follower_open(const char *dir, duralog **log);
/* Placed at the end. */
bool reader_at_end(duralog *log, duralog_level level, duralog_reader **reader);

#endif
