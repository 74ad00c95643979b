"""Listening sockets that come from elsewhere, and the ones that speak IPv4 and IPv6."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from framework import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler, handover
from framework.addresses import AddressError, Endpoint, at
from framework.handover import Inheritance, Successor
from framework.inet import UDPServer
from framework.listeners import Listener
from framework.service import ServiceMixIn, ThreadingTCPService, UnixStreamService
from framework.testing import bounded
from tests.framework.spec import PATIENCE, has_ipv6, serving

needs_dual_stack = pytest.mark.skipif(not has_ipv6(), reason="::1 cannot be bound on this machine")


class Who(StreamRequestHandler):
    """Tells a client its address."""

    def handle(self) -> None:
        """Answer by ``client_address``."""
        self.wfile.write(repr(self.client_address).encode())


class DatagramWho(DatagramRequestHandler):
    """Tells a sender its address."""

    def handle(self) -> None:
        """Answer by ``client_address``."""
        self.wfile.write(repr(self.client_address).encode())


class UDPService(ServiceMixIn, UDPServer):
    """A datagram server as a service."""


@pytest.fixture
def inherited(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that this process is taken to have been started with; fill it before the first service."""
    environ: dict[str, str] = {}
    made: list[Inheritance] = []

    def inheritance() -> Inheritance:
        if not made:
            made.append(Inheritance(environ))
        return made[0]

    monkeypatch.setattr(handover, "inheritance", inheritance)
    return environ


def ask(sock: socket.socket, address: Any) -> str:
    """Connect, and return what the server says."""
    sock.settimeout(PATIENCE)
    sock.connect(address)
    if sock.type == socket.SOCK_DGRAM:
        sock.send(b"?")
    return sock.recv(999).decode()


# -- two families on one socket ------------------------------------------------------------------------------------


@needs_dual_stack
def test_a_client_of_ipv4_has_an_address_of_ipv4() -> None:
    """On ``[::]`` both families are served, and neither's addresses look like the other's."""
    server = ThreadingTCPService(at("tcp://[::]:0"), Who)
    with serving(server):
        port = server.server_address[1]
        with socket.socket() as client:
            assert ask(client, ("127.0.0.1", port)) == repr(client.getsockname())
        with socket.socket(socket.AF_INET6) as client:
            assert ask(client, ("::1", port)) == repr(client.getsockname())


@needs_dual_stack
def test_a_sender_of_ipv4_is_replied_to() -> None:
    """A datagram from IPv4 has an address of IPv4, to which the socket of IPv6 can reply."""
    server = UDPService(at("udp://[::]:0"), DatagramWho)
    with serving(server):
        port = server.server_address[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            assert ask(client, ("127.0.0.1", port)) == repr(client.getsockname())
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            assert ask(client, ("::1", port)) == repr(client.getsockname())


@needs_dual_stack
def test_every_way_to_receive_and_send_has_plain_addresses() -> None:
    """Whichever call a handler makes on the server's socket, IPv4 stays IPv4."""
    with UDPService(at("udp://[::]:0"), DatagramWho) as server:
        sock = server.socket
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", server.server_address[1]))
            client.settimeout(PATIENCE)
            for _ in range(4):
                client.send(b"?")
            mine = client.getsockname()
            assert sock.recvfrom(9)[1] == mine
            assert sock.recvfrom_into(bytearray(9))[1] == mine
            assert sock.recvmsg(9)[3] == mine
            assert sock.recvmsg_into([bytearray(9)])[3] == mine
            sock.sendto(b"1", mine)
            sock.sendto(b"2", socket.MSG_DONTWAIT, mine)
            sock.sendmsg([b"3"], [], 0, mine)
            assert [client.recv(9) for _ in range(3)] == [b"1", b"2", b"3"]


@needs_dual_stack
def test_ipv4_can_be_left_out() -> None:
    """``v6only=1`` leaves the port of IPv4 to others."""
    with ThreadingTCPService(at("tcp://[::]:0?v6only=1"), Who) as server:
        port = server.server_address[1]
        with ThreadingTCPService(at(f"tcp://0.0.0.0:{port}"), Who) as other:
            assert other.server_address == ("0.0.0.0", port)


def test_a_name_is_looked_up() -> None:
    """A host may be a name; one that does not exist is named in the error."""
    with ThreadingTCPService(at("tcp://localhost:0"), Who) as server:
        assert server.server_address[0] in {"127.0.0.1", "::1"}
    with pytest.raises(AddressError, match=r"host.*no-such-host\.invalid"):
        ThreadingTCPService(at("tcp://no-such-host.invalid:0"), Who)


@pytest.mark.parametrize("url", ["udp://127.0.0.1:0", "unixgram:///tmp/never.sock"])
def test_a_service_for_connections_takes_no_datagrams(url: str) -> None:
    """A URL of the other kind is refused before anything is opened."""
    with pytest.raises(AddressError, match="serves connections"):
        ThreadingTCPService(at(url), Who)


# -- sockets that were handed over ---------------------------------------------------------------------------------


def test_a_descriptor_is_taken_over(inherited: dict[str, str]) -> None:
    """``fd://`` serves on a socket that the program was started with, of whatever family."""
    given = socket.create_server(("127.0.0.1", 0))
    port = given.getsockname()[1]
    server = UnixStreamService(at(f"fd://{given.detach()}"), Who)
    with serving(server), socket.socket() as client:
        assert server.address_family == socket.AF_INET
        assert not server.socket.get_inheritable()
        assert ask(client, ("127.0.0.1", port)) == repr(client.getsockname())


def test_a_datagram_descriptor_is_taken_over(inherited: dict[str, str]) -> None:
    """Datagram sockets are handed over like the others."""
    given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given.bind(("127.0.0.1", 0))
    address = given.getsockname()
    server = UDPService(at(f"fd://{given.detach()}"), DatagramWho)
    with serving(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        assert server.server_address == address
        assert ask(client, address) == repr(client.getsockname())


def test_what_kind_of_socket_was_passed(inherited: dict[str, str]) -> None:
    """A program learns whether a socket that was passed is for connections or for datagrams, and has it left to take."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        endpoint = at(f"fd://{sock.fileno()}")
        assert handover.inheritance().kind(endpoint) == socket.SOCK_DGRAM
        assert sock.fileno() != -1
    assert handover.inheritance().kind(at("tcp://127.0.0.1:0")) == socket.SOCK_STREAM
    with pytest.raises(AddressError, match="is no socket"):
        handover.inheritance().kind(at("fd://999"))
    with pytest.raises(AddressError, match="systemd passed no"):
        handover.inheritance().kind(at("systemd:log"))
    assert not inherited


def test_what_is_no_listening_socket_is_refused(inherited: dict[str, str], folder: Path) -> None:
    """A closed descriptor, a file, a connection and a socket of the other kind are told apart."""
    one, other = socket.socketpair()
    with one, other, pytest.raises(AddressError, match="Accept=no"):
        ThreadingTCPService(at(f"fd://{os.dup(one.fileno())}"), Who)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(AddressError, match="SOCK_DGRAM"),
    ):
        ThreadingTCPService(at(f"fd://{os.dup(sock.fileno())}"), Who)
    with (folder / "file").open("w") as file, pytest.raises(AddressError, match="no socket"):
        ThreadingTCPService(at(f"fd://{file.fileno()}"), Who)
    with pytest.raises(AddressError, match="no socket"):
        ThreadingTCPService(at("fd://999999"), Who)


def test_a_name_that_systemd_did_not_pass_is_told(inherited: dict[str, str]) -> None:
    """The error says where names come from."""
    with pytest.raises(AddressError, match="FileDescriptorName"):
        ThreadingTCPService(at("systemd:kv"), Who)


def handed_over(*sockets: tuple[str, socket.socket], ready: int) -> str:
    """Return what a predecessor tells of its sockets, which are given away."""
    told = [{"key": key, "fd": sock.detach()} for key, sock in sockets]
    return json.dumps({"ready": ready, "sockets": told})


def test_a_predecessors_socket_goes_to_who_asks_for_its_address(
    inherited: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Same address, same socket, in order; a new address is bound; what nobody asks for is closed and told."""
    reader, writer = os.pipe()
    first, second, third = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    addresses = [sock.getsockname() for sock in (first, second)]
    unwanted = third.fileno()
    key = "tcp://127.0.0.1:0"
    inherited["FRAMEWORK_HANDOVER"] = handed_over(
        (key, first), (key, second), ("tcp://gone:1", third), ready=writer
    )
    with (
        ThreadingTCPService(("127.0.0.1", 0), Who) as one,
        ThreadingTCPService(at(key), Who) as two,
        ThreadingTCPService(at(key), Who) as new,
    ):
        assert [one.server_address, two.server_address] == addresses
        assert new.server_address not in addresses
        assert inherited == {}
        assert handover.inheritance().has_predecessor
        handover.inheritance().ready()
        assert not handover.inheritance().has_predecessor
        assert os.read(reader, 9) == b"\n"
        assert os.read(reader, 9) == b""
    os.close(reader)
    assert "tcp://gone:1" in caplog.text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(unwanted)


def test_the_predecessor_keeps_its_path_until_the_successor_serves(
    inherited: dict[str, str], folder: Path
) -> None:
    """A successor that ends before it serves leaves the path where it is; one that has served removes it."""
    path = str(folder / "a.sock")
    reader, writer = os.pipe()
    with UnixStreamService(path, Who) as old:
        made = (folder / "a.sock").stat()
        told = {"key": f"unix://{path}", "path": path, "device": made.st_dev, "inode": made.st_ino}
        for serves in (False, True):
            inherited["FRAMEWORK_HANDOVER"] = json.dumps(
                {"ready": os.dup(writer), "sockets": [{**told, "fd": os.dup(old.fileno())}]}
            )
            inheritance = Inheritance(inherited)
            listener = inheritance.take(Endpoint.parse(f"unix://{path}?mode=0660"))
            assert listener is not None
            if serves:
                inheritance.ready()
                old.socket.pass_on()  # type: ignore[attr-defined] # what serve() does then
            listener.close()
            assert (folder / "a.sock").exists() != serves
    os.close(reader)
    os.close(writer)


def test_what_two_processes_listen_on_never_blocks_again(inherited: dict[str, str]) -> None:
    """A server that stops would make its socket block as before, and catch the other process in accept(2)."""
    given = socket.create_server(("127.0.0.1", 0))
    with socket.socket(fileno=os.dup(given.fileno())) as other:
        server = ThreadingTCPService(at(f"fd://{given.detach()}"), Who)
        with serving(server), socket.socket() as client:
            ask(client, server.server_address)
            server.shutdown()
            assert not os.get_blocking(other.fileno())


def test_a_bare_handler_on_a_letter_class_has_a_plain_socket() -> None:
    """Nothing of this reaches servers that are no services."""
    with UDPServer(("127.0.0.1", 0), BaseRequestHandler) as server:
        assert not isinstance(server.socket, Listener)


# -- starting a successor ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_successor_starts_while_others_fork() -> None:
    """A child that is forked as the successor is started holds up nobody, however long it lives."""
    children: list[int] = []

    def fork() -> None:
        for _ in range(100):
            child = os.fork()
            if child == 0:
                while True:
                    signal.pause()
            children.append(child)

    def succeed() -> None:
        while forking.is_alive():
            Successor([sys.executable, "-c", "pass"], []).end()

    forking = threading.Thread(target=fork, daemon=True)
    forking.start()
    try:
        bounded(succeed)
    finally:
        forking.join(PATIENCE)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
