/* SPDX-License-Identifier: MIT
 *
 * The shortest use: open, append, read back, close.
 */
#include <stdio.h>

#include "duralog.h"

static duralog_error hello(duralog *log) {
  /* By default this returns when the record would survive a power cut. */
  duralog_error error = duralog_append(log, "hello, world", 12, NULL);
  if (error != DURALOG_OK) return error;

  duralog_reader *reader;
  duralog_record record;
  error = duralog_reader_open(log, DURALOG_LEVEL_DEFAULT, &reader);
  if (error != DURALOG_OK) return error;
  while ((error = duralog_read_next(reader, &record)) == DURALOG_OK)
    printf("%llu: %.*s\n", (unsigned long long)record.offset, (int)record.size,
           (const char *)record.data);
  duralog_reader_close(&reader);
  return error == DURALOG_E_AT_END ? DURALOG_OK : error;
}

int main(int argc, char **argv) {
  duralog *log = NULL;
  duralog_error error =
      duralog_open(argc > 1 ? argv[1] : NULL, NULL, &log, NULL, NULL);
  if (error == DURALOG_OK) error = hello(log);
  duralog_error closed = log == NULL ? DURALOG_OK : duralog_close(&log);
  if (error == DURALOG_OK) error = closed;
  if (error != DURALOG_OK)
    fprintf(stderr, "hello: %s\n", duralog_error_text(error));
  return error == DURALOG_OK ? 0 : 1;
}
