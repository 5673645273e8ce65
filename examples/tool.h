/* SPDX-License-Identifier: MIT
 *
 * What the commands of the tool share. A command is one file that fills in a
 * tool_command; duralog.c lists them. Only duralog.h is used.
 */
#ifndef TOOL_H
#define TOOL_H

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>

#include "duralog.h"

/* Exit codes: tool_exit_codes (tool_errors.c) explains them to the user. */
enum tool_exit {
  TOOL_OK = 0,
  TOOL_FAILED = 1,
  TOOL_USAGE = 2,
  TOOL_DAMAGE = 3,
  TOOL_NO_LOG = 4,
  TOOL_BUSY = 5,
  TOOL_FULL = 6,
  TOOL_SYNC_FAILED = 7,
  TOOL_DENIED = 8,
  TOOL_UNSUPPORTED = 9
};

typedef struct tool_command {
  const char *name;
  const char *arguments; /* what follows the name in its usage line */
  const char *summary;
  const char *help;
  int (*run)(int argc, char **argv); /* argv[0] is the command; exit code */
} tool_command;

extern const tool_command tool_append, tool_bench, tool_cat, tool_consume,
    tool_groups, tool_info, tool_salvage, tool_stats, tool_tail, tool_verify;

/* ------------------------------------------------- errors: tool_errors.c -- */

extern const char tool_exit_codes[];

int tool_exit_code(duralog_error error);

/* Print one sentence about a failed call; gives the exit code. `diagnostic`
 * may be NULL. */
int tool_fail(const char *doing, const char *path, duralog_error error,
              const duralog_diagnostic *diagnostic);

/* The same with the log's own diagnostic. */
int tool_fail_on(const char *doing, const char *path, duralog_error error,
                 const duralog *log);

/* Print "duralog: <text>" and a pointer to the help; gives TOOL_USAGE. */
int tool_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Flush stdout. `code` stays if that works or nobody reads any more. */
int tool_finish_output(int code);

/* ----------------------------------------------- options: tool_options.c -- */

/* The next option's code, -1 after the last, '?' after a message. */
int tool_next_option(int argc, char **argv, const struct option *options);

/* The same, with short options: ":fn:" for -f and -n N. */
int tool_next_option_of(int argc, char **argv, const char *shorts,
                        const struct option *options);

/* The one argument that is left, or NULL after a message. */
const char *tool_directory(int argc, char **argv);

/* Parse a number, with K, M or G (powers of 1024) after it, within bounds. */
bool tool_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* Parse a point in time into milliseconds since 1970: just these,
 * 2026-11-25T17:00:00Z with or without a fraction, or -10m (s, m, h, d) before
 * `now_ms`. */
bool tool_timestamp(const char *text, int64_t now_ms, int64_t *out);

/* The wall clock. */
int64_t tool_now_ms(void);

/* "written", "durable". */
bool tool_level(const char *text, duralog_level *level);

/* Parse "every=N,bytes=B,interval=MS,pagecache" into *durability, adding to
 * what is there. */
bool tool_durability(const char *text, duralog_durability *durability);

/* --------------------------------------------------- input: tool_input.c -- */

/* The records that one read(2) brought. */
typedef struct tool_chunk {
  unsigned char *bytes;
  size_t size, capacity;
  size_t parsed;  /* bytes before this are in entries */
  size_t scanned; /* no newline between parsed and this */
  duralog_entry *entries;
  size_t count, entries_max;
  uint64_t first; /* number of its first record in the input, from 1 */
} tool_chunk;

/* Records from a descriptor, taken by any number of threads. */
typedef struct tool_input {
  int descriptor;
  bool length_prefixed; /* otherwise lines */
  pthread_mutex_t lock; /* guards what follows */
  tool_chunk rest;      /* the unfinished record after the last chunk */
  uint64_t records;     /* given out */
  bool ended;
  const char *problem; /* why it ended early, or NULL */
} tool_input;

bool tool_input_open(tool_input *input, int descriptor, bool length_prefixed);
void tool_input_close(tool_input *input);

/* Wait for one read's worth of records; false when there are no more. */
bool tool_input_take(tool_input *input, tool_chunk *chunk);
void tool_chunk_free(tool_chunk *chunk);

/* ----------------------------------------------------- JSON: tool_json.c -- */

/* What is being printed. Begin with {.out = ...}; commas come by themselves.
 * name: NULL for an element of an array, or the whole. */
typedef struct tool_json {
  FILE *out;
  bool comma; /* something came before, on this level */
} tool_json;

void tool_json_open(tool_json *json, const char *name, char bracket);
void tool_json_close(tool_json *json, char bracket);
void tool_json_end(tool_json *json); /* close an object that is a line */

void tool_json_number(tool_json *json, const char *name, uint64_t value);
/* null where it is not finite. */
void tool_json_real(tool_json *json, const char *name, double value);
void tool_json_time(tool_json *json, const char *name, int64_t ms);
void tool_json_bool(tool_json *json, const char *name, bool value);
void tool_json_null(tool_json *json, const char *name);
void tool_json_string(tool_json *json, const char *name, const char *text);
/* "name":"text", or "name_base64":"..." where the bytes are not UTF-8. */
void tool_json_bytes(tool_json *json, const char *name, const void *bytes,
                     size_t size);
void tool_json_damage(tool_json *json, const duralog_damage *damage);

/* ------------------------------------------------- reading: tool_scan.c -- */

/* Open without writing. On failure prints why; gives the exit code. */
int tool_open_read_only(const char *path, duralog **log,
                        duralog_report *report);

/* Begin at the first record of `since` or later, end before the first one of
 * `until` or later, in milliseconds since 1970, where they are given. */
typedef struct tool_times {
  bool has_since, has_until;
  int64_t since_ms, until_ms;
} tool_times;

/* A walk over [from, to) that gets past damage. */
typedef struct tool_scan {
  duralog_reader *reader;
  const duralog_report *report;
  uint64_t from, to;
  uint64_t records_left;
  bool over;           /* nothing readable follows */
  uint64_t damage_met; /* ranges */
  bool met[8];         /* by index in report->damage */
} tool_scan;

/* from = UINT64_MAX: the start of the log. to = UINT64_MAX: what is there now,
 * of a log that grows (scan->to may be set to more). What lies outside of the
 * times is left out at both ends: see tool_times. times may be NULL. */
duralog_error tool_scan_open(tool_scan *scan, duralog *log,
                             const duralog_report *report, duralog_level level,
                             uint64_t from, uint64_t to, uint64_t count,
                             const tool_times *times);

/* OK: *record is the next. CORRUPT: *damage tells the range, the scan is past
 * it. AT_END: no more. EPOCH: what was read before is not the log's any more;
 * a new writer that has gone on from there is no reason to stop. */
duralog_error tool_scan_next(tool_scan *scan, duralog_record *record,
                             duralog_damage *damage);

/* Damage that opening reported: whether report->damage has this index, and
 * whether the walk has met it. */
bool tool_scan_reported(const tool_scan *scan, size_t index);
bool tool_scan_met(const tool_scan *scan, size_t index);

/* "offsets 10 to 19, <segment>.seg at byte 4096". */
void tool_print_damage(FILE *out, const duralog_damage *damage);

/* --------------------------------------- printing records: tool_record.c -- */

typedef enum tool_format {
  TOOL_RAW,
  TOOL_WITH_OFFSET,
  TOOL_JSON,
  TOOL_LENGTH_PREFIXED
} tool_format;

void tool_record_print(const duralog_record *record, tool_format format,
                       int terminator);

/* "raw", "offset", "json". */
bool tool_record_format(const char *text, tool_format *format);

/* Say on stderr that this is not among what is printed. */
void tool_left_out(const duralog_damage *damage);

/* The same of what opening saw and the walk did not meet, within its bounds;
 * whether there was any. */
bool tool_left_out_unmet(const tool_scan *scan);

/* "... is not from ... to ..."; gives the exit code. */
int tool_fail_range(const char *path, duralog *log, duralog_level level,
                    uint64_t offset);

/* ------------------------------------------------- ending: tool_ending.c -- */

/* For a command without an end of its own. From now on SIGINT, SIGTERM and
 * SIGHUP, and the end of whoever reads stdout, let the program end with *code
 * and flushed output: at once between tool_may_end and tool_may_not_end,
 * otherwise in tool_end_if_wanted. Where that does not come for a second, one
 * more signal kills. False: no thread.
 *
 * A command that has more to do at its end asks tool_end_is_wanted, ends by
 * itself, and may have `when_wanted` (or NULL) called as soon as that is true,
 * by another thread. */
bool tool_ending_begin(const int *code, void (*when_wanted)(void));
void tool_may_end(void);
void tool_may_not_end(void);
void tool_end_if_wanted(void);
bool tool_end_is_wanted(void);

/* ---------------------------------------------- groups: tool_group.c -- */

/* Print what failed with a group, and what can be done about it; gives the exit
 * code. The log is the open one. */
int tool_fail_group(const char *doing, const char *group, const char *path,
                    duralog_error error, const duralog *log);

/* A group as it was described, or why it could not be. */
typedef struct tool_group {
  char name[DURALOG_GROUP_NAME_MAX + 1];
  duralog_error error;
  duralog_group is;
} tool_group;

/* tool_groups_print.c. `durable` is the log's watermark. */
void tool_groups_table(const tool_group *groups, size_t count);
void tool_group_text(const tool_group *group, uint64_t durable);
void tool_group_json(tool_json *json, const tool_group *group,
                     uint64_t durable);

/* --------------------------------- a log from outside: tool_facts.c -- */

/* The whole log, or one segment of it. */
typedef struct tool_part {
  uint64_t records;
  uint64_t payload_bytes; /* data and keys; if all was read */
  bool has_times;
  int64_t first_ms, latest_ms;
} tool_part;

/* What a living writer did while it was watched. */
typedef struct tool_sample {
  uint64_t ns; /* 0: none lives, or it was not watched */
  uint64_t records, payload_bytes;
  uint64_t lag_max; /* the largest end - durable of many looks */
} tool_sample;

typedef struct tool_facts {
  duralog_report report;
  duralog_watermarks marks;
  uint64_t oldest_undurable_ms; /* by its timestamp; 0 if there is none */
  uint64_t segments, sealed;
  uint64_t file_bytes;
  /* Of so many segments it is known how far they are used: not of the one that
   * a living writer is in. `used` of `usable` bytes, and the overhead is what
   * is used and no payload. */
  uint64_t known, usable, used, known_records, known_payload;
  bool all_read; /* what comes from reading all is known */
  uint64_t epochs;
  uint64_t damaged; /* ranges */
  tool_part all, last;
  tool_sample sample;
} tool_facts;

/* Everything but the sample. `read_all`: every record is read, too. */
duralog_error tool_facts_gather(tool_facts *facts, duralog *log, bool read_all);

/* Watch the writer for so long, if one lives and can be followed. */
duralog_error tool_facts_sample(tool_facts *facts, duralog *log,
                                uint64_t interval_ms);

/* A table; one JSON object: tool_facts_print.c. */
void tool_facts_text(const tool_facts *facts, const char *path);
void tool_facts_json(const tool_facts *facts, const char *path);

/* ---------------------------------------------- statistics: tool_stats.c -- */

/* Of an open log. A table; an object, its members named as the fields are. */
void tool_stats_text(FILE *out, const duralog_stats *stats);
void tool_stats_json(tool_json *json, const char *name,
                     const duralog_stats *stats);

/* A time that so many of a thousand syncs stayed below, as far as the
 * histogram tells. */
uint64_t tool_sync_bound(const duralog_sync_times *times, uint64_t thousandths);

/* ----------------------------------------------------- text: tool_text.c -- */

#define TOOL_TIME_BYTES 64
#define TOOL_DURATION_BYTES 24

/* 2024-02-29T12:00:00.000Z, or plain milliseconds outside the calendar. */
void tool_time(int64_t timestamp_ms, char out[TOOL_TIME_BYTES]);

/* "1.2 ms": two or three digits that matter, with a unit. */
void tool_duration(uint64_t ns, char out[TOOL_DURATION_BYTES]);

#endif
