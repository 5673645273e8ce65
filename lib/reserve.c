/* SPDX-License-Identifier: MIT
 *
 * Reserving: the host writes its record where it will lie.
 *
 * A reservation holds the append lock from duralog_reserve to duralog_publish
 * or duralog_abort. So there is one at most, offsets are given in the order of
 * publication, and there are no holes. The memory begins a header's size behind
 * the tail. Only publishing stores the header, when the checksum is known; if
 * the time does not fit into it, the data moves up by 8 bytes, for which there
 * is room.
 *
 * What was written and not published never comes back as a record, whether the
 * reservation was aborted or ended by a crash:
 *   - The header's place is not the host's: until the header is stored, a walk
 *     stops there, at what was behind the tail before. After a crash the next
 *     life goes on there in a new epoch.
 *   - After an abort, and behind a record shorter than was reserved, later
 *     frames of this epoch may come to end right before such bytes, also when
 *     the power fails and an old sector survives among new ones. To pass for a
 *     frame they need a check seeded with log, segment, epoch and position. The
 *     library makes one for a position only when the frame there is published,
 *     and the tail never goes back within an epoch; so no bytes that it has
 *     ever written are valid there: old frames, copied from anywhere, least of
 *     all. Other bytes are by chance, as everywhere (FORMAT.md).
 *   - The scan for evidence decodes headers with the same seeds, so that it
 *     believes none of them either, and serves nothing.
 * An abort clears its memory nevertheless: nothing large is left for the scan,
 * nor counted as a torn tail. Pages of zeros are left alone, so that no sync
 * writes what the host never touched. Publishing clears nothing: what lies
 * behind the record is seldom touched, and looking at it could cost more than
 * the record.
 *
 * Who meets a reservation where the append lock should be:
 *   - appends and reservations of other threads, and the preparing thread,
 *     sleep on `word` until it is over. They hold no other lock, so that the
 *     host's thread may sync, tick, wait and read meanwhile.
 *   - appends of the same thread fail: they would wait for themselves.
 *   - a tick does not prepare, and leaves word to do so later (`prepare_owed`).
 *   - whoever asks about the tail is told of it as the reservation found it
 *     (tail_look).
 *   - a padded sync need not pad, since the reservation did (sync.c).
 *   - beginning an epoch cannot meet one: it comes before (background.c).
 *
 * It is over, for those who look, before its record is published: who finds it
 * unchanged behind a look at `end` knows that nothing of it was seen.
 */
#include <limits.h>

#include "log.h"

enum {
  TURN_NS = 1000 * 1000, /* given to others, at most */
  TURN_NAP_NS = 50 * 1000,
  CLEAR_BYTES = 4096
};

/* ---- for those who meet one ---- */

bool reserve_is_out(const struct duralog *log) {
  return atomic_load(&log->reservation.thread) != 0;
}

/* Exact: only this thread stores its own name there, and takes it away. */
bool reserve_is_own(const struct duralog *log) {
  uint64_t thread = atomic_load(&log->reservation.thread);
  return thread != 0 && thread == log->io->thread_self(log->io);
}

duralog_error reserve_sleep(struct duralog *log, uint64_t deadline) {
  struct reservation *r = &log->reservation;
  uint32_t value = atomic_load(&r->word);
  if (atomic_load(&log->append_block) & BLOCK_POISON) return DURALOG_E_POISONED;
  if (reserve_is_out(log)) log->io->wait(log->io, &r->word, value, deadline);
  return DURALOG_OK;
}

void reserve_poisoned(struct duralog *log) {
  atomic_fetch_add(&log->reservation.word, 1);
  log->io->wake(log->io, &log->reservation.word, INT_MAX);
}

bool reserve_look(const struct duralog *log, uint32_t *word) {
  *word = atomic_load(&log->reservation.word);
  return reserve_is_out(log);
}

bool reserve_stands(const struct duralog *log, uint32_t word) {
  return reserve_is_out(log) && atomic_load(&log->reservation.word) == word;
}

/* ---- what is asked about the tail ---- */

static struct tail_view view_of(const struct duralog *log) {
  const struct tail *t = &log->tail;
  return (struct tail_view){.segment = atomic_load(&log->active),
                            .position = t->position,
                            .end = atomic_load(&log->end),
                            .bytes = t->bytes,
                            .time_max_ms = (uint64_t)t->time_max_ms,
                            .batches = t->batches,
                            .payload_bytes = t->payload_bytes,
                            .contended = t->contended,
                            .naps = t->naps,
                            .rolls = t->rolls};
}

/* While a reservation is out the tail does not change, so that it is kept
 * for those who ask about it. In order: who meets a word of the next one meets
 * `word` changed, too. */
static void view_keep(struct duralog *log) {
  uint64_t words[TAIL_VIEW_WORDS];
  struct tail_view view = view_of(log);
  memcpy(words, &view, sizeof words);
  for (int i = 0; i < TAIL_VIEW_WORDS; i++)
    atomic_store_explicit(&log->reservation.view[i], words[i],
                          memory_order_release);
}

static bool view_kept(const struct duralog *log, struct tail_view *view) {
  uint64_t words[TAIL_VIEW_WORDS];
  uint32_t word;
  if (!reserve_look(log, &word)) return false;
  for (int i = 0; i < TAIL_VIEW_WORDS; i++)
    words[i] =
        atomic_load_explicit(&log->reservation.view[i], memory_order_acquire);
  memcpy(view, words, sizeof *view);
  return reserve_stands(log, word);
}

void tail_look(struct duralog *log, struct tail_view *view) {
  while (!append_lock_unless_reserved(log))
    if (view_kept(log, view)) return;
  *view = view_of(log);
  append_unlock(log);
}

/* ---- reserving ---- */

/* Who slept through the last one goes first: otherwise a thread that reserves
 * over and over has the lock again before anyone is awake. */
static void give_others_a_turn(struct duralog *log, uint64_t deadline) {
  io_env *io = log->io;
  if (LIKELY(atomic_load(&log->reservation.sleepers) == 0)) return;
  uint64_t now = io->now(io), until = min_u64(deadline, now + TURN_NS);
  while (now < until && atomic_load(&log->reservation.sleepers)) {
    io->wait(io, &log->nap, 0, min_u64(until, now + TURN_NAP_NS));
    now = io->now(io);
  }
}

static duralog_error reserve(duralog *log, size_t size_max, int64_t timeout_ms,
                             void **memory) {
  if (!memory) return DURALOG_E_ARGUMENT;
  if (size_max > log->record_bytes_max) return DURALOG_E_TOO_BIG;
  if (reserve_is_own(log)) return DURALOG_E_BUSY;
  uint64_t deadline = log_deadline(log->io, timeout_ms);
  give_others_a_turn(log, deadline);
  duralog_error error = append_room(log, size_max, deadline);
  if (error) return error;
  if (log->pad_syncs) tail_pad(log);
  log->reservation.size_max = size_max;
  view_keep(log);
  atomic_store(&log->reservation.thread, log->io->thread_self(log->io));
  STEP(log->io, "reserve/given");
  *memory = log->tail.map + log->tail.position + FRAME_HEADER_BYTES;
  return DURALOG_OK;
}

duralog_error duralog_reserve(duralog *log, size_t size_max, int64_t timeout_ms,
                              void **memory) {
  duralog_error error = log_check(log);
  if (error) return error;
  return log_answer(log, reserve(log, size_max, timeout_ms, memory));
}

/* ---- ending it ---- */

static duralog_error check_own(const struct duralog *log) {
  if (log->read_only) return DURALOG_E_READ_ONLY;
  return reserve_is_own(log) ? DURALOG_OK : DURALOG_E_ARGUMENT;
}

/* The lock is still held. */
static void over(struct duralog *log) {
  atomic_store(&log->reservation.thread, 0);
  atomic_fetch_add(&log->reservation.word, 1);
  STEP(log->io, "reserve/over");
}

/* The lock is free again. */
static void tell_others(struct duralog *log) {
  struct reservation *r = &log->reservation;
  if (atomic_load(&r->sleepers)) log->io->wake(log->io, &r->word, INT_MAX);
  if (!atomic_load(&r->prepare_owed) ||
      !atomic_exchange(&r->prepare_owed, false))
    return;
  atomic_store(&log->prepare_wanted, true);
  log_kick(log, WORKER_PREPARER);
}

static void clear(void *context) {
  struct duralog *log = context;
  uint8_t *memory = log->tail.map + log->tail.position + FRAME_HEADER_BYTES;
  uint64_t size = log->reservation.size_max;
  for (uint64_t at = 0, piece; at < size; at += piece) {
    piece = min_u64(size - at, CLEAR_BYTES);
    if (all_zero(memory + at, piece)) continue;
    STEP(log->io, "reserve/clear");
    memset(memory + at, 0, piece);
  }
}

static duralog_error give_up(struct duralog *log) {
  const struct segment *s = log->tail.segment;
  struct segment_failure why;
  duralog_error error = DURALOG_OK;
  if (!segment_store(s, log->io, clear, log, &why))
    error = log_fail_segment(log, s->number, &why);
  STEP(log->io, "reserve/cleared");
  over(log);
  append_unlock(log);
  tell_others(log);
  return error;
}

static duralog_error publish(duralog *log, size_t size, duralog_level level,
                             uint64_t *offset) {
  duralog_error error = check_own(log);
  if (error) return error;
  if (size > log->reservation.size_max || level < DURALOG_LEVEL_DEFAULT ||
      level > DURALOG_LEVEL_DURABLE)
    return DURALOG_E_ARGUMENT;
  if (atomic_load(&log->append_block) & BLOCK_POISON) {
    (void)give_up(log);
    return DURALOG_E_POISONED;
  }
  struct appended a;
  over(log);
  error = append_in_place(log, size, &a);
  tell_others(log);
  if (!error) error = append_wait(log, level, &a);
  if (!error && offset) *offset = a.first;
  return error;
}

duralog_error duralog_publish(duralog *log, size_t size, duralog_level level,
                              uint64_t *offset) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, publish(log, size, level, offset));
}

duralog_error duralog_abort(duralog *log) {
  duralog_error error = log_check(log);
  if (error) return error;
  error = check_own(log);
  if (!error) error = give_up(log);
  return log_answer(log, error);
}
