/* SPDX-License-Identifier: MIT
 *
 * Faults for tests: a decorator around any implementation of the I/O interface.
 * Each call is a libfiu point of its own, "io/<call>"; a sync's is
 * "sync/<reason>", and "skip/<reason>" makes it succeed without doing anything.
 * A point that fires makes the call fail with the errno that is its failinfo,
 * before anything was done.
 */
#ifndef DURALOG_IO_FAULT_H
#define DURALOG_IO_FAULT_H

#include "io.h"

struct io_fault {
  struct duralog_environment environment;
  io_env *inner;
};

/* `fault` must outlive its use. Call fiu_init before. */
io_env *io_fault_around(struct io_fault *fault, io_env *inner);

/* All points, NULL at the end. */
extern const char *const io_fault_points[];

#endif
