"""Exchanges with other servers: one thread and one selector for all that is being waited for.

Each datagram leaves by a socket of its own, whose port nobody can guess (RFC 5452, section 9.2), and which is connected,
so that the system lets only the server's own answers in, and tells when nobody listens there.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Exchanges", "FailedError", "Judge"]

_log = logging.getLogger(__name__)

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


class Exchanges:
    """Does exchanges, in a thread of its own, which starts with the first.

    All callbacks run in that thread, and must not block.
    """

    def __init__(self) -> None:
        self._mail: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._guard = threading.Lock()
        self._wakers: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the thread; from any other."""
        with self._guard:
            if self._closing:
                return
            if self._wakers is None:
                self._start()
        self._mail.put(function)
        if self._wakers is not None:
            with contextlib.suppress(BlockingIOError):  # it is full of wake-ups
                self._wakers[1].send(b"\0")

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function after a while; from any thread."""
        when = time.monotonic() + seconds
        if threading.current_thread() is self._thread:
            heapq.heappush(self._timers, (when, next(self._numbers), function))
        else:
            self.call(lambda: heapq.heappush(self._timers, (when, next(self._numbers), function)))

    def close(self) -> None:
        """End the thread; what waits gets no answer."""
        self.call(lambda: setattr(self, "_closing", True))
        if self._thread is not None:
            self._thread.join()

    def datagram(
        self,
        address: tuple[str, int],
        packet: bytes,
        judge: Judge[ResultT],
        seconds: float,
        done: Callable[[ResultT | FailedError], object],
    ) -> None:
        """Send a datagram and wait for the answer; in the thread.

        Args:
            address: of the server.
            packet: what to send.
            judge: which answer it is.
            seconds: how long to wait.
            done: told the answer, or why there is none.
        """
        _Datagram(self, address, packet, judge, done).start(seconds)

    def stream(
        self,
        address: tuple[str, int],
        packet: bytes,
        judge: Judge[ResultT],
        seconds: float,
        done: Callable[[ResultT | FailedError], object],
    ) -> None:
        """Do the same by a connection."""
        _Stream(self, address, packet, judge, done).start(seconds)

    def watch(self, sock: socket.socket, events: int, ready: Callable[[], object]) -> None:
        """Call ``ready`` whenever a socket can be read or written."""
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, events, ready)
        else:
            self._selector.register(sock, events, ready)

    def forget(self, sock: socket.socket) -> None:
        """Watch a socket no more."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)

    def _start(self) -> None:
        self._wakers = socket.socketpair()
        for each in self._wakers:
            each.setblocking(False)
        self._thread = threading.Thread(target=self._run, args=self._wakers, name="exchanges", daemon=True)
        self._thread.start()

    def _run(self, inner: socket.socket, outer: socket.socket) -> None:
        self._selector.register(inner, selectors.EVENT_READ, lambda: self._open_mail(inner))
        while not self._closing:
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._guarded(heapq.heappop(self._timers)[2])
            timeout = max(self._timers[0][0] - now, 0) if self._timers else None
            for key, _ in self._selector.select(timeout):
                self._guarded(key.data)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        outer.close()

    def _open_mail(self, waker: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while waker.recv(4096):
                pass
        with contextlib.suppress(queue.Empty):
            while True:
                self._guarded(self._mail.get_nowait())

    def _guarded(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:
            _log.exception("an exchange failed: the others go on")


class _Exchange(Generic[ResultT]):
    """One question to one server."""

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
        """Send, and wait."""
        try:
            self._socket = sock = self._open()
            self._send(sock)
        except OSError as error:
            self._end(FailedError(error.strerror or str(error)))
            return
        self._exchanges.later(seconds, lambda: self._end(FailedError("timed out")))

    def _open(self) -> socket.socket:
        raise NotImplementedError

    def _send(self, sock: socket.socket) -> None:
        raise NotImplementedError

    def _end(self, result: ResultT | FailedError) -> None:
        if self._over:
            return
        self._over = True
        if self._socket is not None:
            self._exchanges.forget(self._socket)
            self._socket.close()
        self._done(result)


class _Datagram(_Exchange[ResultT]):
    _wrong = 0

    def _open(self) -> socket.socket:
        sock = socket.socket(_family(self._address), socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            for _ in range(_PORT_TRIALS):
                with contextlib.suppress(OSError):
                    sock.bind(("", _LOWEST_PORT + secrets.randbelow(65536 - _LOWEST_PORT)))
                    break
            sock.connect(self._address)
        except OSError:
            sock.close()
            raise
        return sock

    def _send(self, sock: socket.socket) -> None:
        sock.send(self._packet)
        self._exchanges.watch(sock, selectors.EVENT_READ, lambda: self._receive(sock))

    def _receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(FailedError(error.strerror or str(error)))
            return
        result = self._judge(data)
        if result is not None:
            self._end(result)
            return
        self._wrong += 1
        if self._wrong >= _MOST_WRONG:
            self._end(FailedError("too many wrong answers"))


class _Stream(_Exchange[ResultT]):
    def _open(self) -> socket.socket:
        sock = socket.socket(_family(self._address), socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with contextlib.suppress(BlockingIOError):
                sock.connect(self._address)
        except OSError:
            sock.close()
            raise
        return sock

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
        try:
            data = sock.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(FailedError(error.strerror or str(error)))
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
