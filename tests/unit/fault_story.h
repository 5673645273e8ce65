/* SPDX-License-Identifier: MIT
 *
 * What test_fault runs, again and again, with one point that fires: short
 * stories of a log, on the simulated disk or on real files, which look at every
 * answer. fault_story.c has the calls and what must hold after each;
 * fault_plots.c has the stories; fault_rules.c says which error a fault may
 * come out as.
 */
#ifndef FAULT_STORY_H
#define FAULT_STORY_H

#include "io_fault.h"
#include "io_sim.h"
#include "support.h"

enum mode {
  MODE_EACH,
  MODE_RECORDS,
  MODE_BYTES,
  MODE_INTERVAL,
  MODE_PAGECACHE,
  MODE_MIXTURE,
  MODE_STRICT,
  MODE_PADDED,
  MODES
};

enum plot {
  PLOT_LIFE,
  PLOT_UNCLEAN,
  PLOT_DAMAGE,
  PLOT_FOLLOW,
  PLOT_SALVAGE,
  PLOT_GROUPS,
  PLOTS
};

/* One case: the point fires at its k-th call, once or from then on. At a step
 * the process ends: error 0 kills it, n cuts the power with seed n - 1. */
struct fault_case {
  const char *point; /* NULL: none */
  int error;
  uint64_t k;
  bool ever;
  enum mode mode;
  enum plot plot;
};

enum { NUMBERS_MAX = 256 };

struct story {
  struct fault_case now;
  struct sim *sim; /* NULL: real files */
  struct io_fault fault;
  char path[192];
  duralog_options options;
  jmp_buf death;  /* where a step leads */
  size_t handles; /* open before the story began */

  /* The point. */
  uint64_t calls;
  bool quiet;           /* calls are not counted, nothing fires */
  uint64_t fired, seen; /* how often; when an answer was last looked at */

  /* The log as it must be. */
  uint64_t floor;              /* records that the next open finds at least */
  uint64_t tried;              /* and at most */
  uint64_t end;                /* visible */
  uint64_t promised;           /* ever shown as durable */
  uint32_t life;               /* openings so far */
  uint32_t lives[NUMBERS_MAX]; /* which may have written a record, as bits */
  bool damaged;
  uint64_t committed; /* by the group, durably; 0: nothing */

  /* The open handle. */
  duralog *log;
  bool poisoned;
  bool writer_lives; /* as the last opening reported it */
  bool follows;      /* the same */
  uint64_t frozen;   /* `durable` when it was */

  /* What watches the open handle, or NULL; by duralog_watched. */
  duralog_watch *watches[3];
  uint64_t taken[3];

  uint64_t surfaced;            /* errors that the fault came out as */
  duralog_salvage_report whole; /* of a salvage without faults */
};

/* ---- fault_story.c ---- */

/* What libfiu asks: whether the point fires now. */
int story_decide(const char *name, int *failnum, void **failinfo,
                 unsigned int *flags);

void story_begin(struct story *, const struct fault_case *, struct sim *,
                 const char *path);
/* Whether the call went on as if there were no fault. */
bool story_open(struct story *, const duralog_options *,
                duralog_error expected);
void story_close(struct story *);
/* The same with a follower open beside it. */
void story_close_beside(struct story *);
void story_kill(struct story *); /* not with real files */

/* Read the watermarks and hold them against what is known. */
void story_look(struct story *);

enum shape { SINGLE, KEYED, BATCH, RESERVED };
bool story_append(struct story *, enum shape, duralog_level);
void story_append_until_full(struct story *);
bool story_tick(struct story *);
void story_sync(struct story *);
void story_wait(struct story *);
void story_read(struct story *);
void story_segments(struct story *);
/* Watch the handle until it is closed: nothing that moves is missed. */
void story_watch(struct story *);
/* A follower's reader takes all there is, from `*position` on. */
void story_follow(struct story *, duralog *follower, duralog_reader *,
                  uint64_t *position);
/* Its wait for one more record that is not going to come. */
void story_follow_wait(struct story *, duralog *follower, duralog_reader *);
/* Salvage the damaged log, which nobody has open. */
void story_salvage(struct story *);
/* What it leaves on real files where the process ended in the middle. */
void story_remove_copies(const struct story *);
/* The fault is over: everything works again. */
void story_recovers(struct story *);

/* ---- fault_groups.c ---- */

void plot_groups(struct story *);
/* In an open log: what the group committed is there. */
void story_groups_check(struct story *);

/* ---- fault_plots.c ---- */

void plot_run(struct story *);
/* One case from its beginning to the check at its end. Whether the point was
 * reached; `*benign` says whether nobody was told of it. */
bool case_run(const struct fault_case *, bool *benign);
/* The same on real files, in a directory that does not exist yet. */
bool case_run_real(const struct fault_case *, const char *path, bool *benign);
/* For test_note: how to run it again. */
const char *case_text(const struct fault_case *);

/* ---- fault_rules.c ---- */

enum call {
  CALL_OPEN,
  CALL_CLOSE,
  CALL_APPEND,
  CALL_SYNC,
  CALL_WAIT,
  CALL_TICK,
  CALL_READER_OPEN,
  CALL_READ,
  CALL_HOLD,
  CALL_READER_WAIT,
  CALL_SEGMENT,
  CALL_SALVAGE,
  CALL_WATCH_OPEN,
  CALL_WATCH_TAKE
};

/* NULL, or what is wrong with this answer to this fault. */
const char *rules_object(enum call, const struct fault_case *, duralog_error);
/* Why nobody need be told of that fault; NULL if somebody must. */
const char *rules_benign(const struct fault_case *);
/* How many entries of the benign list were never needed; names them. */
size_t rules_benign_unused(void);

bool is_step(const char *point);

#endif
