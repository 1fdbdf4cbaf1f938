"""Greedy generation by fedcell and by transformers, side by side: the same random weights from one safetensors folder, the same prompt,
the same number of threads; in pairs, one after the other, so that what else the machine does meets both. In f32 the tokens must be equal.

    ninja -C build bench_generate_pairs
    FEDCELL_BUILD=build $(tests/oracle/venv.sh) tests/bench/generate_compare.py [--json] [--pairs N] [--threads N] [--sizes NAME,NAME]

Ratios are fedcell's tokens/s over transformers', the median over the pairs with a 95 % interval of order statistics. Memory of tens of GB/s
binds both on the large model: what transformers reads there in bf16 and f32 is what fedcell reads too.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = [3, 17, 4, 80, 12, 55, 9, 31]

# name: (family, layers, width, heads, key heads, inner width, vocabulary, positions, new tokens)
SIZES = {
    "llama-d64": ("llama", 5, 64, 8, 4, 172, 512, 512, 64),  # as stories260K
    "gpt2-d64": ("gpt2", 2, 64, 4, 4, 256, 2048, 256, 64),
    "gpt2-d256": ("gpt2", 4, 256, 4, 4, 1024, 8192, 256, 64),
    "gpt2-124M": ("gpt2", 12, 768, 12, 12, 3072, 50257, 1024, 24),
}


def make_model(size, torch, transformers):
    family, layers, width, heads, kv_heads, inner, vocab, positions, _ = SIZES[size]
    torch.manual_seed(1)
    if family == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=vocab, n_positions=positions, n_embd=width, n_layer=layers, n_head=heads, n_inner=inner))
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=vocab, max_position_embeddings=positions, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=kv_heads, intermediate_size=inner, tie_word_embeddings=True))
    with torch.no_grad():  # weights of trained models' size, so that the likeliest token is not a matter of rounding
        for name, p in model.named_parameters():
            if p.dim() > 1 and "wte" not in name and "embed_tokens" not in name and "wpe" not in name:
                p.normal_(0.0, 1.0 / width**0.5)
    model.generation_config.eos_token_id = None  # nothing ends the text
    return model.eval()


def median_interval(x):
    """Median, and the order statistics around it that cover the true one with at least 95 %."""
    x, n = sorted(x), len(x)
    rank = 1
    while sum(math.comb(n, k) for k in range(rank + 1)) <= 0.025 * 2**n:
        rank += 1
    return statistics.median(x), x[rank - 1], x[n - rank]


class Fedcell:
    """bench_generate_pairs as a process that answers when asked."""

    def __init__(self, driver, folder, precision, steps, threads):
        self.process = subprocess.Popen([driver, folder, precision, str(steps), ",".join(map(str, PROMPT))], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, OMP_NUM_THREADS=str(threads)))

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if not words:
            raise RuntimeError("bench_generate_pairs ended")
        return float(words[0]), [int(w) for w in words[1:]]

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise RuntimeError(f"bench_generate_pairs: exit code {self.process.returncode}")


def compare(size, precision, pairs, threads, driver):
    """One row of figures: medians and the ratio's interval. RuntimeError if the tokens differ in f32."""
    import torch
    import transformers

    steps = SIZES[size][-1]
    torch.set_num_threads(threads)
    model = make_model(size, torch, transformers)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, safe_serialization=True)
        ours = Fedcell(driver, folder, precision, steps, threads)
        ours.run()  # reads the folder and warms up
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    ids = torch.tensor([PROMPT])

    def theirs():
        begin = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(ids, do_sample=False, max_new_tokens=steps, min_new_tokens=steps, pad_token_id=0)
        return time.perf_counter() - begin, out[0, len(PROMPT):].tolist()

    theirs()
    own_s, torch_s = [], []
    for _ in range(pairs):
        seconds, own_tokens = ours.run()
        own_s.append(seconds)
        seconds, torch_tokens = theirs()
        torch_s.append(seconds)
    ours.close()
    equal = next((i for i, (a, b) in enumerate(zip(own_tokens, torch_tokens)) if a != b), steps)
    if precision == "f32" and (equal < steps or len(own_tokens) != steps):
        raise RuntimeError(f"{size}: the tokens differ from the {equal}th on: {own_tokens} {torch_tokens}")
    ratio, low, high = median_interval([t / o for o, t in zip(own_s, torch_s)])
    return {"size": size, "precision": precision, "pairs": pairs, "threads": threads, "tokens": steps, "equal_tokens": equal,
            "different_tokens": len(set(own_tokens)), "fedcell_tokens_per_s": steps / statistics.median(own_s),
            "transformers_tokens_per_s": steps / statistics.median(torch_s), "ratio": ratio, "ratio_low": low, "ratio_high": high}


def find_driver():
    path = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build")) / "tests" / "bench_generate_pairs"
    return str(path.resolve()) if path.is_file() else None


def main():
    parser = argparse.ArgumentParser(description="Greedy generation: fedcell against transformers.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--precisions", default="f32,bf16")
    a = parser.parse_args()
    unknown = [s for s in a.sizes.split(",") if s not in SIZES]
    if unknown:
        parser.error(f"unknown size {unknown[0]}: allowed are {', '.join(SIZES)}")
    driver = find_driver()
    if not driver:
        print("skipped: bench_generate_pairs is not built (ninja -C build bench_generate_pairs; FEDCELL_BUILD)")
        return 77
    try:
        import torch
        import transformers
    except ImportError as e:
        print(f"skipped: the Python packages torch and transformers are missing ({e})")
        return 77
    rows = [compare(size, precision, a.pairs, a.threads, driver) for size in a.sizes.split(",") for precision in a.precisions.split(",")]
    if a.json:
        print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "machine": platform.processor() or platform.machine(),
                          "rows": rows}, indent=2))
        return 0
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {a.threads} threads, {a.pairs} pairs; tokens/s")
    for r in rows:
        print(f"{r['size']:<10} {r['precision']:<4} fedcell {r['fedcell_tokens_per_s']:9.1f}  transformers {r['transformers_tokens_per_s']:8.1f}  "
              f"ratio {r['ratio']:6.2f} [{r['ratio_low']:.2f}, {r['ratio_high']:.2f}]  equal tokens {r['equal_tokens']}/{r['tokens']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
