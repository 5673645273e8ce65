/* SPDX-License-Identifier: MIT
 *
 * The policy is numbers in, decisions out, so it is tested by numbers: the
 * promised bounds as a table, and random runs of a model of appends and syncs
 * that obeys the policy to the letter and looks at what a power loss would
 * take at each moment (I5).
 */
#include "policy.h"
#include "unit.h"

enum { MS = 1000 * 1000 };

static struct policy made(uint64_t records, uint64_t bytes, uint32_t ms,
                          bool pagecache) {
  struct policy p;
  assert_true(
      policy_make(&p, &(duralog_durability){.sync_every_records = records,
                                            .sync_every_bytes = bytes,
                                            .sync_interval_ms = ms,
                                            .pagecache = pagecache}));
  return p;
}

/* ---- making one ---- */

static void contradictions_are_refused(void **state) {
  (void)state;
  static const struct {
    duralog_durability given;
    bool allowed;
  } cases[] = {{{0, 0, 0, false}, true},  {{0, 0, 0, true}, true},
               {{1, 0, 0, true}, false},  {{0, 1, 0, true}, false},
               {{0, 0, 10, true}, false}, {{5, 7, 11, true}, false},
               {{0, 0, 9, false}, false}, {{0, 0, 1, false}, false},
               {{3, 0, 9, false}, false}, {{0, 0, 10, false}, true},
               {{5, 7, 11, false}, true}, {{0, 0, UINT32_MAX, false}, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct policy p;
    UNIT_CHECK(policy_make(&p, &cases[i].given) == cases[i].allowed, "case %zu",
               i);
  }
}

static void all_zero_is_every_record(void **state) {
  (void)state;
  struct policy p = made(0, 0, 0, false), one = made(1, 0, 0, false);
  assert_true(policy_durable_each(&p));
  assert_false(policy_idle(&p));
  assert_true(p.records == one.records && p.bytes == one.bytes &&
              p.interval_ns == one.interval_ns);
}

static void pagecache_never_asks_for_anything(void **state) {
  (void)state;
  struct policy p = made(0, 0, 0, true);
  assert_true(policy_idle(&p));
  assert_false(policy_durable_each(&p));
  struct policy_state s = {
      .end = 1000000, .end_bytes = UINT64_C(1) << 40, .now_ns = UINT64_MAX - 1};
  struct policy_floor f = policy_floor(&p, &s);
  assert_true(f.offset == 0 && f.bytes == 0);
  assert_true(policy_deadline(&p, &s) == NONE);
}

static void modes_are_told_apart(void **state) {
  (void)state;
  static const struct {
    uint64_t records, bytes;
    uint32_t ms;
    bool each;
  } cases[] = {{1, 0, 0, true},    {2, 0, 0, false},  {0, 1, 0, true},
               {0, 2, 0, false},   {0, 0, 10, false}, {1, 0, 10, true},
               {5, 100, 10, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct policy p =
        made(cases[i].records, cases[i].bytes, cases[i].ms, false);
    assert_int_equal(policy_durable_each(&p), cases[i].each);
    assert_false(policy_idle(&p));
  }
}

/* ---- the floor ---- */

static void i5_the_floor_is_the_promised_bound(void **state) {
  (void)state;
  static const struct {
    uint64_t records, bytes;
    uint32_t ms;
    uint64_t end, durable, end_bytes;
    uint64_t age_ms;
    uint64_t offset, byte_floor; /* expected */
  } cases[] = {/* N = 1: nothing may be missing; N: up to N - 1 */
               {1, 0, 0, 10, 0, 999, 0, 10, 0},
               {2, 0, 0, 10, 0, 999, 0, 9, 0},
               {10, 0, 0, 10, 0, 999, 0, 1, 0},
               {11, 0, 0, 10, 0, 999, 0, 0, 0},
               {1000, 0, 0, 10, 0, 999, 0, 0, 0},
               /* B: fewer than B */
               {0, 1, 0, 10, 0, 999, 0, 0, 999},
               {0, 100, 0, 10, 0, 999, 0, 0, 900},
               {0, 999, 0, 10, 0, 999, 0, 0, 1},
               {0, 1000, 0, 10, 0, 999, 0, 0, 0},
               /* T: nothing, until the oldest is older than T */
               {0, 0, 50, 10, 4, 999, 0, 0, 0},
               {0, 0, 50, 10, 4, 999, 50, 0, 0},
               {0, 0, 50, 10, 4, 999, 51, 5, 0},
               {0, 0, 50, 10, 10, 999, 5000, 0, 0}, /* all is durable */
               /* whichever comes first */
               {3, 200, 50, 10, 0, 999, 0, 8, 800},
               {3, 200, 50, 10, 8, 999, 51, 9, 800},
               {100, 200, 50, 10, 8, 999, 51, 9, 800}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct policy p =
        made(cases[i].records, cases[i].bytes, cases[i].ms, false);
    struct policy_state s = {.end = cases[i].end,
                             .durable = cases[i].durable,
                             .end_bytes = cases[i].end_bytes,
                             .oldest_ns = 77 * MS,
                             .now_ns = (77 + cases[i].age_ms) * MS};
    struct policy_floor f = policy_floor(&p, &s);
    UNIT_CHECK(f.offset == cases[i].offset && f.bytes == cases[i].byte_floor,
               "case %zu: floor %llu, %llu bytes", i,
               (unsigned long long)f.offset, (unsigned long long)f.bytes);
  }
}

static void a_clock_that_lags_is_not_an_old_record(void **state) {
  (void)state;
  struct policy p = made(0, 0, 10, false);
  struct policy_state s = {
      .end = 5, .durable = 1, .oldest_ns = 1000 * MS, .now_ns = 990 * MS};
  assert_true(policy_floor(&p, &s).offset == 0);
}

/* ---- the deadline ---- */

static void the_deadline_is_at_once_when_a_bound_is_reached(void **state) {
  (void)state;
  static const struct {
    uint64_t records, bytes;
    uint64_t unsynced, unsynced_bytes;
    uint64_t deadline;
  } cases[] = {
      {5, 0, 4, 400, NONE},   {5, 0, 5, 500, 0},   {5, 0, 50, 5000, 0},
      {0, 500, 4, 499, NONE}, {0, 500, 4, 500, 0}, {5, 500, 4, 600, 0},
      {5, 500, 4, 400, NONE}, {1, 0, 1, 100, 0},   {5, 500, 0, 0, NONE}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct policy p = made(cases[i].records, cases[i].bytes, 0, false);
    struct policy_state s = {.end = 100 + cases[i].unsynced,
                             .durable = 100,
                             .end_bytes = 10000 + cases[i].unsynced_bytes,
                             .durable_bytes = 10000};
    UNIT_CHECK(policy_deadline(&p, &s) == cases[i].deadline, "case %zu", i);
  }
}

static void the_deadline_leaves_time_for_the_sync(void **state) {
  (void)state;
  for (uint32_t ms = 10; ms < 3000; ms += 7)
    for (uint64_t sync = 0; sync < 100 * MS; sync += 3 * MS) {
      struct policy p = made(0, 0, ms, false);
      struct policy_state s = {.end = 2,
                               .durable = 1,
                               .oldest_ns = UINT64_C(5000) * MS,
                               .now_ns = UINT64_C(5000) * MS,
                               .sync_ns = sync};
      uint64_t bound = s.oldest_ns + (uint64_t)ms * MS;
      uint64_t deadline = policy_deadline(&p, &s);
      UNIT_CHECK(deadline > s.oldest_ns && deadline < bound, "T %u", ms);
      bool room = (uint64_t)ms * MS / 2 >= 2 * sync + 10 * MS;
      if (room) UNIT_CHECK(deadline + sync <= bound, "T %u", ms);
      UNIT_CHECK(bound - deadline <= (uint64_t)ms * MS / 2, "T %u", ms);
    }
}

static void nothing_unsynced_has_no_deadline(void **state) {
  (void)state;
  struct policy p = made(1, 1, 10, false);
  struct policy_state s = {
      .end = 5, .durable = 5, .end_bytes = 100, .now_ns = 10000 * (uint64_t)MS};
  assert_true(policy_deadline(&p, &s) == NONE);
}

/* I32: the policy sees differences of one monotonic clock. Where that stands,
 * and whatever the wall clock does, changes no decision. */
static void i32_only_differences_of_times_count(void **state) {
  (void)state;
  uint64_t random = 5;
  for (int i = 0; i < 20000; i++) {
    struct policy p =
        made(1 + random_below(&random, 5), random_below(&random, 500),
             10 + (uint32_t)random_below(&random, 100), false);
    struct policy_state s = {.durable = random_below(&random, 10),
                             .durable_bytes = random_below(&random, 1000),
                             .oldest_ns = random_below(&random, 1000) * MS,
                             .sync_ns = random_below(&random, 50) * MS};
    s.end = s.durable + random_below(&random, 10);
    s.end_bytes = s.durable_bytes + random_below(&random, 1000);
    s.now_ns = s.oldest_ns + random_below(&random, 200) * MS;
    struct policy_state later = s;
    uint64_t shift = random_next(&random) >> 2;
    later.oldest_ns += shift;
    later.now_ns += shift;
    struct policy_floor a = policy_floor(&p, &s), b = policy_floor(&p, &later);
    assert_true(a.offset == b.offset && a.bytes == b.bytes);
    uint64_t x = policy_deadline(&p, &s), y = policy_deadline(&p, &later);
    assert_true(x == 0 || x == NONE ? x == y : x + shift == y);
  }
}

/* ---- random runs ---- */

enum { RECORDS_MAX = 400 };

/* A log in numbers. An append that may not return yet makes a sync. */
struct model {
  struct policy policy;
  uint64_t records, bytes, interval_ns; /* the mode; 0 = no bound */
  uint64_t now, end, end_bytes, durable, durable_bytes;
  uint64_t appended_at[RECORDS_MAX], bytes_at[RECORDS_MAX + 1];
  uint64_t returned; /* end of the newest append that has returned */
};

static struct policy_state model_state(const struct model *m) {
  return (struct policy_state){
      .end = m->end,
      .durable = m->durable,
      .end_bytes = m->end_bytes,
      .durable_bytes = m->durable_bytes,
      .oldest_ns = m->durable < m->end ? m->appended_at[m->durable] : m->now,
      .now_ns = m->now};
}

static void model_sync(struct model *m) {
  m->durable = m->end;
  m->durable_bytes = m->end_bytes;
}

static bool model_may_return(const struct model *m) {
  struct policy_state s = model_state(m);
  struct policy_floor f = policy_floor(&m->policy, &s);
  return m->durable >= f.offset && m->durable_bytes >= f.bytes;
}

/* What a power loss would take now from those who were told "success". */
static void model_check(const struct model *m, uint64_t seed) {
  uint64_t lost = m->returned > m->durable ? m->returned - m->durable : 0;
  uint64_t lost_bytes =
      lost ? m->bytes_at[m->returned] - m->bytes_at[m->durable] : 0;
  if (m->records)
    UNIT_CHECK(lost <= m->records - 1, "UNIT_SEED=%llu lost %llu of N %llu",
               (unsigned long long)seed, (unsigned long long)lost,
               (unsigned long long)m->records);
  if (m->bytes)
    UNIT_CHECK(lost_bytes < m->bytes, "UNIT_SEED=%llu lost %llu bytes",
               (unsigned long long)seed, (unsigned long long)lost_bytes);
}

static void model_append(struct model *m, uint64_t count, uint64_t size,
                         uint64_t seed) {
  for (uint64_t i = 0; i < count; i++) {
    m->appended_at[m->end++] = m->now;
    m->end_bytes += size;
    m->bytes_at[m->end] = m->end_bytes;
  }
  if (!model_may_return(m)) model_sync(m);
  assert_true(model_may_return(m)); /* a sync always satisfies it */
  m->returned = m->end;
  if (m->interval_ns && m->durable < m->end)
    UNIT_CHECK(m->now - m->appended_at[m->durable] <= m->interval_ns,
               "UNIT_SEED=%llu returned with an unsynced record older than T",
               (unsigned long long)seed);
  model_check(m, seed);
}

static void model_run(uint64_t seed) {
  static struct model m;
  uint64_t random = seed;
  uint64_t n = random_below(&random, 3) ? random_below(&random, 12) : 0;
  uint64_t b = random_below(&random, 3) ? random_below(&random, 3000) : 0;
  uint32_t t =
      random_below(&random, 3) ? 10 + (uint32_t)random_below(&random, 90) : 0;
  m = (struct model){.policy = made(n, b, t, false),
                     .records = n || b || t ? n : 1,
                     .bytes = b,
                     .interval_ns = (uint64_t)t * MS,
                     .now = random_below(&random, 1000) * MS};
  while (m.end + 20 < RECORDS_MAX) {
    m.now += random_below(&random, 8) * MS;
    struct policy_state s = model_state(&m);
    uint64_t deadline = policy_deadline(&m.policy, &s);
    /* The background is sometimes there and sometimes late. */
    if (deadline <= m.now && random_below(&random, 2)) model_sync(&m);
    uint64_t batch =
        random_below(&random, 4) ? 1 : 1 + random_below(&random, 19);
    model_append(&m, batch, 24 + random_below(&random, 200), seed);
  }
}

static void i5_no_run_loses_more_than_its_mode_allows(void **state) {
  (void)state;
  unit_seeds(3000, model_run);
}

/* ---- a policy of the host's own ---- */

static void an_age_is_rounded_up_and_never_negative(void **state) {
  (void)state;
  struct policy_state s = {.end = 2, .durable = 1, .oldest_ns = 10 * MS};
  s.now_ns = 9 * MS; /* the clocks are not the same */
  assert_int_equal(policy_age_ms(&s), 0);
  s.now_ns = 10 * MS + 1;
  assert_int_equal(policy_age_ms(&s), 1);
  s.now_ns = 30 * MS;
  assert_int_equal(policy_age_ms(&s), 20);
  s.durable = 2;
  assert_int_equal(policy_age_ms(&s), 0);
}

static void the_host_is_asked_again_by_age(void **state) {
  (void)state;
  struct policy_state s = {.end = 2, .durable = 1, .oldest_ns = 1000 * MS};
  /* Not asked since the record came; asked when it was 40 ms, 160 ms and an
   * hour old. */
  assert_int_equal(policy_ask_at(&s, 0), 1010 * MS);
  assert_int_equal(policy_ask_at(&s, 1040 * MS), 1050 * MS);
  assert_int_equal(policy_ask_at(&s, 1160 * MS), 1180 * MS);
  uint64_t hour = (uint64_t)3600 * 1000 * MS;
  assert_int_equal(policy_ask_at(&s, 1000 * MS + hour), 2000 * MS + hour);
  s.durable = 2;
  assert_int_equal(policy_ask_at(&s, 0), NONE);
}

/* With a background that keeps its deadlines, appends seldom wait for T. */
static void kept_deadlines_keep_appends_from_waiting(void **state) {
  (void)state;
  static struct model m;
  m = (struct model){.policy = made(0, 0, 50, false), .interval_ns = 50 * MS};
  while (m.end + 1 < RECORDS_MAX) {
    m.now += 4 * MS;
    struct policy_state s = model_state(&m);
    if (policy_deadline(&m.policy, &s) <= m.now) model_sync(&m);
    m.appended_at[m.end++] = m.now;
    assert_true(model_may_return(&m));
  }
  assert_true(m.durable > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(contradictions_are_refused),
      cmocka_unit_test(all_zero_is_every_record),
      cmocka_unit_test(pagecache_never_asks_for_anything),
      cmocka_unit_test(modes_are_told_apart),
      cmocka_unit_test(i5_the_floor_is_the_promised_bound),
      cmocka_unit_test(a_clock_that_lags_is_not_an_old_record),
      cmocka_unit_test(the_deadline_is_at_once_when_a_bound_is_reached),
      cmocka_unit_test(the_deadline_leaves_time_for_the_sync),
      cmocka_unit_test(nothing_unsynced_has_no_deadline),
      cmocka_unit_test(i32_only_differences_of_times_count),
      cmocka_unit_test(i5_no_run_loses_more_than_its_mode_allows),
      cmocka_unit_test(kept_deadlines_keep_appends_from_waiting),
      cmocka_unit_test(an_age_is_rounded_up_and_never_negative),
      cmocka_unit_test(the_host_is_asked_again_by_age),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
