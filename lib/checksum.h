/* SPDX-License-Identifier: MIT
 *
 * XXH3 (xxHash 0.8, header only), the one checksum of the format. It was
 * chosen over CRC32C because it needs no special instructions, costs the same
 * at 100 bytes, and a third at 1 KiB, where a serial CRC is bound by latency.
 */
#ifndef DURALOG_CHECKSUM_H
#define DURALOG_CHECKSUM_H

#include "base.h"

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#elif defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>
#if defined(__clang__)
#pragma clang diagnostic pop
#elif defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

static inline uint64_t checksum64(const void *bytes, size_t size,
                                  uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, size, seed);
}

/* Unseeded: the same value as seed 0, by a shorter path. */
static inline uint64_t checksum64_plain(const void *bytes, size_t size) {
  return XXH3_64bits(bytes, size);
}

#endif
