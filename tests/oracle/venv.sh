#!/usr/bin/env bash
# Makes the Python environment of the oracle tests and prints the path of its interpreter.
#
#   python=$(tests/oracle/venv.sh) || exit $?     # 77: it cannot be made, the reason is on stderr
#
# The environment sees the distribution's torch and numpy and adds the pins of requirements.txt. It
# is kept in $FEDCELL_ORACLE_VENV (default: fedcell/oracle-venv in the user's cache folder) and made
# anew when the pins or the system's Python change.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=$here/requirements.txt
venv=${FEDCELL_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/fedcell/oracle-venv}
system_python=/usr/bin/python3 # the one that sees the distribution's torch, whatever PATH says

skip() {
  echo "oracle environment: $*" >&2
  exit 77
}

"$system_python" -c 'import torch, numpy' 2>/dev/null ||
  skip "$system_python has no torch or numpy (Debian: python3-torch, python3-numpy)"

key=$( (cat "$pins" && "$system_python" -VV) | sha256sum | cut -d' ' -f1)
is_current() { [[ -x $venv/bin/python && -f $venv/key && $(<"$venv/key") == "$key" ]]; }

if ! is_current; then
  mkdir -p "$(dirname "$venv")"
  # Two test runs may start at once: the second waits, then finds the first one's work.
  exec 9>"$venv.lock"
  flock 9
fi
if ! is_current; then
  log=$venv.log
  # Never delete a folder that this script did not make.
  if [[ -e $venv && ! -f $venv/pyvenv.cfg ]]; then
    skip "$venv exists and is no Python environment; remove it or set FEDCELL_ORACLE_VENV"
  fi
  rm -rf "$venv"
  echo "oracle environment: installing into $venv (log: $log)" >&2
  "$system_python" -m venv --system-site-packages "$venv" >"$log" 2>&1 ||
    skip "cannot make a virtual environment (Debian: python3-venv); see $log"
  "$venv/bin/python" -m pip install --no-input --no-deps --only-binary :all: \
    --disable-pip-version-check -r "$pins" >>"$log" 2>&1 ||
    skip "pip cannot install the pinned packages (offline?): $(tail -n 1 "$log")"
  "$venv/bin/python" -c 'import torch, transformers, peft, safetensors.torch' >>"$log" 2>&1 ||
    skip "the installed packages cannot be imported: $(tail -n 1 "$log")"
  echo "$key" >"$venv/key"
fi
echo "$venv/bin/python"
