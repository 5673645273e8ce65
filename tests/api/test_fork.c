/* SPDX-License-Identifier: MIT
 *
 * fork and exec (I13): a child can use nothing it inherited, and harms nothing
 * of its parent's; it can have logs of its own.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

struct family {
  const struct test_place *at;
  duralog *log;
  duralog_reader *reader;
  duralog_record record; /* the last one read */
  duralog_held *held;
};

static duralog_options options_of(const struct test_place *at) {
  duralog_options o = small_options();
  /* No thread that might be half-way through making a segment at the fork: what
   * it had opened by then nobody could close in the child. */
  o.host_driven = true;
  o.copying_reads = at->copying;
  return o;
}

/* For a log that a child opens. */
static duralog_options options_of_child(const struct test_place *at) {
  duralog_options o = options_of(at);
  o.host_driven = NO_THREADS_AFTER_FORK;
  return o;
}

/* A log with 100 records, a reader behind the first, and a hold on that. */
static void found_family_with(struct family *f, const struct test_place *at,
                              const duralog_options *o) {
  *f = (struct family){.at = at, .log = open_with(at->path, o)};
  append_numbers(f->log, 0, 100);
  f->reader = reader_of(f->log, DURALOG_LEVEL_WRITTEN);
  CHECK_OK(duralog_read_next(f->reader, &f->record));
  CHECK_OK(duralog_hold(f->reader, &f->record, &f->held));
}

static void found_family(struct family *f, const struct test_place *at) {
  duralog_options o = options_of(at);
  found_family_with(f, at, &o);
}

static void part_family(struct family *f) {
  CHECK_OK(duralog_release(&f->held));
  CHECK_OK(duralog_reader_close(&f->reader));
  close_log(f->log);
}

static void close_inherited(struct family *f) {
  CHECK(record_is(&f->record, 0)); /* memory that was held stays */
  CHECK_OK(duralog_release(&f->held));
  CHECK_OK(duralog_reader_close(&f->reader));
  CHECK_OK(duralog_close(&f->log));
  CHECK(f->log == NULL);
  CHECK(!is_mapped_below(f->at->path));
  CHECK(!is_open_below(f->at->path));
}

static void child_uses_and_closes(void *context) {
  struct family *f = context;
  check_forked_log(f->log);
  check_forked_reader(f->reader, &f->record);
  close_inherited(f);
}

static void a_child_can_use_nothing_it_inherited(struct test_place *at) {
  struct family f;
  found_family(&f, at);
  for (int i = 0; i < 3; i++) {
    child_run(child_uses_and_closes, &f);
    append_numbers(f.log, watermarks_of(f.log).end, 10);
  }
  check_numbers(f.log, 130);
  part_family(&f);
}

static void child_looks_at_its_reader(void *context) {
  struct family *f = context;
  duralog_damage damage = {.from = 77};
  uint64_t offset = 77;
  CHECK_IS(DURALOG_E_FORKED, duralog_tell(f->reader, &offset));
  CHECK_IS(DURALOG_E_FORKED, duralog_reader_diagnose(f->reader, &damage, NULL));
  CHECK(offset == 77 && damage.from == 77);
}

static void a_child_cannot_even_look_at_its_reader(struct test_place *at) {
  struct family f; /* "every call but the closing ones returns FORKED" */
  found_family(&f, at);
  child_run(child_looks_at_its_reader, &f);
  part_family(&f);
}

/* Also where readers and holds are still out: nothing is waited for. */
static void child_closes_with_readers(void *context) {
  struct family *f = context;
  CHECK_OK(duralog_close(&f->log));
}

static void the_parents_lock_and_data_are_left_alone(struct test_place *at) {
  struct family f;
  duralog_options o = options_of(at);
  o.host_driven = true; /* the parent itself does nothing meanwhile */
  found_family_with(&f, at, &o);
  uint64_t before = tree_digest(at->path, true);
  child_run(child_closes_with_readers, &f);
  child_run(child_uses_and_closes, &f);
  CHECK_UNCHANGED(before, at->path);
  open_fails(DURALOG_E_BUSY, at->path, &o); /* still locked */
  append_numbers(f.log, 100, 50);
  check_numbers(f.log, 150);
  part_family(&f);
  f.log = open_with(at->path, &o);
  check_numbers(f.log, 150);
  close_log(f.log);
}

static void child_opens_the_parents(void *context) {
  struct family *f = context;
  duralog_options o = options_of_child(f->at);
  open_fails(DURALOG_E_BUSY, f->at->path, &o);
  o.read_only = true;
  duralog_report report;
  duralog *log = open_reporting(f->at->path, &o, &report);
  CHECK(report.writer_lives);
  check_numbers(log, 100);
  close_log(log);
}

static void a_child_finds_its_parents_log_taken(struct test_place *at) {
  struct family f; /* I12 */
  found_family(&f, at);
  child_run(child_opens_the_parents, &f);
  part_family(&f);
}

static void child_has_its_own(void *context) {
  struct family *f = context;
  duralog_options o = options_of_child(f->at);
  const char *own = path_in(f->at, "own");
  duralog *log = open_with(own, &o);
  append_numbers(log, 0, 500);
  check_forked_log(f->log); /* its own opening makes the inherited no better */
  check_forked_reader(f->reader, &f->record);
  check_numbers(log, 500);
  close_inherited(f);
  append_numbers(log, 500, 100);
  close_log(log);
  log = open_with(own, &o);
  check_numbers(log, 600);
  close_log(log);
}

static void a_child_can_have_its_own_log(struct test_place *at) {
  struct family f;
  duralog_options o = options_of(at);
  found_family(&f, at);
  child_run(child_has_its_own, &f);
  append_numbers(f.log, 100, 10);
  check_numbers(f.log, 110);
  part_family(&f);
  f.log = open_with(path_in(at, "own"), &o);
  check_numbers(f.log, 600);
  close_log(f.log);
}

static void grandchild(void *context) {
  struct family *f = context;
  check_forked_log(f->log);
  close_inherited(f);
}

static void child_with_child(void *context) {
  struct family *f = context;
  check_forked_log(f->log);
  child_run(grandchild, f);
  check_forked_log(f->log);
  close_inherited(f);
}

static void children_of_children_cannot_either(struct test_place *at) {
  struct family f;
  found_family(&f, at);
  child_run(child_with_child, &f);
  append_numbers(f.log, 100, 10);
  part_family(&f);
}

/* A child whose own log is open forks again: each process has its own. */
static void child_forks_with_its_own(void *context) {
  struct family *f = context, own;
  struct test_place below = *f->at;
  snprintf(below.path, sizeof below.path, "%s", path_in(f->at, "below"));
  duralog_options o = options_of(f->at);
  found_family_with(&own, &below, &o);
  child_run(child_uses_and_closes, &own);
  check_forked_log(f->log);
  append_numbers(own.log, 100, 10);
  part_family(&own);
}

static void a_childs_own_log_is_closed_to_its_children(struct test_place *at) {
  struct family f;
  found_family(&f, at);
  child_run(child_forks_with_its_own, &f);
  part_family(&f);
}

/* ---- while threads append ---- */

struct appending {
  const struct test_place *at;
  duralog *log;
  _Atomic bool stop;
};

static void *append_on(void *context) {
  struct appending *a = context;
  while (!atomic_load(&a->stop)) CHECK_OK(duralog_append(a->log, "x", 1, NULL));
  return NULL;
}

static void child_of_busy_parent(void *context) {
  struct appending *a = context;
  check_forked_log(a->log);
  CHECK_OK(duralog_close(&a->log));
  duralog_options o = options_of_child(a->at);
  const char *own = path_in(a->at, "own");
  directory_remove(own);
  duralog *log = open_with(own, &o);
  append_numbers(log, 0, 20);
  check_numbers(log, 20);
  close_log(log);
}

static void forks_amid_appends_harm_nobody(struct test_place *at) {
  const duralog_durability modes[] = {
      {.pagecache = true}, {.sync_every_records = 1}, {.sync_interval_ms = 10}};
  if (SANITIZED) /* its allocator's locks are not fork's business */
    test_skip("a sanitizer's child of a busy parent may hang in malloc");
  for (size_t m = 0; m < COUNT_OF(modes); m++) {
    duralog_options o = options_of(at);
    o.durability = modes[m];
    struct appending a = {.at = at, .log = open_with(at->path, &o)};
    pthread_t threads[4];
    CHECK_OK(duralog_append(a.log, "x", 1, NULL));
    for (size_t i = 0; i < COUNT_OF(threads); i++)
      threads[i] = thread_start(append_on, &a);
    for (int i = 0; i < 10; i++) child_run(child_of_busy_parent, &a);
    atomic_store(&a.stop, true);
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    uint64_t end = watermarks_of(a.log).end;
    close_log(a.log);
    a.log = open_with(at->path, &o);
    CHECK_EQUAL(watermarks_of(a.log).end, end);
    close_log(a.log);
    directory_remove(at->path);
  }
}

/* ---- a parent that ends first ---- */

struct orphanage {
  const struct test_place *at;
  struct channel ready, go;
  pid_t orphan;
  uint64_t checks; /* by the orphan */
};

static void leave_orphan(void *context) {
  struct orphanage *o = context;
  struct family f;
  found_family(&f, o->at);
  o->orphan = CHECK_CALL(fork());
  if (o->orphan == 0) {
    close(o->go.in); /* so that it does not outlive the test */
    channel_tell(&o->ready);
    channel_hear(&o->go); /* now another writer has the log */
    check_forked_log(f.log);
    check_forked_reader(f.reader, &f.record);
    close_inherited(&f);
    o->checks = 1;
    channel_tell(&o->ready);
    _exit(0);
  }
  channel_hear(&o->ready); /* it runs: the fork is over */
  raise(SIGKILL);
}

static void an_orphan_harms_no_later_writer(struct test_place *at) {
  struct orphanage *o = shared_memory(sizeof *o); /* I13 */
  duralog_options options = options_of(at);
  o->at = at;
  channel_open(&o->ready);
  channel_open(&o->go);
  CHECK_EQUAL(child_end(child_start(leave_orphan, o)), 256 + SIGKILL);
  duralog *log = open_with(at->path, &options);
  append_numbers(log, 100, 10);
  channel_tell(&o->go);
  channel_hear(&o->ready);
  CHECK_EQUAL(o->checks, 1);
  open_fails(DURALOG_E_BUSY, at->path, &options); /* ours is still held */
  append_numbers(log, 110, 10);
  check_numbers(log, 120);
  close_log(log);
  channel_close(&o->ready);
  channel_close(&o->go);
  shared_memory_free(o, sizeof *o);
}

/* ---- exec ---- */

static void exec_in_child(void *context) {
  (void)context;
  CHECK_CALL(execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL));
}

static void an_exec_in_a_child_leaves_the_parent_alone(struct test_place *at) {
  struct family f;
  duralog_options o = options_of(at);
  found_family(&f, at);
  child_run(exec_in_child, &f);
  CHECK_EQUAL(system("exit 3") >> 8, 3);
  open_fails(DURALOG_E_BUSY, at->path, &o);
  append_numbers(f.log, 100, 10);
  check_numbers(f.log, 110);
  part_family(&f);
}

static const struct test tests[] = {
    TEST_BOTH(a_child_can_use_nothing_it_inherited),
    TEST(a_child_cannot_even_look_at_its_reader),
    TEST_BOTH(the_parents_lock_and_data_are_left_alone),
    TEST(a_child_finds_its_parents_log_taken),
    TEST_BOTH(a_child_can_have_its_own_log),
    TEST(children_of_children_cannot_either),
    TEST(a_childs_own_log_is_closed_to_its_children),
    TEST(forks_amid_appends_harm_nobody),
    TEST(an_orphan_harms_no_later_writer),
    TEST(an_exec_in_a_child_leaves_the_parent_alone),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
