#!/usr/bin/env bash
# All faults of all points of a sweep are told at once, with file and line, before anything runs.
. tests/e2e/common.sh

sweep=$TEST_TMP/bad.yaml
cat >"$sweep" <<'YAML'
base: small.yaml
set: {federation.round: 9}
grid:
  federation.method: [fedlora, fedlore]
  federation.participants: [5, 13]
YAML
for call in --list --count "--index 1" "--status $TEST_TMP/r" --needs --pretrain; do
  # shellcheck disable=SC2086 # words on purpose
  expect_failure 2 "bad.yaml:2: federation.round: no such option; did you mean federation.rounds?" \
    fedcell_on 2 sweep "$sweep" $call
  grep -qF 'bad.yaml:4: federation.method = fedlore: must be one of' "$TEST_TMP/failure.txt" ||
    fail "the method is not told: $(cat "$TEST_TMP/failure.txt")"
done
[[ ! -e $TEST_TMP/r ]] || fail "something was made"
sed -i -e '2d' -e 's/, fedlore//' "$sweep"
expect_failure 2 "bad.yaml:4: federation.participants = 13: must be at most population.devices = 12 (point 2)" \
  "$FEDCELL" sweep "$sweep" --index 1
sed -i 's/13/6/' "$sweep"
expect_failure 2 "sweep: no point 3: there are 1 to 2" "$FEDCELL" sweep "$sweep" --index 3
expect_failure 2 "sweep: SLURM_ARRAY_TASK_ID is x: must be the number of a point, 1 to 2" \
  env SLURM_ARRAY_TASK_ID=x "$FEDCELL" sweep "$sweep"
expect_failure 2 "needs one of --list" "$FEDCELL" sweep "$sweep"
expect_failure 2 "only one of --list" "$FEDCELL" sweep "$sweep" --list --count
expect_failure 2 "--missing needs --status" "$FEDCELL" sweep "$sweep" --list --missing
sed -i 's/small.yaml/none.yaml/' "$sweep"
expect_failure 1 "none.yaml: cannot be read: No such file" fedcell_on 2 sweep "$sweep" --list
echo 'grid: {seed: 1, x: }' >"$sweep"
expect_failure 2 "bad.yaml:1: seed: must be a list of values" "$FEDCELL" sweep "$sweep" --list
expect_failure 1 "nothing.yaml: cannot be read" "$FEDCELL" sweep "$TEST_TMP/nothing.yaml" --list
