/* SPDX-License-Identifier: MIT
 *
 * How often this program and the library in it ask for memory.
 *
 * The linker redirects malloc, calloc, realloc, aligned_alloc and
 * posix_memalign of what is linked statically (--wrap in the Makefile); what
 * shared libraries ask for is not counted.
 */
#ifndef BENCH_ALLOCATIONS_H
#define BENCH_ALLOCATIONS_H

#include <stdint.h>

uint64_t allocations_count(void);

#endif
