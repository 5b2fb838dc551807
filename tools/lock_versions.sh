#!/usr/bin/env bash
# Write down the versions that pip takes today, for each Python: .ci/lock/python3.11.txt and so on, which `make` installs.
# Nothing is installed; pip says what it would. A file is written once all of it is known.
#
#   [PYTHONS="python3.10 python3.11 python3.12 python3.13"] tools/lock_versions.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p .ci/lock

# resolve REQUIREMENT... : the packages with their versions, one in a line
resolve() {
    "$scratch/venv/bin/python" -m pip install --disable-pip-version-check --quiet --dry-run --ignore-installed \
        --report "$scratch/report.json" "$@" >&2
    "$scratch/venv/bin/python" - "$scratch/report.json" << 'EOF'
import json, sys
for each in json.load(open(sys.argv[1]))['install']:
    if 'dir_info' not in each['download_info']:  # the package itself
        print('{name}=={version}'.format(**each['metadata']))
EOF
}

for python in ${PYTHONS:-python3.10 python3.11 python3.12 python3.13}; do
    lock=.ci/lock/python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
    rm -rf "$scratch/venv"
    "$python" -m venv "$scratch/venv"
    resolve '.[lite,crf,dev]' > "$scratch/lock.txt"
    # As in the Makefile: grad-cam without what it requires.
    resolve --no-deps grad-cam ttach >> "$scratch/lock.txt"
    sed 's/+[^=]*$//' "$scratch/lock.txt" | LC_ALL=C sort --ignore-case > "$lock"
    echo "$lock: $(wc -l < "$lock") packages"
done
