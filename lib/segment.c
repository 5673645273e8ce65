/* SPDX-License-Identifier: MIT */
#include "segment.h"

#include <errno.h>

static bool failed(struct segment_failure *why, int result, const char *text) {
  *why = (struct segment_failure){
      .os_error = -result, .position = NONE, .text = text};
  return false;
}

static struct segment *segment_new(io_env *io, uint64_t number,
                                   struct segment_failure *why) {
  struct segment *s = io->alloc(io, sizeof *s);
  if (!s) {
    failed(why, -ENOMEM, "no memory for a segment");
    return NULL;
  }
  s->number = number;
  s->file = -1;
  return s;
}

/* A full file under a temporary name, durable. */
static bool make_file(const struct log_directory *d, struct segment *s,
                      const char *name, int64_t now_ms,
                      struct segment_failure *why) {
  io_env *io = d->io;
  uint8_t sector[SECTOR_BYTES];
  struct identity id = {.version = FORMAT_VERSION,
                        .number = s->number,
                        .bytes = s->bytes,
                        .created_ms = now_ms};
  memcpy(id.uuid, d->uuid, sizeof id.uuid);
  identity_encode(sector, &id);

  int result = io->unlink(io, d->handle, name);
  if (result && result != -ENOENT) /* left by an attempt that failed */
    return failed(why, result, "cannot remove an unfinished segment file");
  s->file =
      io->file_open(io, d->handle, name, IO_WRITE | IO_CREATE, d->file_mode);
  if (s->file < 0) return failed(why, s->file, "cannot create a segment file");
  STEP(io, "create/opened");
  result = io_allocate(io, s->file, s->bytes);
  if (result) return failed(why, result, "cannot allocate a segment file");
  STEP(io, "create/allocated");
  result = io_write(io, s->file, sector, sizeof sector, IDENTITY_AT);
  if (result) return failed(why, result, "cannot write a segment header");
  STEP(io, "create/written");
  result = io->file_sync(io, s->file, NULL, IO_SYNC_SEGMENT);
  if (result) {
    failed(why, result, "cannot sync a new segment file");
    why->sync_failed = true;
    return false;
  }
  STEP(io, "create/synced");
  return true;
}

static bool name_file(const struct log_directory *d, struct segment *s,
                      const char *temporary, struct segment_failure *why) {
  io_env *io = d->io;
  char name[NAME_BYTES];
  segment_name(name, s->number);
  STEP(io, "create/rename");
  int result = io->rename(io, d->handle, temporary, name);
  if (result) return failed(why, result, "cannot name a new segment file");
  STEP(io, "create/renamed");
  result = io->dir_sync(io, d->handle, IO_SYNC_SEGMENT_NAME);
  if (result) {
    failed(why, result, "cannot sync the directory for a new segment");
    why->sync_failed = true;
    return false;
  }
  STEP(io, "create/durable");
  return true;
}

bool segment_create(const struct log_directory *d, uint64_t number,
                    uint64_t bytes, int64_t now_ms, struct segment **out,
                    struct segment_failure *why) {
  io_env *io = d->io;
  char temporary[NAME_BYTES];
  segment_temporary_name(temporary, number);
  struct segment *s = segment_new(io, number, why);
  if (!s) return false;
  s->bytes = bytes;
  s->writable = true;
  s->populated = SEGMENT_HEADER_BYTES;
  bool made = make_file(d, s, temporary, now_ms, why);
  if (made) {
    /* Mapped before it gets its name: what can still fail leaves no trace. */
    void *map;
    int result = io->map(io, s->file, bytes, true, &map);
    if (result == 0)
      s->map = map;
    else
      made = failed(why, result, "cannot map a new segment");
  }
  if (!made) {
    io->unlink(io, d->handle, temporary);
  } else if (name_file(d, s, temporary, why)) {
    *out = s;
    return true;
  }
  segment_close(d, s);
  return false;
}

/* Check that the file is the segment it is named after; take its header. */
static bool read_header(const struct log_directory *d, struct segment *s,
                        uint64_t file_bytes, struct segment_failure *why) {
  io_env *io = d->io;
  uint8_t *page = io->alloc(io, SEGMENT_HEADER_BYTES);
  if (!page) return failed(why, -ENOMEM, "no memory for a segment header");
  int64_t n = io_read(io, s->file, page, SEGMENT_HEADER_BYTES, 0);
  struct identity id = {.version = 0};
  enum block_state state = BLOCK_DAMAGED;
  failed(why, 0, "a segment file is not what its name says");
  if (n < 0)
    failed(why, (int)n, "cannot read a segment header");
  else if (n == SEGMENT_HEADER_BYTES)
    state = identity_decode(&id, page);
  if (state == BLOCK_NEWER) {
    failed(why, 0, "a segment was written by a newer release");
    why->newer = true;
  }
  bool ok = state == BLOCK_VALID && memcmp(id.uuid, d->uuid, 16) == 0 &&
            id.number == s->number && id.bytes == file_bytes;
  if (ok) {
    s->bytes = id.bytes;
    bool started =
        start_decode(&s->start, page, d->uuid, s->number) == BLOCK_VALID;
    atomic_store(&s->started, started);
    bool sealed = seal_decode(&s->end, page, d->uuid, s->number) == BLOCK_VALID;
    atomic_store(&s->sealed, sealed);
  }
  io->free(io, page);
  return ok;
}

bool segment_open(const struct log_directory *d, uint64_t number, bool writable,
                  bool mapped, struct segment **out,
                  struct segment_failure *why) {
  io_env *io = d->io;
  char name[NAME_BYTES];
  segment_name(name, number);
  struct segment *s = segment_new(io, number, why);
  if (!s) return false;
  s->writable = writable;
  s->populated = SEGMENT_HEADER_BYTES;
  s->file =
      io->file_open(io, d->handle, name, writable ? IO_WRITE : IO_READ, 0);
  uint64_t bytes = 0;
  void *map = NULL;
  bool ok = true;
  int result = s->file < 0 ? s->file : io->file_size(io, s->file, &bytes);
  if (result)
    ok = failed(why, result == -ENOENT ? 0 : result,
                result == -ENOENT ? "a segment file is missing"
                                  : "cannot open a segment file");
  ok = ok && read_header(d, s, bytes, why);
  if (ok && mapped) {
    result = io->map(io, s->file, s->bytes, writable, &map);
    if (result) ok = failed(why, result, "cannot map a segment");
    s->map = map;
  }
  if (ok)
    *out = s;
  else
    segment_close(d, s);
  return ok;
}

void segment_look_again(const struct log_directory *d, struct segment *s) {
  uint8_t page[SEGMENT_HEADER_BYTES];
  if (s->writable || atomic_load(&s->started)) return;
  int64_t n = io_read(d->io, s->file, page, sizeof page, 0);
  struct start start;
  if (n != sizeof page ||
      start_decode(&start, page, d->uuid, s->number) != BLOCK_VALID)
    return;
  s->start = start;
  atomic_store(&s->started, true);
}

void segment_close(const struct log_directory *d, struct segment *s) {
  io_env *io = d->io;
  /* Neither reports a write-back error; what matters was synced (pitfall 8). */
  if (s->map) io->unmap(io, s->map, s->bytes);
  if (s->file >= 0) io->close(io, s->file);
  index_free(&s->index, io);
  index_free(&s->times, io);
  io->free(io, s);
}

/* ---- the mapping ---- */

bool segment_access_guarded(const struct segment *s, io_env *io,
                            void (*body)(void *), void *context,
                            struct segment_failure *why) {
  const struct io_range all = {.from = s->map, .bytes = s->bytes};
  const void *at;
  if (io->access(io, &all, 1, body, context, &at) == 0) return true;
  uint64_t position = (uint64_t)((const uint8_t *)at - s->map);
  uint8_t byte;
  int64_t n = io_read(io, s->file, &byte, 1, position);
  failed(why, n < 0 ? (int)n : -EIO, "a mapped segment cannot be accessed");
  if (n == 0) failed(why, 0, "a segment file is shorter than it was");
  why->position = position;
  return false;
}

bool segment_store(const struct segment *s, io_env *io, void (*body)(void *),
                   void *context, struct segment_failure *why) {
  if (segment_access(s, io, body, context, why)) return true;
  why->sync_failed = true;
  return false;
}

struct copying {
  void *to;
  const uint8_t *from;
  size_t size;
};

static void copy(void *context) {
  const struct copying *c = context;
  memcpy(c->to, c->from, c->size);
}

bool segment_copy(const struct segment *s, io_env *io, uint64_t position,
                  void *to, size_t size, struct segment_failure *why) {
  struct copying c = {.to = to, .from = s->map + position, .size = size};
  return segment_access(s, io, copy, &c, why);
}

/* ---- the header page ---- */

/* A block to be stored in it. */
struct block {
  const struct segment *segment;
  const uint8_t *uuid;
  const void *fields;
};

static void store_start(void *context) {
  const struct block *b = context;
  start_encode(b->segment->map, b->fields, b->uuid, b->segment->number);
}

static void store_mark(void *context) {
  const struct block *b = context;
  mark_encode(b->segment->map, b->fields, b->uuid, b->segment->number);
}

static void store_seal(void *context) {
  const struct block *b = context;
  seal_encode(b->segment->map, b->fields, b->uuid, b->segment->number);
}

bool segment_start(struct segment *s, const struct log_directory *d,
                   const struct start *start, struct segment_failure *why) {
  struct block b = {s, d->uuid, &s->start};
  s->start = *start;
  STEP(d->io, "start/store");
  bool stored = segment_store(s, d->io, store_start, &b, why);
  STEP(d->io, "start/stored");
  atomic_store_explicit(&s->started, true, memory_order_release);
  return stored;
}

bool segment_mark(struct segment *s, const struct log_directory *d,
                  const struct mark *mark, struct segment_failure *why) {
  struct block b = {s, d->uuid, mark};
  STEP(d->io, "mark/store");
  bool stored = segment_store(s, d->io, store_mark, &b, why);
  STEP(d->io, "mark/stored");
  return stored;
}

bool segment_seal(struct segment *s, const struct log_directory *d,
                  struct segment_failure *why) {
  struct block b = {s, d->uuid, &s->end};
  STEP(d->io, "seal/store");
  bool stored = segment_store(s, d->io, store_seal, &b, why);
  STEP(d->io, "seal/stored");
  return stored;
}
