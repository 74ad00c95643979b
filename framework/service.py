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
import socket as _socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, cast

from framework._loop import Loop
from framework._types import AddressT, InetAddressT, MixIn, RequestT
from framework.connections import Connection, Connections, LineTooLongError, Phase
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
    LoggingObserver,
    Observer,
    Observers,
    Overloaded,
    Recovered,
    Rejected,
    RejectReason,
)
from framework.inet import TCPServer, UDPServer
from framework.lifecycle import DrainResult, ServerState, Step, next_state
from framework.threads import ThreadingMixIn
from framework.unix import UnixStreamServer

if TYPE_CHECKING:
    import selectors

    from framework._loop import Waker

__all__ = [
    "ConnectionInfo",
    "ServiceInfo",
    "ServiceMixIn",
    "TCPService",
    "ThreadingTCPService",
    "ThreadingUnixStreamService",
    "UnixStreamService",
]

# accept(2) cannot succeed now, and will meet the same again at once.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
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
_CLIENT_FAULTS = (ConnectionError, TimeoutError, LineTooLongError)

_recv = _socket.socket.recv
# Looked up for each connection, and a lookup on an Enum costs a call up to Python 3.11.
_SERVING, _BUSY = ServerState.SERVING, Phase.BUSY
_PEER, _TIMEOUT = CloseReason.PEER, CloseReason.TIMEOUT
_RECEIVE = _socket.MSG_DONTWAIT | _socket.MSG_TRUNC
# Half a second late is nothing to deadlines of a minute; two turns a second cost nothing.
_TICK = 0.5
# Trio and Ranch pause for 100 ms too.
_REST = 0.1
# After a connection was cut, how long its handler gets to notice, in seconds.
_GRACE = 1.0
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
    lifetime: float | None = None
    """For a connection as a whole. Off: protocols differ too much."""
    drain_timeout: float = 15
    """For the requests that run when the server closes. Thousand Island waits 15 s too."""
    line_limit: int = 16384
    """Octets of a line that ``rfile`` reads. Twisted's limit."""
    accept_burst: int = 64
    """Connections accepted per turn of the loop, so that those who are served get theirs."""

    observers: ClassVar[tuple[Callable[[], Observer], ...]] = (LoggingObserver,)
    """Made and attached to each new server."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

        # Not for type checkers: which arguments go with which class, the server's own signature says.
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.__prepare()
            super().__init__(*args, **kwargs)

    def __prepare(self) -> None:  # pyright: ignore[reportUnusedFunction] # called above
        self.__state = ServerState.NEW
        self.__state_guard = threading.RLock()
        self.__connections = Connections()
        self.__observers = Observers()
        for make in self.observers:
            self.__observers.attach(make())
        self.__thread: threading.Thread | None = None
        self.__loop: Loop | None = None
        self.__watching = False
        self.__overloaded = False
        self.__resting_until = 0.0
        self.__accept_failing = False
        timeouts = (self.idle_timeout, self.read_timeout, self.write_timeout, self.lifetime)
        self.__tick = min([_TICK, *(timeout / 4 for timeout in timeouts if timeout)])
        self.__next_sweep = 0.0
        self.__datagrams = issubclass(type(self), UDPServer)
        self.__buffer = bytearray()
        self.__listener: _socket.socket | None = None
        self.__family = self.__kind = 0
        self.__accepts_itself = (
            getattr(super(ServiceMixIn, type(self)), "get_request", None) is TCPServer.get_request
        )

    # -- observation -------------------------------------------------------------------------------------------

    @property
    def state(self) -> ServerState:
        """Where in its life the server is."""
        return self.__state

    @property
    def draining(self) -> bool:
        """Whether a handler should come to an end soon."""
        return self.__state is ServerState.DRAINING

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

    def observe(self, observer: Observer) -> None:
        """Tell ``observer`` what happens from now on."""
        self.__observers.attach(observer)

    def unobserve(self, observer: Observer) -> None:
        """Tell ``observer`` no more."""
        self.__observers.detach(observer)

    def _tell(self, event: Event) -> None:
        """Tell the observers what a model has to say."""
        self.__observers.tell(event)

    def wait_for_connections(self, predicate: Callable[[int], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate`` holds for the number of open connections; tell whether it does."""
        return self.__connections.wait_for(predicate, timeout)

    # -- life --------------------------------------------------------------------------------------------------

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
        self.__thread = threading.current_thread()
        self.__watching = True  # the base's loop begins so
        # A burst ends when nothing is left, which a blocking accept() would wait for. A datagram socket stays
        # blocking, since replies leave by it: there, each receive asks not to wait.
        timeout = self.socket.gettimeout()
        self.socket.settimeout(None if self.__datagrams else 0)
        try:
            super().serve_forever(min(self.__tick, math.inf if poll_interval is None else poll_interval))
        finally:
            self.__loop = None
            self.__thread = None
            if self.__state is not ServerState.CLOSED:
                self.socket.settimeout(timeout)
                self.__take(Step.STOP)

    def _open_loop(self, kind: Callable[[selectors.BaseSelector, Waker | None], Loop] = Loop) -> Loop:
        self.__loop = super()._open_loop(kind)
        return self.__loop

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

    def shutdown(self) -> None:
        """End ``serve_forever()`` and wait for it; the requests that run go on.

        Legal in every state: one that does not serve yet will end at once when it does. On the loop's own
        thread, in a handler that runs inline for one, it does not wait.
        """
        with self.__state_guard:
            serving = self.__thread
            if serving is None or serving is threading.current_thread():
                self._BaseServer__shutdown_request = True
                return
        super().shutdown()

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
        asked = list(self.__connections)
        if self.__observers.wants(DrainBegan):
            self.__observers.tell(DrainBegan(len(asked), seconds))
        for connection in asked:
            connection.drained = True
            if connection.phase is Phase.IDLE:
                connection.end_input(CloseReason.DRAIN)
        self.__connections.wait_for(lambda count: count == 0, seconds)
        late = list(self.__connections)
        for connection in late:
            connection.cut(CloseReason.DRAIN)
        self.__connections.wait_for(lambda count: count == 0, _GRACE if late else 0)
        abandoned = len(self.__connections)
        result = DrainResult(max(len(asked) - len(late), 0), len(late) - abandoned, abandoned)
        if self.__observers.wants(DrainEnded):
            self.__observers.tell(DrainEnded(result.completed, result.forced, result.abandoned))
        return result

    def server_close(self) -> None:
        """Close the listening socket, then drain for up to ``drain_timeout``; nobody is waited for for ever."""
        with self.__state_guard:
            self.__state = next_state(self.__state, Step.CLOSE)
        super().server_close()
        if len(self.__connections) and self.__thread is not threading.current_thread():
            self.__drain(self.drain_timeout)

    def __take(self, step: Step) -> None:
        with self.__state_guard:
            self.__state = next_state(self.__state, step)
            loop = self.__loop
        if loop is not None:
            loop.wake()

    # -- the loop ----------------------------------------------------------------------------------------------

    def service_actions(self) -> None:
        """Sweep, and watch the listener or leave it alone."""
        super().service_actions()
        now = time.monotonic()
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
                self.__observers.tell(kind(len(self.__connections)))
        watch = self.__state is ServerState.SERVING and not full and now >= self.__resting_until
        loop = self.__loop
        if watch != self.__watching and loop is not None:
            self.__watching = watch
            if watch:
                loop.watch(self)
            else:
                loop.unwatch(self)

    def __sweep(self, now: float) -> None:
        limits = {
            Phase.IDLE: self.idle_timeout,
            Phase.READING: self.read_timeout,
            Phase.WRITING: self.write_timeout,
        }
        for connection in self.__connections:
            if connection.turns != connection.seen:
                connection.seen = connection.turns
                connection.since = now
            if self.lifetime is not None and now - connection.opened > self.lifetime:
                connection.cut(CloseReason.TIMEOUT)
                continue
            limit = limits.get(connection.phase)
            if limit is None or now - connection.since <= limit:
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
        for number in range(self.accept_burst):
            if number and (self.__state is not _SERVING or self.__full()):
                return
            if not self._take_request():
                return

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
        """Tell whether to take another request now; for models whose workers take them."""
        limit = self.max_connections
        return (
            self.__state is _SERVING
            and (limit is None or len(self.__connections) < limit)
            and (not self.__resting_until or time.monotonic() >= self.__resting_until)
        )

    def __full(self) -> bool:
        limit = self.max_connections
        return limit is not None and len(self.__connections) >= limit

    def __accept_failed(self, error: OSError) -> None:
        if error.errno in _TRANSIENT:
            return
        if error.errno in _EXHAUSTED or self.fileno() < 0:
            self.__resting_until = time.monotonic() + _REST
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
            connection = Connection(self.__family, self.__kind, 0, descriptor)
        else:
            request, client_address = super().get_request()
            accepted: object = request
            if type(accepted) is not _socket.socket:
                return request, client_address
            connection = Connection(accepted.family, accepted.type, 0, accepted.detach())
        connection.address = client_address
        connection.line_limit = self.line_limit
        if self.max_connections_per_peer is not None:
            connection.group = _group(connection.family, client_address)
        return cast("RequestT", connection), client_address

    def __receive(self, sock: _socket.socket) -> tuple[Any, Any]:
        """Receive one datagram, and see whether it was longer than ``max_packet_size``."""
        size = self.max_packet_size
        buffer = self.__buffer
        if len(buffer) != size:
            buffer = self.__buffer = bytearray(size)
        # With MSG_TRUNC Linux returns the true length, whatever fits (recv(2)).
        length, client_address = sock.recvfrom_into(buffer, size, _RECEIVE)
        if length > size:
            if self.__observers.wants(DatagramTruncated):
                self.__observers.tell(DatagramTruncated(client_address, length, size))
            length = size
        return (bytes(memoryview(buffer)[:length]), sock), client_address

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
            self.handle_error(request, client_address)
            self.shutdown_request(request)
        except BaseException:
            self.shutdown_request(request)
            raise

    def __reject(self, request: Any, client_address: AddressT, reason: RejectReason) -> None:
        if self.__observers.wants(Rejected):
            self.__observers.tell(Rejected(client_address, reason))
        self.shutdown_request(request)

    def finish_request(self, request: RequestT, client_address: AddressT) -> None:
        """Serve the request by a handler, then send what it left unsent."""
        if not isinstance(request, Connection):
            super().finish_request(request, client_address)
            return
        request.phase = _BUSY
        super().finish_request(request, client_address)
        if request.holds:
            request.release()

    def handle_error(self, request: RequestT, client_address: AddressT) -> None:
        """Tell the observers; what a client caused by hanging up or dawdling is no error."""
        error = sys.exception()
        client_fault = isinstance(error, _CLIENT_FAULTS)
        if isinstance(request, Connection) and request.reason is None:
            request.reason = CloseReason.PEER if client_fault else CloseReason.ERROR
        if error is not None and not client_fault and self.__observers.wants(HandlerFailed):
            self.__observers.tell(HandlerFailed(client_address, error))

    def shutdown_request(self, request: RequestT) -> None:
        """End the connection so that the peer gets all that was sent to it; once, whoever asks how often."""
        if not isinstance(request, Connection):
            super().shutdown_request(request)
            return
        if request not in self.__connections:
            return
        _linger(request)
        self.close_request(cast("RequestT", request))
        if not self.__connections.remove(request):
            return
        if self.__observers.wants(ConnectionClosed):
            event = ConnectionClosed(
                request.number,
                request.address,
                request.reason or CloseReason.LOCAL,
                time.monotonic() - request.opened,
                len(self.__connections),
            )
            self.__observers.tell(event)
        loop = self.__loop
        if self.__overloaded and loop is not None:
            loop.wake()


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
        swallowed = len(_recv(connection, _LINGER_OCTETS, _socket.MSG_DONTWAIT))
    except OSError:
        return
    if not swallowed:
        return  # the peer has closed as well
    with contextlib.suppress(OSError):
        _socket.socket.shutdown(connection, _socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_SECONDS
        while swallowed < _LINGER_OCTETS and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            octets = len(_socket.socket.recv(connection, _LINGER_OCTETS))
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
