/* SPDX-License-Identifier: MIT
 *
 * Which error a fault may come out as, written down apart from the library: by
 * what duralog.h says of each function, and by what the errno means. And the
 * faults that need not come out at all, each with its reason.
 */
#include <errno.h>

#include "fault_story.h"

#define BIT(error) (UINT32_C(1) << -DURALOG_##error)

/* duralog.h, for calls whose arguments are right, on one's own handle. */
static const uint32_t documented[] = {
    [CALL_OPEN] = BIT(E_BUSY) | BIT(E_NOT_FOUND) | BIT(E_FOREIGN) |
                  BIT(E_CORRUPT) | BIT(E_PERMISSION) | BIT(E_READ_ONLY) |
                  BIT(E_FULL) | BIT(E_RESOURCES) | BIT(E_IO) | BIT(E_POISONED),
    [CALL_CLOSE] = BIT(E_POISONED) | BIT(E_IO) | BIT(E_FULL),
    [CALL_APPEND] =
        BIT(E_FULL) | BIT(E_RESOURCES) | BIT(E_IO) | BIT(E_POISONED),
    [CALL_SYNC] = BIT(E_POISONED),
    [CALL_WAIT] = BIT(E_POISONED),
    [CALL_TICK] = BIT(E_FULL) | BIT(E_RESOURCES) | BIT(E_IO) | BIT(E_POISONED),
    [CALL_READER_OPEN] = BIT(E_RESOURCES),
    [CALL_READ] = BIT(E_RESOURCES) | BIT(E_IO) | BIT(E_CORRUPT),
    [CALL_HOLD] = BIT(E_RESOURCES),
    [CALL_READER_WAIT] = BIT(E_POISONED) | BIT(E_RESOURCES) | BIT(E_IO),
    [CALL_SEGMENT] = BIT(E_RESOURCES) | BIT(E_IO),
    [CALL_SALVAGE] = BIT(E_BUSY) | BIT(E_NOT_FOUND) | BIT(E_FOREIGN) |
                     BIT(E_CORRUPT) | BIT(E_PERMISSION) | BIT(E_READ_ONLY) |
                     BIT(E_FULL) | BIT(E_RESOURCES) | BIT(E_IO) |
                     BIT(E_POISONED),
    [CALL_WATCH_OPEN] = BIT(E_RESOURCES) | BIT(E_IO),
    [CALL_WATCH_TAKE] = BIT(E_POISONED),
};

static uint32_t meaning(int os_error, bool opening) {
  switch (os_error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return BIT(E_FULL);
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN: return BIT(E_RESOURCES);
    default: break;
  }
  if (!opening) return BIT(E_IO);
  switch (os_error) {
    case ENOENT: return BIT(E_NOT_FOUND);
    case EACCES:
    case EPERM: return BIT(E_PERMISSION);
    case EROFS: return BIT(E_READ_ONLY);
    case ENOTDIR:
    case EISDIR:
    case ELOOP: return BIT(E_FOREIGN);
    default: return BIT(E_IO);
  }
}

static bool is(const struct fault_case *c, const char *point) {
  return strcmp(c->point, point) == 0;
}

bool is_step(const char *point) { return strncmp(point, "step/", 5) == 0; }

static bool is_sync(const struct fault_case *c) {
  return strncmp(c->point, "sync/", 5) == 0;
}

/* What this fault may mean to this call. */
static uint32_t possible(enum call call, const struct fault_case *c) {
  bool opening = call == CALL_OPEN || call == CALL_SALVAGE;
  if (is_sync(c)) {
    /* Only the opening of a directory that is to be synced can do without. */
    bool not_tried = opening && c->error == ENOMEM;
    return BIT(E_POISONED) | (not_tried ? BIT(E_RESOURCES) : 0);
  }
  if (is(c, "io/lock") && c->error == EAGAIN) return BIT(E_BUSY);
  if (is(c, "io/thread_start") || is(c, "io/owner_word"))
    return BIT(E_RESOURCES);
  if (is(c, "io/access")) return BIT(E_IO) | BIT(E_POISONED);
  uint32_t errors = meaning(c->error, opening);
  /* A listed file that is not there is a damaged log. */
  if (is(c, "io/file_open") && c->error == ENOENT) errors |= BIT(E_CORRUPT);
  /* To salvage, what cannot be opened or read is lost; all of it: nothing says
   * which log it is. */
  if (call == CALL_SALVAGE && (is(c, "io/file_open") || is(c, "io/file_read")))
    errors |= BIT(E_CORRUPT);
  /* Another made the directory, and took it away again. */
  if (is(c, "io/dir_make") && c->error == EEXIST) errors |= BIT(E_NOT_FOUND);
  /* Writing again what recovery accepted is part of a sync; and a name that
   * cannot be made durable is a sync that failed. */
  if (is(c, "io/file_write") || is(c, "io/parent_open"))
    errors |= BIT(E_POISONED);
  return errors;
}

const char *rules_object(enum call call, const struct fault_case *c,
                         duralog_error error) {
  uint32_t bit = UINT32_C(1) << -error;
  if (!c->point) return "an error without a fault";
  if (!(documented[call] & bit))
    return "duralog.h does not name it for this function";
  if (!(possible(call, c) & bit)) return "that fault is no such error";
  return NULL;
}

/* ---- the benign list ----
 *
 * A follower makes its table of segments again at its next look.
 *
 * What fails while a failure is being undone (io/dir_remove, io/unlink) comes
 * out as that failure, and is not here. */

static struct benign {
  const char *point;
  int error; /* 0: any */
  const char *reason;
  bool used;
} benign[] = {
    {"io/close", 0, "all that matters was synced before", false},
    {"io/unmap", 0, "all that matters was synced before", false},
    {"io/map_read_only", 0, "a protection more", false},
    {"io/map_scattered", 0, "a hint", false},
    {"io/populate", 0, "a hint", false},
    {"io/depopulate", 0, "a hint", false},
    {"io/file_data", 0, "the file is taken to be full of data", false},
    {"io/boot_id", 0, "the report says that a reboot cannot be told", false},
    {"io/fence_all", 0, "both sides fence instead", false},
    {"io/alloc", 0, "settling writes more than it has to", false},
    {"io/access", 0, "many records end before it; settling writes more", false},
    {"io/file_read", EIO, "salvage reads again, a page at a time", false},
    {"io/file_write", 0, "the record is stored into the mapping instead",
     false},
    {"io/file_open", ENOENT, "no seal is found: the segment is walked", false},
    {"io/file_open", EMFILE, "the log's own spare ones go first", false},
    {"io/file_open", ENFILE, "the log's own spare ones go first", false},
    {"io/map", ENFILE, "the log's own spare ones go first", false},
    {"io/dir_open", ENOENT, "it is made, or found to be there", false},
    {"io/dir_open_in", ENOENT, "it is made, or there are no groups", false},
    {"io/dir_make_in", EEXIST, "the directory of groups was there", false},
    {"io/file_create", EEXIST, "another makes a group: tried again", false},
    {"io/lock", EAGAIN, "another makes a group: tried again", false},
    {"io/parent_open", EACCES, "who may not read it made no log there", false},
    {"io/locked", EACCES, "no lock can be told: no writer", false},
    {"io/locked", ENOENT, "no lock file: no writer", false},
    {"io/locked", ENOLCK, "no lock can be told: no writer", false},
    {"io/wait", 0, "every sleeper looks again", false},
    {"io/fence_join", 0, "sleepers nap and look", false},
    {"scratch/size", 0, "a follower tries it again", false},
    {"scratch/read", 0, "a follower tries it again", false},
    {"scratch/map", 0, "a follower tries it again", false},
    {"scratch/open", 0, "made anew, or looked at without sleeping on it",
     false},
};

const char *rules_benign(const struct fault_case *c) {
  if (c->plot == PLOT_FOLLOW &&
      (is(c, "io/alloc") || is(c, "io/dir_list") || is(c, "io/file_open") ||
       is(c, "io/file_read")))
    return "a follower looks again";
  /* The next call would meet it again. */
  if (is(c, "io/access") && c->ever) return NULL;
  /* Only settling can do without memory. */
  if (is(c, "io/alloc") && c->plot != PLOT_UNCLEAN) return NULL;
  if (is(c, "io/file_read") && c->plot != PLOT_SALVAGE) return NULL;
  /* Only records that are durable before their append returns are written. */
  if (is(c, "io/file_write") && c->mode != MODE_EACH && c->mode != MODE_STRICT)
    return NULL;
  for (size_t i = 0; i < COUNT_OF(benign); i++)
    if (is(c, benign[i].point) &&
        (!benign[i].error || benign[i].error == c->error)) {
      benign[i].used = true;
      return benign[i].reason;
    }
  return NULL;
}

size_t rules_benign_unused(void) {
  size_t unused = 0;
  for (size_t i = 0; i < COUNT_OF(benign); i++)
    if (!benign[i].used) {
      fprintf(stderr, "on the benign list, and not needed: %s (%s)\n",
              benign[i].point, benign[i].reason);
      unused++;
    }
  return unused;
}
