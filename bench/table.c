/* SPDX-License-Identifier: MIT
 *
 * The printed table: lines as they are measured, verdicts and summary at the
 * end.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

#define FIGURES_MAX 256

typedef struct figure {
  const char *label, *summary_name;
  unit of;
  goal wanted;
  bool known;
  estimate value;
} figure;

static figure figures[FIGURES_MAX];
static size_t figure_count;
static FILE *results; /* what table_results opened; NULL: nowhere */
static char section[128];

bool table_results(const char *path, const char *machine) {
  results = fopen(path, "w");
  if (results)
    fprintf(results,
            "# %s\n# section\tlabel\tunit\tmedian\tleast\tmost\trounds\n",
            machine);
  else
    fprintf(stderr, "bench: %s: %s\n", path, strerror(errno));
  return results != NULL;
}

void table_result(const char *label, unit of, const series *all) {
  static const char *const units[] = {[UNIT_RATE] = "records/s",
                                      [UNIT_NS] = "ns",
                                      [UNIT_BYTES] = "bytes",
                                      [UNIT_PLAIN] = "ratio"};
  estimate e = estimate_of(all);
  if (!results) return;
  fprintf(results, "%s\t%s\t%s\t%.6g\t%.6g\t%.6g\t%zu\n", section, label,
          units[of], e.median, e.least, e.most, all->count);
  fflush(results);
}

static void format(char *text, size_t size, unit of, double v) {
  switch (of) {
    case UNIT_RATE:
      if (v >= 1e6)
        snprintf(text, size, "%.2f M/s", v / 1e6);
      else
        snprintf(text, size, "%.2f k/s", v / 1e3);
      break;
    case UNIT_NS:
      if (v >= 1e6)
        snprintf(text, size, "%.2f ms", v / 1e6);
      else if (v >= 1e3)
        snprintf(text, size, "%.1f us", v / 1e3);
      else
        snprintf(text, size, "%.1f ns", v);
      break;
    case UNIT_BYTES: snprintf(text, size, "%.0f B", v); break;
    case UNIT_PLAIN: snprintf(text, size, "%.3f", v); break;
  }
}

/* The interval is what counts; its excess over the bound is not undecided. */
static const char *verdict(const figure *f) {
  const estimate *e = &f->value;
  double bound = f->wanted.bound;
  if (!f->known) return "undecided: not measured";
  if (!e->sure) return "undecided: fewer than six rounds";
  if (f->wanted.kind == GOAL_AT_LEAST)
    return e->low >= bound ? "met" : e->high < bound ? "not met" : "undecided";
  return e->high <= bound ? "met" : e->low > bound ? "not met" : "undecided";
}

static void format_goal(char *text, size_t size, const figure *f) {
  char bound[32];
  format(bound, sizeof bound, f->of, f->wanted.bound);
  snprintf(text, size, "%s %s",
           f->wanted.kind == GOAL_AT_LEAST ? ">=" : "<=", bound);
}

/* ----------------------------------------------------- while measuring -- */

void table_section(const char *title, const char *note) {
  snprintf(section, sizeof section, "%s", title);
  printf("\n%s\n", title);
  if (note) printf("  %s\n", note);
  printf("  %-46s %12s   %s\n", "", "median", "range");
  fflush(stdout);
}

void table_series(const char *label, unit of, const series *all) {
  char median[32], least[32], most[32];
  estimate e = estimate_of(all);
  format(median, sizeof median, of, e.median);
  format(least, sizeof least, of, e.least);
  format(most, sizeof most, of, e.most);
  printf("  %-46s %12s   %s .. %s\n", label, median, least, most);
  fflush(stdout);
  table_result(label, of, all);
}

void table_text(const char *label, const char *text) {
  printf("  %-46s %12s\n", label, text);
  fflush(stdout);
}

static figure *remember(const char *label, const char *name, unit of,
                        goal wanted) {
  assert(figure_count < FIGURES_MAX);
  figure *f = &figures[figure_count++];
  *f = (figure){
      .label = label, .summary_name = name, .of = of, .wanted = wanted};
  return f;
}

static void print_figure(const figure *f, size_t rounds) {
  char median[32], low[32], high[32], wanted[48];
  format(median, sizeof median, f->of, f->value.median);
  format(low, sizeof low, f->of, f->value.low);
  format(high, sizeof high, f->of, f->value.high);
  printf("  %-46s %12s   %s %s .. %s, %zu rounds", f->label, median,
         f->value.sure ? "95 %" : "only the range", low, high, rounds);
  if (f->wanted.kind != GOAL_NONE) {
    format_goal(wanted, sizeof wanted, f);
    printf("; goal %s: %s", wanted, verdict(f));
  }
  putchar('\n');
  fflush(stdout);
}

void table_figure(const char *label, const char *summary_name, unit of,
                  const series *all, goal wanted) {
  figure *f = remember(label, summary_name, of, wanted);
  f->known = true;
  f->value = estimate_of(all);
  print_figure(f, all->count);
  table_result(label, of, all);
}

void table_unknown(const char *label, const char *summary_name, goal wanted,
                   const char *why) {
  remember(label, summary_name, UNIT_BYTES, wanted);
  printf("  %-46s %12s   %s\n", label, "unknown", why);
}

/* ----------------------------------------------------------- at the end -- */

static void print_verdicts(void) {
  printf("\n%-44s %10s  %-23s %-11s %s\n", "Goals", "figure", "95 % interval",
         "goal", "verdict");
  for (size_t i = 0; i < figure_count; i++) {
    const figure *f = &figures[i];
    char median[32] = "unknown", low[32] = "", high[32] = "", wanted[48];
    char interval[80] = "";
    if (f->wanted.kind == GOAL_NONE) continue;
    if (f->known) {
      format(median, sizeof median, f->of, f->value.median);
      format(low, sizeof low, f->of, f->value.low);
      format(high, sizeof high, f->of, f->value.high);
      snprintf(interval, sizeof interval, "%s .. %s", low, high);
    }
    format_goal(wanted, sizeof wanted, f);
    printf("%-44s %10s  %-23s %-11s %s\n", f->label, median, interval, wanted,
           verdict(f));
  }
}

static void print_summary(FILE *to) {
  for (size_t i = 0; i < figure_count; i++) {
    const figure *f = &figures[i];
    if (!f->summary_name) continue;
    if (!f->known) {
      fprintf(to, "%s unknown\n", f->summary_name);
      continue;
    }
    int digits = f->of == UNIT_BYTES ? 0 : 4;
    fprintf(to, "%s %.*f\n", f->summary_name, digits, f->value.median);
    if (!f->value.sure) continue; /* no interval */
    fprintf(to, "%s_low %.*f\n%s_high %.*f\n", f->summary_name, digits,
            f->value.low, f->summary_name, digits, f->value.high);
  }
}

bool table_finish(const char *summary_path) {
  print_verdicts();
  putchar('\n');
  print_summary(stdout);
  if (results && fclose(results) != 0) perror("bench: results");
  results = NULL;
  FILE *file = fopen(summary_path, "w");
  if (file) print_summary(file);
  if (file && fclose(file) == 0) return true;
  fprintf(stderr, "bench: %s: %s\n", summary_path, strerror(errno));
  return false;
}
