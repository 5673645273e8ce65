/* SPDX-License-Identifier: MIT
 *
 * Scratch directories and child processes.
 *
 * Logs of page-cache runs are written by children that exit without closing,
 * and removed at once: so their dirty pages are dropped instead of filling the
 * disk's queue during the next measurement.
 */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static bool complain(const char *what) {
  fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
  return false;
}

/* -------------------------------------------------------- directories -- */

static bool in_memory(const char *dir) {
  struct statfs fs;
  if (statfs(dir, &fs) != 0) return false;
  return fs.f_type == 0x01021994 || fs.f_type == 0x858458f6; /* tmpfs, ramfs */
}

void path_beside_program(char path[PATH_BYTES], const char *name) {
  char program[PATH_BYTES];
  ssize_t got = readlink("/proc/self/exe", program, sizeof program - 1);
  program[got > 0 ? got : 0] = '\0';
  char *slash = strrchr(program, '/');
  snprintf(path, PATH_BYTES, "%.*s/%s", slash ? (int)(slash - program) : 1,
           slash ? program : ".", name);
}

static bool make_in(char path[PATH_BYTES], const char *parent) {
  if (snprintf(path, PATH_BYTES, "%s/scratch-XXXXXX", parent) >=
      PATH_BYTES - 64)
    errno = ENAMETOOLONG;
  else if (mkdtemp(path))
    return true;
  return complain(parent);
}

bool scratch_make(char path[PATH_BYTES], const char *parent) {
  char beside[PATH_BYTES];
  if (!*parent) {
    path_beside_program(beside, ".");
    parent = beside;
    const char *other = getenv("TMPDIR");
    if (other && (in_memory(parent) || access(parent, W_OK) != 0))
      parent = other;
  }
  if (!in_memory(parent)) return make_in(path, parent);
  fprintf(stderr, "bench: %s is in memory; name a directory on a disk\n",
          parent);
  return false;
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

void scratch_remove(const char *path) {
  if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 &&
      errno != ENOENT)
    complain(path);
}

const char *scratch_sub(char path[PATH_BYTES], const char *scratch,
                        const char *name) {
  snprintf(path, PATH_BYTES, "%.*s/%s", PATH_BYTES - 64, scratch, name);
  if (mkdir(path, 0700) == 0) return path;
  complain(path);
  return NULL;
}

static void settle(const char *dir) {
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  syncfs(fd);
  close(fd);
}

void scratch_drop(const char *path) {
  char parent[PATH_BYTES];
  snprintf(parent, sizeof parent, "%s", path);
  *strrchr(parent, '/') = '\0';
  scratch_remove(path);
  settle(parent);
}

/* ----------------------------------------------------------- children -- */

void *shared_alloc(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED) return memory;
  complain("mmap");
  return NULL;
}

void warm_memory(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory != MAP_FAILED) munmap(memory, size); /* else: as it is */
}

static pid_t start(bool (*work)(void *), void *argument, int after) {
  fflush(stdout);
  pid_t child = fork();
  if (child != 0) return child;
  signal(SIGINT, SIG_DFL);
  bool good = work(argument);
  fflush(stdout);
  if (good && after) raise(after);
  _exit(good ? 0 : 1);
}

/* The interrupt key reaches the child too: it ends, the caller cleans up. */
static bool wait_for(pid_t child, int *status) {
  if (child < 0) return complain("fork");
  signal(SIGINT, SIG_IGN);
  while (waitpid(child, status, 0) < 0)
    if (errno != EINTR) return complain("waitpid");
  return true;
}

static bool was_good(int status) {
  if (WIFSIGNALED(status))
    fprintf(stderr, "bench: ended by signal %d\n", WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool run_in_child(bool (*work)(void *), void *argument) {
  int status;
  return wait_for(start(work, argument, 0), &status) && was_good(status);
}

/* Whichever of the two ends first. */
static bool wait_for_either(pid_t *ended, int *status) {
  signal(SIGINT, SIG_IGN);
  while ((*ended = waitpid(-1, status, 0)) < 0)
    if (errno != EINTR) return complain("waitpid");
  return true;
}

bool run_two(bool (*first)(void *), bool (*second)(void *), void *argument) {
  int status;
  pid_t other = start(first, argument, 0), ended = -1;
  if (other < 0) return complain("fork");
  pid_t two = start(second, argument, 0);
  bool good = two < 0 ? complain("fork") : wait_for_either(&ended, &status);
  good = good && was_good(status);
  if (ended == other) other = two;
  if (!good) kill(other, SIGKILL);
  return wait_for(other, &status) && good && was_good(status);
}

bool run_and_kill(bool (*work)(void *), void *argument) {
  int status;
  if (!wait_for(start(work, argument, SIGKILL), &status)) return false;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}
