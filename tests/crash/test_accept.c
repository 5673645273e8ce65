/* SPDX-License-Identifier: MIT
 *
 * Going on behind damage, with the power cut and the process killed at every
 * event of it: what is not damaged stays, what was promised before and after
 * stays, and the damage is never served. Here a rename replaces a file, so here
 * the assumption about renames is leaned on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "operations.h"
#include "support.h"

enum {
  DAMAGED_RECORD = 2,
  SYNCED = 6,
  EVIDENCE = 2,
  UNSYNCED = 5,
  SURVIVORS_MAX = 64
};

struct scene {
  struct run run;
  struct sim *world;
  const char *wrong;
  bool accepted; /* duralog_open has returned */
  uint64_t states, meta_lost;
  uint64_t event;
};

/* A byte of the record changes, on the disk and in the cache. */
static void damage_record(struct run *r, uint64_t offset) {
  uint8_t payload[MODEL_RECORD_BYTES_MAX];
  const struct model_record *record = &r->model.records[offset];
  struct sim_disk *disk = sim_disk_of(r->sim);
  model_fill(record, payload);
  for (int i = 0; i < disk->file_count; i++) {
    struct sim_file *f = &disk->files[i];
    uint8_t *at = f->used && f->size
                      ? memmem(f->cache, f->size, payload, record->size)
                      : NULL;
    if (!at) continue;
    uint64_t position = (uint64_t)(at - f->cache) + 3;
    f->cache[position] ^= 0x55;
    if (f->disk != f->cache) f->disk[position] ^= 0x55;
    return;
  }
  fail_msg("record %" PRIu64 " is nowhere", offset);
}

/* All that was promised is there, but for what is damaged. */
static const char *survey(const struct scene *s, duralog *log, uint64_t end) {
  const struct model *m = &s->run.model;
  uint64_t damaged = 0;
  if (end < m->promised) return "I2: a record that was promised is lost";
  /* Offsets beyond those appended are skipped ones: the new segment begins at
   * or above every watermark known. */
  const char *wrong = model_read(m, log, m->promised, &damaged);
  if (!wrong && damaged != 1)
    wrong = "I20: not just the damaged record is damaged";
  return wrong;
}

static const char *look_at(struct scene *s, struct sim *w) {
  duralog_options o = s->run.options;
  duralog_report report = {.struct_size = sizeof report};
  duralog *log = NULL;
  uint64_t offset = 0;
  duralog_entry entry = {.data = "on", .size = 2};
  o.environment = sim_environment(w);
  o.accept_damage = !s->accepted; /* after that there is nothing to accept */
  s->states++;
  duralog_error e = duralog_open(CRASH_DIRECTORY, &o, &log, &report, NULL);
  for (size_t i = 0; i < report.damage_count && i < 8; i++)
    s->meta_lost += report.damage[i].segment == META_NUMBER;
  if (e) return "I6: a crash while damage was accepted leaves nothing to open";
  const char *wrong = survey(s, log, report.end);
  if (!wrong &&
      duralog_append_batch(log, &entry, 1, DURALOG_LEVEL_DURABLE, &offset))
    wrong = "I7: nothing can be appended behind accepted damage";
  if (!wrong && offset < s->run.model.promised)
    wrong = "I8: an offset below a watermark is given again";
  return wrong;
}

static void crash(void *context, struct sim *sim, const char *what) {
  static struct sim_unit units[SIM_UNITS_MAX];
  static uint32_t options[SIM_UNITS_MAX];
  struct scene *s = context;
  struct choices c;
  uint64_t number;
  s->event++;
  sim_killed(sim, s->world);
  const char *wrong = look_at(s, s->world);
  size_t count = sim_units(sim, units);
  choices_begin(&c, units, count, SURVIVORS_MAX, SURVIVORS_MAX, 1);
  while (!wrong && choices_next(&c, options, &number)) {
    sim_survivor(sim, units, options, count, s->world);
    wrong = look_at(s, s->world);
  }
  choices_end(&c);
  if (wrong && !s->wrong) {
    s->wrong = wrong;
    fprintf(stderr, "%s: mode %s, event %" PRIu64 " (%s)\n", wrong,
            s->run.model.mode->name, s->event, what);
  }
}

static void append_some(struct scene *s, uint32_t count, uint32_t size) {
  uint8_t bytes[MODEL_RECORD_BYTES_MAX];
  struct model *m = &s->run.model;
  for (uint32_t i = 0; i < count; i++) {
    model_fill(model_add(m, size + i, false), bytes);
    assert_int_equal(duralog_append(s->run.log, bytes, size + i, NULL), 0);
    model_returned(m, DURALOG_LEVEL_WRITTEN, 0);
  }
}

static duralog_watermarks watermarks_now(struct run *r) {
  duralog_watermarks w = {.struct_size = sizeof w};
  assert_int_equal(duralog_get_watermarks(r->log, &w), DURALOG_OK);
  return w;
}

/* A log whose writer was killed, with damage to what had been synced. */
static void make_damaged(struct scene *s, const struct crash_mode *mode,
                         int broken, uint32_t size) {
  run_begin(&s->run, mode, broken);
  run_open(&s->run, CRASH_KILL);
  append_some(s, SYNCED, size);
  assert_int_equal(duralog_sync(s->run.log), DURALOG_OK);
  /* A synced batch that says so: without it the damaged one would be the last,
   * which cannot be told from a torn tail. */
  append_some(s, EVIDENCE, size);
  assert_int_equal(duralog_sync(s->run.log), DURALOG_OK);
  append_some(s, UNSYNCED, size);
  s->run.model.promised = watermarks_now(&s->run).durable;
  run_died(&s->run);
  sim_kill(s->run.sim);
  damage_record(&s->run, DAMAGED_RECORD);
}

static void play(struct scene *s, const struct crash_mode *mode, int broken,
                 uint32_t size) {
  struct run *r = &s->run;
  make_damaged(s, mode, broken, size);
  s->accepted = false;
  sim_on_event(r->sim, crash, s);
  r->options.accept_damage = true;
  assert_int_equal(
      duralog_open(CRASH_DIRECTORY, &r->options, &r->log, NULL, NULL),
      DURALOG_OK);
  s->accepted = true;
  r->model.promised = watermarks_now(r).durable;
  assert_true(r->model.promised >= SYNCED + EVIDENCE);
  crash(s, r->sim, "accepted");
  assert_int_equal(duralog_close(&r->log), DURALOG_OK);
  run_end(r);
}

static uint64_t play_all(int broken, uint64_t *meta_lost) {
  static struct scene s;
  uint64_t wrong = 0;
  s = (struct scene){.world = sim_new()};
  for (size_t i = 0; i < crash_mode_count; i++)
    for (uint32_t size = 40; size < 4000; size *= 40) { /* one segment; more */
      s.wrong = NULL;
      play(&s, &crash_modes[i], broken, size);
      wrong += s.wrong != NULL;
    }
  printf("states %" PRIu64 "\n", s.states);
  *meta_lost = s.meta_lost;
  sim_free(s.world);
  return wrong;
}

static void a_crash_while_damage_is_accepted_loses_nothing_else(void **unused) {
  (void)unused;
  uint64_t meta_lost;
  assert_int_equal(play_all(0, &meta_lost), 0);
  assert_int_equal(meta_lost, 0);
}

static void without_atomic_renames_the_meta_file_is_lost(void **unused) {
  (void)unused;
  uint64_t meta_lost;
  play_all(SIM_RENAME_IS_ATOMIC, &meta_lost);
  assert_int_not_equal(meta_lost, 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_crash_while_damage_is_accepted_loses_nothing_else),
      cmocka_unit_test(without_atomic_renames_the_meta_file_is_lost),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests_name("accept", tests, NULL, NULL);
}
