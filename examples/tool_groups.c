/* SPDX-License-Identifier: MIT
 *
 * duralog groups: the consumer groups of a log, without consuming.
 *
 * The log is opened for reading alone, so that all of it works beside a writer,
 * and what is left of a crash stays as it is. One group that cannot be read
 * does not hide the others.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

typedef struct settings {
  const char *group, *as, *to, *path;
  duralog_reset how;
  int64_t value;
  bool json;
} settings;

typedef struct groups {
  const settings *s;
  duralog *log;
  duralog_report report;
  duralog_watermarks marks;
  tool_group *all;
  size_t count;
  bool no_memory;
} groups;

/* ------------------------------------------------------------- groups -- */

static void describe(const groups *g, const char *name, tool_group *out) {
  *out = (tool_group){.is.struct_size = sizeof out->is};
  snprintf(out->name, sizeof out->name, "%s", name);
  out->error = duralog_describe_group(g->log, name, &out->is);
}

static bool add(void *context, const char *name) {
  groups *g = context;
  tool_group *larger = realloc(g->all, (g->count + 1) * sizeof *larger);
  g->no_memory = larger == NULL;
  if (g->no_memory) return false;
  g->all = larger;
  describe(g, name, &g->all[g->count]);
  if (g->all[g->count].error != DURALOG_E_NOT_FOUND) /* deleted just now */
    g->count++;
  return true;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const tool_group *)a)->name, ((const tool_group *)b)->name);
}

static int gather(groups *g) {
  duralog_error error = duralog_list_groups(g->log, add, g);
  if (error == DURALOG_OK && g->no_memory) error = DURALOG_E_RESOURCES;
  if (error != DURALOG_OK)
    return tool_fail_on("listing the groups of", g->s->path, error, g->log);
  if (g->count > 0) qsort(g->all, g->count, sizeof *g->all, by_name);
  return TOOL_OK;
}

/* ------------------------------------------------------------ actions -- */

static void print_all(const groups *g) {
  tool_json json = {.out = stdout};
  if (!g->s->json) {
    tool_groups_table(g->all, g->count);
    return;
  }
  tool_json_open(&json, NULL, '{');
  tool_json_string(&json, "path", g->s->path);
  tool_json_number(&json, "start", g->marks.start);
  tool_json_number(&json, "end", g->marks.end);
  tool_json_open(&json, "groups", '[');
  for (size_t i = 0; i < g->count; i++)
    tool_group_json(&json, &g->all[i], g->marks.durable);
  tool_json_close(&json, ']');
  tool_json_end(&json);
}

static int list(groups *g) {
  int code = gather(g);
  if (code != TOOL_OK) return code;
  print_all(g);
  for (size_t i = 0; i < g->count; i++)
    if (g->all[i].error != DURALOG_OK)
      code = tool_fail_group("describing", g->all[i].name, g->s->path,
                             g->all[i].error, g->log);
  return code;
}

/* A group, as it is now. */
static int show(groups *g, const char *name) {
  tool_group group;
  describe(g, name, &group);
  if (group.error != DURALOG_OK)
    return tool_fail_group("describing", name, g->s->path, group.error, g->log);
  tool_json json = {.out = stdout};
  if (g->s->json) {
    tool_group_json(&json, &group, g->marks.durable);
    putchar('\n');
  } else {
    tool_group_text(&group, g->marks.durable);
  }
  return TOOL_OK;
}

static int describe_one(groups *g) { return show(g, g->s->group); }

static int reset(groups *g) {
  const settings *s = g->s;
  tool_group before;
  uint64_t offset;
  describe(g, s->group, &before);
  duralog_error error =
      duralog_reset_group(g->log, s->group, s->how, s->value, &offset);
  if (error == DURALOG_E_RANGE)
    return tool_fail_range(s->path, g->log, DURALOG_LEVEL_WRITTEN,
                           (uint64_t)s->value);
  if (error != DURALOG_OK)
    return tool_fail_group("resetting", s->group, s->path, error, g->log);
  if (s->json) return show(g, s->group);
  printf("%s: committed %" PRIu64, s->group, offset);
  if (before.error != DURALOG_OK)
    puts(", made anew");
  else if (before.is.committed == DURALOG_NO_OFFSET)
    puts(", before: none");
  else
    printf(", before: %" PRIu64 "\n", before.is.committed);
  return TOOL_OK;
}

static int delete_group(groups *g) {
  const settings *s = g->s;
  duralog_error error = duralog_delete_group(g->log, s->group);
  if (error != DURALOG_OK)
    return tool_fail_group("deleting", s->group, s->path, error, g->log);
  return TOOL_OK;
}

static int clone_group(groups *g) {
  const settings *s = g->s;
  tool_group there;
  describe(g, s->as, &there);
  if (there.error == DURALOG_OK) {
    fprintf(stderr, "duralog: %s: there is a group %s already\n", s->path,
            s->as);
    return TOOL_USAGE;
  }
  duralog_error error = duralog_clone_group(g->log, s->group, s->as);
  if (error != DURALOG_OK)
    return tool_fail_group("cloning",
                           error == DURALOG_E_ARGUMENT ? s->as : s->group,
                           s->path, error, g->log);
  return s->json ? show(g, s->as) : TOOL_OK;
}

/* ------------------------------------------------------------ command -- */

typedef struct action {
  const char *name;
  int (*run)(groups *g);
  bool group, as, to; /* which options it wants */
} action;

static const action actions[] = {
    {.name = "list", .run = list},
    {.name = "describe", .run = describe_one, .group = true},
    {.name = "reset", .run = reset, .group = true, .to = true},
    {.name = "delete", .run = delete_group, .group = true},
    {.name = "clone", .run = clone_group, .group = true, .as = true}};

static const action *find(const char *name) {
  for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
    if (strcmp(actions[i].name, name) == 0) return &actions[i];
  return NULL;
}

static int act(const settings *s, const action *what) {
  groups g = {.s = s, .marks.struct_size = sizeof g.marks};
  int code = tool_open_read_only(s->path, &g.log, &g.report);
  if (code != TOOL_OK) return code;
  duralog_error error = duralog_get_watermarks(g.log, &g.marks);
  code = error == DURALOG_OK ? what->run(&g)
                             : tool_fail_on("examining", s->path, error, g.log);
  code = tool_finish_output(code);
  free(g.all);
  error = duralog_close(&g.log);
  if (code == TOOL_OK && error != DURALOG_OK)
    code = tool_fail("closing", s->path, error, NULL);
  return code;
}

/* Digits alone, with K, M or G after them. */
static bool whole_number(const char *text, int64_t *out) {
  uint64_t number;
  if (!tool_number(text, 0, INT64_MAX, &number)) return false;
  *out = (int64_t)number;
  return true;
}

/* -10 is a shift, -10m a time. */
static bool set_target(settings *s, const char *text) {
  s->to = text;
  s->how = strcmp(text, "earliest") == 0 ? DURALOG_RESET_EARLIEST
                                         : DURALOG_RESET_LATEST;
  if (s->how == DURALOG_RESET_EARLIEST || strcmp(text, "latest") == 0)
    return true;
  s->how = DURALOG_RESET_OFFSET;
  if (whole_number(text, &s->value)) return true;
  s->how = DURALOG_RESET_SHIFT;
  if ((text[0] == '+' || text[0] == '-') && whole_number(text + 1, &s->value)) {
    if (text[0] == '-') s->value = -s->value;
    return true;
  }
  s->how = DURALOG_RESET_TIME;
  return tool_timestamp(text[0] == '@' ? text + 1 : text, tool_now_ms(),
                        &s->value);
}

static bool set_option(settings *s, int option, const char *value) {
  switch (option) {
    case 'g': s->group = value; return true;
    case 'a': s->as = value; return true;
    case 't': return set_target(s, value);
    default: s->json = true; return true;
  }
}

/* An action's own options, no others; gives TOOL_OK or TOOL_USAGE. */
static int check(const char *command, const settings *s, const action *what) {
  struct {
    const char *option;
    bool wanted, given;
  } all[] = {{"--group", what->group, s->group != NULL},
             {"--as", what->as, s->as != NULL},
             {"--to", what->to, s->to != NULL}};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    if (all[i].wanted != all[i].given)
      return tool_usage(command, "groups %s %s %s", what->name,
                        all[i].wanted ? "wants" : "does not take",
                        all[i].option);
  return TOOL_OK;
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"group", required_argument, NULL, 'g'},
      {"as", required_argument, NULL, 'a'},
      {"to", required_argument, NULL, 't'},
      {"json", no_argument, NULL, 'j'},
      {0}};
  settings s = {0};
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    if (option == '?') return TOOL_USAGE;
    if (!set_option(&s, option, optarg))
      return tool_usage(argv[0], "\"%s\" is not allowed there", optarg);
  }
  if (optind == argc)
    return tool_usage(argv[0], "groups wants to know what to do");
  const action *what = find(argv[optind]);
  if (what == NULL)
    return tool_usage(argv[0], "groups cannot %s", argv[optind]);
  optind++;
  s.path = tool_directory(argc, argv);
  if (s.path == NULL || check(argv[0], &s, what) != TOOL_OK) return TOOL_USAGE;
  return act(&s, what);
}

static const char help[] =
    "What \"consume\" and programs have committed, group by group. Works "
    "beside\n"
    "a writer, and changes no record.\n"
    "\n"
    "  list                every group: committed offset, end of the log, lag "
    "in\n"
    "                      records, and whether a member is alive; a damaged\n"
    "                      one is named, and the exit code is then 3\n"
    "  describe            all that is known of one: the lag in bytes, too, "
    "and\n"
    "                      whether what was consumed is durable\n"
    "  reset               set the committed offset, durably; also of a "
    "damaged\n"
    "                      group, which is made anew by that\n"
    "  delete              delete it, damaged or not\n"
    "  clone               make a copy of it\n"
    "\n"
    "  --group G           which group\n"
    "  --to PLACE          reset: the next record to be consumed:\n"
    "                        earliest   the oldest that is kept\n"
    "                        latest     none but new ones\n"
    "                        OFFSET     a number, from 0\n"
    "                        +N, -N     so many further on or back, within "
    "the log\n"
    "                        TIME       the first one of that time or later\n"
    "  --as NEW            clone: the name of the copy, which no group has\n"
    "  --json              one JSON object: the groups, or the group as it is\n"
    "                      then\n"
    "\n"
    "Reset, delete and clone want a group that no process consumes for; "
    "otherwise\n"
    "the exit code is 5. TIME is 2026-11-25T17:00:00Z (UTC; a fraction of a\n"
    "second may follow), -10m before now (s, m, h or d), or @ and "
    "milliseconds\n"
    "since 1970.\n";

const tool_command tool_groups = {
    .name = "groups",
    .arguments = "list|describe|reset|delete|clone [--group G] [options] DIR",
    .summary = "show and change how far consumer groups have come",
    .help = help,
    .run = run,
};
