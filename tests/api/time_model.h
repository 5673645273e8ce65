/* SPDX-License-Identifier: MIT
 *
 * What the tests of finding by time share: a model, which is an array of
 * timestamps that is searched from one end, and logs to hold against it.
 */
#ifndef TIME_MODEL_H
#define TIME_MODEL_H

#include <time.h>

#include "support.h"

enum {
  MODEL_MAX = 4000,
  PROBES = 250,
  DAY_MS = 24 * 3600 * 1000,
  START_BLOCK = 512,
  SEAL_BLOCK = 2048,
  BLOCK_BYTES = 512,
  RECORD_HEADER = 24,
  META_FIELDS = 72
};

/* How timestamps come. */
enum kind { RISING, SHUFFLED, EXTREME, OWN_CLOCK, KINDS };

struct model {
  enum kind kind;
  uint64_t random;
  int64_t now; /* about the wall clock's */
  uint64_t count, kept_from;
  int64_t times[MODEL_MAX];
  bool lost[MODEL_MAX]; /* cannot be found: damaged */
};

static inline struct model *model_new(enum kind kind) {
  struct model *m = calloc(1, sizeof *m);
  CHECK(m != NULL);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  m->kind = kind;
  m->random = TEST_SEED + kind;
  m->now = (int64_t)now.tv_sec * 1000;
  return m;
}

static inline int64_t between(uint64_t *random, int64_t around,
                              int64_t spread) {
  return around - spread +
         (int64_t)random_below(random, 2 * (uint64_t)spread + 1);
}

static inline int64_t extreme(struct model *m) {
  static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, -1,       0,
                                 1,         INT64_MAX - 1, INT64_MAX};
  switch (random_below(&m->random, 12)) {
    case 0: return ends[random_below(&m->random, COUNT_OF(ends))];
    case 1: return (int64_t)random_next(&m->random);
    case 2: return between(&m->random, m->now, INT64_C(400) * DAY_MS);
    default: return m->now + (int64_t)m->count + between(&m->random, 0, 30);
  }
}

static inline int64_t next_time(struct model *m) {
  switch (m->kind) {
    case RISING: return m->now + (int64_t)(m->count / 5 * 3);
    case SHUFFLED: return between(&m->random, m->now, DAY_MS);
    default: return extreme(m);
  }
}

static inline duralog_options options_of(const struct test_place *at) {
  duralog_options o = small_pagecache();
  o.segment_bytes = 16 << 10;
  o.copying_reads = at->copying;
  return o;
}

static inline void fill(duralog *log, struct model *m, uint64_t count) {
  static const uint8_t bytes[2000] = {1, 2, 3};
  for (uint64_t end = m->count + count; m->count < end;) {
    duralog_entry e[5] = {{0}};
    size_t n = 1 + (size_t)random_below(&m->random, 5);
    uint64_t first = UINT64_MAX;
    CHECK(m->count + n <= MODEL_MAX);
    for (size_t i = 0; i < n; i++) {
      e[i].data = bytes;
      e[i].size = (size_t)random_below(
          &m->random, random_below(&m->random, 40) == 0 ? 2000 : 100);
      e[i].key = random_below(&m->random, 3) == 0 ? "key" : NULL;
      e[i].key_size = e[i].key ? 3 : 0;
      e[i].has_timestamp = m->kind != OWN_CLOCK;
      e[i].timestamp_ms = m->times[m->count + i] = next_time(m);
    }
    CHECK_OK(duralog_append_batch(log, e, n, DURALOG_LEVEL_WRITTEN, &first));
    CHECK_EQUAL(first, m->count);
    m->count += n;
  }
}

/* Take the timestamps that the library gave. */
static inline void take_times(duralog *log, struct model *m) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  for (uint64_t i = 0; i < m->count; i++) {
    CHECK_OK(duralog_read_next(reader, &r));
    if (m->kind == OWN_CLOCK) m->times[i] = r.timestamp_ms;
    CHECK(m->times[i] == r.timestamp_ms);
  }
  CHECK_OK(duralog_reader_close(&reader));
}

static inline uint64_t expected(const struct model *m, int64_t time,
                                uint64_t limit) {
  for (uint64_t i = m->kept_from; i < limit; i++)
    if (!m->lost[i] && m->times[i] >= time) return i;
  return limit;
}

static inline uint64_t sought(duralog_reader *reader, int64_t time) {
  uint64_t offset = UINT64_MAX;
  CHECK_OK(duralog_seek_time(reader, time));
  CHECK_OK(duralog_tell(reader, &offset));
  return offset;
}

static inline void check_time(duralog_reader *reader, const struct model *m,
                              int64_t time, uint64_t limit) {
  uint64_t offset = sought(reader, time);
  test_note("seed %llu kind %d time %lld of %llu records",
            (unsigned long long)TEST_SEED, (int)m->kind, (long long)time,
            (unsigned long long)limit);
  CHECK_EQUAL(offset, expected(m, time, limit));
  if (offset == limit) return;
  duralog_record r;
  duralog_error error = duralog_read_next(reader, &r);
  if (error == DURALOG_E_CORRUPT) return; /* its data: see check_damaged */
  CHECK_OK(error);
  CHECK(r.offset == offset && r.timestamp_ms == m->times[offset]);
}

static inline int64_t probe(struct model *m) {
  int64_t time = m->times[random_below(&m->random, m->count)];
  switch (random_below(&m->random, 8)) {
    case 0: return INT64_MIN;
    case 1: return INT64_MAX;
    case 2: return (int64_t)random_next(&m->random);
    case 3: return time == INT64_MAX ? time : time + 1;
    case 4: return time == INT64_MIN ? time : time - 1;
    case 5: return between(&m->random, m->now, 2 * DAY_MS);
    default: return time;
  }
}

static inline void check_times(duralog *log, struct model *m) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  for (int i = 0; i < PROBES; i++) check_time(reader, m, probe(m), m->count);
  CHECK_OK(duralog_reader_close(&reader));
}

/* What segments tell of their times is so. */
static inline void check_segments(duralog *log, const struct model *m) {
  duralog_segment s = {.struct_size = sizeof s};
  for (size_t i = 0; duralog_get_segment(log, i, &s) == DURALOG_OK; i++) {
    int64_t first = 0, max = INT64_MIN;
    bool any = false;
    for (uint64_t o = s.first; !s.damaged && o < s.end; o++) {
      if (m->lost[o]) continue;
      if (!any) first = m->times[o];
      any = true;
      if (m->times[o] > max) max = m->times[o];
    }
    CHECK_EQUAL(s.has_times, any);
    CHECK(s.time_first_ms == first);
    CHECK(s.time_max_ms == (any ? max : 0));
  }
}

static inline void check_all(duralog *log, struct model *m) {
  check_times(log, m);
  check_segments(log, m);
}

static inline duralog *reopen(const struct test_place *at, bool read_only) {
  duralog_options o = options_of(at);
  o.read_only = read_only;
  return open_with(at->path, &o);
}

static inline uint64_t segment_count(duralog *log) {
  duralog_segment s = {.struct_size = sizeof s};
  uint64_t count = 0;
  while (duralog_get_segment(log, count, &s) == DURALOG_OK) count++;
  return count;
}

/* A closed log of several segments. */
static inline struct model *make_log(const struct test_place *at,
                                     enum kind kind) {
  struct model *m = model_new(kind);
  duralog *log = reopen(at, false);
  fill(log, m, 1200);
  take_times(log, m);
  CHECK(segment_count(log) > 6);
  close_log(log);
  return m;
}

/* What a child that dies leaves to its parent. */
struct victim {
  const struct test_place *at;
  struct model model;
};

#endif
