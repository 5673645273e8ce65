/* SPDX-License-Identifier: MIT
 *
 * The cases of golden_make.c. Each is a function that leaves a log at the
 * place; what must come of it is said in tests/golden/v1/<case>/expect.
 */
#ifndef GOLDEN_CASES_H
#define GOLDEN_CASES_H

/* ---- good ones ---- */

static void empty(void) {
  begin(EACH);
  end();
}

static void empty_unclean(void) { begin(EACH); }

static void one_record(void) {
  begin(EACH);
  append("the only one");
  end();
}

/* The log that FORMAT.md takes apart. */
static void worked(void) {
  static char large[10000];
  memset(large, 'x', sizeof large);
  begin(EACH);
  append("hello");
  const duralog_entry batch[] = {
      {.data = "in", .size = 2, .key = "key", .key_size = 3},
      {.has_timestamp = true, .timestamp_ms = -1}};
  append_batch(batch, 2);
  end();
  begin(EACH);
  append("again");
  check(duralog_append(log_open, large, sizeof large, NULL), "append");
  append_large(1, 'y'); /* into the next segment */
  tick();
  end();
}

static void batches_keys_times(void) {
  begin(EACH);
  const duralog_entry entries[] = {
      {.data = "plain", .size = 5},
      {.data = "keyed", .size = 5, .key = "a key", .key_size = 5},
      {.data = "empty-key", .size = 9, .key = "", .key_size = 0},
      {.key = "no-data", .key_size = 7},
      {.data = NULL, .size = 0}};
  append_batch(entries, 5);
  const duralog_entry timed[] = {
      {.data = "zero", .size = 4, .has_timestamp = true},
      {.data = "early",
       .size = 5,
       .has_timestamp = true,
       .timestamp_ms = INT64_MIN},
      {.data = "late",
       .size = 4,
       .has_timestamp = true,
       .timestamp_ms = INT64_MAX},
      {.data = "near",
       .size = 4,
       .has_timestamp = true,
       .timestamp_ms = 1700000000500},
      {.data = "far-keyed",
       .size = 9,
       .key = "k",
       .key_size = 1,
       .has_timestamp = true,
       .timestamp_ms = -7}};
  append_batch(timed, 5);
  append("single");
  end();
}

static void several_segments(void) {
  begin(EACH);
  append_large(12, 'A');
  tick();
  append_large(3, 'a');
  end();
}

/* Three segments, nothing sealed. */
static void several_unsealed(void) {
  begin(PAGECACHE);
  append_large(10, 'A');
}

static void epochs(void) {
  static const char *const lives[] = {"first", "second", "third"};
  for (int i = 0; i < 3; i++) {
    begin(EACH);
    append(lives[i]);
    append("more");
    end();
  }
  begin(EACH); /* opened and closed: no trace */
  end();
}

static void padding(void) {
  begin(EACH);
  append("before");
  end();
  add_frame(1, FRAME_PAD, "anything at all");
  /* Behind it a record, as a release would write it that pads. */
  add_frame(1, FRAME_RECORD, "behind");
}

static void first_is_three(struct meta *m) { m->first_segment = 3; }
/* The oldest segments are gone, as a release with retention will leave it. */
static void retained(void) {
  begin(EACH);
  append_large(15, 'A');
  tick();
  end();
  lose(1);
  lose(2);
  change_meta(first_is_three);
}

static void compatible(struct meta *m) { m->compatible = 0x80000000u; }
static void compatible_too(struct identity *id) { id->compatible = 1; }
static void compatible_feature(void) {
  begin(EACH);
  append("as ever");
  end();
  change_meta(compatible);
  change_identity(1, compatible_too);
}

/* ---- tails ---- */

static void unclean_tail(void) {
  begin(PAGECACHE);
  append("one");
  append("two");
  sync_all();
  append("three");
  append("four");
}

static void torn_record(void) {
  unclean_tail();
  erase(1, position(1, 3) + 24, SEGMENT_BYTES);
}

static void torn_batch(void) {
  begin(PAGECACHE);
  append("alone");
  sync_all();
  append_three("first", "second", "third");
  erase(1, position(1, 3), SEGMENT_BYTES);
}

/* A power cut took sectors of the middle: what is behind is not resurrected. */
static void torn_in_the_middle(void) {
  begin(PAGECACHE);
  append("one");
  sync_all();
  append_large(2, 'A');
  append("last");
  erase(1, 5120, 5632);
}

/* The next life wrote over it; frames of the first still lie behind. */
static void stale_behind_the_end(void) {
  begin(PAGECACHE);
  append("one");
  sync_all();
  append("two, lost");
  append("three, behind");
  append("four, behind");
  end();
  flip(1, position(1, 1));
  erase(1, MARK_AT, MARK_AT + 2 * SECTOR_BYTES);
  begin(EACH);
  append("");
  end();
}

static void roll_without_a_start(void) {
  begin(PAGECACHE);
  append_large(5, 'A');
  erase(2, START_AT, START_AT + SECTOR_BYTES);
  erase(2, SEGMENT_HEADER_BYTES, SEGMENT_BYTES);
}

/* ---- damage ---- */

static void ten_records(enum mode mode) {
  static const char *const numbers[] = {"zero",  "one",  "two", "three",
                                        "four",  "five", "six", "seven",
                                        "eight", "nine"};
  begin(mode);
  for (int i = 0; i < 10; i++) append(numbers[i]);
}

static void damaged_payload(void) {
  ten_records(EACH);
  flip(1, position(1, 4) + FRAME_HEADER_BYTES);
}

static void damaged_header(void) {
  ten_records(EACH);
  flip(1, position(1, 4) + 8);
}

static void damaged_header_segments(void) {
  begin(PAGECACHE);
  append_large(10, 'A');
  sync_all();
  append("evidence");
  flip(2, position(2, 6) + 8);
}

static void damaged_after_clean(void) {
  ten_records(EACH);
  end();
  flip(1, position(1, 9) + FRAME_HEADER_BYTES);
}

static void damaged_last_strict(void) {
  ten_records(STRICT);
  flip(1, position(1, 9) + FRAME_HEADER_BYTES);
}

/* Without strict mode and unclean, this is what stays ambiguous. */
static void damaged_last_batch(void) {
  ten_records(EACH);
  flip(1, position(1, 9) + FRAME_HEADER_BYTES);
}

/* Below the seals: opening does not look, readers meet it. */
static void damaged_sealed(void) {
  several_segments();
  flip(1, position(1, 2) + FRAME_HEADER_BYTES + 500);
}

static void damaged_start(void) {
  begin(EACH);
  append_large(7, 'A');
  flip(2, START_AT + 20);
}

/* Nothing is lost: the seal says where the segment ends. */
static void damaged_roll_sealed(void) {
  several_segments();
  flip(1, find(1, NONE).position - FRAME_HEADER_BYTES + 8);
}

/* Nothing is lost either: the next segment's start says so. */
static void damaged_roll_unsealed(void) {
  several_unsealed();
  sync_all();
  append("evidence");
  flip(1, find(1, NONE).position - FRAME_HEADER_BYTES + 8);
}

static void damaged_start_sealed(void) {
  several_segments();
  flip(2, START_AT + 20);
}

static void damaged_identity_sealed(void) {
  several_segments();
  flip(2, IDENTITY_AT + 20);
}

/* Without effect: one segment more is walked. */
static void damaged_seal(void) {
  several_segments();
  flip(3, SEAL_AT + 20);
}

static void missing_middle_sealed(void) {
  several_segments();
  lose(2);
}

static void missing_middle_unsealed(void) {
  several_unsealed();
  lose(2);
}

static void missing_last(void) {
  several_segments();
  lose(4);
}

static void missing_first(void) {
  several_segments();
  lose(1);
}

static void missing_all(void) {
  one_record();
  lose(1);
}

static void missing_meta(void) {
  one_record();
  lose(META_NUMBER);
}

static void damaged_meta(void) {
  one_record();
  flip(META_NUMBER, 20);
}

static void short_segment(void) {
  char path[256];
  ten_records(EACH);
  end();
  name_of(path, 1);
  golden_check(truncate(path, 8192) == 0, "cannot cut", path);
}

static void swapped_segments(void) {
  char a[256], b[256], c[256];
  several_unsealed();
  end();
  name_of(a, 1);
  name_of(b, 2);
  path_of(c, "between");
  if (rename(a, c) || rename(b, a) || rename(c, b)) exit(1);
}

/* ---- newer releases ---- */

static void version_2(struct meta *m) { m->version = 2; }
static void newer_version(void) {
  one_record();
  change_meta(version_2);
}

static void feature_1(struct meta *m) { m->incompatible = 1; }
static void newer_feature(void) {
  one_record();
  change_meta(feature_1);
}

static void segment_version_2(struct identity *id) { id->version = 2; }
static void newer_segment(void) {
  one_record();
  change_identity(1, segment_version_2);
}

static void newer_frame_type(void) {
  one_record();
  add_frame(1, 5, "a producers' snapshot");
}

static void newer_frame_flag(void) {
  one_record();
  add_frame(1, FRAME_RECORD | 0x0400, "compressed");
}

/* ---- accepted damage ---- */

static void accepted_damage(void) {
  damaged_payload();
  end();
  begin(ACCEPT);
  append("behind");
  append("the damage");
  end();
}

/* The damaged log ended in half a batch, which must never be served. */
static void accepted_torn_batch(void) {
  ten_records(PAGECACHE);
  sync_all();
  append("ten");
  append_three("eleven", "twelve", "thirteen");
  uint64_t batch = position(1, 13);
  end();
  flip(1, position(1, 4) + FRAME_HEADER_BYTES);
  erase(1, batch, SEGMENT_BYTES);
  erase(1, MARK_AT, MARK_AT + 2 * SECTOR_BYTES);
  begin(ACCEPT);
  append("behind");
  append("the damage");
  end();
}

static void accepted_twice(void) {
  accepted_damage();
  flip(2, position(2, 10) + FRAME_HEADER_BYTES);
  begin(ACCEPT);
  append("once more");
  end();
}

/* ---- consumer groups ---- */

/* Commits one after the other, by one member; `durable` many of them so. */
static void commit_all(const char *group, const uint64_t *offsets, int count,
                       int durable, const char *metadata) {
  duralog_consumer *c;
  const duralog_record *records;
  size_t got;
  const duralog_consumer_options o = {.struct_size = sizeof o,
                                      .manual_commit = true};
  clock_ns += 5 * NS_PER_MS;
  check(duralog_consumer_open(log_open, group, &o, &c), "join");
  check(duralog_poll(c, 0, 0, 0, &records, &got), "poll");
  for (int i = 0; i < count; i++)
    check(duralog_commit(
              c, offsets[i],
              i < durable ? DURALOG_LEVEL_DURABLE : DURALOG_LEVEL_WRITTEN,
              metadata),
          "commit");
  check(duralog_consumer_close(&c), "leave");
}

static void change_group(const char *group,
                         void (*change)(uint8_t *bytes, uint64_t value),
                         uint64_t value) {
  char path[256], name[64];
  uint8_t *bytes;
  snprintf(name, sizeof name, GROUPS_NAME "/%s" GROUP_SUFFIX, group);
  path_of(path, name);
  golden_check(read_file(path, &bytes) == GROUP_BYTES, "not a group", path);
  change(bytes, value);
  FILE *out = fopen(path, "r+b");
  golden_check(out != NULL && fwrite(bytes, GROUP_BYTES, 1, out) == 1 &&
                   fclose(out) == 0,
               "cannot change", path);
  free(bytes);
}

static void flip_byte(uint8_t *bytes, uint64_t at) { bytes[at] ^= 0x10; }

static void flip_group(const char *group, uint64_t at) {
  change_group(group, flip_byte, at);
}

/* The first slot of the group "newer", as a later release might write it; its
 * checksum by FORMAT.md. */
static void slot_of_version(uint8_t *slot, uint64_t version) {
  char path[256];
  uint8_t *bytes, seed[16 + 5 + 1] = {0};
  struct meta m;
  name_of(path, META_NUMBER);
  read_file(path, &bytes);
  meta_decode(&m, bytes);
  memcpy(seed, m.uuid, 16);
  memcpy(seed + 16, "newer", 5); /* then the slot's number: 0 */
  store32(slot + 16, (uint32_t)version);
  store64(slot + 8, checksum64(slot + 16, GROUP_METADATA_AT - 16,
                               checksum64(seed, sizeof seed, load64(slot))));
  free(bytes);
}

/* A new group is in slot 0; each commit goes into the first one that holds
 * neither the newest state nor the durable one. */
static void groups(void) {
  static const uint64_t offsets[] = {2, 5, 7};
  ten_records(EACH);
  commit_all("untouched", offsets, 0, 0, NULL);
  commit_all("one", offsets, 1, 0, NULL);
  commit_all("durable", offsets, 1, 1, NULL);
  commit_all("three", offsets, 3, 1, NULL);
  commit_all("noted", offsets, 2, 2, "up to the fifth");
  check(duralog_protect_group(log_open, "noted", true), "protect");
  commit_all("torn", offsets, 2, 1, NULL);
  commit_all("broken", offsets, 1, 1, NULL);
  commit_all("newer", offsets, 0, 0, NULL);
  change_group("newer", slot_of_version, 2);
  for (uint64_t slot = 0; slot < GROUP_SLOTS; slot++) {
    uint64_t at = slot * GROUP_SLOT_BYTES + 40;
    flip_group("broken", at);
    if (slot == 0) flip_group("torn", at); /* the newest of two */
  }
  end();
}

static const struct golden_case {
  const char *name;
  void (*make)(void);
} cases[] = {
#define CASE(name) {#name, name},
    GOLDEN_CASES(CASE)
#undef CASE
};

#endif
