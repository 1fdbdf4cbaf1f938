# shellcheck shell=bash
# tests/slurm/common.sh - what the tests under Slurm share; sourced. tests/slurm/up.sh has started one.
. tests/e2e/common.sh
[[ -n ${SLURM_CONF-} ]] || fail "call it through tests/slurm/up.sh"

# submit SWEEP FOLDER [OPTION...]: jobs/slurm/submit.sh; sets array and analysis to the jobs' numbers
# and points to the array expression.
submit() {
  local said
  said=$(jobs/slurm/submit.sh "$1" --folder "$2" --cores 1 "${@:3}" 2>"$TEST_TMP/submit.log") ||
    fail "submit.sh: $(cat "$TEST_TMP/submit.log")"
  # shellcheck disable=SC2034 # for the caller
  read -r points array analysis < <(
    sed -n 's/^points \(.*\): prepare .*, array \([0-9]*\), analysis \([0-9]*\)$/\1 \2 \3/p' <<<"$said"
  ) || fail "submit.sh said: $said"
}

# wait_for SECONDS WHAT COMMAND...: until it succeeds.
wait_for() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < until)) || fail "$what: $(squeue -a; tail -n 5 "$TEST_TMP"/*/slurm-*.log)"
    sleep 0.3
  done
}

# All jobs have left the queue: done, failed or cancelled.
ended() { [[ -z $(squeue -h -j "$1" 2>/dev/null) ]]; }
logs_say() { grep -q "$1" "$2" 2>/dev/null; }
