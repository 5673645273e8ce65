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

# Succeeds if each line of standard input is one JSON object, by the grammar of
# RFC 8259; needs nothing but perl itself.
is_json() {
  perl -ne '
    BEGIN { $json = qr/(?(DEFINE)
      (?<text> "(?:[^"\\\x00-\x1f]|\\(?:["\\\/bfnrt]|u[0-9a-fA-F]{4}))*")
      (?<number> -?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)
      (?<value> \s*(?:(?&text)|(?&number)|true|false|null|(?&array)|(?&object))\s*)
      (?<array> \[(?:\s*|(?&value)(?:,(?&value))*)\])
      (?<member> \s*(?&text)\s*:(?&value))
      (?<object> \{(?:\s*|(?&member)(?:,(?&member))*)\}))/x }
    chomp; $lines++;
    /^(?&object)$json$/ or die "no JSON object: $_\n";
    utf8::decode($_) or die "not UTF-8: $_\n";
    END { exit($? || !$lines) }'
}

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

for test in the_json_check_can_fail every_json_is_json a_key_is_in_the_json damage_and_failure_are_in_the_json; do
  claim $test $test
done
exit $failed
