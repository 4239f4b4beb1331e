#!/bin/sh
# Makes .venv from the locked, hashed requirements. Says what it does; a second run costs nothing.
set -eu

python=""
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11, 3.12 or 3.13 with venv found; install one (Debian: python3 python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

echo "setup: making .venv with $("$python" --version); it takes some seconds, and the download"
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; "$python" -m venv .venv; }
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/setup.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --requirement requirements/dev.txt
# The project itself: editable, built by the hatchling that is locked, with nothing else resolved.
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-build-isolation --no-deps --editable .
touch .venv/.ready
echo "setup: done"
