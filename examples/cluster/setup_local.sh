#!/usr/bin/env bash
# setup_local.sh [ENVIRONMENT]
#
# Makes a virtual environment with imagemill on this machine (default: ./imagemill-env).
# IMAGEMILL_PACKAGE names what pip installs (default: the checkout that this script lies in, with the loader).
set -euo pipefail

environment=${1:-imagemill-env}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
package=${IMAGEMILL_PACKAGE:-"${checkout}[torch]"}

if [[ -e $environment && ! -e $environment/pyvenv.cfg ]]; then
    echo "setup_local.sh: $environment exists and is no virtual environment: name another folder" >&2
    exit 1
fi
python3 -m venv "$environment"
"$environment/bin/python" -m pip install "$package"
echo "ready: source $environment/bin/activate && imagemill doctor"
