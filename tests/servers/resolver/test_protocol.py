"""What a packet asks, and which packets ask the same."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.resolver.message import Opt, query
from servers.resolver.names import from_text, join
from servers.resolver.protocol import Edns, read
from servers.resolver.records import Rcode
from servers.resolver.wirecache import fingerprint

WWW = from_text("www.example.org.")
GOOD = query(7, WWW, 1, flags=0x0100)


def header(flags: int = 0, qd: int = 1, an: int = 0, ns: int = 0, ar: int = 0) -> bytes:
    """Return a header."""
    return struct.pack("!HHHHHH", 7, flags, qd, an, ns, ar)


QUESTION = WWW + b"\0\1\0\1"


def opt(data: bytes = b"", ttl: int = 0, name: bytes = b"\0") -> bytes:
    """Return an OPT."""
    return name + struct.pack("!HHIH", 41, 1232, ttl, len(data)) + data


@pytest.mark.parametrize("packet", [b"", GOOD[:11], header(0x8000) + QUESTION, header(0xFFFF) + QUESTION])
def test_what_is_not_answered(packet: bytes) -> None:
    """Runts and answers get no answer."""
    assert read(packet, payload=1232) is None


@pytest.mark.parametrize(
    ("packet", "rcode", "asked"),
    [
        (header(4 << 11) + QUESTION, Rcode.NOTIMP, False),
        (header(5 << 11), Rcode.NOTIMP, False),
        (header(qd=0), Rcode.FORMERR, False),
        (header(qd=2) + QUESTION * 2, Rcode.FORMERR, False),
        (header(an=1) + QUESTION, Rcode.FORMERR, True),
        (header(an=1) + QUESTION + opt(), Rcode.FORMERR, True),
        (header(qd=0, ar=1) + opt(), Rcode.FORMERR, False),
        (header(qd=0, ar=1) + opt(b"\0\x0a\0\x08abcdefgh"), Rcode.NOERROR, False),
        (header(qd=0xFFFF), Rcode.FORMERR, False),
        (header(ns=1) + QUESTION + opt(), Rcode.FORMERR, True),
        (header() + QUESTION[:-1], Rcode.FORMERR, False),
        (header() + b"\xc0\x0c\0\1\0\1", Rcode.FORMERR, False),
        (header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", Rcode.FORMERR, False),
        (header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", Rcode.FORMERR, False),
        (header() + QUESTION + b"x", Rcode.FORMERR, True),
        (header(ar=1) + QUESTION, Rcode.FORMERR, True),
        (header(ar=2) + QUESTION + opt() * 2, Rcode.FORMERR, True),
        (header(ar=1) + QUESTION + opt(name=b"\1a\0"), Rcode.FORMERR, True),
        (header(ar=1) + QUESTION + opt(b"\0\3\0"), Rcode.FORMERR, True),
        (header(ar=1) + QUESTION + opt(b"\0\3\0\1"), Rcode.FORMERR, True),
        (header(ar=1) + QUESTION + opt(b"\0\x0a\0\3abc"), Rcode.FORMERR, True),
        (header(ar=1) + QUESTION + opt(ttl=1 << 16), Rcode.BADVERS, True),
        (header(ar=1) + QUESTION + opt(b"\0\x0a\0\3abc", 1 << 16), Rcode.BADVERS, True),
        (header() + WWW + b"\0\x29\0\1", Rcode.FORMERR, True),
        (header() + WWW + b"\0\xfe\0\1", Rcode.NOTIMP, True),
        (header() + WWW + b"\0\1\0\4", Rcode.REFUSED, True),
    ],
)
def test_what_is_refused(packet: bytes, rcode: int, asked: bool) -> None:
    """What cannot be read or is not known is refused by its code, with the question if there is one."""
    found = read(packet, payload=1232)
    assert found is not None
    assert (found.problem, bool(found.question)) == (rcode, asked)


@pytest.mark.parametrize(
    "packet",
    [
        header(5 << 11, ar=1) + QUESTION + opt(),
        header(qd=2, ar=1) + QUESTION * 2 + opt(),
        header(an=1) + QUESTION + opt(),
        header(ns=1) + QUESTION + opt(),
        header(ar=2) + QUESTION + opt() * 2,
        header(ar=1) + QUESTION + opt() + b"x",
        header(ar=1) + QUESTION + opt(b"\0\x0a\0\3abc"),
        header(ar=1) + QUESTION + opt(ttl=1 << 16),
    ],
)
def test_who_speaks_edns_is_refused_by_edns(packet: bytes) -> None:
    """What is wrong with a packet takes nothing from its sender's speaking EDNS (RFC 6891, section 7)."""
    found = read(packet, payload=1232)
    assert found is not None
    assert found.problem is not None
    assert found.edns is not None


def test_what_is_asked() -> None:
    """A query has the question as it was sent, and what EDNS says, in bounds."""
    packet = (
        header(0x0130, ar=2)
        + QUESTION.upper().replace(b"\0\1", b"\0\1")
        + opt(b"\0\3\0\0\xff\xf0\0\1x", 0x8000)
    )
    packet += b"\0" + struct.pack("!HHIH", 250, 255, 0, 0)
    found = read(packet, payload=1232, client="192.0.2.1")
    assert found is not None
    assert found.problem is None
    assert (found.name, found.key, found.recursion_desired, found.checking_disabled) == (
        WWW.upper(),
        WWW,
        True,
        True,
    )
    assert found.edns == Edns(1232, do=True, nsid=True)
    assert found.limit == 1232


@pytest.mark.parametrize(("said", "limit"), [(0, 512), (511, 512), (1000, 1000), (4096, 1232)])
def test_sizes(said: int, limit: int) -> None:
    """An answer is as long as the client takes, between 512 octets and what is set."""
    found = read(query(7, WWW, 1, opt=Opt(payload=said)), payload=1232)
    assert found is not None
    assert found.problem is None
    assert found.limit == limit


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda data: GOOD + data)))
def test_nothing_raises(packet: bytes) -> None:
    """Whatever comes, it is read without a fault, and its fingerprint taken."""
    read(packet, payload=1232)
    fingerprint(packet)


options = st.lists(st.tuples(st.sampled_from([12, 65001]), st.binary(max_size=9)), max_size=3).map(tuple)


@given(
    st.lists(st.binary(min_size=1, max_size=5), max_size=4).map(join),
    st.sampled_from([1, 65, 97]),
    st.sampled_from([0, 0x0100, 0x0110]),
    st.booleans(),
    st.booleans(),
    options,
    st.sampled_from([b"", bytes(8), bytes(24)]),
)
def test_fingerprints_tell_questions_apart(
    name: bytes,
    kind: int,
    flags: int,
    edns: bool,
    do: bool,
    extra: tuple[tuple[int, bytes], ...],
    cookie: bytes,
) -> None:
    """Two packets with one fingerprint ask the same, and ID, case, cookies and padding make no other."""
    extra += ((10, cookie),) if cookie else ()
    packet = query(1, name, kind, flags=flags, opt=Opt(do=do, options=extra) if edns else None)
    other = query(2, name.upper(), kind, flags=flags, opt=Opt(do=do, options=extra[::-1]) if edns else None)
    mark, found = fingerprint(packet), read(packet, payload=1232)
    assert found is not None
    assert found.problem is None
    assert mark is not None or b"\0" in name[:-1]
    if mark is None or b"\0" in name[:-1]:
        return
    again = fingerprint(other)
    assert again is not None
    assert mark[0] == again[0]
    assert packet[12 : mark[1]] == found.question
    assert mark[2] == (cookie if edns else b"")
    for changed in (
        query(1, name, kind + 1, flags=flags, opt=Opt(do=do) if edns else None),
        query(1, name, kind, flags=flags ^ 0x0100, opt=Opt(do=do) if edns else None),
        query(1, name, kind, flags=flags, opt=None if edns else Opt()),
        query(1, name, kind, flags=flags, opt=Opt(do=not do))
        if edns
        else query(1, name + b"", kind, flags=flags ^ 1),
    ):
        different = fingerprint(changed)
        assert different is None or different[0] != mark[0]


def test_types_are_no_letters() -> None:
    """Types 65 and 97 differ as the letters A and a do, and are told apart."""
    one, two = fingerprint(query(1, WWW, 65)), fingerprint(query(1, WWW, 97))
    assert one is not None
    assert two is not None
    assert one[0] != two[0]
