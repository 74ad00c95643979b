"""Runs one of CPython's own test modules, and prints what came of each of its tests as JSON.

Started through launch.py, by any Python from 3.11 on.
"""

import importlib
import json
import socketserver
import sys
import unittest
from typing import Any

from test import support  # type: ignore[import-not-found] # typeshed leaves CPython's tests out


class Outcomes(unittest.TestResult):
    """Collects the outcome of each test by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}
        self.details: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: D102, N802
        # A subtest that failed has its say before the test as a whole.
        self.outcomes.setdefault(test.id(), "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: D102, N802
        self.outcomes[test.id()] = f"skipped: {reason}"

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: D102, N802
        super().addFailure(test, err)
        self.outcomes[test.id()] = "failed"
        self.details[test.id()] = self.failures[-1][1]

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: D102, N802
        super().addError(test, err)
        self.outcomes[test.id()] = "failed"
        self.details[test.id()] = self.errors[-1][1]

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: D102, N802
        if err is not None:
            self.addFailure(subtest, err)
            self.outcomes[test.id()] = "failed"

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: D102, N802
        self.outcomes[test.id()] = "failed as expected"

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: D102, N802
        self.outcomes[test.id()] = "failed"


def test_all(test: unittest.TestCase) -> None:
    """Every public class and function of the package that is visible in the module is in its `__all__`.

    This stands in for test_socketserver's own `test_all`, which means the same but asks for `__module__ ==
    'socketserver'`: nothing that took the module's place can have that.
    """
    package = socketserver.__name__
    visible = [
        name
        for name, value in vars(socketserver).items()
        if not name.startswith("_") and getattr(value, "__module__", "").partition(".")[0] == package
    ]
    assert sorted(socketserver.__all__) == sorted(visible), test.id()


def main() -> None:
    """Run the module that the command line names."""
    name = sys.argv[1]
    # What would cost minutes, or talk to the Internet, stays out; test_socketserver needs leave for loopback too.
    support.use_resources = ["network"] if name == "test_socketserver" else []
    module: Any = importlib.import_module(f"test.{name}")
    if name == "test_socketserver":
        module.MiscTestCase.test_all = test_all
    result = Outcomes()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    # Set when a module leaves threads or processes behind.
    result.outcomes["environment"] = "failed" if support.environment_altered else "passed"
    report = {
        "module": socketserver.__name__,
        "outcomes": result.outcomes,
        "details": result.details,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
