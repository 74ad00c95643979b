from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.syslog.framing import Frames

LIMIT = 50
BODIES = st.binary(min_size=1, max_size=LIMIT)
LINES = BODIES.filter(lambda body: not set(body) & set(b"\n\0") and not body[:1].isdigit())
STREAMS = st.lists(st.tuples(BODIES, st.just(True)) | st.tuples(LINES, st.just(False)), max_size=8)


def split(octets: bytes, cuts: list[int]) -> list[bytes]:
    """Cut octets into pieces."""
    edges = [0, *sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=6))
def test_messages_come_back_however_they_are_cut(messages: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    """Counted messages and lines, mixed, are told apart wherever the stream is cut."""
    stream = b"".join(b"%d %s" % (len(body), body) if counted else body + b"\n" for body, counted in messages)
    frames = Frames(LIMIT)
    found = [frame for piece in split(stream, cuts) for frame in frames.feed(piece)]
    assert found + frames.end() == [(body, False) for body, _ in messages]


@given(st.binary(max_size=400), st.lists(st.integers(0, 10_000), max_size=6))
def test_any_stream_is_bounded_and_cut_alike(stream: bytes, cuts: list[int]) -> None:
    """Whatever comes, no message is longer than the limit, and where the stream is cut makes no difference."""
    whole, pieces = Frames(LIMIT), Frames(LIMIT)
    expected = whole.feed(stream) + whole.end()
    found = []
    for piece in split(stream, cuts):
        found += pieces.feed(piece)
        assert len(pieces._buffer) <= LIMIT + 11
    assert found + pieces.end() == expected
    assert all(len(body) <= LIMIT for body, _ in expected)


@pytest.mark.parametrize(
    ("stream", "messages", "rest"),
    [
        (b"5 hello3 a\nb", [(b"hello", False), (b"a\nb", False)], []),
        (b"a\nb\0c", [(b"a", False), (b"b", False)], [(b"c", False)]),
        (b"\n\n", [(b"", False), (b"", False)], []),
        (b"9 cut", [], [(b"cut", True)]),
        (b"05 line\n", [(b"05 line", False)], []),
        (b"12:30 a line\n", [(b"12:30 a line", False)], []),
        (b"x" * 60 + b"\ny\n", [(b"x" * 50, True), (b"y", False)], []),
        (b"60 " + b"x" * 60 + b"1 y", [(b"x" * 50, True), (b"y", False)], []),
        (b"999999999 " + b"x" * 60, [(b"x" * 50, True)], []),
        (b"9999999999 line\n", [(b"9999999999 line", False)], []),
    ],
)
def test_frames(stream: bytes, messages: list[tuple[bytes, bool]], rest: list[tuple[bytes, bool]]) -> None:
    """Both ways to frame are read, what is too long is cut and said to be, and what has no end is kept."""
    frames = Frames(LIMIT)
    assert frames.feed(stream) == messages
    assert frames.end() == rest
