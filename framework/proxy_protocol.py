"""The header of the PROXY protocol, versions 1 and 2: how a proxy says for whom it connects.

Follows haproxy's ``doc/proxy-protocol.txt``, whose sections are cited. No I/O: ``parse()`` is given what has come
so far, and either asks for more, returns the header and its length, or raises. Rules:

1. What is none is refused by its first octets: nobody waits for more of it.
2. No more is ever asked for than the longest header: 107 octets of version 1, 16 + 16 384 of version 2.
3. Both versions are understood, and nothing else is guessed (section 2).
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import struct
from dataclasses import dataclass
from enum import IntEnum

from framework._types import Inet6Address, InetAddress, UnixAddress

__all__ = ["MAX_HEADER", "ProxyHeader", "ProxyHeaderError", "TLVType", "crc32c", "parse"]

_V1 = b"PROXY "
# Section 2.1: "PROXY UNKNOWN", two addresses of 39 characters, two ports of 5, blanks and CRLF.
_V1_LENGTH = 107
_V1_LINE = re.compile(
    rb"PROXY (?:(UNKNOWN)(?: [^\r\n]*)?|"
    rb"(TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))\r\n"
)

_MAX_PORT = 65535

_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = struct.Struct("!12sBBH")
# What follows the fixed part. haproxy itself can send no more than its buffer has room for, 16 KiB by default; the
# most that is usual, a client's certificate among it, is a quarter of that.
_V2_LENGTH = 16384
# Section 2.2: two addresses, two ports.
_LAYOUTS = {1: struct.Struct("!4s4sHH"), 2: struct.Struct("!16s16sHH"), 3: struct.Struct("!108s108s")}
# Version and command; families; protocols.
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _UNIX, _DGRAM = 0, 3, 2

MAX_HEADER = _V2_FIXED.size + _V2_LENGTH
"""Octets of the longest header."""


class ProxyHeaderError(ValueError):
    """What came is no PROXY header, or a broken one."""


class TLVType(IntEnum):
    """The registered types of what a header of version 2 can say beside the addresses (section 2.2)."""

    ALPN = 0x01
    AUTHORITY = 0x02
    """The host name that the client asked for: SNI (RFC 6066 section 3)."""
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    NETNS = 0x30


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says about the connection it passes on."""

    version: int
    """1 or 2."""
    source: InetAddress | Inet6Address | UnixAddress | None = None
    """The client; ``None``: whoever connected, as with health checks (LOCAL, UNKNOWN)."""
    destination: InetAddress | Inet6Address | UnixAddress | None = None
    """What the client connected to."""
    tlvs: tuple[tuple[int, bytes], ...] = ()
    """Type and value of all else that was said, in its order."""

    def tlv(self, kind: int) -> bytes | None:
        """Return the first value of that type, or ``None``."""
        return next((value for each, value in self.tlvs if each == kind), None)


def parse(data: bytes) -> tuple[ProxyHeader, int] | None:
    """Read the header that ``data``, all that has come so far, begins with.

    Returns:
        The header and its length in octets, or ``None`` if there is more of it to come.

    Raises:
        ProxyHeaderError: there is none, or it breaks the specification.
    """
    if _V1.startswith(data[: len(_V1)]):
        return _parse_v1(data)
    if _V2.startswith(data[: len(_V2)]):
        return _parse_v2(data)
    raise ProxyHeaderError("no PROXY header")


# -- version 1 ---------------------------------------------------------------------------------------------


def _parse_v1(data: bytes) -> tuple[ProxyHeader, int] | None:
    end = data.find(b"\n", 0, _V1_LENGTH) + 1
    if not end:
        if len(data) >= _V1_LENGTH:
            raise ProxyHeaderError(f"no end of line within {_V1_LENGTH} octets")
        return None
    line = _V1_LINE.fullmatch(data, 0, end)
    if line is None:
        raise ProxyHeaderError("a line that breaks the PROXY protocol, version 1")
    unknown, family, source, destination, source_port, destination_port = line.groups()
    if unknown:
        return ProxyHeader(1), end
    client = _v1_address(family, source, source_port)
    return ProxyHeader(1, client, _v1_address(family, destination, destination_port)), end


def _v1_address(family: bytes, host: bytes, port: bytes) -> InetAddress | Inet6Address:
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    if int(port) > _MAX_PORT:
        raise ProxyHeaderError("a port above 65535")
    try:
        return _inet(kind(host.decode("ascii")), int(port))
    except ipaddress.AddressValueError as error:
        raise ProxyHeaderError(str(error)) from None


# -- version 2 ---------------------------------------------------------------------------------------------


def _parse_v2(data: bytes) -> tuple[ProxyHeader, int] | None:
    if len(data) > len(_V2) and data[len(_V2)] not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError(f"version and command 0x{data[len(_V2)]:02x}")
    if len(data) < _V2_FIXED.size:
        return None
    _, command, kind, length = _V2_FIXED.unpack_from(data)
    family, protocol = kind >> 4, kind & 15
    # The family is to be ignored where the proxy speaks for itself.
    if command == _PROXY and (family > _UNIX or protocol > _DGRAM):
        raise ProxyHeaderError(f"address family and protocol 0x{kind:02x}")
    if length > _V2_LENGTH:
        raise ProxyHeaderError(f"a header of {length} octets, of which {_V2_LENGTH} are accepted")
    end = _V2_FIXED.size + length
    if len(data) < end:
        return None
    if command == _LOCAL or _UNSPEC in {family, protocol}:
        return ProxyHeader(2), end
    layout = _LAYOUTS[family]
    if length < layout.size:
        raise ProxyHeaderError(f"{length} octets of addresses where {layout.size} are needed")
    source, destination, *ports = layout.unpack_from(data, _V2_FIXED.size)
    tlvs = _tlvs(data, _V2_FIXED.size + layout.size, end)
    if family == _UNIX:
        return ProxyHeader(2, _unix(source), _unix(destination), tlvs), end
    return ProxyHeader(2, _v2_inet(source, ports[0]), _v2_inet(destination, ports[1]), tlvs), end


def _tlvs(data: bytes, start: int, end: int) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    while start < end:
        if start + 3 > end or start + 3 + (length := int.from_bytes(data[start + 1 : start + 3])) > end:
            raise ProxyHeaderError("a TLV that ends beyond the header")
        kind, value = data[start], data[start + 3 : start + 3 + length]
        if kind == TLVType.CRC32C:
            _check(data, start + 3, value, end)
        found.append((kind, value))
        start += 3 + length
    return tuple(found)


def _check(data: bytes, start: int, value: bytes, end: int) -> None:
    """Check the checksum of the whole header, which counts itself as zeros (section 2.2.3)."""
    blank = data[:start] + bytes(len(value)) + data[start + len(value) : end]
    if value != crc32c(blank).to_bytes(4):
        raise ProxyHeaderError("the header's CRC32c is wrong")


def _v2_inet(host: bytes, port: int) -> InetAddress | Inet6Address:
    return _inet(ipaddress.ip_address(host), port)


def _inet(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> InetAddress | Inet6Address:
    """Return the address in the form that sockets have it in; one of IPv4 always as such."""
    if isinstance(host, ipaddress.IPv6Address):
        if host.ipv4_mapped is None:
            return str(host), port, 0, 0
        host = host.ipv4_mapped
    return str(host), port


def _unix(name: bytes) -> UnixAddress:
    """Return the name of a Unix socket as Python has it: a path, or ``bytes`` in the abstract namespace (unix(7))."""
    if name.startswith(b"\0"):
        return name.rstrip(b"\0") or ""
    return os.fsdecode(name.partition(b"\0")[0])


# -- the checksum ------------------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """Return the CRC32c of ``data`` (RFC 9260 appendix A)."""
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for octet in data:
        crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    def entry(crc: int) -> int:
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)  # Castagnoli's polynomial, bits reversed
        return crc

    return tuple(entry(octet) for octet in range(256))
