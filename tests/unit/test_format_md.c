/* SPDX-License-Identifier: MIT
 *
 * The log taken apart in lib/FORMAT.md is the golden case `worked`, each byte
 * of it, and the values beside the bytes are what the bytes say.
 */
#include "golden.h"
#include "unit.h"

#define CASE_DIRECTORY "tests/golden/v1/worked"

struct dump {
  struct golden_files files;
  struct golden_file *file; /* whose table this is */
  bool *listed;             /* its bytes */
  unsigned rows, tables;
};

/* All bytes that no row lists are zero. */
static void table_end(struct dump *d) {
  if (!d->file) return;
  for (size_t i = 0; i < d->file->size; i++)
    UNIT_CHECK(d->listed[i] || d->file->bytes[i] == 0,
               "%s: nothing is said of byte %zx", d->file->name, i);
  free(d->listed);
  d->file = NULL;
}

/* "`NAME`, SIZE bytes" */
static bool table_begins(struct dump *d, const char *line) {
  char name[64];
  size_t size;
  if (sscanf(line, "`%63[^`]`, %zu bytes", name, &size) != 2) return false;
  table_end(d);
  for (size_t i = 0; i < d->files.count; i++)
    if (strcmp(d->files.list[i].name, name) == 0) d->file = &d->files.list[i];
  UNIT_CHECK(d->file && d->file->size == size, "%s", line);
  d->listed = calloc(size + 1, sizeof *d->listed);
  assert_non_null(d->listed);
  d->tables++;
  return true;
}

/* "64 6c 6f" or "78 × 9000"; gives the end of the bytes. */
static size_t check_bytes(struct dump *d, size_t at, const char *text) {
  const char *times = strstr(text, "×");
  size_t count = times ? strtoul(times + strlen("×"), NULL, 10) : 1;
  char *next = (char *)(uintptr_t)text;
  do {
    uint8_t byte = (uint8_t)strtoul(next, &next, 16);
    for (size_t i = 0; i < count; i++, at++) {
      UNIT_CHECK(
          at < d->file->size && d->file->bytes[at] == byte && !d->listed[at],
          "%s at %zx: %s", d->file->name, at, text);
      d->listed[at] = true;
    }
    while (*next == ' ') next++;
  } while (!times && *next);
  return at;
}

/* A value that is a number is that of the bytes. */
static void check_value(const struct dump *d, size_t from, size_t to,
                        const char *text) {
  if (*text != '-' && (*text < '0' || *text > '9')) return;
  uint64_t value = 0;
  for (size_t i = to; i-- > from;) value = value << 8 | d->file->bytes[i];
  if (to - from < 8 && *text == '-') value |= ~UINT64_C(0) << 8 * (to - from);
  uint64_t said = *text == '-' ? (uint64_t)strtoll(text, NULL, 10)
                               : strtoull(text, NULL, text[1] == 'x' ? 16 : 10);
  UNIT_CHECK(value == said, "%s at %zx: %s", d->file->name, from, text);
}

/* "| AT | BYTES | FIELD | VALUE |" */
static void check_row(struct dump *d, const char *line) {
  char bytes[256], field[64], value[64] = "";
  size_t at;
  if (sscanf(line, "| %zx | %255[^|] | %63[^|] | %63[^|] |", &at, bytes, field,
             value) < 3 ||
      strncmp(line, "| at ", 5) == 0)
    return;
  for (size_t n = strlen(bytes); n > 0 && bytes[n - 1] == ' ';) bytes[--n] = 0;
  size_t end = check_bytes(d, at, bytes);
  check_value(d, at, end, value);
  d->rows++;
}

static void every_byte_of_the_dump_is_true(void **state) {
  (void)state;
  char line[1024];
  struct dump d = {.file = NULL};
  bool inside = false;
  FILE *in = fopen("lib/FORMAT.md", "r");
  assert_non_null(in);
  golden_load_all(CASE_DIRECTORY, &d.files);
  while (fgets(line, sizeof line, in)) {
    if (strncmp(line, "<!-- dump -->", 13) == 0) inside = true;
    if (strncmp(line, "<!-- end of dump -->", 20) == 0) inside = false;
    if (inside && !table_begins(&d, line) && d.file) check_row(&d, line);
  }
  fclose(in);
  table_end(&d);
  assert_int_equal(d.tables, d.files.count);
  assert_true(d.rows > 100);
  golden_free(&d.files);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_byte_of_the_dump_is_true),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
