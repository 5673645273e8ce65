#!/bin/bash
# Usage: tests/script/test_syncs.sh [PLACE ...]      BUILD: the build directory
#
# A red test for every missing sync. Each place that syncs a file or a directory
# (IO_SYNC_REASONS in lib/io.h) is skipped in turn, in the simulated world: the
# sync succeeds and does nothing. Some test has to turn red; the table says
# which. A place whose omission nobody notices fails the run. "ahead" is none: it
# is for speed alone (tests/unit/test_sync_parts.c).
#
# The likely ones are asked first; the rest only where they notice nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
unset SEED

places() { sed -n 's/^  X([A-Z_]*, "\([a-z-]*\)").*/\1/p' lib/io.h | grep -vx ahead; }

programs_for() { # place
  case $1 in
    unclean | clean | watermark | seal) echo test_sim test_crash test_lives test_accept ;;
    salvaged*) echo test_salvage_crash ;;
    group* | commit | review) echo test_groups test_crash test_lives ;;
    damaged) echo test_accept test_crash test_lives test_sim ;;
    *) echo test_crash test_lives test_sim test_accept ;;
  esac
}

# The first test that fails without this place: "TEST PROGRAM".
catcher_of() { # place
  local program output test
  for program in $(programs_for "$1"); do
    output=$(SKIP=$1 timeout 120 "$BUILD/tests/$program" 2>&1) && continue
    test=$(printf '%s\n' "$output" | sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' | head -n 1)
    echo "${test:-(did not end)} $program"
    return
  done
}

asked=${*:-$(places)}
total=0 caught=0
printf '%-14s %s\n' 'place' 'test that notices its absence'
for place in $asked; do
  total=$((total + 1))
  found=$(catcher_of "$place")
  if [ -n "$found" ]; then
    caught=$((caught + 1))
    printf '%-14s %s (%s)\n' "$place" "${found% *}" "${found#* }"
    echo "ok syncs/$place"
  else
    printf '%-14s nobody\n' "$place"
    echo "not ok syncs/$place: no test notices that this sync is missing"
  fi
done
echo "sync_skips_caught $caught"
echo "sync_places $total"
[ "$total" -gt 0 ] && [ "$caught" = "$total" ]
