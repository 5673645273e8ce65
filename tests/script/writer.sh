# Sourced by tests: a writer that appends what it is told, to $work/log.

# writer_begin OPTION...: a writer that lives, whose input is descriptor 4, and
# its log.
writer_begin() {
  rm -f "$work/input" && mkfifo "$work/input" || return 1
  [ -e "$work/log" ] || $tool append --quiet "$@" "$work/log" </dev/null || return 1
  $tool append --quiet "$@" "$work/log" <"$work/input" &
  writer=$!
  exec 4>"$work/input" && wait_for_writer
}

wait_for_writer() { # until it can be followed, or what else is the sign of it
  until $tool stats --json --quick --interval 0 "$work/log" | grep -q "\"${sign:-follows}\":true"; do :; done
}

say() { printf '%s\n' "$@" >&4; }

writer_end() { exec 4>&-; wait $writer; }

writer_kill() {
  kill -9 $writer
  wait $writer 2>/dev/null
  exec 4>&-
}
