#!/usr/bin/env bash
# fedcell check tells the cohort that a run would take and the one it recommends; a device more in a
# cohort costs its gradient, its optimiser state and its rows, and no result depends on it.
. tests/e2e/common.sh

told() { # FIELD SETTINGS...
  local field=$1
  shift
  "$FEDCELL" check "$small" --ranks 1 --threads 1 --json "$@" |
    "$(fedcell_python)" -c 'import json, sys; print(int(json.load(sys.stdin)[sys.argv[1]]))' "$field"
}
one=(--set federation.cohort=1) four=(--set federation.cohort=4)
[[ $(told cohort_devices) -eq 5 && $(told best_cohort "${one[@]}") -eq 5 ]] ||
  fail "five small participants fit in one cohort"
[[ $(told cohort_devices "${four[@]}") -eq 4 && $(told cohort_devices "${one[@]}") -eq 1 ]] ||
  fail "the cohort is not the configured one"

# 4 sequences of 48 tokens are 192 rows; activations of 2 blocks of width 16 are far below 4 KB a row
weights=$(told trained_weights)
device=$((($(told thread_bytes "${four[@]}") - $(told thread_bytes "${one[@]}")) / 3))
echo "a device more: $device bytes; its adapter has $((4 * weights))"
((device > 3 * 4 * weights && device < 3 * 4 * weights + 192 * 4096)) ||
  fail "a device more in a cohort costs $device bytes"
less=$(told thread_bytes "${four[@]}" --set federation.recompute=true)
((less < $(told thread_bytes "${four[@]}"))) || fail "recomputation saves nothing"

OMP_NUM_THREADS=1 fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/one.h5" "${one[@]}"
OMP_NUM_THREADS=1 fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/four.h5" "${four[@]}" \
  --set federation.recompute=true
OMP_NUM_THREADS=2 fedcell_on 2 run "$small" --quiet --output "$TEST_TMP/auto.h5"
same_result "$TEST_TMP/one.h5" "$TEST_TMP/four.h5"
same_result "$TEST_TMP/one.h5" "$TEST_TMP/auto.h5"

expect_failure 2 'cohort x federation.local.batch is 4294967296 sequences, at most 2147483647' \
  "$FEDCELL" check "$small" --set federation.cohort=65536 --set federation.local.batch=65536
