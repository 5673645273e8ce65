/* SPDX-License-Identifier: MIT
 *
 * What the options of duralog consume say.
 */
#ifndef TOOL_CONSUME_H
#define TOOL_CONSUME_H

#include "tool.h"

typedef struct tool_consume_settings {
  const char *path, *group;
  duralog_consumer_options how; /* the levels: see the help on --level */
  uint64_t count;
  bool follow, quiet;
  tool_format format;
} tool_consume_settings;

/* Gives the exit code. */
int tool_consume_run(const tool_consume_settings *s);

#endif
