/* SPDX-License-Identifier: MIT
 *
 * A sparse index of one segment's frames, in memory: one entry about every
 * 4 KiB, built by walking headers as far as someone asked, never ahead. It only
 * makes finding fast; nothing rests on it.
 */
#ifndef DURALOG_INDEX_H
#define DURALOG_INDEX_H

#include "io.h"
#include "walk.h"

enum { INDEX_STRIDE_BYTES = 4096 };

struct index_entry {
  uint64_t epoch;
  uint32_t position;
  uint32_t index; /* of the record there, or of the next one */
};

struct frame_index {
  struct mutex lock;
  struct index_entry *entries;
  uint32_t count, capacity;
  struct walk built; /* where the building walk stands; seed 0 = not begun */
};

/* Gives `size` bytes at a position of the segment, or NULL (an I/O error, or
 * out of memory: the source knows). */
struct frame_source {
  const uint8_t *(*get)(void *context, uint64_t position, uint64_t size);
  void *context;
};

enum index_result {
  INDEX_FOUND,
  INDEX_INVALID, /* no valid frame stands where the walk stopped */
  INDEX_NEWER,
  INDEX_NO_MEMORY,
  INDEX_SOURCE
};

/* Put `*w`, which stands at the segment's beginning, at the frame of the
 * record `offset`, right behind the record before it, so that internal frames
 * between the two are still to come. On failure `*w` stands where
 * the walk stopped. */
enum index_result index_find(struct frame_index *, io_env *,
                             const uint8_t uuid[16],
                             const struct frame_source *, struct walk *w,
                             uint64_t offset);
void index_free(struct frame_index *, io_env *);

#endif
