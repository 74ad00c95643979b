"""``DatagramBatchMixIn``: a request is a batch of datagrams, not one; for servers that get very many.

A handler object per datagram costs more than the datagram. Here the server takes what is there, up to
``batch_size`` datagrams, and one handler serves them all. Everything else is as ever: the mix-in goes before
the concurrency mix-in, the hooks run once per batch, and ``verify_request()`` may take datagrams out of it.
"""

from __future__ import annotations

import contextlib
import socket as _socket
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from framework._types import AddressT, InetAddress, InetAddressT, ServerT, UnixAddress
from framework.handlers import BaseRequestHandler
from framework.inet import UDPServer
from framework.service import ServiceMixIn
from framework.unix import UnixDatagramServer

if TYPE_CHECKING:
    from framework._types import HandlerFactory, Inet6Address

__all__ = [
    "BatchRequest",
    "DatagramBatchHandler",
    "DatagramBatchMixIn",
    "UDPBatchService",
    "UnixDatagramBatchService",
]

BatchRequest: TypeAlias = tuple[list[tuple[bytes, AddressT]], _socket.socket]
"""Datagrams, each with its sender's address, and the server's own socket, by which replies leave."""


class DatagramBatchHandler(BaseRequestHandler[ServerT, BatchRequest[AddressT], None]):
    """Serves a batch: ``handle()`` goes over ``datagrams`` and calls ``send()`` for each reply."""

    datagrams: list[tuple[bytes, AddressT]]
    """What came, in the order in which it came, each with its sender's address."""
    socket: _socket.socket

    def setup(self) -> None:
        """Unpack the request."""
        self.datagrams, self.socket = self.request

    def send(self, data: bytes, address: AddressT) -> None:
        """Send one reply.

        Raises:
            OSError: it cannot be sent to that address.
        """
        self.socket.sendto(data, cast("Any", address))  # what recvfrom() gave, sendto() takes


class DatagramBatchMixIn(
    ServiceMixIn[Any, Any]
):  # a request is no datagram, which the server class says it is
    """Receives datagrams in batches; goes before the concurrency mix-in and a datagram server."""

    batch_size: int = 64
    """Datagrams per batch at most: beyond some tens nothing is left to gain, and the first ones wait."""

    max_packet_size: int

    _takes_bursts = True

    def get_request(self) -> tuple[Any, Any]:  # a BatchRequest, and no address
        """Receive what is there.

        Raises:
            OSError: there was nothing after all.
        """
        (data, _), address = super().get_request()
        datagrams = [(data, address)]
        with contextlib.suppress(BlockingIOError):
            self._receive_more(datagrams, self.batch_size)
        return (datagrams, self.socket), None


class UDPBatchService(DatagramBatchMixIn, UDPServer[InetAddressT]):
    """A ``UDPServer`` as a service that receives in batches."""

    if TYPE_CHECKING:

        def __init__(
            self,
            server_address: InetAddress | Inet6Address,
            RequestHandlerClass: HandlerFactory[BatchRequest[Any], None, Self],
            bind_and_activate: bool = True,
        ) -> None: ...


class UnixDatagramBatchService(DatagramBatchMixIn, UnixDatagramServer):
    """A ``UnixDatagramServer`` as a service that receives in batches."""

    if TYPE_CHECKING:

        def __init__(
            self,
            server_address: UnixAddress,
            RequestHandlerClass: HandlerFactory[BatchRequest[Any], None, Self],
            bind_and_activate: bool = True,
        ) -> None: ...
