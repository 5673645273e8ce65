/* SPDX-License-Identifier: MIT */
#include "model_group.h"

#include <stdlib.h>

#include "checksum.h"

void model_group_making(struct model_group *m) {
  if (m->made) return;
  m->making = true;
  m->count = 1;
  m->commits[0] = (struct model_commit){.offset = DURALOG_NO_OFFSET};
}

void model_group_made(struct model_group *m) {
  m->making = false;
  m->made = true;
}

uint32_t model_group_commit(struct model_group *m, uint64_t offset) {
  if (m->count == MODEL_COMMITS_MAX) abort();
  m->in_flight = 1;
  m->commits[m->count] = (struct model_commit){
      .number = ++m->next_number, .offset = offset, .same = offset};
  return m->next_number;
}

void model_group_returned(struct model_group *m, duralog_level level) {
  m->in_flight = 0;
  if (level == DURALOG_LEVEL_DURABLE) {
    m->commits[0] = m->commits[m->count];
    m->count = 1;
  } else {
    m->count++;
  }
}

/* Which commit the group shows; -1: none that may be. */
static int which(const struct model_group *m, const duralog_group *g) {
  uint32_t number = (uint32_t)strtoul(g->metadata, NULL, 10);
  for (size_t i = 0; i < m->count + m->in_flight; i++)
    if (m->commits[i].number == number && m->commits[i].offset == g->committed)
      return (int)i;
  return -1;
}

/* I25, I26: told exactly where they part, and then every record in order. */
static const char *check_consumer(const struct model_commit *commit,
                                  duralog *log, uint64_t end) {
  duralog_consumer_options o = {.struct_size = sizeof o,
                                .manual_commit = true,
                                .read_level = DURALOG_LEVEL_WRITTEN};
  duralog_consumer_status s = {.struct_size = sizeof s};
  duralog_consumer *c = NULL;
  const duralog_record *records;
  size_t count;
  const char *wrong = NULL;
  bool none = commit->offset == DURALOG_NO_OFFSET;
  uint64_t from = none ? 0 : commit->offset;
  uint64_t same = commit->same < end ? commit->same : end;
  if (duralog_consumer_open(log, MODEL_GROUP, &o, &c))
    return "I26: a group that came back cannot be consumed";
  if (duralog_consumer_get(c, &s)) wrong = "I26: no status";
  bool parted = !none && same < from;
  if (!wrong && s.diverged != parted)
    wrong = parted ? "I25: records are skipped in silence"
                   : "I25: a divergence is reported where there is none";
  if (!wrong && parted && (s.divergence != same || s.diverged_from != from))
    wrong = "I25: it is not told where the log diverges";
  if (!wrong && parted) {
    if (duralog_poll(c, 0, 0, 0, &records, &count) != DURALOG_E_EPOCH)
      wrong = "I25: a poll beyond a divergence";
    else if (duralog_consumer_seek(c, DURALOG_SEEK_OFFSET, same))
      wrong = "I25: cannot go back";
    from = same;
  }
  while (!wrong && from < end) {
    if (duralog_poll(c, 0, 0, 0, &records, &count))
      wrong = "I26: a record is not delivered";
    for (size_t i = 0; !wrong && i < count; i++)
      if (records[i].offset != from++)
        wrong = "I26: records are not delivered in order";
  }
  duralog_consumer_close(&c);
  return wrong;
}

const char *model_group_check(const struct model_group *m, bool killed,
                              duralog *log, uint64_t end) {
  duralog_group g = {.struct_size = sizeof g};
  if (!m->made && !m->making) return NULL;
  duralog_error error = duralog_describe_group(log, MODEL_GROUP, &g);
  if (error == DURALOG_E_NOT_FOUND)
    return m->made ? "I24: a group is lost" : NULL;
  if (error) return "I24: what a crash left of a group cannot be read";
  int i = which(m, &g);
  if (i < 0) return "I24: a commit that never was, or a durable one is lost";
  if (killed && i + 1 < (int)m->count)
    return "I24: a killed process took a commit with it";
  return check_consumer(&m->commits[i], log, end);
}

const char *model_group_adopt(struct model_group *m, duralog *log,
                              uint64_t end) {
  duralog_group g = {.struct_size = sizeof g};
  if (!m->made && !m->making) return NULL;
  /* One whose making never returned may be there now, and not after a cut. */
  bool there = duralog_describe_group(log, MODEL_GROUP, &g) == DURALOG_OK;
  int i = there ? which(m, &g) : 0;
  if (i < 0) return "I24: a commit changed by itself";
  m->count = (size_t)i + 1;
  m->in_flight = 0;
  for (size_t k = 0; k < m->count; k++)
    if (m->commits[k].same > end) m->commits[k].same = end;
  return NULL;
}

uint64_t model_group_digest(const struct model_group *m) {
  uint64_t what[] = {m->made, m->making, m->count, m->in_flight};
  uint64_t sum = checksum64(what, sizeof what, 5);
  if (!m->made && !m->making) return 0;
  for (size_t i = 0; i < m->count + m->in_flight; i++) {
    uint64_t each[] = {m->commits[i].number, m->commits[i].offset,
                       m->commits[i].same};
    sum = checksum64(each, sizeof each, sum);
  }
  return sum;
}
