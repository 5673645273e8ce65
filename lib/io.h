/* SPDX-License-Identifier: MIT
 *
 * The I/O interface: everything the library asks of the world. Files,
 * directories, mappings, locks, clocks, random numbers, memory, waiting and
 * waking go through here and nowhere else. io_posix.c is the operating system;
 * io_sim.c is a disk in memory whose power can be cut; io_fault.c wraps either
 * and makes calls fail; io_count.c wraps whichever it is for one log, and
 * counts.
 *
 * Conventions: calls return 0 or a handle, or a negative errno. Reading and
 * writing may transfer less than was asked, and reading, writing and allocating
 * may be interrupted (-EINTR): io_read, io_write and io_allocate below go on
 * until they are done. Every other call is whole. `deadline` and `now` are
 * nanoseconds of the monotonic clock; NONE is "never".
 */
#ifndef DURALOG_IO_H
#define DURALOG_IO_H

#include <errno.h>

#include "base.h"
#include "duralog.h"

/*
 * Why something is synced. Each reason is one place in the code, two fault
 * points ("sync/" and "skip/" and the name) and one line of lib/README.md.
 */
#define IO_SYNC_REASONS(X)                                                    \
  X(DATA, "data")           /* records, before they are called durable */     \
  X(FINISHED, "finished")   /* a finished segment's, before its seal */       \
  X(EPOCH, "epoch")         /* a raised epoch, before its first record */     \
  X(UNCLEAN, "unclean")     /* the clean mark taken away */                   \
  X(CLEAN, "clean")         /* the clean mark, after all data */              \
  X(WATERMARK, "watermark") /* strict mode: evidence before the promise */    \
  X(SEAL, "seal")           /* the seal of a finished segment */              \
  X(AHEAD, "ahead")         /* blocks ahead of the tail: for speed alone */   \
  X(SEGMENT, "segment")     /* header and size of a new segment */            \
  X(SEGMENT_NAME, "segment-name")                                             \
  X(META, "meta") /* the meta file */                                         \
  X(META_NAME, "meta-name")                                                   \
  X(LOG_NAME, "log-name") /* a new log's directory in its parent */           \
  X(REMOVED, "removed")   /* each segment that recovery cut away */           \
  X(NAMES, "names")       /* what a killed writer named */                    \
  X(DAMAGED, "damaged") /* what a damaged log still holds, before going on */ \
  X(SALVAGED, "salvaged")             /* each file of a copy */               \
  X(SALVAGED_NAMES, "salvaged-names") /* all of them, before the meta file */ \
  X(GROUPS_NAME, "groups-name") /* the directory of groups, in the log's */   \
  X(GROUP_NAME, "group-name")   /* a group's name, made, met or removed */    \
  X(GROUP, "group")             /* the file of a new group */                 \
  X(COMMIT, "commit")           /* a commit, before it is called durable */   \
  X(REVIEW, "review") /* an earlier member's last commit, written again */

enum io_sync_reason {
#define IO_SYNC_ENUM(name, text) IO_SYNC_##name,
  IO_SYNC_REASONS(IO_SYNC_ENUM)
#undef IO_SYNC_ENUM
      IO_SYNC_REASON_COUNT
};

enum {
  IO_READ = 0,
  IO_WRITE = 1,
  IO_CREATE = 2, /* new, with IO_WRITE */
  IO_SCRATCH = 4 /* of no worth after a crash: never synced, never trusted */
};

/* What a thread that keeps off processors has to remember; zeros at first. */
struct io_processors {
  uint64_t allowed[16], ours[16];
};

/* Bytes of a mapping. */
struct io_range {
  const void *from;
  uint64_t bytes;
};

/* Bytes [from, to) of a file that is mapped as a whole. */
struct io_part {
  void *map;
  uint64_t from, to;
};

/* How many have asked for the guard against SIGBUS (io_guard.c). */
extern struct counter io_guards __attribute__((visibility("hidden")));

/* Whether mapped bytes are to be touched by `access` alone. */
static inline bool io_guarded(void) {
  return UNLIKELY(counter_get(&io_guards) != 0);
}

/* What is known of the file system under a directory. */
struct io_fs {
  bool network, copy_on_write, overlay, memory, fuse;
};

typedef const struct duralog_environment io_env;

struct duralog_environment {
  void *world;

  /* Directories. dir_make makes one level. */
  int (*dir_make)(io_env *, const char *path, uint32_t mode);
  int (*dir_remove)(io_env *, const char *path); /* an empty one */
  int (*dir_open)(io_env *, const char *path);
  /* The same inside of an open directory; one level. */
  int (*dir_make_in)(io_env *, int dir, const char *name, uint32_t mode);
  int (*dir_open_in)(io_env *, int dir, const char *name);
  int (*dir_sync_parent)(io_env *, const char *path, enum io_sync_reason);
  int (*dir_sync)(io_env *, int dir, enum io_sync_reason);
  int (*dir_list)(io_env *, int dir,
                  int (*each)(void *context, const char *name), void *context);
  int (*dir_fs)(io_env *, int dir, struct io_fs *);

  /* Files. Handles of directories and files are closed alike. */
  int (*file_open)(io_env *, int dir, const char *name, int flags,
                   uint32_t mode);
  int (*close)(io_env *, int handle);
  int (*file_size)(io_env *, int file, uint64_t *bytes);
  int (*file_allocate)(io_env *, int file, uint64_t bytes);
  /* How many bytes were read or written; a read of 0 is the end of the file. */
  int64_t (*file_read)(io_env *, int file, void *buffer, size_t size,
                       uint64_t position);
  int64_t (*file_write)(io_env *, int file, const void *bytes, size_t size,
                        uint64_t position);
  /* All of the file, or the pages that the part lies in and what it takes to
   * find them again. */
  int (*file_sync)(io_env *, int file, const struct io_part *,
                   enum io_sync_reason);
  /* From `*position` on, the next range that may hold other than zeros.
   * ENXIO: there is none. May always answer "to the end". */
  int (*file_data)(io_env *, int file, uint64_t *position, uint64_t *end);
  int (*rename)(io_env *, int dir, const char *from, const char *to);
  int (*unlink)(io_env *, int dir, const char *name);
  /* The writer's lock, or a group's, on a file that is made if need be, unless
   * the mode is 0: a handle that reads and writes, or EAGAIN if another holds
   * it, in any process. Ends with `unlock` or the process, also while a forked
   * child lives. */
  int (*lock)(io_env *, int dir, const char *name, uint32_t mode);
  void (*unlock)(io_env *, int handle);
  int (*locked)(io_env *, int dir, const char *name); /* 1: held by another */

  /* Mappings, shared, of a whole file from its beginning. */
  int (*map)(io_env *, int file, uint64_t bytes, bool writable, void **address);
  int (*unmap)(io_env *, void *address, uint64_t bytes);
  int (*map_read_only)(io_env *, void *address, uint64_t bytes);
  /* Touched in small pieces with syncs in between: keep the cache's pages
   * small, or each sync writes a large one (pitfall 5). A hint. */
  int (*map_scattered)(io_env *, void *address, uint64_t bytes);
  /* Fault pages in ahead; for writing this dirties them. A hint. */
  int (*populate)(io_env *, void *address, uint64_t bytes, bool for_writing);
  /* Take the pages out of the mapping again; they stay in the cache. A hint. */
  int (*depopulate)(io_env *, void *address, uint64_t bytes);
  /* Run the body, which touches bytes of mappings and otherwise nothing but
   * memory that is thrown away on failure; no lock is taken in it, and nothing
   * allocated. -EFAULT: it ended at `*at`, since that cannot be had. */
  int (*access)(io_env *, const struct io_range *, size_t count,
                void (*body)(void *), void *context, const void **at);

  /* Clocks, random numbers, memory. */
  uint64_t (*now)(io_env *);        /* monotonic, exact */
  uint64_t (*now_coarse)(io_env *); /* monotonic, one tick coarse, cheap */
  int64_t (*wall_ms)(io_env *);
  void (*boot_id)(io_env *, uint8_t id[16]); /* zeros if unknown */
  int (*random)(io_env *, void *bytes, size_t size);
  void *(*alloc)(io_env *, size_t bytes); /* zeroed; NULL if there is none */
  void (*free)(io_env *, void *);

  /* Sleep while *word == value, until woken or the deadline: 0 or ETIMEDOUT.
   * May wake for no reason. */
  int (*wait)(io_env *, _Atomic uint32_t *word, uint32_t value,
              uint64_t deadline);
  void (*wake)(io_env *, _Atomic uint32_t *word, int count);
  /* A full fence in every thread of the process; false if there is no such
   * thing here, and both sides must fence. */
  bool (*fence_all)(io_env *);

  /* The same between processes, on a word in a mapped file. fence_shared is a
   * fence in every thread of every process that has called fence_join; either
   * is false where there is no such thing. */
  int (*wait_shared)(io_env *, _Atomic uint32_t *word, uint32_t value,
                     uint64_t deadline);
  void (*wake_shared)(io_env *, _Atomic uint32_t *word, int count);
  bool (*fence_shared)(io_env *);
  bool (*fence_join)(io_env *);

  /* A descriptor for the host to poll, closed like a file. Readable or not as
   * it was set last: now for 0, not for NONE; one that is timed from the
   * deadline on. Not readable at first. */
  int (*event_open)(io_env *, bool timed);
  void (*event_set)(io_env *, int event, bool timed, uint64_t deadline);

  /* A thread with all signals blocked. */
  int (*thread_start)(io_env *, void (*body)(void *), void *context,
                      void **thread);
  void (*thread_join)(io_env *, void *thread);
  /* A name for the calling thread, not 0, that no other living one has. */
  uint64_t (*thread_self)(io_env *);
  /* The processor that the caller runs on, from 1; 0: not known. And for a
   * thread of thread_start, which owns `memory`: run on others, if the host
   * allows it any. A hint. */
  uint32_t (*processor)(io_env *);
  void (*keep_off)(io_env *, struct io_processors *memory, uint32_t processor);

  /* A word that changes in a forked child: compare with its value at open. */
  const _Atomic uint32_t *(*owner_word)(io_env *);

  /* How often io_read, io_write and io_allocate went round again; NULL: nobody
   * counts. */
  struct counter *retries;

  /* A step between stores (see STEP). Instrumented builds only. */
  void (*step)(io_env *, const char *name);
};

/* The operating system. */
io_env *io_posix(void);

static inline void io_retried(io_env *io) {
  if (io->retries) counter_add(io->retries, 1);
}

/* Reads up to `size` bytes, fewer only at the end of the file. */
static inline int64_t io_read(io_env *io, int file, void *buffer, size_t size,
                              uint64_t position) {
  size_t done = 0;
  while (done < size) {
    int64_t n = io->file_read(io, file, (uint8_t *)buffer + done, size - done,
                              position + done);
    if (n == -EINTR || (n > 0 && done)) io_retried(io);
    if (n == -EINTR) continue;
    if (n < 0) return n;
    if (n == 0) break;
    done += (size_t)n;
  }
  return (int64_t)done;
}

static inline int io_write(io_env *io, int file, const void *bytes, size_t size,
                           uint64_t position) {
  size_t done = 0;
  while (done < size) {
    int64_t n = io->file_write(io, file, (const uint8_t *)bytes + done,
                               size - done, position + done);
    if (n == -EINTR || (n > 0 && done)) io_retried(io);
    if (n == -EINTR) continue;
    if (n < 0) return (int)n;
    if (n == 0) return -EIO;
    done += (size_t)n;
  }
  return 0;
}

static inline int io_allocate(io_env *io, int file, uint64_t bytes) {
  for (;;) {
    int result = io->file_allocate(io, file, bytes);
    if (result != -EINTR) return result;
    io_retried(io);
  }
}

/*
 * STEP("append/header"): a named place between two stores into shared memory.
 * In the instrumented build the environment may crash, kill, fail or switch
 * threads here; in a release nothing is left of it.
 */
#ifdef DURALOG_INSTRUMENTED
#define STEP(io, name) ((io)->step ? (io)->step((io), (name)) : (void)0)
#else
#define STEP(io, name) ((void)0)
#endif

/* A mutex on wait and wake (Drepper, "Futexes are tricky", mutex 2). For slow
 * paths: the append lock is its own (append.c). */
struct mutex {
  _Atomic uint32_t word; /* 0 free, 1 held, 2 held and wanted */
};

static inline void mutex_lock(io_env *io, struct mutex *m) {
  uint32_t seen = 0;
  if (atomic_compare_exchange_strong(&m->word, &seen, 1)) return;
  while (atomic_exchange(&m->word, 2) != 0) io->wait(io, &m->word, 2, NONE);
}

static inline void mutex_unlock(io_env *io, struct mutex *m) {
  if (atomic_exchange(&m->word, 0) == 2) io->wake(io, &m->word, 1);
}

#endif
