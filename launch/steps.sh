# shellcheck shell=bash
# Sourced by the launchers: how they refuse a mistake, print a command, run it, and end when it fails.

dry_run=no

# refuse SENTENCE: a mistake in the variables or the command line ends with one sentence and exit code 2.
refuse() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# give_up SENTENCE: a step that failed ends with one sentence and exit code 1.
give_up() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

# say SENTENCE: what happens, with the time.
say() {
  printf '%s %s\n' "$(date +%H:%M:%S)" "$1"
}

# need NAME PATTERN EXPECTED: refuses a variable that does not match as a whole.
need() {
  local name=$1 pattern=$2 expected=$3 value=${!1-}
  if [[ -z $value && ! "" =~ ^($pattern)$ ]]; then
    refuse "$name is not set, expected $expected; set it in the environment or at the top of $0"
  fi
  if [[ ! $value =~ ^($pattern)$ ]]; then
    refuse "$name is '$value', expected $expected"
  fi
}

# need_program PROGRAM WHERE: refuses to begin without a program. A dry run needs none.
need_program() {
  if [[ $dry_run == no ]] && ! command -v "$1" >/dev/null; then
    refuse "$1 is not on the PATH; $2"
  fi
}

# show COMMAND...: prints a command so that it can be pasted into a shell.
show() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
}

# step WHAT COMMAND...: shows a command and runs it; in a dry run it is only shown.
step() {
  local what=$1 code=0
  shift
  show "$@"
  if [[ $dry_run == yes ]]; then
    return
  fi
  "$@" || code=$?
  if [[ $code != 0 ]]; then
    give_up "$what failed with exit code $code; the lines above say why"
  fi
}

# quoted WORD...: the words as one line for a remote shell, each quoted.
quoted() {
  local line
  printf -v line '%q ' "$@"
  printf '%s' "${line% }"
}
