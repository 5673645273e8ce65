/* SPDX-License-Identifier: MIT
 *
 * Power cuts on the simulated disk. A seed makes a script of calls; the power
 * is cut at each event of its run in turn; what survives of the unsynced
 * sectors and names is chosen by another seed; the log is reopened and compared
 * with a model of what was appended and what was promised. Then it lives on,
 * and the power is cut again.
 *
 * Replay one state: build/tests/test_power replay SCRIPT CUT SURVIVAL
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duralog.h"
#include "format.h"
#include "io_sim.h"
#include "support.h"

enum {
  RECORDS_MAX = 2000,
  PAYLOAD_BYTES_MAX = 3000,
  LIVES = 5,
  BATCH_MAX = 16
};

#define DIRECTORY "/log"

/* What the program knows: appended records, batches, promises. */
struct model {
  uint32_t content[RECORDS_MAX]; /* seeds of the payloads */
  bool batch_end[RECORDS_MAX];
  size_t count;      /* appended, as returned */
  size_t inflight;   /* more, by a call that did not return */
  uint64_t promised; /* the highest durable watermark shown */
  uint64_t returned; /* by appends at the mode's own level */
  uint32_t next_content;
  /* (epoch, offset) pairs shown to a reader, with their payload (I8). */
  struct shown {
    uint64_t epoch;
    uint32_t content;
  } shown[RECORDS_MAX];
};

struct run {
  struct sim *sim;
  duralog *log;
  duralog_options options;
  struct model model;
  uint64_t random;
  uint64_t script, cut, survival; /* for the replay line */
  int life;
  bool power_lost; /* since the log was last compared */
};

static uint64_t next_random(struct run *r) {
  uint64_t z = (r->random += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static uint64_t below(struct run *r, uint64_t n) { return next_random(r) % n; }

static void complain(const struct run *r, const char *what, uint64_t a,
                     uint64_t b) {
  print_error(
      "%s: %llu, %llu (life %d, %zu appended, %zu in flight, promised "
      "%llu)\n  replay: build/tests/test_power replay %llu %llu %llu\n",
      what, (unsigned long long)a, (unsigned long long)b, r->life,
      r->model.count, r->model.inflight, (unsigned long long)r->model.promised,
      (unsigned long long)r->script, (unsigned long long)r->cut,
      (unsigned long long)r->survival);
  fail();
}

#define HOLDS(r, condition, a, b)                                            \
  do {                                                                       \
    if (!(condition)) complain(r, #condition, (uint64_t)(a), (uint64_t)(b)); \
  } while (0)

/* ---- payloads and modes ---- */

static size_t payload(uint32_t content, uint8_t *to) {
  size_t size = content % 7 == 0 ? content % PAYLOAD_BYTES_MAX : content % 150;
  for (size_t i = 0; i < size; i++) to[i] = (uint8_t)(content * 31 + i * 7);
  if (size >= 4) memcpy(to, &content, 4);
  return size;
}

static void choose_options(struct run *r) {
  duralog_options *o = &r->options;
  *o = (duralog_options){.struct_size = sizeof *o,
                         .segment_bytes = SEGMENT_BYTES_MIN,
                         .host_driven = true,
                         .environment = sim_environment(r->sim)};
  switch (below(r, 6)) {
    case 0: break;
    case 1: o->durability.sync_every_records = 1 + below(r, 9); break;
    case 2: o->durability.sync_every_bytes = 1 + below(r, 4000); break;
    case 3: o->durability.sync_interval_ms = 10 + (uint32_t)below(r, 50); break;
    case 4: o->durability.pagecache = true; break;
    default:
      o->durability.sync_every_records = 5;
      o->durability.sync_interval_ms = 20;
  }
  o->strict = below(r, 5) == 0;
  o->copying_reads = below(r, 4) == 0;
  o->pad_syncs = below(r, 6) == 0;
}

static uint64_t loss_bound(const struct run *r) {
  const duralog_durability *d = &r->options.durability;
  if (d->sync_every_records) return d->sync_every_records - 1;
  bool each = !d->pagecache && !d->sync_every_bytes && !d->sync_interval_ms;
  return each ? 0 : UINT64_MAX;
}

/* ---- single calls ---- */

static void look_at_watermarks(struct run *r) {
  duralog_watermarks w = {.struct_size = sizeof w};
  assert_int_equal(duralog_get_watermarks(r->log, &w), DURALOG_OK);
  HOLDS(r, w.durable <= w.end, w.durable, w.end);
  HOLDS(r, w.end == r->model.count, w.end, r->model.count);
  if (w.durable > r->model.promised) r->model.promised = w.durable;
}

static size_t make_batch(struct run *r, duralog_entry *entries, size_t n) {
  static uint8_t bytes[BATCH_MAX][PAYLOAD_BYTES_MAX];
  struct model *m = &r->model;
  size_t total = 0, i = 0;
  for (; i < n; i++) {
    uint32_t content = m->next_content * 2654435761u;
    size_t size = payload(content, bytes[i]);
    if (i > 0 && total + size > 8000) break;
    m->next_content++;
    total += size;
    entries[i] = (duralog_entry){.data = bytes[i], .size = size};
    m->content[m->count + i] = content;
    m->batch_end[m->count + i] = false;
  }
  m->batch_end[m->count + i - 1] = true;
  return i;
}

static void do_append(struct run *r, size_t n, duralog_level level) {
  duralog_entry entries[BATCH_MAX];
  struct model *m = &r->model;
  uint64_t first = 0;
  n = make_batch(r, entries, n);
  m->inflight = n;
  duralog_error e = duralog_append_batch(r->log, entries, n, level, &first);
  HOLDS(r, e == DURALOG_OK, e, 0);
  HOLDS(r, first == m->count, first, m->count);
  m->count += n;
  m->inflight = 0;
  if (level != DURALOG_LEVEL_WRITTEN) m->returned = m->count;
  if (level == DURALOG_LEVEL_DURABLE) m->promised = m->count;
}

static void open_run(struct run *r) {
  duralog_report report = {.struct_size = sizeof report};
  duralog_diagnostic d = {.struct_size = sizeof d};
  duralog_error e = duralog_open(DIRECTORY, &r->options, &r->log, &report, &d);
  if (e) print_error("%s %s: %s\n", duralog_error_name(e), d.path, d.text);
  HOLDS(r, e == DURALOG_OK, e, report.damage_count);
}

static void close_run(struct run *r) {
  duralog_error e = duralog_close(&r->log);
  HOLDS(r, e == DURALOG_OK, e, 0);
  r->model.promised = r->model.returned = r->model.count;
}

static void must(struct run *r, duralog_error e) {
  HOLDS(r, e == DURALOG_OK, e, 0);
}

static void one_call(struct run *r) {
  struct model *m = &r->model;
  switch (below(r, 12)) {
    case 0:
    case 1:
    case 2:
    case 3: do_append(r, 1, DURALOG_LEVEL_DEFAULT); break;
    case 4: do_append(r, 1 + below(r, 12), DURALOG_LEVEL_DEFAULT); break;
    case 5: do_append(r, 1 + below(r, 3), DURALOG_LEVEL_WRITTEN); break;
    case 6: do_append(r, 1, DURALOG_LEVEL_DURABLE); break;
    case 7:
      must(r, duralog_sync(r->log));
      m->promised = m->count;
      break;
    case 8:
      sim_advance(r->sim, below(r, 40) * NS_PER_MS);
      must(r, duralog_tick(r->log));
      break;
    case 9: must(r, duralog_tick(r->log)); break;
    case 10:
      if (m->count == 0) break;
      must(r, duralog_wait(r->log, m->count - 1, DURALOG_LEVEL_DURABLE, -1));
      m->promised = m->count;
      break;
    default:
      if (below(r, 3)) break;
      close_run(r);
      open_run(r);
  }
  look_at_watermarks(r);
}

/* ---- comparing what came back ---- */

static void compare_record(struct run *r, duralog_reader *reader, uint64_t i) {
  static uint8_t expected[PAYLOAD_BYTES_MAX];
  struct model *m = &r->model;
  duralog_record record;
  duralog_error e = duralog_read_next(reader, &record);
  HOLDS(r, e == DURALOG_OK, e, i);
  size_t size = payload(m->content[i], expected);
  HOLDS(r, record.offset == i, record.offset, i);
  HOLDS(r, record.size == size, record.size, size);
  HOLDS(r, memcmp(record.data, expected, size) == 0, i, size);
  struct shown *shown = &m->shown[i];
  bool other = shown->epoch == record.epoch && shown->content != m->content[i];
  HOLDS(r, !other, record.epoch, i); /* I8 */
  *shown = (struct shown){record.epoch, m->content[i]};
}

static void compare(struct run *r) {
  struct model *m = &r->model;
  duralog_reader *reader = NULL;
  duralog_watermarks w = {.struct_size = sizeof w};
  must(r, duralog_get_watermarks(r->log, &w));
  uint64_t bound = loss_bound(r);
  HOLDS(r, w.end >= m->promised, w.end, m->promised);            /* I2 */
  HOLDS(r, r->power_lost || w.end >= m->count, w.end, m->count); /* I11 */
  HOLDS(r, w.end <= m->count + m->inflight, w.end, m->count);    /* I1 */
  HOLDS(r, w.end == 0 || m->batch_end[w.end - 1], w.end, 0);     /* I4 */
  HOLDS(r, w.end >= m->returned || m->returned - w.end <= bound, w.end,
        m->returned); /* I5 */
  must(r, duralog_reader_open(r->log, DURALOG_LEVEL_WRITTEN, &reader));
  for (uint64_t i = 0; i < w.end; i++) compare_record(r, reader, i);
  must(r, duralog_reader_close(&reader));
  m->count = w.end;
  if (m->returned > w.end) m->returned = w.end;
  m->inflight = 0;
  r->power_lost = false;
}

/* ---- a life: open, compare, some calls, and the cut ---- */

static bool live(struct run *r, uint64_t cut, size_t calls) {
  if (setjmp(*sim_cut_point(r->sim))) return false;
  sim_cut_at(r->sim, cut);
  open_run(r);
  compare(r);
  look_at_watermarks(r);
  for (size_t i = 0; i < calls; i++) one_call(r);
  close_run(r);
  sim_cut_at(r->sim, 0);
  return true;
}

static struct run *run_new(uint64_t script) {
  struct run *r = calloc(1, sizeof *r);
  r->sim = sim_new();
  r->script = script;
  r->random = script * 77 + 5;
  choose_options(r);
  return r;
}

/* The whole story of one state; gives the events of the first life, which is
 * all there is if `cut` is 0. */
static uint64_t story(uint64_t script, uint64_t cut, uint64_t survival,
                      int skip) {
  struct run *r = run_new(script);
  if (skip >= 0) sim_skip_sync(r->sim, (enum io_sync_reason)skip);
  uint64_t state = survival;
  r->cut = cut;
  r->survival = survival;
  live(r, cut, 4 + script % 14);
  uint64_t events = sim_events(r->sim);
  for (r->life = 1; cut && r->life < LIVES; r->life++) {
    if ((state >> 20) % 3 == 1) {
      sim_kill(r->sim);
    } else {
      sim_restart(r->sim, state);
      r->power_lost = true;
    }
    r->log = NULL;
    r->random ^= script + (uint64_t)r->life;
    state = state * 6364136223846793005u + 1442695040888963407u;
    /* The next cut may fall into the recovery (I6) or behind it (I7). */
    live(r, 1 + below(r, r->life % 2 ? 12 : 60), 6);
  }
  sim_restart(r->sim, state);
  r->power_lost = true;
  open_run(r);
  compare(r);
  must(r, duralog_close(&r->log));
  assert_int_equal(sim_open_handles(r->sim), 0); /* I17 */
  assert_int_equal(sim_allocations(r->sim), 0);
  sim_free(r->sim);
  free(r);
  return events;
}

/* SKIP=name: syncs for that reason do nothing, and the test must turn red. */
static int skipped(void) {
  static const char *const names[] = {
#define SYNC_NAME(name, text) text,
      IO_SYNC_REASONS(SYNC_NAME)
#undef SYNC_NAME
  };
  const char *given = getenv("SKIP");
  for (int i = 0; given && i < IO_SYNC_REASON_COUNT; i++)
    if (strcmp(given, names[i]) == 0) return i;
  return -1;
}

static void power_cut_at_every_event_keeps_every_promise(void **unused) {
  (void)unused;
  const char *given = getenv("SCRIPTS");
  uint64_t scripts = given ? strtoull(given, NULL, 0) : 60, states = 0;
  for (uint64_t script = 1; script <= scripts; script++) {
    uint64_t events = story(script, 0, 0, skipped());
    for (uint64_t cut = 1; cut <= events; cut++)
      for (uint64_t s = 0; s < 3; s++, states++)
        story(script, cut, s ? s * 1000003 + script * 31 + cut : 0, skipped());
  }
  print_message("%llu states\n", (unsigned long long)states);
}

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "replay") == 0) {
    story(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0),
          strtoull(argv[4], NULL, 0), skipped());
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(power_cut_at_every_event_keeps_every_promise),
  };
  return cmocka_run_group_tests_name("power", tests, NULL, NULL);
}
