/* SPDX-License-Identifier: MIT
 *
 * RocksDB; see peer_lsm.h.
 */
#include "peers.h"

#if __has_include(<rocksdb/c.h>)
#include <rocksdb/c.h>

#define DB_NAME "RocksDB"
#define DB(name) rocksdb_##name

static void more_options(rocksdb_options_t *options) {
  rocksdb_options_set_disable_auto_compactions(options, 1);
}

#include "peer_lsm.h"

/* Out of the write buffer, so that it is read from where it will lie. */
static bool peer_settle(void *log) {
  state *it = log;
  char *error = NULL;
  rocksdb_flushoptions_t *flushing = rocksdb_flushoptions_create();
  rocksdb_flush(it->db, flushing, &error);
  rocksdb_flushoptions_destroy(flushing);
  return ok("flush", error);
}
#endif

const contender contender_rocksdb = {
    .name = "RocksDB",
    .note = "sorts what it keeps besides (librocksdb-dev)",
    .has_background = true,
    .checksummed = true,
#if __has_include(<rocksdb/c.h>)
    .open = peer_open,
    .append = peer_append,
    .append_one = peer_append_one,
    .settle = peer_settle,
    .read = peer_read,
    .close = peer_close,
#endif
};
