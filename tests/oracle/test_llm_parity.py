"""A policy that fedcell saves opens in transformers: the same tokens of its prompt and answer, the same logits, the same text back.

    FEDCELL_BUILD=build python tests/oracle/test_llm_parity.py        exit code 1: a difference; 77: skipped
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

try:
    import torch
    import transformers

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch and transformers are missing ({e})"


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_llm", build / "oracle_llm"]
    return next((str(p) for p in places if p.is_file()), None)


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver(), "oracle_llm is not built (FEDCELL_BUILD)")
class LlmParity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([driver(), folder], capture_output=True, text=True)
            if done.returncode != 0:
                raise AssertionError(done.stderr)
            cls.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
            cls.tokenizers = [transformers.AutoTokenizer.from_pretrained(folder, use_fast=fast) for fast in (True, False)]
        ids, logits, answer, cls.text = done.stdout.split("\n", 3)
        cls.ids, cls.answer = ([int(i) for i in line.split(",")] for line in (ids, answer))
        cls.logits = torch.tensor([float(x) for x in logits.split(",")])

    def test_it_is_a_decoder_with_shared_heads(self):
        self.assertIsInstance(self.model, transformers.LlamaForCausalLM)
        self.assertEqual((self.model.config.num_attention_heads, self.model.config.num_key_value_heads), (4, 2))

    def test_tokens(self):
        self.assertIn("4 devices to train", self.text)
        for tokenizer in self.tokenizers:
            self.assertEqual(tokenizer(self.text, add_special_tokens=False)["input_ids"], self.ids)
            self.assertEqual(tokenizer("Selected devices: 1, 3", add_special_tokens=False)["input_ids"], self.answer)
            self.assertEqual(tokenizer.decode(self.ids, clean_up_tokenization_spaces=False), self.text)
            self.assertEqual(tokenizer.eos_token_id, 2)

    def test_logits(self):
        with torch.no_grad():
            want = self.model(torch.tensor([self.ids])).logits[0, -1]
        self.assertEqual(want.shape, self.logits.shape)
        self.assertGreater(float(want.std()), 0.01)
        difference = float((want - self.logits).abs().max())
        self.assertTrue(difference <= 1e-4 * (1 + float(want.abs().max())), difference)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    for reason in sorted({reason for _, reason in result.skipped}):
        print(f"skipped: {reason}")
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
