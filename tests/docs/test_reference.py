"""The reference says of every public name which version changed it."""

from __future__ import annotations

import re
from pathlib import Path

import framework
from framework import events, greenlets, pytest_plugin, testing

PAGE = (Path(__file__).parents[2] / "docs/reference.md").read_text()


def test_every_name() -> None:
    """Each is described, and has its version: none is missing, and none is there twice or is not there."""
    rows = re.findall(r"^\| (`.*`) \| \d+\.\d+\.\d+: ", PAGE.partition("## Changed in")[2], re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    public = {*framework.__all__, *framework._SERVICES}
    further = {
        f"{module.__name__}.{name}"
        for module in (events, greenlets, testing, pytest_plugin)
        for name in module.__all__
        if name not in public
    }
    described = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)
    assert sorted(described) == sorted(further | {f"framework.{name}" for name in public})
    assert sorted(told) == sorted(public)
