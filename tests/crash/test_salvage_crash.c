/* SPDX-License-Identifier: MIT
 *
 * Salvage with the power cut and the process killed at every event of it: what
 * is found where the copy should be is no log that a writer would open, or the
 * whole copy; and once salvage has returned, the whole copy.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choices.h"
#include "format.h"
#include "support.h"
#include "support_sim.h"

#define LOG "/log"
#define COPY "/copy"

enum { RECORDS = 24, SURVIVORS_MAX = 2000 };

struct scene {
  struct sim *sim, *world;
  bool returned;
  uint64_t records, gaps; /* of the whole copy */
  uint64_t states, whole, events;
  const char *wrong;
};

static duralog_options options_in(struct sim *sim) {
  return (duralog_options){.struct_size = sizeof(duralog_options),
                           .segment_bytes = SEGMENT_BYTES_MIN,
                           .host_driven = true,
                           .environment = sim_environment(sim)};
}

/* Two segments, and a byte of a record in each is damaged. */
static void make_damaged(struct sim *sim) {
  duralog_options o = options_in(sim);
  static uint8_t data[1000];
  char name[NAME_BYTES];
  uint64_t size;
  duralog *log = open_with(LOG, &o);
  for (int i = 0; i < RECORDS; i++)
    CHECK_OK(duralog_append(log, data, sizeof data, NULL));
  CHECK_OK(duralog_tick(log));
  close_log(log);
  for (uint64_t n = 1; n <= 2; n++) {
    segment_name(name, n);
    sim_file_bytes(sim, LOG, name, &size)[SEGMENT_HEADER_BYTES + 3000] ^= 1;
  }
}

static duralog_error salvage(struct sim *sim, duralog_salvage_report *report) {
  duralog_salvage_options o = {.struct_size = sizeof o,
                               .environment = sim_environment(sim)};
  *report = (duralog_salvage_report){.struct_size = sizeof *report};
  return duralog_salvage(LOG, COPY, &o, report, NULL);
}

/* The whole copy: as many records and gaps, and all of its files. */
static const char *look_at_copy(const struct scene *s, struct sim *w,
                                duralog *log) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  duralog_damage damage;
  duralog_error e;
  uint64_t records = 0, gaps = 0, size;
  while ((e = duralog_read_next(reader, &r)) != DURALOG_E_AT_END) {
    if (e == DURALOG_OK) {
      records++;
      continue;
    }
    if (e != DURALOG_E_CORRUPT ||
        duralog_reader_diagnose(reader, &damage, NULL) ||
        duralog_seek(reader, DURALOG_SEEK_OFFSET, damage.to))
      break;
    gaps++;
  }
  CHECK_OK(duralog_reader_close(&reader));
  if (records != s->records || gaps != s->gaps)
    return "a copy that opens is not whole";
  const uint8_t *report = sim_file_bytes(w, COPY, "salvage.json", &size);
  if (!report || size < 3 || memcmp(report + size - 2, "}\n", 2) != 0)
    return "the report of a whole copy is not";
  const uint8_t *evidence = sim_file_bytes(w, COPY, "salvage.evidence", &size);
  bool all_there = evidence && size >= 2 * 1000 && !all_zero(evidence, 512);
  return all_there ? NULL : "the evidence of a whole copy is not there";
}

static const char *look_at(struct scene *s, struct sim *w) {
  duralog_options o = options_in(w);
  duralog *log = NULL;
  o.must_exist = true;
  s->states++;
  duralog_error e = duralog_open(COPY, &o, &log, NULL, NULL);
  if (e && s->returned) return "the copy is lost after salvage returned";
  if (e)
    return e == DURALOG_E_CORRUPT || e == DURALOG_E_NOT_FOUND ||
                   e == DURALOG_E_FOREIGN
               ? NULL
               : "an unfinished copy gives another error";
  s->whole++;
  return look_at_copy(s, w, log);
}

static void crash(void *context, struct sim *sim, const char *what) {
  static struct sim_unit units[SIM_UNITS_MAX];
  static uint32_t options[SIM_UNITS_MAX];
  struct scene *s = context;
  struct choices c;
  uint64_t number;
  s->events++;
  sim_killed(sim, s->world);
  const char *wrong = look_at(s, s->world);
  size_t count = sim_units(sim, units);
  choices_begin(&c, units, count, SURVIVORS_MAX, SURVIVORS_MAX, s->events);
  while (!wrong && choices_next(&c, options, &number)) {
    sim_survivor(sim, units, options, count, s->world);
    wrong = look_at(s, s->world);
  }
  choices_end(&c);
  if (wrong && !s->wrong) {
    s->wrong = wrong;
    fprintf(stderr, "%s: event %" PRIu64 " (%s)\n", wrong, s->events, what);
  }
}

static void a_crash_during_salvage_leaves_the_copy_whole_or_no_log(
    struct test_place *at) {
  struct scene s = {.sim = world_new(), .world = sim_new()};
  struct sim *whole = sim_new();
  duralog_salvage_report report;
  (void)at;
  CHECK(s.world && whole);
  make_damaged(s.sim);
  sim_killed(s.sim, whole);
  CHECK_OK(salvage(whole, &report));
  s.records = report.records;
  s.gaps = report.gaps;
  CHECK(s.gaps == 2 && s.records == RECORDS - 2);
  sim_on_event(s.sim, crash, &s);
  CHECK_OK(salvage(s.sim, &report));
  CHECK_EQUAL(s.wrong == NULL, true);
  CHECK(s.events > 40 && s.states > 400);
  uint64_t whole_before = s.whole;
  s.returned = true;
  crash(&s, s.sim, "returned");
  CHECK_EQUAL(s.wrong == NULL, true);
  CHECK(s.whole > whole_before);
  printf("salvage_crash_states %" PRIu64 "\n", s.states);
  sim_free(s.sim);
  sim_free(s.world);
  sim_free(whole);
}

static const struct test tests[] = {
    TEST(a_crash_during_salvage_leaves_the_copy_whole_or_no_log),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
