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

names=$(awk '{ printf "%s%s", sep, $1; sep = ", " }' "$TEST_TMP/benchmarks")
expect_failure 2 "bench nothing: allowed are $names" "$FEDCELL" bench nothing
expect_failure 2 "bench: needs one NAME, got 0" "$FEDCELL" bench
expect_failure 2 "bench measures one process: start it on one rank, not 2" fedcell_on 2 bench machine
