/* SPDX-License-Identifier: MIT
 *
 * Finding by time: the first record, in the order of offsets, whose timestamp
 * is at least the one asked for. Hosts may give their own timestamps, so these
 * may be out of order; the largest one so far never falls, and that is what is
 * searched: first among segments (catalog.h), then in one segment's index.
 *
 * A segment's largest timestamp stands in its seal; of what this writer has
 * finished and not sealed yet it is in memory; any other segment (a snapshot's,
 * or one whose seal is damaged) is walked once. The segment in use comes last,
 * it has only its index. Nothing of this lies on the disk for its own sake, so
 * nothing can be missing or damaged: it is made from the frames again.
 *
 * What cannot be read, damaged or of a newer release, holds no record to be
 * found: it is stepped over, and whoever reads there meets it. Only what may
 * be different next time (memory, descriptors, an I/O error) is a failure.
 */
#include <errno.h>

#include "reader.h"

enum { COPY_BYTES = 64 << 10 };

/* ---- bytes ---- */

/* A segment's bytes: as mapped, or read into a buffer of its own. */
struct bytes {
  struct duralog *log;
  struct segment *segment; /* pinned */
  uint8_t *buffer;
  uint64_t capacity, from, held;
  int os_error; /* why there are none; 0: the file is too short for them */
};

static bool bytes_reserve(struct bytes *b, uint64_t size) {
  io_env *io = b->log->io;
  if (b->capacity >= size) return true;
  if (b->buffer) io->free(io, b->buffer);
  b->held = 0;
  b->capacity = align_up(max_u64(size, COPY_BYTES), 4096);
  b->buffer = io->alloc(io, b->capacity);
  if (b->buffer) return true;
  b->capacity = 0;
  b->os_error = ENOMEM;
  return false;
}

/* Out of the mapping, with the guard. */
static const uint8_t *bytes_copy(struct bytes *b, uint64_t position,
                                 uint64_t size) {
  struct segment_failure why;
  if (!bytes_reserve(b, size)) return NULL;
  if (segment_copy(b->segment, b->log->io, position, b->buffer, size, &why))
    return b->buffer;
  b->os_error = why.os_error;
  return NULL;
}

static const uint8_t *bytes_get(void *context, uint64_t position,
                                uint64_t size) {
  struct bytes *b = context;
  struct segment *s = b->segment;
  b->os_error = 0;
  if (position + size > s->bytes) return NULL;
  if (!b->log->copying_reads)
    return io_guarded() ? bytes_copy(b, position, size) : s->map + position;
  if (position < b->from || position + size > b->from + b->held) {
    if (!bytes_reserve(b, size)) return NULL;
    io_env *io = b->log->io;
    uint64_t wanted = min_u64(b->capacity, s->bytes - position);
    int64_t n = io_read(io, s->file, b->buffer, (size_t)wanted, position);
    b->from = position;
    b->held = n > 0 ? (uint64_t)n : 0;
    if (n < 0) b->os_error = (int)-n;
    if (b->held < size) return NULL;
  }
  return b->buffer + (position - b->from);
}

static void bytes_free(struct bytes *b) {
  if (b->buffer) b->log->io->free(b->log->io, b->buffer);
}

/* ---- one segment ---- */

static struct walk walk_of(const struct duralog *log, const struct segment *s) {
  struct walk w;
  walk_begin(&w, log->directory.uuid, s->number, s->bytes, &s->start);
  return w;
}

/* A walk's result as an error: OK where it came to its end, or to what cannot
 * be read and will not be. */
static duralog_error walk_failed(const struct bytes *b,
                                 enum index_result result, uint64_t position) {
  struct segment_failure why = {.position = position};
  switch (result) {
    case INDEX_FOUND:
    case INDEX_INVALID:
    case INDEX_NEWER: return DURALOG_OK;
    case INDEX_SOURCE:
      why.os_error = b->os_error;
      why.text = "cannot read a segment";
      break;
    case INDEX_NO_MEMORY:
      why.os_error = ENOMEM;
      why.text = "no memory for an index";
      break;
  }
  if (why.os_error == 0) return DURALOG_OK; /* a file that was cut */
  return log_fail_segment(b->log, b->segment->number, &why);
}

/* The first record at or after the time, below `end`, of a started segment. */
static duralog_error find_in(struct duralog *log, struct segment *s,
                             uint64_t end, int64_t time_ms, bool *found,
                             uint64_t *offset, int64_t *found_ms) {
  struct bytes b = {.log = log, .segment = s};
  struct frame_source source = {bytes_get, &b};
  struct walk w = walk_of(log, s);
  enum index_result result =
      index_find_time(&s->times, log->io, log->directory.uuid, &source, &w, end,
                      time_ms, found_ms);
  *found = result == INDEX_FOUND && w.offset < end;
  *offset = w.offset;
  bytes_free(&b);
  return walk_failed(&b, result, w.position);
}

/* What is known of a segment's largest timestamp without a walk. */
static bool time_max_known(struct duralog *log, const struct segment *s,
                           uint64_t end, int64_t *max_ms) {
  bool finished = s->writable && s->number < atomic_load(&log->active);
  if (!atomic_load(&s->sealed) && !finished) return false;
  /* Sealed by a writer that went on behind this snapshot. */
  if (s->end.end_offset > end) return false;
  *max_ms = s->end.time_max_ms;
  return true;
}

static duralog_error time_max_of(struct duralog *log, struct segment *s,
                                 uint64_t end, int64_t *max_ms) {
  struct bytes b = {.log = log, .segment = s};
  struct frame_source source = {bytes_get, &b};
  *max_ms = INT64_MIN;
  if (time_max_known(log, s, end, max_ms)) return DURALOG_OK;
  struct walk w = walk_of(log, s);
  enum index_result result =
      index_time_max(log->directory.uuid, &source, &w, end, max_ms);
  bytes_free(&b);
  return walk_failed(&b, result, w.position);
}

/* The tail's, while the segment is in use by this writer. */
static bool tail_time_max(struct duralog *log, const struct segment *s,
                          int64_t *max_ms) {
  if (log->read_only) return false;
  struct tail_view tail;
  tail_look(log, &tail);
  bool still = s->number == tail.segment;
  if (still) *max_ms = (int64_t)tail.time_max_ms;
  return still;
}

/* Where records of a segment that lie below `end` and are no cut-off part end.
 */
static duralog_error end_in(struct duralog *log, const struct segment *s,
                            uint64_t *end) {
  struct segment_failure why;
  uint64_t limit;
  if (!log_segment_limit(log, s, &limit, &why))
    return log_fail_segment(log, s->number + 1, &why);
  *end = min_u64(*end, limit);
  return DURALOG_OK;
}

duralog_error log_segment_times(struct duralog *log, struct segment *s,
                                uint64_t end, int64_t *first_ms,
                                int64_t *max_ms, bool *known) {
  uint64_t offset;
  int64_t first, max;
  *known = false;
  duralog_error error = end_in(log, s, &end);
  if (!error) error = find_in(log, s, end, INT64_MIN, known, &offset, &first);
  if (error || !*known) return error;
  if (!tail_time_max(log, s, &max)) error = time_max_of(log, s, end, &max);
  if (error) return error;
  *first_ms = first;
  *max_ms = max;
  return DURALOG_OK;
}

/* ---- all segments ---- */

/* What is looked for, and how far the search has come. */
struct search {
  struct duralog *log;
  uint64_t limit; /* offset: only records below it */
  int64_t time_ms;
  bool over;       /* found, or there is none */
  uint64_t offset; /* the result then; the limit where there is none */
};

/* Pin the segment if it can be read; otherwise *s is NULL. */
static duralog_error pin_readable(struct duralog *log, uint64_t number,
                                  struct segment **s) {
  struct segment_failure why;
  *s = NULL;
  enum catalog_result result =
      catalog_pin(&log->catalog, &log->directory, number, s, &why);
  if (result == CATALOG_FAILED) return log_fail_segment(log, number, &why);
  if (result != CATALOG_OK) return DURALOG_OK;
  if (atomic_load(&(*s)->started)) return DURALOG_OK;
  catalog_unpin(&log->catalog, &log->directory, *s);
  *s = NULL;
  return DURALOG_OK;
}

static duralog_error search_in(struct search *x, uint64_t number) {
  struct duralog *log = x->log;
  struct segment *s;
  duralog_error error = pin_readable(log, number, &s);
  if (error || !s) return error;
  if (s->start.offset >= x->limit) {
    x->over = true; /* all later ones lie behind the limit as well */
  } else {
    uint64_t end = x->limit, offset = end;
    int64_t time;
    error = end_in(log, s, &end);
    if (!error)
      error = find_in(log, s, end, x->time_ms, &x->over, &offset, &time);
    if (x->over) x->offset = offset;
  }
  catalog_unpin(&log->catalog, &log->directory, s);
  return error;
}

/* Learn the largest timestamp of a finished segment. */
static duralog_error learn(struct duralog *log, uint64_t number) {
  struct segment *s;
  int64_t max = INT64_MIN;
  duralog_error error = pin_readable(log, number, &s);
  if (error) return error;
  if (s) {
    error = time_max_of(log, s, atomic_load(&log->end), &max);
    catalog_unpin(&log->catalog, &log->directory, s);
  }
  if (!error) catalog_learn_time(&log->catalog, log->io, number, max);
  return error;
}

static duralog_error search_run(struct search *x) {
  struct duralog *log = x->log;
  /* Loaded after the limit: every record below that lies in it or before. */
  uint64_t active = atomic_load(&log->active), number, above = 0;
  duralog_error error = follow_up(log);
  while (!error && !x->over) {
    switch (
        catalog_find_time(&log->catalog, log->io, above, x->time_ms, &number)) {
      case CATALOG_TIME_NONE: return DURALOG_OK;
      case CATALOG_TIME_HERE:
        error = search_in(x, number);
        above = number;
        break;
      case CATALOG_TIME_UNKNOWN:
        if (number >= active)
          return number == active ? search_in(x, number) : DURALOG_OK;
        error = learn(log, number);
        break;
    }
  }
  return error;
}

duralog_error duralog_seek_time(duralog_reader *r, int64_t timestamp_ms) {
  duralog_error error = reader_check(r);
  if (error) return error;
  struct search x = {
      .log = r->log, .limit = reader_watermark(r), .time_ms = timestamp_ms};
  x.offset = x.limit;
  error = search_run(&x);
  if (error) return error;
  return duralog_seek(r, DURALOG_SEEK_OFFSET, x.offset);
}
