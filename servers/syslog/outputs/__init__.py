"""Where records go. Each output has a queue and a thread of its own, so that none that fails holds up another.

=============  =====================================================================================
``writer``     an output, the queue in front of it, what happens when that is full, and trying again
``queue``      records that wait for one
``file``       lines in a file, or on standard output
``rotation``   when a file has had enough, and what becomes of it then
``database``   SQLite
``forward``    a collector, over TCP or TLS
``spool``      what it has not got yet
``chosen``     those that the settings ask for
=============  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from servers.syslog.record import Record

__all__ = ["Output", "Place"]

Place: TypeAlias = tuple[int, int]
"""A place between two records, which the next process can find again; what the numbers are, the output knows."""


class Output(Protocol):
    """Where records go. One thread at a time calls it."""

    prompt: bool
    """Whether a write waits for nobody: into a pipe it may, for whoever reads."""

    def write(self, records: Sequence[Record]) -> None:
        """Write records, and all that earlier calls left to be written.

        It remembers what it could not write, so that nothing is written twice: the next call, with no records maybe,
        goes on from there.

        Raises:
            OSError: some of it could not be written so far.
        """
        ...

    def place(self) -> Place:
        """Return where the next record will be; only of one that is prompt."""
        ...

    def since(self, place: Place) -> int:
        """Return how many records were written from ``place`` on, by a process that has ended since."""
        ...

    def reopen(self) -> None:
        """Open anew what is open, since logrotate(8) may have renamed it.

        Raises:
            OSError: it cannot be opened, and goes on as it was.
        """
        ...

    def close(self) -> None:
        """Make sure that what was written is kept, and give back what is held."""
        ...
