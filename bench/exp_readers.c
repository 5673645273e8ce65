/* SPDX-License-Identifier: MIT
 *
 * What a reader in another process costs the writer.
 *
 * One writer and one follower live for a round. The writer appends as fast as
 * it goes, in slices, and in each the follower does one of these:
 *   alone     nothing: it sleeps outside of the library
 *   sleeping  it waits in duralog_reader_wait for records to become durable,
 *             which in page-cache mode they do once a segment
 *   woken     it waits for the next record and reads none: at the end again it
 *             waits again, and so asks to be woken as often as can be
 *   tailing   it reads all there is, and waits at the end
 *   unpinned  the same, with both processes where the scheduler puts them
 * But for the last, the writer keeps to one core and the follower to another:
 * left alone, the scheduler often lets the one that was woken run on the core
 * of the other, which is then put aside. The sides take turns, and a ratio is
 * between the slices of one round. The first part of each is not timed: one
 * that is woken may wait for a processor for a time slice before it begins to
 * read. Between slices the background rests, and no slice is where it has work
 * to do: preparing a segment wants a core as the reader does, and with two of
 * them the writer would lose a part of its own to whichever is third. What the
 * writer's thread was given is measured besides what went by.
 */
#include <stdio.h>
#include <string.h>

#include "contender.h"
#include "experiments.h"
#include "harness.h"
#include "process.h"
#include "scratch.h"

#define RECORD_BYTES 100u
#define MANY 64u
/* Of the log. Two slices to a segment, behind the eighth of it at which its
 * successor is prepared; it is rolled after the second. */
#define MIB ((uint64_t)1 << 20)
#define BEGIN_BYTES (10 * MIB)
#define LEAD_BYTES (2 * MIB)
#define SLICE_BYTES (20 * MIB) /* timed */
#define BETWEEN_BYTES (4 * MIB)
#define ROLL_BYTES \
  (SEGMENT_BYTES - 2 * (LEAD_BYTES + SLICE_BYTES) - BETWEEN_BYTES)
#define SLICES 4u   /* of a side, in a round; even */
#define WAIT_MS 100 /* of a reader, at a time */
#define REST_MS 120u
#define FIRST_REST_MS 800u /* to seal a segment on a slow disk */
#define ASLEEP_MS 10u      /* for the follower to be what it shall be */
#define MEMORY_BYTES ((size_t)576 << 20) /* more than is appended */

enum { ALONE, SLEEPING, WOKEN, TAILING, UNPINNED, SIDES };
enum { WRITERS_CORE, FOLLOWERS_CORE };
enum { STOP = SIDES + 1 }; /* orders are sides + 1, 0 none */

typedef struct readers_job {
  char dir[PATH_BYTES];
  uint32_t slices;
  word opened, order, obeys; /* what the follower shall do, and does */
  _Alignas(LINE_BYTES) _Atomic bool over;       /* the slice */
  _Alignas(LINE_BYTES) _Atomic uint64_t behind; /* what was read: an offset */
  _Atomic uint64_t waits;
  uint64_t ns[SIDES], cpu_ns[SIDES]; /* the result */
  uint64_t waited[SIDES], appended, left;
} readers_job;

/* ------------------------------------------------------------- writer -- */

static bool append_all(duralog *log, const workload *work, uint64_t *end) {
  for (uint64_t i = 0; i < work->count; i++)
    if (!went_well("append", duralog_append(log, workload_record(work, i),
                                            work->size, end)))
      return false;
  ++*end;
  return true;
}

static workload part(uint64_t bytes) {
  return workload_make(RECORD_BYTES, bytes / frame_bytes(RECORD_BYTES), 0);
}

/* Untimed, and what the background has to do then. */
static bool between(duralog *log, uint64_t bytes, uint32_t ms) {
  workload work = part(bytes);
  uint64_t end;
  bool good = append_all(log, &work, &end);
  pause_ms(ms);
  return good;
}

static bool slice(readers_job *job, duralog *log, uint32_t turn) {
  uint32_t side = (turn + turn / SIDES) % SIDES;
  workload lead = part(LEAD_BYTES), work = part(SLICE_BYTES);
  uint64_t end = 0;
  atomic_store(&job->over, false);
  keep_to_core(side == UNPINNED ? ANY_CORE : WRITERS_CORE);
  word_set(&job->order, side + 1);
  word_await(&job->obeys, side + 1);
  pause_ms(ASLEEP_MS);
  if (!append_all(log, &lead, &end)) return false;
  uint64_t waits = atomic_load(&job->waits);
  uint64_t start = now_ns(), cpu = thread_cpu_ns();
  if (!append_all(log, &work, &end)) return false;
  job->ns[side] += now_ns() - start;
  job->cpu_ns[side] += thread_cpu_ns() - cpu;
  uint64_t behind = atomic_load(&job->behind);
  job->waited[side] += atomic_load(&job->waits) - waits;
  if (side == TAILING) job->left += behind < end ? end - behind : 0;
  job->appended += side == TAILING ? work.count : 0;
  atomic_store(&job->over, true);
  word_set(&job->order, 0);
  word_await(&job->obeys, 0);
  return between(log, turn % 2 ? ROLL_BYTES : BETWEEN_BYTES, REST_MS);
}

static bool readers_write(void *argument) {
  readers_job *job = argument;
  duralog *log;
  uint64_t end = 0;
  workload warm = part(SEGMENT_BYTES + BEGIN_BYTES - BETWEEN_BYTES);
  if (!writer_open(job->dir, &log) || !append_all(log, &warm, &end))
    return false;
  word_set(&job->opened, 1);
  if (!between(log, BETWEEN_BYTES, FIRST_REST_MS)) return false;
  warm_memory(MEMORY_BYTES);
  for (uint32_t turn = 0; turn < job->slices * SIDES; turn++)
    if (!slice(job, log, turn)) return false;
  word_set(&job->order, STOP);
  return true;
}

/* ----------------------------------------------------------- follower -- */

static bool wait_once(readers_job *job, duralog_reader *reader) {
  duralog_error error = duralog_reader_wait(reader, WAIT_MS);
  atomic_store(&job->waits, atomic_load(&job->waits) + 1);
  return error == DURALOG_E_TIMEOUT || went_well("wait", error);
}

static bool read_all(readers_job *job, duralog_reader *reader) {
  duralog_record records[MANY];
  size_t got;
  duralog_error error;
  while (!(error = duralog_read_many(reader, records, MANY, 0, &got)))
    atomic_store_explicit(&job->behind, records[got - 1].offset + 1,
                          memory_order_relaxed);
  return error == DURALOG_E_AT_END || went_well("read", error);
}

static bool to_the_end(duralog_reader *reader) {
  return went_well("seek", duralog_seek(reader, DURALOG_SEEK_END, 0));
}

/* Finding its place in the segment may take as long as a slice: it reads the
 * last record, so that this is over. */
static bool place_at_end(duralog_reader *reader, uint64_t *at) {
  duralog_record last;
  return to_the_end(reader) && went_well("tell", duralog_tell(reader, at)) &&
         went_well("read", duralog_read_at(reader, *at - 1, &last));
}

static bool obey(readers_job *job, duralog_reader *reader, uint32_t side) {
  uint64_t at = 0;
  keep_to_core(side == UNPINNED ? ANY_CORE : FOLLOWERS_CORE);
  bool good = place_at_end(reader, &at);
  atomic_store(&job->behind, at);
  word_set(&job->obeys, side + 1);
  if (side == ALONE) word_await(&job->order, 0);
  while (good && !atomic_load(&job->over))
    good = wait_once(job, reader) &&
           (side >= TAILING ? read_all(job, reader) : to_the_end(reader));
  return good;
}

static bool readers_follow(void *argument) {
  readers_job *job = argument;
  duralog *log;
  duralog_reader *visible, *durable;
  word_await(&job->opened, 1);
  if (!follower_open(job->dir, &log) ||
      !reader_at_end(log, DURALOG_LEVEL_WRITTEN, &visible) ||
      !reader_at_end(log, DURALOG_LEVEL_DURABLE, &durable))
    return false;
  for (;;) {
    word_sleep(&job->order, 0);
    uint32_t order = atomic_load(&job->order.value);
    if (order == STOP) return true;
    if (order == 0) continue;
    if (!obey(job, order - 1 == SLEEPING ? durable : visible, order - 1))
      return false;
    word_await(&job->order, 0);
    word_set(&job->obeys, 0);
  }
}

/* ------------------------------------------------------------- rounds -- */

typedef struct readers_series {
  series rate[SIDES], cpu_rate[SIDES], waits[SIDES], read;
} readers_series;

static bool readers_round(readers_job *job, readers_series *all,
                          const settings *with) {
  memset(job, 0, sizeof *job);
  job->slices = with->quick ? SLICES / 2 : SLICES;
  if (!scratch_sub(job->dir, with->scratch, "readers")) return false;
  bool good = run_two(readers_write, readers_follow, job);
  scratch_drop(job->dir);
  double appended = (double)job->appended; /* by each side */
  for (size_t k = 0; good && k < SIDES; k++) {
    series_add(&all->rate[k], appended * 1e9 / (double)job->ns[k]);
    series_add(&all->cpu_rate[k], appended * 1e9 / (double)job->cpu_ns[k]);
    series_add(&all->waits[k],
               (double)job->waited[k] * 1e9 / (double)job->ns[k]);
  }
  if (good) series_add(&all->read, 1 - (double)job->left / appended);
  return good;
}

static void readers_figure(const char *label, const char *name,
                           const series rate[SIDES], size_t side, goal wanted) {
  series ratio = series_ratio(&rate[side], &rate[ALONE]);
  table_figure(label, name, UNIT_PLAIN, &ratio, wanted);
}

static void readers_report(const readers_series *all) {
  const goal tenth = {GOAL_AT_LEAST, 0.9};
  table_series("alone", UNIT_RATE, &all->rate[ALONE]);
  table_series("a reader sleeping", UNIT_RATE, &all->rate[SLEEPING]);
  table_series("a reader woken again and again", UNIT_RATE, &all->rate[WOKEN]);
  table_series("  its waits", UNIT_RATE, &all->waits[WOKEN]);
  table_series("a reader tailing", UNIT_RATE, &all->rate[TAILING]);
  table_series("  where the scheduler puts both", UNIT_RATE,
               &all->rate[UNPINNED]);
  table_series("  its waits", UNIT_RATE, &all->waits[TAILING]);
  table_series("  read when the last was appended", UNIT_PLAIN, &all->read);
  readers_figure("append beside a sleeping reader vs alone",
                 "append_sleeping_reader_vs_alone", all->rate, SLEEPING, tenth);
  readers_figure("6: append beside a tailing reader vs alone",
                 "append_tailing_reader_vs_alone", all->rate, TAILING, tenth);
  readers_figure("the same by the writer's own CPU time",
                 "append_tailing_reader_cpu_vs_alone", all->cpu_rate, TAILING,
                 no_goal);
  readers_figure("the same, where the scheduler puts them",
                 "append_tailing_reader_unpinned_vs_alone", all->rate, UNPINNED,
                 no_goal);
  readers_figure("append waking a reader vs alone",
                 "append_waking_reader_vs_alone", all->rate, WOKEN, no_goal);
}

bool experiment_readers(const settings *with) {
  readers_series all = {0};
  readers_job *job = shared_alloc(sizeof *job);
  if (!job) return false;
  table_section("What a reader in another process costs the writer",
                "100 B one by one, page-cache mode, 1 thread");
  for (size_t r = 0; r < with->rounds; r++)
    if (!readers_round(job, &all, with)) return false;
  readers_report(&all);
  return true;
}
