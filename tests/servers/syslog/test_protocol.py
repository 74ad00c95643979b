from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servers.syslog.protocol import format5424, parse
from servers.syslog.record import NO_DATA, NOBODY, Peer, Record

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
DATE = datetime(2026, 11, 22, 15, 22, 59, tzinfo=UTC)
USER_NOTICE = Record(1, 5, None, NOW, None, None, None, None, NO_DATA, "", NOBODY)

# What is nearly a message: pieces of headers, in any order, and octets of any kind among them.
PIECES = st.sampled_from(
    [
        *(
            b"<13>",
            b"<191>",
            b"<0>",
            b"<",
            b">",
            b"1 ",
            b"- ",
            b"-",
            b" ",
            b":",
            b"[",
            b"]",
            b'"',
            b"\\",
            b"=",
            b"\n",
        ),
        *(
            b"Nov 22 15:22:59 ",
            b"Feb 29 00:00:00 ",
            b"2026-11-22T15:22:59.5Z ",
            b"host ",
            b"sshd",
            b"[42]",
            b": ",
        ),
        *(b'[a b="c"]', b'[x@1 y="\\]"]', b"\xef\xbb\xbf", b"\xff", "ü".encode(), b"- - - - - - ", b"\0"),
    ]
)
MUTATED = st.lists(PIECES | st.binary(max_size=4)).map(b"".join)

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).filter(
    lambda name: name != "-"
)
SD_NAMES = NAMES.filter(lambda name: not set(name) & set('="]'))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.dictionaries(SD_NAMES, st.lists(st.tuples(SD_NAMES, TEXT), max_size=3).map(tuple), max_size=3)
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
RECORDS = st.builds(
    Record,
    facility=st.integers(0, 23),
    severity=st.integers(0, 7),
    timestamp=st.none() | st.datetimes(timezones=ZONES),
    received=st.just(NOW),
    hostname=st.none() | NAMES,
    program=st.none() | NAMES,
    procid=st.none() | NAMES,
    msgid=st.none() | NAMES,
    data=DATA,
    message=st.binary().map(lambda octets: octets.decode("utf-8", "surrogateescape").rstrip("\n\0")),
    peer=st.just(Peer(1, 2, 3)),
    truncated=st.booleans(),
)


def again(record: Record) -> Record:
    """Write and read a record."""
    return parse(format5424(record), record.peer, record.received, truncated=record.truncated)


@pytest.mark.parametrize(
    ("octets", "fields"),
    [
        # From util-linux's logger, glibc's syslog(3) and Python's SysLogHandler, as strace(1) shows them.
        (b"<13>Nov 22 15:22:59 root: hello", {"timestamp": DATE, "program": "root", "message": "hello"}),
        (
            b"<86>Nov 22 15:22:59 sshd[42]: Accepted",
            {
                "facility": 10,
                "severity": 6,
                "timestamp": DATE,
                "program": "sshd",
                "procid": "42",
                "message": "Accepted",
            },
        ),
        (b"<14>hello\0", {"severity": 6, "message": "hello"}),
        (b"<14>myapp: hello\0", {"severity": 6, "program": "myapp", "message": "hello"}),
        (b"<14>myapp:hello\0", {"severity": 6, "program": "myapp", "message": "hello"}),
        (b"<13>postfix/smtpd[7]: m", {"program": "postfix/smtpd", "procid": "7", "message": "m"}),
        (
            b"<13>Nov 22 15:22:59 tag[pid]:  m ",
            {"timestamp": DATE, "program": "tag", "procid": "pid", "message": " m "},
        ),
        (b"<13>Nov 22 15:22:59 tag:", {"timestamp": DATE, "program": "tag"}),
        (
            b"<13>Nov 22 15:22:59 tag[1]: a: b: c",
            {"timestamp": DATE, "program": "tag", "procid": "1", "message": "a: b: c"},
        ),
        # From other hosts.
        (
            b"<13>Nov 22 15:22:59 host.example tag[1]: m",
            {"timestamp": DATE, "hostname": "host.example", "program": "tag", "procid": "1", "message": "m"},
        ),
        (
            b"<13>Nov 22 15:22:59 2001:db8::1 tag: m",
            {"timestamp": DATE, "hostname": "2001:db8::1", "program": "tag", "message": "m"},
        ),
        (
            b"<13>2026-11-22T16:22:59.000000+01:00 host tag: m",
            {"timestamp": DATE, "hostname": "host", "program": "tag", "message": "m"},
        ),
        (b"<13>Nov 22 15:22:59 no tag here", {"timestamp": DATE, "message": "no tag here"}),
        (
            b"<13>Nov  1 00:00:00 a: m",
            {"timestamp": datetime(2026, 11, 1, tzinfo=UTC), "program": "a", "message": "m"},
        ),
        (
            b"<13>Nov 1 00:00:00 a: m",
            {"timestamp": datetime(2026, 11, 1, tzinfo=UTC), "program": "a", "message": "m"},
        ),
        # No headers.
        (b"<13>http://example.com/: see there", {"message": "http://example.com/: see there"}),
        (b'<13>{"level": "info"}', {"message": '{"level": "info"}'}),
        (b'<13>time="12:30" level=info', {"message": 'time="12:30" level=info'}),
        (b"<13>12:30 lunch", {"message": "12:30 lunch"}),
        (b"<13>-: dash", {"message": "-: dash"}),
        (b"<13>Feb 30 00:00:00 a: m", {"message": "Feb 30 00:00:00 a: m"}),
        (b"hello", {"message": "hello"}),
        (b"<192>hello", {"message": "<192>hello"}),
        (b"<>hello", {"message": "<>hello"}),
        (b"<013>hello", {"message": "<013>hello"}),
        (b"<-1>hello", {"message": "<-1>hello"}),
        ("<१३>hello".encode(), {"message": "<१३>hello"}),
        (b"<13", {"message": "<13"}),
        (b"", {"message": ""}),
        # Ends.
        (b"<13>a: m\n", {"program": "a", "message": "m"}),
        (b"<13>a: m\n\0", {"program": "a", "message": "m"}),
        (b"<13>a: m\n n\r", {"program": "a", "message": "m\n n\r"}),
        (b"<13>a: \x1b[2J\0\x07m", {"program": "a", "message": "\x1b[2J\0\x07m"}),
        (b"<13>a: gr\xfc\xdf", {"program": "a", "message": "gr\udcfc\udcdf"}),
    ],
)
def test_what_is_sent_in_old_ways(octets: bytes, fields: dict[str, Any]) -> None:
    """Each way in which programs and hosts send messages is told apart, and no text is lost."""
    assert parse(octets, NOBODY, NOW) == USER_NOTICE._replace(**fields)


@pytest.mark.parametrize(
    ("octets", "fields"),
    [
        # RFC 5424, 6.5.
        (
            b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick",
            {
                "facility": 4, "severity": 2, "timestamp": datetime(2003, 10, 11, 22, 14, 15, 3000, UTC),
                "hostname": "mymachine.example.com", "program": "su", "msgid": "ID47",
                "message": "'su root' failed for lonvick",
            },
        ),
        (
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            {
                "facility": 20, "timestamp": datetime(2003, 8, 24, 12, 14, 15, 3, UTC), "hostname": "192.0.2.1",
                "program": "myproc", "procid": "8710", "message": "%% It's time to make the do-nuts.",
            },
        ),
        (
            b'<165>1 2003-10-11T22:14:15.003Z h e - ID47 [exampleSDID@32473 iut="3" eventID="1011"][ex@1 class="high"]',
            {
                "facility": 20, "timestamp": datetime(2003, 10, 11, 22, 14, 15, 3000, UTC), "hostname": "h",
                "program": "e", "msgid": "ID47",
                "data": {"exampleSDID@32473": (("iut", "3"), ("eventID", "1011")), "ex@1": (("class", "high"),)},
            },
        ),
        (b'<13>1 - - - - - [a b="\\"\\\\\\]\\n\n"] m', {"data": {"a": (("b", '"\\]\\n\n'),)}, "message": "m"}),
        (b'<13>1 - - - - - [a ip="1" ip="2"]', {"data": {"a": (("ip", "1"), ("ip", "2"))}}),
        (b"<13>1 - - - - - -", {}),
        (b"<13>1 - - - - - - ", {}),
        (b"<13>1 - - - - - -  m", {"message": " m"}),
        (b"<13>1 - - - - - - \xef\xbb\xbf\xef\xbb\xbf", {"message": "\ufeff"}),
    ],
)  # fmt: skip
def test_what_is_sent_as_rfc_5424(octets: bytes, fields: dict[str, Any]) -> None:
    """All parts of a header are read, structured data are decoded, and a BOM goes."""
    assert parse(octets, NOBODY, NOW) == USER_NOTICE._replace(**fields)


@pytest.mark.parametrize(
    "broken",
    [
        b'1 2026-11-22T15:22:59Z h a - - [a b="]"] lost?',
        b'1 2026-11-22T15:22:59Z h a - - [a b="c"]x lost?',
        b'1 2026-11-22T15:22:59Z h a - - [a b="c"][a b="d"] twice',
        b'1 2026-11-22T15:22:59Z h a - - [a b="\xff"] no UTF-8',
        b"1 2026-11-22T15:22:59Z h a - - [a b=c] m",
        b"1 2026-11-22T15:22:59.1234567Z h a - - - seven digits",
        b"1 2026-11-22T15:22:60Z h a - - - leap second",
        b"1 2026-11-31T15:22:59Z h a - - - no such day",
        b"1 2026-11-22t15:22:59z h a - - - small letters",
        b"1 2026-11-22T15:22:59Z h a - -",
        b"2 2026-11-22T15:22:59Z h a - - - version two",
        "1 - hôte a - - - m".encode(),
    ],
)
def test_what_breaks_rfc_5424(broken: bytes) -> None:
    """What is not quite RFC 5424 stays whole in the message, with the priority that it has."""
    expected = USER_NOTICE._replace(facility=20, message=broken.decode("utf-8", "surrogateescape"))
    assert parse(b"<165>" + broken, NOBODY, NOW) == expected


@pytest.mark.parametrize(
    ("now", "date", "expected"),
    [
        ("2026-01-01T00:00:05+00:00", b"Dec 31 23:59:59", "2025-12-31T23:59:59+00:00"),
        ("2025-12-31T23:59:55+00:00", b"Jan  1 00:00:01", "2026-01-01T00:00:01+00:00"),
        ("2025-03-01T00:00:00+00:00", b"Feb 29 12:00:00", "2024-02-29T12:00:00+00:00"),
        ("2026-06-01T12:00:00+02:00", b"Jun  1 11:59:00", "2026-06-01T11:59:00+02:00"),
    ],
)
def test_a_date_has_the_nearest_year(now: str, date: bytes, expected: str) -> None:
    """A date without a year is of the year that brings it nearest to now, in now's zone."""
    record = parse(b"<13>" + date + b" a: m", NOBODY, datetime.fromisoformat(now))
    assert record.timestamp is not None
    assert record.timestamp.isoformat() == expected


def test_the_hour_that_comes_twice() -> None:
    """When summer ends, the clock says 02:30 twice, and the one meant is that nearest to now."""
    berlin = ZoneInfo("Europe/Berlin")
    for utc in ("2026-10-25T00:31:00+00:00", "2026-10-25T01:31:00+00:00"):
        now = datetime.fromisoformat(utc).astimezone(berlin)
        record = parse(b"<13>Oct 25 02:30:00 a: m", NOBODY, now)
        assert record.timestamp is not None
        assert now - record.timestamp.astimezone(UTC) == timedelta(minutes=1)


@given(st.binary() | MUTATED)
@example(b'<13>1 - - - - - [a b="\\')
def test_everything_is_a_message(octets: bytes) -> None:
    """Whatever the octets are, they make a record, which comes back from RFC 5424 as it was."""
    record = parse(octets, Peer(1, 2, 3), NOW)
    assert again(record) == record


@given(RECORDS)
def test_round_trip(record: Record) -> None:
    """Any record, written and read, is the same."""
    assert again(record) == record


@given(st.binary() | MUTATED)
def test_no_text_is_lost(octets: bytes) -> None:
    """What is in the message is what the datagram ends with; garbage is there in whole, and no alarm."""
    record = parse(octets, NOBODY, NOW)
    end = octets.rstrip(b"\n\0")
    assert end.endswith(record.message.encode("utf-8", "surrogateescape"))
    if not end.startswith(b"<"):
        assert record == USER_NOTICE._replace(message=end.decode("utf-8", "surrogateescape"))


def test_long_names_are_names() -> None:
    """Names longer than RFC 5424 allows are read, and written as they are."""
    record = parse(b"<13>" + b"c" * 200 + b"[1]: m", NOBODY, NOW)
    assert (record.program, again(record)) == ("c" * 200, record)


@pytest.mark.parametrize(
    "hostile",
    [
        b"<13>1 - - - - - " + b'[a b="' + b"\\" * 200_000,
        b"<13>1 - - - - - " + b"[a]" * 60_000 + b"!",
        b"<13>1 - - - - - [a" + b' b="c"' * 30_000,
        b"<13>" + b"a" * 200_000,
        b"<13>Nov 22 15:22:59 " + b"a " * 100_000,
        b"<13>Nov 22 15:22:59 " + b"[" * 200_000,
        b"<13>a[" + b"b" * 200_000,
    ],
)
def test_long_headers_take_no_long_time(hostile: bytes) -> None:
    """A header that goes on and on, and is none in the end, is given up without going over it again and again."""
    assert parse(hostile, NOBODY, NOW).message in hostile.decode()
