"""Result files for the tests: small ones written here, whose figures a person can work out by hand,
and real ones from the program. test_schema.py checks that the two look alike."""

import contextlib
import functools
import io
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy

from fedcell_results.__main__ import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("FEDCELL", ROOT / "build-test" / "fedcell"))

CONFIG = """experiment: {experiment}
seed: {seed}
data:
  seed: 1
  split: dirichlet
adapter:
  rank: {rank}
  targets: [query, value]
population:
  compute_flops: {{uniform: [5.0e+11, 2.0e+12]}}
cell:
  bandwidth_hz: 2e+07
  noise_dbm_per_hz: -174
checkpoint:
  every_rounds: 10
federation:
  method: {method}
  rounds: 3
"""

NAN = numpy.nan
# One column: unit, values. What has been spent by the end of rounds 0 to 3:
#   energy 0, 1000, 1500, 2000 J; traffic 0, 1.5e6, 3e6, 4.5e6 B
ROUNDS = {
    "round": ("", [0, 1, 2, 3]),
    "train_loss": ("nat", [NAN, 0.7, 0.5, 0.4]),
    "test_loss": ("nat", [0.69, NAN, 0.45, 0.5]),
    "test_accuracy": ("", [0.5, NAN, 0.8, 0.75]),
    "sim_time_s": ("s", [0.0, 10.0, 25.0, 30.0]),
    "energy_j": ("J", [0.0, 1000.0, 500.0, 500.0]),
    "uplink_bits": ("bit", [0.0, 4e6, 4e6, 4e6]),
    "downlink_bits": ("bit", [0.0, 8e6, 8e6, 8e6]),
}
PARTICIPATION = {
    "round": ("", [1, 1, 2, 3]),
    "device": ("", [0, 5, 2, 0]),
    "bandwidth_hz": ("Hz", [1e6, 1e6, 2e6, 2e6]),
    "latency_s": ("s", [8.0, 10.0, 15.0, 4.0]),
    "energy_j": ("J", [600.0, 400.0, 500.0, 500.0]),
    "delivered": ("", numpy.array([1, 0, 1, 1], dtype=numpy.uint8)),
}
PROFILE = {
    "device": ("", [0, 1, 2, 5]),
    "compute_flops": ("FLOP/s", [1e12, 2e12, 1e12, 5e11]),
    "distance_m": ("m", [100.0, 200.0, 300.0, 400.0]),
}


def rounds_with(**columns):
    """ROUNDS with other values: rounds_with(test_accuracy=[...]); None leaves a column out."""
    changed = {name: (ROUNDS[name][0], values) for name, values in columns.items()}
    return {name: column for name, column in {**ROUNDS, **changed}.items() if column[1] is not None}


def write_columns(file, group, columns):
    for name, (unit, values) in columns.items():
        dataset = file.create_dataset(f"{group}/{name}", data=numpy.asarray(values))
        dataset.attrs["unit"] = unit
        dataset.attrs["description"] = f"what {name} means"


def write_run(path, seed=1, method="fedlora", rounds=None, rank=8, experiment="toy", checkpoint=False,
              version="0.1.0", without=""):  # fmt: skip
    """`without`: an option (its line's beginning) that this file's version did not have."""
    config = CONFIG.format(experiment=experiment, seed=seed, method=method, rank=rank)
    if without:
        config = "".join(l for l in config.splitlines(True) if not l.strip().startswith(without))
    with h5py.File(path, "w") as file:
        file.attrs["fedcell_format"] = 1.0
        write_columns(file, "rounds", ROUNDS if rounds is None else rounds)
        write_columns(file, "participation", PARTICIPATION)
        write_columns(file, "profile", PROFILE)
        provenance = file.create_group("provenance")
        provenance.attrs["config"] = config
        provenance.attrs["version"] = numpy.bytes_(version)  # a fixed-length string
        provenance.attrs["ranks"] = 2.0
        provenance["git_commit"] = "0123abcd"  # a scalar dataset
        if checkpoint:
            file.create_group("state")
    return path


def run_main(*arguments):
    """(exit code, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as exit_:  # argparse leaves this way
            code = exit_.code
    return code, out.getvalue(), err.getvalue()


class FolderTest(unittest.TestCase):
    """A test with an empty folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


# Once for all tests; the folders go when Python ends.
REAL_RUNS = """
mkdir "$TEST_TMP/results"
for method in fedlora local centralised; do
  for seed in 1 2; do
    "$FEDCELL" run "$small" --quiet --set seed=$seed --set federation.method=$method \\
      --output "$TEST_TMP/results/$method-$seed.h5" || exit 1
  done
done
"""
# The folders that the sweeps jcpba-* make, smaller: a random GPT-2 that learns which tokens there are,
# fewer seeds, for heterogeneity two methods only.
JCPBA_RUNS = """
mkdir -p "$TEST_TMP"/results/jcpba-{loss,overhead,heterogeneity}
learns=(--set model.family=gpt2 --set model.vocab=512 --set adapter.dropout=0 --set adapter.targets=[all-linear]
  --set data.dataset=generated-problems --set data.split=iid --set federation.rounds=4)
point() { # FOLDER METHOD SEED NAME OPTION...
  settings_of "$2"
  "$FEDCELL" run "$small" --quiet "${settings[@]}" "${learns[@]}" --set seed="$3" "${@:5}" \\
    --output "$TEST_TMP/results/$1/$2-$3-$4.h5" || exit 1
}
speeds() { echo "population.compute_flops={uniform: [$1]}"; }
for method in jcpba ubfp fedbiot deft splitlora; do
  for seed in 1 2; do point jcpba-loss $method $seed problems; done
  cp "$TEST_TMP/results/jcpba-loss/$method-1-problems.h5" "$TEST_TMP/results/jcpba-overhead"
done
for method in jcpba ubfp; do
  point jcpba-loss $method 1 topics --set data.dataset=generated-topics
  for seed in 1 2; do
    point jcpba-heterogeneity $method $seed low --set "$(speeds "1e9, 1.5e9")"
    point jcpba-heterogeneity $method $seed high --set "$(speeds "0.2e9, 2.5e9")"
  done
done
"""
# The same for the sweeps switching-*: some rounds of the small encoder, no test of its learning.
SWITCHING_RUNS = """
mkdir -p "$TEST_TMP"/results/switching-{convergence,bandwidth,accuracy,power}
settings_of switching
radio=("${settings[@]:2}" --set switching.affinity=none --set switching.step=0 --set switching.max_subscriptions=1
  --set data.samples=300 --set federation.rounds=4)
point() { # FOLDER SEED NAME OPTION...
  "$FEDCELL" run "$small" --quiet "${radio[@]}" --set seed="$2" "${@:4}" \
    --output "$TEST_TMP/results/switching-$1/$3-$2.h5" || exit 1
}
size() { echo --set population.devices="$1" --set federation.participants="$1"; }
method() { echo --set federation.method="$1" --set switching.mu="${2-0}"; }
for seed in 1 2; do
  for devices in 4 8; do
    for method in switching fedlora flexlora; do
      point convergence $seed $method-$devices $(method $method) $(size $devices) --set stop.target_accuracy=0.55
    done
    point bandwidth $seed $devices $(method switching) $(size $devices)
  done
  for method in switching switching-greedy switching-oneshot; do point accuracy $seed $method $(method $method); done
  point accuracy $seed energy $(method switching 1e6)
  point accuracy $seed loss $(method switching) --set switching.affinity=loss
  for theta in -5 5; do
    point power $seed max$theta $(method switching 1e5) --set switching.power=max --set cell.outage_snr_db=$theta
    for mu in 1e5 1e6; do point power $seed $mu$theta $(method switching $mu) --set cell.outage_snr_db=$theta; done
  done
done
"""
# The same for the sweeps tellm-*: the policies are hardly trained, and some agents left out.
TELLM_RUNS = """
mkdir -p "$TEST_TMP"/results/tellm-{main,training,scenario2,qos,generality,fidelity}
point() { # FOLDER NAME AGENT OPTION...
  "$FEDCELL" run "$policy" --quiet --set policy.agent="$3" "${@:4}" \\
    --output "$TEST_TMP/results/tellm-$1/$2.h5" || exit 1
}
for agent in fedavg eps-greedy fldlt3 ppo grpo exhaustive; do point main $agent $agent; done
for agent in fedavg fldlt3 grpo; do point scenario2 $agent $agent --set evaluation.scenario=2; done
for agent in fldlt3 ppo; do point qos $agent $agent --set evaluation.deadline_s=20; done
for agent in grpo ppo; do point training $agent $agent; done
point training token grpo --set grpo.ratio=token
for deadline in 10 15; do point generality $deadline fedavg --set evaluation.deadline_s=$deadline; done
point generality alpha fedavg --set evaluation.alpha=2
for agent in fedavg grpo; do
  cp "$TEST_TMP/results/tellm-main/$agent.h5" "$TEST_TMP/results/tellm-fidelity/real-$agent.h5"
  point fidelity learned-$agent $agent --set evaluation.environment=learned
done
"""


@functools.cache
def _made(runs):
    """A temporary folder with what these commands left in its folder `results`."""
    if not PROGRAM.is_file():
        raise unittest.SkipTest(f"no program at {PROGRAM} (or FEDCELL)")
    folder = tempfile.TemporaryDirectory()
    made = subprocess.run(
        ["bash", "-c", f". tests/e2e/common.sh\n{runs}"],
        cwd=ROOT,
        env={**os.environ, "FEDCELL": str(PROGRAM), "TEST_TMP": folder.name},
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise AssertionError(f"the runs failed: {made.stdout}{made.stderr}")
    return folder


def real_results():
    """A folder with results of the program: three methods, two seeds. Made once for all tests."""
    return pathlib.Path(_made(REAL_RUNS).name) / "results"


def jcpba_results():
    """The same for the sweeps jcpba-*."""
    return pathlib.Path(_made(JCPBA_RUNS).name) / "results"


def switching_results():
    """The same for the sweeps switching-*."""
    return pathlib.Path(_made(SWITCHING_RUNS).name) / "results"


def tellm_results():
    """The same for the sweeps tellm-*."""
    return pathlib.Path(_made(TELLM_RUNS).name) / "results"
