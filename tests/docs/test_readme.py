"""What the README points at is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_links() -> None:
    """Each link leads to a file or a folder of the checkout."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_patterns() -> None:
    """The table of patterns has its file in each row, and two sentences."""
    _, _, table = README.partition("| pattern | file | how |")
    rows = re.findall(r"^\| [^|]+ \| \[`([^`]+)`\]\(([^)]+)\) \| ([^|]+) \|$", table, re.MULTILINE)
    assert len(rows) == table.count("\n| ") - 1
    for shown, link, how in rows:
        assert shown == link
        assert len(re.findall(r"[.](?: |$)", how)) == 2, how
