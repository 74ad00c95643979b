"""Who counts as one peer, and how many datagrams each has sent of late."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

__all__ = ["Rates", "group_of"]

# Peers remembered at a time, at about 200 octets each: more than a loud handful, less than forged addresses want.
_PEERS = 4096


def group_of(family: int, address: Any) -> bytes | None:
    """Return what counts as one peer: an IPv4 address, a /64 of IPv6 (RFC 6177), nothing for Unix sockets."""
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address):
        return host.ipv4_mapped.packed if host.ipv4_mapped else host.packed[:8]
    return host.packed


class Rates:
    """A token bucket per peer that holds a second's worth.

    Kept as one number each, the moment at which the bucket is full again: the generic cell rate algorithm
    (ITU-T I.371). Of peers that are forgotten to make room, the bucket is full.

    Args:
        rate: tokens a second.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        # One token can always be had at once, however slowly they come.
        self._depth = max(1.0, self._interval) + self._interval * 1e-6
        self._full_at: dict[object, float] = {}

    def take(self, peer: object, now: float) -> bool:
        """Take a token from a peer's bucket; tell whether there was one.

        Args:
            peer: hashable.
            now: on the monotonic clock.
        """
        full_at = max(self._full_at.get(peer, now), now) + self._interval
        if full_at - now > self._depth:
            return False
        # Put last: so the first is the one that sent nothing for the longest.
        self._full_at.pop(peer, None)
        self._full_at[peer] = full_at
        if len(self._full_at) > _PEERS:
            del self._full_at[next(iter(self._full_at))]
        return True
