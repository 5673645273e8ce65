/* SPDX-License-Identifier: MIT */
#include "group_file.h"

#include <errno.h>

#include "checksum.h"

enum { FIELDS_AT = 16 };

static const uint8_t magic[8] = {'d', 'l', 'o', 'g', 'G', 'R', 'P', '\n'};

/* ---- names ---- */

static bool name_byte_valid(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool group_name_valid(const char *name) {
  size_t length = 0;
  if (!name) return false;
  for (; name[length]; length++)
    if (length == DURALOG_GROUP_NAME_MAX || !name_byte_valid(name[length]))
      return false;
  return length > 0;
}

static void file_name_of(char to[GROUP_FILE_NAME_BYTES], const char *name) {
  size_t length = strlen(name);
  memcpy(to, name, length);
  memcpy(to + length, GROUP_SUFFIX, sizeof GROUP_SUFFIX);
}

const char *group_name_of(const char *file_name,
                          char name[DURALOG_GROUP_NAME_MAX + 1]) {
  const size_t suffix = sizeof GROUP_SUFFIX - 1;
  size_t length = strlen(file_name);
  if (length <= suffix || length - suffix > DURALOG_GROUP_NAME_MAX ||
      strcmp(file_name + length - suffix, GROUP_SUFFIX) != 0)
    return NULL;
  memcpy(name, file_name, length - suffix);
  name[length - suffix] = 0;
  return group_name_valid(name) ? name : NULL;
}

/* ---- slots ---- */

static uint64_t slot_seed(const uint8_t uuid[16], const char *name, int index) {
  uint8_t bytes[16 + DURALOG_GROUP_NAME_MAX + 1];
  size_t length = strlen(name);
  memcpy(bytes, uuid, 16);
  memcpy(bytes + 16, name, length);
  bytes[16 + length] = (uint8_t)index;
  return checksum64(bytes, 16 + length + 1, load64(magic));
}

size_t group_slot_encode(uint8_t slot[GROUP_SLOT_BYTES],
                         const struct group_state *s, const uint8_t uuid[16],
                         const char *name, int index) {
  size_t bytes = GROUP_METADATA_AT + s->metadata_bytes;
  memset(slot, 0, GROUP_SLOT_BYTES);
  memcpy(slot, magic, sizeof magic);
  store32(slot + 16, GROUP_VERSION);
  store32(slot + 24, s->flags);
  store32(slot + 28, s->metadata_bytes);
  store64(slot + 32, s->sequence);
  store64(slot + 40, s->offset);
  store64(slot + 48, s->epoch);
  store64(slot + 56, (uint64_t)s->time_ms);
  memcpy(slot + GROUP_METADATA_AT, s->metadata, s->metadata_bytes);
  store64(slot + 8, checksum64(slot + FIELDS_AT, bytes - FIELDS_AT,
                               slot_seed(uuid, name, index)));
  return bytes;
}

enum block_state group_slot_decode(struct group_state *s, const uint8_t *slot,
                                   const uint8_t uuid[16], const char *name,
                                   int index) {
  if (all_zero(slot, GROUP_SLOT_BYTES)) return BLOCK_EMPTY;
  uint32_t metadata = load32(slot + 28);
  if (memcmp(slot, magic, sizeof magic) != 0 ||
      metadata > GROUP_SLOT_BYTES - GROUP_METADATA_AT)
    return BLOCK_DAMAGED;
  size_t bytes = GROUP_METADATA_AT + metadata;
  if (load64(slot + 8) != checksum64(slot + FIELDS_AT, bytes - FIELDS_AT,
                                     slot_seed(uuid, name, index)))
    return BLOCK_DAMAGED;
  if (load32(slot + 16) != GROUP_VERSION || load32(slot + 20) != 0)
    return BLOCK_NEWER;
  if (metadata > DURALOG_METADATA_MAX || load64(slot + 32) == 0)
    return BLOCK_DAMAGED;
  *s = (struct group_state){.sequence = load64(slot + 32),
                            .offset = load64(slot + 40),
                            .epoch = load64(slot + 48),
                            .time_ms = (int64_t)load64(slot + 56),
                            .flags = load32(slot + 24),
                            .metadata_bytes = metadata};
  memcpy(s->metadata, slot + GROUP_METADATA_AT, metadata);
  return BLOCK_VALID;
}

enum block_state group_file_decode(struct group_state *newest, int *index,
                                   uint64_t *lowest, const uint8_t *file,
                                   const uint8_t uuid[16], const char *name) {
  struct group_state s;
  newest->sequence = 0;
  *lowest = NONE;
  for (int i = 0; i < GROUP_SLOTS; i++) {
    enum block_state state =
        group_slot_decode(&s, file + i * GROUP_SLOT_BYTES, uuid, name, i);
    if (state == BLOCK_NEWER) return BLOCK_NEWER;
    if (state != BLOCK_VALID) continue;
    /* Without a commit all is needed. */
    *lowest = min_u64(*lowest, s.offset == NONE ? 0 : s.offset);
    if (s.sequence <= newest->sequence) continue;
    *newest = s;
    *index = i;
  }
  return newest->sequence ? BLOCK_VALID : BLOCK_DAMAGED;
}

/* ---- reading ---- */

static int file_load(const struct log_directory *d, int file, const char *name,
                     struct group_state *s, int *index, uint64_t *lowest) {
  uint8_t bytes[GROUP_BYTES] = {0};
  int64_t n = io_read(d->io, file, bytes, sizeof bytes, 0);
  if (n < 0) return (int)n;
  switch (group_file_decode(s, index, lowest, bytes, d->uuid, name)) {
    case BLOCK_VALID: return 0;
    case BLOCK_NEWER: return -EPROTO;
    default: return -EBADMSG;
  }
}

int group_file_read(const struct log_directory *d, const char *name,
                    struct group_state *s, uint64_t *lowest, bool *member) {
  enum { TRIES = 3 }; /* its member may be storing into what is read */
  char file_name[GROUP_FILE_NAME_BYTES];
  io_env *io = d->io;
  int index, result = -EBADMSG;
  file_name_of(file_name, name);
  int dir = io->dir_open_in(io, d->handle, GROUPS_NAME);
  if (dir < 0) return dir;
  int file = io->file_open(io, dir, file_name, IO_READ, 0);
  for (int i = 0; file >= 0 && result == -EBADMSG && i < TRIES; i++)
    result = file_load(d, file, name, s, &index, lowest);
  if (file >= 0) io->close(io, file);
  int locked = 0;
  if (file >= 0 && member) locked = io->locked(io, dir, file_name);
  io->close(io, dir);
  if (file < 0) return file;
  if (member) *member = locked == 1;
  return result ? result : locked < 0 ? locked : 0;
}

struct list_context {
  int (*each)(void *context, const char *name);
  void *context;
};

static int list_one(void *context, const char *file_name) {
  struct list_context *c = context;
  char name[DURALOG_GROUP_NAME_MAX + 1];
  return group_name_of(file_name, name) ? c->each(c->context, name) : 0;
}

int group_file_list(const struct log_directory *d,
                    int (*each)(void *context, const char *name),
                    void *context) {
  struct list_context c = {each, context};
  io_env *io = d->io;
  int dir = io->dir_open_in(io, d->handle, GROUPS_NAME);
  if (dir < 0) return dir == -ENOENT ? 0 : dir;
  int result = io->dir_list(io, dir, list_one, &c);
  io->close(io, dir);
  return result;
}

/* ---- making and removing ---- */

static int names_sync(const struct log_directory *d, int dir) {
  return d->io->dir_sync(d->io, dir, IO_SYNC_GROUP_NAME);
}

/* The directory of groups, which is made if need be. A directory that is there
 * may be that of a process which was killed before it synced the name. */
static int groups_make(const struct log_directory *d, bool *sync_failed) {
  io_env *io = d->io;
  int result = io->dir_make_in(io, d->handle, GROUPS_NAME,
                               d->file_mode | (d->file_mode & 0444u) >> 2);
  if (result && result != -EEXIST) return result;
  STEP(io, "group/directory");
  result = io->dir_sync(io, d->handle, IO_SYNC_GROUPS_NAME);
  if (result) {
    *sync_failed = true;
    return result;
  }
  return io->dir_open_in(io, d->handle, GROUPS_NAME);
}

/* All of the file, under a name that no group has. */
static int temporary_make(const struct log_directory *d, int dir,
                          const char *name, struct group_state *s,
                          bool *sync_failed) {
  io_env *io = d->io;
  uint8_t slot[GROUP_SLOT_BYTES];
  int result = io->unlink(io, dir, GROUP_TEMPORARY_NAME);
  if (result && result != -ENOENT) return result;
  int file = io->file_open(io, dir, GROUP_TEMPORARY_NAME, IO_WRITE | IO_CREATE,
                           d->file_mode);
  if (file < 0) return file == -EEXIST ? -EAGAIN : file;
  s->sequence = 1;
  group_slot_encode(slot, s, d->uuid, name, 0);
  result = io_allocate(io, file, GROUP_BYTES);
  if (!result) result = io_write(io, file, slot, sizeof slot, 0);
  STEP(io, "group/written");
  if (!result) {
    result = io->file_sync(io, file, NULL, IO_SYNC_GROUP);
    *sync_failed = result != 0;
  }
  io->close(io, file);
  return result;
}

/* With the lock of the groups' names. */
static int create_locked(const struct log_directory *d, int dir,
                         const char *name, struct group_state *s,
                         bool *sync_failed) {
  char file_name[GROUP_FILE_NAME_BYTES];
  io_env *io = d->io;
  file_name_of(file_name, name);
  int there = io->file_open(io, dir, file_name, IO_READ, 0);
  if (there >= 0) io->close(io, there);
  if (there != -ENOENT) return there < 0 ? there : -EEXIST;
  int result = temporary_make(d, dir, name, s, sync_failed);
  STEP(io, "group/synced");
  if (!result) result = io->rename(io, dir, GROUP_TEMPORARY_NAME, file_name);
  if (result) {
    io->unlink(io, dir, GROUP_TEMPORARY_NAME);
    return result;
  }
  STEP(io, "group/named");
  result = names_sync(d, dir);
  *sync_failed = result != 0;
  STEP(io, "group/durable");
  return result;
}

int group_file_create(const struct log_directory *d, const char *name,
                      struct group_state *s, bool *sync_failed) {
  io_env *io = d->io;
  int dir = groups_make(d, sync_failed);
  if (dir < 0) return dir;
  int lock = io->lock(io, dir, GROUPS_LOCK_NAME, d->file_mode);
  int result = lock < 0 ? lock : create_locked(d, dir, name, s, sync_failed);
  if (lock >= 0) io->unlock(io, lock);
  io->close(io, dir);
  return result;
}

int group_file_remove(struct group_file *g) {
  io_env *io = g->log->io;
  char file_name[GROUP_FILE_NAME_BYTES];
  file_name_of(file_name, g->name);
  int result = io->unlink(io, g->directory, file_name);
  if (!result) {
    result = names_sync(g->log, g->directory);
    g->sync_failed = result != 0;
  }
  STEP(io, "group/removed");
  group_file_leave(g);
  return result;
}

/* ---- the member ---- */

int group_file_join_damaged(struct group_file *g, const struct log_directory *d,
                            const char *name) {
  char file_name[GROUP_FILE_NAME_BYTES];
  io_env *io = d->io;
  uint64_t lowest;
  *g = (struct group_file){.log = d, .durable_index = -1};
  memcpy(g->name, name, strlen(name));
  file_name_of(file_name, name);
  g->directory = io->dir_open_in(io, d->handle, GROUPS_NAME);
  if (g->directory < 0) return g->directory;
  /* Mode 0: a group that is not there is not made by locking it. */
  g->file = io->lock(io, g->directory, file_name, 0);
  int result = g->file < 0
                   ? g->file
                   : file_load(d, g->file, name, &g->state, &g->index, &lowest);
  if (!result || result == -EBADMSG) return 0;
  if (g->file >= 0) io->unlock(io, g->file);
  io->close(io, g->directory);
  return result;
}

int group_file_join(struct group_file *g, const struct log_directory *d,
                    const char *name) {
  int result = group_file_join_damaged(g, d, name);
  if (result || g->state.sequence) return result;
  group_file_leave(g);
  return -EBADMSG;
}

int group_file_renew(struct group_file *g) {
  static const uint8_t nothing[GROUP_BYTES];
  io_env *io = g->log->io;
  int result = io_allocate(io, g->file, GROUP_BYTES); /* it may be cut */
  if (!result) result = io_write(io, g->file, nothing, sizeof nothing, 0);
  STEP(io, "group/erased");
  g->state = (struct group_state){
      .sequence = 1, .offset = NONE, .flags = GROUP_PROTECTED};
  g->index = 0;
  return result;
}

void group_file_leave(struct group_file *g) {
  io_env *io = g->log->io;
  io->unlock(io, g->file);
  io->close(io, g->directory);
}

static int sync_file(struct group_file *g, enum io_sync_reason why) {
  io_env *io = g->log->io;
  int result = io->file_sync(io, g->file, NULL, why);
  if (result) g->sync_failed = true;
  return result;
}

static int store_slot(struct group_file *g, const struct group_state *s,
                      int index) {
  uint8_t slot[GROUP_SLOT_BYTES];
  io_env *io = g->log->io;
  size_t bytes = group_slot_encode(slot, s, g->log->uuid, g->name, index);
  int result =
      io_write(io, g->file, slot, bytes, (uint64_t)index * GROUP_SLOT_BYTES);
  STEP(io, "group/stored");
  return result;
}

/*
 * What an earlier member left may be called clean by the kernel and not be on
 * the disk; so may be its name, and which slot is the durable one cannot be
 * told. So before anything is written over, the newest state is written again
 * and synced, and so are the names.
 */
int group_file_review(struct group_file *g) {
  io_env *io = g->log->io;
  if (g->durable_index >= 0) return 0;
  int result = store_slot(g, &g->state, g->index);
  if (result) return result;
  result = sync_file(g, IO_SYNC_REVIEW);
  if (!result) result = io->dir_sync(io, g->log->handle, IO_SYNC_GROUPS_NAME);
  if (!result) result = names_sync(g->log, g->directory);
  g->sync_failed = result != 0;
  if (!result) g->durable_index = g->index;
  STEP(io, "group/reviewed");
  return result;
}

int group_file_store(struct group_file *g, struct group_state *s,
                     bool durable) {
  if (g->sync_failed) return -EIO;
  int result = group_file_review(g);
  if (result) return result;
  s->sequence = g->state.sequence + 1;
  int index = 0; /* neither the durable slot nor the newest */
  while (index == g->durable_index || index == g->index) index++;
  result = store_slot(g, s, index);
  if (!result && durable) result = sync_file(g, IO_SYNC_COMMIT);
  if (result) return result;
  STEP(g->log->io, "group/committed");
  g->state = *s;
  g->index = index;
  if (durable) g->durable_index = index;
  return 0;
}
