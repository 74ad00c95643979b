"""``PeerLimits``: how much one peer may say, whatever the others do.

A limit for all would let one that floods silence everybody; here each process, or each host, has its own token bucket.
What matters most always passes. Who lost something is told of in a record of its own, once the flood is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from servers.syslog.record import Record

__all__ = ["PeerLimits"]

_CRIT = 2
# A flood is over when nothing was dropped for a second. One that goes on and on is told of twice a minute.
_QUIET, _INTERVAL = 1.0, 30.0
# How many peers are remembered before those are forgotten that have not said much lately; and how many at all, since
# over UDP anybody can be as many hosts as they like.
_MANY, _MOST = 4096, 65536

_Key = int | str


@dataclass(slots=True)
class _Flood:
    first: float
    last: float
    count: int = 0


class PeerLimits:
    """Limits each peer to ``rate`` messages a second, and ``burst`` at once; for any number of threads.

    Args:
        rate: above 0.
        burst: at least 1.
        per: what is one peer on a Unix socket: a process, or a user. Elsewhere, a host is.
        clock: tells seconds from any moment on.
    """

    def __init__(
        self, rate: float, burst: int, per: Literal["pid", "uid"], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.dropped = 0
        """Messages so far."""
        self._cost = 1 / rate
        self._room = (
            burst - 1 + 1e-6
        ) / rate  # and a millionth of a message, which is more than sums of floats lose
        self._per = per
        self._clock = clock
        self._guard = threading.Lock()
        # The generic cell rate algorithm of ITU-T I.371: a bucket is the moment at which it will be full again.
        self._full: dict[_Key, float] = {}
        self._many = _MANY
        self._floods: dict[_Key, _Flood] = {}

    def admit(self, records: Iterable[Record]) -> list[Record]:
        """Return those of ``records`` that may pass."""
        now = self._clock()
        with self._guard:
            return [record for record in records if record.severity <= _CRIT or self._admit(record, now)]

    def _admit(self, record: Record, now: float) -> bool:
        peer = record.peer
        key = peer.address or (peer.pid if self._per == "pid" else peer.uid) or 0
        full = max(self._full.get(key, now), now)
        if full - now > self._room:
            self.dropped += 1
            if key in self._floods or len(self._floods) < _MOST:
                flood = self._floods.setdefault(key, _Flood(now, now))
                flood.last = now
                flood.count += 1
            return False
        self._full[key] = full + self._cost
        if len(self._full) > self._many:
            # A full bucket is as good as a new one.
            self._full = {key: full for key, full in self._full.items() if full > now}
            if len(self._full) > _MOST // 2:
                self._full.clear()
            self._many = max(_MANY, 2 * len(self._full))
        return True

    def over(self, *, ending: bool = False) -> list[str]:
        """Return what is to be told of floods that are over: each is told of once.

        Args:
            ending: whether there will be no later chance.
        """
        if not self._floods:
            return []
        now = self._clock()
        with self._guard:
            over = [
                key
                for key, flood in self._floods.items()
                if ending or now - flood.last >= _QUIET or now - flood.first >= _INTERVAL
            ]
            return [f"{self._floods.pop(key).count} messages dropped from {self._name(key)}" for key in over]

    def _name(self, key: _Key) -> str:
        return f"host {key}" if isinstance(key, str) else f"{self._per} {key}"
