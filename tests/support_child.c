/* SPDX-License-Identifier: MIT
 *
 * Children, threads, pipes and mounts. See support.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* ---- children ---- */

pid_t child_start(void (*body)(void *), void *context) {
  pid_t parent = getpid();
  fflush(NULL);
  pid_t child = CHECK_CALL(fork());
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(CHILD_FAILED); /* it died in between */
  body(context);
  _exit(0);
}

int child_end(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
  return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

void child_run(void (*body)(void *), void *context) {
  int status = child_end(child_start(body, context));
  if (status == CHILD_SKIPPED) test_skip("skipped by its child, see above");
  if (status != 0)
    test_failed(__FILE__, __LINE__, "a child ended with %s %d",
                status >= 256 ? "signal" : "status",
                status >= 256 ? status - 256 : status);
}

void child_kill(pid_t child) {
  CHECK_CALL(kill(child, SIGKILL));
  CHECK_EQUAL(child_end(child), 256 + SIGKILL);
}

void drop_privileges(void) {
  enum { NOBODY = 65534 };
  if (geteuid() != 0) return; /* none to drop */
  CHECK_CALL(setgroups(0, NULL));
  CHECK_CALL(setresgid(NOBODY, NOBODY, NOBODY));
  CHECK_CALL(setresuid(NOBODY, NOBODY, NOBODY));
}

/* ---- threads ---- */

pthread_t thread_start(void *(*body)(void *), void *context) {
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, body, context), 0);
  return thread;
}

void thread_join(pthread_t thread) {
  CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

/* ---- pipes, shared memory ---- */

void channel_open(struct channel *c) {
  int fds[2];
  CHECK_CALL(pipe2(fds, O_CLOEXEC));
  c->out = fds[0];
  c->in = fds[1];
}

void channel_close(struct channel *c) {
  close(c->in);
  close(c->out);
}

void channel_tell(struct channel *c) { CHECK_EQUAL(write(c->in, "x", 1), 1); }

void channel_hear(struct channel *c) {
  char byte;
  ssize_t n;
  do {
    n = read(c->out, &byte, 1);
  } while (n < 0 && errno == EINTR);
  CHECK_EQUAL(n, 1);
}

void *shared_memory(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(at != MAP_FAILED);
  return at;
}

void shared_memory_free(void *at, size_t size) { munmap(at, size); }

uint64_t clock_now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void clock_pass_ms(uint64_t ms) {
  uint64_t until = clock_now_ms() + ms + 1;
  while (clock_now_ms() < until) sched_yield();
}

/* ---- mounts ---- */

void mounts_own(void) {
  if (unshare(CLONE_NEWNS) < 0 ||
      mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
    test_skip("mounts of one's own are not permitted here");
}

static void make_image(const char *image, const char *kind, uint64_t bytes) {
  char command[600];
  file_store(image, "", 0);
  file_cut(image, bytes);
  snprintf(command, sizeof command, "mkfs.%s -q %s '%s' >/dev/null 2>&1", kind,
           strcmp(kind, "ext4") == 0 ? "-F -m 0" : "", image);
  if (system(command) != 0) test_skip("no mkfs for this kind of file system");
}

void mount_disk(const struct test_place *at, const char *kind, uint64_t bytes,
                const char *where) {
  char command[900], image[256], size[32];
  if (strcmp(kind, "tmpfs") == 0) {
    snprintf(size, sizeof size, "size=%llu", (unsigned long long)bytes);
    if (mount("none", where, kind, 0, size) < 0)
      test_skip("tmpfs cannot be mounted here");
    return;
  }
  snprintf(image, sizeof image, "%s/%s.image", at->root, kind);
  make_image(image, kind, bytes);
  snprintf(command, sizeof command, "mount -o loop '%s' '%s' >/dev/null 2>&1",
           image, where);
  if (system(command) != 0) test_skip("loop devices cannot be mounted here");
}

void mount_read_only(const char *at) {
  if (mount(at, at, "none", MS_BIND, NULL) < 0 ||
      mount("none", at, "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
    test_skip("read-only bind mounts are not permitted here");
}

uint64_t disk_free(const char *path) {
  struct statvfs s;
  CHECK_CALL(statvfs(path, &s));
  return (uint64_t)s.f_bavail * s.f_frsize;
}

void disk_fill(const char *file, uint64_t leave) {
  int fd = CHECK_CALL(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  uint64_t size = 0;
  for (uint64_t step = UINT64_C(1) << 20; step >= 4096;) {
    uint64_t is = disk_free(file);
    bool fits = is >= leave + step;
    if (fits && fallocate(fd, 0, (off_t)size, (off_t)step) == 0)
      size += step;
    else
      step /= 2;
  }
  close(fd);
}
