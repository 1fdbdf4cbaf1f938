#!/usr/bin/env bash
# fedcell compare: groups by settings, pairs by seed, the figures that numpy gives; a target that not
# all reach has no cost; files that cannot be compared are told.
. tests/e2e/common.sh

for seed in 1 2 3; do
  for method in fedlora local; do
    fedcell_on 1 run "$small" --quiet --set seed=$seed --set federation.method=$method \
      --set federation.local.learning_rate=0.03 --output "$TEST_TMP/runs/$method-$seed.h5" >/dev/null
  done
done
cp "$small" "$TEST_TMP/runs/x.ckpt.h5" # no result: left out
"$FEDCELL" compare "$TEST_TMP/runs" --json >"$TEST_TMP/compared"
cat >"$TEST_TMP/expect.py" <<'PY'
import json, math, sys
import h5py, numpy
folder, compared = sys.argv[1], json.load(open(sys.argv[2]))

def rounds(method, seed):
    with h5py.File(f"{folder}/{method}-{seed}.h5", "r") as file:
        return {name: file["rounds"][name][()] for name in file["rounds"]}

runs = {m: [rounds(m, s) for s in (1, 2, 3)] for m in ("fedlora", "local")}
start = numpy.mean([r["test_loss"][0] for m in runs.values() for r in m])
middle = min(numpy.mean([r["test_loss"][-1] for r in m]) for m in runs.values())  # the better of two
target = float(sys.argv[3]) if len(sys.argv) > 3 else round(start + 0.9 * (middle - start), 3)
assert math.isclose(compared["target_loss"], target, abs_tol=1e-12), (compared["target_loss"], target)

COSTS = ["target_rounds", "target_sim_time_s", "target_energy_j", "target_bits"]
def figures(r):
    met = numpy.flatnonzero(r["test_loss"] <= target)
    first = met[0] + 1 if len(met) else 0
    bits = r["uplink_bits"] + r["downlink_bits"]
    return {"test_loss": r["test_loss"][-1], "test_accuracy": r["test_accuracy"][-1],
            "rounds": r["round"][-1], "sim_time_s": r["sim_time_s"][-1], "energy_j": r["energy_j"].sum(),
            "bits": bits.sum(), **({
            "target_rounds": r["round"][first - 1], "target_sim_time_s": r["sim_time_s"][first - 1],
            "target_energy_j": r["energy_j"][:first].sum(), "target_bits": bits[:first].sum(),
            } if first else dict.fromkeys(COSTS, math.nan))}

T = 4.302652729749464  # Student's t, 97.5 %, 2 degrees of freedom
def same(found, x):
    half = T * numpy.std(x, ddof=1) / math.sqrt(3)
    for name, value in (("mean", numpy.mean(x)), ("low", numpy.mean(x) - half), ("high", numpy.mean(x) + half)):
        if numpy.isnan(value):
            assert found[name] is None, (name, found)
            continue
        assert math.isclose(found[name], value, rel_tol=1e-9, abs_tol=1e-12), (name, found, value)

assert [g["label"] for g in compared["groups"]] == ["method=fedlora", "method=local"], compared
base, other = compared["groups"]
assert base["runs"] == 3 and other["pairs"] == 3
for group, method in ((base, "fedlora"), (other, "local")):
    reached = sum(not math.isnan(figures(r)["target_rounds"]) for r in runs[method])
    assert group["reached"] == reached, (group["label"], reached)
for name in figures(runs["fedlora"][0]):
    x, y = ([float(figures(r)[name]) for r in runs[m]] for m in ("fedlora", "local"))
    same(base["metrics"][name]["value"], x)
    same(other["metrics"][name]["value"], y)
    same(other["metrics"][name]["difference"], numpy.subtract(y, x))
PY
"$(fedcell_python)" "$TEST_TMP/expect.py" "$TEST_TMP/runs" "$TEST_TMP/compared" || fail "other figures than numpy's"
# a target that all reach, most of them after some rounds
target=$("$(fedcell_python)" -c '
import glob, sys, h5py
print(repr(float(max(h5py.File(p, "r")["rounds/test_loss"][()].min() for p in glob.glob(sys.argv[1] + "/*-[123].h5")))))' "$TEST_TMP/runs")
"$FEDCELL" compare "$TEST_TMP/runs" --target-loss "$target" --json >"$TEST_TMP/compared"
"$(fedcell_python)" "$TEST_TMP/expect.py" "$TEST_TMP/runs" "$TEST_TMP/compared" "$target" || fail "other costs than numpy's"
grep -q '"reached": 3' "$TEST_TMP/compared" || fail "not all reach $target"

"$FEDCELL" compare "$TEST_TMP"/runs/local-[12].h5 "$TEST_TMP"/runs/fedlora-[23].h5 \
  --target-accuracy 1.0 >"$TEST_TMP/said"
grep -q '^method=fedlora: 2 runs, 1 paired with the baseline; 0 reach the target$' "$TEST_TMP/said" ||
  fail "$(cat "$TEST_TMP/said")"
[[ $(grep -c '^  target_energy_j *J *-' "$TEST_TMP/said") -eq 2 ]] || fail "a cost of a target that was missed"
"$FEDCELL" compare "$TEST_TMP/runs/local-1.h5" >"$TEST_TMP/said"
grep -q '^all runs: 1 run;' "$TEST_TMP/said" || fail "$(cat "$TEST_TMP/said")"
if grep '\[' "$TEST_TMP/said"; then fail "an interval of one run"; fi

cp "$TEST_TMP/runs/local-1.h5" "$TEST_TMP/twin.h5"
expect_failure 2 "twin.h5 are the same run: same settings, same seed" \
  "$FEDCELL" compare "$TEST_TMP/runs" "$TEST_TMP/twin.h5"
expect_failure 2 "exclude each other" "$FEDCELL" compare "$TEST_TMP/runs" --target-loss 1 --target-accuracy 1
expect_failure 2 "compare --target-loss x: must be a number" "$FEDCELL" compare "$TEST_TMP/runs" --target-loss x
expect_failure 2 "compare: needs at least one PATH..., got 0" "$FEDCELL" compare
expect_failure 2 "small.yaml is not an HDF5 file" fedcell_on 2 compare "$small"
mkdir "$TEST_TMP/none"
expect_failure 1 "no result files in this folder" "$FEDCELL" compare "$TEST_TMP/none"
