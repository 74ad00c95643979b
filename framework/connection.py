"""``Connection``: a socket that knows what it is doing.

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
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from framework.events import CloseReason
from framework.reader import CHUNK, Reader

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Connection", "HandshakeError", "Phase"]

# As a number: with a member of an Enum, each "&" is a call of Python, and a fan-out has one for each receiver.
DONTWAIT = int(socket.MSG_DONTWAIT)

# Octets held at most. Beyond, there is little left to gain from fewer system calls.
HELD = 65536
# Octets of one send within a sendall(): each of these must get through within the write deadline.
_PIECE = 262144


# Between whoever sends what was held and the loop that sends it meanwhile, so that it stays in order.
_releasing = threading.Lock()
# Between whoever shuts a connection down and its owner, who closes it: a moment later its descriptor's number may
# be a stranger's, and Python gives up its own lock before either system call. By one thread again, in a signal handler.
_ending = threading.RLock()


def _after_fork() -> None:
    """Make the locks anew: a thread of the parent may have held one, and is not here to let go."""
    global _releasing, _ending
    _releasing, _ending = threading.Lock(), threading.RLock()


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


_get_ident = threading.get_ident
_BUSY, _IDLE, _READING, _WRITING = Phase.BUSY, Phase.IDLE, Phase.READING, Phase.WRITING


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
        "parting",
        "patience",
        "phase",
        "proxy",
        "reason",
        "received",
        "seen",
        "sent",
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
        self.received: int = 0
        """Octets, as the handler sees them."""
        self.sent: int = 0
        self.drained = False
        """Whether to read no further request, but for what has come already."""
        self.parting = False
        """Whether that has been read, too."""
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
            self._before_waiting()
        # Idle already: the last call ran into the handler's own timeout, and this is still the same wait.
        if self.phase is not _IDLE:
            self.turns += 1
            self.phase = _IDLE
        # After the phase: a drain sets this first and looks at the phase second, so one of the two sees the other.
        if self.drained:
            return self._recv_last(bufsize, flags)
        data = self.raw_recv(bufsize, flags)
        self.phase = _BUSY
        self.received += len(data)
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def _recv_last(self, bufsize: int, flags: int) -> bytes:
        """Receive what had come before the drain found its reader busy, once: a client that goes on is not waited for."""
        data = b""
        if not self.parting and self.gettimeout() is None:
            self.parting = True
            with contextlib.suppress(BlockingIOError):
                data = self.raw_recv(bufsize, flags | DONTWAIT)
            self.received += len(data)
        if data:
            self.phase = _BUSY
        else:
            self.reason = self.reason or CloseReason.DRAIN
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, as ``socket.recv_into()``; an end of the input when the server drains."""
        if self.rest():
            with memoryview(buffer) as view, view.cast("B") as octets:
                data = self._recv_last(nbytes or len(octets), flags)
                octets[: len(data)] = data
            return len(data)
        size = self.raw_recv_into(buffer, nbytes, flags)
        self.phase = _BUSY
        self.received += size
        if not size and self.reason is None:
            self.reason = CloseReason.PEER
        return size

    def recv_rest(self) -> bytes:
        """Receive more of a request that has begun, for which a drain waits."""
        if self._held:
            self._before_waiting()
        # No turn is counted: the deadline is that of the whole read, whatever the peer dribbles.
        self.phase = _READING
        data = self.raw_recv(CHUNK)
        self.phase = _BUSY
        self.received += len(data)
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
            data = self.raw_recv(CHUNK, DONTWAIT)
        except BlockingIOError:
            return False
        self.phase = _BUSY
        self.received += len(data)
        if not data:
            self.reason = self.reason or CloseReason.PEER
        reader.fill(data)
        return True

    def rest(self) -> bool:
        """Begin to wait for the next request; tell whether that is in vain, since the server drains."""
        if self._held:
            self._before_waiting()
        if self.phase is not _IDLE:
            self.turns += 1
            self.phase = _IDLE
        return self.drained  # after the phase, as in recv()

    def has_whole(self, is_complete: Callable[[bytes], bool]) -> bool:
        """Receive what is there, without waiting; tell whether it is worth reading, or else has to be waited for.

        An end of the input is, and what is longer than a line may be: whoever reads meets both.
        """
        reader = self._reader
        if reader is None or self.gettimeout() is not None:
            return True
        while not self.drained:
            data = reader.peek_pending()
            if len(data) > self.line_limit or (data and is_complete(data)):
                break
            try:
                more = self.raw_recv(CHUNK, DONTWAIT)
            except BlockingIOError:
                if data and self.phase is not _READING:
                    # From here on the deadline is that of the whole request, whatever the peer dribbles.
                    self.turns += 1
                    self.phase = _READING
                return False
            if not more:
                self.reason = self.reason or CloseReason.PEER
                break
            self.received += len(more)
            reader.fill(data + more)
        self.phase = _BUSY
        return True

    def woken(self) -> bool:
        """Go on in the calling thread, as the system says that there is input; tell whether a read would return."""
        if self._reader is not None:
            self._reader.owner = _get_ident()
        return True

    @property
    def buffered(self) -> bool:
        """Whether input has come that has not been read, and that the system knows nothing of."""
        return self._reader is not None and self._reader.pending

    # -- writing -----------------------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, as ``socket.send()``."""
        if flags & DONTWAIT:
            if self._held and not self.push():
                raise BlockingIOError(errno.EAGAIN, "what was said before has not been sent yet")
            size = self.raw_send(data, flags)
            self.sent += size
            return size
        if self._held:
            self.release()
        before = self.phase
        self.turns += 1
        self.phase = _WRITING
        try:
            size = self.raw_send(data, flags)
        finally:
            if self.phase is _WRITING:
                self.phase = before
        self.sent += size
        return size

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of ``data``, now or, while pipelined requests wait to be read, together with their replies.

        Only what the handler's own thread sends is held: it is that one which will read on.
        """
        reader = self._reader
        if reader is not None and (reader.pending or self._held) and reader.owner == _get_ident():
            if not flags:
                piece = data if type(data) is bytes else bytes(data)
                self._held.append(piece)
                self._held_size += len(piece)
                if not reader.pending or self._held_size >= HELD:
                    self.release()
                return
            self.release()
        self._write(data, flags)

    def sendmsg(self, *args: Any) -> int:
        """Send, as ``socket.sendmsg()``."""
        if self._held:
            self.release()
        size = super().sendmsg(*args)
        self.sent += size
        return size

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, as ``socket.sendfile()``."""
        if self._held:
            self.release()
        size = super().sendfile(file, offset, count)
        self.sent += size
        return size

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

    # What is done about it before the handler waits for more input.
    _before_waiting = release

    def push(self) -> bool:
        """Send as much of what was held as the peer takes at once, from any thread; tell whether that was all.

        The loop calls it now and then, for handlers that go on to something long with input still unread.
        """
        held = self._held
        with _releasing:
            while held:
                count = len(held)  # the handler may go on appending
                data = held[0] if count == 1 else b"".join(held[:count])
                try:
                    sent = self.raw_send(data, DONTWAIT)
                except BlockingIOError:
                    return False
                self.sent += sent
                self._held_size -= sent
                if sent == len(data):
                    del held[:count]
                else:
                    held[:count] = [data[sent:]]
        return True

    def _write(self, data: ReadableBuffer, flags: int) -> None:
        before = self.phase
        self.turns += 1
        self.phase = _WRITING
        try:
            if type(data) is bytes and len(data) <= _PIECE:  # as mostly
                self.raw_sendall(data, flags)
                self.sent += len(data)
                return
            with memoryview(data) as view, view.cast("B") as octets:
                for start in range(0, len(octets), _PIECE):
                    piece = octets[start : start + _PIECE]
                    self.raw_sendall(piece, flags)
                    self.sent += len(piece)
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
        with _ending:
            super().shutdown(how)

    def detach(self) -> int:
        """Give the descriptor away, as ``socket.detach()``, once what was held has been sent."""
        if self._held:
            self.release()
        with _ending:
            return super().detach()

    def close(self) -> None:
        """Close, as ``socket.close()``, once what was held has been sent."""
        if self._held:
            with contextlib.suppress(OSError):  # nobody is left to take it
                self.release()
        self._reader = None
        with _ending:
            super().close()

    # -- from another thread -------------------------------------------------------------------------------------

    def end_input(self, reason: CloseReason) -> None:
        """Let the handler meet the end of its input; what is sent still leaves."""
        if self.reason is None:
            self.reason = reason
        with _ending, contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RD)

    def cut(self, reason: CloseReason) -> None:
        """End both directions at once."""
        if self.reason is None:
            self.reason = reason
        with _ending, contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)
