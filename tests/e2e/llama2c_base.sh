#!/usr/bin/env bash
# A model file of llama2.c as the base of a run, with its tokeniser named or found beside it; exported,
# the base is an ordinary folder. What does not fit together is told.
. tests/e2e/common.sh
model=../shared/models/stories260K.bin tokens=../shared/tokenizers/llama2c/tok512.bin
for file in "$model" "$tokens"; do
  [[ -f $file ]] || skip "$file is not there"
done
run=("$FEDCELL" run "$TEST_TMP/stories.yaml" --quiet)
cat >"$TEST_TMP/stories.yaml" <<'YAML'
experiment: stories
model: {family: llama}
adapter: {rank: 4, targets: [q_proj, v_proj]}
data: {dataset: generated-problems, samples: 120, test_samples: 20, max_length: 64, split: iid}
population: {devices: 6}
federation: {method: fedlora, rounds: 2, participants: 3, local: {iterations: 2, batch: 2, learning_rate: 1.0e-3}}
YAML

"${run[@]}" --set "model.base=$model" --set "model.tokenizer=$tokens" --output "$TEST_TMP/named.h5"
mkdir -p "$TEST_TMP/data/models"
cp "$model" "$tokens" "$TEST_TMP/data/models"
"${run[@]}" --set "model.base=$TEST_TMP/data/models/stories260K.bin" --output "$TEST_TMP/beside.h5"
FEDCELL_DATA=$TEST_TMP/data "${run[@]}" --set model.base=stories260K.bin --output "$TEST_TMP/found.h5"
for other in beside found; do
  same_result "$TEST_TMP/named.h5" "$TEST_TMP/$other.h5" || fail "$other: another result"
done
[[ $(figure "$TEST_TMP/named.h5" test_loss) != nan ]] || fail "no loss"

# the exported base begins where the file does
"$FEDCELL" export "$TEST_TMP/named.h5" "$TEST_TMP/adapter" --base "$TEST_TMP/base" >/dev/null
"${run[@]}" --set "model.base=$TEST_TMP/base" --output "$TEST_TMP/again.h5"
same_result "$TEST_TMP/named.h5" "$TEST_TMP/again.h5" || fail "the exported base is another model"

expect_failure 2 "model.family is gpt2, but $model describes another family" \
  "${run[@]}" --set "model.base=$model" --set model.family=gpt2 --set "adapter.targets=[c_attn]" --output "$TEST_TMP/x.h5"
expect_failure 2 "model.tokenizer is empty, and ../shared/models: the folder holds no tokeniser" \
  "${run[@]}" --set "model.base=$model" --output "$TEST_TMP/x.h5"
head -c 1000 "$model" >"$TEST_TMP/cut.bin"
expect_failure 2 "cut.bin: the file has 1000 bytes, its header asks for 1056540" \
  "${run[@]}" --set "model.base=$TEST_TMP/cut.bin" --set "model.tokenizer=$tokens" --output "$TEST_TMP/x.h5"
expect_failure 1 "none.bin is neither embedded nor random nor a folder or file that can be read" \
  "${run[@]}" --set "model.base=$TEST_TMP/none.bin" --output "$TEST_TMP/x.h5"
echo "a model file of llama2.c serves as a base"
