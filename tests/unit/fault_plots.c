/* SPDX-License-Identifier: MIT
 *
 * The stories, and one case from beginning to end. Each story is short, since
 * it is told again for every call that can fail in it; together they reach all
 * points. After each, the power is cut (on the simulated disk), the fault is
 * over, and all that was promised must be there and everything must work.
 */
#define FIU_ENABLE 1 /* otherwise fiu.h does nothing */
#include <errno.h>
#include <fiu-control.h>
#include <fiu.h>
#include <signal.h>

#include "fault_story.h"
#include "format.h"
#include "frame.h"

static void append_many(struct story *s, int count, enum shape shape,
                        duralog_level level) {
  for (int i = 0; i < count; i++) story_append(s, shape, level);
}

/* ---- the life of a log: made, filled, read, closed, opened again ---- */

/* A reader beside the writer. */
static void look_on(struct story *s) {
  duralog_options o = s->options;
  duralog *writer = s->log;
  bool poisoned = s->poisoned;
  o.read_only = true;
  if (story_open(s, &o, DURALOG_OK)) {
    bool cannot_tell = s->now.point && strcmp(s->now.point, "io/locked") == 0;
    CHECK(s->writer_lives || (cannot_tell && s->fired));
    CHECK_OK(duralog_close(&s->log));
  }
  s->log = writer;
  s->poisoned = poisoned;
}

/* Openings that fail by themselves and are undone. */
static void fail_to_create(struct story *s) {
  duralog_options o = s->options;
  sim_set_room(s->sim, 1);
  story_open(s, &o, DURALOG_E_FULL);
  sim_set_room(s->sim, 0);
  o.host_driven = false; /* the simulator has no threads */
  story_open(s, &o, DURALOG_E_RESOURCES);
}

/* Who made no directory need not be able to read its parent; whoever made it
 * has seen to its name. */
static void made_by_the_host(struct story *s) {
  io_env *io = s->fault.inner;
  int made = io->dir_make(io, s->path, 0700);
  CHECK(made == 0 || made == -EEXIST); /* left by what failed before */
  CHECK_EQUAL(io->dir_sync_parent(io, s->path, IO_SYNC_LOG_NAME), 0);
}

static void open_with_threads(struct story *s) {
  duralog_options o = s->options;
  o.host_driven = false;
  if (story_open(s, &o, DURALOG_OK)) story_close(s);
}

/* A time so far from its segment's does not fit into a header. */
#define MONTH_MS (UINT64_C(31) * 24 * 60 * 60 * 1000)

static void plot_life(struct story *s) {
  duralog_options o = s->options;
  if (s->sim)
    fail_to_create(s);
  else if (s->now.point && strcmp(s->now.point, "io/thread_start") == 0)
    open_with_threads(s);
  if (s->sim && s->now.mode == MODE_BYTES) made_by_the_host(s);
  if (!story_open(s, &o, DURALOG_OK)) return;
  story_watch(s);
  append_many(s, 2, SINGLE, DURALOG_LEVEL_DEFAULT);
  append_many(s, 5, SINGLE, DURALOG_LEVEL_WRITTEN);
  story_tick(s); /* seals what was finished, perhaps before any sync of it */
  story_append(s, BATCH, DURALOG_LEVEL_DEFAULT);
  story_append(s, KEYED, DURALOG_LEVEL_WRITTEN);
  story_wait(s);
  append_many(s, 4, SINGLE, DURALOG_LEVEL_DEFAULT);
  story_tick(s);
  story_append(s, KEYED, DURALOG_LEVEL_DURABLE);
  append_many(s, 3, RESERVED, DURALOG_LEVEL_DEFAULT);
  story_append(s, RESERVED, DURALOG_LEVEL_WRITTEN);
  if (s->sim) story_append_until_full(s);
  append_many(s, 2, SINGLE, DURALOG_LEVEL_WRITTEN);
  story_sync(s);
  look_on(s);
  story_tick(s);
  story_read(s);
  story_segments(s);
  story_recovers(s);
  story_close(s);
  o.copying_reads = true;
  if (!story_open(s, &o, DURALOG_OK)) return;
  story_read(s);
  story_close(s);
  if (!story_open(s, &o, DURALOG_OK)) return;
  story_append(s, SINGLE, DURALOG_LEVEL_DEFAULT);
  if (s->sim) sim_advance(s->sim, MONTH_MS * NS_PER_MS);
  story_append(s, RESERVED, DURALOG_LEVEL_DEFAULT);
  story_recovers(s);
  story_close(s);
}

/* ---- files changed behind the log's back ---- */

static int bare_open(struct story *s, const char *name, int flags) {
  io_env *io = s->fault.inner;
  int dir = io->dir_open(io, s->path);
  CHECK(dir >= 0);
  int file = io->file_open(io, dir, name, flags, 0600);
  io->close(io, dir);
  return file;
}

static void leave_file(struct story *s, const char *name) {
  int file = bare_open(s, name, IO_WRITE | IO_CREATE);
  if (file >= 0) s->fault.inner->close(s->fault.inner, file);
}

/* Where record `number` lies in a segment's bytes; 0: not there. */
static uint64_t body_position(const struct story *s, const uint8_t *bytes,
                              uint64_t number) {
  for (uint64_t at = SEGMENT_HEADER_BYTES; at + 12 <= SEGMENT_BYTES_MIN;
       at += 4)
    if (memcmp(bytes + at, &number, 8) == 0 &&
        memcmp(bytes + at + 8, &s->life, 4) == 0)
      return at;
  return 0;
}

/* Damage record `number`: a byte of its data, or all of its header. */
static void damage(struct story *s, uint64_t number, bool header) {
  static uint8_t bytes[SEGMENT_BYTES_MIN];
  io_env *io = s->fault.inner;
  char name[NAME_BYTES];
  uint64_t at = 0;
  for (uint64_t segment = 1; !at; segment++) {
    segment_name(name, segment);
    int file = bare_open(s, name, IO_WRITE);
    CHECK(file >= 0);
    io_read(io, file, bytes, sizeof bytes, 0);
    at = body_position(s, bytes, number);
    if (at && header)
      memset(bytes + at - FRAME_HEADER_BYTES, 0, FRAME_HEADER_BYTES);
    if (at) bytes[at + 100] ^= 1;
    if (at) CHECK_EQUAL(io_write(io, file, bytes, sizeof bytes, 0), 0);
    if (at) CHECK_EQUAL(io->file_sync(io, file, NULL, IO_SYNC_DATA), 0);
    io->close(io, file);
  }
}

/* The first writer of a story, which dies; on real files as a child. */
static void first_writer(struct story *s, void (*body)(void *)) {
  s->quiet = true;
  if (s->sim) {
    body(s);
    story_kill(s);
  } else {
    child_run(body, s);
    s->floor = s->end;
    s->fault.maps = 0;
    s->log = NULL;
  }
}

/* ---- a writer that died: settling, cutting, clearing away ---- */

static void leave_unsynced(void *context) {
  struct story *s = context;
  CHECK(story_open(s, &s->options, DURALOG_OK));
  append_many(s, 2, SINGLE, DURALOG_LEVEL_DEFAULT);
  append_many(s, 6, SINGLE, DURALOG_LEVEL_WRITTEN);
  story_look(s);
}

static void plot_unclean(struct story *s) {
  enum { CUT_AT = 3 };
  char name[NAME_BYTES];
  first_writer(s, leave_unsynced);
  damage(s, CUT_AT, true); /* with a segment behind it */
  s->floor = s->end = CUT_AT;
  leave_file(s, META_TEMPORARY_NAME);
  segment_temporary_name(name, 9);
  leave_file(s, name);
  s->quiet = false;

  duralog_options o = s->options;
  if (!story_open(s, &o, DURALOG_OK)) return;
  if (!s->fired) CHECK_EQUAL(s->end, CUT_AT);
  story_read(s);
  append_many(s, 2, SINGLE, DURALOG_LEVEL_DEFAULT);
  story_tick(s);
  story_append(s, BATCH, DURALOG_LEVEL_WRITTEN);
  story_segments(s);
  story_recovers(s);
  if (s->sim)
    story_kill(s);
  else
    story_close(s);
  if (!story_open(s, &o, DURALOG_OK)) return;
  story_append(s, SINGLE, DURALOG_LEVEL_DURABLE);
  story_recovers(s);
  story_close(s);
}

/* ---- a damaged log: refused, read around, accepted ---- */

enum { DAMAGED_AT = 5, BATCH_AT = 8 };

static void leave_damaged(void *context) {
  struct story *s = context;
  CHECK(story_open(s, &s->options, DURALOG_OK));
  append_many(s, DAMAGED_AT + 1, SINGLE, DURALOG_LEVEL_DEFAULT);
  story_sync(s);
  append_many(s, (int)(BATCH_AT - s->end), SINGLE, DURALOG_LEVEL_WRITTEN);
  story_append(s, BATCH, DURALOG_LEVEL_WRITTEN);
  story_look(s);
}

/* A record that was durable is damaged, and a batch at the end is torn: what is
 * left of it must not come back where the log goes on. */
static void plot_damage(struct story *s) {
  first_writer(s, leave_damaged);
  damage(s, DAMAGED_AT, false);
  damage(s, BATCH_AT + 1, false);
  s->damaged = true;
  s->quiet = false;

  duralog_options o = s->options;
  story_open(s, &o, DURALOG_E_CORRUPT);
  o.read_only = true;
  if (story_open(s, &o, DURALOG_OK)) {
    story_read(s);
    story_segments(s);
    story_close(s);
  }
  o.read_only = false;
  o.accept_damage = true;
  if (!story_open(s, &o, DURALOG_OK)) return;
  append_many(s, 4, SINGLE, DURALOG_LEVEL_DEFAULT);
  story_tick(s);
  story_recovers(s);
  story_read(s);
  story_close(s);
  o.accept_damage = false;
  o.read_only = true;
  for (int copying = 0; copying < 2; copying++) {
    o.copying_reads = copying;
    if (!story_open(s, &o, DURALOG_OK)) return;
    story_read(s);
    story_segments(s);
    story_close(s);
  }
}

/* ---- a reading process beside two writers, one after the other ---- */

static duralog *open_follower(struct story *s, duralog_reader **r) {
  duralog_options o = s->options;
  duralog *writer = s->log, *follower = NULL;
  bool poisoned = s->poisoned;
  o.read_only = true;
  o.copying_reads = s->now.mode % 2;
  if (story_open(s, &o, DURALOG_OK)) follower = s->log;
  if (follower && !s->follows) CHECK_OK(duralog_close(&follower));
  s->log = writer;
  s->poisoned = poisoned;
  if (follower && duralog_reader_open(follower, DURALOG_LEVEL_WRITTEN, r))
    CHECK_OK(duralog_close(&follower)); /* no memory: met by other stories */
  return follower;
}

/* What is there is seen by the end of each scene where nothing fails for ever.
 */
static void follow(struct story *s, duralog *follower, duralog_reader *r,
                   uint64_t *position) {
  story_follow(s, follower, r, position);
  CHECK(*position <= s->end);
  if (!s->now.ever) CHECK_EQUAL(*position, s->end);
}

static void second_writer(struct story *s, duralog *follower, duralog_reader *r,
                          uint64_t *position) {
  if (!story_open(s, &s->options, DURALOG_OK)) return;
  append_many(s, 5, SINGLE, DURALOG_LEVEL_WRITTEN);
  story_follow(s, follower, r, position);
  story_sync(s);
  story_follow_wait(s, follower, r);
  story_close_beside(s);
}

static void plot_follow(struct story *s) {
  duralog_reader *r = NULL;
  uint64_t position = 0;
  if (!story_open(s, &s->options, DURALOG_OK)) return;
  append_many(s, 2, SINGLE, DURALOG_LEVEL_DEFAULT);
  duralog *follower = open_follower(s, &r);
  if (!follower) {
    story_close(s);
    return;
  }
  for (int i = 0; i < 3; i++) {
    append_many(s, 3, SINGLE, DURALOG_LEVEL_WRITTEN);
    story_tick(s);
    follow(s, follower, r, &position);
  }
  story_follow_wait(s, follower, r);
  story_close_beside(s);
  second_writer(s, follower, r, &position);
  CHECK_OK(duralog_reader_close(&r));
  CHECK_OK(duralog_close(&follower));
}

/* ---- a damaged log: salvaged ---- */

static void plot_salvage(struct story *s) {
  first_writer(s, leave_damaged);
  damage(s, DAMAGED_AT, false);
  s->damaged = true;
  story_salvage(s);
}

void plot_run(struct story *s) {
  switch (s->now.plot) {
    case PLOT_UNCLEAN: plot_unclean(s); break;
    case PLOT_DAMAGE: plot_damage(s); break;
    case PLOT_FOLLOW: plot_follow(s); break;
    case PLOT_SALVAGE: plot_salvage(s); break;
    case PLOT_GROUPS: plot_groups(s); break;
    default: plot_life(s); break;
  }
}

/* ---- one case ---- */

/* The process ended at a step. */
static void after_death(struct story *s) {
  s->floor = s->end;
  s->fault.maps = 0;
  s->log = NULL;
  memset(s->watches, 0, sizeof s->watches);
  s->poisoned = false;
  if (!s->sim) return;
  sim_set_room(s->sim, 0);
  if (s->now.error == 0) {
    sim_kill(s->sim);
  } else {
    sim_restart(s->sim, (uint64_t)s->now.error - 1);
    s->floor = s->promised;
  }
}

/* The fault is over: what was promised is there, and everything works. */
static void check_after(struct story *s) {
  duralog_options o = s->options;
  o.accept_damage = s->damaged;
  o.copying_reads = s->now.k % 2;
  s->quiet = true;
  CHECK(story_open(s, &o, DURALOG_OK));
  story_read(s);
  story_groups_check(s);
  CHECK(story_append(s, SINGLE, DURALOG_LEVEL_DEFAULT));
  CHECK(story_append(s, BATCH, DURALOG_LEVEL_DURABLE));
  CHECK(story_tick(s));
  story_close(s);
}

/* Accesses to mappings fail only where the guard was asked for. */
static bool needs_guard(const struct fault_case *c) {
  return c->point && strcmp(c->point, "io/access") == 0;
}

static void point_arm(const struct fault_case *c) {
  if (needs_guard(c)) counter_add(&io_guards, 1);
  if (c->point)
    fiu_enable_external(c->point, 1, (void *)(intptr_t)c->error, 0,
                        story_decide);
}

static void point_disarm(const struct fault_case *c) {
  if (c->point) fiu_disable(c->point);
  if (needs_guard(c)) counter_set(&io_guards, 0);
}

static bool told(struct story *s) {
  bool silent = s->fired && !s->surfaced && !is_step(s->now.point);
  if (silent && !rules_benign(&s->now))
    test_failed(__FILE__, __LINE__, "nobody was told, and it is not benign");
  return !silent;
}

const char *case_text(const struct fault_case *c) {
  static char text[160];
  snprintf(text, sizeof text, "%s %d %llu %s %d %d", c->point, c->error,
           (unsigned long long)c->k, c->ever ? "ever" : "once", c->mode,
           c->plot);
  return text;
}

bool case_run(const struct fault_case *c, bool *benign) {
  static struct story s;
  struct sim *sim = sim_new();
  sim_set_blind(sim, true); /* crashes everywhere are what tests/crash is for */
  test_note("replay: build/tests/test_fault replay %s", case_text(c));
  story_begin(&s, c, sim, "/log");
  point_arm(c);
  if (setjmp(s.death))
    after_death(&s);
  else
    plot_run(&s);
  point_disarm(c);
  *benign = !told(&s);
  check_after(&s);
  sim_restart(sim, c->k % 3 ? c->k * 31 + (uint64_t)c->error : 0);
  s.floor = s.promised;
  check_after(&s);
  sim_free(sim);
  return s.fired > 0;
}

static void run_plot(void *context) { plot_run(context); }

bool case_run_real(const struct fault_case *c, const char *path, bool *benign) {
  struct story *s = shared_memory(sizeof *s);
  test_note("replay: build/tests/test_fault replay-real %s", case_text(c));
  story_begin(s, c, NULL, path);
  point_arm(c);
  if (is_step(c->point)) {
    int status = child_end(child_start(run_plot, s));
    CHECK_EQUAL(status, s->fired ? 256 + SIGKILL : 0);
    if (s->fired) after_death(s);
  } else {
    plot_run(s);
  }
  point_disarm(c);
  *benign = !told(s);
  check_after(s);
  directory_remove(path);
  story_remove_copies(s);
  bool reached = s->fired > 0;
  shared_memory_free(s, sizeof *s);
  return reached;
}
