"""python_tests.py STEP FOLDER TALLY [FILTER] - runs FOLDER/test_*.py (unittest) for tests/run.sh.

Appends a line "passed|failed|skipped STEP/TEST REASON" a test to the file TALLY. A test that is
skipped or expected to fail never counts as passed. Exit code 1 if any test failed.
"""

import re
import sys
import time
import unittest


def one_line(err):
    return " ".join(f"{err[0].__name__}: {err[1]}".split())


class TallyResult(unittest.TextTestResult):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.entries = {}  # test id: (state, reason); a failed subtest makes its test failed

    def note(self, test, state, reason=""):
        if self.entries.get(test.id(), ("",))[0] != "failed":
            self.entries[test.id()] = (state, reason)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failed", one_line(err))

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "failed", one_line(err))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "failed", f"{subtest}: {one_line(err)}")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note(test, "skipped", "known to fail")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "failed", "passes although it is marked as expected to fail")


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def main():
    step, folder, tally_path = sys.argv[1:4]
    pattern = sys.argv[4] if len(sys.argv) > 4 else ""
    found = flatten(unittest.defaultTestLoader.discover(folder))
    tests = [test for test in found if re.search(pattern, test.id())]
    began = time.monotonic()
    runner = unittest.TextTestRunner(verbosity=2, resultclass=TallyResult)
    result = runner.run(unittest.TestSuite(tests))
    with open(tally_path, "a", encoding="utf-8") as tally:
        for test, (state, reason) in result.entries.items():
            print(f"{state} {step}/{test} {reason}".rstrip(), file=tally)
    print(f"{len(result.entries)} tests in {time.monotonic() - began:.1f} s")
    return 1 if any(state == "failed" for state, _ in result.entries.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
