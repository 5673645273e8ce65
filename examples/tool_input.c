/* SPDX-License-Identifier: MIT
 *
 * Records from a stream, in the portions in which read(2) brings them: what
 * one read brought is appended together and shares a sync, so a producer that
 * writes line by line is answered line by line, and a file goes in at full
 * speed. The unfinished record at a portion's end waits in `rest`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define READ_BYTES ((size_t)256 << 10)
#define RECORD_BYTES_MAX ((size_t)1 << 30) /* no segment is larger */
#define PREFIX_BYTES ((size_t)4)

bool tool_input_open(tool_input *input, int descriptor, bool length_prefixed) {
  *input = (tool_input){.descriptor = descriptor,
                        .length_prefixed = length_prefixed};
  return pthread_mutex_init(&input->lock, NULL) == 0;
}

void tool_input_close(tool_input *input) {
  tool_chunk_free(&input->rest);
  pthread_mutex_destroy(&input->lock);
}

void tool_chunk_free(tool_chunk *chunk) {
  free(chunk->bytes);
  free(chunk->entries);
  *chunk = (tool_chunk){0};
}

static bool chunk_reserve(tool_chunk *chunk, size_t more) {
  if (chunk->capacity - chunk->size >= more) return true;
  size_t capacity = 2 * chunk->capacity;
  if (capacity < chunk->size + more) capacity = chunk->size + more;
  unsigned char *bytes = realloc(chunk->bytes, capacity);
  if (bytes == NULL) return false;
  chunk->bytes = bytes;
  chunk->capacity = capacity;
  return true;
}

static bool chunk_copy(tool_chunk *chunk, const unsigned char *bytes,
                       size_t size) {
  if (size == 0) return true;
  if (!chunk_reserve(chunk, size)) return false;
  memcpy(chunk->bytes + chunk->size, bytes, size);
  chunk->size += size;
  return true;
}

static bool chunk_entry(tool_chunk *chunk, size_t position, size_t size) {
  if (chunk->count == chunk->entries_max) {
    size_t max = chunk->entries_max == 0 ? 256 : 2 * chunk->entries_max;
    duralog_entry *entries =
        realloc(chunk->entries, max * sizeof *chunk->entries);
    if (entries == NULL) return false;
    chunk->entries = entries;
    chunk->entries_max = max;
  }
  chunk->entries[chunk->count++] =
      (duralog_entry){.data = chunk->bytes + position, .size = size};
  return true;
}

static const char out_of_memory[] = "out of memory";
static const char too_large[] = "a record is larger than any log allows";

/* The splitting functions give NULL, or what is wrong. */
static const char *split_lines(tool_chunk *chunk) {
  while (chunk->scanned < chunk->size) {
    const unsigned char *newline = memchr(chunk->bytes + chunk->scanned, '\n',
                                          chunk->size - chunk->scanned);
    if (newline == NULL) {
      chunk->scanned = chunk->size;
      break;
    }
    size_t end = (size_t)(newline - chunk->bytes);
    if (!chunk_entry(chunk, chunk->parsed, end - chunk->parsed))
      return out_of_memory;
    chunk->parsed = chunk->scanned = end + 1;
  }
  return chunk->size - chunk->parsed > RECORD_BYTES_MAX ? too_large : NULL;
}

static size_t prefix_decode(const unsigned char *bytes) {
  return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
         (size_t)bytes[3] << 24;
}

static const char *split_prefixed(tool_chunk *chunk) {
  while (chunk->size - chunk->parsed >= PREFIX_BYTES) {
    size_t size = prefix_decode(chunk->bytes + chunk->parsed);
    if (size > RECORD_BYTES_MAX) return too_large;
    if (chunk->size - chunk->parsed - PREFIX_BYTES < size) break;
    if (!chunk_entry(chunk, chunk->parsed + PREFIX_BYTES, size))
      return out_of_memory;
    chunk->parsed += PREFIX_BYTES + size;
  }
  return NULL;
}

/* The input is over: a last line needs no newline, a record needs its bytes. */
static const char *split_last(const tool_input *input, tool_chunk *chunk) {
  if (chunk->parsed == chunk->size) return NULL;
  if (input->length_prefixed) return "the input ends inside a record";
  if (!chunk_entry(chunk, chunk->parsed, chunk->size - chunk->parsed))
    return out_of_memory;
  chunk->parsed = chunk->size;
  return NULL;
}

static ssize_t read_some(int descriptor, unsigned char *bytes, size_t size) {
  ssize_t got;
  do got = read(descriptor, bytes, size);
  while (got < 0 && errno == EINTR);
  return got;
}

static const char *read_once(tool_input *input, tool_chunk *chunk) {
  if (!chunk_reserve(chunk, READ_BYTES)) return out_of_memory;
  ssize_t got = read_some(input->descriptor, chunk->bytes + chunk->size,
                          chunk->capacity - chunk->size);
  if (got < 0) return strerror(errno);
  if (got == 0) {
    input->ended = true;
    return split_last(input, chunk);
  }
  chunk->size += (size_t)got;
  return input->length_prefixed ? split_prefixed(chunk) : split_lines(chunk);
}

/* Under the lock. Entries point into bytes, so nothing is read any more once
 * there is an entry. */
static const char *take(tool_input *input, tool_chunk *chunk) {
  const char *problem = NULL;
  chunk->size = chunk->parsed = chunk->count = 0;
  if (!chunk_copy(chunk, input->rest.bytes, input->rest.size))
    return out_of_memory;
  chunk->scanned = input->rest.size; /* it holds no newline */
  while (chunk->count == 0 && problem == NULL && !input->ended)
    problem = read_once(input, chunk);
  input->rest.size = 0;
  if (problem == NULL && !chunk_copy(&input->rest, chunk->bytes + chunk->parsed,
                                     chunk->size - chunk->parsed))
    problem = out_of_memory;
  return problem;
}

bool tool_input_take(tool_input *input, tool_chunk *chunk) {
  chunk->count = 0;
  pthread_mutex_lock(&input->lock);
  if (!input->ended) {
    input->problem = take(input, chunk);
    input->ended = input->ended || input->problem != NULL;
    chunk->first = input->records + 1;
    input->records += chunk->count;
  }
  pthread_mutex_unlock(&input->lock);
  return chunk->count > 0;
}
