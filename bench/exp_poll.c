/* SPDX-License-Identifier: MIT
 *
 * Consumers: polls beside the log's own reader, and commits.
 *
 * Both read the same hot log from its start, verified, as many records a call;
 * passes by turns. Commits: after each poll of one record, at each level; the
 * log itself is durable already.
 */
#include "experiments.h"
#include "harness.h"
#include "prepared.h"
#include "process.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define RECORDS 1000000u
#define MANY 64u
#define WRITTEN 2000u /* commits in a round */
#define DURABLE 100u

typedef struct poll_run {
  duralog *log;
  duralog_reader *reader;
  duralog_consumer *consumer;
  volatile uint64_t seen;
} poll_run;

typedef struct poll_series {
  series poll, reader, written, async, durable;
} poll_series;

static bool poll_open(poll_run *it, const char *dir, uint64_t records) {
  duralog_durability pagecache = {.pagecache = true};
  duralog_consumer_options how = {.struct_size = sizeof how,
                                  .manual_commit = true};
  workload work = workload_make(RECORD_BYTES, records, 0);
  if (!log_open_with(dir, pagecache, SEGMENT_BYTES, &it->log)) return false;
  for (uint64_t i = 0; i < work.count; i++)
    if (!went_well("append", duralog_append(it->log, workload_record(&work, i),
                                            work.size, NULL)))
      return false;
  return went_well("sync", duralog_sync(it->log)) &&
         went_well("reader", duralog_reader_open(it->log, DURALOG_LEVEL_DEFAULT,
                                                 &it->reader)) &&
         went_well("consumer", duralog_consumer_open(it->log, "group", &how,
                                                     &it->consumer));
}

static bool pass_poll(poll_run *it, uint64_t records) {
  const duralog_record *got;
  size_t count;
  uint64_t seen = 0;
  if (!went_well("seek",
                 duralog_consumer_seek(it->consumer, DURALOG_SEEK_START, 0)))
    return false;
  for (uint64_t n = 0; n < records; n += count) {
    if (!went_well("poll",
                   duralog_poll(it->consumer, MANY, 0, 0, &got, &count)))
      return false;
    for (size_t i = 0; i < count; i++)
      seen += *(const unsigned char *)got[i].data;
  }
  it->seen = seen;
  return true;
}

static bool pass_reader(poll_run *it, uint64_t records) {
  duralog_record got[MANY];
  size_t count;
  uint64_t seen = 0;
  if (!went_well("seek", duralog_seek(it->reader, DURALOG_SEEK_START, 0)))
    return false;
  for (uint64_t n = 0; n < records; n += count) {
    if (!went_well("read", duralog_read_many(it->reader, got, MANY, 0, &count)))
      return false;
    for (size_t i = 0; i < count; i++)
      seen += *(const unsigned char *)got[i].data;
  }
  it->seen = seen;
  return true;
}

static bool commits(poll_run *it, uint64_t count, duralog_level level,
                    bool async, double *rate) {
  const duralog_record *got;
  size_t one;
  uint64_t start = now_ns();
  for (uint64_t i = 0; i < count; i++) {
    if (!went_well("poll", duralog_poll(it->consumer, 1, 0, 0, &got, &one)))
      return false;
    duralog_error error =
        async ? duralog_commit_async(it->consumer, DURALOG_POLLED, level, NULL,
                                     NULL, NULL)
              : duralog_commit(it->consumer, DURALOG_POLLED, level, NULL);
    if (!went_well("commit", error)) return false;
  }
  *rate = (double)count * 1e9 / (double)(now_ns() - start);
  return true;
}

static bool passes(poll_run *it, poll_series *all, bool poll_first,
                   uint64_t records) {
  for (unsigned turn = 0; turn < 2; turn++) {
    bool poll = (turn == 0) == poll_first;
    uint64_t start = now_ns();
    if (!(poll ? pass_poll(it, records) : pass_reader(it, records)))
      return false;
    series_add(poll ? &all->poll : &all->reader,
               (double)records * 1e9 / (double)(now_ns() - start));
  }
  return true;
}

static bool poll_round(poll_run *it, poll_series *all, size_t round,
                       uint64_t records) {
  double written, async, durable;
  if (!passes(it, all, round % 2, records) ||
      !went_well("seek",
                 duralog_consumer_seek(it->consumer, DURALOG_SEEK_START, 0)) ||
      !commits(it, WRITTEN, DURALOG_LEVEL_WRITTEN, false, &written) ||
      !commits(it, WRITTEN, DURALOG_LEVEL_WRITTEN, true, &async) ||
      !commits(it, DURABLE, DURALOG_LEVEL_DURABLE, false, &durable))
    return false;
  series_add(&all->written, written);
  series_add(&all->async, async);
  series_add(&all->durable, durable);
  return true;
}

static void poll_report(const poll_series *all) {
  series ratio = series_ratio(&all->poll, &all->reader);
  table_series("poll, 64 a call", UNIT_RATE, &all->poll);
  table_series("duralog_read_many, 64 a call", UNIT_RATE, &all->reader);
  table_figure("poll 100 B vs the log's reader", "poll_100B_vs_reader",
               UNIT_PLAIN, &ratio, (goal){GOAL_AT_LEAST, 0.85});
  table_figure("commits, written", "commit_written_per_s", UNIT_RATE,
               &all->written, no_goal);
  table_figure("commits, written, asynchronous", "commit_async_per_s",
               UNIT_RATE, &all->async, no_goal);
  table_figure("commits, durable", "commit_durable_per_s", UNIT_RATE,
               &all->durable, no_goal);
}

bool experiment_poll(const settings *with) {
  poll_run it = {0};
  poll_series all = {0};
  char dir[PATH_BYTES];
  uint64_t records = with->quick ? RECORDS / 2 : RECORDS;
  table_section("Consumers: polls of 100 B, hot, and commits", NULL);
  if (!scratch_sub(dir, with->scratch, "poll")) return false;
  bool good = poll_open(&it, dir, records) && pass_reader(&it, records) &&
              pass_poll(&it, records);
  for (size_t r = 0; good && r < with->rounds; r++)
    good = poll_round(&it, &all, r, records);
  if (good) poll_report(&all);
  if (it.consumer) duralog_consumer_close(&it.consumer);
  if (it.reader) duralog_reader_close(&it.reader);
  if (it.log) good = went_well("close", duralog_close(&it.log)) && good;
  scratch_drop(dir);
  return good;
}
