#!/bin/sh
# The same line on each of two hosts: sh examples/torchrun.sh a:29500 target/release/jacobi --check
#
# a is a host of both; torchrun meets there at port 29500, the drones at ports of their own.
endpoint=${1:?"where torchrun meets, as in a:29500"}
shift
exec torchrun --nnodes="${NODES:-2}" --nproc-per-node="${DRONES_PER_NODE:-1}" \
    --rdzv-backend=c10d --rdzv-endpoint="$endpoint" --no-python "$@"
