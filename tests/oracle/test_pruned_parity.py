"""A view of fedcell's GPT-2 gives the logits, losses and gradients of transformers' GPT-2 that was pruned physically.

The yardstick has its heads removed by transformers' own prune_heads and its MLPs sliced; fedcell gets the whole model's file and how many
heads and neurons of each block count. Trained are the last blocks, whole or by adapters, as a client's adapter is, or adapters on the
pruned blocks themselves, as the server tunes an emulator. Compared as in test_model_parity.py.

    FEDCELL_BUILD=build python tests/oracle/test_pruned_parity.py        exit code 1: a difference; 77: skipped
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
    import peft
    import torch
    from safetensors.numpy import load_file, save_file

BLOCKS = 4
HEAD = parity.WIDTH // parity.HEADS
RANK = 4
VIEW = [[1, 11], [3, 48], [4, 1], [4, 48]]  # heads and neurons of each block
LAST = {"whole": [], "adapters": ["h.3.attn.c_attn", "h.3.mlp.c_fc", "h.3.mlp.c_proj"], "everywhere": ["c_attn", "c_proj", "c_fc"]}


def prune(model):
    """transformers' removal of heads, and of the neurons that it has no function for."""
    for block, (heads, neurons) in zip(model.transformer.h, VIEW):
        block.attn.prune_heads(set(range(heads, parity.HEADS)))
        up, down = block.mlp.c_fc, block.mlp.c_proj
        up.weight, up.bias = (torch.nn.Parameter(p.detach()[..., :neurons].clone()) for p in (up.weight, up.bias))
        up.nf = neurons
        down.weight = torch.nn.Parameter(down.weight.detach()[:neurons].clone())


def layer_of(name):
    """The block's number and the layer's name of a part such as "grad/...transformer.h.0.attn.c_attn.lora_A.weight"."""
    fields = name.split(".lora_")[0].split(".")
    return int(fields[-3]), ".".join(fields[-2:])


def kept(name):
    """Rows and columns of an adapter's factor that the view keeps, and the factor's whole shape; its rank is rows of A, columns of B."""
    block, layer = layer_of(name)
    heads, neurons = VIEW[block]
    q, width, all_of = numpy.arange(heads * HEAD), parity.WIDTH, numpy.arange
    outputs, inputs, n_outputs, n_inputs = {
        "attn.c_attn": (numpy.concatenate([q, q + width, q + 2 * width]), all_of(width), 3 * width, width),
        "attn.c_proj": (all_of(width), q, width, width),
        "mlp.c_fc": (all_of(neurons), all_of(width), parity.FFN, width),
        "mlp.c_proj": (all_of(width), all_of(neurons), width, parity.FFN),
    }[layer]
    rank = all_of(RANK)
    return (numpy.ix_(rank, inputs), (RANK, n_inputs)) if "lora_A" in name else (numpy.ix_(outputs, rank), (n_outputs, RANK))


def cut(name, x):
    return x[kept(name)[0]] if "lora_" in name else x


def widen(name, x, generator):
    """x as the view's part of the whole factor, random elsewhere: nothing may depend on it."""
    if "lora_" not in name:
        return x
    inside, shape = kept(name)
    whole = torch.randn(shape, generator=generator).numpy().astype(numpy.float64)
    whole[inside] = x
    return whole


@unittest.skipIf(parity.MISSING, parity.MISSING)
@unittest.skipUnless(parity.driver(), "oracle_model is not built (FEDCELL_BUILD)")
class PrunedParity(unittest.TestCase):
    def check(self, what, loss):
        generator = torch.Generator().manual_seed(3)
        torch.manual_seed(3)
        model = parity.random_model("gpt2", loss, generator, BLOCKS)
        batches = [parity.random_batch("gpt2", lengths, generator) for lengths in parity.LENGTHS]
        optimizer = parity.OPTIMIZERS["adamw"]
        job = {"loss": loss, "labels": parity.LABELS if loss == "classify" else 0, "target_modules": LAST[what], "rank": RANK, "alpha": 8,
               "modules_to_save": [] if LAST[what] else ["h.3", "ln_f"], "batches": batches, "steps": parity.STEPS, "optimizer": optimizer,
               "view": VIEW}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            model.save_pretrained(folder / "model", safe_serialization=True)
            prune(model)
            model = self.with_trained(model, what, generator)
            theta = {k: widen(k, v, generator) for k, v in parity.part_values(model, lambda p: p).items()}
            save_file({k: numpy.ascontiguousarray(v, numpy.float32) for k, v in theta.items()}, folder / "theta.safetensors")
            (folder / "job.json").write_text(json.dumps(job))
            done = subprocess.run([parity.driver(), folder / "model", folder / "job.json", folder / "out.safetensors",
                                   folder / "theta.safetensors"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            got = load_file(folder / "out.safetensors")
        torch.set_default_dtype(torch.float64)
        try:
            want = parity.yardstick("gpt2", loss, "first", model, batches, optimizer)
        finally:
            torch.set_default_dtype(torch.float32)
        for name, x in got.items():
            if name.startswith("grad/"):
                self.assertEqual(numpy.count_nonzero(x), numpy.count_nonzero(cut(name, x)), f"{name} has gradients outside the view")
        worst, name = parity.compare(self, {k: cut(k, v) for k, v in got.items()}, want)
        print(f"\n  {self.id().split('.')[-1]}: {len(got)} tensors, largest difference {worst:.2g} in {name}", end="")

    def with_trained(self, model, what, generator):
        if not LAST[what]:
            for name, p in model.named_parameters():
                p.requires_grad = name.startswith(("transformer.h.3.", "transformer.ln_f."))
            return model
        config = peft.LoraConfig(r=RANK, lora_alpha=8, lora_dropout=0.0, target_modules=LAST[what], fan_in_fan_out=True)
        model = peft.get_peft_model(model, config).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.copy_(0.2 * torch.randn(p.shape, generator=generator))
        return model

    def test_the_last_block_whole(self):
        self.check("whole", "causal_lm")

    def test_adapters_on_the_last_block(self):
        self.check("adapters", "causal_lm")

    def test_adapters_on_pruned_blocks(self):
        self.check("everywhere", "causal_lm")

    def test_classification_with_adapters_on_pruned_blocks(self):
        self.check("everywhere", "classify")


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(77)
