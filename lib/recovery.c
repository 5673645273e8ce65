/* SPDX-License-Identifier: MIT */
#include "recovery.h"

/* Epochs that frames behind a cut may have been written in. */
struct epochs {
  uint64_t list[32];
  uint64_t seeds[32]; /* for segment `number` */
  uint64_t number;
  size_t count;
};

struct recovering {
  const struct recovery_input *in;
  struct recovery_plan *plan;
  size_t view;       /* being walked */
  struct walk w;     /* at the frame looked at */
  struct walk whole; /* behind the last whole batch */
  size_t whole_view;
  bool whole_started;
  uint32_t whole_check;
  uint64_t record_epoch, whole_record_epoch; /* of the last record */
  bool chained; /* whether the next segment must follow `check` */
  uint32_t check;
  size_t resume_view; /* the first that the walk has not been in */
  bool lost; /* a file is missing, damaged as a whole, or not the one that
              * should follow: damage, whatever the watermarks say */
};

enum stop {
  STOP_ROLL,    /* the segment ends here; the next one is up */
  STOP_INVALID, /* no frame, or one that may not stand here */
  STOP_BODY,    /* a record's frame whose body is not the one it was made for */
  STOP_NEWER
};

static void claim(struct recovering *r, uint64_t durable) {
  r->plan->durable = max_u64(r->plan->durable, durable);
}

static void saw_epoch(struct recovering *r, uint64_t epoch) {
  r->plan->epoch_max = max_u64(r->plan->epoch_max, epoch);
}

static void keep_whole(struct recovering *r, bool started) {
  r->whole = r->w;
  r->whole_view = r->view;
  r->whole_started = started;
  r->whole_check = r->check;
  r->whole_record_epoch = r->record_epoch;
}

/* ---- walking forward ---- */

static int64_t record_time(const struct walk *w, const struct frame *f,
                           const uint8_t *body) {
  struct frame_body parts = {0};
  if (UNLIKELY(f->flags & FRAME_TIME)) frame_parse_body(f, body, &parts);
  return walk_time(w, f, &parts);
}

static void note_roll(struct recovering *r, const struct walk *w,
                      uint32_t check) {
  struct seal *end = &r->in->ends[r->view];
  end->end_offset = w->offset;
  end->end_position = w->position;
  end->epoch = w->epoch;
  end->last_check = check;
}

/* What changes with each record, kept out of memory: that was a third of the
 * walk. `kept` is the state where an open batch began, taken then and not
 * behind every whole one. */
struct tally {
  struct walk w;
  uint64_t record_epoch;
  int64_t time_max_ms;
};

static enum stop walk_frames(struct recovering *r) {
  const struct recovery_view *view = &r->in->views[r->view];
  const uint8_t *uuid = r->in->uuid;
  struct seal *end = &r->in->ends[r->view];
  struct tally now = {r->w, r->record_epoch, end->time_max_ms}, kept = now;
  const uint64_t from = now.w.position;
  uint64_t durable = 0;
  struct frame f;
  bool in_batch = false;
  enum stop stop = STOP_INVALID;
  while (walk_has_room(&now.w)) {
    const uint8_t *at = view->bytes + now.w.position;
    const uint8_t *body = at + FRAME_HEADER_BYTES;
    enum walk_result result = walk_header(&now.w, at, &f);
    if (UNLIKELY(result != WALK_OK)) {
      if (result == WALK_NEWER) stop = STOP_NEWER;
      break;
    }
    if (UNLIKELY(in_batch && frame_type(&f) != FRAME_RECORD)) break;
    if (UNLIKELY(!frame_body_valid(&f, body))) {
      if (frame_type(&f) == FRAME_RECORD) stop = STOP_BODY;
      break;
    }
    if (f.lag != FRAME_LAG_UNKNOWN && now.w.offset >= f.lag)
      durable = max_u64(durable, now.w.offset - f.lag);
    bool more = (f.flags & FRAME_MORE) != 0;
    if (UNLIKELY(more && !in_batch)) kept = now;
    if (LIKELY(frame_type(&f) == FRAME_RECORD)) {
      int64_t time = record_time(&now.w, &f, body);
      if (time > now.time_max_ms) now.time_max_ms = time;
      now.record_epoch = now.w.epoch;
    }
    if (UNLIKELY(!walk_accept(&now.w, uuid, &f, body))) break;
    in_batch = more;
    if (UNLIKELY(frame_type(&f) == FRAME_ROLL)) {
      r->check = f.check;
      note_roll(r, &now.w, f.check);
      stop = STOP_ROLL;
      break;
    }
  }
  claim(r, durable);
  r->plan->bytes_walked += now.w.position - from;
  if (!in_batch) kept = now;
  end->time_max_ms = kept.time_max_ms;
  r->w = kept.w;
  r->record_epoch = kept.record_epoch;
  keep_whole(r, true);
  r->w = now.w;
  r->record_epoch = now.record_epoch;
  saw_epoch(r, now.w.epoch);
  return stop;
}

/* Whether the view is a file of this log at all, whole and in its place. */
static enum block_state view_identity(const struct recovery_input *in,
                                      const struct recovery_view *view) {
  struct identity id;
  if (!view->bytes || view->size < SEGMENT_HEADER_BYTES) return BLOCK_DAMAGED;
  enum block_state state = identity_decode(&id, view->bytes);
  if (state != BLOCK_VALID) return state;
  bool ours = memcmp(id.uuid, in->uuid, 16) == 0 && id.number == view->number &&
              id.bytes == view->size;
  return ours ? BLOCK_VALID : BLOCK_DAMAGED;
}

static enum block_state view_start(const struct recovery_input *in,
                                   const struct recovery_view *view,
                                   struct start *s) {
  return start_decode(s, view->bytes, in->uuid, view->number);
}

/* Enter the view that is up. False: the log goes no further. */
static bool enter_view(struct recovering *r, enum stop *stop) {
  const struct recovery_view *view = &r->in->views[r->view];
  struct start s;
  *stop = STOP_INVALID;
  r->resume_view = r->view;
  enum block_state identity = view_identity(r->in, view);
  if (identity == BLOCK_NEWER) *stop = STOP_NEWER;
  if (identity == BLOCK_DAMAGED || identity == BLOCK_EMPTY) r->lost = true;
  if (identity != BLOCK_VALID) return false;
  enum block_state started = view_start(r->in, view, &s);
  if (started != BLOCK_VALID) { /* the log goes on here, from the beginning */
    r->w = (struct walk){.segment = view->number,
                         .bytes = view->size,
                         .base = r->w.offset,
                         .offset = r->w.offset,
                         .epoch = r->w.epoch,
                         .position = SEGMENT_HEADER_BYTES};
    keep_whole(r, false);
    return false;
  }
  if (s.epoch < r->w.epoch || (r->chained && (s.offset != r->w.offset ||
                                              s.previous_check != r->check))) {
    r->lost = true;
    return false;
  }
  r->resume_view = r->view + 1;
  walk_begin(&r->w, r->in->uuid, view->number, view->size, &s);
  r->chained = true;
  r->plan->bytes_walked += SEGMENT_HEADER_BYTES;
  r->plan->segments_walked++;
  claim(r, s.durable);
  saw_epoch(r, s.epoch);
  keep_whole(r, true);
  return true;
}

/* Walk on through rolls until something stops it. */
static enum stop walk_views(struct recovering *r) {
  for (;;) {
    enum stop stop = walk_frames(r);
    if (stop != STOP_ROLL) return stop;
    r->view++;
    r->resume_view = r->view;
    if (r->view == r->in->count) { /* files are made before they are needed */
      r->lost = true;
      return STOP_INVALID;
    }
    if (!enter_view(r, &stop)) return stop;
  }
}

/* ---- evidence ---- */

/* When there are too many the lowest goes: frames ascend. */
static void epochs_add(const struct recovering *r, struct epochs *e,
                       uint64_t epoch) {
  size_t at = e->count, lowest = 0;
  for (size_t i = 0; i < e->count; i++) {
    if (e->list[i] == epoch) return;
    if (e->list[i] < e->list[lowest]) lowest = i;
  }
  if (at == sizeof e->list / sizeof *e->list) {
    if (epoch < e->list[lowest]) return;
    at = lowest;
  } else {
    e->count++;
  }
  e->list[at] = epoch;
  e->seeds[at] = frame_seed(r->in->uuid, e->number, epoch);
}

static void epochs_for_segment(const struct recovering *r, struct epochs *e,
                               uint64_t number) {
  e->number = number;
  for (size_t i = 0; i < e->count; i++)
    e->seeds[i] = frame_seed(r->in->uuid, number, e->list[i]);
}

static void weigh_marks(struct recovering *r, const struct recovery_view *view,
                        struct epochs *epochs) {
  struct mark m;
  for (int slot = 0; slot < 2; slot++) {
    if (mark_decode(&m, view->bytes, slot, r->in->uuid, view->number) !=
        BLOCK_VALID)
      continue;
    claim(r, m.durable);
    saw_epoch(r, m.epoch);
    epochs_add(r, epochs, m.epoch);
  }
}

struct scan {
  uint64_t from, to; /* byte positions */
  uint64_t base;     /* offset of the segment's first record, if known */
  bool base_known;
  /* Of its first frame: an older one was left by a life of the file in which
   * offsets counted from elsewhere. */
  uint64_t epoch_min;
};

static void weigh_header(struct recovering *r, const struct recovery_view *view,
                         uint64_t at, const struct scan *scan,
                         struct epochs *epochs) {
  const uint8_t *header = view->bytes + at;
  struct frame f;
  for (size_t i = 0; i < epochs->count; i++) {
    if (epochs->list[i] < scan->epoch_min ||
        !frame_decode(&f, header, epochs->seeds[i], at))
      continue;
    if (frame_type(&f) == FRAME_EPOCH &&
        f.body_bytes == FRAME_EPOCH_BODY_BYTES &&
        at + FRAME_HEADER_BYTES + FRAME_EPOCH_BODY_BYTES <= view->size &&
        frame_body_valid(&f, header + FRAME_HEADER_BYTES)) {
      epochs_add(r, epochs, load64(header + FRAME_HEADER_BYTES));
      saw_epoch(r, load64(header + FRAME_HEADER_BYTES));
    }
    if (scan->base_known && f.lag != FRAME_LAG_UNKNOWN &&
        scan->base + f.index >= f.lag)
      claim(r, scan->base + f.index - f.lag);
    return;
  }
}

/* Look at [from, to) for headers that prove themselves; gives the position
 * behind the last byte that is not zero. */
static uint64_t scan_view(struct recovering *r,
                          const struct recovery_view *view,
                          const struct scan *scan, struct epochs *epochs) {
  uint64_t last = scan->from;
  uint64_t at = align_up(scan->from, FRAME_ALIGNMENT);
  while (at + FRAME_HEADER_BYTES <= scan->to) {
    if (load64(view->bytes + at) == 0) { /* no header begins so */
      uint64_t zeros = zero_run(view->bytes + at, scan->to - at);
      at += zeros & ~(uint64_t)(FRAME_ALIGNMENT - 1);
      continue;
    }
    last = at + 8;
    if (frame_may_be_header(view->bytes + at, view->size - at))
      weigh_header(r, view, at, scan, epochs);
    at += FRAME_ALIGNMENT;
  }
  for (; at < scan->to; at++)
    if (view->bytes[at]) last = at + 1;
  return last;
}

static bool data_begins_zero(const struct recovery_view *view) {
  uint64_t end = min_u64(view->size, SEGMENT_HEADER_BYTES + 8192);
  return all_zero(view->bytes + SEGMENT_HEADER_BYTES,
                  end - SEGMENT_HEADER_BYTES);
}

/* Whether the newest mark of the file that the log ends in says that it was
 * closed right there. A mark is taken away, durably, before anything else is
 * stored: so nothing follows then, whatever an older cut left behind. A damaged
 * mark beside it might be a newer one. */
static bool ends_clean(const struct recovering *r,
                       const struct recovery_view *view) {
  const struct recovery_input *in = r->in;
  struct mark m = mark_newest(view->bytes, in->uuid, view->number), other;
  return m.sequence != 0 && m.clean && m.durable == r->whole.offset &&
         m.epoch == r->whole.epoch &&
         mark_decode(&other, view->bytes, (int)((m.sequence + 1) % 2), in->uuid,
                     view->number) != BLOCK_DAMAGED;
}

/* Everything behind the stop, in this and all later files. */
static void weigh_rest(struct recovering *r) {
  const struct recovery_input *in = r->in;
  enum { EPOCHS_AHEAD = 8 }; /* an EPOCH frame may be what is damaged */
  struct epochs epochs = {.count = 0};
  for (uint64_t ahead = 0; ahead <= EPOCHS_AHEAD; ahead++)
    epochs_add(r, &epochs, r->w.epoch + ahead);
  r->plan->torn_bytes = 0;
  uint64_t base = r->whole.offset; /* of a first segment without a start */
  bool base_known = !r->whole_started;
  for (size_t i = 0; i < in->count; i++) {
    const struct recovery_view *view = &in->views[i];
    if (!view->bytes || view->size < SEGMENT_HEADER_BYTES) continue;
    epochs_for_segment(r, &epochs, view->number);
    weigh_marks(r, view, &epochs);
    struct start s;
    enum block_state started = view_start(in, view, &s);
    if (started == BLOCK_VALID) {
      claim(r, s.durable);
      saw_epoch(r, s.epoch);
      epochs_add(r, &epochs, s.epoch);
    }
    bool cut_here = i == r->whole_view && r->whole_started;
    if (i < r->whole_view || (cut_here && ends_clean(r, view))) continue;
    if (!cut_here && started == BLOCK_EMPTY && data_begins_zero(view)) continue;
    struct scan scan = {
        .from = cut_here ? r->whole.position : SEGMENT_HEADER_BYTES,
        .to = min_u64(view->data_end, view->size),
        .base = started == BLOCK_VALID ? s.offset : base,
        .epoch_min = started == BLOCK_VALID ? s.epoch : r->whole.epoch,
        .base_known =
            started == BLOCK_VALID || (base_known && i == r->whole_view)};
    if (scan.to > scan.from)
      r->plan->torn_bytes += scan_view(r, view, &scan, &epochs) - scan.from;
  }
}

/* ---- damage ---- */

static void add_damage(struct recovering *r, duralog_damage damage) {
  struct recovery_plan *plan = r->plan;
  if (plan->damage_count < sizeof plan->damage / sizeof *plan->damage)
    plan->damage[plan->damage_count] = damage;
  plan->damage_count++;
  plan->verdict = RECOVERY_DAMAGED;
}

/* What cannot be read from the walk's place on, up to the offset `to`. */
static void add_damage_here(struct recovering *r, uint64_t to) {
  const struct recovery_input *in = r->in;
  bool there = r->view < in->count;
  bool inside = there && in->views[r->view].number == r->w.segment;
  add_damage(r, (duralog_damage){.from = r->w.offset,
                                 .to = to,
                                 .segment = there ? in->views[r->view].number
                                                  : r->w.segment + 1,
                                 .position = inside ? r->w.position : 0});
}

static void resume_in(struct recovering *r, size_t i, const struct start *s) {
  const struct recovery_view *view = &r->in->views[i];
  r->view = i;
  r->resume_view = i + 1;
  walk_begin(&r->w, r->in->uuid, view->number, view->size, s);
  r->plan->segments_walked++;
  keep_whole(r, true);
}

/* Behind a damaged place, go on where checksums prove the framing again: at
 * the next frame if only a body is damaged, otherwise at the next segment. */
static bool resume(struct recovering *r, enum stop stop) {
  const struct recovery_input *in = r->in;
  r->lost = false;
  if (stop == STOP_BODY) {
    const uint8_t *at = in->views[r->view].bytes + r->w.position;
    struct frame f;
    frame_decode(&f, at, r->w.seed, r->w.position);
    add_damage_here(r, r->w.offset + 1);
    walk_accept(&r->w, in->uuid, &f, at + FRAME_HEADER_BYTES);
    keep_whole(r, true);
    return true;
  }
  for (size_t i = r->resume_view; i < in->count; i++) {
    struct start s;
    if (view_identity(in, &in->views[i]) != BLOCK_VALID ||
        view_start(in, &in->views[i], &s) != BLOCK_VALID ||
        s.offset < r->w.offset || s.epoch < r->w.epoch)
      continue;
    add_damage_here(r, s.offset);
    resume_in(r, i, &s);
    return true;
  }
  add_damage_here(r, max_u64(r->plan->durable, r->w.offset));
  r->resume_view = max_u64(r->resume_view, r->view + 1); /* it is reported */
  r->whole.offset = max_u64(r->plan->durable, r->w.offset);
  return false;
}

/* A segment file gets its name when its header is durable, so that a bad one
 * is damage even where the walk did not come. */
static void report_bad_files(struct recovering *r) {
  const struct recovery_input *in = r->in;
  for (size_t i = r->resume_view; i < in->count; i++) {
    enum block_state state = view_identity(in, &in->views[i]);
    if (state == BLOCK_NEWER) r->plan->verdict = RECOVERY_NEWER;
    if (state == BLOCK_DAMAGED || state == BLOCK_EMPTY)
      add_damage(r, (duralog_damage){.from = r->whole.offset,
                                     .to = r->whole.offset,
                                     .segment = in->views[i].number,
                                     .position = 0});
  }
}

static void finish(struct recovering *r) {
  const struct recovery_input *in = r->in;
  struct recovery_plan *plan = r->plan;
  plan->end = r->whole;
  plan->end_view = r->whole_view;
  plan->end_started = r->whole_started;
  plan->last_check = r->whole_check;
  plan->record_epoch = r->whole_record_epoch;
  if (plan->verdict != RECOVERY_OK) plan->torn_bytes = 0;
  if (r->whole_view >= in->count) return;
  const struct recovery_view *view = &in->views[r->whole_view];
  if (view_identity(in, view) != BLOCK_VALID) return;
  struct mark m = mark_newest(view->bytes, in->uuid, view->number);
  plan->marked_clean = m.sequence != 0 && m.clean;
  plan->clean = plan->verdict == RECOVERY_OK && ends_clean(r, view);
  if (plan->clean) plan->torn_bytes = 0;
  struct start s;
  if (m.sequence != 0)
    memcpy(plan->boot_id, m.boot_id, sizeof plan->boot_id);
  else if (view_start(in, view, &s) == BLOCK_VALID)
    memcpy(plan->boot_id, s.boot_id, sizeof plan->boot_id);
}

void recovery_plan(const struct recovery_input *in,
                   struct recovery_plan *plan) {
  *plan = (struct recovery_plan){.verdict = RECOVERY_OK,
                                 .durable = in->from.offset,
                                 .epoch_max = in->from.epoch};
  struct recovering r = {.in = in,
                         .plan = plan,
                         .w = {.segment = in->from.segment,
                               .offset = in->from.offset,
                               .base = in->from.offset,
                               .epoch = in->from.epoch},
                         .check = in->from.check,
                         .record_epoch = in->from.epoch,
                         .chained = !in->from.unknown};
  enum stop stop = STOP_INVALID;
  for (size_t i = 0; i < in->count; i++)
    in->ends[i] = (struct seal){.time_max_ms = INT64_MIN};
  keep_whole(&r, false);
  if (in->count == 0) r.lost = true; /* what is sealed has a successor */
  if (in->count > 0 && enter_view(&r, &stop)) stop = walk_views(&r);
  if (in->writer_lives) {
    if (stop == STOP_NEWER) plan->verdict = RECOVERY_NEWER;
    finish(&r);
    return;
  }
  weigh_rest(&r);
  while (stop != STOP_NEWER && (r.lost || plan->durable > r.whole.offset)) {
    bool moved = stop != STOP_BODY;
    if (!resume(&r, stop)) break;
    size_t view = r.view;
    stop = walk_views(&r);
    /* In another segment more can be weighed: offsets are known again. */
    if (moved || r.view != view) weigh_rest(&r);
  }
  report_bad_files(&r);
  if (stop == STOP_NEWER) plan->verdict = RECOVERY_NEWER;
  finish(&r);
}
