import math
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from framework import (
    BaseRequestHandler,
    ServerState,
    StreamRequestHandler,
    TCPService,
    ThreadingTCPService,
    at,
)
from framework.testing import bounded, client_of, drive, eventually, running
from shared.metrics import Metrics
from shared.status import StatusHandler, StatusServer

ANY = "tcp://127.0.0.1:0"
Get = Callable[[str], tuple[int, str]]


class Echo(StreamRequestHandler[Any, Any]):
    """Says the same."""

    def handle(self) -> None:
        """Serve the connection."""
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def metrics() -> Metrics:
    """Know the servers."""
    return Metrics()


@pytest.fixture
def service(metrics: Metrics) -> Iterator[ThreadingTCPService[Any]]:
    """A service to tell about, not serving yet."""
    server = ThreadingTCPService[Any](at(ANY), Echo)
    metrics.observe("x", server)
    yield server
    server.server_close()


@pytest.fixture
def status(metrics: Metrics) -> Iterator[StatusServer]:
    """Tells about it."""
    with running(StatusServer(at(ANY), metrics)) as server:
        yield server


@pytest.fixture
def get(status: StatusServer) -> Get:
    """Ask by an ordinary client."""

    def ask(path: str) -> tuple[int, str]:
        client = HTTPConnection(*status.server_address, timeout=20)
        client.request("GET", path)
        reply = client.getresponse()
        body = reply.read().decode()
        client.close()
        return reply.status, body

    return ask


def test_metrics_in_either_format(status: StatusServer, service: object) -> None:
    """On one kept connection a client gets the format that it prefers, and a parser of it reads them."""
    client = HTTPConnection(*status.server_address, timeout=20)
    for wish, kind, parse in (
        ("", "text/plain", prometheus),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", openmetrics),
    ):
        client.request("GET", "/metrics?x=y", headers={"Accept": wish})
        reply = client.getresponse()
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith(kind)
        names = {family.name for family in parse(reply.read().decode())}
        assert {"framework_connections_open", "framework_state"} <= names
    client.close()


def test_readiness_through_the_states(service: ThreadingTCPService[Any], get: Get) -> None:
    """A server is ready while it serves: not before, not suspended, not draining, not after."""
    assert get("/readyz") == (503, "x: bound\n")
    with running(service):
        service.wait_for_state(ServerState.SERVING, timeout=20)
        assert get("/readyz") == (200, "ok\n")
        service.suspend()
        assert get("/readyz") == (503, "x: suspended\n")
        service.resume()
        assert get("/readyz") == (200, "ok\n")
        service.drain(0)
        assert get("/readyz") == (503, "x: draining\n")
        assert get("/healthz") == (200, "ok\n")
    assert get("/readyz") == (503, "x: closed\n")
    assert get("/healthz") == (200, "ok\n")


def test_a_loop_that_hangs(monkeypatch: pytest.MonkeyPatch, metrics: Metrics, get: Get) -> None:
    """A server whose handler holds its loop is not healthy, until that is over."""
    monkeypatch.setattr("shared.status._HANGING", 0.6)
    entered, go_on = threading.Event(), threading.Event()

    class Stuck(BaseRequestHandler[Any, Any, Any]):
        def handle(self) -> None:
            entered.set()
            go_on.wait(20)

    with running(TCPService[Any](at(ANY), Stuck), poll_interval=0.1) as server:
        metrics.observe("stuck", server)
        with client_of(server):
            assert entered.wait(20)
            eventually(lambda: get("/healthz")[0] == 503)
            assert get("/healthz")[1].startswith("stuck: its loop has not turned for ")
            go_on.set()
            eventually(lambda: get("/healthz") == (200, "ok\n"))


LINES = st.sampled_from(
    [
        b"GET /healthz HTTP/1.1",
        b"HEAD /metrics HTTP/1.0",
        b"PUT / HTTP/1.1",
        b"Connection: close",
        b"",
        b"a:b",
    ]
)


@given(st.lists(st.binary(max_size=30) | LINES | LINES.map(lambda line: line + b"\r")).map(b"\n".join))
def test_any_octets_are_answered_in_order(data: bytes) -> None:
    """Whatever octets come, each request among them has a whole reply, and the last of them ends the connection."""
    server = SimpleNamespace(
        metrics=Metrics(), hanging=list, unready=list, draining=False, request_timeout=math.inf
    )
    sent = drive(StatusHandler, data, server=server)
    assert not sent or sent.startswith(b"HTTP/1.1 ")
    *others, _ = sent.split(b"HTTP/1.1 ")
    assert not any(b"Connection: close" in reply for reply in others)
    assert len(others) <= data.count(b"\n")


def exchange(server: StatusServer, data: bytes) -> bytes:
    """Send octets and return all that comes until the connection ends."""
    with client_of(server) as client:
        client.sendall(data)
        return b"".join(iter(lambda: client.recv(65536), b""))


GOOD = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "first_line"),
    [
        (b"\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET /\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET / HTTP/2.0\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"G\xffT / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\na: " + b"x" * 10_000 + b"\r\n\r\n", b"HTTP/1.1 431 Request Header Fields Too Large"),
        (
            b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(65)) + b"\r\n",
            b"HTTP/1.1 431 Request Header Fields Too Large",
        ),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 405 Method Not Allowed"),
        (b"GET /../../etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"GET /healthz HTTP/1.0\n\n", b"HTTP/1.1 200 OK"),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nGET", b"HTTP/1.1 200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK"),
    ],
)  # fmt: skip
def test_garbage_is_answered_and_the_connection_ends(
    status: StatusServer, data: bytes, first_line: bytes
) -> None:
    """Whatever comes, there is one reply to it and no other, the connection ends, and the next client is served."""
    reply = exchange(status, data)
    assert reply.split(b"\r\n")[0] == first_line
    assert reply.count(b"HTTP/1.1 ") == 1
    assert exchange(status, GOOD).endswith(b"\r\n\r\nok\n")


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1", b"GET /metrics HTTP/1.1\r\nAccept: x\r\n"])
def test_a_client_that_leaves_early(
    status: StatusServer, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """A request that is cut off is no request, and nothing to log."""
    with client_of(status) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert exchange(status, GOOD).endswith(b"ok\n")
    assert not caplog.records


class Impatient(StatusServer):
    """Gives requests no time."""

    read_timeout = 0.2
    idle_timeout = 0.2


@pytest.mark.parametrize("data", [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\n"])
def test_a_client_that_dawdles(metrics: Metrics, data: bytes) -> None:
    """A client that sends nothing, or not all of its request, is not waited for."""
    with running(Impatient(at(ANY), metrics)) as server, client_of(server) as client:
        client.sendall(data)
        assert client.recv(100) == b""


def test_a_client_that_sends_headers_for_ever(metrics: Metrics) -> None:
    """The lines of a request have a deadline together, too."""
    server = StatusServer(at(ANY), metrics)
    server.request_timeout = 0
    with running(server):
        reply = exchange(server, b"GET / HTTP/1.1\r\nA: b\r\n")
    assert reply.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_it_ends_after_those_it_tells_about(
    status: StatusServer, service: ThreadingTCPService[Any], get: Get
) -> None:
    """Asked to suspend and to drain along with the others, it answers until they have ended."""
    with running(service):
        service.wait_for_state(ServerState.SERVING, timeout=20)
        status.suspend()
        with client_of(service) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
            ending = threading.Thread(target=status.drain, args=(20,))
            ending.start()
            service.suspend()
            assert get("/readyz") == (503, "x: suspended\n")
            assert not status.draining
    bounded(ending.join)
    assert status.draining
