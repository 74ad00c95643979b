"""Answers as octets: a question that was answered a moment ago costs a look into a table, and no dnslib.

``fingerprint()`` says in a microsecond whether a packet is one of the plain kind, and what makes its answer the same as
another's: not the ID, the letters' case, a cookie or padding. What is kept says for itself how long it is good for, and
counts its TTLs down in the octets.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

from servers.resolver.generations import Generations
from servers.resolver.protocol import COOKIE, HEADER, NSID, is_cookie
from servers.resolver.records import Answer
from servers.resolver.response import Packed

__all__ = ["Entry", "Fingerprint", "WireCache", "fingerprint"]

Fingerprint: TypeAlias = bytes | tuple[bytes, bool]
"""What makes the answer to a packet the same as that to another one; with options, apart, and whether there is a cookie."""

WireCache: TypeAlias = Generations[Fingerprint, "Entry"]
"""By the fingerprints of the packets that were answered."""

_TTL = struct.Struct("!HHIH")
_OPTION = struct.Struct("!HH")
_OPT_LENGTH = 11
_OPT_START = b"\0\0\x29"


def fingerprint(data: bytes) -> tuple[Fingerprint, int, bytes] | None:
    """Return what makes the answer to a packet the same as that to another one.

    Returns:
        The fingerprint, where the question ends, and the client's cookie; ``None``: it has to be read. The fingerprint
        of a packet in small letters and without options is all of it but its ID.
    """
    # The name may hold a NUL, and then this is not its end; but then nothing has a fingerprint like that.
    end = data.find(0, HEADER) + 5
    rest = len(data) - end
    if end < HEADER + 5:
        return None
    # The header is lowered with the name. That makes no two alike whose answers differ: of what is a letter there, only
    # AD changes, which no answer depends on. Type and class are not: as letters, types 65 and 97 would be one.
    plain = data[2 : end - 4].lower()
    if rest == 0 or rest == _OPT_LENGTH:  # noqa: PLR1714 -- the hot path
        return plain + data[end - 4 :], end, b""
    if rest < _OPT_LENGTH or data[end : end + 3] != _OPT_START:
        return None
    cookie = _find_cookie(data, end + _OPT_LENGTH)
    if cookie is None or int.from_bytes(data[end + 9 : end + 11], "big") != rest - _OPT_LENGTH:
        return None
    return (plain + data[end - 4 : end + 9], bool(cookie)), end, cookie


def _find_cookie(data: bytes, at: int) -> bytes | None:
    """Return the cookie among options, empty if there is none; ``None``: they have to be read."""
    cookie = b""
    while at + 4 <= len(data):
        code, length = _OPTION.unpack_from(data, at)
        at += 4 + length
        if code == COOKIE:
            if cookie or not is_cookie(length):
                return None
            cookie = data[at - length : at]
        elif code == NSID:
            return None
    return cookie if at == len(data) else None


class Entry:
    """An answer as it was packed.

    Args:
        packed: the answer's octets.
        question: name, type and class, of any letters.
        answer: what they say.
        now: when they were packed, in seconds.
    """

    # Flat, since there are thousands, and the garbage collector looks at each object that holds others.
    __slots__ = (
        "_aged",
        "_born",
        "_expires",
        "_head",
        "_lasting",
        "_offsets",
        "_opt",
        "_question",
        "_tail",
        "sort",
    )

    def __init__(self, packed: Packed, question: bytes, answer: Answer, now: float) -> None:
        self.sort = answer.sort
        self._head, self._tail, self._opt = packed.head, packed.tail, packed.opt
        self._question = question[:-4].lower() + question[-4:]
        self._lasting = answer.lasting
        self._born = int(now)
        self._expires = self._born + min(answer.ttls(), default=0)
        self._offsets = () if answer.lasting else _ttl_offsets(packed)
        # At once, as several threads may look: the second, and the octets as they are in it.
        self._aged = (self._born, packed.tail, packed.head + self._question + packed.tail)

    def at(self, now: float) -> Packed | None:
        """Return the answer as it is at some time; ``None``: it is too old."""
        return Packed(self._head, self._aged[1], self._opt) if self.whole(now) else None

    def whole(self, now: float) -> bytes | None:
        """Return all of the message but its ID, for whom asks in small letters."""
        if self._lasting:
            return self._aged[2]
        if now >= self._expires:
            return None
        second, _, whole = self._aged
        if int(now) != second:
            second, aged = int(now), bytearray(self._tail)
            for offset in self._offsets:
                ttl = int.from_bytes(aged[offset : offset + 4], "big") - (second - self._born)
                aged[offset : offset + 4] = max(ttl, 0).to_bytes(4, "big")
            tail = bytes(aged)
            whole = self._head + self._question + tail
            self._aged = (second, tail, whole)
        return whole

    def cut(self, number: bytes) -> bytes:
        """Return the message with nothing in it but what says to ask again by a connection."""
        return Packed(self._head, self._tail, self._opt).cut(number, self._question)


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
