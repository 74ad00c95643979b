"""What a packet asks: read by hand, octet by octet, since it is done for every packet and any may be hostile.

``read()`` makes a ``Query`` of it, or says that it must not be answered. Those are packets that are too short, and
responses: an answer to those would be sent to whomever a forger names, or go to and fro between
two servers for ever.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from servers.resolver.names import NAME_LIMIT
from servers.resolver.records import ANY, CH, IN, Rcode, Type

__all__ = ["COOKIE", "HEADER", "NSID", "Edns", "Query", "is_cookie", "read"]

NSID, COOKIE = 3, 10
"""Options (RFC 5001, RFC 7873) that are answered; the others are ignored (RFC 6891, section 6.1.2)."""

HEADER = 12
"""Octets before the question."""
_SHORTEST = 512
"""Octets of a UDP message that everybody can take (RFC 1035, section 2.3.4; RFC 6891, section 6.2.3)."""
_QR, _OPCODE, _RD, _CD = 0x8000, 0x7800, 0x0100, 0x0010
_DO = 0x8000
_LABEL = 63
_COUNTS = struct.Struct("!HHHHH")
_RECORD = struct.Struct("!HHIH")
_QUESTION_TAIL = struct.Struct("!HH")

# Questions about the message, not about names: there is no answer to them (RFC 6895, section 3.1; RFC 8945).
_META = {int(Type.OPT), int(Type.TSIG), 249}
_OBSOLETE = {int(Type.MAILA), int(Type.MAILB)}


@dataclass(frozen=True, slots=True)
class Edns:
    """What a client says by EDNS (RFC 6891)."""

    payload: int
    do: bool = False
    nsid: bool = False
    cookie: bytes = b""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and how it was asked."""

    id: bytes
    question: bytes = b""
    """Name, type and class, as they were sent; empty where they cannot be read."""
    type: int = 0
    rclass: int = IN
    recursion_desired: bool = False
    checking_disabled: bool = False
    edns: Edns | None = None
    stream: bool = False
    """Whether it came by a connection, on which there is room, and an address that is not forged."""
    client: str = ""
    """The address it came from."""
    known: bool = False
    """Whether the client is on the list of those who may ask about everything."""
    trusted: bool = False
    """Whether the client has proved that it is where it says."""
    option: bytes = b""
    """The cookie for the answer."""
    opcode: int = 0
    problem: int | None = None
    """The code that is all it gets, if it cannot be answered otherwise."""

    @property
    def name(self) -> bytes:
        """The name, in the letters it was sent in."""
        return self.question[:-4]

    @property
    def key(self) -> bytes:
        """The name in its canonical form."""
        return self.question[:-4].lower()

    @property
    def flags(self) -> int:
        """The flags of every answer: QR, and opcode and RD as they were asked (RFC 1035, section 4.1.1)."""
        return _QR | self.opcode << 11 | (_RD if self.recursion_desired else 0)

    @property
    def limit(self) -> int:
        """Octets that an answer may have."""
        if self.stream:
            return 65535
        return _SHORTEST if self.edns is None else self.edns.payload


def read(
    data: bytes, *, payload: int, client: str = "", stream: bool = False, known: bool = False
) -> Query | None:
    """Read a packet.

    Args:
        data: the packet.
        payload: octets of an answer by UDP at most, whatever the client would take.
        client: the address it came from.
        stream: whether it came by a connection.
        known: whether the client may ask about everything.

    Returns:
        ``None`` for what must not be answered.
    """
    if len(data) < HEADER:
        return None
    flags, questions, answers, authorities, additionals = _COUNTS.unpack_from(data, 2)
    if flags & _QR:
        return None
    # RFC 6891, section 7: who speaks EDNS is answered by EDNS, whatever else is wrong.
    end = _questions_end(data, questions)
    edns, proper = _read_records(data, end, answers + authorities, additionals, payload)
    opcode = (flags & _OPCODE) >> 11
    legible = not opcode and questions == 1 and end is not None
    kind, rclass = _QUESTION_TAIL.unpack_from(data, end - 4) if legible and end is not None else (0, IN)
    query = Query(
        data[:2],
        data[HEADER:end] if legible else b"",
        kind,
        rclass,
        recursion_desired=bool(flags & _RD),
        checking_disabled=bool(flags & _CD),
        edns=edns,
        stream=stream,
        client=client,
        known=known,
        opcode=opcode,
    )
    problem = _problem(query, questions, answers, authorities, proper=proper)
    return query if problem is None else replace(query, problem=problem)


def _problem(query: Query, questions: int, answers: int, authorities: int, *, proper: bool) -> Rcode | None:
    """Return what is wrong with a query, if anything is."""
    if query.opcode:
        return Rcode.NOTIMP
    if query.edns is not None and query.edns.version:
        return Rcode.BADVERS  # first, since what else it says is of that version (RFC 6891, section 6.1.3)
    if (
        not questions
        and proper
        and not answers + authorities
        and query.edns is not None
        and query.edns.cookie
    ):
        return Rcode.NOERROR  # it wants a cookie, and nothing else (RFC 7873, section 5.4)
    # The authority section has the SOA that a secondary has, and nothing else ever (RFC 1995, section 3).
    allowed = 1 if query.type == Type.IXFR else 0
    # RFC 9619, section 4: one question.
    if not proper or not query.question or answers or authorities > allowed or query.type in _META:
        return Rcode.FORMERR
    if query.type in _OBSOLETE:
        return Rcode.NOTIMP
    return None if query.rclass in {IN, CH, ANY} else Rcode.REFUSED


def is_cookie(length: int) -> bool:
    """Tell whether a cookie may have so many octets."""
    # RFC 7873, section 5.2.2: 8 octets of the client's, and then none or 8 to 32 of the server's.
    return length == 8 or 16 <= length <= 40  # noqa: PLR2004


def _name_end(data: bytes, at: int) -> int | None:
    """Return where an uncompressed name ends, or ``None`` if it is none."""
    start, size = at, len(data)
    while at < size:
        length = data[at]
        at += length + 1
        if length > _LABEL or at - start > NAME_LIMIT:
            return None
        if not length:
            return at
    return None


def _questions_end(data: bytes, questions: int) -> int | None:
    """Return where the questions end, or ``None`` if they are none; there is one, but in what is refused."""
    at = HEADER
    for _ in range(questions):
        end = _name_end(data, at)
        if end is None or end + 4 > len(data):
            return None
        at = end + 4
    return at


def _read_records(
    data: bytes, begin: int | None, others: int, additionals: int, payload: int
) -> tuple[Edns | None, bool]:
    """Read what follows the questions, ``others`` records before the additional ones.

    Returns:
        What EDNS says, and whether all of it is as it must be.
    """
    edns: Edns | None = None
    for index in range(others + additionals):
        end = None if begin is None else _skip_name(data, begin)
        if begin is None or end is None or end + _RECORD.size > len(data):
            return edns, False
        kind, rclass, ttl, length = _RECORD.unpack_from(data, end)
        start = end + _RECORD.size
        stop: int = start + length
        if stop > len(data):
            return edns, False
        if kind == Type.OPT:
            # RFC 6891, section 6.1.1: one, of the root, in the additional section.
            if edns is not None or data[begin] or index < others:
                return edns or Edns(payload), False
            edns = Edns(min(max(rclass, _SHORTEST), payload), bool(ttl & _DO), version=ttl >> 16 & 0xFF)
            if length and not edns.version:
                read = _read_options(edns, data[start:stop])
                if read is None:
                    return edns, False
                edns = read
        begin = stop
    return edns, begin == len(data)


def _read_options(edns: Edns, options: bytes) -> Edns | None:
    nsid, cookie, at = False, b"", 0
    while at < len(options):
        if at + 4 > len(options):
            return None
        code, length = _QUESTION_TAIL.unpack_from(options, at)
        at += 4 + length
        if at > len(options):
            return None
        if code == NSID:
            nsid = True
        elif code == COOKIE and not cookie:
            cookie = options[at - length : at]
            if not is_cookie(length):
                return None
    return replace(edns, nsid=nsid, cookie=cookie)


def _skip_name(data: bytes, at: int) -> int | None:
    """Return where a name that may be compressed ends, without following it."""
    size = len(data)
    while at < size:
        length = data[at]
        if length >= 0xC0:  # noqa: PLR2004 -- a pointer (RFC 1035, section 4.1.4)
            return at + 2 if at + 2 <= size else None
        if length > _LABEL:
            return None
        at += length + 1
        if not length:
            return at
    return None
