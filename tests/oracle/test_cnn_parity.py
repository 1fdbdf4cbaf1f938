"""fedcell's image classifier gives PyTorch's logits, losses, gradients and weights after ten SGD steps.

Random weights and random images, at the sizes of McMahan et al. 2017 and at small uneven ones. The yardstick is PyTorch in double
precision. Every tensor must agree within 1e-4 of its norm; the largest difference seen is printed.

    FEDCELL_BUILD=build python tests/oracle/test_cnn_parity.py        exit code 1: a difference; 77: skipped
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
STEPS, LEARNING_RATE = 10, 0.1

try:
    import numpy
    import torch
    from safetensors.numpy import load_file, save_file
    from torch import nn
    from torch.nn import functional as F

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch and safetensors are missing ({e})"
    nn = None


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_cnn", build / "oracle_cnn"]
    return next((str(p) for p in places if p.is_file()), None)


def network(height, width, channels, hidden, classes):
    """conv 5x5, max-pool 2, conv 5x5, max-pool 2, dense ReLU, dense: layers named conv1, conv2, fc1, fc2."""
    model = nn.Module()
    model.conv1 = nn.Conv2d(1, channels[0], 5, padding=2)
    model.conv2 = nn.Conv2d(channels[0], channels[1], 5, padding=2)
    model.fc1 = nn.Linear(channels[1] * height * width // 16, hidden)
    model.fc2 = nn.Linear(hidden, classes)
    return model


def forward(model, x):
    for convolution in (model.conv1, model.conv2):
        x = F.max_pool2d(F.relu(convolution(x)), 2)
    return model.fc2(F.relu(model.fc1(x.flatten(1))))


def rows(tensor):
    """As fedcell writes a part: (rows, cols)."""
    value = tensor.detach().numpy()
    return value.reshape(1, -1) if value.ndim == 1 else value.reshape(value.shape[0], -1)


def by_torch(model, images, labels, standard):
    images, labels = torch.from_numpy(images).double()[:, :, None] / 255, torch.from_numpy(labels).long()
    if standard[1] > 0:
        images = (images - standard[0]) / standard[1]
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    told, losses = {}, []
    for k in range(STEPS):
        x, y = images[k % len(images)], labels[k % len(labels)]
        logits = forward(model, x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        if k == 0:
            told = {"logits": rows(logits), "loss": loss.detach().numpy().reshape(1, 1)}
            told |= {f"grad/{name}": rows(p.grad).copy() for name, p in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    told["losses"] = numpy.array([losses])
    return told | {f"w/{name}": rows(p) for name, p in model.named_parameters()}


def by_fedcell(model, images, labels, standard):
    with tempfile.TemporaryDirectory() as folder:
        job, out = pathlib.Path(folder, "job.safetensors"), pathlib.Path(folder, "out.safetensors")
        tensors = {name: p.detach().numpy().astype("float32") for name, p in model.named_parameters()}
        mean_and_sd = numpy.array(standard, "float32")
        save_file(tensors | {"images": images, "labels": labels, "standard": mean_and_sd}, str(job))
        done = subprocess.run([driver(), job, out, str(STEPS), str(LEARNING_RATE)], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return load_file(str(out))


def compare(case, got, want):
    """The largest relative difference and its tensor. Fails when names, shapes or values differ."""
    case.assertEqual(sorted(got), sorted(want))
    worst = (0.0, "")
    for name, expected in want.items():
        case.assertEqual(got[name].shape, expected.shape, name)
        difference = numpy.linalg.norm(got[name] - expected) / numpy.linalg.norm(expected)
        if not difference <= TOLERANCE:  # NaN fails
            case.fail(f"{name} differs by {difference:.3g} of its norm, allowed is {TOLERANCE:g}")
        worst = max(worst, (difference, name))
    return worst


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver(), "oracle_cnn is not built (FEDCELL_BUILD)")
class CnnParity(unittest.TestCase):
    def check(self, batch, height, width, channels, hidden, classes, standard=(0, 0)):
        torch.manual_seed(1)
        model = network(height, width, channels, hidden, classes).float()
        draw = numpy.random.default_rng(2)
        images = draw.integers(0, 256, (3, batch, height, width)).astype("float32")
        labels = draw.integers(0, classes, (3, batch)).astype("float32")
        got = by_fedcell(model, images, labels, standard)
        want = by_torch(model.double(), images, labels, standard)
        self.assertGreater(abs(want["losses"][0, -1] - want["losses"][0, 0]), 1e-3)  # the steps do something
        print("largest difference %.2g (%s)" % compare(self, got, want), file=sys.stderr)

    def test_mcmahan(self):
        self.check(16, 28, 28, (32, 64), 512, 10)

    def test_small(self):
        self.check(64, 28, 28, (8, 16), 64, 10)

    def test_standard_pixels(self):
        self.check(16, 28, 28, (8, 16), 64, 10, standard=(0.5, 0.25))

    def test_uneven(self):
        self.check(7, 12, 20, (3, 5), 11, 4)

    def test_one_image(self):
        self.check(1, 4, 8, (1, 2), 3, 2)

    def test_the_comparison_can_fail(self):
        want = {"logits": numpy.ones((2, 2)), "grad/x": numpy.ones((1, 3))}
        compare(self, want, want)
        off = {"logits": numpy.ones((2, 2)), "grad/x": numpy.array([[1, 1, 1.001]])}
        nan = {"logits": numpy.ones((2, 2)), "grad/x": numpy.array([[1, 1, numpy.nan]])}
        for got in (off, nan, {"logits": numpy.ones((2, 2))}):
            with self.assertRaises(self.failureException):
                compare(self, got, want)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(77)
