/* SPDX-License-Identifier: MIT
 *
 * Time, samples and intervals.
 */
#include "harness.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

void pause_ms(uint32_t ms) {
  struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                       .tv_nsec = (long)(ms % 1000) * 1000000};
  while (nanosleep(&t, &t) != 0)
    ;
}

/* ------------------------------------------------------------- series -- */

void series_add(series *all, double value) {
  assert(all->count < SERIES_MAX);
  all->value[all->count++] = value;
}

void series_keep_best(series *best, const series *other) {
  if (best->count == 0) *best = *other;
  assert(best->count == other->count);
  for (size_t i = 0; i < best->count; i++)
    if (other->value[i] > best->value[i]) best->value[i] = other->value[i];
}

series series_ratio(const series *above, const series *below) {
  assert(above->count == below->count);
  series ratio = {0};
  for (size_t i = 0; i < above->count; i++)
    series_add(&ratio, above->value[i] / below->value[i]);
  return ratio;
}

static int compare_double(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/*
 * How many sorted samples may be left out at each end so that the rest still
 * covers the median with 95 %: it is missed when all samples but k or fewer
 * lie on one side, which is a fair coin falling so n times. SIZE_MAX: even
 * the whole range does not cover it.
 */
static size_t samples_left_out(size_t n) {
  double term = 1, below = 0;
  size_t k = 0;
  for (size_t i = 0; i < n; i++) term /= 2;
  for (; k < n; k++) {
    below += term;
    if (2 * below > 0.05) break;
    term *= (double)(n - k) / (double)(k + 1);
  }
  return k == 0 ? SIZE_MAX : k - 1;
}

estimate estimate_of(const series *all) {
  double v[SERIES_MAX];
  size_t n = all->count;
  assert(n > 0);
  memcpy(v, all->value, n * sizeof v[0]);
  qsort(v, n, sizeof v[0], compare_double);

  size_t out = samples_left_out(n);
  estimate e = {.sure = out != SIZE_MAX};
  if (!e.sure) out = 0;
  e.median = (v[(n - 1) / 2] + v[n / 2]) / 2;
  e.least = v[0];
  e.most = v[n - 1];
  e.low = v[out];
  e.high = v[n - 1 - out];
  return e;
}

/* ---------------------------------------------------------- latencies -- */

bool latencies_make(latencies *all, size_t room) {
  *all = (latencies){.room = room, .ns = malloc(room * sizeof *all->ns)};
  return all->ns != NULL;
}

void latencies_add(latencies *all, uint64_t ns) {
  assert(all->count < all->room);
  all->ns[all->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static int compare_ns(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

double latencies_percentile(latencies *all, double percent) {
  assert(all->count > 0);
  qsort(all->ns, all->count, sizeof *all->ns, compare_ns);
  size_t rank = (size_t)(percent / 100 * (double)all->count);
  return (double)all->ns[rank < all->count ? rank : all->count - 1];
}

void latencies_free(latencies *all) {
  free(all->ns);
  *all = (latencies){0};
}
