/* SPDX-License-Identifier: MIT
 *
 * One row of the table: a process of its own appends, is killed with SIGKILL
 * half-way, and its log is reopened here and compared. The two share nothing
 * but files: the input, the log, and a mapped one in which the writing process
 * notes each append that returned. That one outlives it as the log does.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"

#define HALF_WAY_MS_MAX 60000

extern char **environ;

typedef char path[PATH_MAX];

static bool path_in(path out, const char *directory, const char *name) {
  int size = snprintf(out, PATH_MAX, "%s/%s", directory, name);
  return size > 0 && size < PATH_MAX;
}

static bool log_path(path out, const char *directory, size_t mode_index) {
  char name[32];
  snprintf(name, sizeof name, "log-%zu", mode_index + 1);
  return path_in(out, directory, name);
}

static double now_ms(void) {
  struct timespec now = {0};
  clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail on Linux */
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void nap(void) {
  const struct timespec short_time = {.tv_nsec = 100000};
  nanosleep(&short_time, NULL);
}

/* ----------------------------------------------------------- progress -- */

static size_t progress_bytes(const demo_lines *lines) {
  return sizeof(demo_progress) + lines->count * sizeof(atomic_uint_least64_t);
}

static demo_progress *progress_map(const char *directory, int flags,
                                   const demo_lines *lines) {
  path file;
  void *memory = MAP_FAILED;
  size_t bytes = progress_bytes(lines);
  if (!path_in(file, directory, "progress")) return NULL;
  int descriptor = open(file, O_RDWR | O_CLOEXEC | flags, 0600);
  if (descriptor < 0) return NULL;
  if (ftruncate(descriptor, (off_t)bytes) == 0)
    memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  close(descriptor);
  return memory == MAP_FAILED ? NULL : memory;
}

static bool work_create(demo_work *work, const char *directory, int flags) {
  work->progress = progress_map(directory, flags, work->lines);
  work->present = calloc(work->lines->count, sizeof *work->present);
  return work->progress != NULL && work->present != NULL;
}

static void work_free(demo_work *work) {
  if (work->progress != NULL)
    munmap(work->progress, progress_bytes(work->lines));
  free(work->present);
}

/* ------------------------------------------- the process to be killed -- */

bool demo_kill_save_input(const char *directory, const demo_lines *lines) {
  path file;
  return path_in(file, directory, "lines") && demo_lines_save(lines, file);
}

static int writer_fail(const char *problem) {
  fprintf(stderr, "demo, the writing process: %s\n", problem);
  return 1;
}

static int writer_run(const char *directory, demo_work *work,
                      size_t mode_index) {
  path log;
  duralog_report report;
  char problem[DEMO_PROBLEM_BYTES] = "the path is too long";
  if (!log_path(log, directory, mode_index) ||
      demo_open(log, work->mode, &work->log, &report, problem) != DURALOG_OK)
    return writer_fail(problem);
  duralog_error error = demo_append(work);
  if (error != DURALOG_OK) return writer_fail(duralog_error_text(error));
  for (;;) pause(); /* no clean close: the end comes from outside */
}

static bool writer_load(const char *directory, demo_lines *lines) {
  path file;
  return path_in(file, directory, "lines") && demo_lines_create(lines) &&
         demo_lines_load(lines, file);
}

int demo_kill_writer(const char *directory, const demo_mode *mode,
                     size_t mode_index) {
  demo_lines lines = {0};
  demo_work work = {.mode = mode, .lines = &lines};
  int code = 1;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && writer_load(directory, &lines) &&
      work_create(&work, directory, 0))
    code = writer_run(directory, &work, mode_index);
  else
    writer_fail(strerror(errno));
  work_free(&work);
  demo_lines_free(&lines);
  return code;
}

/* ------------------------------------------------- the one that kills -- */

static bool spawn(const char *self, const char *directory, size_t mode_index,
                  pid_t *child) {
  char index[32];
  snprintf(index, sizeof index, "%zu", mode_index);
  const char *const arguments[] = {self, "--writer", directory, index, NULL};
  /* posix_spawn does not write to them; its type is older than const. */
  return posix_spawn(child, self, NULL, NULL, (char *const *)arguments,
                     environ) == 0;
}

static const char *await_half(pid_t child, demo_progress *progress,
                              uint64_t half) {
  double limit = now_ms() + HALF_WAY_MS_MAX;
  while (atomic_load(&progress->returned) < half) {
    siginfo_t ended = {0};
    if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        ended.si_pid == child)
      return "the writing process ended by itself";
    if (now_ms() > limit)
      return "the writing process did not get half-way in a minute";
    nap();
  }
  return NULL;
}

/* Run the writing process and kill it; NULL, or what went wrong. */
static const char *run_and_kill(const char *self, const char *directory,
                                size_t mode_index, const demo_lines *lines,
                                demo_progress *progress) {
  pid_t child;
  int status = 0;
  if (!spawn(self, directory, mode_index, &child))
    return "the writing process could not be started";
  const char *problem = await_half(child, progress, (lines->count + 1) / 2);
  kill(child, SIGKILL);
  if (waitpid(child, &status, 0) != child)
    return "the writing process could not be waited for";
  if (problem == NULL && (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL))
    problem = "the writing process did not die of SIGKILL";
  return problem;
}

static bool close_log(demo_work *work, char problem[DEMO_PROBLEM_BYTES]) {
  duralog_error error = duralog_close(&work->log);
  if (error == DURALOG_OK) return true;
  if (problem[0] == '\0')
    snprintf(problem, DEMO_PROBLEM_BYTES, "close: %s",
             duralog_error_text(error));
  return false;
}

/* After the kill: what was recovered, and then the lines still missing. */
static bool recover_and_go_on(demo_work *work, const char *log, demo_row *row) {
  double begin = now_ms();
  if (demo_open(log, work->mode, &work->log, &row->report, row->problem) !=
      DURALOG_OK)
    return false;
  row->recovery_ms = now_ms() - begin;
  bool good = demo_compare(work, &row->recovered, row->problem);
  if (good) {
    atomic_store(&work->progress->next, 0);
    duralog_error error = demo_append(work);
    good = error == DURALOG_OK;
    if (!good)
      snprintf(row->problem, sizeof row->problem, "append: %s",
               duralog_error_text(error));
  }
  return close_log(work, row->problem) && good;
}

static bool compare_all(demo_work *work, const char *log, demo_row *row) {
  duralog_report report;
  uint64_t records = 0;
  if (demo_open(log, work->mode, &work->log, &report, row->problem) !=
      DURALOG_OK)
    return false;
  bool good = demo_compare(work, &records, row->problem);
  if (good && records != work->lines->count) {
    good = false;
    snprintf(row->problem, sizeof row->problem,
             "in the end there are %" PRIu64 " records for %zu lines", records,
             work->lines->count);
  }
  return close_log(work, row->problem) && good;
}

static bool check_late(const demo_progress *progress, demo_row *row) {
  uint64_t late = atomic_load(&progress->late);
  if (late > 0)
    snprintf(row->problem, sizeof row->problem,
             "%" PRIu64 " appends returned beyond the mode's bound", late);
  return late == 0;
}

/* The durable watermark may count records whose appends never returned. */
static void count_returned(const demo_work *work, demo_row *row) {
  uint64_t durable = atomic_load(&work->progress->durable);
  for (size_t i = 0; i < work->lines->count; i++) {
    uint64_t given = atomic_load(&work->progress->offset_plus_1[i]);
    row->returned += given != 0;
    row->durable += given != 0 && given <= durable;
  }
}

static bool run_scenario(const char *self, const char *directory,
                         size_t mode_index, demo_work *work, demo_row *row) {
  path log;
  if (!log_path(log, directory, mode_index)) return false;
  const char *problem =
      run_and_kill(self, directory, mode_index, work->lines, work->progress);
  if (problem != NULL) {
    snprintf(row->problem, sizeof row->problem, "%s", problem);
    return false;
  }
  count_returned(work, row);
  return recover_and_go_on(work, log, row) && compare_all(work, log, row) &&
         check_late(work->progress, row);
}

bool demo_kill(const char *self, const char *directory, const demo_mode *mode,
               size_t mode_index, const demo_lines *lines, demo_row *row) {
  demo_work work = {.mode = mode, .lines = lines};
  *row = (demo_row){0};
  bool good = work_create(&work, directory, O_CREAT | O_TRUNC) &&
              run_scenario(self, directory, mode_index, &work, row);
  work_free(&work);
  if (!good && row->problem[0] == '\0')
    snprintf(row->problem, sizeof row->problem,
             "no memory, or no room in %.80s", directory);
  return good;
}
