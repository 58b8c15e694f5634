#!/usr/bin/env bash
# What launch/tpu_vm.sh does on each host of a slice; it is not called by hand.
#
#   on_host.sh [--dry_run] install PYTHON_VERSION | start DATA_DIR [flags of inr_gan_jax.main] | status | stop
set -euo pipefail

# --- Variables ------------------------------------------------------------------------------------------------------
VENV=${VENV:-$HOME/inr_gan_jax_venv}    # the packages
LOG=${LOG:-$HOME/inr_gan_jax.log}       # what main prints, this start and the ones before
PID=${PID:-$HOME/inr_gan_jax.pid}       # of launch/train.sh
ENDED=${ENDED:-$HOME/inr_gan_jax.ended} # its exit code, once it has ended
STOP_SECONDS=${STOP_SECONDS:-120}       # for a checkpoint, before a run that is stopped is killed
# ---------------------------------------------------------------------------------------------------------------------

# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

runs() {
  # A host that was started anew may have given the number to another program.
  [[ -s $PID ]] && grep -qs train.sh "/proc/$(cat "$PID")/cmdline"
}

install() {
  # The images of TPU hosts bring an older Python than inr_gan_jax needs; uv fetches the one asked for.
  # Newer systems guard their own packages against pip, also where --user does not touch them.
  step "installing uv" env PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
  step "making $VENV" "$HOME/.local/bin/uv" venv --quiet --allow-existing --python "$1" "$VENV"
  cd "$root"
  step "installing inr_gan_jax" "$HOME/.local/bin/uv" pip install --quiet --python "$VENV/bin/python" \
    --constraint constraints.txt --editable '.[tpu]'
}

start() {
  local data_dir=$1 waited
  shift
  if runs; then
    say "a run is under way: nothing is started"
    return
  fi
  [[ -z $data_dir ]] || export TFDS_DATA_DIR=$data_dir
  if [[ $dry_run == yes ]]; then
    show nohup setsid bash "$root/launch/on_host.sh" attend "$@"
    return
  fi
  rm -f "$ENDED" "$PID"
  # Detached from the connection, which ends at once.
  nohup setsid bash "$root/launch/on_host.sh" attend "$@" >>"$LOG" 2>&1 </dev/null &
  for ((waited = 0; waited < 100; waited++)); do
    [[ ! -s $PID ]] || break
    sleep 0.1
  done
  [[ -s $PID ]] || give_up "the run did not start within 10 s; $LOG may say why"
  say "started"
}

# Runs training and leaves its exit code.
attend() {
  local code=0
  cd "$root"
  if [[ $dry_run == yes ]]; then
    show env "PYTHON=$VENV/bin/python" bash launch/train.sh "$@"
    return
  fi
  PYTHON=$VENV/bin/python bash launch/train.sh "$@" &
  echo $! >"$PID"
  wait $! || code=$?
  echo "$code" >"$ENDED"
}

status() {
  if [[ -s $ENDED ]]; then
    echo "run: ended $(cat "$ENDED")"
  elif runs; then
    echo "run: running"
  elif [[ -s $PID ]]; then
    echo "run: lost"
  else
    echo "run: none"
  fi
  if [[ -s $LOG ]]; then
    echo "last line: $(tail -n 1 "$LOG")"
  fi
}

stop() {
  local deadline=$((SECONDS + STOP_SECONDS))
  if ! runs; then
    say "nothing runs"
    return
  fi
  step "stopping" kill -TERM "$(cat "$PID")"
  [[ $dry_run == no ]] || return 0
  while runs && ((SECONDS < deadline)); do
    sleep 0.2
  done
  if runs; then
    # With all that it started: what is left of it would hold the chips.
    kill -KILL -- "-$(ps -o pgid= -p "$(cat "$PID")" | tr -d ' ')"
    say "killed after $STOP_SECONDS s"
  else
    say "stopped"
  fi
}

take_flags "$@"
count=${#words[@]}
case ${words[0]-} in
  install) ((count == 2)) || refuse "install takes a version of Python, but '${words[*]:1}' is given" ;;
  status | stop) ((count == 1)) || refuse "${words[0]} stands alone, but '${words[1]}' is given" ;;
  start) take_main_flags '--expect=.*|--multiprocess' ${words[@]+"${words[@]:2}"} ;;
  attend) ;;
  *) refuse "command '${words[0]-}' is unknown, expected install, start, status or stop" ;;
esac
"${words[@]}"
