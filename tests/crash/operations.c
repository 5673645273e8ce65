/* SPDX-License-Identifier: MIT */
#include "operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "frame.h"
#include "support_sim.h"

static void broken(struct run *r, const char *what) {
  if (!r->failed) r->failed = what;
}

static void must(struct run *r, duralog_error e, const char *what) {
  if (e) broken(r, what);
}

/* ---- the life of a run ---- */

void run_begin(struct run *r, const struct crash_mode *mode, int assumption) {
  r->sim = world_new();
  if (assumption) sim_break(r->sim, (enum sim_assumption)assumption);
  r->log = NULL;
  r->failed = NULL;
  r->may_lose = CRASH_KILL;
  memset(&r->model, 0, sizeof r->model);
  r->model.mode = mode;
  r->options = (duralog_options){.struct_size = sizeof r->options,
                                 .durability = mode->durability,
                                 .strict = mode->strict,
                                 .pad_syncs = mode->pad_syncs,
                                 .copying_reads = mode->copying_reads,
                                 .segment_bytes = SEGMENT_BYTES_MIN,
                                 .host_driven = true,
                                 .environment = sim_environment(r->sim)};
}

void run_end(struct run *r) {
  sim_on_event(r->sim, NULL, NULL);
  sim_free(r->sim);
  r->sim = NULL;
  r->log = NULL;
}

void run_died(struct run *r) { r->log = NULL; }

void run_open(struct run *r, enum crash_kind kind) {
  r->may_lose = kind;
  duralog_report report = {.struct_size = sizeof report};
  duralog_diagnostic d = {.struct_size = sizeof d};
  duralog *log = NULL;
  if (duralog_open(CRASH_DIRECTORY, &r->options, &log, &report, &d)) {
    broken(r, "I6: cannot be opened");
    fprintf(stderr, "%s: %s\n", duralog_error_name(d.error), d.text);

    return;
  }
  r->log = log;
  const char *wrong = model_check(&r->model, kind, log, report.end);
  if (!wrong) wrong = model_adopt(&r->model, log, report.end, sim_now(r->sim));
  if (wrong) broken(r, wrong);
  r->may_lose = CRASH_KILL; /* the model knows now what is left */
}

static void look(struct run *r) {
  duralog_watermarks w = {.struct_size = sizeof w};
  if (!r->log) return;
  must(r, duralog_get_watermarks(r->log, &w), "no watermarks");
  if (w.durable > w.end) broken(r, "durable is beyond the end");
  if (w.end != r->model.count) broken(r, "the end is not behind what returned");
  model_saw(&r->model, w.end, w.durable);
}

/* ---- appending ---- */

enum { BATCH_MAX = 4 };

static duralog_error append(struct run *r, const uint32_t *sizes, size_t count,
                            bool keyed, duralog_level level) {
  static uint8_t bytes[BATCH_MAX][MODEL_RECORD_BYTES_MAX];
  duralog_entry entries[BATCH_MAX];
  struct model *m = &r->model;
  uint64_t first = UINT64_MAX;
  for (size_t i = 0; i < count; i++) {
    struct model_record *record = model_add(m, sizes[i], keyed);
    model_fill(record, bytes[i]);
    entries[i] = (duralog_entry){.data = bytes[i], .size = sizes[i]};
    if (!keyed) continue;
    entries[i].key = &record->content;
    entries[i].key_size = sizeof record->content;
    entries[i].has_timestamp = true;
    entries[i].timestamp_ms = INT64_C(1700000000000) + (int64_t)i;
  }
  duralog_error e = duralog_append_batch(r->log, entries, count, level, &first);
  if (e) {
    /* Nothing was appended; but with the sync that failed it may have been. */
    duralog_watermarks w = {.struct_size = sizeof w};
    duralog_get_watermarks(r->log, &w);
    if (w.end == m->count) m->in_flight = 0;
    return e;
  }
  if (first != m->count) broken(r, "an offset is not the next one");
  model_returned(m, level, sim_now(r->sim));
  return e;
}

static void append_ok(struct run *r, uint32_t size, duralog_level level) {
  must(r, append(r, &size, 1, false, level), "an append failed");
}

static void op_append(struct run *r) {
  append_ok(r, 40, DURALOG_LEVEL_DEFAULT);
}

static void op_large(struct run *r) {
  append_ok(r, 700, DURALOG_LEVEL_DEFAULT);
}

static void op_empty(struct run *r) { append_ok(r, 0, DURALOG_LEVEL_DEFAULT); }

static void op_batch(struct run *r) {
  static const uint32_t sizes[] = {200, 10, 250};
  must(r, append(r, sizes, 3, false, DURALOG_LEVEL_DEFAULT), "a batch failed");
}

static void op_keyed(struct run *r) {
  static const uint32_t sizes[] = {30, 60};
  must(r, append(r, sizes, 2, true, DURALOG_LEVEL_DEFAULT), "a batch failed");
}

static void op_written(struct run *r) {
  append_ok(r, 50, DURALOG_LEVEL_WRITTEN);
}

static void op_durable(struct run *r) {
  append_ok(r, 60, DURALOG_LEVEL_DURABLE);
}

/* ---- syncing, waiting, time ---- */

static void op_sync(struct run *r) {
  must(r, duralog_sync(r->log), "a sync failed");
  model_saw(&r->model, r->model.count, r->model.count);
}

static void op_wait(struct run *r) {
  if (r->model.count == 0) return;
  must(r, duralog_wait(r->log, r->model.count - 1, DURALOG_LEVEL_DURABLE, -1),
       "a wait failed");
  model_saw(&r->model, r->model.count, r->model.count);
}

static void op_tick(struct run *r) {
  must(r, duralog_tick(r->log), "a tick failed");
  r->model.called_ns = sim_now(r->sim);
}

static void op_pass(struct run *r) {
  sim_advance(r->sim, 30 * NS_PER_MS);
  op_tick(r);
}

/* Nobody ticked in time: the append has to see to the interval itself. */
static void op_late(struct run *r) {
  sim_advance(r->sim, 30 * NS_PER_MS);
  op_append(r);
}

static void op_read(struct run *r) {
  duralog_reader *reader = NULL;
  duralog_record record;
  uint64_t n = 0;
  must(r, duralog_reader_open(r->log, DURALOG_LEVEL_DURABLE, &reader),
       "no reader");
  while (reader && duralog_read_next(reader, &record) == DURALOG_OK) n++;
  model_saw(&r->model, n, n); /* I2: shown by reading */
  duralog_reader_close(&reader);
}

/* ---- reserving ---- */

enum { RESERVED_BYTES = 1500 };

/* The host has stored something: anything of it may be lost or left. */
static void host_wrote(struct run *r) {
  STEP(sim_environment(r->sim), "host/wrote");
}

static uint8_t *reserve(struct run *r) {
  void *memory = NULL;
  must(r, duralog_reserve(r->log, RESERVED_BYTES, -1, &memory),
       "a reservation failed");
  return memory;
}

/* What most looks like frames: those right before, with their headers. The
 * newest lies at `at`, where a frame could come to be. */
static void write_old_frames(struct run *r, uint8_t *memory, size_t at) {
  const struct model *m = &r->model;
  size_t last = m->count ? frame_bytes(m->records[m->count - 1].size) : 64;
  if (last > RESERVED_BYTES / 2) last = 64;
  memcpy(memory, memory - RESERVED_BYTES, RESERVED_BYTES);
  memcpy(memory + at, memory - FRAME_HEADER_BYTES - last, last);
  host_wrote(r);
}

/* Publish less than was written. Nothing comes back before that begins. */
static void op_reserve(struct run *r) {
  enum { SIZE = 48 };
  struct model *m = &r->model;
  uint64_t offset = UINT64_MAX;
  uint8_t *memory = reserve(r);
  if (!memory) return;
  write_old_frames(r, memory, SIZE);
  model_fill(model_add(m, SIZE, false), memory);
  m->in_flight = 0;
  host_wrote(r);
  m->in_flight = 1;
  must(r, duralog_publish(r->log, SIZE, DURALOG_LEVEL_DEFAULT, &offset),
       "publishing failed");
  if (offset != m->count) broken(r, "an offset is not the next one");
  model_returned(m, DURALOG_LEVEL_DEFAULT, sim_now(r->sim));
}

/* The next record ends where an old frame lay. A sync meanwhile is one. */
static void op_abort(struct run *r) {
  enum { SIZE = 40 };
  uint8_t *memory = reserve(r);
  if (!memory) return;
  write_old_frames(r, memory, SIZE);
  op_sync(r);
  host_wrote(r);
  must(r, duralog_abort(r->log), "an abort failed");
  look(r);
  append_ok(r, SIZE, DURALOG_LEVEL_WRITTEN);
}

/* ---- consuming ---- */

/* The group's member: it goes back where it has to, and reads all. */
static duralog_consumer *consume_all(struct run *r) {
  duralog_consumer_options o = {.struct_size = sizeof o,
                                .manual_commit = true,
                                .go_back = true,
                                .read_level = DURALOG_LEVEL_WRITTEN};
  duralog_consumer *c = NULL;
  const duralog_record *records;
  size_t count;
  duralog_error e;
  model_group_making(&r->model.group);
  must(r, duralog_consumer_open(r->log, MODEL_GROUP, &o, &c), "no consumer");
  if (!c) return NULL;
  model_group_made(&r->model.group);
  do e = duralog_poll(c, 0, 0, 0, &records, &count);
  while (e == DURALOG_OK);
  if (e != DURALOG_E_TIMEOUT) broken(r, "a poll failed");
  return c;
}

static void commit_polled(struct run *r, duralog_consumer *c,
                          duralog_level level) {
  char number[16];
  snprintf(number, sizeof number, "%u",
           model_group_commit(&r->model.group, r->model.count));
  must(r, duralog_commit(c, DURALOG_POLLED, level, number), "a commit failed");
  model_group_returned(&r->model.group, level);
  if (level == DURALOG_LEVEL_DURABLE)
    model_saw(&r->model, r->model.count, r->model.count);
}

static void commit_all(struct run *r, duralog_level level) {
  duralog_consumer *c = consume_all(r);
  if (!c) return;
  commit_polled(r, c, level);
  must(r, duralog_consumer_close(&c), "a consumer was not closed");
}

/* All by one member, who knows which slot is durable. */
static void op_commits(struct run *r) {
  duralog_consumer *c = consume_all(r);
  if (!c) return;
  commit_polled(r, c, DURALOG_LEVEL_DURABLE);
  for (int i = 0; i < 3; i++) commit_polled(r, c, DURALOG_LEVEL_WRITTEN);
  must(r, duralog_consumer_close(&c), "a consumer was not closed");
}

static void op_commit(struct run *r) { commit_all(r, DURALOG_LEVEL_WRITTEN); }

static void op_commit_durable(struct run *r) {
  commit_all(r, DURALOG_LEVEL_DURABLE);
}

/* ---- segments ---- */

static uint64_t room_in_segment(struct run *r) {
  duralog_segment s = {.struct_size = sizeof s};
  size_t index = 0;
  while (duralog_get_segment(r->log, index, &s) == DURALOG_OK) index++;
  uint64_t kept = r->options.pad_syncs ? 4096 + FRAME_HEADER_BYTES : 0;
  uint64_t end = s.used + kept + FRAME_HEADER_BYTES;
  return end < s.bytes ? s.bytes - end : 0;
}

/* Fill the segment up, unwatched, until a small record would roll. */
static void fill(struct run *r) {
  enum { SMALL = 72, FRAMING = 40, PIECE = 3900 };
  uint64_t room;
  r->unwatched = true;
  while (!r->failed && (room = room_in_segment(r)) >= SMALL)
    append_ok(r, (uint32_t)min_u64(PIECE, room - FRAMING),
              DURALOG_LEVEL_WRITTEN);
  r->unwatched = false;
}

static void op_roll(struct run *r) {
  fill(r);
  r->unwatched = true;
  op_sync(r);
  r->unwatched = false;
  op_append(r);
}

static void op_burst(struct run *r) {
  fill(r);
  op_written(r);
}

/* ---- opening and dying ---- */

static void op_close(struct run *r) {
  must(r, duralog_close(&r->log), "closing failed");
  model_saw(&r->model, r->model.count, r->model.count);
}

static void op_reopen(struct run *r) {
  op_close(r);
  run_open(r, CRASH_KILL);
}

static void op_kill(struct run *r) {
  run_died(r);
  sim_kill(r->sim);
  run_open(r, CRASH_KILL);
}

static void op_cut(struct run *r) {
  run_died(r);
  sim_restart(r->sim, r->model.count * 31 + r->model.next_content + 1);
  run_open(r, CRASH_POWER);
}

/* Killed by itself when it comes to this event. */
static void die_in(struct run *r, const char *what,
                   void (*body)(struct run *)) {
  r->die_at = what;
  if (setjmp(r->die_point) == 0) body(r);
  r->die_at = NULL;
  r->unwatched = false;
  run_died(r);
  sim_kill(r->sim);
  run_open(r, CRASH_KILL);
}

static void op_die_naming(struct run *r) {
  die_in(r, "sync/segment-name", op_roll);
}

static void op_die_storing(struct run *r) {
  die_in(r, "append/stored", op_batch);
}

/* ---- failing ---- */

/* After the sync that failed: nothing is promised any more, reading goes on,
 * and the next opening finds out. */
static void expect_poisoned(struct run *r) {
  static const uint32_t size = 20;
  duralog_watermarks before = {.struct_size = sizeof before}, after = before;
  duralog_get_watermarks(r->log, &before);
  if (append(r, &size, 1, false, DURALOG_LEVEL_WRITTEN) != DURALOG_E_POISONED)
    broken(r, "I14: an append succeeded after a failed sync");
  if (duralog_sync(r->log) != DURALOG_E_POISONED)
    broken(r, "I14: a sync succeeded after a failed one");
  duralog_get_watermarks(r->log, &after);
  if (after.durable != before.durable || after.end != before.end)
    broken(r, "I14: watermarks moved after a failed sync");
  if (duralog_close(&r->log) != DURALOG_E_POISONED)
    broken(r, "I14: closing says that all is well after a failed sync");
  run_open(r, CRASH_POWER);
}

static void fail_a_sync(struct run *r, enum sim_fs fs) {
  sim_set_fs(r->sim, fs);
  op_written(r);
  r->may_lose = CRASH_POWER;
  sim_fail_sync(r->sim, 1, false);
  duralog_error e = duralog_sync(r->log);
  if (fs == SIM_JOURNAL && e == DURALOG_OK) { /* told one call late */
    model_saw(&r->model, r->model.count, r->model.count);
    op_written(r);
    e = duralog_sync(r->log);
  }
  sim_fail_sync(r->sim, 0, false);
  /* A finished segment's late error comes with its seal, if ever: the journal
   * has the bytes. */
  if (fs == SIM_JOURNAL && e == DURALOG_OK) {
    e = duralog_close(&r->log);
    if (e && e != DURALOG_E_POISONED) broken(r, "I14: closing failed oddly");
    run_open(r, CRASH_POWER);
    return;
  }
  if (e != DURALOG_E_POISONED)
    broken(r, "I14: a sync that failed was not reported");
  expect_poisoned(r);
}

static void op_fail_ext4(struct run *r) { fail_a_sync(r, SIM_EXT4); }
static void op_fail_journal(struct run *r) { fail_a_sync(r, SIM_JOURNAL); }
static void op_fail_btrfs(struct run *r) { fail_a_sync(r, SIM_BTRFS); }

/* The directory's sync fails, and the file system with it. */
static void op_fail_xfs(struct run *r) {
  static const uint32_t size = 40;
  sim_set_fs(r->sim, SIM_XFS);
  fill(r);
  uint64_t names = sim_sync_count(r->sim, IO_SYNC_SEGMENT_NAME);
  uint64_t k = 0;
  do { /* find the directory's among the syncs of a roll */
    sim_fail_sync(r->sim, ++k, false);
    duralog_error e = append(r, &size, 1, false, DURALOG_LEVEL_WRITTEN);
    bool name_failed =
        e && sim_sync_count(r->sim, IO_SYNC_SEGMENT_NAME) > names;
    if (e == DURALOG_E_POISONED && !name_failed) break;
    if (e == DURALOG_OK || name_failed) break;
  } while (k < 4);
  sim_fail_sync(r->sim, 0, false);
  duralog_close(&r->log);
  run_died(r);
  sim_restart(r->sim, r->model.count + 1); /* nothing else brings it back */
  run_open(r, CRASH_POWER);
}

/* The disk is full; then it is not. */
static void op_full(struct run *r) {
  static const uint32_t small = 40, large = 3900;
  duralog_error e;
  bool quota = r->model.mode->strict;
  (quota ? sim_set_quota : sim_set_room)(r->sim, sim_room_used(r->sim));
  r->unwatched = true;
  do e = append(r, &large, 1, false, DURALOG_LEVEL_WRITTEN);
  while (e == DURALOG_OK);
  do e = append(r, &small, 1, false, DURALOG_LEVEL_WRITTEN);
  while (e == DURALOG_OK);
  r->unwatched = false;
  if (e != DURALOG_E_FULL) broken(r, "I19: a full disk is not called so");
  if (append(r, &small, 1, false, DURALOG_LEVEL_DEFAULT) != DURALOG_E_FULL)
    broken(r, "I19: a full disk takes a record");
  look(r);
  if (duralog_sync(r->log))
    broken(r, "I19: a sync of what is there needs space");
  model_saw(&r->model, r->model.count, r->model.count);
  sim_set_room(r->sim, 0);
  op_append(r);
}

/* ---- the table ---- */

const struct operation operations[] = {
    {"append", op_append},
    {"large", op_large},
    {"empty", op_empty},
    {"batch", op_batch},
    {"keyed", op_keyed},
    {"written", op_written},
    {"durable", op_durable},
    {"reserve", op_reserve},
    {"abort", op_abort},
    {"sync", op_sync},
    {"wait", op_wait},
    {"read", op_read},
    {"commit", op_commit},
    {"commit-durable", op_commit_durable},
    {"commits", op_commits},
    {"tick", op_tick},
    {"pass", op_pass},
    {"late", op_late},
    {"roll", op_roll},
    {"burst", op_burst},
    {"reopen", op_reopen},
    {"kill", op_kill},
    {"cut", op_cut},
    {"die-naming", op_die_naming},
    {"die-storing", op_die_storing},
    {"fail-ext4", op_fail_ext4},
    {"fail-journal", op_fail_journal},
    {"fail-xfs", op_fail_xfs},
    {"fail-btrfs", op_fail_btrfs},
    {"full", op_full},
};
const size_t operation_count = sizeof operations / sizeof *operations;

/* ---- sequences ---- */

static void describe(struct explorer *e, const struct crash_mode *mode,
                     const struct sequence *s) {
  char *text = e->replay;
  size_t size = sizeof e->replay;
  int n = snprintf(text, size, "build/tests/test_crash replay %s ", mode->name);
  for (int i = 0; i < s->length; i++)
    n += snprintf(text + n, size - (size_t)n, "%s%s", i ? "," : "",
                  s->operations[i]->name);
  if (s->length == 0) snprintf(text + n, size - (size_t)n, "-");
}

void sequence_run(struct explorer *e, const struct crash_mode *mode,
                  const struct sequence *s) {
  static struct run run;
  describe(e, mode, s);
  run_begin(&run, mode, e->broken);
  sim_disk_of(run.sim)->harm_from_block = e->harm_spares_headers ? 1 : 0;
  explorer_watch(e, &run, s->length == 0);
  run_open(&run, CRASH_KILL);
  if (s->length == 0) explorer_point(e, "opened");
  for (int i = 0; i < s->length && !run.failed; i++) {
    explorer_watch(e, &run, i + 1 == s->length);
    s->operations[i]->run(&run);
    if (!run.failed) explorer_point(e, "returned");
  }
  if (run.failed) explorer_failed(e, run.failed);
  run_end(&run);
}
