/* SPDX-License-Identifier: MIT
 *
 * The bare walk over a log's own segment file.
 */
#include "bare_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

#include "scratch.h"

#define LOG_HEADER_BYTES 4096u
#define FRAME_HEADER 24u

static int open_segment(const char *dir, uint64_t number) {
  char path[PATH_BYTES + 40];
  snprintf(path, sizeof path, "%s/%020" PRIu64 ".seg", dir, number);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fprintf(stderr, "bench: %s: %s\n", path, strerror(errno));
  return fd;
}

static uint64_t walk(const unsigned char *map, uint64_t size, uint64_t *sums) {
  uint64_t at = LOG_HEADER_BYTES;
  while (at + FRAME_HEADER <= size) {
    uint64_t header[3];
    memcpy(header, map + at, sizeof header);
    uint64_t body = header[0] >> 32;
    if (header[0] == 0 || at + FRAME_HEADER + body > size) break;
    header[0] &= ~(uint64_t)UINT32_MAX;
    *sums += XXH3_64bits_withSeed(header, sizeof header, at);
    *sums += XXH3_64bits(map + at + FRAME_HEADER, body);
    at += FRAME_HEADER + ((body + 7) & ~(uint64_t)7);
  }
  return at;
}

bool bare_walk(const char *dir, uint64_t number, uint64_t *bytes,
               uint64_t *sums) {
  struct stat st;
  int fd = open_segment(dir, number);
  if (fd < 0) return false;
  void *map = MAP_FAILED;
  if (fstat(fd, &st) == 0)
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return false;
  *bytes += walk(map, (uint64_t)st.st_size, sums);
  munmap(map, (size_t)st.st_size);
  return true;
}

bool bare_evict(const char *dir, uint64_t number) {
  int fd = open_segment(dir, number);
  if (fd < 0) return false;
  int error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
  return error == 0;
}
