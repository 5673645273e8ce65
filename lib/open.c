/* SPDX-License-Identifier: MIT
 *
 * Opening: recover and build the handle.
 *
 *   directory_open    directory, lock, meta file
 *   views_gather      from the newest segment back to the last sealed one: the
 *                     unsealed part, mapped read-only as views
 *   recovery_plan     what the log is (pure; recovery.c)
 *   judge             damage: fail, or go on where that was asked for
 *   accept_damage     go on in a new segment behind it (accept.c)
 *   take_over         a writer: remove what was cut, open the unsealed segments
 *                     for writing, place the tail
 *
 * Each step can be repeated: a crash in the middle leads to the same plan (I6).
 * Nothing is written into a segment before the first append or sync, and
 * nothing needs space.
 */
#include "open.h"

#include <errno.h>

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
  (void)views_read_seal(o, missing - 1, &seal, &sealed); /* it only makes the
                                                          * range more exact */
  if (sealed) damage.from = seal.end_offset;
  damage.to = damage.from;
  for (size_t i = 0; i < l->count; i++) {
    struct segment *s;
    struct segment_failure why;
    if (l->numbers[i] < missing ||
        !segment_open(&o->log->directory, l->numbers[i], false, false, &s,
                      &why))
      continue;
    if (atomic_load(&s->started)) damage.to = s->start.offset;
    segment_close(&o->log->directory, s);
    break;
  }
  report_damage(o, damage);
}

static uint64_t segments_kept(const struct opening *o,
                              const struct recovery_plan *plan,
                              const struct views *v) {
  const struct number_list *l = &o->listing.segments;
  uint64_t n = 0;
  while (n < l->count && (plan->end_view >= v->count ||
                          l->numbers[n] <= v->list[plan->end_view].number))
    n++;
  return n;
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
  r->epoch = plan->record_epoch;
  r->segments_walked = plan->segments_walked;
  r->bytes_walked = plan->bytes_walked;
  r->clean = plan->clean;
  r->segments = segments_kept(o, plan, v);
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

static duralog_error judge(struct opening *o,
                           const struct recovery_plan *plan) {
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

duralog_error opening_no_memory(struct opening *o) {
  return opening_fail(o, DURALOG_E_RESOURCES, ENOMEM, NULL,
                      "no memory for the table of segments");
}

/* All segments up to `last` that are not among the views. */
duralog_error opening_catalog(struct opening *o, uint64_t below) {
  const struct number_list *l = &o->listing.segments;
  for (size_t i = 0; i < l->count && l->numbers[i] < below; i++)
    if (!catalog_add(&o->log->catalog, o->log->io, l->numbers[i], NULL))
      return opening_no_memory(o);
  return DURALOG_OK;
}

static duralog_error adopt(struct opening *o, uint64_t number,
                           struct segment **out) {
  struct segment_failure why;
  struct duralog *log = o->log;
  if (!segment_open(&log->directory, number, true, true, out, &why))
    return opening_fail_segment(o, number, &why);
  if (!log->policy_idle)
    (void)log->io->map_scattered(log->io, (*out)->map, (*out)->bytes);
  if (catalog_add(&log->catalog, log->io, number, *out)) return DURALOG_OK;
  segment_close(&log->directory, *out);
  return opening_no_memory(o);
}

struct marks {
  const struct segment *segment;
  const uint8_t *uuid;
  uint64_t newest;
};

static void look_at_marks(void *context) {
  struct marks *m = context;
  const struct segment *s = m->segment;
  m->newest = mark_newest(s->map, m->uuid, s->number).sequence;
}

static duralog_error newest_mark(struct opening *o, const struct segment *s,
                                 uint64_t *sequence) {
  struct marks m = {.segment = s, .uuid = o->log->directory.uuid};
  struct segment_failure why;
  if (!segment_access(s, o->log->io, look_at_marks, &m, &why))
    return opening_fail_segment(o, s->number, &why);
  *sequence = m.newest;
  return DURALOG_OK;
}

/* A prepared segment that was never used: frames of an earlier life must not
 * lie behind a later start. Where the last writer closed the log it saw to
 * that. */
static bool is_pristine(struct opening *o, const struct recovery_view *view,
                        bool clean) {
  struct identity id;
  uint64_t end = min_u64(view->data_end, view->size);
  return view->bytes && identity_decode(&id, view->bytes) == BLOCK_VALID &&
         memcmp(id.uuid, o->log->directory.uuid, sizeof id.uuid) == 0 &&
         view->size == o->log->segment_bytes &&
         all_zero(view->bytes + START_AT, SEGMENT_HEADER_BYTES - START_AT) &&
         (clean || end <= SEGMENT_HEADER_BYTES ||
          all_zero(view->bytes + SEGMENT_HEADER_BYTES,
                   end - SEGMENT_HEADER_BYTES));
}

struct pristine {
  struct opening *opening;
  const struct recovery_view *view;
  bool clean, is;
};

static void look_at_pristine(void *context) {
  struct pristine *p = context;
  p->is = is_pristine(p->opening, p->view, p->clean);
}

void opening_place_tail(struct opening *o, struct segment *s,
                        const struct recovery_plan *plan, int64_t time_max_ms) {
  struct duralog *log = o->log;
  log->tail.last_check = plan->last_check;
  tail_enter(log, s, &plan->end);
  log->tail.time_max_ms = time_max_ms;
  atomic_store(&log->end, plan->end.offset);
  atomic_store(&log->epoch, plan->record_epoch);
  atomic_store(&log->frame_epoch, plan->end.epoch);
  log->epoch_next = plan->epoch_max + 1;
  atomic_store(&log->append_block, BLOCK_BEGIN);
  atomic_store(&log->unsynced_since, log->io->now_coarse(log->io));
}

static duralog_error take_over(struct opening *o, struct views *v,
                               const struct recovery_plan *plan) {
  struct duralog *log = o->log;
  size_t end = plan->end_view;
  uint64_t first = v->list[0].number, last = v->list[end].number;
  struct pristine after = {o, &v->list[end + 1], plan->clean, false};
  duralog_error error = DURALOG_OK;
  if (end + 1 < v->count) error = views_access(o, v, look_at_pristine, &after);
  bool next = after.is;
  views_unmap(v, log->io);
  STEP(log->io, "recover/unmapped");
  if (!error) error = directory_clean(o, last + (next ? 1 : 0), next);
  if (!error) error = opening_catalog(o, first);
  struct segment *s = NULL;
  for (size_t i = 0; !error && i <= end; i++) {
    error = adopt(o, v->list[i].number, &s);
    if (!error && i < end) s->end = v->ends[i];
  }
  if (!error) error = newest_mark(o, s, &log->lead.mark_sequence);
  if (error) return error;
  STEP(log->io, "recover/adopted");
  opening_place_tail(o, s, plan, v->ends[end].time_max_ms);
  STEP(log->io, "recover/tail");
  log->lead.first_unsynced = first;
  atomic_store(&log->seal_next, first);
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

static duralog_error look_only(struct opening *o, struct views *v,
                               const struct recovery_plan *plan) {
  struct duralog *log = o->log;
  uint64_t last = plan->end_view < v->count ? v->list[plan->end_view].number
                                            : UINT64_MAX - 1;
  duralog_error error = opening_catalog(o, last + 1);
  atomic_store(&log->append_block, BLOCK_READ_ONLY);
  atomic_store(&log->active, last);
  log->tail.position = plan->end.position;
  atomic_store(&log->end, plan->end.offset);
  atomic_store(&log->durable, min_u64(plan->durable, plan->end.offset));
  atomic_store(&log->epoch, plan->record_epoch);
  return error;
}

static duralog_error find_start(struct opening *o) {
  struct duralog *log = o->log;
  struct segment *s;
  struct segment_failure why;
  log->start = 0;
  if (o->meta.first_segment <= SEGMENT_NUMBER_FIRST) return DURALOG_OK;
  enum catalog_result result =
      catalog_next(&log->catalog, &log->directory, 0, &s, &why);
  if (result == CATALOG_FAILED)
    return opening_fail_segment(o, o->meta.first_segment, &why);
  if (result != CATALOG_OK) return DURALOG_OK;
  log->start = min_u64(s->start.offset, atomic_load(&log->end));
  catalog_unpin(&log->catalog, &log->directory, s);
  return DURALOG_OK;
}

struct planning {
  const struct recovery_input *in;
  struct recovery_plan *plan;
};

static void plan_body(void *context) {
  const struct planning *p = context;
  recovery_plan(p->in, p->plan);
}

static duralog_error make_plan(struct opening *o, struct views *v,
                               struct recovery_plan *plan) {
  duralog_error error = views_gather(o, v);
  if (error) return error;
  struct recovery_input in = {.from = v->from,
                              .views = v->list,
                              .ends = v->ends,
                              .count = v->count,
                              .writer_lives = o->report.writer_lives};
  memcpy(in.uuid, o->log->directory.uuid, sizeof in.uuid);
  struct planning p = {&in, plan};
  return views_access(o, v, plan_body, &p);
}

static duralog_error recover(struct opening *o) {
  struct duralog *log = o->log;
  io_env *io = log->io;
  struct views v = {.list = NULL};
  struct recovery_plan plan;
  uint64_t began = io->now(io);
  duralog_error error = make_plan(o, &v, &plan);
  if (!error && o->options.read_only && !o->report.writer_lives) {
    /* A writer that began meanwhile made the evidence worthless. */
    error = directory_look_for_writer(o);
    if (!error && o->report.writer_lives) {
      views_free(&v, io);
      error = make_plan(o, &v, &plan);
    }
  }
  if (!error) {
    o->report.walk_ns = io->now(io) - began;
    fill_report(o, &plan, &v);
    STEP(io, "recover/planned");
    error = judge(o, &plan);
  }
  if (!error && o->options.read_only)
    error = look_only(o, &v, &plan);
  else if (!error && o->report.damage_count)
    error = accept_damage(o, &v, &plan);
  else if (!error)
    error = take_over(o, &v, &plan);
  log->accepted_segment = o->meta.accepted_segment;
  log->accepted_offset = o->meta.accepted_offset;
  views_free(&v, io);
  return error ? error : find_start(o);
}

/* Where every append waits for durability, what was recovered is durable when
 * open returns: otherwise its readers would miss what had been acknowledged. */
static duralog_error settle_now(struct opening *o) {
  struct duralog *log = o->log;
  if (log->read_only || atomic_load(&log->durable) == atomic_load(&log->end))
    return DURALOG_OK;
  if (!log->durable_each && !log->strict) return DURALOG_OK;
  uint64_t began = log->io->now(log->io);
  duralog_error error = sync_until(log, atomic_load(&log->end), 0);
  o->report.sync_ns = log->io->now(log->io) - began;
  STEP(log->io, "recover/settled");
  if (error)
    opening_fail(o, error, log->diagnostic.os_error, NULL,
                 "cannot sync what was recovered");
  return error;
}

/* Let others see the log, or go along with another: neither is worth a failure
 * to open. A damaged log is looked at as it is. */
static void share_or_follow(struct opening *o) {
  struct duralog *log = o->log;
  if (!log->read_only)
    o->report.unshared = share_begin(log, &o->made_control) != 0;
  else if (o->report.damage_count || !follow_begin(log, o->report.writer_lives))
    if (log->follow) follow_end(log);
  o->report.follows = log->follow != NULL;
}

static duralog_error start_threads(struct opening *o) {
  struct duralog *log = o->log;
  if (log->host_driven) return DURALOG_OK;
  int result = background_start(log);
  return result ? opening_fail(o, DURALOG_E_RESOURCES, -result, NULL,
                               "cannot start the background threads")
                : DURALOG_OK;
}

/* Free everything. In a forked child (`inherited`) the lock's descriptor is
 * closed already, and its number may be the child's own by now. */
static void log_free(struct duralog *log, bool inherited) {
  io_env *io = log->io_count.inner; /* the log's own goes with it */
  if (!inherited) share_end(log);
  if (log->control != &log->own_control)
    control_close(&log->directory, log->control);
  if (log->follow) follow_end(log);
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
  if (!error && log->read_only) follow_prepare(log);
  if (!error) error = recover(o);
  if (!error) error = settle_now(o);
  if (!error) share_or_follow(o);
  if (!error) error = start_threads(o);
  log->end_opened = atomic_load(&log->end);
  o->report.start = log->start;
  if (log->follow && o->report.writer_lives)
    o->report.end = o->report.durable = 0; /* the writer's */
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
  o.log->control = &o.log->own_control;
  o.log->io = io_count_around(&o.log->io_count, io);
  o.log->directory.io = o.log->io;
  o.log->directory.handle = -1;
  o.log->lock_file = -1;
  o.log->diagnostic.struct_size = sizeof o.log->diagnostic;
  options_apply(o.log, &o.options);
  duralog_error error = opening_run(&o);
  if (error) directory_undo(&o);
  listing_free(&o.listing, io);
  if (report) *report = o.report;
  STEP(io, "open/done");
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
  STEP(log->io, "close/begin");
  duralog_error error = background_seal(log);
  if (error) return error;
  STEP(log->io, "close/sealed");
  uint32_t lead = sync_lead_take(log);
  error = sync_run(log, IO_SYNC_DATA);
  STEP(log->io, "close/synced");
  if (!error && !log->found_clean) error = sync_mark(log, true, IO_SYNC_CLEAN);
  STEP(log->io, "close/marked");
  sync_lead_give(log, lead);
  return error;
}

duralog_error duralog_close(duralog **log) {
  if (!log || !*log) return DURALOG_E_CLOSED;
  bool inherited = log_check(*log) == DURALOG_E_FORKED;
  duralog_error error = DURALOG_OK;
  if (!inherited) {
    if (atomic_load(&(*log)->readers) || reserve_is_out(*log))
      return log_answer(*log, DURALOG_E_BUSY);
    background_stop(*log);
    error = finish(*log);
  }
  if (!inherited) STEP((*log)->io, "close/free");
  log_free(*log, inherited);
  *log = NULL;
  return error;
}
