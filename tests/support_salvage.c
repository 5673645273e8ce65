/* SPDX-License-Identifier: MIT
 *
 * See support_salvage.h.
 */
#include "support_salvage.h"

const duralog_environment *salvage_environment;

static duralog_options reading(void) {
  duralog_options o = small_options();
  o.read_only = true;
  o.environment = salvage_environment;
  return o;
}

/* ---- what a log holds ---- */

static void truth_add(struct truth *t, const duralog_record *r) {
  CHECK_EQUAL(r->offset, t->end);
  if (t->end % 1024 == 0) {
    t->list = realloc(t->list, (t->end + 1024) * sizeof *t->list);
    CHECK(t->list != NULL);
  }
  struct truth_record *to = &t->list[t->end++];
  *to = (struct truth_record){.bytes = malloc(r->key_size + r->size + 1),
                              .key_size = r->key_size,
                              .size = r->size,
                              .has_key = r->key != NULL,
                              .time = r->timestamp_ms,
                              .epoch = r->epoch,
                              .batch_last = r->batch_last};
  CHECK(to->bytes != NULL);
  if (r->key_size) memcpy(to->bytes, r->key, r->key_size);
  if (r->size) memcpy(to->bytes + r->key_size, r->data, r->size);
}

void truth_load(struct truth *t, const char *path) {
  duralog_options o = reading();
  duralog_record r;
  *t = (struct truth){NULL, 0};
  duralog *log = open_with(path, &o);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_error error;
  while ((error = duralog_read_next(reader, &r)) == DURALOG_OK)
    truth_add(t, &r);
  CHECK_EQUAL(error, DURALOG_E_AT_END);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}

void truth_free(struct truth *t) {
  for (uint64_t i = 0; i < t->end; i++) free(t->list[i].bytes);
  free(t->list);
  *t = (struct truth){NULL, 0};
}

static void check_record(const struct truth *t, const duralog_record *r) {
  if (r->offset >= t->end)
    test_failed(__FILE__, __LINE__, "record %llu was never appended",
                (unsigned long long)r->offset);
  const struct truth_record *is = &t->list[r->offset];
  bool same = r->size == is->size && r->key_size == is->key_size &&
              (r->key != NULL) == is->has_key && r->timestamp_ms == is->time &&
              r->epoch == is->epoch && r->batch_last == is->batch_last &&
              (!r->key_size || !memcmp(r->key, is->bytes, r->key_size)) &&
              !memcmp(r->data, is->bytes + is->key_size, r->size);
  if (!same)
    test_failed(__FILE__, __LINE__, "record %llu is not what was appended",
                (unsigned long long)r->offset);
}

/* ---- salvaging ---- */

static void found_add(void *context, const duralog_salvage_item *item) {
  struct found *f = context;
  CHECK(f->count < FOUND_MAX);
  CHECK_EQUAL(item->struct_size, sizeof *item);
  f->items[f->count++] = *item;
}

duralog_error salvage_run(const char *log, const char *copy,
                          const duralog_salvage_options *given,
                          struct found *f) {
  duralog_salvage_options o = {.struct_size = sizeof o};
  duralog_diagnostic d = {.struct_size = sizeof d};
  bool real = !salvage_environment;
  uint64_t before = real ? tree_digest(log, true) : 0;
  unsigned descriptors = descriptor_count();
  if (given) o = *given;
  f->count = 0;
  f->report = (duralog_salvage_report){.struct_size = sizeof f->report};
  o.found = found_add;
  o.found_context = f;
  if (!real) o.environment = salvage_environment;
  if (real) directory_remove(copy);
  duralog_error error = duralog_salvage(log, copy, &o, &f->report, &d);
  if (real) CHECK_UNCHANGED(before, log);
  CHECK_EQUAL(descriptor_count(), descriptors);
  CHECK_EQUAL(error, error ? d.error : DURALOG_OK);
  if (error) CHECK(d.text[0] != 0);
  if (error && real) CHECK(!file_exists(copy));
  return error;
}

bool found_in(const struct found *f, duralog_salvage_kind kind,
              uint64_t segment) {
  for (size_t i = 0; i < f->count; i++)
    if (f->items[i].kind == kind && f->items[i].segment == segment) return true;
  return false;
}

/* ---- comparing ---- */

/* The gap that was told and holds the offset. */
static const duralog_salvage_item *gap_at(const struct found *f,
                                          uint64_t offset) {
  for (size_t i = 0; i < f->count; i++) {
    const duralog_salvage_item *item = &f->items[i];
    if (item->kind == DURALOG_SALVAGE_GAP && item->from <= offset &&
        offset < item->to && item->to != UINT64_MAX)
      return item;
  }
  test_failed(__FILE__, __LINE__, "offset %llu is neither read nor in a gap",
              (unsigned long long)offset);
}

static uint64_t pass_gap(duralog_reader *reader, uint64_t offset,
                         const struct found *f) {
  duralog_damage damage = {.from = 0};
  CHECK_OK(duralog_reader_diagnose(reader, &damage, NULL));
  const duralog_salvage_item *gap = gap_at(f, offset);
  CHECK_EQUAL(damage.from, gap->from);
  CHECK_EQUAL(damage.to, gap->to);
  CHECK_EQUAL(damage.from, offset);
  CHECK_OK(duralog_seek(reader, DURALOG_SEEK_OFFSET, damage.to));
  return damage.to;
}

static void check_reading(duralog *log, const struct truth *t,
                          const struct found *f, bool *copied) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  duralog_record r;
  uint64_t offset = f->report.start, records = 0, bytes = 0, gaps = 0;
  CHECK_EQUAL(watermarks_of(log).start, f->report.start);
  while (offset < f->report.end) {
    duralog_error error = duralog_read_next(reader, &r);
    if (error == DURALOG_E_CORRUPT) {
      offset = pass_gap(reader, offset, f);
      gaps++;
      continue;
    }
    CHECK_EQUAL(error, DURALOG_OK);
    CHECK_EQUAL(r.offset, offset);
    check_record(t, &r);
    copied[offset++] = true;
    records++;
    bytes += r.size + r.key_size;
  }
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_EQUAL(records, f->report.records);
  CHECK_EQUAL(bytes, f->report.bytes);
  /* From within, too. */
  for (uint64_t i = f->report.start; i < f->report.end && i < t->end; i += 7) {
    duralog_error error = duralog_read_at(reader, i, &r);
    CHECK_EQUAL(error, copied[i] ? DURALOG_OK : DURALOG_E_CORRUPT);
    if (!error) check_record(t, &r);
  }
  CHECK_OK(duralog_reader_close(&reader));
}

static void check_items(const struct found *f) {
  uint64_t next = f->report.start, runs = 0, gaps = 0, damages = 0, lost = 0;
  for (size_t i = 0; i < f->count; i++) {
    const duralog_salvage_item *item = &f->items[i];
    CHECK(item->position <= item->position_end);
    if (item->kind == DURALOG_SALVAGE_DAMAGE) {
      damages++;
      CHECK_EQUAL(item->from, item->to);
      CHECK(item->reason != NULL);
      continue;
    }
    CHECK_EQUAL(item->from, next);
    CHECK(item->from < item->to);
    runs += item->kind == DURALOG_SALVAGE_RUN;
    gaps += item->kind == DURALOG_SALVAGE_GAP;
    CHECK_EQUAL(item->reason == NULL, item->kind == DURALOG_SALVAGE_RUN);
    if (item->to == UINT64_MAX) continue;
    if (item->kind == DURALOG_SALVAGE_GAP) lost += item->to - item->from;
    next = item->to;
  }
  CHECK_EQUAL(next, f->report.end);
  CHECK_EQUAL(runs, f->report.runs);
  CHECK_EQUAL(gaps, f->report.gaps);
  CHECK_EQUAL(damages, f->report.damages);
  CHECK_EQUAL(lost, f->report.records_lost);
}

void salvage_check(const char *copy, const struct truth *t,
                   const struct found *f, bool *copied) {
  duralog_options o = reading();
  duralog_report report;
  duralog_record r;
  uint64_t offset = 0;
  memset(copied, 0, t->end * sizeof *copied);
  check_items(f);
  duralog *log = open_reporting(copy, &o, &report);
  CHECK_EQUAL(report.damage_count, 0);
  check_reading(log, t, f, copied);
  close_log(log);
  o.read_only = false;
  o.host_driven = true;
  log = open_reporting(copy, &o, &report);
  CHECK_EQUAL(report.end, f->report.end);
  CHECK_OK(duralog_append(log, "behind", 6, &offset));
  CHECK_EQUAL(offset, f->report.end);
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_DEFAULT);
  CHECK_OK(duralog_read_at(reader, offset, &r));
  CHECK_BYTES("behind", 6, r.data, r.size);
  for (uint64_t i = 0; i < t->end; i++)
    if (copied[i]) CHECK(t->list[i].epoch < r.epoch);
  CHECK_OK(duralog_reader_close(&reader));
  close_log(log);
}
