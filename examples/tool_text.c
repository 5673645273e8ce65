/* SPDX-License-Identifier: MIT
 *
 * Times as text.
 */
#include <inttypes.h>
#include <time.h>

#include "tool.h"

void tool_time(int64_t timestamp_ms, char out[TOOL_TIME_BYTES]) {
  int64_t ms = timestamp_ms % 1000;
  if (ms < 0) ms += 1000; /* C rounds towards zero, a clock rounds down */
  time_t seconds = (time_t)((timestamp_ms - ms) / 1000);
  struct tm utc;
  char date[TOOL_TIME_BYTES - 8];
  if (timestamp_ms < INT64_MIN + 1000 || gmtime_r(&seconds, &utc) == NULL ||
      strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
    snprintf(out, TOOL_TIME_BYTES, "%" PRId64, timestamp_ms);
  else
    snprintf(out, TOOL_TIME_BYTES, "%s.%03dZ", date, (int)ms);
}

void tool_duration(uint64_t ns, char out[TOOL_DURATION_BYTES]) {
  static const char *const units[] = {"ns", "us", "ms", "s"};
  double value = (double)ns;
  int unit = 0;
  while (unit < 3 && value >= 1000) {
    value /= 1000;
    unit++;
  }
  snprintf(out, TOOL_DURATION_BYTES, "%.*f %s", value < 10 && unit > 0 ? 1 : 0,
           value, units[unit]);
}
