/* SPDX-License-Identifier: MIT
 *
 * Options and their values.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

/* getopt does not tell -x within -fx by argv. */
static bool is_unknown_letter(const struct option *options) {
  for (; options->name != NULL; options++)
    if (options->val == optopt) return false;
  return optopt != 0;
}

int tool_next_option_of(int argc, char **argv, const char *shorts,
                        const struct option *options) {
  opterr = 0; /* our messages name the command and end with its help */
  int code = getopt_long(argc, argv, shorts, options, NULL);
  if (code == ':') {
    tool_usage(argv[0], "%s wants a value", argv[optind - 1]);
    return '?';
  }
  if (code == '?' && is_unknown_letter(options))
    tool_usage(argv[0], "%s does not know the option -%c", argv[0], optopt);
  else if (code == '?')
    tool_usage(argv[0], "%s does not know the option %s", argv[0],
               argv[optind - 1]);
  return code;
}

int tool_next_option(int argc, char **argv, const struct option *options) {
  return tool_next_option_of(argc, argv, ":", options);
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

/* ------------------------------------------------------------- times -- */

/* Exactly so many digits; moves on behind them. */
static bool digits(const char **text, int count, int *out) {
  *out = 0;
  for (int i = 0; i < count; i++, (*text)++) {
    if (**text < '0' || **text > '9') return false;
    *out = *out * 10 + (**text - '0');
  }
  return true;
}

static bool literal(const char **text, char wanted) {
  return *(*text)++ == wanted;
}

/* ".5", ".123456": what is finer than a millisecond is dropped. */
static bool fraction(const char **text, int *ms) {
  *ms = 0;
  if (**text != '.') return true;
  int factor = 100;
  const char *first = ++*text;
  for (; **text >= '0' && **text <= '9'; (*text)++, factor /= 10)
    *ms += (**text - '0') * factor;
  return *text > first;
}

/* 2026-11-25T17:00:00Z, as duralog prints times. */
static bool calendar_time(const char *text, int64_t *out) {
  struct tm t = {0};
  int year, month, ms;
  bool good = digits(&text, 4, &year) && literal(&text, '-') &&
              digits(&text, 2, &month) && literal(&text, '-') &&
              digits(&text, 2, &t.tm_mday) && literal(&text, 'T') &&
              digits(&text, 2, &t.tm_hour) && literal(&text, ':') &&
              digits(&text, 2, &t.tm_min) && literal(&text, ':') &&
              digits(&text, 2, &t.tm_sec) && fraction(&text, &ms) &&
              strcmp(text, "Z") == 0;
  if (!good || t.tm_hour > 23 || t.tm_min > 59 || t.tm_sec > 59) return false;
  t.tm_year = year - 1900;
  t.tm_mon = month - 1;
  struct tm real = t;
  time_t seconds = timegm(&real);
  /* A day that the month does not have has become another one. */
  if (real.tm_mon != t.tm_mon || real.tm_mday != t.tm_mday) return false;
  *out = (int64_t)seconds * 1000 + ms;
  return true;
}

/* -10m: so long before now. */
static bool relative_time(const char *text, int64_t now_ms, int64_t *out) {
  static const char units[] = "smhd";
  static const int64_t unit_ms[] = {1000, 60000, 3600000, 86400000};
  char *rest;
  if (text[0] != '-' || text[1] < '0' || text[1] > '9') return false;
  errno = 0;
  int64_t count = strtoll(text, &rest, 10), ms;
  const char *unit = rest[0] == '\0' ? NULL : strchr(units, rest[0]);
  return errno == 0 && unit != NULL && rest[1] == '\0' &&
         !__builtin_mul_overflow(count, unit_ms[unit - units], &ms) &&
         !__builtin_add_overflow(now_ms, ms, out);
}

static bool plain_time(const char *text, int64_t *out) {
  char *rest;
  const char *first = text[0] == '-' ? text + 1 : text;
  if (first[0] < '0' || first[0] > '9') return false;
  errno = 0;
  *out = strtoll(text, &rest, 10);
  return errno == 0 && rest[0] == '\0';
}

bool tool_timestamp(const char *text, int64_t now_ms, int64_t *out) {
  return plain_time(text, out) || relative_time(text, now_ms, out) ||
         calendar_time(text, out);
}

int64_t tool_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -------------------------------------------------------- durability -- */

bool tool_level(const char *text, duralog_level *level) {
  bool durable = strcmp(text, "durable") == 0;
  if (!durable && strcmp(text, "written") != 0) return false;
  *level = durable ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN;
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
