/* SPDX-License-Identifier: MIT
 *
 * The I/O interface on Linux. The only file with system calls.
 *
 * Every descriptor is close-on-exec and above 2. The writer's lock is an open
 * file description lock: unlike a POSIX record lock it does not vanish when
 * some other descriptor of the file is closed, but a forked child would share
 * it and keep it alive after the parent's death. So an atfork handler closes
 * the lock's descriptor in the child; closing one of several descriptors of a
 * description leaves the parent's lock alone (I12, I13). The list of locks it
 * needs is the only state outside of handles.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "io_guard.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Magic numbers that linux/magic.h lacks here; see statfs(2). */
#define FS_CIFS 0xFF534D42u
#define FS_SMB2 0xFE534D42u
#define FS_CEPH 0x00C36400u
#define FS_9P 0x01021997u
#define FS_AFS 0x5346414Fu
#define FS_CODA 0x73757245u
#define FS_GFS2 0x01161970u
#define FS_LUSTRE 0x0BD00BD0u
#define FS_OCFS2 0x7461636Fu
#define FS_FUSE 0x65735546u
#define FS_ZFS 0x2FC12FC1u
#define FS_BCACHEFS 0xCA451A4Eu
#define FS_RAMFS 0x858458F6u

static int result_or_errno(int result) { return result < 0 ? -errno : result; }

/*
 * A thread that is cancelled in the middle would leave locks behind that all
 * others wait for (pitfall 19): no call of ours is a cancellation point.
 */
static int cancel_off(void) {
  int before;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  return before;
}

static void cancel_restore(int before) {
  int error = errno;
  pthread_setcancelstate(before, NULL);
  errno = error;
}

/* Beyond the limit of a file's size there would be a SIGXFSZ. libc asks by
 * prlimit, which locks and counts the process first (measured: 0.82 us against
 * 0.50, which an empty call takes, too). */
static bool over_size_limit(uint64_t bytes) {
#if defined SYS_getrlimit && __SIZEOF_LONG__ == 8
  unsigned long old[2]; /* soft, hard; the largest number where there is none */
  if (syscall(SYS_getrlimit, RLIMIT_FSIZE, old) == 0) return old[0] < bytes;
#endif
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
         limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes;
}

/* ---- fork guard: the list of held locks and the owner word ---- */

struct held_lock {
  int file;
  struct held_lock *next;
};

static struct {
  pthread_mutex_t mutex;
  pthread_once_t once;
  struct held_lock *locks;
  _Atomic uint32_t *owner; /* a page that the kernel wipes in a child */
  uint32_t generation;
  int install_error;
} guard = {.mutex = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void guard_before_fork(void) { pthread_mutex_lock(&guard.mutex); }
static void guard_in_parent(void) { pthread_mutex_unlock(&guard.mutex); }

static void guard_in_child(void) {
  for (struct held_lock *l = guard.locks; l; l = l->next)
    if (l->file >= 0) {
      close(l->file);
      l->file = -1; /* the number may be reused by the child */
    }
  if (guard.owner) atomic_store(guard.owner, 0);
  pthread_mutex_unlock(&guard.mutex);
}

static void guard_install(void) {
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    guard.install_error = ENOMEM;
    return;
  }
#ifdef MADV_WIPEONFORK
  /* Also catches a child made without atfork handlers. Where the kernel does
   * not know it the handler below does the same. */
  (void)madvise(page, 4096, MADV_WIPEONFORK);
#endif
  guard.owner = page;
  guard.install_error =
      pthread_atfork(guard_before_fork, guard_in_parent, guard_in_child);
}

static const _Atomic uint32_t *posix_owner_word(io_env *io) {
  (void)io;
  pthread_once(&guard.once, guard_install);
  if (guard.install_error) return NULL;
  pthread_mutex_lock(&guard.mutex);
  /* In a child the word is 0 and takes a new value, so that handles made
   * before the fork never match again. */
  if (atomic_load(guard.owner) == 0)
    atomic_store(guard.owner, ++guard.generation);
  pthread_mutex_unlock(&guard.mutex);
  return guard.owner;
}

/* ---- directories ---- */

static int above_stderr(int fd) {
  if (fd < 0) return -errno;
  if (fd > STDERR_FILENO) return fd;
  int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int error = errno;
  close(fd);
  return higher < 0 ? -error : higher;
}

static int posix_dir_make(io_env *io, const char *path, uint32_t mode) {
  (void)io;
  return result_or_errno(mkdir(path, (mode_t)mode));
}

static int posix_dir_remove(io_env *io, const char *path) {
  (void)io;
  return result_or_errno(rmdir(path));
}

static int posix_dir_open(io_env *io, const char *path) {
  (void)io;
  int cancel = cancel_off();
  int dir = above_stderr(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  cancel_restore(cancel);
  return dir;
}

static int posix_dir_make_in(io_env *io, int dir, const char *name,
                             uint32_t mode) {
  (void)io;
  return result_or_errno(mkdirat(dir, name, (mode_t)mode));
}

static int posix_dir_open_in(io_env *io, int dir, const char *name) {
  (void)io;
  int cancel = cancel_off();
  int inside = above_stderr(
      openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  cancel_restore(cancel);
  return inside;
}

static int sync_retrying(int fd, bool data_only) {
  int result, cancel = cancel_off();
  do {
    result = data_only ? fdatasync(fd) : fsync(fd);
  } while (result < 0 && errno == EINTR);
  result = result_or_errno(result);
  cancel_restore(cancel);
  return result;
}

static int posix_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  (void)io;
  (void)why;
  return sync_retrying(dir, false);
}

static int posix_dir_sync_parent(io_env *io, const char *path,
                                 enum io_sync_reason why) {
  (void)why;
  int dir = posix_dir_open(io, path);
  if (dir < 0) return dir;
  int cancel = cancel_off();
  int parent =
      above_stderr(openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  close(dir);
  int result = parent < 0 ? parent : sync_retrying(parent, false);
  if (parent >= 0) close(parent);
  cancel_restore(cancel);
  return result;
}

static int list_stream(DIR *stream, int (*each)(void *, const char *),
                       void *context) {
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(stream);
    if (!entry) return -errno;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    int result = each(context, entry->d_name);
    if (result) return result;
  }
}

static int posix_dir_list(io_env *io, int dir,
                          int (*each)(void *, const char *), void *context) {
  (void)io;
  int cancel = cancel_off();
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  int result = stream ? list_stream(stream, each, context) : -errno;
  if (stream)
    closedir(stream);
  else if (fd >= 0)
    close(fd);
  cancel_restore(cancel);
  return result;
}

static int posix_dir_fs(io_env *io, int dir, struct io_fs *fs) {
  (void)io;
  struct statfs s;
  if (fstatfs(dir, &s) < 0) return -errno;
  *fs = (struct io_fs){false, false, false, false, false};
  switch ((uint32_t)s.f_type) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case FS_CIFS:
    case FS_SMB2:
    case FS_CEPH:
    case FS_9P:
    case FS_AFS:
    case FS_CODA:
    case FS_GFS2:
    case FS_LUSTRE:
    case FS_OCFS2: fs->network = true; break;
    case BTRFS_SUPER_MAGIC:
    case FS_ZFS:
    case FS_BCACHEFS: fs->copy_on_write = true; break;
    case OVERLAYFS_SUPER_MAGIC: fs->overlay = true; break;
    case TMPFS_MAGIC:
    case FS_RAMFS: fs->memory = true; break;
    case FS_FUSE: fs->fuse = true; break;
    default: break;
  }
  return 0;
}

/* ---- files ---- */

static int posix_file_open(io_env *io, int dir, const char *name, int flags,
                           uint32_t mode) {
  (void)io;
  int how = O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK;
  how |= flags & IO_WRITE ? O_RDWR : O_RDONLY;
  if (flags & IO_CREATE) how |= O_CREAT | O_EXCL;
  int cancel = cancel_off();
  int fd = above_stderr(openat(dir, name, how, (mode_t)mode));
  struct stat s; /* a pipe or device under a log's name is not ours to read */
  if (fd >= 0 && (fstat(fd, &s) < 0 || !S_ISREG(s.st_mode))) {
    close(fd);
    fd = -EISDIR;
  }
  cancel_restore(cancel);
  return fd;
}

static int posix_close(io_env *io, int handle) {
  (void)io;
  int cancel = cancel_off();
  int result = result_or_errno(close(handle));
  cancel_restore(cancel);
  return result;
}

static int posix_file_size(io_env *io, int file, uint64_t *bytes) {
  (void)io;
  struct stat s;
  if (fstat(file, &s) < 0) return -errno;
  *bytes = (uint64_t)s.st_size;
  return 0;
}

static int64_t posix_file_write(io_env *io, int file, const void *bytes,
                                size_t size, uint64_t position) {
  (void)io;
  if (over_size_limit(position + size)) return -EFBIG;
  int cancel = cancel_off();
  ssize_t n = pwrite(file, bytes, size, (off_t)position);
  int64_t result = n < 0 ? -errno : n;
  cancel_restore(cancel);
  return result;
}

/* Where fallocate does not exist. In 4 KiB writes: after large ones the kernel
 * writes a whole large folio for each small store (pitfall 5). */
static int fill_with_zeros(io_env *io, int file, uint64_t bytes) {
  static const uint8_t zeros[4096];
  for (uint64_t at = 0; at < bytes; at += sizeof zeros) {
    size_t n = (size_t)min_u64(sizeof zeros, bytes - at);
    int result = io_write(io, file, zeros, n, at);
    if (result) return result;
  }
  return 0;
}

static int posix_file_allocate(io_env *io, int file, uint64_t bytes) {
  if (over_size_limit(bytes)) return -EFBIG;
  int cancel = cancel_off();
  int result = result_or_errno(fallocate(file, 0, 0, (off_t)bytes));
  cancel_restore(cancel);
  if (result != -EOPNOTSUPP && result != -ENOSYS) return result;
  return fill_with_zeros(io, file, bytes);
}

static int64_t posix_file_read(io_env *io, int file, void *buffer, size_t size,
                               uint64_t position) {
  (void)io;
  int cancel = cancel_off();
  ssize_t n = pread(file, buffer, size, (off_t)position);
  int64_t result = n < 0 ? -errno : n;
  cancel_restore(cancel);
  return result;
}

/* In the kernel the same as fdatasync, but for a range (mm/msync.c). */
static int sync_part(const struct io_part *part) {
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  uint64_t from = part->from / page * page;
  int result, cancel = cancel_off();
  do {
    result = msync((uint8_t *)part->map + from, part->to - from, MS_SYNC);
  } while (result < 0 && errno == EINTR);
  result = result_or_errno(result);
  cancel_restore(cancel);
  return result;
}

static int posix_file_sync(io_env *io, int file, const struct io_part *part,
                           enum io_sync_reason why) {
  (void)io;
  (void)why;
  return part ? sync_part(part) : sync_retrying(file, true);
}

static int posix_file_data(io_env *io, int file, uint64_t *position,
                           uint64_t *end) {
  uint64_t size;
  int result = posix_file_size(io, file, &size);
  if (result) return result;
  off_t data = lseek(file, (off_t)*position, SEEK_DATA);
  if (data < 0 && errno == ENXIO) return -ENXIO;
  if (data < 0) {
    *end = size;
    return *position < size ? 0 : -ENXIO;
  }
  off_t hole = lseek(file, data, SEEK_HOLE);
  *position = (uint64_t)data;
  *end = hole < 0 ? size : (uint64_t)hole;
  return 0;
}

static int posix_rename(io_env *io, int dir, const char *from, const char *to) {
  (void)io;
  return result_or_errno(renameat(dir, from, dir, to));
}

static int posix_unlink(io_env *io, int dir, const char *name) {
  (void)io;
  return result_or_errno(unlinkat(dir, name, 0));
}

static int open_lock_file(io_env *io, int dir, const char *name,
                          uint32_t mode) {
  int file = posix_file_open(io, dir, name, IO_WRITE, 0);
  if (file == -ENOENT && mode)
    file = posix_file_open(io, dir, name, IO_WRITE | IO_CREATE, mode);
  if (file == -EEXIST) /* another one was faster */
    file = posix_file_open(io, dir, name, IO_WRITE, 0);
  return file;
}

/* Lock the file, and see that it still has its name: a creation that failed may
 * have removed it in between, and then another one counts. */
static int lock_file(int dir, const char *name, int file) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  struct stat ours, named;
  int result = result_or_errno(fcntl(file, F_OFD_SETLK, &whole));
  if (result) return result == -EACCES ? -EAGAIN : result;
  if (fstat(file, &ours) < 0) return -errno;
  if (fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) < 0) return -EAGAIN;
  bool same = ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
  return same ? 0 : -EAGAIN;
}

static int posix_lock(io_env *io, int dir, const char *name, uint32_t mode) {
  if (!posix_owner_word(io)) return -ENOMEM;
  struct held_lock *held = malloc(sizeof *held);
  if (!held) return -ENOMEM;
  /* Open, lock and list in one: a child forked in between would share the
   * description without our handler knowing of it. */
  pthread_mutex_lock(&guard.mutex);
  int file = open_lock_file(io, dir, name, mode);
  int result = file < 0 ? file : lock_file(dir, name, file);
  if (result == 0) {
    *held = (struct held_lock){file, guard.locks};
    guard.locks = held;
  } else if (file >= 0) {
    close(file);
  }
  pthread_mutex_unlock(&guard.mutex);
  if (result) free(held);
  return result ? result : file;
}

static void posix_unlock(io_env *io, int file) {
  (void)io;
  pthread_mutex_lock(&guard.mutex);
  struct held_lock **at = &guard.locks;
  while (*at && (*at)->file != file) at = &(*at)->next;
  struct held_lock *held = *at;
  if (held) {
    *at = held->next;
    close(file); /* and with its only descriptor the lock goes */
  }
  pthread_mutex_unlock(&guard.mutex);
  free(held);
}

static int posix_locked(io_env *io, int dir, const char *name) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int file = posix_file_open(io, dir, name, IO_READ, 0);
  if (file < 0) return file;
  int result = result_or_errno(fcntl(file, F_OFD_GETLK, &whole));
  close(file);
  return result ? result : whole.l_type != F_UNLCK;
}

/* ---- mappings ---- */

static int posix_map(io_env *io, int file, uint64_t bytes, bool writable,
                     void **address) {
  (void)io;
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void *at = mmap(NULL, bytes, protection, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) return -errno;
  *address = at;
  return 0;
}

static int posix_unmap(io_env *io, void *address, uint64_t bytes) {
  (void)io;
  return result_or_errno(munmap(address, bytes));
}

static int posix_map_read_only(io_env *io, void *address, uint64_t bytes) {
  (void)io;
  return result_or_errno(mprotect(address, bytes, PROT_READ));
}

static int posix_map_scattered(io_env *io, void *address, uint64_t bytes) {
  (void)io;
  /* Faulting a mapping in order builds ever larger folios; this does not
   * (measured on ext4, Linux 6.18: 1 MiB against 4 KiB written a sync). */
  return result_or_errno(madvise(address, bytes, MADV_RANDOM));
}

static int posix_populate(io_env *io, void *address, uint64_t bytes,
                          bool for_writing) {
  (void)io;
  int advice = for_writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  return result_or_errno(madvise(address, bytes, advice));
}

static int posix_depopulate(io_env *io, void *address, uint64_t bytes) {
  (void)io;
  /* Of a shared mapping nothing is lost by it. */
  return result_or_errno(madvise(address, bytes, MADV_DONTNEED));
}

/* ---- clocks, random numbers, memory ---- */

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t posix_now(io_env *io) {
  (void)io;
  return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t posix_now_coarse(io_env *io) {
  (void)io;
  return clock_ns(CLOCK_MONOTONIC_COARSE);
}

static int64_t posix_wall_ms(io_env *io) {
  (void)io;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME_COARSE, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

static void posix_boot_id(io_env *io, uint8_t id[16]) {
  char text[40] = {0};
  memset(id, 0, 16);
  int cancel = cancel_off();
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  int64_t n = fd < 0 ? 0 : io_read(io, fd, text, sizeof text - 1, 0);
  if (fd >= 0) close(fd);
  cancel_restore(cancel);
  int nibble = 0;
  for (int64_t i = 0; i < n && nibble < 32; i++) {
    int digit = hex_digit(text[i]);
    if (digit < 0) continue;
    id[nibble / 2] = (uint8_t)(id[nibble / 2] << 4 | digit);
    nibble++;
  }
}

static int posix_random(io_env *io, void *bytes, size_t size) {
  (void)io;
  uint8_t *to = bytes;
  while (size > 0) {
    ssize_t n = getrandom(to, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    to += n;
    size -= (size_t)n;
  }
  return 0;
}

static void *posix_alloc(io_env *io, size_t bytes) {
  (void)io;
  void *memory = NULL;
  if (posix_memalign(&memory, CACHE_LINE, bytes)) return NULL;
  return memset(memory, 0, bytes);
}

static void posix_free(io_env *io, void *memory) {
  (void)io;
  free(memory);
}

/* ---- waiting ---- */

static int futex_wait(int operation, _Atomic uint32_t *word, uint32_t value,
                      uint64_t deadline) {
  struct timespec t = {.tv_sec = (time_t)(deadline / 1000000000u),
                       .tv_nsec = (long)(deadline % 1000000000u)};
  long result =
      syscall(SYS_futex, word, operation, value, deadline == NONE ? NULL : &t,
              NULL, FUTEX_BITSET_MATCH_ANY);
  return result < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static int posix_wait(io_env *io, _Atomic uint32_t *word, uint32_t value,
                      uint64_t deadline) {
  (void)io;
  return futex_wait(FUTEX_WAIT_BITSET_PRIVATE, word, value, deadline);
}

static int posix_wait_shared(io_env *io, _Atomic uint32_t *word, uint32_t value,
                             uint64_t deadline) {
  (void)io;
  return futex_wait(FUTEX_WAIT_BITSET, word, value, deadline);
}

static void posix_wake(io_env *io, _Atomic uint32_t *word, int count) {
  (void)io;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void posix_wake_shared(io_env *io, _Atomic uint32_t *word, int count) {
  (void)io;
  syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static bool posix_fence_all(io_env *io) {
  (void)io;
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
    return true;
  /* Once a process must say that it will use it. */
  if (errno != EPERM ||
      syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
    return false;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static bool posix_fence_shared(io_env *io) {
  (void)io;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

static bool posix_fence_join(io_env *io) {
  (void)io;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0,
                 0) == 0;
}

/* ---- descriptors to be polled ---- */

static int posix_event_open(io_env *io, bool timed) {
  (void)io;
  int cancel = cancel_off();
  int event = above_stderr(
      timed ? timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
            : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  cancel_restore(cancel);
  return event;
}

/* Setting a timer forgets that it had expired. */
static void timer_set(int event, uint64_t deadline) {
  struct itimerspec t = {.it_value = {0, 0}}; /* never */
  if (deadline != NONE) {
    t.it_value.tv_sec = (time_t)(deadline / 1000000000u);
    t.it_value.tv_nsec = (long)(deadline % 1000000000u);
  }
  if (deadline == 0) t.it_value.tv_nsec = 1; /* long past */
  (void)timerfd_settime(event, TFD_TIMER_ABSTIME, &t, NULL);
}

static void posix_event_set(io_env *io, int event, bool timed,
                            uint64_t deadline) {
  (void)io;
  int cancel = cancel_off();
  uint64_t count = 1;
  /* Each write is a new edge. Nobody but us reads, so that it cannot block. */
  ssize_t n = 0;
  if (timed)
    timer_set(event, deadline);
  else if (deadline == 0)
    n = write(event, &count, sizeof count);
  else
    n = read(event, &count, sizeof count);
  (void)n; /* EAGAIN: it is so already */
  cancel_restore(cancel);
}

/* ---- threads ---- */

struct posix_thread {
  pthread_t id;
  void (*body)(void *);
  void *context;
};

static void *thread_main(void *argument) {
  struct posix_thread *t = argument;
  /* Never to push aside the thread that woke it: work behind the appends. */
  const struct sched_param none = {.sched_priority = 0};
  (void)sched_setscheduler(0, SCHED_BATCH, &none);
  io_guard_own_thread();
  t->body(t->context);
  return NULL;
}

static int posix_thread_start(io_env *io, void (*body)(void *), void *context,
                              void **thread) {
  (void)io;
  struct posix_thread *t = malloc(sizeof *t);
  if (!t) return -ENOMEM;
  t->body = body;
  t->context = context;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&t->id, NULL, thread_main, t);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    free(t);
    return -error;
  }
  *thread = t;
  return 0;
}

static uint64_t posix_thread_self(io_env *io) {
  (void)io;
  return (uint64_t)(uintptr_t)pthread_self();
}

static uint32_t posix_processor(io_env *io) {
  (void)io;
  return (uint32_t)(sched_getcpu() + 1);
}

/* What the host has set, for all its threads or for this one, stands: a mask
 * that is not the one set here is the host's new one. */
static void posix_keep_off(io_env *io, struct io_processors *memory,
                           uint32_t processor) {
  _Static_assert(sizeof(cpu_set_t) == sizeof memory->ours, "a mask's bytes");
  cpu_set_t found, wanted;
  (void)io;
  if (processor == 0 || sched_getaffinity(0, sizeof found, &found)) return;
  if (memcmp(&found, memory->ours, sizeof found) != 0)
    memcpy(memory->allowed, &found, sizeof found);
  memcpy(&wanted, memory->allowed, sizeof wanted);
  CPU_CLR((size_t)processor - 1, &wanted);
  /* Refused where nothing is left. */
  if (sched_setaffinity(0, sizeof wanted, &wanted) == 0)
    memcpy(memory->ours, &wanted, sizeof wanted);
}

static void posix_thread_join(io_env *io, void *thread) {
  (void)io;
  struct posix_thread *t = thread;
  pthread_join(t->id, NULL);
  free(t);
}

io_env *io_posix(void) {
  static const struct duralog_environment environment = {
      .dir_make = posix_dir_make,
      .dir_remove = posix_dir_remove,
      .dir_open = posix_dir_open,
      .dir_make_in = posix_dir_make_in,
      .dir_open_in = posix_dir_open_in,
      .dir_sync_parent = posix_dir_sync_parent,
      .dir_sync = posix_dir_sync,
      .dir_list = posix_dir_list,
      .dir_fs = posix_dir_fs,
      .file_open = posix_file_open,
      .close = posix_close,
      .file_size = posix_file_size,
      .file_allocate = posix_file_allocate,
      .file_read = posix_file_read,
      .file_write = posix_file_write,
      .file_sync = posix_file_sync,
      .file_data = posix_file_data,
      .rename = posix_rename,
      .unlink = posix_unlink,
      .lock = posix_lock,
      .unlock = posix_unlock,
      .locked = posix_locked,
      .map = posix_map,
      .unmap = posix_unmap,
      .map_read_only = posix_map_read_only,
      .map_scattered = posix_map_scattered,
      .populate = posix_populate,
      .depopulate = posix_depopulate,
      .access = io_guard_access,
      .now = posix_now,
      .now_coarse = posix_now_coarse,
      .wall_ms = posix_wall_ms,
      .boot_id = posix_boot_id,
      .random = posix_random,
      .alloc = posix_alloc,
      .free = posix_free,
      .wait = posix_wait,
      .wake = posix_wake,
      .fence_all = posix_fence_all,
      .wait_shared = posix_wait_shared,
      .wake_shared = posix_wake_shared,
      .fence_shared = posix_fence_shared,
      .fence_join = posix_fence_join,
      .event_open = posix_event_open,
      .event_set = posix_event_set,
      .thread_start = posix_thread_start,
      .thread_join = posix_thread_join,
      .thread_self = posix_thread_self,
      .processor = posix_processor,
      .keep_off = posix_keep_off,
      .owner_word = posix_owner_word,
  };
  return &environment;
}
