/* SPDX-License-Identifier: MIT
 *
 * When to sync and when an append may return: numbers in, decisions out.
 *
 * All modes are one rule with different triggers. An append that ends at
 * offset e (and byte count b) returns only when
 *     e - durable <= N - 1   and   b - durable_bytes <= B - 1
 *     and no unsynced record is older than T,
 * which bounds what a power loss can take (I5). Syncs start earlier than that
 * where someone is there to start them, so that appends need not wait.
 */
#ifndef DURALOG_POLICY_H
#define DURALOG_POLICY_H

#include "base.h"
#include "duralog.h"

enum { POLICY_INTERVAL_MS_MIN = 10 };

struct policy {
  uint64_t records;     /* N; NONE = no bound */
  uint64_t bytes;       /* B; NONE = no bound */
  uint64_t interval_ns; /* T; NONE = no bound */
};

struct policy_state {
  uint64_t end, durable;             /* offsets */
  uint64_t end_bytes, durable_bytes; /* of the log, cumulative */
  uint64_t oldest_ns; /* a time no later than the oldest unsynced append */
  uint64_t now_ns;
  uint64_t sync_ns; /* what the last sync took */
};

/* The watermarks an append has to wait for. */
struct policy_floor {
  uint64_t offset, bytes;
};

/* False if the numbers contradict each other or are out of bounds. */
bool policy_make(struct policy *, const duralog_durability *);

/* Every append waits for its own sync. */
bool policy_durable_each(const struct policy *);

/* No triggers at all. */
bool policy_idle(const struct policy *);

/* For an append ending at state->end and state->end_bytes. */
struct policy_floor policy_floor(const struct policy *,
                                 const struct policy_state *);

/* When a sync should begin by itself; NONE if never, 0 if at once. */
uint64_t policy_deadline(const struct policy *, const struct policy_state *);

/* An upper bound of the age of the oldest unsynced record, 0 if there is none;
 * rounded up. */
uint64_t policy_age_ms(const struct policy_state *);

/* When a policy of the host's own should be asked again that was last asked at
 * `asked_ns`; NONE if nothing is unsynced. A fixed step would wake an idle
 * process for ever. */
uint64_t policy_ask_at(const struct policy_state *, uint64_t asked_ns);

#endif
