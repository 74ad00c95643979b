"""``GreenConnection``: a connection on which waiting parks the greenlet; ``connect()`` makes one to another server."""

from __future__ import annotations

import contextlib
import socket as _socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from framework.connection import DONTWAIT, HELD, Connection, Phase
from framework.events import CloseReason
from framework.hub import Hub, Waiter, running_hub
from framework.reader import LINE_LIMIT

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["GreenConnection", "connect"]

_IDLE, _BUSY, _WRITING = Phase.IDLE, Phase.BUSY, Phase.WRITING
# Octets of a reply that is small: what it takes to wake a peer is much beside it.
_SMALL = 4096
_get_ident = threading.get_ident
_recv = _socket.socket.recv
_recv_into = _socket.socket.recv_into
_send = _socket.socket.send
_fileno = _socket.socket.fileno


ReceivedT = TypeVar("ReceivedT", bytes, int)


class Turn:
    """A lock that greenlets of one hub wait for; other threads may try to take it, and never wait."""

    def __init__(self) -> None:
        self._hub = running_hub()
        self._taken = threading.Lock()
        self._waiters: deque[Waiter] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        """Take it, and tell whether that was possible."""
        while not self._taken.acquire(blocking=False):
            if not blocking:
                return False
            me = self._hub.current()
            # First this and then another look; release() does it the other way round.
            self._waiters.append(me)
            if not self._taken.locked():
                self._waiters.remove(me)
                continue
            self._hub.park()
        return True

    def release(self) -> None:
        """Give it back; who waits looks again."""
        self._taken.release()
        if self._waiters:
            self._hub.call_soon(self._wake)

    def _wake(self) -> None:
        if self._waiters:
            self._hub.ready(self._waiters.popleft())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()


class GreenConnection(Connection):
    """A connection on which waiting parks the greenlet. Its descriptor does not block."""

    __slots__ = ("_departs",)

    def __init__(self, family: int, type: int, proto: int, fileno: int) -> None:  # noqa: A002 -- see the base
        super().__init__(family, type, proto, fileno)
        self._departs = False  # at the end of the turn, what is held does
        _socket.socket.setblocking(self, False)
        self.hub: Hub = running_hub()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, as ``socket.recv()``; an end of the input when the server drains."""
        hub, descriptor = self.hub, self.descriptor
        if (
            flags
            or (self._held and not self._departs)
            or self.drained
            or self._tls is not None
            or self.patience is not None
            or hub.muted
            or descriptor not in hub.registered
        ):
            return super().recv(bufsize, flags)
        # The same without a call: this is what nearly every request passes through.
        if self.phase is not _IDLE:
            self.turns += 1
            self.phase = _IDLE
        hub.readers[descriptor] = hub.current()
        hub.switch()
        if self._held:
            return super().recv(bufsize)  # depart() has something that is to be waited for first
        try:
            data = _recv(self, bufsize)
        except BlockingIOError:
            return self.recv(bufsize)
        self.phase = _BUSY
        self.received += len(data)
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, as ``socket.send()``."""
        if not flags & DONTWAIT or self._held or self._tls is not None:
            return super().send(data, flags)
        # The same without a call: a fan-out passes here once for each receiver.
        sent = _send(self, data, flags)
        self.sent += sent
        return sent

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of ``data``, now or, while pipelined requests wait to be read, together with their replies."""
        reader = self._reader
        if type(data) is not bytes or flags or self._tls is not None:
            super().sendall(data, flags)
            return
        hub = self.hub
        pipelined = reader is not None and reader.pending and reader.owner == _get_ident()
        if pipelined or ((hub.events or hub.due) and len(data) < _SMALL):
            # The same without a call, here too: a pipeline has one for each of its replies.
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size >= HELD:
                self.release()
            elif not (pipelined or self._departs):
                self._departs = True
                hub.departing.append(self)
            return
        if self._held:
            super().sendall(data)
            return
        # What leaves at once needs no phase: nobody looks before it has left.
        self.turns += 1
        try:
            sent = _send(self, data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            before, self.phase = self.phase, _WRITING
            with memoryview(data) as octets:
                self._send_rest(octets, sent, flags)
            self.phase = before
        self.sent += len(data)

    def send_later(self, data: bytes) -> None:
        """Send ``data`` at the end of the hub's turn, without waiting: who reads on waits until the peer has taken it.

        For actions ``at_turn_end()``, which are no greenlet's, and so cannot wait; legal on the hub's thread only.
        """
        self._held.append(data)
        self._held_size += len(data)
        if not self._departs:
            self._departs = True
            self.hub.departing.append(self)

    def depart(self) -> None:
        """Send what was kept until the end of the hub's turn."""
        self._departs = False
        held = self._held
        try:
            if self._tls is not None or len(held) != 1:
                if self.push():
                    return
            else:
                # The same without a call, and without a lock: all of this is the hub's thread.
                data = held[0]
                sent = _send(self, data)
                self.sent += sent
                self._held_size -= sent
                if sent == len(data):
                    held.clear()
                    return
                held[0] = data[sent:]
        except BlockingIOError:
            pass
        except OSError:
            return  # the peer has gone, which whoever reads will meet
        # It does not take it all at once. That is waited for before more of it is read.
        reader = self.hub.readers.pop(self.descriptor, None)
        if reader is not None:
            reader.switch()

    def _before_waiting(self) -> None:
        if not self._departs:
            self.release()

    # -- how octets come and go: by waiting on the hub ---------------------------------------------------------

    new_lock = Turn

    def raw_recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, when there is something."""
        return self._when_readable(flags, _recv, bufsize, flags)

    def raw_recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, when there is something."""
        return self._when_readable(flags, _recv_into, buffer, nbytes, flags)

    def _when_readable(self, flags: int, receive: Callable[..., ReceivedT], *args: Any) -> ReceivedT:
        # A client's first octets have often come with it. Only those: who always found some would never park.
        wait = bool(self.received)
        while True:
            if wait:
                self._wait_readable(flags)
                if self._held:
                    self._before_waiting()  # depart() has something that is to be waited for first
            wait = True
            try:
                return receive(self, *args)
            except BlockingIOError:
                if flags & DONTWAIT or self.patience == 0:
                    raise

    def raw_send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send some, when there is room."""
        while True:
            try:
                return _send(self, data, flags)
            except BlockingIOError:
                if flags & DONTWAIT:
                    raise
            self.wait_writable()

    def raw_sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all, as there is room."""
        with memoryview(data) as view, view.cast("B") as octets:
            self._send_rest(octets, self.raw_send(octets, flags), flags)

    def _send_rest(self, octets: memoryview, sent: int, flags: int) -> None:
        while sent < len(octets):
            self.wait_writable()
            with contextlib.suppress(BlockingIOError):
                sent += _send(self, octets[sent:], flags)
                self.turns += 1

    def _wait_readable(self, flags: int) -> None:
        if flags & DONTWAIT:
            return
        timeout = self.patience
        if timeout is None:
            self.hub.wait_readable(self.descriptor)
        elif timeout > 0:
            _within(timeout, self.hub.wait_readable, self.descriptor, self.hub.readers)

    def wait_writable(self) -> None:
        """Wait until the connection takes output."""
        timeout = self.patience
        if timeout is None:
            self.hub.wait_writable(self.descriptor)
        elif timeout > 0:
            _within(timeout, self.hub.wait_writable, self.descriptor, self.hub.writers)
        else:
            raise BlockingIOError

    def writable_within(self, seconds: float) -> bool:
        """Wait until the connection takes output, for ``seconds`` at most; tell whether it does. For an ``Outbox``."""
        try:
            _within(seconds, self.hub.wait_writable, self.descriptor, self.hub.writers)
        except TimeoutError:
            return False
        return True

    # -- timeouts, as sockets have them; the descriptor itself never blocks ----------------------------------------

    def settimeout(self, value: float | None, /) -> None:
        """Wait up to ``value`` seconds in each of the calls above; ``None``: for ever, 0: not at all."""
        self.patience = value

    def gettimeout(self) -> float | None:
        """Return what ``settimeout()`` was given."""
        return self.patience

    def setblocking(self, flag: bool, /) -> None:
        """Wait for ever, or not at all."""
        self.patience = None if flag else 0.0

    def detach(self) -> int:
        """Give the descriptor away; the hub forgets it."""
        self.hub.forget(self.descriptor)
        return super().detach()

    def close(self) -> None:
        """Close, and let the hub forget the descriptor."""
        if _fileno(self) >= 0:
            self.hub.forget(self.descriptor)
        super().close()


def _within(timeout: float, wait: Callable[[int], None], descriptor: int, waiters: dict[int, Any]) -> None:
    """Park by ``wait``, for ``timeout`` seconds at most."""
    hub = running_hub()
    me = hub.current()
    expired = False

    def expire() -> None:
        nonlocal expired
        if waiters.get(descriptor) is me:
            del waiters[descriptor]
            expired = True
            me.switch()

    timer = hub.call_later(timeout, expire)
    wait(descriptor)
    timer.cancel()
    if expired:
        raise TimeoutError("timed out")


def connect(address: Any, family: int = _socket.AF_INET, timeout: float | None = None) -> GreenConnection:
    """Connect to a stream server; the connection parks as a request's does.

    Raises:
        OSError: it cannot be connected; ``TimeoutError`` after ``timeout`` seconds.
    """
    plain = _socket.socket(family, _socket.SOCK_STREAM)
    connection = GreenConnection(family, _socket.SOCK_STREAM, 0, plain.detach())
    try:
        _socket.socket.setblocking(connection, False)
        connection.settimeout(timeout)
        try:
            _socket.socket.connect(connection, address)
        except BlockingIOError:
            connection.wait_writable()
            error = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if error:
                raise OSError(error, f"cannot connect to {address!r}") from None
    except BaseException:
        connection.close()
        raise
    connection.line_limit = LINE_LIMIT
    return connection
