/* SPDX-License-Identifier: MIT
 *
 * The example kv, killed anywhere in a stream of commands (I2, I4, I11).
 *
 * One store lives many lives. In each a child runs build/examples/kv, is sent
 * random sets, pairs of sets and deletions without waiting for the answers, and
 * is killed when a given number of "ok" has come, or some moments later. The
 * commands that were answered are then all in the store, those after them are
 * not, and the one in flight is there as a whole or not at all. So the list
 * must be the model's after `answered` commands, or after one more.
 *
 * KILLS=n multiplies the lives.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "support.h"

enum {
  LIVES = SANITIZED ? 20 : 150,
  COMMANDS = 40, /* in a life, at most */
  KEYS = 12,
  LONG_BYTES = 20000,
  LINE_BYTES = 2 * LONG_BYTES + 100
};

/* ---- the model: what each key holds, as the seed of its value; 0: nothing */

struct model {
  uint64_t seeds[KEYS];
};

/* The value of a seed: letters, now and then very many. */
static size_t value_make(uint64_t seed, char to[LONG_BYTES + 1]) {
  uint64_t random = seed;
  size_t size = random_below(&random, 16) == 0
                    ? 1 + random_below(&random, LONG_BYTES)
                    : 1 + random_below(&random, 30);
  for (size_t i = 0; i < size; i++)
    to[i] = (char)('a' + random_below(&random, 26));
  to[size] = '\0';
  return size;
}

/* Make command `number` of a life, and what it does to the model. */
static void command_make(uint64_t seed, uint64_t number, struct model *m,
                         char line[LINE_BYTES]) {
  static char value[LONG_BYTES + 1];
  uint64_t random = seed + number * 7919;
  uint64_t a = random_below(&random, KEYS), b = (a + 1) % KEYS;
  uint64_t kind = random_below(&random, 5);
  if (kind == 0) {
    snprintf(line, LINE_BYTES, "del key%02u\n", (unsigned)a);
    m->seeds[a] = 0;
    return;
  }
  m->seeds[a] = random_next(&random) | 1;
  value_make(m->seeds[a], value);
  int used = snprintf(line, LINE_BYTES, "set key%02u %s", (unsigned)a, value);
  if (kind > 2) { /* two keys, both or neither */
    m->seeds[b] = random_next(&random) | 1;
    value_make(m->seeds[b], value);
    used += snprintf(line + used, LINE_BYTES - (size_t)used, " key%02u %s",
                     (unsigned)b, value);
  }
  snprintf(line + used, LINE_BYTES - (size_t)used, "\n");
}

/* What `list` prints for the model; malloc'ed. */
static char *model_list(const struct model *m) {
  char *text = malloc(KEYS * (LONG_BYTES + 32)), value[LONG_BYTES + 1];
  CHECK(text);
  size_t used = 0;
  for (unsigned i = 0; i < KEYS; i++) {
    if (m->seeds[i] == 0) continue;
    value_make(m->seeds[i], value);
    used += (size_t)sprintf(text + used, "key%02u %s\n", i, value);
  }
  sprintf(text + used, "ok\n");
  return text;
}

/* ---- kv as a child ---- */

struct kv {
  const char *log;
  int in, out; /* its own ends */
  pid_t child;
  FILE *answers;
};

/* <build>/examples/kv, beside <build>/tests/test_kv. */
static const char *program(void) {
  static char path[4096];
  ssize_t size = CHECK_CALL(readlink("/proc/self/exe", path, 4000));
  path[size] = '\0';
  for (int up = 0; up < 2; up++) *strrchr(path, '/') = '\0';
  return strcat(path, "/examples/kv");
}

static void become_kv(void *context) {
  const struct kv *kv = context;
  CHECK_CALL(dup2(kv->in, STDIN_FILENO));
  CHECK_CALL(dup2(kv->out, STDOUT_FILENO));
  CHECK_CALL(execl(program(), "kv", kv->log, (char *)NULL));
}

/* Takes over `in`. */
static struct kv kv_start(const char *log, int in) {
  int ends[2];
  CHECK_CALL(pipe2(ends, O_CLOEXEC));
  struct kv kv = {.log = log, .in = in, .out = ends[1]};
  kv.child = child_start(become_kv, &kv);
  close(kv.in);
  close(kv.out);
  kv.answers = fdopen(ends[0], "r");
  CHECK(kv.answers);
  return kv;
}

/* ---- a life ---- */

static void spin(uint64_t turns) {
  for (volatile uint64_t i = 0; i < turns; i++)
    ;
}

static const char *commands_store(const struct test_place *at, uint64_t seed,
                                  struct model m) {
  static char line[LINE_BYTES];
  const char *path = path_in(at, "commands");
  FILE *file = fopen(path, "w");
  CHECK(file);
  for (uint64_t i = 0; i < COMMANDS; i++) {
    command_make(seed, i, &m, line);
    CHECK(fputs(line, file) >= 0);
  }
  CHECK_EQUAL(fclose(file), 0);
  return path;
}

/* Live, be killed; how many commands were answered. */
static uint64_t live_and_die(const struct test_place *at, uint64_t seed,
                             const struct model *m) {
  static const uint64_t turns_max[] = {1, 5000, 500000, 5000000};
  uint64_t random = seed, answered = 0;
  uint64_t kill_at = random_below(&random, COMMANDS);
  uint64_t turns =
      random_below(&random, turns_max[random_below(&random, 4)] + 1);
  char line[16];
  const char *commands = commands_store(at, seed, *m);
  struct kv kv =
      kv_start(at->path, CHECK_CALL(open(commands, O_RDONLY | O_CLOEXEC)));
  while (answered < kill_at && fgets(line, sizeof line, kv.answers)) {
    CHECK_BYTES("ok\n", 3, line, strlen(line));
    answered++;
  }
  CHECK_EQUAL(answered, kill_at);
  spin(turns);
  CHECK_CALL(kill(kv.child, SIGKILL)); /* it may have ended by itself */
  child_end(kv.child);
  while (fgets(line, sizeof line, kv.answers)) {
    CHECK_BYTES("ok\n", 3, line, strlen(line));
    answered++;
  }
  fclose(kv.answers);
  return answered;
}

/* What a new kv lists; it then ends by itself, or is killed. Malloc'ed. */
static char *list_of(const struct test_place *at, bool killed) {
  int ends[2];
  CHECK_CALL(pipe2(ends, O_CLOEXEC));
  struct kv kv = kv_start(at->path, ends[0]);
  CHECK_EQUAL(write(ends[1], "list\n", 5), 5);
  size_t room = KEYS * (LONG_BYTES + 32), used = 0;
  char *text = malloc(room);
  CHECK(text);
  do {
    char *line = text + used;
    CHECK(fgets(line, (int)(room - used), kv.answers));
    used += strlen(line);
    if (strcmp(line, "ok\n") == 0) break;
  } while (true);
  if (killed) child_kill(kv.child);
  close(ends[1]);
  if (!killed) CHECK_EQUAL(child_end(kv.child), 0);
  fclose(kv.answers);
  return text;
}

/* The model after so many commands of a life. */
static void advance(struct model *m, uint64_t seed, uint64_t count) {
  static char line[LINE_BYTES];
  for (uint64_t i = 0; i < count; i++) command_make(seed, i, m, line);
}

static bool lists(const char *list, const struct model *m) {
  char *expected = model_list(m);
  bool same = strcmp(list, expected) == 0;
  free(expected);
  return same;
}

static uint64_t kills_of_all;

static void what_was_ok_is_there_wherever_kv_is_killed(struct test_place *at) {
  const char *times = getenv("KILLS");
  uint64_t lives = LIVES * (times ? strtoull(times, NULL, 10) : 1);
  uint64_t random = TEST_SEED, in_the_middle = 0;
  struct model m = {0};
  for (uint64_t life = 0; life < lives; life++) {
    uint64_t seed = random_next(&random);
    uint64_t answered = live_and_die(at, seed, &m);
    char *list = list_of(at, life % 2 == 0);
    struct model next = m;
    advance(&m, seed, answered);
    advance(&next, seed, answered < COMMANDS ? answered + 1 : answered);
    test_note("life %llu, killed after %llu answers", (unsigned long long)life,
              (unsigned long long)answered);
    bool in_flight = !lists(list, &m);
    if (in_flight) CHECK(lists(list, &next)), m = next;
    free(list);
    in_the_middle += answered < COMMANDS;
  }
  kills_of_all += lives;
  CHECK(in_the_middle > lives / 2);
}

static void wrong_commands_change_nothing(struct test_place *at) {
  static const char commands[] =
      "set\nset key\nset key00 v key01\nget\ndel\nnonsense\n\n \nlist\n"
      "set a 1 a 2 a 3 a 4 a 5 a 6 a 7 a 8 a 9 a 10 a 11 a 12 a 13 a 14 a 15 "
      "a 16 a 17\nget a\nset cut off";
  static const char answers[] =
      "no such command\nrefused\nrefused\nno such command\nno such command\n"
      "no such command\nno such command\nno such command\nok\nrefused\nnone\n"
      "no such command\n";
  const char *path = path_in(at, "commands");
  char text[sizeof answers + 64];
  file_store(path, commands, sizeof commands - 1);
  struct kv kv =
      kv_start(at->path, CHECK_CALL(open(path, O_RDONLY | O_CLOEXEC)));
  size_t size = fread(text, 1, sizeof text, kv.answers);
  fclose(kv.answers);
  CHECK_EQUAL(child_end(kv.child), 0);
  CHECK_BYTES(answers, sizeof answers - 1, text, size);
  char *list = list_of(at, false);
  CHECK(strcmp(list, "ok\n") == 0);
  free(list);
}

int main(int argc, char **argv) {
  static const struct test tests[] = {
      TEST(what_was_ok_is_there_wherever_kv_is_killed),
      TEST(wrong_commands_change_nothing),
  };
  int status = TEST_MAIN(tests);
  printf("kills %llu\n", (unsigned long long)kills_of_all);
  return status;
}
