"""How servers come to be, in the many ways that programs do it, on the original and on the framework."""

# What the classes derive from is a parameter.
# mypy: disallow-subclassing-any=False

import functools
import io
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Same
from tests.compat.scene import GREETING, TRANSPORTS, address, client_of, read

ANYWHERE = ("127.0.0.1", 0)


def open_descriptors() -> set[str]:
    """List the descriptors of this process."""
    return {file.name for file in Path("/proc/self/fd").iterdir()}


def test_attributes_before_init(same: Same, tmp_path: Path) -> None:
    """What a subclass assigns before it calls __init__ counts, and stays."""

    def scenario(module: Any) -> object:
        class Server(module.UnixStreamServer):
            def __init__(self) -> None:
                self.timeout = 7
                self.request_queue_size = 1
                self.allow_reuse_address = 1
                self.address_family = socket.AF_INET
                self.host, self.port, self.ready, self._closed, self.handlers = ANYWHERE[0], 0, None, 1, 2
                super().__init__(ANYWHERE, module.BaseRequestHandler)

        with Server() as server:
            option = server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            return list(vars(server)), server.timeout, option, server.socket.family

    same(scenario)


def test_init_again(same: Same) -> None:
    """A closed instance is initialised again, with another address, and serves."""

    def scenario(module: Any) -> object:
        server = module.ThreadingTCPServer(ANYWHERE, module.BaseRequestHandler)
        lived = []
        for _ in range(3):
            with server, socket.create_connection(server.server_address) as client:
                server.handle_request()
                lived.append(read(client))
            server.__init__(ANYWHERE, module.BaseRequestHandler)
        server.server_close()
        return lived, list(vars(server))

    assert same(scenario)[0] == [repr(b"")] * 3


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_by_hand(transport: str, same: Same, tmp_path: Path) -> None:
    """Bound and activated by hand, with socket options in between; and before that, unbound and closable."""

    def scenario(module: Any) -> object:
        folder = tmp_path / module.__name__
        folder.mkdir()
        where = address(transport, folder)
        cls = getattr(module, transport)
        server = cls(where, module.BaseRequestHandler, False)
        unbound = server.server_address == where, server.socket.getsockname()
        server.server_close()
        closed = server.fileno()
        # Replaced as a program does it that was handed a socket.
        server.socket = socket.socket(server.address_family, server.socket_type)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        cls.server_bind(server)
        cls.server_activate(server)
        with server, client_of(server, folder):
            served = server.handle_request(), server.server_address == server.socket.getsockname()
        return unbound, closed, served

    same(scenario)


def test_socket_replaced(same: Same) -> None:
    """The listening socket is referred to from one place: dropping it frees its port for another."""

    def scenario(module: Any) -> object:
        with module.TCPServer(ANYWHERE, module.BaseRequestHandler) as server:
            taken = server.server_address
            server.socket.close()
            server.socket = socket.create_server(taken)
            with socket.create_connection(taken) as client:
                server.handle_request()
                return read(client)

    assert same(scenario) == repr(b"")


@pytest.mark.parametrize("fails", ["server_bind", "server_activate"])
@pytest.mark.parametrize("error", [OSError("a fault"), SystemExit(3)], ids=repr)
def test_failing(fails: str, error: BaseException, same: Same) -> None:
    """When binding or listening fails, the server is closed by its own server_close() and the error comes out."""

    def scenario(module: Any) -> object:
        notes: list[object] = []

        class Server(module.ThreadingTCPServer):
            def server_close(self) -> None:
                super().server_close()
                notes.append(self.fileno())

        def fail(self: Any) -> None:
            raise error

        setattr(Server, fails, fail)
        with pytest.raises(type(error)) as caught:
            Server(ANYWHERE, None)
        return notes, caught.value is error

    assert same(scenario) == ([-1], True)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_failing_often(transport: str, same: Same, tmp_path: Path) -> None:
    """More failures to bind than a process may have descriptors leave none open."""

    def scenario(module: Any) -> object:
        before = open_descriptors()
        errors = set()
        path = tmp_path / "there"
        path.touch()
        with socket.socket(socket.AF_INET, getattr(module, transport).socket_type) as taken:
            taken.bind(ANYWHERE)
            where = str(path) if "Unix" in transport else taken.getsockname()
            for _ in range(1100):
                with pytest.raises(OSError, match="in use") as caught:
                    getattr(module, transport)(where, None)
                errors.add(caught.value.errno)
        return errors, open_descriptors() == before

    assert same(scenario)[1]


def test_base_server_only(same: Same) -> None:
    """A subclass that calls BaseServer.__init__ alone, and has pairs of files for requests, serves."""

    def scenario(module: Any) -> object:
        written = io.BytesIO()

        class Server(module.TCPServer):
            def __init__(self) -> None:
                module.BaseServer.__init__(self, ("any", "thing"), Handler)

            def get_request(self) -> Any:
                return (io.BytesIO(GREETING), written), None

            def shutdown_request(self, request: Any) -> None:
                self.close_request(request)

            def close_request(self, request: Any) -> None:
                pass

        class Handler(module.StreamRequestHandler):
            def setup(self) -> None:
                self.rfile, self.wfile = self.request

            def handle(self) -> None:
                self.wfile.write(self.rfile.readline())

            def finish(self) -> None:
                pass

        server = Server()
        server._handle_request_noblock()
        return written.getvalue(), list(vars(server)), server.server_address

    assert same(scenario)[0] == GREETING


def test_bare_instances(same: Same, capsys: pytest.CaptureFixture[str]) -> None:
    """An instance made without any __init__ reports errors, runs threads and joins them."""

    def scenario(module: Any) -> object:
        server = object.__new__(module.ThreadingTCPServer)
        server.socket = socket.socket()
        done: list[object] = []
        server.RequestHandlerClass = lambda request, *rest: done.append(rest)
        server.process_request(socket.socket(), None)
        server.server_close()
        server.handle_error(None, ("a", 1))
        return len(done), capsys.readouterr().err.splitlines()

    done, printed = same(scenario)
    assert done == 1
    assert printed[1] == "Exception occurred during processing of request from ('a', 1)"


@pytest.mark.parametrize("kind", ["class", "lambda", "partial", "bound method", "reassigned", "in the class"])
def test_handler_kinds(kind: str, same: Same) -> None:
    """A handler is any callable, looked up on the server at each request."""

    def scenario(module: Any) -> object:
        notes: list[object] = []

        class Handler(module.BaseRequestHandler):
            def __init__(self, *arguments: Any, extra: str = "none") -> None:
                # Attributes may be there before the base's __init__, which runs the request.
                self.extra = extra
                super().__init__(*arguments)

            def handle(self) -> None:
                notes.append(
                    (self.extra, type(self.request).__name__, self.client_address[0], list(vars(self)))
                )

            @classmethod
            def made(cls, *arguments: Any) -> Any:
                return cls(*arguments, extra="bound")

        kinds: dict[str, Any] = {
            "lambda": lambda request, client, server: Handler(request, client, server, extra="lambda"),
            "partial": functools.partial(Handler, extra="partial"),
            "bound method": Handler.made,
        }
        cls: Any = module.TCPServer
        if kind == "in the class":

            class Server(cls):
                def finish_request(self, request: Any, client_address: Any) -> None:
                    Handler(request, client_address, self)

            cls = Server
        with cls(ANYWHERE, kinds.get(kind, Handler)) as server:
            for number in range(2):
                with socket.create_connection(server.server_address):
                    server.handle_request()
                if kind == "reassigned":
                    server.RequestHandlerClass = functools.partial(Handler, extra=f"after {number}")
        return notes

    assert len(same(scenario)) == 2


@pytest.mark.parametrize("transport", ["TCPServer", "UDPServer"])
def test_opaque_requests(transport: str, same: Same) -> None:
    """Requests and addresses of a program's own making pass through untouched."""

    def scenario(module: Any) -> object:
        seen: list[object] = []
        request, client_address = object(), [{"un": "hashable"}]

        base: Any = getattr(module, transport)

        class Server(base):
            def get_request(self) -> Any:
                return request, client_address

            def shutdown_request(self, request: Any) -> None:
                seen.append(request)

        server = Server(ANYWHERE, lambda *arguments: seen.extend(arguments[:2]))
        with server:
            server._handle_request_noblock()
        return seen == [request, client_address, request]

    assert same(scenario)


def test_shutdown_request(same: Same) -> None:
    """shutdown_request() takes sockets that the handler has closed, detached or never connected."""

    def scenario(module: Any) -> object:
        with module.TCPServer(ANYWHERE, None) as server:
            one, other = socket.socketpair()
            results = [
                server.shutdown_request(one),
                other.recv(1),
                one.fileno(),
                server.shutdown_request(one),
            ]
            os.close(other.detach())
            results += [server.shutdown_request(other), server.shutdown_request(socket.socket())]
            return results

    same(scenario)


def test_accepted_socket_blocks(same: Same) -> None:
    """A connection blocks although the listening socket has a timeout."""

    def scenario(module: Any) -> object:
        with module.TCPServer(ANYWHERE, None) as server, socket.create_connection(server.server_address):
            server.socket.settimeout(5)
            request, _ = server.get_request()
            with request:
                return request.gettimeout(), request.type, request.family

    assert same(scenario)[0] is None


def test_defaults_return(same: Same) -> None:
    """The hooks of the base do and return the same by default."""

    def scenario(module: Any) -> object:
        server = module.BaseServer("an address", print)
        hooks = (
            server.service_actions(),
            server.handle_timeout(),
            server.server_activate(),
            server.server_close(),
            server.verify_request(None, None),
            server.close_request(None),
            server.shutdown_request(None),
            server.__enter__() is server,
        )
        return (
            hooks,
            vars(server)["server_address"],
            hasattr(server, "get_request"),
            hasattr(server, "fileno"),
        )

    same(scenario)


def test_hooks_from_later_bases(same: Same) -> None:
    """What BaseServer leaves to its subclasses may come from a class further back in the bases."""

    def scenario(module: Any) -> object:
        class Source:
            def get_request(self) -> tuple[str, str]:
                return "a request", "a client"

            def fileno(self) -> int:
                return -1

        seen: list[object] = []
        server = type("Server", (module.BaseServer, Source), {})(
            None, lambda *arguments: seen.append(arguments[:2])
        )
        server._handle_request_noblock()
        return seen, server.fileno()

    assert same(scenario)[0] == [("a request", "a client")]


def test_thread_pool(same: Same) -> None:
    """process_request() given to a pool of the program's own works without the mix-in's bookkeeping."""

    def scenario(module: Any) -> object:
        names: list[str] = []

        class Handler(module.BaseRequestHandler):
            def handle(self) -> None:
                names.append(threading.current_thread().name)

        class Server(module.ThreadingTCPServer):
            def process_request(self, *request: Any) -> None:
                self.own = threading.Thread(target=self.process_request_thread, args=request, name="own")
                self.own.start()

        with Server(ANYWHERE, Handler) as server, socket.create_connection(server.server_address) as client:
            server.handle_request()
            server.own.join()
            return names, read(client), "_threads" in vars(server)

    assert same(scenario)[0] == ["own"]
