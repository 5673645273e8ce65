#!/bin/bash
# Usage: tests/crash/check_crash.sh [PLAN]     BUILD: the build directory
#
# The enumeration with the plan "crash" (or "long"), on all cores: the modes are
# shared out, and what they find is added up. States of different modes are
# different ones, since what is legal differs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
plan=${1:-crash}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

modes='every-record every-3 every-600-bytes interval pagecache mixture strict padded'
begin=$(date +%s%N)
for mode in $modes; do
  echo "$mode"
done | xargs -P "$(nproc)" -I{} sh -c "MODES={} '$BUILD/tests/test_crash' enumerate '$plan' \
  >'$work/{}' 2>'$work/{}.err' || echo {} >>'$work/failed'; tail -n 40 '$work/{}.err' >&2"
end=$(date +%s%N)

sum() { cat "$work"/* 2>/dev/null | awk -v name="$1" '$1 == name { n += $2 } END { print n + 0 }'; }
echo "plan $plan"
echo "seed ${SEED:-1}"
for figure in crash_points inside_recoveries lives_after damaged_states; do
  echo "$figure $(sum "$figure")"
done
states=$(sum distinct_states)
echo "distinct_states $states"
echo "states_per_second $((states * 1000 / ((end - begin) / 1000000 + 1)))"
if [ -e "$work/failed" ]; then
  echo "0 passed, $(wc -l <"$work/failed") failed"
  exit 1
fi
[ "$plan" = crash ] && [ "$states" -lt 1000000 ] && { echo "fewer than a million states"; exit 1; }
echo "$(ls "$work" | grep -vc err) passed, 0 failed"
