"""``GreenletMixIn``: each request in a greenlet, all of them on one hub; blocking handlers at an event loop's speed.

A handler needs no change. Its connection parks the greenlet where a socket would block the thread, and
whatever else would block goes through this module: ``sleep()``, ``Event``, ``Lock``, ``Queue``,
``connect()``, and ``run_in_thread()`` for the rest. Nothing is patched.

Between two of those calls a handler runs alone: state that all of them share needs no lock.

Needs the package ``greenlet``: ``pip install 'socketserver-framework[greenlets]'``.
"""

from __future__ import annotations

import socket as _socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

try:
    from greenlet import GreenletExit, getcurrent, greenlet
except ModuleNotFoundError as error:
    fix = "pip install 'socketserver-framework[greenlets]'"
    raise ModuleNotFoundError(f"{error}, which framework.greenlets needs: {fix}", name=error.name) from None

from framework._types import AddressT, InetAddressT, RequestT
from framework.connection import Connection
from framework.cooperative import Event, Lock, Queue, at_turn_end, run_in_thread, sleep
from framework.green_connection import GreenConnection, connect
from framework.hub import Hub, running_hub
from framework.inet import TCPServer
from framework.lifecycle import ServerStateError
from framework.service import ServiceMixIn
from framework.unix import UnixStreamServer
from framework.watchdog import Watchdog

if TYPE_CHECKING:
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
        self.__hub = hub = Hub(getcurrent, self.__finish)
        if self.hub_limit is not None:
            self.__watchdog = Watchdog(hub, self.hub_limit, self._tell)
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
        runner = greenlet(self.process_request_greenlet, getcurrent())
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


class GreenletTCPService(GreenletMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, each connection in a greenlet."""


class GreenletUnixStreamService(GreenletMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, each connection in a greenlet."""
