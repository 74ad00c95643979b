"""``Record``: one message as everybody here knows it; ``Peer``: who sent it; the names of severities and facilities."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

__all__ = ["FACILITIES", "NOBODY", "NO_DATA", "SEVERITIES", "Peer", "Record", "StructuredData"]

SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Keywords of syslog.conf(5) by numerical code: RFC 5424, table 2."""
FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "security", "console", "solaris-cron"),
    *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
"""Likewise: RFC 5424, table 1."""

StructuredData: TypeAlias = Mapping[str, tuple[tuple[str, str], ...]]
"""The parameters of each element by its SD-ID, in the order they came: a name may come twice (RFC 5424, 6.3.3)."""

NO_DATA: Final[StructuredData] = MappingProxyType({})


class Peer(NamedTuple):
    """Who sent a message, by the word of the kernel: nothing that the message says can change it."""

    pid: int | None = None
    """The process; 0 if it is not visible from here. Known, as the next two, on Unix sockets (unix(7))."""
    uid: int | None = None
    gid: int | None = None
    address: str | None = None
    """The host, where the message came over a network."""


NOBODY: Final = Peer()


class Record(NamedTuple):
    """One message.

    A named tuple, as that is frozen and slotted, and made in a fifth of the time that a dataclass of these takes.

    All text but ``message`` and the values of ``data`` is printable ASCII. Octets of ``message`` that are no UTF-8 stand
    in it as surrogates, by which they can be had back (PEP 383).
    """

    facility: int
    severity: int
    timestamp: datetime | None
    """When it was sent, as it claims, with a zone; ``None``: it does not say."""
    received: datetime
    hostname: str | None
    """Where it comes from, as it claims."""
    program: str | None
    procid: str | None
    """Of whom, as it claims: ``peer`` knows better."""
    msgid: str | None
    data: StructuredData
    message: str
    peer: Peer
    truncated: bool = False
    """Whether it was longer than the sink receives, and its end is lost."""
