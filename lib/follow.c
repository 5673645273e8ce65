/* SPDX-License-Identifier: MIT
 *
 * Following a writer in another process: a read-only log whose watermarks are
 * those of the control file, for as long as it likes, over any number of
 * writers, the first of which may be yet to come. What recovery found counts
 * until there is one: the file of a writer that was dead before says nothing,
 * since the machine may have stopped in between.
 *
 * Nothing here trusts the file (control.h). Within one generation watermarks
 * are only taken when they grow. At a new generation the table of segments is
 * made from the directory again, since a recovery may have removed some and
 * others may have taken their names; who reads keeps what it has pinned.
 *
 * Epochs. A reader that stood at an epoch may have read records that the next
 * writer did not find any more. So it is told of each new epoch, before it gets
 * any record of it, and where: at the first offset of an epoch above the one it
 * knows. The log itself says which that is, by its frames, also where several
 * writers came and went in between. The epoch in the control file only says
 * that it is time to look: whatever stands there, a record of a later writer is
 * not given out untold.
 *
 * Waiting. The writer wakes those who have set their bit. Everything else a
 * sleeper has to find out by itself, ten times a second: whether the kernel
 * still holds the writer's lock, and whether the file under the name is still
 * the one it looks at. Process ids would mean nothing between containers.
 */
#include <errno.h>

#include "open.h"

enum {
  CONTROLS_MAX = 16, /* control files in one handle's life */
  LOOK_NS = 100 * 1000 * 1000,
  PACE_NS = 10 * 1000,
  PACE_RECORD_NS = 500, /* a writer that is slower is not at full speed */
  PAUSE_NS = 25,        /* about: of spin_pause */
  EAGER_NS = 50 * 1000,
  EAGER_LOOKS = 50,
  EAGER_PAUSES = 40,        /* between two looks: a microsecond */
  NAP_NS = 10 * 1000 * 1000 /* where a sleeper cannot be sure to be woken */
};

struct follow {
  struct mutex lock;
  /* The last one counts; older ones stay mapped for those who still look. */
  struct control *controls[CONTROLS_MAX];
  bool writable[CONTROLS_MAX];
  _Atomic uint32_t count;
  _Atomic uint64_t generation; /* that was looked at last */
  _Atomic bool adopted;        /* the log has its watermarks */
  _Atomic bool durable_each;   /* that writer's mode */
  _Atomic uint64_t proven;     /* epoch: of a record that was met */
  _Atomic uint64_t buried;     /* as in struct follow_place, for duralog_wait */
};

static struct control *current(const struct follow *f, bool *writable) {
  uint32_t i = atomic_load(&f->count) - 1;
  *writable = f->writable[i];
  return f->controls[i];
}

/* ---- watermarks ---- */

/* The segments that are there, up to the writer's newest. */
static bool list_again(struct duralog *log, uint64_t active) {
  struct opening o = {.path = "", .log = log};
  bool ok =
      directory_list(&o) == DURALOG_OK && directory_read_meta(&o) == DURALOG_OK;
  size_t count = 0;
  while (ok && count < o.listing.segments.count &&
         o.listing.segments.numbers[count] <= active)
    count++;
  ok = ok && catalog_replace(&log->catalog, &log->directory,
                             o.listing.segments.numbers, count);
  if (ok && !o.meta_lost) {
    atomic_store(&log->accepted_offset, o.meta.accepted_offset);
    atomic_store(&log->accepted_segment, o.meta.accepted_segment);
  }
  listing_free(&o.listing, log->io);
  return ok;
}

bool follow_has_met_writer(const struct duralog *log) {
  return log->follow && atomic_load(&log->follow->adopted);
}

bool follow_durable_each(const struct duralog *log) {
  return follow_has_met_writer(log) ? atomic_load(&log->follow->durable_each)
                                    : log->durable_each;
}

duralog_level follow_level(const struct duralog *log) {
  if (!log->writers_level || !follow_has_met_writer(log))
    return log->read_level;
  return follow_durable_each(log) ? DURALOG_LEVEL_DURABLE
                                  : DURALOG_LEVEL_WRITTEN;
}

/* Take over a view, with the lock held; false: to be tried again. */
static bool adopt(struct duralog *log, const struct control_view *v) {
  struct follow *f = log->follow;
  uint64_t durable = min_u64(v->durable, v->end);
  bool new = v->generation != atomic_load(&f->generation);
  if (!new && !atomic_load(&f->adopted))
    return true; /* dead, and recovery knows more */
  if (new && !list_again(log, v->active)) return false;
  if (new || v->active > atomic_load(&log->active))
    atomic_store(&log->active, v->active);
  if (new &&durable < atomic_load(&log->durable))
    atomic_store(&log->durable, durable);
  if (new || v->end > atomic_load(&log->end)) atomic_store(&log->end, v->end);
  if (durable > atomic_load(&log->durable))
    atomic_store(&log->durable, durable);
  if (new || v->epoch > atomic_load(&log->epoch))
    atomic_store(&log->epoch, v->epoch);
  atomic_store(&f->durable_each, v->durable_each);
  atomic_store(&f->generation, v->generation);
  atomic_store(&f->adopted, true);
  return true;
}

void follow_look(struct duralog *log) {
  struct follow *f = log->follow;
  struct control_view v;
  bool writable;
  mutex_lock(log->io, &f->lock);
  if (control_look(current(f, &writable), &v)) (void)adopt(log, &v);
  mutex_unlock(log->io, &f->lock);
}

/* ---- segments ---- */

/* With the lock held. */
static enum catalog_result admit(struct duralog *log, uint64_t number,
                                 struct segment_failure *why) {
  struct segment *s;
  if (!segment_open(&log->directory, number, false, log->catalog.mapped, &s,
                    why)) {
    bool failed = why->os_error != 0;
    return failed ? CATALOG_FAILED : CATALOG_DAMAGED;
  }
  if (!atomic_load(&s->started)) {
    segment_close(&log->directory, s);
    return CATALOG_ABSENT;
  }
  if (!catalog_add(&log->catalog, log->io, number, s)) {
    segment_close(&log->directory, s);
    *why = (struct segment_failure){.os_error = ENOMEM,
                                    .position = NONE,
                                    .text = "no memory for one more segment"};
    return CATALOG_FAILED;
  }
  catalog_unpin(&log->catalog, &log->directory, s);
  return CATALOG_OK;
}

enum catalog_result follow_admit(struct duralog *log, uint64_t number,
                                 struct segment_failure *why) {
  enum catalog_result result = CATALOG_OK;
  mutex_lock(log->io, &log->follow->lock);
  uint64_t last = catalog_last(&log->catalog, log->io);
  uint64_t to = follow_has_met_writer(log)
                    ? min_u64(number, atomic_load(&log->active))
                    : last;
  /* However far `active` says, the first one that is not there ends it. */
  while (last < to && result == CATALOG_OK) {
    result = admit(log, last + 1, why);
    if (result == CATALOG_OK) last++;
  }
  mutex_unlock(log->io, &log->follow->lock);
  return last >= number         ? CATALOG_OK
         : result == CATALOG_OK ? CATALOG_ABSENT
                                : result;
}

duralog_error follow_up(struct duralog *log) {
  struct segment_failure why;
  if (!log->follow) return DURALOG_OK;
  follow_look(log);
  uint64_t next = catalog_last(&log->catalog, log->io) + 1;
  if (follow_admit(log, NONE, &why) == CATALOG_FAILED)
    return log_fail_segment(log, next, &why);
  follow_look(log); /* `end` may have been older than `active` */
  return DURALOG_OK;
}

/* ---- epochs ---- */

/* NONE stands for something else. */
static uint64_t epoch_heard(const struct duralog *log) {
  return min_u64(atomic_load(&log->epoch), NONE - 1);
}

void follow_enter(struct duralog *log, struct follow_place *p) {
  p->epoch = p->heard = NONE;
  if (!log->follow) return;
  follow_look(log);
  p->generation = atomic_load(&log->follow->generation);
  p->heard = epoch_heard(log);
  p->epoch = min_u64(p->heard, atomic_load(&log->follow->proven));
  p->searched = NONE;
}

static void prove(struct follow *f, struct follow_place *p, uint64_t epoch) {
  p->epoch = max_u64(p->epoch, epoch);
  if (epoch > atomic_load(&f->proven)) atomic_store(&f->proven, epoch);
}

/* A later writer may have appended. `met`: an epoch above the one that the
 * reader knows, of a record; 0: only the control file says so. What was heard
 * of by the time that the reader's writer went is what it knows, unless no
 * record bears that out. */
static duralog_error later_writer(struct duralog *log, struct follow_place *p,
                                  uint64_t met, uint64_t offset) {
  struct divergence d = {.found = false};
  duralog_error error = DURALOG_OK;
  uint64_t end = atomic_load(&log->end), known = max_u64(p->heard, p->epoch);
  if (!met && end == p->searched) return DURALOG_OK;
  if (!met || known < met) error = divergence_find(log, known, &d);
  if (!error && !d.found && p->epoch < known)
    error = divergence_find(log, p->epoch, &d);
  if (error) return error;
  if (!d.found && !met) { /* an epoch without records is none */
    p->searched = end;
    return DURALOG_OK;
  }
  if (!d.found) d = (struct divergence){.offset = offset, .newest_epoch = met};
  /* What it had not gone back from before is still so. */
  if (p->beyond) d.offset = min_u64(d.offset, p->divergence);
  p->generation = atomic_load(&log->follow->generation);
  p->heard = epoch_heard(log);
  p->searched = NONE;
  prove(log->follow, p, d.newest_epoch);
  p->divergence = d.offset;
  p->divergence_epoch = d.newest_epoch;
  p->diverged = true;
  p->beyond = offset > d.offset;
  return DURALOG_E_EPOCH;
}

/* The control file names another epoch than before. */
static duralog_error heard_of_epoch(struct duralog *log, struct follow_place *p,
                                    uint64_t offset) {
  follow_look(log);
  uint64_t epoch = epoch_heard(log);
  if (epoch == p->heard) return DURALOG_OK;
  if (atomic_load(&log->follow->generation) != p->generation)
    return later_writer(log, p, 0, offset);
  p->heard = epoch; /* its writer's first append came after the reader */
  return DURALOG_OK;
}

duralog_error follow_epoch(struct duralog *log, struct follow_place *p,
                           uint64_t offset) {
  bool writable;
  uint64_t epoch = atomic_load_explicit(&current(log->follow, &writable)->epoch,
                                        memory_order_acquire);
  if (UNLIKELY(epoch != p->heard && p->heard != NONE)) {
    duralog_error error = heard_of_epoch(log, p, offset);
    if (error) return error;
  }
  return UNLIKELY(p->beyond && offset > p->divergence) ? DURALOG_E_EPOCH
                                                       : DURALOG_OK;
}

duralog_error follow_met(struct duralog *log, struct follow_place *p,
                         uint64_t epoch, uint64_t offset) {
  follow_look(log);
  if (atomic_load(&log->follow->generation) != p->generation)
    return later_writer(log, p, epoch, offset);
  prove(log->follow, p, epoch);
  return DURALOG_OK;
}

/* ---- waiting ---- */

struct sleeper {
  struct duralog *log;
  const _Atomic uint32_t *interrupt; /* or NULL */
  bool asks;                         /* the writer, for a sync */
  struct follow_place *place;        /* NULL: nobody to be told of epochs */
  struct follow_vigil *vigil;        /* of a watch, or NULL */
  _Atomic uint64_t *buried;
  bool durable;
  uint64_t offset, deadline, looked_at;
};

/* What the wait is over by; AT_END: nothing yet. */
static duralog_error sleeper_look(struct sleeper *s) {
  struct duralog *log = s->log;
  follow_look(log);
  if (s->place) {
    duralog_error error = follow_epoch(log, s->place, s->offset);
    if (error) return error;
  }
  if (s->vigil && (atomic_load(&s->vigil->stop) ||
                   atomic_load(&log->epoch) != s->vigil->epoch))
    return DURALOG_E_EPOCH;
  uint64_t mark = atomic_load(s->durable ? &log->durable : &log->end);
  if (mark > s->offset) return DURALOG_OK;
  return s->interrupt && atomic_load(s->interrupt) ? DURALOG_E_WOKEN
                                                   : DURALOG_E_AT_END;
}

/* Another file under the name, of a writer that lives: go on with that. */
static void look_for_another_control(struct duralog *log) {
  struct follow *f = log->follow;
  struct control *other;
  struct control_view v;
  bool writable;
  if (control_open(&log->directory, &other, &writable)) return;
  mutex_lock(log->io, &f->lock);
  bool before;
  uint32_t count = atomic_load(&f->count);
  uint64_t generation = atomic_load(&current(f, &before)->generation);
  bool better = count < CONTROLS_MAX && control_look(other, &v) &&
                v.state != CONTROL_CLOSED && v.generation != generation;
  if (better) {
    f->controls[count] = other;
    f->writable[count] = writable;
    atomic_store(&f->count, count + 1);
  }
  mutex_unlock(log->io, &f->lock);
  if (!better) control_close(&log->directory, other);
}

/* To each who waits, but once to a watch. */
static duralog_error tell_poison(struct sleeper *s, uint64_t generation) {
  if (!s->vigil) return DURALOG_E_POISONED;
  duralog_error error = sleeper_look(s);
  if (error != DURALOG_E_AT_END) return error;
  bool told = s->vigil->poisoned == generation;
  s->vigil->poisoned = generation;
  return told ? DURALOG_OK : DURALOG_E_POISONED;
}

/* How it stands with the writer: NO_WRITER is said once for each. OK: there is
 * one, or it was said; `*gone` then. */
static duralog_error look_at_writer(struct sleeper *s, bool *gone) {
  struct duralog *log = s->log;
  bool writable;
  uint32_t state = atomic_load(&current(log->follow, &writable)->state);
  int locked = log->io->locked(log->io, log->directory.handle, LOCK_NAME);
  *gone = locked == 0 || state == CONTROL_CLOSED;
  s->looked_at = log->io->now(log->io);
  if (locked != 0) look_for_another_control(log);
  uint64_t generation = atomic_load(&log->follow->generation);
  if (!*gone && state != CONTROL_POISONED) return DURALOG_OK;
  if (!*gone) return tell_poison(s, generation);
  /* What it left behind comes first. */
  duralog_error error = sleeper_look(s);
  if (error != DURALOG_E_AT_END) return error;
  return atomic_exchange(s->buried, generation) == generation
             ? DURALOG_OK
             : DURALOG_E_NO_WRITER;
}

/* One nap: until woken, or as long as may be slept without a look at the
 * writer. What the second look finds, or AT_END. */
static duralog_error nap(struct sleeper *s) {
  struct duralog *log = s->log;
  io_env *io = log->io;
  bool writable;
  struct control *c = current(log->follow, &writable);
  _Atomic uint32_t *word = s->durable ? &c->durable_word : &c->end_word;
  uint32_t bit = s->durable ? CONTROL_DURABLE_SLEEPERS : CONTROL_END_SLEEPERS;
  uint64_t longest = LOOK_NS;
  uint32_t value = atomic_load(word);
  uint64_t generation = atomic_load(&c->generation);
  uint32_t state = atomic_load(&c->state);
  if (writable) atomic_fetch_or(&c->attention, bit);
  if (!writable || !atomic_load(&c->fenced) || !io->fence_shared(io) ||
      state == CONTROL_BUILDING)
    longest = NAP_NS;
  duralog_error error = sleeper_look(s);
  bool still = atomic_load(&c->generation) == generation &&
               atomic_load(&c->state) == state;
  if (error == DURALOG_E_AT_END && still)
    (void)io->wait_shared(io, word, value,
                          min_u64(s->deadline, io->now(io) + longest));
  return error;
}

/*
 * Each look at `end` leads a reader to the lines that the writer stores into
 * now, and its processor fetches some more ahead: the writer has to get them
 * all back, which takes microseconds. So a reader at the heels of a fast writer
 * lets some time pass between two looks. Measured beside an append of 30 ns:
 * 0.68 of its rate with a look every few hundred nanoseconds, 0.97 every 3
 * us, 1.0 every 10 us. Behind a slow writer, who would not notice, it looks at
 * once.
 */
void follow_pace(const struct duralog *log, struct follow_place *p,
                 uint64_t offset) {
  uint64_t now = log->io->now(log->io), passed = now - p->looked_at;
  uint64_t gained = offset > p->looked_from ? offset - p->looked_from : 0;
  if (passed < PACE_NS && gained > passed / PACE_RECORD_NS) {
    for (uint64_t i = 0; i < (PACE_NS - passed) / PAUSE_NS; i++) spin_pause();
    now = log->io->now(log->io);
  }
  p->looked_at = now;
  p->looked_from = offset;
}

/* Behind a writer at full speed a reader would fall asleep and be woken for
 * every few records: the writer would pay for each, and be pushed aside where
 * the kernel wakes it on the writer's processor. So it looks for a while, and
 * not too often: each look takes the line away from the writer. */
static void eager_look(const struct sleeper *s) {
  bool writable;
  const struct control *c = current(s->log->follow, &writable);
  const _Atomic uint64_t *mark = s->durable ? &c->durable : &c->end;
  for (int i = 0; i < EAGER_LOOKS; i++) {
    for (int j = 0; j < EAGER_PAUSES; j++) spin_pause();
    if (atomic_load_explicit(mark, memory_order_acquire) > s->offset) return;
  }
}

static duralog_error sleep_until_over(struct sleeper *s) {
  struct duralog *log = s->log;
  io_env *io = log->io;
  s->looked_at = io->now(io);
  for (;;) {
    duralog_error error = sleeper_look(s);
    if (error != DURALOG_E_AT_END) return error;
    uint64_t now = io->now(io);
    bool writable, gone = false;
    uint32_t state = atomic_load(&current(log->follow, &writable)->state);
    if (now >= s->deadline || state != CONTROL_LIVE ||
        now - s->looked_at >= LOOK_NS) {
      error = look_at_writer(s, &gone);
      if (error) return error;
    }
    if (now >= s->deadline) return DURALOG_E_TIMEOUT;
    if (s->asks && !follow_ask(log, s->offset + 1)) return DURALOG_E_NO_WRITER;
    error = nap(s);
    if (error != DURALOG_E_AT_END) return error;
  }
}

duralog_error follow_wait(struct duralog *log, struct follow_place *place,
                          duralog_level level, uint64_t offset,
                          uint64_t deadline,
                          const _Atomic uint32_t *interrupt) {
  struct sleeper s = {.log = log,
                      .interrupt = interrupt,
                      .place = place,
                      .buried = place ? &place->buried : &log->follow->buried,
                      .durable = level == DURALOG_LEVEL_DURABLE,
                      .offset = offset,
                      .deadline = deadline};
  uint64_t began = log->io->now(log->io);
  if (place && place->eager && deadline > began) eager_look(&s);
  duralog_error error = sleep_until_over(&s);
  if (place) place->eager = !error && log->io->now(log->io) - began < EAGER_NS;
  return error;
}

duralog_error follow_watch(struct duralog *log, struct follow_vigil *v) {
  struct sleeper s = {.log = log,
                      .vigil = v,
                      .buried = &v->buried,
                      .durable = v->durable,
                      .offset = v->offset,
                      .deadline = NONE};
  return sleep_until_over(&s);
}

void follow_interrupt(struct duralog *log) {
  struct follow *f = log->follow;
  for (uint32_t i = 0; i < atomic_load(&f->count); i++)
    if (f->writable[i])
      control_wake(f->controls[i], log->io,
                   CONTROL_END_SLEEPERS | CONTROL_DURABLE_SLEEPERS);
}

bool follow_ask(struct duralog *log, uint64_t offset) {
  bool writable;
  struct control *c = current(log->follow, &writable);
  if (!writable) return false;
  control_request_sync(c, log->io, offset);
  return true;
}

duralog_error follow_sync(struct duralog *log, uint64_t offset) {
  _Atomic uint64_t buried = 0;
  bool gone;
  struct sleeper s = {.log = log,
                      .asks = true,
                      .buried = &buried,
                      .durable = true,
                      .offset = offset - 1,
                      .deadline = NONE};
  follow_look(log);
  if (atomic_load(&log->durable) >= offset) return DURALOG_OK;
  duralog_error error = look_at_writer(&s, &gone);
  if (!error && gone) error = DURALOG_E_NO_WRITER;
  return error ? error : sleep_until_over(&s);
}

/* ---- beginning and end ---- */

void follow_prepare(struct duralog *log) {
  struct follow *f = log->io->alloc(log->io, sizeof *f);
  if (!f) return;
  bool writable = false;
  struct control *c;
  if (control_open(&log->directory, &c, &writable)) c = &log->own_control;
  if (c == &log->own_control) {
    atomic_store(&c->generation, 1);
    atomic_store(&c->state, CONTROL_CLOSED);
  }
  f->controls[0] = c;
  f->writable[0] = writable;
  atomic_store(&f->count, 1);
  atomic_store(&f->generation, atomic_load(&c->generation));
  log->follow = f;
}

bool follow_begin(struct duralog *log, bool writer_lives) {
  struct follow *f = log->follow;
  struct control_view v;
  bool writable;
  if (!f) return false;
  atomic_store(&f->proven, atomic_load(&log->epoch));
  if (f->controls[0] == &log->own_control) look_for_another_control(log);
  struct control *c = current(f, &writable);
  /* A writer that recovery took for alive may be dead by now: it has written
   * to the same memory all the same. */
  if (writer_lives) {
    if (c == &log->own_control) return false;
    atomic_store(&f->generation, ~atomic_load(&c->generation));
  }
  return !control_look(c, &v) || adopt(log, &v);
}

void follow_end(struct duralog *log) {
  struct follow *f = log->follow;
  for (uint32_t i = 0; i < atomic_load(&f->count); i++)
    if (f->controls[i] != &log->own_control)
      control_close(&log->directory, f->controls[i]);
  log->follow = NULL;
  log->io->free(log->io, f);
}

duralog_error duralog_reader_divergence(duralog_reader *r, uint64_t *offset,
                                        uint64_t *epoch) {
  uint64_t at; /* whether the reader may be used at all */
  duralog_error error = duralog_tell(r, &at);
  if (error) return error;
  const struct follow_place *p = reader_follow_place(r);
  if (!offset || !p->diverged) return DURALOG_E_ARGUMENT;
  *offset = p->divergence;
  if (epoch) *epoch = p->divergence_epoch;
  return DURALOG_OK;
}
