/* SPDX-License-Identifier: MIT
 *
 * Times and JSON.
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

/* How many bytes follow this first byte of a UTF-8 sequence; 4 for none. */
static size_t utf8_followers(unsigned char first) {
  if (first < 0x80) return 0;
  if (first >= 0xC2 && first < 0xE0) return 1;
  if (first >= 0xE0 && first < 0xF0) return 2;
  if (first >= 0xF0 && first < 0xF5) return 3;
  return 4;
}

/* The second byte's bounds keep out long forms, surrogates and what lies
 * above U+10FFFF. */
static bool utf8_second_fits(unsigned char first, unsigned char second) {
  unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

static bool utf8_valid(const unsigned char *bytes, size_t size) {
  for (size_t i = 0; i < size;) {
    size_t followers = utf8_followers(bytes[i]);
    if (followers > 3 || followers > size - i - 1) return false;
    if (followers > 0 && !utf8_second_fits(bytes[i], bytes[i + 1]))
      return false;
    for (size_t k = 2; k <= followers; k++)
      if ((bytes[i + k] & 0xC0) != 0x80) return false;
    i += followers + 1;
  }
  return true;
}

static void json_text(FILE *out, const unsigned char *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] < 0x20)
      fprintf(out, "\\u%04x", bytes[i]);
    else if (bytes[i] == '"' || bytes[i] == '\\')
      fprintf(out, "\\%c", bytes[i]);
    else
      fputc(bytes[i], out);
  }
}

static void base64(FILE *out, const unsigned char *bytes, size_t size) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    size_t left = size - i;
    uint32_t group = (uint32_t)bytes[i] << 16;
    if (left > 1) group |= (uint32_t)bytes[i + 1] << 8;
    if (left > 2) group |= bytes[i + 2];
    fputc(digits[group >> 18], out);
    fputc(digits[group >> 12 & 63], out);
    fputc(left > 1 ? digits[group >> 6 & 63] : '=', out);
    fputc(left > 2 ? digits[group & 63] : '=', out);
  }
}

void tool_json_bytes(FILE *out, const char *name, const void *bytes,
                     size_t size) {
  bool text = utf8_valid(bytes, size);
  fprintf(out, "\"%s%s\":\"", name, text ? "" : "_base64");
  if (text)
    json_text(out, bytes, size);
  else
    base64(out, bytes, size);
  fputc('"', out);
}
