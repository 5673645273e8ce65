/* SPDX-License-Identifier: MIT
 *
 * Where a log and what somebody knew of it part: at the first record of an
 * epoch above the one known. The frames say so; nobody's word is taken for it.
 */
#include "log.h"

/* Where the last segment begins that began in an epoch up to this one. */
static uint64_t begin_search(struct duralog *log, uint64_t epoch) {
  uint64_t from = log->start, number = catalog_last(&log->catalog, log->io);
  for (bool found = false; !found && number > 0; number--) {
    struct segment *s;
    struct segment_failure why;
    if (catalog_pin(&log->catalog, &log->directory, number, &s, &why) !=
        CATALOG_OK)
      continue;
    found = atomic_load(&s->started) && s->start.epoch <= epoch &&
            s->start.offset <= atomic_load(&log->end);
    if (found) from = max_u64(from, s->start.offset);
    catalog_unpin(&log->catalog, &log->directory, s);
  }
  return from;
}

/* From the reader's position on. Damage before it might hide it, and counts as
 * it. */
static duralog_error search(duralog_reader *r, uint64_t epoch,
                            struct divergence *d) {
  uint64_t hidden_from = NONE;
  for (;;) {
    duralog_record record;
    duralog_damage damage;
    uint64_t at = 0;
    duralog_error error = duralog_read_next(r, &record);
    (void)duralog_tell(r, &at);
    if (error == DURALOG_OK && record.epoch <= epoch) {
      hidden_from = NONE;
      continue;
    }
    d->found = error == DURALOG_OK || hidden_from != NONE;
    d->epoch = error == DURALOG_OK ? record.epoch : 0;
    d->offset = min_u64(hidden_from, error ? at : record.offset);
    if (error == DURALOG_OK || error == DURALOG_E_AT_END) return DURALOG_OK;
    if (error != DURALOG_E_CORRUPT) return error;
    hidden_from = d->offset;
    if (duralog_reader_diagnose(r, &damage, NULL) || damage.to <= at ||
        duralog_seek(r, DURALOG_SEEK_OFFSET, damage.to))
      return DURALOG_OK;
  }
}

static void look_at_newest(duralog_reader *r, struct divergence *d) {
  duralog_record record;
  d->newest_epoch = d->epoch;
  if (!duralog_seek(r, DURALOG_SEEK_END, 0) &&
      !duralog_read_previous(r, &record))
    d->newest_epoch = max_u64(d->epoch, record.epoch);
}

duralog_error divergence_find(struct duralog *log, uint64_t epoch,
                              struct divergence *d) {
  duralog_reader *r;
  struct segment_failure why;
  if (log->follow) (void)follow_admit(log, NONE, &why);
  duralog_error error = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &r);
  if (error) return error;
  reader_follow_place(r)->epoch = reader_follow_place(r)->heard = NONE;
  *d = (struct divergence){.offset = begin_search(log, epoch)};
  error = duralog_seek(r, DURALOG_SEEK_OFFSET, d->offset);
  if (!error) error = search(r, epoch, d);
  if (!error && d->found) look_at_newest(r, d);
  (void)duralog_reader_close(&r);
  return error == DURALOG_E_RANGE ? DURALOG_OK : error;
}
