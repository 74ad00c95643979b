"""One thread and one selector for all that is being waited for, whoever waits for it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable

__all__ = ["Exchanges"]

_log = logging.getLogger(__name__)


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
