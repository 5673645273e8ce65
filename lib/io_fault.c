/* SPDX-License-Identifier: MIT */
#define FIU_ENABLE 1
#include "io_fault.h"

#include <errno.h>
#include <fiu.h>

static io_env *inner(io_env *io) {
  const struct io_fault *f = io->world;
  return f->inner;
}

/* The negative errno that the point was armed with, or 0. */
static int fired(const char *point) {
  if (!fiu_fail(point)) return 0;
  int error = (int)(intptr_t)fiu_failinfo();
  return error ? -error : -EIO;
}

#define FAIL_POINT(point)      \
  do {                         \
    int error_ = fired(point); \
    if (error_) return error_; \
  } while (0)

static const char *const sync_points[] = {
#define SYNC_POINT(name, text) "sync/" text,
    IO_SYNC_REASONS(SYNC_POINT)
#undef SYNC_POINT
};

static const char *const skip_points[] = {
#define SKIP_POINT(name, text) "skip/" text,
    IO_SYNC_REASONS(SKIP_POINT)
#undef SKIP_POINT
};

const char *const io_fault_points[] = {"io/dir_make",
                                       "io/dir_open",
                                       "io/dir_list",
                                       "io/dir_fs",
                                       "io/file_open",
                                       "io/file_size",
                                       "io/file_allocate",
                                       "io/file_read",
                                       "io/file_write",
                                       "io/rename",
                                       "io/unlink",
                                       "io/lock",
                                       "io/map",
                                       "io/populate",
                                       "io/random",
                                       "io/alloc",
                                       "io/file_data",
                                       "io/map_read_only",
                                       "io/map_scattered",
#define SYNC_POINT(name, text) "sync/" text,
                                       IO_SYNC_REASONS(SYNC_POINT)
#undef SYNC_POINT
                                           NULL};

static int fault_dir_make(io_env *io, const char *path, uint32_t mode) {
  FAIL_POINT("io/dir_make");
  return inner(io)->dir_make(inner(io), path, mode);
}
static int fault_dir_remove(io_env *io, const char *path) {
  FAIL_POINT("io/dir_remove");
  return inner(io)->dir_remove(inner(io), path);
}
static int fault_dir_open(io_env *io, const char *path) {
  FAIL_POINT("io/dir_open");
  return inner(io)->dir_open(inner(io), path);
}
static int fault_dir_sync_parent(io_env *io, const char *path,
                                 enum io_sync_reason why) {
  FAIL_POINT(sync_points[why]);
  if (fiu_fail(skip_points[why])) return 0;
  return inner(io)->dir_sync_parent(inner(io), path, why);
}
static int fault_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  FAIL_POINT(sync_points[why]);
  if (fiu_fail(skip_points[why])) return 0;
  return inner(io)->dir_sync(inner(io), dir, why);
}
static int fault_dir_list(io_env *io, int dir,
                          int (*each)(void *, const char *), void *context) {
  FAIL_POINT("io/dir_list");
  return inner(io)->dir_list(inner(io), dir, each, context);
}
static int fault_dir_fs(io_env *io, int dir, struct io_fs *fs) {
  FAIL_POINT("io/dir_fs");
  return inner(io)->dir_fs(inner(io), dir, fs);
}
static int fault_file_open(io_env *io, int dir, const char *name, int flags,
                           uint32_t mode) {
  FAIL_POINT("io/file_open");
  return inner(io)->file_open(inner(io), dir, name, flags, mode);
}
static int fault_close(io_env *io, int handle) {
  return inner(io)->close(inner(io), handle);
}
static int fault_file_size(io_env *io, int file, uint64_t *bytes) {
  FAIL_POINT("io/file_size");
  return inner(io)->file_size(inner(io), file, bytes);
}
static int fault_file_allocate(io_env *io, int file, uint64_t bytes) {
  FAIL_POINT("io/file_allocate");
  return inner(io)->file_allocate(inner(io), file, bytes);
}
static int64_t fault_file_read(io_env *io, int file, void *buffer, size_t size,
                               uint64_t position) {
  FAIL_POINT("io/file_read");
  return inner(io)->file_read(inner(io), file, buffer, size, position);
}
static int64_t fault_file_write(io_env *io, int file, const void *bytes,
                                size_t size, uint64_t position) {
  FAIL_POINT("io/file_write");
  return inner(io)->file_write(inner(io), file, bytes, size, position);
}
static int fault_file_sync(io_env *io, int file, enum io_sync_reason why) {
  FAIL_POINT(sync_points[why]);
  if (fiu_fail(skip_points[why])) return 0;
  return inner(io)->file_sync(inner(io), file, why);
}
static int fault_file_data(io_env *io, int file, uint64_t *position,
                           uint64_t *end) {
  FAIL_POINT("io/file_data");
  return inner(io)->file_data(inner(io), file, position, end);
}
static int fault_rename(io_env *io, int dir, const char *from, const char *to) {
  FAIL_POINT("io/rename");
  return inner(io)->rename(inner(io), dir, from, to);
}
static int fault_unlink(io_env *io, int dir, const char *name) {
  FAIL_POINT("io/unlink");
  return inner(io)->unlink(inner(io), dir, name);
}
static int fault_lock(io_env *io, int dir, const char *name, uint32_t mode) {
  FAIL_POINT("io/lock");
  return inner(io)->lock(inner(io), dir, name, mode);
}
static void fault_unlock(io_env *io, int handle) {
  inner(io)->unlock(inner(io), handle);
}
static int fault_locked(io_env *io, int dir, const char *name) {
  return inner(io)->locked(inner(io), dir, name);
}
static int fault_map(io_env *io, int file, uint64_t bytes, bool writable,
                     void **address) {
  FAIL_POINT("io/map");
  return inner(io)->map(inner(io), file, bytes, writable, address);
}
static int fault_unmap(io_env *io, void *address, uint64_t bytes) {
  return inner(io)->unmap(inner(io), address, bytes);
}
static int fault_map_read_only(io_env *io, void *address, uint64_t bytes) {
  FAIL_POINT("io/map_read_only");
  return inner(io)->map_read_only(inner(io), address, bytes);
}
static int fault_map_scattered(io_env *io, void *address, uint64_t bytes) {
  FAIL_POINT("io/map_scattered");
  return inner(io)->map_scattered(inner(io), address, bytes);
}
static int fault_populate(io_env *io, void *address, uint64_t bytes,
                          bool for_writing) {
  FAIL_POINT("io/populate");
  return inner(io)->populate(inner(io), address, bytes, for_writing);
}
static int fault_depopulate(io_env *io, void *address, uint64_t bytes) {
  return inner(io)->depopulate(inner(io), address, bytes);
}
static uint64_t fault_now(io_env *io) { return inner(io)->now(inner(io)); }
static uint64_t fault_now_coarse(io_env *io) {
  return inner(io)->now_coarse(inner(io));
}
static int64_t fault_wall_ms(io_env *io) {
  return inner(io)->wall_ms(inner(io));
}
static void fault_boot_id(io_env *io, uint8_t id[16]) {
  inner(io)->boot_id(inner(io), id);
}
static int fault_random(io_env *io, void *bytes, size_t size) {
  FAIL_POINT("io/random");
  return inner(io)->random(inner(io), bytes, size);
}
static void *fault_alloc(io_env *io, size_t bytes) {
  return fiu_fail("io/alloc") ? NULL : inner(io)->alloc(inner(io), bytes);
}
static void fault_free(io_env *io, void *memory) {
  inner(io)->free(inner(io), memory);
}
static int fault_wait(io_env *io, _Atomic uint32_t *word, uint32_t value,
                      uint64_t deadline) {
  return inner(io)->wait(inner(io), word, value, deadline);
}
static void fault_wake(io_env *io, _Atomic uint32_t *word, int count) {
  inner(io)->wake(inner(io), word, count);
}
static bool fault_fence_all(io_env *io) {
  return inner(io)->fence_all(inner(io));
}
static int fault_thread_start(io_env *io, void (*body)(void *), void *context,
                              void **thread) {
  FAIL_POINT("io/thread_start");
  return inner(io)->thread_start(inner(io), body, context, thread);
}
static void fault_thread_join(io_env *io, void *thread) {
  inner(io)->thread_join(inner(io), thread);
}
static uint64_t fault_thread_self(io_env *io) {
  return inner(io)->thread_self(inner(io));
}
static const _Atomic uint32_t *fault_owner_word(io_env *io) {
  return inner(io)->owner_word(inner(io));
}
static void fault_step(io_env *io, const char *name) { STEP(inner(io), name); }

io_env *io_fault_around(struct io_fault *fault, io_env *around) {
  *fault = (struct io_fault){
      .inner = around,
      .environment = {.world = fault,
                      .dir_make = fault_dir_make,
                      .dir_remove = fault_dir_remove,
                      .dir_open = fault_dir_open,
                      .dir_sync_parent = fault_dir_sync_parent,
                      .dir_sync = fault_dir_sync,
                      .dir_list = fault_dir_list,
                      .dir_fs = fault_dir_fs,
                      .file_open = fault_file_open,
                      .close = fault_close,
                      .file_size = fault_file_size,
                      .file_allocate = fault_file_allocate,
                      .file_read = fault_file_read,
                      .file_write = fault_file_write,
                      .file_sync = fault_file_sync,
                      .file_data = fault_file_data,
                      .rename = fault_rename,
                      .unlink = fault_unlink,
                      .lock = fault_lock,
                      .unlock = fault_unlock,
                      .locked = fault_locked,
                      .map = fault_map,
                      .unmap = fault_unmap,
                      .map_read_only = fault_map_read_only,
                      .map_scattered = fault_map_scattered,
                      .populate = fault_populate,
                      .depopulate = fault_depopulate,
                      .now = fault_now,
                      .now_coarse = fault_now_coarse,
                      .wall_ms = fault_wall_ms,
                      .boot_id = fault_boot_id,
                      .random = fault_random,
                      .alloc = fault_alloc,
                      .free = fault_free,
                      .wait = fault_wait,
                      .wake = fault_wake,
                      .fence_all = fault_fence_all,
                      .thread_start = fault_thread_start,
                      .thread_join = fault_thread_join,
                      .thread_self = fault_thread_self,
                      .owner_word = fault_owner_word,
                      .step = fault_step}};
  return &fault->environment;
}
