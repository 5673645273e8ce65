/* SPDX-License-Identifier: MIT
 *
 * A published record is an appended one. Two simulated worlds live through the
 * same random story; in one all is appended, in the other it is reserved and
 * published, now and then behind an abort. All that a host can see of the two
 * is the same after each step: offsets and timestamps, watermarks and the age
 * of what is unsynced, statistics, what a policy of the host's own is asked,
 * when a tick is due. In the end so are the files, byte for byte.
 */
#include "format.h"
#include "log.h"
#include "support.h"
#include "support_sim.h"

#define DIRECTORY "/log"

enum {
  STORY_STEPS = 120,
  SIZE_MAX_BYTES = 1200,
  STORIES = SANITIZED ? 5 : 200
};

struct twin {
  bool reserves;
  struct sim *sim;
  duralog *log;
  uint64_t asked; /* the host's policy */
  duralog_unsynced last_asked;
};

static bool ask_host(void *context, const duralog_unsynced *u) {
  struct twin *t = context;
  t->asked++;
  t->last_asked = *u;
  return u->records % 7 == 0 || u->oldest_ms > 300;
}

static const struct {
  duralog_durability durability;
  bool strict, policy;
} modes[] = {
    {.strict = false},
    {.durability = {.sync_every_records = 5}},
    {.durability = {.sync_every_records = 20}, .policy = true},
    {.durability = {.sync_every_bytes = 3000}, .policy = true},
    {.durability = {.sync_interval_ms = 50}},
    {.durability = {.sync_interval_ms = 5000}, .policy = true},
    {.durability = {.pagecache = true}},
    {.durability = {.pagecache = true}, .policy = true},
    {.durability = {.sync_every_records = 3}, .strict = true},
};

static void twin_open(struct twin *t, size_t mode) {
  duralog_options o = {.struct_size = sizeof o,
                       .durability = modes[mode].durability,
                       .strict = modes[mode].strict,
                       .segment_bytes = SEGMENT_BYTES_MIN,
                       .host_driven = true,
                       .sync_wanted = modes[mode].policy ? ask_host : NULL,
                       .sync_wanted_context = t,
                       .environment = sim_environment(t->sim)};
  t->log = open_with(DIRECTORY, &o);
}

/* The room that a reservation asks for decides when to roll, so both ask for
 * the same. */
static uint64_t twin_append(struct twin *t, const uint8_t *data, size_t size,
                            duralog_level level, bool in_vain) {
  const duralog_entry e = {.data = data, .size = size};
  uint64_t offset = UINT64_MAX;
  void *memory = NULL;
  if (!t->reserves) {
    CHECK_OK(duralog_append_batch(t->log, &e, 1, level, &offset));
    return offset;
  }
  if (in_vain) {
    CHECK_OK(duralog_reserve(t->log, size, -1, &memory));
    memset(memory, 'v', size);
    CHECK_OK(duralog_abort(t->log));
  }
  CHECK_OK(duralog_reserve(t->log, size, -1, &memory));
  memcpy(memory, data, size);
  CHECK_OK(duralog_publish(t->log, size, level, &offset));
  return offset;
}

static uint64_t both_append(struct twin t[2], uint64_t *random) {
  static uint8_t data[SIZE_MAX_BYTES];
  size_t size = random_below(random, 4) ? random_below(random, 100)
                                        : random_below(random, SIZE_MAX_BYTES);
  duralog_level level = (duralog_level)random_below(random, 3);
  bool in_vain = random_below(random, 5) == 0;
  for (size_t i = 0; i < size; i++)
    data[i] = (uint8_t)random_below(random, 256);
  uint64_t offset = twin_append(&t[0], data, size, level, in_vain);
  CHECK_EQUAL(twin_append(&t[1], data, size, level, in_vain), offset);
  return offset;
}

/* Time passes: nothing, ticks, or so much that it does not fit into a header.
 * The wall clock may be set back. */
static void time_passes(struct twin t[2], uint64_t *random) {
  const uint64_t month_ms = UINT64_C(31) * 24 * 60 * 60 * 1000;
  uint64_t ms = random_below(random, 40);
  if (random_below(random, 60) == 0) ms = month_ms;
  bool back = random_below(random, 10) == 0;
  for (int i = 0; i < 2; i++) {
    sim_advance(t[i].sim, ms * NS_PER_MS);
    if (back) sim_set_wall(t[i].sim, (int64_t)ms);
  }
}

static void both_do(struct twin t[2], uint64_t *random, size_t mode) {
  uint64_t what = random_below(random, 20);
  for (int i = 0; i < 2; i++) {
    if (what == 0) CHECK_OK(duralog_sync(t[i].log));
    if (what == 1 || what == 2) CHECK_OK(duralog_tick(t[i].log));
    if (what == 3) close_log(t[i].log);
    if (what == 3) twin_open(&t[i], mode);
  }
  if (what > 13) time_passes(t, random);
}

static void check_same_record(struct twin t[2], uint64_t offset) {
  duralog_record r[2];
  duralog_reader *readers[2];
  for (int i = 0; i < 2; i++) {
    readers[i] = reader_of(t[i].log, DURALOG_LEVEL_WRITTEN);
    CHECK_OK(duralog_read_at(readers[i], offset, &r[i]));
  }
  CHECK_BYTES(r[0].data, r[0].size, r[1].data, r[1].size);
  CHECK_EQUAL(r[0].timestamp_ms, r[1].timestamp_ms);
  CHECK_EQUAL(r[0].epoch, r[1].epoch);
  CHECK_EQUAL(r[0].batch_last, r[1].batch_last);
  for (int i = 0; i < 2; i++) CHECK_OK(duralog_reader_close(&readers[i]));
}

static void check_same_stats(const struct twin t[2]) {
  duralog_stats s[2];
  for (int i = 0; i < 2; i++) {
    s[i] = (duralog_stats){.struct_size = sizeof s[i]};
    CHECK_OK(duralog_get_stats(t[i].log, &s[i]));
  }
  CHECK_EQUAL(s[0].records, s[1].records);
  CHECK_EQUAL(s[0].batches, s[1].batches);
  CHECK_EQUAL(s[0].payload_bytes, s[1].payload_bytes);
  CHECK_EQUAL(s[0].framing_bytes, s[1].framing_bytes);
  CHECK_EQUAL(s[0].rolls, s[1].rolls);
  CHECK_EQUAL(s[0].waits, s[1].waits);
  CHECK_EQUAL(s[0].wait_ns, s[1].wait_ns);
  CHECK_EQUAL(s[0].oldest_unsynced_ms, s[1].oldest_unsynced_ms);
  CHECK(memcmp(&s[0], &s[1], sizeof s[0]) == 0); /* and all others */
}

static void check_same(const struct twin t[2]) {
  duralog_watermarks w[2];
  int64_t in_ms[2];
  check_same_stats(t);
  for (int i = 0; i < 2; i++) {
    w[i] = watermarks_of(t[i].log);
    CHECK_OK(duralog_next_deadline(t[i].log, &in_ms[i]));
  }
  CHECK_EQUAL(w[0].end, w[1].end);
  CHECK_EQUAL(w[0].durable, w[1].durable);
  CHECK_EQUAL(w[0].epoch, w[1].epoch);
  CHECK_EQUAL(w[0].oldest_unsynced_ms, w[1].oldest_unsynced_ms);
  CHECK(in_ms[0] == in_ms[1]);
  CHECK_EQUAL(t[0].asked, t[1].asked);
  CHECK_EQUAL(t[0].last_asked.records, t[1].last_asked.records);
  CHECK_EQUAL(t[0].last_asked.bytes, t[1].last_asked.bytes);
  CHECK_EQUAL(t[0].last_asked.oldest_ms, t[1].last_asked.oldest_ms);
  CHECK_EQUAL(sim_now(t[0].sim), sim_now(t[1].sim));
}

static void run_story(size_t mode, uint64_t seed) {
  struct twin t[2] = {{.reserves = false}, {.reserves = true}};
  uint64_t random = seed;
  test_note("mode %zu, story SEED=%llu", mode, (unsigned long long)seed);
  for (int i = 0; i < 2; i++) {
    t[i].sim = world_new();
    sim_set_blind(t[i].sim, true);
    twin_open(&t[i], mode);
  }
  for (int step = 0; step < STORY_STEPS; step++) {
    uint64_t offset = both_append(t, &random);
    check_same(t);
    check_same_record(t, offset);
    both_do(t, &random, mode);
    check_same(t);
  }
  for (int i = 0; i < 2; i++) close_log(t[i].log);
  CHECK_EQUAL(sim_seen_checksum(t[0].sim), sim_seen_checksum(t[1].sim));
  CHECK_EQUAL(sim_disk_checksum(t[0].sim), sim_disk_checksum(t[1].sim));
  for (int i = 0; i < 2; i++) sim_free(t[i].sim);
}

static void a_published_record_is_an_appended_one(struct test_place *at) {
  (void)at;
  for (size_t mode = 0; mode < COUNT_OF(modes); mode++)
    for (uint64_t i = 0; i < STORIES; i++) run_story(mode, TEST_SEED + i);
}

static const struct test tests[] = {
    TEST(a_published_record_is_an_appended_one),
};

int main(int argc, char **argv) { return TEST_MAIN(tests); }
