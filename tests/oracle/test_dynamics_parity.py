"""The learned dynamics' network gives PyTorch's outputs, losses, gradients and parameters after ten AdamW steps.

The yardstick is transformers' GPT2Model with inputs_embeds between two torch.nn.Linear, in double precision, one sequence at a time; its loss
is written down from the formulas: the squared error of the mean, and the likelihood of the variance at means that it does not move. Every
tensor must agree within 1e-4 of its norm.

    FEDCELL_BUILD=build python tests/oracle/test_dynamics_parity.py        exit code 1: a difference; 77: skipped
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4

try:
    import numpy
    import torch
    import transformers
    from safetensors.numpy import load_file, save_file

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch, transformers and safetensors are missing ({e})"

DEVICES, ROUNDS, LENGTHS = 3, 9, [5, 1, 9, 3]
VALUES = 4 * DEVICES + 1
FEATURES = VALUES + 3 * DEVICES
ROWS = sum(LENGTHS)
JOB = {"layers": 2, "width": 24, "heads": 3, "devices": DEVICES, "rounds": ROUNDS, "variance_floor": 0.02, "learning_rate": 2e-3,
       "weight_decay": 0.05, "steps": 10, "start": [sum(LENGTHS[:i]) for i in range(len(LENGTHS) + 1)]}

CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")  # (I,O) in torch, (O,I) in theta


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_dynamics", build / "oracle_dynamics"]
    return next((str(p) for p in places if p.is_file()), None)


def data():
    generator = numpy.random.default_rng(3)
    x = generator.normal(size=(ROWS, FEATURES)).astype(numpy.float32)
    y = generator.normal(size=(ROWS, VALUES)).astype(numpy.float32)
    for row in range(ROWS):  # devices that do not take part have their loss alone
        for device in range(DEVICES):
            if generator.random() < 0.4:
                y[row, 4 * device + 1 : 4 * device + 4] = numpy.nan
    return x, y


def in_theta(name, p):
    p = p.detach().double().numpy().copy()
    p = p.T if name.endswith(CONV1D) else p
    return p.reshape(1, -1) if p.ndim == 1 else p


if not MISSING:

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear1 = torch.nn.Linear(FEATURES, JOB["width"])
            self.transformer = transformers.GPT2Model(
                transformers.GPT2Config(vocab_size=1, n_positions=ROUNDS, n_embd=JOB["width"], n_layer=JOB["layers"], n_head=JOB["heads"],
                                        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
            self.linear2 = torch.nn.Linear(JOB["width"], 2 * VALUES)

        def forward(self, x):
            parts = [self.transformer(inputs_embeds=self.linear1(x[None, a:b])).last_hidden_state[0]
                     for a, b in zip(JOB["start"], JOB["start"][1:])]
            return self.linear2(torch.cat(parts))

        def read(self, tensors):
            with torch.no_grad():
                for name, p in self.named_parameters():
                    t = torch.from_numpy(tensors["begin/" + name])
                    p.copy_(t.T if name.endswith(CONV1D) else t.reshape(p.shape))


def losses(y, out):
    """Means over rows: of statistics, of accuracies, of the likelihood."""
    known = ~torch.isnan(y)
    gap = torch.where(known, torch.nan_to_num(y) - out[:, :VALUES], torch.zeros_like(y))
    variance = JOB["variance_floor"] + torch.exp(out[:, VALUES:])
    nll = torch.where(known, 0.5 * (torch.log(variance) + gap.detach() ** 2 / variance), torch.zeros_like(y))
    count = known[:, :-1].sum(1)
    return (((gap[:, :-1] ** 2).sum(1) / count).mean(), (gap[:, -1] ** 2).mean(), (nll[:, :-1].sum(1) / count + nll[:, -1]).mean())


def yardstick(begin, x, y):
    model = Network().double().eval()
    model.read(begin)
    x, y = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    out = model(x)
    parts = losses(y, out)
    sum(parts).backward()
    expected = {"out": out.detach().numpy(), "loss": numpy.array([[float(p) for p in parts]])}
    expected.update({"begin/" + name: in_theta(name, p) for name, p in model.named_parameters()})
    for name, p in model.named_parameters():
        expected["grad/" + name] = in_theta(name, p.grad if p.grad is not None else torch.zeros_like(p))
    optimizer = torch.optim.AdamW(model.parameters(), JOB["learning_rate"], weight_decay=JOB["weight_decay"])
    seen = []
    for _ in range(JOB["steps"]):
        optimizer.zero_grad(set_to_none=False)
        # no tokens are embedded: their table has no gradient, and torch would not let it decay as the flat vector does
        model.transformer.wte.weight.grad = torch.zeros_like(model.transformer.wte.weight)
        loss = sum(losses(y, model(x)))
        loss.backward()
        optimizer.step()
        seen.append(float(loss))
    expected["losses"] = numpy.array([seen])
    expected.update({"theta/" + name: in_theta(name, p) for name, p in model.named_parameters()})
    return expected


def without_key_bias(name, value):
    """Softmax does not see a key's bias: its gradient is nothing but rounding, of which AdamW makes a step of any size."""
    if not name.endswith("c_attn.bias"):
        return value
    return numpy.delete(value, slice(JOB["width"], 2 * JOB["width"]), axis=1)


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver(), "oracle_dynamics is not built (FEDCELL_BUILD)")
class DynamicsParity(unittest.TestCase):
    def test_ten_steps(self):
        x, y = data()
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "job.json").write_text(json.dumps(JOB))
            save_file({"x": x, "y": y}, folder / "data.safetensors")
            done = subprocess.run([driver(), folder / "job.json", folder / "data.safetensors", folder / "out.safetensors"],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            got = load_file(folder / "out.safetensors")
        torch.set_default_dtype(torch.float64)  # transformers makes its causal mask in the default type
        try:
            want = yardstick(got, x, y)
        finally:
            torch.set_default_dtype(torch.float32)
        self.assertEqual(sorted(got), sorted(want))
        worst = (0.0, "")
        for name, expected in want.items():
            ours, expected = without_key_bias(name, got[name].astype(numpy.float64)), without_key_bias(name, expected)
            self.assertEqual(ours.shape, expected.shape, name)
            norm, difference = numpy.linalg.norm(expected), numpy.linalg.norm(ours - expected)
            self.assertTrue(difference <= TOLERANCE * norm, f"{name} differs by {difference:.3g}, its norm is {norm:.3g}")  # NaN fails
            worst = max(worst, (difference / norm if norm else 0.0, name))
        print(f"\n  {len(got)} tensors, largest difference {worst[0]:.2g} in {worst[1]}", end="")


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(77)
