#!/usr/bin/env bash
# What tpu_vm.sh runs on each worker of a TPU VM; not meant to be called by hand.
# Use: tpu_vm_worker.sh install SHARE | start NAME CONFIG [key.path=value ...] | follow | stop [for_good]
# `follow` ends with the exit status of launch/train.py: 0 done, 2 a mistake in the settings, 75 (or unknown) try again;
# or with 76: stopped before the end, because the user said so (stop for_good).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
share=${ELECTRA_SHARE:-/mnt/electra}
log=$HOME/electra_jax.log
ended=$HOME/electra_jax.status
process=$HOME/electra_jax.pid
for_good=$HOME/electra_jax.stopped

running() { [[ -f $process ]] && kill -0 "$(cat "$process")" 2>/dev/null; }

mount_share() {
  if mountpoint -q "$share"; then return; fi
  sudo mkdir -p "$share"
  case $1 in
    gs://*)
      sudo chown "$(id -u)" "$share"
      command -v gcsfuse >/dev/null || install_gcsfuse
      gcsfuse --implicit-dirs --rename-dir-limit=100000 "${1#gs://}" "$share"
      ;;
    *)
      command -v mount.nfs >/dev/null || sudo apt-get install -qq -y nfs-common
      sudo mount -t nfs "$1" "$share"
      ;;
  esac
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc from=https://packages.cloud.google.com/apt
  curl -fsSL "$from/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
  echo "deb [signed-by=$key] $from gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  sudo apt-get update -qq
  sudo apt-get install -qq -y gcsfuse
}

install() {
  mount_share "$1"
  # The images of TPU VMs have Python 3.10; uv brings a newer one.
  PATH=$PATH:$HOME/.local/bin
  command -v uv >/dev/null || python3 -m pip install --quiet --user uv
  [[ -x .venv/bin/python ]] || uv venv --quiet --python 3.12 .venv
  uv pip install --quiet --python .venv/bin/python -e '.[tpu]'
}

start() {
  if running; then
    echo "already running"
    return
  fi
  local name=$1 config=$2
  shift 2
  rm -f "$ended" "$for_good"
  # On its own, so that it survives the connection; the shell around it writes down how it ended.
  # shellcheck disable=SC2016
  setsid bash -c 'status=0; "${@:2}" || status=$?; echo "$status" >"$1"' bash "$ended" \
    .venv/bin/python -u launch/train.py --config "$config" --workdir "$share/runs/$name" \
    "data.cache_dir=$share/cache" "$@" >"$log" 2>&1 </dev/null &
  echo $! >"$process"
}

follow() {
  if ! running && [[ ! -f $ended ]]; then
    echo "nothing runs here"
    return 75
  fi
  tail --pid="$(cat "$process")" -n +1 -s 0.2 -f "$log"
  if [[ ! -f $ended ]]; then return 75; fi # ended with the machine
  local status
  status=$(cat "$ended")
  if ((status == 75)) && [[ -f $for_good ]]; then status=76; fi
  return "$status"
}

stop() {
  if [[ ${1:-} == for_good ]]; then touch "$for_good"; fi
  running || return 0
  local shell waited
  shell=$(cat "$process")
  pkill -TERM -P "$shell" || true # Python only
  for ((waited = 0; waited < ${STOP_SECONDS:-300}; waited++)); do
    running || return 0
    sleep 1
  done
  kill -KILL -- "-$shell"
}

"$@"
