#!/usr/bin/env bash
# `sizes:` in an experiment file: laptop by default, another one by --size, --set above both; check,
# run, sweeps and their scripts alike. A result remembers its size, results of another size do not
# stand in its place, and rerun needs nothing but the result.
. tests/e2e/common.sh

sized=$TEST_TMP/sized.yaml project=$PWD
{
  cat "$small"
  cat <<'YAML'
sizes:
  laptop: {federation.rounds: 2}
  paper:
    federation: {rounds: 3, participants: 4}
YAML
} >"$sized"

# option NAME ARGUMENTS...: what `fedcell check` makes of it
option() { "$FEDCELL" check "$sized" "${@:2}" | sed -n "s/^ *$1: //p"; }
[[ $(option rounds) == 2 ]] || fail "without --size it is not laptop: $(option rounds)"
[[ $(option rounds --size laptop) == 2 && $(option rounds --size paper) == 3 ]] || fail "--size is not laid over"
[[ $(option rounds --size paper --set federation.rounds=7) == 7 ]] || fail "--set does not win over the size"
[[ $(option participants --size paper) == 4 ]] || fail "a nested map of a size"
"$FEDCELL" check "$sized" --size paper | grep -qx '# size paper; another one: --size' || fail "check: which size?"

expect_failure 2 "sized.yaml: --size papre: must be one of laptop, paper; did you mean paper?" \
  "$FEDCELL" check "$sized" --size papre
expect_failure 2 "small.yaml: --size paper: this file has no sizes" fedcell_on 2 run "$small" --size paper

# the size not chosen is checked too, and all faults come at once
sed -e 's/rounds: 3,/rounds: -3,/' -e 's/rounds: 2}/round: 2}/' "$sized" >"$TEST_TMP/bad.yaml"
expect_failure 2 "bad.yaml:11: sizes.laptop.federation.round: no such option; did you mean federation.rounds?" \
  fedcell_on 2 run "$TEST_TMP/bad.yaml" --size paper
grep -qF 'bad.yaml:13: sizes.paper.federation.rounds = -3: must be' "$TEST_TMP/failure.txt" ||
  fail "the other size's fault is not told: $(cat "$TEST_TMP/failure.txt")"

# is_of_size FILE SIZE ROUNDS: what a result must tell of itself
is_of_size() {
  "$FEDCELL" info "$1" >"$TEST_TMP/said" || fail "no result $1"
  grep -q "^  size  *$2\$" "$TEST_TMP/said" || fail "$1 is not of size $2: $(cat "$TEST_TMP/said")"
  grep -q "^  round  *$3\$" "$TEST_TMP/said" || fail "$1 has not $3 rounds: $(cat "$TEST_TMP/said")"
  "$FEDCELL" info --check "$1" >/dev/null || fail "$1 is not as it must be"
}
cd "$TEST_TMP"
"$FEDCELL" run sized.yaml --quiet >said
grep -qx 'size laptop' said || fail "run does not tell the size: $(cat said)"
"$FEDCELL" run sized.yaml --quiet --size paper >said
is_of_size results/small-fedlora-seed5.h5 laptop 2
is_of_size results/small-paper-fedlora-seed5.h5 paper 3
mv sized.yaml base.yaml
"$FEDCELL" rerun results/small-paper-fedlora-seed5.h5 --quiet >said || fail "$(cat said)"
grep -q 'agrees: all' said || fail "rerun: $(cat said)"

# sweeps: the base's laptop, the sweep's own `size`, --size above it
printf 'base: base.yaml\nseeds: 2\n' >plain.yaml
printf 'base: base.yaml\nsize: paper\nseeds: 2\n' >large.yaml
"$FEDCELL" sweep plain.yaml --index 1 --quiet >/dev/null
"$FEDCELL" sweep large.yaml --index 1 --quiet >/dev/null
is_of_size results/plain/seed=1.h5 laptop 2
is_of_size results/large/seed=1.h5 paper 3
"$project/jobs/sweep-local.sh" large.yaml --size laptop >said 2>&1 || fail "sweep-local.sh --size: $(cat said)"
grep -q '^  finished *2  1-2$' said || fail "sweep-local.sh --size: $(cat said)"
is_of_size results/large-laptop/seed=2.h5 laptop 2
sed -i 's/size: paper/size: papers/' large.yaml
expect_failure 2 "large.yaml:2: size = papers: must be one of laptop, paper; did you mean paper?" \
  "$FEDCELL" sweep large.yaml --list

# Slurm's jobs get the size too
"$project/jobs/slurm/submit.sh" plain.yaml --size paper --cores 1 --dry-run >said 2>&1 || fail "$(cat said)"
for words in 'prepare.sbatch plain.yaml paper' 'points.sbatch plain.yaml results/plain-paper paper' \
  'analysis.sbatch plain.yaml results/plain-paper paper'; do
  grep -q "$words\$" said || fail "submit.sh --size does not call $words: $(cat said)"
done
