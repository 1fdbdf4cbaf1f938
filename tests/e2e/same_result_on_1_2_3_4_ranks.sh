#!/usr/bin/env bash
# The same result bit for bit on 1, 2, 3 and 4 ranks, and with 1 or 2 threads, for every method.
. tests/e2e/common.sh

for method in fedlora local centralised fedfull hetlora flexlora flora jcpba ubfp fedbiot deft splitlora switching; do
  settings_of $method
  for ranks in 1 2 3 4; do
    fedcell_on "$ranks" run "$small" --quiet "${settings[@]}" \
      --output "$TEST_TMP/$method-$ranks.h5"
    same_result "$TEST_TMP/$method-1.h5" "$TEST_TMP/$method-$ranks.h5" ||
      fail "$method differs on $ranks ranks"
  done
  OMP_NUM_THREADS=2 fedcell_on 1 run "$small" --quiet "${settings[@]}" \
    --output "$TEST_TMP/$method-threads.h5"
  same_result "$TEST_TMP/$method-1.h5" "$TEST_TMP/$method-threads.h5" ||
    fail "$method differs with two threads"
done
# the comparison must be able to fail: another seed gives another result
fedcell_on 2 run "$small" --quiet --set seed=6 --output "$TEST_TMP/other.h5"
if same_result "$TEST_TMP/fedlora-1.h5" "$TEST_TMP/other.h5"; then
  fail "another seed gave the same result"
fi
