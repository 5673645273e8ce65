/* SPDX-License-Identifier: MIT
 *
 * Verified sequential reads of what is in memory.
 */
#include <stdio.h>

#include "experiments.h"
#include "harness.h"
#include "peers.h"
#include "scratch.h"

#define MANY 64u
#define PASSES 3 /* per round, in turn */

enum { READ_RAW, READ_NEXT, READ_MANY, READ_PEER, READ_SIDES };

typedef struct read_side {
  const char *label;
  const contender *who;
  size_t many;
  void *log;
  uint64_t records; /* of a pass, 0 before the first */
  series rate;
} read_side;

/* One pass over the whole log. Each pass must see the same records. */
static bool read_once(read_side *side, uint64_t appended, uint64_t *ns) {
  uint64_t start = now_ns();
  uint64_t records = side->who->read(side->log, side->many);
  *ns += now_ns() - start;
  if (side->records == 0) side->records = records;
  if (records >= appended && records == side->records) return true;
  fprintf(stderr, "bench: %s: %ju records read, %ju appended\n",
          side->who->name, (uintmax_t)records, (uintmax_t)appended);
  return false;
}

static void *read_prepare(const contender *who, const workload *work,
                          char dir[PATH_BYTES], const char *scratch) {
  if (!scratch_sub(dir, scratch, who->name)) return NULL;
  uint64_t bytes = work->count * frame_bytes(work->size);
  void *log = who->open(dir, MODE_PAGECACHE, bytes);
  if (log && who->append(log, work) && who->settle(log)) return log;
  return NULL;
}

static bool read_round(read_side *sides, uint64_t appended) {
  uint64_t ns[READ_SIDES] = {0};
  for (size_t turn = 0; turn < PASSES * READ_SIDES; turn++) {
    size_t k = (turn + turn / READ_SIDES) % READ_SIDES;
    if (!sides[k].log) continue; /* a peer that is not installed */
    if (!read_once(&sides[k], appended, &ns[k])) return false;
  }
  for (size_t k = 0; k < READ_SIDES; k++)
    if (sides[k].log)
      series_add(&sides[k].rate,
                 PASSES * (double)sides[k].records * 1e9 / (double)ns[k]);
  return true;
}

static bool read_rounds(read_side *sides, uint64_t appended, size_t rounds) {
  uint64_t warm_ns = 0;
  for (size_t k = 0; k < READ_SIDES; k++)
    if (sides[k].log && !read_once(&sides[k], appended, &warm_ns)) return false;
  for (size_t r = 0; r < rounds; r++)
    if (!read_round(sides, appended)) return false;
  return true;
}

static void read_report_peer(const read_side *s) {
  static const char label[] = "6: read 100 B vs LMDB's unchecked cursor";
  const goal twice = {GOAL_AT_LEAST, 2};
  if (!s[READ_PEER].log) {
    table_unknown(label, "read_100B_vs_best_peer", twice,
                  "LMDB is not installed: make bench-deps");
    return;
  }
  series peer = series_ratio(&s[READ_NEXT].rate, &s[READ_PEER].rate);
  table_figure(label, "read_100B_vs_best_peer", UNIT_PLAIN, &peer, twice);
}

static void read_report(const read_side *s) {
  const goal wanted = {GOAL_AT_LEAST, 0.8};
  series next = series_ratio(&s[READ_NEXT].rate, &s[READ_RAW].rate);
  series many = series_ratio(&s[READ_MANY].rate, &s[READ_RAW].rate);
  for (size_t i = 0; i < READ_SIDES; i++)
    if (s[i].log) table_series(s[i].label, UNIT_RATE, &s[i].rate);
  table_figure("6: read 100 B by read_next vs raw", "read_100B_vs_raw",
               UNIT_PLAIN, &next, wanted);
  table_figure("read 100 B by read_many vs raw", "read_many_100B_vs_raw",
               UNIT_PLAIN, &many, wanted);
  read_report_peer(s);
}

bool experiment_read(const settings *with) {
  char raw_dir[PATH_BYTES], log_dir[PATH_BYTES], peer_dir[PATH_BYTES];
  workload work = workload_make(100, with->quick ? 600000 : 1500000, 0);
  read_side sides[READ_SIDES] = {
      {"raw: bare walk", &contender_raw, 0, NULL, 0, {0}},
      {"duralog, read_next", &contender_duralog, 1, NULL, 0, {0}},
      {"duralog, read_many, 64 a call", &contender_duralog, MANY, NULL, 0, {0}},
      {"LMDB, cursor, unchecked", &contender_lmdb, 1, NULL, 0, {0}},
  };
  table_section("Verified sequential read, 100 B, hot", NULL);
  sides[READ_RAW].log =
      read_prepare(&contender_raw, &work, raw_dir, with->scratch);
  sides[READ_NEXT].log = sides[READ_MANY].log =
      read_prepare(&contender_duralog, &work, log_dir, with->scratch);
  if (contender_lmdb.open) {
    sides[READ_PEER].log =
        read_prepare(&contender_lmdb, &work, peer_dir, with->scratch);
    if (!sides[READ_PEER].log) return false;
  }
  if (!sides[READ_RAW].log || !sides[READ_NEXT].log) return false;
  bool good = read_rounds(sides, work.count, with->rounds);
  if (good) read_report(sides);
  contender_raw.close(sides[READ_RAW].log);
  contender_duralog.close(sides[READ_NEXT].log);
  if (sides[READ_PEER].log) {
    contender_lmdb.close(sides[READ_PEER].log);
    scratch_drop(peer_dir);
  }
  scratch_drop(raw_dir);
  scratch_drop(log_dir);
  return good;
}
