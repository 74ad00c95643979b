"""No stranger gets the same answer too often: a server must not be the means to flood somebody else.

Response rate limiting as BIND and NSD do it: what a network may get in a second is counted for each kind of answer,
and every second answer beyond that is replaced by one that is small and says to come by a connection, which a forger
cannot.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from servers.resolver.protocol import Query
from servers.resolver.records import Answer
from servers.resolver.steps import Next, Outcome, then

__all__ = ["RateLimit"]

# Kinds of answers counted in one second; beyond, counting begins anew, which lets no client through for long.
_COUNTED = 65536
# Networks whose prefix is remembered.
_REMEMBERED = 16384
# What counts as one client: whoever can forge one address of it, can forge the others (as in BIND and NSD).
_PREFIX4, _PREFIX6 = 24, 56

TRUNCATED = Answer(truncated=True)


class RateLimit:
    """Limits what strangers get.

    Args:
        limit: of the same answers to one network, a second; 0: none.
        slip: every so many answers beyond the limit one is sent, truncated; 0: never.
        clock: tells the time in seconds.
    """

    def __init__(self, limit: int, slip: int = 2, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._slip = slip
        self._clock = clock
        self._second = 0
        self._counts: dict[tuple[bytes, bytes], int] = {}
        self._networks: dict[str, bytes] = {}

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer, unless it is too often."""
        outcome = rest(query)
        if not self._limit or query.known or query.stream or query.trusted:
            return outcome
        return then(outcome, lambda answer: answer and self._limited(query.client, answer))

    def _limited(self, client: str, answer: Answer) -> Answer | None:
        allowed = self.allows(client, answer.sort)
        return answer if allowed else None if allowed is None else TRUNCATED

    def allows(self, client: str, sort: bytes) -> bool | None:
        """Tell whether a client may have an answer of a sort; if not, truncated, and ``None``: not even so."""
        if not self._limit:
            return True
        second = int(self._clock())
        if second != self._second or len(self._counts) >= _COUNTED:
            self._second, self._counts = second, {}
        key = (self._network(client), sort)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count <= self._limit:
            return True
        return False if self._slip and not (count - self._limit) % self._slip else None

    def _network(self, client: str) -> bytes:
        found = self._networks.get(client)
        if found is None:
            if len(self._networks) >= _REMEMBERED:
                self._networks = {}
            address = ipaddress.ip_address(client.partition("%")[0])
            octets = (_PREFIX4 if address.version == 4 else _PREFIX6) // 8  # noqa: PLR2004
            found = self._networks[client] = address.packed[:octets]
        return found
