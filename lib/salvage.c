/* SPDX-License-Identifier: MIT
 *
 * Salvage: copies out what is provable, never invents, and flags every gap.
 *
 * Segment by segment, in the order of their numbers: load it, scan it, copy the
 * islands that count. What lies between two of them is a hole; it becomes a gap
 * when the next record is known to have a higher offset, and damage that cost
 * no record otherwise. Its bytes are kept.
 *
 * Behind a hole nothing counts that lies beyond all evidence of durability:
 * that is a torn tail, which opening would cut. A file that is missing or not
 * what it should be is damage in any case, as for recovery.
 */
#include "salvage.h"

#include <errno.h>

/* What lies behind the last record copied, until it is known what it cost. */
struct pending {
  bool there;
  bool file; /* a file is missing or not what it should be: no torn tail */
  duralog_salvage_item item;
};

/* The ROLL with which a segment ended. */
struct rolled {
  uint64_t number; /* 0: none */
  uint64_t offset, epoch;
};

struct salvage {
  io_env *io;
  duralog_salvage_options options;
  duralog_salvage_report report;
  struct salvage_source source;
  struct salvage_out out;
  struct salvage_scan scan;
  struct salvage_island *islands;

  uint64_t next;    /* offset behind the last record copied */
  uint64_t durable; /* the largest claim there is */
  uint64_t epoch_max;
  int64_t time_ms;     /* the latest copied */
  bool torn_from_here; /* a hole was met: what follows needs evidence */
  struct pending pending;
  struct rolled rolled;
  uint64_t number_last; /* the segment before */
};

static const char missing[] = "a segment file is missing";
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
    "records "
    "were appended";
static const char page_damaged[] = "a block of a header page is damaged";
static const char meta_damaged[] = "the meta file is damaged, or another log's";
static const char meta_missing[] = "the meta file is missing";
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

static duralog_error tell_damage(struct salvage *s,
                                 duralog_salvage_item *item) {
  item->kind = DURALOG_SALVAGE_DAMAGE;
  item->from = item->to = s->next;
  return tell(s, item);
}

static duralog_error damage(struct salvage *s, uint64_t name, uint64_t position,
                            uint64_t end, const char *reason) {
  duralog_salvage_item item;
  duralog_error error = make_item(s, name, position, end, reason, &item);
  return error ? error : tell_damage(s, &item);
}

/* What cannot be copied: what it cost is told by what comes next. */
static duralog_error pend(struct salvage *s, uint64_t name, uint64_t position,
                          uint64_t end, const char *reason, bool file) {
  duralog_salvage_item item;
  duralog_error error = make_item(s, name, position, end, reason, &item);
  if (!file) s->torn_from_here = true;
  if (error) return error;
  if (s->pending.there && !(file && !s->pending.file))
    return tell_damage(s, &item); /* the first one stands for the gap */
  if (s->pending.there) error = tell_damage(s, &s->pending.item);
  s->pending = (struct pending){true, file, item};
  return error;
}

/* The next record that is there has this offset. */
static duralog_error settle_gap(struct salvage *s, uint64_t offset) {
  struct pending p = s->pending;
  s->pending.there = s->torn_from_here = false;
  if (offset <= s->next) return p.there ? tell_damage(s, &p.item) : DURALOG_OK;
  if (!p.there)
    p.item = (duralog_salvage_item){
        .segment = s->number_last, .reason = never_found, .evidence = NONE};
  p.item.kind = DURALOG_SALVAGE_GAP;
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
  duralog_error error = settle_gap(s, k->from);
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
static bool scan_segment(struct salvage *s, const struct salvage_file *f) {
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
    return pend(s, f->name, position, f->sealed ? f->seal.end_position : NONE,
                why, false);
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
      error = pend(s, f->name, at, k->from_position,
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
static duralog_error keep_file(struct salvage *s,
                               const struct salvage_file *f) {
  duralog_error error = salvage_source_load(&s->source, f);
  return error ? error : damage(s, f->name, 0, NONE, f->trouble);
}

/* Made before it was needed, and never used. */
static bool is_spare(const struct salvage *s, const struct salvage_file *f) {
  return !f->started && !f->sealed && f->next == s->source.segments &&
         s->source.data_end <= SEGMENT_HEADER_BYTES && !f->page_damaged;
}

static duralog_error newer(struct salvage *s, const struct salvage_file *f) {
  return opening_fail_segment(
      &s->source.opening, f->name,
      &(struct segment_failure){.newer = true,
                                .position = s->scan.newer_position,
                                .text = "a frame of a newer release"});
}

static duralog_error salvage_segment(struct salvage *s,
                                     const struct salvage_file *f) {
  duralog_error error = DURALOG_OK;
  if (f->number > s->number_last + 1)
    error = pend(s, s->number_last + 1, 0, 0, missing, true);
  s->number_last = f->number;
  if (!error) error = salvage_source_load(&s->source, f);
  if (error) return error;
  s->report.segments_read++;
  bool known = scan_segment(s, f);
  if (known && s->scan.newer) return newer(s, f);
  /* As for recovery, a file that is not what it should be is damage, whatever
   * the watermarks say: what was in it, nobody knows. */
  bool lost = f->size < f->bytes || s->source.size == 0 ||
              (f->unidentified && !f->started);
  if (f->trouble && !lost)
    error = damage(s, f->name, 0, SEGMENT_HEADER_BYTES, f->trouble);
  else if (f->page_damaged)
    error = damage(s, f->name, 0, SEGMENT_HEADER_BYTES, page_damaged);
  if (error || (is_spare(s, f) && !lost)) return error;
  if (!known) s->rolled.number = 0;
  error = known ? copy_islands(s, f)
                : hole_to_end(s, f, SEGMENT_HEADER_BYTES, start_damaged);
  if (!error && lost)
    error = pend(s, f->name, s->source.size, s->source.size, f->trouble, true);
  return error;
}

/* ---- all of it ---- */

/* What the frames of the unsealed part claim; header pages have been read. */
static duralog_error weigh(struct salvage *s) {
  struct salvage_source *src = &s->source;
  size_t first = src->segments;
  while (first && !src->files[first - 1].sealed) first--;
  s->durable = src->durable;
  if (first)
    s->rolled = (struct rolled){src->files[first - 1].number,
                                src->files[first - 1].seal.end_offset,
                                src->files[first - 1].seal.epoch};
  if (src->meta_valid)
    s->durable = max_u64(s->durable, src->opening.meta.accepted_offset);
  for (size_t i = first; i < src->segments; i++) {
    duralog_error error = salvage_source_load(src, &src->files[i]);
    if (error) return error;
    if (!scan_segment(s, &src->files[i])) {
      s->rolled.number = 0;
      continue;
    }
    if (s->scan.newer) return newer(s, &src->files[i]);
    s->rolled.number = 0;
    if (s->scan.count == 0) continue;
    const struct salvage_island *k = &s->scan.islands[s->scan.count - 1];
    if (k->rolled)
      s->rolled =
          (struct rolled){src->files[i].number, k->end_offset, k->end_epoch};
  }
  s->rolled = (struct rolled){0, 0, 0};
  return DURALOG_OK;
}

/* Where the log begins: at 0, unless its oldest segments were removed. */
static void find_start(struct salvage *s) {
  const struct salvage_source *src = &s->source;
  uint64_t first = src->opening.meta.first_segment;
  struct meta *meta = &s->out.opening.meta;
  size_t i = 0;
  while (i < src->segments && src->files[i].number < first) i++;
  bool removed = first > SEGMENT_NUMBER_FIRST && i < src->segments &&
                 src->files[i].number == first && src->files[i].started;
  s->next = removed ? src->files[i].start.offset : 0;
  s->number_last = first - 1;
  meta->first_segment = SEGMENT_NUMBER_FIRST + (removed ? 1 : 0);
  s->out.number = meta->first_segment - 1;
  s->report.start = s->next;
  for (size_t j = 0; j < src->segments; j++)
    s->out.bytes_max =
        max_u64(s->out.bytes_max, align_up(src->files[j].bytes, 4096));
  s->out.bytes_max = min_u64(s->out.bytes_max, SEGMENT_BYTES_MAX);
}

static duralog_error tell_of_meta(struct salvage *s) {
  struct salvage_source *src = &s->source;
  duralog_salvage_item item = {
      .position_end = src->meta_there ? META_BYTES : 0,
      .reason = src->meta_there ? meta_damaged : meta_missing,
      .evidence = NONE};
  duralog_error error = DURALOG_OK;
  if (src->meta_valid) return DURALOG_OK;
  if (src->meta_there) {
    s->report.evidence_bytes += META_BYTES;
    error =
        salvage_out_keep(&s->out, src->meta_bytes, META_BYTES, &item.evidence);
  }
  return error ? error : tell_damage(s, &item);
}

/* The end: what was durable and is not there; a file that should follow. */
static duralog_error settle_end(struct salvage *s) {
  struct salvage_source *src = &s->source;
  const struct salvage_file *last =
      src->segments ? &src->files[src->segments - 1] : NULL;
  duralog_error error = DURALOG_OK;
  salvage_source_unload(src);
  if (last && (s->rolled.number == last->number || last->sealed) &&
      last->number == s->number_last)
    error = pend(s, last->number + 1, 0, 0, missing, true);
  if (!error && s->durable > s->next) error = settle_gap(s, s->durable);
  if (error || !s->pending.there || !s->pending.file) return error;
  /* Where the writer closed the log here, nothing was in that file. */
  bool closed = src->newest.clean && src->newest.durable == s->next;
  return closed ? tell_damage(s, &s->pending.item) : settle_gap(s, NONE);
}

static duralog_error salvage_all(struct salvage *s) {
  struct salvage_source *src = &s->source;
  duralog_error error = weigh(s);
  find_start(s);
  if (!error) error = salvage_out_open(&s->out);
  if (!error) error = tell_of_meta(s);
  for (size_t i = 0; !error && i < src->count; i++) {
    const struct salvage_file *f = &src->files[i];
    if (f->number == 0)
      error = keep_file(s, f);
    else if (f->number >= src->opening.meta.first_segment)
      error = salvage_segment(s, f);
  }
  if (!error) error = settle_end(s);
  if (!error) error = salvage_source_idle(src);
  if (error) return error;
  struct meta *meta = &s->out.opening.meta;
  meta->accepted_segment = s->report.gaps > 0; /* its number comes at the end */
  meta->accepted_offset = s->report.gaps ? s->next : 0;
  meta->accepted_epoch = s->report.gaps ? s->epoch_max : 0;
  s->report.end = s->next;
  s->report.unreadable_bytes = src->unreadable_bytes;
  s->report.open_failures = src->open_failures;
  s->report.segments_written = s->out.number - meta->first_segment + 1;
  memcpy(s->report.uuid_from, src->log.directory.uuid, 16);
  memcpy(s->report.uuid, s->out.log.directory.uuid, 16);
  return salvage_out_done(&s->out, &s->report);
}

static duralog_error salvage_run(struct salvage *s) {
  const uint8_t *uuid = s->options.has_uuid ? s->options.uuid : NULL;
  s->source.log.directory.handle = s->out.log.directory.handle = -1;
  s->out.segment.file = s->out.evidence.file = s->out.report.file = -1;
  s->time_ms = INT64_MIN;
  s->islands = s->io->alloc(s->io, SALVAGE_ISLANDS_MAX * sizeof *s->islands);
  duralog_error error =
      s->islands ? salvage_source_open(&s->source, uuid)
                 : opening_fail(&s->source.opening, DURALOG_E_RESOURCES, ENOMEM,
                                NULL, "no memory for salvage");
  if (!error) error = salvage_all(s);
  salvage_out_close(&s->out, !error);
  salvage_source_close(&s->source);
  if (s->islands) s->io->free(s->io, s->islands);
  return error;
}

static const char *check_arguments(const char *from, const char *to,
                                   const duralog_salvage_options *options,
                                   const duralog_salvage_report *report,
                                   const duralog_diagnostic *diagnostic) {
  if (!from || !*from || !to || !*to) return "two paths are required";
  if (strcmp(from, to) == 0) return "the copy cannot be where the log is";
  if ((options && options->struct_size != sizeof *options) ||
      (report && report->struct_size != sizeof *report) ||
      (diagnostic && diagnostic->struct_size != sizeof *diagnostic))
    return "struct_size is not one that this release knows";
  if (options && options->file_mode > 0777)
    return "file_mode: permission bits only";
  return NULL;
}

duralog_error duralog_salvage(const char *from, const char *to,
                              const duralog_salvage_options *options,
                              duralog_salvage_report *report,
                              duralog_diagnostic *diagnostic) {
  const char *problem = check_arguments(from, to, options, report, diagnostic);
  struct opening o = {.path = from ? from : "", .diagnostic = diagnostic};
  if (problem) return opening_fail(&o, DURALOG_E_ARGUMENT, 0, NULL, problem);
  io_env *io =
      options && options->environment ? options->environment : io_posix();
  struct salvage *s = io->alloc(io, sizeof *s);
  if (!s)
    return opening_fail(&o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                        "no memory for salvage");
  s->io = s->source.log.io = s->out.log.io = io;
  if (options) s->options = *options;
  s->report.struct_size = sizeof s->report;
  s->source.opening = o;
  s->source.opening.log = &s->source.log;
  s->out.opening = (struct opening){
      .path = to, .diagnostic = diagnostic, .log = &s->out.log};
  s->out.opening.options.file_mode =
      s->options.file_mode ? s->options.file_mode : 0600;
  duralog_error error = salvage_run(s);
  if (!error && report) *report = s->report;
  io->free(io, s);
  return error;
}
