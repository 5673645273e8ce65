/* SPDX-License-Identifier: MIT
 *
 * Which part of a segment each sync is of: where records are synced many at a
 * time all that was stored since the last one and nothing ahead of the tail,
 * otherwise the whole file. And that pages are faulted in ahead of the tail, or
 * blocks written.
 */
#include "format.h"
#include "frame.h"
#include "support_sim.h"
#include "unit.h"

#define DIRECTORY "/log"
#define RECORD_BYTES 1000
#define SEGMENT_BYTES ((uint64_t)1 << 20)

enum { SYNCS_MAX = 4096 };

struct sync {
  bool whole;
  uint64_t from, to;
  enum io_sync_reason why;
};

static struct sync syncs[SYNCS_MAX];
static size_t sync_count;

static int noted_sync(io_env *io, int file, const struct io_part *part,
                      enum io_sync_reason why) {
  io_env *inner = sim_environment(io->world);
  assert_true(sync_count < SYNCS_MAX);
  syncs[sync_count++] = (struct sync){.whole = part == NULL,
                                      .from = part ? part->from : 0,
                                      .to = part ? part->to : 0,
                                      .why = why};
  return inner->file_sync(inner, file, part, why);
}

static uint64_t populated; /* bytes, for writing */

static int noted_populate(io_env *io, void *address, uint64_t bytes,
                          bool for_writing) {
  io_env *inner = sim_environment(io->world);
  if (for_writing) populated += bytes;
  return inner->populate(inner, address, bytes, for_writing);
}

struct world {
  struct sim *sim;
  struct duralog_environment io;
  duralog_options options;
  duralog *log;
};

static void begin(struct world *w, const duralog_options *how) {
  w->sim = world_new();
  w->io = *sim_environment(w->sim);
  w->io.file_sync = noted_sync;
  w->io.populate = noted_populate;
  w->options = *how;
  w->options.struct_size = sizeof w->options;
  w->options.segment_bytes = SEGMENT_BYTES;
  w->options.host_driven = true;
  w->options.environment = &w->io;
  assert_int_equal(duralog_open(DIRECTORY, &w->options, &w->log, NULL, NULL),
                   DURALOG_OK);
  sync_count = 0;
  populated = 0;
}

static void reopen(struct world *w) {
  assert_int_equal(duralog_close(&w->log), DURALOG_OK);
  assert_int_equal(duralog_open(DIRECTORY, &w->options, &w->log, NULL, NULL),
                   DURALOG_OK);
  sync_count = 0;
}

static void end(struct world *w) {
  assert_int_equal(duralog_close(&w->log), DURALOG_OK);
  sim_free(w->sim);
}

static void append(struct world *w, int count) {
  static const char data[RECORD_BYTES];
  for (int i = 0; i < count; i++)
    assert_int_equal(duralog_append(w->log, data, sizeof data, NULL),
                     DURALOG_OK);
}

/* Its first frame is that of an epoch, or a record. */
static uint64_t position_behind(uint64_t records) {
  return SEGMENT_HEADER_BYTES + records * frame_bytes(RECORD_BYTES);
}

static void a_part_goes_on_where_the_last_one_ended(void **unused) {
  const duralog_options ten = {.durability.sync_every_records = 10};
  struct world w;
  (void)unused;
  begin(&w, &ten);
  append(&w, 40);
  size_t parts = 0;
  for (size_t i = 0; i < sync_count; i++) {
    if (syncs[i].whole || syncs[i].why != IO_SYNC_DATA) continue;
    parts++;
    assert_int_equal(syncs[i].to, position_behind(10 * parts));
    assert_int_equal(syncs[i].from, syncs[i - 1].to);
  }
  assert_int_equal(parts, 4);
  end(&w);
}

/* The first sync of all is of the epoch, which is no record. */
static void an_epoch_is_within_its_part(void **unused) {
  const duralog_options ten = {.durability.sync_every_records = 10};
  const uint64_t epoch = frame_bytes(FRAME_EPOCH_BODY_BYTES);
  struct world w;
  (void)unused;
  begin(&w, &ten);
  append(&w, 10);
  reopen(&w);
  append(&w, 1);
  size_t i = 0;
  while (i < sync_count && syncs[i].why != IO_SYNC_EPOCH) i++;
  assert_true(i < sync_count);
  assert_int_equal(syncs[i].from, 0);
  assert_true(syncs[i].whole || syncs[i].to == position_behind(10) + epoch);
  end(&w);
}

/* One is stored behind the first sync, and behind one with 64 KiB and more
 * that comes 100 ms later. */
static void a_mark_goes_out_with_the_part_behind_it(void **unused) {
  const duralog_options hundred = {.durability.sync_every_records = 100};
  static const bool from_header[] = {true, false, false, true};
  struct world w;
  (void)unused;
  begin(&w, &hundred);
  append(&w, 100);
  for (size_t i = 0; i < sizeof from_header / sizeof *from_header; i++) {
    if (i == 2) sim_advance(w.sim, 200 * NS_PER_MS);
    uint64_t before = syncs[sync_count - 1].to;
    append(&w, 50);
    append(&w, 50);
    const struct sync *last = &syncs[sync_count - 1];
    assert_false(last->whole);
    assert_int_equal(last->to, position_behind(200 + 100 * i));
    assert_int_equal(last->from, from_header[i] ? 0 : before);
  }
  end(&w);
}

static void behind_a_roll_one_begins_with_the_header(void **unused) {
  const duralog_options ten = {.durability.sync_every_records = 10};
  struct world w;
  duralog_stats s = {.struct_size = sizeof s};
  (void)unused;
  begin(&w, &ten);
  do {
    append(&w, 10);
    assert_int_equal(duralog_get_stats(w.log, &s), DURALOG_OK);
  } while (s.rolls == 0);
  const struct sync *last = &syncs[sync_count - 1];
  assert_false(last->whole);
  assert_int_equal(last->from, 0);
  assert_true(last->to < position_behind(10) + 1);
  assert_true(last[-1].whole); /* what was left of the finished one */
  end(&w);
}

static void elsewhere_syncs_are_of_the_whole_file(void **unused) {
  const duralog_options modes[] = {
      {.durability.sync_every_records = 1},
      {.durability.pagecache = true},
      {.durability.sync_every_records = 10, .strict = true},
      {.durability.sync_every_records = 10, .pad_syncs = true}};
  (void)unused;
  for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
    struct world w;
    begin(&w, &modes[m]);
    append(&w, 30);
    assert_int_equal(duralog_sync(w.log), DURALOG_OK);
    assert_true(sync_count > 1);
    for (size_t i = 0; i < sync_count; i++) assert_true(syncs[i].whole);
    end(&w);
  }
}

/* Also in a log opened again, where somebody looked before whether there is
 * something to do. */
static void from_the_first_append_on_pages_are_faulted_in(void **unused) {
  const duralog_options modes[] = {{.durability.pagecache = true},
                                   {.durability.sync_interval_ms = 1000},
                                   {.durability.sync_every_records = 10}};
  (void)unused;
  for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
    struct world w;
    int64_t in_ms = 1;
    begin(&w, &modes[m]);
    append(&w, 1);
    reopen(&w);
    populated = 0;
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
    assert_int_equal(populated, 0); /* opening takes no space */
    append(&w, 1);
    assert_int_equal(duralog_next_deadline(w.log, &in_ms), DURALOG_OK);
    assert_int_equal(in_ms, 0);
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
    assert_in_range(populated, SEGMENT_BYTES - 2 * SEGMENT_HEADER_BYTES,
                    SEGMENT_BYTES);
    end(&w);
  }
}

/* ---- blocks written ahead ---- */

/* How far the log's blocks are written by now: the end of the last AHEAD. Each
 * begins where the one before ended, and is of whole pages. */
static uint64_t ahead_end(void) {
  enum { PIECE_BYTES_MAX = 64 << 10 };
  uint64_t end = 0;
  for (size_t i = 0; i < sync_count; i++) {
    const struct sync *s = &syncs[i];
    if (s->why != IO_SYNC_AHEAD) continue;
    assert_false(s->whole);
    assert_int_equal(s->from % 4096, 0);
    assert_in_range(s->to - s->from, 4096, PIECE_BYTES_MAX);
    if (end) assert_int_equal(s->from, end);
    end = s->to;
  }
  return end;
}

static size_t ahead_count(void) {
  size_t count = 0;
  for (size_t i = 0; i < sync_count; i++)
    count += syncs[i].why == IO_SYNC_AHEAD;
  return count;
}

/* From the first tick on no record comes to a block that was not written, and
 * none is written long before; in few pieces, however often there is a tick. */
static void where_each_is_synced_blocks_are_written_ahead(void **unused) {
  const duralog_options each = {.durability.sync_every_records = 1};
  struct world w;
  (void)unused;
  begin(&w, &each);
  append(&w, 1);
  assert_int_equal(ahead_count(), 0); /* by the background alone */
  uint64_t position = position_behind(1);
  while (position + frame_bytes(RECORD_BYTES) < SEGMENT_BYTES - 4096) {
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
    append(&w, 1);
    position += frame_bytes(RECORD_BYTES);
    assert_true(ahead_end() >= position);
    assert_true(ahead_end() <= 4 * position + (64 << 10));
  }
  assert_int_equal(ahead_end(), SEGMENT_BYTES);
  assert_int_equal(populated, SEGMENT_BYTES - SEGMENT_HEADER_BYTES);
  assert_true(ahead_count() < 24);
  end(&w);
}

/* Batches of 64 KB, and then records again. */
static void not_where_a_sync_is_of_many_bytes(void **unused) {
  const duralog_options each = {.durability.sync_every_records = 1};
  static const char data[RECORD_BYTES];
  duralog_entry batch[64];
  struct world w;
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(batch); i++)
    batch[i] = (duralog_entry){.data = data, .size = sizeof data};
  begin(&w, &each);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(duralog_append_batch(w.log, batch, COUNT_OF(batch),
                                          DURALOG_LEVEL_DEFAULT, NULL),
                     DURALOG_OK);
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
  }
  assert_int_equal(ahead_count(), 0);
  append(&w, 10);
  assert_int_equal(duralog_tick(w.log), DURALOG_OK);
  assert_true(ahead_end() >= position_behind(4 * COUNT_OF(batch) + 10));
  end(&w);
}

static struct world
    *fails_meanwhile; /* an append's sync, during the next AHEAD */

static int sync_while_another_fails(io_env *io, int file,
                                    const struct io_part *part,
                                    enum io_sync_reason why) {
  struct world *w = fails_meanwhile;
  if (why == IO_SYNC_AHEAD && w) {
    fails_meanwhile = NULL;
    sim_fail_sync(w->sim, 1, false);
    assert_int_equal(duralog_append(w->log, "x", 1, NULL), DURALOG_E_POISONED);
  }
  return noted_sync(io, file, part, why);
}

/* I14: between two pieces another thread's sync fails. */
static void after_a_failure_no_more_is_written_ahead(void **unused) {
  const duralog_options each = {.durability.sync_every_records = 1};
  struct world w;
  (void)unused;
  begin(&w, &each);
  w.io.file_sync = sync_while_another_fails;
  size_t before = 0, pieces = 0;
  while (pieces < 2) { /* until a tick writes several */
    append(&w, 1);
    before = ahead_count();
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
    pieces = ahead_count() - before;
  }
  do {
    append(&w, 1);
    before = ahead_count();
    fails_meanwhile = &w;
    duralog_error error = duralog_tick(w.log);
    assert_true(error == DURALOG_OK || !fails_meanwhile);
  } while (fails_meanwhile);
  assert_int_equal(ahead_count(), before + 1); /* the one that was under way */
  assert_int_equal(duralog_tick(w.log), DURALOG_E_POISONED);
  assert_int_equal(ahead_count(), before + 1);
  assert_int_equal(duralog_close(&w.log), DURALOG_E_POISONED);
  sim_free(w.sim);
}

static void in_other_modes_no_blocks_are_written_ahead(void **unused) {
  const duralog_options modes[] = {
      {.durability.sync_every_records = 10},
      {.durability.pagecache = true},
      {.durability.sync_interval_ms = 10},
      {.durability.sync_every_records = 1, .small_device = true}};
  (void)unused;
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    struct world w;
    begin(&w, &modes[m]);
    append(&w, 30);
    assert_int_equal(duralog_tick(w.log), DURALOG_OK);
    assert_int_equal(ahead_count(), 0);
    end(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(from_the_first_append_on_pages_are_faulted_in),
      cmocka_unit_test(a_part_goes_on_where_the_last_one_ended),
      cmocka_unit_test(an_epoch_is_within_its_part),
      cmocka_unit_test(a_mark_goes_out_with_the_part_behind_it),
      cmocka_unit_test(behind_a_roll_one_begins_with_the_header),
      cmocka_unit_test(elsewhere_syncs_are_of_the_whole_file),
      cmocka_unit_test(where_each_is_synced_blocks_are_written_ahead),
      cmocka_unit_test(not_where_a_sync_is_of_many_bytes),
      cmocka_unit_test(after_a_failure_no_more_is_written_ahead),
      cmocka_unit_test(in_other_modes_no_blocks_are_written_ahead),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
