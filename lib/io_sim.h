/* SPDX-License-Identifier: MIT
 *
 * A simulated world: another implementation of the I/O interface, for tests. A
 * disk that forgets (sim_disk.h), a clock that only tests move, memory that can
 * run out. One thread, host-driven logs; io_threads.h puts simulated threads
 * around it.
 *
 * The world owns all memory and handles, so that a log whose power was cut in
 * the middle of a call can simply be forgotten.
 *
 * Nothing here is random but what a seed says: the same calls give the same
 * bytes (I33).
 */
#ifndef DURALOG_IO_SIM_H
#define DURALOG_IO_SIM_H

#include <setjmp.h>

#include "io.h"
#include "sim_disk.h"

struct sim;

struct sim *sim_new(void);
void sim_free(struct sim *);
io_env *sim_environment(struct sim *);

/* ---- the course of events ---- */

/*
 * Events are I/O calls that change something, before they do, and steps between
 * stores (STEP). `what` is the call's or the step's name. At each the disk has
 * just been looked at: all that may be lost or left is known.
 */
typedef void sim_hook(void *context, struct sim *, const char *what);
void sim_on_event(struct sim *, sim_hook *, void *context);
uint64_t sim_events(const struct sim *); /* so far */

/*
 * Cut the power when the k-th event from now on begins (1 = the next; 0 =
 * never). The cut leaves the call by longjmp to *sim_cut_point, to be set
 * first: if (setjmp(*sim_cut_point(sim)) == 0) { run } else { it was cut }
 */
void sim_cut_at(struct sim *, uint64_t event);
jmp_buf *sim_cut_point(struct sim *);

/* After a cut: choose what survived by a seed, and drop memory, handles, locks.
 * Seed 0: what was synced and no more. */
void sim_restart(struct sim *, uint64_t seed);
/* The process dies, the machine does not: caches survive. */
void sim_kill(struct sim *);

/* The same by choice and into another world, which becomes one in which
 * nothing runs; this one goes on as if nothing had been. */
size_t sim_units(struct sim *, struct sim_unit units[SIM_UNITS_MAX]);
void sim_survivor(const struct sim *, const struct sim_unit *,
                  const uint32_t *options, size_t count, struct sim *into);
void sim_killed(const struct sim *, struct sim *into);

/* ---- the rules ---- */

/* Let an assumption of the README not hold. */
void sim_break(struct sim *, enum sim_assumption);
/* What failed syncs leave behind; SIM_EXT4 at first. */
void sim_set_fs(struct sim *, enum sim_fs);
/* Reads, writes and allocations are interrupted, and transfer a part. */
void sim_set_interrupts(struct sim *, bool);
/* Look at the disk only at syncs and cuts: faster, and what was stored and
 * stored over between two of them is not among what may survive. */
void sim_set_blind(struct sim *, bool);

/* The clock moves only by this, by waits with a deadline, and by syncs, of
 * which each takes SIM_SYNC_NS. */
enum { SIM_SYNC_NS = 200 * 1000 };
void sim_advance(struct sim *, uint64_t ns);
void sim_set_wall(struct sim *, int64_t ms);
uint64_t sim_now(const struct sim *);

/* The k-th sync from now fails with EIO (0: none; `ever`: and all after it). */
void sim_fail_sync(struct sim *, uint64_t k, bool ever);
/* Room on the disk in bytes, 0: no limit; beyond it ENOSPC, or EDQUOT. */
void sim_set_room(struct sim *, uint64_t bytes);
void sim_set_quota(struct sim *, uint64_t bytes);
uint64_t sim_room_used(const struct sim *);
/* The k-th allocation of memory from now fails. */
void sim_fail_alloc(struct sim *, uint64_t k);
/* Syncs for this reason succeed and do nothing. */
void sim_skip_sync(struct sim *, enum io_sync_reason);

/* ---- looking at it ---- */

/* An XFS that gave up: only a restart brings it back. */
bool sim_is_shut_down(const struct sim *);
uint64_t sim_sync_count(const struct sim *, enum io_sync_reason);
/* Handles open and pieces of memory allocated, for leak checks. */
size_t sim_open_handles(const struct sim *);
size_t sim_allocations(const struct sim *);
/* When a descriptor that is polled is readable (0: now, NONE: never); whether
 * it is. */
uint64_t sim_event_at(const struct sim *, int event);
bool sim_event_readable(const struct sim *, int event);
/* Checksums over all that is durable; over all that the program sees. */
uint64_t sim_disk_checksum(const struct sim *);
uint64_t sim_seen_checksum(const struct sim *);
struct sim_disk *sim_disk_of(struct sim *);
/* The bytes of a file, to damage them: for a world in which nothing runs.
 * NULL if there is none. */
uint8_t *sim_file_bytes(struct sim *, const char *directory, const char *name,
                        uint64_t *size);

#endif
