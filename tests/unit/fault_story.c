/* SPDX-License-Identifier: MIT
 *
 * The calls of a story, and what must hold after each, fault or no fault:
 *
 *   - an error is one that duralog.h names for the function, that the fault can
 *     mean, and the diagnostic has the errno; with it nothing was appended,
 *     and descriptors, mappings and memory are as before (I16, I17, I18)
 *   - a call that failed and may be made again works when the fault is over,
 *     without reopening; a poisoned handle does nothing but read (I14, I19)
 *   - no watermark goes back, `durable` is never above what was appended, and
 *     what the mode promises of a call that returned holds (I14)
 *   - every record that is read is one that was appended there (I15)
 */
#include "fault_story.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "format.h"

static struct story *current; /* libfiu's callback has no context */

/* ---- the point ---- */

/* libfiu's own counters are global and random: the decision is ours. */
static bool due(struct story *s) {
  if (s->quiet) return false;
  uint64_t call = ++s->calls;
  bool fires = s->now.ever ? call >= s->now.k : call == s->now.k;
  s->fired += fires;
  return fires;
}

int story_decide(const char *name, int *failnum, void **failinfo,
                 unsigned int *flags) {
  (void)name;
  (void)failnum;
  (void)failinfo;
  (void)flags;
  return due(current);
}

static void die(void *context, const char *name) {
  struct story *s = context;
  (void)name;
  if (!s->sim) kill(getpid(), SIGKILL);
  longjmp(s->death, 1);
}

static void fail_sync(void *context) {
  struct story *s = context;
  sim_fail_sync(s->sim, 1, false);
}

static duralog_durability durability_of(enum mode mode) {
  switch (mode) {
    case MODE_RECORDS: return (duralog_durability){.sync_every_records = 3};
    case MODE_BYTES: return (duralog_durability){.sync_every_bytes = 7000};
    case MODE_INTERVAL: return (duralog_durability){.sync_interval_ms = 20};
    case MODE_PAGECACHE: return (duralog_durability){.pagecache = true};
    case MODE_MIXTURE:
      return (duralog_durability){.sync_every_records = 5,
                                  .sync_every_bytes = 9000,
                                  .sync_interval_ms = 50};
    case MODE_PADDED: return (duralog_durability){.sync_every_records = 2};
    default: return (duralog_durability){0};
  }
}

void story_begin(struct story *s, const struct fault_case *c, struct sim *sim,
                 const char *path) {
  memset(s, 0, sizeof *s);
  current = s;
  s->now = *c;
  s->sim = sim;
  snprintf(s->path, sizeof s->path, "%s", path);
  s->options = (duralog_options){
      .struct_size = sizeof s->options,
      .segment_bytes = SEGMENT_BYTES_MIN,
      .host_driven = true,
      .durability = durability_of(c->mode),
      .strict = c->mode == MODE_STRICT,
      .pad_syncs = c->mode == MODE_PADDED,
      .environment =
          io_fault_around(&s->fault, sim ? sim_environment(sim) : io_posix())};
  s->handles = sim ? 0 : descriptor_count();
  s->fault.context = s;
  s->fault.at_step = die;
  s->fault.fail_sync = sim ? fail_sync : NULL;
}

/* ---- answers ---- */

/* What a failed call must not leave behind. */
struct resources {
  size_t handles, allocations;
  uint64_t maps;
};

static struct resources resources_now(struct story *s) {
  return (struct resources){
      .handles = s->sim ? sim_open_handles(s->sim) : descriptor_count(),
      .allocations = s->sim ? sim_allocations(s->sim) : 0,
      .maps = s->fault.maps};
}

static void check_resources(struct story *s, const struct resources *before) {
  struct resources now = resources_now(s);
  CHECK_EQUAL(now.handles, before->handles);
  CHECK_EQUAL(now.allocations, before->allocations);
  CHECK_EQUAL(now.maps, before->maps);
}

/* Whether the call went as it does without faults. If not, the error has to be
 * the fault's; on a poisoned handle, the poison's. */
static bool went_well(struct story *s, enum call call, duralog_error error,
                      duralog_error expected) {
  bool now = s->fired > s->seen;
  s->seen = s->fired;
  if (error == DURALOG_E_POISONED && s->poisoned) return false;
  if (error == expected) {
    s->surfaced += now && error; /* the same with and without the fault */
    return true;
  }
  const char *objection = rules_object(call, &s->now, error);
  if (!s->fired) objection = "nothing has failed";
  if (objection)
    test_failed(__FILE__, __LINE__, "call %d: %s: %s", call,
                duralog_error_name(error), objection);
  s->surfaced++;
  if (call != CALL_OPEN && call != CALL_CLOSE) {
    duralog_diagnostic d = {.struct_size = sizeof d};
    CHECK_OK(duralog_diagnose(s->log, &d));
    CHECK_IS(error, d.error);
    if (error != DURALOG_E_CORRUPT) CHECK_EQUAL(d.os_error, s->now.error);
  }
  return false;
}

/* A call that failed is made again where the fault came once. */
static bool again(const struct story *s) {
  return !s->now.ever && !s->poisoned;
}

static duralog_watermarks watermarks(struct story *s) {
  duralog_watermarks w = {.struct_size = sizeof w};
  CHECK_OK(duralog_get_watermarks(s->log, &w));
  CHECK(w.durable <= w.end);
  CHECK(w.start <= w.end);
  return w;
}

void story_look(struct story *s) {
  duralog_watermarks w = watermarks(s);
  CHECK(w.end >= s->end);
  if (s->poisoned) CHECK_EQUAL(w.durable, s->frozen);
  s->end = w.end;
  if (w.end > s->tried) s->tried = w.end;
  if (w.durable > s->promised) s->promised = w.durable;
}

/* The first answer of that kind: `durable` stays where it is from now on. */
static void note_poison(struct story *s, duralog_error error) {
  if (error != DURALOG_E_POISONED || s->poisoned) return;
  s->frozen = watermarks(s).durable;
  CHECK(s->frozen <= s->end);
  s->poisoned = true;
}

/* ---- opening and closing ---- */

static void check_opened(struct story *s, const duralog_report *r,
                         const duralog_options *o) {
  duralog_watermarks w = watermarks(s);
  CHECK_EQUAL(w.end, r->end);
  bool lossy = s->damaged || o->accept_damage;
  if (!lossy && !o->read_only) {
    CHECK(r->end >= s->floor);
    CHECK(r->end <= s->tried);
    CHECK_EQUAL(r->damage_count, 0);
  }
  s->writer_lives = r->writer_lives;
  s->follows = r->follows;
  /* What cannot be shared or followed is told by the report alone. */
  bool alone = r->unshared || (o->read_only && !r->follows);
  if (alone && !s->damaged) CHECK(s->fired);
  s->surfaced += alone && s->fired;
  s->end = r->end;
  if (o->read_only) return;
  if (lossy && s->promised > r->end) s->promised = r->end;
  if (r->durable > s->promised) s->promised = r->durable;
  s->life++;
  CHECK(s->life < 32);
}

bool story_open(struct story *s, const duralog_options *o,
                duralog_error expected) {
  for (bool second = false;; second = true) {
    duralog_report report = {.struct_size = sizeof report};
    duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
    struct resources before = resources_now(s);
    duralog *log = NULL;
    duralog_error error = duralog_open(s->path, o, &log, &report, &diagnostic);
    CHECK((error == DURALOG_OK) == (log != NULL));
    if (error) {
      check_resources(s, &before);
      CHECK_IS(error, diagnostic.error);
    }
    if (second) CHECK_IS(expected, error);
    s->log = log;
    s->poisoned = false;
    bool well = went_well(s, CALL_OPEN, error, expected);
    if (!error) check_opened(s, &report, o);
    if (well) return true;
    if (error != DURALOG_E_BUSY && error != DURALOG_E_CORRUPT &&
        s->now.error != EEXIST)
      CHECK_EQUAL(diagnostic.os_error, s->now.error);
    if (s->now.ever) return false;
  }
}

void story_close(struct story *s) {
  story_look(s);
  bool read_only = duralog_sync(s->log) == DURALOG_E_READ_ONLY;
  story_look(s);
  duralog_error error = duralog_close(&s->log);
  CHECK(s->log == NULL);
  went_well(s, CALL_CLOSE, error, DURALOG_OK);
  if (!error && !read_only) s->promised = s->end;
  s->poisoned = false;
  if (!read_only) s->floor = s->end;
  const struct resources none = {.handles = s->handles};
  check_resources(s, &none);
}

void story_close_beside(struct story *s) {
  story_look(s);
  duralog_error error = duralog_close(&s->log);
  CHECK(s->log == NULL);
  went_well(s, CALL_CLOSE, error, DURALOG_OK);
  if (!error) s->promised = s->end;
  s->poisoned = false;
  s->floor = s->end;
}

void story_kill(struct story *s) {
  story_look(s);
  sim_kill(s->sim);
  s->fault.maps = 0;
  s->log = NULL;
  s->poisoned = false;
  s->floor = s->end;
}

/* ---- appending ---- */

struct payload {
  uint8_t bytes[4096];
  uint8_t key[16];
  size_t size, key_size;
};

static void payload_make(struct payload *p, uint64_t number, uint32_t life) {
  p->size = 1500 + number * 397 % 2000;
  memset(p->bytes, (int)('a' + (number * 7 + life) % 26), p->size);
  memcpy(p->bytes, &number, sizeof number);
  memcpy(p->bytes + 8, &life, sizeof life);
  memcpy(p->key, &number, sizeof number);
  p->key_size = sizeof number;
}

/* Three fit into a segment, and two where a block is kept for its ROLL. */
static size_t records_in(const struct story *s, enum shape shape) {
  if (shape != BATCH) return 1;
  return s->options.pad_syncs ? 2 : 3;
}

/* In a reservation, behind one that is aborted and a sync while it is out. */
static duralog_error append_reserved(struct story *s, const struct payload *p,
                                     duralog_level level, uint64_t *offset) {
  void *memory = NULL;
  duralog_error error = duralog_reserve(s->log, sizeof p->bytes, -1, &memory);
  if (error) return error;
  memset(memory, 'v', sizeof p->bytes);
  error = duralog_abort(s->log);
  if (!error) error = duralog_reserve(s->log, sizeof p->bytes, -1, &memory);
  if (error) return error;
  memcpy(memory, p->bytes, p->size);
  duralog_error synced = duralog_sync(s->log);
  error = duralog_publish(s->log, p->size, level, offset);
  CHECK(!synced || error == DURALOG_E_POISONED);
  CHECK_IS(DURALOG_E_ARGUMENT, duralog_abort(s->log)); /* it is over */
  return error;
}

static duralog_error append_shaped(struct story *s, enum shape shape,
                                   duralog_level level, uint64_t *offset) {
  static struct payload p[3];
  duralog_entry e[3];
  size_t count = records_in(s, shape);
  bool plain = shape == SINGLE || shape == RESERVED;
  for (size_t i = 0; i < count; i++) {
    uint64_t n = s->end + i;
    CHECK(n < NUMBERS_MAX);
    payload_make(&p[i], n, s->life);
    uint32_t bit = UINT32_C(1) << s->life;
    s->lives[n] = s->damaged ? s->lives[n] | bit : bit;
    e[i] = (duralog_entry){.data = p[i].bytes,
                           .size = p[i].size,
                           .key = plain ? NULL : p[i].key,
                           .key_size = plain ? 0 : p[i].key_size,
                           .has_timestamp = shape == KEYED && n % 2,
                           .timestamp_ms = (int64_t)n << 40};
  }
  if (s->end + count > s->tried) s->tried = s->end + count;
  if (shape == RESERVED) return append_reserved(s, &p[0], level, offset);
  if (shape == SINGLE && level == DURALOG_LEVEL_DEFAULT)
    return duralog_append(s->log, p[0].bytes, p[0].size, offset);
  return duralog_append_batch(s->log, e, count, level, offset);
}

/* What a returned append has promised by its mode. */
static void check_bound(struct story *s, duralog_level level) {
  uint64_t behind = s->end - watermarks(s).durable;
  if (level == DURALOG_LEVEL_DURABLE) CHECK_EQUAL(behind, 0);
  if (level != DURALOG_LEVEL_DEFAULT) return;
  uint64_t n = s->options.durability.sync_every_records;
  if (s->now.mode == MODE_EACH || s->now.mode == MODE_STRICT) n = 1;
  if (n) CHECK(behind < n);
}

bool story_append(struct story *s, enum shape shape, duralog_level level) {
  uint64_t count = records_in(s, shape), first = s->end, offset = 0;
  if (s->sim) sim_advance(s->sim, 7 * NS_PER_MS);
  struct resources before = resources_now(s);
  duralog_error error = append_shaped(s, shape, level, &offset);
  bool well = went_well(s, CALL_APPEND, error, DURALOG_OK);
  bool was_poisoned = s->poisoned;
  note_poison(s, error);
  story_look(s);
  if (well) {
    CHECK_EQUAL(offset, first);
    CHECK_EQUAL(s->end, first + count);
    for (uint64_t n = first; n < s->end; n++)
      s->lives[n] = UINT32_C(1) << s->life;
    check_bound(s, level);
    return true;
  }
  if (was_poisoned) {
    CHECK_EQUAL(s->end, first);
  } else if (s->poisoned) {
    CHECK(s->end == first || s->end == first + count);
  } else {
    CHECK_EQUAL(s->end, first);
    check_resources(s, &before);
  }
  if (!again(s)) return false;
  CHECK_OK(append_shaped(s, shape, level, NULL));
  story_look(s);
  CHECK_EQUAL(s->end, first + count);
  return true;
}

void story_append_until_full(struct story *s) {
  duralog_error error;
  sim_set_room(s->sim, 1);
  do {
    uint64_t first = s->end;
    error = append_shaped(s, SINGLE, DURALOG_LEVEL_WRITTEN, NULL);
    story_look(s);
    CHECK_EQUAL(s->end, first + (error == DURALOG_OK));
  } while (error == DURALOG_OK);
  went_well(s, CALL_APPEND, error, DURALOG_E_FULL);
  note_poison(s, error);
  sim_set_room(s->sim, 0);
}

bool story_tick(struct story *s) {
  struct resources before = resources_now(s);
  duralog_error error = duralog_tick(s->log);
  bool well = went_well(s, CALL_TICK, error, DURALOG_OK);
  note_poison(s, error);
  story_look(s);
  if (well || s->poisoned) return well;
  struct resources after = resources_now(s); /* sealing lets go of segments */
  CHECK(after.handles <= before.handles && after.maps <= before.maps);
  if (again(s)) CHECK_OK(duralog_tick(s->log));
  story_look(s);
  return false;
}

void story_sync(struct story *s) {
  duralog_error error = duralog_sync(s->log);
  bool well = went_well(s, CALL_SYNC, error, DURALOG_OK);
  note_poison(s, error);
  story_look(s);
  if (well) CHECK_EQUAL(watermarks(s).durable, s->end);
}

static void wait_for(struct story *s, uint64_t offset, duralog_level level,
                     int64_t timeout, duralog_error expected) {
  duralog_error error = duralog_wait(s->log, offset, level, timeout);
  bool well = error == DURALOG_OK || error == expected ||
              went_well(s, CALL_WAIT, error, expected);
  note_poison(s, error);
  story_look(s);
  if (well && error == DURALOG_OK && level == DURALOG_LEVEL_DURABLE)
    CHECK(watermarks(s).durable > offset);
}

void story_wait(struct story *s) {
  uint64_t newest = s->end - 1;
  wait_for(s, newest, DURALOG_LEVEL_WRITTEN, 0, DURALOG_OK);
  wait_for(s, newest, DURALOG_LEVEL_DURABLE, 0, DURALOG_E_TIMEOUT);
  wait_for(s, newest + 7, DURALOG_LEVEL_WRITTEN, 1, DURALOG_E_TIMEOUT);
  wait_for(s, newest, DURALOG_LEVEL_DURABLE, -1, DURALOG_OK);
  int64_t in_ms;
  CHECK_OK(duralog_next_deadline(s->log, &in_ms));
}

void story_recovers(struct story *s) {
  if (!s->log || s->poisoned) return;
  s->quiet = true;
  CHECK(story_append(s, SINGLE, DURALOG_LEVEL_DEFAULT));
  s->quiet = false;
}

/* ---- reading ---- */

static void check_record(struct story *s, const duralog_record *r) {
  static struct payload p;
  uint32_t life;
  CHECK(r->offset < s->tried);
  CHECK(r->size >= 12);
  memcpy(&life, (const uint8_t *)r->data + 8, sizeof life);
  CHECK(life < 32);
  if (!(s->lives[r->offset] >> life & 1))
    test_failed(__FILE__, __LINE__, "record %llu of life %u is a wrong one",
                (unsigned long long)r->offset, life);
  payload_make(&p, r->offset, life);
  CHECK_BYTES(p.bytes, p.size, r->data, r->size);
  if (r->key) CHECK_BYTES(p.key, p.key_size, r->key, r->key_size);
}

/* Damage that was there before is met, told and stepped over. */
static bool step_over(struct story *s, duralog_reader *r, duralog_error error) {
  if (error != DURALOG_E_CORRUPT || !s->damaged) return false;
  duralog_damage damage = {0};
  uint64_t at;
  CHECK_OK(duralog_reader_diagnose(r, &damage, NULL));
  CHECK_OK(duralog_tell(r, &at));
  CHECK(damage.from <= at && at < damage.to);
  return duralog_seek(r, DURALOG_SEEK_OFFSET, damage.to) == DURALOG_OK;
}

/* The answer of one read; whether to go on. `*error` may be set to that of a
 * second try. */
#define READ(s, error, call)                                               \
  do {                                                                     \
    (error) = (call);                                                      \
    if ((error) && (error) != DURALOG_E_AT_END &&                          \
        !((s)->damaged && (error) == DURALOG_E_CORRUPT) &&                 \
        !went_well((s), CALL_READ, (error), DURALOG_OK) && !(s)->now.ever) \
      (error) = (call);                                                    \
  } while (0)

static uint64_t read_forward(struct story *s, duralog_reader *r,
                             duralog_error *error) {
  duralog_record record;
  uint64_t last = UINT64_MAX, n = 0;
  for (;;) {
    READ(s, *error, duralog_read_next(r, &record));
    if (*error && step_over(s, r, *error)) continue;
    if (*error) break;
    check_record(s, &record);
    last = record.batch_last;
    n++;
  }
  if (*error == DURALOG_E_AT_END && n && !s->damaged)
    CHECK(last != UINT64_MAX); /* no half batch */
  return n;
}

/* A new epoch begins where the reader stands; what could not be read may have
 * hidden where, and then it goes back. */
static void follow_epoch_told(struct story *s, duralog_reader *r,
                              uint64_t *position) {
  uint64_t offset, epoch;
  CHECK_OK(duralog_reader_divergence(r, &offset, &epoch));
  if (offset >= *position) return;
  CHECK(s->fired);
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_OFFSET, offset));
  *position = offset;
}

void story_follow(struct story *s, duralog *follower, duralog_reader *r,
                  uint64_t *position) {
  duralog *writer = s->log;
  bool poisoned = s->poisoned, again = true;
  duralog_record record;
  s->log = follower;
  s->poisoned = false;
  while (again) {
    duralog_error error = duralog_read_next(r, &record);
    if (error == DURALOG_OK) {
      check_record(s, &record);
      CHECK_EQUAL(record.offset, *position);
      ++*position;
    } else if (error == DURALOG_E_EPOCH) {
      follow_epoch_told(s, r, position);
    } else {
      again = !went_well(s, CALL_READ, error, DURALOG_E_AT_END) && !s->now.ever;
    }
  }
  s->log = writer;
  s->poisoned = poisoned;
}

void story_follow_wait(struct story *s, duralog *follower, duralog_reader *r) {
  duralog *writer = s->log;
  bool poisoned = s->poisoned;
  s->log = follower;
  duralog_error error = duralog_reader_wait(r, 1);
  /* It was behind by what failed before. */
  bool behind = s->fired && (error == DURALOG_OK || error == DURALOG_E_EPOCH ||
                             error == DURALOG_E_NO_WRITER);
  if (!behind && (!poisoned || error != DURALOG_E_POISONED))
    went_well(s, CALL_READER_WAIT, error, DURALOG_E_TIMEOUT);
  s->log = writer;
  s->poisoned = poisoned;
}

static uint64_t read_back(struct story *s, duralog_reader *r) {
  duralog_record record;
  duralog_error error;
  uint64_t n = 0;
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_END, 0));
  for (;; n++) {
    READ(s, error, duralog_read_previous(r, &record));
    if (error) break;
    check_record(s, &record);
  }
  if (error != DURALOG_E_AT_END && !s->damaged) CHECK(s->now.ever);
  return error == DURALOG_E_AT_END ? n : UINT64_MAX;
}

static void read_random(struct story *s, duralog_reader *r, uint64_t end) {
  duralog_record record, many[4];
  duralog_error error;
  for (uint64_t i = 0; end && i < 5; i++) {
    uint64_t at = i * 7919 % end;
    READ(s, error, duralog_read_at(r, at, &record));
    if (!error) CHECK_EQUAL(record.offset, at);
    if (!error) check_record(s, &record);
  }
  size_t count;
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_START, 0));
  READ(s, error, duralog_read_many(r, many, 4, 0, &count));
  for (size_t i = 0; !error && i < count; i++) check_record(s, &many[i]);
}

static void read_held(struct story *s, duralog_reader *r) {
  duralog_record record;
  duralog_error error;
  duralog_held *held = NULL;
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_START, 0));
  READ(s, error, duralog_read_next(r, &record));
  if (error) return;
  error = duralog_hold(r, &record, &held);
  if (!went_well(s, CALL_HOLD, error, DURALOG_OK)) {
    CHECK(held == NULL);
    if (s->now.ever) return;
    CHECK_OK(duralog_hold(r, &record, &held));
  }
  duralog_seek(r, DURALOG_SEEK_END, 0);
  duralog_record other;
  READ(s, error, duralog_read_previous(r, &other));
  check_record(s, &record); /* still what it was */
  CHECK_OK(duralog_release(&held));
}

static void read_wait(struct story *s, duralog_reader *r) {
  CHECK_OK(duralog_seek(r, DURALOG_SEEK_END, 0));
  uint64_t before = s->fired;
  duralog_error error = duralog_reader_wait(r, 1);
  /* Who waits for a writer looks for one again and again. */
  bool looking = error == DURALOG_E_TIMEOUT || error == DURALOG_E_NO_WRITER;
  s->surfaced += looking && s->fired > before;
  if (error == DURALOG_E_READ_ONLY || error == DURALOG_E_NO_WRITER ||
      (error == DURALOG_OK && s->damaged))
    return;
  went_well(s, CALL_READER_WAIT, error, DURALOG_E_TIMEOUT);
}

void story_read(struct story *s) {
  duralog_reader *r = NULL;
  struct resources before = resources_now(s);
  duralog_error error = duralog_reader_open(s->log, DURALOG_LEVEL_WRITTEN, &r);
  if (!went_well(s, CALL_READER_OPEN, error, DURALOG_OK)) {
    check_resources(s, &before);
    if (s->now.ever) return;
    CHECK_OK(duralog_reader_open(s->log, DURALOG_LEVEL_WRITTEN, &r));
  }
  uint64_t end = watermarks(s).end;
  uint64_t n = read_forward(s, r, &error);
  CHECK(n <= end);
  if (error == DURALOG_E_AT_END && !s->damaged) CHECK_EQUAL(n, end);
  if (error != DURALOG_E_AT_END) CHECK(s->now.ever && s->fired);
  uint64_t back = read_back(s, r);
  if (back != UINT64_MAX && !s->damaged) CHECK_EQUAL(back, end);
  read_random(s, r, end);
  read_held(s, r);
  read_wait(s, r);
  CHECK_OK(duralog_reader_close(&r));
}

void story_segments(struct story *s) {
  duralog_segment segment = {.struct_size = sizeof segment};
  uint64_t follows = 0;
  for (size_t i = 0;; i++) {
    duralog_error error = duralog_get_segment(s->log, i, &segment);
    if (error == DURALOG_E_RANGE) break;
    if (!went_well(s, CALL_SEGMENT, error, DURALOG_OK)) {
      if (s->now.ever) return;
      CHECK_OK(duralog_get_segment(s->log, i, &segment));
    }
    if (segment.damaged) continue;
    CHECK(segment.first <= segment.end);
    if (i && !s->damaged) CHECK_EQUAL(segment.first, follows);
    follows = segment.end;
  }
  if (!s->damaged) CHECK_EQUAL(follows, watermarks(s).end);
}
