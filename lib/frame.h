/* SPDX-License-Identifier: MIT
 *
 * Frames: what lies in a segment behind its header page. Pure encoding and
 * decoding; FORMAT.md has the same names and a worked dump.
 *
 *   0  check        u32  checksum of these 24 bytes with 0 in its own place
 *   4  body_bytes   u32  length of the body, without padding
 *   8  body_check   u32  checksum of the body
 *  12  index        u32  offset, less the segment's first offset
 *  16  time_delta   i32  timestamp, less the segment's, in milliseconds
 *  20  flags        u16  type and optional blocks
 *  22  lag          u16  offset less `durable` when written; 65535: no claim
 *  24  body              optional blocks in the order of their flags, data
 *
 * A frame begins at a multiple of 8; bytes between the body and the next frame
 * are not looked at.
 *
 * A header proves itself out of context: its check is seeded with log, segment,
 * epoch and position, so that a stale, moved or foreign one does not validate
 * (I3, I22), and covers the body's checksum. It is never 0. The body has a
 * checksum of its own, unseeded, so that appenders compute it outside of the
 * lock, and so that a damaged body does not lose the framing.
 */
#ifndef DURALOG_FRAME_H
#define DURALOG_FRAME_H

#include "base.h"
#include "checksum.h"

enum {
  FRAME_HEADER_BYTES = 24,
  FRAME_ALIGNMENT = 8,
  FRAME_LAG_UNKNOWN = 0xFFFF
};

/* Types, in the low four bits of the flags. Only records have an offset of
 * their own; the index of the others is that of the next record. */
enum frame_type {
  FRAME_RECORD = 1,
  FRAME_PAD = 2,   /* nothing; the body is not looked at */
  FRAME_EPOCH = 3, /* body: epoch u64, previous epoch u64 */
  FRAME_ROLL = 4   /* the log continues in the next segment; no body */
  /* 5 is reserved for the producers' snapshot */
};

/* Flags. The bits of optional blocks, in the order of the blocks. */
enum frame_flag {
  FRAME_TYPE_MASK = 0x000F,
  FRAME_MORE = 0x0010, /* more records of this batch follow */
  FRAME_TIME =
      0x0020,         /* block: timestamp i64, where the delta cannot hold it */
  FRAME_KEY = 0x0040, /* block: length u32, the key */
  /* Reserved, refused by this release: 0x0080 producer, 0x0100 control,
   * 0x0200 tombstone, 0x0400 compressed, 0x0800 origin; 0x1000 and up. */
  FRAME_FLAGS_KNOWN = 0x007F
};

enum {
  FRAME_TIME_BYTES = 8,
  FRAME_KEY_LENGTH_BYTES = 4,
  FRAME_EPOCH_BODY_BYTES = 16
};

struct frame {
  uint32_t check;
  uint32_t body_bytes;
  uint32_t body_check;
  uint32_t index;
  int32_t time_delta;
  uint16_t flags;
  uint16_t lag;
};

static inline uint64_t frame_bytes(uint64_t body_bytes) {
  return FRAME_HEADER_BYTES + align_up(body_bytes, FRAME_ALIGNMENT);
}

static inline enum frame_type frame_type(const struct frame *f) {
  return (enum frame_type)(f->flags & FRAME_TYPE_MASK);
}

/* The part of the seed that is the same for a segment within one epoch. */
static inline uint64_t frame_seed(const uint8_t uuid[16], uint64_t segment,
                                  uint64_t epoch) {
  uint8_t bytes[32];
  memcpy(bytes, uuid, 16);
  store64(bytes + 16, segment);
  store64(bytes + 24, epoch);
  return checksum64(bytes, sizeof bytes, 0);
}

/*
 * The header as three words, so that it is built, checked and stored without
 * going through memory in pieces: a load that spans two recent stores stalls.
 */
struct frame_words {
  uint64_t w[3];
};

__attribute__((flatten)) static inline uint32_t frame_words_check(
    const struct frame_words *words, uint64_t seed, uint64_t position) {
  uint32_t check =
      (uint32_t)checksum64(words->w, FRAME_HEADER_BYTES, seed + position);
  return check ? check : 1;
}

static inline void frame_encode(uint8_t *to, struct frame *f, uint64_t seed,
                                uint64_t position) {
  struct frame_words words = {
      {LE64((uint64_t)f->body_bytes << 32),
       LE64((uint64_t)f->body_check | (uint64_t)f->index << 32),
       LE64((uint64_t)(uint32_t)f->time_delta | (uint64_t)f->flags << 32 |
            (uint64_t)f->lag << 48)}};
  f->check = frame_words_check(&words, seed, position);
  /* Word by word: copied as a whole it would go through memory after all. */
  store64(to, LE64(words.w[0]) | f->check);
  store64(to + 8, LE64(words.w[1]));
  store64(to + 16, LE64(words.w[2]));
}

/* Decode the header at `from`; false if it does not validate there. */
static inline bool frame_decode(struct frame *f, const uint8_t *from,
                                uint64_t seed, uint64_t position) {
  struct frame_words words = {
      {LE64(load64(from)), LE64(load64(from + 8)), LE64(load64(from + 16))}};
  f->check = (uint32_t)LE64(words.w[0]);
  words.w[0] &= ~LE64(UINT64_C(0xFFFFFFFF));
  if (f->check != frame_words_check(&words, seed, position)) return false;
  f->body_bytes = (uint32_t)(LE64(words.w[0]) >> 32);
  f->body_check = (uint32_t)LE64(words.w[1]);
  f->index = (uint32_t)(LE64(words.w[1]) >> 32);
  f->time_delta = (int32_t)(uint32_t)LE64(words.w[2]);
  f->flags = (uint16_t)(LE64(words.w[2]) >> 32);
  f->lag = (uint16_t)(LE64(words.w[2]) >> 48);
  return true;
}

/* Cheap look at whether a header may stand here at all, before a checksum is
 * made; `room` is what is left of the file. */
static inline bool frame_may_be_header(const uint8_t *at, uint64_t room) {
  uint16_t flags = load16(at + 20);
  unsigned type = flags & FRAME_TYPE_MASK;
  return load32(at) != 0 && type >= FRAME_RECORD && type <= FRAME_ROLL &&
         !(flags & ~FRAME_FLAGS_KNOWN) && load32(at + 4) <= room;
}

/* The body's checksum: the data, seeded with the checksum of the optional
 * blocks before it (0 if there are none). */
static inline uint32_t frame_body_check(const uint8_t *blocks,
                                        size_t blocks_bytes, const void *data,
                                        size_t size) {
  if (LIKELY(blocks_bytes == 0)) return (uint32_t)checksum64_plain(data, size);
  return (uint32_t)checksum64(data, size,
                              checksum64_plain(blocks, blocks_bytes));
}

/* A record's body, taken apart. */
struct frame_body {
  uint32_t blocks_bytes; /* before the data */
  uint32_t key_at, key_bytes;
  bool has_key, has_time;
  int64_t time;
};

/* Find the blocks; false if they do not fit in the body. */
bool frame_parse_body(const struct frame *f, const uint8_t *body,
                      struct frame_body *out);

bool frame_other_body_valid(const struct frame *f, const uint8_t *body);

/* Whether the body is the one the header was made for. Any type. */
static inline bool frame_body_valid(const struct frame *f,
                                    const uint8_t *body) {
  if (LIKELY(!(f->flags & (FRAME_TIME | FRAME_KEY)) &&
             frame_type(f) != FRAME_PAD))
    return (uint32_t)checksum64_plain(body, f->body_bytes) == f->body_check;
  return frame_other_body_valid(f, body);
}

#endif
