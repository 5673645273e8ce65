/* SPDX-License-Identifier: MIT
 *
 * Bytes that reach the device per durable append.
 */
#include "device.h"
#include "experiments.h"
#include "pair.h"

static const goal device_goal = {GOAL_AT_MOST, 8192};
static const char device_name[] = "device_bytes_per_durable_append";
static const char device_label[] = "9: device bytes per durable append";

typedef struct device_run {
  pair both;
  device disk;
  uint64_t took_ns[2]; /* the last slice: as long is the idle time before */
  series bytes[2];     /* per append */
  series idle;         /* bytes per second */
} device_run;

/* Idle for as long as the work took last time, then work; both counted. */
static bool device_slice(device_run *it, int k, const workload *work) {
  uint64_t before, between, after, took = 0, idle_start = now_ns();
  if (!device_written(&it->disk, &before)) return false;
  pause_ms((uint32_t)(it->took_ns[k] / 1000000) + 1);
  uint64_t idle_ns = now_ns() - idle_start;
  if (!device_written(&it->disk, &between)) return false;
  if (!pair_append(&it->both, k, work, NULL, &took)) return false;
  if (!device_written(&it->disk, &after)) return false;

  double idle = (double)(between - before) / (double)idle_ns;
  series_add(&it->bytes[k], ((double)(after - between) - idle * (double)took) /
                                (double)work->count);
  if (k == 0) series_add(&it->idle, idle * 1e9);
  it->took_ns[k] = took;
  return true;
}

static bool device_rounds(device_run *it, const settings *with) {
  workload work = workload_make(DURABLE_SIZE, with->quick ? 600 : 1500, 0);
  for (int k = 0; k < 2; k++)
    if (!pair_append(&it->both, k, &work, NULL, &it->took_ns[k])) return false;
  for (size_t r = 0; r < with->rounds; r++) {
    if (!pair_advance(&it->both)) return false;
    for (size_t turn = 0; turn < 2; turn++)
      if (!device_slice(it, (int)((r + turn) % 2), &work)) return false;
  }
  return true;
}

static void device_report(const device_run *it) {
  table_series("raw: pwrite, fdatasync", UNIT_BYTES, &it->bytes[1]);
  table_series("idle traffic before duralog, per second", UNIT_BYTES,
               &it->idle);
  table_figure(device_label, device_name, UNIT_BYTES, &it->bytes[0],
               device_goal);
}

bool experiment_device(const settings *with) {
  device_run it = {0};
  table_section("Bytes to the device per durable append of 100 B",
                "by the kernel's counters, idle traffic subtracted");
  device_find(&it.disk, with->scratch);
  if (!it.disk.found) {
    table_unknown(device_label, device_name, device_goal, it.disk.why);
    return true;
  }
  bool good = pair_open(&it.both, with->scratch) && device_rounds(&it, with);
  if (good) device_report(&it);
  pair_close(&it.both);
  return good;
}
