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

static bool remember_now(struct frame_index *x, io_env *io,
                         const struct walk *w) {
  if (x->count == x->capacity && !entries_grow(x, io)) return false;
  x->entries[x->count++] =
      (struct index_entry){.epoch = w->epoch,
                           .time_max = x->time_max,
                           .position = (uint32_t)w->position,
                           .index = (uint32_t)(w->offset - w->base)};
  return true;
}

static inline bool remember(struct frame_index *x, io_env *io,
                            const struct walk *w) {
  if (LIKELY(x->count && w->position < x->entries[x->count - 1].position +
                                           INDEX_STRIDE_BYTES))
    return true;
  return remember_now(x, io, w);
}

/* One frame, by its header alone; an epoch's body is needed. */
static enum index_result step(struct walk *w, const uint8_t uuid[16],
                              const struct frame_source *source,
                              struct frame *f) {
  if (!walk_has_room(w)) return INDEX_INVALID;
  const uint8_t *at =
      source->get(source->context, w->position, FRAME_HEADER_BYTES);
  if (!at) return INDEX_SOURCE;
  switch (walk_header(w, at, f)) {
    case WALK_OK: break;
    case WALK_NEWER: return INDEX_NEWER;
    case WALK_INVALID: return INDEX_INVALID;
  }
  const uint8_t *body = NULL;
  if (frame_type(f) == FRAME_EPOCH) {
    at = source->get(source->context, w->position,
                     FRAME_HEADER_BYTES + (uint64_t)f->body_bytes);
    if (!at) return INDEX_SOURCE;
    body = at + FRAME_HEADER_BYTES;
    if (!frame_body_valid(f, body)) return INDEX_INVALID;
  }
  if (frame_type(f) == FRAME_ROLL) return INDEX_INVALID; /* too far */
  return walk_accept(w, uuid, f, body) ? INDEX_FOUND : INDEX_INVALID;
}

/* ---- timestamps ---- */

/* The bound that a record's frame sets for a running maximum: its timestamp,
 * proven or not. INT64_MIN where it has none. */
static enum index_result time_bound(const struct walk *w, uint64_t position,
                                    const struct frame *f,
                                    const struct frame_source *source,
                                    int64_t *bound) {
  struct frame_body parts = {0};
  *bound = INT64_MIN;
  if (f->flags & FRAME_TIME) {
    if (f->body_bytes < FRAME_TIME_BYTES) return INDEX_FOUND;
    const uint8_t *at = source->get(source->context, position,
                                    FRAME_HEADER_BYTES + FRAME_TIME_BYTES);
    if (!at) return INDEX_SOURCE;
    parts.has_time = true;
    parts.time = (int64_t)load64(at + FRAME_HEADER_BYTES);
  }
  *bound = walk_time(w, f, &parts);
  return INDEX_FOUND;
}

/* The timestamp of a record's frame, if it is proven: by the header, or by the
 * body where it lies in that. */
static enum index_result time_proven(const struct walk *w, uint64_t position,
                                     const struct frame *f,
                                     const struct frame_source *source,
                                     int64_t *time, bool *proven) {
  struct frame_body parts = {0};
  *proven = false;
  if (f->flags & FRAME_TIME) {
    const uint8_t *at =
        source->get(source->context, position,
                    FRAME_HEADER_BYTES + (uint64_t)f->body_bytes);
    if (!at) return INDEX_SOURCE;
    const uint8_t *body = at + FRAME_HEADER_BYTES;
    if (!frame_body_valid(f, body)) return INDEX_FOUND;
    frame_parse_body(f, body, &parts); /* cannot fail: the body is valid */
  }
  *time = walk_time(w, f, &parts);
  *proven = true;
  return INDEX_FOUND;
}

/* Walk over records without a proven time of at least `time_ms`, as far as
 * `end`, and stand at the first that has one; the largest proven time passed
 * is told as well. */
static enum index_result scan(struct walk *w, const uint8_t uuid[16],
                              const struct frame_source *source, uint64_t end,
                              int64_t time_ms, int64_t *found_ms,
                              int64_t *passed_max_ms) {
  enum index_result result = INDEX_FOUND;
  while (result == INDEX_FOUND && w->offset < end) {
    const struct walk here = *w;
    struct frame f;
    int64_t time;
    bool proven = false;
    result = step(w, uuid, source, &f);
    if (result == INDEX_FOUND && frame_type(&f) == FRAME_RECORD)
      result = time_proven(w, here.position, &f, source, &time, &proven);
    if (result != INDEX_FOUND || (proven && time >= time_ms)) *w = here;
    if (proven && time >= time_ms) {
      *found_ms = time;
      break;
    }
    if (proven && time > *passed_max_ms) *passed_max_ms = time;
  }
  return result;
}

/* ---- building ---- */

static void begin(struct frame_index *x, const struct walk *w) {
  if (x->built.seed != 0) return;
  x->built = *w;
  x->time_max = INT64_MIN;
}

static enum index_result build(struct frame_index *x, io_env *io,
                               const uint8_t uuid[16],
                               const struct frame_source *source) {
  struct frame f;
  return remember(x, io, &x->built) ? step(&x->built, uuid, source, &f)
                                    : INDEX_NO_MEMORY;
}

/* The same with running maxima. A place whose bound is not known is not
 * passed. */
static enum index_result build_timed(struct frame_index *x, io_env *io,
                                     const uint8_t uuid[16],
                                     const struct frame_source *source) {
  struct frame f;
  struct walk w = x->built;
  int64_t bound = INT64_MIN;
  if (!remember(x, io, &w)) return INDEX_NO_MEMORY;
  enum index_result result = step(&w, uuid, source, &f);
  if (result == INDEX_FOUND && frame_type(&f) == FRAME_RECORD)
    result = time_bound(&w, x->built.position, &f, source, &bound);
  if (result != INDEX_FOUND) return result;
  x->built = w;
  if (bound > x->time_max) x->time_max = bound;
  return INDEX_FOUND;
}

/* ---- finding ---- */

static void go_to(const struct index_entry *e, const uint8_t uuid[16],
                  struct walk *w) {
  if (e->epoch != w->epoch) {
    w->epoch = e->epoch;
    w->seed = frame_seed(uuid, w->segment, e->epoch);
  }
  w->position = e->position;
  w->offset = w->base + e->index;
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
  if (low > 0) go_to(&x->entries[low - 1], uuid, w);
}

/* The last entry with only older records before it. */
static void jump_by_time(const struct frame_index *x, const uint8_t uuid[16],
                         struct walk *w, int64_t time_ms) {
  uint32_t low = 0, high = x->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (x->entries[middle].time_max < time_ms)
      low = middle + 1;
    else
      high = middle;
  }
  if (low > 0) go_to(&x->entries[low - 1], uuid, w);
}

enum index_result index_find(struct frame_index *x, io_env *io,
                             const uint8_t uuid[16],
                             const struct frame_source *source, struct walk *w,
                             uint64_t offset) {
  enum index_result result = INDEX_FOUND;
  mutex_lock(io, &x->lock);
  begin(x, w);
  while (x->built.offset < offset && result == INDEX_FOUND)
    result = build(x, io, uuid, source);
  if (result == INDEX_FOUND)
    jump(x, uuid, w, offset);
  else
    *w = x->built;
  mutex_unlock(io, &x->lock);
  struct frame f;
  while (result == INDEX_FOUND && w->offset < offset)
    result = step(w, uuid, source, &f);
  return result;
}

enum index_result index_find_time(struct frame_index *x, io_env *io,
                                  const uint8_t uuid[16],
                                  const struct frame_source *source,
                                  struct walk *w, uint64_t end, int64_t time_ms,
                                  int64_t *found_ms) {
  enum index_result result = INDEX_FOUND;
  mutex_lock(io, &x->lock);
  begin(x, w);
  while (x->built.offset < end && x->time_max < time_ms &&
         result == INDEX_FOUND)
    result = build_timed(x, io, uuid, source);
  if (x->time_max < time_ms)
    *w = x->built; /* nothing before it: at the end, or at what failed */
  else
    jump_by_time(x, uuid, w, time_ms);
  mutex_unlock(io, &x->lock);
  int64_t passed = INT64_MIN;
  return result == INDEX_FOUND
             ? scan(w, uuid, source, end, time_ms, found_ms, &passed)
             : result;
}

enum index_result index_time_max(const uint8_t uuid[16],
                                 const struct frame_source *source,
                                 struct walk *w, uint64_t end,
                                 int64_t *max_ms) {
  /* Nothing is later than INT64_MAX: found or passed, it is the largest. */
  return scan(w, uuid, source, end, INT64_MAX, max_ms, max_ms);
}

void index_free(struct frame_index *x, io_env *io) {
  if (x->entries) io->free(io, x->entries);
  *x = (struct frame_index){.entries = NULL};
}
