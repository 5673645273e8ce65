/* SPDX-License-Identifier: MIT
 * A consumer of a log, beside its writer or alone: each line that it prints was
 * consumed once its group's offset is committed. Killed at any time, it goes on
 * where it had committed: what it was at may come again, nothing is lost.
 *   consumer DIRECTORY [GROUP]     DIRECTORY holds a log; stops at its end */
#include <stdio.h>

#include "duralog.h"

static int fail(const char *what, duralog_error error) {
  fprintf(stderr, "consumer: %s: %s\n", what, duralog_error_text(error));
  return 1;
}

/* Until nothing comes for a while. Auto commit, at each poll after 5 s and at
 * closing, commits what earlier polls gave: so print it all before the next. */
static duralog_error consume(duralog_consumer *consumer) {
  for (;;) {
    const duralog_record *records;
    size_t count;
    duralog_error error = duralog_poll(consumer, 100, 0, 200, &records, &count);
    if (error == DURALOG_E_NO_WRITER) continue; /* read what it left, wait */
    if (error != DURALOG_OK) return error;
    for (size_t i = 0; i < count; i++)
      printf("%llu %.*s\n", (unsigned long long)records[i].offset,
             (int)records[i].size, (const char *)records[i].data);
    if (fflush(stdout) != 0) return DURALOG_E_IO;
  }
}

int main(int argc, char **argv) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  /* Where a crash took records that were consumed, go back to where the log
   * parts from what it was; without this, polls would say so. */
  duralog_consumer_options how = {.struct_size = sizeof how, .go_back = true};
  duralog *log = NULL;
  duralog_consumer *consumer = NULL;
  if (argc < 2) {
    fprintf(stderr, "usage: consumer DIRECTORY [GROUP]\n");
    return 2;
  }
  duralog_error error = duralog_open(argv[1], &options, &log, NULL, NULL);
  if (error != DURALOG_OK) return fail(argv[1], error);
  error = duralog_consumer_open(log, argc > 2 ? argv[2] : "example", &how,
                                &consumer);
  if (error != DURALOG_OK) {
    duralog_close(&log);
    return fail("cannot join the group", error);
  }
  error = consume(consumer);
  if (error != DURALOG_E_TIMEOUT) fail("cannot read on", error);
  duralog_error closed = duralog_consumer_close(&consumer); /* it commits */
  if (closed != DURALOG_OK) fail("cannot commit", closed);
  duralog_close(&log);
  return error != DURALOG_E_TIMEOUT || closed != DURALOG_OK;
}
