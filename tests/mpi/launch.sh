#!/usr/bin/env bash
# launch.sh RANKS PROGRAM [ARGUMENTS]: one MPI test program under mpirun, as CTest calls it.
set -euo pipefail
# shellcheck source=jobs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../jobs/common.sh"

# More ranks than cores: a rank that waits must give its core away.
export OMPI_MCA_mpi_yield_when_idle=1
ranks=$1
shift
# Lines that tell their rank: those of several ranks then never run into each other.
mpi_run "$ranks" --tag-output "$@"
