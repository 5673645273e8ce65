/* SPDX-License-Identifier: MIT */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "contender.h"

extern const contender contender_bdb;
extern const contender contender_leveldb;
extern const contender contender_lmdb;
extern const contender contender_rocksdb;
extern const contender contender_sqlite;

/* Keys that sort as the numbers do. */
static inline void key_of(uint64_t number, unsigned char key[8]) {
  for (int i = 7; i >= 0; i--, number >>= 8) key[i] = (unsigned char)number;
}

#endif
