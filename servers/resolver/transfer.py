"""Whole zones, for secondaries on the list (AXFR, RFC 5936; IXFR, RFC 1995, which may be answered so)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from servers.resolver.message import pack
from servers.resolver.protocol import Query
from servers.resolver.records import IN, Answer, Rcode, RRset, Type
from servers.resolver.steps.access import AccessList
from servers.resolver.steps.zones import Zones
from servers.resolver.zone import Zone

__all__ = ["Transfers"]

# Octets of records in one message: names further in could not be pointed at (RFC 5936, section 3.4).
_PIECE = 16000
_AA = 0x0400


class Transfers:
    """Hands out zones.

    Args:
        zones: what there is.
        allowed: who gets it.
    """

    def __init__(self, zones: Zones, allowed: AccessList) -> None:
        self._zones = zones
        self._allowed = allowed

    def answer(self, query: Query, data: bytes) -> Iterator[bytes]:
        """Return the messages of an answer to a query for a transfer.

        Args:
            query: the query.
            data: all of its octets: IXFR has a serial number in the authority section.
        """
        zone = self._zones.find(query.key, query.type) if query.rclass == IN else None
        if zone is None or zone.origin != query.key:
            yield _single(query, Answer(Rcode.NOTAUTH))
        elif not self._allowed[query.client]:
            yield _single(query, Answer(Rcode.REFUSED))
        elif query.type == Type.IXFR and not _is_newer(zone.serial, data):
            yield _single(query, Answer(answer=(zone.soa,), authoritative=True))
        else:
            for piece in _pieces(zone):
                yield _single(query, Answer(answer=piece, authoritative=True))


def _single(query: Query, answer: Answer) -> bytes:
    packed = pack(answer, query.question, query.flags | (_AA if answer.authoritative else 0))
    return packed.reply(query.id, query.question)


def _is_newer(serial: int, data: bytes) -> bool:
    """Tell whether a serial number is newer than that of the SOA at the end of the query (RFC 1982, section 3.2)."""
    theirs = int.from_bytes(data[-20:-16], "big")
    return 0 < (serial - theirs) & 0xFFFFFFFF < 0x80000000  # noqa: PLR2004 -- half of all numbers


def _pieces(zone: Zone) -> Iterator[tuple[RRset, ...]]:
    """Return the zone in pieces that each fit into a message: its SOA, everything else, its SOA again."""
    piece, size = list[RRset](), 0
    for rrset in _split([*zone.rrsets(), zone.soa]):
        length = len(rrset.packed) + len(rrset.name) * len(rrset.rdatas)
        if piece and size + length > _PIECE:
            yield tuple(piece)
            piece, size = [], 0
        piece.append(rrset)
        size += length
    yield tuple(piece)


def _split(rrsets: Iterable[RRset]) -> Iterator[RRset]:
    """Return sets too large for a message in parts."""
    for rrset in rrsets:
        if len(rrset.packed) <= _PIECE:
            yield rrset
        else:
            for rdata in rrset.rdatas:
                yield RRset(rrset.name, rrset.type, rrset.ttl, (rdata,))
