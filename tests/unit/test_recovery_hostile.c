/* SPDX-License-Identifier: MIT
 *
 * Recovery of hostile bytes: nothing is read out of bounds or written, and the
 * time is in proportion to the size. A failure prints UNIT_SEED, which repeats
 * it.
 */
#include <time.h>

#include "image.h"

#define ULL(x) ((unsigned long long)(x))

static struct image *image_to_spoil(uint64_t *random) {
  struct image *im = image_new(1);
  for (int s = 0; s < 3; s++) {
    image_records(im, random_below(random, 20));
    image_batch(im, 1 + random_below(random, 5), 100);
    if (random_below(random, 2)) image_epoch(im, im->w.epoch + 1);
    if (random_below(random, 2)) image_mark(im, random_below(random, 2));
    if (s < 2) image_roll(im, im->w.epoch);
  }
  return im;
}

static uint64_t wild(uint64_t *random) {
  static const uint64_t values[] = {0,
                                    1,
                                    2,
                                    0xFFFF,
                                    UINT32_MAX,
                                    UINT64_MAX,
                                    UINT64_MAX - 1,
                                    UINT64_C(1) << 63};
  uint64_t i = random_below(random, 12);
  return i < 8 ? values[i] : random_next(random) >> random_below(random, 64);
}

static void spoil_bytes(struct image *im, uint64_t *random) {
  for (uint64_t n = 1 + random_below(random, 30); n > 0; n--) {
    uint8_t *segment = im->segments[random_below(random, im->count)];
    uint8_t *source = im->segments[random_below(random, im->count)];
    uint64_t at = 8 * random_below(random, IMAGE_BYTES / 8);
    uint64_t from = 8 * random_below(random, IMAGE_BYTES / 8);
    uint64_t size = random_below(random, 600);
    size = min_u64(size, IMAGE_BYTES - max_u64(at, from));
    switch (random_below(random, 4)) {
      case 0: segment[at] ^= (uint8_t)random_next(random); break;
      case 1: memmove(segment + at, source + from, size); break;
      case 2: memset(segment + at, 0, size); break;
      default: unit_fill(random, segment + at, size);
    }
  }
}

/* Blocks and frames that validate and say wild things. */
static void spoil_fields(struct image *im, uint64_t *random) {
  size_t i = random_below(random, im->count);
  uint64_t number = im->views[i].number;
  struct start s = {.offset = wild(random),
                    .time_ms = (int64_t)wild(random),
                    .epoch = wild(random),
                    .durable = wild(random),
                    .previous_check = (uint32_t)wild(random)};
  struct mark m = {.sequence = wild(random),
                   .durable = wild(random),
                   .epoch = wild(random),
                   .clean = true};
  if (random_below(random, 2))
    start_encode(im->segments[i], &s, im->uuid, number);
  if (random_below(random, 2))
    mark_encode(im->segments[i], &m, im->uuid, number);
  start_decode(&s, im->segments[i], im->uuid, number);
  uint64_t seed = frame_seed(im->uuid, number, s.epoch);
  uint64_t at = SEGMENT_HEADER_BYTES, index = 0;
  while (at + FRAME_HEADER_BYTES <= IMAGE_BYTES) {
    uint8_t *to = im->segments[i] + at;
    uint64_t room = IMAGE_BYTES - at - FRAME_HEADER_BYTES;
    uint32_t size = (uint32_t)min_u64(random_below(random, 200), room);
    struct frame f = {.body_bytes = size,
                      .index = (uint32_t)index,
                      .flags = (uint16_t)(1 + random_below(random, 4)),
                      .lag = (uint16_t)wild(random)};
    if (random_below(random, 4) == 0)
      f.flags |= (uint16_t)(16u << random_below(random, 4));
    if (random_below(random, 9) == 0) f.body_bytes = (uint32_t)wild(random);
    if (random_below(random, 9) == 0) f.index = (uint32_t)wild(random);
    if (f.body_bytes <= room && random_below(random, 9))
      f.body_check =
          (uint32_t)checksum64_plain(to + FRAME_HEADER_BYTES, f.body_bytes);
    frame_encode(to, &f, seed, at);
    index += (f.flags & FRAME_TYPE_MASK) == FRAME_RECORD;
    at += frame_bytes(size);
  }
}

static void hostile_image(uint64_t seed) {
  uint64_t random = seed;
  struct image *im = image_to_spoil(&random);
  size_t total = 0;
  for (size_t i = 0; i < im->count; i++) {
    uint64_t from = random_below(&random, 2) ? SECTOR_BYTES : 0;
    if (seed % 4 == 0)
      unit_fill(&random, im->segments[i] + from, IMAGE_BYTES - from);
    if (random_below(&random, 16) == 0)
      im->views[i].size = im->views[i].data_end =
          random_below(&random, IMAGE_BYTES);
    if (random_below(&random, 16) == 0) im->views[i].data_end = wild(&random);
    total += im->views[i].size;
  }
  if (seed % 4 == 1) spoil_bytes(im, &random);
  if (seed % 4 == 2) spoil_fields(im, &random);
  if (seed % 4 == 3) {
    spoil_fields(im, &random);
    spoil_bytes(im, &random);
  }
  if (random_below(&random, 4) == 0)
    im->from = (struct recovery_point){
        .offset = wild(&random), .epoch = wild(&random), .unknown = true};
  image_protect(im, PROT_READ); /* it reads only */
  clock_t began = clock();
  struct recovery_plan plan =
      image_plan_alive(im, random_below(&random, 8) == 0);
  double ms = 1000.0 * (double)(clock() - began) / CLOCKS_PER_SEC;
  UNIT_CHECK(ms < 200, "UNIT_SEED=%llu: %.0f ms", ULL(seed), ms);
  UNIT_CHECK(plan.bytes_walked <= total, "UNIT_SEED=%llu: walked %llu of %zu",
             ULL(seed), ULL(plan.bytes_walked), total);
  UNIT_CHECK(plan.end_view < im->count && plan.end.position <= IMAGE_BYTES,
             "UNIT_SEED=%llu", ULL(seed));
  for (size_t i = 0; i < plan.damage_count && i < 8; i++)
    UNIT_CHECK(plan.damage[i].from <= plan.damage[i].to, "UNIT_SEED=%llu",
               ULL(seed));
  image_free(im);
}

static void i21_hostile_bytes_do_no_harm(void **state) {
  (void)state;
  unit_seeds(6000, hostile_image);
}

/* A segment in which each body is damaged, and a mark that says that all was
 * durable: as many ranges as frames. The seconds that recovery takes. */
static double seconds_for(uint64_t bytes) {
  static const uint8_t uuid[16] = {1};
  uint8_t *segment = calloc(1, bytes);
  struct identity id = {.version = FORMAT_VERSION, .number = 1, .bytes = bytes};
  struct start s = {.epoch = 1};
  struct walk w;
  assert_non_null(segment);
  memcpy(id.uuid, uuid, 16);
  identity_encode(segment, &id);
  start_encode(segment, &s, uuid, 1);
  walk_begin(&w, uuid, 1, bytes, &s);
  while (w.position + 2 * FRAME_HEADER_BYTES + 8 <= bytes) {
    struct frame f = {.body_bytes = 8,
                      .body_check = 1,
                      .index = (uint32_t)w.offset,
                      .flags = FRAME_RECORD};
    memset(segment + w.position + FRAME_HEADER_BYTES, 'x', 8);
    frame_encode(segment + w.position, &f, w.seed, w.position);
    walk_accept(&w, uuid, &f, segment + w.position + FRAME_HEADER_BYTES);
  }
  struct mark m = {.sequence = 1, .durable = w.offset, .epoch = 1};
  mark_encode(segment, &m, uuid, 1);
  struct recovery_view view = {
      .number = 1, .bytes = segment, .size = bytes, .data_end = bytes};
  struct seal end;
  struct recovery_input in = {.views = &view, .count = 1, .ends = &end};
  struct recovery_plan plan;
  memcpy(in.uuid, uuid, 16);
  clock_t began = clock();
  recovery_plan(&in, &plan);
  double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
  assert_int_equal(plan.verdict, RECOVERY_DAMAGED);
  assert_true(plan.damage_count == w.offset);
  free(segment);
  return seconds;
}

/* Linear would be four times as long; sixteen times is not. */
static void i21_many_damaged_places_take_time_in_proportion(void **state) {
  (void)state;
  double small = seconds_for(64 << 10), large = seconds_for(256 << 10);
  UNIT_CHECK(large < 0.05 + 8 * small, "64 KiB: %.3f s, 256 KiB: %.3f s", small,
             large);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(i21_hostile_bytes_do_no_harm),
      cmocka_unit_test(i21_many_damaged_places_take_time_in_proportion),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
