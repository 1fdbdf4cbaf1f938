#!/usr/bin/env bash
# study: policy from prompts to results: all stages, the same on any number of ranks; what is prepared is
# kept; killed training goes on; results check and rerun; the learned environment judges too; faults are told.
. tests/e2e/common.sh

# 1 rank, and 3 ranks with a cache of their own
fedcell_on 1 run "$policy" --quiet --output "$TEST_TMP/one.h5" >"$TEST_TMP/out"
grep -q 'CWPEM' "$TEST_TMP/out" || fail "no summary: $(cat "$TEST_TMP/out")"
FEDCELL_CACHE=$TEST_TMP/other fedcell_on 3 run "$policy" --quiet --output "$TEST_TMP/three.h5" >/dev/null
same_result "$TEST_TMP/one.h5" "$TEST_TMP/three.h5"
"$FEDCELL" info "$TEST_TMP/one.h5" --check >/dev/null

# the products stay: another seed, and another scenario, train nothing
before=$(ls "$FEDCELL_CACHE")
fedcell_on 2 run "$policy" --quiet --set seed=9 --set evaluation.scenario=2 --output "$TEST_TMP/moved.h5" >/dev/null
[[ $(ls "$FEDCELL_CACHE") == "$before" ]] || fail "trained anew: $(ls "$FEDCELL_CACHE")"
# and another length of training makes no trajectories
fedcell_on 2 pretrain "$policy" --set grpo.iterations=1 >"$TEST_TMP/folder"
[[ -f $(tail -n 1 "$TEST_TMP/folder")/model.safetensors ]] || fail "no policy in $(cat "$TEST_TMP/folder")"
[[ $(find "$FEDCELL_CACHE" -name 'trajectories-*.h5' | wc -l) -eq 1 ]] || fail "trajectories collected again"

fedcell_on 2 rerun "$TEST_TMP/one.h5" --quiet >"$TEST_TMP/out" || fail "$(cat "$TEST_TMP/out")"
grep -q ' agrees: ' "$TEST_TMP/out" || fail "$(cat "$TEST_TMP/out")"

# agents that are not trained
for agent in fedavg eps-greedy exhaustive; do
  fedcell_on 2 run "$policy" --quiet --set policy.agent=$agent --output "$TEST_TMP/$agent.h5" >/dev/null
  "$FEDCELL" info "$TEST_TMP/$agent.h5" --check >/dev/null
done

# in the learned environment: it is in the cache already, and made for agents that are not trained too
before=$(ls "$FEDCELL_CACHE")
fedcell_on 2 run "$policy" --quiet --set evaluation.environment=learned --output "$TEST_TMP/learned.h5" >"$TEST_TMP/out"
grep -q 'grpo: 3 trials of 4 rounds in the learned environment' "$TEST_TMP/out" || fail "$(cat "$TEST_TMP/out")"
[[ $(ls "$FEDCELL_CACHE") == "$before" ]] || fail "trained anew: $(ls "$FEDCELL_CACHE")"
fedcell_on 2 pretrain "$policy" --set policy.agent=fedavg --set evaluation.environment=learned \
  --set dynamics.epochs=1 >"$TEST_TMP/folder"
[[ $(tail -n 1 "$TEST_TMP/folder") == */dynamics-* ]] || fail "no learned environment: $(cat "$TEST_TMP/folder")"
"$FEDCELL" info "$TEST_TMP/learned.h5" --check >/dev/null

# faults
expect_failure 2 "exhaustive: tries before it chooses" "$FEDCELL" check "$policy" --set policy.agent=exhaustive \
  --set evaluation.environment=learned
expect_failure 2 "policy.agent = fedavg is not trained" "$FEDCELL" pretrain "$policy" --set policy.agent=fedavg
expect_failure 2 "holds trials of a policy and no adapter" "$FEDCELL" export "$TEST_TMP/one.h5" "$TEST_TMP/adapter"
expect_failure 2 "holds trials of a policy: only runs" "$FEDCELL" compare "$TEST_TMP/one.h5"
expect_failure 2 "means something in study: federation alone" "$FEDCELL" check "$policy" --set federation.rounds=3
expect_failure 2 "must be at most environment.devices = 6" "$FEDCELL" check "$policy" --set environment.select_min=7
FEDCELL_DATA='' "$FEDCELL" check jobs/experiments/tellm.yaml --size paper --set data.dataset=generated-digits >"$TEST_TMP/out"
grep -q '1235814400 in the policy, 11272192 of them trained' "$TEST_TMP/out" || fail "$(cat "$TEST_TMP/out")"
grep -q 'counted by its published shape' "$TEST_TMP/out" || fail "a policy that is not here: $(cat "$TEST_TMP/out")"
expect_failure 1 "llama-missing" "$FEDCELL" check "$policy" --set policy.model=llama-missing
expect_failure 1 "llama-missing" "$FEDCELL" run "$policy" --set policy.model=llama-missing --output "$TEST_TMP/x.h5"
"$FEDCELL" check "$policy" --json | "$(fedcell_python)" -c \
  'import json, sys; e = json.load(sys.stdin); assert e["policy_weights"] > 1e4 and e["training_flop"] > 5e8, e'
