/* SPDX-License-Identifier: MIT
 *
 * duralog: an embeddable durable log.
 *
 * A log is a directory. Records are appended to its end, get dense 64-bit
 * offsets starting at 0, and are read back in that order. One process writes;
 * any number of its threads may append and read at once, and any number of
 * other processes may read along.
 *
 * WORDS
 *   record    an opaque byte string (0 bytes allowed) with an offset, a
 *             timestamp (milliseconds since 1970, signed) and perhaps a key
 *   offset    a record's number. Never a byte position
 *   sync      make records survive power loss (fdatasync, msync)
 *   segment   one memory-mapped file of the log
 *   start, end, durable
 *             the watermarks, each "the next one" (exclusive): the oldest
 *             record kept; what readers may see; what survives power loss.
 *             start <= end and durable <= end, always
 *   epoch     a number raised by the first append after each opening;
 *             (epoch, offset) names one payload for ever
 *
 * WHAT SURVIVES
 *   "Returned" means that an append returned DURALOG_OK at the mode's own
 *   level (DURALOG_LEVEL_DEFAULT).
 *
 *   mode               process killed   power lost, kernel crashed
 *   every record (*)   all returned     all returned
 *   every N records    all returned     all but at most the last N - 1 returned
 *   every B bytes      all returned     all but fewer than the last B bytes
 *   interval of T      all returned     all but those returned within the last
 *                                       T, the sync in flight and the next one
 *   pagecache          all returned     what the kernel had written back, as a
 *                                       prefix; at least all since synced
 *   any mode: sync, a durable append, a durable wait that returned DURALOG_OK
 *                      all             all
 *
 *   (*) the default. In a mixture, whichever comes first. After every crash
 *   the log is an exact prefix of what was appended: nothing altered,
 *   reordered, duplicated, invented or half there. An append asked for the
 *   weaker DURALOG_LEVEL_WRITTEN returns earlier, counts towards N, B and T,
 *   and is not covered by their bounds. README.md lists, numbered, what is
 *   assumed of disk and kernel.
 *
 * CONVENTIONS
 *   Every function that can fail returns a duralog_error: DURALOG_OK (0), or
 *   a negative value named by what the caller can do about it. On failure the
 *   out-parameters are unchanged, except a diagnostic or report, which is
 *   then filled. Sizes are bytes, times are milliseconds unless the name says
 *   otherwise, a timeout below 0 means no limit and 0 means do not wait.
 *   Memory handed in is only read during the call. Structures begin with
 *   struct_size, which the caller sets to sizeof the structure; everything
 *   else may be left zero for the default. So an application built against
 *   an older header runs with a newer library.
 *
 * THREADS
 *   All functions on a duralog may be called from any thread at any time,
 *   except duralog_close, during and after which no other call may run.
 *   A duralog_reader or duralog_watch belongs to one thread at a time;
 *   different ones are independent of each other. A reservation belongs to the
 *   thread that made it.
 *
 * PROCESSES
 *   One live writer at most: the kernel holds a lock for it, which ends with
 *   the process. A log opened read_only beside it follows it: its records come
 *   as they are appended, through the file `control` in the log's directory.
 *   Nobody trusts that file: stale or hostile contents lead to a wrong
 *   watermark at worst, never to wrong bytes. (Who may write into the directory
 *   can shrink a mapped file, and that is SIGBUS in every process.) Process ids
 *   are not used, so writer and followers may live in different containers that
 *   share the directory. After fork, the child can use neither the log nor its
 *   readers: every call but the closing ones returns DURALOG_E_FORKED, and
 *   duralog_close then frees the child's memory and touches nothing of the
 *   parent's. After exec nothing is inherited. Where a writer dies while one of
 *   its threads is in the middle of fork, the next open may find its lock taken
 *   until the new child runs.
 *
 * MANNERS
 *   The library never exits, aborts or prints, installs no signal handler
 *   unless it is asked to (duralog_guard_install), blocks no signal of the host
 *   (its own threads block all), and keeps no state outside its handles but the
 *   list of open logs that guards against fork and double opening, and that
 *   guard. Its threads run as SCHED_BATCH, and on other processors than the one
 *   that the log was last appended on, as far as the host lets them: whoever
 *   sets a thread's processors, before or after, is obeyed.
 */
#ifndef DURALOG_H
#define DURALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DURALOG_VERSION_MAJOR 0
#define DURALOG_VERSION_MINOR 1
#define DURALOG_VERSION_PATCH 0

#if defined(__GNUC__)
#define DURALOG_API __attribute__((visibility("default")))
#else
#define DURALOG_API
#endif

/* ------------------------------------------------------------- errors -- */

/*
 * One list feeds the enum, duralog_error_name, duralog_error_text and the
 * tests: X(name, value, text).
 */
#define DURALOG_ERRORS(X)                                                      \
  X(OK, 0, "success")                                                          \
  X(E_AT_END, -1, "no record there now: wait, or turn round")                  \
  X(E_TIMEOUT, -2, "the time limit passed first")                              \
  X(E_BUSY, -3, "in use: by another writer, readers, holds or a reservation")  \
  X(E_ARGUMENT, -4, "an argument is not allowed: correct the call")            \
  X(E_RANGE, -5, "the offset lies outside the log")                            \
  X(E_TOO_BIG, -6, "larger than the log's limits: split it, or raise them")    \
  X(E_FULL, -7, "no space or quota left: make room and call again")            \
  X(E_RESOURCES, -8, "out of memory, descriptors or threads: free some")       \
  X(E_NOT_FOUND, -9, "no log there, or its parent directory is missing")       \
  X(E_PERMISSION, -10, "the operating system does not permit it")              \
  X(E_READ_ONLY, -11, "the log or its file system cannot be written")          \
  X(E_FOREIGN, -12, "not a log: the path holds something else")                \
  X(E_NEWER, -13, "written by a newer release: upgrade to open it")            \
  X(E_UNSUPPORTED, -14, "this file system or kernel cannot hold a log safely") \
  X(E_CORRUPT, -15, "damaged data: see the report; nothing was changed")       \
  X(E_IO, -16, "a system call failed: see the diagnostic")                     \
  X(E_POISONED, -17, "a sync failed: close and reopen to learn what is safe")  \
  X(E_FORKED, -18, "used after fork: open the log in the child instead")       \
  X(E_CLOSED, -19, "the log or reader is closed")                              \
  X(E_NO_WRITER, -20,                                                          \
    "no live writer: nothing will come until one opens the log")               \
  X(E_EPOCH, -21, "a new writer began an epoch: see where the log diverges")   \
  X(E_WOKEN, -22, "another thread asked for this call to return")

typedef enum duralog_error {
#define DURALOG_ERROR_ENUM(name, value, text) DURALOG_##name = (value),
  DURALOG_ERRORS(DURALOG_ERROR_ENUM)
#undef DURALOG_ERROR_ENUM
} duralog_error;

/*
 * The error's name ("DURALOG_E_FULL") and its sentence. Static strings, never
 * NULL; a value not in the list gives "unknown". Any thread, no waiting.
 */
DURALOG_API const char *duralog_error_name(duralog_error error);
DURALOG_API const char *duralog_error_text(duralog_error error);

/* "0.1.0": the library's version at run time. Static string. */
DURALOG_API const char *duralog_version(void);

/* What went wrong, in detail: owned and placed by the caller. */
typedef struct duralog_diagnostic {
  size_t struct_size;
  duralog_error error;
  int os_error;      /* errno, or 0 where no system call failed */
  uint64_t position; /* byte position in the file, UINT64_MAX if none */
  char path[256];    /* file or directory, cut at the left if longer */
  char text[256];    /* one sentence */
} duralog_diagnostic;

/* ------------------------------------------------------------ opening -- */

typedef struct duralog duralog;
typedef struct duralog_reader duralog_reader;
typedef struct duralog_environment duralog_environment;

/* How far a record has come. DURALOG_LEVEL_DEFAULT: as the mode says. */
typedef enum duralog_level {
  DURALOG_LEVEL_DEFAULT = 0,
  DURALOG_LEVEL_WRITTEN = 1, /* survives the process; readers may see it */
  DURALOG_LEVEL_DURABLE = 2  /* survives power loss */
} duralog_level;

/*
 * When a sync is due; whichever comes first. All zero is every record.
 * Each trigger also bounds what a power loss takes: see WHAT SURVIVES.
 */
typedef struct duralog_durability {
  uint64_t sync_every_records; /* N; 1 = no append returns before its sync */
  uint64_t sync_every_bytes;   /* B, counted with each record's framing */
  uint32_t sync_interval_ms;   /* T; 10 or more */
  bool pagecache;              /* no triggers: the three above must be 0 */
} duralog_durability;

/* What a power loss could take now. */
typedef struct duralog_unsynced {
  size_t struct_size; /* set by the library */
  uint64_t records;   /* visible and not yet durable; never 0 here */
  uint64_t bytes;     /* of those appended since opening, counted as for B */
  uint64_t oldest_ms; /* an upper bound of the oldest one's age, up to one
                       * scheduler tick (4 ms) coarse */
} duralog_unsynced;

/*
 * A policy of the host's own: true means that a sync is due now. It can only
 * make syncs come sooner; what the durability promises holds whatever it says.
 *
 * Asked outside of all locks, while something is unsynced: after each append
 * that does not itself wait for its sync, by its thread; and by the library's
 * thread whenever it wakes, or by duralog_tick. So that it can go by age it is
 * also asked as time passes, when the oldest record has aged by an eighth, at
 * least 10 ms and at most 1 s: by the library's thread, or where host_driven
 * by the tick that duralog_next_deadline asks for. Never asked where every
 * append waits for durability (N = 1, B = 1).
 *
 * After true the library's thread syncs, and where host_driven the next tick:
 * the append that asked does not wait for that. Several threads may ask at
 * once; the library's own has all signals blocked. The numbers belong to one
 * moment during the call, and the sync they ask for may be under way already.
 *
 * It must be quick, and not call into the log. No lock is held, so that what it
 * calls nevertheless does not hang for that reason; but an append or a tick
 * from inside asks again from inside, without end if it is up to the library,
 * and duralog_close is forbidden as during any other call.
 */
typedef bool duralog_sync_wanted(void *context,
                                 const duralog_unsynced *unsynced);

typedef struct duralog_options {
  size_t struct_size;
  duralog_durability durability;
  duralog_sync_wanted *sync_wanted; /* NULL: none */
  void *sync_wanted_context;        /* handed to it */

  /* Size of new segments: 16 KiB to 1 GiB, a multiple of 4096; default
   * 64 MiB, or 1 MiB with small_device. Each segment takes its full size on
   * disk from its creation, and one is prepared ahead. */
  uint64_t segment_bytes;
  /* Largest record (key and data together); default a quarter of a segment,
   * at most segment_bytes less 4352, or 8448 with pad_syncs. Memory is not
   * reserved for it. */
  uint64_t record_bytes_max;
  /* Permission bits of new files; default 0600 (directory: the same and
   * search where there is read). The umask applies. */
  uint32_t file_mode;
  /* What readers see unless they ask: DURALOG_LEVEL_DEFAULT is "as
   * acknowledged": only durable records where every append waits for
   * durability (N = 1), otherwise all visible ones. Where the handle follows
   * another process, by that one's mode, whatever `durability` says here. */
  duralog_level read_level;

  bool must_exist;    /* do not create: DURALOG_E_NOT_FOUND instead */
  bool read_only;     /* write nothing; implies must_exist. A follower that
                       * sleeps sets a bit in the control file if it may */
  bool strict;        /* `durable` advances only after the watermark itself is
                       * durable: two syncs instead of one, and damage to the
                       * last synced batch is told from a torn tail */
  bool pad_syncs;     /* each sync ends on a 4 KiB block, so that no sync writes
                       * over records that an earlier one made durable: for
                       * disks that harm neighbouring sectors. Costs space */
  bool accept_damage; /* open although damaged: the damaged range stays
                       * unreadable, appends go on at or above every watermark
                       * known, in a new epoch. Files are kept as they are */
  bool host_driven;   /* no thread: the host calls duralog_tick */
  bool copying_reads; /* readers pread into their own buffer and verify there:
                       * immune to what happens to a mapped page later, and no
                       * SIGBUS in reading; see duralog_guard_install */
  bool small_device;  /* preset: 1 MiB segments; of these no pages or blocks
                       * are touched before records come to them */

  /* For tests: a simulated disk and clock. NULL is the operating system. */
  const duralog_environment *environment;
} duralog_options;

/* A range of offsets that cannot be read: [from, to). */
typedef struct duralog_damage {
  uint64_t from;     /* offset */
  uint64_t to;       /* offset: the first that the checksums prove again */
  uint64_t segment;  /* number of the segment file; 0 = the meta file */
  uint64_t position; /* byte position in that file */
} duralog_damage;

/* What opening found and did. */
typedef struct duralog_report {
  size_t struct_size;
  uint64_t start, end;      /* offsets kept: [start, end) */
  uint64_t durable;         /* known durable when open returned */
  uint64_t durable_found;   /* provably durable before anything was rewritten */
  uint64_t torn_bytes;      /* unfinished tail that was cut, in bytes */
  uint64_t epoch;           /* of the last record kept; 0 = none ever */
  uint64_t segments;        /* files of the log, prepared ones not counted */
  uint64_t segments_walked; /* read by recovery */
  uint64_t bytes_walked;
  uint64_t walk_ns, sync_ns; /* time of recovery's reading; of its syncs */
  uint64_t segment_bytes, record_bytes_max; /* the options in effect */
  size_t damage_count; /* how many ranges; the first ones are here */
  duralog_damage damage[8];
  bool created;      /* the log did not exist before */
  bool clean;        /* the last writer closed it */
  bool rebooted;     /* the machine has rebooted since the last writer */
  bool reboot_known; /* whether `rebooted` could be told */
  bool writer_lives; /* read-only: a writer was alive */
  bool follows;      /* read-only: the appends of whoever writes, now or later,
                      * are seen; otherwise a snapshot */
  bool unshared;     /* writing: no control file could be made (no space, for
                      * one), so that other processes get snapshots */
  bool fs_overlay, fs_memory, fs_fuse; /* a file system with weaker promises:
                                        * overlay, tmpfs or ramfs, FUSE */
} duralog_report;

/*
 * Open, create or recover the log in directory `path`.
 *
 *   options     NULL for all defaults
 *   log         receives the handle
 *   report      NULL, or filled with what was found, also where the result is
 *               DURALOG_E_CORRUPT
 *   diagnostic  NULL, or filled on failure
 *
 * A missing directory is created (its parent must exist), an empty one
 * becomes a log; both are durable on return. A torn tail is cut, and the
 * report says how much. Everything recovered is visible at once; where every
 * append waits for durability it is also durable on return, otherwise with
 * the next sync. Records before the last sealed segment are not read here:
 * damage there is met by readers. Nothing is raised, and no space is needed,
 * until the first append. Reads the unsealed segments; waits for a few syncs.
 *
 * read_only: recovers in memory and writes nothing; works without write
 * permission. `durable` is what the files prove, which may be less than a
 * writer knew. The handle follows whoever writes, now or later: watermarks,
 * also `durable`, are the writer's, readers and waits go along with it. (The
 * file `control` tells of a new writer at once; where none has been made yet,
 * the waits look for it.) report->follows says so. Otherwise it is a snapshot
 * as of opening, for good: where a writer lives whose control file cannot be
 * used, where the log is damaged, or memory is short.
 *
 * Errors; the files are unchanged after each, and no handle exists:
 *   ARGUMENT     NULL path or log, unknown struct_size, a value out of bounds,
 *                pagecache with triggers, an interval below 10 ms
 *   BUSY         a writer lives in this or another process
 *   NOT_FOUND    no log and must_exist or read_only; or no parent directory
 *   FOREIGN      the path is a file, or a directory with other things in it
 *   NEWER        a newer format or an unknown incompatible feature
 *   CORRUPT      damage below what was durable; see the report. read_only and
 *                accept_damage open nevertheless
 *   PERMISSION, READ_ONLY, FULL (creating), RESOURCES, IO
 *   UNSUPPORTED  for writing: a network file system, or a copy-on-write one
 *                (btrfs, zfs, bcachefs), where mapped space is no guarantee
 *   POISONED     a sync failed during creation or recovery
 */
DURALOG_API duralog_error duralog_open(const char *path,
                                       const duralog_options *options,
                                       duralog **log, duralog_report *report,
                                       duralog_diagnostic *diagnostic);

/*
 * Close: sync what is unsynced in every mode, mark the log cleanly closed,
 * stop the thread, free everything and set *log to NULL. A NULL *log is
 * CLOSED; every function given a NULL log or reader answers CLOSED.
 *
 * Waits for the syncs. In a forked child it only frees memory.
 *   BUSY      readers or watches are open, holds or a reservation are out;
 *             nothing was closed
 *   POISONED, IO, FULL
 *             closed and freed all the same; the last records may not be
 *             durable: the next open finds out
 */
DURALOG_API duralog_error duralog_close(duralog **log);

/* The most recent failure on this log, for its details. OK, or ARGUMENT for
 * NULL or an unknown struct_size; error is DURALOG_OK if nothing failed. */
DURALOG_API duralog_error duralog_diagnose(const duralog *log,
                                           duralog_diagnostic *diagnostic);

/* ---------------------------------------------------------- appending -- */

/* A record to append. */
typedef struct duralog_entry {
  const void *data; /* may be NULL if size is 0 */
  size_t size;
  const void *key; /* NULL: no key. Not NULL with key_size 0: an empty key */
  size_t key_size;
  int64_t timestamp_ms; /* used as given if has_timestamp, otherwise ignored:
                         * the wall clock, coarse (one scheduler tick, 4 ms),
                         * which never goes back within one opening */
  bool has_timestamp;
} duralog_entry;

/*
 * Append one record and give back its offset.
 *
 *   data, size  the record; NULL only with size 0
 *   offset      NULL, or receives the offset
 *
 * Returns at the mode's level: with N = 1 after its sync (shared with all who
 * wait), otherwise as soon as the mode's bound allows. While other threads
 * append, waits for its turn: the lock is unfair, and a waiter naps up to 1 ms
 * between tries. While another thread has a reservation, waits until that is
 * published or aborted, however long: duralog_reserve is the append with a time
 * limit. May wait for a new segment if none was prepared in time.
 *
 * Errors: in each case but POISONED nothing was appended.
 *   ARGUMENT   NULL data with a size
 *   TOO_BIG    over record_bytes_max
 *   FULL       no space for a new segment; appends work again once there is
 *   READ_ONLY  opened read-only
 *   BUSY       this thread has a reservation: publish or abort it first
 *   RESOURCES, IO, FORKED, CLOSED
 *   POISONED   a sync failed, now or before. If now, the record was appended
 *              and may or may not survive; `durable` is frozen, reading goes
 *              on, everything else fails until the log is reopened. With the
 *              guard also where a store was lost, and then it was not appended
 */
DURALOG_API duralog_error duralog_append(duralog *log, const void *data,
                                         size_t size, uint64_t *offset);

/*
 * Append `count` records as one batch: after any crash all are there or none,
 * and readers see all or none. Their offsets are consecutive, the first goes
 * to *first_offset (may be NULL). With count = 1: one record with key,
 * timestamp or level.
 *
 *   level  DEFAULT: return as duralog_append does; WRITTEN: do not wait;
 *          DURABLE: after a sync
 *
 * Errors as duralog_append, and
 *   ARGUMENT  NULL entries, count 0, an unknown level
 *   TOO_BIG   a record over record_bytes_max, or a batch that does not fit in
 *             one segment
 */
DURALOG_API duralog_error duralog_append_batch(duralog *log,
                                               const duralog_entry *entries,
                                               size_t count,
                                               duralog_level level,
                                               uint64_t *first_offset);

/*
 * Reserve room for one record, to write it where it will lie in its segment.
 * Then duralog_publish, or duralog_abort. One reservation at a time per log.
 *
 *   size_max    bytes wanted; 0 is allowed
 *   timeout_ms  for the reservation and the appends of other threads that come
 *               first; below 0 no limit. Preparing a segment, or the epoch of a
 *               first append, is waited for beyond the limit
 *   memory      receives the address of size_max bytes, aligned to 8; what is
 *               in them is not said
 *
 * The memory belongs to the log. It may be written, by any thread of this
 * process, until this thread publishes or aborts, and not after that; nothing
 * outside of it may be written ever. Whatever it holds, it is no record before
 * it is published: after a crash nothing of it comes back.
 *
 * Until then all appending by other threads waits, so be quick. Everything else
 * works in every thread, syncs and reading included. The thread itself can
 * neither append, nor wait for a record that is not there (BUSY), and must not
 * end with a reservation out: nobody else could end it. Who has waited for a
 * reservation is let in before the same thread gets the next one, unless that
 * takes more than 1 ms. With pad_syncs each reservation begins a 4 KiB block.
 *
 * Errors: nothing is reserved, nothing was appended.
 *   TIMEOUT    the time limit passed first
 *   BUSY       this thread has a reservation already
 *   ARGUMENT   NULL memory
 *   TOO_BIG    over record_bytes_max
 *   FULL, READ_ONLY, RESOURCES, IO, FORKED, CLOSED (see duralog_append)
 *   POISONED   a sync failed
 */
DURALOG_API duralog_error duralog_reserve(duralog *log, size_t size_max,
                                          int64_t timeout_ms, void **memory);

/*
 * Append the first `size` bytes of this thread's reservation as one record,
 * without a key, with the clock's time as by duralog_append. The reservation is
 * over then; waiting for durability comes after others are let in.
 *
 *   size    up to the size_max that was reserved. Bytes written behind it are
 *           not kept; opening after a crash may count them as torn
 *   level   DEFAULT: return as duralog_append does; WRITTEN: do not wait;
 *           DURABLE: after a sync
 *   offset  NULL, or receives the offset
 *
 * The bytes must not change from the call on.
 *
 * Errors:
 *   ARGUMENT   this thread has no reservation; or a larger size or an unknown
 *              level, and the reservation stands
 *   POISONED   a sync failed. If before: nothing was appended, the reservation
 *              is over. If now: see duralog_append
 *   READ_ONLY, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_publish(duralog *log, size_t size,
                                          duralog_level level,
                                          uint64_t *offset);

/*
 * Give this thread's reservation up: nothing is appended, the space is free
 * again and cleared where something was written. Waits for nothing.
 *   ARGUMENT   this thread has no reservation
 *   POISONED   with the guard: the space could not be cleared. The reservation
 *              is over
 *   READ_ONLY, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_abort(duralog *log);

/*
 * Make all records visible at the time of the call durable. Shares a sync
 * with others where possible.
 *   READ_ONLY, FORKED, CLOSED; POISONED (see duralog_append)
 */
DURALOG_API duralog_error duralog_sync(duralog *log);

/*
 * Wait until the record with this offset has reached the level.
 *
 *   level       WRITTEN: visible. DURABLE: survives power loss; asks for a
 *               sync, in every mode. DEFAULT: DURABLE where N = 1, otherwise
 *               WRITTEN
 *   timeout_ms  below 0 no limit. A sync that this thread does itself is
 *               waited for beyond the limit: always where host_driven
 *
 * A handle that follows another process waits for that one's appends and syncs
 * and asks for none; for NO_WRITER see duralog_reader_wait.
 *
 *   TIMEOUT     not reached; nothing changed
 *   BUSY        the record is not there, and cannot come while this thread has
 *               a reservation
 *   READ_ONLY   the record is not there and this handle will not bring it
 *   NO_WRITER   following: not reached, and the writer has gone. Once for each
 *               handle and writer; then this waits for the next one
 *   ARGUMENT, FORKED, CLOSED; POISONED (see duralog_append), unless the level
 *   was reached before
 */
DURALOG_API duralog_error duralog_wait(duralog *log, uint64_t offset,
                                       duralog_level level, int64_t timeout_ms);

typedef struct duralog_watermarks {
  size_t struct_size;
  uint64_t start, end, durable;
  uint64_t epoch; /* of the newest record; 0 = no record ever */
  /* An upper bound of the age of the oldest record not yet durable, 0 if all
   * are; up to one scheduler tick (4 ms) coarse. */
  uint64_t oldest_unsynced_ms;
} duralog_watermarks;

/*
 * Read the watermarks. Takes no lock, waits for nothing. Each value is right
 * at some moment during the call; durable <= end holds between them.
 *   ARGUMENT for NULL or an unknown struct_size; CLOSED, FORKED
 */
DURALOG_API duralog_error duralog_get_watermarks(const duralog *log,
                                                 duralog_watermarks *out);

/*
 * host_driven: do the background work that is due: interval syncs, preparing
 * the next segment, sealing finished ones. Otherwise the library's own threads
 * do it and a tick only does it sooner. Waits for the disk. While a
 * reservation is out nothing is prepared; that is due when it has ended.
 *   READ_ONLY, FORKED, CLOSED
 *   FULL, RESOURCES, IO  the next segment could not be prepared; tried again
 *             at the next tick and by the append that needs it; the log is
 *             unharmed
 *   POISONED  (see duralog_append)
 */
DURALOG_API duralog_error duralog_tick(duralog *log);

/*
 * When duralog_tick wants to be called: *in_ms receives 0 for now, the
 * milliseconds until then, or -1 for "not before the next append". Between
 * its deadline and a late tick the interval promise is late by as much.
 *   ARGUMENT, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_next_deadline(const duralog *log,
                                                int64_t *in_ms);

/* ------------------------------------------------------------ watches -- */

/* A descriptor for the host's own epoll, poll or select. */
typedef struct duralog_watch duralog_watch;

typedef enum duralog_watched {
  DURALOG_WATCH_END = 0,     /* `end` moved: records became visible */
  DURALOG_WATCH_DURABLE = 1, /* `durable` moved */
  DURALOG_WATCH_TICK = 2     /* host_driven: a call of duralog_tick is due */
} duralog_watched;

/*
 * Watch the log: get a descriptor that becomes readable.
 *
 *   what   what it becomes readable for
 *   watch  receives the handle; close it before the log
 *
 * It is a LEVEL: readable (POLLIN) from the moment the watermark is above what
 * the last duralog_watch_take gave, or a tick is due, until the next take. So
 * no wake-up is lost whether epoll is told EPOLLET or not. It is readable at
 * first, so that what came before is not missed; and seldom for nothing, which
 * a take that gives the same value again shows.
 *
 * For END and DURABLE: when readable, take, then read or acknowledge up to the
 * value. For TICK: when readable, call duralog_tick, then take. The tick
 * becomes due by the clock, and by what appends and waits leave to do. A tick
 * that failed and left its work undone may be due again at once.
 *
 * After a failed sync it is readable until a take has returned POISONED.
 *
 * Following another process: the watermarks are that writer's. Readable as well
 * where a new writer began an epoch, so that readers come to be told of it,
 * where the writer has gone, and where its sync failed. A thread of the
 * library's sleeps for each such watch, with all signals blocked; elsewhere
 * there is none. Otherwise an append or a sync by another thread pays for what
 * it wakes, and for nothing while no watch waits.
 *
 * Different watches are independent of each other and of all other calls; one
 * watch belongs to one thread at a time. Takes a lock that signals take; waits
 * for nothing else. No watch is open after:
 *   ARGUMENT   NULL watch, an unknown `what`, TICK on a log that is not
 *              host_driven
 *   READ_ONLY  a snapshot, where nothing will move; TICK on a read_only log
 *   RESOURCES  no memory, descriptor or thread; IO, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_watch_open(duralog *log, duralog_watched what,
                                             duralog_watch **watch);

/*
 * The descriptor, to be polled for reading and nothing else: it must not be
 * read, written or closed. Valid until duralog_watch_close, close-on-exec,
 * above 2. -1 for NULL. Any thread, no waiting.
 */
DURALOG_API int duralog_watch_descriptor(const duralog_watch *watch);

/*
 * What there is now; the descriptor is unreadable until there is more.
 *
 *   value  NULL, or receives the watermark (END, DURABLE), or the milliseconds
 *          until a tick is due, UINT64_MAX for "not before there is something
 *          to do" (TICK): the descriptor becomes readable then by itself
 *
 * Take and then read, never the other way round: what came in between would be
 * taken unread. Waits for no disk, except that the first one beside a new
 * writer lists the directory.
 *   POISONED   a sync failed, and all that had come before was given. The watch
 *              is over: this is every later answer, and it stays unreadable
 *              (following: this writer is over. Once for each)
 *   NO_WRITER  following: the writer has closed the log or died, and all it
 *              left was given. Once for each writer; then it watches for the
 *              next one
 *   FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_watch_take(duralog_watch *watch,
                                             uint64_t *value);

/*
 * Close the descriptor, free the watch and set *watch to NULL. Take it out of
 * poll sets before. Waits up to 100 ms for the thread of a follower's watch. In
 * a forked child it closes the child's copy of the descriptor (as long as the
 * parent has its own, an epoll that the two share goes on naming it), frees its
 * memory and touches nothing else. CLOSED if *watch is NULL.
 */
DURALOG_API duralog_error duralog_watch_close(duralog_watch **watch);

/* --------------------------------------------------------- statistics -- */

/*
 * Kinds of syncs, with the text that names them in statistics: X(name, text).
 * One list feeds the enum and whoever prints.
 */
#define DURALOG_SYNC_KINDS(X)                                               \
  X(DATA, "data")       /* records, and an epoch before its first one:      \
                         * what durable appends wait for */                 \
  X(MARK, "mark")       /* the clean mark; with strict the watermark */     \
  X(SEAL, "seal")       /* finished segments, as a whole, and their seal */ \
  X(SEGMENT, "segment") /* preparing: a new segment and its name; where     \
                         * each append is synced, blocks ahead of them */   \
  X(OPEN, "open")       /* creating, recovering, going on behind damage */  \
  X(GROUP, "group")     /* files and names of consumer groups */

typedef enum duralog_sync_kind {
#define DURALOG_SYNC_ENUM(name, text) DURALOG_SYNC_##name,
  DURALOG_SYNC_KINDS(DURALOG_SYNC_ENUM)
#undef DURALOG_SYNC_ENUM
      DURALOG_SYNC_KIND_COUNT
} duralog_sync_kind;

/* Sizes of the arrays below; what is beyond the lists is 0. */
#define DURALOG_STATS_KINDS 8
#define DURALOG_STATS_ERRORS 32
#define DURALOG_STATS_BUCKETS 24

/* Calls of fdatasync, msync or fsync and how long they took, failed ones
 * included. */
typedef struct duralog_sync_times {
  uint64_t count;
  uint64_t total_ns;
  uint64_t max_ns;
  /* How many took less than 1024 << i ns, and not less than the bucket before:
   * up to 1 us, 2 us, 4 us, ...; the last one, from 4.3 s on, has no bound. */
  uint64_t histogram[DURALOG_STATS_BUCKETS];
} duralog_sync_times;

/* All since opening, by this handle. */
typedef struct duralog_stats {
  size_t struct_size;

  /* Appended; these belong to one moment. */
  uint64_t records;
  uint64_t batches;       /* calls that appended them: one record, or several.
                           * A reservation counts once published */
  uint64_t payload_bytes; /* data and keys */
  uint64_t framing_bytes; /* around them: headers, key sizes, times of their
                           * own, padding to 8. Not: internal frames */
  uint64_t contended;     /* times that an append found the lock taken, by
                           * another one or by a reservation */
  uint64_t naps;          /* while it waited for that: of up to 1 ms, or until
                           * the reservation was over */
  uint64_t rolls;         /* times that appends went on in a new segment */

  /* Times that an append, duralog_sync or duralog_wait found its records not
   * yet durable and waited, and for how long together: for its own sync, or
   * another thread's, or a time limit. */
  uint64_t waits;
  uint64_t wait_ns;

  uint64_t segments_prepared;
  uint64_t segments_sealed;
  uint64_t late_preparations;   /* appends that waited for the next segment: it
                                 * was not prepared in time, or the first append
                                 * needed one */
  uint64_t failed_preparations; /* ahead of need; tried again by a tick or by
                                 * the append that needs it */

  uint64_t readers;            /* open now, with the holds that are out and the
                                * watches */
  uint64_t oldest_unsynced_ms; /* now; as in duralog_watermarks */

  /* What went wrong and did no harm. */
  uint64_t retries;       /* reads, writes and allocations that went on after
                           * EINTR or a part, and records that were stored
                           * since they could not be written. EINTR during a
                           * sync is not counted */
  uint64_t hints_refused; /* advice about mappings, and the write protection
                           * of sealed segments */

  /* Failures by name: errors[-e] is how often a call on this log, or on one of
   * its readers, returned e, and how often a thread of the library met e, which
   * no call returns. After a failed sync each waiter counts, and each later
   * call; a thread counts once. AT_END is no failure and is not counted, nor
   * are FORKED and CLOSED, for which there is no log, nor what duralog_open
   * and a duralog_close that closed returned. */
  uint64_t errors[DURALOG_STATS_ERRORS];

  duralog_sync_times syncs[DURALOG_STATS_KINDS]; /* by duralog_sync_kind */
} duralog_stats;

/*
 * Read the statistics. They are always kept. Waits for its turn among appends
 * as an append does, and for nothing else, a reservation least of all; works on
 * a read_only log, too.
 *   ARGUMENT for NULL or an unknown struct_size; CLOSED, FORKED
 */
DURALOG_API duralog_error duralog_get_stats(const duralog *log,
                                            duralog_stats *out);

/* ------------------------------------------------------------ reading -- */

/* A record as read. The memory belongs to the library. */
typedef struct duralog_record {
  uint64_t offset;
  uint64_t epoch;
  int64_t timestamp_ms;
  const void *data; /* never NULL; no alignment promised */
  size_t size;
  const void *key; /* NULL: the record has no key */
  size_t key_size;
  uint64_t batch_last; /* offset of the last record of this one's batch if this
                        * is it, otherwise UINT64_MAX: more of it follows */
} duralog_record;

/*
 * Open a reader, placed at the start of the log.
 *   level   DEFAULT: the log's read_level. WRITTEN: all visible records.
 *           DURABLE: never a record that a power loss could still take
 *   reader  receives the handle; close it before the log
 *   ARGUMENT, RESOURCES, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_reader_open(duralog *log, duralog_level level,
                                              duralog_reader **reader);

/* Free the reader and set *reader to NULL. Its holds stay valid until
 * released. CLOSED if *reader is NULL. */
DURALOG_API duralog_error duralog_reader_close(duralog_reader **reader);

/*
 * Read the next record and advance. Nothing is copied: the record is valid
 * until the next call on this reader (longer with duralog_hold). Its checksum
 * was verified in this call.
 *
 *   AT_END   nothing there now: see duralog_reader_wait
 *   EPOCH    following: a new writer has appended. Told once, before any record
 *            of it; duralog_reader_divergence says from where on records are
 *            not those that this reader has read or would have. Where its
 *            position is above that, the same again until it seeks to or below
 *            it. This call reads up to a segment to find out
 *   CORRUPT  the record at the position is damaged. duralog_reader_diagnose
 *            tells the range; the same again until the caller seeks past it
 *   RANGE    the position is no longer kept
 *   NEWER    written by a newer release, in a way that this one cannot read
 *   ARGUMENT, RESOURCES, IO, FORKED, CLOSED
 * The position is unchanged after each.
 */
DURALOG_API duralog_error duralog_read_next(duralog_reader *reader,
                                            duralog_record *record);

/* Read the record before the position and step back onto it, so that
 * duralog_read_next would give it again. AT_END at the start of the log.
 * Otherwise as duralog_read_next. */
DURALOG_API duralog_error duralog_read_previous(duralog_reader *reader,
                                                duralog_record *record);

/* Read the record with this offset; the position is then behind it. RANGE:
 * below start or not below the reader's watermark. Otherwise as
 * duralog_read_next. */
DURALOG_API duralog_error duralog_read_at(duralog_reader *reader,
                                          uint64_t offset,
                                          duralog_record *record);

/*
 * Read up to `max` consecutive records, at most about `max_bytes` of data (0:
 * no limit; at least one record is given), advance, and say how many in
 * *count. All are valid until the next call on this reader. Gives fewer at
 * the end, before damage, and at a segment's end. Errors as
 * duralog_read_next, only where not a single record could be given; ARGUMENT
 * for max 0.
 */
DURALOG_API duralog_error duralog_read_many(duralog_reader *reader,
                                            duralog_record *records, size_t max,
                                            size_t max_bytes, size_t *count);

typedef enum duralog_whence {
  DURALOG_SEEK_OFFSET = 0, /* to the offset: start <= offset <= watermark */
  DURALOG_SEEK_START = 1,  /* the offset argument is ignored */
  DURALOG_SEEK_END = 2
} duralog_whence;

/* Set the position. RANGE outside of the log; the position is then unchanged.
 * ARGUMENT, FORKED, CLOSED. */
DURALOG_API duralog_error duralog_seek(duralog_reader *reader,
                                       duralog_whence whence, uint64_t offset);

/*
 * Set the position to the first record, in the order of offsets, whose
 * timestamp is at least `timestamp_ms` (milliseconds since 1970; any value).
 * Timestamps of the library's own clock do not go back within one opening; a
 * host's own, or a clock set back between two openings, may be out of order:
 * older records may then follow, and every earlier record is older.
 *
 * If no record below the reader's watermark is that new, the position is at
 * that watermark, as after DURALOG_SEEK_END, and the result is OK: wait and
 * read on, and the next record follows, whatever its timestamp.
 *
 * What cannot be read (damaged, missing, of a newer release) is stepped over,
 * and so is a record whose timestamp cannot be proven: the position is at the
 * first one elsewhere. Seek to an earlier offset to meet the damage there. A
 * record whose data alone is damaged may be found, and reading says so.
 *
 * The index that finds it is in memory alone and made from the log's frames
 * when asked for, so it is never missing, damaged or stale. The first calls
 * after an opening read one page of each segment from the oldest on, as far as
 * the answer needs it, and all frame headers of those that are finished and
 * not sealed (unless this handle wrote them). After that a call takes a number
 * of steps logarithmic in the segments, and walks frame headers of one of
 * them, each once as long as it stays open; where the found place is damaged,
 * of the next ones as well. Waits for reads from the disk.
 *
 * RESOURCES, IO: not found out; call again. FORKED, CLOSED. The position is
 * unchanged after each.
 */
DURALOG_API duralog_error duralog_seek_time(duralog_reader *reader,
                                            int64_t timestamp_ms);

/* The offset that duralog_read_next would give. ARGUMENT, FORKED, CLOSED. */
DURALOG_API duralog_error duralog_tell(const duralog_reader *reader,
                                       uint64_t *offset);

/*
 * Wait, without polling, until there is a record at the position. A reader of
 * durable records waits for someone's sync, it does not ask for one. Following,
 * it is woken by the writer's append or sync and otherwise looks ten times a
 * second whether there still is one; without write permission on the control
 * file it naps, up to 10 ms at a time.
 *   TIMEOUT    nothing came
 *   BUSY       nothing can come while this thread has a reservation
 *   READ_ONLY  nothing can come: this handle is a snapshot
 *   POISONED   a sync failed: no further record will come, of this writer where
 *              it is another process
 *   NO_WRITER  following: the writer has closed the log or died, and all it
 *              left has been read. Once for each reader and writer; then this
 *              waits for the next one. Reading needs no writer
 *   EPOCH      following: see duralog_read_next
 *   RESOURCES, IO: it was not found out where an epoch began. FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_reader_wait(duralog_reader *reader,
                                              int64_t timeout_ms);

/*
 * Where the last DURALOG_E_EPOCH on this reader says that the log diverges from
 * what the reader knew: records below *offset are what they were; from there on
 * they are of a newer epoch, or gone. *epoch (may be NULL) receives the newest
 * one. ARGUMENT for a NULL offset or where there was no such error; FORKED,
 * CLOSED.
 */
DURALOG_API duralog_error duralog_reader_divergence(duralog_reader *reader,
                                                    uint64_t *offset,
                                                    uint64_t *epoch);

/* What the last DURALOG_E_CORRUPT on this reader was about: the range of
 * offsets that cannot be read. diagnostic may be NULL. ARGUMENT if damage is
 * NULL or nothing was damaged; FORKED, CLOSED. */
DURALOG_API duralog_error
duralog_reader_diagnose(const duralog_reader *reader, duralog_damage *damage,
                        duralog_diagnostic *diagnostic);

/* A record kept beyond the next call on its reader. */
typedef struct duralog_held duralog_held;

/*
 * Keep the memory of `record`, the one most recently read by this reader (or
 * one of the last duralog_read_many), until duralog_release. Mapped reads pin
 * the segment's mapping; copying reads copy the record, and record->data and
 * record->key are redirected to the copy.
 *   ARGUMENT  the record is not of this reader's last call
 *   RESOURCES, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_hold(duralog_reader *reader,
                                       duralog_record *record,
                                       duralog_held **held);

/* Let go of a held record and set *held to NULL. Any thread. CLOSED if it is
 * NULL. */
DURALOG_API duralog_error duralog_release(duralog_held **held);

/* ---------------------------------------------------------- consumers -- */

/*
 * A consumer reads a log for a named group and commits how far the group has
 * come. Groups live in the log's directory, any number of them, each in a file
 * of its own; a group has one live member at a time, in the writer's process or
 * in another one (on a log opened read_only, which then writes nothing but the
 * group's file). When its process ends, however, the next one takes over at
 * once and goes on at the committed offset.
 *
 * DELIVERY
 *   A message counts as consumed when its group's offset is committed.
 *   Commit after processing: at least once. What was polled and not committed
 *     comes again after a crash.
 *   Commit before processing (poll, commit, then process): at most once. What
 *     was in work when the process died does not come again.
 *   Auto commit commits at a poll what earlier polls returned: at least once,
 *     if each batch is processed before the next poll.
 *
 * PROMISES, numbered as in the project's contract
 *   I24  A committed offset that survives a crash is one that was committed,
 *        and the last one if its commit returned OK at DURALOG_LEVEL_DURABLE.
 *   I25  No record is skipped in silence: where the committed offset and the
 *        epoch of the last consumed record do not fit the log that came back,
 *        the consumer is told (DURALOG_E_EPOCH, both offsets in its status), or
 *        goes back to the exact point and counts it, as chosen.
 *   I26  Every record from the committed offset on is delivered, in order.
 *   I27  Committed offsets only grow, except after a seek, by a reset, or by
 *        going back under I25.
 *
 * THREADS
 *   A consumer belongs to one thread at a time. duralog_wakeup may be called
 *   from any thread, until the consumer is closed. Closing the log while a
 *   consumer is open is BUSY. In a forked child every call but closing is
 *   FORKED; closing there frees memory and leaves the group to the parent.
 */

#define DURALOG_GROUP_NAME_MAX 200 /* bytes, each of A-Z a-z 0-9 . _ - */
#define DURALOG_METADATA_MAX 1024  /* bytes, without the 0 at its end */
#define DURALOG_POLLED UINT64_MAX  /* commit what was polled */
#define DURALOG_NO_OFFSET UINT64_MAX

typedef struct duralog_consumer duralog_consumer;

/* Where a group begins that has no valid offset: it never committed, or what it
 * committed is no longer kept. */
typedef enum duralog_begin {
  DURALOG_BEGIN_EARLIEST = 0, /* (Kafka's default is latest, which skips) */
  DURALOG_BEGIN_LATEST = 1,   /* at the end as of opening, which is committed at
                               * once, so that a restart skips nothing more */
  DURALOG_BEGIN_ERROR = 2     /* opening fails with RANGE */
} duralog_begin;

typedef struct duralog_consumer_options {
  size_t struct_size;
  duralog_level read_level;   /* DEFAULT: the log's */
  duralog_level commit_level; /* of auto commits and of DEFAULT; DEFAULT:
                               * durable where the mode is N = 1, otherwise
                               * written; beside a writer in another process
                               * it is the writer's mode that counts */
  duralog_begin begin;
  bool manual_commit;      /* no auto commit; it is on by default, as
                            * Kafka's enable.auto.commit */
  uint32_t auto_commit_ms; /* 0: 5000, Kafka's auto.commit.interval.ms */
  bool go_back;            /* I25: go back by itself instead of E_EPOCH */
  bool must_exist;         /* do not make the group: NOT_FOUND instead */
  bool protect;       /* have the group protected: see duralog_needed_from */
  int64_t timeout_ms; /* for the group's member to go; 0: do not wait */
} duralog_consumer_options;

/*
 * Become the member of a group, which is made if it is not there; making it
 * needs space and is durable on return. The position is the committed offset.
 *
 *   group     1 to DURALOG_GROUP_NAME_MAX bytes
 *   options   NULL for all defaults
 *   consumer  receives the handle; close it before the log
 *
 * Where the committed offset does not fit the log (I25) the result is OK all
 * the same, and the first poll says so. Reads the group's file; up to a segment
 * where it does not fit. With a timeout it looks every 10 ms whether the member
 * has gone.
 *   ARGUMENT    a bad name or option
 *   BUSY        the group has a live member (and had for all of the timeout)
 *   NOT_FOUND   no such group, and must_exist
 *   CORRUPT     the group's file is damaged: nothing is known of its offset.
 *               Other groups are not concerned. Delete or reset it
 *   NEWER       its file was written by a newer release
 *   RANGE       no valid offset, and begin says to fail
 *   PERMISSION, READ_ONLY, FULL, RESOURCES, IO, FORKED, CLOSED
 *   POISONED    a sync failed; the group may or may not have been made
 *   and with begin LATEST what duralog_commit gives. No handle exists then.
 */
DURALOG_API duralog_error duralog_consumer_open(
    duralog *log, const char *group, const duralog_consumer_options *options,
    duralog_consumer **consumer);

/*
 * Leave the group, free the consumer and set *consumer to NULL. What is pending
 * is finished first (duralog_commit_async), and with auto commit the position
 * is committed. Waits for the syncs of that. The result is that of the commit;
 * the consumer is closed all the same. CLOSED if *consumer is NULL.
 */
DURALOG_API duralog_error duralog_consumer_close(duralog_consumer **consumer);

/*
 * Get the next records, without copying them.
 *
 *   max_records  at most so many; 0: 500 (Kafka's max.poll.records); never more
 *                than 4096
 *   max_bytes    about so many bytes of data, 0: no limit; at least one record
 *   timeout_ms   how long to wait for the first one; below 0 no limit
 *   records      receives the array; it and what it points to are valid until
 *                the next poll, seek or close of this consumer
 *   count        receives their number, at least 1
 *
 * With auto commit, where the interval has passed since the last one (or since
 * opening), what earlier polls returned is committed first; not when the
 * interval ends. If that fails this call says why and gives nothing, the
 * position is unchanged, and it is tried again when the interval has passed
 * again. Then what duralog_commit_async began and can be finished is finished;
 * if there is no record, all of it.
 *
 * Each of these leaves the position as it was:
 *   TIMEOUT    no record came; or paused
 *   WOKEN      duralog_wakeup; once for any number of its calls
 *   EPOCH      the log diverges from what was consumed (I25): the status has
 *              both offsets. The same again until the consumer seeks to or
 *              below the point of divergence, or at once goes back where
 *              `go_back` says so, and this is not returned
 *   CORRUPT    the next record is damaged; seek past it (the range is in the
 *              status), or accept that nothing comes
 *   NO_WRITER  following: once for each writer that went; poll again to wait
 *   RANGE      the position is no longer kept
 *   READ_ONLY  nothing can come: a snapshot
 *   POISONED   a sync of the log failed, and all that was there has been read
 *   ARGUMENT, NEWER, BUSY (see duralog_reader_wait), RESOURCES, IO, FORKED,
 *   CLOSED
 */
DURALOG_API duralog_error duralog_poll(duralog_consumer *consumer,
                                       size_t max_records, size_t max_bytes,
                                       int64_t timeout_ms,
                                       const duralog_record **records,
                                       size_t *count);

/* Make a poll that waits, or else the next one, return WOKEN. Any thread.
 * FORKED, CLOSED. */
DURALOG_API duralog_error duralog_wakeup(duralog_consumer *consumer);

/*
 * Commit, and return when it is stored at the level. Only the committed offset
 * changes, not the position.
 *
 *   offset    the next record to be consumed, from the committed offset (or
 *             where a seek has gone below that) up to the position; or
 *             DURALOG_POLLED: the position
 *   level     DEFAULT: the consumer's commit_level. WRITTEN: survives this
 *             process. DURABLE: survives power loss, and so do all records
 *             before it, which are made durable first
 *   metadata  a string to be kept with it, up to DURALOG_METADATA_MAX bytes;
 *             NULL: none
 *
 * DURABLE waits for up to two syncs; in another process for the writer's. The
 * first commit of a consumer, unless it has made the group, writes and syncs
 * what the member before it left. Needs no free space. What was begun with
 * duralog_commit_async is finished before.
 *   RANGE      the offset is not allowed; nothing changed
 *   NO_WRITER  DURABLE, in a process that does not write: the records are not
 *              durable and no writer lives (or may not be asked). Nothing
 *              changed. It works where the offset is durable already
 *   EPOCH      diverged (see duralog_poll): nothing changed
 *   POISONED   a sync failed, of the log before or now, and then nothing
 *              changed; or of the group's file: what was committed is known
 *              after closing and opening the consumer again, and until then
 *              each commit fails
 *   IO         the file could not be written: the last durable commit stands,
 *              later ones may be lost with a crash; commit again
 *   ARGUMENT   a level or metadata that is not allowed
 *   RESOURCES, FORKED, CLOSED
 */
DURALOG_API duralog_error duralog_commit(duralog_consumer *consumer,
                                         uint64_t offset, duralog_level level,
                                         const char *metadata);

/* How a commit went; `offset` is what was committed. It may call nothing of the
 * consumer. */
typedef void duralog_committed(void *context, uint64_t offset,
                               duralog_error error);

/*
 * The same without waiting: asks for the log's sync, returns, and the commit is
 * made by a later duralog_poll, duralog_commit or duralog_consumer_close, which
 * calls `done` (NULL: nobody). Callbacks come in the order of the calls, each
 * once, on the thread that calls those. Up to 16 are pending; one more first
 * finishes the others, and waits for that. Offset, level and metadata are
 * checked now: ARGUMENT, RANGE, EPOCH, POISONED, FORKED, CLOSED; `done` is not
 * called then.
 */
DURALOG_API duralog_error duralog_commit_async(
    duralog_consumer *consumer, uint64_t offset, duralog_level level,
    const char *metadata, duralog_committed *done, void *context);

/*
 * Set the position, as duralog_seek does. Commits nothing; the next commit may
 * then be lower than the last. While the log diverges: EPOCH if that is above
 * the point of divergence; otherwise that is over.
 *   RANGE, ARGUMENT, EPOCH, FORKED, CLOSED: the position is unchanged
 */
DURALOG_API duralog_error duralog_consumer_seek(duralog_consumer *consumer,
                                                duralog_whence whence,
                                                uint64_t offset);

/* Paused: polls give no records but do everything else; false ends it.
 * FORKED, CLOSED. */
DURALOG_API duralog_error duralog_consumer_pause(duralog_consumer *consumer,
                                                 bool paused);

typedef struct duralog_consumer_status {
  size_t struct_size;
  uint64_t position;    /* of the next record to be polled */
  uint64_t committed;   /* or DURALOG_NO_OFFSET */
  uint64_t end;         /* that this consumer could read up to now */
  uint64_t lag_records; /* from the position to it */
  uint64_t pending;     /* commits that duralog_commit_async began */
  bool paused;
  bool diverged; /* polls say E_EPOCH */
  /* Of the last divergence, also where the consumer went back by itself: what
   * was consumed reached to `diverged_from`, and up to `divergence` the log
   * still is what it was. Both 0 if there was none. */
  uint64_t diverged_from, divergence;
  uint64_t divergences;  /* how many were met */
  duralog_damage damage; /* of the last E_CORRUPT; zeros if there was none */
} duralog_consumer_status;

/* What the consumer knows. ARGUMENT for NULL or an unknown struct_size; FORKED,
 * CLOSED. */
DURALOG_API duralog_error duralog_consumer_get(duralog_consumer *consumer,
                                               duralog_consumer_status *out);

/* ------------------------------------------------------------- groups -- */

typedef struct duralog_group {
  size_t struct_size;
  uint64_t committed;   /* offset of the next record, or DURALOG_NO_OFFSET */
  uint64_t epoch;       /* of the record before it; 0: none, or not known */
  int64_t time_ms;      /* when it was committed, or the group made */
  uint64_t end;         /* of the log: visible now */
  uint64_t lag_records; /* from the committed offset (or the start) to it; 0
                         * where the offset is beyond it */
  uint64_t lag_bytes;   /* the same in bytes of segment files, framing included;
                         * UINT64_MAX: not known, the log is damaged there */
  bool member_alive;
  bool is_protected;
  char metadata[DURALOG_METADATA_MAX + 1];
} duralog_group;

/* Call `each` for every group, damaged ones as well, in no order, until it
 * gives false. PERMISSION, RESOURCES, IO, ARGUMENT, FORKED, CLOSED. */
typedef bool duralog_each_group(void *context, const char *group);
DURALOG_API duralog_error duralog_list_groups(duralog *log,
                                              duralog_each_group *each,
                                              void *context);

/* Describe a group; works beside its member. NOT_FOUND; CORRUPT: its file is
 * damaged; NEWER, ARGUMENT, PERMISSION, RESOURCES, IO, FORKED, CLOSED. */
DURALOG_API duralog_error duralog_describe_group(duralog *log,
                                                 const char *group,
                                                 duralog_group *out);

/*
 * Delete a group, damaged or not, durably; make a copy of one that has no
 * member, under a name that no group has; set whether one without a member is
 * protected. All are durable on return.
 *   BUSY       it has a member
 *   NOT_FOUND  there is no such group
 *   ARGUMENT   a bad name; or there is a group `to`
 *   CORRUPT    (not deleting) its file is damaged
 *   FULL (cloning), PERMISSION, READ_ONLY, RESOURCES, IO, NEWER, FORKED, CLOSED
 *   POISONED   a sync failed: it may or may not have been done
 */
DURALOG_API duralog_error duralog_delete_group(duralog *log, const char *group);
DURALOG_API duralog_error duralog_clone_group(duralog *log, const char *from,
                                              const char *to);
DURALOG_API duralog_error duralog_protect_group(duralog *log, const char *group,
                                                bool protect);

typedef enum duralog_reset {
  DURALOG_RESET_OFFSET = 0,   /* to offset `value`: RANGE if outside the log */
  DURALOG_RESET_EARLIEST = 1, /* `value` is ignored */
  DURALOG_RESET_LATEST = 2,   /* to the visible end; the same */
  DURALOG_RESET_TIME = 3,     /* as duralog_seek_time to `value` */
  DURALOG_RESET_SHIFT = 4     /* by `value` records, within the log; from where
                               * the log starts if nothing was committed */
} duralog_reset;

/*
 * Set the committed offset of a group that has no member: a durable commit,
 * with its errors (on a handle that only reads: NO_WRITER). A damaged group is
 * made anew, and is protected then, since nobody knows whether it was; but for
 * SHIFT, which is CORRUPT. *offset (may be NULL) receives it. Otherwise as
 * duralog_delete_group.
 */
DURALOG_API duralog_error duralog_reset_group(duralog *log, const char *group,
                                              duralog_reset how, int64_t value,
                                              uint64_t *offset);

/*
 * The lowest offset that a protected group may still need: below it nothing is
 * needed by any. The end of the log where no group is protected. What a crash
 * could bring back counts, and so does a group whose file is damaged or of a
 * newer release, as one that needs everything. PERMISSION, RESOURCES, IO,
 * ARGUMENT for NULL, FORKED, CLOSED.
 */
DURALOG_API duralog_error duralog_needed_from(duralog *log, uint64_t *offset);

/* -------------------------------------------------- SIGBUS, the guard -- */

/*
 * A segment is a mapped file. Where one of its pages cannot be had, because
 * another program has cut the file short, the disk cannot read it, or a file
 * system breaks its word about space, touching it raises SIGBUS, and by default
 * that ends the process. Nothing the library does itself leads there, and few
 * hosts need more; for those who do there are two ways, which go together:
 *
 *   copying_reads (duralog_options)  readers use pread, and what they give out
 *     is a copy: neither their calls nor the host's use of a record meet a
 *     mapping. Opening, appending and syncing still do.
 *   the guard, below  what the library touches itself, in any call on any log
 *     of the process and in its own threads, comes back as an error.
 *
 * NOT guarded is what the host touches: a record that a mapped read gave out is
 * verified when it is given out, and may be gone when the host looks at it.
 * That SIGBUS is the host's. Use copying_reads as well, or copy what was read.
 *
 * With the guard:
 *   reading     what copying reads answer: CORRUPT where the file is shorter
 *               than it was (the range is told, seek past it), otherwise IO.
 *               Finding by time steps over it
 *   appending, syncing, ticks, closing
 *               POISONED, as after a failed sync: a store that did not arrive
 *               is lost, and so may be those before it. Nothing of that append
 *               is visible. duralog_diagnose names file and position
 *   opening     IO; the files are unchanged. Opening again finds out whether
 *               something is missing
 * No lock stays taken, and other logs and other segments are not concerned.
 * What nobody touches is not noticed: not that a file was cut behind what is
 * read, nor by a sync that its pages are gone.
 */

/*
 * Install the guard: a handler of SIGBUS for the whole process. Never done by
 * the library itself. Each install asks for one duralog_guard_remove; the first
 * installs the handler, the last removes it.
 *
 * A SIGBUS that is not about the library's own accesses goes to the handler
 * that was there before, with what came with it and the signal mask it asked
 * for, or has the effect it had: the default action, or for one that was sent
 * (kill) and was ignored none. Only it runs on the thread's alternate signal
 * stack where there is one. A handler that the host puts over it later must
 * pass on, with the same three arguments, what is not its own.
 *
 * Threads that call the library must not block SIGBUS, or the fault ends the
 * process whatever is installed. Child processes made by fork inherit the
 * guard, programs started by exec do not. While it is installed each record
 * that is read and each append costs some 10 ns more. Any thread, at any time,
 * but in a signal handler. Waits for nothing.
 *   RESOURCES  no memory, or four handlers of others were put over ours one
 *              after the other and never taken away; nothing was changed
 */
DURALOG_API duralog_error duralog_guard_install(void);

/*
 * Take back one install. With the last, the handler that was there before is
 * put back, exactly. Calls that are running are guarded no more.
 *   ARGUMENT  it is not installed
 *   BUSY      taken back, but somebody has put a handler over ours since and
 *             may pass on to it: so it stays in place, guards nothing and
 *             passes everything on. A later install works as the first
 */
DURALOG_API duralog_error duralog_guard_remove(void);

/* ----------------------------------------------------------- segments -- */

typedef struct duralog_segment {
  size_t struct_size;
  uint64_t number;    /* the file is <number, 20 digits>.seg */
  uint64_t first;     /* offset of its first record */
  uint64_t end;       /* offset after its last record */
  uint64_t bytes;     /* size of the file */
  uint64_t used;      /* bytes in use, header included; 0 if unknown */
  uint64_t epoch;     /* at its beginning */
  int64_t created_ms; /* time of its first append */
  bool sealed;        /* synced as a whole, and says so */
  bool damaged;   /* its header cannot be read; the fields after number are 0 */
  bool has_times; /* the next two are known: there are records, which can be
                   * read; otherwise they are 0 */
  int64_t time_first_ms; /* timestamp of its first record */
  int64_t time_max_ms;   /* the largest: the last record's, unless a host gave
                          * its own out of order */
} duralog_segment;

/*
 * Describe segment `index` (0 is the oldest). Reads the file's header page and
 * first record; all frame headers of a segment that is not sealed, unless this
 * handle wrote it. Timestamps that cannot be proven do not count.
 * E_RANGE: there are not that many. ARGUMENT for NULL or an unknown
 * struct_size; RESOURCES, IO, FORKED, CLOSED.
 */
DURALOG_API duralog_error duralog_get_segment(duralog *log, size_t index,
                                              duralog_segment *out);

/* ------------------------------------------------------------ salvage -- */

typedef enum duralog_salvage_kind {
  DURALOG_SALVAGE_RUN = 0,   /* records that were copied */
  DURALOG_SALVAGE_GAP = 1,   /* records that were not */
  DURALOG_SALVAGE_DAMAGE = 2 /* something damaged that no record was lost to */
} duralog_salvage_kind;

typedef struct duralog_salvage_item {
  size_t struct_size; /* set by the library */
  duralog_salvage_kind kind;
  bool partial_batch;  /* RUN: begins or ends amid a batch, or may. GAP: of a
                        * batch there more may be left: see the options */
  bool times_unproven; /* RUN: its timestamps are guessed; see the options */
  uint64_t from, to;   /* offsets [from, to); to = UINT64_MAX: how far it goes
                        * nobody knows. DAMAGE: the place, from = to */
  uint64_t segment;    /* number in the file's name; 0 = the meta file */
  uint64_t position, position_end; /* bytes of that file; equal: no file */
  uint64_t evidence;  /* GAP, DAMAGE: where these bytes lie in the copy's file
                       * "salvage.evidence"; UINT64_MAX: there are none */
  const char *reason; /* GAP, DAMAGE: a static string; RUN: NULL */
} duralog_salvage_item;

/* Told of each item, in the order of offsets. May not call into the library
 * for one of the two directories. */
typedef void duralog_salvage_found(void *context,
                                   const duralog_salvage_item *item);

typedef struct duralog_salvage_options {
  size_t struct_size;
  duralog_salvage_found *found; /* NULL: nobody is told */
  void *found_context;          /* handed to it */
  uint32_t file_mode;           /* of the copy, as in duralog_options */
  bool has_uuid;        /* the log is this one, whatever the files say: */
  uint8_t uuid[16];     /* its uuid */
  bool partial_batches; /* copy what is left of a batch of which a part is lost,
                         * as a batch; otherwise such a one is left out */
  bool unproven_times;  /* where only the time of records cannot be proven (the
                         * start block of their segment is lost), copy them
                         * nevertheless, with the latest time before them that
                         * is known as a base */

  /* For tests: as in duralog_options. */
  const duralog_environment *environment;
} duralog_salvage_options;

/* What salvage did. */
typedef struct duralog_salvage_report {
  size_t struct_size;
  uint64_t start, end;          /* offsets of the copy: [start, end) */
  uint64_t records;             /* copied */
  uint64_t bytes;               /* of their data and keys */
  uint64_t runs, gaps, damages; /* items of each kind */
  uint64_t records_lost;        /* in gaps whose end is known */
  uint64_t evidence_bytes;
  uint64_t unreadable_bytes; /* that the disk did not give: read as zeros */
  uint64_t open_failures; /* times that a file of the log could not be opened,
                           * and counted as missing */
  uint64_t segments_read, segments_written;
  uint8_t uuid_from[16], uuid[16]; /* of the log; of the copy */
} duralog_salvage_report;

/*
 * Copy what is provable of the log in directory `from` into a new log in
 * directory `to`, which must not exist (its parent must) or be empty, and lie
 * outside of `from`.
 *
 *   options, report, diagnostic   may be NULL
 *
 * `from` may be damaged in any way: files missing, cut, exchanged, of another
 * log, the meta file lost. Nothing in it is changed, and nothing is mapped:
 * what the disk cannot read counts as damaged.
 *
 * The copy is a log like any other, with a uuid of its own. Its records have
 * the offsets, epochs, timestamps, keys and batches that they had. What could
 * not be proven is a gap: a reader gets DURALOG_E_CORRUPT there with exactly
 * that range, until it seeks past it; appends go on behind everything that the
 * log is known to have held. The directory also holds "salvage.json", all items
 * and this report, and "salvage.evidence", the bytes of what is damaged one
 * behind the other. Both may be removed. Consumer groups are not taken over;
 * since the offsets are the same, duralog_reset_group puts them where they
 * were.
 *
 * A record is copied where checksums prove its data, offset, epoch and time,
 * and that no recovery has cut it away; a batch whole or not at all. What an
 * unclean stop left unfinished at the end is cut, as opening would, and is no
 * gap. lib/salvage.h says by which rules.
 *
 * Takes time linear in the size of the log, and memory for one segment file
 * (1 GiB at most), 10 MiB, and 256 bytes a file.
 * All of the copy is durable on return. Belongs to no handle; different calls
 * may run at once.
 *
 * OK also where much is lost: see the report. Otherwise there is no copy: what
 * was written is removed again (after a crash it stays, without a meta file, so
 * that it cannot be opened for writing), and `from` is as it was:
 *   ARGUMENT     NULL path, unknown struct_size, the paths are equal
 *   BUSY         a writer lives in `from` when salvage begins or ends (what one
 *                does that comes and goes in between is not noticed); or `to`
 *                is in use
 *   NOT_FOUND    nothing of a log in `from`; the parent of `to` is missing
 *   FOREIGN      `to` is not empty, or one of the two is no directory
 *   CORRUPT      nothing says which log this is: state its uuid
 *   NEWER        the log holds something of a newer release
 *   FULL         no space for the copy
 *   POISONED     a sync of the copy failed
 *   PERMISSION, READ_ONLY, RESOURCES, IO
 */
DURALOG_API duralog_error duralog_salvage(
    const char *from, const char *to, const duralog_salvage_options *options,
    duralog_salvage_report *report, duralog_diagnostic *diagnostic);

#ifdef __cplusplus
}
#endif

#endif
