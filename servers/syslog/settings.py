"""What can be set, and to what."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from servers.syslog.formats import FormatError, line_format
from servers.syslog.limits import PeerLimits
from servers.syslog.record import FACILITIES, SEVERITIES
from servers.syslog.routes import Route
from shared.settings import (
    Rule,
    ServerSettings,
    SettingsError,
    Table,
    at_least,
    between,
    endpoint,
    matching,
    required,
    setting,
)

__all__ = ["RULES", "FileTable", "RouteTable", "Settings"]

RULES = ("routes", "rate", "burst", "per")
"""What can be changed while the program runs: which message goes where, and how many."""

# Outputs that flags make, by these names.
_BY_FLAG = ("text", "json", "stdout", "database", "forward")


def _format(value: str) -> str:
    """Hold as the rule for formats."""
    if value == "json":
        return ""
    try:
        line_format(value, "")
    except FormatError as error:
        return str(error)
    return ""


def _one_of(names: Collection[str]) -> Rule:
    return lambda value: "" if value in names else f"give one of {', '.join(names)}"


def _pattern(value: str) -> str:
    """Hold as the rule for regular expressions."""
    try:
        re.compile(value)
    except re.error as error:
        return f"give a regular expression of Python ({error})"
    return ""


def _zone(value: str) -> str:
    """Hold as the rule for time zones."""
    if not value:
        return ""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "give a name of the IANA's, such as Europe/Berlin, or nothing for this host's own zone"
    return ""


def _collector(value: str) -> str:
    """Hold as the rule for collectors."""
    url = urlsplit(value)
    try:
        good = url.scheme in {"tcp", "tls"} and url.hostname and url.port and not (url.path or url.query)
    except ValueError:
        good = False
    return "" if good or not value else "give tcp://host:port or tls://host:port"


@dataclass(frozen=True, kw_only=True)
class FileTable(Table):
    """A further file."""

    name: str = required("by which routes call it", matching("[a-z][a-z0-9_-]*", "small letters and digits"))
    file: str = required("path of the file", matching(".+", "a path"))
    format: str = setting("full", "json, full, bsd, rfc3339, rfc5424 or a template", _format)


@dataclass(frozen=True, kw_only=True)
class RouteTable(Table):
    """A route: what fits all that is given goes to these outputs."""

    to: tuple[str, ...] = required("names of outputs")
    facility: tuple[str, ...] = setting((), "any of these", _one_of(FACILITIES))
    severity: str = setting("debug", "this one and worse", _one_of(SEVERITIES))
    program: tuple[str, ...] = setting((), "any of these, as they call themselves")
    uid: tuple[int, ...] = setting((), "any of these users, as the kernel says")
    pattern: str = setting("", "a regular expression, found in the message", _pattern)
    final: bool = setting(False, "whether what fits looks at no further route")

    def route(self) -> Route:
        """Return it as the sink needs it."""
        return Route(
            self.to,
            frozenset(map(FACILITIES.index, self.facility)),
            SEVERITIES.index(self.severity),
            frozenset(self.program),
            frozenset(self.uid),
            re.compile(self.pattern) if self.pattern else None,
            self.final,
        )


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """A log sink, for /dev/log and for other hosts.

    Without any output, it writes lines to standard output.

    Raises:
        SettingsError: one of them cannot be used.
    """

    bind: tuple[str, ...] = setting(
        ("unixgram:run/log.sock",),
        "where to listen; for /dev/log: unixgram:///dev/log?mode=0666",
        endpoint("unixgram", "udp", "tcp", "unix"),
        group="Listening",
        form="URL",
    )
    bind_tls: tuple[str, ...] = setting(
        (),
        "where to listen for TLS, such as tcp://[::]:6514; takes --certificate",
        endpoint("tcp"),
        group="Listening",
        form="URL",
    )
    certificate: str = setting(
        "", "file with the certificates for TLS, and perhaps the key", group="Listening", form="FILE"
    )
    key: str = setting("", "file with the certificate's key", group="Listening", form="FILE")
    # The kernel's own limit on what a program can send by default is 208 KiB (net.core.wmem_default).
    max_message: int = setting(
        256 * 1024, "octets kept of a message", between(480, 1 << 24), group="Listening"
    )
    # Either way it is written before the next is received. record: until then it lies in memory that outlives the process;
    # peek: in the kernel, from which it is only taken then, which costs more.
    durability: Literal["record", "peek"] = setting(
        "record",
        "what SIGKILL costs where somebody else holds the socket: the record in hand, or nothing",
        group="Listening",
    )
    # journald's default is 10000 in 30 s for a service; rsyslog has none. Senders are slowed down in any case.
    rate: float = setting(
        0.0, "messages a second of one peer, crit and worse aside; 0: any", at_least(0), group="Listening"
    )
    burst: int = setting(
        1000, "messages of one peer at once, where there is a rate", at_least(1), group="Listening"
    )
    per: Literal["pid", "uid"] = setting("pid", "what is one peer on a Unix socket", group="Listening")

    text: str = setting("", "file for lines", group="Outputs", form="FILE")
    format: str = setting(
        "full", "full, bsd, rfc3339, rfc5424 or a template, for --text and --stdout", _format, group="Outputs"
    )
    json: str = setting("", "file for objects of JSON, one a line", group="Outputs", form="FILE")
    stdout: Literal["none", "text", "json"] = setting("none", "what goes to standard output", group="Outputs")
    database: str = setting("", "file of SQLite, for the command query", group="Outputs", form="FILE")
    keep: int = setting(0, "days that the database remembers; 0: all", at_least(0), group="Outputs")
    forward: str = setting(
        "", "collector: tcp://host:port or tls://host:port", _collector, group="Outputs", form="URL"
    )
    spool: str = setting(
        "run/spool", "folder for what the collector has not got yet", group="Outputs", form="FOLDER"
    )
    spool_size: int = setting(1 << 30, "octets of it", at_least(1 << 20), group="Outputs")
    settle: float = setting(
        10.0, "seconds until what was sent counts as arrived", between(0, 3600), group="Outputs"
    )
    authority: str = setting(
        "",
        "file of certificates to trust in the collector's; none: the system's",
        group="Outputs",
        form="FILE",
    )
    files: tuple[FileTable, ...] = setting((), "further files, for routes", group="Outputs")
    routes: tuple[RouteTable, ...] = setting((), "what goes where; none: all to all outputs", group="Outputs")

    sync: Literal["never", "batch", "always"] = setting(
        "never", "when to put on the disk itself what was written to a file", group="Writing"
    )
    rotate_size: int = setting(
        0, "octets at which a file makes way for the next; 0: any", at_least(0), group="Writing"
    )
    rotate_hours: int = setting(
        0, "hours after which it does, from midnight on; 0: never", between(0, 24), group="Writing"
    )
    rotate_count: int = setting(10, "old files kept, compressed", at_least(0), group="Writing")
    # A quarter of a million short messages: seconds of a flood, hours of a quiet host.
    queue: int = setting(64 << 20, "octets in memory for each output", at_least(1 << 16), group="Writing")
    when_full: Literal["block", "drop"] = setting(
        "block", "whether programs wait then, or what matters least is dropped", group="Writing"
    )
    hostname: str = setting("", "what this host is called; nothing: what the system says", group="Writing")
    zone: str = setting("", "zone of dates that have none; nothing: this host's", _zone, group="Writing")

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [each.name for each in self.files]
        for name in names:
            if name in _BY_FLAG or names.count(name) > 1:
                raise SettingsError(
                    "files",
                    name,
                    f"call it something else: {', '.join(_BY_FLAG)} are taken, and so are others",
                )
        known = [name for name in _BY_FLAG if getattr(self, name) not in {"", "none"}] + names
        for route in self.routes:
            for name in route.to:
                if name not in known:
                    raise SettingsError(
                        "routes", name, f"name outputs that there are: {', '.join(known) or 'none so far'}"
                    )

    def check(self) -> None:
        """Read the certificate."""
        if not self.bind_tls:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key or None)
        except OSError as error:
            fix = f"cannot be used ({error.strerror}): name files in PEM, with the key of the certificate"
            raise SettingsError("certificate", self.certificate, fix) from error

    @property
    def writes_nowhere(self) -> bool:
        """Whether no output is asked for."""
        return not (self.text or self.json or self.database or self.forward or self.files or self.routes)

    def rules(self) -> tuple[list[Route], PeerLimits | None]:
        """Return what ``RULES`` say, as the sink needs it."""
        limits = PeerLimits(self.rate, self.burst, self.per) if self.rate else None
        return [table.route() for table in self.routes], limits

    @property
    def host(self) -> str:
        """What this host is called."""
        return self.hostname or socket.gethostname()

    def clock(self) -> Callable[[], datetime]:
        """Return what tells the time in the configured zone."""
        if self.zone:
            zone: tzinfo = ZoneInfo(self.zone)
            return lambda: datetime.now(zone)
        return lambda: datetime.now().astimezone()
