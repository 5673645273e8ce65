/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "explore.h"

/*
 * For each file a line with a letter for each sector:
 *   .  zeros, synced or never written      =  synced, with content
 *   o  unsynced: the old content came back  n  the newest one survived
 *   m  one in between                       t  torn at a word
 *   x  garbage                              !  harmed by a neighbour
 */
static char letter_of(const struct sim_unit *u, uint32_t option) {
  if (option >= SIM_TORN) return 't';
  if (option == 0) return 'o';
  if (option < u->versions) return 'm';
  if (option == u->versions) return 'n';
  return option <= u->versions + 2 ? 't' : 'x';
}

static bool is_zero(const uint8_t *bytes) {
  for (int i = 0; i < SIM_SECTOR; i++)
    if (bytes[i]) return false;
  return true;
}

static void print_sectors(const struct sim_file *f, int file,
                          const struct sim_unit *units, const uint32_t *options,
                          size_t count) {
  enum { LINE = 64 };
  for (uint64_t s = 0; s < f->capacity / SIM_SECTOR; s++) {
    char letter = is_zero(f->disk + s * SIM_SECTOR) ? '.' : '=';
    for (size_t u = 0; u < count; u++)
      if (units[u].kind == SIM_UNIT_SECTOR && units[u].place == file &&
          units[u].index == (int)s)
        letter = letter_of(&units[u], options[u]);
    if (s % LINE == 0) fprintf(stderr, "%s    ", s ? "\n" : "");
    if (s % 8 == 0 && s) fputc(' ', stderr);
    fputc(letter, stderr);
  }
  if (f->capacity) fputc('\n', stderr);
}

static void print_name(const struct sim_disk *disk, int d, size_t i,
                       const struct sim_unit *units, const uint32_t *options,
                       size_t count) {
  const struct sim_name *n = &disk->directories[d].names[i];
  int file = n->files[0];
  const char *how = "synced";
  uint64_t size;
  for (size_t u = 0; u < count; u++)
    if (units[u].kind == SIM_UNIT_NAME && units[u].place == d &&
        units[u].index == (int)i) {
      file = n->files[options[u]];
      how = options[u] == 0 ? "unsynced, as it was before"
            : options[u] + 1 == (uint32_t)n->count ? "unsynced, survived"
                                                   : "unsynced, in between";
    }
  if (file == SIM_NO_FILE) {
    fprintf(stderr, "  %-28s not there (%s)\n", n->text, how);
    return;
  }
  size = disk->files[file].sizes[0];
  for (size_t u = 0; u < count; u++)
    if (units[u].kind == SIM_UNIT_SIZE && units[u].place == file)
      size = disk->files[file].sizes[options[u]];
  fprintf(stderr, "  %-28s file %d, %" PRIu64 " bytes (%s)\n", n->text, file,
          size, how);
}

static void print_model(const struct model *m) {
  fprintf(stderr,
          "written:   %zu records returned, %zu more in flight, %" PRIu64
          " seen by readers\n"
          "promised:  durable %" PRIu64
          ", acknowledged at the mode's level %" PRIu64 "\n",
          m->count, m->in_flight, m->seen, m->promised, m->acknowledged);
  fprintf(stderr, "records:  ");
  size_t all = m->count + m->in_flight, from = all > 12 ? all - 12 : 0;
  for (size_t i = from; i < all; i++)
    fprintf(stderr, " %zu:%u%s", i, m->records[i].size,
            m->records[i].batch_end ? "" : "+");
  fprintf(stderr, "   (offset:bytes, + more of its batch)\n");
}

static void print_survivors(struct sim *before, const struct sim_unit *units,
                            const uint32_t *options, size_t count) {
  const struct sim_disk *disk = sim_disk_of(before);
  fprintf(stderr,
          "survived:  (. zeros  = synced  o old  n newest  m in between  "
          "t torn  x garbage)\n");
  for (int d = 0; d < SIM_DIRECTORIES_MAX; d++)
    for (size_t i = 0;
         disk->directories[d].used && i < disk->directories[d].name_count; i++)
      print_name(disk, d, i, units, options, count);
  for (int i = 0; i < disk->file_count; i++) {
    if (!disk->files[i].used || !disk->files[i].capacity) continue;
    fprintf(stderr, "  file %d, a letter a sector\n", i);
    print_sectors(&disk->files[i], i, units, options, count);
  }
}

void picture_print(const struct explorer *e, struct sim *before,
                   const struct sim_unit *units, const uint32_t *options,
                   size_t count, const char *at, const char *wrong) {
  const struct crash_path *p = &e->path;
  bool killed = p->choice[p->depth - 1] == CHOICE_KILL;
  fprintf(stderr, "\nbroken:    %s\n", wrong);
  print_model(&e->run->model);
  fprintf(stderr, "crash:     %s at event %" PRIu64 ", %s%s\n",
          killed ? "process killed" : "power cut", p->event[p->depth - 1], at,
          p->depth > 1 ? ", inside of a recovery" : "");
  if (killed)
    fprintf(stderr, "survived:  everything but the process\n");
  else
    print_survivors(before, units, options, count);
  fprintf(stderr, "replay: %s", e->replay);
  for (int i = 0; i < p->depth; i++)
    fprintf(stderr, " %" PRIu64 "/%" PRId64, p->event[i], p->choice[i]);
  fputc('\n', stderr);
}
