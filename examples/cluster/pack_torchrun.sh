#!/usr/bin/env bash
# pack_torchrun.sh RANKS SRC OUT [OPTION OF imagemill pack...]
#
# Packs with torchrun: RANKS processes of one worker each on this machine, or on each of several machines where
# TORCHRUN_ARGS says how they meet: TORCHRUN_ARGS="--nnodes 2 --rdzv-backend c10d --rdzv-endpoint host:29500".
# No process group is made, and no GPU is needed.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "usage: pack_torchrun.sh RANKS SRC OUT [OPTION OF imagemill pack...]" >&2
    exit 2
fi
ranks=$1
shift
read -ra rendezvous <<<"${TORCHRUN_ARGS:---standalone}"

torchrun "${rendezvous[@]}" --nproc-per-node "$ranks" --no-python imagemill pack "$@" --workers 1
imagemill verify "$2"
