#!/usr/bin/env bash
# Missing data, a malformed data set, a model of the wrong shape, a damaged checkpoint or result: a
# clear message that names the file, and an exit code that is not 0.
. tests/e2e/common.sh

data=$TEST_TMP/sst2
expect_failure 1 "$data" fedcell_on 2 run "$small" --set data.dataset=sst2 --set data.dir="$data" \
  --output "$TEST_TMP/x.h5"
mkdir -p "$data"
printf 'sentence\tlabel\na fine film\t1\nno label here\n' >"$data/train.tsv"
printf 'sentence\tlabel\na dull film\t0\n' >"$data/dev.tsv"
expect_failure 2 "train.tsv:3" fedcell_on 2 run "$small" --set data.dataset=sst2 \
  --set data.dir="$data" --output "$TEST_TMP/x.h5"

model=$TEST_TMP/model
expect_failure 1 "$model" fedcell_on 2 run "$small" --set model.base="$model" --output "$TEST_TMP/x.h5"
base=$(fedcell_on 1 pretrain "$small" --set model.base=embedded --set pretrain.steps=2 2>/dev/null)
[[ -f $base/config.json && -f $base/model.safetensors ]] || fail "no base in '$base'"
cp -r "$base" "$model"
sed -i 's/"hidden_size": *16/"hidden_size": 20/' "$model/config.json"
expect_failure 2 "the model needs [" fedcell_on 2 run "$small" --set model.base="$model" \
  --output "$TEST_TMP/x.h5"
cp "$base/config.json" "$model/config.json"
truncate -s -100 "$model/model.safetensors"
expect_failure 2 "model.safetensors" fedcell_on 2 run "$small" --set model.base="$model" \
  --output "$TEST_TMP/x.h5"
[[ ! -e $TEST_TMP/x.h5 ]] || fail "a result after a failure"

# a checkpoint of another configuration, and a damaged one
fedcell_on 1 run "$small" --quiet --set federation.rounds=100000 --output "$TEST_TMP/c.h5" 2>/dev/null &
job=$!
for ((i = 0; i < 100; i++)); do
  [[ ! -e $TEST_TMP/c.ckpt.h5 ]] || break
  sleep 0.1
done
pkill -KILL -f -- "--output $TEST_TMP/c.h5" || true
wait "$job" 2>/dev/null || true
expect_failure 2 "another value of federation.local.batch" fedcell_on 2 run "$small" --resume \
  --set federation.rounds=100000 --set federation.local.batch=3 --output "$TEST_TMP/c.h5"
truncate -s 1000 "$TEST_TMP/c.ckpt.h5"
code=0
timeout 60 "$FEDCELL" run "$small" --resume --output "$TEST_TMP/c.h5" >"$TEST_TMP/log" 2>&1 || code=$?
[[ $code -eq 1 || $code -eq 2 ]] || fail "a damaged checkpoint: exit code $code"
grep -q 'c.ckpt.h5' "$TEST_TMP/log" || fail "the damaged checkpoint is not named: $(cat "$TEST_TMP/log")"
expect_failure 2 "small.yaml" "$FEDCELL" info "$small"
