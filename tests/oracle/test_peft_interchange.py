"""Adapters go to the PEFT library and come back with the same logits.

Small random GPT-2, LLaMA, BERT and RoBERTa models. An adapter that fedcell writes opens with peft.PeftModel.from_pretrained; one that PEFT writes
loads here; the adapter of a federated run is exported with its base and opens as the pair. Logits must agree within 1e-4 of their norm.

    FEDCELL_BUILD=build FEDCELL=build/fedcell python tests/oracle/test_peft_interchange.py     exit code 1: a difference; 77: skipped
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4

try:
    import h5py
    import numpy
    import peft
    import torch
    import transformers
    from safetensors.numpy import load_file

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch, transformers, peft, safetensors and h5py are missing ({e})"

WIDTH, LAYERS, HEADS, FFN, VOCAB, POSITIONS, LABELS, RANK, ALPHA = 32, 2, 4, 48, 61, 20, 3, 4, 6
CLASSES = {
    ("gpt2", "classify"): "GPT2ForSequenceClassification",
    ("gpt2", "causal_lm"): "GPT2LMHeadModel",
    ("llama", "classify"): "LlamaForSequenceClassification",
    ("llama", "causal_lm"): "LlamaForCausalLM",
    ("bert", "classify"): "BertForSequenceClassification",
    ("roberta", "classify"): "RobertaForSequenceClassification",
}
BUILD = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
FEDCELL = os.environ.get("FEDCELL", str(BUILD / "fedcell"))


def driver():
    return next((str(p) for p in (BUILD / "tests" / "oracle_peft", BUILD / "oracle_peft") if p.is_file()), None)


def random_model(family, loss, seed, tied=True):
    generator = torch.Generator().manual_seed(seed)
    if family == "gpt2":
        config = transformers.GPT2Config(vocab_size=VOCAB, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=FFN,
                                         num_labels=LABELS)
    elif family == "llama":
        config = transformers.LlamaConfig(vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=WIDTH, num_hidden_layers=LAYERS,
                                          num_attention_heads=HEADS, num_key_value_heads=HEADS // 2, intermediate_size=FFN,
                                          num_labels=LABELS, tie_word_embeddings=tied)
    else:
        kind = transformers.BertConfig if family == "bert" else transformers.RobertaConfig
        config = kind(vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_labels=LABELS,
                      num_attention_heads=HEADS, intermediate_size=FFN, type_vocab_size=2 if family == "bert" else 1)
    model = getattr(transformers, CLASSES[family, loss])(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            is_norm = any(s in name.lower() for s in ("layernorm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight", "norm.weight"))
            p.copy_(float(is_norm) + 0.2 * torch.randn(p.shape, generator=generator))
    return model


def sequences(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCAB, (n,), generator=generator).tolist() for n in (5, 1, 9, 3)]


def logits_of(model, loss, batch):
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([s])).logits.reshape(-1, LABELS if loss == "classify" else VOCAB) for s in batch]).numpy()


def run_driver(folder, job, taken, given, out):
    return subprocess.run([driver(), folder, job, taken, given, out], capture_output=True, text=True)


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver() and pathlib.Path(FEDCELL).is_file(), "oracle_peft or fedcell is not built (FEDCELL_BUILD, FEDCELL)")
class PeftInterchange(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        torch.manual_seed(3)

    def prepare(self, family, loss, targets, saved, tied=True, last_blocks=0):
        model = random_model(family, loss, 3, tied)
        model.save_pretrained(self.folder / "model", safe_serialization=True)
        self.batch = sequences(4)
        self.write_job(family, loss, targets, saved, last_blocks=last_blocks)
        return model

    def write_job(self, family, loss, targets, saved, **others):
        job = {"loss": loss, "labels": LABELS if loss == "classify" else 0, "rank": RANK, "alpha": ALPHA, "target_modules": targets,
               "modules_to_save": saved, "sequences": self.batch, **others}
        (self.folder / "job.json").write_text(json.dumps(job))

    def ours(self, taken, given="-"):
        done = run_driver(self.folder / "model", self.folder / "job.json", taken, given, self.folder / "out.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        return load_file(self.folder / "out.safetensors")["logits"]

    def assert_near(self, got, want):
        difference = numpy.linalg.norm(got - want) / numpy.linalg.norm(want)
        if not difference <= TOLERANCE:  # NaN fails
            self.fail(f"the logits differ by {difference:.3g} of their norm, allowed is {TOLERANCE:g}")

    def assert_exports(self, family, loss, targets, saved, tied=True, last_blocks=0):
        """What fedcell writes opens in PEFT; it reads it back itself, to the bit."""
        model = self.prepare(family, loss, targets, saved, tied, last_blocks)
        plain = logits_of(model, loss, self.batch)
        adapter = self.folder / "adapter"
        adapter.mkdir()
        ours = self.ours("-", adapter)
        opened = peft.PeftModel.from_pretrained(model, adapter).eval()
        theirs = logits_of(opened, loss, self.batch)
        self.assert_near(ours, theirs)
        self.assertGreater(numpy.abs(plain - theirs).max(), 0.01, "the adapter changes nothing: the test would see nothing")
        numpy.testing.assert_array_equal(self.ours(adapter), ours)
        # exactly our layers have one
        factors = [n for n in load_file(adapter / "adapter_model.safetensors") if "lora_" in n]
        self.assertEqual(sorted(factors), sorted(n.replace(".default", "") for n, _ in opened.named_parameters() if "lora_" in n))
        config = json.loads((adapter / "adapter_config.json").read_text())
        self.assertEqual(config["layers_to_transform"], [*range(LAYERS - last_blocks, LAYERS)] if last_blocks else self.blocks(factors))
        # and merged into the base it is still the same model
        if not saved:
            self.assert_near(logits_of(opened.merge_and_unload(), loss, self.batch), ours)

    @staticmethod
    def blocks(factors):
        """Those that have adapters, None for all of them."""
        found = sorted({int(number) for number in re.findall(r"\.(\d+)\.", " ".join(factors))})
        return found if len(found) < LAYERS else None

    def make_adapter(self, model, targets, saved, task, **others):
        config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, modules_to_save=saved or None, task_type=task, **others)
        wrapped = peft.get_peft_model(model, config).eval()
        with torch.no_grad():
            for _, p in wrapped.named_parameters():
                if p.requires_grad:
                    p.add_(0.2 * torch.randn(p.shape))
        wrapped.save_pretrained(self.folder / "adapter", safe_serialization=True)
        return wrapped

    def assert_imports(self, family, loss, targets, saved, ours_targets=None, ours_saved=None, last_blocks=0, **others):
        """What PEFT writes loads here."""
        model = self.prepare(family, loss, ours_targets or targets, saved if ours_saved is None else ours_saved, last_blocks=last_blocks)
        task = "SEQ_CLS" if loss == "classify" else "CAUSAL_LM"
        wrapped = self.make_adapter(model, targets, saved, task, fan_in_fan_out=family == "gpt2", **others)
        self.assert_near(self.ours(self.folder / "adapter"), logits_of(wrapped, loss, self.batch))

    def test_gpt2_causal_lm_exports(self):
        self.assert_exports("gpt2", "causal_lm", ["c_attn"], [])

    def test_gpt2_causal_lm_everywhere_exports(self):
        self.assert_exports("gpt2", "causal_lm", ["all-linear"], [])

    def test_gpt2_one_layer_exports(self):
        self.assert_exports("gpt2", "causal_lm", ["h.1.mlp.c_proj"], [])

    def test_gpt2_causal_lm_with_embeddings_exports(self):
        self.assert_exports("gpt2", "causal_lm", ["c_attn"], ["wte", "ln_f", "h.0.mlp.c_fc"])

    def test_gpt2_classification_exports(self):
        self.assert_exports("gpt2", "classify", ["c_attn", "mlp.c_proj"], ["head"])

    def test_llama_causal_lm_exports(self):
        self.assert_exports("llama", "causal_lm", ["q_proj", "v_proj", "down_proj"], [])

    def test_llama_untied_with_embeddings_exports(self):
        self.assert_exports("llama", "causal_lm", ["all-linear"], ["embed_tokens"], tied=False)

    def test_llama_tied_with_embeddings_exports(self):
        self.assert_exports("llama", "causal_lm", ["gate_proj"], ["embed_tokens", "model.norm"])

    def test_llama_classification_exports(self):
        self.assert_exports("llama", "classify", ["q_proj"], ["head"])

    def test_bert_exports(self):
        self.assert_exports("bert", "classify", ["query", "value"], ["head"])

    def test_bert_everywhere_exports(self):
        self.assert_exports("bert", "classify", ["all-linear"], ["head"])

    def test_bert_with_embeddings_and_without_head_exports(self):
        self.assert_exports("bert", "classify", ["layer.1.output.dense"], ["word_embeddings", "layer.0.intermediate.dense"])

    def test_bert_pooler_with_adapter_exports(self):
        self.assert_exports("bert", "classify", ["dense"], ["classifier"])

    def test_roberta_exports(self):
        self.assert_exports("roberta", "classify", ["query", "key"], ["head"])

    def test_roberta_half_a_head_exports(self):
        self.assert_exports("roberta", "classify", ["value"], ["classifier.out_proj"])

    def test_last_blocks_export(self):
        for family, loss, targets, saved in (("gpt2", "causal_lm", ["c_attn", "mlp.c_proj"], []), ("gpt2", "classify", ["all-linear"], ["head"]),
                                             ("llama", "causal_lm", ["q_proj", "down_proj"], ["model.norm"]),
                                             ("llama", "classify", ["all-linear"], ["head"]),
                                             ("bert", "classify", ["query", "output.dense"], ["head"]),
                                             ("bert", "classify", ["dense"], ["classifier"]),  # with the pooler
                                             ("roberta", "classify", ["value"], ["head"])):
            with self.subTest(family, loss=loss, targets=targets):
                shutil.rmtree(self.folder)
                self.folder.mkdir()
                self.assert_exports(family, loss, targets, saved, last_blocks=1)

    def test_last_blocks_import(self):
        for family, loss, targets, saved, how in (("gpt2", "causal_lm", ["c_attn"], [], {"layers_to_transform": 1, "layers_pattern": "h"}),
                                                  ("llama", "causal_lm", ["q_proj"], [], {"layers_to_transform": [1]}),
                                                  ("bert", "classify", ["query"], ["classifier"], {"layers_to_transform": [1], "layers_pattern": "layer"}),
                                                  ("roberta", "classify", ["layer.1.attention.self.key"], ["classifier"], {})):
            with self.subTest(family):
                shutil.rmtree(self.folder)
                self.folder.mkdir()
                self.assert_imports(family, loss, targets, saved, ours_targets=[targets[0].split(".")[-1]], last_blocks=1, **how)

    def test_gpt2_causal_lm_imports(self):
        self.assert_imports("gpt2", "causal_lm", ["c_attn", "c_proj"], [])

    def test_gpt2_classification_imports(self):
        self.assert_imports("gpt2", "classify", ["c_attn"], ["score"])

    def test_llama_causal_lm_imports(self):
        self.assert_imports("llama", "causal_lm", ["q_proj", "up_proj"], ["model.norm"])

    def test_bert_imports_with_the_base_pooler(self):
        self.assert_imports("bert", "classify", ["query", "value"], ["classifier"], ours_saved=["head"])

    def test_bert_imports_a_pattern(self):
        self.assert_imports("bert", "classify", r".*attention\.self\.(query|key)", ["classifier", "pooler"], ours_targets=["query", "key"])

    def test_roberta_imports(self):
        self.assert_imports("roberta", "classify", ["query", "value"], [], ours_saved=["classifier"])

    def test_unsupported_features_are_refused(self):
        features = {"use_rslora": ({"use_rslora": True}, "use_rslora is true, which is not supported"),
                    "rank_pattern": ({"rank_pattern": {"query": 2}}, 'rank_pattern is {"query":2}, which is not supported'),
                    "bias": ({"bias": "lora_only"}, 'bias is "lora_only", which is not supported')}
        for name, (others, message) in features.items():
            with self.subTest(name):
                shutil.rmtree(self.folder)
                self.folder.mkdir()
                model = self.prepare("bert", "classify", ["query"], ["classifier"])
                self.make_adapter(model, ["query"], ["classifier"], "SEQ_CLS", **others)
                done = run_driver(self.folder / "model", self.folder / "job.json", self.folder / "adapter", "-", self.folder / "out")
                self.assertEqual((done.returncode, done.stderr), (1, f"{self.folder}/adapter/adapter_config.json: {message}\n"))

    def test_other_layers_are_refused(self):
        model = self.prepare("bert", "classify", ["query"], ["classifier"])
        self.make_adapter(model, ["key"], ["classifier"], "SEQ_CLS")
        done = run_driver(self.folder / "model", self.folder / "job.json", self.folder / "adapter", "-", self.folder / "out")
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"{self.folder}/adapter/adapter_model.safetensors: bert.encoder.layer.0.attention.self.key.weight has an adapter, "
                             "but adapter.targets does not name it here\n"))

    def fedcell(self, *words):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run([FEDCELL, *map(str, words)], capture_output=True, text=True, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def assert_round_trip(self, family, last_blocks=0):
        """run -> export with the base -> transformers and PEFT; then a run that starts from the adapter."""
        out, adapter, base = self.folder / "run.h5", self.folder / "new" / "adapter", self.folder / "base"
        targets = ["c_attn"] if family == "gpt2" else ["query", "value"]
        settings = {"model": {"family": family, "base": "random", "layers": 2, "width": 16, "heads": 2, "ffn": 32},
                    "adapter": {"rank": RANK, "alpha": ALPHA, "targets": targets, "last_blocks": last_blocks},
                    "data": {"dataset": "generated-sentiment", "samples": 200, "test_samples": 40, "max_length": 48},
                    "population": {"devices": 4}, "federation": {"rounds": 2, "participants": 3, "local": {"learning_rate": 0.01}}}
        (self.folder / "run.yaml").write_text(json.dumps(settings))  # JSON is YAML
        self.fedcell("run", self.folder / "run.yaml", "--output", out, "--quiet")
        self.fedcell("export", out, adapter, "--base", base)
        model = peft.PeftModel.from_pretrained(transformers.AutoModelForSequenceClassification.from_pretrained(base), adapter).eval()
        saved = load_file(adapter / "adapter_model.safetensors")
        with h5py.File(out) as f:
            trained = {n: numpy.asarray(v) for n, v in f["final/adapter"].items()}
        for name, value in trained.items():
            numpy.testing.assert_array_equal(saved[name].reshape(value.shape), value, name)
        self.assertGreater(max(numpy.abs(v).max() for n, v in trained.items() if "lora_B" in n), 0)
        self.batch = sequences(4)
        self.write_job(family, "classify", targets, ["head"], labels=2, last_blocks=last_blocks)
        shutil.copytree(base, self.folder / "model")
        with torch.no_grad():
            theirs = torch.cat([model(input_ids=torch.tensor([s])).logits for s in self.batch]).numpy()
        self.assert_near(self.ours(adapter), theirs)
        # a run from the adapter begins where the first one ended
        again = self.folder / "again.h5"
        self.fedcell("run", self.folder / "run.yaml", "--output", again, "--quiet", "--set", f"adapter.init={adapter}")
        with h5py.File(out) as f, h5py.File(again) as g:
            self.assertEqual(g["rounds/test_loss"][0], f["rounds/test_loss"][-1])
            self.assertNotEqual(f["rounds/test_loss"][0], f["rounds/test_loss"][-1])

    def test_round_trip_gpt2(self):
        self.assert_round_trip("gpt2")

    def test_round_trip_bert(self):
        self.assert_round_trip("bert")

    def test_round_trip_of_the_last_block(self):
        self.assert_round_trip("gpt2", last_blocks=1)

    def test_round_trip_roberta(self):
        self.assert_round_trip("roberta")


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(77)
