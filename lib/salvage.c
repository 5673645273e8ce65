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

static const char meta_damaged[] = "the meta file is damaged, or another log's";
static const char meta_missing[] = "the meta file is missing";

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
    if (!salvage_scan_segment(s, &src->files[i])) {
      s->rolled.number = 0;
      continue;
    }
    if (s->scan.newer) return salvage_newer(s, &src->files[i]);
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
  return error ? error : salvage_tell_damage(s, &item);
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
    error = salvage_pend(s, last->number + 1, 0, 0, SALVAGE_MISSING, true);
  if (!error && s->durable > s->next) error = salvage_settle(s, s->durable);
  if (error || !s->pending.there || !s->pending.file) return error;
  /* Where the writer closed the log here, nothing was in that file. */
  bool closed = src->newest.clean && src->newest.durable == s->next;
  return closed ? salvage_tell_damage(s, &s->pending.item)
                : salvage_settle(s, NONE);
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
      error = salvage_keep_file(s, f);
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
  /* With the last one, in which the log goes on. */
  s->report.segments_written = s->out.number + 1 - (meta->first_segment - 1);
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
