/* SPDX-License-Identifier: MIT
 *
 * The demo's input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "demo.h"

bool demo_lines_create(demo_lines *lines) {
  *lines = (demo_lines){0};
  lines->lines = calloc(DEMO_LINES_MAX, sizeof *lines->lines);
  return lines->lines != NULL;
}

void demo_lines_free(demo_lines *lines) {
  free(lines->bytes);
  free(lines->lines);
  *lines = (demo_lines){0};
}

static bool reserve(demo_lines *lines, size_t more) {
  if (lines->capacity - lines->size >= more) return true;
  size_t capacity = 2 * lines->capacity + more;
  char *bytes = realloc(lines->bytes, capacity);
  if (bytes == NULL) return false;
  lines->bytes = bytes;
  lines->capacity = capacity;
  return true;
}

static bool add(demo_lines *lines, const char *bytes, size_t size) {
  lines->seen++;
  if (lines->count == DEMO_LINES_MAX) return true;
  if (!reserve(lines, size + 1)) /* + 1: bytes is never NULL */
    return false;
  memcpy(lines->bytes + lines->size, bytes, size);
  lines->lines[lines->count++] = (demo_line){lines->size, size};
  lines->size += size;
  return true;
}

static bool add_in_pieces(demo_lines *lines, const char *bytes, size_t size) {
  while (size > DEMO_LINE_BYTES_MAX) {
    if (!add(lines, bytes, DEMO_LINE_BYTES_MAX)) return false;
    bytes += DEMO_LINE_BYTES_MAX;
    size -= DEMO_LINE_BYTES_MAX;
  }
  return add(lines, bytes, size);
}

static bool load(demo_lines *lines, FILE *file) {
  char *line = NULL;
  size_t capacity = 0;
  ssize_t size;
  bool good = true;
  while (good && (size = getline(&line, &capacity, file)) > 0) {
    if (line[size - 1] == '\n') size--;
    good = add_in_pieces(lines, line, (size_t)size);
  }
  free(line);
  return good && feof(file) != 0;
}

bool demo_lines_load(demo_lines *lines, const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) return false;
  bool good = load(lines, file);
  int error = errno;
  fclose(file);
  errno = error;
  return good;
}

static bool save(const demo_lines *lines, FILE *file) {
  for (size_t i = 0; i < lines->count; i++) {
    const demo_line *line = &lines->lines[i];
    if (fwrite(lines->bytes + line->position, 1, line->size, file) !=
            line->size ||
        fputc('\n', file) == EOF)
      return false;
  }
  return true;
}

bool demo_lines_save(const demo_lines *lines, const char *path) {
  FILE *file = fopen(path, "w");
  if (file == NULL) return false;
  bool good = save(lines, file);
  return fclose(file) == 0 && good;
}
