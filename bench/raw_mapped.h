/* SPDX-License-Identifier: MIT
 *
 * RAW's memory: one mapped file of any size, all prepared.
 */
#ifndef BENCH_RAW_MAPPED_H
#define BENCH_RAW_MAPPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raw_frame.h"

typedef enum raw_preparation {
  RAW_POPULATED, /* blocks allocated, each page touched for writing: for what
                  * nothing syncs */
  RAW_WRITTEN    /* zeros written and synced, mapped and read: a sync changes
                  * no metadata, and nothing is dirty that was not stored to */
} raw_preparation;

typedef struct raw_mapped {
  unsigned char *map;
  size_t bytes;
  size_t at; /* where the next frame goes */
  uint32_t index;
  int fd;
} raw_mapped;

/* Make the file `name` in `dir`; says on stderr why not. */
bool raw_mapped_make(raw_mapped *it, const char *dir, const char *name,
                     size_t bytes, raw_preparation how);
void raw_mapped_end(raw_mapped *it);

/* Goes on at the beginning when the end is reached. */
static inline void raw_mapped_append(raw_mapped *it, const void *data,
                                     size_t size) {
  size_t step = frame_bytes(size);
  if (it->at + step > it->bytes) it->at = 0;
  raw_put_frame(it->map + it->at, it->at, it->index++, data, size);
  it->at += step;
}

#endif
