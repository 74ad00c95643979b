"""Serving, stopping and closing, on the original and on the framework."""

# What the classes derive from is a parameter.
# mypy: disallow-subclassing-any=False

import contextlib
import errno
import os
import select
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.compat.conftest import Same
from tests.compat.scene import GREETING

ANYWHERE = ("127.0.0.1", 0)


def stop(server: Any) -> None:
    """End the loop as programs do it from a handler or a signal handler."""
    server._BaseServer__shutdown_request = True


def outcome(call: Callable[[], object]) -> str:
    """Tell what a call returned or raised."""
    try:
        return f"returned {call()!r}"
    except BaseException as error:
        return f"raised {error!r}"


def turning(module: Any, notes: list[object], *turns: Callable[[Any], object]) -> Any:
    """Make a server whose loop does one of these after each turn, and then stops; it notes what it does."""
    script = iter(turns)
    requests: list[socket.socket] = []

    class Server(module.TCPServer):
        def get_request(self) -> Any:
            request, client_address = super().get_request()
            requests.append(request)
            return request, client_address

        def server_close(self) -> None:
            super().server_close()
            # A fault may have kept the server from closing them.
            for request in requests:
                request.close()

        def _handle_request_noblock(self) -> None:
            notes.append("request")
            super()._handle_request_noblock()

        def service_actions(self) -> None:
            notes.append("actions")
            next(script, stop)(self)

    class Handler(module.StreamRequestHandler):
        def handle(self) -> None:
            notes.append(self.rfile.readline())

    return Server(ANYWHERE, Handler)


@contextlib.contextmanager
def noted_selects(module: Any, notes: list[object], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Note how long the module's servers mean to wait."""

    class Selector(module._ServerSelector):
        def select(self, timeout: float | None = None) -> Any:
            notes.append(("select", timeout))
            return super().select(timeout)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_ServerSelector", Selector)
        yield


def state(server: Any) -> tuple[bool, bool]:
    """Tell the flag and the event that a loop leaves behind."""
    return server._BaseServer__shutdown_request, server._BaseServer__is_shut_down.is_set()


def test_turns(same: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn waits once, serves at most one request and then does the service actions, even when idle."""

    def scenario(module: Any) -> list[object]:
        notes: list[object] = []
        clients: list[socket.socket] = []

        def two_clients(server: Any) -> None:
            for _ in range(2):
                clients.append(socket.create_connection(server.server_address))
                clients[-1].sendall(GREETING)

        idle = [lambda server: None] * 3
        with noted_selects(module, notes, monkeypatch), turning(module, notes, two_clients, *idle) as server:
            server.serve_forever(0.1)
        for client in clients:
            client.close()
        return notes

    notes = same(scenario)
    assert notes.count(GREETING) == 2


@pytest.mark.parametrize("interval", [(), (0.1,), (0,), (0.05,)], ids=str)
def test_poll_interval(interval: tuple[float, ...], same: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll interval, half a second by default, is what the selector is given."""

    def scenario(module: Any) -> list[object]:
        notes: list[object] = []
        with noted_selects(module, notes, monkeypatch), turning(module, notes) as server:
            server.serve_forever(*interval)
        return notes

    same(scenario)


def test_no_poll_interval(same: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a poll interval a handler that sets the flag still ends the loop."""

    def scenario(module: Any) -> list[object]:
        notes: list[object] = []

        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                stop(self.server)

        with (
            noted_selects(module, notes, monkeypatch),
            module.TCPServer(ANYWHERE, Handler) as server,
            socket.create_connection(server.server_address),
            # A loop that did not end would be woken by this one, and the selects would tell.
            socket.create_connection(server.server_address),
        ):
            server.serve_forever(None)
        return notes

    assert same(scenario) == [("select", None)]


def test_flag_before_serving(same: Same) -> None:
    """A flag that is set before serve_forever() ends it before it begins, once."""

    def scenario(module: Any) -> object:
        notes: list[object] = []
        with turning(module, notes) as server, socket.create_connection(server.server_address) as client:
            client.sendall(GREETING)
            stop(server)
            server.serve_forever(0)
            before = list(notes), state(server)
            server.serve_forever(0)
            return before, notes, state(server)

    before, notes, _ = same(scenario)
    assert before == ([], (False, True))
    assert GREETING in notes


def test_shutdown_before_serving(same: Same) -> None:
    """A shutdown() that comes first waits for serve_forever(), which returns at once; after that none waits."""

    class Waited(threading.Event):
        """Tells when somebody waits for it."""

        def __init__(self) -> None:
            super().__init__()
            self.asked = threading.Event()

        def wait(self, timeout: float | None = None) -> bool:
            self.asked.set()
            return super().wait(timeout)

    def scenario(module: Any) -> object:
        notes: list[object] = []
        with turning(module, notes) as server:
            event = server._BaseServer__is_shut_down = Waited()
            stopper = threading.Thread(target=server.shutdown)
            stopper.start()
            event.asked.wait()
            server.serve_forever(0)
            stopper.join()
            server.shutdown()
            return notes, state(server)

    # The flag of the second shutdown() stays, for a serve_forever() to come.
    assert same(scenario) == ([], (True, True))


def test_served_twice(same: Same) -> None:
    """After serve_forever() has returned it may be called again, and so may shutdown()."""

    def scenario(module: Any) -> object:
        notes: list[object] = []
        with turning(module, notes) as server:
            for _ in range(2):
                with socket.create_connection(server.server_address) as client:
                    client.sendall(GREETING)
                    server.serve_forever(0)
            return notes, state(server)

    notes, _ = same(scenario)
    assert notes.count(GREETING) == 2


@pytest.mark.parametrize(
    "hook", ["service_actions", "verify_request", "handle_error", "process_request", "get_request"]
)
@pytest.mark.parametrize("error", [ValueError("a fault"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_raises(hook: str, error: BaseException, same: Same, capsys: pytest.CaptureFixture[str]) -> None:
    """What a hook raises comes out of serve_forever() just as it does in the original, and the loop can go on."""

    def scenario(module: Any) -> object:
        notes: list[object] = []

        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                raise LookupError

        def fail(*arguments: object) -> None:
            raise error

        with turning(module, notes) as server, socket.create_connection(server.server_address):
            server.RequestHandlerClass = Handler
            setattr(server, hook, fail)
            first = outcome(lambda: server.serve_forever(0))
            delattr(server, hook)
            return first, outcome(lambda: server.serve_forever(0)), notes, state(server)

    same(scenario)


def test_handle_error_traceback(same: Same) -> None:
    """handle_error() runs inside the except block: a bare raise, as debuggers use it, lets the error out."""

    def scenario(module: Any) -> object:
        def fail(*arguments: object) -> None:
            raise LookupError("a fault")

        def reraise(*arguments: object) -> None:
            raise  # noqa: PLE0704 -- within the caller's except block

        with turning(module, []) as server, socket.create_connection(server.server_address):
            server.finish_request, server.handle_error = fail, reraise
            return outcome(server.handle_request)

    assert same(scenario) == "raised LookupError('a fault')"


@pytest.mark.parametrize("own", [None, 0, 0.3, 60])
@pytest.mark.parametrize("of_socket", [None, 0, 0.3, 60])
def test_timeouts(
    own: float | None, of_socket: float | None, same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    """handle_request() waits for the shorter of the socket's timeout and the server's own."""

    def scenario(module: Any) -> object:
        notes: list[object] = []
        with (
            noted_selects(module, notes, monkeypatch),
            turning(module, notes) as server,
            socket.create_connection(server.server_address) as client,
        ):
            client.sendall(GREETING)
            server.timeout = own
            server.socket.settimeout(of_socket)
            # Does not look at the flag.
            stop(server)
            notes.append(outcome(server.handle_request))
        return notes

    assert GREETING in same(scenario)


@pytest.mark.parametrize("error", [None, ValueError("late"), SystemExit(3)], ids=repr)
def test_handle_timeout(error: BaseException | None, same: Same) -> None:
    """When no request comes in time handle_timeout() is called once; what it returns or raises comes out."""

    def scenario(module: Any) -> object:
        calls: list[object] = []

        class Server(module.TCPServer):
            timeout = 0.01

            def handle_timeout(self) -> str:
                calls.append(self.timeout)
                if error is not None:
                    raise error
                return "late"

        with Server(ANYWHERE, None) as server:
            return outcome(server.handle_request), calls

    assert same(scenario)[1] == [0.01]


def test_handled_request_result(same: Same) -> None:
    """handle_request() returns what an overridden _handle_request_noblock() does."""

    def scenario(module: Any) -> object:
        class Server(module.TCPServer):
            def _handle_request_noblock(self) -> str:
                return "handled"

        with Server(ANYWHERE, None) as server, socket.create_connection(server.server_address):
            return outcome(server.handle_request)

    same(scenario)


@pytest.mark.parametrize("method", ["handle_request", "_handle_request_noblock"])
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ECONNABORTED, errno.EBADF])
def test_no_request_after_all(method: str, code: int, same: Same) -> None:
    """An OSError from get_request() is swallowed in silence."""

    def scenario(module: Any) -> object:
        def fail() -> None:
            raise OSError(code, "a fault")

        with module.TCPServer(ANYWHERE, None) as server, socket.create_connection(server.server_address):
            server.get_request = fail
            return outcome(getattr(server, method))

    assert same(scenario) == "returned None"


@pytest.mark.parametrize("order", ["shutdown, close, join", "close, shutdown, join"])
@pytest.mark.parametrize("mix_in", ["ThreadingMixIn", ""])
def test_closing_order(order: str, mix_in: str, same: Same) -> None:
    """A server that is closed while its loop runs neither raises there nor keeps shutdown() waiting."""

    def scenario(module: Any) -> object:
        ran = threading.Event()
        notes: list[object] = []
        bases = (getattr(module, mix_in), module.TCPServer) if mix_in else (module.TCPServer,)
        server = type("Server", bases, {"service_actions": lambda self: ran.set()})(ANYWHERE, None)
        thread = threading.Thread(target=lambda: notes.append(outcome(lambda: server.serve_forever(0.01))))
        steps = {"shutdown": server.shutdown, "close": server.server_close, "join": thread.join}
        thread.start()
        ran.wait()
        notes += [outcome(steps[step]) for step in order.split(", ")]
        return notes, server.fileno(), state(server)

    notes, descriptor, _ = same(scenario)
    assert set(notes) == {"returned None"}
    assert descriptor == -1


def test_close_then_join(same: Same) -> None:
    """server_close() closes the socket first and waits for the threads second."""

    def scenario(module: Any) -> object:
        begun, closed = threading.Event(), threading.Event()
        notes: list[object] = []

        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                begun.set()
                closed.wait()
                notes.append(f"handled, socket {self.server.fileno()}")

        class Server(module.TCPServer):
            def server_close(self) -> None:
                super().server_close()
                notes.append("closed")
                closed.set()

        server = type("Threading", (module.ThreadingMixIn, Server), {})(ANYWHERE, Handler)
        with socket.create_connection(server.server_address):
            server.handle_request()
            begun.wait()
            server.server_close()
            notes.append("joined")
        return notes

    assert same(scenario) == ["closed", "handled, socket -1", "joined"]


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("block", [False, True])
def test_tracked_threads(daemon: bool, block: bool, same: Same) -> None:
    """Threads are kept only while they live, and only if somebody will wait for them."""

    def scenario(module: Any) -> object:
        done = threading.Semaphore(0)

        class Server(module.ThreadingTCPServer):
            daemon_threads = daemon
            block_on_close = block

            def process_request_thread(self, *arguments: object) -> None:
                super().process_request_thread(*arguments)
                done.release()

        with Server(ANYWHERE, module.BaseRequestHandler) as server:
            for _ in range(10):
                with socket.create_connection(server.server_address):
                    server.handle_request()
                    done.acquire()
            kept = vars(server).get("_threads")
            return kept is None, kept is not None and len(kept) < 10, threading.active_count() < 10

    same(scenario)


@pytest.mark.parametrize("model", ["ThreadingMixIn", "ForkingMixIn"])
@pytest.mark.parametrize("block", [False, True])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_block_on_close(model: str, block: bool, same: Same) -> None:
    """server_close() waits for the requests that still run if asked to, and else leaves them to themselves."""

    def scenario(module: Any) -> object:
        reader, writer = os.pipe()

        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                # Not until the client hangs up: a forked child has the client's end too.
                self.request.recv(1)
                os.write(writer, b".")

        mix_in: Any = getattr(module, model)

        class Server(mix_in, module.TCPServer):
            block_on_close = block

        before = set(threading.enumerate())
        server = Server(ANYWHERE, Handler)
        with socket.create_connection(server.server_address) as client:
            server.handle_request()
            if block:
                client.sendall(GREETING)
            server.server_close()
            waited = bool(select.select([reader], [], [], 0)[0])
            if not block:
                client.sendall(GREETING)
            done = os.read(reader, 1)
        for thread in set(threading.enumerate()) - before:
            thread.join()
        if model == "ForkingMixIn":
            server.collect_children(blocking=True)
        os.close(reader)
        os.close(writer)
        return waited, done

    assert same(scenario) == (block, b".")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_children(same: Same) -> None:
    """The set of children begins with the first request and is empty after server_close()."""

    def scenario(module: Any) -> object:
        notes: list[object] = []
        with module.ForkingTCPServer(ANYWHERE, module.BaseRequestHandler) as server:
            server.max_children = 2
            notes.append(server.active_children)
            for _ in range(5):
                with socket.create_connection(server.server_address) as client:
                    server.handle_request()
                    assert client.recv(1) == b""
                # Waits until there are fewer than two.
                server.service_actions()
                notes.append(len(server.active_children) < 2)
            server.server_close()
            notes.append(server.active_children)
        return notes

    assert same(scenario) == [None, *[True] * 5, set()]


def test_foreign_loop(same: Same) -> None:
    """Servers registered in a program's own selector serve through _handle_request_noblock()."""

    def scenario(module: Any) -> object:
        notes: list[object] = []
        with (
            selectors.DefaultSelector() as selector,
            turning(module, notes) as one,
            turning(module, notes) as other,
            socket.create_connection(other.server_address) as client,
        ):
            selector.register(one, selectors.EVENT_READ)
            selector.register(other, selectors.EVENT_READ)
            client.sendall(GREETING)
            for key, _ in selector.select():
                notes.append(key.fileobj is other)
                key.fileobj._handle_request_noblock()  # type: ignore[union-attr]
        return notes

    assert same(scenario) == [True, "request", GREETING]
