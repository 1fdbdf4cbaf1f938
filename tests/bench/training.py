"""compare.py's training: the same devices, adapters, tokens and steps on all sides, in f32 and in bf16; cases SIZE/DEVICESxBATCH."""

import collections
import functools
import json
import math

import bases
from pairs import interval_of_median, measure, rate_of, ratio, told
from torch_side import PeftLoop, PlainLoop

LENGTH, STEPS, LEARNING_RATE = 128, 2, 1e-2
COHORT_ROWS = 8 * LENGTH  # tokens of a cohort of fedcell's
GATES = {"f32": 1e-4, "bf16": 1e-3}  # of the loss
OPPONENTS = {"plain": PlainLoop, "peft": PeftLoop}

Case = collections.namedtuple("Case", "name size devices batch")


def named(size, devices, batch):
    return Case(f"{size}/{devices}x{batch}", size, devices, batch)


CASES = [named(size, devices, batch) for size in bases.SIZES for devices in (8, 64, 512) for batch in (1, 4)]
DEFAULT = r"^(d64/(8|64)x1|d64/64x4|d256/(8|64)x1|gpt2/8x1)$"
QUICK = [named("d64", 3, 2)]


# ---- sides --------------------------------------------------------------------------------------


def fedcell_side(fedcell, case, folder, tokens, precision):
    path = folder / f"{precision}.json"
    path.write_text(json.dumps({"model": str(folder / "base"), "adapter": str(folder / "adapter"), "tokens": tokens.flatten(0, 1).tolist(),
                                "devices": case.devices, "batch": case.batch, "steps": STEPS, "learning_rate": LEARNING_RATE,
                                "cohort": min(case.devices, max(1, COHORT_ROWS // (LENGTH * case.batch))), "precision": precision}))

    def sample():
        row = fedcell.bench("train", path)
        return row["rate"]["value"], [row[f"loss {s + 1}"]["value"] for s in range(STEPS)]

    return sample


def torch_side(opponent, ways, folder, tokens):
    """The sample of the fastest of PyTorch's ways to a precision, and that way's name."""
    loops = {way: OPPONENTS[opponent](folder / "base", folder / "adapter", way, tokens, STEPS, LEARNING_RATE) for way in ways}
    samples = {way: functools.partial(rate_of, loop.run, tokens.numel() * STEPS) for way, loop in loops.items()}
    way = max(ways, key=lambda way: samples[way]()[0]) if len(ways) > 1 else ways[0]
    return samples[way], way


def make_sides(case, fedcell, folder):
    """"fedcell f32", "plain bf16" ... -> sample; and the ways that PyTorch takes to bf16."""
    model = bases.make(case.size, folder / "base")
    bases.make_adapter(model, folder / "adapter")
    del model
    tokens = bases.make_tokens(case.devices, case.batch, LENGTH)
    sides, ways = {}, {}
    for precision, tried in (("f32", ["f32"]), ("bf16", ["bf16", "autocast"])):
        sides[f"fedcell {precision}"] = fedcell_side(fedcell, case, folder, tokens, precision)
        for opponent in OPPONENTS:
            sides[f"{opponent} {precision}"], ways[f"{opponent} {precision}"] = torch_side(opponent, tried, folder, tokens)
    return sides, ways


# ---- what is told -------------------------------------------------------------------------------


def difference(got, want):
    """The largest, of the loss; infinite where one of them is not finite."""
    return max(abs(g - w) / abs(w) if math.isfinite(g - w) else math.inf for g, w in zip(got, want))


def find_faults(losses):
    """Sentences. losses: side -> loss before every step."""
    faults = []
    for precision, allowed in GATES.items():
        ours = losses[f"fedcell {precision}"]
        for other in dict.fromkeys([f"plain {precision}", f"peft {precision}", "fedcell f32", "plain f32"]):
            d = difference(ours, losses[other])
            if d > allowed:
                faults.append(f"losses of fedcell {precision} and {other} differ by {d:.2g}, allowed is {allowed:g}")
    moved = difference(losses["plain f32"][-1:], losses["plain f32"][:1])
    if moved < 5 * max(GATES.values()):
        faults.append(f"the losses move by {moved:.2g} only: too little to see a wrong step")
    return faults


def compare(case, fedcell, folder, rounds):
    sides, ways = make_sides(case, fedcell, folder)
    rates, losses = measure(sides, rounds)
    pairs = [(f"fedcell {p}", f"{o} {p}") for p in GATES for o in OPPONENTS] + [("fedcell bf16", "fedcell f32")]
    return {
        "case": case.name, "tokens": case.devices * case.batch * LENGTH * STEPS, "losses": losses, "faults": find_faults(losses), "ways": ways,
        "samples": rates, "rate": {name: interval_of_median(r) for name, r in rates.items()},
        "ratio": {f"{a} / {b}": ratio(rates, a, b) for a, b in pairs},
    }


def table(rows):
    """Markdown."""
    lines = ["| model | devices x batch | precision | fedcell, token/s | / own f32 | A: plain loop, token/s | fedcell / A | fedcell / B (PEFT) | "
             "loss, from A's |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        size, work = row["case"].split("/")
        for p in GATES:
            ours, plain = f"fedcell {p}", f"plain {p}"
            own = "1" if p == "f32" else told(row["ratio"]["fedcell bf16 / fedcell f32"])
            way = " (autocast)" if row["ways"][plain] == "autocast" else ""
            lines.append(f"| {size} | {work.replace('x', ' x ')} | {p} | {row['rate'][ours][0]:.4g} | {own} | {row['rate'][plain][0]:.4g}{way} | "
                         f"{told(row['ratio'][f'{ours} / {plain}'])} | {told(row['ratio'][f'{ours} / peft {p}'])} | "
                         f"{difference(row['losses'][ours], row['losses'][plain]):.1g} |")
    return "\n".join(lines)
