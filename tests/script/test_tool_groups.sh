#!/bin/bash
# duralog consume and duralog groups, as a user meets them: what is printed is
# what is committed, and what is not comes again. Prints "ok NAME" or "not ok
# NAME" a test. Nothing sleeps: what is printed is waited for by line.
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=groups
. tests/script/claims.sh
. tests/script/is_json.sh
. tests/script/writer.sh
limit=30 # seconds, for what comes at once

log=$work/log
log_of() { seq "$1" | $tool append --quiet "$log"; }
append_more() { seq "$1" "$2" | $tool append --quiet "$log"; }
numbers() { tr '\n' ' '; }
consume() { $tool consume --group g "$@" "$log"; }
fact() { # fact NAME: of the group g
  $tool groups describe --group g --json "$log" | sed -n "s/.*\"$1\":\"\{0,1\}\([^,}\"]*\).*/\1/p"
}
committed_is() {
  is=$(fact committed)
  [ "$is" = "$1" ] || { echo "committed $is instead of $1"; return 1; }
}
ends_with() { # ends_with STATUS COMMAND...
  want=$1
  shift
  "$@" >"$work/out" 2>"$work/err"
  status=$?
  [ $status -eq "$want" ] || { echo "status $status instead of $want"; cat "$work/err"; return 1; }
}
said() { grep -q -e "$1" "$work/err" || { echo "not said: $1"; cat "$work/err"; return 1; }; }

# follower_begin OPTION...: consumes in the background; prints to descriptor 5
follower_begin() {
  rm -f "$work/printed" && mkfifo "$work/printed" || return 1
  # A shell lets what is in the background ignore the signal.
  perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' $tool consume --group g "$@" "$log" >"$work/printed" &
  follower=$!
  exec 5<"$work/printed"
}
next_is() {
  for expected; do
    read -r -t $limit line <&5 || { echo "no line, expected: $expected"; return 1; }
    [ "$line" = "$expected" ] || { echo "printed '$line', expected '$expected'"; return 1; }
  done
}
follower_end() { # follower_end SIGNAL STATUS
  kill -s "$1" $follower
  wait $follower 2>/dev/null
  status=$?
  [ $status -eq "$2" ] || { echo "status $status instead of $2"; return 1; }
}
segment=$log/00000000000000000001.seg
data_of() { # data_of TEXT: where the record that is this text lies in the first segment
  perl -e 'undef $/; open F, $ARGV[0]; $_ = <F>; my $at = 4096;
    while (1) {
      my ($size, $flags) = (unpack("V", substr $_, $at + 4), unpack("v", substr $_, $at + 20));
      last unless $flags;
      if (($flags & 15) == 1 && substr($_, $at + 24, $size) eq $ARGV[1]) { print $at + 24; exit }
      $at += 24 + ($size + 7 & ~7)
    }
    exit 1' "$segment" "$1"
}
flip() { # flip FILE POSITION: one byte of it is another one
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\$(printf %o $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# ---- consuming ----

all_is_printed_once_and_then_nothing() {
  log_of 100 && seq 100 >"$work/all" && consume | cmp - "$work/all" && committed_is 100 &&
    [ -z "$(consume)" ] && append_more 101 103 && [ "$(consume | numbers)" = '101 102 103 ' ]
}
count_commits_just_these() {
  log_of 10 && [ "$(consume --count 3 | numbers)" = '1 2 3 ' ] && committed_is 3 &&
    [ "$(consume -n 2 | numbers)" = '4 5 ' ] && committed_is 5 &&
    [ "$(consume -n 100 | numbers)" = '6 7 8 9 10 ' ] && committed_is 10
}
groups_do_not_hurt_each_other() {
  log_of 5 && consume >/dev/null && [ "$($tool consume --group other "$log" | numbers)" = '1 2 3 4 5 ' ] &&
    committed_is 5
}
killed_before_the_commit_it_comes_again() {
  # Beside a writer that lives, with auto commit: all waits for the next poll.
  writer_begin && say one two three && follower_begin --follow --auto-commit 3600000 && next_is one two three &&
    follower_end KILL 137 && committed_is null && writer_end && [ "$(consume | numbers)" = 'one two three ' ]
}
killed_amid_the_output_the_rest_comes_again() {
  # More than a pipe holds: it waits for its reader with a batch half written.
  seq 100000 | $tool append --quiet "$log" && follower_begin && next_is 1 && follower_end KILL 137 || return 1
  written=$((1 + $(tr -cd '\n' <&5 | wc -c))) # whole lines, with those still in the pipe
  stands=$(fact committed)
  [ "$stands" != null ] || stands=0
  [ "$stands" -le $written ] || { echo "committed $stands, written $written"; return 1; }
  [ "$stands" -lt 100000 ] && seq $((stands + 1)) 100000 >"$work/rest" && consume | cmp - "$work/rest"
}
auto_commit_commits_at_the_end() {
  log_of 10 && [ "$(consume --auto-commit 3600000 --count 4 | numbers)" = '1 2 3 4 ' ] && committed_is 4 &&
    [ "$(consume --auto-commit 1 | numbers)" = '5 6 7 8 9 10 ' ] && committed_is 10
}
what_nobody_could_read_comes_again() {
  # More than a pipe holds: the reader takes one line and goes.
  seq 100000 | $tool append --quiet "$log" || return 1
  [ "$(consume | head -n 1)" = 1 ] || return 1
  stands=$(fact committed)
  [ "$stands" != null ] || stands=0
  [ "$stands" -lt 100000 ] && [ "$(consume | head -n 1)" = $((stands + 1)) ]
}
a_full_disk_below_the_output_commits_nothing() {
  [ -e /dev/full ] || return 1
  log_of 10 && ends_with 1 eval 'consume >/dev/full' && committed_is null && [ "$(consume -n 1)" = 1 ]
}
following_goes_on_and_a_signal_commits() {
  for signal in TERM INT; do
    rm -rf "$log"
    log_of 2 && follower_begin --follow && next_is 1 2 && append_more 3 4 && next_is 3 4 &&
      follower_end $signal 0 && committed_is 4 && [ -z "$(consume)" ] || return 1
  done
}
a_new_group_begins_where_it_is_told() {
  log_of 5 && [ -z "$(consume --from latest)" ] && append_more 6 6 && [ "$(consume)" = 6 ] &&
    ends_with 1 $tool consume --group new --from error "$log" && said new &&
    [ "$($tool consume --group new --from earliest -n 1 "$log")" = 1 ]
}
records_are_told_as_json() {
  log_of 3 && consume --json >"$work/json" && [ "$(wc -l <"$work/json")" -eq 3 ] &&
    while read -r line; do printf '%s\n' "$line" | is_json || return 1; done <"$work/json"
}
damage_is_named_and_passed() {
  log_of 5 && consume -n 1 >/dev/null && flip "$segment" "$(data_of 3)" &&
    ends_with 3 consume && [ "$(numbers <"$work/out")" = '2 4 5 ' ] && said 'offset 2,' && committed_is 5
}
# ---- one member at a time ----

a_second_member_is_told_it_is_busy() {
  writer_begin && say one && follower_begin --follow && next_is one && ends_with 5 consume && said g &&
    ends_with 5 $tool groups reset --group g --to earliest "$log" &&
    ends_with 5 $tool groups delete --group g "$log" && [ "$(fact member_alive)" = true ] && follower_end TERM 0 &&
    [ "$(fact member_alive)" = false ] && ends_with 0 consume && writer_end
}
who_waits_takes_over_from_a_killed_one() {
  writer_begin && say one two && follower_begin --follow --auto-commit 3600000 && next_is one two || return 1
  consume --wait 30000 >"$work/second" 4>&- 5<&- &
  second=$!
  follower_end KILL 137 && wait $second && [ "$(numbers <"$work/second")" = 'one two ' ] && committed_is 2 && writer_end
}

# ---- a crash that took records, and the commit not ----

# Consumed up to 9; then the machine stopped, and of one writer's records the
# last four had not reached the disk. Another one goes on.
log_that_lost_records() {
  # In two batches: what is torn is lost as a whole.
  writer_begin --durability pagecache && say 1 2 3 4 5 && consume --follow --level written -n 5 >/dev/null &&
    say 6 7 8 9 && consume --follow --level written -n 4 >/dev/null &&
    committed_is 9 && writer_kill && at=$(data_of 6) &&
    dd if=/dev/zero of="$segment" bs=1 seek=$((at - 24)) count=128 conv=notrunc status=none && append_more 60 61
}
what_a_crash_took_is_told_with_both_offsets() {
  log_that_lost_records && ends_with 1 consume && [ ! -s "$work/out" ] && said 'offset 9' && said 'from 5 on'
}
going_back_consumes_from_the_divergence() {
  log_that_lost_records && ends_with 0 consume --go-back && [ "$(numbers <"$work/out")" = '60 61 ' ] &&
    committed_is 7 && ends_with 0 consume && [ ! -s "$work/out" ]
}

# ---- groups ----

list_and_describe_say_where_groups_are() {
  log_of 10 && consume -n 4 >/dev/null && $tool consume --group other "$log" >/dev/null &&
    $tool groups list "$log" >"$work/list" && grep -q '^g .*4.*10.*6' "$work/list" && grep -q '^other' "$work/list" &&
    [ "$(fact end)" = 10 ] && committed_is 4 && [ "$(fact lag_records)" = 6 ] &&
    $tool groups list --json "$log" | is_json && $tool groups describe --group g --json "$log" | is_json
}
reset_goes_where_it_is_told() {
  log_of 10 && consume >/dev/null || return 1
  for step in earliest=0 latest=10 3=3 +2=5 -4=1 -1h=0; do
    $tool groups reset --group g --to "${step%=*}" "$log" >/dev/null && committed_is "${step#*=}" || return 1
  done
  [ "$(consume -n 1)" = 1 ]
}
a_reset_out_of_range_changes_nothing() {
  log_of 10 && consume -n 4 >/dev/null && ends_with 1 $tool groups reset --group g --to 11 "$log" && committed_is 4 &&
    ends_with 2 $tool groups reset --group g --to nowhere "$log" && committed_is 4
}
a_clone_stands_where_the_group_does_and_goes_its_own_way() {
  log_of 5 && consume -n 2 >/dev/null && $tool groups clone --group g --as copy "$log" &&
    [ "$($tool consume --group copy "$log" | numbers)" = '3 4 5 ' ] && committed_is 2 &&
    ! $tool groups clone --group g --as copy "$log" 2>/dev/null
}
what_is_deleted_begins_anew_and_others_stay() {
  log_of 3 && consume >/dev/null && $tool consume --group other "$log" >/dev/null &&
    $tool groups delete --group g "$log" && [ "$(consume | numbers)" = '1 2 3 ' ] &&
    [ -z "$($tool consume --group other "$log")" ]
}
a_group_that_is_not_there_is_refused() {
  log_of 1 && for action in describe delete 'reset --to 0' 'clone --as other'; do
    ends_with 4 $tool groups ${action%% *} --group none $(case $action in *' '*) echo "${action#* }" ;; esac) "$log" &&
      said none || return 1
  done
  [ ! -e "$log/groups" ] || [ -z "$(ls "$log/groups")" ]
}
a_damaged_group_hurts_no_other() {
  log_of 3 && consume >/dev/null && $tool consume --group other -n 1 "$log" >/dev/null || return 1
  for file in "$log"/groups/g*; do head -c "$(stat -c %s "$file")" /dev/zero | tr '\0' 'x' >"$work/x" && cp "$work/x" "$file"; done
  ends_with 3 $tool groups list "$log" && grep -q '^other' "$work/out" && said g && ends_with 3 consume &&
    [ "$($tool consume --group other "$log" | numbers)" = '2 3 ' ] &&
    $tool groups reset --group g --to 1 "$log" >/dev/null && [ "$(consume | numbers)" = '2 3 ' ]
}

for test in all_is_printed_once_and_then_nothing count_commits_just_these groups_do_not_hurt_each_other \
  killed_before_the_commit_it_comes_again \
  killed_amid_the_output_the_rest_comes_again auto_commit_commits_at_the_end what_nobody_could_read_comes_again \
  a_full_disk_below_the_output_commits_nothing following_goes_on_and_a_signal_commits \
  a_new_group_begins_where_it_is_told records_are_told_as_json damage_is_named_and_passed \
  a_second_member_is_told_it_is_busy who_waits_takes_over_from_a_killed_one \
  what_a_crash_took_is_told_with_both_offsets going_back_consumes_from_the_divergence \
  list_and_describe_say_where_groups_are reset_goes_where_it_is_told a_reset_out_of_range_changes_nothing \
  a_clone_stands_where_the_group_does_and_goes_its_own_way what_is_deleted_begins_anew_and_others_stay \
  a_group_that_is_not_there_is_refused a_damaged_group_hurts_no_other; do
  claim $test $test
done
exit $failed
