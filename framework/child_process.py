"""A forking service in one of its children, which has no loop: who looks after its only connection."""

from __future__ import annotations

import math
import selectors
import time
from collections.abc import Callable

from framework._loop import Loop
from framework.connection import Connection, Phase
from framework.deadlines import sweep, tick
from framework.limits import Limits
from framework.requests import FRESH, GRACE, Requests

__all__ = ["attend"]


def attend(
    connection: Connection,
    requests: Requests,
    limits: Limits,
    told: int,
    drain: Callable[[], None],
    give_up: Callable[[], None],
) -> None:
    """Do for a child's only connection what the loop does for those of the parent; for ever, on a thread of its own.

    Args:
        connection: the one.
        requests: has that one alone.
        limits: whose deadlines hold.
        told: a descriptor that turns readable when the child is to come to its end.
        drain: called then.
        give_up: called when the handshake hangs although its time is over: on a lock that nobody here will release.
    """
    drained_at = math.inf
    every = tick(limits)
    with Loop(selectors.DefaultSelector()) as loop:
        loop.watch(told)
        while True:
            if loop.wait(every):
                loop.unwatch(told)
                drain()
                drained_at = time.monotonic()
            now = time.monotonic()
            if now >= drained_at:
                requests.ask_to_end(fresh=now >= drained_at + FRESH)
            sweep(limits, requests.connections, now)
            handshake_end = connection.handshake_end
            if connection.phase is Phase.OPENING and handshake_end and now > handshake_end + GRACE:
                give_up()
