"""Whole zones, for secondaries on the list (AXFR, RFC 5936; IXFR, RFC 1995, which may be answered so)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from servers.resolver.message import FormatError, parse
from servers.resolver.protocol import Query
from servers.resolver.records import IN, Answer, Error, Rcode, RRset, Type
from servers.resolver.steps.access import AccessList
from servers.resolver.steps.zones import Zones
from servers.resolver.zone import Zone

__all__ = ["Transfers"]

# Octets of records in one message: names further in could not be pointed at (RFC 5936, section 3.4).
_PIECE = 16000


class Transfers:
    """Hands out zones.

    Args:
        zones: what there is.
        allowed: who gets it.
    """

    def __init__(self, zones: Zones, allowed: AccessList) -> None:
        self._zones = zones
        self._allowed = allowed

    def answer(self, query: Query, data: bytes) -> Iterator[Answer]:
        """Return the pieces of an answer to a query for a transfer.

        Args:
            query: the query.
            data: all of its octets: IXFR has a serial number in the authority section.
        """
        zone = self._zones.find(query.key, query.type) if query.rclass == IN else None
        serial = _serial(data) if query.type == Type.IXFR else None
        if zone is None or zone.origin != query.key:
            pieces = [Answer(Rcode.NOTAUTH)]
        elif not self._allowed[query.client]:
            pieces = [Answer(Rcode.REFUSED, error=(Error.PROHIBITED, ""))]
        elif query.type == Type.IXFR and serial is None:
            pieces = [Answer(Rcode.FORMERR)]
        elif serial is not None and not _is_newer(zone.serial, serial):
            pieces = [Answer(answer=(zone.soa,), authoritative=True)]
        else:
            return (Answer(answer=piece, authoritative=True) for piece in _pieces(zone))
        return iter(pieces)


def _serial(data: bytes) -> int | None:
    """Return the serial number of the zone that a secondary has (RFC 1995, section 3), or ``None`` if it does not say."""
    try:
        soa = next(each for each in parse(data).authority if each.type == Type.SOA)
    except (FormatError, StopIteration):
        return None
    return int.from_bytes(soa.rdatas[0][-20:-16], "big")


def _is_newer(ours: int, theirs: int) -> bool:
    """Tell whether a serial number is newer than another (RFC 1982, section 3.2)."""
    return 0 < (ours - theirs) & 0xFFFFFFFF < 0x80000000  # noqa: PLR2004 -- half of all numbers


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
