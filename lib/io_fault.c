/* SPDX-License-Identifier: MIT */
#define FIU_ENABLE 1
#include "io_fault.h"

#include <errno.h>
#include <fiu.h>
#include <string.h>

/*
 * The errnos, by the man pages and by what ext4 and xfs give. Where a call of
 * the interface is more than one system call it has the errnos of all.
 */
#define PATH_ERRORS EACCES, ENOENT, ENOTDIR, ELOOP, ENOMEM, EIO
#define NO_DESCRIPTOR EMFILE, ENFILE
#define NO_ROOM ENOSPC, EDQUOT
#define SYNC_ERRORS EIO, ENOSPC, EDQUOT, ENOMEM, EROFS

const struct io_fault_point io_fault_points[] = {
    /* mkdir, rmdir, open */
    {"io/dir_make", {PATH_ERRORS, NO_ROOM, EROFS, EMLINK, EPERM, EEXIST}},
    {"io/dir_remove", {EACCES, EPERM, EBUSY, EIO, EROFS, ENOTEMPTY, ENOMEM}},
    {"io/dir_open", {PATH_ERRORS, NO_DESCRIPTOR}},
    /* mkdirat, openat */
    {"io/dir_make_in", {PATH_ERRORS, NO_ROOM, EROFS, EMLINK, EPERM, EEXIST}},
    {"io/dir_open_in", {PATH_ERRORS, NO_DESCRIPTOR}},
    {"io/parent_open", {EACCES, ENOENT, ENOMEM, EIO, NO_DESCRIPTOR}},
    /* openat and getdents; fstatfs */
    {"io/dir_list", {EACCES, ENOENT, ENOMEM, EIO, NO_DESCRIPTOR}},
    {"io/dir_fs", {EIO, ENOMEM, ENOSYS, EOVERFLOW}},
    /* openat, without and with O_CREAT; fstat says EISDIR of what is no file */
    {"io/file_open",
     {EACCES, ENOENT, ELOOP, EISDIR, ENOMEM, EIO, EPERM, EROFS, NO_DESCRIPTOR}},
    {"io/file_create",
     {EACCES, ENOENT, EEXIST, ENOMEM, EIO, EPERM, EROFS, NO_ROOM,
      NO_DESCRIPTOR}},
    /* The same for the control file. */
    {"scratch/open",
     {EACCES, ENOENT, ELOOP, EISDIR, ENOMEM, EIO, EPERM, EROFS, NO_DESCRIPTOR}},
    {"scratch/create",
     {EACCES, ENOENT, EEXIST, ENOMEM, EIO, EPERM, EROFS, NO_ROOM,
      NO_DESCRIPTOR}},
    {"scratch/size", {EIO, ENOMEM, EOVERFLOW}},
    {"scratch/allocate", {NO_ROOM, EFBIG, EIO, EPERM, EROFS, ENOMEM, ENODEV}},
    {"scratch/read", {EIO, ENOMEM, EISDIR}},
    {"scratch/map", {ENOMEM, EAGAIN, ENFILE, EACCES, EPERM, ENODEV, EOVERFLOW}},
    {"io/close", {EIO, EINTR, NO_ROOM}},
    {"io/file_size", {EIO, ENOMEM, EOVERFLOW}},
    {"io/file_allocate",
     {NO_ROOM, EFBIG, EIO, EPERM, EROFS, ENOMEM, ENODEV, ETXTBSY}},
    {"io/file_read", {EIO, ENOMEM, EISDIR}},
    {"io/file_write", {NO_ROOM, EFBIG, EIO, EPERM, ENOMEM}},
    {"io/file_data", {EIO, EOVERFLOW, EINVAL}},
    {"io/rename", {NO_ROOM, EACCES, EPERM, EBUSY, EIO, EMLINK, ENOMEM, EROFS}},
    {"io/unlink", {EACCES, EPERM, EBUSY, EIO, ENOMEM, EROFS}},
    /* openat and fcntl; EAGAIN: another holds it */
    {"io/lock",
     {EAGAIN, ENOLCK, EACCES, EPERM, ENOMEM, EIO, EROFS, NO_ROOM,
      NO_DESCRIPTOR}},
    {"io/locked", {EACCES, ENOENT, ENOLCK, ENOMEM, EIO, NO_DESCRIPTOR}},
    /* mmap, munmap, mprotect, madvise */
    {"io/map", {ENOMEM, EAGAIN, ENFILE, EACCES, EPERM, ENODEV, EOVERFLOW}},
    {"io/unmap", {ENOMEM, EINVAL}},
    {"io/map_read_only", {ENOMEM, EACCES}},
    {"io/map_scattered", {ENOMEM, EINVAL, EAGAIN}},
    {"io/populate", {EFAULT, EHWPOISON, ENOMEM, EINVAL, EAGAIN}},
    {"io/depopulate", {ENOMEM, EINVAL, EAGAIN}},
    /* A fault with the guard, which has no errno: reading there says why. */
    {"io/access", {EIO}},
    {"io/boot_id", {EACCES}},
    {"io/random", {ENOSYS, EPERM, EAGAIN}},
    {"io/alloc", {ENOMEM}},
    {"io/wait", {EINTR}},
    {"io/fence_all", {ENOSYS}},
    {"io/wait_shared", {EINTR}},
    {"io/fence_shared", {ENOSYS}},
    {"io/fence_join", {ENOSYS}},
    /* eventfd and timerfd_create */
    {"io/event_open", {NO_DESCRIPTOR, ENOMEM, ENODEV}},
    {"io/thread_start", {EAGAIN, ENOMEM, EPERM}},
    {"io/owner_word", {ENOMEM}},
#define SYNC_POINT(name, text) {"sync/" text, {SYNC_ERRORS}},
    IO_SYNC_REASONS(SYNC_POINT)
#undef SYNC_POINT
/* Every STEP of the library, held against it by test_no_faults.sh. */
#define STEP_POINT(name) \
  {                      \
    "step/" name, { 0 }  \
  }
        STEP_POINT("accept/begin"),
    STEP_POINT("accept/created"),
    STEP_POINT("accept/durable"),
    STEP_POINT("accept/settled"),
    STEP_POINT("append/body"),
    STEP_POINT("append/header"),
    STEP_POINT("append/moved"),
    STEP_POINT("append/publish"),
    STEP_POINT("append/published"),
    STEP_POINT("append/stored"),
    STEP_POINT("append/write"),
    STEP_POINT("clean/remove"),
    STEP_POINT("clean/removed"),
    STEP_POINT("clean/synced"),
    STEP_POINT("close/begin"),
    STEP_POINT("close/free"),
    STEP_POINT("close/marked"),
    STEP_POINT("close/sealed"),
    STEP_POINT("close/synced"),
    STEP_POINT("create/allocated"),
    STEP_POINT("create/begin"),
    STEP_POINT("create/directory"),
    STEP_POINT("create/done"),
    STEP_POINT("create/durable"),
    STEP_POINT("create/named"),
    STEP_POINT("create/opened"),
    STEP_POINT("create/rename"),
    STEP_POINT("create/renamed"),
    STEP_POINT("create/synced"),
    STEP_POINT("create/written"),
    STEP_POINT("epoch/begun"),
    STEP_POINT("epoch/frame"),
    STEP_POINT("epoch/stored"),
    STEP_POINT("epoch/synced"),
    STEP_POINT("epoch/unclean"),
    STEP_POINT("group/committed"),
    STEP_POINT("group/directory"),
    STEP_POINT("group/erased"),
    STEP_POINT("group/durable"),
    STEP_POINT("group/named"),
    STEP_POINT("group/removed"),
    STEP_POINT("group/reviewed"),
    STEP_POINT("group/stored"),
    STEP_POINT("group/synced"),
    STEP_POINT("group/written"),
    STEP_POINT("lock/taken"),
    STEP_POINT("mark/store"),
    STEP_POINT("mark/stored"),
    STEP_POINT("meta/durable"),
    STEP_POINT("meta/opened"),
    STEP_POINT("meta/renamed"),
    STEP_POINT("meta/rename"),
    STEP_POINT("open/done"),
    STEP_POINT("open/undone"),
    STEP_POINT("pad/frame"),
    STEP_POINT("prepare/begin"),
    STEP_POINT("prepare/created"),
    STEP_POINT("prepare/listed"),
    STEP_POINT("prepare/dirty"),
    STEP_POINT("prepare/populated"),
    STEP_POINT("prepare/ready"),
    STEP_POINT("recover/adopted"),
    STEP_POINT("recover/planned"),
    STEP_POINT("recover/settled"),
    STEP_POINT("recover/tail"),
    STEP_POINT("recover/unmapped"),
    STEP_POINT("reserve/clear"),
    STEP_POINT("reserve/cleared"),
    STEP_POINT("reserve/given"),
    STEP_POINT("reserve/over"),
    STEP_POINT("roll/done"),
    STEP_POINT("roll/frame"),
    STEP_POINT("roll/start"),
    STEP_POINT("seal/begin"),
    STEP_POINT("seal/done"),
    STEP_POINT("seal/durable"),
    STEP_POINT("seal/store"),
    STEP_POINT("seal/stored"),
    STEP_POINT("settle/begin"),
    STEP_POINT("settle/done"),
    STEP_POINT("settle/segment"),
    STEP_POINT("share/built"),
    STEP_POINT("share/building"),
    STEP_POINT("share/epoch"),
    STEP_POINT("start/store"),
    STEP_POINT("start/stored"),
    STEP_POINT("sync/advance"),
    STEP_POINT("sync/captured"),
    STEP_POINT("sync/done"),
    STEP_POINT("sync/file"),
    STEP_POINT("sync/watermark"),
    STEP_POINT("tick/begin"),
    STEP_POINT("tick/synced"),
    STEP_POINT("wait/durable"),
    STEP_POINT("wait/visible"),
    STEP_POINT("watch/armed"),
    STEP_POINT("watch/opened"),
    {NULL, {0}}};

static struct io_fault *fault_of(io_env *io) { return io->world; }

static io_env *inner(io_env *io) { return fault_of(io)->inner; }

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

/* ---- syncs ---- */

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

/* Whether the sync is done; `*error` is what it gives if it is not done, or is
 * done to fail. */
static bool sync_goes_on(io_env *io, enum io_sync_reason why, int *error) {
  struct io_fault *f = fault_of(io);
  *error = fired(sync_points[why]);
  if (*error && f->fail_sync) f->fail_sync(f->context);
  if (*error) return f->fail_sync != NULL;
  return !fiu_fail(skip_points[why]);
}

static int fault_dir_sync_parent(io_env *io, const char *path,
                                 enum io_sync_reason why) {
  int error;
  FAIL_POINT("io/parent_open");
  if (!sync_goes_on(io, why, &error)) return error;
  int result = inner(io)->dir_sync_parent(inner(io), path, why);
  return error ? error : result;
}
static int fault_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  int error;
  if (!sync_goes_on(io, why, &error)) return error;
  int result = inner(io)->dir_sync(inner(io), dir, why);
  return error ? error : result;
}
static int fault_file_sync(io_env *io, int file, const struct io_part *part,
                           enum io_sync_reason why) {
  int error;
  if (!sync_goes_on(io, why, &error)) return error;
  int result = inner(io)->file_sync(inner(io), file, part, why);
  return error ? error : result;
}

/* ---- the other calls ---- */

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
static int fault_dir_make_in(io_env *io, int dir, const char *name,
                             uint32_t mode) {
  FAIL_POINT("io/dir_make_in");
  return inner(io)->dir_make_in(inner(io), dir, name, mode);
}
static int fault_dir_open_in(io_env *io, int dir, const char *name) {
  FAIL_POINT("io/dir_open_in");
  return inner(io)->dir_open_in(inner(io), dir, name);
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
  bool scratch = (flags & IO_SCRATCH) != 0;
  if (flags & IO_CREATE)
    FAIL_POINT(scratch ? "scratch/create" : "io/file_create");
  else
    FAIL_POINT(scratch ? "scratch/open" : "io/file_open");
  int result = inner(io)->file_open(inner(io), dir, name, flags, mode);
  if (scratch && result >= 0) fault_of(io)->scratch = result + 1;
  return result;
}

/* A call on a file that may be a scratch file. */
static const char *point_of(io_env *io, int file, const char *point,
                            const char *scratch) {
  return fault_of(io)->scratch == file + 1 ? scratch : point;
}

static int fault_close(io_env *io, int handle) {
  if (fault_of(io)->scratch == handle + 1) fault_of(io)->scratch = 0;
  int result = inner(io)->close(inner(io), handle);
  FAIL_POINT("io/close"); /* the descriptor is gone all the same */
  return result;
}
static int fault_file_size(io_env *io, int file, uint64_t *bytes) {
  FAIL_POINT(point_of(io, file, "io/file_size", "scratch/size"));
  return inner(io)->file_size(inner(io), file, bytes);
}
static int fault_file_allocate(io_env *io, int file, uint64_t bytes) {
  FAIL_POINT(point_of(io, file, "io/file_allocate", "scratch/allocate"));
  return inner(io)->file_allocate(inner(io), file, bytes);
}
static int64_t fault_file_read(io_env *io, int file, void *buffer, size_t size,
                               uint64_t position) {
  FAIL_POINT(point_of(io, file, "io/file_read", "scratch/read"));
  return inner(io)->file_read(inner(io), file, buffer, size, position);
}
static int64_t fault_file_write(io_env *io, int file, const void *bytes,
                                size_t size, uint64_t position) {
  FAIL_POINT("io/file_write");
  return inner(io)->file_write(inner(io), file, bytes, size, position);
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
  FAIL_POINT("io/locked");
  return inner(io)->locked(inner(io), dir, name);
}
static int fault_map(io_env *io, int file, uint64_t bytes, bool writable,
                     void **address) {
  FAIL_POINT(point_of(io, file, "io/map", "scratch/map"));
  int result = inner(io)->map(inner(io), file, bytes, writable, address);
  fault_of(io)->maps += result == 0;
  return result;
}
static int fault_unmap(io_env *io, void *address, uint64_t bytes) {
  int result = inner(io)->unmap(inner(io), address, bytes);
  fault_of(io)->maps -= result == 0;
  FAIL_POINT("io/unmap");
  return result;
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
  FAIL_POINT("io/depopulate");
  return inner(io)->depopulate(inner(io), address, bytes);
}
/* Nothing of the body is done: what it does is thrown away. */
static int fault_access(io_env *io, const struct io_range *ranges, size_t count,
                        void (*body)(void *), void *context, const void **at) {
  *at = ranges[0].from;
  if (fired("io/access")) return -EFAULT;
  return inner(io)->access(inner(io), ranges, count, body, context, at);
}
static uint64_t fault_now(io_env *io) { return inner(io)->now(inner(io)); }
static uint64_t fault_now_coarse(io_env *io) {
  return inner(io)->now_coarse(inner(io));
}
static int64_t fault_wall_ms(io_env *io) {
  return inner(io)->wall_ms(inner(io));
}
static void fault_boot_id(io_env *io, uint8_t id[16]) {
  if (fiu_fail("io/boot_id"))
    memset(id, 0, 16);
  else
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
  if (fiu_fail("io/wait")) return 0;
  return inner(io)->wait(inner(io), word, value, deadline);
}
static void fault_wake(io_env *io, _Atomic uint32_t *word, int count) {
  inner(io)->wake(inner(io), word, count);
}
static bool fault_fence_all(io_env *io) {
  return !fiu_fail("io/fence_all") && inner(io)->fence_all(inner(io));
}
static int fault_wait_shared(io_env *io, _Atomic uint32_t *word, uint32_t value,
                             uint64_t deadline) {
  if (fiu_fail("io/wait_shared")) return 0;
  return inner(io)->wait_shared(inner(io), word, value, deadline);
}
static void fault_wake_shared(io_env *io, _Atomic uint32_t *word, int count) {
  inner(io)->wake_shared(inner(io), word, count);
}
static bool fault_fence_shared(io_env *io) {
  return !fiu_fail("io/fence_shared") && inner(io)->fence_shared(inner(io));
}
static bool fault_fence_join(io_env *io) {
  return !fiu_fail("io/fence_join") && inner(io)->fence_join(inner(io));
}
static int fault_event_open(io_env *io, bool timed) {
  FAIL_POINT("io/event_open");
  return inner(io)->event_open(inner(io), timed);
}
static void fault_event_set(io_env *io, int event, bool timed,
                            uint64_t deadline) {
  inner(io)->event_set(inner(io), event, timed, deadline);
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
static uint32_t fault_processor(io_env *io) {
  return inner(io)->processor(inner(io));
}
static void fault_keep_off(io_env *io, struct io_processors *memory,
                           uint32_t processor) {
  inner(io)->keep_off(inner(io), memory, processor);
}
static const _Atomic uint32_t *fault_owner_word(io_env *io) {
  return fiu_fail("io/owner_word") ? NULL : inner(io)->owner_word(inner(io));
}
static void fault_step(io_env *io, const char *name) {
  struct io_fault *f = fault_of(io);
  char point[64] = "step/";
  size_t length = strlen(name);
  memcpy(point + 5, name,
         length < sizeof point - 6 ? length : sizeof point - 6);
  if (fiu_fail(point) && f->at_step) f->at_step(f->context, name);
  STEP(inner(io), name);
}

io_env *io_fault_around(struct io_fault *fault, io_env *around) {
  *fault = (struct io_fault){
      .inner = around,
      .environment = {.world = fault,
                      .dir_make = fault_dir_make,
                      .dir_remove = fault_dir_remove,
                      .dir_open = fault_dir_open,
                      .dir_make_in = fault_dir_make_in,
                      .dir_open_in = fault_dir_open_in,
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
                      .access = fault_access,
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
                      .wait_shared = fault_wait_shared,
                      .wake_shared = fault_wake_shared,
                      .fence_shared = fault_fence_shared,
                      .fence_join = fault_fence_join,
                      .event_open = fault_event_open,
                      .event_set = fault_event_set,
                      .thread_start = fault_thread_start,
                      .thread_join = fault_thread_join,
                      .thread_self = fault_thread_self,
                      .processor = fault_processor,
                      .keep_off = fault_keep_off,
                      .owner_word = fault_owner_word,
                      .step = fault_step}};
  return &fault->environment;
}
