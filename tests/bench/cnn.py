"""Training steps of the image classifier (McMahan et al. 2017): fedcell and PyTorch at the same work, side by side on one core.

    ninja -C build bench_cnn
    python tests/bench/cnn.py --bench build/tests/bench_cnn

In rounds, each side once a round, PyTorch both with its usual memory format and with channels last; told are the best step of all rounds and
ratios of a round's medians with the 95 % interval of their median. That both compute the same is tests/oracle/test_cnn_parity.py's matter.
"""

import argparse
import os
import statistics
import subprocess
import time

import pairs
import torch
from torch import nn
from torch.nn import functional as F

CASES = [(32, 64, 512, 64), (8, 16, 64, 64)]  # channels, channels, hidden, batch
STEPS = 10


class Classifier(nn.Module):
    def __init__(self, first, second, hidden):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, first, 5, padding=2), nn.Conv2d(first, second, 5, padding=2)
        self.fc1, self.fc2 = nn.Linear(second * 49, hidden), nn.Linear(hidden, 10)

    def forward(self, x):
        for convolution in (self.conv1, self.conv2):
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def torch_side(case, memory_format):
    torch.manual_seed(1)
    model = Classifier(*case[:3]).to(memory_format=memory_format)
    x, y = torch.rand(case[3], 1, 28, 28).to(memory_format=memory_format), torch.randint(0, 10, (case[3],))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step():
        begin = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        return time.perf_counter() - begin

    return lambda: [step() for _ in range(STEPS)]


def fedcell_side(case, bench):
    words = [bench, *map(str, case), str(STEPS)]
    return lambda: [float(s) for s in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", default="build/tests/bench_cnn", help="fedcell's program (default: build/tests/bench_cnn)")
    p.add_argument("--rounds", type=int, default=7, help="at least 6 give a 95 %% interval (default: 7)")
    arguments = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    for case in CASES:
        sides = {"fedcell": fedcell_side(case, arguments.bench), "torch": torch_side(case, torch.contiguous_format),
                 "torch channels last": torch_side(case, torch.channels_last)}
        best = {}

        def rate(name):
            seconds = sides[name]()
            best[name] = min(seconds + [best.get(name, seconds[0])])
            return 1 / statistics.median(seconds), None

        rates, _ = pairs.measure({name: lambda name=name: rate(name) for name in sides}, arguments.rounds)
        print("channels {} and {}, hidden {}, batch {}:".format(*case))
        for name in sides:
            ratio = "" if name == "fedcell" else f", fedcell is {pairs.told(pairs.ratio(rates, 'fedcell', name))} times as fast"
            print(f"  {name}: best step {1e3 * best[name]:.2f} ms{ratio}")


if __name__ == "__main__":
    main()
