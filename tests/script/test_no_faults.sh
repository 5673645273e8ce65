#!/bin/sh
# Usage: tests/script/test_no_faults.sh      BUILD: the build directory, "build"
#
# Fault points are complete and stay out of releases: every STEP of the library
# and every call of the I/O interface is a point of lib/io_fault.c, and the
# library and the tool carry neither libfiu nor the name of any point.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# claim NAME, with what is wrong on stdin: nothing if all is well.
claim() {
  wrong=$(cat)
  if [ -z "$wrong" ]; then
    echo "ok no_faults/$1"
  else
    echo "not ok no_faults/$1"
    printf '%s\n' "$wrong" | sed 's/^/#   /'
    : >"$work/failed"
  fi
}

# ---- the names ----

library=$(ls lib/*.c | grep -v -e io_fault -e io_sim)
# shellcheck disable=SC2086 # a list of files
tr '\n' ' ' <<END | grep -oE '\<STEP\([^";]*"[^"]*"' | grep -oE '"[^"]*"' | tr -d '"' | sort -u >"$work/steps"
$(cat $library)
END
grep -oE '^ *STEP_POINT\("[^"]*"' lib/io_fault.c | cut -d'"' -f2 | sort >"$work/step_points"
grep -oE '^ *\{"io/[a-z_]*"' lib/io_fault.c | cut -d'"' -f2 | cut -d/ -f2 | sort >"$work/call_points"
sed -n '/^struct duralog_environment {/,/^};/p' lib/io.h |
  grep -oE '\(\*[a-z_]*\)\(io_env' | sed 's/(\*//; s/).*//' | sort >"$work/calls"

[ -s "$work/steps" ] && [ -s "$work/calls" ] || echo "nothing found to compare" | claim names_are_found
comm -23 "$work/steps" "$work/step_points" | sed 's/$/ has no point/' | claim every_step_is_a_point
comm -13 "$work/steps" "$work/step_points" | sed 's/$/ is no step/' | claim every_step_point_is_a_step

# What cannot fail; syncs are points by their reason; file_open is two.
cannot_fail='now now_coarse wall_ms free unlock wake wake_shared thread_join thread_self processor keep_off event_set step'
syncs='dir_sync dir_sync_parent file_sync'
for call in $(comm -23 "$work/calls" "$work/call_points"); do
  case " $cannot_fail $syncs " in *" $call "*) ;; *) echo "$call has no point" ;; esac
done | claim every_call_that_can_fail_is_a_point
for call in $(comm -13 "$work/calls" "$work/call_points"); do
  case $call in file_create | parent_open) ;; *) echo "$call is no call" ;; esac
done | claim every_call_point_is_a_call

# ---- the release ----

{
  sed 's|^|step/|' "$work/steps"
  cat "$work/steps"
  sed 's|^|io/|' "$work/call_points"
  sed -n '/define IO_SYNC_REASONS/,/^$/p' lib/io.h | grep -oE 'X\([A-Z_]*, "[^"]*"' |
    cut -d'"' -f2 | sed 's|.*|sync/&\nskip/&|'
} >"$work/names"

for name in libduralog.so libduralog.a duralog; do
  file=$BUILD/$name
  if [ ! -e "$file" ]; then
    echo "ok no_faults/release/$name # skip: not built"
    continue
  fi
  { nm -a "$file"; nm -D "$file"; } 2>/dev/null | grep -iE 'fiu|io_fault|io_sim' |
    claim "no_symbol_of_libfiu/$name"
  readelf -d "$file" 2>/dev/null | grep -i 'NEEDED.*fiu' | claim "does_not_need_libfiu/$name"
  strings -a "$file" | grep -Fxf "$work/names" | claim "no_name_of_a_point/$name"
done

[ ! -e "$work/failed" ]
