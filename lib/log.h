/* SPDX-License-Identifier: MIT
 *
 * The open log, as its parts share it.
 *
 * Who writes what:
 *   under the append lock      struct tail; `end`, `end_bytes`, `active`
 *   who leads syncs            `durable`, marks, seals, struct sync_lead
 *   the preparation lock       `next`, beginning an epoch
 *   the catalog's lock         the table of segments
 *   freeze                     `poisoned`; `durable` besides the lead
 *   nobody                     struct log_counts
 *   the diagnostic's lock      the diagnostic
 *   the watches' lock          the list of watches, and what is armed
 * Locks are taken in the order preparation, sync lead, append, catalog,
 * freeze, diagnostic or watches. Nothing slow is done under the append lock,
 * but that a host may keep it with a reservation: so nobody waits for it with
 * another lock in hand once appending has begun (reserve.c).
 */
#ifndef DURALOG_LOG_H
#define DURALOG_LOG_H

#include "catalog.h"
#include "control.h"
#include "format.h"
#include "io_count.h"
#include "policy.h"
#include "recovery.h"

/* Why appends may not go on as they are. */
enum block_bit {
  BLOCK_BEGIN = 1,  /* the first append raises the epoch first */
  BLOCK_POISON = 2, /* a sync failed */
  BLOCK_READ_ONLY = 4
};

/* Who wants to be told of appends. */
enum attention_bit {
  ATTENTION_READERS = 1, /* someone sleeps until `end` moves */
  ATTENTION_SYNCER = 2   /* the syncing thread sleeps, perhaps for good, or
                          * the host does until a tick is due */
};

/* The library's own threads. */
enum worker_kind { WORKER_SYNCER, WORKER_PREPARER, WORKERS };

/* What watches may be signalled of, as bits. */
enum watch_bit {
  WATCHED_END = 1 << DURALOG_WATCH_END,
  WATCHED_DURABLE = 1 << DURALOG_WATCH_DURABLE,
  WATCHED_TICK = 1 << DURALOG_WATCH_TICK,
  WATCHED_ALL = WATCHED_END | WATCHED_DURABLE | WATCHED_TICK
};

struct worker {
  struct duralog *log;
  void *thread; /* NULL: not running */
  _Atomic uint32_t word;
  uint32_t keeps_off; /* a processor, from 1 */
  struct io_processors processors;
};

/* A segment, as far as it can be told from its neighbours, and a position in
 * it, in one word that is stored at once. */
static inline uint64_t tail_place(uint64_t number, uint64_t position) {
  _Static_assert(SEGMENT_BYTES_MAX <= UINT32_MAX, "a position has 32 bits");
  return number << 32 | position;
}

enum { PAD_BLOCK_BYTES = 4096 };

/* Where the next frame goes. */
struct tail {
  struct segment *segment;
  uint8_t *map;
  uint64_t position;
  uint64_t limit; /* frames end at or before it: room is kept for a ROLL */
  uint64_t offset;
  uint64_t base;
  int64_t base_time;
  uint64_t seed;
  uint64_t place;      /* tail_place of the segment's beginning */
  uint64_t bytes;      /* of the log, cumulative */
  uint64_t tick;       /* coarse clock when `time_ms` was read */
  int64_t time_ms;     /* for records without a timestamp; never goes back */
  int64_t time_max_ms; /* of this segment's records */
  uint64_t kick_at;    /* position at which the background is wanted */
  uint64_t epoch;
  uint32_t last_check; /* of the last ROLL frame */

  /* Statistics. */
  uint64_t batches, payload_bytes;
  uint64_t contended, naps, rolls;
};

/* Statistics besides those of the tail and of io_count.h: of what is seldom or
 * slow. */
struct log_counts {
  struct counter waits, wait_ns;
  struct counter segments_prepared, segments_sealed;
  struct counter late_preparations, failed_preparations;
  struct counter errors[DURALOG_STATS_ERRORS];
};

/* Group commit: one leads, the others sleep on the word of their sync. */
struct sync_lead {
  _Atomic uint32_t busy;
  _Atomic uint32_t number; /* of the sync in flight, or of the last one */
  _Atomic uint64_t covers; /* offset that the one in flight will make durable */
  _Atomic uint32_t word[2]; /* by the parity of the sync's number */
  _Atomic uint32_t sleepers[2];
  _Atomic uint32_t served; /* threads that the last sync woke */
  uint64_t first_unsynced; /* segment number */
  uint64_t part_segment;   /* in this one bytes [0, part_end) were synced, */
  uint64_t part_end;
  bool mark_stored; /* but for the mark that was stored since */
  uint64_t mark_sequence;
  uint64_t mark_bytes, mark_ns; /* when the last mark was made */
};

/* What may be asked about the tail, all as of one moment. */
struct tail_view {
  uint64_t segment, position; /* segment number */
  uint64_t end, bytes;
  uint64_t time_max_ms; /* the segment's, as an unsigned number */
  uint64_t batches, payload_bytes;
  uint64_t contended, naps, rolls;
};
enum { TAIL_VIEW_WORDS = sizeof(struct tail_view) / sizeof(uint64_t) };

/* A reservation holds the append lock (reserve.c). */
struct reservation {
  _Atomic uint64_t thread;   /* whose it is; 0: there is none */
  _Atomic uint32_t word;     /* changes when one ends, and with poison */
  _Atomic uint32_t sleepers; /* who slept and had no turn yet */
  _Atomic bool prepare_owed; /* a tick could not look at the tail */
  uint64_t size_max;         /* the thread's own */
  _Atomic uint64_t view[TAIL_VIEW_WORDS]; /* of the tail while there is one */
};

struct duralog {
  io_env *io;
  const _Atomic uint32_t *owner;
  uint32_t owner_value;

  /* What never changes while open. */
  struct log_directory directory;
  struct policy policy;
  duralog_level read_level;
  bool writers_level; /* of a follower: the writer's mode says it, once met */
  uint64_t segment_bytes, record_bytes_max;
  bool read_only, strict, small_device, copying_reads, pad_syncs, host_driven;
  bool policy_idle, durable_each;
  bool syncs_parts;  /* of the active segment: what was appended since */
  bool writes_ahead; /* blocks, before records come to them (background.c) */
  duralog_sync_wanted *host_policy; /* NULL where it would never be asked */
  void *host_policy_context;
  uint8_t boot_id[16];
  uint64_t start;
  /* Older segments than this may end in damage, without a ROLL, and hold
   * nothing at or above that offset. A follower's may change. */
  _Atomic uint64_t accepted_segment, accepted_offset;
  uint64_t epoch_next; /* that the first append raises to */
  uint64_t end_opened; /* `end` when opened */

  /* The append path. */
  _Alignas(CACHE_LINE) _Atomic uint32_t append_lock;
  _Atomic bool fence_appends; /* no membarrier here: appenders fence too */
  struct tail tail;
  _Alignas(CACHE_LINE) _Atomic uint32_t append_block;
  _Atomic uint32_t attention;
  _Atomic uint32_t nap;
  struct control *control; /* what other processes see: never NULL */
  struct follow *follow;   /* of a follower: whom it follows */
  struct reservation reservation;

  /* The watermarks. */
  _Alignas(CACHE_LINE) _Atomic uint64_t end;
  _Atomic uint64_t end_bytes;
  _Atomic uint64_t end_place;      /* where `end` lies: see tail_place */
  _Atomic uint64_t active;         /* number of the tail's segment */
  _Atomic uint64_t unsynced_since; /* set when all was durable before it */
  _Alignas(CACHE_LINE) _Atomic uint64_t durable;
  _Atomic uint64_t durable_bytes;
  _Atomic uint64_t synced_at;   /* when the last sync's capture was made */
  _Atomic uint64_t sync_ns;     /* what it took */
  _Atomic uint64_t epoch;       /* of the newest record */
  _Atomic uint64_t frame_epoch; /* that the tail's frames are seeded with */

  /* Sleepers for `end` and `durable`. */
  _Atomic uint32_t end_word, durable_word, durable_sleepers;

  _Atomic uint32_t watching;     /* enum watch_bit: there is such a watch */
  struct mutex watch_lock;       /* the list, and whether each is armed */
  struct duralog_watch *watches; /* not a follower's */

  _Alignas(CACHE_LINE) struct sync_lead lead;

  /* Accepted by recovery, not known durable: write again before the next
   * promise. */
  _Atomic bool settle_pending;
  uint64_t settle_from;          /* offset */
  uint64_t settle_segment_first; /* segments [first, last] */
  uint64_t settle_segment_last;
  uint64_t settle_end_position; /* in the last one */

  _Atomic bool sync_wanted;       /* by a waiter with a time limit, by an append
                                   * that does not wait, by the host's policy */
  _Atomic bool prepare_wanted;    /* by an append: the tail came to `kick_at` */
  _Atomic uint64_t host_asked_at; /* by the clock, and not by an append */

  _Atomic bool ahead_wanted;    /* by a sync: blocks written ahead get few */
  _Atomic uint64_t ahead_place; /* up to where they are, as tail_place */
  _Atomic uint64_t ahead_window;

  struct mutex prepare;
  _Atomic(struct segment *) next; /* prepared, in the catalog */
  struct control own_control;     /* where there is no file for it */
  bool clean_mark;            /* stands on the disk, and has to be taken away */
  bool found_clean;           /* and nothing was stored since */
  _Atomic uint64_t seal_next; /* number of the first segment not sealed */
  _Atomic uint64_t rolled_at; /* coarse clock */

  struct catalog catalog;
  int lock_file;

  struct worker workers[WORKERS];
  _Atomic bool stop_workers;
  _Atomic uint32_t appends_on; /* the processor of the last that kicked one */

  _Atomic uint32_t readers; /* open readers, holds and watches */

  _Atomic bool poisoned;
  struct mutex freeze; /* to set `poisoned`, and to move `durable` if it is not:
                        * what is frozen stays */
  struct mutex diagnostic_lock;
  duralog_diagnostic diagnostic;

  _Alignas(CACHE_LINE) struct log_counts counts;
  _Alignas(CACHE_LINE) struct io_count io_count; /* `io` is in it */
};

/* What a call runs into before it begins; OK if nothing. */
static inline duralog_error log_check(const struct duralog *log) {
  if (UNLIKELY(!log)) return DURALOG_E_CLOSED;
  if (UNLIKELY(atomic_load_explicit(log->owner, memory_order_relaxed) !=
               log->owner_value))
    return DURALOG_E_FORKED;
  return DURALOG_OK;
}

/* ---- log.c: failures and wake-ups ---- */

duralog_error error_from_os(int os_error); /* positive errno */
/* The same for a log that is open, where "no log there" and its like would tell
 * the host nothing: FULL, RESOURCES or IO. */
duralog_error error_while_open(int os_error);

/* Count a failure by its name. */
void log_count(const struct duralog *, duralog_error);

/* Count a wait for durability that began then. */
void log_count_wait(struct duralog *, uint64_t began_ns);

/* What a call returns that had a log to begin with. The end of the log is no
 * failure, and readers come to it often. */
static inline duralog_error log_answer(const struct duralog *log,
                                       duralog_error error) {
  if (UNLIKELY(error != DURALOG_OK && error != DURALOG_E_AT_END))
    log_count(log, error);
  return error;
}

void diagnostic_fill(duralog_diagnostic *, duralog_error, int os_error,
                     uint64_t position, const char *path, const char *text);

/* Note a failure on the log; returns the error. `name` may be NULL. */
duralog_error log_fail(struct duralog *, duralog_error, int os_error,
                       uint64_t position, const char *name, const char *text);
duralog_error log_fail_segment(struct duralog *, uint64_t number,
                               const struct segment_failure *);
/* Fail-stop (I14): nothing is promised any more, everyone is woken. */
duralog_error log_poison(struct duralog *, int os_error, const char *name,
                         const char *text);
void log_wake_readers(struct duralog *);
void log_wake_durable(struct duralog *);
void log_kick(struct duralog *, enum worker_kind);
uint64_t log_deadline(io_env *, int64_t timeout_ms);
/* Before a sleeper's second look: a fence in all threads, or else a deadline
 * that is near, since an append may not see that someone sleeps. */
uint64_t log_fence_appenders(struct duralog *, uint64_t deadline);

/* The offset at which an accepted damage ends the segment, what stands behind
 * it being no part of the log; NONE: it ends with a ROLL, or with the log.
 * False if that cannot be told now: a later segment cannot be opened. */
bool log_segment_limit(struct duralog *, const struct segment *,
                       uint64_t *limit, struct segment_failure *);

/* ---- find_time.c ---- */

/* The timestamps of a pinned segment's records below `end`: the first that is
 * proven, and the largest; `*known` is false where there is none. */
duralog_error log_segment_times(struct duralog *, struct segment *,
                                uint64_t end, int64_t *first_ms,
                                int64_t *max_ms, bool *known);

/* ---- append.c ---- */

/* BUSY: this thread has a reservation. POISONED: another has, and need not be
 * waited for. Both only where there can be one: see reserve.c. */
duralog_error append_lock(struct duralog *);
/* False: a reservation is out; nothing is locked. */
bool append_lock_unless_reserved(struct duralog *);
void append_unlock(struct duralog *);

struct appended {
  uint64_t first, end, end_bytes;
};

/* Take the append lock with room for a record at the tail, or where tail_pad
 * puts it. TIMEOUT, and what append_lock gives. */
duralog_error append_room(struct duralog *, uint64_t size, uint64_t deadline);
/* Frame the record whose data lies behind a header's place at the tail, publish
 * it, give up the lock. */
duralog_error append_in_place(struct duralog *, uint64_t size,
                              struct appended *);
/* Wait as the mode or the level asks. */
duralog_error append_wait(struct duralog *, duralog_level,
                          const struct appended *);

/* ---- tail.c: with the append lock ---- */

/* Place the tail in a started segment; write a ROLL and go on in `next`, in
 * that epoch; write an EPOCH frame. */
void tail_enter(struct duralog *, struct segment *, const struct walk *);
void tail_start(struct duralog *, struct segment *, uint64_t epoch);
void tail_roll(struct duralog *, struct segment *next, uint64_t epoch);
void tail_epoch(struct duralog *, uint64_t epoch);
void tail_pad(struct duralog *);
void tail_read_clock(struct duralog *, uint64_t tick);

static inline bool tail_fits(const struct duralog *log, uint64_t bytes) {
  return log->tail.position + bytes <= log->tail.limit;
}
/* The same behind a PAD; and behind an EPOCH frame, with a PAD if there will be
 * one. */
bool tail_padded_fits(const struct duralog *, uint64_t bytes);
bool tail_epoch_fits(const struct duralog *, uint64_t bytes);

/* How far `durable` is behind, as a frame says it. */
static inline uint16_t tail_lag(uint64_t offset, uint64_t durable) {
  uint64_t lag = offset - durable;
  return lag < FRAME_LAG_UNKNOWN ? (uint16_t)lag : FRAME_LAG_UNKNOWN;
}

/* ---- reserve.c ---- */

bool reserve_is_out(const struct duralog *);
bool reserve_is_own(const struct duralog *);
/* Sleep until the one that is out may have ended. POISONED: why wait. */
duralog_error reserve_sleep(struct duralog *, uint64_t deadline);
void reserve_poisoned(struct duralog *); /* wake all who sleep */
/* Whether one is out, and whether it is so still: `word` names it. */
bool reserve_look(const struct duralog *, uint32_t *word);
bool reserve_stands(const struct duralog *, uint32_t word);
/* The tail as it is now; waits for appends, not for a reservation. */
void tail_look(struct duralog *, struct tail_view *);

/* ---- sync.c ---- */

/* The one who may sync; the others sleep. */
uint32_t sync_lead_take(struct duralog *);
void sync_lead_give(struct duralog *, uint32_t number);

/* Sync everything visible; the lead is held. */
duralog_error sync_run(struct duralog *, enum io_sync_reason);
/* One file, or a part of it; what fails poisons the log. `durable` stays. */
duralog_error sync_segment(struct duralog *, const struct segment *,
                           const struct io_part *, enum io_sync_reason);
/* Sync finished segments up to and including this one; the lead is held. */
duralog_error sync_finished(struct duralog *, uint64_t number);
duralog_error sync_mark(struct duralog *, bool clean, enum io_sync_reason);

/* Return when the durable watermarks have reached both values, leading a sync
 * if nobody does. */
duralog_error sync_until(struct duralog *, uint64_t offset, uint64_t bytes);
/* The same for a caller of the host's, which is counted as waiting. */
duralog_error sync_await(struct duralog *, uint64_t offset, uint64_t bytes);
void policy_state_of(const struct duralog *, struct policy_state *);

/* ---- wait.c ---- */

/* Sleep until `end` or `durable` is above the offset; WOKEN where the word, if
 * there is one, is not 0. */
duralog_error wait_visible(struct duralog *, uint64_t offset, uint64_t deadline,
                           const _Atomic uint32_t *interrupt);
duralog_error wait_durable(struct duralog *, uint64_t offset, uint64_t deadline,
                           const _Atomic uint32_t *interrupt);
/* Wake all who sleep so, in this process: those whose word is not 0 come back
 * with WOKEN. */
void wait_interrupt(struct duralog *);

/* ---- watch.c ---- */

void watch_signal(struct duralog *, uint32_t kinds);
/* Make the descriptors of these kinds readable that were armed. */
static inline void log_signal(struct duralog *log, uint32_t kinds) {
  if (UNLIKELY(atomic_load(&log->watching) & kinds)) watch_signal(log, kinds);
}

/* ---- host_policy.c ---- */

/* After an append: ask the host's policy, which is there, whether to sync. */
void host_policy_appended(struct duralog *);
/* Ask it by the clock. */
bool host_policy_wants(struct duralog *, struct policy_state *);
/* When to ask it by the clock; NONE if there is none. */
uint64_t host_policy_deadline(const struct duralog *,
                              const struct policy_state *);

/* ---- share.c: what other processes see of a writer ---- */

/* Build the control file from what the log is now. An errno, where it cannot
 * be: the log works, and nobody can follow it. */
int share_begin(struct duralog *, bool *made);
void share_end(struct duralog *);
/* The epoch of the next records, before there is one. */
void share_epoch(struct duralog *, uint64_t epoch);
void share_poison(struct duralog *);

/* ---- follow.c: a reading process beside a writing one ---- */

/* What one reader of a follower knows and has been told. */
struct follow_place {
  uint64_t epoch;      /* the newest of a record; NONE: it asks for nothing */
  uint64_t heard;      /* the control file's when last looked at */
  uint64_t generation; /* of the writer that it knows: what that one appends can
                        * diverge from nothing */
  uint64_t searched;   /* `end` when no record of a later writer was found */
  bool eager;          /* its last wait was short: the next one may be, too */
  uint64_t looked_at;  /* when it had come to its limit and looked */
  uint64_t looked_from; /* the offset it had come to then */
  bool diverged;        /* the two below mean something */
  bool beyond; /* it stood above the divergence, and has not gone back */
  uint64_t divergence, divergence_epoch;
  _Atomic uint64_t buried; /* generation whose end it was told of */
};

/* Before recovery: note which writer is there. */
void follow_prepare(struct duralog *);
/* After it: go along with whoever writes, now or later. False: the handle is a
 * snapshot. */
bool follow_begin(struct duralog *, bool writer_lives);
void follow_end(struct duralog *);
/* Whether the watermarks are a writer's, and not recovery's. */
bool follow_has_met_writer(const struct duralog *);
/* The level that is meant by default. */
duralog_level follow_level(const struct duralog *);
/* Whether the writer's mode is N = 1, or this handle's where none was met. */
bool follow_durable_each(const struct duralog *);
/* Before a reader that has come to an offset looks whether there is more. */
void follow_pace(const struct duralog *, struct follow_place *,
                 uint64_t offset);
/* Take over the writer's watermarks. */
void follow_look(struct duralog *);
/* A new reader: it knows what the log knows now. */
void follow_enter(struct duralog *, struct follow_place *);
/* Whether a reader at the offset has to be told of a new epoch: E_EPOCH. */
duralog_error follow_epoch(struct duralog *, struct follow_place *,
                           uint64_t offset);
/* The reader came upon a record of that epoch by itself; OK or E_EPOCH. */
duralog_error follow_met(struct duralog *, struct follow_place *,
                         uint64_t epoch, uint64_t offset);
/* Let segments up to this number into the catalog that are in use. */
enum catalog_result follow_admit(struct duralog *, uint64_t number,
                                 struct segment_failure *);
/* For who looks at all segments: let in what is in use by now. `end` is then no
 * older than the finished ones. Nothing where nobody is followed. */
duralog_error follow_up(struct duralog *);
/* Sleep until a watermark is above the offset, or the place has to be told of
 * something. */
duralog_error follow_wait(struct duralog *, struct follow_place *,
                          duralog_level, uint64_t offset, uint64_t deadline,
                          const _Atomic uint32_t *interrupt);
/* Wake all who sleep so. */
void follow_interrupt(struct duralog *);
/* Ask the writer to sync up to the offset. False: it cannot be asked. */
bool follow_ask(struct duralog *, uint64_t offset);
/* The same, and wait until it has: NO_WRITER if there is none that can, each
 * time. */
duralog_error follow_sync(struct duralog *, uint64_t offset);

/* ---- divergence.c ---- */

/* The first record above an epoch, and the newest one. */
struct divergence {
  uint64_t offset;
  uint64_t epoch, newest_epoch;
  bool found;
};

/* Reads up to a segment. */
duralog_error divergence_find(struct duralog *, uint64_t epoch,
                              struct divergence *);

/* What a follower's watch waits beyond. */
struct follow_vigil {
  bool durable;
  uint64_t offset, epoch;
  uint64_t poisoned;       /* generation whose poison it was told of */
  _Atomic uint64_t buried; /* as in struct follow_place */
  _Atomic bool stop;       /* it wants to know nothing more */
};

/* Sleep until the watermark or the epoch is another one, or there is something
 * else to tell of the writer: OK, E_EPOCH, E_NO_WRITER, E_POISONED. Up to 100
 * ms longer after `stop`. */
duralog_error follow_watch(struct duralog *, struct follow_vigil *);

/* ---- reader.c ---- */

struct follow_place *reader_follow_place(duralog_reader *);

/* ---- background.c ---- */

/* After a sync of that many bytes up to that position of the active segment:
 * have blocks written ahead, if there are few. */
void background_synced(struct duralog *, const struct segment *,
                       uint64_t position, uint64_t bytes);
duralog_error prepare_next(struct duralog *);
/* The first append: raise the epoch, durably. `need` is that append's size. */
duralog_error begin_epoch(struct duralog *, uint64_t need);
duralog_error background_seal(struct duralog *);      /* what is finished */
uint64_t background_deadline(const struct duralog *); /* of the next tick */
int background_start(struct duralog *);               /* the threads */
void background_stop(struct duralog *);

#endif
