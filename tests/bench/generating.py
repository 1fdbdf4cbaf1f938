"""compare.py's greedy generation: the same weights and prompts in fedcell and in transformers, in f32 and in bf16; cases SIZE/SEQUENCES.

policy/32 are answers of a small policy to prompts that begin alike, as in its training: fedcell reads what they share once, transformers
keeps nothing from one call to the next."""

import collections
import json

import torch
import transformers

import bases
from pairs import interval_of_median, measure, rate_of, ratio, told

PROMPT, STEPS = 8, 64
PRECISIONS = {"f32": torch.float32, "bf16": torch.bfloat16}
# Where bf16 takes another token than f32, the two must have been nearly as likely: of the range of f32's logits.
TIE = 0.02

Case = collections.namedtuple("Case", "name size sequences steps prompt prefix", defaults=(PROMPT, 0))


def named(size, sequences, steps=STEPS):
    return Case(f"{size}/{sequences}", size, sequences, steps)


POLICY = Case("policy/32", "policy", 32, 16, 230, 90)
CASES = [named(size, sequences) for size in ("llama-d64", *bases.SIZES) for sequences in (1, 8)] + [POLICY]
DEFAULT = "/1$"
QUICK = [named("llama-d64", 2, 8)]


# ---- sides --------------------------------------------------------------------------------------


def fedcell_side(fedcell, case, folder, prompts, precision):
    path = folder / f"{precision}.json"
    name, more = ("rollout", {"prefix": case.prefix, "temperature": 0}) if case.prefix else ("generate", {})
    path.write_text(json.dumps({"model": str(folder / "base"), "precision": precision, "steps": case.steps, "prompts": prompts.tolist(), **more}))

    def sample():
        row = fedcell.bench(name, path)
        tokens = [int(word) for word in row["tokens"].split()]
        return row["rate"]["value"], torch.tensor(tokens).reshape(case.sequences, case.steps).tolist()

    return sample


def open_model(folder, precision):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "base").to(PRECISIONS[precision]).eval()
    model.generation_config.eos_token_id = None  # nothing ends the text
    return model


def transformers_side(model, case, prompts):
    def run():
        with torch.inference_mode():
            out = model.generate(prompts, attention_mask=torch.ones_like(prompts), do_sample=False, max_new_tokens=case.steps, pad_token_id=0)
        return out[:, prompts.shape[1] :].tolist()

    return lambda: rate_of(run, case.sequences * case.steps)


# ---- what is told -------------------------------------------------------------------------------


def gap(model, prompt, got, want):
    """0 if the texts are equal; else what `model` sees between the first two tokens that differ, of the range of its logits."""
    at = next((i for i, (g, w) in enumerate(zip(got, want)) if g != w), None)
    if at is None:
        return 0.0
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + want[:at]])).logits[0, -1].double()
    return (abs(logits[want[at]] - logits[got[at]]) / (logits.max() - logits.min())).item()


def find_faults(texts, model, prompts):
    """Sentences. texts: side -> new tokens of every sequence."""
    faults = []
    want = texts["transformers f32"]
    if texts["fedcell f32"] != want:
        faults.append("fedcell's tokens in f32 are not those of transformers")
    gaps = [gap(model, prompt, g, w) for prompt, g, w in zip(prompts, texts["fedcell bf16"], want)]
    if not max(gaps) <= TIE:  # NaN fails
        faults.append(f"fedcell takes a token in bf16 that is {max(gaps):.2g} less likely in f32, of the logits' range; allowed is {TIE}")
    return faults


def compare(case, fedcell, folder, rounds):
    bases.make(case.size, folder / "base")
    prompts = bases.make_tokens(case.sequences, case.prompt)
    prompts[:, : case.prefix] = prompts[0, : case.prefix]
    models = {precision: open_model(folder, precision) for precision in PRECISIONS}
    sides = {}
    for precision in PRECISIONS:
        sides[f"fedcell {precision}"] = fedcell_side(fedcell, case, folder, prompts, precision)
        sides[f"transformers {precision}"] = transformers_side(models[precision], case, prompts)
    rates, texts = measure(sides, rounds)
    pairs = [(f"fedcell {p}", f"transformers {p}") for p in PRECISIONS] + [("fedcell bf16", "fedcell f32")]
    return {
        "case": case.name, "tokens": case.sequences * case.steps, "texts": texts, "faults": find_faults(texts, models["f32"], prompts.tolist()),
        "samples": rates, "rate": {name: interval_of_median(r) for name, r in rates.items()},
        "ratio": {f"{a} / {b}": ratio(rates, a, b) for a, b in pairs},
    }


def table(rows):
    """Markdown."""
    lines = ["| model | sequences | precision | fedcell, token/s | transformers, token/s | ratio |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        size, sequences = row["case"].split("/")
        for p in PRECISIONS:
            lines.append(f"| {size} | {sequences} | {p} | {row['rate'][f'fedcell {p}'][0]:.4g} | {row['rate'][f'transformers {p}'][0]:.4g} | "
                         f"{told(row['ratio'][f'fedcell {p} / transformers {p}'])} |")
    return "\n".join(lines)
