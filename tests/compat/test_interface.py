"""What a program sees of the module without running it: names, bases, values, signatures."""

# What the classes derive from is a parameter.
# mypy: disallow-subclassing-any=False

import collections
import inspect
import io
import selectors
import socket
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import framework
from tests.compat.conftest import Same
from tests.compat.scene import MODELS, TRANSPORTS, server_class

# The original got these two in 3.12.
LATER = {"ForkingUnixStreamServer", "ForkingUnixDatagramServer"}
# The framework's own names.
OURS = set(framework.__all__) - set(socketserver.__all__) - LATER

NAMES = sorted(set(socketserver.__all__) | LATER)
# Those of the dunder methods that a class may well define itself.
SPECIAL = {"__init__", "__enter__", "__exit__"}


def original(name: str) -> Any:
    """Return a class of the original; in 3.11 two have to be made up, as 3.12 defines them."""
    found = getattr(socketserver, name, None)
    if found is None:
        base = getattr(socketserver, name.removeprefix("Forking"))
        return type(name, (socketserver.ForkingMixIn, base), {})
    return found


def public(names: Any) -> set[str]:
    """Leave out what is private or special."""
    return {name for name in names if not name.startswith("_") or name in SPECIAL}


@pytest.mark.parametrize("name", NAMES)
def test_bases(name: str) -> None:
    """A class has the name, the metaclass and the method resolution order of the original."""
    ours, theirs = getattr(framework, name), original(name)
    assert type(ours) is type
    assert [cls.__name__ for cls in ours.__mro__] == [cls.__name__ for cls in theirs.__mro__]
    assert ours.__qualname__ == name


@pytest.mark.parametrize("name", NAMES)
def test_members(name: str) -> None:
    """A class offers no public name more or less than the original, and defines the same ones itself."""
    ours, theirs = getattr(framework, name), original(name)
    assert public(dir(ours)) == public(dir(theirs))
    assert public(vars(ours)) == public(vars(theirs))


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    """A class attribute has the value and the type of the original's."""

    def values(cls: Any) -> dict[str, object]:
        members = ((key, getattr(cls, key)) for key in dir(cls) if not key.startswith("_"))
        return {key: (type(value), value) for key, value in members if not callable(value)}

    assert values(getattr(framework, name)) == values(original(name))


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name: str) -> None:
    """A method has the parameters of the original's: names, kinds and defaults."""

    def signatures(cls: Any) -> dict[str, list[tuple[str, object, object]]]:
        return {
            key: [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]
            for key, method in vars(cls).items()
            if key in public(vars(cls)) and inspect.isfunction(method)
        }

    assert signatures(getattr(framework, name)) == signatures(original(name))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_instance(transport: str, model: str, same: Same) -> None:
    """A new server's own attributes are the original's, private ones included."""

    def scenario(module: Any) -> dict[str, object]:
        server = server_class(module, transport, model)("somewhere", print, bind_and_activate=False)
        server.socket.close()
        return {key: type(value) for key, value in vars(server).items()}

    assert same(scenario)["socket"] is socket.socket


def test_handler_instance(same: Same) -> None:
    """A handler's own attributes are the original's, and so are those of the file it writes to."""

    def scenario(module: Any) -> object:
        stream = module.StreamRequestHandler(mock.Mock(), None, None)
        datagram = module.DatagramRequestHandler((b"", mock.Mock()), None, None)
        return list(vars(stream)), list(vars(stream.wfile)), list(vars(datagram))

    same(scenario)


def test_star() -> None:
    """`import *` brings the original's names and the framework's own, each of them once."""
    names: dict[str, object] = {}
    exec("from framework import *", names)
    del names["__builtins__"]
    assert set(names) == set(NAMES) | OURS
    assert len(framework.__all__) == len(set(framework.__all__))


def test_globals(same: Same) -> None:
    """The modules that programs reach through the original are reached through the framework too."""
    same(lambda module: [getattr(module, name) for name in ("os", "selectors", "socket", "sys", "threading")])
    assert framework.socket.error is OSError


def test_private_names(same: Same) -> None:
    """The private names that programs import are there, and are of the same kind."""

    def scenario(module: Any) -> object:
        threads, no_threads = module._Threads(), module._NoThreads()
        thread = threading.Thread()
        thread.start()
        threads.append(thread)
        no_threads.append(thread)
        threads.join()
        no_threads.join()
        return (
            issubclass(module._SocketWriter, io.BufferedIOBase),
            issubclass(module._ServerSelector, selectors.BaseSelector),
            len(threads),
            thread.is_alive(),
        )

    same(scenario)


@pytest.mark.parametrize("how", ["assigned", "subclassed"])
def test_selector(how: str, same: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    """A selector put in place of the module's is the one that a server waits with."""

    def scenario(module: Any) -> object:
        used: list[object] = []
        base: Any = selectors.SelectSelector if how == "assigned" else module._ServerSelector

        class Selector(base):
            def select(self, timeout: float | None = None) -> Any:
                used.append(timeout)
                return super().select(timeout)

        monkeypatch.setattr(module, "_ServerSelector", Selector)
        with module.TCPServer(("127.0.0.1", 0), None) as server:
            server.service_actions = lambda: setattr(server, "_BaseServer__shutdown_request", True)
            server.serve_forever(0)
            # A timeout that is over when the first select() returns.
            server.timeout = -1
            server.handle_request()
        return used

    assert same(scenario)


def test_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method patched by its name in the original is patched where the framework took its place."""
    monkeypatch.setitem(sys.modules, "socketserver", framework)
    with (
        mock.patch("socketserver.TCPServer.serve_forever") as serve_forever,
        mock.patch("socketserver.BaseServer.shutdown") as shutdown,
        framework.ThreadingTCPServer(("127.0.0.1", 0), print) as server,
    ):
        server.serve_forever()
        server.shutdown()
    assert serve_forever.called
    assert shutdown.called


def test_diamond(same: Same, tmp_path: Path) -> None:
    """Classes of both kinds of transport, mixed with foreign ones, are built and served alike."""

    def scenario(module: Any) -> object:
        class Foreign(collections.UserDict[str, int]):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(one=1)
                self.rest = arguments

        http = type("HTTP", (module.TCPServer,), {"allow_reuse_address": 1})
        both = type("Both", (module.UnixStreamServer, http, Foreign), {})
        path = tmp_path / module.__name__
        with both(str(path), module.BaseRequestHandler) as server:
            return server.socket.family, path.is_socket(), [cls.__name__ for cls in type(server).__mro__]

    assert same(scenario)[1]


def test_changed_class(same: Same) -> None:
    """A class attribute changed at run time, on the class, counts for the servers made from then on."""

    def scenario(module: Any) -> object:
        with (
            mock.patch.object(module.TCPServer, "allow_reuse_address", 1),
            module.TCPServer(("", 0), None) as server,
        ):
            reused = server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with module.TCPServer(("", 0), None) as server:
            return reused, server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)

    assert same(scenario) == (1, 0)
