"""A loss of the caller's own gives PyTorch's value and gradients: by the parameters, by rows of inputs in place of token embeddings
(transformers' inputs_embeds), and by a linear head on the hidden states.

The loss is a weighted sum of the targets' log-probabilities, of both signs as advantages are, and the mean squared error of the head's
outputs. Models, adapters, tolerance and the ten optimiser steps are those of test_model_parity.py.

    FEDCELL_BUILD=build python tests/oracle/test_hook_parity.py        exit code 1: a difference; 77: skipped
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import test_model_parity as parity

if not parity.MISSING:
    import numpy
    import torch
    from safetensors.numpy import load_file, save_file

OUTPUTS = 3  # of the linear head


def random_hook(batch, generator):
    rows, targets = len(batch["targets"]), sum(t >= 0 for t in batch["targets"])
    shapes = {"inputs": (rows, parity.WIDTH), "head": (OUTPUTS, parity.WIDTH), "wanted": (rows, OUTPUTS), "weights": (targets,)}
    return {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def outputs(model, hook, batch):
    """Hidden states after the final norm, and logits, of all rows."""
    hidden, logits = [], []
    for a, b in zip(batch["start"], batch["start"][1:]):
        out = model(inputs_embeds=hook["inputs"][None, a:b], output_hidden_states=True)
        hidden.append(out.hidden_states[-1][0])
        logits.append(out.logits[0])
    return torch.cat(hidden), torch.cat(logits)


def loss_of(model, hook, batch):
    hidden, logits = outputs(model, hook, batch)
    targets = torch.tensor(batch["targets"])
    rows = torch.nonzero(targets >= 0)[:, 0]
    log_prob = logits.log_softmax(-1)[rows, targets[rows]]
    gap = hidden @ hook["head"].T - hook["wanted"]
    return (hook["weights"] * log_prob).sum() + (gap**2).mean(), logits


def yardstick(model, hooks, batches, settings):
    model = model.double()
    hooks = [{name: x.double() for name, x in hook.items()} for hook in hooks]
    for name in ("inputs", "head"):
        hooks[0][name].requires_grad_()
    value, logits = loss_of(model, hooks[0], batches[0])
    value.backward()
    expected = {"logits": logits.detach().numpy(), "loss": value.detach().numpy().reshape(1, 1), "dinputs": hooks[0]["inputs"].grad.numpy().copy(),
                "dhead": hooks[0]["head"].grad.numpy().copy()}
    gradients = parity.part_values(model, lambda p: p.grad if p.grad is not None else torch.zeros_like(p))
    optimizer, schedule = parity.optimizer_of([p for p in model.parameters() if p.requires_grad], settings)
    losses = []
    for k in range(parity.STEPS):
        optimizer.zero_grad()
        step_loss, _ = loss_of(model, hooks[k % 2], batches[k % 2])
        step_loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(step_loss.item())
    expected["losses"] = numpy.array([losses])
    expected.update({"grad/" + k: v for k, v in gradients.items()})
    expected.update({"theta/" + k: v for k, v in parity.part_values(model, lambda p: p).items()})
    return expected


@unittest.skipIf(parity.MISSING, parity.MISSING)
@unittest.skipUnless(parity.driver(), "oracle_model is not built (FEDCELL_BUILD)")
class HookParity(unittest.TestCase):
    def check(self, family, targets=()):
        generator = torch.Generator().manual_seed(1)
        torch.manual_seed(1)
        model = parity.random_model(family, "causal_lm", generator)
        batches = [parity.random_batch(family, lengths, generator) for lengths in parity.LENGTHS]
        hooks = [random_hook(batch, generator) for batch in batches]
        settings = dict(parity.OPTIMIZERS["adamw"], weight_decay=0.0)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            job = {"loss": "causal_lm", "target_modules": list(targets), "rank": 4, "alpha": 8,
                   "modules_to_save": [] if targets else ["all"], "batches": batches, "steps": parity.STEPS, "optimizer": settings,
                   "hook": str(folder / "hook.safetensors")}
            model.save_pretrained(folder / "model", safe_serialization=True)
            save_file({f"{i}/{name}": x.numpy() for i, hook in enumerate(hooks) for name, x in hook.items()}, job["hook"])
            if targets:
                model = parity.ModelParity.with_adapter(self, family, model, targets, (), generator)
            save_file({k: numpy.ascontiguousarray(v, numpy.float32) for k, v in parity.part_values(model, lambda p: p).items()},
                      folder / "theta.safetensors")
            (folder / "job.json").write_text(json.dumps(job))
            done = subprocess.run([parity.driver(), folder / "model", folder / "job.json", folder / "out.safetensors",
                                   folder / "theta.safetensors"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            got = load_file(folder / "out.safetensors")
        torch.set_default_dtype(torch.float64)  # transformers makes its causal mask in the default type
        try:
            want = yardstick(model, hooks, batches, settings)
        finally:
            torch.set_default_dtype(torch.float32)
        worst, name = parity.compare(self, got, want)
        print(f"\n  {self.id().split('.')[-1]} {family}: {len(got)} tensors, largest difference {worst:.2g} in {name}", end="")

    def test_gpt2_whole(self):
        self.check("gpt2")

    def test_gpt2_with_adapters_everywhere(self):
        self.check("gpt2", ["c_attn", "c_proj", "c_fc"])

    def test_llama_whole(self):
        self.check("llama")

    def test_llama_grouped_whole(self):
        self.check("llama_grouped")

    def test_llama_grouped_with_adapters(self):
        self.check("llama_grouped", ["q_proj", "v_proj", "up_proj"])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    for reason in sorted({reason for _, reason in result.skipped}):
        print(f"skipped: {reason}")
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
