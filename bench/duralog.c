/* SPDX-License-Identifier: MIT
 *
 * The library as a contender, through its public header.
 */
#include "duralog.h"

#include <stdio.h>
#include <string.h>

#include "contender.h"
#include "harness.h"

#define BATCH_MAX 256u
#define MANY_MAX 256u
#define PREPARE_PAUSE_MS 200u /* for the background thread, after opening */

typedef struct state {
  duralog *log;
  duralog_reader *reader;
  volatile uint64_t seen; /* so that reading has a result */
} state;

static bool complain(const char *what, duralog_error error) {
  fprintf(stderr, "bench: duralog: %s: %s (%s)\n", what,
          duralog_error_text(error), duralog_error_name(error));
  return false;
}

static bool open_log(const char *dir, contender_mode mode, duralog **log,
                     duralog_report *report) {
  duralog_options options = {.struct_size = sizeof options,
                             .segment_bytes = SEGMENT_BYTES};
  duralog_diagnostic why = {.struct_size = sizeof why};
  options.durability.pagecache = mode == MODE_PAGECACHE;
  duralog_error error = duralog_open(dir, &options, log, report, &why);
  if (error == DURALOG_OK) return true;
  fprintf(stderr, "bench: duralog: %s: %s\n", why.path, why.text);
  return complain("open", error);
}

/* One handle at a time in each process, so one state is enough. */
static void *log_open(const char *dir, contender_mode mode, uint64_t bytes) {
  (void)bytes; /* the library prepares as it goes */
  static state it;
  it = (state){0};
  if (!open_log(dir, mode, &it.log, NULL)) return NULL;
  duralog_error error = duralog_append(it.log, "first", 5, NULL);
  if (error != DURALOG_OK) {
    complain("the first append", error);
    return NULL;
  }
  pause_ms(PREPARE_PAUSE_MS);
  return &it;
}

/* ---------------------------------------------------------- appending -- */

static bool append_singly(duralog *log, const workload *work) {
  for (uint64_t i = 0; i < work->count; i++) {
    duralog_error error =
        duralog_append(log, workload_record(work, i), work->size, NULL);
    if (error != DURALOG_OK) return complain("append", error);
  }
  return true;
}

static bool append_batches(duralog *log, const workload *work) {
  duralog_entry entries[BATCH_MAX] = {0};
  size_t batch = work->batch < BATCH_MAX ? work->batch : BATCH_MAX;
  for (uint64_t i = 0; i < work->count; i += batch) {
    for (size_t k = 0; k < batch; k++) {
      entries[k].data = workload_record(work, i + k);
      entries[k].size = work->size;
    }
    duralog_error error =
        duralog_append_batch(log, entries, batch, DURALOG_LEVEL_WRITTEN, NULL);
    if (error != DURALOG_OK) return complain("append_batch", error);
  }
  return true;
}

/* The payload is copied here instead of by the library. */
static bool append_reserved(duralog *log, const workload *work) {
  for (uint64_t i = 0; i < work->count; i++) {
    void *memory;
    duralog_error error = duralog_reserve(log, work->size, -1, &memory);
    if (error != DURALOG_OK) return complain("reserve", error);
    memcpy(memory, workload_record(work, i), work->size);
    error = duralog_publish(log, work->size, DURALOG_LEVEL_DEFAULT, NULL);
    if (error != DURALOG_OK) return complain("publish", error);
  }
  return true;
}

static bool log_append(void *log, const workload *work) {
  state *it = log;
  if (work->reserve) return append_reserved(it->log, work);
  return work->batch ? append_batches(it->log, work)
                     : append_singly(it->log, work);
}

static bool log_append_one(void *log, const void *data, size_t size) {
  state *it = log;
  duralog_error error = duralog_append(it->log, data, size, NULL);
  return error == DURALOG_OK || complain("append", error);
}

static bool log_settle(void *log) {
  state *it = log;
  duralog_error error = duralog_sync(it->log);
  return error == DURALOG_OK || complain("sync", error);
}

/* ------------------------------------------------------------ reading -- */

static duralog_error read_singly(state *it, uint64_t *records) {
  duralog_record record;
  duralog_error error;
  uint64_t seen = 0, count = 0;
  while ((error = duralog_read_next(it->reader, &record)) == DURALOG_OK) {
    seen += *(const unsigned char *)record.data;
    count++;
  }
  it->seen = seen;
  *records = count;
  return error;
}

static duralog_error read_by_many(state *it, size_t many, uint64_t *records) {
  duralog_record record[MANY_MAX];
  duralog_error error;
  uint64_t seen = 0, count = 0;
  size_t got;
  while ((error = duralog_read_many(it->reader, record, many, 0, &got)) ==
         DURALOG_OK) {
    for (size_t i = 0; i < got; i++)
      seen += *(const unsigned char *)record[i].data;
    count += got;
  }
  it->seen = seen;
  *records = count;
  return error;
}

static bool rewind_reader(state *it) {
  duralog_error error = DURALOG_OK;
  if (!it->reader)
    error = duralog_reader_open(it->log, DURALOG_LEVEL_DEFAULT, &it->reader);
  if (error == DURALOG_OK)
    error = duralog_seek(it->reader, DURALOG_SEEK_START, 0);
  return error == DURALOG_OK || complain("reader", error);
}

static uint64_t log_read(void *log, size_t many) {
  state *it = log;
  uint64_t records = 0;
  if (!rewind_reader(it)) return 0;
  duralog_error error =
      many > 1 ? read_by_many(it, many < MANY_MAX ? many : MANY_MAX, &records)
               : read_singly(it, &records);
  if (error == DURALOG_E_AT_END) return records;
  complain("read", error);
  return 0;
}

/* ------------------------------------------------- recovery and close -- */

static bool log_recover(const char *dir, recovery *out) {
  duralog *log;
  duralog_report report = {.struct_size = sizeof report};
  uint64_t start = now_ns();
  if (!open_log(dir, MODE_PAGECACHE, &log, &report)) return false;
  out->total_ns = now_ns() - start;
  out->walk_ns = report.walk_ns;
  out->records = report.end - report.start;
  out->bytes = report.bytes_walked;
  return true;
}

static void log_close(void *log) {
  state *it = log;
  if (it->reader) duralog_reader_close(&it->reader);
  duralog_error error = duralog_close(&it->log);
  if (error != DURALOG_OK) complain("close", error);
}

const contender contender_duralog = {
    .name = "duralog",
    .note = "thread-safe, with timestamps and offsets",
    .has_background = true,
    .open = log_open,
    .append = log_append,
    .append_one = log_append_one,
    .settle = log_settle,
    .read = log_read,
    .recover = log_recover,
    .close = log_close,
};
