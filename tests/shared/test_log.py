import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import Formatter, JsonFormatter, escape

ROOT = Path(__file__).parents[2]


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


def record(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    """A record of an error."""
    info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("chat", logging.ERROR, "", 0, message, arguments, info)


FORGED = ValueError("forged\n2026-01-01 INFO root: all is well")


def test_a_record_is_one_line_and_a_traceback_has_a_margin() -> None:
    """No text of a peer can pose as a record of its own, be it in a message or in an exception."""
    first, *others = Formatter().format(record("from %s", "a\nb", error=FORGED)).split("\n")
    assert first.endswith(r"ERROR chat: from a\nb")
    assert all(line.startswith("  | ") for line in others)
    assert others[-1] == "  | 2026-01-01 INFO root: all is well"


def test_a_record_in_json() -> None:
    """A record is one object with time, level, logger, message and exception, and nothing else."""
    made = record("from %s", "a\nb\x1b\udcff", error=FORGED)
    made.created = 1_000_000_000.5
    line = JsonFormatter().format(made)
    assert json.loads(line) == {
        "ts": "2001-09-09T01:46:40.500Z",
        "level": "error",
        "logger": "chat",
        "message": r"from a\nb\x1b\udcff",
        "exception": "ValueError: forged\n2026-01-01 INFO root: all is well",
    }
    parsed = datetime.fromisoformat("2001-09-09T01:46:40.500Z")
    assert parsed == datetime.fromtimestamp(1_000_000_000.5, UTC)


@given(st.binary())
def test_json_is_one_line_of_harmless_text(data: bytes) -> None:
    """Whatever octets a peer sends, the log has one line of UTF-8, which JSON reads and no terminal obeys."""
    text = data.decode("utf-8", "surrogateescape")
    line = JsonFormatter().format(record("%s", text))
    assert len(line.encode("utf-8").splitlines()) == 1
    assert json.loads(line)["message"] == escape(text)
    assert escape(line) == line


def test_json_is_in_utf_8_everywhere() -> None:
    """A locale of ASCII changes nothing, and neither does what a peer sent."""
    program = (
        "import logging; from shared import log; log.set_up('warning', 'json');"
        r"logging.info('left out'); logging.warning('%s', 'gr\xfcn\udcff')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stderr.decode("utf-8"))["message"] == r"grün\udcff"
