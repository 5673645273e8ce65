/* SPDX-License-Identifier: MIT
 *
 * The file of one consumer group: what was committed, and who is its member.
 * FORMAT.md has it byte by byte.
 *
 * The log's subdirectory `groups` has one file NAME.group for each group, made
 * in full and synced before it gets its name. It has three slots in blocks of
 * their own, each with a checksum seeded with log, group and slot: the valid
 * one with the higher sequence counts. What is stored goes into a slot that
 * holds neither the newest state nor the one known to be durable, so whatever a
 * crash does to it, these are there. Until a slot is known to be durable the
 * newest is written again and synced first (`review`). The file's kernel lock
 * is the membership.
 */
#ifndef DURALOG_GROUP_FILE_H
#define DURALOG_GROUP_FILE_H

#include "segment.h"

#define GROUPS_NAME "groups"
#define GROUPS_LOCK_NAME "lock" /* held by who makes or removes a group */
#define GROUP_TEMPORARY_NAME "new.tmp"
#define GROUP_SUFFIX ".group"

enum {
  GROUP_SLOT_BYTES = 4096,
  GROUP_SLOTS = 3,
  GROUP_BYTES = GROUP_SLOTS * GROUP_SLOT_BYTES,
  GROUP_VERSION = 1,
  GROUP_METADATA_AT = 72,
  GROUP_PROTECTED = 1, /* the flags */
  GROUP_FILE_NAME_BYTES = DURALOG_GROUP_NAME_MAX + sizeof GROUP_SUFFIX
};

_Static_assert(GROUP_METADATA_AT + DURALOG_METADATA_MAX <= GROUP_SLOT_BYTES,
               "a slot holds all metadata");

struct group_state {
  uint64_t sequence; /* the higher one is newer; 0 = no such slot */
  uint64_t offset;   /* of the next record; NONE: nothing was committed */
  uint64_t epoch;    /* of the last consumed record; 0: not known, or none */
  int64_t time_ms;
  uint32_t flags;
  uint32_t metadata_bytes;
  char metadata[DURALOG_METADATA_MAX + 1];
};

/* ---- the codec ---- */

bool group_name_valid(const char *name);
/* The name of a group by that of its file; NULL: it is none. */
const char *group_name_of(const char *file_name,
                          char name[DURALOG_GROUP_NAME_MAX + 1]);

/* Gives how many bytes of the slot are in use. */
size_t group_slot_encode(uint8_t slot[GROUP_SLOT_BYTES],
                         const struct group_state *, const uint8_t uuid[16],
                         const char *name, int index);
enum block_state group_slot_decode(struct group_state *, const uint8_t *slot,
                                   const uint8_t uuid[16], const char *name,
                                   int index);
/* All slots: the newest valid one into `state`, which slot it is into `*index`;
 * the lowest offset that may come back after a crash into `*lowest`. NEWER if
 * a newer release wrote the file, DAMAGED if no slot is valid. */
enum block_state group_file_decode(struct group_state *, int *index,
                                   uint64_t *lowest, const uint8_t *file,
                                   const uint8_t uuid[16], const char *name);

/* ---- the file ---- */

/* One group, held by its member. */
struct group_file {
  const struct log_directory *log;
  int directory; /* `groups` */
  int file;      /* the lock */
  char name[DURALOG_GROUP_NAME_MAX + 1];
  struct group_state state;
  int index;         /* the slot it is in */
  int durable_index; /* the one that is on the disk for sure; -1: not known */
  bool sync_failed;
};

/* All give 0 or a negative errno: ENOENT, there is no such group; EAGAIN, it
 * has a member, or somebody makes or removes one now; EBADMSG, damaged; EPROTO,
 * of a newer release; EEXIST. A failed sync or store sets `sync_failed`. */

/* Become the member; group_file_leave ends it. */
int group_file_join(struct group_file *, const struct log_directory *,
                    const char *name);
/* The same also where the file is damaged: the state's sequence is 0 then. */
int group_file_join_damaged(struct group_file *, const struct log_directory *,
                            const char *name);
/* A damaged one begins anew: nothing was committed. Whether it was protected
 * nobody knows any more, so it is. What is left of the slots is erased: it
 * could read well another time, and be the newer one. */
int group_file_renew(struct group_file *);
void group_file_leave(struct group_file *);

/* What this one found is on the disk, and so are the names. */
int group_file_review(struct group_file *);
/* Store this state; its sequence is set. `durable`: and sync it. After a failed
 * sync this fails for ever. */
int group_file_store(struct group_file *, struct group_state *, bool durable);

/* Make a group with this state, durably. */
int group_file_create(const struct log_directory *, const char *name,
                      struct group_state *, bool *sync_failed);
/* Remove it, durably: its member does so, and leaves. */
int group_file_remove(struct group_file *);
/* Read it without being its member, and whether there is one (or NULL). */
int group_file_read(const struct log_directory *, const char *name,
                    struct group_state *, uint64_t *lowest, bool *member);
/* Each group's name, in no order, until `each` gives other than 0. */
int group_file_list(const struct log_directory *,
                    int (*each)(void *context, const char *name),
                    void *context);

#endif
