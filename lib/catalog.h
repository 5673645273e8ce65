/* SPDX-License-Identifier: MIT
 *
 * The segments of an open log by number and by offset. Files are opened when
 * someone needs them, so that opening a log does not depend on its length, and
 * a few unused ones are kept open.
 *
 * Largest timestamps are learned from the oldest segment on, as far as someone
 * asked, and their running maximum with them: it never falls, so the segment of
 * the first record at or after a time is found by halving.
 *
 * A segment stays mapped while it is pinned. The writer pins what it has not
 * sealed, readers the one they are in, holds the one they are about.
 */
#ifndef DURALOG_CATALOG_H
#define DURALOG_CATALOG_H

#include "segment.h"

struct catalog_entry {
  uint64_t number;
  struct segment *segment; /* NULL: not open */
  uint64_t base;           /* offset of its first record; NONE = not known */
  uint64_t used;           /* when last unpinned, for eviction */
  int64_t time_max;        /* of its records, at least; if it is timed */
  int64_t time_running;    /* the largest time_max up to here; if it is timed */
};

struct catalog {
  struct mutex lock;
  struct catalog_entry *entries; /* ascending numbers */
  size_t count, capacity;
  size_t timed; /* so many, from the oldest on, know their times */
  size_t unpinned;
  struct segment *orphans; /* pinned, and replaced */
  uint64_t clock;
  bool mapped; /* open segments for reading mapped */
};

enum catalog_result {
  CATALOG_OK,
  CATALOG_ABSENT,  /* there is no such segment, and none is expected */
  CATALOG_FAILED,  /* see the failure: an I/O error, or no memory */
  CATALOG_DAMAGED, /* see the failure: missing, or not what it should be */
  CATALOG_NEWER
};

/* Add a number, ascending; with its open segment (pinned once) or NULL. */
bool catalog_add(struct catalog *, io_env *, uint64_t number, struct segment *);
/* Take back the last number added, whose segment is not open. */
void catalog_drop_last(struct catalog *, io_env *);

/* Pin segment `number`, opening it if need be. */
enum catalog_result catalog_pin(struct catalog *, const struct log_directory *,
                                uint64_t number, struct segment **,
                                struct segment_failure *);
/* Pin the last started segment that begins at or before the offset. */
enum catalog_result catalog_find(struct catalog *, const struct log_directory *,
                                 uint64_t offset, struct segment **,
                                 struct segment_failure *);
/* Pin the first started readable segment numbered above `number`. ABSENT: there
 * is none; FAILED: that cannot be told now. */
enum catalog_result catalog_next(struct catalog *, const struct log_directory *,
                                 uint64_t number, struct segment **,
                                 struct segment_failure *);

enum catalog_time_result {
  CATALOG_TIME_HERE,    /* segment `*number` may hold such a record */
  CATALOG_TIME_UNKNOWN, /* none that is timed does; `*number` is the next one */
  CATALOG_TIME_NONE     /* none does, and all are timed */
};

/* The first timed segment numbered above `above` whose largest timestamp is at
 * least `time_ms`. Opens nothing. */
enum catalog_time_result catalog_find_time(struct catalog *, io_env *,
                                           uint64_t above, int64_t time_ms,
                                           uint64_t *number);
/* Learn the largest timestamp of that next one: a bound will do, INT64_MIN is
 * for one without readable records. It must not grow any more. */
void catalog_learn_time(struct catalog *, io_env *, uint64_t number,
                        int64_t time_max);

void catalog_pin_again(struct segment *);
void catalog_unpin(struct catalog *, const struct log_directory *,
                   struct segment *);

/* The highest number; 0 if there is none. */
uint64_t catalog_last(struct catalog *, io_env *);
/* Begin again with these ascending numbers, none of them open: the files may
 * be others by now. What is pinned stays so, for those who pinned it. False:
 * no memory, and nothing changed. */
bool catalog_replace(struct catalog *, const struct log_directory *,
                     const uint64_t *numbers, size_t count);

/* The number at index `i`; false if there are not that many. */
bool catalog_number(struct catalog *, io_env *, size_t i, uint64_t *number);
void catalog_close(struct catalog *, const struct log_directory *);

#endif
