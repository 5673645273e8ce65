/* SPDX-License-Identifier: MIT
 *
 * Files and header pages. Pure encoding and decoding; FORMAT.md has the same
 * names and a worked dump.
 *
 * A log is a directory:
 *   meta                       identity of the log (struct meta)
 *   lock                       empty; the writer holds a kernel lock on it
 *   control                    what it shows to other processes; of no worth
 *   00000000000000000001.seg   segments, numbered densely from 1
 *   *.tmp                      unfinished; removed by the next writer
 *
 * A segment begins with a page of blocks, each in a 512-byte sector of its own,
 * each with a checksum seeded with log, segment and kind, so that one torn or
 * lost sector costs one block:
 *   0     identity  written once, before the file gets its name
 *   512   start     written when the segment comes into use
 *   1024  mark 0    a durable watermark; the newer valid mark counts
 *   1536  mark 1
 *   2048  seal      written when all of the segment has been synced
 * Frames follow from 4096 on. An all-zero block was never written.
 */
#ifndef DURALOG_FORMAT_H
#define DURALOG_FORMAT_H

#include "base.h"

enum {
  FORMAT_VERSION = 1,
  FORMAT_INCOMPATIBLE_KNOWN = 0, /* feature bits this release understands */

  SEGMENT_HEADER_BYTES = 4096,
  SECTOR_BYTES = 512,
  SEGMENT_BYTES_MIN = 16 * 1024,
  SEGMENT_BYTES_MAX = 1 << 30,
  META_BYTES = 512,
  META_NUMBER = 0, /* the meta file in the place of a segment number */
  SEGMENT_NUMBER_FIRST = 1,

  IDENTITY_AT = 0,
  START_AT = 512,
  MARK_AT = 1024, /* two of them */
  SEAL_AT = 2048,

  NAME_BYTES = 32
};

/* Far beyond use: a name with a higher number is somebody else's. */
#define SEGMENT_NUMBER_MAX (UINT64_C(1) << 48)

#define META_NAME "meta"
#define META_TEMPORARY_NAME "meta.tmp"
#define LOCK_NAME "lock"
#define CONTROL_NAME "control" /* see control.h */

struct identity {
  uint32_t version;
  uint32_t incompatible; /* feature bits a reader must know */
  uint32_t compatible;   /* feature bits a reader may ignore */
  uint8_t uuid[16];
  uint64_t number;
  uint64_t bytes; /* size of the file */
  int64_t created_ms;
};

/* Where a segment begins, and what it follows. */
struct start {
  uint64_t offset;         /* of its first record */
  int64_t time_ms;         /* base of its frames' time deltas */
  uint64_t epoch;          /* at its beginning */
  uint64_t durable;        /* when it came into use: a claim, like a mark */
  uint32_t previous_check; /* header check of the predecessor's ROLL frame; 0:
                            * nothing before it, or damage was accepted */
  uint8_t boot_id[16];     /* for reports only */
};

/* A claim that everything below `durable` had been synced. */
struct mark {
  uint64_t sequence; /* the higher one is newer; 0 = no such mark */
  uint64_t durable;
  uint64_t epoch;
  bool clean; /* nothing follows: the writer closed the log here */
  uint8_t boot_id[16];
};

struct seal {
  uint64_t end_offset;
  uint64_t end_position; /* behind the ROLL frame */
  uint64_t epoch;        /* at its end */
  int64_t time_max_ms;   /* of its records */
  uint32_t last_check;   /* header check of its ROLL frame */
};

struct meta {
  uint32_t version, incompatible, compatible;
  uint8_t uuid[16];
  int64_t created_ms;
  uint64_t first_segment; /* the lowest number that must exist */
  /* Damage below this segment was accepted; it begins at that offset, in an
   * epoch above the given one. 0: none was. */
  uint64_t accepted_segment, accepted_offset, accepted_epoch;
};

/* What decoding a block or file can say. */
enum block_state {
  BLOCK_VALID,
  BLOCK_EMPTY,   /* all zero: never written */
  BLOCK_DAMAGED, /* neither */
  BLOCK_NEWER    /* valid, of a version or with features unknown here */
};

void identity_encode(uint8_t *page, const struct identity *);
enum block_state identity_decode(struct identity *, const uint8_t *page);

void start_encode(uint8_t *page, const struct start *, const uint8_t uuid[16],
                  uint64_t number);
enum block_state start_decode(struct start *, const uint8_t *page,
                              const uint8_t uuid[16], uint64_t number);

/* `slot` is 0 or 1; a mark of sequence s belongs into slot s % 2. */
void mark_encode(uint8_t *page, const struct mark *, const uint8_t uuid[16],
                 uint64_t number);
enum block_state mark_decode(struct mark *, const uint8_t *page, int slot,
                             const uint8_t uuid[16], uint64_t number);
/* The newer valid one; its sequence is 0 if there is none. */
struct mark mark_newest(const uint8_t *page, const uint8_t uuid[16],
                        uint64_t number);

void seal_encode(uint8_t *page, const struct seal *, const uint8_t uuid[16],
                 uint64_t number);
enum block_state seal_decode(struct seal *, const uint8_t *page,
                             const uint8_t uuid[16], uint64_t number);

void meta_encode(uint8_t file[META_BYTES], const struct meta *);
enum block_state meta_decode(struct meta *, const uint8_t file[META_BYTES]);

/* File names. segment_number_of gives 0 for what is not a segment's name. */
void segment_name(char name[NAME_BYTES], uint64_t number);
void segment_temporary_name(char name[NAME_BYTES], uint64_t number);
uint64_t segment_number_of(const char *name);
bool name_is_temporary(const char *name);

/* How many bytes are zero before the first that is not. */
uint64_t zero_run(const uint8_t *bytes, uint64_t size);
bool all_zero(const uint8_t *bytes, size_t size);

#endif
