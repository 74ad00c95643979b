"""What every model owes every datagram transport."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework import DatagramRequestHandler
from framework.service import ServiceMixIn
from framework.testing import eventually
from tests.framework.spec import DATAGRAMS, Model, Transport, serving

SPEC_TRANSPORTS = DATAGRAMS

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Upper(DatagramRequestHandler):
    """Sends each datagram back in upper case."""

    def handle(self) -> None:
        """Answer, or raise when asked to."""
        if self.packet == b"fail":
            raise ValueError("asked to")
        self.wfile.write(self.rfile.read().upper())


class Whom(DatagramRequestHandler):
    """Tells whom it answers."""

    def handle(self) -> None:
        """Answer by the client's address."""
        self.wfile.write(repr(self.client_address).encode())


def test_datagrams_come_back(model: Model, transport: Transport, folder: Path) -> None:
    """What the handler wrote is one datagram to the sender."""
    server = model.on(transport)(transport.address(folder), Upper)
    with serving(server), transport.client(server.server_address, folder) as client:
        for text in (b"a", b"two words", b"x" * 8000):
            client.send(text)
            assert client.recv(9000) == text.upper()


def test_who_has_nothing_to_say(model: Model, transport: Transport, folder: Path) -> None:
    """A handler that wrote nothing replies with an empty datagram by the letter, and not at all in a service."""
    server = model.on(transport)(transport.address(folder), Upper)
    with serving(server), transport.client(server.server_address, folder) as client:
        client.send(b"")
        if not isinstance(server, ServiceMixIn):
            assert client.recv(100) == b""
        client.send(b"a")
        assert client.recv(100) == b"A"


def test_many_clients(model: Model, transport: Transport, folder: Path) -> None:
    """Each of many senders gets its own answer."""
    server = model.on(transport)(transport.address(folder), Upper)
    with serving(server):
        for number in range(50):
            with transport.client(server.server_address, folder) as client:
                client.send(b"n%d" % number)
                assert client.recv(100) == b"N%d" % number


def test_the_handler_knows_its_client(model: Model, transport: Transport, folder: Path) -> None:
    """``client_address`` is the address the sender bound."""
    server = model.on(transport)(transport.address(folder), Whom)
    with serving(server), transport.client(server.server_address, folder) as client:
        client.send(b"who")
        assert client.recv(200) == repr(client.getsockname()).encode()


def test_a_failing_handler_harms_nobody_else(
    model: Model,
    transport: Transport,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    log_on_stderr: None,
) -> None:
    """A handler's exception is reported, and the next datagram served."""
    server = model.on(transport)(transport.address(folder), Upper)
    with serving(server), transport.client(server.server_address, folder) as client:
        client.send(b"fail")
        if not isinstance(server, ServiceMixIn):
            assert client.recv(100) == b""  # finish() replies whatever happened: the letter
        client.send(b"go")
        assert client.recv(100) == b"GO"
    told: list[str] = []

    def is_told() -> bool:
        told.append(capfd.readouterr().err)
        return "ValueError: asked to" in "".join(told)

    eventually(is_told)  # a service leaves its daemon threads to themselves


def test_longer_datagrams_are_cut(model: Model, transport: Transport, folder: Path) -> None:
    """``max_packet_size`` octets are received of a datagram, and the rest is lost: the letter."""
    server = model.on(transport)(transport.address(folder), Upper)
    server.max_packet_size = 5  # type: ignore[attr-defined] # of a UDPServer
    with serving(server), transport.client(server.server_address, folder) as client:
        client.send(b"abcdefgh")
        assert client.recv(100) == b"ABCDE"
