"""A close that loses no reply.

close(2) answers what was not read by a reset, and a reset overtakes the reply that is under way (RFC 1122,
section 4.2.2.13; RFC 9112, section 9.6). So what the peer has sent and nobody read is swallowed first.
"""

from __future__ import annotations

import contextlib
import socket
import time

from framework.connection import Connection, Phase
from framework.events import CloseReason

__all__ = ["linger"]

# As gunicorn does.
_SECONDS = 2.0
_OCTETS = 65536

# Looked up for each connection, and a lookup on an Enum costs a call up to Python 3.11.
_PEER, _TIMEOUT = CloseReason.PEER, CloseReason.TIMEOUT


def linger(connection: Connection) -> None:
    """Swallow what is unread, bounded in time and octets; where that is nothing, it costs one system call."""
    reason = connection.reason
    if reason is _PEER or reason is _TIMEOUT:
        return
    try:
        if connection.gettimeout() is not None:
            connection.settimeout(None)  # else the module would wait, whatever the flags
        swallowed = connection.swallow(_OCTETS, socket.MSG_DONTWAIT)
    except OSError:
        return
    if not swallowed:
        return  # the peer has closed as well
    # Without a handler so far this is the loop, which no peer may hold up.
    unserved = connection.phase is Phase.OPENING or reason is CloseReason.REFUSED
    seconds = 0 if unserved else _SECONDS
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        deadline = time.monotonic() + seconds
        while swallowed < _OCTETS and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            octets = connection.swallow(_OCTETS)
            if not octets:
                return
            swallowed += octets
