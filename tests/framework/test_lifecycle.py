"""The state table, whole, and what it means to a server."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import BaseRequestHandler, TCPServer
from framework.lifecycle import ServerState, ServerStateError, Step, next_state
from framework.service import ServiceMixIn, TCPService
from framework.testing import bounded, running

NEW, BOUND, SERVING = ServerState.NEW, ServerState.BOUND, ServerState.SERVING
SUSPENDED, DRAINING, CLOSED = ServerState.SUSPENDED, ServerState.DRAINING, ServerState.CLOSED
NO = None

# One row per state; the columns are the steps.
STEPS = (Step.ACTIVATE, Step.SERVE, Step.SUSPEND, Step.RESUME, Step.DRAIN, Step.STOP, Step.CLOSE)
TABLE: dict[ServerState, tuple[ServerState | None, ...]] = {
    NEW: (BOUND, SERVING, NO, NO, NO, NO, CLOSED),
    BOUND: (BOUND, SERVING, NO, NO, NO, BOUND, CLOSED),
    SERVING: (NO, NO, SUSPENDED, SERVING, DRAINING, BOUND, CLOSED),
    SUSPENDED: (NO, NO, SUSPENDED, SERVING, DRAINING, BOUND, CLOSED),
    DRAINING: (NO, NO, DRAINING, NO, DRAINING, BOUND, CLOSED),
    CLOSED: (NO, NO, NO, NO, NO, CLOSED, CLOSED),
}


@pytest.mark.parametrize("state", ServerState)
@pytest.mark.parametrize("step", Step)
def test_every_state_and_step(state: ServerState, step: Step) -> None:
    """Each step from each state leads where the table says, or is refused in words."""
    expected = TABLE[state][STEPS.index(step)]
    if expected is not None:
        assert next_state(state, step) is expected
        return
    with pytest.raises(ServerStateError, match=f"cannot {step.value} a server that is {state.value}"):
        next_state(state, step)


@given(st.lists(st.sampled_from(Step)))
def test_random_walks(steps: list[Step]) -> None:
    """Wherever a walk leads: closed stays closed, a refusal changes nothing, and only serving takes requests."""
    state = NEW
    for step in steps:
        before = state
        try:
            state = next_state(state, step)
        except ServerStateError:
            continue
        assert before is not CLOSED or state is CLOSED
        assert state is not SUSPENDED or before in {SERVING, SUSPENDED}
        assert (state is CLOSED) == (step is Step.CLOSE or before is CLOSED)


class Quiet(BaseRequestHandler):
    """Does nothing."""


def service() -> TCPService:
    """Return a service, bound."""
    return TCPService(("127.0.0.1", 0), Quiet)


def test_a_service_goes_through_its_states() -> None:
    """The state of a server follows what is done to it."""
    server = TCPService(("127.0.0.1", 0), Quiet, bind_and_activate=False)
    assert server.state is NEW
    server.server_bind()
    server.server_activate()
    assert server.state is BOUND
    with running(server):
        assert server.state is SERVING
        server.suspend()
        server.suspend()
        assert server.state is SUSPENDED
        server.resume()
        assert server.state is SERVING
        server.drain()
        assert (server.state, server.draining) == (DRAINING, True)
        with pytest.raises(ServerStateError):
            server.resume()
    assert server.state is CLOSED


@pytest.mark.parametrize("action", ["suspend", "resume", "drain"])
def test_what_needs_a_loop_is_refused_without_one(action: str) -> None:
    """A server that does not serve can be neither suspended, resumed nor drained."""
    with service() as server, pytest.raises(ServerStateError, match="bound"):
        getattr(server, action)()


def test_a_closed_server_does_not_serve() -> None:
    """A closed server cannot be served, and closing it again does nothing."""
    server = service()
    server.server_close()
    server.server_close()
    with pytest.raises(ServerStateError, match="cannot serve a server that is closed"):
        server.serve_forever()


def test_a_server_serves_once_at_a_time() -> None:
    """A second loop on the same server is refused, and the first goes on."""
    with running(service()) as server:
        with pytest.raises(ServerStateError, match="cannot serve a server that is serving"):
            server.serve_forever()
        assert server.state is SERVING


@pytest.mark.parametrize("state", ServerState)
@pytest.mark.parametrize("times", [1, 2])
def test_shutdown_is_legal_in_every_state(state: ServerState, times: int) -> None:
    """``shutdown()`` returns in every state, however often it is called."""
    server = TCPService(("127.0.0.1", 0), Quiet, bind_and_activate=False)
    if state is not NEW:
        server.server_bind()
        server.server_activate()
    if state in {SERVING, SUSPENDED, DRAINING}:
        with running(server):
            if state is SUSPENDED:
                server.suspend()
            elif state is DRAINING:
                server.drain()
            for _ in range(times):
                bounded(server.shutdown)
            assert server.state is BOUND
        return
    if state is CLOSED:
        server.server_close()
    for _ in range(times):
        bounded(server.shutdown)
    assert server.state is state
    server.server_close()


def test_shutdown_before_serving_ends_it_at_once() -> None:
    """A server that was shut down before it served returns from ``serve_forever()`` at once, and then serves."""
    with service() as server:
        server.shutdown()
        bounded(server.serve_forever)
        assert server.state is BOUND
        with running(server):
            assert server.state is SERVING


def test_shutdown_on_the_loop_itself() -> None:
    """A hook that runs on the loop may shut the server down: it does not wait for itself."""

    class Stops(ServiceMixIn, TCPServer):
        def service_actions(self) -> None:
            super().service_actions()
            self.shutdown()

    with Stops(("127.0.0.1", 0), Quiet) as server:
        bounded(server.serve_forever)
        assert server.state is BOUND


def test_shutdown_from_many_threads() -> None:
    """Any number of threads may shut the same service down."""
    with running(service()) as server:
        threads = [threading.Thread(target=server.shutdown, daemon=True) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def test_closing_under_the_loop() -> None:
    """A server that another thread closes while it serves ends its loop without an error, however the two meet."""
    for _ in range(50):
        server = service()
        with running(server):
            bounded(server.server_close)
        assert server.state is CLOSED
