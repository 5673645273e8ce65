/* SPDX-License-Identifier: MIT
 *
 * A policy of the host's own, on the simulated disk and a virtual clock: when
 * it is asked, with which numbers, and what its answer does. With threads:
 * tests/api/test_sync_wanted.c.
 */
#include "format.h"
#include "support_sim.h"
#include "unit.h"

#define DIRECTORY "/log"

/* A host's policy that answers `answer`, or by age, and remembers. */
struct host {
  struct sim *sim;
  duralog *log;
  bool answer;
  uint64_t oldest_ms; /* wants a sync from this age on; 0: not by that */
  uint64_t asked;
  duralog_unsynced last;
};

static bool ask_host(void *context, const duralog_unsynced *u) {
  struct host *h = context;
  h->asked++;
  h->last = *u;
  return h->answer || (h->oldest_ms && u->oldest_ms >= h->oldest_ms);
}

static void host_open(struct host *h, duralog_durability mode) {
  duralog_options o = {.struct_size = sizeof o,
                       .durability = mode,
                       .segment_bytes = SEGMENT_BYTES_MIN,
                       .host_driven = true,
                       .sync_wanted = ask_host,
                       .sync_wanted_context = h,
                       .environment = sim_environment(h->sim)};
  assert_int_equal(duralog_open(DIRECTORY, &o, &h->log, NULL, NULL),
                   DURALOG_OK);
}

/* With an epoch begun and all durable, so that nothing but what the test does
 * is to be seen. */
static void host_begin(struct host *h, duralog_durability mode) {
  *h = (struct host){.sim = world_new()};
  host_open(h, mode);
  assert_int_equal(duralog_append(h->log, "x", 1, NULL), DURALOG_OK);
  assert_int_equal(duralog_sync(h->log), DURALOG_OK);
  h->asked = 0;
}

static void host_end(struct host *h) {
  assert_int_equal(duralog_close(&h->log), DURALOG_OK);
  sim_free(h->sim);
}

static duralog_watermarks watermarks(const struct host *h) {
  duralog_watermarks w = {.struct_size = sizeof w};
  assert_int_equal(duralog_get_watermarks(h->log, &w), DURALOG_OK);
  return w;
}

static uint64_t unsynced(const struct host *h) {
  duralog_watermarks w = watermarks(h);
  return w.end - w.durable;
}

static int64_t deadline(const struct host *h) {
  int64_t in_ms = 0;
  assert_int_equal(duralog_next_deadline(h->log, &in_ms), DURALOG_OK);
  return in_ms;
}

static void append(struct host *h, size_t count, duralog_level level) {
  duralog_entry entries[8];
  for (size_t i = 0; i < count; i++)
    entries[i] = (duralog_entry){.data = "12345", .size = 5};
  assert_int_equal(duralog_append_batch(h->log, entries, count, level, NULL),
                   DURALOG_OK);
}

static void tick(struct host *h) {
  assert_int_equal(duralog_tick(h->log), DURALOG_OK);
}

static const duralog_durability pagecache = {.pagecache = true};
static const duralog_durability lax[] = {
    {.pagecache = true},
    {.sync_every_records = 1000},
    {.sync_every_bytes = 1 << 20},
    {.sync_interval_ms = 60 * 1000},
};

/* ---- what it is told ---- */

static void it_is_told_records_bytes_and_age(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  append(&h, 1, DURALOG_LEVEL_DEFAULT);
  assert_int_equal(h.asked, 1);
  assert_int_equal(h.last.struct_size, sizeof h.last);
  assert_int_equal(h.last.records, 1);
  assert_int_equal(h.last.bytes, 24 + 8);
  assert_int_equal(h.last.oldest_ms, 0);
  sim_advance(h.sim, 30 * NS_PER_MS);
  append(&h, 3, DURALOG_LEVEL_WRITTEN);
  assert_int_equal(h.asked, 2); /* once a batch */
  assert_int_equal(h.last.records, 4);
  assert_int_equal(h.last.bytes, 4 * (24 + 8));
  assert_int_equal(h.last.oldest_ms, 30);
  assert_int_equal(duralog_sync(h.log), DURALOG_OK);
  sim_advance(h.sim, 30 * NS_PER_MS);
  append(&h, 2, DURALOG_LEVEL_DEFAULT);
  assert_int_equal(h.last.records, 2);
  assert_int_equal(h.last.bytes, 2 * (24 + 8));
  assert_int_equal(h.last.oldest_ms, 0);
  host_end(&h);
}

static void its_age_is_the_one_in_the_watermarks(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  for (uint64_t i = 1; i < 20; i++) {
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    assert_int_equal(h.last.oldest_ms, watermarks(&h).oldest_unsynced_ms);
    sim_advance(h.sim, i * NS_PER_MS);
  }
  host_end(&h);
}

/* ---- when it is asked ---- */

static void it_is_not_asked_where_nothing_is_unsynced(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(deadline(&h), i ? -1 : 0); /* preparing, at first */
    tick(&h);
    sim_advance(h.sim, 5000 * NS_PER_MS);
  }
  append(&h, 1, DURALOG_LEVEL_DURABLE); /* waits for its sync anyway */
  assert_int_equal(h.asked, 0);
  host_end(&h);
}

static void it_is_never_asked_where_each_append_waits(void **state) {
  (void)state;
  static const duralog_durability each[] = {{.sync_every_records = 0},
                                            {.sync_every_records = 1},
                                            {.sync_every_bytes = 1}};
  for (size_t m = 0; m < COUNT_OF(each); m++) {
    struct host h;
    host_begin(&h, each[m]);
    append(&h, 2, DURALOG_LEVEL_DEFAULT);
    append(&h, 2, DURALOG_LEVEL_WRITTEN);
    tick(&h);
    assert_int_equal(h.asked, 0);
    host_end(&h);
  }
}

static void every_tick_asks_while_something_is_unsynced(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  tick(&h); /* prepares, which takes time */
  append(&h, 1, DURALOG_LEVEL_DEFAULT);
  for (uint64_t i = 0; i < 5; i++) {
    sim_advance(h.sim, 7 * NS_PER_MS);
    tick(&h);
    assert_int_equal(h.asked, 2 + i);
    assert_int_equal(h.last.oldest_ms, 7 * (i + 1));
  }
  host_end(&h);
}

/* As often as the age has grown by an eighth, and an idle process is woken once
 * a second. */
static void it_is_asked_as_time_passes(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  tick(&h);
  append(&h, 1, DURALOG_LEVEL_DEFAULT);
  uint64_t began = sim_now(h.sim), questions = 0;
  for (; sim_now(h.sim) - began < 60000 * NS_PER_MS; questions++) {
    uint64_t age_ms = (sim_now(h.sim) - began) / NS_PER_MS, asked = h.asked;
    int64_t in_ms = deadline(&h);
    assert_true(in_ms > 0 && in_ms <= 1000);
    assert_true((uint64_t)in_ms <= 11 + age_ms / 8);
    sim_advance(h.sim, (uint64_t)(in_ms - 1) * NS_PER_MS);
    assert_int_equal(deadline(&h), 1); /* not before */
    sim_advance(h.sim, NS_PER_MS);
    assert_int_equal(deadline(&h), 0);
    tick(&h);
    assert_int_equal(h.asked, asked + 1);
  }
  assert_true(questions < 150);
  host_end(&h);
}

/* ---- what its answer does ---- */

static void a_wanted_sync_comes_with_the_next_tick(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT_OF(lax); m++) {
    struct host h;
    host_begin(&h, lax[m]);
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    assert_true(deadline(&h) > 0 || h.asked == 1);
    h.answer = true;
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    assert_int_equal(unsynced(&h), 2); /* the append did not wait */
    assert_int_equal(deadline(&h), 0);
    h.answer = false; /* it was wanted all the same */
    tick(&h);
    assert_int_equal(unsynced(&h), 0);
    append(&h, 1, DURALOG_LEVEL_WRITTEN); /* and once */
    tick(&h);
    assert_int_equal(unsynced(&h), 1);
    host_end(&h);
  }
}

static void an_age_is_met_without_another_append(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT_OF(lax); m++) {
    struct host h;
    host_begin(&h, lax[m]);
    tick(&h);
    h.oldest_ms = 400;
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    uint64_t began = sim_now(h.sim);
    while (unsynced(&h)) {
      int64_t in_ms = deadline(&h);
      assert_true(in_ms >= 0);
      sim_advance(h.sim, (uint64_t)in_ms * NS_PER_MS);
      tick(&h);
    }
    uint64_t age_ms = (sim_now(h.sim) - began) / NS_PER_MS;
    assert_true(age_ms >= 400 && age_ms <= 400 + 400 / 8 + 10);
    host_end(&h);
  }
}

static void it_cannot_make_syncs_later(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, (duralog_durability){.sync_every_records = 4});
  for (int i = 0; i < 40; i++) {
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    assert_true(unsynced(&h) <= 3);
  }
  assert_true(h.asked > 0);
  host_end(&h);
  host_begin(&h, (duralog_durability){.sync_every_bytes = 100});
  for (int i = 0; i < 40; i++) {
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    assert_true(unsynced(&h) * 32 < 100);
  }
  host_end(&h);
  host_begin(&h, (duralog_durability){.sync_interval_ms = 50});
  for (int i = 0; i < 40; i++) {
    append(&h, 1, DURALOG_LEVEL_DEFAULT);
    assert_true(deadline(&h) <= 50);
    sim_advance(h.sim, 50 * NS_PER_MS);
    tick(&h);
    assert_int_equal(unsynced(&h), 0);
  }
  host_end(&h);
}

/* What was recovered and is not known durable is unsynced, too. */
static void recovered_records_are_asked_about(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  append(&h, 5, DURALOG_LEVEL_DEFAULT);
  sim_kill(h.sim);
  host_open(&h, pagecache);
  assert_true(unsynced(&h) >= 5);
  h.asked = 0;
  h.answer = true;
  sim_advance(h.sim, 20 * NS_PER_MS);
  tick(&h);
  assert_int_equal(h.asked, 1);
  assert_true(h.last.records >= 5);
  assert_int_equal(h.last.bytes, 0);
  assert_int_equal(unsynced(&h), 0);
  host_end(&h);
}

/* ---- a log that is no more ---- */

static void after_a_failed_sync_its_wishes_change_nothing(void **state) {
  (void)state;
  struct host h;
  host_begin(&h, pagecache);
  append(&h, 1, DURALOG_LEVEL_DEFAULT);
  h.answer = true;
  append(&h, 1, DURALOG_LEVEL_DEFAULT);
  sim_fail_sync(h.sim, 1, false);
  assert_int_equal(duralog_tick(h.log), DURALOG_E_POISONED);
  uint64_t asked = h.asked;
  assert_int_equal(duralog_tick(h.log), DURALOG_E_POISONED);
  assert_int_equal(deadline(&h), -1);
  assert_int_equal(h.asked, asked);
  assert_int_equal(unsynced(&h), 2);
  assert_int_equal(duralog_close(&h.log), DURALOG_E_POISONED);
  sim_free(h.sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_told_records_bytes_and_age),
      cmocka_unit_test(its_age_is_the_one_in_the_watermarks),
      cmocka_unit_test(it_is_not_asked_where_nothing_is_unsynced),
      cmocka_unit_test(it_is_never_asked_where_each_append_waits),
      cmocka_unit_test(every_tick_asks_while_something_is_unsynced),
      cmocka_unit_test(it_is_asked_as_time_passes),
      cmocka_unit_test(a_wanted_sync_comes_with_the_next_tick),
      cmocka_unit_test(an_age_is_met_without_another_append),
      cmocka_unit_test(it_cannot_make_syncs_later),
      cmocka_unit_test(recovered_records_are_asked_about),
      cmocka_unit_test(after_a_failed_sync_its_wishes_change_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
