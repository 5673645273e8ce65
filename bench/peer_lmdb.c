/* SPDX-License-Identifier: MIT
 *
 * LMDB: integer keys, appended in order (MDB_APPEND), one transaction for each
 * record or batch. In page-cache mode it stores through its map and syncs
 * nothing (MDB_WRITEMAP, MDB_NOSYNC), which is its fastest.
 */
#include "peers.h"

#if __has_include(<lmdb.h>)
#include <lmdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAP_BYTES ((size_t)8 << 30)

typedef struct state {
  MDB_env *env;
  MDB_dbi db;
  contender_mode mode;
  uint64_t next, unsynced; /* under the lock of a writing transaction */
  volatile uint64_t seen;
} state;

static bool ok(const char *what, int error) {
  return contender_ok("LMDB", what, error == 0, mdb_strerror(error));
}

static bool make_db(state *it) {
  MDB_txn *txn;
  return ok("begin", mdb_txn_begin(it->env, NULL, 0, &txn)) &&
         ok("dbi",
            mdb_dbi_open(txn, NULL, MDB_INTEGERKEY | MDB_CREATE, &it->db)) &&
         ok("commit", mdb_txn_commit(txn));
}

static void *peer_open(const char *dir, contender_mode mode, uint64_t bytes) {
  unsigned flags = mode == MODE_DURABLE ? 0 : MDB_NOSYNC | MDB_WRITEMAP;
  state *it = calloc(1, sizeof *it);
  (void)bytes;
  if (!it) return NULL;
  it->mode = mode;
  if (!ok("env", mdb_env_create(&it->env)) ||
      !ok("map", mdb_env_set_mapsize(it->env, MAP_BYTES)) ||
      !ok("open", mdb_env_open(it->env, dir, flags, 0600)) || !make_db(it))
    return NULL;
  return it;
}

static bool put(state *it, MDB_txn *txn, const void *data, size_t size) {
  union {
    const void *in;
    void *out;
  } bytes = {data}; /* it does not write to it */
  size_t number = (size_t)it->next++;
  MDB_val key = {sizeof number, &number}, value = {size, bytes.out};
  return ok("put", mdb_put(txn, it->db, &key, &value, MDB_APPEND));
}

static bool sync_if_due(state *it, uint64_t records) {
  it->unsynced += records;
  if (it->mode != MODE_EVERY || it->unsynced < EVERY) return true;
  it->unsynced = 0;
  return ok("sync", mdb_env_sync(it->env, 1));
}

static bool peer_append(void *log, const workload *work) {
  state *it = log;
  size_t batch = work->batch ? work->batch : 1;
  for (uint64_t i = 0; i < work->count; i += batch) {
    MDB_txn *txn;
    if (!ok("begin", mdb_txn_begin(it->env, NULL, 0, &txn))) return false;
    for (size_t k = 0; k < batch; k++)
      if (!put(it, txn, workload_record(work, i + k), work->size)) return false;
    if (!ok("commit", mdb_txn_commit(txn)) || !sync_if_due(it, batch))
      return false;
  }
  return true;
}

static bool peer_append_one(void *log, const void *data, size_t size) {
  state *it = log;
  MDB_txn *txn;
  return ok("begin", mdb_txn_begin(it->env, NULL, 0, &txn)) &&
         put(it, txn, data, size) && ok("commit", mdb_txn_commit(txn));
}

static bool peer_settle(void *log) {
  state *it = log;
  return ok("sync", mdb_env_sync(it->env, 1));
}

static uint64_t peer_read(void *log, size_t many) {
  state *it = log;
  MDB_txn *txn;
  MDB_cursor *cursor;
  MDB_val key, value;
  uint64_t records = 0, seen = 0;
  (void)many;
  if (!ok("begin", mdb_txn_begin(it->env, NULL, MDB_RDONLY, &txn)) ||
      !ok("cursor", mdb_cursor_open(txn, it->db, &cursor)))
    return 0;
  while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
    seen += *(const unsigned char *)value.mv_data;
    records++;
  }
  mdb_cursor_close(cursor);
  mdb_txn_abort(txn);
  it->seen = seen;
  return records;
}

static void peer_close(void *log) {
  state *it = log;
  mdb_env_close(it->env);
  free(it);
}
#endif

const contender contender_lmdb = {
    .name = "LMDB",
    .note = "no checksums, no group commit (liblmdb-dev)",
#if __has_include(<lmdb.h>)
    .open = peer_open,
    .append = peer_append,
    .append_one = peer_append_one,
    .settle = peer_settle,
    .read = peer_read,
    .close = peer_close,
#endif
};
