/* SPDX-License-Identifier: MIT
 *
 * Faults for tests: a decorator around any implementation of the I/O interface.
 * Everything it passes on is a libfiu point with a name:
 *
 *   io/<call>      fails with the errno that is the point's failinfo, before
 *                  anything was done; "close" and "unmap" after they were done,
 *                  as on Linux. Calls without an errno give their "no": no
 *                  memory, no fence, an unknown boot, a wake for no reason
 *   sync/<reason>  the sync fails; see fail_sync
 *   skip/<reason>  the sync succeeds and does nothing
 *   step/<name>    a STEP: the process ends there; see at_step
 */
#ifndef DURALOG_IO_FAULT_H
#define DURALOG_IO_FAULT_H

#include "io.h"

struct io_fault {
  struct duralog_environment environment;
  io_env *inner;
  _Atomic uint64_t maps; /* mappings that were made and not unmapped */
  int scratch;           /* the open scratch file plus 1: one at a time */

  /* Set by the test, or NULL. */
  void *context;
  /* A "step/" point fired. Does not return where the process is to end. */
  void (*at_step)(void *context, const char *name);
  /* A "sync/" point fired: make the next sync of the inner implementation fail
   * in its own way (pages called clean, not on the disk). It is then done, and
   * fails with the point's errno. NULL: nothing is done. */
  void (*fail_sync)(void *context);
};

/* `fault` must outlive its use. Call fiu_init before. */
io_env *io_fault_around(struct io_fault *fault, io_env *inner);

/* A point, and which errnos that call can really give on Linux. Those that the
 * implementation handles itself (EINTR, short transfers, EOPNOTSUPP of
 * fallocate) do not come up to the interface. */
struct io_fault_point {
  const char *name;
  int errors[16]; /* 0 ends it; empty for steps */
};

/* All points but "skip/", name NULL at the end. */
extern const struct io_fault_point io_fault_points[];

#endif
