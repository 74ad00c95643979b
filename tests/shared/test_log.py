import logging

import pytest

from shared.log import Formatter, escape


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain, é, 日本", "plain, é, 日本"),
        ("a\nb\r\tc\0", r"a\nb\r\tc\x00"),
        ("\x1b[31m\x7f\x9b", r"\x1b[31m\x7f\x9b"),
        ("\u202e\u2066\u200f\u061c", r"\u202e\u2066\u200f\u061c"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_a_terminal_obeys_is_escaped(text: str, safe: str) -> None:
    """Controls, line breaks, directions and broken octets are shown, and all else is left alone."""
    assert escape(text) == safe


def test_a_record_is_one_line_and_a_traceback_has_a_margin() -> None:
    """No text of a peer can pose as a record of its own, be it in a message or in an exception."""
    error = ValueError("forged\n2026-01-01 INFO root: all is well")
    record = logging.LogRecord("chat", logging.ERROR, "", 0, "from %s", ("a\nb",), (ValueError, error, None))
    first, *others = Formatter().format(record).split("\n")
    assert first.endswith(r"ERROR chat: from a\nb")
    assert all(line.startswith("  | ") for line in others)
    assert others[-1] == "  | 2026-01-01 INFO root: all is well"
