"""Answers that are kept as octets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servers.resolver.message import Opt, parse
from servers.resolver.names import from_text
from servers.resolver.records import Answer, RRset
from servers.resolver.response import pack
from servers.resolver.wirecache import Entry

NAME = from_text("a.example.")
QUESTION = NAME + b"\0\1\0\1"


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.booleans(),
    st.lists(st.floats(0, 2000), max_size=5),
)
def test_ttls_count_down_in_the_octets(ttls: list[int], edns: bool, moments: list[float]) -> None:
    """At any time, whenever it was looked at before, each TTL is less by the seconds that have passed, and nothing else."""
    sets = tuple(RRset(from_text(f"n{n}.example."), 16, ttl, (b"\3abc",)) for n, ttl in enumerate(ttls))
    answer = Answer(answer=sets[::2], additional=sets[1::2])
    packed = pack(answer, QUESTION, 0x8180, opt=Opt() if edns else None)
    entry = Entry(packed, NAME.upper() + b"\0\1\0\1", answer, 100.0)
    fresh = parse(packed.reply(b"\0\1", QUESTION))
    for moment in moments:
        found = entry.at(100 + moment)
        assert (found is None) == (moment >= min(ttls))
        if found is None:
            continue
        whole = found.reply(b"\0\1", QUESTION)
        assert whole[2:] == entry.whole(100 + moment)
        message = parse(whole)
        for one, two in zip(
            fresh.answer + fresh.additional, message.answer + message.additional, strict=True
        ):
            assert one.ttl - int(moment) == two.ttl
            assert one.aged(0) == two.aged(0)
        assert message.opt == fresh.opt


def test_lasting_answers() -> None:
    """What lasts until the settings change has the TTLs it has."""
    answer = Answer(answer=(RRset(NAME, 1, 5, (b"\1\2\3\4",)),), lasting=True)
    packed = pack(answer, QUESTION, 0x8180)
    assert Entry(packed, QUESTION, answer, 100.0).at(1e9) == packed
