/* SPDX-License-Identifier: MIT
 *
 * A simulated disk, clock and memory: another implementation of the I/O
 * interface, for tests. One thread, host-driven logs.
 *
 * Each file has what the program sees (its cache, which is what mappings show)
 * and what the disk holds. A sync moves the dirty sectors from one to the
 * other. When the power is cut:
 *   - an unsynced sector of 512 bytes is old or new, by the seed
 *     (seed 0: only what was synced survives)
 *   - a name that was made, moved or removed since its directory was synced is
 *     kept or lost by itself; so is a file's size
 * After a failed sync the kernel calls its pages clean though the disk has not
 * got them (ext4): a later sync writes only what was dirtied again.
 *
 * The world owns all memory and handles, so that a log whose power was cut in
 * the middle of a call can simply be forgotten.
 */
#ifndef DURALOG_IO_SIM_H
#define DURALOG_IO_SIM_H

#include <setjmp.h>

#include "io.h"

struct sim;

struct sim *sim_new(void);
void sim_free(struct sim *);
io_env *sim_environment(struct sim *);

/*
 * Cut the power now, or when the k-th event from now on begins (1 = the next).
 * Events are I/O calls that change something, and steps between stores. The
 * cut leaves the call by longjmp to *sim_cut_point, which must be set:
 *     if (setjmp(*sim_cut_point(sim)) == 0) { ... run ... } else { ... cut ...
 * }
 */
void sim_cut_at(struct sim *, uint64_t event);
jmp_buf *sim_cut_point(struct sim *);
uint64_t sim_events(const struct sim *); /* so far */

/* After a cut: choose what survived, drop memory, handles and locks. */
void sim_restart(struct sim *, uint64_t seed);
/* The process dies, the machine does not: caches survive. */
void sim_kill(struct sim *);

/* The clock moves only by this, by waits with a deadline, and by syncs. */
void sim_advance(struct sim *, uint64_t ns);
void sim_set_wall(struct sim *, int64_t ms);

/* Faults: the k-th sync from now fails with EIO (0: none, `ever`: and all
 * after it); room on the disk in bytes; the k-th allocation from now fails. */
void sim_fail_sync(struct sim *, uint64_t k, bool ever);
void sim_set_room(struct sim *, uint64_t bytes);
void sim_fail_alloc(struct sim *, uint64_t k);
/* Syncs for this reason succeed and do nothing. */
void sim_skip_sync(struct sim *, enum io_sync_reason);

/* Syncs done for a reason. */
uint64_t sim_sync_count(const struct sim *, enum io_sync_reason);
/* Handles open and bytes allocated, for leak checks. */
size_t sim_open_handles(const struct sim *);
size_t sim_allocations(const struct sim *);
/* A checksum over all that the disk holds. */
uint64_t sim_disk_checksum(const struct sim *);
/* The cached bytes of a file, to damage them (disk and cache alike after
 * sim_restart); NULL if there is none. */
uint8_t *sim_file_bytes(struct sim *, const char *directory, const char *name,
                        uint64_t *size);

#endif
