#!/usr/bin/env bash
# Submits a sweep to Slurm: a job that makes what the points share, an array with one task for each
# point that is not finished, and a job that reports when all have ended.
#
#   jobs/slurm/submit.sh SWEEP.yaml [--folder DIR] [--size NAME] [--ranks N] [--cores N] [--dry-run]
#                        [-- SBATCH-OPTION...]
#
#   --folder DIR   where results are and go (default: results/<name of the sweep file>, with --size
#                  followed by -NAME)
#   --size NAME    one of the sizes of the sweep's base
#   --ranks N      MPI ranks of a point (default 1)
#   --cores N      cores of a rank (default: one a participant of a round, at most 8 and at most
#                  what the smallest node has for the ranks)
#   --dry-run      only print what would be submitted
#   -- OPTION...   for every sbatch: --partition=..., --account=..., --time=...
#
# Memory is asked for as `fedcell sweep --needs` tells it, and a quarter more. Called again, it submits
# what is missing then: points that failed, were killed or never ran. Call it when no task of the
# sweep is queued or running, from the folder in which the tasks shall run.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=jobs/common.sh
. "$project/jobs/common.sh"

sweep='' folder='' size='' ranks=1 cores='' dry_run=no options=()
number() { [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "$1 wants a number from 1, not '${2-}'"; }
while (($#)); do
  case $1 in
    --folder | --size)
      [[ -n ${2-} ]] || die "$1 wants a name"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --ranks | --cores)
      number "$@"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --dry-run) dry_run=yes ;;
    -h | --help)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --)
      shift
      options=("$@")
      break
      ;;
    -*) die "unknown option '$1' (see --help)" ;;
    *)
      [[ -z $sweep ]] || die "one SWEEP.yaml, not also '$1'"
      sweep=$1
      ;;
  esac
  shift
done
[[ -n $sweep ]] || die "needs SWEEP.yaml (see --help)"
folder=${folder:-results/$(basename "$sweep" .yaml)${size:+-$size}}
sized=(${size:+"$size"}) # the jobs' last word
points_of=(sweep "$sweep" ${size:+--size "$size"})
export FEDCELL=${FEDCELL:-$project/build/fedcell} FEDCELL_ANALYSIS=${FEDCELL_ANALYSIS:-$project/analysis}
[[ -x $FEDCELL ]] || die "$FEDCELL is not there; build it, or set FEDCELL"
allow_mpi_as_root

points=$("$FEDCELL" "${points_of[@]}" --status "$folder" --missing)
if [[ -z $points ]]; then
  echo "all points of $sweep are finished in $folder"
  exit 0
fi
needs() { # FIGURE: the largest of all points
  "$FEDCELL" "${points_of[@]}" --needs --json --ranks "$ranks" --threads "${cores:-8}" |
    sed -n "s/^ *\"$1\": \([0-9]*\).*/\1/p"
}
if [[ -z $cores ]]; then
  cores=$(needs participants)
  smallest=$(sinfo -h -o %c | tr -d + | sort -n | head -n 1)
  ((cores <= 8)) || cores=8
  ((cores * ranks <= smallest)) || cores=$((smallest / ranks))
  ((cores >= 1)) || die "no node has $ranks cores"
fi
mem=$(($(needs node_bytes) * 5 / 4 / 1048576 + 1))

# submit NAME OPTION... SCRIPT ARGUMENT...: prints the job's number
submit() {
  local name=$1
  shift
  local command=(sbatch --parsable --output="$folder/slurm-$name.log" "${options[@]}" "$@")
  echo "${command[*]}" >&2
  if [[ $dry_run == no ]]; then "${command[@]}" | cut -d';' -f1; else echo NUMBER; fi
}
needed=(--ntasks="$ranks" --cpus-per-task="$cores")
[[ $dry_run == yes ]] || mkdir -p "$folder"
# pretraining trains all weights of the base, so it takes more than a point
prepare=$(submit prepare "${needed[@]}" --mem="$((4 * mem))M" \
  "$project/jobs/slurm/prepare.sbatch" "$sweep" "${sized[@]}")
array=$(submit %a "${needed[@]}" --mem="${mem}M" --array="$points" --dependency="afterok:$prepare" \
  "$project/jobs/slurm/points.sbatch" "$sweep" "$folder" "${sized[@]}")
analysis=$(submit analysis --dependency="afterany:$array" \
  "$project/jobs/slurm/analysis.sbatch" "$sweep" "$folder" "${sized[@]}")
echo "points $points: prepare $prepare, array $array, analysis $analysis"
