"""The chat behind haproxy, configured as ``deploy/haproxy.cfg`` has it: TLS there, and PROXY v2 from there on."""

import contextlib
import re
import selectors
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
import trustme

from framework.testing import running
from servers.chat.server import ChatServer
from servers.chat.settings import Settings
from tests.real_clients.irssi import Irssi, Terminals
from tests.real_clients.waiting import PATIENCE, wait_for

CONFIGURATION = Path(__file__).parents[2] / "deploy/haproxy.cfg"
# Loopback is a network of many addresses (RFC 1122, section 3.2.1.3); each is somebody else here.
HAPROXY, ANNA, BOB = "127.0.0.1", "127.0.0.11", "127.0.0.22"


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((HAPROXY, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """Serve the chat for haproxy, with addresses shown to users."""
    with running(ChatServer(Settings(port=0, show_addresses=True, trusted_proxy=(HAPROXY,)))) as server:
        yield server


@pytest.fixture
def haproxy(server: ChatServer, tmp_path: Path) -> Iterator[int]:
    """Start haproxy in front of the chat, and return its port."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    certificate = authority.issue_cert("localhost", HAPROXY).private_key_and_cert_chain_pem
    certificate.write_to_path(str(tmp_path / "chat.pem"))
    port = free_port()
    text = CONFIGURATION.read_text()
    for old, new in (
        (":6697", f"{HAPROXY}:{port}"),
        ("/etc/haproxy/chat.pem", str(tmp_path / "chat.pem")),
        ("127.0.0.1:6668", f"127.0.0.1:{server.server_address[1]}"),
    ):
        text, times = re.subn(rf"(?<=[ ]){re.escape(old)}(?=\s)", new, text)
        assert times == 1, old
    (tmp_path / "haproxy.cfg").write_text(text)
    checked = subprocess.run(
        [program, "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, "WARNING" in checked.stderr) == (0, False), checked.stderr
    with (tmp_path / "log").open("w") as log, ExitStack() as stack:
        started = subprocess.Popen(
            [program, "-db", "-f", "haproxy.cfg"], cwd=tmp_path, stdout=log, stderr=log
        )
        stack.enter_context(started)
        stack.callback(started.kill)

        def look() -> str:
            with socket.socket() as client:
                return str(client.connect_ex((HAPROXY, port)))

        wait_for(look, "0")
        yield port


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    """Return terminals for irssi."""
    for program in ("irssi", "tmux"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()


def test_irssi_behind_haproxy(haproxy: int, server: ChatServer, terminals: Terminals, tmp_path: Path) -> None:
    """People who come over TLS by haproxy are seen by the chat and by each other with their own addresses."""
    anna, bob = (Irssi(terminals, tmp_path, None, nick) for nick in ("anna", "bob"))
    for client, address in ((anna, ANNA), (bob, BOB)):
        client.type(
            f"/connect -4 -tls_verify -tls_cafile {tmp_path / 'authority.pem'} -host {address} localhost {haproxy}"
        )
        client.sees(f"Welcome to the Chat network, {client.nick}!{client.nick}@{address}")
        client.type("/join #lobby")
        client.sees("Join to #lobby was synced in")
    anna.sees(f"bob [bob@{BOB}] has joined #lobby")
    bob.type("Hello Anna")
    anna.sees("bob> Hello Anna")
    assert {user.address for user in server.chat.network.users} == {ANNA, BOB}


def test_nobody_else_is_believed(haproxy: int, server: ChatServer) -> None:
    """From where no proxy is trusted, a header is no header: who sends one is who the kernel says."""
    claim = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 6697\r\n"
    with socket.create_connection((HAPROXY, server.server_address[1]), PATIENCE, (ANNA, 0)) as client:
        client.sendall(claim + b"NICK eve\r\nUSER eve 0 * eve\r\n")
        received = b""
        while b" 001 eve " not in received:
            octets = client.recv(4096)
            assert octets, received
            received += octets
        assert {user.address for user in server.chat.network.users} == {ANNA}


def test_one_address_too_often(haproxy: int, server: ChatServer) -> None:
    """Of one address, a hundred connections are let in by haproxy, and one more is cut off."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        # Its threads accept side by side: which one is one too many is theirs to say.
        try:
            for _ in range(101):
                client = socket.create_connection((HAPROXY, haproxy), PATIENCE, (ANNA, 0))
                selector.register(stack.enter_context(client), selectors.EVENT_READ)
        except ConnectionResetError:
            return
        ended = selector.select(PATIENCE)
        assert len(ended) == 1
        with contextlib.suppress(ConnectionResetError):
            assert cast("socket.socket", ended[0][0].fileobj).recv(1) == b""
