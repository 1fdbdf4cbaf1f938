"""solve.py FEDCELL - the solvers as a user meets them.

Every example of README.md ("$ build/fedcell solve ..." and its answer below) gives that answer, on one
rank and on two; the numbers may differ in their last digits between machines, and between ranks not
at all.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLE = re.compile(r"^\$ build/(fedcell solve (\w+) (\S+))\n(\{.*\})$", re.MULTILINE)


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= 1e-8 * max(abs(a), abs(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def said(command):
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def main():
    fedcell = sys.argv[1]
    examples = EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    listed = [line.split()[0] for line in said([fedcell, "list", "solvers"]).splitlines()]
    if sorted({name for _, name, _, _ in examples}) != sorted(listed):
        sys.exit(f"README.md has examples of {examples}, not of {listed}")
    mpirun = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2"]
    for command, name, file, expected in examples:
        alone = said([fedcell, "solve", name, file])
        if not same(json.loads(expected), json.loads(alone)):
            sys.exit(f"{command} says {alone}README.md says {expected}")
        if said([*mpirun, fedcell, "solve", name, file]) != alone:
            sys.exit(f"{command}: two ranks give another answer")
    print(f"{len(examples)} examples agree")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
