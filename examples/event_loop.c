/* SPDX-License-Identifier: MIT
 * A log in an event loop, and no thread anywhere: epoll waits for input, for
 * the log's own work and for durability. Appends lines from a pipe or a
 * terminal, and says up to which of them a power loss takes none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "duralog.h"

static uint64_t end; /* of what was appended */

static void check(duralog_error error) {
  if (error == DURALOG_OK) return;
  fprintf(stderr, "event_loop: %s\n", duralog_error_text(error));
  exit(1);
}

static void append(duralog *log, const char *line, size_t size) {
  const duralog_entry entry = {.data = line, .size = size};
  check(duralog_append_batch(log, &entry, 1, DURALOG_LEVEL_WRITTEN, &end));
  end++;
}

/* Append what is there, without waiting for the disk. False at its end. */
static bool take_input(duralog *log) {
  static char line[4096];
  static size_t used;
  ssize_t n = read(STDIN_FILENO, line + used, sizeof line - used);
  if (n > 0) used += (size_t)n;
  for (char *stop; (stop = memchr(line, '\n', used)) != NULL;) {
    append(log, line, (size_t)(stop - line));
    memmove(line, stop + 1, used -= (size_t)(stop + 1 - line));
  }
  if (used == sizeof line || (n <= 0 && used > 0)) { /* long, or the last */
    append(log, line, used);
    used = 0;
  }
  return n > 0;
}

static void poll_too(int epoll, int descriptor) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)) check(DURALOG_E_IO);
}

int main(int argc, char **argv) {
  duralog_options o = {.struct_size = sizeof o, .host_driven = true};
  o.durability.sync_interval_ms = 50;
  duralog *log;
  duralog_watch *tick, *durable;
  check(duralog_open(argc > 1 ? argv[1] : NULL, &o, &log, NULL, NULL));
  check(duralog_watch_open(log, DURALOG_WATCH_TICK, &tick));
  check(duralog_watch_open(log, DURALOG_WATCH_DURABLE, &durable));
  int epoll = epoll_create1(EPOLL_CLOEXEC), from = STDIN_FILENO;
  poll_too(epoll, duralog_watch_descriptor(tick));
  poll_too(epoll, duralog_watch_descriptor(durable));
  poll_too(epoll, from);
  for (uint64_t safe = 0; from >= 0 || safe < end;) {
    struct epoll_event event;
    if (epoll_wait(epoll, &event, 1, -1) != 1) continue; /* a signal */
    if (event.data.fd == from) {
      if (take_input(log)) continue;
      epoll_ctl(epoll, EPOLL_CTL_DEL, from, NULL);
      from = -1;
    } else if (event.data.fd == duralog_watch_descriptor(tick)) {
      check(duralog_tick(log));
      check(duralog_watch_take(tick, NULL));
    } else {
      check(duralog_watch_take(durable, &safe));
      dprintf(STDOUT_FILENO, "durable up to %llu\n", (unsigned long long)safe);
    }
  }
  check(duralog_watch_close(&tick));
  check(duralog_watch_close(&durable));
  check(duralog_close(&log));
}
