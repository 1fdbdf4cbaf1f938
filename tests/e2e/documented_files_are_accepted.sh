#!/usr/bin/env bash
# What the documentation shows is accepted: the example in README.md, the file that `fedcell options`
# prints, and every experiment that needs nothing fetched.
. tests/e2e/common.sh

example=$TEST_TMP/readme.yaml
awk '/```yaml/ { inside = 1; next } /```/ { inside = 0 } inside' README.md | sed 's/^   //' >"$example"
[[ -s $example ]] || fail "README.md shows no configuration"
"$FEDCELL" options --format yaml >"$TEST_TMP/options.yaml"
for file in "$example" "$TEST_TMP/options.yaml" jobs/experiments/quickstart.yaml; do
  "$FEDCELL" check "$file" >"$TEST_TMP/out" 2>&1 || fail "$file: $(cat "$TEST_TMP/out")"
  grep -q '^# memory: ' "$TEST_TMP/out" || fail "$file: nothing is told of its memory"
done
# the check must be able to fail
sed -i 's/participants: 10/participant: 10/' "$example"
expect_failure 2 "did you mean federation.participants" "$FEDCELL" check "$example"
