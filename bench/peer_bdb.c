/* SPDX-License-Identifier: MIT
 *
 * Berkeley DB: its log alone (DB_ENV->log_put), in a private environment.
 * DB_FLUSH where each is to be durable: threads share flushes. Otherwise
 * records stay in its buffer within the process until that is full: a killed
 * process loses them, which makes it faster than it ought to be here.
 */
#include "peers.h"

#if __has_include(<db.h>)
#include <db.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES (1u << 20)
#define FILE_BYTES (1u << 28)

typedef struct state {
  DB_ENV *env;
  contender_mode mode;
  uint64_t unsynced;
  volatile uint64_t seen;
} state;

static bool ok(const char *what, int error) {
  return contender_ok("Berkeley DB", what, error == 0, db_strerror(error));
}

static void *peer_open(const char *dir, contender_mode mode, uint64_t bytes) {
  state *it = calloc(1, sizeof *it);
  (void)bytes;
  if (!it) return NULL;
  it->mode = mode;
  if (!ok("env", db_env_create(&it->env, 0)) ||
      !ok("buffer", it->env->set_lg_bsize(it->env, BUFFER_BYTES)) ||
      !ok("file size", it->env->set_lg_max(it->env, FILE_BYTES)) ||
      !ok("open", it->env->open(it->env, dir,
                                DB_CREATE | DB_PRIVATE | DB_THREAD |
                                    DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_TXN,
                                0600)))
    return NULL;
  return it;
}

static bool put(state *it, const void *data, size_t size, uint32_t flags) {
  DB_LSN lsn;
  DBT record;
  union {
    const void *in;
    void *out;
  } bytes = {data}; /* it does not write to it */
  memset(&record, 0, sizeof record);
  record.data = bytes.out;
  record.size = (uint32_t)size;
  return ok("log_put", it->env->log_put(it->env, &lsn, &record, flags));
}

static bool peer_append(void *log, const workload *work) {
  state *it = log;
  size_t batch = work->batch ? work->batch : 1;
  for (uint64_t i = 0; i < work->count; i++) {
    bool last = (i + 1) % batch == 0;
    bool due = it->mode == MODE_DURABLE && last;
    if (it->mode == MODE_EVERY && ++it->unsynced == EVERY) {
      it->unsynced = 0;
      due = true;
    }
    if (!put(it, workload_record(work, i), work->size, due ? DB_FLUSH : 0))
      return false;
  }
  return true;
}

static bool peer_append_one(void *log, const void *data, size_t size) {
  return put(log, data, size, DB_FLUSH);
}

static bool peer_settle(void *log) {
  state *it = log;
  return ok("log_flush", it->env->log_flush(it->env, NULL));
}

static uint64_t peer_read(void *log, size_t many) {
  state *it = log;
  DB_LOGC *cursor;
  DB_LSN lsn;
  DBT record;
  uint64_t records = 0, seen = 0;
  (void)many;
  memset(&record, 0, sizeof record);
  if (!ok("cursor", it->env->log_cursor(it->env, &cursor, 0))) return 0;
  int error = cursor->get(cursor, &lsn, &record, DB_FIRST);
  for (; error == 0; error = cursor->get(cursor, &lsn, &record, DB_NEXT)) {
    seen += *(const unsigned char *)record.data;
    records++;
  }
  cursor->close(cursor, 0);
  it->seen = seen;
  return error == DB_NOTFOUND || ok("get", error) ? records : 0;
}

static void peer_close(void *log) {
  state *it = log;
  ok("close", it->env->close(it->env, 0));
  free(it);
}
#endif

const contender contender_bdb = {
    .name = "Berkeley DB log",
    .note = "in page-cache mode a killed process loses its buffer (libdb-dev)",
    .checksummed = true,
#if __has_include(<db.h>)
    .open = peer_open,
    .append = peer_append,
    .append_one = peer_append_one,
    .settle = peer_settle,
    .read = peer_read,
    .close = peer_close,
#endif
};
