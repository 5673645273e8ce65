/* SPDX-License-Identifier: MIT
 *
 * Consumers amid other threads, in every order that matters: as
 * test_interleave.c for those who append.
 *
 * What must hold in every schedule, besides what holds for the log: no wake-up
 * is lost; a poll goes on where the last one ended, or the group's member
 * before (I26); a commit that returned is what the group has, and committed
 * offsets only grow (I27); callbacks come in order, each once, on the thread
 * that committed; a durable commit's records are durable (I25); a group has one
 * member. After some schedules, and amid others, the power fails: what is
 * committed then was committed, the last one if it was durable (I24), and all
 * records behind it come (I26).
 */
#include "interleave_run.h"

/* ---- a group's book ---- */

enum { CALLS_MAX = 8 };

static struct book {
  const char *name;
  bool made;          /* opening it has returned */
  int members;        /* that have it now */
  uint64_t position;  /* of its member */
  uint64_t committed; /* what returned last; NONE */
  uint64_t durable;   /* what returned durable last; 0 */
  bool begun[BOOK_MAX + 1];
  uint64_t asked[CALLS_MAX]; /* asynchronous ones */
  bool asked_durable[CALLS_MAX];
  size_t calls, told;
  int thread; /* that asked */
} first, second;

/* The consumer that another thread wakes. It may be closed when that call has
 * returned, so after the threads. */
static duralog_consumer *sleeper;

static void groups_new(void) {
  first = (struct book){.name = "first", .committed = NONE};
  second = (struct book){.name = "second", .committed = NONE};
  sleeper = NULL;
}

static struct world *world_now; /* for callbacks */

static duralog_consumer_options options_of_tests(void) {
  return (duralog_consumer_options){
      .struct_size = sizeof(duralog_consumer_options),
      .read_level = DURALOG_LEVEL_WRITTEN,
      .manual_commit = true,
      .timeout_ms = -1};
}

static duralog_consumer *join_by(struct world *w, struct book *b, duralog *log,
                                 const duralog_consumer_options *o) {
  duralog_consumer *c = NULL;
  world_now = w;
  duralog_error error = duralog_consumer_open(log, b->name, o, &c);
  HOLDS(w, error == DURALOG_OK && c != NULL);
  HOLDS(w, b->members++ == 0);
  b->made = true;
  b->position = b->committed == NONE ? 0 : b->committed;
  return c;
}

static duralog_consumer *join(struct world *w, struct book *b) {
  duralog_consumer_options o = options_of_tests();
  return join_by(w, b, w->log, &o);
}

static void leave(struct world *w, struct book *b, duralog_consumer *c) {
  HOLDS(w, b->told == b->calls || b->thread == threads_current(w->threads));
  b->members--; /* before another can see it */
  HOLDS(w, duralog_consumer_close(&c) == DURALOG_OK && !c);
  HOLDS(w, b->members <= 1);
}

/* One poll that waits; its records are the next ones. */
static duralog_error poll_next(struct world *w, struct book *b,
                               duralog_consumer *c, size_t max) {
  const duralog_record *records;
  size_t count;
  duralog_error error = duralog_poll(c, max, 0, -1, &records, &count);
  if (error) return error;
  HOLDS(w, count > 0 && count <= max);
  for (size_t i = 0; i < count; i++)
    HOLDS(w, records[i].offset == b->position++);
  return DURALOG_OK;
}

static void poll_ok(struct world *w, struct book *b, duralog_consumer *c,
                    size_t count) {
  for (uint64_t end = b->position + count; b->position < end;) {
    duralog_error error = poll_next(w, b, c, (size_t)(end - b->position));
    HOLDS(w, error == DURALOG_OK);
  }
}

/* ---- commits ---- */

static void committed_now(struct world *w, struct book *b, uint64_t offset,
                          bool durable) {
  HOLDS(w, b->committed == NONE || offset >= b->committed); /* I27 */
  b->committed = offset;
  if (!durable) return;
  b->durable = offset;
  promise(w, offset);
}

static void call_returned(struct world *w) {
  if (++w->returns == w->cut_after) threads_leave(w->threads);
}

static void commit_ok(struct world *w, struct book *b, duralog_consumer *c,
                      duralog_level level) {
  duralog_consumer_status s = {.struct_size = sizeof s};
  b->begun[b->position] = true;
  HOLDS(w, duralog_commit(c, DURALOG_POLLED, level, NULL) == DURALOG_OK);
  HOLDS(w, b->told == b->calls); /* what was begun before is done before */
  committed_now(w, b, b->position, level == DURALOG_LEVEL_DURABLE);
  HOLDS(w, duralog_consumer_get(c, &s) == DURALOG_OK);
  HOLDS(w, s.committed == b->committed && s.position == b->position);
  call_returned(w);
}

static void told(void *context, uint64_t offset, duralog_error error) {
  struct world *w = world_now;
  struct book *b = context;
  HOLDS(w, threads_current(w->threads) == b->thread);
  HOLDS(w, b->told < b->calls && offset == b->asked[b->told]);
  HOLDS(w, error == DURALOG_OK);
  committed_now(w, b, offset, b->asked_durable[b->told++]);
}

static void commit_begin(struct world *w, struct book *b, duralog_consumer *c,
                         uint64_t offset, duralog_level level) {
  b->thread = threads_current(w->threads);
  b->begun[offset] = true;
  b->asked_durable[b->calls] = level == DURALOG_LEVEL_DURABLE;
  b->asked[b->calls++] = offset;
  duralog_error error = duralog_commit_async(c, offset, level, NULL, told, b);
  HOLDS(w, error == DURALOG_OK);
}

/* ---- after a schedule ---- */

static void check_group(struct world *w, const struct book *b) {
  duralog_group g = {.struct_size = sizeof g};
  duralog_error error = duralog_describe_group(w->log, b->name, &g);
  HOLDS(w, error == (b->made ? DURALOG_OK : DURALOG_E_NOT_FOUND));
  if (!b->made) return;
  HOLDS(w, g.committed == b->committed && !g.member_alive);
  HOLDS(w, b->told == b->calls && b->members == 0);
}

static void check_groups(struct world *w) {
  if (!w->log) return; /* a scenario that closes it */
  check_group(w, &first);
  check_group(w, &second);
}

/* From where the group goes on to the end nothing is missing. */
static void check_rest(struct world *w, struct book *b, duralog *log) {
  duralog_consumer *c = NULL;
  duralog_consumer_options o = options_of_tests();
  duralog_consumer_status s = {.struct_size = sizeof s};
  const duralog_record *records;
  size_t count;
  o.go_back = true;
  HOLDS(w, duralog_consumer_open(log, b->name, &o, &c) == DURALOG_OK);
  HOLDS(w, duralog_consumer_get(c, &s) == DURALOG_OK);
  HOLDS(w, s.position <= s.end && s.position >= b->durable);
  HOLDS(w, s.committed == NONE || s.position == min_u64(s.committed, s.end));
  uint64_t next = s.position;
  while (duralog_poll(c, 0, 0, 0, &records, &count) == DURALOG_OK)
    for (size_t i = 0; i < count; i++) HOLDS(w, records[i].offset == next++);
  HOLDS(w, next == s.end);
  HOLDS(w, duralog_consumer_close(&c) == DURALOG_OK);
}

static void check_recovered(struct world *w, struct book *b, duralog *log) {
  duralog_group g = {.struct_size = sizeof g};
  duralog_error error = duralog_describe_group(log, b->name, &g);
  if (error == DURALOG_E_NOT_FOUND && !b->made) return;
  HOLDS(w, error == DURALOG_OK);
  if (error) return;
  HOLDS(w, g.committed == NONE
               ? b->durable == 0
               : g.committed <= BOOK_MAX && b->begun[g.committed] &&
                     g.committed >= b->durable); /* I24 */
  check_rest(w, b, log);
}

static void groups_recovered(struct world *w, duralog *log) {
  check_recovered(w, &first, log);
  check_recovered(w, &second, log);
}

/* ---- before ---- */

/* One record is durable, three are not. */
static void four(struct world *w) {
  static const char text[TEXT_MAX];
  groups_new();
  world_append_before(w, 1);
  for (int i = 0; i < 3; i++) {
    const duralog_entry entry = {.data = text, .size = sizeof text};
    if (duralog_append_batch(w->log, &entry, 1, DURALOG_LEVEL_WRITTEN, NULL))
      threads_fail(w->threads, "cannot append before");
    w->published = ++w->before;
  }
}

static void with_sleeper(struct world *w, duralog_level level, bool paused) {
  duralog_consumer_options o = options_of_tests();
  groups_new();
  world_append_before(w, 1);
  o.read_level = level;
  sleeper = join_by(w, &first, w->log, &o);
  HOLDS(w, duralog_consumer_pause(sleeper, paused) == DURALOG_OK);
}

static void sleeper_of_written(struct world *w) {
  with_sleeper(w, DURALOG_LEVEL_WRITTEN, false);
}
static void sleeper_of_durable(struct world *w) {
  with_sleeper(w, DURALOG_LEVEL_DURABLE, false);
}
static void sleeper_that_polled(struct world *w) {
  sleeper_of_written(w);
  poll_ok(w, &first, sleeper, 1);
}
static void sleeper_paused(struct world *w) {
  with_sleeper(w, DURALOG_LEVEL_WRITTEN, true);
}

/* ---- what threads do ---- */

static void append_written(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_WRITTEN);
}
static void append_durable(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_DURABLE);
}

static void wake(struct world *w) {
  HOLDS(w, duralog_wakeup(sleeper) == DURALOG_OK);
}

static void poll_until_woken(struct world *w) {
  duralog_error error;
  while ((error = poll_next(w, &first, sleeper, 8)) == DURALOG_OK) continue;
  HOLDS(w, error == DURALOG_E_WOKEN);
}

/* A record, and the wake-up, in either order. */
static void poll_one_and_be_woken(struct world *w) {
  duralog_error error;
  bool woken = false;
  while (!woken || first.position < 2) {
    error = poll_next(w, &first, sleeper, 8);
    HOLDS(w, error == DURALOG_OK || (error == DURALOG_E_WOKEN && !woken));
    woken |= error == DURALOG_E_WOKEN;
  }
  commit_ok(w, &first, sleeper, DURALOG_LEVEL_DURABLE);
}

static void wait_with_commits_pending(struct world *w) {
  commit_begin(w, &first, sleeper, 1, DURALOG_LEVEL_DURABLE);
  poll_one_and_be_woken(w);
}

static void commit_in_order(struct world *w) {
  duralog_consumer *c = join(w, &first);
  poll_ok(w, &first, c, 4);
  commit_begin(w, &first, c, 1, DURALOG_LEVEL_WRITTEN);
  commit_begin(w, &first, c, 2, DURALOG_LEVEL_DURABLE);
  commit_begin(w, &first, c, 3, DURALOG_LEVEL_WRITTEN);
  commit_ok(w, &first, c, DURALOG_LEVEL_WRITTEN);
  commit_begin(w, &first, c, 4, DURALOG_LEVEL_DURABLE);
  leave(w, &first, c);
  HOLDS(w, first.told == 4);
}

static void commit_beside(struct world *w) {
  duralog_consumer *c = join(w, &second);
  poll_ok(w, &second, c, 3);
  commit_ok(w, &second, c, DURALOG_LEVEL_DURABLE);
  leave(w, &second, c);
}

/* What it consumes is being appended. */
static void commit_as_they_come(struct world *w) {
  duralog_consumer *c = join(w, &first);
  poll_ok(w, &first, c, 4);
  commit_ok(w, &first, c, DURALOG_LEVEL_WRITTEN);
  poll_ok(w, &first, c, 1);
  commit_ok(w, &first, c, DURALOG_LEVEL_DURABLE);
  leave(w, &first, c);
}

static void take_a_turn(struct world *w) {
  duralog_consumer *c = join(w, &first);
  poll_ok(w, &first, c, 1);
  commit_ok(w, &first, c, DURALOG_LEVEL_DURABLE);
  leave(w, &first, c);
}

/* BUSY, or the one member. */
static void try_for_it(struct world *w) {
  duralog_consumer_options o = options_of_tests();
  duralog_consumer *c = NULL;
  o.timeout_ms = 0;
  duralog_error error = duralog_consumer_open(w->log, first.name, &o, &c);
  w->result[threads_current(w->threads)] = error;
  HOLDS(w, error == DURALOG_OK || error == DURALOG_E_BUSY);
  if (error) return;
  HOLDS(w, first.members++ == 0);
  first.made = true;
  first.position = first.committed == NONE ? 0 : first.committed;
  poll_ok(w, &first, c, 1);
  commit_ok(w, &first, c, DURALOG_LEVEL_WRITTEN);
  leave(w, &first, c);
}

static void sleeper_closes(struct world *w) {
  first.thread = threads_current(w->threads);
  leave(w, &first, sleeper);
  check_groups(w);
}

static void one_at_least_got_in(struct world *w) {
  HOLDS(w, first.made);
  check_groups(w);
}

static void each_had_a_turn(struct world *w) {
  HOLDS(w, first.committed == 2);
  check_groups(w);
}

/* ---- in another process: a handle of its own ---- */

static duralog *following;

static void followed(struct world *w) {
  four(w);
  duralog_options o = w->options;
  o.read_only = true;
  o.host_driven = true;
  following = NULL;
  duralog_error error = duralog_open(DIRECTORY, &o, &following, NULL, NULL);
  if (error) threads_fail(w->threads, "follow: %s", duralog_error_name(error));
}

static void commit_by_follower(struct world *w) {
  duralog_consumer_options o = options_of_tests();
  duralog_consumer *c = join_by(w, &first, following, &o);
  poll_ok(w, &first, c, 4);
  commit_ok(w, &first, c, DURALOG_LEVEL_DURABLE);
  leave(w, &first, c);
  HOLDS(w, duralog_close(&following) == DURALOG_OK);
}

/* ---- scenarios ---- */

#define SCENARIO(which, ...)             \
  static const struct scenario which = { \
      .name = #which, .recovered = groups_recovered, __VA_ARGS__}

/* clang-format off */
SCENARIO(woken_to_end,
         .durability = {.sync_every_records = 16},
         .after = sleeper_closes,
         .before = sleeper_of_written,
         .bodies = {poll_until_woken, wake, append_written},
         .steps = 2, .atomics = 1);
SCENARIO(woken_in_a_pause,
         .durability = {.sync_every_records = 16},
         .after = sleeper_closes,
         .before = sleeper_paused,
         .bodies = {poll_until_woken, wake, append_written},
         .steps = 2, .atomics = 1);
SCENARIO(woken_amid_records,
         .durability = {.sync_every_records = 16},
         .after = sleeper_closes,
         .before = sleeper_of_written,
         .bodies = {poll_one_and_be_woken, wake, append_written},
         .steps = 2, .atomics = 1);
SCENARIO(woken_amid_syncs,
         .after = sleeper_closes,
         .before = sleeper_of_durable,
         .bodies = {poll_one_and_be_woken, wake, append_durable},
         .steps = 2, .atomics = 1);
SCENARIO(woken_with_commits_pending,
         .durability = {.sync_every_records = 16},
         .after = sleeper_closes,
         .before = sleeper_that_polled,
         .bodies = {wait_with_commits_pending, wake, append_written},
         .steps = 2, .atomics = 1);
SCENARIO(commits_in_order,
         .durability = {.sync_every_records = 16},
         .after = check_groups,
         .before = four,
         .bodies = {commit_in_order, commit_beside, sync_ok},
         .steps = 2, .atomics = 1);
SCENARIO(commits_amid_appends,
         .durability = {.sync_every_records = 16},
         .after = check_groups,
         .before = four,
         .bodies = {commit_as_they_come, append_written, append_durable},
         .steps = 2, .atomics = 1);
SCENARIO(commits_and_syncer,
         .durability = {.sync_interval_ms = 20},
         .own_threads = true,
         .after = check_groups,
         .before = four,
         .bodies = {commit_as_they_come, append_written},
         .closes = true,
         .steps = 1, .atomics = 1);
SCENARIO(turns,
         .durability = {.sync_every_records = 16},
         .before = four,
         .bodies = {take_a_turn, take_a_turn},
         .after = each_had_a_turn,
         .steps = 2, .atomics = 1);
SCENARIO(race,
         .durability = {.sync_every_records = 16},
         .before = four,
         .bodies = {try_for_it, try_for_it},
         .after = one_at_least_got_in,
         .steps = 3, .atomics = 2);
SCENARIO(follower,
         .durability = {.sync_every_records = 16},
         .own_threads = true,
         .after = check_groups,
         .before = followed,
         .bodies = {commit_by_follower, append_written},
         .closes = true,
         .steps = 1, .atomics = 1);
/* clang-format on */

static const struct scenario *const scenarios[] = {
    &woken_to_end,
    &woken_in_a_pause,
    &woken_amid_records,
    &woken_amid_syncs,
    &woken_with_commits_pending,
    &commits_in_order,
    &commits_amid_appends,
    &commits_and_syncer,
    &turns,
    &race,
    &follower,
};

/* ---- the claims ---- */

/* And with the power failing when so many calls have returned. */
static void explore_cuts(const struct scenario *s, uint64_t calls) {
  explore_both(s, FENCE_WORKS);
  for (uint64_t i = 1; i <= calls; i++) {
    now.job = (struct job){.scenario = s, .gate_thread = -1, .cut_after = i};
    explore(false, more(0));
  }
}

static void a_consumer_that_polls_is_woken(struct test_place *at) {
  (void)at;
  explore_both(&woken_to_end, FENCE_WORKS);
  explore_both(&woken_to_end, FENCE_REFUSED);
  explore_both(&woken_in_a_pause, FENCE_WORKS);
}

static void neither_a_record_nor_a_wake_up_is_lost(struct test_place *at) {
  (void)at;
  explore_both(&woken_amid_records, FENCE_WORKS);
  explore_both(&woken_amid_records, FENCE_LOST);
  explore_both(&woken_amid_syncs, FENCE_WORKS);
  explore_both(&woken_with_commits_pending, FENCE_WORKS);
}

static void asynchronous_commits_keep_their_order_beside_others(
    struct test_place *at) {
  (void)at;
  explore_cuts(&commits_in_order, 2);
}

static void durable_commits_amid_appends_have_their_records(
    struct test_place *at) {
  (void)at;
  explore_cuts(&commits_amid_appends, 4);
  explore_both(&commits_and_syncer, FENCE_WORKS);
}

static void a_group_is_taken_by_one_after_the_other(struct test_place *at) {
  (void)at;
  explore_cuts(&turns, 2);
}

static void of_two_that_want_a_group_one_has_it(struct test_place *at) {
  (void)at;
  explore_cuts(&race, 1);
}

static void a_durable_commit_by_a_follower_has_the_syncer_sync(
    struct test_place *at) {
  (void)at;
  explore_both(&follower, FENCE_WORKS);
}

int main(int argc, char **argv) {
  static const struct test tests[] = {
      TEST(a_consumer_that_polls_is_woken),
      TEST(neither_a_record_nor_a_wake_up_is_lost),
      TEST(asynchronous_commits_keep_their_order_beside_others),
      TEST(durable_commits_amid_appends_have_their_records),
      TEST(a_group_is_taken_by_one_after_the_other),
      TEST(of_two_that_want_a_group_one_has_it),
      TEST(a_durable_commit_by_a_follower_has_the_syncer_sync),
  };
  return interleave_main(argc, argv, scenarios, COUNT_OF(scenarios), tests,
                         COUNT_OF(tests));
}
