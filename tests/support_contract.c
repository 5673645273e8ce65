/* SPDX-License-Identifier: MIT
 *
 * What must hold of a damaged log (contract.md, "Damage"; I20, I21, I23).
 * Whatever was done to its files:
 *
 *   a writer's open goes on with the acknowledged records, all but what its
 *   readers are told is damaged; or it is CORRUPT and changes nothing
 *   read_only opens, changes nothing, and gives out what is whole
 *   accept_damage goes on at or above every watermark known, the same range
 *   unreadable, also after closing and reopening
 *
 * One exception: after an unclean stop, not in strict mode, damage that
 * reaches into the last synced batch may look like a torn tail.
 */
#include <signal.h>

#include "support.h"

enum {
  COUNT = DAMAGE_COUNT,
  QUIET_FROM = 240, /* from there on nothing is sealed but by closing */
  MORE = 6
};

/* ---- logs to be damaged ---- */

static duralog_options base_options(bool strict) {
  duralog_options o = small_options();
  o.segment_bytes = 16 << 10;
  o.host_driven = true;
  o.strict = strict;
  return o;
}

static unsigned turn; /* varies what follows from case to case */

static duralog_options next_options(bool strict) {
  duralog_options o = base_options(strict);
  o.durability.pagecache = turn++ % 3;
  return o;
}

static void fill(void *context) {
  const struct damage_base *b = context;
  duralog_options o = base_options(b->strict);
  duralog *log = open_with(b->path, &o);
  for (uint64_t i = 0; i < COUNT; i += 10) {
    append_numbers(log, i, 10);
    if (i < QUIET_FROM) CHECK_OK(duralog_tick(log));
    if (i == COUNT - 20) directory_copy(b->path, b->earlier);
  }
  bool ahead = b->closed || b->strict; /* a segment is prepared */
  if (ahead) CHECK_OK(duralog_tick(log));
  if (!b->closed) raise(SIGKILL);
  close_log(log);
}

void damage_base_make(struct damage_base *b, const struct test_place *at,
                      bool closed, bool strict) {
  const char *name = closed ? "closed" : strict ? "killed-strict" : "killed";
  *b = (struct damage_base){.name = name, .closed = closed, .strict = strict};
  b->path = path_in(at, name);
  b->earlier = path_in(at, "earlier");
  CHECK_EQUAL(child_end(child_start(fill, b)), closed ? 0 : 256 + SIGKILL);
  b->frames = frames_load(b->path);
  b->segments = b->frames.list[b->frames.count - 1].segment;
  b->files = directory_count(b->path, ".seg");
  CHECK(b->segments >= 4);
  CHECK_EQUAL(b->files, b->segments + (closed || strict));
  CHECK_EQUAL(frame_of(&b->frames, COUNT - 1)->segment, b->segments);
}

void damage_base_free(struct damage_base *b) { frames_free(&b->frames); }

/* ---- expectations ---- */

/* Whether the damage may take record `offset` and all behind it in silence. */
static bool is_excused(const struct damage_base *b,
                       const struct damage_reach *reach, uint64_t offset) {
  const struct test_frame *last = frame_of(&b->frames, COUNT - 1);
  const struct test_frame *first = frame_of(&b->frames, offset);
  return !b->closed && !b->strict && reach->segment == last->segment &&
         first->segment == last->segment && reach->to > last->position &&
         reach->from < first->position + first->bytes;
}

static bool segment_suffers(const struct damage_reach *reach, uint64_t n) {
  return n == reach->segment || n == reach->other;
}

/* Whether the record must still be readable: its segment is unharmed, or the
 * harm lies behind it. */
static bool must_be_there(const struct damage_reach *reach,
                          const struct test_frame *frame) {
  if (!segment_suffers(reach, frame->segment)) return true;
  return reach->to && !reach->other && reach->from >= 4096 &&
         frame->position + frame->bytes <= reach->from;
}

static void check_survey(const struct survey *s, bool damaged,
                         const struct damage_base *b,
                         const struct damage_reach *reach) {
  if (s->end < COUNT && !damaged && !is_excused(b, reach, s->end))
    test_failed(
        __FILE__, __LINE__,
        "acknowledged records from %llu on are gone, and nothing says so",
        (unsigned long long)s->end);
  for (uint64_t i = 0; i < COUNT; i++)
    if (!s->is_there[i] && must_be_there(reach, frame_of(&b->frames, i)))
      test_failed(__FILE__, __LINE__, "record %llu is gone, but was not harmed",
                  (unsigned long long)i);
}

static void same_records(const struct survey *a, const struct survey *b,
                         uint64_t below) {
  for (uint64_t i = 0; i < below; i++)
    if (a->is_there[i] != b->is_there[i])
      test_failed(__FILE__, __LINE__, "record %llu was %s and is %s",
                  (unsigned long long)i, a->is_there[i] ? "there" : "gone",
                  b->is_there[i] ? "there" : "gone");
}

/* ---- opening ---- */

static duralog_report try_open(const char *path, const duralog_options *o,
                               duralog_error *error, duralog **log) {
  duralog_report report = {.struct_size = sizeof report};
  duralog_diagnostic d = {.struct_size = sizeof d};
  *log = NULL;
  *error = duralog_open(path, o, log, &report, &d);
  CHECK((*error == DURALOG_OK) == (*log != NULL));
  if (*error == DURALOG_OK) return report;
  if (*error != DURALOG_E_CORRUPT)
    test_failed(__FILE__, __LINE__, "%s: %s, %s", duralog_error_name(*error),
                d.text, d.path);
  CHECK(d.error == *error && d.text[0] && d.path[0]);
  return report;
}

static bool try_reading(const char *path, const struct damage_base *b,
                        const struct damage_reach *reach, struct survey *s) {
  duralog_options o = base_options(b->strict);
  duralog_error error;
  duralog *log;
  struct survey copying;
  o.read_only = true;
  uint64_t before = tree_digest(path, true);
  duralog_report r = try_open(path, &o, &error, &log);
  CHECK_OK(error);
  survey_make(log, s, UINT64_MAX);
  check_survey(s, r.damage_count > 0, b, reach);
  close_log(log);
  o.copying_reads = true;
  log = open_with(path, &o);
  survey_make(log, &copying, UINT64_MAX);
  same_records(s, &copying, COUNT);
  close_log(log);
  CHECK_UNCHANGED(before, path);
  return r.damage_count > 0;
}

/* Go on appending from the end, once or twice, and see that nothing else
 * changes. Appended records are numbered by their offsets, too. */
static void go_on(const char *path, duralog *log, const struct survey *before,
                  bool strict) {
  struct survey s;
  duralog_options o = next_options(strict);
  unsigned lives = 1 + turn % 4 / 3;
  for (unsigned life = 0; life < lives; life++) { /* I7 */
    uint64_t end = watermarks_of(log).end, epoch = watermarks_of(log).epoch;
    append_numbers(log, end, MORE);
    CHECK(watermarks_of(log).epoch > epoch);
    survey_make(log, &s, UINT64_MAX);
    CHECK_EQUAL(s.end, end + MORE);
    same_records(before, &s, before->end < end ? before->end : end);
    for (uint64_t i = end; i < s.end; i++) CHECK(s.is_there[i]);
    close_log(log);
    log = open_with(path, &o);
    CHECK_EQUAL(watermarks_of(log).end, end + MORE);
  }
  survey_make(log, &s, UINT64_MAX);
  same_records(before, &s, before->end);
  close_log(log);
}

static bool try_writing(const char *path, const struct damage_base *b,
                        const struct damage_reach *reach,
                        const struct survey *reading, bool damaged) {
  duralog_options o = next_options(b->strict);
  duralog_error error;
  duralog *log;
  struct survey s;
  uint64_t before = tree_digest(path, true);
  duralog_report r = try_open(path, &o, &error, &log);
  CHECK_EQUAL(error != DURALOG_OK, damaged);
  CHECK_EQUAL(r.damage_count > 0, damaged);
  if (error) {
    CHECK_UNCHANGED(before, path);
    return false;
  }
  survey_make(log, &s, UINT64_MAX);
  check_survey(&s, false, b, reach);
  same_records(reading, &s, COUNT);
  go_on(path, log, reading, b->strict);
  return true;
}

static void try_accepting(const char *path, const struct damage_base *b,
                          const struct survey *reading) {
  duralog_options o = next_options(b->strict);
  duralog_report r;
  struct survey s;
  o.accept_damage = true;
  duralog *log = open_reporting(path, &o, &r);
  CHECK(r.damage_count > 0);
  CHECK(r.end >= r.durable_found && r.end >= reading->end);
  survey_make(log, &s, UINT64_MAX);
  same_records(reading, &s, reading->end);
  go_on(path, log, &s, b->strict);
}

void damage_hold_to_contract(const struct test_place *at,
                             const struct damage_base *b,
                             const char *damaged_log,
                             const struct damage_reach *reach) {
  const char *copy = path_in(at, "opened");
  struct survey reading;
  bool damaged = try_reading(damaged_log, b, reach, &reading);
  directory_copy(damaged_log, copy);
  if (!try_writing(copy, b, reach, &reading, damaged))
    try_accepting(copy, b, &reading);
  directory_remove(copy);
}
