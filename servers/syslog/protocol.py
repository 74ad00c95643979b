r"""Octets into records and back: RFC 5424, RFC 3164 as programs and routers really send it, and whatever else comes.

::

    <13>1 2026-10-11T22:14:15.003Z host program 42 ID47 [id name="value"] message      RFC 5424
    <13>Oct 11 22:14:15 program[42]: message                                           syslog(3), to a local socket
    <13>Oct 11 22:14:15 host program[42]: message                                      RFC 3164, from other hosts
    <13>2026-10-11T22:14:15.003+02:00 host program[42]: message                        as rsyslog forwards it
    <13>program[42]: message                                                           without the time
    <13>message                                                                        SysLogHandler of Python

Rules:

1. Everything is a message. What cannot be read as a header is text, and stays in the message (RFC 3164, 4.3.2); without
   a valid priority the whole of it is, as user.notice (4.3.3): no garbage raises an alarm.
2. NUL and LF end a datagram in some senders' minds, so they go from its end. One space goes after a header, and a BOM
   before a message of RFC 5424. No other text is lost.
3. ``parse(format5424(r), r.peer, r.received, truncated=r.truncated) == r`` for each ``r`` that ``parse()`` returned.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Any, cast

from servers.syslog.record import FACILITIES, NO_DATA, Peer, Record, StructuredData

__all__ = ["format5424", "parse"]

# No leading zeros (RFC 5424, 6.2.1), and none above local7.debug.
_PRIORITIES = {f"<{number}>": divmod(number, 8) for number in range(len(FACILITIES) * 8)}
_USER_NOTICE = (1, 5)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# RFC 5424, 6.2.3: T and Z in capitals, six digits at most, no leap second.
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
# RFC 3164, 4.1.2; some pad the day with a zero, some not at all.
_DATE = rf"(?:{'|'.join(_MONTHS)}) [ 0-3]?[0-9] [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}"
_STAMP = re.compile(rf"({_DATE}|{_TIME}) ")

# Longer names than either RFC allows are names all the same: containers have such.
_FIELD = r"([!-~]{1,255}+)"
_NAME = r"[!#-<>-\\^-~]{1,255}+"
_QUOTED = r'"(?:[^"\\\]]|\\.)*+"'
_MODERN = re.compile(
    rf"1 (-|{_TIME}) {_FIELD} {_FIELD} {_FIELD} {_FIELD} "
    rf"(-|(?:\[{_NAME}(?: {_NAME}={_QUOTED})*+\])++)(?: (.*))?\Z",
    re.DOTALL,
)
_ELEMENT = re.compile(rf"\[({_NAME})((?: {_NAME}={_QUOTED})*+)\]", re.DOTALL)
_PARAMETER = re.compile(rf" ({_NAME})=({_QUOTED})", re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\]])')  # any other backslash stands for itself (RFC 5424, 6.3.3)
_TO_ESCAPE = re.compile(r'["\\\]]')

# A lone "-" is no name: in RFC 5424 it says that there is none. Nor is what quotes, braces or "=" are part of: programs
# log JSON and key="value".
_TAG = r"(?!-[:[])([!#-+\--9;?-Z\\^-z|~]{1,255}+)(?:\[(?!-\])([!-Z\\^-~]{1,255}+)\])?+:"
_LOCAL = re.compile(rf"{_TAG}(?: |\Z)")
_HEAD = re.compile(rf"(<[0-9]{{1,3}}>)(?:({_DATE}|{_TIME}) )?+{_TAG}")
# Octets of a head that is remembered.
_LONGEST_HEAD = 100
_REMOTE = re.compile(rf"(?!- )([!-~]{{0,254}}[!-9;-~]) {_TAG} ?")
# Without a space after the colon; neither a URL nor a time of day is a tag.
_TIGHT = re.compile(rf"(?=[A-Za-z_]){_TAG}(?![/\\:])")

_new: Callable[[type[Record], tuple[object, ...]], Record] = cast("Any", tuple).__new__

_Header = tuple[
    "datetime | None", "str | None", "str | None", "str | None", "str | None", StructuredData, str
]


def parse(octets: bytes, peer: Peer, now: datetime, *, truncated: bool = False) -> Record:
    """Return what a datagram says; it never raises.

    Args:
        octets: the datagram, or a frame of RFC 6587.
        peer: who sent it.
        now: when it was received. Its zone is that of dates without one, and their year the one that brings them
            nearest to it.
        truncated: whether its end was lost on the way.
    """
    text = octets.decode("utf-8", "surrogateescape").rstrip("\n\0")
    before, colon, message = text.partition(": ")
    head = _head(before) if colon and len(before) <= _LONGEST_HEAD else None
    if head is not None:
        facility, severity, stamp, name, number = head
        timestamp = None if stamp is None else _date(stamp, now)
        if timestamp is not None or stamp is None:
            where = (None, name, number, None, NO_DATA)
            # What Record() comes to, without a call of Python: nearly all messages pass here.
            fields = (facility, severity, timestamp, now, *where, message, peer, truncated)
            return _new(Record, fields)
    start = text.find(">", 2, 5) + 1
    priority = _PRIORITIES.get(text[:start])
    if priority is None:
        return Record(*_USER_NOTICE, None, now, None, None, None, None, NO_DATA, text, peer, truncated)
    header = _modern(text, start) if text.startswith("1 ", start) else None
    timestamp, hostname, program, procid, msgid, data, message = header or _legacy(text, start, now)
    facility, severity = priority
    return Record(
        facility, severity, timestamp, now, hostname, program, procid, msgid, data, message, peer, truncated
    )


@lru_cache(maxsize=1024)  # of what a program says in a second, all has the same
def _head(text: str) -> tuple[int, int, str | None, str, str | None] | None:
    """Read all that comes before the colon and the space in the usual local form; ``None``: it is not so."""
    match = _HEAD.fullmatch(text + ":")
    if match is None or match[1] not in _PRIORITIES:
        return None
    priority, stamp, program, procid = match.groups()
    return *_PRIORITIES[priority], stamp, program, procid


def _modern(text: str, start: int) -> _Header | None:
    """Read what follows the priority as RFC 5424 has it; ``None``: it is not so."""
    match = _MODERN.match(text, start)
    if match is None:
        return None
    time, *names, elements, message = match.groups()
    timestamp = None if time == "-" else _time(time)
    data = NO_DATA if elements == "-" else _data(elements)
    if data is None or (timestamp is None and time != "-"):
        return None
    hostname, program, procid, msgid = [None if name == "-" else name for name in names]
    return timestamp, hostname, program, procid, msgid, data, (message or "").removeprefix("\ufeff")


def _legacy(text: str, start: int, now: datetime) -> _Header:
    """Read what follows the priority as RFC 3164 has it, as far as it is so."""
    timestamp = hostname = program = procid = None
    stamp = _STAMP.match(text, start)
    if stamp is not None:
        timestamp = _date(stamp[1], now)
        if timestamp is None:
            return None, None, None, None, None, NO_DATA, text[start:]
        start = stamp.end()
    tag = _LOCAL.match(text, start)
    if tag is not None:
        program, procid = tag.groups()
        return timestamp, None, program, procid, None, NO_DATA, text[tag.end() :]
    tag = _REMOTE.match(text, start) if stamp is not None else None
    if tag is not None:
        hostname, program, procid = tag.groups()
        return timestamp, hostname, program, procid, None, NO_DATA, text[tag.end() :]
    tag = _TIGHT.match(text, start)
    if tag is not None:
        program, procid = tag.groups()
        start = tag.end()
    return timestamp, None, program, procid, None, NO_DATA, text[start:]


def _data(elements: str) -> StructuredData | None:
    """Return structured data, which is written as it should be; ``None``: it says what it must not."""
    # Values are UTF-8, and an SD-ID comes once (RFC 5424, 6.3.1 and 6.3.3).
    data = {
        name: tuple(
            (each, _ESCAPED.sub(r"\1", quoted[1:-1])) for each, quoted in _PARAMETER.findall(parameters)
        )
        for name, parameters in _ELEMENT.findall(elements)
    }
    if len(data) != sum(1 for _ in _ELEMENT.finditer(elements)) or _has_octets(elements):
        return None
    return data


def _has_octets(text: str) -> bool:
    """Tell whether there is something in ``text`` that was no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _time(text: str) -> datetime | None:
    """Return the moment that RFC 3339 calls ``text``; ``None``: there is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _date(text: str, now: datetime) -> datetime | None:
    """Return the moment nearest to ``now`` that is written so; ``None``: there is none."""
    moments = _moments(text, now.date(), now.tzinfo)
    if len(moments) > 1:
        return min(moments, key=lambda moment: abs(moment.astimezone(UTC) - now))
    return moments[0] if moments else None


@lru_cache(maxsize=1024)
def _moments(text: str, today: date, zone: tzinfo | None) -> tuple[datetime, ...]:
    """Return the moments nearest to a day that are written so: two in the hour that comes twice when summer ends."""
    if text[0].isdigit():
        moment = _time(text)
        return () if moment is None else (moment,)
    month, day, clock = text.split()
    found: list[datetime] = []
    for year in (today.year - 1, today.year, today.year + 1):
        # ValueError: it has no such day.
        with contextlib.suppress(ValueError):
            found.append(
                datetime.fromisoformat(f"{year:04}-{1 + _MONTHS.index(month):02}-{int(day):02}T{clock}")
            )
    if not found:
        return ()
    moment = min(found, key=lambda moment: abs(moment.date() - today)).replace(tzinfo=zone)
    other = moment.replace(fold=1)
    return (moment,) if other.utcoffset() == moment.utcoffset() else (moment, other)


def format5424(record: Record) -> bytes:
    """Return a record as RFC 5424 has it, from which ``parse()`` reads the same one.

    Names that are longer than the RFC allows are left so, rather than lost.
    """
    time = "-" if record.timestamp is None else record.timestamp.isoformat()
    message = record.message
    # RFC 5424, 6.4: a BOM says that this is UTF-8. And one that is part of the message needs another before it.
    if message.startswith("\ufeff") or not (message.isascii() or _has_octets(message)):
        message = "\ufeff" + message
    return (
        f"<{record.facility * 8 + record.severity}>1 {time} {record.hostname or '-'} {record.program or '-'} "
        f"{record.procid or '-'} {record.msgid or '-'} {format_data(record.data)}{message and ' '}{message}"
    ).encode("utf-8", "surrogateescape")


def format_data(data: StructuredData) -> str:
    """Return structured data as RFC 5424 has it."""
    elements = (
        " ".join([name, *(f'{each}="{_TO_ESCAPE.sub(_escaped, value)}"' for each, value in parameters)])
        for name, parameters in data.items()
    )
    return "".join(f"[{element}]" for element in elements) or "-"


def _escaped(match: re.Match[str]) -> str:
    return "\\" + match[0]
