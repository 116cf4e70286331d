#!/bin/sh
# Drones by hand, on this machine: sh examples/loop.sh 4 target/release/jacobi --check
#
# Four variables make a process a drone. `hivemind run -n 4` does the same and looks after them as well.
size=${1:?"how many drones"}
shift
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT

export HIVEMIND_SIZE="$size"
export HIVEMIND_JOB="loop-$$-$(date +%s)"          # no other job has this name
export HIVEMIND_ROOT="file:$directory/root"        # drone 0 writes here where it listens

pids=
rank=0
while [ "$rank" -lt "$size" ]; do
    HIVEMIND_RANK=$rank "$@" &
    pids="$pids $!"
    rank=$((rank + 1))
done

# The status of the first that failed, by number.
status=0
for pid in $pids; do
    wait "$pid" || { code=$?; [ "$status" -ne 0 ] || status=$code; }
done
exit "$status"
