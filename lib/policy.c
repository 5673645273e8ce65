/* SPDX-License-Identifier: MIT */
#include "policy.h"

/* One tick of the coarse clock at 250 Hz, rounded up to the slowest usual one
 * (100 Hz): by how much an age may be misread. */
#define TICK_NS (10 * NS_PER_MS)

/* How long a host's own policy is left alone: a part of the age, between. */
#define ASK_PART 8
#define ASK_NS_MIN (10 * NS_PER_MS)
#define ASK_NS_MAX (1000 * NS_PER_MS)

bool policy_make(struct policy *p, const duralog_durability *d) {
  bool triggers =
      d->sync_every_records || d->sync_every_bytes || d->sync_interval_ms;
  if (d->pagecache && triggers) return false;
  if (d->sync_interval_ms && d->sync_interval_ms < POLICY_INTERVAL_MS_MIN)
    return false;
  p->records = d->sync_every_records ? d->sync_every_records : NONE;
  p->bytes = d->sync_every_bytes ? d->sync_every_bytes : NONE;
  p->interval_ns = d->sync_interval_ms ? d->sync_interval_ms * NS_PER_MS : NONE;
  if (!d->pagecache && !triggers) p->records = 1;
  return true;
}

bool policy_durable_each(const struct policy *p) {
  return p->records == 1 || p->bytes == 1;
}

bool policy_idle(const struct policy *p) {
  return p->records == NONE && p->bytes == NONE && p->interval_ns == NONE;
}

static uint64_t less(uint64_t value, uint64_t by) {
  return value > by ? value - by : 0;
}

struct policy_floor policy_floor(const struct policy *p,
                                 const struct policy_state *s) {
  struct policy_floor floor = {0, 0};
  if (p->records != NONE) floor.offset = less(s->end, p->records - 1);
  if (p->bytes != NONE) floor.bytes = less(s->end_bytes, p->bytes - 1);
  if (p->interval_ns != NONE && s->end > s->durable &&
      s->now_ns > s->oldest_ns && s->now_ns - s->oldest_ns > p->interval_ns)
    floor.offset = max_u64(floor.offset, s->durable + 1);
  return floor;
}

uint64_t policy_deadline(const struct policy *p, const struct policy_state *s) {
  if (s->end <= s->durable) return NONE;
  if (p->records != NONE && s->end - s->durable >= p->records) return 0;
  if (p->bytes != NONE && s->end_bytes - s->durable_bytes >= p->bytes) return 0;
  if (p->interval_ns == NONE) return NONE;
  /* Early by what the sync will take and the clock may be wrong, so that it is
   * done before appends would have to wait for it; by half at most. */
  uint64_t early = min_u64(p->interval_ns / 2, TICK_NS + 2 * s->sync_ns);
  return s->oldest_ns + (p->interval_ns - early);
}

uint64_t policy_age_ms(const struct policy_state *s) {
  if (s->end <= s->durable || s->now_ns <= s->oldest_ns) return 0;
  return (s->now_ns - s->oldest_ns + NS_PER_MS - 1) / NS_PER_MS;
}

uint64_t policy_ask_at(const struct policy_state *s, uint64_t asked_ns) {
  if (s->end <= s->durable) return NONE;
  uint64_t from = max_u64(asked_ns, s->oldest_ns);
  uint64_t part = (from - s->oldest_ns) / ASK_PART;
  return from + max_u64(ASK_NS_MIN, min_u64(part, ASK_NS_MAX));
}
