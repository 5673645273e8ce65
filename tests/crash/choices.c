/* SPDX-License-Identifier: MIT */
#include "choices.h"

#include <stdlib.h>

static uint64_t random_of(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static uint64_t product_of(const struct sim_unit *units, size_t count) {
  uint64_t product = 1;
  for (size_t i = 0; i < count; i++) {
    product *= units[i].options;
    if (product > CHOICES_ALL_MAX) return CHOICES_ALL_MAX + 1;
  }
  return product;
}

/* ---- pairs ---- */

static size_t bit_of(const struct choices *c, uint32_t a, uint32_t b) {
  return (size_t)(a < b ? a : b) * c->option_count + (a < b ? b : a);
}

static bool unmet(const struct choices *c, uint32_t a, uint32_t b) {
  size_t bit = bit_of(c, a, b);
  return c->unmet[bit / 8] >> (bit % 8) & 1;
}

static void pairs_begin(struct choices *c) {
  c->first = malloc((c->count + 1) * sizeof *c->first);
  if (!c->first) abort();
  for (size_t i = 0; i < c->count; i++) {
    c->first[i] = c->option_count;
    c->option_count += c->units[i].options;
  }
  c->unmet = calloc((size_t)c->option_count * c->option_count / 8 + 1, 1);
  if (!c->unmet) abort();
  for (size_t i = 0; i < c->count; i++)
    for (size_t j = i + 1; j < c->count; j++)
      for (uint32_t a = 0; a < c->units[i].options; a++)
        for (uint32_t b = 0; b < c->units[j].options; b++) {
          size_t bit = bit_of(c, c->first[i] + a, c->first[j] + b);
          c->unmet[bit / 8] |= (uint8_t)(1u << (bit % 8));
          c->unmet_count++;
        }
}

/* How many unmet pairs an option makes with those chosen before it. */
static uint64_t gain(const struct choices *c, const uint32_t *options, size_t i,
                     uint32_t option) {
  uint64_t n = 0;
  for (size_t j = 0; j < i; j++)
    n += unmet(c, c->first[j] + options[j], c->first[i] + option);
  return n;
}

static void meet(struct choices *c, const uint32_t *options) {
  for (size_t i = 0; i < c->count; i++)
    for (size_t j = i + 1; j < c->count; j++) {
      size_t bit =
          bit_of(c, c->first[i] + options[i], c->first[j] + options[j]);
      if (!(c->unmet[bit / 8] >> (bit % 8) & 1)) continue;
      c->unmet[bit / 8] &= (uint8_t) ~(1u << (bit % 8));
      c->unmet_count--;
    }
}

/* A first option that still has a pair to meet, then greedily; where nothing is
 * gained, in turn, so that it ends. */
static void pairwise(struct choices *c, uint32_t *options) {
  uint64_t turn = c->seed + c->next;
  for (size_t i = 0; i < c->count; i++) {
    uint32_t best = (uint32_t)(random_of(&turn) % c->units[i].options);
    uint64_t most = gain(c, options, i, best);
    for (uint32_t o = 0; o < c->units[i].options; o++) {
      uint64_t g = gain(c, options, i, o);
      if (g > most) {
        most = g;
        best = o;
      }
    }
    options[i] = best;
  }
  meet(c, options);
}

/* ---- the sequence ---- */

void choices_begin(struct choices *c, const struct sim_unit *units,
                   size_t count, uint64_t all_max, uint64_t limit,
                   uint64_t seed) {
  *c = (struct choices){.units = units,
                        .count = count,
                        .product = product_of(units, count),
                        .limit = limit,
                        .seed = seed};
  if (c->product <= all_max)
    c->limit = c->product;
  else if (c->product <= CHOICES_ALL_MAX)
    c->limit = min_u64(limit, c->product);
  else
    pairs_begin(c);
}

static void all(const struct choices *c, uint64_t number, uint32_t *options) {
  for (size_t i = 0; i < c->count; i++) {
    options[i] = (uint32_t)(number % c->units[i].options);
    number /= c->units[i].options;
  }
}

static void at_random(const struct choices *c, uint64_t number,
                      uint32_t *options) {
  uint64_t state = c->seed * 1000003 + number;
  /* Mostly as synced, mostly as seen last, or anything. */
  uint64_t lean = random_of(&state) % 3;
  for (size_t i = 0; i < c->count; i++) {
    options[i] = sim_unit_random(&c->units[i], random_of(&state));
    if (lean == 0 && random_of(&state) % 4) options[i] = 0;
    if (lean == 1 && random_of(&state) % 4)
      options[i] = c->units[i].kind == SIM_UNIT_SECTOR
                       ? c->units[i].versions
                       : c->units[i].options - 1;
  }
}

bool choices_next(struct choices *c, uint32_t *options, uint64_t *number) {
  if (c->next >= c->limit) return false;
  uint64_t i = c->next++;
  *number = i;
  if (c->product <= CHOICES_ALL_MAX) {
    *number = i * c->product / c->limit; /* evenly, where not all are taken */
    all(c, *number, options);
  } else if (c->unmet_count) {
    pairwise(c, options);
  } else {
    at_random(c, i, options);
  }
  return true;
}

void choices_end(struct choices *c) {
  free(c->unmet);
  free(c->first);
}
