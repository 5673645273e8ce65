/* SPDX-License-Identifier: MIT */
#include "index.h"

static bool entries_grow(struct frame_index *x, io_env *io) {
  uint32_t capacity = x->capacity ? x->capacity * 2 : 64;
  struct index_entry *larger = io->alloc(io, capacity * sizeof *larger);
  if (!larger) return false;
  if (x->count) memcpy(larger, x->entries, x->count * sizeof *larger);
  struct index_entry *smaller = x->entries;
  x->entries = larger; /* first: a forked child frees what it sees here */
  x->capacity = capacity;
  if (smaller) io->free(io, smaller);
  return true;
}

static bool remember(struct frame_index *x, io_env *io, const struct walk *w) {
  if (x->count &&
      w->position < x->entries[x->count - 1].position + INDEX_STRIDE_BYTES)
    return true;
  if (x->count == x->capacity && !entries_grow(x, io)) return false;
  x->entries[x->count++] =
      (struct index_entry){.epoch = w->epoch,
                           .position = (uint32_t)w->position,
                           .index = (uint32_t)(w->offset - w->base)};
  return true;
}

/* One frame, by its header alone; an epoch's body is needed. */
static enum index_result step(struct walk *w, const uint8_t uuid[16],
                              const struct frame_source *source) {
  struct frame f;
  if (!walk_has_room(w)) return INDEX_INVALID;
  const uint8_t *at =
      source->get(source->context, w->position, FRAME_HEADER_BYTES);
  if (!at) return INDEX_SOURCE;
  switch (walk_header(w, at, &f)) {
    case WALK_OK: break;
    case WALK_NEWER: return INDEX_NEWER;
    case WALK_INVALID: return INDEX_INVALID;
  }
  const uint8_t *body = NULL;
  if (frame_type(&f) == FRAME_EPOCH) {
    at = source->get(source->context, w->position,
                     FRAME_HEADER_BYTES + (uint64_t)f.body_bytes);
    if (!at) return INDEX_SOURCE;
    body = at + FRAME_HEADER_BYTES;
    if (!frame_body_valid(&f, body)) return INDEX_INVALID;
  }
  if (frame_type(&f) == FRAME_ROLL) return INDEX_INVALID; /* too far */
  return walk_accept(w, uuid, &f, body) ? INDEX_FOUND : INDEX_INVALID;
}

/* The last entry before the offset: one at it might stand behind internal
 * frames that precede the record. */
static void jump(const struct frame_index *x, const uint8_t uuid[16],
                 struct walk *w, uint64_t offset) {
  uint32_t wanted = (uint32_t)(offset - w->base);
  uint32_t low = 0, high = x->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (x->entries[middle].index < wanted)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0) return;
  const struct index_entry *e = &x->entries[low - 1];
  if (e->epoch != w->epoch) {
    w->epoch = e->epoch;
    w->seed = frame_seed(uuid, w->segment, e->epoch);
  }
  w->position = e->position;
  w->offset = w->base + e->index;
}

enum index_result index_find(struct frame_index *x, io_env *io,
                             const uint8_t uuid[16],
                             const struct frame_source *source, struct walk *w,
                             uint64_t offset) {
  enum index_result result = INDEX_FOUND;
  mutex_lock(io, &x->lock);
  if (x->built.seed == 0) x->built = *w;
  while (x->built.offset < offset && result == INDEX_FOUND)
    result = remember(x, io, &x->built) ? step(&x->built, uuid, source)
                                        : INDEX_NO_MEMORY;
  if (result == INDEX_FOUND)
    jump(x, uuid, w, offset);
  else
    *w = x->built;
  mutex_unlock(io, &x->lock);
  while (result == INDEX_FOUND && w->offset < offset)
    result = step(w, uuid, source);
  return result;
}

void index_free(struct frame_index *x, io_env *io) {
  if (x->entries) io->free(io, x->entries);
  *x = (struct frame_index){.entries = NULL};
}
