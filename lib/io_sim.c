/* SPDX-License-Identifier: MIT */
#include "io_sim.h"

#include <errno.h>
#include <stdlib.h>

enum { HANDLES_MAX = 512 };

enum handle_kind { FILE_HANDLE, DIRECTORY_HANDLE, EVENT_HANDLE };

struct sim_handle {
  bool used;
  enum handle_kind kind;
  int index;
  uint64_t readable_at; /* an event */
};

struct allocation {
  struct allocation *next, *previous;
  size_t bytes;
  max_align_t align;
};

struct sim {
  struct duralog_environment environment;
  struct sim_disk disk;
  struct sim_handle handles[HANDLES_MAX];
  int handle_count; /* all used ones are below */
  struct allocation *allocations;
  size_t allocation_count;
  uint64_t now;
  int64_t wall_ms;
  uint8_t boot_id[16];
  uint64_t random;
  sim_hook *hook;
  void *hook_context;
  uint64_t events, cut_at;
  jmp_buf cut_point;
  uint64_t fail_sync, fail_alloc;
  bool fail_sync_ever;
  bool blind, interrupts, shut_down;
  uint64_t transfers;
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

static void event(struct sim *s, const char *what) {
  s->events++;
  if (!s->blind) sim_disk_look(&s->disk);
  if (s->hook) s->hook(s->hook_context, s, what);
  if (s->cut_at && s->events >= s->cut_at) {
    s->cut_at = 0;
    longjmp(s->cut_point, 1);
  }
}

static void op_step(io_env *io, const char *name) { event(world(io), name); }

/* ---- handles ---- */

static int handle_new(struct sim *s, enum handle_kind kind, int index) {
  for (int i = 0; i < HANDLES_MAX; i++)
    if (!s->handles[i].used) {
      s->handles[i] = (struct sim_handle){true, kind, index, NONE};
      if (i >= s->handle_count) s->handle_count = i + 1;
      return i;
    }
  return -EMFILE;
}

static struct sim_file *file_of(struct sim *s, int handle) {
  return &s->disk.files[s->handles[handle].index];
}

static struct sim_directory *directory_of(struct sim *s, int handle) {
  return &s->disk.directories[s->handles[handle].index];
}

/* ---- directories ---- */

static int op_dir_make(io_env *io, const char *path, uint32_t mode) {
  struct sim *s = world(io);
  (void)mode;
  event(s, "io/dir_make");
  return s->shut_down ? -EIO : sim_directory_make(&s->disk, path);
}

static int op_dir_remove(io_env *io, const char *path) {
  struct sim *s = world(io);
  int i = sim_directory_find(&s->disk, path);
  if (i < 0) return i;
  struct sim_directory *d = &s->disk.directories[i];
  for (size_t n = 0; n < d->name_count; n++)
    if (sim_name_live(&d->names[n]) != SIM_NO_FILE) return -ENOTEMPTY;
  event(s, "io/dir_remove");
  /* Gone at once and for good: nobody waits for a log that was never there. */
  d->used = false;
  return 0;
}

static int op_dir_open(io_env *io, const char *path) {
  int i = sim_directory_find(&world(io)->disk, path);
  return i < 0 ? i : handle_new(world(io), DIRECTORY_HANDLE, i);
}

/* A directory in another one is found by its path. */
static void path_in(struct sim *s, int dir, const char *name, char path[256]) {
  const char *parent = directory_of(s, dir)->path;
  size_t length = strlen(parent), room = 256 - 2 - length;
  memset(path, 0, 256);
  memcpy(path, parent, length);
  path[length] = '/';
  memcpy(path + length + 1, name, min_u64(strlen(name), room));
}

static int op_dir_make_in(io_env *io, int dir, const char *name,
                          uint32_t mode) {
  char path[256];
  path_in(world(io), dir, name, path);
  return op_dir_make(io, path, mode);
}

static int op_dir_open_in(io_env *io, int dir, const char *name) {
  char path[256];
  path_in(world(io), dir, name, path);
  return op_dir_open(io, path);
}

/* Whether a sync fails, is skipped, or is to be done. */
enum sync_fate { SYNC_DO, SYNC_SKIP, SYNC_FAIL };

static enum sync_fate sync_fate(struct sim *s, enum io_sync_reason why) {
  static const char *const names[] = {
#define SYNC_NAME(name, text) "sync/" text,
      IO_SYNC_REASONS(SYNC_NAME)
#undef SYNC_NAME
  };
  event(s, names[why]);
  s->now += SIM_SYNC_NS;
  s->sync_count[why]++;
  if (s->shut_down) return SYNC_FAIL;
  if (s->fail_sync && --s->fail_sync == 0) {
    if (s->fail_sync_ever) s->fail_sync = 1;
    return SYNC_FAIL;
  }
  bool skipped = s->skip[why] || s->disk.broken[SIM_SYNC_IS_DURABLE];
  return skipped ? SYNC_SKIP : SYNC_DO;
}

static int directory_sync_fails(struct sim *s) {
  s->shut_down = s->disk.fs == SIM_XFS;
  return -EIO;
}

static int op_dir_sync_parent(io_env *io, const char *path,
                              enum io_sync_reason why) {
  struct sim *s = world(io);
  enum sync_fate fate = sync_fate(s, why);
  int i = sim_directory_find(&s->disk, path);
  if (i < 0) return i;
  if (fate == SYNC_FAIL) return directory_sync_fails(s);
  if (fate == SYNC_DO) s->disk.directories[i].durable = true;
  return 0;
}

static int op_dir_sync(io_env *io, int dir, enum io_sync_reason why) {
  struct sim *s = world(io);
  enum sync_fate fate = sync_fate(s, why);
  if (fate == SYNC_FAIL) return directory_sync_fails(s);
  if (fate != SYNC_DO) return 0;
  sim_names_sync(directory_of(s, dir));
  sim_directories_sync(&s->disk, directory_of(s, dir)->path);
  return 0;
}

static int op_dir_list(io_env *io, int dir, int (*each)(void *, const char *),
                       void *context) {
  const struct sim_directory *d = directory_of(world(io), dir);
  int result = 0;
  for (size_t i = 0; !result && i < d->name_count; i++)
    if (sim_name_live(&d->names[i]) != SIM_NO_FILE)
      result = each(context, d->names[i].text);
  return result;
}

static int op_dir_fs(io_env *io, int dir, struct io_fs *fs) {
  (void)io;
  (void)dir;
  *fs = (struct io_fs){false, false, false, false, false};
  return 0;
}

/* ---- files ---- */

static int file_create(struct sim *s, struct sim_directory *d, const char *name,
                       bool scratch) {
  bool held[SIM_FILES_MAX] = {false};
  event(s, "io/file_create");
  if (s->shut_down) return -EIO;
  for (int h = 0; h < s->handle_count; h++)
    if (s->handles[h].used && s->handles[h].kind == FILE_HANDLE)
      held[s->handles[h].index] = true;
  int file = sim_file_new(&s->disk, held, SIM_FILES_MAX);
  if (file < 0) return file;
  int result = sim_name_set(d, name, file);
  if (!result && scratch) sim_name_settle(d, name);
  s->disk.files[file].scratch = scratch;
  return result ? result : handle_new(s, FILE_HANDLE, file);
}

static int op_file_open(io_env *io, int dir, const char *name, int flags,
                        uint32_t mode) {
  struct sim *s = world(io);
  struct sim_directory *d = directory_of(s, dir);
  (void)mode;
  int file = sim_name_find(d, name);
  if (flags & IO_CREATE)
    return file >= 0 ? -EEXIST
                     : file_create(s, d, name, (flags & IO_SCRATCH) != 0);
  if (file < 0) return file;
  s->disk.files[file].late_error = false; /* told to older descriptors only */
  return handle_new(s, FILE_HANDLE, file);
}

static int op_close(io_env *io, int handle) {
  struct sim *s = world(io);
  struct sim_handle *h = &s->handles[handle];
  if (h->kind == FILE_HANDLE && s->disk.files[h->index].locked_by == handle + 1)
    s->disk.files[h->index].locked_by = 0;
  h->used = false;
  return 0;
}

static int op_file_size(io_env *io, int file, uint64_t *bytes) {
  *bytes = file_of(world(io), file)->size;
  return 0;
}

/* With interrupts on, every second transfer does nothing, and the others do a
 * part, down to a single byte. */
static int interrupt(struct sim *s, size_t *size) {
  if (!s->interrupts) return 0;
  if (s->transfers++ % 2 == 0) return -EINTR;
  *size = *size / 2 + (*size & 1);
  return 0;
}

static int op_file_allocate(io_env *io, int file, uint64_t bytes) {
  struct sim *s = world(io);
  size_t all = 1;
  event(s, "io/file_allocate");
  int result = s->shut_down ? -EIO : interrupt(s, &all);
  return result ? result : sim_file_resize(&s->disk, file_of(s, file), bytes);
}

static int64_t op_file_read(io_env *io, int file, void *buffer, size_t size,
                            uint64_t position) {
  const struct sim_file *f = file_of(world(io), file);
  if (position >= f->size) return 0;
  size = (size_t)min_u64(size, f->size - position);
  int result = interrupt(world(io), &size);
  if (result) return result;
  memcpy(buffer, f->cache + position, size);
  return (int64_t)size;
}

static int64_t op_file_write(io_env *io, int file, const void *bytes,
                             size_t size, uint64_t position) {
  struct sim *s = world(io);
  struct sim_file *f = file_of(s, file);
  event(s, "io/file_write");
  int result = s->shut_down ? -EIO : interrupt(s, &size);
  if (!result) result = sim_file_resize(&s->disk, f, position + size);
  if (result) return result;
  sim_file_write(f, bytes, size, position);
  return (int64_t)size;
}

/* Assumption 6 off: each write of a changed sector takes new space. */
static bool out_of_blocks(const struct sim *s, const struct sim_file *f) {
  return s->disk.broken[SIM_BLOCKS_STAY] && s->disk.room &&
         sim_disk_room_used(&s->disk) + sim_file_unsynced(f) > s->disk.room;
}

static int op_file_sync(io_env *io, int file, const struct io_part *part,
                        enum io_sync_reason why) {
  struct sim *s = world(io);
  enum sync_fate fate = sync_fate(s, why);
  struct sim_file *f = file_of(s, file);
  if (fate == SYNC_SKIP) return 0;
  if (out_of_blocks(s, f) || f->late_error) fate = SYNC_FAIL;
  if (fate == SYNC_FAIL) return sim_file_sync_fails(&s->disk, f);
  if (part)
    sim_file_sync_part(f, part->from, part->to);
  else
    sim_file_sync(&s->disk, f);
  return 0;
}

static int op_file_data(io_env *io, int file, uint64_t *position,
                        uint64_t *end) {
  const struct sim_file *f = file_of(world(io), file);
  uint64_t at = *position / SIM_SECTOR;
  static const uint8_t zeros[SIM_SECTOR];
  while (at * SIM_SECTOR < f->size &&
         memcmp(f->cache + at * SIM_SECTOR, zeros, SIM_SECTOR) == 0)
    at++;
  if (at * SIM_SECTOR >= f->size) return -ENXIO;
  *position = max_u64(*position, at * SIM_SECTOR);
  while (at * SIM_SECTOR < f->size &&
         memcmp(f->cache + at * SIM_SECTOR, zeros, SIM_SECTOR) != 0)
    at++;
  *end = min_u64(at * SIM_SECTOR, f->size);
  return 0;
}

static int op_rename(io_env *io, int dir, const char *from, const char *to) {
  struct sim *s = world(io);
  struct sim_directory *d = directory_of(s, dir);
  event(s, "io/rename");
  int file = sim_name_find(d, from);
  if (file < 0 || s->shut_down) return file < 0 ? file : -EIO;
  if (s->disk.broken[SIM_RENAME_IS_ATOMIC]) sim_name_set(d, to, SIM_NO_FILE);
  int result = sim_name_set(d, to, file);
  return result ? result : sim_name_set(d, from, SIM_NO_FILE);
}

static int op_unlink(io_env *io, int dir, const char *name) {
  struct sim *s = world(io);
  struct sim_directory *d = directory_of(s, dir);
  int file = sim_name_find(d, name);
  if (file < 0) return file;
  event(s, "io/unlink");
  int result = s->shut_down ? -EIO : sim_name_set(d, name, SIM_NO_FILE);
  if (!result && s->disk.files[file].scratch) sim_name_settle(d, name);
  return result;
}

static int op_lock(io_env *io, int dir, const char *name, uint32_t mode) {
  int file = op_file_open(io, dir, name, IO_WRITE, 0);
  if (file == -ENOENT && mode)
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
  if (bytes > f->size) return -EINVAL;
  f->maps++;
  if (writable) sim_file_map_writable(f);
  *address = f->cache;
  return 0;
}

static struct sim_file *mapped_file(struct sim *s, const void *address) {
  for (int i = 0; i < s->disk.file_count; i++)
    if (s->disk.files[i].maps && s->disk.files[i].cache == address)
      return &s->disk.files[i];
  return NULL;
}

static int op_unmap(io_env *io, void *address, uint64_t bytes) {
  struct sim_file *f = mapped_file(world(io), address);
  (void)bytes;
  if (f && --f->maps == 0) sim_file_unmap_writable(f);
  return 0;
}

static int op_hint(io_env *io, void *address, uint64_t bytes) {
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

static int op_event_open(io_env *io, bool timed) {
  (void)timed;
  return handle_new(world(io), EVENT_HANDLE, 0);
}

static void op_event_set(io_env *io, int event, bool timed, uint64_t deadline) {
  struct sim_handle *h = &world(io)->handles[event];
  if (!h->used || h->kind != EVENT_HANDLE) abort();
  if (!timed && deadline != 0 && deadline != NONE) abort();
  h->readable_at = deadline;
}

static int op_thread_start(io_env *io, void (*body)(void *), void *context,
                           void **thread) {
  (void)io;
  (void)body;
  (void)context;
  (void)thread;
  return -ENOSYS;
}

static uint64_t op_thread_self(io_env *io) {
  (void)io;
  return 1;
}

static uint32_t op_processor(io_env *io) {
  (void)io;
  return 0;
}

static const _Atomic uint32_t *op_owner_word(io_env *io) {
  (void)io;
  return &owner;
}

/* No more stores go into it, unless it is mapped elsewhere as well. */
static int op_map_read_only(io_env *io, void *address, uint64_t bytes) {
  struct sim_file *f = mapped_file(world(io), address);
  (void)bytes;
  if (f && f->maps == 1) sim_file_unmap_writable(f);
  return 0;
}

/* Memory is always there. */
static int op_access(io_env *io, const struct io_range *ranges, size_t count,
                     void (*body)(void *), void *context, const void **at) {
  (void)io;
  (void)ranges;
  (void)count;
  (void)at;
  body(context);
  return 0;
}

static const struct duralog_environment operations = {
    .dir_make = op_dir_make,
    .dir_remove = op_dir_remove,
    .dir_open = op_dir_open,
    .dir_make_in = op_dir_make_in,
    .dir_open_in = op_dir_open_in,
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
    .map_scattered = op_hint,
    .populate = op_populate,
    .depopulate = op_hint,
    .access = op_access,
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
    .wait_shared = op_wait,
    .wake_shared = op_wake,
    .fence_shared = op_fence_all,
    .fence_join = op_fence_all,
    .event_open = op_event_open,
    .event_set = op_event_set,
    .thread_start = op_thread_start,
    .thread_self = op_thread_self,
    .processor = op_processor,
    .owner_word = op_owner_word,
    .step = op_step,
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
  s->disk.room_error = ENOSPC;
  return s;
}

static void drop_process(struct sim *s) {
  while (s->allocations)
    op_free(&s->environment, (uint8_t *)s->allocations + CACHE_LINE);
  memset(s->handles, 0, (size_t)s->handle_count * sizeof *s->handles);
  s->handle_count = 0;
  for (int i = 0; i < s->disk.file_count; i++) {
    s->disk.files[i].maps = 0;
    sim_lock_end(&s->disk, &s->disk.files[i]);
  }
  s->cut_at = s->fail_sync = s->fail_alloc = 0;
  s->fail_sync_ever = false;
}

void sim_free(struct sim *s) {
  drop_process(s);
  sim_disk_free(&s->disk);
  free(s);
}

io_env *sim_environment(struct sim *s) { return &s->environment; }

void sim_on_event(struct sim *s, sim_hook *hook, void *context) {
  s->hook = hook;
  s->hook_context = context;
}
uint64_t sim_events(const struct sim *s) { return s->events; }
void sim_cut_at(struct sim *s, uint64_t k) {
  s->cut_at = k ? s->events + k : 0;
}
jmp_buf *sim_cut_point(struct sim *s) { return &s->cut_point; }

static void reboot(struct sim *s) {
  s->boot_id[0]++;
  s->shut_down = false;
}

void sim_restart(struct sim *s, uint64_t seed) {
  struct sim_unit *units = malloc(SIM_UNITS_MAX * sizeof *units);
  uint32_t *options = malloc(SIM_UNITS_MAX * sizeof *options);
  struct sim_disk *left = calloc(1, sizeof *left);
  if (!units || !options || !left) abort();
  size_t count = sim_units(s, units);
  for (size_t i = 0; i < count; i++)
    options[i] = seed ? sim_unit_random(&units[i], mix(&seed)) : 0;
  sim_disk_survivor(&s->disk, units, options, count, left);
  drop_process(s);
  sim_disk_free(&s->disk);
  s->disk = *left;
  reboot(s);
  free(left);
  free(options);
  free(units);
}

/* Assumption 5 off: what was stored into mappings dies with the process. */
static void lose_stores(struct sim_disk *disk) {
  for (int i = 0; i < disk->file_count; i++) {
    struct sim_file *f = &disk->files[i];
    if (f->seen) memcpy(f->cache, f->disk, f->capacity);
  }
}

void sim_kill(struct sim *s) {
  sim_disk_look(&s->disk);
  if (s->disk.broken[SIM_STORES_OUTLIVE]) lose_stores(&s->disk);
  sim_disk_look(&s->disk);
  drop_process(s);
}

size_t sim_units(struct sim *s, struct sim_unit units[SIM_UNITS_MAX]) {
  sim_disk_look(&s->disk);
  return sim_disk_units(&s->disk, units);
}

static void become(const struct sim *from, struct sim *into) {
  into->now = from->now;
  into->wall_ms = from->wall_ms;
  into->random = from->random;
  into->events = 0;
  into->shut_down = from->shut_down;
  into->interrupts = from->interrupts;
  into->transfers = 0;
  memcpy(into->boot_id, from->boot_id, sizeof into->boot_id);
  memcpy(into->skip, from->skip, sizeof into->skip);
}

void sim_survivor(const struct sim *from, const struct sim_unit *units,
                  const uint32_t *options, size_t count, struct sim *into) {
  drop_process(into);
  sim_disk_survivor(&from->disk, units, options, count, &into->disk);
  become(from, into);
  reboot(into);
}

void sim_killed(const struct sim *from, struct sim *into) {
  drop_process(into);
  sim_disk_copy(&from->disk, &into->disk);
  become(from, into);
}

/* ---- the rules ---- */

void sim_break(struct sim *s, enum sim_assumption a) {
  s->disk.broken[a] = true;
}
void sim_set_fs(struct sim *s, enum sim_fs fs) { s->disk.fs = fs; }
void sim_set_interrupts(struct sim *s, bool on) { s->interrupts = on; }
void sim_set_blind(struct sim *s, bool on) { s->blind = on; }

void sim_advance(struct sim *s, uint64_t ns) {
  s->now += ns;
  s->wall_ms += (int64_t)(ns / NS_PER_MS);
}
void sim_set_wall(struct sim *s, int64_t ms) { s->wall_ms = ms; }
uint64_t sim_now(const struct sim *s) { return s->now; }
void sim_fail_sync(struct sim *s, uint64_t k, bool ever) {
  s->fail_sync = k;
  s->fail_sync_ever = ever;
}
void sim_set_room(struct sim *s, uint64_t bytes) {
  s->disk.room = bytes;
  s->disk.room_error = ENOSPC;
}
void sim_set_quota(struct sim *s, uint64_t bytes) {
  s->disk.room = bytes;
  s->disk.room_error = EDQUOT;
}
uint64_t sim_room_used(const struct sim *s) {
  return sim_disk_room_used(&s->disk);
}
void sim_fail_alloc(struct sim *s, uint64_t k) { s->fail_alloc = k; }
void sim_skip_sync(struct sim *s, enum io_sync_reason why) {
  s->skip[why] = true;
}

/* ---- looking at it ---- */

bool sim_is_shut_down(const struct sim *s) { return s->shut_down; }

uint64_t sim_sync_count(const struct sim *s, enum io_sync_reason why) {
  return s->sync_count[why];
}

size_t sim_open_handles(const struct sim *s) {
  size_t n = 0;
  for (int i = 0; i < s->handle_count; i++) n += s->handles[i].used;
  return n;
}

uint64_t sim_event_at(const struct sim *s, int event) {
  return s->handles[event].readable_at;
}

bool sim_event_readable(const struct sim *s, int event) {
  return sim_event_at(s, event) <= s->now;
}

size_t sim_allocations(const struct sim *s) { return s->allocation_count; }
uint64_t sim_disk_checksum(const struct sim *s) {
  return sim_disk_checksum_durable(&s->disk);
}
uint64_t sim_seen_checksum(const struct sim *s) {
  return sim_disk_checksum_seen(&s->disk);
}
struct sim_disk *sim_disk_of(struct sim *s) {
  return &s->disk;
}

uint8_t *sim_file_bytes(struct sim *s, const char *directory, const char *name,
                        uint64_t *size) {
  int d = sim_directory_find(&s->disk, directory);
  if (d < 0) return NULL;
  int i = sim_name_find(&s->disk.directories[d], name);
  if (i < 0) return NULL;
  *size = s->disk.files[i].size;
  return s->disk.files[i].cache;
}
