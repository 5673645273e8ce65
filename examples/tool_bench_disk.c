/* SPDX-License-Identifier: MIT
 *
 * Where the benchmark works: a scratch directory in the given one, so that no
 * log that is there can be touched, and the counters of the disk under it.
 *
 * The directory's device number leads to /sys/dev/block and, for its names, to
 * /proc/self/mountinfo. A file system without a disk of its own (overlay,
 * tmpfs) has a number that is not there: then the kernel's account of this
 * process is taken, and where that cannot be read nothing is guessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tool_bench.h"

#define SECTOR_BYTES 512u /* in these counters, whatever the disk's own */
#define FREE_BYTES_MIN ((uint64_t)512 << 20)

static int complain(const char *doing, const char *path) {
  fprintf(stderr, "duralog: %s %s: %s\n", doing, path, strerror(errno));
  return errno == ENOSPC || errno == EDQUOT                    ? TOOL_FULL
         : errno == EACCES || errno == EPERM || errno == EROFS ? TOOL_DENIED
                                                               : TOOL_FAILED;
}

/* ---------------------------------------------------------- counters -- */

/* The device's file has the sectors written as its seventh number. */
static bool counter_read(const bench_place *place, uint64_t *bytes) {
  FILE *file = fopen(place->counter_path, "r");
  if (file == NULL) return false;
  bool good;
  if (place->counter == BENCH_DEVICE) {
    good = fscanf(file, "%*u %*u %*u %*u %*u %*u %" SCNu64, bytes) == 1;
    *bytes *= SECTOR_BYTES;
  } else {
    char line[128];
    good = false;
    while (!good && fgets(line, sizeof line, file) != NULL)
      good = sscanf(line, "write_bytes: %" SCNu64, bytes) == 1;
  }
  fclose(file);
  return good;
}

bool bench_written(const bench_place *place, uint64_t *bytes) {
  *bytes = 0;
  return place->counter != BENCH_UNKNOWN && counter_read(place, bytes);
}

static void find_counter(bench_place *place) {
  uint64_t bytes;
  if (strcmp(place->file_system, "tmpfs") == 0 ||
      strcmp(place->file_system, "ramfs") == 0)
    return; /* nothing is ever written */
  place->counter = BENCH_DEVICE;
  snprintf(place->counter_path, sizeof place->counter_path,
           "/sys/dev/block/%u:%u/stat", place->major, place->minor);
  if (counter_read(place, &bytes)) return;
  place->counter = BENCH_PROCESS;
  snprintf(place->counter_path, sizeof place->counter_path, "/proc/self/io");
  if (!counter_read(place, &bytes)) place->counter = BENCH_UNKNOWN;
}

/* "36 35 98:0 /root /mount options tags - type source options" */
static bool mount_names(bench_place *place, const char *line) {
  unsigned number[2];
  const char *rest = strstr(line, " - ");
  return rest != NULL &&
         sscanf(line, "%*u %*u %u:%u", &number[0], &number[1]) == 2 &&
         number[0] == place->major && number[1] == place->minor &&
         sscanf(rest, " - %63s %127s", place->file_system, place->device) == 2;
}

static void find_names(bench_place *place) {
  char *line = NULL;
  size_t room = 0;
  snprintf(place->file_system, sizeof place->file_system, "unknown");
  snprintf(place->device, sizeof place->device, "unknown");
  FILE *file = fopen("/proc/self/mountinfo", "r");
  if (file == NULL) return;
  while (getline(&line, &room, file) > 0 && !mount_names(place, line))
    ;
  free(line);
  fclose(file);
}

/* ----------------------------------------------------------- scratch -- */

/* A scratch directory inside of a log would make it look foreign. */
static bool is_log(const char *path) {
  duralog_options options = {.struct_size = sizeof options, .read_only = true};
  duralog *log;
  duralog_error error = duralog_open(path, &options, &log, NULL, NULL);
  if (error == DURALOG_OK) duralog_close(&log);
  return error == DURALOG_OK || error == DURALOG_E_CORRUPT ||
         error == DURALOG_E_NEWER;
}

static int check_space(const char *path) {
  struct statvfs fs;
  if (statvfs(path, &fs) != 0) return complain("examining", path);
  if ((uint64_t)fs.f_bavail * fs.f_frsize >= FREE_BYTES_MIN) return TOOL_OK;
  fprintf(stderr, "duralog: %s: bench wants %" PRIu64 " MiB free\n", path,
          FREE_BYTES_MIN >> 20);
  return TOOL_FULL;
}

int bench_place_open(bench_place *place, const char *path) {
  struct stat st;
  *place = (bench_place){.path = path};
  if (stat(path, &st) != 0) return complain("examining", path);
  if (!S_ISDIR(st.st_mode)) {
    errno = ENOTDIR;
    return complain("examining", path);
  }
  if (is_log(path))
    return tool_usage("bench", "%s is a log; name a directory beside it", path);
  int code = check_space(path);
  if (code != TOOL_OK) return code;
  place->major = major(st.st_dev);
  place->minor = minor(st.st_dev);
  find_names(place);
  find_counter(place);
  int size = snprintf(place->scratch, sizeof place->scratch - 64,
                      "%s/duralog-bench.XXXXXX", path);
  if ((size_t)size < sizeof place->scratch - 64 &&
      mkdtemp(place->scratch) != NULL)
    return TOOL_OK;
  if ((size_t)size >= sizeof place->scratch - 64) errno = ENAMETOOLONG;
  place->scratch[0] = '\0';
  return complain("making a directory in", path);
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

bool bench_remove(const char *path) {
  if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0) return true;
  complain("removing", path);
  return false;
}

void bench_place_close(bench_place *place) {
  if (place->scratch[0] != '\0') bench_remove(place->scratch);
}

/* --------------------------------------------------------- bare syncs -- */

enum { BLOCK_BYTES = 4096, BLOCKS = 2048 };

/* Write block after block, each with a sync, until the time is up or `max` are
 * written. */
static bool write_blocks(int descriptor, uint64_t end_ns, uint64_t max,
                         bench_times *times) {
  static char block[BLOCK_BYTES];
  uint64_t now = bench_now_ns();
  for (uint64_t i = 0; i < max && now < end_ns && bench_signal == 0; i++) {
    memset(block, (int)(i % 255) + 1, sizeof block);
    if (pwrite(descriptor, block, sizeof block, (off_t)(i * BLOCK_BYTES)) !=
            BLOCK_BYTES ||
        fdatasync(descriptor) != 0)
      return false;
    uint64_t after = bench_now_ns();
    bench_times_add(times, after - now);
    now = after;
  }
  return true;
}

/* The new blocks were allocated and synced, as a segment's are; so the first
 * write of each changes the file system's notes as well. The other half goes
 * over the blocks that the first one has written. */
static bool bare_syncs(const bench_place *place, int descriptor,
                       const bench_limits *limits, bench_bare *bares) {
  uint64_t max = limits->bytes / 2 / (3 * BLOCK_BYTES);
  if (max > BLOCKS) max = BLOCKS;
  uint64_t before, after;
  for (int i = 0; i < BENCH_BARES; i++) {
    uint64_t reused = bares[BENCH_NEW].times.count;
    bares[i].written_known = bench_written(place, &before);
    if (i == BENCH_OVER && max > reused) max = reused;
    uint64_t end_ns = bench_now_ns() + limits->time_ns / 2;
    if (!write_blocks(descriptor, end_ns, max, &bares[i].times)) return false;
    bares[i].written_known &= bench_written(place, &after);
    bares[i].written = after - before;
  }
  return true;
}

int bench_run_bare(const bench_place *place, const bench_limits *limits,
                   bench_bare bares[BENCH_BARES]) {
  char path[sizeof place->scratch];
  int code = TOOL_OK;
  bares[BENCH_NEW] = (bench_bare){.name = "into a new block"};
  bares[BENCH_OVER] = (bench_bare){.name = "over a written block"};
  snprintf(path, sizeof path, "%.4000s/bare", place->scratch);
  int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return complain("creating", path);
  errno = posix_fallocate(descriptor, 0, (off_t)BLOCKS * BLOCK_BYTES);
  if (errno != 0 || fsync(descriptor) != 0 ||
      !bare_syncs(place, descriptor, limits, bares))
    code = complain("writing", path);
  close(descriptor);
  return code;
}
