"""Messages on the wire, by dnslib: the one module that touches it, and where its traps are closed.

dnslib has the layout of headers and questions, and the buffer. What it is careless about is done here. Reading:

- a name's pointers lead strictly backwards, are few, and are followed in a loop; a label has 63 octets, a name 255;
- a record's data ends where its length says, and may be empty; names in it come out uncompressed (RFC 3597,
  section 4); there is one OPT at most, read to its last octet (RFC 6891); nothing follows the last record;
- whatever is wrong is a ``FormatError``, and nothing else is ever raised.

Writing: no pointer leads further than one can, and names in data are compressed only in types of RFC 1035. ``response``
writes what servers say by it.
"""

# dnslib has no types: pyright would see it through its sources, and half of what it sees is unknown.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingParameterType=false

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dnslib import DNSError, DNSHeader, DNSLabel, DNSQuestion
from dnslib.buffer import BufferError as PastTheEndError
from dnslib.label import DNSBuffer, DNSLabelError

from servers.resolver.layout import COMPRESSED, NAMES, NAPTR, RESTS
from servers.resolver.names import NAME_LIMIT, ROOT, BadNameError, join, labels
from servers.resolver.records import IN, RRset, Type

__all__ = ["PAYLOAD", "FormatError", "Message", "Opt", "Writer", "pack_opt", "parse", "query", "uncompressed"]

PAYLOAD = 1232
"""Octets of a UDP message that no network on the way breaks in two (RFC 9715, section 3)."""

_MOST = 65535
# A name has 127 labels at most, and whoever compresses has a pointer behind a label. Each name of a message may have a
# chain, and all of them together would cost seconds (as in CVE-2024-8508).
_MOST_POINTERS = 127
_FURTHEST = 0x3FFF  # where a pointer can lead (RFC 1035, section 4.1.4)
_POINTER, _LABEL = 0xC0, 0x3F
_TC, _DO = 0x0200, 0x8000
_QUESTION = 12  # where it begins
_RECORD = struct.Struct("!HHIH")
_OPT = struct.Struct("!BHHBBHH")
_ASIDE = struct.Struct("!HH")


class FormatError(ValueError):
    """Octets that are no message."""


@dataclass(frozen=True, slots=True)
class Opt:
    """What a message says by EDNS (RFC 6891)."""

    payload: int = PAYLOAD
    version: int = 0
    do: bool = False
    rcode: int = 0
    """The upper eight bits of the response code."""
    options: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read."""

    id: int
    flags: int
    questions: tuple[tuple[bytes, int, int], ...]
    """Name, type and class of each."""
    answer: tuple[RRset, ...]
    authority: tuple[RRset, ...]
    additional: tuple[RRset, ...]
    """Without OPT."""
    opt: Opt | None = None

    @property
    def rcode(self) -> int:
        """The response code, with what EDNS adds to it."""
        return self.flags & 0xF | (self.opt.rcode << 4 if self.opt else 0)

    @property
    def truncated(self) -> bool:
        """Whether there is more than was sent."""
        return bool(self.flags & _TC)


class _Reader(DNSBuffer):  # type: ignore[misc] # dnslib has no types
    """dnslib's buffer, with names read as RFC 1035 has them."""

    data: bytearray
    offset: int

    def decode_name(self, last: int = -1) -> Any:
        """Read a name, in dnslib's form."""
        return DNSLabel(labels(self.name()))

    def name(self) -> bytes:
        """Read a name.

        Raises:
            FormatError: it is none.
        """
        data, parts, size = self.data, list[bytes](), 1
        at = start = self.offset
        after, hops = -1, 0
        while length := data[at]:
            if length <= _LABEL:
                size += length + 1
                if size > NAME_LIMIT:
                    raise FormatError("a name of more than 255 octets")
                parts.append(bytes(data[at : at + length + 1]))
                at += length + 1
            elif length >= _POINTER:
                if after < 0:
                    after = at + 2
                target = (length & _LABEL) << 8 | data[at + 1]
                hops += 1
                if target >= start or hops > _MOST_POINTERS:
                    raise FormatError("a pointer that does not lead backwards, or one of too many")
                at = start = target
            else:
                raise FormatError("a label of a type that there is not (RFC 6891, section 5)")
        self.offset = at + 1 if after < 0 else after
        return b"".join(parts) + ROOT

    def record(self) -> tuple[bytes, int, int, int, bytes]:
        """Read a record: its name, type, class, TTL and data."""
        name = self.name()
        kind, rclass, ttl, length = _RECORD.unpack(self.get(_RECORD.size))
        end = self.offset + length
        if end > len(self.data):
            raise FormatError("a record that is longer than its message")
        data = self.rdata(kind, end)
        # The uppermost bit is not part of it (RFC 2181, section 8).
        return name, kind, rclass, 0 if ttl > 0x7FFFFFFF and kind != Type.OPT else ttl, data  # noqa: PLR2004

    def rdata(self, kind: int, end: int) -> bytes:
        """Read the data of a record, which ends at ``end``."""
        if kind == NAPTR and self.offset != end:
            start = self.offset
            self.get(4)
            for _ in range(3):
                self.get(self.get(1)[0])
            before, count = self.offset - start, 1
            self.offset = start
        else:
            before, count = NAMES.get(kind, (0, 0))
        if self.offset == end:
            return b""  # an RRset of an UPDATE (RFC 2136, section 2.4), or of an unknown type
        data = bytes(self.get(before)) + b"".join([self.name() for _ in range(count)])
        rest = end - self.offset
        # get() with less than nothing would step back.
        if rest < 0 or rest != RESTS.get(kind, rest):
            raise FormatError("data that is shorter or longer than it says")
        return data + bytes(self.get(rest))


class Writer(DNSBuffer):  # type: ignore[misc] # dnslib has no types
    """dnslib's buffer, with names compressed as far as pointers lead, and told apart by the octets in them."""

    data: bytearray
    names: dict[bytes, int]

    def encode_name(self, name: Any) -> None:
        """Write a name that is in dnslib's form."""
        self.name(join(name.label))

    def name(self, name: bytes) -> None:
        """Write a name, the end of it as a pointer to where it is already."""
        names, data = self.names, self.data
        while name != ROOT:
            at = names.get(name)
            if at is not None:
                data += (at | 0xC000).to_bytes(2, "big")
                return
            if len(data) <= _FURTHEST:
                names[name] = len(data)
            end = name[0] + 1
            data += name[:end]
            name = name[end:]
        data += ROOT

    def rrset(self, rrset: RRset, question: bytes) -> None:
        """Write all records of a set."""
        layout = COMPRESSED.get(rrset.type)
        asked = rrset.name.lower() == question
        if asked and layout is None:
            self.data += rrset.packed
            return
        data = self.data
        for rdata in rrset.rdatas:
            if asked:
                data += b"\xc0\x0c"
            else:
                self.name(rrset.name)
            data += _RECORD.pack(rrset.type, rrset.rclass, rrset.ttl, 0)
            start = len(data)
            if layout is None or not rdata:
                data += rdata
            else:
                before, count = layout
                data += rdata[:before]
                rest = rdata[before:]
                for _ in range(count):
                    end = _name_end(rest)
                    self.name(rest[:end])
                    rest = rest[end:]
                data += rest
            data[start - 2 : start] = (len(data) - start).to_bytes(2, "big")

    def undo(self, size: int) -> None:
        """Take back what was written from ``size`` on."""
        del self.data[size:]
        self.names = {name: at for name, at in self.names.items() if at < size}


def parse(data: bytes) -> Message:
    """Read a message.

    Raises:
        FormatError: it is none.
    """
    try:
        return _parse(data)
    except FormatError:
        raise
    except (
        DNSError,
        DNSLabelError,
        PastTheEndError,
        BadNameError,
        IndexError,
        ValueError,
        struct.error,
    ) as error:
        raise FormatError(str(error) or "it ends too early") from error


def uncompressed(kind: int, data: bytes) -> bool:
    """Tell whether octets are the data of a type, with all names in it uncompressed."""
    try:
        return bytes(_Reader(data).rdata(kind, len(data))) == data
    except (FormatError, PastTheEndError, IndexError):
        return False


def _parse(data: bytes) -> Message:
    reader = _Reader(data)
    header = DNSHeader.parse(reader)
    questions: list[tuple[bytes, int, int]] = []
    for _ in range(header.q):
        asked = DNSQuestion.parse(reader)
        name: Any = asked.qname
        questions.append((join(name.label), asked.qtype, asked.qclass))
    opt: Opt | None = None
    sections: list[tuple[RRset, ...]] = []
    for count in (header.a, header.auth, header.ar):
        found: dict[tuple[bytes, int, int], list[Any]] = {}
        for _ in range(count):
            name, kind, rclass, ttl, rdata = reader.record()
            if kind == Type.OPT:
                if opt is not None or name != ROOT or len(sections) < 2:  # noqa: PLR2004 -- additional
                    raise FormatError("a second OPT, or one out of place (RFC 6891, section 6.1.1)")
                opt = _opt(rclass, ttl, rdata)
                continue
            entry = found.setdefault((name.lower(), kind, rclass), [name, ttl, {}])
            entry[1] = min(entry[1], ttl)  # RFC 2181, section 5.2
            entry[2][rdata] = None
        sections.append(
            tuple(
                RRset(name, kind, ttl, tuple(rdatas), rclass)
                for (_, kind, rclass), (name, ttl, rdatas) in found.items()
            )
        )
    if reader.remaining():
        raise FormatError("octets after the last record")
    return Message(header.id, header.bitmap, tuple(questions), sections[0], sections[1], sections[2], opt)


def _opt(payload: int, ttl: int, data: bytes) -> Opt:
    options: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        code, length = _ASIDE.unpack_from(data, at)
        at += 4 + length
        if at > len(data):
            raise FormatError("an option that is longer than its OPT")
        options.append((code, data[at - length : at]))
    return Opt(payload, ttl >> 16 & 0xFF, bool(ttl & _DO), ttl >> 24, tuple(options))


def pack_opt(opt: Opt) -> bytes:
    """Write an OPT."""
    options = b"".join([_ASIDE.pack(code, len(data)) + data for code, data in opt.options])
    flags = _DO if opt.do else 0
    return _OPT.pack(0, Type.OPT, opt.payload, opt.rcode, opt.version, flags, len(options)) + options


def query(
    number: int,
    name: bytes,
    kind: int,
    *,
    flags: int = 0,
    opt: Opt | None = None,
    answer: Iterable[RRset] = (),
) -> bytes:
    """Write a message that asks, or notifies.

    Args:
        number: its ID.
        name: in the letters in which to ask.
        kind: the type.
        flags: those of the header.
        opt: what to say by EDNS, if it is spoken.
        answer: what a NOTIFY has to say (RFC 1996, section 3.7).
    """
    writer = Writer()
    header = DNSHeader(id=number, bitmap=flags, q=1, a=0, ar=0 if opt is None else 1)
    sets: Sequence[RRset] = list(answer)
    header.a = sum(len(each.rdatas) for each in sets)
    header.pack(writer)
    DNSQuestion(DNSLabel(labels(name)), kind, IN).pack(writer)
    for each in sets:
        writer.rrset(each, name.lower())
    return bytes(writer.data) + (b"" if opt is None else pack_opt(opt))


def _name_end(data: bytes) -> int:
    """Return where a name that begins the data ends."""
    at = 0
    while data[at]:
        at += data[at] + 1
    return at + 1
