#!/usr/bin/env bash
# SIGKILL at random moments; continued each time, on another number of ranks, a run ends with the
# result of an undisturbed one, and no file is ever half-written.
. tests/e2e/common.sh

common=(--quiet --set federation.rounds=16 --set checkpoint.every_rounds=1)
methods=(fedlora local centralised fedfull hetlora flexlora flora jcpba fedbiot deft splitlora switching)
# what a run takes here and now: the moments of the kills lie within it
declare -A lasts
for method in "${methods[@]}"; do
  settings_of "$method"
  began=${EPOCHREALTIME/./}
  fedcell_on 2 run "$small" "${common[@]}" "${settings[@]}" \
    --output "$TEST_TMP/whole-$method.h5"
  lasts[$method]=$((${EPOCHREALTIME/./} - began))
done

kills=0
for ((try = 0; try < 16; try++)); do
  method=${methods[try % ${#methods[@]}]}
  out=$TEST_TMP/killed-$try.h5
  ranks=$((try % 4 + 1))
  settings_of "$method"
  mpi_run "$ranks" "$FEDCELL" run "$small" "${common[@]}" "${settings[@]}" \
    --output "$out" >/dev/null 2>&1 &
  job=$!
  sleep "$(awk -v r=$RANDOM -v t="${lasts[$method]}" 'BEGIN { printf "%.2f", 1e-6 * t * (0.1 + 0.6 * r / 32768) }')"
  # the ranks themselves, not the launcher, which would tidy up
  pkill -KILL -f -- "--output $out" || true
  wait "$job" || kills=$((kills + 1))
  if [[ -e ${out%.h5}.ckpt.h5 ]]; then
    "$FEDCELL" info "${out%.h5}.ckpt.h5" >/dev/null || fail "a half-written checkpoint"
  fi
  fedcell_on $((ranks % 4 + 1)) run "$small" "${common[@]}" "${settings[@]}" \
    --output "$out" --resume
  same_result "$TEST_TMP/whole-$method.h5" "$out" || fail "try $try ($method): another result"
  [[ ! -e ${out%.h5}.ckpt.h5 ]] || fail "the checkpoint is left behind"
done
[[ $kills -ge 3 ]] || fail "only $kills of 16 runs were killed before their end"
echo "$kills of 16 runs were killed before their end"
