/* SPDX-License-Identifier: MIT
 *
 * A consumer, as polling and committing share it.
 */
#ifndef DURALOG_CONSUMER_H
#define DURALOG_CONSUMER_H

#include "group.h"
#include "reader.h"

enum { PENDING_MAX = 16, POLL_DEFAULT = 500, POLL_MAX = 4096 };

/* A commit that was begun and waits for the log's sync. */
struct pending_commit {
  uint64_t offset, epoch;
  duralog_level level;
  duralog_committed *done;
  void *context;
  bool has_metadata;
  char metadata[DURALOG_METADATA_MAX + 1];
};

struct duralog_consumer {
  struct duralog *log;
  duralog_reader *reader;
  struct group_file group;
  duralog_level commit_level; /* DEFAULT: by the mode; see level_of */
  bool auto_commit, go_back, paused;
  uint64_t auto_ns, auto_at; /* when auto commit is due */

  /* What the last poll gave. */
  duralog_record *records;
  size_t count, capacity;

  /* The epoch of the record before `epoch_at`; NONE: of no offset. */
  uint64_t epoch, epoch_at;
  uint64_t
      floor; /* no commit below it: the last one, unless a seek went back */

  bool diverged;
  uint64_t diverged_from, divergence, divergences;

  _Atomic uint32_t woken, sleeping_word;

  /* A ring, in order. */
  struct pending_commit pending[PENDING_MAX];
  size_t pending_first, pending_count;
};

static inline duralog_error consumer_check(const struct duralog_consumer *c) {
  return c ? log_check(c->log) : DURALOG_E_CLOSED;
}

/* ---- consumer_commit.c ---- */

/* Commit, with everything pending done before. */
duralog_error consumer_commit(struct duralog_consumer *, uint64_t offset,
                              duralog_level, const char *metadata);
/* Finish what is pending: all of it, or only what need not wait. */
void consumer_finish_pending(struct duralog_consumer *, bool all);
/* They come to nothing. */
void consumer_drop_pending(struct duralog_consumer *, duralog_error);
/* Commit the position if that is something new. */
duralog_error consumer_commit_polled(struct duralog_consumer *);

#endif
