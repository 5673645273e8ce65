/* SPDX-License-Identifier: MIT
 *
 * RAW for several threads that append durably: leader and followers. Whoever
 * finds nobody writing leads: it takes all frames that are waiting, writes them
 * with one pwrite, syncs once, and wakes those whose frames they were. The file
 * was written with zeros and synced before.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raw_frame.h"
#include "scratch.h"

#define FILE_BYTES ((uint64_t)16 << 20) /* used as a ring */
#define BLOCK_BYTES 4096u               /* see raw.c */
#define BUFFER_BYTES 65536u
#define FRAME_BYTES_MAX 1024u

typedef struct group {
  int fd;
  pthread_mutex_t lock;
  pthread_cond_t synced[2]; /* by the parity of the sync's number */
  unsigned char buffer[2][BUFFER_BYTES];
  unsigned filling; /* the buffer that is filled; the other is written */
  size_t filled;
  uint64_t at, number; /* of the sync that the filled frames belong to */
  uint64_t done;       /* number of the last sync that is over */
  uint32_t index;
  bool leading, failed;
} group;

static bool ok(const char *what, bool well) {
  return contender_ok("raw, leader and followers", what, well, strerror(errno));
}

static bool fill_with_zeros(int fd) {
  static const unsigned char zeros[BLOCK_BYTES];
  for (uint64_t at = 0; at < FILE_BYTES; at += BLOCK_BYTES)
    if (!ok("pwrite", pwrite(fd, zeros, BLOCK_BYTES, (off_t)at) == BLOCK_BYTES))
      return false;
  return ok("fsync", fsync(fd) == 0);
}

static void *group_open(const char *dir, contender_mode mode, uint64_t bytes) {
  char path[PATH_BYTES + 16];
  group *it = mode == MODE_DURABLE ? calloc(1, sizeof *it) : NULL;
  (void)bytes;
  if (!it) return NULL;
  snprintf(path, sizeof path, "%s/group.raw", dir);
  pthread_mutex_init(&it->lock, NULL);
  for (int i = 0; i < 2; i++) pthread_cond_init(&it->synced[i], NULL);
  it->number = 1;
  it->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return ok(path, it->fd >= 0) && fill_with_zeros(it->fd) ? it : NULL;
}

/* With the lock, which is given up meanwhile. */
static void lead(group *it) {
  const unsigned char *from = it->buffer[it->filling];
  const size_t bytes = it->filled;
  const uint64_t number = it->number++;
  if (it->at + bytes > FILE_BYTES) it->at = 0;
  const uint64_t at = it->at;
  it->at += bytes;
  it->filling ^= 1;
  it->filled = 0;
  it->leading = true;
  pthread_mutex_unlock(&it->lock);
  bool good =
      ok("pwrite", pwrite(it->fd, from, bytes, (off_t)at) == (ssize_t)bytes) &&
      ok("fdatasync", fdatasync(it->fd) == 0);
  pthread_mutex_lock(&it->lock);
  it->failed = it->failed || !good;
  it->done = number;
  it->leading = false;
  pthread_cond_broadcast(&it->synced[number % 2]);
  /* Of those whose frames wait now, one has to lead. */
  pthread_cond_signal(&it->synced[(number + 1) % 2]);
}

static bool group_append_one(void *log, const void *data, size_t size) {
  group *it = log;
  const size_t step = (size_t)frame_bytes(size);
  const uint32_t sum = raw_payload_sum(data, size);
  if (step > FRAME_BYTES_MAX) return false;
  pthread_mutex_lock(&it->lock);
  unsigned char *to = it->buffer[it->filling] + it->filled;
  raw_put_summed(to, it->at + it->filled, it->index++, data, size, sum);
  it->filled += step;
  const uint64_t mine = it->number;
  while (it->done < mine) {
    if (it->leading)
      pthread_cond_wait(&it->synced[mine % 2], &it->lock);
    else
      lead(it);
  }
  bool good = !it->failed;
  pthread_mutex_unlock(&it->lock);
  return good;
}

static void group_close(void *log) {
  group *it = log;
  for (int i = 0; i < 2; i++) pthread_cond_destroy(&it->synced[i]);
  pthread_mutex_destroy(&it->lock);
  close(it->fd);
  free(it);
}

const contender contender_raw_group = {
    .name = "raw-group",
    .note = "leader and followers: one pwrite, one fdatasync for all that wait",
    .open = group_open,
    .append_one = group_append_one,
    .close = group_close,
};
