# Shared by what writes reports and baselines back; what it is given is not trusted.

# The key of a hardware names files, branches and titles.
require_key() {
  if [[ ! "$1" =~ ^[a-z0-9][a-z0-9._-]{0,63}$ ]]; then
    echo "\`$1\` is no hardware key; give lower-case letters, digits, dots and dashes" >&2
    exit 4
  fi
}

# A file as a block that its own text cannot end; GitHub takes 65,536 characters a body.
fenced() {
  printf '%s%s\n' '````````' "$2"
  head -c 50000 "$1" | iconv -f utf-8 -t utf-8 -c | tr -d '\000-\010\013-\037' | sed 's/````*/```/g'
  printf '\n%s\n' '````````'
}
