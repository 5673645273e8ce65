/* SPDX-License-Identifier: MIT
 *
 * write(2): a length and the data, appended to a growing file, one call for
 * each record or for each batch; fdatasync where it has to be durable. Nothing
 * is checked, nothing says where a record begins but the one before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contender.h"
#include "scratch.h"

#define BUFFER_BYTES ((size_t)1 << 20)

typedef struct state {
  int fd;
  contender_mode mode;
  uint64_t unsynced;
  unsigned char *buffer;
  volatile uint64_t seen;
} state;

static bool ok(const char *what, bool well) {
  return contender_ok("write(2)", what, well, strerror(errno));
}

static void *write_open(const char *dir, contender_mode mode, uint64_t bytes) {
  char path[PATH_BYTES + 16];
  (void)bytes;
  snprintf(path, sizeof path, "%s/log", dir);
  state *it = calloc(1, sizeof *it);
  if (!it) return NULL;
  it->mode = mode;
  it->buffer = malloc(BUFFER_BYTES);
  it->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  return ok(path, it->buffer && it->fd >= 0) ? it : NULL;
}

static bool sync_if_due(state *it, uint64_t records) {
  it->unsynced += records;
  uint64_t due = it->mode == MODE_DURABLE ? 1 : EVERY;
  if (it->mode == MODE_PAGECACHE || it->unsynced < due) return true;
  it->unsynced = 0;
  return ok("fdatasync", fdatasync(it->fd) == 0);
}

static size_t put(unsigned char *to, const void *data, size_t size) {
  uint32_t length = (uint32_t)size;
  memcpy(to, &length, sizeof length);
  memcpy(to + sizeof length, data, size);
  return sizeof length + size;
}

static bool write_append(void *log, const workload *work) {
  state *it = log;
  size_t batch = work->batch ? work->batch : 1;
  if (batch * (work->size + 4) > BUFFER_BYTES) return false;
  for (uint64_t i = 0; i < work->count; i += batch) {
    size_t n = 0;
    for (size_t k = 0; k < batch; k++)
      n += put(it->buffer + n, workload_record(work, i + k), work->size);
    if (!ok("write", write(it->fd, it->buffer, n) == (ssize_t)n)) return false;
    if (!sync_if_due(it, batch)) return false;
  }
  return true;
}

/* From any thread: a call is atomic, the file is opened for appending. */
static bool write_append_one(void *log, const void *data, size_t size) {
  state *it = log;
  unsigned char frame[4096];
  if (size + 4 > sizeof frame) return false;
  size_t n = put(frame, data, size);
  return ok("write", write(it->fd, frame, n) == (ssize_t)n) &&
         ok("fdatasync", fdatasync(it->fd) == 0);
}

static bool write_settle(void *log) {
  const state *it = log;
  return ok("fdatasync", fdatasync(it->fd) == 0);
}

static uint64_t write_read(void *log, size_t many) {
  state *it = log;
  uint64_t records = 0, seen = 0, at = 0;
  (void)many;
  for (;;) {
    ssize_t n = pread(it->fd, it->buffer, BUFFER_BYTES, (off_t)at);
    if (!ok("pread", n >= 0)) return 0;
    size_t done = 0, held = (size_t)n;
    uint32_t length;
    while (held - done >= sizeof length) {
      memcpy(&length, it->buffer + done, sizeof length);
      if (length > held - done - sizeof length) break;
      seen += it->buffer[done + sizeof length];
      done += sizeof length + length;
      records++;
    }
    if (done == 0) break;
    at += done;
  }
  it->seen = seen;
  return records;
}

static void write_close(void *log) {
  state *it = log;
  close(it->fd);
  free(it->buffer);
  free(it);
}

const contender contender_write = {
    .name = "write(2)",
    .note =
        "nothing is checked; the file grows, so that each sync writes "
        "metadata, too",
    .open = write_open,
    .append = write_append,
    .append_one = write_append_one,
    .settle = write_settle,
    .read = write_read,
    .close = write_close,
};
