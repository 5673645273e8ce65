/* SPDX-License-Identifier: MIT
 * A server's event loop with a log in it and no thread anywhere: epoll waits
 * for input, for the log's own work and for durability, all at once.
 *   event_loop DIRECTORY    appends each line from the standard input, a pipe or
 *                           a terminal; says when lines are safe from power loss
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "duralog.h"

enum { LINE_BYTES_MAX = 4096 };

static void check(duralog_error error) {
  if (error != DURALOG_OK) {
    fprintf(stderr, "event_loop: %s\n", duralog_error_text(error));
    exit(1);
  }
}

static void add(int epoll, int descriptor) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
    perror("event_loop: cannot poll the standard input");
    exit(1);
  }
}

static duralog_watch *watch(duralog *log, duralog_watched what, int epoll) {
  duralog_watch *w;
  check(duralog_watch_open(log, what, &w));
  add(epoll, duralog_watch_descriptor(w));
  return w;
}

/* Append what is there, without waiting for the disk. False at the end. */
static bool take_input(duralog *log) {
  static char line[LINE_BYTES_MAX];
  static size_t used;
  ssize_t n = read(STDIN_FILENO, line + used, sizeof line - used);
  used += n > 0 ? (size_t)n : 0;
  char *end;
  while ((end = memchr(line, '\n', used)) || used == sizeof line || (n <= 0 && used)) {
    size_t size = end ? (size_t)(end - line) : used;
    duralog_entry entry = {.data = line, .size = size};
    check(duralog_append_batch(log, &entry, 1, DURALOG_LEVEL_WRITTEN, NULL));
    used -= size + (end != NULL);
    memmove(line, line + size + (end != NULL), used);
  }
  return n > 0;
}

int main(int argc, char **argv) {
  duralog_options options = {.struct_size = sizeof options, .host_driven = true};
  options.durability.sync_interval_ms = 50;
  duralog *log;
  check(duralog_open(argc > 1 ? argv[1] : NULL, &options, &log, NULL, NULL));
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  duralog_watch *tick = watch(log, DURALOG_WATCH_TICK, epoll);
  duralog_watch *durable = watch(log, DURALOG_WATCH_DURABLE, epoll);
  add(epoll, STDIN_FILENO);
  for (bool more = true; more;) {
    struct epoll_event event;
    uint64_t safe;
    if (epoll_wait(epoll, &event, 1, -1) != 1) continue;
    if (event.data.fd == STDIN_FILENO) {
      more = take_input(log);
    } else if (event.data.fd == duralog_watch_descriptor(tick)) {
      check(duralog_tick(log));
      check(duralog_watch_take(tick, NULL));
    } else {
      check(duralog_watch_take(durable, &safe));
      printf("durable up to %llu\n", (unsigned long long)safe);
      fflush(stdout);
    }
  }
  check(duralog_watch_close(&tick));
  check(duralog_watch_close(&durable));
  check(duralog_close(&log)); /* syncs the rest */
}
