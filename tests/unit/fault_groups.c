/* SPDX-License-Identifier: MIT
 *
 * The story of a consumer group: made, consumed, left, taken over, looked at,
 * copied, reset, deleted. What a commit returned as durable is there at the end
 * (I14, I24), whatever failed; nothing is left behind by what failed (I17).
 */
#include <errno.h>

#include "fault_story.h"
#include "group_file.h"

enum { RETRIES = 2 };

static bool plausible(duralog_error error) {
  switch (error) {
    case DURALOG_E_FULL:
    case DURALOG_E_RESOURCES:
    case DURALOG_E_IO:
    case DURALOG_E_POISONED:
    case DURALOG_E_PERMISSION:
    case DURALOG_E_READ_ONLY:
    case DURALOG_E_NOT_FOUND:
    case DURALOG_E_CORRUPT:
    case DURALOG_E_BUSY: return true;
    default: return false;
  }
}

/* Whether it went as it does without faults. */
static bool went(struct story *s, duralog_error error, duralog_error expected) {
  if (error == expected) return true;
  if (!s->fired || !plausible(error))
    test_failed(__FILE__, __LINE__, "a group's call: %s",
                duralog_error_name(error));
  s->seen = s->fired;
  s->surfaced++;
  return false;
}

/* The members of a log that was poisoned on the way fail from then on. */
static bool once_more(const struct story *s, int tries) {
  return !s->now.ever && tries < RETRIES;
}

static duralog_consumer *join(struct story *s, const char *group) {
  duralog_consumer_options o = {.struct_size = sizeof o,
                                .manual_commit = true,
                                .protect = true,
                                .go_back = true,
                                .read_level = DURALOG_LEVEL_WRITTEN};
  duralog_consumer *c = NULL;
  duralog_error error;
  int tries = 0;
  do error = duralog_consumer_open(s->log, group, &o, &c);
  while (!went(s, error, DURALOG_OK) && once_more(s, tries++));
  return error ? NULL : c;
}

static void consume(struct story *s, duralog_consumer *c) {
  const duralog_record *records;
  size_t count;
  duralog_error error;
  int tries = 0;
  do error = duralog_poll(c, 0, 0, 0, &records, &count);
  while (error == DURALOG_OK ||
         (!went(s, error, DURALOG_E_TIMEOUT) && once_more(s, tries++)));
}

static void commit(struct story *s, duralog_consumer *c, duralog_level level) {
  duralog_consumer_status status = {.struct_size = sizeof status};
  CHECK_OK(duralog_consumer_get(c, &status));
  duralog_error error = duralog_commit(c, DURALOG_POLLED, level, "metadata");
  if (went(s, error, DURALOG_OK) && level == DURALOG_LEVEL_DURABLE)
    s->committed = status.position;
  if (error == DURALOG_E_POISONED) /* no later success */
    CHECK(duralog_commit(c, DURALOG_POLLED, DURALOG_LEVEL_DURABLE, NULL) ==
              DURALOG_E_POISONED ||
          status.position <= s->promised);
}

static void leave(struct story *s, duralog_consumer **c) {
  went(s, duralog_consumer_close(c), DURALOG_OK);
  CHECK(*c == NULL);
}

static void one_member(struct story *s) {
  duralog_consumer *c = join(s, "g");
  if (!c) return;
  consume(s, c);
  commit(s, c, DURALOG_LEVEL_DURABLE);
  story_append(s, SINGLE, DURALOG_LEVEL_WRITTEN);
  consume(s, c);
  commit(s, c, DURALOG_LEVEL_WRITTEN);
  leave(s, &c);
}

static bool look_at_name(void *context, const char *name) {
  unsigned *names = context;
  *names += name[0] == 'g' || name[0] == 'h';
  return true;
}

/* A directory that is not there is one without groups, and a group that is
 * listed and not there was deleted meanwhile. */
static bool no_groups(const struct story *s) {
  return s->now.point && s->now.error == ENOENT &&
         (strcmp(s->now.point, "io/dir_open_in") == 0 ||
          strcmp(s->now.point, "io/file_open") == 0);
}

/* Nothing of the copy's file is valid any more. */
static void damage_copy(struct story *s) {
  static const uint8_t nothing[16];
  io_env *io = s->fault.inner;
  int log = io->dir_open(io, s->path);
  int groups = io->dir_open_in(io, log, GROUPS_NAME);
  int file = io->file_open(io, groups, "h" GROUP_SUFFIX, IO_WRITE, 0);
  CHECK(file >= 0);
  for (int slot = 0; slot < GROUP_SLOTS; slot++)
    CHECK_EQUAL(io_write(io, file, nothing, sizeof nothing,
                         (uint64_t)slot * GROUP_SLOT_BYTES),
                0);
  io->close(io, file);
  io->close(io, groups);
  io->close(io, log);
}

/* A damaged group is one that may need everything, and so is one made anew. */
static void make_anew(struct story *s) {
  uint64_t offset;
  damage_copy(s);
  if (went(s, duralog_needed_from(s->log, &offset), DURALOG_OK))
    CHECK(offset == 0 || no_groups(s));
  if (went(s, duralog_reset_group(s->log, "h", DURALOG_RESET_LATEST, 0, NULL),
           DURALOG_OK))
    if (went(s, duralog_needed_from(s->log, &offset), DURALOG_OK))
      CHECK(offset == 0 ||
            no_groups(s)); /* until a crash cannot bring it back */
}

static void look_from_outside(struct story *s) {
  duralog_group g = {.struct_size = sizeof g};
  uint64_t offset;
  unsigned names = 0;
  if (went(s, duralog_describe_group(s->log, "g", &g), DURALOG_OK))
    CHECK(g.committed == DURALOG_NO_OFFSET || g.committed >= s->committed);
  bool copied = went(s, duralog_clone_group(s->log, "g", "h"), DURALOG_OK);
  if (copied &&
      went(s, duralog_reset_group(s->log, "h", DURALOG_RESET_EARLIEST, 0, NULL),
           DURALOG_OK))
    if (went(s, duralog_needed_from(s->log, &offset), DURALOG_OK))
      CHECK(offset == 0 || !g.is_protected || no_groups(s));
  if (copied) make_anew(s);
  if (went(s, duralog_list_groups(s->log, look_at_name, &names), DURALOG_OK))
    CHECK(names <= 2);
  went(s, duralog_protect_group(s->log, "g", false), DURALOG_OK);
  went(s, duralog_delete_group(s->log, "h"), DURALOG_OK);
}

void plot_groups(struct story *s) {
  if (!story_open(s, &s->options, DURALOG_OK)) return;
  story_append(s, SINGLE, DURALOG_LEVEL_DEFAULT);
  story_append(s, SINGLE, DURALOG_LEVEL_WRITTEN);
  one_member(s);
  one_member(s); /* which does not know what the other left */
  look_from_outside(s);
  story_close(s);
}

void story_groups_check(struct story *s) {
  if (!s->committed) return;
  duralog_consumer_status status = {.struct_size = sizeof status};
  duralog_consumer_options o = {.struct_size = sizeof o, .manual_commit = true};
  duralog_consumer *c = NULL;
  CHECK_OK(duralog_consumer_open(s->log, "g", &o, &c));
  CHECK_OK(duralog_consumer_get(c, &status));
  CHECK(status.committed != DURALOG_NO_OFFSET &&
        status.committed >= s->committed);
  if (status.diverged) CHECK(status.divergence >= s->committed);
  CHECK_OK(duralog_consumer_close(&c));
}
