/* SPDX-License-Identifier: MIT
 *
 * How often this program and the library in it ask for memory.
 */
#include "allocations.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic uint64_t count;

static void counted(void) {
  atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}

uint64_t allocations_count(void) { return atomic_load(&count); }

/* The names are the linker's. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t many, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t many, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);

void *__wrap_malloc(size_t size) {
  counted();
  return __real_malloc(size);
}

void *__wrap_calloc(size_t many, size_t size) {
  counted();
  return __real_calloc(many, size);
}

void *__wrap_realloc(void *old, size_t size) {
  counted();
  return __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  counted();
  return __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
  counted();
  return __real_posix_memalign(out, alignment, size);
}
