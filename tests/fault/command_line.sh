#!/usr/bin/env bash
# The command line: help of every command, options that are wrong, missing or abbreviated, output that
# cannot be written; nothing is overwritten unasked.
. tests/e2e/common.sh
# Output is kept in a file before it is searched: grep -q leaves at the first match, and the program
# would rightly complain of a closed pipe.

# every command tells its usage and all its options, on one or several ranks, once
for command in run check sweep options list pretrain generate solve bench info compare rerun export; do
  for call in "$command --help" "$command -h" "help $command"; do
    # shellcheck disable=SC2086 # words on purpose
    "$FEDCELL" $call >"$TEST_TMP/help" || fail "$call: exit code $?"
    grep -q "^usage: fedcell $command" "$TEST_TMP/help" || fail "$call: $(cat "$TEST_TMP/help")"
  done
  "$FEDCELL" --help >"$TEST_TMP/said"
  grep -q "^  fedcell $command" "$TEST_TMP/said" || fail "--help does not know $command"
done
fedcell_on 2 run --help >"$TEST_TMP/help"
[[ $(grep -c '^usage' "$TEST_TMP/help") -eq 1 ]] || fail "help is told once a rank"
for option in set size output resume overwrite quiet; do
  grep -q -- "--$option" "$TEST_TMP/help" || fail "run --help does not tell --$option"
done

expect_failure 2 "run --set: needs a value: --set KEY=VALUE" "$FEDCELL" run "$small" --set
expect_failure 2 "run --set: needs a value" "$FEDCELL" run --set --resume "$small"
expect_failure 2 "run --output: needs a value" "$FEDCELL" run "$small" --output=
expect_failure 2 "--set x: must be key=value" "$FEDCELL" run "$small" --set=x
expect_failure 2 "run: no option --out; did you mean --output?" "$FEDCELL" run "$small" --out x
expect_failure 2 "run: no option --resum; did you mean --resume?" "$FEDCELL" run "$small" --resum
expect_failure 2 "run: no option --json; see fedcell run --help" "$FEDCELL" run "$small" --json
expect_failure 2 "run: no option -x" "$FEDCELL" run -x "$small"
expect_failure 2 "--resume takes no value" "$FEDCELL" run "$small" --resume=yes
expect_failure 2 "exclude each other" "$FEDCELL" run "$small" --resume --overwrite
expect_failure 2 "needs one FILE.yaml, got 2" "$FEDCELL" run "$small" "$small"
expect_failure 2 "check --ranks 0: must be a whole number from 1 to 1000000" \
  "$FEDCELL" check "$small" --ranks 0
expect_failure 2 "allowed are text, md, yaml, json" "$FEDCELL" options --format=pdf
expect_failure 2 "takes no argument x" "$FEDCELL" options x
expect_failure 2 "needs one methods|agents|models|datasets|solvers|experiments|benchmarks|columns" "$FEDCELL" list
expect_failure 2 "allowed are methods, models, datasets, solvers, experiments, benchmarks, columns" "$FEDCELL" list metods
expect_failure 2 "no command lst; did you mean list?" fedcell_on 2 lst
for format in text md yaml json; do
  "$FEDCELL" options --format $format >"$TEST_TMP/said"
  grep -q 'federation.rounds\|rounds:' "$TEST_TMP/said" || fail "options --format $format"
done
"$FEDCELL" options --format json | "$(fedcell_python)" -m json.tool >/dev/null || fail "not JSON"
for what in methods models datasets solvers experiments benchmarks columns; do
  [[ -n $("$FEDCELL" list $what) ]] || fail "list $what says nothing"
done

# a file in place of the configuration that is none
expect_failure 2 "not a configuration" "$FEDCELL" run /dev/zero
expect_failure 1 "Is a directory" "$FEDCELL" run "$TEST_TMP"

# where the result would go
expect_failure 2 "is a folder; a result is a file" "$FEDCELL" run "$small" --output "$TEST_TMP"
expect_failure 2 "is a folder; a result is a file" "$FEDCELL" run "$small" --output "$TEST_TMP/new/"
[[ ! -e $TEST_TMP/new ]] || fail "a folder was made for nothing"
long=$(printf 'x%.0s' {1..5000})
expect_failure 2 "--output: the path is longer than 4095 bytes" "$FEDCELL" run "$small" --output "$long"

# the way to a result is not overwritten unasked either
cp "$small" "$TEST_TMP/c.ckpt.h5"
expect_failure 2 "c.ckpt.h5 is there from a run that did not end; give --resume" \
  fedcell_on 2 run "$small" --output "$TEST_TMP/c.h5"
fedcell_on 2 run "$small" --quiet --overwrite --output "$TEST_TMP/c.h5" >/dev/null
[[ ! -e $TEST_TMP/c.ckpt.h5 ]] || fail "the old checkpoint is still there"
fedcell_on 2 run "$small" --quiet --resume --output "$TEST_TMP/c.h5" >"$TEST_TMP/said"
grep -q "is finished: nothing to do" "$TEST_TMP/said" ||
  fail "a finished run was run again"

# words in the order they were given stand in the provenance
"$FEDCELL" run "$small" --quiet --overwrite --set seed=9 --output "$TEST_TMP/c.h5" >/dev/null
"$FEDCELL" info "$TEST_TMP/c.h5" >"$TEST_TMP/said"
grep -qF "fedcell run $small --quiet --overwrite --set seed=9 --output" "$TEST_TMP/said" ||
  fail "the command line is not in the provenance"

# standard output that cannot be written is a failure, not a silence
if [[ -w /dev/full ]]; then
  code=0
  "$FEDCELL" options >/dev/full 2>"$TEST_TMP/log" || code=$?
  [[ $code -eq 1 ]] || fail "a full standard output: exit code $code"
  grep -q "standard output cannot be written" "$TEST_TMP/log" || fail "$(cat "$TEST_TMP/log")"
fi
