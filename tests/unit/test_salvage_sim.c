/* SPDX-License-Identifier: MIT
 *
 * Salvage of each byte: every byte of a small log is changed in turn, on a
 * simulated disk, where that is cheap. test_salvage has the kinds of damage on
 * real files.
 */
#include "format.h"
#include "frame.h"
#include "io_sim.h"
#include "support_salvage.h"
#include "unit.h"

#define LOG "/log"
#define COPY "/copy"

struct world {
  struct sim *base, *now;
  struct truth truth;
  bool *copied;
  uint64_t segments;
};

static duralog_options writing(struct sim *sim) {
  return (duralog_options){.struct_size = sizeof(duralog_options),
                           .segment_bytes = SEGMENT_BYTES_MIN,
                           .host_driven = true,
                           .environment = sim_environment(sim)};
}

/* Two lives, a batch in each, and a roll; the first segment is sealed. */
static void fill(struct world *w) {
  duralog_options o = writing(w->base);
  static const uint8_t large[3000];
  for (int life = 0; life < 2; life++) {
    duralog *log = open_with(LOG, &o);
    append_numbers(log, watermarks_of(log).end, 6);
    duralog_entry batch[] = {
        {.data = "first", .size = 5},
        {.data = "in", .size = 2, .key = "k", .key_size = 1},
        {.has_timestamp = true, .timestamp_ms = -7}};
    CHECK_OK(duralog_append_batch(log, batch, 3, DURALOG_LEVEL_DEFAULT, NULL));
    for (int i = 0; i < 3; i++)
      CHECK_OK(duralog_append(log, large, sizeof large, NULL));
    CHECK_OK(duralog_tick(log));
    close_log(log);
  }
}

static void world_begin(struct world *w) {
  *w = (struct world){.base = sim_new(), .now = sim_new()};
  CHECK(w->base && w->now);
  fill(w);
  salvage_environment = sim_environment(w->base);
  truth_load(&w->truth, LOG);
  w->copied = calloc(w->truth.end, sizeof *w->copied);
  CHECK(w->copied != NULL);
  salvage_environment = sim_environment(w->now);
}

static void world_end(struct world *w) {
  salvage_environment = NULL;
  truth_free(&w->truth);
  free(w->copied);
  sim_free(w->base);
  sim_free(w->now);
}

static uint64_t copied_count(const struct world *w) {
  uint64_t n = 0;
  for (uint64_t i = 0; i < w->truth.end; i++) n += w->copied[i];
  return n;
}

static struct found found;

/* The world with that byte of the segment changed; false: there is none. */
static bool change(struct world *w, uint64_t segment, uint64_t position,
                   uint8_t bits) {
  char name[NAME_BYTES];
  uint64_t size;
  sim_killed(w->base, w->now);
  segment_name(name, segment);
  uint8_t *bytes = sim_file_bytes(w->now, LOG, name, &size);
  if (!bytes || position >= size) return false;
  bytes[position] ^= bits;
  return true;
}

/* At most a batch of three, and with a start block all of its segment; where
 * nothing lies, nothing. */
static void no_byte_costs_more_than_its_batch(struct test_place *at) {
  struct world w;
  uint64_t cases = 0, lossless = 0, step = SANITIZED || UNIT_FEW ? 41 : 1;
  (void)at;
  world_begin(&w);
  for (uint64_t segment = 1; segment <= 3; segment++)
    for (uint64_t position = 0; change(&w, segment, position, 0x81);
         position += position < SEGMENT_HEADER_BYTES + 600 ? step : 13 * step) {
      test_note("byte %llu of segment %llu", (unsigned long long)position,
                (unsigned long long)segment);
      CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
      salvage_check(COPY, &w.truth, &found, w.copied);
      uint64_t lost = w.truth.end - copied_count(&w);
      bool start = position >= START_AT && position < START_AT + SECTOR_BYTES;
      if (!start) CHECK(lost <= 3);
      CHECK_EQUAL(found.report.end, w.truth.end);
      cases++;
      lossless += lost == 0;
    }
  CHECK(cases > (SANITIZED || UNIT_FEW ? 100 : 3000) && lossless < cases);
  world_end(&w);
}

static uint64_t copied_of_sector(struct world *w, uint64_t segment,
                                 uint64_t position) {
  uint64_t size;
  char name[NAME_BYTES];
  sim_killed(w->base, w->now);
  segment_name(name, segment);
  uint8_t *bytes = sim_file_bytes(w->now, LOG, name, &size);
  if (!bytes || position >= size) return NONE;
  memset(bytes + position, 0, SECTOR_BYTES);
  CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
  salvage_check(COPY, &w->truth, &found, w->copied);
  return copied_count(w);
}

/* Two sectors at once, all pairs. */
static void no_two_lost_sectors_invent_anything(struct test_place *at) {
  struct world w;
  uint64_t size, step = SANITIZED || UNIT_FEW ? 7 : 1;
  char name[NAME_BYTES];
  (void)at;
  world_begin(&w);
  CHECK(copied_of_sector(&w, 1, SEGMENT_HEADER_BYTES) < w.truth.end);
  segment_name(name, 1);
  for (uint64_t i = 0; i < SEGMENT_BYTES_MIN / SECTOR_BYTES; i += step)
    for (uint64_t j = i + 1; j < SEGMENT_BYTES_MIN / SECTOR_BYTES; j++) {
      sim_killed(w.base, w.now);
      uint8_t *bytes = sim_file_bytes(w.now, LOG, name, &size);
      memset(bytes + i * SECTOR_BYTES, 0, SECTOR_BYTES);
      memset(bytes + j * SECTOR_BYTES, 0, SECTOR_BYTES);
      test_note("sectors %llu and %llu", (unsigned long long)i,
                (unsigned long long)j);
      CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
      salvage_check(COPY, &w.truth, &found, w.copied);
      CHECK_EQUAL(found.report.end, w.truth.end);
    }
  world_end(&w);
}

/* Time is linear: the most expensive bytes there are, frames within frames,
 * each with a right header and a wrong body, are given up. */
static void what_looks_like_frames_is_not_looked_at_without_end(
    struct test_place *at) {
  struct world w;
  uint64_t size;
  char name[NAME_BYTES];
  (void)at;
  world_begin(&w);
  sim_killed(w.base, w.now);
  segment_name(name, 1);
  uint8_t *bytes = sim_file_bytes(w.now, LOG, name, &size);
  struct identity id;
  CHECK(identity_decode(&id, bytes) == BLOCK_VALID);
  uint64_t seed = frame_seed(id.uuid, 1, 1);
  for (uint64_t p = SEGMENT_HEADER_BYTES; p + 8000 < size; p += 24) {
    struct frame f = {.body_bytes = 7000,
                      .body_check = 1,
                      .index = 1,
                      .flags = FRAME_RECORD,
                      .lag = FRAME_LAG_UNKNOWN};
    frame_encode(bytes + p, &f, seed, p);
  }
  memset(bytes + SEGMENT_HEADER_BYTES, 0, 24);
  CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
  salvage_check(COPY, &w.truth, &found, w.copied);
  bool given_up = false;
  for (size_t i = 0; i < found.count; i++)
    given_up |= found.items[i].reason &&
                strstr(found.items[i].reason, "too much looks like frames");
  CHECK(given_up);
  world_end(&w);
}

/* A full disk at any place of it: an error, nothing left behind, and it works
 * again once there is room (I17, I19). */
static void no_room_for_the_copy_leaves_none(struct test_place *at) {
  struct world w;
  (void)at;
  world_begin(&w);
  sim_killed(w.base, w.now);
  uint64_t used = sim_room_used(w.now);
  CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
  uint64_t needed = sim_room_used(w.now) - used, refused = 0;
  for (uint64_t room = 0; room < needed; room += 512) {
    test_note("room for %llu bytes", (unsigned long long)room);
    sim_killed(w.base, w.now);
    sim_set_room(w.now, used + room + 1);
    size_t handles = sim_open_handles(w.now), memory = sim_allocations(w.now);
    duralog_error error = salvage_run(LOG, COPY, NULL, &found);
    CHECK(error == DURALOG_E_FULL || error == DURALOG_OK);
    CHECK_EQUAL(sim_open_handles(w.now), handles);
    CHECK_EQUAL(sim_allocations(w.now), memory);
    if (!error) continue;
    refused++;
    CHECK_EQUAL(sim_room_used(w.now), used);
    sim_set_room(w.now, 0);
    CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
    salvage_check(COPY, &w.truth, &found, w.copied);
  }
  CHECK(refused > 10);
  world_end(&w);
}

/* A start block from before a cut says another offset, epoch and time. */
static void a_stale_start_moves_no_record(struct test_place *at) {
  struct world w;
  uint64_t size;
  (void)at;
  world_begin(&w);
  for (int alone = 0; alone < 2; alone++)
    for (uint64_t n = 2; n <= 3; n++)
      for (uint64_t back = 0; back < 3; back++)
        for (int ahead = 0; ahead < 2; ahead++) {
          char name[NAME_BYTES];
          struct identity id;
          struct start start;
          sim_killed(w.base, w.now);
          segment_name(name, n);
          uint8_t *bytes = sim_file_bytes(w.now, LOG, name, &size);
          if (!bytes || identity_decode(&id, bytes) != BLOCK_VALID ||
              start_decode(&start, bytes, id.uuid, n) != BLOCK_VALID ||
              start.epoch < 2)
            continue;
          test_note("segment %llu, %llu back, %d, %d", (unsigned long long)n,
                    (unsigned long long)back, ahead, alone);
          start.offset = ahead ? start.offset + back : start.offset - back;
          start.epoch--;
          start.time_ms -= 5;
          start_encode(bytes, &start, id.uuid, n);
          segment_name(name, n - 1);
          uint8_t *before = sim_file_bytes(w.now, LOG, name, &size);
          if (alone) memset(before, 0, size);
          CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
          salvage_check(COPY, &w.truth, &found, w.copied);
          CHECK(found.report.damages > 0);
        }
  world_end(&w);
}

/* Segments of the copy: each with start and seal, chained where one follows the
 * other, and from nothing behind a gap; the meta file says where it goes on. */
static void a_copy_is_a_log_whose_damage_was_accepted(struct test_place *at) {
  struct world w;
  uint64_t size, end = 0, n = 1, behind_gaps = 0;
  uint32_t check = 0;
  uint8_t uuid[16];
  char name[NAME_BYTES];
  struct meta meta;
  (void)at;
  world_begin(&w);
  CHECK(change(&w, 1, SEGMENT_HEADER_BYTES + 1500, 0xFF));
  CHECK_OK(salvage_run(LOG, COPY, NULL, &found));
  CHECK_EQUAL(found.report.gaps, 1);
  memcpy(uuid, found.report.uuid, sizeof uuid);
  for (; n < found.report.segments_written; n++) {
    struct start start;
    struct seal seal;
    segment_name(name, n);
    const uint8_t *bytes = sim_file_bytes(w.now, COPY, name, &size);
    CHECK(bytes != NULL);
    CHECK_EQUAL(start_decode(&start, bytes, uuid, n), BLOCK_VALID);
    CHECK_EQUAL(seal_decode(&seal, bytes, uuid, n), BLOCK_VALID);
    bool gap = start.offset != end;
    CHECK_EQUAL(start.previous_check, gap ? 0 : check);
    behind_gaps += gap;
    end = seal.end_offset;
    check = seal.last_check;
    CHECK(size <= SEGMENT_BYTES_MIN || size < seal.end_position + 4096);
  }
  CHECK_EQUAL(behind_gaps, 1);
  CHECK_EQUAL(end, found.report.end);
  CHECK_EQUAL(meta_decode(&meta, sim_file_bytes(w.now, COPY, "meta", &size)),
              BLOCK_VALID);
  CHECK_EQUAL(meta.accepted_segment, n);
  CHECK_EQUAL(meta.accepted_offset, end);
  CHECK(memcmp(meta.uuid, found.report.uuid_from, 16) != 0);
  CHECK_OK(salvage_run(LOG, "/again", NULL, &found));
  CHECK(memcmp(uuid, found.report.uuid, 16) != 0); /* nor twice the same */
  world_end(&w);
}

static const struct test tests[] = {
    TEST(no_byte_costs_more_than_its_batch),
    TEST(no_two_lost_sectors_invent_anything),
    TEST(a_stale_start_moves_no_record),
    TEST(a_copy_is_a_log_whose_damage_was_accepted),
    TEST(what_looks_like_frames_is_not_looked_at_without_end),
    TEST(no_room_for_the_copy_leaves_none),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
