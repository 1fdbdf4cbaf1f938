#!/usr/bin/env bash
# fedcell info --check: results of every method and checkpoints pass; every kind of damage is told, all
# of it at once, with exit code 2; fedcell list columns tells what the files hold.
. tests/e2e/common.sh

for method in fedlora local centralised; do
  fedcell_on 2 run "$small" --quiet --set federation.method=$method --set federation.eval_every=4 \
    --output "$TEST_TMP/$method.h5" >/dev/null
  "$FEDCELL" info --check "$TEST_TMP/$method.h5" >"$TEST_TMP/said" || fail "$method: $(cat "$TEST_TMP/said")"
done
"$FEDCELL" list columns >"$TEST_TMP/columns"
cat >"$TEST_TMP/listed.py" <<'PY'
import sys, h5py
listed = {line.split()[0] for line in open(sys.argv[2])}
found = set()
with h5py.File(sys.argv[1], "r") as file:
    file.visititems(lambda name, x: found.add("/" + name) if isinstance(x, h5py.Dataset) else None)
found = {name for name in found if not name.startswith("/final/adapter/")}
assert listed == found, listed ^ found
PY
"$(fedcell_python)" "$TEST_TMP/listed.py" "$TEST_TMP/fedlora.h5" "$TEST_TMP/columns" || fail "columns that are not listed"

# damaged CODE TEXT...: after the Python code on `file`, all texts are told at once
damaged() {
  local code=$1 text
  cp "$TEST_TMP/fedlora.h5" "$TEST_TMP/damaged.h5"
  "$(fedcell_python)" -c '
import sys, h5py, numpy
with h5py.File(sys.argv[1], "r+") as file:
    exec(sys.argv[2])' "$TEST_TMP/damaged.h5" "$code"
  expect_failure 2 "damaged.h5: $2" "$FEDCELL" info --check "$TEST_TMP/damaged.h5"
  for text in "${@:3}"; do
    grep -qF -- "damaged.h5: $text" "$TEST_TMP/failure.txt" || fail "'$text' is not told: $(cat "$TEST_TMP/failure.txt")"
  done
}
damaged 'del file["rounds/energy_j"]; del file["final/adapter"]; del file["provenance"].attrs["cpu"]' \
  "/rounds/energy_j is missing" "/final/adapter is missing" "/provenance has no cpu"
damaged 'file["rounds/sim_time_s"].attrs["unit"] = "h"' '/rounds/sim_time_s has unit "h", not "s"'
damaged 'file["rounds/sim_time_s"][3] = 0; file["rounds/test_accuracy"][4] = 1.5; file["profile/device"][2] = 3' \
  "/rounds/sim_time_s: row 3 is 0, less than the one before" \
  "/rounds/test_accuracy: row 4 is 1.5, outside its range" "/profile/device: row 2 is 3, not its own number"
damaged 'file["rounds/energy_j"][1] = numpy.nan; file["participation/delivered"][2] = 2' \
  "/rounds/energy_j: row 1 is nan, outside its range" "/participation/delivered: row 2 is 2"
damaged 'file["rounds/participants"][2] = 4' "/rounds/participants: round 2 says -1 more than /participation has"
damaged 'x = file["participation/loss"][:-1]; del file["participation/loss"]; file["participation/loss"] = x' \
  "/participation/loss has 29 rows, the columns before it 30" "/participation/loss has no unit"
damaged 'file["provenance"].attrs["seed"] = 7.0' "/provenance: seed is 7, in the configuration 5"
damaged 'name = next(n for n in file["final/adapter"]); file["final/adapter"][name][0, 0] = numpy.inf' "/final/adapter/"
expect_failure 2 "is not an HDF5 file" "$FEDCELL" info --check "$small"

# a checkpoint of a run that was stopped
mpi_run 1 "$FEDCELL" run "$small" --quiet --set federation.rounds=100000 --output "$TEST_TMP/c.h5" >/dev/null 2>&1 &
job=$!
for ((i = 0; i < 200; i++)); do
  [[ ! -e $TEST_TMP/c.ckpt.h5 ]] || break
  sleep 0.1
done
pkill -KILL -f -- "--output $TEST_TMP/c.h5" || true
wait "$job" 2>/dev/null || true
"$FEDCELL" info --check "$TEST_TMP/c.ckpt.h5" >"$TEST_TMP/said" 2>&1 || fail "a checkpoint: $(cat "$TEST_TMP/said")"
