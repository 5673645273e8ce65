/* SPDX-License-Identifier: MIT
 *
 * A log whose memory is as ready as RAW's.
 */
#include "prepared.h"

#include <stdio.h>

#include "contender.h"
#include "harness.h"
#include "process.h"

#define PAGE_BYTES 4096u
#define LOOK_MS 5u
#define GIVE_UP_MS 20000u

bool log_open_with(const char *dir, duralog_durability durability,
                   uint64_t segment_bytes, duralog **log) {
  duralog_options options = {.struct_size = sizeof options,
                             .durability = durability,
                             .segment_bytes = segment_bytes,
                             .record_bytes_max = segment_bytes - 8448};
  return went_well("open", duralog_open(dir, &options, log, NULL, NULL)) &&
         went_well("the first append", duralog_append(*log, "first", 5, NULL));
}

bool log_touch_ahead(duralog *log, uint64_t bytes) {
  void *memory;
  if (!went_well("reserve", duralog_reserve(log, bytes, -1, &memory)))
    return false;
  volatile unsigned char *page = memory;
  for (uint64_t at = 0; at < bytes; at += PAGE_BYTES) page[at] = 0;
  return went_well("abort", duralog_abort(log));
}

/* Another record and a look: the library looks when something is appended. */
static bool append_and_look(duralog *log, const workload *work,
                            uint64_t *many) {
  duralog_stats stats = {.struct_size = sizeof stats};
  for (uint64_t i = 0; i < work->count; i++)
    if (!went_well("append", duralog_append(log, workload_record(work, i),
                                            work->size, NULL)))
      return false;
  if (!went_well("stats", duralog_get_stats(log, &stats))) return false;
  *many = stats.segments_prepared;
  return true;
}

bool log_await_successor(duralog *log, uint64_t segment_bytes) {
  workload work = workload_make(1024, segment_bytes / 7 / 1024, 0);
  duralog_stats stats = {.struct_size = sizeof stats};
  if (!went_well("stats", duralog_get_stats(log, &stats))) return false;
  uint64_t before = stats.segments_prepared, now = before;
  for (uint32_t ms = 0; ms < GIVE_UP_MS; ms += LOOK_MS) {
    if (!append_and_look(log, &work, &now)) return false;
    if (now > before) return true;
    work.count = 1;
    pause_ms(LOOK_MS);
  }
  fprintf(stderr, "bench: duralog: no successor was prepared\n");
  return false;
}
