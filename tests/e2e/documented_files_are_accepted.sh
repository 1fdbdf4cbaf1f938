#!/usr/bin/env bash
# What the documentation shows is accepted: the example in README.md, the file that `fedcell options`
# prints, and every experiment that needs nothing fetched.
. tests/e2e/common.sh

example=$TEST_TMP/readme.yaml
awk '/```yaml/ { inside = 1; next } inside && /```/ { exit } inside' README.md | sed 's/^   //' >"$example"
[[ -s $example ]] || fail "README.md shows no configuration"
"$FEDCELL" options --format yaml >"$TEST_TMP/options.yaml"
for file in "$example" "$TEST_TMP/options.yaml" jobs/experiments/quickstart.yaml; do
  "$FEDCELL" check "$file" >"$TEST_TMP/out" 2>&1 || fail "$file: $(cat "$TEST_TMP/out")"
  grep -q '^# memory: ' "$TEST_TMP/out" || fail "$file: nothing is told of its memory"
done
for sweep in jobs/sweeps/*.yaml; do
  "$FEDCELL" sweep "$sweep" --needs >"$TEST_TMP/out" 2>&1 || fail "$sweep: $(cat "$TEST_TMP/out")"
done
[[ $("$FEDCELL" sweep jobs/sweeps/quickstart-methods.yaml --count) == 24 ]] || fail "not 24 points"
awk '/^## Many runs/ { on = 1 } on && /```yaml/ { inside = 1; next } inside && /```/ { exit } inside' \
  README.md | sed "s|\.\./experiments|$PWD/jobs/experiments|" >"$TEST_TMP/sweep.yaml"
[[ -s $TEST_TMP/sweep.yaml ]] || fail "README.md shows no sweep"
"$FEDCELL" sweep "$TEST_TMP/sweep.yaml" --list >"$TEST_TMP/out" 2>&1 || fail "$(cat "$TEST_TMP/out")"
[[ $(wc -l <"$TEST_TMP/out") -eq 64 ]] || fail "README.md's sweep has not 4 x 2 x 2 x 4 points"
# the check must be able to fail
sed -i 's/participants: 10/participant: 10/' "$example"
expect_failure 2 "did you mean federation.participants" "$FEDCELL" check "$example"
