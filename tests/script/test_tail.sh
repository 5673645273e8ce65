#!/bin/bash
# duralog tail, as a user meets it: the end of a log, and following writers that
# come, go and are killed. Prints "ok NAME" or "not ok NAME" a test. Nothing
# sleeps: what a tail prints comes through a pipe and is waited for by line.
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=tail
. tests/script/claims.sh
. tests/script/is_json.sh
. tests/script/writer.sh
limit=30 # seconds, for what comes at once

# ---- a tail ----

tail_begin() { # tail_begin OPTION...: -f; prints to descriptors 5 and 6
  rm -f "$work/printed" "$work/errors" && mkfifo "$work/printed" "$work/errors" || return 1
  # A shell lets what is in the background ignore the signal.
  perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' $tool tail -f "$@" "$work/log" \
    >"$work/printed" 2>"$work/errors" 4>&- &
  tail=$!
  exec 5<"$work/printed" 6<"$work/errors"
}

next_is() { # next_is LINE...: what the tail prints next
  for expected; do
    read -r -t $limit line <&5 || { echo "no line, expected: $expected"; return 1; }
    [ "$line" = "$expected" ] || { echo "printed '$line', expected '$expected'"; return 1; }
  done
}

next_error_is() { # next_error_is TEXT: the next line of errors has it
  read -r -t $limit line <&6 || { echo "no error, expected: $1"; return 1; }
  case $line in *"$1"*) ;; *) echo "error '$line', expected '$1'"; return 1 ;; esac
}

tail_end() { # tail_end SIGNAL STATUS: it ends so and says nothing more
  kill -s "$1" $tail
  ended_with "$2"
}

ended_with() {
  wait $tail
  status=$?
  [ $status -eq "$1" ] || { echo "status $status instead of $1"; cat <&6; return 1; }
  rest=$(cat <&5 && cat <&6) && [ -z "$rest" ] || { echo "more: $rest"; return 1; }
}

numbers() { tr '\n' ' '; }

log_of() { # log_of COUNT: a closed log of these numbers
  seq "$1" | $tool append --quiet "$work/log"
}

# ---- a closed log ----

the_last_records_are_printed() {
  log_of 100 && seq 91 100 >"$work/ten" && $tool tail "$work/log" | cmp - "$work/ten" &&
    [ "$($tool tail -n 3 "$work/log" | numbers)" = '98 99 100 ' ] &&
    [ "$($tool tail -n3 --level durable "$work/log" | numbers)" = '98 99 100 ' ] &&
    [ "$($tool tail --count 1 "$work/log")" = 100 ] && [ -z "$($tool tail -n 0 "$work/log")" ] &&
    seq 100 >"$work/all" && $tool tail -n 100 "$work/log" | cmp - "$work/all" &&
    $tool tail -n 10K "$work/log" | cmp - "$work/all" &&
    [ "$($tool tail --format offset -n 1 "$work/log" | cut -f 1,3)" = "$(printf '99\t100')" ]
}

an_empty_log_has_no_last_records() {
  log_of 0 && [ -z "$($tool tail "$work/log")" ] && [ -z "$($tool tail --from start "$work/log")" ] &&
    [ -z "$($tool tail --from 0 "$work/log")" ] && [ -z "$($tool tail --from -1h "$work/log")" ]
}

now_ms() { perl -MTime::HiRes=time -e 'printf "%d", 1000 * time'; }

# Two runs, more than a tick apart of the coarse clock that stamps records.
each_place_is_found() {
  log_of 3 && was=$(now_ms) || return 1
  while [ "$(now_ms)" -lt $((was + 20)) ]; do :; done
  seq 4 6 | $tool append --quiet "$work/log" || return 1
  ms=$($tool cat --format json --from 3 --count 1 "$work/log" | sed 's/.*"timestamp_ms":\([0-9]*\).*/\1/')
  iso=$($tool cat --format offset --from 3 --count 1 "$work/log" | cut -f 2)
  for place in 'start:1 2 3 4 5 6 ' 'end:' '0:1 2 3 4 5 6 ' '4:5 6 ' '6:' '-1h:1 2 3 4 5 6 ' '-0s:'; do
    got=$($tool tail --from "${place%%:*}" "$work/log" | numbers)
    [ "$got" = "${place#*:}" ] || { echo "--from ${place%%:*}: $got"; return 1; }
  done
  for time in "@$ms" "$iso"; do
    got=$($tool tail --from "$time" "$work/log" | numbers)
    [ "$got" = '4 5 6 ' ] || { echo "--from $time: $got"; return 1; }
  done
}

code() { # code EXPECTED COMMAND...: it exits so, with a message
  expected=$1
  shift
  "$@" >"$work/out" 2>"$work/err"
  got=$?
  [ $got -eq "$expected" ] && [ -s "$work/err" ] && [ ! -s "$work/out" ] ||
    { echo "exit code $got instead of $expected: $*"; cat "$work/err"; return 1; }
}

wrong_use_is_refused() {
  log_of 3 || return 1
  for bad in '-n x' '-n -1' '-n' '--from' '--from x' '--from -5' '--from @-1h' '--from @' '--from 12:00' '--level x' \
    '--level default' '--format x' '--from 99999999999999999999' '-x' '-fx' '--nonsense' '-n 1 --from 1' "$work/log"; do
    code 2 $tool tail $bad "$work/log" || return 1
  done
  code 2 $tool tail && code 4 $tool tail -f "$work/absent" && code 1 $tool tail --from 4 "$work/log" &&
    grep -q '4 is not from 0 to 3' "$work/err" && code 1 $tool tail -f --from 4 "$work/log"
}

each_option_is_explained() {
  $tool help tail >"$work/help" || return 1
  for option in '-f, --follow' '-n, --count' --from --level --format --json --quiet; do
    grep -q -- "^  $option" "$work/help" || { echo "no $option"; return 1; }
  done
}

json_is_json() {
  printf 'a "quote"\n\n\377\n' | $tool append --quiet "$work/log" && $tool tail --json "$work/log" >"$work/json" &&
    is_json <"$work/json" && [ "$(wc -l <"$work/json")" -eq 3 ] && grep -q '"offset":2,.*"data_base64":"/w=="' "$work/json"
}

damage_is_named_and_passed() {
  printf '%s\n' one two-marked three | $tool append --quiet "$work/log" &&
    at=$(grep -abo two-marked "$work/log/00000000000000000001.seg" | cut -d: -f1) &&
    printf X | dd of="$work/log/00000000000000000001.seg" bs=1 seek="$at" conv=notrunc 2>"$work/dd" || return 1
  $tool tail "$work/log" >"$work/out" 2>"$work/err"
  [ $? -eq 3 ] && [ "$(numbers <"$work/out")" = 'one three ' ] && grep -q 'left out: offset 1,' "$work/err" &&
    tail_begin && next_is one three && next_error_is 'left out: offset 1,' && next_error_is 'no writer' &&
    tail_end TERM 3
}

# ---- following ----

a_tail_follows_a_living_writer() {
  writer_begin && say one two && tail_begin --from start && next_is one two &&
    say three && next_is three && say four five && next_is four five &&
    writer_end && next_error_is 'no writer' && tail_end TERM 0
}

a_tail_that_is_first_sees_a_writer_that_comes() {
  log_of 2 && tail_begin -n 1 && next_is 2 && next_error_is 'no writer' && writer_begin &&
    say one && next_is one && say two && next_is two && writer_end
}

# It has its place once it says that it waits.
new_records_alone_can_be_asked_for() {
  log_of 5 && tail_begin --from end && next_error_is 'no writer' && writer_begin && say new && next_is new
}

durable_records_come_with_their_sync() {
  writer_begin --durability every=3 && tail_begin --from start --level durable --quiet &&
    say one two three && next_is one two three && say four && writer_end && next_is four && tail_end TERM 0
}

killed_writers_and_their_successors_are_followed() {
  writer_begin --durability pagecache && say 1 && tail_begin --from start && next_is 1 || return 1
  for life in 2 4 6 8; do
    say $life && next_is $life && writer_kill && next_error_is 'no writer' &&
      writer_begin --durability pagecache && say $((life + 1)) && next_is $((life + 1)) || return 1
  done
  say 10 && next_is 10 && tail_end INT 0 && writer_end &&
    [ "$($tool cat "$work/log" | numbers)" = '1 2 3 4 5 6 7 8 9 10 ' ]
}

quiet_says_nothing_of_writers() {
  writer_begin && say 1 && tail_begin --quiet && next_is 1 && writer_end && writer_begin && say 2 && next_is 2 &&
    tail_end TERM 0
}

json_next_is() { # json_next_is OFFSET EPOCH
  read -r -t $limit line <&5 || { echo "no line, expected offset $1"; return 1; }
  case $line in "{\"offset\":$1,\"epoch\":$2,"*) ;; *) echo "$line instead of offset $1, epoch $2"; return 1 ;; esac
}

# The last two records are lost with the power, as far as the file tells.
records_that_were_lost_are_named() {
  writer_begin --durability pagecache && tail_begin --from start --json || return 1
  for offset in 0 1 2 3; do say "lost-$offset" && json_next_is $offset 1 || return 1; done
  writer_kill && next_error_is 'no writer' || return 1
  for at in $(grep -abo 'lost-[23]' "$work/log/00000000000000000001.seg" | cut -d: -f1); do
    printf X | dd of="$work/log/00000000000000000001.seg" bs=1 seek="$at" conv=notrunc 2>"$work/dd" || return 1
  done
  writer_begin --durability pagecache && say new && next_error_is 'records from 2 on were not those printed before' &&
    json_next_is 2 2 && say newer && json_next_is 3 2 && tail_end TERM 0
}

segments_are_followed() {
  seq 100000 100999 >"$work/first" && seq 101000 109999 >"$work/rest" &&
    writer_begin --durability pagecache --segment-bytes 16K && cat "$work/first" >&4 && tail_begin --from start &&
    cat "$work/rest" >&4 || return 1
  for expected in $(cat "$work/first" "$work/rest"); do next_is "$expected" || return 1; done
  writer_end && [ "$(ls "$work/log" | grep -c seg)" -gt 10 ]
}

# Where its control file should be there is a directory, which cannot go.
a_writer_that_cannot_be_followed_is_looked_at() {
  sign=writer_lives
  log_of 2 && rm "$work/log/control" && mkdir "$work/log/control" && writer_begin --durability every=100 && say 3 || return 1
  until [ "$($tool cat --from 2 "$work/log")" = 3 ]; do :; done
  tail_begin --from start && next_is 1 2 3 && next_error_is 'cannot be followed' && say 4 && next_is 4 && say 5 && next_is 5 &&
    tail_end TERM 0 && tail_begin --from start --quiet --level durable && next_is 1 2 && writer_end && next_is 3 4 5 && tail_end TERM 0
}

# The writer hangs with its message, so that it lives on with a poisoned log.
a_writer_whose_sync_failed_is_outlived() {
  printf '%s\n' '#include <errno.h>' '#include <unistd.h>' \
    "int fdatasync(int f) { if (f < 0 || !access(\"$work/fail\", F_OK)) { errno = EIO; return -1; } return fsync(f); }" >"$work/sync.c" &&
    ${CC:-cc} -shared -fPIC "$work/sync.c" -o "$work/sync.so" && mkfifo "$work/full" "$work/input" && log_of 1 || return 1
  exec 7<>"$work/full" && head -c 65536 /dev/zero >&7 || return 1
  LD_PRELOAD=$work/sync.so $tool append "$work/log" <"$work/input" 2>"$work/full" 7>&- &
  writer=$!
  exec 4>"$work/input" && wait_for_writer && say 2 && tail_begin --from start && next_is 1 2 && touch "$work/fail" && say 3 && next_is 3 &&
    next_error_is 'a sync of the writer failed' && writer_kill && next_error_is 'no writer' || return 1
  writer_begin && say 4 && next_is 4 && tail_end TERM 0
}

# ---- ending ----

# Until the tail has taken the signals it was sent.
taken() { while grep -q '^ShdPnd:.*[1-9a-f]' /proc/$tail/status; do :; done; }

# It prints more than a pipe holds, and is asked to end in the middle of it.
a_signal_ends_it_between_records_with_all_output() {
  log_of 200000 && seq 200000 >"$work/all" || return 1
  for signal in INT TERM HUP; do
    tail_begin --from start && next_is 1 && kill -s $signal $tail && taken && cat <&5 >"$work/rest" && ended_with 0 || return 1
    { echo 1; cat "$work/rest"; } >"$work/out"
    size=$(wc -c <"$work/out")
    [ "$(tail -c 1 "$work/out" | od -An -c | tr -d ' ')" = '\n' ] && cmp -n "$size" "$work/out" "$work/all" &&
      [ "$size" -lt "$(wc -c <"$work/all")" ] || { echo "$signal: $size bytes"; return 1; }
  done
}

# In the middle of a record that is larger than a pipe, of which no more is read.
a_second_signal_kills() {
  head -c 200000 /dev/zero | tr '\0' x | $tool append --quiet "$work/log" && tail_begin --from start &&
    read -r -n 1 line <&5 && kill -s TERM $tail || return 1
  SECONDS=0
  while [ $SECONDS -lt $limit ] && kill -s TERM $tail 2>/dev/null && [ -n "$(jobs -rp)" ]; do :; done
  kill -9 $tail 2>/dev/null
  wait $tail
  status=$?
  [ $status -eq 143 ] || { echo "status $status"; cat <&6; return 1; }
}

an_ignored_signal_is_ignored() {
  log_of 1 && mkfifo "$work/out" && { perl -e '$SIG{INT} = "IGNORE"; exec @ARGV' $tool tail -f --quiet "$work/log" >"$work/out" & } &&
    tail=$! && exec 5<"$work/out" && next_is 1 && kill -s INT $tail && seq 2 2 | $tool append --quiet "$work/log" &&
    next_is 2 && kill -s TERM $tail && wait $tail
}

nothing_comes_and_nobody_reads() {
  log_of 5 && timeout $limit $tool tail -f "$work/log" 2>"$work/err" | head -n 1 | grep -q 1
  [ "${PIPESTATUS[*]}" = '0 0 0' ]
}

output_that_fails_is_told() {
  log_of 5 || return 1
  for options in '' '-f --quiet'; do
    timeout $limit $tool tail $options "$work/log" >/dev/full 2>"$work/err"
    [ $? -eq 1 ] && grep -q 'writing standard output: No space' "$work/err" || { cat "$work/err"; return 1; }
  done
}

for test in the_last_records_are_printed an_empty_log_has_no_last_records each_place_is_found wrong_use_is_refused \
  each_option_is_explained json_is_json damage_is_named_and_passed a_tail_follows_a_living_writer \
  a_tail_that_is_first_sees_a_writer_that_comes new_records_alone_can_be_asked_for durable_records_come_with_their_sync \
  killed_writers_and_their_successors_are_followed quiet_says_nothing_of_writers records_that_were_lost_are_named \
  segments_are_followed a_writer_that_cannot_be_followed_is_looked_at \
  a_writer_whose_sync_failed_is_outlived a_signal_ends_it_between_records_with_all_output a_second_signal_kills \
  an_ignored_signal_is_ignored nothing_comes_and_nobody_reads output_that_fails_is_told; do
  claim $test $test
done
exit $failed
