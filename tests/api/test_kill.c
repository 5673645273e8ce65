/* SPDX-License-Identifier: MIT
 *
 * SIGKILL of a process with 8 appending threads (I11; I4, I7, I8, I29).
 *
 * A campaign is one log that lives five lives. In each a child appends single
 * records and batches from 8 threads, over many small segments, and is killed:
 * by one of its own threads when a given number of appends has returned, by us
 * about then, while it opens, or while it closes. What has returned is noted
 * in memory that outlives the child. Then:
 *
 *   everything that returned is there, at the offset it was given
 *   what else is there was being appended: at most one append a thread
 *   every thread's records are there in its order, whole, batches too
 *   what was there before is unchanged, offset by offset
 *   new records have an epoch of their own
 *
 * Every other time the survey is made by looking only, so that the next child
 * recovers by itself. KILLS=n multiplies the campaigns.
 */
#include <signal.h>
#include <unistd.h>

#include "support_stamped.h"

enum {
  THREADS = 8,
  LIVES = 5,
  CAMPAIGNS = 10,
  OPERATIONS_MAX = 4096, /* of a thread */
  BATCH_MAX = 12,
  IN_BATCH_MAX = 800 /* bytes of data */
};

/* ---- a life ---- */

enum way { BY_ITSELF, BY_PARENT, IN_OPEN, IN_CLOSE, WAYS };

struct noted {
  _Atomic uint64_t count; /* of operations that returned */
  uint64_t offsets[OPERATIONS_MAX];
};

struct life {
  const char *path;
  duralog_options options;
  uint64_t seed;
  enum way way;
  uint64_t kill_at; /* returned operations */
  uint64_t turns;   /* of a loop, before the parent kills */
  struct channel now;
  duralog *log;
  _Atomic bool stop;
  _Atomic uint64_t returned, durable;
  struct noted threads[THREADS];
};

struct worker {
  struct life *life;
  uint64_t number;
  struct content contents[BATCH_MAX];
};

static uint64_t operate(struct worker *w, uint64_t count) {
  duralog_entry entries[BATCH_MAX];
  uint64_t size = stamped_batch(w->life->seed, w->number, count, BATCH_MAX),
           offset = 0;
  for (uint64_t i = 0; i < size; i++) {
    struct stamp stamp = {w->life->seed, w->number, count, i, size};
    stamped_make(&w->contents[i], &stamp, IN_BATCH_MAX);
    entries[i] = w->contents[i].entry;
  }
  bool plain = size == 1 && !entries[0].key && !entries[0].has_timestamp;
  if (plain)
    CHECK_OK(duralog_append(w->life->log, entries[0].data, entries[0].size,
                            &offset));
  else
    CHECK_OK(duralog_append_batch(w->life->log, entries, size,
                                  DURALOG_LEVEL_DEFAULT, &offset));
  return offset;
}

static void note_durable(struct life *life) {
  uint64_t durable = watermarks_of(life->log).durable;
  uint64_t noted = atomic_load(&life->durable);
  while (noted < durable &&
         !atomic_compare_exchange_weak(&life->durable, &noted, durable))
    ;
}

/* It is time: die, or say so. */
static void end_is_due(struct life *life) {
  if (life->way == BY_ITSELF) kill(getpid(), SIGKILL);
  if (life->way == BY_PARENT) channel_tell(&life->now);
  if (life->way == IN_CLOSE) atomic_store(&life->stop, true);
}

static void *work(void *context) {
  struct worker *w = context;
  struct life *life = w->life;
  struct noted *noted = &life->threads[w->number];
  for (uint64_t count = 0; count < OPERATIONS_MAX; count++) {
    if (atomic_load(&life->stop)) break;
    noted->offsets[count] = operate(w, count);
    atomic_store(&noted->count, count + 1);
    if (count % 4 == 0) note_durable(life);
    if (atomic_fetch_add(&life->returned, 1) + 1 == life->kill_at)
      end_is_due(life);
  }
  return NULL;
}

static void live(void *context) {
  struct life *life = context;
  struct worker *workers = calloc(THREADS, sizeof *workers);
  pthread_t threads[THREADS];
  if (life->way == IN_OPEN) channel_tell(&life->now);
  life->log = open_with(life->path, &life->options);
  for (uint64_t i = 0; i < THREADS; i++) {
    workers[i].life = life;
    workers[i].number = i;
    threads[i] = thread_start(work, &workers[i]);
  }
  for (int i = 0; i < THREADS; i++) thread_join(threads[i]);
  if (life->way == IN_CLOSE) channel_tell(&life->now);
  close_log(life->log);
  if (life->way != IN_CLOSE) pause(); /* the parent kills it yet */
}

/* Whether it was killed: it may have been faster when killed in closing. */
static bool live_and_die(struct life *life) {
  channel_open(&life->now);
  pid_t child = child_start(live, life);
  if (life->way != BY_ITSELF) {
    channel_hear(&life->now);
    for (volatile uint64_t turn = 0; turn < life->turns;) turn = turn + 1;
    kill(child, SIGKILL);
  }
  int status = child_end(child);
  channel_close(&life->now);
  if (status == 0) CHECK_EQUAL(life->way, IN_CLOSE);
  if (status != 0) CHECK_EQUAL(status, 256 + SIGKILL);
  return status != 0;
}

/* ---- what is there afterwards ---- */

struct history {
  uint64_t *hashes; /* of the records known from before, by offset */
  uint64_t count, room;
  uint64_t epoch; /* of the last one */
  uint64_t kills;
};

static uint64_t record_hash(const duralog_record *r) {
  const uint64_t fields[] = {r->offset, r->epoch, (uint64_t)r->timestamp_ms,
                             r->key != NULL, r->batch_last};
  uint64_t hash = bytes_hash(fields, sizeof fields, r->size);
  hash = bytes_hash(r->data, r->size, hash);
  return r->key ? bytes_hash(r->key, r->key_size, hash) : hash;
}

static void history_add(struct history *h, const duralog_record *r) {
  if (h->count == h->room) {
    h->room = h->room ? 2 * h->room : 4096;
    h->hashes = realloc(h->hashes, h->room * sizeof *h->hashes);
    CHECK(h->hashes != NULL);
  }
  CHECK_EQUAL(r->offset, h->count);
  h->hashes[h->count++] = record_hash(r);
}

/* One record of the life that ended: the next of its thread. */
static void check_new(const struct life *life, const duralog_record *r,
                      uint64_t next[THREADS], uint64_t *left) {
  static struct content expected;
  struct stamp stamp;
  CHECK(r->size >= sizeof stamp);
  memcpy(&stamp, r->data, sizeof stamp);
  CHECK(stamp.seed == life->seed && stamp.writer < THREADS);
  uint64_t count = next[stamp.writer];
  CHECK_EQUAL(stamp.operation, count);
  CHECK_EQUAL(stamp.size,
              stamped_batch(life->seed, stamp.writer, count, BATCH_MAX));
  if (*left) CHECK_EQUAL(*left, stamp.size - stamp.index);
  if (!*left) CHECK_EQUAL(stamp.index, 0);
  *left = stamp.size - stamp.index - 1;
  CHECK_EQUAL(r->batch_last, *left ? UINT64_MAX : r->offset);
  stamped_make(&expected, &stamp, IN_BATCH_MAX);
  CHECK(stamped_is(r, &expected));
  const struct noted *noted = &life->threads[stamp.writer];
  if (count < atomic_load(&noted->count))
    CHECK_EQUAL(noted->offsets[count] + stamp.index, r->offset);
  if (*left == 0) next[stamp.writer]++;
}

static void check_life(duralog *log, const struct life *life,
                       struct history *h) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  uint64_t next[THREADS] = {0}, left = 0, before = h->count;
  uint64_t epoch = h->epoch;
  duralog_record r;
  duralog_error error;
  while ((error = duralog_read_next(reader, &r)) == DURALOG_OK) {
    if (r.offset < before) {
      CHECK_EQUAL(record_hash(&r), h->hashes[r.offset]);
      continue;
    }
    CHECK(r.epoch > epoch); /* one epoch for all that is new (I8) */
    if (h->epoch != epoch) CHECK_EQUAL(r.epoch, h->epoch);
    h->epoch = r.epoch;
    check_new(life, &r, next, &left);
    history_add(h, &r);
  }
  CHECK_IS(DURALOG_E_AT_END, error);
  CHECK_EQUAL(left, 0);
  CHECK_EQUAL(h->count, watermarks_of(log).end);
  CHECK(h->count >= before && h->count >= atomic_load(&life->durable));
  for (int t = 0; t < THREADS; t++) {
    uint64_t returned = atomic_load(&life->threads[t].count);
    CHECK(next[t] >= returned);     /* nothing returned is missing */
    CHECK(next[t] <= returned + 1); /* nothing was invented */
  }
  CHECK_OK(duralog_reader_close(&reader));
}

/* ---- campaigns ---- */

static void choose_end(struct life *life, uint64_t most, uint64_t *random) {
  uint64_t kind = random_below(random, 20);
  life->way = kind < 9    ? BY_ITSELF
              : kind < 17 ? BY_PARENT
              : kind < 18 ? IN_OPEN
                          : IN_CLOSE;
  life->kill_at = 1 + random_below(random, most);
  if (random_below(random, 4) == 0) life->kill_at = 1 + life->kill_at % 40;
  life->turns = random_below(random, 2000 * 1000); /* up to some ms */
}

static void survey(struct life *life, struct history *h, bool look_only,
                   bool copying) {
  duralog_options o = life->options;
  duralog_report report;
  o.read_only = look_only;
  o.copying_reads = copying;
  duralog *log = open_reporting(life->path, &o, &report);
  CHECK_EQUAL(report.damage_count, 0);
  check_life(log, life, h);
  close_log(log);
}

static void campaign(const struct test_place *at, const duralog_options *o,
                     uint64_t most, uint64_t *random, struct life *life,
                     uint64_t *kills) {
  struct history h = {NULL, 0, 0, 0, 0};
  for (int n = 0; n < LIVES; n++) {
    *life = (struct life){
        .path = at->path, .options = *o, .seed = random_next(random)};
    life->options.segment_bytes = (16 + random_below(random, 3) * 24) << 10;
    choose_end(life, most, random);
    *kills += live_and_die(life);
    test_note("life %d, way %d, %llu of %llu returned", n, life->way,
              (unsigned long long)atomic_load(&life->returned),
              (unsigned long long)life->kill_at);
    bool look_only = random_below(random, 2), copying = random_below(random, 2);
    if (n == 0 || n + 1 == LIVES) look_only = false; /* it may not exist yet */
    survey(life, &h, look_only, copying);
  }
  duralog *log = open_with(at->path, o); /* it goes on */
  for (uint64_t i = 0; i < 20; i++) {
    uint64_t offset;
    CHECK_OK(duralog_append(log, &i, sizeof i, &offset));
    CHECK_EQUAL(offset, h.count + i);
  }
  CHECK(watermarks_of(log).epoch > h.epoch);
  close_log(log);
  free(h.hashes);
}

static uint64_t kills_of_all;

static void kill_again_and_again(const struct test_place *at, duralog_options o,
                                 uint64_t most) {
  const char *times = getenv("KILLS");
  uint64_t campaigns = CAMPAIGNS * (times ? strtoull(times, NULL, 10) : 1);
  uint64_t kills = 0, random = bytes_hash(&o.durability, sizeof o.durability,
                                          TEST_SEED + o.strict + o.pad_syncs);
  struct life *life = shared_memory(sizeof *life);
  for (uint64_t i = 0; i < campaigns; i++) {
    directory_remove(at->path);
    campaign(at, &o, most, &random, life, &kills);
  }
  shared_memory_free(life, sizeof *life);
  kills_of_all += kills;
  CHECK(kills + 3 * campaigns / 2 >= LIVES * campaigns);
}

static duralog_options mode(duralog_durability durability) {
  duralog_options o = small_options();
  o.durability = durability;
  o.record_bytes_max = 4000;
  return o;
}

static void killed_in_pagecache_mode(struct test_place *at) {
  kill_again_and_again(at, mode((duralog_durability){.pagecache = true}), 2500);
}
static void killed_syncing_every_record(struct test_place *at) {
  kill_again_and_again(at, mode((duralog_durability){.sync_every_records = 1}),
                       500);
}
static void killed_syncing_every_8_records(struct test_place *at) {
  kill_again_and_again(at, mode((duralog_durability){.sync_every_records = 8}),
                       800);
}
static void killed_syncing_every_10000_bytes(struct test_place *at) {
  kill_again_and_again(
      at, mode((duralog_durability){.sync_every_bytes = 10000}), 1000);
}
static void killed_syncing_every_10_ms(struct test_place *at) {
  kill_again_and_again(at, mode((duralog_durability){.sync_interval_ms = 10}),
                       2000);
}
static void killed_in_a_mixture(struct test_place *at) {
  kill_again_and_again(at,
                       mode((duralog_durability){.sync_every_records = 30,
                                                 .sync_every_bytes = 20000,
                                                 .sync_interval_ms = 10}),
                       1000);
}
static void killed_in_strict_mode(struct test_place *at) {
  duralog_options o = mode((duralog_durability){.sync_every_records = 4});
  o.strict = true;
  kill_again_and_again(at, o, 500);
}
static void killed_with_padded_syncs(struct test_place *at) {
  duralog_options o = mode((duralog_durability){.sync_every_records = 16});
  o.pad_syncs = true;
  kill_again_and_again(at, o, 500);
}
static void killed_driven_by_its_host(struct test_place *at) {
  duralog_options o = mode((duralog_durability){.sync_every_bytes = 5000});
  o.host_driven = true;
  kill_again_and_again(at, o, 800);
}

static const struct test tests[] = {
    TEST(killed_in_pagecache_mode),
    TEST(killed_syncing_every_record),
    TEST(killed_syncing_every_8_records),
    TEST(killed_syncing_every_10000_bytes),
    TEST(killed_syncing_every_10_ms),
    TEST(killed_in_a_mixture),
    TEST(killed_in_strict_mode),
    TEST(killed_with_padded_syncs),
    TEST(killed_driven_by_its_host),
};

int main(int argc, char **argv) {
  int status = TEST_MAIN(tests);
  printf("kills %llu\n", (unsigned long long)kills_of_all);
  return status;
}
