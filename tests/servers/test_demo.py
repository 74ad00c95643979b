"""All four servers in one process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 30


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose name leaves room for a socket in it (unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="demo-"))
    yield path
    shutil.rmtree(path)


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the demo in a folder, on ports of the system's choice."""
    ports = {"CHAT_PORT": "0", "RESOLVER_BIND": "udp://127.0.0.1:0", "DEMO_METRICS": "127.0.0.1:0"}
    return subprocess.Popen(
        [sys.executable, "-m", "servers.demo"],
        cwd=folder,
        env={**os.environ, **ports, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(text: str, pipe: Iterator[str]) -> list[str]:
    """Return the lines up to one with this text."""
    lines: list[str] = []
    for line in pipe:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"it ended without {text!r}: {lines}")


def test_all_four(folder: Path) -> None:
    """Each answers, the metrics tell of all, and SIGTERM ends all with nothing left behind."""
    with start(folder) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        try:
            banner = "".join(until("Ctrl-C ends them together.", demo.stdout))
            log = "".join(until("serving ChatServer", demo.stderr))
            for client in (
                "irssi -c",
                "dig -p",
                "redis-cli -s ./keyvalue.sock",
                "logger -u run/log.sock",
                "curl",
            ):
                assert f"\n    {client}" in banner
            port = int(re.search(r"nc 127\.0\.0\.1 (\d+)", banner)[1])  # type: ignore[index]
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as chat:
                chat.sendall(b"NICK anna\r\nUSER anna 0 * anna\r\n")
                assert chat.recv(99, socket.MSG_WAITALL).startswith(b":irc.localhost 001 anna :Welcome")
                with socket.socket(socket.AF_UNIX) as keyvalue:
                    keyvalue.settimeout(PATIENCE)
                    keyvalue.connect(str(folder / "keyvalue.sock"))
                    keyvalue.sendall(b"SET a 1\r\nGET a\r\n")
                    assert keyvalue.recv(10, socket.MSG_WAITALL) == b"+OK\r\n$1\r\n1"
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
                    resolver.settimeout(PATIENCE)
                    resolver.connect(("127.0.0.1", int(re.search(r"dig -p (\d+)", banner)[1])))  # type: ignore[index]
                    question = b"\7\7\0\0\0\1\0\0\0\0\0\0\3www\4demo\4test\0\0\1\0\1"
                    resolver.send(question)
                    reply = resolver.recv(512)
                    assert (reply[:2], reply[3] & 15, reply[7] > 0) == (b"\7\7", 0, True)
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
                    syslog.connect(str(folder / "run/log.sock"))
                    syslog.send(b"<13>demo: it rains")
                assert "it rains" in until("it rains", demo.stdout)[-1]
                where = re.search(r"http://\S+/metrics", log)[0]  # type: ignore[index]
                with urllib.request.urlopen(where, timeout=PATIENCE) as reply:
                    metrics = reply.read().decode()
                for name in ("resolver_datagrams_received_total 1.0", "syslog_received_total 1.0"):
                    assert f"\n{name}\n" in metrics
                demo.send_signal(signal.SIGTERM)
                assert demo.wait(PATIENCE) == 0
        finally:
            demo.kill()
    assert [path.name for path in folder.rglob("*")] == ["run"]


def test_one_that_cannot_start(folder: Path) -> None:
    """Where one of them cannot be had, one line says so, and the others leave nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with start(folder, SYSLOG_BIND=where) as demo:
            output, errors = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, output) == (1, "")
    assert errors.startswith("demo: cannot listen on tcp://127.0.0.1:")
    assert errors.count("\n") == 1
    assert [*folder.iterdir()] == []


def test_an_address_for_all(folder: Path) -> None:
    """There is no address for all of them, and the line says what there is."""
    with start(folder, DEMO_BIND="tcp://127.0.0.1:0") as demo:
        output, errors = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, output, "CHAT_PORT" in errors) == (2, "", True)
