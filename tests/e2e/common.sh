# shellcheck shell=bash
# tests/e2e/common.sh - what the end-to-end and fault tests share; sourced. They run from the
# project's root with FEDCELL (the program) and TEST_TMP (an empty folder of their own).
set -euo pipefail
# shellcheck source=jobs/common.sh
. jobs/common.sh
: "${FEDCELL:=$PWD/build/fedcell}" "${TEST_TMP:=$(mktemp -d)}"
export FEDCELL_CACHE=$TEST_TMP/cache OMP_NUM_THREADS=1

fail() {
  echo "FAILED: $*"
  exit 1
}
skip() {
  echo "skipped: $*"
  exit 77
}

# A configuration that runs in about a second: 12 devices, a tiny random encoder. Shared by all.
small=$TEST_TMP/small.yaml
cat >"$small" <<'YAML'
experiment: small
seed: 5
model: {family: bert, base: random, layers: 2, width: 16, heads: 2, ffn: 32}
adapter: {rank: 4, alpha: 8, dropout: 0.1, targets: [query, value]}
data: {dataset: generated-sentiment, samples: 600, test_samples: 90, max_length: 48, split: dirichlet, alpha: 0.5}
population: {devices: 12, compute_flops: {uniform: [0.5e12, 2.0e12]}, tx_power_w: 0.2}
cell: {bandwidth_hz: 20e6, fading: rayleigh}
federation: {method: fedlora, rounds: 6, participants: 5, local: {iterations: 2, batch: 4, learning_rate: 1.0e-2}}
checkpoint: {every_rounds: 2}
YAML

# The same with agents that choose: 6 devices, four rounds, a policy that learns next to nothing.
policy=$TEST_TMP/policy.yaml
cat >"$policy" <<'YAML'
study: policy
experiment: policy
seed: 3
data: {dataset: generated-digits, samples: 900, test_samples: 60, split: both, alpha: 0.5, size_alpha: 1, min_samples: 64}
environment: {devices: 6, rounds: 4, iterations: 2, batch: 8, channels: [2, 2], hidden: 8, probe_samples: 8, select_min: 2}
trajectories: {count: 4}
dynamics: {layers: 1, width: 16, heads: 2, epochs: 3, batch: 2}
policy: {agent: grpo, layers: 1, width: 32, heads: 2, ffn: 64}
warm_up: {steps: 4, batch: 4}
grpo: {iterations: 2, episodes: 4, minibatch: 8, checkpoint_every: 1}
evaluation: {trials: 3}
YAML

# settings_of METHOD: what it needs beyond the small configuration, into the array `settings`.
settings_of() {
  settings=(--set federation.method="$1")
  case $1 in
    jcpba | ubfp | fedbiot)
      settings+=(--set model.layers=3 --set adapter.last_blocks=1 --set data.public_fraction=0.2
        --set server.first_steps=1 --set server.tune_steps=2 --set server.rank=4 --set server.batch=8
        --set fedbiot.drop=0.5 --set jcpba.importance_samples=16) ;;
    splitlora) settings+=(--set splitlora.budget=energy --set splitlora.v=0.001) ;;
    switching*)
      settings+=(--set cell.pathloss=power-law --set cell.radius_m=67 --set cell.interferer_density_per_m2=1e-5
        --set cell.outage_snr_db=0 --set cell.noise_dbm_per_hz=-162 --set switching.max_subscriptions=2
        --set switching.affinity=loss --set switching.step=1e-5 --set switching.delivery=bernoulli) ;;
    deft) settings+=(--set model.layers=3 --set adapter.last_blocks=3) ;;
  esac
}

# fedcell_on RANKS ARGUMENTS...
fedcell_on() {
  local ranks=$1
  shift
  mpi_run "$ranks" "$FEDCELL" "$@"
}

export -f fedcell_on mpi_run cores allow_mpi_as_root

# same_result A.h5 B.h5: every dataset equal, bit for bit, but for wall-clock times.
same_result() {
  "$(fedcell_python)" tests/e2e/same_result.py "$1" "$2"
}

# figure FILE NAME: final.NAME of fedcell info --json
figure() {
  "$FEDCELL" info --json "$1" | "$(fedcell_python)" -c \
    'import json, sys; print(json.load(sys.stdin)["final"][sys.argv[1]])' "$2"
}

# expect_failure CODE TEXT COMMAND...: it must exit with CODE and print TEXT, exactly once.
expect_failure() {
  local code=0 expected=$1 text=$2 out=$TEST_TMP/failure.txt
  shift 2
  # through bash, so that the functions above can be called too
  timeout 120 bash -c '"$@"' expect_failure "$@" >"$out" 2>&1 || code=$?
  [[ $code -eq $expected ]] || fail "exit code $code, not $expected: $* ($(head -c 600 "$out"))"
  [[ $(grep -cF -- "$text" "$out") -eq 1 ]] ||
    fail "'$text' is not there exactly once after: $* ($(head -c 900 "$out"))"
}

# copy_project FOLDER: all of the project but what was built, and a home and cache of its own, for what a
# reader of the documents types there.
copy_project() {
  mkdir -p "$1" "$TEST_TMP/home"
  tar -c --exclude='./build*' --exclude=./.git --exclude=./results . | tar -x -C "$1"
  export HOME=$TEST_TMP/home OMPI_MCA_rmaps_base_oversubscribe=1
  allow_mpi_as_root
}

# shorten_sweeps FOLDER: its sweeps take two rounds a point, from a base that was hardly pretrained.
shorten_sweeps() {
  sed -i -e 's/^\( *federation.rounds\): .*/\1: 2/' -e 's/^set:$/&\n  pretrain.steps: 10/' "$1"/jobs/sweeps/*.yaml
}
