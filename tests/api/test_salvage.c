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
static struct found found; /* by the last one */

static void hold(const struct base *b, const struct damage_reach *d) {
  CHECK_OK(salvage_run(b->damaged, b->copy, NULL, &found));
  salvage_check(b->copy, &b->truth, &found, b->copied);
  check_complete(b, d);
  /* An unclean end may be cut, and nothing else may be missing in silence. */
  if (b->closed && found.report.end != b->truth.end)
    CHECK(found.items[found.count - 1].to == UINT64_MAX ||
          found_in(&found, DURALOG_SALVAGE_DAMAGE, b->segments));
}

/* ---- nothing damaged ---- */

static void an_undamaged_log_comes_out_identical(struct test_place *at) {
  struct damage_reach none = {.segment = 0};
  for (int closed = 0; closed < 2; closed++) {
    struct base b;
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
        if (turn++ % (SANITIZED ? 17 : closed ? 2 : 5) != k % 2) continue;
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

/* ---- every byte ---- */

/* Steps through a whole log, in strides that meet every kind of place. */
static void a_damaged_byte_costs_its_batch(struct test_place *at) {
  struct base b;
  base_make(&b, at, true);
  uint64_t step = SANITIZED ? 4999 : 1499; /* test_salvage_sim: every one */
  for (uint64_t n = 1; n <= b.segments; n++)
    for (uint64_t position = (TEST_SEED + n * 31) % step; position < SEGMENT;
         position += position < 5 * SECTOR ? step / 4 : step) {
      struct damage_reach d = {
          .segment = n, .from = position, .to = position + 1};
      test_note("byte %llu of segment %llu", (unsigned long long)position,
                (unsigned long long)n);
      directory_copy(b.path, b.damaged);
      file_flip(segment_path(b.damaged, n), position);
      hold(&b, &d);
    }
  base_free(&b);
}

/* ---- every kind of frame ---- */

static uint64_t type_at(const struct base *b, const struct test_frame *f) {
  uint8_t flags;
  file_read_at(segment_path(b->path, f->segment), f->position + 20, &flags, 1);
  return flags & 15;
}

/* Header and body of the first, a middle and the last frame of each type. */
static void each_kind_of_frame_can_be_lost(struct test_place *at) {
  struct base b;
  base_make(&b, at, true);
  for (unsigned type = 1; type <= 4; type++) {
    uint64_t seen = 0, tried = 0;
    for (size_t i = 0; i < b.frames.count; i++) {
      const struct test_frame *f = &b.frames.list[i];
      if (type_at(&b, f) != type || seen++ % (type == 1 ? 40 : 1)) continue;
      for (uint64_t byte = 0; byte < f->bytes; byte += 23) {
        struct damage_reach d = {.segment = f->segment,
                                 .from = f->position,
                                 .to = f->position + f->bytes};
        test_note("type %u at %llu of segment %llu, byte %llu", type,
                  (unsigned long long)f->position,
                  (unsigned long long)f->segment, (unsigned long long)byte);
        directory_copy(b.path, b.damaged);
        file_flip(segment_path(b.damaged, f->segment), f->position + byte);
        hold(&b, &d);
        if (++tried >= 20 || byte > 24) break;
      }
    }
    CHECK(type == 2 || tried > 0); /* nothing pads here */
  }
  base_free(&b);
}

/* ---- files ---- */

static void lose_file(const struct base *b, uint64_t n, uint64_t p) {
  (void)p;
  CHECK_CALL(unlink(segment_path(b->damaged, n)));
}
static void cut_file(const struct base *b, uint64_t n, uint64_t p) {
  file_cut(segment_path(b->damaged, n), p);
}
static void cut_inside(const struct base *b, uint64_t n, uint64_t p) {
  file_cut(segment_path(b->damaged, n), p + 100);
}
static void lengthen_file(const struct base *b, uint64_t n, uint64_t p) {
  file_cut(segment_path(b->damaged, n), SEGMENT + PAGE + p);
}
static void garbage_from(const struct base *b, uint64_t n, uint64_t p) {
  static uint8_t bytes[SEGMENT];
  uint64_t random = TEST_SEED + n + p;
  for (size_t i = 0; i + 8 <= sizeof bytes; i += 8) {
    uint64_t word = random_next(&random);
    memcpy(bytes + i, &word, sizeof word);
  }
  file_write_at(segment_path(b->damaged, n), p, bytes, SEGMENT - p);
}

static const struct {
  const char *name;
  harm *body;
  bool costs; /* what lies from the position on */
} file_harms[] = {{"lost", lose_file, true},
                  {"cut", cut_file, true},
                  {"cut inside of a sector", cut_inside, true},
                  {"longer", lengthen_file, false},
                  {"garbage", garbage_from, true}};

static void damaged_files_cost_what_is_not_there(struct test_place *at) {
  struct base b;
  base_make(&b, at, true);
  for (size_t k = 0; k < COUNT_OF(file_harms); k++)
    for (uint64_t n = 1; n <= b.segments; n++)
      for (uint64_t p = 0; p < SEGMENT; p += file_harms[k].body == lose_file
                                                 ? SEGMENT
                                             : SANITIZED ? 7 * SECTOR
                                                         : 5 * SECTOR) {
        struct damage_reach d = {.segment = n, .from = p, .to = 2 * SEGMENT};
        if (!file_harms[k].costs) d.segment = 0;
        test_note("segment %llu is %s at %llu", (unsigned long long)n,
                  file_harms[k].name, (unsigned long long)p);
        directory_copy(b.path, b.damaged);
        file_harms[k].body(&b, n, p);
        hold(&b, &d);
        const struct test_frame *last = &b.frames.list[b.frames.count - 1];
        if (n < b.segments || p < last->position + last->bytes)
          CHECK(found.report.gaps + found.report.damages > 0);
      }
  base_free(&b);
}

static uint64_t copied_count(const struct base *b) {
  uint64_t count = 0;
  for (uint64_t i = 0; i < b->truth.end; i++) count += b->copied[i];
  return count;
}

/* What a file is says its identity, not its name. */
static void exchanged_and_doubled_files_cost_nothing(struct test_place *at) {
  struct base b;
  struct damage_reach none = {.segment = 0};
  char one[300], other[300];
  base_make(&b, at, true);
  for (uint64_t n = 1; n <= b.segments; n++)
    for (uint64_t m = n + 1; m <= b.segments + 1; m++) {
      test_note("segments %llu and %llu", (unsigned long long)n,
                (unsigned long long)m);
      directory_copy(b.path, b.damaged);
      snprintf(one, sizeof one, "%s", segment_path(b.damaged, n));
      snprintf(other, sizeof other, "%s", segment_path(b.damaged, m));
      file_swap(one, other);
      hold(&b, &none);
      CHECK_EQUAL(copied_count(&b), b.truth.end);
      directory_copy(b.path, b.damaged);
      file_copy(one, segment_path(b.damaged, 90 + n));
      hold(&b, &none);
      CHECK_EQUAL(copied_count(&b), b.truth.end);
      if (m > b.segments) continue;
      struct damage_reach gone = {.segment = m};
      directory_copy(b.path, b.damaged);
      file_copy(one, other); /* the other one's bytes are gone */
      hold(&b, &gone);
    }
  base_free(&b);
}

static void other_logs_files_are_told_and_not_copied(struct test_place *at) {
  struct base b, stranger;
  char others[200];
  base_make(&stranger, at, true);
  snprintf(others, sizeof others, "%s/others", at->root);
  directory_copy(stranger.path, others);
  base_make(&b, at, true);
  for (uint64_t n = 1; n <= b.segments; n++) {
    struct damage_reach here = {.segment = n}, none = {.segment = 0};
    test_note("another log's segment %llu", (unsigned long long)n);
    directory_copy(b.path, b.damaged);
    file_copy(segment_path(others, n), segment_path(b.damaged, n));
    hold(&b, &here);
    CHECK(found_in(&found, DURALOG_SALVAGE_DAMAGE, n));
    directory_copy(b.path, b.damaged);
    file_copy(segment_path(others, n), segment_path(b.damaged, 70));
    hold(&b, &none);
    CHECK_EQUAL(copied_count(&b), b.truth.end);
  }
  directory_copy(b.path, b.damaged);
  file_copy(path_join(others, "meta"), path_join(b.damaged, "meta"));
  struct damage_reach none = {.segment = 0};
  hold(&b, &none);
  CHECK_EQUAL(copied_count(&b), b.truth.end);
  base_free(&stranger);
  base_free(&b);
}

/* ---- which log ---- */

static void a_lost_meta_file_costs_nothing(struct test_place *at) {
  struct base b;
  struct damage_reach none = {.segment = 0};
  base_make(&b, at, true);
  for (uint64_t byte = 0; byte < 96; byte += 5) {
    directory_copy(b.path, b.damaged);
    file_flip(path_join(b.damaged, "meta"), byte);
    hold(&b, &none);
    CHECK_EQUAL(copied_count(&b), b.truth.end);
  }
  directory_copy(b.path, b.damaged);
  CHECK_CALL(unlink(path_join(b.damaged, "meta")));
  CHECK_CALL(unlink(path_join(b.damaged, "lock")));
  hold(&b, &none);
  CHECK_EQUAL(copied_count(&b), b.truth.end);
  CHECK_EQUAL(found.report.damages, 1);
  base_free(&b);
}

static void the_host_can_say_which_log_it_is(struct test_place *at) {
  struct base b;
  duralog_salvage_options o = {.struct_size = sizeof o, .has_uuid = true};
  base_make(&b, at, true);
  directory_copy(b.path, b.damaged);
  CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
  memcpy(o.uuid, found.report.uuid_from, 16);
  CHECK(memcmp(found.report.uuid, o.uuid, 16) != 0);
  CHECK_CALL(unlink(path_join(b.damaged, "meta")));
  for (uint64_t n = 1; n <= b.files; n++)
    file_zero(segment_path(b.damaged, n), 0, SECTOR);
  CHECK_IS(DURALOG_E_CORRUPT, salvage_run(b.damaged, b.copy, NULL, &found));
  CHECK_OK(salvage_run(b.damaged, b.copy, &o, &found));
  salvage_check(b.copy, &b.truth, &found, b.copied);
  CHECK_EQUAL(copied_count(&b), b.truth.end);
  o.uuid[0] ^= 1;
  CHECK_OK(salvage_run(b.damaged, b.copy, &o, &found));
  CHECK_EQUAL(found.report.records, 0);
  base_free(&b);
}

/* A start block is lost, and its seal's time with it: the offsets are known. */
static void unproven_times_are_copied_only_when_asked_for(
    struct test_place *at) {
  struct base b;
  duralog_salvage_options o = {.struct_size = sizeof o, .unproven_times = true};
  base_make(&b, at, true);
  for (uint64_t n = 1; n <= b.segments; n++) {
    test_note("segment %llu", (unsigned long long)n);
    struct damage_reach start = {.segment = n, .from = 512, .to = 1024};
    directory_copy(b.path, b.damaged);
    file_zero(segment_path(b.damaged, n), 512, 512);
    if (n < b.segments) { /* its seal says the largest time */
      struct damage_reach none = {.segment = 0};
      hold(&b, n == 1 ? &start : &none);
    }
    file_zero(segment_path(b.damaged, n), 2048, 512);
    hold(&b, &start);
    uint64_t proven = copied_count(&b);
    CHECK(proven < b.truth.end);
    CHECK_OK(salvage_run(b.damaged, b.copy, &o, &found));
    if (n > 1) CHECK_EQUAL(found.report.records, b.truth.end);
    bool told = false;
    for (size_t i = 0; i < found.count; i++) {
      const duralog_salvage_item *item = &found.items[i];
      CHECK(!item->times_unproven || item->segment == n);
      told |= item->times_unproven;
    }
    CHECK_EQUAL(told, found.report.records > proven);
  }
  base_free(&b);
}

/* What is left of a batch comes out when asked for, as a batch, and is told. */
static void torn_batches_are_copied_only_when_asked_for(struct test_place *at) {
  struct base b;
  duralog_salvage_options o = {.struct_size = sizeof o,
                               .partial_batches = true};
  base_make(&b, at, true);
  for (size_t i = 0; i + 2 < b.frames.count; i++) {
    const struct test_frame *f = &b.frames.list[i];
    if (f->offset == UINT64_MAX || f->offset % 7 ||
        b.truth.list[f->offset].batch_last != UINT64_MAX)
      continue;
    test_note("offset %llu", (unsigned long long)f->offset);
    directory_copy(b.path, b.damaged);
    file_flip(segment_path(b.damaged, f->segment),
              f->position + (i % 2 ? 3 : f->bytes - 1));
    CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
    CHECK_EQUAL(found.report.records, b.truth.end - 3);
    CHECK_OK(salvage_run(b.damaged, b.copy, &o, &found));
    CHECK_EQUAL(found.report.records, b.truth.end - 1);
    bool told = false;
    for (size_t k = 0; k < found.count; k++)
      told |= found.items[k].partial_batch;
    CHECK(told);
    duralog_options r = small_options();
    duralog_record record;
    r.read_only = true;
    duralog *log = open_with(b.copy, &r);
    duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
    for (uint64_t k = 0; k < b.truth.end; k++) {
      duralog_error error = duralog_read_at(reader, k, &record);
      CHECK_EQUAL(error, k == f->offset ? DURALOG_E_CORRUPT : DURALOG_OK);
      if (error) continue;
      CHECK_EQUAL(record.timestamp_ms, b.truth.list[k].time);
      CHECK_BYTES(b.truth.list[k].bytes + b.truth.list[k].key_size,
                  b.truth.list[k].size, record.data, record.size);
    }
    CHECK_OK(duralog_reader_close(&reader));
    close_log(log);
  }
  base_free(&b);
}

/* Where the oldest segments were removed the log begins later, and so does the
 * copy; where their meta file does not say so they are missing. */
static void a_log_that_begins_later_stays_so(struct test_place *at) {
  struct base b;
  base_make(&b, at, true);
  const struct test_frame *f = b.frames.list;
  while (f->segment < 2 || f->offset == UINT64_MAX) f++;
  directory_copy(b.path, b.damaged);
  CHECK_CALL(unlink(segment_path(b.damaged, 1)));
  CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
  salvage_check(b.copy, &b.truth, &found, b.copied);
  CHECK(found.report.start == 0 && found.report.records_lost == f->offset);
  uint64_t first = 2;
  file_write_at(path_join(b.damaged, "meta"), 56, &first, sizeof first);
  block_sign(path_join(b.damaged, "meta"), 0, 72);
  CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
  salvage_check(b.copy, &b.truth, &found, b.copied);
  CHECK_EQUAL(found.report.start, f->offset);
  CHECK(found.report.gaps == 0 && found.report.damages == 0);
  base_free(&b);
}

/* ---- leftovers ---- */

enum { FIXED = 100 };

static void fixed_record(uint64_t life, uint64_t i, uint8_t bytes[FIXED]) {
  memset(bytes, (int)('a' + life), FIXED);
  memcpy(bytes, &i, sizeof i);
}

struct cut_life {
  const char *path;
  uint64_t life, from, count;
  bool close;
};

static void live_fixed(void *context) {
  const struct cut_life *c = context;
  duralog_options o = base_options();
  uint8_t bytes[FIXED];
  o.durability.pagecache = true;
  duralog *log = open_with(c->path, &o);
  CHECK_EQUAL(watermarks_of(log).end, c->from);
  for (uint64_t i = 0; i < c->count; i++) {
    fixed_record(c->life, i, bytes);
    CHECK_OK(duralog_append(log, bytes, FIXED, NULL));
  }
  if (!c->close) raise(SIGKILL);
  close_log(log);
}

/* Records of one size, never synced, cut by power loss and appended again: the
 * old ones fit exactly between the new ones. No sector that shows what was
 * before a cut may bring one of them back (I3, I22). */
static void records_from_before_a_cut_do_not_come_back(struct test_place *at) {
  static const char *const names[] = {"life0", "life1", "life2"};
  struct base b = {.closed = true};
  struct cut_life c = {.path = at->path, .count = 30};
  snprintf(b.path, sizeof b.path, "%s", at->path);
  snprintf(b.damaged, sizeof b.damaged, "%s/damaged", at->root);
  snprintf(b.copy, sizeof b.copy, "%s/copy", at->root);
  for (c.life = 0; c.life < 4; c.life++) {
    c.close = c.life == 3;
    CHECK_EQUAL(child_end(child_start(live_fixed, &c)),
                c.close ? 0 : 256 + SIGKILL);
    if (c.close) break;
    directory_copy(b.path, path_in(at, names[c.life]));
    c.from += c.count - 10; /* the last ten never reached the disk */
    struct test_frames frames = frames_load(b.path);
    const struct test_frame *f = frame_of(&frames, c.from);
    file_zero(segment_path(b.path, f->segment), f->position,
              SEGMENT - f->position);
    frames_free(&frames);
  }
  truth_load(&b.truth, b.path);
  b.copied = calloc(b.truth.end, sizeof *b.copied);
  CHECK(b.copied != NULL);
  uint64_t copied = 0, all = 0;
  for (size_t k = 0; k < COUNT_OF(names); k++)
    for (uint64_t size = SECTOR; size <= PAGE; size *= 8)
      for (uint64_t p = PAGE; p < SEGMENT; p += size * (SANITIZED ? 3 : 1))
        for (int more = 0; more < 2; more++) {
          static uint8_t bytes[PAGE];
          snprintf(b.earlier, sizeof b.earlier, "%s", path_in(at, names[k]));
          test_note("%llu bytes at %llu are as in life %zu%s",
                    (unsigned long long)size, (unsigned long long)p, k,
                    more ? ", the next sector is lost" : "");
          directory_copy(b.path, b.damaged);
          file_read_at(segment_path(b.earlier, 1), p, bytes, size);
          file_write_at(segment_path(b.damaged, 1), p, bytes, size);
          if (more && p + size < SEGMENT)
            file_zero(segment_path(b.damaged, 1), p + size, SECTOR);
          CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
          salvage_check(b.copy, &b.truth, &found, b.copied);
          CHECK_EQUAL(found.report.end, b.truth.end);
          copied += copied_count(&b);
          all += b.truth.end;
        }
  CHECK(copied > all / 2);
  truth_free(&b.truth);
  free(b.copied);
}

struct small_life {
  const char *path;
  size_t size;
  uint64_t count;
  bool close;
};

static void live_small(void *context) {
  const struct small_life *c = context;
  duralog_options o = base_options();
  static uint8_t bytes[FIXED];
  o.durability.pagecache = true;
  duralog *log = open_with(c->path, &o);
  for (uint64_t i = 0; i < c->count; i++)
    CHECK_OK(duralog_append(log, bytes, c->size, NULL));
  if (!c->close) raise(SIGKILL);
  close_log(log);
}

/* The next life wrote smaller records, so that old frames lie behind its end,
 * with offsets below it. Where its own are lost the old ones do not stand in
 * for them. */
static void leftovers_behind_the_end_fill_no_gap(struct test_place *at) {
  enum { KEPT = 10, OLD = 90, NEW = 70 };
  struct base b = {.closed = true};
  struct small_life old = {at->path, FIXED, OLD, false};
  struct small_life new = {at->path, 0, NEW, true};
  snprintf(b.damaged, sizeof b.damaged, "%s/damaged", at->root);
  snprintf(b.copy, sizeof b.copy, "%s/copy", at->root);
  CHECK_EQUAL(child_end(child_start(live_small, &old)), 256 + SIGKILL);
  struct test_frames frames = frames_load(at->path);
  uint64_t cut = frame_of(&frames, KEPT)->position;
  file_zero(segment_path(at->path, 1), cut, 24);
  frames_free(&frames);
  CHECK_EQUAL(child_end(child_start(live_small, &new)), 0);
  truth_load(&b.truth, at->path);
  CHECK_EQUAL(b.truth.end, KEPT + NEW);
  b.copied = calloc(b.truth.end, sizeof *b.copied);
  CHECK(b.copied != NULL);
  uint64_t all = NEW * 24 + 40;
  for (uint64_t from = 0; from < all; from += 120)
    for (uint64_t to = from + 24; to <= all; to += 168) {
      test_note("bytes %llu to %llu", (unsigned long long)(cut + from),
                (unsigned long long)(cut + to));
      directory_copy(at->path, b.damaged);
      file_zero(segment_path(b.damaged, 1), cut + from, to - from);
      CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
      salvage_check(b.copy, &b.truth, &found, b.copied);
      CHECK_EQUAL(found.report.end, b.truth.end);
    }
  truth_free(&b.truth);
  free(b.copied);
}

/* ---- torn tails ---- */

static void die_unsynced(void *context) {
  const struct base *b = context;
  duralog_options o = base_options();
  o.durability.pagecache = true;
  duralog *log = open_with(b->path, &o);
  live(log, 0);
  CHECK_OK(duralog_sync(log));
  for (uint64_t i = 1000; i < 1150; i++) { /* no tick: nothing is synced */
    uint8_t bytes[RECORD_BYTES_MAX];
    size_t size = record_make(i, bytes);
    CHECK_OK(duralog_append(log, bytes, size, NULL));
    if (i % 7 == 0) append_batch(log, i);
  }
  raise(SIGKILL);
}

/* Where opening sees a torn tail and nothing else, how far the log goes. */
static bool is_only_torn(const char *path, uint64_t *end) {
  duralog_options o = base_options();
  duralog_report report;
  duralog_record record;
  o.read_only = true;
  duralog *log = open_reporting(path, &o, &report);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_error error;
  while ((error = duralog_read_next(reader, &record)) == DURALOG_OK) continue;
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  *end = report.end;
  return error == DURALOG_E_AT_END && report.damage_count == 0;
}

/* Behind a hole beyond all evidence nothing was ever promised: salvage cuts
 * where opening would, though what lies behind it proves itself. */
static void a_torn_tail_is_cut_where_opening_cuts(struct test_place *at) {
  struct base b = {.closed = false};
  uint64_t torn = 0, end;
  snprintf(b.path, sizeof b.path, "%s", at->path);
  snprintf(b.damaged, sizeof b.damaged, "%s/damaged", at->root);
  snprintf(b.copy, sizeof b.copy, "%s/copy", at->root);
  CHECK_EQUAL(child_end(child_start(die_unsynced, &b)), 256 + SIGKILL);
  truth_load(&b.truth, b.path);
  b.copied = calloc(b.truth.end, sizeof *b.copied);
  CHECK(b.copied != NULL);
  for (uint64_t n = 1; file_exists(segment_path(b.path, n)); n++)
    for (uint64_t p = 0; p < SEGMENT; p += SECTOR * (SANITIZED ? 5 : 1)) {
      test_note("sector at %llu of segment %llu", (unsigned long long)p,
                (unsigned long long)n);
      directory_copy(b.path, b.damaged);
      zero_sector(&b, n, p);
      CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
      salvage_check(b.copy, &b.truth, &found, b.copied);
      if (!is_only_torn(b.damaged, &end)) continue;
      CHECK_EQUAL(found.report.end, end);
      CHECK_EQUAL(found.report.records, end);
      CHECK_EQUAL(found.report.gaps, 0);
      torn += end < b.truth.end;
    }
  CHECK(torn > (SANITIZED ? 5 : 30));
  truth_free(&b.truth);
  free(b.copied);
}

/* ---- accepted damage ---- */

enum { SYNCED = 20, UNSYNCED = 20, HURT = 10, BEHIND = 30 };

static void die_half_synced(void *context) {
  const char *path = context;
  duralog_options o = base_options();
  o.durability.pagecache = true;
  duralog *log = open_with(path, &o);
  append_numbers(log, 0, SYNCED);
  CHECK_OK(duralog_sync(log));
  append_numbers(log, SYNCED, UNSYNCED);
  raise(SIGKILL);
}

/* Where damage was accepted, older segments hold records that were given up,
 * with offsets that are others' by now. */
static void what_was_given_up_with_accepted_damage_stays_so(
    struct test_place *at) {
  char path[200], copy[200];
  uint8_t bytes[RECORD_BYTES_MAX];
  duralog_options o = base_options();
  duralog_record r;
  uint64_t accepted, below = 0, above = 0;
  snprintf(path, sizeof path, "%s", at->path);
  snprintf(copy, sizeof copy, "%s/copy", at->root);
  for (int meta_lost = 0; meta_lost < 2; meta_lost++) {
    directory_remove(path);
    CHECK_EQUAL(child_end(child_start(die_half_synced, path)), 256 + SIGKILL);
    struct test_frames frames = frames_load(path);
    const struct test_frame *f = frame_of(&frames, HURT);
    file_zero(segment_path(path, f->segment), f->position, 24);
    frames_free(&frames);
    o.accept_damage = true;
    duralog *log = open_with(path, &o);
    accepted = watermarks_of(log).end;
    for (uint64_t i = 0; i < BEHIND; i++) {
      size_t size = record_make(1000 + accepted + i, bytes);
      CHECK_OK(duralog_append(log, bytes, size, NULL));
    }
    close_log(log);
    if (meta_lost) CHECK_CALL(unlink(path_join(path, "meta")));
    CHECK_OK(salvage_run(path, copy, NULL, &found));
    CHECK_EQUAL(found.report.end, accepted + BEHIND);
    o.accept_damage = false;
    o.read_only = true;
    log = open_with(copy, &o);
    duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
    for (uint64_t i = 0; i < accepted + BEHIND; i++) {
      duralog_error error = duralog_read_at(reader, i, &r);
      if (i < HURT || i >= accepted) CHECK_EQUAL(error, DURALOG_OK);
      if (error) continue;
      CHECK(record_is(&r, i < accepted ? i : 1000 + i));
      below += i > HURT && i < accepted;
      above += i >= accepted;
    }
    CHECK_OK(duralog_reader_close(&reader));
    close_log(log);
    o.read_only = false;
  }
  CHECK(accepted < SYNCED + UNSYNCED && above == 2 * BEHIND);
  CHECK(below <= 2 * (accepted - HURT));
}

/* ---- at random ---- */

static void at_random(struct test_place *at, bool closed) {
  enum { ROUNDS = SANITIZED ? 15 : 60 };
  struct base b;
  uint64_t random = TEST_SEED;
  base_make(&b, at, closed);
  for (int round = 0; round < ROUNDS; round++) {
    directory_copy(b.path, b.damaged);
    uint64_t count = 1 + random_below(&random, 5);
    for (uint64_t i = 0; i < count; i++) {
      uint64_t n = 1 + random_below(&random, b.segments);
      uint64_t p = random_below(&random, SEGMENT / SECTOR) * SECTOR;
      uint64_t k =
          random_below(&random, COUNT_OF(harms) + (i == 0 && n > 1 ? 5 : 1));
      bool there = file_exists(segment_path(b.damaged, n));
      if (!there || file_bytes(segment_path(b.damaged, n)) < SEGMENT) continue;
      if (k < COUNT_OF(harms))
        harms[k].body(&b, n, p);
      else if (i + 1 == count)
        file_harms[k - COUNT_OF(harms)].body(&b, n, p);
    }
    test_note("%s log, round %d, %llu damages", closed ? "closed" : "killed",
              round, (unsigned long long)count);
    CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
    salvage_check(b.copy, &b.truth, &found, b.copied);
  }
  base_free(&b);
}

static void random_damage_invents_nothing(struct test_place *at) {
  at_random(at, true);
  at_random(at, false);
}

/* Random bytes as files, and files of right blocks with random bytes behind:
 * an answer, and nothing served (I21). */
static void hostile_files_get_an_answer(struct test_place *at) {
  enum { ROUNDS = SANITIZED ? 20 : 60 };
  struct base b;
  uint64_t random = TEST_SEED;
  static uint8_t bytes[SEGMENT];
  base_make(&b, at, true);
  for (int round = 0; round < ROUNDS; round++) {
    test_note("round %d", round);
    directory_copy(b.path, b.damaged);
    for (uint64_t n = 1; n <= b.files + 1; n++) {
      uint64_t from = random_below(&random, 3) * 2048;
      size_t size = (size_t)random_below(&random, SEGMENT - from) + 1;
      for (size_t i = 0; i < size; i++) {
        uint64_t word = random_next(&random);
        bytes[i] = word % 3 ? (uint8_t)(word >> 8) : 0;
      }
      if (n > b.files || random_below(&random, 4) == 0)
        file_store(segment_path(b.damaged, n), bytes, size);
      else
        file_write_at(segment_path(b.damaged, n), from, bytes, size);
    }
    duralog_error error = salvage_run(b.damaged, b.copy, NULL, &found);
    CHECK(error == DURALOG_OK || error == DURALOG_E_CORRUPT);
    if (!error) salvage_check(b.copy, &b.truth, &found, b.copied);
  }
  base_free(&b);
}

/* ---- evidence, and the copy as a log ---- */

static void evidence_holds_the_damaged_bytes(struct test_place *at) {
  struct base b;
  uint8_t is[PAGE], was[PAGE];
  uint64_t seen = 0, bytes = 0;
  base_make(&b, at, true);
  directory_copy(b.path, b.damaged);
  for (uint64_t n = 1; n <= b.segments; n++) {
    file_flip(segment_path(b.damaged, n), 5000);
    file_flip(segment_path(b.damaged, n), 9000 + n);
  }
  file_flip(path_join(b.damaged, "meta"), 40);
  CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
  for (size_t i = 0; i < found.count; i++) {
    const duralog_salvage_item *item = &found.items[i];
    if (item->kind == DURALOG_SALVAGE_RUN || item->evidence == UINT64_MAX)
      continue;
    const char *file = item->segment ? segment_path(b.damaged, item->segment)
                                     : path_join(b.damaged, "meta");
    size_t size = (size_t)(item->position_end - item->position);
    CHECK(size <= sizeof is);
    file_read_at(file, item->position, was, size);
    file_read_at(path_join(b.copy, "salvage.evidence"), item->evidence, is,
                 size);
    CHECK_BYTES(was, size, is, size);
    seen++;
    bytes += size;
  }
  CHECK(seen > b.segments);
  CHECK_EQUAL(bytes, found.report.evidence_bytes);
  CHECK_EQUAL(bytes, file_bytes(path_join(b.copy, "salvage.evidence")));
  CHECK(bytes < 8 * PAGE); /* frugal: not a second copy of the log */
  base_free(&b);
}

/* A copy can be damaged and salvaged again; what was lost stays lost. */
static void a_copy_can_be_salvaged_again(struct test_place *at) {
  struct base b;
  char again[200];
  base_make(&b, at, true);
  snprintf(again, sizeof again, "%s/again", at->root);
  directory_copy(b.path, b.damaged);
  file_zero(segment_path(b.damaged, 2), 6 * 1024, 1024);
  CHECK_OK(salvage_run(b.damaged, b.copy, NULL, &found));
  uint64_t records = found.report.records, gaps = found.report.gaps;
  CHECK(gaps == 1 && records < b.truth.end);
  CHECK_OK(salvage_run(b.copy, again, NULL, &found));
  CHECK_EQUAL(found.report.records, records);
  CHECK_EQUAL(found.report.gaps, gaps);
  CHECK_EQUAL(found.report.damages, 0);
  salvage_check(again, &b.truth, &found, b.copied);
  base_free(&b);
}

/* ---- refusals ---- */

static void what_cannot_be_salvaged_is_refused_by_name(struct test_place *at) {
  struct base b;
  duralog_options o = base_options();
  duralog_salvage_options bad = {.struct_size = 3};
  duralog_diagnostic d = {.struct_size = sizeof d};
  base_make(&b, at, true);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_salvage(NULL, b.copy, NULL, NULL, &d));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_salvage(b.path, "", NULL, NULL, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT,
           duralog_salvage(b.path, b.path, NULL, NULL, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_salvage(b.path, b.copy, &bad, NULL, &d));
  CHECK_IS(DURALOG_E_NOT_FOUND,
           salvage_run(path_in(at, "absent"), b.copy, NULL, &found));
  directory_make(path_in(at, "empty"));
  CHECK_IS(DURALOG_E_NOT_FOUND,
           salvage_run(path_in(at, "empty"), b.copy, NULL, &found));
  CHECK_IS(DURALOG_E_NOT_FOUND,
           duralog_salvage(b.path, path_in(at, "absent/copy"), NULL, NULL, &d));
  CHECK_OK(duralog_salvage(b.path, path_in(at, "empty"), NULL, NULL, &d));
  uint64_t before = tree_digest(path_in(at, "empty"), true);
  CHECK_IS(DURALOG_E_FOREIGN,
           duralog_salvage(b.path, path_in(at, "empty"), NULL, NULL, &d));
  CHECK_UNCHANGED(before, path_in(at, "empty"));
  duralog *log = open_with(b.path, &o);
  CHECK_IS(DURALOG_E_BUSY, salvage_run(b.path, b.copy, NULL, &found));
  close_log(log);
  CHECK_OK(salvage_run(b.path, b.copy, NULL, &found));
  base_free(&b);
}

static const struct test tests[] = {
    TEST(an_undamaged_log_comes_out_identical),
    TEST(a_damaged_sector_costs_what_lies_in_it),
    TEST(a_damaged_sector_of_a_killed_log_invents_nothing),
    TEST(a_damaged_byte_costs_its_batch),
    TEST(each_kind_of_frame_can_be_lost),
    TEST(damaged_files_cost_what_is_not_there),
    TEST(exchanged_and_doubled_files_cost_nothing),
    TEST(other_logs_files_are_told_and_not_copied),
    TEST(a_lost_meta_file_costs_nothing),
    TEST(the_host_can_say_which_log_it_is),
    TEST(unproven_times_are_copied_only_when_asked_for),
    TEST(torn_batches_are_copied_only_when_asked_for),
    TEST(a_log_that_begins_later_stays_so),
    TEST(records_from_before_a_cut_do_not_come_back),
    TEST(leftovers_behind_the_end_fill_no_gap),
    TEST(a_torn_tail_is_cut_where_opening_cuts),
    TEST(what_was_given_up_with_accepted_damage_stays_so),
    TEST(random_damage_invents_nothing),
    TEST(hostile_files_get_an_answer),
    TEST(evidence_holds_the_damaged_bytes),
    TEST(a_copy_can_be_salvaged_again),
    TEST(what_cannot_be_salvaged_is_refused_by_name),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
