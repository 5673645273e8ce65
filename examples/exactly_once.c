/* SPDX-License-Identifier: MIT
 * Exactly once, by what a consumer does with it: the result and how far it has
 * come are stored in one step, in the consumer's own file, and on starting that
 * decides where to go on; the group's offset only follows. Sums up the sizes of
 * a log's records: whenever it is killed, each is counted once.
 *   exactly_once DIRECTORY STATE_FILE */
#include <stdio.h>
#include <unistd.h>

#include "duralog.h"

typedef struct state {
  unsigned long long next, sum;
} state;

static void load(const char *path, state *s) {
  FILE *file = fopen(path, "r");
  if (file && fscanf(file, "%llu %llu", &s->next, &s->sum) != 2)
    *s = (state){0, 0};
  if (file) fclose(file);
}

/* All or nothing: a new file that takes the old one's name. */
static int store(const char *path, const state *s) {
  char temporary[4096];
  snprintf(temporary, sizeof temporary, "%s.tmp", path);
  FILE *file = fopen(temporary, "w");
  if (!file) return -1;
  int bad = fprintf(file, "%llu %llu\n", s->next, s->sum) < 0 ||
            fflush(file) != 0 || fsync(fileno(file)) != 0;
  return fclose(file) != 0 || bad ? -1 : rename(temporary, path);
}

static duralog_error consume(duralog_consumer *c, const char *path, state *s) {
  const duralog_record *records;
  size_t count;
  duralog_error error = duralog_consumer_seek(c, DURALOG_SEEK_OFFSET, s->next);
  while (error == DURALOG_OK) {
    error = duralog_poll(c, 10, 0, 0, &records, &count);
    if (error == DURALOG_E_NO_WRITER) return DURALOG_E_TIMEOUT; /* the end */
    if (error != DURALOG_OK) break;
    for (size_t i = 0; i < count; i++) s->sum += records[i].size;
    s->next = records[count - 1].offset + 1;
    if (store(path, s) != 0) return DURALOG_E_IO;
    error = duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DEFAULT, NULL);
  }
  return error;
}

int main(int argc, char **argv) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  duralog_consumer_options how = {.struct_size = sizeof how,
                                  .manual_commit = true};
  state s = {0, 0};
  duralog *log = NULL;
  duralog_consumer *consumer = NULL;
  if (argc != 3) {
    fprintf(stderr, "usage: exactly_once DIRECTORY STATE_FILE\n");
    return 2;
  }
  load(argv[2], &s);
  duralog_error error = duralog_open(argv[1], &options, &log, NULL, NULL);
  if (error == DURALOG_OK)
    error = duralog_consumer_open(log, "exactly-once", &how, &consumer);
  if (error == DURALOG_OK) error = consume(consumer, argv[2], &s);
  if (consumer) duralog_consumer_close(&consumer);
  if (log) duralog_close(&log);
  if (error != DURALOG_E_TIMEOUT) {
    fprintf(stderr, "exactly_once: %s\n", duralog_error_text(error));
    return 1;
  }
  printf("%llu records, %llu bytes\n", s.next, s.sum);
  return 0;
}
