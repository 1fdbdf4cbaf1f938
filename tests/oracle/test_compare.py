"""The side-by-side with PyTorch (tests/bench/compare.py) works, and sees when the two do not do the same. How fast either is, no test asks.

    FEDCELL=build/fedcell python tests/oracle/test_compare.py        exit code 1: a difference; 77: skipped
"""

import contextlib
import io
import json
import math
import os
import pathlib
import sys
import tempfile
import unittest
import unittest.mock
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEDCELL = os.environ.get("FEDCELL", str(ROOT / "build" / "fedcell"))
sys.path.insert(0, str(ROOT / "tests" / "bench"))

try:
    import compare
    import generating
    import pairs
    import torch
    import training

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch, transformers, peft and safetensors are missing ({e})"


def run(*words):
    """compare.py: exit code, figures, what it prints."""
    out, err = io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        path = pathlib.Path(folder, "figures.json")
        words = ["compare.py", "--fedcell", FEDCELL, "--threads", "1", "--json", str(path), *words]
        with unittest.mock.patch.object(sys, "argv", words):
            code = compare.main()
        torch.set_num_threads(threads)
        return code, json.loads(path.read_text()), out.getvalue() + err.getvalue()


def wrong(change):
    """fedcell with another result."""

    class Wrong(compare.Fedcell):
        def bench(self, name, case):
            row = super().bench(name, case)
            change(row)
            return row

    return unittest.mock.patch.object(compare, "Fedcell", Wrong)


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(pathlib.Path(FEDCELL).is_file(), "fedcell is not built (FEDCELL)")
class SameWork(unittest.TestCase):
    def assert_told(self, told, out, sides):
        self.assertEqual(told["provenance"]["torch"], torch.__version__)
        self.assertTrue(told["fedcell"]["version"])
        (row,) = told["rows"]
        self.assertEqual(set(row["rate"]), {f"{side} {precision}" for side in sides for precision in ("f32", "bf16")})
        for value, low, high in [*row["rate"].values(), *row["ratio"].values()]:
            self.assertTrue(0 < low <= value <= high < math.inf)
        self.assertEqual(out.count(f"| {row['case'].split('/')[0]} |"), 2, out)  # rows of the table

    def test_training(self):
        code, told, out = run("--quick")
        self.assertEqual((code, told["rows"][0]["faults"]), (0, []))
        self.assert_told(told, out, ("fedcell", "plain", "peft"))

    def test_generation(self):
        code, told, out = run("--quick", "--generate")
        self.assertEqual((code, told["rows"][0]["faults"]), (0, []))
        self.assert_told(told, out, ("fedcell", "transformers"))

    def test_another_loss_is_seen(self):
        def change(row):
            row["loss 2"]["value"] *= 1.002

        with wrong(change):
            code, told, out = run("--quick")
        self.assertEqual(code, 1)
        self.assertIn("losses of fedcell f32 and plain f32 differ by 0.002, allowed is 0.0001", out)

    def test_another_token_is_seen(self):
        def change(row):
            row["tokens"] = " ".join(reversed(row["tokens"].split()))

        with wrong(change):
            code, told, out = run("--quick", "--generate")
        self.assertEqual(code, 1)
        self.assertIn("fedcell's tokens in f32 are not those of transformers", out)


@unittest.skipIf(MISSING, MISSING)
class Judging(unittest.TestCase):
    def losses(self, **changes):
        given = {f"{side} {p}": [8.0, 7.0] for side in ("fedcell", "plain", "peft") for p in ("f32", "bf16")}
        return training.find_faults({**given, **{name.replace("_", " "): value for name, value in changes.items()}})

    def test_equal_losses_pass(self):
        self.assertEqual(self.losses(fedcell_bf16=[8.0, 7.0 * 1.0009]), [])

    def test_different_losses(self):
        self.assertEqual(self.losses(peft_bf16=[8.0, 7.0 * 1.002]), ["losses of fedcell bf16 and peft bf16 differ by 0.002, allowed is 0.001"])
        self.assertEqual(self.losses(peft_f32=[8.0, 7.0 * 1.0002]), ["losses of fedcell f32 and peft f32 differ by 0.0002, allowed is 0.0001"])

    def test_not_a_number(self):
        self.assertEqual(len(self.losses(fedcell_bf16=[8.0, math.nan])), 4)
        self.assertEqual(len(self.losses(peft_f32=[math.nan, 7.0])), 1)

    def test_losses_that_do_not_move(self):
        still = {f"{side}_{p}": [8.0, 8.01] for side in ("fedcell", "plain", "peft") for p in ("f32", "bf16")}
        self.assertEqual(self.losses(**still), ["the losses move by 0.0012 only: too little to see a wrong step"])

    def test_another_token_in_bf16(self):
        class Model:  # sees logits 0 ... 1 in equal distances
            def __call__(self, tokens):
                return unittest.mock.Mock(logits=torch.linspace(0, 1, 101).expand(1, tokens.shape[1], 101))

        texts = {"fedcell f32": [[5, 100]], "transformers f32": [[5, 100]], "fedcell bf16": [[5, 99]], "transformers bf16": [[5, 100]]}
        self.assertEqual(generating.find_faults(texts, Model(), [[1]]), [])
        texts["fedcell bf16"] = [[5, 97]]
        self.assertEqual(generating.find_faults(texts, Model(), [[1]]),
                         ["fedcell takes a token in bf16 that is 0.03 less likely in f32, of the logits' range; allowed is 0.02"])

    def test_interval_of_the_median(self):
        for n, low, high in ((5, 1, 5), (6, 1, 6), (7, 1, 7), (9, 2, 8), (25, 8, 18)):  # ranks from tables of the sign test
            self.assertEqual(pairs.interval_of_median(range(n, 0, -1)), ((n + 1) / 2, low, high), n)
        self.assertTrue(math.isnan(pairs.interval_of_median([1.0, math.nan])[0]))

    def test_bad_usage(self):
        for words, message in ((["--cases", "nothing"], "no case is named like nothing; there are d64/8x1,"), (["--rounds", "0"], "must be at least 1")):
            err = io.StringIO()
            with unittest.mock.patch.object(sys, "argv", ["compare.py", *words]), contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as exit:
                compare.main()
            self.assertEqual(exit.exception.code, 2)
            self.assertIn(message, err.getvalue())


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(77)
