#!/bin/sh
# What the tool prints for programs, and what is written about it: JSON, the
# completion, the manual page. Prints "ok NAME" or "not ok NAME" a test.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/duralog-tool.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0
tool=$build/duralog

claim() { # claim NAME COMMAND...: the command succeeds
  name=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    echo "ok tool/$name"
  else
    echo "not ok tool/$name"
    sed 's/^/    /' "$work/out"
    failed=1
  fi
}

. tests/script/is_json.sh

has_members() { # has_members FILE NAME...: the names are there
  file=$1
  shift
  for member; do
    grep -q "\"$member\":" "$file" || { echo "no member $member in $(cat "$file")"; return 1; }
  done
}

the_json_check_can_fail() {
  for good in '{}' '{"a":[1,-2.5e3,"x\u00e9\"",null,{"b":true}]}'; do
    echo "$good" | is_json || { echo "refused $good"; return 1; }
  done
  for bad in '' '[]' '{' '{"a":1,}' '{"a":01}' '{a:1}' '{"a":"	"}' '{"a":[1,]}' '{"a":1}{}' '{"a":nul}'; do
    echo "$bad" | is_json 2>/dev/null && { echo "accepted $bad"; return 1; }
  done
  printf '{"a":"\377"}\n' | is_json 2>/dev/null && return 1
  return 0
}

# Text, quotes, control characters, an empty record, bytes that are no UTF-8.
every_json_is_json() {
  { echo text; printf 'a "quote" and a \\\n\001\033[m\n\n'; printf 'caf\303\251 \342\202\254\n\377\300\200\n\355\240\200\n'; } >"$work/input"
  $tool append --quiet --json "$work/log" <"$work/input" >"$work/append.json" &&
    is_json <"$work/append.json" && has_members "$work/append.json" path first end durable epoch error stats &&
    $tool info --json "$work/log" >"$work/info.json" && is_json <"$work/info.json" &&
    has_members "$work/info.json" path start end durable epoch clean damage segments &&
    $tool verify --json "$work/log" >"$work/verify.json" && is_json <"$work/verify.json" &&
    has_members "$work/verify.json" path damage damaged torn_bytes records bytes segments complete &&
    $tool cat --json "$work/log" >"$work/cat.json" && is_json <"$work/cat.json" &&
    $tool cat --format json "$work/log" | cmp - "$work/cat.json" &&
    [ "$(wc -l <"$work/cat.json")" -eq 7 ] && [ "$(grep -c data_base64 "$work/cat.json")" -eq 2 ] &&
    grep -q '"data":"a \\"quote\\" and a \\\\"' "$work/cat.json" && has_members "$work/cat.json" offset epoch timestamp_ms data
}

a_key_is_in_the_json() {
  echo 'set name value' | "$build/examples/kv" "$work/kv" && $tool cat --json "$work/kv" >"$work/kv.json" &&
    is_json <"$work/kv.json" && grep -q '"key":"name","data":"value"' "$work/kv.json"
}

damage_and_failure_are_in_the_json() {
  seq 1000 | $tool append --quiet "$work/damaged" || return 1
  printf 'X' | dd of="$work/damaged/00000000000000000001.seg" bs=1 seek=8216 conv=notrunc 2>/dev/null
  $tool verify --json "$work/damaged" >"$work/verify.json"
  [ $? -eq 3 ] && is_json <"$work/verify.json" && grep -q '"damage":\[{"from":[0-9]*,"to":' "$work/verify.json" &&
    grep -q '"damaged":1,' "$work/verify.json" || return 1
  head -c 300000 /dev/zero | $tool append --json --quiet --segment-bytes 64K "$work/small" >"$work/append.json" 2>"$work/err"
  [ $? -eq 1 ] && is_json <"$work/append.json" && grep -q '"error":"DURALOG_E_TOO_BIG"' "$work/append.json"
}

is_empty() { [ -z "$(ls -A "$1")" ] || { ls -lR "$1"; return 1; }; }

# Every member of every mode, and each of the ten modes once.
bench_tells_all_and_leaves_nothing() {
  mkdir -p "$work/bench" && $tool bench --seconds 1 --json "$work/bench" >"$work/bench.json" &&
    is_json <"$work/bench.json" && is_empty "$work/bench" &&
    has_members "$work/bench.json" directory file_system device device_number in_memory written_counted_by \
      idle_bytes_per_second seconds record_bytes bare modes advice || return 1
  tr '{' '\n' <"$work/bench.json" >"$work/parts"
  for member in name every_records every_bytes interval_ms pagecache strict paced threads power_cut_takes \
    records elapsed_ns records_per_second bytes_per_second appends; do
    [ "$(grep '"power_cut_takes":' "$work/parts" | grep -c "\"$member\":")" -eq 10 ] ||
      { echo "not in each of the ten modes: $member"; return 1; }
  done
  for mode in 'every=1, strict' every=1 'every=1, 8 threads' every=100 every=1000 bytes=1M interval=10 \
    interval=100 interval=1000 pagecache; do
    grep -q "\"name\":\"$mode\"" "$work/parts" || { echo "no mode $mode"; return 1; }
  done
  [ "$(grep -c '"p50_ns":[0-9]*,"p99_ns":[0-9]*,"max_ns":[0-9]*}' "$work/parts")" -eq 22 ] &&
    ! grep -q '"records":0,' "$work/parts" &&
    $tool bench --seconds 1 --size 4K "$work/bench" >"$work/bench.text" && is_empty "$work/bench" &&
    [ "$(grep -cE '^(every=|bytes=|interval=|pagecache)' "$work/bench.text")" -eq 20 ] &&
    grep -q '^A durable append takes [0-9]' "$work/bench.text"
}

bench_refuses_what_it_should() {
  mkdir -p "$work/no" && seq 9 | $tool append --quiet "$work/old" && before=$(ls -lR --time-style=full-iso "$work/old") || return 1
  for bad in '--seconds 0' '--seconds 3601' '--seconds x' '--size 0' '--size 2M' '--seconds' '--nonsense' "$work/no $work/no"; do
    $tool bench $bad "$work/no" >"$work/told" 2>"$work/err"
    [ $? -eq 2 ] && [ -s "$work/err" ] && [ ! -s "$work/told" ] && is_empty "$work/no" || { echo "bench $bad"; return 1; }
  done
  $tool bench --seconds 1 "$work/old" 2>"$work/err"
  [ $? -eq 2 ] && grep -q 'is a log' "$work/err" && [ "$before" = "$(ls -lR --time-style=full-iso "$work/old")" ] || return 1
  $tool bench --seconds 1 "$work/absent" 2>"$work/err"
  [ $? -eq 1 ] && [ ! -e "$work/absent" ] || return 1
  $tool bench --seconds 1 "$work/no" >/dev/full 2>"$work/err"
  [ $? -eq 1 ] && grep -q 'writing standard output: No space' "$work/err" && is_empty "$work/no"
}

# The first line comes when its directory is there; the signal then meets the
# run at its beginning, or after its first table. It dies of that signal.
an_interrupted_bench_removes_its_directory() {
  mkdir -p "$work/cut" && mkfifo "$work/pipe" || return 1
  for signal in INT TERM HUP; do
    for lines in 1 9; do
      $tool bench --seconds 12 "$work/cut" >"$work/pipe" 2>"$work/err" &
      pid=$!
      { while [ $lines -gt 0 ] && read -r line; do lines=$((lines - 1)); done
        is_empty "$work/cut" >"$work/seen" && echo "had no directory" >>"$work/err"
        kill -s $signal $pid; cat >/dev/null; } <"$work/pipe"
      wait $pid
      status=$?
      [ "$(kill -l $status 2>/dev/null)" = $signal ] && is_empty "$work/cut" && [ ! -s "$work/err" ] ||
        { echo "$signal: status $status"; cat "$work/err"; return 1; }
    done
  done
}

# ---- the completion and the manual page, held against --help ----

commands_of_tool() { $tool help | sed -n '/^DIR is/,/^$/s/^  \([a-z]*\) .*/\1/p'; }
# COMMAND: what stands before the explanations, "--from N" or "-f, --follow".
options_of_tool() { $tool help "$1" | sed -nE 's/^  (-.*)/\1/p' | sed 's/  .*//' | tr ' ' '\n' | grep -oE '^--?[a-z-]+'; }

same() { # same WHAT A B: the same words
  echo "$2" | tr ' ' '\n' | sort -u >"$work/a" && echo "$3" | tr ' ' '\n' | sort -u >"$work/b" &&
    diff "$work/a" "$work/b" >"$work/diff" || { echo "$1:"; cat "$work/diff"; return 1; }
}

# The help's long options are those in the sources.
help_lists_every_option() {
  for command in $(commands_of_tool); do
    [ $command = help ] && continue
    same $command "$(options_of_tool $command | grep ^--)" \
      "$(sed -nE 's/.*\{"([a-z-]+)", (no|required)_argument.*/--\1/p' examples/tool_$command.c)" || return 1
  done
}

complete_words() { # complete_words WORD...: what the completion offers for the last
  bash -c '. examples/duralog.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _duralog
    printf "%s\n" "${COMPREPLY[@]}"' - duralog "$@"
}

completion_offers_what_help_lists() {
  same commands "$(commands_of_tool)" "$(complete_words '' | grep -v ^--)" &&
    same 'help of' "$(commands_of_tool)" "$(complete_words help '')" &&
    same duralog '--help --version' "$(complete_words --)" || return 1
  for command in $(commands_of_tool); do
    [ $command = help ] && continue
    same $command "$(options_of_tool $command) --help" "$(complete_words $command -)" || return 1
  done
}

completion_knows_values() {
  mkdir -p "$work/one dir/inside" && touch "$work/one file" &&
    same durability 'every= bytes= interval= pagecache' "$(complete_words append --durability '')" &&
    same format 'raw offset json' "$(complete_words cat --format '')" &&
    same format= 'offset' "$(complete_words cat --format = o)" &&
    [ -z "$(complete_words cat --from '')" ] && [ "$(complete_words help ve)" = verify ] &&
    [ "$(complete_words cat "$work/one ")" = "$work/one dir" ] &&
    same actions 'list describe reset delete clone' "$(complete_words groups '')" &&
    same 'reset to' 'earliest latest' "$(complete_words groups reset --to '')" && [ -z "$(complete_words groups --group '')" ] &&
    [ "$(complete_words groups --group g de)" = "$(printf 'describe\ndelete')" ] &&
    [ "$(complete_words groups list "$work/one ")" = "$work/one dir" ] && same from 'earliest latest error' "$(complete_words consume --from '')"
}

options_of_manual() { # COMMAND: of its section
  awk -v command="$1" '/^\.S[sh] / { inside = $0 == ".Ss " command; next }
    inside && $1 == ".It" { for (i = 2; i < NF; i++)
      if ($i == "Fl" && $(i + 1) == "Fl") { print "--" $(i + 2); i += 2 }
      else if ($i == "Fl") print "-" $(i + 1) }' examples/duralog.1
}

manual_lists_what_help_lists() {
  same commands "$(commands_of_tool | grep -v help)" \
    "$(sed -n '/^\.Sh COMMANDS/,/^\.Sh FILES/s/^\.Ss //p' examples/duralog.1)" &&
    same synopsis "$(commands_of_tool)" \
      "$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESC/s/^\.Cm //p' examples/duralog.1)" || return 1
  for command in $(commands_of_tool); do
    [ $command = help ] && continue
    same $command "$(options_of_tool $command)" "$(options_of_manual $command)" || return 1
  done
  same 'exit codes' "$($tool help | sed -n 's/^  \([0-9]\)  .*/\1/p')" \
    "$(sed -n '/^\.Sh EXIT/,/^\.Sh EX/s/^\.It //p' examples/duralog.1)"
}

manual_is_well_formed() {
  groff -mandoc -ww -z examples/duralog.1 2>"$work/err"
  [ $? -eq 0 ] && [ ! -s "$work/err" ] || { cat "$work/err"; return 1; }
}

for test in the_json_check_can_fail every_json_is_json a_key_is_in_the_json damage_and_failure_are_in_the_json \
  bench_tells_all_and_leaves_nothing bench_refuses_what_it_should an_interrupted_bench_removes_its_directory \
  help_lists_every_option completion_offers_what_help_lists \
  completion_knows_values manual_lists_what_help_lists; do
  claim $test $test
done
if .ci/need groff:groff-base >/dev/null 2>&1; then
  claim manual_is_well_formed manual_is_well_formed
else
  echo "skip: manual_is_well_formed: groff is not here and could not be installed"
fi
exit $failed
