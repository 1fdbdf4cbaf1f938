#!/usr/bin/env bash
# Runs a sweep on this machine, some points at a time; the same sweep file as on a cluster.
#
#   jobs/sweep-local.sh SWEEP.yaml [--slots N] [--ranks N] [--folder DIR] [--size NAME]
#
#   --slots N      points at a time (default 1); the cores are shared out among them
#   --ranks N      MPI ranks of a point (default 1)
#   --folder DIR   where results are and go (default: results/<name of the sweep file>, with --size
#                  followed by -NAME)
#   --size NAME    one of the sizes of the sweep's base
#
# Finished points are left alone, begun ones continue from their checkpoint. What a point prints is in
# DIR/<number>.log. Ctrl-C stops: running points write a checkpoint first, call again to go on.
# Exit code: 0 if all points are finished then, 75 after Ctrl-C, else 1.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=jobs/common.sh
. "$project/jobs/common.sh"

sweep='' folder='' size='' ranks=1 slots=1
while (($#)); do
  case $1 in
    --slots | --ranks)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "$1 wants a number from 1, not '${2-}'"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --folder | --size)
      [[ -n ${2-} ]] || die "$1 wants a name"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    -h | --help)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"
      exit 0
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
points_of=(sweep "$sweep" ${size:+--size "$size"}) # what every call of the program begins with
program=${FEDCELL:-$project/build/fedcell}
[[ -x $program ]] || die "$program is not there; build it, or set FEDCELL"
threads=$(($(cores) / (slots * ranks)))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}

allow_mpi_as_root
points=$("$program" "${points_of[@]}" --status "$folder" --missing)
mkdir -p "$folder"
if [[ -n $points ]]; then mpi_run "$ranks" "$program" "${points_of[@]}" --pretrain; fi

# Ctrl-C reaches mpirun too, which would kill its ranks; it is started in a group of its own, out of
# reach, and told by us.
stopping=no
stop() {
  stopping=yes
  local job
  for job in $(jobs -rp); do kill -USR1 "$job" 2>/dev/null || true; done
}
trap stop INT TERM
set -m

# "3,17-20" -> 3 17 18 19 20
numbers() { tr ',' '\n' <<<"$points" | awk -F- 'NF { for (i = $1; i <= $NF; i++) print i }'; }
for number in $(numbers); do
  while (($(jobs -rp | wc -l) >= slots)); do wait -n || true; done
  [[ $stopping == no ]] || break
  step "point $number"
  mpirun -n "$ranks" --oversubscribe --bind-to none "$program" \
    "${points_of[@]}" --index "$number" --folder "$folder" --quiet >"$folder/$number.log" 2>&1 </dev/null &
done
while [[ -n $(jobs -rp) ]]; do wait || true; done
"$program" "${points_of[@]}" --status "$folder"
[[ $stopping == no ]] || exit 75
[[ -z $("$program" "${points_of[@]}" --status "$folder" --missing 2>&1) ]]
