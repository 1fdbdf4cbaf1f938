#!/usr/bin/env bash
# A sweep of 8 points as an array: 6 finish as they do without Slurm, 2 fail; these are told by
# --status, submitted again alone, and finish when their cause is gone; the analysis runs each time.
. tests/slurm/common.sh

# the scratch folder of two points is not there yet
cat >"$TEST_TMP/array.yaml" <<YAML
base: small.yaml
list:
  - {federation.local.iterations: 1}
  - {federation.local.iterations: 2}
  - {federation.local.iterations: 3}
  - {federation.local.iterations: 4, model.scratch: $TEST_TMP/scratch}
seeds: 2
YAML
sweep=$TEST_TMP/array.yaml results=$TEST_TMP/array
status() { "$FEDCELL" sweep "$sweep" --status "$results" "$@"; }

submit "$sweep" "$results"
[[ $points == 1-8 ]] || fail "submitted $points, not 1-8"
wait_for 90 "the analysis does not come to its end" ended "$analysis"
[[ -s $results/report.html ]] || fail "no report: $(cat "$results/slurm-analysis.log")"
status >"$TEST_TMP/said"
grep -q '^  finished *6  1-6$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
grep -q '^  failed *2  7-8$' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
grep -q '^point 7 .* failed with exit code 1: .*scratch' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
[[ $(status --missing) == 7-8 ]] || fail "--missing: $(status --missing)"
fedcell_on 1 run "$small" --quiet --set federation.local.iterations=2 --set seed=2 --output "$TEST_TMP/alone.h5"
same_result "$TEST_TMP/alone.h5" "$results/iterations=2-seed=2.h5" || fail "another result than without Slurm"

# only the two are run again
mkdir "$TEST_TMP/scratch"
before=$(md5sum "$results"/iterations=[123]*.h5)
submit "$sweep" "$results"
[[ $points == 7-8 ]] || fail "submitted $points, not 7-8"
wait_for 60 "the second analysis does not come to its end" ended "$analysis"
[[ -z $(status --missing) ]] || fail "still missing: $(status)"
[[ $(md5sum "$results"/iterations=[123]*.h5) == "$before" ]] || fail "finished points were touched"
[[ -z $(find "$results" -name '*.failed') ]] || fail "a mark of failure is left behind"
jobs/slurm/submit.sh "$sweep" --folder "$results" >"$TEST_TMP/said"
grep -q '^all points of .* are finished' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
