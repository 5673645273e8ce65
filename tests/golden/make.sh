#!/bin/sh
# Usage: tests/golden/make.sh BUILD
# Makes the golden files of this format version again, and puts the dump of
# one of them into lib/FORMAT.md. Only while the format is still being settled:
# see README.md here.
set -eu
"$1/tests/golden_make" tests/golden/v1
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
  sed '/^<!-- dump -->$/q' lib/FORMAT.md
  echo
  "$1/tests/golden_dump" tests/golden/v1/worked
  sed -n '/^<!-- end of dump -->$/,$p' lib/FORMAT.md
} >"$new"
cat "$new" >lib/FORMAT.md
