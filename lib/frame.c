/* SPDX-License-Identifier: MIT */
#include "frame.h"

_Static_assert(FRAME_HEADER_BYTES % FRAME_ALIGNMENT == 0,
               "bodies begin aligned");
_Static_assert((FRAME_TYPE_MASK | FRAME_MORE | FRAME_TIME | FRAME_KEY) ==
                   FRAME_FLAGS_KNOWN,
               "every known flag is listed");

bool frame_parse_body(const struct frame *f, const uint8_t *body,
                      struct frame_body *out) {
  *out = (struct frame_body){0};
  uint64_t at = 0;
  if (f->flags & FRAME_TIME) {
    if (f->body_bytes < FRAME_TIME_BYTES) return false;
    out->has_time = true;
    out->time = (int64_t)load64(body);
    at = FRAME_TIME_BYTES;
  }
  if (f->flags & FRAME_KEY) {
    if (f->body_bytes - at < FRAME_KEY_LENGTH_BYTES) return false;
    out->has_key = true;
    out->key_bytes = load32(body + at);
    at += FRAME_KEY_LENGTH_BYTES;
    if (f->body_bytes - at < out->key_bytes) return false;
    out->key_at = (uint32_t)at;
    at += out->key_bytes;
  }
  out->blocks_bytes = (uint32_t)at;
  return true;
}

bool frame_other_body_valid(const struct frame *f, const uint8_t *body) {
  struct frame_body parts;
  if (frame_type(f) == FRAME_PAD) return true;
  return frame_parse_body(f, body, &parts) &&
         frame_body_check(body, parts.blocks_bytes, body + parts.blocks_bytes,
                          f->body_bytes - parts.blocks_bytes) == f->body_check;
}
