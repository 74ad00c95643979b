"""The composition: datagrams in batches on one loop, connections in a thread each, one resolver behind both."""

from __future__ import annotations

from typing import Any

from framework import Flusher, InetAddress, ThreadingTCPService
from framework.batches import UDPBatchService
from servers.resolver.handler import DatagramHandler, StreamHandler
from servers.resolver.resolver import Resolver

__all__ = ["DatagramServer", "StreamServer"]


class DatagramServer(UDPBatchService[InetAddress]):
    """Serves DNS by UDP.

    Args:
        where: where to listen: ``at("udp://127.0.0.1:5353")``.
        resolver: who knows the answers.
    """

    # The largest query there can be is far smaller: a name, and some options.
    max_packet_size = 4096

    def __init__(self, where: Any, resolver: Resolver) -> None:
        self.resolver = resolver
        """May be replaced at any time; each batch is served by one."""
        self.unsent = 0
        """Answers that the system did not take."""
        super().__init__(where, DatagramHandler)


class StreamServer(ThreadingTCPService[InetAddress]):
    """Serves DNS by TCP.

    Args:
        where: where to listen: ``at("tcp://127.0.0.1:5353")``.
        resolver: who knows the answers.
    """

    # RFC 7766, section 6.2.3: seconds rather than minutes; BIND and NSD have 30 and 120, Unbound 30.
    idle_timeout = 10
    # A question is one packet: whoever takes long for it means to.
    read_timeout = 5
    write_timeout = 10
    # A thread each; a thousand of them that do nothing cost some 20 MiB.
    max_connections = 1000
    max_connections_per_peer = 100

    def __init__(self, where: Any, resolver: Resolver) -> None:
        self.resolver = resolver
        """May be replaced at any time; each question is answered by one."""
        self.flusher = Flusher()
        super().__init__(where, StreamHandler)

    def server_close(self) -> None:
        """Close the server, then stop what sends for slow clients."""
        super().server_close()
        self.flusher.close()
