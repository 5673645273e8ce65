/* SPDX-License-Identifier: MIT
 *
 * Follow a log that another process writes: print each record once it is there,
 * whatever becomes of the writers. Ends when nothing has come for SECONDS.
 */
#include <stdio.h>
#include <stdlib.h>

#include "duralog.h"

static void print(const duralog_record *record) {
  printf("%llu %.*s\n", (unsigned long long)record->offset, (int)record->size,
         (const char *)record->data);
  fflush(stdout);
}

/* A new writer has appended. If the last one was killed with the power, the end
 * of the log may be another than what we have seen: go back to there. */
static duralog_error meet_new_writer(duralog_reader *reader) {
  uint64_t divergence, here;
  duralog_error error = duralog_reader_divergence(reader, &divergence, NULL);
  if (error == DURALOG_OK) error = duralog_tell(reader, &here);
  if (error != DURALOG_OK || divergence >= here) return error;
  fprintf(stderr, "forget all from %llu on\n", (unsigned long long)divergence);
  return duralog_seek(reader, DURALOG_SEEK_OFFSET, divergence);
}

static duralog_error follow(duralog_reader *reader, int64_t timeout_ms) {
  duralog_record record;
  for (;;) {
    duralog_error error = duralog_read_next(reader, &record);
    if (error == DURALOG_OK) print(&record);
    if (error == DURALOG_E_AT_END)
      error = duralog_reader_wait(reader, timeout_ms);
    if (error == DURALOG_E_EPOCH) error = meet_new_writer(reader);
    if (error == DURALOG_E_NO_WRITER) /* told once: go on for the next one */
      fprintf(stderr, "the writer has gone\n");
    else if (error != DURALOG_OK)
      return error;
  }
}

static duralog_error tailing(const char *path, int64_t timeout_ms) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  duralog_report report = {.struct_size = sizeof report};
  duralog *log;
  duralog_reader *reader;
  duralog_error error = duralog_open(path, &options, &log, &report, NULL);
  if (error != DURALOG_OK) return error;
  if (!report.follows)
    fprintf(stderr, "no writer: this is the log as it was left\n");
  /* Each record at once. With DURALOG_LEVEL_DURABLE a little later, once it
   * survives power loss: then nothing has to be forgotten. */
  error = duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader);
  if (error == DURALOG_OK) {
    error = follow(reader, timeout_ms);
    duralog_reader_close(&reader);
  }
  duralog_close(&log);
  return error;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: tailing DIR SECONDS\n");
    return 2;
  }
  duralog_error error = tailing(argv[1], 1000 * atol(argv[2]));
  /* READ_ONLY: the end of a log that nobody writes, so nothing can come. */
  if (error == DURALOG_E_TIMEOUT || error == DURALOG_E_READ_ONLY) return 0;
  fprintf(stderr, "tailing: %s\n", duralog_error_text(error));
  return 1;
}
