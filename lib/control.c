/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <limits.h>

enum { CONTROL_VERSION = 2, BYTE_ORDER_MARK = 0x01020304 };

static const uint8_t magic[8] = {'d', 'l', 'o', 'g', 'C', 'T', 'L', '\n'};

/* The part that never changes; equal bytes are the same log and layout. */
static void identity_make(const struct log_directory *d, struct control *c) {
  memcpy(c->magic, magic, sizeof magic);
  c->version = CONTROL_VERSION;
  c->byte_order = BYTE_ORDER_MARK;
  memcpy(c->uuid, d->uuid, sizeof c->uuid);
}

enum { CONTROL_IDENTITY_BYTES = offsetof(struct control, uuid) + 16 };

/* Whether the open file is a control file of this log: 0, EPERM, or why that
 * cannot be told. */
static int check_identity(const struct log_directory *d, int file) {
  uint8_t bytes[CONTROL_IDENTITY_BYTES];
  struct control expected;
  uint64_t size;
  int result = d->io->file_size(d->io, file, &size);
  if (result) return result;
  if (size != CONTROL_BYTES) return -EPERM;
  int64_t n = io_read(d->io, file, bytes, sizeof bytes, 0);
  if (n < 0) return (int)n;
  identity_make(d, &expected);
  bool same = n == sizeof bytes && memcmp(bytes, &expected, sizeof bytes) == 0;
  return same ? 0 : -EPERM;
}

static int map(const struct log_directory *d, int file, bool writable,
               struct control **out) {
  void *address;
  int result = d->io->map(d->io, file, CONTROL_BYTES, writable, &address);
  if (!result) *out = address;
  return result;
}

/* Whether a name that cannot be opened for writing may be given to another
 * file: not where only descriptors or memory are short, since those who follow
 * would be left with a file that has no name. */
static bool in_the_way(int result) {
  return result == -EPERM || result == -EACCES || result == -ELOOP ||
         result == -EISDIR; /* no file: a pipe can be unlinked */
}

/* The file to be mapped for writing. */
static int writers_file(const struct log_directory *d, bool *made) {
  io_env *io = d->io;
  *made = false;
  int file =
      io->file_open(io, d->handle, CONTROL_NAME, IO_WRITE | IO_SCRATCH, 0);
  int result = file < 0 ? file : check_identity(d, file);
  if (!result) return file;
  if (file >= 0) io->close(io, file);
  /* Not ours to write into, whatever it is: only its name is. */
  if (in_the_way(result)) result = io->unlink(io, d->handle, CONTROL_NAME);
  if (result && result != -ENOENT) return result;
  file = io->file_open(io, d->handle, CONTROL_NAME,
                       IO_WRITE | IO_CREATE | IO_SCRATCH, d->file_mode);
  *made = file >= 0;
  return file;
}

int control_make(const struct log_directory *d, struct control **out,
                 bool *made) {
  io_env *io = d->io;
  int file = writers_file(d, made);
  if (file < 0) return file;
  /* With all its blocks: a store into a hole could find the disk full. */
  int result = io_allocate(io, file, CONTROL_BYTES);
  if (!result) result = map(d, file, true, out);
  io->close(io, file);
  if (result && *made) {
    io->unlink(io, d->handle, CONTROL_NAME);
    *made = false;
  }
  if (!result) identity_make(d, *out);
  return result;
}

int control_open(const struct log_directory *d, struct control **out,
                 bool *writable) {
  io_env *io = d->io;
  int file =
      io->file_open(io, d->handle, CONTROL_NAME, IO_WRITE | IO_SCRATCH, 0);
  *writable = file >= 0;
  if (file < 0)
    file = io->file_open(io, d->handle, CONTROL_NAME, IO_READ | IO_SCRATCH, 0);
  if (file < 0) return file;
  int result = check_identity(d, file);
  if (!result) result = map(d, file, *writable, out);
  io->close(io, file);
  return result;
}

void control_close(const struct log_directory *d, struct control *c) {
  d->io->unmap(d->io, c, CONTROL_BYTES);
}

/* The order of the loads is that of control.h, backwards. What is seen belongs
 * to one generation if that and the state are the same before and after. */
bool control_look(const struct control *c, struct control_view *v) {
  uint64_t generation = atomic_load(&c->generation);
  uint32_t state = atomic_load(&c->state);
  v->durable = atomic_load(&c->durable);
  v->end = atomic_load(&c->end);
  v->active = atomic_load(&c->active);
  v->epoch = atomic_load(&c->epoch);
  v->durable_each = atomic_load(&c->durable_each) != 0;
  uint32_t state_after = atomic_load(&c->state);
  v->generation = atomic_load(&c->generation);
  v->state = (enum control_state)state_after;
  bool known = state_after >= CONTROL_LIVE && state_after <= CONTROL_POISONED;
  return known && state != CONTROL_BUILDING && v->generation == generation;
}

void control_wake(struct control *c, io_env *io, uint32_t sleepers) {
  atomic_fetch_and(&c->attention, ~sleepers);
  if (sleepers & CONTROL_END_SLEEPERS) {
    atomic_fetch_add(&c->end_word, 1);
    io->wake_shared(io, &c->end_word, INT_MAX);
  }
  if (sleepers & CONTROL_DURABLE_SLEEPERS) {
    atomic_fetch_add(&c->durable_word, 1);
    io->wake_shared(io, &c->durable_word, INT_MAX);
  }
}

void control_request_sync(struct control *c, io_env *io, uint64_t offset) {
  uint64_t asked = atomic_load(&c->sync_request);
  while (asked < offset &&
         !atomic_compare_exchange_strong(&c->sync_request, &asked, offset))
    ;
  atomic_fetch_add(&c->sync_word, 1);
  io->wake_shared(io, &c->sync_word, 1);
}
