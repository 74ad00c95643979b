"""One exchange with another server, by a datagram or a connection.

Each datagram leaves by a socket of its own, whose port nobody can guess (RFC 5452, section 9.2), and which is connected,
so that the system lets only the server's own answers in, and tells when nobody listens there.
"""

from __future__ import annotations

import contextlib
import secrets
import selectors
import socket
from collections.abc import Callable
from typing import Generic, TypeVar

from servers.resolver.exchanges import Exchanges

__all__ = ["Datagram", "FailedError", "Judge", "Stream"]

ResultT = TypeVar("ResultT")
Judge = Callable[[bytes], ResultT | None]
"""Says what an answer means; ``None``: it is none, and the right one may still come."""

# Ports below 1024 are others' (RFC 6335, section 6). If all that are tried are taken, the system picks one.
_LOWEST_PORT, _PORT_TRIALS = 1024, 8
# Wrong answers to one question, after which somebody is guessing, and the datagrams of this exchange are not trusted.
_MOST_WRONG = 32
_LARGEST = 65535


class FailedError(Exception):
    """An exchange without an answer, and why."""


class _Exchange(Generic[ResultT]):
    """One question to one server; in the thread of the exchanges.

    Args:
        exchanges: wait for what comes.
        address: of the server.
        packet: what to send.
        judge: says which answer it is.
        done: told the answer, or why there is none.
    """

    _kind: socket.SocketKind

    def __init__(
        self,
        exchanges: Exchanges,
        address: tuple[str, int],
        packet: bytes,
        judge: Judge[ResultT],
        done: Callable[[ResultT | FailedError], object],
    ) -> None:
        self._exchanges = exchanges
        self._address = address
        self._packet = packet
        self._judge = judge
        self._done = done
        self._over = False
        self._socket: socket.socket | None = None

    def start(self, seconds: float) -> None:
        """Send, and wait for so long."""
        try:
            self._socket = sock = self._open()
            self._send(sock)
        except OSError as error:
            self._end(FailedError(error.strerror or str(error)))
            return
        self._exchanges.later(seconds, lambda: self._end(FailedError("timed out")))

    def _open(self) -> socket.socket:
        sock = socket.socket(_family(self._address), self._kind)
        sock.setblocking(False)
        try:
            self._connect(sock)
        except OSError:
            sock.close()
            raise
        return sock

    def _connect(self, sock: socket.socket) -> None:
        raise NotImplementedError

    def _send(self, sock: socket.socket) -> None:
        raise NotImplementedError

    def _received(self, sock: socket.socket) -> bytes | None:
        """Return what has come; ``None`` if nothing has, or nothing ever will."""
        try:
            return sock.recv(_LARGEST)
        except BlockingIOError:
            return None
        except OSError as error:
            self._end(FailedError(error.strerror or str(error)))
            return None

    def _end(self, result: ResultT | FailedError) -> None:
        if self._over:
            return
        self._over = True
        if self._socket is not None:
            self._exchanges.forget(self._socket)
            self._socket.close()
        self._done(result)


class Datagram(_Exchange[ResultT]):
    """By a datagram."""

    _kind = socket.SOCK_DGRAM
    _wrong = 0

    def _connect(self, sock: socket.socket) -> None:
        for _ in range(_PORT_TRIALS):
            with contextlib.suppress(OSError):
                sock.bind(("", _LOWEST_PORT + secrets.randbelow(65536 - _LOWEST_PORT)))
                break
        sock.connect(self._address)

    def _send(self, sock: socket.socket) -> None:
        sock.send(self._packet)
        self._exchanges.watch(sock, selectors.EVENT_READ, lambda: self._receive(sock))

    def _receive(self, sock: socket.socket) -> None:
        data = self._received(sock)
        if data is None:
            return
        result = self._judge(data)
        if result is not None:
            self._end(result)
            return
        self._wrong += 1
        if self._wrong >= _MOST_WRONG:
            self._end(FailedError("too many wrong answers"))


class Stream(_Exchange[ResultT]):
    """By a connection."""

    _kind = socket.SOCK_STREAM

    def _connect(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            sock.connect(self._address)

    def _send(self, sock: socket.socket) -> None:
        left = bytearray(len(self._packet).to_bytes(2, "big") + self._packet)

        def write() -> None:
            try:
                del left[: sock.send(left)]
            except BlockingIOError:
                return
            except OSError as error:
                self._end(FailedError(error.strerror or str(error)))
                return
            if not left:
                received = bytearray()
                self._exchanges.watch(sock, selectors.EVENT_READ, lambda: self._receive(sock, received))

        self._exchanges.watch(sock, selectors.EVENT_WRITE, write)

    def _receive(self, sock: socket.socket, received: bytearray) -> None:
        data = self._received(sock)
        if data is None:
            return
        received += data
        size = int.from_bytes(received[:2], "big") + 2
        if len(received) >= max(size, 3):
            result = self._judge(bytes(received[2:size]))
            self._end(FailedError("wrong answer") if result is None else result)
        elif not data:
            self._end(FailedError("connection closed"))


def _family(address: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
