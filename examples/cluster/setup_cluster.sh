#!/usr/bin/env bash
# setup_cluster.sh [ENVIRONMENT]
#
# Makes a virtual environment with imagemill on a cluster with environment modules (default: ~/imagemill-env).
# Run it once, on a login node. Jobs source ENVIRONMENT/activate_cluster.sh, which loads the same modules.
# IMAGEMILL_PACKAGE names what pip installs (default: the checkout that this script lies in, with the loader).
set -euo pipefail

# All that differs between clusters: the modules that bring Python 3.11 or newer (ask `ml spider Python`).
MODULES=(Stages/2025 GCC/13.3.0 Python/3.12.3)

environment=${1:-$HOME/imagemill-env}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
package=${IMAGEMILL_PACKAGE:-"${checkout}[torch]"}

if ! command -v ml >/dev/null; then
    echo "setup_cluster.sh: no 'ml' here: run it in a login shell of the cluster (bash -l ${BASH_SOURCE[0]})" >&2
    exit 1
fi
if [[ -e $environment && ! -e $environment/pyvenv.cfg ]]; then
    echo "setup_cluster.sh: $environment exists and is no virtual environment: name another folder" >&2
    exit 1
fi

ml purge
ml "${MODULES[@]}"
python3 -m venv "$environment"
environment=$(cd "$environment" && pwd)
"$environment/bin/python" -m pip install "$package"
{
    echo "ml purge"
    echo "ml ${MODULES[*]}"
    printf 'source %q\n' "$environment/bin/activate"
} >"$environment/activate_cluster.sh"
echo "ready: source $environment/activate_cluster.sh && imagemill doctor"
