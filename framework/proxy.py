"""``ProxyMixIn``: a service behind proxies, whose handlers see the client and not the proxy.

``class Web(ProxyMixIn, TLSMixIn, ThreadingMixIn, TCPServer)``: what stands first happens first, and a proxy's header
comes before the TLS handshake. As that, it is read in the worker, under the same ``handshake_timeout``.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from types import GenericAlias
from typing import TYPE_CHECKING, Any, cast

from framework._types import AddressT, RequestT
from framework.connection import Connection, HandshakeError
from framework.proxy_protocol import MAX_HEADER, ProxyHeader, ProxyHeaderError, parse
from framework.service import ServiceMixIn

__all__ = ["ProxyMixIn"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyMixIn(ServiceMixIn[RequestT, AddressT]):
    """Asks trusted proxies for whom they connect; see the module.

    Who connects from elsewhere is served as who they are, and what they send is never taken for a header.
    ``request.proxy`` is the ``ProxyHeader``, with all else that was said, or ``None``; ``request.getpeername()``
    remains the proxy. Until the header has come, which includes ``verify_request()``, a connection goes by the
    proxy's address: set no ``max_connections_per_peer``, which would count all its clients as one.
    """

    trusted_proxies: Sequence[str]
    """Where proxies connect from: addresses and networks such as ``"10.0.0.0/8"``, and ``"unix"`` for Unix
    sockets. Each of these **must** send a header; anybody else who could connect from there can claim to be
    anyone."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    __networks: tuple[_Network, ...] | None = None
    __unix: bool = False

    def __read_trusted(self) -> tuple[_Network, ...]:
        if not hasattr(self, "trusted_proxies") or isinstance(self.trusted_proxies, str):
            raise ValueError(f"{type(self).__name__} needs trusted_proxies, a list of addresses and networks")
        self.__unix = "unix" in self.trusted_proxies
        try:
            return tuple(ipaddress.ip_network(each) for each in self.trusted_proxies if each != "unix")
        except ValueError as error:
            raise ValueError(f"trusted_proxies of {type(self).__name__}: {error}") from None

    def server_activate(self) -> None:
        """Read ``trusted_proxies``, so that a mistake in it is met at the start, and begin to listen."""
        self.__networks = self.__read_trusted()
        super().server_activate()

    def __trusts(self, connection: Connection) -> bool:
        networks = self.__networks
        if networks is None:  # a server that was handed its socket was not activated
            networks = self.__networks = self.__read_trusted()
        if connection.family == socket.AF_UNIX:
            return self.__unix
        host = ipaddress.ip_address(connection.address[0].partition("%")[0])
        if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped:
            host = host.ipv4_mapped
        return any(host in network for network in networks)

    def finish_request(self, request: RequestT, client_address: AddressT) -> None:
        """Read the header of a trusted proxy, then serve the request as its client's.

        Raises:
            HandshakeError: there was none, a broken one, or not in time.
        """
        if not isinstance(request, Connection):
            raise TypeError(f"ProxyMixIn needs a Connection, and get_request() returned {request!r}")
        if self.__trusts(request):
            header = _receive(request, request.handshake_within(self.handshake_timeout))
            request.proxy = header
            if header.source is not None:
                request.address = header.source
                client_address = cast("AddressT", header.source)
        super().finish_request(request, client_address)

    def handle_error(self, request: RequestT, client_address: AddressT) -> None:
        """Tell the observers, by the client's own address."""
        known: Any = request.address if isinstance(request, Connection) else client_address
        super().handle_error(request, known)


def _receive(connection: Connection, end: float) -> ProxyHeader:
    """Receive the header and nothing that follows it, until ``end`` on the monotonic clock."""
    timeout = connection.gettimeout()
    data = b""
    try:
        while True:
            connection.wait_until(end)
            # A look first, since only the header's last octet tells where it ends.
            seen = connection.raw_recv(MAX_HEADER - len(data), socket.MSG_PEEK)
            if not seen:
                raise HandshakeError("the proxy left before its header was complete")
            found = parse(data + seen)
            # The rest is for whoever reads next; without an end in sight all of it is of the header.
            data += connection.raw_recv(len(seen) if found is None else found[1] - len(data))
            if found is not None:
                return found[0]
    except TimeoutError:
        raise HandshakeError("the proxy's header took too long") from None
    except ProxyHeaderError as error:
        raise HandshakeError(f"a trusted proxy broke the PROXY protocol: {error}") from error
    finally:
        connection.settimeout(timeout)
