"""fedcell and PyTorch (with PEFT) at the same work, side by side on this machine.

    python=$(tests/bench/venv.sh || tests/oracle/venv.sh)       # the current PyTorch, else the distribution's
    OMP_NUM_THREADS=2 "$python" tests/bench/compare.py --fedcell build/fedcell --json compare.json

Many devices train LoRA (rank 8 on c_attn) on a frozen random GPT-2, from the same adapter, on the same tokens, with the same AdamW. Against:
A, a plain loop over the devices on one resident PyTorch model; B, the same loop over PEFT (torch_side.py). In rounds, each side once a round;
told are medians and the 95 % interval of the median, ratios from the pairs of a round.

With --generate: greedy generation beside transformers' generate() on the same weights.

Cases are named SIZE/DEVICESxBATCH (d64/8x1 ... gpt2/512x4) and SIZE/SEQUENCES (llama-d64/1 ... gpt2/8); --cases takes a regular expression.
Without it: those that take some minutes on two quiet cores; --full: all of them.

The losses before every step are compared: 1e-4 of the loss in f32, 1e-3 in bf16, there also against f32. Generated tokens must be equal in
f32; in bf16 only a near tie may go the other way. Exit code 1: a difference; 2: bad usage.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import sys
import tempfile
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all bases are made here

import peft
import torch
import transformers

import generating
import torch_side
import training
from fedcell_side import Fedcell


def read_arguments():
    """What is asked for, the kind of comparison and its cases."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--fedcell", default=os.environ.get("FEDCELL", "build/fedcell"), help="the program (default: $FEDCELL or build/fedcell)")
    p.add_argument("--cases", metavar="REGEX", help="only cases of this name")
    p.add_argument("--full", action="store_true", help="all cases: takes hours")
    p.add_argument("--generate", action="store_true", help="compare generation instead of training")
    p.add_argument("--quick", action="store_true", help="one round of the smallest case: to see that it works, not how fast")
    p.add_argument("--rounds", type=int, default=7, help="at least 6 give a 95 %% interval (default: 7)")
    p.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))), help="of both sides")
    p.add_argument("--json", metavar="FILE", help="write all figures there")
    arguments = p.parse_args()
    kind = generating if arguments.generate else training
    pattern = arguments.cases or ("" if arguments.full else kind.DEFAULT)
    cases = kind.QUICK if arguments.quick else [c for c in kind.CASES if re.search(pattern, c.name)]
    if not cases:
        p.error(f"no case is named like {pattern}; there are {', '.join(c.name for c in kind.CASES)}")
    if arguments.rounds < 1 or arguments.threads < 1:
        p.error("--rounds and --threads must be at least 1")
    return arguments, kind, cases


def provenance(threads):
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__,
            "threads": threads, "torch_onednn": torch_side.onednn_version(), "torch_fast_bf16": torch_side.has_fast_bf16(),
            "torch_cpu_capability": torch_side.cpu_capability()}


def describe(told):
    """One line before the table."""
    p, f = told["provenance"], told["fedcell"]
    bf16 = "" if p["torch_fast_bf16"] else "; this PyTorch has no fast bf16 products on this CPU"
    return (f"{f['cpu']}, {p['threads']} threads. fedcell {f['version']} ({f['git_commit']}, {f['kernels']}) beside torch {p['torch']} "
            f"(oneDNN {p['torch_onednn']}{bf16}), transformers {p['transformers']}, peft {p['peft']}. Medians [95 % interval]; "
            f"{told['rounds']} rounds.")


def main():
    arguments, kind, cases = read_arguments()
    rounds = 1 if arguments.quick else arguments.rounds
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")  # of PEFT and transformers about each other
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    fedcell = Fedcell(arguments.fedcell, arguments.threads)
    told = {"compared": kind.__name__, "quick": arguments.quick, "rounds": rounds, "provenance": provenance(arguments.threads), "rows": []}
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            row = kind.compare(case, fedcell, pathlib.Path(folder), rounds)
        told["rows"].append(row)
        print(f"{case.name}: {'; '.join(row['faults']) or 'the same results'}", file=sys.stderr, flush=True)
    told["fedcell"] = fedcell.provenance
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(told, indent=2) + "\n")
    print(describe(told), kind.table(told["rows"]), sep="\n\n")
    return 1 if any(row["faults"] for row in told["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
