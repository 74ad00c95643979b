"""Telling secondaries that a zone has changed (RFC 1996)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from functools import partial

from servers.resolver.exchange import Datagram, FailedError
from servers.resolver.exchanges import Exchanges
from servers.resolver.message import FormatError, parse, query
from servers.resolver.names import to_text
from servers.resolver.records import Type
from servers.resolver.zone import Zone

__all__ = ["notify"]

_log = logging.getLogger(__name__)

_AA, _QR, _NOTIFY, _OPCODE = 0x0400, 0x8000, 4 << 11, 0x7800
# RFC 1996, section 3.6: some five times, a minute apart or so; the first ones sooner, as datagrams get lost.
_WAITS = (2.0, 5.0, 15.0, 60.0, 60.0)


def notify(exchanges: Exchanges, zones: Iterable[Zone], secondaries: Iterable[tuple[str, int]]) -> None:
    """Tell each secondary of each zone, in the thread of the exchanges; tried again until it is acknowledged."""
    servers = tuple(secondaries)
    for zone in zones:
        for server in servers:
            exchanges.call(partial(_tell, exchanges, zone, server, 0))


def _tell(exchanges: Exchanges, zone: Zone, server: tuple[str, int], attempt: int) -> None:
    number = secrets.randbits(16)
    packet = query(number, zone.soa.name, Type.SOA, flags=_NOTIFY | _AA, answer=(zone.soa,))

    def heard(result: int | FailedError) -> None:
        if result == 0:
            _log.info("%s:%d knows of %s, serial %d", *server, to_text(zone.origin), zone.serial)
        elif not isinstance(result, FailedError):
            _log.warning("%s:%d answers the NOTIFY of %s by code %d", *server, to_text(zone.origin), result)
        elif attempt + 1 < len(_WAITS):
            # Refused at once, it would be tried again at once.
            exchanges.later(_WAITS[attempt], partial(_tell, exchanges, zone, server, attempt + 1))
        else:
            _log.warning("%s:%d was not told of %s: %s", *server, to_text(zone.origin), result)

    Datagram(exchanges, server, packet, partial(_rcode, number), heard).start(_WAITS[attempt])


def _rcode(number: int, data: bytes) -> int | None:
    """Return the code of an answer to a NOTIFY, or ``None`` if it is none."""
    try:
        message = parse(data)
    except FormatError:
        return None
    if message.id != number or message.flags & (_QR | _OPCODE) != _QR | _NOTIFY:
        return None
    return message.rcode
