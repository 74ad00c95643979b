"""``Requests``: all that runs in a service, and how it is brought to an end.

Connections are in their registry, whichever model serves them. A datagram is looked after only while a thread or a
greenlet has it, and a child for as long as it lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from framework.children import Children
from framework.connection import Connection, Phase
from framework.connections import Connections
from framework.events import CloseReason
from framework.lifecycle import DrainResult

__all__ = ["FRESH", "GRACE", "Requests"]

# How long a client that has connected may take to get its first request through, once the server drains, in seconds:
# a round trip across the world and a retransmission (RFC 6298, section 2). Go's http.Server grants it 5 s.
FRESH = 1.0
# What a connection counts when it has begun to read a line, which is one turn for the reader and one for the
# connection, and has not written yet.
_FIRST_READ = 2
# After a connection was cut, how long its handler gets to notice, in seconds.
GRACE = 1.0


class Requests:
    """The requests of one service, in one process.

    Args:
        collect: called with seconds; waits that long at most for a child to end, and collects it.
    """

    def __init__(self, collect: Callable[[float], None]) -> None:
        self.connections = Connections()
        self.children = Children()
        self._datagrams: dict[int, object] = {}
        self._collect = collect

    def __len__(self) -> int:
        return len(self._all())

    def begin(self, datagram: object) -> None:
        """Take note that a datagram is handed to somebody."""
        self._datagrams[id(datagram)] = datagram

    def end(self, datagram: object) -> None:
        """Take note that it was served; of one that was not handed to anybody, nothing."""
        if self._datagrams.pop(id(datagram), None) is not None:
            self.connections.poke()

    def _all(self) -> set[object]:
        lone = (child for child in self.children if not isinstance(child.request, Connection))
        return {*self.connections, *lone, *list(self._datagrams)}

    # -- a drain -----------------------------------------------------------------------------------------------

    def drain(self, seconds: float, let_go: Callable[[], bool]) -> DrainResult:
        """Ask every request to end, and after ``seconds`` end it.

        Args:
            seconds: until those that still run are cut.
            let_go: tells whether the loop takes no more, after which ``connections.poke()`` is called.
        """
        asked = self._all()
        self.ask_to_end(fresh=False)
        first = min(FRESH, seconds)
        # The loop may be accepting one just now: it is over when the loop has let go of the listener, too.
        over = self._wait(first) and self.connections.wait_for(lambda _: let_go(), first)
        if not over:
            self.ask_to_end()
            over = self._wait(seconds - first)
        late = set[object]() if over else self._all()
        if late:
            self.cut_all()
        self._wait(GRACE if late else 0)
        abandoned = late & self._all()
        return DrainResult(len(asked - late), len(late) - len(abandoned), len(abandoned))

    def _wait(self, seconds: float) -> bool:
        """Wait until all have ended, for ``seconds`` at most; tell whether they have."""
        deadline = time.monotonic() + seconds
        # Whether or not the loop still runs, which would collect them too.
        while self.children and (left := deadline - time.monotonic()) > 0:
            self._collect(left)
        left = max(deadline - time.monotonic(), 0)
        gone = self.connections.wait_for(lambda count: count == 0 and not self._datagrams, left)
        return gone and not self.children

    def ask_to_end(self, *, fresh: bool = True) -> None:
        """Let connections that wait for a request meet the end of their input, now or when they wait next.

        Args:
            fresh: also those that have only just been opened, and may not have got their first request through yet.
        """
        oldest = time.monotonic() - FRESH
        for connection in self.connections:
            if connection.closing:
                continue  # and may be reading what is left, for a bounded time
            if not fresh and connection.opened > oldest and connection.turns <= _FIRST_READ:
                continue
            connection.drained = True
            if connection.phase is Phase.IDLE:
                connection.end_input(CloseReason.DRAIN)
        self.children.tell_to_end()  # who look at their connections likewise

    def cut_all(self) -> None:
        """End all connections, both ways, and all children."""
        for connection in self.connections:
            connection.cut(CloseReason.DRAIN)
        self.children.kill()
