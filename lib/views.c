/* SPDX-License-Identifier: MIT
 *
 * The unsealed part of a log as recovery wants to see it: from the newest
 * segment file back to the last sealed one, mapped read-only.
 */
#include <errno.h>

#include "open.h"

enum { DATA_RANGES_MAX = 4096 };

static uint64_t data_end(io_env *io, int file, uint64_t size) {
  uint64_t position = 0, end = 0, last = 0;
  for (int i = 0; i < DATA_RANGES_MAX; i++) {
    int result = io->file_data(io, file, &position, &end);
    if (result == -ENXIO) return last;
    if (result || end <= position) return size;
    last = position = end;
  }
  return size;
}

/* Map one file. A file that is missing or too short for a header is a view
 * without bytes: recovery's business, not an error of ours. */
static duralog_error view_open(struct opening *o, struct recovery_view *view,
                               int *file) {
  io_env *io = o->log->io;
  char name[NAME_BYTES];
  uint64_t size = 0;
  void *map = NULL;
  segment_name(name, view->number);
  *file = io->file_open(io, o->log->directory.handle, name, IO_READ, 0);
  if (*file == -ENOENT) return DURALOG_OK;
  int result = *file < 0 ? *file : io->file_size(io, *file, &size);
  if (!result && size >= SEGMENT_HEADER_BYTES && size <= SEGMENT_BYTES_MAX)
    result = io->map(io, *file, size, false, &map);
  if (result)
    return opening_fail_os(o, result, name, "cannot read a segment file");
  view->bytes = map;
  view->size = size;
  view->data_end = map ? data_end(io, *file, size) : 0;
  return DURALOG_OK;
}

static void view_close(io_env *io, struct recovery_view *view, int *file) {
  if (view->bytes) io->unmap(io, (void *)(uintptr_t)view->bytes, view->size);
  if (*file >= 0) io->close(io, *file);
  view->bytes = NULL;
  *file = -1;
}

void views_unmap(struct views *v, io_env *io) {
  for (size_t i = 0; i < v->count; i++)
    view_close(io, &v->list[i], &v->files[i]);
}

void views_free(struct views *v, io_env *io) {
  views_unmap(v, io);
  if (v->list) io->free(io, v->list);
  if (v->ends) io->free(io, v->ends);
  if (v->ranges) io->free(io, v->ranges);
  if (v->files) io->free(io, v->files);
  *v = (struct views){.list = NULL};
}

static bool views_reserve(struct views *v, io_env *io, size_t capacity) {
  v->list = io->alloc(io, capacity * sizeof *v->list);
  v->ends = io->alloc(io, capacity * sizeof *v->ends);
  v->ranges = io->alloc(io, capacity * sizeof *v->ranges);
  v->files = io->alloc(io, capacity * sizeof *v->files);
  v->capacity = capacity;
  return v->list && v->ends && v->ranges && v->files;
}

/* The seal of segment `number`, if it has a readable one. */
duralog_error views_read_seal(struct opening *o, uint64_t number,
                              struct seal *seal, bool *sealed) {
  uint8_t page[SEGMENT_HEADER_BYTES];
  struct identity id;
  duralog_error error = directory_read_page(o, number, page, &id, sealed);
  *sealed = !error && *sealed &&
            memcmp(id.uuid, o->log->directory.uuid, sizeof id.uuid) == 0 &&
            seal_decode(seal, page, id.uuid, number) == BLOCK_VALID;
  return error;
}

/* How many of the listed segments, from the end, are not sealed; and what the
 * last sealed one says, or the meta file where damage was accepted. */
static duralog_error find_unsealed(struct opening *o, struct views *v,
                                   size_t *count) {
  const struct number_list *l = &o->listing.segments;
  const struct meta *m = &o->meta;
  bool sealed = false;
  size_t n = 0;
  for (; n < l->count && l->numbers[l->count - 1 - n] >= m->accepted_segment;
       n++) {
    struct seal seal;
    duralog_error error =
        views_read_seal(o, l->numbers[l->count - 1 - n], &seal, &sealed);
    if (error) return error;
    if (!sealed) continue;
    v->from = (struct recovery_point){.segment = l->numbers[l->count - 1 - n],
                                      .offset = seal.end_offset,
                                      .epoch = seal.epoch,
                                      .check = seal.last_check};
    break;
  }
  if (!sealed && m->accepted_segment)
    v->from = (struct recovery_point){.segment = m->accepted_segment - 1,
                                      .offset = m->accepted_offset,
                                      .epoch = m->accepted_epoch};
  else if (!sealed)
    v->from.unknown = m->first_segment > SEGMENT_NUMBER_FIRST;
  *count = n;
  return DURALOG_OK;
}

static void view_add(struct views *v, uint64_t number) {
  v->files[v->count] = -1;
  v->list[v->count++] = (struct recovery_view){.number = number};
}

/* The numbers of the views, with one view for each gap in them. */
static void number_views(struct opening *o, struct views *v, size_t unsealed) {
  const struct number_list *l = &o->listing.segments;
  size_t first = l->count - unsealed;
  uint64_t expected =
      first > 0 ? l->numbers[first - 1] + 1
                : max_u64(o->meta.first_segment, SEGMENT_NUMBER_FIRST);
  expected = max_u64(expected, o->meta.accepted_segment);
  for (size_t i = first; i < l->count; i++) {
    if (l->numbers[i] < expected) continue; /* below the log: no part of it */
    if (l->numbers[i] > expected) view_add(v, expected);
    view_add(v, l->numbers[i]);
    expected = l->numbers[i] + 1;
  }
  if (v->count == 0 && first == 0) view_add(v, expected); /* no file at all */
  uint64_t lowest = o->meta.first_segment;
  for (size_t i = 0; i < first; i++) {
    bool missing = l->numbers[i] != lowest && l->numbers[i] > lowest;
    if (missing && lowest >= o->meta.accepted_segment && !v->gap_segment)
      v->gap_segment = lowest;
    lowest = max_u64(lowest, l->numbers[i] + 1);
  }
}

duralog_error views_gather(struct opening *o, struct views *v) {
  io_env *io = o->log->io;
  size_t unsealed;
  duralog_error error = find_unsealed(o, v, &unsealed);
  if (error) return error;
  if (!views_reserve(v, io, 2 * unsealed + 2))
    return opening_fail(o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                        "no memory for recovery");
  number_views(o, v, unsealed);
  for (size_t i = 0; !error && i < v->count; i++)
    error = view_open(o, &v->list[i], &v->files[i]);
  for (size_t i = 0; !error && i < v->count; i++)
    if (v->list[i].bytes)
      v->ranges[i] = (struct io_range){v->list[i].bytes, v->list[i].size};
  return error;
}

/* The file was whole when it was mapped: it changes under us, or the disk
 * fails. Opening it again tells which. */
static duralog_error view_lost(struct opening *o, const struct views *v,
                               const void *at) {
  char name[NAME_BYTES] = META_NAME;
  uint64_t position = NONE;
  for (size_t i = 0; i < v->count; i++) {
    uint64_t from = (uint64_t)((uintptr_t)at - (uintptr_t)v->ranges[i].from);
    if (from >= v->ranges[i].bytes) continue;
    segment_name(name, v->list[i].number);
    position = from;
  }
  opening_fail(o, DURALOG_E_IO, EIO, name,
               "a segment cannot be read: its file was cut meanwhile, or the "
               "disk fails");
  if (o->diagnostic && o->diagnostic->struct_size >= sizeof *o->diagnostic)
    o->diagnostic->position = position;
  return DURALOG_E_IO;
}

duralog_error views_access(struct opening *o, const struct views *v,
                           void (*body)(void *), void *context) {
  io_env *io = o->log->io;
  const void *at;
  if (!io_guarded()) {
    body(context);
    return DURALOG_OK;
  }
  int result = io->access(io, v->ranges, v->count, body, context, &at);
  return result ? view_lost(o, v, at) : DURALOG_OK;
}
