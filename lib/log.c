/* SPDX-License-Identifier: MIT
 *
 * What all parts of an open log share: failures, diagnostics, wake-ups.
 */
#include "log.h"

#include <errno.h>
#include <limits.h>

duralog_error error_from_os(int os_error) {
  switch (os_error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return DURALOG_E_FULL;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN: return DURALOG_E_RESOURCES;
    case ENOENT: return DURALOG_E_NOT_FOUND;
    case EACCES:
    case EPERM: return DURALOG_E_PERMISSION;
    case EROFS: return DURALOG_E_READ_ONLY;
    case ENOTDIR:
    case EISDIR:
    case ELOOP: return DURALOG_E_FOREIGN;
    default: return DURALOG_E_IO;
  }
}

duralog_error error_while_open(int os_error) {
  duralog_error error = error_from_os(os_error);
  return error == DURALOG_E_FULL || error == DURALOG_E_RESOURCES ? error
                                                                 : DURALOG_E_IO;
}

_Static_assert(DURALOG_STATS_ERRORS > -DURALOG_E_CLOSED &&
                   DURALOG_STATS_KINDS >= DURALOG_SYNC_KIND_COUNT,
               "the statistics have room for every error and kind of sync");

void log_count(const struct duralog *log, duralog_error error) {
  struct duralog *counting = (struct duralog *)(uintptr_t)log;
  counter_add(&counting->counts.errors[-(int)error], 1);
}

void log_count_wait(struct duralog *log, uint64_t began_ns) {
  counter_add(&log->counts.waits, 1);
  counter_add(&log->counts.wait_ns, log->io->now(log->io) - began_ns);
}

static void copy_text(char *to, size_t room, const char *from) {
  size_t length = from ? strlen(from) : 0;
  if (length >= room) { /* the end of a path says more than its beginning */
    from += length - (room - 1);
    length = room - 1;
  }
  if (length) memcpy(to, from, length);
  to[length] = 0;
}

void diagnostic_fill(duralog_diagnostic *d, duralog_error error, int os_error,
                     uint64_t position, const char *path, const char *text) {
  if (!d || d->struct_size < sizeof *d) return;
  d->error = error;
  d->os_error = os_error;
  d->position = position;
  copy_text(d->path, sizeof d->path, path);
  copy_text(d->text, sizeof d->text, text);
}

duralog_error log_fail(struct duralog *log, duralog_error error, int os_error,
                       uint64_t position, const char *name, const char *text) {
  mutex_lock(log->io, &log->diagnostic_lock);
  diagnostic_fill(&log->diagnostic, error, os_error, position, name, text);
  mutex_unlock(log->io, &log->diagnostic_lock);
  return error;
}

void log_wake_readers(struct duralog *log) {
  atomic_fetch_and(&log->attention, ~(uint32_t)ATTENTION_READERS);
  atomic_fetch_add(&log->end_word, 1);
  log->io->wake(log->io, &log->end_word, INT_MAX);
  log_signal(log, WATCHED_END);
}

void log_wake_durable(struct duralog *log) {
  if (atomic_load(&log->control->attention) & CONTROL_DURABLE_SLEEPERS)
    control_wake(log->control, log->io, CONTROL_DURABLE_SLEEPERS);
  log_signal(log, WATCHED_DURABLE);
  if (atomic_load(&log->durable_sleepers) == 0) return;
  atomic_fetch_add(&log->durable_word, 1);
  log->io->wake(log->io, &log->durable_word, INT_MAX);
}

void log_kick(struct duralog *log, enum worker_kind kind) {
  struct worker *worker = &log->workers[kind];
  if (log->host_driven && !atomic_load(&log->watching)) return;
  if (kind == WORKER_SYNCER)
    atomic_fetch_and(&log->attention, ~(uint32_t)ATTENTION_SYNCER);
  if (log->host_driven) {
    log_signal(log, WATCHED_TICK);
    return;
  }
  if (kind == WORKER_SYNCER) { /* other processes wake it, too */
    atomic_fetch_add(&log->control->sync_word, 1);
    log->io->wake_shared(log->io, &log->control->sync_word, 1);
    return;
  }
  atomic_fetch_add(&worker->word, 1);
  log->io->wake(log->io, &worker->word, 1);
}

static duralog_error poison(struct duralog *log, int os_error,
                            uint64_t position, const char *name,
                            const char *text) {
  mutex_lock(log->io, &log->freeze);
  bool first = !atomic_exchange(&log->poisoned, true);
  mutex_unlock(log->io, &log->freeze);
  atomic_fetch_or(&log->append_block, BLOCK_POISON);
  if (first) log_fail(log, DURALOG_E_POISONED, os_error, position, name, text);
  for (int i = 0; i < 2; i++) {
    atomic_fetch_add(&log->lead.word[i], 1);
    log->io->wake(log->io, &log->lead.word[i], INT_MAX);
  }
  atomic_fetch_add(&log->durable_word, 1);
  log->io->wake(log->io, &log->durable_word, INT_MAX);
  reserve_poisoned(log);
  log_wake_readers(log);
  log_signal(log, WATCHED_ALL);
  share_poison(log);
  return DURALOG_E_POISONED;
}

duralog_error log_poison(struct duralog *log, int os_error, const char *name,
                         const char *text) {
  return poison(log, os_error, NONE, name, text);
}

duralog_error log_fail_segment(struct duralog *log, uint64_t number,
                               const struct segment_failure *why) {
  char name[NAME_BYTES];
  segment_name(name, number);
  if (why->sync_failed)
    return poison(log, why->os_error, why->position, name, why->text);
  duralog_error error = why->newer      ? DURALOG_E_NEWER
                        : why->os_error ? error_while_open(why->os_error)
                                        : DURALOG_E_CORRUPT;
  return log_fail(log, error, why->os_error, why->position, name, why->text);
}

uint64_t log_fence_appenders(struct duralog *log, uint64_t deadline) {
  enum { NEAR_NS = 10 * 1000 * 1000 };
  if (log->io->fence_all(log->io) || atomic_load(&log->fence_appends))
    return deadline;
  /* It was refused only now: those who append at this moment may miss us. */
  atomic_store(&log->fence_appends, true);
  return min_u64(deadline, log->io->now(log->io) + NEAR_NS);
}

uint64_t log_deadline(io_env *io, int64_t timeout_ms) {
  if (timeout_ms < 0 || (uint64_t)timeout_ms > UINT64_MAX / 2 / NS_PER_MS)
    return NONE;
  return io->now(io) + (uint64_t)timeout_ms * NS_PER_MS;
}

bool log_segment_limit(struct duralog *log, const struct segment *s,
                       uint64_t *limit, struct segment_failure *why) {
  struct segment *next;
  *limit = NONE;
  if (s->number >= log->accepted_segment) return true;
  *limit = log->accepted_offset;
  enum catalog_result result =
      catalog_next(&log->catalog, &log->directory, s->number, &next, why);
  if (result != CATALOG_OK) return result != CATALOG_FAILED;
  *limit = min_u64(*limit, next->start.offset);
  catalog_unpin(&log->catalog, &log->directory, next);
  return true;
}

/* ---- public: errors, diagnostics ---- */

const char *duralog_error_name(duralog_error error) {
  switch (error) {
#define NAME_CASE(name, value, text) \
  case DURALOG_##name: return "DURALOG_" #name;
    DURALOG_ERRORS(NAME_CASE)
#undef NAME_CASE
  }
  return "unknown";
}

const char *duralog_error_text(duralog_error error) {
  switch (error) {
#define TEXT_CASE(name, value, text) \
  case DURALOG_##name: return text;
    DURALOG_ERRORS(TEXT_CASE)
#undef TEXT_CASE
  }
  return "unknown";
}

#define VERSION_TEXT_(a, b, c) #a "." #b "." #c
#define VERSION_TEXT(a, b, c) VERSION_TEXT_(a, b, c)

const char *duralog_version(void) {
  return VERSION_TEXT(DURALOG_VERSION_MAJOR, DURALOG_VERSION_MINOR,
                      DURALOG_VERSION_PATCH);
}

static duralog_error diagnose(const duralog *log, duralog_diagnostic *out) {
  if (!out || out->struct_size != sizeof *out) return DURALOG_E_ARGUMENT;
  struct duralog *mutable_log = (struct duralog *)(uintptr_t)log;
  mutex_lock(log->io, &mutable_log->diagnostic_lock);
  *out = log->diagnostic;
  mutex_unlock(log->io, &mutable_log->diagnostic_lock);
  return DURALOG_OK;
}

duralog_error duralog_diagnose(const duralog *log, duralog_diagnostic *out) {
  /* In a forked child a thread that is gone may hold the lock. */
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, diagnose(log, out));
}
