"""What handlers do with a request, on the original and on the framework."""

# What the classes derive from is a parameter.
# mypy: disallow-subclassing-any=False

import array
import io
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.compat.conftest import Same
from tests.compat.scene import GREETING


class Fussy:
    """Refuses to be asked for what it does not have, as some handlers and requests do."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")


@pytest.mark.parametrize("fails", ["", "setup", "handle", "finish"])
def test_steps(fails: str, same: Same) -> None:
    """finish() runs whenever setup() has succeeded, and nothing else is asked of request, address and server."""

    def scenario(module: Any) -> object:
        steps: list[str] = []

        def step(name: str) -> Any:
            def run(self: Any) -> None:
                steps.append(name)
                if name == fails:
                    raise LookupError(name)

            return run

        names = ("setup", "handle", "finish")
        handler = type("Handler", (module.BaseRequestHandler, Fussy), {name: step(name) for name in names})
        try:
            served = handler(Fussy(), Fussy(), Fussy())
        except LookupError as error:
            return steps, repr(error)
        return steps, list(vars(served))

    same(scenario)


@pytest.mark.parametrize("wbufsize", [0, -1, 1, 100])
@pytest.mark.parametrize("rbufsize", [0, -1, 100])
@pytest.mark.parametrize("timeout", [None, 0.5])
@pytest.mark.parametrize("nagle", [False, True])
def test_calls(rbufsize: int, wbufsize: int, timeout: float | None, nagle: bool, same: Same) -> None:
    """A stream handler calls the same methods of its request with the same arguments."""

    def scenario(module: Any) -> object:
        request = mock.MagicMock()

        class Handler(module.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(GREETING)

        Handler.rbufsize, Handler.wbufsize = rbufsize, wbufsize
        Handler.timeout, Handler.disable_nagle_algorithm = timeout, nagle
        Handler(request, None, None)
        return request.mock_calls

    assert same(scenario)


def test_wfile(same: Same) -> None:
    """The unbuffered wfile sends any buffer at once, and is a file over the socket without owning it."""

    def scenario(module: Any) -> object:
        one, other = socket.socketpair()
        with one, other:
            wfile = module._SocketWriter(one)
            sent = [
                wfile.write(data)
                for data in (b"", b"ab", bytearray(b"cd"), memoryview(b"ef"), array.array("H", [1, 2]))
            ]
            kinds = isinstance(wfile, io.BufferedIOBase), wfile.writable(), wfile.readable(), wfile.seekable()
            flushed = wfile.flush(), wfile.closed
            same_descriptor = wfile.fileno() == one.fileno()
            wfile.writelines([b"g", b"h"])
            print("text", file=io.TextIOWrapper(wfile, write_through=True))
            # Closed along with the wrapper.
            after = wfile.closed, one.fileno() == -1, outcome(lambda: wfile.write(b"ij")), wfile.fileno() > 0
            received = other.recv(100)
        return sent, kinds, flushed, same_descriptor, after, received

    received = same(scenario)[-1]
    assert received.startswith(b"abcdef")


def test_wfile_errors(same: Same) -> None:
    """What write() refuses, and what the socket raises, comes out."""

    def scenario(module: Any) -> object:
        one, other = socket.socketpair()
        with one:
            other.close()
            wfile = module._SocketWriter(one)
            return [outcome(lambda data=data: wfile.write(data)) for data in ("text", None, b"x")]

    assert "BrokenPipeError" in same(scenario)[-1]


def test_files(same: Same) -> None:
    """Rfile is buffered over the socket, which programs reach through it; closing both leaves the socket open."""

    def scenario(module: Any) -> object:
        one, other = socket.socketpair()
        seen: list[object] = []

        class Handler(module.StreamRequestHandler):
            def handle(self) -> None:
                seen.append(self.rfile.raw._sock is self.connection is self.request)
                seen.append(self.rfile.fileno() == self.wfile.fileno() == one.fileno())
                seen.append((type(self.rfile), self.rfile.readline()))
                self.rfile.close()
                self.wfile.close()

        with one, other:
            other.sendall(GREETING)
            Handler(one, None, None)
            one.sendall(GREETING)
            return seen, other.recv(100)

    assert same(scenario)[0][:2] == [True, True]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("error", [None, OSError("gone"), ValueError("a fault")], ids=repr)
def test_finish(closed: bool, error: Exception | None, same: Same) -> None:
    """finish() flushes unless the handler closed wfile, forgives an OSError, and closes both files."""

    def scenario(module: Any) -> object:
        handler = object.__new__(module.StreamRequestHandler)
        files = mock.Mock()
        handler.rfile, handler.wfile = files.rfile, files.wfile
        files.wfile.closed = closed
        files.wfile.flush.side_effect = error
        return outcome(handler.finish), files.mock_calls

    same(scenario)


@pytest.mark.parametrize("reply", [b"", b"answer", b"x" * 9000])
@pytest.mark.parametrize("transport", ["UDPServer", "UnixDatagramServer"])
def test_datagram_reply(transport: str, reply: bytes, same: Same, tmp_path: Path) -> None:
    """What a datagram handler wrote is sent as one datagram when it is done, even if it is nothing."""

    def scenario(module: Any) -> object:
        folder = tmp_path / module.__name__
        folder.mkdir()
        seen: list[object] = []

        class Handler(module.DatagramRequestHandler):
            def handle(self) -> None:
                self.wfile.write(reply[:1])
                self.wfile.write(reply[1:])
                seen.append((self.packet, self.rfile.read(), self.wfile.getvalue(), sorted(vars(self))))

        where = str(folder / "server") if "Unix" in transport else ("127.0.0.1", 0)
        with (
            getattr(module, transport)(where, Handler) as server,
            socket.socket(server.address_family, socket.SOCK_DGRAM) as client,
        ):
            client.bind(str(folder / "client") if "Unix" in transport else ("127.0.0.1", 0))
            client.sendto(GREETING, server.server_address)
            server.handle_request()
            return seen, client.recv(10_000, socket.MSG_DONTWAIT)

    assert same(scenario)[1] == reply


def test_packet_size(same: Same) -> None:
    """A datagram longer than max_packet_size is cut, whatever the class or the instance says it is."""

    def scenario(module: Any) -> object:
        seen: list[int] = []
        with (
            module.UDPServer(("127.0.0.1", 0), lambda request, *_: seen.append(len(request[0]))) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            for size in (8192, 10):
                server.max_packet_size = size
                client.sendto(bytes(9000), server.server_address)
                server.handle_request()
        return seen

    assert same(scenario) == [8192, 10]


def outcome(call: Any) -> str:
    """Tell what a call returned or raised."""
    try:
        return f"returned {call()!r}"
    except Exception as error:
        return f"raised {error!r}"
