/* SPDX-License-Identifier: MIT
 *
 * One segment file: created, opened, mapped, and its header page written.
 *
 * A segment gets its name only when its size and identity are durable:
 * temporary name, allocate, write the identity, sync, rename, sync the
 * directory. So a segment file with a bad header is damage, never an
 * unfinished one.
 */
#ifndef DURALOG_SEGMENT_H
#define DURALOG_SEGMENT_H

#include "format.h"
#include "index.h"
#include "io.h"

struct log_directory {
  io_env *io;
  int handle;
  uint8_t uuid[16];
  uint32_t file_mode;
};

struct segment {
  uint64_t number;
  uint64_t bytes;
  int file;
  uint8_t *map; /* NULL: read by copying only */
  bool writable;

  _Atomic bool started; /* set once, when `start` is complete */
  struct start start;

  /* Set when the segment is finished, before `active` moves on. */
  struct seal end;
  uint64_t end_bytes; /* the log's byte count there */

  /* Set by who leads syncs. */
  bool data_synced;
  _Atomic bool sealed;

  struct segment *next_orphan; /* see catalog_replace */
  uint64_t populated;          /* position up to which pages were faulted in */
  _Atomic uint32_t
      pins; /* readers and holds; under the catalog's lock from 0 */
  struct frame_index index; /* of offsets */
  struct frame_index times; /* of timestamps */
};

/* What went wrong, for a diagnostic. */
struct segment_failure {
  int os_error;     /* positive errno, or 0: the contents are wrong */
  bool sync_failed; /* or a store: nothing can be promised any more */
  bool newer;
  uint64_t position;
  const char *text;
};

/* Make segment `number`, durably, and map it for writing. */
bool segment_create(const struct log_directory *, uint64_t number,
                    uint64_t bytes, int64_t now_ms, struct segment **,
                    struct segment_failure *);

/* Open an existing one and read its header page. */
bool segment_open(const struct log_directory *, uint64_t number, bool writable,
                  bool mapped, struct segment **, struct segment_failure *);

/* One that had not been in use when it was opened may be so by now: another
 * process writes it. */
void segment_look_again(const struct log_directory *, struct segment *);

void segment_close(const struct log_directory *, struct segment *);

/*
 * Run the body, which touches the segment's mapping. False, only where the host
 * asked for the guard: it could not be touched, and what the body wrote is to
 * be thrown away; the failure says what a read of that place says. The body
 * touches nothing else that matters, takes no lock and allocates nothing.
 */
bool segment_access_guarded(const struct segment *, io_env *,
                            void (*body)(void *), void *context,
                            struct segment_failure *);
static inline bool segment_access(const struct segment *s, io_env *io,
                                  void (*body)(void *), void *context,
                                  struct segment_failure *why) {
  if (io_guarded()) return segment_access_guarded(s, io, body, context, why);
  body(context);
  return true;
}

/* The same for storing. A store that is lost is as bad as a sync that failed:
 * the failure says so, and poisons. */
bool segment_store(const struct segment *, io_env *, void (*body)(void *),
                   void *context, struct segment_failure *);

/* Copy bytes out of the mapping. */
bool segment_copy(const struct segment *, io_env *, uint64_t position, void *to,
                  size_t size, struct segment_failure *);

bool segment_start(struct segment *, const struct log_directory *,
                   const struct start *, struct segment_failure *);
bool segment_mark(struct segment *, const struct log_directory *,
                  const struct mark *, struct segment_failure *);
bool segment_seal(struct segment *, const struct log_directory *,
                  struct segment_failure *);

#endif
