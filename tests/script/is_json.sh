# Sourced by tests. is_json succeeds if each line of standard input is one JSON
# object, by the grammar of RFC 8259; it needs nothing but perl itself.
is_json() {
  perl -ne '
    BEGIN { $json = qr/(?(DEFINE)
      (?<text> "(?:[^"\\\x00-\x1f]|\\(?:["\\\/bfnrt]|u[0-9a-fA-F]{4}))*")
      (?<number> -?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)
      (?<value> \s*(?:(?&text)|(?&number)|true|false|null|(?&array)|(?&object))\s*)
      (?<array> \[(?:\s*|(?&value)(?:,(?&value))*)\])
      (?<member> \s*(?&text)\s*:(?&value))
      (?<object> \{(?:\s*|(?&member)(?:,(?&member))*)\}))/x }
    chomp; $lines++;
    /^(?&object)$json$/ or die "no JSON object: $_\n";
    utf8::decode($_) or die "not UTF-8: $_\n";
    END { exit($? || !$lines) }'
}
