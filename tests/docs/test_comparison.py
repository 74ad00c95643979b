"""The comparison's figures are those of the page on performance."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = {
    "ping-pong-50": "CPU µs",
    "ping-pong-2000": "CPU µs",
    "pipelined": "CPU µs",
    "connect-tcp": "CPU µs",
    "udp": "CPU µs",
    "idle": "KiB each",
}


def cells(row: str) -> list[str]:
    """Return what is in a row of a table."""
    return [cell.strip(" `") for cell in row.split("|")[1:-1]]


def measured(workload: str, column: str) -> dict[str, str]:
    """Return a column of a workload's table, by subject."""
    found = re.search(rf"\(`{workload}`\)\n\n(.*?)\n\n", (DOCS / "performance.md").read_text(), re.DOTALL)
    assert found is not None
    head, _, *rows = map(cells, found[1].splitlines())
    return {row[0]: row[head.index(column)] for row in rows}


def test_figures() -> None:
    """Each row has what was measured of its subject, and nothing where nothing was."""
    table = re.search(r"KiB, idle \|\n\| --- .*\n((?:\|.*\n)+)", (DOCS / "comparison.md").read_text())
    assert table is not None
    columns = [measured(*each) for each in COLUMNS.items()]
    for subject, *told in map(cells, table[1].splitlines()):
        assert told == [column.get(subject, "") for column in columns], subject
