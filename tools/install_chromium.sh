#!/bin/sh
# install_chromium.sh
#
# Installs Debian's chromium, in which a test opens the pages of `imagemill report`, where it is missing and where it
# can be installed. Elsewhere that test is skipped, unless REQUIRE_CHROMIUM is set.
set -eu

found() {
    command -v chromium || command -v chromium-browser || command -v google-chrome || command -v chrome
}

found >/dev/null && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "installing chromium"
    apt-get install -y -q --no-install-recommends chromium ||
        { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; } || true
fi
found >/dev/null && exit 0
echo "no Chromium to be had: its tests will be skipped (Debian, Ubuntu: sudo apt-get install chromium)" >&2
[ -z "${REQUIRE_CHROMIUM:-}" ]
