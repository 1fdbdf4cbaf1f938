#!/usr/bin/env bash
# fedcell solve: README's examples, malformed problems (exit 2, the field named, once), infeasible ones
# (exit 0, a reason), standard input, the same answer on any number of ranks and threads.
. tests/e2e/common.sh
allow_mpi_as_root
"$(fedcell_python)" tests/e2e/solve.py "$FEDCELL"

problem=$TEST_TMP/p.json
# refused TEXT MESSAGE: TEXT as a problem of jcpba is malformed
refused() {
  printf '%s' "$1" >"$problem"
  expect_failure 2 "$2" "$FEDCELL" solve jcpba "$problem"
  expect_failure 2 "$2" fedcell_on 2 solve jcpba "$problem"
}
refused '' 'p.json:1: the problem: parse error: premature EOF'
refused '{"generate": {"seed": 1, "count": 2},
 "server": {"bandwidth_hz": -1}}' 'p.json:2: server.bandwidth_hz: is -1, must not be negative'
refused '{"clients": [{"compute_flops": NaN}]}' 'p.json:1: clients[0].compute_flops: '
expect_failure 2 'no solver jcpab; did you mean jcpba?' fedcell_on 2 solve jcpab "$problem"
expect_failure 2 'solve: needs NAME PROBLEM.json, got 1' "$FEDCELL" solve jcpba
expect_failure 1 'none.json: No such file or directory' fedcell_on 2 solve jcpba "$TEST_TMP/none.json"

# infeasible is an answer
echo '{"generate": {"seed": 1, "count": 5, "uplink_gain": 0}}' >"$problem"
answer=$(fedcell_on 2 solve jcpba "$problem")
[[ $answer == '{"status":"infeasible","reason":"clients[0].uplink_gain is 0: no finite latency at any bandwidth"}' ]] ||
  fail "$answer"

# any number of ranks and threads; standard input
for count in 1 7 20000; do
  echo "{\"generate\": {\"seed\": 3, \"count\": $count}}" >"$problem"
  "$FEDCELL" solve jcpba - <"$problem" >"$TEST_TMP/alone.json"
  OMP_NUM_THREADS=2 "$FEDCELL" solve jcpba "$problem" >"$TEST_TMP/threads.json"
  fedcell_on 3 solve jcpba "$problem" >"$TEST_TMP/ranks.json"
  cmp "$TEST_TMP/alone.json" "$TEST_TMP/threads.json" || fail "threads change the answer"
  cmp "$TEST_TMP/alone.json" "$TEST_TMP/ranks.json" || fail "ranks change the answer"
done
