/* SPDX-License-Identifier: MIT
 *
 * The table that ends "make demo": what each durability mode loses when the
 * power is cut, over many cuts of a simulated disk.
 *
 *   power_table             all of it
 *   power_table MODE CUT    one cut, by the mode's name and the cut's number
 *
 * Each cut is a world of its own, and all that happens in it follows from its
 * number: so a line replays it, and the table is the same on every machine.
 * What is appended are lines of this library's sources; so run it at the top of
 * the repository. SKIP=data (or another place of lib/io.h that syncs) makes
 * these syncs do nothing: a way to see the verdict turn.
 *
 * Exit code 0 only if every cut kept what its mode promises.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "format.h"
#include "model.h"
#include "support_sim.h"

enum {
  CUTS = 2000,
  EVENTS_MAX = 400, /* the power fails at one of so many */
  BATCH_MAX = 4,
  STEP_NS_MAX = 2000 * 1000, /* between two calls of the host */
  PAUSE_NS_MAX = 15000 * 1000
};

struct row {
  const char *title;
  struct crash_mode mode; /* its name is for the command line */
};

/* As in examples/demo.c, with numbers so small that a cut reaches them. */
static const struct row rows[] = {
    {"every record (default)", {.name = "every-record"}},
    {"every 10 records",
     {.name = "every-10", .durability = {.sync_every_records = 10}}},
    {"every 4 KiB",
     {.name = "every-4-KiB", .durability = {.sync_every_bytes = 4096}}},
    {"every 20 ms",
     {.name = "every-20-ms", .durability = {.sync_interval_ms = 20}}},
    {"pagecache", {.name = "pagecache", .durability = {.pagecache = true}}},
    {"25 records or 20 ms",
     {.name = "25-or-20-ms",
      .durability = {.sync_every_records = 25, .sync_interval_ms = 20}}},
    {"every record, strict", {.name = "strict", .strict = true}},
    {"every 10, pad_syncs",
     {.name = "pad-syncs",
      .durability = {.sync_every_records = 10},
      .pad_syncs = true}},
};

enum { ROWS = sizeof rows / sizeof *rows };

_Static_assert(EVENTS_MAX *BATCH_MAX <= MODEL_RECORDS_MAX,
               "a cut comes before the model is full");

static demo_lines lines;

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static uint64_t random_below(uint64_t *state, uint64_t limit) {
  return random_next(state) % limit;
}

/* -------------------------------------------------------------- input -- */

static bool load(const char *pattern) {
  glob_t files = {0};
  bool good = glob(pattern, 0, NULL, &files) == 0;
  for (size_t i = 0; good && i < files.gl_pathc; i++)
    good = demo_lines_load(&lines, files.gl_pathv[i]);
  globfree(&files);
  return good;
}

static bool load_input(void) {
  if (demo_lines_create(&lines) && load("lib/*.[ch]") && load("include/*.h") &&
      lines.count > 0)
    return true;
  fputs("power_table: no lib/*.[ch]: run it at the top of the repository\n",
        stderr);
  return false;
}

static uint32_t line_size(size_t line) {
  return (uint32_t)min_u64(lines.lines[line].size, MODEL_RECORD_BYTES_MAX);
}

static const char *line_bytes(size_t line) {
  return lines.bytes + lines.lines[line].position;
}

/* The model's records are lines: their content is the line's number. */
static void fill(const struct model_record *record, uint8_t *to) {
  memcpy(to, line_bytes(record->content), record->size);
}

/* ------------------------------------------------- the life until then -- */

/* One cut, and what came of it. */
struct cut {
  struct sim *sim;
  duralog *log;
  duralog_options options;
  struct model model;
  uint64_t random, at_event;
  size_t line; /* the next one */
  uint64_t recovered, lost, lost_bytes, lost_ns;
  const char *wrong;   /* NULL: all is as promised */
  duralog_error error; /* the call's, if it is a call that went wrong */
};

static void must(struct cut *c, duralog_error e, const char *what) {
  if (!e || c->wrong) return;
  c->wrong = what;
  c->error = e;
}

static void open_log(struct cut *c, duralog_report *report) {
  duralog_error e = duralog_open("/log", &c->options, &c->log, report, NULL);
  must(c, e, "I6: the log cannot be opened");
}

/* Show the host how far it is durable: from then on it is a promise. */
static void look(struct cut *c) {
  duralog_watermarks w = {.struct_size = sizeof w};
  must(c, duralog_get_watermarks(c->log, &w), "no watermarks");
  model_saw(&c->model, w.end, w.durable);
}

static void append(struct cut *c, size_t count) {
  duralog_entry entries[BATCH_MAX] = {0};
  for (size_t i = 0; i < count; i++) {
    uint32_t size = line_size(c->line);
    model_add(&c->model, size, false)->content = (uint32_t)c->line;
    entries[i].data = line_bytes(c->line);
    entries[i].size = size;
    c->line = (c->line + 1) % lines.count;
  }
  must(
      c,
      duralog_append_batch(c->log, entries, count, DURALOG_LEVEL_DEFAULT, NULL),
      "an append failed");
  model_returned(&c->model, DURALOG_LEVEL_DEFAULT, sim_now(c->sim));
}

static void tick(struct cut *c) {
  must(c, duralog_tick(c->log), "a tick failed");
  c->model.called_ns = sim_now(c->sim);
}

static void step(struct cut *c) {
  sim_advance(c->sim, random_below(&c->random, STEP_NS_MAX));
  switch (random_below(&c->random, 32)) {
    case 0: must(c, duralog_sync(c->log), "a sync failed"); break;
    case 1:
      sim_advance(c->sim, random_below(&c->random, PAUSE_NS_MAX));
      tick(c);
      break;
    case 2:
    case 3:
    case 4:
    case 5: tick(c); break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
    case 11: append(c, 2 + random_below(&c->random, BATCH_MAX - 1)); break;
    default: append(c, 1);
  }
  look(c);
}

/* Until the power is cut: each append has an event or more, so that it is cut
 * before the model is full. */
static void live(struct cut *c) {
  if (setjmp(*sim_cut_point(c->sim))) return;
  sim_cut_at(c->sim, c->at_event);
  open_log(c, NULL);
  while (!c->wrong && c->model.count + BATCH_MAX <= MODEL_RECORDS_MAX) step(c);
  if (!c->wrong) c->wrong = "the power was never cut";
}

/* ----------------------------------------------------- what came of it -- */

static void measure_loss(struct cut *c) {
  const struct model *m = &c->model;
  uint64_t end = c->recovered;
  if (end >= m->acknowledged) return;
  c->lost = m->acknowledged - end;
  c->lost_bytes = m->records[m->acknowledged - 1].bytes -
                  (end ? m->records[end - 1].bytes : 0);
  c->lost_ns = m->called_ns - m->records[end].appended_ns;
}

static void recover(struct cut *c) {
  duralog_report report = {.struct_size = sizeof report};
  sim_restart(c->sim, random_next(&c->random));
  c->log = NULL;
  open_log(c, &report);
  if (!c->wrong) c->recovered = report.end;
  measure_loss(c);
  if (c->wrong) return;
  c->wrong = model_check(&c->model, CRASH_POWER, c->log, report.end);
  must(c, duralog_close(&c->log), "the recovered log cannot be closed");
}

/* The same mode and number: the same cut. */
static void run_cut(struct cut *c, const struct row *row, uint64_t number) {
  memset(c, 0, sizeof *c);
  c->random = number * ROWS + (uint64_t)(row - rows);
  c->sim = world_new();
  c->options = (duralog_options){.struct_size = sizeof c->options,
                                 .durability = row->mode.durability,
                                 .strict = row->mode.strict,
                                 .pad_syncs = row->mode.pad_syncs,
                                 .segment_bytes = SEGMENT_BYTES_MIN,
                                 .host_driven = true,
                                 .environment = sim_environment(c->sim)};
  c->model.mode = &row->mode;
  c->model.fill = fill;
  c->at_event = 1 + random_below(&c->random, EVENTS_MAX);
  c->line = random_below(&c->random, lines.count);
  live(c);
  if (!c->wrong) recover(c);
  sim_free(c->sim);
}

/* -------------------------------------------------------------- table -- */

struct sums {
  uint64_t appended, promised, recovered, lost;
  uint64_t most, most_bytes, most_ns; /* lost in one cut */
  uint64_t broken, first_broken;      /* how many; which */
  const char *wrong;                  /* with the first one */
};

typedef char words[64];

/* 1234567 as 1,234,567. */
static const char *grouped(words out, uint64_t number) {
  words digits;
  int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
  char *to = out;
  for (int i = 0; i < count; i++) {
    if (i > 0 && (count - i) % 3 == 0) *to++ = ',';
    *to++ = digits[i];
  }
  *to = '\0';
  return out;
}

static void print_explanation(void) {
  fputs(
      "\n"
      "Now the power is cut: that of a simulated disk and clock. Lines of\n"
      "lib/*.[ch] are appended, one by one and in batches, time passes, and\n"
      "the power fails at a random moment: before a call that changes a file,\n"
      "or between two stores to memory. Of what was not synced by then,\n"
      "anything may be left: each sector of 512 bytes old, new, in between or\n"
      "torn; the size and the name of a file, each the old or the new one.\n"
      "The log is reopened on that, and each record compared with its line.\n"
      "\n"
      "  appended         records whose appends had returned, over all cuts\n"
      "  promised         of these, reported by then to be durable\n"
      "  recovered        records after reopening; those of an append that\n"
      "                   was cut short may be among them\n"
      "  lost             appended and not recovered\n"
      "  most in one cut  of these, also in the unit of the mode's bound\n"
      "  allowed to lose  in one cut; never a promised record\n"
      "  verdict          \"kept\" if in each cut no promised record is "
      "missing,\n"
      "                   no more is lost than allowed, and what is there is\n"
      "                   what was appended, in order, in whole batches\n"
      "\n",
      stdout);
}

static void print_head(void) {
  printf("%-22s %6s %9s %9s %9s %8s  %-23s  %-27s  %s\n", "mode", "cuts",
         "appended", "promised", "recovered", "lost", "most in one cut",
         "allowed to lose", "verdict");
}

/* The bounds that model_check holds each cut to. */
static const char *allowed(words out, const struct crash_mode *mode) {
  words number;
  uint64_t records = model_records_bound(mode), bytes = model_bytes_bound(mode);
  uint32_t interval = mode->durability.sync_interval_ms;
  int n = 0;
  snprintf(out, sizeof(words), "what was not synced");
  if (records == 0) snprintf(out, sizeof(words), "nothing");
  if (records > 0 && records != UINT64_MAX)
    n = snprintf(out, sizeof(words), "%s records", grouped(number, records));
  if (bytes != UINT64_MAX)
    n = snprintf(out, sizeof(words), "%s bytes", grouped(number, bytes));
  if (interval)
    snprintf(out + n, sizeof(words) - (size_t)n, "%s%u ms + 2 syncs",
             n ? ", " : "", interval);
  return out;
}

static const char *most(words out, const struct crash_mode *mode,
                        const struct sums *s) {
  words number;
  int n = snprintf(out, sizeof(words), "%s records", grouped(number, s->most));
  size_t left = sizeof(words) - (size_t)n;
  if (s->most == 0)
    snprintf(out, sizeof(words), "nothing");
  else if (mode->durability.sync_every_bytes)
    snprintf(out + n, left, ", %s bytes", grouped(number, s->most_bytes));
  else if (mode->durability.sync_interval_ms)
    snprintf(out + n, left, ", %.1f ms", (double)s->most_ns / 1e6);
  return out;
}

static void print_replay(const char *self, const struct row *row,
                         uint64_t number) {
  const char *skip = getenv("SKIP");
  printf("%s%s%s%s %s %" PRIu64, skip ? "SKIP=" : "", skip ? skip : "",
         skip ? " " : "", self, row->mode.name, number);
}

static void print_row(const char *self, const struct row *row,
                      const struct sums *s) {
  words cuts, appended, promised, recovered, lost, most_lost, may_lose;
  printf("%-22s %6s %9s %9s %9s %8s  %-23s  %-27s  %s\n", row->title,
         grouped(cuts, CUTS), grouped(appended, s->appended),
         grouped(promised, s->promised), grouped(recovered, s->recovered),
         grouped(lost, s->lost), most(most_lost, &row->mode, s),
         allowed(may_lose, &row->mode), s->broken ? "BROKEN" : "kept");
  if (!s->broken) return;
  printf("  in %s of the cuts, first: %s\n  replay: ", grouped(cuts, s->broken),
         s->wrong);
  print_replay(self, row, s->first_broken);
  putchar('\n');
}

static void add(struct sums *s, const struct cut *c, uint64_t number) {
  s->appended += c->model.acknowledged;
  s->promised += c->model.promised;
  s->recovered += c->recovered;
  s->lost += c->lost;
  s->most = max_u64(s->most, c->lost);
  s->most_bytes = max_u64(s->most_bytes, c->lost_bytes);
  s->most_ns = max_u64(s->most_ns, c->lost_ns);
  if (!c->wrong) return;
  if (s->broken++ > 0) return;
  s->first_broken = number;
  s->wrong = c->wrong;
}

static int table(const char *self) {
  static struct cut cut;
  uint64_t compared = 0, broken = 0;
  words cuts, records;
  print_explanation();
  print_head();
  for (const struct row *row = rows; row < rows + ROWS; row++) {
    struct sums sums = {0};
    fflush(stdout);
    for (uint64_t number = 1; number <= CUTS; number++) {
      run_cut(&cut, row, number);
      add(&sums, &cut, number);
    }
    print_row(self, row, &sums);
    compared += sums.recovered;
    broken += sums.broken;
  }
  printf("\n%s cuts, %s records compared: %s.\n", grouped(cuts, ROWS * CUTS),
         grouped(records, compared),
         broken ? "promises are BROKEN" : "everything promised was there");
  return broken ? 1 : 0;
}

/* ----------------------------------------------------------- one alone -- */

static const struct row *row_named(const char *name) {
  for (const struct row *row = rows; row < rows + ROWS; row++)
    if (strcmp(row->mode.name, name) == 0) return row;
  fprintf(stderr, "power_table: no mode %s; there are", name);
  for (const struct row *row = rows; row < rows + ROWS; row++)
    fprintf(stderr, " %s", row->mode.name);
  fputc('\n', stderr);
  return NULL;
}

static int replay(const char *mode, const char *number) {
  static struct cut c;
  words may_lose;
  const struct row *row = row_named(mode);
  if (!row) return 2;
  run_cut(&c, row, strtoull(number, NULL, 10));
  printf("%s, cut %s: the power fails at event %" PRIu64 "\n", row->title,
         number, c.at_event);
  printf("  appended   %" PRIu64 "\n", c.model.acknowledged);
  printf("  promised   %" PRIu64 "\n", c.model.promised);
  printf("  recovered  %" PRIu64 "\n", c.recovered);
  printf("  lost       %" PRIu64 " records, %" PRIu64 " bytes, %.1f ms\n",
         c.lost, c.lost_bytes, (double)c.lost_ns / 1e6);
  printf("  allowed    %s\n", allowed(may_lose, &row->mode));
  printf("  verdict    %s%s\n", c.wrong ? "BROKEN: " : "kept",
         c.wrong ? c.wrong : "");
  if (c.error) printf("             %s\n", duralog_error_text(c.error));
  return c.wrong ? 1 : 0;
}

int main(int argc, char **argv) {
  if (argc != 1 && argc != 3) {
    fprintf(stderr, "usage: %s [MODE CUT]\n", argv[0]);
    return 2;
  }
  int code = 1;
  if (load_input())
    code = argc == 3 ? replay(argv[1], argv[2]) : table(argv[0]);
  demo_lines_free(&lines);
  return code;
}
