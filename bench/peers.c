/* SPDX-License-Identifier: MIT
 *
 * The peers, each from its Debian package. One that is not installed is in the
 * list all the same, without functions.
 */
#include "peers.h"

const contender *const peers[PEERS] = {
    &contender_bdb,     &contender_leveldb, &contender_lmdb,
    &contender_rocksdb, &contender_sqlite,
};
