"""Limits that have a test of their own here: the rate per peer, the reserve, what a drain and a loop put up with."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import (
    DatagramRequestHandler,
    ForkingMixIn,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    UDPServer,
    accept_errors,
    peers,
)
from framework.batches import DatagramBatchHandler, UnixDatagramBatchService
from framework.events import (
    AcceptFailed,
    ActionsFailed,
    CloseReason,
    ConnectionClosed,
    DrainEnded,
    Rejected,
    RejectReason,
)
from framework.greenlets import GreenletMixIn
from framework.greenlets import sleep as green_sleep
from framework.pool import ThreadPoolMixIn
from framework.service import ServiceMixIn, TCPService, ThreadingTCPService
from framework.testing import PATIENCE, Recorder, client_of, eventually, failing_accept, running

LOOPBACK = ("127.0.0.1", 0)


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


class Back(DatagramRequestHandler):
    """Sends each datagram back."""

    def handle(self) -> None:
        """Answer with what came."""
        self.wfile.write(self.packet)


@contextlib.contextmanager
def watched(server: Any) -> Iterator[tuple[Any, Recorder]]:
    """Run a service, and record what it tells."""
    recorder = Recorder()
    server.observe(recorder)
    with running(server):
        yield server, recorder


# -- datagrams per peer --------------------------------------------------------------------------------------------


@given(
    rate=st.floats(0.1, 1000),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_window_lets_more_through_than_the_rate(rate: float, gaps: list[float]) -> None:
    """Between any two moments a peer gets at most a bucketful and what has trickled in meanwhile."""
    rates = peers.Rates(rate)
    now = 1000.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        if rates.take("peer", now):
            taken.append(now)
    bucket = max(1.0, rate)
    for first, start in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= bucket + rate * (end - start) + 1e-3


def test_each_peer_has_a_bucket_of_its_own() -> None:
    """One that sends too fast takes nothing from another, and has its own again after a while."""
    rates = peers.Rates(2)
    assert [rates.take("loud", 10.0) for _ in range(4)] == [True, True, False, False]
    assert rates.take("quiet", 10.0)
    assert rates.take("loud", 10.5)
    assert not rates.take("loud", 10.6)


def test_forged_addresses_take_no_more_memory_than_a_few_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peers remembered are bounded, and the one forgotten is that which sent nothing for the longest."""
    monkeypatch.setattr(peers, "_PEERS", 3)
    rates = peers.Rates(1)
    assert rates.take("steady", 0.0)
    for number in range(10):
        assert rates.take(number, 0.001 * number)
    assert len(rates._full_at) == 3
    assert rates.take("steady", 0.02)  # forgotten, so full
    assert not rates.take("steady", 0.03)


def test_a_peer_that_sends_too_fast_loses_the_surplus() -> None:
    """Beyond ``max_datagrams_per_peer`` datagrams are dropped, told once and counted, and others are served."""
    server_class = type("Slow", (ServiceMixIn, UDPServer), {"max_datagrams_per_peer": 3})
    with (
        watched(server_class(LOOPBACK, Back)) as (server, recorder),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loud,
    ):
        loud.settimeout(PATIENCE)
        loud.bind(("127.0.0.2", 0))
        for number in range(50):
            loud.sendto(b"%d" % number, server.server_address)
        assert [loud.recv(10) for _ in range(3)] == [b"0", b"1", b"2"]
        eventually(lambda: server.info().dropped == 47)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
            quiet.settimeout(PATIENCE)
            quiet.sendto(b"hello", server.server_address)
            assert quiet.recv(10) == b"hello"
        assert recorder.of(Rejected) == [Rejected(loud.getsockname(), RejectReason.PEER_RATE)]


def test_a_batch_is_filled_by_those_who_may(folder: Path) -> None:
    """What comes too fast takes no place in a batch; on a Unix socket a process is a peer, however it binds."""
    batches: list[list[bytes]] = []

    class Collect(DatagramBatchHandler):
        def handle(self) -> None:
            batches.append([data for data, _ in self.datagrams])

    class Sink(UnixDatagramBatchService):
        max_datagrams_per_peer = 2
        peer_credentials = True

    server = Sink(str(folder / "sink"), Collect)
    for name in ("one", "two", "three"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(folder / name))
            client.sendto(name.encode(), str(folder / "sink"))
    with watched(server):
        eventually(lambda: server.info().dropped == 1)
        eventually(lambda: sum(batches, []) == [b"one", b"two"])  # noqa: RUF017 -- two


# -- descriptors ---------------------------------------------------------------------------------------------------


def test_without_descriptors_clients_are_turned_away_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain for a descriptor is told so by the one in reserve; once there are some, all are served."""
    monkeypatch.setattr(accept_errors, "_PATIENCE", 0.0)
    with contextlib.ExitStack() as stack, watched(TCPService(LOOPBACK, Echo)) as (server, recorder):
        clients = [stack.enter_context(socket.socket()) for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # As many as are open, of which none may be missing below the highest.
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest() + 1, hard))
        fillers: list[int] = []
        try:
            fillers += fill()
            for client in clients:
                client.settimeout(PATIENCE)
                client.connect(server.server_address)
                with contextlib.suppress(ConnectionError):
                    assert client.recv(10) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        eventually(lambda: is_served(server))
        assert {event.reason for event in recorder.of(Rejected)} == {RejectReason.NO_DESCRIPTOR}
        assert [getattr(event.error, "errno", None) for event in recorder.of(AcceptFailed)] == [errno.EMFILE]


def test_only_errors_that_last_let_the_listener_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once descriptors are there again, the end of each burst, EAGAIN, asks for no rest."""
    rests: list[float] = []
    with watched(TCPService(LOOPBACK, Echo)) as (server, _):
        with failing_accept(server, OSError(errno.EMFILE, os.strerror(errno.EMFILE))):
            assert is_served(server)
        monkeypatch.setattr(vars(server)["_ServiceMixIn__loop"], "alarm", rests.append)
        assert is_served(server)
    assert rests == []


def is_served(server: Any) -> bool:
    """Tell whether a new client is served."""
    with client_of(server) as client, contextlib.suppress(ConnectionError):
        client.sendall(b"hello\n")
        return client.recv(10) == b"hello\n"
    return False


def highest() -> int:
    """Return the highest descriptor that is open."""
    return max(int(each.name) for each in Path("/proc/self/fd").iterdir())


def fill() -> Iterator[int]:
    """Take every descriptor there is."""
    with contextlib.suppress(OSError):
        while True:
            yield os.open(os.devnull, os.O_RDONLY)


# -- the loop ------------------------------------------------------------------------------------------------------


def test_actions_that_fail_do_not_end_the_loop() -> None:
    """What ``service_actions()`` raises is told once until it has passed again, and the server serves on."""
    turns: list[bool] = []

    class Clumsy(TCPService):
        def service_actions(self) -> None:
            turns.append(len(turns) in {0, 1, 3})
            if turns[-1]:
                raise RuntimeError("clumsy")

    with watched(Clumsy(LOOPBACK, Echo)) as (server, recorder):
        while len(turns) < 5:
            with client_of(server) as client:
                client.sendall(b"hello\n")
                assert client.recv(10) == b"hello\n"
        assert [str(event.error) for event in recorder.of(ActionsFailed)] == ["clumsy"] * 2


@pytest.mark.parametrize("how", [ThreadingMixIn, ThreadPoolMixIn, GreenletMixIn, ForkingMixIn])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_drain_waits_for_datagrams(how: type[Any], folder: Path) -> None:
    """A datagram that a thread, a greenlet or a child has is served to its end before a drain returns."""
    begun, go_on = folder / "begun", folder / "go_on"

    class Slow(DatagramRequestHandler):
        def handle(self) -> None:
            begun.touch()
            while not go_on.exists():
                green_sleep(0.005) if how is GreenletMixIn else threading.Event().wait(0.005)
            self.wfile.write(b"done")

    bases = (how, UDPServer) if issubclass(how, ServiceMixIn) else (ServiceMixIn, how, UDPServer)
    with watched(type("Datagrams", bases, {})(LOOPBACK, Slow)) as (server, recorder):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"begin", server.server_address)
            eventually(begun.exists)
            threading.Timer(0.05, go_on.touch).start()
            result = server.drain(PATIENCE)
            assert client.recv(10) == b"done"
        assert (result.completed, result.forced, result.abandoned) == (1, 0, 0)
        assert recorder.of(DrainEnded) == [DrainEnded(1, 0, 0)]


def test_what_had_come_before_a_drain_is_served() -> None:
    """A request that was sent while its handler was busy with another is served, although the server drains by now."""
    busy, drained = threading.Event(), threading.Event()

    class Careful(StreamRequestHandler):
        def handle(self) -> None:
            while line := self.request.recv(100):
                if line == b"one":
                    busy.set()
                    assert drained.wait(PATIENCE)
                self.request.sendall(line.upper())

    with watched(ThreadingTCPService(LOOPBACK, Careful)) as (server, recorder), client_of(server) as client:
        client.sendall(b"one")
        assert busy.wait(PATIENCE)
        client.sendall(b"two")
        drain = threading.Thread(target=server.drain)
        drain.start()
        eventually(lambda: all(each.drained for each in server._ServiceMixIn__connections))
        drained.set()
        assert client.recv(100) + client.recv(100) == b"ONETWO"
        assert client.recv(100) == b""
        drain.join()
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.DRAIN]


# -- octets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bases",
    [
        (ServiceMixIn,),
        (ServiceMixIn, ThreadingMixIn),
        (ThreadPoolMixIn,),
        (GreenletMixIn,),
        (ServiceMixIn, ForkingMixIn),
    ],
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_octets_are_counted(bases: tuple[type[Any], ...]) -> None:
    """The end of a connection tells how many octets were received and sent, whoever served it."""
    with watched(type("Counted", (*bases, TCPServer), {})(LOOPBACK, Echo)) as (server, recorder):
        with client_of(server) as client:
            for line in (b"hello\n", b"x" * 9000 + b"\n" + b"y" * 70 + b"\n"):
                client.sendall(line)
                answer = b""
                while len(answer) < len(line):
                    answer += client.recv(10_000)
            if ForkingMixIn not in bases:  # the parent learns them at the end
                eventually(
                    lambda: (
                        [(each.received, each.sent) for each in server.info().connections] == [(9078, 9078)]
                    )
                )
        (closed,) = recorder.wait_for(ConnectionClosed)
        assert (closed.received, closed.sent) == (9078, 9078)
