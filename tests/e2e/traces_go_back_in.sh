#!/usr/bin/env bash
# The devices and channels of a result file, given to another run as population.trace and cell.trace
# (HDF5, or written out as CSV), are the same to the last bit, whatever that run's own settings say.
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

# channels: without fading and interferers of its own, the other run has those of the first
faded=(--set cell.pathloss=power-law --set cell.interferer_density_per_m2=1e-6 --set cell.fading=rician)
fedcell_on 2 run "$small" --quiet "${drawn[@]}" "${faded[@]}" --output "$TEST_TMP/e.h5"
same_devices=(--set cell.fading=none --set population.trace="$TEST_TMP/e.h5")
fedcell_on 2 run "$small" --quiet "${same_devices[@]}" --set cell.trace="$TEST_TMP/e.h5" --output "$TEST_TMP/f.h5"
same_result "$TEST_TMP/e.h5" "$TEST_TMP/f.h5" || fail "other channels from HDF5"
"$(fedcell_python)" - "$TEST_TMP/e.h5" "$TEST_TMP/channels.csv" <<'PY'
import csv, sys, h5py
with h5py.File(sys.argv[1], "r") as file, open(sys.argv[2], "w", newline="") as out:
    names = ["device", "gain_up", "round", "gain_down", "interference_up_w"]
    rows = zip(*(file["participation"][n][()].tolist() for n in names))
    csv.writer(out).writerows([names, *([repr(x) for x in row] for row in reversed(list(rows)))])
PY
fedcell_on 1 run "$small" --quiet "${same_devices[@]}" --set cell.trace="$TEST_TMP/channels.csv" --output "$TEST_TMP/g.h5"
same_result "$TEST_TMP/e.h5" "$TEST_TMP/g.h5" || fail "other channels from CSV"
fedcell_on 1 run "$small" --quiet "${same_devices[@]}" --output "$TEST_TMP/h.h5"
if same_result "$TEST_TMP/e.h5" "$TEST_TMP/h.h5"; then fail "the channel trace makes no difference"; fi
check_channels() { "$FEDCELL" check "$small" --set cell.trace="$TEST_TMP/channels.csv"; }
export -f check_channels
export FEDCELL small TEST_TMP
printf 'round,device,gain_up\n1,0,0.5\n1,0,0.25\n' >"$TEST_TMP/channels.csv"
expect_failure 2 "channels.csv: round 1, device 0 is there twice" check_channels
printf 'round,device,gain_up\n1.5,0,0.5\n' >"$TEST_TMP/channels.csv"
expect_failure 2 "channels.csv: round 1.5, device 0: must be whole numbers" check_channels
printf 'round,gain_up\n1,0.5\n' >"$TEST_TMP/channels.csv"
expect_failure 2 "channels.csv: needs the columns round and device" check_channels
printf 'round,device,gain\n1,0,0.5\n' >"$TEST_TMP/channels.csv"
expect_failure 2 'channels.csv:1: no such column: "gain"; did you mean gain_up?' check_channels
printf 'round,device,gain_up\n1,0,-0.5\n' >"$TEST_TMP/channels.csv"
expect_failure 2 "channels.csv:2: gain_up = -0.5: must be 0 to 1000000" check_channels

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
expect_failure 2 "made.h5: row 1: compute_flops = 0: must be 1 to 1e+21" check
make_trace 1e12,2e12 3
expect_failure 2 "made.h5: /profile/tx_power_w has 3 rows, expected 2" check
"$(fedcell_python)" -c 'import h5py, sys; h5py.File(sys.argv[1], "w").attrs["fedcell_format"] = 1' "$TEST_TMP/made.h5"
expect_failure 2 "made.h5: /profile has none of the columns of population.trace" check
