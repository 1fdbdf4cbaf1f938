#!/usr/bin/env bash
# SIGUSR1 to the launcher (and SIGTERM to a rank) finish the round, write a checkpoint and exit 75;
# --resume ends with the result of an undisturbed run.
. tests/e2e/common.sh

settings=(--set federation.rounds=400 --set checkpoint.every_rounds=100000)
fedcell_on 2 run "$small" "${settings[@]}" --quiet --output "$TEST_TMP/whole.h5"

try_signal() {
  local signal=$1 target=$2 out=$TEST_TMP/$1.h5 code=0
  mpi_run 2 "$FEDCELL" run "$small" "${settings[@]}" --output "$out" >"$TEST_TMP/log" 2>&1 &
  local job=$!
  for ((i = 0; i < 300; i++)); do # until the first round is told
    ! grep -q '^round 0' "$TEST_TMP/log" || break
    sleep 0.1
  done
  pkill "-$signal" -f -- "$target --output $out|$target.*--output $out" || fail "nobody to signal"
  wait "$job" || code=$?
  [[ $code -eq 75 ]] || fail "$signal: exit code $code, not 75: $(cat "$TEST_TMP/log")"
  [[ $(grep -c 'continue with --resume' "$TEST_TMP/log") -eq 1 ]] || fail "$signal: no message"
  [[ ! -e $out ]] || fail "$signal: a result before the end"
  fedcell_on 3 run "$small" "${settings[@]}" --quiet --output "$out" --resume
  same_result "$TEST_TMP/whole.h5" "$out" || fail "$signal: another result after --resume"
}
try_signal USR1 '^mpirun'
try_signal TERM "^$FEDCELL"
