#!/usr/bin/env bash
# fedcell rerun repeats a result from the configuration inside its file; a changed file is noticed.
. tests/e2e/common.sh

fedcell_on 2 run "$small" --quiet --set federation.local.learning_rate=0.013 --output "$TEST_TMP/a.h5"
fedcell_on 3 rerun "$TEST_TMP/a.h5" >"$TEST_TMP/out" 2>/dev/null || fail "$(cat "$TEST_TMP/out")"
grep -q ' agrees: all [1-9][0-9]* datasets are the same' "$TEST_TMP/out" || fail "$(cat "$TEST_TMP/out")"
"$(fedcell_python)" - "$TEST_TMP/a.h5" <<'PY'
import sys, h5py
with h5py.File(sys.argv[1], "r+") as file:
    file["rounds/test_loss"][3] += 1e-6
PY
expect_failure 1 "does not agree: 1 of" fedcell_on 1 rerun "$TEST_TMP/a.h5"
