/* SPDX-License-Identifier: MIT
 *
 * Which subsets of what was unsynced survive, one after the other.
 *
 * Where there are up to CHOICES_ALL_MAX, a choice is the number of one of them
 * all. Where there are more, the first choices are a set in which each two
 * options of any two units meet (pairwise testing: Cohen et al., "The AETG
 * system", 1997), and the rest are random. The number of a choice says what it
 * is, whatever the limit was with which it was found.
 */
#ifndef CRASH_CHOICES_H
#define CRASH_CHOICES_H

#include "io_sim.h"

enum { CHOICES_ALL_MAX = 4096 };

struct choices {
  const struct sim_unit *units;
  size_t count;
  uint64_t product; /* CHOICES_ALL_MAX + 1: more than that */
  uint64_t limit, next;
  uint64_t seed;
  /* Of the pairwise set: what is not met yet, a bit for each two options. */
  uint8_t *unmet;
  uint32_t *first; /* number of each unit's first option */
  uint32_t option_count;
  uint64_t unmet_count;
};

/* `all_max`: up to how many subsets are taken one by one; beyond that `limit`
 * of them (with all pairs, if they fit into it). */
void choices_begin(struct choices *, const struct sim_unit *, size_t count,
                   uint64_t all_max, uint64_t limit, uint64_t seed);
/* The next one, and its number; false: no more. */
bool choices_next(struct choices *, uint32_t *options, uint64_t *number);
void choices_end(struct choices *);

#endif
