/* SPDX-License-Identifier: MIT
 *
 * The tail: where the next frame goes, and the frames that are no records. All
 * of it with the append lock.
 *
 * Nothing here can fail for want of space: each segment keeps room for the ROLL
 * that ends it. What cannot be stored, because the file was cut, poisons the
 * log, and the tail goes on all the same.
 */
#include "log.h"

void tail_enter(struct duralog *log, struct segment *s, const struct walk *w) {
  struct tail *t = &log->tail;
  t->segment = s;
  t->map = s->map;
  t->position = w->position;
  t->limit = s->bytes - FRAME_HEADER_BYTES;
  if (log->pad_syncs) t->limit -= PAD_BLOCK_BYTES;
  t->offset = w->offset;
  t->base = w->base;
  t->base_time = w->base_time;
  t->epoch = w->epoch;
  t->seed = w->seed;
  t->time_max_ms = INT64_MIN;
  t->kick_at = w->position; /* the preparer looks, and says when again */
  t->place = tail_place(s->number, 0);
  atomic_store(&log->end_place, t->place + t->position);
  atomic_store(&log->active, s->number);
  atomic_store(&log->control->active, s->number);
}

/* A frame to be stored, with its body. */
struct framed {
  const struct tail *tail;
  struct frame *frame;
  const uint8_t *body;
  uint32_t stored;
};

static void store_framed(void *context) {
  const struct framed *x = context;
  const struct tail *t = x->tail;
  uint8_t *to = t->map + t->position;
  if (x->stored) memcpy(to + FRAME_HEADER_BYTES, x->body, x->stored);
  frame_encode(to, x->frame, t->seed, t->position);
}

/* An internal frame whose body is `stored` bytes, and as many as `size` long.
 * Where it cannot be stored the log is poisoned, and the tail goes on. */
static uint32_t put_frame(struct duralog *log, enum frame_type type,
                          const uint8_t *body, uint32_t stored, uint32_t size) {
  struct tail *t = &log->tail;
  uint64_t durable = atomic_load_explicit(&log->durable, memory_order_relaxed);
  struct frame f = {.body_bytes = size,
                    .body_check = frame_body_check(NULL, 0, body, stored),
                    .index = (uint32_t)(t->offset - t->base),
                    .flags = (uint16_t)type,
                    .lag = tail_lag(t->offset, durable)};
  struct framed framed = {t, &f, body, stored};
  struct segment_failure why;
  if (!segment_store(t->segment, log->io, store_framed, &framed, &why))
    log_fail_segment(log, t->segment->number, &why);
  t->position += frame_bytes(size);
  atomic_store(&log->end_place, t->place + t->position);
  return f.check;
}

static uint32_t put_internal(struct duralog *log, enum frame_type type,
                             const uint8_t *body, uint32_t size) {
  return put_frame(log, type, body, size, size);
}

/* Where the tail lies once it is padded. In a segment of a log that pads, the
 * last block is kept for a ROLL, and behind every frame there is room for the
 * header of a PAD: so no block with synced records is ever written into again.
 * An older position may lie behind that; the next frame is a ROLL then. */
static uint64_t tail_padded(const struct tail *t) {
  uint64_t from = t->position + FRAME_HEADER_BYTES;
  if (t->position % PAD_BLOCK_BYTES == 0 || t->position > t->limit)
    return t->position;
  return align_up(from, PAD_BLOCK_BYTES);
}

/* End the tail on a block boundary, so that no later sync writes over records
 * that this one makes durable (README, assumption 2). */
void tail_pad(struct duralog *log) {
  struct tail *t = &log->tail;
  static const uint8_t nothing[1];
  uint64_t to = tail_padded(t);
  if (to == t->position) return;
  STEP(log->io, "pad/frame");
  put_frame(log, FRAME_PAD, nothing, 0,
            (uint32_t)(to - t->position - FRAME_HEADER_BYTES));
}

bool tail_padded_fits(const struct duralog *log, uint64_t bytes) {
  return tail_padded(&log->tail) + bytes <= log->tail.limit;
}

bool tail_epoch_fits(const struct duralog *log, uint64_t bytes) {
  uint64_t epoch = frame_bytes(FRAME_EPOCH_BODY_BYTES);
  if (!log->pad_syncs) return tail_fits(log, epoch + bytes);
  struct tail t = {.position = tail_padded(&log->tail) + epoch,
                   .limit = log->tail.limit};
  return tail_padded(&t) + bytes <= t.limit;
}

void tail_read_clock(struct duralog *log, uint64_t tick) {
  struct tail *t = &log->tail;
  int64_t wall = log->io->wall_ms(log->io);
  t->tick = tick;
  if (wall > t->time_ms) t->time_ms = wall;
}

void tail_start(struct duralog *log, struct segment *s, uint64_t epoch) {
  struct tail *t = &log->tail;
  struct start start = {.offset = t->offset,
                        .time_ms = t->time_ms,
                        .epoch = epoch,
                        .durable = atomic_load(&log->durable),
                        .previous_check = t->last_check};
  memcpy(start.boot_id, log->boot_id, sizeof start.boot_id);
  struct segment_failure why;
  if (!segment_start(s, &log->directory, &start, &why))
    log_fail_segment(log, s->number, &why);
  struct walk w;
  walk_begin(&w, log->directory.uuid, s->number, s->bytes, &start);
  tail_enter(log, s, &w);
}

void tail_roll(struct duralog *log, struct segment *next, uint64_t epoch) {
  struct tail *t = &log->tail;
  static const uint8_t nothing[1];
  STEP(log->io, "roll/frame");
  t->last_check = put_internal(log, FRAME_ROLL, nothing, 0);
  t->segment->end = (struct seal){.end_offset = t->offset,
                                  .end_position = t->position,
                                  .epoch = t->epoch,
                                  .time_max_ms = t->time_max_ms,
                                  .last_check = t->last_check};
  t->segment->end_bytes = t->bytes;
  STEP(log->io, "roll/start");
  tail_start(log, next, epoch);
  t->rolls++;
  atomic_store(&log->rolled_at, t->tick);
  STEP(log->io, "roll/done");
  atomic_store(&log->next, NULL);
}

void tail_epoch(struct duralog *log, uint64_t epoch) {
  struct tail *t = &log->tail;
  uint8_t body[FRAME_EPOCH_BODY_BYTES];
  store64(body, epoch);
  store64(body + 8, t->epoch);
  /* What an earlier writer left in this block may be durable by now. */
  if (log->pad_syncs) tail_pad(log);
  STEP(log->io, "epoch/frame");
  put_internal(log, FRAME_EPOCH, body, sizeof body);
  STEP(log->io, "epoch/stored");
  t->epoch = epoch;
  t->seed = frame_seed(log->directory.uuid, t->segment->number, epoch);
}
