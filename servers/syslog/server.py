"""The composition: datagrams on the loop itself, in batches; a thread per connection."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from framework import Endpoint, ServiceMixIn, TCPServer, ThreadingMixIn, UDPServer
from framework.addresses import InetEndpoint, UnixEndpoint
from framework.handover import inheritance
from framework.lifecycle import DrainResult, ServerState
from framework.listeners import Listener
from framework.tls import TLSMixIn
from servers.syslog.hand import Hand, left_behind
from servers.syslog.handler import BatchHandler, StreamHandler, records_of
from servers.syslog.metrics import SinkMetrics
from servers.syslog.outputs.chosen import open_outputs
from servers.syslog.outputs.writer import Begin, Writer, unmarked
from servers.syslog.receiver import Datagram, Receiver
from servers.syslog.settings import RULES, Settings
from servers.syslog.sink import Sink
from shared.run import Program, listen
from shared.settings import SettingsError
from shared.sources import reread

__all__ = ["DatagramSinkServer", "StreamSinkServer", "program"]

_log = logging.getLogger(__name__)

# Datagrams received at a time. The kernel holds net.unix.max_dgram_qlen of them, by default 10, beside those of senders
# that wait.
_BATCH = 64
# Batches received when the server ends from a socket whose senders cannot be told.
_LAST_BATCHES = 1024
# Linux has it since 3.4, and Python has no name for it (socket(7)).
_SO_PEEK_OFF = 42


class SinkMixIn(ServiceMixIn[Any, Any]):
    """What both servers do for their sink."""

    sink: Sink
    renew: Callable[[], None] | None = None
    """What SIGHUP asks for beside that, of one of several servers."""

    def service_actions(self) -> None:
        """Tell now and then of what the limits have dropped."""
        super().service_actions()
        self.sink.tell()

    def reload(self) -> None:
        """Open the outputs anew."""
        super().reload()
        self.sink.reopen()
        if self.renew is not None:
            self.renew()

    def drain(self, deadline: float | None = None) -> DrainResult:
        """Drain, waiting for no output that fails."""
        self.sink.end()
        return super().drain(deadline)


class DatagramSinkServer(SinkMixIn, UDPServer[Any]):
    """Serves a Unix or UDP socket. On the loop itself: whoever sends must wait for nobody but the outputs.

    Args:
        where: as ``framework.at()`` gives it.
        sink: takes what comes.
        size: octets kept of a datagram.
        peeks: whether a datagram is only taken from the kernel once it is written. If it is not, it lies until then in
            memory that outlives the process.
    """

    peer_credentials = True

    def __init__(self, where: Any, sink: Sink, size: int, *, peeks: bool = False) -> None:
        self.sink = sink
        self._peeks = peeks
        self.begin: Begin
        """Is told where outputs begin to write what is in hand."""
        self.max_packet_size = size
        self._held = contextlib.ExitStack()
        super().__init__(where, BatchHandler)

    def server_bind(self) -> None:
        """Bind, and make room for what will come."""
        super().server_bind()
        unix = self.address_family == socket.AF_UNIX
        if self._peeks:
            self._receiver = Receiver.alone(self.max_packet_size, _BATCH, unix=unix)
            self.begin = unmarked
        else:
            self._hand = Hand(self.socket, self.max_packet_size, _BATCH, unix=unix)
            self._held.callback(self._hand.close)
            self._receiver = self._hand.receiver
            self.begin = self._hand.begin
        # A property of the socket, and so of whoever held it before: each peek begins where the last one ended.
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0 if self._peeks else -1)

    def recover(self) -> None:
        """Take what a process had in hand that was killed on this socket."""
        for hand, datagrams in left_behind(self.socket):
            records = records_of(datagrams, self.sink.now())
            if records:
                _log.warning("%d messages were in hand when a process was killed here", len(records))
                self.sink.recover(records, hand.place)

    def get_request(self) -> tuple[Any, None]:  # a list of Datagram, which the server class says is one
        """Receive what is there."""
        receive = self._receiver.receive
        return (
            self._whole(receive(self.socket, flags=socket.MSG_PEEK)) if self._peeks else receive(self.socket)
        ), None

    @staticmethod
    def _whole(peeked: list[Datagram]) -> list[Datagram]:
        """Return datagrams without the pieces that follow on those that were too long: the next peek gives these."""
        whole: list[Datagram] = []
        more = False
        for datagram in peeked:
            if not more:
                whole.append(datagram)
            more = datagram.truncated
        return whole

    def written(self, datagrams: list[Datagram]) -> None:
        """Let go of datagrams that were passed on."""
        if not self._peeks:
            self._hand.written()
        elif self.sink.flush():
            self._discard(datagrams)

    def _discard(self, datagrams: list[Datagram]) -> None:
        """Take datagrams that were written from the kernel, if they are still there."""
        # An empty one that an earlier process has peeked at is still there, and cannot be seen any more.
        missing = sum(1 for each in datagrams if each.octets)
        gone = self._receiver.receive(self.socket, len(datagrams))
        while (missing := missing - sum(1 for each in gone if each.octets)) > 0:
            gone = self._receiver.receive(self.socket, missing)

    def server_close(self) -> None:
        """Refuse what is sent from now on, take what was sent before, and close."""
        sock = self.socket
        # Somebody else who holds the socket, such as systemd or a successor, goes on with what is in it.
        shared = isinstance(sock, Listener) and (sock.bound or sock.passed_on)
        if self.state is ServerState.BOUND and not shared:
            # From here on senders on a Unix socket fail at once, and what is queued can still be read (unix(7)). The
            # peers of a UDP socket, which has none, are not told: ENOTCONN.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RD)
            self._take_the_rest()
        super().server_close()
        self._held.close()

    def _take_the_rest(self) -> None:
        for _ in range(_LAST_BATCHES):
            try:
                request, _ = self.get_request()
            except OSError:
                return
            self.finish_request(request, None)


class StreamSinkServer(SinkMixIn, ThreadingMixIn[Any, Any], TCPServer[Any, Any]):
    """Serves a TCP or Unix stream socket, for messages in frames (RFC 6587).

    Args:
        where: as ``framework.at()`` gives it.
        sink: takes what comes.
        size: octets kept of a message.
    """

    peer_credentials = True
    # A connection that is closed from here may lose a message of a host that has been silent until then: TCP tells it too
    # late. So only what the system finds dead is closed; how many there are is bounded.
    idle_timeout = None

    def __init__(self, where: Any, sink: Sink, size: int) -> None:
        self.sink = sink
        self.max_packet_size = size
        super().__init__(where, StreamHandler)


class TLSSinkServer(TLSMixIn[Any, Any], StreamSinkServer):
    """The same over TLS (RFC 5425).

    Args:
        where: as ``framework.at()`` gives it.
        sink: takes what comes.
        size: octets kept of a message.
        certificate: file of the certificates and, unless it has one of its own, of the key.
        key: file of the key; nothing: there is none.
    """

    def __init__(self, where: Any, sink: Sink, size: int, certificate: str, key: str) -> None:
        self.certfile, self.keyfile = certificate, key or None
        super().__init__(where, sink, size)


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.syslog`` runs."""
    writers: dict[str, Writer] = {}
    sink = Sink(writers, *settings.rules(), settings.clock())

    over_tls = {Endpoint.parse(url) for url in settings.bind_tls}

    def make(where: Endpoint) -> DatagramSinkServer | StreamSinkServer:
        if where in over_tls:
            return TLSSinkServer(where, sink, settings.max_message, settings.certificate, settings.key)
        if inheritance().kind(where) == socket.SOCK_STREAM:
            return StreamSinkServer(where, sink, settings.max_message)
        return DatagramSinkServer(where, sink, settings.max_message, peeks=settings.durability == "peek")

    def renew() -> None:
        nonlocal settings
        settings = reread(settings, *RULES)
        sink.rule(*settings.rules())

    if settings.bind == Settings.bind:
        Path("run").mkdir(exist_ok=True)  # where nobody but this program is to be

    servers = listen([*settings.bind, *settings.bind_tls], make)
    servers[0].renew = renew
    # Only then: a second instance that is refused must not have touched what the first one writes.
    try:
        writers.update(open_outputs(settings))
    except SettingsError:
        for server in servers:
            server.server_close()
        raise
    banner = "" if settings.stdout != "none" else _banner(settings)
    for server in servers:
        if isinstance(server, DatagramSinkServer):
            server.recover()
    return Program(servers, banner, (SinkMetrics(sink),), lambda: sink.close(settings.drain_timeout))


def _banner(settings: Settings) -> str:
    """Return what whoever starts it wants to know: where it is, and how to say something."""
    lines = [
        f"The log sink listens on {', '.join([*settings.bind, *settings.bind_tls])}. Say something by one of"
    ]
    for url in settings.bind:
        endpoint = Endpoint.parse(url)
        if isinstance(endpoint, UnixEndpoint) and not endpoint.abstract:
            lines.append(f"    logger -u {endpoint.path} hello")
        elif isinstance(endpoint, InetEndpoint):
            lines.append(
                f"    logger {'-d' if endpoint.datagrams else '-T'} -n {endpoint.host} -P {endpoint.port} hello"
            )
    return "\n".join([*lines, "Ctrl-C ends it, and loses nothing."])
