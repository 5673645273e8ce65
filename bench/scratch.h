/* SPDX-License-Identifier: MIT
 *
 * Scratch directories and child processes.
 */
#ifndef BENCH_SCRATCH_H
#define BENCH_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_BYTES 512

/* Make a fresh directory in `parent`, which must be on a disk; empty `parent`:
 * beside the program, or else in $TMPDIR. Says on stderr why not. */
bool scratch_make(char path[PATH_BYTES], const char *parent);
/* Remove the directory and its whole tree. */
void scratch_remove(const char *path);

/* A subdirectory, empty. NULL on failure; else path. */
const char *scratch_sub(char path[PATH_BYTES], const char *scratch,
                        const char *name);
/* Remove a subdirectory and let the file system settle. */
void scratch_drop(const char *path);

/* The path of a file beside the program. */
void path_beside_program(char path[PATH_BYTES], const char *name);

/* Zeroed memory that children share; never freed. NULL on failure. */
void *shared_alloc(size_t size);

/* Touch so much free memory once. Free memory that a hypervisor has taken back
 * costs several times more when it is first used, and that is not measured. */
void warm_memory(size_t size);

/* Run work(argument) in a child which then exits at once, closing nothing:
 * a log it leaves open is not synced. True if the work said so. */
bool run_in_child(bool (*work)(void *), void *argument);
/* The same, and the child is SIGKILLed when the work is done. */
bool run_and_kill(bool (*work)(void *), void *argument);
/* Both at once, each in a child as by run_in_child. Where one fails the other
 * is killed, so that they may wait for each other. */
bool run_two(bool (*first)(void *), bool (*second)(void *), void *argument);

#endif
