/* SPDX-License-Identifier: MIT
 * A key-value store in memory whose write-ahead log is duralog. Commands:
 *   set KEY VALUE [KEY VALUE]... (all or none), del KEY..., get KEY, list
 * "ok": the change survives a power cut. Records are keys and their new values;
 * replaying them makes the table again, wherever kv was killed. Keys and values
 * are words without blanks. The log is never shortened. */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duralog.h"

static duralog *wal;
static void *table; /* a tree, see tsearch(3), of "KEY\0VALUE" */

static void check(duralog_error error) {
  if (error == DURALOG_OK) return;
  fprintf(stderr, "kv: %s\n", duralog_error_text(error));
  exit(1); /* harmless at any moment: what was "ok" is in the log */
}
static int by_key(const void *a, const void *b) { return strcmp(a, b); }

static void apply(const char *key, int key_size, const char *value, int size) {
  char *new, **at = NULL;
  if (asprintf(&new, "%.*s%c%.*s", key_size, key, 0, size, value) > 0)
    at = tsearch(new, &table, by_key);
  check(at == NULL ? DURALOG_E_RESOURCES : DURALOG_OK);
  if (*at != new) free(*at), *at = new;
  if (size == 0) tdelete(new, &table, by_key), free(new); /* deleted */
}
static const char *change(const duralog_entry *e, size_t count) {
  duralog_error error =
      duralog_append_batch(wal, e, count, DURALOG_LEVEL_DURABLE, NULL);
  if (error == DURALOG_E_POISONED) check(error); /* the next start knows */
  for (size_t i = 0; i < count && error == DURALOG_OK; i++)
    apply(e[i].key, (int)e[i].key_size, e[i].data, (int)e[i].size);
  return error == DURALOG_OK ? "ok" : duralog_error_text(error);
}
static void print(const void *at, VISIT visit, int depth) {
  const char *key = *(char *const *)at;
  if ((visit == postorder || visit == leaf) && depth >= 0)
    printf("%s %s\n", key, strchr(key, 0) + 1);
}
static char *word(char *line) { return strtok(line, " \n"); }

static const char *answer(char *line) {
  duralog_entry e[16] = {0};
  char *verb = word(line), *key = word(NULL), *value = "", **at;
  size_t count = 0;
  if (verb && strcmp(verb, "list") == 0) return twalk(table, print), "ok";
  if (key && strcmp(verb, "get") == 0)
    return (at = tfind(key, &table, by_key)) ? strchr(*at, 0) + 1 : "none";
  bool set = key && strcmp(verb, "set") == 0;
  if (!key || (!set && strcmp(verb, "del") != 0)) return "no such command";
  for (; key; key = word(NULL), count++) {
    if (count == 16 || (set && !(value = word(NULL)))) return "refused";
    e[count] = (duralog_entry){.key = key, .key_size = strlen(key)};
    e[count].data = value, e[count].size = strlen(value);
  }
  return change(e, count);
}
int main(int argc, char **argv) {
  duralog_reader *reader;
  duralog_record r;
  duralog_error error;
  char *line = NULL;
  size_t room = 0;
  check(duralog_open(argc > 1 ? argv[1] : NULL, NULL, &wal, NULL, NULL));
  check(duralog_reader_open(wal, DURALOG_LEVEL_DEFAULT, &reader));
  while ((error = duralog_read_next(reader, &r)) == DURALOG_OK)
    apply(r.key, (int)r.key_size, r.data, (int)r.size);
  if (error != DURALOG_E_AT_END) check(error);
  check(duralog_reader_close(&reader));
  setlinebuf(stdout);
  while (getline(&line, &room, stdin) > 0) /* a last half line is no command */
    puts(strchr(line, '\n') ? answer(line) : "no such command");
  check(duralog_close(&wal));
}
