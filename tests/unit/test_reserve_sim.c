/* SPDX-License-Identifier: MIT
 *
 * Reservations on the simulated disk and clock: a sync that fails meanwhile, a
 * time that does not fit into a header, a tick that comes at the wrong moment,
 * a full disk.
 */
#include "log.h"
#include "support.h"
#include "support_sim.h"

#define DIRECTORY "/log"

static const duralog_durability every_8 = {.sync_every_records = 8};

static duralog *open_in(struct sim *sim, bool copying) {
  duralog_options o = {.struct_size = sizeof o,
                       .durability = every_8,
                       .segment_bytes = SEGMENT_BYTES_MIN,
                       .copying_reads = copying,
                       .host_driven = true,
                       .environment = sim_environment(sim)};
  return open_with(DIRECTORY, &o);
}

static void publish_text(duralog *log, const char *text, uint64_t expected) {
  void *memory;
  uint64_t offset = 77;
  CHECK_OK(duralog_reserve(log, 100, 0, &memory));
  memcpy(memory, text, strlen(text));
  CHECK_OK(duralog_publish(log, strlen(text), DURALOG_LEVEL_DURABLE, &offset));
  CHECK_EQUAL(offset, expected);
}

static void check_text(duralog *log, uint64_t offset, const char *text) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  CHECK_OK(duralog_read_at(reader, offset, &r));
  CHECK_BYTES(text, strlen(text), r.data, r.size);
  CHECK_OK(duralog_reader_close(&reader));
}

static int64_t time_of(duralog *log, uint64_t offset) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  CHECK_OK(duralog_read_at(reader, offset, &r));
  int64_t time = r.timestamp_ms;
  CHECK_OK(duralog_reader_close(&reader));
  return time;
}

static void a_failed_sync_meanwhile_ends_it_without_a_record(
    struct test_place *at) {
  struct sim *sim = world_new();
  duralog *log = open_in(sim, at->copying);
  void *memory;
  uint64_t offset = 77;
  append_text(log, "kept", DURALOG_LEVEL_DURABLE);
  append_text(log, "written", DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_reserve(log, 10, -1, &memory));
  memset(memory, 'x', 10);
  sim_fail_sync(sim, 1, false);
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(log));
  CHECK_IS(DURALOG_E_POISONED,
           duralog_publish(log, 10, DURALOG_LEVEL_WRITTEN, &offset));
  CHECK_EQUAL(offset, 77);
  CHECK_EQUAL(watermarks_of(log).end, 2);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(log)); /* it is over */
  CHECK_IS(DURALOG_E_POISONED, duralog_reserve(log, 10, -1, &memory));
  check_text(log, 0, "kept");
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&log));
  log = open_in(sim, at->copying);
  CHECK(watermarks_of(log).end <= 2);
  close_log(log);
  sim_free(sim);
}

static void an_abort_is_an_abort_in_a_poisoned_log_too(struct test_place *at) {
  struct sim *sim = world_new();
  duralog *log = open_in(sim, at->copying);
  void *memory;
  append_text(log, "written", DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_reserve(log, 10, -1, &memory));
  sim_fail_sync(sim, 1, false);
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(log));
  CHECK_OK(duralog_abort(log));
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&log));
  sim_free(sim);
}

/* After 24 idle days a time does not fit into the header. */
static void a_time_far_from_the_segments_is_kept(struct test_place *at) {
  const uint64_t month_ms = UINT64_C(31) * 24 * 60 * 60 * 1000;
  struct sim *sim = world_new();
  duralog *log = open_in(sim, at->copying);
  publish_text(log, "near", 0);
  sim_advance(sim, month_ms * NS_PER_MS);
  publish_text(log, "far away", 1);
  publish_text(log, "", 2);
  append_text(log, "as an append", DURALOG_LEVEL_WRITTEN);
  void *memory; /* all of it, so that the room for the time is needed */
  CHECK_OK(duralog_reserve(log, SEGMENT_BYTES_MIN / 4, -1, &memory));
  memset(memory, 'x', SEGMENT_BYTES_MIN / 4);
  CHECK_OK(
      duralog_publish(log, SEGMENT_BYTES_MIN / 4, DURALOG_LEVEL_WRITTEN, NULL));
  for (int life = 0; life < 2; life++) {
    check_text(log, 0, "near");
    check_text(log, 1, "far away");
    check_text(log, 2, "");
    check_text(log, 3, "as an append");
    CHECK_EQUAL(time_of(log, 1) - time_of(log, 0), month_ms);
    CHECK_EQUAL(time_of(log, 2), time_of(log, 1));
    CHECK_EQUAL(time_of(log, 4), time_of(log, 3));
    close_log(log);
    log = open_in(sim, at->copying);
  }
  close_log(log);
  sim_free(sim);
}

/* A successor is wanted; a tick that finds a reservation makes none, does not
 * ask to be called again at once, and is made up for when it has ended. */
static void a_tick_meanwhile_is_made_up_for(struct test_place *at) {
  for (int aborts = 0; aborts < 2; aborts++) {
    struct sim *sim = world_new();
    duralog *log = open_in(sim, at->copying);
    static const uint8_t large[3000];
    int64_t in_ms = 77;
    void *memory;
    CHECK_OK(duralog_append(log, large, sizeof large, NULL));
    CHECK_OK(duralog_sync(log));
    uint64_t made = sim_sync_count(sim, IO_SYNC_SEGMENT);
    CHECK_OK(duralog_reserve(log, 10, -1, &memory));
    CHECK_OK(duralog_tick(log));
    CHECK_EQUAL(sim_sync_count(sim, IO_SYNC_SEGMENT), made);
    CHECK_OK(duralog_next_deadline(log, &in_ms));
    CHECK(in_ms == -1);
    if (aborts)
      CHECK_OK(duralog_abort(log));
    else
      CHECK_OK(duralog_publish(log, 1, DURALOG_LEVEL_WRITTEN, NULL));
    CHECK_OK(duralog_next_deadline(log, &in_ms));
    CHECK(in_ms == 0);
    CHECK_OK(duralog_tick(log));
    CHECK_EQUAL(sim_sync_count(sim, IO_SYNC_SEGMENT), made + 1);
    close_log(log);
    sim_free(sim);
  }
}

static void a_full_disk_gives_no_reservation_until_there_is_room(
    struct test_place *at) {
  struct sim *sim = world_new();
  duralog *log = open_in(sim, at->copying);
  enum { SIZE = 3000 };
  void *memory = NULL;
  duralog_error error;
  append_text(log, "first", DURALOG_LEVEL_DURABLE);
  sim_set_room(sim, sim_room_used(sim));
  while ((error = duralog_reserve(log, SIZE, -1, &memory)) == DURALOG_OK)
    CHECK_OK(duralog_publish(log, SIZE, DURALOG_LEVEL_WRITTEN, NULL));
  CHECK_IS(DURALOG_E_FULL, error);
  uint64_t end = watermarks_of(log).end;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(log));
  CHECK_OK(duralog_append(log, "small", 5, NULL)); /* there is room for that */
  sim_set_room(sim, 0);
  publish_text(log, "again", end + 1);
  close_log(log);
  sim_free(sim);
}

static const struct test tests[] = {
    TEST_BOTH(a_failed_sync_meanwhile_ends_it_without_a_record),
    TEST(an_abort_is_an_abort_in_a_poisoned_log_too),
    TEST_BOTH(a_time_far_from_the_segments_is_kept),
    TEST(a_tick_meanwhile_is_made_up_for),
    TEST(a_full_disk_gives_no_reservation_until_there_is_room),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
