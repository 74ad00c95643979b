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
import errno
import io
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

from framework.events import CloseReason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Connection", "Connections", "HandshakeError", "LineTooLongError", "Phase", "Reader"]

# Octets of a line that ``rfile`` reads, unless a service says otherwise. Twisted's limit.
LINE_LIMIT = 16384
# Octets asked of one recv(): more than most peers have under way, less than a page table notices.
_CHUNK = 32768
# Octets held at most. Beyond, there is little left to gain from fewer system calls.
_HELD = 65536
# Octets of one send within a sendall(): each of these must get through within the write deadline.
_PIECE = 262144


# Between whoever sends what was held and the loop that sends it meanwhile, so that it stays in order.
_releasing = threading.Lock()


def _after_fork() -> None:
    """Make the lock anew: a thread of the parent may have held it, and is not here to let go."""
    global _releasing  # noqa: PLW0603
    _releasing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


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


class HandshakeError(ConnectionError):
    """What has to come before the first request did not come about: a TLS handshake, or a proxy's header."""


class Connection(socket.socket):
    """A connected stream socket, as a service hands it to a handler."""

    __slots__ = (
        "_held",
        "_held_size",
        "_reader",
        "_tls",
        "address",
        "adopt",
        "closing",
        "descriptor",
        "drained",
        "group",
        "handshake_end",
        "hub",
        "line_limit",
        "number",
        "opened",
        "patience",
        "phase",
        "proxy",
        "reason",
        "seen",
        "since",
        "turns",
        "watched",
    )

    # The parameters of the original, by which dup() makes another.
    def __init__(self, family: int, type: int, proto: int, fileno: int) -> None:  # noqa: A002
        super().__init__(family, type, proto, fileno)
        self.address: Any = None  # whatever the family says it is
        self.descriptor = fileno
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
        self.closing = False
        """Whether somebody is about to close it already."""
        self.line_limit = 0
        self.patience: float | None = None
        """Seconds that ``settimeout()`` set, where the descriptor itself does not block."""
        self.proxy: Any = None
        """What a proxy said about the client, where a ``ProxyMixIn`` asks for that."""
        self.handshake_end: float | None = None
        """When all that comes before the handler must be over, on the monotonic clock."""
        self.adopt: Callable[[Any], object] | None = None
        """Set by a model that calls an ``ExchangeHandler`` once per exchange: takes the handler in."""
        self.watched = False
        """Whether it has been parked before."""
        self._tls: Any = None  # of a connection over TLS: its session
        self._held: list[bytes] = []
        self._held_size = 0
        self._reader: Reader | None = None

    # -- how octets come and go ----------------------------------------------------------------------------------
    #
    # Everything below reads and writes by these four. A subclass that has another way, such as one through TLS,
    # overrides them and uses super()'s for its own octets: so one such way can stand on another.

    raw_recv = socket.socket.recv
    raw_recv_into = socket.socket.recv_into
    raw_send = socket.socket.send
    raw_sendall = socket.socket.sendall

    def swallow(self, size: int, flags: int = 0) -> int:
        """Receive what nobody will read; return how many octets have come."""
        return len(self.raw_recv(size, flags))

    # Makes the lock that keeps two writers apart while one of them waits for the peer.
    new_lock: Callable[[], Any] = staticmethod(threading.Lock)

    # -- reading -----------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, as ``socket.recv()``; an end of the input when the server drains."""
        if self._held:
            self.release()
        # Idle already: the last call ran into the handler's own timeout, and this is still the same wait.
        if self.phase is not _IDLE:
            self.turns += 1
            self.phase = _IDLE
        # After the phase: a drain sets this first and looks at the phase second, so one of the two sees the other.
        if self.drained:
            self.reason = self.reason or CloseReason.DRAIN
            return b""
        data = self.raw_recv(bufsize, flags)
        self.phase = _BUSY
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, as ``socket.recv_into()``; an end of the input when the server drains."""
        if self._held:
            self.release()
        if self.phase is not _IDLE:
            self.turns += 1
            self.phase = _IDLE
        if self.drained:
            self.reason = self.reason or CloseReason.DRAIN
            return 0
        size = self.raw_recv_into(buffer, nbytes, flags)
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
        data = self.raw_recv(_CHUNK)
        self.phase = _BUSY
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def makefile(  # the overloads of the original, of which one is replaced
        self, mode: str = "r", buffering: int | None = None, **text: Any
    ) -> Any:
        """Return a file, as ``socket.makefile()``; for reading bytes with a buffer, a ``Reader``."""
        if mode == "rb" and buffering != 0:
            self._reader = Reader(self)
            return self._reader
        return super().makefile(mode, buffering, **text)  # type: ignore[call-overload]

    # -- being parked ------------------------------------------------------------------------------------------
    #
    # Where a connection waits for its next request without a thread, these say whether it has to.

    def poll(self) -> bool:
        """Receive what is there, without waiting; tell whether a read would return at once."""
        reader = self._reader
        # With a timeout, the socket module waits for that long whatever the flags.
        if reader is None or self.gettimeout() is not None:
            return False
        if reader.pending or self.rest():
            return True
        try:
            data = self.raw_recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self.phase = _BUSY
        if not data:
            self.reason = self.reason or CloseReason.PEER
        reader.fill(data)
        return True

    def rest(self) -> bool:
        """Begin to wait for the next request; tell whether that is in vain, since the server drains."""
        if self._held:
            self.release()
        if self.phase is not _IDLE:
            self.turns += 1
            self.phase = _IDLE
        return self.drained  # after the phase, as in recv()

    def woken(self) -> bool:
        """Go on in the calling thread, as the system says that there is input; tell whether a read would return."""
        if self._reader is not None:
            self._reader.owner = threading.get_ident()
        return True

    @property
    def buffered(self) -> bool:
        """Whether input has come that has not been read, and that the system knows nothing of."""
        return self._reader is not None and self._reader.pending

    # -- writing -----------------------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, as ``socket.send()``."""
        if flags & socket.MSG_DONTWAIT:
            if self._held and not self.push():
                raise BlockingIOError(errno.EAGAIN, "what was said before has not been sent yet")
            return self.raw_send(data, flags)
        if self._held:
            self.release()
        before = self.phase
        self.turns += 1
        self.phase = _WRITING
        try:
            return self.raw_send(data, flags)
        finally:
            if self.phase is _WRITING:
                self.phase = before

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of ``data``, now or, while pipelined requests wait to be read, together with their replies.

        Only what the handler's own thread sends is held: it is that one which will read on.
        """
        reader = self._reader
        if reader is not None and (reader.pending or self._held) and reader.owner == threading.get_ident():
            if not flags:
                piece = bytes(data)
                self._held.append(piece)
                self._held_size += len(piece)
                if not reader.pending or self._held_size >= _HELD:
                    self.release()
                return
            self.release()
        self._write(data, flags)

    def sendmsg(self, *args: Any) -> int:
        """Send, as ``socket.sendmsg()``."""
        if self._held:
            self.release()
        return super().sendmsg(*args)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, as ``socket.sendfile()``."""
        if self._held:
            self.release()
        return super().sendfile(file, offset, count)

    @property
    def holds(self) -> bool:
        """Whether something was given to ``sendall()`` that has not been sent."""
        return bool(self._held)

    def release(self) -> None:
        """Send what was held."""
        with _releasing:
            data = b"".join(self._held)
            self._held.clear()
            self._held_size = 0
        self._write(data, 0)

    def push(self) -> bool:
        """Send as much of what was held as the peer takes at once, from any thread; tell whether that was all.

        The loop calls it now and then, for handlers that go on to something long with input still unread.
        """
        with _releasing, contextlib.suppress(BlockingIOError):
            while self._held:
                count = len(self._held)  # the handler may go on appending
                data = b"".join(self._held[:count])
                sent = self.raw_send(data, socket.MSG_DONTWAIT)
                self._held[:count] = [data[sent:]] if sent < len(data) else []
                self._held_size = max(0, self._held_size - sent)
        return not self._held

    def _write(self, data: ReadableBuffer, flags: int) -> None:
        before = self.phase
        self.turns += 1
        self.phase = _WRITING
        try:
            if type(data) is bytes and len(data) <= _PIECE:  # as mostly
                self.raw_sendall(data, flags)
                return
            with memoryview(data) as view, view.cast("B") as octets:
                for start in range(0, len(octets), _PIECE):
                    self.raw_sendall(octets[start : start + _PIECE], flags)
                    self.turns += 1
        finally:
            # Whoever writes from another thread found the handler's waiting for input, and leaves it so.
            if self.phase is _WRITING:
                self.phase = before

    # -- before the handler ------------------------------------------------------------------------------------

    def handshake_within(self, seconds: float | None) -> float:
        """Return when the handshake must be over: ``seconds`` from the first time that is asked."""
        if self.handshake_end is None:
            self.handshake_end = math.inf if seconds is None else time.monotonic() + seconds
        return self.handshake_end

    def wait_until(self, end: float) -> None:
        """Let the next read or write wait until ``end`` on the monotonic clock.

        Raises:
            TimeoutError: that is past.
        """
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(None if left == math.inf else left)

    # -- ending --------------------------------------------------------------------------------------------------

    def shutdown(self, how: int, /) -> None:
        """Shut down, as ``socket.shutdown()``, once what was held has been sent."""
        if self._held and how != socket.SHUT_RD:
            self.release()
        super().shutdown(how)

    def detach(self) -> int:
        """Give the descriptor away, as ``socket.detach()``, once what was held has been sent."""
        if self._held:
            self.release()
        return super().detach()

    def close(self) -> None:
        """Close, as ``socket.close()``, once what was held has been sent."""
        if self._held:
            with contextlib.suppress(OSError):  # nobody is left to take it
                self.release()
        self._reader = None
        super().close()

    # -- from another thread -------------------------------------------------------------------------------------

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
        self._data: bytes = b""  # and so whenever nothing is pending
        self._position: int = 0
        self._in_part = False
        self.owner = threading.get_ident()
        """The thread that reads."""
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
            self.fill(self._connection.recv(_CHUNK))
            if not self.pending:
                return b""
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
            if not data:
                return
            self._data, self._position, self.pending = data, start, True
            yield self._readline_in_parts()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read exactly ``size`` octets, or all there will be; less at the end of the input."""
        if size is None or size == -1:
            wanted = sys.maxsize
        elif size < 0:
            raise ValueError("read length must be non-negative or -1")
        else:
            wanted = size
        have = len(self._data) - self._position
        if have < wanted:
            parts = [self._data[self._position :]]
            try:
                while have < wanted and (chunk := self._receive(begun=have > 0)):
                    parts.append(chunk)
                    have += len(chunk)
            finally:
                self.fill(b"".join(parts))
            self._in_part = False
        return self._take(self._position + min(have, wanted))

    def read1(self, size: int = -1, /) -> bytes:
        """Read what is there, up to ``size`` octets, after waiting once if nothing is."""
        if not size:
            return b""
        if not self.pending:
            self.fill(self._receive(begun=False))
        end = len(self._data) if size < 0 else min(self._position + size, len(self._data))
        return self._take(end)

    def peek(self, size: int = 0, /) -> bytes:
        """Return what is there without reading it, after waiting once if nothing is."""
        if not self.pending:
            self.fill(self._connection.recv(_CHUNK))
        return self._data[self._position :]

    def close(self) -> None:
        """Read no more; the connection stays open."""
        self.fill(b"")
        self._connection = _CLOSED
        super().close()

    def _readline_in_parts(self) -> bytes:
        limit = self._connection.line_limit
        # One octet more tells a line that is too long from one that ends with the input.
        line = self._readline_within(limit + 1)
        if len(line) > limit:
            self.fill(line + self._data[self._position :])
            raise LineTooLongError(f"a line of more than {limit} octets")
        return line

    def _readline_within(self, limit: int) -> bytes:
        data = self._data[self._position :]
        searched = 0
        try:
            while not (end := data.find(b"\n", searched, limit) + 1) and len(data) < limit:
                searched = len(data)
                chunk = self._receive(begun=searched > 0)
                if not chunk:
                    break
                data += chunk
        finally:
            self.fill(data)
        self._in_part = False
        return self._take(end or min(limit, len(data)))

    def _receive(self, *, begun: bool) -> bytes:
        self.pending = False
        if not begun:
            return self._connection.recv(_CHUNK)
        if not self._in_part:
            # The deadline of the whole read begins here, and goes on if a read that timed out is tried again.
            self._in_part = True
            self._connection.turns += 1
        return self._connection.recv_rest()

    def fill(self, data: bytes) -> None:
        """Take in all there is to read from now on, but for what is still to be received."""
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


class _Closed:
    """What a closed ``Reader`` reads from."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError("I/O operation on a closed file")


_CLOSED = cast("Connection", _Closed())


class Connections:
    """The registry of the open connections."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._open: dict[Connection, None] = {}
        self._unclaimed: dict[Connection, object] = {}
        self._groups: dict[bytes, int] = {}
        self._leaving = 0
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
            self._unclaimed[connection] = None
            if connection.group is not None:
                self._groups[connection.group] = self._groups.get(connection.group, 0) + 1
            if self._waiters:
                self._changed.notify_all()

    def claim(self, connection: Connection) -> bool:
        """Tell whether the caller is the first to close a connection that is open: whoever is told so closes it."""
        # No lock, for which the loop and all workers would queue: pop() happens once for each key.
        if self._unclaimed.pop(connection, self) is self:
            return False
        connection.closing = True
        return True

    def remove(self, connection: Connection, *, settled: bool = True) -> int:
        """Take out a connection, and return how many are left; unless ``settled``, it counts until ``settle()``."""
        with self._changed:
            del self._open[connection]
            self._unclaimed.pop(connection, None)
            if not settled:
                self._leaving += 1
            elif self._waiters:
                self._changed.notify_all()
            group = connection.group
            if group is not None:
                self._groups[group] -= 1
                if not self._groups[group]:
                    del self._groups[group]
            return len(self._open)

    def settle(self) -> None:
        """Let a connection that was removed count no more for ``wait_for()``: it has been told of."""
        with self._changed:
            self._leaving -= 1
            if self._waiters:
                self._changed.notify_all()

    def poke(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            if self._waiters:
                self._changed.notify_all()

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
                return self._changed.wait_for(lambda: predicate(len(self._open) + self._leaving), timeout)
            finally:
                self._waiters -= 1
