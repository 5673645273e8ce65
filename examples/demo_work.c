/* SPDX-License-Identifier: MIT
 *
 * Appending lines by many threads, and comparing a log with them. A record's
 * key is the index of its line, so that it can be found whatever the order in
 * which the threads got their turn.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "demo.h"

enum { THREADS = 8, SEGMENT_BYTES = 256 << 10 /* small, so that it rolls */ };

duralog_error demo_open(const char *path, const demo_mode *mode, duralog **log,
                        duralog_report *report,
                        char problem[DEMO_PROBLEM_BYTES]) {
  duralog_options options = {.struct_size = sizeof options,
                             .durability = mode->durability,
                             .segment_bytes = SEGMENT_BYTES};
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  *report = (duralog_report){.struct_size = sizeof *report};
  duralog_error error = duralog_open(path, &options, log, report, &diagnostic);
  if (error != DURALOG_OK)
    snprintf(problem, DEMO_PROBLEM_BYTES, "open: %s; %.80s",
             duralog_error_text(error), diagnostic.text);
  return error;
}

/* ---------------------------------------------------------- appending -- */

/* How many returned records may be without their sync. */
static uint64_t records_at_risk(const duralog_durability *mode) {
  if (mode->sync_every_records > 0) return mode->sync_every_records - 1;
  bool every_record = mode->sync_every_bytes == 0 &&
                      mode->sync_interval_ms == 0 && !mode->pagecache;
  return every_record ? 0 : UINT64_MAX;
}

static void raise_to(atomic_uint_least64_t *value, uint64_t least) {
  uint_least64_t now = atomic_load(value);
  while (now < least && !atomic_compare_exchange_weak(value, &now, least))
    continue;
}

/* An append has returned: write down what that means before anything else
 * can happen to this process. */
static duralog_error note_return(demo_work *work, uint64_t line,
                                 uint64_t offset) {
  demo_progress *progress = work->progress;
  duralog_watermarks marks = {.struct_size = sizeof marks};
  atomic_store(&progress->offset_plus_1[line], offset + 1);
  atomic_fetch_add(&progress->returned, 1);
  duralog_error error = duralog_get_watermarks(work->log, &marks);
  if (error != DURALOG_OK) return error;
  raise_to(&progress->durable, marks.durable);
  if (offset >= marks.durable &&
      offset + 1 - marks.durable > records_at_risk(&work->mode->durability))
    atomic_fetch_add(&progress->late, 1);
  return DURALOG_OK;
}

static duralog_error append_line(demo_work *work, uint64_t line) {
  const demo_line *text = &work->lines->lines[line];
  duralog_entry entry = {.data = work->lines->bytes + text->position,
                         .size = text->size,
                         .key = &line,
                         .key_size = sizeof line};
  uint64_t offset;
  duralog_error error = duralog_append_batch(work->log, &entry, 1,
                                             DURALOG_LEVEL_DEFAULT, &offset);
  if (error == DURALOG_OK) error = note_return(work, line, offset);
  return error;
}

static void *append_loop(void *argument) {
  demo_work *work = argument;
  demo_progress *progress = work->progress;
  while (atomic_load(&work->failed) == DURALOG_OK) {
    uint64_t line = atomic_fetch_add(&progress->next, 1);
    if (line >= work->lines->count) break;
    if (work->present[line]) continue;
    duralog_error error = append_line(work, line);
    if (error != DURALOG_OK) atomic_store(&work->failed, error);
    /* From half-way on, let the process that is to kill us have its turn. */
    if (atomic_load(&progress->returned) > work->lines->count / 2)
      sched_yield();
  }
  return NULL;
}

duralog_error demo_append(demo_work *work) {
  pthread_t threads[THREADS];
  int started = 0;
  atomic_store(&work->failed, DURALOG_OK);
  while (started < THREADS &&
         pthread_create(&threads[started], NULL, append_loop, work) == 0)
    started++;
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  if (started < THREADS) return DURALOG_E_RESOURCES;
  return (duralog_error)atomic_load(&work->failed);
}

/* ---------------------------------------------------------- comparing -- */

/* NULL, or what is wrong with the record. */
static const char *compare_record(demo_work *work,
                                  const duralog_record *record) {
  uint64_t line;
  if (record->key == NULL || record->key_size != sizeof line)
    return "has a key that was never given";
  memcpy(&line, record->key, sizeof line);
  if (line >= work->lines->count) return "has a key that was never given";
  if (work->present[line]) return "is there twice";
  work->present[line] = true;
  const demo_line *text = &work->lines->lines[line];
  if (record->size != text->size ||
      memcmp(record->data, work->lines->bytes + text->position, text->size))
    return "differs from its line";
  uint64_t given = atomic_load(&work->progress->offset_plus_1[line]);
  if (given != 0 && given != record->offset + 1)
    return "is not at the offset it was given";
  return NULL;
}

static bool compare_records(demo_work *work, duralog_reader *reader,
                            uint64_t *records,
                            char problem[DEMO_PROBLEM_BYTES]) {
  duralog_record record;
  duralog_error error;
  *records = 0;
  while ((error = duralog_read_next(reader, &record)) == DURALOG_OK) {
    const char *wrong = compare_record(work, &record);
    if (record.offset != *records) wrong = "is out of order";
    if (wrong != NULL) {
      snprintf(problem, DEMO_PROBLEM_BYTES,
               "the record at offset %" PRIu64 " %s", record.offset, wrong);
      return false;
    }
    ++*records;
  }
  if (error == DURALOG_E_AT_END) return true;
  snprintf(problem, DEMO_PROBLEM_BYTES, "reading offset %" PRIu64 ": %s",
           *records, duralog_error_text(error));
  return false;
}

static bool compare_missing(const demo_work *work, uint64_t records,
                            char problem[DEMO_PROBLEM_BYTES]) {
  for (size_t i = 0; i < work->lines->count; i++)
    if (atomic_load(&work->progress->offset_plus_1[i]) != 0 &&
        !work->present[i]) {
      snprintf(problem, DEMO_PROBLEM_BYTES,
               "line %zu was appended and is missing", i + 1);
      return false;
    }
  uint64_t durable = atomic_load(&work->progress->durable);
  if (records >= durable) return true;
  snprintf(problem, DEMO_PROBLEM_BYTES,
           "%" PRIu64 " were reported durable, %" PRIu64 " are there", durable,
           records);
  return false;
}

bool demo_compare(demo_work *work, uint64_t *records,
                  char problem[DEMO_PROBLEM_BYTES]) {
  duralog_reader *reader;
  memset(work->present, 0, work->lines->count * sizeof *work->present);
  duralog_error error =
      duralog_reader_open(work->log, DURALOG_LEVEL_WRITTEN, &reader);
  if (error != DURALOG_OK) {
    snprintf(problem, DEMO_PROBLEM_BYTES, "reading: %s",
             duralog_error_text(error));
    return false;
  }
  bool good = compare_records(work, reader, records, problem);
  duralog_reader_close(&reader);
  return good && compare_missing(work, *records, problem);
}
