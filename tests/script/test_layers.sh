#!/bin/sh
# Usage: tests/script/test_layers.sh      BUILD: the build directory, "build"
#
# The shape of the library: includes go down the list of layers in
# lib/README.md, two files know the operating system, a release shows its API
# and nothing else, the public header is C11 and C++.
#
# Prints a line for each check, "ok" or "not ok" first. The exit status is 0 if
# all are ok.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
failed=$(mktemp)
trap 'rm -f "$failed"' EXIT

# claim NAME, with what is wrong on stdin: nothing if all is well.
claim() {
  wrong=$(cat)
  if [ -z "$wrong" ]; then
    echo "ok layers/$1"
  else
    echo "not ok layers/$1"
    printf '%s\n' "$wrong" | sed 's/^/#   /'
    echo "$1" >>"$failed"
  fi
}

skip() { echo "ok layers/$1 # skip: $2"; }

# ---- the list of layers: FILE LAYER ----

layers=$(awk -F'|' '
  /^\| layer \|/ { inside = 1; next }
  inside && !/^\|/ { exit }
  inside && $3 ~ /`/ {
    layer++
    n = split($3, names, "`")
    for (i = 2; i <= n; i += 2) {
      name = names[i]
      if (sub(/\[ch\]$/, "", name)) { print name "c", layer; print name "h", layer }
      else print name, layer
    }
  }' lib/README.md)

# Linked into the tests only; they stand beside io_posix.c.
test_only='io_sim.c io_sim.h sim_disk.c sim_disk.h io_fault.c io_fault.h io_threads.c io_threads.h'
# Made of bytes and numbers alone: no I/O interface.
pure='base.h checksum.h frame.c frame.h format.c format.h walk.c walk.h
      policy.c policy.h recovery.c recovery.h'

layer_of() {
  case " $test_only " in *" $1 "*) echo "$layers" | awk '$1 == "io.h" { print $2 }'; return ;; esac
  echo "$layers" | awk -v f="$1" '$1 == f { print $2; exit }'
}

sources=$(cd lib && ls -- *.c *.h)

for file in $sources; do
  [ -n "$(layer_of "$file")" ] || echo "lib/$file is in no layer of lib/README.md"
done | claim every_file_has_a_layer

echo "$layers" | while read -r file _; do
  [ -e "lib/$file" ] || echo "lib/README.md lists lib/$file, which does not exist"
done | claim every_listed_file_exists

# FILE INCLUDED, one pair a line.
own_includes() {
  for file in $sources; do
    sed -n "s/^ *# *include \"\([^\"]*\)\".*/$file \1/p" "lib/$file"
  done
}

own_includes | while read -r file included; do
  [ "$included" = duralog.h ] && continue
  from=$(layer_of "$file") to=$(layer_of "$included")
  [ "${to:-99}" -le "${from:-0}" ] ||
    echo "lib/$file (layer $from) includes $included (layer ${to:-none})"
done | claim includes_go_down

own_includes | while read -r file included; do
  case " $(echo $pure) " in *" $file "*) ;; *) continue ;; esac
  case " $(echo $pure) duralog.h " in *" $included "*) ;;
    *) echo "lib/$file is pure and includes $included" ;;
  esac
done | claim pure_files_do_no_io

for file in $sources; do
  case " $test_only io_posix.c io_guard.c " in *" $file "*) continue ;; esac
  allowed='errno limits stdlib string'
  case $file in
    base.h) allowed="$allowed assert stdatomic stdbool stddef stdint" ;;
    checksum.h) allowed="$allowed xxhash" ;;
  esac
  sed -n 's/^ *# *include <\(.*\)\.h>.*/\1/p' "lib/$file" | while read -r header; do
    case " $allowed " in *" $header "*) ;;
      *) echo "lib/$file includes <$header.h>" ;;
    esac
  done
done | claim two_files_know_the_operating_system

# ---- manners ----

without_comments() { "${CC:-cc}" -fpreprocessed -dD -E -P "$1" 2>/dev/null; }

for file in $sources; do
  case " $test_only " in *" $file "*) continue ;; esac
  without_comments "lib/$file" |
    { [ "$file" = io_guard.c ] && sed 's/\bsigaction(//g' || cat; } |
    grep -nE '\b(exit|_exit|_Exit|quick_exit|abort|raise|v?f?printf|puts|fputs|perror|signal|sigaction|getenv|setenv|system|popen|sleep|usleep|nanosleep|rand|srand|time|gettimeofday)\(' |
    sed "s|^|lib/$file: |"
done | claim nothing_exits_prints_or_asks_the_process

# What comes from the disk is answered by an error, never by an assert.
for file in frame.c frame.h format.c walk.c walk.h recovery.c index.c segment.c \
            directory.c open.c reader.c; do
  without_comments "lib/$file" | grep -nE '\bassert\(' | sed "s|^|lib/$file: |"
done | claim no_assert_on_what_comes_from_the_disk

# ---- the release ----

library=$BUILD/libduralog.so archive=$BUILD/libduralog.a

if [ -e "$library" ] && [ -e "$archive" ]; then
  nm -D --defined-only "$library" | awk '$2 != "A" && $3 !~ /^duralog_/ { print $3 }' |
    claim the_library_shows_its_api_only
  awk '/^DURALOG_API/ && match($0, /duralog_[a-z_]*\(/) {
         print substr($0, RSTART, RLENGTH - 1) }' include/duralog.h |
    while read -r name; do
      nm -D --defined-only "$library" | grep -qE " $name(@@.*)?$" || echo "$name"
    done | claim the_library_has_all_of_its_api
  nm -g --defined-only "$archive" | awk 'NF == 3 && $3 !~ /^duralog_/ { print $3 }' |
    claim the_archive_shows_its_api_only
  { nm "$archive"; nm -D "$library"; } 2>/dev/null |
    grep -E 'fiu|io_sim|io_fault|io_threads|atomic_hook' | claim no_trace_of_the_test_tools
  strings -a "$library" | grep -E '^(append|roll|sync|seal|epoch|mark|start|create|meta|clean|pad)/' |
    claim no_trace_of_the_steps
  nm -D --undefined-only "$library" | sed 's/@.*//' | awk '{ print $NF }' |
    grep -xE '__assert_fail|abort|exit|_exit|raise|.*printf(_chk)?|f?puts|perror|signal|getenv|kill' |
    claim the_library_calls_nothing_that_ends_or_prints
  nm "$archive" | awk '$2 ~ /^[dDbB]$/ && $3 !~ /^(guard|environment\.[0-9]+|io_guards|sigbus_guard|thread_note|handlers)$/ { print $3 }' |
    claim nothing_is_shared_but_the_guards
else
  for name in the_library_shows_its_api_only no_trace_of_the_test_tools; do
    skip "$name" "$library is not built"
  done
fi

# ---- the header ----

for compiler in gcc clang; do
  command -v "$compiler" >/dev/null 2>&1 || { skip "header/$compiler" "not installed"; continue; }
  for standard in c11 c17 c++11 c++17; do
    case $standard in c++*) language=c++ ;; *) language=c ;; esac
    echo '#include "duralog.h"' |
      "$compiler" -x "$language" -std=$standard -Wall -Wextra -Wpedantic -Werror \
        -Iinclude -fsyntax-only - 2>&1 | claim "header_compiles/$compiler/$standard"
  done
done

[ ! -s "$failed" ]
