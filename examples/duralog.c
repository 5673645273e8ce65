/* SPDX-License-Identifier: MIT
 *
 * duralog COMMAND [options] DIR: the command-line tool, and the largest
 * example of the library. This file finds the command; each command is a file
 * tool_<command>.c.
 */
#include <signal.h>
#include <string.h>

#include "tool.h"

static const tool_command *const commands[] = {
    &tool_append, &tool_bench,   &tool_cat,   &tool_consume, &tool_groups,
    &tool_info,   &tool_salvage, &tool_stats, &tool_tail,    &tool_verify};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const tool_command *find(const char *name) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i]->name, name) == 0) return commands[i];
  return NULL;
}

static void print_overview(FILE *out) {
  fputs(
      "Usage: duralog COMMAND [options] DIR\n"
      "\n"
      "DIR is the directory of a durable log. Commands:\n",
      out);
  for (size_t i = 0; i < COMMANDS; i++)
    fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
  fprintf(out, "  %-10s explain a command\n", "help");
  fprintf(out,
          "\n\"duralog help COMMAND\" lists its options; \"duralog "
          "--version\" the version.\n\n%s",
          tool_exit_codes);
}

static int help(const char *name) {
  const tool_command *command = find(name);
  if (command == NULL) return tool_usage("", "there is no command %s", name);
  printf("Usage: duralog %s %s\n\nduralog %s: %s.\n\n%s\n%s", command->name,
         command->arguments, command->name, command->summary, command->help,
         tool_exit_codes);
  return tool_finish_output(TOOL_OK);
}

static int help_overview(void) {
  print_overview(stdout);
  return tool_finish_output(TOOL_OK);
}

static int version(void) {
  printf("duralog %s\n", duralog_version());
  return tool_finish_output(TOOL_OK);
}

/* "--help" anywhere among the options. */
static bool wants_help(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0) return true;
  return false;
}

static int run(int argc, char **argv) {
  const tool_command *command = find(argv[0]);
  if (command == NULL) return tool_usage("", "there is no command %s", argv[0]);
  if (wants_help(argc, argv)) return help(command->name);
  return command->run(argc, argv);
}

int main(int argc, char **argv) {
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) { /* see tool_finish_output */
    perror("duralog: signal");
    return TOOL_FAILED;
  }
  if (argc < 2) {
    print_overview(stderr);
    return TOOL_USAGE;
  }
  if (strcmp(argv[1], "--version") == 0) return version();
  if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
    return argc > 2 ? help(argv[2]) : help_overview();
  return run(argc - 1, argv + 1);
}
