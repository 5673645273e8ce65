/* SPDX-License-Identifier: MIT
 *
 * What unit tests include: what all tests do, and random parts that run through
 * the same seeds every time; UNIT_SEED=n runs them with that one alone.
 */
#ifndef UNIT_H
#define UNIT_H

#include "support.h"

static inline void unit_fill(uint64_t *state, void *bytes, size_t size) {
  uint8_t *to = (uint8_t *)bytes;
  for (size_t i = 0; i < size; i++) to[i] = (uint8_t)random_next(state);
}

/* These tests have one thread: ThreadSanitizer sees a part of them, to know
 * that it can, and the others all. */
#if defined(__SANITIZE_THREAD__)
#define UNIT_FEW 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNIT_FEW 1
#endif
#endif
#ifndef UNIT_FEW
#define UNIT_FEW 0
#endif

/* Call `body` with the seeds 1 to `count`, or with UNIT_SEED alone. */
static inline void unit_seeds(uint64_t count, void (*body)(uint64_t seed)) {
  const char *one = getenv("UNIT_SEED");
  if (one) {
    body(strtoull(one, NULL, 10));
    return;
  }
  for (uint64_t seed = 1; seed <= count; seed += UNIT_FEW ? 20 : 1) body(seed);
}

/* A check inside of a loop: its failure says how to come back to it. */
#define UNIT_CHECK(condition, ...)                  \
  do {                                              \
    if (!(condition)) {                             \
      print_error("failed: %s, with ", #condition); \
      print_error(__VA_ARGS__);                     \
      print_error("\n");                            \
      fail();                                       \
    }                                               \
  } while (0)

#endif
