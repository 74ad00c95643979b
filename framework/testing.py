r"""The testing kit: what the framework's own tests are made of, for the tests of whatever is built on it.

>>> from framework import StreamRequestHandler, ThreadingTCPServer
>>> class Upper(StreamRequestHandler):
...     def handle(self):
...         for line in self.rfile:
...             self.wfile.write(line.upper())

A server runs for as long as a block does, and a client is one line.

>>> with running(ThreadingTCPServer(("127.0.0.1", 0), Upper)) as server, client_of(server) as client:
...     client.sendall(b"hello\n")
...     client.recv(100)
b'HELLO\n'

Nothing here sleeps or needs pytest. What takes longer than its ``patience`` raises ``StuckError``: a test that
waits for ever tells nobody why.
"""

from __future__ import annotations

import contextlib
import socket as _socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from framework.events import (
    Event,
    Observer,
)

if TYPE_CHECKING:
    from framework.server import BaseServer

__all__ = [
    "PATIENCE",
    "FakeClock",
    "Recorder",
    "StuckError",
    "bounded",
    "client_of",
    "dribbling",
    "eventually",
    "failing_accept",
    "reset",
    "running",
]

PATIENCE = 20.0
"""Seconds after which what should have happened counts as never: nothing that works comes near it."""

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound="BaseServer[Any, Any]")
EventT = TypeVar("EventT", bound=Event)


class StuckError(AssertionError):
    """Something did not come to its end in time."""


def bounded(function: Callable[[], T], patience: float = PATIENCE) -> T:
    """Call ``function`` in a thread of its own, and return what it returns or raise what it raises.

    Raises:
        StuckError: it has not returned within ``patience`` seconds; its thread is left behind.

    >>> bounded(lambda: 6 * 7)
    42
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # the caller's to meet, whatever it is
            errors.append(error)

    thread = threading.Thread(target=call, name=f"bounded {function!r}", daemon=True)
    thread.start()
    thread.join(patience)
    if errors:
        raise errors[0]
    if not results:
        raise StuckError(f"{function!r} has not returned after {patience} s")
    return results[0]


def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something that nothing tells, looking a thousand times a second.

    Raises:
        StuckError: ``condition()`` is still false after ``patience`` seconds.
    """
    end, pause = time.monotonic() + patience, threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise StuckError(f"{condition!r} does not hold after {patience} s")
        pause.wait(0.001)


@contextlib.contextmanager
def running(
    server: ServerT, *, poll_interval: float | None = None, patience: float = PATIENCE
) -> Generator[ServerT]:
    """Serve in a thread while the block runs, then shut the server down and close it.

    The block begins once the server waits for requests. There is no poll interval by default: whoever must wake
    the loop and does not is found out.

    Args:
        server: bound, and neither serving nor closed.
        poll_interval: for ``serve_forever()``, in seconds.
        patience: seconds for each of starting, stopping and closing.

    Raises:
        StuckError: one of these took longer; what was stuck stays behind in daemon threads.
        BaseException: what ``serve_forever()`` raised.
    """
    ready = threading.Event()
    errors: list[BaseException] = []
    open_loop = server._open_loop  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # called as serving begins

    def opened() -> Any:
        loop = open_loop()
        ready.set()
        return loop

    def serve() -> None:
        try:
            server.serve_forever(poll_interval)
        except BaseException as error:
            errors.append(error)
        finally:
            ready.set()

    server._open_loop = opened  # type: ignore[method-assign] # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    thread = threading.Thread(target=serve, name="serving", daemon=True)
    thread.start()
    try:
        if not ready.wait(patience):
            raise StuckError(f"{server!r} does not serve after {patience} s")
        yield server
    finally:
        try:
            bounded(server.shutdown, patience)
            thread.join(patience)
            if thread.is_alive():
                raise StuckError(f"{server!r} still serves {patience} s after shutdown()")
        finally:
            bounded(server.server_close, patience)
            del server._open_loop  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if errors:
        raise errors[0]


# -- clients -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def client_of(server: BaseServer[Any, Any], timeout: float = PATIENCE) -> Generator[_socket.socket]:
    """Connect to ``server``; close at the end.

    Args:
        server: one with a ``socket``, bound.
        timeout: seconds for each call on the client.
    """
    with _socket.socket(server.socket.family, server.socket.type) as client:
        client.settimeout(timeout)
        client.connect(server.server_address)
        yield client
        # A forked child of this very process may hold a copy: only shutdown(2) reaches through.
        with contextlib.suppress(OSError):
            client.shutdown(_socket.SHUT_RDWR)


def reset(client: _socket.socket) -> None:
    """Close ``client`` so that its TCP peer meets a reset: SO_LINGER of no time at all (socket(7))."""
    client.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@contextlib.contextmanager
def dribbling(client: _socket.socket, data: bytes, interval: float) -> Generator[threading.Event]:
    """Send ``data`` octet by octet, ``interval`` seconds apart, over and over while the block runs.

    Yields:
        An event that is set when the peer takes no more.
    """
    ended, stop = threading.Event(), threading.Event()

    def dribble() -> None:
        try:
            while True:
                for octet in data:
                    client.send(bytes([octet]))
                    if stop.wait(interval):
                        return
        except OSError:
            ended.set()

    thread = threading.Thread(target=dribble, name="dribbling", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join(PATIENCE)


# -- faults, time, events ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def failing_accept(server: BaseServer[Any, Any], *errors: BaseException) -> Generator[None]:
    """Let the next calls of ``get_request()`` raise ``errors``, one each, and those after them work again."""
    script = list(errors)
    get_request = server.get_request

    def scripted() -> tuple[Any, Any]:
        if script:
            raise script.pop(0)
        return get_request()

    server.get_request = scripted  # type: ignore[method-assign]
    try:
        yield
    finally:
        del server.get_request


class FakeClock:
    """A clock that stands until it is told to go on; call it for the time.

    >>> clock = FakeClock()
    >>> before = clock()
    >>> clock.advance(60)
    >>> clock() - before
    60.0
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time, in seconds since an arbitrary moment."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += seconds


class Recorder(Observer):
    """Keeps every event of the services that it observes, and waits for those that are to come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.events: list[Event] = []

    def _record(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one kind so far, in their order."""
        with self._changed:
            return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, kind: type[EventT], count: int = 1, patience: float = PATIENCE) -> list[EventT]:
        """Wait until there are ``count`` events of one kind, and return all of that kind.

        Raises:
            StuckError: there are fewer after ``patience`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(kind)) >= count, patience):
                raise StuckError(f"{count} of {kind.__name__} expected, there are {self.events}")
            return self.of(kind)


def _keep(recorder: Recorder, event: Event) -> None:
    recorder._record(event)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # a method, if made outside


# A method for each kind: an event that nobody asks for is never made.
for _name in vars(Observer):
    if not _name.startswith("_"):
        setattr(Recorder, _name, _keep)
