/* SPDX-License-Identifier: MIT
 *
 * RAW's frame: two XXH3 checksums in a header of 24 bytes, and the payload.
 */
#ifndef BENCH_RAW_FRAME_H
#define BENCH_RAW_FRAME_H

#define XXH_INLINE_ALL
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

#include "contender.h"

typedef struct raw_header {
  uint32_t header_sum; /* of the 20 bytes after it, seeded with the position */
  uint32_t size;
  uint32_t payload_sum;
  uint32_t index; /* these three only have their place: they are stored and */
  uint32_t time;  /* covered, as the library's are */
  uint32_t flags;
} raw_header;

_Static_assert(sizeof(raw_header) == FRAME_HEADER_BYTES, "no padding");

static inline uint32_t raw_payload_sum(const void *data, size_t size) {
  return (uint32_t)XXH3_64bits(data, size);
}

static inline uint32_t raw_header_sum(const void *frame, uint64_t position) {
  return (uint32_t)XXH3_64bits_withSeed((const char *)frame + 4,
                                        FRAME_HEADER_BYTES - 4, position);
}

static inline void raw_put_summed(unsigned char *frame, uint64_t position,
                                  uint32_t index, const void *data, size_t size,
                                  uint32_t payload_sum) {
  raw_header h = {.size = (uint32_t)size,
                  .payload_sum = payload_sum,
                  .index = index,
                  .flags = 1};
  h.header_sum = raw_header_sum(&h, position);
  memcpy(frame, &h, sizeof h);
  memcpy(frame + sizeof h, data, size);
}

static inline void raw_put_frame(unsigned char *frame, uint64_t position,
                                 uint32_t index, const void *data,
                                 size_t size) {
  raw_put_summed(frame, position, index, data, size,
                 raw_payload_sum(data, size));
}

/* The bytes of the frame here, 0 if there is no valid one. */
static inline uint64_t raw_check_frame(const unsigned char *frame,
                                       uint64_t room, uint64_t position) {
  raw_header h;
  if (room < sizeof h) return 0;
  memcpy(&h, frame, sizeof h);
  if (h.header_sum != raw_header_sum(&h, position)) return 0;
  if (h.size > room - sizeof h) return 0;
  if (h.payload_sum != raw_payload_sum(frame + sizeof h, h.size)) return 0;
  return frame_bytes(h.size);
}

#endif
