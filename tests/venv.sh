# shellcheck shell=bash
# tests/venv.sh - makes a cached Python environment; sourced by tests/oracle/venv.sh and
# tests/bench/venv.sh, which end with
#
#   make_venv WHAT FOLDER PINS IMPORTS [--venv OPTION]... [--pip OPTION]...
#
# FOLDER is made with the packages that the file PINS names, unless it is there already; it is made
# anew when the pins or the system's Python change. Prints the path of its interpreter. Exits with 77
# and the reason (after "WHAT environment: ") when it cannot be made, or IMPORTS ("torch, peft")
# cannot be imported there.
system_python=/usr/bin/python3 # the one that sees the distribution's packages, whatever PATH says

skip() { # WHAT REASON
  echo "$1 environment: $2" >&2
  exit 77
}

make_venv() {
  local what=$1 venv=$2 pins=$3 imports=$4 venv_options=() pip_options=() key
  local log=$venv.log
  shift 4
  while (($# >= 2)); do
    case $1 in
      --venv) venv_options+=("$2") ;;
      --pip) pip_options+=("$2") ;;
    esac
    shift 2
  done
  key=$( (cat "$pins" && "$system_python" -VV) | sha256sum | cut -d' ' -f1)
  is_current() { [[ -x $venv/bin/python && -f $venv/key && $(<"$venv/key") == "$key" ]]; }

  if ! is_current; then
    mkdir -p "$(dirname "$venv")"
    # Two runs may start at once: the second waits, then finds the first one's work.
    exec 9>"$venv.lock"
    flock 9
  fi
  if ! is_current; then
    # Never delete a folder that this script did not make.
    if [[ -e $venv && ! -f $venv/pyvenv.cfg ]]; then
      skip "$what" "$venv exists and is no Python environment; remove it or choose another folder"
    fi
    rm -rf "$venv"
    echo "$what environment: installing into $venv (log: $log)" >&2
    "$system_python" -m venv "${venv_options[@]}" "$venv" >"$log" 2>&1 ||
      skip "$what" "cannot make a virtual environment (Debian: python3-venv); see $log"
    "$venv/bin/python" -m pip install --no-input --only-binary :all: --no-cache-dir \
      --disable-pip-version-check "${pip_options[@]}" -r "$pins" >>"$log" 2>&1 ||
      skip "$what" "pip cannot install the pinned packages (offline?): $(tail -n 1 "$log")"
    "$venv/bin/python" -c "import $imports" >>"$log" 2>&1 ||
      skip "$what" "the installed packages cannot be imported: $(tail -n 1 "$log")"
    echo "$key" >"$venv/key"
  fi
  echo "$venv/bin/python"
}
