# bash completion for duralog(1). Installed where bash-completion looks; else
# source it. A test holds the words against the tool's own help.

_duralog_commands='append bench cat consume groups help info salvage stats tail verify'

_duralog_actions='list describe reset delete clone'

_duralog_named_action() { # whether what groups is to do is among the words
  local word
  for word in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
    [[ " $_duralog_actions " == *" $word "* ]] && return
  done
  return 1
}

_duralog_options() { # COMMAND
  case $1 in
    append) echo --durability --length-prefixed --threads --segment-bytes \
      --small --quiet --stats --json --help ;;
    bench) echo --seconds --size --json --help ;;
    cat) echo --from --to --since --until --count --durable --format --json \
      --null --length-prefixed --help ;;
    consume) echo --group -n --count -f --follow --auto-commit --from --go-back \
      --wait --level --format --json --quiet --help ;;
    groups) echo --group --to --as --json --help ;;
    tail) echo -f --follow -n --count --from --level --format --json --quiet \
      --help ;;
    salvage) echo --json --uuid --partial-batches --unproven-times --help ;;
    stats) echo --json --interval --quick --help ;;
    info | verify) echo --json --help ;;
    '') echo --help --version ;;
  esac
}

_duralog_values() { # COMMAND OPTION: its values; "?" for one nobody can guess
  case $1$2 in
    append--durability) echo every= bytes= interval= pagecache ;;
    cat--format | consume--format | tail--format) echo raw offset json ;;
    consume--from) echo earliest latest error ;;
    consume--level | tail--level) echo written durable ;;
    groups--to) echo earliest latest ;;
    tail--from) echo start end ;;
    append--threads | append--segment-bytes | bench--seconds | bench--size | \
      cat--from | cat--to | cat--since | cat--until | cat--count | *--group | \
      groups--as | consume--count | consume-n | consume--auto-commit | \
      consume--wait) echo '?' ;;
  esac
}

_duralog() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local command=${COMP_WORDS[1]} values
  COMPREPLY=()
  # bash splits --option=value into three words.
  if [[ $word == = ]]; then
    word=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "$_duralog_commands $(_duralog_options '')" -- "$word"))
    return
  fi
  values=$(_duralog_values "$command" "$before")
  [[ $command == groups && -z $values && $word != -* ]] && ! _duralog_named_action &&
    values=$_duralog_actions
  if [[ $command == help ]]; then
    COMPREPLY=($(compgen -W "$_duralog_commands" -- "$word"))
  elif [[ -n $values && $values != '?' ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$word"))
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
  elif [[ $values == '?' ]]; then
    return
  elif [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$(_duralog_options "$command")" -- "$word"))
  else
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
  fi
}

complete -F _duralog duralog
