#!/usr/bin/env bash
# From a bare machine to results: installs what is missing, builds, runs a small federated LoRA
# fine-tuning on 2 ranks, prints a table and where the result file and the plot are.
#
#   jobs/quickstart.sh [--ranks N] [--output FOLDER] [EXPERIMENT.yaml]
#
# Defaults: 2 ranks, results/<experiment>, jobs/experiments/quickstart.yaml. Run again, it only
# builds what changed and runs the experiment anew.
set -euo pipefail
start_folder=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=jobs/common.sh
. jobs/common.sh

usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$PWD/jobs/quickstart.sh"; }

# A path of the user's, who may have called from another folder.
from_start_folder() { if [[ $1 == /* ]]; then echo "$1"; else echo "$start_folder/$1"; fi; }

experiment=jobs/experiments/quickstart.yaml
ranks=2
output=''
while (($#)); do
  case $1 in
    --ranks)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "--ranks wants a number from 1, not '${2-}'"
      ranks=$2
      shift
      ;;
    --output)
      [[ -n ${2-} ]] || die "--output wants a folder"
      output=$(from_start_folder "$2")
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) die "unknown option '$1' (see --help)" ;;
    *) experiment=$(from_start_folder "$1") ;;
  esac
  shift
done
[[ -f $experiment ]] || die "no such experiment file: $experiment"
name=$(basename "$experiment" .yaml)
output=${output:-results/$name}
mkdir -p "$output"

step "1/4 installing what is missing"
jobs/install-deps.sh build analysis || exit $?

step "2/4 building (log: build/quickstart-build.log)"
mkdir -p build
{ configure build -DCMAKE_BUILD_TYPE=Release &&
  cmake --build build -j "$(cores)" --target fedcell; } >build/quickstart-build.log 2>&1 || {
  tail -n 30 build/quickstart-build.log >&2
  die "the build failed; the whole log is in build/quickstart-build.log"
}

step "3/4 running $experiment on $ranks ranks"
result=$output/$name.h5
mpi_run "$ranks" build/fedcell run "$experiment" --overwrite --output "$result" ||
  die "the run failed, see its message above"

step "4/4 results"
python=$(fedcell_python) || die "no Python with h5py, pandas, matplotlib and yaml"
export PYTHONPATH=$PWD/analysis${PYTHONPATH:+:$PYTHONPATH}
echo
"$python" -m fedcell_results summary "$result"
echo
plots=$("$python" -m fedcell_results plot "$result" --output "$output/$name")
echo "result file  $result"
while read -r plot; do echo "plot         $plot"; done <<<"$plots"
echo
echo "All that the file holds: build/fedcell info $result"
step "done"
