/* SPDX-License-Identifier: MIT
 *
 * Prints a golden case as the annotated tables of lib/FORMAT.md:
 *
 *   golden_dump tests/golden/v1/worked
 *
 * test_format_md.c holds what stands in FORMAT.md against the golden files.
 */
#include "format.h"
#include "golden.h"
#include "walk.h"

/* How a field's value is shown. */
enum shown { UNSIGNED, SIGNED, HEX, BYTES };

struct field {
  const char *name;
  unsigned at, size;
  enum shown shown;
};

static const struct field identity_fields[] = {
    {"magic", 0, 8, BYTES},        {"check", 8, 8, HEX},
    {"version", 16, 4, UNSIGNED},  {"incompatible", 20, 4, HEX},
    {"compatible", 24, 4, HEX},    {"uuid", 32, 16, BYTES},
    {"number", 48, 8, UNSIGNED},   {"bytes", 56, 8, UNSIGNED},
    {"created_ms", 64, 8, SIGNED}, {NULL, 0, 0, HEX}};

static const struct field start_fields[] = {{"magic", 0, 8, BYTES},
                                            {"check", 8, 8, HEX},
                                            {"offset", 16, 8, UNSIGNED},
                                            {"time_ms", 24, 8, SIGNED},
                                            {"epoch", 32, 8, UNSIGNED},
                                            {"durable", 40, 8, UNSIGNED},
                                            {"previous_check", 48, 4, HEX},
                                            {"boot_id", 56, 16, BYTES},
                                            {NULL, 0, 0, HEX}};

static const struct field mark_fields[] = {
    {"magic", 0, 8, BYTES},        {"check", 8, 8, HEX},
    {"sequence", 16, 8, UNSIGNED}, {"durable", 24, 8, UNSIGNED},
    {"epoch", 32, 8, UNSIGNED},    {"clean", 40, 8, UNSIGNED},
    {"boot_id", 48, 16, BYTES},    {NULL, 0, 0, HEX}};

static const struct field seal_fields[] = {
    {"magic", 0, 8, BYTES},          {"check", 8, 8, HEX},
    {"end_offset", 16, 8, UNSIGNED}, {"end_position", 24, 8, UNSIGNED},
    {"epoch", 32, 8, UNSIGNED},      {"time_max_ms", 40, 8, SIGNED},
    {"last_check", 48, 4, HEX},      {NULL, 0, 0, HEX}};

static const struct field meta_fields[] = {
    {"magic", 0, 8, BYTES},
    {"check", 8, 8, HEX},
    {"version", 16, 4, UNSIGNED},
    {"incompatible", 20, 4, HEX},
    {"compatible", 24, 4, HEX},
    {"uuid", 32, 16, BYTES},
    {"created_ms", 48, 8, SIGNED},
    {"first_segment", 56, 8, UNSIGNED},
    {"accepted_segment", 64, 8, UNSIGNED},
    {"accepted_offset", 72, 8, UNSIGNED},
    {"accepted_epoch", 80, 8, UNSIGNED},
    {NULL, 0, 0, HEX}};

static const struct field frame_fields[] = {
    {"check", 0, 4, HEX},          {"body_bytes", 4, 4, UNSIGNED},
    {"body_check", 8, 4, HEX},     {"index", 12, 4, UNSIGNED},
    {"time_delta", 16, 4, SIGNED}, {"flags", 20, 2, HEX},
    {"lag", 22, 2, UNSIGNED},      {NULL, 0, 0, HEX}};

/* ---- rows ---- */

static void print_bytes(const uint8_t *bytes, size_t size) {
  size_t run = 1;
  while (run < size && bytes[run] == bytes[0]) run++;
  if (run == size && size > 32) {
    printf("%02x × %zu", bytes[0], size);
    return;
  }
  for (size_t i = 0; i < size; i++) printf("%s%02x", i ? " " : "", bytes[i]);
}

static void print_text(const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (size > 16 || ((bytes[i] < ' ' || bytes[i] > '~') && bytes[i] != '\n'))
      return;
  putchar('"');
  for (size_t i = 0; i < size; i++)
    if (bytes[i] == '\n')
      printf("\\n");
    else
      putchar(bytes[i]);
  putchar('"');
}

static uint64_t word(const uint8_t *bytes, size_t size) {
  uint64_t value = 0;
  while (size-- > 0) value = value << 8 | bytes[size];
  return value;
}

static void print_value(const uint8_t *bytes, size_t size, enum shown shown) {
  uint64_t value = word(bytes, size < 8 ? size : 8);
  switch (shown) {
    case UNSIGNED: printf("%llu", (unsigned long long)value); break;
    case SIGNED:
      printf("%lld", size == 4 ? (long long)(int32_t)value : (long long)value);
      break;
    case HEX:
      printf("0x%0*llx", (int)(2 * size), (unsigned long long)value);
      break;
    case BYTES: print_text(bytes, size); break;
  }
}

static void row(const struct golden_file *f, uint64_t at, size_t size,
                const char *block, const char *name, enum shown shown,
                const char *note) {
  printf("| %04llx | ", (unsigned long long)at);
  print_bytes(f->bytes + at, size);
  printf(" | %s%s%s | ", block, *block ? "." : "", name);
  print_value(f->bytes + at, size, shown);
  printf("%s |\n", note);
}

static void block(const struct golden_file *f, uint64_t at, const char *name,
                  const struct field *fields) {
  if (all_zero(f->bytes + at, SECTOR_BYTES)) return;
  for (; fields->name; fields++)
    row(f, at + fields->at, fields->size, name, fields->name, fields->shown,
        "");
}

/* ---- frames ---- */

static const char *note_of_flags(uint16_t flags) {
  static char note[64];
  static const char *const types[] = {"?", "record", "PAD", "EPOCH", "ROLL"};
  unsigned type = flags & FRAME_TYPE_MASK;
  snprintf(note, sizeof note, ": %s%s%s%s", types[type < 5 ? type : 0],
           flags & FRAME_MORE ? ", more" : "",
           flags & FRAME_TIME ? ", time" : "",
           flags & FRAME_KEY ? ", key" : "");
  return note;
}

static void print_record(const struct golden_file *f, const struct frame *h,
                         uint64_t at, const char *name) {
  struct frame_body parts;
  if (!frame_parse_body(h, f->bytes + at, &parts)) return;
  if (parts.has_time) row(f, at, 8, name, "timestamp", SIGNED, "");
  if (parts.has_key) {
    row(f, at + parts.key_at - 4, 4, name, "key_bytes", UNSIGNED, "");
    if (parts.key_bytes)
      row(f, at + parts.key_at, parts.key_bytes, name, "key", BYTES, "");
  }
  size_t size = h->body_bytes - parts.blocks_bytes;
  if (size) row(f, at + parts.blocks_bytes, size, name, "data", BYTES, "");
}

static void print_frame(const struct golden_file *f, const struct walk *w,
                        const struct frame *h) {
  char name[32];
  bool record = frame_type(h) == FRAME_RECORD;
  if (record)
    snprintf(name, sizeof name, "record %llu", (unsigned long long)w->offset);
  else
    snprintf(name, sizeof name, "%s", note_of_flags(h->flags) + 2);
  for (const struct field *x = frame_fields; x->name; x++)
    row(f, w->position + x->at, x->size, name, x->name, x->shown,
        strcmp(x->name, "flags") == 0 ? note_of_flags(h->flags) : "");
  uint64_t body = w->position + FRAME_HEADER_BYTES;
  if (frame_type(h) == FRAME_EPOCH) {
    row(f, body, 8, name, "epoch", UNSIGNED, "");
    row(f, body + 8, 8, name, "previous_epoch", UNSIGNED, "");
  }
  if (record) print_record(f, h, body, name);
}

static void print_frames(const struct golden_file *f) {
  struct identity id;
  struct start s;
  struct walk w;
  struct frame h;
  if (identity_decode(&id, f->bytes) != BLOCK_VALID ||
      start_decode(&s, f->bytes, id.uuid, id.number) != BLOCK_VALID)
    return;
  walk_begin(&w, id.uuid, id.number, f->size, &s);
  while (walk_has_room(&w) &&
         walk_header(&w, f->bytes + w.position, &h) == WALK_OK) {
    print_frame(f, &w, &h);
    if (!walk_accept(&w, id.uuid, &h,
                     f->bytes + w.position + FRAME_HEADER_BYTES))
      break;
  }
}

static void print_segment(const struct golden_file *f) {
  block(f, IDENTITY_AT, "identity", identity_fields);
  block(f, START_AT, "start", start_fields);
  block(f, MARK_AT, "mark 0", mark_fields);
  block(f, MARK_AT + SECTOR_BYTES, "mark 1", mark_fields);
  block(f, SEAL_AT, "seal", seal_fields);
  print_frames(f);
}

int main(int argc, char **argv) {
  struct golden_files files;
  if (argc != 2) return fprintf(stderr, "usage: golden_dump DIRECTORY\n"), 2;
  golden_load_all(argv[1], &files);
  for (size_t i = 0; i < files.count; i++) {
    const struct golden_file *f = &files.list[i];
    printf("`%s`, %zu bytes%s\n\n", f->name, f->size, f->size ? ":" : ".");
    if (f->size == 0) continue;
    printf("| at | bytes | field | value |\n|---|---|---|---|\n");
    if (strcmp(f->name, META_NAME) == 0)
      block(f, 0, "meta", meta_fields);
    else if (segment_number_of(f->name))
      print_segment(f);
    printf("\n");
  }
  golden_free(&files);
  return 0;
}
