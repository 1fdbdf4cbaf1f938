#!/usr/bin/env bash
# The devices of a result file, given to another run as population.trace (HDF5, or written out as CSV),
# are the same devices to the last bit, whatever that run's own distributions say.
. tests/e2e/common.sh

drawn=(--set 'population.compute_flops={log_uniform: [1e11, 1e13]}' --set 'population.tx_power_w={uniform: [0.05, 0.3]}'
  --set 'population.energy_per_flop_j={uniform: [1e-12, 9e-12]}' --set 'population.energy_kappa={uniform: [0, 1e-36]}'
  --set 'population.memory_bytes={choice: [2e9, 4e9]}' --set 'population.battery_j={choice: [0, 5000]}')
radio=(--set cell.pathloss=uma --set cell.radius_m=900)
fedcell_on 2 run "$small" --quiet "${drawn[@]}" "${radio[@]}" --output "$TEST_TMP/a.h5"
fedcell_on 2 run "$small" --quiet --set cell.pathloss=fixed --set cell.radius_m=900 \
  --set population.trace="$TEST_TMP/a.h5" --output "$TEST_TMP/b.h5"
same_result "$TEST_TMP/a.h5" "$TEST_TMP/b.h5" || fail "other devices from HDF5"

"$(fedcell_python)" - "$TEST_TMP/a.h5" "$TEST_TMP/devices.csv" <<'PY'
import csv, sys, h5py
with h5py.File(sys.argv[1], "r") as file, open(sys.argv[2], "w", newline="") as out:
    names = [n for n in file["profile"] if n not in ("device", "samples")]
    rows = zip(*(file["profile"][n][()].tolist() for n in names))
    csv.writer(out).writerows([names, *([repr(x) for x in row] for row in rows)])
PY
fedcell_on 1 run "$small" --quiet --set cell.radius_m=900 --set population.trace="$TEST_TMP/devices.csv" \
  --output "$TEST_TMP/c.h5"
same_result "$TEST_TMP/a.h5" "$TEST_TMP/c.h5" || fail "other devices from CSV"
# the comparison must be able to fail: without the trace they are other devices
fedcell_on 1 run "$small" --quiet --set cell.radius_m=900 --output "$TEST_TMP/d.h5"
if same_result "$TEST_TMP/a.h5" "$TEST_TMP/d.h5"; then fail "the trace makes no difference"; fi

# a file of the same form that another program made; what it does not name is drawn
cat >"$TEST_TMP/make.py" <<'PY'
import sys, h5py
with h5py.File(sys.argv[1], "w") as file:
    file.attrs["fedcell_format"] = 1
    file["profile/compute_flops"] = [float(x) for x in sys.argv[2].split(",")]
    if len(sys.argv) > 3:
        file["profile/tx_power_w"] = [0.1] * int(sys.argv[3])
PY
make_trace() { "$(fedcell_python)" "$TEST_TMP/make.py" "$TEST_TMP/made.h5" "$@"; }
check() { "$FEDCELL" check "$small" --set population.trace="$TEST_TMP/made.h5"; }
export -f check
export FEDCELL small TEST_TMP
make_trace 1e12,1e12,1e12,1e12,1e12,1e12,1e12,1e12,1e12,1e12,1e12,2e12 12
check >/dev/null || fail "a file of the same form is refused"
make_trace 1e12,2e12
expect_failure 2 "made.h5 has 2 rows" check
make_trace 1e12,0
expect_failure 2 "made.h5: compute_flops of device 1 = 0: must be 1 to 1e+21" check
make_trace 1e12,2e12 3
expect_failure 2 "made.h5: /profile/tx_power_w has 3 rows, expected 2" check
"$(fedcell_python)" -c 'import h5py, sys; h5py.File(sys.argv[1], "w").attrs["fedcell_format"] = 1' "$TEST_TMP/made.h5"
expect_failure 2 "made.h5: /profile has no column of a device's profile" check
