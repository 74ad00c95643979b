"""The deadlines of a service, enforced by a sweep over all connections.

Reading and writing stay as cheap as they were: they count turns and say in which phase the connection is, and
look at no clock. A deadline comes true up to a tick late.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from framework.connection import Connection, Phase
from framework.events import CloseReason
from framework.limits import Limits

__all__ = ["TICK", "sweep", "tick"]

# Half a second late is nothing to deadlines of a minute; two turns a second cost nothing.
TICK = 0.5


def tick(limits: Limits) -> float:
    """Return how often to sweep, in seconds: where a deadline is short, a quarter of it."""
    timeouts = (limits.idle_timeout, limits.read_timeout, limits.write_timeout, limits.lifetime)
    return min([TICK, *(timeout / 4 for timeout in timeouts if timeout)])


def sweep(limits: Limits, connections: Iterable[Connection], now: float) -> None:
    """End what has taken too long, and send what a handler has held for too long.

    Args:
        limits: the deadlines.
        connections: all that are open.
        now: on the monotonic clock.
    """
    patience = {
        Phase.IDLE: limits.idle_timeout,
        Phase.READING: limits.read_timeout,
        Phase.WRITING: limits.write_timeout,
    }
    for connection in connections:
        if connection.holds:
            with contextlib.suppress(OSError):  # for the handler to meet
                connection.push()
        if connection.turns != connection.seen:
            connection.seen = connection.turns
            connection.since = now
        if limits.lifetime is not None and now - connection.opened > limits.lifetime:
            connection.cut(CloseReason.TIMEOUT)
            continue
        limit = patience.get(connection.phase)
        if limit is None or now - connection.since <= limit:
            continue
        if connection.closing and connection.phase is not Phase.WRITING:
            continue
        # The end of its input first, so that a handler may say why; what that does not end is cut.
        if connection.phase is Phase.WRITING or connection.reason is CloseReason.TIMEOUT:
            connection.cut(CloseReason.TIMEOUT)
        else:
            connection.drained = True
            connection.end_input(CloseReason.TIMEOUT)
            connection.since = now
