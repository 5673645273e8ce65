/* SPDX-License-Identifier: MIT
 *
 * Finding by time amid damage: what can be read elsewhere is found.
 */
#include <signal.h>
#include <unistd.h>

#include "time_model.h"

/* ---- damage ---- */

static void lose_segment(struct model *m, const struct test_frames *f,
                         uint64_t segment, uint64_t from) {
  for (size_t i = 0; i < f->count; i++)
    if (f->list[i].segment == segment && f->list[i].offset != UINT64_MAX &&
        f->list[i].offset >= from)
      m->lost[f->list[i].offset] = true;
}

static void check_damaged(const struct test_place *at, struct model *m) {
  for (int read_only = 1; read_only >= 0; read_only--) {
    duralog *log = reopen(at, read_only);
    check_all(log, m);
    check_all(log, m); /* once more, with what it has learned */
    close_log(log);
  }
}

/* Damage block `block` of segment 3; all of its records are lost, or none. */
static void with_block_damaged(struct test_place *at, uint64_t block,
                               bool loses) {
  for (enum kind kind = RISING; kind < KINDS; kind++) {
    struct model *m = make_log(at, kind);
    struct test_frames f = frames_load(at->path);
    file_zero(segment_path(at->path, 3), block, BLOCK_BYTES);
    if (loses) lose_segment(m, &f, 3, 0);
    check_damaged(at, m);
    frames_free(&f);
    directory_remove(at->path);
    free(m);
  }
}

static void a_damaged_seal_hides_nothing(struct test_place *at) {
  with_block_damaged(at, SEAL_BLOCK, false);
}

static void a_damaged_start_block_hides_its_segment_alone(
    struct test_place *at) {
  with_block_damaged(at, START_BLOCK, true);
}

static void a_damaged_identity_hides_its_segment_alone(struct test_place *at) {
  with_block_damaged(at, 0, true);
}

static void a_missing_file_hides_its_segment_alone(struct test_place *at) {
  struct model *m = make_log(at, EXTREME);
  struct test_frames f = frames_load(at->path);
  lose_segment(m, &f, 3, 0);
  CHECK_CALL(unlink(segment_path(at->path, 3)));
  duralog *log = reopen(at, true);
  check_all(log, m);
  check_all(log, m);
  close_log(log);
  frames_free(&f);
  free(m);
}

static void a_file_that_vanishes_hides_its_segment_alone(
    struct test_place *at) {
  struct model *m = make_log(at, SHUFFLED);
  struct test_frames f = frames_load(at->path);
  duralog *log = reopen(at, true);
  lose_segment(m, &f, 3, 0);
  CHECK_CALL(unlink(segment_path(at->path, 3)));
  check_all(log, m);
  close_log(log);
  frames_free(&f);
  free(m);
}

static const struct test_frame *middle_of(const struct test_frames *f,
                                          uint64_t segment) {
  const struct test_frame *found = NULL;
  int seen = 0;
  for (size_t i = 0; i < f->count; i++)
    if (f->list[i].segment == segment && f->list[i].offset != UINT64_MAX &&
        f->list[i].bytes > RECORD_HEADER + 12 && seen++ < 30)
      found = &f->list[i];
  CHECK(found != NULL);
  return found;
}

static void behind_a_damaged_header_the_next_segment_is_searched(
    struct test_place *at) {
  for (enum kind kind = RISING; kind < KINDS; kind++) {
    struct model *m = make_log(at, kind);
    struct test_frames f = frames_load(at->path);
    const struct test_frame *hurt = middle_of(&f, 3);
    file_flip(segment_path(at->path, 3), hurt->position + 5);
    lose_segment(m, &f, 3, hurt->offset);
    /* The largest of all lies there: each search comes by. */
    for (int read_only = 1; read_only >= 0; read_only--) {
      duralog *log = reopen(at, read_only);
      check_times(log, m);
      check_times(log, m);
      close_log(log);
    }
    frames_free(&f);
    directory_remove(at->path);
    free(m);
  }
}

static bool is_far(const struct model *m, int64_t time) {
  return time < m->now - INT64_C(24) * DAY_MS ||
         time > m->now + INT64_C(24) * DAY_MS;
}

/* Every third record of segment 3 is damaged in its data. Where the header has
 * the timestamp it is proven; where it lies in the body it is not. */
static void a_damaged_record_is_found_if_its_time_is_proven(
    struct test_place *at) {
  for (enum kind kind = RISING; kind < KINDS; kind++) {
    struct model *m = make_log(at, kind);
    struct test_frames f = frames_load(at->path);
    for (size_t i = 0; i < f.count; i += 3) {
      const struct test_frame *t = &f.list[i];
      if (t->segment != 3 || t->offset == UINT64_MAX ||
          t->bytes == RECORD_HEADER)
        continue;
      /* In what may be the timestamp: it claims another one. */
      file_flip(segment_path(at->path, 3),
                t->position + RECORD_HEADER + (t->bytes > 31 ? i % 8 : 0));
      m->lost[t->offset] = is_far(m, m->times[t->offset]);
    }
    for (int again = 0; again < 2; again++) {
      duralog *log = reopen(at, true);
      check_times(log, m);
      close_log(log);
    }
    frames_free(&f);
    directory_remove(at->path);
    free(m);
  }
}

/* Only copying reads: a mapping of a file that was cut is a signal. */
static void a_file_cut_under_an_open_log_hides_what_is_gone(
    struct test_place *at) {
  at->copying = true;
  struct model *m = make_log(at, RISING);
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = middle_of(&f, 3);
  duralog *log = reopen(at, true);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_seek_time(reader, INT64_MAX)); /* all is learned */
  file_cut(segment_path(at->path, 3), hurt->position + 10);
  lose_segment(m, &f, 3, hurt->offset);
  for (uint64_t i = 0; i < m->count; i++)
    check_time(reader, m, m->times[i], m->count);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  frames_free(&f);
  free(m);
}

/* The damage lies in the last segment, which is not sealed. */
static void a_log_goes_on_behind_accepted_damage(struct test_place *at) {
  for (enum kind kind = RISING; kind < KINDS; kind++) {
    struct model *m = make_log(at, kind);
    struct test_frames f = frames_load(at->path);
    duralog *log = reopen(at, true);
    uint64_t last = segment_count(log), count = m->count;
    close_log(log);
    const struct test_frame *hurt = frame_of(&f, count - 5);
    if (hurt->segment != last) hurt = frame_of(&f, count - 1);
    file_zero(segment_path(at->path, last), hurt->position, 8);
    lose_segment(m, &f, last, hurt->offset);
    duralog_options o = options_of(at);
    o.accept_damage = true;
    log = open_with(at->path, &o);
    CHECK_EQUAL(watermarks_of(log).end, count);
    check_times(log, m);
    if (kind != OWN_CLOCK) fill(log, m, 300);
    check_all(log, m);
    close_log(log);
    check_damaged(at, m);
    frames_free(&f);
    directory_remove(at->path);
    free(m);
  }
}

/* The last batch is the latest of all. */
static void die_after_a_batch(void *context) {
  enum { BATCH = 5 };
  struct victim *v = context;
  duralog_options o = options_of(v->at);
  o.host_driven = true;
  duralog *log = open_with(v->at->path, &o);
  fill(log, &v->model, 600);
  CHECK_OK(duralog_sync(log));
  duralog_entry batch[BATCH] = {{0}};
  for (int i = 0; i < BATCH; i++)
    batch[i] = (duralog_entry){.data = "late",
                               .size = 4,
                               .has_timestamp = true,
                               .timestamp_ms = v->model.now + 2 * DAY_MS + i};
  CHECK_OK(
      duralog_append_batch(log, batch, BATCH, DURALOG_LEVEL_WRITTEN, NULL));
  kill(getpid(), SIGKILL);
}

/* What stands in an older segment behind the accepted offset is no part of the
 * log: here the whole frames of a batch that is torn. */
static void what_an_accepted_damage_cut_off_is_not_found(
    struct test_place *at) {
  struct victim *v = shared_memory(sizeof *v);
  struct model *m = model_new(SHUFFLED);
  *v = (struct victim){.at = at, .model = *m};
  CHECK_EQUAL(child_end(child_start(die_after_a_batch, v)), 256 + SIGKILL);
  *m = v->model;
  struct test_frames f = frames_load(at->path);
  const struct test_frame *hurt = frame_of(&f, m->count - 300);
  file_flip(segment_path(at->path, hurt->segment), hurt->position + 5);
  lose_segment(m, &f, hurt->segment, hurt->offset);
  const struct test_frame *last = frame_of(&f, m->count + 4);
  file_zero(segment_path(at->path, last->segment), last->position, 24);
  duralog_options o = options_of(at);
  o.accept_damage = true;
  duralog *log = open_with(at->path, &o);
  CHECK_EQUAL(watermarks_of(log).end, m->count);
  memset(m->lost + m->count, 0, sizeof m->lost - m->count);
  fill(log, m, 200);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  check_time(reader, m, m->now + 2 * DAY_MS, m->count);
  CHECK_OK(duralog_reader_close(&reader));
  check_all(log, m);
  close_log(log);
  check_damaged(at, m);
  frames_free(&f);
  free(m);
  shared_memory_free(v, sizeof *v);
}

static const struct test tests[] = {
    TEST_BOTH(a_damaged_seal_hides_nothing),
    TEST_BOTH(a_damaged_start_block_hides_its_segment_alone),
    TEST_BOTH(a_damaged_identity_hides_its_segment_alone),
    TEST_BOTH(a_missing_file_hides_its_segment_alone),
    TEST_BOTH(a_file_that_vanishes_hides_its_segment_alone),
    TEST_BOTH(behind_a_damaged_header_the_next_segment_is_searched),
    TEST_BOTH(a_damaged_record_is_found_if_its_time_is_proven),
    TEST(a_file_cut_under_an_open_log_hides_what_is_gone),
    TEST_BOTH(a_log_goes_on_behind_accepted_damage),
    TEST_BOTH(what_an_accepted_damage_cut_off_is_not_found),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
