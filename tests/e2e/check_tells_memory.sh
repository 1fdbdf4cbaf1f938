#!/usr/bin/env bash
# What fedcell check says of a node's memory agrees with the measured peak within 25 %.
. tests/e2e/common.sh

agree() { # NAME RANKS SETTINGS...
  local name=$1 ranks=$2
  shift 2
  local said measured
  fedcell_on "$ranks" run "$small" --quiet --output "$TEST_TMP/$name.h5" "$@"
  said=$("$FEDCELL" check "$small" --ranks "$ranks" --threads 1 "$@" --json |
    "$(fedcell_python)" -c 'import json, sys; print(json.load(sys.stdin)["node_bytes"])')
  measured=$("$FEDCELL" info --json "$TEST_TMP/$name.h5" |
    "$(fedcell_python)" -c 'import json, sys; print(json.load(sys.stdin)["provenance"]["peak_total_bytes"])')
  echo "$name: check says $said bytes, measured $measured"
  awk -v s="$said" -v m="$measured" 'BEGIN { exit !(s > 0.75 * m && s < 1.25 * m) }' ||
    fail "$name: the estimate is off by more than 25 %"
}
agree small 2
# memory dominated by activations, by participants' adapters, by the devices' own models
agree wide 2 --set model.width=256 --set model.ffn=1024 --set federation.local.batch=64
agree many 2 --set adapter.rank=64 --set model.width=256 --set population.devices=400 \
  --set data.samples=20000 --set federation.participants=400 --set federation.rounds=1
agree devices 2 --set federation.method=local --set model.width=256 --set adapter.rank=64 \
  --set population.devices=400 --set data.samples=20000 --set federation.participants=400 \
  --set federation.rounds=1 --set federation.eval_devices=4
# several global models, and of each device what it has decided
settings_of switching
agree modules 2 "${settings[@]}" --set switching.modules=8 --set switching.max_subscriptions=4 \
  --set model.width=256 --set adapter.rank=64 --set population.devices=400 --set data.samples=20000 \
  --set federation.participants=100 --set federation.rounds=1
# a second model that the server tunes, and the scores of heads and neurons
for method in jcpba fedbiot; do
  settings_of $method
  agree $method 2 "${settings[@]}" --set model.width=256 --set model.ffn=1024 --set server.rank=64 \
    --set federation.local.batch=32 --set federation.rounds=1
done
