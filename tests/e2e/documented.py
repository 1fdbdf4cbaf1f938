"""documented.py - the documents' code blocks, executed as a reader would.

  documented.py TEST FOLDER [--between COMMAND]

Goes through the blocks of all documents that belong to TEST, in order, in FOLDER (laid out like the
project): `sh` is run line by line, `diff` is applied, blocks with a file's name after their language are
written there. Prints each command; exits 1 at the first that fails. --between: run after every command.

A command whose comment says "minutes" runs shortened: LESS=yes is set for it, and FOLDER's
build/fedcell has to know what that means. All blocks belong to the test `documented_commands` unless the
tables below say otherwise; a block of no known kind is an error, so nothing is left out unsaid.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = {"yaml", "csv", "json", "jsonl", "c"}
TEXT = {"bibtex"}  # to copy, not to execute

# Blocks that another test executes: (document, section, what the block contains) -> that test.
ELSEWHERE = [
    ("README.md", "Two commands", "", "own_method"),
    ("README.md", "Building", "", "own_method"),
    ("CONTRIBUTING.md", "Build", "", "own_method"),
    ("src/README.md", "", "", "own_method"),
    ("README.md", "Many runs: sweeps", "jobs/slurm/submit.sh", "slurm.documented_sweep"),
    ("README.md", "Analysis", "", "analysis.test_readme"),
    ("README.md", "Resource optimisers", "$ build/fedcell solve", "solve_answers"),
]

# Commands that do not run as they stand: pattern, what runs instead, why.
INSTEAD = [
    (r"tests/run\.sh( .*)?$", r"tests/run.sh\1 --list", "it would run this test again"),
    (r"jobs/get-data\.sh$", r"jobs/get-data.sh --help", "91 MB from the network"),
    (
        r"(build/fedcell run jobs/experiments/sst2-minilm\.yaml.*)",
        r"\1 --set model.base=embedded --set data.dataset=generated-sentiment",
        "needs the 91 MB and SST-2; here from the embedded base, on generated data",
    ),
]


class Block:
    def __init__(self, document, section, line, info, text):
        self.document, self.section, self.line, self.text = document, section, line, text
        self.language, _, self.file = info.partition(" ")

    def test(self):
        for document, section, contains, test in ELSEWHERE:
            if self.document == document and section in ("", self.section) and contains in self.text:
                return test
        return "documented_commands"

    def fail(self, text):
        sys.exit(f"FAILED: {self.document}:{self.line}: {text}")


def documents():
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("*/README.md"))]
    return [str(path.relative_to(ROOT)) for path in found if not path.parent.name.startswith("build")]


def blocks(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    prose = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    section, fence, body = "", None, []
    for number, line in enumerate(text.splitlines(), start=1):
        opening = re.match(r"^( *)```(.*)$", line)
        if fence is None and opening:
            fence, body = (len(opening[1]), opening[2], number), []
        elif fence is None:
            section = line[3:] if line.startswith("## ") else section
        elif opening:
            indent, info, start = fence
            block = Block(document, section, start, info, "".join(s[indent:] + "\n" for s in body))
            if block.file and pathlib.Path(block.file).name not in prose:
                block.fail(f"the text does not tell the reader that this is {block.file}")
            yield block
            fence = None
        else:
            body.append(line)


def commands(block):
    """Logical lines, without their comments; whether each is a long one."""
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        command, _, comment = line.partition(" #")
        if command.strip() and not command.startswith("#"):
            yield command.strip(), bool(re.search(r"\bminutes\b", comment))


def run(block, command, is_long, folder):
    environment = dict(os.environ)
    for pattern, instead, why in INSTEAD:
        changed = re.sub(r"^(?:\./)?" + pattern, instead, command)
        if changed != command:
            print(f"  not as it stands ({why}): {command}")
            command = changed
    if is_long:
        environment["LESS"] = "yes"
    print(f"  {'(shortened) ' if is_long else ''}$ {command}", flush=True)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment)
    if done.returncode != 0:
        block.fail(f"exit code {done.returncode}: {command}")


def execute(block, folder, between):
    if block.language == "sh":
        for command, is_long in commands(block):
            run(block, command, is_long, folder)
            if between:
                run(block, between, False, folder)
    elif block.language == "diff":
        patch = ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch"]
        if subprocess.run(patch, input=block.text, text=True, cwd=folder).returncode != 0:
            block.fail("does not apply")
    elif block.language in FILES and block.file:
        path = folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif block.language not in TEXT:
        block.fail(f"a block of kind '{block.language}' without a file's name: nothing executes it")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("test")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--between")
    given = parser.parse_args()
    executed = 0
    for document in documents():
        for block in blocks(document):
            if block.test() != given.test:
                continue
            print(f"{document}:{block.line}", flush=True)
            execute(block, given.folder, given.between)
            executed += 1
    if executed == 0:
        sys.exit(f"FAILED: the documents have no block for {given.test}")
    print(f"{executed} blocks")


if __name__ == "__main__":
    main()
