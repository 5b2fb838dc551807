#!/usr/bin/env bash
# Score on several GPUs of this machine: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
#
# The figures are those of one GPU, exactly. Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT. Without a GPU, GPUS
# is the number of processes.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [options of tools/test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
gpus=$3
shift 3

exec "${PYTHON:-python}" -m sipe_mmseg_cli.launch \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --nproc-per-node="$gpus" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    "$(dirname "${BASH_SOURCE[0]}")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
