#!/usr/bin/env bash
# Trains with several processes on this machine: a rehearsal of several hosts, or one process a GPU.
#
#   NUM_PROCESSES=2 launch/local_multiprocess.sh --config=configs/digits.py --workdir=runs/two
#   launch/local_multiprocess.sh --config=configs/digits.py --dry_run     # shows the commands and runs none
#
# The job is checked once, then all flags go to `python -m inr_gan_jax.main` in each process. Lines are marked with the
# number of their process. When one process dies, the others are ended and it is named; SIGTERM and Ctrl-C save and leave.
set -uo pipefail

# --- Variables: change them here or in the environment --------------------------------------------------------------
NUM_PROCESSES=${NUM_PROCESSES:-2}               # processes to start
DEVICES_PER_PROCESS=${DEVICES_PER_PROCESS:-4}   # devices that each CPU process pretends to have; a cuda process has one
PLATFORM=${PLATFORM:-cpu}                       # cpu, or cuda: process i gets GPU i
PORT=${PORT:-}                                  # of the coordinator, process 0; a free one when empty
GRACE_SECONDS=${GRACE_SECONDS:-30}              # from asking a process to end until it is killed
PYTHON=${PYTHON:-}                              # interpreter that has inr_gan_jax; .venv/bin/python or python when empty
# ---------------------------------------------------------------------------------------------------------------------

# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

CONFIG='' WORKDIR='' # of the command line alone
take_flags "$@"
take_main_flags '' ${words[@]+"${words[@]}"}
job=("--config=$CONFIG")
[[ -z $WORKDIR ]] || job+=("--workdir=$WORKDIR")
job+=(${main_flags[@]+"${main_flags[@]}"})

check_variables() {
  need NUM_PROCESSES '[1-9][0-9]{0,2}' "a number of processes, 1 to 999"
  need DEVICES_PER_PROCESS '[1-9][0-9]{0,2}' "a number of devices, 1 to 999"
  need PLATFORM 'cpu|cuda' "cpu or cuda"
  need PORT '([1-9][0-9]{3,4})?' "a port such as 8476, or nothing"
  need GRACE_SECONDS '[1-9][0-9]{0,4}' "whole seconds"
  if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 501)); then
    refuse "this is bash $BASH_VERSION, expected 5.1 or newer, which can tell which process ended"
  fi
  [[ -n $CONFIG ]] || refuse "--config is missing; the flags of inr_gan_jax.main stand behind $0"
}

# A port that nobody listens on at the moment.
free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 20000))
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  give_up "no free port was found between 20000 and 39999; set PORT"
}

# command_of NUMBER: sets `process`, the command line of one process.
command_of() {
  process=(env)
  if [[ $PLATFORM == cpu ]]; then
    process+=(JAX_PLATFORMS=cpu "XLA_FLAGS=${XLA_FLAGS-} --xla_force_host_platform_device_count=$DEVICES_PER_PROCESS")
  else
    process+=("CUDA_VISIBLE_DEVICES=$1")
  fi
  process+=("$PYTHON" -m inr_gan_jax.main "${job[@]}" --multiprocess)
  process+=("--coordinator=127.0.0.1:$PORT" "--num_processes=$NUM_PROCESSES" "--process_id=$1" "--expect=$PLATFORM")
}

pids=()    # of the processes, by number
readers=() # that mark their lines
folder=    # of the pipes between them

start_all() {
  local number
  folder=$(mktemp -d) || give_up "no temporary folder can be made"
  trap 'rm -rf "$folder"' EXIT
  for ((number = 0; number < NUM_PROCESSES; number++)); do
    mkfifo "$folder/$number" || give_up "no pipe can be made in $folder"
    sed -u "s/^/[$number] /" <"$folder/$number" &
    readers+=($!)
    command_of "$number"
    # A group of its own: what is left of a process can be killed with all that it started.
    set -m
    "${process[@]}" >"$folder/$number" 2>&1 </dev/null &
    pids+=($!)
    set +m
  done
}

asked=() # the numbers of those that were asked to end
# ask_all: asks each process to end, once: a second SIGTERM would end it unsaved.
ask_all() {
  local number
  for number in "${!pids[@]}"; do
    if [[ -z ${asked[number]-} ]]; then
      asked[number]=yes
      kill -TERM "${pids[number]}" 2>/dev/null || true
    fi
  done
}

# end_all: asks all processes to end, and kills those that do not within GRACE_SECONDS.
end_all() {
  local pid deadline=$((SECONDS + GRACE_SECONDS))
  ask_all
  while ((SECONDS < deadline)) && any_runs; do
    sleep 0.1
  done
  for pid in "${pids[@]}"; do
    kill -KILL -- "-$pid" 2>/dev/null || true
  done
  # In silence: bash would tell of each that was killed.
  wait "${pids[@]}" "${readers[@]}" 2>/dev/null
}

any_runs() {
  local pid
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      return 0
    fi
  done
  return 1
}

# name_the_dead PID CODE: ends the others and says who died of what.
name_the_dead() {
  local number why="with exit code $2"
  for number in "${!pids[@]}"; do
    [[ ${pids[number]} != "$1" ]] || break
  done
  if (($2 > 128)); then
    why="by signal $(($2 - 128))"
  fi
  end_all
  printf 'error: process %s of %s ended %s, so the others were ended; its lines are marked [%s]\n' \
    "$number" "$NUM_PROCESSES" "$why" "$number" >&2
  exit 1
}

stopped=no
leave_if_stopped() {
  if [[ $stopped == yes ]]; then
    end_all
    say "stopped; the same command resumes from the last checkpoint"
    exit 143
  fi
}

# Waits for all; the first that dies ends the others.
watch_all() {
  local running=("${pids[@]}") dead code each rest
  while ((${#running[@]} > 0)); do
    leave_if_stopped
    code=0
    dead=
    # A signal just before it does not end the wait, but has asked the processes to end, which does.
    wait -n -p dead "${running[@]}" || code=$?
    leave_if_stopped
    if [[ -z $dead ]]; then
      give_up "the processes can no longer be watched"
    fi
    if ((code != 0)); then
      name_the_dead "$dead" "$code"
    fi
    rest=()
    for each in "${running[@]}"; do
      [[ $each == "$dead" ]] || rest+=("$each")
    done
    running=(${rest[@]+"${rest[@]}"})
  done
  wait "${readers[@]}" 2>/dev/null
}

check_variables
find_python
devices=$NUM_PROCESSES
[[ $PLATFORM == cuda ]] || devices=$((NUM_PROCESSES * DEVICES_PER_PROCESS))
check_job "$devices" "$NUM_PROCESSES" "${job[@]}"
if [[ $dry_run == yes ]]; then
  PORT=${PORT:-20000}
  for ((each = 0; each < NUM_PROCESSES; each++)); do
    command_of "$each"
    show "${process[@]}"
  done
  exit 0
fi
PORT=${PORT:-$(free_port)} || exit 1
trap 'stopped=yes; ask_all' TERM INT
start_all
watch_all
