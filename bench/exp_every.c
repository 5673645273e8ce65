/* SPDX-License-Identifier: MIT
 *
 * A sync every 1,000 records, one thread.
 *
 * RAW: frames stored into a mapped file, whose blocks are allocated and whose
 * pages are populated before, and after each 1,000 fdatasync, or msync of what
 * was stored: both are tried at first, the faster one is compared. Beside it,
 * for information: the same in a ring of zeros that were written and synced
 * before, so that no sync changes metadata, which no growing log can have
 * without writing everything twice; frames staged in an aligned buffer and
 * written into such a ring with O_DIRECT, then fdatasync; and the peers. Short
 * slices by turns: the disk is a token bucket.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contender.h"
#include "experiments.h"
#include "harness.h"
#include "prepared.h"
#include "process.h"
#include "raw_mapped.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define SLICE_RECORDS 20000u
#define FILE_BYTES ((size_t)16 << 20)   /* used as a ring */
#define FRESH_BYTES ((size_t)384 << 20) /* more than any run stores */
#define BLOCK_BYTES ((size_t)4096)
#define PAUSE_MS 100u

enum { LOG, FRESH, RING, DIRECT, PEER, SIDES = PEER + PEERS };
#define MAPPINGS 2 /* FRESH, RING */

typedef struct every_run {
  duralog *log;
  raw_mapped mapped[MAPPINGS];
  bool by_msync[MAPPINGS];
  int direct;
  unsigned char *stage; /* from the block that is not full yet */
  size_t staged, at;    /* bytes in it; where it goes in the file */
  uint32_t index;
  void *peer[PEERS]; /* NULL: not installed */
} every_run;

static bool fail(const char *what) {
  fprintf(stderr, "bench: raw: %s: %s\n", what, strerror(errno));
  return false;
}

/* --------------------------------------------------------------- sides -- */

static bool sync_mapped(const raw_mapped *m, bool by_msync, size_t from) {
  if (!by_msync) return fdatasync(m->fd) == 0 || fail("fdatasync");
  size_t begin = from & ~(BLOCK_BYTES - 1);
  return msync(m->map + begin, m->at - begin, MS_SYNC) == 0 || fail("msync");
}

static bool append_mapped(every_run *it, int which, const workload *work) {
  raw_mapped *m = &it->mapped[which];
  for (uint64_t i = 0; i < work->count; i += EVERY) {
    if (m->at + EVERY * frame_bytes(work->size) > m->bytes) m->at = 0;
    size_t from = m->at;
    for (uint64_t k = i; k < i + EVERY; k++)
      raw_mapped_append(m, workload_record(work, k), work->size);
    if (!sync_mapped(m, it->by_msync[which], from)) return false;
  }
  return true;
}

/* Whole blocks go out, the last of them again with what follows in it. */
static bool flush_direct(every_run *it) {
  size_t bytes = (it->staged + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);
  memset(it->stage + it->staged, 0, bytes - it->staged);
  if (it->at + bytes > FILE_BYTES) it->at = 0;
  if (pwrite(it->direct, it->stage, bytes, (off_t)it->at) != (ssize_t)bytes)
    return fail("pwrite");
  if (fdatasync(it->direct) != 0) return fail("fdatasync");
  size_t whole = it->staged & ~(BLOCK_BYTES - 1);
  memmove(it->stage, it->stage + whole, it->staged - whole);
  it->at += whole;
  it->staged -= whole;
  return true;
}

static bool append_direct(every_run *it, const workload *work) {
  for (uint64_t i = 0; i < work->count; i++) {
    raw_put_frame(it->stage + it->staged, it->at + it->staged, it->index++,
                  workload_record(work, i), work->size);
    it->staged += frame_bytes(work->size);
    if ((i + 1) % EVERY == 0 && !flush_direct(it)) return false;
  }
  return true;
}

static bool append_log(every_run *it, const workload *work) {
  for (uint64_t i = 0; i < work->count; i++)
    if (!went_well("append", duralog_append(it->log, workload_record(work, i),
                                            work->size, NULL)))
      return false;
  return true;
}

static bool timed(every_run *it, int side, const workload *work, double *rate) {
  uint64_t start = now_ns();
  bool good;
  switch (side) {
    case LOG: good = append_log(it, work); break;
    case FRESH:
    case RING: good = append_mapped(it, side - FRESH, work); break;
    case DIRECT: good = append_direct(it, work); break;
    default: good = peers[side - PEER]->append(it->peer[side - PEER], work);
  }
  *rate = (double)work->count * 1e9 / (double)(now_ns() - start);
  return good;
}

/* -------------------------------------------------------------- rounds -- */

static bool open_direct(every_run *it, const char *dir) {
  char path[PATH_BYTES + 16];
  raw_mapped zeros;
  if (!raw_mapped_make(&zeros, dir, "direct", FILE_BYTES, RAW_WRITTEN))
    return false;
  raw_mapped_end(&zeros);
  snprintf(path, sizeof path, "%s/direct", dir);
  it->direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
  it->stage = aligned_alloc(BLOCK_BYTES, (size_t)1 << 20);
  return (it->direct >= 0 && it->stage) || fail("O_DIRECT");
}

static bool open_peers(every_run *it, const char *dir) {
  for (int k = 0; k < PEERS; k++) {
    char sub[PATH_BYTES];
    if (!peers[k]->open) continue;
    if (!scratch_sub(sub, dir, peers[k]->name)) return false;
    it->peer[k] = peers[k]->open(sub, MODE_EVERY, FILE_BYTES);
  }
  return true;
}

/* Whether there is such a side. */
static bool here(const every_run *it, int side) {
  return side < PEER || it->peer[side - PEER];
}

static bool every_open(every_run *it, const char *dir) {
  duralog_durability how = {.sync_every_records = EVERY};
  char sub[PATH_BYTES];
  return open_direct(it, dir) &&
         raw_mapped_make(&it->mapped[0], dir, "fresh", FRESH_BYTES,
                         RAW_POPULATED) &&
         raw_mapped_make(&it->mapped[1], dir, "ring", FILE_BYTES,
                         RAW_WRITTEN) &&
         scratch_sub(sub, dir, "log") &&
         log_open_with(sub, how, SEGMENT_BYTES, &it->log) &&
         open_peers(it, dir);
}

/* fdatasync or msync, whichever is faster. */
static bool choose_sync(every_run *it, int which, const workload *work) {
  series rate[2] = {0};
  for (unsigned t = 0; t < 6; t++) {
    double now;
    it->by_msync[which] = t % 2;
    if (!timed(it, FRESH + which, work, &now)) return false;
    series_add(&rate[t % 2], now);
  }
  it->by_msync[which] =
      estimate_of(&rate[1]).median > estimate_of(&rate[0]).median;
  return true;
}

static bool every_rounds(every_run *it, series *rate, const settings *with) {
  workload work = workload_make(RECORD_BYTES, SLICE_RECORDS, 0);
  double warm;
  for (int k = 0; k < SIDES; k++)
    if (here(it, k) && !timed(it, k, &work, &warm)) return false;
  for (int k = 0; k < MAPPINGS; k++)
    if (!choose_sync(it, k, &work)) return false;
  for (size_t r = 0; r < with->rounds; r++) {
    for (size_t turn = 0; turn < SIDES; turn++) {
      int k = (int)((turn + r) % SIDES);
      double now = 0;
      if (here(it, k) && !timed(it, k, &work, &now)) return false;
      series_add(&rate[k], now);
    }
    pause_ms(PAUSE_MS);
  }
  return true;
}

/* Round by round, the fastest whose records can be verified. */
static void every_peers(const every_run *it, const series *rate) {
  const goal wanted = {GOAL_AT_LEAST, 1.5};
  series best = {0};
  double most = 0;
  for (size_t r = 0; r < rate[LOG].count; r++) {
    most = 0;
    for (int k = 0; k < PEERS; k++)
      if (it->peer[k] && peers[k]->checksummed &&
          rate[PEER + k].value[r] > most)
        most = rate[PEER + k].value[r];
    series_add(&best, most);
  }
  for (int k = 0; k < PEERS; k++)
    if (it->peer[k])
      table_series(peers[k]->name, UNIT_RATE, &rate[PEER + k]);
    else
      table_text(peers[k]->name, "not here, or not in this mode");
  if (most <= 0) {
    table_unknown("5: every 1,000 vs the best checksummed peer",
                  "every1000_vs_best_peer", wanted,
                  "no checksummed peer is installed");
    return;
  }
  series ratio = series_ratio(&rate[LOG], &best);
  table_figure("5: every 1,000 vs the best checksummed peer",
               "every1000_vs_best_peer", UNIT_PLAIN, &ratio, wanted);
}

static void every_ratio(const char *label, const char *name, const series *rate,
                        int side, goal wanted) {
  series ratio = series_ratio(&rate[LOG], &rate[side]);
  table_figure(label, name, UNIT_PLAIN, &ratio, wanted);
}

static void every_report(const every_run *it, const series *rate) {
  table_series("duralog", UNIT_RATE, &rate[LOG]);
  table_series("raw, mapped", UNIT_RATE, &rate[FRESH]);
  table_text("  the faster sync", it->by_msync[0] ? "msync" : "fdatasync");
  table_series("raw, mapped, a ring", UNIT_RATE, &rate[RING]);
  table_text("  the faster sync", it->by_msync[1] ? "msync" : "fdatasync");
  table_series("raw, staged, O_DIRECT, a ring", UNIT_RATE, &rate[DIRECT]);
  every_ratio("5: every 1,000 vs raw mapped", "every1000_vs_raw", rate, FRESH,
              (goal){GOAL_AT_LEAST, 0.95});
  every_ratio("every 1,000 vs raw mapped, a ring", "every1000_vs_raw_ring",
              rate, RING, no_goal);
  every_ratio("every 1,000 vs raw O_DIRECT, a ring", "every1000_vs_direct",
              rate, DIRECT, no_goal);
  every_peers(it, rate);
}

bool experiment_every(const settings *with) {
  every_run it = {.direct = -1};
  series rate[SIDES] = {0};
  char dir[PATH_BYTES];
  table_section("A sync every 1,000 records, 100 B, 1 thread", NULL);
  if (!scratch_sub(dir, with->scratch, "every")) return false;
  bool good = every_open(&it, dir) && every_rounds(&it, rate, with);
  if (good) every_report(&it, rate);
  if (it.log) good = went_well("close", duralog_close(&it.log)) && good;
  for (int k = 0; k < PEERS; k++)
    if (it.peer[k]) peers[k]->close(it.peer[k]);
  for (int k = 0; k < MAPPINGS; k++)
    if (it.mapped[k].map) raw_mapped_end(&it.mapped[k]);
  if (it.direct >= 0) close(it.direct);
  free(it.stage);
  scratch_drop(dir);
  return good;
}
