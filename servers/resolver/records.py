"""What a question is answered with: sets of records, and the answer made of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ANY", "CH", "IN", "Answer", "Error", "RRset", "Rcode", "Type", "negative_ttl"]

# Classes (RFC 1035, section 3.2.4).
IN, CH, ANY = 1, 3, 255


class Type(enum.IntEnum):
    """The types that something here asks for by name (the IANA registry has all)."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    DNAME = 39
    OPT = 41
    DS = 43
    RRSIG = 46
    NSEC = 47
    NSEC3 = 50
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


class Rcode(enum.IntEnum):
    """Response codes (RFC 6895, section 2.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    NOTAUTH = 9
    BADVERS = 16
    BADCOOKIE = 23


class Error(enum.IntEnum):
    """Extended errors (RFC 8914, section 4)."""

    STALE_ANSWER = 3
    CACHED_ERROR = 13
    NOT_READY = 14
    BLOCKED = 15
    PROHIBITED = 18
    STALE_NXDOMAIN = 19
    NOT_AUTHORITATIVE = 20
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23


@dataclass(frozen=True, slots=True)
class RRset:
    """All records of one name and type, in class IN unless it says otherwise."""

    name: bytes
    type: int
    ttl: int
    """Seconds (RFC 2181, section 8)."""
    rdatas: tuple[bytes, ...]
    """The data of each, with names in it uncompressed."""
    rclass: int = IN
    packed: bytes = field(init=False, compare=False, repr=False)
    """The records as a message has them whose question has their name, with nothing compressed but that."""

    def __post_init__(self) -> None:
        head = (
            b"\xc0\x0c"
            + self.type.to_bytes(2, "big")
            + self.rclass.to_bytes(2, "big")
            + self.ttl.to_bytes(4, "big")
        )
        packed = b"".join([head + len(each).to_bytes(2, "big") + each for each in self.rdatas])
        object.__setattr__(self, "packed", packed)

    def aged(self, ttl: int) -> RRset:
        """Return the set with another TTL."""
        return self if ttl == self.ttl else replace(self, ttl=ttl)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a question, whoever says it."""

    rcode: int = Rcode.NOERROR
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()
    glue: int = 0
    """How many of ``additional`` must be there: addresses without which a referral leads nowhere (RFC 9471)."""
    authoritative: bool = False
    error: tuple[int, str] | None = None
    """An extended error (RFC 8914), and what it is about."""
    kind: bytes = b""
    """What answers count as the same when their rate is limited: the zone that a name is missing from, say."""
    truncated: bool = False
    """Whether to ask again by a connection, whatever there would be room for."""
    lasting: bool = False
    """Whether the same question has the same answer until what is configured changes."""

    @property
    def sort(self) -> bytes:
        """What it counts as when rates are limited."""
        return self.kind or bytes([self.rcode & 0xFF])

    @property
    def is_referral(self) -> bool:
        """Whether it says who knows, rather than what."""
        return bool(self.authority) and self.authority[0].type == Type.NS

    def ttls(self) -> Iterable[int]:
        """Return the TTLs of all sets."""
        return (each.ttl for section in (self.answer, self.authority, self.additional) for each in section)

    def aged(self, seconds: int) -> Answer:
        """Return the answer as it is after so many seconds in a cache."""
        return replace(
            self,
            answer=tuple(each.aged(max(each.ttl - seconds, 0)) for each in self.answer),
            authority=tuple(each.aged(max(each.ttl - seconds, 0)) for each in self.authority),
            additional=tuple(each.aged(max(each.ttl - seconds, 0)) for each in self.additional),
        )


def negative_ttl(soa: RRset) -> int:
    """Return for how many seconds a name's absence may be believed (RFC 2308, section 5)."""
    return min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"))
