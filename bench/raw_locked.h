/* SPDX-License-Identifier: MIT
 *
 * RAW-n: what RAW does, by several threads under one lock.
 *
 * What comes out is what the library promises: frames in the order of their
 * places, and a watermark below which all of them are whole. Which lock, and
 * what is done under it, is for who measures to choose: the best.
 */
#ifndef BENCH_RAW_LOCKED_H
#define BENCH_RAW_LOCKED_H

#include <pthread.h>
#include <stdatomic.h>

#include "contender.h"

typedef enum raw_lock {
  RAW_SPIN,     /* test and test-and-set, pause, yield after a while */
  RAW_TICKET,   /* in the order of arrival, pause, yield after a while */
  RAW_MUTEX,    /* pthread's */
  RAW_ADAPTIVE, /* pthread's, which spins at first */
  RAW_LOCKS
} raw_lock;

typedef enum raw_scheme {
  RAW_ALL_INSIDE,  /* all under the lock */
  RAW_SUM_OUTSIDE, /* but the payload's checksum */
  RAW_RESERVE,     /* the lock gives a place; filled outside of it, published
                    * in the order of places */
  RAW_SCHEMES
} raw_scheme;

#define RAW_LINE 128

typedef struct raw_locked {
  unsigned char *map;
  size_t bytes;
  raw_lock lock;
  raw_scheme scheme;
  _Alignas(RAW_LINE) _Atomic uint32_t spin;
  _Alignas(RAW_LINE) _Atomic uint32_t tickets; /* given */
  _Alignas(RAW_LINE) _Atomic uint32_t serving; /* the one whose turn it is */
  _Alignas(RAW_LINE) pthread_mutex_t mutex, adaptive;
  _Alignas(RAW_LINE) uint64_t at; /* under the lock */
  uint32_t index;
  _Alignas(RAW_LINE) _Atomic uint64_t published;
} raw_locked;

void raw_locked_init(raw_locked *it, unsigned char *map, size_t bytes);
const char *raw_lock_name(raw_lock lock);
const char *raw_scheme_name(raw_scheme scheme);

/* By any number of threads; `batch` records at a time become visible together.
 * False: there is no room for all of it. */
bool raw_locked_append(raw_locked *it, const workload *work);

#endif
