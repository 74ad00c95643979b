"""A TLS client that is a plain socket to whoever uses it.

Its TLS runs in another process. Servers under test fork from a thread, and OpenSSL's locks know nothing of fork(2): of
a client that shook hands here meanwhile, the child would inherit one that is held, and nobody in it to let go.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator

# What a request to the other process may be long: a name and the certificate of an authority.
_REQUEST = 65536


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
        self.sender = threading.Thread(target=self.outward, daemon=True)

    def run(self) -> None:
        """Shake hands, then carry both ways."""
        with contextlib.suppress(OSError):
            self.shake_hands()
            self.sender.start()
            while data := self.read():
                self.plain.sendall(data)
        with contextlib.suppress(OSError):
            self.plain.shutdown(socket.SHUT_WR)
        if self.sender.ident is not None:
            self.sender.join()

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


@functools.cache
def _context(authority: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.decode())
    # Some builds of Python have clients take a stream that is cut off for one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def carry(control: socket.socket) -> None:
    """Carry whatever is handed over by ``control``, until that ends: the other process."""

    def run(wire: socket.socket, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        with wire, plain:
            Carrier(wire, plain, context, host).run()

    while True:
        request, descriptors, _, _ = socket.recv_fds(control, _REQUEST, 2)
        if not request:
            return
        host, authority = request.split(b"\0")
        wire, plain = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        wire.setblocking(True)  # which descriptors that lead to one socket share
        threading.Thread(
            target=run, args=(wire, plain, _context(authority), host.decode()), daemon=True
        ).start()


@functools.cache
def other_process() -> socket.socket:
    """Start the other process, once; return the line to it.

    Before anything else forks: ``Popen()`` waits for the end of a pipe, of which a child forked meanwhile has a copy.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno())

    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)  # a forked child may hold a copy
        process.wait()

    atexit.register(end)
    return ours


@contextlib.contextmanager
def tunnel(wire: socket.socket, authority: bytes, host: str = "localhost") -> Iterator[socket.socket]:
    """Lead ``wire`` through TLS to a server that the authority, in PEM, vouches for; yield the plain end."""
    ours, theirs = socket.socketpair()
    inside = End(ours.family, ours.type, 0, ours.detach())
    inside.name = wire.getsockname()
    inside.settimeout(wire.gettimeout())
    with wire, inside:
        with theirs:
            request = host.encode() + b"\0" + authority
            socket.send_fds(other_process(), [request], [wire.fileno(), theirs.fileno()])
        yield inside
        for end in (inside, wire):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    with socket.socket(fileno=0) as line:
        carry(line)
