#!/usr/bin/env bash
# A task that is told to stop (as before its time limit) and one that Slurm takes away are queued again,
# one that is cancelled is submitted again; all go on from their checkpoint and end with the result of
# an undisturbed run.
. tests/slurm/common.sh

cat >"$TEST_TMP/long.yaml" <<'YAML'
base: small.yaml
set: {federation.rounds: 400, federation.eval_every: 50, checkpoint.every_rounds: 10}
seeds: 3
YAML
sweep=$TEST_TMP/long.yaml results=$TEST_TMP/long
checkpoint_of() { [[ -e "$results/seed=$1.ckpt.h5" ]]; }

submit "$sweep" "$results"
for seed in 1 2 3; do wait_for 60 "point $seed does not begin" checkpoint_of "$seed"; done
scancel --batch --signal=USR1 "${array}_1"
scontrol requeue "${array}_2"
scancel "${array}_3"
wait_for 20 "point 1 does not stop" logs_say 'stopped (exit code 75), queued again' "$results/slurm-1.log"
wait_for 120 "the analysis does not come to its end" ended "$analysis"
for seed in 1 2; do
  logs_say 'continuing after round' "$results/slurm-$seed.log" ||
    fail "point $seed was not continued: $(cat "$results/slurm-$seed.log")"
done
[[ $("$FEDCELL" sweep "$sweep" --status "$results" --missing) == 3 ]] ||
  fail "$("$FEDCELL" sweep "$sweep" --status "$results")"
submit "$sweep" "$results"
[[ $points == 3 ]] || fail "submitted $points, not 3"
wait_for 60 "point 3 does not come to its end" ended "$analysis"

settings=(--quiet --set federation.rounds=400 --set federation.eval_every=50)
for seed in 1 2 3; do
  fedcell_on 1 run "$small" "${settings[@]}" --set seed="$seed" --output "$TEST_TMP/whole-$seed.h5"
  same_result "$TEST_TMP/whole-$seed.h5" "$results/seed=$seed.h5" || fail "point $seed: another result"
  [[ ! -e $results/seed=$seed.ckpt.h5 ]] || fail "the checkpoint of point $seed is left behind"
done
