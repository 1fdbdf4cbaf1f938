#!/usr/bin/env bash
# Makes the Python environment of compare.py with a current PyTorch, and prints the path of its
# interpreter.
#
#   python=$(tests/bench/venv.sh || tests/oracle/venv.sh)
#
# The registry's PyTorch is the CUDA build: 3 GB to fetch, 6 GB on disk, though only the CPU is used;
# no test needs it. It is kept in $FEDCELL_BENCH_VENV (default: fedcell/bench-venv in the user's cache
# folder). Exit code 77: it cannot be made, the reason is on stderr.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/venv.sh
. "$here/../venv.sh"

make_venv benchmark "${FEDCELL_BENCH_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/fedcell/bench-venv}" \
  "$here/requirements.txt" "torch, transformers, peft, safetensors.torch"
