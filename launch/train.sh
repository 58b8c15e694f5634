#!/usr/bin/env bash
# Runs `python -m inr_gan_jax.main` with the flags given, for whatever may stop it and start it again later.
#
#   launch/train.sh --config=configs/lsun.py:church,release --workdir=gs://bucket/runs/church
#   launch/train.sh --dry_run --config=...      # shows the command and runs nothing
#
# The other launchers and launch/Dockerfile start training by it. It checks nothing first: main itself does at once.
#
# main saves a checkpoint and ends with 0 when SIGTERM asks it to: a scheduler would take the run for finished. Here such
# an end has exit code 143, so that 0 means finished, 2 a mistake in the flags, and anything else "start me again".
set -uo pipefail

# --- Variables: change them here or in the environment --------------------------------------------------------------
PYTHON=${PYTHON:-} # interpreter that has inr_gan_jax; .venv/bin/python or python when empty
# ---------------------------------------------------------------------------------------------------------------------

stopped=no
interrupted=no
child=
told=no
# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

take_flags "$@"
take_main_flags '--(expect|coordinator|num_processes|process_id)=.*|--multiprocess' ${words[@]+"${words[@]}"}
find_python
training=("$PYTHON" -m inr_gan_jax.main ${words[@]+"${words[@]}"})
if [[ $dry_run == yes ]]; then
  show "${training[@]}"
  exit 0
fi

# shellcheck disable=SC2329 # called by trap
pass_on() {
  stopped=yes
  interrupted=yes
  if [[ -n $child ]]; then
    told=yes
    kill -TERM "$child" 2>/dev/null || true
  fi
}
# Before the program starts, so that no signal comes in between. Ctrl-C saves too.
trap pass_on TERM INT

"${training[@]}" &
child=$!
# Once only: a second SIGTERM would end it unsaved.
if [[ $stopped == yes && $told == no ]]; then
  kill -TERM "$child" 2>/dev/null || true
fi

# A signal ends `wait` early, with a code that says nothing of the program.
while true; do
  interrupted=no
  code=0
  wait "$child" || code=$?
  [[ $interrupted == yes ]] || break
done

if [[ $stopped == yes && $code == 0 ]]; then
  exit 143
fi
exit "$code"
