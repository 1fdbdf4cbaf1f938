"""fedcell's transformer gives PyTorch's logits, losses, gradients and parameters after ten AdamW steps.

Small random GPT-2, LLaMA, BERT and RoBERTa models, with PEFT adapters (random B) and modules_to_save, and trained whole. The yardstick is
transformers with PEFT in double precision, one sequence at a time, so that no padding takes part; fedcell runs in f32 on ragged packed
batches. Learning from another model's hidden states and logits is compared in the same way. Every tensor must agree within 1e-4 of its
norm; the largest difference seen is printed.

    FEDCELL_BUILD=build python tests/oracle/test_model_parity.py        exit code 1: a difference; 77: skipped
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
STEPS = 10

try:
    import numpy
    import peft
    import torch
    import transformers
    from safetensors.numpy import load_file, save_file

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch, transformers, peft and safetensors are missing ({e})"

WIDTH, LAYERS, HEADS, FFN, VOCAB, POSITIONS, LABELS = 32, 2, 4, 48, 61, 20, 3
LENGTHS = [[5, 1, 9, 3], [2, 12, 1]]  # of the sequences of two batches

LLAMA_KV_HEADS = {"llama": 4, "llama_grouped": 2}

OPTIMIZERS = {
    "adamw": {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01},
    # everything at once: clipping, warm-up and decay
    "adamw_cosine": {"kind": "adamw", "learning_rate": 2e-3, "beta2": 0.95, "weight_decay": 0.1, "clip_norm": 0.5, "schedule": "cosine",
                     "warmup_steps": 3, "total_steps": STEPS},
    "sgd_linear": {"kind": "sgd", "learning_rate": 1e-2, "momentum": 0.9, "weight_decay": 0.01, "schedule": "linear", "total_steps": STEPS},
}

# of learning from a teacher with one block more
BOTH_TERMS = {"teacher_block": 2, "student_block": 1, "hidden_weight": 1.0, "kl_weight": 0.9}

# Conv1D weights lie in files and in torch as (I,O), in theta as (O,I).
CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_model", build / "oracle_model"]
    return next((str(p) for p in places if p.is_file()), None)


# ---- models and batches --------------------------------------------------------------------------


def config_of(family, layers):
    if family == "gpt2":
        return transformers.GPT2Config(vocab_size=VOCAB, n_positions=POSITIONS, n_embd=WIDTH, n_layer=layers, n_head=HEADS, n_inner=FFN,
                                       resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, num_labels=LABELS)
    if family in LLAMA_KV_HEADS:
        return transformers.LlamaConfig(vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=WIDTH, num_hidden_layers=layers,
                                        num_attention_heads=HEADS, num_key_value_heads=LLAMA_KV_HEADS[family], intermediate_size=FFN,
                                        tie_word_embeddings=family == "llama", rope_theta=100.0, num_labels=LABELS)
    kind = transformers.BertConfig if family == "bert" else transformers.RobertaConfig
    # RoBERTa's own epsilon is 1e-5; transformers' default configuration has BERT's.
    eps = {"bert": 1e-12, "roberta": 1e-5}[family]
    return kind(vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=HEADS,
                intermediate_size=FFN, type_vocab_size=2 if family == "bert" else 1, hidden_dropout_prob=0.0, layer_norm_eps=eps,
                attention_probs_dropout_prob=0.0, num_labels=LABELS, pad_token_id=0 if family == "bert" else 1)


CLASSES = {
    ("gpt2", "classify"): "GPT2ForSequenceClassification",
    ("gpt2", "causal_lm"): "GPT2LMHeadModel",
    ("llama", "classify"): "LlamaForSequenceClassification",
    ("llama", "causal_lm"): "LlamaForCausalLM",
    ("llama_grouped", "classify"): "LlamaForSequenceClassification",
    ("llama_grouped", "causal_lm"): "LlamaForCausalLM",
    ("bert", "classify"): "BertForSequenceClassification",
    ("bert", "masked_lm"): "BertForMaskedLM",
    ("roberta", "classify"): "RobertaForSequenceClassification",
    ("roberta", "masked_lm"): "RobertaForMaskedLM",
}


def random_model(family, loss, generator, layers=LAYERS):
    model = getattr(transformers, CLASSES[family, loss])(config_of(family, layers)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            is_norm = any(s in name.lower() for s in ("layernorm.weight", "norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))
            p.copy_(float(is_norm) + 0.2 * torch.randn(p.shape, generator=generator))
    return model


def random_batch(family, lengths, generator):
    n = sum(lengths)
    # RoBERTa's transformers code counts positions around token 1, its padding, which packed batches never hold.
    tokens = torch.randint(2, VOCAB, (n,), generator=generator).tolist()
    targets = torch.randint(0, VOCAB, (n,), generator=generator).tolist()
    ignored = torch.rand((n,), generator=generator) < 0.4
    batch = {
        "start": [sum(lengths[:i]) for i in range(len(lengths) + 1)],
        "tokens": tokens,
        "targets": [-1 if i and k else t for k, (t, i) in enumerate(zip(targets, ignored))],
        "labels": torch.randint(0, LABELS, (len(lengths),), generator=generator).tolist(),
    }
    if family == "bert":
        batch["types"] = torch.randint(0, 2, (n,), generator=generator).tolist()
    return batch


# ---- the yardstick -------------------------------------------------------------------------------


def sequence_logits(family, loss, pool, model, tokens, types):
    inputs = {"input_ids": torch.tensor([tokens])}
    if types is not None:
        inputs["token_type_ids"] = torch.tensor([types])
    if loss != "classify" or pool == "first":
        return model(**inputs).logits.reshape(-1, LABELS if loss == "classify" else VOCAB)
    inner = model.base_model.model if isinstance(model, peft.PeftModel) else model
    hidden = getattr(inner, {"gpt2": "transformer", "llama_grouped": "model"}.get(family, family))(**inputs)[0].mean(1)
    if hasattr(inner, "score"):
        return inner.score(hidden)
    if family == "bert":
        return inner.classifier(torch.tanh(inner.bert.pooler.dense(hidden)))
    return inner.classifier(hidden[:, None, :])


def batch_logits(family, loss, pool, model, batch):
    bounds = list(zip(batch["start"], batch["start"][1:]))
    types = batch.get("types")
    return torch.cat([sequence_logits(family, loss, pool, model, batch["tokens"][a:b], types[a:b] if types else None) for a, b in bounds])


def mean_loss(loss, logits, batch):
    wanted = batch["labels"] if loss == "classify" else batch["targets"]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(wanted), ignore_index=-1)


def sequence_states(model, block, tokens, types):
    """Hidden states that go into a block, and logits."""
    inputs = {"input_ids": torch.tensor([tokens])}
    if types is not None:
        inputs["token_type_ids"] = torch.tensor([types])
    out = model(**inputs, output_hidden_states=True)
    return out.hidden_states[block][0], out.logits.reshape(-1, out.logits.shape[-1])


def batch_states(model, block, batch):
    bounds = list(zip(batch["start"], batch["start"][1:]))
    types = batch.get("types")
    states = [sequence_states(model, block, batch["tokens"][a:b], types[a:b] if types else None) for a, b in bounds]
    return torch.cat([h for h, _ in states]), torch.cat([z for _, z in states])


def distill_loss(model, teacher, distill, batch):
    """Learning from another model, written plainly."""
    hidden, logits = batch_states(model, distill["student_block"], batch)
    with torch.no_grad():
        hidden_star, logits_star = batch_states(teacher, distill["teacher_block"], batch)
    gap = ((hidden_star - hidden) ** 2).mean() / (hidden_star**2).mean()
    p_star = logits_star.softmax(-1)
    divergence = (p_star * (logits_star.log_softmax(-1) - logits.log_softmax(-1))).sum(-1).mean()
    return distill["hidden_weight"] * gap + distill["kl_weight"] * divergence


def optimizer_of(parameters, o):
    if o["kind"] == "sgd":
        optimizer = torch.optim.SGD(parameters, o["learning_rate"], o["momentum"], weight_decay=o["weight_decay"])
    else:
        optimizer = torch.optim.AdamW(parameters, o["learning_rate"], (0.9, o.get("beta2", 0.999)), 1e-8, o["weight_decay"])
    warmup, total = o.get("warmup_steps", 0), o.get("total_steps", 0)
    schedules = {
        "constant": lambda: transformers.get_constant_schedule(optimizer),
        "linear": lambda: transformers.get_linear_schedule_with_warmup(optimizer, warmup, total),
        "cosine": lambda: transformers.get_cosine_schedule_with_warmup(optimizer, warmup, total),
    }
    return optimizer, schedules[o.get("schedule", "constant")]()


def part_name(name):
    name = name.replace(".default", "").replace(".modules_to_save", "")
    return name if name.startswith("base_model.model.") else "base_model.model." + name


def part_values(model, of):
    """Trained parameters (or their gradients) by the part's name and in theta's layout."""
    values = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            x = of(p).detach().to(torch.float64).numpy().copy()
            name = part_name(name)
            x = x.T if name.endswith(CONV1D) else x
            values[name] = x.reshape(1, -1) if x.ndim == 1 else x
    return values


def yardstick(family, loss, pool, model, batches, optimizer_settings, teacher=None, distill=None):
    model = model.double()

    def value_of(batch):
        if teacher:
            return distill_loss(model, teacher.double(), distill, batch)
        return mean_loss(loss, batch_logits(family, loss, pool, model, batch), batch)

    logits = batch_logits(family, loss, pool, model, batches[0])
    value = value_of(batches[0])
    value.backward()
    expected = {"logits": logits.detach().numpy(), "loss": value.detach().numpy().reshape(1, 1)}
    gradients = part_values(model, lambda p: p.grad if p.grad is not None else torch.zeros_like(p))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer, schedule = optimizer_of(parameters, optimizer_settings)
    losses = []
    for k in range(STEPS):
        optimizer.zero_grad()
        step_loss = value_of(batches[k % 2])
        step_loss.backward()
        if optimizer_settings.get("clip_norm"):
            torch.nn.utils.clip_grad_norm_(parameters, optimizer_settings["clip_norm"])
        optimizer.step()
        schedule.step()
        losses.append(step_loss.item())
    expected["losses"] = numpy.array([losses])
    expected.update({"grad/" + k: v for k, v in gradients.items()})
    expected.update({"theta/" + k: v for k, v in part_values(model, lambda p: p).items()})
    return expected


# ---- the comparison ------------------------------------------------------------------------------


def key_bias(name):
    """The slice of a part that is a key's bias: softmax does not see it, so its gradient is nothing but rounding, and AdamW makes of that
    a step of any size."""
    if name.endswith("self.key.bias"):
        return slice(None)
    return slice(WIDTH, 2 * WIDTH) if name.endswith("c_attn.bias") else None


def relative_difference(got, want):
    norm = numpy.linalg.norm(want)
    difference = numpy.linalg.norm(got.astype(numpy.float64) - want)
    return difference / norm if norm > 0 else (0.0 if difference == 0 else numpy.inf)


def compare(case, got, want):
    """The largest relative difference and its tensor. Fails when names, shapes or values differ."""
    case.assertEqual(sorted(got), sorted(want))
    gradient_norm = numpy.sqrt(sum(numpy.linalg.norm(v) ** 2 for k, v in want.items() if k.startswith("grad/")))
    worst = (0.0, "")
    for name, expected in want.items():
        ours = got[name]
        case.assertEqual(ours.shape, expected.shape, name)
        rounding_only = key_bias(name)
        if rounding_only is not None:
            if name.startswith("grad/"):
                case.assertLess(numpy.abs(ours[0, rounding_only]).max(), 1e-6 * gradient_norm, name)
                case.assertLess(numpy.abs(expected[0, rounding_only]).max(), 1e-6 * gradient_norm, name)
            keep = numpy.ones(expected.shape[1], bool)
            keep[rounding_only] = False
            ours, expected = ours[:, keep], expected[:, keep]
        difference = relative_difference(ours, expected)
        if not difference <= TOLERANCE:  # NaN fails
            case.fail(f"{name} differs by {difference:.3g} of its norm, allowed is {TOLERANCE:g}")
        worst = max(worst, (difference, name))
    return worst


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver(), "oracle_model is not built (FEDCELL_BUILD)")
class ModelParity(unittest.TestCase):
    def check(self, family, loss, targets=(), saved=(), pool="first", optimizer="adamw", seed=1, distill=None):
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        model = random_model(family, loss, generator)
        batches = [random_batch(family, lengths, generator) for lengths in LENGTHS]
        job = {"loss": loss, "labels": LABELS if loss == "classify" else 0, "pool": pool, "target_modules": list(targets), "rank": 4,
               "alpha": 8, "modules_to_save": list(saved) if targets else ["all"], "batches": batches, "steps": STEPS,
               "optimizer": OPTIMIZERS[optimizer]}
        teacher = random_model(family, loss, generator, LAYERS + 1) if distill else None
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            model.save_pretrained(folder / "model", safe_serialization=True)
            if teacher:
                teacher.save_pretrained(folder / "teacher", safe_serialization=True)
                job["distill"] = dict(distill, teacher=str(folder / "teacher"))
            if targets:
                model = self.with_adapter(family, model, targets, saved, generator)
            save_file({k: numpy.ascontiguousarray(v, numpy.float32) for k, v in part_values(model, lambda p: p).items()},
                      folder / "theta.safetensors")
            (folder / "job.json").write_text(json.dumps(job))
            done = subprocess.run([driver(), folder / "model", folder / "job.json", folder / "out.safetensors", folder / "theta.safetensors"],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            got = load_file(folder / "out.safetensors")
        torch.set_default_dtype(torch.float64)  # transformers makes its causal mask in the default type
        try:
            want = yardstick(family, loss, pool, model, batches, OPTIMIZERS[optimizer], teacher, distill)
        finally:
            torch.set_default_dtype(torch.float32)
        worst, name = compare(self, got, want)
        print(f"\n  {self.id().split('.')[-1]} {family}: {len(got)} tensors, largest difference {worst:.2g} in {name}", end="")

    def with_adapter(self, family, model, targets, saved, generator):
        config = peft.LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=list(targets), modules_to_save=list(saved) or None,
                                 fan_in_fan_out=family == "gpt2")
        model = peft.get_peft_model(model, config).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.copy_(0.2 * torch.randn(p.shape, generator=generator))
        return model

    def test_gpt2_classification_with_adapter(self):
        self.check("gpt2", "classify", ["c_attn"], ["score"])

    def test_gpt2_causal_lm_with_adapters_everywhere(self):
        self.check("gpt2", "causal_lm", ["c_attn", "c_proj", "c_fc"])

    def test_gpt2_classification_whole(self):
        self.check("gpt2", "classify")

    def test_gpt2_causal_lm_whole(self):
        self.check("gpt2", "causal_lm", optimizer="adamw_cosine")

    def test_gpt2_mean_pooling(self):
        self.check("gpt2", "classify", ["attn.c_proj"], ["score"], pool="mean")

    def test_llama_classification_with_adapter(self):
        self.check("llama", "classify", ["q_proj", "v_proj"], ["score"])

    def test_llama_causal_lm_whole(self):
        self.check("llama", "causal_lm", optimizer="adamw_cosine")

    def test_llama_grouped_causal_lm_with_adapters_everywhere(self):
        self.check("llama_grouped", "causal_lm", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])

    def test_llama_grouped_causal_lm_whole(self):
        self.check("llama_grouped", "causal_lm")

    def test_llama_grouped_mean_pooling(self):
        self.check("llama_grouped", "classify", ["gate_proj"], ["score"], pool="mean")

    def test_bert_classification_with_adapter(self):
        self.check("bert", "classify", ["query", "value"], ["classifier"])

    def test_bert_classification_with_adapters_everywhere(self):
        self.check("bert", "classify", ["query", "key", "value", "dense"], ["classifier"])

    def test_bert_classification_one_block_whole(self):
        self.check("bert", "classify", ["layer.0.attention.self.query"], ["encoder.layer.1", "pooler", "classifier"], optimizer="adamw_cosine")

    def test_bert_masked_lm_with_adapters(self):
        self.check("bert", "masked_lm", ["value", "intermediate.dense", "transform.dense"])

    def test_bert_classification_whole(self):
        self.check("bert", "classify")

    def test_bert_masked_lm_whole(self):
        self.check("bert", "masked_lm", optimizer="sgd_linear")

    def test_bert_mean_pooling(self):
        self.check("bert", "classify", ["query", "output.dense"], ["classifier"], pool="mean")

    def test_roberta_classification_with_adapter(self):
        self.check("roberta", "classify", ["query", "value"], ["classifier"])

    def test_roberta_masked_lm_with_adapters(self):
        self.check("roberta", "masked_lm", ["key", "attention.output.dense"], optimizer="adamw_cosine")

    def test_roberta_classification_whole(self):
        self.check("roberta", "classify", optimizer="adamw_cosine")

    def test_roberta_masked_lm_whole(self):
        self.check("roberta", "masked_lm")

    def test_roberta_mean_pooling(self):
        self.check("roberta", "classify", ["value"], ["classifier"], pool="mean")

    def test_gpt2_distilled_by_adapters(self):
        self.check("gpt2", "causal_lm", ["c_attn", "c_proj", "c_fc"], distill=BOTH_TERMS)

    def test_gpt2_distilled_whole(self):
        self.check("gpt2", "causal_lm", distill=BOTH_TERMS)

    def test_gpt2_classifier_distilled(self):
        self.check("gpt2", "classify", ["c_attn"], ["score"], distill=BOTH_TERMS)

    def test_llama_grouped_distilled_by_adapters(self):
        self.check("llama_grouped", "causal_lm", ["q_proj", "v_proj", "up_proj"], distill=BOTH_TERMS)

    def test_bert_distilled_by_adapters(self):
        self.check("bert", "masked_lm", ["value", "intermediate.dense", "transform.dense"], distill=BOTH_TERMS)

    def test_bert_distilled_whole(self):
        self.check("bert", "masked_lm", distill=BOTH_TERMS)

    def test_bert_classifier_distilled_whole(self):
        self.check("bert", "classify", distill=BOTH_TERMS)

    def test_roberta_distilled_by_hidden_states(self):
        self.check("roberta", "classify", ["query", "value"], distill=dict(BOTH_TERMS, kl_weight=0.0))

    def test_roberta_distilled_by_logits(self):
        self.check("roberta", "masked_lm", ["key", "attention.output.dense"], distill=dict(BOTH_TERMS, hidden_weight=0.0))

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
