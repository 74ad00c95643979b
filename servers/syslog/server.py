"""The composition: datagrams on the loop itself, in batches; a thread per connection."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from framework import Endpoint, ServiceMixIn, TCPServer, ThreadingMixIn, UDPServer
from framework.addresses import InetEndpoint, UnixEndpoint
from framework.lifecycle import ServerState
from framework.listeners import Listener
from servers.syslog.handler import BatchHandler, Durability, StreamHandler
from servers.syslog.limits import PeerLimits
from servers.syslog.metrics import SinkMetrics
from servers.syslog.outputs.chosen import open_outputs
from servers.syslog.outputs.writer import Writer
from servers.syslog.receiver import Datagram, Receiver
from servers.syslog.settings import Settings
from servers.syslog.sink import Sink
from shared.run import Program, listen
from shared.settings import SettingsError

__all__ = ["DatagramSinkServer", "StreamSinkServer", "program"]

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

    def service_actions(self) -> None:
        """Tell now and then of what the limits have dropped."""
        super().service_actions()
        self.sink.tell()

    def reload(self) -> None:
        """Open the outputs anew."""
        super().reload()
        self.sink.reopen()


class DatagramSinkServer(SinkMixIn, UDPServer[Any]):
    """Serves a Unix or UDP socket. On the loop itself: whoever sends must wait for nobody but the outputs.

    Args:
        where: as ``framework.at()`` gives it.
        sink: takes what comes.
        size: octets kept of a datagram.
        durability: when a datagram is taken from the kernel.
    """

    peer_credentials = True

    def __init__(self, where: Any, sink: Sink, size: int, durability: Durability = Durability.MEMORY) -> None:
        self.sink = sink
        self.durability = durability
        self.max_packet_size = size
        super().__init__(where, BatchHandler)

    def server_bind(self) -> None:
        """Bind, and make room for what will come."""
        super().server_bind()
        count = 1 if self.durability is Durability.RECORD else _BATCH
        self._receiver = Receiver(self.max_packet_size, count, unix=self.address_family == socket.AF_UNIX)
        # A property of the socket, and so of whoever held it before: each peek begins where the last one ended.
        self._peeks = self.durability is Durability.PEEK
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0 if self._peeks else -1)

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

    def discard(self, datagrams: list[Datagram]) -> None:
        """Take datagrams that were written from the kernel, if they are still there."""
        if self._peeks:
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


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.syslog`` runs."""
    writers: dict[str, Writer] = {}
    routes = [table.route() for table in settings.routes]
    limits = PeerLimits(settings.rate, settings.burst, settings.per) if settings.rate else None
    sink = Sink(writers, routes, limits, settings.clock())

    def make(where: Endpoint) -> ServiceMixIn[Any, Any]:
        if isinstance(where, InetEndpoint | UnixEndpoint) and not where.datagrams:
            return StreamSinkServer(where, sink, settings.max_message)
        return DatagramSinkServer(where, sink, settings.max_message, Durability(settings.durability))

    if settings.bind == Settings.bind:
        Path("run").mkdir(exist_ok=True)  # where nobody but this program is to be
    servers = listen(settings.bind, make)
    # Only then: a second instance that is refused must not have touched what the first one writes.
    try:
        writers.update(open_outputs(settings))
    except SettingsError:
        for server in servers:
            server.server_close()
        raise
    banner = "" if settings.stdout != "none" else _banner(settings)
    return Program(servers, banner, (SinkMetrics(sink),), sink.close)


def _banner(settings: Settings) -> str:
    """Return what whoever starts it wants to know: where it is, and how to say something."""
    lines = [f"The log sink listens on {', '.join(settings.bind)}. Say something by one of"]
    for url in settings.bind:
        endpoint = Endpoint.parse(url)
        if isinstance(endpoint, UnixEndpoint) and not endpoint.abstract:
            lines.append(f"    logger -u {endpoint.path} hello")
        elif isinstance(endpoint, InetEndpoint):
            lines.append(
                f"    logger {'-d' if endpoint.datagrams else '-T'} -n {endpoint.host} -P {endpoint.port} hello"
            )
    return "\n".join([*lines, "Ctrl-C ends it, and loses nothing."])
