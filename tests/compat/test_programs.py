"""Programs built on the original, run on the framework and talked to by clients of their own kind."""

import contextlib
import http.client
import importlib.util
import json
import logging
import logging.handlers
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SECONDS = 30
NEEDS = {
    "django_runserver": "django",
    "dnslib_server": "dnslib",
    "fakeredis_server": "fakeredis",
    "prometheus_metrics": "prometheus_client",
    "werkzeug_run_simple": "werkzeug",
}


class Program:
    """A program that runs, and what it prints."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.printed = ""
        self.port = 0

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read what it prints until the pattern is there."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.printed)):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            part = self.process.stdout.read1(4096) if ready else b""  # type: ignore[attr-defined]
            assert part, f"no {pattern!r} in:\n{self.printed}"
            self.printed += part.decode()
        return found

    def end(self) -> None:
        """Close its stdin and wait until it has ended by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.read_until(r"(?m)^ended$")
        assert self.process.wait(SECONDS) == 0

    def interrupt(self) -> None:
        """Press Ctrl-C and wait until it has ended."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(SECONDS) == 0


@contextlib.contextmanager
def running(name: str, folder: Path, *arguments: str) -> Iterator[Program]:
    """Run one of the programs on the framework until the block is left."""
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    command = [
        sys.executable,
        "-Pu",
        str(FOLDER / "launch.py"),
        "ours",
        str(FOLDER / f"programs/{name}.py"),
        *arguments,
    ]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            program = Program(process)
            program.port = int(program.read_until(r"127\.0\.0\.1:(\d+)")[1])
            yield program
        finally:
            process.kill()


def get(client: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    """Ask for a path."""
    client.request("GET", path)
    with client.getresponse() as response:
        return response.status, response.read().decode()


@contextlib.contextmanager
def http_client(program: Program) -> Iterator[http.client.HTTPConnection]:
    """Connect by HTTP."""
    client = http.client.HTTPConnection("127.0.0.1", program.port, timeout=SECONDS)
    with contextlib.closing(client):
        yield client


def test_django(tmp_path: Path) -> None:
    """Django's runserver answers in threads, keeps connections alive side by side, and ends on Ctrl-C."""
    with running("django_runserver", tmp_path) as program:
        with http_client(program) as one, http_client(program) as other:
            assert get(one, "/hello") == (200, "GET /hello True")
            kept = one.sock
            # Served while the first connection is open: each has its thread.
            assert get(other, "/hello") == (200, "GET /hello True")
            assert get(one, "/hello") == (200, "GET /hello True")
            assert get(one, "/none")[0] == 404
            assert one.sock is kept
        program.interrupt()


@pytest.mark.parametrize(
    ("how", "answer"),
    [("threaded", "thread True process False"), ("processes", "thread False process True")],
)
def test_werkzeug(how: str, answer: str, tmp_path: Path) -> None:
    """Werkzeug's run_simple answers in threads or in processes, and ends on Ctrl-C."""
    with running("werkzeug_run_simple", tmp_path, how) as program:
        with http_client(program) as one, http_client(program) as other:
            # A connection that says nothing keeps nobody waiting.
            one.connect()
            assert get(other, "/path") == (200, f"GET /path {answer}")
            assert get(one, "/path") == (200, f"GET /path {answer}")
        program.interrupt()


def test_prometheus(tmp_path: Path) -> None:
    """prometheus_client is scraped, and shuts its server down."""
    with running("prometheus_metrics", tmp_path) as program:
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/metrics") as response:
                assert b"\nrequests_total 3.0\n" in response.read()
        program.end()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_dnslib(tcp: bool, tmp_path: Path) -> None:
    """Dnslib's server answers queries, and stops."""
    dnslib = pytest.importorskip("dnslib")
    with running("dnslib_server", tmp_path, "tcp" if tcp else "udp") as program:
        for number in range(3):
            query = dnslib.DNSRecord.question(f"name{number}.example")
            answer = dnslib.DNSRecord.parse(query.send("127.0.0.1", program.port, tcp=tcp, timeout=SECONDS))
            assert str(answer.a.rdata) == "192.0.2.1"
            assert answer.header.id == query.header.id
        program.end()


def test_fakeredis(tmp_path: Path) -> None:
    """Fakeredis serves redis-py: values, a pipeline, a subscription; and shuts down."""
    redis = pytest.importorskip("redis")
    with running("fakeredis_server", tmp_path) as program:
        with redis.Redis(port=program.port, decode_responses=True) as client:
            assert client.set("key", "value")
            assert client.get("key") == "value"
            with client.pipeline() as pipeline:
                assert pipeline.incr("n").incr("n").get("n").execute() == [1, 2, "2"]
            with client.pubsub(ignore_subscribe_messages=False) as subscription:
                subscription.subscribe("channel")
                assert subscription.get_message(timeout=SECONDS)["type"] == "subscribe"
                assert client.publish("channel", "news") == 1
                assert subscription.get_message(timeout=SECONDS)["data"] == "news"
        program.end()


def test_xmlrpc(tmp_path: Path) -> None:
    """xmlrpc.server answers xmlrpc.client: calls, faults, several at once; and ends on the flag set by a call."""
    with running("xmlrpc_server", tmp_path) as program:
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{program.port}", allow_none=True) as proxy:
            assert proxy.power(2, 10) == 1024
            several = xmlrpc.client.MultiCall(proxy)
            several.power(2, 2)
            several.power(3, 3)
            results = several()
            assert (results[0], results[1]) == (4, 27)
            with pytest.raises(xmlrpc.client.Fault, match="not supported"):
                proxy.none()
            proxy.end()
        program.end()


@pytest.mark.parametrize("client", ["curl", "http.client"])
def test_http_server(client: str, tmp_path: Path) -> None:
    """`python -m http.server` serves files in parallel, and ends on Ctrl-C."""
    curl = shutil.which("curl")
    if client == "curl" and curl is None:
        pytest.skip("curl is not installed")
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    with running("http_server", tmp_path) as program:
        url = f"http://127.0.0.1:{program.port}/file"
        if client == "curl":
            command = [
                str(curl),
                "--silent",
                "--show-error",
                "--fail",
                "--noproxy",
                "*",
                "--parallel",
                url,
                url,
            ]
            assert subprocess.run(command, capture_output=True, check=True).stdout.count(content[:512]) > 1
        else:
            with http_client(program) as one, http_client(program) as other:
                one.connect()
                assert get(other, "/none")[0] == 404
                one.request("HEAD", "/file")
                assert one.getresponse().headers["Content-Length"] == str(len(content))
        program.interrupt()


def test_wsgiref(tmp_path: Path) -> None:
    """wsgiref.simple_server serves its demonstration, request by request."""
    with running("wsgiref_server", tmp_path) as program:
        for _ in range(2):
            with http_client(program) as client:
                assert get(client, "/")[1].startswith("Hello world!")
        program.end()


def test_logging_listen(tmp_path: Path) -> None:
    """logging.config.listen takes a configuration over a connection, and stops listening."""
    configuration = {
        "version": 1,
        "formatters": {"own": {"format": "%(levelname)s: %(message)s."}},
        "handlers": {
            "own": {"class": "logging.StreamHandler", "formatter": "own", "stream": "ext://sys.stdout"}
        },
        "root": {"handlers": ["own"]},
    }
    text = json.dumps(configuration).encode()
    with running("logging_listen", tmp_path) as program:
        with socket.create_connection(("127.0.0.1", program.port), SECONDS) as client:
            client.sendall(struct.pack(">L", len(text)) + text)
            # Closed once the configuration is taken.
            assert client.recv(1) == b""
        program.end()
        assert "WARNING: as configured." in program.printed


@pytest.mark.parametrize("unix", [False, True], ids=["udp", "unix"])
def test_syslog(unix: bool, tmp_path: Path) -> None:
    """logging.handlers.SysLogHandler logs to a datagram server, from an address and from none."""
    path = str(tmp_path / "log")
    with running("syslog_sink", tmp_path, *([path] if unix else [])) as program:
        handler = logging.handlers.SysLogHandler(path if unix else ("127.0.0.1", program.port))
        with contextlib.closing(handler):
            for number in range(3):
                handler.emit(logging.LogRecord("name", logging.ERROR, "", 0, f"message {number}", None, None))
        program.end()
        assert all(f"b'<11>message {number}\\x00'" in program.printed for number in range(3))


@pytest.mark.parametrize("when", ["before", "after"])
def test_gevent(when: str) -> None:
    """In a program that gevent has patched, before or after the import, servers serve and shut down cooperatively."""
    pytest.importorskip("gevent")
    command = [sys.executable, "-P", str(FOLDER / "programs/gevent_server.py"), when]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr
