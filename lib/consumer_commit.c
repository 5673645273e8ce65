/* SPDX-License-Identifier: MIT
 *
 * Committing. What makes a commit durable, in this order: the records before
 * the offset, by the log's sync; the slot; the file's sync. So a commit that
 * is called durable never outlives its records. One that is not may: then the
 * group is told at its next opening (group.c).
 */
#include "consumer.h"

static duralog_level level_of(const struct duralog_consumer *c,
                              duralog_level level) {
  if (level == DURALOG_LEVEL_DEFAULT) level = c->commit_level;
  if (level != DURALOG_LEVEL_DEFAULT) return level;
  return follow_durable_each(c->log) ? DURALOG_LEVEL_DURABLE
                                     : DURALOG_LEVEL_WRITTEN;
}

/* The epoch of the record before the offset. */
static duralog_error epoch_before(struct duralog_consumer *c, uint64_t offset,
                                  uint64_t *epoch) {
  if (offset == c->epoch_at) {
    *epoch = c->epoch;
    return DURALOG_OK;
  }
  if (c->count && offset > c->records[0].offset &&
      offset <= c->records[c->count - 1].offset + 1) {
    *epoch = c->records[offset - 1 - c->records[0].offset].epoch;
    return DURALOG_OK;
  }
  return group_epoch_before(c->log, offset, epoch);
}

/* What is wrong with a commit before it begins. */
static duralog_error check(struct duralog_consumer *c, uint64_t *offset,
                           duralog_level level, const char *metadata) {
  if (level < DURALOG_LEVEL_DEFAULT || level > DURALOG_LEVEL_DURABLE ||
      (metadata && strlen(metadata) > DURALOG_METADATA_MAX))
    return DURALOG_E_ARGUMENT;
  if (c->diverged) return DURALOG_E_EPOCH;
  if (c->group.sync_failed) return DURALOG_E_POISONED;
  if (*offset == DURALOG_POLLED) *offset = c->reader->offset;
  return *offset < c->floor || *offset > c->reader->offset ? DURALOG_E_RANGE
                                                           : DURALOG_OK;
}

/* In another process: that what is durable is what was consumed. */
static duralog_error still_fits(struct duralog_consumer *c, uint64_t offset,
                                uint64_t epoch) {
  bool fits = true;
  uint64_t divergence;
  duralog_error error =
      c->log->follow ? group_fits(c->log, offset, epoch, &fits, &divergence)
                     : DURALOG_OK;
  return error ? error : fits ? DURALOG_OK : DURALOG_E_EPOCH;
}

static duralog_error store(struct duralog_consumer *c, uint64_t offset,
                           uint64_t epoch, duralog_level level,
                           const char *metadata) {
  duralog_error error = DURALOG_OK;
  if (level == DURALOG_LEVEL_DURABLE) {
    error = group_records_durable(c->log, offset);
    if (!error) error = still_fits(c, offset, epoch);
  }
  if (!error)
    error = group_commit(c->log, &c->group, offset, epoch, level, metadata);
  return error;
}

/* ---- pending ones ---- */

static struct pending_commit *pending_at(struct duralog_consumer *c, size_t i) {
  return &c->pending[(c->pending_first + i) % PENDING_MAX];
}

static bool may_finish(struct duralog_consumer *c,
                       const struct pending_commit *p) {
  if (p->level != DURALOG_LEVEL_DURABLE) return true;
  if (c->log->follow) follow_look(c->log);
  return atomic_load(&c->log->durable) >= p->offset ||
         atomic_load(&c->log->poisoned);
}

/* How the first `count` of them went. Where they failed, what they promised to
 * commit may be committed again. */
static void tell(struct duralog_consumer *c, size_t count,
                 duralog_error error) {
  uint64_t committed = c->group.state.offset;
  if (error)
    c->floor = min_u64(c->floor, committed == NONE ? c->log->start : committed);
  for (size_t i = 0; i < count; i++) {
    const struct pending_commit *p = pending_at(c, i);
    if (p->done) p->done(p->context, p->offset, error);
  }
  c->pending_first = (c->pending_first + count) % PENDING_MAX;
  c->pending_count -= count;
}

/* The first `count` of them by one commit, that of the last. */
static void finish(struct duralog_consumer *c, size_t count) {
  struct pending_commit *last = pending_at(c, count - 1);
  duralog_level level = DURALOG_LEVEL_WRITTEN;
  for (size_t i = 0; i < count; i++)
    if (pending_at(c, i)->level == DURALOG_LEVEL_DURABLE)
      level = DURALOG_LEVEL_DURABLE;
  duralog_error error = store(c, last->offset, last->epoch, level,
                              last->has_metadata ? last->metadata : NULL);
  if (error) log_count(c->log, error);
  tell(c, count, error);
}

void consumer_drop_pending(struct duralog_consumer *c, duralog_error error) {
  if (c->pending_count) tell(c, c->pending_count, error);
}

void consumer_finish_pending(struct duralog_consumer *c, bool all) {
  size_t count = 0;
  while (count < c->pending_count &&
         (all || may_finish(c, pending_at(c, count))))
    count++;
  if (count) finish(c, count);
}

static void ask_for_sync(struct duralog *log, uint64_t offset) {
  if (atomic_load(&log->durable) >= offset) return;
  if (log->follow) {
    (void)follow_ask(log, offset);
  } else if (!log->read_only) {
    atomic_store(&log->sync_wanted, true);
    log_kick(log, WORKER_SYNCER);
  }
}

static duralog_error commit_async(struct duralog_consumer *c, uint64_t offset,
                                  duralog_level level, const char *metadata,
                                  duralog_committed *done, void *context) {
  uint64_t epoch;
  duralog_error error = check(c, &offset, level, metadata);
  if (!error) error = epoch_before(c, offset, &epoch);
  if (error) return error;
  if (c->pending_count == PENDING_MAX) consumer_finish_pending(c, true);
  struct pending_commit *p = pending_at(c, c->pending_count++);
  *p = (struct pending_commit){.offset = offset,
                               .epoch = epoch,
                               .level = level_of(c, level),
                               .done = done,
                               .context = context,
                               .has_metadata = metadata != NULL};
  if (metadata) memcpy(p->metadata, metadata, strlen(metadata));
  c->floor = offset; /* in order: the next one is not below it */
  if (p->level == DURALOG_LEVEL_DURABLE) ask_for_sync(c->log, offset);
  return DURALOG_OK;
}

/* ---- public ---- */

duralog_error consumer_commit(struct duralog_consumer *c, uint64_t offset,
                              duralog_level level, const char *metadata) {
  uint64_t epoch;
  duralog_error error = check(c, &offset, level, metadata);
  if (error) return error;
  consumer_finish_pending(c, true);
  error = epoch_before(c, offset, &epoch);
  if (!error) error = store(c, offset, epoch, level_of(c, level), metadata);
  if (!error) c->floor = offset;
  return error;
}

duralog_error consumer_commit_polled(struct duralog_consumer *c) {
  bool nothing = c->reader->offset == c->group.state.offset;
  if (nothing || c->diverged) return DURALOG_OK;
  return consumer_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DEFAULT, NULL);
}

duralog_error duralog_commit(duralog_consumer *c, uint64_t offset,
                             duralog_level level, const char *metadata) {
  duralog_error error = consumer_check(c);
  if (error) return error;
  return log_answer(c->log, consumer_commit(c, offset, level, metadata));
}

duralog_error duralog_commit_async(duralog_consumer *c, uint64_t offset,
                                   duralog_level level, const char *metadata,
                                   duralog_committed *done, void *context) {
  duralog_error error = consumer_check(c);
  if (error) return error;
  return log_answer(c->log,
                    commit_async(c, offset, level, metadata, done, context));
}
