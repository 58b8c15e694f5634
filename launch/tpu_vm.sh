#!/usr/bin/env bash
# Trains on a slice of Cloud TPU VMs that is asked for as a queued resource, and asks again after a preemption.
#
#   PROJECT=my-project WORKDIR=gs://my-bucket/runs/church launch/tpu_vm.sh run
#   launch/tpu_vm.sh COMMAND [flags of inr_gan_jax.main]
#   launch/tpu_vm.sh COMMAND --dry_run      # shows the commands and runs none
#
#   run      create, wait, install and start, then watch until the end; after a preemption begin again (main goes on
#            from WORKDIR). Stopping this script with Ctrl-C stops nothing else: run it again and it watches on.
#   create   ask for the slice          wait    until it is there       install  this commit and its packages, on all hosts
#   start    training, on all hosts     status  of the slice, each host's run and its last line
#   logs     follow those of a host     stop    save a checkpoint and end the run     delete   give the slice back
#
# run, create and start check the job on this machine before anything else. stop and delete say what they act on, and ask.
#
# Source: https://cloud.google.com/tpu/docs/queued-resources
set -euo pipefail

# --- Variables: change them here or in the environment --------------------------------------------------------------
PROJECT=${PROJECT:-}                                # id of the Google Cloud project
ZONE=${ZONE:-us-west4-a}                            # where the quota is; the bucket should be in the same region
NAME=${NAME:-inr-gan}                               # of the queued resource and of its node; one run, one name
ACCELERATOR=${ACCELERATOR:-v5litepod-16}            # gcloud compute tpus accelerator-types list --zone=ZONE
RUNTIME=${RUNTIME:-}                                # software of the hosts; the usual one of ACCELERATOR when empty
PROVISIONING=${PROVISIONING:-spot}                  # spot (cheap, preempted at any time), on-demand or reserved
SERVICE_ACCOUNT=${SERVICE_ACCOUNT:-}                # e-mail of the account the hosts act as; the project's default if empty
CONFIG=${CONFIG:-configs/lsun.py:church,release}    # configuration of the run
WORKDIR=${WORKDIR:-}                                # run folder in a bucket, gs://...: it must outlive the slice
DATA_DIR=${DATA_DIR:-}                              # folder of prepared sets, gs://...; empty when CONFIG says it
PYTHON_VERSION=${PYTHON_VERSION:-3.12}              # installed on the hosts, 3.11 to 3.13
LOG_WORKER=${LOG_WORKER:-0}                         # host whose lines `logs` follows
POLL_SECONDS=${POLL_SECONDS:-30}                    # between two looks at the slice
WAIT_HOURS=${WAIT_HOURS:-72}                        # how long a request may stand in the queue
MAX_PREEMPTIONS=${MAX_PREEMPTIONS:-100}             # after so many, give up
MAX_CRASHES=${MAX_CRASHES:-3}                       # starts again on a sound slice after main failed
DELETE_WHEN_DONE=${DELETE_WHEN_DONE:-yes}           # yes, or no: keep (and pay for) the slice after a finished run
PYTHON=${PYTHON:-}                                  # checks the job; .venv/bin/python or python when empty
# ---------------------------------------------------------------------------------------------------------------------

# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

remote=inr_gan_jax # folder of the code in the home of each host
# What a host answers when nothing has been sent to it yet: the same as when nothing was started.
ask="if [ -e $remote/launch/on_host.sh ]; then bash $remote/launch/on_host.sh status; else echo 'run: none'; fi"
commands='run, create, wait, install, start, status, logs, stop or delete'

set_runtime() {
  # Source: https://cloud.google.com/tpu/docs/runtimes
  case $ACCELERATOR in
    v6e-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv6e} ;;
    v5p-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv5} ;;
    v5litepod-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite} ;;
    *) RUNTIME=${RUNTIME:-tpu-ubuntu2204-base} ;;
  esac
}

check_variables() {
  local bucket='gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?'
  need PROJECT '([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]' "the id of a project: 6 to 30 small letters, digits and hyphens"
  need ZONE '[a-z]+-[a-z]+[0-9]+-[a-z]' "a zone such as us-west4-a"
  need NAME '[a-z]([a-z0-9-]{0,47}[a-z0-9])?' "small letters, digits and hyphens, without spaces"
  need ACCELERATOR 'v[0-9][a-z]*-[0-9]+' "a type such as v5litepod-16 or v6e-8"
  need RUNTIME '([a-z0-9.-]+)?' "a version such as v2-alpha-tpuv5-lite, or nothing"
  need PROVISIONING 'spot|on-demand|reserved' "spot, on-demand or reserved"
  need SERVICE_ACCOUNT '([a-z0-9-]+@[a-z0-9.-]+)?' "an e-mail address, or nothing"
  need CONFIG '[^[:space:]]+\.py(:[^[:space:]]+)?' "a configuration such as configs/lsun.py:church,release"
  need WORKDIR "$bucket" "a folder in a bucket, such as gs://my-bucket/runs/church, without spaces"
  need DATA_DIR "($bucket)?" "a folder in a bucket, such as gs://my-bucket/tensorflow_datasets, or nothing"
  need PYTHON_VERSION '3\.1[123]' "3.11, 3.12 or 3.13"
  need LOG_WORKER '[0-9]{1,4}' "the number of a host"
  need POLL_SECONDS '[0-9]{1,4}(\.[0-9]+)?' "seconds"
  need WAIT_HOURS '[0-9]{1,4}' "whole hours"
  need MAX_PREEMPTIONS '[0-9]{1,5}' "a whole number"
  need MAX_CRASHES '[0-9]{1,5}' "a whole number"
  need DELETE_WHEN_DONE 'yes|no' "yes or no"
  need_program gcloud "see https://cloud.google.com/sdk/docs/install"
  need_program git "it packs the commit that is sent to the hosts"
  set_runtime
}

# set_size: sets num_devices of the slice, as JAX counts them, num_hosts, and its topology for plan; 0 when not known.
# Source: https://cloud.google.com/tpu/docs/v5e, .../v6e, .../v5p, .../v4
set_size() {
  local number=${ACCELERATOR##*-} version=${ACCELERATOR%-*}
  num_devices=0 num_hosts=0 topology=
  case $version in
    v5litepod | v6e)
      # Up to eight chips are one host; hosts of larger slices have four.
      num_devices=$number
      num_hosts=$((number <= 8 ? 1 : number / 4))
      ;;
    v4 | v5p)
      # The name counts cores; both cores of a chip are one device, and a host has four chips.
      num_devices=$((number / 2))
      num_hosts=$((number <= 8 ? 1 : number / 8))
      ;;
    v2 | v3)
      # A core is a device; a host has eight.
      num_devices=$number
      num_hosts=$((number <= 8 ? 1 : number / 8))
      ;;
  esac
  [[ $version != v5litepod ]] || version=v5e
  if [[ $version == v5e || $version == v6e ]]; then
    # As square as it gets: 2x2, 2x4, 4x4, 4x8 ...
    local side=1
    while ((4 * side * side <= num_devices)); do
      side=$((2 * side))
    done
    topology=$version:${side}x$((num_devices / side))
  fi
}

# check: has main look at the job as the hosts would be given it.
check() {
  [[ $checking == yes ]] || return 0
  set_size
  ((num_devices)) ||
    refuse "the devices of ACCELERATOR '$ACCELERATOR' are not known here, so the job cannot be checked; --no_check skips it"
  # What the hosts get of DATA_DIR, and nothing of this machine.
  job_env=(-u TFDS_DATA_DIR)
  [[ -z $DATA_DIR ]] || job_env=("TFDS_DATA_DIR=$DATA_DIR")
  check_job "$num_devices" "$num_hosts" --noshared_disk "${training_flags[@]}"
  [[ -z $topology ]] || name_plan "$topology"
}

# ask_first COMMAND: says what it will act on, and asks; without a terminal --yes must have been given.
ask_first() {
  local about answer=
  must_ask "$1" "$NAME" || return 0
  about=$(tpus queued-resources describe "$NAME" '--format=value(state.state,createTime)') ||
    give_up "nothing is known of $NAME in $ZONE of project $PROJECT, so nothing is done; the lines above say why"
  # shellcheck disable=SC2086 # two words: its state, and since when it is there
  set -- "$1" $about
  say "$NAME in $ZONE of project $PROJECT: ${2-unknown}, asked for at ${3-an unknown time}"
  [[ ${2-} != ACTIVE ]] || tpus tpu-vm ssh "$NAME" --worker=all "--command=$ask" || say "its hosts do not answer"
  read -r -p "$1 $NAME? [y/N] " answer || true
  case $answer in
    y | Y | yes) ;;
    *) give_up "nothing was done to $NAME" ;;
  esac
}

place=() # flags that every gcloud command ends with
tpus() {
  gcloud compute tpus "$@" "${place[@]}"
}

create() {
  local flags=()
  case $PROVISIONING in
    spot) flags+=(--spot) ;;
    reserved) flags+=(--reserved) ;;
  esac
  [[ -z $SERVICE_ACCOUNT ]] || flags+=("--service-account=$SERVICE_ACCOUNT")
  step "asking for $ACCELERATOR" gcloud compute tpus queued-resources create "$NAME" "--node-id=$NAME" \
    "--accelerator-type=$ACCELERATOR" "--runtime-version=$RUNTIME" ${flags[@]+"${flags[@]}"} "${place[@]}"
}

# The state of the request, such as ACTIVE; fails when it cannot be had.
slice_state() {
  tpus queued-resources describe "$NAME" '--format=value(state.state)'
}

# The state of the hosts, such as READY.
node_state() {
  tpus tpu-vm describe "$NAME" '--format=value(state)'
}

await_slice() {
  local state='' before='' failures=0 deadline=$((SECONDS + 3600 * WAIT_HOURS))
  if [[ $dry_run == yes ]]; then
    show gcloud compute tpus queued-resources describe "$NAME" '--format=value(state.state)' "${place[@]}"
    return
  fi
  while true; do
    if state=$(slice_state); then
      failures=0
    else
      failures=$((failures + 1))
      state=$before
    fi
    ((failures < 10)) || give_up "the state of $NAME could not be had ten times in a row; the lines above say why"
    if [[ $state != "$before" ]]; then
      say "$NAME is $state"
      before=$state
    fi
    case $state in
      ACTIVE) return ;;
      FAILED | SUSPENDING | SUSPENDED | DELETING)
        give_up "$NAME is $state instead of ACTIVE; 'gcloud compute tpus queued-resources describe $NAME' says why, then delete it"
        ;;
    esac
    ((SECONDS < deadline)) || give_up "$NAME is still $state after $WAIT_HOURS hours; it stays in the queue, delete removes it"
    sleep "$POLL_SECONDS"
  done
}

# on_hosts WHAT WHICH WORD...: a command on one or all hosts.
on_hosts() {
  local what=$1 which=$2
  shift 2
  step "$what" gcloud compute tpus tpu-vm ssh "$NAME" "--worker=$which" "--command=$(quoted "$@")" "${place[@]}"
}

# This commit with enough of git to know its name.
pack() {
  if [[ -n $(git -C "$root" status --porcelain) ]]; then
    say "there are changes that are not committed: they are not sent to the hosts"
  fi
  git clone --quiet --depth 1 "file://$root" "$packed/$remote" || return
  tar -czf "$packed/$remote.tar.gz" -C "$packed" "$remote"
}

packed=${TMPDIR:-/tmp} # folder of what is sent
install() {
  if [[ $dry_run == no ]]; then
    packed=$(mktemp -d) || give_up "no temporary folder can be made"
    trap 'rm -rf "$packed"' EXIT
    pack || give_up "packing the commit failed; the lines above say why"
  fi
  step "sending the code" gcloud compute tpus tpu-vm scp "$packed/$remote.tar.gz" "$NAME:$remote.tar.gz" \
    --worker=all "${place[@]}"
  on_hosts "unpacking the code" all tar -xzf "$remote.tar.gz" --recursive-unlink
  on_hosts "installing the packages" all bash "$remote/launch/on_host.sh" install "$PYTHON_VERSION"
}

start() {
  on_hosts "starting" all bash "$remote/launch/on_host.sh" start "$DATA_DIR" "${training_flags[@]}"
}

status() {
  if [[ $dry_run == no ]]; then
    say "$NAME is $(slice_state || echo unknown), its hosts are $(node_state || echo unknown)"
  fi
  step "asking the hosts" gcloud compute tpus tpu-vm ssh "$NAME" --worker=all "--command=$ask" "${place[@]}"
}

delete() {
  # --force also deletes the node, without which the request cannot go.
  step "deleting $NAME" gcloud compute tpus queued-resources delete "$NAME" --force "${place[@]}"
}

# A request that is on its way out can only be deleted when it has got there.
delete_what_is_left() {
  while [[ $(slice_state) == SUSPENDING ]]; do
    sleep "$POLL_SECONDS"
  done
  delete
}

# look: sets `seen` to running, limping, finished, mistake, crashed, empty, preempted or unknown.
look() {
  local state answers
  seen=unknown
  state=$(slice_state) || return 0
  case $state in
    ACTIVE) ;;
    FAILED | SUSPENDING | SUSPENDED) seen=preempted && return ;;
    *) return 0 ;;
  esac
  case $(node_state) in
    READY) ;;
    PREEMPTED | TERMINATED | STOPPED) seen=preempted && return ;;
    *) return 0 ;;
  esac
  answers=$(tpus tpu-vm ssh "$NAME" --worker=all "--command=$ask") || return 0
  printf '%s\n' "$answers"
  case $answers in
    *"run: running"*"run: ended"* | *"run: ended"*"run: running"*) seen=limping ;;
    *"run: running"*) seen=running ;;
    *"run: lost"* | *"run: ended "[1-9]*) seen=crashed ;;
    *"run: none"*) seen=empty ;;
    *"run: ended 0"*) seen=finished ;;
  esac
  # All hosts refuse wrong flags; one that was lost takes the others with it in other ways.
  if [[ $seen == crashed && ! $answers =~ "run: "(none|lost|running|ended [013-9]|ended 2[0-9]) ]]; then
    seen=mistake
  fi
}

preemptions=0
crashes=0

# count_preemption: says that the slice was taken away, unless that happened too often.
count_preemption() {
  preemptions=$((preemptions + 1))
  crashes=0
  if ((preemptions > MAX_PREEMPTIONS)); then
    give_up "$NAME was preempted $preemptions times and MAX_PREEMPTIONS is $MAX_PREEMPTIONS; run goes on from $WORKDIR"
  fi
  say "preempted ($preemptions of $MAX_PREEMPTIONS): asking for another slice; the run goes on from $WORKDIR"
}

bring_up() {
  create
  await_slice
  install
  start
}

# A slice can also be taken away while it is set up.
bring_up_until_it_stands() {
  until (bring_up); do
    case $(slice_state 2>/dev/null) in
      SUSPENDING | SUSPENDED) ;;
      *) exit 1 ;;
    esac
    count_preemption
    delete_what_is_left
  done
}

begin_again() {
  count_preemption
  delete_what_is_left
  bring_up_until_it_stands
}

start_again() {
  crashes=$((crashes + 1))
  if ((crashes > MAX_CRASHES)); then
    give_up "main failed $crashes times on a sound slice; 'launch/tpu_vm.sh logs' shows why, and $NAME is kept: delete it"
  fi
  say "main ended on a sound slice: starting it again ($crashes of $MAX_CRASHES)"
  on_hosts "ending what is left" all bash "$remote/launch/on_host.sh" stop
  start
}

# act: does what the last look calls for.
act() {
  case $seen in
    mistake) give_up "main refused its flags, its sentence stands above; $NAME is kept: correct them and start, or delete it" ;;
    preempted) begin_again ;;
    empty) install && start ;;
    crashed) start_again ;;
  esac
}

watch_until_done() {
  local blind=0 limps=0
  while true; do
    sleep "$POLL_SECONDS"
    look
    if [[ $seen == crashed || $seen == mistake ]]; then
      # Hosts whose neighbour was taken away fail before the slice is known to be gone.
      sleep "$POLL_SECONDS"
      look
    fi
    [[ $seen == unknown ]] && blind=$((blind + 1)) || blind=0
    ((blind < 20)) || give_up "nothing could be learnt of $NAME 20 times in a row; the lines above say why"
    # Hosts that go on without one that failed are to end by themselves; if they do not, they hang.
    [[ $seen == limping ]] && limps=$((limps + 1)) || limps=0
    ((limps < 10)) || seen=crashed
    [[ $seen != finished ]] || return 0
    act
  done
}

run_to_the_end() {
  local state
  if [[ $dry_run == yes ]]; then
    bring_up
    status
  else
    state=$(slice_state 2>/dev/null) || state=absent
    case $state in
      absent) bring_up_until_it_stands ;;
      FAILED | SUSPENDING | SUSPENDED) begin_again ;;
      *) say "$NAME is there already: watching it" && await_slice ;;
    esac
    watch_until_done
    say "the run is finished; it lies in $WORKDIR"
  fi
  [[ $DELETE_WHEN_DONE == no ]] || delete
}

# take_command: sets command, and refuses flags before it, or flags of main where they have no effect.
take_command() {
  command=${words[0]-}
  case $command in
    run | create | start | wait | install | status | logs | stop | delete) ;;
    '') refuse "a command is missing, expected $commands" ;;
    --*) refuse "'$command' stands where the command is expected, $commands; flags of inr_gan_jax.main stand behind it" ;;
    *) refuse "command '$command' is unknown, expected $commands" ;;
  esac
  take_main_flags '' ${words[@]+"${words[@]:1}"}
  case $command in
    run | create | start) ;;
    *) ((${#words[@]} == 1)) || refuse "$command takes no flags of inr_gan_jax.main, but '${words[1]}' is given" ;;
  esac
}

take_flags "$@"
take_command
check_variables
cd "$root"
place=("--zone=$ZONE" "--project=$PROJECT" --quiet)
training_flags=("--config=$CONFIG" "--workdir=$WORKDIR" --multiprocess --expect=tpu ${main_flags[@]+"${main_flags[@]}"})
case $command in
  run)
    check
    run_to_the_end
    ;;
  create | start)
    check
    "$command"
    ;;
  wait) await_slice ;;
  install | status) "$command" ;;
  logs) on_hosts "following the log" "$LOG_WORKER" tail -n 100 -F inr_gan_jax.log ;;
  stop)
    ask_first stop
    on_hosts "stopping" all bash "$remote/launch/on_host.sh" stop
    ;;
  delete)
    ask_first delete
    delete
    ;;
esac
