/* SPDX-License-Identifier: MIT
 *
 * demo [DIR] [--] [FILE...]: what "make demo" runs. In each durability mode
 * real lines are appended by a process that is killed half-way; a table tells
 * what came back. Exit code 0 only if everything promised was there.
 *
 * DIR is where the logs go, and stay; without it they go to a temporary
 * directory and are removed. FILEs are the input where the machine has no
 * package log.
 */
#include "demo.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const demo_mode modes[] = {
    {"every record (default)", "loses nothing", {0}},
    {"every 100 records",
     "loses at most the last 99",
     {.sync_every_records = 100}},
    {"every 64 KiB",
     "loses less than the last 64 KiB",
     {.sync_every_bytes = 64 << 10}},
    {"every 20 ms",
     "loses at most 20 ms and two syncs",
     {.sync_interval_ms = 20}},
    {"pagecache", "keeps what the kernel had written", {.pagecache = true}},
    {"1000 records or 50 ms",
     "loses the smaller of the two",
     {.sync_every_records = 1000, .sync_interval_ms = 50}},
};

#define MODES (sizeof modes / sizeof modes[0])

/* -------------------------------------------------------------- input -- */

static bool try_input(demo_lines *lines, const char *path) {
  if (!demo_lines_load(lines, path) || lines->count == 0) return false;
  printf("Input: %s", path);
  return true;
}

static bool load_files(demo_lines *lines, char **files, int count) {
  for (int i = 0; i < count; i++)
    if (!demo_lines_load(lines, files[i])) {
      fprintf(stderr, "demo: %s: %s\n", files[i], strerror(errno));
      return false;
    }
  if (lines->count == 0) return false;
  printf("Input: %d files from %s on", count, files[0]);
  return true;
}

static bool load_input(demo_lines *lines, char **files, int count) {
  if (!try_input(lines, "/var/log/dpkg.log") &&
      !try_input(lines, "/var/lib/dpkg/status") &&
      !load_files(lines, files, count)) {
    fputs("demo: no package log on this machine, and no FILE with lines\n",
          stderr);
    return false;
  }
  if (lines->seen > lines->count)
    printf(", the first %zu of %" PRIu64 " lines\n", lines->count, lines->seen);
  else
    printf(", %zu lines\n", lines->count);
  return true;
}

/* ---------------------------------------------------------- directory -- */

typedef struct place {
  char path[PATH_MAX];
  bool temporary;
} place;

static bool place_temporary(place *p) {
  const char *parent = getenv("TMPDIR");
  if (parent == NULL || parent[0] == '\0') parent = "/var/tmp";
  int size =
      snprintf(p->path, sizeof p->path, "%s/duralog-demo-XXXXXX", parent);
  p->temporary = true;
  return size > 0 && (size_t)size < sizeof p->path && mkdtemp(p->path) != NULL;
}

static bool place_given(place *p, const char *path) {
  char lines[PATH_MAX];
  int size = snprintf(p->path, sizeof p->path, "%s", path);
  int with_file = snprintf(lines, sizeof lines, "%s/lines", path);
  if (size < 0 || with_file < 0 || (size_t)with_file >= sizeof lines)
    return false;
  if (mkdir(path, 0700) == 0) return true;
  /* An earlier demo's logs are not ours to go on with. */
  return errno == EEXIST && access(lines, F_OK) != 0;
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *ftw) {
  (void)status, (void)type, (void)ftw;
  return remove(path);
}

/* After a failure everything is kept for a look at it. */
static void place_leave(const place *p, bool good) {
  if (!p->temporary || !good)
    printf("The logs are in %s\n", p->path);
  else if (nftw(p->path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
    fprintf(stderr, "demo: %s could not be removed: %s\n", p->path,
            strerror(errno));
}

/* -------------------------------------------------------------- table -- */

static void print_explanation(void) {
  puts(
      "\n"
      "Each line becomes a record, appended by 8 threads of one process. When\n"
      "half of the appends have returned, the process is killed with SIGKILL.\n"
      "The log is reopened and each record compared with its line; then the\n"
      "missing lines are appended and all is compared again.\n"
      "\n"
      "  appended   appends that had returned when the process was killed\n"
      "  durable    of these, reported by then to survive a power cut\n"
      "  recovered  records after reopening; those beyond \"appended\" were\n"
      "             there, but their appends had not returned yet\n"
      "  recovery   time to reopen the log\n");
}

static void print_head(void) {
  printf("%-22s %8s %8s %9s %11s  %-13s  %-33s  %s\n", "mode", "appended",
         "durable", "recovered", "recovery", "after a kill",
         "after a power cut", "verdict");
}

static void print_row(const demo_mode *mode, const demo_row *row) {
  bool good = row->problem[0] == '\0';
  printf("%-22s %8" PRIu64 " %8" PRIu64 " %9" PRIu64
         " %8.2f ms  %-13s  %-33s  %s\n",
         mode->name, row->returned, row->durable, row->recovered,
         row->recovery_ms, "loses nothing", mode->power_cut,
         good ? "all there" : "FAILED");
  if (!good) printf("  %s\n", row->problem);
}

static void print_file_system(const duralog_report *report) {
  if (report->fs_memory)
    puts("These logs are on a file system in memory: no power cut leaves any.");
  if (report->fs_overlay || report->fs_fuse)
    puts("These logs are on overlay or FUSE: as durable as what is below it.");
}

static bool kill_table(const char *self, const char *directory,
                       const demo_lines *lines) {
  bool all_good = true;
  demo_row row = {0};
  if (!demo_kill_save_input(directory, lines)) {
    fprintf(stderr, "demo: %s: %s\n", directory, strerror(errno));
    return false;
  }
  print_explanation();
  print_head();
  for (size_t i = 0; i < MODES; i++) {
    fflush(stdout);
    if (!demo_kill(self, directory, &modes[i], i, lines, &row))
      all_good = false;
    print_row(&modes[i], &row);
  }
  print_file_system(&row.report);
  return all_good;
}

/* --------------------------------------------------------------- main -- */

static double seconds(void) {
  struct timespec now = {0};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool demo(const char *self, const char *directory,
                 const demo_lines *lines) {
  double begin = seconds();
  bool good = kill_table(self, directory, lines);
  printf("\n%s in %.1f s.\n", good ? "Everything promised was there" : "FAILED",
         seconds() - begin);
  return good;
}

static bool own_path(char out[PATH_MAX]) {
  ssize_t size = readlink("/proc/self/exe", out, PATH_MAX - 1);
  if (size <= 0) return false;
  out[size] = '\0';
  return true;
}

static int writer(char **arguments) {
  size_t index = (size_t)strtoul(arguments[1], NULL, 10);
  return index < MODES ? demo_kill_writer(arguments[0], &modes[index], index)
                       : 2;
}

static bool is_file(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static int run(const char *directory, char **files, int count) {
  char self[PATH_MAX];
  place where = {0};
  demo_lines lines;
  if (!own_path(self) || !demo_lines_create(&lines)) {
    perror("demo");
    return 1;
  }
  bool good = load_input(&lines, files, count);
  if (good && !(directory == NULL ? place_temporary(&where)
                                  : place_given(&where, directory))) {
    fprintf(stderr, "demo: no new or empty directory to work in: %s\n",
            where.path);
    good = false;
  }
  if (good) {
    good = demo(self, where.path, &lines);
    place_leave(&where, good);
  }
  demo_lines_free(&lines);
  return good ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "--writer") == 0) return writer(argv + 2);
  const char *directory = NULL;
  int first = 1;
  if (argc > 1 && strcmp(argv[1], "--") != 0 && !is_file(argv[1]))
    directory = argv[first++];
  if (argc > first && strcmp(argv[first], "--") == 0) first++;
  return run(directory, argv + first, argc - first);
}
