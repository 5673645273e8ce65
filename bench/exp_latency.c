/* SPDX-License-Identifier: MIT
 *
 * From an append to a reader that sleeps in another process having the record,
 * beside a bare futex between the same two processes.
 *
 * The clock is read before the append, and the reading is in the record's
 * payload, and again when the reader has the verified record. The bare ping
 * does the least that wakes another process: the reading of the clock and a
 * word are stored in shared memory, FUTEX_WAKE; the other one, in FUTEX_WAIT,
 * reads the clock as it returns. Both go by turns through the same pair of
 * processes. Before each ping the writer waits until the other one has
 * acknowledged the last, and then sleeps, so that the other one sleeps too; a
 * ping that found it not yet asleep for a while is left out.
 */
#include <string.h>
#include <time.h>

#include "experiments.h"
#include "harness.h"
#include "process.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define TURN 16u        /* pings of a kind before it is the other's */
#define PAUSE_NS 200000 /* before each */
#define ASLEEP_NS ((uint64_t)50000) /* since it went to sleep, at least */

#define GIVE_UP_MS 10000 /* nothing comes: a failure, not a wait for ever */

enum { BY_LOG, BARE, KINDS };
enum { P50, P99, WORST, STATISTICS };

typedef struct latency_job {
  char dir[PATH_BYTES];
  uint32_t pings; /* of both kinds together */
  word opened, ready, answer, bare;
  uint64_t bare_ns;                       /* the clock when `bare` was set */
  double ns[KINDS][STATISTICS], left_out; /* the result */
} latency_job;

static unsigned kind_of(uint32_t ping) { return ping / TURN % KINDS; }

/* ------------------------------------------------------------- writer -- */

static bool ping(latency_job *job, duralog *log, uint32_t number) {
  unsigned char record[RECORD_BYTES] = {0};
  const struct timespec pause = {.tv_nsec = PAUSE_NS};
  nanosleep(&pause, NULL);
  uint64_t before = now_ns();
  if (kind_of(number) == BARE) {
    job->bare_ns = before;
    word_set(&job->bare, number + 1);
    return true;
  }
  memcpy(record, &before, sizeof before);
  return went_well("append", duralog_append(log, record, sizeof record, NULL));
}

static bool latency_write(void *argument) {
  latency_job *job = argument;
  duralog *log;
  if (!writer_open(job->dir, &log)) return false;
  word_set(&job->opened, 1);
  word_await(&job->ready, 1);
  for (uint32_t i = 0; i < job->pings; i++) {
    if (!ping(job, log, i)) return false;
    word_await(&job->answer, i + 1);
  }
  return true;
}

/* ------------------------------------------------------------- reader -- */

static bool wait_for_record(duralog_reader *reader, uint64_t *sent,
                            uint64_t *got) {
  duralog_record record;
  if (!went_well("wait", duralog_reader_wait(reader, GIVE_UP_MS)) ||
      !went_well("read", duralog_read_next(reader, &record)))
    return false;
  *got = now_ns();
  memcpy(sent, record.data, sizeof *sent);
  return true;
}

static void wait_for_bare(latency_job *job, uint32_t number, uint64_t *sent,
                          uint64_t *got) {
  uint32_t is;
  while ((is = atomic_load(&job->bare.value)) != number + 1)
    word_sleep(&job->bare, is);
  *got = now_ns();
  *sent = job->bare_ns;
}

static bool answer_pings(latency_job *job, duralog_reader *reader,
                         latencies *all) {
  uint32_t awake = 0;
  for (uint32_t i = 0; i < job->pings; i++) {
    uint64_t sent, got, asleep = now_ns();
    unsigned kind = kind_of(i);
    if (kind == BARE)
      wait_for_bare(job, i, &sent, &got);
    else if (!wait_for_record(reader, &sent, &got))
      return false;
    if (asleep + ASLEEP_NS > sent)
      awake++;
    else
      latencies_add(&all[kind], got - sent);
    word_set(&job->answer, i + 1);
  }
  job->left_out = awake / (double)job->pings;
  return true;
}

static bool latency_read(void *argument) {
  latency_job *job = argument;
  duralog *log;
  duralog_reader *reader;
  latencies all[KINDS];
  word_await(&job->opened, 1);
  if (!follower_open(job->dir, &log) ||
      !reader_at_end(log, DURALOG_LEVEL_WRITTEN, &reader))
    return false;
  for (size_t k = 0; k < KINDS; k++)
    if (!latencies_make(&all[k], job->pings)) return false;
  word_set(&job->ready, 1);
  if (!answer_pings(job, reader, all)) return false;
  for (size_t k = 0; k < KINDS; k++) {
    if (all[k].count < job->pings / KINDS / 2) return false;
    job->ns[k][P50] = latencies_percentile(&all[k], 50);
    job->ns[k][P99] = latencies_percentile(&all[k], 99);
    job->ns[k][WORST] = latencies_percentile(&all[k], 100);
    latencies_free(&all[k]);
  }
  return true;
}

/* ------------------------------------------------------------- rounds -- */

typedef struct latency_series {
  series ns[KINDS][STATISTICS], left_out;
} latency_series;

static bool latency_round(latency_job *job, latency_series *all,
                          const settings *with) {
  memset(job, 0, sizeof *job);
  job->pings = (with->quick ? 500 : 1500) * KINDS;
  if (!scratch_sub(job->dir, with->scratch, "latency")) return false;
  bool good = run_two(latency_write, latency_read, job);
  scratch_drop(job->dir);
  for (size_t k = 0; k < KINDS; k++)
    for (size_t s = 0; s < STATISTICS; s++)
      series_add(&all->ns[k][s], job->ns[k][s]);
  series_add(&all->left_out, job->left_out);
  return good;
}

static void latency_report(const latency_series *all) {
  const series *log = all->ns[BY_LOG], *bare = all->ns[BARE];
  series p50 = series_ratio(&log[P50], &bare[P50]);
  series p99 = series_ratio(&log[P99], &bare[P99]);
  table_series("bare futex: p50", UNIT_NS, &bare[P50]);
  table_series("bare futex: p99", UNIT_NS, &bare[P99]);
  table_series("bare futex: slowest", UNIT_NS, &bare[WORST]);
  table_series("duralog: slowest", UNIT_NS, &log[WORST]);
  table_series("left out: not asleep, share of pings", UNIT_PLAIN,
               &all->left_out);
  table_figure("append to sleeping reader: p50", "reader_latency_p50_ns",
               UNIT_NS, &log[P50], no_goal);
  table_figure("append to sleeping reader: p99", "reader_latency_p99_ns",
               UNIT_NS, &log[P99], no_goal);
  table_figure("append to reader vs bare futex: p50",
               "reader_latency_p50_vs_futex", UNIT_PLAIN, &p50, no_goal);
  table_figure("append to reader vs bare futex: p99",
               "reader_latency_p99_vs_futex", UNIT_PLAIN, &p99, no_goal);
}

bool experiment_latency(const settings *with) {
  latency_series all = {0};
  latency_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  table_section("From an append to a reader asleep in another process",
                "100 B, page-cache mode, read and verified; bare: a word "
                "stored, FUTEX_WAKE, back from FUTEX_WAIT");
  for (size_t r = 0; r < with->rounds; r++)
    if (!latency_round(job, &all, with)) return false;
  latency_report(&all);
  return true;
}
