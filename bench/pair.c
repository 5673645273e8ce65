/* SPDX-License-Identifier: MIT
 *
 * Both contenders, open at once in durable mode.
 */
#include "pair.h"

#include <unistd.h>

#define ADVANCE_BYTES ((uint64_t)3 << 20)
#define ADVANCE_BATCH 64u
#define ADVANCE_PAUSE_MS 20u

bool pair_open(pair *both, const char *scratch) {
  *both = (pair){.who = {&contender_duralog, &contender_raw}};
  for (int k = 0; k < 2; k++) {
    if (!scratch_sub(both->dir[k], scratch, both->who[k]->name)) return false;
    both->log[k] = both->who[k]->open(both->dir[k], MODE_DURABLE, 0);
    if (!both->log[k]) return false;
  }
  sync();
  return true;
}

void pair_close(pair *both) {
  for (int k = 0; k < 2; k++) {
    if (both->log[k]) both->who[k]->close(both->log[k]);
    if (both->dir[k][0]) scratch_drop(both->dir[k]);
  }
}

bool pair_append(pair *both, int k, const workload *work, latencies *each,
                 uint64_t *total_ns) {
  uint64_t start = now_ns(), before = start;
  for (uint64_t i = 0; i < work->count; i++) {
    if (!both->who[k]->append_one(both->log[k], workload_record(work, i),
                                  work->size))
      return false;
    uint64_t after = now_ns();
    if (each) latencies_add(each, after - before);
    before = after;
  }
  *total_ns += before - start;
  return true;
}

bool pair_advance(pair *both) {
  workload work = workload_make(
      DURABLE_SIZE, ADVANCE_BYTES / frame_bytes(DURABLE_SIZE), ADVANCE_BATCH);
  for (int k = 0; k < 2; k++)
    if (!both->who[k]->append(both->log[k], &work) ||
        !both->who[k]->settle(both->log[k]))
      return false;
  pause_ms(ADVANCE_PAUSE_MS);
  return true;
}
