/* SPDX-License-Identifier: MIT
 *
 * A disk that forgets: what a program sees of its files, and everything that
 * may be left of them when the power is cut.
 *
 * Each file has a cache, which is what reads and mappings show, and what is
 * surely on the disk. Between the two lie, for each sector of 512 bytes that
 * was changed since the last sync, all the contents that were seen in it: the
 * kernel may write a page at any time, in any order, in any state. The same
 * goes for sizes and names: a name has the files that it stood for (or none)
 * since its directory was synced, each name by itself, so that what was
 * unlinked may return and what was renamed may be under both names or none.
 *
 * What can be chosen at a cut is a list of units, each with a number of
 * options; option 0 is what was synced. A survivor is one choice for each.
 * Whoever enumerates the options enumerates the states that the disk may be in.
 * Besides the contents seen, a sector may be torn: words of 8 bytes up to some
 * place from one content, the rest from another.
 *
 * A sync that fails does what one of four file systems does; see sim_fs.
 *
 * Blocks that were allocated and never written read as zeros; that is what
 * option 0 of a sector is before its first sync.
 */
#ifndef DURALOG_SIM_DISK_H
#define DURALOG_SIM_DISK_H

#include "base.h"

enum {
  SIM_SECTOR = 512,
  SIM_WORD = 8,
  SIM_BLOCK = 4096,
  SIM_FILES_MAX = 256,
  SIM_NAMES_MAX = 160,
  SIM_DIRECTORIES_MAX = 4,
  SIM_UNITS_MAX = 4096
};

/* The assumptions of README.md, by number and name. */
#define SIM_ASSUMPTIONS(X)                           \
  X(1, SYNC_IS_DURABLE, "sync is durable")           \
  X(2, POWERSAFE_OVERWRITE, "powersafe overwrite")   \
  X(3, TORN_AT_8_BYTES, "old, new or torn at 8")     \
  X(4, RENAME_IS_ATOMIC, "rename is atomic")         \
  X(5, STORES_OUTLIVE, "stores outlive the process") \
  X(6, BLOCKS_STAY, "allocated blocks stay")         \
  X(7, LOCK_ENDS, "locks end with the process")      \
  X(8, CHECKSUMS_HOLD, "checksums hold")

enum sim_assumption {
#define SIM_ASSUMPTION_ENUM(number, name, text) SIM_##name = (number),
  SIM_ASSUMPTIONS(SIM_ASSUMPTION_ENUM)
#undef SIM_ASSUMPTION_ENUM
      SIM_ASSUMPTION_END
};

/*
 * What a failed sync leaves behind (Rebello et al., "Can applications recover
 * from fsync failures?", 2020):
 *   EXT4     the pages are called clean and keep the new bytes in the cache;
 *            a later sync writes only what was dirtied again
 *   JOURNAL  ext4 with data=journal: the sync that failed to write succeeds,
 *            since the journal has the bytes; the next one of the file fails
 *   XFS      as EXT4; a failed sync of a directory shuts the file system down
 *   BTRFS    the cache goes back to what is on the disk
 */
enum sim_fs { SIM_EXT4, SIM_JOURNAL, SIM_XFS, SIM_BTRFS, SIM_FS_COUNT };

struct sim_version {
  uint32_t sector;
  uint8_t bytes[SIM_SECTOR];
};

struct sim_file {
  bool used;
  bool scratch;    /* stored at once; what it holds counts for nothing */
  int maps;        /* that show the cache */
  bool late_error; /* JOURNAL: the next sync reports what this one did not */
  int locked_by;   /* handle + 1, or SIM_LOCKED_BY_DEAD where that lasts */
  uint8_t *cache;  /* what the program sees */
  uint8_t *disk;  /* what is surely there; `cache` itself until it is changed */
  uint8_t *seen;  /* the cache when last looked at; NULL: not mapped to write */
  uint8_t *state; /* of each sector: SECTOR_ bits (sim_disk.c) */
  uint64_t size, capacity;
  uint64_t sizes[4]; /* [0] is durable, the last one is `size` */
  size_t size_count;
  struct sim_version *versions; /* in the order in which they were seen */
  size_t version_count, version_capacity;
};

enum { SIM_NO_FILE = -1, SIM_LOCKED_BY_DEAD = -1 };

struct sim_name {
  char text[48];
  int16_t files[6]; /* [0] is durable, the last one is what the program sees */
  int count;
};

struct sim_directory {
  bool used, durable; /* its own name is durable in its parent */
  char path[256];
  struct sim_name names[SIM_NAMES_MAX];
  size_t name_count;
};

struct sim_disk {
  struct sim_file files[SIM_FILES_MAX];
  int file_count; /* all used ones are below */
  struct sim_directory directories[SIM_DIRECTORIES_MAX];
  enum sim_fs fs;
  bool broken[SIM_ASSUMPTION_END]; /* assumptions that do not hold */
  int harm_from_block; /* without assumption 2: earlier blocks are spared */
  uint64_t room;       /* 0: no limit */
  int room_error;      /* ENOSPC or EDQUOT */
};

void sim_disk_free(struct sim_disk *);

/* ---- directories and names ---- */

int sim_directory_find(const struct sim_disk *, const char *path);
int sim_directory_make(struct sim_disk *, const char *path);
/* Those in this one are there for good. */
void sim_directories_sync(struct sim_disk *, const char *parent);
/* The file that the name stands for now, or -ENOENT. */
int sim_name_find(const struct sim_directory *, const char *text);
int sim_name_set(struct sim_directory *, const char *text, int file);
/* The name of a scratch file: as it is, for good. */
void sim_name_settle(struct sim_directory *, const char *text);
void sim_names_sync(struct sim_directory *);
static inline int sim_name_live(const struct sim_name *n) {
  return n->files[n->count - 1];
}

/* ---- files ---- */

int sim_file_new(struct sim_disk *, const bool *held, size_t held_count);
int sim_file_resize(struct sim_disk *, struct sim_file *, uint64_t size);
void sim_file_write(struct sim_file *, const void *, size_t, uint64_t at);
/* Its cache may be stored into from now on. */
void sim_file_map_writable(struct sim_file *);
void sim_file_unmap_writable(struct sim_file *);
/* Take notice of what was stored into mappings since the last look. */
void sim_disk_look(struct sim_disk *);

void sim_file_sync(struct sim_disk *, struct sim_file *);
/* Of the blocks that bytes [from, to) lie in. */
void sim_file_sync_part(struct sim_file *, uint64_t from, uint64_t to);
/* What a failed one does; 0 if it is not to be reported yet. */
int sim_file_sync_fails(struct sim_disk *, struct sim_file *);
/* Sectors that a sync would write: what a copy-on-write disk needs room for. */
uint64_t sim_file_unsynced(const struct sim_file *);
uint64_t sim_disk_room_used(const struct sim_disk *);

/* ---- what may survive ---- */

enum sim_unit_kind {
  SIM_UNIT_DIRECTORY, /* its own name: kept or lost */
  SIM_UNIT_NAME,
  SIM_UNIT_SIZE,
  SIM_UNIT_SECTOR,
  SIM_UNIT_HARM /* assumption 2 off: a block that is being written */
};

struct sim_unit {
  enum sim_unit_kind kind;
  int place; /* directory, or file */
  int index; /* name, sector or block */
  uint32_t options;
  uint32_t versions; /* of a sector: contents seen since the sync */
};

/* An option beyond those listed: torn anywhere between any two contents. */
enum { SIM_TORN = 1 << 24 };

/* Look first. Gives how many; at most SIM_UNITS_MAX, which is never reached by
 * worlds of a few segments. */
size_t sim_disk_units(const struct sim_disk *, struct sim_unit *units);
/* An option of the unit by a random number. */
uint32_t sim_unit_random(const struct sim_unit *, uint64_t random);
/* The disk with these options, made in `to`, which was zeroed or used so. */
void sim_disk_survivor(const struct sim_disk *, const struct sim_unit *,
                       const uint32_t *options, size_t count,
                       struct sim_disk *to);
/* The disk as the program sees it: only the process died. */
void sim_disk_copy(const struct sim_disk *, struct sim_disk *to);
/* Whoever held the file's lock is dead. */
void sim_lock_end(const struct sim_disk *, struct sim_file *);

/* Over all names and contents, as the program sees them. */
uint64_t sim_disk_checksum_seen(const struct sim_disk *);
/* As they are durable. */
uint64_t sim_disk_checksum_durable(const struct sim_disk *);

#endif
