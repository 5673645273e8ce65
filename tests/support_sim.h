/* SPDX-License-Identifier: MIT
 *
 * A simulated world for a test. $SKIP names a place that syncs (lib/io.h):
 * there, syncs succeed and do nothing, and some test has to turn red
 * (tests/script/test_syncs.sh).
 */
#ifndef SUPPORT_SIM_H
#define SUPPORT_SIM_H

#include <stdlib.h>
#include <string.h>

#include "io_sim.h"

static inline struct sim *world_new(void) {
  static const char *const names[] = {
#define SYNC_NAME(name, text) text,
      IO_SYNC_REASONS(SYNC_NAME)
#undef SYNC_NAME
  };
  struct sim *sim = sim_new();
  const char *skip = getenv("SKIP");
  if (!sim) abort();
  for (int i = 0; skip && i < IO_SYNC_REASON_COUNT; i++)
    if (strcmp(skip, names[i]) == 0) sim_skip_sync(sim, (enum io_sync_reason)i);
  return sim;
}

#endif
