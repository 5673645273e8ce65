# Sourced by tests of the tool, which set $suite before: a directory of their own,
# $work, and claims. What a claim leaves in it, and leaves running, is gone after.
build=${BUILD:-build}
tool=$build/duralog
work=$(mktemp -d "${TMPDIR:-/var/tmp}/duralog-$suite.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

claim() { # claim NAME COMMAND...: the command succeeds
  name=$1
  shift
  if (trap 'end_all' EXIT; "$@") >"$work/told" 2>&1; then
    echo "ok $suite/$name"
  else
    echo "not ok $suite/$name"
    sed 's/^/    /' "$work/told"
    failed=1
  fi
  rm -rf "$work"/[a-z]*
}

end_all() { kill -9 $(jobs -rp) 2>/dev/null; }
