/* SPDX-License-Identifier: MIT
 *
 * duralog salvage: copy what is provable out of a damaged log.
 */
#include <inttypes.h>

#include "tool.h"

typedef struct salvage {
  tool_json *json; /* NULL: text */
  bool more;       /* could be had with --partial-batches */
} salvage;

/* -------------------------------------------------------------- items -- */

static const char *kind_name(duralog_salvage_kind kind) {
  switch (kind) {
    case DURALOG_SALVAGE_RUN: return "run";
    case DURALOG_SALVAGE_GAP: return "gap";
    case DURALOG_SALVAGE_DAMAGE: break;
  }
  return "damage";
}

static void print_offsets(const duralog_salvage_item *item) {
  if (item->kind == DURALOG_SALVAGE_DAMAGE)
    printf("damaged: no record lost");
  else
    printf("%s", item->kind == DURALOG_SALVAGE_RUN ? "copied: " : "lost: ");
  if (item->kind == DURALOG_SALVAGE_DAMAGE) return;
  if (item->to == UINT64_MAX)
    printf("offsets from %" PRIu64 " on, nobody knows how many", item->from);
  else if (item->to == item->from + 1)
    printf("offset %" PRIu64, item->from);
  else
    printf("offsets %" PRIu64 " to %" PRIu64, item->from, item->to - 1);
}

static void print_file(const duralog_salvage_item *item) {
  if (item->segment == 0)
    fputs(", meta file", stdout);
  else
    printf(", %020" PRIu64 ".seg", item->segment);
  if (item->position_end > item->position)
    printf(" bytes %" PRIu64 " to %" PRIu64, item->position,
           item->position_end - 1);
}

static void print_text(const duralog_salvage_item *item) {
  print_offsets(item);
  print_file(item);
  if (item->kind == DURALOG_SALVAGE_RUN && item->partial_batch)
    fputs(", begins or ends amid a batch", stdout);
  if (item->times_unproven) fputs(", times guessed", stdout);
  if (item->reason != NULL) printf(": %s", item->reason);
  putchar('\n');
}

static void json_number(tool_json *json, const char *name, uint64_t value) {
  if (value == UINT64_MAX)
    tool_json_null(json, name);
  else
    tool_json_number(json, name, value);
}

static void print_json(tool_json *json, const duralog_salvage_item *item) {
  tool_json_open(json, NULL, '{');
  tool_json_string(json, "kind", kind_name(item->kind));
  json_number(json, "from", item->from);
  json_number(json, "to", item->to);
  json_number(json, "segment", item->segment);
  json_number(json, "position", item->position);
  json_number(json, "position_end", item->position_end);
  json_number(json, "evidence", item->evidence);
  tool_json_bool(json, "partial_batch", item->partial_batch);
  tool_json_bool(json, "times_unproven", item->times_unproven);
  if (item->reason != NULL) tool_json_string(json, "reason", item->reason);
  tool_json_close(json, '}');
}

static void found(void *context, const duralog_salvage_item *item) {
  salvage *s = context;
  s->more |= item->kind == DURALOG_SALVAGE_GAP && item->partial_batch;
  if (s->json != NULL)
    print_json(s->json, item);
  else
    print_text(item);
}

/* ------------------------------------------------------------ summary -- */

static void print_summary(const duralog_salvage_report *r) {
  printf("records %" PRIu64 ", bytes %" PRIu64 ", offsets %" PRIu64
         " to before %" PRIu64 "; ",
         r->records, r->bytes, r->start, r->end);
  if (r->gaps == 0)
    printf("nothing lost");
  else
    printf("%" PRIu64 " lost in %" PRIu64 " gaps", r->records_lost, r->gaps);
  if (r->damages > 0) printf(", %" PRIu64 " other damages", r->damages);
  if (r->unreadable_bytes > 0)
    printf(", %" PRIu64 " bytes that the disk does not give",
           r->unreadable_bytes);
  if (r->open_failures > 0)
    printf(", %" PRIu64 " times a file could not be opened", r->open_failures);
  putchar('\n');
}

static void print_json_end(tool_json *json, const duralog_salvage_report *r) {
  tool_json_number(json, "start", r->start);
  json_number(json, "end", r->end);
  json_number(json, "records", r->records);
  json_number(json, "bytes", r->bytes);
  json_number(json, "runs", r->runs);
  json_number(json, "gaps", r->gaps);
  json_number(json, "damages", r->damages);
  json_number(json, "records_lost", r->records_lost);
  json_number(json, "evidence_bytes", r->evidence_bytes);
  json_number(json, "unreadable_bytes", r->unreadable_bytes);
  json_number(json, "open_failures", r->open_failures);
}

/* ------------------------------------------------------------ command -- */

static int run_salvage(const char *from, const char *to,
                       duralog_salvage_options *options, salvage *s) {
  duralog_salvage_report report = {.struct_size = sizeof report};
  duralog_diagnostic diagnostic = {.struct_size = sizeof diagnostic};
  options->found = found;
  options->found_context = s;
  if (s->json != NULL) {
    tool_json_open(s->json, NULL, '{');
    tool_json_open(s->json, "items", '[');
  }
  duralog_error error =
      duralog_salvage(from, to, options, &report, &diagnostic);
  if (s->json != NULL) {
    tool_json_close(s->json, ']');
    tool_json_bool(s->json, "failed", error != DURALOG_OK);
    if (error == DURALOG_OK) print_json_end(s->json, &report);
    tool_json_end(s->json);
  }
  if (error != DURALOG_OK)
    return tool_finish_output(tool_fail("salvaging", from, error, &diagnostic));
  if (s->json == NULL) print_summary(&report);
  if (s->json == NULL && s->more)
    puts(
        "of batches with a damaged record more is left: --partial-batches "
        "copies that, too");
  bool damaged = report.gaps > 0 || report.damages > 0 ||
                 report.unreadable_bytes > 0 || report.open_failures > 0;
  return tool_finish_output(damaged ? TOOL_DAMAGE : TOOL_OK);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 32 hexadecimal digits, with dashes anywhere between. */
static bool parse_uuid(const char *text, uint8_t uuid[16]) {
  size_t digits = 0;
  for (; *text != '\0'; text++) {
    int digit = hex_digit(*text);
    if (*text == '-') continue;
    if (digit < 0 || digits == 32) return false;
    uint8_t *byte = &uuid[digits++ / 2];
    *byte = (uint8_t)(*byte << 4 | digit);
  }
  return digits == 32;
}

static int run(int argc, char **argv) {
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'},
      {"uuid", required_argument, NULL, 'u'},
      {"partial-batches", no_argument, NULL, 'b'},
      {"unproven-times", no_argument, NULL, 't'},
      {0}};
  duralog_salvage_options o = {.struct_size = sizeof o};
  tool_json json = {.out = stdout};
  salvage s = {.json = NULL, .more = false};
  int option;
  while ((option = tool_next_option(argc, argv, options)) != -1) {
    switch (option) {
      case 'j': s.json = &json; break;
      case 'b': o.partial_batches = true; break;
      case 't': o.unproven_times = true; break;
      case 'u':
        o.has_uuid = parse_uuid(optarg, o.uuid);
        if (o.has_uuid) break;
        return tool_usage(argv[0], "--uuid wants 32 hexadecimal digits");
      default: return TOOL_USAGE;
    }
  }
  if (argc - optind != 2)
    return tool_usage(argv[0], "%s wants two directories, not %d", argv[0],
                      argc - optind);
  return run_salvage(argv[optind], argv[optind + 1], &o, &s);
}

static const char help[] =
    "OUT must not exist or be empty. It becomes a log with the records that\n"
    "checksums prove, at their offsets; each gap is damage there, with its "
    "exact\n"
    "range. OUT/salvage.json lists all, OUT/salvage.evidence keeps the "
    "damaged\n"
    "bytes. DIR is not changed, and must not be in use. The exit code is 3 if\n"
    "anything was lost or damaged; where it is neither 0 nor 3 there is no "
    "OUT.\n"
    "\n"
    "  --json              one JSON object\n"
    "  --uuid HEX          which log it is, where the files do not say\n"
    "  --partial-batches   copy what is left of a batch of which a part is "
    "lost;\n"
    "                      otherwise it is left out. \"duralog append\" makes "
    "a\n"
    "                      batch of all that it reads at once\n"
    "  --unproven-times    where a start block is lost, and with it the times "
    "of\n"
    "                      its segment's records: copy them with guessed "
    "ones\n";

const tool_command tool_salvage = {
    .name = "salvage",
    .arguments = "[options] DIR OUT",
    .summary = "copy what is provable out of a damaged log",
    .help = help,
    .run = run,
};
