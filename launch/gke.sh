#!/usr/bin/env bash
# Submits a training run to a GKE cluster with TPUs by `gcluster job submit` of the Cluster Toolkit, after checking it here.
#
#   PROJECT=my-project IMAGE=us-docker.pkg.dev/my-project/inr-gan/train:tpu WORKDIR=gs://my-bucket/runs/church \
#     launch/gke.sh [flags of inr_gan_jax.main]
#   launch/gke.sh --dry_run       # shows the commands and runs none
#
# gcluster writes the JobSet, queues it, starts it again after a preemption, and shows, lists and ends jobs: `gcluster job
# logs`, `list`, `cancel`. What is done here: the job is checked first, and its flags become one command.
#
# Source: https://docs.cloud.google.com/cluster-toolkit/docs/reference/gcluster-job-submit
set -euo pipefail

# --- Variables: change them here or in the environment --------------------------------------------------------------
PROJECT=${PROJECT:-}                                # id of the Google Cloud project
CLUSTER=${CLUSTER:-inr-gan}                         # name of the cluster
LOCATION=${LOCATION:-us-west4}                      # region or zone of the cluster
NAME=${NAME:-inr-gan}                               # of the job; one run, one name
QUEUE=${QUEUE:-}                                    # Kueue's LocalQueue; found by gcluster when empty
IMAGE=${IMAGE:-}                                    # of launch/Dockerfile with DEVICE=tpu, in a registry
ACCELERATOR=${ACCELERATOR:-tpu-v5-lite-podslice}    # label of the node pool, cloud.google.com/gke-tpu-accelerator
TOPOLOGY=${TOPOLOGY:-4x4}                           # of one slice, likewise cloud.google.com/gke-tpu-topology
CHIPS_PER_HOST=${CHIPS_PER_HOST:-4}                 # of the node pool's machine type: 4 for ct5lp-hightpu-4t
NUM_SLICES=${NUM_SLICES:-1}                         # slices of that topology, each a node pool
SPOT=${SPOT:-yes}                                   # yes: on Spot nodes only (cheap, preempted at any time); no: on any
SERVICE_ACCOUNT=${SERVICE_ACCOUNT:-default}         # of Kubernetes, with access to the bucket
CONFIG=${CONFIG:-configs/lsun.py:church,release}    # configuration of the run
WORKDIR=${WORKDIR:-}                                # run folder in a bucket, gs://...
DATA_DIR=${DATA_DIR:-}                              # folder of prepared sets, gs://...; empty when CONFIG says it
MAX_RESTARTS=${MAX_RESTARTS:-100}                   # after so many preemptions and crashes, give up
GRACE_SECONDS=${GRACE_SECONDS:-120}                 # for the last checkpoint where a node is drained
PYTHON=${PYTHON:-}                                  # checks the job; .venv/bin/python or python when empty
# ---------------------------------------------------------------------------------------------------------------------

# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

check_variables() {
  local bucket='gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?'
  need PROJECT '([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]' "the id of a project: 6 to 30 small letters, digits and hyphens"
  need CLUSTER '[a-z]([a-z0-9-]{0,38}[a-z0-9])?' "the name of a cluster"
  need LOCATION '[a-z]+-[a-z]+[0-9]+(-[a-z])?' "a region or a zone"
  need NAME '[a-z]([a-z0-9-]{0,37}[a-z0-9])?' "small letters, digits and hyphens, without spaces, at most 39"
  need QUEUE '([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?' "the name of a LocalQueue, or nothing"
  need IMAGE '[a-z0-9.:-]+(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})' "an image with its registry and tag"
  need ACCELERATOR 'tpu[a-z0-9-]+' "a label such as tpu-v5-lite-podslice or tpu-v6e-slice"
  need TOPOLOGY '[1-9][0-9]*x[1-9][0-9]*(x[1-9][0-9]*)?' "a topology such as 4x4 or 2x2x2"
  need CHIPS_PER_HOST '[1-9]' "chips of a host, 1 to 9"
  need NUM_SLICES '[1-9][0-9]{0,3}' "a number of slices"
  need SPOT 'yes|no' "yes or no"
  need SERVICE_ACCOUNT '[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?' "the name of a Kubernetes service account"
  need CONFIG '[^[:space:]]+\.py(:[^[:space:]]+)?' "a configuration such as configs/lsun.py:church,release"
  need WORKDIR "$bucket" "a folder in a bucket, such as gs://my-bucket/runs/church, without spaces"
  need DATA_DIR "($bucket)?" "a folder in a bucket, such as gs://my-bucket/tensorflow_datasets, or nothing"
  need MAX_RESTARTS '[0-9]{1,5}' "a whole number"
  need GRACE_SECONDS '[0-9]{1,4}' "whole seconds"
  need_program gcluster "see https://docs.cloud.google.com/cluster-toolkit/docs/setup/configure-environment"
}

# set_size: sets num_chips of a slice, num_hosts, compute_type as gcluster calls it, and the version for plan.
set_size() {
  num_chips=$((${TOPOLOGY//x/*}))
  if ((num_chips % CHIPS_PER_HOST)); then
    refuse "TOPOLOGY $TOPOLOGY has $num_chips chips, which hosts of CHIPS_PER_HOST=$CHIPS_PER_HOST do not divide"
  fi
  num_hosts=$((num_chips / CHIPS_PER_HOST))
  case $ACCELERATOR in
    tpu-v5-lite-podslice) compute_type=v5litepod-$num_chips version=v5e ;;
    tpu-v6e-slice) compute_type=v6e-$num_chips version=v6e ;;
    tpu-v5p-slice) compute_type=v5p-$num_chips version=v5p ;;
    # This name counts TensorCores, two per chip.
    tpu-v4-podslice) compute_type=v4-$((2 * num_chips)) version=v4 ;;
    *) refuse "ACCELERATOR is '$ACCELERATOR', expected tpu-v5-lite-podslice, tpu-v6e-slice, tpu-v5p-slice or tpu-v4-podslice" ;;
  esac
}

submit() {
  local flags=() program=(bash launch/train.sh)
  [[ $SERVICE_ACCOUNT == default ]] || flags+=("--service-account=$SERVICE_ACCOUNT")
  [[ -z $QUEUE ]] || flags+=("--queue=$QUEUE")
  [[ $SPOT == no ]] || flags+=(--node-constraint=cloud.google.com/gke-spot=true)
  # gcluster sets no variables of a pod's environment that every version of it would take.
  [[ -z $DATA_DIR ]] || program=(env "TFDS_DATA_DIR=$DATA_DIR" "${program[@]}")
  # Flags that main refused, exit code 2, do not get better.
  step "submitting" gcluster job submit "--project=$PROJECT" "--cluster=$CLUSTER" "--location=$LOCATION" "--name=$NAME" \
    "--image=$IMAGE" "--compute-type=$compute_type" "--topology=$TOPOLOGY" "--num-slices=$NUM_SLICES" \
    "--restarts=$MAX_RESTARTS" --restart-on-exit-codes=1,134,137,139,143 "--grace-period=${GRACE_SECONDS}s" \
    ${flags[@]+"${flags[@]}"} "--command=$(quoted "${program[@]}" "${training_flags[@]}")"
}

take_flags "$@"
take_main_flags '' ${words[@]+"${words[@]}"}
check_variables
set_size
cd "$root"
training_flags=("--config=$CONFIG" "--workdir=$WORKDIR" --multiprocess --expect=tpu ${main_flags[@]+"${main_flags[@]}"})
# What the pods get of DATA_DIR, and nothing of this machine.
job_env=(-u TFDS_DATA_DIR)
[[ -z $DATA_DIR ]] || job_env=("TFDS_DATA_DIR=$DATA_DIR")
check_job $((num_chips * NUM_SLICES)) $((num_hosts * NUM_SLICES)) --noshared_disk "${training_flags[@]}"
name_plan "$version:$TOPOLOGY"
submit
