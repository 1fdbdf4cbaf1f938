#!/usr/bin/env bash
# The README's way from `sbatch` to figures in three commands, as it stands there: its sweep of 24 points,
# shortened to two rounds a point. Each command waits for the jobs of the one before.
. tests/slurm/common.sh

program=$FEDCELL project=$TEST_TMP/project
unset FEDCELL OMP_NUM_THREADS FEDCELL_CACHE
copy_project "$project"
shorten_sweeps "$project"
mkdir "$project/build"
ln -s "$program" "$project/build/fedcell"

# shellcheck disable=SC2016 # for the bash that runs it
"$(fedcell_python)" tests/e2e/documented.py slurm.documented_sweep "$project" \
  --between 'while [[ -n $(squeue -h) ]]; do sleep 0.5; done' >"$TEST_TMP/said" 2>&1 ||
  fail "$(tail -n 20 "$TEST_TMP/said")"
grep -q '^  finished *24  1-24$' "$TEST_TMP/said" || fail "not all 24 points finished: $(tail -n 20 "$TEST_TMP/said")"
[[ -s $project/results/quickstart-methods/report.html ]] || fail "no report"
[[ -s $project/methods.png && -s $project/methods.pdf ]] || fail "no figure: $(ls "$project")"
