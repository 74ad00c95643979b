"""The page on hooks tells the truth: where each runs, how often, and what becomes of the server when one raises."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from framework import (
    BaseServer,
    GreenletMixIn,
    ServiceMixIn,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    ThreadPoolMixIn,
)
from framework.events import ActionsFailed, ConnectionClosed
from framework.testing import Recorder, client_of, running

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text("utf-8")
HOOKS = (
    "get_request",
    "verify_request",
    "process_request",
    "finish_request",
    "handle",
    "handle_error",
    "shutdown_request",
    "close_request",
    "service_actions",
)
LETTER = {"inline": (TCPServer,), "threads": (ThreadingMixIn, TCPServer)}
SERVICE = {
    "inline": (ServiceMixIn, TCPServer),
    "threads": (ServiceMixIn, ThreadingMixIn, TCPServer),
    "pool": (ThreadPoolMixIn, TCPServer),
    "greenlets": (GreenletMixIn, TCPServer),
}


class Fault(Exception):
    """What a hook raises here."""


class Watched:
    """Notes each call of a hook, and lets one of them fail once."""

    def __init__(self, bases: tuple[type[Any], ...], fault: str = "") -> None:
        self.threads: dict[str, set[str]] = defaultdict(set)
        self.calls: Counter[str] = Counter()
        self.requests: list[socket.socket] = []
        self._fault = fault
        methods = {hook: self._wrap(bases, hook) for hook in HOOKS if hook != "handle"}
        methods["serve_forever"] = self._hang_up(bases)
        kind: Any = type("Server", bases, methods)
        self.server: BaseServer[Any, Any] = kind(("127.0.0.1", 0), self._handler())

    def note(self, hook: str) -> None:
        """Note a call of a hook; raise if it is to fail."""
        self.threads[hook].add(threading.current_thread().name)
        self.calls[hook] += 1
        if hook == self._fault and self.calls[hook] == 1:
            raise Fault(hook)

    def _wrap(self, bases: tuple[type[Any], ...], hook: str) -> Any:
        plain: Any = type("Plain", bases, {})
        original = getattr(plain, hook)

        def wrapped(server: Any, *arguments: Any) -> Any:
            self.note(hook)
            result = original(server, *arguments)
            if hook == "get_request":
                self.requests.append(result[0])
            return result

        return wrapped

    def _hang_up(self, bases: tuple[type[Any], ...]) -> Any:
        """Return a ``serve_forever()`` that leaves no client waiting when a fault ends it."""
        plain: Any = type("Plain", bases, {})

        def serve_forever(server: Any, *arguments: Any) -> None:
            try:
                plain.serve_forever(server, *arguments)
            except Fault:
                for request in self.requests:
                    request.close()
                server.socket.close()
                raise

        return serve_forever

    def _handler(self) -> Any:
        watched = self

        class Echo(StreamRequestHandler):
            def handle(self) -> None:
                watched.note("handle")
                line = self.rfile.readline()
                if line == b"fail\n":
                    raise Fault("handle")
                self.wfile.write(line)

        return Echo

    def ask(self, line: bytes = b"hello\n") -> bytes:
        """Send a line by a new client, and return what comes back; ``b""`` if the connection ends instead."""
        with client_of(self.server) as client:
            client.sendall(line)
            try:
                return client.recv(100)
            except ConnectionError:
                return b""


def row(section: str, hook: str) -> list[str]:
    """Return what the page has in the row of a hook."""
    table = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    found = re.search(rf"^\| `{hook}` \| (.*) \|$", table, re.MULTILINE)
    assert found is not None, f"{section}: {hook}"
    return found[1].split(" | ")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("section", ["The letter", "Services"])
def test_every_hook_has_its_row(section: str, hook: str) -> None:
    """Each hook has a row in both tables, with the thread, whether it may block, a raise, and how often."""
    assert len(row(section, hook)) == 4


@pytest.mark.parametrize(
    ("stratum", "model"),
    [("The letter", model) for model in LETTER] + [("Services", model) for model in SERVICE],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_hooks_run(stratum: str, model: str) -> None:
    """Each hook runs on the thread that the page names."""
    watched = Watched((LETTER if stratum == "The letter" else SERVICE)[model])
    watched.server.handle_error = lambda *_: watched.note("handle_error")  # type: ignore[method-assign]
    with running(watched.server):
        assert watched.ask() == b"hello\n"
        watched.ask(b"fail\n")
    for hook in HOOKS:
        on_loop = watched.threads[hook] <= {"serving"}
        where = row(stratum, hook)[0]
        if model == "threads":
            assert where.startswith("the loop" if on_loop else "worker")
        if model == "pool":  # its workers accept, and only the service's own actions are left to the loop
            assert on_loop == (hook == "service_actions")
        if model in {"inline", "greenlets"}:
            assert on_loop


def ends_the_loop(stratum: str, hook: str, model: str, recorder: Recorder) -> bool:
    """Let a hook raise once; tell whether that ends ``serve_forever()``, so that the next client is not served."""
    watched = Watched((LETTER if stratum == "The letter" else SERVICE)[model], hook)
    if isinstance(watched.server, ServiceMixIn):
        watched.server.observe(recorder)
    try:
        with running(watched.server):
            first = b"fail\n" if hook == "handle_error" else b"hello\n"
            with contextlib.suppress(OSError):
                watched.ask(first)
            with contextlib.suppress(OSError):
                return watched.ask() != b"hello\n"
            return True
    except Fault:
        return True
    finally:
        for request in watched.requests:  # which some of these leave open
            request.close()


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("stratum", ["The letter", "Services"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning", "ignore::ResourceWarning")
def test_what_a_raise_does(stratum: str, hook: str) -> None:
    """A hook that raises on the loop ends it exactly where the page says so."""
    told, recorder = row(stratum, hook)[2], Recorder()
    assert ends_the_loop(stratum, hook, "inline", recorder) == ("ends the loop" in told), told
    if stratum == "Services":
        assert bool(recorder.of(ActionsFailed)) == (hook == "service_actions")


@pytest.mark.parametrize(
    "hook", ["verify_request", "process_request", "finish_request", "handle", "service_actions"]
)
@pytest.mark.parametrize("model", SERVICE)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning", "ignore::ResourceWarning")
def test_a_service_goes_on(model: str, hook: str) -> None:
    """Under each model, a service that met a raise serves the next client, and tells the end of both connections."""
    recorder = Recorder()
    assert not ends_the_loop("Services", hook, model, recorder), row("Services", hook)[2]
    assert len(recorder.wait_for(ConnectionClosed, 2)) == 2


@pytest.mark.parametrize("stratum", [LETTER, SERVICE])
def test_os_errors_of_get_request_are_no_request(stratum: dict[str, tuple[type[Any], ...]]) -> None:
    """An ``OSError`` from ``get_request()`` means that there is none, and the loop goes on."""
    watched = Watched(stratum["inline"])
    original = watched.server.get_request
    errors = [ConnectionAbortedError()]

    def get_request() -> tuple[Any, Any]:
        if errors:
            raise errors.pop()
        return original()

    watched.server.get_request = get_request  # type: ignore[method-assign]
    with running(watched.server):
        assert watched.ask() == b"hello\n"
        assert not errors


def test_half_open_is_not_left() -> None:
    """The letter's ``shutdown_request()`` ends the connection, which the client sees."""
    with (
        running(Watched(LETTER["inline"]).server) as server,
        socket.create_connection(server.server_address) as client,
    ):
        client.sendall(b"hello\n")
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"hello\n"
