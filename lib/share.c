/* SPDX-License-Identifier: MIT
 *
 * What other processes see of a writer: the control file, built at its open
 * and mirrored into from then on (append.c, sync.c).
 */
#include "log.h"

enum { ALL_SLEEPERS = CONTROL_END_SLEEPERS | CONTROL_DURABLE_SLEEPERS };

static void build(struct duralog *log, struct control *c, uint64_t generation) {
  io_env *io = log->io;
  atomic_store(&c->state, CONTROL_BUILDING);
  STEP(io, "share/building");
  atomic_store(&c->fenced, io->fence_join(io));
  atomic_store(&c->durable_each, log->durable_each);
  atomic_store(&c->start, log->start);
  atomic_store(&c->durable, atomic_load(&log->durable));
  atomic_store(&c->active, atomic_load(&log->active));
  atomic_store(&c->epoch, atomic_load(&log->epoch));
  atomic_store(&c->end, atomic_load(&log->end));
  atomic_store(&c->sync_request, 0);
  atomic_store(&c->generation, generation);
  STEP(io, "share/built");
  atomic_store(&c->state, CONTROL_LIVE);
}

int share_begin(struct duralog *log, bool *made) {
  io_env *io = log->io;
  struct control *c;
  uint64_t generation;
  int result = io->random(io, &generation, sizeof generation);
  if (!result) result = control_make(&log->directory, &c, made);
  if (result) return result;
  build(log, c, generation);
  log->control = c;
  control_wake(c, io, ALL_SLEEPERS); /* of an earlier generation */
  return 0;
}

void share_end(struct duralog *log) {
  atomic_store(&log->control->state, CONTROL_CLOSED);
  control_wake(log->control, log->io, ALL_SLEEPERS);
}

/* Nobody is woken: its first record does that, and the durability of it. */
void share_epoch(struct duralog *log, uint64_t epoch) {
  atomic_store(&log->control->epoch, epoch);
  STEP(log->io, "share/epoch");
}

void share_poison(struct duralog *log) {
  atomic_store(&log->control->state, CONTROL_POISONED);
  control_wake(log->control, log->io, ALL_SLEEPERS);
}
