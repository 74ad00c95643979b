r"""Handlers without a server: ``drive()`` hands one its bytes in memory, and returns what it sent.

>>> from framework import DatagramRequestHandler, StreamRequestHandler
>>> class Upper(StreamRequestHandler):
...     def handle(self):
...         for line in self.rfile:
...             self.wfile.write(line.upper())
>>> drive(Upper, [b"hel", b"lo\nyou", b"\n"])
b'HELLO\nYOU\n'

Among the pieces may stand what goes wrong: an exception, or a ``Pause`` that outlasts the handler's timeout.

>>> drive(Upper, [b"hello\n", ConnectionResetError("gone")])
Traceback (most recent call last):
ConnectionResetError: gone

A ``MemorySocket`` of one's own tells more, and can be a slow or a clogged end.

>>> slow = MemorySocket([b"hello\n"], takes=4)
>>> drive(Upper, slow)
b'HELLO\n'
>>> slow.sends
[b'HELL', b'O\n']
"""

from __future__ import annotations

import errno
import io
import os
import socket as _socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from framework.testing.clock import FakeClock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["CloggedError", "MemorySocket", "Pause", "drive", "drive_datagram"]

# Of the block set aside for documentation (RFC 5737), so that nobody mistakes it for somebody.
_CLIENT = ("192.0.2.1", 49152)
_SERVER = ("192.0.2.2", 7)


class CloggedError(AssertionError):
    """A handler without a timeout would wait for ever for its peer to take more."""


@dataclass(frozen=True)
class Pause:
    """Silence in the input."""

    seconds: float


class MemorySocket:
    r"""A connected stream socket whose peer is a script.

    Args:
        script: what the peer sends, piece by piece: octets, exceptions to be raised, pauses; then the end.
        takes: octets that one ``send()`` takes at most.
        room: octets that the peer takes in all; what follows finds it clogged.
        clock: what a pause advances.
        address: of the peer.

    >>> peer = MemorySocket([b"half", Pause(8), b" whole\n"])
    >>> peer.settimeout(5)
    >>> peer.recv(100)
    b'half'
    >>> peer.recv(100)
    Traceback (most recent call last):
    TimeoutError: timed out
    >>> peer.recv(100)
    b' whole\n'
    """

    family = _socket.AF_INET
    type = _socket.SOCK_STREAM
    proto = 0
    # Over anything that receives and sends, the original's files behave as over a socket.
    makefile: Callable[..., Any] = _socket.socket.makefile

    def __init__(
        self,
        script: Iterable[bytes | BaseException | Pause] = (),
        *,
        takes: int | None = None,
        room: int | None = None,
        clock: FakeClock | None = None,
        address: Any = _CLIENT,
    ) -> None:
        self.sends: list[bytes] = []
        """What was sent, one item for each send."""
        self.options: dict[tuple[int, int], Any] = {}
        """What ``setsockopt()`` set."""
        self.shut: set[int] = set()
        """What ``shutdown()`` was called with."""
        self.closed = False
        self.clock = clock or FakeClock()
        self._script = [step for step in script if step != b""]
        self._takes = takes
        self._room = room
        self._address = address
        self._timeout: float | None = None
        self._io_refs = 0  # makefile() counts its files here

    @property
    def sent(self) -> bytes:
        """All that was sent."""
        return b"".join(self.sends)

    @property
    def unread(self) -> bytes:
        """The octets that nobody has received."""
        return b"".join(step for step in self._script if isinstance(step, bytes))

    # -- receiving ---------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to ``bufsize`` octets of one piece; ``b""`` at the end of the script."""
        self._check()
        if self.shut & {_socket.SHUT_RD, _socket.SHUT_RDWR}:
            return b""
        while self._script:
            step = self._script.pop(0)
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Pause):
                self._sit_out(step, flags)
                continue
            if flags & _socket.MSG_PEEK or len(step) > bufsize:
                self._script.insert(0, step if flags & _socket.MSG_PEEK else step[bufsize:])
            return step[:bufsize]
        return b""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into ``buffer``, and return how many octets."""
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.recv(nbytes or len(octets), flags)
            octets[: len(data)] = data
            return len(data)

    def _sit_out(self, pause: Pause, flags: int) -> None:
        timeout = 0.0 if flags & _socket.MSG_DONTWAIT else self._timeout
        if timeout is None or timeout > pause.seconds:
            self.clock.advance(pause.seconds)
            return
        self.clock.advance(timeout)
        if left := pause.seconds - timeout:
            self._script.insert(0, Pause(left))
        self._time_out(timeout)

    @staticmethod
    def _time_out(timeout: float) -> None:
        if timeout:
            raise TimeoutError("timed out")
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send as much as the peer takes."""
        self._check()
        if self.shut & {_socket.SHUT_WR, _socket.SHUT_RDWR}:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        octets = bytes(data)
        if self._takes is not None:
            octets = octets[: self._takes]
        if self._room is not None:
            if octets and not self._room:
                self._wait_for_room(flags)
            octets = octets[: self._room]
            self._room -= len(octets)
        if octets:
            self.sends.append(octets)
        return len(octets)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of ``data``."""
        octets = bytes(data)
        while octets:
            octets = octets[self.send(octets, flags) :]

    def sendmsg(self, buffers: Iterable[ReadableBuffer], *_: Any) -> int:
        """Send several buffers as one."""
        return self.send(b"".join(map(bytes, buffers)))

    def _wait_for_room(self, flags: int) -> None:
        if flags & _socket.MSG_DONTWAIT:
            self._time_out(0)
        if self._timeout is None:
            raise CloggedError(
                f"{len(self.sent)} octets were taken, and the next would be waited for for ever"
            )
        self.clock.advance(self._timeout)
        self._time_out(self._timeout)

    # -- the rest of a socket ----------------------------------------------------------------------------------

    def settimeout(self, value: float | None, /) -> None:
        """Wait up to ``value`` seconds in each call; ``None``: for ever, 0: not at all."""
        self._timeout = value

    def gettimeout(self) -> float | None:
        """Return what ``settimeout()`` set."""
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        """Wait for ever, or not at all."""
        self._timeout = None if flag else 0.0

    def setsockopt(self, level: int, name: int, value: Any, /) -> None:
        """Keep the option in ``options``."""
        self.options[level, name] = value

    def getsockopt(self, level: int, name: int, /) -> Any:
        """Return what was set, or 0."""
        return self.options.get((level, name), 0)

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._address

    def getsockname(self) -> Any:
        """Return an address of the server's."""
        return _SERVER

    def fileno(self) -> int:
        """Raise: there is nothing for the system to wait for."""
        raise io.UnsupportedOperation("a socket in memory has no descriptor")

    def shutdown(self, how: int, /) -> None:
        """End a direction, or both."""
        self._check()
        self.shut.add(how)

    def close(self) -> None:
        """Close; what follows raises."""
        self.closed = True

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _decref_socketios(self) -> None:
        self._io_refs -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def drive(
    handler: Callable[[Any, Any, Any], object],
    script: bytes | Iterable[bytes | BaseException | Pause] | MemorySocket = b"",
    *,
    server: Any = None,
    client_address: Any = _CLIENT,
) -> bytes:
    """Run a stream handler to its end, and return all that it sent.

    Args:
        handler: the handler class, or anything that makes one.
        script: the input, at once or in pieces; or a socket that brings it.
        server: what the handler finds as its server; by default something that is not draining.
        client_address: where the client is.

    Raises:
        BaseException: whatever the handler raises.
    """
    if isinstance(script, bytes):
        script = [script]
    request = script if isinstance(script, MemorySocket) else MemorySocket(script, address=client_address)
    handler(request, client_address, SimpleNamespace(draining=False) if server is None else server)
    return request.sent


class _Replies:
    """The server's own socket, as a datagram handler sees it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: ReadableBuffer, *_: Any) -> int:
        self.sent.append(bytes(data))
        return len(self.sent[-1])


def drive_datagram(
    handler: Callable[[Any, Any, Any], object],
    packet: bytes,
    *,
    server: Any = None,
    client_address: Any = _CLIENT,
) -> list[bytes]:
    """Run a datagram handler on one packet, and return the datagrams that it sent.

    >>> from framework import DatagramRequestHandler
    >>> class Upper(DatagramRequestHandler):
    ...     def handle(self):
    ...         self.wfile.write(self.packet.upper())
    >>> drive_datagram(Upper, b"hello")
    [b'HELLO']
    """
    replies = _Replies()
    handler((packet, replies), client_address, SimpleNamespace(draining=False) if server is None else server)
    return replies.sent
