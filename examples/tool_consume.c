/* SPDX-License-Identifier: MIT
 *
 * duralog consume: its options. What it does is in tool_consume_run.c.
 */
#include "tool_consume.h"

#include <string.h>

static bool set_begin(const char *text, duralog_begin *begin) {
  bool latest = strcmp(text, "latest") == 0, error = strcmp(text, "error") == 0;
  *begin = latest  ? DURALOG_BEGIN_LATEST
           : error ? DURALOG_BEGIN_ERROR
                   : DURALOG_BEGIN_EARLIEST;
  return latest || error || strcmp(text, "earliest") == 0;
}

static bool set_auto_commit(duralog_consumer_options *how, const char *text) {
  uint64_t ms;
  if (!tool_number(text, 1, UINT32_MAX, &ms)) return false;
  how->manual_commit = false;
  how->auto_commit_ms = (uint32_t)ms;
  return true;
}

static bool set_wait(duralog_consumer_options *how, const char *text) {
  uint64_t ms;
  if (!tool_number(text, 0, INT64_MAX, &ms)) return false;
  how->timeout_ms = (int64_t)ms;
  return true;
}

static bool set_level(duralog_consumer_options *how, const char *text) {
  bool good = tool_level(text, &how->commit_level);
  how->read_level = how->commit_level;
  return good;
}

static bool set_option(tool_consume_settings *s, int option,
                       const char *value) {
  switch (option) {
    case 'g': s->group = value; return true;
    case 'n': return tool_number(value, 0, UINT64_MAX, &s->count);
    case 'f': s->follow = true; return true;
    case 'a': return set_auto_commit(&s->how, value);
    case 'F': return set_begin(value, &s->how.begin);
    case 'b': s->how.go_back = true; return true;
    case 'w': return set_wait(&s->how, value);
    case 'l': return set_level(&s->how, value);
    case 'o': return tool_record_format(value, &s->format);
    case 'j': s->format = TOOL_JSON; return true;
    default: s->quiet = true; return true;
  }
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"group", required_argument, NULL, 'g'},
      {"count", required_argument, NULL, 'n'},
      {"follow", no_argument, NULL, 'f'},
      {"auto-commit", required_argument, NULL, 'a'},
      {"from", required_argument, NULL, 'F'},
      {"go-back", no_argument, NULL, 'b'},
      {"wait", required_argument, NULL, 'w'},
      {"level", required_argument, NULL, 'l'},
      {"format", required_argument, NULL, 'o'},
      {"json", no_argument, NULL, 'j'},
      {"quiet", no_argument, NULL, 'q'},
      {0}};
  tool_consume_settings s = {.how = {.struct_size = sizeof s.how,
                                     .read_level = DURALOG_LEVEL_WRITTEN,
                                     .manual_commit = true},
                             .count = UINT64_MAX};
  int option;
  while ((option = tool_next_option_of(argc, argv, ":fn:", options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (!set_option(&s, option, optarg))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  if (s.group == NULL) return tool_usage(argv[0], "consume wants --group");
  s.path = tool_directory(argc, argv);
  return s.path == NULL ? TOOL_USAGE : tool_consume_run(&s);
}

static const char help[] =
    "Prints each record that its group has not consumed yet, and a newline, "
    "up\n"
    "to where the log ends at the start. What was written to standard output "
    "is\n"
    "committed for the group, batch by batch, so that the next one goes on "
    "there;\n"
    "what was printed and not committed by a process that was killed comes "
    "again.\n"
    "One process at a time consumes for a group. Damaged records are named on\n"
    "standard error and left out; the exit code is then 3.\n"
    "\n"
    "  --group G           which group; it is made if it is not there\n"
    "  -n, --count N       end after N records, having committed just these\n"
    "  -f, --follow        go on with what other processes append, until a "
    "signal\n"
    "                      (INT, TERM, HUP) or until nobody reads the output;\n"
    "                      what was written is committed then\n"
    "  --auto-commit MS    commit when so long has passed since the last time "
    "and\n"
    "                      the next batch is asked for, and at the end; not\n"
    "                      after each batch\n"
    "  --from PLACE        where a group begins that never committed, or "
    "whose\n"
    "                      offset is no longer kept: earliest (default), "
    "latest,\n"
    "                      or error\n"
    "  --go-back           where a crash took records that were consumed, say "
    "so\n"
    "                      and consume on from there; without this, say so "
    "and\n"
    "                      end\n"
    "  --wait MS           wait so long for another process to leave the "
    "group\n"
    "  --level LEVEL       durable   print only what survives power loss, and\n"
    "                                commit so that it does, too; output to a\n"
    "                                file is synced before\n"
    "                      written   print all that readers may see, commit "
    "so\n"
    "                                that it outlives this process\n"
    "                      default: print as written; commit as durable "
    "where\n"
    "                      the writer syncs every record, and as written "
    "where\n"
    "                      it does not, or where none lives that could\n"
    "  --format FORMAT     raw, offset or json, as cat does\n"
    "  --json              the same as --format json\n"
    "  --quiet             do not say when the writer goes\n";

const tool_command tool_consume = {
    .name = "consume",
    .arguments = "--group G [options] DIR",
    .summary = "print records and commit that, for a consumer group",
    .help = help,
    .run = run,
};
