/* SPDX-License-Identifier: MIT
 *
 * The benchmark's options and the list of its experiments.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "duralog.h"
#include "experiments.h"
#include "harness.h"
#include "scratch.h"

#define MACHINE_BYTES 512
#define EXT_MAGIC 0xef53 /* ext2, ext3 and ext4 */
#define ROUNDS_DEFAULT 15u
#define ROUNDS_QUICK 7u

/* In this order: the disk is rested when the durable ones run. */
static const struct {
  const char *name;
  bool (*run)(const settings *with);
  const char *what;
  bool is_main; /* --quick runs these alone */
} experiments[] = {
    {"durable", experiment_durable, "durable appends, one thread", true},
    {"group", experiment_group, "durable appends, 1, 8 and 32 threads", true},
    {"device", experiment_device, "bytes to the device per durable append",
     false},
    {"every", experiment_every, "a sync every 1,000 records", true},
    {"interval", experiment_interval, "a sync every 10 ms", false},
    {"recovery", experiment_recovery, "reopening after a kill", true},
    {"reopen", experiment_reopen, "reopening logs of three sizes", false},
    {"read", experiment_read, "verified sequential read", true},
    {"large", experiment_large, "random, verifying and cold reads of 1 GiB",
     false},
    {"poll", experiment_poll, "consumers: polls and commits", false},
    {"append", experiment_append, "page-cache appends, one thread", true},
    {"latency", experiment_latency, "from an append to another process", false},
    {"readers", experiment_readers, "what readers elsewhere cost a writer",
     false},
    {"threads", experiment_threads, "page-cache appends, 1 to 8 threads", true},
    {"cost", experiment_cost, "system time, faults, allocations, memory",
     false},
    {"tails", experiment_tails, "tails at 1 M/s, no coordinated omission",
     false},
    {"first", experiment_first_pass, "what new segments cost at 1 M/s", false},
};
#define EXPERIMENTS (sizeof experiments / sizeof experiments[0])

typedef struct options {
  settings with;
  const char *dir, *only;
} options;

static int usage(FILE *to) {
  fprintf(
      to,
      "usage: bench [--dir DIR] [--rounds N] [--only NAME] [--quick]\n"
      "Measure duralog against the least code that does the same work.\n\n"
      "  --dir DIR     put the scratch directory there; must be on a disk\n"
      "                (default: beside the program, or $TMPDIR)\n"
      "  --rounds N    1 to %d, default %u; below 6 nothing is decided\n"
      "  --only NAME   one experiment, see below\n"
      "  --quick       less work, %u rounds, and only what has a star below\n\n"
      "The figures also go to summary.txt beside the program.\n"
      "Exit status: 0 measured, whatever the verdicts; 1 a failure;\n"
      "2 a wrong option.\n\n",
      SERIES_MAX, ROUNDS_DEFAULT, ROUNDS_QUICK);
  for (size_t i = 0; i < EXPERIMENTS; i++)
    fprintf(to, "%c %-10s %s\n", experiments[i].is_main ? '*' : ' ',
            experiments[i].name, experiments[i].what);
  return to == stdout ? 0 : 2;
}

static bool known(const char *name) {
  for (size_t i = 0; i < EXPERIMENTS; i++)
    if (strcmp(name, experiments[i].name) == 0) return true;
  return false;
}

static bool parse_rounds(const char *text, size_t *rounds) {
  char *end;
  long n = strtol(text, &end, 10);
  if (*end || end == text || n < 1 || n > SERIES_MAX) return false;
  *rounds = (size_t)n;
  return true;
}

static bool parse(int argc, char **argv, options *out) {
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strcmp(argv[i], "--quick") == 0) {
      out->with.quick = true;
      continue;
    }
    if (!value) return false;
    if (strcmp(argv[i], "--dir") == 0 && *value)
      out->dir = value;
    else if (strcmp(argv[i], "--only") == 0 && known(value))
      out->only = value;
    else if (strcmp(argv[i], "--rounds") != 0 ||
             !parse_rounds(value, &out->with.rounds))
      return false;
    i++;
  }
  if (out->with.rounds == 0)
    out->with.rounds = out->with.quick ? ROUNDS_QUICK : ROUNDS_DEFAULT;
  return true;
}

/* As the kernel names it. */
static void cpu_name(char *name, size_t size) {
  char line[256];
  FILE *file = fopen("/proc/cpuinfo", "r");
  snprintf(name, size, "unknown CPU");
  while (file && fgets(line, sizeof line, file)) {
    char *value = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !value) continue;
    snprintf(name, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
    break;
  }
  if (file) fclose(file);
}

/* One that is missing is named: what it would decide is not decided. */
static void print_peers(void) {
  for (size_t i = 0; i < PEERS; i++)
    printf("%s: %s%s.\n", peers[i]->name,
           peers[i]->open ? "" : "NOT INSTALLED, left out: ", peers[i]->note);
}

static void print_machine(const settings *with, char machine[MACHINE_BYTES]) {
  char cpu[128];
  struct statfs fs;
  cpu_name(cpu, sizeof cpu);
  struct utsname os;
  char day[32];
  device disk;
  time_t now = time(NULL);
  struct tm utc;
  uname(&os);
  gmtime_r(&now, &utc);
  strftime(day, sizeof day, "%Y-%m-%d", &utc);
  device_find(&disk, with->scratch);
  snprintf(machine, MACHINE_BYTES,
           "duralog %s, %s: %s, %ld cores, %s %s %s, %s on %s, %zu rounds",
           duralog_version(), day, cpu, sysconf(_SC_NPROCESSORS_ONLN),
           os.sysname, os.release, os.machine,
           statfs(with->scratch, &fs) == 0 && fs.f_type == EXT_MAGIC
               ? "ext4"
               : "another file system",
           disk.found ? disk.name : "unknown", with->rounds);
  puts(machine);
  printf("%s: %s. %s: %s.\n", contender_duralog.name, contender_duralog.note,
         contender_raw.name, contender_raw.note);
  printf("%s: %s.\n", contender_write.name, contender_write.note);
  print_peers();
}

/* In a child, so that the scratch directory goes even if a contender crashes.
 */
static bool chosen(const options *all, size_t i) {
  if (all->only) return strcmp(all->only, experiments[i].name) == 0;
  return !all->with.quick || experiments[i].is_main;
}

static bool run(void *argument) {
  const options *all = argument;
  bool good = true;
  char summary[PATH_BYTES], machine[MACHINE_BYTES];
  print_machine(&all->with, machine);
  path_beside_program(summary, "results.tsv");
  if (!table_results(summary, machine)) return false;
  for (size_t i = 0; i < EXPERIMENTS; i++) {
    if (!chosen(all, i)) continue;
    if (experiments[i].run(&all->with)) continue;
    fprintf(stderr, "bench: %s failed\n", experiments[i].name);
    good = false;
  }
  path_beside_program(summary, "summary.txt");
  return table_finish(summary) && good;
}

int main(int argc, char **argv) {
  options all = {.dir = ""};
  char scratch[PATH_BYTES];
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
  if (!parse(argc, argv, &all)) return usage(stderr);
  if (!scratch_make(scratch, all.dir)) return 1;
  all.with.scratch = scratch;
  bool good = run_in_child(run, &all);
  scratch_remove(scratch);
  return good ? 0 : 1;
}
