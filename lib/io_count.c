/* SPDX-License-Identifier: MIT */
#include "io_count.h"

enum { FIRST_BUCKET_BITS = 10 }; /* up to 1024 ns */

static struct io_count *count_of(io_env *io) {
  return (struct io_count *)(uintptr_t)io;
}

/* ---- syncs ---- */

enum duralog_sync_kind io_sync_kind(enum io_sync_reason why) {
  switch (why) {
    case IO_SYNC_DATA:
    case IO_SYNC_EPOCH: return DURALOG_SYNC_DATA;
    case IO_SYNC_UNCLEAN:
    case IO_SYNC_CLEAN:
    case IO_SYNC_WATERMARK: return DURALOG_SYNC_MARK;
    case IO_SYNC_FINISHED:
    case IO_SYNC_SEAL: return DURALOG_SYNC_SEAL;
    case IO_SYNC_AHEAD:
    case IO_SYNC_SEGMENT:
    case IO_SYNC_SEGMENT_NAME: return DURALOG_SYNC_SEGMENT;
    case IO_SYNC_GROUPS_NAME:
    case IO_SYNC_GROUP_NAME:
    case IO_SYNC_GROUP:
    case IO_SYNC_COMMIT:
    case IO_SYNC_REVIEW: return DURALOG_SYNC_GROUP;
    case IO_SYNC_META:
    case IO_SYNC_META_NAME:
    case IO_SYNC_LOG_NAME:
    case IO_SYNC_REMOVED:
    case IO_SYNC_NAMES:
    case IO_SYNC_DAMAGED:
    case IO_SYNC_SALVAGED:
    case IO_SYNC_SALVAGED_NAMES:
    case IO_SYNC_REASON_COUNT: break;
  }
  return DURALOG_SYNC_OPEN;
}

unsigned io_sync_bucket(uint64_t ns) {
  unsigned bits = ns ? 64 - (unsigned)__builtin_clzll(ns) : 0;
  unsigned bucket = bits > FIRST_BUCKET_BITS ? bits - FIRST_BUCKET_BITS : 0;
  return bucket < DURALOG_STATS_BUCKETS ? bucket : DURALOG_STATS_BUCKETS - 1;
}

static void count_sync(struct io_count *c, enum io_sync_reason why,
                       uint64_t began) {
  struct sync_counts *s = &c->counts.syncs[io_sync_kind(why)];
  uint64_t ns = c->inner->now(c->inner) - began;
  counter_add(&s->count, 1);
  counter_add(&s->total_ns, ns);
  counter_set(&s->max_ns, max_u64(counter_get(&s->max_ns), ns));
  counter_add(&s->histogram[io_sync_bucket(ns)], 1);
}

static int count_dir_sync_parent(io_env *io, const char *path,
                                 enum io_sync_reason why) {
  struct io_count *c = count_of(io);
  uint64_t began = c->inner->now(c->inner);
  int result = c->inner->dir_sync_parent(c->inner, path, why);
  count_sync(c, why, began);
  return result;
}

static int count_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  struct io_count *c = count_of(io);
  uint64_t began = c->inner->now(c->inner);
  int result = c->inner->dir_sync(c->inner, dir, why);
  count_sync(c, why, began);
  return result;
}

static int count_file_sync(io_env *io, int file, const struct io_part *part,
                           enum io_sync_reason why) {
  struct io_count *c = count_of(io);
  uint64_t began = c->inner->now(c->inner);
  int result = c->inner->file_sync(c->inner, file, part, why);
  count_sync(c, why, began);
  return result;
}

/* ---- hints ---- */

static int hinted(struct io_count *c, int result) {
  if (result) counter_add(&c->counts.hints_refused, 1);
  return result;
}

static int count_map_read_only(io_env *io, void *address, uint64_t bytes) {
  struct io_count *c = count_of(io);
  return hinted(c, c->inner->map_read_only(c->inner, address, bytes));
}

static int count_map_scattered(io_env *io, void *address, uint64_t bytes) {
  struct io_count *c = count_of(io);
  return hinted(c, c->inner->map_scattered(c->inner, address, bytes));
}

static int count_populate(io_env *io, void *address, uint64_t bytes,
                          bool for_writing) {
  struct io_count *c = count_of(io);
  return hinted(c, c->inner->populate(c->inner, address, bytes, for_writing));
}

static int count_depopulate(io_env *io, void *address, uint64_t bytes) {
  struct io_count *c = count_of(io);
  return hinted(c, c->inner->depopulate(c->inner, address, bytes));
}

io_env *io_count_around(struct io_count *c, io_env *inner) {
  /* A copy, so that all others are called as directly as before: the clock is
   * read once an append. They find their world in it. */
  c->environment = *inner;
  c->inner = inner;
  c->environment.retries = &c->counts.retries;
  c->environment.dir_sync_parent = count_dir_sync_parent;
  c->environment.dir_sync = count_dir_sync;
  c->environment.file_sync = count_file_sync;
  c->environment.map_read_only = count_map_read_only;
  c->environment.map_scattered = count_map_scattered;
  c->environment.populate = count_populate;
  c->environment.depopulate = count_depopulate;
  return &c->environment;
}
