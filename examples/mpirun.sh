#!/bin/sh
# Open MPI's mpirun on two hosts: sh examples/mpirun.sh a:2,b:2 target/release/jacobi --check
#
# Rank 0 is on the first host of the list; mpirun doesn't tell the others, so this line does.
hosts=${1:?"which hosts, as in a:2,b:2"}
shift
first=${hosts%%[:,]*}
exec mpirun --host "$hosts" -x HIVEMIND_ROOT="$first:${HIVEMIND_PORT:-7000}" "$@"
