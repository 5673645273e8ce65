/* SPDX-License-Identifier: MIT
 *
 * duralog tail: the end of a log, and with -f what is appended to it by another
 * process, over any number of writers.
 *
 * What was printed is a range of offsets and the epoch of its last record. A
 * record below the range's end is one that was printed, unless its epoch is
 * newer: then a writer has gone on from an earlier record than it, and that is
 * said. So it does not matter by which way the walk comes back to a place.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tool.h"

#define RECORDS_DEFAULT 10

enum place { LAST, START, OFFSET, TIME };

typedef struct settings {
  enum place place;
  uint64_t number; /* LAST: how many records; OFFSET: which */
  int64_t time_ms;
  bool counted, placed; /* which option said so */
  int64_t now_ms;
  bool follow, quiet;
  duralog_level level;
  tool_format format;
  const char *path;
} settings;

typedef struct tail {
  const settings *s;
  duralog *log;
  duralog_report report;
  tool_scan scan;
  uint64_t printed_to; /* 0: nothing yet */
  uint64_t epoch;      /* of the last record printed */
  const char *told;    /* what is waited for */
  uint64_t failed_at;  /* printed_to + 1 when a failed sync was told */
  int code;            /* what to exit with */
} tail;

/* ----------------------------------------------------------- printing -- */

/* Where both go to one place: in order. */
static void begin_message(const tail *t) {
  fflush(stdout);
  fprintf(stderr, "duralog: %s: ", t->s->path);
}

/* The log is another one from here on. */
static void diverged(tail *t, uint64_t offset) {
  if (offset >= t->printed_to) return;
  begin_message(t);
  fprintf(stderr, "records from %" PRIu64 " on were not those printed before\n",
          offset);
  t->printed_to = offset;
}

static void print_record(tail *t, const duralog_record *record) {
  if (record->offset < t->printed_to) {
    if (record->epoch <= t->epoch) return;
    diverged(t, record->offset);
  }
  tool_record_print(record, t->s->format, '\n');
  t->printed_to = record->offset + 1;
  t->epoch = record->epoch;
}

/* All there is: AT_END, or why not. */
static duralog_error print_all(tail *t) {
  duralog_record record;
  duralog_damage damage;
  for (;;) {
    duralog_error error = tool_scan_next(&t->scan, &record, &damage);
    if (error == DURALOG_OK) {
      print_record(t, &record);
    } else if (error == DURALOG_E_CORRUPT) {
      tool_left_out(&damage);
      t->code = TOOL_DAMAGE;
    } else {
      return error;
    }
    if (ferror(stdout) != 0) return DURALOG_E_AT_END;
    if (t->s->follow) tool_end_if_wanted();
  }
}

/* ------------------------------------------------------------- places -- */

/* To the offset, or the nearest place to it in the log. */
static duralog_error go_to(tail *t, uint64_t offset) {
  duralog_reader *reader = t->scan.reader;
  t->scan.over = false;
  duralog_error error = duralog_seek(reader, DURALOG_SEEK_OFFSET, offset);
  if (error != DURALOG_E_RANGE) return error;
  duralog_watermarks marks = {.struct_size = sizeof marks};
  error = duralog_get_watermarks(t->log, &marks);
  if (error != DURALOG_OK) return error;
  return duralog_seek(
      reader, offset < marks.start ? DURALOG_SEEK_START : DURALOG_SEEK_END, 0);
}

/* To where the last records begin. */
static duralog_error go_back(tail *t, uint64_t records) {
  uint64_t end;
  duralog_error error = duralog_seek(t->scan.reader, DURALOG_SEEK_END, 0);
  if (error == DURALOG_OK) error = duralog_tell(t->scan.reader, &end);
  if (error == DURALOG_OK) error = go_to(t, end > records ? end - records : 0);
  if (error == DURALOG_OK) error = duralog_tell(t->scan.reader, &t->scan.from);
  return error;
}

static int begin(tail *t) {
  const settings *s = t->s;
  tool_times times = {.has_since = s->place == TIME, .since_ms = s->time_ms};
  uint64_t from = s->place == OFFSET ? s->number : UINT64_MAX;
  duralog_error error = tool_scan_open(&t->scan, t->log, &t->report, s->level,
                                       from, UINT64_MAX, UINT64_MAX, &times);
  if (error == DURALOG_E_RANGE)
    return tool_fail_range(s->path, t->log, s->level, from);
  if (error == DURALOG_OK && s->place == LAST) error = go_back(t, s->number);
  if (error != DURALOG_OK)
    return tool_fail_on("reading", s->path, error, t->log);
  return TOOL_OK;
}

/* ---------------------------------------------------------- following -- */

static void leave(tail *t) {
  duralog_reader_close(&t->scan.reader);
  if (t->log != NULL) duralog_close(&t->log);
}

/* What is waited for, where that is something else than before. */
static void tell(tail *t, const char *text) {
  bool told = t->told != NULL && strcmp(t->told, text) == 0;
  t->told = text;
  if (told || t->s->quiet) return;
  begin_message(t);
  fprintf(stderr, "%s\n", text);
}

/* Back over what a writer since then has put in the place of others. */
static void step_back(tail *t) {
  duralog_record record;
  duralog_error error = DURALOG_OK;
  while (error == DURALOG_OK && t->printed_to > 0) {
    error = duralog_read_previous(t->scan.reader, &record);
    if (error == DURALOG_OK && record.epoch <= t->epoch) return;
  }
}

/* Where this handle will bring nothing more: it was opened where no writer
 * lived, or none that can be followed. Another one, a little later, may. */
static int open_again(tail *t, uint64_t offset) {
  static const struct timespec a_little = {.tv_nsec = 100 * 1000 * 1000};
  leave(t);
  tool_may_end();
  nanosleep(&a_little, NULL);
  tool_may_not_end();
  int code = tool_open_read_only(t->s->path, &t->log, &t->report);
  if (code != TOOL_OK) return code;
  duralog_error error =
      tool_scan_open(&t->scan, t->log, &t->report, t->s->level, UINT64_MAX,
                     UINT64_MAX, UINT64_MAX, NULL);
  if (error == DURALOG_OK) error = go_to(t, offset);
  if (error != DURALOG_OK)
    return tool_fail_on("following", t->s->path, error, t->log);
  t->scan.to = UINT64_MAX;
  step_back(t);
  return TOOL_OK;
}

/* A new writer's epoch: on from where the log is no more what it was. */
static int new_epoch(tail *t, uint64_t offset) {
  uint64_t divergence;
  duralog_error error =
      duralog_reader_divergence(t->scan.reader, &divergence, NULL);
  if (error == DURALOG_OK && divergence < offset) {
    diverged(t, divergence);
    error = go_to(t, divergence);
  }
  return error == DURALOG_OK
             ? TOOL_OK
             : tool_fail_on("following", t->s->path, error, t->log);
}

/* Everything is printed: until there is more. */
static duralog_error wait_for_more(tail *t) {
  duralog_error error = DURALOG_OK;
  if (t->scan.over) /* in damage whose end is not there yet */
    error = go_to(t, UINT64_MAX);
  if (error != DURALOG_OK || fflush(stdout) != 0) return error;
  tool_may_end();
  error = duralog_reader_wait(t->scan.reader, -1);
  tool_may_not_end();
  return error;
}

/* What to do about it: OK to go on, or an exit code. */
static int answer(tail *t, duralog_error error) {
  uint64_t offset = 0;
  (void)duralog_tell(t->scan.reader, &offset);
  switch (error) {
    case DURALOG_OK: return TOOL_OK;
    case DURALOG_E_EPOCH: return new_epoch(t, offset);
    case DURALOG_E_NO_WRITER: /* once for each writer */
      t->told = NULL;
      tell(t, "no writer, waiting for one");
      return TOOL_OK;
    case DURALOG_E_POISONED:
      /* A new writer's open shows its predecessor's state for a moment. */
      if (t->failed_at != t->printed_to + 1)
        tell(t, "a sync of the writer failed, waiting for the next writer");
      t->failed_at = t->printed_to + 1;
      return open_again(t, offset);
    case DURALOG_E_READ_ONLY:
      tell(t,
           t->report.writer_lives
               ? "the writer cannot be followed yet, looking ten times a second"
               : "no writer, waiting for one");
      return open_again(t, offset);
    default: return tool_fail_on("following", t->s->path, error, t->log);
  }
}

static int follow(tail *t) {
  int code = TOOL_OK;
  t->scan.to = UINT64_MAX;
  for (bool first = true; code == TOOL_OK && ferror(stdout) == 0;) {
    duralog_error error = print_all(t);
    if (error == DURALOG_E_AT_END) {
      if (first && tool_left_out_unmet(&t->scan)) t->code = TOOL_DAMAGE;
      first = false;
      error = wait_for_more(t);
    }
    code = answer(t, error);
  }
  return code;
}

/* ------------------------------------------------------------ command -- */

static int print_once(tail *t) {
  duralog_error error = print_all(t);
  if (error != DURALOG_E_AT_END)
    return tool_fail_on("reading", t->s->path, error, t->log);
  if (tool_left_out_unmet(&t->scan)) t->code = TOOL_DAMAGE;
  return TOOL_OK;
}

static int tail_log(const settings *s) {
  tail t = {.s = s, .code = TOOL_OK};
  if (s->follow && !tool_ending_begin(&t.code, NULL))
    return tool_fail("following", s->path, DURALOG_E_RESOURCES, NULL);
  int code = tool_open_read_only(s->path, &t.log, &t.report);
  if (code == TOOL_OK) code = begin(&t);
  if (code == TOOL_OK) code = s->follow ? follow(&t) : print_once(&t);
  leave(&t);
  return tool_finish_output(code == TOOL_OK ? t.code : code);
}

static bool is_number(const char *text) {
  if (text[0] == '-') text++;
  return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Times as cat takes them, but a number alone is an offset: @ goes before a
 * time that is one. */
static bool set_time(settings *s, const char *value) {
  s->place = TIME;
  if (value[0] == '@')
    return is_number(value + 1) &&
           tool_timestamp(value + 1, s->now_ms, &s->time_ms);
  return !is_number(value) && tool_timestamp(value, s->now_ms, &s->time_ms);
}

static bool set_place(settings *s, const char *value) {
  s->placed = true;
  s->number = 0;
  s->place = strcmp(value, "start") == 0 ? START : LAST;
  if (s->place == START || strcmp(value, "end") == 0) return true;
  s->place = OFFSET;
  return tool_number(value, 0, UINT64_MAX - 1, &s->number) ||
         set_time(s, value);
}

static bool set_option(settings *s, int option, const char *value) {
  switch (option) {
    case 'f': s->follow = true; return true;
    case 'n':
      s->counted = true;
      return tool_number(value, 0, UINT64_MAX, &s->number);
    case 'F': return set_place(s, value);
    case 'l': return tool_level(value, &s->level);
    case 'o': return tool_record_format(value, &s->format);
    case 'j': s->format = TOOL_JSON; return true;
    default: s->quiet = true; return true;
  }
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"follow", no_argument, NULL, 'f'},
      {"count", required_argument, NULL, 'n'},
      {"from", required_argument, NULL, 'F'},
      {"level", required_argument, NULL, 'l'},
      {"format", required_argument, NULL, 'o'},
      {"json", no_argument, NULL, 'j'},
      {"quiet", no_argument, NULL, 'q'},
      {0}};
  settings s = {.place = LAST,
                .number = RECORDS_DEFAULT,
                .now_ms = tool_now_ms(),
                .level = DURALOG_LEVEL_WRITTEN};
  int option;
  while ((option = tool_next_option_of(argc, argv, ":fn:", options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (!set_option(&s, option, optarg))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  if (s.counted && s.placed)
    return tool_usage(argv[0], "-n goes without --from");
  s.path = tool_directory(argc, argv);
  return s.path == NULL ? TOOL_USAGE : tail_log(&s);
}

static const char help[] =
    "Prints the last 10 records, each with a newline. Damaged records are\n"
    "named on standard error and left out; the exit code is then 3.\n"
    "\n"
    "  -f, --follow        go on with what other processes append, whether\n"
    "                      one writes now or later; until a signal (INT, "
    "TERM,\n"
    "                      HUP) or until nobody reads the output any more,\n"
    "                      which is no failure\n"
    "  -n, --count N       the last N records\n"
    "  --from PLACE        all records from there on:\n"
    "                        end      none but new ones\n"
    "                        start    from the oldest\n"
    "                        OFFSET   a number, from 0\n"
    "                        TIME     from the first one of that time or "
    "later\n"
    "  --level LEVEL       written   all that readers may see (default)\n"
    "                      durable   only what survives power loss\n"
    "  --format FORMAT     raw, offset or json, as cat does\n"
    "  --json              the same as --format json\n"
    "  --quiet             do not say when the writer goes\n"
    "\n"
    "TIME is 2026-11-25T17:00:00Z (UTC; a fraction of a second may follow),\n"
    "-10m before now (s, m, h or d), or @ and milliseconds since 1970: a "
    "number\n"
    "alone is an offset.\n"
    "A writer that was killed may have lost its last records, with the power\n"
    "for instance. If some of them were printed, that is said on standard\n"
    "error, and what the next one puts in their place is printed too.\n";

const tool_command tool_tail = {
    .name = "tail",
    .arguments = "[options] DIR",
    .summary = "print the last records, and follow a writer",
    .help = help,
    .run = run,
};
