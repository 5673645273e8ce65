/* SPDX-License-Identifier: MIT
 *
 * What the parts of opening share: options.c reads what the host asked for,
 * directory.c finds out what is there and makes a log where there is none,
 * views.c shows its unsealed part to recovery, open.c builds the handle from
 * the plan, accept.c goes on behind damage.
 */
#ifndef DURALOG_OPEN_H
#define DURALOG_OPEN_H

#include "log.h"

struct number_list {
  uint64_t *numbers;
  size_t count, capacity;
};

/* What a directory holds. */
struct listing {
  struct number_list segments;  /* ascending */
  struct number_list temporary; /* unfinished segments */
  bool meta, meta_temporary, lock;
  bool others; /* names that are not ours */
};

/* A log being opened. */
struct opening {
  const char *path;
  duralog_options options; /* normalised */
  struct duralog *log;
  duralog_report report;
  duralog_diagnostic *diagnostic; /* the caller's, or NULL */
  struct listing listing;
  struct meta meta;
  bool meta_lost;
  /* To be undone on failure. */
  bool made_directory, made_lock, made_control, creating;
};

duralog_error opening_fail(struct opening *, duralog_error, int os_error,
                           const char *name, const char *text);
/* For a failed system call. */
duralog_error opening_fail_os(struct opening *, int result, const char *name,
                              const char *text);
/* For a failed sync of a directory. */
duralog_error opening_fail_sync(struct opening *, int result, const char *text);
duralog_error opening_fail_segment(struct opening *, uint64_t number,
                                   const struct segment_failure *);

/* Open or make the directory, look at the file system, list, lock, and read or
 * make the meta file. */
duralog_error directory_open(struct opening *);
/* Read a segment's header page; not valid: missing, short, or another's. */
duralog_error directory_read_page(struct opening *, uint64_t number,
                                  uint8_t page[SEGMENT_HEADER_BYTES],
                                  struct identity *, bool *valid);
duralog_error directory_write_meta(struct opening *);
/* Remove what no log needs; numbers up to `keep` stay. `adopted`: the last of
 * them is one that an earlier writer prepared. */
duralog_error directory_clean(struct opening *, uint64_t keep, bool adopted);
duralog_error directory_look_for_writer(struct opening *);
duralog_error directory_list(struct opening *);
duralog_error directory_read_meta(struct opening *);
/* A creation failed: leave things as they were. */
void directory_undo(struct opening *);
/* What a directory holds: 0 or a negative errno. */
int listing_read(struct listing *, io_env *, int directory);
void listing_free(struct listing *, io_env *);

/* ---- options.c ---- */

/* Fill in the defaults; gives what is wrong, or NULL. */
const char *options_normalise(const duralog_options *given,
                              duralog_options *out);
void options_apply(struct duralog *, const duralog_options *);

/* ---- views.c ---- */

struct views {
  struct recovery_view *list;
  struct seal *ends;
  struct io_range *ranges; /* their bytes, as they are accessed */
  int *files;
  size_t count, capacity;
  struct recovery_point from;
  uint64_t gap_segment; /* the first number missing among the sealed, or 0 */
};

duralog_error views_gather(struct opening *, struct views *);
/* Run the body, which touches the bytes of the views. Fails only where the host
 * asked for the guard; what the body wrote is then to be thrown away. */
duralog_error views_access(struct opening *, const struct views *,
                           void (*body)(void *), void *context);
void views_unmap(struct views *, io_env *);
void views_free(struct views *, io_env *);
/* The seal of a segment, if it has a readable one. */
duralog_error views_read_seal(struct opening *, uint64_t number, struct seal *,
                              bool *sealed);

/* ---- open.c ---- */

duralog_error opening_no_memory(struct opening *);
/* List all segments below a number, none of them open. */
duralog_error opening_catalog(struct opening *, uint64_t below);
/* The log goes on in this segment, where the plan ends. */
void opening_place_tail(struct opening *, struct segment *,
                        const struct recovery_plan *, int64_t time_max_ms);

/* ---- accept.c ---- */

duralog_error accept_damage(struct opening *, struct views *,
                            struct recovery_plan *);

#endif
