/* SPDX-License-Identifier: MIT
 *
 * Records that say who wrote them: each begins with a stamp, and everything
 * else in it follows from that. So whoever reads one knows what it has to be,
 * and where in its writer's work it stands.
 */
#ifndef SUPPORT_STAMPED_H
#define SUPPORT_STAMPED_H

#include "support.h"

enum { STAMPED_DATA_MAX = 3500, STAMPED_KEY_MAX = 24 };

struct stamp {
  uint64_t seed, writer, operation;
  uint64_t index, size; /* in its batch; of its batch, in records */
};

struct content {
  uint8_t data[STAMPED_DATA_MAX], key[STAMPED_KEY_MAX];
  duralog_entry entry; /* points into the above */
};

/* How many records a writer's operation appends: one, or a batch. */
static inline uint64_t stamped_batch(uint64_t seed, uint64_t writer,
                                     uint64_t operation, uint64_t max) {
  uint64_t state = seed ^ writer << 32 ^ operation;
  return random_below(&state, 10) < 6 ? 1 : 2 + random_below(&state, max - 1);
}

/* In a batch, the data is at most `in_batch_max` bytes: it has to fit into a
 * segment. */
static inline size_t stamped_size(uint64_t *state, bool in_batch,
                                  uint64_t in_batch_max) {
  uint64_t kind = random_below(state, 20);
  uint64_t limit = kind < 14 ? 200 : kind < 19 ? 800 : STAMPED_DATA_MAX;
  if (in_batch && limit > in_batch_max) limit = in_batch_max;
  return sizeof(struct stamp) +
         (size_t)random_below(state, limit - sizeof(struct stamp));
}

static inline void stamped_make(struct content *c, const struct stamp *stamp,
                                uint64_t in_batch_max) {
  uint64_t state = bytes_hash(stamp, sizeof *stamp, 0);
  c->entry = (duralog_entry){.data = c->data};
  c->entry.size = stamped_size(&state, stamp->size > 1, in_batch_max);
  if (random_below(&state, 5) == 0) {
    c->entry.key = c->key;
    c->entry.key_size = (size_t)random_below(&state, STAMPED_KEY_MAX + 1);
  }
  if (random_below(&state, 5) == 0) {
    c->entry.has_timestamp = true;
    c->entry.timestamp_ms = (int64_t)random_next(&state);
  }
  for (size_t i = 0; i < c->entry.size; i++) {
    if (i % 8 == 0) random_next(&state);
    c->data[i] = (uint8_t)(state >> i % 8 * 8);
  }
  memset(c->key, (int)(state & 0xFF), sizeof c->key);
  memcpy(c->data, stamp, sizeof *stamp);
}

static inline bool stamped_is(const duralog_record *r,
                              const struct content *c) {
  const duralog_entry *e = &c->entry;
  return r->size == e->size && memcmp(r->data, e->data, e->size) == 0 &&
         (r->key == NULL) == (e->key == NULL) && r->key_size == e->key_size &&
         (!e->key_size || memcmp(r->key, e->key, e->key_size) == 0) &&
         (!e->has_timestamp || r->timestamp_ms == e->timestamp_ms);
}

#endif
