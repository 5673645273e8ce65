/* SPDX-License-Identifier: MIT
 *
 * Reading.
 *
 * A reader walks the frames below its watermark, which were complete before
 * the watermark moved, and verifies each before it gives it out. It pins the
 * segment it is in; everything it has given out since the last call lies
 * there, or in its own buffer where reads copy.
 *
 * Where a body is damaged only that record is lost, since the header still
 * frames it. Where a header is damaged nothing more of that segment is served
 * (what looks like a frame further on might be somebody's payload): the range
 * reaches to the next segment, whose start block proves its first offset.
 */
#include "reader.h"

#include <errno.h>

enum { COPY_BYTES = 64 << 10 };

struct duralog_held {
  struct duralog *log;
  struct segment *segment; /* pinned; NULL where the bytes follow */
  uint8_t bytes[];
};

/* ---- failures ---- */

static duralog_error reader_fail(struct duralog_reader *r, duralog_error error,
                                 int os_error, uint64_t segment,
                                 uint64_t position, const char *text) {
  char name[NAME_BYTES];
  segment_name(name, segment);
  r->diagnostic.struct_size = sizeof r->diagnostic;
  diagnostic_fill(&r->diagnostic, error, os_error, position, name, text);
  log_fail(r->log, error, os_error, position, name, text);
  r->placed = false;
  return error;
}

static duralog_error damaged(struct duralog_reader *r, uint64_t from,
                             uint64_t to, uint64_t segment, uint64_t position,
                             const char *text) {
  r->damaged = true;
  r->damage = (duralog_damage){
      .from = from, .to = to, .segment = segment, .position = position};
  return reader_fail(r, DURALOG_E_CORRUPT, 0, segment, position, text);
}

/* A segment may be whole, and cannot be opened now. */
static duralog_error not_now(struct duralog_reader *r, uint64_t number,
                             const struct segment_failure *why) {
  return reader_fail(r, error_while_open(why->os_error), why->os_error, number,
                     why->position, why->text);
}

/* Nothing more of this segment can be served: where does the next one begin? */
static duralog_error damaged_to_next(struct duralog_reader *r, uint64_t from,
                                     uint64_t segment, uint64_t position,
                                     const char *text) {
  struct duralog *log = r->log;
  struct segment *next;
  struct segment_failure why;
  uint64_t to = atomic_load(&log->end);
  uint64_t number = segment;
  for (;;) {
    enum catalog_result result =
        catalog_next(&log->catalog, &log->directory, number, &next, &why);
    if (result == CATALOG_FAILED) return not_now(r, number + 1, &why);
    if (result != CATALOG_OK) break;
    uint64_t base = next->start.offset;
    number = next->number;
    catalog_unpin(&log->catalog, &log->directory, next);
    if (base <= from) continue; /* it does not help */
    to = min_u64(to, base);
    break;
  }
  return damaged(r, from, to, segment, position, text);
}

static duralog_error pin_failed(struct duralog_reader *r,
                                enum catalog_result result, uint64_t number,
                                const struct segment_failure *why) {
  switch (result) {
    case CATALOG_NEWER:
      return reader_fail(r, DURALOG_E_NEWER, 0, number, why->position,
                         why->text);
    case CATALOG_FAILED: return not_now(r, number, why);
    case CATALOG_DAMAGED:
      return damaged_to_next(r, r->offset, number, 0, why->text);
    default:
      return damaged_to_next(r, r->offset, number, 0,
                             "a segment file is missing");
  }
}

/* ---- bytes ---- */

static bool buffer_grow(struct duralog_reader *r, uint64_t size) {
  io_env *io = r->log->io;
  uint64_t capacity = align_up(max_u64(size, COPY_BYTES), 4096);
  uint8_t *larger = io->alloc(io, capacity);
  if (!larger) {
    r->source_error = DURALOG_E_RESOURCES;
    r->source_os_error = ENOMEM;
    return false;
  }
  uint8_t *smaller = r->buffer;
  r->buffer = larger; /* first: a forked child frees what it sees here */
  r->capacity = capacity;
  r->held = 0;
  if (smaller) io->free(io, smaller);
  return true;
}

static bool buffer_fill(struct duralog_reader *r, uint64_t position,
                        uint64_t size) {
  io_env *io = r->log->io;
  if (r->capacity < size && !buffer_grow(r, size)) return false;
  uint64_t limit =
      reader_watermark(r); /* before the bytes: these are complete */
  uint64_t wanted = min_u64(r->capacity, r->segment->bytes - position);
  int64_t n =
      io_read(io, r->segment->file, r->buffer, (size_t)wanted, position);
  r->from = position;
  r->held = n > 0 ? (uint64_t)n : 0;
  r->good_below = limit;
  r->source_os_error = n < 0 ? (int)-n : 0;
  if (n < 0) r->source_error = error_while_open((int)-n);
  if (n >= 0 && r->held < size) r->source_error = DURALOG_E_CORRUPT;
  return r->held >= size;
}

static const uint8_t *reader_bytes(void *context, uint64_t position,
                                   uint64_t size) {
  struct duralog_reader *r = context;
  r->source_error = DURALOG_OK;
  if (position + size > r->segment->bytes) {
    r->source_error = DURALOG_E_CORRUPT;
    return NULL;
  }
  if (LIKELY(!r->log->copying_reads)) return r->segment->map + position;
  bool there = position >= r->from && position + size <= r->from + r->held;
  if (there && (!r->placed || r->walk.offset < r->good_below))
    return r->buffer + (position - r->from);
  if (r->keep_buffer) return NULL; /* it ends the call, not an error */
  if (!buffer_fill(r, position, size)) return NULL;
  return r->buffer;
}

/* With the guard: touch the mapping, or say why that cannot be. */
static bool reader_access(struct duralog_reader *r, void (*body)(void *),
                          void *context) {
  struct segment_failure why;
  if (r->log->copying_reads) {
    body(context);
    return true;
  }
  if (segment_access(r->segment, r->log->io, body, context, &why)) return true;
  r->source_os_error = why.os_error;
  r->source_error =
      why.os_error ? error_while_open(why.os_error) : DURALOG_E_CORRUPT;
  return false;
}

struct piece {
  struct duralog_reader *reader;
  uint64_t position, size;
};

static void copy_piece(void *context) {
  const struct piece *p = context;
  const struct duralog_reader *r = p->reader;
  memcpy(r->buffer, r->segment->map + p->position, p->size);
}

/* For the index, which looks at one piece after the other: with the guard it
 * gets copies. */
static const uint8_t *index_bytes(void *context, uint64_t position,
                                  uint64_t size) {
  struct duralog_reader *r = context;
  struct piece piece = {r, position, size};
  const uint8_t *at = reader_bytes(r, position, size);
  if (!at || !io_guarded() || r->log->copying_reads) return at;
  if (r->capacity < size && !buffer_grow(r, size)) return NULL;
  return reader_access(r, copy_piece, &piece) ? r->buffer : NULL;
}

static duralog_error source_failed(struct duralog_reader *r,
                                   uint64_t position) {
  if (r->source_error == DURALOG_E_CORRUPT)
    return damaged_to_next(r, r->walk.offset, r->walk.segment, position,
                           "a segment file is shorter than it was");
  return reader_fail(r, r->source_error, r->source_os_error, r->walk.segment,
                     position, "cannot read a segment");
}

/* ---- the place ---- */

static void leave_segment(struct duralog_reader *r) {
  if (r->segment)
    catalog_unpin(&r->log->catalog, &r->log->directory, r->segment);
  r->segment = NULL;
  r->placed = false;
  r->held = 0;
}

/* Takes over the caller's pin, also where it fails. */
static duralog_error enter_segment(struct duralog_reader *r,
                                   struct segment *s) {
  r->segment = s;
  r->held = 0;
  struct segment_failure why;
  if (!log_segment_limit(r->log, s, &r->segment_limit, &why)) {
    uint64_t number = s->number + 1;
    leave_segment(r);
    return not_now(r, number, &why);
  }
  r->limit = min_u64(r->limit, r->segment_limit);
  walk_begin(&r->walk, r->log->directory.uuid, s->number, s->bytes, &s->start);
  return DURALOG_OK;
}

/* Whether the pinned segment is known to hold the offset. */
static bool is_here(const struct duralog_reader *r, uint64_t offset) {
  return r->segment && r->walk.segment == r->segment->number &&
         offset >= r->segment->start.offset && offset < r->walk.offset;
}

/* Put the walk at record `offset`. */
static duralog_error place(struct duralog_reader *r) {
  struct duralog *log = r->log;
  struct segment *s = r->segment;
  if (!is_here(r, r->offset)) {
    struct segment_failure why;
    leave_segment(r);
    if (log->follow && follow_admit(log, NONE, &why) == CATALOG_FAILED)
      return pin_failed(r, CATALOG_FAILED, META_NUMBER, &why);
    enum catalog_result result =
        catalog_find(&log->catalog, &log->directory, r->offset, &s, &why);
    if (result == CATALOG_ABSENT)
      return damaged_to_next(r, r->offset, META_NUMBER, 0,
                             "no segment begins at or before the offset");
    if (result != CATALOG_OK) return pin_failed(r, result, META_NUMBER, &why);
  }
  duralog_error error = enter_segment(r, s);
  if (error) return error;
  if (r->offset >= r->segment_limit)
    return damaged_to_next(r, r->offset, s->number, 0,
                           "the segment that holds the offset is damaged");
  struct frame_source source = {index_bytes, r};
  struct walk w = r->walk;
  r->placed = false;
  enum index_result found = index_find(
      &r->segment->index, log->io, log->directory.uuid, &source, &w, r->offset);
  r->walk = w;
  switch (found) {
    case INDEX_FOUND: r->placed = true; return DURALOG_OK;
    case INDEX_NO_MEMORY:
      return reader_fail(r, DURALOG_E_RESOURCES, ENOMEM, w.segment, w.position,
                         "no memory for an index");
    case INDEX_NEWER:
      return reader_fail(r, DURALOG_E_NEWER, 0, w.segment, w.position,
                         "a frame of a newer release");
    case INDEX_SOURCE: return source_failed(r, w.position);
    case INDEX_INVALID: break;
  }
  return damaged_to_next(r, w.offset, w.segment, w.position,
                         "a frame header is damaged");
}

/* Record `offset` is the first of this segment, which was pinned for it. */
static duralog_error go_on_in(struct duralog_reader *r, struct segment *s) {
  duralog_error error = enter_segment(r, s);
  if (error) return error;
  if (r->offset >= r->segment_limit) return place(r); /* cut: it is elsewhere */
  r->placed = true;
  return DURALOG_OK;
}

/* Behind a ROLL frame with this check. */
static duralog_error next_segment(struct duralog_reader *r, uint32_t check) {
  struct duralog *log = r->log;
  struct segment *s;
  struct segment_failure why = {.text = ""};
  uint64_t number = r->walk.segment + 1, offset = r->walk.offset;
  enum catalog_result result =
      log->follow ? follow_admit(log, number, &why) : CATALOG_OK;
  if (result == CATALOG_OK)
    result = catalog_pin(&log->catalog, &log->directory, number, &s, &why);
  if (result != CATALOG_OK) return pin_failed(r, result, number, &why);
  bool follows =
      atomic_load(&s->started) && s->start.offset == offset &&
      (s->start.previous_check == check || number == log->accepted_segment);
  if (!follows) {
    catalog_unpin(&log->catalog, &log->directory, s);
    return damaged_to_next(r, offset, number - 1, r->walk.position,
                           "the next segment does not follow this one");
  }
  leave_segment(r);
  return go_on_in(r, s);
}

/* Where no frame can be read any more, but the next segment proves that it
 * begins with this very record, nothing is missing: only a ROLL is damaged. */
static duralog_error goes_on_in_next(struct duralog_reader *r, bool *yes) {
  struct duralog *log = r->log;
  struct segment *s;
  struct segment_failure why;
  uint64_t offset = r->walk.offset, number = r->walk.segment;
  *yes = false;
  enum catalog_result result =
      catalog_next(&log->catalog, &log->directory, number, &s, &why);
  if (result == CATALOG_FAILED) return not_now(r, number + 1, &why);
  if (result != CATALOG_OK) return DURALOG_OK;
  if (s->start.offset != offset) {
    catalog_unpin(&log->catalog, &log->directory, s);
    return DURALOG_OK;
  }
  *yes = true;
  leave_segment(r);
  return go_on_in(r, s);
}

/* ---- epochs ---- */

/* A follower's reader is told of a new epoch before it gets a record of it, and
 * begins anew then: the files may be others. */
static duralog_error told(struct duralog_reader *r, duralog_error error) {
  if (error == DURALOG_E_EPOCH) {
    leave_segment(r);
    r->limit = 0;
    r->given_first = r->given_end = r->offset;
  }
  return error;
}

static duralog_error look_for_epoch(struct duralog_reader *r) {
  return told(r, follow_epoch(r->log, &r->place, r->offset));
}

/* By itself, before the control file said so. */
static duralog_error met_epoch(struct duralog_reader *r) {
  return told(r, follow_met(r->log, &r->place, r->walk.epoch, r->offset));
}

/* ---- records ---- */

static inline void fill_record(const struct duralog_reader *r,
                               const struct frame *f, const uint8_t *body,
                               duralog_record *out) {
  struct frame_body parts = {0};
  if (UNLIKELY(f->flags & (FRAME_TIME | FRAME_KEY)))
    frame_parse_body(f, body, &parts); /* cannot fail: the body was verified */
  out->offset = r->walk.offset;
  out->epoch = r->walk.epoch;
  out->timestamp_ms = walk_time(&r->walk, f, &parts);
  out->data = body + parts.blocks_bytes;
  out->size = f->body_bytes - parts.blocks_bytes;
  out->key = parts.has_key ? body + parts.key_at : NULL;
  out->key_size = parts.key_bytes;
  out->batch_last = f->flags & FRAME_MORE ? NONE : r->walk.offset;
}

/* The usual case, in line: a mapped record without optional blocks. */
__attribute__((always_inline)) static inline bool take_plain(
    struct duralog_reader *r, duralog_record *out) {
  struct frame f;
  if (UNLIKELY(r->log->copying_reads || !walk_has_room(&r->walk))) return false;
  const uint8_t *at = r->segment->map + r->walk.position;
  if (UNLIKELY(walk_header(&r->walk, at, &f) != WALK_OK)) return false;
  const uint8_t *body = at + FRAME_HEADER_BYTES;
  if (UNLIKELY((f.flags & ~FRAME_MORE) != FRAME_RECORD ||
               !frame_body_valid(&f, body)))
    return false;
  out->offset = r->walk.offset++;
  out->epoch = r->walk.epoch;
  out->timestamp_ms =
      (int64_t)((uint64_t)r->walk.base_time + (uint64_t)(int64_t)f.time_delta);
  out->data = body;
  out->size = f.body_bytes;
  out->key = NULL;
  out->key_size = 0;
  out->batch_last = f.flags & FRAME_MORE ? NONE : out->offset;
  r->walk.position += frame_bytes(f.body_bytes);
  return true;
}

/* No frame at the walk's place. OK: the walk went on in another segment. */
static duralog_error no_frame(struct duralog_reader *r, enum walk_result result,
                              uint64_t position) {
  bool goes_on = false;
  if (result == WALK_NEWER)
    return reader_fail(r, DURALOG_E_NEWER, 0, r->walk.segment, position,
                       "a frame of a newer release");
  if (!r->keep_buffer) {
    duralog_error error = goes_on_in_next(r, &goes_on);
    if (error || goes_on) return error;
  }
  return damaged_to_next(r, r->walk.offset, r->walk.segment, position,
                         "a frame header is damaged");
}

/* The frame at the walk's place, as it is taken apart; `bytes` are its own. */
struct look {
  const struct duralog_reader *reader;
  const uint8_t *bytes;
  struct frame f;
  enum walk_result header;
  bool is_record, valid, accepted;
  struct walk *walk; /* to step over it */
  duralog_record *out;
};

__attribute__((always_inline)) static inline void look_at_header(
    void *context) {
  struct look *l = context;
  l->header = walk_header(&l->reader->walk, l->bytes, &l->f);
}

__attribute__((always_inline)) static inline void look_at_body(void *context) {
  struct look *l = context;
  const struct duralog_reader *r = l->reader;
  const uint8_t *body = l->bytes + FRAME_HEADER_BYTES;
  l->is_record = frame_type(&l->f) == FRAME_RECORD;
  l->valid = frame_body_valid(&l->f, body);
  if (!l->valid) return;
  if (LIKELY(l->is_record)) fill_record(r, &l->f, body, l->out);
  l->accepted = walk_accept(l->walk, r->log->directory.uuid, &l->f, body);
}

enum taken { TAKEN, NOT_TAKEN /* the buffer or segment ends here */, FAILED };

__attribute__((always_inline)) static inline bool look(struct duralog_reader *r,
                                                       bool guarded,
                                                       void (*body)(void *),
                                                       struct look *l) {
  if (guarded) return reader_access(r, body, l);
  body(l);
  return true;
}

/* The record at the walk's place, over whatever internal frames are there.
 * `out` is set only where it was taken. With the guard the walk and the record
 * are looked at beside their places, and then put there. */
__attribute__((always_inline)) static inline enum taken take_frames(
    struct duralog_reader *r, duralog_record *out, duralog_error *error,
    const bool guarded) {
  struct walk behind;
  duralog_record record;
  for (;;) {
    const uint64_t position = r->walk.position;
    struct look l;
    l.reader = r;
    l.header = WALK_INVALID;
    if (walk_has_room(&r->walk)) {
      l.bytes = reader_bytes(r, position, FRAME_HEADER_BYTES);
      if (!l.bytes || !look(r, guarded, look_at_header, &l)) break;
    }
    if (UNLIKELY(l.header != WALK_OK)) {
      *error = no_frame(r, l.header, position);
      if (*error) return FAILED;
      continue;
    }
    if (UNLIKELY(frame_type(&l.f) == FRAME_ROLL)) {
      if (r->keep_buffer) return NOT_TAKEN;
      *error = next_segment(r, l.f.check);
      if (*error) return FAILED;
      continue;
    }
    if (UNLIKELY(r->log->copying_reads)) {
      l.bytes = reader_bytes(r, position,
                             FRAME_HEADER_BYTES + (uint64_t)l.f.body_bytes);
      if (!l.bytes) break;
    }
    if (UNLIKELY(r->walk.epoch > r->place.epoch &&
                 frame_type(&l.f) == FRAME_RECORD)) {
      if (r->keep_buffer) return NOT_TAKEN; /* what was given comes first */
      *error = met_epoch(r);
      if (*error) return FAILED;
    }
    if (guarded) behind = r->walk;
    l.walk = guarded ? &behind : &r->walk;
    l.out = guarded ? &record : out;
    if (!look(r, guarded, look_at_body, &l)) break;
    if (UNLIKELY(!l.valid && l.is_record)) {
      *error = damaged(r, r->walk.offset, r->walk.offset + 1, r->walk.segment,
                       position, "a record's data is damaged");
      return FAILED;
    }
    if (UNLIKELY(!l.valid || !l.accepted)) {
      *error = damaged_to_next(r, r->walk.offset, r->walk.segment, position,
                               "an internal frame is damaged");
      return FAILED;
    }
    if (guarded) r->walk = behind;
    if (guarded && l.is_record) *out = record;
    if (LIKELY(l.is_record)) return TAKEN;
  }
  if (r->source_error == DURALOG_OK) return NOT_TAKEN;
  *error = source_failed(r, r->walk.position);
  return FAILED;
}

__attribute__((noinline)) static enum taken take_any(struct duralog_reader *r,
                                                     duralog_record *out,
                                                     duralog_error *error) {
  return take_frames(r, out, error, false);
}

/* With the guard. Where a plain record cannot be taken nothing has changed:
 * all that is stored is stored after the last look at the mapping. */
struct plain {
  struct duralog_reader *reader;
  duralog_record *out;
  bool taken;
};

static void take_plain_guarded(void *context) {
  struct plain *p = context;
  p->taken = take_plain(p->reader, p->out);
}

__attribute__((noinline)) static enum taken take_guarded(
    struct duralog_reader *r, duralog_record *out, duralog_error *error) {
  struct plain p = {.reader = r, .out = out, .taken = false};
  if (!reader_access(r, take_plain_guarded, &p)) {
    *error = source_failed(r, r->walk.position);
    return FAILED;
  }
  return p.taken ? TAKEN : take_frames(r, out, error, true);
}

__attribute__((always_inline)) static inline enum taken take(
    struct duralog_reader *r, duralog_record *out, duralog_error *error) {
  if (io_guarded()) return take_guarded(r, out, error);
  return LIKELY(take_plain(r, out)) ? TAKEN : take_any(r, out, error);
}

/* What was read may be what a new writer had begun to store over. */
static duralog_error failed_reading(struct duralog_reader *r,
                                    duralog_error error) {
  duralog_error epoch = r->log->follow ? look_for_epoch(r) : DURALOG_OK;
  return epoch ? epoch : error;
}

/* Ready to take the record at the position, or why not. */
static inline duralog_error ready(struct duralog_reader *r) {
  r->given_first = r->given_end = r->offset;
  r->keep_buffer = false;
  if (UNLIKELY(r->log->follow != NULL)) {
    duralog_error error = look_for_epoch(r);
    if (error) return error;
  }
  if (r->offset >= r->limit) {
    if (UNLIKELY(r->log->follow != NULL))
      follow_pace(r->log, &r->place, r->offset);
    r->limit = reader_watermark(r);
    if (r->offset >= r->limit) return DURALOG_E_AT_END;
    if (r->segment && r->offset >= r->segment_limit) leave_segment(r);
    if (r->segment) r->limit = min_u64(r->limit, r->segment_limit);
  }
  if (UNLIKELY(!r->placed)) {
    duralog_error error = place(r);
    if (error) return failed_reading(r, error);
  }
  return LIKELY(r->walk.epoch <= r->place.epoch) ? DURALOG_OK : met_epoch(r);
}

__attribute__((noinline)) static duralog_error read_any(
    duralog_reader *r, duralog_record *record) {
  if (!record) return DURALOG_E_ARGUMENT;
  duralog_error error = ready(r);
  if (UNLIKELY(error != 0)) return error;
  if (UNLIKELY(take(r, record, &error) != TAKEN))
    return failed_reading(r, error);
  r->offset = r->given_end = record->offset + 1;
  return DURALOG_OK;
}

/* Whether the next record can be taken as it is: what `ready` looks at. */
static ALWAYS_INLINE bool is_ready(const struct duralog_reader *r) {
  return r->offset < r->limit && r->placed && !r->log->follow && !io_guarded();
}

/* The usual case, which calls nothing but for the checksum. */
static ALWAYS_INLINE duralog_error read_next(duralog_reader *r,
                                             duralog_record *record) {
  if (UNLIKELY(!record || !is_ready(r) || !take_plain(r, record)))
    return read_any(r, record);
  r->given_first = record->offset;
  r->offset = r->given_end = record->offset + 1;
  return DURALOG_OK;
}

duralog_error duralog_read_next(duralog_reader *r, duralog_record *record) {
  duralog_error error = reader_check(r);
  if (UNLIKELY(error != 0)) return error;
  return log_answer(r->log, read_next(r, record));
}

static duralog_error read_at(duralog_reader *r, uint64_t offset,
                             duralog_record *record) {
  if (!record) return DURALOG_E_ARGUMENT;
  if (r->log->follow) {
    duralog_error error = look_for_epoch(r);
    if (error) return error;
  }
  uint64_t limit = offset < r->limit ? r->limit : reader_watermark(r);
  if (offset < r->log->start || offset >= limit) return DURALOG_E_RANGE;
  uint64_t before = r->offset;
  if (offset != before) r->placed = false;
  r->offset = offset;
  duralog_error error = read_next(r, record);
  if (error) {
    r->offset = before;
    r->placed = false;
  }
  return error;
}

duralog_error duralog_read_at(duralog_reader *r, uint64_t offset,
                              duralog_record *record) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, read_at(r, offset, record));
}

static duralog_error read_previous(duralog_reader *r, duralog_record *record) {
  if (!record) return DURALOG_E_ARGUMENT;
  if (r->offset <= r->log->start) {
    r->given_first = r->given_end = r->offset;
    return DURALOG_E_AT_END;
  }
  uint64_t offset = r->offset - 1;
  duralog_error error = read_at(r, offset, record);
  if (error) return error;
  r->offset = offset;
  r->placed = false;
  return DURALOG_OK;
}

duralog_error duralog_read_previous(duralog_reader *r, duralog_record *record) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, read_previous(r, record));
}

static duralog_error read_many(duralog_reader *r, duralog_record *records,
                               size_t max, size_t max_bytes, size_t *count) {
  if (!records || !count || max == 0) return DURALOG_E_ARGUMENT;
  duralog_error error = ready(r);
  if (error) return error;
  size_t n = 0, bytes = 0;
  while (n < max && r->offset < r->limit) {
    duralog_record *out = &records[n];
    /* What was given comes first, then the error. */
    if (take(r, out, &error) != TAKEN) break;
    n++;
    r->offset = r->given_end = out->offset + 1;
    r->keep_buffer = true;
    bytes += out->size + out->key_size;
    if (max_bytes && bytes >= max_bytes) break;
  }
  r->keep_buffer = false;
  if (n == 0) return failed_reading(r, error);
  *count = n;
  return DURALOG_OK;
}

duralog_error duralog_read_many(duralog_reader *r, duralog_record *records,
                                size_t max, size_t max_bytes, size_t *count) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, read_many(r, records, max, max_bytes, count));
}

/* ---- position ---- */

static duralog_error seek(duralog_reader *r, duralog_whence whence,
                          uint64_t offset) {
  uint64_t limit = reader_watermark(r);
  switch (whence) {
    case DURALOG_SEEK_OFFSET: break;
    case DURALOG_SEEK_START: offset = r->log->start; break;
    case DURALOG_SEEK_END: offset = limit; break;
    default: return DURALOG_E_ARGUMENT;
  }
  if (offset < r->log->start || offset > limit) return DURALOG_E_RANGE;
  if (offset != r->offset) r->placed = false;
  r->offset = offset;
  r->given_first = r->given_end = offset;
  if (offset <= r->place.divergence) r->place.beyond = false;
  return DURALOG_OK;
}

duralog_error duralog_seek(duralog_reader *r, duralog_whence whence,
                           uint64_t offset) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, seek(r, whence, offset));
}

duralog_error duralog_tell(const duralog_reader *r, uint64_t *offset) {
  duralog_error error = reader_check(r);
  if (error) return error;
  if (!offset) return log_answer(r->log, DURALOG_E_ARGUMENT);
  *offset = r->offset;
  return DURALOG_OK;
}

static duralog_error reader_wait(duralog_reader *r, int64_t timeout_ms) {
  uint64_t deadline = log_deadline(r->log->io, timeout_ms);
  if (r->log->follow)
    return told(r, follow_wait(r->log, &r->place, reader_level(r), r->offset,
                               deadline, r->interrupt));
  if (reader_watermark(r) > r->offset) return DURALOG_OK;
  if (r->log->read_only) return DURALOG_E_READ_ONLY;
  return reader_level(r) == DURALOG_LEVEL_DURABLE
             ? wait_durable(r->log, r->offset, deadline, r->interrupt)
             : wait_visible(r->log, r->offset, deadline, r->interrupt);
}

struct follow_place *reader_follow_place(duralog_reader *r) {
  return &r->place;
}

duralog_error duralog_reader_wait(duralog_reader *r, int64_t timeout_ms) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, reader_wait(r, timeout_ms));
}

static duralog_error reader_diagnose(const duralog_reader *r,
                                     duralog_damage *damage,
                                     duralog_diagnostic *diagnostic) {
  if (!damage || !r->damaged) return DURALOG_E_ARGUMENT;
  if (diagnostic && diagnostic->struct_size != sizeof *diagnostic)
    return DURALOG_E_ARGUMENT;
  *damage = r->damage;
  if (diagnostic) *diagnostic = r->diagnostic;
  return DURALOG_OK;
}

duralog_error duralog_reader_diagnose(const duralog_reader *r,
                                      duralog_damage *damage,
                                      duralog_diagnostic *diagnostic) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, reader_diagnose(r, damage, diagnostic));
}

/* ---- lifetime ---- */

static duralog_error reader_open(duralog *log, duralog_level level,
                                 duralog_reader **reader) {
  if (!reader || level < DURALOG_LEVEL_DEFAULT || level > DURALOG_LEVEL_DURABLE)
    return DURALOG_E_ARGUMENT;
  struct duralog_reader *r = log->io->alloc(log->io, sizeof *r);
  if (!r)
    return log_fail(log, DURALOG_E_RESOURCES, ENOMEM, NONE, NULL,
                    "no memory for a reader");
  r->log = log;
  if (level == DURALOG_LEVEL_DEFAULT && !log->writers_level)
    level = log->read_level;
  r->level = level;
  r->offset = r->given_first = r->given_end = log->start;
  follow_enter(log, &r->place);
  atomic_fetch_add(&log->readers, 1);
  *reader = r;
  return DURALOG_OK;
}

duralog_error duralog_reader_open(duralog *log, duralog_level level,
                                  duralog_reader **reader) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, reader_open(log, level, reader));
}

duralog_error duralog_reader_close(duralog_reader **reader) {
  if (!reader || !*reader) return DURALOG_E_CLOSED;
  struct duralog_reader *r = *reader;
  struct duralog *log = r->log;
  /* In a forked child a lock may be held by a thread that is not there. */
  if (log_check(log) == DURALOG_OK) leave_segment(r);
  if (r->buffer) log->io->free(log->io, r->buffer);
  log->io->free(log->io, r);
  atomic_fetch_sub(&log->readers, 1);
  *reader = NULL;
  return DURALOG_OK;
}

static duralog_error hold(duralog_reader *r, duralog_record *record,
                          duralog_held **held) {
  if (!record || !held || record->offset < r->given_first ||
      record->offset >= r->given_end)
    return DURALOG_E_ARGUMENT;
  struct duralog *log = r->log;
  bool copy = log->copying_reads;
  size_t key = record->key ? record->key_size : 0;
  struct duralog_held *h =
      log->io->alloc(log->io, sizeof *h + (copy ? key + record->size : 0));
  if (!h)
    return reader_fail(r, DURALOG_E_RESOURCES, ENOMEM, META_NUMBER, NONE,
                       "no memory to hold a record");
  h->log = log;
  if (copy) {
    if (key) memcpy(h->bytes, record->key, key);
    if (record->size) memcpy(h->bytes + key, record->data, record->size);
    if (record->key) record->key = h->bytes;
    record->data = h->bytes + key;
  } else {
    h->segment = r->segment;
    catalog_pin_again(h->segment);
  }
  atomic_fetch_add(&log->readers, 1);
  *held = h;
  return DURALOG_OK;
}

duralog_error duralog_hold(duralog_reader *r, duralog_record *record,
                           duralog_held **held) {
  duralog_error error = reader_check(r);
  if (error) return error;
  return log_answer(r->log, hold(r, record, held));
}

duralog_error duralog_release(duralog_held **held) {
  if (!held || !*held) return DURALOG_E_CLOSED;
  struct duralog_held *h = *held;
  struct duralog *log = h->log;
  if (h->segment && log_check(log) == DURALOG_OK)
    catalog_unpin(&log->catalog, &log->directory, h->segment);
  log->io->free(log->io, h);
  atomic_fetch_sub(&log->readers, 1);
  *held = NULL;
  return DURALOG_OK;
}
