/* SPDX-License-Identifier: MIT
 *
 * RAW: the least code that does the same work as the library.
 *
 * Page cache: two XXH3 checksums (or a CRC32C of the data), a 24-byte header
 * and a copy into a mapping whose files are allocated and populated beforehand,
 * all of them. One thread, no lock, no watermark, no clock, no error to return,
 * nothing to recover but frames up to the first invalid one.
 *
 * Durable: the same frames by pwrite and fdatasync into a file that was
 * written with zeros and synced, so that no sync changes any metadata.
 *
 * Reading: a walk over the frames which verifies both checksums of each.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contender.h"
#include "harness.h"
#include "raw_frame.h"
#include "scratch.h"

#define FILES_MAX 64u
#define PLAIN_BYTES ((uint64_t)16 << 20) /* the pwrite file, used as a ring */
#define BLOCK_BYTES 4096u
#define FRAME_BYTES_MAX 4096u /* what append_one takes */

typedef struct raw {
  unsigned char *map[FILES_MAX];
  unsigned file_count, file; /* file: the one appended to */
  uint64_t at;               /* position in it */
  uint32_t index;            /* of the next record */
  bool crc;
  int fd; /* durable: the plain file, else -1 */
} raw;

static volatile uint64_t reading_result; /* so that reading is not left out */

static bool complain(const char *what) {
  fprintf(stderr, "bench: raw: %s: %s\n", what, strerror(errno));
  return false;
}

/* ------------------------------------------------------------- frames -- */

#if defined(__x86_64__)
/* CRC32C by the processor's instruction, eight bytes a step, each waiting for
 * the one before: what most logs use. */
__attribute__((target("sse4.2"))) static uint32_t serial_crc(
    const unsigned char *data, size_t size) {
  uint64_t crc = UINT32_MAX, word;
  for (; size >= sizeof word; size -= sizeof word, data += sizeof word) {
    memcpy(&word, data, sizeof word);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  for (; size; size--) crc = __builtin_ia32_crc32qi((uint32_t)crc, *data++);
  return ~(uint32_t)crc;
}
#define HAS_CRC true
#else
#define serial_crc(data, size) raw_payload_sum(data, size)
#define HAS_CRC false
#endif

/* Walk a file's frames from its beginning. */
static uint64_t walk(const unsigned char *map, uint64_t base, uint64_t *bytes,
                     uint64_t *seen) {
  uint64_t at = 0, records = 0, sum = 0;
  for (;; records++) {
    uint64_t step = raw_check_frame(map + at, SEGMENT_BYTES - at, base + at);
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

static void *raw_crc_open(const char *dir, contender_mode mode,
                          uint64_t bytes) {
  raw *log = HAS_CRC ? raw_open(dir, mode, bytes) : NULL;
  if (log) log->crc = true;
  return log;
}

/* In line for each checksum, so that nothing is decided per record. */
__attribute__((always_inline)) static inline bool append_frames(
    raw *log, const workload *work, const bool crc) {
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
    const unsigned char *data = workload_record(&w, i);
    uint32_t sum =
        crc ? serial_crc(data, w.size) : raw_payload_sum(data, w.size);
    raw_put_summed(map + at, base + at, index++, data, w.size, sum);
    at += step;
  }
  log->at = at;
  log->index = index;
  return true;
}

static bool raw_append(void *state, const workload *work) {
  raw *log = state;
  if (log->fd >= 0) return move_on(log, work);
  return log->crc ? append_frames(log, work, true)
                  : append_frames(log, work, false);
}

static bool raw_append_one(void *state, const void *data, size_t size) {
  raw *log = state;
  unsigned char frame[FRAME_BYTES_MAX];
  uint64_t step = frame_bytes(size);
  assert(step <= sizeof frame);
  if (log->at + step > PLAIN_BYTES) log->at = 0;
  raw_put_frame(frame, log->at, log->index++, data, size);
  memset(frame + FRAME_HEADER_BYTES + size, 0,
         step - FRAME_HEADER_BYTES - size);
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

const contender contender_raw_crc = {
    .name = "raw, CRC32C",
    .note = "as raw, with a serial CRC of the data",
    .open = raw_crc_open,
    .append = raw_append,
    .close = raw_close,
};

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
