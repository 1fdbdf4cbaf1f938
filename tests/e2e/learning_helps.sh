#!/usr/bin/env bash
# From the pretrained base, federated LoRA beats the base and the same work without communication,
# and comes near pooled data; nothing is trained on the test part.
. tests/e2e/common.sh

settings=(--quiet --set federation.rounds=40 --set pretrain.steps=300 --set federation.eval_every=20 --set federation.eval_devices=10)
for method in fedlora local centralised; do
  OMP_NUM_THREADS=1 fedcell_on 2 run jobs/experiments/quickstart.yaml "${settings[@]}" \
    --set federation.method=$method --output "$TEST_TMP/$method.h5"
done
base=$("$(fedcell_python)" -c '
import h5py, sys
print(h5py.File(sys.argv[1], "r")["rounds/test_accuracy"][0])' "$TEST_TMP/fedlora.h5")
fedlora=$(figure "$TEST_TMP/fedlora.h5" test_accuracy)
local=$(figure "$TEST_TMP/local.h5" test_accuracy)
central=$(figure "$TEST_TMP/centralised.h5" test_accuracy)
echo "test accuracy: base $base, local $local, fedlora $fedlora, centralised $central"
awk -v b="$base" -v l="$local" -v f="$fedlora" -v c="$central" \
  'BEGIN { exit !(f > b + 0.1 && f > l + 0.05 && f > c - 0.1) }' || fail "learning does not help enough"

# two modules between which devices switch, answering together
fedcell_on 2 run jobs/experiments/quickstart.yaml "${settings[@]}" --set federation.method=switching \
  --set switching.modules=2 --set switching.mu=0 --set cell.pathloss=power-law --set cell.radius_m=67 \
  --set population.devices=20 --set federation.participants=20 --output "$TEST_TMP/switching.h5"
switching=$(figure "$TEST_TMP/switching.h5" test_accuracy)
echo "switching: $switching"
awk -v b="$base" -v s="$switching" 'BEGIN { exit !(s > b + 0.1) }' || fail "switching learns too little"
