"""Messages on the wire, by dnslib: the one module that touches it, and where its traps are closed.

dnslib has the layout of headers and questions, and the buffer. What it is careless about is done here. Reading:

- a name's pointers lead strictly backwards, are few, and are followed in a loop; a label has 63 octets, a name 255;
- a record's data ends where its length says, and may be empty; names in it come out uncompressed (RFC 3597,
  section 4); there is one OPT at most, read to its last octet (RFC 6891); nothing follows the last record;
- whatever is wrong is a ``FormatError``, and nothing else is ever raised.

Writing: no pointer leads further than one can, names in data are compressed only in types of RFC 1035, what does not
fit is left out set by set (RFC 2181, section 9; RFC 9471), and the question and OPT stay.
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

from servers.resolver.names import NAME_LIMIT, ROOT, BadNameError, join, labels, parent
from servers.resolver.records import IN, Answer, RRset, Type

__all__ = ["PAYLOAD", "FormatError", "Message", "Opt", "Packed", "pack", "parse", "query"]

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

# Where names are in the data of a type: octets before the first, and how many there are. Those of RFC 1035, which may
# be compressed, and those that may have been by mistake (RFC 3597, section 4).
_ONE, _TWO, _AFTER_NUMBER = (0, 1), (0, 2), (2, 1)
_COMPRESSED = dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12), _ONE) | {6: _TWO, 14: _TWO, 15: _AFTER_NUMBER}
_LATER = {17: _TWO, 18: _AFTER_NUMBER, 21: _AFTER_NUMBER, 24: (18, 1), 26: (2, 2), 30: _ONE, 33: (6, 1)}
_NAMES = {**_COMPRESSED, **_LATER, 36: _AFTER_NUMBER, 39: _ONE}
# Octets after the names, where a type has always as many: A, NS, CNAME, SOA, PTR, MX, AAAA, SRV, DNAME.
_RESTS = {1: 4, 2: 0, 5: 0, 6: 20, 12: 0, 15: 0, 28: 16, 33: 0, 39: 0}
_NAPTR = 35


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
        if kind == _NAPTR and self.offset != end:
            start = self.offset
            self.get(4)
            for _ in range(3):
                self.get(self.get(1)[0])
            before, count = self.offset - start, 1
            self.offset = start
        else:
            before, count = _NAMES.get(kind, (0, 0))
        if self.offset == end:
            return b""  # an RRset of an UPDATE (RFC 2136, section 2.4), or of an unknown type
        data = bytes(self.get(before)) + b"".join([self.name() for _ in range(count)])
        rest = end - self.offset
        # get() with less than nothing would step back.
        if rest < 0 or rest != _RESTS.get(kind, rest):
            raise FormatError("data that is shorter or longer than it says")
        return data + bytes(self.get(rest))


class _Writer(DNSBuffer):  # type: ignore[misc] # dnslib has no types
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
        layout = _COMPRESSED.get(rrset.type)
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


@dataclass(frozen=True, slots=True)
class Packed:
    """A response that only wants its ID, and the letters of its question as they were sent."""

    head: bytes
    """From the flags to the last of the counts."""
    tail: bytes
    """What follows the question."""
    truncated: bool
    opt: int
    """Where the OPT, which is the last record, has its length, in ``tail``; 0 if there is none."""

    def reply(self, number: bytes, question: bytes, option: bytes = b"") -> bytes:
        """Return the message.

        Args:
            number: its ID, 2 octets.
            question: as it was sent.
            option: one more option for the OPT.
        """
        if not option or not self.opt:
            return b"".join((number, self.head, question, self.tail))
        at, tail = self.opt, self.tail
        length = int.from_bytes(tail[at : at + 2], "big") + len(option)
        return b"".join(
            (number, self.head, question, tail[:at], length.to_bytes(2, "big"), tail[at + 2 :], option)
        )

    def cut(self, number: bytes, question: bytes, option: bytes = b"") -> bytes:
        """Return the message with nothing in it but what says to ask again by a connection."""
        flags = int.from_bytes(self.head[:2], "big") & ~0xF | _TC
        opt = (
            self.tail[self.opt - 9 : self.opt] + len(option).to_bytes(2, "big") + option if self.opt else b""
        )
        return number + struct.pack("!HHHHH", flags, 1, 0, 0, bool(opt)) + question + opt


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


def pack(
    answer: Answer, question: bytes, flags: int, *, opt: Opt | None = None, limit: int = _MOST, spare: int = 0
) -> Packed:
    """Write a response.

    Args:
        answer: what to say.
        question: name, type and class, as they were sent; empty for a response without.
        flags: those of the header, to which the response code and TC are added.
        opt: what to say by EDNS, if it is spoken.
        limit: octets that the message may have.
        spare: octets of them that are for what is added later.
    """
    name = question[:-4].lower()
    writer = _Writer(bytes(_QUESTION) + question)
    # Names are told apart by their octets, so that what has other letters than the question keeps them.
    at, rest = _QUESTION, question[:-4]
    while rest and rest != ROOT:
        writer.names[rest] = at
        at, rest = at + rest[0] + 1, parent(rest)
    tail = b"" if opt is None else _pack_opt(opt)
    room = limit - len(tail) - spare
    counts, truncated = [1 if question else 0, 0, 0, 0], answer.truncated
    mandatory = len(answer.additional[: answer.glue])
    sections = () if truncated else (answer.answer, answer.authority, answer.additional)
    for index, section in enumerate(sections, 1):
        for position, rrset in enumerate(section):
            size = len(writer.data)
            writer.rrset(rrset, name)
            if len(writer.data) <= room:
                counts[index] += len(rrset.rdatas)
                continue
            writer.undo(size)
            if index < 3 or position < mandatory:  # noqa: PLR2004 -- additional
                truncated = True
                break
        if truncated:
            break
    if opt is not None:
        counts[3] += 1
    flags |= answer.rcode & 0xF | (_TC if truncated else 0)
    head = struct.pack("!HHHHH", flags, *counts)
    body = bytes(writer.data[_QUESTION + len(question) :])
    return Packed(head, body + tail, truncated, len(body) + 9 if opt is not None else 0)


def _pack_opt(opt: Opt) -> bytes:
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
    writer = _Writer()
    header = DNSHeader(id=number, bitmap=flags, q=1, a=0, ar=0 if opt is None else 1)
    sets: Sequence[RRset] = list(answer)
    header.a = sum(len(each.rdatas) for each in sets)
    header.pack(writer)
    DNSQuestion(DNSLabel(labels(name)), kind, IN).pack(writer)
    for each in sets:
        writer.rrset(each, name.lower())
    return bytes(writer.data) + (b"" if opt is None else _pack_opt(opt))


def _name_end(data: bytes) -> int:
    """Return where a name that begins the data ends."""
    at = 0
    while data[at]:
        at += data[at] + 1
    return at + 1
