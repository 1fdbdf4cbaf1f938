"""fedcell's greedy continuations are transformers' on small random GPT-2 and LLaMA models.

fedcell continues prompts of different lengths as one batch with kept keys and values; transformers continues each by itself.

    FEDCELL_BUILD=build python tests/oracle/test_generate_parity.py        exit code 1: a difference; 77: skipped
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 24
VOCAB = 83

try:
    import torch
    import transformers

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch and transformers are missing ({e})"


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_generate", build / "oracle_generate"]
    return next((str(p) for p in places if p.is_file()), None)


def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=32, n_layer=3, n_head=4))


def llama(kv_heads, tied):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=VOCAB, max_position_embeddings=64, hidden_size=32,
                                                                  num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=kv_heads,
                                                                  intermediate_size=48, tie_word_embeddings=tied, rope_theta=500.0))


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver(), "oracle_generate is not built (FEDCELL_BUILD)")
class GenerateParity(unittest.TestCase):
    def check(self, make, seed=1):
        torch.manual_seed(seed)
        model = make().eval()
        model.generation_config.eos_token_id = None  # nothing ends a text
        with torch.no_grad():
            for name, p in model.named_parameters():
                is_norm = any(s in name for s in ("norm.weight", "layernorm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))
                # small token tables: a tied head would otherwise repeat the last token
                p.copy_(float(is_norm) + (0.05 if "embed_tokens" in name or "wte" in name else 0.3) * torch.randn(p.shape))
        prompts = [torch.randint(0, VOCAB, (n,)).tolist() for n in (1, 7, 30)]
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, safe_serialization=True)
            done = subprocess.run([driver(), folder, str(STEPS), *(",".join(map(str, p)) for p in prompts)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = [[int(t) for t in line.split(",")] for line in done.stdout.splitlines()]
        want = []
        for prompt in prompts:
            ids = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=STEPS, pad_token_id=0)
            want.append(ids[0, len(prompt):].tolist())
        self.assertEqual(got, want)
        self.assertGreater(len(set(want[2])), 3)  # not one token for ever

    def test_gpt2(self):
        self.check(gpt2)

    def test_llama(self):
        self.check(lambda: llama(4, False))

    def test_llama_with_grouped_heads(self):
        self.check(lambda: llama(2, False))

    def test_llama_with_one_key_head_and_tied_tables(self):
        self.check(lambda: llama(1, True), seed=2)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    for reason in sorted({reason for _, reason in result.skipped}):
        print(f"skipped: {reason}")
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
