#!/usr/bin/env bash
# Train on several GPUs of this machine: tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
#
# The batch size of a config counts for each GPU: for 16 images in all on 2 GPUs add
#   --cfg-options train_dataloader.batch_size=8
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT. Without a GPU, GPUS is the number of processes.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2

exec "${PYTHON:-python}" -m sipe_mmseg_cli.launch \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --nproc-per-node="$gpus" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" --launcher pytorch "$@"
