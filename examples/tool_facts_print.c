/* SPDX-License-Identifier: MIT
 *
 * The facts about a log, as a table or as JSON. What is not known is left out
 * of the table, and null in JSON.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

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

static void json_number(const char *name, uint64_t value) {
  printf("\"%s\":%" PRIu64 ",", name, value);
}

static void json_number_if(bool known, const char *name, uint64_t value) {
  if (known)
    json_number(name, value);
  else
    printf("\"%s\":null,", name);
}

static void json_bool(const char *name, bool value) {
  printf("\"%s\":%s,", name, value ? "true" : "false");
}

static void json_real(const char *name, double value, const char *behind) {
  if (isnan(value))
    printf("\"%s\":null%s", name, behind);
  else
    printf("\"%s\":%.3f%s", name, value, behind);
}

static void json_part(const tool_facts *f, const char *name,
                      const tool_part *part) {
  printf("\"%s\":{", name);
  json_number("records", part->records);
  json_number_if(f->all_read, "payload_bytes", part->payload_bytes);
  if (part->has_times)
    printf("\"time_first_ms\":%" PRId64 ",\"time_latest_ms\":%" PRId64 ",",
           part->first_ms, part->latest_ms);
  else
    fputs("\"time_first_ms\":null,\"time_latest_ms\":null,", stdout);
  json_real("records_per_second", records_per_second(part), ",");
  json_real("bytes_per_second", bytes_per_second(f, part), "},");
}

static void json_sample(const tool_sample *s) {
  fputs("\"sample\":", stdout);
  if (s->ns == 0) {
    fputs("null", stdout);
    return;
  }
  putchar('{');
  json_number("ns", s->ns);
  json_number("records", s->records);
  json_number("payload_bytes", s->payload_bytes);
  json_number("lag_max", s->lag_max);
  json_real("records_per_second", 1e9 * ratio(s->records, s->ns), ",");
  json_real("bytes_per_second", 1e9 * ratio(s->payload_bytes, s->ns), "}");
}

void tool_facts_json(const tool_facts *f, const char *path) {
  putchar('{');
  tool_json_bytes(stdout, "path", path, strlen(path));
  putchar(',');
  json_bool("writer_lives", f->report.writer_lives);
  json_bool("follows", f->report.follows);
  json_bool("clean", f->report.clean);
  json_number("start", f->marks.start);
  json_number("end", f->marks.end);
  json_number("durable", f->marks.durable);
  json_number("lag", lag(f));
  json_number("oldest_undurable_ms", f->oldest_undurable_ms);
  json_number("epoch", f->marks.epoch);
  json_number_if(f->all_read, "epochs", f->epochs);
  json_number("damaged", f->damaged);
  json_real(
      "record_bytes",
      f->all_read ? ratio(f->all.payload_bytes, f->all.records) : (double)NAN,
      ",");
  json_number("segments", f->segments);
  json_number("sealed", f->sealed);
  json_number("file_bytes", f->file_bytes);
  json_number("known_segments", f->known);
  json_number("known_bytes", f->usable);
  json_number("known_used", f->used);
  json_number_if(overhead_known(f), "known_overhead",
                 f->used - f->known_payload);
  json_part(f, "log", &f->all);
  json_part(f, "last_segment", &f->last);
  json_sample(&f->sample);
  puts("}");
}
