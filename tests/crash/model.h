/* SPDX-License-Identifier: MIT
 *
 * The model that a recovered log is compared with: what was appended, what was
 * promised by then, and in which mode. It knows nothing of how a log is stored,
 * only what the contract says: an invariant that does not hold has a name.
 */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "duralog.h"
#include "model_group.h"

enum { MODEL_RECORDS_MAX = 2048, MODEL_RECORD_BYTES_MAX = 4096 };

struct crash_mode {
  const char *name;
  duralog_durability durability;
  bool strict, pad_syncs, copying_reads;
};

extern const struct crash_mode crash_modes[];
extern const size_t crash_mode_count;

struct model_record {
  uint32_t content; /* what its bytes are made of */
  uint32_t size;
  bool keyed;
  bool batch_end;
  uint64_t appended_ns;
  uint64_t bytes; /* of all frames up to and with this one */
};

struct model {
  const struct crash_mode *mode;
  /* The bytes of a record; NULL: model_fill. */
  void (*fill)(const struct model_record *, uint8_t *to);
  struct model_record records[MODEL_RECORDS_MAX];
  size_t count;          /* appends that returned */
  size_t in_flight;      /* records of an append that has not returned */
  uint64_t seen;         /* the highest `end` shown */
  uint64_t promised;     /* the highest `durable` shown, however */
  uint64_t acknowledged; /* the end of the last append at the mode's level */
  uint64_t called_ns;    /* when a call last saw to the interval */
  uint32_t next_content;
  /* (epoch, offset) pairs shown to a reader, and with which content (I8). */
  struct {
    uint64_t epoch;
    uint32_t content;
  } shown[MODEL_RECORDS_MAX];
  struct model_group group;
};

enum crash_kind { CRASH_KILL, CRASH_POWER };

/* The bytes of a record. */
void model_fill(const struct model_record *, uint8_t *to);

/* Begin an append: the model takes the records as in flight. */
struct model_record *model_add(struct model *, uint32_t size, bool keyed);
/* It returned; `level` is what was asked for. */
void model_returned(struct model *, duralog_level level, uint64_t now_ns);
/* Watermarks were shown. */
void model_saw(struct model *, uint64_t end, uint64_t durable);

/* Bytes that a crash of the power may take of what was acknowledged, and
 * records; UINT64_MAX: no bound. */
uint64_t model_records_bound(const struct crash_mode *);
uint64_t model_bytes_bound(const struct crash_mode *);

/* What is wrong with a log that was opened after a crash: the invariant and
 * what it says, or NULL. */
const char *model_check(const struct model *, enum crash_kind, duralog *,
                        uint64_t end);
/* Read all of [0, end): is it what was appended? `damaged` (or NULL) counts
 * records that were reported as damaged instead. */
const char *model_read(const struct model *, duralog *, uint64_t end,
                       uint64_t *damaged);
/* The log was checked and goes on from here. What is not durable of it is as
 * old as this opening, to an interval: how long its writer was dead is not
 * known. */
const char *model_adopt(struct model *, duralog *, uint64_t end,
                        uint64_t now_ns);

/* A number over everything that decides what is legal. */
uint64_t model_digest(const struct model *);

#endif
