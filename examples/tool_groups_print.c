/* SPDX-License-Identifier: MIT
 *
 * Consumer groups as a table, as text, as JSON.
 */
#include <inttypes.h>
#include <string.h>

#include "tool.h"

#define NUMBER_BYTES 24

static void number_text(uint64_t value, bool known, const char *otherwise,
                        char out[NUMBER_BYTES]) {
  if (known)
    snprintf(out, NUMBER_BYTES, "%" PRIu64, value);
  else
    snprintf(out, NUMBER_BYTES, "%s", otherwise);
}

static void committed_text(const duralog_group *is, char out[NUMBER_BYTES]) {
  number_text(is->committed, is->committed != DURALOG_NO_OFFSET, "none", out);
}

/* ------------------------------------------------------------- table -- */

static int longest_name(const tool_group *groups, size_t count) {
  size_t longest = strlen("group");
  for (size_t i = 0; i < count; i++) {
    size_t length = strlen(groups[i].name);
    if (length > longest) longest = length;
  }
  return (int)longest;
}

void tool_groups_table(const tool_group *groups, size_t count) {
  char committed[NUMBER_BYTES];
  int width = longest_name(groups, count);
  printf("%-*s %12s %12s %12s  %s\n", width, "group", "committed", "end", "lag",
         "member");
  for (size_t i = 0; i < count; i++) {
    const tool_group *g = &groups[i];
    printf("%-*s ", width, g->name);
    if (g->error != DURALOG_OK) {
      puts(g->error == DURALOG_E_CORRUPT ? "damaged"
                                         : duralog_error_text(g->error));
      continue;
    }
    committed_text(&g->is, committed);
    printf("%12s %12" PRIu64 " %12" PRIu64 "  %s%s\n", committed, g->is.end,
           g->is.lag_records, g->is.member_alive ? "alive" : "none",
           g->is.is_protected ? ", protected" : "");
  }
}

/* -------------------------------------------------------------- text -- */

static const char *durable_text(const duralog_group *is, uint64_t durable) {
  if (is->committed == DURALOG_NO_OFFSET) return "nothing was committed";
  return is->committed <= durable
             ? "yes, the records before the committed offset are"
             : "not known of all records before the committed offset";
}

void tool_group_text(const tool_group *group, uint64_t durable) {
  const duralog_group *is = &group->is;
  char committed[NUMBER_BYTES], epoch[NUMBER_BYTES], bytes[NUMBER_BYTES];
  char time[TOOL_TIME_BYTES];
  committed_text(is, committed);
  number_text(is->epoch, is->epoch != 0, "none", epoch);
  number_text(is->lag_bytes, is->lag_bytes != UINT64_MAX, "unknown", bytes);
  tool_time(is->time_ms, time);
  printf("group        %s\n", group->name);
  printf("committed    %s\n", committed);
  printf("epoch        %s\n", epoch);
  printf("time         %s\n", time);
  printf("metadata     %s\n", is->metadata);
  printf("end          %" PRIu64 "\n", is->end);
  printf("lag          %" PRIu64 " records, %s bytes\n", is->lag_records,
         bytes);
  printf("durable      %s\n", durable_text(is, durable));
  printf("member       %s\n", is->member_alive ? "alive" : "none");
  printf("protected    %s\n", is->is_protected ? "yes" : "no");
}

/* -------------------------------------------------------------- JSON -- */

static void json_known(tool_json *json, const char *name, uint64_t value,
                       bool known) {
  if (known)
    tool_json_number(json, name, value);
  else
    tool_json_null(json, name);
}

static void json_state(tool_json *json, const duralog_group *is,
                       uint64_t durable) {
  bool committed = is->committed != DURALOG_NO_OFFSET;
  json_known(json, "committed", is->committed, committed);
  json_known(json, "epoch", is->epoch, is->epoch != 0);
  tool_json_time(json, "time_ms", is->time_ms);
  tool_json_string(json, "metadata", is->metadata);
  tool_json_number(json, "end", is->end);
  tool_json_number(json, "lag_records", is->lag_records);
  json_known(json, "lag_bytes", is->lag_bytes, is->lag_bytes != UINT64_MAX);
  tool_json_bool(json, "durable", !committed || is->committed <= durable);
  tool_json_bool(json, "member_alive", is->member_alive);
  tool_json_bool(json, "protected", is->is_protected);
}

void tool_group_json(tool_json *json, const tool_group *group,
                     uint64_t durable) {
  tool_json_open(json, NULL, '{');
  tool_json_string(json, "group", group->name);
  if (group->error == DURALOG_OK) {
    tool_json_null(json, "error");
    json_state(json, &group->is, durable);
  } else {
    tool_json_string(json, "error", duralog_error_name(group->error));
  }
  tool_json_close(json, '}');
}
