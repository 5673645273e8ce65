/* SPDX-License-Identifier: MIT
 *
 * Durable appends by one thread: of 100 bytes, which is the goal's, and larger
 * ones, which come to a block that was never written more often.
 */
#include <stdio.h>
#include <string.h>

#include "experiments.h"
#include "pair.h"

#define SLICE_APPENDS 100u
#define LARGER_SLICES 2u
#define LARGER 1000u
#define LARGEST 4000u

typedef struct durable_run {
  pair both;
  size_t slices; /* per round */
  series rate[2];
  latencies each[2];
} durable_run;

static bool durable_round(durable_run *it, const workload *work) {
  uint64_t ns[2] = {0, 0};
  for (size_t slice = 0; slice < it->slices; slice++)
    for (size_t turn = 0; turn < 2; turn++) {
      int k = (int)((slice + turn) % 2);
      if (!pair_append(&it->both, k, work, &it->each[k], &ns[k])) return false;
    }
  for (int k = 0; k < 2; k++)
    series_add(&it->rate[k],
               (double)(it->slices * work->count) * 1e9 / (double)ns[k]);
  return true;
}

static void durable_percentiles(const char *who, latencies *each) {
  static const struct {
    const char *name;
    double percent;
  } all[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};
  char text[128] = "", label[80];
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    series one = {.count = 1,
                  .value = {latencies_percentile(each, all[i].percent)}};
    size_t at = strlen(text);
    snprintf(text + at, sizeof text - at, "%s%s %.1f us", i ? ", " : "",
             all[i].name, one.value[0] / 1e3);
    snprintf(label, sizeof label, "durable, %s %s", who, all[i].name);
    table_result(label, UNIT_NS, &one);
  }
  table_text("", text);
}

static void durable_report(durable_run *it) {
  static const char *const rate_label[] = {"duralog", "raw: pwrite, fdatasync"};
  series ratio = series_ratio(&it->rate[0], &it->rate[1]);
  for (int k = 0; k < 2; k++) {
    table_series(rate_label[k], UNIT_RATE, &it->rate[k]);
    durable_percentiles(k ? "raw" : "duralog", &it->each[k]);
  }
  table_figure("4: durable append, 1 thread, vs raw", "durable_1thread_vs_raw",
               UNIT_PLAIN, &ratio, (goal){GOAL_AT_LEAST, 0.95});
}

static void larger_report(durable_run *it, size_t size) {
  const char *label = "durable append, 1,000 B, 1 thread, vs raw";
  const char *name = "durable_1000B_vs_raw";
  series ratio = series_ratio(&it->rate[0], &it->rate[1]);
  if (size == LARGEST) {
    label = "durable append, 4,000 B, 1 thread, vs raw";
    name = "durable_4000B_vs_raw";
  }
  table_figure(label, name, UNIT_PLAIN, &ratio, no_goal);
}

static bool durable_rounds(durable_run *it, size_t size, const settings *with) {
  workload work = workload_make(size, SLICE_APPENDS, 0);
  uint64_t warm_ns = 0;
  size_t room = with->rounds * it->slices * SLICE_APPENDS;
  for (int k = 0; k < 2; k++)
    if (!latencies_make(&it->each[k], room) ||
        !pair_append(&it->both, k, &work, NULL, &warm_ns))
      return false;
  for (size_t r = 0; r < with->rounds; r++)
    if (!pair_advance(&it->both) || !durable_round(it, &work)) return false;
  return true;
}

static bool durable_of(size_t size, size_t slices, const settings *with) {
  durable_run it = {.slices = slices};
  bool good =
      pair_open(&it.both, with->scratch) && durable_rounds(&it, size, with);
  if (good && size == DURABLE_SIZE)
    durable_report(&it);
  else if (good)
    larger_report(&it, size);
  pair_close(&it.both);
  for (int k = 0; k < 2; k++) latencies_free(&it.each[k]);
  return good;
}

bool experiment_durable(const settings *with) {
  static const size_t larger[] = {LARGER, LARGEST};
  table_section("Durable append, 100 B, 1 thread",
                "slices of 100 appends in turn");
  bool good = durable_of(DURABLE_SIZE, with->quick ? 5 : 10, with);
  for (size_t i = 0; i < 2 && good && !with->quick; i++)
    good = durable_of(larger[i], LARGER_SLICES, with);
  return good;
}
