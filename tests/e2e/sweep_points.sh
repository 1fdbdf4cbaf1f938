#!/usr/bin/env bash
# fedcell sweep and jobs/sweep-local.sh: points are numbered and named, each is the run that its
# settings describe, finished ones are skipped, stopped ones continue, failed ones leave a mark until
# they succeed, results of other settings are told.
. tests/e2e/common.sh

sweep=$TEST_TMP/some.yaml results=$TEST_TMP/results
cat >"$sweep" <<'YAML'
base: small.yaml
set: {federation.rounds: 4}
grid:
  federation.method: [fedlora, centralised]
  model.scratch: ["", scratch]
seeds: [3, 4]
YAML
sed -i "s|scratch\]|$TEST_TMP/scratch]|" "$sweep"
sweep_of() { fedcell_on 1 sweep "$sweep" "$@"; }

[[ $(sweep_of --count) == 8 ]] || fail "not 8 points"
sweep_of --list >"$TEST_TMP/said"
grep -q '^ *1  method=fedlora-scratch=-seed=3-[0-9a-f]*$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
[[ $(awk '{ print $2 }' "$TEST_TMP/said" | sort -u | wc -l) == 8 ]] || fail "names that are not different"
[[ $(sweep_of --status "$results" --missing) == 1-8 ]] || fail "not everything is missing at first"
sweep_of --needs --json >"$TEST_TMP/said"
grep -q '"node_bytes": [1-9]' "$TEST_TMP/said" || fail "--needs: $(cat "$TEST_TMP/said")"

# a point is the run that its settings describe; again: nothing to do
point() { SLURM_ARRAY_TASK_ID=$1 fedcell_on 2 sweep "$sweep" --folder "$results" --quiet; }
point 6 >/dev/null
fedcell_on 1 run "$small" --quiet --set federation.rounds=4 --set federation.method=centralised \
  --set seed=4 --output "$TEST_TMP/alone.h5"
same_result "$TEST_TMP/alone.h5" "$results"/method=centralised-scratch=-seed=4-*.h5 || fail "another run"
point 6 >"$TEST_TMP/said"
grep -q 'is finished: nothing to do' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"

# all others, two at a time: those with the folder that is not there fail
code=0
jobs/sweep-local.sh "$sweep" --slots 2 --folder "$results" >"$TEST_TMP/said" 2>&1 || code=$?
[[ $code -eq 1 ]] || fail "sweep-local.sh with failing points: exit code $code: $(cat "$TEST_TMP/said")"
[[ $(grep -c '] point ' "$TEST_TMP/said") -eq 7 ]] || fail "not the 7 others were run: $(cat "$TEST_TMP/said")"
grep -q '^  finished *4  1-2,5-6$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
grep -q '^  failed *4  3-4,7-8$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
grep -q '^point 3 (.*) failed with exit code 1: .*/scratch' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
[[ $(sweep_of --status "$results" --missing) == 3-4,7-8 ]] || fail "not what is missing"
mkdir "$TEST_TMP/scratch"
jobs/sweep-local.sh "$sweep" --folder "$results" >"$TEST_TMP/said" 2>&1 || fail "$(cat "$TEST_TMP/said")"
grep -q '^  finished *8  1-8$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
grep -q '^  failed *0$' "$TEST_TMP/said" || fail "a mark stayed: $(cat "$TEST_TMP/said")"

# results that other settings made are neither used, nor replaced, nor called finished
sed -i 's/rounds: 4/rounds: 3/' "$sweep"
sweep_of --status "$results" >"$TEST_TMP/said"
grep -q '^  outdated *8  1-8$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
before=$(md5sum "$results"/*.h5)
expect_failure 2 "was made with another value of federation.rounds" \
  fedcell_on 2 sweep "$sweep" --index 1 --folder "$results"
[[ $(md5sum "$results"/*.h5) == "$before" ]] || fail "an old result was touched"

# SIGUSR1 while a point runs: 75, a checkpoint that counts as begun; the next call continues
sed -i 's/rounds: 3/rounds: 400/' "$sweep"
mpi_run 2 "$FEDCELL" sweep "$sweep" --index 1 --folder "$TEST_TMP/stopped" >"$TEST_TMP/log" 2>&1 &
job=$!
for ((i = 0; i < 300; i++)); do
  ! grep -q '^round 0' "$TEST_TMP/log" || break
  sleep 0.1
done
kill -USR1 "$(pgrep -P "$job" -f '^mpirun' || echo "$job")"
code=0
wait "$job" || code=$?
[[ $code -eq 75 ]] || fail "exit code $code, not 75: $(cat "$TEST_TMP/log")"
sweep_of --status "$TEST_TMP/stopped" >"$TEST_TMP/said"
grep -q '^  begun *1  1$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
fedcell_on 1 sweep "$sweep" --index 1 --folder "$TEST_TMP/stopped" >"$TEST_TMP/said" 2>&1
grep -q 'continuing after round' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"

# jobs/sweep-local.sh told to stop: running points write a checkpoint, no further one is begun
jobs/sweep-local.sh "$sweep" --slots 2 --folder "$TEST_TMP/local" >"$TEST_TMP/log" 2>&1 &
job=$!
for ((i = 0; i < 600; i++)); do
  [[ -z $(find "$TEST_TMP/local" -name '*.ckpt.h5' 2>/dev/null) ]] || break
  sleep 0.1
done
kill -TERM "$job"
code=0
wait "$job" || code=$?
[[ $code -eq 75 ]] || fail "sweep-local.sh: exit code $code, not 75: $(cat "$TEST_TMP/log")"
[[ $(grep -c '] point ' "$TEST_TMP/log") -le 4 ]] || fail "points were begun after the stop: $(cat "$TEST_TMP/log")"
grep -q '^  begun *[1-9]' "$TEST_TMP/log" || fail "nothing is begun: $(cat "$TEST_TMP/log")"
