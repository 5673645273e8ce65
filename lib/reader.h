/* SPDX-License-Identifier: MIT
 *
 * A reader, as reading and finding by time share it.
 */
#ifndef DURALOG_READER_H
#define DURALOG_READER_H

#include "log.h"

struct duralog_reader {
  struct duralog *log;
  duralog_level level; /* DEFAULT: as the writer that is followed has it */
  uint64_t offset;     /* of the next record */
  uint64_t limit; /* the watermark when last looked at, or the offset at which
                   * an accepted damage ends this segment if that is lower */

  struct segment *segment; /* pinned, or NULL */
  uint64_t segment_limit;  /* NONE: it ends with a ROLL */
  struct walk walk;        /* in it; means something if `placed` */
  bool placed;             /* the walk stands at or before record `offset` */

  uint64_t given_first, given_end; /* offsets given out by the last call */

  /* Copying reads: bytes [from, from + held) of the segment, good for records
   * below `good_below`, the watermark when they were read. */
  uint8_t *buffer;
  uint64_t capacity, from, held, good_below;
  bool keep_buffer; /* records in it were given out in this very call */
  duralog_error source_error;
  int source_os_error;

  struct follow_place place;         /* of a follower's reader */
  const _Atomic uint32_t *interrupt; /* not 0: who waits comes back; or NULL */

  bool damaged;
  duralog_damage damage;
  duralog_diagnostic diagnostic;
};

static inline duralog_error reader_check(const struct duralog_reader *r) {
  return r ? log_check(r->log) : DURALOG_E_CLOSED;
}

static inline duralog_level reader_level(const struct duralog_reader *r) {
  return UNLIKELY(r->level == DURALOG_LEVEL_DEFAULT) ? follow_level(r->log)
                                                     : r->level;
}

static inline uint64_t reader_watermark(const struct duralog_reader *r) {
  if (UNLIKELY(r->log->follow != NULL)) follow_look(r->log);
  return reader_level(r) == DURALOG_LEVEL_DURABLE
             ? atomic_load_explicit(&r->log->durable, memory_order_acquire)
             : atomic_load_explicit(&r->log->end, memory_order_acquire);
}

#endif
