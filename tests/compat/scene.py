"""One request, played on a server of either module, and a record of everything that a program could tell.

What runs where cannot be told in one order, so the record keeps one list for each place: the loop, a thread,
a process.
"""

# What the classes derive from is a parameter.
# mypy: disallow-subclassing-any=False

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

TRANSPORTS = ("TCPServer", "UDPServer", "UnixStreamServer", "UnixDatagramServer")
MODELS = ("", "ThreadingMixIn", "ForkingMixIn")

# Everything that a subclass may override.
HOOKS = (
    "_handle_request_noblock",
    "close_request",
    "collect_children",
    "finish_request",
    "get_request",
    "handle_error",
    "handle_timeout",
    "process_request",
    "process_request_thread",
    "server_activate",
    "server_bind",
    "server_close",
    "service_actions",
    "shutdown_request",
    "verify_request",
)
STEPS = ("setup", "handle", "finish")

# What a hook or a step of the handler does in place of what it should.
Faults: TypeAlias = Mapping[str, BaseException]

GREETING = b"a line\n"


class Trace:
    """Notes of what ran, in a file: so those of a forked child are kept too."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_CREAT | os.O_APPEND | os.O_RDWR)
        self._process = os.getpid()
        self._thread = threading.get_ident()

    def note(self, *words: object) -> None:
        """Keep what happened, and where it did."""
        place = "loop" if threading.get_ident() == self._thread else "thread"
        if os.getpid() != self._process:
            place = "process"
        os.write(self._file, json.dumps([place, " ".join(map(str, words))]).encode() + b"\n")

    def close(self) -> dict[str, list[str]]:
        """End it, and tell the notes by place."""
        places: dict[str, list[str]] = {}
        for line in os.pread(self._file, 1 << 20, 0).splitlines():
            place, words = json.loads(line)
            places.setdefault(place, []).append(words)
        os.close(self._file)
        return places


def shape(value: object) -> str:
    """Say what a value is, apart from what differs from run to run."""
    if isinstance(value, tuple):
        return f"({', '.join(shape(item) for item in value)})"
    return repr(value) if value is None or isinstance(value, bool) else type(value).__name__


def fail(error: BaseException) -> object:
    """Raise it."""
    raise error


def noting(cls: Any, names: tuple[str, ...], trace: Trace, faults: Faults) -> Any:
    """Derive a class that notes each call of these methods and does the faults."""

    def override(name: str) -> Callable[..., object]:
        def method(self: Any, *args: Any, **kwargs: Any) -> object:
            trace.note(name, shape(args), kwargs or "")
            inherited = getattr(super(derived, self), name)
            try:
                result = fail(faults[name]) if name in faults else inherited(*args, **kwargs)
            except BaseException as error:
                trace.note(name, "raised", repr(error))
                raise
            trace.note(name, "returned", shape(result))
            return result

        return method

    own = {name: override(name) for name in names if hasattr(cls, name)}
    derived = type("Derived", (cls,), own)
    return derived


def server_class(module: Any, transport: str, model: str) -> Any:
    """Combine a mix-in and a server, as not all versions have all combinations."""
    server = getattr(module, transport)
    return type("Server", (getattr(module, model), server), {}) if model else server


def handler_class(module: Any, transport: str) -> Any:
    """Make a handler that sends a line back."""
    stream = "Datagram" not in transport and "UDP" not in transport
    base: Any = module.StreamRequestHandler if stream else module.DatagramRequestHandler

    def handle(self: Any) -> None:
        self.wfile.write(self.rfile.readline())

    return type("Handler", (base,), {"handle": handle})


def address(transport: str, folder: Path) -> Any:
    """Where a server of the kind may listen: anywhere."""
    return str(folder / "server") if "Unix" in transport else ("127.0.0.1", 0)


@contextlib.contextmanager
def client_of(server: Any, folder: Path) -> Iterator[socket.socket]:
    """Connect to the server, from an address that datagrams can be sent back to, and say something."""
    with socket.socket(server.address_family, server.socket_type) as client:
        if server.address_family == socket.AF_UNIX:
            client.bind(str(folder / "client"))
        client.connect(server.server_address)
        client.sendall(GREETING)
        yield client


def read(client: socket.socket) -> str:
    """Receive whatever is still to come from a server that is done."""
    received = b""
    with contextlib.suppress(BlockingIOError):
        try:
            if client.type == socket.SOCK_DGRAM:
                return repr(client.recv(100, socket.MSG_DONTWAIT))
            while part := client.recv(100):
                received += part
        except ConnectionResetError as error:
            return repr(error)
    return repr(received)


def without_frames(text: str, folder: Path) -> list[str]:
    """Take from a report on stderr what differs between two files of source, and from run to run."""
    lines = text.replace(str(folder), "FOLDER").splitlines()
    return [re.sub(r"\('127.0.0.1', \d+\)", "CLIENT", line) for line in lines if not line.startswith("  ")]


def exit_statuses(server: Any) -> list[int]:
    """Wait for the children of a server, and leave them to it."""
    children = getattr(server, "active_children", None) or ()
    return [
        status.si_status
        for child in children
        if (status := os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)) is not None
    ]


def play(
    module: Any,
    transport: str,
    model: str,
    folder: Path,
    *,
    faults: Faults | None = None,
    refuse: bool = False,
) -> dict[str, object]:
    """Have one request served, and tell all that came of it."""
    folder.mkdir()
    faults = faults or {}
    trace = Trace(folder / "trace")
    # Those that the server left open: a fault may have kept it from closing them.
    requests: list[socket.socket] = []

    base: Any = server_class(module, transport, model)

    class Server(base):
        def get_request(self) -> Any:
            request, client_address = super().get_request()
            if isinstance(request, socket.socket):
                requests.append(request)
            return request, client_address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            return not refuse

        def shutdown_request(self, request: Any) -> None:
            # After a fault a parent ends a connection on which its child may still be answering.
            exit_statuses(self)
            super().shutdown_request(request)

    def escaped(hooked: threading.ExceptHookArgs) -> None:
        trace.note("left its thread:", repr(hooked.exc_value))

    came_out = ""
    noted_server = noting(Server, HOOKS, trace, faults)
    noted_handler = noting(handler_class(module, transport), STEPS, trace, faults)
    with (
        mock.patch.object(threading, "excepthook", escaped),
        # Line by line, as a child leaves without flushing.
        (folder / "stderr").open("w", buffering=1) as stderr,
        contextlib.redirect_stderr(stderr),
        noted_server(address(transport, folder), noted_handler) as server,
        client_of(server, folder) as client,
    ):
        try:
            server.handle_request()
        except BaseException as error:
            came_out = repr(error)
        statuses = exit_statuses(server)
        threads = len(vars(server).get("_threads", ()))
        # The workers end before the server closes: they may want its socket.
        if model == "ThreadingMixIn":
            server._threads.join()
        server.server_close()
        left_open = [request.fileno() != -1 for request in requests]
        for request in requests:
            request.close()
        reply = read(client)
    return {
        "trace": trace.close(),
        "came out": came_out,
        "exit statuses": statuses,
        "left open": left_open,
        "reply": reply,
        "stderr": without_frames((folder / "stderr").read_text(), folder),
        # Mangled names are a class's own affair.
        "attributes": sorted(key for key in vars(server) if not key.startswith("_")),
        "threads": threads,
    }
