"""Tables of medians, and of their ratios to the first row."""

from dataclasses import dataclass, field
from statistics import median


@dataclass
class Table:
    """What the peers measured: a row for each, in the order of the first measurement.

    Args:
        title: what was measured.
        columns: its quantities; the first one is compared.
    """

    title: str
    columns: tuple[str, ...]
    rows: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    def add(self, peer: str, *values: float) -> None:
        """Take in one round's measurement of a peer."""
        self.rows.setdefault(peer, []).append(values)

    def show(self) -> None:
        """Print the median of each column, the ratio of the first to that of the first peer, and its spread."""
        medians = {
            peer: [median(column) for column in zip(*rounds, strict=True)]
            for peer, rounds in self.rows.items()
        }
        reference = next(iter(medians.values()))[0]
        print(f"\n{self.title}")
        print(
            f"{'':20}"
            + "".join(f"{column:>18}" for column in self.columns)
            + f"{'ratio':>10}{'min..max':>20}"
        )
        for peer, values in medians.items():
            first = [row[0] for row in self.rows[peer]]
            spread = f"{min(first):.1f}..{max(first):.1f}"
            numbers = "".join(f"{value:18,.1f}" for value in values)
            print(f"{peer:20}{numbers}{values[0] / reference:10.2f}{spread:>20}", flush=True)
