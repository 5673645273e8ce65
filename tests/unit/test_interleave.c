/* SPDX-License-Identifier: MIT
 *
 * A few threads, a few calls each, in every order that matters.
 *
 * Each test is a scenario on the simulated disk, run again and again, once for
 * each schedule (io_threads.h): with switches at steps, syncs, waits and wakes,
 * and with switches at each atomic access of the library. The bounds on
 * preemptions are those that fit into `make check`; INTERLEAVE_MORE=1 adds one
 * to each, for a long run. INTERLEAVE_COUNTS=1 tells the schedules of each
 * scenario.
 *
 * What must hold in every schedule: all threads end, since where all sleep a
 * wake-up was lost; at each switch point durable <= end and neither goes back;
 * no append returns before all earlier ones are published, nor before what its
 * mode waits for; records are read back in the order of publication. After some
 * of the schedules the power fails, and what was promised is there.
 */
#include "interleave_run.h"

/* ---- scenarios: threads that append and sync ---- */

static void append_default(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_DEFAULT);
}

static void append_twice(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_DEFAULT);
  append_ok(w, 1, DURALOG_LEVEL_DEFAULT);
}

static void append_durable(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_DURABLE);
}

static void append_written(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_WRITTEN);
}

static void append_written_twice(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_WRITTEN);
  append_ok(w, 1, DURALOG_LEVEL_WRITTEN);
}

static void tick(struct world *w) {
  duralog_error error = duralog_tick(w->log);
  HOLDS(w, error == DURALOG_OK);
}

/* The first record of the threads. */
static void wait_durable_first(struct world *w) {
  duralog_error error =
      duralog_wait(w->log, w->before, DURALOG_LEVEL_DURABLE, -1);
  HOLDS(w, error == DURALOG_OK);
  promise(w, w->before + 1);
}

static void append_written_then_wait(struct world *w) {
  append_ok(w, 0, DURALOG_LEVEL_WRITTEN);
  wait_durable_first(w);
}

static void begun(struct world *w) { world_append_before(w, 1); }

/* And a record that is not durable. */
static void unsynced(struct world *w) {
  static const char text[TEXT_MAX];
  const duralog_entry entry = {.data = text, .size = sizeof text};
  begun(w);
  duralog_error error =
      duralog_append_batch(w->log, &entry, 1, DURALOG_LEVEL_WRITTEN, NULL);
  if (error) threads_fail(w->threads, "before: %s", duralog_error_name(error));
  w->published = ++w->before;
}

static void full(struct world *w) {
  begun(w);
  world_fill(w);
}

static const struct scenario group_commit = {
    .name = "group_commit",
    .before = begun,
    .bodies = {append_default, append_default, append_default},
    .steps = 3,
    .atomics = 2};

static const struct scenario written_wait_sync = {
    .name = "written_wait_sync",
    .durability = {.pagecache = true},
    .before = begun,
    .bodies = {append_written_twice, wait_durable_first, sync_ok},
    .steps = 3,
    .atomics = 2};

static const struct scenario written_then_wait = {
    .name = "written_then_wait",
    .durability = {.pagecache = true},
    .before = begun,
    .bodies = {append_written_then_wait, append_durable, sync_ok},
    .steps = 3,
    .atomics = 2};

static const struct scenario every_two = {
    .name = "every_two",
    .durability = {.sync_every_records = 2},
    .before = begun,
    .bodies = {append_twice, append_default, append_default},
    .steps = 2,
    .atomics = 2};

/* The same in bytes: all records here are of one size. */
static const struct scenario every_two_records_bytes = {
    .name = "every_two_records_bytes",
    .durability = {.sync_every_bytes = 2 * TEXT_FRAME_BYTES},
    .before = begun,
    .bodies = {append_twice, append_default, append_default},
    .steps = 2,
    .atomics = 2};

static void has_rolled(struct world *w) {
  HOLDS(w, atomic_load(&w->log->active) == 2);
}

static const struct scenario roll_and_sync = {
    .name = "roll_and_sync",
    .before = full,
    .after = has_rolled,
    .bodies = {append_default, append_default, sync_ok},
    .steps = 3,
    .atomics = 2};

static const struct scenario roll_and_tick = {
    .name = "roll_and_tick",
    .before = full,
    .after = has_rolled,
    .bodies = {append_default, append_default, tick},
    .steps = 2,
    .atomics = 2};

/* A closed log, opened again: its clean mark has to go first. */
static void reopened(struct world *w) {
  begun(w);
  duralog_error error = duralog_close(&w->log);
  if (error) threads_fail(w->threads, "close: %s", duralog_error_name(error));
  w->end = w->durable = 0;
  world_open(w);
}

static void one_epoch_later(struct world *w) {
  duralog_watermarks now_is = {.struct_size = sizeof now_is};
  HOLDS(w, duralog_get_watermarks(w->log, &now_is) == DURALOG_OK);
  HOLDS(w, now_is.epoch == 2 && w->log->tail.epoch == 2);
}

static const struct scenario first_appends = {
    .name = "first_appends",
    .before = reopened,
    .after = one_epoch_later,
    .bodies = {append_written, append_written, sync_ok},
    .steps = 2,
    .atomics = 2};

/* ---- reserving ---- */

static void *reserve_ok(struct world *w, int64_t timeout_ms) {
  void *memory = NULL;
  duralog_error error =
      duralog_reserve(w->log, w->record_bytes, timeout_ms, &memory);
  HOLDS(w, error == DURALOG_OK);
  return memory;
}

/* Nothing of others comes in between. */
static void publish_ok(struct world *w, void *memory, int number,
                       duralog_level level) {
  char text[TEXT_MAX] = "";
  uint64_t offset = NONE, end = world_end(w);
  snprintf(text, TEXT_MAX, "thread %d record %d", threads_current(w->threads),
           number);
  memset(memory, 0, w->record_bytes);
  memcpy(memory, text, TEXT_MAX);
  STEP(w->io, "host/wrote");
  HOLDS(w, world_end(w) == end);
  duralog_error error =
      duralog_publish(w->log, w->record_bytes, level, &offset);
  HOLDS(w, error == DURALOG_OK && offset == end);
  book(w, offset, text, level);
}

static void reserve_and_publish(struct world *w) {
  void *memory = reserve_ok(w, -1);
  publish_ok(w, memory, 0, DURALOG_LEVEL_DEFAULT);
}

static void abort_and_append(struct world *w) {
  uint64_t end = (reserve_ok(w, -1), world_end(w));
  STEP(w->io, "host/wrote");
  HOLDS(w, world_end(w) == end);
  duralog_error error = duralog_abort(w->log);
  HOLDS(w, error == DURALOG_OK);
  append_ok(w, 0, DURALOG_LEVEL_DEFAULT);
}

/* All that the thread may do while it has a reservation. */
static void reserve_and_do_all(struct world *w) {
  duralog_segment s = {.struct_size = sizeof s};
  void *memory = reserve_ok(w, -1), *other;
  HOLDS(w, append_as(w, 9, DURALOG_LEVEL_WRITTEN) == DURALOG_E_BUSY);
  HOLDS(w, duralog_reserve(w->log, 1, -1, &other) == DURALOG_E_BUSY);
  tick(w);
  sync_ok(w);
  HOLDS(w, world_durable(w) == world_end(w));
  HOLDS(w, duralog_get_segment(w->log, 0, &s) == DURALOG_OK);
  HOLDS(w, duralog_wait(w->log, world_end(w), DURALOG_LEVEL_WRITTEN, -1) ==
               DURALOG_E_BUSY);
  publish_ok(w, memory, 0, DURALOG_LEVEL_DURABLE);
}

/* Who slept through a reservation gets in before the same thread has the next
 * one, unless that takes too long. */
static void reserve_and_reserve_again(struct world *w) {
  void *memory = reserve_ok(w, -1);
  bool other_was_first = world_end(w) > w->before;
  while (!other_was_first && !atomic_load(&w->log->reservation.sleepers))
    threads_sleep(w->threads, NS_PER_MS);
  publish_ok(w, memory, 0, DURALOG_LEVEL_WRITTEN);
  reserve_ok(w, -1);
  HOLDS(w, world_end(w) == w->before + 2 || threads_hurried(w->threads));
  duralog_error error = duralog_abort(w->log);
  HOLDS(w, error == DURALOG_OK);
}

static const struct scenario reserve_in_turn = {
    .name = "reserve_in_turn",
    .durability = {.pagecache = true},
    .before = begun,
    .bodies = {reserve_and_reserve_again, append_written},
    .steps = 2,
    .atomics = 2};

/* What waited for a reservation, however long, has the time of when it was
 * stored. */
static int64_t aborted_ms;

static void unsynced_and_not_aborted(struct world *w) {
  unsynced(w); /* in this very tick */
  aborted_ms = INT64_MIN;
}

static void reserve_long_and_abort(struct world *w) {
  reserve_ok(w, -1);
  bool other_was_first = world_end(w) > w->before;
  while (!other_was_first && !atomic_load(&w->log->reservation.sleepers))
    threads_sleep(w->threads, NS_PER_MS);
  threads_sleep(w->threads, 1000 * NS_PER_MS);
  if (!other_was_first) aborted_ms = w->io->wall_ms(w->io);
  duralog_error error = duralog_abort(w->log);
  HOLDS(w, error == DURALOG_OK);
}

static void is_not_older_than_the_abort(struct world *w) {
  duralog_reader *reader = NULL;
  duralog_record r;
  HOLDS(w, duralog_reader_open(w->log, DURALOG_LEVEL_WRITTEN, &reader) ==
               DURALOG_OK);
  HOLDS(w, duralog_read_at(reader, w->before, &r) == DURALOG_OK);
  HOLDS(w, r.timestamp_ms >= aborted_ms);
  HOLDS(w, duralog_reader_close(&reader) == DURALOG_OK);
}

static const struct scenario reserve_long = {
    .name = "reserve_long",
    .durability = {.pagecache = true},
    .before = unsynced_and_not_aborted,
    .bodies = {reserve_long_and_abort, append_written},
    .after = is_not_older_than_the_abort,
    .steps = 2,
    .atomics = 1};

static const struct scenario reserve_append_sync = {
    .name = "reserve_append_sync",
    .before = begun,
    .bodies = {reserve_and_publish, append_default, sync_ok},
    .steps = 2,
    .atomics = 2};

static const struct scenario reserve_and_abort = {
    .name = "reserve_and_abort",
    .durability = {.pagecache = true},
    .before = begun,
    .bodies = {abort_and_append, reserve_and_publish, append_written},
    .steps = 2,
    .atomics = 2};

static const struct scenario reserve_padded = {
    .name = "reserve_padded",
    .durability = {.sync_every_records = 8},
    .padded = true,
    .before = unsynced,
    .bodies = {reserve_and_publish, sync_ok, append_written},
    .steps = 2,
    .atomics = 2};

static const struct scenario append_padded = {
    .name = "append_padded",
    .durability = {.sync_every_records = 8},
    .padded = true,
    .before = begun,
    .bodies = {append_written_twice, sync_ok, sync_ok},
    .steps = 2,
    .atomics = 2};

static const struct scenario reserve_in_a_roll = {
    .name = "reserve_in_a_roll",
    .before = full,
    .after = has_rolled,
    .bodies = {reserve_and_publish, append_default, tick},
    .steps = 2,
    .atomics = 1};

static const struct scenario reserve_and_ticks = {
    .name = "reserve_and_ticks",
    .durability = {.sync_every_records = 8},
    .before = begun,
    .bodies = {reserve_and_do_all, append_default, tick},
    .steps = 2,
    .atomics = 2};

static const struct scenario reserve_first = {
    .name = "reserve_first",
    .before = reopened,
    .after = one_epoch_later,
    .bodies = {reserve_and_publish, append_written, sync_ok},
    .steps = 2,
    .atomics = 1};

/* ---- readers ---- */

static void read_two(struct world *w, duralog_level level) {
  duralog_reader *reader = NULL;
  duralog_record r;
  duralog_error error = duralog_reader_open(w->log, level, &reader);
  HOLDS(w, error == DURALOG_OK);
  error = duralog_seek(reader, DURALOG_SEEK_OFFSET, w->before);
  HOLDS(w, error == DURALOG_OK);
  for (uint64_t n = 0; n < 2; n++) {
    error = duralog_reader_wait(reader, -1);
    HOLDS(w, error == DURALOG_OK);
    error = duralog_read_next(reader, &r);
    HOLDS(w, error == DURALOG_OK && r.offset == w->before + n);
    HOLDS(w, r.size == TEXT_MAX && memcmp(r.data, "thread ", 7) == 0);
    if (level == DURALOG_LEVEL_DURABLE) promise(w, r.offset + 1);
  }
  (void)duralog_reader_close(&reader);
}

static void read_written(struct world *w) {
  read_two(w, DURALOG_LEVEL_WRITTEN);
}
static void read_durable(struct world *w) {
  read_two(w, DURALOG_LEVEL_DURABLE);
}

static const struct scenario reader_of_written = {
    .name = "reader_of_written",
    .durability = {.sync_every_records = 8},
    .before = begun,
    .bodies = {read_written, append_default, append_default},
    .steps = 3,
    .atomics = 2};

static const struct scenario reader_of_durable = {
    .name = "reader_of_durable",
    .before = begun,
    .bodies = {read_durable, append_default, append_default},
    .steps = 3,
    .atomics = 2};

/* ---- a sync that fails ---- */

static void first_sync_fails(struct world *w) {
  begun(w);
  sim_fail_sync(w->sim, 1, true);
}

static void second_sync_fails(struct world *w) {
  begun(w);
  sim_fail_sync(w->sim, 2, true);
}

/* Told of the poison, or served before it. */
static void told(struct world *w, duralog_error error) {
  HOLDS(w, error == DURALOG_OK || error == DURALOG_E_POISONED);
  HOLDS(w, (error == DURALOG_E_POISONED) <= w->poisoned);
  w->result[threads_current(w->threads)] = error;
}

static void append_or_poison(struct world *w) {
  told(w, append_as(w, 0, DURALOG_LEVEL_DEFAULT));
}

static void written_and_wait_or_poison(struct world *w) {
  duralog_error error = append_as(w, 0, DURALOG_LEVEL_WRITTEN);
  if (!error)
    error = duralog_wait(w->log, w->before, DURALOG_LEVEL_DURABLE, -1);
  if (!error) promise(w, w->before + 1);
  told(w, error);
}

static void read_or_poison(struct world *w) {
  duralog_reader *reader = NULL;
  duralog_error error =
      duralog_reader_open(w->log, DURALOG_LEVEL_DURABLE, &reader);
  if (!error) error = duralog_seek(reader, DURALOG_SEEK_OFFSET, w->before);
  HOLDS(w, error == DURALOG_OK);
  error = duralog_reader_wait(reader, -1);
  (void)duralog_reader_close(&reader);
  if (!error) promise(w, w->before + 1);
  told(w, error);
}

/* Waits for a record that never comes: only the poison can end it. */
static void read_beyond_or_poison(struct world *w) {
  duralog_error error =
      duralog_wait(w->log, w->before + 5, DURALOG_LEVEL_WRITTEN, -1);
  HOLDS(w, error == DURALOG_E_POISONED);
  w->result[threads_current(w->threads)] = error;
}

static void all_were_told(struct world *w) {
  HOLDS(w, w->poisoned && w->frozen == w->before);
  for (int i = 0; i < 3; i++) HOLDS(w, w->result[i] == DURALOG_E_POISONED);
  HOLDS(w, duralog_sync(w->log) == DURALOG_E_POISONED);
  HOLDS(w, append_as(w, 0, DURALOG_LEVEL_WRITTEN) == DURALOG_E_POISONED);
}

/* Which sync fails, that of the records or that of the segment to roll into,
 * the schedule decides. */
static void full_and_first_sync_fails(struct world *w) {
  full(w);
  sim_fail_sync(w->sim, 1, false);
}

static void sync_or_poison(struct world *w) {
  uint64_t end = world_end(w);
  duralog_error error = duralog_sync(w->log);
  if (!error) promise(w, end);
  told(w, error);
}

/* Who waits for a reservation is told though it goes on: it ends only when they
 * have ended. */
static _Atomic uint32_t ended_word;

static void unsynced_and_first_sync_fails(struct world *w) {
  unsynced(w);
  atomic_store(&ended_word, 0);
  sim_fail_sync(w->sim, 1, true);
}

static void reserve_until_others_ended(struct world *w) {
  void *memory = NULL;
  uint32_t ended;
  if (duralog_reserve(w->log, w->record_bytes, -1, &memory)) return;
  HOLDS(w, duralog_sync(w->log) == DURALOG_E_POISONED);
  while ((ended = atomic_load(&ended_word)) < 2)
    w->io->wait(w->io, &ended_word, ended, NONE);
  uint64_t end = world_end(w);
  memset(memory, 'x', w->record_bytes);
  HOLDS(w, duralog_publish(w->log, w->record_bytes, DURALOG_LEVEL_WRITTEN,
                           NULL) == DURALOG_E_POISONED);
  HOLDS(w, world_end(w) == end);
  HOLDS(w, duralog_abort(w->log) == DURALOG_E_ARGUMENT); /* it is over */
}

static void append_or_poison_and_end(struct world *w) {
  append_or_poison(w);
  atomic_fetch_add(&ended_word, 1);
  w->io->wake(w->io, &ended_word, 1);
}

static const struct scenario poison_in_a_reservation = {
    .name = "poison_in_a_reservation",
    .durability = {.sync_every_records = 8},
    .before = unsynced_and_first_sync_fails,
    .bodies = {reserve_until_others_ended, append_or_poison_and_end,
               append_or_poison_and_end},
    .steps = 2,
    .atomics = 2};

static const struct scenario poison_in_a_roll = {
    .name = "poison_in_a_roll",
    .before = full_and_first_sync_fails,
    .bodies = {append_or_poison, append_or_poison, sync_or_poison},
    .steps = 3,
    .atomics = 2};

static const struct scenario poison_waiters = {
    .name = "poison_waiters",
    .before = first_sync_fails,
    .bodies = {append_or_poison, append_or_poison, written_and_wait_or_poison},
    .after = all_were_told,
    .steps = 2,
    .atomics = 2};

static const struct scenario poison_readers = {
    .name = "poison_readers",
    .before = first_sync_fails,
    .bodies = {append_or_poison, read_or_poison, read_beyond_or_poison},
    .after = all_were_told,
    .steps = 2,
    .atomics = 2};

static const struct scenario poison_second = {
    .name = "poison_second",
    .before = second_sync_fails,
    .bodies = {append_or_poison, append_or_poison, read_or_poison},
    .steps = 3,
    .atomics = 2};

/* ---- the library's own threads ---- */

enum { INTERVAL_MS = 20 };

/* A record that is T old when an append returns is synced by then. Where time
 * may pass before we look: that was T old when the append began. A sync that is
 * over counts, though its thread may not have moved `durable` yet. */
static void append_in_interval(struct world *w, int number) {
  uint64_t began = w->io->now(w->io);
  append_ok(w, number, DURALOG_LEVEL_DEFAULT);
  if (!w->preempted) began = w->io->now(w->io);
  for (uint64_t i = w->before; i < w->published; i++)
    if (w->returned[i] && w->returned_at[i] + w->interval_ns < began)
      HOLDS(w, world_durable(w) > i ||
                   atomic_load(&w->log->synced_at) >= w->returned_at[i]);
}

static void append_sleep_append(struct world *w) {
  append_in_interval(w, 0);
  uint64_t end = world_end(w);
  threads_sleep(w->threads, (INTERVAL_MS + 5) * NS_PER_MS);
  /* Nobody has called the library since: its thread did it. */
  if (!threads_hurried(w->threads)) promise(w, end);
  append_in_interval(w, 1);
}

static void append_interval(struct world *w) { append_in_interval(w, 0); }

static void wait_durable_timed(struct world *w) {
  duralog_error error =
      duralog_wait(w->log, w->before, DURALOG_LEVEL_DURABLE, 1000);
  HOLDS(w, error == DURALOG_OK || threads_hurried(w->threads));
  if (!error) promise(w, w->before + 1);
}

static const struct scenario interval_and_close = {
    .name = "interval_and_close",
    .durability = {.sync_interval_ms = INTERVAL_MS},
    .own_threads = true,
    .before = begun,
    .bodies = {append_sleep_append, append_interval},
    .closes = true,
    .steps = 1,
    .atomics = 1};

static const struct scenario syncer_for_waiter = {
    .name = "syncer_for_waiter",
    .durability = {.sync_every_records = 8},
    .own_threads = true,
    .before = begun,
    .bodies = {wait_durable_timed, append_default},
    .closes = true,
    .steps = 1,
    .atomics = 1};

static bool wants_two(void *context, const duralog_unsynced *u) {
  (void)context;
  return u->records >= 2;
}

/* Nobody but the host's policy asks for this sync, and its thread is woken for
 * it: the next question by the clock would be 10 ms away. */
static void read_durable_soon(struct world *w) {
  read_durable(w);
  uint64_t first = w->returned_at[w->before];
  uint64_t second = w->returned_at[w->before + 1];
  if (first && second && !threads_hurried(w->threads))
    HOLDS(w, w->io->now(w->io) < max_u64(first, second) + 5 * NS_PER_MS);
}

static const struct scenario host_policy = {
    .name = "host_policy",
    .durability = {.pagecache = true},
    .own_threads = true,
    .sync_wanted = wants_two,
    .before = begun,
    .bodies = {read_durable_soon, append_default, append_written},
    .closes = true,
    .steps = 1};

/* Many appends, some of them soon after each other, over several intervals. */
static void append_slowly(struct world *w) {
  for (int i = 0; i < 5; i++) {
    append_in_interval(w, i);
    threads_sleep(w->threads, (i % 2 ? 3 : INTERVAL_MS - 7) * NS_PER_MS);
  }
}

static void append_more_slowly(struct world *w) {
  for (int i = 0; i < 4; i++) {
    append_in_interval(w, i);
    threads_sleep(w->threads, (INTERVAL_MS - 3) * NS_PER_MS);
  }
}

static void append_four(struct world *w) {
  for (int i = 0; i < 4; i++) append_ok(w, i, DURALOG_LEVEL_DEFAULT);
}

/* Nobody is preempted, but syncs take time: who is woken when. */
static const struct scenario served_in_time = {
    .name = "served_in_time",
    .before = begun,
    .bodies = {append_four, append_four, append_four, append_four, append_four},
    .slow_syncs = true,
    .runs_max = 5000};

static const struct scenario gate_interval = {
    .name = "gate_interval",
    .durability = {.sync_interval_ms = INTERVAL_MS},
    .own_threads = true,
    .before = begun,
    .bodies = {append_slowly, append_more_slowly},
    .closes = true};

static const struct scenario gate_interval_rolling = {
    .name = "gate_interval_rolling",
    .durability = {.sync_interval_ms = INTERVAL_MS},
    .own_threads = true,
    .large = true,
    .before = begun,
    .bodies = {append_slowly, append_more_slowly},
    .closes = true};

static const struct scenario gate_rolling = {
    .name = "gate_rolling",
    .own_threads = true,
    .large = true,
    .before = begun,
    .bodies = {append_four, append_four},
    .closes = true};

/* ---- the search itself: a sleeper that looks before it notes the word ---- */

static _Atomic uint32_t toy_flag, toy_word;

static void toy_begin(struct world *w) {
  begun(w);
  atomic_store(&toy_flag, 0);
  atomic_store(&toy_word, 0);
}

static void toy_sleep(struct world *w) {
  while (!atomic_load(&toy_flag))
    w->io->wait(w->io, &toy_word, atomic_load(&toy_word), NONE);
}

static void toy_wake(struct world *w) {
  atomic_store(&toy_flag, 1);
  atomic_fetch_add(&toy_word, 1);
  w->io->wake(w->io, &toy_word, 1);
}

static const struct scenario toy_lost_wake_up = {
    .name = "toy_lost_wake_up",
    .before = toy_begin,
    .bodies = {toy_sleep, toy_wake}};

static const struct scenario *const scenarios[] = {
    &group_commit,        &served_in_time,
    &written_wait_sync,   &written_then_wait,
    &every_two,           &every_two_records_bytes,
    &roll_and_sync,       &roll_and_tick,
    &first_appends,       &reader_of_written,
    &reader_of_durable,   &poison_in_a_roll,
    &poison_waiters,      &poison_readers,
    &poison_second,       &interval_and_close,
    &syncer_for_waiter,   &host_policy,
    &gate_interval,       &gate_interval_rolling,
    &gate_rolling,        &toy_lost_wake_up,
    &reserve_padded,      &append_padded,
    &reserve_append_sync, &reserve_and_abort,
    &reserve_in_a_roll,   &reserve_and_ticks,
    &reserve_first,       &poison_in_a_reservation,
    &reserve_in_turn,     &reserve_long,
};

/* ---- the claims ---- */

static void every_durable_append_is_served(struct test_place *at) {
  (void)at;
  explore_both(&group_commit, FENCE_WORKS);
}

static void a_sleeper_is_woken_by_the_next_sync(struct test_place *at) {
  (void)at;
  now.job = (struct job){.scenario = &served_in_time, .gate_thread = -1};
  explore(false, more(0));
}

static void waits_and_syncs_share_what_they_need(struct test_place *at) {
  (void)at;
  explore_both(&written_wait_sync, FENCE_WORKS);
  explore_both(&written_then_wait, FENCE_WORKS);
}

static void every_n_keeps_its_bound(struct test_place *at) {
  (void)at;
  explore_both(&every_two, FENCE_WORKS);
  explore_both(&every_two_records_bytes, FENCE_WORKS);
}

static void a_roll_amid_appends_loses_nothing(struct test_place *at) {
  (void)at;
  explore_both(&roll_and_sync, FENCE_WORKS);
  explore_both(&roll_and_tick, FENCE_WORKS);
}

static void first_appends_begin_one_epoch(struct test_place *at) {
  (void)at;
  explore_both(&first_appends, FENCE_WORKS);
}

static void a_reservation_is_waited_for_and_stops_nothing_else(
    struct test_place *at) {
  (void)at;
  explore_both(&reserve_append_sync, FENCE_WORKS);
  explore_both(&reserve_and_abort, FENCE_WORKS);
  explore_both(&reserve_in_a_roll, FENCE_WORKS);
  explore_both(&append_padded, FENCE_WORKS);
  explore_both(&reserve_padded, FENCE_WORKS);
  explore_both(&reserve_and_ticks, FENCE_WORKS);
  explore_both(&reserve_first, FENCE_WORKS);
}

static void who_slept_through_a_reservation_is_let_in(struct test_place *at) {
  (void)at;
  explore_both(&reserve_in_turn, FENCE_WORKS);
}

static void who_waited_long_is_dated_when_stored(struct test_place *at) {
  (void)at;
  explore_both(&reserve_long, FENCE_WORKS);
}

static void a_sleeping_reader_is_woken(struct test_place *at) {
  (void)at;
  explore_both(&reader_of_written, FENCE_WORKS);
  explore_both(&reader_of_written, FENCE_REFUSED);
  explore_both(&reader_of_written, FENCE_LOST);
  explore_both(&reader_of_durable, FENCE_WORKS);
}

static void a_failed_sync_tells_everyone(struct test_place *at) {
  (void)at;
  explore_both(&poison_in_a_roll, FENCE_WORKS);
  explore_both(&poison_in_a_reservation, FENCE_WORKS);
  explore_both(&poison_waiters, FENCE_WORKS);
  explore_both(&poison_readers, FENCE_WORKS);
  explore_both(&poison_readers, FENCE_REFUSED);
  explore_both(&poison_readers, FENCE_LOST);
  explore_both(&poison_second, FENCE_WORKS);
}

static void own_threads_sync_and_stop(struct test_place *at) {
  (void)at;
  explore_both(&interval_and_close, FENCE_WORKS);
  explore_both(&interval_and_close, FENCE_REFUSED);
  explore_both(&syncer_for_waiter, FENCE_WORKS);
  explore_both(&host_policy, FENCE_WORKS);
}

/* The thread stands at each of its switch points in turn, for as long as others
 * can run. In each case the power fails behind each append, too, and whoever
 * can run is tried where one sleeps. */
static void park_everywhere(const struct scenario *s, enum worker_kind thread) {
  bool reached = true;
  for (uint64_t at = 1; reached; at++) {
    now.job =
        (struct job){.scenario = s, .gate_thread = (int)thread, .gate_at = at};
    run_default();
    reached = threads_gate_reached(now.threads);
    for (now.job.cut_after = 1; now.job.cut_after <= 9; now.job.cut_after++)
      run_default();
    now.job.cut_after = 0;
    explore(false, more(0));
  }
}

static void a_parked_syncer_breaks_no_promise(struct test_place *at) {
  (void)at;
  park_everywhere(&gate_interval, WORKER_SYNCER);
  park_everywhere(&gate_interval_rolling, WORKER_SYNCER);
  park_everywhere(&gate_rolling, WORKER_SYNCER);
}

static void a_parked_preparer_stops_nobody(struct test_place *at) {
  (void)at;
  park_everywhere(&gate_rolling, WORKER_PREPARER);
  park_everywhere(&gate_interval_rolling, WORKER_PREPARER);
}

static void a_lost_wake_up_is_found_and_replayed(struct test_place *at) {
  (void)at;
  char schedule[256];
  now.job = (struct job){.scenario = &toy_lost_wake_up, .gate_thread = -1};
  threads_search(now.threads);
  while (run_once(true, 1, false)) CHECK(threads_next(now.threads));
  CHECK(strstr(threads_failure(now.threads), "deadlock") != NULL);
  snprintf(schedule, sizeof schedule, "%s", threads_schedule(now.threads));
  CHECK(threads_replay(now.threads, schedule));
  CHECK(!run_once(false, 0, false));
  CHECK(strstr(threads_failure(now.threads), "deadlock") != NULL);
}

static void the_same_schedule_is_the_same_run(struct test_place *at) {
  enum { RUNS = 50, LONG = 4096 };
  static char schedule[RUNS][LONG];
  uint64_t points[RUNS];
  (void)at;
  now.job = (struct job){.scenario = &group_commit, .gate_thread = -1};
  threads_search(now.threads);
  for (int i = 0; i < RUNS; i++) {
    CHECK(run_once(true, 2, false));
    points[i] = threads_points(now.threads);
    snprintf(schedule[i], LONG, "%s", threads_schedule(now.threads));
    CHECK(threads_next(now.threads));
  }
  for (int i = 0; i < RUNS; i++) {
    CHECK(threads_replay(now.threads, schedule[i]));
    CHECK(run_once(false, 0, false));
    CHECK_EQUAL(points[i], threads_points(now.threads));
    CHECK(strcmp(schedule[i], threads_schedule(now.threads)) == 0);
  }
}

int main(int argc, char **argv) {
  static const struct test tests[] = {
      TEST(every_durable_append_is_served),
      TEST(a_sleeper_is_woken_by_the_next_sync),
      TEST(waits_and_syncs_share_what_they_need),
      TEST(every_n_keeps_its_bound),
      TEST(a_roll_amid_appends_loses_nothing),
      TEST(first_appends_begin_one_epoch),
      TEST(a_reservation_is_waited_for_and_stops_nothing_else),
      TEST(who_slept_through_a_reservation_is_let_in),
      TEST(who_waited_long_is_dated_when_stored),
      TEST(a_sleeping_reader_is_woken),
      TEST(a_failed_sync_tells_everyone),
      TEST(own_threads_sync_and_stop),
      TEST(a_parked_syncer_breaks_no_promise),
      TEST(a_parked_preparer_stops_nobody),
      TEST(a_lost_wake_up_is_found_and_replayed),
      TEST(the_same_schedule_is_the_same_run),
  };
  return interleave_main(argc, argv, scenarios, COUNT_OF(scenarios), tests,
                         COUNT_OF(tests));
}
