import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.syslog.escape import escape, unescape

ANY = st.binary().map(lambda octets: octets.decode("utf-8", "surrogateescape")) | st.text(
    st.characters(exclude_categories=["Cs"])
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, grüßend \U0001f600", "plain, grüßend \U0001f600"),
        ("two\nlines\r\n\tand a tab", r"two\nlines\r\n\tand a tab"),
        ("\x1b[2J\x00\x07\x7f", r"\x1b[2J\x00\x07\x7f"),
        ("\x85\x9b", r"\u0085\u009b"),
        ("\udc85\udcff", r"\x85\xff"),
        ("\u2028\u2029\u202e\u2066\u200f\u061c", r"\u2028\u2029\u202e\u2066\u200f\u061c"),
        (r"C:\new", r"C:\\new"),
    ],
)
def test_what_is_escaped(text: str, line: str) -> None:
    """Controls, line ends, what turns lines around, and the backslash."""
    assert escape(text) == line
    assert unescape(line) == text


@given(ANY)
def test_a_line_is_harmless_and_reversible(text: str) -> None:
    """Whatever the text is, it becomes one line of UTF-8 without controls, and comes back."""
    line = escape(text)
    assert unescape(line) == text
    assert line.encode().decode() == line
    assert len(line.splitlines()) <= 1
    for character in line:
        assert unicodedata.category(character) != "Cc"
        assert unicodedata.bidirectional(character) not in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
