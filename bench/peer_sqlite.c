/* SPDX-License-Identifier: MIT
 *
 * SQLite: WAL, one prepared INSERT, one transaction for each record or batch;
 * synchronous = FULL where each is to be durable, OFF otherwise, where a
 * checkpoint would only cost. One connection, shared by the threads.
 */
#include "peers.h"

#if __has_include(<sqlite3.h>)
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "scratch.h"

typedef struct state {
  sqlite3 *db;
  sqlite3_stmt *insert, *begin, *commit, *select;
  pthread_mutex_t lock;
  volatile uint64_t seen;
} state;

static bool ok(const state *it, const char *what, int result) {
  bool well = result == SQLITE_OK || result == SQLITE_DONE;
  return contender_ok("SQLite", what, well, well ? "" : sqlite3_errmsg(it->db));
}

static bool prepare(state *it, const char *text, sqlite3_stmt **out) {
  return ok(it, text, sqlite3_prepare_v2(it->db, text, -1, out, NULL));
}

static bool run(state *it, sqlite3_stmt *statement) {
  int result = sqlite3_step(statement);
  sqlite3_reset(statement);
  return ok(it, "step", result);
}

static const char *pragmas(contender_mode mode) {
  return mode == MODE_DURABLE
             ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
             : "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
               "PRAGMA wal_autocheckpoint=100000;";
}

static void *peer_open(const char *dir, contender_mode mode, uint64_t bytes) {
  char path[PATH_BYTES + 16];
  state *it = mode == MODE_EVERY ? NULL : calloc(1, sizeof *it);
  (void)bytes;
  if (!it) return NULL;
  snprintf(path, sizeof path, "%s/log.db", dir);
  pthread_mutex_init(&it->lock, NULL);
  if (!ok(it, path, sqlite3_open(path, &it->db)) ||
      !ok(it, "pragma",
          sqlite3_exec(it->db, pragmas(mode), NULL, NULL, NULL)) ||
      !ok(it, "create",
          sqlite3_exec(it->db,
                       "CREATE TABLE log(id INTEGER PRIMARY KEY, data BLOB)",
                       NULL, NULL, NULL)) ||
      !prepare(it, "INSERT INTO log(data) VALUES(?)", &it->insert) ||
      !prepare(it, "SELECT data FROM log ORDER BY id", &it->select) ||
      !prepare(it, "BEGIN", &it->begin) || !prepare(it, "COMMIT", &it->commit))
    return NULL;
  return it;
}

static bool put(state *it, const void *data, size_t size) {
  sqlite3_bind_blob(it->insert, 1, data, (int)size, SQLITE_STATIC);
  return run(it, it->insert);
}

static bool peer_append(void *log, const workload *work) {
  state *it = log;
  if (!work->batch) {
    for (uint64_t i = 0; i < work->count; i++)
      if (!put(it, workload_record(work, i), work->size)) return false;
    return true;
  }
  for (uint64_t i = 0; i < work->count; i += work->batch) {
    if (!run(it, it->begin)) return false;
    for (size_t k = 0; k < work->batch; k++)
      if (!put(it, workload_record(work, i + k), work->size)) return false;
    if (!run(it, it->commit)) return false;
  }
  return true;
}

static bool peer_append_one(void *log, const void *data, size_t size) {
  state *it = log;
  pthread_mutex_lock(&it->lock);
  bool good = put(it, data, size);
  pthread_mutex_unlock(&it->lock);
  return good;
}

static bool peer_settle(void *log) {
  state *it = log;
  return ok(it, "checkpoint",
            sqlite3_wal_checkpoint_v2(it->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                      NULL, NULL));
}

static uint64_t peer_read(void *log, size_t many) {
  state *it = log;
  uint64_t records = 0, seen = 0;
  (void)many;
  while (sqlite3_step(it->select) == SQLITE_ROW) {
    seen += *(const unsigned char *)sqlite3_column_blob(it->select, 0);
    records++;
  }
  sqlite3_reset(it->select);
  it->seen = seen;
  return records;
}

static void peer_close(void *log) {
  state *it = log;
  sqlite3_finalize(it->insert);
  sqlite3_finalize(it->select);
  sqlite3_finalize(it->begin);
  sqlite3_finalize(it->commit);
  sqlite3_close(it->db);
  pthread_mutex_destroy(&it->lock);
  free(it);
}
#endif

const contender contender_sqlite = {
    .name = "SQLite",
    .note =
        "checksums in its WAL only, no group commit, no sync every so many "
        "(libsqlite3-dev)",
    .checksummed = true,
#if __has_include(<sqlite3.h>)
    .open = peer_open,
    .append = peer_append,
    .append_one = peer_append_one,
    .settle = peer_settle,
    .read = peer_read,
    .close = peer_close,
#endif
};
