/* SPDX-License-Identifier: MIT
 *
 * The files `expect` of the golden cases: lines of words.
 *
 *   write RESULT      of opening for writing, OK or an error's name behind E_
 *   read RESULT       of opening read-only
 *   start, end, durable, epoch, segments, torn, clean
 *                     the report's numbers; durable is its durable_found
 *   damage FROM TO SEGMENT     a damaged range of the report
 *   record OFFSET EPOCH TIME last|more KEY DATA
 *   lost FROM TO      reading at FROM gives this range
 *   accept OFFSET     with accept_damage it opens, and goes on there
 *
 * KEY and DATA: a text; "" is empty; - is none; x*100 is a hundred times x.
 */
#ifndef GOLDEN_EXPECT_H
#define GOLDEN_EXPECT_H

#include "support.h"

enum { EXPECT_LINES_MAX = 64 };

struct expect_text {
  bool given;
  char *bytes;
  size_t size;
};

struct expect_line {
  bool lost, more;
  uint64_t from, to; /* from: the offset of a record */
  uint64_t epoch;
  int64_t time;
  struct expect_text key, data;
};

struct expect {
  duralog_error write, read;
  uint64_t start, end, durable, epoch, segments, torn, clean;
  bool accepted;
  uint64_t accept;
  duralog_damage damage[8];
  size_t damage_count;
  struct expect_line lines[EXPECT_LINES_MAX];
  size_t count;
};

static inline duralog_error expect_error(const char *word) {
#define EXPECT_CASE(name, value, text)                                     \
  if (strcmp(word, strncmp(#name, "E_", 2) == 0 ? &#name[2] : #name) == 0) \
    return DURALOG_##name;
  DURALOG_ERRORS(EXPECT_CASE)
#undef EXPECT_CASE
  test_failed(__FILE__, __LINE__, "no result: %s", word);
}

static inline struct expect_text expect_text(const char *word) {
  struct expect_text t = {.given = strcmp(word, "-") != 0};
  if (!t.given || strcmp(word, "\"\"") == 0) return t;
  bool run = word[1] == '*';
  t.size = run ? strtoul(word + 2, NULL, 10) : strlen(word);
  t.bytes = malloc(t.size);
  CHECK(t.bytes != NULL);
  if (run)
    memset(t.bytes, word[0], t.size);
  else
    memcpy(t.bytes, word, t.size);
  return t;
}

/* A text's spaces are written as underscores. */
static inline void expect_spaces(struct expect_text *t) {
  for (size_t i = 0; i < t->size; i++)
    if (t->bytes[i] == '_') t->bytes[i] = ' ';
}

static inline void expect_record(struct expect *e, char words[8][256]) {
  struct expect_line *l = &e->lines[e->count++];
  *l = (struct expect_line){.from = strtoull(words[1], NULL, 10),
                            .epoch = strtoull(words[2], NULL, 10),
                            .time = strtoll(words[3], NULL, 10),
                            .more = strcmp(words[4], "more") == 0,
                            .key = expect_text(words[5]),
                            .data = expect_text(words[6])};
  expect_spaces(&l->key);
  expect_spaces(&l->data);
}

static inline void expect_words(struct expect *e, int count,
                                char words[8][256]) {
  const struct {
    const char *word;
    uint64_t *to;
  } numbers[] = {{"start", &e->start},       {"end", &e->end},
                 {"durable", &e->durable},   {"epoch", &e->epoch},
                 {"segments", &e->segments}, {"torn", &e->torn}};
  const char *word = words[0];
  uint64_t first = strtoull(words[1], NULL, 10);
  uint64_t second = strtoull(words[2], NULL, 10);
  for (size_t i = 0; i < COUNT_OF(numbers); i++)
    if (strcmp(word, numbers[i].word) == 0) {
      *numbers[i].to = first;
      return;
    }
  CHECK(e->count < EXPECT_LINES_MAX && e->damage_count < 8);
  if (strcmp(word, "write") == 0) {
    e->write = expect_error(words[1]);
  } else if (strcmp(word, "read") == 0) {
    e->read = expect_error(words[1]);
  } else if (strcmp(word, "clean") == 0) {
    e->clean = strcmp(words[1], "yes") == 0;
  } else if (strcmp(word, "accept") == 0) {
    e->accepted = true;
    e->accept = first;
  } else if (strcmp(word, "damage") == 0 && count == 4) {
    e->damage[e->damage_count++] = (duralog_damage){
        .from = first, .to = second, .segment = strtoull(words[3], NULL, 10)};
  } else if (strcmp(word, "lost") == 0 && count == 3) {
    e->lines[e->count++] =
        (struct expect_line){.lost = true, .from = first, .to = second};
  } else if (strcmp(word, "record") == 0 && count == 7) {
    expect_record(e, words);
  } else {
    test_failed(__FILE__, __LINE__, "what is \"%s\" with %d words?", word,
                count);
  }
}

static inline void expect_load(const char *path, struct expect *e) {
  char line[1024], words[8][256];
  FILE *in = fopen(path, "r");
  *e = (struct expect){.write = DURALOG_OK};
  if (!in) test_failed(__FILE__, __LINE__, "cannot open %s", path);
  while (fgets(line, sizeof line, in)) {
    memset(words, 0, sizeof words);
    int count = sscanf(line, "%255s %255s %255s %255s %255s %255s %255s %255s",
                       words[0], words[1], words[2], words[3], words[4],
                       words[5], words[6], words[7]);
    if (count > 0 && words[0][0] != '#') expect_words(e, count, words);
  }
  fclose(in);
}

static inline void expect_free(struct expect *e) {
  for (size_t i = 0; i < e->count; i++) {
    free(e->lines[i].key.bytes);
    free(e->lines[i].data.bytes);
  }
}

/* ---- printing what was found, in the same form ---- */

static inline void expect_print_text(const void *bytes, size_t size) {
  const char *text = bytes;
  if (!text)
    printf(" -");
  else if (size == 0)
    printf(" \"\"");
  else if (size > 64)
    printf(" %c*%zu", text[0], size);
  else {
    printf(" ");
    for (size_t i = 0; i < size; i++) putchar(text[i] == ' ' ? '_' : text[i]);
  }
}

static inline void expect_print_contents(duralog *log) {
  duralog_reader *reader = reader_of(log, DURALOG_LEVEL_WRITTEN);
  duralog_record r;
  duralog_error error;
  while ((error = duralog_read_next(reader, &r)) != DURALOG_E_AT_END) {
    duralog_damage damage;
    if (error == DURALOG_E_CORRUPT &&
        duralog_reader_diagnose(reader, &damage, NULL) == DURALOG_OK) {
      printf("lost %llu %llu\n", (unsigned long long)damage.from,
             (unsigned long long)damage.to);
      if (duralog_seek(reader, DURALOG_SEEK_OFFSET, damage.to)) break;
      continue;
    }
    if (error) break;
    printf("record %llu %llu %lld %s", (unsigned long long)r.offset,
           (unsigned long long)r.epoch, (long long)r.timestamp_ms,
           r.batch_last == UINT64_MAX ? "more" : "last");
    expect_print_text(r.key, r.key_size);
    expect_print_text(r.data, r.size);
    printf("\n");
  }
  duralog_reader_close(&reader);
}

static inline void expect_print(const char *how, duralog_error error,
                                const duralog_report *r, duralog *log) {
  const char *name = duralog_error_name(error) + strlen("DURALOG_");
  printf("%s %s\n", how, strncmp(name, "E_", 2) == 0 ? name + 2 : name);
  if (strcmp(how, "read") != 0) return;
  printf(
      "start %llu\nend %llu\ndurable %llu\nepoch %llu\nsegments %llu\n"
      "torn %llu\nclean %s\n",
      (unsigned long long)r->start, (unsigned long long)r->end,
      (unsigned long long)r->durable_found, (unsigned long long)r->epoch,
      (unsigned long long)r->segments, (unsigned long long)r->torn_bytes,
      r->clean ? "yes" : "no");
  for (size_t i = 0; i < r->damage_count && i < COUNT_OF(r->damage); i++)
    printf("damage %llu %llu %llu\n", (unsigned long long)r->damage[i].from,
           (unsigned long long)r->damage[i].to,
           (unsigned long long)r->damage[i].segment);
  if (log) expect_print_contents(log);
}

#endif
