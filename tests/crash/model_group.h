/* SPDX-License-Identifier: MIT
 *
 * What may come back of a consumer group (I24 to I26). Each commit has a number
 * of its own as metadata. Of what it had consumed, the log still holds `same`
 * records: less than its offset once a crash has cut the log below it, however
 * far the log has grown since.
 */
#ifndef CRASH_MODEL_GROUP_H
#define CRASH_MODEL_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "duralog.h"

#define MODEL_GROUP "g"

enum { MODEL_COMMITS_MAX = 64 };

struct model_commit {
  uint32_t number; /* 0: the group as it was made */
  uint64_t offset, same;
};

struct model_group {
  bool made, making;
  /* The first is the last that was durable, the rest came after it; one more
   * may not have returned. */
  struct model_commit commits[MODEL_COMMITS_MAX];
  size_t count, in_flight;
  uint32_t next_number;
};

void model_group_making(struct model_group *);
void model_group_made(struct model_group *);
/* Begin a commit; gives its number. */
uint32_t model_group_commit(struct model_group *, uint64_t offset);
void model_group_returned(struct model_group *, duralog_level);

/* What is wrong with the group in a log that was opened after a crash, and
 * ended there; NULL: nothing. `killed`: nothing but the process was lost. */
const char *model_group_check(const struct model_group *, bool killed,
                              duralog *, uint64_t end);
/* It goes on from here. */
const char *model_group_adopt(struct model_group *, duralog *, uint64_t end);

uint64_t model_group_digest(const struct model_group *);

#endif
