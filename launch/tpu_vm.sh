#!/usr/bin/env bash
# Trains on a Cloud TPU VM, pod slice or several slices, and goes on after pre-emption until the last step.
# Use: ZONE=europe-west4-b ACCELERATOR=v5litepod-16 SHARE=gs://my-bucket launch/tpu_vm.sh up NAME CONFIG [key=value ...]
# Then `launch/tpu_vm.sh delete NAME`, or the bill goes on. --dry-run first prints the cloud commands and runs none.
set -euo pipefail

usage() {
  cat <<'TEXT'
launch/tpu_vm.sh [--dry-run] COMMAND NAME [ARGUMENTS]

  up NAME CONFIG [key.path=value ...]    create, install and run: all there is to it
  create NAME                            ask for the TPU, and wait until it is there
  install NAME                           copy this checkout as it is (without what git ignores), and install it
  run NAME CONFIG [key.path=value ...]   train on all workers and show the log of the first; after pre-emption the TPU
                                         is asked for again, and the run goes on. If it is running already, its log is
                                         shown: say this again after a lost connection.
  stop NAME                              save and stop on all workers
  delete NAME                            give the TPU back

The work directory is /mnt/electra/runs/NAME on the workers; /mnt/electra is the share. Say where the text is in the
same way: 'data.source=text:/mnt/electra/corpus/*.txt'.

Environment:
  ZONE           zone of the TPU (required)
  ACCELERATOR    accelerator type, such as v5litepod-16 or v4-32 (create, up, run)
  SHARE          gs://BUCKET, mounted by gcsfuse, or HOST:/EXPORT, mounted by NFS: runs and prepared tokens lie there,
                 and every worker sees them (install, up, run)
  RUNTIME        software version of the TPU VM (default: v2-alpha-tpuv5-lite, which goes with v5litepod)
  SLICES         slices of the accelerator, joined over the data-centre network (default: 1)
  SPOT           1 (default): cheap, may be pre-empted; 0: on demand
  PROJECT        project (default: that of gcloud)
  PAUSE          seconds between two looks at the TPU (default: 30)
  CRASHES        how often a run that crashes without pre-emption is started again (default: 3)
TEXT
}

die() {
  echo "error: $1" >&2
  exit 2
}

say() { echo "tpu_vm.sh: $*" >&2; }

# Every cloud command goes through here.
cloud() {
  local words=(gcloud compute tpus "$@" "--zone=$ZONE")
  [[ -z "${PROJECT:-}" ]] || words+=("--project=$PROJECT")
  if ((dry_run)); then
    printf '%q ' "${words[@]}"
    echo
  else
    "${words[@]}"
  fi
}

# Names of the slices, one a line.
nodes() {
  local slice
  if ((SLICES == 1)); then
    echo "$name"
  else
    for ((slice = 0; slice < SLICES; slice++)); do echo "$name-$slice"; done
  fi
}

# Words for tpu_vm_worker.sh on every worker of every slice.
on_all_workers() {
  local node
  for node in $(nodes); do
    cloud tpu-vm ssh "$node" --worker=all "--command=$worker$(printf ' %q' "$@")" || return
  done
}

# ACTIVE, WAITING_FOR_RESOURCES, PROVISIONING, SUSPENDED (pre-empted), FAILED and so on; nothing where no answer came.
state() { cloud queued-resources describe "$name" '--format=value(state.state)' || true; }

# Fails when it was pre-empted before it could be used.
create() {
  local request=(queued-resources create "$name" "--accelerator-type=$ACCELERATOR" "--runtime-version=$RUNTIME")
  if ((SLICES == 1)); then
    request+=("--node-id=$name")
  else
    request+=("--node-count=$SLICES" "--node-prefix=$name")
  fi
  ((SPOT == 0)) || request+=(--spot)
  cloud "${request[@]}" || die "the TPU $name was not granted; see above"
  local now
  while true; do
    now=$(state)
    case $now in
      ACTIVE) return 0 ;;
      FAILED) die "the request for the TPU $name failed (launch/tpu_vm.sh delete $name removes it)" ;;
      SUSPEND*) return 1 ;;
      gcloud*) echo "$now" && return 0 ;; # the dry run
    esac
    say "waiting for $name: ${now:-no answer}"
    sleep "$PAUSE"
  done
}

install() {
  local folder node
  folder=$(mktemp -d)
  (cd "$repository" && git ls-files -z --cached --others --exclude-standard |
    tar --null --files-from=- --ignore-failed-read -czf "$folder/electra_jax.tar.gz")
  for node in $(nodes); do
    cloud tpu-vm scp "$folder/electra_jax.tar.gz" "$node:electra_jax.tar.gz" --worker=all || return
    cloud tpu-vm ssh "$node" --worker=all \
      "--command=mkdir -p electra_jax && tar -xzf electra_jax.tar.gz -C electra_jax" || return
  done
  rm -r "$folder"
  on_all_workers install "$SHARE"
}

# The log of the first worker until the run ends; exit status of launch/train.py, or 255 where it cannot be reached.
follow() { cloud tpu-vm ssh "$(nodes | head -n 1)" --worker=0 "--command=$worker follow"; }

delete() { cloud queued-resources delete "$name" --force --quiet; }

again() {
  delete || true # perhaps it is gone already
  create && install && on_all_workers start "$name" "$@"
}

run() {
  local status now crashes=0
  on_all_workers start "$name" "$@" || say "not every worker could be reached"
  while true; do
    status=0
    follow || status=$?
    if ((dry_run)); then
      echo "# and after pre-emption, as often as it comes:"
      state
      again "$@"
      return
    elif ((status == 0)); then
      say "trained to the last step; 'launch/tpu_vm.sh delete $name' ends the bill"
      return
    elif ((status == 76)); then
      say "stopped, as 'launch/tpu_vm.sh stop $name' asked; 'run' goes on, and 'delete' ends the bill"
      exit 75
    elif ((status == 2)); then
      say "what is said above must be put right first; '$name' is still there"
      exit 2
    fi
    sleep "$PAUSE" # a worker that is being taken away can be reached for a while after it was told
    now=$(state)
    if [[ -z $now ]]; then
      say "no answer about $name; asking again"
    elif [[ $now != ACTIVE ]]; then
      say "$name is $now: pre-empted; asking for another, where the run goes on"
      again "$@" || say "pre-empted before the run went on"
    elif ((status == 255)); then
      say "the connection was lost; looking again"
    elif ((status != 75 && ++crashes > CRASHES)); then
      say "crashed $crashes times with the TPU still there (exit status $status): giving up"
      exit 1
    else
      say "ended with exit status $status and the TPU still there; starting again"
      on_all_workers stop || true # the others may still wait for the one that ended
      { install && on_all_workers start "$name" "$@"; } || say "not every worker could be reached"
    fi
  done
}

need_accelerator() {
  [[ -n "${ACCELERATOR:-}" ]] || die "ACCELERATOR is not set: its type, such as ACCELERATOR=v5litepod-16"
}

need_share() {
  [[ "${SHARE:-}" =~ ^gs://[^/]+$ || "${SHARE:-}" =~ ^[^/:]+:/ ]] ||
    die "SHARE is '${SHARE:-}': gs://BUCKET or HOST:/EXPORT, which every worker is to see"
}

need_config() {
  local example="a path in this checkout, such as configs/pretrain/small.yaml"
  [[ $# -gt 0 ]] || die "CONFIG is missing: $example"
  [[ -f "$repository/$1" ]] || die "CONFIG is $1, where no file is: $example"
}

dry_run=0
if [[ "${1:-}" == --dry-run ]]; then
  dry_run=1
  shift
fi
if [[ $# == 0 || $1 == --help || $1 == -h ]]; then
  usage
  exit 0
fi
verb=$1
name=${2:-}
shift $(($# < 2 ? $# : 2))
[[ $name =~ ^[a-z][a-z0-9-]*$ ]] || die "NAME is '$name': use small letters, digits and hyphens (see --help)"
[[ -n "${ZONE:-}" ]] || die "ZONE is not set: the zone of the TPU, such as ZONE=europe-west4-b"
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SLICES=${SLICES:-1}
SPOT=${SPOT:-1}
PAUSE=${PAUSE:-30}
CRASHES=${CRASHES:-3}
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
worker="bash electra_jax/launch/tpu_vm_worker.sh"
gone="$name was pre-empted before it could be used (launch/tpu_vm.sh delete $name removes the request)"

case $verb in
  create | up | run) need_accelerator ;;
esac
case $verb in
  install | up | run) need_share ;;
esac
case $verb in
  up | run) need_config "$@" ;;
esac
case $verb in
  create) create || die "$gone" ;;
  install) install ;;
  run) run "$@" ;;
  up)
    create || die "$gone"
    install || say "not every worker could be reached"
    run "$@"
    ;;
  stop) on_all_workers stop for_good ;;
  delete) delete ;;
  *) die "no such command: $verb (see --help)" ;;
esac
