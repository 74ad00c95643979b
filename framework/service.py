"""``ServiceMixIn``: what makes a server a service that runs for months among strangers.

Goes before the concurrency mix-in and the server class: ``class Chat(ServiceMixIn, ThreadingMixIn, TCPServer)``.
It keeps every hook of ``BaseServer`` and adds, around them:

- a state table, ``suspend()``, ``resume()``, ``drain()``; ``shutdown()`` is legal in every state and thread;
- a registry of the open connections, a cap on them that pauses the listener, a cap per peer that refuses;
- deadlines: for the next request, for the rest of one, for taking a reply, for a connection's whole life;
- accepting in bursts, a pause when the system is out of descriptors, a close that loses no reply;
- events, and logging as one observer of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket as _socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from framework._loop import Loop
from framework._types import AddressT, InetAddressT, RequestT
from framework.accept_errors import AcceptErrors
from framework.acceptor import Acceptor
from framework.binding import Binding
from framework.child_process import attend
from framework.children import Child
from framework.connection import Connection, HandshakeError, Phase
from framework.datagrams import DatagramReceiver
from framework.deadlines import TICK, sweep, tick
from framework.events import (
    AcceptFailed,
    ActionsFailed,
    CloseReason,
    ConnectionClosed,
    ConnectionOpened,
    DrainBegan,
    DrainEnded,
    Event,
    HandlerFailed,
    HandshakeFailed,
    Overloaded,
    Recovered,
    Rejected,
    RejectReason,
)
from framework.inet import TCPServer, UDPServer
from framework.info import ConnectionInfo, ServiceInfo
from framework.lifecycle import DrainResult, ServerState, Step, next_state
from framework.limits import Limits
from framework.lingering import linger
from framework.logs import LoggingObserver
from framework.observers import Observer, Observers
from framework.peers import group_of
from framework.processes import ForkingMixIn, wait_for_any
from framework.reader import LineTooLongError
from framework.requests import Requests
from framework.server import LASTING_ERRORS, REST, BaseServer
from framework.threads import ThreadingMixIn
from framework.unix import UnixStreamServer

__all__ = [
    "ServiceMixIn",
    "TCPService",
    "ThreadingTCPService",
    "ThreadingUnixStreamService",
    "UnixStreamService",
]

# What a handler meets because of its client; no fault of the program.
_CLIENT_FAULTS = (
    (ConnectionError, CloseReason.PEER),
    (TimeoutError, CloseReason.TIMEOUT),
    (LineTooLongError, CloseReason.LIMIT),
)

# Looked up for each connection, and a lookup on an Enum costs a call up to Python 3.11.
_SERVING, _BUSY = ServerState.SERVING, Phase.BUSY

T = TypeVar("T")
P = ParamSpec("P")


class ServiceMixIn(Limits, Binding[RequestT, AddressT]):
    """Turns a server into a service; see the module, and ``Limits`` and ``Binding`` for what can be set."""

    # A handler that is stuck must not keep the program from ending; the registry waits for the others.
    daemon_threads: bool = True

    observers: ClassVar[tuple[Callable[[], Observer], ...]] = (LoggingObserver,)
    """Made and attached to each new server."""

    _connection_class: type[Connection] = Connection
    _takes_bursts = False
    """Whether a request is a burst by itself: to look for another one at once would mostly be in vain."""
    _sends_empty_replies = False

    if not TYPE_CHECKING:
        # Not for type checkers: which arguments go with which class, the server's own signature says.
        def __init__(self, server_address: Any, *args: Any, **kwargs: Any) -> None:
            self.__prepare()
            super().__init__(self._locate(server_address), *args, **kwargs)

    def __prepare(self) -> None:  # pyright: ignore[reportUnusedFunction] # called above
        self.__state = ServerState.NEW
        self.__state_guard = threading.Condition()
        self.__last_turn = 0.0
        self.__begin_requests()
        self.__observers = Observers()
        for make in self.observers:
            self.__observers.attach(make())
        self.__thread: threading.Thread | None = None
        self.__stopped = threading.Event()
        self.__loop: Loop | None = None
        self.__watching = False
        self.__overloaded: bool = False
        self.__accept_errors = AcceptErrors()
        self.__actions_failing = False
        self.__tick = tick(self)
        self.__next_sweep = 0.0
        self.__datagrams = issubclass(type(self), UDPServer)
        # Those that run on the loop are over when it goes on, and children are known as such.
        hook: object = getattr(type(self), "process_request", None)
        inline = hook is BaseServer.process_request or issubclass(type(self), ForkingMixIn)
        self.__counts_datagrams = self.__datagrams and not inline
        self.__receiver = DatagramReceiver(self.max_datagrams_per_peer, self._happened)
        self.__acceptor: Acceptor | None = None
        self.__accepts_itself = (
            getattr(super(ServiceMixIn, type(self)), "get_request", None) is TCPServer.get_request
        )

    def __begin_requests(self) -> None:
        self.__requests = Requests(self.__collect)
        self.__connections = self.__requests.connections
        self.__children = self.__requests.children

    def __collect(self, seconds: float) -> None:
        """Wait for a child to end."""
        if isinstance(self, ForkingMixIn):
            wait_for_any(list(self.active_children or ()), seconds)
            self.collect_children()

    # -- observation -------------------------------------------------------------------------------------------

    @property
    def state(self) -> ServerState:
        """Where in its life the server is."""
        return self.__state

    @property
    def draining(self) -> bool:
        """Whether a handler should come to an end soon."""
        return self.__state in {ServerState.DRAINING, ServerState.CLOSED}

    @property
    def last_turn(self) -> float:
        """When the loop was last seen to turn, on the monotonic clock: a watchdog tells by it that it hangs."""
        return self.__last_turn

    def wait_for_state(self, *states: ServerState, timeout: float | None = None) -> bool:
        """Wait until the server is in one of ``states``, for ``timeout`` seconds at most; tell whether it is."""
        with self.__state_guard:
            return self.__state_guard.wait_for(lambda: self.__state in states, timeout)

    def info(self) -> ServiceInfo:
        """Return the state and the open connections."""
        now = time.monotonic()
        return ServiceInfo(
            self.__state,
            tuple(
                ConnectionInfo(
                    each.number, each.address, each.phase, now - each.opened, each.received, each.sent
                )
                for each in self.__connections
            ),
            self.__receiver.dropped,
        )

    def listening(self) -> tuple[_socket.socket, ...]:
        """Return the sockets that are listened on, which a successor is handed."""
        return (self.socket,)

    def _happened(self, kind: Callable[P, Event], *what: P.args, **named: P.kwargs) -> None:
        """Tell the observers that something happened, if anybody wants to know."""
        self.__observers.happened(kind, *what, **named)

    def observe(self, observer: Observer) -> None:
        """Tell ``observer`` what happens from now on."""
        self.__observers.attach(observer)

    def unobserve(self, observer: Observer) -> None:
        """Tell ``observer`` no more."""
        self.__observers.detach(observer)

    def wait_for_connections(self, predicate: Callable[[int], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate`` holds for the number of open connections; tell whether it does."""
        return self.__connections.wait_for(predicate, timeout)

    # -- life --------------------------------------------------------------------------------------------------

    def server_activate(self) -> None:
        """Begin to listen."""
        super().server_activate()
        self.__take(Step.ACTIVATE)

    def serve_forever(self, poll_interval: float | None = TICK) -> None:
        """Serve until ``shutdown()``.

        Raises:
            ServerStateError: the server is closed, or serves already.
        """
        self.__take(Step.SERVE)
        self.__last_turn = time.monotonic()
        # A burst ends when nothing is left, which a blocking accept() would wait for. A datagram socket stays
        # blocking, since replies leave by it: there, each receive asks not to wait.
        timeout = self.socket.gettimeout()
        self.__watching = True  # the base's loop begins so
        self.__stopped.clear()
        self.__thread = threading.current_thread()
        if not self.__datagrams:
            self.__accept_errors.keep_reserve()
        try:
            self.socket.settimeout(None if self.__datagrams else 0)
            super().serve_forever(min(self.__tick, math.inf if poll_interval is None else poll_interval))
        finally:
            with contextlib.suppress(OSError):  # another thread closed it
                self.socket.settimeout(timeout)
            self.__accept_errors.give_up_reserve()
            self.__watching = False
            self.__connections.poke()
            with self.__state_guard:
                self.__loop = None
                self.__thread = None
                # Whoever asked until here asked for this stop, and not for that of the next time.
                self._BaseServer__shutdown_request = False
                self.__state = next_state(self.__state, Step.STOP)
                self.__state_guard.notify_all()
            self.__stopped.set()

    def _open_loop(self) -> Loop:
        return self._use_loop(super()._open_loop())

    def _use_loop(self, loop: Loop) -> Loop:
        self.__loop = loop
        return loop

    def suspend(self) -> None:
        """Take no more requests; those that run go on, and new clients wait in the backlog.

        Raises:
            ServerStateError: the server does not serve.
        """
        self.__take(Step.SUSPEND)

    def resume(self) -> None:
        """Take requests again.

        Raises:
            ServerStateError: the server was not suspended.
        """
        self.__take(Step.RESUME)

    def reload(self) -> None:
        """Read anew what may have changed, such as certificates; ``serve()`` calls it on SIGHUP. Here: nothing."""

    def shutdown(self) -> None:
        """End ``serve_forever()`` and wait for it; the requests that run go on.

        Legal in every state: one that does not serve yet will end at once when it does. On the loop's own
        thread, in a handler that runs inline for one, it does not wait.
        """
        with self.__state_guard:
            self._BaseServer__shutdown_request = True
            if self.__loop is not None:
                self.__loop.wake()
            if self.__thread in {None, threading.current_thread()}:
                return
        self.__stopped.wait()

    def drain(self, deadline: float | None = None) -> DrainResult:
        """Take no more requests, let those that run come to their end, and cut off those that do not.

        Connections that wait for their next request meet the end of their input at once, the others when
        they look for their next one. The loop still runs afterwards: ``shutdown()`` ends it.

        Args:
            deadline: seconds to wait before what still runs is cut; ``None``: ``drain_timeout``.

        Raises:
            ServerStateError: the server does not serve.
        """
        self.__take(Step.DRAIN)
        return self.__drain(self.drain_timeout if deadline is None else deadline)

    def __drain(self, seconds: float) -> DrainResult:
        self._happened(DrainBegan, self._open_requests(), seconds)
        result = self._end_requests(seconds)
        self._happened(DrainEnded, result.completed, result.forced, result.abandoned)
        return result

    def _open_requests(self) -> int:
        """Return how many requests a drain would wait for."""
        return len(self.__requests)

    def _end_requests(self, seconds: float) -> DrainResult:
        """Ask every request to end, and after ``seconds`` end it."""
        return self.__requests.drain(seconds, lambda: not self.__watching)

    def _ask_to_end(self) -> None:
        """Let connections that wait for a request meet the end of their input, now or when they wait next."""
        self.__requests.ask_to_end()

    def _cut_all(self) -> None:
        """End all connections, both ways, and all children."""
        self.__requests.cut_all()

    def server_close(self) -> None:
        """Close the listening socket, then drain for up to ``drain_timeout``; nobody is waited for for ever."""
        self.__take(Step.CLOSE)
        # First, so that clients are refused rather than left in a backlog; the loop, if any, has been woken to let
        # go of it.
        self.socket.close()
        abandoned = 0
        # A request that runs on the loop cannot wait for itself; one in a child is no such request.
        on_loop = self.__thread is threading.current_thread() and not isinstance(self, ForkingMixIn)
        if self._open_requests() and not on_loop:
            abandoned = self.__drain(self.drain_timeout).abandoned
        if abandoned:
            # The mix-in for threads would wait for the stuck ones; nobody else has threads by that name.
            vars(self).pop("_threads", None)
        self.__children.tell_to_end()  # gives back what that takes
        super().server_close()

    def __take(self, step: Step) -> None:
        with self.__state_guard:
            self.__state = next_state(self.__state, step)
            self.__state_guard.notify_all()
            loop = self.__loop
        if loop is not None:
            loop.wake()

    # -- for handlers ------------------------------------------------------------------------------------------
    #
    # What differs between threads and greenlets, so that a handler that uses these is at home under both.

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass for the request that calls this, and for no other."""
        time.sleep(seconds)

    def run_blocking(self, function: Callable[[], T]) -> T:
        """Run ``function``, which may block, where it holds up no other request; return or raise what it does."""
        return function()

    def at_turn_end(self, action: Callable[[], object]) -> None:
        """Run ``action`` when all requests that are ready have run; where each has its own thread, at once."""
        action()

    # -- the loop ----------------------------------------------------------------------------------------------

    def _take_actions(self) -> None:
        try:
            self.service_actions()
        except Exception as error:
            if not self.__actions_failing:  # the edge, once
                self.__actions_failing = True
                self._happened(ActionsFailed, error)
        else:
            self.__actions_failing = False
        self._turn()

    def _turn(self) -> None:
        """Sweep, and watch the listener or leave it alone; on each turn of the loop, whatever a subclass does there."""
        now = self.__last_turn = time.monotonic()
        if now >= self.__next_sweep:
            self.__next_sweep = now + self.__tick
            sweep(self, self.__connections, now)
        self.__watch_listener(now)

    def __watch_listener(self, now: float) -> None:
        full = self.__full()
        if full != self.__overloaded:
            self.__overloaded = full
            kind = Overloaded if full else Recovered
            self._happened(kind, self._open_requests())
            full = self.__full()  # again: who left before the mark was set saw no need to wake the loop
        loop = self.__loop
        if loop is None:
            return  # handle_request() watches for itself
        watch = self.__state is ServerState.SERVING and not full and now >= self.__accept_errors.resting_until
        if watch != self.__watching:
            self.__watching = watch
            if watch:
                loop.watch(self)
            else:
                loop.unwatch(self)
                self.__connections.poke()

    # -- requests ----------------------------------------------------------------------------------------------

    def _handle_request_noblock(self) -> None:
        """Take the requests that are there, up to ``accept_burst``."""
        for _ in range(self.accept_burst):
            # Looked at before each: suspend() may have been called, or the cap reached, since the loop woke.
            if self.__thread is not None and (self.__state is not _SERVING or self.__full()):
                return
            if not self._take_request() or self.__thread is None or self._takes_bursts:
                return  # handle_request() takes one

    def _take_request(self) -> bool:
        """Take one request and start it; tell whether there was one."""
        try:
            request, client_address = self.get_request()
        except Exception as error:
            self.__accept_failed(error)
            return False
        if self.__accept_errors.failing:
            self.__accept_errors.over()
        if isinstance(request, Connection):
            self.__admit(request, client_address, request)
        else:
            self.__start(request, client_address)
        return True

    def _may_accept(self) -> bool:
        """Tell whether to take another request now: for models whose workers take them."""
        limit = self.max_connections
        resting_until = self.__accept_errors.resting_until
        return (
            self.__state is _SERVING
            and (limit is None or len(self.__connections) < limit)
            and (not resting_until or time.monotonic() >= resting_until)
        )

    def __full(self) -> bool:
        if self.__children and isinstance(self, ForkingMixIn) and len(self.__children) >= self.max_children:
            return True
        limit = self.max_connections
        return limit is not None and not self.__datagrams and len(self.__connections) >= limit

    def __accept_failed(self, error: Exception) -> None:
        errors = self.__accept_errors
        if errors.met(error):
            self._happened(AcceptFailed, error)
        if not isinstance(error, OSError) or error.errno not in LASTING_ERRORS:
            return
        if self.__loop is not None:
            self.__loop.alarm(REST)
        if self.__accepts_itself and not self.__datagrams:
            for address in errors.turned_away(self.socket, self.accept_burst):
                self._happened(Rejected, address, RejectReason.NO_DESCRIPTOR)

    def get_request(self) -> tuple[RequestT, AddressT]:
        """Take the next request; an accepted stream becomes a ``Connection``."""
        # Any, here and below: what a family's address and a request are, the server class has said.
        client_address: Any
        request: Any
        if self.__datagrams:
            data, client_address = self.__receiver.receive(
                self.socket, self.max_packet_size, self.accept_burst
            )
            request = data, self.socket
            return request, client_address
        acceptor = self.__acceptor
        if acceptor is None or acceptor.listener is not self.socket:
            acceptor = self.__acceptor = Acceptor(self.socket, self._connection_class)
        if self.__accepts_itself and acceptor.plain:
            connection, client_address = acceptor.accept()
        else:
            request, client_address = super().get_request()
            if type(request) is not _socket.socket:
                return request, client_address
            connection = acceptor.adopt(request)
        connection.address = client_address
        connection.line_limit = self.line_limit
        if self.max_connections_per_peer is not None:
            connection.group = group_of(connection.family, client_address)
        request = connection
        return request, client_address

    def _receive_more(self, datagrams: list[tuple[bytes, Any]], most: int) -> None:
        """Receive what else is there, until ``datagrams`` has ``most``: for models that take several at once."""
        size, burst = self.max_packet_size, self.accept_burst
        self.__receiver.receive_more(self.socket, size, burst, datagrams, most)

    def __admit(self, request: RequestT, client_address: AddressT, connection: Connection) -> None:
        limit = self.max_connections_per_peer
        crowded = limit is not None and self.__connections.of_group(connection.group) >= limit
        self.__connections.add(connection)
        self._happened(ConnectionOpened, connection.number, client_address, len(self.__connections))
        if crowded:
            self.__reject(connection, client_address, RejectReason.PEER_LIMIT)
            return
        self.__start(request, client_address)

    def __start(self, request: RequestT, client_address: AddressT) -> None:
        try:
            if not self.verify_request(request, client_address):
                self.__reject(request, client_address, RejectReason.VERIFY)
                return
            if self.__counts_datagrams:
                self.__requests.begin(request)
            self.process_request(request, client_address)
        except Exception:
            try:
                self.handle_error(request, client_address)
            finally:
                self.shutdown_request(request)
        except BaseException:
            self.shutdown_request(request)
            raise

    def __reject(self, request: Any, client_address: AddressT, reason: RejectReason) -> None:
        self._happened(Rejected, client_address, reason)
        connection: object = request
        if isinstance(connection, Connection):
            connection.reason = CloseReason.REFUSED
        self.shutdown_request(request)

    def finish_request(self, request: RequestT, client_address: AddressT) -> None:
        """Serve the request by a handler."""
        if isinstance(request, Connection):
            request.phase = _BUSY
        super().finish_request(request, client_address)

    def handle_error(self, request: RequestT, client_address: AddressT) -> None:
        """Tell the observers; what a client caused by hanging up or dawdling is no error."""
        error = sys.exception()
        if isinstance(request, Connection) and isinstance(error, HandshakeError):
            if request.reason not in {None, CloseReason.PEER}:
                return  # it was ended from here, by a drain
            request.reason = CloseReason.HANDSHAKE
            self._happened(HandshakeFailed, request.number, request.address, error)
            return
        reason = next((why for kind, why in _CLIENT_FAULTS if isinstance(error, kind)), None)
        if isinstance(request, Connection) and request.reason is None:
            request.reason = reason or CloseReason.ERROR
        if error is not None and reason is None:
            self._happened(HandlerFailed, client_address, error)

    def shutdown_request(self, request: RequestT) -> None:
        """End the connection so that the peer gets all that was sent to it; once, whoever asks how often."""
        if not isinstance(request, Connection) or not request.number:
            super().shutdown_request(request)
            if self.__counts_datagrams:
                self.__requests.end(request)
            return
        if not self.__connections.claim(request):
            return
        try:
            if request.holds:
                with contextlib.suppress(OSError):  # the peer has gone, and nobody is left to be told
                    request.release()
            linger(request)
        finally:
            try:
                self.close_request(request)
            finally:
                self.__closed(request)

    def __closed(self, connection: Connection) -> None:
        if not self.__observers.wants(ConnectionClosed):
            self.__connections.remove(connection)
        else:
            left = self.__connections.remove(connection, settled=False)
            try:
                seconds = time.monotonic() - connection.opened
                reason = connection.reason or CloseReason.LOCAL
                event = ConnectionClosed(
                    connection.number,
                    connection.address,
                    reason,
                    seconds,
                    connection.received,
                    connection.sent,
                    left,
                )
                self.__observers.tell(event)
            finally:
                self.__connections.settle()
        loop = self.__loop
        if self.__overloaded and loop is not None:
            loop.wake()

    # -- requests in children (ForkingMixIn) ---------------------------------------------------------------------

    _waits_at_max_children = False

    def _fork(self, request: RequestT, client_address: AddressT) -> int:
        pid, child, told = self.__children.fork(request, client_address)
        if pid == 0:
            self.__serve_alone(child, told)
        elif self.__loop is not None and child.fileno() >= 0:
            self.__loop.watch(child)
        return pid

    def _child_ended(self, pid: int, status: int | None) -> None:
        child = self.__children.remove(pid)
        if child is None:
            return
        if self.__loop is not None and child.fileno() >= 0:
            with contextlib.suppress(KeyError):  # an earlier loop watched it
                self.__loop.unwatch(child)
        request = child.request
        connection = request if isinstance(request, Connection) else None
        reason = CloseReason.ERROR if child.reason is None else child.reason
        forced = connection is not None and connection.reason is not None
        failure = child.failure(status)
        if failure is not None and not forced:
            self._happened(HandlerFailed, child.address, failure)
        octets = child.octets
        child.close()
        if connection is not None and self.__connections.claim(connection):
            connection.reason = connection.reason or reason
            connection.received, connection.sent = octets
            self.__closed(connection)

    def __serve_alone(self, child: Child, told: int) -> None:
        """Become the child: it has one connection, whose end the parent will tell, and no listener."""
        state = self.__state
        self._after_fork()
        self.__state = state
        self.__observers.leave_to(child, ConnectionClosed)
        connection = child.request
        if not isinstance(connection, Connection):
            return
        number, opened = connection.number, connection.opened
        self.__connections.add(connection)
        connection.number, connection.opened = number, opened
        # When the parent closes its own, clients are to be refused rather than wait for nobody.
        self.socket.close()
        about = (connection, self.__requests, self, told, self.__begin_to_end, self.__give_up)
        threading.Thread(target=attend, args=about, daemon=True).start()

    def __begin_to_end(self) -> None:
        self.__state = ServerState.DRAINING

    def __give_up(self) -> None:
        """End the child, whose handshake hangs."""
        try:
            for connection in self.__connections:
                connection.reason = CloseReason.HANDSHAKE
                error = HandshakeError("it hangs: was another thread in it when this process was forked?")
                self._happened(HandshakeFailed, connection.number, connection.address, error)
                self.__closed(connection)
        finally:
            os._exit(1)

    def _after_fork(self) -> None:
        """Forget, in a new process, what is the parent's: its loop, threads, locks, connections and children."""
        self.__state = ServerState.BOUND
        self.__state_guard = threading.Condition()
        self.__observers = self.__observers.after_fork()
        self.__begin_requests()
        self.__thread = None
        self.__stopped = threading.Event()
        self.__loop = None
        self.__overloaded = False
        self._BaseServer__loop = None
        self._BaseServer__is_shut_down = threading.Event()
        self._BaseServer__shutdown_request = False


class TCPService(ServiceMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, one connection at a time."""


class UnixStreamService(ServiceMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, one connection at a time."""


class ThreadingTCPService(ServiceMixIn, ThreadingMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, each connection in a thread."""


class ThreadingUnixStreamService(ServiceMixIn, ThreadingMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, each connection in a thread."""
