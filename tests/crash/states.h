/* SPDX-License-Identifier: MIT
 *
 * The states that have been recovered: a digest of the disk together with what
 * had been promised, and how many records came back.
 */
#ifndef CRASH_STATES_H
#define CRASH_STATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct states {
  struct state {
    uint64_t key; /* 0: empty */
    uint64_t end;
  } * table;
  size_t count, capacity; /* a power of two */
};

/* Its entry; `*is_new` if it was not there. NULL: no memory. Valid until the
 * next call. */
struct state *states_enter(struct states *, uint64_t key, bool *is_new);
void states_free(struct states *);

#endif
