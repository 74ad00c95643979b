"""Messages on the wire: what is read is what was written, and what dnslib gets wrong is right here."""

from __future__ import annotations

import struct

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.resolver import names
from servers.resolver.message import FormatError, Opt, parse, query
from servers.resolver.names import ROOT, from_text
from servers.resolver.records import Answer, RRset
from servers.resolver.response import pack

WWW = from_text("www.example.org.")
QUESTION = WWW + b"\0\1\0\1"

label_bytes = st.binary(min_size=1, max_size=12)
wire_names = st.lists(label_bytes, max_size=6).map(names.join)
ttls = st.integers(0, 0x7FFFFFFF)


def name_data(kind: int, before: int, count: int, after: int) -> st.SearchStrategy[tuple[int, bytes]]:
    """Return data of a type that has names in it."""
    parts = [st.binary(min_size=before, max_size=before), *[wire_names] * count]
    parts.append(st.binary(min_size=after, max_size=after))
    return st.tuples(*parts).map(lambda each: (kind, b"".join(each)))


data_of_types = st.one_of(
    st.binary(min_size=4, max_size=4).map(lambda data: (1, data)),
    name_data(2, 0, 1, 0),
    name_data(6, 0, 2, 20),
    name_data(15, 2, 1, 0),
    name_data(33, 6, 1, 0),
    name_data(17, 0, 2, 0),
    st.binary(max_size=40).map(lambda data: (65280, data)),
)
rrsets = st.builds(
    lambda name, ttl, data: RRset(name, data[0], ttl, (data[1],)), wire_names, ttls, data_of_types
)


def sections(counts: tuple[int, int, int, int], body: bytes) -> bytes:
    """Return a message with these counts."""
    return struct.pack("!HHHHHH", 7, 0x8400, *counts) + body


def record(name: bytes, kind: int, data: bytes, rclass: int = 1, ttl: int = 60) -> bytes:
    """Return a record with its data as it is."""
    return name + struct.pack("!HHIH", kind, rclass, ttl, len(data)) + data


@given(wire_names, st.lists(rrsets, max_size=6, unique_by=lambda each: (each.name.lower(), each.type)))
def test_what_is_packed_is_what_is_parsed(name: bytes, sets: list[RRset]) -> None:
    """Whatever a response is made of comes out of its octets again."""
    question = name + b"\0\1\0\1"
    packed = pack(Answer(answer=tuple(sets)), question, 0x8000, opt=Opt(options=((3, b"x"), (3, b""))))
    found = parse(packed.reply(b"\0\7", question))
    assert (found.id, found.flags) == (7, 0x8000)
    assert found.questions == ((name, 1, 1),)
    lowered = [(each.name.lower(), each.type, each.ttl, each.rdatas) for each in found.answer]
    assert lowered == [(each.name.lower(), each.type, each.ttl, each.rdatas) for each in sets]
    assert found.opt == Opt(options=((3, b"x"), (3, b"")))


@given(
    st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda body: sections((1, 1, 1, 1), body)))
)
def test_nothing_else_than_format_errors(data: bytes) -> None:
    """Whatever octets come, they are a message or a ``FormatError``."""
    try:
        parse(data)
    except FormatError:
        return


@given(
    wire_names,
    st.lists(rrsets, max_size=8, unique_by=lambda each: (each.name.lower(), each.type)),
    st.integers(150, 400),
    st.integers(0, 3),
)
def test_truncation_is_by_sets(name: bytes, sets: list[RRset], limit: int, glue: int) -> None:
    """No response is longer than it may be; what is there is whole sets, and TC says so if some must have been."""
    question = name + b"\0\1\0\1"
    third = len(sets) // 3
    answer = Answer(
        answer=tuple(sets[:third]),
        authority=tuple(sets[third : 2 * third]),
        additional=tuple(sets[2 * third :]),
        glue=glue,
    )
    packed = pack(answer, question, 0x8000, opt=Opt(), limit=limit)
    data = packed.reply(b"\0\7", question)
    assert len(data) <= limit
    found = parse(data)
    assert found.opt == Opt()
    everything = parse(pack(answer, question, 0x8000, opt=Opt()).reply(b"\0\7", question))
    needed = {(each.name.lower(), each.type) for each in answer.additional[:glue]}
    there = {(each.name.lower(), each.type) for each in found.additional}
    assert found.truncated == (
        (len(found.answer), len(found.authority)) != (len(everything.answer), len(everything.authority))
        or not needed <= there
    )


# -- the traps, each on bare dnslib as well: a release that mends one makes its test fail -----------------------------


def refused_by_dnslib(data: bytes) -> bool:
    """Tell whether bare dnslib calls it an error."""
    try:
        dnslib.DNSRecord.parse(data)
    except dnslib.DNSError:
        return True
    return False


def test_pointer_chains() -> None:
    """Pointers to pointers, each backwards, are followed, and too many are an error; dnslib's stack ends first."""
    assert parse(_chain(100)).answer[-1].name == ROOT
    with pytest.raises(RecursionError):
        dnslib.DNSRecord.parse(_chain(3000))
    with pytest.raises(FormatError):
        parse(_chain(3000))


def _chain(length: int) -> bytes:
    """Return a message whose last name is a chain of pointers."""
    start = 12 + 11
    links = [
        struct.pack("!H", 0xC000 | (start if n == 0 else start + 1 + 2 * (n - 1))) for n in range(length)
    ]
    last = struct.pack("!H", 0xC000 | start + 1 + 2 * (length - 1))
    return sections((0, 2, 0, 0), record(ROOT, 65280, b"\0" + b"".join(links)) + record(last, 1, b"\1\2\3\4"))


@pytest.mark.parametrize("octet", [0x40, 0x80])
def test_label_types(octet: int) -> None:
    """Labels of types 01 and 10 are no labels; dnslib takes them for long ones."""
    data = sections((1, 0, 0, 0), bytes([octet]) + b"a" * octet + b"\0\0\1\0\1")
    assert not refused_by_dnslib(data)
    with pytest.raises(FormatError):
        parse(data)


def test_long_names() -> None:
    """A name has 255 octets at most; dnslib reads more."""
    data = sections((1, 0, 0, 0), (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1")
    assert not refused_by_dnslib(data)
    with pytest.raises(FormatError):
        parse(data)


def test_octets_in_labels() -> None:
    """A label may hold any octet (RFC 2181, section 11); dnslib wants UTF-8."""
    data = sections((1, 0, 0, 0), b"\2\xff\0\0\0\1\0\1")
    assert refused_by_dnslib(data)
    assert parse(data).questions == ((b"\2\xff\0\0", 1, 1),)


def test_data_ends_where_it_says() -> None:
    """An address of three octets is none; dnslib reads a fourth."""
    data = sections((0, 1, 0, 0), record(ROOT, 1, b"\1\2\3")) + b"\4"
    assert not refused_by_dnslib(data)
    with pytest.raises(FormatError):
        parse(data)


def test_empty_data() -> None:
    """Data may be empty (RFC 3123, section 4); dnslib wants some."""
    data = sections((0, 1, 0, 0), record(ROOT, 42, b""))
    assert refused_by_dnslib(data)
    assert parse(data).answer[0].rdatas == (b"",)


def test_trailing_octets() -> None:
    """Nothing follows the last record; dnslib does not look."""
    data = sections((0, 0, 0, 0), b"x")
    assert not refused_by_dnslib(data)
    with pytest.raises(FormatError):
        parse(data)


def test_one_opt() -> None:
    """There is one OPT (RFC 6891, section 6.1.1); dnslib takes several."""
    data = sections((0, 0, 0, 2), record(ROOT, 41, b"") * 2)
    assert not refused_by_dnslib(data)
    with pytest.raises(FormatError):
        parse(data)


def test_empty_options() -> None:
    """An option without data at the end is an option; dnslib loses it."""
    data = sections((0, 0, 0, 1), record(ROOT, 41, b"\0\3\0\0"))
    assert dnslib.DNSRecord.parse(data).ar[0].rdata == []
    assert parse(data).opt == Opt(payload=1, do=False, options=((3, b""),))


def test_stray_octets_in_opt() -> None:
    """Octets in OPT that are no option are an error; dnslib ignores them."""
    data = sections((0, 0, 0, 1), record(ROOT, 41, b"\0\3\0"))
    assert not refused_by_dnslib(data)
    with pytest.raises(FormatError):
        parse(data)


def test_far_names() -> None:
    """Names beyond what a pointer reaches are written out; dnslib's point anywhere."""
    sets = tuple(RRset(from_text(f"h{n}.example.org."), 16, 60, (b"\xff" + b"x" * 255,)) for n in range(70))
    later = tuple(
        RRset(from_text(f"a.h{n}.far.example."), 1, 60, (b"\1\2\3\4", b"\1\2\3\5")) for n in range(60)
    )
    data = pack(Answer(answer=sets, additional=later), QUESTION, 0x8000).reply(b"\0\1", QUESTION)
    assert [each.name for each in parse(data).additional] == [each.name for each in later]
    bare = dnslib.DNSRecord(q=dnslib.DNSQuestion("www.example.org"))
    bare.add_answer(*[dnslib.RR(f"h{n}.example.org", 16, rdata=dnslib.TXT("x" * 255)) for n in range(70)])
    bare.add_ar(*[dnslib.RR("a.far.example", 1, rdata=dnslib.A("1.2.3.4")) for n in range(2)])
    try:
        wrong = parse(bytes(bare.pack())).additional[-1].name
    except FormatError:
        wrong = b""
    assert wrong != from_text("a.far.example.")


def test_names_that_stay_as_they_are() -> None:
    """Names in the data of types later than RFC 1035 are not compressed (RFC 3597, section 4); dnslib does it in RP."""
    rdata = WWW + WWW
    data = pack(Answer(answer=(RRset(WWW, 17, 60, (rdata,)),)), QUESTION, 0x8000).reply(b"\0\1", QUESTION)
    assert rdata in data
    bare = dnslib.DNSRecord(q=dnslib.DNSQuestion("www.example.org"))
    bare.add_answer(dnslib.RR("www.example.org", 17, rdata=dnslib.RP("www.example.org", "www.example.org")))
    assert rdata not in bytes(bare.pack())


def test_dots_in_labels() -> None:
    """A dot in a label is no dot between labels; in dnslib's texts both look alike."""
    one, two = from_text(r"a\.b."), from_text("a.b.")
    assert names.to_text(one) != names.to_text(two)
    assert str(dnslib.DNSLabel([b"a.b"])) == str(dnslib.DNSLabel([b"a", b"b"]))


def test_long_labels() -> None:
    """A label of 64 octets is refused by name; dnslib raises whatever its codec does."""
    with pytest.raises(names.BadNameError):
        from_text("a" * 64 + ".")
    with pytest.raises(UnicodeError):
        dnslib.DNSLabel("a" * 64)


def test_only_what_belongs_into_a_reply() -> None:
    """A response has the flags it was given, and OPT if asked; dnslib copies Z, AD, CD, TC and the code, and no OPT."""
    asked = dnslib.DNSRecord.parse(query(1, WWW, 1, flags=0x03FF & ~0x8000, opt=Opt()))
    bare = asked.reply()
    assert (bare.header.z, bare.header.ad, bare.header.tc, bare.header.rcode, bare.ar) == (1, 1, 1, 15, [])
    found = parse(pack(Answer(), QUESTION, 0x8000, opt=Opt(do=True)).reply(b"\0\1", QUESTION))
    assert (found.flags, found.opt) == (0x8000, Opt(do=True))


def test_truncated_responses_keep_question_and_opt() -> None:
    """What is cut keeps its question and its OPT; dnslib's loses both."""
    large = RRset(WWW, 16, 60, (b"\xff" + b"x" * 255,) * 1 + tuple(b"\1" + bytes([n]) for n in range(99)))
    packed = pack(Answer(answer=(large,)), QUESTION, 0x8000, opt=Opt(), limit=512)
    found = parse(packed.reply(b"\0\1", QUESTION))
    assert (found.truncated, found.questions, found.opt, found.answer) == (True, ((WWW, 1, 1),), Opt(), ())
    bare = dnslib.DNSRecord(q=dnslib.DNSQuestion("www.example.org")).truncate()
    assert bare.questions == []


def test_types_that_dnslib_has_no_class_for() -> None:
    """Names in the data of DNAME, AFSDB and KX come out whole, wherever they point; dnslib leaves the pointer."""
    data = sections((1, 1, 0, 0), QUESTION + record(b"\xc0\x0c", 39, b"\xc0\x0c"))
    assert parse(data).answer[0].rdatas == (WWW,)
    assert dnslib.DNSRecord.parse(data).rr[0].rdata.data == b"\xc0\x0c"
