"""Run one module of python-irodsclient's tests and report every outcome as a JSON line.

Called by ``run.py``: ``child.py MODULE`` prints the module's test ids; ``child.py MODULE REPORT
FINISHED`` runs them, but for the ids listed in the file FINISHED.
"""

from __future__ import annotations

import json
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


def flatten(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    """The single tests of a suite."""
    if isinstance(suite, unittest.TestCase):
        yield suite
        return
    for item in suite:
        yield from flatten(item)  # type: ignore[arg-type]


class Reporter(unittest.TestResult):
    """Writes each outcome at once, so that a killed run loses none."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self.out = out

    def _say(self, test: Any, outcome: str, note: str = "") -> None:
        self.out.write(json.dumps({"id": test.id(), "outcome": outcome, "note": note}) + "\n")
        self.out.flush()

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._say(test, "started")

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._say(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._say(test, "failed", self.failures[-1][1])

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._say(test, "failed", self.errors[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._say(test, "failed", (self.failures or self.errors)[-1][1])

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._say(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._say(test, "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._say(test, "failed", "unexpected success")


def main() -> None:
    """List the module's tests, or run those that are not finished."""
    tests = list(flatten(unittest.TestLoader().loadTestsFromName(sys.argv[1])))
    if len(sys.argv) == 2:
        print("\n".join(t.id() for t in tests))
        return
    report, finished = sys.argv[2], set(Path(sys.argv[3]).read_text().split())
    with open(report, "a") as out:
        unittest.TestSuite(t for t in tests if t.id() not in finished).run(Reporter(out))


if __name__ == "__main__":
    main()
