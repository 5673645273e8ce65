/* SPDX-License-Identifier: MIT
 *
 * Segments in memory, written with the real encoders, for tests of what reads
 * them: walk, recovery, index. An image is the unsealed part of a log. Before
 * and behind each segment lies a page that cannot be touched, so that a step
 * out of bounds is a crash in every build.
 *
 * A record's data is its tag (life << 32 | offset, so that a record of another
 * life cannot be taken for it) and filling without zeros.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <sys/mman.h>

#include "recovery.h"
#include "unit.h"

enum {
  IMAGE_BYTES = 16 * 1024,
  IMAGE_VIEWS = 8,
  IMAGE_RECORDS = 4096,
  IMAGE_GUARD = 4096,
  IMAGE_TAG_BYTES = 8
};

struct image_place {
  size_t view;
  uint64_t position, bytes;
  bool last; /* of its batch */
};

struct image {
  uint8_t uuid[16];
  struct recovery_point from;
  struct recovery_view views[IMAGE_VIEWS];
  struct seal ends[IMAGE_VIEWS];
  uint8_t *segments[IMAGE_VIEWS];
  size_t count;

  /* The writer. */
  size_t tail; /* view */
  struct walk w;
  uint32_t last_check; /* of the last ROLL */
  uint64_t durable;    /* what the frames claim */
  bool no_claims;      /* they claim nothing */
  uint64_t sequence;   /* of the last mark */
  uint64_t life;
  struct image_place records[IMAGE_RECORDS];
};

static inline uint8_t *image_memory(void) {
  uint8_t *at = mmap(NULL, IMAGE_BYTES + 2 * IMAGE_GUARD, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(at, MAP_FAILED);
  at += IMAGE_GUARD;
  assert_int_equal(mprotect(at, IMAGE_BYTES, PROT_READ | PROT_WRITE), 0);
  return at;
}

static inline void image_memory_free(uint8_t *at) {
  munmap(at - IMAGE_GUARD, IMAGE_BYTES + 2 * IMAGE_GUARD);
}

/* One more file: a segment with its identity, not in use yet. */
static inline void image_prepare(struct image *im) {
  assert_true(im->count < IMAGE_VIEWS);
  size_t i = im->count++;
  uint64_t number = i ? im->views[i - 1].number + 1 : SEGMENT_NUMBER_FIRST;
  struct identity id = {
      .version = FORMAT_VERSION, .number = number, .bytes = IMAGE_BYTES};
  memcpy(id.uuid, im->uuid, 16);
  im->segments[i] = image_memory();
  identity_encode(im->segments[i], &id);
  im->views[i] = (struct recovery_view){.number = number,
                                        .bytes = im->segments[i],
                                        .size = IMAGE_BYTES,
                                        .data_end = IMAGE_BYTES};
}

static inline void image_start(struct image *im, uint64_t epoch) {
  struct start s = {.offset = im->w.offset,
                    .time_ms = 1000,
                    .epoch = epoch,
                    .durable = im->durable,
                    .previous_check = im->last_check};
  memset(s.boot_id, 0xB0, sizeof s.boot_id);
  start_encode(im->segments[im->tail], &s, im->uuid,
               im->views[im->tail].number);
  walk_begin(&im->w, im->uuid, im->views[im->tail].number, IMAGE_BYTES, &s);
}

/* A log of one segment in its first epoch, or, with epoch 0, not in use. */
static inline struct image *image_new(uint64_t epoch) {
  struct image *im = calloc(1, sizeof *im);
  assert_non_null(im);
  for (size_t i = 0; i < 16; i++) im->uuid[i] = (uint8_t)(i + 1);
  im->life = 1;
  image_prepare(im);
  if (epoch) image_start(im, epoch);
  return im;
}

static inline void image_free(struct image *im) {
  for (size_t i = 0; i < im->count; i++) image_memory_free(im->segments[i]);
  free(im);
}

static inline uint8_t *image_at(struct image *im, uint64_t offset) {
  const struct image_place *p = &im->records[offset];
  return im->segments[p->view] + p->position;
}

static inline uint16_t image_lag(const struct image *im) {
  uint64_t lag = im->w.offset - im->durable;
  if (im->no_claims || lag >= FRAME_LAG_UNKNOWN) return FRAME_LAG_UNKNOWN;
  return (uint16_t)lag;
}

static inline uint32_t image_frame(struct image *im, uint16_t flags,
                                   const void *body, size_t size) {
  uint8_t *at = im->segments[im->tail] + im->w.position;
  assert_true(im->w.position + frame_bytes(size) <= IMAGE_BYTES);
  struct frame f = {.body_bytes = (uint32_t)size,
                    .body_check = frame_body_check(NULL, 0, body, size),
                    .index = (uint32_t)(im->w.offset - im->w.base),
                    .flags = flags,
                    .lag = image_lag(im)};
  memcpy(at + FRAME_HEADER_BYTES, body, size);
  frame_encode(at, &f, im->w.seed, im->w.position);
  assert_true(walk_accept(&im->w, im->uuid, &f, at + FRAME_HEADER_BYTES));
  return f.check;
}

static inline uint64_t image_tag(const struct image *im, uint64_t offset) {
  return im->life << 32 | offset;
}

/* A record of `size` bytes of data (tag included); `more`: of a batch. */
static inline void image_record(struct image *im, size_t size, bool more) {
  uint8_t data[IMAGE_BYTES];
  uint64_t offset = im->w.offset;
  assert_true(size >= IMAGE_TAG_BYTES && offset < IMAGE_RECORDS);
  memset(data, (int)('a' + offset % 26), size);
  store64(data, image_tag(im, offset));
  im->records[offset] = (struct image_place){.view = im->tail,
                                             .position = im->w.position,
                                             .bytes = frame_bytes(size),
                                             .last = !more};
  image_frame(im, (uint16_t)(FRAME_RECORD | (more ? FRAME_MORE : 0)), data,
              size);
}

/* A record with a timestamp: in the header, or in its body. */
static inline void image_timed(struct image *im, int64_t time, bool in_body,
                               bool more) {
  uint8_t body[FRAME_TIME_BYTES + IMAGE_TAG_BYTES];
  uint64_t offset = im->w.offset, blocks = in_body ? FRAME_TIME_BYTES : 0;
  uint64_t size = blocks + IMAGE_TAG_BYTES;
  uint8_t *at = im->segments[im->tail] + im->w.position;
  assert_true(offset < IMAGE_RECORDS);
  store64(body, (uint64_t)time);
  store64(body + blocks, image_tag(im, offset));
  im->records[offset] = (struct image_place){.view = im->tail,
                                             .position = im->w.position,
                                             .bytes = frame_bytes(size),
                                             .last = !more};
  struct frame f = {
      .body_bytes = (uint32_t)size,
      .body_check =
          frame_body_check(body, blocks, body + blocks, IMAGE_TAG_BYTES),
      .index = (uint32_t)(offset - im->w.base),
      .time_delta = in_body ? 0 : (int32_t)(time - im->w.base_time),
      .flags = (uint16_t)(FRAME_RECORD | (in_body ? FRAME_TIME : 0) |
                          (more ? FRAME_MORE : 0)),
      .lag = image_lag(im)};
  memcpy(at + FRAME_HEADER_BYTES, body, size);
  frame_encode(at, &f, im->w.seed, im->w.position);
  assert_true(walk_accept(&im->w, im->uuid, &f, at + FRAME_HEADER_BYTES));
}

static inline void image_batch(struct image *im, uint64_t count, size_t size) {
  for (uint64_t i = 0; i < count; i++) image_record(im, size, i + 1 < count);
}

/* Records one by one, each durable before the next. */
static inline void image_records(struct image *im, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    image_record(im, 24 + i % 40, false);
    im->durable = im->w.offset;
  }
}

static inline void image_epoch(struct image *im, uint64_t epoch) {
  uint8_t body[FRAME_EPOCH_BODY_BYTES];
  store64(body, epoch);
  store64(body + 8, im->w.epoch);
  image_frame(im, FRAME_EPOCH, body, sizeof body);
}

static inline void image_roll(struct image *im, uint64_t epoch) {
  im->last_check = image_frame(im, FRAME_ROLL, "", 0);
  if (im->tail + 1 == im->count) image_prepare(im);
  im->tail++;
  image_start(im, epoch);
}

static inline bool image_fits(const struct image *im, size_t size) {
  return im->w.position + frame_bytes(size) + FRAME_HEADER_BYTES <= IMAGE_BYTES;
}

static inline void image_mark(struct image *im, bool clean) {
  struct mark m = {.sequence = ++im->sequence,
                   .durable = im->durable,
                   .epoch = im->w.epoch,
                   .clean = clean};
  memset(m.boot_id, 0xB1, sizeof m.boot_id);
  mark_encode(im->segments[im->tail], &m, im->uuid, im->views[im->tail].number);
}

/* Three segments, 30 durable records, ten in each; the last mark is clean. */
static inline struct image *image_of_three(void) {
  struct image *im = image_new(1);
  image_records(im, 10);
  image_roll(im, 1);
  image_records(im, 10);
  image_roll(im, 1);
  image_records(im, 10);
  image_mark(im, true);
  return im;
}

/* Recovery must not write: its views are protected meanwhile. */
static inline void image_protect(struct image *im, int protection) {
  for (size_t i = 0; i < im->count; i++)
    assert_int_equal(mprotect(im->segments[i], IMAGE_BYTES, protection), 0);
}

static inline struct recovery_plan image_plan_alive(struct image *im,
                                                    bool writer_lives) {
  struct recovery_plan plan;
  struct recovery_input in = {.from = im->from,
                              .views = im->views,
                              .count = im->count,
                              .writer_lives = writer_lives,
                              .ends = im->ends};
  memcpy(in.uuid, im->uuid, 16);
  recovery_plan(&in, &plan);
  return plan;
}

static inline struct recovery_plan image_plan(struct image *im) {
  return image_plan_alive(im, false);
}

/* Walk the plan's log from the beginning and check each record against its
 * tag in `tags` (of `end` records); false where something is in the way. */
static inline bool image_holds(struct image *im,
                               const struct recovery_plan *plan,
                               const uint64_t *tags) {
  struct walk w = {0};
  size_t view = 0;
  for (;; view++) {
    struct start s;
    if (view > plan->end_view || view >= im->count) return false;
    if (view == plan->end_view && !plan->end_started)
      return w.offset == plan->end.offset;
    if (start_decode(&s, im->segments[view], im->uuid,
                     im->views[view].number) != BLOCK_VALID)
      return false;
    walk_begin(&w, im->uuid, im->views[view].number, im->views[view].size, &s);
    bool rolled = false;
    while (!rolled) {
      if (view == plan->end_view && w.position >= plan->end.position)
        return w.offset == plan->end.offset && w.position == plan->end.position;
      const uint8_t *at = im->segments[view] + w.position;
      struct frame f;
      if (!walk_has_room(&w) || walk_header(&w, at, &f) != WALK_OK)
        return false;
      const uint8_t *body = at + FRAME_HEADER_BYTES;
      if (!frame_body_valid(&f, body)) return false;
      rolled = frame_type(&f) == FRAME_ROLL;
      if (frame_type(&f) == FRAME_RECORD &&
          (f.body_bytes < IMAGE_TAG_BYTES || load64(body) != tags[w.offset]))
        return false;
      if (!walk_accept(&w, im->uuid, &f, body)) return false;
    }
  }
}

/* The tags that the image's writer wrote in its present life. */
static inline const uint64_t *image_tags(const struct image *im) {
  static uint64_t tags[IMAGE_RECORDS];
  for (uint64_t i = 0; i < IMAGE_RECORDS; i++) tags[i] = image_tag(im, i);
  return tags;
}

#endif
