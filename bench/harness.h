/* SPDX-License-Identifier: MIT
 *
 * Time, series of samples, intervals, verdicts and the printed table.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t now_ns(void);
uint64_t thread_cpu_ns(void); /* that the calling thread was given */
void pause_ms(uint32_t ms);

/* One sample per round. */
#define SERIES_MAX 128
typedef struct series {
  size_t count;
  double value[SERIES_MAX];
} series;

void series_add(series *all, double value);
/* Round by round the greater one; an empty `best` takes all over. */
void series_keep_best(series *best, const series *other);
/* Round by round: above / below. Both have as many samples. */
series series_ratio(const series *above, const series *below);

/*
 * The median, and an interval that holds the true median with at least 95 %
 * probability whatever the distribution: two of the sorted samples, chosen by
 * the binomial distribution. It needs six samples; with fewer it is the whole
 * range and not `sure`.
 */
typedef struct estimate {
  double median, low, high; /* the interval */
  double least, most;       /* the range */
  bool sure;
} estimate;

estimate estimate_of(const series *all);

/* Latencies of single operations. */
typedef struct latencies {
  size_t count, room;
  uint32_t *ns;
} latencies;

bool latencies_make(latencies *all, size_t room);
void latencies_add(latencies *all, uint64_t ns);
double latencies_percentile(latencies *all, double percent); /* sorts */
void latencies_free(latencies *all);

typedef enum unit { UNIT_RATE, UNIT_NS, UNIT_BYTES, UNIT_PLAIN } unit;

typedef enum goal_kind { GOAL_NONE, GOAL_AT_LEAST, GOAL_AT_MOST } goal_kind;
typedef struct goal {
  goal_kind kind;
  double bound;
} goal;

static const goal no_goal = {GOAL_NONE, 0};

/* Printing. A figure with a name or a goal appears again at the end. */
/* From here on everything measured also goes into this file, a line each, under
 * the machine's name. False if it cannot be made. */
bool table_results(const char *path, const char *machine);
void table_section(const char *title, const char *note);
void table_series(const char *label, unit of, const series *all);
void table_text(const char *label, const char *text);
/* Into the file of results alone, from which is drawn. */
void table_result(const char *label, unit of, const series *all);
void table_figure(const char *label, const char *summary_name, unit of,
                  const series *all, goal wanted);
/* A figure that could not be measured. */
void table_unknown(const char *label, const char *summary_name, goal wanted,
                   const char *why);
/* The goals with their verdicts, then `name value` lines, these also into the
 * file. False if it could not be written. */
bool table_finish(const char *summary_path);

#endif
