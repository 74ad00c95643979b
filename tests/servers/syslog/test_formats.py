import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.syslog.escape import unescape
from servers.syslog.formats import FormatError, json_format, line_format
from servers.syslog.protocol import parse
from servers.syslog.record import NOBODY, Peer

NOW = datetime(2026, 11, 22, 15, 30, 0, 123456, tzinfo=UTC)
FORGED = parse(b"<86>Nov  2 15:22:59 sshd[1]: Accepted\nroot", Peer(4242, 65534, 65534), NOW)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "full",
            r"2026-11-02T15:22:59.000000+00:00 here authpriv.info sshd[1] (pid 4242 uid 65534): Accepted\nroot",
        ),
        ("bsd", r"Nov  2 15:22:59 here sshd[1]: Accepted\nroot"),
        ("rfc3339", r"2026-11-02T15:22:59.000000+00:00 here sshd[1]: Accepted\nroot"),
        ("rfc5424", r"<86>1 2026-11-02T15:22:59+00:00 here sshd 1 - - Accepted\nroot"),
        ("100% {{{uid}:{gid}}} {program} {procid} {msgid} {data}!", "100% {65534:65534} sshd 1 - -!"),
        ("{received}", "2026-11-22T15:30:00.123456+00:00"),
    ],
)
def test_formats(name: str, line: str) -> None:
    """Each format, and a template, gives one line, and shows beside the claim who it really was where it has room."""
    assert line_format(name, "here")(FORGED) == line


def test_what_is_missing() -> None:
    """A bare message is told by when it came, from whom, and that its end is missing."""
    record = parse(b"hello", Peer(address="192.0.2.1"), NOW, truncated=True)
    line = "2026-11-22T15:30:00.123456+00:00 192.0.2.1 user.notice - (pid - uid -): hello [truncated]"
    assert line_format("full", "here")(record) == line


@pytest.mark.parametrize("name", ["", "nonsense", "{nonsense}", "{message", "{message.real}", "{message!r"])
def test_what_is_no_format(name: str) -> None:
    """A format that is none is refused when it is chosen, with what could be written instead."""
    with pytest.raises(FormatError, match=r"fields are time|write full, bsd, rfc3339, rfc5424"):
        line_format(name, "here")


def test_json() -> None:
    """An object has all there is to know, and the text as it was."""
    record = parse(
        b'<13>1 - h p 1 m [a ip="1" ip="2" x="\\]"] gr\xc3\xbc\xc3\x9f\x1b\n\x7fdich', Peer(1, 2, 3), NOW
    )
    line = json_format("here")(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "facility": "user",
        "severity": "notice",
        "timestamp": "2026-11-22T15:30:00.123456+00:00",
        "received": "2026-11-22T15:30:00.123456+00:00",
        "hostname": "h",
        "program": "p",
        "procid": "1",
        "msgid": "m",
        "structured_data": {"a": {"ip": ["1", "2"], "x": "]"}},
        "message": "grüß\x1b\n\x7fdich",
        "pid": 1,
        "uid": 2,
        "gid": 3,
        "peer": None,
        "truncated": False,
    }


def test_json_of_what_is_no_utf8() -> None:
    """Octets that are no UTF-8 are shown as such, and are there once more for whoever needs them."""
    found = json.loads(json_format("here")(parse(b"<13>gr\xfc\xdf", NOBODY, NOW)))
    assert found["message"] == r"gr\xfc\xdf"
    assert base64.b64decode(found["octets"]) == b"gr\xfc\xdf"


@given(st.binary())
def test_any_datagram_is_one_line(octets: bytes) -> None:
    """Whatever comes, each format makes one line of it that can be encoded, and loses nothing."""
    record = parse(octets, NOBODY, NOW)
    for name in ("full", "bsd", "rfc3339", "rfc5424"):
        line = line_format(name, "here")(record)
        assert len(line.encode().decode().splitlines()) == 1
        assert unescape(line).endswith(record.message)
    line = json_format("here")(record)
    found = json.loads(line)
    assert len(line.splitlines()) == 1
    kept = base64.b64decode(found["octets"]) if "octets" in found else found["message"].encode()
    assert kept == record.message.encode("utf-8", "surrogateescape")
