/* SPDX-License-Identifier: MIT
 *
 * Bytes that reach the disk under a directory, as the kernel counts them.
 */
#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct device {
  bool found;
  char name[64];  /* of the whole disk, such as "vda" */
  char path[256]; /* of its counters in sysfs */
  char why[128];  /* not found: the reason */
} device;

/* Find the disk that holds `dir`; a partition's disk, not the partition. */
void device_find(device *disk, const char *dir);

/* Bytes written since boot, by everyone. False if it cannot be read. */
bool device_written(const device *disk, uint64_t *bytes);

#endif
