/* SPDX-License-Identifier: MIT
 *
 * Reading around damage. See support.h.
 */
#include "support.h"

/* ---- frames ---- */

enum {
  PAGE_BYTES = 4096, /* lib/format.h, lib/frame.h */
  HEADER_BYTES = 24,
  BODY_BYTES_AT = 4,
  FLAGS_AT = 20,
  TYPE_RECORD = 1,
  TYPE_ROLL = 4
};

static unsigned type_of(const uint8_t *header) { return header[FLAGS_AT] & 15; }

static void frames_add(struct test_frames *f, struct test_frame frame) {
  if (f->count % 256 == 0) {
    f->list = realloc(f->list, (f->count + 256) * sizeof *f->list);
    CHECK(f->list != NULL);
  }
  f->list[f->count++] = frame;
}

static void frames_of_segment(struct test_frames *f, const char *log,
                              uint64_t number, uint64_t *offset) {
  size_t size;
  uint8_t *bytes = file_load(segment_path(log, number), &size);
  uint64_t at = PAGE_BYTES;
  while (at + HEADER_BYTES <= size) {
    uint32_t check, body;
    memcpy(&check, bytes + at, sizeof check);
    memcpy(&body, bytes + at + BODY_BYTES_AT, sizeof body);
    unsigned type = type_of(bytes + at);
    if (check == 0 || type == 0) break;
    bool record = type == TYPE_RECORD;
    frames_add(f, (struct test_frame){number, at, HEADER_BYTES + body,
                                      record ? (*offset)++ : UINT64_MAX});
    at += HEADER_BYTES + ((uint64_t)body + 7) / 8 * 8;
    if (type == TYPE_ROLL) break;
  }
  free(bytes);
}

struct test_frames frames_load(const char *log) {
  struct test_frames f = {NULL, 0};
  uint64_t offset = 0;
  for (uint64_t n = 1; file_exists(segment_path(log, n)); n++)
    frames_of_segment(&f, log, n, &offset);
  return f;
}

void frames_free(struct test_frames *f) {
  free(f->list);
  *f = (struct test_frames){NULL, 0};
}

const struct test_frame *frame_of(const struct test_frames *f,
                                  uint64_t offset) {
  for (size_t i = 0; i < f->count; i++)
    if (f->list[i].offset == offset) return &f->list[i];
  test_failed(__FILE__, __LINE__, "no frame for offset %llu",
              (unsigned long long)offset);
}

/* ---- surveys ---- */

/* The end of the damaged range at the position, which is told twice. */
static uint64_t damage_at(duralog_reader *reader, uint64_t offset) {
  duralog_damage damage[2];
  duralog_diagnostic d = {.struct_size = sizeof d};
  duralog_record r = {.offset = UINT64_MAX};
  uint64_t told;
  for (int i = 0; i < 2; i++) {
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_next(reader, &r));
    CHECK_EQUAL(r.offset, UINT64_MAX);
    CHECK_OK(duralog_reader_diagnose(reader, &damage[i], &d));
    CHECK_EQUAL(d.error, DURALOG_E_CORRUPT);
    CHECK_OK(duralog_tell(reader, &told));
    CHECK_EQUAL(told, offset);
  }
  CHECK(damage[0].from == damage[1].from && damage[0].to == damage[1].to);
  CHECK(damage[0].from <= offset && offset < damage[0].to);
  return damage[0].to;
}

void survey_make(duralog *log, struct survey *s, uint64_t numbered) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  *s = (struct survey){.end = watermarks_of(log).end};
  CHECK(s->end <= SURVEY_MAX);
  uint64_t offset = 0;
  while (offset < s->end) {
    duralog_record r;
    duralog_error error = duralog_read_next(reader, &r);
    if (error == DURALOG_E_CORRUPT) {
      uint64_t to = damage_at(reader, offset);
      if (to > s->end) to = s->end;
      s->unreadable += to - offset;
      offset = to;
      CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, offset));
      continue;
    }
    CHECK_OK(error);
    CHECK_EQUAL(r.offset, offset);
    if (offset < numbered && !record_is(&r, offset))
      test_failed(__FILE__, __LINE__, "record %llu is served with wrong bytes",
                  (unsigned long long)offset);
    s->is_there[offset++] = true;
    s->delivered++;
  }
  CHECK_OK(duralog_reader_close(&reader));
}
