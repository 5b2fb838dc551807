#!/usr/bin/env bash
# Show what an upgrade breaks: install the newest versions of everything into a new virtual environment, list how they
# differ from .ci/lock, and run `pytest -m "not slow"` with them.
#
#   [PYTHON=python3.11] [TESTS="tests/models tests/apis"] tools/check_upgrade.sh FOLDER
#
# FOLDER receives the environment, .venv, the differences, versions.diff, and the log, tests.log. Ends with 1 when a test
# failed. If all passes, tools/lock_versions.sh writes the new versions down.
set -euo pipefail

if [ $# -ne 1 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
lock=.ci/lock/python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
rm -rf "$folder/.venv"
make PYTHON="$python" VENV="$folder/.venv" LOCK= install-tests

"$folder/.venv/bin/python" -m pip freeze --all --exclude-editable --exclude pip | LC_ALL=C sort --ignore-case > "$folder/versions.txt"
if diff "$lock" "$folder/versions.txt" > "$folder/versions.diff"; then
    echo "Nothing is newer than in $lock."
else
    echo "In $lock (<), and newest (>):"
    grep '^[<>]' "$folder/versions.diff"
fi
# shellcheck disable=SC2086
"$folder/.venv/bin/python" -m pytest -m 'not slow' ${TESTS-} 2>&1 | tee "$folder/tests.log"
