#!/bin/bash
# Usage: tests/valgrind.sh [PROGRAM ...]      BUILD: the build directory
#
# The tests of one process, under valgrind: no error, nothing lost. Each does
# less of the same than elsewhere. What forks, kills or spins on threads is left
# to the sanitizers and to the plain build.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
export LIVES=150 MODES=mixture SEED=${SEED:-1}
programs=${*:-test_format test_frame test_walk test_index test_policy test_recovery
  test_recovery_files test_golden test_sim test_lives test_accept test_append
  test_read test_read_damage test_durability test_handles test_open}
passed=0 failed=0
for program in $programs; do
  if output=$(timeout 900 valgrind --quiet --error-exitcode=99 --leak-check=full \
    --errors-for-leak-kinds=definite "$BUILD/tests/$program" 2>&1); then
    echo "ok $program"
    passed=$((passed + 1))
  else
    echo "not ok $program"
    printf '%s\n' "$output" | tail -n 60 | sed 's/^/    /'
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
