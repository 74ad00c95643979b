"""``Route``: which records go to which outputs.

A record goes down the table and to the outputs of every route that it fits, until one of these is final. With no table
it goes to every output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from servers.syslog.record import SEVERITIES, Record

__all__ = ["Route", "distribute"]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table; a record fits if it fits all that is there."""

    to: tuple[str, ...]
    """Names of outputs; none: nowhere."""
    facilities: frozenset[int] = frozenset()
    """Any of these; here and below, empty is whatever there is."""
    severity: int = len(SEVERITIES) - 1
    """This one and worse."""
    programs: frozenset[str] = frozenset()
    uids: frozenset[int] = frozenset()
    """Of the sender, by the word of the kernel."""
    pattern: re.Pattern[str] | None = None
    """Found anywhere in the message."""
    final: bool = False
    """Whether what fits goes no further down."""

    def fits(self, record: Record) -> bool:
        """Tell whether a record does."""
        return (
            record.severity <= self.severity
            and (not self.facilities or record.facility in self.facilities)
            and (not self.programs or record.program in self.programs)
            and (not self.uids or record.peer.uid in self.uids)
            and (self.pattern is None or self.pattern.search(record.message) is not None)
        )


def distribute(records: Iterable[Record], routes: Sequence[Route]) -> dict[str, list[Record]]:
    """Return what goes to each output, in the order in which it came, and once."""
    found: dict[str, list[Record]] = {}
    for record in records:
        names: dict[str, None] = {}
        for route in routes:
            if route.fits(record):
                names.update(dict.fromkeys(route.to))
                if route.final:
                    break
        for name in names:
            found.setdefault(name, []).append(record)
    return found
