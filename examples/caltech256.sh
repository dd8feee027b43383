#!/usr/bin/env bash
# Caltech-256 straight from its archive, which is indexed and never extracted: 257 class folders into a dataset with the
# same share of every class in each split.
#
#   examples/caltech256.sh 256_ObjectCategories.tar caltech256/           as original files, in Arrow
#   examples/caltech256.sh 256_ObjectCategories.tar caltech256/ hdf5 64   arrays of 64x64, as the conversion library has it
#
# The archive is at https://data.caltech.edu/records/nyy15-4j048 (1.2 GB). PYTHON and LIMIT are taken from the environment.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: caltech256.sh ARCHIVE OUT [FORMAT [SIDE]]" >&2
    exit 2
fi
archive=$1 out=$2 format=${3:-arrow} side=${4:-}
imagemill=("${PYTHON:-python3}" -m imagemill)

options=(--format "$format" --split 80/10/10 --stratify)
if [ -n "$side" ]; then options+=(--pixels raw --size "${side}x${side}"); fi
if [ -n "${LIMIT:-}" ]; then options+=(--limit "$LIMIT"); fi

"${imagemill[@]}" pack "$archive" "$out" "${options[@]}"
"${imagemill[@]}" verify "$out"
"${imagemill[@]}" report "$out" "$out.html" --quick
