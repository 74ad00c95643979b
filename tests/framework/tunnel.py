"""A TLS client as two plain ends: whatever talks to a socket talks TLS through it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator


class End(socket.socket):
    """What the client is given: a socket that goes by the name of the one it leads to."""

    name: object

    def getsockname(self) -> object:
        """Return the name by which the server knows the client."""
        return self.name


@contextlib.contextmanager
def tunnel(wire: socket.socket, context: ssl.SSLContext, host: str = "localhost") -> Iterator[socket.socket]:
    """Lead ``wire`` through TLS; yield the plain end.

    An end of the output becomes close_notify, and close_notify, or whatever else ends the stream, an end of the
    input.
    """
    ours, theirs = socket.socketpair()
    inside = End(ours.family, ours.type, 0, ours.detach())
    inside.name = wire.getsockname()
    inside.settimeout(wire.gettimeout())
    incoming, outgoing, guard = ssl.MemoryBIO(), ssl.MemoryBIO(), threading.Lock()
    engine = context.wrap_bio(incoming, outgoing, server_hostname=host)

    def shake_hands() -> bool:
        while True:
            try:
                engine.do_handshake()
            except ssl.SSLWantReadError:
                wire.sendall(outgoing.read())
                octets = wire.recv(65536)
                if not octets:
                    return False
                incoming.write(octets)
            else:
                wire.sendall(outgoing.read())
                return True

    def outward() -> None:
        while octets := theirs.recv(65536):
            with guard:
                engine.write(octets)
                encrypted = outgoing.read()
            wire.sendall(encrypted)
        with guard, contextlib.suppress(ssl.SSLWantReadError):
            engine.unwrap()
        wire.sendall(outgoing.read())
        wire.shutdown(socket.SHUT_WR)

    def inward() -> None:
        while True:
            try:
                with guard:
                    data = engine.read(65536)
            except ssl.SSLWantReadError:
                octets = wire.recv(65536)
                with guard:
                    incoming.write(octets) if octets else incoming.write_eof()
                continue
            except ssl.SSLZeroReturnError:
                return
            if not data:
                return
            theirs.sendall(data)

    def run(work: object) -> None:
        # Either side may leave at any time; what that means is for the test to see at the plain end.
        with contextlib.suppress(OSError):
            assert callable(work)
            work()

    def both() -> None:
        with contextlib.suppress(OSError):
            if shake_hands():
                writer = threading.Thread(target=run, args=(outward,), daemon=True)
                writer.start()
                run(inward)
        with contextlib.suppress(OSError):
            theirs.shutdown(socket.SHUT_WR)

    reader = threading.Thread(target=both, daemon=True)
    with wire, theirs, inside:
        reader.start()
        yield inside
        for end in (inside, wire):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        reader.join(20)
