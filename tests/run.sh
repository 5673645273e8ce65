#!/bin/bash
# Run test programs and count their tests; the last line is the sum.
#
#   tests/run.sh [PROGRAM ...]   the given ones; otherwise all of
#     $BUILD/tests               plain build, and tests/script/test_*.sh
#     $BUILD/san-*/tests, $BUILD/clang/tests, unless FAST=1
#
# Two programs run at a time, for two cores. Each has TIMEOUT_S seconds. A
# program that crashes, hangs, or fails outside of its tests is one failure.
# What failed is printed in full, with the line that replays it, and its first
# lines once more at the end, for whoever sees only that. SEED is passed on; each
# program chooses one if there is none.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build}
TIMEOUT_S=${TIMEOUT_S:-400}
JOBS=${JOBS:-2}

# What is not run in a build, with the reason. The plain build runs all.
skip_reason() { # program
  case $1 in
    *san-*/tests/test_kill | *san-*/test_kill_steps | *san-*/test_fork | \
      *san-*/test_fork_storm)
      echo "forks and kills amid threads: a sanitizer's own locks would hang" ;;
    *san-*/test_interleave | *san-*/test_interleave_groups)
      echo "its simulated threads change stacks, which sanitizers do not follow" ;;
    *san-thread*/test_threads | *san-thread*/test_wake | *san-thread*/test_append | \
      *san-thread*/test_durability | *san-thread*/test_waiting | *san-thread*/test_read | \
      *san-thread*/test_handles | *san-thread*/test_open_process | \
      *san-thread*/test_follow | *san-thread*/test_reserve | \
      *san-thread*/test_guard | *san-thread*/test_watch | *san-thread*/test_watch_sim | \
      *san-thread*/test_consumer | *san-thread*/test_stats | *san-thread*/test_sync_wanted) ;;
    *san-thread*) echo "one thread at a time: AddressSanitizer runs it" ;;
    *clang/tests/test_interleave | *clang/tests/test_interleave_groups | *clang/tests/test_fault)
      echo "the same search as with gcc, in minutes" ;;
    *san-*/test_assumptions | *clang/tests/test_assumptions)
      echo "test_crash covers its paths; slow" ;;
    *san-*/test_damage_random | *clang/tests/test_damage_random)
      echo "test_damage covers its paths; slow" ;;
    *clang/*)
      ls tests/unit/"$(basename "$1")".c tests/crash/"$(basename "$1")".c 2>/dev/null | grep -q . ||
        echo "clang runs the unit tests" ;;
  esac
}

# Fewer modes where everything takes ten times as long.
modes_for() { # program
  case $1 in *san-* | *clang/*) echo mixture ;; esac
}

# The slow ones first, so that the two lanes end together.
by_weight() {
  awk -F/ '{ w = 5
    if ($NF ~ /test_kill|test_syncs|test_interleave/) w = 1
    else if ($NF ~ /test_damage|test_full|test_fault|test_fork_storm|test_crash|test_assumptions/) w = 2
    else if ($NF ~ /test_wake|test_threads/) w = 3
    print w, $0 }' | sort -s -n -k1,1 | cut -d' ' -f2-
}

list_programs() {
  ls "$BUILD"/tests/test_* 2>/dev/null | by_weight
  ls tests/script/test_*.sh 2>/dev/null
  [ "${FAST:-0}" = 1 ] && return
  local directory
  for directory in "$BUILD"/san-*/tests "$BUILD"/clang/tests; do
    ls "$directory"/test_* 2>/dev/null | by_weight
  done
}

# The sum of a program's results, from what it printed: "PASSED FAILED".
# cmocka prints one line a test; scripts "ok NAME" and "not ok NAME".
count_results() { # output, exit status
  awk -v status="$2" '
    /^\[ RUN      \]/ { begun++ }
    /^\[       OK \]/ { passed++; ended++ }
    /^\[  SKIPPED \] [^0-9]/ && !over { ended++ }
    /^\[  FAILED  \]/ && !over { failed++; ended++ }
    /^\[=+\] [0-9]+ test\(s\) run/ { over = 1 }
    /^ok / { passed++ }
    /^not ok / { failed++ }
    END {
      crashed = begun > 0 && (!over || ended < begun)
      if (crashed || (status != 0 && !failed)) failed++
      print passed + 0, failed + 0
    }' "$1"
}

without_successes() { # output
  awk '/^\[ RUN      \]/ { held = $0; next }
       /^\[       OK \]/ || /^ok / { held = ""; next }
       { if (held) print "    | " held; held = ""; print "    | " $0 }
       END { if (held) print "    | " held }' "$1"
}

# Lines "name value" that say how much was tried; those of the plain build are
# printed at the end, summed where several programs have them.
figures='^(distinct_states|states_per_second|points_reached|points_total|fault_runs|sync_skips_caught|sync_places|kills|schedules|stories) [0-9]+$'

run_one() { # program, file for the result
  local program=$1 result=$2 output=$2.output status begin end counts passed failed
  begin=$(date +%s%N)
  { MODES=${MODES:-$(modes_for "$program")} \
      timeout -k 5 "$TIMEOUT_S" "$program" >"$output" 2>&1 </dev/null; } 2>/dev/null
  status=$?
  end=$(date +%s%N)
  counts=$(count_results "$output" "$status")
  passed=${counts% *} failed=${counts#* }
  [ "$status" = 124 ] && echo "$program: not finished after $TIMEOUT_S s" >>"$output"
  printf '%-46s %6.1f s  %4d passed' "${program#./}" \
    "$(((end - begin) / 1000000))e-3" "$passed"
  [ "$failed" -gt 0 ] && printf ', %d FAILED (status %d)' "$failed" "$status"
  printf '\n'
  grep '^skip: ' "$output" | grep -v 'skipped by its child' | sed 's/^/    /'
  if [ "$failed" -gt 0 ]; then
    without_successes "$output"
    { echo "FAILED $program"; without_successes "$output" | head -n 12; } >"$result.failure"
  fi
  echo "$counts" >"$result"
  case $program in "$BUILD"/tests/* | tests/*) grep -hE "$figures" "$output" >"$result.figures" ;; esac
}

# One line a program, whole: each writes into a file of its own first.
run_and_print() {
  run_one "$1" "$2" >"$2.lines"
  flock "$work/print" cat "$2.lines"
}

work=$(mktemp -d "${TMPDIR:-/var/tmp}/duralog-run-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export TMPDIR=$work/tmp
mkdir -p "$TMPDIR" && chmod 755 "$work" "$TMPDIR"
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

if [ $# -gt 0 ]; then programs=$(printf '%s\n' "$@"); else programs=$(list_programs); fi
number=0
for program in $programs; do
  [ -x "$program" ] && [ ! -d "$program" ] || continue
  reason=$(skip_reason "$program")
  if [ $# -eq 0 ] && [ -n "$reason" ]; then
    printf '%-46s not run: %s\n' "$program" "$reason"
    continue
  fi
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
  number=$((number + 1))
  run_and_print "$program" "$work/$number" &
done
wait

passed=0 failed=0
for ((i = 1; i <= number; i++)); do
  read -r p f <"$work/$i" || { p=0 f=1; }
  passed=$((passed + p)) failed=$((failed + f))
done
cat "$work"/*.figures 2>/dev/null |
  awk '{ if (!($1 in n)) names[++count] = $1; n[$1] += $2 }
       END { for (i = 1; i <= count; i++) print names[i], n[names[i]] }'
cat "$work"/*.failure 2>/dev/null
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
