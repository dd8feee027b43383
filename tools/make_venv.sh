#!/bin/sh
# make_venv.sh FOLDER PIP-ARGUMENT...
#
# Makes the virtual environment FOLDER, unless one is there that works, and installs into it.
# PYTHON names the interpreter to make it from (default: python3).
set -eu

python=${PYTHON:-python3}
folder=$1
shift

fail() {
    echo "make_venv.sh: $*" >&2
    exit 1
}

can_make_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

install_venv_module() {
    # Debian keeps ensurepip in a package of its own.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing $package"
        apt-get install -y -q "$package" || { apt-get update -q && apt-get install -y -q "$package"; } || true
    fi
    can_make_venv || fail "$python cannot make virtual environments: install $package (Debian, Ubuntu:" \
        "sudo apt-get install $package) or name another interpreter: make PYTHON=/path/to/python3"
}

install_jpeg_library() {
    # The native core is built against it; without it imagemill is installed all the same, and is slower.
    if command -v dpkg >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] &&
        ! { command -v c++ && dpkg -s libjpeg62-turbo-dev; } >/dev/null 2>&1; then
        echo "installing g++ and libjpeg62-turbo-dev"
        apt-get install -y -q g++ libjpeg62-turbo-dev ||
            { apt-get update -q && apt-get install -y -q g++ libjpeg62-turbo-dev; } ||
            echo "no libjpeg62-turbo-dev to be had: imagemill will do without its native core"
    fi
}

command -v "$python" >/dev/null || fail "no $python: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "imagemill needs Python 3.11 or newer, $python is $("$python" --version): make PYTHON=/path/to/python3"

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    can_make_venv || install_venv_module
    echo "making $folder with $("$python" --version)"
    "$python" -m venv --clear "$folder"
fi

case " $* " in *" -e "*) install_jpeg_library ;; esac

echo "installing into $folder: $*"
start=$(date +%s)
"$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "$@"
echo "$folder is ready ($(($(date +%s) - start)) s)"
