#!/usr/bin/env bash
# Every benchmark runs at tiny sizes and tells figures that are numbers, with their units and where they
# were measured. How fast anything is, no test asks.
. tests/e2e/common.sh

export OMP_NUM_THREADS=2
python=$(fedcell_python)
"$FEDCELL" list benchmarks >"$TEST_TMP/benchmarks"
while read -r name _; do
  "$FEDCELL" bench "$name" --quick --json >"$TEST_TMP/$name.json" || fail "bench $name: exit code $?"
  "$python" - "$name" "$TEST_TMP/$name.json" <<'PYTHON' || fail "bench $name"
import json, sys
name, path = sys.argv[1:]
told = json.load(open(path))
assert told["benchmark"] == name and told["quick"] is True, told
where = told["provenance"]
assert where["threads"] == 2 and where["cpu"] and where["kernels"] in ("avx512", "avx2", "baseline"), where
assert where["version"] and where["git_commit"] and name in where["command_line"], where
assert told["rows"], "no rows"
for row in told["rows"]:
    figures = {key: f for key, f in row.items() if key != "case"}
    assert row["case"] and figures, row
    for key, f in figures.items():
        assert isinstance(f["unit"], str), (key, f)
        if f["value"] is None and "oneDNN" in key:
            continue  # built without it
        assert f["value"] > 0, (key, f)  # null, which stands for NaN, fails here
        if "low" in f:
            assert f["low"] <= f["value"] <= f["high"], (key, f)
PYTHON
  "$FEDCELL" bench "$name" --quick >"$TEST_TMP/$name.txt" || fail "bench $name as a table: $?"
  grep -q '^case ' "$TEST_TMP/$name.txt" || fail "no table: $(cat "$TEST_TMP/$name.txt")"
done <"$TEST_TMP/benchmarks"

# A case of the user's own: faults in it are told with the file's name.
case=$TEST_TMP/case.json
refuse() { # MESSAGE NAME JSON
  echo "$3" >"$case"
  expect_failure 2 "$case$1" "$FEDCELL" bench "$2" --case "$case" --quick
}
generate='"model": "nowhere", "precision": "f32", "steps": 3'
train='"model": "nowhere", "adapter": "nowhere", "precision": "f32", "steps": 1, "devices": 2, "batch": 1, "cohort": 1, "learning_rate": 1'
refuse ' line 2: ' generate '{'
refuse ': Object item not found: model' generate '{}'
refuse ': precision f16: f32 or bf16' generate '{"model": "nowhere", "precision": "f16", "steps": 3, "prompts": [[1]]}'
refuse ': steps is 0, must be at least 1' generate '{"model": "nowhere", "precision": "f32", "steps": 0, "prompts": [[1]]}'
refuse ': needs sequences of at least one token' generate "{$generate, \"prompts\": []}"
refuse ': sequence 1 has 1 tokens, the first one 2' generate "{$generate, \"prompts\": [[1, 2], [3]]}"
refuse ': sequence 0: token 1 is not a whole number from 0' generate "{$generate, \"prompts\": [[1, -2]]}"
rollout='"model": "nowhere", "precision": "f32", "steps": 3, "temperature": 1'
refuse ': Object item not found: prefix' rollout "{$rollout, \"prompts\": [[1, 2]]}"
refuse ': steps is 0, must be at least 1' rollout "{${rollout/ 3/ 0}, \"prefix\": 1, \"prompts\": [[1, 2]]}"
refuse ": prefix is 2, must be less than the prompts' 2 tokens" rollout "{$rollout, \"prefix\": 2, \"prompts\": [[1, 2]]}"
refuse ': Object item not found: cohort' train "{${train/\"cohort\": 1, /}, \"tokens\": [[1, 2]]}"
refuse ': cohort is 3, must be at most devices, which is 2' train "{${train/\"cohort\": 1/\"cohort\": 3}, \"tokens\": [[1, 2]]}"
refuse ': 1 sequences of tokens for 2 devices x 1 a batch' train "{$train, \"tokens\": [[1, 2]]}"
refuse ': sequences must have at least 2 tokens' train "{$train, \"tokens\": [[1], [2]]}"

names=$(awk '{ printf "%s%s", sep, $1; sep = ", " }' "$TEST_TMP/benchmarks")
expect_failure 2 "bench nothing: allowed are $names" "$FEDCELL" bench nothing
expect_failure 2 "bench: needs one NAME, got 0" "$FEDCELL" bench
expect_failure 2 "bench measures one process: start it on one rank, not 2" fedcell_on 2 bench machine
