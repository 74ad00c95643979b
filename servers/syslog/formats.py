"""Records as lines: for people, for programs that read what syslog writes, as JSON, or by a template.

===========  =======================================================================================================
``full``     ``2026-10-11T22:14:15.003000+00:00 host daemon.notice program[42] (pid 42 uid 0): message``
``bsd``      ``Oct 11 22:14:15 host program[42]: message``
``rfc3339``  ``2026-10-11T22:14:15.003000+00:00 host program[42]: message``
``rfc5424``  ``<29>1 2026-10-11T22:14:15.003000+00:00 host program 42 - - message``
===========  =======================================================================================================

What stands before the parentheses of ``full`` is what the message claims, in them is what the kernel says. Lines are
escaped (see ``escape``); JSON is the truth, and says in ``octets`` what no text can.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from servers.syslog.escape import escape
from servers.syslog.protocol import format5424, format_data
from servers.syslog.record import FACILITIES, SEVERITIES, Peer, Record, StructuredData

__all__ = ["Format", "FormatError", "json_format", "line_format"]

Format = Callable[[Record], str]
"""Makes a line of a record, without its end. For one thread, since it remembers the last second."""


_encode = json.JSONEncoder().encode


class FormatError(ValueError):
    """What was asked for is no format."""


def line_format(name: str, host: str) -> Format:
    """Return the format of that name, or of that template.

    Args:
        name: ``full``, ``bsd``, ``rfc3339``, ``rfc5424``, or text with fields in braces.
        host: what this host is called, for messages that do not say where they come from.

    Raises:
        FormatError: there is none.
    """
    known: dict[str, Callable[[str], Format]] = {
        "full": _full, "bsd": _bsd, "rfc3339": _rfc3339, "rfc5424": _rfc5424
    }  # fmt: skip
    if name in known:
        return known[name](host)
    if "{" not in name:
        fix = f"write {', '.join(known)} or a template such as '{{time}} {{message}}'"
        raise FormatError(f"{name!r} is no format: {fix}")
    return _template(name, host)


def _full(host: str) -> Format:
    clock = _Clock(_time)
    return lambda record: (
        f"{clock(record)} {_host(record, host)} {FACILITIES[record.facility]}.{SEVERITIES[record.severity]} "
        f"{_tag(record)} {_peer(record.peer)}: {_message(record)}"
    )


def _bsd(host: str) -> Format:
    clock = _Clock(_date)
    return lambda record: f"{clock(record)} {_host(record, host)} {_tag(record)}: {_message(record)}"


def _rfc3339(host: str) -> Format:
    clock = _Clock(_time)
    return lambda record: f"{clock(record)} {_host(record, host)} {_tag(record)}: {_message(record)}"


def _rfc5424(host: str) -> Format:
    return lambda record: escape(_complete(record, host))


def _template(template: str, host: str) -> Format:
    fields = _fields(host)
    try:
        parts = [(text, field) for text, field, *_ in string.Formatter().parse(template)]
        # None: there is only text, as behind the last field.
        getters = tuple(fields[field] for _, field in parts if field is not None)
    except (KeyError, ValueError) as error:
        known = f"fields are {', '.join(fields)}, and braces that are text come in pairs"
        raise FormatError(f"{template!r} is no template ({error}): {known}") from None
    pattern = "".join(text.replace("%", "%%") + ("" if field is None else "%s") for text, field in parts)
    return lambda record: pattern % tuple([get(record) for get in getters])


def _fields(host: str) -> dict[str, Callable[[Record], object]]:
    """Return how to get each field that a template may have."""
    return {
        "time": _Clock(_time),
        "date": _Clock(_date),
        "received": lambda record: _time(record.received),
        "host": lambda record: _host(record, host),
        "facility": lambda record: FACILITIES[record.facility],
        "severity": lambda record: SEVERITIES[record.severity],
        "program": lambda record: record.program or "-",
        "procid": lambda record: record.procid or "-",
        "tag": _tag,
        "msgid": lambda record: record.msgid or "-",
        "data": lambda record: escape(format_data(record.data)),
        "pid": lambda record: "-" if record.peer.pid is None else record.peer.pid,
        "uid": lambda record: "-" if record.peer.uid is None else record.peer.uid,
        "gid": lambda record: "-" if record.peer.gid is None else record.peer.gid,
        "message": _message,
    }


class _Clock:
    """Writes when a record was sent, and remembers: many messages of a second say the same."""

    def __init__(self, write: Callable[[datetime], str]) -> None:
        self._write = write
        self._moment: datetime | None = None
        self._text = ""

    def __call__(self, record: Record) -> str:
        moment = record.timestamp or record.received
        if moment is not self._moment:
            self._text = self._write(moment)
            self._moment = moment
        return self._text


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _date(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"


def _tag(record: Record) -> str:
    program = record.program or "-"
    return program if record.procid is None else f"{program}[{record.procid}]"


def _host(record: Record, host: str) -> str:
    return record.hostname or record.peer.address or host


@lru_cache(maxsize=1024)
def _peer(peer: Peer) -> str:
    pid, uid = ("-" if number is None else number for number in (peer.pid, peer.uid))
    return f"(pid {pid} uid {uid})"


def _message(record: Record) -> str:
    return f"{escape(record.message)} [truncated]" if record.truncated else escape(record.message)


def _complete(record: Record, host: str) -> str:
    record = record._replace(hostname=_host(record, host), timestamp=record.timestamp or record.received)
    return format5424(record).decode("utf-8", "surrogateescape")


def json_format(host: str) -> Format:
    """Return the format for JSON lines: ASCII, in which no character can do any harm.

    Args:
        host: what this host is called, for messages that do not say where they come from.
    """
    clock = _Clock(_time)

    def line(record: Record) -> str:
        message, octets = record.message, ""
        if not message.isascii():
            raw = message.encode("utf-8", "surrogateescape")
            message = raw.decode("utf-8", "backslashreplace")
            if message != record.message:
                octets = f',"octets":"{base64.b64encode(raw).decode()}"'
        data = json.dumps(_mapping(record.data)) if record.data else "{}"
        text = (
            f'{{"facility":"{FACILITIES[record.facility]}","severity":"{SEVERITIES[record.severity]}",'
            f'"timestamp":"{clock(record)}","received":"{_time(record.received)}",'
            f'"hostname":{_quoted(_host(record, host))},"program":{_quoted(record.program)},'
            f'"procid":{_quoted(record.procid)},"msgid":{_quoted(record.msgid)},"structured_data":{data},'
            f'"message":{_quoted(message)},{_json_peer(record.peer)},'
            f'"truncated":{"true" if record.truncated else "false"}{octets}}}'
        )
        return text.replace("\x7f", "\\u007f")  # which JSON may leave as it is

    return line


def _quoted(text: str | None) -> str:
    return "null" if text is None else _encode(text)


@lru_cache(maxsize=1024)
def _json_peer(peer: Peer) -> str:
    return json.dumps(dict(zip(("pid", "uid", "gid", "peer"), peer, strict=True)), separators=(",", ":"))[
        1:-1
    ]


def _mapping(data: StructuredData) -> dict[str, dict[str, object]]:
    """Return structured data as JSON has it: a value that came more than once is a list."""
    mapping: dict[str, dict[str, object]] = {}
    for name, parameters in data.items():
        values: dict[str, list[str]] = {}
        for each, value in parameters:
            values.setdefault(each, []).append(value)
        mapping[name] = {each: found[0] if len(found) == 1 else found for each, found in values.items()}
    return mapping
