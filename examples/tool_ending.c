/* SPDX-License-Identifier: MIT
 *
 * The end of a command that goes on until it is stopped, without looking now
 * and then whether it has been: a thread waits for signals, and for the end of
 * whoever reads standard output (tail -f | head, where nothing comes any more
 * that a write could fail for). The command's thread says where it may be
 * ended, so that no record is printed by half; it may sleep for ever there.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

/* Held while the command must not end; guards *exit_code and stdout. */
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool wanted;
static const int *exit_code;
static void (*call_when_wanted)(void);
static sigset_t signals;
static int signal_file;

static void wait_for_the_end(void) {
  struct signalfd_siginfo taken;
  struct pollfd files[] = {{.fd = signal_file, .events = POLLIN},
                           {.fd = STDOUT_FILENO, .events = 0}};
  for (;;) {
    if (poll(files, 2, -1) < 1) continue;
    if (files[0].revents != 0 &&
        read(signal_file, &taken, sizeof taken) == sizeof taken)
      return;
    if (files[1].revents & (POLLERR | POLLHUP)) return;
    if (files[1].revents & POLLNVAL) files[1] = (struct pollfd){.fd = -1};
  }
}

/* The command comes to a place where it may end, unless it hangs in a write: a
 * second signal ends it then. Not at once, since some send each twice. */
static void wait_for_the_command(void) {
  struct timespec limit;
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec++;
  if (pthread_mutex_timedlock(&busy, &limit) == 0) return;
  pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
  pthread_mutex_lock(&busy);
}

static void *end(void *unused) {
  wait_for_the_end();
  atomic_store(&wanted, true);
  if (call_when_wanted != NULL) call_when_wanted();
  wait_for_the_command();
  exit(tool_finish_output(*exit_code));
  return unused;
}

/* A signal that whoever started us wants to be ignored stays so. */
static void add_unless_ignored(int number) {
  struct sigaction now;
  if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
    sigaddset(&signals, number);
}

bool tool_ending_begin(const int *code, void (*when_wanted)(void)) {
  pthread_t thread;
  exit_code = code;
  call_when_wanted = when_wanted;
  sigemptyset(&signals);
  add_unless_ignored(SIGINT);
  add_unless_ignored(SIGTERM);
  add_unless_ignored(SIGHUP);
  signal_file = signalfd(-1, &signals, SFD_CLOEXEC);
  if (signal_file < 0 || pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
    return false;
  pthread_mutex_lock(&busy);
  if (pthread_create(&thread, NULL, end, NULL) != 0) return false;
  return pthread_detach(thread) == 0;
}

void tool_may_end(void) { pthread_mutex_unlock(&busy); }

void tool_may_not_end(void) { pthread_mutex_lock(&busy); }

bool tool_end_is_wanted(void) { return atomic_load(&wanted); }

void tool_end_if_wanted(void) {
  if (!atomic_load_explicit(&wanted, memory_order_relaxed)) return;
  tool_may_end();
  for (;;) pause();
}
