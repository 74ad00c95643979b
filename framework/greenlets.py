"""``GreenletMixIn``: each request in a greenlet, all of them on one hub; blocking handlers at an event loop's speed.

A handler needs no change. Its connection parks the greenlet where a socket would block the thread, and
whatever else would block goes through this module: ``sleep()``, ``Event``, ``Lock``, ``Queue``,
``connect()``, and ``run_in_thread()`` for the rest. Nothing is patched.

Between two of those calls a handler runs alone: state that all of them share needs no lock.

Needs the package ``greenlet``: ``pip install 'socketserver-framework[greenlets]'``.
"""

from __future__ import annotations

import contextlib
import socket as _socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from greenlet import GreenletExit, getcurrent, greenlet

from framework._types import AddressT, InetAddressT, RequestT
from framework.connections import Connection, Phase
from framework.events import CloseReason
from framework.hub import Hub
from framework.inet import TCPServer
from framework.lifecycle import ServerStateError
from framework.service import ServiceMixIn
from framework.unix import UnixStreamServer
from framework.watchdog import Watchdog

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from framework._loop import Loop

__all__ = [
    "Event",
    "GreenConnection",
    "GreenletMixIn",
    "GreenletTCPService",
    "GreenletUnixStreamService",
    "Lock",
    "Queue",
    "at_turn_end",
    "connect",
    "run_in_thread",
    "sleep",
]

T = TypeVar("T")

_IDLE, _BUSY, _READING, _WRITING = Phase.IDLE, Phase.BUSY, Phase.READING, Phase.WRITING
_CHUNK = 32768
_recv = _socket.socket.recv
_recv_into = _socket.socket.recv_into
_send = _socket.socket.send
_fileno = _socket.socket.fileno

_hubs = threading.local()


def _hub() -> Hub:
    """Return the hub that runs in this thread."""
    try:
        hub: Hub = _hubs.hub
    except AttributeError:
        raise RuntimeError("no greenlet server runs in this thread: call it from a handler") from None
    return hub


class GreenConnection(Connection):
    """A connection on which waiting parks the greenlet. Its descriptor does not block."""

    __slots__ = ()

    def __init__(self, family: int, kind: int, protocol: int, descriptor: int) -> None:
        super().__init__(family, kind, protocol, descriptor)
        _socket.socket.setblocking(self, False)
        self.hub: Hub = _hub()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, as ``socket.recv()``; an end of the input when the server drains."""
        if self._held:
            self.release()
        self.turns += 1
        self.phase = _IDLE
        if self.drained:
            return b""
        hub, descriptor = self.hub, self.descriptor
        if flags or self.patience is not None or hub.muted or descriptor not in hub.registered:
            data = self._take(bufsize, flags)
        else:
            # The same without a call: this is what nearly every request passes through.
            hub.readers[descriptor] = getcurrent()
            hub.switch()
            try:
                data = _recv(self, bufsize)
            except BlockingIOError:
                data = self._take(bufsize, flags)
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
            return 0
        size = -1
        while size < 0:
            self._wait_readable(flags)
            try:
                size = _recv_into(self, buffer, nbytes, flags)
            except BlockingIOError:
                if flags & _socket.MSG_DONTWAIT:
                    raise
        self.phase = _BUSY
        if not size and self.reason is None:
            self.reason = CloseReason.PEER
        return size

    def recv_rest(self) -> bytes:
        """Receive more of a request that has begun."""
        if self._held:
            self.release()
        self.phase = _READING
        data = self._take(_CHUNK, 0)
        self.phase = _BUSY
        if not data and self.reason is None:
            self.reason = CloseReason.PEER
        return data

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, as ``socket.send()``."""
        if self._held and not flags & _socket.MSG_DONTWAIT:
            self.release()
        while True:
            try:
                return _send(self, data, flags)
            except BlockingIOError:
                if flags & _socket.MSG_DONTWAIT:
                    raise
            self.wait_writable()

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of ``data``, now or, while pipelined requests wait to be read, together with their replies."""
        reader = self._reader
        if self._held or type(data) is not bytes or (reader is not None and reader.pending):
            super().sendall(data, flags)
            return
        self.turns += 1
        self.phase = _WRITING
        try:
            sent = _send(self, data, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            with memoryview(data) as octets:
                self._write_rest(octets, sent, flags)
        self.phase = _BUSY

    def _write(self, data: ReadableBuffer, flags: int) -> None:
        self.turns += 1
        self.phase = _WRITING
        try:
            sent = _send(self, data, flags)
        except BlockingIOError:
            sent = 0
        if type(data) is not bytes or sent < len(data):
            with memoryview(data) as view, view.cast("B") as octets:
                self._write_rest(octets, sent, flags)
        self.phase = _BUSY

    def _write_rest(self, octets: memoryview, sent: int, flags: int) -> None:
        while sent < len(octets):
            self.wait_writable()
            with contextlib.suppress(BlockingIOError):
                sent += _send(self, octets[sent:], flags)
                self.turns += 1

    def _take(self, size: int, flags: int) -> bytes:
        while True:
            self._wait_readable(flags)
            try:
                return _recv(self, size, flags)
            except BlockingIOError:
                if flags & _socket.MSG_DONTWAIT:
                    raise

    def _wait_readable(self, flags: int) -> None:
        if flags & _socket.MSG_DONTWAIT:
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
    hub, me = _hub(), getcurrent()
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


class GreenletMixIn(ServiceMixIn[RequestT, AddressT]):
    """Runs each request in a greenlet; goes before the server class among the bases.

    It is a service. Shared state needs no lock, and nothing in a handler may block the thread.
    """

    # An idle connection costs a few KiB, so the cap is that of a busy event loop; Thousand Island has 16 384.
    max_connections: int | None = 16384

    hub_limit: float | None = 0.1
    """Seconds that a turn of the hub may take before observers are told who holds it: what blocks belongs into
    ``run_in_thread()``. Asyncio's debug mode has 100 ms too."""

    _connection_class: type[Connection] = GreenConnection

    __running: set[greenlet]
    __hub: Hub | None = None
    __watchdog: Watchdog | None = None

    if not TYPE_CHECKING:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.__running: set[greenlet] = set()
            super().__init__(*args, **kwargs)

    def _open_loop(self) -> Loop:
        # The hub has every method of a loop that a server uses.
        return self._use_loop(cast("Loop", self.__open_hub()))

    def __open_hub(self) -> Hub:
        _hubs.hub = self.__hub = hub = Hub(getcurrent, self.__finish)
        if self.hub_limit is not None:
            self.__watchdog = Watchdog(hub, self.hub_limit, self._tell)
        return hub

    def __finish(self) -> None:
        """Run what still runs to its end: with the hub goes what could run it.

        As in a drain, connections between two requests end at once, the others within ``drain_timeout``.
        """
        hub: Hub = _hubs.hub
        try:
            self._ask_to_end()
            self.__run_until(hub, self.drain_timeout)
            self._cut_all()
            self.__run_until(hub, 1.0)
            for late in list(self.__running):
                late.throw(GreenletExit)  # waits for something else than its connection
        finally:
            if self.__watchdog is not None:
                self.__watchdog.stop()
            self.__hub = self.__watchdog = None
            del _hubs.hub

    def __run_until(self, hub: Hub, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.__running and (left := end - time.monotonic()) > 0:
            hub.wait(left)

    def call_soon(self, action: Callable[[], object]) -> None:
        """Run ``action`` on the hub, between two requests; from any thread.

        Raises:
            ServerStateError: the server does not serve.
        """
        hub = self.__hub
        if hub is None:
            raise ServerStateError("no hub runs: the server does not serve")
        hub.call_soon(action)

    def handle_request(self) -> object:
        """Wait for one request and serve it to its end, or call ``handle_timeout()``."""
        with self.__open_hub() as hub:
            result = super().handle_request()
            while self.__running:
                hub.wait(None)
        return result

    def process_request(self, request: RequestT, client_address: AddressT) -> None:
        """Run the request in a new greenlet, until it first waits."""
        runner = greenlet(self.process_request_greenlet, _hubs.hub.main)
        self.__running.add(runner)
        runner.switch(request, client_address)

    def process_request_greenlet(self, request: RequestT, client_address: AddressT) -> None:
        """Run the request to its end; runs in the new greenlet."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        except (SystemExit, GreenletExit):
            pass  # ends the request only, as it does in a thread
        finally:
            self.shutdown_request(request)
            self.__running.discard(getcurrent())


# -- waiting for something else than a connection ----------------------------------------------------------------


def sleep(seconds: float) -> None:
    """Let ``seconds`` pass, and others run meanwhile."""
    hub = _hub()
    me = getcurrent()
    hub.call_later(seconds, me.switch)
    hub.park()


def at_turn_end(action: Callable[[], object]) -> None:
    """Run ``action`` once, when all that is ready in this turn of the hub has run.

    What many handlers of one turn want done, such as a flush to disk, is done once for all of them so.
    """
    _hub().at_turn_end(action)


def run_in_thread(function: Callable[[], T]) -> T:
    """Run ``function``, which may block, in a thread, and return what it returns or raise what it raises."""
    hub, me = _hub(), getcurrent()
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:
            failure.append(error)
        hub.call_soon(me.switch)

    threading.Thread(target=run, name="run_in_thread", daemon=True).start()
    hub.park()
    if failure:
        raise failure[0]
    return result[0]


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
    connection.line_limit = 16384
    return connection


class Event:
    """A flag that greenlets wait for; ``set()`` is legal from any thread."""

    def __init__(self) -> None:
        self._waiters: deque[greenlet] = deque()
        self._flag = False
        self._hub: Hub | None = None

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._flag

    def set(self) -> None:
        """Set it, and let all who wait go on."""
        self._flag = True
        hub = self._hub
        if hub is None:
            return
        if hub.thread == threading.get_ident():
            self._release()
        else:
            hub.call_soon(self._release)

    def clear(self) -> None:
        """Unset it."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for ``timeout`` seconds at most, and tell whether it is."""
        # The hub is known before the flag is looked at, and set() does it the other way round.
        hub = self._hub = _hub()
        if self._flag:
            return True
        me = getcurrent()
        self._waiters.append(me)
        timer = None if timeout is None else hub.call_later(timeout, lambda: self._expire(hub, me))
        hub.park()
        if timer is not None:
            timer.cancel()
        return self._flag

    def _expire(self, hub: Hub, waiter: greenlet) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            hub.ready(waiter)

    def _release(self) -> None:
        hub = self._hub
        while hub is not None and self._waiters:
            hub.ready(self._waiters.popleft())


class Lock:
    """Excludes greenlets of one hub from each other across waits; first come, first served."""

    def __init__(self) -> None:
        self._holder: greenlet | None = None
        self._waiters: deque[greenlet] = deque()

    def acquire(self) -> None:
        """Take the lock, when its turn has come."""
        me = getcurrent()
        if self._holder is None:
            self._holder = me
            return
        self._waiters.append(me)
        _hub().park()  # release() has made it ours

    def release(self) -> None:
        """Give the lock to the next who waits."""
        if self._holder is None:
            raise RuntimeError("release of a lock that nobody holds")
        self._holder = self._waiters.popleft() if self._waiters else None
        if self._holder is not None:
            _hub().ready(self._holder)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()


class Queue(Generic[T]):
    """A queue between greenlets of one hub, first in, first out.

    Args:
        size: items at which ``put()`` waits; 0: never.
    """

    def __init__(self, size: int = 0) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._getters: deque[greenlet] = deque()
        self._putters: deque[greenlet] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append, waiting while the queue is full."""
        while self._size and len(self._items) >= self._size:
            self._putters.append(getcurrent())
            _hub().park()
        self._items.append(item)
        if self._getters:
            _hub().ready(self._getters.popleft())

    def get(self) -> T:
        """Take the oldest, waiting while there is none."""
        while not self._items:
            self._getters.append(getcurrent())
            _hub().park()
        item = self._items.popleft()
        if self._putters:
            _hub().ready(self._putters.popleft())
        return item


class GreenletTCPService(GreenletMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, each connection in a greenlet."""


class GreenletUnixStreamService(GreenletMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, each connection in a greenlet."""
