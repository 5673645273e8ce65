/* SPDX-License-Identifier: MIT
 *
 * Opening: recover and build the handle.
 *
 *   directory_open    directory, lock, meta file
 *   gather            from the newest segment back to the last sealed one: the
 *                     unsealed part, mapped read-only as views
 *   recovery_plan     what the log is (pure; recovery.c)
 *   judge             damage: fail, or go on where that was asked for
 *   take_over         a writer: remove what was cut, open the unsealed segments
 *                     for writing, place the tail
 *
 * Each step can be repeated: a crash in the middle leads to the same plan (I6).
 * Nothing is written into a segment before the first append or sync, and
 * nothing needs space.
 */
#include "open.h"

#include <errno.h>

enum {
  DATA_RANGES_MAX = 4096,
  /* Header page, a record's own framing, an EPOCH and a ROLL frame, rounded up:
   * what a segment needs besides its largest record. */
  RECORD_ROOM_BYTES = 4352
};

struct views {
  struct recovery_view *list;
  struct seal *ends;
  int *files;
  size_t count, capacity;
  struct recovery_point from;
  uint64_t gap_segment; /* the first number missing among the sealed, or 0 */
};

/* ---- options ---- */

/* What is wrong with them; NULL if nothing. */
static const char *options_problem(const duralog_options *o) {
  struct policy policy;
  if (o->segment_bytes < SEGMENT_BYTES_MIN ||
      o->segment_bytes > SEGMENT_BYTES_MAX || o->segment_bytes % 4096 != 0)
    return "segment_bytes: from 16 KiB to 1 GiB, a multiple of 4096";
  if (o->record_bytes_max > o->segment_bytes - RECORD_ROOM_BYTES)
    return "record_bytes_max: at most segment_bytes less 4352";
  if (o->read_level < DURALOG_LEVEL_DEFAULT ||
      o->read_level > DURALOG_LEVEL_DURABLE)
    return "read_level: no such level";
  if (o->file_mode > 0777) return "file_mode: permission bits only";
  if (o->read_only && o->accept_damage)
    return "accept_damage writes, read_only does not: choose one";
  if (!policy_make(&policy, &o->durability))
    return o->durability.pagecache
               ? "durability: pagecache excludes every other trigger"
               : "durability: sync_interval_ms is 10 at least";
  return NULL;
}

static const char *options_normalise(const duralog_options *given,
                                     duralog_options *out) {
  *out = (duralog_options){.struct_size = sizeof *out};
  if (given) {
    if (given->struct_size != sizeof *given)
      return "options: struct_size is not one that this release knows";
    *out = *given;
  }
  if (!out->segment_bytes)
    out->segment_bytes = UINT64_C(1) << (out->small_device ? 20 : 26);
  if (!out->record_bytes_max) out->record_bytes_max = out->segment_bytes / 4;
  if (!out->file_mode) out->file_mode = 0600;
  return options_problem(out);
}

static void apply_options(struct duralog *log, const duralog_options *o) {
  policy_make(&log->policy, &o->durability);
  log->policy_idle = policy_idle(&log->policy);
  log->durable_each = policy_durable_each(&log->policy);
  log->segment_bytes = o->segment_bytes;
  log->record_bytes_max = o->record_bytes_max;
  log->read_only = o->read_only;
  log->strict = o->strict;
  log->pad_syncs = o->pad_syncs;
  log->small_device = o->small_device;
  log->copying_reads = o->copying_reads;
  log->catalog.mapped = !o->copying_reads;
  log->directory.file_mode = o->file_mode;
  log->read_level = o->read_level;
  if (log->read_level == DURALOG_LEVEL_DEFAULT)
    log->read_level =
        log->durable_each ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN;
}

/* ---- views of the unsealed part ---- */

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
  if (view->bytes)
    io->unmap(io, (void *)(uintptr_t)view->bytes, view->size);
  if (*file >= 0) io->close(io, *file);
  view->bytes = NULL;
  *file = -1;
}

static void views_free(struct views *v, io_env *io) {
  for (size_t i = 0; i < v->count; i++)
    view_close(io, &v->list[i], &v->files[i]);
  if (v->list) io->free(io, v->list);
  if (v->ends) io->free(io, v->ends);
  if (v->files) io->free(io, v->files);
  *v = (struct views){.list = NULL};
}

static bool views_reserve(struct views *v, io_env *io, size_t capacity) {
  v->list = io->alloc(io, capacity * sizeof *v->list);
  v->ends = io->alloc(io, capacity * sizeof *v->ends);
  v->files = io->alloc(io, capacity * sizeof *v->files);
  v->capacity = capacity;
  return v->list && v->ends && v->files;
}

/* The seal of segment `number`, if it has a readable one. */
static duralog_error read_seal(struct opening *o, uint64_t number,
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
        read_seal(o, l->numbers[l->count - 1 - n], &seal, &sealed);
    if (error) return error;
    if (!sealed) continue;
    v->from = (struct recovery_point){.offset = seal.end_offset,
                                      .epoch = seal.epoch,
                                      .check = seal.last_check};
    break;
  }
  if (!sealed && m->accepted_segment)
    v->from = (struct recovery_point){.offset = m->accepted_offset,
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
  uint64_t expected = first > 0 ? l->numbers[first - 1] + 1
                                : max_u64(o->meta.first_segment,
                                          SEGMENT_NUMBER_FIRST);
  if (first > 0 && l->numbers[first - 1] < o->meta.accepted_segment)
    expected = o->meta.accepted_segment;
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

static duralog_error gather(struct opening *o, struct views *v) {
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
  return error;
}

/* ---- report ---- */

static void report_damage(struct opening *o, duralog_damage damage) {
  duralog_report *r = &o->report;
  if (r->damage_count < sizeof r->damage / sizeof *r->damage)
    r->damage[r->damage_count] = damage;
  r->damage_count++;
}

/* A gap among the sealed segments, by what its neighbours say. */
static void report_gap(struct opening *o, uint64_t missing) {
  const struct number_list *l = &o->listing.segments;
  struct seal seal;
  bool sealed;
  duralog_damage damage = {.segment = missing};
  (void)read_seal(o, missing - 1, &seal, &sealed); /* it only makes the range
                                                     * more exact */
  if (sealed) damage.from = seal.end_offset;
  damage.to = damage.from;
  for (size_t i = 0; i < l->count; i++) {
    struct segment *s;
    struct segment_failure why;
    if (l->numbers[i] < missing ||
        !segment_open(&o->log->directory, l->numbers[i], false, false, &s, &why))
      continue;
    if (atomic_load(&s->started)) damage.to = s->start.offset;
    segment_close(&o->log->directory, s);
    break;
  }
  report_damage(o, damage);
}

static void fill_report(struct opening *o, const struct recovery_plan *plan,
                        const struct views *v) {
  static const uint8_t unknown[16];
  duralog_report *r = &o->report;
  r->segment_bytes = o->options.segment_bytes;
  r->record_bytes_max = o->options.record_bytes_max;
  r->end = plan->end.offset;
  r->durable_found = min_u64(plan->durable, plan->end.offset);
  r->durable = r->durable_found;
  r->torn_bytes = plan->torn_bytes;
  r->epoch = plan->end.epoch;
  r->segments_walked = plan->segments_walked;
  r->bytes_walked = plan->bytes_walked;
  r->clean = plan->clean;
  r->segments = o->listing.segments.count - v->count + plan->end_view +
                (v->count ? 1 : 0);
  r->reboot_known = memcmp(plan->boot_id, unknown, 16) != 0 &&
                    memcmp(o->log->boot_id, unknown, 16) != 0;
  r->rebooted =
      r->reboot_known && memcmp(plan->boot_id, o->log->boot_id, 16) != 0;
  if (o->meta_lost) report_damage(o, (duralog_damage){.segment = META_NUMBER});
  if (v->gap_segment) report_gap(o, v->gap_segment);
  for (size_t i = 0; i < plan->damage_count; i++) {
    if (i < sizeof plan->damage / sizeof *plan->damage)
      report_damage(o, plan->damage[i]);
    else
      r->damage_count++;
  }
}

static duralog_error judge(struct opening *o, const struct recovery_plan *plan) {
  if (plan->verdict == RECOVERY_NEWER)
    return opening_fail(o, DURALOG_E_NEWER, 0, NULL,
                        "the log holds something of a newer release");
  if (o->report.damage_count == 0 || o->options.read_only ||
      o->options.accept_damage)
    return DURALOG_OK;
  const duralog_damage *first = &o->report.damage[0];
  char name[NAME_BYTES] = META_NAME;
  if (first->segment != META_NUMBER) segment_name(name, first->segment);
  opening_fail(o, DURALOG_E_CORRUPT, 0, name,
               first->segment == META_NUMBER
                   ? "the meta file is missing or damaged"
                   : "data that had been durable is damaged or missing");
  if (o->diagnostic && o->diagnostic->struct_size >= sizeof *o->diagnostic)
    o->diagnostic->position = first->position;
  return DURALOG_E_CORRUPT;
}

/* ---- building the handle ---- */

static duralog_error no_memory(struct opening *o) {
  return opening_fail(o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                      "no memory for the table of segments");
}

/* All segments up to `last` that are not among the views. */
static duralog_error catalog_sealed(struct opening *o, uint64_t below) {
  const struct number_list *l = &o->listing.segments;
  for (size_t i = 0; i < l->count && l->numbers[i] < below; i++)
    if (!catalog_add(&o->log->catalog, o->log->io, l->numbers[i], NULL))
      return no_memory(o);
  return DURALOG_OK;
}

static duralog_error adopt(struct opening *o, uint64_t number,
                           struct segment **out) {
  struct segment_failure why;
  struct duralog *log = o->log;
  if (!segment_open(&log->directory, number, true, true, out, &why))
    return opening_fail_segment(o, number, &why);
  if (catalog_add(&log->catalog, log->io, number, *out)) return DURALOG_OK;
  segment_close(&log->directory, *out);
  return no_memory(o);
}

static uint64_t newest_mark(struct opening *o, const struct segment *s) {
  return mark_newest(s->map, o->log->directory.uuid, s->number).sequence;
}

/* A prepared segment that was never used is used. */
static bool is_pristine(struct opening *o, const struct recovery_view *view) {
  struct identity id;
  return view->bytes &&
         identity_decode(&id, view->bytes) == BLOCK_VALID &&
         memcmp(id.uuid, o->log->directory.uuid, sizeof id.uuid) == 0 &&
         all_zero(view->bytes + START_AT, SEGMENT_HEADER_BYTES - START_AT) &&
         all_zero(view->bytes + SEGMENT_HEADER_BYTES, FRAME_HEADER_BYTES) &&
         view->size == o->log->segment_bytes;
}

static void place_tail(struct duralog *log, struct segment *s,
                       const struct recovery_plan *plan, int64_t time_max_ms) {
  log->tail.last_check = plan->last_check;
  tail_enter(log, s, &plan->end);
  log->tail.time_max_ms = time_max_ms;
  atomic_store(&log->end, plan->end.offset);
  atomic_store(&log->epoch, plan->end.epoch);
  log->epoch_next = plan->epoch_max + 1;
  atomic_store(&log->append_block, BLOCK_BEGIN);
  atomic_store(&log->unsynced_since, log->io->now_coarse(log->io));
}

static duralog_error take_over(struct opening *o, struct views *v,
                               const struct recovery_plan *plan) {
  struct duralog *log = o->log;
  size_t end = plan->end_view;
  uint64_t first = v->list[0].number, last = v->list[end].number;
  bool next = end + 1 < v->count && is_pristine(o, &v->list[end + 1]);
  for (size_t i = 0; i < v->count; i++)
    view_close(log->io, &v->list[i], &v->files[i]);
  duralog_error error = directory_clean(o, last + (next ? 1 : 0));
  if (!error) error = catalog_sealed(o, first);
  struct segment *s = NULL;
  for (size_t i = 0; !error && i <= end; i++) {
    error = adopt(o, v->list[i].number, &s);
    if (!error && i < end) s->end = v->ends[i];
  }
  if (error) return error;
  place_tail(log, s, plan, v->ends[end].time_max_ms);
  log->lead.first_unsynced = first;
  atomic_store(&log->seal_next, first);
  log->lead.mark_sequence = newest_mark(o, s);
  log->clean_mark = plan->marked_clean;
  log->found_clean = plan->clean;
  uint64_t durable = min_u64(plan->durable, plan->end.offset);
  atomic_store(&log->durable, durable);
  log->settle_from = durable;
  log->settle_segment_first = first;
  log->settle_segment_last = last;
  log->settle_end_position = plan->end.position;
  /* Also where only frames without offsets lie behind what is proven: a later
   * record's proof goes through them. */
  atomic_store(&log->settle_pending, !plan->clean);
  if (next) {
    struct segment *prepared;
    error = adopt(o, last + 1, &prepared);
    if (!error) atomic_store(&log->next, prepared);
  }
  return error;
}

/* Make durable what a damaged log still holds: write it again and sync it, the
 * same bytes, as settling does. */
static duralog_error settle_damaged(struct opening *o,
                                    const struct recovery_view *view) {
  io_env *io = o->log->io;
  char name[NAME_BYTES];
  if (!view->bytes) return DURALOG_OK;
  segment_name(name, view->number);
  int file = io->file_open(io, o->log->directory.handle, name, IO_WRITE, 0);
  if (file < 0)
    return opening_fail_os(o, file, name, "cannot open a damaged segment");
  int result = 0;
  uint64_t end = min_u64(view->data_end, view->size);
  uint8_t copy[4096];
  for (uint64_t at = 0; !result && at < end; at += sizeof copy) {
    size_t n = (size_t)min_u64(sizeof copy, end - at);
    memcpy(copy, view->bytes + at, n);
    result = io->file_write(io, file, copy, n, at);
  }
  if (!result) result = io->file_sync(io, file, IO_SYNC_DATA);
  io->close(io, file);
  return result ? opening_fail(o, DURALOG_E_POISONED, -result, name,
                               "cannot make a damaged segment durable")
                : DURALOG_OK;
}

/*
 * Go on behind damage: a new segment, at or above every offset that may have
 * been used, and the meta file says so; everything older stays as it is. The
 * meta file comes last: until it is durable, the log is as damaged as before.
 */
static duralog_error accept(struct opening *o, struct views *v,
                            struct recovery_plan *plan) {
  struct duralog *log = o->log;
  const struct number_list *l = &o->listing.segments;
  uint64_t number = l->count ? l->numbers[l->count - 1] + 1
                             : o->meta.first_segment + 1;
  uint64_t offset = max_u64(plan->durable, plan->end.offset);
  struct segment *s;
  struct segment_failure why;
  duralog_error error = DURALOG_OK;
  for (size_t i = 0; !error && i < v->count; i++)
    error = settle_damaged(o, &v->list[i]);
  if (!error) error = directory_clean(o, number);
  if (!error) error = catalog_sealed(o, number);
  if (error) return error;
  if (!segment_create(&log->directory, number, log->segment_bytes,
                      log->io->wall_ms(log->io), &s, &why))
    return opening_fail_segment(o, number, &why);
  if (!catalog_add(&log->catalog, log->io, number, s)) {
    segment_close(&log->directory, s);
    return no_memory(o);
  }
  o->meta.accepted_segment = number;
  o->meta.accepted_offset = offset;
  o->meta.accepted_epoch = plan->epoch_max;
  error = directory_write_meta(o);
  if (error) return error;
  plan->end = (struct walk){.segment = number,
                            .bytes = s->bytes,
                            .base = offset,
                            .offset = offset,
                            .epoch = plan->epoch_max,
                            .position = SEGMENT_HEADER_BYTES};
  plan->last_check = 0;
  place_tail(log, s, plan, INT64_MIN);
  log->lead.first_unsynced = number;
  atomic_store(&log->seal_next, number);
  atomic_store(&log->durable, offset);
  return DURALOG_OK;
}

static duralog_error look_only(struct opening *o, struct views *v,
                               const struct recovery_plan *plan) {
  struct duralog *log = o->log;
  uint64_t last = plan->end_view < v->count ? v->list[plan->end_view].number
                                            : UINT64_MAX - 1;
  duralog_error error = catalog_sealed(o, last + 1);
  atomic_store(&log->append_block, BLOCK_READ_ONLY);
  atomic_store(&log->active, last);
  log->tail.position = plan->end.position;
  atomic_store(&log->end, plan->end.offset);
  atomic_store(&log->durable, min_u64(plan->durable, plan->end.offset));
  atomic_store(&log->epoch, plan->end.epoch);
  return error;
}

static duralog_error find_start(struct opening *o) {
  struct duralog *log = o->log;
  struct segment *s;
  log->start = 0;
  if (o->meta.first_segment <= SEGMENT_NUMBER_FIRST) return DURALOG_OK;
  if (catalog_next(&log->catalog, &log->directory, 0, &s) != CATALOG_OK)
    return DURALOG_OK;
  log->start = min_u64(s->start.offset, atomic_load(&log->end));
  catalog_unpin(&log->catalog, &log->directory, s);
  return DURALOG_OK;
}

static duralog_error recover(struct opening *o) {
  struct duralog *log = o->log;
  io_env *io = log->io;
  struct views v = {.list = NULL};
  struct recovery_plan plan;
  uint64_t began = io->now(io);
  duralog_error error = gather(o, &v);
  if (!error) {
    struct recovery_input in = {.from = v.from,
                                .views = v.list,
                                .ends = v.ends,
                                .count = v.count,
                                .writer_lives = o->report.writer_lives};
    memcpy(in.uuid, log->directory.uuid, sizeof in.uuid);
    recovery_plan(&in, &plan);
    o->report.walk_ns = io->now(io) - began;
    fill_report(o, &plan, &v);
    error = judge(o, &plan);
  }
  if (!error && o->options.read_only)
    error = look_only(o, &v, &plan);
  else if (!error && o->report.damage_count)
    error = accept(o, &v, &plan);
  else if (!error)
    error = take_over(o, &v, &plan);
  views_free(&v, io);
  return error ? error : find_start(o);
}

/* Where every append waits for durability, what was recovered is durable when
 * open returns: otherwise its readers would miss what had been acknowledged. */
static duralog_error settle_now(struct opening *o) {
  struct duralog *log = o->log;
  if (atomic_load(&log->durable) == atomic_load(&log->end)) return DURALOG_OK;
  if (!log->durable_each && !log->strict) return DURALOG_OK;
  uint64_t began = log->io->now(log->io);
  duralog_error error = sync_until(log, atomic_load(&log->end), 0);
  o->report.sync_ns = log->io->now(log->io) - began;
  if (error)
    opening_fail(o, error, log->diagnostic.os_error, NULL,
                 "cannot sync what was recovered");
  return error;
}

static duralog_error start_threads(struct opening *o) {
  struct duralog *log = o->log;
  if (log->read_only || o->options.host_driven) return DURALOG_OK;
  int result = background_start(log);
  return result ? opening_fail(o, DURALOG_E_RESOURCES, -result, NULL,
                               "cannot start the background threads")
                : DURALOG_OK;
}

/* Free everything. In a forked child (`inherited`) the lock's descriptor is
 * closed already, and its number may be the child's own by now. */
static void log_free(struct duralog *log, bool inherited) {
  io_env *io = log->io;
  catalog_close(&log->catalog, &log->directory);
  if (log->directory.handle >= 0) io->close(io, log->directory.handle);
  if (log->lock_file >= 0 && !inherited) io->unlock(io, log->lock_file);
  io->free(io, log);
}

static duralog_error opening_run(struct opening *o) {
  struct duralog *log = o->log;
  log->owner = log->io->owner_word(log->io);
  if (!log->owner)
    return opening_fail(o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                        "cannot guard against fork");
  log->owner_value = atomic_load(log->owner);
  log->io->boot_id(log->io, log->boot_id);
  log->fence_appends = !log->io->fence_all(log->io);
  duralog_error error = directory_open(o);
  if (!error) error = recover(o);
  if (!error) error = settle_now(o);
  if (!error) error = start_threads(o);
  o->report.start = log->start;
  o->report.end = max_u64(o->report.end, atomic_load(&log->end));
  o->report.durable = max_u64(o->report.durable, atomic_load(&log->durable));
  return error;
}

duralog_error duralog_open(const char *path, const duralog_options *options,
                           duralog **log, duralog_report *report,
                           duralog_diagnostic *diagnostic) {
  struct opening o = {.path = path ? path : "", .diagnostic = diagnostic};
  o.report.struct_size = sizeof o.report;
  const char *problem = options_normalise(options, &o.options);
  if (!path || !*path || !log) problem = "path and log are required";
  if ((report && report->struct_size != sizeof *report) ||
      (diagnostic && diagnostic->struct_size != sizeof *diagnostic))
    problem = "struct_size is not one that this release knows";
  if (problem) return opening_fail(&o, DURALOG_E_ARGUMENT, 0, NULL, problem);
  io_env *io = o.options.environment ? o.options.environment : io_posix();
  o.log = io->alloc(io, sizeof *o.log);
  if (!o.log)
    return opening_fail(&o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                        "no memory for a log");
  o.log->io = io;
  o.log->directory.io = io;
  o.log->directory.handle = -1;
  o.log->lock_file = -1;
  o.log->diagnostic.struct_size = sizeof o.log->diagnostic;
  apply_options(o.log, &o.options);
  duralog_error error = opening_run(&o);
  listing_free(&o.listing, io);
  if (report) *report = o.report;
  if (error)
    log_free(o.log, false);
  else
    *log = o.log;
  return error;
}

/* ---- closing ---- */

/* Sync what is unsynced and say durably that nothing follows. */
static duralog_error finish(struct duralog *log) {
  if (log->read_only) return DURALOG_OK;
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  duralog_error error = background_seal(log);
  if (error) return error;
  uint32_t lead = sync_lead_take(log);
  error = sync_run(log, IO_SYNC_DATA);
  if (!error && !log->found_clean) error = sync_mark(log, true, IO_SYNC_CLEAN);
  sync_lead_give(log, lead);
  return error;
}

duralog_error duralog_close(duralog **log) {
  if (!log || !*log) return DURALOG_E_CLOSED;
  bool inherited = log_check(*log) == DURALOG_E_FORKED;
  duralog_error error = DURALOG_OK;
  if (!inherited) {
    if (atomic_load(&(*log)->readers)) return DURALOG_E_BUSY;
    background_stop(*log);
    error = finish(*log);
  }
  log_free(*log, inherited);
  *log = NULL;
  return error;
}

/* ---- segments ---- */

static duralog_error segment_of_index(duralog *log, size_t index,
                                      uint64_t *number) {
  if (!catalog_number(&log->catalog, log->io, index, number) ||
      *number > atomic_load(&log->active))
    return DURALOG_E_RANGE;
  return DURALOG_OK;
}

/* Where the segment ends: by its seal, by the log's end, by its successor. */
static uint64_t segment_end(duralog *log, const struct segment *s) {
  uint64_t end = atomic_load(&log->end);
  struct segment *next;
  if (s->number == atomic_load(&log->active)) return end;
  if (atomic_load(&s->sealed)) return s->end.end_offset;
  if (catalog_next(&log->catalog, &log->directory, s->number, &next) ==
      CATALOG_OK) {
    end = min_u64(end, next->start.offset);
    catalog_unpin(&log->catalog, &log->directory, next);
  }
  return end;
}

static uint64_t tail_position(duralog *log, uint64_t number) {
  append_lock(log);
  bool still = number == atomic_load(&log->active);
  uint64_t position = still ? log->tail.position : 0;
  append_unlock(log);
  return position;
}

duralog_error duralog_get_segment(duralog *log, size_t index,
                                  duralog_segment *out) {
  duralog_error error = log_check(log);
  uint64_t number;
  struct segment *s;
  struct segment_failure why;
  if (error) return error;
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  error = segment_of_index(log, index, &number);
  if (error) return error;
  enum catalog_result result =
      catalog_pin(&log->catalog, &log->directory, number, &s, &why);
  if (result == CATALOG_FAILED) return log_fail_segment(log, number, &why);
  *out = (duralog_segment){.struct_size = sizeof *out, .number = number};
  if (result != CATALOG_OK) {
    out->damaged = true;
    return DURALOG_OK;
  }
  bool started = atomic_load(&s->started);
  out->first = started ? s->start.offset : atomic_load(&log->end);
  out->end = segment_end(log, s);
  out->bytes = s->bytes;
  out->sealed = atomic_load(&s->sealed);
  out->used = out->sealed ? s->end.end_position : 0;
  if (number == atomic_load(&log->active)) out->used = tail_position(log, number);
  if (started) {
    out->epoch = s->start.epoch;
    out->created_ms = s->start.time_ms;
  }
  catalog_unpin(&log->catalog, &log->directory, s);
  return DURALOG_OK;
}
