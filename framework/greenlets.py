"""``GreenletMixIn``: each request in a greenlet, all of them on one hub; blocking handlers at an event loop's speed.

A handler needs no change. Its connection parks the greenlet where a socket would block the thread, and
whatever else would block goes through this module: ``sleep()``, ``Event``, ``Lock``, ``Queue``,
``connect()``, and ``run_in_thread()`` for the rest. Nothing is patched.

Between two of those calls a handler runs alone: state that all of them share needs no lock.

Needs the package ``greenlet``: ``pip install 'socketserver-framework[greenlets]'``.
"""

from __future__ import annotations

import logging
import socket as _socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

try:
    from greenlet import GreenletExit, getcurrent, greenlet
except ModuleNotFoundError as error:
    fix = "pip install 'socketserver-framework[greenlets]'"
    raise ModuleNotFoundError(f"{error}, which framework.greenlets needs: {fix}", name=error.name) from None

from framework._types import AddressT, InetAddressT, RequestT
from framework.connection import Connection
from framework.cooperative import Event, Lock, Queue, at_turn_end, run_in_thread, sleep
from framework.exchanges import serve_exchanges
from framework.green_connection import GreenConnection, connect
from framework.handlers import ExchangeHandler
from framework.hub import Hub, running_hub
from framework.inet import TCPServer
from framework.lifecycle import ServerStateError
from framework.service import ServiceMixIn
from framework.unix import UnixStreamServer
from framework.watchdog import Watchdog

if TYPE_CHECKING:
    from framework._loop import Loop

T = TypeVar("T")

_log = logging.getLogger("framework")

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


# Greenlets kept for the next requests, at some KiB each.
_IDLE = 64


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
    __idle: list[greenlet]
    __parked: set[_Parked]
    __hub: Hub | None = None
    __watchdog: Watchdog | None = None

    if not TYPE_CHECKING:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.__running: set[greenlet] = set()
            self.__idle: list[greenlet] = []
            self.__parked: set[_Parked] = set()
            super().__init__(*args, **kwargs)

    def _open_loop(self) -> Loop:
        # The hub has every method of a loop that a server uses.
        return self._use_loop(cast("Loop", self.__open_hub()))

    def __open_hub(self) -> Hub:
        self.__hub = hub = Hub(getcurrent, self.__finish)
        if self.hub_limit is not None:
            self.__watchdog = Watchdog(hub, self.hub_limit, self._happened)
        return hub

    def __finish(self) -> None:
        """Run what still runs to its end: with the hub goes what could run it.

        As in a drain, connections between two requests end at once, the others within ``drain_timeout``.
        """
        hub = running_hub()
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
            while self.__idle:
                self.__idle.pop().throw(GreenletExit)

    def __run_until(self, hub: Hub, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (self.__running or self.__parked) and (left := end - time.monotonic()) > 0:
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

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass for the greenlet that calls this, and for no other."""
        sleep(seconds)

    def run_blocking(self, function: Callable[[], T]) -> T:
        """Run ``function``, which may block, in a thread; return or raise what it does."""
        return run_in_thread(function)

    def at_turn_end(self, action: Callable[[], object]) -> None:
        """Run ``action`` when all that is ready in this turn of the hub has run."""
        at_turn_end(action)

    def handle_request(self) -> object:
        """Wait for one request and serve it to its end, or call ``handle_timeout()``."""
        with self.__open_hub() as hub:
            result = super().handle_request()
            while self.__running or self.__parked:
                hub.wait(None)
        return result

    def process_request(self, request: RequestT, client_address: AddressT) -> None:
        """Run the request in a greenlet, until it first waits."""
        self.__start(self.process_request_greenlet, request, client_address)

    def process_request_greenlet(self, request: RequestT, client_address: AddressT) -> None:
        """Run the request to its end, or to where its connection can be parked; runs in its greenlet."""

        def serve() -> bool:
            if not isinstance(request, Connection):
                self.finish_request(request, client_address)
                return False
            adopted: list[ExchangeHandler[Any, Any]] = []
            request.adopt = adopted.append
            try:
                self.finish_request(request, client_address)
            finally:
                request.adopt = None
            return bool(adopted) and self.__exchange(request, adopted[0])

        self.__conclude(request, client_address, serve)

    def __exchange(self, connection: Connection, handler: ExchangeHandler[Any, Any]) -> bool:
        """Serve the exchanges whose input is there; tell whether the connection was parked, and is ours no more."""

        def serve() -> bool:
            return self.__exchange(connection, handler)

        def go_on() -> None:
            self.__start(self.__conclude, connection, connection.address, serve)

        def park() -> None:
            connection.hub.expect(connection.descriptor, _Parked(go_on, self.__parked))

        return serve_exchanges(connection, handler, connection.poll, park)

    def __conclude(self, request: RequestT, client_address: AddressT, serve: Callable[[], bool]) -> None:
        """Serve; unless the connection was parked then, end the request."""
        parked = False
        try:
            parked = serve()
        except Exception:
            self.handle_error(request, client_address)
        except (SystemExit, GreenletExit):
            pass  # ends the request only, as it does in a thread
        finally:
            if not parked:
                self.shutdown_request(request)

    # -- greenlets -----------------------------------------------------------------------------------------------

    def __start(self, job: Callable[..., None], *args: Any) -> None:
        """Run a job in a greenlet, until it first waits."""
        if self.__idle:
            runner = self.__idle.pop()
            runner.gr_context = None  # as a new one has it: what one request set is not the next one's
        else:
            runner = greenlet(self.__run, getcurrent())
        self.__running.add(runner)
        runner.switch(job, args)

    def __run(self, job: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Run one job after the other: to make a greenlet costs more than many a request does."""
        me = getcurrent()
        while True:
            try:
                job(*args)
            except Exception:
                # Raised where a request ends, so that nobody is left to handle it. In a thread, that one ends by it; here
                # it would be the hub, and with it everybody.
                _log.exception("a request could not be ended")
            finally:
                self.__running.discard(me)
            if me.parent is None or self.__hub is None or len(self.__idle) >= _IDLE:
                return
            self.__idle.append(me)
            job, args = me.parent.switch()


class _Parked:
    """What waits for a parked connection's next request: no greenlet, which it gets when that has come."""

    __slots__ = ("_all", "_go_on")

    def __init__(self, go_on: Callable[[], object], parked: set[_Parked]) -> None:
        self._go_on = go_on
        self._all = parked
        parked.add(self)

    def switch(self, _value: object = None, /) -> None:
        """Go on, on the hub."""
        self._all.discard(self)
        self._go_on()


class GreenletTCPService(GreenletMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, each connection in a greenlet."""


class GreenletUnixStreamService(GreenletMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, each connection in a greenlet."""
