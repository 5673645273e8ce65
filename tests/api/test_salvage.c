/* SPDX-License-Identifier: MIT
 *
 * Salvage on every kind of damage (I20, I22, I23). Whatever was done to the
 * files: what comes out is what was appended, at its offset; every offset that
 * does not is in a gap that was told; what was not touched comes out; and the
 * damaged log is as it was.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "support_salvage.h"

enum { SEGMENT = 16 << 10, SECTOR = 512, PAGE = 4096, LIVES = 4 };

/* ---- a log with everything in it ---- */

struct base {
  char path[200], earlier[200], damaged[200], copy[200];
  bool closed;
  struct truth truth;
  struct test_frames frames;
  uint64_t segments, files;
  bool *copied;
};

static duralog_options base_options(void) {
  duralog_options o = small_options();
  o.segment_bytes = SEGMENT;
  o.host_driven = true;
  return o;
}

/* Three records with keys and times, in one batch. */
static void append_batch(duralog *log, uint64_t i) {
  char data[3][40];
  duralog_entry e[3];
  for (uint64_t j = 0; j < 3; j++) {
    snprintf(data[j], sizeof data[j], "batch %llu, record %llu",
             (unsigned long long)i, (unsigned long long)j);
    e[j] = (duralog_entry){.data = data[j],
                           .size = strlen(data[j]),
                           .key = j ? data[j] : NULL,
                           .key_size = (size_t)(j == 1 ? 5 : 0),
                           .has_timestamp = i % 2 == 0,
                           .timestamp_ms = j == 2 ? -1 : (int64_t)(i * 1000)};
  }
  CHECK_OK(duralog_append_batch(log, e, 3, DURALOG_LEVEL_DEFAULT, NULL));
}

static void live(duralog *log, uint64_t life) {
  uint8_t bytes[RECORD_BYTES_MAX];
  for (uint64_t i = 0; i < 60; i++) {
    size_t size = record_make(life * 100 + i, bytes);
    CHECK_OK(duralog_append(log, bytes, size, NULL));
    if (i % 5 == 0) append_batch(log, life * 100 + i);
    if (i % 20 == 19) CHECK_OK(duralog_tick(log));
  }
}

static void fill(void *context) {
  struct base *b = context;
  duralog_options o = base_options();
  for (uint64_t life = 0; life < LIVES; life++) {
    duralog *log = open_with(b->path, &o);
    live(log, life);
    if (life == LIVES - 1) directory_copy(b->path, b->earlier);
    for (uint64_t i = 0; life == LIVES - 1 && i < 8; i++) append_batch(log, i);
    if (life == LIVES - 1 && !b->closed) raise(SIGKILL);
    close_log(log);
  }
}

static void base_make(struct base *b, const struct test_place *at,
                      bool closed) {
  *b = (struct base){.closed = closed};
  snprintf(b->path, sizeof b->path, "%s/log", at->root);
  snprintf(b->earlier, sizeof b->earlier, "%s/earlier", at->root);
  snprintf(b->damaged, sizeof b->damaged, "%s/damaged", at->root);
  snprintf(b->copy, sizeof b->copy, "%s/copy", at->root);
  directory_remove(b->path);
  CHECK_EQUAL(child_end(child_start(fill, b)), closed ? 0 : 256 + SIGKILL);
  truth_load(&b->truth, b->path);
  b->frames = frames_load(b->path);
  b->segments = b->frames.list[b->frames.count - 1].segment;
  b->files = directory_count(b->path, ".seg");
  b->copied = calloc(b->truth.end, sizeof *b->copied);
  CHECK(b->copied != NULL && b->segments >= 3);
}

static void base_free(struct base *b) {
  truth_free(&b->truth);
  frames_free(&b->frames);
  free(b->copied);
}

/* ---- what must come out ---- */

static bool in_reach(const struct damage_reach *d, uint64_t segment,
                     uint64_t from, uint64_t to) {
  if (segment != d->segment && segment != d->other) return false;
  return d->segment && (d->to == 0 || (from < d->to && d->from < to));
}

/* Whether the damage gives salvage a reason to leave a batch out: it lies in
 * it, or in the start block of its segment, or in the change to a later epoch
 * behind it (then what stands in the page before may be from before a cut). */
static bool may_be_lost(const struct base *b, const struct damage_reach *d,
                        size_t first, size_t last) {
  const struct test_frame *f = b->frames.list;
  uint64_t segment = f[first].segment;
  if (in_reach(d, segment, f[first].position,
               f[last].position + f[last].bytes) ||
      in_reach(d, segment, SECTOR, 2 * SECTOR))
    return true;
  uint64_t epoch = b->truth.list[f[first].offset].epoch;
  bool hole = false;
  for (size_t i = last + 1; i < b->frames.count; i++) {
    if (f[i].segment != segment) break;
    if (in_reach(d, segment, f[i].position, f[i].position + f[i].bytes))
      hole = true;
    else if (f[i].offset != UINT64_MAX)
      return hole && b->truth.list[f[i].offset].epoch > epoch;
    if (!hole && f[i].offset != UINT64_MAX) return false;
  }
  return hole;
}

static void check_complete(const struct base *b, const struct damage_reach *d) {
  const struct test_frame *f = b->frames.list;
  for (size_t i = 0; i < b->frames.count; i++) {
    if (f[i].offset == UINT64_MAX) continue;
    size_t last = i;
    while (b->truth.list[f[last].offset].batch_last == UINT64_MAX) last++;
    bool must = !may_be_lost(b, d, i, last);
    for (; i < last; i++)
      CHECK_EQUAL(b->copied[f[i].offset], b->copied[f[last].offset]);
    if (must && !b->copied[f[last].offset])
      test_failed(__FILE__, __LINE__, "record %llu was not touched and is lost",
                  (unsigned long long)f[last].offset);
  }
}

/* Salvage the damaged log; what a reach of segment 0 to 0 leaves must be all.
 */
static void hold(const struct base *b, const struct damage_reach *d) {
  struct found found;
  CHECK_OK(salvage_run(b->damaged, b->copy, NULL, &found));
  salvage_check(b->copy, &b->truth, &found, b->copied);
  check_complete(b, d);
  /* An unclean end may be cut, and nothing else may be missing in silence. */
  if (b->closed) CHECK_EQUAL(found.report.end, b->truth.end);
}

/* ---- nothing damaged ---- */

static void an_undamaged_log_comes_out_identical(struct test_place *at) {
  struct damage_reach none = {.segment = 0};
  for (int closed = 0; closed < 2; closed++) {
    struct base b;
    struct found found;
    base_make(&b, at, closed);
    directory_copy(b.path, b.damaged);
    hold(&b, &none);
    CHECK_OK(salvage_run(b.path, b.copy, NULL, &found));
    CHECK_EQUAL(found.report.gaps, 0);
    CHECK_EQUAL(found.report.damages, 0);
    CHECK_EQUAL(found.report.records, b.truth.end);
    CHECK_EQUAL(found.report.evidence_bytes, 0);
    CHECK(!file_exists(path_join(b.copy, "salvage.evidence")));
    base_free(&b);
  }
}

/* ---- every sector ---- */

typedef void harm(const struct base *, uint64_t segment, uint64_t position);

static void zero_sector(const struct base *b, uint64_t n, uint64_t at) {
  file_zero(segment_path(b->damaged, n), at, SECTOR);
}
static void flip_byte(const struct base *b, uint64_t n, uint64_t at) {
  file_flip(segment_path(b->damaged, n), at + 20);
}
static void stale_sector(const struct base *b, uint64_t n, uint64_t at) {
  uint8_t sector[SECTOR] = {0};
  if (file_exists(segment_path(b->earlier, n)))
    file_read_at(segment_path(b->earlier, n), at, sector, SECTOR);
  file_write_at(segment_path(b->damaged, n), at, sector, SECTOR);
}
static void moved_sector(const struct base *b, uint64_t n, uint64_t at) {
  uint8_t sector[SECTOR];
  uint64_t from = at >= PAGE ? (at == PAGE ? PAGE + SECTOR : PAGE)
                             : (at + SECTOR) % (5 * SECTOR);
  file_read_at(segment_path(b->damaged, n), from, sector, SECTOR);
  file_write_at(segment_path(b->damaged, n), at, sector, SECTOR);
}
static void others_sector(const struct base *b, uint64_t n, uint64_t at) {
  uint8_t sector[SECTOR];
  file_read_at(segment_path(b->damaged, n == 1 ? 2 : 1), at, sector, SECTOR);
  file_write_at(segment_path(b->damaged, n), at, sector, SECTOR);
}

static const struct {
  const char *name;
  harm *body;
} harms[] = {{"zeroed", zero_sector},
             {"changed by a byte", flip_byte},
             {"as before", stale_sector},
             {"another one's", moved_sector},
             {"another segment's", others_sector}};

static void each_sector(struct test_place *at, bool closed) {
  struct base b;
  uint64_t turn = 0;
  base_make(&b, at, closed);
  for (size_t k = 0; k < COUNT_OF(harms); k++)
    for (uint64_t n = 1; n <= b.segments; n++)
      for (uint64_t position = 0; position < SEGMENT; position += SECTOR) {
        struct damage_reach d = {
            .segment = n, .from = position, .to = position + SECTOR};
        if (position >= 5 * SECTOR && position < PAGE) continue;
        if (SANITIZED && turn++ % 7 != TEST_SEED % 7) continue;
        test_note("%s log: sector at %llu of segment %llu is %s",
                  closed ? "closed" : "killed", (unsigned long long)position,
                  (unsigned long long)n, harms[k].name);
        directory_copy(b.path, b.damaged);
        harms[k].body(&b, n, position);
        hold(&b, &d);
      }
  base_free(&b);
}

static void a_damaged_sector_costs_what_lies_in_it(struct test_place *at) {
  each_sector(at, true);
}

static void a_damaged_sector_of_a_killed_log_invents_nothing(
    struct test_place *at) {
  each_sector(at, false);
}

static const struct test tests[] = {
    TEST(an_undamaged_log_comes_out_identical),
    TEST(a_damaged_sector_costs_what_lies_in_it),
    TEST(a_damaged_sector_of_a_killed_log_invents_nothing),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
