/* SPDX-License-Identifier: MIT
 *
 * Groups as an open log and its consumers use them: becoming a member, what it
 * takes for a commit to be durable, and whether what was committed still fits
 * the log.
 */
#ifndef DURALOG_GROUP_H
#define DURALOG_GROUP_H

#include "group_file.h"
#include "log.h"

/* What a result of group_file.h is to the host; noted on the log. */
duralog_error group_fail(struct duralog *, const char *group, int result,
                         bool sync_failed, const char *text);

/* A state that says that nothing was committed. */
void group_state_new(struct duralog *, struct group_state *);

/* Become the member, by the deadline. `make`: and make the group if it is not
 * there. */
duralog_error group_join(struct duralog *, const char *name, bool make,
                         uint64_t deadline, struct group_file *);

/* The epoch of the record before the offset; 0: there is none, or it cannot be
 * read. */
duralog_error group_epoch_before(struct duralog *, uint64_t offset,
                                 uint64_t *epoch);

/* Make all records below the offset durable, or have the writer do it. */
duralog_error group_records_durable(struct duralog *, uint64_t offset);

/* Store a commit of this offset; the rest of the state is what it was. */
duralog_error group_commit(struct duralog *, struct group_file *,
                           uint64_t offset, uint64_t epoch, duralog_level,
                           const char *metadata);

/* I25: whether a commit fits the log, and if not, where they part. */
duralog_error group_fits(struct duralog *, uint64_t offset, uint64_t epoch,
                         bool *fits, uint64_t *divergence);

#endif
