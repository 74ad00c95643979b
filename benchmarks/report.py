"""Tables of medians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Table:
    """What was measured: a row for each subject, in the order in which they came.

    Args:
        name: of the workload.
        title: the same, for people.
        columns: what was measured; the first column is shown with its minimum as well.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Why a subject was not measured, or what to know of it."""

    def median(self, subject: str, column: str, reference: str | None = None) -> float:
        """Return the median over the rounds; of the ratio to another subject in the same round, if one is given.

        NaN when there is none.
        """
        values = [row.get(column, math.nan) for row in self.rows.get(subject, [])]
        if reference is not None:
            others = [row.get(column, math.nan) for row in self.rows.get(reference, [])]
            values = [value / other for value, other in zip(values, others, strict=False)]
        return median(values) if values else math.nan

    def show(self, *, markdown: bool) -> None:
        """Print it."""
        first = self.columns[0]
        heads = ("", first, "min", *self.columns[1:])
        lines = []
        for subject, rounds in self.rows.items():
            if not rounds:
                continue
            least = min(row[first] for row in rounds)
            numbers = [self.median(subject, first), least]
            numbers += [self.median(subject, column) for column in self.columns[1:]]
            lines.append((subject, *map(number, numbers)))
        print(f"\n### {self.title} (`{self.name}`)\n" if markdown else f"\n{self.name}: {self.title}")
        print(grid(heads, lines, markdown=markdown), flush=True)
        for subject, note in self.notes.items():
            print(f"\n{subject}: {note}" if markdown else f"  {subject}: {note}", flush=True)


def number(value: float) -> str:
    """Write a number with three digits that count."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def grid(heads: tuple[str, ...], lines: Sequence[tuple[str, ...]], *, markdown: bool) -> str:
    """Align a table, whose first column is text and the others are numbers."""
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    between, edge = (" | ", "| ") if markdown else ("  ", "")

    def line(cells: tuple[str, ...]) -> str:
        first, *others = cells
        texts = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
        ]
        return edge + between.join(texts) + edge[::-1]

    rule = [tuple("-" * (width - bool(place)) + ":" * bool(place) for place, width in enumerate(widths))]
    return "\n".join(map(line, [heads, *(rule if markdown else []), *lines]))
