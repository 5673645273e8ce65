/* SPDX-License-Identifier: MIT
 *
 * Errors of the library as sentences and exit codes.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "tool.h"

const char tool_exit_codes[] =
    "Exit codes:\n"
    "  0  success\n"
    "  1  failure not listed here: input or output, memory, a limit\n"
    "  2  wrong use: an option or an argument\n"
    "  3  damage found\n"
    "  4  no log or group there, or something else is there\n"
    "  5  busy: another writer lives, or another member of the group\n"
    "  6  no space left; the log is usable again once there is some\n"
    "  7  a sync failed: the last records may not survive power loss\n"
    "  8  not permitted, or read-only\n"
    "  9  written by a newer release, or not supported here\n";

int tool_exit_code(duralog_error error) {
  switch (error) {
    case DURALOG_OK: return TOOL_OK;
    case DURALOG_E_ARGUMENT: return TOOL_USAGE;
    case DURALOG_E_CORRUPT: return TOOL_DAMAGE;
    case DURALOG_E_NOT_FOUND:
    case DURALOG_E_FOREIGN: return TOOL_NO_LOG;
    case DURALOG_E_BUSY: return TOOL_BUSY;
    case DURALOG_E_FULL: return TOOL_FULL;
    case DURALOG_E_POISONED: return TOOL_SYNC_FAILED;
    case DURALOG_E_PERMISSION:
    case DURALOG_E_READ_ONLY: return TOOL_DENIED;
    case DURALOG_E_NEWER:
    case DURALOG_E_UNSUPPORTED: return TOOL_UNSUPPORTED;
    default: return TOOL_FAILED;
  }
}

/* "; <sentence> (<path>, byte <position>: <system error>)" */
static void print_details(const duralog_diagnostic *diagnostic) {
  if (diagnostic->text[0] != '\0') fprintf(stderr, "; %s", diagnostic->text);
  if (diagnostic->path[0] == '\0' && diagnostic->os_error == 0) return;
  fprintf(stderr, " (%s", diagnostic->path);
  if (diagnostic->position != UINT64_MAX)
    fprintf(stderr, ", byte %llu", (unsigned long long)diagnostic->position);
  if (diagnostic->os_error != 0)
    fprintf(stderr, "%s%s", diagnostic->path[0] == '\0' ? "" : ": ",
            strerror(diagnostic->os_error));
  fputc(')', stderr);
}

int tool_fail(const char *doing, const char *path, duralog_error error,
              const duralog_diagnostic *diagnostic) {
  fprintf(stderr, "duralog: %s %s: %s", doing, path, duralog_error_text(error));
  /* A log's diagnostic may be of another thread's later failure. */
  if (diagnostic != NULL && diagnostic->error == error)
    print_details(diagnostic);
  fputc('\n', stderr);
  return tool_exit_code(error);
}

int tool_fail_on(const char *doing, const char *path, duralog_error error,
                 const duralog *log) {
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  bool known = duralog_diagnose(log, &diagnostic) == DURALOG_OK;
  return tool_fail(doing, path, error, known ? &diagnostic : NULL);
}

int tool_usage(const char *command, const char *format, ...) {
  va_list arguments;
  fputs("duralog: ", stderr);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "; see \"duralog help%s%s\"\n", command[0] == '\0' ? "" : " ",
          command);
  return TOOL_USAGE;
}

int tool_finish_output(int code) {
  /* After a failed write errno is still its own: commands stop there. */
  if (ferror(stdout) == 0 && fflush(stdout) == 0) return code;
  /* EPIPE: who read it has had enough (cat | head), which is no failure. */
  if (errno == EPIPE) return code;
  fprintf(stderr, "duralog: writing standard output: %s\n", strerror(errno));
  return code == TOOL_OK ? TOOL_FAILED : code;
}
