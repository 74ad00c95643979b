"""The reference says of every public name which version changed it."""

from __future__ import annotations

import re
from pathlib import Path

import framework

PAGE = (Path(__file__).parents[2] / "docs/reference.md").read_text()


def test_every_name_has_its_version() -> None:
    """No name is missing, and none is there twice or is not there."""
    rows = re.findall(r"^\| (`.*`) \| \d+\.\d+\.\d+: ", PAGE.partition("## Changed in")[2], re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted({*framework.__all__, *framework._SERVICES})
