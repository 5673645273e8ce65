/* SPDX-License-Identifier: MIT
 *
 * Walking frames: the one place that says which frame may follow which.
 * Recovery, readers and the index all go through it, so that they cannot
 * disagree about what the log holds.
 *
 * A step is: walk_header at the position, frame_body_valid on the body if it
 * is to be trusted, walk_accept. Nothing here reads beyond what it is given.
 */
#ifndef DURALOG_WALK_H
#define DURALOG_WALK_H

#include "format.h"
#include "frame.h"

struct walk {
  uint64_t segment;  /* number */
  uint64_t bytes;    /* size of the segment */
  uint64_t base;     /* offset of its first record */
  int64_t base_time; /* milliseconds */
  uint64_t epoch;
  uint64_t seed;     /* frame_seed of log, segment and epoch */
  uint64_t position; /* of the next frame */
  uint64_t offset;   /* of the next record */
};

enum walk_result {
  WALK_OK,
  WALK_INVALID, /* no frame that may stand here */
  WALK_NEWER    /* a valid header with a type or flags unknown here */
};

void walk_begin(struct walk *, const uint8_t uuid[16], uint64_t segment,
                uint64_t segment_bytes, const struct start *);

static inline bool walk_has_room(const struct walk *w) {
  return w->position + FRAME_HEADER_BYTES <= w->bytes;
}

bool walk_flags_known(uint16_t flags);
bool walk_enter_epoch(struct walk *, const uint8_t uuid[16],
                      const struct frame *, const uint8_t *body);

/* Check and decode the header at the position; `at` points to its bytes, of
 * which FRAME_HEADER_BYTES can be read if walk_has_room. */
static inline enum walk_result walk_header(const struct walk *w,
                                           const uint8_t *at, struct frame *f) {
  if (UNLIKELY(!frame_decode(f, at, w->seed, w->position))) return WALK_INVALID;
  /* Behind every other frame there is room for a ROLL. */
  uint64_t spare = frame_type(f) == FRAME_ROLL ? 0 : FRAME_HEADER_BYTES;
  if (UNLIKELY(w->position + frame_bytes(f->body_bytes) + spare > w->bytes))
    return WALK_INVALID;
  if (UNLIKELY(f->index != (uint32_t)(w->offset - w->base)))
    return WALK_INVALID;
  if (LIKELY(f->flags == FRAME_RECORD)) return WALK_OK;
  return walk_flags_known(f->flags) ? WALK_OK : WALK_NEWER;
}

/* Step over the frame; false if the body contradicts the walk. */
static inline bool walk_accept(struct walk *w, const uint8_t uuid[16],
                               const struct frame *f, const uint8_t *body) {
  if (LIKELY(frame_type(f) == FRAME_RECORD))
    w->offset++;
  else if (frame_type(f) == FRAME_EPOCH && !walk_enter_epoch(w, uuid, f, body))
    return false;
  w->position += frame_bytes(f->body_bytes);
  return true;
}

/* The timestamp of a record's frame. */
int64_t walk_time(const struct walk *, const struct frame *,
                  const struct frame_body *);

#endif
