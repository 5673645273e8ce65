/* SPDX-License-Identifier: MIT
 *
 * Going on behind damage, where the host asked for it. Nothing of the damaged
 * part is changed: it stays for readers to meet and for salvage to look at.
 */
#include <errno.h>

#include "open.h"

struct copying {
  uint8_t *to;
  const uint8_t *from;
  size_t size;
};

static void copy_out(void *context) {
  const struct copying *c = context;
  memcpy(c->to, c->from, c->size);
}

/* Make durable what a damaged log still holds: write it again and sync it, the
 * same bytes, as settling does. */
static duralog_error settle_damaged(struct opening *o, const struct views *v,
                                    const struct recovery_view *view) {
  io_env *io = o->log->io;
  char name[NAME_BYTES];
  if (!view->bytes) return DURALOG_OK;
  segment_name(name, view->number);
  int file = io->file_open(io, o->log->directory.handle, name, IO_WRITE, 0);
  if (file < 0)
    return opening_fail_os(o, file, name, "cannot open a damaged segment");
  int result = 0;
  duralog_error error = DURALOG_OK;
  uint64_t end = min_u64(view->data_end, view->size);
  uint8_t copy[4096];
  for (uint64_t at = 0; !error && !result && at < end; at += sizeof copy) {
    size_t n = (size_t)min_u64(sizeof copy, end - at);
    struct copying c = {copy, view->bytes + at, n};
    error = views_access(o, v, copy_out, &c);
    if (!error) result = io_write(io, file, copy, n, at);
  }
  if (!error && !result)
    result = io->file_sync(io, file, NULL, IO_SYNC_DAMAGED);
  io->close(io, file);
  if (error) return error;
  return result ? opening_fail(o, DURALOG_E_POISONED, -result, name,
                               "cannot make a damaged segment durable")
                : DURALOG_OK;
}

/*
 * Go on behind damage: a new segment, at or above every watermark known, in an
 * epoch above every one seen, and the meta file says so; everything older stays
 * as it is. The meta file comes last: until it is durable, the log is as
 * damaged as before.
 */
duralog_error accept_damage(struct opening *o, struct views *v,
                            struct recovery_plan *plan) {
  struct duralog *log = o->log;
  const struct number_list *l = &o->listing.segments;
  uint64_t number =
      l->count ? l->numbers[l->count - 1] + 1 : o->meta.first_segment + 1;
  uint64_t offset = max_u64(plan->durable, plan->end.offset);
  struct segment *s;
  struct segment_failure why;
  duralog_error error = DURALOG_OK;
  STEP(log->io, "accept/begin");
  for (size_t i = 0; !error && i < v->count; i++)
    error = settle_damaged(o, v, &v->list[i]);
  STEP(log->io, "accept/settled");
  if (!error) error = directory_clean(o, number, true);
  if (!error) error = opening_catalog(o, number);
  if (error) return error;
  if (!segment_create(&log->directory, number, log->segment_bytes,
                      log->io->wall_ms(log->io), &s, &why))
    return opening_fail_segment(o, number, &why);
  if (!log->policy_idle)
    (void)log->io->map_scattered(log->io, s->map, s->bytes);
  if (!catalog_add(&log->catalog, log->io, number, s)) {
    segment_close(&log->directory, s);
    return opening_no_memory(o);
  }
  STEP(log->io, "accept/created");
  o->meta.accepted_segment = number;
  o->meta.accepted_offset = offset;
  o->meta.accepted_epoch = plan->epoch_max;
  error = directory_write_meta(o);
  if (error) return error;
  STEP(log->io, "accept/durable");
  plan->end = (struct walk){.segment = number,
                            .bytes = s->bytes,
                            .base = offset,
                            .offset = offset,
                            .epoch = plan->epoch_max,
                            .position = SEGMENT_HEADER_BYTES};
  plan->last_check = 0;
  opening_place_tail(o, s, plan, INT64_MIN);
  log->lead.first_unsynced = number;
  atomic_store(&log->seal_next, number);
  atomic_store(&log->durable, offset);
  return DURALOG_OK;
}
