/* SPDX-License-Identifier: MIT
 *
 * The facts about a log, as a table or as JSON. What is not known is left out
 * of the table, and null in JSON.
 */
#include <inttypes.h>
#include <math.h>

#include "tool.h"

/* ------------------------------------------------------- derived facts -- */

/* NAN: not known. */
static double ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? (double)NAN : (double)part / (double)whole;
}

static uint64_t span_ms(const tool_part *part) {
  return part->has_times ? (uint64_t)part->latest_ms - (uint64_t)part->first_ms
                         : 0;
}

static double records_per_second(const tool_part *part) {
  return 1e3 * ratio(part->records, span_ms(part));
}

static double bytes_per_second(const tool_facts *f, const tool_part *part) {
  return f->all_read ? 1e3 * ratio(part->payload_bytes, span_ms(part))
                     : (double)NAN;
}

static uint64_t lag(const tool_facts *f) {
  return f->marks.end - f->marks.durable;
}

static bool overhead_known(const tool_facts *f) {
  return f->all_read && f->known > 0 && f->damaged == 0;
}

/* -------------------------------------------------------------- table -- */

static void print_writer(const tool_facts *f) {
  fputs("writer       ", stdout);
  if (!f->report.writer_lives)
    puts(f->report.clean ? "none, closed cleanly" : "none, not closed cleanly");
  else
    puts(f->report.follows ? "lives" : "lives, and cannot be followed");
}

static void print_offsets(const tool_facts *f) {
  const duralog_watermarks *m = &f->marks;
  printf("records      %" PRIu64, m->end - m->start);
  if (m->end > m->start)
    printf(", offsets %" PRIu64 " to %" PRIu64, m->start, m->end - 1);
  printf("\ndurable      up to %" PRIu64, m->durable);
  if (lag(f) > 0)
    printf(", not known of %" PRIu64 " records, the oldest from %" PRIu64
           " ms ago",
           lag(f), f->oldest_undurable_ms);
  printf("\nepochs       newest %" PRIu64, m->epoch);
  if (f->all_read) printf(", %" PRIu64 " with records", f->epochs);
  putchar('\n');
}

static void print_times(const tool_part *all) {
  char first[TOOL_TIME_BYTES], latest[TOOL_TIME_BYTES];
  if (!all->has_times) return;
  tool_time(all->first_ms, first);
  tool_time(all->latest_ms, latest);
  printf("times        %s to %s, %.3f s\n", first, latest,
         1e-3 * (double)span_ms(all));
}

static void print_bytes(const tool_facts *f) {
  if (f->all_read) {
    printf("payload      %" PRIu64 " bytes", f->all.payload_bytes);
    if (f->all.records > 0)
      printf(", %.1f a record", ratio(f->all.payload_bytes, f->all.records));
    putchar('\n');
  }
  if (!overhead_known(f)) return;
  uint64_t overhead = f->used - f->known_payload;
  printf("overhead     %" PRIu64 " bytes", overhead);
  if (f->known_records > 0)
    printf(", %.1f a record", ratio(overhead, f->known_records));
  printf(", %.1f %% of what is used", 100 * ratio(overhead, f->used));
  if (f->known < f->segments) printf(", in %" PRIu64 " segments", f->known);
  putchar('\n');
}

static void print_segments(const tool_facts *f) {
  printf("segments     %" PRIu64 ", %" PRIu64 " sealed, %" PRIu64 " bytes",
         f->segments, f->sealed, f->file_bytes);
  if (f->known > 0) printf(", %.1f %% used", 100 * ratio(f->used, f->usable));
  if (f->known > 0 && f->known < f->segments) printf(" of %" PRIu64, f->known);
  putchar('\n');
}

static void print_rates(const tool_facts *f, const char *name,
                        const tool_part *part) {
  if (span_ms(part) == 0) return;
  printf("%-12s %.1f records/s", name, records_per_second(part));
  if (f->all_read) printf(", %.1f bytes/s", bytes_per_second(f, part));
  printf(", over %.3f s\n", 1e-3 * (double)span_ms(part));
}

static void print_sample(const tool_sample *s) {
  if (s->ns == 0) return;
  printf(
      "now          %.1f records/s, %.1f bytes/s, over %.3f s\n"
      "             durable at most %" PRIu64 " records behind\n",
      1e9 * ratio(s->records, s->ns), 1e9 * ratio(s->payload_bytes, s->ns),
      1e-9 * (double)s->ns, s->lag_max);
}

void tool_facts_text(const tool_facts *f, const char *path) {
  printf("log          %s\n", path);
  print_writer(f);
  print_offsets(f);
  print_times(&f->all);
  print_bytes(f);
  print_segments(f);
  if (f->damaged > 0) printf("damage       %" PRIu64 " ranges\n", f->damaged);
  print_rates(f, "whole log", &f->all);
  print_rates(f, "last segment", &f->last);
  print_sample(&f->sample);
}

/* --------------------------------------------------------------- JSON -- */

static void json_number_if(tool_json *json, bool known, const char *name,
                           uint64_t value) {
  if (known)
    tool_json_number(json, name, value);
  else
    tool_json_null(json, name);
}

static void json_time_if(tool_json *json, bool known, const char *name,
                         int64_t ms) {
  if (known)
    tool_json_time(json, name, ms);
  else
    tool_json_null(json, name);
}

static void json_part(tool_json *json, const tool_facts *f, const char *name,
                      const tool_part *part) {
  tool_json_open(json, name, '{');
  tool_json_number(json, "records", part->records);
  json_number_if(json, f->all_read, "payload_bytes", part->payload_bytes);
  json_time_if(json, part->has_times, "time_first_ms", part->first_ms);
  json_time_if(json, part->has_times, "time_latest_ms", part->latest_ms);
  tool_json_real(json, "records_per_second", records_per_second(part));
  tool_json_real(json, "bytes_per_second", bytes_per_second(f, part));
  tool_json_close(json, '}');
}

static void json_sample(tool_json *json, const tool_sample *s) {
  if (s->ns == 0) {
    tool_json_null(json, "sample");
    return;
  }
  tool_json_open(json, "sample", '{');
  tool_json_number(json, "ns", s->ns);
  tool_json_number(json, "records", s->records);
  tool_json_number(json, "payload_bytes", s->payload_bytes);
  tool_json_number(json, "lag_max", s->lag_max);
  tool_json_real(json, "records_per_second", 1e9 * ratio(s->records, s->ns));
  tool_json_real(json, "bytes_per_second",
                 1e9 * ratio(s->payload_bytes, s->ns));
  tool_json_close(json, '}');
}

void tool_facts_json(const tool_facts *f, const char *path) {
  tool_json out = {.out = stdout}, *json = &out;
  tool_json_open(json, NULL, '{');
  tool_json_string(json, "path", path);
  tool_json_bool(json, "writer_lives", f->report.writer_lives);
  tool_json_bool(json, "follows", f->report.follows);
  tool_json_bool(json, "clean", f->report.clean);
  tool_json_number(json, "start", f->marks.start);
  tool_json_number(json, "end", f->marks.end);
  tool_json_number(json, "durable", f->marks.durable);
  tool_json_number(json, "lag", lag(f));
  tool_json_number(json, "oldest_undurable_ms", f->oldest_undurable_ms);
  tool_json_number(json, "epoch", f->marks.epoch);
  json_number_if(json, f->all_read, "epochs", f->epochs);
  tool_json_number(json, "damaged", f->damaged);
  tool_json_real(
      json, "record_bytes",
      f->all_read ? ratio(f->all.payload_bytes, f->all.records) : (double)NAN);
  tool_json_number(json, "segments", f->segments);
  tool_json_number(json, "sealed", f->sealed);
  tool_json_number(json, "file_bytes", f->file_bytes);
  tool_json_number(json, "known_segments", f->known);
  tool_json_number(json, "known_bytes", f->usable);
  tool_json_number(json, "known_used", f->used);
  json_number_if(json, overhead_known(f), "known_overhead",
                 f->used - f->known_payload);
  json_part(json, f, "log", &f->all);
  json_part(json, f, "last_segment", &f->last);
  json_sample(json, &f->sample);
  tool_json_end(json);
}
