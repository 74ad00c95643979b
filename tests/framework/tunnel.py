"""A TLS client that is a plain socket to whoever uses it."""

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


class Carrier:
    """Carries octets both ways, each in a thread; either side may leave at any time."""

    def __init__(self, wire: socket.socket, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.wire, self.plain = wire, plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.engine = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.guard = threading.Lock()

    def run(self) -> None:
        """Shake hands, then carry both ways."""
        with contextlib.suppress(OSError):
            self.shake_hands()
            threading.Thread(target=self.outward, daemon=True).start()
            while data := self.read():
                self.plain.sendall(data)
        with contextlib.suppress(OSError):
            self.plain.shutdown(socket.SHUT_WR)

    def shake_hands(self) -> None:
        """Do the client's part of the handshake."""
        while True:
            try:
                self.engine.do_handshake()
            except ssl.SSLWantReadError:
                self.wire.sendall(self.outgoing.read())
                self.receive()
            else:
                self.wire.sendall(self.outgoing.read())
                return

    def read(self) -> bytes:
        """Wait for data, and decrypt it."""
        while True:
            try:
                with self.guard:
                    return self.engine.read(65536)
            except ssl.SSLWantReadError:
                self.receive()

    def receive(self) -> None:
        """Wait for more from the wire."""
        octets = self.wire.recv(65536)
        with self.guard:
            self.incoming.write(octets) if octets else self.incoming.write_eof()

    def outward(self) -> None:
        """Encrypt what the client sends; the end of it becomes close_notify."""
        with contextlib.suppress(OSError):
            while data := self.plain.recv(65536):
                with self.guard:
                    self.engine.write(data)
                    encrypted = self.outgoing.read()
                self.wire.sendall(encrypted)
            with self.guard, contextlib.suppress(ssl.SSLWantReadError):
                self.engine.unwrap()
            self.wire.sendall(self.outgoing.read())
            self.wire.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tunnel(wire: socket.socket, context: ssl.SSLContext, host: str = "localhost") -> Iterator[socket.socket]:
    """Lead ``wire`` through TLS; yield the plain end."""
    ours, theirs = socket.socketpair()
    inside = End(ours.family, ours.type, 0, ours.detach())
    inside.name = wire.getsockname()
    inside.settimeout(wire.gettimeout())
    thread = threading.Thread(target=Carrier(wire, theirs, context, host).run, daemon=True)
    with wire, theirs, inside:
        thread.start()
        yield inside
        for end in (inside, wire):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        thread.join(20)
