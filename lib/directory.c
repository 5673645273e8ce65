/* SPDX-License-Identifier: MIT
 *
 * The log's directory: what is there, making a log where there is none, and
 * cleaning up after a writer that did not finish.
 *
 * Making a log: directory, lock, first segment (with its name synced), meta
 * file (with its name synced). So a meta file without segments is damage, and
 * a first segment that was never used without a meta file is an unfinished
 * creation, which is begun again.
 */
#include <errno.h>
#include <stdlib.h>

#include "open.h"

duralog_error opening_fail(struct opening *o, duralog_error error, int os_error,
                           const char *name, const char *text) {
  char path[256];
  size_t length = strlen(o->path), tail = name ? strlen(name) + 1 : 0;
  const char *from = o->path;
  if (length + tail >= sizeof path) { /* keep the end */
    from += length + tail - (sizeof path - 1);
    length = sizeof path - 1 - tail;
  }
  memcpy(path, from, length);
  if (name) {
    path[length] = '/';
    memcpy(path + length + 1, name, tail - 1);
  }
  path[length + tail] = 0;
  diagnostic_fill(o->diagnostic, error, os_error, NONE, path, text);
  return error;
}

duralog_error opening_fail_os(struct opening *o, int result, const char *name,
                              const char *text) {
  return opening_fail(o, error_from_os(-result), -result, name, text);
}

duralog_error opening_fail_segment(struct opening *o, uint64_t number,
                                   const struct segment_failure *why) {
  char name[NAME_BYTES];
  segment_name(name, number);
  duralog_error error = why->newer         ? DURALOG_E_NEWER
                        : why->sync_failed ? DURALOG_E_POISONED
                        : why->os_error    ? error_from_os(why->os_error)
                                           : DURALOG_E_CORRUPT;
  return opening_fail(o, error, why->os_error, name, why->text);
}

/* ---- listing ---- */

struct list_context {
  io_env *io;
  struct listing *listing;
};

static int number_add(io_env *io, struct number_list *list, uint64_t number) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? list->capacity * 2 : 64;
    uint64_t *larger = io->alloc(io, capacity * sizeof *larger);
    if (!larger) return -ENOMEM;
    if (list->count)
      memcpy(larger, list->numbers, list->count * sizeof *larger);
    if (list->numbers) io->free(io, list->numbers);
    list->numbers = larger;
    list->capacity = capacity;
  }
  list->numbers[list->count++] = number;
  return 0;
}

static int list_one(void *context, const char *name) {
  struct list_context *c = context;
  struct listing *l = c->listing;
  uint64_t number = segment_number_of(name);
  if (number) return number_add(c->io, &l->segments, number);
  if (strcmp(name, META_NAME) == 0)
    l->meta = true;
  else if (strcmp(name, META_TEMPORARY_NAME) == 0)
    l->meta_temporary = true;
  else if (strcmp(name, LOCK_NAME) == 0)
    l->lock = true;
  else if (strcmp(name, CONTROL_NAME) == 0)
    ; /* of no worth, and built anew by whoever writes */
  else if (name_is_temporary(name)) {
    char copy[NAME_BYTES] = {0};
    memcpy(copy, name, strlen(name) - 4);
    return number_add(c->io, &l->temporary, segment_number_of(copy));
  } else if (strcmp(name, "lost+found") != 0)
    l->others = true;
  return 0;
}

static int compare_numbers(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

void listing_free(struct listing *l, io_env *io) {
  if (l->segments.numbers) io->free(io, l->segments.numbers);
  if (l->temporary.numbers) io->free(io, l->temporary.numbers);
  *l = (struct listing){.meta = false};
}

/* Mostly one follows the other, and each has its place: no need to compare (of
 * 1,024 that takes as long as reading the newest segment). */
static bool put_in_place(uint64_t *numbers, size_t count) {
  uint64_t least = UINT64_MAX, largest = 0;
  for (size_t i = 0; i < count; i++) {
    least = min_u64(least, numbers[i]);
    largest = max_u64(largest, numbers[i]);
  }
  if (largest - least >= count) return false;
  for (size_t i = 0; i < count; i++)
    while (numbers[i] != least + i) {
      uint64_t *place = &numbers[numbers[i] - least], other = *place;
      if (other == numbers[i]) return false; /* twice */
      *place = numbers[i];
      numbers[i] = other;
    }
  return true;
}

int listing_read(struct listing *l, io_env *io, int directory) {
  listing_free(l, io);
  struct list_context context = {io, l};
  int result = io->dir_list(io, directory, list_one, &context);
  struct number_list *s = &l->segments;
  if (!result && s->count && !put_in_place(s->numbers, s->count))
    qsort(s->numbers, s->count, sizeof *s->numbers, compare_numbers);
  return result;
}

duralog_error directory_list(struct opening *o) {
  int result = listing_read(&o->listing, o->log->io, o->log->directory.handle);
  return result ? opening_fail_os(o, result, NULL, "cannot list the log")
                : DURALOG_OK;
}

/* ---- the directory itself ---- */

static duralog_error open_handle(struct opening *o) {
  io_env *io = o->log->io;
  bool may_make = !o->options.must_exist && !o->options.read_only;
  int dir = io->dir_open(io, o->path);
  if (dir == -ENOENT && may_make) {
    uint32_t mode = o->options.file_mode; /* search where there is read */
    int result = io->dir_make(io, o->path, mode | (mode & 0444u) >> 2);
    if (result && result != -EEXIST)
      return opening_fail_os(o, result, NULL, "cannot make the directory");
    STEP(io, "create/directory");
    o->report.created = o->made_directory = result == 0;
    dir = io->dir_open(io, o->path);
  }
  if (dir == -ENOENT)
    return opening_fail(o, DURALOG_E_NOT_FOUND, ENOENT, NULL,
                        "there is no such directory");
  if (dir < 0)
    return opening_fail_os(o, dir, NULL, "cannot open the directory");
  o->log->directory.handle = dir;
  return DURALOG_OK;
}

static duralog_error check_file_system(struct opening *o) {
  io_env *io = o->log->io;
  struct io_fs fs;
  int result = io->dir_fs(io, o->log->directory.handle, &fs);
  if (result)
    return opening_fail_os(o, result, NULL, "cannot tell the file system");
  o->report.fs_overlay = fs.overlay;
  o->report.fs_memory = fs.memory;
  o->report.fs_fuse = fs.fuse;
  if (fs.network && !o->options.read_only)
    return opening_fail(o, DURALOG_E_UNSUPPORTED, 0, NULL,
                        "a network file system keeps no promise about locks "
                        "and mapped stores");
  if (fs.copy_on_write && !o->options.read_only)
    return opening_fail(o, DURALOG_E_UNSUPPORTED, 0, NULL,
                        "on a copy-on-write file system a mapped store can run "
                        "out of space, which would kill the process");
  return DURALOG_OK;
}

static duralog_error take_lock(struct opening *o) {
  io_env *io = o->log->io;
  int result =
      io->lock(io, o->log->directory.handle, LOCK_NAME, o->options.file_mode);
  if (result == -EAGAIN)
    return opening_fail(o, DURALOG_E_BUSY, 0, LOCK_NAME,
                        "another writer has the log open");
  if (result < 0)
    return opening_fail_os(o, result, LOCK_NAME, "cannot lock the log");
  o->log->lock_file = result;
  STEP(io, "lock/taken");
  o->made_lock = !o->listing.lock;
  return DURALOG_OK;
}

/* Where locks cannot be told, as without a lock file, no writer lives. */
duralog_error directory_look_for_writer(struct opening *o) {
  io_env *io = o->log->io;
  int result = io->locked(io, o->log->directory.handle, LOCK_NAME);
  o->report.writer_lives = result == 1;
  bool failed = result == -EIO || result == -EMFILE || result == -ENFILE ||
                result == -ENOMEM;
  return failed ? opening_fail_os(o, result, LOCK_NAME,
                                  "cannot tell whether a writer lives")
                : DURALOG_OK;
}

/* ---- meta ---- */

duralog_error directory_read_meta(struct opening *o) {
  io_env *io = o->log->io;
  uint8_t bytes[META_BYTES] = {0};
  int file = io->file_open(io, o->log->directory.handle, META_NAME, IO_READ, 0);
  if (file < 0)
    return opening_fail_os(o, file, META_NAME, "cannot open the meta file");
  int64_t n = io_read(io, file, bytes, sizeof bytes, 0);
  io->close(io, file);
  if (n < 0)
    return opening_fail_os(o, (int)n, META_NAME, "cannot read the meta file");
  switch (meta_decode(&o->meta, bytes)) {
    case BLOCK_VALID: return DURALOG_OK;
    case BLOCK_NEWER:
      return opening_fail(o, DURALOG_E_NEWER, 0, META_NAME,
                          "the log was written by a newer release");
    case BLOCK_EMPTY:
    case BLOCK_DAMAGED: break;
  }
  o->meta_lost = true;
  return DURALOG_OK;
}

duralog_error directory_write_meta(struct opening *o) {
  io_env *io = o->log->io;
  int dir = o->log->directory.handle;
  uint8_t bytes[META_BYTES];
  meta_encode(bytes, &o->meta);
  int result = io->unlink(io, dir, META_TEMPORARY_NAME);
  if (result && result != -ENOENT)
    return opening_fail_os(o, result, META_TEMPORARY_NAME,
                           "cannot remove an unfinished meta file");
  int file = io->file_open(io, dir, META_TEMPORARY_NAME, IO_WRITE | IO_CREATE,
                           o->options.file_mode);
  if (file < 0)
    return opening_fail_os(o, file, META_NAME, "cannot create the meta file");
  STEP(io, "meta/opened");
  result = io_write(io, file, bytes, sizeof bytes, 0);
  int synced = result ? 0 : io->file_sync(io, file, NULL, IO_SYNC_META);
  io->close(io, file);
  if (result) {
    io->unlink(io, dir, META_TEMPORARY_NAME);
    return opening_fail_os(o, result, META_NAME, "cannot write the meta file");
  }
  STEP(io, "meta/rename");
  if (!synced) result = io->rename(io, dir, META_TEMPORARY_NAME, META_NAME);
  if (result)
    return opening_fail_os(o, result, META_NAME, "cannot name the meta file");
  STEP(io, "meta/renamed");
  if (!synced) synced = io->dir_sync(io, dir, IO_SYNC_META_NAME);
  if (synced)
    return opening_fail(o, DURALOG_E_POISONED, -synced, META_NAME,
                        "cannot sync the meta file");
  STEP(io, "meta/durable");
  return DURALOG_OK;
}

/* ---- creating ---- */

/* Not every failure to sync a directory is a failed sync: it has to be opened
 * first. */
duralog_error opening_fail_sync(struct opening *o, int result,
                                const char *text) {
  bool not_tried = result == -EMFILE || result == -ENFILE || result == -ENOMEM;
  return not_tried ? opening_fail_os(o, result, NULL, text)
                   : opening_fail(o, DURALOG_E_POISONED, -result, NULL, text);
}

duralog_error directory_read_page(struct opening *o, uint64_t number,
                                  uint8_t page[SEGMENT_HEADER_BYTES],
                                  struct identity *id, bool *valid) {
  io_env *io = o->log->io;
  char name[NAME_BYTES];
  segment_name(name, number);
  *valid = false;
  int file = io->file_open(io, o->log->directory.handle, name, IO_READ, 0);
  if (file == -ENOENT) return DURALOG_OK;
  if (file < 0)
    return opening_fail_os(o, file, name, "cannot open a segment file");
  int64_t n = io_read(io, file, page, SEGMENT_HEADER_BYTES, 0);
  io->close(io, file);
  if (n < 0)
    return opening_fail_os(o, (int)n, name, "cannot read a segment header");
  *valid = n == SEGMENT_HEADER_BYTES &&
           identity_decode(id, page) == BLOCK_VALID && id->number == number;
  return DURALOG_OK;
}

/* A first segment that was made and never used, or nothing at all. */
static duralog_error unfinished_creation(struct opening *o, bool *unfinished) {
  const struct number_list *segments = &o->listing.segments;
  uint8_t page[SEGMENT_HEADER_BYTES];
  struct identity id;
  struct start start;
  bool valid;
  *unfinished = segments->count == 0;
  if (segments->count != 1 || segments->numbers[0] != SEGMENT_NUMBER_FIRST)
    return DURALOG_OK;
  duralog_error error =
      directory_read_page(o, SEGMENT_NUMBER_FIRST, page, &id, &valid);
  *unfinished = !error && valid &&
                start_decode(&start, page, id.uuid, id.number) == BLOCK_EMPTY &&
                mark_newest(page, id.uuid, id.number).sequence == 0;
  return error;
}

static duralog_error create(struct opening *o) {
  struct duralog *log = o->log;
  io_env *io = log->io;
  o->creating = true;
  STEP(io, "create/begin");
  o->meta = (struct meta){.version = FORMAT_VERSION,
                          .created_ms = io->wall_ms(io),
                          .first_segment = SEGMENT_NUMBER_FIRST};
  int result = io->random(io, o->meta.uuid, sizeof o->meta.uuid);
  if (result) return opening_fail_os(o, result, NULL, "no random numbers");
  memcpy(log->directory.uuid, o->meta.uuid, sizeof o->meta.uuid);
  result = io->dir_sync_parent(io, o->path, IO_SYNC_LOG_NAME);
  /* Who may not read the parent did not make the directory either. */
  if (result && (o->report.created || (result != -EACCES && result != -EPERM)))
    return opening_fail_sync(o, result, "cannot sync the parent directory");
  STEP(io, "create/named");
  struct segment *s;
  struct segment_failure why;
  if (!segment_create(&log->directory, SEGMENT_NUMBER_FIRST, log->segment_bytes,
                      o->meta.created_ms, &s, &why))
    return opening_fail_segment(o, SEGMENT_NUMBER_FIRST, &why);
  segment_close(&log->directory, s);
  duralog_error error = directory_write_meta(o);
  if (error) return error;
  o->report.created = true;
  STEP(io, "create/done");
  return directory_list(o);
}

/* Nothing of the log was promised to anybody; the lock is still held. What
 * cannot be undone is an unfinished creation, which the next open begins
 * again. */
void directory_undo(struct opening *o) {
  io_env *io = o->log->io;
  int dir = o->log->directory.handle;
  char name[NAME_BYTES];
  if (dir >= 0 && o->creating) {
    /* The meta file goes first and for good: without its segment it would be a
     * damaged log. */
    int result = io->unlink(io, dir, META_NAME);
    if (result == 0) result = io->dir_sync(io, dir, IO_SYNC_META_NAME);
    if (result && result != -ENOENT) return;
    io->unlink(io, dir, META_TEMPORARY_NAME);
    segment_name(name, SEGMENT_NUMBER_FIRST);
    io->unlink(io, dir, name);
    segment_temporary_name(name, SEGMENT_NUMBER_FIRST);
    io->unlink(io, dir, name);
  }
  if (dir >= 0 && o->made_control) io->unlink(io, dir, CONTROL_NAME);
  if (dir >= 0 && o->made_lock &&
      (o->creating || o->listing.segments.count == 0))
    io->unlink(io, dir, LOCK_NAME);
  if (o->made_directory) io->dir_remove(io, o->path);
  STEP(io, "open/undone");
}

/* The identity of a log whose meta file is missing or damaged. */
static duralog_error identity_from_segments(struct opening *o) {
  uint8_t page[SEGMENT_HEADER_BYTES];
  o->meta = (struct meta){.version = FORMAT_VERSION};
  for (size_t i = 0; i < o->listing.segments.count; i++) {
    struct identity id;
    bool valid;
    duralog_error error = directory_read_page(o, o->listing.segments.numbers[i],
                                              page, &id, &valid);
    if (error) return error;
    if (!valid) continue;
    memcpy(o->meta.uuid, id.uuid, sizeof id.uuid);
    o->meta.created_ms = id.created_ms;
    o->meta.first_segment = o->listing.segments.numbers[0];
    return DURALOG_OK;
  }
  return opening_fail(o, DURALOG_E_CORRUPT, 0, META_NAME,
                      "neither the meta file nor any segment says which log "
                      "this is");
}

/* What kind of directory it is; sets meta_lost. */
static duralog_error classify(struct opening *o, bool *is_new) {
  const struct listing *l = &o->listing;
  *is_new = false;
  if (l->meta) return directory_read_meta(o);
  if (l->segments.count == 0 && l->others)
    return opening_fail(o, DURALOG_E_FOREIGN, 0, NULL,
                        "the directory holds other things than a log");
  duralog_error error = unfinished_creation(o, is_new);
  if (error) return error;
  if (*is_new && (o->options.must_exist || o->options.read_only))
    return opening_fail(o, DURALOG_E_NOT_FOUND, 0, NULL,
                        "the directory holds no log");
  o->meta_lost = !*is_new;
  return DURALOG_OK;
}

static duralog_error exists(struct opening *o, const char *name, bool *there) {
  io_env *io = o->log->io;
  int file = io->file_open(io, o->log->directory.handle, name, IO_READ, 0);
  *there = file >= 0;
  if (file >= 0) io->close(io, file);
  return file >= 0 || file == -ENOENT
             ? DURALOG_OK
             : opening_fail_os(o, file, name, "cannot open a file of the log");
}

/* Where a writer has been before, its two files say enough to go for the lock:
 * listing 1,024 segments takes longer than all else of a clean open. */
static duralog_error list_if_unknown(struct opening *o) {
  bool known = false;
  duralog_error error = DURALOG_OK;
  if (!o->options.read_only) error = exists(o, LOCK_NAME, &known);
  if (!error && known) error = exists(o, META_NAME, &known);
  o->listing.meta = o->listing.lock = known;
  return error || known ? error : directory_list(o);
}

static duralog_error identify(struct opening *o) {
  bool is_new;
  duralog_error error = list_if_unknown(o);
  if (!error) error = classify(o, &is_new);
  if (error) return error;
  if (!o->options.read_only) {
    /* What was listed before the lock may have been another's doing. */
    error = take_lock(o);
    if (!error) error = directory_list(o);
    o->meta_lost = false;
    if (!error) error = classify(o, &is_new);
    if (error) return error;
    if (is_new) return create(o);
  } else {
    error = directory_look_for_writer(o);
    if (error) return error;
  }
  if (!o->meta_lost) {
    memcpy(o->log->directory.uuid, o->meta.uuid, sizeof o->meta.uuid);
    return DURALOG_OK;
  }
  error = identity_from_segments(o);
  memcpy(o->log->directory.uuid, o->meta.uuid, sizeof o->meta.uuid);
  return error;
}

duralog_error directory_open(struct opening *o) {
  duralog_error error = open_handle(o);
  if (!error) error = check_file_system(o);
  return error ? error : identify(o);
}

/* ---- cleaning ---- */

static duralog_error remove_file(struct opening *o, const char *name,
                                 bool *removed) {
  io_env *io = o->log->io;
  STEP(io, "clean/remove");
  int result = io->unlink(io, o->log->directory.handle, name);
  if (result && result != -ENOENT)
    return opening_fail_os(o, result, name, "cannot remove a leftover");
  STEP(io, "clean/removed");
  *removed = true;
  return DURALOG_OK;
}

static duralog_error sync_names(struct opening *o, enum io_sync_reason why) {
  io_env *io = o->log->io;
  int result = io->dir_sync(io, o->log->directory.handle, why);
  STEP(io, "clean/synced");
  return result
             ? opening_fail_sync(o, result, "cannot sync the log's directory")
             : DURALOG_OK;
}

duralog_error directory_clean(struct opening *o, uint64_t keep, bool adopted) {
  char name[NAME_BYTES];
  bool removed = false;
  duralog_error error = DURALOG_OK;
  const struct listing *l = &o->listing;
  if (l->meta_temporary) error = remove_file(o, META_TEMPORARY_NAME, &removed);
  for (size_t i = 0; !error && i < l->temporary.count; i++) {
    segment_temporary_name(name, l->temporary.numbers[i]);
    error = remove_file(o, name, &removed);
  }
  /* From the end and each for good, so that no crash leaves a gap, which would
   * look like a missing file. */
  for (size_t i = l->segments.count; !error && i-- > 0;) {
    if (l->segments.numbers[i] <= keep) break;
    segment_name(name, l->segments.numbers[i]);
    error = remove_file(o, name, &removed);
    if (!error) error = sync_names(o, IO_SYNC_REMOVED);
  }
  if (error || o->report.created) return error;
  /* A writer that was killed may have named files without syncing the names;
   * nothing may be promised before that is made good. Only a clean log that has
   * nothing prepared has no such names. (The log's own name in its parent comes
   * before anything in it: see create.) */
  if (o->report.clean && !removed && !adopted) return DURALOG_OK;
  return sync_names(o, IO_SYNC_NAMES);
}
