/* SPDX-License-Identifier: MIT
 *
 * Golden files: logs of each format version, good and bad, and what must come
 * of them for ever after (I34). See tests/golden/README.md.
 *
 * Each case is put into a directory and opened read-only, which changes
 * nothing; then for writing, which fails and changes nothing or takes one more
 * record; where it is damaged, once more with the damage accepted.
 *
 * GOLDEN_PRINT=1 prints what was found in the form of an `expect` file.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "golden.h"
#include "golden_expect.h"
#include "support.h"

#define GOLDEN_DIRECTORY "tests/golden/v1"

/* ---- putting a case into place ---- */

static void put_files(const char *directory, const char *to) {
  struct golden_files files;
  golden_load_all(directory, &files);
  directory_make(to);
  for (size_t i = 0; i < files.count; i++)
    file_store(path_join(to, files.list[i].name), files.list[i].bytes,
               files.list[i].size);
  golden_free(&files);
}

static void put_case(const char *name, const char *to) {
  char directory[256], groups[300];
  snprintf(directory, sizeof directory, "%s/%s", GOLDEN_DIRECTORY, name);
  snprintf(groups, sizeof groups, "%s/groups", directory);
  directory_remove(to);
  put_files(directory, to);
  if (access(groups, F_OK) == 0) put_files(groups, path_join(to, "groups"));
}

/* ---- looking at an open log ---- */

static void check_report(const struct expect *e, const duralog_report *r) {
  CHECK_EQUAL(r->start, e->start);
  CHECK_EQUAL(r->end, e->end);
  CHECK_EQUAL(r->durable_found, e->durable);
  CHECK_EQUAL(r->torn_bytes, e->torn);
  CHECK_EQUAL(r->epoch, e->epoch);
  CHECK_EQUAL(r->segments, e->segments);
  CHECK_EQUAL(r->clean, e->clean);
  CHECK_EQUAL(r->damage_count, e->damage_count);
  for (size_t i = 0; i < e->damage_count; i++) {
    CHECK_EQUAL(r->damage[i].from, e->damage[i].from);
    CHECK_EQUAL(r->damage[i].to, e->damage[i].to);
    CHECK_EQUAL(r->damage[i].segment, e->damage[i].segment);
  }
}

static void check_record(const struct expect_line *l, const duralog_record *r) {
  test_note("record %llu", (unsigned long long)l->from);
  CHECK_EQUAL(r->offset, l->from);
  CHECK_EQUAL(r->epoch, l->epoch);
  CHECK_EQUAL(r->timestamp_ms, l->time);
  CHECK_EQUAL(r->batch_last, l->more ? UINT64_MAX : l->from);
  CHECK_BYTES(l->data.bytes, l->data.size, r->data, r->size);
  CHECK_EQUAL(r->key != NULL, l->key.given);
  if (l->key.given) CHECK_BYTES(l->key.bytes, l->key.size, r->key, r->key_size);
}

/* The same error and range each time, until the caller seeks past it. */
static void check_lost(const struct expect_line *l, duralog_reader *reader) {
  for (int again = 0; again < 3; again++) {
    duralog_record record;
    duralog_damage damage;
    test_note("lost %llu, time %d", (unsigned long long)l->from, again + 1);
    CHECK_IS(DURALOG_E_CORRUPT, duralog_read_next(reader, &record));
    CHECK_OK(duralog_reader_diagnose(reader, &damage, NULL));
    CHECK_EQUAL(damage.from, l->from);
    CHECK_EQUAL(damage.to, l->to);
  }
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, l->to));
}

/* From the start to the end, and each record by itself, backwards. `then`, of
 * records appended by the test, follow what is expected. */
static void check_contents(const struct expect *e, duralog *log,
                           uint64_t then) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record record;
  for (size_t i = 0; i < e->count; i++) {
    if (e->lines[i].lost) {
      check_lost(&e->lines[i], reader);
      continue;
    }
    test_note("record %llu", (unsigned long long)e->lines[i].from);
    CHECK_OK(duralog_read_next(reader, &record));
    check_record(&e->lines[i], &record);
  }
  for (uint64_t i = 0; i < then; i++) {
    test_note("record %llu behind", (unsigned long long)i + 1);
    CHECK_OK(duralog_read_next(reader, &record));
    CHECK_BYTES("after", 5, record.data, record.size);
  }
  test_note("the end");
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &record));
  for (size_t i = e->count; i-- > 0;) {
    const struct expect_line *l = &e->lines[i];
    if (l->lost) {
      CHECK_IS(DURALOG_E_CORRUPT, duralog_read_at(reader, l->from, &record));
      CHECK_IS(DURALOG_E_CORRUPT, duralog_read_at(reader, l->to - 1, &record));
    } else {
      CHECK_OK(duralog_read_at(reader, l->from, &record));
      check_record(l, &record);
    }
  }
  test_note("%s", "");
  CHECK_OK(duralog_reader_close(&reader));
}

static void print_found(const char *path, const duralog_options *o) {
  duralog_report report = {.struct_size = sizeof report};
  duralog *log = NULL;
  duralog_error error = duralog_open(path, o, &log, &report, NULL);
  expect_print(o->read_only ? "read" : "write", error, &report, log);
  if (log) duralog_close(&log);
}

/* ---- a case ---- */

static duralog_options options_of(const struct test_place *at) {
  return (duralog_options){.struct_size = sizeof(duralog_options),
                           .segment_bytes = 16 * 1024,
                           .must_exist = true,
                           .host_driven = true,
                           .copying_reads = at->copying};
}

static void read_only_it_is_as_expected(const struct expect *e,
                                        struct test_place *at) {
  duralog_options o = options_of(at);
  uint64_t before = tree_digest(at->path, true);
  o.read_only = true;
  test_note("read-only");
  if (e->read == DURALOG_OK) {
    duralog_report report = {.struct_size = sizeof report};
    duralog *log = open_reporting(at->path, &o, &report);
    check_report(e, &report);
    check_contents(e, log, 0);
    close_log(log);
  } else {
    open_fails(e->read, at->path, &o);
  }
  CHECK_UNCHANGED(before, at->path);
}

/* One more record, and again after a close. */
static void takes_more(const struct expect *e, struct test_place *at,
                       const duralog_options *o, uint64_t offset) {
  duralog_options again = *o;
  duralog_report report = {.struct_size = sizeof report};
  again.accept_damage = false;
  for (uint64_t i = 0; i < 3; i++) {
    uint64_t got;
    test_note("writing, time %llu", (unsigned long long)i + 1);
    duralog *log = open_reporting(at->path, i ? &again : o, &report);
    if (i == 0 && !o->accept_damage) check_report(e, &report);
    if (i > 0) {
      CHECK(report.clean);
      CHECK_EQUAL(report.torn_bytes, 0);
      CHECK_EQUAL(report.damage_count, 0);
    }
    check_contents(e, log, i);
    CHECK_OK(duralog_append(log, "after", 5, &got));
    CHECK_EQUAL(got, offset + i);
    check_contents(e, log, i + 1);
    close_log(log);
  }
}

/* Where the log goes on above its end, as with offsets seen behind the damage,
 * those between are lost too. */
static void expect_gap(struct expect *e) {
  struct expect_line *last = e->count ? &e->lines[e->count - 1] : NULL;
  if (e->accept <= e->end) return;
  if (last && last->lost && last->to == e->end)
    last->to = e->accept;
  else
    e->lines[e->count++] =
        (struct expect_line){.lost = true, .from = e->end, .to = e->accept};
}

static void golden(struct test_place *at, const char *name) {
  struct expect e;
  char path[256];
  duralog_options o = options_of(at);
  snprintf(path, sizeof path, "%s/%s/expect", GOLDEN_DIRECTORY, name);
  put_case(name, at->path);
  if (getenv("GOLDEN_PRINT")) {
    o.read_only = true;
    print_found(at->path, &o);
    o.read_only = false;
    print_found(at->path, &o);
    return;
  }
  expect_load(path, &e);
  read_only_it_is_as_expected(&e, at);
  if (e.write == DURALOG_OK) {
    takes_more(&e, at, &o, e.end);
  } else {
    uint64_t before = tree_digest(at->path, true);
    test_note("writing");
    open_fails(e.write, at->path, &o);
    CHECK_UNCHANGED(before, at->path);
  }
  if (e.accepted) {
    put_case(name, at->path);
    o.accept_damage = true;
    expect_gap(&e);
    takes_more(&e, at, &o, e.accept);
  }
  expect_free(&e);
}

#define CASE_TEST(name) \
  static void name(struct test_place *at) { golden(at, #name); }
GOLDEN_CASES(CASE_TEST)

/* ---- the groups of the case `groups` ---- */

static const struct group_expected {
  const char *name;
  uint64_t committed;
  int64_t time_ms; /* of the commit, or when it was made */
  const char *metadata;
  bool is_protected;
} groups_expected[] = {
    {"untouched", DURALOG_NO_OFFSET, INT64_C(1700000001055), "", false},
    {"one", 2, INT64_C(1700000001060), "", false},
    {"durable", 2, INT64_C(1700000001065), "", false},
    {"three", 7, INT64_C(1700000001070), "", false},
    {"noted", 5, INT64_C(1700000001075), "up to the fifth", true},
    {"torn", 2, INT64_C(1700000001080), "", false}, /* and not 5 */
};

static void check_groups(duralog *log) {
  for (size_t i = 0; i < sizeof groups_expected / sizeof *groups_expected;
       i++) {
    const struct group_expected *e = &groups_expected[i];
    duralog_group g = {.struct_size = sizeof g};
    test_note("group %s", e->name);
    CHECK_OK(duralog_describe_group(log, e->name, &g));
    CHECK_EQUAL(g.committed, e->committed);
    CHECK_EQUAL(g.epoch, e->committed == DURALOG_NO_OFFSET ? 0 : 1);
    CHECK_EQUAL(g.time_ms, e->time_ms);
    CHECK(strcmp(g.metadata, e->metadata) == 0);
    CHECK_EQUAL(g.is_protected, e->is_protected);
  }
}

/* I24, I26: the next one comes, and commits go on. */
static void consume_on(duralog *log, const struct group_expected *e) {
  duralog_consumer *c = NULL;
  const duralog_record *records = NULL;
  size_t count = 0;
  const duralog_consumer_options o = {.struct_size = sizeof o,
                                      .manual_commit = true};
  duralog_group g = {.struct_size = sizeof g};
  test_note("consuming for %s", e->name);
  CHECK_OK(duralog_consumer_open(log, e->name, &o, &c));
  CHECK_OK(duralog_poll(c, 1, 0, 0, &records, &count));
  CHECK_EQUAL(records[0].offset,
              e->committed == DURALOG_NO_OFFSET ? 0 : e->committed);
  uint64_t next = records[0].offset + 1;
  CHECK_OK(duralog_commit(c, next, DURALOG_LEVEL_DURABLE, NULL));
  CHECK_OK(duralog_consumer_close(&c));
  CHECK_OK(duralog_describe_group(log, e->name, &g));
  CHECK_EQUAL(g.committed, next);
}

/* Neither is touched: not by looking, and not by who wants to be a member. */
static void check_refused(duralog *log, const char *name, duralog_error error,
                          struct test_place *at) {
  duralog_group g = {.struct_size = sizeof g};
  duralog_consumer *c = NULL;
  char groups[512];
  snprintf(groups, sizeof groups, "%s", path_join(at->path, "groups"));
  uint64_t before = tree_digest(groups, true);
  test_note("group %s", name);
  CHECK_IS(error, duralog_describe_group(log, name, &g));
  CHECK_IS(error, duralog_consumer_open(log, name, NULL, &c));
  CHECK_UNCHANGED(before, groups);
}

static void groups_are_as_they_were_and_go_on(struct test_place *at) {
  duralog_options o = options_of(at);
  put_case("groups", at->path);
  o.read_only = true;
  duralog *log = open_with(at->path, &o);
  check_groups(log);
  check_refused(log, "broken", DURALOG_E_CORRUPT, at);
  check_refused(log, "newer", DURALOG_E_NEWER, at);
  close_log(log);
  o.read_only = false;
  log = open_with(at->path, &o);
  check_groups(log);
  check_refused(log, "broken", DURALOG_E_CORRUPT, at);
  check_refused(log, "newer", DURALOG_E_NEWER, at);
  for (size_t i = 0; i < sizeof groups_expected / sizeof *groups_expected; i++)
    consume_on(log, &groups_expected[i]);
  close_log(log);
}

static void every_case_is_listed(struct test_place *at) {
#define CASE_COUNT(name) +1
  (void)at;
  uint64_t found = 0;
  DIR *dir = opendir(GOLDEN_DIRECTORY);
  CHECK(dir != NULL);
  for (struct dirent *entry; (entry = readdir(dir));)
    if (entry->d_name[0] != '.') found++;
  closedir(dir);
  CHECK_EQUAL(found, 0 GOLDEN_CASES(CASE_COUNT));
}

int main(int argc, char **argv) {
  const struct test tests[] = {TEST(every_case_is_listed),
                               TEST_BOTH(groups_are_as_they_were_and_go_on),
#define CASE_LIST(name) TEST_BOTH(name),
                               GOLDEN_CASES(CASE_LIST)};
  return TEST_MAIN(tests);
}
