#!/bin/sh
# The examples, the tool, the README's program and an installation, as a user
# meets them. Prints "ok NAME" or "not ok NAME" a test.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/duralog-examples.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0
tool=$build/duralog

claim() { # claim NAME COMMAND...: the command succeeds
  name=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    echo "ok $name"
  else
    echo "not ok $name"
    sed 's/^/    /' "$work/out"
    failed=1
  fi
}

code() { # code EXPECTED COMMAND...: the command exits so
  expected=$1
  shift
  "$@" >/dev/null 2>"$work/err"
  got=$?
  [ $got -eq "$expected" ] && [ -s "$work/err" ] ||
    { echo "exit code $got instead of $expected"; cat "$work/err"; return 1; }
}

hello_greets_again() {
  [ "$("$build/examples/hello" "$work/hello" | wc -l)" -eq 1 ] &&
    [ "$("$build/examples/hello" "$work/hello" | wc -l)" -eq 2 ]
}

group_commit_checks_itself() { "$build/examples/group_commit" "$work/group"; }

kv_remembers_what_it_was_told() {
  kv() { printf '%s\n' "$@" | "$build/examples/kv" "$work/kv"; }
  [ "$(kv 'set b 2 a 1' 'set c 3' 'del c')" = "$(printf 'ok\nok\nok')" ] &&
    [ "$(kv list 'get b' 'get c')" = "$(printf 'a 1\nb 2\nok\n2\nnone')" ]
}

a_consumer_goes_on_where_it_committed() {
  log=$work/consumed consumer=$build/examples/consumer
  printf 'a\nb\nc\n' | "$build/duralog" append "$log" >/dev/null &&
    [ "$("$consumer" "$log")" = "$(printf '0 a\n1 b\n2 c')" ] &&
    [ -z "$("$consumer" "$log")" ] &&
    printf 'd\n' | "$build/duralog" append "$log" >/dev/null &&
    [ "$("$consumer" "$log")" = '3 d' ] &&
    [ "$("$consumer" "$log" other | wc -l)" -eq 4 ] &&
    code 1 "$consumer" "$log" 'no/name'
}

a_killed_consumer_counts_each_record_once() {
  log=$work/counted state=$work/counted.state
  seq 1 3000 | "$build/duralog" append "$log" >/dev/null || return 1
  # --foreground: otherwise it kills itself as well, and is gone before the other
  # has let go of the group
  for i in 1 2 3 4 5 6 7 8; do
    timeout --foreground -s KILL 0.0$i "$build/examples/exactly_once" "$log" "$state"
  done >/dev/null 2>&1
  # 9 numbers of 1 digit, 90 of 2, 900 of 3, 2001 of 4
  [ "$("$build/examples/exactly_once" "$log" "$state")" = '3000 records, 10893 bytes' ]
}

small_examples_are_small() {
  for file in hello group_commit kv tailing event_loop consumer exactly_once; do
    [ "$(wc -l <examples/$file.c)" -lt 80 ] || { echo "$file.c has 80 lines or more"; return 1; }
  done
}

line_is() { # line_is DESCRIPTOR TEXT: the next line there
  read -r line <&"$1" && [ "$line" = "$2" ] || { echo "'$line' instead of '$2'"; return 1; }
}

# Two lives of a writer, the first one killed; each line is waited for.
tailing_sees_all_of_a_killed_writer_and_the_next() {
  mkfifo "$work/input" "$work/seen" "$work/said" || return 1
  $tool append --quiet "$work/tailed" <"$work/input" &
  writer=$!
  exec 4>"$work/input" && echo one >&4 || return 1
  until $tool cat "$work/tailed" 2>/dev/null | grep -q one; do :; done
  "$build/examples/tailing" "$work/tailed" 60 >"$work/seen" 2>"$work/said" 4>&- &
  tailing=$!
  exec 5<"$work/seen" 6<"$work/said" && line_is 5 '0 one' && echo two >&4 && line_is 5 '1 two' &&
    kill -9 $writer && exec 4>&- && line_is 6 'the writer has gone' || return 1
  $tool append --quiet "$work/tailed" <"$work/input" &
  exec 4>"$work/input" && echo three >&4 && line_is 5 '2 three' && echo four >&4 && line_is 5 '3 four' &&
    exec 4>&- && line_is 6 'the writer has gone' && kill $tailing &&
    "$build/examples/tailing" "$work/tailed" 0 2>/dev/null | tail -n 1 | grep -q '^3 four$'
}

# Slow lines too: in between the loop waits for nothing but its descriptors.
an_event_loop_makes_all_lines_durable() {
  { seq 3000; sleep 0.2; seq 3001 3002; printf last; } |
    "$build/examples/event_loop" "$work/loop" >"$work/acknowledged" &&
    [ "$(tail -n 1 "$work/acknowledged")" = 'durable up to 3003' ] &&
    [ "$(wc -l <"$work/acknowledged")" -ge 3 ] &&
    [ "$(wc -l <"$work/acknowledged")" -le 100 ] &&
    $tool cat "$work/loop" >"$work/lines.out" && { seq 3002; echo last; } | cmp - "$work/lines.out" &&
    seq 5 | "$build/examples/event_loop" "$work/loop" | tail -n 1 | grep -qx 'durable up to 3008'
}

readme_program_compiles_and_runs() {
  sed -n '/^```c$/,/^```$/p' README.md | sed '1d;$d' |
    sed "s|/var/tmp/hello|$work/readme|" >"$work/readme.c"
  grep -q duralog_open "$work/readme.c" &&
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror -Iinclude "$work/readme.c" \
      "$build/libduralog.a" -pthread -o "$work/readme.bin" &&
    "$work/readme.bin" | grep -q '^0 hello$'
}

lines_come_back_as_they_went_in() {
  for mode in every=1 every=100 bytes=4K interval=20 pagecache every=9,interval=50; do
    rm -rf "$work/lines"
    $tool append --quiet --durability $mode "$work/lines" <README.md &&
      $tool cat "$work/lines" | cmp - README.md || return 1
  done
}

bytes_come_back_as_they_went_in() {
  head -c 300000 "$build/libduralog.a" >"$work/blob"
  perl -e 'while (read(STDIN, $b, 1 + int(rand(5000)))) { print pack("V", length $b), $b }' \
    <"$work/blob" >"$work/prefixed" &&
    $tool append --quiet --length-prefixed --small "$work/bytes" <"$work/prefixed" &&
    $tool cat --length-prefixed "$work/bytes" | cmp - "$work/prefixed"
}

ranges_are_exact() {
  seq 100 | $tool append --quiet "$work/seq" &&
    [ "$($tool cat --from 10 --to 13 "$work/seq" | tr '\n' ' ')" = '11 12 13 ' ] &&
    [ "$($tool cat --from 98 --count 5 "$work/seq" | tr '\n' ' ')" = '99 100 ' ] &&
    [ "$($tool cat --format json --from 99 "$work/seq" | grep -c '"data":"100"')" -eq 1 ] &&
    $tool info "$work/seq" | grep -q '100' && $tool info --json "$work/seq" | grep -q '"end":100' &&
    $tool verify "$work/seq"
}

between() { $tool cat --since "$1" --until "$2" "$work/times" | tr '\n' ' '; }

# Three runs, more than a clock's tick apart; the times of 4 and of 7.
times_bound_what_is_printed() {
  for from in 1 4 7; do
    seq $from $((from + 2)) | $tool append --quiet "$work/times" && sleep 0.02 || return 1
  done
  $tool cat --format json "$work/times" >"$work/times.json" &&
    $tool cat --format offset "$work/times" >"$work/times.text" &&
    ms=$(sed -n '4s/.*"timestamp_ms":\([0-9]*\).*/\1/p' "$work/times.json") &&
    iso=$(sed -n '7p' "$work/times.text" | cut -f2) &&
    [ "$(between "$ms" "$iso")" = '4 5 6 ' ] &&
    [ "$(between -1h "$ms")" = '1 2 3 ' ] && [ "$(between "$iso" -0s)" = '7 8 9 ' ] &&
    [ "$(between 1970-01-01T00:00:00Z 9999-12-31T23:59:59.999Z)" = '1 2 3 4 5 6 7 8 9 ' ] &&
    [ -z "$(between 9999-12-31T23:59:59Z "$ms")" ] && [ -z "$(between -1s -1d)" ] &&
    [ "$($tool cat --since "$ms" --to 5 "$work/times" | tr '\n' ' ')" = '4 5 ' ] &&
    [ "$($tool cat --from 5 --since "$ms" --until "$iso" "$work/times")" = 6 ] &&
    [ "$($tool cat --since -3m --count 1 "$work/times")" = 1 ] || return 1
  for bad in '' x -1w -m 1e3 12:00 2026-02-29T00:00:00Z 2026-13-01T00:00:00Z \
    2026-11-25T24:00:00Z 2026-11-25T17:00:00 2026-11-25T17:00:00.Z 99999999999999999999 -999999999999999d; do
    code 2 $tool cat --since "$bad" "$work/times" || { echo "accepted: $bad"; return 1; }
  done
}

segments_tell_their_times() {
  first=$(head -n 1 "$work/times.text" | cut -f2) && last=$(tail -n 1 "$work/times.text" | cut -f2) &&
    $tool info "$work/times" | grep -q "$first  $last" &&
    first=$(sed -n '1s/.*"timestamp_ms":\([0-9]*\).*/\1/p' "$work/times.json") &&
    last=$(sed -n '$s/.*"timestamp_ms":\([0-9]*\).*/\1/p' "$work/times.json") &&
    $tool info --json "$work/times" | grep -q "\"time_first_ms\":$first,\"time_max_ms\":$last,"
}

# The first of several segments loses its first record's header, and so all of it.
damage_before_the_first_time_is_told() {
  seq 90000 | $tool append --quiet --small "$work/hidden" &&
    end=$($tool info --json "$work/hidden" | sed 's/.*"segments":\[{"number":1,"first":0,"end":\([0-9]*\).*/\1/') &&
    printf 'XXXX' | dd of="$work/hidden/00000000000000000001.seg" bs=1 seek=4096 conv=notrunc 2>/dev/null
  [ "$($tool cat --since -1h "$work/hidden" 2>/dev/null | head -n 1)" = $((end + 1)) ] &&
    code 3 $tool cat --since -1h "$work/hidden" && grep -q "offsets 0 to $((end - 1))," "$work/err"
}

statistics_are_told_where_asked_for() {
  seq 1000 | $tool append --quiet --stats --small "$work/stats" >"$work/none" 2>"$work/told" &&
    grep -q '^  appended   1000 records in ' "$work/told" &&
    grep -qE '^    data +[1-9]' "$work/told" && grep -q '^  failures   none$' "$work/told" &&
    [ ! -s "$work/none" ] &&
    seq 10 | $tool append --quiet --json "$work/stats" 2>"$work/none" >"$work/told" &&
    grep -q '"records":10,' "$work/told" && grep -q '"DURALOG_E_FULL":0' "$work/told" &&
    [ ! -s "$work/none" ]
}

wrong_use_has_its_exit_code() {
  mkdir -p "$work/foreign" && echo x >"$work/foreign/file" || return 1
  code 2 $tool nonsense && code 2 $tool cat && code 4 $tool info "$work/absent" &&
    code 4 $tool append "$work/foreign" </dev/null && code 2 $tool append --durability x "$work/y"
}

damage_has_its_exit_code() {
  seq 1000 | $tool append --quiet "$work/damaged" || return 1
  printf 'X' | dd of="$work/damaged/00000000000000000001.seg" bs=1 seek=8216 conv=notrunc 2>/dev/null
  $tool verify "$work/damaged" >/dev/null 2>&1
  [ $? -eq 3 ] && code 3 $tool append "$work/damaged" </dev/null
}

saved() { $tool salvage "$@" >"$work/told" 2>"$work/err"; }

# Each line a batch of its own, and the middle of the log is hit.
salvage_tells_gaps_and_keeps_offsets() {
  seq 10 | while read -r line; do echo "line $line" | $tool append --quiet "$work/hurt" || exit 1; done || return 1
  at=$(grep -abo 'line 5' "$work/hurt/00000000000000000001.seg" | cut -d: -f1)
  printf 'X' | dd of="$work/hurt/00000000000000000001.seg" bs=1 seek="$at" conv=notrunc 2>/dev/null
  before=$(cd "$work/hurt" && ls -l --time-style=full-iso . && cat ./* | cksum)
  saved "$work/hurt" "$work/saved"
  [ $? -eq 3 ] && grep -q '^lost: offset 4, ' "$work/told" && grep -q '^copied: offsets 0 to 3, ' "$work/told" &&
    tail -n 1 "$work/told" | grep -q '^records 9, .*; 1 lost in 1 gaps$' &&
    [ "$before" = "$(cd "$work/hurt" && ls -l --time-style=full-iso . && cat ./* | cksum)" ] || return 1
  $tool cat "$work/saved" >"$work/saved.text" 2>"$work/err"
  [ $? -eq 3 ] && grep -q 'offset 4,' "$work/err" && seq -f 'line %g' 10 | sed 5d | cmp - "$work/saved.text" &&
    grep -q '"kind":"gap","from":4,"to":5,' "$work/saved/salvage.json" &&
    grep -q 'Xine 5' "$work/saved/salvage.evidence" && echo more | $tool append --quiet "$work/saved"
}

salvage_leaves_out_torn_batches_unless_asked() {
  seq 1000 | $tool append --quiet "$work/batch" || return 1
  printf 'X' | dd of="$work/batch/00000000000000000001.seg" bs=1 seek=8216 conv=notrunc 2>/dev/null
  saved "$work/batch" "$work/none_of_it"
  [ $? -eq 3 ] && grep -q '^records 0, ' "$work/told" && grep -q -e --partial-batches "$work/told" || return 1
  saved --partial-batches "$work/batch" "$work/rest_of_it"
  [ $? -eq 3 ] && grep -q '^records 999, ' "$work/told" && grep -q 'amid a batch' "$work/told"
}

salvage_of_a_whole_log_is_that_log() {
  seq 10 >"$work/ten" && $tool append --quiet "$work/well" <"$work/ten" &&
    saved --json "$work/well" "$work/json" && grep -q '"records":10,' "$work/told" &&
    $tool verify "$work/json" && $tool cat "$work/json" | cmp - "$work/ten" &&
    code 4 $tool salvage "$work/well" "$work/json" && code 4 $tool salvage "$work/nowhere" "$work/new" &&
    code 2 $tool salvage "$work/well" && code 2 $tool salvage --uuid 12 "$work/well" "$work/new" &&
    uuid=$(sed -n 's/.*"uuid_from":"\([0-9a-f]*\)".*/\1/p' "$work/json/salvage.json") && rm "$work/well/meta" &&
    dd if=/dev/zero of="$work/well/00000000000000000001.seg" bs=512 count=1 conv=notrunc 2>/dev/null &&
    code 3 $tool salvage "$work/well" "$work/new" && [ ! -e "$work/new" ] || return 1
  saved --uuid "$uuid" "$work/well" "$work/new"
  [ $? -eq 3 ] && $tool cat "$work/new" | cmp - "$work/ten"
}

salvage_refuses_a_log_in_use() {
  mkfifo "$work/slow" || return 1
  $tool append --quiet "$work/used" <"$work/slow" &
  exec 9>"$work/slow"
  echo one >&9
  for _ in $(seq 500); do
    [ "$($tool cat "$work/used" 2>/dev/null)" = one ] && break
  done
  code 5 $tool salvage "$work/used" "$work/not"
  result=$?
  exec 9>&-
  wait $! && [ $result -eq 0 ] && [ ! -e "$work/not" ]
}

installation_compiles_links_and_goes_away() {
  make --no-print-directory -s install DESTDIR="$work/root" PREFIX=/usr BUILD="$build" &&
    sed "s|$work/readme|$work/readme2|" "$work/readme.c" >"$work/installed.c" &&
    flags=$(PKG_CONFIG_PATH=$work/root/usr/lib/pkgconfig pkg-config --define-prefix --cflags --libs duralog 2>/dev/null ||
      echo "-I$work/root/usr/include -L$work/root/usr/lib -lduralog") &&
    ${CC:-cc} "$work/installed.c" $flags -o "$work/installed.bin" &&
    LD_LIBRARY_PATH=$work/root/usr/lib "$work/installed.bin" | grep -q hello &&
    "$work/root/usr/bin/duralog" --version &&
    [ -s "$work/root/usr/share/man/man1/duralog.1" ] &&
    [ -s "$work/root/usr/share/bash-completion/completions/duralog" ] &&
    make --no-print-directory -s uninstall DESTDIR="$work/root" PREFIX=/usr BUILD="$build" &&
    [ -z "$(find "$work/root" -type f -o -type l)" ]
}

for test in hello_greets_again group_commit_checks_itself tailing_sees_all_of_a_killed_writer_and_the_next \
  kv_remembers_what_it_was_told small_examples_are_small an_event_loop_makes_all_lines_durable \
  a_consumer_goes_on_where_it_committed a_killed_consumer_counts_each_record_once \
  readme_program_compiles_and_runs lines_come_back_as_they_went_in \
  bytes_come_back_as_they_went_in ranges_are_exact times_bound_what_is_printed \
  segments_tell_their_times damage_before_the_first_time_is_told statistics_are_told_where_asked_for wrong_use_has_its_exit_code \
  damage_has_its_exit_code salvage_tells_gaps_and_keeps_offsets \
  salvage_leaves_out_torn_batches_unless_asked salvage_of_a_whole_log_is_that_log salvage_refuses_a_log_in_use installation_compiles_links_and_goes_away; do
  claim $test $test
done
exit $failed
