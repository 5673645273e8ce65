/* SPDX-License-Identifier: MIT */
#include "sim_disk.h"

#include <errno.h>
#include <stdlib.h>

#include "checksum.h"

/* A sector that is dirty will be written by the next sync. One that is lost
 * was dirty in a sync that failed: the kernel calls it clean, and the disk may
 * hold any of its contents. */
enum { SECTOR_DIRTY = 1, SECTOR_LOST = 2 };

/* ---- directories and names ---- */

int sim_directory_find(const struct sim_disk *disk, const char *path) {
  for (int i = 0; i < SIM_DIRECTORIES_MAX; i++)
    if (disk->directories[i].used &&
        strcmp(disk->directories[i].path, path) == 0)
      return i;
  return -ENOENT;
}

static void directory_reset(struct sim_directory *d, const char *path) {
  d->used = true;
  d->durable = false;
  d->name_count = 0;
  memset(d->path, 0, sizeof d->path);
  memcpy(d->path, path, min_u64(strlen(path), sizeof d->path - 1));
}

int sim_directory_make(struct sim_disk *disk, const char *path) {
  if (sim_directory_find(disk, path) >= 0) return -EEXIST;
  for (int i = 0; i < SIM_DIRECTORIES_MAX; i++)
    if (!disk->directories[i].used) {
      directory_reset(&disk->directories[i], path);
      return 0;
    }
  return -ENOSPC;
}

void sim_directories_sync(struct sim_disk *disk, const char *parent) {
  size_t length = strlen(parent);
  for (int i = 0; i < SIM_DIRECTORIES_MAX; i++) {
    struct sim_directory *d = &disk->directories[i];
    if (strncmp(d->path, parent, length) == 0 && d->path[length] == '/')
      d->durable = true;
  }
}

static struct sim_name *name_entry(struct sim_directory *d, const char *text) {
  for (size_t i = 0; i < d->name_count; i++)
    if (strcmp(d->names[i].text, text) == 0) return &d->names[i];
  return NULL;
}

int sim_name_find(const struct sim_directory *d, const char *text) {
  const struct sim_name *n =
      name_entry((struct sim_directory *)(uintptr_t)d, text);
  int file = n ? sim_name_live(n) : SIM_NO_FILE;
  return file == SIM_NO_FILE ? -ENOENT : file;
}

void sim_name_settle(struct sim_directory *d, const char *text) {
  struct sim_name *n = name_entry(d, text);
  n->files[0] = (int16_t)sim_name_live(n);
  n->count = 1;
}

int sim_name_set(struct sim_directory *d, const char *text, int file) {
  enum { VERSIONS = sizeof d->names->files / sizeof *d->names->files };
  struct sim_name *n = name_entry(d, text);
  if (!n) {
    if (d->name_count == SIM_NAMES_MAX || strlen(text) >= sizeof n->text)
      return -ENOSPC;
    n = &d->names[d->name_count++];
    *n = (struct sim_name){.files = {SIM_NO_FILE}, .count = 1};
    memcpy(n->text, text, strlen(text));
  }
  if (n->count == VERSIONS) { /* the oldest that is not durable goes */
    memmove(n->files + 1, n->files + 2, (VERSIONS - 2) * sizeof *n->files);
    n->count--;
  }
  n->files[n->count++] = (int16_t)file;
  return 0;
}

void sim_names_sync(struct sim_directory *d) {
  size_t kept = 0;
  for (size_t i = 0; i < d->name_count; i++) {
    int file = sim_name_live(&d->names[i]);
    if (file == SIM_NO_FILE) continue;
    if (kept != i) d->names[kept] = d->names[i];
    d->names[kept].files[0] = (int16_t)file;
    d->names[kept++].count = 1;
  }
  d->name_count = kept;
}

/* ---- files ---- */

static void file_drop(struct sim_file *f) {
  free(f->cache);
  if (f->disk != f->cache) free(f->disk);
  free(f->seen);
  free(f->state);
  free(f->versions);
  memset(f, 0, sizeof *f);
}

void sim_disk_free(struct sim_disk *disk) {
  for (int i = 0; i < disk->file_count; i++) file_drop(&disk->files[i]);
  disk->file_count = 0;
}

static bool file_is_named(const struct sim_disk *disk, int file) {
  for (int d = 0; d < SIM_DIRECTORIES_MAX; d++) {
    const struct sim_directory *dir = &disk->directories[d];
    for (size_t i = 0; dir->used && i < dir->name_count; i++)
      for (int v = 0; v < dir->names[i].count; v++)
        if (dir->names[i].files[v] == file) return true;
  }
  return false;
}

/* A file that has no name, not even one that may come back, and that nobody
 * holds is gone. */
int sim_file_new(struct sim_disk *disk, const bool *held, size_t held_count) {
  for (int i = 0; i < SIM_FILES_MAX; i++) {
    struct sim_file *f = &disk->files[i];
    bool in_use = f->used && (f->maps || file_is_named(disk, i) ||
                              ((size_t)i < held_count && held[i]));
    if (in_use) continue;
    file_drop(f);
    f->used = true;
    f->size_count = 1;
    if (i >= disk->file_count) disk->file_count = i + 1;
    return i;
  }
  return -ENOSPC;
}

uint64_t sim_disk_room_used(const struct sim_disk *disk) {
  uint64_t used = 0;
  for (int i = 0; i < disk->file_count; i++)
    if (disk->files[i].used && file_is_named(disk, i))
      used += disk->files[i].size;
  return used;
}

static uint8_t *grown(uint8_t *bytes, uint64_t size, uint64_t capacity) {
  uint8_t *larger = calloc(1, capacity);
  if (!larger) abort();
  if (size) memcpy(larger, bytes, size);
  free(bytes);
  return larger;
}

static void file_reserve(struct sim_file *f, uint64_t size) {
  if (size <= f->capacity) return;
  uint64_t capacity = align_up(size, SIM_SECTOR);
  bool shared = f->cache == f->disk;
  f->cache = grown(f->cache, f->capacity, capacity);
  f->disk = shared ? f->cache : grown(f->disk, f->capacity, capacity);
  f->state = grown(f->state, f->capacity / SIM_SECTOR, capacity / SIM_SECTOR);
  f->capacity = capacity;
}

int sim_file_resize(struct sim_disk *disk, struct sim_file *f, uint64_t size) {
  enum { SIZES = sizeof f->sizes / sizeof *f->sizes };
  if (size <= f->size) return 0;
  if (disk->room && sim_disk_room_used(disk) + size - f->size > disk->room)
    return -disk->room_error;
  file_reserve(f, size);
  f->size = size;
  if (f->scratch) f->size_count = 0;
  if (f->size_count == SIZES) f->size_count--;
  f->sizes[f->size_count++] = size;
  return 0;
}

/* From now on the cache and the disk are two things. */
static void file_part(struct sim_file *f) {
  if (f->cache != f->disk || !f->capacity) return;
  f->disk = malloc(f->capacity);
  if (!f->disk) abort();
  memcpy(f->disk, f->cache, f->capacity);
}

static const uint8_t *last_content(const struct sim_file *f, uint32_t sector) {
  for (size_t i = f->version_count; i-- > 0;)
    if (f->versions[i].sector == sector) return f->versions[i].bytes;
  return f->disk + (uint64_t)sector * SIM_SECTOR;
}

/* The sector was written: it is dirty, and its content is one more that the
 * disk may hold. */
static void note_sector(struct sim_file *f, uint32_t sector) {
  const uint8_t *bytes = f->cache + (uint64_t)sector * SIM_SECTOR;
  f->state[sector] = SECTOR_DIRTY;
  if (memcmp(last_content(f, sector), bytes, SIM_SECTOR) == 0) return;
  if (f->version_count == f->version_capacity) {
    f->version_capacity = f->version_capacity ? 2 * f->version_capacity : 16;
    f->versions =
        realloc(f->versions, f->version_capacity * sizeof *f->versions);
    if (!f->versions) abort();
  }
  struct sim_version *v = &f->versions[f->version_count++];
  v->sector = sector;
  memcpy(v->bytes, bytes, SIM_SECTOR);
}

void sim_file_write(struct sim_file *f, const void *bytes, size_t size,
                    uint64_t at) {
  if (size == 0) return;
  file_part(f);
  memcpy(f->cache + at, bytes, size);
  if (f->seen) memcpy(f->seen + at, bytes, size);
  for (uint64_t s = at / SIM_SECTOR; s * SIM_SECTOR < at + size; s++)
    note_sector(f, (uint32_t)s);
}

void sim_file_map_writable(struct sim_file *f) {
  if (f->seen || f->scratch) return;
  file_part(f);
  f->seen = malloc(f->capacity);
  if (!f->seen) abort();
  memcpy(f->seen, f->cache, f->capacity);
}

static void file_look(struct sim_file *f) {
  for (uint64_t at = 0; at < f->capacity; at += SIM_BLOCK) {
    uint64_t end = min_u64(at + SIM_BLOCK, f->capacity);
    if (memcmp(f->cache + at, f->seen + at, end - at) == 0) continue;
    for (uint64_t s = at; s < end; s += SIM_SECTOR) {
      if (memcmp(f->cache + s, f->seen + s, SIM_SECTOR) == 0) continue;
      memcpy(f->seen + s, f->cache + s, SIM_SECTOR);
      note_sector(f, (uint32_t)(s / SIM_SECTOR));
    }
  }
}

void sim_file_unmap_writable(struct sim_file *f) {
  if (!f->seen) return;
  file_look(f);
  free(f->seen);
  f->seen = NULL;
}

void sim_disk_look(struct sim_disk *disk) {
  for (int i = 0; i < disk->file_count; i++)
    if (disk->files[i].seen) file_look(&disk->files[i]);
}

/* ---- syncs ---- */

/* Forget the contents seen in sectors without the bit. */
static void keep_versions(struct sim_file *f, uint8_t bit) {
  size_t kept = 0;
  for (size_t i = 0; i < f->version_count; i++)
    if (f->state[f->versions[i].sector] & bit) {
      if (kept != i) f->versions[kept] = f->versions[i];
      kept++;
    }
  f->version_count = kept;
}

/* Sectors [first, end). */
static void sync_dirty(struct sim_file *f, uint8_t *to, const uint8_t *from,
                       uint64_t first, uint64_t end) {
  for (uint64_t s = first; s < end; s++) {
    if (!(f->state[s] & SECTOR_DIRTY)) continue;
    f->state[s] = 0;
    memcpy(to + s * SIM_SECTOR, from + s * SIM_SECTOR, SIM_SECTOR);
  }
  keep_versions(f, SECTOR_LOST | SECTOR_DIRTY);
}

static uint64_t sectors_of(const struct sim_file *f) {
  return f->capacity / SIM_SECTOR;
}

void sim_file_sync(struct sim_disk *disk, struct sim_file *f) {
  (void)disk;
  if (f->seen) file_look(f);
  if (f->cache != f->disk) sync_dirty(f, f->disk, f->cache, 0, sectors_of(f));
  f->sizes[0] = f->size;
  f->size_count = 1;
}

void sim_file_sync_part(struct sim_file *f, uint64_t from, uint64_t to) {
  uint64_t first = from / SIM_BLOCK * SIM_BLOCK / SIM_SECTOR;
  uint64_t end = min_u64(align_up(to, SIM_BLOCK), f->capacity) / SIM_SECTOR;
  if (f->seen) file_look(f);
  if (f->cache != f->disk) sync_dirty(f, f->disk, f->cache, first, end);
}

/* Also of a part: all that is dirty is lost, which is harsher than a kernel. */
int sim_file_sync_fails(struct sim_disk *disk, struct sim_file *f) {
  if (f->seen) file_look(f);
  if (disk->fs == SIM_JOURNAL && !f->late_error) {
    sim_file_sync(disk, f);
    f->late_error = true;
    return 0;
  }
  f->late_error = false;
  if (disk->fs == SIM_BTRFS && f->cache != f->disk) {
    sync_dirty(f, f->cache, f->disk, 0, sectors_of(f));
    if (f->seen) memcpy(f->seen, f->cache, f->capacity);
  }
  for (uint64_t s = 0; s < f->capacity / SIM_SECTOR; s++)
    if (f->state[s] & SECTOR_DIRTY) f->state[s] = SECTOR_LOST;
  return -EIO;
}

uint64_t sim_file_unsynced(const struct sim_file *f) {
  uint64_t sectors = 0;
  for (uint64_t s = 0; s < f->capacity / SIM_SECTOR; s++)
    sectors += (f->state[s] & SECTOR_DIRTY) != 0;
  return sectors * SIM_SECTOR;
}

/* ---- units ---- */

struct unit_list {
  struct sim_unit *list;
  size_t count;
};

static struct sim_unit *unit_add(struct unit_list *l, enum sim_unit_kind kind,
                                 int place, int index, uint32_t options) {
  if (l->count == SIM_UNITS_MAX) abort(); /* not a state less in silence */
  struct sim_unit *u = &l->list[l->count++];
  *u = (struct sim_unit){kind, place, index, options, 0};
  return u;
}

static void directory_units(const struct sim_disk *disk, int d,
                            struct unit_list *l) {
  const struct sim_directory *dir = &disk->directories[d];
  if (!dir->durable) unit_add(l, SIM_UNIT_DIRECTORY, d, 0, 2);
  for (size_t i = 0; i < dir->name_count; i++)
    if (dir->names[i].count > 1)
      unit_add(l, SIM_UNIT_NAME, d, (int)i, (uint32_t)dir->names[i].count);
}

static void harm_units(const struct sim_disk *disk, int file,
                       struct unit_list *l, size_t from, size_t to) {
  if (!disk->broken[SIM_POWERSAFE_OVERWRITE]) return;
  enum { PER_BLOCK = SIM_BLOCK / SIM_SECTOR };
  for (size_t i = from; i < to; i++) {
    int block = l->list[i].index / PER_BLOCK;
    bool known = block < disk->harm_from_block;
    for (size_t j = to; j < l->count; j++) known |= l->list[j].index == block;
    if (!known) unit_add(l, SIM_UNIT_HARM, file, block, 2);
  }
}

static void file_units(const struct sim_disk *disk, int file,
                       struct unit_list *l) {
  const struct sim_file *f = &disk->files[file];
  if (f->size_count > 1)
    unit_add(l, SIM_UNIT_SIZE, file, 0, (uint32_t)f->size_count);
  size_t from = l->count;
  for (size_t v = 0; v < f->version_count; v++) {
    struct sim_unit *u = NULL;
    for (size_t i = from; !u && i < l->count; i++)
      if (l->list[i].index == (int)f->versions[v].sector) u = &l->list[i];
    if (!u)
      u = unit_add(l, SIM_UNIT_SECTOR, file, (int)f->versions[v].sector, 0);
    u->versions++;
  }
  size_t to = l->count;
  for (size_t i = from; i < to; i++) {
    struct sim_unit *u = &l->list[i];
    /* The synced one, those seen since, two torn ones, and garbage. */
    u->options = 1 + u->versions + 2 + disk->broken[SIM_TORN_AT_8_BYTES];
  }
  harm_units(disk, file, l, from, to);
}

size_t sim_disk_units(const struct sim_disk *disk, struct sim_unit *units) {
  struct unit_list l = {units, 0};
  for (int d = 0; d < SIM_DIRECTORIES_MAX; d++)
    if (disk->directories[d].used) directory_units(disk, d, &l);
  for (int i = 0; i < disk->file_count; i++)
    if (disk->files[i].used) file_units(disk, i, &l);
  return l.count;
}

uint32_t sim_unit_random(const struct sim_unit *u, uint64_t random) {
  if (u->kind == SIM_UNIT_SECTOR && random % 4 == 0)
    return SIM_TORN | (uint32_t)(random >> 40);
  return (uint32_t)((random >> 8) % u->options);
}

/* ---- survivors ---- */

static const uint8_t *content(const struct sim_file *f, uint32_t sector,
                              uint32_t number) {
  for (size_t i = 0; number && i < f->version_count; i++)
    if (f->versions[i].sector == sector && --number == 0)
      return f->versions[i].bytes;
  return f->disk + (uint64_t)sector * SIM_SECTOR;
}

static void garbage(uint8_t *to, uint64_t seed) {
  for (size_t i = 0; i < SIM_SECTOR; i++)
    to[i] = (uint8_t)((seed * 7 + i) * 167 + 13);
}

static void tear(uint8_t *to, const uint8_t *a, const uint8_t *b,
                 size_t words) {
  memcpy(to, a, words * SIM_WORD);
  memcpy(to + words * SIM_WORD, b + words * SIM_WORD,
         SIM_SECTOR - words * SIM_WORD);
}

/* Half of the words in which two contents differ. */
static size_t middle_of(const uint8_t *a, const uint8_t *b) {
  size_t first = SIM_SECTOR, last = 0;
  for (size_t i = 0; i < SIM_SECTOR; i++)
    if (a[i] != b[i]) {
      if (first == SIM_SECTOR) first = i;
      last = i;
    }
  return (first + last + 1) / 2 / SIM_WORD +
         (first / SIM_WORD == last / SIM_WORD);
}

static void survive_sector(const struct sim_file *f, const struct sim_unit *u,
                           uint32_t option, uint8_t *to) {
  uint32_t sector = (uint32_t)u->index, n = u->versions;
  if (option >= SIM_TORN) {
    enum { WORDS = SIM_SECTOR / SIM_WORD };
    const uint8_t *a = content(f, sector, (option >> 6 & 0x1ff) % (n + 1));
    const uint8_t *b = content(f, sector, (option >> 15 & 0x1ff) % (n + 1));
    tear(to, a, b, option % WORDS);
  } else if (option <= n) {
    memcpy(to, content(f, sector, option), SIM_SECTOR);
  } else if (option <= n + 2) {
    const uint8_t *older = content(f, sector, n - 1);
    const uint8_t *newer = content(f, sector, n);
    size_t words = middle_of(older, newer);
    if (option == n + 1)
      tear(to, newer, older, words);
    else
      tear(to, older, newer, words);
  } else {
    garbage(to, sector);
  }
}

static bool being_written(const struct sim_file *f, uint32_t sector) {
  for (size_t i = 0; i < f->version_count; i++)
    if (f->versions[i].sector == sector) return true;
  return false;
}

/* The neighbours of what is being written lose their content. */
static void survive_harm(const struct sim_file *f, int block, uint8_t *bytes) {
  enum { PER_BLOCK = SIM_BLOCK / SIM_SECTOR };
  for (int i = 0; i < PER_BLOCK; i++) {
    uint32_t sector = (uint32_t)(block * PER_BLOCK + i);
    uint64_t at = (uint64_t)sector * SIM_SECTOR;
    if (at + SIM_SECTOR <= f->capacity && !being_written(f, sector))
      garbage(bytes + at, sector + 1);
  }
}

/* A file without unsynced changes, with this content. */
static struct sim_file *file_put(struct sim_disk *to, int i, uint64_t capacity,
                                 uint64_t size, const uint8_t *bytes,
                                 bool scratch) {
  struct sim_file *f = &to->files[i];
  if (f->capacity == capacity && f->cache) { /* used before: keep the memory */
    if (f->disk != f->cache) free(f->disk);
    free(f->seen);
    free(f->versions);
    uint8_t *cache = f->cache, *state = f->state;
    *f = (struct sim_file){.cache = cache, .state = state};
    memset(state, 0, capacity / SIM_SECTOR);
  } else {
    file_drop(f);
    f->cache = malloc(max_u64(capacity, 1));
    f->state = calloc(1, max_u64(capacity / SIM_SECTOR, 1));
    if (!f->cache || !f->state) abort();
  }
  if (capacity) memcpy(f->cache, bytes, capacity);
  f->disk = f->cache;
  f->used = true;
  f->scratch = scratch;
  f->capacity = capacity;
  f->size = f->sizes[0] = size;
  f->size_count = 1;
  if (i >= to->file_count) to->file_count = i + 1;
  return f;
}

static void put_name(struct sim_directory *d, const char *text, int file) {
  struct sim_name *n = &d->names[d->name_count++];
  memcpy(n->text, text, sizeof n->text);
  n->files[0] = (int16_t)file;
  n->count = 1;
}

/* The names that are left; which files they need. */
static void survive_names(const struct sim_disk *from,
                          const struct sim_unit *units, const uint32_t *options,
                          size_t count, struct sim_disk *to, bool *needed) {
  bool lost[SIM_DIRECTORIES_MAX] = {false};
  for (size_t i = 0; i < count; i++)
    if (units[i].kind == SIM_UNIT_DIRECTORY)
      lost[units[i].place] = options[i] == 0;
  for (int d = 0; d < SIM_DIRECTORIES_MAX; d++) {
    const struct sim_directory *dir = &from->directories[d];
    to->directories[d].used = false;
    if (!dir->used || lost[d]) continue;
    directory_reset(&to->directories[d], dir->path);
    to->directories[d].durable = true;
    size_t u = 0;
    for (size_t n = 0; n < dir->name_count; n++) {
      while (u < count && (units[u].kind == SIM_UNIT_DIRECTORY ||
                           (units[u].kind == SIM_UNIT_NAME &&
                            (units[u].place < d || (units[u].place == d &&
                                                    units[u].index < (int)n)))))
        u++;
      bool chosen = u < count && units[u].kind == SIM_UNIT_NAME &&
                    units[u].place == d && units[u].index == (int)n;
      int file = dir->names[n].files[chosen ? options[u] : 0];
      if (file == SIM_NO_FILE) continue;
      put_name(&to->directories[d], dir->names[n].text, file);
      needed[file] = true;
    }
  }
}

static void copy_rules(const struct sim_disk *from, struct sim_disk *to) {
  to->fs = from->fs;
  to->room = from->room;
  to->room_error = from->room_error;
  memcpy(to->broken, from->broken, sizeof to->broken);
  to->harm_from_block = from->harm_from_block;
}

void sim_disk_survivor(const struct sim_disk *from,
                       const struct sim_unit *units, const uint32_t *options,
                       size_t count, struct sim_disk *to) {
  bool needed[SIM_FILES_MAX] = {false};
  copy_rules(from, to);
  survive_names(from, units, options, count, to, needed);
  for (int i = 0; i < from->file_count || i < to->file_count; i++) {
    const struct sim_file *f = &from->files[i];
    if (needed[i])
      file_put(to, i, f->capacity, f->sizes[0], f->disk, f->scratch);
    else
      to->files[i].used = false;
  }
  for (size_t u = 0; u < count; u++) {
    const struct sim_unit *unit = &units[u];
    if (unit->kind < SIM_UNIT_SIZE || !needed[unit->place]) continue;
    const struct sim_file *f = &from->files[unit->place];
    struct sim_file *t = &to->files[unit->place];
    if (unit->kind == SIM_UNIT_SIZE)
      t->size = t->sizes[0] = f->sizes[options[u]];
    else if (unit->kind == SIM_UNIT_SECTOR)
      survive_sector(f, unit, options[u],
                     t->cache + (uint64_t)unit->index * SIM_SECTOR);
    else if (options[u])
      survive_harm(f, unit->index, t->cache);
  }
  for (int i = 0; i < to->file_count; i++) {
    struct sim_file *t = &to->files[i];
    if (needed[i] && t->size < t->capacity)
      memset(t->cache + t->size, 0, t->capacity - t->size);
  }
}

void sim_disk_copy(const struct sim_disk *from, struct sim_disk *to) {
  copy_rules(from, to);
  for (int d = 0; d < SIM_DIRECTORIES_MAX; d++) {
    const struct sim_directory *dir = &from->directories[d];
    to->directories[d].used = false;
    if (!dir->used) continue;
    directory_reset(&to->directories[d], dir->path);
    to->directories[d].durable = true;
    for (size_t n = 0; n < dir->name_count; n++)
      if (sim_name_live(&dir->names[n]) != SIM_NO_FILE)
        put_name(&to->directories[d], dir->names[n].text,
                 sim_name_live(&dir->names[n]));
  }
  for (int i = 0; i < from->file_count || i < to->file_count; i++) {
    const struct sim_file *f = &from->files[i];
    if (f->used)
      file_put(to, i, f->capacity, f->size,
               f->seen && from->broken[SIM_STORES_OUTLIVE] ? f->disk : f->cache,
               f->scratch)
          ->locked_by = f->locked_by;
    else
      to->files[i].used = false;
    sim_lock_end(from, &to->files[i]);
  }
}

void sim_lock_end(const struct sim_disk *d, struct sim_file *f) {
  bool lasts = d->broken[SIM_LOCK_ENDS] && f->locked_by;
  f->locked_by = lasts ? SIM_LOCKED_BY_DEAD : 0;
}

/* ---- checksums ---- */

static uint64_t checksum(const struct sim_disk *disk, bool durable) {
  uint64_t sum = 0;
  for (int d = 0; d < SIM_DIRECTORIES_MAX; d++) {
    const struct sim_directory *dir = &disk->directories[d];
    if (!dir->used) continue;
    sum += checksum64(dir->path, strlen(dir->path), 1);
    for (size_t i = 0; i < dir->name_count; i++) {
      const struct sim_name *n = &dir->names[i];
      int file = durable ? n->files[0] : sim_name_live(n);
      if (file == SIM_NO_FILE || disk->files[file].scratch) continue;
      const struct sim_file *f = &disk->files[file];
      uint64_t name = checksum64(n->text, strlen(n->text), 0);
      uint64_t size = durable ? f->sizes[0] : f->size;
      const uint8_t *bytes = durable ? f->disk : f->cache;
      sum += size ? checksum64(bytes, size, name + size) : name;
    }
  }
  return sum;
}

uint64_t sim_disk_checksum_seen(const struct sim_disk *disk) {
  return checksum(disk, false);
}

uint64_t sim_disk_checksum_durable(const struct sim_disk *disk) {
  return checksum(disk, true);
}
