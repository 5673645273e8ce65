/* SPDX-License-Identifier: MIT
 *
 * RAW's memory: one mapped file of any size, all prepared.
 */
#include "raw_mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scratch.h"

#define BLOCK_BYTES 4096u

static bool complain(const char *what, int error) {
  fprintf(stderr, "bench: raw: %s: %s\n", what, strerror(error));
  return false;
}

/* In blocks of 4 KiB: bigger writes give big folios, and then each small sync
 * writes a big folio. */
static bool write_zeros(int fd, size_t bytes) {
  static const unsigned char zeros[BLOCK_BYTES];
  for (size_t at = 0; at < bytes; at += BLOCK_BYTES)
    if (pwrite(fd, zeros, BLOCK_BYTES, (off_t)at) != BLOCK_BYTES)
      return complain("writing zeros", errno);
  return fsync(fd) == 0 || complain("fsync", errno);
}

static bool get_blocks(int fd, size_t bytes, raw_preparation how) {
  if (how == RAW_WRITTEN) return write_zeros(fd, bytes);
  int error = posix_fallocate(fd, 0, (off_t)bytes);
  return error == 0 || complain("fallocate", error);
}

bool raw_mapped_make(raw_mapped *it, const char *dir, const char *name,
                     size_t bytes, raw_preparation how) {
  char path[PATH_BYTES + 64];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  int advice = how == RAW_WRITTEN ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
  *it = (raw_mapped){.bytes = bytes};
  it->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (it->fd < 0) return complain(path, errno);
  if (!get_blocks(it->fd, bytes, how)) return false;
  it->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, it->fd, 0);
  if (it->map == MAP_FAILED) return complain("mmap", errno);
  return madvise(it->map, bytes, advice) == 0 || complain("madvise", errno);
}

void raw_mapped_end(raw_mapped *it) {
  munmap(it->map, it->bytes);
  close(it->fd);
}
