"""``Connection``: a socket that knows what it is doing; ``Connections``: who is open, and since when.

A connection *is* the socket that a handler is given, so an unmodified handler works on it. What it adds:

1. It says which phase it is in. The loop looks at all of them now and then and ends those that stay in one
   for too long, so a deadline costs the one who reads or writes no system call and no look at a clock.
2. ``makefile("rb")`` is a lean ``Reader`` with a cap on lines.
3. While input that was pipelined is still to be read, what is sent is held, and leaves in one piece before
   the next wait for input: a batch of requests costs one ``send()`` instead of one each.
"""

from __future__ import annotations

import contextlib
import enum
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from framework.events import CloseReason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Connection", "Connections", "LineTooLongError", "Phase", "Reader"]

# Octets asked of one recv(): more than most peers have under way, less than a page table notices.
_CHUNK = 32768
# Octets held at most. Beyond, there is little left to gain from fewer system calls.
_HELD = 65536
# Octets of one send within a sendall(): each of these must get through within the write deadline.
_PIECE = 262144

_recv = socket.socket.recv
_recv_into = socket.socket.recv_into
_send = socket.socket.send
_sendall = socket.socket.sendall


class Phase(enum.Enum):
    """What a connection waits for."""

    OPENING = "opening"
    """Its handler, or the end of a handshake."""
    BUSY = "busy"
    """The handler, which is doing something else than reading or writing."""
    IDLE = "idle"
    """Its next request."""
    READING = "reading"
    """The rest of a request that has begun."""
    WRITING = "writing"
    """The peer, to take what is sent to it."""


_BUSY, _IDLE, _READING, _WRITING = Phase.BUSY, Phase.IDLE, Phase.READING, Phase.WRITING


class LineTooLongError(ValueError):
    """A peer sent a line longer than the service's ``line_limit``."""


class Connection(socket.socket):
    """A connected stream socket, as a service hands it to a handler."""

    __slots__ = (
        "_held",
        "_held_size",
        "_reader",
        "address",
        "descriptor",
        "drained",
        "group",
        "hub",
        "line_limit",
        "number",
        "opened",
        "patience",
        "phase",
        "reason",
        "seen",
        "since",
        "turns",
    )

    def __init__(self, family: int, kind: int, protocol: int, descriptor: int) -> None:
        super().__init__(family, kind, protocol, descriptor)
        self.address: Any = None  # whatever the family says it is
        self.descriptor = descriptor
        self.hub: Any = None  # of a greenlet's connection: the one it waits on
        self.group: bytes | None = None
        self.number = 0
        self.opened = 0.0
        self.phase = Phase.OPENING
        self.turns = 0
        """Counts what was begun to be read or written: the sweep tells by it for how long that has been."""
        self.seen = -1
        self.since = 0.0
        self.reason: CloseReason | None = None
        self.drained = False
        """Whether to read no further request."""
        self.line_limit = 0
        self.patience: float | None = None
        """Seconds that ``settimeout()`` set, where the descriptor itself does not block."""
        self._held: list[bytes] = []
        self._held_size = 0
        self._reader: Reader | None = None

    # -- reading -----------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, as ``socket.recv()``; an end of the input when the server drains."""
        if self._held:
            self.release()
        self.turns += 1
        self.phase = _IDLE
        # After the phase: a drain sets this first and looks at the phase second, so one of the two sees the other.
        if self.drained:
            self.reason = self.reason or CloseReason.DRAIN
            return b""
        data = _recv(self, bufsize, flags)
        self.phase = _BUSY
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, as ``socket.recv_into()``; an end of the input when the server drains."""
        if self._held:
            self.release()
        self.turns += 1
        self.phase = _IDLE
        if self.drained:
            self.reason = self.reason or CloseReason.DRAIN
            return 0
        size = _recv_into(self, buffer, nbytes, flags)
        self.phase = _BUSY
        if not size and self.reason is None:
            self.reason = CloseReason.PEER
        return size

    def recv_rest(self) -> bytes:
        """Receive more of a request that has begun, for which a drain waits."""
        if self._held:
            self.release()
        # No turn is counted: the deadline is that of the whole read, whatever the peer dribbles.
        self.phase = _READING
        data = _recv(self, _CHUNK)
        self.phase = _BUSY
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def makefile(  # the overloads of the original, of which one is replaced
        self, mode: str = "r", buffering: int | None = None, **text: Any
    ) -> Any:
        """Return a file, as ``socket.makefile()``; for reading bytes with a buffer, a ``Reader``."""
        if mode == "rb" and buffering in {None, -1}:
            self._reader = Reader(self)
            return self._reader
        return super().makefile(mode, buffering, **text)  # type: ignore[call-overload]

    # -- writing -----------------------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, as ``socket.send()``."""
        if self._held and not flags & socket.MSG_DONTWAIT:
            self.release()
        return _send(self, data, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of ``data``, now or, while pipelined requests wait to be read, together with their replies."""
        reader = self._reader
        if reader is not None and reader.pending:
            piece = bytes(data)
            self._held.append(piece)
            self._held_size += len(piece)
            if self._held_size < _HELD:
                return
            self.release()
            return
        if self._held:
            self.release()
        self._write(data, flags)

    @property
    def holds(self) -> bool:
        """Whether something was given to ``sendall()`` that has not been sent."""
        return bool(self._held)

    def release(self) -> None:
        """Send what was held."""
        data = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        self._write(data, 0)

    def _write(self, data: ReadableBuffer, flags: int) -> None:
        self.turns += 1
        self.phase = _WRITING
        with memoryview(data) as view:
            if view.nbytes <= _PIECE:
                _sendall(self, data, flags)
            else:
                with view.cast("B") as octets:
                    for start in range(0, len(octets), _PIECE):
                        _sendall(self, octets[start : start + _PIECE], flags)
                        self.turns += 1
        self.phase = _BUSY

    # -- ending, from another thread -----------------------------------------------------------------------------

    def end_input(self, reason: CloseReason) -> None:
        """Let the handler meet the end of its input; what is sent still leaves."""
        if self.reason is None:
            self.reason = reason
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RD)

    def cut(self, reason: CloseReason) -> None:
        """End both directions at once."""
        if self.reason is None:
            self.reason = reason
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)


class Reader(io.BufferedIOBase):
    """A connection's input as a file.

    Raises:
        LineTooLongError: from ``readline()`` without a limit of its own, and from iteration.
    """

    _data: bytes
    _position: int

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._data = b""  # and so whenever nothing is pending
        self._position = 0
        self.pending = False
        """Whether input was received that has not been read."""

    def readable(self) -> Literal[True]:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._connection.fileno()

    def readline(self, limit: int | None = -1, /) -> bytes:
        """Read up to and including the next LF, or up to ``limit`` octets; less at the end of the input."""
        if limit is not None and limit >= 0:
            return self._readline_within(limit)
        if not self.pending:
            self._keep(self._connection.recv(_CHUNK))
        data, start = self._data, self._position
        end = data.find(b"\n", start) + 1
        if end and end - start <= self._connection.line_limit:
            return self._take(end)
        return self._readline_in_parts()

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        limit = connection.line_limit
        while True:
            # readline(), without its calls, where a whole line is there or comes at once.
            if self.pending:
                data, start = self._data, self._position
            else:
                data, start = connection.recv(_CHUNK), 0
            end = data.find(b"\n", start) + 1
            if end and end - start <= limit:
                if end == len(data):
                    if self.pending:
                        self._data, self._position, self.pending = b"", 0, False
                    yield data[start:] if start else data
                else:
                    self._data, self._position, self.pending = data, end, True
                    yield data[start:end]
                continue
            self._data, self._position, self.pending = data, start, start < len(data)
            line = self._readline_in_parts()
            if not line:
                return
            yield line

    def read(self, size: int | None = -1, /) -> bytes:
        """Read exactly ``size`` octets, or all there will be; less at the end of the input."""
        wanted = float("inf") if size is None or size < 0 else size
        parts = [self._data[self._position :]]
        self._connection.turns += 1
        have = len(parts[0])
        while have < wanted:
            chunk = self._receive(begun=have > 0)
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        self._keep(b"".join(parts))
        return self._take(len(self._data) if have < wanted or size is None or size < 0 else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Read what is there, up to ``size`` octets, after waiting once if nothing is."""
        if not self.pending:
            self._keep(self._receive(begun=False))
        end = len(self._data) if size < 0 else min(self._position + size, len(self._data))
        return self._take(end)

    def peek(self, size: int = 0, /) -> bytes:
        """Return what is there without reading it, after waiting once if nothing is."""
        if not self.pending:
            self._keep(self._receive(begun=False))
        return self._data[self._position :]

    def _readline_in_parts(self) -> bytes:
        limit = self._connection.line_limit
        data = self._data[self._position :]
        self._connection.turns += 1
        searched = 0
        while True:
            end = data.find(b"\n", searched) + 1
            if (end or len(data)) > limit:
                self._keep(data)
                raise LineTooLongError(f"a line of more than {limit} octets")
            if end or not data:
                break
            searched = len(data)
            chunk = self._receive(begun=True)
            if not chunk:
                end = len(data)
                break
            data += chunk
        self._keep(data)
        return self._take(end)

    def _readline_within(self, limit: int) -> bytes:
        data = self._data[self._position :]
        self._connection.turns += 1
        while b"\n" not in data and len(data) < limit:
            chunk = self._receive(begun=bool(data))
            if not chunk:
                break
            data += chunk
        self._keep(data)
        end = data.find(b"\n", 0, limit) + 1
        return self._take(end or min(limit, len(data)))

    def _receive(self, *, begun: bool) -> bytes:
        self.pending = False
        return self._connection.recv_rest() if begun else self._connection.recv(_CHUNK)

    def _keep(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self.pending = bool(data)

    def _take(self, end: int) -> bytes:
        taken = self._data[self._position : end]
        self._position = end
        self.pending = end < len(self._data)
        if not self.pending:
            self._data, self._position = b"", 0
        return taken


class Connections:
    """The registry of the open connections."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._open: dict[Connection, None] = {}
        self._groups: dict[bytes, int] = {}
        self._waiters = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        with self._changed:
            return iter(list(self._open))

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def add(self, connection: Connection) -> None:
        """Take in a connection that was just accepted."""
        with self._changed:
            self._number += 1
            connection.number = self._number
            connection.opened = time.monotonic()
            self._open[connection] = None
            if connection.group is not None:
                self._groups[connection.group] = self._groups.get(connection.group, 0) + 1
            if self._waiters:
                self._changed.notify_all()

    def remove(self, connection: Connection) -> bool:
        """Take out a connection; tell whether it was there: whoever is told so closes it."""
        with self._changed:
            if connection not in self._open:
                return False
            del self._open[connection]
            group = connection.group
            if group is not None:
                self._groups[group] -= 1
                if not self._groups[group]:
                    del self._groups[group]
            if self._waiters:
                self._changed.notify_all()
            return True

    def of_group(self, group: bytes | None) -> int:
        """Return how many connections are open from one group of peers."""
        return 0 if group is None else self._groups.get(group, 0)

    def wait_for(self, predicate: Callable[[int], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate`` holds for the number of open connections, for ``timeout`` seconds at most.

        Returns:
            Whether it holds.
        """
        with self._changed:
            self._waiters += 1
            try:
                return self._changed.wait_for(lambda: predicate(len(self._open)), timeout)
            finally:
                self._waiters -= 1
