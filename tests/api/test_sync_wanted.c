/* SPDX-License-Identifier: MIT
 *
 * A policy of the host's own, with the library's threads. Its decisions on a
 * virtual clock: tests/unit/test_host_policy.c.
 */
#include "support.h"

enum { LIMIT_MS = 20000 };

/* Wants a sync from so many records, bytes or milliseconds on; 0: not by that.
 */
struct wish {
  duralog *log; /* to call into, or NULL */
  uint64_t records, bytes, oldest_ms;
  _Atomic uint64_t asked, wanted;
};

static bool wanted(void *context, const duralog_unsynced *u) {
  struct wish *w = context;
  CHECK_EQUAL(u->struct_size, sizeof *u);
  CHECK(u->records > 0);
  atomic_fetch_add(&w->asked, 1);
  bool yes = (w->records && u->records >= w->records) ||
             (w->bytes && u->bytes >= w->bytes) ||
             (w->oldest_ms && u->oldest_ms >= w->oldest_ms);
  if (yes) atomic_fetch_add(&w->wanted, 1);
  return yes;
}

static duralog_options options_of(struct wish *w, duralog_durability mode) {
  duralog_options o = small_options();
  o.durability = mode;
  o.sync_wanted = wanted;
  o.sync_wanted_context = w;
  return o;
}

/* Wait until someone has made the record durable: a reader asks for no sync. */
static void wait_for_others_sync(duralog *log, uint64_t offset) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DURABLE);
  while (watermarks_of(log).durable <= offset) {
    CHECK_OK(duralog_seek(reader, DURALOG_SEEK_END, 0));
    if (watermarks_of(log).durable <= offset)
      CHECK_OK(duralog_reader_wait(reader, LIMIT_MS));
  }
  CHECK_OK(duralog_reader_close(&reader));
}

static const duralog_durability modes[] = {
    {.pagecache = true},
    {.sync_every_records = 1 << 20},
    {.sync_every_bytes = 1 << 30},
    {.sync_interval_ms = 3600 * 1000},
};

static void records_make_a_sync_come_sooner(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    struct wish w = {.records = 10};
    duralog_options o = options_of(&w, modes[m]);
    test_note("mode %zu", m);
    duralog *log = open_with(at->path, &o);
    append_numbers(log, 0, 10);
    wait_for_others_sync(log, 0);
    close_log(log);
    directory_remove(at->path);
  }
}

static void bytes_make_a_sync_come_sooner(struct test_place *at) {
  struct wish w = {.bytes = 5000};
  duralog_options o = options_of(&w, modes[0]);
  duralog *log = open_with(at->path, &o);
  while (!atomic_load(&w.wanted)) append_text(log, "x", DURALOG_LEVEL_DEFAULT);
  CHECK(watermarks_of(log).end >= 5000 / 32);
  wait_for_others_sync(log, 0);
  close_log(log);
}

/* Nobody calls the library in the meantime: its own thread asks. */
static void age_makes_a_sync_come_sooner(struct test_place *at) {
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    struct wish w = {.oldest_ms = 40};
    duralog_options o = options_of(&w, modes[m]);
    test_note("mode %zu", m);
    duralog *log = open_with(at->path, &o);
    for (uint64_t i = 0; i < 3; i++) { /* its thread sleeps in between */
      append_numbers(log, i, 1);
      wait_for_others_sync(log, i);
    }
    close_log(log);
    directory_remove(at->path);
  }
}

static void who_waits_for_each_sync_is_never_asked(struct test_place *at) {
  struct wish w = {.records = 1};
  duralog_options o =
      options_of(&w, (duralog_durability){.sync_every_records = 1});
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 10);
  append_text(log, "x", DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_sync(log));
  close_log(log);
  CHECK_EQUAL(atomic_load(&w.asked), 0);
}

/* ---- many at once ---- */

enum { THREADS = 6, APPENDS = SANITIZED ? 1000 : 10000 };

static void *append_many(void *context) {
  struct wish *w = context;
  for (int i = 0; i < APPENDS; i++)
    CHECK_OK(duralog_append(w->log, "many at once", 12, NULL));
  return NULL;
}

static void many_threads_ask_at_once(struct test_place *at) {
  struct wish w = {.records = 64};
  duralog_options o = options_of(&w, modes[0]);
  o.segment_bytes = 1 << 20;
  w.log = open_with(at->path, &o);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = thread_start(append_many, &w);
  for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
  CHECK_EQUAL(watermarks_of(w.log).end, THREADS * APPENDS);
  CHECK(atomic_load(&w.wanted) > 0);
  CHECK(atomic_load(&w.asked) >= atomic_load(&w.wanted));
  wait_for_others_sync(w.log, THREADS * APPENDS - 64);
  close_log(w.log);
}

/* It must not, and nothing hangs if it does. No reader: one that is open at the
 * wrong moment keeps the log from closing. */
static bool calls_into_the_log(void *context, const duralog_unsynced *u) {
  struct wish *w = context;
  duralog_stats s = {.struct_size = sizeof s};
  (void)u;
  if (atomic_fetch_add(&w->asked, 1) < 3) { /* both ask again */
    CHECK_OK(duralog_append(w->log, "from inside", 11, NULL));
    CHECK_OK(duralog_tick(w->log));
  }
  CHECK_OK(duralog_get_stats(w->log, &s));
  CHECK_OK(duralog_sync(w->log));
  return true;
}

static void a_call_from_inside_does_not_hang(struct test_place *at) {
  for (int host_driven = 0; host_driven < 2; host_driven++) {
    struct wish w = {.records = 0};
    duralog_options o = options_of(&w, modes[0]);
    o.sync_wanted = calls_into_the_log;
    o.host_driven = host_driven;
    w.log = open_with(at->path, &o);
    CHECK_OK(duralog_append(w.log, "from outside", 12, NULL));
    CHECK(watermarks_of(w.log).end >= 2);
    CHECK_OK(duralog_tick(w.log));
    close_log(w.log);
    directory_remove(at->path);
  }
}

static const struct test tests[] = {
    TEST(records_make_a_sync_come_sooner),
    TEST(bytes_make_a_sync_come_sooner),
    TEST(age_makes_a_sync_come_sooner),
    TEST(who_waits_for_each_sync_is_never_asked),
    TEST(many_threads_ask_at_once),
    TEST(a_call_from_inside_does_not_hang),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
