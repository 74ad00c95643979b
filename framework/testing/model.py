"""``check_server_model()``: any server class or mix-in, run against the contract that every model keeps.

>>> from framework import ThreadingMixIn, TCPServer
>>> class Mine(ThreadingMixIn, TCPServer):
...     daemon_threads = True
>>> check_server_model(lambda handler: Mine(("127.0.0.1", 0), handler))

Each promise is a function in ``MODEL_CHECKS``, by its name, for tests that want to see them one by one.
"""

from __future__ import annotations

import contextlib
import socket as _socket
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framework.handlers import DatagramRequestHandler, StreamRequestHandler
from framework.testing.clients import client_of
from framework.testing.servers import running
from framework.testing.waiting import PATIENCE, bounded, eventually

if TYPE_CHECKING:
    from framework.server import BaseServer

__all__ = ["MODEL_CHECKS", "ServerModel", "check_server_model"]


class _Echo(StreamRequestHandler[Any, Any]):
    """Sends every line back, and raises at one."""

    def handle(self) -> None:
        for line in self.rfile:
            if line == b"fail\n":
                raise ConnectionAbortedError("as asked")  # which a service does not log
            self.wfile.write(line)


class _EchoDatagram(DatagramRequestHandler[Any, Any]):
    """Sends the datagram back, or raises."""

    def handle(self) -> None:
        if self.packet == b"fail\n":
            raise ConnectionAbortedError("as asked")
        self.wfile.write(self.packet)


@dataclass(frozen=True)
class ServerModel:
    """What is checked.

    Args:
        make_server: makes a server of the model, bound to a free address, with the handler it is given.
        connect: connects a client to it.
        concurrent: whether a request runs while another does.
    """

    make_server: Callable[[Any], BaseServer[Any, Any]]
    connect: Callable[[Any], AbstractContextManager[_socket.socket]] = client_of
    concurrent: bool = True

    def server(self) -> BaseServer[Any, Any]:
        """Make a server that echoes, quietly."""
        server = self.make_server(_serve)
        server.handle_error = _say_nothing  # type: ignore[method-assign, assignment] # failures are asked for here
        return server

    def fail(self, server: BaseServer[Any, Any]) -> None:
        """Let a new client's request fail, and wait until it has, where that can be seen."""
        with self.connect(server) as client:
            client.send(b"fail\n")
            if not is_datagram(server):  # of which a service may send none
                _promise(
                    answer_of(client, "a failed request stays open") == b"", "a failed request is answered"
                )

    def ask(self, server: BaseServer[Any, Any], text: bytes) -> bytes:
        """Send a line by a new client, and return the answer."""
        with self.connect(server) as client:
            return exchange(client, text)


def _serve(request: Any, client_address: Any, server: BaseServer[Any, Any]) -> object:
    kind: Any = _EchoDatagram if is_datagram(server) else _Echo
    return kind(request, client_address, server)


def _say_nothing(*_: object) -> None:
    """Stand for ``handle_error()``."""


def _one_by_one(*verdicts: bool) -> Callable[..., bool]:
    """Return a ``verify_request()`` that gives these verdicts."""
    left = iter(verdicts)
    return lambda *_: next(left)


def _promise(holds: object, otherwise: str) -> None:
    # No assert statement, which vanishes under ``python -O``.
    if not holds:
        raise AssertionError(otherwise)


def exchange(client: _socket.socket, text: bytes) -> bytes:
    """Send a line, and return what comes back."""
    client.send(text)
    return answer_of(client, f"nothing came back for {text!r}")


def answer_of(client: _socket.socket, otherwise: str) -> bytes:
    """Receive once; ``b""`` at the end of the connection.

    Raises:
        AssertionError: neither came in time.
    """
    try:
        return client.recv(65536)
    except ConnectionError:
        return b""
    except TimeoutError:
        raise AssertionError(otherwise) from None


def is_datagram(server: BaseServer[Any, Any]) -> bool:
    """Tell whether a request is one datagram."""
    return server.socket.type == _socket.SOCK_DGRAM


# -- the promises --------------------------------------------------------------------------------------------------


def serves_one_client_after_the_other(model: ServerModel) -> None:
    """Any number of clients in turn are served, each by its own request."""
    with running(model.server()) as server:
        for number in range(20):
            text = b"line %d\n" % number
            answer = model.ask(server, text)
            _promise(answer == text, f"client {number} got {answer!r}")


def serves_clients_side_by_side(model: ServerModel) -> None:
    """A client that says nothing keeps no other waiting, where the model is concurrent."""
    with running(model.server()) as server, model.connect(server) as silent:
        if model.concurrent:
            answer = model.ask(server, b"now\n")
            _promise(answer == b"now\n", f"beside a silent client another got {answer!r}")
        _promise(exchange(silent, b"late\n") == b"late\n", "the silent client was forgotten")


def keeps_failures_apart(model: ServerModel) -> None:
    """A handler that raises ends its own request and harms no other."""
    with running(model.server()) as server:
        for _ in range(3):
            model.fail(server)
            answer = model.ask(server, b"fine\n")
            _promise(answer == b"fine\n", f"after a failure the next client got {answer!r}")


def refuses_without_a_handler(model: ServerModel) -> None:
    """What ``verify_request()`` refuses reaches no handler and is closed, and the next request is served."""
    server = model.server()
    server.verify_request = _one_by_one(False, True)  # type: ignore[method-assign]
    with running(server):
        if is_datagram(server):
            with model.connect(server) as client:
                client.send(b"no\n")
                _promise(exchange(client, b"yes\n") == b"yes\n", "a refused datagram was answered")
            return
        with model.connect(server) as client:
            answer = answer_of(client, "a refused connection stays open")
            _promise(answer == b"", f"a refused client got {answer!r}")
        _promise(model.ask(server, b"yes\n") == b"yes\n", "after a refusal nobody is served")


def calls_its_hooks_in_order(model: ServerModel) -> None:
    """For each request the hooks run in order, and it is closed exactly once, in every outcome.

    Only what runs in this process can be seen: of a request that runs in another, its beginning and its end here.
    """
    server = model.server()
    calls: dict[int, list[str]] = defaultdict(list)
    requests: list[object] = []  # kept, so that no two have one id
    server.verify_request = _one_by_one(True, True, False, True)  # type: ignore[method-assign]
    order = [
        "get_request",
        "verify_request",
        "process_request",
        "finish_request",
        "shutdown_request",
        "close_request",
    ]

    def get_request(original: Callable[[], tuple[Any, Any]] = server.get_request) -> tuple[Any, Any]:
        request, client_address = original()
        requests.append(request)
        calls[id(request)].append("get_request")
        return request, client_address

    def hooked(name: str) -> Callable[..., Any]:
        original = getattr(server, name)

        def hook(request: Any, *arguments: Any) -> Any:
            calls[id(request)].append(name)
            return original(request, *arguments)

        return hook

    server.get_request = get_request  # type: ignore[method-assign]
    for name in order[1:]:
        setattr(server, name, hooked(name))
    with running(server):
        model.ask(server, b"fine\n")
        model.fail(server)
        with model.connect(server) as client, contextlib.suppress(ConnectionError):
            client.send(b"refused\n")  # unless the refusal is faster
        model.ask(server, b"fine\n")
        eventually(lambda: all("close_request" in made for made in calls.values()))
    for made in calls.values():
        _promise(made == sorted(made, key=order.index), f"out of order: {made}")
        _promise(len(set(made)) == len(made), f"more than once: {made}")
        _promise(made[:2] == order[:2], f"not from the beginning: {made}")
    _promise(len(calls) in {0, 4}, f"of four requests {len(calls)} were taken")


def shuts_down_from_any_thread(model: ServerModel) -> None:
    """``shutdown()`` ends the loop, from many threads at once, and does so without a poll interval."""
    with running(model.server()) as server:
        threads = [threading.Thread(target=server.shutdown, daemon=True) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            _promise(not thread.is_alive(), "shutdown() does not return")


def serves_again(model: ServerModel) -> None:
    """After ``shutdown()`` the server may serve once more."""
    server = model.server()
    try:
        for _ in range(2):
            thread = threading.Thread(target=server.serve_forever, args=(None,), daemon=True)
            thread.start()
            _promise(model.ask(server, b"again\n") == b"again\n", "the second time nobody is served")
            bounded(server.shutdown)
            thread.join(PATIENCE)
            _promise(not thread.is_alive(), "serve_forever() does not return")
    finally:
        bounded(server.server_close)


def drains(model: ServerModel) -> None:
    """A service that drains ends an idle connection at once, and says that it did; others have no drain to check."""
    server = model.server()
    drain: Callable[[float], Any] | None = getattr(server, "drain", None)
    with running(server):
        if drain is None or is_datagram(server):
            return
        with model.connect(server) as client:
            _promise(exchange(client, b"hello\n") == b"hello\n", "nobody is served")
            result = bounded(lambda: drain(PATIENCE))
            _promise(
                answer_of(client, "a drain leaves an idle connection open") == b"", "a drain says something"
            )
            _promise((result.forced, result.abandoned) == (0, 0), f"a drain of an idle connection: {result}")


def takes_one_request_by_hand(model: ServerModel) -> None:
    """``handle_request()`` starts exactly one request, unless the model has no such thing and says so."""
    with model.server() as server, model.connect(server) as client:
        client.send(b"one\n")
        if not is_datagram(server):
            client.shutdown(_socket.SHUT_WR)
        try:
            bounded(server.handle_request)
        except NotImplementedError:
            return
        _promise(
            answer_of(client, "handle_request() does not serve") == b"one\n",
            "handle_request() does not serve",
        )


MODEL_CHECKS: dict[str, Callable[[ServerModel], None]] = {
    check.__name__: check
    for check in (
        serves_one_client_after_the_other,
        serves_clients_side_by_side,
        keeps_failures_apart,
        refuses_without_a_handler,
        calls_its_hooks_in_order,
        shuts_down_from_any_thread,
        serves_again,
        drains,
        takes_one_request_by_hand,
    )
}
"""The promises, by name."""


def check_server_model(
    make_server: Callable[[Any], BaseServer[Any, Any]],
    *,
    connect: Callable[[Any], AbstractContextManager[_socket.socket]] = client_of,
    concurrent: bool = True,
) -> None:
    """Run a server class of any kind against the contract.

    Args:
        make_server: makes a server, bound to a free address, with the handler it is given; called once per promise.
        connect: connects a client; the default knows every address that sockets know.
        concurrent: whether a request runs while another does.

    Raises:
        AssertionError: a promise is broken; the message and the traceback say which.
    """
    model = ServerModel(make_server, connect, concurrent)
    for check in MODEL_CHECKS.values():
        check(model)
