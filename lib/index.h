/* SPDX-License-Identifier: MIT
 *
 * A sparse index of one segment's frames, in memory: one entry about every
 * 4 KiB, built by walking headers as far as someone asked, never ahead. It only
 * makes finding fast; nothing rests on it. There is no file of it that could be
 * missing or damaged.
 *
 * A segment has two, for offsets and for timestamps, each built by the first
 * who asks: with timestamps the building walk takes a quarter longer, which
 * those who read by offset do not wait for.
 *
 * Offsets are in order, timestamps may be in any; but the largest one before
 * each entry, a running maximum, never falls, so the stride of the first record
 * at or after a time is found by halving as well. A running maximum is a bound
 * and no more: a timestamp that lies in a record's body counts although nothing
 * has proven the body here. What is told to a caller has been proven.
 */
#ifndef DURALOG_INDEX_H
#define DURALOG_INDEX_H

#include "io.h"
#include "walk.h"

enum { INDEX_STRIDE_BYTES = 4096 };

struct index_entry {
  uint64_t epoch;
  int64_t time_max; /* by time: no record before the entry has a later proven
                     * one; INT64_MIN: there is none */
  uint32_t position;
  uint32_t index; /* of the record there, or of the next one */
};

struct frame_index {
  struct mutex lock;
  struct index_entry *entries;
  uint32_t count, capacity;
  struct walk built; /* where the building walk stands; seed 0 = not begun */
  int64_t time_max;  /* as in an entry that stands there */
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

/* With an index of offsets: put `*w`, which stands at the segment's beginning,
 * at the frame of the record `offset`, right behind the record before it, so
 * that internal frames between the two are still to come. On failure `*w`
 * stands where the walk stopped. */
enum index_result index_find(struct frame_index *, io_env *,
                             const uint8_t uuid[16],
                             const struct frame_source *, struct walk *w,
                             uint64_t offset);

/* With an index of times: put `*w`, which stands at the segment's beginning, at
 * the frame of the first record below offset `end` whose proven timestamp is at
 * least `time_ms`, and tell that timestamp; or at `end` or behind it if there
 * is none. A record whose time is not proven, for its body is damaged, is
 * stepped over. Results and failures as index_find: then no record before the
 * place has such a time. */
enum index_result index_find_time(struct frame_index *, io_env *,
                                  const uint8_t uuid[16],
                                  const struct frame_source *, struct walk *w,
                                  uint64_t end, int64_t time_ms,
                                  int64_t *found_ms);

/* Raise `*max_ms` to the largest proven timestamp from `*w` to offset `end`, or
 * to where the walk failed. No index is used or made. */
enum index_result index_time_max(const uint8_t uuid[16],
                                 const struct frame_source *, struct walk *w,
                                 uint64_t end, int64_t *max_ms);
void index_free(struct frame_index *, io_env *);

#endif
