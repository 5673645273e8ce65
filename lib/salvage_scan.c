/* SPDX-License-Identifier: MIT
 *
 * What of a segment's bytes is provable (salvage.h says by which rules).
 *
 * From the beginning frames are walked as recovery walks them. Where that ends,
 * in a hole, the file is searched for the next frame that proves itself with
 * its body, and walked on from there: so it falls into islands. Then, from the
 * last to the first, it is decided which of them stayed in the log.
 */
#include "salvage.h"

struct search {
  struct salvage_scan *s;
  uint64_t epochs[SALVAGE_EPOCHS_MAX];
  uint64_t seeds[SALVAGE_EPOCHS_MAX];
  size_t epoch_count;
  uint64_t budget; /* bytes of bodies that may still be looked at in vain */
};

/* ---- claims ---- */

void salvage_claim_add(struct salvage_scan *s, uint64_t epoch,
                       uint64_t durable) {
  size_t lowest = 0;
  s->durable = max_u64(s->durable, durable);
  for (size_t i = 0; i < s->claim_count; i++) {
    struct salvage_claim *c = &s->claims[i];
    if (c->epoch == epoch) {
      c->durable = max_u64(c->durable, durable);
      return;
    }
    if (c->epoch < s->claims[lowest].epoch) lowest = i;
  }
  if (s->claim_count < SALVAGE_EPOCHS_MAX)
    lowest = s->claim_count++;
  else if (epoch < s->claims[lowest].epoch)
    return; /* forgetting a claim only makes us take less */
  s->claims[lowest] = (struct salvage_claim){epoch, durable};
}

/* Everything below it was durable while that epoch wrote; 0: not known. */
static uint64_t claimed(const struct salvage_scan *s, uint64_t epoch) {
  for (size_t i = 0; i < s->claim_count; i++)
    if (s->claims[i].epoch == epoch) return s->claims[i].durable;
  return 0;
}

/* ---- epochs that frames may be of ---- */

static void epoch_add(struct search *x, uint64_t epoch) {
  size_t at = x->epoch_count, lowest = 0;
  for (size_t i = 0; i < x->epoch_count; i++) {
    if (x->epochs[i] == epoch) return;
    if (x->epochs[i] < x->epochs[lowest]) lowest = i;
  }
  if (at == SALVAGE_EPOCHS_MAX) {
    if (epoch < x->epochs[lowest]) return;
    at = lowest;
  } else {
    x->epoch_count++;
  }
  x->epochs[at] = epoch;
  x->seeds[at] = frame_seed(x->s->uuid, x->s->number, epoch);
}

/* An EPOCH frame may be what the hole holds. */
static void epochs_ahead(struct search *x, uint64_t epoch) {
  enum { AHEAD = 8 };
  for (uint64_t i = 0; i <= AHEAD && epoch + i >= epoch; i++)
    epoch_add(x, epoch + i);
}

static void epochs_begin(struct search *x) {
  const struct salvage_scan *s = x->s;
  x->epoch_count = 0;
  epochs_ahead(x, s->epoch);
  for (size_t i = 0; i < s->claim_count; i++)
    if (s->claims[i].epoch > s->epoch) epoch_add(x, s->claims[i].epoch);
  if (s->end_epoch_known) epoch_add(x, s->end_epoch);
  if (s->epoch_seen > s->epoch) epoch_add(x, s->epoch_seen);
}

/* ---- walking an island ---- */

struct walk salvage_walk_at(const struct salvage_scan *s, uint64_t position,
                            uint64_t offset, uint64_t epoch) {
  return (struct walk){.segment = s->number,
                       .bytes = s->segment_bytes,
                       .base = s->base,
                       .epoch = epoch,
                       .seed = frame_seed(s->uuid, s->number, epoch),
                       .position = position,
                       .offset = offset};
}

enum stop {
  STOP_ROLL,
  STOP_INVALID,
  STOP_BODY /* a record, but for its data; `*f` is its header */
};

/* Check the frame at the walk's place: header, room in the file, body. */
static enum walk_result frame_at(const struct salvage_scan *s,
                                 const struct walk *w, struct frame *f,
                                 bool *body_valid) {
  *body_valid = false;
  if (w->position + FRAME_HEADER_BYTES > min_u64(s->size, w->bytes))
    return WALK_INVALID;
  const uint8_t *at = s->bytes + w->position;
  enum walk_result result = walk_header(w, at, f);
  if (result != WALK_OK) return result;
  *body_valid = w->position + FRAME_HEADER_BYTES + f->body_bytes <= s->size &&
                frame_body_valid(f, at + FRAME_HEADER_BYTES);
  return WALK_OK;
}

static void note_claim(struct salvage_scan *s, struct salvage_island *k,
                       const struct walk *w, const struct frame *f) {
  if (f->lag == FRAME_LAG_UNKNOWN || w->offset < f->lag) return;
  uint64_t durable = w->offset - f->lag;
  salvage_claim_add(s, w->epoch, durable);
  if (durable == k->offset) k->boundary = true;
}

static void batch_ended(struct salvage_island *k, const struct walk *w) {
  if (!k->second_position) {
    k->second_position = w->position;
    k->second_offset = w->offset;
    k->second_epoch = w->epoch;
  }
  k->whole_offset = w->offset;
  k->whole_position = w->position;
}

static enum stop walk_island(struct search *x, struct salvage_island *k,
                             struct walk *w, struct frame *f) {
  struct salvage_scan *s = x->s;
  bool in_batch = false, raised = false, body_valid;
  enum stop stop = STOP_INVALID;
  while (w->position < s->end_position) {
    enum walk_result result = frame_at(s, w, f, &body_valid);
    if (result == WALK_NEWER && !s->newer) {
      s->newer = true;
      s->newer_position = w->position;
    }
    if (result != WALK_OK) break;
    bool record = frame_type(f) == FRAME_RECORD;
    if (in_batch && !record) break;
    if (!record && w->position == k->position) k->boundary = true;
    if (body_valid || record) note_claim(s, k, w, f);
    if (!body_valid) {
      if (record) stop = STOP_BODY;
      break;
    }
    const uint8_t *body = s->bytes + w->position + FRAME_HEADER_BYTES;
    if (!walk_accept(w, s->uuid, f, body)) break;
    in_batch = (f->flags & FRAME_MORE) != 0;
    if (record && (!in_batch || s->partial)) batch_ended(k, w);
    if (record && raised) k->raised = true;
    if (frame_type(f) == FRAME_EPOCH) {
      raised = true;
      epochs_ahead(x, w->epoch);
    }
    if (frame_type(f) == FRAME_ROLL) {
      stop = STOP_ROLL;
      k->rolled = s->roll_check == 0 || s->roll_check == f->check;
      break;
    }
  }
  k->end_position = w->position;
  k->end_offset = w->offset;
  k->end_epoch = w->epoch;
  s->epoch_max = max_u64(s->epoch_max, w->epoch);
  return stop;
}

/* ---- searching ---- */

/* Whether a frame that proves itself stands there, which may follow the walk:
 * puts the walk there. Within an epoch offsets do not fall. */
static bool try_place(struct search *x, uint64_t position, struct walk *w) {
  struct salvage_scan *s = x->s;
  const uint8_t *at = s->bytes + position;
  struct frame f;
  for (size_t i = 0; i < x->epoch_count; i++) {
    if (x->epochs[i] < w->epoch || !frame_decode(&f, at, x->seeds[i], position))
      continue;
    uint64_t offset = s->base + f.index;
    if (offset < s->base || (x->epochs[i] == w->epoch && offset < w->offset))
      continue;
    struct walk there = *w;
    there.epoch = x->epochs[i];
    there.seed = x->seeds[i];
    there.position = position;
    there.offset = offset;
    bool body_valid;
    if (frame_at(s, &there, &f, &body_valid) != WALK_OK) continue;
    if (!body_valid) {
      x->budget -= min_u64(x->budget, f.body_bytes);
      continue;
    }
    *w = there;
    return true;
  }
  return false;
}

/* The next such frame from there on. */
static bool search(struct search *x, uint64_t from, struct walk *w) {
  struct salvage_scan *s = x->s;
  uint64_t to = min_u64(min_u64(s->size, s->segment_bytes), s->end_position);
  uint64_t at = from;
  epochs_ahead(x, w->epoch);
  while (at + FRAME_HEADER_BYTES <= to) {
    if (load64(s->bytes + at) == 0) { /* no header begins so */
      uint64_t zeros = zero_run(s->bytes + at, to - at);
      at += zeros & ~(uint64_t)(FRAME_ALIGNMENT - 1);
      continue;
    }
    if (frame_may_be_header(s->bytes + at, s->size - at)) {
      if (try_place(x, at, w)) return true;
      if (x->budget == 0) {
        s->cut_short = true;
        return false;
      }
    }
    at += FRAME_ALIGNMENT;
  }
  return false;
}

/* ---- the verdict ---- */

static void take_all(const struct salvage_scan *s, struct salvage_island *k) {
  bool first = k->boundary || s->partial, second = k->second_position != 0;
  k->from_position = first ? k->position : k->second_position;
  k->from = first ? k->offset : k->second_offset;
  k->from_epoch = first ? k->epoch : k->second_epoch;
  k->to = second ? k->whole_offset : k->from;
  k->to_position = second ? k->whole_position : k->position;
  if (!first && !second) {
    k->from = k->to = k->offset;
    k->from_position = k->position;
    k->from_epoch = k->epoch;
  }
}

/* Leave out batches with a record at or above `limit`, or that begins at or
 * behind `position` and is not below `sure`. */
static void trim(const struct salvage_scan *s, struct salvage_island *k,
                 uint64_t limit, uint64_t position, uint64_t sure) {
  struct walk w = salvage_walk_at(s, k->from_position, k->from, k->from_epoch);
  uint64_t to = k->from, to_position = k->from_position;
  struct frame f;
  bool valid;
  while (w.offset < k->to && frame_at(s, &w, &f, &valid) == WALK_OK) {
    if (frame_type(&f) == FRAME_RECORD &&
        (w.offset >= limit || (w.position >= position && w.offset >= sure)))
      break;
    if (!walk_accept(&w, s->uuid, &f,
                     s->bytes + w.position + FRAME_HEADER_BYTES))
      break;
    if (frame_type(&f) == FRAME_RECORD &&
        (s->partial || !(f.flags & FRAME_MORE))) {
      to = w.offset;
      to_position = w.position;
    }
  }
  if (to < k->to) {
    k->doubtful = true;
    k->to = to;
    k->to_position = to_position;
  }
}

/* A higher epoch has given these offsets to other records. Islands have
 * ascending offsets, so that the first one below ends it; what it looks at
 * again is taken from the budget. */
static void overruled(struct salvage_scan *s, uint64_t offset,
                      uint64_t *budget) {
  for (size_t i = s->count; i-- > 0;) {
    struct salvage_island *k = &s->islands[i];
    if (k->to <= offset && k->to > k->from) break;
    uint64_t cost = SECTOR_BYTES + k->to_position - k->from_position;
    *budget -= min_u64(*budget, cost);
    if (k->to > offset) trim(s, k, offset, NONE, NONE);
  }
}

static void decide(struct salvage_scan *s) {
  bool inside = false; /* something that counts lies behind it in the file */
  bool known = s->end_epoch_known;
  uint64_t after = s->end_epoch;
  for (size_t i = s->count; i-- > 0;) {
    struct salvage_island *k = &s->islands[i];
    bool reached = i == 0 && s->started && k->position == SEGMENT_HEADER_BYTES;
    uint64_t sure = claimed(s, k->epoch);
    /* Where there is no start block, that is the hole. */
    bool behind_durable =
        i || s->started ? sure && sure >= k->offset : sure > k->offset;
    bool chained = k->rolled && s->roll_check;
    bool proven = chained || k->raised || behind_durable ||
                  (known && k->end_epoch == after);
    if (!proven && !reached && !inside) {
      k->doubtful = k->to > k->from;
      k->to = k->from;
      k->to_position = k->from_position;
      continue;
    }
    uint64_t higher = known ? after : 0;
    if (!inside) higher = max_u64(higher, s->epoch_seen);
    if (!chained && higher > k->end_epoch && k->end_position > k->position)
      trim(s, k, NONE,
           (k->end_position - 1) / SALVAGE_PAGE_BYTES * SALVAGE_PAGE_BYTES,
           claimed(s, k->end_epoch));
    known = inside = true;
    after = k->epoch;
  }
}

/* ---- all of it ---- */

bool salvage_start_is_stale(const struct salvage_scan *s) {
  struct search x = {.s = (struct salvage_scan *)(uintptr_t)s, .budget = NONE};
  struct walk w = salvage_walk_at(s, SEGMENT_HEADER_BYTES, s->base, s->epoch);
  struct frame f;
  bool valid;
  if (w.position + FRAME_HEADER_BYTES > s->size ||
      frame_at(s, &w, &f, &valid) == WALK_OK)
    return false;
  epochs_begin(&x);
  return frame_may_be_header(s->bytes + w.position, s->size - w.position) &&
         try_place(&x, w.position, &w);
}

/* Where the walk goes on behind what stopped it; false: nowhere. */
static bool go_on(struct search *x, enum stop stop, const struct frame *f,
                  bool moved, struct walk *w, bool *boundary) {
  uint64_t hole = w->position;
  *boundary = false;
  if (stop == STOP_BODY) { /* its header says where the next one is */
    struct frame next;
    bool valid;
    w->position += frame_bytes(f->body_bytes);
    w->offset++;
    *boundary = !(f->flags & FRAME_MORE);
    if (w->position < x->s->end_position &&
        frame_at(x->s, w, &next, &valid) == WALK_OK &&
        (valid || frame_type(&next) == FRAME_RECORD))
      return true;
    *boundary = false;
  }
  bool looked_at = stop == STOP_BODY || !moved;
  return search(x, looked_at ? hole + FRAME_ALIGNMENT : hole, w);
}

void salvage_scan_run(struct salvage_scan *s) {
  struct search x = {.s = s, .budget = 4 * s->size};
  struct walk w = salvage_walk_at(s, SEGMENT_HEADER_BYTES, s->base, s->epoch);
  bool boundary = false, goes_on = true;
  s->count = 0;
  epochs_begin(&x);
  if (!s->started) goes_on = search(&x, w.position, &w);
  while (goes_on && !s->newer) {
    struct salvage_island *k = &s->islands[s->count];
    struct frame f = {.check = 0};
    *k = (struct salvage_island){
        .position = w.position,
        .offset = w.offset,
        .epoch = w.epoch,
        .boundary = boundary || w.position == SEGMENT_HEADER_BYTES};
    if (s->count && w.epoch > k[-1].end_epoch)
      overruled(s, w.offset, &x.budget);
    enum stop stop = walk_island(&x, k, &w, &f);
    bool moved = k->end_position > k->position;
    take_all(s, k);
    k->body = stop == STOP_BODY;
    /* One without frames only tells that the beginning is damaged. */
    if (moved || s->count == 0) s->count++;
    if (k->rolled) break;
    if (s->count == s->capacity || x.budget == 0) {
      s->cut_short = true;
      break;
    }
    goes_on = go_on(&x, stop, &f, moved, &w, &boundary);
  }
  decide(s);
  uint64_t once = NONE;
  overruled(s, s->limit, &once);
}
