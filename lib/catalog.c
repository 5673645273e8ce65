/* SPDX-License-Identifier: MIT */
#include "catalog.h"

#include <errno.h>

/* How many unpinned segments stay open: enough for random reads around a few
 * places, few enough for a host that counts its descriptors. */
enum { UNPINNED_MAX = 16 };

static struct catalog_entry *lookup(struct catalog *c, uint64_t number) {
  size_t low = 0, high = c->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (c->entries[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == c->count || c->entries[low].number != number) return NULL;
  return &c->entries[low];
}

static bool grow(struct catalog *c, io_env *io) {
  size_t capacity = c->capacity ? c->capacity * 2 : 16;
  struct catalog_entry *larger = io->alloc(io, capacity * sizeof *larger);
  if (!larger) return false;
  if (c->count) memcpy(larger, c->entries, c->count * sizeof *larger);
  struct catalog_entry *smaller = c->entries;
  c->entries = larger; /* before the old ones go: a child of a fork in between
                        * frees what it sees here */
  c->capacity = capacity;
  if (smaller) io->free(io, smaller);
  return true;
}

bool catalog_add(struct catalog *c, io_env *io, uint64_t number,
                 struct segment *s) {
  mutex_lock(io, &c->lock);
  bool ok = c->count < c->capacity || grow(c, io);
  if (ok) {
    INVARIANT(c->count == 0 || c->entries[c->count - 1].number < number);
    c->entries[c->count++] =
        (struct catalog_entry){.number = number, .segment = s, .base = NONE};
    if (s) atomic_store(&s->pins, 1);
  }
  mutex_unlock(io, &c->lock);
  return ok;
}

void catalog_drop_last(struct catalog *c, io_env *io) {
  mutex_lock(io, &c->lock);
  c->count--;
  mutex_unlock(io, &c->lock);
}

static void evict_oldest(struct catalog *c, const struct log_directory *d) {
  struct catalog_entry *oldest = NULL;
  for (size_t i = 0; i < c->count; i++) {
    struct catalog_entry *e = &c->entries[i];
    if (e->segment && atomic_load(&e->segment->pins) == 0 &&
        (!oldest || e->used < oldest->used))
      oldest = e;
  }
  if (!oldest) return;
  struct segment *s = oldest->segment;
  oldest->segment = NULL; /* first: a forked child closes what it sees here */
  c->unpinned--;
  segment_close(d, s);
}

static enum catalog_result result_of(const struct segment_failure *why) {
  if (why->newer) return CATALOG_NEWER;
  return why->os_error ? CATALOG_FAILED : CATALOG_DAMAGED;
}

/* Pin an entry, with the lock held. */
static enum catalog_result pin(struct catalog *c, const struct log_directory *d,
                               struct catalog_entry *e, struct segment **out,
                               struct segment_failure *why) {
  if (e->segment) {
    if (atomic_fetch_add(&e->segment->pins, 1) == 0) c->unpinned--;
  } else {
    if (c->unpinned >= UNPINNED_MAX) evict_oldest(c, d);
    bool opened =
        segment_open(d, e->number, false, c->mapped, &e->segment, why);
    if (!opened && (why->os_error == EMFILE || why->os_error == ENFILE) &&
        c->unpinned > 0) {
      evict_oldest(c, d); /* our own spare descriptors first */
      opened = segment_open(d, e->number, false, c->mapped, &e->segment, why);
    }
    if (!opened) {
      e->segment = NULL;
      return result_of(why);
    }
    atomic_store(&e->segment->pins, 1);
  }
  segment_look_again(d, e->segment);
  if (e->base == NONE && atomic_load(&e->segment->started))
    e->base = e->segment->start.offset;
  *out = e->segment;
  return CATALOG_OK;
}

static void close_orphan(struct catalog *c, const struct log_directory *d,
                         struct segment *s) {
  struct segment **at = &c->orphans;
  while (*at != s) at = &(*at)->next_orphan;
  *at = s->next_orphan; /* first: a forked child closes what it sees here */
  segment_close(d, s);
}

static void unpin(struct catalog *c, const struct log_directory *d,
                  struct segment *s) {
  if (atomic_fetch_sub(&s->pins, 1) != 1) return;
  struct catalog_entry *e = lookup(c, s->number);
  if (!e || e->segment != s) {
    close_orphan(c, d, s);
    return;
  }
  e->used = ++c->clock;
  c->unpinned++;
}

enum catalog_result catalog_pin(struct catalog *c,
                                const struct log_directory *d, uint64_t number,
                                struct segment **out,
                                struct segment_failure *why) {
  mutex_lock(d->io, &c->lock);
  enum catalog_result result = CATALOG_ABSENT;
  struct catalog_entry *e = lookup(c, number);
  if (e) {
    result = pin(c, d, e, out, why);
  } else if (c->count && number > c->entries[0].number &&
             number < c->entries[c->count - 1].number) {
    *why = (struct segment_failure){.position = NONE,
                                    .text = "a segment file is missing"};
    result = CATALOG_DAMAGED;
  }
  mutex_unlock(d->io, &c->lock);
  return result;
}

/* The base of entry i: from memory, or by opening it. NONE if it has none or
 * is damaged; CATALOG_FAILED if that cannot be told now. */
static enum catalog_result base_of(struct catalog *c,
                                   const struct log_directory *d, size_t i,
                                   uint64_t *base,
                                   struct segment_failure *why) {
  struct catalog_entry *e = &c->entries[i];
  struct segment *s;
  if (e->base == NONE) {
    enum catalog_result result = pin(c, d, e, &s, why);
    if (result == CATALOG_OK) unpin(c, d, s);
    if (result == CATALOG_FAILED) return result;
  }
  *base = e->base;
  return CATALOG_OK;
}

enum catalog_result catalog_find(struct catalog *c,
                                 const struct log_directory *d, uint64_t offset,
                                 struct segment **out,
                                 struct segment_failure *why) {
  enum catalog_result result = CATALOG_OK;
  mutex_lock(d->io, &c->lock);
  /* The last entry with a base at or below the offset lies in [low, high).
   * Entries without a base (damaged, or not started) are stepped over. */
  size_t low = 0, high = c->count, best = c->count;
  while (low < high && result == CATALOG_OK) {
    size_t middle = low + (high - low) / 2, probe = middle;
    uint64_t base = NONE;
    while (probe < high &&
           (result = base_of(c, d, probe, &base, why)) == CATALOG_OK &&
           base == NONE)
      probe++;
    if (base == NONE || base > offset) {
      high = middle;
    } else {
      best = probe;
      low = probe + 1;
    }
  }
  if (result == CATALOG_OK)
    result = best < c->count ? pin(c, d, &c->entries[best], out, why)
                             : CATALOG_ABSENT;
  mutex_unlock(d->io, &c->lock);
  return result;
}

enum catalog_result catalog_next(struct catalog *c,
                                 const struct log_directory *d, uint64_t number,
                                 struct segment **out,
                                 struct segment_failure *why) {
  enum catalog_result result = CATALOG_ABSENT;
  mutex_lock(d->io, &c->lock);
  for (size_t i = 0; i < c->count; i++) {
    uint64_t base = NONE;
    if (c->entries[i].number <= number) continue;
    result = base_of(c, d, i, &base, why);
    if (result == CATALOG_OK && base != NONE)
      result = pin(c, d, &c->entries[i], out, why);
    else if (result == CATALOG_OK)
      result = CATALOG_ABSENT;
    /* What was damaged meanwhile is stepped over like the others. */
    if (result == CATALOG_OK || result == CATALOG_FAILED) break;
    result = CATALOG_ABSENT;
  }
  mutex_unlock(d->io, &c->lock);
  return result;
}

/* The first timed entry whose running maximum is at least the time. */
static size_t first_timed(const struct catalog *c, int64_t time_ms) {
  size_t low = 0, high = c->timed;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (c->entries[middle].time_running < time_ms)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

enum catalog_time_result catalog_find_time(struct catalog *c, io_env *io,
                                           uint64_t above, int64_t time_ms,
                                           uint64_t *number) {
  mutex_lock(io, &c->lock);
  size_t i = first_timed(c, time_ms);
  /* There it is, unless the caller has been there in vain. */
  while (i < c->timed &&
         (c->entries[i].number <= above || c->entries[i].time_max < time_ms))
    i++;
  enum catalog_time_result result = i < c->timed   ? CATALOG_TIME_HERE
                                    : i < c->count ? CATALOG_TIME_UNKNOWN
                                                   : CATALOG_TIME_NONE;
  if (i < c->count) *number = c->entries[i].number;
  mutex_unlock(io, &c->lock);
  return result;
}

void catalog_learn_time(struct catalog *c, io_env *io, uint64_t number,
                        int64_t time_max) {
  mutex_lock(io, &c->lock);
  size_t i = c->timed;
  /* Another thread may have learned it meanwhile. */
  if (i < c->count && c->entries[i].number == number) {
    struct catalog_entry *e = &c->entries[i];
    e->time_max = e->time_running = time_max;
    if (i > 0 && c->entries[i - 1].time_running > time_max)
      e->time_running = c->entries[i - 1].time_running;
    c->timed++;
  }
  mutex_unlock(io, &c->lock);
}

void catalog_pin_again(struct segment *s) { atomic_fetch_add(&s->pins, 1); }

void catalog_unpin(struct catalog *c, const struct log_directory *d,
                   struct segment *s) {
  mutex_lock(d->io, &c->lock);
  unpin(c, d, s);
  if (c->unpinned > UNPINNED_MAX) evict_oldest(c, d);
  mutex_unlock(d->io, &c->lock);
}

uint64_t catalog_last(struct catalog *c, io_env *io) {
  mutex_lock(io, &c->lock);
  uint64_t last = c->count ? c->entries[c->count - 1].number : 0;
  mutex_unlock(io, &c->lock);
  return last;
}

/* With the lock held: all that is open leaves the table. */
static void put_away(struct catalog *c, const struct log_directory *d) {
  for (size_t i = 0; i < c->count; i++) {
    struct segment *s = c->entries[i].segment;
    if (!s) continue;
    c->entries[i].segment = NULL;
    if (atomic_load(&s->pins) == 0) {
      segment_close(d, s);
      continue;
    }
    s->next_orphan = c->orphans;
    c->orphans = s;
  }
  c->unpinned = 0;
}

bool catalog_replace(struct catalog *c, const struct log_directory *d,
                     const uint64_t *numbers, size_t count) {
  io_env *io = d->io;
  size_t capacity = count ? count : 1;
  struct catalog_entry *entries = io->alloc(io, capacity * sizeof *entries);
  if (!entries) return false;
  for (size_t i = 0; i < count; i++)
    entries[i] = (struct catalog_entry){.number = numbers[i], .base = NONE};
  mutex_lock(io, &c->lock);
  put_away(c, d);
  struct catalog_entry *before = c->entries;
  c->count = 0; /* in an order in which a forked child may find it */
  c->timed = 0;
  c->entries = entries;
  c->capacity = capacity;
  c->count = count;
  mutex_unlock(io, &c->lock);
  if (before) io->free(io, before);
  return true;
}

bool catalog_number(struct catalog *c, io_env *io, size_t i, uint64_t *number) {
  mutex_lock(io, &c->lock);
  bool there = i < c->count;
  if (there) *number = c->entries[i].number;
  mutex_unlock(io, &c->lock);
  return there;
}

void catalog_close(struct catalog *c, const struct log_directory *d) {
  for (size_t i = 0; i < c->count; i++)
    if (c->entries[i].segment) segment_close(d, c->entries[i].segment);
  while (c->orphans) { /* a forked child's */
    struct segment *s = c->orphans;
    c->orphans = s->next_orphan;
    segment_close(d, s);
  }
  if (c->entries) d->io->free(d->io, c->entries);
  *c = (struct catalog){.entries = NULL};
}
