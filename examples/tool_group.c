/* SPDX-License-Identifier: MIT
 *
 * What failed with a consumer group, and what can be done about it. The
 * library's sentences are about logs; where a group means something else there
 * is one of ours.
 */
#include "tool.h"

/* What the library has noted about this error. */
static bool noted(const duralog *log, duralog_error error) {
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  return duralog_diagnose(log, &diagnostic) == DURALOG_OK &&
         diagnostic.error == error;
}

/* Our sentence for this error, or NULL. */
static const char *sentence(duralog_error error) {
  switch (error) {
    case DURALOG_E_BUSY:
      return "a live process consumes for it, and has to end first";
    case DURALOG_E_NOT_FOUND:
      return "there is no such group; \"duralog groups list\" shows those "
             "there are";
    case DURALOG_E_CORRUPT:
      return "its file is damaged, so that nobody knows how far it had come; "
             "\"duralog groups reset\" to a place (no shift) makes it anew, "
             "\"delete\" removes it";
    default: return NULL;
  }
}

static void advise(const char *path, duralog_error error, const duralog *log) {
  if (error == DURALOG_E_NO_WRITER)
    fprintf(stderr,
            "duralog: the records before that offset have to be durable first; "
            "\"duralog append %s </dev/null\" recovers the log and makes them "
            "so\n",
            path);
  if (error == DURALOG_E_ARGUMENT && !noted(log, error))
    fprintf(stderr,
            "duralog: the name of a group has 1 to %d of the characters A-Z "
            "a-z 0-9 . _ -\n",
            DURALOG_GROUP_NAME_MAX);
}

int tool_fail_group(const char *doing, const char *group, const char *path,
                    duralog_error error, const duralog *log) {
  char what[64 + DURALOG_GROUP_NAME_MAX];
  snprintf(what, sizeof what, "%s group %.*s of", doing, DURALOG_GROUP_NAME_MAX,
           group);
  fflush(stdout); /* where both go to one place: in order */
  if (sentence(error) != NULL) {
    fprintf(stderr, "duralog: %s %s: %s (groups/%s.group)\n", what, path,
            sentence(error), group);
    return tool_exit_code(error);
  }
  int code = tool_fail_on(what, path, error, log);
  advise(path, error, log);
  return code;
}
