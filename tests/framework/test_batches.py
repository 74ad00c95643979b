"""What a server that receives in batches owes its handlers."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from framework import ThreadingMixIn, UDPServer
from framework.batches import (
    BatchRequest,
    DatagramBatchHandler,
    DatagramBatchMixIn,
    UDPBatchService,
    UnixDatagramBatchService,
)
from framework.events import DatagramTruncated
from framework.greenlets import GreenletMixIn
from framework.observers import Observer
from tests.framework.spec import PATIENCE, serving

LOOPBACK = ("127.0.0.1", 0)


class Sizes(DatagramBatchHandler):
    """Answers each datagram by its number within the batch, and the batch's size."""

    def handle(self) -> None:
        """Answer all."""
        for number, (data, address) in enumerate(self.datagrams):
            self.send(b"%s %d/%d" % (data, number, len(self.datagrams)), address)


class ThreadingBatches(DatagramBatchMixIn, ThreadingMixIn, UDPServer):
    """A thread per batch."""


class GreenletBatches(DatagramBatchMixIn, GreenletMixIn, UDPServer):
    """A greenlet per batch."""


@pytest.mark.parametrize("kind", [UDPBatchService, ThreadingBatches, GreenletBatches])
def test_what_is_there_comes_at_once(kind: Any) -> None:
    """Datagrams that wait when the server looks are one batch, in the order in which they came."""
    server = kind(LOOPBACK, Sizes)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        for number in range(10):
            client.send(b"n%d" % number)
        with serving(server):
            assert [client.recv(100) for _ in range(10)] == [b"n%d %d/10" % (n, n) for n in range(10)]


def test_a_batch_is_bounded() -> None:
    """No batch is larger than ``batch_size``; what is more comes in the next."""

    class Small(UDPBatchService):
        batch_size = 4

    server = Small(LOOPBACK, Sizes)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        for _ in range(10):
            client.send(b"x")
        with serving(server):
            replies = [client.recv(100) for _ in range(10)]
    assert [reply.split(b"/")[1] for reply in replies] == [b"4"] * 8 + [b"2"] * 2


def test_verify_request_takes_datagrams_out() -> None:
    """``verify_request()`` sees the whole batch, and may leave some of it out."""

    class Picky(UDPBatchService):
        def verify_request(self, request: BatchRequest[Any], client_address: None) -> bool:
            datagrams, _ = request
            datagrams[:] = [datagram for datagram in datagrams if datagram[0] != b"no"]
            return bool(datagrams)

    server = Picky(LOOPBACK, Sizes)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        for data in (b"no", b"yes", b"no"):
            client.send(data)
        with serving(server):
            assert client.recv(100) == b"yes 0/1"


def test_unix_senders_without_address(folder: Path) -> None:
    """Datagrams of unbound Unix sockets come with ``None`` as the address; empty ones are datagrams too."""
    received: list[tuple[bytes, Any]] = []
    done = threading.Event()

    class Sink(DatagramBatchHandler):
        def handle(self) -> None:
            received.extend(self.datagrams)
            if len(received) == 3:
                done.set()

    server = UnixDatagramBatchService(str(folder / "sock"), Sink)
    with serving(server), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(server.server_address)
        for data in (b"one", b"", b"three"):
            client.send(data)
        assert done.wait(PATIENCE)
    assert received == [(b"one", None), (b"", None), (b"three", None)]


def test_truncation_is_told(folder: Path) -> None:
    """A datagram longer than ``max_packet_size`` is cut, and observers learn of it."""
    cut = threading.Event()

    class Notes(Observer):
        def datagram_truncated(self, event: DatagramTruncated) -> None:
            assert event.kept == 5
            cut.set()

    class Short(UnixDatagramBatchService):
        max_packet_size = 5

    class Sink(DatagramBatchHandler):
        def handle(self) -> None:
            assert [data for data, _ in self.datagrams] == [b"abcde", b"abcde"]

    server = Short(str(folder / "sock"), Sink)
    server.observe(Notes())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(server.server_address)
        client.send(b"abcde")
        client.send(b"abcdef")
        with serving(server):
            assert cut.wait(PATIENCE)
