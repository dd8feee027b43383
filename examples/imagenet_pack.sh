#!/usr/bin/env bash
# ImageNet (or any class folders) into a dataset, in the format that is asked for, and a look at what came of it.
#
#   examples/imagenet_pack.sh ILSVRC2012/ imagenet/                 train/ and val/ of class folders, as they came
#   examples/imagenet_pack.sh ILSVRC2012/ imagenet/ parquet         in another format
#   PIXELS=resized examples/imagenet_pack.sh ILSVRC2012/ small/     short side 256, re-encoded once
#
# Several machines: the same line under torchrun or srun, each rank packs its share (examples/cluster). Run again after
# whatever stopped it. PYTHON, LIMIT and WORKERS are taken from the environment.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: imagenet_pack.sh SRC OUT [FORMAT]" >&2
    exit 2
fi
source=$1 out=$2 format=${3:-arrow}
imagemill=("${PYTHON:-python3}" -m imagemill)

options=(--format "$format" --shard-size 256MB)
if [ "${PIXELS:-original}" = resized ]; then
    options+=(--pixels resized --size 256 --fit short --quality 90)
fi
# A stream cannot be shuffled when it is read: its order is mixed when it is written.
case $format in tar | tfrecord*) options+=(--order shuffled) ;; esac
if [ -n "${LIMIT:-}" ]; then options+=(--limit "$LIMIT"); fi
if [ -n "${WORKERS:-}" ]; then options+=(--workers "$WORKERS"); fi
# Folders train/ and val/ are the splits; a pile without them is dealt out.
if [ ! -d "$source/train" ]; then options+=(--split 90/10); fi

"${imagemill[@]}" pack "$source" "$out" "${options[@]}"
"${imagemill[@]}" verify "$out"
"${imagemill[@]}" info "$out"
