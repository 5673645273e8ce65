/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS. A mapped page that cannot be had, since its file
 * was cut or the disk cannot give it, answers an access with a signal. Where
 * the host has asked for the guard, accesses of the library's own run between
 * two notes of the thread, "inside of these bytes" and "outside"; the handler
 * jumps back to the first where the address lies in the bytes, and passes on
 * every other signal as if it were not there.
 *
 * A jump leaves nothing behind, because accesses are small: a copy, a checksum,
 * a frame. No lock is taken and no memory allocated in one, and whatever it
 * wrote is thrown away by the caller (segment.c, views.c).
 *
 * Handlers. Each install that finds another's handler in place puts one of a
 * few functions over it, each with what it has covered; so a chain of handlers
 * only ever leads to older ones, also where hosts cover each other. One that is
 * covered itself cannot be taken out; it stays, and passes on.
 *
 * The handler uses nothing but sigaction, sigaltstack, the signal mask and
 * siglongjmp. The thread's note is in static thread-local storage
 * (initial-exec), since any other may be allocated when first touched, which
 * must not happen in a handler, and costs a call.
 *
 * One thing is not as without it: in a child after exec an ignored SIGBUS would
 * stay ignored, and a handled one is reset.
 */
#include "io_guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef SS_AUTODISARM /* linux/signal.h has it, and more that clashes */
#define SS_AUTODISARM (1u << 31)
#endif

/* How many guards may be covered by handlers of others at once. */
enum { SLOTS = 4 };

struct access {
  sigjmp_buf begin;
  const struct io_range *ranges;
  size_t count;
  struct access *outer;
  const void *volatile at;
};

static _Thread_local struct {
  struct access *volatile inside; /* NULL: outside */
  bool own; /* all signals are blocked: the thread is the library's */
} thread_note __attribute__((tls_model("initial-exec")));

struct slot {
  struct sigaction covered; /* what was there before */
  _Atomic bool spent;       /* it was to be reset when called, and was called */
  bool used;
};

static struct {
  pthread_mutex_t mutex; /* installing and removing */
  pthread_once_t once;
  int fork_error;
  struct slot slots[SLOTS];
} sigbus_guard = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                  .once = PTHREAD_ONCE_INIT};

struct counter io_guards;

/* ---- the signal ---- */

/* By an access of this very thread, not sent by someone. */
static bool is_fault(const siginfo_t *info) {
  return info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
}

static bool is_inside(const struct access *a, const void *address) {
  for (size_t i = 0; a && i < a->count; i++) {
    uintptr_t from = (uintptr_t)a->ranges[i].from;
    if ((uintptr_t)address - from < a->ranges[i].bytes) return true;
  }
  return false;
}

/* Go back to where the access began, as if the signal had never come. */
static void go_back(struct access *a, const void *at,
                    const ucontext_t *context) {
  a->at = at;
  thread_note.inside = a->outer;
  /* Returning would arm the thread's signal stack again. */
  if (context->uc_stack.ss_flags & (int)SS_AUTODISARM)
    sigaltstack(&context->uc_stack, NULL);
  pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
  siglongjmp(a->begin, 1);
}

/* The default action, with this signal's own particulars: sent again, it is
 * delivered when the handler has returned. If that is refused the access does
 * it once more. */
static void die_of(siginfo_t *info) {
  struct sigaction fatal = {.sa_handler = SIG_DFL};
  sigemptyset(&fatal.sa_mask);
  sigaction(SIGBUS, &fatal, NULL);
  syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS,
          info);
}

static void pass_on(struct slot *s, siginfo_t *info, void *context) {
  const struct sigaction *to = &s->covered;
  bool once = (to->sa_flags & (int)SA_RESETHAND) != 0;
  bool fatal = to->sa_handler == SIG_DFL ||
               (to->sa_handler == SIG_IGN && is_fault(info)) ||
               (once && atomic_exchange(&s->spent, true));
  if (fatal)
    die_of(info); /* nobody can ignore a fault */
  else if (to->sa_flags & SA_SIGINFO)
    to->sa_sigaction(SIGBUS, info, context);
  else if (to->sa_handler != SIG_IGN)
    to->sa_handler(SIGBUS);
}

static void on_sigbus(struct slot *s, siginfo_t *info, void *context) {
  int error = errno;
  struct access *a = thread_note.inside;
  if (is_fault(info) && is_inside(a, info->si_addr))
    go_back(a, info->si_addr, context);
  pass_on(s, info, context);
  errno = error;
}

#define HANDLER(i)                                                    \
  static void handler_##i(int number, siginfo_t *info, void *where) { \
    (void)number;                                                     \
    on_sigbus(&sigbus_guard.slots[i], info, where);                   \
  }
HANDLER(0)
HANDLER(1)
HANDLER(2)
HANDLER(3)

typedef void handler(int, siginfo_t *, void *);

static handler *const handlers[SLOTS] = {handler_0, handler_1, handler_2,
                                         handler_3};

/* ---- accesses ---- */

/* Threads of the library have all signals blocked, and a fault that finds its
 * signal blocked is fatal. They seldom touch a mapping. */
static void own_thread_hears(bool hears) {
  sigset_t only;
  if (!thread_note.own) return;
  sigemptyset(&only);
  sigaddset(&only, SIGBUS);
  pthread_sigmask(hears ? SIG_UNBLOCK : SIG_BLOCK, &only, NULL);
}

void io_guard_own_thread(void) { thread_note.own = true; }

int io_guard_access(io_env *io, const struct io_range *ranges, size_t count,
                    void (*body)(void *), void *context, const void **at) {
  struct access a; /* not made zero: it is large, and this is done often */
  (void)io;
  a.ranges = ranges;
  a.count = count;
  a.at = NULL;
  a.outer = thread_note.inside;
  own_thread_hears(true);
  if (sigsetjmp(a.begin, 0)) { /* come back: see go_back */
    own_thread_hears(false);
    *at = a.at;
    return -EFAULT;
  }
  thread_note.inside = &a;
  atomic_signal_fence(memory_order_seq_cst);
  body(context);
  atomic_signal_fence(memory_order_seq_cst);
  thread_note.inside = a.outer;
  own_thread_hears(false);
  return 0;
}

/* ---- installing ---- */

static void before_fork(void) { pthread_mutex_lock(&sigbus_guard.mutex); }
static void after_fork(void) { pthread_mutex_unlock(&sigbus_guard.mutex); }

static void prepare_for_forks(void) {
  sigbus_guard.fork_error = pthread_atfork(before_fork, after_fork, after_fork);
}

/* Which of our handlers this is; SLOTS: none. */
static size_t slot_of(const struct sigaction *action) {
  size_t i = 0;
  if (!(action->sa_flags & SA_SIGINFO)) return SLOTS;
  while (i < SLOTS && action->sa_sigaction != handlers[i]) i++;
  return i;
}

static size_t slot_free(void) {
  size_t i = 0;
  while (i < SLOTS && sigbus_guard.slots[i].used) i++;
  return i;
}

static duralog_error cover(const struct sigaction *now) {
  size_t i = slot_free();
  if (i == SLOTS) return DURALOG_E_RESOURCES;
  struct slot *s = &sigbus_guard.slots[i];
  struct sigaction ours = {.sa_sigaction = handlers[i],
                           .sa_flags = SA_SIGINFO | SA_ONSTACK,
                           .sa_mask = now->sa_mask};
  /* What is passed on runs with the mask it asked for; and calls that went on
   * after the signal go on. */
  bool handled = (now->sa_flags & SA_SIGINFO) ||
                 (now->sa_handler != SIG_DFL && now->sa_handler != SIG_IGN);
  ours.sa_flags |=
      handled ? now->sa_flags & (SA_RESTART | SA_NODEFER) : SA_RESTART;
  s->covered = *now;
  atomic_store(&s->spent, false);
  if (sigaction(SIGBUS, &ours, NULL)) return DURALOG_E_RESOURCES;
  s->used = true;
  return DURALOG_OK;
}

static duralog_error install(void) {
  struct sigaction now;
  if (sigaction(SIGBUS, NULL, &now)) return DURALOG_E_RESOURCES;
  return slot_of(&now) < SLOTS ? DURALOG_OK : cover(&now);
}

duralog_error duralog_guard_install(void) {
  pthread_once(&sigbus_guard.once, prepare_for_forks);
  if (sigbus_guard.fork_error) return DURALOG_E_RESOURCES;
  pthread_mutex_lock(&sigbus_guard.mutex);
  duralog_error error = counter_get(&io_guards) ? DURALOG_OK : install();
  if (!error) counter_add(&io_guards, 1);
  pthread_mutex_unlock(&sigbus_guard.mutex);
  return error;
}

/* Put back what was covered; BUSY: somebody has covered us. */
static duralog_error uncover(void) {
  struct sigaction now, before = {.sa_handler = SIG_DFL};
  if (sigaction(SIGBUS, NULL, &now)) return DURALOG_E_BUSY;
  size_t i = slot_of(&now);
  if (i == SLOTS) return DURALOG_E_BUSY;
  struct slot *s = &sigbus_guard.slots[i];
  if (!atomic_load(&s->spent))
    before = s->covered;
  else
    sigemptyset(&before.sa_mask);
  if (sigaction(SIGBUS, &before, NULL)) return DURALOG_E_BUSY;
  s->used = false;
  return DURALOG_OK;
}

duralog_error duralog_guard_remove(void) {
  duralog_error error = DURALOG_E_ARGUMENT;
  pthread_mutex_lock(&sigbus_guard.mutex);
  uint64_t guards = counter_get(&io_guards);
  if (guards) {
    counter_set(&io_guards, guards - 1);
    error = guards > 1 ? DURALOG_OK : uncover();
  }
  pthread_mutex_unlock(&sigbus_guard.mutex);
  return error;
}
