"""read_junit.py STEP FILE.xml - a ctest report as tally lines for tests/run.sh.

A cmocka program holds several tests; each counts by itself, of a program on several ranks as rank 0
tells it. A program that prints no cmocka lines counts as one test.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

LINE = re.compile(r"^\[\s*(RUN|OK|FAILED|SKIPPED)\s*\] (?!\d+ test\(s\)|.* test\(s\))(\S+)\s*$")
RANK = re.compile(r"^\[\d+,(\d+)\]<std(?:out|err)>:")  # mpirun --tag-output
STATE = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}


def cmocka_results(output):
    """{test: (state, last line it printed)} of one program's output."""
    results, said = {}, ""
    for line in output.splitlines():
        rank = RANK.match(line)
        if rank and rank[1] != "0":
            continue
        line = line[rank.end() :] if rank else line
        match = LINE.match(line)
        if not match:
            said = line.strip() or said
        elif match[1] == "RUN":
            said = ""
            results[match[2]] = ("failed", "did not end")  # stays if the program dies in it
        elif results.get(match[2], ("", "did not end"))[1] == "did not end":
            results[match[2]] = (STATE[match[1]], "" if match[1] == "OK" else said)
    return results


def program_results(case):
    """The tally entries (state, name, reason) of one ctest test."""
    name = case.get("name")
    status, reason = case.get("status"), case.get("status")
    for tag in ("skipped", "failure"):
        if case.find(tag) is not None:
            reason = case.find(tag).get("message")
    if reason.startswith("SKIP_RETURN_CODE"):  # ctest also says "skipped" of what was not built
        status = "skipped"
    output = case.findtext("system-out") or ""
    results = cmocka_results(output)
    entries = [(state, f"{name}:{test}", reason) for test, (state, reason) in results.items()]
    failed = any(state == "failed" for state, _, _ in entries)
    if status == "skipped":
        entries = entries or [("skipped", name, (output.strip().splitlines() or [reason])[-1])]
    elif status != "run" and not failed:
        # It failed outside its tests: a crash, a leak found at exit, a time limit, not built.
        entries.append(("failed", name, reason))
    elif not entries:
        entries = [("passed", name, "")]
    return entries


def main():
    step, path = sys.argv[1:]
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        for state, name, reason in program_results(case):
            print(f"{state} {step}/{name} {reason}".rstrip())


if __name__ == "__main__":
    main()
