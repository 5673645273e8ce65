/* SPDX-License-Identifier: MIT
 *
 * LevelDB; see peer_lsm.h.
 */
#include "peers.h"

#if __has_include(<leveldb/c.h>)
#include <leveldb/c.h>

#define DB_NAME "LevelDB"
#define DB(name) leveldb_##name

static void more_options(leveldb_options_t *options) { (void)options; }

#include "peer_lsm.h"

/* Out of the write buffer, so that it is read from where it will lie. */
static bool peer_settle(void *log) {
  state *it = log;
  leveldb_compact_range(it->db, NULL, 0, NULL, 0);
  return true;
}
#endif

const contender contender_leveldb = {
    .name = "LevelDB",
    .note = "sorts what it keeps besides (libleveldb-dev)",
    .has_background = true,
    .checksummed = true,
#if __has_include(<leveldb/c.h>)
    .open = peer_open,
    .append = peer_append,
    .append_one = peer_append_one,
    .settle = peer_settle,
    .read = peer_read,
    .close = peer_close,
#endif
};
