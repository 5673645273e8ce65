/* SPDX-License-Identifier: MIT */
#include "io_sim.h"

#include <errno.h>
#include <stdlib.h>

#include "checksum.h"

enum {
  SECTOR = 512,
  FILES_MAX = 256,
  DIRECTORIES_MAX = 8,
  NAMES_MAX = 128,
  HANDLES_MAX = 512,
  SYNC_NS = 200 * 1000
};

struct sim_file {
  bool used;
  uint8_t *cache; /* what mappings and reads show */
  uint8_t *seen;  /* the cache as of the last write-back, tried or done */
  uint8_t *disk;  /* what survives */
  bool *dirty;    /* sectors written by a call, whatever their content */
  uint64_t size, disk_size, capacity;
  bool mapped;
  int locked_by; /* handle + 1 */
};

struct sim_name {
  char text[48];
  int file;
};

struct sim_directory {
  bool used, durable; /* its own name is durable in its parent */
  char path[256];
  struct sim_name live[NAMES_MAX], kept[NAMES_MAX];
  size_t live_count, kept_count;
};

struct sim_handle {
  bool used, directory;
  int index;
};

struct allocation {
  struct allocation *next, *previous;
  size_t bytes;
  max_align_t align;
};

struct sim {
  struct duralog_environment environment;
  struct sim_file files[FILES_MAX];
  struct sim_directory directories[DIRECTORIES_MAX];
  struct sim_handle handles[HANDLES_MAX];
  struct allocation *allocations;
  size_t allocation_count;
  uint64_t now;
  int64_t wall_ms;
  uint8_t boot_id[16];
  uint64_t random;
  uint64_t events, cut_at;
  jmp_buf cut_point;
  uint64_t fail_sync, fail_alloc, room;
  bool fail_sync_ever;
  bool skip[IO_SYNC_REASON_COUNT];
  uint64_t sync_count[IO_SYNC_REASON_COUNT];
};

static _Atomic uint32_t owner = 1;

static struct sim *world(io_env *io) { return io->world; }

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static void event(struct sim *s) {
  s->events++;
  if (s->cut_at && s->events >= s->cut_at) {
    s->cut_at = 0;
    longjmp(s->cut_point, 1);
  }
}

static void sim_step(io_env *io, const char *name) {
  (void)name;
  event(world(io));
}

/* ---- handles, names, files ---- */

static int handle_new(struct sim *s, bool directory, int index) {
  for (int i = 0; i < HANDLES_MAX; i++)
    if (!s->handles[i].used) {
      s->handles[i] = (struct sim_handle){true, directory, index};
      return i;
    }
  return -EMFILE;
}

static struct sim_file *file_of(struct sim *s, int handle) {
  return &s->files[s->handles[handle].index];
}

static struct sim_directory *directory_of(struct sim *s, int handle) {
  return &s->directories[s->handles[handle].index];
}

static int name_find(const struct sim_name *names, size_t count,
                     const char *text) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i].text, text) == 0) return (int)i;
  return -1;
}

static void name_remove(struct sim_name *names, size_t *count, int i) {
  names[i] = names[--*count];
}

static int name_add(struct sim_name *names, size_t *count, const char *text,
                    int file) {
  if (*count == NAMES_MAX || strlen(text) >= sizeof names->text) return -ENOSPC;
  struct sim_name *n = &names[(*count)++];
  memset(n, 0, sizeof *n);
  memcpy(n->text, text, strlen(text));
  n->file = file;
  return 0;
}

static bool file_named(const struct sim *s, int file) {
  for (int d = 0; d < DIRECTORIES_MAX; d++) {
    const struct sim_directory *dir = &s->directories[d];
    if (!dir->used) continue;
    for (size_t i = 0; i < dir->live_count; i++)
      if (dir->live[i].file == file) return true;
    for (size_t i = 0; i < dir->kept_count; i++)
      if (dir->kept[i].file == file) return true;
  }
  for (int h = 0; h < HANDLES_MAX; h++)
    if (s->handles[h].used && !s->handles[h].directory &&
        s->handles[h].index == file)
      return true;
  return false;
}

static void file_drop(struct sim_file *f) {
  free(f->cache);
  free(f->seen);
  free(f->disk);
  free(f->dirty);
  memset(f, 0, sizeof *f);
}

static void collect_files(struct sim *s) {
  for (int i = 0; i < FILES_MAX; i++)
    if (s->files[i].used && !s->files[i].mapped && !file_named(s, i))
      file_drop(&s->files[i]);
}

static uint64_t room_used(const struct sim *s) {
  uint64_t used = 0;
  for (int i = 0; i < FILES_MAX; i++)
    if (s->files[i].used) used += s->files[i].size;
  return used;
}

static int file_resize(struct sim *s, struct sim_file *f, uint64_t size) {
  if (size > f->size && s->room && room_used(s) + size - f->size > s->room)
    return -ENOSPC;
  if (size > f->capacity) {
    uint64_t capacity = align_up(size, SECTOR);
    uint8_t **buffers[] = {&f->cache, &f->seen, &f->disk};
    for (size_t i = 0; i < 3; i++) {
      uint8_t *larger = calloc(1, capacity);
      if (*buffers[i]) memcpy(larger, *buffers[i], f->capacity);
      free(*buffers[i]);
      *buffers[i] = larger;
    }
    bool *dirty = calloc(capacity / SECTOR, sizeof *dirty);
    if (f->dirty) memcpy(dirty, f->dirty, f->capacity / SECTOR * sizeof *dirty);
    free(f->dirty);
    f->dirty = dirty;
    f->capacity = capacity;
  }
  f->size = max_u64(f->size, size);
  return 0;
}

/* ---- directories ---- */

static int directory_find(struct sim *s, const char *path) {
  for (int i = 0; i < DIRECTORIES_MAX; i++)
    if (s->directories[i].used && strcmp(s->directories[i].path, path) == 0)
      return i;
  return -ENOENT;
}

static int op_dir_make(io_env *io, const char *path, uint32_t mode) {
  struct sim *s = world(io);
  (void)mode;
  event(s);
  if (directory_find(s, path) >= 0) return -EEXIST;
  for (int i = 0; i < DIRECTORIES_MAX; i++)
    if (!s->directories[i].used) {
      struct sim_directory *d = &s->directories[i];
      memset(d, 0, sizeof *d);
      d->used = true;
      memcpy(d->path, path, min_u64(strlen(path), sizeof d->path - 1));
      return 0;
    }
  return -ENOSPC;
}

static int op_dir_remove(io_env *io, const char *path) {
  struct sim *s = world(io);
  int i = directory_find(s, path);
  if (i < 0) return i;
  if (s->directories[i].live_count) return -ENOTEMPTY;
  event(s);
  /* Gone at once and for good: nobody waits for a log that was never there. */
  s->directories[i].used = false;
  return 0;
}

static int op_dir_open(io_env *io, const char *path) {
  int i = directory_find(world(io), path);
  return i < 0 ? i : handle_new(world(io), true, i);
}

/* Whether a sync fails, is skipped, or is to be done. */
enum sync_fate { SYNC_DO, SYNC_SKIP, SYNC_FAIL };

static enum sync_fate sync_fate(struct sim *s, enum io_sync_reason why) {
  event(s);
  s->now += SYNC_NS;
  s->sync_count[why]++;
  if (s->fail_sync && --s->fail_sync == 0) {
    if (s->fail_sync_ever) s->fail_sync = 1;
    return SYNC_FAIL;
  }
  return s->skip[why] ? SYNC_SKIP : SYNC_DO;
}

static int op_dir_sync_parent(io_env *io, const char *path,
                              enum io_sync_reason why) {
  struct sim *s = world(io);
  enum sync_fate fate = sync_fate(s, why);
  int i = directory_find(s, path);
  if (i < 0) return i;
  if (fate == SYNC_DO) s->directories[i].durable = true;
  return fate == SYNC_FAIL ? -EIO : 0;
}

static int op_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  struct sim *s = world(io);
  enum sync_fate fate = sync_fate(s, why);
  struct sim_directory *d = directory_of(s, dir);
  if (fate == SYNC_DO) {
    memcpy(d->kept, d->live, sizeof d->kept);
    d->kept_count = d->live_count;
  }
  return fate == SYNC_FAIL ? -EIO : 0;
}

static int op_dir_list(io_env *io, int dir, int (*each)(void *, const char *),
                       void *context) {
  const struct sim_directory *d = directory_of(world(io), dir);
  int result = 0;
  for (size_t i = 0; !result && i < d->live_count; i++)
    result = each(context, d->live[i].text);
  return result;
}

static int op_dir_fs(io_env *io, int dir, struct io_fs *fs) {
  (void)io;
  (void)dir;
  *fs = (struct io_fs){false, false, false, false, false};
  return 0;
}

/* ---- files ---- */

static int op_file_open(io_env *io, int dir, const char *name, int flags,
                        uint32_t mode) {
  struct sim *s = world(io);
  struct sim_directory *d = directory_of(s, dir);
  (void)mode;
  int n = name_find(d->live, d->live_count, name);
  if (!(flags & IO_CREATE))
    return n < 0 ? -ENOENT : handle_new(s, false, d->live[n].file);
  if (n >= 0) return -EEXIST;
  event(s);
  collect_files(s);
  for (int i = 0; i < FILES_MAX; i++)
    if (!s->files[i].used) {
      s->files[i].used = true;
      int result = name_add(d->live, &d->live_count, name, i);
      return result ? result : handle_new(s, false, i);
    }
  return -ENOSPC;
}

static int op_close(io_env *io, int handle) {
  struct sim *s = world(io);
  struct sim_handle *h = &s->handles[handle];
  if (!h->directory && s->files[h->index].locked_by == handle + 1)
    s->files[h->index].locked_by = 0;
  h->used = false;
  return 0;
}

static int op_file_size(io_env *io, int file, uint64_t *bytes) {
  *bytes = file_of(world(io), file)->size;
  return 0;
}

static int op_file_allocate(io_env *io, int file, uint64_t bytes) {
  struct sim *s = world(io);
  event(s);
  return file_resize(s, file_of(s, file), bytes);
}

static int64_t op_file_read(io_env *io, int file, void *buffer, size_t size,
                            uint64_t position) {
  const struct sim_file *f = file_of(world(io), file);
  if (position >= f->size) return 0;
  uint64_t n = min_u64(size, f->size - position);
  memcpy(buffer, f->cache + position, n);
  return (int64_t)n;
}

static int64_t op_file_write(io_env *io, int file, const void *bytes,
                             size_t size, uint64_t position) {
  struct sim *s = world(io);
  struct sim_file *f = file_of(s, file);
  event(s);
  int result = file_resize(s, f, position + size);
  if (result) return result;
  memcpy(f->cache + position, bytes, size);
  for (uint64_t at = position / SECTOR; at * SECTOR < position + size; at++)
    f->dirty[at] = true;
  return (int64_t)size;
}

static bool sector_dirty(const struct sim_file *f, uint64_t i) {
  return f->dirty[i] ||
         memcmp(f->cache + i * SECTOR, f->seen + i * SECTOR, SECTOR) != 0;
}

static void write_back(struct sim_file *f, uint64_t i, bool reaches_disk) {
  if (reaches_disk) memcpy(f->disk + i * SECTOR, f->cache + i * SECTOR, SECTOR);
  memcpy(f->seen + i * SECTOR, f->cache + i * SECTOR, SECTOR);
  f->dirty[i] = false;
}

static int op_file_sync(io_env *io, int file, enum io_sync_reason why) {
  struct sim *s = world(io);
  enum sync_fate fate = sync_fate(s, why);
  struct sim_file *f = file_of(s, file);
  if (fate == SYNC_SKIP) return 0;
  for (uint64_t i = 0; i < f->capacity / SECTOR; i++)
    if (sector_dirty(f, i)) write_back(f, i, fate == SYNC_DO);
  if (fate == SYNC_DO) f->disk_size = f->size;
  return fate == SYNC_FAIL ? -EIO : 0;
}

static int op_file_data(io_env *io, int file, uint64_t *position,
                        uint64_t *end) {
  const struct sim_file *f = file_of(world(io), file);
  uint64_t at = *position / SECTOR;
  static const uint8_t zeros[SECTOR];
  while (at * SECTOR < f->size &&
         memcmp(f->cache + at * SECTOR, zeros, SECTOR) == 0)
    at++;
  if (at * SECTOR >= f->size) return -ENXIO;
  *position = max_u64(*position, at * SECTOR);
  while (at * SECTOR < f->size &&
         memcmp(f->cache + at * SECTOR, zeros, SECTOR) != 0)
    at++;
  *end = min_u64(at * SECTOR, f->size);
  return 0;
}

static int op_rename(io_env *io, int dir, const char *from, const char *to) {
  struct sim *s = world(io);
  struct sim_directory *d = directory_of(s, dir);
  event(s);
  int n = name_find(d->live, d->live_count, from);
  if (n < 0) return -ENOENT;
  int file = d->live[n].file;
  int old = name_find(d->live, d->live_count, to);
  if (old >= 0) {
    d->live[old].file = file;
    name_remove(d->live, &d->live_count, n);
    return 0;
  }
  name_remove(d->live, &d->live_count, n);
  return name_add(d->live, &d->live_count, to, file);
}

static int op_unlink(io_env *io, int dir, const char *name) {
  struct sim *s = world(io);
  struct sim_directory *d = directory_of(s, dir);
  int n = name_find(d->live, d->live_count, name);
  if (n < 0) return -ENOENT;
  event(s);
  name_remove(d->live, &d->live_count, n);
  return 0;
}

static int op_lock(io_env *io, int dir, const char *name, uint32_t mode) {
  int file = op_file_open(io, dir, name, IO_WRITE, 0);
  if (file == -ENOENT)
    file = op_file_open(io, dir, name, IO_WRITE | IO_CREATE, mode);
  if (file < 0) return file;
  struct sim_file *f = file_of(world(io), file);
  if (f->locked_by) {
    op_close(io, file);
    return -EAGAIN;
  }
  f->locked_by = file + 1;
  return file;
}

static void op_unlock(io_env *io, int file) { op_close(io, file); }

static int op_locked(io_env *io, int dir, const char *name) {
  int file = op_file_open(io, dir, name, IO_READ, 0);
  if (file < 0) return file;
  int result = file_of(world(io), file)->locked_by != 0;
  op_close(io, file);
  return result;
}

/* ---- mappings, clocks, memory ---- */

static int op_map(io_env *io, int file, uint64_t bytes, bool writable,
                  void **address) {
  struct sim_file *f = file_of(world(io), file);
  (void)writable;
  if (bytes > f->size) return -EINVAL;
  f->mapped = true;
  *address = f->cache;
  return 0;
}

static int op_unmap(io_env *io, void *address, uint64_t bytes) {
  (void)io;
  (void)address;
  (void)bytes;
  return 0;
}

static int op_populate(io_env *io, void *address, uint64_t bytes,
                       bool for_writing) {
  (void)io;
  (void)address;
  (void)bytes;
  (void)for_writing;
  return 0;
}

static uint64_t op_now(io_env *io) { return world(io)->now; }
static int64_t op_wall_ms(io_env *io) { return world(io)->wall_ms; }

static void op_boot_id(io_env *io, uint8_t id[16]) {
  memcpy(id, world(io)->boot_id, 16);
}

static int op_random(io_env *io, void *bytes, size_t size) {
  uint8_t *to = bytes;
  for (size_t i = 0; i < size; i++) to[i] = (uint8_t)mix(&world(io)->random);
  return 0;
}

static void *op_alloc(io_env *io, size_t bytes) {
  struct sim *s = world(io);
  if (s->fail_alloc && --s->fail_alloc == 0) return NULL;
  struct allocation *a = NULL;
  if (posix_memalign((void **)&a, CACHE_LINE, CACHE_LINE + bytes)) return NULL;
  memset(a, 0, CACHE_LINE + bytes);
  a->bytes = bytes;
  a->next = s->allocations;
  if (a->next) a->next->previous = a;
  s->allocations = a;
  s->allocation_count++;
  return (uint8_t *)a + CACHE_LINE;
}

static void op_free(io_env *io, void *memory) {
  struct sim *s = world(io);
  if (!memory) return;
  struct allocation *a = (struct allocation *)((uint8_t *)memory - CACHE_LINE);
  if (a->previous)
    a->previous->next = a->next;
  else
    s->allocations = a->next;
  if (a->next) a->next->previous = a->previous;
  s->allocation_count--;
  free(a);
}

_Static_assert(sizeof(struct allocation) <= CACHE_LINE,
               "fits before the memory");

/* One thread: nobody else can wake us, so only the deadline ends a wait. */
static int op_wait(io_env *io, _Atomic uint32_t *word, uint32_t value,
                   uint64_t deadline) {
  struct sim *s = world(io);
  if (atomic_load(word) != value) return 0;
  if (deadline == NONE) abort(); /* a deadlock: fail loudly, this is a test */
  s->now = max_u64(s->now, deadline);
  return -ETIMEDOUT;
}

static void op_wake(io_env *io, _Atomic uint32_t *word, int count) {
  (void)io;
  (void)word;
  (void)count;
}

static bool op_fence_all(io_env *io) {
  (void)io;
  return true;
}

static int op_thread_start(io_env *io, void (*body)(void *), void *context,
                           void **thread) {
  (void)io;
  (void)body;
  (void)context;
  (void)thread;
  return -ENOSYS;
}

static const _Atomic uint32_t *op_owner_word(io_env *io) {
  (void)io;
  return &owner;
}

static int op_map_read_only(io_env *io, void *address, uint64_t bytes) {
  return op_unmap(io, address, bytes);
}

static const struct duralog_environment operations = {
    .dir_make = op_dir_make,
    .dir_remove = op_dir_remove,
    .dir_open = op_dir_open,
    .dir_sync_parent = op_dir_sync_parent,
    .dir_sync = op_dir_sync,
    .dir_list = op_dir_list,
    .dir_fs = op_dir_fs,
    .file_open = op_file_open,
    .close = op_close,
    .file_size = op_file_size,
    .file_allocate = op_file_allocate,
    .file_read = op_file_read,
    .file_write = op_file_write,
    .file_sync = op_file_sync,
    .file_data = op_file_data,
    .rename = op_rename,
    .unlink = op_unlink,
    .lock = op_lock,
    .unlock = op_unlock,
    .locked = op_locked,
    .map = op_map,
    .unmap = op_unmap,
    .map_read_only = op_map_read_only,
    .map_scattered = op_unmap,
    .populate = op_populate,
    .depopulate = op_unmap,
    .now = op_now,
    .now_coarse = op_now,
    .wall_ms = op_wall_ms,
    .boot_id = op_boot_id,
    .random = op_random,
    .alloc = op_alloc,
    .free = op_free,
    .wait = op_wait,
    .wake = op_wake,
    .fence_all = op_fence_all,
    .thread_start = op_thread_start,
    .owner_word = op_owner_word,
    .step = sim_step,
};

/* ---- the world ---- */

struct sim *sim_new(void) {
  struct sim *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->environment = operations;
  s->environment.world = s;
  s->now = 1000 * NS_PER_MS;
  s->wall_ms = INT64_C(1700000000000);
  s->random = 1;
  s->boot_id[0] = 1;
  return s;
}

static void drop_process(struct sim *s) {
  while (s->allocations)
    op_free(&s->environment, (uint8_t *)s->allocations + CACHE_LINE);
  memset(s->handles, 0, sizeof s->handles);
  for (int i = 0; i < FILES_MAX; i++) {
    s->files[i].mapped = false;
    s->files[i].locked_by = 0;
  }
  s->cut_at = s->fail_sync = s->fail_alloc = 0;
  s->fail_sync_ever = false;
  collect_files(s);
}

void sim_free(struct sim *s) {
  drop_process(s);
  for (int i = 0; i < FILES_MAX; i++)
    if (s->files[i].used) file_drop(&s->files[i]);
  free(s);
}

io_env *sim_environment(struct sim *s) { return &s->environment; }

void sim_cut_at(struct sim *s, uint64_t k) {
  s->cut_at = k ? s->events + k : 0;
}
jmp_buf *sim_cut_point(struct sim *s) { return &s->cut_point; }
uint64_t sim_events(const struct sim *s) { return s->events; }

static bool survives(uint64_t *seed) { return *seed && (mix(seed) & 1); }

/* Each difference between the live and the durable names is kept or lost by
 * itself. */
static void cut_names(struct sim_directory *d, uint64_t *seed) {
  for (size_t i = 0; i < d->live_count; i++) {
    const struct sim_name *n = &d->live[i];
    int k = name_find(d->kept, d->kept_count, n->text);
    if (k >= 0 && d->kept[k].file == n->file) continue;
    if (!survives(seed)) continue;
    if (k >= 0)
      d->kept[k].file = n->file;
    else
      name_add(d->kept, &d->kept_count, n->text, n->file);
  }
  for (size_t i = d->kept_count; i-- > 0;)
    if (name_find(d->live, d->live_count, d->kept[i].text) < 0 &&
        survives(seed))
      name_remove(d->kept, &d->kept_count, (int)i);
  memcpy(d->live, d->kept, sizeof d->live);
  d->live_count = d->kept_count;
}

static void cut_file(struct sim_file *f, uint64_t *seed) {
  for (uint64_t i = 0; i < f->capacity / SECTOR; i++)
    if (sector_dirty(f, i)) write_back(f, i, survives(seed));
  if (f->size != f->disk_size && survives(seed)) f->disk_size = f->size;
  f->size = f->disk_size;
  for (uint64_t i = f->size; i < f->capacity; i++) f->disk[i] = 0;
  if (f->capacity) {
    memcpy(f->cache, f->disk, f->capacity);
    memcpy(f->seen, f->disk, f->capacity);
  }
}

void sim_restart(struct sim *s, uint64_t seed) {
  for (int i = 0; i < FILES_MAX; i++)
    if (s->files[i].used) cut_file(&s->files[i], &seed);
  for (int i = 0; i < DIRECTORIES_MAX; i++) {
    struct sim_directory *d = &s->directories[i];
    if (!d->used) continue;
    if (!d->durable && !survives(&seed)) {
      memset(d, 0, sizeof *d);
      continue;
    }
    d->durable = true;
    cut_names(d, &seed);
  }
  s->boot_id[0]++;
  drop_process(s);
}

void sim_kill(struct sim *s) { drop_process(s); }

void sim_advance(struct sim *s, uint64_t ns) {
  s->now += ns;
  s->wall_ms += (int64_t)(ns / NS_PER_MS);
}
void sim_set_wall(struct sim *s, int64_t ms) { s->wall_ms = ms; }
void sim_fail_sync(struct sim *s, uint64_t k, bool ever) {
  s->fail_sync = k;
  s->fail_sync_ever = ever;
}
void sim_set_room(struct sim *s, uint64_t bytes) { s->room = bytes; }
void sim_fail_alloc(struct sim *s, uint64_t k) { s->fail_alloc = k; }
void sim_skip_sync(struct sim *s, enum io_sync_reason why) {
  s->skip[why] = true;
}
uint64_t sim_sync_count(const struct sim *s, enum io_sync_reason why) {
  return s->sync_count[why];
}

size_t sim_open_handles(const struct sim *s) {
  size_t n = 0;
  for (int i = 0; i < HANDLES_MAX; i++) n += s->handles[i].used;
  return n;
}

size_t sim_allocations(const struct sim *s) { return s->allocation_count; }

uint64_t sim_disk_checksum(const struct sim *s) {
  uint64_t sum = 0;
  for (int d = 0; d < DIRECTORIES_MAX; d++) {
    const struct sim_directory *dir = &s->directories[d];
    for (size_t i = 0; dir->used && i < dir->kept_count; i++) {
      const struct sim_file *f = &s->files[dir->kept[i].file];
      uint64_t name =
          checksum64(dir->kept[i].text, strlen(dir->kept[i].text), 0);
      sum ^= f->disk_size ? checksum64(f->disk, f->disk_size, name) : name;
    }
  }
  return sum;
}

uint8_t *sim_file_bytes(struct sim *s, const char *directory, const char *name,
                        uint64_t *size) {
  int d = directory_find(s, directory);
  if (d < 0) return NULL;
  int n = name_find(s->directories[d].live, s->directories[d].live_count, name);
  if (n < 0) return NULL;
  struct sim_file *f = &s->files[s->directories[d].live[n].file];
  *size = f->size;
  return f->cache;
}
