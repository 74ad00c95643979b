import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from framework import (
    BaseRequestHandler,
    Observer,
    ServiceMixIn,
    StreamRequestHandler,
    ThreadingTCPService,
    UDPServer,
    at,
)
from framework.testing import client_of, eventually, failing_accept, running
from shared.metrics import Metrics, _Observer


class Upper(StreamRequestHandler[Any, Any]):
    """Answers each line, but fails at one."""

    def handle(self) -> None:
        """Serve the connection."""
        for line in self.rfile:
            if line == b"fail\n":
                raise ZeroDivisionError
            self.wfile.write(line.upper())


class Service(ThreadingTCPService[Any]):
    """Serves a few clients."""

    max_connections = 3

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
        """Take everybody, or nobody."""
        return not self.refusing

    refusing = False


def values(metrics: Metrics) -> Callable[..., float]:
    """What the text that Prometheus would get says, by the eyes of the library's own parser."""
    text = generate_latest(metrics.registry).decode()
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return lambda name, **labels: samples[f"framework_{name}", frozenset({"server": "x", **labels}.items())]


@pytest.fixture
def metrics() -> Metrics:
    """Count."""
    return Metrics()


@pytest.fixture
def service(metrics: Metrics) -> Iterator[Service]:
    """A service that is observed."""
    with running(Service(at("tcp://127.0.0.1:0"), Upper)) as server:
        metrics.observe("x", server)
        yield server


def test_connections(metrics: Metrics, service: Service) -> None:
    """Connections are counted as they open, while they are open, and as they end, by why and for how long."""
    with client_of(service) as one, client_of(service) as other:
        for client in (one, other):
            client.sendall(b"hello\n")
            assert client.recv(100) == b"HELLO\n"
        told = values(metrics)
        assert (told("connections_opened_total"), told("connections_open")) == (2, 2)
        other.sendall(b"fail\n")
        assert other.recv(100) == b""
        one.shutdown(socket.SHUT_WR)
        assert one.recv(100) == b""
    assert service.wait_for_connections(lambda count: count == 0, 20)
    told = values(metrics)
    assert told("connections_closed_total", reason="peer") == 1
    assert told("connections_closed_total", reason="error") == 1
    assert told("connections_closed_total", reason="timeout") == 0
    assert told("connections_open") == 0
    assert told("connection_duration_seconds_count") == 2
    assert told("connection_duration_seconds_bucket", le="+Inf") == 2
    assert told("handler_failures_total") == 1


def test_refusals(metrics: Metrics, service: Service) -> None:
    """Clients that are refused are counted by why."""
    service.refusing = True
    with client_of(service) as client:
        assert client.recv(100) == b""
    assert service.wait_for_connections(lambda count: count == 0, 20)
    told = values(metrics)
    assert told("connections_rejected_total", reason="verify_request") == 1
    assert told("connections_closed_total", reason="refused") == 1


def test_overload(metrics: Metrics, service: Service) -> None:
    """Reaching the cap is counted, and seen for as long as it lasts."""
    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(client_of(service))
        eventually(lambda: values(metrics)("overloaded") == 1)
    eventually(lambda: values(metrics)("overloaded") == 0)
    assert values(metrics)("overloads_total") == 1


def test_accepting(metrics: Metrics, service: Service) -> None:
    """Running out of descriptors is counted once per time."""
    error = OSError(24, "Too many open files")
    with failing_accept(service, error, error), client_of(service) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"HELLO\n"
    assert values(metrics)("accept_failures_total") == 1


def test_a_drain_and_the_states(metrics: Metrics, service: Service) -> None:
    """A drain tells what became of the connections, and each state is told as one of all."""
    with client_of(service) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"HELLO\n"
        assert values(metrics)("state", state="serving") == 1
        assert 0 <= values(metrics)("last_turn_age_seconds") < 60
        result = service.drain(20)
    told = values(metrics)
    assert told("connections_drained_total", outcome="completed") == result.completed == 1
    assert told("connections_drained_total", outcome="forced") == 0
    assert (told("state", state="serving"), told("state", state="draining")) == (0, 1)


class Datagrams(ServiceMixIn[Any, Any], UDPServer[Any]):
    """Takes short ones."""

    max_packet_size = 4


def test_datagrams(metrics: Metrics) -> None:
    """A datagram that was cut is counted."""
    with running(Datagrams(at("udp://127.0.0.1:0"), BaseRequestHandler)) as server:
        metrics.observe("x", server)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"longer", server.server_address)
            eventually(lambda: values(metrics)("datagrams_truncated_total") == 1)


class Own(Collector):
    """What a service counts itself."""

    def collect(self) -> Iterator[Metric]:
        """Return the number of users."""
        yield GaugeMetricFamily("chat_users", "Users.", value=3)


def test_collectors_of_the_service() -> None:
    """A service's own numbers, and the process', stand beside the framework's, and two registries do not meet."""
    text = generate_latest(Metrics([Own()]).registry).decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"chat_users", "process_resident_memory_bytes", "framework_connections_open"} <= names
    assert "chat_users" not in generate_latest(Metrics([]).registry).decode()


def test_every_event_is_counted() -> None:
    """An event that the framework learns to tell is not forgotten here; what a drain begins with, its end counts."""
    ours, theirs = vars(_Observer), vars(Observer)
    assert {name for name in theirs if not name.startswith("_")} - set(ours) == {"drain_began"}
