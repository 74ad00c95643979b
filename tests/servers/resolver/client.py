"""A resolver that runs on ports of its own, and how to ask it."""

from __future__ import annotations

import itertools
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from framework import at
from framework.testing import running
from servers.resolver.message import Message, Opt, parse, query
from servers.resolver.names import from_text, to_text
from servers.resolver.rdata import type_number
from servers.resolver.records import Type
from servers.resolver.server import DatagramServer, Service, StreamServer
from servers.resolver.settings import Settings, ZoneFile

PATIENCE = 20.0
RD = 0x0100


class Running:
    """A resolver, by UDP and TCP, until the block ends.

    Args:
        zones: the master file of each, by its name.
        folder: where to put them.
        settings: what else is set.
    """

    def __init__(
        self, zones: dict[str, str] | None = None, folder: Path | None = None, **settings: Any
    ) -> None:
        files: list[ZoneFile] = []
        for number, (name, text) in enumerate((zones or {}).items()):
            assert folder is not None
            path = folder / f"{number}.zone"
            path.write_text(text)
            files.append(ZoneFile(from_text(name), path))
        chosen = {"bind": (), "zone": tuple(files), "hosts": ()} | settings
        self.service = Service(Settings(**chosen))
        self._stack = ExitStack()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.service.exchanges.close)
            self.udp = stack.enter_context(running(DatagramServer(at("udp://127.0.0.1:0"), self.service)))
            self.tcp = stack.enter_context(running(StreamServer(at("tcp://127.0.0.1:0"), self.service)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def ask(self, name: str, kind: str = "A", *, flags: int = RD, opt: Opt | None = None) -> Message:
        """Ask by UDP."""
        number = next(self._numbers)
        return parse(
            self.exchange(
                query(number, from_text(name), type_number(kind) or Type[kind], flags=flags, opt=opt)
            )
        )

    def exchange(self, packet: bytes) -> bytes:
        """Send a datagram and return the answer."""
        with self.datagrams() as client:
            client.send(packet)
            return client.recv(65535)

    def answers(self, packet: bytes) -> bool:
        """Tell whether a datagram is answered: before the next one, whose answer is waited for."""
        with self.datagrams() as client:
            client.send(packet)
            last = query(0xFFFF, from_text("version.bind."), 16)
            client.send(last)
            return client.recv(65535)[:2] != last[:2]

    def datagrams(self) -> socket.socket:
        """Return a client's socket for datagrams."""
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(PATIENCE)
        client.connect(self.udp.server_address)
        return client

    def connect(self) -> socket.socket:
        """Return a client's connection."""
        return socket.create_connection(self.tcp.server_address, PATIENCE)


def send(connection: socket.socket, *packets: bytes) -> None:
    """Send messages by a connection, at once."""
    connection.sendall(b"".join(len(each).to_bytes(2, "big") + each for each in packets))


def receive(connection: socket.socket) -> bytes:
    """Receive a message by a connection; empty at its end."""
    head = _exactly(connection, 2)
    return _exactly(connection, int.from_bytes(head, "big")) if head else b""


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data


def texts(message: Message) -> list[tuple[str, int, int]]:
    """Return the owner, the type and the number of each set of the answer."""
    return [(to_text(each.name), each.type, len(each.rdatas)) for each in message.answer]
