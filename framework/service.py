"""``ServiceMixIn``: what makes a server a service that runs for months among strangers.

Goes before the concurrency mix-in and the server class: ``class Chat(ServiceMixIn, ThreadingMixIn, TCPServer)``.
It keeps every hook of ``BaseServer`` and adds, around them:

- a state table, ``suspend()``, ``resume()``, ``drain()``; ``shutdown()`` is legal in every state and thread;
- a registry of the open connections, a cap on them that pauses the listener, a cap per peer that refuses;
- deadlines: for the next request, for the rest of one, for taking a reply, for a connection's whole life;
- accepting in bursts, a pause when the system is out of descriptors, a close that loses no reply;
- events, and logging as one observer of them.

A deadline is enforced by a sweep over all connections at each turn of the loop: reading and writing stay as
cheap as they were, and a deadline comes true up to half a second late.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import math
import os
import selectors
import socket as _socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from framework._loop import Loop
from framework._types import AddressT, InetAddressT, MixIn, RequestT
from framework.addresses import AddressError, Endpoint, InetEndpoint, UnixEndpoint
from framework.children import Child, Children
from framework.connections import LINE_LIMIT, Connection, Connections, HandshakeError, LineTooLongError, Phase
from framework.events import (
    AcceptFailed,
    CloseReason,
    ConnectionClosed,
    ConnectionOpened,
    DatagramTruncated,
    DrainBegan,
    DrainEnded,
    Event,
    HandlerFailed,
    HandshakeFailed,
    LoggingObserver,
    Observer,
    Observers,
    Overloaded,
    Recovered,
    Rejected,
    RejectReason,
)
from framework.handover import adopt, endpoint_of
from framework.inet import TCPServer, UDPServer
from framework.lifecycle import DrainResult, ServerState, Step, next_state
from framework.listeners import locate
from framework.processes import ForkingMixIn, wait_for_any
from framework.server import LASTING_ERRORS, REST
from framework.threads import ThreadingMixIn
from framework.unix import UnixStreamServer
from framework.unix_service import UnixListener

__all__ = [
    "ConnectionInfo",
    "ServiceInfo",
    "ServiceMixIn",
    "TCPService",
    "ThreadingTCPService",
    "ThreadingUnixStreamService",
    "UnixStreamService",
]

# accept(2) failed for the one connection it would have returned (its manual page, section "Error handling").
_TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
# What a handler meets because of its client; no fault of the program.
_CLIENT_FAULTS = (
    (ConnectionError, CloseReason.PEER),
    (TimeoutError, CloseReason.TIMEOUT),
    (LineTooLongError, CloseReason.LIMIT),
)

# Looked up for each connection, and a lookup on an Enum costs a call up to Python 3.11.
_SERVING, _BUSY = ServerState.SERVING, Phase.BUSY
_PEER, _TIMEOUT = CloseReason.PEER, CloseReason.TIMEOUT

T = TypeVar("T")

_SCHEMES = {"datagrams": "udp or unixgram", "connections": "tcp or unix"}

# Half a second late is nothing to deadlines of a minute; two turns a second cost nothing.
_TICK = 0.5
# After a connection was cut, how long its handler gets to notice, in seconds.
_GRACE = 1.0
# How long a client that has connected may take to get its first request through, once the server drains, in seconds:
# a round trip across the world and a retransmission (RFC 6298, section 2). Go's http.Server grants it 5 s.
_FRESH = 1.0
# What a connection counts when it has begun to read a line, which is one turn for the reader and one for the
# connection, and has not written yet.
_FIRST_READ = 2
# Unread input that is swallowed before a close, as gunicorn does: 2 s, 64 KiB.
_LINGER_SECONDS = 2.0
_LINGER_OCTETS = 65536


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One open connection."""

    number: int
    address: Any  # whatever the family says it is
    phase: Phase
    seconds: float
    """Since it was accepted."""


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A service at one moment."""

    state: ServerState
    connections: tuple[ConnectionInfo, ...]


class ServiceMixIn(MixIn[RequestT, AddressT]):
    """Turns a server into a service; see the module.

    Seconds everywhere; ``None`` is no limit.
    """

    # A restart finds connections of its predecessor in TIME_WAIT; without this it could not bind (socket(7)).
    allow_reuse_address: bool = True
    # Ranch and waitress have 1024; the kernel cuts it to net.core.somaxconn.
    request_queue_size: int = 1024
    # A handler that is stuck must not keep the program from ending; the registry waits for the others.
    daemon_threads: bool = True
    # The most that UDP can carry (RFC 768), and more than Unix senders send by default.
    max_packet_size: int = 65535

    max_connections: int | None = 1024
    """Open at once; at this number the listener pauses and clients wait in the backlog. Ranch's default."""
    max_connections_per_peer: int | None = None
    """Open at once from one address, or one /64 of IPv6; further ones are closed. Off: behind a proxy or a
    shared address all clients are one peer."""
    idle_timeout: float | None = 60
    """For the first octet of the next request. Thousand Island waits 60 s too."""
    read_timeout: float | None = 60
    """For the rest of a line or a ``read(n)`` that has begun, from its first octet to its last."""
    write_timeout: float | None = 30
    """For the peer to take 256 KiB, or the whole of a smaller write. Thousand Island: 30 s."""
    handshake_timeout: float | None = 5
    """For all that comes before the handler, from when a worker takes the connection: the header of a proxy
    and a TLS handshake, together. Ranch and Thousand Island wait 5 s too."""
    lifetime: float | None = None
    """For a connection as a whole. Off: protocols differ too much."""
    drain_timeout: float = 15
    """For the requests that run when the server closes. Thousand Island waits 15 s too."""
    line_limit: int = LINE_LIMIT
    """Octets of a line that ``rfile`` reads. Twisted's limit."""
    accept_burst: int = 64
    """Connections accepted per turn of the loop, so that those who are served get theirs."""

    peer_credentials: bool = False
    """Make ``client_address``, on a Unix socket, a ``UnixPeer`` with ``credentials``. Off: it costs each request."""

    observers: ClassVar[tuple[Callable[[], Observer], ...]] = (LoggingObserver,)
    """Made and attached to each new server."""

    _connection_class: type[Connection] = Connection

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

        # Not for type checkers: which arguments go with which class, the server's own signature says.
        def __init__(self, server_address: Any, *args: Any, **kwargs: Any) -> None:
            self.__prepare()
            if isinstance(server_address, Endpoint):
                server_address = self.__locate(server_address)
            super().__init__(server_address, *args, **kwargs)

    def __prepare(self) -> None:  # pyright: ignore[reportUnusedFunction] # called above
        self.__state = ServerState.NEW
        self.__state_guard = threading.Condition()
        self.__endpoint: Endpoint | None = None
        self.__last_turn = 0.0
        self.__connections = Connections()
        self.__children = Children()
        self.__observers = Observers()
        for make in self.observers:
            self.__observers.attach(make())
        self.__thread: threading.Thread | None = None
        self.__stopped = threading.Event()
        self.__loop: Loop | None = None
        self.__watching = False
        self.__overloaded: bool = False
        self.__resting_until = 0.0
        self.__accept_failing = False
        timeouts = (self.idle_timeout, self.read_timeout, self.write_timeout, self.lifetime)
        self.__tick = min([_TICK, *(timeout / 4 for timeout in timeouts if timeout)])
        self.__next_sweep = 0.0
        self.__datagrams = issubclass(type(self), UDPServer)
        self.__listener: _socket.socket | None = None
        self.__family = self.__kind = 0
        self.__accepts_itself = (
            getattr(super(ServiceMixIn, type(self)), "get_request", None) is TCPServer.get_request
        )
        owner = next((each for each in type(self).__mro__ if "allow_reuse_address" in vars(each)), None)
        if self.__datagrams and owner is ServiceMixIn:
            # Datagram sockets know no TIME_WAIT; there it would let a second server take the port (socket(7)).
            self.allow_reuse_address = False

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
                ConnectionInfo(each.number, each.address, each.phase, now - each.opened)
                for each in self.__connections
            ),
        )

    def _tell(self, event: Event) -> None:
        """Tell the observers what a mix-in has to tell."""
        self.__observers.tell(event)

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

    def __locate(self, endpoint: Endpoint) -> Any:  # pyright: ignore[reportUnusedFunction] # called above
        """Take note of an endpoint, and return it in the form of its family."""
        self.__endpoint = endpoint
        if isinstance(endpoint, InetEndpoint | UnixEndpoint):
            if endpoint.datagrams != self.__datagrams:
                served = "datagrams" if self.__datagrams else "connections"
                problem = f"{type(self).__name__} serves {served}, for which {endpoint} is no address"
                raise AddressError("scheme", f"{problem}; write {_SCHEMES[served]}")
            if isinstance(endpoint, InetEndpoint):
                kind = _socket.SOCK_DGRAM if self.__datagrams else _socket.SOCK_STREAM
                self.address_family, address = locate(endpoint, kind)
                return address
            self.address_family = _socket.AF_UNIX
            return os.fsencode(endpoint.path) if endpoint.abstract else endpoint.path
        return None

    def server_bind(self) -> None:
        """Bind the socket, or take the one that systemd or an earlier life of the program has bound."""
        # Exactly: what is more than a socket was put in its place by a program that knows what it does.
        if type(self.socket) is _socket.socket:
            endpoint = self.__endpoint or endpoint_of(self.socket, self.server_address)
            if endpoint is not None:
                listener = adopt(self.socket, endpoint)
                if self.peer_credentials and isinstance(listener, UnixListener):
                    listener.tell_credentials()
                self.socket = listener
                self.address_family = listener.family
        super().server_bind()  # type: ignore[misc] # of TCPServer, or whoever else calls this

    def server_activate(self) -> None:
        """Begin to listen."""
        super().server_activate()
        self.__take(Step.ACTIVATE)

    def serve_forever(self, poll_interval: float | None = _TICK) -> None:
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
        try:
            self.socket.settimeout(None if self.__datagrams else 0)
            super().serve_forever(min(self.__tick, math.inf if poll_interval is None else poll_interval))
        finally:
            with contextlib.suppress(OSError):  # another thread closed it
                self.socket.settimeout(timeout)
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
        if self.__observers.wants(DrainBegan):
            self.__observers.tell(DrainBegan(self._open_requests(), seconds))
        result = self._end_requests(seconds)
        if self.__observers.wants(DrainEnded):
            self.__observers.tell(DrainEnded(result.completed, result.forced, result.abandoned))
        return result

    def __requests(self) -> set[object]:
        """Return what a drain waits for: connections, and the children that have none since they serve a datagram."""
        lone = (child for child in self.__children if not isinstance(child.request, Connection))
        return {*self.__connections, *lone}

    def _open_requests(self) -> int:
        """Return how many requests a drain would wait for."""
        return len(self.__requests())

    def _end_requests(self, seconds: float) -> DrainResult:
        """Ask every request to end, and after ``seconds`` end it."""
        asked = self.__requests()
        self._ask_to_end(fresh=False)
        first = min(_FRESH, seconds)
        # The loop may be accepting one just now: it is over when the loop has let go of the listener, too.
        over = self.__wait_for_requests(first) and self.__connections.wait_for(
            lambda _: not self.__watching, first
        )
        if not over:
            self._ask_to_end()
            over = self.__wait_for_requests(seconds - first)
        late = set[object]() if over else self.__requests()
        if late:
            self._cut_all()
        self.__wait_for_requests(_GRACE if late else 0)
        abandoned = late & self.__requests()
        return DrainResult(len(asked - late), len(late) - len(abandoned), len(abandoned))

    def __wait_for_requests(self, seconds: float) -> bool:
        """Wait until all have ended, for ``seconds`` at most; tell whether they have."""
        deadline = time.monotonic() + seconds
        if isinstance(self, ForkingMixIn):
            # Whether or not the loop still runs, which would collect them too.
            while self.__children and (left := deadline - time.monotonic()) > 0:
                wait_for_any(list(self.active_children or ()), left)
                self.collect_children()
        left = max(deadline - time.monotonic(), 0)
        return self.__connections.wait_for(lambda count: count == 0, left) and not self.__children

    def _ask_to_end(self, *, fresh: bool = True) -> None:
        """Let connections that wait for a request meet the end of their input, now or when they wait next.

        Args:
            fresh: also those that have only just been opened, and may not have got their first request through yet.
        """
        oldest = time.monotonic() - _FRESH
        for connection in self.__connections:
            if connection.closing:
                continue  # and may be reading what is left, for a bounded time
            if not fresh and connection.opened > oldest and connection.turns <= _FIRST_READ:
                continue
            connection.drained = True
            if connection.phase is Phase.IDLE:
                connection.end_input(CloseReason.DRAIN)
        self.__children.tell_to_end()  # who look at their connections likewise

    def _cut_all(self) -> None:
        """End all connections, both ways, and all children."""
        for connection in self.__connections:
            connection.cut(CloseReason.DRAIN)
        self.__children.kill()

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

    def service_actions(self) -> None:
        """Sweep, and watch the listener or leave it alone."""
        super().service_actions()
        now = self.__last_turn = time.monotonic()
        if now >= self.__next_sweep:
            self.__next_sweep = now + self.__tick
            self.__sweep(now)
        self.__watch_listener(now)

    def __watch_listener(self, now: float) -> None:
        full = self.__full()
        if full != self.__overloaded:
            self.__overloaded = full
            kind = Overloaded if full else Recovered
            if self.__observers.wants(kind):
                self.__observers.tell(kind(self._open_requests()))
            full = self.__full()  # again: who left before the mark was set saw no need to wake the loop
        loop = self.__loop
        if loop is None:
            return  # handle_request() watches for itself
        watch = self.__state is ServerState.SERVING and not full and now >= self.__resting_until
        if watch != self.__watching:
            self.__watching = watch
            if watch:
                loop.watch(self)
            else:
                loop.unwatch(self)
                self.__connections.poke()

    def __sweep(self, now: float) -> None:
        limits = {
            Phase.IDLE: self.idle_timeout,
            Phase.READING: self.read_timeout,
            Phase.WRITING: self.write_timeout,
        }
        for connection in self.__connections:
            if connection.holds:
                with contextlib.suppress(OSError):  # for the handler to meet
                    connection.push()
            if connection.turns != connection.seen:
                connection.seen = connection.turns
                connection.since = now
            if self.lifetime is not None and now - connection.opened > self.lifetime:
                connection.cut(CloseReason.TIMEOUT)
                continue
            limit = limits.get(connection.phase)
            if limit is None or now - connection.since <= limit:
                continue
            if connection.closing and connection.phase is not Phase.WRITING:
                continue
            # The end of its input first, so that a handler may say why; what that does not end is cut.
            if connection.phase is Phase.WRITING or connection.reason is CloseReason.TIMEOUT:
                connection.cut(CloseReason.TIMEOUT)
            else:
                connection.drained = True
                connection.end_input(CloseReason.TIMEOUT)
                connection.since = now

    # -- requests ----------------------------------------------------------------------------------------------

    def _handle_request_noblock(self) -> None:
        """Take the requests that are there, up to ``accept_burst``."""
        for _ in range(self.accept_burst):
            # Looked at before each: suspend() may have been called, or the cap reached, since the loop woke.
            if self.__thread is not None and (self.__state is not _SERVING or self.__full()):
                return
            if not self._take_request() or self.__thread is None:
                return  # handle_request() takes one

    def _take_request(self) -> bool:
        """Take one request and start it; tell whether there was one."""
        try:
            request, client_address = self.get_request()
        except OSError as error:
            self.__accept_failed(error)
            return False
        self.__accept_failing = False
        if isinstance(request, Connection):
            self.__admit(request, client_address)
        else:
            self.__start(request, client_address)
        return True

    def _may_accept(self) -> bool:
        """Tell whether to take another request now: for models whose workers take them."""
        limit = self.max_connections
        return (
            self.__state is _SERVING
            and (limit is None or len(self.__connections) < limit)
            and (not self.__resting_until or time.monotonic() >= self.__resting_until)
        )

    def __full(self) -> bool:
        if isinstance(self, ForkingMixIn) and len(self.__children) >= self.max_children:
            return True
        limit = self.max_connections
        return limit is not None and len(self.__connections) >= limit

    def __accept_failed(self, error: OSError) -> None:
        if error.errno in _TRANSIENT:
            return
        if error.errno in LASTING_ERRORS:
            self.__resting_until = time.monotonic() + REST
            if self.__loop is not None:
                self.__loop.alarm(REST)
        if not self.__accept_failing:  # the edge, once
            self.__accept_failing = True
            if self.__observers.wants(AcceptFailed):
                self.__observers.tell(AcceptFailed(error))

    def get_request(self) -> tuple[RequestT, AddressT]:
        """Take the next request; an accepted stream becomes a ``Connection``."""
        if self.__datagrams:
            return cast("tuple[RequestT, AddressT]", self.__receive(self.socket))
        client_address: Any
        listener = self.socket
        # Exactly: what is more than a socket, such as a TLS one, is left as it is.
        if self.__accepts_itself and type(listener) is _socket.socket:
            # accept() would make a socket out of the descriptor, only for ours to be made out of that one's. And the
            # family is kept as a number, since the enum's member costs each connection a microsecond.
            if listener is not self.__listener:
                self.__listener = listener
                self.__family, self.__kind = int(listener.family), int(listener.type)
            descriptor, client_address = cast("Any", listener)._accept()  # noqa: SLF001
            connection = self._connection_class(self.__family, self.__kind, 0, descriptor)
        else:
            request, client_address = super().get_request()
            accepted: object = request
            if type(accepted) is not _socket.socket:
                return request, client_address
            connection = self._connection_class(accepted.family, accepted.type, 0, accepted.detach())
        connection.address = client_address
        connection.line_limit = self.line_limit
        if self.max_connections_per_peer is not None:
            connection.group = _group(connection.family, client_address)
        return cast("RequestT", connection), client_address

    def __receive(self, sock: _socket.socket) -> tuple[Any, Any]:
        """Receive one datagram, and see whether it was longer than ``max_packet_size``."""
        size = self.max_packet_size
        # One octet more than is wanted: if it comes, there was more.
        data, client_address = sock.recvfrom(size + 1, _socket.MSG_DONTWAIT)
        if len(data) > size:
            data = data[:size]
            if self.__observers.wants(DatagramTruncated):
                self.__observers.tell(DatagramTruncated(client_address, size))
        return (data, sock), client_address

    def __admit(self, connection: Connection, client_address: AddressT) -> None:
        limit = self.max_connections_per_peer
        crowded = limit is not None and self.__connections.of_group(connection.group) >= limit
        self.__connections.add(connection)
        if self.__observers.wants(ConnectionOpened):
            event = ConnectionOpened(connection.number, client_address, len(self.__connections))
            self.__observers.tell(event)
        if crowded:
            self.__reject(connection, client_address, RejectReason.PEER_LIMIT)
            return
        self.__start(cast("RequestT", connection), client_address)

    def __start(self, request: RequestT, client_address: AddressT) -> None:
        try:
            if not self.verify_request(request, client_address):
                self.__reject(request, client_address, RejectReason.VERIFY)
                return
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
        if self.__observers.wants(Rejected):
            self.__observers.tell(Rejected(client_address, reason))
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
            if self.__observers.wants(HandshakeFailed):
                self.__observers.tell(HandshakeFailed(request.number, request.address, error))
            return
        reason = next((why for kind, why in _CLIENT_FAULTS if isinstance(error, kind)), None)
        if isinstance(request, Connection) and request.reason is None:
            request.reason = reason or CloseReason.ERROR
        if error is not None and reason is None and self.__observers.wants(HandlerFailed):
            self.__observers.tell(HandlerFailed(client_address, error))

    def shutdown_request(self, request: RequestT) -> None:
        """End the connection so that the peer gets all that was sent to it; once, whoever asks how often."""
        if not isinstance(request, Connection) or not request.number:
            super().shutdown_request(request)
            return
        if not self.__connections.claim(request):
            return
        try:
            if request.holds:
                with contextlib.suppress(OSError):  # the peer has gone, and nobody is left to be told
                    request.release()
            _linger(request)
        finally:
            try:
                self.close_request(cast("RequestT", request))
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
                event = ConnectionClosed(connection.number, connection.address, reason, seconds, left)
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
        # A child that raised has told so itself, and left with 1.
        code = os.waitstatus_to_exitcode(status) if status is not None else 0
        if code not in {0, 1} and not forced and self.__observers.wants(HandlerFailed):
            how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
            self.__observers.tell(HandlerFailed(child.address, ChildProcessError(f"process {pid} {how}")))
        child.close()
        if connection is not None and self.__connections.claim(connection):
            connection.reason = connection.reason or reason
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
        threading.Thread(target=self.__attend, args=(told,), daemon=True).start()

    def __attend(self, told: int) -> None:
        """Do for a child's only connection what the loop does for those of the parent."""
        drained_at = math.inf
        with Loop(selectors.DefaultSelector()) as loop:
            loop.watch(told)
            while True:
                if loop.wait(self.__tick):
                    loop.unwatch(told)
                    self.__state = ServerState.DRAINING
                    drained_at = time.monotonic()
                now = time.monotonic()
                if now >= drained_at:
                    self._ask_to_end(fresh=now >= drained_at + _FRESH)
                self.__sweep(now)

    def _after_fork(self) -> None:
        """Forget, in a new process, what is the parent's: its loop, threads, locks, connections and children."""
        self.__state = ServerState.BOUND
        self.__state_guard = threading.Condition()
        self.__observers = self.__observers.after_fork()
        self.__connections = Connections()
        self.__children = Children()
        self.__thread = None
        self.__stopped = threading.Event()
        self.__loop = None
        self.__overloaded = False
        self._BaseServer__loop = None
        self._BaseServer__is_shut_down = threading.Event()
        self._BaseServer__shutdown_request = False


def _linger(connection: Connection) -> None:
    """Swallow what the peer has sent and nobody read: close(2) would answer it by a reset, which overtakes the reply.

    Bounded in time and octets; where nothing is unread, as mostly, it costs one system call.
    """
    reason = connection.reason
    if reason is _PEER or reason is _TIMEOUT:
        return
    try:
        if connection.gettimeout() is not None:
            connection.settimeout(None)  # else the module would wait, whatever the flags
        swallowed = connection.swallow(_LINGER_OCTETS, _socket.MSG_DONTWAIT)
    except OSError:
        return
    if not swallowed:
        return  # the peer has closed as well
    # Without a handler so far this is the loop, which no peer may hold up.
    unserved = connection.phase is Phase.OPENING or reason is CloseReason.REFUSED
    seconds = 0 if unserved else _LINGER_SECONDS
    with contextlib.suppress(OSError):
        _socket.socket.shutdown(connection, _socket.SHUT_WR)
        deadline = time.monotonic() + seconds
        while swallowed < _LINGER_OCTETS and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            octets = connection.swallow(_LINGER_OCTETS)
            if not octets:
                return
            swallowed += octets


def _group(family: int, address: Any) -> bytes | None:
    """Return what counts as one peer: an IPv4 address, a /64 of IPv6 (RFC 6177), nothing for Unix sockets."""
    if family not in {_socket.AF_INET, _socket.AF_INET6}:
        return None
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address):
        return host.ipv4_mapped.packed if host.ipv4_mapped else host.packed[:8]
    return host.packed


class TCPService(ServiceMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, one connection at a time."""


class UnixStreamService(ServiceMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, one connection at a time."""


class ThreadingTCPService(ServiceMixIn, ThreadingMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, each connection in a thread."""


class ThreadingUnixStreamService(ServiceMixIn, ThreadingMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, each connection in a thread."""
