/* SPDX-License-Identifier: MIT
 *
 * Consuming: records to stdout, and how far that went is committed for a group.
 *
 * `written_to` is the offset that everything before was written: it moves after
 * stdout is flushed, and nothing above it is ever committed. So whatever kills
 * this process, or the reader of its output, the records that were not written
 * come again, and those that were written and not yet committed, too.
 *
 * With auto commit the library commits at a poll what earlier polls gave: all
 * of that is flushed before the next poll. Where a batch was left in the middle
 * there is no next poll, and leaving goes back to `written_to` first.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool_consume.h"

#define BATCH_MAX 500

typedef struct session {
  const tool_consume_settings *s;
  duralog *log;
  duralog_report report;
  duralog_consumer *consumer;
  uint64_t begun_at, written_to;
  uint64_t to;   /* without --follow: where the log ended at the beginning */
  uint64_t left; /* of --count */
  uint64_t divergences_told;
  const char *told; /* what is waited for */
  bool no_writer;   /* said the last poll */
  bool failed;      /* and told so */
  bool cut_off;     /* by stdout: no more of it */
  int code;         /* what to exit with */
} session;

/* What became of a step. */
enum step { GO_ON, DONE, AGAIN /* with a log opened anew */ };

/* For the thread that wakes it, which may do so at any time. */
static pthread_mutex_t consumer_lock = PTHREAD_MUTEX_INITIALIZER;
static duralog_consumer *consumer_to_wake;

static void wake(void) {
  pthread_mutex_lock(&consumer_lock);
  if (consumer_to_wake != NULL) duralog_wakeup(consumer_to_wake);
  pthread_mutex_unlock(&consumer_lock);
}

static void may_be_woken(duralog_consumer *consumer) {
  pthread_mutex_lock(&consumer_lock);
  consumer_to_wake = consumer;
  pthread_mutex_unlock(&consumer_lock);
}

/* ------------------------------------------------------------ telling -- */

/* Where both go to one place: in order. */
static void begin_message(const session *c) {
  fflush(stdout);
  fprintf(stderr, "duralog: %s: ", c->s->path);
}

/* What is waited for, where that is something else than before. */
static void tell(session *c, const char *text) {
  bool told = c->told != NULL && strcmp(c->told, text) == 0;
  c->told = text;
  if (told || c->s->quiet) return;
  begin_message(c);
  fprintf(stderr, "%s\n", text);
}

/* What fails because something else has is not told. */
static enum step fail(session *c, const char *doing, duralog_error error) {
  if (!c->failed)
    c->code = tool_fail_group(doing, c->s->group, c->s->path, error, c->log);
  c->failed = true;
  return DONE;
}

static duralog_consumer_status status_of(const session *c) {
  duralog_consumer_status status = {.struct_size = sizeof status};
  (void)duralog_consumer_get(c->consumer, &status); /* fails for no reason */
  return status;
}

/* Where the group went back by itself, that is said. */
static void tell_divergence(session *c) {
  duralog_consumer_status status = status_of(c);
  if (status.divergences == c->divergences_told) return;
  c->divergences_told = status.divergences;
  begin_message(c);
  fprintf(stderr,
          "group %s had consumed up to offset %" PRIu64
          ", but a crash took the records from %" PRIu64
          " on: what is there now is %s\n",
          c->s->group, status.diverged_from, status.divergence,
          c->s->how.go_back ? "consumed from there on" : "not consumed");
  if (!c->s->how.go_back)
    fprintf(stderr,
            "duralog: consume --go-back goes on from %" PRIu64
            "; \"duralog groups reset\" sets another place\n",
            status.divergence);
}

/* ------------------------------------------------------------ writing -- */

/* A file has to hold it before a durable commit does. What is no file, or one
 * that cannot be synced, is out of our hands. */
static bool sync_output(const session *c) {
  if (c->s->how.commit_level != DURALOG_LEVEL_DURABLE) return true;
  return fdatasync(STDOUT_FILENO) == 0 || errno == EINVAL || errno == EROFS ||
         errno == ENOTSUP;
}

/* Everything before the offset is printed: write it. */
static bool write_out(session *c, uint64_t offset) {
  if (ferror(stdout) != 0 || fflush(stdout) != 0) {
    c->cut_off = true;
    c->code = tool_finish_output(c->code);
  } else if (!sync_output(c)) {
    c->cut_off = true;
    fprintf(stderr, "duralog: syncing standard output: %s\n", strerror(errno));
    c->code = TOOL_SYNC_FAILED;
  } else {
    c->written_to = offset;
  }
  return !c->cut_off;
}

/* Until the output fails or a signal came. The batch may begin below what was
 * written, where the group has gone back. */
static bool print_batch(session *c, const duralog_record *records,
                        size_t count) {
  size_t i = 0;
  c->written_to = records[0].offset;
  while (i < count && ferror(stdout) == 0 && !tool_end_is_wanted())
    tool_record_print(&records[i++], c->s->format, '\n');
  c->left -= i;
  return i == 0 || write_out(c, records[i - 1].offset + 1);
}

/* --------------------------------------------------------- committing -- */

/* Where nobody asked for a level, the writer's mode says it; where nobody lives
 * who could make the records before it durable, it is written. If they are lost
 * with the power, the group is told. */
static duralog_error commit_to(const session *c, uint64_t offset) {
  duralog_error error =
      duralog_commit(c->consumer, offset, DURALOG_LEVEL_DEFAULT, NULL);
  if (error == DURALOG_E_NO_WRITER &&
      c->s->how.commit_level == DURALOG_LEVEL_DEFAULT)
    error = duralog_commit(c->consumer, offset, DURALOG_LEVEL_WRITTEN, NULL);
  return error;
}

/* The next poll has more to say of a divergence, and a later commit may not
 * fail; the last commit of all is not forgiven. */
static enum step commit(session *c, uint64_t offset) {
  duralog_error error = commit_to(c, offset);
  if (error == DURALOG_OK || error == DURALOG_E_EPOCH) return GO_ON;
  if (error != DURALOG_E_NO_WRITER || !c->s->follow)
    return fail(c, "committing for", error);
  tell(c, "no writer, so that nothing can be committed durably; waiting");
  return GO_ON;
}

/* Back to what was written, where more was polled. */
static duralog_error go_back(const session *c) {
  if (status_of(c).position <= c->written_to) return DURALOG_OK;
  return duralog_consumer_seek(c->consumer, DURALOG_SEEK_OFFSET, c->written_to);
}

/* A session that has got nowhere commits nothing. */
static void commit_last(session *c) {
  duralog_error error = go_back(c);
  duralog_consumer_status status = status_of(c);
  if (status.diverged) return;
  if (error == DURALOG_OK && status.position != c->begun_at &&
      status.position != status.committed)
    error = commit_to(c, DURALOG_POLLED);
  if (error != DURALOG_OK) fail(c, "committing for", error);
}

static void leave(session *c) {
  if (c->consumer != NULL) {
    commit_last(c);
    may_be_woken(NULL);
    duralog_error error = duralog_consumer_close(&c->consumer);
    if (error != DURALOG_OK) fail(c, "leaving", error);
  }
  if (c->log != NULL) duralog_close(&c->log);
}

/* ----------------------------------------------------------- consuming -- */

/* Open the log, become the group's member. */
static enum step join(session *c) {
  int code = tool_open_read_only(c->s->path, &c->log, &c->report);
  if (code != TOOL_OK) {
    c->code = code;
    return DONE;
  }
  tool_may_end(); /* it may take as long as --wait says */
  duralog_error error =
      duralog_consumer_open(c->log, c->s->group, &c->s->how, &c->consumer);
  tool_may_not_end();
  if (error == DURALOG_E_RANGE) {
    fprintf(stderr,
            "duralog: %s: group %s has committed no offset that is kept; "
            "consume --from earliest or latest, or \"duralog groups reset\"\n",
            c->s->path, c->s->group);
    c->code = TOOL_FAILED;
    return DONE;
  }
  if (error != DURALOG_OK) return fail(c, "consuming for", error);
  may_be_woken(c->consumer);
  duralog_consumer_status status = status_of(c);
  c->begun_at = c->written_to = status.position;
  c->to = status.end;
  c->divergences_told = 0;
  if (c->s->how.go_back) tell_divergence(c);
  return GO_ON;
}

/* A damaged range is named and passed. */
static enum step pass_damage(session *c) {
  duralog_consumer_status status = status_of(c);
  tool_left_out(&status.damage);
  c->code = TOOL_DAMAGE;
  duralog_error error = DURALOG_E_RANGE;
  if (status.damage.to > status.position)
    error = duralog_consumer_seek(c->consumer, DURALOG_SEEK_OFFSET,
                                  status.damage.to);
  if (error != DURALOG_OK && c->s->follow) /* its end is not there yet */
    error = duralog_consumer_seek(c->consumer, DURALOG_SEEK_END, 0);
  if (error != DURALOG_OK) return DONE;
  c->written_to = status_of(c).position;
  return GO_ON;
}

static void nap(void) {
  static const struct timespec a_little = {.tv_nsec = 100 * 1000 * 1000};
  nanosleep(&a_little, NULL);
}

/* Told once for each writer that goes; and, with auto commit, whenever a
 * durable commit is due and cannot be made. */
static enum step without_writer(session *c) {
  bool again = c->no_writer;
  c->no_writer = true;
  if (!c->s->how.manual_commit && status_of(c).position != c->begun_at &&
      commit(c, DURALOG_POLLED) != GO_ON)
    return DONE;
  if (!c->s->follow) return again ? DONE : GO_ON;
  c->told = again ? c->told : NULL;
  tell(c, "no writer, waiting for one");
  if (again) nap();
  return GO_ON;
}

/* Nothing more will come by this log. */
static enum step at_its_end(session *c, const char *reason) {
  if (!c->s->follow) return DONE;
  tell(c, reason);
  return AGAIN;
}

/* What to do about a poll that gave nothing. */
static enum step answer(session *c, duralog_error error) {
  switch (error) {
    case DURALOG_E_WOKEN: return GO_ON;
    case DURALOG_E_TIMEOUT: return c->s->follow ? GO_ON : DONE;
    case DURALOG_E_NO_WRITER: return without_writer(c);
    case DURALOG_E_CORRUPT: return pass_damage(c);
    case DURALOG_E_EPOCH:
      tell_divergence(c);
      c->code = TOOL_FAILED;
      return DONE;
    case DURALOG_E_POISONED:
      return at_its_end(
          c, "a sync of the writer failed, waiting for the next writer");
    case DURALOG_E_READ_ONLY:
      return at_its_end(c, "no writer, waiting for one that can be followed");
    default: return fail(c, "consuming for", error);
  }
}

/* How many records to ask for; 0: it is over. */
static size_t batch_max(const session *c) {
  uint64_t max = c->left < BATCH_MAX ? c->left : BATCH_MAX;
  if (tool_end_is_wanted()) return 0;
  if (c->s->follow) return (size_t)max;
  uint64_t position = status_of(c).position;
  uint64_t there = position < c->to ? c->to - position : 0;
  return (size_t)(there < max ? there : max);
}

static enum step consume_batch(session *c, size_t max) {
  const duralog_record *records;
  size_t count;
  duralog_error error = duralog_poll(c->consumer, max, 0, c->s->follow ? -1 : 0,
                                     &records, &count);
  if (c->s->how.go_back) tell_divergence(c);
  if (error != DURALOG_OK) return answer(c, error);
  c->no_writer = false;
  if (!print_batch(c, records, count)) return DONE;
  return c->s->how.manual_commit ? commit(c, c->written_to) : GO_ON;
}

static enum step consume_all(session *c) {
  enum step step = GO_ON;
  /* A group that does not fit the log is told even where nothing is there. */
  size_t max = status_of(c).diverged ? 1 : batch_max(c);
  while (step == GO_ON && max > 0) {
    step = consume_batch(c, max);
    max = batch_max(c);
  }
  return step;
}

int tool_consume_run(const tool_consume_settings *s) {
  session c = {.s = s, .left = s->count};
  enum step step;
  if (!tool_ending_begin(&c.code, wake))
    return tool_fail("consuming", s->path, DURALOG_E_RESOURCES, NULL);
  do {
    step = join(&c);
    if (step == GO_ON) step = consume_all(&c);
    leave(&c);
    if (step == AGAIN) nap();
  } while (step == AGAIN && !c.failed && !tool_end_is_wanted());
  return c.cut_off ? c.code : tool_finish_output(c.code);
}
