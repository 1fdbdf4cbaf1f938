#!/usr/bin/env bash
# A model file of llama2.c and its tokeniser: greedy generation gives the known text, draws depend on
# the seed, and what cannot be is refused.
. tests/e2e/common.sh
model=../shared/models/stories260K.bin known=../shared/models/stories260K.greedy200.txt
tokens=../shared/tokenizers/llama2c/tok512.bin
for file in "$model" "$known" "$tokens"; do
  [[ -f $file ]] || skip "$file is not there"
done
generate=("$FEDCELL" generate --model "$model" --tokenizer "$tokens")

"${generate[@]}" --temperature 0 --steps 200 >"$TEST_TMP/greedy.txt"
cmp "$TEST_TMP/greedy.txt" "$known" || fail "the greedy text is not the known one"

for seed in 3 3 4; do
  "${generate[@]}" --prompt "Tom had a red" --temperature 0.9 --top-p 0.9 --seed "$seed" \
    --steps 30 >>"$TEST_TMP/drawn.txt"
  echo "<end>" >>"$TEST_TMP/drawn.txt"
done
mapfile -d '' -t drawn < <(sed 's/<end>/\x00/' "$TEST_TMP/drawn.txt" | sed -z 's/^\n//')
[[ ${drawn[0]} == "Tom had a red"* ]] || fail "the text does not begin with the prompt: ${drawn[0]}"
[[ ${drawn[0]} == "${drawn[1]}" ]] || fail "one seed gave two texts"
[[ ${drawn[0]} != "${drawn[2]}" ]] || fail "two seeds gave one text"

head -c 1000 "$model" >"$TEST_TMP/cut.bin"
expect_failure 2 "cut.bin: the file has 1000 bytes, its header asks for 1056540" \
  "$FEDCELL" generate --model "$TEST_TMP/cut.bin" --tokenizer "$tokens"
expect_failure 2 "generate: needs --model PATH" "$FEDCELL" generate
expect_failure 2 "generate --temperature x: must be a number" "${generate[@]}" --temperature x
expect_failure 2 "temperature is -1, allowed is 0 or more" "${generate[@]}" --temperature -1
expect_failure 2 "top_p is 0, allowed is above 0 to 1" "${generate[@]}" --top-p 0
expect_failure 2 "a prompt of 1 tokens and 600 steps: the model has 512 positions" \
  "${generate[@]}" --steps 600
