/* SPDX-License-Identifier: MIT
 *
 * Every block is: magic u64, check u64, fields. The check covers the fields and
 * is seeded with log, segment number and magic (for identity and meta, which
 * tell what the log is, with the magic alone). Bytes behind the fields are
 * zero when written and not looked at.
 */
#include "format.h"

#include "checksum.h"

#define MAGIC(a, b, c, d)                                            \
  ((uint64_t)'d' | (uint64_t)'l' << 8 | (uint64_t)'o' << 16 |        \
   (uint64_t)'g' << 24 | (uint64_t)(a) << 32 | (uint64_t)(b) << 40 | \
   (uint64_t)(c) << 48 | (uint64_t)(d) << 56)

#define MAGIC_IDENTITY MAGIC('S', 'E', 'G', '\n')
#define MAGIC_START MAGIC('S', 'T', 'A', 'R')
#define MAGIC_MARK MAGIC('M', 'A', 'R', 'K')
#define MAGIC_SEAL MAGIC('S', 'E', 'A', 'L')
#define MAGIC_META MAGIC('M', 'E', 'T', '\n')

enum {
  FIELDS_AT = 16,
  IDENTITY_FIELDS = 56,
  START_FIELDS = 56,
  MARK_FIELDS = 48,
  SEAL_FIELDS = 40,
  META_FIELDS = 72
};

uint64_t zero_run(const uint8_t *bytes, uint64_t size) {
  enum { STRIDE = 256 }; /* at once, so that it vectorises */
  uint64_t i = 0;
  for (; i + STRIDE <= size; i += STRIDE) {
    uint64_t bits = 0;
    for (uint64_t j = 0; j < STRIDE; j += 8) bits |= load64(bytes + i + j);
    if (bits) break;
  }
  for (; i + 8 <= size && load64(bytes + i) == 0; i += 8)
    ;
  while (i < size && bytes[i] == 0) i++;
  return i;
}

bool all_zero(const uint8_t *bytes, size_t size) {
  return zero_run(bytes, size) == size;
}

static uint64_t block_seed(uint64_t magic, const uint8_t uuid[16],
                           uint64_t number) {
  uint8_t bytes[32];
  memcpy(bytes, uuid, 16);
  store64(bytes + 16, number);
  store64(bytes + 24, magic);
  return checksum64(bytes, sizeof bytes, 0);
}

static void block_finish(uint8_t *block, uint64_t magic, size_t fields,
                         uint64_t seed) {
  store64(block, magic);
  store64(block + 8, checksum64(block + FIELDS_AT, fields, seed));
}

static enum block_state block_check(const uint8_t *block, uint64_t magic,
                                    size_t fields, uint64_t seed) {
  if (load64(block) == magic &&
      load64(block + 8) == checksum64(block + FIELDS_AT, fields, seed))
    return BLOCK_VALID;
  return all_zero(block, SECTOR_BYTES) ? BLOCK_EMPTY : BLOCK_DAMAGED;
}

static enum block_state version_check(uint32_t version, uint32_t incompatible) {
  bool known = version == FORMAT_VERSION &&
               !(incompatible & ~(uint32_t)FORMAT_INCOMPATIBLE_KNOWN);
  return known ? BLOCK_VALID : BLOCK_NEWER;
}

void identity_encode(uint8_t *page, const struct identity *i) {
  uint8_t *p = page + IDENTITY_AT;
  memset(p, 0, SECTOR_BYTES);
  store32(p + 16, i->version);
  store32(p + 20, i->incompatible);
  store32(p + 24, i->compatible);
  memcpy(p + 32, i->uuid, 16);
  store64(p + 48, i->number);
  store64(p + 56, i->bytes);
  store64(p + 64, (uint64_t)i->created_ms);
  block_finish(p, MAGIC_IDENTITY, IDENTITY_FIELDS, MAGIC_IDENTITY);
}

enum block_state identity_decode(struct identity *i, const uint8_t *page) {
  const uint8_t *p = page + IDENTITY_AT;
  enum block_state state =
      block_check(p, MAGIC_IDENTITY, IDENTITY_FIELDS, MAGIC_IDENTITY);
  if (state != BLOCK_VALID) return state;
  i->version = load32(p + 16);
  i->incompatible = load32(p + 20);
  i->compatible = load32(p + 24);
  memcpy(i->uuid, p + 32, 16);
  i->number = load64(p + 48);
  i->bytes = load64(p + 56);
  i->created_ms = (int64_t)load64(p + 64);
  state = version_check(i->version, i->incompatible);
  if (state != BLOCK_VALID) return state;
  bool possible = i->bytes >= SEGMENT_BYTES_MIN &&
                  i->bytes <= SEGMENT_BYTES_MAX && i->bytes % 4096 == 0;
  return possible ? BLOCK_VALID : BLOCK_DAMAGED;
}

void start_encode(uint8_t *page, const struct start *s, const uint8_t uuid[16],
                  uint64_t number) {
  uint8_t *p = page + START_AT;
  store64(p + 16, s->offset);
  store64(p + 24, (uint64_t)s->time_ms);
  store64(p + 32, s->epoch);
  store64(p + 40, s->durable);
  store32(p + 48, s->previous_check);
  store32(p + 52, 0);
  memcpy(p + 56, s->boot_id, 16);
  block_finish(p, MAGIC_START, START_FIELDS,
               block_seed(MAGIC_START, uuid, number));
}

enum block_state start_decode(struct start *s, const uint8_t *page,
                              const uint8_t uuid[16], uint64_t number) {
  const uint8_t *p = page + START_AT;
  enum block_state state = block_check(p, MAGIC_START, START_FIELDS,
                                       block_seed(MAGIC_START, uuid, number));
  if (state != BLOCK_VALID) return state;
  s->offset = load64(p + 16);
  s->time_ms = (int64_t)load64(p + 24);
  s->epoch = load64(p + 32);
  s->durable = load64(p + 40);
  s->previous_check = load32(p + 48);
  memcpy(s->boot_id, p + 56, 16);
  return BLOCK_VALID;
}

void mark_encode(uint8_t *page, const struct mark *m, const uint8_t uuid[16],
                 uint64_t number) {
  uint8_t *p = page + MARK_AT + (m->sequence % 2) * SECTOR_BYTES;
  store64(p + 16, m->sequence);
  store64(p + 24, m->durable);
  store64(p + 32, m->epoch);
  store64(p + 40, m->clean);
  memcpy(p + 48, m->boot_id, 16);
  block_finish(p, MAGIC_MARK, MARK_FIELDS,
               block_seed(MAGIC_MARK, uuid, number));
}

enum block_state mark_decode(struct mark *m, const uint8_t *page, int slot,
                             const uint8_t uuid[16], uint64_t number) {
  const uint8_t *p = page + MARK_AT + slot * SECTOR_BYTES;
  enum block_state state = block_check(p, MAGIC_MARK, MARK_FIELDS,
                                       block_seed(MAGIC_MARK, uuid, number));
  if (state != BLOCK_VALID) return state;
  m->sequence = load64(p + 16);
  m->durable = load64(p + 24);
  m->epoch = load64(p + 32);
  m->clean = load64(p + 40) != 0;
  memcpy(m->boot_id, p + 48, 16);
  /* A mark copied into the other slot is not one. */
  return m->sequence % 2 == (uint64_t)slot ? BLOCK_VALID : BLOCK_DAMAGED;
}

struct mark mark_newest(const uint8_t *page, const uint8_t uuid[16],
                        uint64_t number) {
  struct mark newest = {0}, m = {0};
  for (int slot = 0; slot < 2; slot++)
    if (mark_decode(&m, page, slot, uuid, number) == BLOCK_VALID &&
        m.sequence > newest.sequence)
      newest = m;
  return newest;
}

void seal_encode(uint8_t *page, const struct seal *s, const uint8_t uuid[16],
                 uint64_t number) {
  uint8_t *p = page + SEAL_AT;
  store64(p + 16, s->end_offset);
  store64(p + 24, s->end_position);
  store64(p + 32, s->epoch);
  store64(p + 40, (uint64_t)s->time_max_ms);
  store32(p + 48, s->last_check);
  store32(p + 52, 0);
  block_finish(p, MAGIC_SEAL, SEAL_FIELDS,
               block_seed(MAGIC_SEAL, uuid, number));
}

enum block_state seal_decode(struct seal *s, const uint8_t *page,
                             const uint8_t uuid[16], uint64_t number) {
  const uint8_t *p = page + SEAL_AT;
  enum block_state state = block_check(p, MAGIC_SEAL, SEAL_FIELDS,
                                       block_seed(MAGIC_SEAL, uuid, number));
  if (state != BLOCK_VALID) return state;
  s->end_offset = load64(p + 16);
  s->end_position = load64(p + 24);
  s->epoch = load64(p + 32);
  s->time_max_ms = (int64_t)load64(p + 40);
  s->last_check = load32(p + 48);
  return BLOCK_VALID;
}

void meta_encode(uint8_t file[META_BYTES], const struct meta *m) {
  memset(file, 0, META_BYTES);
  store32(file + 16, m->version);
  store32(file + 20, m->incompatible);
  store32(file + 24, m->compatible);
  memcpy(file + 32, m->uuid, 16);
  store64(file + 48, (uint64_t)m->created_ms);
  store64(file + 56, m->first_segment);
  store64(file + 64, m->accepted_segment);
  store64(file + 72, m->accepted_offset);
  store64(file + 80, m->accepted_epoch);
  block_finish(file, MAGIC_META, META_FIELDS, MAGIC_META);
}

enum block_state meta_decode(struct meta *m, const uint8_t file[META_BYTES]) {
  enum block_state state =
      block_check(file, MAGIC_META, META_FIELDS, MAGIC_META);
  if (state != BLOCK_VALID) return state;
  m->version = load32(file + 16);
  m->incompatible = load32(file + 20);
  m->compatible = load32(file + 24);
  memcpy(m->uuid, file + 32, 16);
  m->created_ms = (int64_t)load64(file + 48);
  m->first_segment = load64(file + 56);
  m->accepted_segment = load64(file + 64);
  m->accepted_offset = load64(file + 72);
  m->accepted_epoch = load64(file + 80);
  return version_check(m->version, m->incompatible);
}

/* ---- names ---- */

enum { NAME_DIGITS = 20 };

void segment_name(char name[NAME_BYTES], uint64_t number) {
  for (int i = NAME_DIGITS - 1; i >= 0; i--) {
    name[i] = (char)('0' + number % 10);
    number /= 10;
  }
  memcpy(name + NAME_DIGITS, ".seg", 5);
}

void segment_temporary_name(char name[NAME_BYTES], uint64_t number) {
  segment_name(name, number);
  memcpy(name + NAME_DIGITS + 4, ".tmp", 5);
}

uint64_t segment_number_of(const char *name) {
  uint64_t number = 0;
  for (int i = 0; i < NAME_DIGITS; i++) {
    if (name[i] < '0' || name[i] > '9') return 0;
    uint64_t digit = (uint64_t)(name[i] - '0');
    if (number > (UINT64_MAX - digit) / 10) return 0;
    number = number * 10 + digit;
  }
  bool ours =
      number <= SEGMENT_NUMBER_MAX && strcmp(name + NAME_DIGITS, ".seg") == 0;
  return ours ? number : 0;
}

bool name_is_temporary(const char *name) {
  if (strcmp(name, META_TEMPORARY_NAME) == 0) return true;
  char copy[NAME_BYTES] = {0};
  size_t length = strlen(name);
  if (length != NAME_DIGITS + 8 || strcmp(name + length - 4, ".tmp") != 0)
    return false;
  memcpy(copy, name, length - 4);
  return segment_number_of(copy) != 0;
}
