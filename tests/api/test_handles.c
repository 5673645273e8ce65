/* SPDX-License-Identifier: MIT
 *
 * Handles that are NULL, closed or asked with the wrong structures: an error,
 * and nothing changed (contract, Errors 4).
 */
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "support.h"

static void every_call_on_no_log_is_closed(struct test_place *at) {
  (void)at;
  duralog *log = NULL;
  duralog_entry entry = {.data = "x", .size = 1};
  duralog_watermarks w = {.struct_size = sizeof w, .end = 77};
  duralog_diagnostic d = {.struct_size = sizeof d, .os_error = 77};
  duralog_segment s = {.struct_size = sizeof s, .first = 77};
  duralog_stats stats = {.struct_size = sizeof stats, .records = 77};
  duralog_reader *reader = NULL;
  uint64_t offset = 77;
  int64_t in_ms = 77;
  CHECK_IS(DURALOG_E_CLOSED, duralog_close(&log));
  CHECK_IS(DURALOG_E_CLOSED, duralog_close(NULL));
  CHECK_IS(DURALOG_E_CLOSED, duralog_diagnose(NULL, &d));
  CHECK_IS(DURALOG_E_CLOSED, duralog_append(NULL, "x", 1, &offset));
  CHECK_IS(
      DURALOG_E_CLOSED,
      duralog_append_batch(NULL, &entry, 1, DURALOG_LEVEL_DEFAULT, &offset));
  CHECK_IS(DURALOG_E_CLOSED, duralog_sync(NULL));
  CHECK_IS(DURALOG_E_CLOSED, duralog_wait(NULL, 0, DURALOG_LEVEL_DEFAULT, -1));
  CHECK_IS(DURALOG_E_CLOSED, duralog_get_watermarks(NULL, &w));
  CHECK_IS(DURALOG_E_CLOSED, duralog_get_stats(NULL, &stats));
  CHECK_IS(DURALOG_E_CLOSED, duralog_tick(NULL));
  CHECK_IS(DURALOG_E_CLOSED, duralog_next_deadline(NULL, &in_ms));
  CHECK_IS(DURALOG_E_CLOSED,
           duralog_reader_open(NULL, DURALOG_LEVEL_DEFAULT, &reader));
  CHECK_IS(DURALOG_E_CLOSED, duralog_get_segment(NULL, 0, &s));
  CHECK(offset == 77 && in_ms == 77 && w.end == 77 && d.os_error == 77);
  CHECK(s.first == 77 && reader == NULL && stats.records == 77);
}

static void every_call_on_no_reader_is_closed(struct test_place *at) {
  (void)at;
  duralog_reader *reader = NULL;
  duralog_held *held = NULL;
  duralog_damage damage = {.from = 77};
  duralog_record r = {.offset = 77};
  uint64_t offset = 77;
  size_t count = 77;
  CHECK_IS(DURALOG_E_CLOSED, duralog_reader_close(&reader));
  CHECK_IS(DURALOG_E_CLOSED, duralog_reader_close(NULL));
  CHECK_IS(DURALOG_E_CLOSED, duralog_read_next(NULL, &r));
  CHECK_IS(DURALOG_E_CLOSED, duralog_read_previous(NULL, &r));
  CHECK_IS(DURALOG_E_CLOSED, duralog_read_at(NULL, 0, &r));
  CHECK_IS(DURALOG_E_CLOSED, duralog_read_many(NULL, &r, 1, 0, &count));
  CHECK_IS(DURALOG_E_CLOSED, duralog_seek(NULL, DURALOG_SEEK_START, 0));
  CHECK_IS(DURALOG_E_CLOSED, duralog_seek_time(NULL, 0));
  CHECK_IS(DURALOG_E_CLOSED, duralog_tell(NULL, &offset));
  CHECK_IS(DURALOG_E_CLOSED, duralog_reader_wait(NULL, -1));
  CHECK_IS(DURALOG_E_CLOSED, duralog_reader_diagnose(NULL, &damage, NULL));
  CHECK_IS(DURALOG_E_CLOSED, duralog_hold(NULL, &r, &held));
  CHECK_IS(DURALOG_E_CLOSED, duralog_release(&held));
  CHECK_IS(DURALOG_E_CLOSED, duralog_release(NULL));
  CHECK(r.offset == 77 && offset == 77 && count == 77 && damage.from == 77);
  CHECK(held == NULL);
}

static void unknown_structures_are_refused(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  append_numbers(log, 0, 10);
  for (size_t change = 0; change < 3; change++) {
    const size_t less = change == 0 ? 8 : 0, more = change == 1 ? 8 : 0;
    const size_t none = change == 2 ? 0 : 1;
    duralog_watermarks w = {.struct_size = none * (sizeof w - less + more)};
    duralog_diagnostic d = {.struct_size = none * (sizeof d - less + more)};
    duralog_segment s = {.struct_size = none * (sizeof s - less + more)};
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_watermarks(log, &w));
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_diagnose(log, &d));
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_segment(log, 0, &s));
    duralog_stats t = {.struct_size = none * (sizeof t - less + more)};
    CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_stats(log, &t));
    CHECK_EQUAL(t.records, 0);
    CHECK(w.end == 0 && d.text[0] == 0 && s.end == 0);
  }
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_watermarks(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_diagnose(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_segment(log, 0, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_get_stats(log, NULL));
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_next_deadline(log, NULL));
  check_numbers(log, 10);
  close_log(log);
}

static void a_log_without_failures_diagnoses_nothing(struct test_place *at) {
  duralog_options o = small_options();
  duralog *log = open_with(at->path, &o);
  duralog_diagnostic d = {
      .struct_size = sizeof d, .error = DURALOG_E_IO, .text = "left over"};
  append_numbers(log, 0, 3);
  CHECK_OK(duralog_diagnose(log, &d));
  CHECK_EQUAL(d.error, DURALOG_OK);
  CHECK_EQUAL(d.os_error, 0);
  CHECK_EQUAL(d.struct_size, sizeof d);
  close_log(log);
}

static void the_library_prints_nothing(struct test_place *at) {
  duralog_options o = small_options();
  const char *said = path_in(at, "said");
  int before[2] = {CHECK_CALL(dup(1)), CHECK_CALL(dup(2))};
  fflush(NULL);
  file_store(said, "", 0);
  FILE *to = fopen(said, "we");
  CHECK(to != NULL);
  dup2(fileno(to), 1);
  dup2(fileno(to), 2);
  duralog *log = open_with(at->path, &o), *none = NULL;
  append_numbers(log, 0, 600);
  duralog_error error = duralog_open(at->path, &o, &none, NULL, NULL);
  fflush(NULL);
  dup2(before[0], 1);
  dup2(before[1], 2);
  close(before[0]);
  close(before[1]);
  fclose(to);
  CHECK_IS(DURALOG_E_BUSY, error);
  CHECK_EQUAL(file_bytes(said), 0);
  close_log(log);
}

/* The host's signals come to the host's threads: the library's block all. */
static _Atomic int signals_seen;
static pthread_t signal_thread;

static void see_signal(int number) {
  (void)number;
  signal_thread = pthread_self();
  atomic_fetch_add(&signals_seen, 1);
}

static void *append_for_a_while(void *log) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  append_numbers(log, 0, 1000);
  return NULL;
}

static void signals_go_to_the_host_and_interrupt_nothing(
    struct test_place *at) {
  duralog_options o = small_options();
  o.durability.sync_every_records = 4;
  struct sigaction action = {.sa_handler = see_signal}, before, after;
  CHECK_CALL(sigaction(SIGUSR1, &action, &before));
  duralog *log = open_with(at->path, &o);
  CHECK_CALL(sigaction(SIGUSR1, NULL, &after));
  CHECK(after.sa_handler == see_signal); /* no handler was installed */
  pthread_t thread = thread_start(append_for_a_while, log);
  while (watermarks_of(log).end < 1000) {
    int seen = atomic_load(&signals_seen);
    CHECK_CALL(kill(getpid(), SIGUSR1));
    while (atomic_load(&signals_seen) == seen) sched_yield();
    /* One of the host's two threads took it, none of the library's. */
    CHECK(pthread_equal(signal_thread, pthread_self()) ||
          pthread_equal(signal_thread, thread));
    CHECK_OK(duralog_sync(log));
  }
  thread_join(thread);
  check_numbers(log, 1000);
  close_log(log);
  CHECK_CALL(sigaction(SIGUSR1, &before, NULL));
}

static const struct test tests[] = {
    TEST(every_call_on_no_log_is_closed),
    TEST(every_call_on_no_reader_is_closed),
    TEST(unknown_structures_are_refused),
    TEST(a_log_without_failures_diagnoses_nothing),
    TEST(the_library_prints_nothing),
    TEST(signals_go_to_the_host_and_interrupt_nothing),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
