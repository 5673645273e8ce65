/* SPDX-License-Identifier: MIT */
#include "states.h"

#include <stdlib.h>

static struct state *find(const struct states *s, uint64_t key) {
  size_t i = (size_t)key & (s->capacity - 1);
  while (s->table[i].key && s->table[i].key != key)
    i = (i + 1) & (s->capacity - 1);
  return &s->table[i];
}

static bool grow(struct states *s) {
  struct states larger = {.capacity = s->capacity ? 2 * s->capacity : 1 << 12,
                          .count = s->count};
  larger.table = calloc(larger.capacity, sizeof *larger.table);
  if (!larger.table) return false;
  for (size_t i = 0; i < s->capacity; i++)
    if (s->table[i].key) *find(&larger, s->table[i].key) = s->table[i];
  free(s->table);
  *s = larger;
  return true;
}

struct state *states_enter(struct states *s, uint64_t key, bool *is_new) {
  if (key == 0) key = 1;
  if (2 * (s->count + 1) > s->capacity && !grow(s)) return NULL;
  struct state *found = find(s, key);
  *is_new = found->key == 0;
  if (*is_new) {
    found->key = key;
    s->count++;
  }
  return found;
}

void states_free(struct states *s) {
  free(s->table);
  *s = (struct states){NULL, 0, 0};
}
