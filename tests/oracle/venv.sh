#!/usr/bin/env bash
# Makes the Python environment of the oracle tests and prints the path of its interpreter.
#
#   python=$(tests/oracle/venv.sh) || exit $?     # 77: it cannot be made, the reason is on stderr
#
# The environment sees the distribution's torch and numpy and adds the pins of requirements.txt. It
# is kept in $FEDCELL_ORACLE_VENV (default: fedcell/oracle-venv in the user's cache folder).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/venv.sh
. "$here/../venv.sh"

"$system_python" -c 'import torch, numpy' 2>/dev/null ||
  skip oracle "$system_python has no torch or numpy (Debian: python3-torch, python3-numpy)"

make_venv oracle "${FEDCELL_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/fedcell/oracle-venv}" \
  "$here/requirements.txt" "torch, transformers, peft, safetensors.torch" \
  --venv --system-site-packages --pip --no-deps
