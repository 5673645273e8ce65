/* SPDX-License-Identifier: MIT
 *
 * What a run may do: the operations that sequences are made of. Each does to
 * the log what its name says and keeps the model. A later part of the library
 * adds its own here.
 */
#ifndef CRASH_OPERATIONS_H
#define CRASH_OPERATIONS_H

#include "explore.h"

struct operation {
  const char *name;
  void (*run)(struct run *);
};

extern const struct operation operations[];
extern const size_t operation_count;

/* A new world with a log of this mode, which is not open yet. Syncs that $SKIP
 * names do nothing in it; `broken` is an assumption that does not hold, or 0.
 */
void run_begin(struct run *, const struct crash_mode *, int broken);
void run_end(struct run *);
/* Open the log (NULL until it is) and compare it with the model. */
void run_open(struct run *, enum crash_kind);
/* The process, or the power, is gone in the middle of anything. */
void run_died(struct run *);

/* A sequence of operations, crashed at each event of the last one. */
enum { SEQUENCE_MAX = 3 };
struct sequence {
  const struct operation *operations[SEQUENCE_MAX];
  int length;
};
void sequence_run(struct explorer *, const struct crash_mode *,
                  const struct sequence *);

#endif
