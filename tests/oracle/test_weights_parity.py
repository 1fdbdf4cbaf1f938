"""Model folders pass between fedcell and transformers with equal tensors, both ways.

What fedcell writes opens in transformers without a missing, unexpected or misshapen tensor, and every parameter is bit for bit the one
that was written; what transformers writes, whole or in shards, in f32, f16 or bf16, with and without the family's prefix, is read by
fedcell with the same values. GPT-2's transposed layers, tied output weights and RoBERTa's position table are among them.

    FEDCELL_BUILD=build python tests/oracle/test_weights_parity.py        exit code 1: a difference; 77: skipped
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

try:
    import numpy
    import torch
    import transformers
    from safetensors.numpy import load_file

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch, transformers and safetensors are missing ({e})"

CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")

# family, labels, masked-LM head, class
MODELS = [
    ("gpt2", 0, 0, "GPT2LMHeadModel"),
    ("gpt2", 3, 0, "GPT2ForSequenceClassification"),
    ("bert", 0, 0, "BertModel"),
    ("bert", 0, 1, "BertForMaskedLM"),
    ("bert", 3, 0, "BertForSequenceClassification"),
    ("roberta", 0, 0, "RobertaModel"),
    ("roberta", 0, 1, "RobertaForMaskedLM"),
    ("roberta", 3, 0, "RobertaForSequenceClassification"),
]
PREFIX = {"gpt2": "transformer.", "bert": "bert.", "roberta": "roberta."}


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_weights", build / "oracle_weights"]
    return next((str(p) for p in places if p.is_file()), None)


def call(*arguments):
    done = subprocess.run([driver(), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)


def as_fedcell_holds_it(name, tensor):
    """(rows, cols), linear layers (out, in)."""
    value = tensor.detach().float().numpy()
    if name.endswith(CONV1D):
        value = value.T
    return value.reshape(1, -1) if value.ndim == 1 else value


def parameter_of(state, family, name):
    """The parameter of a state_dict for a fedcell name; a bare base model's names have no prefix."""
    if name in state:
        return state[name]
    return state[name.removeprefix(PREFIX[family])]


class Weights(unittest.TestCase):
    def assert_equal_tensors(self, folder, state, family):
        ours = load_file(str(folder / "tensors.safetensors"))
        self.assertGreater(len(ours), 10)
        for name, value in ours.items():
            theirs = as_fedcell_holds_it(name, parameter_of(state, family, name))
            self.assertEqual(value.shape, theirs.shape, name)
            self.assertTrue(numpy.array_equal(value, theirs), f"{name} differs")
        return ours

    def test_transformers_opens_what_fedcell_writes(self):
        for family, labels, lm_head, kind in MODELS:
            with self.subTest(kind=kind), tempfile.TemporaryDirectory() as place:
                folder = pathlib.Path(place)
                call("write", family, labels, lm_head, folder)
                ours = load_file(str(folder / "tensors.safetensors"))
                model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
                # transformers makes a pooler that a base model without classes does not have
                missing = [n for n in info["missing_keys"] if "pooler" not in n]
                self.assertEqual(missing, [])
                self.assertEqual(list(info["unexpected_keys"]), [])
                self.assertEqual(list(info["mismatched_keys"]), [])
                self.assertEqual(model.config.architectures, [kind])
                state = model.state_dict()
                self.assert_equal_tensors(folder, state, family)
                if kind.endswith("LMHeadModel") or kind.endswith("MaskedLM"):
                    head = model.get_output_embeddings().weight.detach().numpy()
                    table = next(v for n, v in ours.items() if n.endswith(("wte.weight", "word_embeddings.weight")))
                    self.assertTrue(numpy.array_equal(head, table))
                    biases = [v for n, v in ours.items() if n in ("cls.predictions.bias", "lm_head.bias")]
                    for bias in biases:
                        self.assertTrue(numpy.array_equal(model.get_output_embeddings().bias.detach().numpy(), bias[0]))

    def written_by_transformers(self, family, kind, folder, labels, dtype=None, **options):
        torch.manual_seed(3)
        if family == "gpt2":
            config = transformers.GPT2Config(vocab_size=61, n_positions=20, n_embd=24, n_layer=3, n_head=4, num_labels=labels or 2)
        else:
            make = transformers.BertConfig if family == "bert" else transformers.RobertaConfig
            config = make(vocab_size=61, max_position_embeddings=20, hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
                          intermediate_size=40, type_vocab_size=2 if family == "bert" else 1, num_labels=labels or 2)
        model = getattr(transformers, kind)(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape))
        if dtype is not None:
            model = model.to(dtype)
        model.save_pretrained(folder, safe_serialization=True, **options)
        return model.state_dict()

    def test_fedcell_reads_what_transformers_writes(self):
        for family, labels, _, kind in MODELS:
            with self.subTest(kind=kind), tempfile.TemporaryDirectory() as place:
                folder = pathlib.Path(place)
                state = self.written_by_transformers(family, kind, folder, labels)
                call("read", -1 if labels else 0, folder)
                ours = self.assert_equal_tensors(folder, state, family)
                self.assertEqual(any(n.startswith(("cls.", "lm_head.")) for n in ours), "MaskedLM" in kind)

    def test_shards_and_half_precision(self):
        cases = [("f16", torch.float16, {}), ("bf16", torch.bfloat16, {}), ("shards", None, {"max_shard_size": "20KB"})]
        for name, dtype, options in cases:
            for family, kind in (("gpt2", "GPT2LMHeadModel"), ("roberta", "RobertaForMaskedLM")):
                with self.subTest(case=name, kind=kind), tempfile.TemporaryDirectory() as place:
                    folder = pathlib.Path(place)
                    state = self.written_by_transformers(family, kind, folder, 0, dtype, **options)
                    self.assertEqual((folder / "model.safetensors.index.json").is_file(), name == "shards")
                    call("read", 0, folder)
                    self.assert_equal_tensors(folder, state, family)

    def test_written_half_precision_is_torch_s_rounding(self):
        cases = [("float16", torch.float16), ("bfloat16", torch.bfloat16)]
        for name, dtype in cases:
            for family, kind in (("gpt2", "GPT2LMHeadModel"), ("roberta", "RobertaModel")):
                with self.subTest(dtype=name, kind=kind), tempfile.TemporaryDirectory() as place:
                    folder = pathlib.Path(place)
                    call("write", family, 0, 0, folder, name)
                    exact = load_file(str(folder / "tensors.safetensors"))  # as it was before rounding
                    model = getattr(transformers, kind).from_pretrained(folder, torch_dtype="auto")  # config.json's torch_dtype
                    self.assertEqual(model.dtype, dtype)
                    state = model.state_dict()
                    rounded = 0
                    for name_, value in exact.items():
                        theirs = torch.from_numpy(value).to(dtype)
                        ours = torch.from_numpy(as_fedcell_holds_it(name_, parameter_of(state, family, name_)).copy())
                        self.assertTrue(torch.equal(theirs.float(), ours), f"{name_} differs")
                        rounded += int((theirs.float() != torch.from_numpy(value)).sum())
                    self.assertGreater(rounded, 1000)
                    call("read", 0, folder)  # and fedcell reads it back with the same bits
                    self.assert_equal_tensors(folder, state, family)

    def test_a_base_model_without_prefix_gets_a_new_head(self):
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            state = self.written_by_transformers("bert", "BertModel", folder, 0)
            call("read", 4, folder)
            ours = load_file(str(folder / "tensors.safetensors"))
            self.assertEqual(ours["classifier.weight"].shape, (4, 24))
            for name, value in ours.items():
                if not name.startswith("classifier."):
                    theirs = as_fedcell_holds_it(name, parameter_of(state, "bert", name))
                    self.assertTrue(numpy.array_equal(value, theirs), f"{name} differs")


if __name__ == "__main__":
    if MISSING is None and driver() is None:
        MISSING = "the driver oracle_weights is not built (FEDCELL_BUILD names the build folder)"
    if MISSING is not None:
        print(f"skipped: {MISSING}")
        sys.exit(77)
    transformers.logging.set_verbosity_error()
    unittest.main(verbosity=2)
