/* SPDX-License-Identifier: MIT
 *
 * A policy of the host's own: numbers out, "sync now" or not back. It is asked
 * without any lock, since it is the host's code, and it can only add: what it
 * wants is the flag that a waiter with a time limit sets, too.
 */
#include "log.h"

static bool ask(struct duralog *log, const struct policy_state *s) {
  if (s->end <= s->durable) return false;
  const duralog_unsynced unsynced = {.struct_size = sizeof unsynced,
                                     .records = s->end - s->durable,
                                     .bytes = s->end_bytes - s->durable_bytes,
                                     .oldest_ms = policy_age_ms(s)};
  return log->host_policy(log->host_policy_context, &unsynced);
}

void host_policy_appended(struct duralog *log) {
  struct policy_state s;
  policy_state_of(log, &s);
  s.now_ns = log->io->now_coarse(log->io);
  if (ask(log, &s) && !atomic_exchange(&log->sync_wanted, true))
    log_kick(log, WORKER_SYNCER);
}

bool host_policy_wants(struct duralog *log, struct policy_state *s) {
  if (!log->host_policy) return false;
  s->now_ns = log->io->now_coarse(log->io);
  /* Before the question: what comes while it is asked is asked about anew. */
  atomic_store(&log->host_asked_at, log->io->now(log->io));
  return ask(log, s);
}

uint64_t host_policy_deadline(const struct duralog *log,
                              const struct policy_state *s) {
  if (!log->host_policy) return NONE;
  return policy_ask_at(s, atomic_load(&log->host_asked_at));
}
