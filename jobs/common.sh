# shellcheck shell=bash
# jobs/common.sh - what the shell scripts share; sourced, never run. Defines functions only.

# step TEXT: one line with the time since the script began.
step() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# die TEXT: what went wrong, then exit 1.
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

cores() { nproc 2>/dev/null || getconf _NPROCESSORS_ONLN; }

# The Python that sees the distribution's h5py and pandas. Another one (pyenv, conda) may come first
# on PATH and lack them; on a cluster a module's python3 is the right one.
fedcell_python() {
  local python
  for python in /usr/bin/python3 python3; do
    if "$python" -c 'import h5py, pandas, matplotlib, yaml' 2>/dev/null; then
      command -v "$python"
      return 0
    fi
  done
  return 1
}

# Open MPI refuses to run as root unless told twice; in a container root is often all there is.
allow_mpi_as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}

# mpi_run RANKS PROGRAM...: all cores shared out over the ranks. Without --bind-to none Open MPI ties
# each rank to one core, and the rank's threads share it.
mpi_run() {
  local ranks=$1 threads
  shift
  threads=$(($(cores) / ranks))
  ((threads >= 1)) || threads=1
  allow_mpi_as_root
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads} \
    mpirun -n "$ranks" --oversubscribe --bind-to none "$@"
}

# configure FOLDER CMAKE-OPTIONS...: Ninja where it is installed.
configure() {
  local folder=$1 generator=()
  shift
  # A folder keeps the generator that it was made with.
  if [[ ! -f $folder/CMakeCache.txt ]] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
  cmake -S . -B "$folder" "${generator[@]}" "$@"
}
