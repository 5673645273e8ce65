/* SPDX-License-Identifier: MIT
 *
 * Syncing: one leads, everybody who waits is served by it.
 *
 * A sync captures `end`, syncs every segment that may hold something below it,
 * oldest first, and moves `durable` to what it captured. One is in flight at a
 * time (two split the batch, measured). Whoever needs more than `durable`
 * takes the lead if it is free; otherwise it sleeps on the word of the sync
 * that will serve it: the one in flight if that covers it, otherwise the next.
 * When the lead is given back all of the first kind wake, and one of the
 * second, to lead. Whoever wakes and need not lead passes that on, so that no
 * wake-up is lost (I31).
 *
 * The first sync that fails poisons the log: what the kernel did with the
 * pages is unknown, so no later success would prove anything (I14).
 */
#include <errno.h>
#include <limits.h>

#include "log.h"

enum {
  MARK_EVERY_BYTES = 1 << 20,
  MARK_LATE_BYTES = 64 << 10, /* after MARK_LATE_NS a mark is worth less data */
  MARK_LATE_NS = 100 * 1000 * 1000,
  REWRITE_BYTES = 4096
};

void policy_state_of(const struct duralog *log, struct policy_state *s) {
  /* `durable` first: it never passes `end`, and both only grow. */
  s->durable_bytes = atomic_load(&log->durable_bytes);
  s->durable = atomic_load(&log->durable);
  s->end = atomic_load(&log->end);
  s->end_bytes = atomic_load(&log->end_bytes);
  s->sync_ns = atomic_load(&log->sync_ns);
  s->now_ns = 0;
  /* Both are no later than the oldest unsynced append: everything from before
   * the capture of the last sync is durable, and everything was when the
   * append came that set `unsynced_since`. */
  s->oldest_ns =
      max_u64(atomic_load(&log->synced_at), atomic_load(&log->unsynced_since));
}

/* ---- the lead ---- */

static bool lead_try(struct duralog *log, uint32_t *number) {
  uint32_t idle = 0;
  if (!atomic_compare_exchange_strong(&log->lead.busy, &idle, 1)) return false;
  atomic_store(&log->lead.covers, 0);
  *number = atomic_fetch_add(&log->lead.number, 1) + 1;
  return true;
}

static void wake_one(struct duralog *log, uint32_t parity) {
  struct sync_lead *lead = &log->lead;
  if (atomic_load(&lead->sleepers[parity]) == 0) return;
  atomic_fetch_add(&lead->word[parity], 1);
  log->io->wake(log->io, &lead->word[parity], 1);
}

void sync_lead_give(struct duralog *log, uint32_t number) {
  struct sync_lead *lead = &log->lead;
  uint32_t parity = number & 1;
  atomic_store(&lead->served, atomic_load(&lead->sleepers[parity]));
  atomic_store(&lead->busy, 0);
  if (atomic_load(&lead->sleepers[parity])) {
    atomic_fetch_add(&lead->word[parity], 1);
    log->io->wake(log->io, &lead->word[parity], INT_MAX);
  }
  wake_one(log, parity ^ 1);
}

/* Sleep until the sync that covers the offset, or the next, is over. */
static void sleep_for(struct duralog *log, uint64_t offset, uint64_t bytes) {
  struct sync_lead *lead = &log->lead;
  uint32_t number = atomic_load(&lead->number);
  bool covered = atomic_load(&lead->covers) >= offset && bytes == 0;
  uint32_t parity = (covered ? number : number + 1) & 1;
  atomic_fetch_add(&lead->sleepers[parity], 1);
  uint32_t value = atomic_load(&lead->word[parity]);
  if (atomic_load(&lead->busy) && atomic_load(&lead->number) == number &&
      !atomic_load(&log->poisoned))
    log->io->wait(log->io, &lead->word[parity], value, NONE);
  atomic_fetch_sub(&lead->sleepers[parity], 1);
}

static void pass_on(struct duralog *log) {
  if (atomic_load(&log->lead.busy)) return;
  wake_one(log, 0);
  wake_one(log, 1);
}

/*
 * Whom the last sync has woken will mostly be back with an append at once. A
 * sync that begins before serves few, and the rest waits for one more: so let
 * them come, for a fraction of what a sync takes (measured on two cores, a sync
 * of 50 us, appends a second: 8 threads 38,000 to 46,000, 32 threads 98,000 to
 * 108,000; giving the core up meanwhile, or waiting for those as well who were
 * asleep before: less). Whoever comes in that time is covered by this one.
 * Where a policy makes threads wait only now and then, they would not come.
 */
static void gather(struct duralog *log, uint32_t number) {
#ifdef DURALOG_INSTRUMENTED
  enum { LOOKS = 1, PAUSES = 0 }; /* nobody runs meanwhile */
#else
  enum { LOOKS = 40, PAUSES = 40 };
#endif
  struct sync_lead *lead = &log->lead;
  const _Atomic uint32_t *here = &lead->sleepers[number & 1];
  uint32_t expected = atomic_load(&lead->served);
  if (expected == 0 || (!log->durable_each && !log->policy_idle)) return;
  atomic_store(&lead->covers, NONE);
  for (int i = 0; i < LOOKS && atomic_load(here) < expected; i++)
    for (int k = 0; k < PAUSES; k++) spin_pause();
}

uint32_t sync_lead_take(struct duralog *log) {
  uint32_t number;
  while (!lead_try(log, &number)) sleep_for(log, NONE, 0);
  return number;
}

/* ---- what a sync does ---- */

duralog_error sync_segment(struct duralog *log, const struct segment *s,
                           const struct io_part *part,
                           enum io_sync_reason why) {
  char name[NAME_BYTES];
  STEP(log->io, "sync/file");
  int result = log->io->file_sync(log->io, s->file, part, why);
  STEP(log->io, "sync/done");
  if (result == 0) return DURALOG_OK;
  segment_name(name, s->number);
  return log_poison(log, -result, name, "a sync failed");
}

static int rewrite(struct duralog *log, const struct segment *s, uint64_t from,
                   uint64_t to) {
  uint8_t copy[REWRITE_BYTES];
  while (from < to) {
    uint64_t page_end = (from / REWRITE_BYTES + 1) * REWRITE_BYTES;
    size_t size = (size_t)(min_u64(page_end, to) - from);
    struct segment_failure why;
    if (!segment_copy(s, log->io, from, copy, size, &why))
      return why.os_error ? -why.os_error : -EIO;
    int result = io_write(log->io, s->file, copy, size, from);
    if (result) return result;
    from += size;
  }
  return 0;
}

/* Bytes of a mapped segment for its index, which looks at headers and epochs.
 */
struct mapped {
  const struct segment *segment;
  io_env *io;
  uint8_t copy[FRAME_HEADER_BYTES + FRAME_EPOCH_BODY_BYTES];
};

static const uint8_t *mapped_get(void *context, uint64_t position,
                                 uint64_t size) {
  struct mapped *m = context;
  struct segment_failure why;
  if (position + size > m->segment->bytes) return NULL;
  if (!io_guarded()) return m->segment->map + position;
  bool copied = size <= sizeof m->copy &&
                segment_copy(m->segment, m->io, position, m->copy, size, &why);
  return copied ? m->copy : NULL;
}

/* The position of what recovery accepted but could not prove durable. */
static uint64_t settle_position(struct duralog *log, struct segment *s) {
  struct mapped bytes = {.segment = s, .io = log->io};
  struct frame_source source = {mapped_get, &bytes};
  struct walk w;
  if (log->settle_from <= s->start.offset) return SEGMENT_HEADER_BYTES;
  walk_begin(&w, log->directory.uuid, s->number, s->bytes, &s->start);
  if (index_find(&s->index, log->io, log->directory.uuid, &source, &w,
                 log->settle_from) != INDEX_FOUND)
    return SEGMENT_HEADER_BYTES; /* more than needed is never wrong */
  return w.position;
}

static int settle_segment(struct duralog *log, struct segment *s) {
  /* Start, marks and what else the header page holds besides the identity. */
  int result = rewrite(log, s, START_AT, SEGMENT_HEADER_BYTES);
  if (result || !atomic_load(&s->started)) return result;
  bool last = s->number == log->settle_segment_last;
  uint64_t end = last ? log->settle_end_position : s->end.end_position;
  if (!last && s->end.end_offset < log->settle_from) return 0;
  return rewrite(log, s, settle_position(log, s), end);
}

/*
 * Write again what recovery accepted beyond the recoverable watermark: after
 * an unclean stop, and after a failed sync above all, its pages may be in the
 * cache, called clean, and not on the disk. A sync of pages one did not dirty
 * proves nothing (contract, Errors 1).
 */
static duralog_error settle(struct duralog *log) {
  if (!atomic_load(&log->settle_pending)) return DURALOG_OK;
  STEP(log->io, "settle/begin");
  for (uint64_t n = log->settle_segment_first; n <= log->settle_segment_last;
       n++) {
    struct segment *s;
    struct segment_failure why;
    if (catalog_pin(&log->catalog, &log->directory, n, &s, &why) != CATALOG_OK)
      return log_poison(log, EIO, NULL, "a segment vanished");
    int result = settle_segment(log, s);
    catalog_unpin(&log->catalog, &log->directory, s);
    if (result)
      return log_poison(log, -result, NULL, "cannot write a tail again");
    STEP(log->io, "settle/segment");
  }
  atomic_store(&log->settle_pending, false);
  STEP(log->io, "settle/done");
  return DURALOG_OK;
}

/* What a sync is going to make durable. */
struct capture {
  uint64_t bytes, end; /* as of when it begins */
  uint64_t last;       /* segment number */
  uint64_t position;   /* of `end` or behind it in that segment; or NONE */
};

/* Unmap what is going to be written back, but for a last page that is not full:
 * see sync_segments. Readers fault it in again. */
static void let_go(struct duralog *log, const struct segment *s, uint64_t from,
                   uint64_t to) {
  enum { PAGE_BYTES = 4096 };
  from = from / PAGE_BYTES * PAGE_BYTES;
  to = to / PAGE_BYTES * PAGE_BYTES;
  if (from < to) (void)log->io->depopulate(log->io, s->map + from, to - from);
}

/*
 * Sync the active segment up to the captured end. Where records are synced many
 * at a time only the pages they lie in: those ahead are dirty, since they were
 * faulted in for writing, and would be written twice (measured, every 1,000
 * records: 242 us against 417 without faulting in ahead). What is stored into a
 * segment in use lies before its end, and what lies before the end of the last
 * such sync was synced by it: all but what the header page has got since, which
 * is a mark, or the start block that an epoch begins with.
 */
static duralog_error sync_active(struct duralog *log, const struct segment *s,
                                 const struct capture *c,
                                 enum io_sync_reason why) {
  struct sync_lead *lead = &log->lead;
  struct io_part part = {.map = s->map, .to = c->position};
  bool known = log->syncs_parts && c->position != NONE;
  uint64_t from = lead->part_segment == s->number ? lead->part_end : 0;
  if (why == IO_SYNC_DATA && !lead->mark_stored) part.from = from;
  if (known) let_go(log, s, max_u64(from, SEGMENT_HEADER_BYTES), part.to);
  duralog_error error = sync_segment(log, s, known ? &part : NULL, why);
  if (error) return error;
  lead->part_segment = s->number;
  lead->part_end = known ? part.to : 0;
  lead->mark_stored = false;
  if (why == IO_SYNC_DATA && c->position != NONE)
    background_synced(log, s, c->position,
                      c->bytes - atomic_load(&log->durable_bytes));
  return DURALOG_OK;
}

/* Sync from the first unsynced segment to the captured end, oldest first. */
static duralog_error sync_segments(struct duralog *log, const struct capture *c,
                                   enum io_sync_reason why) {
  struct sync_lead *lead = &log->lead;
  uint64_t active = atomic_load(&log->active);
  for (uint64_t n = lead->first_unsynced; n <= c->last; n++) {
    struct segment *s;
    struct segment_failure reason;
    if (catalog_pin(&log->catalog, &log->directory, n, &s, &reason) !=
        CATALOG_OK)
      return log_poison(log, EIO, NULL, "a segment vanished");
    /* Writing back a mapped page interrupts every core that runs a thread of
     * ours, page by page; a finished segment is unmapped in one go (measured:
     * a third of all time at full speed). */
    if (n < active) (void)log->io->depopulate(log->io, s->map, s->bytes);
    duralog_error error = n < active ? sync_segment(log, s, NULL, why)
                                     : sync_active(log, s, c, why);
    if (!error && n < active) { /* finished: nothing but its seal will follow */
      s->data_synced = true;
      lead->first_unsynced = n + 1;
    }
    catalog_unpin(&log->catalog, &log->directory, s);
    if (error) return error;
  }
  return DURALOG_OK;
}

/* Each by itself: an append may have published its offset and not its bytes
 * when a sync captured them. `durable` first, so that no append returns by its
 * bytes while the watermark still says less. True if it has moved. */
static bool move_durable(struct duralog *log, uint64_t durable,
                         uint64_t bytes) {
  bool moves = durable > atomic_load(&log->durable);
  INVARIANT(durable <= atomic_load(&log->end));
  STEP(log->io, "sync/advance");
  if (moves) {
    atomic_store(&log->durable, durable);
    atomic_store(&log->control->durable, durable);
  }
  if (bytes > atomic_load(&log->durable_bytes))
    atomic_store(&log->durable_bytes, bytes);
  return moves;
}

/* Another sync, that of a new segment, may have failed meanwhile: then
 * `durable` stays. */
static duralog_error advance(struct duralog *log, uint64_t durable,
                             uint64_t bytes) {
  mutex_lock(log->io, &log->freeze);
  bool poisoned = atomic_load(&log->poisoned);
  bool moved = !poisoned && move_durable(log, durable, bytes);
  mutex_unlock(log->io, &log->freeze);
  if (moved) log_wake_durable(log);
  return poisoned ? DURALOG_E_POISONED : DURALOG_OK;
}

duralog_error sync_finished(struct duralog *log, uint64_t number) {
  struct segment *s;
  struct segment_failure why;
  duralog_error error = settle(log);
  const struct capture finished = {.last = number, .position = NONE};
  if (!error) error = sync_segments(log, &finished, IO_SYNC_FINISHED);
  /* Strict mode promises only what a durable mark says. */
  if (error || log->strict) return error;
  if (catalog_pin(&log->catalog, &log->directory, number, &s, &why) !=
      CATALOG_OK)
    return log_poison(log, EIO, NULL, "a segment vanished");
  error = advance(log, s->end.end_offset, s->end_bytes);
  catalog_unpin(&log->catalog, &log->directory, s);
  return error;
}

static duralog_error store_mark(struct duralog *log, struct segment *s,
                                uint64_t durable, bool clean) {
  struct segment_failure why;
  struct mark mark = {.sequence = ++log->lead.mark_sequence,
                      .durable = durable,
                      .epoch = atomic_load(&log->frame_epoch),
                      .clean = clean};
  memcpy(mark.boot_id, log->boot_id, sizeof mark.boot_id);
  log->lead.mark_stored = true;
  return segment_mark(s, &log->directory, &mark, &why)
             ? DURALOG_OK
             : log_fail_segment(log, s->number, &why);
}

/* Store a mark in the newest segment and, with a reason, sync it. */
static duralog_error mark_durable(struct duralog *log, uint64_t durable,
                                  bool clean, enum io_sync_reason why) {
  struct segment *s;
  struct segment_failure reason;
  if (catalog_pin(&log->catalog, &log->directory, atomic_load(&log->active), &s,
                  &reason) != CATALOG_OK)
    return log_poison(log, EIO, NULL, "a segment vanished");
  duralog_error error = store_mark(log, s, durable, clean);
  if (!error && why != IO_SYNC_REASON_COUNT)
    error = sync_segment(log, s, NULL, why);
  catalog_unpin(&log->catalog, &log->directory, s);
  return error;
}

duralog_error sync_mark(struct duralog *log, bool clean,
                        enum io_sync_reason why) {
  return mark_durable(log, atomic_load(&log->durable), clean, why);
}

/* Without strict mode the mark need not be durable itself, only to get there
 * some time: it goes out with the next sync, seldom enough that a durable
 * append stays at one page written. */
static duralog_error renew_mark(struct duralog *log, uint64_t bytes,
                                uint64_t now) {
  struct sync_lead *lead = &log->lead;
  uint64_t since = bytes - lead->mark_bytes;
  if (since < MARK_EVERY_BYTES &&
      (since < MARK_LATE_BYTES || now - lead->mark_ns < MARK_LATE_NS))
    return DURALOG_OK;
  lead->mark_bytes = bytes;
  lead->mark_ns = now;
  return sync_mark(log, false, IO_SYNC_REASON_COUNT);
}

static struct capture capture_now(const struct duralog *log) {
  struct capture c;
  /* In this order: what is counted in `bytes` is below `end`, and what is below
   * `end` lies in segments up to `last`. */
  c.bytes = atomic_load(&log->end_bytes);
  c.end = atomic_load(&log->end);
  c.last = atomic_load(&log->active);
  /* Not of that segment, if one was rolled into meanwhile. */
  uint64_t place = atomic_load(&log->end_place);
  c.position = place >> 32 == (uint32_t)c.last ? (uint32_t)place : NONE;
  return c;
}

/* With a reservation out: it has padded the tail, and what is visible lies
 * before. False: it ended while we looked, and its record may be among it. */
static bool capture_reserved(const struct duralog *log, struct capture *c) {
  uint32_t word;
  if (!reserve_look(log, &word)) return false;
  *c = capture_now(log);
  return reserve_stands(log, word);
}

/* With padding, what is appended from now on begins in a block of its own; an
 * epoch too, since it must outlast what is written behind it. */
static struct capture capture(struct duralog *log, enum io_sync_reason why) {
  bool epoch = why == IO_SYNC_EPOCH;
  struct capture c;
  if (!log->pad_syncs ||
      (!epoch && atomic_load(&log->end) == atomic_load(&log->durable)))
    return capture_now(log);
  while (!append_lock_unless_reserved(log))
    if (capture_reserved(log, &c)) return c;
  if (epoch || !(atomic_load(&log->append_block) & BLOCK_BEGIN)) tail_pad(log);
  c = capture_now(log);
  append_unlock(log);
  return c;
}

duralog_error sync_run(struct duralog *log, enum io_sync_reason why) {
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  uint64_t began = log->io->now(log->io);
  struct capture c = capture(log, why);
  atomic_store(&log->lead.covers, c.end);
  if (c.end == atomic_load(&log->durable) && why == IO_SYNC_DATA &&
      !atomic_load(&log->settle_pending))
    return advance(log, c.end, c.bytes);
  STEP(log->io, "sync/captured");
  duralog_error error = settle(log);
  if (!error) error = sync_segments(log, &c, why);
  if (!error && log->strict) {
    error = mark_durable(log, c.end, false, IO_SYNC_WATERMARK);
    STEP(log->io, "sync/watermark");
  }
  if (error) return error;
  uint64_t now = log->io->now(log->io);
  bool slower = now - began > atomic_load(&log->sync_ns);
  atomic_store(&log->sync_ns, now - began);
  error = advance(log, c.end, c.bytes);
  if (error) return error;
  /* Behind `durable`: by then no append can return by its age alone. */
  atomic_store(&log->synced_at, began);
  /* The next one is due earlier than a watch may have been set to. */
  if (slower && log->policy.interval_ns != NONE) log_signal(log, WATCHED_TICK);
  return log->strict ? DURALOG_OK : renew_mark(log, c.bytes, now);
}

/* ---- waiting for it ---- */

static bool reached(const struct duralog *log, uint64_t offset,
                    uint64_t bytes) {
  return atomic_load(&log->durable) >= offset &&
         atomic_load(&log->durable_bytes) >= bytes;
}

duralog_error sync_until(struct duralog *log, uint64_t offset, uint64_t bytes) {
  duralog_error error = DURALOG_OK;
  bool slept = false;
  while (!reached(log, offset, bytes)) {
    uint32_t number;
    if (atomic_load(&log->poisoned)) {
      error = DURALOG_E_POISONED;
      break;
    }
    if (lead_try(log, &number)) {
      slept = false;
      if (!reached(log, offset, bytes)) {
        gather(log, number);
        error = sync_run(log, IO_SYNC_DATA);
      }
      sync_lead_give(log, number);
      if (error) break;
      continue;
    }
    slept = true;
    sleep_for(log, offset, bytes);
  }
  if (slept) pass_on(log);
  return error;
}

duralog_error sync_await(struct duralog *log, uint64_t offset, uint64_t bytes) {
  if (reached(log, offset, bytes)) return DURALOG_OK;
  uint64_t began = log->io->now(log->io);
  duralog_error error = sync_until(log, offset, bytes);
  log_count_wait(log, began);
  return error;
}

static duralog_error sync_all(duralog *log) {
  if (log->read_only) return DURALOG_E_READ_ONLY;
  /* Bytes and offset in this order, as in sync_run. */
  uint64_t bytes = atomic_load(&log->end_bytes);
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  return sync_await(log, atomic_load(&log->end), bytes);
}

duralog_error duralog_sync(duralog *log) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, sync_all(log));
}
