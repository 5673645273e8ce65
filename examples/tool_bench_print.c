/* SPDX-License-Identifier: MIT
 *
 * What the benchmark tells: tables as the results come, then the syncs and what
 * to make of them; or one JSON object at the end. Nothing is said that was not
 * measured: "unknown" or null where nobody counts, "-" where nothing happened.
 */
#include <inttypes.h>
#include <string.h>

#include "tool_bench.h"

static double per_second(uint64_t count, uint64_t ns) {
  return ns == 0 ? 0 : (double)count * 1e9 / (double)ns;
}

/* ------------------------------------------------------------ tables -- */

#define SIZE_TEXT_BYTES 24

/* "4.0 KiB" */
static void size_text(double bytes, char out[SIZE_TEXT_BYTES]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
  int unit = 0;
  while (unit < 3 && bytes >= 1024) {
    bytes /= 1024;
    unit++;
  }
  snprintf(out, SIZE_TEXT_BYTES, "%.*f %s", bytes < 10 && unit > 0 ? 1 : 0,
           bytes, units[unit]);
}

/* 1234567 as "1.2 M". */
static void rate_text(double rate, char out[SIZE_TEXT_BYTES]) {
  static const char *const units[] = {"", " k", " M"};
  int unit = 0;
  while (unit < 2 && rate >= 1000) {
    rate /= 1000;
    unit++;
  }
  snprintf(out, SIZE_TEXT_BYTES, "%.*f%s", rate < 10 && unit > 0 ? 1 : 0, rate,
           units[unit]);
}

static void each_text(bool known, uint64_t bytes, uint64_t count,
                      char out[SIZE_TEXT_BYTES]) {
  if (count == 0)
    snprintf(out, SIZE_TEXT_BYTES, "-");
  else if (!known)
    snprintf(out, SIZE_TEXT_BYTES, "unknown");
  else
    size_text((double)bytes / (double)count, out);
}

static void print_duration(uint64_t count, uint64_t ns) {
  char text[TOOL_DURATION_BYTES] = "-";
  if (count > 0) tool_duration(ns, text);
  printf(" %10s", text);
}

void bench_print_head(const bench_report *r) {
  static const char *const counters[] = {
      "unknown", "as the disk counts, whoever wrote",
      "as the kernel charges this process, without the journal"};
  char idle[SIZE_TEXT_BYTES];
  printf("directory    %s, file system %s\n", r->place->path,
         r->place->file_system);
  printf("device       %s (%u:%u)\n", r->place->device, r->place->major,
         r->place->minor);
  printf("records      %" PRIu64 " bytes\n", r->record_bytes);
  printf("written      %s", counters[r->place->counter]);
  if (r->idle_known && r->place->counter == BENCH_DEVICE) {
    size_text((double)r->idle_bytes, idle);
    printf("; %s a second before we began", idle);
  }
  puts("");
  fflush(stdout);
}

static void print_syncs_row(const char *name, uint64_t count, uint64_t half,
                            uint64_t most, uint64_t max, const char *each) {
  printf("%-21s %8" PRIu64, name, count);
  print_duration(count, half);
  print_duration(count, most);
  print_duration(count, max);
  printf(" %13s\n", each);
}

static void print_syncs_head(const char *title) {
  printf("\n%-21s %8s %10s %10s %10s %13s\n", title, "count", "half below",
         "99 % below", "longest", "written, each");
}

void bench_print_bares(const bench_report *r) {
  char each[SIZE_TEXT_BYTES];
  print_syncs_head("4 KiB and a sync");
  for (int i = 0; i < BENCH_BARES; i++) {
    const bench_bare *b = &r->bares[i];
    each_text(b->written_known, b->written, b->times.count, each);
    print_syncs_row(b->name, b->times.count, bench_times_bound(&b->times, 500),
                    bench_times_bound(&b->times, 990), b->times.max_ns, each);
  }
  fflush(stdout);
}

void bench_print_modes_head(void) {
  printf("\n%-21s %9s %7s %10s %10s %10s  %s\n", "an append", "a second",
         "MB/s", "half below", "99 % below", "longest", "a power cut takes");
}

void bench_print_mode(const bench_result *r) {
  char rate[SIZE_TEXT_BYTES];
  double records = per_second(r->records, r->elapsed_ns);
  rate_text(records, rate);
  printf("%-21s %8s%c %7.1f", r->mode->name, rate, r->mode->paced ? '*' : ' ',
         r->bytes_a_record * records / 1e6);
  print_duration(r->records, bench_times_bound(&r->appends, 500));
  print_duration(r->records, bench_times_bound(&r->appends, 990));
  print_duration(r->records, r->appends.max_ns);
  printf("  %s\n", r->loss);
  fflush(stdout);
}

static void print_syncs(const bench_report *r) {
  char each[SIZE_TEXT_BYTES];
  print_syncs_head("duralog's syncs");
  for (size_t i = 0; i < r->count; i++) {
    const bench_result *m = &r->results[i];
    each_text(m->written_known, m->written, m->syncs.count, each);
    print_syncs_row(m->mode->name, m->syncs.count,
                    tool_sync_bound(&m->syncs, 500),
                    tool_sync_bound(&m->syncs, 990), m->syncs.max_ns, each);
  }
}

/* ------------------------------------------------------------ advice -- */

#define ADVICE_BYTES 256
enum { ADVICE_MAX = 8 };

typedef struct advice {
  size_t count;
  char lines[ADVICE_MAX][ADVICE_BYTES];
} advice;

static char *advice_line(advice *a) { return a->lines[a->count++]; }

static const bench_result *find(const bench_report *r, const char *name) {
  for (size_t i = 0; i < r->count; i++)
    if (strcmp(r->results[i].mode->name, name) == 0) return &r->results[i];
  return NULL;
}

static void advise_on_cost(advice *a, const bench_report *r,
                           const bench_result *one) {
  char append[TOOL_DURATION_BYTES], bare[TOOL_DURATION_BYTES];
  tool_duration(bench_times_bound(&one->appends, 500), append);
  tool_duration(bench_times_bound(&r->bares[BENCH_OVER].times, 500), bare);
  snprintf(advice_line(a), ADVICE_BYTES,
           "A durable append takes %s here; the disk's share, a 4 KiB write "
           "and a sync, takes %s.",
           append, bare);
}

static void advise_on_sharing(advice *a, const bench_result *one,
                              const bench_result *eight,
                              const bench_result *hundred) {
  char alone[SIZE_TEXT_BYTES], shared[SIZE_TEXT_BYTES], many[SIZE_TEXT_BYTES];
  rate_text(per_second(one->records, one->elapsed_ns), alone);
  rate_text(per_second(eight->records, eight->elapsed_ns), shared);
  rate_text(per_second(hundred->records, hundred->elapsed_ns), many);
  snprintf(advice_line(a), ADVICE_BYTES,
           "Durable appends a second: %s by one thread, %s by eight that share "
           "syncs.",
           alone, shared);
  snprintf(advice_line(a), ADVICE_BYTES,
           "If a power cut may take the last 99 records, one thread appends "
           "%s a second.",
           many);
}

/* No flash writes in that time: something answers from a cache. */
#define SUSPICIOUS_SYNC_NS 40000u
#define MUCH_PER_SYNC_BYTES 65536u

static void advise_on_disk(advice *a, const bench_report *r,
                           const bench_result *one) {
  char text[SIZE_TEXT_BYTES];
  const bench_bare *bare = &r->bares[BENCH_OVER];
  uint64_t half = bench_times_bound(&bare->times, 500);
  if (bare->times.count > 0 && half < SUSPICIOUS_SYNC_NS)
    snprintf(advice_line(a), ADVICE_BYTES,
             "A sync that quick is answered from a cache. If that has no "
             "battery or capacitor, nothing here is durable.");
  if (r->place->counter != BENCH_DEVICE || !one->written_known ||
      one->syncs.count == 0 ||
      one->written / one->syncs.count < MUCH_PER_SYNC_BYTES)
    return;
  size_text((double)one->written / (double)one->syncs.count, text);
  snprintf(advice_line(a), ADVICE_BYTES,
           "The disk wrote %s for each sync: others were writing, or the file "
           "system writes far more than changed.",
           text);
}

static void advise(advice *a, const bench_report *r) {
  const bench_result *one = find(r, "every=1");
  const bench_result *eight = find(r, "every=1, 8 threads");
  const bench_result *hundred = find(r, "every=100");
  *a = (advice){0};
  if (one == NULL || eight == NULL || hundred == NULL) return;
  if (r->place->in_memory) {
    snprintf(advice_line(a), ADVICE_BYTES,
             "This file system is in memory: nothing here survives a power "
             "cut, in any mode.");
    return;
  }
  advise_on_cost(a, r, one);
  advise_on_sharing(a, one, eight, hundred);
  advise_on_disk(a, r, one);
}

void bench_print_rest(const bench_report *r) {
  advice a;
  print_syncs(r);
  advise(&a, r);
  puts(
      "\n* spread over the time, so that there are intervals. The other rates "
      "are as\n  fast as it goes; what waits for no sync is at first as fast "
      "as memory.\n");
  for (size_t i = 0; i < a.count; i++) puts(a.lines[i]);
}

/* -------------------------------------------------------------- JSON -- */

static void json_written(tool_json *json, bool known, uint64_t bytes,
                         uint64_t count) {
  if (known)
    tool_json_number(json, "written_bytes", bytes);
  else
    tool_json_null(json, "written_bytes");
  if (known && count > 0)
    tool_json_number(json, "written_bytes_per_sync", bytes / count);
  else
    tool_json_null(json, "written_bytes_per_sync");
}

static void json_times(tool_json *json, const char *name, uint64_t count,
                       uint64_t half, uint64_t most, uint64_t max) {
  tool_json_open(json, name, '{');
  tool_json_number(json, "count", count);
  tool_json_number(json, "p50_ns", half);
  tool_json_number(json, "p99_ns", most);
  tool_json_number(json, "max_ns", max);
  tool_json_close(json, '}');
}

static void json_bare(tool_json *json, const bench_bare *b) {
  tool_json_open(json, NULL, '{');
  tool_json_string(json, "name", b->name);
  json_times(json, "syncs", b->times.count, bench_times_bound(&b->times, 500),
             bench_times_bound(&b->times, 990), b->times.max_ns);
  json_written(json, b->written_known, b->written, b->times.count);
  tool_json_close(json, '}');
}

static void json_mode(tool_json *json, const bench_result *r) {
  const bench_mode *m = r->mode;
  tool_json_open(json, NULL, '{');
  tool_json_string(json, "name", m->name);
  tool_json_number(json, "every_records", m->durability.sync_every_records);
  tool_json_number(json, "every_bytes", m->durability.sync_every_bytes);
  tool_json_number(json, "interval_ms", m->durability.sync_interval_ms);
  tool_json_bool(json, "pagecache", m->durability.pagecache);
  tool_json_bool(json, "strict", m->strict);
  tool_json_bool(json, "paced", m->paced);
  tool_json_number(json, "threads", m->threads);
  tool_json_string(json, "power_cut_takes", r->loss);
  tool_json_number(json, "records", r->records);
  tool_json_number(json, "elapsed_ns", r->elapsed_ns);
  double rate = per_second(r->records, r->elapsed_ns);
  tool_json_number(json, "records_per_second", (uint64_t)rate);
  tool_json_number(json, "bytes_per_second",
                   (uint64_t)(r->bytes_a_record * rate));
  json_times(json, "appends", r->records, bench_times_bound(&r->appends, 500),
             bench_times_bound(&r->appends, 990), r->appends.max_ns);
  json_times(json, "syncs", r->syncs.count, tool_sync_bound(&r->syncs, 500),
             tool_sync_bound(&r->syncs, 990), r->syncs.max_ns);
  tool_json_number(json, "syncs_total_ns", r->syncs.total_ns);
  json_written(json, r->written_known, r->written, r->syncs.count);
  tool_json_close(json, '}');
}

static void json_place(tool_json *json, const bench_report *r) {
  static const char *const counters[] = {NULL, "device", "process"};
  char number[32];
  tool_json_string(json, "directory", r->place->path);
  tool_json_string(json, "file_system", r->place->file_system);
  tool_json_string(json, "device", r->place->device);
  snprintf(number, sizeof number, "%u:%u", r->place->major, r->place->minor);
  tool_json_string(json, "device_number", number);
  tool_json_bool(json, "in_memory", r->place->in_memory);
  if (r->place->counter == BENCH_UNKNOWN)
    tool_json_null(json, "written_counted_by");
  else
    tool_json_string(json, "written_counted_by", counters[r->place->counter]);
  if (r->idle_known)
    tool_json_number(json, "idle_bytes_per_second", r->idle_bytes);
  else
    tool_json_null(json, "idle_bytes_per_second");
}

void bench_print_json(const bench_report *r) {
  tool_json json = {.out = stdout};
  advice a;
  advise(&a, r);
  tool_json_open(&json, NULL, '{');
  json_place(&json, r);
  tool_json_number(&json, "seconds", r->seconds);
  tool_json_number(&json, "record_bytes", r->record_bytes);
  tool_json_open(&json, "bare", '[');
  for (int i = 0; i < BENCH_BARES; i++) json_bare(&json, &r->bares[i]);
  tool_json_close(&json, ']');
  tool_json_open(&json, "modes", '[');
  for (size_t i = 0; i < r->count; i++) json_mode(&json, &r->results[i]);
  tool_json_close(&json, ']');
  tool_json_open(&json, "advice", '[');
  for (size_t i = 0; i < a.count; i++)
    tool_json_string(&json, NULL, a.lines[i]);
  tool_json_close(&json, ']');
  tool_json_end(&json);
}
