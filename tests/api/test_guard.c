/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS, on real files that are cut under the log. What the
 * library touches itself comes back as an error, the same one that copying
 * reads give; every other SIGBUS goes where it would go without the guard.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

enum {
  RECORDS = 1200,
  CUT_SEGMENT = 2, /* of at least four */
  CUT_AT = 16384,
  PAGE = 4096,
  THREADS = 8
};

/* ---- logs ---- */

/* Numbered records whose timestamps are their numbers. */
static void append_timed(duralog *log, uint64_t from, uint64_t count) {
  uint8_t bytes[RECORD_BYTES_MAX];
  for (uint64_t n = from; n < from + count; n++) {
    duralog_entry e = {.data = bytes,
                       .size = record_make(n, bytes),
                       .has_timestamp = true,
                       .timestamp_ms = (int64_t)n};
    CHECK_OK(duralog_append_batch(log, &e, 1, DURALOG_LEVEL_WRITTEN, NULL));
  }
}

/* A log with sealed segments, none of them open. */
static duralog *log_make(const struct test_place *at, const char *path) {
  duralog_options o = small_pagecache();
  o.host_driven = true;
  o.copying_reads = at->copying;
  duralog *log = open_with(path, &o);
  append_timed(log, 0, RECORDS);
  CHECK_OK(duralog_tick(log));
  return log;
}

static duralog_segment segment_of(duralog *log, uint64_t number) {
  duralog_segment s = {.struct_size = sizeof s};
  CHECK_OK(duralog_get_segment(log, number - 1, &s));
  CHECK_EQUAL(s.number, number);
  return s;
}

/* A reader whose segment is cut after it was mapped. */
static duralog_reader *reader_in_cut(duralog *log, const char *path) {
  duralog_reader *r = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record record;
  CHECK_OK(duralog_read_at(r, segment_of(log, CUT_SEGMENT).first, &record));
  file_cut(segment_path(path, CUT_SEGMENT), CUT_AT);
  return r;
}

/* ---- reads of a segment that is cut ---- */

typedef duralog_error read_call(duralog_reader *, uint64_t *offset);

static duralog_error by_next(duralog_reader *r, uint64_t *offset) {
  duralog_record record;
  CHECK_OK(duralog_tell(r, offset));
  duralog_error error = duralog_read_next(r, &record);
  if (!error) CHECK(record_is(&record, *offset));
  return error;
}

static duralog_error by_many(duralog_reader *r, uint64_t *offset) {
  duralog_record records[64];
  size_t n = 0;
  CHECK_OK(duralog_tell(r, offset));
  duralog_error error = duralog_read_many(r, records, COUNT_OF(records), 0, &n);
  for (size_t i = 0; !error && i < n; i++)
    CHECK(record_is(&records[i], *offset + i));
  return error;
}

static duralog_error by_offset(duralog_reader *r, uint64_t *offset) {
  duralog_record record;
  CHECK_OK(duralog_tell(r, offset));
  duralog_error error = duralog_read_at(r, *offset, &record);
  if (!error) CHECK(record_is(&record, *offset));
  return error;
}

/* Read to the damage, which ends with the segment; then to the end. */
static void read_around(duralog *log, duralog_reader *r, read_call *call) {
  duralog_damage damage;
  duralog_diagnostic d = {.struct_size = sizeof d};
  duralog_segment cut = segment_of(log, CUT_SEGMENT);
  uint64_t offset;
  duralog_error error;
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_OFFSET, cut.first));
  while (!(error = call(r, &offset))) CHECK(offset < cut.end);
  CHECK_IS(DURALOG_E_CORRUPT, error);
  CHECK_OK(duralog_reader_diagnose(r, &damage, &d));
  CHECK(damage.from > cut.first && damage.from < cut.end);
  CHECK_EQUAL(damage.to, cut.end);
  CHECK_EQUAL(damage.segment, CUT_SEGMENT);
  /* A frame may begin in front of the cut. */
  CHECK(d.position + RECORD_BYTES_MAX + 64 > CUT_AT && d.position < CUT_AT + 8);
  CHECK_IS(DURALOG_E_CORRUPT, call(r, &offset));
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_OFFSET, damage.to));
  for (offset = 0; !(error = call(r, &offset));) {
  }
  CHECK_IS(call == by_offset ? DURALOG_E_RANGE : DURALOG_E_AT_END, error);
  CHECK_EQUAL(offset, RECORDS);
}

static void reads_of_a_cut_segment(struct test_place *at, read_call *call) {
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_in_cut(log, at->path);
  read_around(log, r, call);
  append_timed(log, RECORDS, 10); /* nothing is held */
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
}

static void read_next_of_a_cut_segment_is_an_error(struct test_place *at) {
  reads_of_a_cut_segment(at, by_next);
}

/* Its header stands in front of the cut, and the reader at it. */
static void the_next_record_across_a_cut_is_an_error(struct test_place *at) {
  static const uint8_t data[9000];
  duralog_options o = small_options();
  duralog_record record;
  o.segment_bytes = 64 << 10;
  CHECK_OK(duralog_guard_install());
  duralog *log = open_with(at->path, &o);
  for (int i = 0; i < 12; i++) /* into the second segment */
    CHECK_OK(duralog_append(log, data, sizeof data, NULL));
  duralog_reader *r = reader_of(log, DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_read_next(r, &record));
  file_cut(segment_path(at->path, 1), 4 * 4096);
  CHECK_IS(DURALOG_E_CORRUPT, duralog_read_next(r, &record));
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
}

static void read_many_of_a_cut_segment_is_an_error(struct test_place *at) {
  reads_of_a_cut_segment(at, by_many);
}

/* The index is built over the cut. */
static void read_at_in_a_cut_segment_is_an_error(struct test_place *at) {
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_in_cut(log, at->path);
  duralog_segment cut = segment_of(log, CUT_SEGMENT);
  duralog_record record;
  duralog_damage damage;
  for (int i = 0; i < 3; i++) {
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_at(r, cut.end - 1, &record));
    CHECK_OK(duralog_reader_diagnose(r, &damage, NULL));
    CHECK(damage.from > cut.first && damage.from < cut.end);
    CHECK_EQUAL(damage.to, cut.end);
  }
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_OFFSET, cut.end));
  CHECK_IS(DURALOG_E_CORRUPT, duralog_read_previous(r, &record));
  read_around(log, r, by_offset);
  CHECK_OK(duralog_read_at(r, 0, &record));
  CHECK_OK(duralog_read_at(r, RECORDS - 1, &record));
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
}

/* What cannot be read is stepped over. */
static void seek_time_steps_over_a_cut_segment(struct test_place *at) {
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_in_cut(log, at->path);
  duralog_segment cut = segment_of(log, CUT_SEGMENT);
  uint64_t found;
  for (uint64_t n = cut.first; n < cut.end; n++) {
    CHECK_OK(duralog_seek_time(r, (int64_t)n));
    CHECK_OK(duralog_tell(r, &found));
    CHECK(found == n || found == cut.end);
    CHECK(n > cut.first + 20 || found == n);
  }
  CHECK_EQUAL(found, cut.end);
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
}

struct reading {
  duralog *log;
  atomic_int *ready;
};

static void *read_in_a_thread(void *context) {
  struct reading *x = context;
  duralog_reader *r = reader_of(x->log, DURALOG_LEVEL_WRITTEN);
  duralog_record record;
  CHECK_OK(duralog_read_at(r, segment_of(x->log, CUT_SEGMENT).first, &record));
  atomic_fetch_add(x->ready, 1);
  while (atomic_load(x->ready) <= THREADS) sched_yield();
  for (int i = 0; i < 20; i++) {
    read_around(x->log, r, by_next);
    read_around(x->log, r, by_many);
  }
  CHECK_OK(duralog_reader_close(&r));
  return NULL;
}

static void eight_threads_may_fault_at_once(struct test_place *at) {
  pthread_t threads[THREADS];
  atomic_int ready = 0;
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  struct reading x = {log, &ready};
  for (int i = 0; i < THREADS; i++)
    threads[i] = thread_start(read_in_a_thread, &x);
  while (atomic_load(&ready) < THREADS) sched_yield();
  file_cut(segment_path(at->path, CUT_SEGMENT), CUT_AT);
  atomic_fetch_add(&ready, 1);
  for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
  close_log(log);
  CHECK_OK(duralog_guard_remove());
}

/* ---- appends to a segment that is cut ---- */

static void check_poisoned(duralog *log, const char *path, uint64_t segment) {
  duralog_diagnostic d = {.struct_size = sizeof d};
  const char *name = strrchr(segment_path(path, segment), '/') + 1;
  CHECK_OK(duralog_diagnose(log, &d));
  CHECK_IS(DURALOG_E_POISONED, d.error);
  CHECK(strstr(d.path, name) != NULL);
  CHECK(d.position >= PAGE && d.position < 64 << 10);
}

/* Append until the cut is met, and see what the log is then. */
static void append_into_cut(struct test_place *at, size_t batch,
                            duralog_level level) {
  uint8_t bytes[RECORD_BYTES_MAX];
  duralog_entry e[3];
  duralog_error error;
  CHECK_OK(duralog_guard_install());
  duralog_options o = small_options();
  o.host_driven = true;
  duralog *log = open_with(at->path, &o);
  duralog *other = open_with(path_in(at, "other"), &o);
  append_timed(log, 0, 10);
  file_cut(segment_path(at->path, 1), PAGE * 2);
  for (size_t i = 0; i < batch; i++)
    e[i] = (duralog_entry){.data = bytes, .size = record_make(77, bytes)};
  uint64_t end = 10;
  while (!(error = duralog_append_batch(log, e, batch, level, NULL)))
    end += batch;
  CHECK_IS(DURALOG_E_POISONED, error);
  CHECK_EQUAL(watermarks_of(log).end, end);
  check_poisoned(log, at->path, 1);
  uint64_t durable = watermarks_of(log).durable;
  CHECK_IS(DURALOG_E_POISONED, duralog_append(log, "x", 1, NULL));
  CHECK_IS(DURALOG_E_POISONED, duralog_sync(log));
  CHECK_IS(DURALOG_E_POISONED, duralog_tick(log));
  CHECK_EQUAL(watermarks_of(log).durable, durable);
  duralog_reader *r = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record record;
  CHECK_OK(duralog_read_next(r, &record));
  CHECK(record_is(&record, 0));
  CHECK_OK(duralog_reader_close(&r));
  append_numbers(other, 0, 20);
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&log));
  CHECK(log == NULL);
  close_log(other);
  CHECK_OK(duralog_guard_remove());
}

static void an_append_into_a_cut_segment_poisons(struct test_place *at) {
  append_into_cut(at, 1, DURALOG_LEVEL_WRITTEN);
}

static void a_batch_into_a_cut_segment_poisons(struct test_place *at) {
  append_into_cut(at, 3, DURALOG_LEVEL_WRITTEN);
}

static void a_durable_append_into_a_cut_segment_poisons(struct test_place *at) {
  append_into_cut(at, 1, DURALOG_LEVEL_DURABLE);
}

/* The host's own stores into a reservation are its own: it has made none. */
static void a_reservation_in_a_cut_segment_poisons(struct test_place *at,
                                                   bool publish) {
  CHECK_OK(duralog_guard_install());
  duralog_options o = small_options();
  o.host_driven = true;
  duralog *log = open_with(at->path, &o);
  void *memory;
  append_timed(log, 0, 10);
  CHECK_OK(duralog_reserve(log, PAGE * 2, 0, &memory));
  file_cut(segment_path(at->path, 1), PAGE);
  uint64_t offset = 77;
  duralog_error error =
      publish ? duralog_publish(log, PAGE * 2, DURALOG_LEVEL_WRITTEN, &offset)
              : duralog_abort(log);
  CHECK_IS(DURALOG_E_POISONED, error);
  CHECK_EQUAL(offset, 77);
  CHECK_EQUAL(watermarks_of(log).end, 10);
  check_poisoned(log, at->path, 1);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(log)); /* it is over */
  CHECK_IS(DURALOG_E_POISONED, duralog_append(log, "x", 1, NULL));
  CHECK_IS(DURALOG_E_POISONED, duralog_close(&log));
  CHECK_OK(duralog_guard_remove());
}

static void publishing_into_a_cut_segment_poisons(struct test_place *at) {
  a_reservation_in_a_cut_segment_poisons(at, true);
}

static void aborting_in_a_cut_segment_poisons(struct test_place *at) {
  a_reservation_in_a_cut_segment_poisons(at, false);
}

/* ---- without it ---- */

static void dies_by_default(void) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(SIGBUS, SIG_DFL);
}

static void read_cut_unguarded(void *context) {
  struct test_place *at = context;
  dies_by_default();
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_in_cut(log, at->path);
  uint64_t offset;
  while (!by_next(r, &offset)) {
  }
  close_log(log);
}

static void without_the_guard_a_cut_segment_kills(struct test_place *at) {
  CHECK_EQUAL(child_end(child_start(read_cut_unguarded, at)), 256 + SIGBUS);
}

static void read_cut_after_removal(void *context) {
  dies_by_default();
  CHECK_OK(duralog_guard_install());
  CHECK_OK(duralog_guard_remove());
  read_cut_unguarded(context);
}

static void once_removed_it_guards_no_more(struct test_place *at) {
  CHECK_EQUAL(child_end(child_start(read_cut_after_removal, at)), 256 + SIGBUS);
}

static void the_library_installs_no_handler_by_itself(struct test_place *at) {
  struct sigaction before, after;
  duralog_options o = small_pagecache();
  sigaction(SIGBUS, NULL, &before);
  duralog *log = open_with(at->path, &o); /* with threads */
  append_numbers(log, 0, RECORDS);
  check_numbers(log, RECORDS);
  close_log(log);
  sigaction(SIGBUS, NULL, &after);
  CHECK(before.sa_sigaction == after.sa_sigaction);
  CHECK_EQUAL(before.sa_flags, after.sa_flags);
}

/* ---- the host's own signals ---- */

/* A page of a file of the host's own that is gone. */
static volatile uint8_t *host_page(const struct test_place *at) {
  const char *path = path_in(at, "host");
  uint8_t zeros[PAGE] = {0};
  file_store(path, zeros, sizeof zeros);
  int file = CHECK_CALL(open(path, O_RDWR | O_CLOEXEC));
  void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(page != MAP_FAILED);
  close(file);
  file_cut(path, 0);
  return page;
}

static void host_page_free(volatile uint8_t *page) {
  munmap((void *)(uintptr_t)page, PAGE);
}

static struct {
  atomic_int calls, code, usr1_blocked, bus_blocked;
  void *_Atomic address;
  atomic_bool jump;
  sigjmp_buf back;
} host;

static void host_forget(bool jump) {
  host.calls = host.code = host.usr1_blocked = host.bus_blocked = 0;
  host.address = NULL;
  host.jump = jump;
}

static void host_note(void) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  host.usr1_blocked = sigismember(&mask, SIGUSR1);
  host.bus_blocked = sigismember(&mask, SIGBUS);
  host.calls++;
  if (host.jump) siglongjmp(host.back, 1);
}

static void host_plain(int number) {
  host.code = number;
  host_note();
}

static void host_info(int number, siginfo_t *info, void *context) {
  (void)number;
  CHECK(context != NULL);
  host.code = info->si_code;
  host.address = info->si_addr;
  host_note();
}

static void host_install(void (*plain)(int), int flags, struct sigaction *was) {
  struct sigaction a = {.sa_flags = flags};
  if (plain)
    a.sa_handler = plain;
  else
    a.sa_sigaction = host_info;
  sigemptyset(&a.sa_mask);
  sigaddset(&a.sa_mask, SIGUSR1);
  CHECK_CALL(sigaction(SIGBUS, &a, was));
}

/* Touch the host's page; whether its handler came. */
static bool host_faults(volatile uint8_t *page) {
  host_forget(true);
  if (sigsetjmp(host.back, 1) == 0) {
    page[100] = 1;
    return false;
  }
  return true;
}

static void the_hosts_handler_gets_its_own_faults(struct test_place *at) {
  static const struct {
    void (*plain)(int);
    int flags;
  } kinds[] = {{NULL, SA_SIGINFO},
               {NULL, SA_SIGINFO | SA_NODEFER},
               {host_plain, 0},
               {host_plain, SA_NODEFER | SA_RESTART}};
  volatile uint8_t *page = host_page(at);
  struct sigaction was;
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    host_install(kinds[i].plain, kinds[i].flags, &was);
    CHECK_OK(duralog_guard_install());
    CHECK(host_faults(page));
    CHECK_EQUAL(host.calls, 1);
    CHECK_EQUAL(host.usr1_blocked, 1);
    /* ThreadSanitizer calls handlers with all signals blocked. */
    if (!NO_THREADS_AFTER_FORK)
      CHECK_EQUAL(host.bus_blocked, (kinds[i].flags & SA_NODEFER) == 0);
    CHECK_EQUAL(host.code, kinds[i].plain ? SIGBUS : BUS_ADRERR);
    if (!kinds[i].plain) CHECK(host.address == (void *)(uintptr_t)(page + 100));
    CHECK_OK(duralog_guard_remove());
    CHECK(host_faults(page));
    CHECK_CALL(sigaction(SIGBUS, &was, NULL));
  }
  host_page_free(page);
}

/* A record's memory is read by the host, so that this fault is its own. */
static void the_hosts_reads_of_a_record_are_its_own(struct test_place *at) {
  struct sigaction was;
  host_install(NULL, SA_SIGINFO, &was);
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record record;
  CHECK_OK(duralog_read_at(r, segment_of(log, CUT_SEGMENT).end - 1, &record));
  file_cut(segment_path(at->path, CUT_SEGMENT), CUT_AT);
  host_forget(true);
  bool faulted = sigsetjmp(host.back, 1) != 0;
  if (!faulted) host.code = *(const volatile uint8_t *)record.data;
  CHECK(faulted == !at->copying);
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, &was, NULL));
}

static void touch_host_page(void *context) {
  volatile uint8_t *page = host_page(context);
  page[0] = 1;
}

static void fault_by_default(void *context) {
  dies_by_default();
  CHECK_OK(duralog_guard_install());
  touch_host_page(context);
}

static void fault_though_ignored(void *context) {
  dies_by_default();
  signal(SIGBUS, SIG_IGN);
  CHECK_OK(duralog_guard_install());
  touch_host_page(context);
}

static void sent_by_default(void *context) {
  (void)context;
  dies_by_default();
  CHECK_OK(duralog_guard_install());
  kill(getpid(), SIGBUS);
}

/* Sent, it is ignored; and the second fault of a handler that is good for one
 * is fatal. */
static void sent_though_ignored(void *context) {
  (void)context;
  dies_by_default();
  signal(SIGBUS, SIG_IGN);
  CHECK_OK(duralog_guard_install());
  for (int i = 0; i < 3; i++) CHECK_CALL(kill(getpid(), SIGBUS));
  CHECK_OK(duralog_guard_remove());
  CHECK(signal(SIGBUS, SIG_DFL) == SIG_IGN);
}

static void fault_twice_for_one(void *context) {
  dies_by_default();
  host_install(host_plain, (int)SA_RESETHAND, NULL);
  CHECK_OK(duralog_guard_install());
  volatile uint8_t *page = host_page(context);
  CHECK(host_faults(page));
  page[0] = 1;
}

static void what_the_host_did_not_handle_kills_as_before(
    struct test_place *at) {
  int killed = 256 + SIGBUS;
  CHECK_EQUAL(child_end(child_start(fault_by_default, at)), killed);
  CHECK_EQUAL(child_end(child_start(fault_though_ignored, at)), killed);
  CHECK_EQUAL(child_end(child_start(sent_by_default, at)), killed);
  CHECK_EQUAL(child_end(child_start(fault_twice_for_one, at)), killed);
  child_run(sent_though_ignored, at);
}

static void *read_all_again(void *context) {
  struct reading *x = context;
  while (atomic_load(x->ready) == 0) check_numbers(x->log, RECORDS);
  return NULL;
}

/* Whatever a thread is doing when it is sent. */
static void a_signal_that_was_sent_is_the_hosts(struct test_place *at) {
  enum { SIGNALS = 500 };
  atomic_int over = 0;
  /* Any SIGBUS is a fault to it: it calls the handler wherever it is itself,
   * also with a lock of its own in hand, and then waits for that for ever. */
  if (NO_THREADS_AFTER_FORK)
    test_skip("ThreadSanitizer may hang where a SIGBUS is sent");
  struct sigaction was;
  host_install(NULL, SA_SIGINFO, &was);
  host_forget(false);
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  struct reading x = {log, &over};
  pthread_t thread = thread_start(read_all_again, &x);
  for (int i = 0; i < SIGNALS; i++) {
    int before = host.calls;
    CHECK_EQUAL(pthread_kill(thread, SIGBUS), 0);
    while (host.calls == before) sched_yield();
    CHECK_EQUAL(host.code, SI_TKILL);
  }
  atomic_store(&over, 1);
  thread_join(thread);
  CHECK_EQUAL(host.calls, SIGNALS);
  close_log(log);
  CHECK_OK(duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, &was, NULL));
}

/* ---- installing and removing ---- */

static void check_same_action(const struct sigaction *a) {
  struct sigaction b;
  CHECK_CALL(sigaction(SIGBUS, NULL, &b));
  CHECK(a->sa_sigaction == b.sa_sigaction);
  CHECK_EQUAL(a->sa_flags, b.sa_flags);
  for (int i = 1; i < 32; i++)
    CHECK_EQUAL(sigismember(&a->sa_mask, i), sigismember(&b.sa_mask, i));
}

static void removing_restores_exactly_what_was_there(struct test_place *at) {
  struct sigaction was, hosts;
  (void)at;
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_guard_remove());
  host_install(NULL, SA_SIGINFO | SA_RESTART, &was);
  CHECK_CALL(sigaction(SIGBUS, NULL, &hosts));
  for (int i = 0; i < 1000; i++) {
    CHECK_OK(duralog_guard_install());
    CHECK_OK(duralog_guard_remove());
    check_same_action(&hosts);
  }
  CHECK_OK(duralog_guard_install());
  CHECK_OK(duralog_guard_install());
  CHECK_OK(duralog_guard_remove());
  struct sigaction now;
  CHECK_CALL(sigaction(SIGBUS, NULL, &now));
  CHECK(now.sa_sigaction != hosts.sa_sigaction);
  CHECK_OK(duralog_guard_remove());
  check_same_action(&hosts);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, &was, NULL));
}

static struct sigaction covered; /* by the host's handler below */

static void host_chains(int number, siginfo_t *info, void *context) {
  host.calls++;
  if (covered.sa_flags & SA_SIGINFO)
    covered.sa_sigaction(number, info, context);
  else
    covered.sa_handler(number);
}

static void host_cover(void) {
  struct sigaction a = {.sa_sigaction = host_chains, .sa_flags = SA_SIGINFO};
  sigemptyset(&a.sa_mask);
  CHECK_CALL(sigaction(SIGBUS, &a, &covered));
}

static void a_handler_over_the_guards_may_pass_on(struct test_place *at) {
  struct sigaction was, now;
  volatile uint8_t *page = host_page(at);
  host_install(NULL, SA_SIGINFO, &was);
  CHECK_OK(duralog_guard_install());
  host_cover();
  host_forget(false);
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_in_cut(log, at->path);
  read_around(log, r, by_next);
  CHECK((host.calls > 0) == !at->copying);

  /* Covered, it cannot go: it stays, guards nothing, and passes on. */
  CHECK_IS(DURALOG_E_BUSY, duralog_guard_remove());
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, NULL, &now));
  CHECK(now.sa_sigaction == host_chains);
  CHECK(host_faults(page));
  CHECK_EQUAL(host.calls, 2); /* the one over it, and the one under it */

  /* Another one over both. */
  CHECK_OK(duralog_guard_install());
  host_forget(false);
  read_around(log, r, by_next);
  CHECK_EQUAL(host.calls, 0);
  CHECK(host_faults(page));
  CHECK_EQUAL(host.calls, 2);
  CHECK_OK(duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, NULL, &now));
  CHECK(now.sa_sigaction == host_chains);

  /* The host takes its own away: the guard's is on top again, and goes. */
  CHECK_CALL(sigaction(SIGBUS, &covered, NULL));
  CHECK_OK(duralog_guard_install());
  CHECK_OK(duralog_guard_remove());
  CHECK_CALL(sigaction(SIGBUS, NULL, &now));
  CHECK(now.sa_sigaction == host_info);
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_CALL(sigaction(SIGBUS, &was, NULL));
  host_page_free(page);
}

static void cover_again_and_again(void *context) {
  int covers = 0;
  (void)context;
  for (; covers < 100; covers++) {
    duralog_error error = duralog_guard_install();
    if (error) CHECK_IS(DURALOG_E_RESOURCES, error);
    if (error) break;
    signal(SIGBUS, SIG_IGN);
    CHECK_IS(DURALOG_E_BUSY, duralog_guard_remove());
  }
  CHECK(covers >= 2 && covers < 100);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_guard_remove());
}

static void hosts_that_cover_it_for_ever_are_told(struct test_place *at) {
  child_run(cover_again_and_again, at);
}

/* ---- forks, stacks, masks ---- */

static void in_a_child(void *context) {
  struct test_place *at = context;
  const char *path = path_in(at, "child");
  duralog *log = log_make(at, path);
  duralog_reader *r = reader_in_cut(log, path);
  read_around(log, r, by_next);
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_guard_remove());
  CHECK_OK(duralog_guard_install());
}

static void a_forked_child_is_guarded_too(struct test_place *at) {
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  child_run(in_a_child, at);
  duralog_reader *r = reader_in_cut(log, at->path);
  read_around(log, r, by_next);
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
}

/* A fault leaves the thread's signal mask and signal stack as they were. */
static void a_fault_leaves_the_thread_as_it_was(struct test_place *at) {
  sigset_t one, before, after;
  stack_t ours = {.ss_size = 64 << 10, .ss_sp = malloc(64 << 10)}, was, now;
  CHECK(ours.ss_sp != NULL);
  ours.ss_flags = (int)SS_AUTODISARM;
  CHECK_CALL(sigaltstack(&ours, &was));
  sigemptyset(&one);
  sigaddset(&one, SIGUSR2);
  CHECK_EQUAL(pthread_sigmask(SIG_BLOCK, &one, &before), 0);
  CHECK_OK(duralog_guard_install());
  duralog *log = log_make(at, at->path);
  duralog_reader *r = reader_in_cut(log, at->path);
  read_around(log, r, by_next);
  CHECK_OK(duralog_reader_close(&r));
  close_log(log);
  CHECK_OK(duralog_guard_remove());
  CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, &before, &after), 0);
  for (int i = 1; i < 32; i++)
    CHECK_EQUAL(sigismember(&after, i),
                i == SIGUSR2 ? 1 : sigismember(&before, i));
  CHECK_CALL(sigaltstack(&was, &now));
  CHECK(now.ss_sp == ours.ss_sp);
  CHECK_EQUAL(now.ss_flags, ours.ss_flags);
  free(ours.ss_sp);
}

int main(int argc, char **argv) {
  static const struct test tests[] = {
      TEST_BOTH(read_next_of_a_cut_segment_is_an_error),
      TEST(the_next_record_across_a_cut_is_an_error),
      TEST_BOTH(read_many_of_a_cut_segment_is_an_error),
      TEST_BOTH(read_at_in_a_cut_segment_is_an_error),
      TEST_BOTH(seek_time_steps_over_a_cut_segment),
      TEST_BOTH(eight_threads_may_fault_at_once),
      TEST(an_append_into_a_cut_segment_poisons),
      TEST(a_batch_into_a_cut_segment_poisons),
      TEST(a_durable_append_into_a_cut_segment_poisons),
      TEST(publishing_into_a_cut_segment_poisons),
      TEST(aborting_in_a_cut_segment_poisons),
      TEST(without_the_guard_a_cut_segment_kills),
      TEST(once_removed_it_guards_no_more),
      TEST(the_library_installs_no_handler_by_itself),
      TEST(the_hosts_handler_gets_its_own_faults),
      TEST_BOTH(the_hosts_reads_of_a_record_are_its_own),
      TEST(what_the_host_did_not_handle_kills_as_before),
      TEST(a_signal_that_was_sent_is_the_hosts),
      TEST(removing_restores_exactly_what_was_there),
      TEST_BOTH(a_handler_over_the_guards_may_pass_on),
      TEST(hosts_that_cover_it_for_ever_are_told),
      TEST(a_forked_child_is_guarded_too),
      TEST(a_fault_leaves_the_thread_as_it_was),
  };
  return TEST_MAIN(tests);
}
