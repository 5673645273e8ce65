/* SPDX-License-Identifier: MIT
 *
 * What salvage is held to: a log with everything in it, what it holds, and the
 * comparison of a copy with that. For tests of either kind.
 */
#ifndef SUPPORT_SALVAGE_H
#define SUPPORT_SALVAGE_H

#include "support.h"

struct truth_record {
  uint8_t *bytes; /* key, then data */
  size_t key_size, size;
  bool has_key;
  int64_t time;
  uint64_t epoch, batch_last;
};

/* All that a log holds, by offset. */
struct truth {
  struct truth_record *list;
  uint64_t end;
};

/* Where all of it happens; NULL is the operating system. */
extern const duralog_environment *salvage_environment;

void truth_load(struct truth *, const char *log);
void truth_free(struct truth *);

/* What a salvage said. */
enum { FOUND_MAX = 4096 };
struct found {
  duralog_salvage_item items[FOUND_MAX];
  size_t count;
  duralog_salvage_report report;
};

/* Salvage `log` into `copy`, which is removed first. `log` is as it was
 * afterwards, to the last modification time. `options` may be NULL. */
duralog_error salvage_run(const char *log, const char *copy,
                          const duralog_salvage_options *options,
                          struct found *);

/* The copy holds only what the truth holds, at its offsets; each offset below
 * its end is readable or in a gap that was told, and readers meet exactly these
 * ranges; the counts of the report are right; appends go on behind. Sets
 * `copied[offset]`, for `truth->end` offsets. */
void salvage_check(const char *copy, const struct truth *, const struct found *,
                   bool *copied);

/* Whether an item of that kind names the segment. */
bool found_in(const struct found *, duralog_salvage_kind, uint64_t segment);

#endif
