#!/usr/bin/env bash
# Submits a training run to a GKE cluster with TPUs, as a JobSet: by kubectl, or by the Cluster Toolkit.
#
#   PROJECT=my-project IMAGE=us-docker.pkg.dev/my-project/inr-gan/train:tpu WORKDIR=gs://my-bucket/runs/church \
#     launch/gke/submit.sh kubectl
#   launch/gke/submit.sh [--dry_run] kubectl|gcluster [flags of inr_gan_jax.main]
#
#   kubectl    fills in launch/gke/jobset.yaml and applies it to the cluster that kubectl is connected to
#   gcluster   gcluster job submit, which writes a JobSet of its own and finds the queue of the cluster
#
# Source: https://docs.cloud.google.com/cluster-toolkit/docs/reference/gcluster-job-submit
set -euo pipefail

# --- Variables: change them here or in the environment --------------------------------------------------------------
PROJECT=${PROJECT:-}                                # id of the Google Cloud project (gcluster)
CLUSTER=${CLUSTER:-inr-gan}                         # name of the cluster (gcluster)
LOCATION=${LOCATION:-us-west4}                      # region or zone of the cluster (gcluster)
NAME=${NAME:-inr-gan}                               # of the JobSet; one run, one name
NAMESPACE=${NAMESPACE:-default}                     # of Kubernetes (kubectl)
QUEUE=${QUEUE:-}                                    # Kueue's LocalQueue; none when empty (gcluster: found by itself)
IMAGE=${IMAGE:-}                                    # of launch/Dockerfile with DEVICE=tpu, in a registry
ACCELERATOR=${ACCELERATOR:-tpu-v5-lite-podslice}    # label of the node pool, cloud.google.com/gke-tpu-accelerator
TOPOLOGY=${TOPOLOGY:-4x4}                           # of one slice, likewise cloud.google.com/gke-tpu-topology
CHIPS_PER_HOST=${CHIPS_PER_HOST:-4}                 # of the node pool's machine type: 4 for ct5lp-hightpu-4t
NUM_SLICES=${NUM_SLICES:-1}                         # slices of that topology, each a node pool
SPOT=${SPOT:-yes}                                   # yes: Spot nodes (cheap, preempted at any time); no
SERVICE_ACCOUNT=${SERVICE_ACCOUNT:-default}         # of Kubernetes, with access to the bucket
CONFIG=${CONFIG:-configs/lsun.py:church,release}    # configuration of the run
WORKDIR=${WORKDIR:-}                                # run folder in a bucket, gs://...
DATA_DIR=${DATA_DIR:-}                              # folder of prepared sets, gs://...; empty when CONFIG says it
MAX_RESTARTS=${MAX_RESTARTS:-100}                   # after so many preemptions and crashes, give up
GRACE_SECONDS=${GRACE_SECONDS:-120}                 # for the last checkpoint where a node is drained
# ---------------------------------------------------------------------------------------------------------------------

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/steps.sh
source "$folder/../steps.sh"

check_variables() {
  local bucket='gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?'
  local name='[a-z]([a-z0-9-]{0,37}[a-z0-9])?'
  need NAME "$name" "small letters, digits and hyphens, without spaces, at most 39"
  need NAMESPACE '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?' "a namespace"
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
  num_chips=$((${TOPOLOGY//x/*}))
  if ((num_chips % CHIPS_PER_HOST)); then
    refuse "TOPOLOGY $TOPOLOGY has $num_chips chips, which hosts of CHIPS_PER_HOST=$CHIPS_PER_HOST do not divide"
  fi
  # shellcheck disable=SC2034 # the manifest asks for it by its name
  NUM_HOSTS=$((num_chips / CHIPS_PER_HOST))
}

# yaml_string TEXT: the text in double quotes.
yaml_string() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# fill_in: prints the manifest.
fill_in() {
  local line key value indent argument
  while IFS= read -r line; do
    # shellcheck disable=SC2016 # ${ARGUMENT} as it stands in the file
    case $line in
      \#*) continue ;;
      *'# spot only') [[ $SPOT == yes ]] || continue ;;
      *'# queue only') [[ -n $QUEUE ]] || continue ;;
      *'# data only') [[ -n $DATA_DIR ]] || continue ;;
      *'${ARGUMENT}')
        indent=${line%%-*}
        for argument in "${training_flags[@]}"; do
          printf '%s- %s\n' "$indent" "$(yaml_string "$argument")"
        done
        continue
        ;;
    esac
    if [[ $line =~ \$\{([A-Z_]+)\} ]]; then
      key=${BASH_REMATCH[1]}
      value=${!key}
      line=${line/"\${$key}"/"$value"}
    fi
    printf '%s\n' "$line"
  done <"$folder/jobset.yaml"
}

submit_by_kubectl() {
  local manifest
  need_program kubectl "see https://kubernetes.io/docs/tasks/tools/"
  manifest=$(mktemp) || give_up "no temporary file can be made"
  # shellcheck disable=SC2064 # the file of now
  trap "rm -f '$manifest'" EXIT
  fill_in >"$manifest"
  if [[ $dry_run == yes ]]; then
    cat "$manifest"
  fi
  step "applying the manifest" kubectl apply "--filename=$manifest"
}

submit_by_gcluster() {
  local type flags=() program=(bash launch/train.sh)
  need PROJECT '([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]' "the id of a project: 6 to 30 small letters, digits and hyphens"
  need CLUSTER '[a-z]([a-z0-9-]{0,38}[a-z0-9])?' "the name of a cluster"
  need LOCATION '[a-z]+-[a-z]+[0-9]+(-[a-z])?' "a region or a zone"
  need_program gcluster "see https://docs.cloud.google.com/cluster-toolkit/docs/setup/configure-environment"
  case $ACCELERATOR in
    tpu-v5-lite-podslice) type=v5litepod-$num_chips ;;
    tpu-v6e-slice) type=v6e-$num_chips ;;
    tpu-v5p-slice) type=v5p-$num_chips ;;
    # This name counts TensorCores, two a chip.
    tpu-v4-podslice) type=v4-$((2 * num_chips)) ;;
    *) refuse "ACCELERATOR is '$ACCELERATOR', whose compute type is not known here; use kubectl" ;;
  esac
  [[ $SERVICE_ACCOUNT == default ]] || flags+=("--service-account=$SERVICE_ACCOUNT")
  [[ -z $QUEUE ]] || flags+=("--queue=$QUEUE")
  # gcluster sets no variables of a pod's environment that every version of it would take.
  [[ -z $DATA_DIR ]] || program=(env "TFDS_DATA_DIR=$DATA_DIR" "${program[@]}")
  # Flags that main refused, exit code 2, do not get better.
  step "submitting" gcluster job submit "--project=$PROJECT" "--cluster=$CLUSTER" "--location=$LOCATION" "--name=$NAME" \
    "--image=$IMAGE" "--compute-type=$type" "--topology=$TOPOLOGY" "--num-slices=$NUM_SLICES" "--restarts=$MAX_RESTARTS" \
    --restart-on-exit-codes=1,134,137,139,143 "--grace-period=${GRACE_SECONDS}s" ${flags[@]+"${flags[@]}"} \
    "--command=$(quoted "${program[@]}" "${training_flags[@]}")"
}

if [[ ${1-} == --dry_run ]]; then
  dry_run=yes
  shift
fi
way=${1-}
[[ $# == 0 ]] || shift
check_variables
training_flags=("--config=$CONFIG" "--workdir=$WORKDIR" --multiprocess --expect=tpu "$@")
case $way in
  kubectl) submit_by_kubectl ;;
  gcluster) submit_by_gcluster ;;
  *) refuse "the way is '$way', expected kubectl or gcluster" ;;
esac
