/* SPDX-License-Identifier: MIT
 *
 * Recovery by chance: lives of a small log in memory, each ended by a power
 * cut that keeps any mixture of sectors, and by one damaged place; every single
 * bit flipped, every sector lost. A failure prints UNIT_SEED, which repeats it.
 */
#include "image.h"

#define ULL(x) ((unsigned long long)(x))

/* ---- lives ---- */

/* The image is the page cache; this is the disk, and what was promised. */
struct world {
  struct image *im;
  uint8_t *disk[IMAGE_VIEWS];
  uint64_t tags[IMAGE_RECORDS]; /* of what was appended, by offset */
  bool last[IMAGE_RECORDS];     /* a batch ends there */
  uint64_t random, seed;
  uint64_t durable;    /* ever promised */
  uint64_t epoch_used; /* highest of a record that could be seen */
  bool started, closed;
};

static bool chance(struct world *x, uint64_t in) {
  return random_below(&x->random, in) == 0;
}

static void world_prepare(struct world *x) {
  size_t i = x->im->count;
  image_prepare(x->im);
  x->disk[i] = malloc(IMAGE_BYTES);
  memcpy(x->disk[i], x->im->segments[i], IMAGE_BYTES);
}

static void world_drop_last(struct world *x) {
  size_t i = --x->im->count;
  free(x->disk[i]);
  image_memory_free(x->im->segments[i]);
}

static void world_sync(struct world *x) {
  for (size_t i = 0; i < x->im->count; i++)
    memcpy(x->disk[i], x->im->segments[i], IMAGE_BYTES);
  x->im->durable = x->im->w.offset;
  x->durable = max_u64(x->durable, x->im->durable);
}

/* Some sectors reach the disk by themselves; now and then one torn at eight
 * bytes. `in`: one of so many. */
static void world_write_back(struct world *x, uint64_t in) {
  for (size_t i = 0; i < x->im->count; i++) {
    const uint8_t *from = x->im->segments[i];
    for (uint64_t at = 0; at < IMAGE_BYTES; at += SECTOR_BYTES) {
      if (memcmp(x->disk[i] + at, from + at, SECTOR_BYTES) == 0) continue;
      if (!chance(x, in)) continue;
      uint64_t size =
          chance(x, 8) ? 8 * random_below(&x->random, 64) : SECTOR_BYTES;
      memcpy(x->disk[i] + at, from + at, size);
    }
  }
}

static void world_append(struct world *x) {
  struct image *im = x->im;
  uint64_t n = chance(x, 3) ? 1 + random_below(&x->random, 6) : 1;
  size_t size = 8 + random_below(&x->random, chance(x, 6) ? 2000 : 120);
  if (!image_fits(im, n * frame_bytes(size))) {
    if (im->tail + 1 == IMAGE_VIEWS) return;
    if (im->tail + 1 == im->count) world_prepare(x);
    image_roll(im, im->w.epoch);
  }
  for (uint64_t i = 0; i < n; i++) {
    x->tags[im->w.offset] = image_tag(im, im->w.offset);
    x->last[im->w.offset] = i + 1 == n;
    image_record(im, size, i + 1 < n);
  }
  x->epoch_used = max_u64(x->epoch_used, im->w.epoch);
}

/* The first append of a life: the epoch is durable before anything else. */
static void world_begin(struct world *x, uint64_t epoch) {
  struct image *im = x->im;
  if (x->closed) {
    image_mark(im, false);
    world_sync(x);
    x->closed = false;
  }
  if (!x->started) {
    image_start(im, epoch);
  } else if (image_fits(im, 2200)) {
    image_epoch(im, epoch);
  } else {
    if (im->tail + 1 == im->count) world_prepare(x);
    image_roll(im, epoch);
  }
  x->started = true;
  if (chance(x, 3)) world_write_back(x, 2); /* and the power may fail here */
  if (chance(x, 5)) return;
  world_sync(x);
  for (uint64_t steps = random_below(&x->random, 40); steps > 0; steps--) {
    world_append(x);
    if (chance(x, 4)) world_sync(x);
    if (chance(x, 6)) image_mark(im, false);
    if (chance(x, 6)) world_write_back(x, 3);
    if (im->tail + 1 == im->count && im->count < IMAGE_VIEWS && chance(x, 9))
      world_prepare(x);
  }
}

static void world_cut_power(struct world *x) {
  if (chance(x, 4) && x->started) {
    world_sync(x);
    image_mark(x->im, true);
    world_sync(x);
    x->closed = true;
  }
  world_write_back(x, 2);
  for (size_t i = 0; i < x->im->count; i++)
    memcpy(x->im->segments[i], x->disk[i], IMAGE_BYTES);
}

static bool same_plan(const struct recovery_plan *a,
                      const struct recovery_plan *b) {
  return a->verdict == b->verdict && a->end_view == b->end_view &&
         a->end_started == b->end_started && a->end.offset == b->end.offset &&
         a->end.epoch == b->end.epoch && a->end.position == b->end.position &&
         a->clean == b->clean && a->last_check == b->last_check;
}

static void check_recovered(struct world *x, const struct recovery_plan *p,
                            uint64_t appended) {
  uint64_t end = p->end.offset;
  UNIT_CHECK(p->verdict == RECOVERY_OK, "UNIT_SEED=%llu life %llu verdict %d",
             ULL(x->seed), ULL(x->im->life), p->verdict);
  UNIT_CHECK(end >= x->durable && end <= appended,
             "UNIT_SEED=%llu life %llu end %llu durable %llu appended %llu",
             ULL(x->seed), ULL(x->im->life), ULL(end), ULL(x->durable),
             ULL(appended)); /* I1, I2 */
  UNIT_CHECK(p->durable <= x->durable,
             "UNIT_SEED=%llu life %llu: %llu called durable, %llu were",
             ULL(x->seed), ULL(x->im->life), ULL(p->durable), ULL(x->durable));
  UNIT_CHECK(end == 0 || x->last[end - 1],
             "UNIT_SEED=%llu life %llu half a batch", ULL(x->seed),
             ULL(x->im->life)); /* I4 */
  UNIT_CHECK(image_holds(x->im, p, x->tags),
             "UNIT_SEED=%llu life %llu contents", ULL(x->seed),
             ULL(x->im->life)); /* I1, I3 */
  UNIT_CHECK(p->clean == x->closed, "UNIT_SEED=%llu life %llu clean",
             ULL(x->seed), ULL(x->im->life));
}

static bool is_pristine(const struct image *im, size_t i) {
  return all_zero(im->segments[i] + START_AT,
                  SEGMENT_HEADER_BYTES - START_AT) &&
         all_zero(im->segments[i] + SEGMENT_HEADER_BYTES, FRAME_HEADER_BYTES);
}

/* Recover, with crashes in the middle of it (I6); gives the next epoch. */
static uint64_t world_recover(struct world *x) {
  struct image *im = x->im;
  struct recovery_plan plan = image_plan(im), again;
  check_recovered(x, &plan, im->w.offset);
  size_t keep = plan.end_view + 1;
  if (keep < im->count && is_pristine(im, keep)) keep++;
  uint64_t epoch = plan.epoch_max + 1;
  while (im->count > keep) {
    world_drop_last(x);
    again = image_plan(im);
    UNIT_CHECK(same_plan(&plan, &again), "UNIT_SEED=%llu not idempotent",
               ULL(x->seed));
    if (chance(x, 3)) epoch = again.epoch_max + 1; /* crashed, came back */
  }
  /* I8: no record that could be seen had this epoch. */
  UNIT_CHECK(epoch > x->epoch_used, "UNIT_SEED=%llu epoch %llu used before",
             ULL(x->seed), ULL(epoch));
  im->tail = plan.end_view;
  im->w = plan.end;
  im->last_check = plan.last_check;
  im->durable = min_u64(plan.durable, plan.end.offset);
  im->sequence =
      mark_newest(im->segments[im->tail], im->uuid, im->views[im->tail].number)
          .sequence;
  im->life++;
  x->started = plan.end_started;
  return epoch;
}

/* I20, on whatever came of the lives: one flipped bit, or in a closed log one
 * lost sector, is reported or without effect below the recoverable watermark.
 */
static void world_is_damaged(struct world *x) {
  struct image *im = x->im;
  struct recovery_plan whole = image_plan(im);
  uint64_t known = min_u64(whole.durable, whole.end.offset);
  for (int i = 0; i < 60; i++) {
    uint8_t *segment = im->segments[random_below(&x->random, im->count)];
    uint64_t below = chance(x, 3) ? SEGMENT_HEADER_BYTES : IMAGE_BYTES;
    uint64_t at = random_below(&x->random, below), size = 1;
    uint8_t saved[SECTOR_BYTES];
    if (whole.clean && chance(x, 2)) {
      size = SECTOR_BYTES;
      at -= at % size;
    }
    memcpy(saved, segment + at, size);
    if (size == 1)
      segment[at] ^= (uint8_t)(1u << random_below(&x->random, 8));
    else
      memset(segment + at, 0, size);
    struct recovery_plan plan = image_plan(im);
    UNIT_CHECK(
        plan.verdict != RECOVERY_OK ||
            (plan.end.offset >= known && image_holds(im, &plan, x->tags)),
        "UNIT_SEED=%llu: %llu bytes at %llu: end %llu of %llu", ULL(x->seed),
        ULL(size), ULL(at), ULL(plan.end.offset), ULL(known));
    memcpy(segment + at, saved, size);
  }
}

static void five_lives(uint64_t seed) {
  struct world *x = calloc(1, sizeof *x);
  x->random = x->seed = seed;
  x->im = image_new(0);
  x->disk[0] = malloc(IMAGE_BYTES);
  memcpy(x->disk[0], x->im->segments[0], IMAGE_BYTES);
  uint64_t epoch = 1;
  for (int life = 0; life < 5; life++) {
    if (x->im->tail + 2 < IMAGE_VIEWS) world_begin(x, epoch);
    world_cut_power(x);
    epoch = world_recover(x);
    world_is_damaged(x);
  }
  for (size_t i = 0; i < x->im->count; i++) free(x->disk[i]);
  image_free(x->im);
  free(x);
}

static void i7_five_lives_keep_what_was_promised(void **state) {
  (void)state;
  unit_seeds(300, five_lives);
}

/* ---- single bits ---- */

/* I20: whatever bit is flipped is reported, or without effect on the records
 * below `known`. */
static void flip_all(struct image *im, uint64_t known) {
  for (size_t i = 0; i < im->count; i++)
    for (uint64_t at = 0; at < IMAGE_BYTES; at++) {
      /* The unused part of a segment only here and there. */
      if (im->segments[i][at] == 0 && at > 5200 && at % 256 != 7) continue;
      for (unsigned bit = UNIT_FEW ? 7 : 0; bit < 8; bit++) {
        im->segments[i][at] ^= (uint8_t)(1u << bit);
        struct recovery_plan plan = image_plan(im);
        bool fine = plan.verdict != RECOVERY_OK ||
                    (plan.end.offset >= known &&
                     image_holds(im, &plan, image_tags(im)));
        UNIT_CHECK(fine, "segment %zu byte %llu bit %u: end %llu of %llu",
                   i + 1, ULL(at), bit, ULL(plan.end.offset), ULL(known));
        for (size_t d = 0; d < plan.damage_count && d < 8; d++)
          assert_true(plan.damage[d].from <= plan.damage[d].to &&
                      plan.damage[d].to <= im->w.offset);
        im->segments[i][at] ^= (uint8_t)(1u << bit);
      }
    }
}

static void i20_no_flipped_bit_of_a_closed_log_goes_unnoticed(void **state) {
  (void)state;
  struct image *im = image_of_three();
  flip_all(im, 30);
  image_free(im);
}

static void i20_no_flipped_bit_below_the_watermark_goes_unnoticed(
    void **state) {
  (void)state;
  struct image *im = image_new(1);
  image_records(im, 6);
  image_epoch(im, 2);
  image_records(im, 6);
  image_roll(im, 3);
  image_batch(im, 4, 64);
  im->durable = im->w.offset;
  image_records(im, 4);
  image_prepare(im);
  struct recovery_plan plan = image_plan(im);
  assert_true(plan.durable == 19 && plan.end.offset == 20);
  flip_all(im, plan.durable);
  image_free(im);
}

/* A sector or page that reads as zeros, or as another one of the file. */
static void lose_each(struct image *im, uint64_t size, uint64_t known,
                      uint64_t shift) {
  uint8_t saved[4096];
  for (size_t i = 0; i < im->count; i++)
    for (uint64_t at = 0; at < IMAGE_BYTES; at += size) {
      uint8_t *place = im->segments[i] + at;
      memcpy(saved, place, size);
      if (shift)
        memcpy(place, im->segments[i] + (at + shift) % IMAGE_BYTES, size);
      else
        memset(place, 0, size);
      struct recovery_plan plan = image_plan(im);
      bool fine =
          plan.verdict != RECOVERY_OK ||
          (plan.end.offset >= known && image_holds(im, &plan, image_tags(im)));
      UNIT_CHECK(fine, "segment %zu, %llu bytes at %llu, shift %llu: end %llu",
                 i + 1, ULL(size), ULL(at), ULL(shift), ULL(plan.end.offset));
      memcpy(place, saved, size);
    }
}

static void i20_no_lost_sector_of_a_closed_log_goes_unnoticed(void **state) {
  (void)state;
  struct image *im = image_of_three();
  for (uint64_t shift = 0; shift < IMAGE_BYTES; shift += SECTOR_BYTES)
    lose_each(im, SECTOR_BYTES, 30, shift);
  for (uint64_t shift = 0; shift < IMAGE_BYTES; shift += 4096)
    lose_each(im, 4096, 30, shift);
  image_free(im);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(i7_five_lives_keep_what_was_promised),
      cmocka_unit_test(i20_no_flipped_bit_of_a_closed_log_goes_unnoticed),
      cmocka_unit_test(i20_no_flipped_bit_below_the_watermark_goes_unnoticed),
      cmocka_unit_test(i20_no_lost_sector_of_a_closed_log_goes_unnoticed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
