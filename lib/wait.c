/* SPDX-License-Identifier: MIT
 *
 * Waiting for the watermarks without polling.
 *
 * The sleeper pays for waking: it sets its bit, makes a barrier in all threads,
 * looks again and sleeps on the word; so an append needs no full fence, only a
 * look at the bits after it has published.
 */
#include <errno.h>
#include <limits.h>

#include "log.h"

/* While this thread has a reservation nothing else can be appended. */
static bool waits_for_itself(const struct duralog *log, uint64_t offset) {
  return atomic_load(&log->end) <= offset && reserve_is_own(log);
}

/* Another thread wants the sleeper back. */
static bool interrupted(const _Atomic uint32_t *interrupt) {
  return interrupt && atomic_load(interrupt);
}

duralog_error wait_visible(struct duralog *log, uint64_t offset,
                           uint64_t deadline,
                           const _Atomic uint32_t *interrupt) {
  io_env *io = log->io;
  for (;;) {
    if (atomic_load(&log->end) > offset) return DURALOG_OK;
    if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
    if (waits_for_itself(log, offset)) return DURALOG_E_BUSY;
    uint32_t value = atomic_load(&log->end_word);
    atomic_fetch_or(&log->attention, ATTENTION_READERS);
    uint64_t until = log_fence_appenders(log, deadline);
    if (atomic_load(&log->end) > offset || atomic_load(&log->poisoned))
      continue;
    if (interrupted(interrupt)) return DURALOG_E_WOKEN;
    STEP(io, "wait/visible");
    if (io->wait(io, &log->end_word, value, until) == -ETIMEDOUT &&
        until == deadline)
      return atomic_load(&log->end) > offset ? DURALOG_OK : DURALOG_E_TIMEOUT;
  }
}

duralog_error wait_durable(struct duralog *log, uint64_t offset,
                           uint64_t deadline,
                           const _Atomic uint32_t *interrupt) {
  io_env *io = log->io;
  duralog_error error = DURALOG_OK;
  if (waits_for_itself(log, offset)) return DURALOG_E_BUSY;
  atomic_fetch_add(&log->durable_sleepers, 1);
  for (;;) {
    uint32_t value = atomic_load(&log->durable_word);
    if (atomic_load(&log->durable) > offset) break;
    if (atomic_load(&log->poisoned)) {
      error = DURALOG_E_POISONED;
      break;
    }
    if (interrupted(interrupt)) {
      error = DURALOG_E_WOKEN;
      break;
    }
    STEP(io, "wait/durable");
    if (io->wait(io, &log->durable_word, value, deadline) == -ETIMEDOUT) {
      if (atomic_load(&log->durable) <= offset) error = DURALOG_E_TIMEOUT;
      break;
    }
  }
  atomic_fetch_sub(&log->durable_sleepers, 1);
  return error;
}

void wait_interrupt(struct duralog *log) {
  io_env *io = log->io;
  if (log->follow) {
    follow_interrupt(log);
    return;
  }
  log_wake_readers(log);
  atomic_fetch_add(&log->durable_word, 1);
  io->wake(io, &log->durable_word, INT_MAX);
}

static duralog_error wait_for_sync(struct duralog *log, uint64_t offset,
                                   uint64_t deadline, int64_t timeout_ms) {
  if (atomic_load(&log->durable) > offset) return DURALOG_OK;
  if (timeout_ms != 0 && (deadline == NONE || log->host_driven))
    return sync_await(log, offset + 1, 0);
  /* With a limit, the thread does the sync. */
  if (atomic_load(&log->poisoned)) return DURALOG_E_POISONED;
  atomic_store(&log->sync_wanted, true);
  log_kick(log, WORKER_SYNCER);
  uint64_t began = log->io->now(log->io);
  duralog_error error = wait_durable(log, offset, deadline, NULL);
  log_count_wait(log, began);
  return error;
}

static duralog_error wait_level(duralog *log, uint64_t offset,
                                duralog_level level, int64_t timeout_ms) {
  if (level < DURALOG_LEVEL_DEFAULT || level > DURALOG_LEVEL_DURABLE)
    return DURALOG_E_ARGUMENT;
  if (level == DURALOG_LEVEL_DEFAULT && log->follow)
    level = follow_level(log);
  else if (level == DURALOG_LEVEL_DEFAULT)
    level = log->durable_each ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN;
  if (log->follow)
    return follow_wait(log, NULL, level, offset,
                       log_deadline(log->io, timeout_ms), NULL);
  if (log->read_only) {
    bool there = level == DURALOG_LEVEL_DURABLE
                     ? atomic_load(&log->durable) > offset
                     : atomic_load(&log->end) > offset;
    return there ? DURALOG_OK : DURALOG_E_READ_ONLY;
  }
  uint64_t deadline = log_deadline(log->io, timeout_ms);
  duralog_error error = wait_visible(log, offset, deadline, NULL);
  if (error || level == DURALOG_LEVEL_WRITTEN) return error;
  return wait_for_sync(log, offset, deadline, timeout_ms);
}

duralog_error duralog_wait(duralog *log, uint64_t offset, duralog_level level,
                           int64_t timeout_ms) {
  duralog_error error = log_check(log);
  if (error) return error;
  return log_answer(log, wait_level(log, offset, level, timeout_ms));
}
