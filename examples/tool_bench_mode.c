/* SPDX-License-Identifier: MIT
 *
 * One run of the benchmark: a new log, appends by one or more threads until the
 * time is up or the bytes are used, a sync at the end.
 *
 * What may be written is bounded by an estimate, not by looking: a record costs
 * its frame, and its part of a sync, which costs SYNC_BYTES (the page and the
 * file system's journal). So a fast disk is not worn, nor a rented one's credit
 * used up, and a slow one gets its time. Where the mode has no end of its own
 * pace (interval), the appends are spread over the time; otherwise they would
 * be over before a single interval was.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool_bench.h"

#define SYNC_BYTES 12288u
#define FRAME_BYTES 24u
#define THREADS_MAX 8

volatile sig_atomic_t bench_signal;

uint64_t bench_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------- times -- */

/* 0 to 15 are their own buckets; from there on the four highest bits tell. */
static size_t bucket_of(uint64_t ns) {
  if (ns < 16) return (size_t)ns;
  unsigned shift = 60u - (unsigned)__builtin_clzll(ns);
  return 8 * (size_t)shift + (size_t)(ns >> shift);
}

static uint64_t bucket_end(size_t bucket) {
  if (bucket < 16) return bucket;
  unsigned shift = (unsigned)(bucket / 8 - 1);
  return ((bucket % 8 + 9) << shift) - 1;
}

_Static_assert(BENCH_BUCKETS >= 8 * 60 + 16, "the largest time has a bucket");

void bench_times_add(bench_times *times, uint64_t ns) {
  times->count++;
  if (ns > times->max_ns) times->max_ns = ns;
  times->buckets[bucket_of(ns)]++;
}

uint64_t bench_times_bound(const bench_times *times, uint64_t thousandths) {
  uint64_t seen = 0;
  for (size_t i = 0; i < BENCH_BUCKETS; i++) {
    seen += times->buckets[i];
    if (seen > 0 && seen * 1000 >= times->count * thousandths)
      return bucket_end(i) < times->max_ns ? bucket_end(i) : times->max_ns;
  }
  return times->max_ns;
}

static void times_merge(bench_times *into, const bench_times *times) {
  into->count += times->count;
  if (times->max_ns > into->max_ns) into->max_ns = times->max_ns;
  for (size_t i = 0; i < BENCH_BUCKETS; i++)
    into->buckets[i] += times->buckets[i];
}

/* Of all kinds but opening, what came between the two. The longest before may
 * hide the longest after: then its bucket's bound is given. */
static void syncs_between(const duralog_stats *before,
                          const duralog_stats *after, duralog_sync_times *out) {
  *out = (duralog_sync_times){0};
  for (int kind = 0; kind < DURALOG_SYNC_KIND_COUNT; kind++) {
    const duralog_sync_times *b = &before->syncs[kind];
    const duralog_sync_times *a = &after->syncs[kind];
    if (kind == DURALOG_SYNC_OPEN || a->count == b->count) continue;
    duralog_sync_times d = {.count = a->count - b->count,
                            .total_ns = a->total_ns - b->total_ns,
                            .max_ns = a->max_ns};
    for (int i = 0; i < DURALOG_STATS_BUCKETS; i++)
      d.histogram[i] = a->histogram[i] - b->histogram[i];
    if (a->max_ns == b->max_ns) d.max_ns = tool_sync_bound(&d, 1000);
    out->count += d.count;
    out->total_ns += d.total_ns;
    if (d.max_ns > out->max_ns) out->max_ns = d.max_ns;
    for (int i = 0; i < DURALOG_STATS_BUCKETS; i++)
      out->histogram[i] += d.histogram[i];
  }
}

/* ----------------------------------------------------------- threads -- */

typedef struct run {
  duralog *log;
  const bench_mode *mode;
  const bench_limits *limits;
  uint64_t records_max; /* of a thread */
  uint64_t begin_ns, end_ns;
  _Atomic int error; /* of the first append that failed */
} run;

typedef struct worker {
  run *run;
  bench_times times;
} worker;

static uint64_t records_max(const bench_mode *mode,
                            const bench_limits *limits) {
  uint64_t frame = (FRAME_BYTES + limits->record_bytes + 7) / 8 * 8;
  const duralog_durability *d = &mode->durability;
  uint64_t every = d->sync_every_records;
  if (d->sync_every_bytes > 0) every = d->sync_every_bytes / frame + 1;
  if (mode->threads > 1) every = mode->threads / 2; /* who share a sync */
  uint64_t syncs = mode->strict ? 2 : 1;
  uint64_t cost = frame + (every == 0 ? 0 : syncs * SYNC_BYTES / every);
  return limits->bytes / cost / mode->threads + 1;
}

/* So many records may have been appended by now. */
static uint64_t pace(const run *r, uint64_t now) {
  double part = (double)(now - r->begin_ns) / (double)r->limits->time_ns;
  return 1 + (uint64_t)(part * (double)r->records_max);
}

static uint64_t wait_for_pace(const run *r, uint64_t done, uint64_t now) {
  static const struct timespec nap = {.tv_nsec = 500000};
  while (r->mode->paced && done >= pace(r, now) && now < r->end_ns &&
         bench_signal == 0) {
    nanosleep(&nap, NULL);
    now = bench_now_ns();
  }
  return now;
}

static void *append_loop(void *argument) {
  worker *w = argument;
  run *r = w->run;
  char *record = malloc(r->limits->record_bytes);
  if (record == NULL) {
    atomic_store(&r->error, DURALOG_E_RESOURCES);
    return NULL;
  }
  memset(record, 'r', r->limits->record_bytes);
  uint64_t now = bench_now_ns();
  for (uint64_t i = 0; i < r->records_max && now < r->end_ns; i++) {
    if (bench_signal != 0 || atomic_load(&r->error) != DURALOG_OK) break;
    now = wait_for_pace(r, i, now);
    duralog_error error =
        duralog_append(r->log, record, r->limits->record_bytes, NULL);
    if (error != DURALOG_OK) {
      atomic_store(&r->error, error);
      break;
    }
    uint64_t after = bench_now_ns();
    bench_times_add(&w->times, after - now);
    now = after;
  }
  free(record);
  return NULL;
}

/* The calling thread is one of them. */
static duralog_error append_by_threads(run *r, bench_result *result) {
  pthread_t threads[THREADS_MAX];
  worker *workers = calloc(r->mode->threads, sizeof *workers);
  uint64_t started = 1;
  if (workers == NULL) return DURALOG_E_RESOURCES;
  r->begin_ns = bench_now_ns();
  r->end_ns = r->begin_ns + r->limits->time_ns;
  for (uint64_t i = 0; i < r->mode->threads; i++) workers[i].run = r;
  for (; started < r->mode->threads; started++)
    if (pthread_create(&threads[started], NULL, append_loop,
                       &workers[started]) != 0) {
      atomic_store(&r->error, DURALOG_E_RESOURCES);
      break;
    }
  append_loop(&workers[0]);
  for (uint64_t i = 1; i < started; i++) pthread_join(threads[i], NULL);
  result->elapsed_ns = bench_now_ns() - r->begin_ns;
  for (uint64_t i = 0; i < started; i++)
    times_merge(&result->appends, &workers[i].times);
  result->records = result->appends.count;
  free(workers);
  return (duralog_error)atomic_load(&r->error);
}

/* ------------------------------------------------------------- a run -- */

/* The first append is not measured: it raises the epoch and meets pages that
 * nobody has touched. */
static duralog_error measure(bench_place *place, run *r, bench_result *result) {
  duralog_stats before = {.struct_size = sizeof before};
  duralog_stats after = {.struct_size = sizeof after};
  uint64_t written_before, written_after;
  duralog_error error = duralog_append(r->log, "", 0, NULL);
  if (error == DURALOG_OK) error = duralog_sync(r->log);
  if (error == DURALOG_OK) error = duralog_get_stats(r->log, &before);
  if (error != DURALOG_OK) return error;
  result->written_known = bench_written(place, &written_before);
  error = append_by_threads(r, result);
  if (error == DURALOG_OK) error = duralog_sync(r->log);
  if (error == DURALOG_OK) error = duralog_get_stats(r->log, &after);
  if (error != DURALOG_OK) return error;
  result->written_known &= bench_written(place, &written_after);
  result->written = written_after - written_before;
  syncs_between(&before, &after, &result->syncs);
  return DURALOG_OK;
}

int bench_run_mode(bench_place *place, const bench_mode *mode,
                   const bench_limits *limits, bench_result *result) {
  char path[sizeof place->scratch];
  duralog_options options = {.struct_size = sizeof options,
                             .durability = mode->durability,
                             .strict = mode->strict};
  duralog_report report = {.struct_size = sizeof report};
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  run r = {
      .mode = mode, .limits = limits, .records_max = records_max(mode, limits)};
  *result = (bench_result){.mode = mode,
                           .bytes_a_record = (double)limits->record_bytes};
  snprintf(path, sizeof path, "%.4000s/log", place->scratch);
  duralog_error error =
      duralog_open(path, &options, &r.log, &report, &diagnostic);
  if (error != DURALOG_OK)
    return tool_fail("opening", path, error, &diagnostic);
  place->in_memory = report.fs_memory;
  result->loss = report.fs_memory ? "everything" : mode->loss;
  int code = TOOL_OK;
  error = measure(place, &r, result);
  if (error != DURALOG_OK)
    code = tool_fail_on("appending to", path, error, r.log);
  error = duralog_close(&r.log);
  if (error != DURALOG_OK && code == TOOL_OK)
    code = tool_fail("closing", path, error, NULL);
  if (!bench_remove(path) && code == TOOL_OK) code = TOOL_FAILED;
  return code;
}
