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


def rank_0_lines(output):
    """What rank 0 printed; all of it where one process runs."""
    for line in output.splitlines():
        rank = RANK.match(line)
        if not rank:
            yield line
        elif rank[1] == "0":
            yield line[rank.end() :]


def cmocka_results(output):
    """{test: (state, why)} of one program's output; why is the first line that a failed test printed,
    the last of a skipped one."""
    results, said, open_test = {}, [], None
    for line in rank_0_lines(output):
        match = LINE.match(line)
        if not match:
            if line.strip():
                said.append(line.strip())
        elif match[1] == "RUN":
            said, open_test = [], match[2]
            results[open_test] = ("failed", "did not end")  # stays if the program dies in it
        elif match[2] == open_test:  # not the list of names at the end
            state, open_test = STATE[match[1]], None
            why = {"failed": said[:1], "skipped": said[-1:]}.get(state, [])
            results[match[2]] = (state, " ".join(why))
    if open_test and said:
        results[open_test] = ("failed", f"did not end: {said[0]}")
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
