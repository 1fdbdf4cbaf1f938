#!/usr/bin/env bash
# A trained adapter leaves as a PEFT folder, and a run that starts from it begins where the first one
# ended; its base goes with it. What cannot be exported or taken up is told. (That PEFT itself opens
# the folder: tests/oracle/test_peft_interchange.py.)
. tests/e2e/common.sh

run=$TEST_TMP/run.h5
adapter=$TEST_TMP/new/adapter
fedcell_on 2 run "$small" --quiet --output "$run"
fedcell_on 2 export "$run" "$adapter" --base "$TEST_TMP/base" >"$TEST_TMP/told"
[[ $(<"$TEST_TMP/told") == "adapter in $adapter
base model in $TEST_TMP/base" ]] || fail "export says: $(<"$TEST_TMP/told")"
[[ -s $adapter/adapter_config.json && -s $adapter/adapter_model.safetensors ]] || fail "no adapter"
[[ -s $TEST_TMP/base/config.json && -s $TEST_TMP/base/model.safetensors ]] || fail "no base"

# loss FILE FIRST|LAST
loss() {
  "$(fedcell_python)" -c 'import h5py, sys
print(repr(float(h5py.File(sys.argv[1])["rounds/test_loss"][{"FIRST": 0, "LAST": -1}[sys.argv[2]]])))' "$@"
}
fedcell_on 2 run "$small" --quiet --output "$TEST_TMP/on.h5" --set "adapter.init=$adapter"
[[ $(loss "$TEST_TMP/on.h5" FIRST) == "$(loss "$run" LAST)" ]] || fail "it does not begin where the first run ended"
[[ $(loss "$run" FIRST) != "$(loss "$run" LAST)" ]] || fail "the first run learnt nothing: the test would see nothing"

# the exported base, found by its name under FEDCELL_DATA/models, is the same model
mkdir -p "$TEST_TMP/data/models"
mv "$TEST_TMP/base" "$TEST_TMP/data/models/tiny"
FEDCELL_DATA=$TEST_TMP/data fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/named.h5" \
  --set model.base=tiny --set model.pooling=first --set "adapter.init=$adapter"
[[ $(loss "$TEST_TMP/named.h5" FIRST) == "$(loss "$run" LAST)" ]] || fail "the exported base is another model"
expect_failure 1 "model.base = tiny is neither embedded nor random nor a folder or file that can be read" \
  "$FEDCELL" run "$small" --set model.base=tiny --output "$TEST_TMP/x.h5"

# methods that cut the model: blocks are told as the original counts them, and an emulator that the
# server has tuned goes with the adapter
settings_of fedbiot
fedcell_on 2 run "$small" --quiet --output "$TEST_TMP/thinned.h5" "${settings[@]}"
fedcell_on 1 export "$TEST_TMP/thinned.h5" "$TEST_TMP/thinned" >/dev/null
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/whole.h5" --set model.layers=3 --set adapter.last_blocks=1 \
  --set data.public_fraction=0.2 --set "adapter.init=$TEST_TMP/thinned"
[[ $(loss "$TEST_TMP/whole.h5" FIRST) == "$(loss "$TEST_TMP/thinned.h5" LAST)" ]] || fail "fedbiot: not the adapter of the original"
settings_of jcpba
fedcell_on 2 run "$small" --quiet --output "$TEST_TMP/tuned.h5" "${settings[@]}"
expect_failure 2 "the run has changed the base that its adapter belongs to; export that too (--base FOLDER)" \
  "$FEDCELL" export "$TEST_TMP/tuned.h5" "$TEST_TMP/tuned"
fedcell_on 1 export "$TEST_TMP/tuned.h5" "$TEST_TMP/tuned" --base "$TEST_TMP/tuned-base" >/dev/null
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/whole.h5" --overwrite --set model.layers=3 --set adapter.last_blocks=1 \
  --set data.public_fraction=0.2 --set "adapter.init=$TEST_TMP/tuned" --set "model.base=$TEST_TMP/tuned-base"
[[ $(loss "$TEST_TMP/whole.h5" FIRST) == "$(loss "$TEST_TMP/tuned.h5" LAST)" ]] || fail "jcpba: not the emulator that was tuned"

# several modules: a folder each, with what the result holds of it
settings_of switching
fedcell_on 2 run "$small" --quiet --output "$TEST_TMP/modules.h5" "${settings[@]}"
fedcell_on 2 export "$TEST_TMP/modules.h5" "$TEST_TMP/modules" --base "$TEST_TMP/modules-base" >/dev/null
"$(fedcell_python)" - "$TEST_TMP/modules.h5" "$TEST_TMP/modules" <<'PYTHON' || fail "modules are not as the result has them"
import json, os, sys, h5py, numpy
result, folder = h5py.File(sys.argv[1]), sys.argv[2]
assert sorted(os.listdir(folder)) == [f"module_{m}" for m in range(4)], os.listdir(folder)
seen = set()
for m in range(4):
    kept = result["final/adapter" + (f"_{m}" if m else "")]
    assert json.load(open(f"{folder}/module_{m}/adapter_config.json"))["r"] == 4
    raw = open(f"{folder}/module_{m}/adapter_model.safetensors", "rb").read()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = {name: entry for name, entry in json.loads(raw[8:start]).items() if name != "__metadata__"}
    assert set(header) == set(kept), set(header) ^ set(kept)
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        numpy.testing.assert_array_equal(numpy.frombuffer(raw[start + first : start + last], "<f4"), kept[name][()].ravel())
    seen.add(raw)
assert len(seen) == 4, "modules are alike"
PYTHON
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/one.h5" --set "adapter.init=$TEST_TMP/modules/module_3"

# the base in half the size, as what config.json says
"$FEDCELL" export "$run" "$TEST_TMP/half" --base "$TEST_TMP/half-base" --dtype bfloat16 >"$TEST_TMP/told"
grep -q '"torch_dtype": "bfloat16"' "$TEST_TMP/half-base/config.json" || fail "config.json does not say bfloat16"
full=$(stat -c %s "$TEST_TMP/data/models/tiny/model.safetensors") half=$(stat -c %s "$TEST_TMP/half-base/model.safetensors")
((2 * half < full + 20000 && half < full)) || fail "bfloat16 takes $half bytes, float32 $full"
expect_failure 2 "export --dtype float8: allowed are float32, float16, bfloat16" \
  "$FEDCELL" export "$run" "$TEST_TMP/half" --base "$TEST_TMP/half-base" --dtype float8
expect_failure 2 "export --dtype is the base's: give --base FOLDER too" "$FEDCELL" export "$run" "$TEST_TMP/half" --dtype float16

# mean pooling is told of: transformers' heads do not do it
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/mean.h5" --set model.pooling=mean
"$FEDCELL" export "$TEST_TMP/mean.h5" "$TEST_TMP/mean" >"$TEST_TMP/said" 2>&1
grep -q "mean of all tokens" "$TEST_TMP/said" || fail "mean pooling is not told of"

expect_failure 2 "export: needs OUT.h5 FOLDER, got 1" "$FEDCELL" export "$run"
expect_failure 2 "export: needs OUT.h5 FOLDER, got 3" "$FEDCELL" export "$run" a b
expect_failure 1 "none.h5" "$FEDCELL" export "$TEST_TMP/none.h5" "$TEST_TMP/x"
expect_failure 1 "cannot make this folder" fedcell_on 2 export "$run" "$run/inside"
expect_failure 2 "must be empty for adapter.kind = full" "$FEDCELL" run "$small" \
  --set "adapter.init=$adapter" --set adapter.kind=full --output "$TEST_TMP/x.h5"
expect_failure 2 "adapter.init: $adapter/adapter_config.json: r is 4, but adapter.rank is 2 here" fedcell_on 2 run "$small" \
  --set "adapter.init=$adapter" --set adapter.rank=2 --output "$TEST_TMP/x.h5"
expect_failure 1 "adapter.init: cannot read $TEST_TMP/none/adapter_config.json: is it an adapter's folder?" \
  "$FEDCELL" run "$small" --set "adapter.init=$TEST_TMP/none" --output "$TEST_TMP/x.h5"
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/local.h5" --set federation.method=local
expect_failure 2 "it is a checkpoint, or its devices kept models of their own" "$FEDCELL" export "$TEST_TMP/local.h5" "$TEST_TMP/x"
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/full.h5" --set adapter.kind=full
expect_failure 2 "nothing has a low-rank adapter, and PEFT's format needs one" "$FEDCELL" export "$TEST_TMP/full.h5" "$TEST_TMP/x"
echo "the adapter leaves, comes back and is refused where it does not fit"
