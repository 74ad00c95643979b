"""What the documentation shows is what it was made from."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_figures_are_drawn_from_their_source() -> None:
    """Each figure in the repository is what ``draw.py`` makes."""
    spec = importlib.util.spec_from_file_location("draw", DOCS / "figures" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    made = {f"{figure.name}.svg": figure.svg() for figure in (make() for make in draw.FIGURES)}
    kept = {path.name: path.read_text("utf-8") for path in (DOCS / "figures").glob("*.svg")}
    assert made == kept


def measured() -> dict[tuple[str, str, str], str]:
    """Return what the page on performance has, by workload, subject and column."""
    figures: dict[tuple[str, str, str], str] = {}
    text = (DOCS / "performance.md").read_text("utf-8")
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        workload = re.search(r"\(`([\w-]+)`\)", part.splitlines()[0])
        if workload:
            head, _, *rows = rows_of(part.replace("|                  |", "| subject |"))
            for row in rows:
                for column, value in zip(head, row, strict=True):
                    figures[workload[1], row[0], column] = value
    return figures


def test_costs_are_those_measured() -> None:
    """Each figure in the table of costs is that of the page on performance."""
    text = (DOCS / "models.md").read_text("utf-8")
    costs = text.partition("## What each costs")[2].partition("\n## ")[0]
    head, _, *rows = rows_of(costs)
    figures = measured()
    told = 0
    for row in rows:
        for column, value in zip(head[1:], row[1:], strict=True):
            workload, _, unit = column.partition(", ")
            if value:
                assert figures[workload, row[0], unit or "CPU µs"] == value
                told += 1
    assert told > len(rows)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_pages_are_in_the_navigation(page: Path) -> None:
    """Each page is in the navigation once."""
    assert (DOCS.parent / "mkdocs.yml").read_text("utf-8").count(f": {page.name}\n") == 1
