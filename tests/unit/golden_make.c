/* SPDX-License-Identifier: MIT
 *
 * Makes the golden files of this format version: `make golden`. Not run by
 * `make check`: golden files are made once a version and then kept.
 *
 *   golden_make DIRECTORY      one directory for each case, FILE.hex in it
 *
 * The library writes the logs, in an environment whose clock, boot id and
 * random numbers are fixed, so that they come out the same each time. The bad
 * ones are spoiled afterwards. What must come of each is in its file `expect`,
 * which is written by hand.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "duralog.h"
#include "format.h"
#include "golden.h"
#include "group_file.h"
#include "io.h"
#include "walk.h"

enum { SEGMENT_BYTES = SEGMENT_BYTES_MIN };

/* ---- a world that is the same every time ---- */

static uint64_t clock_ns;
static struct duralog_environment world;

static uint64_t fixed_now(io_env *io) {
  (void)io;
  return clock_ns;
}
static int64_t fixed_wall_ms(io_env *io) {
  (void)io;
  return INT64_C(1700000000000) + (int64_t)(clock_ns / NS_PER_MS);
}
static void fixed_boot_id(io_env *io, uint8_t id[16]) {
  (void)io;
  for (int i = 0; i < 16; i++) id[i] = (uint8_t)(0xB0 + i);
}
static int fixed_random(io_env *io, void *bytes, size_t size) {
  (void)io;
  for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)(0x11 * i);
  return 0;
}
static int any_file_system(io_env *io, int dir, struct io_fs *fs) {
  (void)io, (void)dir;
  *fs = (struct io_fs){.network = false};
  return 0;
}

static void world_make(void) {
  world = *io_posix();
  world.now = world.now_coarse = fixed_now;
  world.wall_ms = fixed_wall_ms;
  world.boot_id = fixed_boot_id;
  world.random = fixed_random;
  world.dir_fs = any_file_system;
}

/* ---- the log of the case being made ---- */

static const char *output; /* directory of all cases */
static const char *case_name;
static char place[] = "/tmp/duralog-golden-XXXXXX/log";
static duralog *log_open;

static void check(duralog_error error, const char *what) {
  if (error == DURALOG_OK) return;
  fprintf(stderr, "%s: %s: %s\n", case_name, what, duralog_error_text(error));
  exit(1);
}

enum mode { EACH, PAGECACHE, STRICT, ACCEPT };

static void begin(enum mode mode) {
  duralog_options o = {.struct_size = sizeof o,
                       .segment_bytes = SEGMENT_BYTES,
                       .record_bytes_max = SEGMENT_BYTES - 4352,
                       .host_driven = true,
                       .strict = mode == STRICT,
                       .accept_damage = mode == ACCEPT,
                       .durability.pagecache = mode == PAGECACHE,
                       .environment = &world};
  clock_ns += 1000 * NS_PER_MS;
  check(duralog_open(place, &o, &log_open, NULL, NULL), "open");
}

static void end(void) { check(duralog_close(&log_open), "close"); }
static void sync_all(void) { check(duralog_sync(log_open), "sync"); }
static void tick(void) { check(duralog_tick(log_open), "tick"); }

static void append(const char *data) {
  clock_ns += 5 * NS_PER_MS;
  check(duralog_append(log_open, data, strlen(data), NULL), "append");
}

/* `count` records of 3000 equal letters: four fill a segment. */
static void append_large(int count, char first) {
  char data[3000];
  for (int i = 0; i < count; i++) {
    memset(data, first + i, sizeof data);
    clock_ns += 5 * NS_PER_MS;
    check(duralog_append(log_open, data, sizeof data, NULL), "append");
  }
}

static void append_batch(const duralog_entry *entries, size_t count) {
  clock_ns += 5 * NS_PER_MS;
  check(duralog_append_batch(log_open, entries, count, DURALOG_LEVEL_DEFAULT,
                             NULL),
        "append a batch");
}

static void append_three(const char *a, const char *b, const char *c) {
  const duralog_entry entries[] = {{.data = a, .size = strlen(a)},
                                   {.data = b, .size = strlen(b)},
                                   {.data = c, .size = strlen(c)}};
  append_batch(entries, 3);
}

/* ---- files ---- */

static void path_of(char path[256], const char *name) {
  snprintf(path, 256, "%s/%s", place, name);
}

static void name_of(char path[256], uint64_t segment) {
  char name[NAME_BYTES];
  segment_name(name, segment);
  path_of(path, segment == META_NUMBER ? META_NAME : name);
}

static size_t read_file(const char *path, uint8_t **bytes) {
  FILE *in = fopen(path, "rb");
  golden_check(in != NULL, "cannot open", path);
  *bytes = calloc(1, GOLDEN_FILE_BYTES_MAX);
  golden_check(*bytes != NULL, "no memory", path);
  size_t size = fread(*bytes, 1, GOLDEN_FILE_BYTES_MAX, in);
  fclose(in);
  return size;
}

static void patch(uint64_t segment, uint64_t at, const void *bytes,
                  size_t size) {
  char path[256];
  name_of(path, segment);
  FILE *out = fopen(path, "r+b");
  golden_check(out != NULL && fseek(out, (long)at, SEEK_SET) == 0 &&
                   fwrite(bytes, 1, size, out) == size && fclose(out) == 0,
               "cannot patch", path);
}

static void erase(uint64_t segment, uint64_t from, uint64_t to) {
  static const uint8_t zeros[SEGMENT_BYTES];
  patch(segment, from, zeros, to - from);
}

static void flip(uint64_t segment, uint64_t at) {
  char path[256];
  uint8_t *bytes;
  name_of(path, segment);
  size_t size = read_file(path, &bytes);
  if (at >= size) exit(1);
  bytes[at] ^= 0x10;
  patch(segment, at, &bytes[at], 1);
  free(bytes);
}

static void lose(uint64_t segment) {
  char path[256];
  name_of(path, segment);
  golden_check(unlink(path) == 0, "cannot remove", path);
}

/* A walk of the segment that stands at the record with the offset, or at its
 * end; and the position of the last frame before. */
static struct walk find(uint64_t segment, uint64_t offset) {
  char path[256];
  uint8_t *bytes;
  struct identity id;
  struct start s;
  struct walk w;
  struct frame f;
  name_of(path, segment);
  size_t size = read_file(path, &bytes);
  identity_decode(&id, bytes);
  if (start_decode(&s, bytes, id.uuid, segment) != BLOCK_VALID) exit(1);
  walk_begin(&w, id.uuid, segment, size, &s);
  for (;;) {
    const uint8_t *at = bytes + w.position;
    if (walk_header(&w, at, &f) != WALK_OK) break;
    if (w.offset == offset && frame_type(&f) == FRAME_RECORD) break;
    walk_accept(&w, id.uuid, &f, at + FRAME_HEADER_BYTES);
  }
  free(bytes);
  return w;
}

static uint64_t position(uint64_t segment, uint64_t offset) {
  return find(segment, offset).position;
}

/* A frame of any flags behind the segment's last one. */
static void add_frame(uint64_t segment, uint16_t flags, const char *body) {
  struct walk w = find(segment, NONE);
  uint8_t bytes[64] = {0};
  struct frame f = {.body_bytes = (uint32_t)strlen(body),
                    .body_check = frame_body_check(NULL, 0, body, strlen(body)),
                    .index = (uint32_t)(w.offset - w.base),
                    .flags = flags,
                    .lag = FRAME_LAG_UNKNOWN};
  memcpy(bytes + FRAME_HEADER_BYTES, body, strlen(body));
  frame_encode(bytes, &f, w.seed, w.position);
  patch(segment, w.position, bytes, frame_bytes(f.body_bytes));
}

static void change_meta(void (*change)(struct meta *)) {
  char path[256];
  uint8_t *bytes;
  struct meta m;
  name_of(path, META_NUMBER);
  read_file(path, &bytes);
  meta_decode(&m, bytes);
  change(&m);
  meta_encode(bytes, &m);
  patch(META_NUMBER, 0, bytes, META_BYTES);
  free(bytes);
}

static void change_identity(uint64_t segment,
                            void (*change)(struct identity *)) {
  char path[256];
  uint8_t *bytes;
  struct identity id;
  name_of(path, segment);
  read_file(path, &bytes);
  identity_decode(&id, bytes);
  change(&id);
  identity_encode(bytes, &id);
  patch(segment, IDENTITY_AT, bytes + IDENTITY_AT, SECTOR_BYTES);
  free(bytes);
}

#include "golden_cases.h"

/* ---- all of them ---- */

static void each_file(const char *directory,
                      void (*act)(const char *path, const char *name)) {
  char path[600];
  DIR *dir = opendir(directory);
  golden_check(dir != NULL, "cannot list", directory);
  for (struct dirent *e; (e = readdir(dir));) {
    if (e->d_name[0] == '.' || e->d_type == DT_DIR) continue;
    snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
    act(path, e->d_name);
  }
  closedir(dir);
}

static void remove_hex(const char *path, const char *name) {
  size_t length = strlen(name);
  if (length > 4 && strcmp(name + length - 4, ".hex") == 0) unlink(path);
}

static void remove_any(const char *path, const char *name) {
  (void)name;
  unlink(path);
}

static void store_below(const char *below, const char *path, const char *name) {
  char hex[800];
  uint8_t *bytes;
  size_t size = read_file(path, &bytes);
  snprintf(hex, sizeof hex, "%s/%s%s/%s.hex", output, case_name, below, name);
  golden_store(hex, bytes, size);
  free(bytes);
}

/* The control file is for the processes that live now, and no part of the
 * format. */
static void store_hex(const char *path, const char *name) {
  if (strcmp(name, "control") != 0) store_below("", path, name);
}

static void store_group(const char *path, const char *name) {
  store_below("/" GROUPS_NAME, path, name);
}

/* The groups of the log, where it has any. */
static void make_groups(const char *directory) {
  char from[256], to[300];
  path_of(from, GROUPS_NAME);
  if (access(from, F_OK) != 0) return;
  snprintf(to, sizeof to, "%s/" GROUPS_NAME, directory);
  golden_check(mkdir(to, 0777) == 0 || errno == EEXIST, "cannot make", to);
  each_file(to, remove_hex);
  each_file(from, store_group);
  each_file(from, remove_any);
  rmdir(from);
}

static void make_case(const struct golden_case *c) {
  char directory[256];
  case_name = c->name;
  clock_ns = 0;
  snprintf(directory, sizeof directory, "%s/%s", output, c->name);
  golden_check(mkdir(directory, 0777) == 0 || errno == EEXIST, "cannot make",
               directory);
  each_file(directory, remove_hex);
  c->make();
  if (!log_open) {
    each_file(place, store_hex);
  } else { /* as a killed writer leaves it: its stores are in the files */
    each_file(place, store_hex);
    check(duralog_close(&log_open), "close");
  }
  make_groups(directory);
  each_file(place, remove_any);
  rmdir(place);
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: golden_make DIRECTORY\n"), 2;
  output = argv[1];
  char *slash = strrchr(place, '/');
  *slash = 0;
  golden_check(mkdtemp(place) != NULL, "cannot make", place);
  *slash = '/';
  world_make();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    make_case(&cases[i]);
  *slash = 0;
  rmdir(place);
  printf("%zu cases in %s\n", sizeof cases / sizeof *cases, output);
  return 0;
}
