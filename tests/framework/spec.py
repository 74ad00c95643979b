"""The matrix that the conformance spec runs over: every model on every transport.

A new model joins by one line in ``MODELS``, a new transport by one in ``TRANSPORTS``.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import framework
from framework import ForkingMixIn, TCPServer, ThreadingMixIn, UDPServer, UnixDatagramServer, UnixStreamServer
from framework.greenlets import GreenletMixIn
from framework.pool import ThreadPoolMixIn
from framework.prefork import PreforkMixIn
from framework.service import ServiceMixIn
from framework.tls import TLSMixIn
from tests.framework.certificates import authority, server_context
from tests.framework.tunnel import other_process, tunnel

# A client that waits longer than this has found a fault; nothing in the tests waits for it to pass.
PATIENCE = 20.0

_numbers = itertools.count()


@dataclass(frozen=True)
class Transport:
    """How bytes arrive: a server class, its family, and where it listens."""

    name: str
    server: type[TCPServer[Any, Any]]
    family: int
    host: str = ""
    tls: bool = False

    @property
    def datagrams(self) -> bool:
        """Whether a request is one datagram."""
        return issubclass(self.server, UDPServer)

    @property
    def unix(self) -> bool:
        """Whether the address is a path."""
        return self.family == socket.AF_UNIX

    def address(self, folder: Path, name: str = "server.sock") -> Any:
        """Return an address that is free: a path in ``folder``, or port 0."""
        return str(folder / name) if self.unix else (self.host, 0)

    @contextlib.contextmanager
    def client(self, server_address: Any, folder: Path | None = None) -> Iterator[socket.socket]:
        """Connect a client; a datagram one is bound too, so that it can be replied to."""
        kind = socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM
        with socket.socket(self.family, kind) as client:
            client.settimeout(PATIENCE)
            if self.datagrams and self.unix and folder is not None:
                client.bind(str(folder / f"client-{next(_numbers)}.sock"))
            client.connect(server_address)
            if self.tls:
                with tunnel(client, authority().cert_pem.bytes()) as inside:
                    yield inside
            else:
                yield client
            # A forked child of this very process holds a copy of the client: only shutdown(2) reaches through.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Model:
    """Where a request runs: the mix-ins before the server class."""

    name: str
    mixins: tuple[type, ...]
    concurrent: bool = True
    where: str = "loop"
    takes_one: bool = True
    """Whether ``handle_request()`` is to be had."""

    def carries(self, transport: Transport) -> bool:
        """Tell whether the two go together: TLS is for services."""
        return not transport.tls or any(issubclass(mixin, ServiceMixIn) for mixin in self.mixins)

    def on(self, transport: Transport) -> Callable[..., TCPServer[Any, Any]]:
        """Return the server class of this model on that transport; it takes handlers of either kind."""
        bases = (*self.mixins, transport.server)
        body: dict[str, Any] = {"address_family": transport.family, "allow_reuse_address": not transport.unix}
        if transport.tls:
            other_process()
            bases = (TLSMixIn, *bases)
            body["ssl_context"] = server_context()
        return type(f"{self.name}_{transport.name}", bases, body)


TRANSPORTS = [
    Transport("tcp4", TCPServer, socket.AF_INET, "127.0.0.1"),
    Transport("tcp6", TCPServer, socket.AF_INET6, "::1"),
    Transport("udp4", UDPServer, socket.AF_INET, "127.0.0.1"),
    Transport("udp6", UDPServer, socket.AF_INET6, "::1"),
    Transport("tls4", TCPServer, socket.AF_INET, "127.0.0.1", tls=True),
    Transport("unix_stream", UnixStreamServer, socket.AF_UNIX),
    Transport("unix_datagram", UnixDatagramServer, socket.AF_UNIX),
]

MODELS = [
    Model("inline", (), concurrent=False),
    Model("thread", (ThreadingMixIn,), where="thread"),
    Model("fork", (ForkingMixIn,), where="process"),
    Model("service_inline", (ServiceMixIn,), concurrent=False),
    Model("greenlet", (GreenletMixIn,)),
    Model("service_thread", (ServiceMixIn, ThreadingMixIn), where="thread"),
    Model("pool", (ThreadPoolMixIn,), where="thread"),
    Model("service_fork", (ServiceMixIn, ForkingMixIn), where="process"),
    Model("prefork", (PreforkMixIn,), concurrent=False, where="process", takes_one=False),
    Model("prefork_thread", (PreforkMixIn, ThreadingMixIn), where="process, thread", takes_one=False),
]

STREAMS = [transport for transport in TRANSPORTS if not transport.datagrams]
DATAGRAMS = [transport for transport in TRANSPORTS if transport.datagrams]


def has_ipv6() -> bool:
    """Tell whether ``::1`` can be bound here."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def serving(
    server: framework.BaseServer[Any, Any], poll_interval: float | None = None
) -> Iterator[threading.Thread]:
    """Run ``serve_forever()`` in a thread; shut down and close at the end, however that comes.

    By default without a poll interval: every wait then ends by being woken, or the test hangs and fails.
    """
    thread = threading.Thread(target=server.serve_forever, args=(poll_interval,), name="serving", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        # In a thread of its own: a loop that never ends must fail the test, not hang it.
        stop = threading.Thread(target=server.shutdown, name="stop", daemon=True)
        stop.start()
        stop.join(PATIENCE)
        assert not stop.is_alive()
        thread.join(PATIENCE)
        server.server_close()
