"""The program's own tests, by the testing kit that came with the package."""

from __future__ import annotations

from types import SimpleNamespace
from typing import assert_type

from framework import ServiceMixIn, TCPServer, ThreadingMixIn
from framework.lifecycle import DrainResult, ServerState
from framework.testing import Recorder, check_server_model, client_of, drive, running

from tally.counts import Counts, Watch
from tally.handlers import TallyHandler
from tally.servers import GreenTally, Tally, TallyDatagrams, TallyPool


class Own(ServiceMixIn, ThreadingMixIn, TCPServer):
    """A model to be held to the contract."""


def check() -> None:
    """Raise ``AssertionError`` if anything is not as it should be."""
    stub = SimpleNamespace(counts=Counts(), draining=False)
    assert drive(TallyHandler, b"one\none\n", server=stub) == b"1\n2\n"

    watch, recorder = Watch(), Recorder()
    tally = Tally("tcp://127.0.0.1:0", Counts())
    tally.observe(watch)
    tally.observe(recorder)
    with running(tally) as server:
        assert_type(server, Tally)
        with client_of(server) as client:
            client.sendall(b"word\n")
            assert client.recv(10) == b"1\n"
            assert [each.address[0] for each in server.info().connections] == ["127.0.0.1"]
        assert server.wait_for_connections(lambda count: count == 0, 20)
        assert_type(server.drain(5), DrainResult)
    assert watch.endings == ["peer"] and not watch.failures
    assert tally.state is ServerState.CLOSED

    for pooled in (TallyPool("tcp://127.0.0.1:0", Counts()), GreenTally("tcp://127.0.0.1:0", Counts())):
        with running(pooled), client_of(pooled) as client:
            client.sendall(b"word\n")
            assert client.recv(10) == b"1\n"
    datagrams = TallyDatagrams("udp://127.0.0.1:0", Counts())
    with running(datagrams), client_of(datagrams) as client:
        client.send(b"word")
        assert client.recv(10) == b"1"

    check_server_model(lambda handler: Own(("127.0.0.1", 0), handler))
