/* SPDX-License-Identifier: MIT
 *
 * Several threads that begin at once.
 */
#include "team.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"

typedef struct team {
  bool (*work)(void *argument, unsigned k);
  void *argument;
  pthread_barrier_t begin;
} team;

typedef struct member {
  team *of;
  unsigned number;
  uint64_t end_ns;
  bool good;
  pthread_t thread;
} member;

static void *member_run(void *argument) {
  member *m = argument;
  pthread_barrier_wait(&m->of->begin);
  m->good = m->of->work(m->of->argument, m->number);
  m->end_ns = now_ns();
  return NULL;
}

/* A barrier cannot be left by those who never came: then the child ends. */
static void must_start(member *m) {
  if (pthread_create(&m->thread, NULL, member_run, m) == 0) return;
  fprintf(stderr, "bench: cannot start a thread\n");
  exit(1);
}

bool team_run(unsigned threads, bool (*work)(void *argument, unsigned k),
              void *argument, uint64_t *ns) {
  team all = {.work = work, .argument = argument};
  member members[TEAM_MAX];
  bool good = true;
  uint64_t end = 0;
  assert(threads > 0 && threads <= TEAM_MAX);
  pthread_barrier_init(&all.begin, NULL, threads + 1);
  for (unsigned k = 0; k < threads; k++) {
    members[k] = (member){.of = &all, .number = k};
    must_start(&members[k]);
  }
  uint64_t start = now_ns();
  pthread_barrier_wait(&all.begin);
  for (unsigned k = 0; k < threads; k++) {
    pthread_join(members[k].thread, NULL);
    good = good && members[k].good;
    if (members[k].end_ns > end) end = members[k].end_ns;
  }
  pthread_barrier_destroy(&all.begin);
  *ns = end - start;
  return good;
}
