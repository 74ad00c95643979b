"""The examples and the README's code run as they stand, and do what they say."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from framework.testing import eventually

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
PATIENCE = 20.0


@contextlib.contextmanager
def program(code: str, *arguments: str, folder: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` in a folder; at the end interrupt it as Ctrl-C does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
        finally:
            process.kill()


def port(process: subprocess.Popen[str]) -> int:
    """Return the port of the next line that says where to connect."""
    assert process.stdout is not None
    return int(process.stdout.readline().split()[-1])


def ask(number: int, question: bytes, kind: socket.SocketKind = socket.SOCK_STREAM) -> bytes:
    """Send a question to a port and return the answer."""
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", number))
        client.sendall(question)
        return client.recv(1000)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(example: Path) -> None:
    """An example has 35 lines at most."""
    assert len(example.read_text().splitlines()) <= 35


@pytest.mark.parametrize("name", ["echo", "inside_asyncio"])
def test_upper(name: str) -> None:
    """Lines come back in upper case, to two clients at once, and Ctrl-C ends the program well."""
    with program((ROOT / f"docs/examples/{name}.py").read_text()) as process:
        number = port(process)
        with socket.create_connection(("127.0.0.1", number)):
            assert ask(number, b"hello\n") == b"HELLO\n"
    assert process.returncode == 0


def test_wsgi() -> None:
    """The standard library's WSGI server serves, and Ctrl-C ends it well."""
    with program((ROOT / "docs/examples/wsgi.py").read_text()) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert answer.read() == b"hello, 127.0.0.1\n"
    assert process.returncode == 0


def test_http_on_a_unix_socket(tmp_path: Path) -> None:
    """A client of the same user is told its own process."""
    with program((ROOT / "docs/examples/http_unix.py").read_text(), folder=tmp_path) as process:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            eventually(lambda: client.connect_ex(str(tmp_path / "status.sock")) == 0)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(1000), b""))
        assert answer.endswith(b"hello, process %d\n" % os.getpid())
    assert process.returncode == 0


def test_starttls(tmp_path: Path) -> None:
    """The secret is told over TLS, and not before."""
    authority = trustme.CA()
    certificate = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with program((ROOT / "docs/examples/starttls.py").read_text(), str(certificate)) as process:
        number = port(process)
        assert ask(number, b"TELL\r\n").startswith(b"530")
        with socket.create_connection(("127.0.0.1", number), PATIENCE) as plain:
            plain.sendall(b"STARTTLS\r\n")
            assert plain.recv(100) == b"220 go ahead\r\n"
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"TELL\r\n")
                assert client.recv(100) == b"250 xyzzy\r\n"
    assert process.returncode == 0


def test_socket_activation() -> None:
    """A program that systemd starts serves on the socket that it was passed, and SIGTERM ends it well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        passed = listener.fileno()
        # What systemd does between fork(2) and exec(2), as sd_listen_fds(3) has it.
        start = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.dup2(int(sys.argv[1]), 3); "
        start += "os.execv(sys.executable, [sys.executable, sys.argv[2]])"
        program = str(ROOT / "docs/examples/activated.py")
        command = [sys.executable, "-c", start, str(passed), program]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo"}
        with subprocess.Popen(command, env=environment, pass_fds=[passed]) as process:
            try:
                assert ask(listener.getsockname()[1], b"hello\n") == b"hello\n"
                process.terminate()
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_files() -> None:
    """The unit files are such that systemd has nothing to complain of."""
    units = [
        str(path) for kind in ("socket", "service") for path in (ROOT / "docs/examples").glob(f"*.{kind}")
    ]
    run = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_select_loop() -> None:
    """One loop serves a TCP and a UDP server."""
    with program((ROOT / "docs/examples/select_loop.py").read_text()) as process:
        greeting, clock = port(process), port(process)
        assert ask(greeting, b"Ada\n") == b"hello, Ada\n"
        assert int(ask(clock, b"?", socket.SOCK_DGRAM)) > 1_600_000_000
        assert ask(greeting, b"Bob\n") == b"hello, Bob\n"
    assert process.returncode == 0


def test_readme_server() -> None:
    """The README's server runs as pasted, and fits in ten lines."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    # Its port may be taken on this machine: everything else is as pasted.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    with program(code.replace("9000", str(number))) as process:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                assert ask(number, b"hello\n") == b"HELLO\n"
                break
            assert process.poll() is None
