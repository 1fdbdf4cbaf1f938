"""same_result.py A.h5 B.h5: exit 1 unless every dataset is the same, bit for bit.

Left out: wall-clock times (the simulation's own speed) and provenance (which may name another
command line)."""
import sys

import h5py
import numpy as np


def datasets(path):
    found = {}
    with h5py.File(path, "r") as file:
        def visit(name, item):
            if isinstance(item, h5py.Dataset) and not name.endswith("wall_time_s"):
                if not name.startswith("provenance"):
                    found[name] = item[()]
        file.visititems(visit)
    return found


def main():
    first, second = datasets(sys.argv[1]), datasets(sys.argv[2])
    if not first or sorted(first) != sorted(second):
        sys.exit(f"datasets differ: {sorted(set(first) ^ set(second))} ({len(first)} in the first)")
    for name, x in first.items():
        y = second[name]
        if x.shape != y.shape or x.dtype != y.dtype or x.tobytes() != y.tobytes():
            where = np.flatnonzero(np.asarray(x).ravel() != np.asarray(y).ravel()) \
                if x.shape == y.shape else "shape"
            sys.exit(f"{name} differs at {where[:5]}: {x.ravel()[:3]} ... {y.ravel()[:3]} ...")
    print(f"{len(first)} datasets are the same")


main()
