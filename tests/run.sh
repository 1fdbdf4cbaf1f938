#!/usr/bin/env bash
# Sets up, builds and runs every test; the last line is `N passed, N failed, N skipped`.
#
#   tests/run.sh [--fast] [--list] [FILTER]
#
#   --fast   what a developer runs all the time: format, build, unit, kernel and MPI tests, Python
#            tests of the analysis package (under 5 minutes on 2 cores)
#   --list   the names of the steps, nothing is run
#   FILTER   a regular expression: only tests whose name matches (names as the report shows them:
#            step/test); what they need is still set up and built
#
# Exit code 0 if nothing failed. A skipped test is counted as skipped, with its reason, never as
# passed. Logs: build/test-logs. Sharing: ../shared/data (or FEDCELL_DATA) holds the real data sets;
# tests that need them are skipped without.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=jobs/common.sh
. jobs/common.sh

# Steps in their order: "NAME full" is left out by --fast.
steps='
format           fast
shellcheck       fast
documents        fast
build            fast
unit             fast
kernel           fast
mpi              fast
analysis         fast
scripts          full
slurm            full
oracle           full
sanitized        full
fuzz             full
valgrind         full
clang-tidy       full
'

fast=no
filter=''
for argument in "$@"; do
  case $argument in
    --fast) fast=yes ;;
    --list)
      awk 'NF { print $1 }' <<<"$steps"
      exit 0
      ;;
    -h | --help)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"
      exit 0
      ;;
    -*)
      echo "run.sh: unknown option '$argument' (see --help)" >&2
      exit 2
      ;;
    *) filter=$argument ;;
  esac
done

# shellcheck source=tests/steps.sh
. tests/steps.sh
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs"/*.xml
: >"$tally"

run_step() {
  local name=$1 began=$SECONDS before function
  before=$(wc -l <"$tally")
  function=step_${name//-/_}
  # Not under `if`: there bash would ignore a failing command inside the step.
  set +e
  # No input: mpirun would read the list of steps.
  (set -e && "$function") </dev/null >"$logs/$name.log" 2>&1
  local code=$?
  set -e
  local of_step
  of_step=$(tail -n +$((before + 1)) "$tally")
  # A step reports its tests with `tell`; one that dies before it could is itself a failure.
  if ((code != 0)) && ! grep -q '^failed ' <<<"$of_step"; then
    tell failed "$name" "see $logs/$name.log"
  fi
  of_step=$(tail -n +$((before + 1)) "$tally")
  [[ -n $of_step ]] || return 0
  step "$(printf '%-12s %-44s %4d s' "$name" "$(count_tests <<<"$of_step")" $((SECONDS - began)))"
  grep -v '^passed ' <<<"$of_step" | sed 's/^/          /' || true
}

step "set-up"
jobs/install-deps.sh build analysis tests >"$logs/set-up.log" 2>&1 || {
  cat "$logs/set-up.log" >&2
  tell failed set-up "packages are missing, see above"
}
while read -r name kind; do
  [[ -n $name ]] || continue
  [[ $fast == no || $kind == fast ]] || continue
  run_step "$name"
done <<<"$steps"

if [[ ! -s $tally ]]; then tell failed run "no test matches '$filter'"; fi
step "logs: $logs"
count_tests <"$tally"
! grep -q '^failed ' "$tally"
