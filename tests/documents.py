"""documents.py - what the documents say must be there: links, paths, references.

Checks every Markdown file for local links and `code` paths that do not exist, and every citation
[KEY (8)] in the sources for its entry under "References" in README.md. Prints each fault as
file:line: text and exits 1 if there is one.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# A `path` in one of the project's folders; placeholders (<room>, *, ...) are not paths.
PATH = re.compile(r"`((?:\./)?(?:src|include|jobs|tests|analysis|\.ci)/[\w./-]+)`")
# [KEY (8)], [KEY, Theorem 2], [KEY Alg. 1] in a comment; array indices have no such tail.
CITATION = re.compile(r"\[([A-Z][A-Za-z0-9+&-]+)(?:,? (?:\(|eq|Eq|Sec|sec|Alg|Table|Theorem|Lemma|Fig|p\.))")


def files(*suffixes):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.splitlines()]
    else:  # an unpacked archive
        paths = [p for p in ROOT.rglob("*") if not p.relative_to(ROOT).parts[0].startswith("build")]
    return sorted(p for p in paths if p.suffix in suffixes and p.is_file())


def lines(path):
    return enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)


def faults_of_links():
    for path in files(".md"):
        for number, line in lines(path):
            for target in LINK.findall(line):
                name = target.split("#")[0]
                if name and "://" not in name and not name.startswith("mailto:"):
                    if not (path.parent / name).exists():
                        yield path, number, f"link to {target}, which does not exist"
            for name in PATH.findall(line):
                if not (ROOT / name).exists():
                    yield path, number, f"`{name}` does not exist"


def known_references():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, references = readme.partition("## References")
    return set(re.findall(r"\[([A-Z][A-Za-z0-9+&-]*)\]", references))


def faults_of_citations():
    known = known_references()
    for path in files(".c", ".h", ".py"):
        for number, line in lines(path):
            for key in CITATION.findall(line):
                if key not in known and path != pathlib.Path(__file__).resolve():
                    yield path, number, f"[{key}] is not under References in README.md"


def main():
    if not (ROOT / "README.md").is_file():
        print("README.md is missing")
        return 1
    faults = [*faults_of_links(), *faults_of_citations()]
    for path, number, text in faults:
        print(f"{path.relative_to(ROOT)}:{number}: {text}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
