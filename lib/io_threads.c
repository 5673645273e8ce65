/* SPDX-License-Identifier: MIT */
#include "io_threads.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum {
  THREADS_MAX = 8,
  STACK_BYTES = 128 << 10,
  GUARD_BYTES = 4 << 10,
  ARENA_BYTES = 1 << 20,
  WORDS_MAX = 4096, /* a power of two */
  DECISIONS_MAX = 1 << 14,
  POINTS_MAX = 200 * 1000, /* a run that is longer does not end */
  LEARNING_RUNS = 500,     /* at random, before the search */
  SLOW_SYNC_NS = 1000 * 1000,
  REPEATS_MAX = 2 /* of a load, until it counts as a spin */
};

enum state { RUNNABLE, WAITING, JOINING, PARKED, ENDED };

struct thread {
  ucontext_t context;
  uint8_t *stack;
  void (*body)(void *);
  void *argument;
  const void *kind;
  bool begun;
  enum state state;
  const _Atomic uint32_t *word; /* waited for */
  uint64_t deadline;
  int result; /* of the wait */
  int joins;  /* the thread it joins */
};

/* A place where the schedule could go on in more than one way. The first
 * option is the default. */
struct decision {
  uint64_t point;
  uint8_t count, chosen;
  uint8_t thread[THREADS_MAX];
  uint8_t costs; /* a bit for each option that is a preemption */
  unsigned spent;
};

/* Where a schedule leaves the default. */
struct deviation {
  uint64_t point;
  int thread;
};

struct word {
  const volatile void *address;
  uint8_t readers, writers; /* a bit for each thread */
};

enum mode { MODE_RANDOM, MODE_SEARCH, MODE_REPLAY };

struct threads {
  struct duralog_environment environment;
  struct threads_options options;
  io_env *inner;
  struct thread list[THREADS_MAX];
  int count, current;
  ucontext_t main;
  uint64_t offset; /* of our clock from inner's */
  bool fence_asked, inside, quiet, failed, hurried;
  char failure[512];
  uint64_t points;

  /* Repeated loads. */
  const volatile void *last_word;
  int last_thread, repeats;

  int gate_thread;
  uint64_t gate_at, gate_seen;
  bool gate_forced;

  enum mode mode;
  uint64_t random, runs;
  struct decision *decisions;
  size_t decision_count;
  struct deviation *deviations;
  size_t deviation_count, deviation_next;
  char *text;

  struct word words[WORDS_MAX];
  bool learned; /* something new since the search began */

  _Alignas(CACHE_LINE) uint8_t arena[ARENA_BYTES];
  size_t arena_used;
};

void (*atomic_hook)(const volatile void *word, bool writes);

static struct threads *running; /* for those who get no argument */

/* ---- failing ---- */

void threads_leave(struct threads *t) {
  t->current = -1;
  setcontext(&t->main);
}

void threads_fail(struct threads *t, const char *format, ...) {
  va_list arguments;
  if (!t->failed) {
    va_start(arguments, format);
    vsnprintf(t->failure, sizeof t->failure, format, arguments);
    va_end(arguments);
  }
  t->failed = true;
  if (t->current >= 0) threads_leave(t);
}

const char *threads_failure(const struct threads *t) {
  return t->failed ? t->failure : NULL;
}

static void fail_deadlock(struct threads *t) {
  char who[128] = "";
  for (int i = 0; i < t->count; i++) {
    size_t used = strlen(who);
    if (t->list[i].state != ENDED)
      snprintf(who + used, sizeof who - used, " %d", i);
  }
  threads_fail(t, "a deadlock, so a wake-up was lost: of threads%s", who);
}

/* ---- choosing ---- */

static const struct deviation *deviation_due(const struct threads *t) {
  if (t->deviation_next == t->deviation_count) return NULL;
  const struct deviation *d = &t->deviations[t->deviation_next];
  return d->point == t->points ? d : NULL;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

/* Free choices evenly, preemptions seldom. */
static unsigned choose_random(struct threads *t, const struct decision *d) {
  enum { PREEMPT_ONE_IN = 24 };
  if (d->costs && !(d->costs & 1) && mix(&t->random) % PREEMPT_ONE_IN) return 0;
  return (unsigned)(mix(&t->random) % d->count);
}

static unsigned choose_option(struct threads *t, const struct decision *d) {
  const struct deviation *due = deviation_due(t);
  if (!due) return t->mode == MODE_RANDOM ? choose_random(t, d) : 0;
  t->deviation_next++;
  for (unsigned i = 0; i < d->count; i++)
    if (d->thread[i] == due->thread) return i;
  threads_fail(t, "the schedule does not fit at point %llu",
               (unsigned long long)t->points);
  return 0;
}

static int choose(struct threads *t, struct decision *d) {
  if (d->count == 1) return d->thread[0];
  if (t->decision_count == DECISIONS_MAX)
    threads_fail(t, "the run does not end");
  d->point = t->points;
  d->spent = 0;
  if (t->decision_count) {
    const struct decision *before = &t->decisions[t->decision_count - 1];
    d->spent = before->spent + (before->costs >> before->chosen & 1);
  }
  d->chosen = (uint8_t)choose_option(t, d);
  t->decisions[t->decision_count++] = *d;
  return d->thread[d->chosen];
}

static void add_option(struct decision *d, int thread, bool costs) {
  if (costs) d->costs |= (uint8_t)(1 << d->count);
  d->thread[d->count++] = (uint8_t)thread;
}

/* ---- who can run ---- */

static uint64_t threads_now(io_env *io) {
  const struct threads *t = io->world;
  return t->inner->now(t->inner) + t->offset;
}

static void time_out(struct threads *t) {
  uint64_t now = threads_now(&t->environment);
  for (int i = 0; i < t->count; i++) {
    struct thread *thread = &t->list[i];
    if (thread->state != WAITING || thread->deadline > now) continue;
    thread->state = RUNNABLE;
    thread->result = -ETIMEDOUT;
  }
}

/* The sleeper with the earliest deadline, or -1. */
static int next_to_time_out(const struct threads *t) {
  int first = -1;
  for (int i = 0; i < t->count; i++) {
    const struct thread *thread = &t->list[i];
    if (thread->state == WAITING && thread->deadline != NONE &&
        (first < 0 || thread->deadline < t->list[first].deadline))
      first = i;
  }
  return first;
}

static bool has_twin_before(const struct threads *t, int i) {
  const struct thread *self = &t->list[i];
  if (self->begun || !self->kind) return false;
  while (i-- > 0)
    if (!t->list[i].begun && t->list[i].kind == self->kind) return true;
  return false;
}

static void others_that_can_run(struct threads *t, struct decision *d,
                                bool costs) {
  time_out(t);
  for (int i = 0; i < t->count; i++)
    if (i != t->current && t->list[i].state == RUNNABLE &&
        !has_twin_before(t, i))
      add_option(d, i, costs);
}

static int run(struct threads *t, int chosen) {
  struct thread *thread = &t->list[chosen];
  if (thread->state != WAITING) return chosen;
  uint64_t now = threads_now(&t->environment);
  t->offset += max_u64(thread->deadline, now) - now;
  time_out(t);
  return chosen;
}

static int run_chosen(struct threads *t, struct decision *d) {
  int chosen = choose(t, d);
  if (t->list[chosen].state == WAITING) t->hurried = true;
  return run(t, chosen);
}

static void switch_to(struct threads *t, int next) {
  int self = t->current;
  if (next == self) return;
  t->current = next;
  swapcontext(&t->list[self].context, &t->list[next].context);
}

/* Whom to run where the current one cannot; -1: all have ended. */
static int pick(struct threads *t) {
  for (;;) {
    struct decision d = {.count = 0};
    t->points++;
    others_that_can_run(t, &d, false);
    if (t->current >= 0 && t->list[t->current].state == RUNNABLE)
      add_option(&d, t->current, false); /* its time has come */
    int sleeper = next_to_time_out(t);
    if (d.count && sleeper >= 0 && !t->quiet) add_option(&d, sleeper, true);
    if (d.count) return run_chosen(t, &d);
    if (sleeper >= 0) return run(t, sleeper);
    if (!threads_gate_closed(t)) break;
    threads_gate_open(t);
    t->gate_forced = true;
  }
  for (int i = 0; i < t->count; i++)
    if (t->list[i].state != ENDED) fail_deadlock(t);
  return -1;
}

static void block(struct threads *t) {
  if (t->points > POINTS_MAX) threads_fail(t, "the run does not end");
  int next = pick(t);
  if (next < 0) threads_leave(t);
  switch_to(t, next);
}

/* ---- where threads are switched ---- */

static void offer(struct threads *t) {
  struct decision d = {.count = 0};
  add_option(&d, t->current, false);
  others_that_can_run(t, &d, true);
  int sleeper = next_to_time_out(t);
  if (sleeper >= 0) add_option(&d, sleeper, true);
  switch_to(t, run_chosen(t, &d));
}

static void look(struct threads *t, const char *step) {
  if (!t->options.watch) return;
  t->inside = true;
  t->options.watch(t->options.context, step);
  t->inside = false;
}

/* A step, a sync, a wait, a wake. */
static void point(struct threads *t, const char *step) {
  if (t->current < 0 || t->inside) return;
  t->points++;
  if (t->points > POINTS_MAX) threads_fail(t, "the run does not end");
  t->last_word = NULL;
  look(t, step);
  if (t->current == t->gate_thread && ++t->gate_seen == t->gate_at) {
    t->list[t->current].state = PARKED;
    block(t);
    return;
  }
  if (deviation_due(t) || (!t->quiet && t->mode != MODE_REPLAY)) offer(t);
}

/* Whether another thread has to do with the word. */
static bool learn(struct threads *t, const volatile void *address,
                  bool writes) {
  size_t i = ((uintptr_t)address >> 2) * 2654435761u % WORDS_MAX;
  while (t->words[i].address && t->words[i].address != address)
    i = (i + 1) % WORDS_MAX;
  struct word *w = &t->words[i];
  uint8_t self = (uint8_t)(1 << t->current);
  uint8_t *users = writes ? &w->writers : &w->readers;
  if (!(*users & self)) {
    w->address = address;
    *users |= self;
    t->learned = true;
  }
  uint8_t others = (uint8_t)~self;
  return (w->writers & others) || (w->writers && w->readers & others);
}

static bool is_spin(struct threads *t, const volatile void *word, bool writes) {
  bool again = !writes && word == t->last_word && t->current == t->last_thread;
  t->repeats = again ? t->repeats + 1 : 0;
  t->last_word = writes ? NULL : word;
  t->last_thread = t->current;
  return t->repeats > REPEATS_MAX;
}

static void hook(const volatile void *word, bool writes) {
  struct threads *t = running;
  if (t->current < 0 || t->inside) return;
  t->points++;
  if (t->points > POINTS_MAX) threads_fail(t, "the run does not end");
  look(t, NULL);
  bool wanted = false;
  if (t->options.atomics && t->mode != MODE_REPLAY) {
    bool shared = learn(t, word, writes), spin = is_spin(t, word, writes);
    wanted = shared && !spin && !t->quiet;
  }
  if (wanted || deviation_due(t)) offer(t);
}

/* ---- the interface ---- */

static struct threads *world(io_env *io) { return io->world; }

static int threads_wait(io_env *io, _Atomic uint32_t *word, uint32_t value,
                        uint64_t deadline) {
  struct threads *t = world(io);
  if (t->current < 0) return t->inner->wait(t->inner, word, value, deadline);
  point(t, NULL);
  t->inside = true;
  bool differs = atomic_load(word) != value;
  t->inside = false;
  if (differs) return 0;
  struct thread *self = &t->list[t->current];
  self->state = WAITING;
  self->word = word;
  self->deadline = deadline;
  self->result = 0;
  block(t);
  return self->result;
}

static void wake_thread(struct threads *t, int i) {
  t->list[i].state = RUNNABLE;
  t->list[i].result = 0;
}

static void threads_wake(io_env *io, _Atomic uint32_t *word, int count) {
  struct threads *t = world(io);
  point(t, "wake");
  if (t->current < 0) return;
  while (count-- > 0) {
    struct decision d = {.count = 0};
    t->points++;
    for (int i = 0; i < t->count; i++)
      if (t->list[i].state == WAITING && t->list[i].word == word)
        add_option(&d, i, false);
    if (!d.count) break;
    if (count < THREADS_MAX) /* otherwise all of them */
      wake_thread(t, choose(t, &d));
    else
      for (int i = 0; i < d.count; i++) wake_thread(t, d.thread[i]);
  }
  point(t, "woken");
}

static bool threads_fence_all(io_env *io) {
  struct threads *t = world(io);
  bool first = !t->fence_asked;
  point(t, NULL);
  t->fence_asked = true;
  return t->options.fence == FENCE_WORKS ||
         (t->options.fence == FENCE_LOST && first);
}

static bool threads_fence_shared(io_env *io) {
  struct threads *t = world(io);
  point(t, NULL);
  return t->options.fence == FENCE_WORKS;
}

static bool threads_fence_join(io_env *io) {
  return world(io)->options.fence != FENCE_REFUSED;
}

/* The time of whoever sets it is ours, and so has to be that of who asks. */
static void threads_event_set(io_env *io, int event, bool timed,
                              uint64_t deadline) {
  struct threads *t = world(io);
  point(t, NULL);
  t->inner->event_set(t->inner, event, timed, deadline);
}

static int threads_start(io_env *io, void (*body)(void *), void *context,
                         void **thread) {
  struct threads *t = world(io);
  point(t, NULL);
  int i = threads_spawn(t, body, context, NULL);
  if (i < 0) return -EAGAIN;
  *thread = &t->list[i];
  return 0;
}

static void threads_join(io_env *io, void *thread) {
  struct threads *t = world(io);
  const struct thread *other = thread;
  point(t, NULL);
  if (other->state == ENDED) return;
  t->list[t->current].state = JOINING;
  t->list[t->current].joins = (int)(other - t->list);
  block(t);
}

static uint64_t threads_self(io_env *io) {
  return (uint64_t)(world(io)->current + 2); /* -1: before and after the run */
}

static uint32_t threads_processor(io_env *io) {
  (void)io;
  return 0;
}

static int threads_file_sync(io_env *io, int file, const struct io_part *part,
                             enum io_sync_reason why) {
  struct threads *t = world(io);
  point(t, NULL);
  int result = t->inner->file_sync(t->inner, file, part, why);
  if (t->options.slow_syncs && t->current >= 0) threads_sleep(t, SLOW_SYNC_NS);
  point(t, NULL);
  return result;
}

static int threads_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  struct threads *t = world(io);
  point(t, NULL);
  int result = t->inner->dir_sync(t->inner, dir, why);
  point(t, NULL);
  return result;
}

static void threads_step(io_env *io, const char *name) {
  struct threads *t = world(io);
  point(t, name);
  STEP(t->inner, name);
}

static uint64_t threads_now_coarse(io_env *io) {
  const struct threads *t = world(io);
  return t->inner->now_coarse(t->inner) + t->offset;
}

static int64_t threads_wall_ms(io_env *io) {
  const struct threads *t = world(io);
  return t->inner->wall_ms(t->inner) + (int64_t)(t->offset / NS_PER_MS);
}

static void *threads_alloc(io_env *io, size_t bytes) {
  struct threads *t = world(io);
  size_t size = align_up(bytes, CACHE_LINE);
  if (size > ARENA_BYTES - t->arena_used) return NULL;
  void *memory = t->arena + t->arena_used;
  t->arena_used += size;
  return memory;
}

/* A run is short: nothing is given out twice. */
static void threads_release(io_env *io, void *memory) {
  (void)io;
  (void)memory;
}

/* What is passed on as it is. */
#define PASS(call, parameters, arguments) \
  static int threads_##call parameters {  \
    io_env *inner = world(io)->inner;     \
    return inner->call arguments;         \
  }
PASS(dir_make, (io_env * io, const char *path, uint32_t mode),
     (inner, path, mode))
PASS(dir_remove, (io_env * io, const char *path), (inner, path))
PASS(dir_open, (io_env * io, const char *path), (inner, path))
PASS(dir_make_in, (io_env * io, int dir, const char *name, uint32_t mode),
     (inner, dir, name, mode))
PASS(dir_open_in, (io_env * io, int dir, const char *name), (inner, dir, name))
PASS(dir_sync_parent, (io_env * io, const char *path, enum io_sync_reason why),
     (inner, path, why))
PASS(dir_list,
     (io_env * io, int dir, int (*each)(void *, const char *), void *context),
     (inner, dir, each, context))
PASS(dir_fs, (io_env * io, int dir, struct io_fs *fs), (inner, dir, fs))
PASS(file_open,
     (io_env * io, int dir, const char *name, int flags, uint32_t mode),
     (inner, dir, name, flags, mode))
PASS(close, (io_env * io, int handle), (inner, handle))
PASS(file_size, (io_env * io, int file, uint64_t *bytes), (inner, file, bytes))
PASS(file_allocate, (io_env * io, int file, uint64_t bytes),
     (inner, file, bytes))
PASS(file_data, (io_env * io, int file, uint64_t *at, uint64_t *end),
     (inner, file, at, end))
PASS(rename, (io_env * io, int dir, const char *from, const char *to),
     (inner, dir, from, to))
PASS(unlink, (io_env * io, int dir, const char *name), (inner, dir, name))
PASS(lock, (io_env * io, int dir, const char *name, uint32_t mode),
     (inner, dir, name, mode))
PASS(locked, (io_env * io, int dir, const char *name), (inner, dir, name))
PASS(map,
     (io_env * io, int file, uint64_t bytes, bool writable, void **address),
     (inner, file, bytes, writable, address))
PASS(unmap, (io_env * io, void *address, uint64_t bytes),
     (inner, address, bytes))
PASS(map_read_only, (io_env * io, void *address, uint64_t bytes),
     (inner, address, bytes))
PASS(map_scattered, (io_env * io, void *address, uint64_t bytes),
     (inner, address, bytes))
PASS(populate, (io_env * io, void *address, uint64_t bytes, bool for_writing),
     (inner, address, bytes, for_writing))
PASS(depopulate, (io_env * io, void *address, uint64_t bytes),
     (inner, address, bytes))
PASS(access,
     (io_env * io, const struct io_range *ranges, size_t count,
      void (*body)(void *), void *context, const void **at),
     (inner, ranges, count, body, context, at))
PASS(event_open, (io_env * io, bool timed), (inner, timed))
PASS(random, (io_env * io, void *bytes, size_t size), (inner, bytes, size))
#undef PASS

static int64_t threads_file_read(io_env *io, int file, void *buffer,
                                 size_t size, uint64_t position) {
  io_env *inner = world(io)->inner;
  return inner->file_read(inner, file, buffer, size, position);
}

static int64_t threads_file_write(io_env *io, int file, const void *bytes,
                                  size_t size, uint64_t position) {
  io_env *inner = world(io)->inner;
  return inner->file_write(inner, file, bytes, size, position);
}

static void threads_unlock(io_env *io, int handle) {
  world(io)->inner->unlock(world(io)->inner, handle);
}

static void threads_boot_id(io_env *io, uint8_t id[16]) {
  world(io)->inner->boot_id(world(io)->inner, id);
}

static const _Atomic uint32_t *threads_owner_word(io_env *io) {
  return world(io)->inner->owner_word(world(io)->inner);
}

static const struct duralog_environment operations = {
    .dir_make = threads_dir_make,
    .dir_make_in = threads_dir_make_in,
    .dir_open_in = threads_dir_open_in,
    .dir_remove = threads_dir_remove,
    .dir_open = threads_dir_open,
    .dir_sync_parent = threads_dir_sync_parent,
    .dir_sync = threads_dir_sync,
    .dir_list = threads_dir_list,
    .dir_fs = threads_dir_fs,
    .file_open = threads_file_open,
    .close = threads_close,
    .file_size = threads_file_size,
    .file_allocate = threads_file_allocate,
    .file_read = threads_file_read,
    .file_write = threads_file_write,
    .file_sync = threads_file_sync,
    .file_data = threads_file_data,
    .rename = threads_rename,
    .unlink = threads_unlink,
    .lock = threads_lock,
    .unlock = threads_unlock,
    .locked = threads_locked,
    .map = threads_map,
    .unmap = threads_unmap,
    .map_read_only = threads_map_read_only,
    .map_scattered = threads_map_scattered,
    .populate = threads_populate,
    .depopulate = threads_depopulate,
    .access = threads_access,
    .now = threads_now,
    .now_coarse = threads_now_coarse,
    .wall_ms = threads_wall_ms,
    .boot_id = threads_boot_id,
    .random = threads_random,
    .alloc = threads_alloc,
    .free = threads_release,
    .wait = threads_wait,
    .wake = threads_wake,
    .fence_all = threads_fence_all,
    .wait_shared = threads_wait,
    .wake_shared = threads_wake,
    .fence_shared = threads_fence_shared,
    .fence_join = threads_fence_join,
    .event_open = threads_event_open,
    .event_set = threads_event_set,
    .thread_start = threads_start,
    .thread_join = threads_join,
    .thread_self = threads_self,
    .processor = threads_processor,
    .owner_word = threads_owner_word,
    .step = threads_step,
};

/* ---- one run ---- */

struct threads *threads_new(void) {
  struct threads *t;
  if (posix_memalign((void **)&t, CACHE_LINE, sizeof *t)) return NULL;
  memset(t, 0, sizeof *t);
  t->decisions = calloc(DECISIONS_MAX, sizeof *t->decisions);
  t->deviations = calloc(DECISIONS_MAX, sizeof *t->deviations);
  bool ok = t->decisions && t->deviations;
  for (int i = 0; i < THREADS_MAX; i++) {
    uint8_t *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    t->list[i].stack = stack == MAP_FAILED ? NULL : stack;
    ok = ok && t->list[i].stack && mprotect(stack, GUARD_BYTES, PROT_NONE) == 0;
  }
  t->current = t->gate_thread = -1;
  if (ok) return t;
  threads_free(t);
  return NULL;
}

void threads_free(struct threads *t) {
  for (int i = 0; i < THREADS_MAX; i++)
    if (t->list[i].stack) munmap(t->list[i].stack, STACK_BYTES);
  free(t->decisions);
  free(t->deviations);
  free(t->text);
  free(t);
}

io_env *threads_begin(struct threads *t, const struct threads_options *o) {
  t->environment = operations;
  t->environment.world = t;
  t->options = *o;
  t->inner = o->inner;
  if (t->mode == MODE_RANDOM && !o->atomics) t->mode = MODE_SEARCH;
  t->count = 0;
  t->current = t->gate_thread = -1;
  t->offset = t->points = t->gate_at = t->gate_seen = 0;
  t->fence_asked = t->inside = t->quiet = t->failed = false;
  t->hurried = false;
  t->gate_forced = false;
  t->last_word = NULL;
  t->decision_count = t->deviation_next = 0;
  memset(t->arena, 0, t->arena_used);
  t->arena_used = 0;
  return &t->environment;
}

static void thread_main(void) {
  struct threads *t = running;
  struct thread *self = &t->list[t->current];
  self->begun = true;
  self->body(self->argument);
  point(t, NULL);
  self->state = ENDED;
  for (int i = 0; i < t->count; i++)
    if (t->list[i].state == JOINING && &t->list[t->list[i].joins] == self)
      t->list[i].state = RUNNABLE;
  block(t); /* does not return */
}

int threads_spawn(struct threads *t, void (*body)(void *), void *context,
                  const void *kind) {
  if (t->count == THREADS_MAX) return -1;
  struct thread *thread = &t->list[t->count];
  getcontext(&thread->context);
  thread->context.uc_stack.ss_sp = thread->stack + GUARD_BYTES;
  thread->context.uc_stack.ss_size = STACK_BYTES - GUARD_BYTES;
  thread->context.uc_link = NULL;
  makecontext(&thread->context, thread_main, 0);
  thread->body = body;
  thread->argument = context;
  thread->kind = kind;
  thread->begun = false;
  thread->state = RUNNABLE;
  return t->count++;
}

bool threads_run(struct threads *t) {
  running = t;
  atomic_hook = hook;
  int first = pick(t);
  if (first >= 0 && !t->failed) {
    t->current = first;
    swapcontext(&t->main, &t->list[first].context);
  }
  t->current = -1;
  atomic_hook = NULL;
  return !t->failed;
}

bool threads_asleep(const struct threads *t, int thread) {
  return t->list[thread].state == WAITING;
}

bool threads_hurried(const struct threads *t) { return t->hurried; }

int threads_current(const struct threads *t) { return t->current; }

void threads_sleep(struct threads *t, uint64_t ns) {
  static _Atomic uint32_t nobody_wakes;
  uint64_t until = threads_now(&t->environment) + ns;
  while (threads_now(&t->environment) < until)
    threads_wait(&t->environment, &nobody_wakes, 0, until);
}

void threads_quiet(struct threads *t, bool quiet) { t->quiet = quiet; }
uint64_t threads_points(const struct threads *t) { return t->points; }

void threads_gate(struct threads *t, int thread, uint64_t k) {
  t->gate_thread = thread;
  t->gate_at = k;
}

bool threads_gate_closed(const struct threads *t) {
  return t->gate_thread >= 0 && t->list[t->gate_thread].state == PARKED;
}

bool threads_gate_reached(const struct threads *t) {
  return t->gate_seen >= t->gate_at;
}

bool threads_gate_forced(const struct threads *t) { return t->gate_forced; }

void threads_gate_open(struct threads *t) {
  if (threads_gate_closed(t)) t->list[t->gate_thread].state = RUNNABLE;
}

/* ---- the search ---- */

void threads_search(struct threads *t) {
  memset(t->words, 0, sizeof t->words);
  t->learned = false;
  t->mode = MODE_RANDOM;
  t->random = 1;
  t->runs = 0;
  t->deviation_count = 0;
}

/* The deviations that lead to decision `last`, and on from there. */
static void follow(struct threads *t, size_t last) {
  t->deviation_count = 0;
  for (size_t i = 0; i <= last; i++) {
    const struct decision *d = &t->decisions[i];
    if (d->chosen)
      t->deviations[t->deviation_count++] =
          (struct deviation){d->point, d->thread[d->chosen]};
  }
}

static bool next_option(const struct threads *t, struct decision *d) {
  for (unsigned i = d->chosen + 1u; i < d->count; i++) {
    if (d->spent + (d->costs >> i & 1) > t->options.preemptions) continue;
    d->chosen = (uint8_t)i;
    return true;
  }
  return false;
}

bool threads_next(struct threads *t) {
  t->runs++;
  if (t->mode == MODE_REPLAY) return false;
  if (t->mode == MODE_RANDOM) {
    if (t->runs < LEARNING_RUNS) return true;
    t->mode = MODE_SEARCH;
    t->learned = false;
    return true;
  }
  for (size_t i = t->decision_count; i-- > 0;)
    if (next_option(t, &t->decisions[i])) {
      follow(t, i);
      return true;
    }
  t->deviation_count = 0;
  bool again = t->learned; /* with all that is known now */
  t->learned = false;
  return again;
}

const char *threads_schedule(struct threads *t) {
  enum { EACH = 32 };
  size_t used = 0, room = EACH * (t->decision_count + 1);
  free(t->text);
  t->text = malloc(room);
  if (!t->text) return "";
  strcpy(t->text, "-");
  for (size_t i = 0; i < t->decision_count; i++) {
    const struct decision *d = &t->decisions[i];
    if (!d->chosen) continue;
    int n = snprintf(t->text + used, room - used, "%s%llu:%d", used ? "," : "",
                     (unsigned long long)d->point, d->thread[d->chosen]);
    used += (size_t)n;
  }
  return t->text;
}

bool threads_replay(struct threads *t, const char *schedule) {
  threads_search(t);
  t->mode = MODE_REPLAY;
  if (strcmp(schedule, "-") == 0) return true;
  while (t->deviation_count < DECISIONS_MAX) {
    char *end;
    struct deviation *d = &t->deviations[t->deviation_count++];
    d->point = strtoull(schedule, &end, 10);
    if (*end != ':') return false;
    d->thread = (int)strtol(end + 1, &end, 10);
    if (!*end) return true;
    if (*end != ',') return false;
    schedule = end + 1;
  }
  return false;
}
