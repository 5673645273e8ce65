/* SPDX-License-Identifier: MIT
 *
 * The copy that salvage makes: a log, in the format of any other.
 *
 * Each run of records is a segment of its own, just large enough, with its
 * seal. Where the next one begins at the very next offset it follows by a ROLL
 * as everywhere; behind a gap its `start` says a higher offset and follows
 * nothing (`previous_check` 0), which is how a log looks whose damage was
 * accepted. So readers meet each gap as the damage that it is, with its exact
 * range, and the format needs nothing new. Records keep offset, epoch, time,
 * key and batch; the log has a uuid of its own, since its segments have other
 * numbers and positions, and a file of the one must not pass for the other's.
 *
 * Files are written, not mapped, and the meta file comes last: until it is
 * durable the directory is no log that can be opened for writing.
 */
#include <errno.h>

#include "salvage.h"

#define EVIDENCE_NAME "salvage.evidence"
#define REPORT_NAME "salvage.json"

static duralog_error write_failed(struct salvage_out *out, int result) {
  return opening_fail_os(&out->opening, result, NULL, "cannot write the copy");
}

/* ---- files ---- */

static duralog_error buffer_open(struct salvage_out *out,
                                 struct salvage_buffer *b, const char *name) {
  io_env *io = out->log.io;
  b->position = b->used = 0;
  b->file = io->file_open(io, out->log.directory.handle, name,
                          IO_WRITE | IO_CREATE, out->opening.options.file_mode);
  return b->file < 0 ? opening_fail_os(&out->opening, b->file, name,
                                       "cannot create a file of the copy")
                     : DURALOG_OK;
}

static duralog_error buffer_flush(struct salvage_out *out,
                                  struct salvage_buffer *b) {
  io_env *io = out->log.io;
  int result =
      b->used ? io_write(io, b->file, b->bytes, b->used, b->position) : 0;
  if (result) return write_failed(out, result);
  b->position += b->used;
  b->used = 0;
  return DURALOG_OK;
}

static duralog_error buffer_put(struct salvage_out *out,
                                struct salvage_buffer *b, const void *bytes,
                                uint64_t size) {
  const uint8_t *from = bytes;
  duralog_error error = DURALOG_OK;
  while (!error && size) {
    if (b->used == sizeof b->bytes) error = buffer_flush(out, b);
    size_t n = (size_t)min_u64(size, sizeof b->bytes - b->used);
    memcpy(b->bytes + b->used, from, n);
    b->used += n;
    from += n;
    size -= n;
  }
  return error;
}

/* Synced and closed; what it holds is on the disk. */
static duralog_error buffer_finish(struct salvage_out *out,
                                   struct salvage_buffer *b) {
  io_env *io = out->log.io;
  if (b->file < 0) return DURALOG_OK;
  duralog_error error = buffer_flush(out, b);
  if (error) return error;
  int result = io->file_sync(io, b->file, NULL, IO_SYNC_SALVAGED);
  io->close(io, b->file);
  b->file = -1;
  return result ? opening_fail(&out->opening, DURALOG_E_POISONED, -result, NULL,
                               "cannot sync the copy")
                : DURALOG_OK;
}

/* ---- the directory ---- */

static duralog_error make_directory(struct salvage_out *out) {
  struct opening *o = &out->opening;
  io_env *io = out->log.io;
  int dir = io->dir_open(io, o->path);
  if (dir == -ENOENT) {
    uint32_t mode = o->options.file_mode;
    int result = io->dir_make(io, o->path, mode | (mode & 0444u) >> 2);
    if (result)
      return opening_fail_os(o, result, NULL, "cannot make the directory");
    out->made = true;
    dir = io->dir_open(io, o->path);
  }
  if (dir < 0)
    return opening_fail_os(o, dir, NULL, "cannot open the directory");
  out->log.directory.handle = dir;
  return DURALOG_OK;
}

static duralog_error check_empty(struct salvage_out *out) {
  struct opening *o = &out->opening;
  struct listing *l = &o->listing;
  int result = listing_read(l, out->log.io, out->log.directory.handle);
  if (result) return opening_fail_os(o, result, NULL, "cannot list");
  bool empty = !l->meta && !l->meta_temporary && !l->others && !l->lock &&
               !l->segments.count && !l->temporary.count;
  return empty ? DURALOG_OK
               : opening_fail(o, DURALOG_E_FOREIGN, 0, NULL,
                              "the directory for the copy is not empty");
}

duralog_error salvage_out_open(struct salvage_out *out) {
  struct opening *o = &out->opening;
  io_env *io = out->log.io;
  out->segment.file = out->evidence.file = out->report.file = -1;
  duralog_error error = make_directory(out);
  if (!error) error = check_empty(out);
  if (error) return error;
  int result =
      io->lock(io, out->log.directory.handle, LOCK_NAME, o->options.file_mode);
  if (result == -EAGAIN)
    return opening_fail(o, DURALOG_E_BUSY, 0, LOCK_NAME,
                        "the directory for the copy is in use");
  if (result < 0)
    return opening_fail_os(o, result, LOCK_NAME, "cannot lock the copy");
  out->log.lock_file = result;
  out->locked = true;
  result = io->dir_sync_parent(io, o->path, IO_SYNC_LOG_NAME);
  if (result && (out->made || (result != -EACCES && result != -EPERM)))
    return opening_fail_sync(o, result, "cannot sync the parent directory");
  result = io->random(io, out->log.directory.uuid, 16);
  if (result) return opening_fail_os(o, result, NULL, "no random numbers");
  error = buffer_open(out, &out->report, REPORT_NAME);
  out->report_made = !error;
  return error;
}

/* ---- segments ---- */

static void put_identity(struct salvage_out *out, uint64_t bytes) {
  struct identity id = {.version = FORMAT_VERSION,
                        .number = out->number,
                        .bytes = bytes,
                        .created_ms = out->log.io->wall_ms(out->log.io)};
  memcpy(id.uuid, out->log.directory.uuid, 16);
  identity_encode(out->segment.bytes, &id);
}

/* A segment file of that size, its header page in the buffer. */
static duralog_error new_segment(struct salvage_out *out, uint64_t bytes) {
  struct salvage_buffer *b = &out->segment;
  io_env *io = out->log.io;
  char name[NAME_BYTES];
  segment_name(name, out->number + 1);
  duralog_error error = buffer_open(out, b, name);
  if (error) return error;
  out->number++;
  int result = io_allocate(io, b->file, bytes);
  if (result) return write_failed(out, result);
  memset(b->bytes, 0, SEGMENT_HEADER_BYTES);
  put_identity(out, bytes);
  return DURALOG_OK;
}

duralog_error salvage_out_begin(struct salvage_out *out, uint64_t offset,
                                uint64_t epoch, int64_t time_ms,
                                uint64_t frames_bytes) {
  uint64_t bytes =
      align_up(SEGMENT_HEADER_BYTES + frames_bytes + FRAME_HEADER_BYTES, 4096);
  bytes = max_u64(bytes, SEGMENT_BYTES_MIN);
  duralog_error error = new_segment(out, bytes);
  if (error) return error;
  bool follows = out->last_check && offset == out->end;
  out->start = (struct start){.offset = offset,
                              .time_ms = time_ms,
                              .epoch = epoch,
                              .durable = offset,
                              .previous_check = follows ? out->last_check : 0};
  out->log.io->boot_id(out->log.io, out->start.boot_id);
  start_encode(out->segment.bytes, &out->start, out->log.directory.uuid,
               out->number);
  out->segment.used = SEGMENT_HEADER_BYTES;
  out->time_max_ms = INT64_MIN;
  walk_begin(&out->walk, out->log.directory.uuid, out->number, bytes,
             &out->start);
  return DURALOG_OK;
}

static duralog_error put_frame(struct salvage_out *out, struct frame *f,
                               const uint8_t *body) {
  static const uint8_t zeros[FRAME_ALIGNMENT];
  uint8_t header[FRAME_HEADER_BYTES];
  uint64_t padding = align_up(f->body_bytes, FRAME_ALIGNMENT) - f->body_bytes;
  f->index = (uint32_t)(out->walk.offset - out->walk.base);
  f->lag = FRAME_LAG_UNKNOWN;
  frame_encode(header, f, out->walk.seed, out->walk.position);
  duralog_error error = buffer_put(out, &out->segment, header, sizeof header);
  if (!error) error = buffer_put(out, &out->segment, body, f->body_bytes);
  if (!error) error = buffer_put(out, &out->segment, zeros, padding);
  INVARIANT(out->walk.position + frame_bytes(f->body_bytes) <= out->walk.bytes);
  bool accepted = walk_accept(&out->walk, out->log.directory.uuid, f, body);
  INVARIANT(accepted);
  (void)accepted;
  return error;
}

duralog_error salvage_out_record(struct salvage_out *out,
                                 const struct frame *record,
                                 const uint8_t *body) {
  struct frame f = *record;
  struct frame_body parts = {0};
  if (f.flags & FRAME_TIME) frame_parse_body(&f, body, &parts);
  int64_t time = walk_time(&out->walk, &f, &parts);
  if (time > out->time_max_ms) out->time_max_ms = time;
  return put_frame(out, &f, body);
}

duralog_error salvage_out_epoch(struct salvage_out *out, uint64_t epoch) {
  uint8_t body[FRAME_EPOCH_BODY_BYTES];
  store64(body, epoch);
  store64(body + 8, out->walk.epoch);
  struct frame f = {.body_bytes = sizeof body,
                    .body_check = frame_body_check(NULL, 0, body, sizeof body),
                    .flags = FRAME_EPOCH};
  return put_frame(out, &f, body);
}

/* The ROLL frame, then, behind everything else, the seal. */
duralog_error salvage_out_finish(struct salvage_out *out) {
  static const uint8_t nothing[1];
  struct frame f = {.body_check = frame_body_check(NULL, 0, nothing, 0),
                    .flags = FRAME_ROLL};
  uint8_t page[SEGMENT_HEADER_BYTES];
  duralog_error error = put_frame(out, &f, nothing);
  if (!error) error = buffer_flush(out, &out->segment);
  if (error) return error;
  struct seal seal = {.end_offset = out->walk.offset,
                      .end_position = out->walk.position,
                      .epoch = out->walk.epoch,
                      .time_max_ms = out->time_max_ms,
                      .last_check = f.check};
  memset(page, 0, sizeof page);
  seal_encode(page, &seal, out->log.directory.uuid, out->number);
  int result = io_write(out->log.io, out->segment.file, page + SEAL_AT,
                        SECTOR_BYTES, SEAL_AT);
  if (result) return write_failed(out, result);
  out->last_check = f.check;
  out->end = out->walk.offset;
  return buffer_finish(out, &out->segment);
}

/* ---- evidence ---- */

duralog_error salvage_out_keep(struct salvage_out *out, const uint8_t *bytes,
                               uint64_t size, uint64_t *at) {
  *at = NONE;
  if (size == 0) return DURALOG_OK;
  if (!out->evidence_made) {
    duralog_error error = buffer_open(out, &out->evidence, EVIDENCE_NAME);
    if (error) return error;
    out->evidence_made = true;
  }
  *at = out->evidence.position + out->evidence.used;
  return buffer_put(out, &out->evidence, bytes, size);
}

/* ---- the report ---- */

struct text {
  struct salvage_out *out;
  duralog_error error;
};

static void put_text(struct text *t, const char *text) {
  if (!t->error)
    t->error = buffer_put(t->out, &t->out->report, text, strlen(text));
}

static void put_number(struct text *t, const char *name, uint64_t value) {
  char digits[24];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + value % 10);
  } while ((value /= 10) != 0);
  put_text(t, name);
  put_text(t, digits + at);
}

static void put_uuid(struct text *t, const char *name, const uint8_t uuid[16]) {
  static const char hex[] = "0123456789abcdef";
  char text[33] = {0};
  for (size_t i = 0; i < 16; i++) {
    text[2 * i] = hex[uuid[i] >> 4];
    text[2 * i + 1] = hex[uuid[i] & 15];
  }
  put_text(t, name);
  put_text(t, text);
  put_text(t, "\"");
}

duralog_error salvage_out_item(struct salvage_out *out,
                               const duralog_salvage_item *i) {
  struct text t = {out, DURALOG_OK};
  put_text(&t, out->items++ ? ",\n " : "{\"items\":[\n ");
  put_text(&t, i->kind == DURALOG_SALVAGE_RUN   ? "{\"kind\":\"run\""
               : i->kind == DURALOG_SALVAGE_GAP ? "{\"kind\":\"gap\""
                                                : "{\"kind\":\"damage\"");
  put_number(&t, ",\"from\":", i->from);
  if (i->to == NONE)
    put_text(&t, ",\"to\":null");
  else
    put_number(&t, ",\"to\":", i->to);
  put_number(&t, ",\"segment\":", i->segment);
  put_number(&t, ",\"position\":", i->position);
  put_number(&t, ",\"position_end\":", i->position_end);
  if (i->evidence != NONE) put_number(&t, ",\"evidence\":", i->evidence);
  if (i->partial_batch) put_text(&t, ",\"partial_batch\":true");
  if (i->times_unproven) put_text(&t, ",\"times_unproven\":true");
  if (i->reason) {
    put_text(&t, ",\"reason\":\"");
    put_text(&t, i->reason);
    put_text(&t, "\"");
  }
  put_text(&t, "}");
  return t.error;
}

static duralog_error put_summary(struct salvage_out *out,
                                 const duralog_salvage_report *r) {
  struct text t = {out, DURALOG_OK};
  put_text(&t, out->items ? "],\n" : "{\"items\":[],\n");
  put_uuid(&t, " \"uuid_from\":\"", r->uuid_from);
  put_uuid(&t, ",\"uuid\":\"", r->uuid);
  put_number(&t, ",\n \"start\":", r->start);
  put_number(&t, ",\"end\":", r->end);
  put_number(&t, ",\"records\":", r->records);
  put_number(&t, ",\"bytes\":", r->bytes);
  put_number(&t, ",\"runs\":", r->runs);
  put_number(&t, ",\"gaps\":", r->gaps);
  put_number(&t, ",\"damages\":", r->damages);
  put_number(&t, ",\"records_lost\":", r->records_lost);
  put_number(&t, ",\"evidence_bytes\":", r->evidence_bytes);
  put_number(&t, ",\"unreadable_bytes\":", r->unreadable_bytes);
  put_number(&t, ",\"open_failures\":", r->open_failures);
  put_text(&t, "}\n");
  return t.error;
}

/* ---- the end ---- */

/* The segment in which the log goes on. */
static duralog_error put_last(struct salvage_out *out) {
  uint64_t bytes = max_u64(out->bytes_max, SEGMENT_BYTES_MIN);
  duralog_error error = new_segment(out, bytes);
  out->segment.used = SECTOR_BYTES;
  return error ? error : buffer_finish(out, &out->segment);
}

duralog_error salvage_out_done(struct salvage_out *out,
                               const duralog_salvage_report *report) {
  struct opening *o = &out->opening;
  io_env *io = out->log.io;
  duralog_error error = put_last(out);
  if (!error) error = put_summary(out, report);
  if (!error) error = buffer_finish(out, &out->report);
  if (!error) error = buffer_finish(out, &out->evidence);
  if (error) return error;
  int result =
      io->dir_sync(io, out->log.directory.handle, IO_SYNC_SALVAGED_NAMES);
  if (result)
    return opening_fail_sync(o, result,
                             "cannot sync the directory of the copy");
  o->meta.version = FORMAT_VERSION;
  o->meta.created_ms = io->wall_ms(io);
  memcpy(o->meta.uuid, out->log.directory.uuid, 16);
  if (o->meta.accepted_segment) o->meta.accepted_segment = out->number;
  return directory_write_meta(o);
}

static void remove_all(struct salvage_out *out) {
  io_env *io = out->log.io;
  int dir = out->log.directory.handle;
  char name[NAME_BYTES];
  if (out->report_made) {
    io->unlink(io, dir, META_NAME); /* first: what is left is no log */
    io->unlink(io, dir, META_TEMPORARY_NAME);
    io->unlink(io, dir, REPORT_NAME);
  }
  if (out->evidence_made) io->unlink(io, dir, EVIDENCE_NAME);
  for (uint64_t n = out->number; n >= out->opening.meta.first_segment && n;
       n--) {
    segment_name(name, n);
    io->unlink(io, dir, name);
  }
  if (out->locked) io->unlink(io, dir, LOCK_NAME);
}

void salvage_out_close(struct salvage_out *out, bool keep) {
  io_env *io = out->log.io;
  struct salvage_buffer *buffers[] = {&out->segment, &out->evidence,
                                      &out->report};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
    if (buffers[i]->file >= 0) io->close(io, buffers[i]->file);
  if (!keep) remove_all(out);
  if (out->locked) io->unlock(io, out->log.lock_file);
  if (out->log.directory.handle >= 0) io->close(io, out->log.directory.handle);
  if (!keep && out->made) io->dir_remove(io, out->opening.path);
  listing_free(&out->opening.listing, io);
}
