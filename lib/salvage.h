/* SPDX-License-Identifier: MIT
 *
 * Salvage, as its parts share it: salvage_scan.c says what of one segment's
 * bytes is provable, salvage_files.c finds and reads the files of the log,
 * salvage_out.c writes the copy, salvage_segment.c brings the three together
 * for one segment, salvage.c leads.
 *
 * WHAT IS PROVABLE. A frame whose header and body validate at their place was
 * written there by a writer of this log in that epoch. Three things it does not
 * say by itself:
 *
 *   the offset      The header has it relative to the segment's first, which
 *                   `start` says, or the end of the segment before, or this
 *                   one's end together with its ROLL.
 *   that it stayed  A recovery may have cut it away, and an epoch above may
 *                   have given its offset to another record. What lay behind a
 *                   cut is overwritten from there on; so bytes of it are left
 *                   behind the new end, or come back where a sector is stale.
 *                   Hence epochs must not fall towards higher positions; and
 *                   behind a hole is accepted what recovery would have accepted
 *                   without the hole, if something of the same epoch says that
 *                   all that the hole held had been durable, or comes later in
 *                   the file. Where a hole hides the change to a higher epoch,
 *                   the page before it may be one that came back: of its
 *                   records only those known to be durable count.
 *   its batch       Behind a hole a record may be the rest of a batch whose
 *                   beginning was in the hole. It is none if the frame before
 *                   it ended a batch, or if anyone ever claimed that `durable`
 *                   stood right before it, since it stands at batch ends.
 *
 * What fails one of these is not copied, and reported as a gap.
 */
#ifndef DURALOG_SALVAGE_H
#define DURALOG_SALVAGE_H

#include "open.h"

enum {
  SALVAGE_PAGE_BYTES = 4096, /* what may come back as it was, at most */
  SALVAGE_ISLANDS_MAX = 1 << 16,
  SALVAGE_EPOCHS_MAX = 32
};

/* ---- salvage_scan.c: pure ---- */

/* Frames one behind the other. */
struct salvage_island {
  uint64_t position, offset, epoch; /* where it begins */
  uint64_t end_position, end_offset, end_epoch;
  /* Behind the first record that ends a batch; 0: there is none. */
  uint64_t second_position, second_offset, second_epoch;
  uint64_t whole_offset, whole_position; /* behind the last such record */
  bool boundary;                         /* a batch begins where it begins */
  bool rolled; /* ends with the ROLL that led to the next segment */
  bool raised; /* holds an EPOCH frame, and a record behind it */
  bool body;   /* ended by a record whose data alone is damaged */
  /* The verdict: records [from, to) from that place on; none if equal. */
  uint64_t from, to, from_position, from_epoch, to_position;
  bool doubtful; /* some were left out for what they might be */
};

struct salvage_claim {
  uint64_t epoch, durable;
};

struct salvage_scan {
  /* In. */
  const uint8_t *uuid;
  uint64_t number;
  const uint8_t *bytes;
  uint64_t size;          /* of the file */
  uint64_t segment_bytes; /* that it should be */
  bool started;           /* `base` and `epoch` are what `start` says */
  uint64_t base;          /* offset of its first record */
  uint64_t epoch;         /* at its beginning, or the lowest possible */
  uint64_t end_position;  /* where its frames end; NONE: not known */
  bool partial;           /* take batches of which a part is lost */
  uint64_t limit;         /* later segments have the offsets from there on */
  bool end_epoch_known; /* something follows in this epoch, in a later segment,
                         * or the seal says so */
  uint64_t end_epoch;
  uint32_t roll_check; /* of its ROLL frame; 0: not known */
  uint64_t epoch_seen; /* highest one that a mark of this segment names */
  struct salvage_claim claims[SALVAGE_EPOCHS_MAX]; /* and out */
  size_t claim_count;
  /* Out. */
  struct salvage_island *islands; /* room for SALVAGE_ISLANDS_MAX, or as many as
                                   * `capacity` */
  size_t count, capacity;
  bool newer, cut_short; /* too many islands, or too much that looks like one */
  uint64_t newer_position;
  uint64_t durable;   /* the largest claim */
  uint64_t epoch_max; /* the highest epoch seen */
};

void salvage_claim_add(struct salvage_scan *, uint64_t epoch, uint64_t durable);
/* Find the islands and decide about them. */
void salvage_scan_run(struct salvage_scan *);
/* Whether the first frame is of a higher epoch than `start` says: then that is
 * an older start. */
bool salvage_start_is_stale(const struct salvage_scan *);
/* A walk that stands there. */
struct walk salvage_walk_at(const struct salvage_scan *, uint64_t position,
                            uint64_t offset, uint64_t epoch);

/* ---- salvage_files.c ---- */

/* A file that is named as a segment. */
struct salvage_file {
  uint64_t name;        /* the number in its name */
  uint64_t number;      /* of the segment that it holds; 0: none of this log */
  uint64_t size, bytes; /* of the file; that the segment should have */
  const char *trouble;  /* what is wrong with it as a whole, or NULL */
  bool started, sealed;
  bool unidentified;  /* its identity is damaged */
  bool page_damaged;  /* a block of its header page is */
  bool start_damaged; /* that one */
  struct start start;
  struct seal seal;
  struct mark marks[2]; /* sequence 0: not valid */
  uint64_t limit;       /* the lowest first offset of a later segment */
  size_t next;          /* the next one that is started, or `segments` */
};

struct salvage_source {
  struct opening opening;     /* path and diagnostic, listing, meta */
  struct duralog log;         /* its io and directory */
  struct salvage_file *files; /* by number; those of no segment last */
  size_t count, segments;     /* so many are of a segment, one for each */
  bool meta_valid, meta_there;
  uint8_t meta_bytes[META_BYTES]; /* as found, zeros behind */
  uint64_t durable;               /* the largest claim of any header page */
  struct mark newest;             /* of all marks */
  uint64_t unreadable_bytes;      /* that the disk would not give */
  uint64_t open_failures;
  /* The file that was loaded. */
  uint8_t *bytes;
  uint64_t size, data_end;
};

duralog_error salvage_source_open(struct salvage_source *, const uint8_t *uuid);
/* Read the file into memory; what the disk does not give is zeros. */
duralog_error salvage_source_load(struct salvage_source *,
                                  const struct salvage_file *);
void salvage_source_unload(struct salvage_source *);
/* BUSY where a writer lives. */
duralog_error salvage_source_idle(struct salvage_source *);
void salvage_source_close(struct salvage_source *);

/* ---- salvage_out.c ---- */

struct salvage_buffer {
  int file;
  uint64_t position; /* of the buffer in the file */
  size_t used;
  uint8_t bytes[64 << 10];
};

struct salvage_out {
  struct opening opening; /* path, diagnostic, meta */
  struct duralog log;     /* its io and directory */
  bool made, locked, evidence_made, report_made;
  uint64_t number;    /* of the last segment made */
  uint64_t bytes_max; /* of a segment of the source */

  /* The segment being written. */
  struct walk walk;
  struct start start;
  int64_t time_max_ms;
  uint32_t last_check;
  uint64_t end; /* offset behind the last one */

  struct salvage_buffer segment, evidence, report;
  size_t items; /* in the report */
};

duralog_error salvage_out_open(struct salvage_out *);
/* Begin a segment for `frames_bytes` of frames, the first record at `offset`;
 * put records and epochs, in order; finish it. */
duralog_error salvage_out_begin(struct salvage_out *, uint64_t offset,
                                uint64_t epoch, int64_t time_ms,
                                uint64_t frames_bytes);
duralog_error salvage_out_record(struct salvage_out *, const struct frame *,
                                 const uint8_t *body);
duralog_error salvage_out_epoch(struct salvage_out *, uint64_t epoch);
duralog_error salvage_out_finish(struct salvage_out *);
/* Keep bytes; tells where they lie. */
duralog_error salvage_out_keep(struct salvage_out *, const uint8_t *bytes,
                               uint64_t size, uint64_t *at);
duralog_error salvage_out_item(struct salvage_out *,
                               const duralog_salvage_item *);
/* Make it all durable, and a log. */
duralog_error salvage_out_done(struct salvage_out *,
                               const duralog_salvage_report *);
/* Close; remove everything again unless `keep`. */
void salvage_out_close(struct salvage_out *, bool keep);

/* ---- salvage_segment.c ---- */

#define SALVAGE_MISSING "a segment file is missing"

/* What lies behind the last record copied, until it is known what it cost. */
struct pending {
  bool there;
  bool file; /* a file is missing or not what it should be: no torn tail */
  duralog_salvage_item item;
};

/* The ROLL with which a segment ended. */
struct rolled {
  uint64_t number; /* 0: none */
  uint64_t offset, epoch;
};

struct salvage {
  io_env *io;
  duralog_salvage_options options;
  duralog_salvage_report report;
  struct salvage_source source;
  struct salvage_out out;
  struct salvage_scan scan;
  struct salvage_island *islands;

  uint64_t next;    /* offset behind the last record copied */
  uint64_t durable; /* the largest claim there is */
  uint64_t epoch_max;
  int64_t time_ms;     /* the latest copied */
  bool torn_from_here; /* a hole was met: what follows needs evidence */
  struct pending pending;
  struct rolled rolled;
  uint64_t number_last; /* the segment before */
};

/* Tell of damage that cost no record; of bytes of the loaded file. */
duralog_error salvage_tell_damage(struct salvage *, duralog_salvage_item *);
/* What cannot be copied: what it cost is told by what comes next. `file`: a
 * file is missing, or not what it should be. */
duralog_error salvage_pend(struct salvage *, uint64_t name, uint64_t position,
                           uint64_t end, const char *reason, bool file);
/* The next record that is there has this offset; NONE: nobody knows. */
duralog_error salvage_settle(struct salvage *, uint64_t offset);

/* Scan the loaded segment; false: nothing says what it begins with. */
bool salvage_scan_segment(struct salvage *, const struct salvage_file *);
duralog_error salvage_newer(struct salvage *, const struct salvage_file *);
duralog_error salvage_segment(struct salvage *, const struct salvage_file *);
/* A file that is no segment of this log, or not one that can be made out. */
duralog_error salvage_keep_file(struct salvage *, const struct salvage_file *);

#endif
