"""Which mix-ins on which server class."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from framework import (
    Endpoint,
    InetAddress,
    ServiceMixIn,
    TCPServer,
    ThreadingMixIn,
    ThreadPoolMixIn,
    UDPServer,
    at,
)
from framework.tls import TLSMixIn

from tally.counts import Counts
from tally.handlers import GreenHandler, TallyDatagram, TallyExchange, TallyHandler

if TYPE_CHECKING:
    from framework.greenlets import GreenletMixIn
else:
    try:
        from framework.greenlets import GreenletMixIn
    except ModuleNotFoundError:  # the extra is not installed
        from framework import ServiceMixIn as GreenletMixIn


class Tally(ServiceMixIn, ThreadingMixIn, TCPServer[socket.socket, InetAddress]):
    max_connections = 64
    idle_timeout = 5

    def __init__(self, where: str | Endpoint, counts: Counts) -> None:
        super().__init__(at(where), TallyHandler)
        self.counts = counts

    def verify_request(self, request: socket.socket, client_address: InetAddress) -> bool:
        return client_address[0].startswith("127.")


class SecureTally(TLSMixIn, Tally):
    certfile = "tally.pem"


class TallyPool(ThreadPoolMixIn, TCPServer[socket.socket, InetAddress]):
    def __init__(self, where: str | Endpoint, counts: Counts) -> None:
        super().__init__(at(where), TallyExchange)
        self.counts = counts


class GreenTally(GreenletMixIn, TCPServer[socket.socket, InetAddress]):
    def __init__(self, where: str | Endpoint, counts: Counts) -> None:
        super().__init__(at(where), GreenHandler)
        self.counts = counts


class TallyDatagrams(ServiceMixIn, UDPServer[InetAddress]):
    def __init__(self, where: str | Endpoint, counts: Counts) -> None:
        super().__init__(at(where), TallyDatagram)
        self.counts = counts
