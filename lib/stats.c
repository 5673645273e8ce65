/* SPDX-License-Identifier: MIT
 *
 * Statistics. What an append counts are plain fields under the append lock,
 * which it holds anyway; what it does not count but moves all the same, records
 * and bytes, is taken from there (tail_look). Everything else happens seldom
 * enough for atomic counters of its own.
 */
#include "log.h"

static void fill_tail(struct duralog *log, duralog_stats *out) {
  struct tail_view t;
  tail_look(log, &t);
  out->records = t.end - log->end_opened;
  out->batches = t.batches;
  out->payload_bytes = t.payload_bytes;
  out->framing_bytes = t.bytes - t.payload_bytes;
  out->contended = t.contended;
  out->naps = t.naps;
  out->rolls = t.rolls;
}

static void fill_counts(const struct duralog *log, duralog_stats *out) {
  const struct log_counts *c = &log->counts;
  const struct io_counts *io = &log->io_count.counts;
  out->waits = counter_get(&c->waits);
  out->wait_ns = counter_get(&c->wait_ns);
  out->segments_prepared = counter_get(&c->segments_prepared);
  out->segments_sealed = counter_get(&c->segments_sealed);
  out->late_preparations = counter_get(&c->late_preparations);
  out->failed_preparations = counter_get(&c->failed_preparations);
  out->retries = counter_get(&io->retries);
  out->hints_refused = counter_get(&io->hints_refused);
  for (int i = 0; i < DURALOG_STATS_ERRORS; i++)
    out->errors[i] = counter_get(&c->errors[i]);
}

static void fill_syncs(const struct sync_counts *c, duralog_sync_times *out) {
  out->count = counter_get(&c->count);
  out->total_ns = counter_get(&c->total_ns);
  out->max_ns = counter_get(&c->max_ns);
  for (int i = 0; i < DURALOG_STATS_BUCKETS; i++)
    out->histogram[i] = counter_get(&c->histogram[i]);
}

static duralog_error get_stats(const duralog *log, duralog_stats *out) {
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  struct policy_state s;
  *out = (duralog_stats){.struct_size = sizeof *out};
  fill_tail((struct duralog *)(uintptr_t)log, out); /* for the lock */
  fill_counts(log, out);
  for (int kind = 0; kind < DURALOG_SYNC_KIND_COUNT; kind++)
    fill_syncs(&log->io_count.counts.syncs[kind], &out->syncs[kind]);
  policy_state_of(log, &s);
  s.now_ns = log->io->now_coarse(log->io);
  out->oldest_unsynced_ms = log->read_only ? 0 : policy_age_ms(&s);
  out->readers = atomic_load(&log->readers);
  return DURALOG_OK;
}

duralog_error duralog_get_stats(const duralog *log, duralog_stats *out) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, get_stats(log, out));
}
