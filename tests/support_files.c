/* SPDX-License-Identifier: MIT
 *
 * Files and directories. See support.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>
#if defined(__clang__)
#pragma clang diagnostic pop
#else
#pragma GCC diagnostic pop
#endif

/* ---- names ---- */

struct kept_path {
  struct kept_path *next;
  char text[];
};

static struct kept_path *kept_paths;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

const char *path_join(const char *directory, const char *name) {
  size_t size = strlen(directory) + strlen(name) + 2;
  struct kept_path *path = malloc(sizeof *path + size);
  CHECK(path != NULL);
  snprintf(path->text, size, "%s/%s", directory, name);
  pthread_mutex_lock(&kept_lock);
  path->next = kept_paths;
  kept_paths = path;
  pthread_mutex_unlock(&kept_lock);
  return path->text;
}

void paths_forget(void) {
  while (kept_paths) {
    struct kept_path *path = kept_paths;
    kept_paths = path->next;
    free(path);
  }
}

const char *path_in(const struct test_place *at, const char *name) {
  return path_join(at->root, name);
}

const char *segment_path(const char *log, uint64_t number) {
  char name[32];
  snprintf(name, sizeof name, "%020llu.seg", (unsigned long long)number);
  return path_join(log, name);
}

/* ---- directories ---- */

void directory_make(const char *path) { CHECK_CALL(mkdir(path, 0755)); }

static int remove_one(const char *path, const struct stat *s, int kind,
                      struct FTW *where) {
  (void)s, (void)kind, (void)where;
  (void)remove(path);
  return 0;
}

void directory_remove(const char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void each_name(const char *path,
                      void (*each)(const char *name, void *context),
                      void *context) {
  DIR *stream = opendir(path);
  if (!stream)
    test_failed(__FILE__, __LINE__, "cannot list %s: %s", path,
                strerror(errno));
  for (struct dirent *entry; (entry = readdir(stream));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      each(entry->d_name, context);
  closedir(stream);
}

struct copying {
  const char *from, *to;
};

static void copy_one(const char *name, void *context) {
  const struct copying *c = context;
  char from[512], to[512];
  snprintf(from, sizeof from, "%s/%s", c->from, name);
  snprintf(to, sizeof to, "%s/%s", c->to, name);
  file_copy(from, to);
}

void directory_copy(const char *from, const char *to) {
  struct copying c = {from, to};
  directory_remove(to);
  directory_make(to);
  each_name(from, copy_one, &c);
}

struct counting {
  const char *end;
  uint64_t count;
};

static void count_one(const char *name, void *context) {
  struct counting *c = context;
  size_t length = strlen(name), wanted = strlen(c->end);
  if (length >= wanted && strcmp(name + length - wanted, c->end) == 0)
    c->count++;
}

uint64_t directory_count(const char *path, const char *name_end) {
  struct counting c = {name_end, 0};
  each_name(path, count_one, &c);
  return c.count;
}

/* ---- bytes ---- */

static int file_at(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd < 0)
    test_failed(__FILE__, __LINE__, "cannot open %s: %s", path,
                strerror(errno));
  return fd;
}

bool file_exists(const char *path) {
  struct stat s;
  return lstat(path, &s) == 0;
}

uint64_t file_bytes(const char *path) {
  struct stat s;
  if (stat(path, &s) < 0)
    test_failed(__FILE__, __LINE__, "cannot look at %s: %s", path,
                strerror(errno));
  return (uint64_t)s.st_size;
}

uint8_t *file_load(const char *path, size_t *size) {
  *size = (size_t)file_bytes(path);
  uint8_t *bytes = malloc(*size + 1);
  CHECK(bytes != NULL);
  file_read_at(path, 0, bytes, *size);
  return bytes;
}

void file_store(const char *path, const void *bytes, size_t size) {
  int fd = file_at(path, O_WRONLY | O_CREAT | O_TRUNC);
  CHECK_EQUAL(pwrite(fd, bytes, size, 0), size);
  close(fd);
}

void file_read_at(const char *path, uint64_t position, void *bytes,
                  size_t size) {
  int fd = file_at(path, O_RDONLY);
  CHECK_EQUAL(pread(fd, bytes, size, (off_t)position), size);
  close(fd);
}

void file_write_at(const char *path, uint64_t position, const void *bytes,
                   size_t size) {
  int fd = file_at(path, O_WRONLY);
  CHECK_EQUAL(pwrite(fd, bytes, size, (off_t)position), size);
  close(fd);
}

void file_zero(const char *path, uint64_t position, uint64_t size) {
  void *zeros = calloc(1, (size_t)size);
  CHECK(zeros != NULL);
  file_write_at(path, position, zeros, (size_t)size);
  free(zeros);
}

void file_flip(const char *path, uint64_t position) {
  uint8_t byte;
  file_read_at(path, position, &byte, 1);
  byte ^= 0xFE;
  file_write_at(path, position, &byte, 1);
}

void file_cut(const char *path, uint64_t size) {
  CHECK_CALL(truncate(path, (off_t)size));
}

void file_copy(const char *from, const char *to) {
  size_t size;
  uint8_t *bytes = file_load(from, &size);
  file_store(to, bytes, size);
  free(bytes);
}

void file_swap(const char *a, const char *b) {
  CHECK_CALL(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
}

uint64_t file_find(const char *path, uint64_t from, const void *bytes,
                   size_t size) {
  size_t total;
  uint8_t *all = file_load(path, &total);
  uint8_t *found =
      from < total ? memmem(all + from, total - from, bytes, size) : NULL;
  uint64_t position = found ? (uint64_t)(found - all) : UINT64_MAX;
  free(all);
  return position;
}

/* ---- checksums ---- */

struct digest {
  uint64_t sum;
  bool with_times;
};

static struct digest digest; /* nftw has no context */

static int digest_one(const char *path, const struct stat *s, int kind,
                      struct FTW *where) {
  (void)kind, (void)where;
  uint64_t fields[6] = {
      XXH3_64bits(path, strlen(path)), s->st_mode, s->st_uid, 0, 0, 0};
  if (!S_ISDIR(s->st_mode)) fields[3] = (uint64_t)s->st_size;
  if (digest.with_times)
    fields[4] = (uint64_t)s->st_mtim.tv_sec * 1000000000u +
                (uint64_t)s->st_mtim.tv_nsec;
  if (S_ISREG(s->st_mode)) {
    size_t size;
    uint8_t *bytes = file_load(path, &size);
    fields[5] = XXH3_64bits(bytes, size);
    free(bytes);
  }
  digest.sum += XXH3_64bits(fields, sizeof fields); /* in any order */
  return 0;
}

uint64_t tree_digest(const char *path, bool with_times) {
  digest = (struct digest){0, with_times};
  nftw(path, digest_one, 16, FTW_PHYS);
  return digest.sum;
}

uint64_t bytes_hash(const void *bytes, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, size, seed);
}

void block_sign(const char *path, uint64_t position, size_t field_bytes) {
  enum { FIELDS_AT = 16, BLOCK_BYTES = 512 };
  uint8_t block[BLOCK_BYTES];
  uint64_t magic;
  file_read_at(path, position, block, sizeof block);
  memcpy(&magic, block, sizeof magic);
  uint64_t check = XXH3_64bits_withSeed(block + FIELDS_AT, field_bytes, magic);
  file_write_at(path, position + sizeof magic, &check, sizeof check);
}

/* ---- what this process has open ---- */

struct open_below {
  const char *path;
  unsigned all, below;
};

static void look_at_descriptor(const char *name, void *context) {
  struct open_below *o = context;
  char path[300], target[512];
  snprintf(path, sizeof path, "/proc/self/fd/%s", name);
  ssize_t n = readlink(path, target, sizeof target - 1);
  if (n < 0) return;
  target[n] = 0;
  o->all++;
  if (o->path && strncmp(target, o->path, strlen(o->path)) == 0) o->below++;
}

unsigned descriptor_count(void) {
  struct open_below o = {NULL, 0, 0};
  each_name("/proc/self/fd", look_at_descriptor, &o);
  return o.all;
}

bool is_open_below(const char *path) {
  struct open_below o = {path, 0, 0};
  each_name("/proc/self/fd", look_at_descriptor, &o);
  return o.below > 0;
}

bool is_mapped_below(const char *path) {
  char line[1024];
  bool found = false;
  FILE *maps = fopen("/proc/self/maps", "re");
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps))
    if (strstr(line, path)) found = true;
  fclose(maps);
  return found;
}
