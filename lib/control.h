/* SPDX-License-Identifier: MIT
 *
 * What a writer shows to other processes: the file `control` in the log's
 * directory, mapped by the writer and by those who follow it.
 *
 * It is no part of the durable format. It is never synced, recovery does not
 * look at it, each writer's open builds it anew, and whoever reads it believes
 * nothing of it: numbers only say how far to look, and every frame found there
 * proves itself by its checksums. So a stale or hostile file harms nobody. The
 * writer keeps its own copies of all this and only mirrors them out; the one
 * thing it reads back are the bits of those who sleep, and a false one costs it
 * a wake-up. A file that somebody shrinks while it is mapped is beyond what can
 * be promised: that is SIGBUS.
 *
 * Order. `active` is mirrored before the `end` of a record in that segment, the
 * epoch before the `end` of its first record, `durable` after the `end` that it
 * stands for; a reader loads them the other way round. While a writer builds
 * the file the state says so, and the generation is another one behind it.
 *
 * Waking. The sleeper sets its bit, makes a fence in the writer's threads,
 * looks again and sleeps; so an append pays one load of a line that nobody
 * changes.
 */
#ifndef DURALOG_CONTROL_H
#define DURALOG_CONTROL_H

#include "segment.h"

enum { CONTROL_BYTES = 4096 };

enum control_state {
  CONTROL_BUILDING, /* being made by a writer's open */
  CONTROL_LIVE,
  CONTROL_CLOSED,  /* its writer closed the log */
  CONTROL_POISONED /* a sync failed: nothing will come of this writer */
};

/* Who sleeps. */
enum control_sleepers {
  CONTROL_END_SLEEPERS = 1,
  CONTROL_DURABLE_SLEEPERS = 2
};

/* In native byte order: it never leaves the machine. Fields are added in lines
 * of their own behind the last one. */
struct control {
  uint8_t magic[8];
  uint32_t version;
  uint32_t byte_order;
  uint8_t uuid[16]; /* the log's */

  _Alignas(CACHE_LINE) _Atomic uint64_t generation; /* of this writer */
  _Atomic uint32_t state;
  _Atomic uint32_t fenced;       /* the writer heeds fence_shared */
  _Atomic uint32_t durable_each; /* its appends wait for durability */

  _Alignas(CACHE_LINE) _Atomic uint64_t end;
  _Alignas(CACHE_LINE) _Atomic uint64_t durable;
  _Alignas(CACHE_LINE) _Atomic uint64_t active; /* number of the segment */
  _Atomic uint64_t start;
  _Alignas(CACHE_LINE) _Atomic uint64_t epoch; /* of the newest record, or that
                                                * the next one will have */
  _Alignas(CACHE_LINE) _Atomic uint32_t attention;
  _Alignas(CACHE_LINE) _Atomic uint32_t end_word;
  _Alignas(CACHE_LINE) _Atomic uint32_t durable_word;
  /* Offset up to which somebody wants a sync, and a word on which the writer's
   * syncing thread sleeps. */
  _Alignas(CACHE_LINE) _Atomic uint64_t sync_request;
  _Atomic uint32_t sync_word;
};

_Static_assert(sizeof(struct control) <= CONTROL_BYTES, "fits into the file");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "locks are not shared");

/* One consistent look at it. */
struct control_view {
  uint64_t generation, end, durable, active, epoch;
  enum control_state state;
  bool durable_each;
};

/* For the writer: map the file, made anew unless one of this log is there whose
 * followers then see the new generation. 0, or an errno, where the log works
 * without; `made`: it was not there before. */
int control_make(const struct log_directory *, struct control **, bool *made);
/* For a follower. EPERM where the file is not one of this log; not `writable`:
 * it may only look. */
int control_open(const struct log_directory *, struct control **,
                 bool *writable);
void control_close(const struct log_directory *, struct control *);

/* False while a writer builds it, and where it holds nonsense. */
bool control_look(const struct control *, struct control_view *);

/* Ask the writer for a sync up to the offset; its thread, or the next tick,
 * does it. */
void control_request_sync(struct control *, io_env *, uint64_t offset);

/* Wake all who have set these bits. */
void control_wake(struct control *, io_env *, uint32_t sleepers);

#endif
