/* SPDX-License-Identifier: MIT
 *
 * Consumers in the simulated world: what only a power cut, a full disk, a
 * failed sync or a clock of one's own can show (I14, I19, I24, I25), and the
 * group's file as bytes.
 */
#include "group_file.h"
#include "io_sim.h"
#include "unit.h"

struct world {
  struct sim *sim;
  duralog_options options;
  duralog *log;
  duralog_consumer *consumer;
};

static void open_log(struct world *w) {
  assert_int_equal(duralog_open("/log", &w->options, &w->log, NULL, NULL),
                   DURALOG_OK);
}

static void begin(struct world *w) {
  w->sim = sim_new();
  w->consumer = NULL;
  w->options = (duralog_options){.struct_size = sizeof w->options,
                                 .durability = {.pagecache = true},
                                 .segment_bytes = 64 << 10,
                                 .host_driven = true,
                                 .environment = sim_environment(w->sim)};
  open_log(w);
}

static void end(struct world *w) { sim_free(w->sim); }

static void append(struct world *w, int count) {
  for (int i = 0; i < count; i++)
    assert_int_equal(duralog_append(w->log, "record", 6, NULL), DURALOG_OK);
}

static duralog_consumer_options manual(void) {
  return (duralog_consumer_options){
      .struct_size = sizeof(duralog_consumer_options), .manual_commit = true};
}

static void join(struct world *w, const duralog_consumer_options *o) {
  assert_int_equal(duralog_consumer_open(w->log, "g", o, &w->consumer),
                   DURALOG_OK);
}

static duralog_error poll(struct world *w, size_t max) {
  const duralog_record *records;
  size_t count;
  return duralog_poll(w->consumer, max, 0, 0, &records, &count);
}

static duralog_error commit(struct world *w, duralog_level level) {
  return duralog_commit(w->consumer, DURALOG_POLLED, level, NULL);
}

static duralog_consumer_status status(struct world *w) {
  duralog_consumer_status s = {.struct_size = sizeof s};
  assert_int_equal(duralog_consumer_get(w->consumer, &s), DURALOG_OK);
  return s;
}

static uint64_t committed(struct world *w) {
  duralog_group g = {.struct_size = sizeof g};
  assert_int_equal(duralog_describe_group(w->log, "g", &g), DURALOG_OK);
  return g.committed;
}

/* The group's file as it is, whatever becomes of the rest. */
static void cut_and_keep_the_group(struct world *w) {
  uint64_t size;
  uint8_t kept[GROUP_BYTES];
  memcpy(kept, sim_file_bytes(w->sim, "/log/groups", "g.group", &size),
         sizeof kept);
  sim_restart(w->sim, 0);
  memcpy(sim_file_bytes(w->sim, "/log/groups", "g.group", &size), kept,
         sizeof kept);
  w->consumer = NULL;
  open_log(w);
}

/* 10 records are durable and 20 consumed; the commit survives, they do not. */
static void lose_consumed_records(struct world *w) {
  duralog_consumer_options o = manual();
  begin(w);
  append(w, 10);
  assert_int_equal(duralog_sync(w->log), DURALOG_OK);
  append(w, 10);
  join(w, &o);
  assert_int_equal(poll(w, 0), DURALOG_OK);
  assert_int_equal(commit(w, DURALOG_LEVEL_WRITTEN), DURALOG_OK);
  cut_and_keep_the_group(w);
}

static void an_offset_beyond_the_recovered_log_is_reported(void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = manual();
  lose_consumed_records(&w);
  join(&w, &o);
  duralog_consumer_status s = status(&w);
  assert_true(s.diverged && s.divergences == 1);
  assert_int_equal(s.diverged_from, 20);
  assert_int_equal(s.divergence, 10);
  append(&w, 30); /* other records come to those offsets */
  assert_int_equal(poll(&w, 0), DURALOG_E_EPOCH);
  assert_int_equal(poll(&w, 0), DURALOG_E_EPOCH);
  assert_int_equal(commit(&w, DURALOG_LEVEL_WRITTEN), DURALOG_E_EPOCH);
  assert_int_equal(duralog_consumer_seek(w.consumer, DURALOG_SEEK_OFFSET, 11),
                   DURALOG_E_EPOCH);
  assert_int_equal(committed(&w), 20); /* nothing was changed */
  assert_int_equal(duralog_consumer_seek(w.consumer, DURALOG_SEEK_OFFSET, 10),
                   DURALOG_OK);
  assert_int_equal(poll(&w, 1), DURALOG_OK);
  assert_int_equal(status(&w).position, 11);
  assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_OK);
  assert_int_equal(committed(&w), 11);
  end(&w);
}

static void an_offset_in_an_epoch_that_was_cut_goes_back_to_the_cut(
    void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = manual();
  lose_consumed_records(&w);
  append(&w, 7); /* a new epoch, up to 17, and another one beyond 20 */
  assert_int_equal(duralog_close(&w.log), DURALOG_OK);
  open_log(&w);
  append(&w, 7);
  o.go_back = true;
  join(&w, &o);
  duralog_consumer_status s = status(&w);
  assert_true(!s.diverged && s.divergences == 1);
  assert_int_equal(s.diverged_from, 20);
  assert_int_equal(s.divergence, 10);
  assert_int_equal(s.position, 10);
  assert_int_equal(poll(&w, 0), DURALOG_OK);
  assert_int_equal(status(&w).position, 24);
  end(&w);
}

static void a_durable_commit_never_outlives_its_records(void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = manual();
  begin(&w);
  append(&w, 20);
  join(&w, &o);
  assert_int_equal(poll(&w, 0), DURALOG_OK);
  assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_OK);
  sim_restart(w.sim, 0);
  open_log(&w);
  join(&w, &o);
  duralog_consumer_status s = status(&w);
  assert_true(!s.diverged && s.position == 20 && s.committed == 20);
  end(&w);
}

static void a_full_disk_takes_a_commit_all_the_same(void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = manual();
  duralog_consumer *other = NULL;
  for (int quota = 0; quota < 2; quota++) {
    begin(&w);
    append(&w, 20);
    join(&w, &o);
    assert_int_equal(duralog_consumer_close(&w.consumer), DURALOG_OK);
    (quota ? sim_set_quota : sim_set_room)(w.sim, sim_room_used(w.sim));
    join(&w, &o);
    for (int level = DURALOG_LEVEL_WRITTEN; level <= DURALOG_LEVEL_DURABLE;
         level++) {
      assert_int_equal(poll(&w, 5), DURALOG_OK);
      assert_int_equal(commit(&w, (duralog_level)level), DURALOG_OK);
    }
    assert_int_equal(committed(&w), 10);
    /* A new group does need it, and is no group then. */
    assert_int_equal(duralog_consumer_open(w.log, "h", &o, &other),
                     DURALOG_E_FULL);
    sim_set_room(w.sim, 0);
    o.must_exist = true;
    assert_int_equal(duralog_consumer_open(w.log, "h", &o, &other),
                     DURALOG_E_NOT_FOUND);
    o.must_exist = false;
    end(&w);
  }
}

static void a_failed_sync_of_a_group_stops_its_member_alone(void **state) {
  (void)state;
  for (int fs = 0; fs < SIM_FS_COUNT; fs++) {
    struct world w;
    duralog_consumer_options o = manual();
    if (fs == SIM_JOURNAL) continue; /* tells it one call late */
    begin(&w);
    sim_set_fs(w.sim, (enum sim_fs)fs);
    append(&w, 20);
    assert_int_equal(duralog_sync(w.log), DURALOG_OK);
    join(&w, &o);
    assert_int_equal(poll(&w, 5), DURALOG_OK);
    assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_OK);
    assert_int_equal(poll(&w, 5), DURALOG_OK);
    sim_fail_sync(w.sim, 1, false);
    assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_E_POISONED);
    assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_E_POISONED);
    assert_int_equal(commit(&w, DURALOG_LEVEL_WRITTEN), DURALOG_E_POISONED);
    assert_int_equal(status(&w).committed, 5);
    assert_int_equal(poll(&w, 5), DURALOG_OK); /* reading goes on */
    append(&w, 1);                             /* and so does the log */
    assert_int_equal(duralog_sync(w.log), DURALOG_OK);
    assert_int_equal(duralog_consumer_close(&w.consumer), DURALOG_OK);
    join(&w, &o);
    assert_true(status(&w).committed == 5 || status(&w).committed == 10);
    assert_int_equal(poll(&w, 1), DURALOG_OK);
    assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_OK);
    uint64_t promised = status(&w).committed;
    sim_restart(w.sim, 0);
    open_log(&w);
    assert_int_equal(committed(&w), promised);
    end(&w);
  }
}

static void auto_commit_goes_by_the_interval_and_by_polls(void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = {.struct_size = sizeof o};
  begin(&w);
  append(&w, 20);
  join(&w, &o);
  assert_int_equal(poll(&w, 5), DURALOG_OK);
  sim_advance(w.sim, 5000 * NS_PER_MS - 10 * SIM_SYNC_NS);
  assert_int_equal(poll(&w, 5), DURALOG_OK); /* not yet */
  assert_int_equal(committed(&w), DURALOG_NO_OFFSET);
  sim_advance(w.sim, 10 * SIM_SYNC_NS);
  assert_int_equal(committed(&w), DURALOG_NO_OFFSET); /* nobody polls */
  assert_int_equal(poll(&w, 5), DURALOG_OK);
  assert_int_equal(committed(&w), 10); /* what the two before returned */
  assert_int_equal(status(&w).position, 15);
  assert_int_equal(duralog_consumer_close(&w.consumer), DURALOG_OK);
  assert_int_equal(committed(&w), 15);
  end(&w);
}

static void count_done(void *context, uint64_t offset, duralog_error error) {
  if (!error) *(uint64_t *)context = offset;
}

/* A follower asks, the host's tick answers. */
static void a_tick_does_the_sync_that_another_process_asks_for(void **state) {
  (void)state;
  struct world w;
  uint64_t done = 0;
  int64_t due = -1;
  duralog_consumer_options o = manual();
  begin(&w);
  append(&w, 20);
  duralog_options following = w.options;
  following.durability.pagecache = true;
  following.read_only = true;
  duralog *writer = w.log;
  assert_int_equal(duralog_open("/log", &following, &w.log, NULL, NULL),
                   DURALOG_OK);
  join(&w, &o);
  assert_int_equal(poll(&w, 0), DURALOG_OK);
  assert_int_equal(duralog_tick(writer), DURALOG_OK);
  assert_int_equal(duralog_commit_async(w.consumer, 12, DURALOG_LEVEL_DURABLE,
                                        NULL, count_done, &done),
                   DURALOG_OK);
  assert_int_equal(duralog_next_deadline(writer, &due), DURALOG_OK);
  assert_int_equal(due, 0);
  assert_int_equal(done, 0);
  assert_int_equal(duralog_tick(writer), DURALOG_OK);
  assert_int_equal(duralog_next_deadline(writer, &due), DURALOG_OK);
  assert_int_equal(due, -1);
  assert_int_equal(poll(&w, 0), DURALOG_E_TIMEOUT);
  assert_int_equal(done, 12);
  assert_int_equal(committed(&w), 12);
  end(&w);
}

/* How an asynchronous commit went. */
struct told {
  int times;
  uint64_t offset;
  duralog_error error;
};

static void tell(void *context, uint64_t offset, duralog_error error) {
  struct told *t = context;
  *t = (struct told){t->times + 1, offset, error};
}

/* A consumer in another process has consumed 20 records, of which 10 are
 * durable. */
static duralog *consume_under_a_follower(struct world *w,
                                         const duralog_consumer_options *o) {
  begin(w);
  sim_set_fs(w->sim, SIM_BTRFS);
  append(w, 10);
  assert_int_equal(duralog_sync(w->log), DURALOG_OK);
  append(w, 10);
  duralog_options following = w->options;
  following.read_only = true;
  duralog *writer = w->log;
  assert_int_equal(duralog_open("/log", &following, &w->log, NULL, NULL),
                   DURALOG_OK);
  join(w, o);
  assert_int_equal(poll(w, 0), DURALOG_OK);
  assert_int_equal(status(w).position, 20);
  return writer;
}

/* The writer's sync fails and takes what it had not made durable with it; the
 * next writer gives the offsets to others, while the consumer lives. */
static duralog *lose_records_under(struct world *w, duralog *writer) {
  sim_fail_sync(w->sim, 1, false);
  assert_int_equal(duralog_sync(writer), DURALOG_E_POISONED);
  assert_int_equal(duralog_close(&writer), DURALOG_E_POISONED);
  assert_int_equal(duralog_open("/log", &w->options, &writer, NULL, NULL),
                   DURALOG_OK);
  for (int i = 0; i < 20; i++)
    assert_int_equal(duralog_append(writer, "other", 5, NULL), DURALOG_OK);
  return writer;
}

static void lose_records_under_a_follower(struct world *w,
                                          const duralog_consumer_options *o) {
  duralog *writer = lose_records_under(w, consume_under_a_follower(w, o));
  assert_int_equal(duralog_sync(writer), DURALOG_OK);
}

static void a_live_consumer_is_told_of_what_the_next_writer_did_not_find(
    void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = manual();
  lose_records_under_a_follower(&w, &o);
  /* The offset is durable by now; what was consumed is not. */
  assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_E_EPOCH);
  assert_int_equal(committed(&w), DURALOG_NO_OFFSET);
  assert_int_equal(poll(&w, 0), DURALOG_E_EPOCH);
  duralog_consumer_status s = status(&w);
  assert_true(s.diverged && s.diverged_from == 20 && s.divergence == 10);
  assert_int_equal(poll(&w, 0), DURALOG_E_EPOCH);
  assert_int_equal(duralog_consumer_seek(w.consumer, DURALOG_SEEK_OFFSET, 10),
                   DURALOG_OK);
  assert_int_equal(poll(&w, 0), DURALOG_OK);
  assert_int_equal(status(&w).position, 30);
  assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_OK);
  end(&w);
}

static void a_live_consumer_goes_back_by_itself_where_it_was_told_to(
    void **state) {
  (void)state;
  struct world w;
  duralog_consumer_options o = manual();
  o.go_back = true;
  lose_records_under_a_follower(&w, &o);
  assert_int_equal(poll(&w, 3), DURALOG_OK);
  duralog_consumer_status s = status(&w);
  assert_true(!s.diverged && s.divergences == 1 && s.divergence == 10);
  assert_int_equal(s.position, 13);
  assert_int_equal(commit(&w, DURALOG_LEVEL_DURABLE), DURALOG_OK);
  end(&w);
}

/* It waits for records to be durable that will never be. */
static void a_pending_commit_is_told_of_the_divergence(void **state) {
  (void)state;
  struct world w;
  struct told told = {.times = 0};
  duralog_consumer_options o = manual();
  duralog *writer = consume_under_a_follower(&w, &o);
  assert_int_equal(
      duralog_commit_async(w.consumer, DURALOG_POLLED, DURALOG_LEVEL_DURABLE,
                           NULL, tell, &told),
      DURALOG_OK);
  writer = lose_records_under(&w, writer);
  assert_int_equal(status(&w).pending, 1);
  assert_int_equal(poll(&w, 0), DURALOG_E_EPOCH);
  assert_true(status(&w).diverged);
  assert_int_equal(status(&w).pending, 0);
  assert_int_equal(told.times, 1);
  assert_int_equal(told.offset, 20);
  assert_int_equal(told.error, DURALOG_E_EPOCH);
  assert_int_equal(duralog_sync(writer), DURALOG_OK); /* 20 is durable now */
  assert_int_equal(duralog_consumer_seek(w.consumer, DURALOG_SEEK_OFFSET, 10),
                   DURALOG_OK);
  assert_int_equal(poll(&w, 0), DURALOG_OK);
  assert_int_equal(told.times, 1);
  assert_int_equal(committed(&w), DURALOG_NO_OFFSET);
  end(&w);
}

/* The commit finds that what was consumed is gone; the poll says from where on,
 * or goes back there. */
static void an_automatic_commit_that_meets_a_divergence_commits_nothing(
    void **state) {
  (void)state;
  for (int back = 0; back < 2; back++) {
    struct world w;
    duralog_consumer_options o = {.struct_size = sizeof o,
                                  .commit_level = DURALOG_LEVEL_DURABLE,
                                  .auto_commit_ms = 100,
                                  .go_back = back == 1};
    lose_records_under_a_follower(&w, &o);
    sim_advance(w.sim, 200 * NS_PER_MS);
    assert_int_equal(poll(&w, 0), back ? DURALOG_OK : DURALOG_E_EPOCH);
    duralog_consumer_status s = status(&w);
    assert_true(s.diverged == (back == 0) && s.divergences == 1);
    assert_int_equal(s.diverged_from, 20);
    assert_int_equal(s.divergence, 10);
    assert_int_equal(committed(&w), DURALOG_NO_OFFSET);
    assert_int_equal(s.position, back ? 30 : 20);
    sim_advance(w.sim, 200 * NS_PER_MS);
    assert_int_equal(poll(&w, 0), back ? DURALOG_E_TIMEOUT : DURALOG_E_EPOCH);
    assert_int_equal(committed(&w), back ? 30 : DURALOG_NO_OFFSET);
    end(&w);
  }
}

/* ---- the file ---- */

static const uint8_t uuid[16] = {1, 2, 3, 4};

static void a_slot_counts_only_where_it_was_written(void **state) {
  (void)state;
  uint8_t file[GROUP_BYTES] = {0};
  struct group_state s = {.sequence = 7,
                          .offset = 99,
                          .epoch = 3,
                          .time_ms = -5,
                          .flags = GROUP_PROTECTED,
                          .metadata_bytes = 2,
                          .metadata = "ab"};
  struct group_state is;
  const uint8_t other[16] = {1, 2, 3, 5};
  size_t used = group_slot_encode(file, &s, uuid, "g", 0);
  assert_int_equal(used, GROUP_METADATA_AT + 2);
  assert_int_equal(group_slot_decode(&is, file, uuid, "g", 0), BLOCK_VALID);
  assert_memory_equal(&is, &s, sizeof s);
  assert_int_equal(group_slot_decode(&is, file, uuid, "g", 1), BLOCK_DAMAGED);
  assert_int_equal(group_slot_decode(&is, file, uuid, "h", 0), BLOCK_DAMAGED);
  assert_int_equal(group_slot_decode(&is, file, other, "g", 0), BLOCK_DAMAGED);
  for (size_t bit = 0; bit < used * 8; bit++) {
    file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(group_slot_decode(&is, file, uuid, "g", 0), BLOCK_DAMAGED);
    file[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
}

static void hostile_bytes_are_damage(uint64_t seed) {
  uint8_t file[GROUP_BYTES];
  struct group_state s;
  uint64_t lowest;
  int index = 0;
  unit_fill(&seed, file, sizeof file);
  memcpy(file, "dlogGRP\n", 8);
  UNIT_CHECK(
      group_file_decode(&s, &index, &lowest, file, uuid, "g") == BLOCK_DAMAGED,
      "seed %llu", (unsigned long long)seed);
}

static void arbitrary_bytes_are_no_group(void **state) {
  (void)state;
  unit_seeds(300, hostile_bytes_are_damage);
}

/* FORMAT.md, byte by byte. */
static void the_bytes_are_those_of_the_format(void **state) {
  (void)state;
  static const uint8_t expected[] = {
      0x01, 0,    0,    0, 0, 0, 0, 0, 0x01, 0,    0,    0,    0x02, 0,    0,
      0,    0x07, 0,    0, 0, 0, 0, 0, 0,    0x63, 0,    0,    0,    0,    0,
      0,    0,    0x03, 0, 0, 0, 0, 0, 0,    0,    0xfb, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0,    0,    0,    'a',  'b'};
  uint8_t slot[GROUP_SLOT_BYTES];
  struct group_state s = {.sequence = 7,
                          .offset = 99,
                          .epoch = 3,
                          .time_ms = -5,
                          .flags = GROUP_PROTECTED,
                          .metadata_bytes = 2,
                          .metadata = "ab"};
  group_slot_encode(slot, &s, uuid, "g", 0);
  assert_memory_equal(slot, "dlogGRP\n", 8);
  assert_memory_equal(slot + 16, expected, sizeof expected);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_offset_beyond_the_recovered_log_is_reported),
      cmocka_unit_test(an_offset_in_an_epoch_that_was_cut_goes_back_to_the_cut),
      cmocka_unit_test(a_durable_commit_never_outlives_its_records),
      cmocka_unit_test(a_full_disk_takes_a_commit_all_the_same),
      cmocka_unit_test(a_failed_sync_of_a_group_stops_its_member_alone),
      cmocka_unit_test(auto_commit_goes_by_the_interval_and_by_polls),
      cmocka_unit_test(a_tick_does_the_sync_that_another_process_asks_for),
      cmocka_unit_test(
          a_live_consumer_is_told_of_what_the_next_writer_did_not_find),
      cmocka_unit_test(
          a_live_consumer_goes_back_by_itself_where_it_was_told_to),
      cmocka_unit_test(a_pending_commit_is_told_of_the_divergence),
      cmocka_unit_test(
          an_automatic_commit_that_meets_a_divergence_commits_nothing),
      cmocka_unit_test(a_slot_counts_only_where_it_was_written),
      cmocka_unit_test(arbitrary_bytes_are_no_group),
      cmocka_unit_test(the_bytes_are_those_of_the_format),
  };
  return cmocka_run_group_tests_name("consumer_sim", tests, NULL, NULL);
}
