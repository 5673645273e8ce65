/* SPDX-License-Identifier: MIT
 *
 * RAW: the least code that does the same work as the library.
 *
 * Page cache: two XXH3 checksums, a 24-byte header and a copy into a mapping
 * whose files are allocated and populated beforehand, all of them. One thread,
 * no lock, no watermark, no clock, no error to return, nothing to recover but
 * frames up to the first invalid one.
 *
 * Durable: the same frames by pwrite and fdatasync into a file that was
 * written with zeros and synced, so that no sync changes any metadata.
 *
 * Reading: a walk over the frames which verifies both checksums of each.
 */
#define XXH_INLINE_ALL
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "contender.h"
#include "harness.h"
#include "scratch.h"

#define FILES_MAX 64u
#define PLAIN_BYTES ((uint64_t)16 << 20) /* the pwrite file, used as a ring */
#define BLOCK_BYTES 4096u
#define FRAME_BYTES_MAX 4096u /* what append_one takes */

typedef struct header {
  uint32_t header_sum; /* of the 20 bytes after it, seeded with the position */
  uint32_t size;
  uint32_t payload_sum;
  uint32_t index; /* these three only have their place: they are stored and */
  uint32_t time;  /* covered, as the library's are */
  uint32_t flags;
} header;

_Static_assert(sizeof(header) == FRAME_HEADER_BYTES, "no padding");

typedef struct raw {
  unsigned char *map[FILES_MAX];
  unsigned file_count, file; /* file: the one appended to */
  uint64_t at;               /* position in it */
  uint32_t index;            /* of the next record */
  int fd;                    /* durable: the plain file, else -1 */
} raw;

static volatile uint64_t reading_result; /* so that reading is not left out */

static bool complain(const char *what) {
  fprintf(stderr, "bench: raw: %s: %s\n", what, strerror(errno));
  return false;
}

/* ------------------------------------------------------------- frames -- */

static inline uint32_t header_sum(const void *frame, uint64_t position) {
  return (uint32_t)XXH3_64bits_withSeed((const char *)frame + 4,
                                        FRAME_HEADER_BYTES - 4, position);
}

static inline void put_frame(unsigned char *frame, uint64_t position,
                             uint32_t index, const void *data, size_t size) {
  header h = {.size = (uint32_t)size,
              .payload_sum = (uint32_t)XXH3_64bits(data, size),
              .index = index,
              .flags = 1};
  h.header_sum = header_sum(&h, position);
  memcpy(frame, &h, sizeof h);
  memcpy(frame + sizeof h, data, size);
}

/* The bytes of the frame here, 0 if there is no valid one. */
static inline uint64_t check_frame(const unsigned char *frame, uint64_t room,
                                   uint64_t position) {
  header h;
  if (room < sizeof h) return 0;
  memcpy(&h, frame, sizeof h);
  if (h.header_sum != header_sum(&h, position)) return 0;
  if (h.size > room - sizeof h) return 0;
  if (h.payload_sum != (uint32_t)XXH3_64bits(frame + sizeof h, h.size))
    return 0;
  return frame_bytes(h.size);
}

/* Walk a file's frames from its beginning. */
static uint64_t walk(const unsigned char *map, uint64_t base, uint64_t *bytes,
                     uint64_t *seen) {
  uint64_t at = 0, records = 0, sum = 0;
  for (;; records++) {
    uint64_t step = check_frame(map + at, SEGMENT_BYTES - at, base + at);
    if (step == 0) break;
    sum += map[at + FRAME_HEADER_BYTES];
    at += step;
  }
  *bytes = at;
  *seen += sum;
  return records;
}

/* -------------------------------------------------------------- files -- */

static int file_open(const char *dir, unsigned number, int flags) {
  char path[PATH_BYTES + 32];
  snprintf(path, sizeof path, "%s/%u.raw", dir, number);
  int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd < 0) complain(path);
  return fd;
}

/* A mapped file with all its blocks and all its pages. */
static unsigned char *file_prepare(const char *dir, unsigned number) {
  int fd = file_open(dir, number, O_RDWR | O_CREAT | O_EXCL);
  if (fd < 0) return NULL;
  int error = posix_fallocate(fd, 0, (off_t)SEGMENT_BYTES);
  void *map = MAP_FAILED;
  if (error == 0)
    map = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  else
    errno = error;
  close(fd);
  if (map != MAP_FAILED &&
      madvise(map, SEGMENT_BYTES, MADV_POPULATE_WRITE) == 0)
    return map;
  complain("preparing a file");
  return NULL;
}

/* Zeros in blocks of 4 KiB: bigger writes give big folios, and then each small
 * sync writes a big folio. */
static bool fill_with_zeros(int fd) {
  static const unsigned char zeros[BLOCK_BYTES];
  for (uint64_t at = 0; at < PLAIN_BYTES; at += BLOCK_BYTES)
    if (pwrite(fd, zeros, BLOCK_BYTES, (off_t)at) != BLOCK_BYTES)
      return complain("filling the plain file");
  return fsync(fd) == 0 || complain("fsync");
}

/* ------------------------------------------------------ the interface -- */

static bool open_plain(raw *log, const char *dir) {
  log->fd = file_open(dir, 0, O_RDWR | O_CREAT | O_EXCL);
  return log->fd >= 0 && fill_with_zeros(log->fd);
}

static bool open_mapped(raw *log, const char *dir, uint64_t bytes) {
  log->file_count = (unsigned)(bytes / (SEGMENT_BYTES - FRAME_BYTES_MAX)) + 1;
  assert(log->file_count <= FILES_MAX);
  for (unsigned i = 0; i < log->file_count; i++) {
    log->map[i] = file_prepare(dir, i);
    if (!log->map[i]) return false;
  }
  return true;
}

static void *raw_open(const char *dir, contender_mode mode, uint64_t bytes) {
  raw *log = calloc(1, sizeof *log);
  if (!log) return NULL;
  log->fd = -1;
  bool good = mode == MODE_DURABLE ? open_plain(log, dir)
                                   : open_mapped(log, dir, bytes);
  return good ? log : NULL;
}

/* Durable, and not timed: only the place in the ring. */
static bool move_on(raw *log, const workload *work) {
  log->at = (log->at + work->count * frame_bytes(work->size)) % PLAIN_BYTES;
  return true;
}

static bool raw_append(void *state, const workload *work) {
  raw *log = state;
  if (log->fd >= 0) return move_on(log, work);
  const workload w = *work; /* copies: the stores below might alias */
  uint64_t step = frame_bytes(w.size), at = log->at;
  uint64_t base = log->file * SEGMENT_BYTES;
  unsigned char *map = log->map[log->file];
  uint32_t index = log->index;
  for (uint64_t i = 0; i < w.count; i++) {
    if (at + step > SEGMENT_BYTES) {
      if (++log->file == log->file_count) return false;
      map = log->map[log->file];
      base += SEGMENT_BYTES;
      at = 0;
    }
    put_frame(map + at, base + at, index++, workload_record(&w, i), w.size);
    at += step;
  }
  log->at = at;
  log->index = index;
  return true;
}

static bool raw_append_one(void *state, const void *data, size_t size) {
  raw *log = state;
  unsigned char frame[FRAME_BYTES_MAX];
  uint64_t step = frame_bytes(size);
  assert(step <= sizeof frame);
  if (log->at + step > PLAIN_BYTES) log->at = 0;
  put_frame(frame, log->at, log->index++, data, size);
  memset(frame + sizeof(header) + size, 0, step - sizeof(header) - size);
  if (pwrite(log->fd, frame, step, (off_t)log->at) != (ssize_t)step)
    return complain("pwrite");
  log->at += step;
  return fdatasync(log->fd) == 0 || complain("fdatasync");
}

static bool raw_settle(void *state) {
  (void)state;
  return true;
}

static uint64_t raw_read(void *state, size_t many) {
  (void)many;
  raw *log = state;
  uint64_t records = 0, bytes, seen = 0;
  for (unsigned i = 0; i < log->file_count; i++)
    records += walk(log->map[i], i * SEGMENT_BYTES, &bytes, &seen);
  reading_result = seen;
  return records;
}

static bool raw_recover(const char *dir, recovery *out) {
  uint64_t seen = 0, start = now_ns();
  int fd = file_open(dir, 0, O_RDONLY);
  if (fd < 0) return false;
  unsigned char *map = mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return complain("mmap");
  out->records = walk(map, 0, &out->bytes, &seen);
  out->walk_ns = out->total_ns = now_ns() - start;
  reading_result = seen;
  munmap(map, SEGMENT_BYTES);
  return true;
}

static void raw_close(void *state) {
  raw *log = state;
  for (unsigned i = 0; i < log->file_count; i++)
    munmap(log->map[i], SEGMENT_BYTES);
  if (log->fd >= 0) close(log->fd);
  free(log);
}

const contender contender_raw = {
    .name = "raw",
    .note = "no lock, no time, no offsets, no errors, no recovery",
    .open = raw_open,
    .append = raw_append,
    .append_one = raw_append_one,
    .settle = raw_settle,
    .read = raw_read,
    .recover = raw_recover,
    .close = raw_close,
};
