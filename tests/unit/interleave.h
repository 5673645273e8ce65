/* SPDX-License-Identifier: MIT
 *
 * What the tests of interleavings share: a log on the simulated disk whose
 * threads are simulated too, a book of what was appended and promised, and the
 * checks that hold at each switch point and after each schedule.
 */
#ifndef INTERLEAVE_H
#define INTERLEAVE_H

#include "io_sim.h"
#include "io_threads.h"
#include "log.h"
#include "support.h"

#define DIRECTORY "/log"

enum {
  BOOK_MAX = 32,
  TEXT_MAX = 32,
  TEXT_FRAME_BYTES = FRAME_HEADER_BYTES + TEXT_MAX,
  FILL_BYTES = 3800 /* large records that fill a segment */
};

struct world {
  struct threads *threads;
  struct sim *sim;
  io_env *io;
  duralog *log;
  duralog_options options;
  duralog_durability durability;
  bool own_threads; /* not driven by the host */
  duralog_sync_wanted *sync_wanted;
  bool padded;
  uint64_t n; /* N, or 0 */
  uint64_t interval_ns;
  size_t record_bytes; /* of what the threads append */
  uint64_t cut_after;  /* end the run when so many appends have returned */
  uint64_t returns;
  void (*recovered)(struct world *, duralog *);
  bool preempted; /* or may be: time may pass between any two instructions */

  /* Who published which offset, as seen at the steps. */
  int publisher[BOOK_MAX];
  uint64_t published; /* offsets */
  uint64_t before;    /* appended before the threads began */
  /* What appends returned. */
  char text[BOOK_MAX][TEXT_MAX];
  bool returned[BOOK_MAX];
  uint64_t returned_at[BOOK_MAX];
  uint64_t promised;           /* everything below has been called durable */
  bool captured[BOOK_MAX + 1]; /* by a sync that ended there */

  uint64_t end, durable; /* last seen */
  bool poisoned;
  uint64_t frozen; /* `durable` when the poison was first seen */
  int running;     /* threads of the scenario that have not ended */
  duralog_error result[8];

  /* Who waits for which watermark, and the number of the sync in which it was
   * reached while the thread slept on. */
  uint64_t needs[8];
  uint32_t reached_in[8];

  /* What the thread behind the gate holds. */
  int gate_thread; /* -1: there is none */
  bool gate_held;
};

/* In a simulated thread: it ends the run, and the run has failed. */
#define HOLDS(w, condition)                                                \
  ((condition) ? (void)0                                                   \
               : threads_fail((w)->threads, "%s:%d: not so: %s", __FILE__, \
                              __LINE__, #condition))

/* ---- at each switch point ---- */

/* The thread holds what others need, or owes them a wake-up. */
static inline bool others_need_it(const struct duralog *log, const char *step) {
  return atomic_load(&log->lead.busy) || atomic_load(&log->prepare.word) ||
         (step && (strcmp(step, "wake") == 0 || strcmp(step, "woken") == 0));
}

/* Who sleeps for a sync is woken by the end of the one after it (I31). Only
 * where nobody is preempted between the end of a sync and its wake-ups. */
static inline void watch_sleepers(struct world *w, uint64_t durable) {
  uint32_t number = atomic_load(&w->log->lead.number);
  for (int i = 0; i < 8; i++) {
    if (!w->needs[i] || durable < w->needs[i] || !threads_asleep(w->threads, i))
      continue;
    if (!w->reached_in[i]) w->reached_in[i] = number;
    HOLDS(w, number - w->reached_in[i] < 2);
  }
}

/* The current thread has published something, and waits for it from now on. */
static inline void watch_published(struct world *w, uint64_t end) {
  int self = threads_current(w->threads);
  while (w->published < end && w->published < BOOK_MAX)
    w->publisher[w->published++] = self;
  /* Its epoch is durable before a record can be seen (I8). */
  HOLDS(w, atomic_load(&w->log->epoch) == w->log->tail.epoch);
  w->needs[self] = w->log->durable_each ? end : 0;
  w->reached_in[self] = 0;
}

static inline void world_watch(void *context, const char *step) {
  struct world *w = context;
  const struct duralog *log = w->log;
  if (!log) return;
  uint64_t durable = atomic_load(&log->durable);
  uint64_t end = atomic_load(&log->end);
  if (threads_current(w->threads) == w->gate_thread &&
      !threads_gate_reached(w->threads))
    w->gate_held = others_need_it(log, step);
  HOLDS(w, durable <= end);
  HOLDS(w, end >= w->end && durable >= w->durable);
  if (step && strcmp(step, "append/published") == 0) watch_published(w, end);
  if (step && strcmp(step, "sync/captured") == 0)
    w->captured[min_u64(atomic_load(&log->lead.covers), BOOK_MAX)] = true;
  if (!w->preempted) watch_sleepers(w, durable);
  w->end = end;
  w->durable = durable;
  if (!atomic_load(&log->poisoned)) return;
  if (!w->poisoned) w->frozen = durable;
  w->poisoned = true;
  HOLDS(w, durable == w->frozen);
}

/* ---- what threads do ---- */

static inline uint64_t world_end(const struct world *w) {
  return atomic_load(&w->log->end);
}

static inline uint64_t world_durable(const struct world *w) {
  return atomic_load(&w->log->durable);
}

static inline void promise(struct world *w, uint64_t below) {
  HOLDS(w, world_durable(w) >= below);
  w->promised = max_u64(w->promised, below);
}

/* An append returned this offset. */
static inline void book(struct world *w, uint64_t offset, const char *text,
                        duralog_level level) {
  HOLDS(w, offset < BOOK_MAX && !w->returned[offset]);
  HOLDS(w, world_end(w) > offset); /* and so all before it (I11) */
  HOLDS(w, offset < w->published &&
               w->publisher[offset] == threads_current(w->threads));
  w->returned[offset] = true;
  w->needs[threads_current(w->threads)] = 0;
  w->returned_at[offset] = w->io->now(w->io);
  memcpy(w->text[offset], text, TEXT_MAX);
  if (level == DURALOG_LEVEL_DURABLE ||
      (level == DURALOG_LEVEL_DEFAULT && w->log->durable_each))
    promise(w, offset + 1);
  if (level == DURALOG_LEVEL_DEFAULT && w->n)
    HOLDS(w, offset + 1 - world_durable(w) <= w->n - 1 ||
                 world_durable(w) > offset);
  if (++w->returns == w->cut_after) threads_leave(w->threads);
}

static inline duralog_error append_as(struct world *w, int number,
                                      duralog_level level) {
  char text[FILL_BYTES] = "";
  int who = threads_current(w->threads);
  snprintf(text, TEXT_MAX, "thread %d record %d", who, number);
  duralog_entry entry = {.data = text, .size = w->record_bytes};
  uint64_t offset = NONE;
  duralog_error error =
      level == DURALOG_LEVEL_DEFAULT
          ? duralog_append(w->log, text, w->record_bytes, &offset)
          : duralog_append_batch(w->log, &entry, 1, level, &offset);
  if (!error) book(w, offset, text, level);
  return error;
}

static inline void append_ok(struct world *w, int number, duralog_level level) {
  duralog_error error = append_as(w, number, level);
  HOLDS(w, error == DURALOG_OK);
}

static inline void sync_ok(struct world *w) {
  uint64_t end = world_end(w);
  duralog_error error = duralog_sync(w->log);
  HOLDS(w, error == DURALOG_OK);
  promise(w, end);
}

/* ---- before and after ---- */

static inline bool world_open(struct world *w) {
  w->options = (duralog_options){.struct_size = sizeof w->options,
                                 .segment_bytes = SEGMENT_BYTES_MIN,
                                 .durability = w->durability,
                                 .sync_wanted = w->sync_wanted,
                                 .host_driven = !w->own_threads,
                                 .pad_syncs = w->padded,
                                 .environment = w->io};
  duralog_error error =
      duralog_open(DIRECTORY, &w->options, &w->log, NULL, NULL);
  if (error) threads_fail(w->threads, "open: %s", duralog_error_name(error));
  return !error;
}

/* Records from before the threads, all of them durable. */
static inline void world_append_before(struct world *w, size_t size) {
  static char large[FILL_BYTES];
  uint64_t offset = NONE;
  duralog_error error = duralog_append(w->log, large, size, &offset);
  if (!error) error = duralog_sync(w->log);
  if (error || offset != w->before)
    threads_fail(w->threads, "before: %s", duralog_error_name(error));
  w->before++;
  w->published = w->promised = w->end = w->durable = w->before;
}

/* Leave less in the segment than an append needs. */
static inline void world_fill(struct world *w) {
  while (w->log->tail.position + frame_bytes(FILL_BYTES) <= w->log->tail.limit)
    world_append_before(w, FILL_BYTES);
  uint64_t left = w->log->tail.limit - w->log->tail.position;
  if (left > FRAME_HEADER_BYTES + 64)
    world_append_before(w, left - FRAME_HEADER_BYTES - 64);
}

/* With padding, what follows a sync lies in another block than what it synced
 * (README, assumption 2). Mappings begin with a block. */
static inline void check_padding(struct world *w, const duralog_record *r,
                                 uintptr_t *last_block) {
  enum { BLOCK = 4096 };
  uintptr_t data = (uintptr_t)r->data;
  HOLDS(w, !w->padded || r->offset == 0 || !w->captured[r->offset] ||
               (data - FRAME_HEADER_BYTES) / BLOCK != *last_block);
  *last_block = (data + align_up(r->size, FRAME_ALIGNMENT) - 1) / BLOCK;
}

/* The log holds what the book says: in the order of publication, whole. */
static inline uint64_t check_records(struct world *w, duralog *log) {
  duralog_reader *reader = NULL;
  duralog_record r;
  duralog_error error =
      duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader);
  HOLDS(w, error == DURALOG_OK);
  uint64_t n = 0;
  uintptr_t last_block = 0;
  while ((error = duralog_read_next(reader, &r)) == DURALOG_OK) {
    HOLDS(w, r.offset == n && n < w->published);
    check_padding(w, &r, &last_block);
    if (n >= w->before) {
      int who = -1;
      HOLDS(w, r.size == w->record_bytes);
      HOLDS(w, sscanf(r.data, "thread %d record", &who) == 1);
      HOLDS(w, who == w->publisher[n]);
      HOLDS(w, !w->returned[n] || memcmp(r.data, w->text[n], TEXT_MAX) == 0);
    }
    n++;
  }
  HOLDS(w, error == DURALOG_E_AT_END);
  (void)duralog_reader_close(&reader);
  return n;
}

/* After all threads: nothing is missing. */
static inline void check_log(struct world *w) {
  uint64_t n = check_records(w, w->log);
  HOLDS(w, n == w->published && n == world_end(w));
  HOLDS(w, world_durable(w) >= w->promised);
  HOLDS(w, !w->own_threads ? atomic_load(&w->log->lead.busy) == 0 : true);
}

/* The power fails; only what was synced is left. Gives how many records. */
static inline uint64_t check_after_cut(struct world *w) {
  duralog_options o = w->options;
  duralog *log = NULL;
  w->log = NULL;
  sim_restart(w->sim, 0);
  o.environment = sim_environment(w->sim);
  o.host_driven = true;
  duralog_error error = duralog_open(DIRECTORY, &o, &log, NULL, NULL);
  HOLDS(w, error == DURALOG_OK);
  if (error) return 0;
  uint64_t n = check_records(w, log);
  HOLDS(w, n >= w->promised);
  if (w->recovered) w->recovered(w, log);
  (void)duralog_close(&log);
  return n;
}

#endif
