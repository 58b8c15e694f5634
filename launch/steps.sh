# shellcheck shell=bash
# Sourced by the launchers: their common flags, the check of a job, and how they refuse, show and run.
#
# Works with bash 3.2 (macOS).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) # the checkout
came_from=$PWD
dry_run=no    # --dry_run: commands are shown and none is run
agreed=no     # --yes: nobody is asked
checking=yes  # --no_check: the job is not checked first
words=()      # of the command line, without the flags above
main_flags=() # of inr_gan_jax.main, without --config and --workdir
job_env=()    # of the job, as arguments of `env`

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

# show_help: the comment at the top of the launcher, its variables, and the flags of all launchers.
show_help() {
  sed -n -e 1d -e '/^#SBATCH/d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
  printf '\nFlags, anywhere on the command line:\n'
  printf '  %-14s %s\n' '--dry_run, -n' 'show what would be run, run nothing' '--no_check' 'do not check the job first' \
    '--yes' 'do not ask' '--help' 'this text'
  printf '\nVariables of the environment (default):\n'
  # shellcheck disable=SC2016 # the ${ of the file
  sed -n 's/^\([A-Z_]\{1,\}\)=${[A-Z_]*:-\([^}]*\)} *# \(.*\)$/  \1 (\2): \3/p' "$0"
}

# take_flags WORD...: takes the flags of all launchers out of a command line, wherever they stand; sets `words`.
take_flags() {
  local word
  for word; do
    case $word in
      --help | -h) show_help && exit 0 ;;
    esac
  done
  for word; do
    case $word in
      --dry_run | --dry-run | -n) dry_run=yes ;;
      --yes | -y) agreed=yes ;;
      --no_check | --no-check) checking=no ;;
      *) words+=("$word") ;;
    esac
  done
}

# take_main_flags MORE WORD...: refuses what is no flag of inr_gan_jax.main, so that a misspelt --dry_run starts nothing.
# --config and --workdir set the variables CONFIG and WORKDIR; all others go into `main_flags`.
#   MORE: a pattern of flags that are allowed besides those that every launcher takes.
take_main_flags() {
  local more=$1 word name
  shift
  for word; do
    if [[ $word =~ ^--(config|workdir)=. ]]; then
      [[ $word == --config=* ]] && name=CONFIG || name=WORKDIR
      printf -v "$name" %s "${word#*=}"
    elif [[ $word =~ ^(--(no)?config\.[A-Za-z_].*|--join_seconds=.*)$ || (-n $more && $word =~ ^($more)$) ]]; then
      main_flags+=("$word")
    elif [[ $word == -* ]]; then
      refuse "flag '$word' is unknown, expected --dry_run, --no_check, --yes, --help, or of inr_gan_jax.main --config=FILE, --workdir=FOLDER, --config.KEY=VALUE or --join_seconds=N"
    else
      refuse "'$word' is not expected here; flags look like --name=value"
    fi
  done
}

# must_ask COMMAND WHAT: whether to ask before COMMAND is done to WHAT; refuses where nobody can be asked.
must_ask() {
  [[ $dry_run == no && $agreed == no ]] || return 1
  [[ -t 0 ]] || refuse "$1 asks before it acts on $2, and there is no terminal to ask at; --yes does not ask"
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

# has_package PYTHON: whether an interpreter can run inr_gan_jax.
has_package() {
  "$1" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("absl", "jax", "inr_gan_jax"))))' \
    >/dev/null 2>&1
}

# find_python [ELSE]: sets PYTHON, unless the user did, to the first interpreter that has inr_gan_jax: of the active
# environment, of .venv beside launch/, of the PATH. Refuses to go on without one; ELSE is added to that sentence.
find_python() {
  local candidate given=$PYTHON candidates=("$PYTHON")
  if [[ -z $given ]]; then
    candidates=(${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} "$root/.venv/bin/python" python python3)
  fi
  for candidate in "${candidates[@]}"; do
    # Relative to where the user is, who may be somewhere else than the launcher.
    [[ $candidate != */* || $candidate == /* ]] || candidate=$came_from/$candidate
    command -v "$candidate" >/dev/null || continue
    if [[ $dry_run == yes ]] || has_package "$candidate"; then
      PYTHON=$candidate
      return
    fi
  done
  if [[ $dry_run == yes ]]; then
    PYTHON=${given:-python}
    return
  fi
  refuse "${given:-the Python found here} cannot run inr_gan_jax; set PYTHON to an interpreter that has it, such as PYTHON=.venv/bin/python, or make one: python3 -m venv .venv && .venv/bin/pip install --constraint constraints.txt --editable .${1-}"
}

# check_job DEVICES PROCESSES FLAG...: has inr_gan_jax.main look at the job before anything is started; it says itself
# what is wrong. In a dry run the command is only shown.
check_job() {
  local checked code=0
  [[ $checking == yes ]] || return 0
  find_python "; --no_check starts the job unchecked"
  # On the CPU: the devices of this machine are not touched.
  checked=(env ${job_env[@]+"${job_env[@]}"} JAX_PLATFORMS=cpu "$PYTHON" -m inr_gan_jax.main --dry_run "--for_devices=$1")
  checked+=("--for_processes=$2")
  shift 2
  checked+=("$@")
  show "${checked[@]}"
  [[ $dry_run == no ]] || return 0
  "${checked[@]}" || code=$?
  case $code in
    0) ;;
    2) exit 2 ;;
    *) give_up "checking the job failed with exit code $code; the lines above say why, and --no_check starts it unchecked" ;;
  esac
}

# name_plan TOPOLOGY: says how to learn the memory that the compiler needs on a slice. That takes minutes for networks of
# full width, and libtpu, so it is left to the user.
name_plan() {
  [[ $checking == no ]] || printf 'exact memory, in minutes: %s\n' \
    "$(quoted "$PYTHON" -m inr_gan_jax.plan "--topology=$1" "--config=$CONFIG" ${main_flags[@]+"${main_flags[@]}"})"
}
