"""The page on limits has each of them, and its default."""

from __future__ import annotations

import re
from pathlib import Path

from framework.limits import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", PAGE, re.MULTILINE))


def test_every_limit_has_its_row() -> None:
    """No limit is missing, none is told of that is not there, and each default is the true one."""
    limits = {name: value for name, value in vars(Limits).items() if not name.startswith("_")}
    assert list(ROWS) == list(limits)
    for name, value in limits.items():
        told = ROWS[name].replace("\N{NO-BREAK SPACE}", " ").split(";")[0].strip()
        if value is None:
            assert told == "none"
        elif told.endswith(" KiB"):
            assert int(told.removesuffix(" KiB")) * 1024 == value
        else:
            assert float(told.removesuffix(" s").replace(" ", "")) == value
