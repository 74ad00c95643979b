"""Datagrams on every address are answered from the one that they were sent to."""

from __future__ import annotations

import socket

import pytest

from framework import DatagramRequestHandler, ServiceMixIn, UDPServer, at
from framework.batches import DatagramBatchHandler, UDPBatchService
from framework.testing import PATIENCE, running
from tests.framework.spec import has_ipv6


class Echo(DatagramRequestHandler):
    """Sends back what came."""

    def handle(self) -> None:
        """Echo."""
        self.wfile.write(self.packet)


class EchoAll(DatagramBatchHandler):
    """Sends back all that came."""

    def handle(self) -> None:
        """Echo."""
        for data, address in self.datagrams:
            self.send(data, address)


class Single(ServiceMixIn, UDPServer):
    """One by one."""

    reply_from_destination = True


class Batches(UDPBatchService):
    """Several at once."""

    reply_from_destination = True


CASES = [
    ("udp://0.0.0.0:0", socket.AF_INET, "127.0.0.1"),
    ("udp://0.0.0.0:0", socket.AF_INET, "127.5.3.9"),
    ("udp://[::]:0", socket.AF_INET6, "::1"),
    ("udp://[::]:0", socket.AF_INET, "127.5.3.9"),
]


@pytest.mark.parametrize(("kind", "handler"), [(Single, Echo), (Batches, EchoAll)])
@pytest.mark.parametrize(("where", "family", "host"), CASES)
def test_answers_leave_from_where_they_were_asked(
    kind: type, handler: type, where: str, family: int, host: str
) -> None:
    """A client that is connected to one address, and so takes answers from there only, gets its answer."""
    if ":" in where[6:].rpartition(":")[0] and not has_ipv6():
        pytest.skip("::1 cannot be bound on this machine")
    with running(kind(at(where), handler)) as server, socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect((host, server.server_address[1]))
        for data in (b"one", b"two"):
            client.send(data)
            assert client.recv(100) == data


def test_one_address_needs_none_of_it() -> None:
    """A socket of one address stays the one it is, and addresses are plain."""
    with Single(at("udp://127.0.0.1:0"), Echo) as server:
        assert type(server.socket).__name__ == "Listener"
