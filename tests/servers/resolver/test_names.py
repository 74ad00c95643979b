"""Names as they are on the wire, and as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.resolver.names import (
    ROOT,
    BadNameError,
    ancestors,
    from_text,
    is_under,
    join,
    labels,
    parent,
    to_text,
)

wire_names = st.lists(st.binary(min_size=1, max_size=10), max_size=8).map(join)


@given(wire_names)
def test_what_is_written_is_read_back(name: bytes) -> None:
    """Whatever octets a name holds, its text is printable, and means the same name."""
    text = to_text(name)
    assert text.isascii()
    assert text.isprintable()
    assert from_text(text) == name
    assert join(labels(name)) == name


@given(wire_names, wire_names)
def test_ancestors(name: bytes, other: bytes) -> None:
    """A name is under its ancestors and nothing else, whatever octets happen to be the same."""
    assert list(ancestors(name))[-1] == ROOT
    assert is_under(name, other) == (other in set(ancestors(name)))


@given(wire_names)
def test_small_letters(name: bytes) -> None:
    """Lowering the octets lowers letters only: the labels stay where they are."""
    assert labels(name.lower()) == tuple(label.lower() for label in labels(name))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("@", b"\3org\0"),
        (".", b"\0"),
        ("www", b"\3www\3org\0"),
        ("www.", b"\3www\0"),
        (r"a\.b.", b"\3a.b\0"),
        (r"\000\255.", b"\2\0\xff\0"),
        (r"\@", b"\1@\3org\0"),
        (r"a\..", b"\2a.\0"),
    ],
)
def test_texts(text: str, name: bytes) -> None:
    """Names are relative or not, and octets escaped, as RFC 1035, section 5.1, has it."""
    assert from_text(text, b"\3org\0") == name


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, "\\", "\\25", "\\256", ".".join(["a" * 60] * 5)])
def test_what_is_no_name(text: str) -> None:
    """Empty and long labels, long names and broken escapes are refused."""
    with pytest.raises(BadNameError):
        from_text(text)


def test_parent() -> None:
    """The parent of a name is a slice of it."""
    assert parent(b"\3www\3org\0") == b"\3org\0"
