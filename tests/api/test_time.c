/* SPDX-License-Identifier: MIT
 *
 * Finding by time where all is whole: in and out of order, equal and extreme,
 * over sealed and unsealed segments, after reopening and killing, beside
 * appends.
 */
#include <signal.h>
#include <unistd.h>

#include "time_model.h"

/* ---- what is whole ---- */

static void the_first_record_from_a_time_on_is_found(struct test_place *at) {
  for (enum kind kind = RISING; kind < KINDS; kind++) {
    struct model *m = model_new(kind);
    duralog *log = reopen(at, false);
    for (int life = 0; life < 3; life++) {
      for (int more = 0; more < 4; more++) {
        fill(log, m, 1 + random_below(&m->random, 200));
        take_times(log, m);
        check_all(log, m);
      }
      close_log(log);
      log = reopen(at, true);
      check_all(log, m);
      close_log(log);
      log = reopen(at, false);
      check_all(log, m);
    }
    close_log(log);
    directory_remove(at->path);
    free(m);
  }
}

static void an_empty_log_has_its_end_at_every_time(struct test_place *at) {
  duralog *log = reopen(at, false);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_segment s = {.struct_size = sizeof s};
  CHECK_EQUAL(sought(reader, INT64_MIN), 0);
  CHECK_EQUAL(sought(reader, INT64_MAX), 0);
  CHECK_OK(duralog_get_segment(log, 0, &s));
  CHECK(!s.has_times && s.time_first_ms == 0 && s.time_max_ms == 0);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

static void after_all_is_the_end_and_the_next_record_follows(
    struct test_place *at) {
  struct model *m = make_log(at, SHUFFLED);
  duralog *log = reopen(at, false);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  uint64_t before = m->count;
  CHECK_EQUAL(sought(reader, INT64_MAX), before);
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_TIMEOUT, duralog_reader_wait(reader, 0));
  fill(log, m, 1);
  CHECK_OK(duralog_reader_wait(reader, -1));
  CHECK_OK(duralog_read_next(reader, &r));
  CHECK_EQUAL(r.offset, before);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
  free(m);
}

static void only_records_below_the_watermark_are_found(struct test_place *at) {
  duralog_options o = options_of(at);
  o.durability = (duralog_durability){.sync_every_records = 1 << 20};
  o.host_driven = true;
  struct model *m = model_new(SHUFFLED);
  duralog *log = open_with(at->path, &o);
  duralog_reader *durable = reader_of(log, DURALOG_LEVEL_DURABLE);
  for (int i = 0; i < 6; i++) {
    CHECK_OK(duralog_sync(log));
    fill(log, m, 150);
    /* Sealing what was finished may have moved it. */
    uint64_t limit = watermarks_of(log).durable;
    CHECK(limit < m->count);
    for (int k = 0; k < PROBES; k++) check_time(durable, m, probe(m), limit);
    check_all(log, m);
  }
  CHECK_OK(duralog_reader_close(&durable));
  close_log(log);
  free(m);
}

/* ---- after a kill: nothing is sealed ---- */

static void fill_and_die(void *context) {
  struct victim *v = context;
  duralog_options o = options_of(v->at);
  o.host_driven = true;
  duralog *log = open_with(v->at->path, &o);
  fill(log, &v->model, 700);
  take_times(log, &v->model);
  kill(getpid(), SIGKILL);
}

static void unsealed_segments_are_searched_after_a_kill(struct test_place *at) {
  struct victim *v = shared_memory(sizeof *v);
  for (enum kind kind = RISING; kind < KINDS; kind++) {
    struct model *m = model_new(kind);
    *v = (struct victim){.at = at, .model = *m};
    free(m);
    CHECK_EQUAL(child_end(child_start(fill_and_die, v)), 256 + SIGKILL);
    duralog_segment s = {.struct_size = sizeof s};
    duralog *log = reopen(at, true);
    CHECK_OK(duralog_get_segment(log, 2, &s));
    CHECK(!s.sealed);
    check_all(log, &v->model);
    close_log(log);
    duralog_options o = options_of(at);
    o.host_driven = true; /* they stay unsealed, and are known by recovery */
    log = open_with(at->path, &o);
    check_all(log, &v->model);
    fill(log, &v->model, 100);
    take_times(log, &v->model);
    check_all(log, &v->model);
    close_log(log);
    directory_remove(at->path);
  }
  shared_memory_free(v, sizeof *v);
}

static void older_segments_that_are_gone_do_not_count(struct test_place *at) {
  struct model *m = make_log(at, EXTREME);
  const char *meta = path_join(at->path, "meta");
  uint64_t first = 4;
  file_write_at(meta, 56, &first, sizeof first);
  block_sign(meta, 0, META_FIELDS);
  for (uint64_t i = 1; i < first; i++)
    CHECK_CALL(unlink(segment_path(at->path, i)));
  for (int read_only = 0; read_only < 2; read_only++) {
    duralog *log = reopen(at, read_only);
    m->kept_from = watermarks_of(log).start;
    CHECK(m->kept_from > 0);
    check_all(log, m);
    close_log(log);
  }
  free(m);
}

/* A writer goes on, rolls and seals: a snapshot knows nothing of that. */
static void a_snapshot_knows_its_own_times_alone(struct test_place *at) {
  struct model *m = model_new(RISING);
  duralog *log = reopen(at, false);
  fill(log, m, 150);
  uint64_t count = m->count;
  CHECK_CALL(unlink(path_join(at->path, "control"))); /* not followed */
  duralog *snapshot = reopen(at, true);
  CHECK_EQUAL(watermarks_of(snapshot).end, count);
  fill(log, m, 600);
  close_log(log);
  m->count = count;
  check_all(snapshot, m);
  close_log(snapshot);
  free(m);
}

static void a_follower_finds_times_that_came_later(struct test_place *at) {
  struct model *m = model_new(RISING);
  duralog *log = reopen(at, false);
  fill(log, m, 150);
  duralog *follower = reopen(at, true);
  check_all(follower, m);
  for (int i = 0; i < 3; i++) {
    fill(log, m, 200);
    check_all(follower, m);
  }
  close_log(log);
  log = reopen(at, false);
  fill(log, m, 200);
  check_all(follower, m);
  close_log(log);
  close_log(follower);
  free(m);
}

/* ---- threads ---- */

struct world {
  duralog *log;
  _Atomic bool stop;
};

/* Record i has the timestamp 10 i: what is found can be computed. */
static void *find_all_the_time(void *context) {
  struct world *w = context;
  uint64_t random = TEST_SEED;
  duralog_reader *reader = reader_of(w->log, DURALOG_LEVEL_WRITTEN);
  while (!atomic_load(&w->stop)) {
    uint64_t before = watermarks_of(w->log).end;
    uint64_t time = random_below(&random, 10 * before + 100);
    uint64_t offset = sought(reader, (int64_t)time);
    uint64_t after = watermarks_of(w->log).end, wanted = (time + 9) / 10;
    CHECK(offset == wanted ||
          (wanted > offset && offset >= before && offset <= after));
  }
  CHECK_OK(duralog_reader_close(&reader));
  return NULL;
}

static void finding_beside_appends_is_exact(struct test_place *at) {
  duralog_options o = options_of(at);
  struct world w = {.log = open_with(at->path, &o)};
  pthread_t finders[2];
  for (int i = 0; i < 2; i++) finders[i] = thread_start(find_all_the_time, &w);
  uint64_t count = SANITIZED ? 4000 : 20000;
  for (uint64_t i = 0; i < count; i++) {
    duralog_entry e = {.data = "some data of a record, which is not long",
                       .size = 40,
                       .has_timestamp = true,
                       .timestamp_ms = (int64_t)(10 * i)};
    CHECK_OK(duralog_append_batch(w.log, &e, 1, DURALOG_LEVEL_DEFAULT, NULL));
  }
  atomic_store(&w.stop, true);
  for (int i = 0; i < 2; i++) thread_join(finders[i]);
  close_log(w.log);
}

static const struct test tests[] = {
    TEST_BOTH(the_first_record_from_a_time_on_is_found),
    TEST(an_empty_log_has_its_end_at_every_time),
    TEST_BOTH(after_all_is_the_end_and_the_next_record_follows),
    TEST_BOTH(only_records_below_the_watermark_are_found),
    TEST_BOTH(unsealed_segments_are_searched_after_a_kill),
    TEST_BOTH(older_segments_that_are_gone_do_not_count),
    TEST_BOTH(a_snapshot_knows_its_own_times_alone),
    TEST_BOTH(a_follower_finds_times_that_came_later),
    TEST_BOTH(finding_beside_appends_is_exact),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
