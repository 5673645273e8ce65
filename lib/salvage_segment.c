/* SPDX-License-Identifier: MIT
 *
 * Salvage of one segment: scanned with what its neighbours say, its islands
 * copied, and what lies between them told as gaps and damage.
 */
#include <errno.h>

#include "salvage.h"

static const char body_damaged[] =
    "data is damaged, and the batch with it is left out";
static const char batch_torn[] =
    "a part of a batch is lost, and all of it is left out";
static const char frames_damaged[] = "frames are damaged";
static const char doubtful[] =
    "what is there may be left from before a recovery";
static const char start_damaged[] =
    "the start block of a segment is damaged: nothing proves which records "
    "these are";
static const char time_lost[] =
    "the start block of a segment is damaged: nothing proves when these "
    "records were appended";
static const char page_damaged[] = "a block of a header page is damaged";
static const char order_wrong[] = "another segment has these offsets, too";
static const char never_found[] =
    "these records had been durable, and nothing is left of them";
static const char cut_short[] =
    "too much looks like frames without being any: the rest was not looked at";

/* ---- items ---- */

static duralog_error tell(struct salvage *s, duralog_salvage_item *item) {
  item->struct_size = sizeof *item;
  switch (item->kind) {
    case DURALOG_SALVAGE_RUN: s->report.runs++; break;
    case DURALOG_SALVAGE_GAP: s->report.gaps++; break;
    case DURALOG_SALVAGE_DAMAGE: s->report.damages++; break;
  }
  if (item->kind == DURALOG_SALVAGE_GAP && item->to != NONE)
    s->report.records_lost += item->to - item->from;
  duralog_error error = salvage_out_item(&s->out, item);
  if (!error && s->options.found)
    s->options.found(s->options.found_context, item);
  return error;
}

/* Bytes of the loaded file, kept; where there are none it is about the file. */
static duralog_error make_item(struct salvage *s, uint64_t name,
                               uint64_t position, uint64_t end,
                               const char *reason, duralog_salvage_item *item) {
  struct salvage_source *src = &s->source;
  end = min_u64(end, src->data_end);
  if (end < position) end = position;
  *item = (duralog_salvage_item){.segment = name,
                                 .position = position,
                                 .position_end = end,
                                 .reason = reason,
                                 .evidence = NONE};
  if (end == position) return DURALOG_OK;
  s->report.evidence_bytes += end - position;
  return salvage_out_keep(&s->out, src->bytes + position, end - position,
                          &item->evidence);
}

duralog_error salvage_tell_damage(struct salvage *s,
                                  duralog_salvage_item *item) {
  item->kind = DURALOG_SALVAGE_DAMAGE;
  item->from = item->to = s->next;
  return tell(s, item);
}

static duralog_error damage_at(struct salvage *s, uint64_t name,
                               uint64_t position, uint64_t end,
                               const char *reason) {
  duralog_salvage_item item;
  duralog_error error = make_item(s, name, position, end, reason, &item);
  return error ? error : salvage_tell_damage(s, &item);
}

/* What cannot be copied: what it cost is told by what comes next. */
duralog_error salvage_pend(struct salvage *s, uint64_t name, uint64_t position,
                           uint64_t end, const char *reason, bool file) {
  duralog_salvage_item item;
  duralog_error error = make_item(s, name, position, end, reason, &item);
  if (!file) s->torn_from_here = true;
  if (error) return error;
  if (s->pending.there && !(file && !s->pending.file))
    return salvage_tell_damage(s, &item); /* the first one stands for the gap */
  if (s->pending.there) error = salvage_tell_damage(s, &s->pending.item);
  s->pending = (struct pending){true, file, item};
  return error;
}

/* The next record that is there has this offset. */
duralog_error salvage_settle(struct salvage *s, uint64_t offset) {
  struct pending p = s->pending;
  s->pending.there = s->torn_from_here = false;
  if (offset <= s->next)
    return p.there ? salvage_tell_damage(s, &p.item) : DURALOG_OK;
  if (!p.there)
    p.item = (duralog_salvage_item){
        .segment = s->number_last, .reason = never_found, .evidence = NONE};
  p.item.kind = DURALOG_SALVAGE_GAP;
  p.item.partial_batch =
      !s->options.partial_batches && offset - s->next > 1 &&
      (p.item.reason == batch_torn || p.item.reason == body_damaged);
  p.item.from = s->next;
  p.item.to = offset;
  s->next = offset == NONE ? s->next : offset;
  return tell(s, &p.item);
}

/* ---- copying ---- */

/* Put one frame; `*w` stands on it, and moves on. The last record before `to`
 * ends its batch in any case. */
static duralog_error copy_frame(struct salvage *s, struct walk *w, bool *begun,
                                uint64_t span, uint64_t to, bool *torn_batch) {
  const struct salvage_scan *scan = &s->scan;
  const uint8_t *at = scan->bytes + w->position;
  const uint8_t *body = at + FRAME_HEADER_BYTES;
  struct salvage_out *out = &s->out;
  duralog_error error = DURALOG_OK;
  struct frame f;
  struct frame_body parts = {0};
  if (!frame_decode(&f, at, w->seed, w->position)) return DURALOG_E_CORRUPT;
  if (frame_type(&f) == FRAME_RECORD) {
    struct frame copy = f;
    if (w->offset + 1 == to && f.flags & FRAME_MORE) {
      copy.flags = (uint16_t)(f.flags & ~FRAME_MORE);
      *torn_batch = true;
    }
    if (!*begun)
      error = salvage_out_begin(out, w->offset, w->epoch, w->base_time, span);
    else if (out->walk.epoch != w->epoch)
      error = salvage_out_epoch(out, w->epoch);
    *begun = true;
    if (!error) error = salvage_out_record(out, &copy, body);
    frame_parse_body(&f, body, &parts);
    s->report.records++;
    s->report.bytes += f.body_bytes - parts.blocks_bytes + parts.key_bytes;
  }
  walk_accept(w, scan->uuid, &f, body);
  return error;
}

/* Copy what was taken of an island. */
static duralog_error copy_island(struct salvage *s, uint64_t name,
                                 const struct salvage_island *k,
                                 int64_t base_time, bool times_unproven) {
  struct walk w =
      salvage_walk_at(&s->scan, k->from_position, k->from, k->from_epoch);
  duralog_error error = salvage_settle(s, k->from);
  bool begun = false, torn_batch = k->from == k->offset && !k->boundary;
  w.base_time = base_time;
  while (!error && w.offset < k->to)
    error = copy_frame(s, &w, &begun, k->to_position - k->from_position, k->to,
                       &torn_batch);
  if (!error) error = salvage_out_finish(&s->out);
  if (error) return error;
  s->next = k->to;
  if (s->out.time_max_ms > s->time_ms) s->time_ms = s->out.time_max_ms;
  duralog_salvage_item item = {.kind = DURALOG_SALVAGE_RUN,
                               .times_unproven = times_unproven,
                               .partial_batch = torn_batch,
                               .from = k->from,
                               .to = k->to,
                               .segment = name,
                               .position = k->from_position,
                               .position_end = k->to_position,
                               .evidence = NONE};
  return tell(s, &item);
}

/* ---- a segment ---- */

static void set_up_scan(struct salvage *s, const struct salvage_file *f,
                        bool started, uint64_t base, uint64_t epoch) {
  struct salvage_source *src = &s->source;
  struct salvage_scan *x = &s->scan;
  const struct salvage_file *next =
      f->next < src->segments ? &src->files[f->next] : NULL;
  bool adjacent = next && next->number == f->number + 1;
  *x = (struct salvage_scan){
      .uuid = src->log.directory.uuid,
      .number = f->number,
      .bytes = src->bytes,
      .size = src->size,
      .segment_bytes = f->bytes,
      .started = started,
      .base = base,
      .epoch = epoch,
      .end_position = f->sealed ? f->seal.end_position : NONE,
      .partial = s->options.partial_batches,
      .limit = f->limit,
      .end_epoch_known = f->sealed || next,
      .end_epoch = f->sealed ? f->seal.epoch
                   : next    ? next->start.epoch
                             : 0,
      .roll_check = f->sealed  ? f->seal.last_check
                    : adjacent ? next->start.previous_check
                               : 0,
      .islands = s->islands,
      .capacity = SALVAGE_ISLANDS_MAX};
  if (f->number < src->opening.meta.accepted_segment)
    x->limit = min_u64(x->limit, src->opening.meta.accepted_offset);
  if (started) salvage_claim_add(x, f->start.epoch, f->start.durable);
  for (int slot = 0; slot < 2; slot++) {
    const struct mark *m = &f->marks[slot];
    if (!m->sequence) continue;
    salvage_claim_add(x, m->epoch, m->durable);
    x->epoch_seen = max_u64(x->epoch_seen, m->epoch);
  }
}

/* Where its ROLL and what follows say together at which offset it began. */
static bool base_by_end(struct salvage *s, const struct salvage_file *f,
                        uint64_t *base) {
  struct salvage_source *src = &s->source;
  set_up_scan(s, f, false, 0, s->rolled.epoch);
  if (!s->scan.roll_check) return false;
  salvage_scan_run(&s->scan);
  if (!s->scan.count) return false;
  const struct salvage_island *k = &s->scan.islands[s->scan.count - 1];
  uint64_t end =
      f->sealed ? f->seal.end_offset : src->files[f->next].start.offset;
  if (!k->rolled || k->end_offset > end) return false;
  *base = end - k->end_offset;
  return true;
}

/* Scan the loaded segment; false: nothing says what it begins with. */
bool salvage_scan_segment(struct salvage *s, const struct salvage_file *f) {
  bool started = f->started;
  uint64_t base;
  bool follows = s->rolled.number && s->rolled.number + 1 == f->number;
  if (started && follows && f->start.epoch < s->rolled.epoch) started = false;
  if (started) {
    set_up_scan(s, f, true, f->start.offset, f->start.epoch);
    started = !salvage_start_is_stale(&s->scan);
  }
  if (!started && follows)
    set_up_scan(s, f, false, s->rolled.offset, s->rolled.epoch);
  else if (!started && base_by_end(s, f, &base))
    set_up_scan(s, f, false, base, s->rolled.epoch);
  else if (!started)
    return false;
  salvage_scan_run(&s->scan);
  s->durable = max_u64(s->durable, s->scan.durable);
  s->epoch_max = max_u64(s->epoch_max, s->scan.epoch_max);
  return true;
}

/* Without a start block the seal still says the largest timestamp; with the
 * largest difference to the base this is the base. */
static bool base_time_by_seal(struct salvage *s, const struct salvage_file *f,
                              int64_t *base_time) {
  const struct salvage_scan *x = &s->scan;
  if (!f->sealed || x->count != 1 || !x->islands[0].rolled ||
      x->islands[0].position != SEGMENT_HEADER_BYTES)
    return false;
  struct walk w = salvage_walk_at(x, SEGMENT_HEADER_BYTES, x->islands[0].offset,
                                  x->islands[0].epoch);
  int64_t delta_max = INT64_MIN, time_max = INT64_MIN;
  while (w.position < x->islands[0].end_position) {
    struct frame f_at;
    struct frame_body parts;
    const uint8_t *at = x->bytes + w.position;
    const uint8_t *body = at + FRAME_HEADER_BYTES;
    if (!frame_decode(&f_at, at, w.seed, w.position)) return false;
    if (frame_type(&f_at) == FRAME_RECORD) {
      frame_parse_body(&f_at, body, &parts);
      if (parts.has_time && parts.time > time_max) time_max = parts.time;
      if (!parts.has_time && f_at.time_delta > delta_max)
        delta_max = f_at.time_delta;
    }
    if (!walk_accept(&w, x->uuid, &f_at, body)) return false;
  }
  if (delta_max == INT64_MIN) { /* each says its own */
    *base_time = 0;
    return true;
  }
  *base_time = (int64_t)((uint64_t)f->seal.time_max_ms - (uint64_t)delta_max);
  return time_max < f->seal.time_max_ms;
}

/* Of what follows an island that was copied; or of one that was not. NULL: it
 * has nothing to be copied. */
static const char *why_not(const struct salvage_island *k, bool copied,
                           bool known) {
  if (!copied && k->to > k->from) return known ? order_wrong : time_lost;
  if (k->doubtful) return doubtful;
  if (!copied && k->end_offset > k->offset) return batch_torn;
  if (k->body) return body_damaged;
  return copied ? frames_damaged : NULL;
}

/* Whether an offset behind a hole lies beyond all evidence: opening would cut
 * there. */
static bool is_torn(const struct salvage *s, uint64_t offset) {
  return s->durable < offset || s->durable <= s->next;
}

/* A hole up to the end of a segment: damage only where something behind it had
 * been durable. */
static duralog_error hole_to_end(struct salvage *s,
                                 const struct salvage_file *f,
                                 uint64_t position, const char *why) {
  if (s->durable > s->next)
    return salvage_pend(s, f->name, position,
                        f->sealed ? f->seal.end_position : NONE, why, false);
  s->torn_from_here = true;
  return DURALOG_OK;
}

static duralog_error copy_islands(struct salvage *s,
                                  const struct salvage_file *f) {
  const struct salvage_scan *x = &s->scan;
  uint64_t at = SEGMENT_HEADER_BYTES;
  const char *why = NULL; /* what lies behind `at` is not copied */
  int64_t base_time = f->start.time_ms;
  bool unproven = !x->started && !base_time_by_seal(s, f, &base_time);
  bool known = !unproven || s->options.unproven_times;
  if (unproven) base_time = s->time_ms == INT64_MIN ? 0 : s->time_ms;
  duralog_error error = DURALOG_OK;
  for (size_t i = 0; !error && i < x->count; i++) {
    const struct salvage_island *k = &x->islands[i];
    bool hole = k->from_position > at || k->from > s->next;
    bool copied = k->to > k->from && known && k->from >= s->next &&
                  !((hole || s->torn_from_here) && is_torn(s, k->from));
    if (copied && hole)
      error = salvage_pend(s, f->name, at, k->from_position,
                           why          ? why
                           : x->started ? frames_damaged
                                        : start_damaged,
                           false);
    if (!error && copied) {
      error = copy_island(s, f->name, k, base_time, unproven);
      at = k->to_position;
    }
    if (copied || !why) why = why_not(k, copied, known);
  }
  if (!why) why = x->started ? frames_damaged : start_damaged;
  if (x->cut_short) why = cut_short;
  const struct salvage_island *last = x->count ? &x->islands[x->count - 1] : 0;
  bool ended = last && last->rolled && s->next >= last->end_offset;
  s->rolled = (struct rolled){0, 0, 0};
  if (f->sealed)
    s->rolled = (struct rolled){f->number, f->seal.end_offset, f->seal.epoch};
  else if (last && last->rolled && (ended || x->roll_check))
    s->rolled = (struct rolled){f->number, last->end_offset, last->end_epoch};
  return error || ended ? error : hole_to_end(s, f, at, why);
}

/* A file that is no segment of this log, or not one that can be made out. */
duralog_error salvage_keep_file(struct salvage *s,
                                const struct salvage_file *f) {
  duralog_error error = salvage_source_load(&s->source, f);
  return error ? error : damage_at(s, f->name, 0, NONE, f->trouble);
}

/* Made before it was needed, and never used. */
static bool is_spare(const struct salvage *s, const struct salvage_file *f) {
  return !f->started && !f->sealed && f->next == s->source.segments &&
         s->source.data_end <= SEGMENT_HEADER_BYTES && !f->page_damaged;
}

duralog_error salvage_newer(struct salvage *s, const struct salvage_file *f) {
  return opening_fail_segment(
      &s->source.opening, f->name,
      &(struct segment_failure){.newer = true,
                                .position = s->scan.newer_position,
                                .text = "a frame of a newer release"});
}

duralog_error salvage_segment(struct salvage *s, const struct salvage_file *f) {
  duralog_error error = DURALOG_OK;
  if (f->number > s->number_last + 1)
    error = salvage_pend(s, s->number_last + 1, 0, 0, SALVAGE_MISSING, true);
  s->number_last = f->number;
  if (!error) error = salvage_source_load(&s->source, f);
  if (error) return error;
  s->report.segments_read++;
  bool known = salvage_scan_segment(s, f);
  if (known && s->scan.newer) return salvage_newer(s, f);
  /* As for recovery, a file that is not what it should be is damage, whatever
   * the watermarks say: what was in it, nobody knows. */
  bool lost = f->size < f->bytes || s->source.size == 0 ||
              (f->unidentified && !f->started);
  if (f->trouble && !lost)
    error = damage_at(s, f->name, 0, SEGMENT_HEADER_BYTES, f->trouble);
  else if (f->page_damaged || (f->started && !(known && s->scan.started)))
    error = damage_at(s, f->name, 0, SEGMENT_HEADER_BYTES, page_damaged);
  if (error || (is_spare(s, f) && !lost)) return error;
  if (!known) s->rolled.number = 0;
  error = known ? copy_islands(s, f)
                : hole_to_end(s, f, SEGMENT_HEADER_BYTES, start_damaged);
  if (!error && lost)
    error = salvage_pend(s, f->name, s->source.size, s->source.size, f->trouble,
                         true);
  return error;
}
