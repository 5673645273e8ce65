/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <string.h>

#include "checksum.h"
#include "frame.h"
#include "io_sim.h"

const struct crash_mode crash_modes[] = {
    {.name = "every-record"},
    {.name = "every-3", .durability = {.sync_every_records = 3}},
    {.name = "every-600-bytes", .durability = {.sync_every_bytes = 600}},
    {.name = "interval", .durability = {.sync_interval_ms = 20}},
    {.name = "pagecache", .durability = {.pagecache = true}},
    {.name = "mixture",
     .durability = {.sync_every_records = 5, .sync_interval_ms = 20},
     .copying_reads = true},
    {.name = "strict", .strict = true},
    {.name = "padded",
     .durability = {.sync_every_records = 2},
     .pad_syncs = true},
};
const size_t crash_mode_count = sizeof crash_modes / sizeof *crash_modes;

/* ---- what is appended ---- */

void model_fill(const struct model_record *r, uint8_t *to) {
  uint32_t x = r->content * 2654435761u + 1;
  for (uint32_t i = 0; i < r->size; i++) {
    to[i] = (uint8_t)(x >> 24);
    x = x * 1664525u + 1013904223u;
  }
}

static uint64_t frame_bytes_of(const struct model_record *r) {
  uint64_t key = r->keyed ? FRAME_KEY_LENGTH_BYTES + sizeof r->content : 0;
  return frame_bytes(r->size + key);
}

struct model_record *model_add(struct model *m, uint32_t size, bool keyed) {
  size_t i = m->count + m->in_flight++;
  struct model_record *r = &m->records[i];
  *r = (struct model_record){
      .content = ++m->next_content, .size = size, .keyed = keyed};
  r->bytes = (i ? m->records[i - 1].bytes : 0) + frame_bytes_of(r);
  r->batch_end = true;
  if (m->in_flight > 1) r[-1].batch_end = false;
  return r;
}

void model_returned(struct model *m, duralog_level level, uint64_t now_ns) {
  for (size_t i = 0; i < m->in_flight; i++)
    m->records[m->count + i].appended_ns = now_ns;
  m->count += m->in_flight;
  m->in_flight = 0;
  if (level == DURALOG_LEVEL_WRITTEN) return;
  m->acknowledged = m->count;
  m->called_ns = now_ns;
  if (level == DURALOG_LEVEL_DURABLE) m->promised = m->count;
}

void model_saw(struct model *m, uint64_t end, uint64_t durable) {
  m->seen = max_u64(m->seen, end);
  m->promised = max_u64(m->promised, durable);
}

/* ---- what a power cut may take ---- */

static bool is_every_record(const struct crash_mode *mode) {
  const duralog_durability *d = &mode->durability;
  return !d->pagecache && !d->sync_every_records && !d->sync_every_bytes &&
         !d->sync_interval_ms;
}

uint64_t model_records_bound(const struct crash_mode *mode) {
  if (is_every_record(mode)) return 0;
  uint64_t n = mode->durability.sync_every_records;
  return n ? n - 1 : UINT64_MAX;
}

uint64_t model_bytes_bound(const struct crash_mode *mode) {
  uint64_t b = mode->durability.sync_every_bytes;
  return b ? b - 1 : UINT64_MAX;
}

/* I5, for the part [end, acknowledged) that is lost. */
static const char *check_loss(const struct model *m, uint64_t end) {
  if (end >= m->acknowledged) return NULL;
  if (m->acknowledged - end > model_records_bound(m->mode))
    return "I5: more acknowledged records are lost than the mode allows";
  uint64_t before = end ? m->records[end - 1].bytes : 0;
  if (m->records[m->acknowledged - 1].bytes - before >
      model_bytes_bound(m->mode))
    return "I5: more acknowledged bytes are lost than the mode allows";
  uint64_t interval = m->mode->durability.sync_interval_ms * NS_PER_MS;
  if (interval &&
      m->records[end].appended_ns + interval + 2 * SIM_SYNC_NS < m->called_ns)
    return "I5: a lost record was older than the interval when a call returned";
  return NULL;
}

/* ---- comparing ---- */

static bool is_record(const struct model *m, const struct model_record *r,
                      const duralog_record *is) {
  uint8_t bytes[MODEL_RECORD_BYTES_MAX];
  if (is->size != r->size || (is->key != NULL) != r->keyed) return false;
  (m->fill ? m->fill : model_fill)(r, bytes);
  if (memcmp(is->data, bytes, r->size) != 0) return false;
  return !r->keyed || (is->key_size == sizeof r->content &&
                       memcmp(is->key, &r->content, sizeof r->content) == 0);
}

static const char *read_one(const struct model *m, duralog_reader *reader,
                            uint64_t offset, uint64_t *next,
                            uint64_t *damaged) {
  duralog_record record;
  duralog_damage range;
  duralog_error e = duralog_read_next(reader, &record);
  *next = offset + 1;
  if (e == DURALOG_E_CORRUPT && damaged) {
    if (duralog_reader_diagnose(reader, &range, NULL) || range.to <= offset)
      return "I23: damage without a range that can be skipped";
    *damaged += range.to - offset;
    *next = range.to;
    return duralog_seek(reader, DURALOG_SEEK_OFFSET, range.to)
               ? "I23: nothing can be read behind damage"
               : NULL;
  }
  if (e) return "I1: a recovered record cannot be read";
  if (record.offset != offset) return "I1: an offset is not the next one";
  if (!is_record(m, &m->records[offset], &record))
    return "I1: a record is not what was appended";
  return NULL;
}

const char *model_read(const struct model *m, duralog *log, uint64_t end,
                       uint64_t *damaged) {
  duralog_reader *reader = NULL;
  const char *wrong = NULL;
  if (duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader))
    return "I1: no reader";
  for (uint64_t i = 0; !wrong && i < end;)
    wrong = read_one(m, reader, i, &i, damaged);
  duralog_reader_close(&reader);
  return wrong;
}

const char *model_check(const struct model *m, enum crash_kind kind,
                        duralog *log, uint64_t end) {
  duralog_watermarks w = {.struct_size = sizeof w};
  if (duralog_get_watermarks(log, &w)) return "I1: no watermarks";
  if (w.end != end || w.durable > w.end || w.start != 0)
    return "I10: watermarks contradict each other";
  if (end < m->promised) return "I2: a record that was promised is lost";
  if (end > m->count + m->in_flight)
    return "I3: there is more than was ever appended";
  if (end && !m->records[end - 1].batch_end)
    return "I4: a part of a batch came back";
  if (kind == CRASH_KILL && end < max_u64(m->count, m->seen))
    return "I11: a killed process took a returned record with it";
  const char *wrong = kind == CRASH_POWER ? check_loss(m, end) : NULL;
  if (!wrong) wrong = model_read(m, log, end, NULL);
  return wrong ? wrong
               : model_group_check(&m->group, kind == CRASH_KILL, log, end);
}

const char *model_adopt(struct model *m, duralog *log, uint64_t end,
                        uint64_t now_ns) {
  duralog_reader *reader = NULL;
  duralog_record record;
  const char *wrong = NULL;
  if (duralog_reader_open(log, DURALOG_LEVEL_WRITTEN, &reader))
    return "I1: no reader";
  for (uint64_t i = 0; !wrong && i < end; i++) {
    if (duralog_read_next(reader, &record))
      wrong = "I1: a record is gone";
    else if (m->shown[i].epoch == record.epoch &&
             m->shown[i].content != m->records[i].content)
      wrong = "I8: an epoch and offset were given to two payloads";
    m->shown[i].epoch = record.epoch;
    m->shown[i].content = m->records[i].content;
    m->records[i].appended_ns = now_ns;
  }
  duralog_reader_close(&reader);
  m->count = end;
  m->in_flight = 0;
  m->seen = end;
  m->acknowledged = min_u64(m->acknowledged, end);
  return wrong ? wrong : model_group_adopt(&m->group, log, end);
}

uint64_t model_digest(const struct model *m) {
  uint64_t what[] = {m->count,        m->in_flight,
                     m->seen,         m->promised,
                     m->acknowledged, (uint64_t)(m->mode - crash_modes)};
  uint64_t sum = checksum64(what, sizeof what, 3);
  for (size_t i = 0; i < m->count + m->in_flight; i++) {
    const struct model_record *r = &m->records[i];
    uint64_t each[] = {r->content, r->size, r->batch_end,
                       m->called_ns - r->appended_ns};
    if (!m->mode->durability.sync_interval_ms) each[3] = 0;
    sum = checksum64(each, sizeof each, sum);
  }
  return sum ^ model_group_digest(&m->group);
}
