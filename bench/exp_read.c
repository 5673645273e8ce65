/* SPDX-License-Identifier: MIT
 *
 * Verified sequential reads of what is in memory.
 */
#include <stdio.h>
#include <string.h>

#include "experiments.h"
#include "harness.h"
#include "scratch.h"

#define MANY 64u
#define PASSES 3 /* per round, in turn */

#define PEER_BATCH 1000u

enum { READ_RAW, READ_NEXT, READ_MANY, READ_OURS };
#define OTHERS (1 + PEERS) /* write(2), and the peers */
#define READ_SIDES (READ_OURS + OTHERS)

typedef struct read_side {
  char label[64];
  const contender *who;
  size_t many;
  char dir[PATH_BYTES];
  void *log;         /* NULL: it does not take part */
  uint64_t appended; /* records, at least */
  uint64_t records;  /* of a pass, 0 before the first */
  series rate;
} read_side;

/* One pass over the whole log. Each pass must see the same records. */
static bool read_once(read_side *side, uint64_t *ns) {
  uint64_t start = now_ns();
  uint64_t records = side->who->read(side->log, side->many);
  *ns += now_ns() - start;
  if (side->records == 0) side->records = records;
  if (records >= side->appended && records == side->records) return true;
  fprintf(stderr, "bench: %s: %ju records read, %ju appended\n",
          side->who->name, (uintmax_t)records, (uintmax_t)side->appended);
  return false;
}

static bool read_prepare(read_side *side, const workload *work,
                         const char *scratch) {
  const contender *who = side->who;
  if (!scratch_sub(side->dir, scratch, who->name)) return false;
  uint64_t bytes = work->count * frame_bytes(work->size);
  side->log = who->open(side->dir, MODE_PAGECACHE, bytes);
  side->appended = work->count;
  return side->log && who->append(side->log, work) && who->settle(side->log);
}

static bool read_round(read_side *sides) {
  uint64_t ns[READ_SIDES] = {0};
  for (size_t turn = 0; turn < PASSES * READ_SIDES; turn++) {
    size_t k = (turn + turn / READ_SIDES) % READ_SIDES;
    if (sides[k].log && !read_once(&sides[k], &ns[k])) return false;
  }
  for (size_t k = 0; k < READ_SIDES; k++)
    if (sides[k].log)
      series_add(&sides[k].rate,
                 PASSES * (double)sides[k].records * 1e9 / (double)ns[k]);
  return true;
}

static bool read_rounds(read_side *sides, size_t rounds) {
  uint64_t warm_ns = 0;
  for (size_t k = 0; k < READ_SIDES; k++)
    if (sides[k].log && !read_once(&sides[k], &warm_ns)) return false;
  for (size_t r = 0; r < rounds; r++)
    if (!read_round(sides)) return false;
  return true;
}

static void read_ratio(const char *label, const char *name, const series *above,
                       const series *below, goal wanted) {
  series ratio = series_ratio(above, below);
  table_figure(label, name, UNIT_PLAIN, &ratio, wanted);
}

/* The fastest of each round, which of the peers that was; whether it checks
 * what it reads or not. */
static void read_vs_peers(const read_side *s) {
  const goal wanted = {GOAL_AT_LEAST, 2};
  const char *label = "6: read 100 B by read_many vs the best peer";
  series best = {0};
  for (size_t k = READ_OURS + 1; k < READ_SIDES; k++)
    if (s[k].log) series_keep_best(&best, &s[k].rate);
  if (best.count == 0) {
    table_unknown(label, "read_100B_vs_best_peer", wanted,
                  "no peer is installed: make bench-deps");
    return;
  }
  read_ratio(label, "read_100B_vs_best_peer", &s[READ_MANY].rate, &best,
             wanted);
  read_ratio("read 100 B by read_next vs the best peer",
             "read_next_100B_vs_best_peer", &s[READ_NEXT].rate, &best, no_goal);
}

static void read_report(const read_side *s) {
  for (size_t i = 0; i < READ_SIDES; i++)
    if (s[i].log) table_series(s[i].label, UNIT_RATE, &s[i].rate);
  read_ratio("6: read 100 B by read_next vs raw", "read_100B_vs_raw",
             &s[READ_NEXT].rate, &s[READ_RAW].rate, (goal){GOAL_AT_LEAST, 0.8});
  read_ratio("read 100 B by read_many vs raw", "read_many_100B_vs_raw",
             &s[READ_MANY].rate, &s[READ_RAW].rate, no_goal);
  read_vs_peers(s);
}

static void read_sides_make(read_side *sides) {
  static const read_side ours[READ_OURS] = {
      {.label = "raw: bare walk", .who = &contender_raw},
      {.label = "duralog, read_next", .who = &contender_duralog, .many = 1},
      {.label = "duralog, read_many, 64 a call",
       .who = &contender_duralog,
       .many = MANY}};
  memcpy(sides, ours, sizeof ours);
  for (size_t i = 0; i < OTHERS; i++) {
    read_side *side = &sides[READ_OURS + i];
    *side = (read_side){.who = i ? peers[i - 1] : &contender_write};
    snprintf(side->label, sizeof side->label, "%s", side->who->name);
  }
}

static bool read_sides_open(read_side *sides, const settings *with) {
  workload work = workload_make(100, with->quick ? 600000 : 1500000, 0);
  workload batched = workload_make(100, work.count, PEER_BATCH);
  for (size_t k = 0; k < READ_SIDES; k++) {
    bool is_ours = k < READ_OURS;
    if (!sides[k].who->open || k == READ_MANY) continue;
    if (!read_prepare(&sides[k], is_ours ? &work : &batched, with->scratch))
      return false;
  }
  sides[READ_MANY].log = sides[READ_NEXT].log;
  return true;
}

bool experiment_read(const settings *with) {
  static read_side sides[READ_SIDES];
  table_section("Verified sequential read, 100 B, hot",
                "as many records each; LMDB and write(2) verify nothing");
  read_sides_make(sides);
  if (!read_sides_open(sides, with) || !read_rounds(sides, with->rounds))
    return false;
  read_report(sides);
  for (size_t k = 0; k < READ_SIDES; k++) {
    if (!sides[k].log || k == READ_MANY) continue;
    sides[k].who->close(sides[k].log);
    scratch_drop(sides[k].dir);
  }
  return true;
}
