"""fedcell's tokenisers give the ids of Hugging Face's on ../shared/data and on hard Unicode, and what its BPE learner saves opens there.

Yardsticks: the `tokenizers` library (Rust, what AutoTokenizer uses) on every text, transformers' slow Python tokenisers on a part; for
LLaMA-3, whose file that release does not read, the definition of its byte pair encoding, literally. For BERT
these two disagree about code points newer than Rust's tables (Unicode 8), unassigned ones and the final sigma; there one of the two must agree
with us, which check_code_points says exactly.

    FEDCELL_BUILD=build python tests/oracle/test_tokenizer_parity.py        exit code 1: a difference; 77: skipped
"""

import base64
import collections
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("FEDCELL_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data"
VOCABULARIES = SHARED / "tokenizers"
SLOW_EVERY = 50  # the slow tokenisers see every 50th line
SAME_CODE_EVERY = 4  # a second vocabulary of the same kind sees every 4th

try:
    import regex
    import tokenizers
    import transformers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages transformers and tokenizers are missing ({e})"

CORPUS = [
    "sst2/train.tsv",
    "sst2/dev.tsv",
    "qnli/dev.tsv",
    "yahoo/yahoo10.csv",
    "gsm8k/test.jsonl",
    "gsm8k/train.jsonl",
    "corpus/tinyshakespeare.txt",
    "corpus/wikitext-2/*",
]

HAND_MADE = [
    "",
    " ",
    "  ",
    "\n",
    "\t\n \r\n  x",
    "a\nb\r\nc\rd",
    "trailing spaces   ",
    "   leading spaces",
    "tabs\tand\t\ttabs \t mixed",
    "don't won't I'll you're we've he'd I'm it's DON'T IT'S o'clock 'tis ''s '",
    "it’s a “quoted” – dashed — text…",
    "no\u00a0break\u00a0\u00a0space \u00a0 mixed",
    "thin\u2009en\u2002em\u2003ideographic\u3000line\u2028paragraph\u2029nel\u0085end",
    "ogham\u1680space mongolian\u180evowel zero\u200bwidth word\u2060joiner bom\ufeffhere",
    "separators \x1c file \x1d group \x1e record \x1f unit \x0b vt \x0c ff",
    "controls \x01\x02\x07\x08\x1b[0m\x7f\x80\x9f and nul \x00 inside",
    "replacement \ufffd character\ufffd",
    "日本語のテキスト、漢字とかな。カタカナ",
    "中文字符和English混合123测试",
    "한국어 텍스트 각각",
    "한국어 in decomposed jamo",
    "\U00020000\U0002a6d6\U0002b740 beyond the basic plane \uf900\ufa0e compatibility \U0002f800\U0002fa1d",
    "emoji 😀😃 👨‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☺ ✈️ 1️⃣",
    "e\u0301 é a\u030a å n\u0303 ñ o\u0308\u0304 ȫ q\u0323\u0307 q\u0307\u0323",
    "zalgo: t\u0335\u0321\u031be\u0334\u0322x\u0337\u0324\u030ct",
    "musical \U0001d15e\U0001d160 marks \U0001d165\U0001d16e and \u302e\u302f\u0591",
    "Tiếng Việt có dấu, ĐẶC BIỆT",
    "İstanbul ISPARTA ılık İİ I\u0307 i\u0307",
    "ΑΒΓΔ ΟΔΥΣΣΕΥΣ Σίσυφος ὈΔΥΣΣΕΎΣ",
    "ﬁnd ﬂow ﬃ ſtop ĳ ǆ ǅ Ǆ ẞ ß",
    "Ω Å K ℃ ℝ ℵ ½ ² ³ ① ⑩ Ⅷ ⅷ ⁴ ₅ 〇 一二三",
    "العربية نص عربي مع تَشْكِيل ١٢٣",
    "עברית עם נִקּוּד",
    "\u202eright to left override\u202c \u200eltr\u200f rtl",
    "हिन्दी देवनागरी क्षि त्र १२३",
    "ไทยไม่มีวรรค กำ",
    "ქართული ᲥᲐᲠᲗᲣᲚᲘ Ꭰꭰ ᏸ",
    "Привет, МИР! Ёлка й и\u0306",
    "math: ∑∫√≤≥≠±×÷ €£¥$ ^~`|<>=+ 5^2 a_b",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿",
    "¿Qué? ¡No! «guillemets» ‹single› „low“ 「角」『二』",
    "<|endoftext|> <s> </s> <pad> <mask> [CLS] [SEP] [MASK] [UNK] [PAD]",
    "##pieces ## # #hash un##able",
    "email@example.org https://example.org/a?b=c&d=%20#e",
    "1234567890 3.14159 1,000,000 1e-5 0x1F 12:30",
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101,
    "é" * 100 + " " + "é" * 101 + " " + "e\u0301" * 100 + " " + "e\u0301" * 101,
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "a" * 3000,
    " " * 500 + "x" + " " * 500,
    "ab" * 1000 + "😀" * 300,
    "\u0301\u0302 lone marks \u0301",
    "\U000e0041\U000e007f tags \ue000 private \U000f0000 use \U0010ffff",
]

INVALID = [
    b"\xff\xfe",
    b"lone \x80 continuation \xbf",
    b"\xc0\xaf overlong \xe0\x80\x80 \xf0\x80\x80\x80",
    b"lone surrogates \xed\xa0\x80 \xed\xbf\xbf pair \xed\xa0\xbd\xed\xb8\x80",
    b"beyond \xf4\x90\x80\x80 \xf5\x80\x80\x80 \xf8\x88\x80\x80\x80",
    b"cut \xe2\x82",
    b"cut \xf0\x9f\x98",
    b"cut \xf0\x9f",
    b"cut \xc3",
    b"cut inside \xe2\x82x \xf0\x9f\x98x \xe1\x80\xe2\xf0\x91\x92\xf1\xbfx",
    b"latin-1: caf\xe9 na\xefve \xfc\xf6\xe4\xdf",
    bytes(range(256)),
    bytes(range(255, -1, -1)),
]


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_tokenizer", build / "oracle_tokenizer"]
    return next((str(p) for p in places if p.is_file()), None)


def run_driver(arguments, texts):
    records = b"".join(b"%d\n%s" % (len(t), t) for t in texts)
    done = subprocess.run([driver(), "-r", *map(str, arguments)], input=records, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"oracle_tokenizer {arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def our_ids(path, texts):
    lines = run_driver(["encode", path], texts).decode().split("\n")[:-1]
    assert len(lines) == len(texts), f"{len(lines)} answers for {len(texts)} texts"
    return [[int(i) for i in line.split()] for line in lines]


def our_texts(path, ids):
    """Decoding: each answer is 'length newline text newline'. Ids go in as lines of numbers."""
    lines = "".join(" ".join(map(str, i)) + "\n" for i in ids).encode()
    done = subprocess.run([driver(), "decode", str(path)], input=lines, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"oracle_tokenizer decode: {done.stderr.decode(errors='replace')}")
    texts, rest = [], done.stdout
    at = 0
    while at < len(rest):
        end = rest.index(b"\n", at)
        n = int(rest[at:end])
        texts.append(rest[end + 1 : end + 1 + n])
        at = end + 2 + n
    return texts


def corpus_lines():
    lines = []
    for pattern in CORPUS:
        for path in sorted(DATA.glob(pattern)):
            lines += path.read_bytes().split(b"\n")
    return [line for line in lines if line]


def code_points():
    """All that are assigned; of the others every 64th and those next to an assigned one."""
    known = [unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs") for c in range(0x110000)]
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c % 64 == 0 or any(known[max(c - 1, 0) : c + 2]))]


def naive_merges(texts, count):
    """The learner's definition, literally: count all pairs anew for each merge."""
    pattern = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
    frequency = collections.Counter(w for t in texts for w in pattern.findall(t))
    words = {w: [bytes([b]) for b in w.encode()] for w in frequency}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for w, pieces in words.items():
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] += frequency[w]
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w, pieces in words.items():
            joined, i = [], 0
            while i < len(pieces):
                n = 2 if tuple(pieces[i : i + 2]) == best else 1
                joined.append(b"".join(pieces[i : i + n]))
                i += n
            words[w] = joined
    return merges


LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def naive_llama3(vocabulary):
    """A word that is a token; else its bytes, of which the two neighbours whose joint token has the lowest id are merged, the first of
    equals, until none are."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, vocabulary.read_bytes().splitlines())}
    pattern = regex.compile(LLAMA3_PATTERN)

    @functools.lru_cache(None)
    def ids_of(word):
        parts = [word] if word in ranks else [bytes([b]) for b in word]
        while True:
            joint = [ranks.get(a + b, len(ranks)) for a, b in zip(parts, parts[1:])]
            at = min(range(len(joint)), key=joint.__getitem__, default=None)
            if at is None or joint[at] == len(ranks):
                return [ranks[p] for p in parts]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]

    return lambda texts: [[i for word in pattern.findall(t) for i in ids_of(word.encode())] for t in texts]


def rust_bpe(vocabulary, merges):
    """No special tokens and no prefix space: what fc_tokenizer_encode promises."""
    vocab = json.loads(vocabulary.read_text(encoding="utf-8"))
    pairs = [tuple(line.split(" ")) for line in merges.read_text(encoding="utf-8").split("\n")[1:] if line]
    tok = tokenizers.Tokenizer(models.BPE(vocab, pairs))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    return tok


def rust_wordpiece(vocabulary):
    vocab = {line: i for i, line in enumerate(vocabulary.read_text(encoding="utf-8").split("\n")[:-1])}
    tok = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece(cleanup=False)
    return tok


def fast_ids(tok):
    return lambda texts: [e.ids for e in tok.encode_batch(texts, add_special_tokens=False)]


def slow_ids(tok):
    """The Python tokeniser's own splitting, without the search for special tokens in the text."""
    if isinstance(tok, transformers.BertTokenizer):
        def pieces(text):
            words = tok.basic_tokenizer.tokenize(text)
            return [p for w in words for p in tok.wordpiece_tokenizer.tokenize(w)]
    else:
        pieces = tok._tokenize
    return lambda texts: [tok.convert_tokens_to_ids(pieces(t)) for t in texts]


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(DATA.is_dir() and VOCABULARIES.is_dir(), f"no data in {DATA} and {VOCABULARIES}")
@unittest.skipUnless(driver(), "oracle_tokenizer is not built (FEDCELL_BUILD)")
class TokenizerParity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="fedcell-tokenizers-"))
        cls.gpt2 = VOCABULARIES / "gpt2"
        cls.bert = VOCABULARIES / "bert-base-uncased"
        cls.roberta = cls.folder / "roberta"
        cls.roberta.mkdir()
        shutil.copy(VOCABULARIES / "roberta" / "vocab.json", cls.roberta / "vocab.json")
        shutil.copy(cls.gpt2 / "vocab.bpe", cls.roberta / "merges.txt")
        cls.lines = corpus_lines()
        cls.hand_made = [t.encode() for t in HAND_MADE] + INVALID

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def compare(self, name, path, theirs, texts):
        decoded = [t.decode("utf-8", errors="replace") for t in texts]
        expected, got = theirs(decoded), our_ids(path, texts)
        wrong = [i for i in range(len(texts)) if expected[i] != got[i]]
        shown = "".join(f"\n  {texts[i][:120]!r}\n    expected {expected[i][:30]}\n    got      {got[i][:30]}" for i in wrong[:5])
        self.assertFalse(wrong, f"{name}: {len(wrong)} of {len(texts)} texts differ{shown}")

    def check_kind(self, name, path, fast, slow, every=1):
        self.assertGreaterEqual(len(self.lines[::every]), 10000)
        self.compare(f"{name}, tokenizers, data", path, fast_ids(fast), self.lines[::every])
        self.compare(f"{name}, tokenizers, hand-made", path, fast_ids(fast), self.hand_made)
        self.compare(f"{name}, transformers' Python, data", path, slow_ids(slow), self.lines[::SLOW_EVERY])

    def check_decode(self, path, fast, skipped):
        texts = [t.decode("utf-8", errors="replace") for t in self.hand_made + self.lines[::SLOW_EVERY] if b"\0" not in t]
        ids = fast_ids(fast)(texts)
        expected = [fast.decode([i for i in one if i not in skipped], skip_special_tokens=False) for one in ids]
        self.assertEqual(expected, [t.decode() for t in our_texts(path, ids)])

    def check_code_points(self, path, fast, slow):
        """Every code point between letters, alone, doubled before a digit: as the Rust library has it, or as Python has it where the two
        disagree and the code point is not newer than Python's Unicode."""
        points = code_points()
        texts = [f"a{chr(c)}b {chr(c)} {chr(c)}{chr(c)}1" for c in points]
        ours = our_ids(path, [t.encode() for t in texts])
        differing = [(c, t, mine) for c, t, mine, f in zip(points, texts, ours, fast_ids(fast)(texts)) if mine != f]
        pythons = slow_ids(slow)([t for _, t, _ in differing])
        wrong = [f"U+{c:04X}" for (c, _, mine), s in zip(differing, pythons) if mine != s and unicodedata.category(chr(c)) != "Cn"]
        print(f"{len(points)} code points, {len(differing)} unlike tokenizers {tokenizers.__version__} ...", file=sys.stderr, end=" ")
        self.assertFalse(wrong, f"{len(wrong)} code points unlike both: {wrong[:20]}")
        self.assertLess(len(differing), 1000)

    def gpt2_files(self):
        return self.gpt2 / "encoder.json", self.gpt2 / "vocab.bpe"

    def test_gpt2(self):
        slow = transformers.GPT2Tokenizer(*map(str, self.gpt2_files()))
        self.check_kind("GPT-2", self.gpt2, rust_bpe(*self.gpt2_files()), slow)
        self.compare("GPT-2, transformers' Python, hand-made", self.gpt2, slow_ids(slow), self.hand_made)

    def test_roberta(self):
        files = self.roberta / "vocab.json", self.roberta / "merges.txt"
        self.check_kind("RoBERTa", self.roberta, rust_bpe(*files), transformers.RobertaTokenizer(*map(str, files)), SAME_CODE_EVERY)

    def test_bert(self):
        vocabulary = self.bert / "vocab.txt"
        self.check_kind("BERT", self.bert, rust_wordpiece(vocabulary), transformers.BertTokenizer(str(vocabulary)))

    def test_llama3(self):
        folder = VOCABULARIES / "llama3"
        lines = [line + b"\r\n\n" for line in self.lines[::SAME_CODE_EVERY]]  # its pattern treats ends of lines apart
        theirs = naive_llama3(folder / "tokenizer.model")
        self.compare("LLaMA-3, data", folder, theirs, lines)
        self.compare("LLaMA-3, hand-made", folder, theirs, self.hand_made)
        texts = [t.decode("utf-8", errors="replace") for t in self.hand_made + lines[::SLOW_EVERY] if b"\0" not in t]
        self.assertEqual(texts, [t.decode() for t in our_texts(folder, theirs(texts))])

    def test_bert_cased(self):
        folder = self.folder / "cased"
        folder.mkdir()
        shutil.copy(self.bert / "vocab.txt", folder)
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
        fast = rust_wordpiece(folder / "vocab.txt")
        fast.normalizer = normalizers.BertNormalizer(lowercase=False)
        self.compare("BERT cased, tokenizers", folder, fast_ids(fast), self.hand_made + self.lines[::SLOW_EVERY])

    def test_gpt2_every_code_point(self):
        self.check_code_points(self.gpt2, rust_bpe(*self.gpt2_files()), transformers.GPT2Tokenizer(*map(str, self.gpt2_files())))

    def test_bert_every_code_point(self):
        vocabulary = self.bert / "vocab.txt"
        self.check_code_points(self.bert, rust_wordpiece(vocabulary), transformers.BertTokenizer(str(vocabulary)))

    def test_gpt2_decode(self):
        self.check_decode(self.gpt2, rust_bpe(*self.gpt2_files()), set())

    def test_bert_decode(self):
        self.check_decode(self.bert, rust_wordpiece(self.bert / "vocab.txt"), {0, 100, 101, 102, 103})

    def test_lines_on_stdin(self):
        done = subprocess.run([driver(), "encode", self.gpt2], input=b"Hello world\n\nHello", capture_output=True)
        self.assertEqual(done.stdout, b"15496 995\n\n15496\n")

    def learn(self, name, texts, size):
        folder = self.folder / name
        folder.mkdir()
        run_driver(["learn", size, folder], texts)
        return folder

    def test_learned_bpe_opens_in_hugging_face(self):
        folder = self.learn("learned", self.lines[::10], 2000)
        vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
        self.assertEqual(len(json.loads(vocabulary.read_text(encoding="utf-8"))), 2000)
        slow = transformers.AutoTokenizer.from_pretrained(folder, use_fast=False)
        self.assertIsInstance(slow, transformers.RobertaTokenizer)
        names = ["cls_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "mask_token_id"]
        self.assertEqual([getattr(slow, n) for n in names], [0, 1, 2, 3, 4])
        self.check_kind("learned BPE", folder, rust_bpe(vocabulary, merges), slow, SAME_CODE_EVERY)
        fast = transformers.AutoTokenizer.from_pretrained(folder)
        # AutoTokenizer looks for special tokens in the text (WikiText has <unk>), fedcell by contract does not.
        texts = [t.decode("utf-8", errors="replace") for t in self.lines[::SLOW_EVERY] if b"<unk>" not in t]
        expected = fast(texts, add_special_tokens=False)["input_ids"]
        self.assertEqual(expected, our_ids(folder, [t.encode() for t in texts]))

    def test_learned_merges_are_the_definition_s(self):
        texts = self.lines[::400] + [t.encode() for t in HAND_MADE]
        expected = naive_merges([t.decode("utf-8", errors="replace") for t in texts], 300)
        folder = self.learn("naive", texts, 261 + 300)
        byte_of = {chr(c): bytes([b]) for b, c in transformers_bytes()}
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
        got = [tuple(b"".join(byte_of[c] for c in side) for side in line.split(" ")) for line in lines]
        self.assertEqual(expected, got[:300])


def transformers_bytes():
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    return [(byte, ord(character)) for byte, character in bytes_to_unicode().items()]


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    for reason in sorted({reason for _, reason in result.skipped}):
        print(f"skipped: {reason}")
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
