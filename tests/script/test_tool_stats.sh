#!/bin/bash
# duralog stats: what it says of a log is what the log holds, and what it cannot
# know is not said. Prints "ok NAME" or "not ok NAME" a test.
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=stats
. tests/script/claims.sh
. tests/script/is_json.sh

stats() { $tool stats --json "$@" "$work/log" >"$work/json"; }

member() { # member NAME: the value of the first of that name
  grep -o "\"$1\":[^,}]*" "$work/json" | head -n 1 | cut -d: -f2
}

is() { # is NAME VALUE
  [ "$(member "$1")" = "$2" ] || { echo "$1 is $(member "$1"), not $2: $(cat "$work/json")"; return 1; }
}

# Three runs, of which one rolls; none of them wrote nothing.
a_closed_log_is_described_exactly() {
  seq 100000 | $tool append --quiet --small "$work/log" && seq 9 | $tool append --quiet --small "$work/log" &&
    $tool append --quiet "$work/log" </dev/null && echo last | $tool append --quiet --small "$work/log" || return 1
  $tool info --json "$work/log" >"$work/info" && stats && is_json <"$work/json" || return 1
  payload=$($tool cat "$work/log" | tr -d '\n' | wc -c)
  is start 0 && is end 100010 && is durable 100010 && is lag 0 && is oldest_undurable_ms 0 && is records 100010 &&
    is payload_bytes "$payload" && is epochs 3 && is epoch 3 && is damaged 0 && is writer_lives false && is clean true &&
    is segments "$(grep -o '"number":' "$work/info" | wc -l)" && is sealed "$(grep -o '"sealed":true' "$work/info" | wc -l)" &&
    is known_segments "$(member segments)" && is file_bytes $((1048576 * $(member segments))) && is known_bytes "$(member file_bytes)" &&
    is known_used "$(grep -o '"used":[0-9]*' "$work/info" | awk -F: '{ sum += $2 } END { print sum }')" &&
    is known_overhead $(($(member known_used) - payload)) && [ "$(member known_overhead)" -ge $((24 * 100010 + 4096)) ] &&
    is record_bytes "$(awk "BEGIN { printf \"%.3f\", $payload / 100010 }")" && is sample null
}

# A second apart, by the log's own times.
rates_go_by_timestamps() {
  seq 1000 | $tool append --quiet "$work/log" || return 1
  while [ "$($tool cat --until -1s --count 1 "$work/log")" != 1 ]; do :; done
  seq 1000 | $tool append --quiet "$work/log" && stats || return 1
  span=$(($(member time_latest_ms) - $(member time_first_ms)))
  [ $span -ge 1000 ] && is records_per_second "$(awk "BEGIN { printf \"%.3f\", 1e3 * 2000 / $span }")" &&
    is bytes_per_second "$(awk "BEGIN { printf \"%.3f\", 1e3 * 5786 / $span }")" &&
    $tool stats "$work/log" >"$work/text" && grep -q "^whole log .* records/s, .* bytes/s, over" "$work/text"
}

quick_reads_nothing_and_says_so() {
  seq 1000 | $tool append --quiet "$work/log" && stats --quick && is_json <"$work/json" && is records 1000 &&
    is payload_bytes null && is epochs null && is known_overhead null && is bytes_per_second null && is record_bytes null &&
    $tool stats --quick "$work/log" >"$work/text" && ! grep -q '^payload' "$work/text" && grep -q '^segments' "$work/text" &&
    $tool stats "$work/log" | grep -q '^payload      2893 bytes, 2.9 a record$'
}

an_empty_log_has_no_rates() {
  $tool append --quiet "$work/log" </dev/null && stats && is_json <"$work/json" && is records 0 && is epochs 0 &&
    is record_bytes null && is records_per_second null && $tool stats "$work/log" | grep -q '^records      0$'
}

# Two records before it, one of them damaged; a directory with a quote in it.
damage_has_its_exit_code() {
  printf '%s\n' one two-marked three | $tool append --quiet "$work/log" &&
    at=$(grep -abo two-marked "$work/log/00000000000000000001.seg" | cut -d: -f1) &&
    printf X | dd of="$work/log/00000000000000000001.seg" bs=1 seek="$at" conv=notrunc 2>"$work/dd" && mv "$work/log" "$work/a \"log\"" || return 1
  $tool stats --json "$work/a \"log\"" >"$work/json" 2>"$work/err"
  [ $? -eq 3 ] && is_json <"$work/json" && is damaged 1 && is records 2 && is payload_bytes 8 && is known_overhead null &&
    grep -q 'left out: offset 1,' "$work/err"
}

# The writer appends for as long as it is watched, and nothing is synced.
a_living_writer_is_watched() {
  seq 10 | $tool append --quiet "$work/log" && mkfifo "$work/input" || return 1
  $tool append --quiet --durability pagecache "$work/log" <"$work/input" &
  writer=$!
  { while echo 12345678; do :; done >"$work/input" 2>"$work/fed"; } &
  until [ "$($tool cat --from 10 --count 1 "$work/log" 2>"$work/err")" = 12345678 ]; do :; done
  stats --interval 200 || return 1
  kill -9 $writer && is_json <"$work/json" && is writer_lives true && is follows true && is durable 10 &&
    [ "$(member lag)" -gt 0 ] && is lag $(($(member end) - 10)) && is payload_bytes $((11 + 8 * $(member lag))) || return 1
  sample=$(sed 's/.*"sample"://' "$work/json")
  ns=$(sed 's/.*"ns":\([0-9]*\).*/\1/' <<<"$sample") records=$(sed 's/.*"records":\([0-9]*\).*/\1/' <<<"$sample")
  [ "$ns" -ge 200000000 ] && [ "$records" -gt 0 ] && grep -q "\"payload_bytes\":$((8 * records))," <<<"$sample" &&
    [ "$(sed 's/.*"lag_max":\([0-9]*\).*/\1/' <<<"$sample")" -ge $((records + $(member lag))) ] || { echo "$sample"; return 1; }
}

# How far it has got is known by the writer alone.
a_living_writers_segment_is_not_guessed_at() {
  mkfifo "$work/input" && $tool append --quiet "$work/log" </dev/null || return 1
  $tool append --quiet "$work/log" <"$work/input" &
  exec 4>"$work/input" && echo one >&4
  until [ "$($tool cat "$work/log")" = one ]; do :; done
  stats --interval 0 && is writer_lives true && is sample null && is known_segments 0 && is known_used 0 &&
    is known_overhead null && is segments 1 && exec 4>&- && wait && stats && is known_segments 1
}

wrong_use_is_refused() {
  seq 3 | $tool append --quiet "$work/log" || return 1
  for bad in '--interval x' '--interval -1' '--interval' '--interval 3600001' '--nonsense' '-j' "$work/log"; do
    $tool stats $bad "$work/log" >"$work/out" 2>"$work/err"
    [ $? -eq 2 ] && [ -s "$work/err" ] && [ ! -s "$work/out" ] || { echo "accepted: $bad"; return 1; }
  done
  $tool stats "$work/absent" 2>"$work/err"
  [ $? -eq 4 ] && $tool help stats | grep -q '^  --interval MS' && $tool help stats | grep -q '^  --quick' &&
    $tool help stats | grep -q '^  --json'
}

for test in a_closed_log_is_described_exactly rates_go_by_timestamps quick_reads_nothing_and_says_so an_empty_log_has_no_rates \
  damage_has_its_exit_code a_living_writer_is_watched a_living_writers_segment_is_not_guessed_at wrong_use_is_refused; do
  claim $test $test
done
exit $failed
