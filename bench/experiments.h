/* SPDX-License-Identifier: MIT
 *
 * The experiments. Each prints its lines and remembers its figures; false
 * means that something failed, and stderr says what.
 */
#ifndef BENCH_EXPERIMENTS_H
#define BENCH_EXPERIMENTS_H

#include "contender.h"

typedef struct settings {
  const char *scratch; /* an empty directory */
  size_t rounds;
  bool quick;
} settings;

bool experiment_append(const settings *with);
bool experiment_cost(const settings *with);
bool experiment_device(const settings *with);
bool experiment_durable(const settings *with);
bool experiment_every(const settings *with);
bool experiment_first_pass(const settings *with);
bool experiment_group(const settings *with);
bool experiment_interval(const settings *with);
bool experiment_large(const settings *with);
bool experiment_latency(const settings *with);
bool experiment_poll(const settings *with);
bool experiment_read(const settings *with);
bool experiment_readers(const settings *with);
bool experiment_recovery(const settings *with);
bool experiment_reopen(const settings *with);
bool experiment_tails(const settings *with);
bool experiment_threads(const settings *with);

#endif
