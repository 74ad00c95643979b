"""Answers as octets: a question that was answered a moment ago costs a look into a table, and no dnslib.

What is kept says for itself how long it is good for, and counts its TTLs down in the octets.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

from servers.resolver.generations import Generations
from servers.resolver.message import Packed
from servers.resolver.records import Answer

__all__ = ["Entry", "WireCache"]


WireCache: TypeAlias = Generations[bytes, "Entry"]
"""By the fingerprints of the packets that were answered."""

_TTL = struct.Struct("!HHIH")


class Entry:
    """An answer as it was packed.

    Args:
        packed: the answer's octets.
        answer: what they say.
        now: when they were packed, in seconds.
    """

    __slots__ = ("_aged", "_born", "_expires", "_offsets", "answer", "lasting", "packed")

    def __init__(self, packed: Packed, answer: Answer, now: float) -> None:
        self.packed = packed
        self.answer = answer
        self.lasting = answer.lasting
        """Whether ``packed`` is always good."""
        self._born = int(now)
        self._expires = self._born + min(answer.ttls(), default=0)
        self._offsets = () if answer.lasting else _ttl_offsets(packed)
        # At once, as several threads may look: the second, and the octets as they are in it.
        self._aged = (self._born, packed)

    def at(self, now: float) -> Packed | None:
        """Return the octets as they are at some time; ``None``: they are too old."""
        if now >= self._expires:
            return None
        second, aged = self._aged
        if int(now) != second:
            second, packed = int(now), self.packed
            tail = bytearray(packed.tail)
            for offset in self._offsets:
                ttl = int.from_bytes(tail[offset : offset + 4], "big") - (second - self._born)
                tail[offset : offset + 4] = max(ttl, 0).to_bytes(4, "big")
            aged = Packed(packed.head, bytes(tail), packed.truncated, packed.opt)
            self._aged = (second, aged)
        return aged


def _ttl_offsets(packed: Packed) -> tuple[int, ...]:
    """Return where the TTLs are; the OPT, which is the last record, has none."""
    data, at, found = packed.tail, 0, list[int]()
    _, _, *counts = struct.unpack("!HHHHH", packed.head)
    for _ in range(sum(counts) - bool(packed.opt)):
        while data[at] and data[at] < 0xC0:  # noqa: PLR2004 -- a pointer (RFC 1035, section 4.1.4)
            at += data[at] + 1
        at += 2 if data[at] else 1
        found.append(at + 4)
        at += _TTL.size + _TTL.unpack_from(data, at)[3]
    return tuple(found)
