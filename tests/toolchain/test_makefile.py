import re
from pathlib import Path

import pytest

from tests.toolchain.checkout import ROOT, Checkout


@pytest.mark.parametrize("arguments", [(), ("help",)], ids=["make", "make help"])
def test_help(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Make on its own, like `make help`, has one line for each target and does nothing else."""
    ran = Checkout(tmp_path).make(*arguments)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert [line.split()[0] for line in ran.output.splitlines()] == phony[1].split()
    assert all(len(line.split()) > 1 for line in ran.output.splitlines())
    assert (ran.status, ran.errors) == (0, [])


@pytest.mark.parametrize("server", ["resolver", "keyvalue", "syslog"])
def test_server_not_written(tmp_path: Path, server: str) -> None:
    """A server that is not there is said to be so, before anything is made for it."""
    ran = Checkout(tmp_path).make(f"run-{server}")
    assert ran.status
    assert ran.complaint == f"servers/{server} is not written yet"


def test_new_server(tmp_path: Path) -> None:
    """NAME and FROM reach the program as they are, whatever is in them."""
    checkout = Checkout(tmp_path)
    checkout.python("python3.12", "3.12")
    checkout.make("new-server", "NAME=we'ather; exit", "FROM=key value")
    assert checkout.calls()[-1] == "3.12 -m shared.new_server we'ather; exit key value"
