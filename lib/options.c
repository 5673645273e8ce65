/* SPDX-License-Identifier: MIT
 *
 * What the host asked for: defaults filled in, nonsense refused by name.
 */
#include "open.h"

enum {
  /* Header page, a record's own framing, an EPOCH and a ROLL frame, rounded up:
   * what a segment needs besides its largest record. */
  RECORD_ROOM_BYTES = 4352,
  RECORD_ROOM_PADDED_BYTES = RECORD_ROOM_BYTES + 4096 /* its ROLL has a block */
};

/* What is wrong with them; NULL if nothing. */
static const char *options_problem(const duralog_options *o) {
  struct policy policy;
  if (o->segment_bytes < SEGMENT_BYTES_MIN ||
      o->segment_bytes > SEGMENT_BYTES_MAX || o->segment_bytes % 4096 != 0)
    return "segment_bytes: from 16 KiB to 1 GiB, a multiple of 4096";
  if (o->record_bytes_max > o->segment_bytes - RECORD_ROOM_BYTES)
    return "record_bytes_max: at most segment_bytes less 4352";
  if (o->pad_syncs &&
      o->record_bytes_max > o->segment_bytes - RECORD_ROOM_PADDED_BYTES)
    return "record_bytes_max: at most segment_bytes less 8448 with pad_syncs";
  if (o->read_level < DURALOG_LEVEL_DEFAULT ||
      o->read_level > DURALOG_LEVEL_DURABLE)
    return "read_level: no such level";
  if (o->file_mode > 0777) return "file_mode: permission bits only";
  if (o->read_only && o->accept_damage)
    return "accept_damage writes, read_only does not: choose one";
  if (!policy_make(&policy, &o->durability))
    return o->durability.pagecache
               ? "durability: pagecache excludes every other trigger"
               : "durability: sync_interval_ms is 10 at least";
  return NULL;
}

const char *options_normalise(const duralog_options *given,
                              duralog_options *out) {
  *out = (duralog_options){.struct_size = sizeof *out};
  if (given) {
    if (given->struct_size != sizeof *given)
      return "options: struct_size is not one that this release knows";
    *out = *given;
  }
  if (!out->segment_bytes)
    out->segment_bytes = UINT64_C(1) << (out->small_device ? 20 : 26);
  if (!out->record_bytes_max) out->record_bytes_max = out->segment_bytes / 4;
  if (!out->file_mode) out->file_mode = 0600;
  return options_problem(out);
}

void options_apply(struct duralog *log, const duralog_options *o) {
  policy_make(&log->policy, &o->durability);
  log->policy_idle = policy_idle(&log->policy);
  log->durable_each = policy_durable_each(&log->policy);
  log->syncs_parts =
      !log->policy_idle && !log->durable_each && !o->strict && !o->pad_syncs;
  log->writes_ahead = log->durable_each && !o->small_device;
  log->host_policy = log->durable_each ? NULL : o->sync_wanted;
  log->host_policy_context = o->sync_wanted_context;
  log->segment_bytes = o->segment_bytes;
  log->record_bytes_max = o->record_bytes_max;
  log->read_only = o->read_only;
  log->strict = o->strict;
  log->host_driven = o->host_driven || o->read_only; /* no threads */
  log->pad_syncs = o->pad_syncs;
  log->small_device = o->small_device;
  log->copying_reads = o->copying_reads;
  log->catalog.mapped = !o->copying_reads;
  log->directory.file_mode = o->file_mode;
  log->read_level = o->read_level;
  log->writers_level = o->read_only && o->read_level == DURALOG_LEVEL_DEFAULT;
  if (log->read_level == DURALOG_LEVEL_DEFAULT)
    log->read_level =
        log->durable_each ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN;
}
