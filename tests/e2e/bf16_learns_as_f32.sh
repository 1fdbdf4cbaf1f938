#!/usr/bin/env bash
# Over 200 optimiser steps the loss in bf16 stays with the loss in f32: far nearer than another seed
# does, which draws other participants and batches.
. tests/e2e/common.sh

run() { # NAME SETTINGS...
  local name=$1
  shift
  fedcell_on 2 run jobs/experiments/quickstart.yaml --quiet --output "$TEST_TMP/$name.h5" \
    --set pretrain.steps=200 --set federation.local.iterations=5 --set federation.rounds=40 "$@"
}
run f32 --set model.precision=f32
run bf16 --set model.precision=bf16
run other-seed --set model.precision=f32 --set seed=2
"$FEDCELL" info --json "$TEST_TMP/bf16.h5" >"$TEST_TMP/bf16.json"
grep -q '"precision": "bf16, path ' "$TEST_TMP/bf16.json" ||
  fail "the result does not say that it was computed in bf16"
"$(fedcell_python)" - "$TEST_TMP" <<'PYTHON' || fail "the losses part"
import sys
import h5py
import numpy as np

f32, bf16, seed = (
    h5py.File(f"{sys.argv[1]}/{name}.h5")["rounds/train_loss"][1:] for name in ("f32", "bf16", "other-seed")
)
rounding, noise = np.abs(bf16 - f32), np.abs(seed - f32)
print(f"train loss {f32[0]:.4f} -> {f32[-1]:.4f} (f32), {bf16[-1]:.4f} (bf16)")
print(f"mean distance to f32: bf16 {rounding.mean():.2e}, another seed {noise.mean():.2e}")
assert rounding.max() > 0, "bf16 rounded nothing"
assert rounding.mean() < 0.1 * noise.mean() and abs(bf16[-5:].mean() - f32[-5:].mean()) < 0.01
PYTHON
