/* SPDX-License-Identifier: MIT
 *
 * Reservations on the simulated disk and clock: room for all of it, a sync that
 * fails meanwhile, a time that does not fit into a header, a tick that comes at
 * the wrong moment, a full disk.
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

/* ---- room ---- */

enum { ROOM_BYTES_MAX = 7000, PAD_BYTES = 4096 };

struct room {
  uint64_t size; /* reserved, written and published: all of it */
  bool padded, far;
};

static duralog *open_room(struct sim *sim, const struct room *r) {
  duralog_options o = {.struct_size = sizeof o,
                       .durability = every_8,
                       .segment_bytes = SEGMENT_BYTES_MIN,
                       .record_bytes_max = ROOM_BYTES_MAX,
                       .pad_syncs = r->padded,
                       .host_driven = true,
                       .environment = sim_environment(sim)};
  return open_with(DIRECTORY, &o);
}

/* Fill the segment in use until `left` bytes are left. */
static void leave(duralog *log, uint64_t left, bool far) {
  static const uint8_t data[ROOM_BYTES_MAX];
  const struct tail *t = &log->tail;
  uint64_t around = FRAME_HEADER_BYTES + (far ? FRAME_TIME_BYTES : 0);
  while (t->limit - t->position > left) {
    uint64_t size = t->limit - t->position - left - around;
    if (size > ROOM_BYTES_MAX) size = ROOM_BYTES_MAX / 2;
    CHECK_OK(duralog_append(log, data, size, NULL));
  }
  CHECK_EQUAL(t->limit - t->position, left);
}

static void write_all(void *memory, uint64_t size) {
  memset(memory, 'w', size);
  if (size) *(uint8_t *)memory = (uint8_t)size;
}

static void check_all(duralog *log, uint64_t offset, uint64_t size) {
  static uint8_t expected[ROOM_BYTES_MAX];
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  write_all(expected, size);
  CHECK_OK(duralog_read_at(reader, offset, &r));
  CHECK_BYTES(expected, size, r.data, r.size);
  CHECK_OK(duralog_reader_close(&reader));
}

/* Nothing that may be written lies behind where frames may end. */
static void check_inside(duralog *log, const void *memory, uint64_t size) {
  const struct tail *t = &log->tail;
  uint64_t from = (uint64_t)((const uint8_t *)memory - t->map);
  CHECK_EQUAL(from, t->position + FRAME_HEADER_BYTES);
  CHECK(align_up(from + size + FRAME_TIME_BYTES, FRAME_ALIGNMENT) <= t->limit);
}

/* It is given in this segment exactly where all of it fits there. */
static bool fits(const struct room *r, uint64_t from, uint64_t limit) {
  uint64_t need = frame_bytes(r->size + FRAME_TIME_BYTES);
  if (r->padded && from % PAD_BYTES)
    from = align_up(from + FRAME_HEADER_BYTES, PAD_BYTES);
  return from + need <= limit;
}

static void fill_at(const struct room *r, uint64_t left, bool aborts) {
  const uint64_t month_ms = UINT64_C(31) * 24 * 60 * 60 * 1000;
  struct sim *sim = world_new();
  test_note("%llu bytes with %llu left, padded %d, far %d, aborts %d",
            (unsigned long long)r->size, (unsigned long long)left, r->padded,
            r->far, aborts);
  sim_set_blind(sim, true);
  duralog *log = open_room(sim, r);
  append_text(log, "first", DURALOG_LEVEL_WRITTEN);
  if (r->far) sim_advance(sim, month_ms * NS_PER_MS);
  leave(log, left, r->far);
  uint64_t number = log->tail.segment->number, offset = 77;
  bool stays = fits(r, log->tail.position, log->tail.limit);
  for (int i = aborts ? 0 : 1; i < 2; i++) {
    void *memory = NULL;
    CHECK_OK(duralog_reserve(log, r->size, -1, &memory));
    check_inside(log, memory, r->size);
    CHECK_EQUAL(log->tail.segment->number, number + !stays);
    write_all(memory, r->size);
    if (i == 0) CHECK_OK(duralog_abort(log));
  }
  CHECK_OK(duralog_publish(log, r->size, DURALOG_LEVEL_WRITTEN, &offset));
  check_all(log, offset, r->size);
  append_text(log, "behind", DURALOG_LEVEL_WRITTEN);
  sim_kill(sim);
  log = open_room(sim, r);
  CHECK_EQUAL(watermarks_of(log).end, offset + 2);
  check_all(log, offset, r->size);
  check_text(log, offset + 1, "behind");
  close_log(log);
  sim_free(sim);
}

/* Room is kept for all that was reserved, and the time, and what ends the
 * segment, however much of the segment is left. */
static void a_full_reservation_fits_at_every_distance_to_the_end(
    struct test_place *at) {
  static const uint64_t sizes[] = {0, 1, 7, 8, 100, 3001};
  const bool padded = at->copying; /* the variant */
  const uint64_t step = padded && SANITIZED ? 512 - 8 : 8;
  for (size_t i = 0; i < COUNT_OF(sizes); i++)
    for (int far = 0; far < 2; far++) {
      struct room r = {.size = sizes[i], .padded = padded, .far = far};
      uint64_t around = frame_bytes(r.size + FRAME_TIME_BYTES);
      uint64_t below = padded ? around : 128, above = padded ? PAD_BYTES : 64;
      uint64_t from = around > below ? around - below : far ? 0 : 8;
      for (uint64_t left = from; left <= around + above; left += step)
        fill_at(&r, left, left / 8 % 2);
    }
}

/* ---- turns ---- */

/* Others go first, for a while and within the limit. */
static void a_turn_is_given_for_no_more_than_1_ms(struct test_place *at) {
  (void)at;
  struct sim *sim = world_new();
  duralog *log = open_in(sim, false);
  void *memory;
  append_text(log, "begun", DURALOG_LEVEL_DURABLE);
  for (int64_t timeout_ms = -1; timeout_ms < 3; timeout_ms++) {
    uint64_t began = sim_now(sim);
    uint64_t wait_ns = timeout_ms ? NS_PER_MS : 0;
    atomic_store(&log->reservation.sleepers, 1); /* and never comes */
    CHECK_OK(duralog_reserve(log, 10, timeout_ms, &memory));
    CHECK_EQUAL(sim_now(sim) - began, wait_ns);
    began = sim_now(sim);
    CHECK_IS(DURALOG_E_BUSY, duralog_reserve(log, 10, timeout_ms, &memory));
    CHECK_EQUAL(sim_now(sim), began); /* at once */
    CHECK_OK(duralog_abort(log));
    atomic_store(&log->reservation.sleepers, 0);
    began = sim_now(sim);
    CHECK_OK(duralog_reserve(log, 10, timeout_ms, &memory));
    CHECK_EQUAL(sim_now(sim), began); /* nobody is waited for */
    CHECK_OK(duralog_abort(log));
  }
  close_log(log);
  sim_free(sim);
}

/* ---- what happens meanwhile ---- */

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
    TEST_BOTH(a_full_reservation_fits_at_every_distance_to_the_end),
    TEST(a_turn_is_given_for_no_more_than_1_ms),
    TEST_BOTH(a_failed_sync_meanwhile_ends_it_without_a_record),
    TEST(an_abort_is_an_abort_in_a_poisoned_log_too),
    TEST_BOTH(a_time_far_from_the_segments_is_kept),
    TEST(a_tick_meanwhile_is_made_up_for),
    TEST(a_full_disk_gives_no_reservation_until_there_is_room),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
