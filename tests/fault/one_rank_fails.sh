#!/usr/bin/env bash
# A failure on one rank ends all ranks within seconds, with one message and an exit code: out of
# memory on one rank, a loss that is not finite, a rank that is killed.
. tests/e2e/common.sh

# Rank 1 alone may not have the memory for 400 participants of a wide model.
starved=$TEST_TMP/starved.sh
cat >"$starved" <<'SH'
#!/usr/bin/env bash
if [[ $OMPI_COMM_WORLD_RANK == 1 ]]; then export FEDCELL_MEMORY_LIMIT=30000000; fi
exec "$@"
SH
chmod +x "$starved"
began=$SECONDS
expect_failure 1 "out of memory" mpi_run 3 "$starved" "$FEDCELL" run "$small" \
  --set model.width=256 --set adapter.rank=64 --set federation.local.batch=64 --output "$TEST_TMP/x.h5"
((SECONDS - began < 20)) || fail "it took $((SECONDS - began)) s to end"

# A learning rate that blows the weights up.
expect_failure 1 "not finite" mpi_run 3 "$FEDCELL" run "$small" --set federation.rounds=50 \
  --set federation.local.optimizer=sgd --set federation.local.clip_norm=0 \
  --set federation.local.learning_rate=1e3 --set federation.local.iterations=50 \
  --set adapter.alpha=1e6 --output "$TEST_TMP/x.h5"
[[ ! -e $TEST_TMP/x.h5 ]] || fail "a result after a failure"

# A rank that dies takes the others with it.
mpi_run 3 "$FEDCELL" run "$small" --quiet --set federation.rounds=1000000 --output "$TEST_TMP/k.h5" \
  >/dev/null 2>&1 &
job=$!
sleep 2
began=$SECONDS
pkill -KILL -o -f -- "^$FEDCELL run .*--output $TEST_TMP/k.h5" || fail "nobody to kill"
code=0
wait "$job" || code=$?
[[ $code -ne 0 ]] || fail "exit code 0 after a rank was killed"
((SECONDS - began < 20)) || fail "the others went on for $((SECONDS - began)) s"
