/* SPDX-License-Identifier: MIT */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "format.h"

enum { PICTURES_MAX = 3 };

struct explorer *explorer_new(void) {
  struct explorer *e = calloc(1, sizeof *e);
  if (!e) abort();
  e->seed = 1;
  for (int i = 0; i < DEPTH_MAX + 2; i++)
    if (!(e->worlds[i] = sim_new())) abort();
  for (int i = 0; i < DEPTH_MAX; i++) {
    e->units[i] = malloc(SIM_UNITS_MAX * sizeof *e->units[i]);
    e->options[i] = malloc(SIM_UNITS_MAX * sizeof *e->options[i]);
    if (!e->units[i] || !e->options[i]) abort();
  }
  return e;
}

void explorer_free(struct explorer *e) {
  for (int i = 0; i < DEPTH_MAX + 2; i++) sim_free(e->worlds[i]);
  for (int i = 0; i < DEPTH_MAX; i++) {
    free(e->units[i]);
    free(e->options[i]);
  }
  states_free(&e->states);
  free(e);
}

/* ---- one recovery ---- */

struct recovered {
  uint64_t end, durable_found;
  bool clean;
};

static const char *open_world(const struct explorer *e, struct sim *w,
                              duralog **log, struct recovered *r) {
  static char text[320];
  duralog_options o = e->run->options;
  duralog_report report = {.struct_size = sizeof report};
  duralog_diagnostic d = {.struct_size = sizeof d};
  o.environment = sim_environment(w);
  *log = NULL;
  duralog_error error = duralog_open(CRASH_DIRECTORY, &o, log, &report, &d);
  *r = (struct recovered){report.end, report.durable_found, report.clean};
  if (error == DURALOG_E_BUSY) return "I12: a dead writer is in the way";
  if (error == DURALOG_E_CORRUPT)
    return "I6: what a crash left is called damaged";
  if (!error) return NULL;
  snprintf(text, sizeof text, "I6: cannot be opened: %s, %s",
           duralog_error_name(error), d.text);
  return text;
}

/* I7: the log that came back takes a durable record, and gives it back after
 * another cut. */
static const char *live_on(struct explorer *e, struct sim *w, duralog *log,
                           uint64_t end) {
  static const char text[] = "one more";
  struct recovered r;
  uint64_t offset = 0;
  duralog_entry entry = {.data = text, .size = sizeof text};
  duralog_record record;
  duralog_reader *reader = NULL;
  e->lives++;
  sim_set_room(w, 0);
  if (duralog_append_batch(log, &entry, 1, DURALOG_LEVEL_DURABLE, &offset) ||
      offset != end)
    return "I7: the recovered log cannot be appended to";
  sim_restart(w, 0);
  const char *wrong = open_world(e, w, &log, &r);
  if (wrong) return wrong;
  if (r.end != end + 1) return "I7: a record appended after recovery is lost";
  wrong = model_read(&e->run->model, log, end, NULL);
  if (wrong) return wrong;
  if (duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader) ||
      duralog_read_at(reader, end, &record) || record.size != sizeof text ||
      memcmp(record.data, text, sizeof text) != 0)
    wrong = "I7: a record appended after recovery came back altered";
  duralog_reader_close(&reader);
  return wrong;
}

/* A byte of the data below what is used, in some segment. */
static bool damage_a_byte(struct sim *w, uint64_t random) {
  struct sim_disk *disk = sim_disk_of(w);
  int candidates[SIM_FILES_MAX], n = 0;
  for (int i = 0; i < disk->file_count; i++)
    if (disk->files[i].used && disk->files[i].size > SEGMENT_HEADER_BYTES)
      candidates[n++] = i;
  if (n == 0) return false;
  struct sim_file *f = &disk->files[candidates[random % (uint64_t)n]];
  uint64_t used = f->size;
  while (used > SEGMENT_HEADER_BYTES && f->cache[used - 1] == 0) used--;
  if (used == SEGMENT_HEADER_BYTES) return false;
  uint64_t at =
      SEGMENT_HEADER_BYTES + (random >> 16) % (used - SEGMENT_HEADER_BYTES);
  f->cache[at] ^= (uint8_t)(1u << (random >> 8) % 8);
  return true;
}

/* I20, I23: a flipped bit is reported, or does no harm to what is provably
 * durable. */
static const char *check_damage(struct explorer *e, struct sim *survivor,
                                const struct recovered *r, uint64_t random) {
  struct sim *w = e->worlds[DEPTH_MAX + 1];
  duralog_options o = e->run->options;
  duralog_report report = {.struct_size = sizeof report};
  duralog *log = NULL;
  sim_killed(survivor, w);
  if (!damage_a_byte(w, random)) return NULL;
  e->damages++;
  o.environment = sim_environment(w);
  duralog_error error = duralog_open(CRASH_DIRECTORY, &o, &log, &report, NULL);
  if (error == DURALOG_E_CORRUPT) {
    if (report.damage_count == 0) return "I20: damage without a range";
    o.read_only = true;
    error = duralog_open(CRASH_DIRECTORY, &o, &log, &report, NULL);
    if (error) return "I22: a damaged log cannot be read";
  } else if (error) {
    return "I20: damage gives another error than CORRUPT";
  }
  uint64_t damaged = 0;
  const char *wrong = model_read(&e->run->model, log, report.end, &damaged);
  bool silent = report.damage_count == 0 && damaged == 0;
  if (!wrong && silent && report.end < r->durable_found)
    wrong = "I20: damage below the recoverable watermark is not reported";
  duralog_close(&log);
  return wrong;
}

/* ---- crashes inside of recoveries ---- */

#define NOT_KNOWN_YET UINT64_MAX

struct nested {
  struct explorer *e;
  int depth;
  enum crash_kind kind;
  uint64_t end_least, end_most; /* of what came back */
  const char *wrong;
};

static void crash_here(struct explorer *e, struct sim *at, const char *what,
                       int depth, struct nested *parent, enum crash_kind kind);

static void nested_event(void *context, struct sim *w, const char *what) {
  struct nested *n = context;
  struct explorer *e = n->e;
  e->path.event[n->depth]++;
  if (!n->wrong) crash_here(e, w, what, n->depth, n, n->kind);
}

static bool due(uint64_t every, uint64_t number) {
  return every && number % every == 0;
}

static const char *recover(struct explorer *e, struct sim *w,
                           enum crash_kind kind, int depth, uint64_t key,
                           uint64_t *end) {
  struct nested inside = {
      .e = e, .depth = depth + 1, .kind = kind, .end_least = UINT64_MAX};
  struct recovered r;
  duralog *log;
  bool replaying = e->only.depth != 0;
  bool dig = depth + 1 < e->budget.depth &&
             (replaying ? e->only.depth > depth + 1
                        : due(e->budget.nested_every, e->recoveries));
  e->recoveries++;
  if (e->forge) e->forge(w, e->run);
  struct sim *kept = NULL;
  if (depth == 0 && (due(e->budget.damage_every, e->recoveries) || replaying)) {
    kept = e->worlds[DEPTH_MAX];
    sim_killed(w, kept);
  }
  if (dig) {
    e->path.event[depth + 1] = 0;
    sim_on_event(w, nested_event, &inside);
  }
  const char *wrong = open_world(e, w, &log, &r);
  sim_on_event(w, NULL, NULL);
  *end = r.end;
  if (inside.wrong) return inside.wrong;
  if (!wrong) wrong = model_check(&e->run->model, kind, log, r.end);
  if (!wrong && inside.end_least != UINT64_MAX &&
      (inside.end_least != r.end || inside.end_most != r.end))
    wrong = "I6: a crash inside of recovery changed what comes back";
  if (!wrong && (due(e->budget.life_every, e->recoveries) || replaying))
    wrong = live_on(e, w, log, r.end);
  if (!wrong && kept) wrong = check_damage(e, kept, &r, key);
  return wrong;
}

/* ---- failures ---- */

static void note_failure(struct explorer *e, const char *wrong) {
  unsigned invariant = 0;
  if (sscanf(wrong, "I%u", &invariant) != 1 || invariant > INVARIANT_MAX)
    invariant = 0;
  e->wrong_by_invariant[invariant]++;
  e->wrong_count++;
  if (!e->wrong) e->wrong = wrong;
}

void explorer_failed(struct explorer *e, const char *wrong) {
  note_failure(e, wrong);
  if (e->wrong_count <= PICTURES_MAX && !e->quiet)
    fprintf(stderr, "\nbroken:    %s (without a crash)\nreplay: %s 0/0\n",
            wrong, e->replay);
}

/* Try one survivor that lies in the world of this depth. */
static const char *try_state(struct explorer *e, enum crash_kind kind,
                             int depth, struct nested *parent) {
  struct sim *w = e->worlds[depth];
  bool is_new;
  uint64_t key = sim_seen_checksum(w) ^
                 (model_digest(&e->run->model) * 3 + (kind == CRASH_KILL));
  struct state *state = states_enter(&e->states, key, &is_new);
  if (!state) abort();
  const char *wrong = NULL;
  uint64_t end = state->end;
  if (is_new || e->only.depth) {
    state->end = end = NOT_KNOWN_YET; /* a crash inside may lead here again */
    wrong = recover(e, w, kind, depth, key, &end);
    /* The table may have moved meanwhile. */
    states_enter(&e->states, key, &is_new)->end = end;
  }
  if (parent && !wrong && end != NOT_KNOWN_YET) {
    parent->end_least = min_u64(parent->end_least, end);
    parent->end_most = max_u64(parent->end_most, end);
  }
  if (parent && wrong) parent->wrong = wrong;
  return wrong;
}

static bool wanted(const struct explorer *e, int depth, int64_t choice) {
  if (!e->only.depth) return true;
  bool here = e->only.event[depth] == e->path.event[depth];
  return here && (choice == NOT_CHOSEN || e->only.choice[depth] == choice);
}

static void fail_here(struct explorer *e, struct sim *at, size_t count,
                      const char *what, const char *wrong, int depth) {
  /* A failure inside of a recovery was noted where it happened. */
  if (e->path.depth > depth + 1) return;
  note_failure(e, wrong);
  e->path.depth = depth + 1;
  if (!e->quiet && e->wrong_count <= PICTURES_MAX)
    picture_print(e, at, e->units[depth], e->options[depth], count, what,
                  wrong);
}

static void kill_here(struct explorer *e, struct sim *at, const char *what,
                      int depth, struct nested *parent, enum crash_kind kind) {
  e->path.choice[depth] = CHOICE_KILL;
  e->path.depth = 0;
  e->kills++;
  sim_killed(at, e->worlds[depth]);
  /* After a power cut, a killed recovery still has only what the cut left. */
  const char *wrong = try_state(e, kind, depth, parent);
  if (wrong) fail_here(e, at, 0, what, wrong, depth);
}

static void cut_here(struct explorer *e, struct sim *at, const char *what,
                     int depth, struct nested *parent) {
  struct choices c;
  int64_t choice = 0;
  uint64_t number;
  bool inside = parent != NULL;
  size_t count = sim_units(at, e->units[depth]);
  choices_begin(&c, e->units[depth], count,
                inside ? e->budget.nested_limit : e->budget.all_max,
                inside ? e->budget.nested_limit : e->budget.limit, e->seed);
  if (e->only.depth) c.limit = max_u64(c.limit, c.product);
  if (e->only.depth && c.product > CHOICES_ALL_MAX)
    c.limit = (uint64_t)(e->only.choice[depth] + 1);
  while (choices_next(&c, e->options[depth], &number)) {
    choice = (int64_t)number;
    if (!wanted(e, depth, choice)) continue;
    e->path.choice[depth] = choice;
    e->path.depth = 0;
    sim_survivor(at, e->units[depth], e->options[depth], count,
                 e->worlds[depth]);
    const char *wrong = try_state(e, CRASH_POWER, depth, parent);
    if (wrong) fail_here(e, at, count, what, wrong, depth);
    if (parent && parent->wrong) break;
  }
  choices_end(&c);
}

static void crash_here(struct explorer *e, struct sim *at, const char *what,
                       int depth, struct nested *parent, enum crash_kind kind) {
  if (!wanted(e, depth, NOT_CHOSEN)) return;
  e->points++;
  if (parent) e->nested++;
  if (wanted(e, depth, CHOICE_KILL))
    kill_here(e, at, what, depth, parent, kind);
  if (parent && parent->wrong) return;
  if (!e->only.depth || e->only.choice[depth] != CHOICE_KILL)
    cut_here(e, at, what, depth, parent);
}

/* ---- the run ---- */

static void run_event(void *context, struct sim *sim, const char *what) {
  struct explorer *e = context;
  struct run *run = e->run;
  duralog_watermarks w = {.struct_size = sizeof w};
  if (run->die_at && strcmp(run->die_at, what) == 0) longjmp(run->die_point, 1);
  if (!e->active || run->unwatched) return;
  e->path.event[0]++;
  /* Another thread might look at this moment, and believe what it sees. */
  if (run->log && !duralog_get_watermarks(run->log, &w))
    model_saw(&run->model, w.end, w.durable);
  crash_here(e, sim, what, 0, NULL, run->may_lose);
}

void explorer_watch(struct explorer *e, struct run *run, bool active) {
  e->run = run;
  e->active = active;
  memset(&e->path, 0, sizeof e->path);
  sim_on_event(run->sim, run_event, e);
}

void explorer_point(struct explorer *e, const char *what) {
  run_event(e, e->run->sim, what);
}
