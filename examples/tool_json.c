/* SPDX-License-Identifier: MIT
 *
 * JSON: the one place that prints it. A tool_json knows whether something came
 * before, and so where a comma belongs.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tool.h"

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

/* The comma and the name, "<name><suffix>": where there is one. */
static void json_name(tool_json *json, const char *name, const char *suffix) {
  if (json->comma) fputc(',', json->out);
  if (name != NULL) fprintf(json->out, "\"%s%s\":", name, suffix);
  json->comma = true;
}

void tool_json_open(tool_json *json, const char *name, char bracket) {
  json_name(json, name, "");
  fputc(bracket, json->out);
  json->comma = false;
}

void tool_json_close(tool_json *json, char bracket) {
  fputc(bracket, json->out);
  json->comma = true;
}

void tool_json_end(tool_json *json) {
  tool_json_close(json, '}');
  fputc('\n', json->out);
  json->comma = false;
}

void tool_json_number(tool_json *json, const char *name, uint64_t value) {
  json_name(json, name, "");
  fprintf(json->out, "%" PRIu64, value);
}

void tool_json_real(tool_json *json, const char *name, double value) {
  json_name(json, name, "");
  if (isfinite(value))
    fprintf(json->out, "%.3f", value);
  else
    fputs("null", json->out);
}

void tool_json_time(tool_json *json, const char *name, int64_t ms) {
  json_name(json, name, "");
  fprintf(json->out, "%" PRId64, ms);
}

void tool_json_bool(tool_json *json, const char *name, bool value) {
  json_name(json, name, "");
  fputs(value ? "true" : "false", json->out);
}

void tool_json_null(tool_json *json, const char *name) {
  json_name(json, name, "");
  fputs("null", json->out);
}

void tool_json_bytes(tool_json *json, const char *name, const void *bytes,
                     size_t size) {
  bool text = utf8_valid(bytes, size);
  json_name(json, name, text ? "" : "_base64");
  fputc('"', json->out);
  if (text)
    json_text(json->out, bytes, size);
  else
    base64(json->out, bytes, size);
  fputc('"', json->out);
}

void tool_json_string(tool_json *json, const char *name, const char *text) {
  tool_json_bytes(json, name, text, strlen(text));
}

void tool_json_damage(tool_json *json, const duralog_damage *damage) {
  tool_json_open(json, NULL, '{');
  tool_json_number(json, "from", damage->from);
  tool_json_number(json, "to", damage->to);
  tool_json_number(json, "segment", damage->segment);
  tool_json_number(json, "position", damage->position);
  tool_json_close(json, '}');
}
