"""What a service behind a proxy promises."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framework import StreamRequestHandler, TCPServer, ThreadingMixIn, UnixStreamServer
from framework.connection import Connection
from framework.events import CloseReason, ConnectionClosed, HandlerFailed, HandshakeFailed
from framework.greenlets import GreenletMixIn
from framework.proxy import ProxyMixIn
from framework.proxy_protocol import TLVType
from framework.testing import Recorder
from framework.tls import TLSMixIn
from tests.framework.certificates import client_context, server_context
from tests.framework.spec import PATIENCE, has_ipv6, serving

CLIENT = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
V2_LOCAL = bytes.fromhex("0D0A0D0A000D0A515549540A20000000")
V2_CLIENT = bytes.fromhex("0D0A0D0A000D0A515549540A2111 0015 C0000207 C0000201 1267 01BB 02 0006") + b"a.test"


class Service(ProxyMixIn, ThreadingMixIn, TCPServer):
    """A service that trusts the machine it runs on."""

    trusted_proxies = ("127.0.0.1", "10.0.0.0/8")


class Who(StreamRequestHandler):
    """Answers each line by whom it takes its client for."""

    def handle(self) -> None:
        """Answer, or raise when asked to."""
        assert isinstance(self.request, Connection)
        for line in self.rfile:
            if line == b"fail\n":
                raise ValueError("asked to")
            self.wfile.write(
                f"{self.client_address} {self.request.address} {line.decode().strip()}\n".encode()
            )


class GreenService(ProxyMixIn, GreenletMixIn, TCPServer):
    """The same, each connection in a greenlet."""

    trusted_proxies = ("127.0.0.1",)


each_model = pytest.mark.parametrize("kind", [Service, GreenService])


@contextlib.contextmanager
def running(
    kind: Any = Service, handler: Any = Who, where: Any = ("127.0.0.1", 0), **body: Any
) -> Iterator[Any]:
    """Serve, and record what happens."""
    server = type(kind.__name__, (kind,), body)(where, handler)
    recorder = Recorder()
    server.observe(recorder)
    with serving(server):
        yield server, recorder


def dial(server: Any) -> socket.socket:
    """Connect."""
    client = socket.socket(server.address_family)
    client.settimeout(PATIENCE)
    client.connect(server.server_address)
    return client


def answer(client: socket.socket) -> bytes:
    """Read a line."""
    with client.makefile("rb") as lines:
        return lines.readline()


@pytest.mark.parametrize("header", [CLIENT, V2_CLIENT], ids=["v1", "v2"])
@each_model
def test_the_handler_sees_the_client(kind: type, header: bytes) -> None:
    """The client's address is the one the proxy tells, and nothing behind the header is lost."""
    with running(kind) as (server, recorder):
        with dial(server) as client:
            client.sendall(header + b"hello\n")
            assert answer(client) == b"('192.0.2.7', 4711) ('192.0.2.7', 4711) hello\n"
        assert recorder.wait_for(ConnectionClosed)[0].address == ("192.0.2.7", 4711)


@each_model
def test_a_header_in_pieces(kind: type) -> None:
    """A header may come an octet at a time, and what it precedes together with its last."""
    with running(kind) as (server, _), dial(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in V2_CLIENT[:-1]:
            client.send(bytes([octet]))
        client.sendall(V2_CLIENT[-1:] + b"hello\n")
        assert answer(client) == b"('192.0.2.7', 4711) ('192.0.2.7', 4711) hello\n"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2_LOCAL], ids=["UNKNOWN", "LOCAL"])
def test_a_proxy_that_speaks_for_itself(header: bytes) -> None:
    """Without an address in the header the client is whoever connected."""
    with running() as (server, _), dial(server) as client:
        client.sendall(header + b"hello\n")
        name = repr(client.getsockname()).encode()
        assert answer(client) == name + b" " + name + b" hello\n"


def test_the_rest_of_the_header_is_kept() -> None:
    """A handler can ask what else the proxy said, and which proxy it was."""

    class Ask(StreamRequestHandler):
        def handle(self) -> None:
            assert isinstance(self.request, Connection)
            header = self.request.proxy
            told = f"{header.destination} {header.tlv(TLVType.AUTHORITY)} {self.request.getpeername()}\n"
            self.wfile.write(told.encode())

    with running(handler=Ask) as (server, _), dial(server) as client:
        client.sendall(V2_CLIENT)
        assert answer(client) == f"('192.0.2.1', 443) b'a.test' {client.getsockname()}\n".encode()


def test_an_untrusted_peer_is_not_believed() -> None:
    """Who is no trusted proxy is served as who they are, and a header from there is payload."""
    with running(trusted_proxies=["10.0.0.0/8"]) as (server, _), dial(server) as client:
        client.sendall(CLIENT)
        name = repr(client.getsockname()).encode()
        assert answer(client) == name + b" " + name + b" " + CLIENT.strip() + b"\n"


@pytest.mark.parametrize(
    "octets", [b"hello\n", b"PROXY nonsense\r\n", b""], ids=["none", "broken", "silent end"]
)
def test_a_trusted_peer_without_a_header(octets: bytes) -> None:
    """A trusted proxy that sends no header, or a broken one, is closed without a handler and told of."""
    with running() as (server, recorder), dial(server) as client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
        assert recorder.wait_for(HandshakeFailed)[0].address == client.getsockname()
        assert recorder.wait_for(ConnectionClosed)[0].reason is CloseReason.HANDSHAKE
        assert not recorder.of(HandlerFailed)


@each_model
def test_a_silent_proxy_holds_up_nobody(kind: type) -> None:
    """A proxy has ``handshake_timeout`` for its header; others are served meanwhile."""
    with running(kind, handshake_timeout=0.1) as (server, recorder), dial(server) as silent:
        with dial(server) as client:
            client.sendall(CLIENT + b"hello\n")
            assert answer(client).endswith(b"hello\n")
        assert silent.recv(1) == b""
        assert "too long" in str(recorder.wait_for(HandshakeFailed)[0].error)


def test_a_failing_handler_is_told_of_by_its_client() -> None:
    """The event of a handler's failure names the client and not the proxy."""
    with running() as (server, recorder), dial(server) as client:
        client.sendall(CLIENT + b"fail\n")
        assert recorder.wait_for(HandlerFailed)[0].address == ("192.0.2.7", 4711)


class Secure(ProxyMixIn, TLSMixIn, ThreadingMixIn, TCPServer):
    """A service over TLS behind a proxy."""

    trusted_proxies = ("127.0.0.1",)
    ssl_context = server_context()


def test_the_header_precedes_tls() -> None:
    """A header in plain, then the handshake."""
    with running(Secure) as (server, _), dial(server) as wire:
        wire.sendall(CLIENT)
        with client_context().wrap_socket(wire, server_hostname="localhost") as client:
            client.sendall(b"hello\n")
            assert answer(client) == b"('192.0.2.7', 4711) ('192.0.2.7', 4711) hello\n"


def test_header_and_handshake_share_a_deadline() -> None:
    """A proxy that sends a header and then nothing has no more time than one that sends nothing."""
    with running(Secure, handshake_timeout=0.1) as (server, recorder), dial(server) as wire:
        wire.sendall(CLIENT)
        assert wire.recv(1) == b""
        event = recorder.wait_for(HandshakeFailed)[0]
        assert "TLS handshake took too long" in str(event.error)
        assert event.address == ("192.0.2.7", 4711)
        assert recorder.wait_for(ConnectionClosed)[0].seconds >= 0.1


def test_the_order_of_the_mixins_is_checked() -> None:
    """A service that would look for the header inside TLS cannot be declared."""
    swapped: Any = (TLSMixIn, ProxyMixIn, ThreadingMixIn, TCPServer)
    with pytest.raises(TypeError, match="before TLSMixIn"):
        type("Swapped", swapped, {})


def test_unix_proxies(folder: Path) -> None:
    """Proxies that connect by a Unix socket are trusted by the word ``unix``."""

    class Local(ProxyMixIn, ThreadingMixIn, UnixStreamServer):
        trusted_proxies = ("unix",)

    where = str(folder / "server.sock")
    with running(Local, where=where) as (server, _), dial(server) as client:
        client.sendall(CLIENT + b"hello\n")
        assert answer(client) == b"('192.0.2.7', 4711) ('192.0.2.7', 4711) hello\n"


def test_unix_peers_are_not_trusted_unasked(folder: Path) -> None:
    """Without the word ``unix`` a peer at a Unix socket is no proxy."""

    class Local(ProxyMixIn, ThreadingMixIn, UnixStreamServer):
        trusted_proxies = ("127.0.0.1",)

    where = str(folder / "server.sock")
    with running(Local, where=where) as (server, _), dial(server) as client:
        client.sendall(CLIENT)
        assert answer(client).endswith(CLIENT.strip() + b"\n")


@pytest.mark.skipif(not has_ipv6(), reason="::1 cannot be bound on this machine")
def test_mapped_addresses_are_those_of_ipv4() -> None:
    """A proxy that reaches a dual-stack server over IPv4 is trusted by its IPv4 address."""

    def server_bind(self: Any) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)

    body = {"address_family": socket.AF_INET6, "server_bind": server_bind}
    with running(where=("::", 0), **body) as (server, _):
        client = socket.create_connection(("127.0.0.1", server.server_address[1]), PATIENCE)
        with client:
            client.sendall(CLIENT + b"hello\n")
            assert answer(client).startswith(b"('192.0.2.7', 4711)")


@pytest.mark.parametrize(
    ("proxies", "said"),
    [
        (None, "needs trusted_proxies"),
        ("10.0.0.0/8", "a list"),
        (["10.0.0.1/8"], "host bits"),
        (["proxy"], "proxy"),
    ],
)
def test_mistakes_are_met_at_the_start(proxies: Any, said: str) -> None:
    """A server without a list of proxies, or with a wrong one, does not start and says why."""
    body = {} if proxies is None else {"trusted_proxies": proxies}
    bases: Any = (ProxyMixIn, ThreadingMixIn, TCPServer)
    kind: Any = type("Behind", bases, body)
    with pytest.raises(ValueError, match=f"Behind.*{said}"):
        kind(("127.0.0.1", 0), Who)
