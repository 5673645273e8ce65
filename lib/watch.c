/* SPDX-License-Identifier: MIT
 *
 * Watches: descriptors that a host polls among its others, for "end moved",
 * "durable moved" and "a tick is due".
 *
 * A descriptor is readable from the moment there is more than the last take
 * gave, until the next take: a level, so that it is right in poll, select and
 * epoll, with EPOLLET and without. A take arms: it makes the descriptor
 * unreadable, says so under the lock, and only then looks. Whoever moves
 * something makes the armed ones readable under the same lock. So what moved
 * before is seen by the look, what moves behind it finds the watch armed, and
 * in between both happen, which costs a wake-up for nothing.
 *
 * The watcher pays. An append looks at the bits that it looks at anyway, and
 * has no fence; so take makes one in all threads behind setting its bit, as
 * every sleeper does (wait.c). Where it is refused only now, the descriptor is
 * readable at once, and the next take is exact. Syncs and kicks are rare enough
 * to look at the mask in sequentially consistent order.
 *
 * In another process than the writer's nobody can write into a descriptor of
 * ours. There a small thread of each watch sleeps on the writer's words in its
 * place, and only while the watch is armed.
 */
#include <limits.h>

#include "log.h"

struct duralog_watch {
  struct duralog *log;
  struct duralog_watch *next;
  duralog_watched what;
  int event;
  bool armed; /* under the lock: to be made readable */

  /* For those who take. */
  bool given;    /* `seen` was */
  uint64_t seen; /* under the lock where there is a bridge */
  bool over;     /* the poison was told */

  /* Of a follower. */
  void *bridge; /* the thread; NULL: this is not one */
  _Atomic uint32_t word;
  struct follow_vigil vigil; /* the bridge's, but for `stop` */
  uint64_t epoch;            /* under the lock: at the last take */
  duralog_error told;        /* under the lock: what the next take says */
};

/* ---- signals ---- */

static void event_set(struct duralog_watch *w, uint64_t deadline) {
  io_env *io = w->log->io;
  io->event_set(io, w->event, w->what == DURALOG_WATCH_TICK, deadline);
}

/* With the lock held. */
static void set_readable(struct duralog_watch *w) {
  w->armed = false;
  event_set(w, 0);
}

void watch_signal(struct duralog *log, uint32_t kinds) {
  mutex_lock(log->io, &log->watch_lock);
  for (struct duralog_watch *w = log->watches; w; w = w->next)
    if (w->armed && (kinds >> w->what & 1)) set_readable(w);
  mutex_unlock(log->io, &log->watch_lock);
}

/* ---- taking ---- */

static void arm(struct duralog_watch *w) {
  struct duralog *log = w->log;
  mutex_lock(log->io, &log->watch_lock);
  event_set(w, NONE);
  w->armed = true;
  mutex_unlock(log->io, &log->watch_lock);
}

/* Readable from then on, unless it is by now; 0: at once. */
static void set_if_armed(struct duralog_watch *w, uint64_t deadline) {
  struct duralog *log = w->log;
  mutex_lock(log->io, &log->watch_lock);
  if (w->armed && deadline == 0)
    set_readable(w);
  else if (w->armed)
    event_set(w, deadline);
  mutex_unlock(log->io, &log->watch_lock);
}

static uint64_t mark_of(const struct duralog_watch *w) {
  const struct duralog *log = w->log;
  return atomic_load(w->what == DURALOG_WATCH_DURABLE ? &log->durable
                                                      : &log->end);
}

/* Nothing will move any more: what did is given first, and then that. */
static duralog_error take_poisoned(struct duralog_watch *w, uint64_t *value) {
  struct duralog *log = w->log;
  /* An append that was let in before publishes before this. */
  atomic_fetch_or(&log->append_block, BLOCK_POISON);
  append_lock(log);
  append_unlock(log);
  uint64_t mark = mark_of(w);
  bool moved = !w->given || mark > w->seen;
  if (moved && w->what != DURALOG_WATCH_TICK) {
    *value = w->seen = mark;
    w->given = true;
    set_if_armed(w, 0);
    return DURALOG_OK;
  }
  w->over = true;
  mutex_lock(log->io, &log->watch_lock);
  w->armed = false;
  event_set(w, NONE);
  mutex_unlock(log->io, &log->watch_lock);
  return DURALOG_E_POISONED;
}

/* When a tick is due; sets the descriptor to it. */
static uint64_t take_tick(struct duralog_watch *w) {
  io_env *io = w->log->io;
  uint64_t due = background_deadline(w->log), now = io->now(io);
  if (due == NONE) return NONE;
  set_if_armed(w, due <= now ? 0 : due);
  return due <= now ? 0 : (due - now + NS_PER_MS - 1) / NS_PER_MS;
}

static duralog_error take_own(struct duralog_watch *w, uint64_t *value) {
  struct duralog *log = w->log;
  uint64_t until = NONE;
  if (w->over) return DURALOG_E_POISONED;
  arm(w);
  if (w->what != DURALOG_WATCH_DURABLE) {
    atomic_fetch_or(&log->attention, w->what == DURALOG_WATCH_END
                                         ? ATTENTION_READERS
                                         : ATTENTION_SYNCER);
    until = log_fence_appenders(log, NONE);
  }
  STEP(log->io, "watch/armed");
  if (atomic_load(&log->poisoned)) return take_poisoned(w, value);
  if (w->what == DURALOG_WATCH_TICK) {
    *value = take_tick(w);
  } else {
    *value = w->seen = mark_of(w);
    w->given = true;
  }
  if (until != NONE) set_if_armed(w, 0);
  return DURALOG_OK;
}

/* ---- a follower's ---- */

static void stir(struct duralog_watch *w) {
  io_env *io = w->log->io;
  atomic_fetch_add(&w->word, 1);
  io->wake(io, &w->word, INT_MAX);
}

/* What the bridge has to tell comes before the watermark. */
static duralog_error take_followed(struct duralog_watch *w, uint64_t *value) {
  struct duralog *log = w->log;
  follow_look(log);
  uint64_t mark = mark_of(w), epoch = atomic_load(&log->epoch);
  mutex_lock(log->io, &log->watch_lock);
  duralog_error told = w->told;
  w->told = DURALOG_OK;
  if (!told) {
    w->seen = mark;
    w->epoch = epoch;
  }
  event_set(w, NONE);
  w->armed = true;
  mutex_unlock(log->io, &log->watch_lock);
  stir(w);
  if (!told) *value = mark;
  return told;
}

static void bridge_tell(struct duralog_watch *w, duralog_error what) {
  io_env *io = w->log->io;
  bool is_told = what == DURALOG_E_NO_WRITER || what == DURALOG_E_POISONED;
  mutex_lock(io, &w->log->watch_lock);
  if (is_told) w->told = what;
  set_readable(w);
  mutex_unlock(io, &w->log->watch_lock);
}

static void bridge_main(void *context) {
  struct duralog_watch *w = context;
  struct duralog *log = w->log;
  for (;;) {
    uint32_t value = atomic_load(&w->word);
    if (atomic_load(&w->vigil.stop)) return;
    mutex_lock(log->io, &log->watch_lock);
    bool armed = w->armed;
    w->vigil.offset = w->seen;
    w->vigil.epoch = w->epoch;
    mutex_unlock(log->io, &log->watch_lock);
    if (armed)
      bridge_tell(w, follow_watch(log, &w->vigil));
    else
      log->io->wait(log->io, &w->word, value, NONE);
  }
}

/* ---- public ---- */

static int begin(struct duralog_watch *w) {
  struct duralog *log = w->log;
  io_env *io = log->io;
  int event = io->event_open(io, w->what == DURALOG_WATCH_TICK);
  if (event < 0) return event;
  w->event = event;
  event_set(w, 0); /* what was there before is not missed */
  if (log->follow) {
    w->vigil.durable = w->what == DURALOG_WATCH_DURABLE;
    int result = io->thread_start(io, bridge_main, w, &w->bridge);
    if (result) io->close(io, event);
    return result;
  }
  mutex_lock(io, &log->watch_lock);
  w->next = log->watches;
  log->watches = w;
  atomic_fetch_or(&log->watching, UINT32_C(1) << w->what);
  mutex_unlock(io, &log->watch_lock);
  return 0;
}

static duralog_error watch_open(duralog *log, duralog_watched what,
                                duralog_watch **watch) {
  if (!watch || what < DURALOG_WATCH_END || what > DURALOG_WATCH_TICK)
    return DURALOG_E_ARGUMENT;
  if (what == DURALOG_WATCH_TICK && !log->host_driven)
    return DURALOG_E_ARGUMENT;
  if (log->read_only && (!log->follow || what == DURALOG_WATCH_TICK))
    return DURALOG_E_READ_ONLY;
  struct duralog_watch *w = log->io->alloc(log->io, sizeof *w);
  if (!w)
    return log_fail(log, DURALOG_E_RESOURCES, ENOMEM, NONE, NULL,
                    "no memory for a watch");
  w->log = log;
  w->what = what;
  int result = begin(w);
  if (result) {
    log->io->free(log->io, w);
    return log_fail(log, error_while_open(-result), -result, NONE, NULL,
                    "no descriptor or thread for a watch");
  }
  atomic_fetch_add(&log->readers, 1);
  STEP(log->io, "watch/opened");
  *watch = w;
  return DURALOG_OK;
}

duralog_error duralog_watch_open(duralog *log, duralog_watched what,
                                 duralog_watch **watch) {
  duralog_error error = log_check(log);
  return error ? error : log_answer(log, watch_open(log, what, watch));
}

int duralog_watch_descriptor(const duralog_watch *w) {
  return w ? w->event : -1;
}

duralog_error duralog_watch_take(duralog_watch *w, uint64_t *value) {
  if (!w) return DURALOG_E_CLOSED;
  duralog_error error = log_check(w->log);
  if (error) return error;
  uint64_t taken = 0;
  error = w->bridge ? take_followed(w, &taken) : take_own(w, &taken);
  if (!error && value) *value = taken;
  return log_answer(w->log, error);
}

/* Nobody signals it any more. */
static void leave(struct duralog_watch *w) {
  struct duralog *log = w->log;
  if (w->bridge) {
    atomic_store(&w->vigil.stop, true);
    stir(w);
    log->io->thread_join(log->io, w->bridge);
    return;
  }
  uint32_t watching = 0;
  mutex_lock(log->io, &log->watch_lock);
  struct duralog_watch **at = &log->watches;
  while (*at != w) at = &(*at)->next;
  *at = w->next;
  for (w = log->watches; w; w = w->next) watching |= UINT32_C(1) << w->what;
  atomic_store(&log->watching, watching);
  mutex_unlock(log->io, &log->watch_lock);
}

duralog_error duralog_watch_close(duralog_watch **watch) {
  if (!watch || !*watch) return DURALOG_E_CLOSED;
  struct duralog_watch *w = *watch;
  struct duralog *log = w->log;
  /* In a forked child the bridge is not there, nor who may hold the lock. */
  if (log_check(log) == DURALOG_OK) leave(w);
  *watch = NULL; /* first: a forked child frees what it sees here */
  log->io->close(log->io, w->event);
  log->io->free(log->io, w);
  atomic_fetch_sub(&log->readers, 1);
  return DURALOG_OK;
}
