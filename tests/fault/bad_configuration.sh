#!/usr/bin/env bash
# Every kind of bad input: one message with file, line, option, value and what is allowed; exit code
# 2; nothing is run and nothing is lost. On 2 ranks the message still comes once.
. tests/e2e/common.sh

bad=$TEST_TMP/bad.yaml
sed -e 's/rounds: 6/rounds: -3/' -e 's/fading: rayleigh/fading: raleigh/' \
  -e 's/participants: 5/participant: 5/' "$small" >"$bad"
expect_failure 2 "bad.yaml:8: federation.rounds = -3" fedcell_on 2 run "$bad"
for text in "bad.yaml:7: cell.fading = raleigh" "did you mean federation.participants"; do
  grep -qF "$text" "$TEST_TMP/failure.txt" || fail "'$text' is not told together with the rest"
done
[[ ! -e results ]] || [[ -z $(find results -name 'small-*' -newer "$bad") ]] || fail "something was run"

expect_failure 2 "federation.rounds=x" "$FEDCELL" run "$small" --set federation.rounds=x
expect_failure 2 "no option --sett" "$FEDCELL" run "$small" --sett a=b
expect_failure 2 "no command runn; did you mean run?" "$FEDCELL" runn
expect_failure 2 "needs one FILE.yaml" "$FEDCELL" run
expect_failure 1 "none.yaml: cannot be read: No such file" "$FEDCELL" run "$TEST_TMP/none.yaml"
printf 'seed: [1\nx: }' >"$bad"
expect_failure 2 "bad.yaml:" "$FEDCELL" check "$bad"
expect_failure 2 "federation.participants=13: must be at most population.devices = 12" "$FEDCELL" run "$small" \
  --set federation.participants=13 --output "$TEST_TMP/x.h5"
expect_failure 2 "allowed are gpt2, llama" "$FEDCELL" run "$small" --set data.dataset=generated-problems \
  --set data.split=iid --output "$TEST_TMP/x.h5"
expect_failure 2 "holds images" "$FEDCELL" run "$small" --set data.dataset=generated-digits \
  --output "$TEST_TMP/x.h5"
expect_failure 2 "adapter.targets" "$FEDCELL" run "$small" --set 'adapter.targets=[c_attn]' \
  --output "$TEST_TMP/x.h5"
expect_failure 2 "adapter.last_blocks is 3, but the model has 2 blocks" fedcell_on 2 run "$small" \
  --set adapter.last_blocks=3 --output "$TEST_TMP/x.h5"

# an existing result is not overwritten unasked
fedcell_on 1 run "$small" --quiet --output "$TEST_TMP/y.h5"
before=$(md5sum <"$TEST_TMP/y.h5")
expect_failure 2 "y.h5 exists" "$FEDCELL" run "$small" --output "$TEST_TMP/y.h5"
[[ $(md5sum <"$TEST_TMP/y.h5") == "$before" ]] || fail "the old result was touched"
