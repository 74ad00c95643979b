"""``Queue``: records that wait for an output; when there are too many, what matters least goes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from servers.syslog.record import NO_DATA, NOBODY, Record

__all__ = ["Queue", "notice", "size_of"]

# What a record takes beside its message, in octets: measured with tracemalloc.
_OVERHEAD = 700

_SYSLOG, _WARNING = 5, 4


class Queue:
    """Holds records in the order in which they came; for one thread at a time."""

    def __init__(self) -> None:
        self.size = 0
        """Octets of the records, nearly."""
        self.dropped = 0
        """Records so far."""
        self.untold = 0
        """Of these, how many nobody has been told of."""
        self._records: list[Record] = []

    def __len__(self) -> int:
        return len(self._records)

    def add(self, records: Sequence[Record]) -> None:
        """Put records at the end."""
        self._records += records
        self.size += size_of(records)

    def take(self, name: str, now: datetime) -> list[Record]:
        """Return all records, and behind them one that tells of those that were dropped, for an output of that name."""
        records, self._records, self.size = self._records, [], 0
        if self.untold:
            records.append(notice(f"{self.untold} messages dropped: {name} did not keep up", now))
            self.untold = 0
        return records

    def drop(self, room: int) -> None:
        """Throw away what matters least, and of that the newest, until the rest takes no more than ``room``."""
        kept = sorted(range(len(self._records)), key=lambda n: self._records[n].severity)
        size = 0
        for count, n in enumerate(kept):
            size += size_of(self._records[n : n + 1])
            if size > room:
                self.dropped += len(kept) - count
                self.untold += len(kept) - count
                del kept[count:]
                break
        self._records = [self._records[n] for n in sorted(kept)]
        self.size = size_of(self._records)


def size_of(records: Sequence[Record]) -> int:
    """Return how many octets of memory records take, nearly."""
    return _OVERHEAD * len(records) + sum([len(record.message) for record in records])


def notice(text: str, now: datetime) -> Record:
    """Return a record of the sink's own, for those who read what it wrote."""
    return Record(_SYSLOG, _WARNING, now, now, None, "syslog", None, None, NO_DATA, text, NOBODY)
