/* SPDX-License-Identifier: MIT
 *
 * The path is resolved through the directory's device number and
 * /sys/dev/block. A file system without a disk of its own (overlay, tmpfs,
 * btrfs, network) has a number that is not there: then nothing is guessed.
 */
#include "device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR_BYTES 512u /* in these counters, whatever the disk's own */

static bool is_partition(const char *sysfs_dir) {
  char path[300];
  snprintf(path, sizeof path, "%s/partition", sysfs_dir);
  return access(path, F_OK) == 0;
}

static void cut_last_name(char *path) {
  char *slash = strrchr(path, '/');
  if (slash) *slash = '\0';
}

void device_find(device *disk, const char *dir) {
  struct stat st;
  char link[64];
  *disk = (device){0};
  if (stat(dir, &st) != 0) {
    snprintf(disk->why, sizeof disk->why, "the directory cannot be read");
    return;
  }
  snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(st.st_dev),
           minor(st.st_dev));
  char *real = realpath(link, NULL);
  if (!real || strlen(real) >= sizeof disk->path - sizeof "/stat") {
    snprintf(disk->why, sizeof disk->why,
             "the file system is on no block device of its own (%s)", link);
    free(real);
    return;
  }
  if (is_partition(real)) cut_last_name(real);
  snprintf(disk->name, sizeof disk->name, "%.63s", strrchr(real, '/') + 1);
  snprintf(disk->path, sizeof disk->path, "%.200s/stat", real);
  free(real);

  uint64_t bytes;
  disk->found = device_written(disk, &bytes);
  if (!disk->found)
    snprintf(disk->why, sizeof disk->why, "%.100s cannot be read", disk->path);
}

bool device_written(const device *disk, uint64_t *bytes) {
  FILE *file = fopen(disk->path, "r");
  if (!file) return false;
  uint64_t sectors = 0; /* the seventh number */
  int got = fscanf(file, "%*u %*u %*u %*u %*u %*u %" SCNu64, &sectors);
  fclose(file);
  if (got == 1) *bytes = sectors * SECTOR_BYTES;
  return got == 1;
}
