"""The composition: datagrams in batches on one loop, connections in a thread each, one resolver behind both."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Sequence
from typing import Any

from framework import DrainResult, Flusher, InetAddress, PreforkMixIn, ThreadingTCPService
from framework.addresses import Endpoint
from framework.batches import UDPBatchService
from framework.handover import inheritance
from servers.resolver.handler import DatagramHandler, StreamHandler
from servers.resolver.metrics import ResolverCollector
from servers.resolver.names import to_text
from servers.resolver.service import Service
from servers.resolver.settings import Settings
from shared.descriptors import allow_descriptors
from shared.run import Program, listen

__all__ = ["DatagramServer", "PreforkDatagramServer", "Service", "StreamServer", "program"]

# A thousand connections, 500 lookups, and some more; many systems begin with 1024 (setrlimit(2)).
_DESCRIPTORS = 2048


class DatagramServer(UDPBatchService[InetAddress]):
    """Serves DNS by UDP.

    Args:
        where: what ``framework.at()`` returns.
        service: who knows the answers.
    """

    # The largest query there can be is far smaller: a name, and some options.
    max_packet_size = 4096
    # A client takes no answer from another address than the one it asked.
    reply_from_destination = True

    def __init__(self, where: Any, service: Service) -> None:
        self.service = service
        self.renew: Callable[[], None] | None = None
        """What SIGHUP asks for, of one of several servers."""
        super().__init__(where, DatagramHandler)

    def reload(self) -> None:
        """Read anew what the service is made of."""
        super().reload()
        if self.renew is not None:
            self.renew()

    def drain(self, deadline: float | None = None) -> DrainResult:
        """Take no more questions, and answer those that wait for an upstream server."""
        result = super().drain(deadline)
        self.service.settle(self.drain_timeout if deadline is None else deadline)
        return result


class PreforkDatagramServer(PreforkMixIn[Any, Any], DatagramServer):  # as in UDPBatchService
    """Does so in several processes, each with a socket, a cache and a thread for upstream servers of its own.

    A reload replaces them, one after the other, by such as know the new answers.
    """

    def __init__(self, where: Any, service: Service) -> None:
        self.workers = service.settings.workers
        super().__init__(where, service)

    def setup_worker(self) -> None:
        """Leave to the parent what threads of it may be at."""
        self.service.begin()


class StreamServer(ThreadingTCPService[InetAddress]):
    """Serves DNS by TCP.

    Args:
        where: what ``framework.at()`` returns.
        service: who knows the answers.
    """

    # RFC 7766, section 6.2.3: seconds rather than minutes; BIND and Unbound have 30, and no fewer clients.
    idle_timeout = 10
    # A question is one packet: whoever takes long for it means to.
    read_timeout = 5
    write_timeout = 10
    # A thread each; a thousand of them that do nothing cost some 20 MiB.
    max_connections = 1000
    max_connections_per_peer = 100

    def __init__(self, where: Any, service: Service) -> None:
        self.service = service
        self.renew: Callable[[], None] | None = None
        """What SIGHUP asks for, of one of several servers."""
        self.flusher = Flusher()
        super().__init__(where, StreamHandler)

    def reload(self) -> None:
        """Read anew what the service is made of."""
        super().reload()
        if self.renew is not None:
            self.renew()

    def server_close(self) -> None:
        """Close the server, then stop what sends for slow clients."""
        super().server_close()
        self.flusher.close()


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.resolver`` runs."""
    allow_descriptors(_DESCRIPTORS)
    service = Service(settings)
    by_datagrams = PreforkDatagramServer if settings.workers else DatagramServer

    def make(where: Endpoint) -> DatagramServer | StreamServer:
        datagrams = inheritance().kind(where) == socket.SOCK_DGRAM
        return by_datagrams(where, service) if datagrams else StreamServer(where, service)

    def renew() -> None:
        service.reload()
        gc.freeze()

    # A large zone is hundreds of thousands of objects in no circle: looking through them would keep clients waiting for
    # tenths of a second, time and again.
    gc.freeze()
    servers = listen(settings.bind, make)
    if servers:
        servers[0].renew = renew
    return Program(servers, _banner(settings, servers), collectors=[ResolverCollector(service)])


def _banner(settings: Settings, servers: Sequence[DatagramServer | StreamServer]) -> str:
    """Return what whoever starts it wants to know: where it is, and what to ask it."""
    where = [(each.server_address[:2], isinstance(each, DatagramServer)) for each in servers]
    shown = ", ".join(
        f"{'udp' if datagrams else 'tcp'}://{_place(host)}:{port}" for (host, port), datagrams in where
    )
    host, port = where[0][0] if where else ("127.0.0.1", 53)
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = to_text(settings.zone[0].origin) if settings.zone else "version.bind."
    example = "www.demo.test" if name == "demo.test." else f"{name} SOA"
    return (
        f"The resolver listens on {shown}. Ask it:\n"
        f"    dig -p {port} @{here} {example}\n"
        f"    dig -p {port} @{here} +tcp {example}\n"
        f"Ctrl-C ends it."
    )


def _place(host: str) -> str:
    return f"[{host}]" if ":" in host else host
