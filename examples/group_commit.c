/* SPDX-License-Identifier: MIT
 * Many threads append; each append returns when its record survives power loss.
 * All who wait share one sync, and so are much faster than one thread alone. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "duralog.h"

enum { THREADS = 16, APPENDS = 500 };

typedef struct writer {
  duralog *log;
  uint32_t number;
} writer;

static void check(duralog_error error) {
  if (error != DURALOG_OK) {
    fprintf(stderr, "group_commit: %s\n", duralog_error_text(error));
    exit(1);
  }
}

static void *append_all(void *argument) {
  const writer *w = argument;
  for (uint32_t i = 0; i < APPENDS; i++) {
    uint32_t message[2] = {w->number, i};
    check(duralog_append(w->log, message, sizeof message, NULL));
  }
  return NULL;
}

static void append_by_threads(duralog *log) {
  pthread_t threads[THREADS];
  writer writers[THREADS];
  for (uint32_t i = 0; i < THREADS; i++) {
    writers[i] = (writer){log, i};
    if (pthread_create(&threads[i], NULL, append_all, &writers[i]) != 0)
      check(DURALOG_E_RESOURCES);
  }
  for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* Whether all of each thread's messages are there, in that thread's order. */
static bool read_back(duralog *log, uint64_t first) {
  uint32_t next[THREADS] = {0}, message[2], good = 0;
  duralog_reader *reader;
  duralog_record record;
  check(duralog_reader_open(log, DURALOG_LEVEL_DURABLE, &reader));
  check(duralog_seek(reader, DURALOG_SEEK_OFFSET, first));
  while (duralog_read_next(reader, &record) == DURALOG_OK &&
         record.size == sizeof message) {
    memcpy(message, record.data, sizeof message); /* it may be unaligned */
    good += message[0] < THREADS && message[1] == next[message[0]]++;
  }
  check(duralog_reader_close(&reader));
  return good == THREADS * APPENDS;
}

int main(int argc, char **argv) {
  duralog *log;
  duralog_report report = {.struct_size = sizeof report};
  struct timespec begin, end;
  check(duralog_open(argc > 1 ? argv[1] : NULL, NULL, &log, &report, NULL));
  clock_gettime(CLOCK_MONOTONIC, &begin);
  append_by_threads(log);
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds = difftime(end.tv_sec, begin.tv_sec) +
                   (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
  printf("%d durable appends by %d threads in %.2f s, %.0f a second: ",
         THREADS * APPENDS, THREADS, seconds, THREADS * APPENDS / seconds);
  bool good = read_back(log, report.end);
  puts(good ? "all read back" : "NOT all read back");
  check(duralog_close(&log));
  return !good;
}
