#!/usr/bin/env bash
# Check the package on every stack it promises to run on: each Python with the oldest and the newest torch and the
# original OpenMMLab packages, the lower bounds of everything, the full MMCV, and the onedl-* fork. Each gets a virtual
# environment, an installation, an import and `pytest -m "not slow"`.
#
#   [PYTHONS="python3.10 python3.11 python3.12 python3.13"] [TORCHES="oldest newest"] [BOUNDS_PYTHON=python3.10]
#   [FULL_PYTHON=python3.11] [FORK_PYTHON=python3.11] [TESTS="tests/models tests/apis"] [KEEP=] \
#       tools/check_stacks.sh FOLDER
#
# FOLDER receives a copy of the sources, the environments (7 GB each; used again the next time, with KEEP= removed after
# their tests), the logs and the table, table.txt. What is set to nothing is left out; TESTS are all by default. Ends with
# 1 when anything failed.
set -euo pipefail

if [ $# -ne 1 ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0"
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A copy: what is installed is then what git would ship, and nothing that an earlier build has left behind.
sources=$folder/source
rm -rf "$sources"
mkdir "$sources"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from - | tar --extract -C "$sources"

row='%-14s %-8s %-16s %-8s %-14s %-14s %9s %-7s %s\n'
table=$folder/table.txt
# shellcheck disable=SC2059
printf "$row" stack Python torch NumPy MMCV mmseg 'install s' import tests > "$table"
failures=0

constraints=/dev/null

# check NAME PYTHON REQUIREMENT... : one row of the table, with the versions in the file $constraints
check() {
    local name=$1 python=$2 start imports=ok tests seconds
    shift 2
    local venv=$folder/$name log=$folder/$name.log
    echo "== $name: $python"
    start=$(date +%s)
    local install=("$venv/bin/python" -m pip install --disable-pip-version-check --quiet)
    # As in the Makefile: grad-cam without what it requires.
    if ! { "$python" -m venv "$venv" && "${install[@]}" --constraint "$constraints" "$@" &&
        "${install[@]}" --constraint "$constraints" --no-deps grad-cam ttach &&
        "${install[@]}" --force-reinstall --no-deps "$sources"; } > "$log" 2>&1; then
        echo "$name: the installation failed, see $log" | tee -a "$table"
        failures=$((failures + 1))
        return
    fi
    seconds=$(($(date +%s) - start))
    cd "$folder"
    "$venv/bin/python" -c 'import sipe_mmseg, mmseg.apis, mmseg.datasets, mmseg.models, mmpretrain.models' >> "$log" 2>&1 ||
        { imports=failed && failures=$((failures + 1)); }
    # The pytest command, unlike `python -m pytest`, tests the installed package instead of the folder it starts in.
    cd "$sources"
    # shellcheck disable=SC2086
    "$venv/bin/pytest" -q -m 'not slow' ${TESTS-} >> "$log" 2>&1 || failures=$((failures + 1))
    tests=$(tail -n 1 "$log")
    # shellcheck disable=SC2046,SC2059
    printf "$row" "$name" $("$venv/bin/python" - << 'EOF'
import platform
from importlib.metadata import distributions
versions = {d.metadata['Name']: d.version for d in distributions()}
def first(*names):
    return next((versions[name] for name in names if name in versions), 'missing')
print(platform.python_version(), first('torch'), first('numpy'), first('mmcv-lite', 'mmcv', 'onedl-mmcv'),
      first('mmsegmentation', 'onedl-mmsegmentation'))
EOF
    ) "$seconds" "$imports" "$tests" >> "$table"
    cd "$folder"
    [ -n "${KEEP-yes}" ] || rm -rf "$venv"
}

oldest=(torch==2.10.0 torchvision==0.25.0)
for python in ${PYTHONS-python3.10 python3.11 python3.12 python3.13}; do
    name=py$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
    for torch in ${TORCHES-oldest newest}; do
        requirements=("$sources[lite,crf,dev]")
        [ "$torch" = newest ] || requirements+=("${oldest[@]}")
        check "$name-$torch" "$python" "${requirements[@]}"
    done
done
if [ -n "${BOUNDS_PYTHON-python3.10}" ]; then
    # Every >= of what is installed as ==.
    constraints=$folder/bounds.txt
    sed -n '/^dependencies/,/^\[project.scripts/p' "$sources/pyproject.toml" |
        grep -o "'[A-Za-z0-9_.-]*>=[^']*" | sed "s/^'//; s/>=/==/" > "$constraints"
    [ -s "$constraints" ] || { echo 'pyproject.toml has no lower bounds'; exit 1; }
    check bounds "${BOUNDS_PYTHON-python3.10}" "$sources[lite,crf,dev]"
    constraints=/dev/null
fi
if [ -n "${FULL_PYTHON-python3.11}" ]; then
    # mmcv 2.1.0 is compiled, in many minutes, by a setuptools that still has pkg_resources and with the torch that is
    # there: as C++17, while torch asks for C++20 from some version after 2.13 on.
    python=${FULL_PYTHON-python3.11}
    "$python" -m venv "$folder/full"
    if "$folder/full/bin/python" -m pip install --quiet 'setuptools<82' wheel psutil "${oldest[@]}" &&
        MMCV_WITH_OPS=1 "$folder/full/bin/python" -m pip install --quiet --no-build-isolation mmcv==2.1.0; then
        check full "$python" "$sources[full,crf,dev]" "${oldest[@]}"
    else
        echo 'full: mmcv cannot be compiled' | tee -a "$table"
        failures=$((failures + 1))
    fi
fi
if [ -n "${FORK_PYTHON-python3.11}" ]; then
    # The fork's packages have other names than the ones the package requires, so pip must not look for those.
    check onedl "${FORK_PYTHON-python3.11}" torch torchvision numpy ftfy regex pydensecrf2==1.1 pytest hypothesis \
        pycocotools tensorboard scikit-learn tqdm onedl-mmengine onedl-mmcv onedl-mmsegmentation onedl-mmpretrain
fi

cat "$table"
[ "$failures" -eq 0 ]
