/* SPDX-License-Identifier: MIT
 *
 * Crashing a run of the library everywhere, without running it again: at each
 * event of the world (an I/O call, a step between stores) what may be left of
 * its disk is built beside it, a log is opened there and compared with the
 * model, and the run goes on as if nothing had been.
 *
 * One state is one recovery. States are distinct by the disk's content together
 * with everything that decides what is legal; what was recovered once is not
 * recovered again.
 */
#ifndef CRASH_EXPLORE_H
#define CRASH_EXPLORE_H

#include "choices.h"
#include "model.h"
#include "states.h"

#define CRASH_DIRECTORY "/log"

enum { DEPTH_MAX = 3, INVARIANT_MAX = 35, CHOICE_KILL = -1, NOT_CHOSEN = -2 };

/* How much is tried. */
struct budget {
  uint64_t all_max; /* subsets of a point taken one by one up to this many */
  uint64_t limit;   /* beyond: pairs and random ones, so many */
  /* Every how many states, 0 = never: crashes inside of their recovery, another
   * life behind it, and damage to what was durable. */
  uint64_t nested_every, life_every, damage_every;
  uint64_t nested_limit; /* subsets of a point inside of a recovery */
  int depth;
};

/* One crash after another: at which event, and what survived. */
struct crash_path {
  uint64_t event[DEPTH_MAX];
  int64_t choice[DEPTH_MAX];
  int depth; /* 0: none, that is everything */
};

/* A run of the library and what it has promised. */
struct run {
  struct sim *sim;
  duralog *log; /* NULL while it is closed */
  duralog_options options;
  struct model model;
  int skip;                 /* a sync reason, or -1 */
  const char *failed;       /* an operation did not do what it should */
  enum crash_kind may_lose; /* CRASH_POWER: since a cut, or since a sync failed,
                             * until the log was opened again */
  bool unwatched;           /* nobody crashes it at this time */
  const char *die_at; /* at an event of this name it is killed by itself */
  jmp_buf die_point;
};

struct explorer {
  struct run *run;
  struct budget budget;
  uint64_t seed;
  struct crash_path only; /* for a replay */
  struct crash_path path; /* where it is now */
  struct states states;
  struct sim *worlds[DEPTH_MAX + 2]; /* two more to be damaged */
  struct sim_unit *units[DEPTH_MAX];
  uint32_t *options[DEPTH_MAX];
  int broken;               /* an assumption that does not hold, or 0 */
  bool harm_spares_headers; /* without assumption 2 */
  void (*forge)(struct sim *, const struct run *); /* assumption 8 off */
  bool active;
  uint64_t recoveries, kills, nested, lives, damages, points;
  /* The first failure, and how many there were of each invariant. */
  const char *wrong;
  uint64_t wrong_count, wrong_by_invariant[INVARIANT_MAX + 1];
  bool quiet; /* no picture */
  char replay[256];
};

/* NULL: no memory. */
struct explorer *explorer_new(void);
void explorer_free(struct explorer *);
/* Look at this run from now on; events count from 0. */
void explorer_watch(struct explorer *, struct run *, bool active);
/* A crash now, between two calls. */
void explorer_point(struct explorer *, const char *what);
/* The run itself went wrong: no crash was needed. */
void explorer_failed(struct explorer *, const char *wrong);

/* ---- picture.c ---- */

/* What was written, what survived, what was promised, for a person. */
void picture_print(const struct explorer *, struct sim *before,
                   const struct sim_unit *, const uint32_t *options,
                   size_t count, const char *at, const char *wrong);

#endif
