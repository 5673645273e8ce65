/* SPDX-License-Identifier: MIT
 *
 * Several threads that begin at once.
 */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <stdbool.h>
#include <stdint.h>

#define TEAM_MAX 32u

/* Run work(argument, k) in `threads` threads, k from 0. *ns receives the time
 * from when all may begin to when the last one has done. True if each says so.
 */
bool team_run(unsigned threads, bool (*work)(void *argument, unsigned k),
              void *argument, uint64_t *ns);

#endif
