/* SPDX-License-Identifier: MIT */
#include "walk.h"

void walk_begin(struct walk *w, const uint8_t uuid[16], uint64_t segment,
                uint64_t segment_bytes, const struct start *s) {
  *w = (struct walk){.segment = segment,
                     .bytes = segment_bytes,
                     .base = s->offset,
                     .base_time = s->time_ms,
                     .epoch = s->epoch,
                     .seed = frame_seed(uuid, segment, s->epoch),
                     .position = SEGMENT_HEADER_BYTES,
                     .offset = s->offset};
}

bool walk_flags_known(uint16_t flags) {
  if (flags & ~FRAME_FLAGS_KNOWN) return false;
  switch (flags & FRAME_TYPE_MASK) {
    case FRAME_RECORD: return true;
    case FRAME_PAD:
    case FRAME_EPOCH:
    case FRAME_ROLL: return !(flags & ~FRAME_TYPE_MASK);
    default: return false;
  }
}

bool walk_enter_epoch(struct walk *w, const uint8_t uuid[16],
                      const struct frame *f, const uint8_t *body) {
  if (f->body_bytes != FRAME_EPOCH_BODY_BYTES) return false;
  uint64_t epoch = load64(body);
  if (epoch <= w->epoch) return false; /* left over from before a cut */
  w->epoch = epoch;
  w->seed = frame_seed(uuid, w->segment, epoch);
  return true;
}

int64_t walk_time(const struct walk *w, const struct frame *f,
                  const struct frame_body *body) {
  if (body->has_time) return body->time;
  return (int64_t)((uint64_t)w->base_time + (uint64_t)(int64_t)f->time_delta);
}
