/* SPDX-License-Identifier: MIT
 *
 * Options and their values.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

int tool_next_option(int argc, char **argv, const struct option *options) {
  opterr = 0; /* our messages name the command and end with its help */
  int code = getopt_long(argc, argv, ":", options, NULL);
  if (code == ':') {
    tool_usage(argv[0], "%s wants a value", argv[optind - 1]);
    return '?';
  }
  if (code == '?')
    tool_usage(argv[0], "%s does not know the option %s", argv[0],
               argv[optind - 1]);
  return code;
}

const char *tool_directory(int argc, char **argv) {
  if (argc - optind == 1) return argv[optind];
  tool_usage(argv[0], "%s wants one directory, not %d", argv[0], argc - optind);
  return NULL;
}

/* 1, 1024, … for "", "K", "M", "G"; 0 for anything else. */
static uint64_t suffix_factor(const char *suffix) {
  const char *letters = "KMG";
  if (suffix[0] == '\0') return 1;
  const char *letter = strchr(letters, suffix[0]);
  if (letter == NULL || suffix[1] != '\0') return 0;
  return UINT64_C(1024) << (10 * (letter - letters));
}

bool tool_number(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
  char *suffix;
  if (text[0] < '0' || text[0] > '9')
    return false; /* strtoull would take blanks and a minus sign */
  errno = 0;
  uint64_t number = strtoull(text, &suffix, 10);
  uint64_t factor = suffix_factor(suffix);
  if (errno != 0 || factor == 0 || number > UINT64_MAX / factor) return false;
  number *= factor;
  if (number < min || number > max) return false;
  *out = number;
  return true;
}

static bool durability_interval(const char *value, uint32_t *interval_ms) {
  uint64_t number;
  if (!tool_number(value, 10, UINT32_MAX, &number)) return false;
  *interval_ms = (uint32_t)number;
  return true;
}

static bool durability_item(char *item, duralog_durability *durability) {
  if (strcmp(item, "pagecache") == 0) {
    durability->pagecache = true;
    return true;
  }
  char *value = strchr(item, '=');
  if (value == NULL) return false;
  *value++ = '\0';
  if (strcmp(item, "every") == 0)
    return tool_number(value, 1, UINT64_MAX, &durability->sync_every_records);
  if (strcmp(item, "bytes") == 0)
    return tool_number(value, 1, UINT64_MAX, &durability->sync_every_bytes);
  if (strcmp(item, "interval") == 0)
    return durability_interval(value, &durability->sync_interval_ms);
  return false;
}

bool tool_durability(const char *text, duralog_durability *durability) {
  char *copy = strdup(text);
  bool good = copy != NULL && copy[0] != '\0';
  char *rest = copy;
  while (good && rest != NULL)
    good = durability_item(strsep(&rest, ","), durability);
  free(copy);
  return good;
}
