/* SPDX-License-Identifier: MIT
 *
 * LevelDB and RocksDB, whose interfaces in C are the same but for the names: a
 * write batch for each record or batch of them, keys that sort by number, no
 * compression, a write buffer that nothing is flushed from while it is timed.
 * Threads that sync share a write.
 *
 * Before: the library's header, DB(name), DB_NAME, more_options. After:
 * peer_settle, and the contender.
 */
#include <stdatomic.h>
#include <stdlib.h>

#define BUFFER_BYTES ((size_t)1 << 30)

typedef struct state {
  DB(t) * db;
  DB(options_t) * options;
  DB(writeoptions_t) * writing, *syncing;
  DB(readoptions_t) * reading;
  contender_mode mode;
  _Atomic uint64_t next;
  uint64_t unsynced;
  volatile uint64_t seen;
} state;

static bool ok(const char *what, char *error) {
  bool well = contender_ok(DB_NAME, what, !error, error);
  DB(free)(error);
  return well;
}

static void *peer_open(const char *dir, contender_mode mode, uint64_t bytes) {
  char *error = NULL;
  state *it = calloc(1, sizeof *it);
  (void)bytes;
  if (!it) return NULL;
  it->mode = mode;
  it->options = DB(options_create)();
  DB(options_set_create_if_missing)(it->options, 1);
  DB(options_set_write_buffer_size)(it->options, BUFFER_BYTES);
  DB(options_set_compression)(it->options, DB(no_compression));
  more_options(it->options);
  it->writing = DB(writeoptions_create)();
  it->syncing = DB(writeoptions_create)();
  DB(writeoptions_set_sync)(it->syncing, 1);
  it->reading = DB(readoptions_create)();
  DB(readoptions_set_verify_checksums)(it->reading, 1);
  it->db = DB(open)(it->options, dir, &error);
  return ok("open", error) ? it : NULL;
}

static void put(state *it, DB(writebatch_t) * batch, const void *data,
                size_t size) {
  unsigned char key[8];
  key_of(atomic_fetch_add(&it->next, 1), key);
  DB(writebatch_put)(batch, (const char *)key, sizeof key, data, size);
}

static bool store(state *it, DB(writebatch_t) * batch, bool durably) {
  char *error = NULL;
  DB(write)(it->db, durably ? it->syncing : it->writing, batch, &error);
  DB(writebatch_clear)(batch);
  return ok("write", error);
}

static bool is_due(state *it, uint64_t records) {
  it->unsynced += records;
  if (it->mode != MODE_EVERY || it->unsynced < EVERY)
    return it->mode == MODE_DURABLE;
  it->unsynced = 0;
  return true;
}

static bool peer_append(void *log, const workload *work) {
  state *it = log;
  size_t size = work->batch ? work->batch : 1;
  bool good = true;
  DB(writebatch_t) *batch = DB(writebatch_create)();
  for (uint64_t i = 0; good && i < work->count; i += size) {
    for (size_t k = 0; k < size; k++)
      put(it, batch, workload_record(work, i + k), work->size);
    good = store(it, batch, is_due(it, size));
  }
  DB(writebatch_destroy)(batch);
  return good;
}

static bool peer_append_one(void *log, const void *data, size_t size) {
  DB(writebatch_t) *batch = DB(writebatch_create)();
  put(log, batch, data, size);
  bool good = store(log, batch, true);
  DB(writebatch_destroy)(batch);
  return good;
}

static uint64_t peer_read(void *log, size_t many) {
  state *it = log;
  uint64_t records = 0, seen = 0;
  (void)many;
  DB(iterator_t) *at = DB(create_iterator)(it->db, it->reading);
  for (DB(iter_seek_to_first)(at); DB(iter_valid)(at); DB(iter_next)(at)) {
    size_t size;
    seen += *(const unsigned char *)DB(iter_value)(at, &size);
    records++;
  }
  DB(iter_destroy)(at);
  it->seen = seen;
  return records;
}

static void peer_close(void *log) {
  state *it = log;
  DB(close)(it->db);
  DB(options_destroy)(it->options);
  DB(writeoptions_destroy)(it->writing);
  DB(writeoptions_destroy)(it->syncing);
  DB(readoptions_destroy)(it->reading);
  free(it);
}
