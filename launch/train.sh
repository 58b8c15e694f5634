#!/usr/bin/env bash
# Runs `python -m inr_gan_jax.main` with the flags given, for whatever may stop it and start it again later.
#
#   launch/train.sh --config=configs/lsun.py:church,release --workdir=gs://bucket/runs/church
#
# main saves a checkpoint and ends with 0 when SIGTERM asks it to: a scheduler would take the run for finished. Here such
# an end has exit code 143, so that 0 means finished, 2 a mistake in the flags, and anything else "start me again".
set -uo pipefail

# --- Variables: change them here or in the environment --------------------------------------------------------------
PYTHON=${PYTHON:-python} # interpreter that has inr_gan_jax installed
# ---------------------------------------------------------------------------------------------------------------------

stopped=no
interrupted=no
child=
told=no

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

"$PYTHON" -m inr_gan_jax.main "$@" &
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
