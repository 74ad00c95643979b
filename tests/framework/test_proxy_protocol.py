"""The parser of the PROXY protocol: vectors from the specification, and properties."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.proxy_protocol import MAX_HEADER, ProxyHeader, ProxyHeaderError, TLVType, crc32c, parse

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
REST = b"GET / HTTP/1.1\r\n"


def v2(command: int, kind: int, body: bytes) -> bytes:
    """Write a header of version 2 (section 2.2)."""
    return SIGNATURE + bytes([command, kind]) + len(body).to_bytes(2) + body


def tlv(kind: int, value: bytes) -> bytes:
    """Write a TLV."""
    return bytes([kind]) + len(value).to_bytes(2) + value


IPV4 = bytes([192, 168, 0, 1, 192, 168, 0, 11]) + struct.pack("!HH", 56324, 443)
IPV6 = (
    ipaddress.IPv6Address("2001:db8::1").packed
    + ipaddress.IPv6Address("2001:db8::2").packed
    + bytes([0, 1, 0, 2])
)

VECTORS: list[tuple[bytes, ProxyHeader]] = [
    (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        ProxyHeader(1, ("192.168.0.1", 56324), ("192.168.0.11", 443)),
    ),
    (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ProxyHeader(1, ("255.255.255.255", 65535), ("255.255.255.255", 65535)),
    ),
    (
        b"PROXY TCP6 2001:DB8::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0 65535\r\n",
        ProxyHeader(1, ("2001:db8::1", 0, 0, 0), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0, 0)),
    ),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ProxyHeader(1, ("192.0.2.1", 1), ("::1", 2, 0, 0))),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN " + b":".join([b"ffff"] * 8) + b" whatever this is\r\n", ProxyHeader(1)),
    (v2(0x21, 0x11, IPV4), ProxyHeader(2, ("192.168.0.1", 56324), ("192.168.0.11", 443))),
    (v2(0x21, 0x12, IPV4), ProxyHeader(2, ("192.168.0.1", 56324), ("192.168.0.11", 443))),
    (v2(0x21, 0x21, IPV6), ProxyHeader(2, ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 2, 0, 0))),
    (
        v2(0x21, 0x31, b"/run/a".ljust(108, b"\0") + b"\0b".ljust(108, b"\0")),
        ProxyHeader(2, "/run/a", b"\0b"),
    ),
    (v2(0x21, 0x31, bytes(108) + b"x" * 108), ProxyHeader(2, "", "x" * 108)),
    # The proxy speaks for itself: the family is ignored, the length is not.
    (v2(0x20, 0x00, b""), ProxyHeader(2)),
    (v2(0x20, 0xFF, b"whatever"), ProxyHeader(2)),
    (v2(0x21, 0x00, b"whatever"), ProxyHeader(2)),
    (v2(0x21, 0x10, IPV4), ProxyHeader(2)),
    (v2(0x21, 0x01, b""), ProxyHeader(2)),
    (
        v2(
            0x21,
            0x11,
            IPV4 + tlv(TLVType.AUTHORITY, b"a.example") + tlv(TLVType.NOOP, b"") + tlv(0xE0, b"ours"),
        ),
        ProxyHeader(
            2,
            ("192.168.0.1", 56324),
            ("192.168.0.11", 443),
            ((TLVType.AUTHORITY, b"a.example"), (TLVType.NOOP, b""), (0xE0, b"ours")),
        ),
    ),
]


@pytest.mark.parametrize(("octets", "header"), VECTORS, ids=[repr(octets[:30]) for octets, _ in VECTORS])
def test_headers(octets: bytes, header: ProxyHeader) -> None:
    """A header is read to its last octet, whatever follows, and asked for until it is complete."""
    assert parse(octets) == parse(octets + REST) == (header, len(octets))
    for end in range(len(octets)):
        assert parse(octets[:end]) is None


BROKEN: list[tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n", "no PROXY header"),
    (b"P" * 5, "no PROXY header"),
    (b"\r\n\r\n\r", "no PROXY header"),
    (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
    (b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no PROXY header"),
    (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "breaks"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "breaks"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "breaks"),
    (b"PROXY TCP4 1.2.3.4\r1.2.3.4 1 2\r\n", "breaks"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "breaks"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "breaks"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "breaks"),
    ("PROXY TCP4 1.2.3.4 1.2.3.4 \u0661 2\r\n".encode(), "breaks"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "65535"),
    (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "zero"),
    (b"PROXY TCP4 ::1 ::1 1 2\r\n", "4 octets"),
    (b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "parts"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "breaks"),
    (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "breaks"),
    (b"PROXY UNKNOWNS\r\n", "breaks"),
    (b"PROXY UNKNOWN ".ljust(107, b"x"), "within 107"),
    (SIGNATURE + b"\x11", "version and command 0x11"),
    (SIGNATURE + b"\x22", "version and command 0x22"),
    (v2(0x21, 0x41, IPV4), "0x41"),
    (v2(0x21, 0x13, IPV4), "0x13"),
    (v2(0x21, 0x11, IPV4[:-1]), "11 octets of addresses"),
    (v2(0x21, 0x21, IPV4), "12 octets of addresses"),
    (SIGNATURE + b"\x21\x11\x40\x01", "16385 octets"),
    (v2(0x21, 0x11, IPV4 + b"\x04"), "TLV"),
    (v2(0x21, 0x11, IPV4 + b"\x04\x00"), "TLV"),
    (v2(0x21, 0x11, IPV4 + b"\x04\x00\x01"), "TLV"),
    (v2(0x21, 0x11, IPV4 + tlv(TLVType.CRC32C, bytes(4))), "CRC32c"),
    (v2(0x21, 0x11, IPV4 + tlv(TLVType.CRC32C, b"")), "CRC32c"),
]


@pytest.mark.parametrize(("octets", "said"), BROKEN, ids=[repr(octets[:40]) for octets, _ in BROKEN])
def test_broken_headers(octets: bytes, said: str) -> None:
    """What breaks the specification is refused, and its error says why."""
    with pytest.raises(ProxyHeaderError, match=said):
        parse(octets)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"123456789", 0xE3069283),  # the check value by which CRCs are catalogued
        (bytes(32), 0x8A9136AA),  # RFC 3720 section B.4, as are the others
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c(data: bytes, checksum: int) -> None:
    """The checksum is the one of RFC 3720 and RFC 9260."""
    assert crc32c(data) == checksum


def checked(body: bytes, behind: bytes) -> bytes:
    """Write a header with a right checksum between two parts."""
    blank = v2(0x21, 0x11, body + tlv(TLVType.CRC32C, bytes(4)) + behind)
    at = 16 + len(body) + 3
    return blank[:at] + crc32c(blank).to_bytes(4) + blank[at + 4 :]


def test_a_checksum_covers_the_whole_header() -> None:
    """With its checksum a header is accepted, and with any bit of it turned it is not."""
    octets = checked(IPV4, tlv(TLVType.UNIQUE_ID, b"id"))
    found = parse(octets + REST)
    assert found is not None
    assert found[0].tlv(TLVType.UNIQUE_ID) == b"id"
    assert found[0].tlv(TLVType.ALPN) is None
    kind = 16 + len(IPV4)  # where it says that a checksum follows
    for bit in {*range(len(octets) * 8)} - {*range(kind * 8, kind * 8 + 8)}:
        turned = bytearray(octets)
        turned[bit // 8] ^= 1 << bit % 8
        # A family that is none leaves nothing to check; neither is anything taken from it then.
        try:
            other = parse(bytes(turned) + REST)
        except ProxyHeaderError:
            continue
        assert other is None or other[0].source is None, bit


ports = st.integers(0, 65535)
tlvs = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != TLVType.CRC32C), st.binary(max_size=50))
)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), ports, ports)
def test_v1_lines(source: Any, destination: Any, source_port: int, destination_port: int) -> None:
    """Whatever addresses stand in a line of version 1, they are what is read."""
    octets = f"PROXY TCP4 {source} {destination} {source_port} {destination_port}\r\n".encode()
    header = ProxyHeader(1, (str(source), source_port), (str(destination), destination_port))
    assert parse(octets + REST) == (header, len(octets))


@given(st.ip_addresses(v=6), ports, tlvs, st.binary(max_size=20))
def test_v2_headers(host: Any, port: int, values: list[tuple[int, bytes]], rest: bytes) -> None:
    """Whatever addresses and TLVs stand in a header of version 2, they are what is read."""
    body = host.packed * 2 + struct.pack("!HH", port, port) + b"".join(tlv(*each) for each in values)
    octets = v2(0x21, 0x21, body)
    address: Any = (str(host), port, 0, 0)
    if host.ipv4_mapped:
        address = (str(host.ipv4_mapped), port)
    assert parse(octets + rest) == (ProxyHeader(2, address, address, tuple(values)), len(octets))


@given(
    st.sampled_from(
        [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x20"]
    ),
    st.binary(max_size=60),
)
def test_hostile_octets(beginning: bytes, rest: bytes) -> None:
    """Whatever comes is a header, the beginning of one, or refused; and cutting it off changes no answer but to wait."""

    def answer(data: bytes) -> object:
        try:
            return parse(data)
        except ProxyHeaderError:
            return ProxyHeaderError

    octets = beginning + rest
    whole = answer(octets)
    for end in range(len(octets)):
        assert answer(octets[:end]) in {None, whole}


@given(st.integers(0, 16384), st.integers(0, 100))
def test_more_is_asked_for_only_to_a_limit(length: int, more: int) -> None:
    """No header is longer than ``MAX_HEADER``, and none of that length is left unanswered."""
    octets = SIGNATURE + b"\x20\x00" + length.to_bytes(2) + bytes(length + more)
    assert parse(octets) == (ProxyHeader(2), 16 + length)
    assert 16 + length <= MAX_HEADER
