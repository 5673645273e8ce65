/* SPDX-License-Identifier: MIT
 *
 * Logs and numbered records. See support.h.
 */
#include "support.h"

duralog_options small_options(void) {
  return (duralog_options){.struct_size = sizeof(duralog_options),
                           .segment_bytes = 64 << 10};
}

duralog_options small_pagecache(void) {
  duralog_options o = small_options();
  o.durability.pagecache = true;
  return o;
}

duralog *open_reporting(const char *path, const duralog_options *options,
                        duralog_report *report) {
  duralog *log = NULL;
  duralog_diagnostic d = {.struct_size = sizeof d};
  report->struct_size = sizeof *report;
  duralog_error error = duralog_open(path, options, &log, report, &d);
  if (error)
    test_failed(__FILE__, __LINE__, "%s: %s: %s, %s at %lld: errno %d", path,
                duralog_error_name(error), d.text, d.path,
                (long long)d.position, d.os_error);
  CHECK(log != NULL);
  return log;
}

duralog *open_with(const char *path, const duralog_options *options) {
  duralog_report report;
  return open_reporting(path, options, &report);
}

void open_fails(duralog_error expected, const char *path,
                const duralog_options *options) {
  duralog *log = NULL;
  duralog_diagnostic d = {.struct_size = sizeof d};
  unsigned descriptors = descriptor_count();
  duralog_error error = duralog_open(path, options, &log, NULL, &d);
  if (error != expected)
    test_failed(__FILE__, __LINE__, "%s: %s instead of %s: %s, %s", path,
                duralog_error_name(error), duralog_error_name(expected), d.text,
                d.path);
  CHECK(log == NULL);
  CHECK_EQUAL(d.error, expected);
  CHECK(d.text[0] != 0);
  CHECK_EQUAL(descriptor_count(), descriptors);
}

void close_log(duralog *log) {
  CHECK_OK(duralog_close(&log));
  CHECK(log == NULL);
}

duralog_watermarks watermarks_of(const duralog *log) {
  duralog_watermarks w = {.struct_size = sizeof w};
  CHECK_OK(duralog_get_watermarks(log, &w));
  CHECK(w.start <= w.end && w.durable <= w.end);
  return w;
}

duralog_reader *reader_of(duralog *log, duralog_level level) {
  duralog_reader *reader = NULL;
  CHECK_OK(duralog_reader_open(log, level, &reader));
  return reader;
}

size_t record_make(uint64_t number, uint8_t to[RECORD_BYTES_MAX]) {
  uint64_t state = number;
  size_t size = (size_t)random_below(&state, RECORD_BYTES_MAX + 1);
  if (number % 50 == 7) size = 0;
  for (size_t i = 0; i < size; i++) {
    if (i % 8 == 0) random_next(&state);
    to[i] = (uint8_t)(state >> i % 8 * 8);
  }
  if (size >= sizeof number) memcpy(to, &number, sizeof number);
  return size;
}

bool record_is(const duralog_record *r, uint64_t number) {
  uint8_t bytes[RECORD_BYTES_MAX];
  size_t size = record_make(number, bytes);
  return r->size == size && memcmp(r->data, bytes, size) == 0 && !r->key;
}

void append_text(duralog *log, const char *text, duralog_level level) {
  duralog_entry e = {.data = text, .size = strlen(text)};
  CHECK_OK(duralog_append_batch(log, &e, 1, level, NULL));
}

void append_numbers(duralog *log, uint64_t from, uint64_t count) {
  uint8_t bytes[RECORD_BYTES_MAX];
  for (uint64_t i = from; i < from + count; i++) {
    uint64_t offset = UINT64_MAX;
    size_t size = record_make(i, bytes);
    CHECK_OK(duralog_append(log, size ? bytes : NULL, size, &offset));
    CHECK_EQUAL(offset, i);
  }
}

void check_numbers(duralog *log, uint64_t count) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  CHECK_EQUAL(watermarks_of(log).start, 0);
  CHECK_EQUAL(watermarks_of(log).end, count);
  for (uint64_t i = 0; i < count; i++) {
    CHECK_OK(duralog_read_next(reader, &r));
    CHECK_EQUAL(r.offset, i);
    if (!record_is(&r, i))
      test_failed(__FILE__, __LINE__, "record %llu is not what was appended",
                  (unsigned long long)i);
  }
  CHECK_IS(DURALOG_E_AT_END, duralog_read_next(reader, &r));
  CHECK_OK(duralog_reader_close(&reader));
}

void check_forked_log(duralog *log) {
  duralog_entry e = {.data = "x", .size = 1};
  duralog_watermarks w = {.struct_size = sizeof w, .end = 77};
  duralog_segment s = {.struct_size = sizeof s, .end = 77};
  duralog_diagnostic d = {.struct_size = sizeof d, .os_error = 77};
  duralog_stats stats = {.struct_size = sizeof stats, .records = 77};
  duralog_reader *reader = NULL;
  uint64_t offset = 77;
  int64_t in_ms = 77;
  CHECK_IS(DURALOG_E_FORKED, duralog_append(log, "x", 1, &offset));
  CHECK_IS(DURALOG_E_FORKED,
           duralog_append_batch(log, &e, 1, DURALOG_LEVEL_WRITTEN, &offset));
  void *memory = NULL;
  CHECK_IS(DURALOG_E_FORKED, duralog_reserve(log, 1, 0, &memory));
  CHECK_IS(DURALOG_E_FORKED,
           duralog_publish(log, 1, DURALOG_LEVEL_WRITTEN, &offset));
  CHECK_IS(DURALOG_E_FORKED, duralog_abort(log));
  CHECK(memory == NULL);
  CHECK_IS(DURALOG_E_FORKED, duralog_sync(log));
  CHECK_IS(DURALOG_E_FORKED, duralog_wait(log, 0, DURALOG_LEVEL_WRITTEN, -1));
  CHECK_IS(DURALOG_E_FORKED,
           duralog_wait(log, 1 << 20, DURALOG_LEVEL_DURABLE, -1));
  CHECK_IS(DURALOG_E_FORKED, duralog_tick(log));
  CHECK_IS(DURALOG_E_FORKED, duralog_next_deadline(log, &in_ms));
  CHECK_IS(DURALOG_E_FORKED, duralog_get_watermarks(log, &w));
  CHECK_IS(DURALOG_E_FORKED, duralog_get_segment(log, 0, &s));
  CHECK_IS(DURALOG_E_FORKED, duralog_diagnose(log, &d));
  CHECK_IS(DURALOG_E_FORKED, duralog_get_stats(log, &stats));
  CHECK_IS(DURALOG_E_FORKED,
           duralog_reader_open(log, DURALOG_LEVEL_DEFAULT, &reader));
  CHECK(offset == 77 && in_ms == 77 && w.end == 77 && s.end == 77);
  CHECK(d.os_error == 77 && stats.records == 77 && reader == NULL);
}

void check_forked_reader(duralog_reader *reader, duralog_record *record) {
  duralog_record r = {.offset = 77};
  duralog_held *held = NULL;
  size_t count = 77;
  CHECK_IS(DURALOG_E_FORKED, duralog_read_next(reader, &r));
  CHECK_IS(DURALOG_E_FORKED, duralog_read_previous(reader, &r));
  CHECK_IS(DURALOG_E_FORKED, duralog_read_at(reader, 0, &r));
  CHECK_IS(DURALOG_E_FORKED, duralog_read_many(reader, &r, 1, 0, &count));
  CHECK_IS(DURALOG_E_FORKED, duralog_seek(reader, DURALOG_SEEK_START, 0));
  CHECK_IS(DURALOG_E_FORKED, duralog_seek_time(reader, 0));
  CHECK_IS(DURALOG_E_FORKED, duralog_reader_wait(reader, -1));
  CHECK_IS(DURALOG_E_FORKED, duralog_hold(reader, record, &held));
  CHECK(r.offset == 77 && count == 77 && held == NULL);
}
