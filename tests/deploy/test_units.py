"""The units of ``deploy/``: what systemd says of them, and the servers as they start them."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.real_clients.waiting import wait_for

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy"
PATIENCE = 30
SERVERS = ("chat", "keyvalue", "resolver", "syslog")

# Takes the descriptors as systemd passes them: from 3 on, for the process that is to be (sd_listen_fds(3)).
ACTIVATE = """
import os, sys
names, *passed = sys.argv[1].split(",")
for number, descriptor in enumerate(passed):
    os.dup2(int(descriptor), 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": names}
os.execv(sys.argv[2], sys.argv[2:])
"""


def analyze(*arguments: str) -> str:
    """Return what systemd-analyze says, which has to be content."""
    program = shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings(path: Path) -> list[tuple[str, str]]:
    """Return the settings of a unit."""
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return [(name, value) for name, equals, value in (line.partition("=") for line in lines) if equals]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose name leaves room for a socket in it (unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="units-"))
    yield path
    shutil.rmtree(path)


def test_each_server_has_its_units() -> None:
    """Nobody is forgotten."""
    services, sockets = ({path.stem for path in UNITS.glob(f"*.{kind}")} for kind in ("service", "socket"))
    assert services == sockets
    assert services >= {*SERVERS}


def test_verify(folder: Path) -> None:
    """Systemd has nothing to say against any unit."""
    for path in UNITS.glob("*.s*"):
        text = path.read_text().replace("/opt/framework/.venv/bin/python", sys.executable)
        # Not on this machine.
        (folder / path.name).write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
    assert not analyze("verify", "--man=no", *map(str, sorted(folder.iterdir())))


@pytest.mark.parametrize("name", SERVERS)
def test_exposure(name: str) -> None:
    """What the page says of how exposed a service is, systemd says."""
    found = re.search(
        r"exposure level for \S+: (\S+)",
        analyze("security", "--offline=true", str(UNITS / f"{name}.service")),
    )
    assert found is not None
    page = (ROOT / "docs/deploying.md").read_text()
    assert re.search(rf"(?m)^\| `{name}` \| {re.escape(found[1])} ", page)


@contextmanager
def activated(name: str, folder: Path) -> Iterator[list[socket.socket]]:
    """Run a server by its unit's command, with its unit's sockets on addresses of the system's choice."""
    service = dict(settings(UNITS / f"{name}.service"))
    command = service["ExecStart"].replace("/opt/framework/.venv/bin/python", sys.executable)
    for specifier in ("%S", "%E"):
        command = command.replace(specifier, str(folder))
    if state := service.get("StateDirectory"):
        (folder / state).mkdir(0o700, exist_ok=True)
    if configuration := service.get("ConfigurationDirectory"):
        (folder / configuration).mkdir()
        (folder / configuration / f"{name}.toml").write_text('nsid = "unit"\n')
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        unit = settings(UNITS / f"{name}.socket")
        for key, value in unit:
            if key.startswith("Listen"):
                unix = value.startswith("/")
                kind = {"ListenStream": socket.SOCK_STREAM, "ListenDatagram": socket.SOCK_DGRAM}[key]
                sock = stack.enter_context(socket.socket(socket.AF_UNIX if unix else socket.AF_INET, kind))
                (folder / "s").unlink(missing_ok=True)
                sock.bind(str(folder / "s") if unix else ("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    sock.listen()
                if ("PassCredentials", "yes") in unit:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                sockets.append(sock)
        called = ":".join([dict(unit)["FileDescriptorName"]] * len(sockets))
        passed = sorted(sock.fileno() for sock in sockets)
        program = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, ",".join([called, *map(str, passed)]), *shlex.split(command)],
            cwd=ROOT,
            pass_fds=passed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.enter_context(program)
        stack.callback(program.kill)
        yield sockets
        program.send_signal(signal.SIGTERM)
        _, log = program.communicate(timeout=PATIENCE)
        assert program.returncode == 0, log
        assert "ERROR" not in log
        assert "no server of this program" not in log


def connected(server: socket.socket) -> socket.socket:
    """Return a client of a socket."""
    client = socket.socket(server.family, server.type)
    client.settimeout(PATIENCE)
    client.connect(server.getsockname())
    return client


# PROXY v2 (the proxy's specification, section 2.2): on behalf of 192.0.2.7:4711, to 192.0.2.1:6697.
PROXY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1a\x29"


def test_chat(folder: Path) -> None:
    """The chat takes its socket and the word of the proxy on this host, and keeps what it is to keep in its folder."""
    with activated("chat", folder) as (server,), connected(server) as client:
        client.sendall(PROXY + b"NICK anna\r\nUSER anna 0 * anna\r\nWHOIS anna\r\n")
        received = b""
        while b"192.0.2.7" not in received:
            octets = client.recv(4096)
            assert octets, received
            received += octets
        assert list((folder / "chat").iterdir())


def test_keyvalue(folder: Path) -> None:
    """The store takes its socket, and what it was given is there after a restart."""
    for request, reply in ((b"SET a 1\r\n", b"+OK\r\n"), (b"GET a\r\n", b"$1\r\n1\r\n")):
        with activated("keyvalue", folder) as (server,), connected(server) as client:
            client.sendall(request)
            assert client.recv(len(reply), socket.MSG_WAITALL) == reply


def test_resolver(folder: Path) -> None:
    """The resolver takes both its sockets, each for what it is, and reads its file."""
    question = b"\7\7\0\0\0\1\0\0\0\0\0\0\3www\4demo\4test\0\0\1\0\1"
    with activated("resolver", folder) as (datagrams, stream):
        with connected(datagrams) as client:
            client.send(question)
            reply = client.recv(512)
            assert (reply[:2], reply[3] & 15, reply[7] > 0) == (b"\7\7", 0, True)
        with connected(stream) as client:
            client.sendall(len(question).to_bytes(2, "big") + question)
            size = int.from_bytes(client.recv(2, socket.MSG_WAITALL), "big")
            assert client.recv(size, socket.MSG_WAITALL)[:2] == b"\7\7"


def test_syslog(folder: Path) -> None:
    """The sink takes its socket, and writes into its folder what was sent before it ended."""
    with activated("syslog", folder) as (server,), connected(server) as client:
        client.send(b"<13>unit: it rains")
        log = folder / "syslog/messages"
        # What nobody has received when it ends stays in the socket, which is systemd's.
        wait_for(lambda: log.read_text() if log.exists() else "", "it rains")
