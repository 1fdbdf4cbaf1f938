#!/usr/bin/env bash
# What the documents say about building, and the tutorial of src/README.md, executed as they stand in a
# copy of the project: the quickstart, then a new method from its file, its line in the table and its
# option. It is listed, it learns, and it continues after a stop as if there had been none.
. tests/e2e/common.sh

project=$TEST_TMP/project
unset FEDCELL OMP_NUM_THREADS
copy_project "$project"
"$(fedcell_python)" tests/e2e/documented.py own_method "$project" 2>&1 | tee "$TEST_TMP/said" ||
  fail "a command of the documents, see above"
if grep 'method_fedavgm.c.*warning' "$TEST_TMP/said"; then fail "the tutorial's code has warnings"; fi
clang-format --dry-run -Werror "$project/src/federation/method_fedavgm.c" || fail "the tutorial's format"

FEDCELL=$project/build/fedcell
grep -q '^fedavgm  *FedAvg with server momentum' "$TEST_TMP/said" || fail "fedavgm is not listed"
for result in fedavgm fedavgm-0.3; do
  accuracy=$(figure "$project/results/$result.h5" test_accuracy)
  awk -v a="$accuracy" 'BEGIN { exit !(a > 0.9) }' || fail "$result learns nothing: accuracy $accuracy"
done
if same_result "$project/results/fedavgm.h5" "$project/results/fedavgm-0.3.h5" >"$TEST_TMP/other" 2>&1; then
  fail "federation.server_momentum changes nothing"
fi

settings=(--quiet --set federation.method=fedavgm --set federation.rounds=60)
fedcell_on 2 run "$small" "${settings[@]}" --output "$TEST_TMP/whole.h5"
settings+=(--set checkpoint.every_rounds=1)
OMP_NUM_THREADS=1 mpirun -n 2 --oversubscribe --bind-to none "$FEDCELL" run "$small" "${settings[@]}" \
  --output "$TEST_TMP/stopped.h5" >"$TEST_TMP/run.log" 2>&1 &
job=$!
until [[ -e $TEST_TMP/stopped.ckpt.h5 ]]; do
  kill -0 "$job" || fail "no checkpoint: $(cat "$TEST_TMP/run.log")"
  sleep 0.02
done
kill -USR1 "$job" || fail "the run ended before it could be stopped"
if wait "$job"; then fail "the run was not stopped"; fi
fedcell_on 1 run "$small" "${settings[@]}" --output "$TEST_TMP/stopped.h5" --resume
same_result "$TEST_TMP/whole.h5" "$TEST_TMP/stopped.h5" || fail "another result after a stop"
