/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS, as io_posix.c needs it; see io.h and io_guard.c.
 */
#ifndef DURALOG_IO_GUARD_H
#define DURALOG_IO_GUARD_H

#include "io.h"

/* `access` of the interface. */
int io_guard_access(io_env *, const struct io_range *, size_t count,
                    void (*body)(void *), void *context, const void **at);

/* This thread is one of the library's, with all signals blocked. */
void io_guard_own_thread(void);

#endif
