/* SPDX-License-Identifier: MIT
 *
 * Recovery: from views of bytes to a plan. A pure function; it reads nothing
 * but its input and decides by checksums and watermarks alone.
 *
 * The log that comes back is the longest valid prefix, in whole batches. What
 * lies behind the first invalid frame is either a torn tail, to be cut, or
 * damage to something that had been durable, to be reported. Evidence of
 * durability decides: marks and start blocks in the header pages, and headers
 * of frames behind the cut that prove themselves and say how far `durable` was
 * when they were written. If any of it claims more than the prefix holds, the
 * log is damaged (I2, I20). What the scan for such headers finds is never
 * served.
 *
 * The claims that a writer makes are true when made and stay true: durable
 * records are in every later prefix, so claims left behind a cut never exceed
 * what a later recovery finds, unless something was damaged (I6, I7).
 */
#ifndef DURALOG_RECOVERY_H
#define DURALOG_RECOVERY_H

#include "duralog.h"
#include "walk.h"

struct recovery_view {
  uint64_t number;
  const uint8_t *bytes; /* NULL: there is no such file */
  uint64_t size;
  uint64_t data_end; /* zeros from there on; `size` if not known */
};

/* Where the unsealed part begins: what the last sealed segment says. */
struct recovery_point {
  uint64_t segment; /* the last one before it */
  uint64_t offset;
  uint64_t epoch;
  uint32_t check;
  bool unknown; /* nothing is known: believe the first start block */
};

struct recovery_input {
  uint8_t uuid[16];
  struct recovery_point from;
  const struct recovery_view *views; /* ascending numbers, unsealed part */
  size_t count;
  bool writer_lives; /* the files change under us: weigh no evidence */
  struct seal *ends; /* out, one a view: what is known of its end so far; it is
                      * whole where `last_check` is not 0 */
};

enum recovery_verdict { RECOVERY_OK, RECOVERY_DAMAGED, RECOVERY_NEWER };

struct recovery_plan {
  enum recovery_verdict verdict;
  /* Where the log goes on. */
  size_t end_view;  /* index into the views */
  bool end_started; /* that segment has a start block; otherwise only .offset
                     * and .epoch of the walk below are set */
  struct walk end;
  uint32_t last_check;   /* header check of the last ROLL frame before it */
  uint64_t epoch_max;    /* the highest epoch seen anywhere */
  uint64_t record_epoch; /* of the last record kept; 0: none is known */
  uint64_t durable;      /* evidence found: everything below had been synced */
  bool clean; /* the newest mark says that nothing follows, and so it is */
  bool marked_clean;   /* the newest mark says so */
  uint8_t boot_id[16]; /* of the last writer; zeros if unknown */
  uint64_t torn_bytes; /* behind the cut */
  uint64_t bytes_walked;
  size_t segments_walked;
  size_t damage_count;
  duralog_damage damage[8];
};

void recovery_plan(const struct recovery_input *, struct recovery_plan *);

#endif
