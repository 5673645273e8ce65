/* SPDX-License-Identifier: MIT
 *
 * The files of a log to be salvaged: which log they are of, which segment each
 * holds, and their bytes. Everything is opened for reading alone.
 *
 * A file is what its identity says, whatever its name: so exchanged names cost
 * nothing. Where the identity is damaged, the name counts, and the other blocks
 * and the frames, whose checks are seeded with the number, prove it or not.
 * Nothing is mapped: a disk that cannot read a page answers with an error,
 * which costs that page, and not with a signal.
 */
#include <errno.h>
#include <stdlib.h>

#include "salvage.h"

static duralog_error no_memory(struct opening *o) {
  return opening_fail(o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                      "no memory for salvage");
}

/* ---- reading ---- */

/* What a bad disk says. Other errors are not about the data. */
static bool is_unreadable(int64_t result) {
  return result == -EIO || result == -ENODATA || result == -EILSEQ;
}

static duralog_error read_range(struct salvage_source *src, int file,
                                const char *name, uint8_t *to, uint64_t from,
                                uint64_t end) {
  enum { PIECE = 1 << 20, SMALL = 4096 };
  uint64_t step = PIECE;
  for (uint64_t at = from; at < end;) {
    uint64_t n = min_u64(step, end - at);
    int64_t got = io_read(src->log.io, file, to + at, (size_t)n, at);
    if (is_unreadable(got) && step > SMALL) {
      step = SMALL;
      continue;
    }
    if (got < 0 && !is_unreadable(got))
      return opening_fail_os(&src->opening, (int)got, name,
                             "cannot read a segment file");
    if (got < 0) {
      memset(to + at, 0, (size_t)n);
      src->unreadable_bytes += n;
    } else if (got == 0) {
      break; /* it has become shorter */
    }
    at += got > 0 ? (uint64_t)got : n;
    if (at % PIECE == 0) step = PIECE;
  }
  return DURALOG_OK;
}

/* Open a file for reading. `*file` is below 0 where there is none that could
 * be read at all; that is damage, and no error. */
static duralog_error open_file(struct salvage_source *src, const char *name,
                               int *file, uint64_t *size) {
  io_env *io = src->log.io;
  *size = 0;
  *file = io->file_open(io, src->log.directory.handle, name, IO_READ, 0);
  bool damage = *file == -ENOENT || *file == -EISDIR || *file == -ELOOP ||
                *file == -ENXIO || is_unreadable(*file);
  if (*file < 0 && damage) src->open_failures++;
  if (*file < 0)
    return damage ? DURALOG_OK
                  : opening_fail_os(&src->opening, *file, name,
                                    "cannot open a file of the log");
  int result = io->file_size(io, *file, size);
  if (!result) return DURALOG_OK;
  io->close(io, *file);
  *file = -1;
  return opening_fail_os(&src->opening, result, name,
                         "cannot tell the size of a file");
}

static duralog_error load_data(struct salvage_source *src, int file,
                               const char *name) {
  io_env *io = src->log.io;
  uint64_t position = 0, end = 0;
  duralog_error error = DURALOG_OK;
  while (!error && position < src->size) {
    int result = io->file_data(io, file, &position, &end);
    if (result == -ENXIO) break;
    if (result || end <= position) end = src->size; /* it cannot tell */
    if (position >= src->size) break;
    end = min_u64(end, src->size);
    error = read_range(src, file, name, src->bytes, position, end);
    src->data_end = position = end;
  }
  return error;
}

duralog_error salvage_source_load(struct salvage_source *src,
                                  const struct salvage_file *f) {
  io_env *io = src->log.io;
  char name[NAME_BYTES];
  int file;
  uint64_t size;
  segment_name(name, f->name);
  salvage_source_unload(src);
  duralog_error error = open_file(src, name, &file, &size);
  if (error || file < 0) return error;
  src->size = min_u64(size, SEGMENT_BYTES_MAX);
  if (src->size) src->bytes = io->alloc(io, src->size);
  if (src->size && !src->bytes)
    error = no_memory(&src->opening);
  else
    error = load_data(src, file, name);
  io->close(io, file);
  while (src->data_end && !src->bytes[src->data_end - 1]) src->data_end--;
  return error;
}

void salvage_source_unload(struct salvage_source *src) {
  if (src->bytes) src->log.io->free(src->log.io, src->bytes);
  src->bytes = NULL;
  src->size = src->data_end = 0;
}

/* The header page; short ones are filled with zeros. */
static duralog_error read_page(struct salvage_source *src, uint64_t number,
                               uint8_t page[SEGMENT_HEADER_BYTES],
                               uint64_t *size) {
  char name[NAME_BYTES];
  int file;
  memset(page, 0, SEGMENT_HEADER_BYTES);
  segment_name(name, number);
  duralog_error error = open_file(src, name, &file, size);
  if (error || file < 0) return error;
  error = read_range(src, file, name, page, 0,
                     min_u64(*size, SEGMENT_HEADER_BYTES));
  src->log.io->close(src->log.io, file);
  return error;
}

/* ---- which log ---- */

static duralog_error read_meta(struct salvage_source *src) {
  uint8_t *bytes = src->meta_bytes;
  int file;
  uint64_t size;
  if (!src->opening.listing.meta) return DURALOG_OK;
  duralog_error error = open_file(src, META_NAME, &file, &size);
  if (error || file < 0) return error;
  src->meta_there = true;
  error = read_range(src, file, META_NAME, bytes, 0, min_u64(size, META_BYTES));
  src->log.io->close(src->log.io, file);
  if (error) return error;
  switch (meta_decode(&src->opening.meta, bytes)) {
    case BLOCK_VALID: src->meta_valid = true; break;
    case BLOCK_NEWER:
      return opening_fail(&src->opening, DURALOG_E_NEWER, 0, META_NAME,
                          "the log was written by a newer release");
    case BLOCK_EMPTY:
    case BLOCK_DAMAGED: break;
  }
  return DURALOG_OK;
}

/* Of the files' identities: how many there are, how many are of the meta file's
 * log, and of the log that more than half are of (Boyer and Moore's way). */
struct votes {
  uint64_t all, meta, leading, lead;
  uint8_t uuid[16];
};

static duralog_error count_votes(struct salvage_source *src, struct votes *v,
                                 bool second) {
  const struct number_list *l = &src->opening.listing.segments;
  uint8_t page[SEGMENT_HEADER_BYTES];
  struct identity id;
  uint64_t size;
  for (size_t i = 0; i < l->count; i++) {
    duralog_error error = read_page(src, l->numbers[i], page, &size);
    if (error) return error;
    if (identity_decode(&id, page) != BLOCK_VALID) continue;
    bool leads = v->lead && memcmp(id.uuid, v->uuid, 16) == 0;
    if (second) {
      v->leading += memcmp(id.uuid, v->uuid, 16) == 0;
      continue;
    }
    v->all++;
    v->meta +=
        src->meta_valid && memcmp(id.uuid, src->opening.meta.uuid, 16) == 0;
    if (!v->lead) memcpy(v->uuid, id.uuid, 16);
    v->lead = leads || !v->lead ? v->lead + 1 : v->lead - 1;
  }
  return DURALOG_OK;
}

static duralog_error choose_log(struct salvage_source *src,
                                const uint8_t *stated) {
  struct votes v = {.all = 0};
  duralog_error error = read_meta(src);
  if (!error && !stated) error = count_votes(src, &v, false);
  if (!error && !stated && v.lead) error = count_votes(src, &v, true);
  if (error) return error;
  const uint8_t *uuid = NULL;
  if (stated)
    uuid = stated;
  else if (src->meta_valid && (v.meta || !v.all))
    uuid = src->opening.meta.uuid;
  else if (v.leading > v.all / 2)
    uuid = v.uuid;
  if (!uuid)
    return opening_fail(&src->opening, DURALOG_E_CORRUPT, 0, META_NAME,
                        "neither the meta file nor most of the segments say "
                        "which log this is: state its uuid");
  if (src->meta_valid && memcmp(uuid, src->opening.meta.uuid, 16) != 0)
    src->meta_valid = false; /* another log's */
  memcpy(src->log.directory.uuid, uuid, 16);
  if (!src->meta_valid)
    src->opening.meta = (struct meta){.first_segment = SEGMENT_NUMBER_FIRST};
  return DURALOG_OK;
}

/* ---- which segments ---- */

static void decode_blocks(struct salvage_source *src, struct salvage_file *f,
                          const uint8_t *page) {
  const uint8_t *uuid = src->log.directory.uuid;
  enum block_state state = start_decode(&f->start, page, uuid, f->number);
  f->started = state == BLOCK_VALID;
  f->start_damaged = state == BLOCK_DAMAGED;
  f->page_damaged |= state == BLOCK_DAMAGED;
  state = seal_decode(&f->seal, page, uuid, f->number);
  f->sealed = state == BLOCK_VALID;
  f->page_damaged |= state == BLOCK_DAMAGED;
  for (int slot = 0; slot < 2; slot++) {
    state = mark_decode(&f->marks[slot], page, slot, uuid, f->number);
    if (state != BLOCK_VALID) f->marks[slot].sequence = 0;
    f->page_damaged |= state == BLOCK_DAMAGED;
    if (state != BLOCK_VALID) continue;
    src->durable = max_u64(src->durable, f->marks[slot].durable);
    if (f->marks[slot].sequence > src->newest.sequence)
      src->newest = f->marks[slot];
  }
  if (f->started) src->durable = max_u64(src->durable, f->start.durable);
  if (f->sealed) src->durable = max_u64(src->durable, f->seal.end_offset);
}

/* Whether a block of the page proves that this is segment `number` of the log:
 * an identity that says otherwise has come from elsewhere. */
static bool page_is_of(const struct salvage_source *src, const uint8_t *page,
                       uint64_t number) {
  const uint8_t *uuid = src->log.directory.uuid;
  struct start start;
  struct seal seal;
  return start_decode(&start, page, uuid, number) == BLOCK_VALID ||
         seal_decode(&seal, page, uuid, number) == BLOCK_VALID ||
         mark_newest(page, uuid, number).sequence != 0;
}

static duralog_error look_at(struct salvage_source *src, uint64_t name,
                             struct salvage_file *f) {
  uint8_t page[SEGMENT_HEADER_BYTES];
  struct identity id;
  *f = (struct salvage_file){.name = name, .number = name};
  duralog_error error = read_page(src, name, page, &f->size);
  if (error) return error;
  f->bytes = min_u64(f->size, SEGMENT_BYTES_MAX);
  enum block_state state = identity_decode(&id, page);
  bool ours = (state == BLOCK_VALID || state == BLOCK_NEWER) &&
              memcmp(id.uuid, src->log.directory.uuid, 16) == 0;
  if (ours && state == BLOCK_NEWER)
    return opening_fail_segment(
        &src->opening, name,
        &(struct segment_failure){.newer = true,
                                  .text = "a segment was written by a newer "
                                          "release"});
  bool contradicted = state == BLOCK_VALID && (!ours || id.number != name) &&
                      page_is_of(src, page, name);
  if (state == BLOCK_VALID && !ours && !contradicted) {
    f->number = 0;
    f->trouble = "a segment of another log";
  } else if (ours && !contradicted) {
    f->number = id.number;
    f->bytes = id.bytes;
    if (id.number != name) f->trouble = "a segment under another one's name";
    if (f->size != id.bytes)
      f->trouble = f->size < id.bytes ? "a segment file is shorter than it was"
                                      : "a segment file is longer than it was";
  } else {
    f->trouble = "the identity of a segment file is damaged";
    f->page_damaged = f->unidentified = true;
  }
  if (f->number > SEGMENT_NUMBER_MAX) f->number = 0;
  if (f->number) decode_blocks(src, f, page);
  return DURALOG_OK;
}

/* Of two files for one segment the better comes first: whose identity is right;
 * then whose name is. */
static int compare_files(const void *a, const void *b) {
  const struct salvage_file *x = a, *y = b;
  uint64_t nx = x->number - 1, ny = y->number - 1; /* 0 goes last */
  if (nx != ny) return nx < ny ? -1 : 1;
  bool ix = x->number != x->name, iy = y->number != y->name;
  if (x->page_damaged != y->page_damaged) return x->page_damaged ? 1 : -1;
  if (ix != iy) return ix ? 1 : -1;
  if (x->size != y->size) return x->size > y->size ? -1 : 1;
  return x->name < y->name ? -1 : x->name > y->name;
}

/* A start with a lower epoch than an earlier segment's is from before a cut. */
static void forget_stale_starts(struct salvage_source *src) {
  uint64_t epoch = 0;
  for (size_t i = 0; i < src->segments; i++) {
    struct salvage_file *f = &src->files[i];
    if (!f->started) continue;
    if (f->start.epoch < epoch) {
      f->started = false;
      f->start_damaged = f->page_damaged = true;
    } else {
      epoch = f->start.epoch;
    }
  }
}

/* For each segment, what the later ones say. */
static void look_back(struct salvage_source *src) {
  uint64_t limit = NONE;
  size_t next = src->segments;
  for (size_t i = src->segments; i-- > 0;) {
    struct salvage_file *f = &src->files[i];
    f->limit = limit;
    f->next = next;
    if (f->started) {
      limit = min_u64(limit, f->start.offset);
      next = i;
    }
  }
}

static duralog_error look_at_all(struct salvage_source *src) {
  io_env *io = src->log.io;
  const struct number_list *l = &src->opening.listing.segments;
  src->files = io->alloc(io, (l->count + 1) * sizeof *src->files);
  if (!src->files) return no_memory(&src->opening);
  for (; src->count < l->count; src->count++) {
    duralog_error error =
        look_at(src, l->numbers[src->count], &src->files[src->count]);
    if (error) return error;
  }
  if (src->count)
    qsort(src->files, src->count, sizeof *src->files, compare_files);
  /* Second ones for a segment are of none. */
  uint64_t last = 0;
  for (size_t i = 0; i < src->count; i++) {
    struct salvage_file *f = &src->files[i];
    if (f->number && f->number == last) {
      f->number = 0;
      f->trouble = "a second file for a segment";
    }
    if (f->number) last = f->number;
  }
  if (src->count)
    qsort(src->files, src->count, sizeof *src->files, compare_files);
  while (src->segments < src->count && src->files[src->segments].number)
    src->segments++;
  forget_stale_starts(src);
  look_back(src);
  return DURALOG_OK;
}

/* ---- lifetime ---- */

duralog_error salvage_source_idle(struct salvage_source *src) {
  struct opening *o = &src->opening;
  duralog_error error = directory_look_for_writer(o);
  if (error || !o->report.writer_lives) return error;
  return opening_fail(o, DURALOG_E_BUSY, 0, LOCK_NAME,
                      "a writer has the log open");
}

duralog_error salvage_source_open(struct salvage_source *src,
                                  const uint8_t *uuid) {
  struct opening *o = &src->opening;
  io_env *io = src->log.io;
  int dir = io->dir_open(io, o->path);
  if (dir < 0)
    return opening_fail_os(o, dir, NULL, "cannot open the directory");
  src->log.directory.handle = dir;
  duralog_error error = salvage_source_idle(src);
  if (error) return error;
  int result = listing_read(&o->listing, io, dir);
  if (result) return opening_fail_os(o, result, NULL, "cannot list the log");
  if (!o->listing.meta && !o->listing.segments.count)
    return opening_fail(o, DURALOG_E_NOT_FOUND, 0, NULL,
                        "the directory holds no log, nor anything of one");
  error = choose_log(src, uuid);
  return error ? error : look_at_all(src);
}

void salvage_source_close(struct salvage_source *src) {
  io_env *io = src->log.io;
  salvage_source_unload(src);
  if (src->files) io->free(io, src->files);
  listing_free(&src->opening.listing, io);
  if (src->log.directory.handle >= 0) io->close(io, src->log.directory.handle);
}
